// SPDX-License-Identifier: Apache-2.0
/** @file Compressed cores: unpacked by libarchive to an unlinked temporary file. */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE // O_TMPFILE, secure_getenv()
#endif
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/cleanup.h"
#include "core/source/core_file.h"
#include "core/source/elf_image.h"

enum {
	PIECE = 4096, // pieces of this size that are zero become holes
	READ_AT_ONCE = 256 * 1024,
	PROGRESS_EVERY = 16 * 1024 * 1024,
	MAGIC = 6,
};

/** A core of a terabyte is a bomb. */
static const int64_t max_unpacked = INT64_C(1) << 40;

struct format {
	const char *name;
	uint8_t magic[MAGIC];
	size_t magic_len;
	int (*support)(struct archive *archive);
};

static const struct format formats[] = {
	{"zstd",  {0x28, 0xb5, 0x2f, 0xfd},      4, archive_read_support_filter_zstd },
	{"xz",    {0xfd, '7', 'z', 'X', 'Z', 0}, 6, archive_read_support_filter_xz   },
	{"gzip",  {0x1f, 0x8b},                  2, archive_read_support_filter_gzip },
	{"bzip2", {'B', 'Z', 'h'},               3, archive_read_support_filter_bzip2},
	{"lz4",   {0x04, 0x22, 0x4d, 0x18},      4, archive_read_support_filter_lz4  },
};

struct unpacker {
	const char *path, *directory;
	const struct hs_open_options *options;
	const struct format *format;
	struct archive *archive;
	int out;
	int64_t size, in_size, next_progress;
};

static void archive_freep(struct archive **archive)
{
	archive_read_free(*archive);
}

static const struct format *find_format(int fd)
{
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		uint8_t head[MAGIC];

		if (hs_pread_full(fd, head, formats[i].magic_len, 0) &&
		    !memcmp(head, formats[i].magic, formats[i].magic_len))
			return &formats[i];
	}
	return NULL;
}

/** An unlinked file; cores are large, and /tmp is often memory. */
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

static const char *temporary_directory(void)
{
	const char *tmpdir = secure_getenv("TMPDIR");

	if (tmpdir && *tmpdir)
		return tmpdir;
	return access("/var/tmp", W_OK) ? "/tmp" : "/var/tmp";
}

static struct hs_err *archive_err(const struct unpacker *unpacker)
{
	const char *why = archive_error_string(unpacker->archive);

	return hs_err_new(HS_ERR_BAD_DATA, "cannot unpack %s (%s): %s", unpacker->path,
	                  unpacker->format->name, why ? why : "no reason given");
}

static struct hs_err *write_err(const struct unpacker *unpacker, int errnum)
{
	return hs_err_os(errnum,
	                 "cannot unpack %s into %s after %lld bytes (set TMPDIR to a directory "
	                 "with more room, or unpack it yourself)",
	                 unpacker->path, unpacker->directory, (long long)unpacker->size);
}

static bool is_zero(const uint8_t *bytes, size_t len)
{
	return !bytes[0] && !memcmp(bytes, bytes + 1, len - 1);
}

/** Append a block, leaving out pieces that are zero. */
static struct hs_err *append(struct unpacker *unpacker, const uint8_t *bytes, size_t len)
{
	while (len) {
		size_t part = PIECE - (size_t)(unpacker->size % PIECE);

		if (part > len)
			part = len;
		// Pieces with something in them that follow each other go out at once.
		size_t run = 0;
		while (run < len && !is_zero(bytes + run, part)) {
			run += part;
			part = len - run < PIECE ? len - run : PIECE;
		}
		size_t step = run ? run : part;
		for (size_t done = 0; done < run;) {
			ssize_t put = pwrite(unpacker->out, bytes + done, run - done,
			                     (off_t)(unpacker->size + (int64_t)done));

			if (put < 0)
				return write_err(unpacker, errno);
			done += (size_t)put;
		}
		unpacker->size += (int64_t)step;
		bytes += step;
		len -= step;
	}
	return NULL;
}

static void progress(struct unpacker *unpacker)
{
	const struct hs_open_options *options = unpacker->options;

	if (!options->progress || unpacker->size < unpacker->next_progress)
		return;
	unpacker->next_progress = unpacker->size + PROGRESS_EVERY;
	options->progress(options->progress_arg, "unpacking",
	                  unpacker->in_size > 0
	                          ? (double)archive_filter_bytes(unpacker->archive, -1) /
	                                    (double)unpacker->in_size
	                          : -1);
}

static struct hs_err *copy_all(struct unpacker *unpacker)
{
	for (;;) {
		const void *block;
		size_t len;
		la_int64_t offset;
		int rc = archive_read_data_block(unpacker->archive, &block, &len, &offset);

		if (rc == ARCHIVE_EOF)
			break;
		if (rc != ARCHIVE_OK)
			return archive_err(unpacker);
		if (unpacker->size > max_unpacked - (int64_t)READ_AT_ONCE ||
		    len > (size_t)(max_unpacked - unpacker->size))
			return hs_err_new(HS_ERR_BAD_DATA, "%s unpacks to more than %lld bytes",
			                  unpacker->path, (long long)max_unpacked);
		struct hs_err *err = append(unpacker, block, len);
		if (err)
			return err;
		progress(unpacker);
	}
	if (ftruncate(unpacker->out, unpacker->size))
		return write_err(unpacker, errno);
	return NULL;
}

/** One filter, no archive around it; none that would start a program. */
static struct hs_err *open_archive(struct unpacker *unpacker, int fd)
{
	struct archive *archive = unpacker->archive;
	struct archive_entry *entry;

	if (unpacker->format->support(archive) != ARCHIVE_OK)
		return hs_err_new(HS_ERR_UNSUPPORTED,
		                  "cannot unpack %s: libarchive was built without %s",
		                  unpacker->path, unpacker->format->name);
	if (archive_read_support_format_raw(archive) != ARCHIVE_OK ||
	    archive_read_open_fd(archive, fd, READ_AT_ONCE) != ARCHIVE_OK ||
	    archive_read_next_header(archive, &entry) != ARCHIVE_OK)
		return archive_err(unpacker);
	return NULL;
}

struct hs_err *hs_unpack(int fd, const char *path, const struct hs_open_options *options,
                         int *fd_ret)
{
	struct unpacker unpacker = {
		.path = path,
		.options = options,
		.directory = temporary_directory(),
		.format = find_format(fd),
	};
	struct stat st;

	if (!unpacker.format)
		return NULL;
	hs_cleanup(hs_closep) int out = open_temporary(unpacker.directory);
	if (out < 0)
		return hs_err_os(errno, "cannot make a temporary file in %s to unpack %s",
		                 unpacker.directory, path);
	hs_cleanup(archive_freep) struct archive *archive = archive_read_new();
	if (!archive)
		return hs_err_oom();
	unpacker.archive = archive;
	unpacker.out = out;
	unpacker.in_size = fstat(fd, &st) ? 0 : st.st_size;

	struct hs_err *err = open_archive(&unpacker, fd);
	if (!err)
		err = copy_all(&unpacker);
	if (err)
		return err;
	*fd_ret = out;
	out = -1;
	return NULL;
}
