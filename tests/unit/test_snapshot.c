// SPDX-License-Identifier: Apache-2.0
/** @file Gaps of a snapshot: each once, and not without end. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "core/limits.h"
#include "core/snapshot.h"

enum {
	BEYOND = 250000, /**< as many threads may have one each */
};

static void equal_gaps_are_one(void **state)
{
	struct hs_snapshot *snapshot = hs_snapshot_create();

	(void)state;
	assert_non_null(snapshot);
	hs_snapshot_gapf(snapshot, "a", "b", "c");
	hs_snapshot_gapf(snapshot, "a", "b", "c");
	hs_snapshot_gapf(snapshot, "a", "b", "d");
	struct hs_err *err = hs_snapshot_seal(snapshot);
	assert_null(err);
	assert_int_equal(snapshot->gaps.len, 2);
	hs_snapshot_destroy(snapshot);
}

static void too_many_gaps_are_counted(void **state)
{
	struct hs_snapshot *snapshot = hs_snapshot_create();
	char subject[32];

	(void)state;
	assert_non_null(snapshot);
	for (int i = 0; i < BEYOND; i++) {
		snprintf(subject, sizeof(subject), "thread %d", i);
		hs_snapshot_gapf(snapshot, subject, "what it does", "no memory there");
	}
	struct hs_err *err = hs_snapshot_seal(snapshot);
	assert_null(err);
	assert_int_equal(snapshot->gaps.len, HS_MAX_GAPS + 1);
	const struct hs_gap *last = &snapshot->gaps.items[HS_MAX_GAPS];
	assert_string_equal(last->subject, "other gaps");
	assert_string_equal(last->reason, "240000 times more than the 10000 that are listed");
	hs_snapshot_destroy(snapshot);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(equal_gaps_are_one),
		cmocka_unit_test(too_many_gaps_are_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
