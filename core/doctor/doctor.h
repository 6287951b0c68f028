// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Doctor: can this process be attached to, would the kernel write a core of it, is a core whole,
 * are the files there? Each question is answered yes or no, and each no has the one remedy that
 * applies here. Nothing is written, stopped or changed.
 */
#ifndef HS_DOCTOR_H
#define HS_DOCTOR_H

#include <stdio.h>
#include <sys/types.h>

#include "core/base/arena.h"
#include "core/base/err.h"
#include "core/base/tristate.h"

/** What a "no" costs. */
enum hs_check_need {
	HS_NEED_ATTACH,  /**< the process cannot be attached to */
	HS_NEED_ANSWERS, /**< it can be analysed, but questions stay open */
	HS_NEED_NOTHING, /**< good to know: a core later, or names of functions */
};

/** One question and its answer. Strings may hold raw bytes of names: renderers escape them. */
struct hs_check {
	const char *id;   /**< stable: "attach.uid" */
	const char *area; /**< "attach", "core-writing", "files", "core" */
	const char *question;
	enum hs_check_need need;
	enum hs_tristate answer;
	const char *detail; /**< what was found, or NULL */
	const char *remedy; /**< what to do; not NULL when the answer is no */
};

enum hs_doctor_kind {
	HS_DOCTOR_SELF, /**< no target: what this place allows */
	HS_DOCTOR_LIVE,
	HS_DOCTOR_CORE,
};

/** What it comes to. */
enum hs_health {
	HS_HEALTH_GOOD,
	HS_HEALTH_ANSWERS_MISSING,
	HS_HEALTH_REFUSED,
	HS_HEALTH_NO_TARGET, /**< no such process, a zombie, not a core */
};

struct hs_diagnosis {
	enum hs_doctor_kind kind;
	enum hs_health health;
	const char *target;      /**< "PID 123 (java)", a path, or "processes" */
	pid_t pid;               /**< 0: none */
	const char *path;        /**< of a core, or NULL */
	const char *verdict;     /**< one sentence */
	const char *remedy;      /**< the most useful one, or NULL */
	const char *environment; /**< "host", "kubernetes", "docker", "podman", "container" */
	HS_VEC(struct hs_check) checks;
};

struct hs_doctor_options {
	const char *exe, *root, *debug_dir; /**< as in struct hs_open_options; NULL: defaults */
	/** Only what decides whether the process can be attached to: for the error message. */
	bool attach_only;
};

/**
 * Examine @p target: a PID, a core file, or NULL for this place.
 * @param[out] ret In @p arena.
 * @return NULL, HS_ERR_OOM, HS_ERR_USAGE, or HS_ERR_OS when a core cannot be opened at all.
 */
HS_MUST_CHECK struct hs_err *hs_doctor_run(const char *target,
                                           const struct hs_doctor_options *options,
                                           struct hs_arena *arena, const struct hs_diagnosis **ret);

/** As words for people. @p version is of the tool. @return NULL or HS_ERR_OS, HS_ERR_OOM. */
HS_MUST_CHECK struct hs_err *hs_doctor_text(const struct hs_diagnosis *diagnosis,
                                            const char *version, bool color, FILE *out);

/** As JSON, schema "hangscope-doctor/1" (hangscope-doctor-1.schema.json). */
HS_MUST_CHECK struct hs_err *hs_doctor_json(const struct hs_diagnosis *diagnosis,
                                            const char *version, FILE *out);

#endif // HS_DOCTOR_H
