// SPDX-License-Identifier: Apache-2.0
/** @file From a pc to its blob, and what stands in the way. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "tests/support/fake_code.h"

static int setup(void **state)
{
	struct fake_code *code = hs_fake_code_create(FAKE_17);

	hs_fake_code_blob(code, "RuntimeStub - test", 4, 9, 6);
	struct hs_err *err = hs_code_cache_open(code->jvm);
	assert_null(err);
	*state = code;
	return 0;
}

static int teardown(void **state)
{
	hs_fake_code_destroy(*state);
	return 0;
}

static struct hs_err *look_up(struct fake_code *code, hs_addr pc, const struct hs_blob **ret)
{
	return hs_code_cache_blob(code->jvm, pc, ret);
}

static void finds_blobs(void **state)
{
	struct fake_code *code = *state;
	const struct hs_blob *blob, *same;
	hs_addr start = FAKE_CODE + 4 * FAKE_SEGMENT + 16;
	struct hs_err *err;

	err = look_up(code, start + 64, &blob);
	assert_null(err);
	assert_string_equal(blob->name, "RuntimeStub - test");
	assert_int_equal(blob->addr, start);
	assert_int_equal(blob->end, FAKE_CODE + 13 * FAKE_SEGMENT);
	assert_int_equal(blob->code_begin, start + 64);
	assert_int_equal(blob->frame_size, 48);
	assert_int_equal(blob->frame_complete, 0); // never safe
	assert_null(blob->nmethod);
	assert_int_equal(blob->location->kind, HS_FRAME_STUB);
	err = look_up(code, FAKE_CODE + 13 * FAKE_SEGMENT - 1, &same);
	assert_null(err);
	assert_ptr_equal(blob, same);
}

static void owns_heaps_only(void **state)
{
	struct fake_code *code = *state;
	const struct hs_code_cache *cache = code->jvm->code_cache;

	assert_false(hs_code_cache_owns(cache, FAKE_CODE - 1));
	assert_true(hs_code_cache_owns(cache, FAKE_CODE));
	assert_true(hs_code_cache_owns(cache, FAKE_CODE + FAKE_CODE_SIZE - 1));
	assert_false(hs_code_cache_owns(cache, FAKE_CODE + FAKE_CODE_SIZE));
	assert_false(hs_code_cache_owns(NULL, FAKE_CODE));
	assert_true(hs_code_cache_is_interpreter(cache, FAKE_INTERPRETER));
	assert_false(hs_code_cache_is_interpreter(cache, FAKE_INTERPRETER + 0x1000));
}

static void free_space_is_absent(void **state)
{
	struct fake_code *code = *state;
	const struct hs_blob *blob;
	struct hs_err *err;

	err = look_up(code, FAKE_CODE + 64, &blob); // 0xff in the map
	assert_true(hs_err_catch(&err, HS_ERR_ABSENT));
	err = look_up(code, FAKE_CODE - 64, &blob);
	assert_true(hs_err_catch(&err, HS_ERR_ABSENT));
	err = look_up(code, FAKE_CODE + 4 * FAKE_SEGMENT + 3, &blob); // the block's header
	assert_true(hs_err_catch(&err, HS_ERR_ABSENT));
	hs_fake_u8(code->fake, FAKE_CODE + 4 * FAKE_SEGMENT + 8, 0); // not used
	err = look_up(code, FAKE_CODE + 5 * FAKE_SEGMENT, &blob);
	assert_true(hs_err_catch(&err, HS_ERR_ABSENT));
}

static void map_cannot_lead_out(void **state)
{
	struct fake_code *code = *state;
	const struct hs_blob *blob;
	struct hs_err *err;

	hs_fake_u8(code->fake, FAKE_SEGMAP + 5, 6);
	err = look_up(code, FAKE_CODE + 5 * FAKE_SEGMENT, &blob);
	assert_true(hs_err_catch(&err, HS_ERR_BAD_DATA));
}

static void long_block_takes_many_hops(void **state)
{
	struct fake_code *code = *state;
	const struct hs_blob *blob;
	struct hs_err *err;

	hs_fake_code_blob(code, "long", 0x20, 0xc0, 0);
	for (uint32_t i = 1; i < 0xc0; i++)
		hs_fake_u8(code->fake, FAKE_SEGMAP + 0x20 + i, 1);
	err = look_up(code, FAKE_CODE + 0xdf * FAKE_SEGMENT, &blob);
	assert_null(err);
	assert_string_equal(blob->name, "long");
}

static void nonsense_is_refused(void **state)
{
	struct fake_code *code = *state;
	const struct hs_blob *blob;
	hs_addr addr = FAKE_CODE + 4 * FAKE_SEGMENT + 16, pc = addr + 80;
	struct hs_err *err;

	hs_fake_u32(code->fake, addr + 8, 0x7fffffff); // beyond the heap
	err = look_up(code, pc, &blob);
	assert_true(hs_err_catch(&err, HS_ERR_BAD_DATA));
	hs_fake_u32(code->fake, addr + 8, 9 * FAKE_SEGMENT - 16);
	hs_fake_u32(code->fake, addr + 12, 0x7fffffff);
	err = look_up(code, pc, &blob);
	assert_true(hs_err_catch(&err, HS_ERR_BAD_DATA));
	hs_fake_u32(code->fake, addr + 12, UINT32_MAX); // no_frame_size
	hs_fake_u64(code->fake, addr, 1);               // a name that cannot be read
	err = look_up(code, pc, &blob);
	assert_null(err);
	assert_int_equal(blob->frame_size, 0);
	assert_string_equal(blob->name, "CodeBlob");
}

static void missing_fields_are_named(void **state)
{
	struct fake_code *code = hs_fake_code_create(FAKE_17);
	struct hs_err *err;

	(void)state;
	code->jvm->layout.fields[HS_F_code_heap_segmap].present = false;
	err = hs_code_cache_open(code->jvm);
	assert_non_null(err);
	assert_int_equal(hs_err_code(err), HS_ERR_UNSUPPORTED);
	assert_non_null(strstr(hs_err_message(err), "CodeHeap::_segmap"));
	hs_err_free(err);
	assert_null(code->jvm->code_cache);
	hs_fake_code_destroy(code);
}

static void integers_have_their_width(void **state)
{
	struct fake_code *code = *state;
	struct hs_layout_field *field = &code->jvm->layout.fields[HS_F_heap_block_length];
	struct hs_record record = {.jvm = code->jvm, .len = 16};
	static const struct {
		const char *type;
		int64_t value;
	} rows[] = {
		{"int",      -2        },
                {"uint",     0xfffffffe},
                {"uint32_t", 0xfffffffe},
		{"int16_t",  -2        },
                {"u2",       0xfffe    },
                {"u1",       0xfe      },
		{"bool",     0xfe      },
                {"s1",       -2        },
                {"size_t",   -2        },
		{"Method*",  -2        },
                {NULL,       -2        },
	};

	memset(record.bytes, 0xff, sizeof(record.bytes));
	record.bytes[8] = 0xfe;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		*field = (struct hs_layout_field){
			.present = true, .offset = 8, .type = rows[i].type};
		assert_int_equal(hs_record_int(&record, HS_F_heap_block_length), rows[i].value);
	}
	field->offset = 13; // a pointer would end outside
	field->type = "Method*";
	assert_int_equal(hs_record_int(&record, HS_F_heap_block_length), 0);
	field->present = false;
	assert_int_equal(hs_record_int(&record, HS_F_heap_block_length), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(finds_blobs, setup, teardown),
		cmocka_unit_test_setup_teardown(owns_heaps_only, setup, teardown),
		cmocka_unit_test_setup_teardown(free_space_is_absent, setup, teardown),
		cmocka_unit_test_setup_teardown(map_cannot_lead_out, setup, teardown),
		cmocka_unit_test_setup_teardown(long_block_takes_many_hops, setup, teardown),
		cmocka_unit_test_setup_teardown(nonsense_is_refused, setup, teardown),
		cmocka_unit_test(missing_fields_are_named),
		cmocka_unit_test_setup_teardown(integers_have_their_width, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
