// SPDX-License-Identifier: Apache-2.0
/** @file Cycles, trees, several holders, timed waits. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/snapshot_builder.h"

/** @p count threads and as many locks. */
static struct hs_snapshot *threads_and_locks(uint32_t count)
{
	struct hs_snapshot *s = sb_create();

	for (uint32_t i = 0; i < count; i++) {
		sb_thread(s, "t", (pid_t)(100 + i), NULL);
		sb_resource(s, HS_RES_JAVA_MONITOR, 0x1000 + 8 * i, "a lock", "java.lang.Object");
	}
	return s;
}

static void no_edges(void **state)
{
	(void)state;
	struct hs_snapshot *s = threads_and_locks(3);
	const struct hs_wait_graph *g = sb_graph(s);

	assert_int_equal(g->num_cycles, 0);
	assert_int_equal(g->num_trees, 0);
	hs_snapshot_destroy(s);
}

static void two_threads_and_two_behind(void **state)
{
	(void)state;
	struct hs_snapshot *s = threads_and_locks(4);

	sb_hold(s, 0, 0);
	sb_hold(s, 1, 1);
	sb_wait(s, 0, 1);
	sb_wait(s, 1, 0);
	sb_wait(s, 2, 0);
	sb_hold(s, 2, 2);
	sb_wait(s, 3, 2);
	const struct hs_wait_graph *g = sb_graph(s);
	assert_int_equal(g->num_cycles, 1);
	assert_int_equal(g->cycles[0].len, 2);
	assert_int_equal(g->cycles[0].steps[0].wait->thread, 0);
	assert_int_equal(g->cycles[0].steps[0].hold->thread, 1);
	assert_int_equal(g->cycles[0].steps[1].hold->thread, 0);
	assert_int_equal(g->cycles[0].certainty, HS_READ);
	assert_int_equal(g->cycles[0].num_blocked, 2);
	assert_int_equal(g->cycles[0].blocked[0], 2);
	assert_int_equal(g->cycles[0].blocked[1], 3);
	assert_int_equal(g->num_trees, 0);
	hs_snapshot_destroy(s);
}

static void weakest_edge_and_timed_wait(void **state)
{
	(void)state;
	struct hs_snapshot *s = threads_and_locks(2);

	sb_hold(s, 0, 0);
	sb_hold(s, 1, 1)->certainty = HS_INFERRED;
	sb_wait(s, 0, 1);
	sb_wait(s, 1, 0)->timed = true;
	const struct hs_wait_graph *g = sb_graph(s);
	assert_int_equal(g->num_cycles, 1);
	assert_int_equal(g->cycles[0].certainty, HS_INFERRED);
	assert_true(g->cycles[0].has_timed_wait);
	hs_snapshot_destroy(s);
}

static void long_ring(void **state)
{
	(void)state;
	enum {
		COUNT = 3000
	};
	struct hs_snapshot *s = threads_and_locks(COUNT);

	for (uint32_t i = 0; i < COUNT; i++) {
		sb_hold(s, i, i);
		sb_wait(s, i, (i + 1) % COUNT);
	}
	const struct hs_wait_graph *g = sb_graph(s);
	assert_int_equal(g->num_cycles, 1);
	assert_int_equal(g->cycles[0].len, COUNT);
	for (uint32_t i = 0; i < COUNT; i++)
		assert_int_equal(g->cycles[0].steps[i].wait->thread, i);
	hs_snapshot_destroy(s);
}

static void two_separate_cycles(void **state)
{
	(void)state;
	struct hs_snapshot *s = threads_and_locks(5);

	for (uint32_t i = 0; i < 5; i++)
		sb_hold(s, i, i);
	sb_wait(s, 0, 1);
	sb_wait(s, 1, 0);
	sb_wait(s, 2, 3);
	sb_wait(s, 3, 4);
	sb_wait(s, 4, 2);
	const struct hs_wait_graph *g = sb_graph(s);
	assert_int_equal(g->num_cycles, 2);
	assert_int_equal(g->cycles[0].len, 2);
	assert_int_equal(g->cycles[1].len, 3);
	hs_snapshot_destroy(s);
}

static void self_deadlock(void **state)
{
	(void)state;
	struct hs_snapshot *s = threads_and_locks(1);

	sb_hold(s, 0, 0);
	sb_wait(s, 0, 0);
	const struct hs_wait_graph *g = sb_graph(s);
	assert_int_equal(g->num_cycles, 1);
	assert_int_equal(g->cycles[0].len, 1);
	hs_snapshot_destroy(s);
}

/** A writer that waits for two readers is stuck only when both are. */
static void several_readers(void **state)
{
	for (int both = 0; both < 2; both++) {
		struct hs_snapshot *s = threads_and_locks(3);

		(void)state;
		sb_hold(s, 0, 1);                // the writer holds lock 1
		sb_wait(s, 0, 0);                // and wants lock 0 for writing
		sb_hold(s, 1, 0)->shared = true; // which two threads read
		sb_hold(s, 2, 0)->shared = true;
		sb_wait(s, 1, 1);
		if (both)
			sb_wait(s, 2, 1);
		const struct hs_wait_graph *g = sb_graph(s);
		if (both)
			assert_true(g->num_cycles >= 1);
		else
			assert_int_equal(g->num_cycles, 0);
		hs_snapshot_destroy(s);
	}
}

/** Two readings of one exclusive owner: the surer one counts. */
static void readings_that_disagree(void **state)
{
	(void)state;
	struct hs_snapshot *s = threads_and_locks(3);

	sb_hold(s, 0, 0);
	sb_hold(s, 2, 0)->certainty = HS_GUESSED;
	sb_hold(s, 1, 1);
	sb_wait(s, 0, 1);
	sb_wait(s, 1, 0);
	const struct hs_wait_graph *g = sb_graph(s);
	assert_int_equal(g->num_cycles, 1);
	assert_int_equal(g->cycles[0].certainty, HS_READ);
	hs_snapshot_destroy(s);
}

static void tree_behind_a_runner(void **state)
{
	(void)state;
	struct hs_snapshot *s = threads_and_locks(5);

	sb_hold(s, 4, 0);
	sb_wait(s, 0, 0);
	sb_wait(s, 1, 0);
	sb_hold(s, 1, 1);
	sb_wait(s, 2, 1);
	const struct hs_wait_graph *g = sb_graph(s);
	assert_int_equal(g->num_cycles, 0);
	assert_int_equal(g->num_trees, 1);
	assert_int_equal(g->trees[0].root, 4);
	assert_int_equal(g->trees[0].num_blocked, 3);
	assert_int_equal(g->trees[0].num_direct, 2);
	assert_int_equal(g->trees[0].hold->resource, 0);
	hs_snapshot_destroy(s);
}

/** A wait for an event (no holder) ends a chain: nothing is known to be stuck. */
static void wait_without_holder(void **state)
{
	(void)state;
	struct hs_snapshot *s = threads_and_locks(2);

	sb_hold(s, 0, 0);
	sb_wait(s, 0, 1);
	sb_wait(s, 1, 0);
	const struct hs_wait_graph *g = sb_graph(s);
	assert_int_equal(g->num_cycles, 0);
	assert_int_equal(g->num_trees, 1);
	assert_int_equal(g->trees[0].root, 0);
	hs_snapshot_destroy(s);
}

/** Edges to records that do not exist are dropped, not followed. */
static void bad_indices(void **state)
{
	(void)state;
	struct hs_snapshot *s = threads_and_locks(1);
	struct hs_edge edge = {.thread = 7, .resource = 0, .frame = HS_NONE};

	hs_snapshot_add_wait(s, &edge);
	edge = (struct hs_edge){.thread = 0, .resource = HS_NONE, .frame = HS_NONE};
	hs_snapshot_add_hold(s, &edge);
	assert_int_equal(s->waits.len, 0);
	assert_int_equal(s->holds.len, 0);
	assert_int_equal(sb_graph(s)->num_cycles, 0);
	hs_snapshot_destroy(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_edges),
		cmocka_unit_test(two_threads_and_two_behind),
		cmocka_unit_test(weakest_edge_and_timed_wait),
		cmocka_unit_test(long_ring),
		cmocka_unit_test(two_separate_cycles),
		cmocka_unit_test(self_deadlock),
		cmocka_unit_test(several_readers),
		cmocka_unit_test(readings_that_disagree),
		cmocka_unit_test(tree_behind_a_runner),
		cmocka_unit_test(wait_without_holder),
		cmocka_unit_test(bad_indices),
	};

	return cmocka_run_group_tests_name("wait_graph", tests, NULL, NULL);
}
