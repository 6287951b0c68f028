// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Output file: a large file that is there complete or not at all. It gets its name when it is
 * committed; until then it has none where the file system can do that (O_TMPFILE), so that nothing
 * is left behind however the program ends. On other file systems it has a temporary name, and
 * SIGINT, SIGTERM, SIGHUP and SIGQUIT are held back in the calling thread until it is removed:
 * hs_output_write() fails with EINTR then, and the signal is delivered by hs_output_abort().
 *
 * One that is open belongs to the thread that opened it.
 */
#ifndef HS_OUTPUT_FILE_H
#define HS_OUTPUT_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"

struct hs_output;

/**
 * Begin a file that only its owner may read. @p path is "-" for standard output. What exists and
 * is no regular file (a FIFO, /dev/null) is written to directly; a terminal is refused. A regular
 * file is replaced by the commit; of a symbolic link, the file it leads to. A file without a name,
 * by way of /proc/self/fd, is written to, too: it goes with its last descriptor.
 * @return NULL; HS_ERR_USAGE (a terminal, an empty name); HS_ERR_OS.
 */
HS_MUST_CHECK struct hs_err *hs_output_open(const char *path, struct hs_output **ret);

/**
 * Begin it before something that takes long, so that what is wrong with it is known early. Where
 * that would hold signals back all the while, *ret stays NULL: to be opened when it is written.
 */
HS_MUST_CHECK struct hs_err *hs_output_open_early(const char *path, struct hs_output **ret);

/** For tests: @p named as on a file system that knows no files without a name. */
HS_MUST_CHECK struct hs_err *hs_output_open_as(const char *path, bool named,
                                               struct hs_output **ret);

/** For pwrite(), ftruncate(), fallocate(). Owned by the output. */
int hs_output_fd(const struct hs_output *output);

/** It cannot be seeked in: what is written is on its way. Only hs_output_write() then. */
bool hs_output_is_stream(const struct hs_output *output);

/** As it was given, "standard output" for "-": for messages. */
const char *hs_output_name(const struct hs_output *output);

/**
 * Append all of @p len bytes at the position of the descriptor.
 * @return NULL, or HS_ERR_OS: ENOSPC, EFBIG, EPIPE (SIGXFSZ and SIGPIPE are not delivered), EINTR
 * (a signal asks for the end: abort).
 */
HS_MUST_CHECK struct hs_err *hs_output_write(struct hs_output *output, const void *bytes,
                                             size_t len);

/** Has a signal that was held back arrived? For who writes to the descriptor. */
bool hs_output_is_interrupted(const struct hs_output *output);

/** HS_ERR_OS in the words that hs_output_write() uses, with what to do about a full disk. */
HS_MUST_CHECK HS_IS_ERR struct hs_err *hs_output_err(const struct hs_output *output, int errnum);

/** Close it and give it its name. Frees the output, also on error: nothing is left behind then. */
HS_MUST_CHECK struct hs_err *hs_output_commit(struct hs_output *output);

/** Remove what was written, and free. NULL is a no-op. */
void hs_output_abort(struct hs_output *output);
void hs_output_abortp(struct hs_output **output);

#endif // HS_OUTPUT_FILE_H
