// SPDX-License-Identifier: Apache-2.0
/** @file Files below another root: regular files only, and never outside of it. */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE // O_PATH
#endif

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/source/live.h"
#include "core/source/source.h"

enum {
	MAX_LINKS = 40, /**< as the kernel: path_resolution(7) */
	MAX_RACES = 16, /**< openat2: EAGAIN when a rename ran alongside ".." */
};

static const char *kind_of(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR:
		return "a directory";
	case S_IFIFO:
		return "a FIFO";
	case S_IFSOCK:
		return "a socket";
	case S_IFLNK:
		return "a symbolic link";
	default:
		return "a device";
	}
}

struct hs_err *hs_root_file_reopen(int path_fd, const char *name, int *fd_ret)
{
	char link[32];
	struct stat st;

	if (fstat(path_fd, &st))
		return hs_err_os(errno, "%s", name);
	if (!S_ISREG(st.st_mode))
		return hs_err_new(HS_ERR_BAD_DATA, "%s is %s, not a regular file: not opened", name,
		                  kind_of(st.st_mode));
	// The O_PATH descriptor pins the inode that was looked at; this opens just that one.
	snprintf(link, sizeof(link), "/proc/self/fd/%d", path_fd);

	int fd = open(link, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return hs_err_os(errno, "cannot open %s", name);
	*fd_ret = fd;
	return NULL;
}

/** Resolved so far: a path of plain components from the root, without links and dots. */
struct walk {
	char done[PATH_MAX];
	char rest[PATH_MAX];
};

/** Open the directory @c done, component by component, following no link. */
static int open_done(int root_fd, const char *done)
{
	int fd = openat(root_fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);

	while (fd >= 0 && *done) {
		char name[NAME_MAX + 1];
		size_t len = strcspn(done, "/");

		if (len > NAME_MAX) {
			close(fd);
			errno = ENAMETOOLONG;
			return -1;
		}
		memcpy(name, done, len);
		name[len] = '\0';
		done += len + (done[len] == '/');

		int next = openat(fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		int saved = errno;
		close(fd);
		errno = saved;
		fd = next;
	}
	return fd;
}

/** Put the target of the link @p link_fd before what is left of the path. */
static int push_link(struct walk *walk, int link_fd)
{
	char target[PATH_MAX], joined[PATH_MAX];
	ssize_t len = readlinkat(link_fd, "", target, sizeof(target) - 1);

	if (len < 0)
		return -1;
	target[len] = '\0';
	if (snprintf(joined, sizeof(joined), "%s/%s", target, walk->rest) >= (int)sizeof(joined)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	// Absolute: absolute in that root.
	if (target[0] == '/')
		walk->done[0] = '\0';
	strcpy(walk->rest, joined);
	return 0;
}

/** Take the next component off the rest. @return false at the end. */
static bool pop_component(struct walk *walk, char name[static NAME_MAX + 1])
{
	const char *at = walk->rest + strspn(walk->rest, "/");
	size_t len = strcspn(at, "/");

	if (!len || len > NAME_MAX)
		return false;
	memcpy(name, at, len);
	name[len] = '\0';
	memmove(walk->rest, at + len, strlen(at + len) + 1);
	return true;
}

/**
 * What openat2(RESOLVE_IN_ROOT) does, by hand: kernels before 5.6, and containers whose seccomp
 * filter does not know it. Links are read and their targets walked from the root again, so
 * nothing that the kernel resolves by itself can leave the root.
 */
static int open_by_walk(int root_fd, const char *path)
{
	struct walk walk = {.done = ""};
	char name[NAME_MAX + 1];
	int links = 0;
	hs_cleanup(hs_closep) int fd = -1;

	strcpy(walk.rest, path);
	while (pop_component(&walk, name)) {
		struct stat st;
		size_t len = strlen(walk.done);

		if (strcmp(name, ".") == 0)
			continue;
		if (strcmp(name, "..") == 0) {
			char *slash = strrchr(walk.done, '/');
			*(slash ? slash : walk.done) = '\0';
			hs_closep(&fd);
			fd = -1;
			continue;
		}
		if (len + 1 + strlen(name) >= sizeof(walk.done)) {
			errno = ENAMETOOLONG;
			return -1;
		}

		hs_cleanup(hs_closep) int dir = open_done(root_fd, walk.done);
		if (dir < 0)
			return -1;
		hs_closep(&fd);
		fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0 || fstat(fd, &st))
			return -1;
		if (!S_ISLNK(st.st_mode)) {
			snprintf(walk.done + len, sizeof(walk.done) - len, "%s%s", len ? "/" : "",
			         name);
			continue;
		}
		if (++links > MAX_LINKS) {
			errno = ELOOP;
			return -1;
		}
		if (push_link(&walk, fd))
			return -1;
		hs_closep(&fd);
		fd = -1;
	}

	// The last step was "..", or the rest begins with a name that is too long.
	if (walk.rest[strspn(walk.rest, "/")] || fd < 0) {
		errno = ENOENT;
		return -1;
	}
	int ret = fd;
	fd = -1;
	return ret;
}

static int open_in_root(int root_fd, const char *path)
{
	struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT};
	long fd = -1;

	for (int i = 0; i < MAX_RACES; i++) {
		fd = syscall(SYS_openat2, root_fd, path, &how, sizeof(how));
		if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
			break;
	}
	// EPERM: what seccomp filters of old container runtimes answer to calls they do not know.
	if (fd < 0 && (errno == ENOSYS || errno == EPERM))
		return open_by_walk(root_fd, path);
	return (int)fd;
}

struct hs_err *hs_root_file_open(int root_fd, const char *path, int *fd_ret)
{
	if (!*path)
		return hs_err_absent();
	if (strlen(path) >= PATH_MAX)
		return hs_err_new(HS_ERR_BAD_DATA, "a path of %zu bytes", strlen(path));

	hs_cleanup(hs_closep) int fd = open_in_root(root_fd, path);
	if (fd < 0) {
		switch (errno) {
		case ENOENT:
		case ENOTDIR:
			return hs_err_absent();
		case ELOOP:
		case EXDEV:
		case ENAMETOOLONG:
			return hs_err_new(HS_ERR_BAD_DATA, "%s cannot be followed inside the root",
			                  path);
		default:
			return hs_err_os(errno, "cannot open %s", path);
		}
	}
	return hs_root_file_reopen(fd, path, fd_ret);
}
