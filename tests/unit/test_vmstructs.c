// SPDX-License-Identifier: Apache-2.0
/** @file vmStructs: lookups, and tables that are not what they should be. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "core/jvm/vmstructs.h"
#include "tests/support/fake_libjvm.h"

struct fixture {
	struct hs_fake *fake;
	struct hs_fake_libjvm *libjvm;
	struct hs_arena *arena;
	struct hs_vmstructs *vm;
};

static int setup(void **state)
{
	static struct fixture fixture; // one at a time

	fixture = (struct fixture){.fake = hs_fake_create(), .arena = hs_arena_create()};
	fixture.libjvm = hs_fake_libjvm_create(fixture.fake);
	hs_fake_libjvm_field(fixture.libjvm, "Klass", "_name", "Symbol*", 24);
	hs_fake_libjvm_field(fixture.libjvm, "Symbol", "_body", NULL, 6);
	hs_fake_libjvm_static(fixture.libjvm, "Klass", "_head", "Klass*", 0x1234);
	hs_fake_libjvm_type(fixture.libjvm, "Klass", 200);
	hs_fake_libjvm_int(fixture.libjvm, "lower", -5);
	hs_fake_libjvm_long(fixture.libjvm, "higher", INT64_MIN + 3);
	*state = &fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	hs_fake_libjvm_destroy(fixture->libjvm);
	hs_fake_destroy(fixture->fake);
	hs_arena_destroy(fixture->arena);
	return 0;
}

static struct hs_err *read_tables(struct fixture *fixture)
{
	struct hs_target *target = hs_fake_target(fixture->fake);

	return hs_vmstructs_read(target, &hs_target_modules(target)->modules[0], fixture->arena,
	                         &fixture->vm);
}

static void assert_fails(struct fixture *fixture, enum hs_err_code code, const char *words)
{
	struct hs_err *err = read_tables(fixture);

	assert_non_null(err);
	assert_int_equal(hs_err_code(err), code);
	assert_non_null(strstr(hs_err_message(err), words));
	hs_err_free(err);
}

static void check_rows(const struct hs_vmstructs *vm)
{
	const struct hs_vmfield *field = hs_vmstructs_field(vm, "Klass", "_name");
	int64_t value = 77;

	assert_non_null(field);
	assert_false(field->is_static);
	assert_int_equal(field->offset, 24);
	assert_string_equal(field->type, "Symbol*");
	field = hs_vmstructs_field(vm, "Klass", "_head");
	assert_true(field->is_static);
	assert_int_equal(field->address, 0x1234);
	assert_string_equal(hs_vmstructs_field(vm, "Symbol", "_body")->type, "");
	assert_null(hs_vmstructs_field(vm, "Klass", "_body"));
	assert_null(hs_vmstructs_field(vm, "_name", "Klass"));
	assert_int_equal(hs_vmstructs_sizeof(vm, "Klass"), 200);
	assert_int_equal(hs_vmstructs_sizeof(vm, "lower"), 0);
	assert_true(hs_vmstructs_constant(vm, "lower", &value));
	assert_int_equal(value, -5);
	assert_true(hs_vmstructs_constant(vm, "higher", &value));
	assert_int_equal(value, INT64_MIN + 3);
	assert_false(hs_vmstructs_constant(vm, "Klass", &value));
	assert_int_equal(value, INT64_MIN + 3);
}

static void finds_symbols_in_file(void **state)
{
	struct fixture *fixture = *state;

	hs_fake_libjvm_install(fixture->libjvm, true);
	assert_null(read_tables(fixture));
	check_rows(fixture->vm);
}

static void finds_symbols_in_memory(void **state)
{
	struct fixture *fixture = *state;

	hs_fake_libjvm_install(fixture->libjvm, false);
	assert_null(read_tables(fixture));
	check_rows(fixture->vm);
}

static void crosses_pages(void **state)
{
	static char names[300][32];
	struct fixture *fixture = *state;

	// Rows of 48 bytes do not divide a page.
	for (int i = 0; i < 300; i++) {
		snprintf(names[i], sizeof(names[i]), "_field%d", i);
		hs_fake_libjvm_field(fixture->libjvm, "Many", names[i], "int", (uint64_t)i);
	}
	hs_fake_libjvm_install(fixture->libjvm, true);
	assert_null(read_tables(fixture));
	for (int i = 0; i < 300; i++)
		assert_int_equal(hs_vmstructs_field(fixture->vm, "Many", names[i])->offset, i);
	check_rows(fixture->vm);
}

static void names_a_missing_symbol(void **state)
{
	struct fixture *fixture = *state;

	hs_fake_libjvm_drop_symbol(fixture->libjvm, 3);
	hs_fake_libjvm_install(fixture->libjvm, true);
	assert_fails(fixture, HS_ERR_UNSUPPORTED, "gHotSpotVMStructEntryTypeStringOffset");
}

static void names_a_missing_symbol_in_memory(void **state)
{
	struct fixture *fixture = *state;

	hs_fake_libjvm_drop_symbol(fixture->libjvm, 19);
	hs_fake_libjvm_install(fixture->libjvm, false);
	assert_fails(fixture, HS_ERR_UNSUPPORTED, "gHotSpotVMLongConstantEntryArrayStride");
}

static void refuses_a_bad_stride(void **state)
{
	static const uint64_t strides[] = {0, 7, 4096, UINT64_MAX};
	struct fixture *fixture = *state;

	hs_fake_libjvm_install(fixture->libjvm, true);
	for (size_t i = 0; i < sizeof(strides) / sizeof(strides[0]); i++) {
		hs_fake_libjvm_set_symbol(fixture->libjvm, "gHotSpotVMStructEntryArrayStride",
		                          strides[i]);
		assert_fails(fixture, HS_ERR_BAD_DATA, "gHotSpotVMStructs");
	}
}

static void refuses_an_offset_outside_of_the_row(void **state)
{
	struct fixture *fixture = *state;

	hs_fake_libjvm_install(fixture->libjvm, true);
	hs_fake_libjvm_set_symbol(fixture->libjvm, "gHotSpotVMIntConstantEntryValueOffset", 13);
	assert_fails(fixture, HS_ERR_BAD_DATA, "gHotSpotVMIntConstantEntryValueOffset");
	hs_fake_libjvm_set_symbol(fixture->libjvm, "gHotSpotVMIntConstantEntryValueOffset",
	                          UINT64_MAX);
	assert_fails(fixture, HS_ERR_BAD_DATA, "gHotSpotVMIntConstantEntryValueOffset");
}

static void refuses_a_table_without_end(void **state)
{
	struct fixture *fixture = *state;
	hs_addr table = 0x10000000;

	hs_fake_libjvm_install(fixture->libjvm, true);
	hs_fake_cstr(fixture->fake, 0x500000, "again");
	for (hs_addr at = table; at < table + (65536 + 512) * 16; at += 16) {
		hs_fake_u64(fixture->fake, at, 0x500000);
		hs_fake_u64(fixture->fake, at + 8, 1);
	}
	hs_fake_libjvm_set_symbol(fixture->libjvm, "gHotSpotVMIntConstants", table);
	assert_fails(fixture, HS_ERR_BAD_DATA, "no end");
}

static void reports_unreadable_tables(void **state)
{
	struct fixture *fixture = *state;

	hs_fake_libjvm_install(fixture->libjvm, true);
	hs_fake_libjvm_set_symbol(fixture->libjvm, "gHotSpotVMTypes", 0xdead0000);
	assert_fails(fixture, HS_ERR_FAULT, "gHotSpotVMTypes, row 0");
	hs_fake_libjvm_set_symbol(fixture->libjvm, "gHotSpotVMTypes", UINT64_MAX - 20);
	assert_fails(fixture, HS_ERR_FAULT, "gHotSpotVMTypes, row 0");
}

static void survives_garbage_in_the_image(void **state)
{
	struct fixture *fixture = *state;
	uint32_t random = 12345;

	hs_fake_libjvm_install(fixture->libjvm, false);
	// Any outcome is good, as long as there is one.
	for (int round = 0; round < 300; round++) {
		uint8_t saved, byte;
		random = random * 1103515245 + 12345;
		hs_addr at = FAKE_LIBJVM_START + (random >> 8) % 0x20a0;
		struct hs_err *err = hs_target_read_u8(hs_fake_target(fixture->fake), at, &saved);
		assert_null(err);
		byte = (uint8_t)(random >> 24);
		hs_fake_u8(fixture->fake, at, byte);
		hs_err_free(read_tables(fixture));
		hs_fake_u8(fixture->fake, at, saved);
	}
	assert_null(read_tables(fixture));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(finds_symbols_in_file),
		TEST(finds_symbols_in_memory),
		TEST(crosses_pages),
		TEST(names_a_missing_symbol),
		TEST(names_a_missing_symbol_in_memory),
		TEST(refuses_a_bad_stride),
		TEST(refuses_an_offset_outside_of_the_row),
		TEST(refuses_a_table_without_end),
		TEST(reports_unreadable_tables),
		TEST(survives_garbage_in_the_image),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
