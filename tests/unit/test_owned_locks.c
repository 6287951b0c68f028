// SPDX-License-Identifier: Apache-2.0
/** @file The search of the Java heap for owned locks, with tables that make no sense. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "core/jvm/thread_dump.h"
#include "tests/support/fake_code.h"

enum {
	HEAP_VAR = 0x30000000,  /**< Universe::_collectedHeap */
	HEAP = 0x30001000,      /**< CollectedHeap */
	OBJECTS = 0x31000000,   /**< what it manages */
	OBJECTS_WORDS = 0x2000, /**< two pages and more */
};

static void offsets_outside_of_the_header(void **state)
{
	static const enum hs_field fields[] = {HS_F_oop_mark, HS_F_oop_klass,
	                                       HS_F_oop_narrow_klass};
	struct fake_code *code = hs_fake_code_create(FAKE_25);
	struct hs_layout_field *layout = code->jvm->layout.fields;
	struct hs_thread_dump dump = {0};
	struct hs_dump_builder builder = {.jvm = code->jvm, .dump = &dump};

	(void)state;
	hs_fake_u64(code->fake, HEAP_VAR, HEAP);
	hs_fake_u64(code->fake, HEAP, OBJECTS);
	hs_fake_u64(code->fake, HEAP + 8, OBJECTS_WORDS);
	layout[HS_F_heap] =
		(struct hs_layout_field){.present = true, .is_static = true, .address = HEAP_VAR};
	layout[HS_F_heap_reserved] = (struct hs_layout_field){.present = true};
	for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
		struct hs_layout_field before = layout[fields[i]];

		layout[fields[i]].present = true;
		layout[fields[i]].offset = UINT64_C(1) << 40;
		struct hs_err *err = hs_dump_collect_owned(&builder);
		assert_non_null(err);
		if (!strstr(hs_err_message(err), "header of an object"))
			fail_msg("%s", hs_err_message(err));
		hs_err_free(err);
		assert_false(dump.owned_known);
		layout[fields[i]] = before;
	}
	hs_fake_code_destroy(code);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(offsets_outside_of_the_header),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
