// SPDX-License-Identifier: Apache-2.0
/** @file The arena and its vectors. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "core/base/arena.h"
#include "core/base/cleanup.h"

#define CLEAN_ARENA hs_cleanup(hs_arena_destroyp) struct hs_arena *

static bool is_zero(const unsigned char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (bytes[i])
			return false;
	}
	return true;
}

static void test_alloc(void **state)
{
	(void)state;
	CLEAN_ARENA arena = hs_arena_create();

	// Over several blocks, and one that is larger than any block.
	for (size_t size = 0; size < 3 << 20; size = size * 2 + 1) {
		unsigned char *bytes = hs_arena_alloc(arena, size);

		assert_non_null(bytes);
		assert_int_equal((uintptr_t)bytes % 16, 0);
		assert_true(is_zero(bytes, size));
		memset(bytes, 0xff, size);
	}
	assert_false(hs_arena_failed(arena));
	assert_true(hs_arena_used(arena) >= 3 << 20);
}

static void test_failure_is_sticky(void **state)
{
	(void)state;
	CLEAN_ARENA arena = hs_arena_create();

	assert_null(hs_arena_alloc(arena, SIZE_MAX));
	assert_true(hs_arena_failed(arena));
	assert_non_null(hs_arena_alloc(arena, 1));
	assert_true(hs_arena_failed(arena));

	CLEAN_ARENA other = hs_arena_create();
	assert_null(hs_arena_calloc(other, SIZE_MAX / 4, 8));
	assert_true(hs_arena_failed(other));
}

static void test_strings(void **state)
{
	(void)state;
	CLEAN_ARENA arena = hs_arena_create();

	assert_string_equal(hs_arena_strdup(arena, "abc"), "abc");
	assert_string_equal(hs_arena_strndup(arena, "abc", 2), "ab");
	assert_string_equal(hs_arena_strdup(arena, ""), "");
	assert_string_equal(hs_arena_printf(arena, "%s %d", "x", 5), "x 5");
	assert_int_equal(strlen(hs_arena_printf(arena, "%30000d", 1)), 30000);
}

static void test_vector(void **state)
{
	(void)state;
	CLEAN_ARENA arena = hs_arena_create();
	HS_VEC(uint32_t) numbers = {0};
	uint32_t sum = 0;

	hs_vec_each (number, &numbers)
		sum += *number;
	assert_int_equal(sum, 0);
	for (uint32_t i = 0; i < 1000; i++) {
		uint32_t *slot = hs_vec_push(arena, &numbers);

		assert_non_null(slot);
		assert_int_equal(*slot, 0);
		*slot = i;
	}
	assert_int_equal(numbers.len, 1000);
	hs_vec_each (number, &numbers)
		sum += *number;
	assert_int_equal(sum, 999 * 1000 / 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_alloc),
		cmocka_unit_test(test_failure_is_sticky),
		cmocka_unit_test(test_strings),
		cmocka_unit_test(test_vector),
	};

	return cmocka_run_group_tests_name("arena", tests, NULL, NULL);
}
