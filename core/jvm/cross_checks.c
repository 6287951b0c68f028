// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Cross-checks: what one part of a JVM says of its threads must fit what another says. Where it
 * does not, the core is damaged, and that nothing was found is no all-clear.
 */

#include "core/jvm/locks.h"

/** Every thread with a Java frame is in the JVM's list of threads. */
static struct hs_err *check_unlisted(struct hs_jvm *jvm, uint32_t index)
{
	const struct hs_thread *thread = &jvm->snapshot->threads.items[index];

	if (!thread->tid || thread->kind == HS_THREAD_VIRTUAL || hs_jthread_by_index(jvm, index) ||
	    hs_java_top_frame(jvm, index) == HS_NONE)
		return NULL;
	struct hs_err *err = hs_err_new(HS_ERR_BAD_DATA, "it is not in the JVM's list of threads");
	hs_jvm_blind(jvm, err);
	return hs_jvm_gap(jvm, err, "what this Java thread waits for", "thread %d that runs Java",
	                  (int)thread->tid);
}

/** A thread that Java calls BLOCKED enters a monitor, or does so again after a wait(). */
static struct hs_err *check_blocked(struct hs_jvm *jvm, const struct hs_jthread *jthread)
{
	// Without the field there is a gap for all of them.
	if (!hs_layout_has(&jvm->layout, HS_F_thread_pending_monitor))
		return NULL;
	if (!(jthread->thread_status & HS_STATUS_BLOCKED) || jthread->pending_monitor ||
	    jthread->waiting_monitor || jthread->thread == HS_NONE || jthread->vthread_oop)
		return NULL;
	struct hs_err *err =
		hs_err_new(HS_ERR_BAD_DATA, "Java calls it blocked, but it enters no monitor");
	hs_jvm_blind(jvm, err);
	return hs_jvm_gap(jvm, err, "what this thread waits for", "monitor of \"%s\"",
	                  hs_jthread_name(jvm, jthread));
}

/** A thread that runs Java has a java.lang.Thread, which says what it is parked for. */
static struct hs_err *check_object(struct hs_jvm *jvm, const struct hs_jthread *jthread)
{
	if (jthread->thread_oop || jthread->thread == HS_NONE ||
	    !hs_layout_has(&jvm->layout, HS_F_thread_oop) ||
	    hs_java_top_frame(jvm, jthread->thread) == HS_NONE)
		return NULL;
	struct hs_err *err = hs_err_new(HS_ERR_BAD_DATA, "there is none, but it runs Java");
	hs_jvm_blind(jvm, err);
	return hs_jvm_gap(jvm, err, "its name and Java state", "java.lang.Thread of tid %d",
	                  (int)jthread->tid);
}

struct hs_err *hs_jvm_cross_check(struct hs_jvm *jvm)
{
	struct hs_err *err = NULL;

	// In a live process words are read later than stacks: threads end and start between.
	if (jvm->snapshot->info.ran_on)
		return NULL;
	for (uint32_t i = 0; !err && i < jvm->snapshot->threads.len; i++)
		err = check_unlisted(jvm, i);
	hs_vec_each (jthread, &jvm->jthreads) {
		if (!err)
			err = check_object(jvm, jthread);
		if (!err)
			err = check_blocked(jvm, jthread);
	}
	return err;
}
