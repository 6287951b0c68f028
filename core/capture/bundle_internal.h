// SPDX-License-Identifier: Apache-2.0
/** @file What the files of the bundle writer share. Not installed. */
#ifndef HS_BUNDLE_INTERNAL_H
#define HS_BUNDLE_INTERNAL_H

#include <jansson.h>

#include "core/capture/bundle.h"

/** A file of the target, or a text about it: one line of the manifest. */
struct hs_bundle_item {
	const char *name;  /**< in the archive; NULL: not packed */
	const char *path;  /**< where the target has it */
	const char *kind;  /**< "module", "debug", "text" */
	const char *state; /**< "ok", "missing", "mismatch" */
	const char *why;   /**< NULL, or why it is not packed */
	const struct hs_module *module;
	const char *text; /**< content, when fd < 0 */
	int fd;           /**< of the module, or of a debug file and our own */
	uint64_t size;
	int64_t mtime;
};

/** All that is packed besides the core, in the order of the archive. */
struct hs_bundle_list {
	struct hs_arena *arena;
	HS_VEC(struct hs_bundle_item) texts;
	HS_VEC(struct hs_bundle_item) files;
	bool has_proc;
	bool is_starved; /**< there was no descriptor left: said as a gap */
};

/** Modules of the target and their debug files. @p list is to be closed also on error. */
HS_MUST_CHECK struct hs_err *hs_bundle_list_files(struct hs_bundle_list *list,
                                                  struct hs_target *target, const char *debug_dir);

/** The maps that the core knows; those and other texts of the live process, when it is that. */
HS_MUST_CHECK struct hs_err *hs_bundle_list_texts(struct hs_bundle_list *list,
                                                  struct hs_target *target, pid_t pid);

void hs_bundle_list_close(struct hs_bundle_list *list);

/** A JSON string of raw bytes: what is no UTF-8 is written as \xNN. */
json_t *hs_bundle_json_text(struct hs_arena *arena, const char *raw);

#endif // HS_BUNDLE_INTERNAL_H
