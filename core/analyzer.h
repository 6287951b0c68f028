// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Analyzer: one diagnosis per file in analyzers/. A new one: add analyzers/NAME.c that defines
 * `const struct hs_analyzer hs_analyzer_NAME` (a missing or misnamed symbol is a link error),
 * tests/unit/test_NAME.c and samples/NAME/. Analyzers are pure: report from graph.
 */
#ifndef HS_ANALYZER_H
#define HS_ANALYZER_H

#include "core/report.h"
#include "core/wait_graph.h"

enum {
	HS_ANALYZER_ABI = 1
};

struct hs_analyzer {
	unsigned abi;        /**< HS_ANALYZER_ABI */
	const char *name;    /**< of the file */
	const char *summary; /**< one line */
	/** Lower runs first, and may hs_report_claim() cycles: specific before general. */
	int priority;
	HS_MUST_CHECK struct hs_err *(*run)(const struct hs_wait_graph *graph,
	                                    struct hs_report *report);
};

/** All of them, NULL at the end, by name. */
extern const struct hs_analyzer *const hs_analyzers[];

/** Run all by priority. One that fails becomes an evidence of our own bug: the error is returned.
 */
HS_MUST_CHECK struct hs_err *hs_analyzers_run(const struct hs_wait_graph *graph,
                                              struct hs_report *report);

#endif // HS_ANALYZER_H
