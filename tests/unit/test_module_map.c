// SPDX-License-Identifier: Apache-2.0
/** @file Lookups in mappings and modules. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/module_map.h"

static const struct hs_mapping mappings[] = {
	{.start = 0x1000,             .end = 0x2000, .path = "/bin/prog",      .module = 0         },
	{.start = 0x2000,             .end = 0x3000, .path = "",               .module = UINT32_MAX},
	{.start = 0x5000,             .end = 0x6000, .path = "/lib/libx.so.1", .module = 1         },
	{.start = 0x6000,             .end = 0x7000, .path = "/lib/libx.so.1", .module = 1         },
	{.start = 0xffffffffff600000,
         .end = 0xffffffffff601000,
         .path = "[vsyscall]",
         .module = UINT32_MAX								      },
};
static const struct hs_module modules[] = {
	{.path = "/bin/prog",      .start = 0x1000, .end = 0x2000, .fd = -1},
	{.path = "/lib/libx.so.1", .start = 0x5000, .end = 0x7000, .fd = -1},
};
static const struct hs_module_map map = {
	.mappings = mappings,
	.num_mappings = 5,
	.modules = modules,
	.num_modules = 2,
};

static void test_find(void **state)
{
	(void)state;
	static const struct {
		hs_addr addr;
		int index; // -1: none
	} cases[] = {
		{0,                  -1},
		{0xfff,              -1},
		{0x1000,             0 },
		{0x1fff,             0 },
		{0x2000,             1 },
		{0x3000,             -1},
		{0x4fff,             -1},
		{0x5000,             2 },
		{0x6000,             3 },
		{0x7000,             -1},
		{0xffffffffff600fff, 4 },
		{UINT64_MAX,         -1},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_ptr_equal(hs_module_map_find(&map, cases[i].addr),
		                 cases[i].index < 0 ? NULL : &mappings[cases[i].index]);
}

static void test_module(void **state)
{
	(void)state;
	assert_ptr_equal(hs_module_map_module(&map, 0x1800), &modules[0]);
	assert_ptr_equal(hs_module_map_module(&map, 0x6fff), &modules[1]);
	assert_null(hs_module_map_module(&map, 0x2800));
	assert_null(hs_module_map_module(&map, 0x4000));
	assert_null(hs_module_map_module(&map, 0xffffffffff600000));
}

static void test_by_name(void **state)
{
	(void)state;
	assert_ptr_equal(hs_module_map_by_name(&map, "prog"), &modules[0]);
	assert_ptr_equal(hs_module_map_by_name(&map, "libx.so.1"), &modules[1]);
	assert_null(hs_module_map_by_name(&map, "libx.so"));
	assert_null(hs_module_map_by_name(&map, "/bin/prog"));
}

static void test_empty(void **state)
{
	(void)state;
	static const struct hs_module_map empty;

	assert_null(hs_module_map_find(&empty, 0));
	assert_null(hs_module_map_module(&empty, 1));
	assert_null(hs_module_map_by_name(&empty, ""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_module),
		cmocka_unit_test(test_by_name),
		cmocka_unit_test(test_empty),
	};

	return cmocka_run_group_tests_name("module_map", tests, NULL, NULL);
}
