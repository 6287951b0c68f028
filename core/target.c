// SPDX-License-Identifier: Apache-2.0
/** @file Target: a cache of pages and the typed readers on top of a source. */

#include "core/target.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/source/source.h"

enum {
	PAGE_SHIFT = 12,
	PAGE_SIZE = 1 << PAGE_SHIFT,
	CACHE_WAYS = 4,
	CACHE_SETS = 1024, // 16 MiB of pages when full; untouched ones cost no memory
	/** Longer reads go to the source: they would push everything else out of the cache. */
	CACHE_LONGEST_READ = 16 * PAGE_SIZE,
	CSTR_CHUNK = 256,
};

/** Page number + 1 of each way; 0: empty. */
struct cache_set {
	uint64_t tags[CACHE_WAYS];
	uint8_t used[CACHE_WAYS]; // since the clock hand last passed
	uint8_t hand;
};

struct hs_target {
	struct hs_source *source;
	uint64_t last_tag; // the page of the last hit
	const uint8_t *last_page;
	struct cache_set sets[CACHE_SETS];
	uint8_t *pages; // NULL: not cached
};

struct hs_err *hs_target_from_source(struct hs_source *owned, struct hs_target **ret)
{
	hs_cleanup(hs_source_destroyp) struct hs_source *source = owned;
	hs_cleanup(hs_freep) struct hs_target *target = calloc(1, sizeof(*target));

	if (!target || hs_arena_failed(source->arena))
		return hs_err_oom();
	if (source->cacheable) {
		target->pages = calloc(CACHE_SETS * CACHE_WAYS, PAGE_SIZE);
		if (!target->pages)
			return hs_err_oom();
	}
	target->source = hs_take(source);
	*ret = hs_take(target);
	return NULL;
}

void hs_target_close(struct hs_target *target)
{
	if (!target)
		return;
	hs_source_destroy(target->source);
	free(target->pages);
	free(target);
}

void hs_target_closep(struct hs_target **target)
{
	hs_target_close(*target);
}

struct hs_source *hs_target_source(struct hs_target *target)
{
	return target->source;
}

const struct hs_target_info *hs_target_info(const struct hs_target *target)
{
	return &target->source->info;
}

double hs_target_held_ms(const struct hs_target *target)
{
	const struct hs_source *source = target->source;

	return source->ops->held_ms ? source->ops->held_ms(source) : source->info.pause_ms;
}

void hs_target_release(struct hs_target *target)
{
	if (target->source->ops->release)
		target->source->ops->release(target->source);
}

const struct hs_module_map *hs_target_modules(const struct hs_target *target)
{
	return &target->source->modules;
}

const struct hs_lwp *hs_target_lwps(const struct hs_target *target, size_t *count_ret)
{
	*count_ret = target->source->num_lwps;
	return target->source->lwps;
}

const struct hs_target_gap *hs_target_gaps(const struct hs_target *target, size_t *count_ret)
{
	*count_ret = target->source->gaps.len;
	return target->source->gaps.items;
}

int hs_target_file(const struct hs_target *target)
{
	const struct hs_source *source = target->source;

	return source->ops->file ? source->ops->file(source) : -1;
}

int hs_target_open_debug(const struct hs_target *target, const struct hs_module *module,
                         const char **path_ret)
{
	const struct hs_source *source = target->source;

	return source->ops->open_debug ? source->ops->open_debug(source, module, path_ret) : -1;
}

bool hs_target_is_process(const struct hs_target *target, const void *auxv, size_t len)
{
	const struct hs_source *source = target->source;

	return source->ops->is_process && source->ops->is_process(source, auxv, len);
}

static struct hs_err *source_read(struct hs_target *target, hs_addr addr, void *buf, size_t len)
{
	return hs_source_read(target->source, addr, buf, len);
}

/** A way to put a page in: an empty one, else by second chance. */
static unsigned cache_victim(struct cache_set *set)
{
	for (;;) {
		unsigned way = set->hand;

		set->hand = (uint8_t)((way + 1) % CACHE_WAYS);
		if (!set->tags[way] || !set->used[way])
			return way;
		set->used[way] = 0;
	}
}

/** The page with this number, or NULL when it cannot be read as a whole. */
static const uint8_t *cache_page(struct hs_target *target, uint64_t number)
{
	uint64_t tag = number + 1;

	if (tag == target->last_tag)
		return target->last_page;

	// Stacks lie a power of two apart: all bits of the number must count.
	size_t index = (number * UINT64_C(0x9e3779b97f4a7c15)) >> 54;
	_Static_assert(CACHE_SETS == 1 << (64 - 54), "the shift above leaves an index of a set");
	struct cache_set *set = &target->sets[index];
	uint8_t *pages = target->pages + index * CACHE_WAYS * PAGE_SIZE;
	unsigned way = 0;

	while (way < CACHE_WAYS && set->tags[way] != tag)
		way++;
	if (way == CACHE_WAYS) {
		way = cache_victim(set);
		uint8_t *page = pages + way * PAGE_SIZE;

		// The source may have written half a page before it failed.
		set->tags[way] = 0;
		if (target->last_page == page)
			target->last_tag = 0;
		struct hs_err *err =
			source_read(target, (hs_addr)number << PAGE_SHIFT, page, PAGE_SIZE);
		if (err) {
			hs_err_free(err);
			return NULL;
		}
		set->tags[way] = tag;
	}
	set->used[way] = 1;
	target->last_tag = tag;
	target->last_page = pages + way * PAGE_SIZE;
	return target->last_page;
}

struct hs_err *hs_target_read(struct hs_target *target, hs_addr addr, void *buf, size_t len)
{
	if (!len)
		return NULL;
	if (hs_addr_wraps(addr, len))
		return hs_err_fault();
	if (!target->pages || len > CACHE_LONGEST_READ)
		return source_read(target, addr, buf, len);

	for (uint8_t *out = buf; len;) {
		size_t offset = addr % PAGE_SIZE;
		size_t part = len < PAGE_SIZE - offset ? len : PAGE_SIZE - offset;
		const uint8_t *page = cache_page(target, addr >> PAGE_SHIFT);

		if (page) {
			memcpy(out, page + offset, part);
		} else {
			struct hs_err *err = source_read(target, addr, out, part);

			if (err)
				return err;
		}
		out += part;
		addr += part;
		len -= part;
	}
	return NULL;
}

bool hs_target_is_pid(const char *s, pid_t *ret)
{
	char *end;

	if (*s < '1' || *s > '9')
		return false;
	errno = 0;
	long value = strtol(s, &end, 10);
	if (errno || *end || value <= 0 || value > INT32_MAX)
		return false;
	*ret = (pid_t)value;
	return true;
}

struct hs_err *hs_target_scan(struct hs_target *target, hs_addr addr, void *buf, size_t len)
{
	if (!len)
		return NULL;
	if (hs_addr_wraps(addr, len))
		return hs_err_fault();
	return target->source->ops->read(target->source, addr, buf, len);
}

/** hs_target_read() of a few bytes, with the common case in line. */
static inline struct hs_err *read_word(struct hs_target *target, hs_addr addr, void *buf,
                                       size_t size)
{
	size_t offset = addr % PAGE_SIZE;

	if ((addr >> PAGE_SHIFT) + 1 == target->last_tag && offset + size <= PAGE_SIZE) {
		memcpy(buf, target->last_page + offset, size);
		return NULL;
	}
	return hs_target_read(target, addr, buf, size);
}

struct hs_err *hs_target_read_u8(struct hs_target *target, hs_addr addr, uint8_t *ret)
{
	uint8_t value;
	struct hs_err *err = read_word(target, addr, &value, sizeof(value));

	if (!err)
		*ret = value;
	return err;
}

struct hs_err *hs_target_read_u16(struct hs_target *target, hs_addr addr, uint16_t *ret)
{
	uint16_t value;
	struct hs_err *err = read_word(target, addr, &value, sizeof(value));

	if (!err)
		*ret = value;
	return err;
}

struct hs_err *hs_target_read_u32(struct hs_target *target, hs_addr addr, uint32_t *ret)
{
	uint32_t value;
	struct hs_err *err = read_word(target, addr, &value, sizeof(value));

	if (!err)
		*ret = value;
	return err;
}

struct hs_err *hs_target_read_u64(struct hs_target *target, hs_addr addr, uint64_t *ret)
{
	uint64_t value;
	struct hs_err *err = read_word(target, addr, &value, sizeof(value));

	if (!err)
		*ret = value;
	return err;
}

struct hs_err *hs_target_read_now(struct hs_target *target, hs_addr addr, void *buf, size_t len)
{
	const struct hs_source_ops *ops = target->source->ops;

	if (!len)
		return NULL;
	if (hs_addr_wraps(addr, len))
		return hs_err_fault();
	return (ops->read_now ? ops->read_now : ops->read)(target->source, addr, buf, len);
}

/** Position of the first NUL in [addr, addr + len), or @p len when there is none. */
static struct hs_err *find_nul(struct hs_target *target, hs_addr addr, size_t len, size_t *ret)
{
	char chunk[CSTR_CHUNK];
	struct hs_err *err = hs_target_read(target, addr, chunk, len);

	if (!err) {
		const char *nul = memchr(chunk, 0, len);

		*ret = nul ? (size_t)(nul - chunk) : len;
		return NULL;
	}
	if (len == 1 || !hs_err_catch(&err, HS_ERR_FAULT))
		return err;

	// Readable memory may end inside of the chunk, after the string.
	for (size_t i = 0; i < len; i++) {
		err = hs_target_read(target, addr + i, chunk, 1);
		if (err)
			return err;
		if (!chunk[0]) {
			*ret = i;
			return NULL;
		}
	}
	*ret = len;
	return NULL;
}

struct hs_err *hs_target_read_cstr(struct hs_target *target, hs_addr addr, size_t max,
                                   struct hs_arena *arena, const char **ret)
{
	size_t len = 0;

	// Chunks do not cross a page, so that a string at the end of a mapping can be read.
	for (;;) {
		size_t chunk = CSTR_CHUNK - (addr + len) % CSTR_CHUNK;
		size_t nul = 0;

		if (max - len < chunk)
			chunk = max - len + 1;
		struct hs_err *err = find_nul(target, addr + len, chunk, &nul);
		if (err)
			return err;
		len += nul;
		if (nul < chunk)
			break;
		if (len > max)
			return hs_err_new(HS_ERR_BAD_DATA,
			                  "no string at 0x%llx: no end in %zu bytes",
			                  (unsigned long long)addr, max);
		if (addr + len == 0)
			return hs_err_fault();
	}

	char *copy = hs_arena_alloc(arena, len + 1);
	if (!copy)
		return hs_err_oom();
	struct hs_err *err = hs_target_read(target, addr, copy, len);
	if (!err)
		*ret = copy;
	return err;
}

struct hs_err *hs_target_check_stack(struct hs_target *target, hs_addr slot)
{
	uint8_t page[PAGE_SIZE];
	hs_addr start = slot & ~(hs_addr)(PAGE_SIZE - 1);

	// A snapshot is a copy of a live process: it has what could be read.
	if (hs_target_info(target)->kind == HS_TARGET_LIVE ||
	    hs_target_info(target)->kind == HS_TARGET_SNAPSHOT)
		return NULL;
	struct hs_err *err = hs_target_read(target, start, page, sizeof(page));
	if (err) {
		hs_err_free(err); // whoever reads the slot itself says so
		return NULL;
	}
	// Each byte is equal to the next, and the first is zero.
	if (page[0] || memcmp(page, page + 1, sizeof(page) - 1) != 0)
		return NULL;
	return hs_err_new(HS_ERR_BAD_DATA,
	                  "the stack is missing from the core: only zeros at 0x%llx (gdb's gcore "
	                  "leaves out a block with a guard page in it)",
	                  (unsigned long long)start);
}

struct hs_err *hs_target_lwp_unmoved(struct hs_target *target, pid_t host_tid, bool *same_ret)
{
	const struct hs_source_ops *ops = target->source->ops;

	if (!ops->lwp_unmoved)
		return hs_err_new(HS_ERR_UNSUPPORTED, "a %s cannot be looked at again", ops->name);
	return ops->lwp_unmoved(target->source, host_tid, same_ret);
}

struct hs_err *hs_target_lwp_switches(struct hs_target *target, pid_t host_tid, uint64_t *ret)
{
	const struct hs_source_ops *ops = target->source->ops;

	if (!ops->lwp_switches)
		return hs_err_new(HS_ERR_UNSUPPORTED, "a %s cannot be looked at again", ops->name);
	return ops->lwp_switches(target->source, host_tid, ret);
}

const char *hs_target_fd_link(struct hs_target *target, int fd)
{
	struct hs_source *source = target->source;
	const char *link = source->ops->fd_link ? source->ops->fd_link(source, fd) : NULL;

	if (link && source->record) {
		struct hs_fd_link *kept = hs_vec_push(source->arena, &source->fd_links);

		if (kept)
			*kept = (struct hs_fd_link){fd, link};
	}
	return link;
}
