// SPDX-License-Identifier: Apache-2.0
/** @file Java threads and owners of monitors: every encoding, and lists that make no sense. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "core/jvm/locks.h"
#include "tests/support/fake_libjvm.h"

/** Where things lie, and offsets of a HotSpot of our own. */
enum {
	THREAD_A = 0x10000,
	THREAD_B = 0x20000,
	STACK_A = 0x1000000, // highest address
	STACK_B = 0x2000000,
	STACK_SIZE = 0x100000,
	LIST = 0x30000,
	OBJECT = 0x40000,
	MONITOR = 0x50000,
	HANDLE = 0x60000,
	IN_USE = 0x70000,
	BLOCK = 0x80000,
	BLOCK_2 = 0x90000,

	TID_A = 101,
	TID_B = 102,

	OFF_OSTHREAD = 8,
	OFF_STACK_BASE = 16,
	OFF_STACK_SIZE = 24,
	OFF_ANCHOR = 32,
	OFF_OWNER_ID = 64,
	OFF_PENDING = 72,
	OFF_LOCK_STACK = 128,
	OFF_LOCK_BASE = 8,
	OFF_OBJECT = 8,
	OFF_OWNER = 16,
	OFF_RECURSIONS = 24,
	OFF_NEXT = 32,
	OFF_FREE_NEXT = 40,
	BLOCK_SIZE = 4, // monitors
};

struct fixture {
	struct hs_fake *fake;
	struct hs_snapshot *snapshot;
	struct hs_jvm jvm;
};

static void field(struct fixture *f, enum hs_field name, uint64_t offset)
{
	f->jvm.layout.fields[name] =
		(struct hs_layout_field){.present = true, .offset = offset, .type = "WeakHandle"};
}

static void static_field(struct fixture *f, enum hs_field name, hs_addr address)
{
	f->jvm.layout.fields[name] =
		(struct hs_layout_field){.present = true, .is_static = true, .address = address};
}

static void thread(struct fixture *f, hs_addr addr, uint32_t tid, hs_addr stack)
{
	hs_fake_fill(f->fake, addr, 0, 512);
	hs_fake_u64(f->fake, addr + OFF_OSTHREAD, addr + 400);
	hs_fake_u32(f->fake, addr + 400, tid);
	hs_fake_u64(f->fake, addr + OFF_STACK_BASE, stack);
	hs_fake_u64(f->fake, addr + OFF_STACK_SIZE, STACK_SIZE);
	hs_fake_u32(f->fake, addr + OFF_LOCK_STACK, OFF_LOCK_STACK + OFF_LOCK_BASE);
}

/** Two threads, an object, and its monitor in the list. Opens the target. */
static void fill_memory(struct fixture *f)
{
	hs_fake_u64(f->fake, LIST, LIST + 16);
	hs_fake_u32(f->fake, LIST + 16, 2);
	hs_fake_u64(f->fake, LIST + 24, LIST + 32);
	hs_fake_u64(f->fake, LIST + 32, THREAD_A);
	hs_fake_u64(f->fake, LIST + 40, THREAD_B);
	thread(f, THREAD_A, TID_A, STACK_A);
	thread(f, THREAD_B, TID_B, STACK_B);
	hs_fake_u64(f->fake, IN_USE, MONITOR);
	hs_fake_fill(f->fake, MONITOR, 0, 64);
	hs_fake_u64(f->fake, MONITOR + OFF_OBJECT, HANDLE);
	hs_fake_u64(f->fake, HANDLE, OBJECT);
	hs_fake_u64(f->fake, OBJECT, 1);
	f->jvm.target = hs_fake_target(f->fake);
}

static void layout(struct fixture *f)
{
	field(f, HS_F_thread_list_length, 0);
	field(f, HS_F_thread_list_threads, 8);
	field(f, HS_F_thread_osthread, OFF_OSTHREAD);
	field(f, HS_F_osthread_thread_id, 0);
	field(f, HS_F_thread_stack_base, OFF_STACK_BASE);
	field(f, HS_F_thread_stack_size, OFF_STACK_SIZE);
	field(f, HS_F_thread_anchor, OFF_ANCHOR);
	field(f, HS_F_anchor_last_java_sp, 0);
	field(f, HS_F_anchor_last_java_pc, 8);
	field(f, HS_F_oop_mark, 0);
	field(f, HS_F_monitor_object, OFF_OBJECT);
	field(f, HS_F_monitor_owner, OFF_OWNER);
	field(f, HS_F_monitor_recursions, OFF_RECURSIONS);
	field(f, HS_F_monitor_next_om, OFF_NEXT);
	field(f, HS_F_monitor_list_head, 0);
	static_field(f, HS_F_monitor_in_use_list, IN_USE);
	static_field(f, HS_F_thread_list, LIST);
	f->jvm.locking_mode = HS_LOCKING_LEGACY;
}

static struct fixture *make_fixture(void)
{
	static struct fixture fixture; // one at a time
	uint32_t index;

	fixture = (struct fixture){.fake = hs_fake_create(), .snapshot = hs_snapshot_create()};
	fixture.jvm.snapshot = fixture.snapshot;
	fixture.jvm.arena = fixture.snapshot->arena;
	layout(&fixture);
	hs_snapshot_add_thread(fixture.snapshot, TID_A, &index)->name = "a";
	hs_snapshot_add_thread(fixture.snapshot, TID_B, &index)->name = "b";
	return &fixture;
}

static int setup(void **state)
{
	*state = make_fixture();
	fill_memory(*state);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	hs_map64_deinit(&f->jvm.jthread_by_addr);
	hs_snapshot_destroy(f->snapshot);
	hs_fake_destroy(f->fake);
	return 0;
}

static void succeed(struct hs_err *err)
{
	if (err)
		fail_msg("%s", hs_err_message(err));
}

static struct hs_lock_owner owner_of(struct fixture *f)
{
	struct hs_lock_owner owner;

	if (!f->jvm.jthread_index)
		succeed(hs_jvm_collect_threads(&f->jvm));
	succeed(hs_lock_owner(&f->jvm, OBJECT, 0, &owner));
	return owner;
}

static void assert_owner(struct fixture *f, hs_addr expected)
{
	struct hs_lock_owner owner = owner_of(f);

	assert_true(owner.is_locked);
	assert_non_null(owner.thread);
	assert_int_equal(owner.thread->addr, expected);
	assert_non_null(owner.read_from);
	assert_int_not_equal(owner.words[0].size, 0);
}

static void assert_free(struct fixture *f)
{
	struct hs_lock_owner owner = owner_of(f);

	assert_false(owner.is_locked);
	assert_null(owner.thread);
}

static void assert_unknown(struct fixture *f, const char *words)
{
	struct hs_lock_owner owner = owner_of(f);

	assert_true(owner.is_locked);
	assert_null(owner.thread);
	assert_non_null(strstr(owner.unknown, words));
}

static void inflate(struct fixture *f, uint64_t owner)
{
	hs_fake_u64(f->fake, OBJECT, MONITOR | 2);
	hs_fake_u64(f->fake, MONITOR + OFF_OWNER, owner);
}

static void with_lock_stacks(struct fixture *f)
{
	field(f, HS_F_thread_lock_stack, OFF_LOCK_STACK);
	field(f, HS_F_lock_stack_top, 0);
	field(f, HS_F_lock_stack_base, OFF_LOCK_BASE);
	f->jvm.locking_mode = HS_LOCKING_LIGHTWEIGHT;
}

static void push_lock(struct fixture *f, hs_addr thread_addr, unsigned index, hs_addr object)
{
	hs_fake_u64(f->fake, thread_addr + OFF_LOCK_STACK + OFF_LOCK_BASE + 8 * index, object);
	hs_fake_u32(f->fake, thread_addr + OFF_LOCK_STACK,
	            OFF_LOCK_STACK + OFF_LOCK_BASE + 8 * (index + 1));
}

// ---- threads

static void matches_threads(void **state)
{
	struct fixture *f = *state;

	succeed(hs_jvm_collect_threads(&f->jvm));
	assert_int_equal(f->jvm.jthreads.len, 2);
	assert_int_equal(f->snapshot->threads.items[0].kind, HS_THREAD_JAVA);
	assert_int_equal(f->snapshot->threads.items[0].vm_thread, THREAD_A);
	assert_int_equal(hs_jthread_by_index(&f->jvm, 1)->addr, THREAD_B);
	assert_int_equal(hs_jthread_by_addr(&f->jvm, THREAD_A)->tid, TID_A);
	assert_null(hs_jthread_by_addr(&f->jvm, 0));
	assert_null(hs_jthread_by_index(&f->jvm, 77));
	assert_int_equal(f->snapshot->gaps.len, 0);
}

static void finds_stacks(void **state)
{
	struct fixture *f = *state;

	succeed(hs_jvm_collect_threads(&f->jvm));
	assert_int_equal(hs_jthread_by_stack(&f->jvm, STACK_A - 8)->addr, THREAD_A);
	assert_int_equal(hs_jthread_by_stack(&f->jvm, STACK_B - STACK_SIZE)->addr, THREAD_B);
	assert_null(hs_jthread_by_stack(&f->jvm, STACK_A));
	assert_null(hs_jthread_by_stack(&f->jvm, STACK_B - STACK_SIZE - 1));
	assert_null(hs_jthread_by_stack(&f->jvm, 8));
}

static void exited_thread_is_a_gap(void **state)
{
	struct fixture *f = *state;

	hs_fake_u32(f->fake, THREAD_B + 400, 999);
	succeed(hs_jvm_collect_threads(&f->jvm));
	assert_int_equal(f->jvm.jthreads.len, 2);
	assert_int_equal(f->jvm.jthreads.items[1].thread, HS_NONE);
	assert_int_equal(f->snapshot->gaps.len, 1);
}

static void two_threads_with_one_tid(void **state)
{
	struct fixture *f = *state;

	hs_fake_u32(f->fake, THREAD_B + 400, TID_A);
	succeed(hs_jvm_collect_threads(&f->jvm));
	assert_int_equal(f->snapshot->threads.items[0].vm_thread, THREAD_A);
	assert_int_equal(f->jvm.jthreads.items[1].thread, HS_NONE);
	assert_int_equal(f->snapshot->gaps.len, 1);
}

static void bad_threads_are_gaps(void **state)
{
	struct fixture *f = *state;

	hs_fake_u64(f->fake, LIST + 32, 0xdead0000);
	hs_fake_u64(f->fake, THREAD_B + OFF_STACK_SIZE, UINT64_MAX);
	succeed(hs_jvm_collect_threads(&f->jvm));
	assert_int_equal(f->jvm.jthreads.len, 0);
	assert_int_equal(f->snapshot->gaps.len, 2);
	assert_true(f->snapshot->blind);
}

static void huge_list_is_refused(void **state)
{
	struct fixture *f = *state;

	hs_fake_u32(f->fake, LIST + 16, UINT32_MAX);
	struct hs_err *err = hs_jvm_collect_threads(&f->jvm);
	assert_non_null(err);
	assert_int_equal(hs_err_code(err), HS_ERR_BAD_DATA);
	hs_err_free(err);
}

/** 8 and 11: a linked list. */
static void circular_list_is_refused(void **state)
{
	struct fixture *f = *state;

	static_field(f, HS_F_thread_list_head, LIST);
	field(f, HS_F_thread_next, 0);
	hs_fake_u64(f->fake, LIST, THREAD_A);
	hs_fake_u64(f->fake, THREAD_A, THREAD_B);
	hs_fake_u64(f->fake, THREAD_B, THREAD_A);
	struct hs_err *err = hs_jvm_collect_threads(&f->jvm);
	assert_non_null(err);
	assert_int_equal(hs_err_code(err), HS_ERR_BAD_DATA);
	hs_err_free(err);
}

static void linked_list_is_read(void **state)
{
	struct fixture *f = *state;

	static_field(f, HS_F_thread_list_head, LIST);
	field(f, HS_F_thread_next, 0);
	hs_fake_u64(f->fake, LIST, THREAD_B);
	hs_fake_u64(f->fake, THREAD_B, THREAD_A);
	succeed(hs_jvm_collect_threads(&f->jvm));
	assert_int_equal(f->jvm.jthreads.len, 2);
	assert_int_equal(f->jvm.jthreads.items[0].addr, THREAD_B);
}

static void names_vm_threads(void **state)
{
	struct fixture *f = *state;

	hs_snapshot_add_thread(f->snapshot, 200, NULL)->start_routine =
		"thread_native_entry(Thread*)";
	hs_snapshot_add_thread(f->snapshot, 201, NULL)->name = "GC Thread#7";
	hs_snapshot_add_thread(f->snapshot, 202, NULL)->name = "grpc-poller";
	hs_snapshot_add_thread(f->snapshot, 203, NULL)->start_routine = "java_start(Thread*)"; // 8
	hs_snapshot_add_thread(f->snapshot, 204, NULL)->start_routine = "libjvm.so+0xa37470";
	hs_snapshot_add_thread(f->snapshot, 205, NULL)->start_routine = "libgrpc.so+0xa37470";
	succeed(hs_jvm_collect_threads(&f->jvm));
	assert_int_equal(f->snapshot->threads.items[2].kind, HS_THREAD_VM);
	assert_int_equal(f->snapshot->threads.items[3].kind, HS_THREAD_VM);
	assert_int_equal(f->snapshot->threads.items[4].kind, HS_THREAD_NATIVE);
	assert_int_equal(f->snapshot->threads.items[5].kind, HS_THREAD_VM);
	assert_int_equal(f->snapshot->threads.items[6].kind, HS_THREAD_VM);
	assert_int_equal(f->snapshot->threads.items[7].kind, HS_THREAD_NATIVE);
}

// ---- owners

static void unlocked(void **state)
{
	assert_free(*state);
}

static void stack_lock(void **state)
{
	struct fixture *f = *state;

	hs_fake_u64(f->fake, OBJECT, STACK_B - 0x100);
	assert_owner(f, THREAD_B);
	hs_fake_u64(f->fake, OBJECT, 0x7000000);
	assert_unknown(f, "0x7000000");
}

static void inflated_by_thread(void **state)
{
	struct fixture *f = *state;

	inflate(f, THREAD_A);
	hs_fake_u64(f->fake, MONITOR + OFF_RECURSIONS, 3);
	assert_owner(f, THREAD_A);
	assert_int_equal(owner_of(f).recursions, 3);
	assert_int_equal(owner_of(f).monitor, MONITOR);
}

static void inflated_by_contender(void **state)
{
	struct fixture *f = *state;

	inflate(f, STACK_A - 64);
	assert_owner(f, THREAD_A);
}

static void inflated_without_owner(void **state)
{
	struct fixture *f = *state;

	inflate(f, 0);
	assert_free(f);
	inflate(f, UINT64_MAX); // 17: DEFLATER_MARKER
	assert_free(f);
	inflate(f, 2); // 21
	assert_free(f);
}

static void inflated_by_a_stranger(void **state)
{
	struct fixture *f = *state;

	inflate(f, 0xabcd000);
	assert_unknown(f, "0xabcd000");
}

static void fast_locked(void **state)
{
	struct fixture *f = *state;

	with_lock_stacks(f);
	hs_fake_u64(f->fake, OBJECT, 0);
	push_lock(f, THREAD_B, 0, 0x123450);
	push_lock(f, THREAD_B, 1, OBJECT);
	push_lock(f, THREAD_B, 2, OBJECT); // entered twice
	assert_owner(f, THREAD_B);
}

static void fast_locked_by_nobody(void **state)
{
	struct fixture *f = *state;

	with_lock_stacks(f);
	hs_fake_u64(f->fake, OBJECT, 0);
	assert_unknown(f, "lock stack");
}

static void anonymous_owner(void **state)
{
	struct fixture *f = *state;

	with_lock_stacks(f);
	inflate(f, 1);
	push_lock(f, THREAD_A, 0, OBJECT);
	assert_owner(f, THREAD_A);
}

static void owner_ids(void **state)
{
	struct fixture *f = *state;

	with_lock_stacks(f);
	field(f, HS_F_thread_owner_id, OFF_OWNER_ID);
	hs_fake_u64(f->fake, THREAD_A + OFF_OWNER_ID, 3);
	hs_fake_u64(f->fake, THREAD_B + OFF_OWNER_ID, 44);
	inflate(f, 44);
	assert_owner(f, THREAD_B);
	inflate(f, 2);
	assert_free(f);
	inflate(f, 45);
	assert_unknown(f, "virtual thread");
}

static void stack_locker(void **state)
{
	struct fixture *f = *state;

	field(f, HS_F_thread_owner_id, OFF_OWNER_ID);
	field(f, HS_F_monitor_stack_locker, 40);
	inflate(f, 1);
	hs_fake_u64(f->fake, MONITOR + 40, STACK_A - 16);
	assert_owner(f, THREAD_A);
}

static void biased(void **state)
{
	struct fixture *f = *state;

	field(f, HS_F_klass_prototype_header, 0);
	hs_fake_u64(f->fake, OBJECT, THREAD_B | 0x105);
	struct hs_lock_owner owner = owner_of(f);
	assert_true(owner.is_biased);
	assert_int_equal(owner.thread->addr, THREAD_B);
	hs_fake_u64(f->fake, OBJECT, 0x5); // anonymously
	assert_null(owner_of(f).thread);
}

static void moved_object_is_an_error(void **state)
{
	struct fixture *f = *state;
	struct hs_lock_owner owner;

	succeed(hs_jvm_collect_threads(&f->jvm));
	hs_fake_u64(f->fake, OBJECT, 0x9003);
	struct hs_err *err = hs_lock_owner(&f->jvm, OBJECT, 0, &owner);
	assert_non_null(err);
	assert_int_equal(hs_err_code(err), HS_ERR_BAD_DATA);
	hs_err_free(err);
}

/** A released slot keeps its value: the second look must see the top. */
static void lock_stack_words(void **state)
{
	struct fixture *f = *state;

	with_lock_stacks(f);
	hs_fake_u64(f->fake, OBJECT, 0);
	push_lock(f, THREAD_B, 0, OBJECT);
	struct hs_lock_owner owner = owner_of(f);
	assert_int_equal(owner.words[0].addr, OBJECT);
	assert_int_equal(owner.words[1].addr, THREAD_B + OFF_LOCK_STACK + OFF_LOCK_BASE);
	assert_int_equal(owner.words[1].value, OBJECT);
	assert_int_equal(owner.words[2].addr, THREAD_B + OFF_LOCK_STACK);
	assert_int_equal(owner.words[2].value, OFF_LOCK_STACK + OFF_LOCK_BASE + 8);
	assert_int_equal(owner.words[2].size, 4);
}

// ---- waits

/** There are no classes here: that costs names only. */
static void collect(struct fixture *f)
{
	hs_lock_index(&f->jvm)->classes_read = true;
	field(f, HS_F_thread_pending_monitor, OFF_PENDING);
	succeed(hs_jvm_collect_threads(&f->jvm));
	succeed(hs_jvm_collect_locks(&f->jvm));
}

static void waits_for_the_owner(void **state)
{
	struct fixture *f = *state;

	inflate(f, THREAD_B);
	hs_fake_u64(f->fake, THREAD_A + OFF_PENDING, MONITOR);
	collect(f);
	assert_int_equal(f->snapshot->waits.len, 1);
	assert_int_equal(f->snapshot->waits.items[0].thread, 0);
	assert_int_equal(f->snapshot->holds.len, 1);
	assert_int_equal(f->snapshot->holds.items[0].thread, 1);
}

/** Without the field nobody seems to wait: that is not "clear". */
static void missing_field_is_no_all_clear(void **state)
{
	struct fixture *f = *state;

	succeed(hs_jvm_collect_threads(&f->jvm));
	hs_lock_index(&f->jvm)->classes_read = true;
	field(f, HS_F_thread_waiting_monitor, OFF_PENDING);
	field(f, HS_F_thread_oop, OFF_PENDING);
	assert_false(f->snapshot->blind);
	succeed(hs_jvm_collect_locks(&f->jvm));
	assert_true(f->snapshot->blind);
	assert_int_equal(f->snapshot->gaps.len, 1);
	assert_string_equal(f->snapshot->gaps.items[0].subject,
	                    "JavaThread::_current_pending_monitor");
}

/** An ObjectMonitor that cannot be read may be the missing link. */
static void unreadable_wait_is_no_all_clear(void **state)
{
	struct fixture *f = *state;

	field(f, HS_F_thread_waiting_monitor, OFF_OWNER_ID);
	field(f, HS_F_thread_oop, OFF_OWNER_ID);
	hs_fake_u64(f->fake, THREAD_A + OFF_PENDING, 0xdead0000);
	collect(f);
	assert_int_equal(f->snapshot->waits.len, 0);
	assert_true(f->snapshot->blind);
}

/** Someone holds it, but who? */
static void unknown_holder_is_no_all_clear(void **state)
{
	struct fixture *f = *state;

	field(f, HS_F_thread_waiting_monitor, OFF_OWNER_ID);
	field(f, HS_F_thread_oop, OFF_OWNER_ID);
	inflate(f, 0xabcd000);
	hs_fake_u64(f->fake, THREAD_A + OFF_PENDING, MONITOR);
	collect(f);
	assert_int_equal(f->snapshot->waits.len, 1);
	assert_int_equal(f->snapshot->holds.len, 0);
	assert_true(f->snapshot->blind);
}

/** It has just got the monitor, and a safepoint keeps it from going on. */
static void waits_not_for_its_own(void **state)
{
	struct fixture *f = *state;

	inflate(f, THREAD_A);
	hs_fake_u64(f->fake, THREAD_A + OFF_PENDING, MONITOR);
	hs_fake_u64(f->fake, THREAD_B + OFF_PENDING, MONITOR);
	collect(f);
	assert_int_equal(f->snapshot->waits.len, 1);
	assert_int_equal(f->snapshot->waits.items[0].thread, 1);
	assert_int_equal(f->snapshot->holds.len, 1);
	assert_int_equal(f->snapshot->holds.items[0].thread, 0);
}

// ---- the table of monitors

static void monitor_table(void **state)
{
	struct fixture *f = *state;

	f->jvm.monitor_table = true;
	hs_fake_u64(f->fake, MONITOR + OFF_OWNER, THREAD_A);
	hs_fake_u64(f->fake, OBJECT, 0x2); // no pointer in the mark
	assert_owner(f, THREAD_A);
}

/** 8 to 15: monitors lie in blocks, all that were ever made, and their objects are plain oops. */
static int setup_blocks(void **state)
{
	struct fixture *f = make_fixture();
	struct hs_fake_libjvm *libjvm = hs_fake_libjvm_create(f->fake);

	*state = f;
	hs_fake_libjvm_int(libjvm, "ObjectSynchronizer::_BLOCKSIZE", BLOCK_SIZE);
	hs_fake_libjvm_install(libjvm, false);
	hs_fake_libjvm_destroy(libjvm);
	fill_memory(f);
	succeed(hs_vmstructs_read(f->jvm.target, &hs_target_modules(f->jvm.target)->modules[0],
	                          f->jvm.arena, &f->jvm.vm));
	f->jvm.monitor_table = true; // look in the list, whatever the mark says
	f->jvm.layout.fields[HS_F_monitor_in_use_list].present = false;
	static_field(f, HS_F_monitor_block_list, IN_USE);
	hs_fake_u64(f->fake, IN_USE, BLOCK);
	hs_fake_u64(f->fake, OBJECT, 0x2);
	return 0;
}

/** Two blocks; the owned monitor is the last one of the second. */
static void fill_blocks(struct fixture *f, uint64_t stride, uint64_t link)
{
	hs_addr last = BLOCK_2 + (BLOCK_SIZE - 1) * stride;

	hs_fake_fill(f->fake, BLOCK, 0, BLOCK_SIZE * stride);
	hs_fake_fill(f->fake, BLOCK_2, 0, BLOCK_SIZE * stride);
	hs_fake_u64(f->fake, BLOCK + link, BLOCK_2);
	hs_fake_u64(f->fake, BLOCK + OFF_OBJECT, 0x1230); // element 0 is none
	hs_fake_u64(f->fake, last + OFF_OBJECT, OBJECT);
	hs_fake_u64(f->fake, last + OFF_OWNER, THREAD_B);
}

static void blocks_of_8(void **state)
{
	struct fixture *f = *state;

	field(f, HS_F_monitor_free_next, OFF_FREE_NEXT);
	f->jvm.layout.sizes[HS_T_object_monitor] = 72;
	fill_blocks(f, 72, OFF_FREE_NEXT);
	assert_owner(f, THREAD_B);
	assert_int_equal(f->jvm.lock_index->monitors.len, 1);
}

static void blocks_of_11(void **state)
{
	struct fixture *f = *state;

	field(f, HS_F_monitor_free_next, OFF_FREE_NEXT);
	f->jvm.layout.sizes[HS_T_object_monitor] = 72;
	f->jvm.layout.sizes[HS_T_padded_object_monitor] = 256;
	fill_blocks(f, 256, OFF_FREE_NEXT);
	assert_owner(f, THREAD_B);
}

static void blocks_of_15(void **state)
{
	struct fixture *f = *state;

	f->jvm.layout.sizes[HS_T_padded_object_monitor] = 256;
	fill_blocks(f, 256, OFF_NEXT);
	assert_owner(f, THREAD_B);
}

static void circular_blocks(void **state)
{
	struct fixture *f = *state;

	field(f, HS_F_monitor_free_next, OFF_FREE_NEXT);
	f->jvm.layout.sizes[HS_T_object_monitor] = 72;
	fill_blocks(f, 72, OFF_FREE_NEXT);
	hs_fake_u64(f->fake, BLOCK_2 + OFF_FREE_NEXT, BLOCK);
	assert_owner(f, THREAD_B);
	assert_int_equal(f->snapshot->gaps.len, 1);
}

static void circular_monitors(void **state)
{
	struct fixture *f = *state;
	struct hs_lock_owner owner;

	f->jvm.monitor_table = true;
	hs_fake_u64(f->fake, MONITOR + OFF_NEXT, MONITOR);
	hs_fake_u64(f->fake, MONITOR + OFF_OWNER, THREAD_A);
	hs_fake_u64(f->fake, OBJECT, 0x2);
	assert_owner(f, THREAD_A);
	assert_int_equal(f->snapshot->gaps.len, 1);
	// An object that no monitor belongs to.
	hs_fake_u64(f->fake, OBJECT + 64, 0x2);
	struct hs_err *err = hs_lock_owner(&f->jvm, OBJECT + 64, 0, &owner);
	assert_non_null(err);
	assert_int_equal(hs_err_code(err), HS_ERR_ABSENT);
	hs_err_free(err);
}

static void wild_lock_stack_is_a_gap(void **state)
{
	struct fixture *f = *state;

	with_lock_stacks(f);
	hs_fake_u64(f->fake, OBJECT, 0);
	push_lock(f, THREAD_B, 0, OBJECT);
	hs_fake_u32(f->fake, THREAD_A + OFF_LOCK_STACK, 0xfffffff0);
	assert_owner(f, THREAD_B);
	assert_int_equal(f->snapshot->gaps.len, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(matches_threads, setup, teardown),
		cmocka_unit_test_setup_teardown(finds_stacks, setup, teardown),
		cmocka_unit_test_setup_teardown(exited_thread_is_a_gap, setup, teardown),
		cmocka_unit_test_setup_teardown(two_threads_with_one_tid, setup, teardown),
		cmocka_unit_test_setup_teardown(bad_threads_are_gaps, setup, teardown),
		cmocka_unit_test_setup_teardown(huge_list_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(circular_list_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(linked_list_is_read, setup, teardown),
		cmocka_unit_test_setup_teardown(names_vm_threads, setup, teardown),
		cmocka_unit_test_setup_teardown(unlocked, setup, teardown),
		cmocka_unit_test_setup_teardown(stack_lock, setup, teardown),
		cmocka_unit_test_setup_teardown(inflated_by_thread, setup, teardown),
		cmocka_unit_test_setup_teardown(inflated_by_contender, setup, teardown),
		cmocka_unit_test_setup_teardown(inflated_without_owner, setup, teardown),
		cmocka_unit_test_setup_teardown(inflated_by_a_stranger, setup, teardown),
		cmocka_unit_test_setup_teardown(fast_locked, setup, teardown),
		cmocka_unit_test_setup_teardown(fast_locked_by_nobody, setup, teardown),
		cmocka_unit_test_setup_teardown(anonymous_owner, setup, teardown),
		cmocka_unit_test_setup_teardown(owner_ids, setup, teardown),
		cmocka_unit_test_setup_teardown(stack_locker, setup, teardown),
		cmocka_unit_test_setup_teardown(biased, setup, teardown),
		cmocka_unit_test_setup_teardown(moved_object_is_an_error, setup, teardown),
		cmocka_unit_test_setup_teardown(lock_stack_words, setup, teardown),
		cmocka_unit_test_setup_teardown(waits_for_the_owner, setup, teardown),
		cmocka_unit_test_setup_teardown(waits_not_for_its_own, setup, teardown),
		cmocka_unit_test_setup_teardown(missing_field_is_no_all_clear, setup, teardown),
		cmocka_unit_test_setup_teardown(unreadable_wait_is_no_all_clear, setup, teardown),
		cmocka_unit_test_setup_teardown(unknown_holder_is_no_all_clear, setup, teardown),
		cmocka_unit_test_setup_teardown(monitor_table, setup, teardown),
		cmocka_unit_test_setup_teardown(circular_monitors, setup, teardown),
		cmocka_unit_test_setup_teardown(blocks_of_8, setup_blocks, teardown),
		cmocka_unit_test_setup_teardown(blocks_of_11, setup_blocks, teardown),
		cmocka_unit_test_setup_teardown(blocks_of_15, setup_blocks, teardown),
		cmocka_unit_test_setup_teardown(circular_blocks, setup_blocks, teardown),
		cmocka_unit_test_setup_teardown(wild_lock_stack_is_a_gap, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
