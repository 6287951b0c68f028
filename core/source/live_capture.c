// SPDX-License-Identifier: Apache-2.0
/** @file The pause of a live process. */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE // SCHED_RESET_ON_FORK
#endif

#include "core/source/live_capture.h"

#include <elf.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HS_CAPTURE_ASAN 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define HS_CAPTURE_ASAN 1
#endif
#ifdef HS_CAPTURE_ASAN
#include <sanitizer/asan_interface.h>
#endif

enum {
	MILLISECOND = 1000000,             /**< ns */
	STOP_LIMIT = 50 * MILLISECOND,     /**< for all threads to stop, from the first interrupt */
	STARVED_EXTRA = 200 * MILLISECOND, /**< more, for threads that only wait for a CPU */
	STARVED_ROUNDS = 4,                /**< as often as more of them stopped meanwhile */
	STALLED = 5 * MILLISECOND,         /**< without one more stop: look what the rest does */
	POLL_LEAST = 50000,                /**< ns between two looks at the rest */
	POLL_MOST = 1 * MILLISECOND,
	LOOK_AT = 64, /**< threads whose state is looked at in one go */
	NEW_THREAD_ROUNDS = 4,
	WATCH_ROUNDS = 3,
	ATTACH_SECONDS = 1,          /**< before an attach that does not return is given up, and */
	ATTACHES_PER_SECOND = 20000, /**< time for the number of threads */
	REALTIME_PRIORITY = 50,
};

enum phase {
	PHASE_WORKING,
	PHASE_DONE,
};

struct hs_live_capture {
	struct hs_live *live;
	bool keep_stopped;
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	// Under the mutex.
	enum phase phase;
	bool end_asked;
	struct hs_err *err;
};

// ---- The helper thread: attach

/** Be scheduled at once while threads are held. Per thread on Linux, so it ends with this one. */
static void hurry(void)
{
	const struct sched_param param = {.sched_priority = REALTIME_PRIORITY};

	// Without the right to do so the pause is longer, and nothing else.
	if (sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &param))
		(void)setpriority(PRIO_PROCESS, 0, PRIO_MIN);
}

/** A cancelled thread leaves its frames without a return: AddressSanitizer has to be told. */
static void frames_are_left(void *unused)
{
	(void)unused;
#ifdef HS_CAPTURE_ASAN
	__asan_handle_no_return();
#endif
}

/**
 * Attach to tasks [first, num) without stopping them. While a thread of the target is in execve(),
 * PTRACE_SEIZE waits for it, and execve() may wait for threads that we have attached to already:
 * for that case alone this loop can be cancelled at any instruction.
 */
static void seize(struct hs_live_tasks *tasks, size_t first)
{
	int old;

	pthread_cleanup_push(frames_are_left, NULL);
	pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &old);
	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &old);
	for (size_t i = first; i < tasks->num; i++) {
		struct hs_live_task *task = &tasks->items[i];

		if (task->fate != HS_LIVE_LISTED)
			continue;
		if (ptrace(PTRACE_SEIZE, task->lwp.host_tid, NULL, NULL) == 0)
			task->fate = HS_LIVE_SEIZED;
		else
			task->refusal = errno;
	}
	pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &old);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old);
	pthread_cleanup_pop(0);
}

/** A thread in an uninterruptible sleep would not stop, nor could it be detached from. */
static void skip_sleepers(struct hs_live *live, size_t first)
{
	for (size_t i = first; i < live->tasks.num; i++) {
		struct hs_live_task *task = &live->tasks.items[i];

		if (task->fate == HS_LIVE_LISTED && task->lwp.state == 'D' &&
		    hs_live_task_state(live, task->lwp.host_tid) == 'D')
			task->fate = HS_LIVE_SKIPPED;
	}
}

/** Sort out the threads that PTRACE_SEIZE failed for. */
static void judge_refusals(struct hs_live *live, size_t first)
{
	for (size_t i = first; i < live->tasks.num; i++) {
		struct hs_live_task *task = &live->tasks.items[i];
		char state;

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

static size_t count_fate(const struct hs_live_tasks *tasks, enum hs_live_fate fate)
{
	size_t count = 0;

	for (size_t i = 0; i < tasks->num; i++)
		count += tasks->items[i].fate == fate;
	return count;
}

/** NULL when there is something to go on with. */
static struct hs_err *check_attached(struct hs_live *live)
{
	const struct hs_live_tasks *tasks = &live->tasks;

	if (count_fate(tasks, HS_LIVE_SEIZED) || count_fate(tasks, HS_LIVE_SKIPPED))
		return NULL;
	for (size_t i = 0; i < tasks->num; i++) {
		const struct hs_live_task *task = &tasks->items[i];

		if (task->fate == HS_LIVE_REFUSED && task->refusal)
			return hs_live_denied(live, "attach to", task->refusal);
	}
	return hs_err_os(ESRCH, "process %d has just ended", live->pid);
}

// ---- The helper thread: stop

static void interrupt(struct hs_live_tasks *tasks, size_t first)
{
	for (size_t i = first; i < tasks->num; i++) {
		// It fails for a thread that has ended: found out below.
		if (tasks->items[i].fate == HS_LIVE_SEIZED)
			ptrace(PTRACE_INTERRUPT, tasks->items[i].lwp.host_tid, NULL, NULL);
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

/** @return true when the thread is not waited for any longer. */
static bool try_stop(struct hs_live_task *task)
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

/** Give up on threads that will not stop. @param[out] starved_ret One only waits for a CPU. */
static size_t weed(struct hs_live *live, bool *starved_ret)
{
	size_t weeded = 0, looked_at = 0;

	*starved_ret = false;
	for (size_t i = 0; i < live->tasks.num && looked_at < LOOK_AT; i++) {
		struct hs_live_task *task = &live->tasks.items[i];
		char state;

		if (task->fate != HS_LIVE_SEIZED)
			continue;
		looked_at++;
		state = hs_live_task_state(live, task->lwp.host_tid);
		if (state == 'R')
			*starved_ret = true;
		if (!state || state == 'Z' || state == 'X')
			task->fate = HS_LIVE_GONE;
		else if (state == 'D')
			task->fate = HS_LIVE_SKIPPED;
		else
			continue;
		weeded++;
	}
	return weeded;
}

static size_t collect_once(struct hs_live_tasks *tasks)
{
	size_t stopped = 0;

	for (size_t i = 0; i < tasks->num; i++) {
		if (tasks->items[i].fate == HS_LIVE_SEIZED)
			stopped += try_stop(&tasks->items[i]);
	}
	return stopped;
}

/** Leave the CPUs to the threads that are to stop: with our priority nobody else takes ours. */
static void let_run(int64_t ns)
{
	const struct timespec ts = {
		.tv_nsec = ns < POLL_LEAST  ? POLL_LEAST
	                   : ns > POLL_MOST ? POLL_MOST
	                                    : ns,
	};

	clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, NULL);
}

/** Wait until all attached threads are stopped, or will not be. */
static void collect(struct hs_live *live, int64_t deadline)
{
	struct hs_live_tasks *tasks = &live->tasks;
	size_t pending = count_fate(tasks, HS_LIVE_SEIZED);
	int64_t progress = hs_live_now();
	bool starved = false;
	int extensions = 0;

	while (pending) {
		int64_t begin = hs_live_now();
		size_t stopped = collect_once(tasks);
		int64_t now = hs_live_now();

		pending -= stopped;
		if (stopped) {
			progress = now;
			starved = true;
		} else if (now - progress >= STALLED) {
			pending -= weed(live, &starved);
			progress = now;
		}
		if (now >= deadline) {
			// While threads still stop one by one, the machine is busy and the pause
			// costs the target little: it would hardly run without it.
			if (!starved || extensions++ == STARVED_ROUNDS)
				break;
			starved = false;
			deadline += STARVED_EXTRA;
		}
		if (pending)
			let_run(now - begin);
	}
	for (size_t i = 0; pending && i < tasks->num; i++) {
		if (tasks->items[i].fate == HS_LIVE_SEIZED)
			tasks->items[i].fate = HS_LIVE_SKIPPED;
	}
}

/** Did threads start between the listing and the stop? Counting is cheaper than listing. */
static bool has_unknown_threads(const struct hs_live *live)
{
	long now = hs_live_tasks_count(live);

	return now > 0 && (size_t)now > live->tasks.num - count_fate(&live->tasks, HS_LIVE_GONE);
}

static void stop_all(struct hs_live *live, int64_t deadline)
{
	interrupt(&live->tasks, 0);
	collect(live, deadline);
	for (int round = 0; round < NEW_THREAD_ROUNDS && has_unknown_threads(live); round++) {
		size_t first = live->tasks.num;

		if (!hs_live_tasks_update(live))
			break;
		skip_sleepers(live, first);
		seize(&live->tasks, first);
		judge_refusals(live, first);
		interrupt(&live->tasks, first);
		collect(live, deadline);
	}
}

/**
 * Only what we know to be stopped: with its signal. The end of this thread does the rest, and
 * delivers a signal that a thread has stopped on in the meantime.
 */
static void release(struct hs_live_tasks *tasks)
{
	for (size_t i = 0; i < tasks->num; i++) {
		const struct hs_live_task *task = &tasks->items[i];

		if (task->fate == HS_LIVE_STOPPED)
			ptrace(PTRACE_DETACH, task->lwp.host_tid, NULL,
			       (void *)(uintptr_t)task->signo);
	}
}

/** Does the monotonic clock of the target show what ours does? */
static bool has_our_clock(const struct hs_live *live)
{
	char own[64], theirs[64];
	ssize_t own_len = readlink("/proc/self/ns/time", own, sizeof(own));
	ssize_t len = readlinkat(live->proc_fd, "ns/time", theirs, sizeof(theirs));

	// A kernel before 5.6 has one clock for all.
	if (own_len < 0 && errno == ENOENT)
		return true;
	return len > 0 && len == own_len && memcmp(own, theirs, (size_t)len) == 0;
}

static void note_time(struct hs_live *live)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	live->base.info.captured_at = now.tv_sec;
	live->base.info.captured_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / MILLISECOND;
	if (has_our_clock(live) && clock_gettime(CLOCK_MONOTONIC, &now) == 0)
		live->base.info.captured_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static struct hs_err *stop_and_copy(struct hs_live_capture *capture)
{
	struct hs_live *live = capture->live;
	struct hs_err *err;

	hurry();
	skip_sleepers(live, 0);
	seize(&live->tasks, 0);
	judge_refusals(live, 0);
	err = check_attached(live);
	if (err)
		return err;

	int64_t start = hs_live_now();
	stop_all(live, start + STOP_LIMIT);
	err = hs_live_stacks_copy(live);
	if (err || !capture->keep_stopped)
		release(&live->tasks);
	live->base.info.pause_ms = (double)(hs_live_now() - start) / MILLISECOND;
	note_time(live);
	return err;
}

static void *tracer_main(void *arg)
{
	struct hs_live_capture *capture = arg;
	struct hs_err *err;
	int old;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old);
	err = stop_and_copy(capture);

	pthread_mutex_lock(&capture->mutex);
	capture->err = err;
	capture->phase = PHASE_DONE;
	pthread_cond_signal(&capture->changed);
	while (!err && capture->keep_stopped && !capture->end_asked)
		pthread_cond_wait(&capture->changed, &capture->mutex);
	pthread_mutex_unlock(&capture->mutex);
	if (capture->keep_stopped && !err)
		release(&capture->live->tasks);
	return NULL;
}

// ---- Our side

static struct hs_live_capture *capture_create(struct hs_live *live, bool keep_stopped)
{
	struct hs_live_capture *capture = calloc(1, sizeof(*capture));
	pthread_condattr_t attr;

	if (!capture)
		return NULL;
	capture->live = live;
	capture->keep_stopped = keep_stopped;
	pthread_mutex_init(&capture->mutex, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&capture->changed, &attr);
	pthread_condattr_destroy(&attr);
	return capture;
}

static void capture_destroy(struct hs_live_capture *capture)
{
	pthread_cond_destroy(&capture->changed);
	pthread_mutex_destroy(&capture->mutex);
	free(capture);
}

/** Start the helper with all signals blocked: handlers of this program never run in it. */
static int start_thread(struct hs_live_capture *capture)
{
	sigset_t all, old;
	int ret;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = pthread_create(&capture->thread, NULL, tracer_main, capture);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return ret;
}

/** @return false when the helper is stuck in an attach: it was cancelled then. */
static bool wait_done(struct hs_live_capture *capture)
{
	struct timespec limit;
	bool done;

	clock_gettime(CLOCK_MONOTONIC, &limit);
	limit.tv_sec += ATTACH_SECONDS + (time_t)(capture->live->tasks.num / ATTACHES_PER_SECOND);
	pthread_mutex_lock(&capture->mutex);
	while (capture->phase != PHASE_DONE) {
		if (pthread_cond_timedwait(&capture->changed, &capture->mutex, &limit) == ETIMEDOUT)
			break;
	}
	done = capture->phase == PHASE_DONE;
	if (!done)
		capture->end_asked = true;
	pthread_mutex_unlock(&capture->mutex);
	if (!done)
		pthread_cancel(capture->thread);
	return done;
}

struct hs_err *hs_live_capture_stop(struct hs_live *live, bool keep_stopped)
{
	struct hs_live_capture *capture;
	struct hs_err *err = hs_live_stacks_prepare(live);
	void *result = NULL;
	int ret;

	if (err)
		return err;
	capture = capture_create(live, keep_stopped);
	if (!capture)
		return hs_err_oom();
	ret = start_thread(capture);
	if (ret) {
		capture_destroy(capture);
		return hs_err_os(ret, "cannot start a thread");
	}
	if (wait_done(capture) && keep_stopped && !capture->err) {
		live->capture = capture;
		return NULL;
	}
	pthread_join(capture->thread, &result);
	err = capture->err;
	// Cancelled, or so late that nobody held the process for us.
	if (result == PTHREAD_CANCELED || (!err && keep_stopped))
		err = hs_err_os(EBUSY,
		                "process %d could not be attached to and stopped in time (is it in "
		                "execve()?); try again, or use --no-stop",
		                live->pid);
	capture_destroy(capture);
	return err;
}

void hs_live_capture_end(struct hs_live *live)
{
	struct hs_live_capture *capture = live->capture;

	if (!capture)
		return;
	pthread_mutex_lock(&capture->mutex);
	capture->end_asked = true;
	pthread_cond_signal(&capture->changed);
	pthread_mutex_unlock(&capture->mutex);
	pthread_join(capture->thread, NULL);
	capture_destroy(capture);
	live->capture = NULL;
}

// ---- Without a stop

/** Note where each thread sleeps. */
static void look(struct hs_live *live)
{
	for (size_t i = 0; i < live->tasks.num; i++) {
		struct hs_live_task *task = &live->tasks.items[i];

		task->is_parked = hs_live_task_syscall(live, task->lwp.host_tid, &task->parked) &&
		                  !task->parked.running;
	}
}

/** Forget the threads that have moved since. @return how many there were. */
static size_t compare(struct hs_live *live)
{
	size_t moved = 0;

	for (size_t i = 0; i < live->tasks.num; i++) {
		struct hs_live_task *task = &live->tasks.items[i];
		struct hs_proc_syscall now;

		if (!task->is_parked)
			continue;
		task->is_parked = hs_live_task_syscall(live, task->lwp.host_tid, &now) &&
		                  hs_proc_syscall_same(&task->parked, &now);
		moved += !task->is_parked;
	}
	return moved;
}

struct hs_err *hs_live_capture_watch(struct hs_live *live)
{
	struct hs_err *err = hs_live_stacks_prepare(live);

	for (int round = 0; !err && round < WATCH_ROUNDS; round++) {
		look(live);
		err = hs_live_stacks_copy(live);
		if (!err && !compare(live))
			break;
	}
	live->base.info.pause_ms = 0;
	note_time(live);
	return err;
}
