// SPDX-License-Identifier: Apache-2.0
/** @file Threads of a live process, as /proc shows them. */

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/limits.h"
#include "core/source/live.h"

enum {
	TASK_TEXT = 4096, /**< of stat, syscall or status of one thread */
	SPARE_TASKS = 64, /**< room for threads that start while we attach, and 1/8 of all */
};

/** The texts of one thread below /proc/VIEW. */
static ssize_t read_task_text(const struct hs_live *live, pid_t tid, const char *name, char *buf,
                              size_t size)
{
	char path[64];

	snprintf(path, sizeof(path), "task/%d/%s", tid, name);
	return hs_live_read_text(live->proc_fd, path, buf, size);
}

/** Thread ids now, from malloc, in the kernel's order. */
static struct hs_err *list_tids(const struct hs_live *live, pid_t **ret, size_t *num_ret)
{
	int fd = openat(live->proc_fd, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	hs_cleanup(hs_closedirp) DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	hs_cleanup(hs_freep) pid_t *tids = NULL;
	size_t num = 0, cap = 0;
	struct dirent *entry;

	if (!dir) {
		int saved = errno;

		hs_closep(&fd);
		return hs_err_os(saved == ENOENT ? ESRCH : saved, "threads of process %d",
		                 live->pid);
	}
	while ((entry = readdir(dir))) {
		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		// One more than the limit shows that it was reached.
		if (num > HS_MAX_THREADS)
			break;
		if (num == cap) {
			cap = cap ? cap * 2 : 256;
			pid_t *grown = realloc(tids, cap * sizeof(*tids));
			if (!grown)
				return hs_err_oom();
			tids = grown;
		}
		tids[num++] = atoi(entry->d_name);
	}
	*ret = hs_take(tids);
	*num_ret = num;
	return NULL;
}

static int compare_tids(const void *a, const void *b)
{
	pid_t x = *(const pid_t *)a, y = *(const pid_t *)b;

	return (x > y) - (x < y);
}

static int compare_task_to_tid(const void *key, const void *item)
{
	return compare_tids(key, &((const struct hs_live_task *)item)->lwp.host_tid);
}

/** Number of the thread in its own pid namespace: the last of NSpid. */
static bool read_own_tid(const struct hs_live *live, pid_t tid, pid_t *ret)
{
	char text[TASK_TEXT];
	uint64_t value;
	size_t count;

	if (read_task_text(live, tid, "status", text, sizeof(text)) <= 0 ||
	    !hs_proc_text_status_last(text, "NSpid", &value, &count))
		return false;
	*ret = (pid_t)value;
	return true;
}

bool hs_live_task_syscall(const struct hs_live *live, pid_t tid, struct hs_proc_syscall *ret)
{
	char text[256];

	return read_task_text(live, tid, "syscall", text, sizeof(text)) > 0 &&
	       hs_proc_text_syscall(text, ret);
}

bool hs_live_task_switches(const struct hs_live *live, pid_t tid, uint64_t *ret)
{
	char text[TASK_TEXT];
	uint64_t slept, preempted;

	if (read_task_text(live, tid, "status", text, sizeof(text)) <= 0 ||
	    !hs_proc_text_status(text, "voluntary_ctxt_switches", 10, &slept) ||
	    !hs_proc_text_status(text, "nonvoluntary_ctxt_switches", 10, &preempted))
		return false;
	*ret = slept + preempted;
	return true;
}

/** Fill in what can be known without stopping the thread. */
static void describe(const struct hs_live *live, struct hs_live_task *task, pid_t tid)
{
	struct hs_lwp *lwp = &task->lwp;
	struct hs_proc_stat stat;
	char text[TASK_TEXT];
	long ticks = sysconf(_SC_CLK_TCK);

	*task = (struct hs_live_task){
		.lwp = {.tid = tid,
	                .host_tid = tid,
	                .state = '?',
	                .syscall_nr = -1,
	                .cpu_ms = -1,
	                .cpu_ns = -1}
        };
	if (read_task_text(live, tid, "stat", text, sizeof(text)) <= 0 ||
	    (live->tasks.own_numbers && !read_own_tid(live, tid, &lwp->tid))) {
		task->fate = HS_LIVE_GONE;
		return;
	}
	if (hs_proc_text_stat(text, &stat)) {
		memcpy(lwp->comm, stat.comm, sizeof(lwp->comm));
		lwp->state = stat.state;
		if (ticks > 0)
			lwp->cpu_ms = (int64_t)((double)(stat.utime + stat.stime) * 1000.0 /
			                        (double)ticks);
	}
	// Its first number is the time on a CPU in ns, what the thread's CPU clock shows.
	if (live->exact_cpu && read_task_text(live, tid, "schedstat", text, sizeof(text)) > 0)
		lwp->cpu_ns = strtoll(text, NULL, 10);
	// A running one has nothing to show there.
	if (lwp->state != 'R' && hs_live_task_syscall(live, tid, &task->parked))
		task->is_parked = !task->parked.running && task->parked.pc;
}

struct hs_err *hs_live_tasks_read(struct hs_live *live)
{
	struct hs_live_tasks *tasks = &live->tasks;
	hs_cleanup(hs_freep) pid_t *tids = NULL;
	size_t num = 0;
	struct hs_err *err = list_tids(live, &tids, &num);

	if (err)
		return err;
	if (!num)
		return hs_err_os(ESRCH, "process %d has just ended", live->pid);
	tasks->cut = num > HS_MAX_THREADS;
	if (tasks->cut)
		num = HS_MAX_THREADS;
	tasks->cap = num + num / 8 + SPARE_TASKS;
	tasks->items = hs_arena_calloc(live->base.arena, tasks->cap, sizeof(*tasks->items));
	if (!tasks->items)
		return hs_err_oom();

	qsort(tids, num, sizeof(*tids), compare_tids);
	for (size_t i = 0; i < num; i++)
		describe(live, &tasks->items[i], tids[i]);
	tasks->num = tasks->num_sorted = num;
	return NULL;
}

static bool is_known(const struct hs_live_tasks *tasks, pid_t tid)
{
	if (bsearch(&tid, tasks->items, tasks->num_sorted, sizeof(*tasks->items),
	            compare_task_to_tid))
		return true;
	for (size_t i = tasks->num_sorted; i < tasks->num; i++) {
		if (tasks->items[i].lwp.host_tid == tid)
			return true;
	}
	return false;
}

size_t hs_live_tasks_update(struct hs_live *live)
{
	struct hs_live_tasks *tasks = &live->tasks;
	hs_cleanup(hs_freep) pid_t *tids = NULL;
	size_t num = 0, before = tasks->num;
	struct hs_err *err = list_tids(live, &tids, &num);

	if (err) {
		// It ends: there is nothing new to see.
		hs_err_free(err);
		return 0;
	}
	for (size_t i = 0; i < num; i++) {
		if (is_known(tasks, tids[i]))
			continue;
		if (tasks->num == tasks->cap) {
			tasks->cut = true;
			break;
		}
		describe(live, &tasks->items[tasks->num++], tids[i]);
	}
	return tasks->num - before;
}

long hs_live_tasks_count(const struct hs_live *live)
{
	struct stat st;

	// Two links of a directory, and one per thread (fs/proc/base.c, proc_task_getattr()):
	// /proc/PID/stat would add up the times of all threads for it.
	if (fstatat(live->proc_fd, "task", &st, 0) || st.st_nlink < 2)
		return -1;
	return (long)st.st_nlink - 2;
}

bool hs_live_task_exists(const struct hs_live *live, pid_t tid)
{
	char path[32];

	snprintf(path, sizeof(path), "task/%d", tid);
	return faccessat(live->proc_fd, path, F_OK, 0) == 0;
}

char hs_live_task_state(const struct hs_live *live, pid_t tid)
{
	struct hs_proc_stat stat;
	char text[TASK_TEXT];

	if (read_task_text(live, tid, "stat", text, sizeof(text)) <= 0 ||
	    !hs_proc_text_stat(text, &stat))
		return '\0';
	return stat.state;
}
