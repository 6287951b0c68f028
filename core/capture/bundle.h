// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Bundle: a core and the files that its analysis opens, packed into one archive that is read
 * anywhere (core/source/bundle_read.h says what is in it). It holds the memory of the process:
 * whoever may read it can read all that the process knew.
 */
#ifndef HS_BUNDLE_H
#define HS_BUNDLE_H

#include "core/base/output_file.h"
#include "core/target.h"

struct hs_bundle_options {
	const char *debug_dir; /**< separate debug files; NULL: the system's */
	const char *version;   /**< of the program, for the manifest */
	const char *core_path; /**< for the manifest; NULL: what was opened */
	/** Whose texts below /proc are packed, too; 0: the core's, if that process still lives. */
	pid_t pid;
	/** As in hs_open_options. */
	void (*progress)(void *arg, const char *what, double fraction);
	void *progress_arg;
};

/** What was packed. */
struct hs_bundle_result {
	size_t num_files;   /**< programs and libraries */
	size_t num_debug;   /**< separate debug files */
	size_t num_missing; /**< not packed: not found, or another build */
	bool has_proc;      /**< texts of the live process were packed */
	uint64_t core_bytes, file_bytes;
	uint64_t packed_bytes; /**< size of the bundle */
};

/**
 * Pack an open core. Files that are missing are named in the manifest, and are gaps of @p target.
 * @p output is neither committed nor aborted.
 * @return NULL; HS_ERR_USAGE (not a core), HS_ERR_UNSUPPORTED (libarchive without zstd),
 * HS_ERR_OS, HS_ERR_BAD_DATA (a file changed while it was read).
 */
HS_MUST_CHECK struct hs_err *hs_bundle_write(struct hs_target *target,
                                             const struct hs_bundle_options *options,
                                             struct hs_output *output,
                                             struct hs_bundle_result *ret);

#endif // HS_BUNDLE_H
