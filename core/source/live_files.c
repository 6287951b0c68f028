// SPDX-License-Identifier: Apache-2.0
/** @file Files that a live process has mapped: opened in its own root, and proven to be those. */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE // O_PATH
#endif

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/source/live.h"

/** The one of several failures that says most: the first that is more than "not there". */
static void keep_reason(struct hs_err **kept, struct hs_err *err)
{
	if (!*kept || hs_err_code(*kept) == HS_ERR_ABSENT) {
		hs_err_free(*kept);
		*kept = err;
	} else {
		hs_err_free(err);
	}
}

struct hs_err *hs_live_files_open_root(struct hs_live *live, const char *root)
{
	if (root) {
		live->root_fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
		live->root_name = hs_arena_strdup(live->base.arena, root);
		live->root_is_given = true;
		if (live->root_fd < 0)
			return hs_err_os(errno, "cannot open the directory %s", root);
	} else {
		live->root_fd = openat(live->proc_fd, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);
		live->root_name = hs_arena_printf(live->base.arena, "/proc/%d/root", live->view);
		if (live->root_fd < 0)
			hs_source_gap(&live->base, "files of the process", "names of functions",
			              "cannot open %s: %s", live->root_name ? live->root_name : "",
			              strerror(errno));
	}
	return live->root_name ? NULL : hs_err_oom();
}

enum proof {
	PROOF_NONE,  /**< another inode and no build id: it cannot be told from a replaced file */
	PROOF_LATER, /**< has a build id, which hs_modules_build() compares with the memory */
	PROOF_INODE, /**< it is the mapped inode */
};

/**
 * Is the open file the mapped one? stat() and maps may differ for the same file: overlayfs (maps
 * shows the inode of a layer, on many kernels), btrfs (another device number). What differs is
 * left to the build id.
 */
static enum proof prove(const struct hs_live *live, const struct hs_mapping *mapping, int fd)
{
	uint8_t id[HS_BUILD_ID_MAX];
	struct stat st;

	if (fstat(fd, &st))
		return PROOF_NONE;
	if (live->root_is_given ||
	    (st.st_ino == mapping->inode && (uint64_t)st.st_dev == mapping->dev))
		return PROOF_INODE;
	return hs_build_id_of_fd(fd, id) ? PROOF_LATER : PROOF_NONE;
}

/** An open file and its name, best of the ways tried so far. */
struct found {
	int fd;
	const char *name;
	enum proof proof;
	struct hs_err *err;
	bool denied; // the kernel's own link to the mapped file
};

/** No way led to it: why, and what would help. */
static struct hs_err *not_found(struct found *found)
{
	bool is_gone = !found->err || hs_err_code(found->err) == HS_ERR_ABSENT;

	if (is_gone && found->denied) {
		hs_err_free(found->err);
		return hs_err_os(EPERM, "it is not there any more, and only CAP_CHECKPOINT_RESTORE "
		                        "or CAP_SYS_ADMIN may open what is left of it, below "
		                        "/proc/PID/map_files");
	}
	return found->err ? found->err : hs_err_absent();
}

static void consider(const struct hs_live *live, const struct hs_mapping *mapping,
                     struct found *found, int fd, const char *name)
{
	enum proof proof = prove(live, mapping, fd);

	if (proof > found->proof) {
		hs_closep(&found->fd);
		found->fd = fd;
		found->name = name;
		found->proof = proof;
		return;
	}
	close(fd);
	if (!proof)
		keep_reason(&found->err,
		            hs_err_new(HS_ERR_BAD_DATA,
		                       "%s was replaced: it is not the file that is mapped (inode "
		                       "%" PRIu64 ")",
		                       name, mapping->inode));
}

/** 1. Its path, as its own root sees it. */
static void try_root(struct hs_live *live, const struct hs_mapping *mapping, const char *path,
                     struct found *found)
{
	int fd = -1;

	if (live->root_fd < 0)
		return;
	struct hs_err *err = hs_root_file_open(live->root_fd, path, &fd);
	if (err)
		keep_reason(&found->err, err);
	else
		consider(live, mapping, found, fd,
		         hs_arena_printf(live->base.arena, "%s%s", live->root_name, path));
}

/**
 * The same build may lie again where a deleted file was: installed once more, or moved there in one
 * step by a tool that always replaces. Its build id proves it.
 */
static void try_successor(struct hs_live *live, const struct hs_mapping *mapping,
                          struct found *found)
{
	static const char deleted[] = " (deleted)";
	size_t len = strlen(mapping->path), suffix = sizeof(deleted) - 1;

	if (len <= suffix || strcmp(mapping->path + len - suffix, deleted) != 0)
		return;
	const char *path = hs_arena_strndup(live->base.arena, mapping->path, len - suffix);
	if (path)
		try_root(live, mapping, path, found);
}

/**
 * 2. The kernel's own link to what is mapped: right also when the file was deleted, replaced or
 * lies in another mount namespace, but for the privileged only (CAP_CHECKPOINT_RESTORE).
 */
static void try_map_files(struct hs_live *live, const struct hs_mapping *mapping,
                          struct found *found)
{
	char link[64], *name;
	int fd = -1;

	snprintf(link, sizeof(link), "map_files/%" PRIx64 "-%" PRIx64, mapping->start,
	         mapping->end);
	hs_cleanup(hs_closep) int path_fd = openat(live->proc_fd, link, O_PATH | O_CLOEXEC);
	if (path_fd < 0 && (errno == EPERM || errno == EACCES))
		found->denied = true;
	if (path_fd < 0)
		return;
	name = hs_arena_printf(live->base.arena, "/proc/%d/%s", live->view, link);
	struct hs_err *err = hs_root_file_reopen(path_fd, name ? name : link, &fd);
	if (err) {
		keep_reason(&found->err, err);
		return;
	}
	hs_closep(&found->fd);
	found->fd = fd;
	found->name = name;
	found->proof = PROOF_INODE;
}

/** 3. The path as we see it: what the kernel shows of a process with a root inside of ours. */
static void try_plain(struct hs_live *live, const struct hs_mapping *mapping, struct found *found)
{
	hs_cleanup(hs_closep) int path_fd = open(mapping->path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	int fd = -1;

	if (path_fd < 0)
		return;
	struct hs_err *err = hs_root_file_reopen(path_fd, mapping->path, &fd);
	if (err)
		keep_reason(&found->err, err);
	else
		consider(live, mapping, found, fd, mapping->path);
}

struct hs_err *hs_live_files_open(void *arg, const struct hs_mapping *mapping, int *fd_ret,
                                  const char **open_path_ret)
{
	struct hs_live *live = arg;
	struct found found = {.fd = -1};

	if (mapping->path[0] != '/')
		return hs_err_absent();
	try_root(live, mapping, mapping->path, &found);
	if (found.proof < PROOF_INODE)
		try_map_files(live, mapping, &found);
	if (found.fd < 0)
		try_successor(live, mapping, &found);
	if (found.proof < PROOF_INODE)
		try_plain(live, mapping, &found);
	if (found.fd < 0)
		return not_found(&found);

	hs_err_free(found.err);
	if (!found.name) {
		close(found.fd);
		return hs_err_oom();
	}
	*fd_ret = found.fd;
	*open_path_ret = found.name;
	return NULL;
}
