// SPDX-License-Identifier: Apache-2.0
/** @file Java threads: HotSpot's list of JavaThreads, matched with the threads of the kernel. */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/jvm/locks.h"
#include "core/jvm/virtual_threads.h"

struct thread_oop_ref {
	hs_addr oop;
	const struct hs_jthread *thread;
};

struct hs_jthread_index {
	const struct hs_jthread **by_stack; /**< ascending stack_base */
	size_t num_stacks;
	struct thread_oop_ref *by_oop; /**< ascending oop; mounted virtual threads too */
	size_t num_oops;
	const struct hs_jthread **by_thread; /**< by index into the snapshot; NULL: none */
	size_t num_threads;
};

/** JavaThreadState (globalDefinitions.hpp). The numbers changed in 28: constants of the VM. */
static const struct {
	const char *constant;
	enum hs_jthread_state state;
	bool in_transition;
} state_constants[] = {
	{"_thread_new",             HS_JSTATE_NEW,     false},
	{"_thread_new_trans",       HS_JSTATE_NEW,     true },
	{"_thread_in_native",       HS_JSTATE_NATIVE,  false},
	{"_thread_in_native_trans", HS_JSTATE_NATIVE,  true },
	{"_thread_in_vm",           HS_JSTATE_VM,      false},
	{"_thread_in_vm_trans",     HS_JSTATE_VM,      true },
	{"_thread_in_Java",         HS_JSTATE_JAVA,    false},
	{"_thread_in_Java_trans",   HS_JSTATE_JAVA,    true },
	{"_thread_blocked",         HS_JSTATE_BLOCKED, false},
	{"_thread_blocked_trans",   HS_JSTATE_BLOCKED, true },
};

/** java.lang.Thread.threadStatus → what jstack prints (javaClasses.cpp, thread_status_name). */
static const struct {
	uint32_t status;
	const char *jstack, *words;
} status_names[] = {
	{0x000, "NEW",			       "not started"                            },
	{0x002, "TERMINATED",                        "ended"                                  },
	{0x005, "RUNNABLE",                          NULL				     },
	{0x0e1, "TIMED_WAITING (sleeping)",          "sleeping"                               },
	{0x191, "WAITING (on object monitor)",       "waiting for a notify()"                 },
	{0x1a1, "TIMED_WAITING (on object monitor)", "waiting for a notify(), with a time-out"},
	{0x291, "WAITING (parking)",                 "parked"                                 },
	{0x2a1, "TIMED_WAITING (parking)",           "parked, with a time-out"                },
	{0x401, "BLOCKED (on object monitor)",       "blocked on a monitor"                   },
};

/** Threads of the VM that run no Java, by the name HotSpot gives them (kernel: 15 bytes). */
static const char *const vm_thread_names[] = {
	"VM Thread",  "VM Periodic Tas", "GC Thread#", "G1 Main Marker",  "G1 Conc#",
	"G1 Refine#", "G1 Service",      "G1 Young R", "G1 Young Remset", "ParGC Thread#",
	"ZDirector",  "ZDriver",         "ZWorker",    "ZStat",           "ZUncommitter",
	"ZUnmapper",  "XDirector",       "XDriver",    "XWorker",         "XStat",
	"Shenandoah", "Concurrent Mark", "CMS Main",   "Gang worker#",    "GC task thread#",
	"G1 Concurr", "G1 Main Concurr",
};

// ---- the list

static struct hs_err *read_smr_list(struct hs_jvm *jvm, hs_addr **ret, size_t *count_ret)
{
	const struct hs_layout *layout = &jvm->layout;
	struct hs_err *err;
	hs_addr list, threads;
	uint32_t count;

	err = hs_target_read_u64(jvm->target, hs_layout_static(layout, HS_F_thread_list), &list);
	if (err)
		return err;
	err = hs_target_read_u32(jvm->target,
	                         list + hs_layout_offset(layout, HS_F_thread_list_length), &count);
	if (err)
		return err;
	err = hs_target_read_u64(
		jvm->target, list + hs_layout_offset(layout, HS_F_thread_list_threads), &threads);
	if (err)
		return err;
	if (count > HS_MAX_THREADS)
		return hs_err_new(HS_ERR_BAD_DATA, "ThreadsList at 0x%" PRIx64 " has %u entries",
		                  list, count);
	hs_addr *addrs = hs_arena_calloc(jvm->arena, count ? count : 1, sizeof(*addrs));
	if (!addrs)
		return hs_err_oom();
	err = hs_target_read(jvm->target, threads, addrs, count * sizeof(*addrs));
	if (err)
		return err;
	*ret = addrs;
	*count_ret = count;
	return NULL;
}

/** 8 and 11: a linked list, newest first. */
static struct hs_err *read_linked_list(struct hs_jvm *jvm, hs_addr **ret, size_t *count_ret)
{
	HS_VEC(hs_addr) addrs = {0};
	struct hs_list_walk walk = {0};
	struct hs_err *err;
	hs_addr thread;

	err = hs_target_read_u64(jvm->target, hs_layout_static(&jvm->layout, HS_F_thread_list_head),
	                         &thread);
	if (err)
		return err;
	while (thread) {
		if (hs_list_walk_ends(&walk, thread, HS_MAX_THREADS))
			return hs_err_new(HS_ERR_BAD_DATA, "the list of JavaThreads has no end");
		hs_addr *slot = hs_vec_push(jvm->arena, &addrs);
		if (!slot)
			return hs_err_oom();
		*slot = thread;
		err = hs_target_read_u64(jvm->target,
		                         thread + hs_layout_offset(&jvm->layout, HS_F_thread_next),
		                         &thread);
		if (err)
			return err;
	}
	*ret = addrs.items;
	*count_ret = addrs.len;
	return NULL;
}

static struct hs_err *read_list(struct hs_jvm *jvm, hs_addr **ret, size_t *count_ret)
{
	if (hs_layout_has(&jvm->layout, HS_F_thread_list_head))
		return read_linked_list(jvm, ret, count_ret);
	if (hs_layout_has(&jvm->layout, HS_F_thread_list) &&
	    hs_layout_has(&jvm->layout, HS_F_thread_list_length) &&
	    hs_layout_has(&jvm->layout, HS_F_thread_list_threads))
		return read_smr_list(jvm, ret, count_ret);
	return hs_err_new(HS_ERR_UNSUPPORTED, "this release publishes no list of JavaThreads");
}

// ---- one JavaThread

/** A pointer-sized OPTIONAL field; 0 when the release has none. */
static struct hs_err *read_word(struct hs_jvm *jvm, hs_addr base, enum hs_field field,
                                uint64_t *ret)
{
	*ret = 0;
	if (!hs_layout_has(&jvm->layout, field))
		return NULL;
	return hs_target_read_u64(jvm->target, base + hs_layout_offset(&jvm->layout, field), ret);
}

static struct hs_err *read_state(struct hs_jvm *jvm, struct hs_jthread *jthread)
{
	struct hs_err *err;
	uint32_t raw;

	jthread->state = HS_JSTATE_UNKNOWN;
	if (!hs_layout_has(&jvm->layout, HS_F_thread_state))
		return NULL;
	err = hs_target_read_u32(jvm->target,
	                         jthread->addr + hs_layout_offset(&jvm->layout, HS_F_thread_state),
	                         &raw);
	if (err)
		return err;
	for (size_t i = 0; i < sizeof(state_constants) / sizeof(state_constants[0]); i++) {
		int64_t value;

		if (hs_vmstructs_constant(jvm->vm, state_constants[i].constant, &value) &&
		    value == (int64_t)raw) {
			jthread->state = state_constants[i].state;
			jthread->in_transition = state_constants[i].in_transition;
			break;
		}
	}
	return NULL;
}

static struct hs_err *read_tid(struct hs_jvm *jvm, struct hs_jthread *jthread)
{
	struct hs_err *err;
	hs_addr osthread;
	uint32_t tid;

	err = read_word(jvm, jthread->addr, HS_F_thread_osthread, &osthread);
	if (err)
		return err;
	if (!osthread)
		return NULL;
	// gettid() as seen inside the JVM's own pid namespace (osThread_linux.hpp).
	err = hs_target_read_u32(jvm->target,
	                         osthread + hs_layout_offset(&jvm->layout, HS_F_osthread_thread_id),
	                         &tid);
	if (!err && tid <= INT32_MAX)
		jthread->tid = (pid_t)tid;
	return err;
}

static struct hs_err *read_anchor(struct hs_jvm *jvm, struct hs_jthread *jthread)
{
	struct hs_err *err;
	hs_addr anchor = jthread->addr + hs_layout_offset(&jvm->layout, HS_F_thread_anchor);

	err = read_word(jvm, anchor, HS_F_anchor_last_java_sp, &jthread->last_java_sp);
	if (err)
		return err;
	err = read_word(jvm, anchor, HS_F_anchor_last_java_fp, &jthread->last_java_fp);
	if (err)
		return err;
	return read_word(jvm, anchor, HS_F_anchor_last_java_pc, &jthread->last_java_pc);
}

/** Words of a JavaThread. */
static struct hs_err *read_native_fields(struct hs_jvm *jvm, struct hs_jthread *jthread)
{
	const struct {
		enum hs_field field;
		uint64_t *ret;
	} words[] = {
		{HS_F_thread_stack_base,      &jthread->stack_base     },
		{HS_F_thread_stack_size,      &jthread->stack_size     },
		{HS_F_thread_pending_monitor, &jthread->pending_monitor},
		{HS_F_thread_waiting_monitor, &jthread->waiting_monitor},
	};
	struct hs_err *err;
	uint64_t id;

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		err = read_word(jvm, jthread->addr, words[i].field, words[i].ret);
		if (err)
			return err;
	}
	if (jthread->stack_size > jthread->stack_base)
		return hs_err_new(HS_ERR_BAD_DATA, "its stack size makes no sense");
	err = read_word(jvm, jthread->addr, HS_F_thread_owner_id, &id);
	if (err)
		return err;
	jthread->monitor_owner_id = (int64_t)id;
	err = read_tid(jvm, jthread);
	if (err)
		return err;
	err = read_state(jvm, jthread);
	if (err)
		return err;
	return read_anchor(jvm, jthread);
}

// ---- its java.lang.Thread

/** An int field that not every release has: *ret keeps its value then. */
static struct hs_err *optional_int(struct hs_jvm *jvm, hs_addr oop, const char *field, int64_t *ret)
{
	struct hs_err *err = hs_oop_get_int(jvm, oop, field, ret);

	hs_err_catch(&err, HS_ERR_ABSENT);
	return err;
}

static struct hs_err *optional_oop(struct hs_jvm *jvm, hs_addr oop, const char *field, hs_addr *ret)
{
	struct hs_err *err = hs_oop_get_oop(jvm, oop, field, ret);

	hs_err_catch(&err, HS_ERR_ABSENT);
	return err;
}

/** Does the thread object name this JavaThread? 0 before it has started and after it has ended. */
static struct hs_err *check_thread_oop(struct hs_jvm *jvm, struct hs_jthread *jthread)
{
	int64_t eetop = 0;
	struct hs_err *err;

	if (!jthread->thread_oop)
		return NULL; // it is being attached
	err = optional_int(jvm, jthread->thread_oop, "eetop", &eetop);
	if (!err && eetop && (hs_addr)eetop != jthread->addr)
		err = hs_err_new(HS_ERR_BAD_DATA, "it belongs to JavaThread 0x%" PRIx64,
		                 (hs_addr)eetop);
	if (err)
		jthread->thread_oop = 0;
	return err;
}

/** Thread objects of a JavaThread, and what the VM itself keeps in them. */
static struct hs_err *read_thread_oops(struct hs_jvm *jvm, struct hs_jthread *jthread)
{
	struct hs_err *err;

	if (!hs_layout_has(&jvm->layout, HS_F_thread_oop))
		return NULL;
	err = hs_oop_load_handle(jvm, jthread->addr, HS_F_thread_oop, &jthread->thread_oop);
	if (!err)
		err = check_thread_oop(jvm, jthread);
	if (err || !jthread->thread_oop)
		return err;
	if (hs_layout_has(&jvm->layout, HS_F_thread_vthread)) {
		hs_addr vthread = 0;

		err = hs_oop_load_handle(jvm, jthread->addr, HS_F_thread_vthread, &vthread);
		if (err)
			return err;
		// _vthread is _threadObj when no virtual thread is mounted (javaThread.hpp, 21).
		if (vthread != jthread->thread_oop)
			jthread->vthread_oop = vthread;
	}
	hs_addr current = jthread->vthread_oop ? jthread->vthread_oop : jthread->thread_oop;
	return optional_oop(jvm, current, "parkBlocker", &jthread->park_blocker);
}

/** What people know a thread by. daemon, priority and threadStatus moved to `holder` in 19. */
static struct hs_err *describe(struct hs_jvm *jvm, struct hs_jthread *jthread,
                               struct hs_thread *thread)
{
	hs_addr oop = jthread->thread_oop, holder = oop, name = 0;
	int64_t daemon = 0, priority = 0, status = 0;
	const char *text = NULL;
	struct hs_err *err;

	if (!oop)
		return NULL;
	err = optional_oop(jvm, oop, "name", &name);
	if (err)
		return err;
	err = hs_oop_text(jvm, name, HS_MAX_NAME, &text, NULL);
	if (err)
		return err;
	if (text && thread)
		hs_snapshot_name_thread(jvm->snapshot, thread, text);
	err = optional_oop(jvm, oop, "holder", &holder);
	if (err)
		return err;
	if (!holder)
		return NULL; // a thread that is being attached
	err = optional_int(jvm, holder, "threadStatus", &status);
	if (err)
		return err;
	jthread->thread_status = (uint32_t)status;
	if (!thread)
		return NULL;
	err = optional_int(jvm, oop, "tid", &thread->java_tid);
	if (err)
		return err;
	err = optional_int(jvm, holder, "daemon", &daemon);
	if (err)
		return err;
	thread->is_daemon = daemon != 0;
	err = optional_int(jvm, holder, "priority", &priority);
	if (err)
		return err;
	thread->priority = priority > 0 && priority <= 10 ? (int)priority : 0;
	return NULL;
}

/** A thread that Java calls RUNNABLE: what is it doing? NULL: what the kernel says stands. */
static const char *runnable_words(const struct hs_jthread *jthread)
{
	if (jthread->pending_monitor)
		return "blocked on a monitor";
	switch (jthread->state) {
	case HS_JSTATE_JAVA:
		return "running Java code";
	case HS_JSTATE_BLOCKED:
		return "waiting inside the VM";
	case HS_JSTATE_VM:
		return "running inside the VM";
	case HS_JSTATE_NEW:
		return "starting";
	case HS_JSTATE_NATIVE:
	case HS_JSTATE_UNKNOWN:
		break;
	}
	return NULL;
}

static void set_state_words(const struct hs_jthread *jthread, struct hs_thread *thread)
{
	const char *words = NULL;

	thread->java_state = NULL;
	for (size_t i = 0; i < sizeof(status_names) / sizeof(status_names[0]); i++) {
		if (status_names[i].status != jthread->thread_status)
			continue;
		// 0 is also what stands for "could not be read".
		if (!jthread->thread_status && jthread->state != HS_JSTATE_NEW)
			continue;
		thread->java_state = status_names[i].jstack;
		words = status_names[i].words;
	}
	if (!words || jthread->pending_monitor)
		words = runnable_words(jthread);
	if (words)
		thread->state = words;
	else if (!thread->state)
		thread->state = "in native code";
}

// ---- collecting

/** Where the kernel's threads stand in their stacks, ascending. */
struct stack_positions {
	struct stack_position {
		hs_addr sp;
		pid_t tid;
	} * items;
	size_t len;
};

static int compare_positions(const void *a, const void *b)
{
	const struct stack_position *x = a, *y = b;

	return (x->sp > y->sp) - (x->sp < y->sp);
}

static struct hs_err *read_positions(struct hs_jvm *jvm, struct stack_positions *positions)
{
	size_t count;
	const struct hs_lwp *lwps = hs_target_lwps(jvm->target, &count);

	positions->items = hs_arena_calloc(jvm->arena, count + 1, sizeof(*positions->items));
	if (!positions->items)
		return hs_err_oom();
	for (size_t i = 0; i < count; i++)
		if (lwps[i].has_regs && hs_regs_has(&lwps[i].regs, HS_REG_SP))
			positions->items[positions->len++] =
				(struct stack_position){lwps[i].regs.value[HS_REG_SP], lwps[i].tid};
	qsort(positions->items, positions->len, sizeof(*positions->items), compare_positions);
	return NULL;
}

/**
 * The kernel thread that stands in the stack of a JavaThread; 0: none. It is a second witness
 * beside OSThread::_thread_id, which may be damaged.
 */
static pid_t tid_by_stack(const struct stack_positions *positions, const struct hs_jthread *jthread)
{
	hs_addr start = jthread->stack_base - jthread->stack_size;
	size_t low = 0, high = positions->len;

	if (!jthread->stack_size)
		return 0;
	while (low < high) { // the first one at or above the start
		size_t middle = low + (high - low) / 2;

		if (positions->items[middle].sp >= start)
			high = middle;
		else
			low = middle + 1;
	}
	if (low == positions->len || positions->items[low].sp >= jthread->stack_base)
		return 0;
	return positions->items[low].tid;
}

/** Does the kernel thread of its id stand in its stack? */
static bool stands_in_stack(const struct hs_jvm *jvm, const struct hs_jthread *jthread)
{
	const struct hs_lwp *lwp = hs_jthread_lwp(jvm, jthread);

	return lwp && lwp->has_regs && hs_regs_has(&lwp->regs, HS_REG_SP) &&
	       hs_addr_in(lwp->regs.value[HS_REG_SP], jthread->stack_base - jthread->stack_size,
	                  jthread->stack_base);
}

/** It is in the list, so it has a kernel thread: from before it is added until it is removed. */
static void lose_lwp(struct hs_jvm *jvm, struct hs_jthread *jthread, struct hs_err *err)
{
	char subject[64];

	hs_jvm_blind(jvm, err);
	snprintf(subject, sizeof(subject), "JavaThread 0x%" PRIx64, jthread->addr);
	hs_snapshot_gap(jvm->snapshot, subject, "what this Java thread does", err);
	jthread->thread = HS_NONE;
}

/** Match a JavaThread with its kernel thread. NULL: a gap says why there is none. */
static struct hs_thread *match_lwp(struct hs_jvm *jvm, const struct stack_positions *positions,
                                   struct hs_jthread *jthread)
{
	struct hs_snapshot *snapshot = jvm->snapshot;
	pid_t by_stack = stands_in_stack(jvm, jthread) ? 0 : tid_by_stack(positions, jthread);

	if (by_stack)
		jthread->tid = by_stack;
	jthread->thread = HS_NONE;
	if (jthread->tid > 0)
		jthread->thread = hs_snapshot_thread_by_tid(snapshot, jthread->tid);
	if (jthread->thread == HS_NONE) {
		lose_lwp(jvm, jthread,
		         hs_err_new(HS_ERR_BAD_DATA, "there is no thread %d of the process",
		                    (int)jthread->tid));
		return NULL;
	}
	struct hs_thread *thread = &snapshot->threads.items[jthread->thread];
	if (thread->vm_thread) {
		lose_lwp(jvm, jthread,
		         hs_err_new(HS_ERR_BAD_DATA,
		                    "thread %d already belongs to JavaThread 0x%" PRIx64,
		                    (int)jthread->tid, thread->vm_thread));
		return NULL;
	}
	thread->kind = HS_THREAD_JAVA;
	thread->vm_thread = jthread->addr;
	return thread;
}

static struct hs_err *collect_one(struct hs_jvm *jvm, const struct stack_positions *positions,
                                  hs_addr addr)
{
	struct hs_jthread *jthread = hs_vec_push(jvm->arena, &jvm->jthreads);
	struct hs_err *err;

	if (!jthread)
		return hs_err_oom();
	*jthread = (struct hs_jthread){.addr = addr, .thread = HS_NONE, .vthread = HS_NONE};
	err = read_native_fields(jvm, jthread);
	if (err) {
		jvm->jthreads.len--;
		hs_jvm_blind(jvm, err);
		return hs_jvm_gap(jvm, err, "this Java thread is missing", "JavaThread 0x%" PRIx64,
		                  addr);
	}
	struct hs_thread *thread = match_lwp(jvm, positions, jthread);
	err = read_thread_oops(jvm, jthread);
	if (!err)
		err = describe(jvm, jthread, thread);
	hs_jvm_blind(jvm, err); // what it is parked for is not known
	err = hs_jvm_gap(jvm, err, "its name and Java state", "java.lang.Thread of tid %d",
	                 (int)jthread->tid);
	if (thread)
		set_state_words(jthread, thread);
	return err;
}

static bool is_vm_thread(const struct hs_thread *thread)
{
	// os_linux.cpp: every thread that HotSpot makes, Java or not, starts in one function of
	// it; java_start in 8, and without .symtab it has no name.
	static const char *const starts[] = {"thread_native_entry", "java_start(", "libjvm.so+"};
	for (size_t i = 0; thread->start_routine && i < sizeof(starts) / sizeof(*starts); i++)
		if (!strncmp(thread->start_routine, starts[i], strlen(starts[i])))
			return true;
	for (size_t i = 0; thread->name && i < sizeof(vm_thread_names) / sizeof(*vm_thread_names);
	     i++)
		if (!strncmp(thread->name, vm_thread_names[i], strlen(vm_thread_names[i])))
			return true;
	return false;
}

static void mark_vm_threads(struct hs_jvm *jvm)
{
	hs_vec_each (thread, &jvm->snapshot->threads)
		if (thread->kind == HS_THREAD_NATIVE && is_vm_thread(thread))
			thread->kind = HS_THREAD_VM;
}

// ---- index

static int compare_stacks(const void *a, const void *b)
{
	const struct hs_jthread *x = *(const struct hs_jthread *const *)a;
	const struct hs_jthread *y = *(const struct hs_jthread *const *)b;

	return (x->stack_base > y->stack_base) - (x->stack_base < y->stack_base);
}

static int compare_oops(const void *a, const void *b)
{
	const struct thread_oop_ref *x = a, *y = b;

	return (x->oop > y->oop) - (x->oop < y->oop);
}

static struct hs_err *build_index(struct hs_jvm *jvm)
{
	size_t count = jvm->jthreads.len, num_threads = jvm->snapshot->threads.len;
	struct hs_jthread_index *index = hs_arena_alloc(jvm->arena, sizeof(*index));

	if (!index)
		return hs_err_oom();
	index->by_stack = hs_arena_calloc(jvm->arena, count + 1, sizeof(*index->by_stack));
	index->by_oop = hs_arena_calloc(jvm->arena, 2 * count + 1, sizeof(*index->by_oop));
	index->by_thread = hs_arena_calloc(jvm->arena, num_threads + 1, sizeof(*index->by_thread));
	if (!index->by_stack || !index->by_oop || !index->by_thread)
		return hs_err_oom();
	index->num_threads = num_threads;
	hs_vec_each (jthread, &jvm->jthreads) {
		if (!hs_map64_put(&jvm->jthread_by_addr, jthread->addr, jthread))
			return hs_err_oom();
		if (jthread->stack_size)
			index->by_stack[index->num_stacks++] = jthread;
		if (jthread->thread_oop)
			index->by_oop[index->num_oops++] =
				(struct thread_oop_ref){jthread->thread_oop, jthread};
		if (jthread->vthread_oop)
			index->by_oop[index->num_oops++] =
				(struct thread_oop_ref){jthread->vthread_oop, jthread};
		if (jthread->thread < num_threads)
			index->by_thread[jthread->thread] = jthread;
	}
	qsort(index->by_stack, index->num_stacks, sizeof(*index->by_stack), compare_stacks);
	qsort(index->by_oop, index->num_oops, sizeof(*index->by_oop), compare_oops);
	jvm->jthread_index = index;
	return NULL;
}

struct hs_err *hs_jvm_collect_threads(struct hs_jvm *jvm)
{
	struct hs_err *err;
	struct stack_positions positions = {0};
	hs_addr *addrs = NULL;
	size_t count = 0;

	err = read_list(jvm, &addrs, &count);
	if (err)
		return hs_err_wrap(err, "the JVM's list of threads");
	err = read_positions(jvm, &positions);
	if (err)
		return err;
	for (size_t i = 0; i < count; i++) {
		err = collect_one(jvm, &positions, addrs[i]);
		if (err)
			return err;
	}
	mark_vm_threads(jvm);
	err = build_index(jvm);
	return err ? err : hs_vthreads_collect(jvm);
}

// ---- lookups

const struct hs_jthread *hs_jthread_by_stack(const struct hs_jvm *jvm, hs_addr addr)
{
	const struct hs_jthread_index *index = jvm->jthread_index;
	size_t low = 0, high = index ? index->num_stacks : 0;

	// The first stack whose base is above addr is the only one that can hold it.
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (index->by_stack[middle]->stack_base > addr)
			high = middle;
		else
			low = middle + 1;
	}
	if (!index || low == index->num_stacks)
		return NULL;
	const struct hs_jthread *jthread = index->by_stack[low];
	return addr >= jthread->stack_base - jthread->stack_size ? jthread : NULL;
}

const struct hs_jthread *hs_jthread_by_addr(const struct hs_jvm *jvm, hs_addr jthread)
{
	return jthread ? hs_map64_get(&jvm->jthread_by_addr, jthread) : NULL;
}

const struct hs_jthread *hs_jthread_by_index(const struct hs_jvm *jvm, uint32_t thread)
{
	const struct hs_jthread_index *index = jvm->jthread_index;

	if (index && thread < index->num_threads)
		return index->by_thread[thread];
	const struct hs_vthread *vthread = hs_vthread_by_index(jvm, thread);
	return vthread ? vthread->carrier : NULL;
}

const struct hs_jthread *hs_jthread_by_oop(const struct hs_jvm *jvm, hs_addr oop)
{
	const struct hs_jthread_index *index = jvm->jthread_index;
	struct thread_oop_ref key = {.oop = oop};

	if (!oop || !index || !index->num_oops)
		return NULL;
	const struct thread_oop_ref *ref =
		bsearch(&key, index->by_oop, index->num_oops, sizeof(*index->by_oop), compare_oops);
	return ref ? ref->thread : NULL;
}

const struct hs_jthread *hs_jthread_of_object(struct hs_jvm *jvm, hs_addr oop)
{
	const struct hs_jthread *jthread = hs_jthread_by_oop(jvm, oop);
	struct hs_err *err;
	int64_t eetop = 0;

	if (jthread || !oop)
		return jthread;
	err = hs_oop_get_int(jvm, oop, "eetop", &eetop);
	hs_err_free(err); // no thread object, or no memory any more: nobody's
	return hs_jthread_by_addr(jvm, (hs_addr)eetop);
}

static int compare_tids(const void *key, const void *lwp)
{
	pid_t a = *(const pid_t *)key, b = ((const struct hs_lwp *)lwp)->tid;

	return (a > b) - (a < b);
}

const struct hs_lwp *hs_lwp_of(const struct hs_jvm *jvm, pid_t tid)
{
	size_t count;
	const struct hs_lwp *lwps = hs_target_lwps(jvm->target, &count);

	return count ? bsearch(&tid, lwps, count, sizeof(*lwps), compare_tids) : NULL;
}

const struct hs_lwp *hs_jthread_lwp(const struct hs_jvm *jvm, const struct hs_jthread *jthread)
{
	return hs_lwp_of(jvm, jthread->tid);
}

struct hs_err *hs_jthread_native_stack(struct hs_jvm *jvm, const struct hs_jthread *jthread,
                                       const uint64_t **words_ret, size_t *count_ret)
{
	const struct hs_lwp *lwp = hs_jthread_lwp(jvm, jthread);
	struct hs_err *err;

	if (!lwp || !lwp->has_regs || !hs_regs_has(&lwp->regs, HS_REG_SP))
		return hs_err_absent();
	hs_addr start = lwp->regs.value[HS_REG_SP] & ~UINT64_C(7);
	if (jthread->last_java_sp <= start || hs_jthread_by_stack(jvm, start) != jthread ||
	    hs_jthread_by_stack(jvm, jthread->last_java_sp) != jthread)
		return hs_err_absent();
	uint64_t size = jthread->last_java_sp - start;
	if (size > HS_MAX_STACK_SCAN)
		size = HS_MAX_STACK_SCAN;
	size_t count = size / sizeof(uint64_t);
	uint64_t *words = hs_arena_calloc(jvm->arena, count + 1, sizeof(*words));
	if (!words)
		return hs_err_oom();
	err = hs_target_read(jvm->target, start, words, count * sizeof(*words));
	if (err)
		return err;
	*words_ret = words;
	*count_ret = count;
	return NULL;
}

// ---- lock stack

hs_addr hs_jthread_lock_stack_slot(const struct hs_jvm *jvm, const struct hs_jthread *jthread,
                                   size_t index)
{
	return jthread->addr + hs_layout_offset(&jvm->layout, HS_F_thread_lock_stack) +
	       hs_layout_offset(&jvm->layout, HS_F_lock_stack_base) + index * sizeof(uint64_t);
}

hs_addr hs_jthread_lock_stack_top(const struct hs_jvm *jvm, const struct hs_jthread *jthread)
{
	return jthread->addr + hs_layout_offset(&jvm->layout, HS_F_thread_lock_stack) +
	       hs_layout_offset(&jvm->layout, HS_F_lock_stack_top);
}

struct hs_err *hs_jthread_lock_stack(struct hs_jvm *jvm, const struct hs_jthread *jthread,
                                     hs_addr *objects, size_t max, size_t *count_ret)
{
	const struct hs_layout *layout = &jvm->layout;
	struct hs_err *err;
	uint32_t top;

	*count_ret = 0;
	if (!hs_layout_has(layout, HS_F_thread_lock_stack) ||
	    !hs_layout_has(layout, HS_F_lock_stack_base) ||
	    !hs_layout_has(layout, HS_F_lock_stack_top))
		return NULL;
	uint64_t stack = hs_layout_offset(layout, HS_F_thread_lock_stack);
	uint64_t base = stack + hs_layout_offset(layout, HS_F_lock_stack_base);
	// _top is a byte offset from the start of the JavaThread (lockStack.hpp, 21 to 28).
	err = hs_target_read_u32(jvm->target, hs_jthread_lock_stack_top(jvm, jthread), &top);
	if (err)
		return err;
	if (top < base || (top - base) % 8 || (top - base) / 8 > HS_MAX_LOCKS)
		return hs_err_new(HS_ERR_BAD_DATA, "LockStack of JavaThread 0x%" PRIx64 ": top %u",
		                  jthread->addr, top);
	size_t count = (top - base) / 8;
	if (count > max)
		count = max;
	// Roots of the thread: generational ZGC keeps them uncoloured (lockStack.inline.hpp).
	err = hs_target_read(jvm->target, jthread->addr + base, objects, count * sizeof(*objects));
	if (err)
		return err;
	for (size_t i = 0; i < count; i++)
		objects[i] = hs_oop_resolve(
			jvm, jvm->zgc_generational ? objects[i] : hs_oop_uncolor(jvm, objects[i]));
	*count_ret = count;
	return NULL;
}
