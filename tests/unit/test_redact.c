// SPDX-License-Identifier: Apache-2.0
/** @file Redaction: which thread names survive it. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "core/snapshot.h"

static void name_all(struct hs_snapshot *snapshot, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct hs_thread *thread = hs_snapshot_add_thread(snapshot, (pid_t)(100 + i), NULL);

		assert_non_null(thread);
		hs_snapshot_name_thread(snapshot, thread, names[i]);
	}
}

static void test_known_names_stay(void **state)
{
	static const char *const names[] = {
		"main",          "VM Thread",         "C2 CompilerThread12", "GC Thread#3",
		"G1 Conc#0",     "pool-7-thread-123", "Reference Handl",     "Thread-0",
		"Gang worker#7",
	};
	struct hs_snapshot *snapshot = hs_snapshot_create();
	size_t count = sizeof(names) / sizeof(names[0]);

	(void)state;
	assert_non_null(snapshot);
	snapshot->redact = true;
	name_all(snapshot, names, count);
	for (size_t i = 0; i < count; i++)
		assert_string_equal(snapshot->threads.items[i].name, names[i]);
	hs_snapshot_destroy(snapshot);
}

static void test_other_names_go(void **state)
{
	static const char *const names[] = {
		"main hunter2",   "VM Thread#secret",  "C2 CompilerThread", "GC Thread",
		"pool-7-thread-", "GET /tenant/4711",  "pool-x-thread-1",   "",
		"Thread-1x",      "C2 CompilerThre 1",
	};
	struct hs_snapshot *snapshot = hs_snapshot_create();
	size_t count = sizeof(names) / sizeof(names[0]);
	char want[32];

	(void)state;
	assert_non_null(snapshot);
	snapshot->redact = true;
	name_all(snapshot, names, count);
	for (size_t i = 0; i < count; i++) {
		snprintf(want, sizeof(want), "thread T%zu", i + 1);
		assert_string_equal(snapshot->threads.items[i].name, want);
	}
	hs_snapshot_destroy(snapshot);
}

static void test_seal_is_a_second_line(void **state)
{
	struct hs_snapshot *snapshot = hs_snapshot_create();

	(void)state;
	assert_non_null(snapshot);
	snapshot->redact = true;
	struct hs_thread *thread = hs_snapshot_add_thread(snapshot, 1, NULL);
	assert_non_null(thread);
	thread->name = "secret";
	assert_null(hs_snapshot_seal(snapshot));
	assert_string_equal(snapshot->threads.items[0].name, "thread T1");
	hs_snapshot_destroy(snapshot);
}

static void test_off_by_default(void **state)
{
	static const char *const names[] = {"secret"};
	struct hs_snapshot *snapshot = hs_snapshot_create();

	(void)state;
	assert_non_null(snapshot);
	name_all(snapshot, names, 1);
	assert_null(hs_snapshot_seal(snapshot));
	assert_string_equal(snapshot->threads.items[0].name, "secret");
	hs_snapshot_destroy(snapshot);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known_names_stay),
		cmocka_unit_test(test_other_names_go),
		cmocka_unit_test(test_seal_is_a_second_line),
		cmocka_unit_test(test_off_by_default),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
