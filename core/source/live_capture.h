// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Capture: the pause of a live process. Registers and used stacks of all threads are copied while
 * they are held by ptrace, and only as long.
 *
 * All ptrace requests come from one helper thread, because the kernel lets go of whatever a tracer
 * thread still holds when that thread ends, in whatever way: on every error path, when we are
 * killed, and for the threads of the target that never stopped and so cannot be detached from.
 * Nothing is ever waited for with wait(2): statuses are left unread, so that a signal which a
 * thread was stopped on is delivered even when we die before the detach, and no other wait() of
 * this program can take them away (a program that embeds us will see SIGCHLD, though).
 * Not installed.
 */
#ifndef HS_LIVE_CAPTURE_H
#define HS_LIVE_CAPTURE_H

#include "core/source/live.h"

/**
 * Stop all threads listed in live->tasks, and those that started since; fill in their registers;
 * copy their stacks; let them run on, unless @p mode is HS_CAPTURE_STOP. HS_CAPTURE_ROLLING does
 * all of that for one thread, then for the next. Sets info.capture, pause_ms and captured_at.
 * @return NULL, or HS_ERR_OS (EPERM, ESRCH, EBUSY), HS_ERR_OOM: the target runs then.
 */
HS_MUST_CHECK struct hs_err *hs_live_capture_stop(struct hs_live *live, enum hs_capture mode);

/** Without any stop: stacks of the threads that sleep, as far as they did not move meanwhile. */
HS_MUST_CHECK struct hs_err *hs_live_capture_watch(struct hs_live *live);

/** HS_CAPTURE_ROLLING, in the helper thread. */
HS_MUST_CHECK struct hs_err *hs_live_roll(struct hs_live *live);

/** Set info.captured_at and the finer ones to now. */
void hs_live_capture_note_time(struct hs_live *live);

/** Resume what is held. Does nothing when nothing is. */
void hs_live_capture_end(struct hs_live *live);

#endif // HS_LIVE_CAPTURE_H
