// SPDX-License-Identifier: Apache-2.0
/** @file Order of the steppers, ends of a walk, resuming, folded gaps. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/limits.h"
#include "core/stack_walk.h"
#include "tests/support/fake_target.h"

enum {
	STACK = 0x10000,
	STACK_END = 0x80000,
	OTHER_STACK = 0x100000,
};

/** A stepper that owns [start, end) and steps to pc + 0x10, sp + sp_step, until last_pc. */
struct script {
	hs_addr start, end, last_pc;
	int64_t sp_step;
	const char *error; /**< instead of a step, at last_pc */
	hs_addr resume_pc; /**< 0: cannot resume */
	bool makes_activation;
	unsigned steps, resumes;
};

static const struct hs_location LOCATION = {.function = "f", .bci = -1, .line = -1};

static bool script_owns(void *self, hs_addr pc)
{
	const struct script *script = self;

	return hs_addr_in(pc, script->start, script->end);
}

static struct hs_err *script_step(void *self, struct hs_cursor *cursor, struct hs_frame_list *list)
{
	struct script *script = self;
	hs_addr pc = cursor->regs.value[HS_REG_PC], sp = cursor->regs.value[HS_REG_SP];

	script->steps++;
	assert_non_null(hs_frame_list_add(list, &LOCATION, pc, sp, HS_FOUND_ROW));
	if (pc == script->last_pc) {
		if (script->error)
			return hs_err_new(HS_ERR_BAD_DATA, "%s 0x%x", script->error,
			                  (unsigned)cursor->thread);
		cursor->at_end = true;
		return NULL;
	}
	hs_regs_set(&cursor->regs, HS_REG_PC, pc + 0x10);
	hs_regs_set(&cursor->regs, HS_REG_SP, sp + (uint64_t)script->sp_step);
	cursor->is_activation = script->makes_activation;
	return NULL;
}

static bool script_resume(void *self, struct hs_cursor *cursor)
{
	struct script *script = self;

	script->resumes++;
	if (!script->resume_pc)
		return false;
	hs_regs_set(&cursor->regs, HS_REG_PC, script->resume_pc);
	hs_regs_set(&cursor->regs, HS_REG_SP, cursor->regs.value[HS_REG_SP] + 0x100);
	return true;
}

static struct hs_stepper stepper_of(struct script *script, const char *name)
{
	return (struct hs_stepper){
		.name = name,
		.owns = script_owns,
		.step = script_step,
		.resume = script_resume,
		.self = script,
	};
}

static void add_thread(struct hs_fake *fake, struct hs_snapshot *snapshot, pid_t tid, hs_addr pc)
{
	struct hs_regs regs = {0};
	uint32_t index;

	hs_regs_set(&regs, HS_REG_PC, pc);
	hs_regs_set(&regs, HS_REG_SP, STACK + 0x100);
	hs_fake_lwp(fake, tid, pc ? &regs : NULL);
	assert_non_null(hs_snapshot_add_thread(snapshot, tid, &index));
}

static void run(struct hs_fake *fake, struct hs_snapshot *snapshot, struct script *first,
                struct script *second)
{
	struct hs_stepper steppers[] = {stepper_of(first, "first"),
	                                stepper_of(second ? second : first, "second")};
	const struct hs_stepper *const pointers[] = {&steppers[0], &steppers[1]};

	assert_null(hs_stack_walk_all(snapshot, hs_fake_target(fake), pointers, second ? 2 : 1));
}

struct fixture {
	struct hs_fake *fake;
	struct hs_snapshot *snapshot;
};

static struct fixture fixture_create(hs_addr pc)
{
	struct fixture f = {hs_fake_create(), hs_snapshot_create()};

	assert_non_null(f.snapshot);
	hs_fake_mapping(f.fake, "[stack]", STACK, STACK_END, HS_PROT_READ | HS_PROT_WRITE);
	hs_fake_mapping(f.fake, "", OTHER_STACK, OTHER_STACK + 0x1000,
	                HS_PROT_READ | HS_PROT_WRITE);
	add_thread(f.fake, f.snapshot, 10, pc);
	return f;
}

static void fixture_destroy(struct fixture *f)
{
	hs_fake_destroy(f->fake);
	hs_snapshot_destroy(f->snapshot);
}

static void first_owner_steps(void **state)
{
	(void)state;
	struct fixture f = fixture_create(0x1000);
	struct script java = {.start = 0x1020, .end = 0x1040, .sp_step = 8, .last_pc = 0};
	struct script native = {.start = 0, .end = UINT64_MAX, .sp_step = 8, .last_pc = 0x1050};

	run(f.fake, f.snapshot, &java, &native);
	const struct hs_thread *thread = &f.snapshot->threads.items[0];
	assert_int_equal(thread->num_frames, 6);
	assert_int_equal(java.steps, 2);
	assert_int_equal(native.steps, 4);
	assert_int_equal(thread->frames[5].pc, 0x1050);
	assert_int_equal(thread->frames[5].sp, STACK + 0x100 + 5 * 8);
	assert_false(thread->frames_cut);
	assert_int_equal(f.snapshot->gaps.len, 0);
	fixture_destroy(&f);
}

static void assert_cut(struct fixture *f, uint32_t num_frames, const char *reason)
{
	const struct hs_thread *thread = &f->snapshot->threads.items[0];

	assert_int_equal(thread->num_frames, num_frames);
	assert_true(thread->frames_cut);
	assert_int_equal(f->snapshot->gaps.len, 1);
	assert_non_null(strstr(f->snapshot->gaps.items[0].reason, reason));
}

static void stack_pointer_must_grow(void **state)
{
	(void)state;
	struct fixture f = fixture_create(0x1000);
	struct script script = {.end = UINT64_MAX, .sp_step = 0};

	// The innermost frame may be a leaf with nothing on the stack, the second may not.
	run(f.fake, f.snapshot, &script, NULL);
	assert_cut(&f, 2, "not further up");
	assert_string_equal(f.snapshot->gaps.items[0].costs, "what tid 10 does below f");
	fixture_destroy(&f);

	f = fixture_create(0x1000);
	script.sp_step = -8;
	run(f.fake, f.snapshot, &script, NULL);
	assert_cut(&f, 1, "not further up");
	fixture_destroy(&f);
}

static void stack_is_not_left(void **state)
{
	(void)state;
	struct fixture f = fixture_create(0x1000);
	struct script script = {
		.end = UINT64_MAX, .sp_step = OTHER_STACK - STACK, .last_pc = 0x1010};

	run(f.fake, f.snapshot, &script, NULL);
	assert_cut(&f, 1, "another stack");
	fixture_destroy(&f);

	// A signal may have come in on an alternate stack, above or below.
	f = fixture_create(0x1000);
	script.makes_activation = true;
	run(f.fake, f.snapshot, &script, NULL);
	assert_int_equal(f.snapshot->threads.items[0].num_frames, 2);
	assert_int_equal(f.snapshot->gaps.len, 0);
	fixture_destroy(&f);
}

static void split_stack_mapping(void **state)
{
	(void)state;
	struct fixture f = fixture_create(0x1000);
	struct script script = {.end = UINT64_MAX, .sp_step = STACK_END - STACK, .last_pc = 0x1010};

	hs_fake_mapping(f.fake, "", STACK_END, STACK_END + 0x1000, HS_PROT_READ | HS_PROT_WRITE);
	run(f.fake, f.snapshot, &script, NULL);
	assert_int_equal(f.snapshot->threads.items[0].num_frames, 2);
	assert_int_equal(f.snapshot->gaps.len, 0);
	fixture_destroy(&f);
}

static void too_many_frames(void **state)
{
	(void)state;
	struct fixture f = fixture_create(0x1000);
	struct script script = {.end = UINT64_MAX, .sp_step = 8};

	run(f.fake, f.snapshot, &script, NULL);
	assert_cut(&f, HS_MAX_FRAMES, "more than 4096 frames");
	fixture_destroy(&f);
}

static void pc_of_nobody(void **state)
{
	(void)state;
	struct fixture f = fixture_create(0x1000);
	struct script script = {.start = 0x1000, .end = 0x1020, .sp_step = 8};

	run(f.fake, f.snapshot, &script, NULL);
	assert_cut(&f, 2, "pc 0x1020 is in no code we know");
	fixture_destroy(&f);
}

static void resumes_once(void **state)
{
	(void)state;
	struct fixture f = fixture_create(0x1000);
	struct script java = {.start = 0x8000, .end = 0x9000, .sp_step = 8, .resume_pc = 0x8000};
	struct script native = {
		.end = 0x8000, .sp_step = 8, .last_pc = 0x1010, .error = "no unwind information"};

	java.last_pc = 0x8020;
	run(f.fake, f.snapshot, &java, &native);
	const struct hs_thread *thread = &f.snapshot->threads.items[0];
	assert_int_equal(thread->num_frames, 5);
	assert_int_equal(thread->frames[2].pc, 0x8000);
	assert_false(thread->frames_cut);
	assert_int_equal(java.resumes, 1);
	assert_int_equal(f.snapshot->gaps.len, 1);
	assert_string_equal(f.snapshot->gaps.items[0].costs,
	                    "what tid 10 does between f and the first frames further up");
	fixture_destroy(&f);
}

static void no_resume_after_own_frames(void **state)
{
	(void)state;
	struct fixture f = fixture_create(0x1000);
	struct script script = {.start = 0x1000,
	                        .end = 0x2000,
	                        .sp_step = 8,
	                        .last_pc = 0x1010,
	                        .error = "bad frame",
	                        .resume_pc = 0x1000};

	run(f.fake, f.snapshot, &script, NULL);
	assert_cut(&f, 2, "bad frame");
	assert_int_equal(script.resumes, 0);
	fixture_destroy(&f);
}

static void equal_gaps_are_folded(void **state)
{
	(void)state;
	enum {
		COUNT = 2000
	};
	struct fixture f = fixture_create(0x1000);
	struct script script = {
		.end = UINT64_MAX, .sp_step = 8, .last_pc = 0x1010, .error = "no row at"};

	// The address in the reason differs from thread to thread.
	for (pid_t tid = 11; tid < 10 + COUNT; tid++)
		add_thread(f.fake, f.snapshot, tid, 0x1000);
	add_thread(f.fake, f.snapshot, 10 + COUNT, 0);
	run(f.fake, f.snapshot, &script, NULL);
	assert_int_equal(f.snapshot->gaps.len, 2);
	assert_string_equal(f.snapshot->gaps.items[0].subject,
	                    "stacks of 2000 threads, first tid 10");
	assert_string_equal(f.snapshot->gaps.items[0].costs, "what they do below f");
	assert_string_equal(f.snapshot->gaps.items[1].subject, "stack of tid 2010");
	assert_string_equal(f.snapshot->gaps.items[1].costs, "what tid 2010 does");
	fixture_destroy(&f);
}

/** Fails for each thread with a reason of its own, however often. */
static struct hs_err *unlike_step(void *self, struct hs_cursor *cursor, struct hs_frame_list *list)
{
	char words[8] = {0};

	(void)self;
	(void)list;
	for (size_t i = 0; i + 1 < sizeof(words); i++)
		words[i] = (char)('a' + (cursor->thread >> (4 * i) & 15));
	return hs_err_new(HS_ERR_BAD_DATA, "%s", words);
}

static void unlike_gaps_are_capped(void **state)
{
	(void)state;
	struct fixture f = fixture_create(0x1000);
	struct script script = {.end = UINT64_MAX};
	struct hs_stepper stepper = stepper_of(&script, "unlike");
	const struct hs_stepper *const steppers[] = {&stepper};

	stepper.step = unlike_step;
	for (pid_t tid = 11; tid < 1010; tid++)
		add_thread(f.fake, f.snapshot, tid, 0x1000);
	assert_null(hs_stack_walk_all(f.snapshot, hs_fake_target(f.fake), steppers, 1));
	assert_int_equal(f.snapshot->gaps.len, 100);
	assert_string_equal(f.snapshot->gaps.items[99].reason, "many other reasons");
	assert_string_equal(f.snapshot->gaps.items[99].subject,
	                    "stacks of 901 threads, first tid 109");
	fixture_destroy(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_owner_steps),
		cmocka_unit_test(stack_pointer_must_grow),
		cmocka_unit_test(stack_is_not_left),
		cmocka_unit_test(split_stack_mapping),
		cmocka_unit_test(too_many_frames),
		cmocka_unit_test(pc_of_nobody),
		cmocka_unit_test(resumes_once),
		cmocka_unit_test(no_resume_after_own_frames),
		cmocka_unit_test(equal_gaps_are_folded),
		cmocka_unit_test(unlike_gaps_are_capped),
	};

	return cmocka_run_group_tests_name("stack_walk", tests, NULL, NULL);
}
