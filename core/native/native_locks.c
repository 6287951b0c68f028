// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Waits and holds of native code: from the futex word of a blocked thread to the pthread object it
 * belongs to, and from its owner word to the thread that holds it. Function names on the stack and
 * the layout at the word are independent witnesses: where both agree the edge is read, where only
 * one speaks it is inferred.
 */

#include <string.h>

#include "core/limits.h"
#include "core/native/data_symbols.h"
#include "core/native/glibc_sync.h"
#include "core/native/libc_locks.h"
#include "core/native/musl_sync.h"
#include "core/native/native_internal.h"
#include "core/native/syscalls.h"
#include "core/native/thread_db.h"
#include "core/native/unwind_scan.h"

/** What is the same for all threads. */
struct lock_collector {
	struct hs_native *native;
	struct hs_snapshot *snapshot;
	struct hs_syscalls syscalls;
	struct hs_pthread_layout layout;
	bool has_layout;
	unsigned glibc_minor;
};

/** One thread in a futex wait. */
struct lock_wait {
	struct lock_collector *collector;
	uint32_t thread;
	struct hs_futex_wait futex;
	struct hs_sync_site site;
	const struct hs_frame *frames;
	const struct hs_lwp *lwp;
};

static const struct hs_frame *caller_frame(const struct lock_wait *wait)
{
	return wait->site.caller == HS_NONE ? NULL : &wait->frames[wait->site.caller];
}

static bool is_called_from(const struct lock_wait *wait, const char *library)
{
	const struct hs_frame *caller = caller_frame(wait);
	const char *module = caller ? caller->location->module : NULL;
	const char *slash = module ? strrchr(module, '/') : NULL;

	return slash && strcmp(slash + 1, library) == 0;
}

/** HotSpot's own parking: jvm/ reads those waits from the VM's structures, with more meaning. */
static bool is_called_by_hotspot(const struct lock_wait *wait)
{
	if (!caller_frame(wait))
		return wait->collector->snapshot->threads.items[wait->thread].kind !=
		       HS_THREAD_NATIVE;
	return is_called_from(wait, "libjvm.so");
}

/** "pthread mutex 0x55d2c0 (lock_a in deadlock)". */
static const char *label(const struct lock_wait *wait, const char *what, hs_addr addr)
{
	struct hs_native *native = wait->collector->native;
	const char *name = hs_native_data_name(native, addr);

	return hs_arena_printf(native->arena, name ? "%s 0x%llx (%s)" : "%s 0x%llx", what,
	                       (unsigned long long)addr, name);
}

/** The resource, and whether the caller has to fill it. HS_NONE: out of memory. */
static uint32_t resource_for(const struct lock_wait *wait, enum hs_resource_kind kind, hs_addr addr,
                             bool *is_new_ret)
{
	return hs_snapshot_resource_for(wait->collector->snapshot, kind, addr, is_new_ret);
}

static void set_label(const struct lock_wait *wait, uint32_t resource, const char *text)
{
	hs_snapshot_resource(wait->collector->snapshot, resource)->label = text;
}

static void add_wait(const struct lock_wait *wait, uint32_t resource, enum hs_certainty certainty,
                     bool shared)
{
	struct hs_native *native = wait->collector->native;
	struct hs_edge edge = {
		.thread = wait->thread,
		.resource = resource,
		.frame = wait->site.frame,
		.certainty = certainty,
		// glibc gives the kernel a timeout in its timed functions only.
		.timed = wait->futex.has_timeout,
		.shared = shared,
		.read_from = hs_arena_printf(native->arena, "arguments of futex(), word 0x%llx",
	                                     (unsigned long long)wait->futex.word),
	};

	if (edge.frame == HS_NONE && wait->site.caller != HS_NONE)
		edge.frame = wait->site.caller;
	if (wait->futex.has_current)
		edge.words[0] = (struct hs_word){wait->futex.word, wait->futex.current, 4};
	hs_snapshot_add_wait(wait->collector->snapshot, &edge);
}

/** The owner word at @p word says @p tid: an edge if there is such a thread. */
static void add_hold(const struct lock_wait *wait, uint32_t resource, uint32_t holder,
                     enum hs_certainty certainty, struct hs_word word, const char *field)
{
	struct hs_native *native = wait->collector->native;

	if (holder == HS_NONE)
		return;
	struct hs_edge edge = {
		.thread = holder,
		.resource = resource,
		.frame = HS_NONE,
		.certainty = certainty,
		.read_from = hs_arena_printf(native->arena, "%s at 0x%llx", field,
	                                     (unsigned long long)word.addr),
		.words = {word},
	};
	hs_snapshot_add_hold(wait->collector->snapshot, &edge);
}

static uint32_t thread_by_tid(const struct lock_wait *wait, pid_t tid)
{
	return tid ? hs_snapshot_thread_by_tid(wait->collector->snapshot, tid) : (uint32_t)HS_NONE;
}

/** What holds the locks of a kernel thread: the virtual thread on it, if there is one. */
static uint32_t runner_of(const struct lock_wait *wait, uint32_t thread)
{
	return hs_snapshot_runner(wait->collector->snapshot, thread);
}

static uint32_t thread_by_pthread(const struct lock_wait *wait, hs_addr pthread)
{
	const struct hs_snapshot *snapshot = wait->collector->snapshot;

	for (size_t i = 0; pthread && i < snapshot->threads.len; i++) {
		if (snapshot->threads.items[i].pthread == pthread)
			return (uint32_t)i;
	}
	return HS_NONE;
}

static const char *thread_words(const struct lock_wait *wait, uint32_t thread)
{
	const struct hs_thread *record = &wait->collector->snapshot->threads.items[thread];

	if (!record->name)
		return hs_arena_printf(wait->collector->native->arena, "thread %d",
		                       (int)record->tid);
	return hs_arena_printf(wait->collector->native->arena, "\"%s\" tid %d", record->name,
	                       (int)record->tid);
}

/**
 * A join waits on the tid in the joined thread's structure, which the kernel clears at its end.
 * That place is published and the expected value is the tid: no function name is needed.
 */
static bool resolve_join(const struct lock_wait *wait)
{
	struct lock_collector *collector = wait->collector;
	uint32_t holder = thread_by_tid(wait, (pid_t)wait->futex.expected);
	enum hs_certainty certainty = HS_INFERRED;
	hs_addr pthread = 0;
	bool is_new;

	if (holder != HS_NONE && collector->has_layout) {
		pthread = collector->snapshot->threads.items[holder].pthread;
		if (pthread && pthread + collector->layout.tid == wait->futex.word)
			certainty = HS_READ;
	}
	if (certainty != HS_READ && wait->site.call != HS_SYNC_JOIN)
		return false;

	uint32_t resource =
		resource_for(wait, HS_RES_PTHREAD_JOIN,
	                     certainty == HS_READ ? pthread : wait->futex.word, &is_new);
	if (resource == HS_NONE)
		return true;
	if (is_new) {
		set_label(wait, resource,
		          holder == HS_NONE
		                  ? "the end of a thread"
		                  : hs_arena_printf(collector->native->arena, "the end of %s",
		                                    thread_words(wait, holder)));
		hs_snapshot_resource(collector->snapshot, resource)->owner_tid =
			(pid_t)wait->futex.expected;
	}
	add_wait(wait, resource, certainty, false);
	add_hold(wait, resource, holder, certainty,
	         (struct hs_word){wait->futex.word, wait->futex.expected, 4},
	         "struct pthread, tid");
	return true;
}

static void describe_mutex(const struct lock_wait *wait, uint32_t resource,
                           const struct hs_sync_mutex *mutex)
{
	struct lock_collector *collector = wait->collector;
	const char *name = hs_linker_lock_name(collector->native, mutex->address);

	set_label(wait, resource, name ? name : label(wait, "pthread mutex", mutex->address));
	hs_snapshot_detail(collector->snapshot, resource, "mutex kind", "%s",
	                   hs_sync_mutex_kind(collector->native->arena, mutex));
	if (hs_sync_mutex_is_recursive(mutex) && mutex->count)
		hs_snapshot_detail(collector->snapshot, resource, "locked", "%u times",
		                   mutex->count);
}

/** Who holds it cannot be told. In memory of a program that ran on, a thread that began or ended
 * just now; in a core, a gap. */
static void note_stranger(const struct lock_wait *wait, uint32_t resource, pid_t owner)
{
	struct hs_snapshot *snapshot = wait->collector->snapshot;

	if (snapshot->info.ran_on)
		return;
	snapshot->blind = true;
	hs_snapshot_gapf(snapshot,
	                 hs_snapshot_resource(snapshot, resource)->label ?: "pthread mutex",
	                 "which thread holds it",
	                 "its owner %d is no thread of this core: it has ended, is of another "
	                 "process, or is numbered in another pid namespace",
	                 owner);
}

/** @p certainty is that of the wait: READ when a function name says that it is a mutex. */
static void add_mutex(const struct lock_wait *wait, const struct hs_sync_mutex *mutex,
                      enum hs_certainty certainty)
{
	struct hs_word word = {.size = 4};
	uint32_t value;
	bool is_new;

	pid_t owner = hs_sync_mutex_owner(mutex, &word.addr, &value);
	word.value = value;
	uint32_t resource = resource_for(wait, HS_RES_PTHREAD_MUTEX, mutex->address, &is_new);
	if (resource == HS_NONE)
		return;
	if (is_new)
		describe_mutex(wait, resource, mutex);
	if (is_new && owner && thread_by_tid(wait, owner) == HS_NONE)
		note_stranger(wait, resource, owner);
	hs_snapshot_resource(wait->collector->snapshot, resource)->owner_tid = owner;
	add_wait(wait, resource, certainty, false);
	add_hold(wait, resource, runner_of(wait, thread_by_tid(wait, owner)), certainty, word,
	         word.addr == mutex->address ? "pthread_mutex_t, __lock"
	                                     : "pthread_mutex_t, __owner");
}

/** The function says mutex. Without a plausible one at the word the wait is only inferred. */
static void resolve_mutex(const struct lock_wait *wait)
{
	struct hs_sync_mutex mutex;
	bool is_new;

	if (hs_sync_mutex_read(wait->collector->native->target, wait->futex.word, &mutex)) {
		hs_addr word;
		uint32_t value;

		// The VM's own mutexes matter when someone holds them; else they are noise.
		if (!is_called_by_hotspot(wait) || hs_sync_mutex_owner(&mutex, &word, &value))
			add_mutex(wait, &mutex, HS_READ);
		return;
	}
	if (is_called_by_hotspot(wait))
		return;
	uint32_t resource = resource_for(wait, HS_RES_PTHREAD_MUTEX, wait->futex.word, &is_new);
	if (resource == HS_NONE)
		return;
	if (is_new) {
		set_label(wait, resource, label(wait, "pthread mutex", wait->futex.word));
		hs_snapshot_detail(wait->collector->snapshot, resource, "damaged",
		                   "its fields make no sense");
	}
	add_wait(wait, resource, HS_INFERRED, false);
}

static void describe_rwlock(const struct lock_wait *wait, uint32_t resource,
                            const struct hs_sync_rwlock *rwlock)
{
	struct hs_snapshot *snapshot = wait->collector->snapshot;

	set_label(wait, resource, label(wait, "pthread rwlock", rwlock->address));
	if (rwlock->has_waiting_writer)
		hs_snapshot_detail(snapshot, resource, "writer", "waits for the readers to leave");
	if (!rwlock->num_readers)
		return;
	hs_snapshot_detail(snapshot, resource, "readers", "%u", rwlock->num_readers);
	hs_snapshot_gapf(snapshot,
	                 hs_snapshot_resource(snapshot, resource)->label ?: "pthread rwlock",
	                 "which threads hold it for reading",
	                 "glibc keeps only the number of readers, %u", rwlock->num_readers);
}

static void add_rwlock(const struct lock_wait *wait, const struct hs_sync_rwlock *rwlock,
                       enum hs_certainty certainty)
{
	bool is_new;
	uint32_t resource = resource_for(wait, HS_RES_PTHREAD_RWLOCK, rwlock->address, &is_new);

	if (resource == HS_NONE)
		return;
	if (is_new)
		describe_rwlock(wait, resource, rwlock);
	hs_snapshot_resource(wait->collector->snapshot, resource)->owner_tid =
		(pid_t)rwlock->writer;
	add_wait(wait, resource, certainty, wait->site.call == HS_SYNC_RDLOCK);
	add_hold(wait, resource, runner_of(wait, thread_by_tid(wait, (pid_t)rwlock->writer)),
	         certainty, (struct hs_word){rwlock->writer_word, rwlock->writer, 4},
	         "pthread_rwlock_t, __cur_writer");
}

/** An object without a holder. */
static uint32_t add_ownerless(const struct lock_wait *wait, enum hs_resource_kind kind,
                              const char *what, hs_addr addr, enum hs_certainty certainty)
{
	uint32_t resource = resource_for(wait, kind, addr, NULL);

	if (resource == HS_NONE)
		return resource;
	if (!hs_snapshot_resource(wait->collector->snapshot, resource)->label)
		set_label(wait, resource, label(wait, what, addr));
	add_wait(wait, resource, certainty, false);
	return resource;
}

static void resolve_rwlock(const struct lock_wait *wait)
{
	struct hs_sync_rwlock rwlock;

	if (hs_sync_rwlock_read(wait->collector->native->target, &wait->futex, wait->site.call,
	                        &rwlock))
		add_rwlock(wait, &rwlock, HS_READ);
	else
		add_ownerless(wait, HS_RES_PTHREAD_RWLOCK, "pthread rwlock near", wait->futex.word,
		              HS_INFERRED);
}

static void resolve_cond(const struct lock_wait *wait)
{
	uint32_t waiters;
	hs_addr cond;

	if (!hs_sync_cond_find(wait->collector->native->target, wait->futex.word,
	                       wait->collector->glibc_minor, &cond, &waiters)) {
		add_ownerless(wait, HS_RES_PTHREAD_COND, "pthread condition near", wait->futex.word,
		              HS_INFERRED);
		return;
	}
	uint32_t resource =
		add_ownerless(wait, HS_RES_PTHREAD_COND, "pthread condition", cond, HS_READ);
	hs_snapshot_detail(wait->collector->snapshot, resource, "waiters", "%u", waiters);
}

static void resolve_sem(const struct lock_wait *wait, enum hs_certainty by_name)
{
	uint32_t waiters;
	bool is_sem = hs_sync_sem_read(wait->collector->native->target, wait->futex.word, &waiters);

	uint32_t resource = add_ownerless(wait, HS_RES_SEMAPHORE, "semaphore", wait->futex.word,
	                                  is_sem ? by_name : HS_INFERRED);
	if (is_sem)
		hs_snapshot_detail(wait->collector->snapshot, resource, "waiters", "%u", waiters);
}

static void resolve_barrier(const struct lock_wait *wait)
{
	struct hs_sync_barrier barrier;

	if (!hs_sync_barrier_read(wait->collector->native->target, wait->futex.word, &barrier)) {
		add_ownerless(wait, HS_RES_FUTEX, "pthread barrier near", wait->futex.word,
		              HS_INFERRED);
		return;
	}
	uint32_t resource =
		add_ownerless(wait, HS_RES_FUTEX, "pthread barrier", barrier.address, HS_READ);
	hs_snapshot_detail(wait->collector->snapshot, resource, "arrived", "%u of %u",
	                   barrier.arrived, barrier.needed);
}

/** Locks inside of libc count as mutexes: they have the same meaning to whoever waits. */
static void resolve_libc_lock(const struct lock_wait *wait, enum hs_certainty certainty)
{
	bool is_new;
	struct hs_libc_lock lock = hs_libc_lock_describe(wait->collector->native, wait->futex.word,
	                                                 wait->site.api_function);
	uint32_t holder = runner_of(wait, thread_by_pthread(wait, lock.owner));
	uint32_t resource = resource_for(wait, HS_RES_PTHREAD_MUTEX, wait->futex.word, &is_new);

	if (resource == HS_NONE)
		return;
	if (is_new)
		set_label(wait, resource, lock.label);
	add_wait(wait, resource, certainty, false);
	if (holder == HS_NONE)
		return;
	hs_snapshot_resource(wait->collector->snapshot, resource)->owner_tid =
		wait->collector->snapshot->threads.items[holder].tid;
	add_hold(wait, resource, holder, HS_READ, (struct hs_word){lock.owner_word, lock.owner, 8},
	         "stdio lock, owner");
}

/** No function name helps: only a layout that fits well is believed, and only as inferred. */
static void resolve_by_layout(const struct lock_wait *wait)
{
	enum {
		LOCKED_WITH_WAITERS = 2, // lowlevellock.h
	};
	struct hs_target *target = wait->collector->native->target;
	struct hs_sync_mutex mutex;
	struct hs_sync_rwlock rwlock;
	uint32_t waiters;
	hs_addr word;
	uint32_t value;
	// The kernel's operation is a witness of its own.
	bool is_pi = wait->futex.op == HS_FUTEX_LOCK_PI || wait->futex.op == HS_FUTEX_LOCK_PI2;
	// A function of libc without a name took us here, not one of the program's own.
	bool is_in_libc = wait->site.caller != HS_NONE && wait->site.caller > 0;

	if (hs_sync_mutex_read(target, wait->futex.word, &mutex) && mutex.num_users &&
	    (is_pi || mutex.lock == wait->futex.expected) &&
	    thread_by_tid(wait, hs_sync_mutex_owner(&mutex, &word, &value)) != HS_NONE)
		add_mutex(wait, &mutex, is_pi ? HS_READ : HS_INFERRED);
	else if (hs_sync_rwlock_read(target, &wait->futex, HS_SYNC_NONE, &rwlock) &&
	         thread_by_tid(wait, (pid_t)rwlock.writer) != HS_NONE)
		add_rwlock(wait, &rwlock, HS_INFERRED);
	else if (is_in_libc && wait->futex.op == HS_FUTEX_WAIT_BITSET && !wait->futex.expected &&
	         hs_sync_sem_read(target, wait->futex.word, &waiters))
		resolve_sem(wait, HS_INFERRED);
	else if (is_in_libc && wait->site.api_function && wait->futex.op == HS_FUTEX_WAIT &&
	         wait->futex.expected == LOCKED_WITH_WAITERS)
		resolve_libc_lock(wait, HS_INFERRED);
	else
		add_ownerless(wait, HS_RES_FUTEX, "futex", wait->futex.word, HS_READ);
}

/**
 * The frame in which @p thread runs what @p wait waits for: the function given to pthread_once(),
 * or the one with the C++ static that the waiter has called too. HS_NONE: it does not.
 */
static uint32_t running_frame(const struct lock_wait *wait, const struct hs_thread *thread)
{
	const struct hs_frame *caller = caller_frame(wait);
	struct hs_sync_site site;

	hs_sync_classify(thread->frames, thread->num_frames, &site);
	if (site.call == wait->site.call) // it waits for another thread, too
		return HS_NONE;
	for (uint32_t i = 1; i < thread->num_frames; i++) {
		const struct hs_location *location = thread->frames[i].location;

		if (!location->function)
			continue;
		if (wait->site.call == HS_SYNC_ONCE
		            ? hs_sync_call_of(location->function) == HS_SYNC_ONCE
		            : caller && caller->location->function &&
		                      !strcmp(caller->location->function, location->function))
			return i;
	}
	return HS_NONE;
}

/** One-time initialization does not record who runs it: if only one thread can be, it is that. */
static void resolve_once(const struct lock_wait *wait, const char *what)
{
	const struct hs_snapshot *snapshot = wait->collector->snapshot;
	uint32_t runner = HS_NONE, frame = HS_NONE;
	bool is_new;
	uint32_t resource = resource_for(wait, HS_RES_FUTEX, wait->futex.word, &is_new);

	add_ownerless(wait, HS_RES_FUTEX, what, wait->futex.word, HS_READ);
	if (!is_new) // the first waiter has looked for the runner
		return;
	for (size_t i = 0; i < snapshot->threads.len; i++) {
		uint32_t found = running_frame(wait, &snapshot->threads.items[i]);
		if (found == HS_NONE)
			continue;
		if (runner != HS_NONE)
			return;
		runner = (uint32_t)i;
		frame = found;
	}
	if (runner == HS_NONE || resource == HS_NONE)
		return;
	struct hs_edge edge = {
		.thread = runner,
		.resource = resource,
		.frame = frame,
		.certainty = HS_INFERRED,
		.read_from = "the only thread whose stack shows that initialization",
	};
	hs_snapshot_add_hold(wait->collector->snapshot, &edge);
}

// ---- musl

/** It waits in the joined thread's structure: the place is known, and there is such a thread. */
static bool resolve_musl_join(const struct lock_wait *wait)
{
	struct hs_target *target = wait->collector->native->target;
	pid_t tid = 0;
	hs_addr pthread = hs_musl_joined(target, wait->futex.word, &tid);
	bool is_new;

	if (!pthread || !hs_musl_is_thread_at(target, pthread, tid))
		return false;
	uint32_t holder = thread_by_tid(wait, tid);
	uint32_t resource = resource_for(wait, HS_RES_PTHREAD_JOIN, pthread, &is_new);
	if (resource == HS_NONE || holder == HS_NONE)
		return true;
	if (is_new) {
		set_label(wait, resource,
		          hs_arena_printf(wait->collector->native->arena, "the end of %s",
		                          thread_words(wait, holder)));
		hs_snapshot_resource(wait->collector->snapshot, resource)->owner_tid = tid;
	}
	add_wait(wait, resource, HS_READ, false);
	add_hold(wait, resource, holder, HS_READ,
	         (struct hs_word){wait->futex.word, wait->futex.expected, 4},
	         "struct pthread, detach_state");
	return true;
}

/** Which function of musl was called, by the call before the frame that a scan has found. */
static void classify_musl(struct lock_wait *wait)
{
	struct hs_native *native = wait->collector->native;
	const struct hs_thread *thread = &wait->collector->snapshot->threads.items[wait->thread];
	uint64_t offset = 0;

	if (thread->num_frames < 2 || wait->frames[1].found_by != HS_FOUND_SCAN)
		return;
	wait->site = (struct hs_sync_site){.frame = HS_NONE, .caller = 1};
	hs_addr called = hs_native_called_function(native, wait->frames[1].pc, wait->frames[0].pc);
	const char *name = called ? hs_native_symbol(native, called, &offset, NULL) : NULL;
	if (name && !offset) {
		wait->site.call = hs_sync_call_of(name);
		wait->site.api_function = name;
	}
}

/** A normal mutex of musl does not record its owner: nobody can tell whether it comes free. */
static void add_musl_mutex(const struct lock_wait *wait, const struct hs_musl_object *mutex)
{
	struct hs_snapshot *snapshot = wait->collector->snapshot;
	bool is_new;
	uint32_t resource = resource_for(wait, HS_RES_PTHREAD_MUTEX, mutex->address, &is_new);
	// pthread_cond_wait() takes the mutex again before it returns.
	enum hs_certainty certainty =
		wait->site.call == HS_SYNC_MUTEX || wait->site.call == HS_SYNC_COND ? HS_READ
										    : HS_INFERRED;

	if (resource == HS_NONE)
		return;
	if (is_new) {
		set_label(wait, resource, label(wait, "pthread mutex", mutex->address));
		hs_snapshot_resource(snapshot, resource)->owner_tid = mutex->owner;
	}
	add_wait(wait, resource, certainty, false);
	if (mutex->is_normal) {
		snapshot->blind = true;
		if (is_new)
			hs_snapshot_gapf(snapshot,
			                 hs_snapshot_resource(snapshot, resource)->label
			                         ?: "pthread mutex",
			                 "which thread holds it",
			                 "musl does not record the owner of a normal mutex");
		return;
	}
	add_hold(wait, resource, thread_by_tid(wait, mutex->owner), certainty,
	         (struct hs_word){wait->futex.word, wait->futex.current, 4},
	         "pthread_mutex_t, _m_lock");
}

static void add_musl_rwlock(const struct lock_wait *wait, const struct hs_musl_object *lock)
{
	struct hs_snapshot *snapshot = wait->collector->snapshot;
	bool is_named = wait->site.call == HS_SYNC_RDLOCK || wait->site.call == HS_SYNC_WRLOCK;
	bool is_written = lock->kind == HS_MUSL_RWLOCK_OR_SEM;
	uint32_t resource = add_ownerless(wait, HS_RES_PTHREAD_RWLOCK, "pthread rwlock",
	                                  lock->address, is_named ? HS_READ : HS_INFERRED);
	const char *subject =
		resource == HS_NONE ? NULL : hs_snapshot_resource(snapshot, resource)->label;

	snapshot->blind = true;
	if (is_written) {
		hs_snapshot_gapf(snapshot, subject ?: "pthread rwlock", "which thread holds it",
		                 "musl does not record which thread has it for writing");
		return;
	}
	if (resource != HS_NONE)
		hs_snapshot_detail(snapshot, resource, "readers", "%u", lock->num_readers);
	hs_snapshot_gapf(snapshot, subject ?: "pthread rwlock", "which threads hold it",
	                 "musl keeps only the number of readers, %u", lock->num_readers);
}

/** A write-locked rwlock or a semaphore: only the name of the function called tells which. */
static void add_musl_rwlock_or_sem(const struct lock_wait *wait,
                                   const struct hs_musl_object *object)
{
	struct hs_snapshot *snapshot = wait->collector->snapshot;

	switch (wait->site.call) {
	case HS_SYNC_SEM:
		add_ownerless(wait, HS_RES_SEMAPHORE, "semaphore", object->address, HS_READ);
		return;
	case HS_SYNC_RDLOCK:
	case HS_SYNC_WRLOCK:
		add_musl_rwlock(wait, object);
		return;
	default:
		break;
	}
	snapshot->blind = true;
	add_ownerless(wait, HS_RES_FUTEX, "pthread rwlock or semaphore", object->address,
	              HS_INFERRED);
	hs_snapshot_gapf(snapshot, label(wait, "pthread rwlock or semaphore", object->address),
	                 "which thread holds it, if it is a lock", "musl keeps no owner of either");
}

/**
 * musl has no unwind information: the memory tells what function names tell elsewhere. Where a
 * scan has found who called into it, the name of the function called is a second witness.
 */
static void resolve_musl(struct lock_wait *wait)
{
	struct hs_snapshot *snapshot = wait->collector->snapshot;
	bool is_native = snapshot->threads.items[wait->thread].kind == HS_THREAD_NATIVE;
	struct hs_musl_object object;

	if (is_native && resolve_musl_join(wait))
		return;
	hs_musl_object_read(wait->collector->native->target, wait->lwp, &wait->futex, &object);
	// How a JVM parks its threads: jvm/ reads those waits with more meaning.
	if (!is_native && !object.owner)
		return;
	classify_musl(wait);
	switch (object.kind) {
	case HS_MUSL_MUTEX:
		add_musl_mutex(wait, &object);
		break;
	case HS_MUSL_RWLOCK:
		add_musl_rwlock(wait, &object);
		break;
	case HS_MUSL_RWLOCK_OR_SEM:
		add_musl_rwlock_or_sem(wait, &object);
		break;
	case HS_MUSL_COND:
		add_ownerless(wait, HS_RES_PTHREAD_COND, "pthread condition, waiter",
		              object.address,
		              wait->site.call == HS_SYNC_COND ? HS_READ : HS_INFERRED);
		break;
	case HS_MUSL_NONE:
		add_ownerless(wait, HS_RES_FUTEX, "futex", wait->futex.word, HS_READ);
		break;
	}
}

static void resolve(struct lock_wait *wait)
{
	// The first thread of every JVM is its launcher, which waits for "main" to end: no news.
	if (is_called_from(wait, "libjli.so"))
		return;
	if (hs_musl_is_thread(wait->collector->native->target, wait->lwp)) {
		resolve_musl(wait);
		return;
	}
	if (resolve_join(wait))
		return;
	if (wait->site.call != HS_SYNC_MUTEX && is_called_by_hotspot(wait))
		return;

	switch (wait->site.call) {
	case HS_SYNC_MUTEX:
		resolve_mutex(wait);
		break;
	case HS_SYNC_RDLOCK:
	case HS_SYNC_WRLOCK:
		resolve_rwlock(wait);
		break;
	case HS_SYNC_COND:
		resolve_cond(wait);
		break;
	case HS_SYNC_SEM:
		resolve_sem(wait, HS_READ);
		break;
	case HS_SYNC_BARRIER:
		resolve_barrier(wait);
		break;
	case HS_SYNC_ONCE:
		resolve_once(wait, "pthread_once_t");
		break;
	case HS_SYNC_GUARD:
		resolve_once(wait, "initialization of a C++ static");
		break;
	case HS_SYNC_LIBC_LOCK:
		resolve_libc_lock(wait, HS_READ);
		break;
	case HS_SYNC_JOIN: // resolve_join() takes all of these
	case HS_SYNC_SYSCALL:
		add_ownerless(wait, HS_RES_FUTEX, "futex", wait->futex.word, HS_READ);
		break;
	case HS_SYNC_NONE:
		resolve_by_layout(wait);
		break;
	}
}

/** Several threads may want different things of one descriptor. */
static void label_fd(struct lock_collector *collector, uint32_t resource,
                     const struct hs_fd_wait *wait, bool is_new)
{
	struct hs_resource *record = hs_snapshot_resource(collector->snapshot, resource);
	const char *what = wait->what;

	if (!is_new && record->label) {
		if (!strncmp(record->label, what, strlen(what)))
			return;
		what = "input or output on";
	}
	const char *target = hs_syscall_fd_target(&collector->syscalls, wait->fd);
	record->label =
		hs_arena_printf(collector->snapshot->arena, target ? "%s fd %d %s" : "%s fd %d",
	                        what, wait->fd, target);
}

static void add_fd_wait(struct lock_collector *collector, const struct hs_lwp *lwp, uint32_t thread)
{
	struct hs_snapshot *snapshot = collector->snapshot;
	struct hs_fd_wait wait;
	bool is_new;

	// One that runs, or sits in a disk access, is not waiting for the other end.
	if (lwp->state == 'R' || lwp->state == 'D' ||
	    !hs_syscall_fd_wait(&collector->syscalls, lwp, &wait))
		return;
	uint32_t resource =
		hs_snapshot_resource_for(snapshot, HS_RES_FD, (hs_addr)wait.fd, &is_new);
	if (resource == HS_NONE)
		return;
	label_fd(collector, resource, &wait, is_new);
	struct hs_edge edge = {
		.thread = thread,
		.resource = resource,
		.frame = snapshot->threads.items[thread].num_frames ? 0 : (uint32_t)HS_NONE,
		.certainty = HS_READ,
		.timed = wait.timed,
		.read_from = "arguments of its system call",
	};
	hs_snapshot_add_wait(snapshot, &edge);
}

static void collect_one(struct lock_collector *collector, const struct hs_lwp *lwp)
{
	struct lock_wait wait = {
		.collector = collector,
		// On its stack a virtual thread may run: what it waits for, that waits for.
		.thread = hs_snapshot_runner(
			collector->snapshot,
			hs_snapshot_thread_by_tid(collector->snapshot, lwp->tid)),
		.lwp = lwp,
	};

	if (wait.thread == HS_NONE)
		return;
	if (!hs_syscall_futex_wait(&collector->syscalls, lwp, &wait.futex)) {
		add_fd_wait(collector, lwp, wait.thread);
		return;
	}
	const struct hs_thread *thread = &collector->snapshot->threads.items[wait.thread];
	wait.frames = thread->frames;
	hs_sync_classify(thread->frames, thread->num_frames, &wait.site);
	resolve(&wait);
}

struct hs_err *hs_native_collect_locks(struct hs_native *native)
{
	struct lock_collector collector = {
		.native = native,
		.snapshot = native->snapshot,
		.syscalls = {.target = native->target,
	                     .arena = native->arena,
	                     .redact = native->snapshot->redact},
		.glibc_minor = hs_glibc_minor(native),
	};
	size_t count;
	const struct hs_lwp *lwps = hs_target_lwps(native->target, &count);

	// Without it joins are told by function name only; collect_threads has reported why.
	struct hs_err *err = hs_pthread_layout_read(native, &collector.layout);
	collector.has_layout = !err;
	hs_err_free(err);

	for (size_t i = 0; i < count; i++)
		collect_one(&collector, &lwps[i]);
	return hs_arena_failed(native->arena) ? hs_err_oom() : NULL;
}
