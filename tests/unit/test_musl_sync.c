// SPDX-License-Identifier: Apache-2.0
/** @file musl's locks: recognized by their memory, and what is not one of them. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/native/musl_sync.h"
#include "tests/support/fake_target.h"

enum {
	SELF = 0x10000,
	OTHER = 0x20000,
	OBJECT = 0x30000,
	STACK = 0x40000,
	TID = 77,
};

#define WAITERS UINT32_C(0x80000000)

struct fixture {
	struct hs_fake *fake;
	struct hs_target *target;
	struct hs_lwp *lwp;
};

static int setup(void **state)
{
	static struct fixture f; // one at a time
	struct hs_regs regs = {0};

	f.fake = hs_fake_create();
	hs_regs_set(&regs, HS_REG_SP, STACK);
	f.lwp = hs_fake_lwp(f.fake, TID, &regs);
	f.lwp->thread_pointer = SELF;
	hs_fake_fill(f.fake, SELF, 0, 64);
	hs_fake_fill(f.fake, OTHER, 0, 64);
	hs_fake_fill(f.fake, OBJECT, 0, 64);
	hs_fake_u64(f.fake, SELF, SELF);
	hs_fake_u64(f.fake, SELF + 24, OTHER); // next
	hs_fake_u64(f.fake, OTHER + 16, SELF); // prev
	hs_fake_u32(f.fake, SELF + 48, TID);
	f.target = hs_fake_target(f.fake);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	hs_fake_destroy(((struct fixture *)*state)->fake);
	return 0;
}

static void knows_its_threads(void **state)
{
	struct fixture *f = *state;
	pid_t tid = 0;

	assert_true(hs_musl_is_thread(f->target, f->lwp));
	assert_int_equal(hs_musl_joined(f->target, SELF + 56, &tid), SELF);
	assert_int_equal(tid, TID);
	assert_int_equal(hs_musl_joined(f->target, SELF + 52, &tid), 0);
	assert_int_equal(hs_musl_joined(f->target, 8, &tid), 0);
	hs_fake_u64(f->fake, OTHER + 16, OTHER); // no ring
	assert_false(hs_musl_is_thread(f->target, f->lwp));
	hs_fake_u64(f->fake, OTHER + 16, SELF);
	hs_fake_u32(f->fake, SELF + 48, TID + 1);
	assert_false(hs_musl_is_thread(f->target, f->lwp));
	hs_fake_u32(f->fake, SELF + 48, TID);
	hs_fake_u64(f->fake, SELF + 24, UINT64_MAX - 4);
	assert_false(hs_musl_is_thread(f->target, f->lwp));
	f->lwp->thread_pointer = 0;
	assert_false(hs_musl_is_thread(f->target, f->lwp));
}

static struct hs_musl_object read_object(struct fixture *f, hs_addr word, uint32_t expected)
{
	const struct hs_futex_wait wait = {.word = word, .expected = expected};
	struct hs_musl_object object;

	hs_musl_object_read(f->target, f->lwp, &wait, &object);
	return object;
}

static void reads_mutexes(void **state)
{
	struct fixture *f = *state;

	hs_fake_u32(f->fake, OBJECT, 1); // recursive
	hs_fake_u32(f->fake, OBJECT + 4, WAITERS | TID);
	hs_fake_u32(f->fake, OBJECT + 8, 1);
	struct hs_musl_object object = read_object(f, OBJECT + 4, WAITERS | TID);
	assert_int_equal(object.kind, HS_MUSL_MUTEX);
	assert_int_equal(object.address, OBJECT);
	assert_int_equal(object.owner, TID);
	assert_false(object.is_normal);
	hs_fake_u32(f->fake, OBJECT, 0x40); // no such type
	assert_int_equal(read_object(f, OBJECT + 4, WAITERS | TID).kind, HS_MUSL_NONE);
	hs_fake_u32(f->fake, OBJECT, 0); // a normal one that has a thread id
	assert_int_not_equal(read_object(f, OBJECT + 4, WAITERS | TID).kind, HS_MUSL_MUTEX);
	hs_fake_u32(f->fake, OBJECT + 4, WAITERS | 16);
	object = read_object(f, OBJECT + 4, WAITERS | 16);
	assert_int_equal(object.kind, HS_MUSL_MUTEX);
	assert_true(object.is_normal);
	assert_int_equal(object.owner, 0);
}

static void reads_rwlocks_and_semaphores(void **state)
{
	struct fixture *f = *state;

	hs_fake_u32(f->fake, OBJECT, WAITERS | 3);
	hs_fake_u32(f->fake, OBJECT + 4, 1);
	struct hs_musl_object object = read_object(f, OBJECT, WAITERS | 3);
	assert_int_equal(object.kind, HS_MUSL_RWLOCK);
	assert_int_equal(object.num_readers, 3);
	hs_fake_u32(f->fake, OBJECT, UINT32_MAX);
	assert_int_equal(read_object(f, OBJECT, UINT32_MAX).kind, HS_MUSL_RWLOCK_OR_SEM);
	assert_int_equal(read_object(f, OBJECT, WAITERS | 3).kind, HS_MUSL_NONE); // it changed
	hs_fake_u32(f->fake, OBJECT + 4, 0);                                      // no waiter
	assert_int_equal(read_object(f, OBJECT, UINT32_MAX).kind, HS_MUSL_NONE);
	assert_int_equal(read_object(f, OBJECT + 1, UINT32_MAX).kind, HS_MUSL_NONE);
	assert_int_equal(read_object(f, 0xdead0000, UINT32_MAX).kind, HS_MUSL_NONE);
}

static void condition_waiter_lies_in_its_stack(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(read_object(f, STACK + 100, 2).kind, HS_MUSL_COND);
	assert_int_equal(read_object(f, STACK - 100, 2).kind, HS_MUSL_NONE);
	assert_int_equal(read_object(f, STACK + 100, 1).kind, HS_MUSL_NONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(knows_its_threads, setup, teardown),
		cmocka_unit_test_setup_teardown(reads_mutexes, setup, teardown),
		cmocka_unit_test_setup_teardown(reads_rwlocks_and_semaphores, setup, teardown),
		cmocka_unit_test_setup_teardown(condition_waiter_lies_in_its_stack, setup,
	                                        teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
