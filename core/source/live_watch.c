// SPDX-License-Identifier: Apache-2.0
/** @file Capture without any stop: where threads sleep, as /proc shows it, and their stacks. */

#include "core/source/live_capture.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
	WATCH_ROUNDS = 3,
};

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

void hs_live_capture_note_time(struct hs_live *live)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	live->base.info.captured_at = now.tv_sec;
	live->base.info.captured_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
	if (has_our_clock(live) && clock_gettime(CLOCK_MONOTONIC, &now) == 0)
		live->base.info.captured_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/** Note where each thread sleeps. */
static void look(struct hs_live *live)
{
	for (size_t i = 0; i < live->tasks.num; i++) {
		struct hs_live_task *task = &live->tasks.items[i];

		// One that has ended is nowhere, and that is told as pc 0.
		task->is_parked = hs_live_task_syscall(live, task->lwp.host_tid, &task->parked) &&
		                  !task->parked.running && task->parked.pc;
	}
}

/** Leave out the threads that have ended meanwhile. */
static void note_gone(struct hs_live *live)
{
	for (size_t i = 0; i < live->tasks.num; i++) {
		struct hs_live_task *task = &live->tasks.items[i];
		char state;

		if (task->is_parked)
			continue;
		state = hs_live_task_state(live, task->lwp.host_tid);
		if (state == 'Z' && task->lwp.host_tid == live->pid)
			task->lwp.why_no_regs = "it has exited; other threads live on";
		else if (!state || state == 'Z' || state == 'X')
			task->fate = HS_LIVE_GONE;
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
	struct hs_err *err = hs_live_stacks_prepare(live, false);

	for (int round = 0; !err && round < WATCH_ROUNDS; round++) {
		look(live);
		err = hs_live_stacks_copy(live);
		if (!err && !compare(live))
			break;
	}
	note_gone(live);
	live->base.info.pause_ms = 0;
	live->base.info.capture = HS_CAPTURE_NO_STOP;
	hs_live_capture_note_time(live);
	return err;
}
