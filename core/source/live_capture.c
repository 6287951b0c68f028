// SPDX-License-Identifier: Apache-2.0
/** @file The pause of a live process. */

#include "core/source/live_capture.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "core/source/live_tracer.h"

enum {
	MILLISECOND = 1000000,             /**< ns */
	STOP_LIMIT = 50 * MILLISECOND,     /**< for all threads to stop, from the first interrupt */
	LATE_LIMIT = 10 * MILLISECOND,     /**< at least, for threads that started meanwhile */
	STARVED_EXTRA = 200 * MILLISECOND, /**< more, for threads that only wait for a CPU */
	STARVED_ROUNDS = 4,                /**< as often as more of them stopped meanwhile */
	STALLED_FIRST = 1 * MILLISECOND,   /**< without one more stop: look what the rest does, */
	STALLED = 5 * MILLISECOND,         /**< and again */
	LOOK_AT = 64,                      /**< threads whose state is looked at in one go */
	NEW_THREAD_ROUNDS = 4,
	ATTACH_SECONDS = 1, /**< before an attach that does not return is given up */
};

enum phase {
	PHASE_WORKING,
	PHASE_DONE,
};

struct hs_live_capture {
	struct hs_live *live;
	enum hs_capture mode;
	pthread_t thread;
	sigset_t blocked; // in the thread that asked, while the target is held
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	// Under the mutex.
	enum phase phase;
	bool end_asked;
	struct hs_err *err;
};

static bool is_kept(const struct hs_live_capture *capture)
{
	return capture->mode == HS_CAPTURE_STOP;
}

// ---- The helper thread: attach

static size_t count_fate(const struct hs_live_tasks *tasks, enum hs_live_fate fate)
{
	size_t count = 0;

	for (size_t i = 0; i < tasks->num; i++)
		count += tasks->items[i].fate == fate;
	return count;
}

static void attach(struct hs_live *live, size_t first, size_t end)
{
	hs_live_skip_sleepers(live, first, end);
	hs_live_seize(live, first, end);
	hs_live_judge(live, first, end);
}

// ---- The helper thread: stop

/** Give up on threads that will not stop. @param[out] starved_ret One only waits for a CPU. */
static size_t weed(struct hs_live *live, bool *starved_ret)
{
	size_t weeded = 0, looked_at = 0;

	*starved_ret = false;
	for (size_t i = 0; i < live->tasks.num && looked_at < LOOK_AT; i++) {
		struct hs_live_task *task = &live->tasks.items[i];

		if (task->fate != HS_LIVE_SEIZED)
			continue;
		looked_at++;
		if (hs_live_weed(live, task) == 'R')
			*starved_ret = true;
		weeded += task->fate != HS_LIVE_SEIZED;
	}
	return weeded;
}

static size_t collect_once(struct hs_live_tasks *tasks)
{
	size_t stopped = 0;

	for (size_t i = 0; i < tasks->num; i++) {
		if (tasks->items[i].fate == HS_LIVE_SEIZED)
			stopped += hs_live_try_stop(&tasks->items[i]);
	}
	return stopped;
}

/**
 * Wait until all attached threads are stopped, or will not be.
 * @param[in,out] extensions How often the deadline of this pause was put off.
 */
static void collect(struct hs_live *live, int64_t deadline, int *extensions)
{
	struct hs_live_tasks *tasks = &live->tasks;
	size_t pending = count_fate(tasks, HS_LIVE_SEIZED);
	int64_t progress = hs_live_now();
	int64_t stalled = STALLED_FIRST;
	bool starved = false;

	while (pending) {
		int64_t begin = hs_live_now();
		size_t stopped = collect_once(tasks);
		int64_t now = hs_live_now();

		pending -= stopped;
		live->progress += stopped;
		if (stopped) {
			progress = now;
			starved = true;
		} else if (now - progress >= stalled) {
			pending -= weed(live, &starved);
			progress = now;
			stalled = STALLED;
		}
		if (now >= deadline) {
			// While threads still stop one by one, the machine is busy and the pause
			// costs the target little: it would hardly run without it.
			if (!starved || (*extensions)++ >= STARVED_ROUNDS)
				break;
			starved = false;
			deadline += STARVED_EXTRA;
		}
		if (pending)
			hs_live_let_run(now - begin);
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
	int extensions = 0;

	hs_live_interrupt(live, 0, live->tasks.num);
	collect(live, deadline, &extensions);
	for (int round = 0; round < NEW_THREAD_ROUNDS && has_unknown_threads(live); round++) {
		size_t first = live->tasks.num;
		size_t end = first + hs_live_tasks_update(live);

		if (end == first)
			break;
		attach(live, first, end);
		hs_live_interrupt(live, first, end);
		// The first ones may have used up all of the time.
		int64_t late = hs_live_now() + LATE_LIMIT;
		collect(live, late > deadline ? late : deadline, &extensions);
	}
}

/**
 * Only what we know to be stopped: with its signal. The end of this thread does the rest, and
 * delivers a signal that a thread has stopped on in the meantime.
 */
static void release(struct hs_live_tasks *tasks)
{
	for (size_t i = 0; i < tasks->num; i++) {
		if (tasks->items[i].fate == HS_LIVE_STOPPED)
			hs_live_detach(&tasks->items[i]);
	}
}

/** What is used for the first time takes longest: not during the pause. */
static void warm_up(const struct hs_live *live)
{
	// qsort() allocates, and the first allocation of a thread makes a heap for it.
	void *volatile scratch = malloc(live->tasks.cap * sizeof(struct hs_live_range));

	free(scratch);
}

static struct hs_err *stop_and_copy(struct hs_live_capture *capture)
{
	struct hs_live *live = capture->live;
	struct hs_err *err;

	warm_up(live);
	attach(live, 0, live->tasks.num);
	err = hs_live_check_attached(live);
	if (err)
		return err;

	live->held_since = hs_live_now();
	stop_all(live, live->held_since + STOP_LIMIT);
	err = hs_live_stacks_copy(live);
	live->progress++;
	if (err || !is_kept(capture))
		release(&live->tasks);
	live->base.info.pause_ms = (double)(hs_live_now() - live->held_since) / MILLISECOND;
	return err;
}

static void *tracer_main(void *arg)
{
	struct hs_live_capture *capture = arg;
	struct hs_err *err;
	int old;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old);
	hs_live_hurry();
	err = capture->mode == HS_CAPTURE_ROLLING ? hs_live_roll(capture->live)
	                                          : stop_and_copy(capture);
	hs_live_capture_note_time(capture->live);

	pthread_mutex_lock(&capture->mutex);
	capture->err = err;
	capture->phase = PHASE_DONE;
	pthread_cond_signal(&capture->changed);
	while (!err && is_kept(capture) && !capture->end_asked)
		pthread_cond_wait(&capture->changed, &capture->mutex);
	pthread_mutex_unlock(&capture->mutex);
	if (is_kept(capture) && !err)
		release(&capture->live->tasks);
	return NULL;
}

// ---- Our side

static struct hs_live_capture *capture_create(struct hs_live *live, enum hs_capture mode)
{
	struct hs_live_capture *capture = calloc(1, sizeof(*capture));
	pthread_condattr_t attr;

	if (!capture)
		return NULL;
	capture->live = live;
	capture->mode = mode;
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

/**
 * Each stop sends us SIGCHLD. While it is blocked here too, all of them are one, at the end;
 * otherwise this thread is woken for each, on a CPU that the target needs to stop. And a terminal
 * that stops us would keep the target stopped for as long.
 * @param[out] ret What was not blocked before.
 */
static void block_signals(sigset_t *ret)
{
	static const int signals[] = {SIGCHLD, SIGTSTP, SIGTTOU, SIGTTIN};
	sigset_t old;

	sigemptyset(ret);
	pthread_sigmask(SIG_BLOCK, NULL, &old);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		if (!sigismember(&old, signals[i]))
			sigaddset(ret, signals[i]);
	}
	pthread_sigmask(SIG_BLOCK, ret, NULL);
}

/** @return false when the helper is stuck in an attach: it was cancelled then. */
static bool wait_done(struct hs_live_capture *capture)
{
	struct timespec limit;
	size_t progress;
	bool done;
	int ret;

	pthread_mutex_lock(&capture->mutex);
	do {
		progress = capture->live->progress;
		clock_gettime(CLOCK_MONOTONIC, &limit);
		limit.tv_sec += ATTACH_SECONDS;
		ret = 0;
		while (capture->phase != PHASE_DONE && ret != ETIMEDOUT)
			ret = pthread_cond_timedwait(&capture->changed, &capture->mutex, &limit);
		done = capture->phase == PHASE_DONE;
	} while (!done && capture->live->progress != progress);
	if (!done)
		capture->end_asked = true;
	pthread_mutex_unlock(&capture->mutex);
	if (!done)
		pthread_cancel(capture->thread);
	return done;
}

struct hs_err *hs_live_capture_stop(struct hs_live *live, enum hs_capture mode)
{
	struct hs_live_capture *capture;
	struct hs_err *err = hs_live_stacks_prepare(live, mode == HS_CAPTURE_ROLLING);
	void *result = NULL;
	sigset_t blocked;
	bool done;
	int ret;

	if (err)
		return err;
	live->base.info.capture = mode;
	capture = capture_create(live, mode);
	if (!capture)
		return hs_err_oom();
	block_signals(&blocked);
	ret = start_thread(capture);
	done = !ret && wait_done(capture);
	if (ret) {
		pthread_sigmask(SIG_UNBLOCK, &blocked, NULL);
		capture_destroy(capture);
		return hs_err_os(ret, "cannot start a thread");
	}
	if (done && is_kept(capture) && !capture->err) {
		capture->blocked = blocked; // for as long as it is held
		live->capture = capture;
		return NULL;
	}
	pthread_join(capture->thread, &result);
	pthread_sigmask(SIG_UNBLOCK, &blocked, NULL);
	err = capture->err;
	// Cancelled, or so late that nobody held the process for us.
	if (result == PTHREAD_CANCELED || (!err && is_kept(capture)))
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
	pthread_sigmask(SIG_UNBLOCK, &capture->blocked, NULL);
	capture_destroy(capture);
	live->capture = NULL;
}
