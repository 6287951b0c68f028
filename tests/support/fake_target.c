// SPDX-License-Identifier: Apache-2.0
/** @file Fake target: sparse pages with a flag per byte, behind hs_host_ops. */

#include "tests/support/fake_target.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/arena.h"
#include "core/base/map64.h"

enum {
	FAKE_PAGE = 4096
};

struct fake_page {
	struct fake_page *next; // of all, to free them
	uint8_t bytes[FAKE_PAGE];
	bool present[FAKE_PAGE];
};

struct hs_fake {
	struct hs_arena *arena;
	struct hs_map64 pages;
	struct fake_page *all_pages;
	HS_VEC(struct hs_lwp) lwps;
	HS_VEC(struct hs_mapping) mappings;
	HS_VEC(struct hs_module) modules;
	struct hs_module_map map;
	struct hs_target_info info;
	struct hs_target *target;
};

static void *need(void *ptr)
{
	if (!ptr)
		abort();
	return ptr;
}

struct hs_fake *hs_fake_create(void)
{
	struct hs_fake *fake = need(calloc(1, sizeof(*fake)));

	fake->arena = need(hs_arena_create());
	fake->info.kind = HS_TARGET_HOSTED;
	fake->info.pid = 1;
	fake->info.pause_ms = -1;
	return fake;
}

void hs_fake_destroy(struct hs_fake *fake)
{
	if (!fake)
		return;
	hs_target_close(fake->target);
	for (size_t i = 0; i < fake->modules.len; i++) {
		if (fake->modules.items[i].fd >= 0)
			close(fake->modules.items[i].fd);
	}
	for (struct fake_page *page = fake->all_pages, *next; page; page = next) {
		next = page->next;
		free(page);
	}
	hs_map64_deinit(&fake->pages);
	hs_arena_destroy(fake->arena);
	free(fake);
}

static struct fake_page *page_at(struct hs_fake *fake, hs_addr addr)
{
	struct fake_page *page = hs_map64_get(&fake->pages, addr / FAKE_PAGE);

	if (!page) {
		page = need(calloc(1, sizeof(*page)));
		page->next = fake->all_pages;
		fake->all_pages = page;
		if (!hs_map64_put(&fake->pages, addr / FAKE_PAGE, page))
			abort();
	}
	return page;
}

void hs_fake_memory(struct hs_fake *fake, hs_addr addr, const void *bytes, size_t len)
{
	const uint8_t *in = bytes;

	while (len) {
		struct fake_page *page = page_at(fake, addr);
		size_t at = addr % FAKE_PAGE, room = FAKE_PAGE - at, n = len < room ? len : room;

		memcpy(page->bytes + at, in, n);
		memset(page->present + at, true, n);
		addr += n;
		in += n;
		len -= n;
	}
}

void hs_fake_fill(struct hs_fake *fake, hs_addr addr, uint8_t byte, size_t len)
{
	uint8_t page[FAKE_PAGE];

	memset(page, byte, sizeof(page));
	for (; len > sizeof(page); len -= sizeof(page), addr += sizeof(page))
		hs_fake_memory(fake, addr, page, sizeof(page));
	hs_fake_memory(fake, addr, page, len);
}

void hs_fake_u8(struct hs_fake *fake, hs_addr addr, uint8_t value)
{
	hs_fake_memory(fake, addr, &value, sizeof(value));
}

void hs_fake_u16(struct hs_fake *fake, hs_addr addr, uint16_t value)
{
	hs_fake_memory(fake, addr, &value, sizeof(value));
}

void hs_fake_u32(struct hs_fake *fake, hs_addr addr, uint32_t value)
{
	hs_fake_memory(fake, addr, &value, sizeof(value));
}

void hs_fake_u64(struct hs_fake *fake, hs_addr addr, uint64_t value)
{
	hs_fake_memory(fake, addr, &value, sizeof(value));
}

void hs_fake_cstr(struct hs_fake *fake, hs_addr addr, const char *s)
{
	hs_fake_memory(fake, addr, s, strlen(s) + 1);
}

void hs_fake_remove(struct hs_fake *fake, hs_addr addr, size_t len)
{
	for (; len; len--, addr++)
		page_at(fake, addr)->present[addr % FAKE_PAGE] = false;
}

struct hs_lwp *hs_fake_lwp(struct hs_fake *fake, pid_t tid, const struct hs_regs *regs)
{
	struct hs_lwp *lwp = need(hs_vec_push(fake->arena, &fake->lwps));

	lwp->tid = tid;
	lwp->syscall_nr = -1;
	lwp->state = 'S';
	lwp->cpu_ms = lwp->cpu_ns = -1;
	if (regs) {
		lwp->has_regs = true;
		lwp->regs = *regs;
	} else {
		lwp->why_no_regs = "the test gave none";
	}
	return lwp;
}

struct hs_mapping *hs_fake_mapping(struct hs_fake *fake, const char *path, hs_addr start,
                                   hs_addr end, unsigned prot)
{
	struct hs_mapping *mapping = need(hs_vec_push(fake->arena, &fake->mappings));

	*mapping = (struct hs_mapping){
		.start = start,
		.end = end,
		.prot = prot,
		.path = need(hs_arena_strdup(fake->arena, path)),
		.module = UINT32_MAX,
	};
	return mapping;
}

struct hs_module *hs_fake_module(struct hs_fake *fake, const char *path, hs_addr start, hs_addr end,
                                 hs_addr bias, int fd)
{
	const struct hs_mapping *mapping =
		hs_fake_mapping(fake, path, start, end, HS_PROT_READ | HS_PROT_EXEC);
	struct hs_module *module = need(hs_vec_push(fake->arena, &fake->modules));

	*module = (struct hs_module){
		.path = mapping->path,
		.start = start,
		.end = end,
		.bias = bias,
		.state = HS_MODULE_OK,
		.fd = fd < 0 ? -1 : dup(fd),
	};
	if (module->fd >= 0)
		module->open_path = module->path;
	return module;
}

struct hs_target_info *hs_fake_info(struct hs_fake *fake)
{
	return &fake->info;
}

static bool fake_read(void *host, hs_addr addr, void *buf, size_t len)
{
	struct hs_fake *fake = host;
	const struct fake_page *page = NULL;

	for (uint8_t *out = buf; len; len--, addr++, out++) {
		if (!page || addr % FAKE_PAGE == 0)
			page = hs_map64_get(&fake->pages, addr / FAKE_PAGE);
		if (!page || !page->present[addr % FAKE_PAGE])
			return false;
		*out = page->bytes[addr % FAKE_PAGE];
	}
	return true;
}

static const struct hs_lwp *fake_lwps(void *host, size_t *count_ret)
{
	struct hs_fake *fake = host;

	*count_ret = fake->lwps.len;
	return fake->lwps.items;
}

static const struct hs_module_map *fake_modules(void *host)
{
	return &((struct hs_fake *)host)->map;
}

static const struct hs_target_info *fake_info(void *host)
{
	return &((struct hs_fake *)host)->info;
}

static const struct hs_host_ops fake_ops = {
	.read = fake_read,
	.lwps = fake_lwps,
	.modules = fake_modules,
	.info = fake_info,
};

static int by_tid(const void *a, const void *b)
{
	const struct hs_lwp *x = a, *y = b;

	return (x->tid > y->tid) - (x->tid < y->tid);
}

static int by_mapping_start(const void *a, const void *b)
{
	const struct hs_mapping *x = a, *y = b;

	return (x->start > y->start) - (x->start < y->start);
}

static int by_module_start(const void *a, const void *b)
{
	const struct hs_module *x = a, *y = b;

	return (x->start > y->start) - (x->start < y->start);
}

struct hs_target *hs_fake_target(struct hs_fake *fake)
{
	if (fake->target)
		return fake->target;
	if (fake->lwps.len)
		qsort(fake->lwps.items, fake->lwps.len, sizeof(*fake->lwps.items), by_tid);
	if (fake->mappings.len)
		qsort(fake->mappings.items, fake->mappings.len, sizeof(*fake->mappings.items),
		      by_mapping_start);
	if (fake->modules.len)
		qsort(fake->modules.items, fake->modules.len, sizeof(*fake->modules.items),
		      by_module_start);
	// A mapping with a module's path inside of its range belongs to it.
	for (size_t i = 0; i < fake->mappings.len; i++) {
		struct hs_mapping *mapping = &fake->mappings.items[i];

		for (size_t j = 0; j < fake->modules.len; j++) {
			const struct hs_module *module = &fake->modules.items[j];

			if (mapping->start >= module->start && mapping->end <= module->end &&
			    !strcmp(mapping->path, module->path))
				mapping->module = (uint32_t)j;
		}
	}
	fake->map = (struct hs_module_map){
		.mappings = fake->mappings.items,
		.num_mappings = fake->mappings.len,
		.modules = fake->modules.items,
		.num_modules = fake->modules.len,
	};

	struct hs_err *err = hs_target_open_hosted(&fake_ops, fake, &fake->target);
	if (err)
		abort();
	return fake->target;
}
