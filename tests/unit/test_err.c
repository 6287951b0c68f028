// SPDX-License-Identifier: Apache-2.0
/** @file Errors as pointers. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"

static void test_new(void **state)
{
	(void)state;
	hs_cleanup(hs_err_freep) struct hs_err *err = hs_err_new(HS_ERR_BAD_DATA, "row %d", 3);

	assert_int_equal(hs_err_code(err), HS_ERR_BAD_DATA);
	assert_int_equal(hs_err_errno(err), 0);
	assert_string_equal(hs_err_message(err), "row 3");
}

static void test_os(void **state)
{
	(void)state;
	hs_cleanup(hs_err_freep) struct hs_err *err = hs_err_os(ENOENT, "cannot open %s", "x");

	assert_int_equal(hs_err_code(err), HS_ERR_OS);
	assert_int_equal(hs_err_errno(err), ENOENT);
	assert_string_equal(hs_err_message(err), "cannot open x: No such file or directory");
}

static void test_wrap(void **state)
{
	(void)state;
	struct hs_err *err = hs_err_os(EPERM, "attach");

	err = hs_err_wrap(err, "thread %d", 7);
	assert_int_equal(hs_err_code(err), HS_ERR_OS);
	assert_int_equal(hs_err_errno(err), EPERM);
	assert_string_equal(hs_err_message(err), "thread 7: attach: Operation not permitted");
	hs_err_free(err);

	err = NULL;
	assert_null(hs_err_wrap(err, "nothing"));
	assert_ptr_equal(hs_err_wrap(hs_err_oom(), "more memory needed"), hs_err_oom());
	err = hs_err_wrap(hs_err_fault(), "at 0x10");
	assert_int_equal(hs_err_code(err), HS_ERR_FAULT);
	assert_non_null(strstr(hs_err_message(err), "at 0x10: "));
	hs_err_free(err);
}

static void test_static_ones(void **state)
{
	(void)state;
	struct hs_err *err = hs_err_fault();

	assert_int_equal(hs_err_code(err), HS_ERR_FAULT);
	hs_err_free(err);
	assert_ptr_equal(err, hs_err_fault());
	err = hs_err_absent();
	assert_int_equal(hs_err_code(err), HS_ERR_ABSENT);
	err = hs_err_oom();
	assert_int_equal(hs_err_code(err), HS_ERR_OOM);
	assert_true(hs_err_message(err)[0]);
	hs_err_free(NULL);
}

static void test_catch(void **state)
{
	(void)state;
	struct hs_err *err = NULL;

	assert_false(hs_err_catch(&err, HS_ERR_FAULT));
	err = hs_err_new(HS_ERR_FAULT, "own words");
	assert_false(hs_err_catch(&err, HS_ERR_ABSENT));
	assert_non_null(err);
	assert_true(hs_err_catch(&err, HS_ERR_FAULT));
	assert_null(err);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_new),   cmocka_unit_test(test_os),
		cmocka_unit_test(test_wrap),  cmocka_unit_test(test_static_ones),
		cmocka_unit_test(test_catch),
	};

	return cmocka_run_group_tests_name("err", tests, NULL, NULL);
}
