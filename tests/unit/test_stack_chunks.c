// SPDX-License-Identifier: Apache-2.0
/** @file Frames and lock stacks of virtual threads in stack chunks, sound and damaged. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "core/jvm/virtual_threads.h"
#include "tests/support/fake_code.h"

enum {
	CHUNK = 0x20000000,
	SECOND = 0x20010000, /**< its parent */
	CHUNK_BYTES = 0x1000,
	HEADER = 64,
	PARENT = 16,
	SIZE = 24,
	SP = 28,
	BOTTOM = 32,
	FLAGS = 36,
	LOCKS = 37,
	SP_WORDS = 8,      /**< of the innermost frame */
	FRAME_WORDS = 20,  /**< from one frame pointer to the next */
	BOTTOM_WORDS = 52, /**< two frames */
	SIZE_WORDS = 60,
	IN_INTERPRETER = FAKE_INTERPRETER + 0x200,
	GC_MODE = 8,
};

struct chunks {
	struct fake_code *code;
	struct hs_vthread_table table;
	struct hs_method *inner, *outer;
};

static hs_addr stack_word(hs_addr chunk, unsigned word)
{
	return chunk + HEADER + (hs_addr)word * 8;
}

/** A chunk with two interpreter frames. */
static void put_chunk(struct chunks *c, hs_addr chunk, hs_addr parent)
{
	struct hs_fake *fake = c->code->fake;
	const struct hs_klass *klass;
	hs_addr inner = stack_word(chunk, SP_WORDS + 12);
	hs_addr outer = inner + FRAME_WORDS * 8UL, end = stack_word(chunk, BOTTOM_WORDS);
	struct hs_err *err;

	err = hs_oop_klass(c->code->jvm, hs_fake_code_object(c->code, "jdk/internal/vm/StackChunk"),
	                   &klass);
	assert_null(err);
	hs_fake_fill(fake, chunk, 0, CHUNK_BYTES);
	hs_fake_u64(fake, chunk, 1);
	hs_fake_u64(fake, chunk + 8, klass->addr);
	hs_fake_u64(fake, chunk + PARENT, parent);
	hs_fake_u32(fake, chunk + SIZE, SIZE_WORDS);
	hs_fake_u32(fake, chunk + SP, SP_WORDS);
	hs_fake_u32(fake, chunk + BOTTOM, BOTTOM_WORDS);
	// Links are words from the slot that they are in; so is the caller's sp, from rbp.
	hs_fake_u64(fake, stack_word(chunk, SP_WORDS - 2),
	            (inner - stack_word(chunk, SP_WORDS - 2)) / 8);
	hs_fake_u64(fake, stack_word(chunk, SP_WORDS - 1), IN_INTERPRETER);
	hs_fake_code_interpreter_frame(c->code, inner,
	                               &(struct fake_interpreter_frame){
					       .method = c->inner,
					       .bci = 3,
					       .return_pc = IN_INTERPRETER,
					       .link = FRAME_WORDS,
					       .sender_sp = 2,
					       .locals = inner + 24,
				       });
	hs_fake_code_interpreter_frame(c->code, outer,
	                               &(struct fake_interpreter_frame){
					       .method = c->outer,
					       .bci = 9,
					       .return_pc = 0,
					       .link = 0,
					       .sender_sp = 2,
					       .locals = end - 8,
				       });
}

static int setup(void **state)
{
	struct chunks *c = test_calloc(1, sizeof(*c));
	struct hs_err *err;

	c->code = hs_fake_code_create(FAKE_25);
	err = hs_code_cache_open(c->code->jvm);
	assert_null(err);
	c->table.layout = (struct hs_vthread_layout){
		.chunk_header = HEADER,
		.chunk_parent = PARENT,
		.chunk_size = SIZE,
		.chunk_sp = SP,
		.chunk_bottom = BOTTOM,
		.chunk_flags = FLAGS,
		.chunk_lock_stack_size = LOCKS,
	};
	c->code->jvm->vthreads = &c->table;
	c->inner = hs_fake_code_method(c->code, "inner");
	c->outer = hs_fake_code_method(c->code, "outer");
	put_chunk(c, SECOND, 0);
	put_chunk(c, CHUNK, 0);
	*state = c;
	return 0;
}

static int teardown(void **state)
{
	struct chunks *c = *state;

	hs_fake_code_destroy(c->code);
	test_free(c);
	return 0;
}

static struct hs_err *walk(struct chunks *c)
{
	c->code->list.frames.len = 0;
	return hs_chunk_frames(c->code->jvm, CHUNK, HS_NONE, &c->code->list);
}

static void check_frame(struct chunks *c, size_t index, const char *method, int32_t bci)
{
	assert_true(index < c->code->list.frames.len);
	const struct hs_location *location = c->code->list.frames.items[index].location;
	assert_string_equal(location->method, method);
	assert_int_equal(location->bci, bci);
	assert_int_equal(location->kind, HS_FRAME_INTERPRETED);
}

/** The walk ends with an error that says @p words, after @p frames frames. */
static void check_damaged(struct chunks *c, const char *words, size_t frames)
{
	struct hs_err *err = walk(c);

	assert_non_null(err);
	assert_int_equal(hs_err_code(err), HS_ERR_BAD_DATA);
	if (!strstr(hs_err_message(err), words))
		fail_msg("%s", hs_err_message(err));
	hs_err_free(err);
	assert_int_equal(c->code->list.frames.len, frames);
	assert_int_equal(c->code->jvm->stack_oops, HS_STACK_OOPS_RAW);
	assert_false(c->code->jvm->in_chunk);
}

static void walks_interpreted(void **state)
{
	struct chunks *c = *state;
	struct hs_err *err = walk(c);

	assert_null(err);
	assert_int_equal(c->code->list.frames.len, 2);
	check_frame(c, 0, "inner", 3);
	check_frame(c, 1, "outer", 9);
}

static void walks_parents(void **state)
{
	struct chunks *c = *state;

	hs_fake_u64(c->code->fake, CHUNK + PARENT, SECOND);
	struct hs_err *err = walk(c);
	assert_null(err);
	assert_int_equal(c->code->list.frames.len, 4);
	check_frame(c, 3, "outer", 9);
}

static void empty_chunk_has_no_frames(void **state)
{
	struct chunks *c = *state;

	hs_fake_u32(c->code->fake, CHUNK + SP, BOTTOM_WORDS);
	struct hs_err *err = walk(c);
	assert_null(err);
	assert_int_equal(c->code->list.frames.len, 0);
}

/** 21.0.2: the end is size - argsize. */
static void bottom_by_argsize(void **state)
{
	struct chunks *c = *state;

	c->table.layout.chunk_bottom = 0;
	c->table.layout.chunk_argsize = BOTTOM;
	hs_fake_u32(c->code->fake, CHUNK + BOTTOM, SIZE_WORDS - BOTTOM_WORDS);
	struct hs_err *err = walk(c);
	assert_null(err);
	assert_int_equal(c->code->list.frames.len, 2);
	hs_fake_u32(c->code->fake, CHUNK + BOTTOM, SIZE_WORDS + 1);
	check_damaged(c, "bottom 4294967295", 0);
}

static void circle_of_chunks_ends(void **state)
{
	struct chunks *c = *state;

	hs_fake_u32(c->code->fake, CHUNK + SP, BOTTOM_WORDS);
	hs_fake_u32(c->code->fake, SECOND + SP, BOTTOM_WORDS);
	hs_fake_u64(c->code->fake, CHUNK + PARENT, SECOND);
	hs_fake_u64(c->code->fake, SECOND + PARENT, CHUNK);
	check_damaged(c, "has no end", 0);
	// The frames of the first one are right, and none comes twice.
	put_chunk(c, SECOND, CHUNK);
	put_chunk(c, CHUNK, SECOND);
	check_damaged(c, "has no end", 2);
}

static void absurd_sizes_are_errors(void **state)
{
	struct chunks *c = *state;

	hs_fake_u32(c->code->fake, CHUNK + SIZE, UINT32_MAX);
	check_damaged(c, "size 4294967295", 0);
	put_chunk(c, CHUNK, 0);
	hs_fake_u32(c->code->fake, CHUNK + SP, SIZE_WORDS + 1);
	check_damaged(c, "sp 61", 0);
	put_chunk(c, CHUNK, 0);
	hs_fake_u32(c->code->fake, CHUNK + BOTTOM, SIZE_WORDS + 1);
	check_damaged(c, "bottom 61", 0);
	put_chunk(c, CHUNK, 0);
	hs_fake_u32(c->code->fake, CHUNK + SP, 1);
	check_damaged(c, "overflows", 0);
}

static void other_object_is_no_chunk(void **state)
{
	struct chunks *c = *state;
	const struct hs_klass *klass;
	struct hs_err *err =
		hs_oop_klass(c->code->jvm, hs_fake_code_object(c->code, "app/A"), &klass);

	assert_null(err);
	hs_fake_u64(c->code->fake, CHUNK + 8, klass->addr);
	check_damaged(c, "no stack chunk but a app.A", 0);
}

static void damaged_frames_end_the_walk(void **state)
{
	struct chunks *c = *state;
	hs_addr inner = stack_word(CHUNK, SP_WORDS + 12);

	hs_fake_u64(c->code->fake, inner, UINT64_MAX - 100); // back down
	check_damaged(c, "outside of its stack chunk", 1);
	put_chunk(c, CHUNK, 0);
	hs_fake_u64(c->code->fake, inner, 1 << 20); // far up
	check_damaged(c, "outside of its stack chunk", 1);
	put_chunk(c, CHUNK, 0);
	hs_fake_u64(c->code->fake, inner - 8, UINT64_MAX); // its caller's sp is below it
	check_damaged(c, "its caller is outside", 1);
	put_chunk(c, CHUNK, 0);
	hs_fake_u64(c->code->fake, inner + 8, 0x1234);
	check_damaged(c, "is in no code we know", 1);
}

static void reads_lock_stack(void **state)
{
	struct chunks *c = *state;
	hs_addr objects[4], slots[4], object = hs_fake_code_object(c->code, "app/A");
	size_t count;
	struct hs_err *err;

	hs_fake_u8(c->code->fake, CHUNK + LOCKS, 2);
	hs_fake_u64(c->code->fake, stack_word(CHUNK, 0), object);
	hs_fake_u64(c->code->fake, stack_word(CHUNK, 1), object + 8);
	err = hs_chunk_lock_stack(c->code->jvm, CHUNK, objects, slots, 4, &count);
	assert_null(err);
	assert_int_equal(count, 2);
	assert_int_equal(objects[0], object);
	assert_int_equal(slots[1], stack_word(CHUNK, 1));

	// A collector has seen it: compressed, in the low half of the slot.
	c->code->jvm->compressed_oops = true;
	c->code->jvm->narrow_oop_shift = 3;
	hs_fake_u8(c->code->fake, CHUNK + FLAGS, GC_MODE);
	hs_fake_u64(c->code->fake, CHUNK + PARENT, 0);
	hs_fake_u64(c->code->fake, stack_word(CHUNK, 0), 0xdead00000000 | object >> 3);
	err = hs_chunk_lock_stack(c->code->jvm, CHUNK, objects, slots, 4, &count);
	assert_null(err);
	assert_int_equal(objects[0], object);

	// More than asked for, more than there is room for.
	hs_fake_u8(c->code->fake, CHUNK + LOCKS, 255);
	err = hs_chunk_lock_stack(c->code->jvm, CHUNK, objects, slots, 4, &count);
	assert_null(err);
	assert_int_equal(count, 4);
	hs_fake_u32(c->code->fake, CHUNK + BOTTOM, 3);
	hs_fake_u32(c->code->fake, CHUNK + SP, 3);
	err = hs_chunk_lock_stack(c->code->jvm, CHUNK, objects, slots, 4, &count);
	assert_true(hs_err_catch(&err, HS_ERR_BAD_DATA));
}

/** Offsets come from the target's own tables. */
static void offsets_outside_of_the_header(void **state)
{
	struct chunks *c = *state;
	hs_addr objects[4], slots[4];
	size_t count;
	struct hs_err *err;

	c->table.layout.chunk_flags = 1 << 24;
	c->table.layout.chunk_lock_stack_size = 1 << 24;
	err = walk(c);
	assert_null(err);
	assert_int_equal(c->code->list.frames.len, 2);
	err = hs_chunk_lock_stack(c->code->jvm, CHUNK, objects, slots, 4, &count);
	assert_null(err);
	assert_int_equal(count, 0);
}

/** A class in the caches, with fields that are each at @p offset. */
static const struct hs_klass *make_class(struct chunks *c, const char *name, const char *field,
                                         uint32_t offset)
{
	struct hs_jfield *fields = hs_arena_calloc(c->code->jvm->arena, 3, sizeof(*fields));
	const struct hs_klass *klass;
	struct hs_err *err = hs_oop_klass(c->code->jvm, hs_fake_code_object(c->code, name), &klass);

	assert_null(err);
	assert_non_null(fields);
	fields[0] = (struct hs_jfield){.name = "state", .signature = "I", .offset = 16};
	fields[1] = (struct hs_jfield){.name = "cont", .signature = "LC;", .offset = 24};
	fields[2] = (struct hs_jfield){.name = field, .signature = "J", .offset = offset};
	struct hs_klass *cached = hs_map64_get(&c->code->jvm->klasses, klass->addr);
	cached->layout_helper = 64;
	cached->fields = fields;
	cached->num_fields = 3;
	cached->fields_read = true;
	return klass;
}

static void fields_must_lie_in_their_object(void **state)
{
	struct chunks *c = *state;
	struct hs_vthread_layout layout = {0};
	struct hs_jvm *jvm = c->code->jvm;
	const struct hs_klass *good = make_class(c, "good", "tid", 56);
	const struct hs_klass *bad = make_class(c, "bad", "tid", 64);
	const struct hs_klass *cont = make_class(c, "cont", "tail", 8);
	const struct hs_klass *chunk = make_class(c, "chunk", "flags", 1 << 24);
	struct hs_err *err;

	err = hs_vthread_layout_read(jvm, good, &layout);
	assert_null(err);
	assert_int_equal(layout.size, 64);
	assert_int_equal(layout.tid, 56);
	err = hs_vthread_layout_read(jvm, bad, &layout);
	assert_true(hs_err_catch(&err, HS_ERR_BAD_DATA));
	err = hs_chunk_layout_read(jvm, cont, chunk, &layout);
	assert_true(hs_err_catch(&err, HS_ERR_BAD_DATA));
	assert_int_equal(layout.chunk_header, 0);
}

/** Very many threads that claim the same chunk: there is an end to what is made of it. */
static void frames_of_all_threads_are_bounded(void **state)
{
	struct chunks *c = *state;
	struct hs_err *err = walk(c);

	assert_null(err);
	assert_int_equal(c->table.chunk_frames, 3); // and the chunk
	c->table.chunk_frames = HS_MAX_CHUNK_FRAMES;
	check_damaged(c, "in all stack chunks", 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(walks_interpreted, setup, teardown),
		cmocka_unit_test_setup_teardown(walks_parents, setup, teardown),
		cmocka_unit_test_setup_teardown(empty_chunk_has_no_frames, setup, teardown),
		cmocka_unit_test_setup_teardown(bottom_by_argsize, setup, teardown),
		cmocka_unit_test_setup_teardown(circle_of_chunks_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(absurd_sizes_are_errors, setup, teardown),
		cmocka_unit_test_setup_teardown(other_object_is_no_chunk, setup, teardown),
		cmocka_unit_test_setup_teardown(damaged_frames_end_the_walk, setup, teardown),
		cmocka_unit_test_setup_teardown(reads_lock_stack, setup, teardown),
		cmocka_unit_test_setup_teardown(offsets_outside_of_the_header, setup, teardown),
		cmocka_unit_test_setup_teardown(fields_must_lie_in_their_object, setup, teardown),
		cmocka_unit_test_setup_teardown(frames_of_all_threads_are_bounded, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
