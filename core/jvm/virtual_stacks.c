// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Stacks of mounted virtual threads: their frames lie on top of those of the carrier, above the
 * frame of Continuation.enterSpecial, and may go on in stack chunks behind a return barrier.
 */

#include <inttypes.h>
#include <string.h>

#include "core/jvm/java_frames.h"
#include "core/jvm/locks.h"
#include "core/jvm/virtual_threads.h"

/**
 * The frame of enterSpecial is a ContinuationEntry, then the saved rbp and the return address
 * (continuationEntry.hpp, sharedRuntime_x86_64.cpp). 21 to 28, although sizeof differs.
 */
enum entry {
	ENTRY_CONT = 16, /**< oop, as on a stack */
	ENTRY_SAVED_FP = 64,
	ENTRY_RETURN_PC = 72,
	ENTRY_END = 80,
};

enum {
	MAX_JAVA_THREAD = 8192, /**< bytes of a JavaThread: 1400 to 2100 so far */
};

static const char entry_class[] = "jdk.internal.vm.Continuation";
static const char entry_method[] = "enterSpecial";

// ---- the continuation entry

/** The Continuation of what may be a ContinuationEntry in a stack; 0: it is none. */
static hs_addr cont_of_entry(struct hs_jvm *jvm, const struct hs_jthread *jthread, hs_addr entry)
{
	const struct hs_klass *klass;
	struct hs_err *err;
	uint64_t word = 0;

	if (entry % 8 || hs_jthread_by_stack(jvm, entry) != jthread ||
	    jthread->stack_base - entry < ENTRY_END)
		return 0;
	err = hs_target_read_u64(jvm->target, entry + ENTRY_CONT, &word);
	hs_addr cont = hs_oop_resolve(jvm, hs_stack_oop(jvm, word));
	if (!err)
		err = hs_oop_klass(jvm, cont, &klass);
	bool is_cont = !err && hs_klass_is_a(jvm, klass, "jdk/internal/vm/Continuation");
	hs_err_free(err); // then it is something else
	return is_cont ? cont : 0;
}

/** 21: not published. A word of the JavaThread that points to one in its own stack. */
static struct hs_err *scan_for_entry(struct hs_jvm *jvm, const struct hs_jthread *jthread,
                                     hs_addr *entry_ret, hs_addr *cont_ret)
{
	uint64_t words[MAX_JAVA_THREAD / sizeof(uint64_t)];
	uint64_t size = jvm->layout.sizes[HS_T_java_thread];
	struct hs_err *err;

	if (size > sizeof(words))
		size = sizeof(words);
	err = hs_target_read(jvm->target, jthread->addr, words, size & ~UINT64_C(7));
	if (err)
		return err;
	for (size_t i = 0; i < size / sizeof(words[0]); i++) {
		*cont_ret = cont_of_entry(jvm, jthread, words[i]);
		if (!*cont_ret)
			continue;
		*entry_ret = words[i];
		return NULL;
	}
	return hs_err_absent();
}

/** HS_ERR_ABSENT: the thread runs no continuation. */
static struct hs_err *find_entry(struct hs_jvm *jvm, const struct hs_jthread *jthread,
                                 hs_addr *entry_ret, hs_addr *cont_ret)
{
	struct hs_err *err;

	if (!hs_layout_has(&jvm->layout, HS_F_thread_cont_entry))
		return scan_for_entry(jvm, jthread, entry_ret, cont_ret);
	err = hs_target_read_u64(
		jvm->target, jthread->addr + hs_layout_offset(&jvm->layout, HS_F_thread_cont_entry),
		entry_ret);
	if (err)
		return err;
	*cont_ret = *entry_ret ? cont_of_entry(jvm, jthread, *entry_ret) : 0;
	return *cont_ret ? NULL : hs_err_absent();
}

// ---- the return barrier

static const struct hs_location *entry_location(struct hs_jvm *jvm)
{
	struct hs_location *location = hs_arena_alloc(jvm->arena, sizeof(*location));

	if (location)
		*location = (struct hs_location){
			.kind = HS_FRAME_COMPILED,
			.class_name = entry_class,
			.method = entry_method,
			.file = "Continuation.java",
			.bci = -1,
			.line = -1,
			.is_native_method = true,
		};
	return location;
}

struct hs_err *hs_return_barrier_step(struct hs_jvm *jvm, struct hs_cursor *cursor,
                                      struct hs_frame_list *list)
{
	const struct hs_jthread *jthread = hs_jthread_by_index(jvm, cursor->thread);
	hs_addr entry = 0, cont = 0, chunk = 0, pc, fp;
	struct hs_frame *frame;
	struct hs_err *err;

	if (!jthread || !jvm->vthreads || !jvm->vthreads->layout.cont_tail)
		return hs_err_new(HS_ERR_UNSUPPORTED,
		                  "frames of the virtual thread below are in its stack chunk");
	err = find_entry(jvm, jthread, &entry, &cont);
	if (hs_err_catch(&err, HS_ERR_ABSENT))
		err = hs_err_new(HS_ERR_BAD_DATA,
		                 "a return barrier, but no ContinuationEntry of the thread");
	if (!err)
		err = hs_oop_load(jvm, cont + jvm->vthreads->layout.cont_tail, &chunk);
	if (!err)
		err = hs_chunk_frames(jvm, chunk, cursor->thread, list);
	hs_jvm_blind(jvm, err);
	err = hs_jvm_gap(jvm, err, "frames of its virtual thread", "stack chunks of \"%s\"",
	                 hs_jthread_name(jvm, jthread));
	if (!err)
		err = hs_target_read_u64(jvm->target, entry + ENTRY_RETURN_PC, &pc);
	if (!err)
		err = hs_target_read_u64(jvm->target, entry + ENTRY_SAVED_FP, &fp);
	if (err)
		return err;
	if (!hs_java_is_return_pc(jvm, pc))
		return hs_err_new(HS_ERR_BAD_DATA,
		                  "the caller of enterSpecial at 0x%" PRIx64 " is no Java code",
		                  pc);
	const struct hs_location *location = entry_location(jvm);
	if (!location)
		return hs_err_oom();
	hs_cursor_set(cursor, 0, entry, 0);
	err = hs_java_frame_add(list, cursor, location, entry, &frame);
	hs_cursor_set(cursor, pc, entry + ENTRY_END, fp);
	return err;
}

// ---- why it does not leave its carrier

static bool is_java(const struct hs_frame *frame)
{
	return frame->location->method != NULL;
}

/** The Java frame that called native code which called Java again; NULL: there is none. */
static const struct hs_frame *native_caller(const struct hs_thread *thread)
{
	bool above = false, native = false;

	// The outermost frame is enterSpecial: what it enters is Java.
	for (uint32_t i = 0; i + 1 < thread->num_frames; i++) {
		if (!is_java(&thread->frames[i]))
			native |= above && thread->frames[i].location->kind == HS_FRAME_NATIVE;
		else if (native)
			return &thread->frames[i];
		else
			above = true;
	}
	return NULL;
}

static const struct hs_frame *monitor_frame(const struct hs_thread *thread)
{
	for (uint32_t i = 0; i < thread->num_frames; i++) {
		for (uint16_t j = 0; j < thread->frames[i].num_locks; j++) {
			if (thread->frames[i].locks[j].state == HS_LOCK_LOCKED)
				return &thread->frames[i];
		}
	}
	return NULL;
}

/** In words; NULL: it only runs. */
static const char *why_pinned(struct hs_jvm *jvm, const struct hs_vthread *vthread,
                              const struct hs_thread *thread)
{
	const struct hs_frame *frame = native_caller(thread);
	bool parked =
		vthread->state == HS_VSTATE_PINNED || vthread->state == HS_VSTATE_TIMED_PINNED;

	if (!parked && (!thread->java_state || !strcmp(thread->java_state, "RUNNABLE")))
		return NULL;
	if (frame)
		return hs_arena_printf(jvm->arena, "native code that %s.%s called is on its stack",
		                       frame->location->class_name ?: "?", frame->location->method);
	// Before 24 a monitor is its carrier's: it can neither be held nor waited for unmounted.
	if (jvm->vthreads->layout.waiter)
		return "the reason is not on its stack";
	frame = monitor_frame(thread);
	if (frame && parked)
		return hs_arena_printf(jvm->arena,
		                       "it holds a monitor, taken in %s.%s (before JDK 24)",
		                       frame->location->class_name ?: "?", frame->location->method);
	return parked ? "the reason is not on its stack" : "it waits for a monitor (before JDK 24)";
}

// ---- the split

/** Frames of the virtual thread, with enterSpecial: 0: there are none. */
static uint32_t count_mounted(const struct hs_thread *thread)
{
	for (uint32_t i = thread->num_frames; i-- > 0;) {
		const struct hs_location *l = thread->frames[i].location;

		if (l->method && l->class_name && !strcmp(l->method, entry_method) &&
		    !strcmp(l->class_name, entry_class))
			return i + 1;
	}
	return 0;
}

/** What the carrier's thread does, its virtual thread does. */
static void describe_mounted(struct hs_jvm *jvm, struct hs_vthread *vthread,
                             struct hs_thread *carrier, struct hs_thread *thread)
{
	// The Java state of the carrier is that of what it runs (VirtualThread.threadState).
	if (vthread->state != HS_VSTATE_PINNED && vthread->state != HS_VSTATE_TIMED_PINNED) {
		thread->state = carrier->state;
		thread->java_state = carrier->java_state;
	}
	thread->syscall = carrier->syscall;
	thread->pinned = why_pinned(jvm, vthread, thread);
	carrier->state = "carrying a virtual thread";
}

static void split(struct hs_jvm *jvm, struct hs_jthread *jthread, struct hs_vthread *vthread,
                  uint32_t count)
{
	struct hs_thread *carrier = &jvm->snapshot->threads.items[jthread->thread];
	struct hs_thread *thread = &jvm->snapshot->threads.items[vthread->thread];

	jthread->vthread = vthread->thread;
	vthread->carrier = jthread;
	carrier->mounted = vthread->thread;
	thread->carrier = jthread->thread;
	thread->frames = carrier->frames;
	thread->num_frames = count;
	thread->frames_cut = count == carrier->num_frames && carrier->frames_cut;
	carrier->frames += count;
	carrier->num_frames -= count;
	describe_mounted(jvm, vthread, carrier, thread);
}

static struct hs_err *split_one(struct hs_jvm *jvm, struct hs_jthread *jthread)
{
	struct hs_thread *carrier = &jvm->snapshot->threads.items[jthread->thread];
	struct hs_vthread *vthread =
		(struct hs_vthread *)hs_vthread_by_oop(jvm, jthread->vthread_oop);
	uint32_t count = count_mounted(carrier);
	hs_addr entry = 0, cont = 0;
	struct hs_err *err;

	if (!count && (!vthread || !carrier->num_frames || !carrier->frames_cut)) {
		// It is about to be mounted: nothing of it is on the stack yet.
		if (vthread)
			jvm->snapshot->threads.items[vthread->thread].carrier = jthread->thread;
		return NULL;
	}
	if (!vthread || !count) {
		// For a moment the carrier may act as itself on the stack of its virtual thread.
		err = find_entry(jvm, jthread, &entry, &cont);
		if (hs_err_catch(&err, HS_ERR_ABSENT))
			return NULL;
		if (err)
			return err;
		if (!vthread)
			vthread = (struct hs_vthread *)hs_vthread_by_cont(jvm, cont);
		if (!count) // the walk did not come to its end
			count = carrier->num_frames;
	}
	// One that is already elsewhere was read at another moment.
	if (vthread && !vthread->carrier)
		split(jvm, jthread, vthread, count);
	return NULL;
}

struct hs_err *hs_vthreads_split(struct hs_jvm *jvm)
{
	struct hs_err *err;

	if (!jvm->vthreads)
		return NULL;
	hs_vec_each (jthread, &jvm->jthreads) {
		if (jthread->thread == HS_NONE)
			continue;
		err = hs_jvm_gap(jvm, split_one(jvm, jthread),
		                 "which of its frames are of a virtual thread", "stack of \"%s\"",
		                 hs_jthread_name(jvm, jthread));
		if (err)
			return err;
	}
	return NULL;
}
