// SPDX-License-Identifier: Apache-2.0
/** @file Mappings of a live process. */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/limits.h"
#include "core/source/live.h"

enum {
	FIRST_TEXT = 1 << 20, /**< a JVM with 2000 threads has 400 kB */
	MAX_TEXT = 512 << 20, /**< HS_MAX_MAPPINGS lines of 512 bytes */
};

/** Read all of a file below /proc/VIEW into memory from malloc, NUL-terminated. */
static struct hs_err *slurp(struct hs_live *live, const char *name, char **ret, size_t *len_ret)
{
	hs_cleanup(hs_closep) int fd = openat(live->proc_fd, name, O_RDONLY | O_CLOEXEC);
	size_t cap = FIRST_TEXT, len = 0;

	if (fd < 0)
		return errno == EACCES || errno == EPERM
		               ? hs_live_denied(live, "look into", errno)
		               : hs_err_os(errno, "cannot read %s of process %d", name, live->pid);

	hs_cleanup(hs_freep) char *text = malloc(cap);
	if (!text)
		return hs_err_oom();
	for (;;) {
		ssize_t got = read(fd, text + len, cap - len - 1);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return hs_err_os(errno, "cannot read %s of process %d", name, live->pid);
		if (!got)
			break;
		len += (size_t)got;
		if (len < cap - 1)
			continue;
		if (cap >= MAX_TEXT)
			break;
		char *grown = realloc(text, cap * 2);
		if (!grown)
			return hs_err_oom();
		text = grown;
		cap *= 2;
	}
	text[len] = '\0';
	*ret = hs_take(text);
	*len_ret = len;
	return NULL;
}

struct hs_err *hs_live_maps_read(struct hs_live *live, struct hs_live_maps *ret)
{
	hs_cleanup(hs_freep) char *text = NULL;
	struct hs_live_maps maps = {0};
	size_t len = 0;
	struct hs_err *err = slurp(live, "maps", &text, &len);

	if (!err)
		err = hs_proc_text_maps(live->base.arena, text, len, &maps.items, &maps.num,
		                        &maps.cut);
	if (err)
		return err;
	// A process that ends gives up its memory first: no mappings, and no error.
	if (!maps.num)
		return hs_err_os(ESRCH, "process %d has just ended", live->pid);
	*ret = maps;
	return NULL;
}

const struct hs_mapping *hs_live_maps_find(const struct hs_live_maps *maps, hs_addr addr)
{
	size_t low = 0, high = maps->num;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (maps->items[middle].end <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low < maps->num && maps->items[low].start <= addr ? &maps->items[low] : NULL;
}

/** Reading may block, have side effects on a device, or never works. */
static bool is_forbidden(const char *path)
{
	static const char *const plain[] = {"/dev/shm/", "/dev/zero", "/dev/hugepages"};
	static const char *const special[] = {"/dev/",       "/sys/", "/proc/",
	                                      "anon_inode:", "[vvar", "[vsyscall]"};

	for (size_t i = 0; i < sizeof(plain) / sizeof(*plain); i++) {
		if (strncmp(path, plain[i], strlen(plain[i])) == 0)
			return false;
	}
	for (size_t i = 0; i < sizeof(special) / sizeof(*special); i++) {
		if (strncmp(path, special[i], strlen(special[i])) == 0)
			return true;
	}
	return false;
}

bool hs_live_maps_forbid(const struct hs_live_maps *maps, hs_addr addr, size_t len)
{
	while (len) {
		const struct hs_mapping *mapping = hs_live_maps_find(maps, addr);

		// Unknown: mapped later, or not at all. The kernel knows.
		if (!mapping)
			return false;
		if (*mapping->path && is_forbidden(mapping->path))
			return true;
		if (mapping->end - addr >= len)
			return false;
		len -= mapping->end - addr;
		addr = mapping->end;
	}
	return false;
}

void hs_live_maps_refresh(struct hs_live *live, const struct hs_live_maps *fresh)
{
	for (size_t i = 0; i < fresh->num; i++) {
		struct hs_mapping *mapping = &fresh->items[i];
		const struct hs_mapping *old = hs_live_maps_find(&live->maps, mapping->start);

		if (old && old->inode == mapping->inode && old->dev == mapping->dev &&
		    strcmp(old->path, mapping->path) == 0)
			mapping->module = old->module;
	}
	live->maps = *fresh;
	live->base.modules.mappings = fresh->items;
	live->base.modules.num_mappings = fresh->num;
}
