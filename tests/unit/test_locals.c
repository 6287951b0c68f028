// SPDX-License-Identifier: Apache-2.0
/** @file Local variables: the table at the end of a ConstMethod, slots of frames, values in words.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "tests/support/fake_code.h"

enum {
	CONST_METHOD = 0x30000000,
	HEADER = 32,
	CODE_BYTES = 16,
	TAIL_MAX = 1024,
	POOL = 0x30010000,
	POOL_HEADER = 64,
	SYMBOLS = 0x30020000,
	LINE_BYTES = 5, /**< of a line table that comes before the tables */

	// Flags of a ConstMethod.
	CHECKED = 1 << 1,
	VARIABLES = 1 << 2,
	EXCEPTIONS = 1 << 3,
	GENERIC = 1 << 4,
	PARAMETERS = 1 << 5,
	ANNOTATIONS = 0xf << 7,

	SP = FAKE_STACK + 0x1000,
	FP = FAKE_STACK + 0x1100,
	LOCALS = FP + 0x80, /**< address of slot 0 */
};

/** Entries of the constant pool. */
enum symbol {
	SYM_COUNT = 1,
	SYM_INT,
	SYM_TOTAL,
	SYM_LONG,
	SYM_LOCK,
	SYM_LOCK_TYPE,
	SYM_LATER,
	NUM_SYMBOLS,
};

static const char *const symbol_texts[NUM_SYMBOLS] = {
	[SYM_COUNT] = "count", [SYM_INT] = "I",     [SYM_TOTAL] = "total",
	[SYM_LONG] = "J",      [SYM_LOCK] = "lock", [SYM_LOCK_TYPE] = "Lapp/Lock;",
	[SYM_LATER] = "later",
};

struct fixture {
	struct fake_code *code;
	struct hs_method *method;
	uint8_t tail[TAIL_MAX];
	size_t len;
};

static void put_field(struct fixture *f, enum hs_field field, uint64_t offset)
{
	f->code->jvm->layout.fields[field] =
		(struct hs_layout_field){.present = true, .offset = offset};
}

static void put_bytes(struct fixture *f, size_t len, uint8_t byte)
{
	assert_true(f->len + len <= TAIL_MAX);
	memset(f->tail + f->len, byte, len);
	f->len += len;
}

static void put_u2(struct fixture *f, uint16_t value)
{
	assert_true(f->len + 2 <= TAIL_MAX);
	memcpy(f->tail + f->len, &value, 2);
	f->len += 2;
}

static void put_variable(struct fixture *f, uint16_t start, uint16_t length, enum symbol name,
                         enum symbol type, uint16_t slot)
{
	put_u2(f, start);
	put_u2(f, length);
	put_u2(f, (uint16_t)name);
	put_u2(f, (uint16_t)type);
	put_u2(f, 0);
	put_u2(f, slot);
}

/** The tables in the order of their places, each with elements that are no variable. */
static void put_tables(struct fixture *f, uint32_t flags)
{
	if (flags & VARIABLES) {
		put_variable(f, 0, CODE_BYTES, SYM_COUNT, SYM_INT, 0);
		put_variable(f, 0, CODE_BYTES, SYM_TOTAL, SYM_LONG, 1);
		put_variable(f, 4, 8, SYM_LOCK, SYM_LOCK_TYPE, 3);
		put_variable(f, 12, 4, SYM_LATER, SYM_INT, 3);
		put_u2(f, 4);
	}
	if (flags & EXCEPTIONS) {
		put_bytes(f, (size_t)2 * 8, 0xe1);
		put_u2(f, 2);
	}
	if (flags & CHECKED) {
		put_bytes(f, (size_t)3 * 2, 0xc1);
		put_u2(f, 3);
	}
	if (flags & PARAMETERS) {
		put_bytes(f, 4, 0xd1);
		put_u2(f, 1);
	}
	if (flags & GENERIC)
		put_u2(f, 0xabcd);
}

static void setup_method(struct fixture *f, enum fake_release release, uint32_t flags)
{
	struct hs_jvm *jvm;

	*f = (struct fixture){.code = hs_fake_code_create(release)};
	jvm = f->code->jvm;
	put_field(f, HS_F_const_method_constants, 0);
	put_field(f, HS_F_const_method_size, 8);
	put_field(f, HS_F_const_method_max_locals, 14);
	put_field(f, release == FAKE_25 ? HS_F_const_method_flags_u4 : HS_F_const_method_flags_u2,
	          16);
	jvm->layout.sizes[HS_T_const_method] = HEADER;
	jvm->layout.sizes[HS_T_constant_pool] = POOL_HEADER;

	put_tables(f, flags);
	size_t annotations = flags & ANNOTATIONS ? 4 * 8 : 0;
	// Rounded up to words, the tables at the end.
	size_t total = (LINE_BYTES + f->len + 7) & ~(size_t)7, gap = total - f->len;
	hs_fake_fill(f->code->fake, CONST_METHOD, 0, 4096);
	hs_fake_fill(f->code->fake, CONST_METHOD + HEADER + CODE_BYTES, 0xff, gap);
	hs_fake_memory(f->code->fake, CONST_METHOD + HEADER + CODE_BYTES + gap, f->tail, f->len);
	hs_fake_u64(f->code->fake, CONST_METHOD, POOL);
	hs_fake_u32(f->code->fake, CONST_METHOD + 8,
	            (uint32_t)((HEADER + CODE_BYTES + total + annotations) / 8));
	hs_fake_u16(f->code->fake, CONST_METHOD + 14, 4);
	hs_fake_u32(f->code->fake, CONST_METHOD + 16, flags);
	hs_fake_fill(f->code->fake, POOL, 0, 4096);
	for (unsigned i = 1; i < NUM_SYMBOLS; i++) {
		hs_addr symbol = SYMBOLS + i * 16;

		hs_fake_u64(f->code->fake, POOL + POOL_HEADER + (hs_addr)i * 8, symbol);
		assert_true(
			hs_map64_put(&jvm->symbols, symbol, (void *)(uintptr_t)symbol_texts[i]));
	}
	f->method = hs_fake_code_method(f->code, "run");
	f->method->code_base = CONST_METHOD + HEADER;
	f->method->code_size = CODE_BYTES;
	f->method->is_static = true;
	f->method->descriptor = "(IJ)V";
}

static void teardown_method(struct fixture *f)
{
	hs_map64_deinit(&f->code->jvm->symbols);
	hs_fake_code_destroy(f->code);
}

static const struct hs_variable_table *table_of(struct fixture *f)
{
	const struct hs_variable_table *table = NULL;
	struct hs_err *err = hs_method_variables(f->code->jvm, f->method, &table);

	assert_null(err);
	return table;
}

// ---- the table

/** Whatever else is at the end of the ConstMethod. */
static void finds_table_among_others(void **state)
{
	static const uint32_t others[] = {CHECKED, EXCEPTIONS, GENERIC, PARAMETERS, ANNOTATIONS};

	(void)state;
	for (unsigned set = 0; set < 1U << 5; set++) {
		for (enum fake_release release = FAKE_8; release <= FAKE_25; release++) {
			struct fixture f;
			uint32_t flags = VARIABLES;

			for (unsigned i = 0; i < 5; i++)
				flags |= set >> i & 1 ? others[i] : 0;
			setup_method(&f, release, flags);
			const struct hs_variable_table *table = table_of(&f);
			assert_null(table->why);
			assert_int_equal(table->len, 4);
			assert_int_equal(table->max_locals, 4);
			assert_string_equal(table->items[2].name, "lock");
			assert_string_equal(table->items[2].descriptor, "Lapp/Lock;");
			assert_int_equal(table->items[2].start_bci, 4);
			assert_int_equal(table->items[2].end_bci, 12);
			assert_int_equal(table->items[2].slot, 3);
			assert_ptr_equal(table_of(&f), table);
			teardown_method(&f);
		}
	}
}

static void has_no_table(void **state)
{
	struct fixture f;

	(void)state;
	setup_method(&f, FAKE_17, CHECKED | EXCEPTIONS);
	assert_int_equal(table_of(&f)->len, 0);
	assert_null(table_of(&f)->why);
	assert_int_equal(table_of(&f)->max_locals, 4);
	teardown_method(&f);
}

static void native_method_has_its_parameters(void **state)
{
	struct fixture f;

	(void)state;
	setup_method(&f, FAKE_17, 0);
	f.method->is_native = true;
	f.method->is_static = false;
	f.method->descriptor = "(ZJ[[DLjava/lang/String;)V";
	assert_int_equal(table_of(&f)->max_locals, 1 + 1 + 2 + 1 + 1);
	teardown_method(&f);
}

/** Each size, and each byte of the tables: a reason, never a crash. */
static void survives_nonsense(void **state)
{
	const uint32_t flags =
		VARIABLES | CHECKED | EXCEPTIONS | GENERIC | PARAMETERS | ANNOTATIONS;
	struct fixture f;
	unsigned failed = 0;

	(void)state;
	for (uint32_t words = 0; words < 24; words++) {
		setup_method(&f, FAKE_17, flags);
		hs_fake_u32(f.code->fake, CONST_METHOD + 8, words);
		const struct hs_variable_table *table = table_of(&f);
		assert_true(table->len <= 4);
		failed += table->why != NULL;
		teardown_method(&f);
	}
	assert_true(failed > 10);
	setup_method(&f, FAKE_17, flags);
	size_t len = f.len;
	teardown_method(&f);
	for (size_t at = 0; at < len; at++) {
		setup_method(&f, FAKE_17, flags);
		size_t total = (LINE_BYTES + f.len + 7) & ~(size_t)7;
		hs_fake_u8(f.code->fake, CONST_METHOD + HEADER + CODE_BYTES + total - f.len + at,
		           0xff);
		assert_true(table_of(&f)->len < 65536);
		teardown_method(&f);
	}
}

// ---- frames

static const struct hs_frame *collect(struct fixture *f, uint16_t bci)
{
	struct hs_cursor cursor = hs_fake_code_cursor(FAKE_INTERPRETER + 0x200, SP, FP);
	const struct hs_stepper *stepper = &f->code->jvm->stepper;
	struct hs_thread *thread;
	struct hs_err *err;

	hs_fake_code_interpreter_frame(f->code, FP,
	                               &(struct fake_interpreter_frame){
					       .method = f->method,
					       .bci = bci,
					       .return_pc = FAKE_CALL_STUB_RETURN,
					       .link = FP + 0x300,
					       .sender_sp = LOCALS + 8,
					       .locals = LOCALS,
				       });
	err = hs_code_cache_open(f->code->jvm);
	assert_null(err);
	hs_fake_code_thread(f->code, 0, 0, 0, 0, 0);
	err = stepper->step(stepper->self, &cursor, &f->code->list);
	assert_null(err);
	thread = &f->code->snapshot->threads.items[0];
	thread->name = "t";
	thread->frames = f->code->list.frames.items;
	thread->num_frames = (uint32_t)f->code->list.frames.len;
	err = hs_jvm_collect_locals(f->code->jvm);
	assert_null(err);
	return &f->code->snapshot->threads.items[0].frames[0];
}

static void put_slots(struct fixture *f, hs_addr object)
{
	hs_fake_u64(f->code->fake, LOCALS, UINT64_C(0xdeadbeef00000000) | (uint32_t)-42);
	hs_fake_u64(f->code->fake, LOCALS - 8, 0x1111);             // not used
	hs_fake_u64(f->code->fake, LOCALS - 16, UINT64_C(1) << 40); // the long
	hs_fake_u64(f->code->fake, LOCALS - 24, object);
}

static void check_local(const struct hs_frame *frame, unsigned i, const char *name,
                        const char *type, enum hs_local_kind kind, const char *value)
{
	const struct hs_local *local = &frame->locals[i];

	assert_true(i < frame->num_locals);
	assert_string_equal(local->name, name);
	assert_string_equal(local->type ? local->type : "(none)", type);
	assert_int_equal(local->kind, kind);
	if (value)
		assert_string_equal(local->value, value);
	else
		assert_null(local->value);
}

static void shows_named_variables(void **state)
{
	(void)state;
	for (enum fake_release release = FAKE_8; release <= FAKE_25; release++) {
		struct fixture f;

		setup_method(&f, release, VARIABLES | EXCEPTIONS);
		hs_addr object = hs_fake_code_object(f.code, "app/Lock");
		put_slots(&f, object);
		const struct hs_frame *frame = collect(&f, 7);
		assert_int_equal(frame->num_locals, 3);
		check_local(frame, 0, "count", "int", HS_LOCAL_PRIMITIVE, "-42");
		assert_true(frame->locals[0].is_argument);
		check_local(frame, 1, "total", "long", HS_LOCAL_PRIMITIVE, "1099511627776");
		check_local(frame, 2, "lock", "app.Lock", HS_LOCAL_OBJECT, NULL);
		assert_false(frame->locals[2].is_argument);
		assert_int_equal(frame->locals[2].address, object);
		assert_string_equal(frame->locals[2].class_name, "app.Lock");
		assert_int_equal(f.code->snapshot->gaps.len, 0);
		teardown_method(&f);
	}
}

static void obeys_ranges(void **state)
{
	struct fixture f;

	(void)state;
	setup_method(&f, FAKE_17, VARIABLES);
	put_slots(&f, 3);
	const struct hs_frame *frame = collect(&f, 2);
	assert_int_equal(frame->num_locals, 2);
	teardown_method(&f);

	setup_method(&f, FAKE_17, VARIABLES);
	put_slots(&f, 3);
	frame = collect(&f, 12);
	assert_int_equal(frame->num_locals, 3);
	check_local(frame, 2, "later", "int", HS_LOCAL_PRIMITIVE, "3");
	teardown_method(&f);
}

static void shows_bits_without_table(void **state)
{
	struct fixture f;

	(void)state;
	setup_method(&f, FAKE_25, 0);
	put_slots(&f, 0x2a);
	const struct hs_frame *frame = collect(&f, 7);
	assert_int_equal(frame->num_locals, 3);
	check_local(frame, 0, "arg0", "int", HS_LOCAL_PRIMITIVE, "-42");
	check_local(frame, 1, "arg1", "long", HS_LOCAL_PRIMITIVE, "1099511627776");
	check_local(frame, 2, "local3", "(none)", HS_LOCAL_RAW, "0x000000000000002a");
	teardown_method(&f);
}

static void checks_objects(void **state)
{
	struct fixture f;

	(void)state;
	setup_method(&f, FAKE_17, VARIABLES);
	put_slots(&f, 0x123450);
	const struct hs_frame *frame = collect(&f, 7);
	check_local(frame, 2, "lock", "app.Lock", HS_LOCAL_UNREADABLE, NULL);
	assert_int_equal(f.code->snapshot->gaps.len, 1);
	assert_string_equal(f.code->snapshot->gaps.items[0].subject,
	                    "local variables of \"t\" (tid 100)");
	teardown_method(&f);
}

static void redacts(void **state)
{
	struct fixture f;

	(void)state;
	setup_method(&f, FAKE_17, VARIABLES);
	f.code->snapshot->redact = true;
	hs_addr object = hs_fake_code_object(f.code, "app/Lock");
	put_slots(&f, object);
	const struct hs_frame *frame = collect(&f, 7);
	check_local(frame, 0, "count", "int", HS_LOCAL_PRIMITIVE, NULL);
	check_local(frame, 1, "total", "long", HS_LOCAL_PRIMITIVE, NULL);
	check_local(frame, 2, "lock", "app.Lock", HS_LOCAL_OBJECT, NULL);
	teardown_method(&f);

	setup_method(&f, FAKE_17, 0);
	f.code->snapshot->redact = true;
	put_slots(&f, 0x2a);
	frame = collect(&f, 7);
	check_local(frame, 2, "local3", "(none)", HS_LOCAL_RAW, NULL);
	teardown_method(&f);
}

/** A frame of an unmounted virtual thread: nothing is read through it. */
static void leaves_stack_chunks(void **state)
{
	static struct hs_frame_slots slots;
	struct fixture f;

	(void)state;
	setup_method(&f, FAKE_25, VARIABLES);
	const struct hs_frame *frame = collect(&f, 7);
	struct hs_frame copy = *frame;
	copy.sp = 0x123450;
	const struct hs_thread thread = {.frames = &copy, .num_frames = 1};
	struct hs_err *err = hs_frame_slots_read(f.code->jvm, &thread, 0, &slots);
	assert_true(hs_err_catch(&err, HS_ERR_ABSENT));
	teardown_method(&f);
}

// ---- words

static void check_primitive(struct fixture *f, char type, uint64_t bits, const char *want)
{
	struct hs_local local = {0};
	struct hs_err *err = hs_local_set_primitive(f->code->jvm, &local, type, bits);

	assert_null(err);
	assert_string_equal(local.value, want);
}

static void check_double(struct fixture *f, double value, const char *want)
{
	uint64_t bits;

	memcpy(&bits, &value, sizeof(bits));
	check_primitive(f, 'D', bits, want);
}

static void check_float(struct fixture *f, float value, const char *want)
{
	uint32_t bits;

	memcpy(&bits, &value, sizeof(bits));
	check_primitive(f, 'F', bits, want);
}

static void writes_primitives(void **state)
{
	struct fixture f;

	(void)state;
	setup_method(&f, FAKE_17, 0);
	check_primitive(&f, 'Z', 1, "true");
	check_primitive(&f, 'Z', 0, "false");
	check_primitive(&f, 'Z', 7, "7");
	check_primitive(&f, 'B', (uint64_t)-5, "-5");
	check_primitive(&f, 'C', 'x', "'x'");
	check_primitive(&f, 'C', 0x20ac, "'\\u20ac'");
	check_primitive(&f, 'C', '\'', "'\\u0027'");
	check_primitive(&f, 'I', UINT64_C(0xffffffff80000000), "-2147483648");
	check_primitive(&f, 'J', UINT64_C(1) << 63, "-9223372036854775808");
	check_double(&f, 0.1, "0.1");
	check_double(&f, -0.0, "-0.0");
	check_double(&f, 3, "3.0");
	check_double(&f, 1e300, "1e+300");
	check_double(&f, 1.0 / 3, "0.3333333333333333");
	check_double(&f, (double)NAN, "NaN");
	check_double(&f, -(double)INFINITY, "-Infinity");
	check_float(&f, 0.1f, "0.1");
	check_float(&f, 19.25f, "19.25");
	check_float(&f, 16777216.0f, "16777216.0");
	teardown_method(&f);
}

static void writes_types(void **state)
{
	static const char *const rows[][2] = {
		{"I",                   "int"               },
		{"[[J",                 "long[][]"          },
		{"Ljava/lang/String;",  "java.lang.String"  },
		{"[Ljava/lang/String;", "java.lang.String[]"},
		{"",                    ""                  },
		{"[",                   "["                 },
		{"L;",                  "L;"                },
		{"Lapp/A",              "Lapp/A"            },
		{"II",                  "II"                },
		{"[[[Lapp/$A;",         "app.$A[][][]"      },
	};
	struct hs_arena *arena = hs_arena_create();

	(void)state;
	assert_non_null(arena);
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		assert_string_equal(hs_type_words(arena, rows[i][0]), rows[i][1]);
	assert_string_equal(hs_class_words(arena, "[B"), "byte[]");
	assert_string_equal(hs_class_words(arena, "app.B"), "app.B");
	hs_arena_destroy(arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_table_among_others),
		cmocka_unit_test(has_no_table),
		cmocka_unit_test(native_method_has_its_parameters),
		cmocka_unit_test(survives_nonsense),
		cmocka_unit_test(shows_named_variables),
		cmocka_unit_test(obeys_ranges),
		cmocka_unit_test(shows_bits_without_table),
		cmocka_unit_test(checks_objects),
		cmocka_unit_test(redacts),
		cmocka_unit_test(leaves_stack_chunks),
		cmocka_unit_test(writes_primitives),
		cmocka_unit_test(writes_types),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
