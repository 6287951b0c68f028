// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Unpacking: compressed cores and bundles, to unlinked temporary files. Not installed.
 */
#ifndef HS_UNPACK_H
#define HS_UNPACK_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/arena.h"
#include "core/target.h"

struct archive;
struct hs_bundle;

/** What came out of a file. */
struct hs_unpacked {
	int fd;                   /**< the core; -1: the file is not packed */
	struct hs_bundle *bundle; /**< NULL: there was nothing but a core */
	int64_t captured_at;      /**< of the core in a bundle; else 0 */
};

/** Bounds on what may come out. */
struct hs_unpack_limits {
	int64_t max_bytes;   /**< of all files */
	int64_t free_bytes;  /**< up to so many are unpacked whatever the ratio is */
	int64_t max_ratio;   /**< of bytes to packed bytes, beyond that */
	int64_t max_library; /**< bytes of one file that is not the core */
};

/**
 * If @p fd is a compressed file or a bundle (told by its first bytes), unpack it. Otherwise
 * ret->fd is -1.
 * @param limits NULL: the usual ones.
 * @return NULL; HS_ERR_BAD_DATA (broken, cut off, a bomb, a manifest that does not fit),
 * HS_ERR_UNSUPPORTED, HS_ERR_OS.
 */
HS_MUST_CHECK struct hs_err *hs_unpack(int fd, const char *path, struct hs_arena *arena,
                                       const struct hs_open_options *options,
                                       const struct hs_unpack_limits *limits,
                                       struct hs_unpacked *ret);

// ---- between unpack.c and bundle_read.c

struct hs_unpacker {
	const char *path;   /**< of the packed file */
	const char *format; /**< its compression */
	struct hs_arena *arena;
	const struct hs_open_options *options;
	const struct hs_unpack_limits *limits;
	struct archive *archive;
	int64_t in_size, next_progress;
	int64_t out_size;  /**< bytes unpacked so far, with holes */
	int64_t out_bytes; /**< without those that the archive says are holes */
};

/** An entry of @p size bytes is passed over: that is work, too. */
HS_MUST_CHECK struct hs_err *hs_unpack_pass(struct hs_unpacker *unpacker, int64_t size);

/** HS_ERR_BAD_DATA with libarchive's reason. */
HS_MUST_CHECK HS_IS_ERR struct hs_err *hs_unpack_err(const struct hs_unpacker *unpacker);

/**
 * Unpack the current entry to a new temporary file.
 * @param size Of the entry; -1: not known before it ends.
 */
HS_MUST_CHECK struct hs_err *hs_unpack_entry(struct hs_unpacker *unpacker, int64_t size,
                                             int *fd_ret);

#endif // HS_UNPACK_H
