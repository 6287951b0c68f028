// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Virtual threads: where the library keeps them. The root container holds those that were started
 * without an executor, the registered containers (executors) and the scopes of threads (structured
 * tasks) the others, and JavaThreads those that they run. By field name, 21 to 28.
 */

#include "core/jvm/virtual_threads.h"

#include <inttypes.h>
#include <string.h>

#include "core/jvm/locks.h"

enum {
	PARK_FRAMES = 8,                /**< from the top down to VirtualThread.parkNanos at most */
	MAX_BAD = 10,                   /**< threads with a gap of their own */
	MAX_ENTRIES = 4 * HS_MAX_ARRAY, /**< of all sets of threads, empty ones too */
	// ObjectWaiter, not published: { next, prev, JavaThread *, OopHandle vthread @24,
	// ObjectMonitor *monitor @32 } (objectMonitor.hpp, 24 to 28). Checked by the handle.
	WAITER_VTHREAD = 24,
	WAITER_MONITOR = 32,
};

static const char containers_name[] = "jdk/internal/vm/ThreadContainers";
static const char tracking_name[] =
	"jdk/internal/vm/ThreadContainers$RootContainer$TrackingRootContainer";
static const char counting_name[] =
	"jdk/internal/vm/ThreadContainers$RootContainer$CountingRootContainer";

struct finder {
	struct hs_jvm *jvm;
	struct hs_vthread_table *table;
	HS_VEC(hs_addr) containers; /**< to look into */
	struct hs_map64 seen;       /**< containers */
	size_t num_skipped;         /**< threads beyond HS_MAX_THREADS */
	size_t num_bad;             /**< threads that could not be read */
	uint64_t left;              /**< entries of sets that may still be looked at */
};

// ---- layout

/** HS_ERR_ABSENT: this JVM has no virtual threads. */
static struct hs_err *make_table(struct hs_jvm *jvm)
{
	const struct hs_klass *klass, *chunk;
	struct hs_vthread_table *table;
	struct hs_err *err;

	if (!hs_layout_has(&jvm->layout, HS_F_thread_vthread))
		return hs_err_absent();
	table = hs_arena_alloc(jvm->arena, sizeof(*table));
	if (!table)
		return hs_err_oom();
	err = hs_klass_find(jvm, "java/lang/VirtualThread", &klass);
	if (!err)
		err = hs_vthread_layout_read(jvm, klass, &table->layout);
	if (err)
		return err;
	err = hs_klass_find(jvm, "jdk/internal/vm/Continuation", &klass);
	if (!err)
		err = hs_klass_find(jvm, "jdk/internal/vm/StackChunk", &chunk);
	if (!err)
		err = hs_chunk_layout_read(jvm, klass, chunk, &table->layout);
	if (hs_err_catch(&err, HS_ERR_ABSENT))
		err = hs_err_new(HS_ERR_UNSUPPORTED, "the class StackChunk is missing");
	jvm->vthreads = table; // threads and states are known without their stacks
	return hs_jvm_gap(jvm, err, "stacks of virtual threads that are not mounted",
	                  "jdk.internal.vm.StackChunk");
}

// ---- one thread

static hs_addr get_oop(struct hs_jvm *jvm, const uint8_t *object, uint32_t offset)
{
	return offset ? hs_oop_decode(jvm, object + offset) : 0;
}

static struct hs_err *read_tail(struct hs_jvm *jvm, struct hs_vthread *vthread)
{
	uint32_t offset = jvm->vthreads->layout.cont_tail;

	if (!vthread->cont || !offset)
		return NULL;
	return hs_oop_load(jvm, vthread->cont + offset, &vthread->chunk);
}

/** The monitor of a thread in line for it, or in wait(). */
static struct hs_err *read_waiter(struct hs_jvm *jvm, const uint8_t *object,
                                  struct hs_vthread *vthread)
{
	int64_t tid = vthread->java_tid;
	const struct hs_klass *klass;
	hs_addr waiter, handle, back;
	struct hs_err *err;

	if (!jvm->vthreads->layout.waiter ||
	    (vthread->state != HS_VSTATE_BLOCKED && vthread->state != HS_VSTATE_WAIT &&
	     vthread->state != HS_VSTATE_TIMED_WAIT))
		return NULL;
	memcpy(&waiter, object + jvm->vthreads->layout.waiter, sizeof(waiter));
	if (!waiter)
		return NULL;
	err = hs_target_read_u64(jvm->target, waiter + WAITER_VTHREAD, &handle);
	if (!err)
		err = hs_target_read_u64(jvm->target, handle, &back);
	if (err)
		return err;
	back = hs_oop_resolve(jvm, hs_oop_uncolor(jvm, back));
	// A collector that moves objects may have corrected one of the two pointers only.
	err = hs_oop_klass(jvm, back, &klass);
	if (!err && back != vthread->oop)
		err = hs_oop_get_int(jvm, back, "tid", &tid);
	if (hs_err_catch(&err, HS_ERR_ABSENT) || (!err && tid != vthread->java_tid))
		err = hs_err_new(HS_ERR_BAD_DATA, "its ObjectWaiter is of another thread");
	if (err)
		return err;
	return hs_target_read_u64(jvm->target, waiter + WAITER_MONITOR, &vthread->monitor);
}

static struct hs_err *read_vthread(struct hs_jvm *jvm, struct hs_vthread *vthread)
{
	const struct hs_vthread_layout *layout = &jvm->vthreads->layout;
	uint8_t object[HS_VTHREAD_MAX_BYTES + 8];
	struct hs_err *err;
	uint32_t state;

	memset(object, 0, sizeof(object));
	err = hs_target_read(jvm->target, vthread->oop, object, layout->size);
	if (err)
		return err;
	memcpy(&state, object + layout->state, sizeof(state));
	if (layout->tid)
		memcpy(&vthread->java_tid, object + layout->tid, sizeof(vthread->java_tid));
	vthread->state = hs_vthread_state_of(layout, state);
	vthread->cont = get_oop(jvm, object, layout->cont);
	vthread->scheduler = get_oop(jvm, object, layout->scheduler);
	vthread->termination = get_oop(jvm, object, layout->termination);
	vthread->park_blocker = get_oop(jvm, object, layout->park_blocker);
	vthread->name = get_oop(jvm, object, layout->name);
	vthread->scopes = get_oop(jvm, object, layout->scopes);
	err = read_tail(jvm, vthread);
	if (err)
		return err;
	// Its state and its stack are known all the same.
	err = read_waiter(jvm, object, vthread);
	hs_jvm_blind(jvm, err);
	return hs_jvm_gap(jvm, err, "which monitor it waits for",
	                  "the wait of virtual thread #%" PRId64, vthread->java_tid);
}

// ---- finding them

static struct hs_err *add_container(struct finder *finder, hs_addr container)
{
	if (!container || hs_map64_get(&finder->seen, container))
		return NULL;
	hs_addr *slot = finder->containers.len < HS_MAX_CHAIN
	                        ? hs_vec_push(finder->jvm->arena, &finder->containers)
	                        : NULL;
	if (!slot)
		return hs_arena_failed(finder->jvm->arena)
		               ? hs_err_oom()
		               : hs_err_new(HS_ERR_BAD_DATA, "more than %d thread containers",
		                            HS_MAX_CHAIN);
	*slot = container;
	return hs_map64_put(&finder->seen, container, finder) ? NULL : hs_err_oom();
}

/** Structured tasks: a scope that a thread has opened is the container of their threads. */
static struct hs_err *add_scopes(struct finder *finder, hs_addr scope)
{
	struct hs_jvm *jvm = finder->jvm;
	struct hs_list_walk walk = {0};
	const struct hs_klass *klass;
	struct hs_err *err = NULL;

	while (!err && scope) {
		if (hs_list_walk_ends(&walk, scope, HS_MAX_CHAIN))
			return hs_err_new(HS_ERR_BAD_DATA, "its list of scopes has no end");
		err = hs_oop_klass(jvm, scope, &klass);
		if (!err && hs_klass_is_a(jvm, klass, "jdk/internal/vm/ThreadContainer"))
			err = add_container(finder, scope);
		if (!err)
			err = hs_oop_get_oop(jvm, scope, "previous", &scope);
	}
	return err;
}

static bool put_index(struct hs_map64 *map, uint64_t key, size_t index)
{
	return !key || hs_map64_put(map, key, (void *)(uintptr_t)(index + 1));
}

/** @p oop is a thread of any kind. */
static struct hs_err *add_thread(struct finder *finder, hs_addr oop)
{
	struct hs_vthread_table *table = finder->table;
	struct hs_jvm *jvm = finder->jvm;
	const struct hs_klass *klass;
	struct hs_err *err;

	if (!oop || hs_map64_get(&table->by_oop, oop))
		return NULL;
	err = hs_oop_klass(jvm, oop, &klass);
	if (err)
		return err;
	// Platform threads are known; virtual ones of a VM without continuations are platform ones.
	if (!hs_klass_is_a(jvm, klass, "java/lang/VirtualThread"))
		return NULL;
	if (jvm->snapshot->threads.len + table->items.len >= HS_MAX_THREADS) {
		finder->num_skipped++;
		return NULL;
	}
	struct hs_vthread vthread = {.oop = oop, .thread = HS_NONE};
	err = read_vthread(jvm, &vthread);
	// Where objects move while they are read there may be two copies of it, with one tid. The
	// first is the one that a JavaThread knows, if any does.
	if (err || hs_map64_get(&table->by_tid, (uint64_t)vthread.java_tid))
		return err;
	struct hs_vthread *item = hs_vec_push(jvm->arena, &table->items);
	if (!item || !put_index(&table->by_oop, oop, table->items.len - 1) ||
	    !put_index(&table->by_tid, (uint64_t)vthread.java_tid, table->items.len - 1))
		return hs_err_oom();
	*item = vthread;
	return vthread.scopes ? add_scopes(finder, vthread.scopes) : NULL;
}

/** Many containers may claim one large set, each with another path to it. */
static struct hs_err *too_much(struct finder *finder)
{
	finder->left = 0;
	return hs_err_new(HS_ERR_BAD_DATA, "more than %d entries in all sets of threads",
	                  MAX_ENTRIES);
}

static struct hs_err *visit_thread(void *arg, hs_addr key, hs_addr value)
{
	struct finder *finder = arg;
	struct hs_err *err;

	(void)value;
	if (!finder->left)
		return too_much(finder);
	finder->left--;
	err = add_thread(finder, key);
	if (!err || hs_err_code(err) == HS_ERR_OOM)
		return err;
	// One that cannot be read must not cost the others.
	hs_jvm_blind(finder->jvm, err);
	if (finder->num_bad++ < MAX_BAD)
		return hs_jvm_gap(finder->jvm, err, "one virtual thread", "thread 0x%" PRIx64, key);
	hs_err_free(err); // counted
	return NULL;
}

/** A set made by ConcurrentHashMap.newKeySet(). 0: not made yet. */
static struct hs_err *add_set(struct finder *finder, hs_addr set)
{
	struct hs_err *err;
	hs_addr map = 0, table = 0;
	uint32_t length = 0;

	if (!set)
		return NULL;
	err = hs_oop_get_oop(finder->jvm, set, "map", &map);
	if (err || !map)
		return err;
	err = hs_oop_get_oop(finder->jvm, map, "table", &table);
	if (!err && table)
		err = hs_oop_array_length(finder->jvm, table, &length);
	if (!err && length >= finder->left)
		err = too_much(finder);
	if (err)
		return err;
	finder->left -= length;
	err = hs_oop_each_chm(finder->jvm, map, visit_thread, finder);
	if (err && hs_err_code(err) != HS_ERR_OOM) // however far it came
		finder->left -= finder->left < HS_MAX_ARRAY ? finder->left : HS_MAX_ARRAY;
	return err;
}

/** ThreadPerTaskExecutor.threads, SharedThreadContainer.virtualThreads, ThreadFlock.threads. */
static struct hs_err *look_into(struct finder *finder, hs_addr container)
{
	static const char *const sets[] = {"threads", "virtualThreads"};
	struct hs_jvm *jvm = finder->jvm;
	hs_addr flock = container, set;
	struct hs_err *err;

	err = hs_oop_get_oop(jvm, container, "flock", &flock);
	if (!hs_err_catch(&err, HS_ERR_ABSENT) && (err || !flock))
		return err;
	for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
		err = hs_oop_get_oop(jvm, flock, sets[i], &set);
		if (hs_err_catch(&err, HS_ERR_ABSENT))
			continue;
		if (!err)
			err = add_set(finder, set);
		if (err)
			return err;
	}
	return NULL;
}

static struct hs_err *visit_registered(void *arg, hs_addr key, hs_addr value)
{
	struct finder *finder = arg;
	struct hs_err *err;
	hs_addr container = 0;

	(void)value;
	err = hs_oop_get_oop(finder->jvm, key, "referent", &container); // a WeakReference
	if (!err)
		err = add_container(finder, container);
	return hs_jvm_gap(finder->jvm, err, "the virtual threads of one executor",
	                  "thread container 0x%" PRIx64, key);
}

static struct hs_err *add_registered(struct finder *finder)
{
	const struct hs_klass *klass;
	hs_addr set = 0, map = 0;
	struct hs_err *err;

	err = hs_klass_find(finder->jvm, containers_name, &klass);
	if (!err)
		err = hs_klass_static_oop(finder->jvm, klass, "CONTAINER_REGISTRY", &set);
	if (hs_err_catch(&err, HS_ERR_ABSENT) || err || !set)
		return err;
	err = hs_oop_get_oop(finder->jvm, set, "map", &map);
	return err || !map ? err : hs_oop_each_chm(finder->jvm, map, visit_registered, finder);
}

/** jdk.trackAllThreads=false: those without an executor are only counted. */
static struct hs_err *count_untracked(struct finder *finder, int64_t *ret)
{
	struct hs_jvm *jvm = finder->jvm;
	uint64_t sum; // what a target adds up to may wrap
	const struct hs_klass *klass;
	hs_addr adder = 0, cells = 0, cell;
	struct hs_err *err;
	uint32_t length = 0;
	int64_t value;

	*ret = 0;
	err = hs_klass_find(jvm, counting_name, &klass);
	if (!err)
		err = hs_klass_static_oop(jvm, klass, "VTHREAD_COUNT", &adder);
	if (hs_err_catch(&err, HS_ERR_ABSENT) || err || !adder)
		return err;
	err = hs_oop_get_int(jvm, adder, "base", ret);
	if (!err)
		err = hs_oop_get_oop(jvm, adder, "cells", &cells);
	if (!err && cells)
		err = hs_oop_array_length(jvm, cells, &length);
	sum = (uint64_t)*ret;
	for (uint32_t i = 0; !err && i < length; i++) {
		err = hs_oop_array_get(jvm, cells, i, &cell);
		if (!err && cell)
			err = hs_oop_get_int(jvm, cell, "value", &value);
		if (!err && cell)
			sum += (uint64_t)value;
	}
	*ret = (int64_t)sum;
	return err;
}

static struct hs_err *add_root(struct finder *finder)
{
	struct hs_jvm *jvm = finder->jvm;
	size_t known = finder->table->items.len;
	const struct hs_klass *klass;
	struct hs_err *err;
	hs_addr set = 0;
	int64_t count;

	err = hs_klass_find(jvm, tracking_name, &klass);
	if (!err)
		err = hs_klass_static_oop(jvm, klass, "VTHREADS", &set);
	if (!hs_err_catch(&err, HS_ERR_ABSENT))
		return err ? err : add_set(finder, set);
	err = count_untracked(finder, &count);
	if (err || count <= (int64_t)known)
		return err;
	jvm->snapshot->blind = true;
	hs_snapshot_gapf(jvm->snapshot, "virtual threads without an executor",
	                 "what those of them do and wait for that are not mounted",
	                 "the JVM only counts them (jdk.trackAllThreads=false): %" PRId64, count);
	return NULL;
}

static struct hs_err *find_mounted(struct finder *finder)
{
	struct hs_err *err;
	hs_addr scopes;

	hs_vec_each (jthread, &finder->jvm->jthreads) {
		err = hs_jvm_gap(finder->jvm, add_thread(finder, jthread->vthread_oop),
		                 "the virtual thread that it runs", "virtual thread on \"%s\"",
		                 hs_jthread_name(finder->jvm, jthread));
		if (err)
			return err;
		if (!jthread->thread_oop)
			continue;
		scopes = 0;
		err = hs_oop_get_oop(finder->jvm, jthread->thread_oop, "headStackableScopes",
		                     &scopes);
		if (!hs_err_catch(&err, HS_ERR_ABSENT) && !err)
			err = add_scopes(finder, scopes);
		err = hs_jvm_gap(finder->jvm, err, "virtual threads that it has started",
		                 "scopes of \"%s\"", hs_jthread_name(finder->jvm, jthread));
		if (err)
			return err;
	}
	return NULL;
}

static struct hs_err *find_all(struct finder *finder)
{
	struct hs_jvm *jvm = finder->jvm;
	struct hs_err *err = find_mounted(finder);

	if (err)
		return err;
	err = add_root(finder);
	hs_jvm_blind(jvm, err);
	err = hs_jvm_gap(jvm, err, "virtual threads that are not mounted", "root container");
	if (err)
		return err;
	err = add_registered(finder);
	hs_jvm_blind(jvm, err);
	err = hs_jvm_gap(jvm, err, "virtual threads of executors", "thread containers");
	// Threads of a container may have opened scopes, which are containers too.
	for (size_t i = 0; !err && i < finder->containers.len; i++) {
		err = look_into(finder, finder->containers.items[i]);
		hs_jvm_blind(jvm, err);
		err = hs_jvm_gap(jvm, err, "its virtual threads", "thread container 0x%" PRIx64,
		                 finder->containers.items[i]);
	}
	if (finder->num_bad > MAX_BAD)
		hs_snapshot_gapf(jvm->snapshot, "more virtual threads", "what they do",
		                 "%zu in all could not be read", finder->num_bad);
	if (finder->num_skipped) {
		jvm->snapshot->blind = true;
		hs_snapshot_gapf(jvm->snapshot, "virtual threads", "what the others do",
		                 "more than %d threads: %zu are left out", HS_MAX_THREADS,
		                 finder->num_skipped);
	}
	return err;
}

// ---- records

static int compare_tids(const void *a, const void *b)
{
	const struct hs_vthread *x = a, *y = b;

	if (x->java_tid != y->java_tid)
		return x->java_tid > y->java_tid ? 1 : -1;
	return (x->oop > y->oop) - (x->oop < y->oop);
}

/** A record in the snapshot. */
static struct hs_err *add_record(struct hs_jvm *jvm, struct hs_vthread *vthread)
{
	struct hs_thread *thread = hs_snapshot_add_thread(jvm->snapshot, 0, &vthread->thread);
	const char *name = NULL;
	struct hs_err *err;

	if (!thread) // the cap was checked before
		return hs_err_oom();
	thread->kind = HS_THREAD_VIRTUAL;
	thread->java_tid = vthread->java_tid;
	thread->is_daemon = true; // always: VirtualThread.java
	thread->priority = 5;     // Thread.NORM_PRIORITY
	thread->state = hs_vthread_words(vthread->state);
	thread->java_state = hs_vthread_java_state(vthread->state);
	err = hs_oop_string(jvm, vthread->name, HS_MAX_NAME, &name);
	if (name && *name)
		hs_snapshot_name_thread(jvm->snapshot, thread, name);
	return hs_jvm_gap(jvm, err, "its name", "virtual thread #%" PRId64, vthread->java_tid);
}

/** Threads in join() park for the Sync of the latch. */
static hs_addr sync_of(struct hs_jvm *jvm, hs_addr latch)
{
	struct hs_err *err;
	hs_addr sync = 0;

	if (!latch)
		return 0;
	err = hs_oop_get_oop(jvm, latch, "sync", &sync);
	hs_err_free(err); // nobody is found to wait for its end, then
	return sync;
}

static struct hs_err *make_records(struct hs_jvm *jvm)
{
	struct hs_vthread_table *table = jvm->vthreads;
	struct hs_err *err;

	hs_vec_sort(&table->items, compare_tids);
	for (size_t i = 0; i < table->items.len; i++) {
		struct hs_vthread *vthread = &table->items.items[i];

		err = add_record(jvm, vthread);
		if (err)
			return err;
		if (!put_index(&table->by_oop, vthread->oop, i) ||
		    !put_index(&table->by_tid, (uint64_t)vthread->java_tid, i) ||
		    !put_index(&table->by_cont, vthread->cont, i) ||
		    !put_index(&table->by_thread, vthread->thread, i) ||
		    !put_index(&table->by_termination, sync_of(jvm, vthread->termination), i))
			return hs_err_oom();
	}
	hs_vec_each (jthread, &jvm->jthreads) {
		const struct hs_vthread *vthread = hs_vthread_by_oop(jvm, jthread->vthread_oop);

		if (vthread)
			table->items.items[vthread - table->items.items].is_mounted = true;
	}
	return NULL;
}

// ---- stacks of those that are not mounted

/** Is its state still that of the record? What it was read with may otherwise be of two moments. */
static bool is_unchanged(struct hs_jvm *jvm, const struct hs_vthread *vthread)
{
	struct hs_err *err;
	uint32_t state = 0;

	if (!jvm->snapshot->info.ran_on)
		return true;
	err = hs_target_read_now(jvm->target, hs_vthread_state_word(jvm, vthread), &state,
	                         sizeof(state));
	if (err) {
		hs_err_free(err);
		return false;
	}
	return hs_vthread_state_of(&jvm->vthreads->layout, state) == vthread->state;
}

static struct hs_err *keep_frames(struct hs_jvm *jvm, struct hs_thread *thread,
                                  const struct hs_frame_list *list)
{
	size_t size = list->frames.len * sizeof(*list->frames.items);
	struct hs_frame *frames;

	if (!list->frames.len)
		return NULL;
	frames = hs_arena_alloc(jvm->arena, size);
	if (!frames)
		return hs_err_oom();
	memcpy(frames, list->frames.items, size);
	thread->frames = frames;
	thread->num_frames = (uint32_t)list->frames.len;
	return NULL;
}

/** Stacks that could not be read, or not to their end: there may be 100,000. */
struct lost_stacks {
	struct hs_err *first;
	int64_t java_tid; /**< of the first */
	size_t count;
};

static void lose_stack(struct lost_stacks *lost, const struct hs_vthread *vthread,
                       struct hs_err *err)
{
	if (!lost->count++) {
		lost->first = err;
		lost->java_tid = vthread->java_tid;
	} else {
		hs_err_free(err);
	}
}

static struct hs_err *lost_gap(struct hs_jvm *jvm, const struct lost_stacks *lost)
{
	if (lost->count == 1)
		return hs_jvm_gap(jvm, lost->first, "what it does below its last frame",
		                  "stack of the virtual thread #%" PRId64, lost->java_tid);
	return hs_jvm_gap(jvm, lost->first, "what they do below their last frame",
	                  "stacks of %zu virtual threads, first #%" PRId64, lost->count,
	                  lost->java_tid);
}

/** 21.0.2 has one state for parked with and without a time-out: the method tells. */
static void set_timed(struct hs_jvm *jvm, struct hs_vthread *vthread,
                      const struct hs_frame_list *list)
{
	struct hs_thread *thread = &jvm->snapshot->threads.items[vthread->thread];

	if (vthread->state != HS_VSTATE_PARKED ||
	    jvm->vthreads->layout.states[HS_VSTATE_TIMED_PARKED] >= 0)
		return;
	for (size_t i = 0; i < list->frames.len && i < PARK_FRAMES; i++) {
		const struct hs_location *l = list->frames.items[i].location;

		if (!l->method || strcmp(l->method, "parkNanos") != 0)
			continue;
		vthread->state = HS_VSTATE_TIMED_PARKED;
		thread->state = hs_vthread_words(vthread->state);
		thread->java_state = hs_vthread_java_state(vthread->state);
	}
}

static struct hs_err *read_stack(struct hs_jvm *jvm, struct hs_vthread *vthread,
                                 struct hs_frame_list *list, struct lost_stacks *lost)
{
	struct hs_thread *thread = &jvm->snapshot->threads.items[vthread->thread];
	struct hs_err *err;

	list->frames.len = 0;
	err = hs_chunk_frames(jvm, vthread->chunk, vthread->thread, list);
	if (err && hs_err_code(err) == HS_ERR_OOM)
		return err;
	if (!is_unchanged(jvm, vthread)) {
		hs_err_free(err);
		err = hs_err_new(HS_ERR_BAD_DATA, "it went on while it was read");
		list->frames.len = 0;
	}
	thread->frames_cut = err != NULL;
	if (err)
		lose_stack(lost, vthread, err);
	set_timed(jvm, vthread, list);
	return keep_frames(jvm, thread, list);
}

static struct hs_err *read_stacks(struct hs_jvm *jvm)
{
	struct hs_frame_list list = {.arena = jvm->arena};
	struct lost_stacks lost = {0};
	struct hs_err *err = NULL;

	hs_vec_each (vthread, &jvm->vthreads->items) {
		if (err || !vthread->chunk || vthread->state == HS_VSTATE_TERMINATED ||
		    vthread->is_mounted)
			continue;
		err = read_stack(jvm, vthread, &list, &lost);
	}
	if (err) {
		hs_err_free(lost.first);
		return err;
	}
	hs_jvm_blind(jvm, lost.first);
	return lost_gap(jvm, &lost);
}

struct hs_err *hs_vthreads_collect(struct hs_jvm *jvm)
{
	struct finder finder = {.jvm = jvm, .left = MAX_ENTRIES};
	struct hs_err *err = make_table(jvm);

	if (hs_err_catch(&err, HS_ERR_ABSENT))
		return NULL;
	if (err) {
		hs_jvm_blind(jvm, err);
		return hs_jvm_gap(jvm, err, "all virtual threads", "java.lang.VirtualThread");
	}
	finder.table = jvm->vthreads;
	err = find_all(&finder);
	hs_map64_deinit(&finder.seen);
	if (!err)
		err = make_records(jvm);
	return err ? err : read_stacks(jvm);
}

void hs_vthreads_close(struct hs_jvm *jvm)
{
	struct hs_vthread_table *table = jvm->vthreads;

	if (!table)
		return;
	hs_map64_deinit(&table->by_oop);
	hs_map64_deinit(&table->by_tid);
	hs_map64_deinit(&table->by_cont);
	hs_map64_deinit(&table->by_thread);
	hs_map64_deinit(&table->by_termination);
}

// ---- lookups

static const struct hs_vthread *find(const struct hs_jvm *jvm, const struct hs_map64 *map,
                                     uint64_t key)
{
	const void *value = key ? hs_map64_get(map, key) : NULL;

	return value ? &jvm->vthreads->items.items[(uintptr_t)value - 1] : NULL;
}

const struct hs_vthread *hs_vthread_by_oop(const struct hs_jvm *jvm, hs_addr oop)
{
	return jvm->vthreads ? find(jvm, &jvm->vthreads->by_oop, oop) : NULL;
}

const struct hs_vthread *hs_vthread_by_tid(const struct hs_jvm *jvm, int64_t java_tid)
{
	return jvm->vthreads ? find(jvm, &jvm->vthreads->by_tid, (uint64_t)java_tid) : NULL;
}

const struct hs_vthread *hs_vthread_by_cont(const struct hs_jvm *jvm, hs_addr cont)
{
	return jvm->vthreads ? find(jvm, &jvm->vthreads->by_cont, cont) : NULL;
}

const struct hs_vthread *hs_vthread_by_index(const struct hs_jvm *jvm, uint32_t thread)
{
	return jvm->vthreads ? find(jvm, &jvm->vthreads->by_thread, thread) : NULL;
}

const struct hs_vthread *hs_vthread_by_termination(const struct hs_jvm *jvm, hs_addr sync)
{
	return jvm->vthreads ? find(jvm, &jvm->vthreads->by_termination, sync) : NULL;
}

const struct hs_vthread *hs_vthread_of_object(struct hs_jvm *jvm, hs_addr oop)
{
	const struct hs_vthread *vthread = hs_vthread_by_oop(jvm, oop);
	const struct hs_klass *klass;
	struct hs_err *err;
	int64_t tid = 0;

	if (vthread || !oop || !jvm->vthreads)
		return vthread;
	err = hs_oop_klass(jvm, oop, &klass);
	if (!err && hs_klass_is_a(jvm, klass, "java/lang/VirtualThread"))
		err = hs_oop_get_int(jvm, oop, "tid", &tid);
	hs_err_free(err); // no thread object: nobody's
	return hs_vthread_by_tid(jvm, tid);
}

uint32_t hs_thread_of_object(struct hs_jvm *jvm, hs_addr oop)
{
	const struct hs_vthread *vthread = hs_vthread_of_object(jvm, oop);

	if (vthread)
		return vthread->thread;
	const struct hs_jthread *jthread = hs_jthread_of_object(jvm, oop);
	return jthread ? jthread->thread : (uint32_t)HS_NONE;
}

hs_addr hs_vthread_state_word(const struct hs_jvm *jvm, const struct hs_vthread *vthread)
{
	return vthread->oop + jvm->vthreads->layout.state;
}
