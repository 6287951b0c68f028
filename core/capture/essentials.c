// SPDX-License-Identifier: Apache-2.0
/** @file What gdb and eu-stack need besides registers and stacks. */

#include <elf.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/capture/capture_internal.h"
#include "core/limits.h"
#include "core/source/elf_image.h"

enum {
	MAX_DYNAMIC = 1 << 16, // bytes of a dynamic section; they have a few hundred
	MAX_VDSO = 1 << 16,
	R_VERSION_LISTS = 2, // link.h: struct r_debug_extended, a list of namespaces
	/** For all modules together: lists may have circles, and each entry may lead to one. */
	MAX_STEPS = 1 << 20,
	LINK_STEPS = 16, // a library takes as long as so many entries of a dynamic section
};

struct walk {
	struct hs_target *target;
	int left; // steps; negative: it ended before all was seen
};

/** struct r_debug_extended of link.h, of a 64-bit target. */
struct debug_list {
	int32_t version, pad;
	uint64_t map, brk, state, ldbase, next;
};

/** The public part of struct link_map. */
struct link {
	uint64_t addr, name, dynamic, next, prev;
};

/** @return NULL, or HS_ERR_OOM: what cannot be read is not there for a debugger either. */
static struct hs_err *touch(struct hs_target *target, hs_addr start, uint64_t len)
{
	hs_addr end;
	uint8_t byte;

	if (__builtin_add_overflow(start, len, &end))
		return NULL;
	for (hs_addr at = start; at < end; at = (at & ~(hs_addr)(HS_PAGE - 1)) + HS_PAGE) {
		struct hs_err *err = hs_target_read(target, at, &byte, sizeof(byte));

		if (err && !hs_err_catch(&err, HS_ERR_FAULT))
			return err;
		if (at > UINT64_MAX - 2 * HS_PAGE)
			break;
	}
	return NULL;
}

/** Read all of it, or @p fault_ret. */
static struct hs_err *take(struct hs_target *target, hs_addr addr, void *buf, size_t len,
                           bool *fault_ret)
{
	struct hs_err *err = hs_target_read(target, addr, buf, len);

	*fault_ret = hs_err_catch(&err, HS_ERR_FAULT);
	return err;
}

static bool step(struct walk *walk, int price)
{
	if (walk->left >= 0)
		walk->left -= price;
	return walk->left >= 0;
}

static struct hs_err *touch_links(struct walk *walk, hs_addr addr)
{
	struct hs_target *target = walk->target;
	struct link link;
	bool fault = false;

	for (; addr && step(walk, LINK_STEPS); addr = link.next) {
		hs_cleanup(hs_arena_destroyp) struct hs_arena *arena = hs_arena_create();
		const char *name;

		if (!arena)
			return hs_err_oom();
		struct hs_err *err = take(target, addr, &link, sizeof(link), &fault);
		if (err || fault)
			return err;
		err = hs_target_read_cstr(target, link.name, HS_MAX_PATH, arena, &name);
		if (err && hs_err_code(err) == HS_ERR_OOM)
			return err;
		hs_err_free(err);
		err = touch(target, link.dynamic, sizeof(Elf64_Dyn));
		if (err)
			return err;
	}
	return NULL;
}

static struct hs_err *touch_debug_lists(struct walk *walk, hs_addr addr)
{
	struct hs_target *target = walk->target;
	struct hs_err *err = NULL;
	bool fault = false;

	while (addr && !err && step(walk, 1)) {
		struct debug_list list = {0};

		err = take(target, addr, &list, offsetof(struct debug_list, next), &fault);
		if (!err && !fault && list.version >= R_VERSION_LISTS)
			err = take(target, addr, &list, sizeof(list), &fault);
		if (err || fault)
			return err;
		err = touch_links(walk, list.map);
		addr = list.next;
	}
	return err;
}

/** The dynamic section, and what its DT_DEBUG leads to (the main program has one). */
static struct hs_err *touch_dynamic(struct walk *walk, hs_addr addr, uint64_t size)
{
	struct hs_err *err = NULL;
	Elf64_Dyn entry = {.d_tag = -1};
	bool fault = false;

	if (size > MAX_DYNAMIC)
		size = MAX_DYNAMIC;
	for (uint64_t i = 0; entry.d_tag != DT_NULL && size - i >= sizeof(entry) && step(walk, 1);
	     i += sizeof(entry)) {
		err = take(walk->target, addr + i, &entry, sizeof(entry), &fault);
		if (err || fault)
			return err;
		if (entry.d_tag == DT_DEBUG && entry.d_un.d_ptr)
			err = touch_debug_lists(walk, entry.d_un.d_ptr);
		if (err)
			return err;
	}
	return NULL;
}

static struct hs_err *touch_module(struct walk *walk, const struct hs_module *module)
{
	const struct hs_elf_reader memory = {
		.fd = -1, .source = hs_target_source(walk->target), .start = module->start};
	struct hs_elf_image image;
	uint8_t id[HS_BUILD_ID_MAX];

	// Its headers and notes are recorded by being read.
	if (hs_elf_image_read(&memory, &image) != HS_ELF_IMAGE)
		return NULL;
	hs_elf_image_build_id(&memory, &image, id);
	return touch_dynamic(walk, module->start - image.first + image.dynamic.vaddr,
	                     image.dynamic.size);
}

struct hs_err *hs_capture_essentials(struct hs_target *target, bool *cut_ret)
{
	struct walk walk = {.target = target, .left = MAX_STEPS};
	const struct hs_module_map *map = hs_target_modules(target);
	struct hs_err *err = NULL;

	for (size_t i = 0; i < map->num_modules && !err; i++)
		err = touch_module(&walk, &map->modules[i]);
	for (size_t i = 0; i < map->num_mappings && !err; i++) {
		const struct hs_mapping *mapping = &map->mappings[i];
		uint64_t len = mapping->end - mapping->start;

		if (!strcmp(mapping->path, "[vdso]"))
			err = touch(target, mapping->start, len < MAX_VDSO ? len : MAX_VDSO);
	}
	*cut_ret = walk.left < 0;
	return err;
}
