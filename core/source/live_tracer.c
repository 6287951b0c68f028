// SPDX-License-Identifier: Apache-2.0
/** @file ptrace requests for the threads of a capture. */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE // SCHED_RESET_ON_FORK
#endif

#include "core/source/live_tracer.h"

#include <elf.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <time.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HS_TRACER_ASAN 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define HS_TRACER_ASAN 1
#endif
#ifdef HS_TRACER_ASAN
#include <sanitizer/asan_interface.h>
#endif

enum {
	REALTIME_PRIORITY = 50,
	POLL_LEAST = 50000, /**< ns between two looks at threads that are to stop */
	POLL_MOST = 1000000,
};

void hs_live_hurry(void)
{
	const struct sched_param param = {.sched_priority = REALTIME_PRIORITY};

	// Without the right to do so the pause is longer, and nothing else.
	if (sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &param))
		(void)setpriority(PRIO_PROCESS, 0, PRIO_MIN);
}

void hs_live_let_run(int64_t ns)
{
	const struct timespec ts = {
		.tv_nsec = ns < POLL_LEAST  ? POLL_LEAST
	                   : ns > POLL_MOST ? POLL_MOST
	                                    : ns,
	};

	clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, NULL);
}

void hs_live_skip_sleepers(struct hs_live *live, size_t first, size_t end)
{
	for (size_t i = first; i < end; i++) {
		struct hs_live_task *task = &live->tasks.items[i];

		if (task->fate == HS_LIVE_LISTED && task->lwp.state == 'D' &&
		    hs_live_task_state(live, task->lwp.host_tid) == 'D')
			task->fate = HS_LIVE_SKIPPED;
	}
}

/** A cancelled thread leaves its frames without a return: AddressSanitizer has to be told. */
static void frames_are_left(void *unused)
{
	(void)unused;
#ifdef HS_TRACER_ASAN
	__asan_handle_no_return();
#endif
}

void hs_live_seize(struct hs_live *live, size_t first, size_t end)
{
	int old;

	pthread_cleanup_push(frames_are_left, NULL);
	pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &old);
	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &old);
	for (size_t i = first; i < end; i++) {
		struct hs_live_task *task = &live->tasks.items[i];

		if (task->fate != HS_LIVE_LISTED)
			continue;
		if (ptrace(PTRACE_SEIZE, task->lwp.host_tid, NULL, NULL) == 0)
			task->fate = HS_LIVE_SEIZED;
		else
			task->refusal = errno;
		live->progress++;
	}
	pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &old);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old);
	pthread_cleanup_pop(0);
}

void hs_live_judge(struct hs_live *live, size_t first, size_t end)
{
	for (size_t i = first; i < end; i++) {
		struct hs_live_task *task = &live->tasks.items[i];
		char state;

		// The number of a thread that has ended may be another process's by now. That one
		// is not interrupted, and free when the calling thread ends.
		if (task->fate == HS_LIVE_SEIZED && !hs_live_task_exists(live, task->lwp.host_tid))
			task->fate = HS_LIVE_GONE;
		if (task->fate != HS_LIVE_LISTED || !task->refusal)
			continue;
		state = task->refusal == ESRCH ? '\0'
		                               : hs_live_task_state(live, task->lwp.host_tid);
		if (state == 'Z' && task->lwp.host_tid == live->pid) {
			task->fate = HS_LIVE_REFUSED;
			task->lwp.why_no_regs = "it has exited; other threads live on";
		} else if (!state || state == 'Z' || state == 'X') {
			task->fate = HS_LIVE_GONE;
		} else {
			task->fate = HS_LIVE_REFUSED;
			task->lwp.why_no_regs =
				"it cannot be attached to; another process may be tracing it";
		}
	}
}

struct hs_err *hs_live_check_attached(struct hs_live *live)
{
	const struct hs_live_task *refused = NULL;

	for (size_t i = 0; i < live->tasks.num; i++) {
		const struct hs_live_task *task = &live->tasks.items[i];

		if (task->fate == HS_LIVE_SEIZED || task->fate == HS_LIVE_STOPPED ||
		    task->fate == HS_LIVE_SKIPPED)
			return NULL;
		if (!refused && task->fate == HS_LIVE_REFUSED && task->refusal)
			refused = task;
	}
	if (refused)
		return hs_live_denied(live, "attach to", refused->refusal);
	return hs_err_os(ESRCH, "process %d has just ended", live->pid);
}

void hs_live_interrupt(struct hs_live *live, size_t first, size_t end)
{
	for (size_t i = first; i < end; i++) {
		const struct hs_live_task *task = &live->tasks.items[i];

		// It fails for a thread that has ended: found out later.
		if (task->fate == HS_LIVE_SEIZED)
			ptrace(PTRACE_INTERRUPT, task->lwp.host_tid, NULL, NULL);
	}
}

/**
 * The signal that a stopped thread is on its way to, 0 for a stop that no signal brought about:
 * our interrupt, or the group stop of SIGSTOP, which goes on by itself after the detach.
 */
static int pending_signal(const siginfo_t *info)
{
	// kernel/signal.c, do_jobctl_trap(): si_code = si_signo | PTRACE_EVENT_STOP << 8
	if (info->si_code == (info->si_signo | PTRACE_EVENT_STOP << 8))
		return 0;
	return info->si_signo;
}

bool hs_live_try_stop(struct hs_live_task *task)
{
	struct iovec regs = {&task->regs, sizeof(task->regs)};
	siginfo_t info = {0};

	// Fails with ESRCH until the thread is stopped; EINVAL: stopped, with no more to say.
	if (ptrace(PTRACE_GETSIGINFO, task->lwp.host_tid, NULL, &info) && errno != EINVAL)
		return false;
	if (ptrace(PTRACE_GETREGSET, task->lwp.host_tid, (void *)(uintptr_t)NT_PRSTATUS, &regs))
		return false;
	task->signo = info.si_signo ? pending_signal(&info) : 0;
	task->fate = HS_LIVE_STOPPED;
	if (regs.iov_len != sizeof(task->regs)) {
		memset(&task->regs, 0, sizeof(task->regs));
		task->lwp.why_no_regs = "it runs 32-bit code";
	}
	return true;
}

char hs_live_weed(struct hs_live *live, struct hs_live_task *task)
{
	char state = hs_live_task_state(live, task->lwp.host_tid);

	if (!state || state == 'Z' || state == 'X')
		task->fate = HS_LIVE_GONE;
	else if (state == 'D')
		task->fate = HS_LIVE_SKIPPED;
	return state;
}

void hs_live_detach(const struct hs_live_task *task)
{
	ptrace(PTRACE_DETACH, task->lwp.host_tid, NULL, (void *)(uintptr_t)task->signo);
}
