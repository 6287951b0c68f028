// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Capture: writes a snapshot of a live process, an ELF core of what an analysis has read and of
 * what gdb and eu-stack need for native stacks. The note "HANGSCOPE" has what a core cannot say
 * (core/source/snapshot_note.h).
 */
#ifndef HS_CAPTURE_H
#define HS_CAPTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"

struct hs_output;
struct hs_second_look;
struct hs_target;

struct hs_capture_options {
	const char *path; /**< "-": standard output. There complete, or not at all */
	const char *tool; /**< name and version of the program that writes */
	bool full;        /**< all memory that can be read, not only what was */
	/** As in hs_open_options. */
	void (*progress)(void *arg, const char *what, double fraction);
	void *progress_arg;
};

struct hs_capture_result {
	uint64_t bytes;  /**< length of the core */
	uint64_t memory; /**< bytes of memory in it */
	size_t threads;
	bool is_output;   /**< the error is about what was to be written, not about the target */
	bool was_written; /**< the core is there */
	bool cut_lists;   /**< the lists of libraries were too long: a debugger may miss some */
	uint64_t lost;    /**< full: bytes that could not be read, and are zero in it */
};

/**
 * Write the snapshot of a target that was opened with hs_open_options.record, and that everything
 * was read from that shall be in it. The target is released as soon as all is read: before anything
 * is written, unless all memory is. The pause in the file is that until the writing began.
 * @param second_look What became of its findings.
 * @param output NULL, or options->path when it was opened early. Committed, or aborted.
 * @return NULL, HS_ERR_OOM, HS_ERR_USAGE (a terminal), HS_ERR_OS; nothing is left of the file then.
 */
HS_MUST_CHECK struct hs_err *hs_capture_write(struct hs_target *target,
                                              const struct hs_second_look *second_look,
                                              const struct hs_capture_options *options,
                                              struct hs_output *output,
                                              struct hs_capture_result *ret);

#endif // HS_CAPTURE_H
