// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * JVM: one HotSpot in a target: its layout, its threads, its code cache. The collectors fill a
 * snapshot; the stepper walks Java frames. Includes nothing of native/.
 */
#ifndef HS_JVM_H
#define HS_JVM_H

#include "core/snapshot.h"
#include "core/stepper.h"
#include "core/target.h"

struct hs_jvm;

/**
 * Find libjvm in the target and resolve its layout.
 * @return NULL; HS_ERR_ABSENT when no libjvm is mapped; other errors: it is there but cannot be
 * read (no file, unknown release: the message names the field that is missing).
 */
HS_MUST_CHECK struct hs_err *hs_jvm_open(struct hs_target *target, struct hs_snapshot *snapshot,
                                         struct hs_jvm **ret);
void hs_jvm_close(struct hs_jvm *jvm);
void hs_jvm_closep(struct hs_jvm **jvm);

/** Fill snapshot->runtime and mark/name the snapshot's threads that are JavaThreads. Before the
 * stack walk: the stepper needs it. */
HS_MUST_CHECK struct hs_err *hs_jvm_collect_threads(struct hs_jvm *jvm);

/** Steps pcs of the code cache. Borrowed until close. */
const struct hs_stepper *hs_jvm_stepper(struct hs_jvm *jvm);

/** After the stack walk: the frames of mounted virtual threads become theirs. Only OOM is returned.
 */
HS_MUST_CHECK struct hs_err *hs_jvm_split_stacks(struct hs_jvm *jvm);

/** After that: monitors, loader locks, class link and init, j.u.c. waits and holds. What
 * fails is a gap; only OOM is returned. */
HS_MUST_CHECK struct hs_err *hs_jvm_collect_locks(struct hs_jvm *jvm);

/** After the stack walk: hs_frame.locals of all Java frames. What fails is a gap, at most one a
 * thread; only OOM is returned. */
HS_MUST_CHECK struct hs_err *hs_jvm_collect_locals(struct hs_jvm *jvm);

/** After the locks: what only a thread dump of HotSpot says (core/thread_dump.h). What fails is a
 * gap; only OOM is returned. */
HS_MUST_CHECK struct hs_err *hs_jvm_collect_dump(struct hs_jvm *jvm);

#endif // HS_JVM_H
