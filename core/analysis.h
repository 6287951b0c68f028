// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Analysis: the whole pipeline, from an open target to a report. This is what a program that
 * embeds libhangscope calls.
 */
#ifndef HS_ANALYSIS_H
#define HS_ANALYSIS_H

#include "core/capture/capture.h"
#include "core/report.h"
#include "core/target.h"

enum hs_unwinder {
	HS_UNWINDER_DWFL,      /**< cached rows made from libdwfl's CFI: cores and live */
	HS_UNWINDER_LIBUNWIND, /**< libunwind-ptrace: live only, an independent second opinion */
};

struct hs_analysis_options {
	struct hs_open_options open;
	enum hs_unwinder unwinder;
	bool locals;     /**< collect the local variables of Java frames */
	bool redact;     /**< keep what the program wrote out of the report, see hs_snapshot */
	bool locks_only; /**< reserved */
	/** NULL, or write a snapshot of what was read. *capture_result says what was written. */
	const struct hs_capture_options *capture;
	struct hs_capture_result *capture_result;
	/** A process that may not be attached to: read it without stopping it where that is
	 * allowed, else what /proc alone tells. hs_analysis_refusal() then says so. */
	bool proc_if_refused;
	bool thread_dump; /**< collect what only HotSpot's own thread dump says, too */
};

/** Version of the libunwind that is the second unwinder ("1.6"), NULL when there is none. */
const char *hs_analysis_libunwind(void);

/** Owns snapshot, graph and report; the target is closed when it is returned. */
struct hs_analysis;

/** Open @p target (a path or a PID in decimal), collect, close, build the graph, analyze. */
HS_MUST_CHECK struct hs_err *hs_analysis_run(const char *target,
                                             const struct hs_analysis_options *options,
                                             struct hs_analysis **ret);

const struct hs_report *hs_analysis_report(const struct hs_analysis *analysis);

/** Why the process could not be attached to, or NULL. Borrowed. */
const struct hs_err *hs_analysis_refusal(const struct hs_analysis *analysis);
void hs_analysis_destroy(struct hs_analysis *analysis);
void hs_analysis_destroyp(struct hs_analysis **analysis);

#endif // HS_ANALYSIS_H
