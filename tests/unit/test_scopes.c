// SPDX-License-Identifier: Apache-2.0
/** @file Debug information of compiled code: PcDescs, inlined scopes, monitors, locals. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "tests/support/fake_code.h"

/** Tags and locations as DebugInfoWriteStream writes them. */
enum {
	LOCATION = 0,
	INT = 1,
	OOP = 2,
	LONG = 3,
	DOUBLE = 4,
	OBJECT = 5,
	OBJECT_ID = 6,
	MARKER = 8,

	STACK_OOP_AT_8 = 2 << 5 | 2,
	STACK_NARROW_AT_16 = 4 << 5 | 9,
	RBP_OOP = 10 << 5 | 0x10 | 2,
	NORMAL_AT_8 = 2 << 5 | 1,
};

struct stream {
	uint8_t bytes[64];
	size_t len;
	uint8_t bias;
};

static void put(struct stream *s, unsigned value)
{
	assert_true(value < 191 && s->len < sizeof(s->bytes));
	s->bytes[s->len++] = (uint8_t)(value + s->bias);
}

static void put_wide(struct stream *s, unsigned value) // 2 bytes
{
	value -= 192 - s->bias;
	s->bytes[s->len++] = (uint8_t)(192 + value % 64);
	s->bytes[s->len++] = (uint8_t)(value / 64 + s->bias);
}

static void put_number(struct stream *s, uint32_t value)
{
	for (unsigned i = 0; i < 4 && value >= 192U - s->bias; i++) {
		value -= 192U - s->bias;
		s->bytes[s->len++] = (uint8_t)(192 + value % 64);
		value /= 64;
	}
	s->bytes[s->len++] = (uint8_t)(value + s->bias);
	assert_true(s->len < sizeof(s->bytes));
}

static void put_byte(struct stream *s, uint8_t byte)
{
	s->bytes[s->len++] = byte;
}

struct fixture {
	struct fake_code *code;
	struct hs_method *inner, *outer;
	hs_addr object, mirror, pc;
	uint32_t outer_at;
};

/** inner at bci 5, in outer at its entry: two monitors in outer, one of inner, three locals. */
static void setup_streams(struct fixture *f, enum fake_release release, bool has_value_classes)
{
	f->code = hs_fake_code_create(release);
	f->code->jvm->has_value_classes = has_value_classes;
	f->inner = hs_fake_code_method(f->code, "inner");
	f->outer = hs_fake_code_method(f->code, "outer");
	f->object = hs_fake_code_object(f->code, "app/Lock");
	f->mirror = hs_fake_code_object(f->code, "java/lang/Class");

	struct stream s = {.bias = release == FAKE_25};
	put_byte(&s, 0xff); // offset 0 means none
	size_t pool = s.len;
	put(&s, 1);
	put(&s, OBJECT);
	put(&s, 7); // id
	if (release == FAKE_25)
		put_byte(&s, 1); // is_root
	put(&s, OOP);
	put(&s, 2);
	if (has_value_classes)
		put(&s, MARKER);
	put(&s, 1); // one field
	put(&s, INT);
	put(&s, 9);
	size_t outer_monitors = s.len;
	put(&s, 2);
	put(&s, NORMAL_AT_8);
	put(&s, LOCATION);
	put_wide(&s, RBP_OOP);
	put_byte(&s, 0);
	put(&s, NORMAL_AT_8);
	put(&s, OBJECT_ID);
	put(&s, 7);
	put_byte(&s, 1);
	size_t inner_monitors = s.len;
	put(&s, 1);
	put(&s, NORMAL_AT_8);
	put(&s, LOCATION);
	put(&s, STACK_OOP_AT_8);
	put_byte(&s, 0);
	size_t locals = s.len;
	put(&s, 3);
	put(&s, INT);
	put(&s, 3);
	put(&s, OOP);
	put(&s, 1);
	put(&s, LOCATION);
	put(&s, STACK_NARROW_AT_16);
	f->outer_at = (uint32_t)s.len;
	put(&s, 0);
	put(&s, 2);
	put(&s, 0); // bci -1
	put(&s, 0);
	put(&s, 0);
	put(&s, (unsigned)outer_monitors);
	size_t inner_at = s.len;
	put(&s, f->outer_at);
	put(&s, 1);
	put(&s, 5 + 1);
	put(&s, (unsigned)locals);
	put(&s, 0);
	put(&s, (unsigned)inner_monitors);

	const struct hs_method *metadata[] = {f->inner, f->outer, NULL};
	f->pc = hs_fake_code_nmethod(f->code, 8, 8, 6,
	                             &(struct fake_nmethod){
					     .method = f->outer,
					     .metadata = metadata,
					     .oops = {f->object,                                f->mirror},
					     .scopes = s.bytes,
					     .scopes_len = s.len,
					     .descs = { {-1, 0, 0},
                                                      {0x20, (int32_t)inner_at, (int32_t)pool},
                                                      {0x40, (int32_t)f->outer_at, (int32_t)pool}},
					     .tier = 4,
        });
	struct hs_err *err = hs_code_cache_open(f->code->jvm);
	assert_null(err);
}

static void setup_release(struct fixture *f, enum fake_release release)
{
	setup_streams(f, release, false);
}

static void teardown_release(struct fixture *f)
{
	hs_fake_code_destroy(f->code);
}

static const struct hs_code_site *site_of(struct fixture *f, uint32_t offset, bool exact)
{
	const struct hs_code_site *site = NULL;
	struct hs_err *err = hs_code_site_get(f->code->jvm, f->pc + offset, exact, &site);

	assert_null(err);
	return site;
}

static void check_monitors(const struct fixture *f, const struct hs_code_site *site)
{
	assert_int_equal(site->scopes[0].num_monitors, 1);
	const struct hs_scope_value *owner = &site->scopes[0].monitors[0].owner;
	assert_int_equal(owner->kind, HS_SCOPE_STACK);
	assert_int_equal(owner->where, 8);
	assert_int_equal(owner->content, HS_CONTENT_OOP);

	assert_int_equal(site->scopes[1].num_monitors, 2); // innermost first
	assert_true(site->scopes[1].monitors[0].is_eliminated);
	assert_int_equal(site->scopes[1].monitors[0].owner.kind, HS_SCOPE_SCALAR);
	assert_int_equal(site->scopes[1].monitors[0].owner.oop, f->mirror);
	owner = &site->scopes[1].monitors[1].owner;
	assert_int_equal(owner->kind, HS_SCOPE_REGISTER);
	assert_int_equal(owner->where, 10);
}

static void decodes(enum fake_release release, bool has_value_classes)
{
	struct fixture f;

	setup_streams(&f, release, has_value_classes);
	const struct hs_code_site *site = site_of(&f, 0x20, true);
	assert_ptr_equal(site_of(&f, 0x20, true), site);
	assert_int_equal(site->num_scopes, 2);
	assert_ptr_equal(site->scopes[0].method, f.inner);
	assert_int_equal(site->scopes[0].location->kind, HS_FRAME_INLINED);
	assert_int_equal(site->scopes[0].location->bci, 5);
	assert_int_equal(site->scopes[0].location->tier, 4);
	assert_ptr_equal(site->scopes[1].method, f.outer);
	assert_int_equal(site->scopes[1].location->kind, HS_FRAME_COMPILED);
	assert_int_equal(site->scopes[1].location->bci, 0);
	check_monitors(&f, site);
	teardown_release(&f);
}

static void decodes_17(void **state)
{
	(void)state;
	decodes(FAKE_17, false);
}

static void decodes_25(void **state)
{
	(void)state;
	decodes(FAKE_25, false);
}

static void decodes_8(void **state)
{
	(void)state;
	decodes(FAKE_8, false);
}

static void decodes_28(void **state)
{
	(void)state;
	decodes(FAKE_25, true);
}

static void finds_pc_descs(void **state)
{
	struct fixture f;

	(void)state;
	setup_release(&f, FAKE_17);
	// An interrupted pc: what the PcDescs around it agree on, as also for calls that record
	// none.
	assert_int_equal(site_of(&f, 0x21, false)->num_scopes, 1);
	assert_int_equal(site_of(&f, 0x21, false)->scopes[0].location->bci, 0);
	assert_int_equal(site_of(&f, 0x20, false)->num_scopes, 2);
	// Before the first one whether inner has begun is not known.
	const struct hs_code_site *site = site_of(&f, 0x11, false);
	assert_int_equal(site->num_scopes, 1);
	assert_ptr_equal(site->scopes[0].method, f.outer);
	assert_int_equal(site->scopes[0].location->bci, -1);
	assert_int_equal(site->scopes[0].num_monitors, 0);
	assert_int_equal(site_of(&f, 0x11, true)->num_scopes, 1);
	// Behind the last: the method alone.
	site = site_of(&f, 0x41, true);
	assert_int_equal(site->num_scopes, 1);
	assert_ptr_equal(site->scopes[0].method, f.outer);
	assert_int_equal(site->scopes[0].location->bci, -1);
	teardown_release(&f);
}

static void finds_locals(void **state)
{
	struct fixture f;
	struct hs_scope_value value;
	struct hs_err *err;

	(void)state;
	setup_release(&f, FAKE_25);
	const struct hs_code_site *site = site_of(&f, 0x20, true);
	const struct hs_nmethod *nm = site->blob->nmethod;
	err = hs_scope_local(f.code->jvm, nm, &site->scopes[0], 0, &value);
	assert_null(err);
	assert_int_equal(value.kind, HS_SCOPE_INT);
	assert_int_equal((int32_t)value.constant, -2); // 3 is the sign-coded form
	err = hs_scope_local(f.code->jvm, nm, &site->scopes[0], 1, &value);
	assert_null(err);
	assert_int_equal(value.kind, HS_SCOPE_OOP);
	assert_int_equal(value.oop, f.object);
	err = hs_scope_local(f.code->jvm, nm, &site->scopes[0], 2, &value);
	assert_null(err);
	assert_int_equal(value.kind, HS_SCOPE_STACK);
	assert_int_equal(value.content, HS_CONTENT_NARROW_OOP);
	assert_int_equal(value.where, 16);
	err = hs_scope_local(f.code->jvm, nm, &site->scopes[0], 3, &value);
	assert_true(hs_err_catch(&err, HS_ERR_ABSENT));
	err = hs_scope_local(f.code->jvm, nm, &site->scopes[1], 0, &value);
	assert_true(hs_err_catch(&err, HS_ERR_ABSENT));
	teardown_release(&f);
}

/** Constants as writers code them: signed numbers with the sign in bit 0, halves of doubles with
 * their bits in reverse order. */
static void put_all_locals(struct stream *s)
{
	put(s, 9);
	put(s, INT);
	put(s, 1); // -1
	put(s, LONG);
	put_number(s, 2 * 0x1234); // low half
	put_number(s, 2 * 3);      // high half
	put(s, DOUBLE);
	put_number(s, 0x1ffc); // high half of 1.5, 0x3ff80000
	put_number(s, 0);
	put(s, LOCATION);
	put(s, 0); // dead
	put(s, LOCATION);
	put(s, NORMAL_AT_8);
	put(s, LOCATION);
	put(s, 2 << 5 | 4); // long at 8
	put(s, LOCATION);
	put_number(s, 30 << 5 | 0x10 | 5); // float in a register of doubles
	put(s, OBJECT_ID);
	put(s, 7);
	put(s, OOP);
	put(s, 0); // null
}

static void reads_all_locals(void **state)
{
	static const struct hs_scope_value want[] = {
		{.kind = HS_SCOPE_INT,               .constant = UINT32_MAX},
		{.kind = HS_SCOPE_LONG,                                  .constant = UINT64_C(0x300001234)},
		{.kind = HS_SCOPE_LONG,.constant = UINT64_C(0x3ff8000000000000)},
		{.kind = HS_SCOPE_DEAD             },
		{.kind = HS_SCOPE_STACK,                                  .content = HS_CONTENT_INT, .where = 8},
		{.kind = HS_SCOPE_STACK,                     .content = HS_CONTENT_LONG, .where = 8},
		{.kind = HS_SCOPE_REGISTER,.content = HS_CONTENT_FLOAT_IN_DOUBLE, .where = 30},
		{.kind = HS_SCOPE_SCALAR                                 },
		{.kind = HS_SCOPE_OOP},
	};
	struct hs_scope_value values[16];
	struct fixture f;
	size_t count;

	(void)state;
	setup_release(&f, FAKE_25);
	const struct hs_code_site *site = site_of(&f, 0x20, true);
	struct stream s = {.bias = 1};
	put_byte(&s, 0xff);
	put_all_locals(&s);
	hs_addr scopes = site->blob->nmethod->scopes;
	// The pool lies before all else: only the lists behind it are replaced.
	size_t at = (size_t)(site->blob->nmethod->scopes_end - scopes);
	struct hs_nmethod nm = *site->blob->nmethod;
	struct hs_blob blob = *site->blob;
	struct hs_code_site copy = *site;
	hs_fake_memory(f.code->fake, scopes + at, s.bytes, s.len);
	nm.scopes_end += s.len;
	blob.nmethod = &nm;
	copy.blob = &blob;
	struct hs_scope scope = site->scopes[0];
	scope.locals = (uint32_t)at + 1;
	struct hs_err *err = hs_scope_locals(f.code->jvm, &copy, &scope, values, 16, &count);
	if (err)
		fail_msg("%s", hs_err_message(err));
	assert_int_equal(count, sizeof(want) / sizeof(want[0]));
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(values[i].kind, want[i].kind);
		assert_int_equal(values[i].content, want[i].content);
		assert_int_equal(values[i].where, want[i].where);
		assert_int_equal(values[i].constant, want[i].constant);
		assert_int_equal(values[i].oop, i == 7 ? f.mirror : 0);
	}
	err = hs_scope_locals(f.code->jvm, &copy, &scope, values, 2, &count);
	assert_null(err);
	assert_int_equal(count, 2);
	teardown_release(&f);
}

/** Every single byte of the debug information changed: no crash, no error that stops a walk. */
static void survives_any_byte(void **state)
{
	(void)state;
	for (size_t at = 0; at < 64; at++) {
		for (unsigned value = 0; value < 256; value += 51) {
			struct fixture f;

			setup_release(&f, FAKE_17);
			const struct hs_blob *blob;
			struct hs_err *err = hs_code_cache_blob(f.code->jvm, f.pc, &blob);
			assert_null(err);
			hs_fake_u8(f.code->fake, blob->nmethod->scopes + at, (uint8_t)value);
			const struct hs_code_site *site = site_of(&f, 0x20, true);
			assert_true(site->num_scopes >= 1);
			struct hs_scope_value local;
			for (unsigned slot = 0; slot < 3; slot++) {
				err = hs_scope_local(f.code->jvm, blob->nmethod, &site->scopes[0],
				                     slot, &local);
				hs_err_free(err);
			}
			teardown_release(&f);
		}
	}
}

static void cycle_of_scopes_is_a_gap(void **state)
{
	struct fixture f;
	const struct hs_blob *blob;
	struct hs_err *err;

	(void)state;
	setup_release(&f, FAKE_17);
	err = hs_code_cache_blob(f.code->jvm, f.pc, &blob);
	assert_null(err);
	hs_fake_u8(f.code->fake, blob->nmethod->scopes + f.outer_at, (uint8_t)f.outer_at);
	const struct hs_code_site *site = site_of(&f, 0x20, true);
	assert_int_equal(site->num_scopes, 1);
	assert_ptr_equal(site->scopes[0].method, f.outer);
	assert_int_equal(f.code->snapshot->gaps.len, 1);
	teardown_release(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(decodes_8),
		cmocka_unit_test(decodes_17),
		cmocka_unit_test(decodes_25),
		cmocka_unit_test(decodes_28),
		cmocka_unit_test(reads_all_locals),
		cmocka_unit_test(finds_pc_descs),
		cmocka_unit_test(finds_locals),
		cmocka_unit_test(survives_any_byte),
		cmocka_unit_test(cycle_of_scopes_is_a_gap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
