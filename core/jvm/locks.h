// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * What the lock collectors of core/jvm share: threads by their Java object, owners of monitors,
 * classes that are being linked or initialized, class loaders, j.u.c. synchronizers. Not installed.
 */
#ifndef HS_JVM_LOCKS_H
#define HS_JVM_LOCKS_H

#include <stdlib.h>

#include "core/jvm/jvm_internal.h"

/** qsort() of a vector; an empty one has no items to point to. */
#define hs_vec_sort(vec, compare) \
	((vec)->items ? qsort((vec)->items, (vec)->len, sizeof(*(vec)->items), compare) : (void)0)

/** Bounds a linked walk, and finds out that it goes in circles (Brent). Zero-initialize. */
struct hs_list_walk {
	hs_addr mark;
	size_t steps, next_mark;
};

/** True when @p node is one too many. */
static inline bool hs_list_walk_ends(struct hs_list_walk *walk, hs_addr node, size_t limit)
{
	if (walk->steps && node == walk->mark)
		return true;
	if (walk->steps == walk->next_mark) {
		walk->mark = node;
		walk->next_mark = 2 * walk->next_mark + 1;
	}
	return walk->steps++ >= limit;
}

/** Bits of java.lang.Thread.threadStatus: JVMTI's thread states, the same since 5 (jvmti.h). */
enum hs_thread_status {
	HS_STATUS_TIMED = 0x20,
	HS_STATUS_OBJECT_WAIT = 0x100,
	HS_STATUS_PARKED = 0x200,
	HS_STATUS_BLOCKED = 0x400, /**< in monitor enter, also after a notify() */
};

/** Who holds the lock of an object. */
struct hs_lock_owner {
	bool is_locked;
	const struct hs_jthread *thread;  /**< NULL: not locked, or see vthread, unknown */
	const struct hs_vthread *vthread; /**< the holder, when it is not mounted */
	bool is_biased;      /**< biased to thread, which may hold it or not: its frames tell */
	const char *unknown; /**< locked, thread is NULL: the owner in words, for a detail */
	const char *read_from;
	hs_addr monitor;    /**< ObjectMonitor *, 0 when the lock is not inflated */
	int64_t recursions; /**< of the ObjectMonitor */
	struct hs_word words[HS_EDGE_WORDS];
};

/** HotSpot's InstanceKlass::ClassState numbers of this release; -1: it has no such state. */
struct hs_class_states {
	int64_t allocated, loaded, being_linked, linked, being_initialized, fully_initialized,
		error;
};

/** A class that is not initialized yet: candidate for what a thread waits for. */
struct hs_pending_class {
	hs_addr klass;       /**< InstanceKlass * */
	hs_addr init_lock;   /**< oop of its int[0]; 0: none, or the being_linked variant */
	hs_addr init_thread; /**< JavaThread *, 0 */
	uint8_t state;
};

/** The lock of @c object was made a resource. */
struct hs_lock_object {
	hs_addr object;
	hs_addr monitor; /**< ObjectMonitor * that a thread waits for; 0: by the mark word */
	uint32_t resource;
};

/** An inflated monitor and its object. */
struct hs_monitor_ref {
	hs_addr object, monitor;
};

/** An entry of a LockStack. */
struct hs_lock_stack_ref {
	hs_addr object, slot;
	const struct hs_jthread *thread; /**< NULL: in the stack chunk of vthread */
	const struct hs_vthread *vthread;
};

/** Mark word of the object of an entry of a LockStack. */
struct hs_lock_stack_mark {
	uint64_t mark;
	const struct hs_lock_stack_ref *ref;
};

/** An id that ObjectMonitor::_owner may be. */
struct hs_owner_id_ref {
	uint64_t id;
	bool of_carrier; /**< java_tid of a JavaThread, which may run a virtual thread now */
	const struct hs_jthread *thread;
};

struct hs_loader_ref {
	hs_addr loader;
	const struct hs_loader_info *info;
};

/** What the lock collectors have read so far; each part on first use. In the arena. */
struct hs_lock_index {
	HS_VEC(struct hs_lock_object) objects; /**< in the order of first use: by resource */

	bool monitors_read;
	HS_VEC(struct hs_monitor_ref) monitors; /**< by object */

	bool lock_stacks_read;
	HS_VEC(struct hs_lock_stack_ref) lock_stacks; /**< by object, then slot */
	bool marks_read;
	HS_VEC(struct hs_lock_stack_mark) lock_stack_marks; /**< by mark */

	bool owner_ids_read;
	HS_VEC(struct hs_owner_id_ref) owner_ids; /**< by id; that of a carrier last */

	bool classes_read;
	struct hs_class_states states;
	HS_VEC(struct hs_pending_class) classes;              /**< not initialized, by klass */
	HS_VEC(const struct hs_pending_class *) by_init_lock; /**< those with one, by it */

	size_t num_thread_locals; /**< slots of ThreadLocalMaps looked at so far */

	HS_VEC(struct hs_loader_ref) loaders; /**< asked for so far */
	bool registered_read, registered_known;
	HS_VEC(hs_addr) registered; /**< mirrors in ParallelLoaders.loaderTypes, ascending */
};

// ---- monitors.c

/** The index, made on first use; NULL when out of memory. */
struct hs_lock_index *hs_lock_index(struct hs_jvm *jvm);

/** Record a failed step as a gap. @return Only out-of-memory. */
HS_MUST_CHECK HS_PRINTF(4, 5) struct hs_err *hs_jvm_gap(struct hs_jvm *jvm, struct hs_err *err,
                                                        const char *costs, const char *fmt, ...);

/** Does @p err (NULL: no) cost what can hide a deadlock? Then nothing found is no all-clear. */
void hs_jvm_blind(struct hs_jvm *jvm, const struct hs_err *err);

/** Innermost Java frame of a thread, or HS_NONE. */
uint32_t hs_java_top_frame(const struct hs_jvm *jvm, uint32_t thread);

/** Resource of kind @p kind for the lock of @p object, remembered in objects when it is new. */
uint32_t hs_lock_resource(struct hs_jvm *jvm, enum hs_resource_kind kind, hs_addr address,
                          hs_addr object, bool *is_new_ret);

/** "main" for texts; never NULL. */
const char *hs_jthread_name(const struct hs_jvm *jvm, const struct hs_jthread *jthread);

/** Say in plain words that a thread waits for a class, if @p resource is one. */
void hs_set_class_wait_state(struct hs_jvm *jvm, uint32_t thread, uint32_t resource);

/** Word @p addr of @p size bytes as it is now in the capture; an empty word when unreadable. */
struct hs_word hs_word_at(struct hs_jvm *jvm, hs_addr addr, uint8_t size);

// ---- java_threads.c

/** The thread whose java.lang.Thread (or mounted virtual thread) is @p oop, or NULL. */
const struct hs_jthread *hs_jthread_by_oop(const struct hs_jvm *jvm, hs_addr oop);

/** The same, or by its eetop field: a moving collector may leave us an old copy of the object. */
const struct hs_jthread *hs_jthread_of_object(struct hs_jvm *jvm, hs_addr oop);

/** The LWP with this tid, NULL when there is none. */
const struct hs_lwp *hs_lwp_of(const struct hs_jvm *jvm, pid_t tid);

/** LWP of a thread, NULL when there is none. */
const struct hs_lwp *hs_jthread_lwp(const struct hs_jvm *jvm, const struct hs_jthread *jthread);

/**
 * Copy the native part of a stack: [sp, last_Java_sp), the frames of the VM above the last Java
 * frame. HS_ERR_ABSENT when there is none. Words in the arena.
 */
HS_MUST_CHECK struct hs_err *hs_jthread_native_stack(struct hs_jvm *jvm,
                                                     const struct hs_jthread *jthread,
                                                     const uint64_t **words_ret, size_t *count_ret);

/** Address of entry @p index of a thread's LockStack. */
hs_addr hs_jthread_lock_stack_slot(const struct hs_jvm *jvm, const struct hs_jthread *jthread,
                                   size_t index);

/** Address of a thread's LockStack::_top, a u4. */
hs_addr hs_jthread_lock_stack_top(const struct hs_jvm *jvm, const struct hs_jthread *jthread);

// ---- monitor_owner.c

/** Object of an ObjectMonitor; 0 when it is dead. */
HS_MUST_CHECK struct hs_err *hs_monitor_object(struct hs_jvm *jvm, hs_addr monitor, hs_addr *ret);

/** Object of an ObjectMonitor that a thread enters or waits in: there is one, it can be read, and
 * it says so itself. HS_ERR_BAD_DATA. */
HS_MUST_CHECK struct hs_err *hs_monitor_waited_object(struct hs_jvm *jvm, hs_addr monitor,
                                                      hs_addr *ret);

/** Who holds the lock of @p object, in any of HotSpot's encodings. @p monitor: its ObjectMonitor
 * where known, or 0. */
HS_MUST_CHECK struct hs_err *hs_lock_owner(struct hs_jvm *jvm, hs_addr object, hs_addr monitor,
                                           struct hs_lock_owner *ret);

// ---- class_state.c

/** The class whose init lock is @p object; NULL: none. Errors are gaps. */
const struct hs_pending_class *hs_class_of_init_lock(struct hs_jvm *jvm, hs_addr object);

/**
 * The class whose init lock @p jthread waits for with the monitor of @p object; NULL: none. When
 * no class has this lock (a moving collector), the class that its native stack mentions: inferred.
 */
const struct hs_pending_class *hs_class_of_wait(struct hs_jvm *jvm,
                                                const struct hs_jthread *jthread, hs_addr object,
                                                bool initializing, enum hs_certainty *certainty);

/** The first word of a native stack that is a class that is (not) being initialized, and that not
 * by the JavaThread @p not_by; 0: none. */
hs_addr hs_class_on_stack(struct hs_jvm *jvm, const uint64_t *words, size_t count,
                          bool initializing, hs_addr not_by);

/** The first word of a native stack that is a class that @p jthread links, by its lock; 0: none. A
 * stack also holds stale words, and classes that others link. */
hs_addr hs_class_linked_on_stack(struct hs_jvm *jvm, const uint64_t *words, size_t count,
                                 const struct hs_jthread *jthread);

/** The link (or the initialization) of a class as a resource, named. HS_NONE: out of memory. */
uint32_t hs_class_resource(struct hs_jvm *jvm, const struct hs_pending_class *class);

/** 21.0.0 to 21.0.3, 22: threads that wait for a class's _init_monitor. */
HS_MUST_CHECK struct hs_err *hs_class_collect_waits(struct hs_jvm *jvm);

/** Holders by InstanceKlass::_init_thread of all class resources. */
HS_MUST_CHECK struct hs_err *hs_class_collect_holds(struct hs_jvm *jvm);

/** Frame of @p thread that makes the VM link a class, or runs <clinit> of the class called
 * @p name; HS_NONE when not known. */
uint32_t hs_class_work_frame(const struct hs_jvm *jvm, uint32_t thread, const char *name,
                             bool is_link);

// ---- loaders.c

/** What is known of a class loader object, cached. Parts that cannot be read are unknown. */
HS_MUST_CHECK struct hs_err *hs_loader_get(struct hs_jvm *jvm, hs_addr loader,
                                           const struct hs_loader_info **ret);
/** Name of the class that @p object, a value of the loader's parallelLockMap, is the lock for.
 * HS_ERR_ABSENT when it is none. */
HS_MUST_CHECK struct hs_err *hs_loader_class_of_lock(struct hs_jvm *jvm, hs_addr loader,
                                                     hs_addr object, const char **ret);

// ---- cross_checks.c

/** Gaps where what is known of a thread does not fit together. After the stack walk. */
HS_MUST_CHECK struct hs_err *hs_jvm_cross_check(struct hs_jvm *jvm);

// ---- loading.c

/** Name, on the edges of loader locks and class links, the class that the thread is loading. */
HS_MUST_CHECK struct hs_err *hs_loading_collect(struct hs_jvm *jvm);

// ---- juc_locks.c

/** Waits and holds of parked threads. */
HS_MUST_CHECK struct hs_err *hs_juc_collect(struct hs_jvm *jvm);

#endif // HS_JVM_LOCKS_H
