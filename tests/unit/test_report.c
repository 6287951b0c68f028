// SPDX-License-Identifier: Apache-2.0
/** @file Findings: text that is put together from very many sentences. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "core/report.h"
#include "core/snapshot.h"
#include "core/wait_graph.h"

enum {
	MANY = 20000,
};

/** A circle may have 200000 threads, with a sentence each. */
static void test_long_why(void **state)
{
	struct hs_snapshot *s = hs_snapshot_create();
	const struct hs_wait_graph *graph;
	struct hs_report *report;

	(void)state;
	assert_non_null(s);
	assert_null(hs_snapshot_seal(s));
	assert_null(hs_wait_graph_build(s, s->arena, &graph));
	assert_null(hs_report_create(s, graph, s->arena, &report));
	struct hs_finding *f =
		hs_report_add(report, "deadlock.cycle", HS_CRITICAL, HS_VERDICT_DEADLOCK);
	size_t before = hs_arena_used(s->arena), len;

	hs_finding_why(report, f, "One.");
	hs_finding_why(report, f, "Two.");
	hs_finding_why(report, f, "\nThree.");
	assert_string_equal(f->why, "One. Two.\nThree.");
	len = strlen(f->why);
	for (int i = 0; i < MANY; i++)
		hs_finding_why(report, f, "Thread %05d waits.", i);
	assert_int_equal(strlen(f->why), len + (size_t)MANY * strlen(" Thread 00000 waits."));
	assert_string_equal(f->why + strlen(f->why) - 19, "Thread 19999 waits.");
	assert_true(hs_arena_used(s->arena) - before < 10 * strlen(f->why));
	hs_snapshot_destroy(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_long_why),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
