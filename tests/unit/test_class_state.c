// SPDX-License-Identifier: Apache-2.0
/** @file Classes that are being linked or initialized, in both designs, and who waits for them. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <sys/syscall.h>

#include "core/jvm/locks.h"
#include "tests/support/fake_libjvm.h"

enum {
	HEAD = 0x8000,
	CLD = 0x9000,
	CLASS_CLASS = 0xa0000,
	INT_ARRAY = 0xa1000,
	CLASS_A = 0xa2000,
	CLASS_B = 0xa3000,
	THREAD_A = 0x10000,
	THREAD_B = 0x20000,
	LIST = 0x30000,
	STACK_A = 0x1000000, // highest address
	STACK_B = 0x2000000,
	STACK_SIZE = 0x10000,
	MIRROR = 0x40000,
	INIT_LOCK = 0x41000,
	MIRROR_B = 0x42000,
	INIT_LOCK_B = 0x43000,
	VM_MONITOR = 0x50000, // InstanceKlass::_init_monitor
	MONITOR = 0x60000,    // ObjectMonitor
	HANDLE = 0x61000,

	TID_A = 101,
	TID_B = 102,
	USED = 0x200, // bytes of stack between sp and last_Java_sp

	OFF_HELPER = 8,
	OFF_NAME = 16,
	OFF_SUPER = 24,
	OFF_MIRROR = 32,
	OFF_CLD = 40,
	OFF_NEXT_LINK = 48,
	OFF_STATE = 60,
	OFF_INIT_THREAD = 72,
	OFF_INIT_MONITOR = 64,
	OFF_LOCK = 36, // in a mirror

	OFF_OSTHREAD = 8,
	OFF_STACK_BASE = 16,
	OFF_STACK_SIZE = 24,
	OFF_ANCHOR = 32,
	OFF_JSTATE = 64,
	OFF_PENDING = 72,
	OFF_WAITING = 80,
	OFF_THREAD_OOP = 88,

	OFF_OBJECT = 8,
	OFF_OWNER = 16,
	BLOCKED = 10, // _thread_blocked
};

/** States: 21.0.2 has one more. */
enum {
	LOADED = 1,
	BEING_INITIALIZED = 3,
	LOADED_21 = 1,
	BEING_LINKED_21 = 2,
	BEING_INITIALIZED_21 = 4,
};

struct fixture {
	struct hs_fake *fake;
	struct hs_fake_libjvm *libjvm;
	struct hs_snapshot *snapshot;
	struct hs_jvm jvm;
	struct hs_klass class_class;
	struct hs_jfield lock_field;
	hs_addr next_symbol;
};

static void field(struct fixture *f, enum hs_field name, uint64_t offset)
{
	f->jvm.layout.fields[name] =
		(struct hs_layout_field){.present = true, .offset = offset, .type = "OopHandle"};
}

static void static_field(struct fixture *f, enum hs_field name, hs_addr address)
{
	f->jvm.layout.fields[name] =
		(struct hs_layout_field){.present = true, .is_static = true, .address = address};
}

static hs_addr symbol(struct fixture *f, const char *text)
{
	hs_addr addr = f->next_symbol;

	f->next_symbol += 128;
	hs_fake_u16(f->fake, addr + 4, (uint16_t)strlen(text));
	hs_fake_memory(f->fake, addr + 6, text, strlen(text));
	return addr;
}

static void klass(struct fixture *f, hs_addr addr, const char *name, int32_t helper, uint8_t state)
{
	hs_addr first = 0;

	hs_fake_fill(f->fake, addr, 0, 128);
	hs_fake_u32(f->fake, addr + OFF_HELPER, (uint32_t)helper);
	hs_fake_u64(f->fake, addr + OFF_NAME, symbol(f, name));
	hs_fake_u64(f->fake, addr + OFF_MIRROR, addr + 120);
	hs_fake_u64(f->fake, addr + 120, MIRROR);
	hs_fake_u64(f->fake, addr + OFF_CLD, CLD);
	hs_fake_u8(f->fake, addr + OFF_STATE, state);
	hs_err_free(hs_target_read_u64(hs_fake_target(f->fake), CLD + 8, &first));
	hs_fake_u64(f->fake, addr + OFF_NEXT_LINK, first);
	hs_fake_u64(f->fake, CLD + 8, addr);
}

static void thread(struct fixture *f, hs_addr addr, uint32_t tid, hs_addr stack)
{
	hs_fake_fill(f->fake, addr, 0, 512);
	hs_fake_u64(f->fake, addr + OFF_OSTHREAD, addr + 400);
	hs_fake_u32(f->fake, addr + 400, tid);
	hs_fake_u64(f->fake, addr + OFF_STACK_BASE, stack);
	hs_fake_u64(f->fake, addr + OFF_STACK_SIZE, STACK_SIZE);
	hs_fake_u64(f->fake, addr + OFF_ANCHOR, stack - 0x1000);
	hs_fake_u32(f->fake, addr + OFF_JSTATE, BLOCKED);
	hs_fake_fill(f->fake, stack - 0x1000 - USED, 0, USED);
}

static void lwp(struct fixture *f, pid_t tid, hs_addr stack, hs_addr futex)
{
	struct hs_regs regs = {0};

	hs_regs_set(&regs, HS_REG_SP, stack - 0x1000 - USED);
	struct hs_lwp *added = hs_fake_lwp(f->fake, tid, &regs);
	added->in_syscall = futex != 0;
	added->syscall_nr = futex ? SYS_futex : -1;
	added->syscall_args[0] = futex;
}

static void layout(struct fixture *f)
{
	field(f, HS_F_cld_next, 0);
	field(f, HS_F_cld_klasses, 8);
	field(f, HS_F_cld_class_loader, 16);
	static_field(f, HS_F_cldg_head, HEAD);
	field(f, HS_F_symbol_length, 4);
	field(f, HS_F_symbol_body, 6);
	field(f, HS_F_klass_name, OFF_NAME);
	field(f, HS_F_klass_super, OFF_SUPER);
	field(f, HS_F_klass_layout_helper, OFF_HELPER);
	field(f, HS_F_klass_mirror, OFF_MIRROR);
	field(f, HS_F_klass_cld, OFF_CLD);
	field(f, HS_F_klass_next_link, OFF_NEXT_LINK);
	field(f, HS_F_klass_init_state, OFF_STATE);
	field(f, HS_F_klass_init_thread, OFF_INIT_THREAD);
	field(f, HS_F_oop_mark, 0);
	field(f, HS_F_oop_narrow_klass, 8);
	static_field(f, HS_F_thread_list, LIST);
	field(f, HS_F_thread_list_length, 0);
	field(f, HS_F_thread_list_threads, 8);
	field(f, HS_F_thread_osthread, OFF_OSTHREAD);
	field(f, HS_F_osthread_thread_id, 0);
	field(f, HS_F_thread_stack_base, OFF_STACK_BASE);
	field(f, HS_F_thread_stack_size, OFF_STACK_SIZE);
	field(f, HS_F_thread_anchor, OFF_ANCHOR);
	field(f, HS_F_anchor_last_java_sp, 0);
	field(f, HS_F_anchor_last_java_pc, 8);
	field(f, HS_F_thread_state, OFF_JSTATE);
	field(f, HS_F_thread_pending_monitor, OFF_PENDING);
	field(f, HS_F_thread_waiting_monitor, OFF_WAITING);
	field(f, HS_F_thread_oop, OFF_THREAD_OOP);
	field(f, HS_F_monitor_object, OFF_OBJECT);
	field(f, HS_F_monitor_owner, OFF_OWNER);
	static_field(f, HS_F_monitor_in_use_list, HANDLE + 64);
	f->jvm.compressed_oops = f->jvm.compressed_klass = true;
	f->jvm.array_length_offset = 12;
	f->jvm.locking_mode = HS_LOCKING_LEGACY;
}

/** java.lang.Class with its one field, as decoded. */
static void class_class(struct fixture *f)
{
	f->lock_field = (struct hs_jfield){
		.name = "componentType", .signature = "Ljava/lang/Class;", .offset = OFF_LOCK};
	f->class_class = (struct hs_klass){
		.addr = CLASS_CLASS,
		.name = "java/lang/Class",
		.external_name = "java.lang.Class",
		.layout_helper = 16,
		.cld = CLD,
		.fields = &f->lock_field,
		.num_fields = 1,
		.fields_read = true,
	};
	assert_true(hs_map64_put(&f->jvm.klasses, CLASS_CLASS, &f->class_class));
}

static int setup_common(void **state, bool being_linked)
{
	static struct fixture fixture; // one at a time
	struct fixture *f = &fixture;

	*f = (struct fixture){
		.fake = hs_fake_create(), .snapshot = hs_snapshot_create(), .next_symbol = 0x70000};
	f->libjvm = hs_fake_libjvm_create(f->fake);
	f->jvm.snapshot = f->snapshot;
	f->jvm.arena = f->snapshot->arena;
	layout(f);
	hs_fake_libjvm_int(f->libjvm, "_thread_blocked", BLOCKED);
	hs_fake_libjvm_int(f->libjvm, "InstanceKlass::allocated", 0);
	hs_fake_libjvm_int(f->libjvm, "InstanceKlass::loaded", 1);
	if (being_linked) {
		hs_fake_libjvm_int(f->libjvm, "InstanceKlass::being_linked", 2);
		field(f, HS_F_klass_init_monitor, OFF_INIT_MONITOR);
	}
	hs_fake_libjvm_int(f->libjvm, "InstanceKlass::linked", 2 + being_linked);
	hs_fake_libjvm_int(f->libjvm, "InstanceKlass::being_initialized", 3 + being_linked);
	hs_fake_libjvm_int(f->libjvm, "InstanceKlass::fully_initialized", 4 + being_linked);
	hs_fake_libjvm_int(f->libjvm, "InstanceKlass::initialization_error", 5 + being_linked);
	hs_fake_libjvm_install(f->libjvm, false);
	*state = f;
	return 0;
}

static int setup_init_lock(void **state)
{
	return setup_common(state, false);
}

static int setup_being_linked(void **state)
{
	return setup_common(state, true);
}

/** Two threads, one on each LWP; futex words they sleep on. */
static void open_target(struct fixture *f, hs_addr futex_a, hs_addr futex_b)
{
	lwp(f, TID_A, STACK_A, futex_a);
	lwp(f, TID_B, STACK_B, futex_b);
	f->jvm.target = hs_fake_target(f->fake);
	struct hs_err *err =
		hs_vmstructs_read(f->jvm.target, &hs_target_modules(f->jvm.target)->modules[0],
	                          f->jvm.arena, &f->jvm.vm);
	if (err)
		fail_msg("%s", hs_err_message(err));

	hs_fake_u64(f->fake, LIST, LIST + 16);
	hs_fake_u32(f->fake, LIST + 16, 2);
	hs_fake_u64(f->fake, LIST + 24, LIST + 32);
	hs_fake_u64(f->fake, LIST + 32, THREAD_A);
	hs_fake_u64(f->fake, LIST + 40, THREAD_B);
	thread(f, THREAD_A, TID_A, STACK_A);
	thread(f, THREAD_B, TID_B, STACK_B);
	hs_snapshot_add_thread(f->snapshot, TID_A, NULL)->name = "a";
	hs_snapshot_add_thread(f->snapshot, TID_B, NULL)->name = "b";

	hs_fake_u64(f->fake, HEAD, CLD);
	hs_fake_fill(f->fake, CLD, 0, 32);
	hs_fake_fill(f->fake, VM_MONITOR, 0, 128);
	klass(f, INT_ARRAY, "[I", (int32_t)0xc0100a02, 0);
	klass(f, CLASS_CLASS, "java/lang/Class", 16, 4);
	class_class(f);
	hs_fake_fill(f->fake, MIRROR, 0, 64);
	hs_fake_fill(f->fake, INIT_LOCK, 0, 16);
	hs_fake_u64(f->fake, INIT_LOCK, MONITOR | 2); // inflated
	hs_fake_u32(f->fake, INIT_LOCK + 8, INT_ARRAY);
	hs_fake_fill(f->fake, MONITOR, 0, 64);
	hs_fake_u64(f->fake, MONITOR + OFF_OBJECT, HANDLE);
	hs_fake_u64(f->fake, HANDLE, INIT_LOCK);
}

/** app.A, worked on by @p worker. */
static void pending_class(struct fixture *f, uint8_t state, hs_addr worker)
{
	klass(f, CLASS_A, "app/A", 16, state);
	hs_fake_u64(f->fake, CLASS_A + OFF_INIT_THREAD, worker);
	hs_fake_u64(f->fake, CLASS_A + OFF_INIT_MONITOR, VM_MONITOR);
	hs_fake_u32(f->fake, MIRROR + OFF_LOCK, INIT_LOCK);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	hs_class_index_close(&f->jvm);
	hs_map64_deinit(&f->jvm.klasses);
	hs_map64_deinit(&f->jvm.symbols);
	hs_map64_deinit(&f->jvm.jthread_by_addr);
	hs_snapshot_destroy(f->snapshot);
	hs_fake_libjvm_destroy(f->libjvm);
	hs_fake_destroy(f->fake);
	return 0;
}

static void succeed(struct hs_err *err)
{
	if (err)
		fail_msg("%s", hs_err_message(err));
}

static void collect(struct fixture *f)
{
	succeed(hs_jvm_collect_threads(&f->jvm));
	succeed(hs_jvm_collect_locks(&f->jvm));
}

/** One wait of thread @p waiter, for what @p holder holds. */
static const struct hs_resource *assert_edge(struct fixture *f, enum hs_resource_kind kind,
                                             uint32_t waiter, uint32_t holder,
                                             enum hs_certainty certainty)
{
	struct hs_snapshot *s = f->snapshot;

	assert_int_equal(s->waits.len, 1);
	assert_int_equal(s->waits.items[0].thread, waiter);
	assert_int_equal(s->waits.items[0].certainty, certainty);
	assert_false(s->waits.items[0].timed);
	assert_int_equal(s->holds.len, 1);
	assert_int_equal(s->holds.items[0].thread, holder);
	assert_int_equal(s->holds.items[0].certainty, HS_READ);
	assert_int_equal(s->waits.items[0].resource, s->holds.items[0].resource);
	const struct hs_resource *resource = &s->resources.items[s->waits.items[0].resource];
	assert_int_equal(resource->kind, kind);
	assert_int_equal(resource->address, CLASS_A);
	assert_string_equal(resource->class_name, "app.A");
	return resource;
}

// ---- 8 to 20, 21.0.4+: init lock

static void waits_for_a_link(void **state)
{
	struct fixture *f = *state;

	open_target(f, 0, 0);
	pending_class(f, LOADED, 0);
	hs_fake_u64(f->fake, THREAD_A + OFF_PENDING, MONITOR);
	hs_fake_u64(f->fake, MONITOR + OFF_OWNER, THREAD_B);
	collect(f);
	const struct hs_resource *r = assert_edge(f, HS_RES_CLASS_LINK, 0, 1, HS_READ);
	assert_string_equal(r->label, "the link of app.A");
	assert_string_equal(r->class_info->state, "loaded");
	assert_int_equal(r->owner_tid, TID_B);
	assert_string_equal(f->snapshot->threads.items[0].state,
	                    "waiting for a class to be linked");
	assert_int_equal(f->snapshot->gaps.len, 0);
}

/** 8 and 21.0.4+: an injected field, under another name each (vmSymbols.hpp, init_lock_name). */
static void init_lock_of_8(void **state)
{
	struct fixture *f = *state;

	f->lock_field.name = "init_lock";
	waits_for_a_link(state);
}

static void init_lock_of_21(void **state)
{
	struct fixture *f = *state;

	f->lock_field.name = "<init_lock>";
	waits_for_a_link(state);
}

/** A native stack holds stale words too: a class counts when this thread has locked it. */
static void linked_class_is_the_locked_one(void **state)
{
	struct fixture *f = *state;
	const uint64_t words[] = {7, CLASS_B, CLASS_A};

	open_target(f, 0, 0);
	pending_class(f, LOADED, 0);
	klass(f, CLASS_B, "app/B", 16, LOADED);
	hs_fake_u64(f->fake, CLASS_B + 120, MIRROR_B);
	hs_fake_fill(f->fake, MIRROR_B, 0, 64);
	hs_fake_u32(f->fake, MIRROR_B + OFF_LOCK, INIT_LOCK_B);
	hs_fake_u64(f->fake, INIT_LOCK_B, 1);
	hs_fake_u64(f->fake, INIT_LOCK, STACK_B - 64);
	succeed(hs_jvm_collect_threads(&f->jvm));
	const struct hs_jthread *a = hs_jthread_by_index(&f->jvm, 0);
	const struct hs_jthread *b = hs_jthread_by_index(&f->jvm, 1);
	assert_int_equal(hs_class_linked_on_stack(&f->jvm, words, 3, b), CLASS_A);
	assert_int_equal(hs_class_linked_on_stack(&f->jvm, words, 3, a), 0);
	assert_int_equal(hs_class_on_stack(&f->jvm, words, 3, false, 0), 0);
	assert_int_equal(hs_class_on_stack(&f->jvm, words, 3, false, UINT64_MAX), CLASS_B);
}

static void waits_for_an_initializer(void **state)
{
	struct fixture *f = *state;

	open_target(f, 0, 0);
	pending_class(f, BEING_INITIALIZED, THREAD_B);
	hs_fake_u64(f->fake, THREAD_A + OFF_WAITING, MONITOR);
	collect(f);
	const struct hs_resource *r = assert_edge(f, HS_RES_CLASS_INIT, 0, 1, HS_READ);
	assert_string_equal(r->label, "the initialization of app.A");
}

/** It takes the init lock again to finish: that is no deadlock with itself. */
static void initializer_is_not_its_own_waiter(void **state)
{
	struct fixture *f = *state;

	open_target(f, 0, 0);
	pending_class(f, BEING_INITIALIZED, THREAD_A);
	hs_fake_u64(f->fake, THREAD_A + OFF_PENDING, MONITOR);
	hs_fake_u64(f->fake, MONITOR + OFF_OWNER, THREAD_B);
	collect(f);
	assert_int_equal(f->snapshot->waits.len, 1);
	const struct hs_edge *wait = &f->snapshot->waits.items[0];
	assert_int_equal(f->snapshot->resources.items[wait->resource].kind, HS_RES_JAVA_MONITOR);
	assert_int_equal(f->snapshot->holds.len, 1);
	assert_int_equal(f->snapshot->holds.items[0].thread, 1);
}

/** A moving collector: the mirror still has the old address of the lock. */
static void moved_init_lock_is_inferred(void **state)
{
	struct fixture *f = *state;

	open_target(f, 0, 0);
	pending_class(f, LOADED, 0);
	hs_fake_u32(f->fake, MIRROR + OFF_LOCK, INIT_LOCK + 0x100);
	hs_fake_u64(f->fake, THREAD_A + OFF_PENDING, MONITOR);
	hs_fake_u64(f->fake, MONITOR + OFF_OWNER, THREAD_B);
	hs_fake_u64(f->fake, STACK_A - 0x1000 - 64, CLASS_A);
	collect(f);
	assert_edge(f, HS_RES_CLASS_LINK, 0, 1, HS_INFERRED);
}

/** An int[] that is no init lock is a plain monitor; so is one nobody can tell. */
static void int_array_without_class(void **state)
{
	struct fixture *f = *state;

	open_target(f, 0, 0);
	pending_class(f, LOADED, 0);
	hs_fake_u32(f->fake, MIRROR + OFF_LOCK, 0);
	hs_fake_u64(f->fake, THREAD_A + OFF_PENDING, MONITOR);
	collect(f);
	assert_int_equal(f->snapshot->waits.len, 1);
	const struct hs_resource *r =
		&f->snapshot->resources.items[f->snapshot->waits.items[0].resource];
	assert_int_equal(r->kind, HS_RES_JAVA_MONITOR);
	assert_string_equal(r->label, "the monitor of a [I @41000");
}

/** Neither before its link nor being initialized: damaged. */
static void damaged_state_is_no_all_clear(void **state)
{
	struct fixture *f = *state;

	open_target(f, 0, 0);
	pending_class(f, 0x77, 0);
	hs_fake_u64(f->fake, THREAD_A + OFF_PENDING, MONITOR);
	collect(f);
	assert_int_equal(f->snapshot->waits.len, 1);
	assert_int_equal(f->snapshot->gaps.len, 1);
	assert_true(f->snapshot->blind);
}

/** OSThread::_thread_id is damaged: the stack that a thread stands in tells, too. */
static void stack_tells_the_thread(void **state)
{
	struct fixture *f = *state;

	open_target(f, 0, 0);
	pending_class(f, LOADED, 0);
	hs_fake_u32(f->fake, THREAD_A + 400, TID_B); // of B
	hs_fake_u32(f->fake, THREAD_B + 400, 99);    // of none
	hs_fake_u64(f->fake, THREAD_A + OFF_PENDING, MONITOR);
	hs_fake_u64(f->fake, MONITOR + OFF_OWNER, THREAD_B);
	collect(f);
	assert_int_equal(assert_edge(f, HS_RES_CLASS_LINK, 0, 1, HS_READ)->owner_tid, TID_B);
	assert_int_equal(f->snapshot->gaps.len, 0);
}

/** The object of the monitor that is waited for has another monitor. */
static void monitor_of_another_object_is_a_gap(void **state)
{
	struct fixture *f = *state;

	open_target(f, 0, 0);
	pending_class(f, LOADED, 0);
	hs_fake_u64(f->fake, THREAD_A + OFF_PENDING, MONITOR);
	hs_fake_u64(f->fake, INIT_LOCK, (MONITOR + 64) | 2);
	collect(f);
	assert_int_equal(f->snapshot->waits.len, 0);
	assert_int_equal(f->snapshot->gaps.len, 1);
	assert_true(f->snapshot->blind);
}

static void unreadable_monitor_is_a_gap(void **state)
{
	struct fixture *f = *state;

	open_target(f, 0, 0);
	pending_class(f, LOADED, 0);
	hs_fake_u64(f->fake, THREAD_A + OFF_PENDING, 0xdead0000);
	collect(f);
	assert_int_equal(f->snapshot->waits.len, 0);
	assert_int_equal(f->snapshot->gaps.len, 1);
}

/** Object.wait() ends by a notify() that nobody holds. */
static void notify_has_no_holder(void **state)
{
	struct fixture *f = *state;

	open_target(f, 0, 0);
	pending_class(f, LOADED, 0);
	hs_fake_u32(f->fake, MIRROR + OFF_LOCK, 0);
	hs_fake_u64(f->fake, THREAD_A + OFF_WAITING, MONITOR);
	hs_fake_u64(f->fake, MONITOR + OFF_OWNER, THREAD_B);
	collect(f);
	assert_int_equal(f->snapshot->waits.len, 1);
	assert_int_equal(f->snapshot->holds.len, 0);
	assert_int_equal(f->snapshot->resources.items[0].kind, HS_RES_JUC_SYNC);
}

// ---- 21.0.0 to 21.0.3, 22: being_linked

static void sleeps_on_init_monitor(void **state)
{
	struct fixture *f = *state;

	open_target(f, VM_MONITOR + 80, 0);
	pending_class(f, BEING_LINKED_21, THREAD_B);
	collect(f);
	const struct hs_resource *r = assert_edge(f, HS_RES_CLASS_LINK, 0, 1, HS_READ);
	assert_string_equal(r->class_info->state, "being_linked");
}

static void sleeps_on_init_monitor_of_initializer(void **state)
{
	struct fixture *f = *state;

	open_target(f, VM_MONITOR + 88, 0);
	pending_class(f, BEING_INITIALIZED_21, THREAD_B);
	collect(f);
	assert_edge(f, HS_RES_CLASS_INIT, 0, 1, HS_READ);
}

/** musl: the futex lies in a node on the waiter's own stack, queued in the condition. */
static void is_queued_in_musl_condition(void **state)
{
	struct fixture *f = *state;
	hs_addr node = STACK_A - 0x1000 - 128;

	open_target(f, node + 20, 0);
	pending_class(f, BEING_LINKED_21, THREAD_B);
	hs_fake_fill(f->fake, 0x51000, 0, 32);
	hs_fake_u64(f->fake, VM_MONITOR + 48 + 8, 0x51000); // another waiter comes first
	hs_fake_u64(f->fake, 0x51000 + 8, node);
	collect(f);
	assert_edge(f, HS_RES_CLASS_LINK, 0, 1, HS_READ);
}

static void circular_musl_queue(void **state)
{
	struct fixture *f = *state;

	open_target(f, STACK_A - 0x1000 - 100, 0);
	pending_class(f, BEING_LINKED_21, THREAD_B);
	hs_fake_fill(f->fake, 0x51000, 0, 32);
	hs_fake_u64(f->fake, VM_MONITOR + 48 + 8, 0x51000);
	hs_fake_u64(f->fake, 0x51000 + 8, 0x51000);
	collect(f);
	assert_int_equal(f->snapshot->waits.len, 0);
}

static void stack_mention_is_inferred(void **state)
{
	struct fixture *f = *state;

	open_target(f, 0x77777000, 0);
	pending_class(f, BEING_LINKED_21, THREAD_B);
	hs_fake_u64(f->fake, STACK_A - 0x1000 - 256, VM_MONITOR + 48);
	collect(f);
	assert_edge(f, HS_RES_CLASS_LINK, 0, 1, HS_INFERRED);
}

static void worker_does_not_wait_for_itself(void **state)
{
	struct fixture *f = *state;

	open_target(f, 0, VM_MONITOR + 80);
	pending_class(f, BEING_LINKED_21, THREAD_B);
	collect(f);
	assert_int_equal(f->snapshot->waits.len, 0);
}

static void loaded_class_is_no_candidate(void **state)
{
	struct fixture *f = *state;

	open_target(f, VM_MONITOR + 80, 0);
	pending_class(f, LOADED_21, 0);
	collect(f);
	assert_int_equal(f->snapshot->waits.len, 0);
}

int main(void)
{
#define INIT_LOCK_TEST(name) cmocka_unit_test_setup_teardown(name, setup_init_lock, teardown)
#define BEING_LINKED_TEST(name) cmocka_unit_test_setup_teardown(name, setup_being_linked, teardown)
	const struct CMUnitTest tests[] = {
		INIT_LOCK_TEST(waits_for_a_link),
		INIT_LOCK_TEST(init_lock_of_8),
		INIT_LOCK_TEST(init_lock_of_21),
		INIT_LOCK_TEST(linked_class_is_the_locked_one),
		INIT_LOCK_TEST(waits_for_an_initializer),
		INIT_LOCK_TEST(initializer_is_not_its_own_waiter),
		INIT_LOCK_TEST(moved_init_lock_is_inferred),
		INIT_LOCK_TEST(int_array_without_class),
		INIT_LOCK_TEST(damaged_state_is_no_all_clear),
		INIT_LOCK_TEST(stack_tells_the_thread),
		INIT_LOCK_TEST(monitor_of_another_object_is_a_gap),
		INIT_LOCK_TEST(unreadable_monitor_is_a_gap),
		INIT_LOCK_TEST(notify_has_no_holder),
		BEING_LINKED_TEST(sleeps_on_init_monitor),
		BEING_LINKED_TEST(sleeps_on_init_monitor_of_initializer),
		BEING_LINKED_TEST(is_queued_in_musl_condition),
		BEING_LINKED_TEST(circular_musl_queue),
		BEING_LINKED_TEST(stack_mention_is_inferred),
		BEING_LINKED_TEST(worker_does_not_wait_for_itself),
		BEING_LINKED_TEST(loaded_class_is_no_candidate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
