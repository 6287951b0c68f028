// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Programs and libraries of a core that has no list of mapped files (NT_FILE): by the ELF headers
 * in its memory, and by the dynamic linker's own list, which also has their names.
 */

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <string.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/map64.h"
#include "core/limits.h"
#include "core/source/core_file.h"
#include "core/source/elf_image.h"

enum {
	MAX_IMAGES = 16384, // as modules.c
	MAX_DYNAMIC = 256,  // entries of PT_DYNAMIC; libraries have some 30
};

/** An image: where it is, and what it is called. */
struct found {
	hs_addr start, bias;
	struct hs_elf_image image;
	const char *path; // NULL: not known yet
};

struct finder {
	struct core *core;
	int root_fd;
	const char *exe; // a file that is the main program, or NULL
	HS_VEC(struct found *) images;
	struct hs_map64 by_dynamic; // struct found by where its PT_DYNAMIC lies
	hs_addr last_end;           // of the images so far
	bool failed;                // out of memory
};

/** Entries of PT_DYNAMIC that matter here; 0: absent. */
struct dynamic {
	uint64_t debug, soname, strtab;
};

static bool read_memory(struct core *core, hs_addr addr, void *buf, size_t len)
{
	struct hs_err *err = core->base.ops->read(&core->base, addr, buf, len);

	hs_err_free(err);
	return !err;
}

/** A string of at most HS_MAX_PATH bytes in the arena; NULL when there is none. */
static const char *read_string(struct core *core, hs_addr addr)
{
	char text[HS_MAX_PATH];
	size_t len = 0;

	// Byte by byte at the end of what can be read: names lie anywhere on the heap of ld.so.
	while (len < sizeof(text)) {
		size_t part = HS_PAGE - (addr + len) % HS_PAGE;

		part = part < sizeof(text) - len ? part : sizeof(text) - len;
		if (!read_memory(core, addr + len, text + len, part))
			return NULL;
		if (memchr(text + len, 0, part))
			return hs_arena_strdup(core->base.arena, text);
		len += part;
	}
	return NULL;
}

static hs_addr dynamic_of(const struct found *found)
{
	return found->bias + found->image.dynamic.vaddr;
}

static struct dynamic read_dynamic(struct core *core, const struct found *found)
{
	Elf64_Dyn entries[MAX_DYNAMIC];
	size_t most = sizeof(entries) / sizeof(entries[0]);
	uint64_t count = found->image.dynamic.size / sizeof(entries[0]);
	struct dynamic ret = {0};

	count = count < most ? count : most;
	if (!count || !read_memory(core, dynamic_of(found), entries, count * sizeof(entries[0])))
		return ret;
	for (size_t i = 0; i < count && entries[i].d_tag != DT_NULL; i++) {
		if (entries[i].d_tag == DT_DEBUG)
			ret.debug = entries[i].d_un.d_ptr;
		else if (entries[i].d_tag == DT_SONAME)
			ret.soname = entries[i].d_un.d_val;
		else if (entries[i].d_tag == DT_STRTAB)
			ret.strtab = entries[i].d_un.d_ptr;
	}
	return ret;
}

// ---- images in memory

/** May the memory at @p addr be code, given a segment before it? gcore leaves out code altogether:
 * no segment, no answer. */
static bool may_be_code(const struct core *core, size_t segment, hs_addr addr)
{
	size_t end = core->num_segments;

	while (segment < end) {
		size_t middle = segment + (end - segment) / 2;

		if (core->segments[middle].end <= addr)
			segment = middle + 1;
		else
			end = middle;
	}
	return segment == core->num_segments || core->segments[segment].start > addr ||
	       core->segments[segment].prot & HS_PROT_EXEC;
}

/** A file that is only mapped as data has no code where its headers say. */
static bool is_loaded(const struct core *core, size_t segment, const struct found *found)
{
	for (size_t i = 0; i < found->image.num_loads; i++) {
		const struct hs_elf_load *load = &found->image.loads[i];

		if (load->flags & PF_X)
			return may_be_code(core, segment, found->bias + load->vaddr);
	}
	return false;
}

/** Without memory, the arena or hs_core_find_images() tells. */
static void add_image(struct finder *finder, const struct found *found)
{
	struct hs_arena *arena = finder->core->base.arena;

	if (finder->images.len == MAX_IMAGES) {
		finder->core->notes.capped = true;
		return;
	}
	struct found *image = hs_arena_alloc(arena, sizeof(*image));
	struct found **slot = hs_vec_push(arena, &finder->images);
	if (!image || !slot)
		return;
	*image = *found;
	*slot = image;
	if (image->image.dynamic.size && !hs_map64_get(&finder->by_dynamic, dynamic_of(image)))
		finder->failed |= !hs_map64_put(&finder->by_dynamic, dynamic_of(image), image);
}

static void look_at_segment(struct finder *finder, size_t segment)
{
	struct core *core = finder->core;
	const struct core_segment *one = &core->segments[segment];
	const struct hs_elf_reader reader = {.fd = -1, .source = &core->base, .start = one->start};
	struct found found = {.start = one->start};
	hs_addr end;

	if (one->start < finder->last_end || one->file_end == one->start ||
	    hs_elf_image_read(&reader, &found.image) != HS_ELF_IMAGE ||
	    __builtin_add_overflow(one->start, found.image.end - found.image.first, &end))
		return;
	found.bias = found.start - found.image.first;
	if (!is_loaded(core, segment, &found))
		return;
	add_image(finder, &found);
	finder->last_end = end;
}

// ---- the dynamic linker's list

/** The file of that name: the one that came with the core, else the one below the root. */
static int open_by_name(const struct finder *finder, const char *path)
{
	const struct hs_bundle *bundle = finder->core->bundle;
	int fd = bundle ? hs_bundle_open_file(bundle, NULL, 0, path, strlen(path)) : -1;

	if (fd < 0 && *path == '/')
		hs_err_free(hs_root_file_open(finder->root_fd, path, &fd));
	return fd;
}

/** An image without headers in the core, by its file: that has PT_DYNAMIC where memory has it. */
static void add_by_file(struct finder *finder, const struct link_map *entry, const char *path)
{
	hs_cleanup(hs_closep) int fd = open_by_name(finder, path);
	struct found found = {.bias = entry->l_addr, .path = path};

	const struct hs_elf_reader reader = {.fd = fd};
	if (fd < 0 || hs_elf_image_read(&reader, &found.image) != HS_ELF_IMAGE ||
	    dynamic_of(&found) != (hs_addr)(uintptr_t)entry->l_ld)
		return;
	found.start = found.bias + found.image.first;
	add_image(finder, &found);
}

static const char *program_path(struct finder *finder)
{
	struct core *core = finder->core;
	hs_addr execfn = hs_core_auxv(core, AT_EXECFN);
	const char *path = execfn ? read_string(core, execfn) : NULL;

	if (path && *path && *path != '[')
		return path;
	return *core->notes.fname ? core->notes.fname : NULL;
}

/** Name one image by its entry in the list. */
static void take_entry(struct finder *finder, const struct link_map *entry)
{
	struct found *found = hs_map64_get(&finder->by_dynamic, (hs_addr)(uintptr_t)entry->l_ld);
	const char *path = read_string(finder->core, (hs_addr)(uintptr_t)entry->l_name);
	bool is_program = path && !*path;

	if (is_program)
		path = program_path(finder);
	if (found && is_program)
		finder->core->program = found->start;
	if (found && path && *path != '[')
		found->path = path;
	else if (!found && path && *path == '/')
		add_by_file(finder, entry, path);
}

/** Walk the list that begins at r_debug (link.h). @return false when there is none. */
static bool walk_list(struct finder *finder, hs_addr debug_addr)
{
	struct r_debug debug;
	struct link_map entry;

	if (!read_memory(finder->core, debug_addr, &debug, sizeof(debug)) || debug.r_version < 1)
		return false;
	hs_addr addr = (hs_addr)(uintptr_t)debug.r_map, before = 0;
	for (size_t i = 0; addr && i < MAX_IMAGES; i++) {
		if (!read_memory(finder->core, addr, &entry, sizeof(entry)) ||
		    (hs_addr)(uintptr_t)entry.l_prev != before)
			return i > 0;
		take_entry(finder, &entry);
		before = addr;
		addr = (hs_addr)(uintptr_t)entry.l_next;
	}
	return true;
}

/** The program's header is not in the core: what the user gave, or its name, has one. */
static void add_program_by_file(struct finder *finder)
{
	hs_cleanup(hs_closep) int fd = -1;
	struct core *core = finder->core;
	hs_addr phdr = hs_core_auxv(core, AT_PHDR);
	struct found found = {
		.start = phdr & ~(hs_addr)(HS_PAGE - 1), // they follow the ELF header
		.path = program_path(finder),
	};

	if (!phdr || !found.path)
		return;
	if (finder->exe)
		fd = open(finder->exe, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	else
		fd = open_by_name(finder, found.path);
	const struct hs_elf_reader reader = {.fd = fd};
	if (fd < 0 || hs_elf_image_read(&reader, &found.image) != HS_ELF_IMAGE)
		return;
	found.bias = found.start - found.image.first;
	struct dynamic dynamic = read_dynamic(core, &found);
	add_image(finder, &found);
	if (dynamic.debug)
		walk_list(finder, dynamic.debug);
}

/** Only the program itself has a DT_DEBUG that ld.so has filled in; libraries may have an empty
 * one. */
static void take_names(struct finder *finder)
{
	size_t count = finder->images.len;

	for (size_t i = 0; i < count; i++) {
		struct dynamic dynamic = read_dynamic(finder->core, finder->images.items[i]);

		if (dynamic.debug && walk_list(finder, dynamic.debug))
			return;
	}
	add_program_by_file(finder);
}

// ---- rows

/** A name of last resort: what the library calls itself, else where it lies. */
static const char *other_name(struct core *core, const struct found *found)
{
	struct dynamic dynamic = read_dynamic(core, found);
	hs_addr strings =
		dynamic.strtab >= found->start ? dynamic.strtab : dynamic.strtab + found->bias;
	const char *name = dynamic.soname && dynamic.strtab
	                           ? read_string(core, strings + dynamic.soname)
	                           : NULL;

	if (name && *name && *name != '[')
		return name;
	return hs_arena_printf(core->base.arena, "image-at-0x%llx",
	                       (unsigned long long)found->start);
}

static void add_rows(struct core *core, const struct found *found)
{
	const uint64_t mask = HS_PAGE - 1;
	hs_addr done = 0;

	for (size_t i = 0; i < found->image.num_loads; i++) {
		const struct hs_elf_load *load = &found->image.loads[i];
		hs_addr start = found->bias + (load->vaddr & ~mask);
		hs_addr end = found->bias + ((load->vaddr + load->filesz + mask) & ~mask);
		uint64_t offset = load->offset & ~mask;

		if (start < done) {
			offset += done - start;
			start = done;
		}
		if (!load->filesz || start >= end)
			continue;
		struct hs_mapping *row = hs_vec_push(core->base.arena, &core->notes.files);
		if (row)
			*row = (struct hs_mapping){
				.start = start,
				.end = end,
				.offset = offset,
				.prot = HS_PROT_UNKNOWN,
				.path = found->path,
				.module = UINT32_MAX,
			};
		done = end;
	}
}

/** The kernel's own image, which ld.so lists as a library. */
static bool is_vdso(struct core *core, const struct found *found)
{
	static const char name[] = "linux-vdso.so"; // arch/x86/entry/vdso/vdso.lds.S

	if (found->start == hs_core_auxv(core, AT_SYSINFO_EHDR))
		return true;
	if (strncmp(found->path, name, sizeof(name) - 1) != 0)
		return false;
	core->vdso = found->start;
	return true;
}

static struct hs_err *find_images(struct finder *finder)
{
	struct core *core = finder->core;
	hs_addr phdr = hs_core_auxv(core, AT_PHDR);

	for (size_t i = 0; i < core->num_segments; i++)
		look_at_segment(finder, i);
	take_names(finder);
	for (size_t i = 0; i < finder->images.len; i++) {
		struct found *found = finder->images.items[i];
		bool is_program = hs_addr_in(
			phdr, found->start, found->start + (found->image.end - found->image.first));

		if (!found->path && is_program)
			found->path = program_path(finder);
		if (!found->path)
			found->path = other_name(core, found);
		if (!found->path)
			return hs_err_oom();
		if (!is_vdso(core, found)) {
			add_rows(core, found);
			core->num_images++;
		}
	}
	return finder->failed || hs_arena_failed(core->base.arena) ? hs_err_oom() : NULL;
}

struct hs_err *hs_core_find_images(struct core *core, int root_fd, const char *exe)
{
	struct finder finder = {.core = core, .root_fd = root_fd, .exe = exe};
	struct hs_err *err = find_images(&finder);

	hs_map64_deinit(&finder.by_dynamic);
	return err;
}
