// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Contention: no deadlock, but threads wait behind one that runs, sleeps or does I/O.
 *
 * Reads: the trees of the wait graph. Reports: contention.blocked-behind, one finding per thread
 * that others wait behind. Blind to: what that thread itself waits for when it has no holder (a
 * reply from another process).
 */

#include "core/analyzer.h"
#include "core/words.h"

enum {
	NAMES_SHOWN = 4,
	/** More than this many trees tell nothing new. */
	TREES_SHOWN = 20,
};

static void cite_tree(const struct hs_wait_graph *graph, struct hs_report *report,
                      struct hs_finding *f, const struct hs_tree *tree)
{
	const struct hs_snapshot *s = report->snapshot;
	struct hs_arena *arena = report->arena;
	size_t count;
	const struct hs_edge *const *waiters =
		hs_wait_graph_waiters(graph, tree->hold->resource, &count);

	if (!f)
		return;
	f->certainty = tree->certainty;
	hs_finding_push(arena, &f->threads, tree->root);
	hs_finding_push(arena, &f->resources, tree->hold->resource);
	for (size_t i = 0; i < tree->num_blocked; i++)
		hs_finding_push(arena, &f->blocked, tree->blocked[i]);
	if (tree->hold->read_from)
		hs_finding_evidence(
			report, f, "%s holds %s: %s", hs_words_thread(arena, s, tree->root),
			hs_words_safe(arena, s->resources.items[tree->hold->resource].label),
			hs_words_safe(arena, tree->hold->read_from));
	for (size_t i = 0; i < count && i < NAMES_SHOWN; i++) {
		if (waiters[i]->read_from)
			hs_finding_evidence(report, f, "%s waits for it: %s",
			                    hs_words_thread(arena, s, waiters[i]->thread),
			                    hs_words_safe(arena, waiters[i]->read_from));
	}
}

static struct hs_err *contention_run(const struct hs_wait_graph *graph, struct hs_report *report)
{
	const struct hs_snapshot *s = report->snapshot;
	struct hs_arena *arena = report->arena;

	for (size_t i = 0; i < graph->num_trees && i < TREES_SHOWN; i++) {
		const struct hs_tree *tree = &graph->trees[i];
		const struct hs_resource *r = &s->resources.items[tree->hold->resource];
		struct hs_finding *f = hs_report_add(report, "contention.blocked-behind",
		                                     tree->num_blocked > 1 ? HS_WARNING : HS_NOTE,
		                                     HS_VERDICT_CONTENTION);
		const char *root = hs_words_thread(arena, s, tree->root);
		const struct hs_frame *frame = hs_words_hold_frame(s, tree->hold);

		hs_finding_title(report, f, "%zu thread%s wait%s behind %s", tree->num_blocked,
		                 tree->num_blocked == 1 ? "" : "s",
		                 tree->num_blocked == 1 ? "s" : "", root);
		hs_finding_why(report, f, "%s holds %s%s%s, and %s.", root,
		               hs_words_hold(arena, s, tree->hold), frame ? ", taken at " : "",
		               frame ? hs_words_frame(arena, frame) : "",
		               hs_words_activity(arena, s, tree->root));
		hs_finding_why(
			report, f,
			"This is no deadlock: when it goes on, the others can. Whether it is a "
			"hang depends on how long it stays there; take a second look in a while.");
		hs_finding_fix(
			report, f,
			"Do not sleep, wait for I/O or compute for long while holding %s: move "
			"that work out of the locked region.",
			hs_words_safe(arena, r->label));
		cite_tree(graph, report, f, tree);
	}
	return NULL;
}

const struct hs_analyzer hs_analyzer_contention = {
	.abi = HS_ANALYZER_ABI,
	.name = "contention",
	.summary = "threads that wait behind one that runs, sleeps or does I/O",
	.priority = 100,
	.run = contention_run,
};
