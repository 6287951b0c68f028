// SPDX-License-Identifier: Apache-2.0
/** @file Temporary files: unlinked, sparse, and never the last bytes of a disk or of memory. */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE // O_TMPFILE, secure_getenv(), memfd_create()
#endif
#include "core/base/temp_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "core/base/cleanup.h"

enum {
	PIECE = 4096,                   // pieces of this size that are zero become holes
	CHECK_EVERY = 64 * 1024 * 1024, // bytes between two looks at the room that is left
	LEAVE_FREE = 2 * CHECK_EVERY,   // of the disk, for the others who write to it
	LEAVE_OF_SMALL = 16,            // this part of a disk that is small itself
	MAX_IN_MEMORY = 256 << 20,      // bytes of a file that has no disk
};

static int open_temporary(const char *directory)
{
	static const char name[] = "/hangscope-XXXXXX";
	int fd = open(directory, O_TMPFILE | O_RDWR | O_EXCL | O_CLOEXEC, 0600);

	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
		return fd;
	// A file system without O_TMPFILE.
	size_t len = strlen(directory);
	hs_cleanup(hs_freep) char *path = malloc(len + sizeof(name));
	if (!path)
		return -1;
	memcpy(path, directory, len);
	memcpy(path + len, name, sizeof(name));
	fd = mkostemp(path, O_CLOEXEC);
	if (fd >= 0)
		unlink(path);
	return fd;
}

struct hs_err *hs_temp_file_open(const char *from, struct hs_temp_file *ret)
{
	static const char *const usual[] = {"/var/tmp", "/tmp"};
	struct hs_temp_file file = {.fd = -1, .from = from};
	const char *tmpdir = secure_getenv("TMPDIR");

	if (tmpdir && *tmpdir) {
		file.directory = tmpdir;
		file.fd = open_temporary(tmpdir);
	} else {
		for (size_t i = 0; file.fd < 0 && i < sizeof(usual) / sizeof(*usual); i++) {
			file.directory = usual[i];
			file.fd = open_temporary(usual[i]);
		}
		// An image with one program and nothing else, or a root that is read-only.
		if (file.fd < 0) {
			file.directory = "memory";
			file.fd = memfd_create("hangscope", MFD_CLOEXEC);
			file.in_memory = true;
		}
	}
	if (file.fd < 0)
		return hs_err_os(errno, "cannot make a temporary file for %s in %s (set TMPDIR)",
		                 from, file.directory);
	*ret = file;
	return NULL;
}

static struct hs_err *write_err(const struct hs_temp_file *file, int errnum)
{
	return hs_err_os(errnum,
	                 "cannot unpack %s into %s after %lld bytes (set TMPDIR to a directory "
	                 "with more room, or unpack it yourself)",
	                 file->from, file->directory, (long long)file->size);
}

/** A disk that is full ends more than us: stop a little earlier. */
static struct hs_err *check_room(struct hs_temp_file *file)
{
	struct statvfs st;

	file->next_check = file->size + CHECK_EVERY;
	if (fstatvfs(file->fd, &st))
		return NULL;
	uint64_t room = (uint64_t)st.f_bavail * st.f_frsize;
	uint64_t part = (uint64_t)st.f_blocks * st.f_frsize / LEAVE_OF_SMALL;
	return room < (part < LEAVE_FREE ? part : LEAVE_FREE) ? write_err(file, ENOSPC) : NULL;
}

static bool is_zero(const uint8_t *bytes, size_t len)
{
	return !bytes[0] && !memcmp(bytes, bytes + 1, len - 1);
}

static struct hs_err *write_at(struct hs_temp_file *file, const uint8_t *bytes, size_t len)
{
	struct hs_err *err = file->size >= file->next_check ? check_room(file) : NULL;
	ssize_t put;

	file->stored += (int64_t)len;
	if (!err && file->in_memory && file->stored > MAX_IN_MEMORY)
		return write_err(file, ENOSPC);
	for (size_t done = 0; !err && done < len; done += (size_t)put) {
		put = pwrite(file->fd, bytes + done, len - done,
		             (off_t)(file->size + (int64_t)done));
		if (put < 0)
			return write_err(file, errno);
	}
	return err;
}

struct hs_err *hs_temp_file_put(struct hs_temp_file *file, int64_t offset, const void *block,
                                size_t len)
{
	const uint8_t *bytes = block;

	file->size = offset;
	while (len) {
		size_t part = PIECE - (size_t)(file->size % PIECE);

		if (part > len)
			part = len;
		// Pieces with something in them that follow each other go out at once.
		size_t run = 0;
		while (run < len && !is_zero(bytes + run, part)) {
			run += part;
			part = len - run < PIECE ? len - run : PIECE;
		}
		size_t step = run ? run : part;
		struct hs_err *err = run ? write_at(file, bytes, run) : NULL;
		if (err)
			return err;
		file->size += (int64_t)step;
		bytes += step;
		len -= step;
	}
	return NULL;
}

struct hs_err *hs_temp_file_end(struct hs_temp_file *file, int64_t size)
{
	file->size = size;
	return ftruncate(file->fd, size) ? write_err(file, errno) : NULL;
}
