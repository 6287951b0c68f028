// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Deadlock: threads that wait for each other in a cycle, or one that waits for itself.
 *
 * Reads: the cycles of the wait graph that no more specific analyzer has claimed. Reports:
 * deadlock.cycle, deadlock.self, deadlock.possible; one finding per cycle. Cost: linear in the
 * cycles. Blind to: locks with no recorded owner (semaphores, conditions), which have no edge.
 */

#include "core/analyzer.h"
#include "core/words.h"

enum {
	NAMES_SHOWN = 4
};

static void explain(struct hs_report *report, struct hs_finding *finding,
                    const struct hs_cycle *cycle)
{
	const struct hs_snapshot *s = report->snapshot;
	struct hs_arena *arena = report->arena;

	for (size_t i = 0; i < cycle->len; i++) {
		const struct hs_step *step = &cycle->steps[i];
		const struct hs_edge *held = cycle->steps[(i + cycle->len - 1) % cycle->len].hold;

		hs_finding_why(report, finding, "%s holds %s and waits for %s.",
		               hs_words_thread(arena, s, step->wait->thread),
		               hs_words_hold(arena, s, held),
		               hs_words_wait(arena, s, step->wait, step->hold));
	}
	if (cycle->has_timed_wait)
		hs_finding_why(
			report, finding,
			"One of these waits has a time-out, so the circle opens by itself; until "
			"then nobody moves.");
	else
		hs_finding_why(report, finding,
		               "None of them can go on: nobody in the circle "
		               "gives up what it holds.");
	if (cycle->certainty != HS_READ)
		hs_finding_why(report, finding,
		               "At least one edge is %s, not read: see the "
		               "evidence before acting on it.",
		               hs_certainty_name(cycle->certainty));
}

static bool has_kind(const struct hs_snapshot *s, const struct hs_cycle *cycle,
                     enum hs_resource_kind kind)
{
	for (size_t i = 0; i < cycle->len; i++) {
		if (s->resources.items[cycle->steps[i].wait->resource].kind == kind)
			return true;
	}
	return false;
}

static void advise_cycle(struct hs_report *report, struct hs_finding *finding,
                         const struct hs_cycle *cycle)
{
	const struct hs_snapshot *s = report->snapshot;
	struct hs_arena *arena = report->arena;
	const char *order = "";

	for (size_t i = 0; i < cycle->len && i < NAMES_SHOWN; i++) {
		const struct hs_resource *r = &s->resources.items[cycle->steps[i].wait->resource];
		const char *next = hs_arena_printf(arena, "%s%s%s", order, i ? ", then " : "",
		                                   hs_words_safe(arena, r->label));

		order = next ? next : order;
	}
	hs_finding_fix(report, finding,
	               "Take these locks in one order on every path, for example: %s.", order);
	for (size_t i = 0; i < cycle->len && i < NAMES_SHOWN; i++) {
		const struct hs_edge *wait = cycle->steps[i].wait;
		const struct hs_frame *frame = hs_words_wait_frame(s, wait);

		if (frame)
			hs_finding_fix(report, finding,
			               "Or release the lock that %s holds before it comes to %s.",
			               hs_words_thread(arena, s, wait->thread),
			               hs_words_frame(arena, frame));
	}
	if (has_kind(s, cycle, HS_RES_JUC_LOCK))
		hs_finding_fix(
			report, finding,
			"Or use tryLock with a time-out on the java.util.concurrent lock, and "
			"back off when it fails.");
}

static void report_self(struct hs_report *report, const struct hs_cycle *cycle)
{
	const struct hs_snapshot *s = report->snapshot;
	struct hs_arena *arena = report->arena;
	const struct hs_edge *wait = cycle->steps[0].wait;
	struct hs_finding *f = hs_report_add(
		report, "deadlock.self", cycle->has_timed_wait ? HS_WARNING : HS_CRITICAL,
		cycle->has_timed_wait         ? HS_VERDICT_STALL
		: cycle->certainty == HS_READ ? HS_VERDICT_DEADLOCK
					      : HS_VERDICT_POSSIBLE_DEADLOCK);
	const struct hs_resource *r = &s->resources.items[wait->resource];

	hs_finding_title(report, f, "%s waits for %s, which it holds itself",
	                 hs_words_thread(arena, s, wait->thread), hs_words_safe(arena, r->label));
	hs_finding_why(report, f,
	               "The lock is not recursive: its owner asked for it a second time and waits "
	               "for itself to let go.");
	hs_finding_fix(report, f,
	               "Do not call code that takes this lock while it is held; split the function "
	               "into one that locks and one that expects the lock to be held.");
	hs_finding_fix(report, f,
	               "Or make the lock recursive (PTHREAD_MUTEX_RECURSIVE), if its "
	               "invariants allow it.");
	hs_finding_cite_cycle(report, f, cycle);
}

static struct hs_err *deadlock_run(const struct hs_wait_graph *graph, struct hs_report *report)
{
	struct hs_arena *arena = report->arena;

	for (size_t i = 0; i < graph->num_cycles; i++) {
		const struct hs_cycle *cycle = &graph->cycles[i];

		if (hs_report_claimed(report, cycle))
			continue;
		if (cycle->len == 1) {
			report_self(report, cycle);
			continue;
		}
		bool sure = cycle->certainty == HS_READ;
		// A timed wait ends the cycle by itself: slow, not stuck.
		struct hs_finding *f =
			hs_report_add(report, sure ? "deadlock.cycle" : "deadlock.possible",
		                      cycle->has_timed_wait ? HS_WARNING : HS_CRITICAL,
		                      cycle->has_timed_wait ? HS_VERDICT_STALL
		                      : sure                ? HS_VERDICT_DEADLOCK
		                                            : HS_VERDICT_POSSIBLE_DEADLOCK);

		hs_finding_cite_cycle(report, f, cycle);
		if (f)
			hs_finding_title(report, f, "%s wait for each other",
			                 hs_words_threads(arena, report->snapshot, f->threads.items,
			                                  f->threads.len, NAMES_SHOWN));
		explain(report, f, cycle);
		advise_cycle(report, f, cycle);
	}
	return NULL;
}

const struct hs_analyzer hs_analyzer_deadlock = {
	.abi = HS_ANALYZER_ABI,
	.name = "deadlock",
	.summary = "threads that wait for each other in a cycle",
	.priority = 90,
	.run = deadlock_run,
};
