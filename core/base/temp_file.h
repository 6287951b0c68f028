// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Temporary files for captures: unlinked from the start, and sparse. Not installed.
 */
#ifndef HS_TEMP_FILE_H
#define HS_TEMP_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"

struct hs_temp_file {
	int fd;                /**< closed by the owner of the struct */
	const char *directory; /**< where it lies, for messages */
	const char *from;      /**< what is unpacked into it, for messages; borrowed */
	int64_t size;          /**< so far */
	int64_t next_check;    /**< of the room on the disk */
	int64_t stored;        /**< bytes written, holes not counted */
	bool in_memory;
};

/**
 * Below $TMPDIR, else in /var/tmp: cores are large, and /tmp, which comes next, is often memory.
 * Where TMPDIR is not set and neither can be used, the file is in memory: it costs as much as is
 * written, until it is closed, of the container's and its pod's limit. hs_temp_file_put() ends that
 * at 256 MB a file; who writes to the descriptor himself (a snapshot: some tens of MB, 215 MB with
 * 10,000 threads) keeps his own measure.
 */
HS_MUST_CHECK struct hs_err *hs_temp_file_open(const char *from, struct hs_temp_file *ret);

/**
 * Write a block at @p offset, which is not below the size so far; what lies between, and pages that
 * are zero, are holes. Stops before the disk is full.
 */
HS_MUST_CHECK struct hs_err *hs_temp_file_put(struct hs_temp_file *file, int64_t offset,
                                              const void *bytes, size_t len);

/** Give it its size. */
HS_MUST_CHECK struct hs_err *hs_temp_file_end(struct hs_temp_file *file, int64_t size);

#endif // HS_TEMP_FILE_H
