// SPDX-License-Identifier: Apache-2.0
/** @file Layout and what hs_jvm_open() concludes from it and from the flags. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "core/jvm/jvm_internal.h"
#include "tests/support/fake_libjvm.h"

struct fixture {
	struct hs_fake *fake;
	struct hs_fake_libjvm *libjvm;
	struct hs_snapshot *snapshot;
	struct hs_jvm *jvm;
};

static int setup(void **state)
{
	static struct fixture fixture; // one at a time

	fixture = (struct fixture){.fake = hs_fake_create(), .snapshot = hs_snapshot_create()};
	fixture.libjvm = hs_fake_libjvm_create(fixture.fake);
	*state = &fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	hs_jvm_close(fixture->jvm);
	hs_fake_libjvm_destroy(fixture->libjvm);
	hs_fake_destroy(fixture->fake);
	hs_snapshot_destroy(fixture->snapshot);
	return 0;
}

static struct hs_err *open_jvm(struct fixture *fixture)
{
	hs_fake_libjvm_install(fixture->libjvm, true);
	return hs_jvm_open(hs_fake_target(fixture->fake), fixture->snapshot, &fixture->jvm);
}

static void is_absent_without_libjvm(void **state)
{
	struct fixture *fixture = *state;

	struct hs_err *err =
		hs_jvm_open(hs_fake_target(fixture->fake), fixture->snapshot, &fixture->jvm);
	assert_non_null(err);
	assert_int_equal(hs_err_code(err), HS_ERR_ABSENT);
}

static void names_a_missing_required_field(void **state)
{
	struct fixture *fixture = *state;

	hs_fake_libjvm_field(fixture->libjvm, "JVMFlag", "_addr", "void*", 0);
	struct hs_err *err = open_jvm(fixture);
	assert_non_null(err);
	assert_int_equal(hs_err_code(err), HS_ERR_UNSUPPORTED);
	assert_non_null(strstr(hs_err_message(err), "JVMFlag::flags"));
	hs_err_free(err);
}

static void newest_spelling_wins(void **state)
{
	struct fixture *fixture = *state;

	hs_fake_libjvm_standard(fixture->libjvm, false);
	hs_fake_libjvm_field(fixture->libjvm, "Thread", "_osthread", "OSThread*", 480);
	assert_null(open_jvm(fixture));
	const struct hs_layout_field *field = &fixture->jvm->layout.fields[HS_F_thread_osthread];
	assert_int_equal(field->offset, 480);
	assert_int_equal(field->spelling, 0);
	field = &fixture->jvm->layout.fields[HS_F_narrow_oop_base];
	assert_int_equal(field->spelling, 1);
	assert_true(field->is_static);
	assert_int_equal(fixture->jvm->layout.sizes[HS_T_constant_pool], 24);
	assert_int_equal(fixture->jvm->layout.sizes[HS_T_nmethod], 0);
}

static void fallbacks_need_their_gate(void **state)
{
	struct fixture *fixture = *state;

	hs_fake_libjvm_standard(fixture->libjvm, false);
	hs_fake_libjvm_field(fixture->libjvm, "InstanceKlass", "_init_thread", "Thread*", 320);
	assert_null(open_jvm(fixture));
	const struct hs_layout *layout = &fixture->jvm->layout;
	assert_true(hs_layout_has(layout, HS_F_thread_safepoint_state));
	assert_int_equal(hs_layout_offset(layout, HS_F_thread_safepoint_state), 56);
	assert_true(layout->fields[HS_F_thread_safepoint_state].inferred);
	assert_false(hs_layout_has(layout, HS_F_klass_init_monitor));
	assert_false(layout->fields[HS_F_klass_next_link].inferred);
}

static void being_linked_has_an_init_monitor(void **state)
{
	struct fixture *fixture = *state;

	hs_fake_libjvm_standard(fixture->libjvm, true);
	hs_fake_libjvm_field(fixture->libjvm, "InstanceKlass", "_init_thread", "Thread*", 320);
	hs_fake_libjvm_int(fixture->libjvm, "InstanceKlass::being_linked", 2);
	assert_null(open_jvm(fixture));
	assert_int_equal(hs_layout_offset(&fixture->jvm->layout, HS_F_klass_init_monitor), 312);
}

static void reads_flags_and_version_of_17(void **state)
{
	struct fixture *fixture = *state;

	hs_fake_libjvm_standard(fixture->libjvm, false);
	hs_fake_libjvm_flag(fixture->libjvm, "UseCompressedOopsX", 1, 0);
	hs_fake_libjvm_flag(fixture->libjvm, "UseCompressedOops", 1, 1);
	hs_fake_libjvm_flag(fixture->libjvm, "UseCompressedClassPointers", 1, 1);
	hs_fake_libjvm_flag(fixture->libjvm, "UseParallelGC", 1, 1);
	assert_null(open_jvm(fixture));
	const struct hs_jvm *jvm = fixture->jvm;
	assert_true(jvm->compressed_oops);
	assert_true(jvm->compressed_klass);
	assert_false(jvm->compact_headers);
	assert_false(jvm->use_zgc);
	assert_false(jvm->monitor_table);
	assert_int_equal(jvm->locking_mode, HS_LOCKING_LEGACY);
	assert_int_equal(jvm->array_length_offset, 12);
	assert_true(jvm->array_data_aligned);
	assert_int_equal(jvm->unsigned5_bias, 0);
	assert_int_equal(jvm->major, 17);
	assert_string_equal(fixture->snapshot->runtime.kind, "hotspot");
	assert_string_equal(fixture->snapshot->runtime.version, "99.0.1+2-Test");
	assert_string_equal(fixture->snapshot->runtime.vm, "Test Server VM");
	assert_string_equal(fixture->snapshot->runtime.gc, "Parallel");
}

/** The vendor's own version is not the release. */
static void release_of_others_is_as_published(void **state)
{
	struct fixture *fixture = *state;

	hs_fake_libjvm_standard(fixture->libjvm, false);
	hs_fake_libjvm_set_info(fixture->libjvm,
	                        "OpenJDK 64-Bit Server VM (99.0.1+2-Test) for linux-amd64 JRE "
	                        "(Zulu99.35+15-CA), built on Oct  7");
	assert_null(open_jvm(fixture));
	assert_string_equal(fixture->snapshot->runtime.version, "99.0.1+2-Test");
}

/** 8: what it publishes as its version is that of HotSpot, 25. */
static void release_of_8_is_that_of_the_jre(void **state)
{
	struct fixture *fixture = *state;

	hs_fake_libjvm_standard(fixture->libjvm, false);
	hs_fake_libjvm_static(fixture->libjvm, "SystemDictionary", "_dictionary", "Dictionary*",
	                      0x1000);
	hs_fake_libjvm_set_info(fixture->libjvm,
	                        "OpenJDK 64-Bit Server VM (25.504-b01) for linux-amd64 JRE "
	                        "(1.8.0_504-8u504-ga-1-b01), built on Aug 20");
	assert_null(open_jvm(fixture));
	assert_int_equal(fixture->jvm->major, 8);
	assert_string_equal(fixture->snapshot->runtime.version, "1.8.0_504-8u504-ga-1-b01");
	assert_string_equal(fixture->snapshot->runtime.vm, "OpenJDK 64-Bit Server VM");
}

static void reads_flags_of_25(void **state)
{
	struct fixture *fixture = *state;

	hs_fake_libjvm_standard(fixture->libjvm, true);
	hs_fake_libjvm_int(fixture->libjvm, "markWord::klass_shift", 42);
	hs_fake_libjvm_field(fixture->libjvm, "JavaThread", "_lock_stack", "LockStack", 100);
	hs_fake_libjvm_flag(fixture->libjvm, "UseCompactObjectHeaders", 1, 1);
	hs_fake_libjvm_flag(fixture->libjvm, "UseObjectMonitorTable", 1, 0);
	hs_fake_libjvm_flag(fixture->libjvm, "LockingMode", 4, 2);
	assert_null(open_jvm(fixture));
	const struct hs_jvm *jvm = fixture->jvm;
	assert_true(jvm->compact_headers);
	assert_int_equal(jvm->mark_klass_shift, 42);
	assert_int_equal(jvm->array_length_offset, 8);
	assert_false(jvm->array_data_aligned);
	assert_true(jvm->monitor_table);
	assert_int_equal(jvm->locking_mode, HS_LOCKING_LIGHTWEIGHT);
	assert_int_equal(jvm->unsigned5_bias, 1);
}

static void locking_mode_without_the_flag(void **state)
{
	struct fixture *fixture = *state;

	// 26+: the flag is gone, the lock stack tells.
	hs_fake_libjvm_standard(fixture->libjvm, true);
	hs_fake_libjvm_field(fixture->libjvm, "JavaThread", "_lock_stack", "LockStack", 100);
	assert_null(open_jvm(fixture));
	assert_int_equal(fixture->jvm->locking_mode, HS_LOCKING_LIGHTWEIGHT);
}

static void refuses_wild_numbers(void **state)
{
	struct fixture *fixture = *state;

	hs_fake_libjvm_standard(fixture->libjvm, false);
	hs_fake_libjvm_flag(fixture->libjvm, "UseCompressedOops", 1, 1);
	hs_fake_libjvm_static(fixture->libjvm, "CompressedOops", "_shift", "int", 0x1000);
	hs_fake_u32(fixture->fake, 0x1000, 64);
	struct hs_err *err = open_jvm(fixture);
	assert_non_null(err);
	assert_int_equal(hs_err_code(err), HS_ERR_BAD_DATA);
	hs_err_free(err);
}

static void uncolors_generational_zgc(void **state)
{
	struct hs_jvm jvm = {.use_zgc = true, .zgc_generational = true, .z_load_shift = 14};

	(void)state;
	// The pointer's own remap bit says how far it is shifted, not the current shift.
	assert_int_equal(hs_oop_uncolor(&jvm, UINT64_C(0x40000001000) << 13 | 1 << 12 | 0x50),
	                 0x40000001000);
	assert_int_equal(hs_oop_uncolor(&jvm, UINT64_C(0x40000001000) << 16 | 1 << 15 | 0x50),
	                 0x40000001000);
	assert_int_equal(hs_oop_uncolor(&jvm, 0), 0);
	assert_int_equal(hs_oop_uncolor(&jvm, 1 << 13 | 0x550), 0); // a coloured null
	assert_int_equal(hs_oop_uncolor(&jvm, 0x50), 0);
}

static void uncolors_single_generation_zgc(void **state)
{
	struct hs_jvm jvm = {
		.use_zgc = true,
		.z_offset_mask = (UINT64_C(1) << 42) - 1,
		.z_good_mask = UINT64_C(1) << 44,
	};

	(void)state;
	assert_int_equal(hs_oop_uncolor(&jvm, UINT64_C(1) << 43 | 0x1230),
	                 UINT64_C(1) << 44 | 0x1230);
	assert_int_equal(hs_oop_uncolor(&jvm, 0), 0);
	jvm.use_zgc = false;
	assert_int_equal(hs_oop_uncolor(&jvm, 0x1230), 0x1230);
}

static void reads_zglobals(void **state)
{
	struct fixture *fixture = *state;
	hs_addr instance = 0x600000, pointers = 0x600100, shift = 0x600200;

	hs_fake_libjvm_standard(fixture->libjvm, true);
	hs_fake_libjvm_flag(fixture->libjvm, "UseZGC", 1, 1);
	hs_fake_libjvm_static(fixture->libjvm, "ZGlobalsForVMStructs", "_instance_p",
	                      "ZGlobalsForVMStructs*", instance);
	hs_fake_libjvm_field(fixture->libjvm, "ZGlobalsForVMStructs", "_ZPointerLoadShift",
	                     "size_t*", 24);
	hs_fake_u64(fixture->fake, instance, pointers);
	hs_fake_u64(fixture->fake, pointers + 24, shift);
	hs_fake_u64(fixture->fake, shift, 15);
	assert_null(open_jvm(fixture));
	assert_true(fixture->jvm->zgc_generational);
	assert_int_equal(fixture->jvm->z_load_shift, 15);
	assert_string_equal(fixture->snapshot->runtime.gc, "ZGC");
}

static void a_running_gc_is_a_gap(void **state)
{
	struct fixture *fixture = *state;

	hs_fake_libjvm_standard(fixture->libjvm, false);
	hs_fake_libjvm_static(fixture->libjvm, "Universe", "_collectedHeap", "CollectedHeap*",
	                      0x700000);
	hs_fake_libjvm_field(fixture->libjvm, "CollectedHeap", "_is_gc_active", "bool", 48);
	hs_fake_u64(fixture->fake, 0x700000, 0x700100);
	hs_fake_u8(fixture->fake, 0x700130, 1);
	assert_null(open_jvm(fixture));
	assert_true(fixture->jvm->stw_gc_active);
	assert_string_equal(fixture->snapshot->gaps.items[0].subject, "Java heap");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(is_absent_without_libjvm),
		TEST(names_a_missing_required_field),
		TEST(newest_spelling_wins),
		TEST(fallbacks_need_their_gate),
		TEST(being_linked_has_an_init_monitor),
		TEST(reads_flags_and_version_of_17),
		TEST(release_of_8_is_that_of_the_jre),
		TEST(release_of_others_is_as_published),
		TEST(reads_flags_of_25),
		TEST(locking_mode_without_the_flag),
		TEST(refuses_wild_numbers),
		TEST(reads_zglobals),
		TEST(a_running_gc_is_a_gap),
		cmocka_unit_test(uncolors_generational_zgc),
		cmocka_unit_test(uncolors_single_generation_zgc),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
