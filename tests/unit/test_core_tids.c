// SPDX-License-Identifier: Apache-2.0
/** @file Threads of a core whose own numbers are others than those in its notes. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <elf.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/target.h"
#include "tests/support/core_writer.h"

enum {
	BLOCKS = 0x10000, // of threads: one page each
	PAGE = 4096,
	GLIBC_TID = 720,
	MUSL_TID = 48,
	MUSL_PREV = 16,
	MUSL_NEXT = 24,
	THREADS = 3,
	FIRST = 5000, // as the notes number them
};

enum libc {
	GLIBC,
	MUSL,
	NO_LIBC,
};

static void writer_destroyp(struct hs_core_writer **writer)
{
	hs_core_writer_destroy(*writer);
}

static void put(uint8_t *page, size_t at, uint64_t value)
{
	memcpy(page + at, &value, sizeof(value));
}

/** A core of @p num threads whose control blocks have these numbers. */
static struct hs_target *open_threads(struct hs_core_writer *writer, enum libc libc,
                                      const int32_t *own, int num)
{
	struct hs_target *target = NULL;

	for (int i = 0; i < num; i++) {
		uint64_t block = BLOCKS + (uint64_t)i * PAGE;
		struct user_regs_struct regs = {.fs_base = block};
		uint8_t page[PAGE] = {0};

		if (libc != NO_LIBC)
			put(page, 0, block);
		if (libc == GLIBC)
			put(page, 16, block);
		if (libc == MUSL) {
			put(page, MUSL_PREV, BLOCKS + (uint64_t)((i + num - 1) % num) * PAGE);
			put(page, MUSL_NEXT, BLOCKS + (uint64_t)((i + 1) % num) * PAGE);
			put(page, GLIBC_TID, 4000); // past its structure: anything
		}
		memcpy(page + (libc == MUSL ? MUSL_TID : GLIBC_TID), &own[i], sizeof(own[i]));
		hs_core_writer_segment(writer, block, page, PAGE, PAGE, PF_R | PF_W);
		hs_core_writer_thread(writer, FIRST + i, &regs, 0, false);
	}
	struct hs_err *err =
		hs_target_open_core(hs_core_writer_file_of_core(writer), NULL, &target);
	if (err)
		fail_msg("%s", hs_err_message(err));
	return target;
}

static void check(enum libc libc, const int32_t *own, const pid_t *tids, const pid_t *host_tids)
{
	hs_cleanup(writer_destroyp) struct hs_core_writer *writer = hs_core_writer_create();
	hs_cleanup(hs_target_closep) struct hs_target *target =
		open_threads(writer, libc, own, THREADS);
	size_t count;
	const struct hs_lwp *lwps = hs_target_lwps(target, &count);

	assert_int_equal(count, THREADS);
	for (size_t i = 0; i < THREADS; i++) {
		assert_int_equal(lwps[i].tid, tids[i]);
		assert_int_equal(lwps[i].host_tid, host_tids[i]);
	}
}

static const pid_t as_noted[THREADS] = {FIRST, FIRST + 1, FIRST + 2};
static const pid_t none[THREADS];

static void test_other_namespace(void **state)
{
	static const int32_t own[] = {1, 9, 8};
	static const pid_t tids[] = {1, 8, 9}, host_tids[] = {FIRST, FIRST + 2, FIRST + 1};

	(void)state;
	check(GLIBC, own, tids, host_tids);
	check(MUSL, own, tids, host_tids);
	check(NO_LIBC, own, as_noted, none);
}

static bool has_gap(const struct hs_target *target)
{
	size_t count;
	const struct hs_target_gap *gaps = hs_target_gaps(target, &count);

	for (size_t i = 0; i < count; i++) {
		if (!strcmp(gaps[i].subject, "thread numbers"))
			return true;
	}
	return false;
}

/** A child of vfork() has the control block of its parent, and so the number in it. */
static void test_one_thread(void **state)
{
	static const struct {
		enum libc libc;
		int32_t own;
		bool gap;
	} rows[] = {
		{GLIBC, FIRST, false},
		{GLIBC, 7,     true },
		{MUSL,  FIRST, false},
		{MUSL,  7,     true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		hs_cleanup(writer_destroyp) struct hs_core_writer *writer = hs_core_writer_create();
		hs_cleanup(hs_target_closep) struct hs_target *target =
			open_threads(writer, rows[i].libc, &rows[i].own, 1);
		size_t count;
		const struct hs_lwp *lwps = hs_target_lwps(target, &count);

		assert_int_equal(count, 1);
		assert_int_equal(lwps[0].tid, FIRST);
		assert_int_equal(lwps[0].host_tid, 0);
		assert_int_equal(has_gap(target), rows[i].gap);
	}
}

static void test_same_namespace(void **state)
{
	(void)state;
	check(GLIBC, as_noted, as_noted, none);
}

/** Memory may hold anything: no number is believed that not all others agree with. */
static void test_nonsense(void **state)
{
	static const int32_t rows[][THREADS] = {
		{1,         FIRST + 1, 8        }, // one is the same
		{1,         8,         8        }, // two are equal
		{0,         -1,        INT32_MAX}, // none can be a number
		{FIRST + 1, 7,         -3000    }, // one is another's number, of a thread that has none
	};

	(void)state;
	for (size_t i = 0; i < 3; i++)
		check(GLIBC, rows[i], as_noted, none);
	check(GLIBC, rows[3], (const pid_t[]){7, FIRST + 1, FIRST + 2},
	      (const pid_t[]){FIRST + 1, FIRST, 0});
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_other_namespace),
		cmocka_unit_test(test_one_thread),
		cmocka_unit_test(test_same_namespace),
		cmocka_unit_test(test_nonsense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
