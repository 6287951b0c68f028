// SPDX-License-Identifier: Apache-2.0
/** @file The hash map from 64-bit keys. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "core/base/map64.h"

enum {
	MANY = 20000
};

static void test_empty(void **state)
{
	(void)state;
	struct hs_map64 map = {0};

	assert_null(hs_map64_get(&map, 0));
	assert_null(hs_map64_get(&map, UINT64_MAX));
	hs_map64_deinit(&map);
	hs_map64_deinit(&map);
}

static void test_zero_is_a_key(void **state)
{
	(void)state;
	struct hs_map64 map = {0};
	int value;

	assert_true(hs_map64_put(&map, 0, &value));
	assert_ptr_equal(hs_map64_get(&map, 0), &value);
	assert_null(hs_map64_get(&map, 1));
	hs_map64_deinit(&map);
}

static void test_replace(void **state)
{
	(void)state;
	struct hs_map64 map = {0};
	int first, second;

	assert_true(hs_map64_put(&map, 7, &first));
	assert_true(hs_map64_put(&map, 7, &second));
	assert_ptr_equal(hs_map64_get(&map, 7), &second);
	assert_int_equal(map.len, 1);
	hs_map64_deinit(&map);
}

/** Keys as they occur: ascending, page apart, 4 GiB apart, differing in the top bits alone. */
static void test_many(void **state)
{
	(void)state;
	static const unsigned shifts[] = {0, 3, 12, 32, 48};
	static char values[MANY];

	for (size_t s = 0; s < sizeof(shifts) / sizeof(shifts[0]); s++) {
		struct hs_map64 map = {0};
		size_t count = shifts[s] == 48 ? MANY / 2 : MANY;

		for (uint64_t i = 0; i < count; i++)
			assert_true(hs_map64_put(&map, i << shifts[s], &values[i]));
		assert_int_equal(map.len, count);
		assert_true(map.len * 3 <= map.cap * 2 + 3);
		for (uint64_t i = 0; i < count; i++)
			assert_ptr_equal(hs_map64_get(&map, i << shifts[s]), &values[i]);
		assert_null(hs_map64_get(&map, (uint64_t)count << shifts[s] | 1));
		hs_map64_deinit(&map);
	}
}

/** Keys whose products with a well-known multiplier differ in the low bits alone: a hostile core's.
 */
static void test_colliding_keys(void **state)
{
	(void)state;
	static char values[10 * MANY];
	const uint64_t multiplier = 0x9e3779b97f4a7c15ULL;
	uint64_t inverse = multiplier; // Newton's iteration, modulo 2^64
	struct hs_map64 map = {0};

	for (int i = 0; i < 6; i++)
		inverse *= 2 - multiplier * inverse;
	assert_true(multiplier * inverse == 1);
	for (uint64_t i = 0; i < 10 * MANY; i++)
		assert_true(hs_map64_put(&map, inverse * i, &values[i]));
	for (uint64_t i = 0; i < 10 * MANY; i++)
		assert_ptr_equal(hs_map64_get(&map, inverse * i), &values[i]);
	hs_map64_deinit(&map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),          cmocka_unit_test(test_zero_is_a_key),
		cmocka_unit_test(test_replace),        cmocka_unit_test(test_many),
		cmocka_unit_test(test_colliding_keys),
	};

	return cmocka_run_group_tests_name("map64", tests, NULL, NULL);
}
