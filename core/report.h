// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Report: verdict, findings and gaps in a fixed order; what a renderer gets. Built by analyzers
 * through hs_report_add() and the hs_finding_* calls, which keep out-of-memory sticky.
 */
#ifndef HS_REPORT_H
#define HS_REPORT_H

#include "core/snapshot.h"
#include "core/wait_graph.h"

enum hs_severity {
	HS_NOTE,
	HS_WARNING,
	HS_CRITICAL,
};

/** Ordered by how bad: the report's verdict is the worst of its findings'. */
enum hs_verdict {
	HS_VERDICT_CLEAR,
	HS_VERDICT_INCOMPLETE,
	HS_VERDICT_CONTENTION,
	HS_VERDICT_LOOP,
	HS_VERDICT_STALL,
	HS_VERDICT_POSSIBLE_DEADLOCK,
	HS_VERDICT_DEADLOCK,
};

struct hs_known_issue {
	const char *title, *url;
};

/** One diagnosis. Cites records of the snapshot by pointer or index. */
struct hs_finding {
	const char *id; /**< "class-loading.loader-lock-vs-link"; never shown to change */
	enum hs_severity severity;
	enum hs_certainty certainty; /**< of the weakest cited edge */
	enum hs_verdict verdict;
	bool confirmed;    /**< cores: true; live: looked at twice */
	const char *title; /**< after "DEADLOCK  ", one line */
	const char *why;   /**< plain words; paragraphs separated by '\n' */
	char *why_text;    /**< the same, while hs_finding_why() appends to it */
	size_t why_len, why_cap;
	HS_VEC(const char *) fix; /**< most specific first */
	HS_VEC(const char *) evidence;
	HS_VEC(struct hs_known_issue) known;
	struct hs_index_vec threads;   /**< walking order */
	struct hs_index_vec resources; /**< walking order */
	HS_VEC(struct hs_step) steps;  /**< the cycle, empty when it is none */
	struct hs_index_vec blocked;   /**< threads behind it */
	char signature[17];            /**< 16 hex digits, set by hs_report_finish() */
};

struct hs_report {
	struct hs_arena *arena;
	const struct hs_snapshot *snapshot;
	const struct hs_wait_graph *graph;
	enum hs_verdict verdict;
	HS_VEC(struct hs_finding) findings; /**< after finish: by severity, id, first thread */
	bool unconfirmed_dropped;           /**< live: a finding went away at the second look */
	/** Steps that a more specific finding has claimed: deadlock.cycle leaves these alone. */
	HS_VEC(const struct hs_cycle *) claimed;
};

HS_MUST_CHECK struct hs_err *hs_report_create(const struct hs_snapshot *snapshot,
                                              const struct hs_wait_graph *graph,
                                              struct hs_arena *arena, struct hs_report **ret);

/** Add a finding and return it: valid until the next one is added. NULL when out of memory (all
 * hs_finding_* calls accept that). @p id is a string literal. */
struct hs_finding *hs_report_add(struct hs_report *report, const char *id,
                                 enum hs_severity severity, enum hs_verdict verdict);

HS_PRINTF(3, 4)
void hs_finding_title(struct hs_report *report, struct hs_finding *finding, const char *fmt, ...);
/** Append to why: a sentence or, starting with '\n', a paragraph. */
HS_PRINTF(3, 4)
void hs_finding_why(struct hs_report *report, struct hs_finding *finding, const char *fmt, ...);
HS_PRINTF(3, 4)
void hs_finding_fix(struct hs_report *report, struct hs_finding *finding, const char *fmt, ...);
HS_PRINTF(3, 4)
void hs_finding_evidence(struct hs_report *report, struct hs_finding *finding, const char *fmt,
                         ...);
void hs_finding_known(struct hs_report *report, struct hs_finding *finding, const char *title,
                      const char *url);
/** Cite a whole cycle: its threads, resources, steps, the blocked threads and its certainty; adds
 * one evidence line per edge. */
void hs_finding_cite_cycle(struct hs_report *report, struct hs_finding *finding,
                           const struct hs_cycle *cycle);

/** Append to threads, resources or blocked. */
void hs_finding_push(struct hs_arena *arena, struct hs_index_vec *vector, uint32_t value);

/** Mark a cycle as explained by a specific analyzer; is it? Analyzers run in order of priority. */
void hs_report_claim(struct hs_report *report, const struct hs_cycle *cycle);
bool hs_report_claimed(const struct hs_report *report, const struct hs_cycle *cycle);

/** Order the findings, compute signatures and the verdict. */
HS_MUST_CHECK struct hs_err *hs_report_finish(struct hs_report *report);

const char *hs_verdict_name(enum hs_verdict verdict);    /**< "possible-deadlock" */
const char *hs_severity_name(enum hs_severity severity); /**< "critical" */

/** 0 nothing found, 1 findings, 2 incomplete: DESIGN.md 1. */
int hs_report_exit_status(const struct hs_report *report);

#endif // HS_REPORT_H
