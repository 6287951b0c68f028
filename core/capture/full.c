// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * The memory of a full core, chosen as the kernel chooses by its default coredump_filter: anonymous
 * and shared anonymous memory, and pages of private file mappings that were written to. Which pages
 * that are is told by /proc/PID/pagemap, without touching them; memory that was never touched takes
 * no room. Of shared memory it knows only what this process has touched: what others have written
 * is told by the file behind it, which only the privileged may open. To read it without being told
 * would allocate what was never touched.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE // O_PATH, SEEK_DATA
#endif
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/capture/capture_internal.h"
#include "core/source/live.h"

enum {
	PAGE = HS_STORE_PAGE,
	ENTRIES = 64 << 10,   // of pagemap that are read at once
	MAX_GAP = 256 * PAGE, // of memory that was never touched, written as the zeros that it is
	LINE = 4096 + 256,    // of smaps: a path and numbers
};

// Documentation/admin-guide/mm/pagemap.rst
static const uint64_t page_present = UINT64_C(1) << 63;
static const uint64_t page_swapped = UINT64_C(1) << 62;
static const uint64_t page_of_file = UINT64_C(1) << 61; // or of shared memory

struct excluded {
	hs_addr start, end;
};

/** The file of shared memory, and the part of it with data that was found last. */
struct shared_file {
	int fd; // -1: none, or it may not be opened
	uint64_t start, end;
};

struct chooser {
	struct hs_target *target;
	int proc_fd;
	int pagemap; // -1: it cannot be read
	uint64_t *entries;
	struct excluded *excluded; // ascending
	size_t num_excluded, next_excluded;
	struct hs_capture_range *ranges;
	size_t num, cap;
	bool failed;
};

static void add(struct chooser *c, hs_addr start, hs_addr end)
{
	struct hs_capture_range *last = c->num ? &c->ranges[c->num - 1] : NULL;

	if (last && last->end == start) {
		last->end = end;
		return;
	}
	if (c->num == c->cap) {
		size_t cap = c->cap ? c->cap * 2 : 1024;
		struct hs_capture_range *grown = realloc(c->ranges, cap * sizeof(*grown));

		if (!grown) {
			c->failed = true;
			return;
		}
		c->ranges = grown;
		c->cap = cap;
	}
	c->ranges[c->num++] = (struct hs_capture_range){start, end};
}

/** A mapping is excluded from dumps ("dd"), or is a device's ("io", "pf"). */
static bool has_bad_flag(const char *flags)
{
	return strstr(flags, " dd") || strstr(flags, " io") || strstr(flags, " pf");
}

/** What smaps says must not be in a dump. Without it nothing is excluded. */
static void read_excluded(struct chooser *c, int proc_fd)
{
	int fd = openat(proc_fd, "smaps", O_RDONLY | O_CLOEXEC);
	hs_cleanup(hs_fclosep) FILE *file = fd >= 0 ? fdopen(fd, "r") : NULL;
	hs_cleanup(hs_freep) char *line = malloc(LINE);
	unsigned long long start = 0, end = 0, low, high;
	size_t cap = 0;

	if (!file)
		hs_closep(&fd);
	while (file && line && fgets(line, LINE, file)) {
		if (sscanf(line, "%llx-%llx ", &low, &high) == 2) {
			start = low;
			end = high;
		}
		if (strncmp(line, "VmFlags:", 8) != 0 || !has_bad_flag(line))
			continue;
		if (c->num_excluded == cap) {
			cap = cap ? cap * 2 : 64;
			struct excluded *grown = realloc(c->excluded, cap * sizeof(*grown));

			if (!grown) {
				c->failed = true;
				return;
			}
			c->excluded = grown;
		}
		c->excluded[c->num_excluded++] = (struct excluded){start, end};
	}
}

static bool is_excluded(struct chooser *c, const struct hs_mapping *mapping)
{
	while (c->next_excluded < c->num_excluded &&
	       c->excluded[c->next_excluded].end <= mapping->start)
		c->next_excluded++;
	return c->next_excluded < c->num_excluded &&
	       c->excluded[c->next_excluded].start < mapping->end;
}

enum content {
	CONTENT_NONE,      // re-readable, or not to be read
	CONTENT_ANONYMOUS, // all pages that there are
	CONTENT_PRIVATE,   // of a file: pages that were written to
};

/** Shared memory without a name has a file that is deleted. */
static bool is_shared_memory(const char *path)
{
	static const char *const names[] = {"/memfd:", "/dev/zero", "/SYSV", "/dev/shm/"};
	static const char deleted[] = " (deleted)";
	size_t len = strlen(path), suffix = sizeof(deleted) - 1;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!strncmp(path, names[i], strlen(names[i])))
			return true;
	}
	return len > suffix && !strcmp(path + len - suffix, deleted);
}

static enum content content_of(const struct hs_mapping *mapping)
{
	static const char *const forbidden[] = {"/dev/", "/sys/", "/proc/", "anon_inode:", "[v"};

	if (!(mapping->prot & HS_PROT_READ))
		return CONTENT_NONE;
	if (is_shared_memory(mapping->path))
		return CONTENT_ANONYMOUS;
	for (size_t i = 0; i < sizeof(forbidden) / sizeof(forbidden[0]); i++) {
		if (!strncmp(mapping->path, forbidden[i], strlen(forbidden[i])))
			return CONTENT_NONE;
	}
	return mapping->path[0] == '/' ? CONTENT_PRIVATE : CONTENT_ANONYMOUS;
}

/** A page that is not present: swapped, or a guard page, which looks the same and has nothing. */
static bool can_be_read(struct chooser *c, hs_addr addr)
{
	uint8_t byte;
	struct hs_err *err = hs_target_scan(c->target, addr, &byte, sizeof(byte));

	hs_err_free(err);
	return !err;
}

static bool is_wanted(struct chooser *c, uint64_t entry, enum content content, hs_addr addr)
{
	if (!(entry & (page_present | page_swapped)))
		return false;
	if (content == CONTENT_PRIVATE && entry & page_of_file)
		return false;
	return entry & page_present || can_be_read(c, addr);
}

/** Opened only when it is in memory: one on a disk has data that this process never saw. */
static struct shared_file open_shared(const struct chooser *c, const struct hs_mapping *mapping)
{
	struct shared_file ret = {.fd = -1};
	struct statfs fs;
	char link[64];

	if (!is_shared_memory(mapping->path))
		return ret;
	snprintf(link, sizeof(link), "map_files/%" PRIx64 "-%" PRIx64, mapping->start,
	         mapping->end);
	hs_cleanup(hs_closep) int path_fd = openat(c->proc_fd, link, O_PATH | O_CLOEXEC);
	if (path_fd < 0 || fstatfs(path_fd, &fs) || fs.f_type != TMPFS_MAGIC)
		return ret;
	hs_err_free(hs_root_file_reopen(path_fd, link, &ret.fd));
	return ret;
}

static void close_shared(struct shared_file *file)
{
	hs_closep(&file->fd);
}

static bool has_data(struct shared_file *file, uint64_t offset)
{
	if (file->fd >= 0 && offset >= file->end) {
		off_t start = lseek(file->fd, (off_t)offset, SEEK_DATA);
		off_t end = start < 0 ? -1 : lseek(file->fd, start, SEEK_HOLE);

		file->start = start < 0 ? UINT64_MAX : (uint64_t)start;
		file->end = end < 0 ? UINT64_MAX : (uint64_t)end;
	}
	return file->fd >= 0 && offset >= file->start;
}

static void choose(struct chooser *c, const struct hs_mapping *mapping, enum content content)
{
	hs_addr at = mapping->start, bridge = mapping->start;
	hs_cleanup(close_shared) struct shared_file file = open_shared(c, mapping);
	bool is_private = content == CONTENT_ANONYMOUS && !is_shared_memory(mapping->path);

	// Whatever lies from bridge on was never touched, and is zero.
	while (c->pagemap >= 0 && at < mapping->end && !c->failed) {
		uint64_t left = (mapping->end - at) / PAGE;
		size_t count = left < ENTRIES ? (size_t)left : ENTRIES;
		ssize_t got = pread(c->pagemap, c->entries, count * sizeof(*c->entries),
		                    (off_t)(at / PAGE * sizeof(*c->entries)));

		if (got < (ssize_t)sizeof(*c->entries))
			break;
		count = (size_t)got / sizeof(*c->entries);
		for (size_t i = 0; i < count; i++, at += PAGE) {
			uint64_t offset = mapping->offset + (at - mapping->start);

			if (has_data(&file, offset) || is_wanted(c, c->entries[i], content, at)) {
				bool near = is_private && c->num && at - bridge <= MAX_GAP &&
				            c->ranges[c->num - 1].end == bridge;

				add(c, near ? bridge : at, at + PAGE);
				bridge = at + PAGE;
			} else if (c->entries[i] & page_swapped) {
				bridge = at + PAGE; // a guard page
			}
		}
	}
	// Not told: all of it. Of a file, what was written to is in what can be written to.
	if (at < mapping->end && (content == CONTENT_ANONYMOUS || mapping->prot & HS_PROT_WRITE))
		add(c, at, mapping->end);
}

static void deinit(struct chooser *c)
{
	hs_closep(&c->pagemap);
	free(c->entries);
	free(c->excluded);
	free(c->ranges);
}

struct hs_err *hs_capture_full_ranges(struct hs_target *target, struct hs_capture_range **ret,
                                      size_t *num_ret)
{
	const struct hs_source *source = hs_target_source(target);
	const struct hs_module_map *map = hs_target_modules(target);
	hs_cleanup(deinit) struct chooser c = {.target = target, .pagemap = -1};

	if (!source->ops->proc_directory)
		return hs_err_new(HS_ERR_UNSUPPORTED, "only a live process has all of its memory");
	int proc_fd = source->ops->proc_directory(source);
	c.proc_fd = proc_fd;
	c.entries = calloc(ENTRIES, sizeof(*c.entries));
	if (!c.entries)
		return hs_err_oom();
	c.pagemap = openat(proc_fd, "pagemap", O_RDONLY | O_CLOEXEC);
	read_excluded(&c, proc_fd);
	for (size_t i = 0; i < map->num_mappings && !c.failed; i++) {
		const struct hs_mapping *mapping = &map->mappings[i];
		enum content content = content_of(mapping);

		if (content != CONTENT_NONE && !is_excluded(&c, mapping))
			choose(&c, mapping, content);
	}
	if (c.failed)
		return hs_err_oom();
	*ret = hs_take(c.ranges);
	*num_ret = c.num;
	return NULL;
}
