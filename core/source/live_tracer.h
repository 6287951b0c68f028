// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Tracer: ptrace requests for the threads of a capture. All of them are made by the one helper
 * thread that live_capture.c starts. Not installed.
 */
#ifndef HS_LIVE_TRACER_H
#define HS_LIVE_TRACER_H

#include "core/source/live.h"

/** Be scheduled at once while threads are held. For this thread alone, so it ends with it. */
void hs_live_hurry(void);

/** Leave the CPUs to the threads that are to stop: with our priority nobody else takes ours. */
void hs_live_let_run(int64_t ns);

/**
 * Pass over those of tasks [first, end) that are in an uninterruptible sleep: they would not stop,
 * nor could they be detached from.
 */
void hs_live_skip_sleepers(struct hs_live *live, size_t first, size_t end);

/**
 * Attach to tasks [first, end) without stopping them. While a thread of the target is in execve(),
 * PTRACE_SEIZE waits for it, and execve() may wait for threads that we have attached to already:
 * for that case alone the calling thread can be cancelled in here, at any instruction.
 */
void hs_live_seize(struct hs_live *live, size_t first, size_t end);

/** Sort out those of tasks [first, end) that could not be attached to, or are not the target's. */
void hs_live_judge(struct hs_live *live, size_t first, size_t end);

/** @return NULL when there is something to go on with; else why not. */
HS_MUST_CHECK struct hs_err *hs_live_check_attached(struct hs_live *live);

/** Ask tasks [first, end) to stop, where attached. */
void hs_live_interrupt(struct hs_live *live, size_t first, size_t end);

/** @return true when the thread is stopped: its registers are in @p task then. */
bool hs_live_try_stop(struct hs_live_task *task);

/** Do not wait for a thread that has ended (GONE) or sleeps uninterruptibly (SKIPPED).
 * @return its state letter, '\0' when it is gone. */
char hs_live_weed(struct hs_live *live, struct hs_live_task *task);

/** Let a stopped thread go, with its signal. */
void hs_live_detach(const struct hs_live_task *task);

#endif // HS_LIVE_TRACER_H
