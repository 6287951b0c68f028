// SPDX-License-Identifier: Apache-2.0
/** @file Memory of a live process: stacks copied during the pause, everything else read late. */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE // process_vm_readv()
#endif

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "core/limits.h"
#include "core/source/live.h"

enum {
	RED_ZONE = 128,             /**< below sp, x86_64 psABI 3.2.2 */
	STACK_COPY_NOW = 256 << 10, /**< bytes per thread; what is above is read late */
	STACK_GUESS = 16 << 10,     /**< of a thread whose sp is not known before the pause */
	STACKS_MAX = 1 << 30,       /**< bytes of all stacks together */
	VECTORS = 512,              /**< per call; IOV_MAX is 1024 */
};

_Static_assert((int)STACK_COPY_NOW <= (int)HS_MAX_STACK_COPY, "cap on stack copies");

static bool known_sp(const struct hs_live_task *task, hs_addr *ret)
{
	switch (task->fate) {
	case HS_LIVE_STOPPED:
		*ret = task->regs.rsp;
		return true;
	case HS_LIVE_LISTED:
	case HS_LIVE_SEIZED:
	case HS_LIVE_SKIPPED:
		*ret = task->parked.sp;
		return task->is_parked;
	default:
		return false;
	}
}

/** The used part of the stack at @p sp, or false when no readable mapping is there. */
static bool used_stack(const struct hs_live_maps *maps, hs_addr sp, struct hs_live_range *ret)
{
	const struct hs_mapping *mapping = hs_live_maps_find(maps, sp);

	if (!mapping || !(mapping->prot & HS_PROT_READ) ||
	    hs_live_maps_forbid(maps, mapping->start, 1))
		return false;

	hs_addr start = (sp < RED_ZONE ? 0 : sp - RED_ZONE) & ~(hs_addr)7;
	if (start < mapping->start)
		start = mapping->start;
	size_t len = mapping->end - start;
	*ret = (struct hs_live_range){
		.start = start,
		.len = len < STACK_COPY_NOW ? len : STACK_COPY_NOW,
	};
	return true;
}

static bool map_buffer(struct hs_live *live, size_t len)
{
	if (live->buffer)
		munmap(live->buffer, live->buffer_len);
	// Page faults on our side took half of the copying time in the pause (ENGINE.md 3).
	live->buffer = mmap(NULL, len, PROT_READ | PROT_WRITE,
	                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	live->buffer_len = len;
	if (live->buffer != MAP_FAILED)
		return true;
	live->buffer = NULL;
	live->buffer_len = 0;
	return false;
}

struct hs_err *hs_live_stacks_prepare(struct hs_live *live, bool one_by_one)
{
	const struct hs_live_tasks *tasks = &live->tasks;
	size_t total = 0;

	for (size_t i = 0; i < tasks->num && !one_by_one; i++) {
		struct hs_live_range range;
		hs_addr sp;

		if (known_sp(&tasks->items[i], &sp) && used_stack(&live->maps, sp, &range))
			total += range.len;
		else
			total += STACK_GUESS;
	}
	total += total / 8 + STACK_COPY_NOW;
	if (total > STACKS_MAX)
		total = STACKS_MAX;
	live->ranges = hs_arena_calloc(live->base.arena, tasks->cap, sizeof(*live->ranges));
	if (!live->ranges || !map_buffer(live, total))
		return hs_err_oom();
	return NULL;
}

static int compare_ranges(const void *a, const void *b)
{
	const struct hs_live_range *x = a, *y = b;

	return (x->start > y->start) - (x->start < y->start);
}

/** One range per thread whose stack pointer is known. @return how many lie in no mapping. */
static size_t plan_ranges(struct hs_live *live)
{
	size_t lost = 0;

	live->num_ranges = 0;
	for (size_t i = 0; i < live->tasks.num; i++) {
		hs_addr sp;

		if (!known_sp(&live->tasks.items[i], &sp))
			continue;
		if (used_stack(&live->maps, sp, &live->ranges[live->num_ranges]))
			live->num_ranges++;
		else
			lost++;
	}
	return lost;
}

/**
 * Sort and make disjoint. Stacks may share a mapping: glibc 2.42 has guard pages inside of one
 * (MADV_GUARD_INSTALL), coroutines have none at all.
 */
static void part_ranges(struct hs_live *live)
{
	struct hs_live_range *ranges = live->ranges;
	size_t num = live->num_ranges;

	qsort(ranges, num, sizeof(*ranges), compare_ranges);
	for (size_t i = 0; i + 1 < num; i++) {
		if (ranges[i].len > ranges[i + 1].start - ranges[i].start)
			ranges[i].len = ranges[i + 1].start - ranges[i].start;
	}
}

/** Give each range its place in the buffer. */
static struct hs_err *place_ranges(struct hs_live *live)
{
	struct hs_live_range *ranges = live->ranges;
	size_t total = 0, num = live->num_ranges;

	part_ranges(live);
	for (size_t i = 0; i < num; i++) {
		if (ranges[i].len > STACKS_MAX - total)
			ranges[i].len = 0;
		total += ranges[i].len;
	}
	if (total > live->buffer_len && !map_buffer(live, total))
		return hs_err_oom();

	const uint8_t *at = live->buffer;
	for (size_t i = 0; i < num; i++) {
		ranges[i].bytes = at;
		at += ranges[i].len;
	}
	return NULL;
}

/** The readable beginning of a range; /proc/PID/mem stops exactly at the first bad page. */
static size_t read_prefix(const struct hs_live *live, const struct hs_live_range *range)
{
	size_t done = 0;

	while (done < range->len) {
		ssize_t got = pread(live->mem_fd, (uint8_t *)range->bytes + done, range->len - done,
		                    (off_t)(range->start + done));
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		done += (size_t)got;
	}
	return done;
}

/** Copy @p num ranges, at most VECTORS, by one call. @return bytes, or -1. */
static ssize_t read_batch(const struct hs_live *live, const struct hs_live_range *ranges,
                          size_t num)
{
	struct iovec local[VECTORS], remote[VECTORS];
	ssize_t got;

	for (size_t i = 0; i < num; i++) {
		local[i] = (struct iovec){(void *)ranges[i].bytes, ranges[i].len};
		remote[i] = (struct iovec){(void *)(uintptr_t)ranges[i].start, ranges[i].len};
	}
	do {
		got = process_vm_readv(live->view, local, num, remote, num, 0);
	} while (got < 0 && errno == EINTR);
	return got;
}

/** Copy all ranges; those that end in unreadable memory become as short as what was read. */
static void fill_ranges(struct hs_live *live)
{
	size_t i = 0;

	while (i < live->num_ranges && !live->no_process_readv) {
		size_t num = live->num_ranges - i < VECTORS ? live->num_ranges - i : VECTORS;
		ssize_t got = read_batch(live, &live->ranges[i], num);

		if (got < 0 && errno != EFAULT) {
			live->no_process_readv = errno == EPERM || errno == ENOSYS;
			break;
		}
		if (got < 0)
			got = 0;
		for (; num && (size_t)got >= live->ranges[i].len; i++, num--)
			got -= (ssize_t)live->ranges[i].len;
		// The call ended in this one.
		if (num) {
			live->ranges[i].len = read_prefix(live, &live->ranges[i]);
			i++;
		}
	}
	for (; i < live->num_ranges; i++)
		live->ranges[i].len = read_prefix(live, &live->ranges[i]);
}

static void drop_empty_ranges(struct hs_live *live)
{
	size_t kept = 0;

	for (size_t i = 0; i < live->num_ranges; i++) {
		if (live->ranges[i].len)
			live->ranges[kept++] = live->ranges[i];
	}
	live->num_ranges = kept;
}

void hs_live_stacks_refresh(struct hs_live *live)
{
	struct hs_live_maps fresh;
	struct hs_err *err = hs_live_maps_read(live, &fresh);

	if (err)
		hs_err_free(err); // what is missing then is missed by whoever reads it
	else
		hs_live_maps_refresh(live, &fresh);
}

struct hs_err *hs_live_stacks_copy(struct hs_live *live)
{
	struct hs_err *err;

	if (plan_ranges(live)) {
		hs_live_stacks_refresh(live);
		plan_ranges(live);
	}
	err = place_ranges(live);
	if (err) {
		live->num_ranges = 0;
		return err;
	}
	fill_ranges(live);
	drop_empty_ranges(live);
	return NULL;
}

// ---- One by one

bool hs_live_stacks_copy_one(struct hs_live *live, const struct hs_live_task *task,
                             struct hs_live_range *ret)
{
	struct iovec local, remote;
	hs_addr sp;

	if (!known_sp(task, &sp) || !used_stack(&live->maps, sp, ret))
		return false;
	ret->bytes = live->buffer;
	local = (struct iovec){live->buffer, ret->len};
	remote = (struct iovec){(void *)(uintptr_t)ret->start, ret->len};
	if (live->no_process_readv ||
	    process_vm_readv(live->view, &local, 1, &remote, 1, 0) != (ssize_t)ret->len)
		ret->len = read_prefix(live, ret);
	return true;
}

struct hs_err *hs_live_stacks_keep(struct hs_live *live, const struct hs_live_range *range)
{
	uint8_t *copy;

	if (!range->len || live->num_ranges == live->tasks.cap ||
	    range->len > STACKS_MAX - live->kept)
		return NULL;
	copy = hs_arena_alloc(live->base.arena, range->len);
	if (!copy)
		return hs_err_oom();
	memcpy(copy, range->bytes, range->len);
	live->kept += range->len;
	live->ranges[live->num_ranges] = *range;
	live->ranges[live->num_ranges++].bytes = copy;
	return NULL;
}

void hs_live_stacks_sort(struct hs_live *live)
{
	part_ranges(live);
	drop_empty_ranges(live);
}

// ---- Reads

bool hs_live_is_same(const struct hs_live *live)
{
	uint8_t byte;
	ssize_t got;

	// Through this descriptor the memory that was first seen has an end when it is gone; an
	// address without a page is another thing, EIO (fs/proc/base.c, mem_rw()).
	do {
		got = pread(live->mem_fd, &byte, 1, (off_t)live->maps.items[0].start);
	} while (got < 0 && errno == EINTR);
	return got != 0;
}

/** By /proc/PID/mem, which also reads what the program itself may not: refuse that. */
static bool read_by_file(const struct hs_live *live, hs_addr addr, void *buf, size_t len)
{
	const struct hs_mapping *mapping = hs_live_maps_find(&live->maps, addr);
	const struct hs_live_range range = {.start = addr, .len = len, .bytes = buf};

	if (mapping && !(mapping->prot & HS_PROT_READ))
		return false;
	return addr <= INT64_MAX && read_prefix(live, &range) == len;
}

static bool read_late(struct hs_live *live, hs_addr addr, void *buf, size_t len)
{
	struct iovec local = {buf, len}, remote = {(void *)(uintptr_t)addr, len};

	if (hs_live_maps_forbid(&live->maps, addr, len))
		return false;
	if (!live->no_process_readv) {
		ssize_t got = process_vm_readv(live->view, &local, 1, &remote, 1, 0);

		// The number may have gone to another process, or this one runs another program.
		if (got == (ssize_t)len)
			return hs_live_is_same(live);
		if (got >= 0 || errno == EFAULT)
			return false;
		live->no_process_readv = errno == EPERM || errno == ENOSYS;
	}
	return read_by_file(live, addr, buf, len);
}

/** The first range that ends behind @p addr, or NULL. */
static const struct hs_live_range *range_after(const struct hs_live *live, hs_addr addr)
{
	size_t low = 0, high = live->num_ranges;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (live->ranges[middle].start + live->ranges[middle].len <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low < live->num_ranges ? &live->ranges[low] : NULL;
}

struct hs_err *hs_live_read(struct hs_source *source, hs_addr addr, void *buf, size_t len)
{
	struct hs_live *live = (struct hs_live *)source;
	uint8_t *out = buf;

	if (hs_addr_wraps(addr, len))
		return hs_err_fault();
	while (len) {
		const struct hs_live_range *range = range_after(live, addr);
		size_t part = len;

		if (range && range->start <= addr) {
			size_t offset = addr - range->start;

			if (part > range->len - offset)
				part = range->len - offset;
			memcpy(out, range->bytes + offset, part);
		} else {
			if (range && part > range->start - addr)
				part = range->start - addr;
			if (!read_late(live, addr, out, part))
				return hs_err_fault();
		}
		addr += part;
		out += part;
		len -= part;
	}
	return NULL;
}

struct hs_err *hs_live_read_now(struct hs_source *source, hs_addr addr, void *buf, size_t len)
{
	struct hs_live *live = (struct hs_live *)source;

	if (hs_addr_wraps(addr, len) || (len && !read_late(live, addr, buf, len)))
		return hs_err_fault();
	return NULL;
}
