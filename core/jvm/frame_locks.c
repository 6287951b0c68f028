// SPDX-License-Identifier: Apache-2.0
/** @file Frame locks: the rules of jstack's "- locked" lines. */

#include <string.h>

#include "core/jvm/java_frames.h"
#include "core/jvm/locks.h"
#include "core/jvm/virtual_threads.h"

enum {
	BLOCKED_ON_MONITOR_ENTER = 0x400, /**< java.lang.Thread.threadStatus (jvmti.h) */
};

hs_addr hs_root_oop(const struct hs_jvm *jvm, uint64_t word)
{
	// Generational ZGC keeps oops uncoloured on stacks (zBarrier.hpp, 21+).
	return jvm->zgc_generational ? word : hs_oop_uncolor(jvm, word);
}

hs_addr hs_stack_oop(const struct hs_jvm *jvm, uint64_t word)
{
	if (jvm->stack_oops == HS_STACK_OOPS_NARROW)
		return hs_oop_decode_narrow(jvm, (uint32_t)word);
	if (jvm->stack_oops == HS_STACK_OOPS_FIELD)
		return hs_oop_uncolor(jvm, word);
	return hs_root_oop(jvm, word);
}

/** What the owner of a stack waits for: a JavaThread, or a virtual thread that is not mounted. */
struct waits {
	hs_addr park_blocker;
	hs_addr pending_monitor, waiting_monitor; /**< ObjectMonitor */
	bool notified;
	/** That there is no pending monitor is something to be read, too. */
	bool is_known_not_to_enter;
};

static bool get_waits(const struct hs_jvm *jvm, uint32_t thread, struct waits *ret)
{
	const struct hs_jthread *jthread = hs_jthread_by_index(jvm, thread);
	const struct hs_vthread *vthread;

	*ret = (struct waits){0};
	if (jthread) {
		*ret = (struct waits){
			.park_blocker = jthread->park_blocker,
			.pending_monitor = jthread->pending_monitor,
			.waiting_monitor = jthread->waiting_monitor,
			.notified = jthread->thread_status & BLOCKED_ON_MONITOR_ENTER,
			.is_known_not_to_enter =
				!jthread->pending_monitor &&
				!(jthread->thread_status & BLOCKED_ON_MONITOR_ENTER) &&
				hs_layout_has(&jvm->layout, HS_F_thread_pending_monitor),
		};
		return true;
	}
	vthread = hs_vthread_by_index(jvm, thread);
	if (!vthread)
		return false;
	ret->park_blocker = vthread->park_blocker;
	// In wait() and notified, it is in line to enter again: BLOCKED too.
	ret->notified = vthread->state == HS_VSTATE_BLOCKED;
	if (ret->notified)
		ret->pending_monitor = vthread->monitor;
	ret->waiting_monitor = vthread->monitor;
	ret->is_known_not_to_enter =
		vthread->state != HS_VSTATE_BLOCKED && vthread->state != HS_VSTATE_UNKNOWN;
	return true;
}

static bool has_java_frame(const struct hs_frame_list *list)
{
	for (size_t i = 0; i < list->frames.len; i++) {
		enum hs_frame_kind kind = list->frames.items[i].location->kind;

		if (kind == HS_FRAME_INTERPRETED || kind == HS_FRAME_COMPILED ||
		    kind == HS_FRAME_INLINED)
			return true;
	}
	return false;
}

void hs_frame_locks_init(struct hs_frame_locks *locks, struct hs_jvm *jvm, uint32_t thread,
                         const struct hs_frame_list *list)
{
	*locks = (struct hs_frame_locks){
		.jvm = jvm, .thread = thread, .is_top = !has_java_frame(list)};
}

/** "int" of the mirror int.class, which has no Klass but that of int[]; void.class has neither. */
static struct hs_err *primitive_name(struct hs_jvm *jvm, hs_addr mirror, const char **ret)
{
	static const struct {
		const char *array, *name;
	} primitives[] = {
		{"[B", "byte"   },
                {"[C", "char"   },
                {"[D", "double" },
                {"[F", "float"  },
		{"[I", "int"    },
                {"[J", "long"   },
                {"[S", "short"  },
                {"[Z", "boolean"},
	};
	struct hs_err *err;
	const struct hs_klass *klass;
	uint32_t offset;
	hs_addr addr;

	if (!hs_layout_has(&jvm->layout, HS_F_class_array_klass_offset))
		return hs_err_absent();
	err = hs_target_read_u32(jvm->target,
	                         hs_layout_static(&jvm->layout, HS_F_class_array_klass_offset),
	                         &offset);
	if (!err)
		err = hs_target_read_u64(jvm->target, mirror + offset, &addr);
	if (err)
		return err;
	*ret = "void";
	if (!addr)
		return NULL;
	err = hs_klass_get(jvm, addr, &klass);
	if (err)
		return err;
	for (size_t i = 0; i < sizeof(primitives) / sizeof(*primitives); i++) {
		if (!strcmp(klass->name, primitives[i].array))
			*ret = primitives[i].name;
	}
	return NULL;
}

struct hs_err *hs_mirror_class_name(struct hs_jvm *jvm, hs_addr mirror, const char **ret)
{
	struct hs_err *err;
	const struct hs_klass *klass;
	hs_addr addr;

	err = hs_klass_of_mirror(jvm, mirror, &addr);
	if (err)
		return err;
	if (!addr)
		return primitive_name(jvm, mirror, ret);
	err = hs_klass_get(jvm, addr, &klass);
	if (err)
		return err;
	*ret = klass->external_name;
	return NULL;
}

/** "java.lang.Class for app.Main" of a mirror, as jstack words it. */
static struct hs_err *mirror_name(struct hs_jvm *jvm, hs_addr mirror, const char *class_name,
                                  const char **ret)
{
	struct hs_err *err;
	const char *mirrored;

	*ret = class_name;
	err = hs_mirror_class_name(jvm, mirror, &mirrored);
	if (err && hs_err_code(err) == HS_ERR_OOM)
		return err;
	if (err) {
		hs_err_free(err); // that it is a mirror is known, of what is not
		return NULL;
	}
	*ret = hs_arena_printf(jvm->arena, "%s for %s", class_name, mirrored);
	return *ret ? NULL : hs_err_oom();
}

/** Name for a lock line; NULL when the object cannot be read. */
static struct hs_err *object_class_name(struct hs_jvm *jvm, hs_addr object, const char **ret)
{
	struct hs_err *err;
	const struct hs_klass *klass;

	*ret = NULL;
	err = hs_oop_klass(jvm, object, &klass);
	if (err && hs_err_code(err) == HS_ERR_OOM)
		return err;
	if (err) {
		hs_err_free(err); // moved or stale: the address is all we can say
		return NULL;
	}
	*ret = klass->external_name;
	return strcmp(klass->name, "java/lang/Class")
	               ? NULL
	               : mirror_name(jvm, object, klass->external_name, ret);
}

static struct hs_err *push(struct hs_frame_locks *locks, enum hs_frame_lock_state state,
                           hs_addr object, uint32_t resource)
{
	struct hs_err *err;
	const char *name = NULL;

	if (locks->items.len >= HS_MAX_LOCKS)
		return hs_err_new(HS_ERR_BAD_DATA, "more than %d locks in one frame", HS_MAX_LOCKS);
	if (object) {
		err = object_class_name(locks->jvm, object, &name);
		if (err)
			return err;
	}
	struct hs_frame_lock *lock = hs_vec_push(locks->jvm->arena, &locks->items);
	if (!lock)
		return hs_err_oom();
	*lock = (struct hs_frame_lock){
		.state = state, .resource = resource, .object = object, .class_name = name};
	return NULL;
}

/** Object of an ObjectMonitor; 0 when there is none or it is dead. */
static hs_addr monitor_object(struct hs_jvm *jvm, hs_addr monitor)
{
	struct hs_err *err;
	hs_addr object = 0;

	if (!monitor)
		return 0;
	err = hs_monitor_waited_object(jvm, monitor, &object);
	hs_err_free(err); // 0 then
	return object;
}

static bool is_object_wait(const struct hs_method *method)
{
	// vmSymbols wait_name: "wait" up to 18, "wait0" since.
	return method->is_native && !strcmp(method->holder->name, "java/lang/Object") &&
	       (!strcmp(method->name, "wait0") || !strcmp(method->name, "wait"));
}

static struct hs_err *add_object_wait(struct hs_frame_locks *locks, const struct waits *waits,
                                      hs_addr receiver)
{
	hs_addr object = receiver;

	// A compiled wrapper keeps no receiver ("no object reference available"), but the thread
	// knows its monitor.
	if (!object)
		object = monitor_object(locks->jvm, waits->waiting_monitor);
	uint32_t resource = object ? hs_monitor_resource(locks->jvm, object) : HS_NONE;
	return push(locks,
	            waits->notified && receiver ? HS_LOCK_WAITING_RE_LOCK : HS_LOCK_WAITING_ON,
	            receiver, resource);
}

struct hs_err *hs_frame_locks_add_wait(struct hs_frame_locks *locks, const struct hs_method *method,
                                       hs_addr receiver)
{
	struct hs_jvm *jvm = locks->jvm;
	struct waits waits;

	if (!locks->is_top)
		return NULL;
	bool found = get_waits(jvm, locks->thread, &waits);
	if (is_object_wait(method))
		return add_object_wait(locks, &waits, receiver);
	if (!found)
		return NULL;
	if (waits.park_blocker)
		return push(locks, HS_LOCK_PARKING, waits.park_blocker, HS_NONE);

	// Object.wait() without that method on top: the VM waits for a class to be initialized.
	hs_addr object = monitor_object(jvm, waits.waiting_monitor);
	if (!object)
		return NULL;
	uint32_t resource = hs_monitor_resource(jvm, object);
	if (resource == HS_NONE)
		return NULL;
	enum hs_resource_kind kind = hs_snapshot_resource(jvm->snapshot, resource)->kind;
	if (kind != HS_RES_CLASS_INIT && kind != HS_RES_CLASS_LINK)
		return NULL;
	return push(locks, HS_LOCK_WAITING_ON, object, resource);
}

/** 8 to 17: biased to another thread. The slot was filled, the bias is not revoked yet: that takes
 * a safepoint (biasedLocking.cpp, VM_RevokeBias), and no pending monitor tells of it. */
static bool waits_for_revocation(struct hs_jvm *jvm, const struct hs_jthread *jthread,
                                 hs_addr object)
{
	struct hs_lock_owner owner = {0};
	struct hs_err *err = hs_lock_owner(jvm, object, 0, &owner);

	hs_err_free(err); // not that we know; a gap when the holders are collected
	return !err && owner.is_biased && owner.thread && owner.thread != jthread;
}

struct hs_err *hs_frame_locks_add(struct hs_frame_locks *locks, hs_addr object, bool is_eliminated)
{
	struct hs_jvm *jvm = locks->jvm;
	enum hs_frame_lock_state state = HS_LOCK_LOCKED;

	if (!object)
		return NULL;
	if (is_eliminated)
		return push(locks, HS_LOCK_ELIMINATED, object, HS_NONE);
	if (locks->is_top && !locks->found_first) {
		struct waits waits;
		bool found = get_waits(jvm, locks->thread, &waits);
		hs_addr pending = monitor_object(jvm, waits.pending_monitor);

		// Only the first monitor of the first frame can be one that is not entered yet.
		locks->found_first = true;
		const struct hs_jthread *jthread = hs_jthread_by_index(jvm, locks->thread);
		if (pending == object || (jthread && waits_for_revocation(jvm, jthread, object)))
			state = HS_LOCK_WAITING_TO_LOCK;
		else if (!pending && !(found && waits.is_known_not_to_enter))
			return NULL; // locked, or waited for: a gap says that it is not known
	}
	locks->found_first = true;
	return push(locks, state, object, hs_monitor_resource(jvm, object));
}

struct hs_err *hs_frame_locks_add_scalar(struct hs_frame_locks *locks, hs_addr mirror)
{
	struct hs_err *err;
	const char *name = NULL;

	err = push(locks, HS_LOCK_ELIMINATED, 0, HS_NONE);
	if (err || !mirror)
		return err;
	err = hs_mirror_class_name(locks->jvm, mirror, &name);
	if (err && hs_err_code(err) == HS_ERR_OOM)
		return err;
	hs_err_free(err); // that it is eliminated is known, its class is not
	locks->items.items[locks->items.len - 1].class_name = name;
	return NULL;
}

void hs_frame_locks_store(const struct hs_frame_locks *locks, struct hs_frame *frame)
{
	frame->locks = locks->items.items;
	frame->num_locks = (uint16_t)locks->items.len;
}

void hs_frame_add_class_wait(struct hs_jvm *jvm, uint32_t thread, uint32_t frame, uint32_t resource)
{
	struct hs_thread *t = &jvm->snapshot->threads.items[thread];

	if (frame >= t->num_frames || t->frames[frame].num_locks >= HS_MAX_LOCKS ||
	    hs_snapshot_resource(jvm->snapshot, resource)->kind != HS_RES_CLASS_INIT)
		return;
	size_t num_locks = t->frames[frame].num_locks;
	struct hs_frame *frames = hs_arena_calloc(jvm->arena, t->num_frames, sizeof(*frames));
	struct hs_frame_lock *locks = hs_arena_calloc(jvm->arena, num_locks + 1, sizeof(*locks));
	if (!frames || !locks)
		return; // the arena tells that it is full
	locks[0] = (struct hs_frame_lock){.state = HS_LOCK_WAITING_ON, .resource = resource};
	if (num_locks)
		memcpy(locks + 1, t->frames[frame].locks, num_locks * sizeof(*locks));
	memcpy(frames, t->frames, t->num_frames * sizeof(*frames));
	frames[frame].locks = locks;
	frames[frame].num_locks++;
	t->frames = frames;
}
