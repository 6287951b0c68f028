// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Monitors: what the lock of an object is (a monitor, a class-loader lock, the link or the
 * initialization of a class), which threads wait for it and which one holds it.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/jvm/locks.h"
#include "core/jvm/virtual_threads.h"

// ---- small things

struct hs_lock_index *hs_lock_index(struct hs_jvm *jvm)
{
	if (!jvm->lock_index)
		jvm->lock_index = hs_arena_alloc(jvm->arena, sizeof(*jvm->lock_index));
	return jvm->lock_index;
}

struct hs_err *hs_jvm_gap(struct hs_jvm *jvm, struct hs_err *err, const char *costs,
                          const char *fmt, ...)
{
	va_list ap;

	if (!err || hs_err_code(err) == HS_ERR_OOM)
		return err;
	va_start(ap, fmt);
	const char *subject = hs_arena_vprintf(jvm->arena, fmt, ap);
	va_end(ap);
	hs_snapshot_gap(jvm->snapshot, subject ? subject : "?", costs, err);
	return NULL;
}

void hs_jvm_blind(struct hs_jvm *jvm, const struct hs_err *err)
{
	// A live process may just change what we read, and what changes is no deadlock.
	if (err && (!jvm->snapshot->info.ran_on || hs_err_code(err) == HS_ERR_UNSUPPORTED))
		jvm->snapshot->blind = true;
}

const char *hs_jthread_name(const struct hs_jvm *jvm, const struct hs_jthread *jthread)
{
	const char *name = NULL;

	if (jthread->thread != HS_NONE)
		name = jvm->snapshot->threads.items[jthread->thread].name;
	return name ? name : "?";
}

struct hs_word hs_word_at(struct hs_jvm *jvm, hs_addr addr, uint8_t size)
{
	struct hs_word word = {.addr = addr, .size = size};
	struct hs_err *err = hs_target_read(jvm->target, addr, &word.value, size);

	if (!err)
		return word;
	hs_err_free(err);
	return (struct hs_word){0};
}

uint32_t hs_java_top_frame(const struct hs_jvm *jvm, uint32_t thread)
{
	const struct hs_thread *t = &jvm->snapshot->threads.items[thread];

	for (uint32_t i = 0; i < t->num_frames; i++)
		if (t->frames[i].location->method)
			return i;
	return HS_NONE;
}

uint32_t hs_lock_resource(struct hs_jvm *jvm, enum hs_resource_kind kind, hs_addr address,
                          hs_addr object, bool *is_new_ret)
{
	struct hs_lock_index *index = hs_lock_index(jvm);
	uint32_t resource = hs_snapshot_resource_for(jvm->snapshot, kind, address, is_new_ret);

	if (!index)
		return HS_NONE;
	if (resource != HS_NONE && *is_new_ret) {
		struct hs_lock_object *lock = hs_vec_push(jvm->arena, &index->objects);

		if (lock)
			*lock = (struct hs_lock_object){.object = object, .resource = resource};
	}
	return resource;
}

/** A thread that waits for a class looks RUNNABLE to Java, and idle to the kernel. */
void hs_set_class_wait_state(struct hs_jvm *jvm, uint32_t thread, uint32_t resource)
{
	switch (hs_snapshot_resource(jvm->snapshot, resource)->kind) {
	case HS_RES_CLASS_LINK:
		jvm->snapshot->threads.items[thread].state = "waiting for a class to be linked";
		break;
	case HS_RES_CLASS_INIT:
		jvm->snapshot->threads.items[thread].state =
			"waiting for a class to be initialized";
		break;
	default:
		break;
	}
}

// ---- what the lock of an object is

/** "the monitor of the class app.A" for a java.lang.Class, "the monitor of a X @addr" else. */
static struct hs_err *name_monitor(struct hs_jvm *jvm, hs_addr object, const char **label_ret,
                                   const char **class_ret, const char **loader_ret)
{
	const struct hs_klass *klass, *described = NULL;
	const char *label = NULL;
	struct hs_err *err;
	hs_addr loader = 0, mirrored = 0;

	err = hs_oop_klass(jvm, object, &klass);
	if (err)
		return err;
	*class_ret = klass->external_name;
	if (!strcmp(klass->name, "java/lang/Class")) {
		err = hs_klass_of_mirror(jvm, object, &mirrored);
		if (!err && mirrored)
			err = hs_klass_get(jvm, mirrored, &described);
		if (err)
			return err;
	}
	if (described)
		label = hs_arena_printf(jvm->arena, "the monitor of the class %s @%" PRIx64,
		                        described->external_name, object);
	else
		label = hs_arena_printf(jvm->arena, "the monitor of a %s @%" PRIx64,
		                        klass->external_name, object);
	if (!label)
		return hs_err_oom();
	*label_ret = label;
	err = hs_klass_loader(jvm, described ? described : klass, &loader);
	if (err || !loader)
		return err;
	err = hs_oop_klass(jvm, loader, &klass);
	if (!err)
		*loader_ret = klass->external_name;
	return err;
}

static uint32_t plain_monitor(struct hs_jvm *jvm, hs_addr object)
{
	const char *label = NULL, *class_name = NULL, *loader = NULL;
	struct hs_err *err;
	bool is_new;

	uint32_t index = hs_lock_resource(jvm, HS_RES_JAVA_MONITOR, object, object, &is_new);
	if (index == HS_NONE || !is_new)
		return index;
	err = hs_jvm_gap(jvm, name_monitor(jvm, object, &label, &class_name, &loader), "what it is",
	                 "object 0x%" PRIx64, object);
	hs_err_free(err); // out of memory: sticky in the arena
	if (!label)
		label = hs_arena_printf(jvm->arena, "the monitor of the object @%" PRIx64, object);
	struct hs_resource *resource = hs_snapshot_resource(jvm->snapshot, index);
	resource->label = label;
	resource->class_name = class_name;
	resource->loader = loader;
	return index;
}

static uint32_t loader_lock(struct hs_jvm *jvm, hs_addr loader, const struct hs_loader_info *info)
{
	bool is_new;

	uint32_t index = hs_lock_resource(jvm, HS_RES_LOADER_LOCK, loader, loader, &is_new);
	if (index == HS_NONE || !is_new)
		return index;
	struct hs_resource *resource = hs_snapshot_resource(jvm->snapshot, index);
	resource->label = hs_arena_printf(jvm->arena, "the class-loader lock of %s",
	                                  info->class_name ? info->class_name : "a class loader");
	resource->class_name = info->class_name;
	resource->loader_info = info;
	return index;
}

/** HS_ERR_ABSENT: it is a plain monitor. */
static struct hs_err *classify(struct hs_jvm *jvm, hs_addr object, uint32_t *ret)
{
	const struct hs_loader_info *info = NULL;
	const struct hs_klass *klass;
	struct hs_err *err;

	err = hs_oop_klass(jvm, object, &klass);
	if (err)
		return err;
	if (!strcmp(klass->name, "[I")) {
		const struct hs_pending_class *class = hs_class_of_init_lock(jvm, object);

		if (!class)
			return hs_err_absent();
		*ret = hs_class_resource(jvm, class);
		return NULL;
	}
	if (!hs_klass_is_a(jvm, klass, "java/lang/ClassLoader"))
		return hs_err_absent();
	err = hs_loader_get(jvm, object, &info);
	if (err)
		return err;
	// The VM and ClassLoader.getClassLoadingLock() lock the loader itself only then.
	if (info->parallel_capable == HS_YES)
		return hs_err_absent();
	*ret = loader_lock(jvm, object, info);
	return NULL;
}

uint32_t hs_monitor_resource(struct hs_jvm *jvm, hs_addr object)
{
	uint32_t resource = HS_NONE;
	struct hs_err *err = classify(jvm, object, &resource);

	if (!err)
		return resource;
	if (!hs_err_catch(&err, HS_ERR_ABSENT)) {
		err = hs_jvm_gap(jvm, err, "what kind of lock it is", "object 0x%" PRIx64, object);
		if (err) {
			hs_err_free(err); // out of memory: sticky in the arena
			return HS_NONE;
		}
	}
	return plain_monitor(jvm, object);
}

// ---- waits

/** The frame of @p thread that waits for (or is in wait() on) @p object; else its top Java frame.
 */
static uint32_t wait_frame(const struct hs_jvm *jvm, uint32_t thread, hs_addr object)
{
	const struct hs_thread *t = &jvm->snapshot->threads.items[thread];

	for (uint32_t i = 0; i < t->num_frames; i++)
		for (uint16_t j = 0; j < t->frames[i].num_locks; j++)
			if (t->frames[i].locks[j].object == object &&
			    t->frames[i].locks[j].state != HS_LOCK_LOCKED &&
			    t->frames[i].locks[j].state != HS_LOCK_ELIMINATED)
				return i;
	return hs_java_top_frame(jvm, thread);
}

/** A thread that waits for a monitor, or in it. */
struct monitor_wait {
	const struct hs_jthread *jthread; /**< NULL: a virtual thread that is not mounted */
	const struct hs_vthread *vthread;
	uint32_t thread;
	hs_addr monitor;
	bool pending; /**< JavaThread::_current_pending_monitor, else the waiting one */
	bool timed;
};

static void set_vthread_source(struct hs_jvm *jvm, const struct monitor_wait *wait,
                               struct hs_edge *edge)
{
	const struct hs_vthread *vthread = wait->vthread;

	edge->read_from = hs_arena_printf(jvm->arena,
	                                  "java.lang.VirtualThread 0x%" PRIx64
	                                  ", objectWaiter of ObjectMonitor 0x%" PRIx64,
	                                  vthread->oop, wait->monitor);
	edge->words[0] = hs_word_at(jvm, vthread->oop + jvm->vthreads->layout.waiter, 8);
	edge->words[2] = hs_word_at(jvm, hs_vthread_state_word(jvm, vthread), 4);
}

/** "JavaThread 0x…, _current_pending_monitor = ObjectMonitor 0x…", and its word. */
static void set_monitor_source(struct hs_jvm *jvm, const struct monitor_wait *wait,
                               struct hs_edge *edge)
{
	enum hs_field field =
		wait->pending ? HS_F_thread_pending_monitor : HS_F_thread_waiting_monitor;
	const struct hs_jthread *jthread = wait->jthread;

	if (!jthread) {
		set_vthread_source(jvm, wait, edge);
		return;
	}
	edge->read_from = hs_arena_printf(
		jvm->arena, "JavaThread 0x%" PRIx64 ", %s = ObjectMonitor 0x%" PRIx64,
		jthread->addr,
		wait->pending ? "_current_pending_monitor" : "_current_waiting_monitor",
		wait->monitor);
	edge->words[0] = (struct hs_word){jthread->addr + hs_layout_offset(&jvm->layout, field),
	                                  wait->monitor, 8};
}

/** The class that a wait for an init lock is about. */
static const struct hs_pending_class *waited_class(struct hs_jvm *jvm,
                                                   const struct monitor_wait *wait, hs_addr object,
                                                   bool initializing, enum hs_certainty *certainty)
{
	*certainty = HS_READ;
	// 26+: one that waits for a class need not stay on its carrier.
	return wait->jthread ? hs_class_of_wait(jvm, wait->jthread, object, initializing, certainty)
	                     : hs_class_of_init_lock(jvm, object);
}

/** Resource that a thread in monitor enter waits for. */
static uint32_t entered_resource(struct hs_jvm *jvm, const struct monitor_wait *wait,
                                 hs_addr object, enum hs_certainty *certainty)
{
	const struct hs_pending_class *class = waited_class(jvm, wait, object, false, certainty);

	if (!class)
		return hs_monitor_resource(jvm, object);
	// The initializing thread itself takes the init lock again to finish: an ordinary lock.
	return wait->jthread && class->init_thread == wait->jthread->addr
	               ? plain_monitor(jvm, object)
	               : hs_class_resource(jvm, class);
}

static int compare_to_lock_object(const void *key, const void *item)
{
	uint32_t a = *(const uint32_t *)key, b = ((const struct hs_lock_object *)item)->resource;

	return (a > b) - (a < b);
}

/** The lock of a resource is best read from the monitor that a thread waits for. */
static void set_monitor(struct hs_jvm *jvm, uint32_t resource, hs_addr monitor)
{
	struct hs_lock_index *index = jvm->lock_index;
	struct hs_lock_object *lock = NULL;

	// They come in the order in which their resources were made.
	if (index->objects.len)
		lock = bsearch(&resource, index->objects.items, index->objects.len, sizeof(*lock),
		               compare_to_lock_object);
	if (lock)
		lock->monitor = monitor;
}

/**
 * Java monitors are recursive: nobody waits for his own. ObjectMonitor::enter (and the end of
 * wait) takes the monitor first and clears JavaThread::_current_pending_monitor later, behind a
 * state transition where a safepoint holds the thread as long as it lasts (objectMonitor.cpp, 8 to
 * 25).
 */
static bool owns_monitor(struct hs_jvm *jvm, const struct monitor_wait *wait, hs_addr object)
{
	struct hs_lock_owner owner = {0};
	struct hs_err *err = hs_lock_owner(jvm, object, wait->monitor, &owner);

	hs_err_free(err); // a gap when the holders are collected
	if (err)
		return false;
	return wait->jthread ? owner.thread == wait->jthread : owner.vthread == wait->vthread;
}

static struct hs_err *wait_object(struct hs_jvm *jvm, const struct monitor_wait *wait, hs_addr *ret)
{
	return hs_monitor_waited_object(jvm, wait->monitor, ret);
}

static struct hs_err *add_enter_wait(struct hs_jvm *jvm, const struct monitor_wait *wait)
{
	struct hs_err *err;
	hs_addr object = 0;

	err = wait_object(jvm, wait, &object);
	if (err)
		return err;
	if (owns_monitor(jvm, wait, object))
		return NULL;
	struct hs_edge edge = {
		.thread = wait->thread,
		.frame = wait_frame(jvm, wait->thread, object),
	};
	edge.resource = entered_resource(jvm, wait, object, &edge.certainty);
	if (edge.resource == HS_NONE)
		return hs_err_oom();
	set_monitor(jvm, edge.resource, wait->monitor);
	hs_set_class_wait_state(jvm, edge.thread, edge.resource);
	set_monitor_source(jvm, wait, &edge);
	hs_snapshot_add_wait(jvm->snapshot, &edge);
	return NULL;
}

/** Does @p thread execute @p class.@p method near its top? */
static bool runs_method(const struct hs_jvm *jvm, uint32_t thread, const char *class_name,
                        const char *method)
{
	const struct hs_thread *t = &jvm->snapshot->threads.items[thread];
	uint32_t first = hs_java_top_frame(jvm, thread);

	for (uint32_t i = first; i < t->num_frames && i - first < 8; i++) {
		const struct hs_location *l = t->frames[i].location;

		if (l->method && l->class_name && !strcmp(l->method, method) &&
		    !strcmp(l->class_name, class_name))
			return true;
	}
	return false;
}

/** Thread.join() waits in the Thread object (of virtual threads: 27+); the thread that ends
 * notifies it. */
static void add_join(struct hs_jvm *jvm, uint32_t joined, hs_addr object, struct hs_edge *wait)
{
	struct hs_resource *resource = hs_snapshot_resource(jvm->snapshot, wait->resource);
	const struct hs_thread *thread = &jvm->snapshot->threads.items[joined];
	bool is_virtual = thread->kind == HS_THREAD_VIRTUAL;
	struct hs_edge hold = {
		.thread = joined,
		.resource = wait->resource,
		.frame = HS_NONE,
		.certainty = HS_READ,
	};

	resource->label = hs_arena_printf(jvm->arena, "the end of %sthread \"%s\"",
	                                  is_virtual ? "the virtual " : "",
	                                  thread->name ? thread->name : "?");
	hold.read_from = hs_arena_printf(jvm->arena, "java.lang.Thread 0x%" PRIx64 " is \"%s\"",
	                                 object, thread->name ? thread->name : "?");
	hs_snapshot_add_hold(jvm->snapshot, &hold);
}

/** Object.wait(): nobody holds a notify() that is still to come, but a thread to be joined. */
static struct hs_err *add_notify_wait(struct hs_jvm *jvm, const struct monitor_wait *wait,
                                      hs_addr object)
{
	const struct hs_klass *klass;
	struct hs_err *err;
	bool is_new;

	err = hs_oop_klass(jvm, object, &klass);
	if (err)
		return err;
	struct hs_edge edge = {
		.thread = wait->thread,
		.resource =
			hs_snapshot_resource_for(jvm->snapshot, HS_RES_JUC_SYNC, object, &is_new),
		.frame = wait_frame(jvm, wait->thread, object),
		.certainty = HS_READ,
		.timed = wait->timed,
	};
	if (edge.resource == HS_NONE)
		return hs_err_oom();
	struct hs_resource *resource = hs_snapshot_resource(jvm->snapshot, edge.resource);
	resource->class_name = klass->external_name;
	if (is_new)
		resource->label = hs_arena_printf(jvm->arena, "a notify() on the %s @%" PRIx64,
		                                  klass->external_name, object);
	set_monitor_source(jvm, wait, &edge);
	uint32_t joined = hs_thread_of_object(jvm, object);
	if (joined != HS_NONE && runs_method(jvm, wait->thread, "java.lang.Thread", "join"))
		add_join(jvm, joined, object, &edge);
	hs_snapshot_add_wait(jvm->snapshot, &edge);
	return NULL;
}

/** The VM waits in an init lock until the initialization that another thread runs is over. */
static void add_init_wait(struct hs_jvm *jvm, const struct monitor_wait *wait,
                          const struct hs_pending_class *class, enum hs_certainty certainty)
{
	struct hs_edge edge = {
		.thread = wait->thread,
		.resource = hs_class_resource(jvm, class),
		.frame = hs_java_top_frame(jvm, wait->thread),
		.certainty = certainty,
	};

	if (edge.resource == HS_NONE)
		return;
	hs_set_class_wait_state(jvm, edge.thread, edge.resource);
	set_monitor_source(jvm, wait, &edge);
	edge.words[1] = hs_word_at(
		jvm, class->klass + hs_layout_offset(&jvm->layout, HS_F_klass_init_thread), 8);
	hs_snapshot_add_wait(jvm->snapshot, &edge);
}

static struct hs_err *add_waiting(struct hs_jvm *jvm, const struct monitor_wait *wait)
{
	enum hs_certainty certainty;
	struct hs_err *err;
	hs_addr object = 0;

	err = wait_object(jvm, wait, &object);
	if (err)
		return err;
	const struct hs_pending_class *class = waited_class(jvm, wait, object, true, &certainty);
	if (!class)
		return add_notify_wait(jvm, wait, object);
	add_init_wait(jvm, wait, class, certainty);
	return NULL;
}

static struct hs_err *add_jthread_wait(struct hs_jvm *jvm, const struct hs_jthread *jthread)
{
	struct monitor_wait wait = {
		.jthread = jthread,
		.thread = hs_jthread_runner(jthread),
		.monitor = jthread->pending_monitor,
		.pending = jthread->pending_monitor != 0,
		.timed = jthread->thread_status & HS_STATUS_TIMED,
	};

	if (wait.pending)
		return add_enter_wait(jvm, &wait);
	if (!jthread->waiting_monitor)
		return NULL;
	wait.monitor = jthread->waiting_monitor;
	// Notified, and now in line to take the monitor again.
	return jthread->thread_status & HS_STATUS_BLOCKED ? add_enter_wait(jvm, &wait)
	                                                  : add_waiting(jvm, &wait);
}

/** 24+: those that wait for a monitor without a carrier. */
static struct hs_err *collect_vthread_waits(struct hs_jvm *jvm)
{
	struct hs_err *err;

	if (!jvm->vthreads)
		return NULL;
	hs_vec_each (vthread, &jvm->vthreads->items) {
		struct monitor_wait wait = {
			.vthread = vthread,
			.thread = vthread->thread,
			.monitor = vthread->monitor,
			.timed = vthread->state == HS_VSTATE_TIMED_WAIT,
		};

		if (!vthread->monitor || vthread->is_mounted)
			continue;
		err = vthread->state == HS_VSTATE_BLOCKED ? add_enter_wait(jvm, &wait)
		                                          : add_waiting(jvm, &wait);
		hs_jvm_blind(jvm, err);
		err = hs_jvm_gap(jvm, err, "what this virtual thread waits for",
		                 "monitor of the virtual thread #%" PRId64, vthread->java_tid);
		if (err)
			return err;
	}
	return NULL;
}

static struct hs_err *collect_waits(struct hs_jvm *jvm)
{
	struct hs_err *err;

	hs_vec_each (jthread, &jvm->jthreads) {
		if (jthread->thread == HS_NONE)
			continue;
		err = add_jthread_wait(jvm, jthread);
		hs_jvm_blind(jvm, err);
		err = hs_jvm_gap(jvm, err, "what this thread waits for", "monitor of \"%s\"",
		                 hs_jthread_name(jvm, jthread));
		if (err)
			return err;
	}
	return collect_vthread_waits(jvm);
}

// ---- holds

/** Outermost frame of a thread that shows @p object as locked: where it was taken. */
static uint32_t locked_frame(const struct hs_jvm *jvm, uint32_t thread, hs_addr object)
{
	const struct hs_thread *t = &jvm->snapshot->threads.items[thread];
	uint32_t found = HS_NONE;

	for (uint32_t i = 0; i < t->num_frames; i++)
		for (uint16_t j = 0; j < t->frames[i].num_locks; j++)
			if (t->frames[i].locks[j].object == object &&
			    t->frames[i].locks[j].state == HS_LOCK_LOCKED)
				found = i;
	return found;
}

/** Which record of @p jthread holds the lock of @p object: what runs on it, or, when only frames of
 * the carrier itself show it, that. *frame_ret: where it was taken, HS_NONE when not known. */
static uint32_t lock_holder(const struct hs_jvm *jvm, const struct hs_jthread *jthread,
                            hs_addr object, uint32_t *frame_ret)
{
	uint32_t runner = hs_jthread_runner(jthread);
	uint32_t frame;

	*frame_ret = locked_frame(jvm, runner, object);
	if (runner == jthread->thread || *frame_ret != HS_NONE)
		return runner;
	frame = locked_frame(jvm, jthread->thread, object);
	if (frame == HS_NONE)
		return runner;
	*frame_ret = frame;
	return jthread->thread;
}

static struct hs_err *add_hold(struct hs_jvm *jvm, const struct hs_lock_object *lock)
{
	struct hs_snapshot *snapshot = jvm->snapshot;
	struct hs_resource *resource = hs_snapshot_resource(snapshot, lock->resource);
	struct hs_lock_owner owner;
	struct hs_err *err;

	err = hs_lock_owner(jvm, lock->object, lock->monitor, &owner);
	if (err)
		return err;
	if (owner.unknown)
		hs_snapshot_detail(snapshot, lock->resource, "owner", "%s", owner.unknown);
	// Somebody waits for a lock whose holder we cannot name. In a live process it may be a
	// moment.
	if (owner.unknown && lock->monitor && !snapshot->info.ran_on)
		return hs_err_new(HS_ERR_BAD_DATA, "%s", owner.unknown);
	if (!owner.thread && !owner.vthread)
		return NULL;
	if (owner.thread)
		resource->owner_tid = owner.thread->tid;
	if (owner.thread && owner.thread->thread == HS_NONE) {
		hs_snapshot_detail(snapshot, lock->resource, "owner",
		                   "JavaThread 0x%" PRIx64 ", tid %d, which is gone",
		                   owner.thread->addr, (int)owner.thread->tid);
		return NULL;
	}
	struct hs_edge edge = {
		.resource = lock->resource,
		.certainty = HS_READ,
		.read_from = owner.read_from,
	};
	if (owner.thread) {
		edge.thread = lock_holder(jvm, owner.thread, lock->object, &edge.frame);
	} else {
		edge.thread = owner.vthread->thread;
		edge.frame = locked_frame(jvm, edge.thread, lock->object);
	}
	if (owner.is_biased && edge.frame == HS_NONE)
		return NULL;
	if (resource->kind == HS_RES_CLASS_LINK)
		edge.frame = hs_class_work_frame(jvm, edge.thread, resource->class_name, true);
	memcpy(edge.words, owner.words, sizeof(edge.words));
	if (owner.recursions > 0)
		hs_snapshot_detail(snapshot, lock->resource, "recursions", "%" PRId64,
		                   owner.recursions);
	hs_snapshot_add_hold(snapshot, &edge);
	return NULL;
}

static struct hs_err *collect_holds(struct hs_jvm *jvm)
{
	struct hs_lock_index *index = hs_lock_index(jvm);
	struct hs_err *err;

	if (!index)
		return hs_err_oom();
	hs_vec_each (lock, &index->objects) {
		if (!lock->object)
			continue;
		const char *label = hs_snapshot_resource(jvm->snapshot, lock->resource)->label;
		err = add_hold(jvm, lock);
		if (lock->monitor) // somebody waits for it
			hs_jvm_blind(jvm, err);
		err = hs_jvm_gap(jvm, err, "who holds it", "%s", label ? label : "a monitor");
		if (err)
			return err;
	}
	return NULL;
}

/** Fields that a release may cease to publish, and then nobody seems to wait. */
static struct hs_err *check_fields(struct hs_jvm *jvm)
{
	static const struct {
		enum hs_field field;
		const char *name, *costs;
	} needed[] = {
		{HS_F_thread_pending_monitor, "JavaThread::_current_pending_monitor",
	         "who waits to enter a monitor"             },
		{HS_F_thread_waiting_monitor, "JavaThread::_current_waiting_monitor",
	         "who waits for a class to be initialized"  },
		{HS_F_thread_oop,             "JavaThread::_threadObj",
	         "who waits for a java.util.concurrent lock"},
	};
	struct hs_err *err;

	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		if (hs_layout_has(&jvm->layout, needed[i].field))
			continue;
		err = hs_err_new(HS_ERR_UNSUPPORTED, "this libjvm does not publish it");
		hs_jvm_blind(jvm, err);
		err = hs_jvm_gap(jvm, err, needed[i].costs, "%s", needed[i].name);
		if (err)
			return err;
	}
	return NULL;
}

struct hs_err *hs_jvm_collect_locks(struct hs_jvm *jvm)
{
	static struct hs_err *(*const steps[])(struct hs_jvm *) = {
		check_fields,           hs_jvm_cross_check,  collect_waits,
		hs_class_collect_waits, collect_holds,       hs_class_collect_holds,
		hs_juc_collect,         hs_carriers_collect, hs_loading_collect,
	};

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		struct hs_err *err = steps[i](jvm);

		if (err)
			return err;
	}
	return hs_arena_failed(jvm->arena) ? hs_err_oom() : NULL;
}
