// SPDX-License-Identifier: Apache-2.0
/** @file Compressed cores, and bundles: unpacked by libarchive to unlinked temporary files. */

#include "core/source/unpack.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/cleanup.h"
#include "core/base/temp_file.h"
#include "core/source/bundle_read.h"
#include "core/source/elf_image.h"

enum {
	READ_AT_ONCE = 256 * 1024,
	PROGRESS_EVERY = 16 * 1024 * 1024,
	MAGIC = 6,
};

/** A core of a terabyte is a bomb, and so are 64 GiB that were packed in 6 MiB. */
static const struct hs_unpack_limits usual_limits = {
	.max_bytes = INT64_C(1) << 40,
	.free_bytes = INT64_C(64) << 30,
	.max_ratio = 10000,
	.max_library = INT64_C(16) << 30,
};

struct format {
	const char *name;
	uint8_t magic[MAGIC];
	size_t magic_len;
	off_t magic_offset;
	int (*support)(struct archive *archive);
};

// clang-format off
static const struct format formats[] = {
	{"zstd",  {0x28, 0xb5, 0x2f, 0xfd},      4, 0,   archive_read_support_filter_zstd },
	{"xz",    {0xfd, '7', 'z', 'X', 'Z', 0}, 6, 0,   archive_read_support_filter_xz   },
	{"gzip",  {0x1f, 0x8b},                  2, 0,   archive_read_support_filter_gzip },
	{"bzip2", {'B', 'Z', 'h'},               3, 0,   archive_read_support_filter_bzip2},
	{"lz4",   {0x04, 0x22, 0x4d, 0x18},      4, 0,   archive_read_support_filter_lz4  },
	{"tar",   {'u', 's', 't', 'a', 'r'},     5, 257, archive_read_support_filter_none },
};
// clang-format on

static void archive_freep(struct archive **archive)
{
	archive_read_free(*archive);
}

static const struct format *find_format(int fd)
{
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		uint8_t head[MAGIC];

		if (hs_pread_full(fd, head, formats[i].magic_len,
		                  (uint64_t)formats[i].magic_offset) &&
		    !memcmp(head, formats[i].magic, formats[i].magic_len))
			return &formats[i];
	}
	return NULL;
}

struct hs_err *hs_unpack_err(const struct hs_unpacker *unpacker)
{
	const char *why = archive_error_string(unpacker->archive);

	return hs_err_new(HS_ERR_BAD_DATA, "cannot unpack %s (%s): %s", unpacker->path,
	                  unpacker->format, why ? why : "no reason given");
}

static void progress(struct hs_unpacker *unpacker)
{
	const struct hs_open_options *options = unpacker->options;

	if (!options->progress || unpacker->out_size < unpacker->next_progress)
		return;
	unpacker->next_progress = unpacker->out_size + PROGRESS_EVERY;
	options->progress(options->progress_arg, "unpacking",
	                  unpacker->in_size > 0
	                          ? (double)archive_filter_bytes(unpacker->archive, -1) /
	                                    (double)unpacker->in_size
	                          : -1);
}

/** Count a block, with @p hole bytes left out before it. */
static struct hs_err *count(struct hs_unpacker *unpacker, int64_t hole, int64_t len)
{
	const struct hs_unpack_limits *limits = unpacker->limits;

	unpacker->out_size += hole + len;
	unpacker->out_bytes += len;
	if (unpacker->out_size > limits->max_bytes)
		return hs_err_new(HS_ERR_BAD_DATA, "%s unpacks to more than %lld bytes",
		                  unpacker->path, (long long)limits->max_bytes);
	if (unpacker->out_bytes > limits->free_bytes &&
	    unpacker->out_bytes / limits->max_ratio > archive_filter_bytes(unpacker->archive, -1))
		return hs_err_new(HS_ERR_BAD_DATA,
		                  "%s unpacks to more than %lld times its size: this is no core",
		                  unpacker->path, (long long)limits->max_ratio);
	return NULL;
}

struct hs_err *hs_unpack_pass(struct hs_unpacker *unpacker, int64_t size)
{
	return count(unpacker, 0, size);
}

static struct hs_err *copy_entry(struct hs_unpacker *unpacker, struct hs_temp_file *file,
                                 int64_t size)
{
	const int64_t max = size < 0 ? unpacker->limits->max_bytes : size;

	for (;;) {
		const void *block;
		size_t len;
		la_int64_t offset;
		int rc = archive_read_data_block(unpacker->archive, &block, &len, &offset);

		if (rc == ARCHIVE_EOF)
			return hs_temp_file_end(file, size < 0 ? file->size : size);
		if (rc != ARCHIVE_OK)
			return hs_unpack_err(unpacker);
		if (offset < file->size || offset > max ||
		    (size >= 0 && (int64_t)len > max - offset))
			return hs_err_new(HS_ERR_BAD_DATA,
			                  "cannot unpack %s: an entry of it is larger than it says",
			                  unpacker->path);
		struct hs_err *err = count(unpacker, offset - file->size, (int64_t)len);
		if (!err)
			err = hs_temp_file_put(file, offset, block, len);
		if (err)
			return err;
		progress(unpacker);
	}
}

struct hs_err *hs_unpack_entry(struct hs_unpacker *unpacker, int64_t size, int *fd_ret)
{
	struct hs_temp_file file;
	struct hs_err *err = hs_temp_file_open(unpacker->path, &file);

	if (err)
		return err;
	err = copy_entry(unpacker, &file, size);
	if (err)
		close(file.fd);
	else
		*fd_ret = file.fd;
	return err;
}

/** One filter, and a tar archive or none; no filter that would start a program. */
static struct hs_err *open_archive(struct hs_unpacker *unpacker, const struct format *format,
                                   int fd, struct archive_entry **entry_ret)
{
	struct archive *archive = unpacker->archive;

	if (format->support(archive) != ARCHIVE_OK)
		return hs_err_new(HS_ERR_UNSUPPORTED,
		                  "cannot unpack %s: libarchive was built without %s",
		                  unpacker->path, format->name);
	if (archive_read_support_format_raw(archive) != ARCHIVE_OK ||
	    archive_read_support_format_tar(archive) != ARCHIVE_OK ||
	    archive_read_open_fd(archive, fd, READ_AT_ONCE) != ARCHIVE_OK ||
	    archive_read_next_header(archive, entry_ret) != ARCHIVE_OK)
		return hs_unpack_err(unpacker);
	return NULL;
}

static bool is_tar(struct archive *archive)
{
	return (archive_format(archive) & ARCHIVE_FORMAT_BASE_MASK) == ARCHIVE_FORMAT_TAR;
}

struct hs_err *hs_unpack(int fd, const char *path, struct hs_arena *arena,
                         const struct hs_open_options *options,
                         const struct hs_unpack_limits *limits, struct hs_unpacked *ret)
{
	const struct format *format = find_format(fd);
	struct archive_entry *entry;
	struct stat st;

	*ret = (struct hs_unpacked){.fd = -1};
	if (!format)
		return NULL;
	hs_cleanup(archive_freep) struct archive *archive = archive_read_new();
	if (!archive)
		return hs_err_oom();
	struct hs_unpacker unpacker = {
		.path = path,
		.format = format->name,
		.arena = arena,
		.options = options,
		.limits = limits ? limits : &usual_limits,
		.archive = archive,
		.in_size = fstat(fd, &st) ? 0 : st.st_size,
	};

	struct hs_err *err = open_archive(&unpacker, format, fd, &entry);
	if (err)
		return err;
	if (is_tar(archive))
		return hs_bundle_read(&unpacker, entry, ret);
	return hs_unpack_entry(&unpacker, -1, &ret->fd);
}
