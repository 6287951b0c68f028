// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Rolling capture: one thread is stopped, its registers and its stack are copied, it runs on; then
 * the next. The program as a whole never stops, and there is no one moment that all of it shows.
 */

#include "core/source/live_capture.h"
#include "core/source/live_tracer.h"

enum {
	MICROSECOND = 1000,           /**< ns */
	STOP_PATIENCE = 100000000,    /**< for one thread to stop; the others run meanwhile */
	LATE_PATIENCE = 500000000,    /**< at the end, for those that did not */
	LOOK_AFTER = 1000000,         /**< without a stop: look what the thread does, */
	POLL_FAST = 20 * MICROSECOND, /**< polled without a sleep before */
	MAX_LATE = 16,                /**< threads that did not stop in time, at any moment */
	NEW_THREAD_ROUNDS = 4,
};

struct rolling {
	struct hs_live *live;
	int64_t longest;       /**< that a thread was held, ns */
	size_t late[MAX_LATE]; /**< attached to and interrupted, not stopped yet */
	size_t num_late;
};

/** The thread at @p index is stopped since @p since at the earliest: copy, let go. */
static struct hs_err *take(struct rolling *rolling, size_t index, int64_t since,
                           bool *has_stack_ret)
{
	struct hs_live *live = rolling->live;
	struct hs_live_task *task = &live->tasks.items[index];
	struct hs_live_range range = {0};

	*has_stack_ret = task->lwp.why_no_regs || hs_live_stacks_copy_one(live, task, &range);
	hs_live_detach(task);

	int64_t held = hs_live_now() - since;
	if (held > rolling->longest)
		rolling->longest = held;
	return hs_live_stacks_keep(live, &range);
}

/** Let go of late threads that have stopped by now. */
static struct hs_err *take_late(struct rolling *rolling, int64_t since)
{
	struct hs_err *err = NULL;
	size_t kept = 0;

	for (size_t i = 0; i < rolling->num_late; i++) {
		struct hs_live_task *task = &rolling->live->tasks.items[rolling->late[i]];
		bool has_stack;

		if (!hs_live_try_stop(task))
			rolling->late[kept++] = rolling->late[i];
		else if (!err)
			err = take(rolling, rolling->late[i], since, &has_stack);
		else
			hs_live_detach(task);
	}
	rolling->num_late = kept;
	return err;
}

/** Wait for an interrupted thread. @return a moment when it was not stopped yet, 0: it is late, or
 * not waited for. */
static int64_t wait_stopped(struct rolling *rolling, size_t index)
{
	struct hs_live *live = rolling->live;
	struct hs_live_task *task = &live->tasks.items[index];
	int64_t start = hs_live_now(), now = start, before = start, look = start + LOOK_AFTER;

	while (!hs_live_try_stop(task)) {
		before = now;
		if (now >= look) {
			hs_live_weed(live, task);
			look = now + LOOK_AFTER;
		}
		if (task->fate == HS_LIVE_GONE)
			return 0;
		// One that fell into an uninterruptible sleep stops when it wakes up.
		if (task->fate == HS_LIVE_SKIPPED || now - start >= STOP_PATIENCE) {
			rolling->late[rolling->num_late++] = index;
			return 0;
		}
		if (now - start >= POLL_FAST)
			hs_live_let_run(0);
		now = hs_live_now();
	}
	return before;
}

/** @param[out] again_ret Its stack is in a mapping that was not known: it is now. */
static struct hs_err *roll_one(struct rolling *rolling, size_t index, bool *again_ret)
{
	struct hs_live *live = rolling->live;
	struct hs_live_task *task = &live->tasks.items[index];
	bool has_stack = true;
	struct hs_err *err;
	int64_t since;

	*again_ret = false;
	hs_live_skip_sleepers(live, index, index + 1);
	hs_live_seize(live, index, index + 1);
	hs_live_judge(live, index, index + 1);
	if (task->fate != HS_LIVE_SEIZED)
		return NULL;
	hs_live_interrupt(live, index, index + 1);
	since = wait_stopped(rolling, index);
	if (!since)
		return NULL;
	err = take(rolling, index, since, &has_stack);
	if (!err && !has_stack) {
		hs_live_stacks_refresh(live);
		*again_ret = true;
	}
	return err;
}

/** Has a late thread stopped, or does it only wait for a CPU? Others are gone, or stop who knows
 * when. */
static bool is_worth_waiting(const struct rolling *rolling)
{
	struct hs_live *live = rolling->live;

	for (size_t i = 0; i < rolling->num_late; i++) {
		char state = hs_live_weed(live, &live->tasks.items[rolling->late[i]]);

		if (state == 'R' || state == 't')
			return true;
	}
	return false;
}

/** Give late threads a little time. The end of this thread lets go of those that never stop. */
static struct hs_err *wait_for_late(struct rolling *rolling)
{
	int64_t deadline = hs_live_now() + LATE_PATIENCE;
	struct hs_err *err = NULL;

	while (!err && is_worth_waiting(rolling)) {
		int64_t since = hs_live_now();

		if (since >= deadline)
			break;
		hs_live_let_run(0);
		err = take_late(rolling, since);
	}
	return err;
}

static struct hs_err *roll_from(struct rolling *rolling, size_t first)
{
	struct hs_live_tasks *tasks = &rolling->live->tasks;

	for (size_t i = first; i < tasks->num && rolling->num_late < MAX_LATE; i++) {
		int64_t since = hs_live_now();
		bool again;
		struct hs_err *err = roll_one(rolling, i, &again);

		if (!err && again) {
			tasks->items[i].fate = HS_LIVE_LISTED;
			err = roll_one(rolling, i, &again);
		}
		if (!err && rolling->num_late)
			err = rolling->num_late < MAX_LATE ? take_late(rolling, since)
			                                   : wait_for_late(rolling);
		if (err)
			return err;
	}
	return NULL;
}

static void give_up_the_rest(struct hs_live_tasks *tasks)
{
	for (size_t i = 0; i < tasks->num; i++) {
		if (tasks->items[i].fate == HS_LIVE_SEIZED ||
		    tasks->items[i].fate == HS_LIVE_LISTED)
			tasks->items[i].fate = HS_LIVE_SKIPPED;
	}
}

struct hs_err *hs_live_roll(struct hs_live *live)
{
	struct rolling rolling = {.live = live};
	struct hs_err *err;
	size_t first = 0;

	live->num_ranges = 0;
	err = roll_from(&rolling, first);
	for (int round = 0; !err && round < NEW_THREAD_ROUNDS; round++) {
		first = live->tasks.num;
		if (!hs_live_tasks_update(live))
			break;
		err = roll_from(&rolling, first);
	}
	if (!err)
		err = wait_for_late(&rolling);
	give_up_the_rest(&live->tasks);
	if (!err)
		err = hs_live_check_attached(live);
	hs_live_stacks_sort(live);
	live->base.info.pause_ms = (double)rolling.longest / 1e6;
	return err;
}
