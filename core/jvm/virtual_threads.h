// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Virtual threads (21+): all that can be found, mounted or not, what they wait for, and the stack
 * chunks that hold the frames of those that are not on a carrier. Not installed.
 */
#ifndef HS_JVM_VIRTUAL_THREADS_H
#define HS_JVM_VIRTUAL_THREADS_H

#include "core/jvm/jvm_internal.h"

/** VirtualThread.state without its SUSPENDED bit; the numbers are those of the release. */
enum hs_vthread_state {
	HS_VSTATE_UNKNOWN,
	HS_VSTATE_NEW,
	HS_VSTATE_STARTED,
	HS_VSTATE_RUNNABLE, /**< before 21.0.4: what is UNPARKED or YIELDED later */
	HS_VSTATE_RUNNING,
	HS_VSTATE_PARKING,
	HS_VSTATE_PARKED,
	HS_VSTATE_PINNED,        /**< parked, and cannot leave its carrier */
	HS_VSTATE_TIMED_PARKING, /**< the timed ones: 21.0.4+ */
	HS_VSTATE_TIMED_PARKED,
	HS_VSTATE_TIMED_PINNED,
	HS_VSTATE_UNPARKED,
	HS_VSTATE_YIELDING,
	HS_VSTATE_YIELDED,
	HS_VSTATE_BLOCKING, /**< this and the rest but the last: 24+ */
	HS_VSTATE_BLOCKED,
	HS_VSTATE_UNBLOCKED,
	HS_VSTATE_WAITING,
	HS_VSTATE_WAIT,
	HS_VSTATE_TIMED_WAITING,
	HS_VSTATE_TIMED_WAIT,
	HS_VSTATE_TERMINATED,
	HS_VSTATE_COUNT,
};

/** One virtual thread. Oops are decoded addresses, 0 when there is none. */
struct hs_vthread {
	hs_addr oop;          /**< java.lang.VirtualThread */
	hs_addr cont;         /**< its Continuation */
	hs_addr chunk;        /**< innermost StackChunk */
	hs_addr scheduler;    /**< Executor that runs it */
	hs_addr termination;  /**< the CountDownLatch that threads in join() wait for */
	hs_addr park_blocker; /**< what it parks for */
	hs_addr monitor;      /**< ObjectMonitor * that it waits to enter, or is in wait() on */
	hs_addr name, scopes; /**< String; StackableScope */
	int64_t java_tid;
	uint32_t thread; /**< index into the snapshot */
	enum hs_vthread_state state;
	bool is_mounted;                  /**< a JavaThread runs it, or is about to */
	const struct hs_jthread *carrier; /**< whose stack its frames are on; NULL: nobody's */
};

/** Where the fields of the library's classes are; 0: this release has no such field. */
struct hs_vthread_layout {
	uint32_t size; /**< of a VirtualThread, bytes */
	uint32_t state, cont, scheduler, termination, park_blocker, name, tid, scopes, waiter;
	uint32_t cont_tail;
	uint32_t chunk_header; /**< bytes before the stack of a StackChunk */
	uint32_t chunk_parent, chunk_size, chunk_sp, chunk_bottom, chunk_argsize, chunk_flags,
		chunk_lock_stack_size;
	int64_t states[HS_VSTATE_COUNT]; /**< -1: this release has no such state */
};

/** All of them. In the arena but for the maps, whose values are index + 1. */
struct hs_vthread_table {
	struct hs_vthread_layout layout;
	HS_VEC(struct hs_vthread) items; /**< by java_tid */
	uint64_t chunk_frames; /**< read so far, and chunks: many threads may claim one chunk */
	struct hs_map64 by_oop, by_tid, by_cont, by_thread, by_termination;
};

enum {
	HS_VTHREAD_MAX_BYTES = 1024, /**< of a java.lang.VirtualThread: 136 in 25 */
};

// ---- virtual_layout.c

/** Fields of java.lang.VirtualThread, all of them within layout->size. */
HS_MUST_CHECK struct hs_err *hs_vthread_layout_read(struct hs_jvm *jvm,
                                                    const struct hs_klass *klass,
                                                    struct hs_vthread_layout *layout);
/** Fields of jdk.internal.vm.Continuation and jdk.internal.vm.StackChunk, the latter all within
 * layout->chunk_header, which stays 0 when that fails: then no chunk is read. */
HS_MUST_CHECK struct hs_err *hs_chunk_layout_read(struct hs_jvm *jvm, const struct hs_klass *cont,
                                                  const struct hs_klass *chunk,
                                                  struct hs_vthread_layout *layout);

// ---- virtual_threads.c

/** Find them, describe them in the snapshot, and read the stacks of those that are not mounted.
 * After the JavaThreads. What fails is a gap; only out-of-memory is returned. */
HS_MUST_CHECK struct hs_err *hs_vthreads_collect(struct hs_jvm *jvm);
void hs_vthreads_close(struct hs_jvm *jvm);

/** Lookups; NULL when there is no such one, or no virtual thread at all. */
const struct hs_vthread *hs_vthread_by_oop(const struct hs_jvm *jvm, hs_addr oop);
const struct hs_vthread *hs_vthread_by_tid(const struct hs_jvm *jvm, int64_t java_tid);
const struct hs_vthread *hs_vthread_by_cont(const struct hs_jvm *jvm, hs_addr cont);
const struct hs_vthread *hs_vthread_by_index(const struct hs_jvm *jvm, uint32_t thread);
/** The one whose end @p latch (a CountDownLatch) or its Sync stands for. */
const struct hs_vthread *hs_vthread_by_termination(const struct hs_jvm *jvm, hs_addr sync);

/** The same by the object: a moving collector may leave us an old copy of it. */
const struct hs_vthread *hs_vthread_of_object(struct hs_jvm *jvm, hs_addr oop);

/** Thread (platform or virtual) whose java.lang.Thread is @p oop; HS_NONE. */
uint32_t hs_thread_of_object(struct hs_jvm *jvm, hs_addr oop);

/** Address of VirtualThread.state, a u4: looked at again before a live report. */
hs_addr hs_vthread_state_word(const struct hs_jvm *jvm, const struct hs_vthread *vthread);

// ---- virtual_states.c

/** Numbers of the states, by the constants of the class: they were renumbered in 21.0.4. */
HS_MUST_CHECK struct hs_err *hs_vthread_states_read(struct hs_jvm *jvm,
                                                    const struct hs_klass *klass,
                                                    struct hs_vthread_layout *layout);
enum hs_vthread_state hs_vthread_state_of(const struct hs_vthread_layout *layout, uint32_t raw);

/** Thread.State as jstack words it; NULL when it is not known. */
const char *hs_vthread_java_state(enum hs_vthread_state state);
/** The same as plain words. */
const char *hs_vthread_words(enum hs_vthread_state state);
/** Ready to run as soon as a carrier takes it. */
bool hs_vthread_is_runnable(enum hs_vthread_state state);

// ---- virtual_stacks.c

/**
 * The return barrier: the frames of @p cursor's thread go on in the stack chunks of its virtual
 * thread. Append them, and go on at the frame that called Continuation.enterSpecial.
 */
HS_MUST_CHECK struct hs_err *hs_return_barrier_step(struct hs_jvm *jvm, struct hs_cursor *cursor,
                                                    struct hs_frame_list *list);

/** Give the frames of mounted virtual threads to them. After the stack walk. */
HS_MUST_CHECK struct hs_err *hs_vthreads_split(struct hs_jvm *jvm);

// ---- stack_chunks.c

/** Append the frames of a chunk and of its parents, innermost first, as frames of @p thread. What
 * was read before an error stays in the list. */
HS_MUST_CHECK struct hs_err *hs_chunk_frames(struct hs_jvm *jvm, hs_addr chunk, uint32_t thread,
                                             struct hs_frame_list *list);

/** 25+: objects that an unmounted virtual thread has fast-locked, outermost first, and where they
 * are noted (@p slots). *count_ret ≤ @p max. */
HS_MUST_CHECK struct hs_err *hs_chunk_lock_stack(struct hs_jvm *jvm, hs_addr chunk,
                                                 hs_addr *objects, hs_addr *slots, size_t max,
                                                 size_t *count_ret);

// ---- carriers.c

/** Virtual threads that are ready to run while all carriers of their scheduler are taken. */
HS_MUST_CHECK struct hs_err *hs_carriers_collect(struct hs_jvm *jvm);

#endif // HS_JVM_VIRTUAL_THREADS_H
