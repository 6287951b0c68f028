// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Live process as a source. In this order: see that it can be done; read mappings and open the
 * mapped files; list the threads; the pause (live_capture.h); and only then decode what was
 * captured. Nothing that may take long, or hang on a sick file system, happens during the pause.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/map64.h"
#include "core/limits.h"
#include "core/source/elf_image.h"
#include "core/source/live_capture.h"
#include "core/source/syscall_regs.h"

enum {
	MAX_ARGS_TEXT = 128 << 10, /**< bytes of the command line */
	MAX_AUXV = 256,            /**< entries; the kernel writes some 20 */
	RESTART_BLOCK = 516,       /**< ERESTART_RESTARTBLOCK, linux/errno.h */
	SETTLE_STEP = 2000000,     /**< ns */
	SETTLE_STEPS = 25,
	MAX_PROGRAMS = 5, /**< that may replace each other while one is captured */
};

/**
 * Where is the thread now? One that was woken by our own stop, and had no CPU since, still counts
 * as running: it gets a little time to be back where it slept.
 */
static bool look_again(const struct hs_live *live, const struct hs_lwp *lwp,
                       struct hs_proc_syscall *ret)
{
	const struct timespec pause = {.tv_nsec = SETTLE_STEP};

	for (int i = 0; i < SETTLE_STEPS; i++) {
		if (!hs_live_task_syscall(live, lwp->host_tid, ret))
			return false;
		if (!lwp->in_syscall || !ret->running)
			break;
		clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
	}
	return true;
}

static struct hs_err *live_lwp_unmoved(struct hs_source *source, pid_t host_tid, bool *same_ret)
{
	const struct hs_live *live = (const struct hs_live *)source;
	const struct hs_lwp *lwp = NULL;
	struct hs_proc_syscall then = {.nr = -1}, now;

	for (size_t i = 0; i < source->num_lwps && !lwp; i++) {
		if (source->lwps[i].host_tid == host_tid)
			lwp = &source->lwps[i];
	}
	if (!lwp)
		return hs_err_os(ESRCH, "thread %d was not captured", host_tid);
	if (!hs_live_is_same(live))
		return hs_err_os(ESRCH, "process %d has ended", live->pid);
	if (!look_again(live, lwp, &now))
		return hs_err_os(ESRCH, "thread %d cannot be looked at again", host_tid);
	then.nr = lwp->in_syscall ? lwp->syscall_nr : -1;
	if (lwp->in_syscall)
		memcpy(then.args, lwp->syscall_args, sizeof(then.args));
	then.sp = lwp->regs.value[HS_REG_SP];
	then.pc = lwp->regs.value[HS_REG_PC];
	*same_ret = lwp->has_regs && hs_proc_syscall_same(&then, &now);
	return NULL;
}

static struct hs_err *live_lwp_switches(struct hs_source *source, pid_t host_tid, uint64_t *ret)
{
	const struct hs_live *live = (const struct hs_live *)source;

	if (!hs_live_task_switches(live, host_tid, ret))
		return hs_err_os(ESRCH, "thread %d cannot be looked at again", host_tid);
	return NULL;
}

static const char *live_fd_link(struct hs_source *source, int fd)
{
	const struct hs_live *live = (const struct hs_live *)source;
	char name[32], link[HS_MAX_PATH];

	snprintf(name, sizeof(name), "fd/%d", fd);
	ssize_t len = fd < 0 ? -1 : readlinkat(live->proc_fd, name, link, sizeof(link));
	return len > 0 ? hs_arena_strndup(source->arena, link, (size_t)len) : NULL;
}

static int live_proc_directory(const struct hs_source *source)
{
	return ((const struct hs_live *)source)->proc_fd;
}

static void live_close(struct hs_source *source)
{
	struct hs_live *live = (struct hs_live *)source;

	hs_live_capture_end(live);
	if (live->buffer)
		munmap(live->buffer, live->buffer_len);
	hs_closep(&live->root_fd);
	hs_closep(&live->mem_fd);
	hs_closep(&live->proc_fd);
	free(live);
}

static double live_held_ms(const struct hs_source *source)
{
	const struct hs_live *live = (const struct hs_live *)source;

	return live->capture ? (double)(hs_live_now() - live->held_since) / 1e6
	                     : source->info.pause_ms;
}

static void live_release(struct hs_source *source)
{
	struct hs_live *live = (struct hs_live *)source;
	bool was_held = live->capture != NULL;

	hs_live_capture_end(live);
	if (was_held)
		source->info.pause_ms = (double)(hs_live_now() - live->held_since) / 1e6;
}

static const struct hs_source_ops live_ops = {
	.name = "live",
	.read = hs_live_read,
	.read_now = hs_live_read_now,
	.lwp_unmoved = live_lwp_unmoved,
	.lwp_switches = live_lwp_switches,
	.held_ms = live_held_ms,
	.release = live_release,
	.fd_link = live_fd_link,
	.proc_directory = live_proc_directory,
	.close = live_close,
};

// ---- Before the pause

static struct hs_live *live_create(void)
{
	struct hs_live *live = calloc(1, sizeof(*live));

	if (!live)
		return NULL;
	live->base.ops = &live_ops;
	live->base.cacheable = true;
	live->proc_fd = live->mem_fd = live->root_fd = -1;
	return live;
}

static void read_args(struct hs_live *live)
{
	hs_cleanup(hs_freep) char *text = malloc(MAX_ARGS_TEXT);
	ssize_t len = text ? hs_live_read_text(live->proc_fd, "cmdline", text, MAX_ARGS_TEXT) : 0;

	if (len > 0)
		live->base.info.args = hs_proc_text_args(live->base.arena, text, (size_t)len);
}

static void read_info(struct hs_live *live)
{
	static const char deleted[] = " (deleted)";
	struct hs_target_info *info = &live->base.info;
	struct hs_arena *arena = live->base.arena;
	char exe[HS_MAX_PATH];
	struct utsname name;
	ssize_t len = readlinkat(live->proc_fd, "exe", exe, sizeof(exe));

	info->kind = HS_TARGET_LIVE;
	info->ran_on = true;
	info->pid = live->pid;
	if (len > 0) {
		size_t tail = strlen(deleted);

		if ((size_t)len > tail && memcmp(exe + len - tail, deleted, tail) == 0)
			len -= (ssize_t)tail;
		info->exe = hs_arena_strndup(arena, exe, (size_t)len);
	}
	if (uname(&name) == 0)
		info->host = hs_arena_strdup(arena, name.nodename);
	read_args(live);
}

static struct hs_err *open_memory(struct hs_live *live)
{
	live->mem_fd = openat(live->proc_fd, "mem", O_RDONLY | O_CLOEXEC);
	if (live->mem_fd >= 0)
		return NULL;
	if (errno == EACCES || errno == EPERM)
		return hs_live_denied(live, "read the memory of", errno);
	return hs_err_os(errno == ENOENT ? ESRCH : errno, "cannot read the memory of process %d",
	                 live->pid);
}

static struct hs_err *prepare(struct hs_live *live, const struct hs_open_options *options)
{
	const struct hs_file_opener opener = {hs_live_files_open, live};
	// The memory first: when that is still the same in the end, so is all that was read since.
	struct hs_err *err = open_memory(live);

	if (!err)
		err = hs_live_maps_read(live, &live->maps);
	if (!err)
		err = hs_live_files_open_root(live, options->root);
	if (err)
		return err;
	read_info(live);
	if (live->maps.cut)
		hs_source_gap(&live->base, "mappings", "modules at the highest addresses",
		              "more than %d mappings", HS_MAX_MAPPINGS);
	err = hs_modules_build(&live->base, live->maps.items, live->maps.num, &opener);
	if (!err)
		err = hs_live_tasks_read(live);
	return err;
}

// ---- After the pause

/** The last bytes of code before a pc. */
struct code {
	uint8_t bytes[HS_SYSCALL_CODE];
	size_t len;
};

/** Code before @p pc, read once per distinct pc: most threads sleep in few places. */
static struct hs_err *code_before(struct hs_live *live, struct hs_map64 *seen, hs_addr pc,
                                  const struct code **ret)
{
	static const size_t lengths[] = {HS_SYSCALL_CODE, 2};
	struct code *code = hs_map64_get(seen, pc);

	if (!code) {
		code = hs_arena_alloc(live->base.arena, sizeof(*code));
		if (!code || !hs_map64_put(seen, pc, code))
			return hs_err_oom();
		for (size_t i = 0; i < 2 && !code->len; i++) {
			size_t len = lengths[i];
			struct hs_err *err =
				pc < len ? hs_err_fault()
					 : hs_source_read(&live->base, pc - len, code->bytes, len);

			if (!err)
				code->len = len;
			hs_err_free(err);
		}
	}
	*ret = code;
	return NULL;
}

/** What is known of a thread that was not stopped, in the shape of what a stop shows. */
static struct user_regs_struct regs_of_parked(const struct hs_proc_syscall *parked)
{
	return (struct user_regs_struct){
		.orig_rax = (unsigned long long)parked->nr,
		.rax = (unsigned long long)-RESTART_BLOCK,
		.rdi = parked->args[0],
		.rsi = parked->args[1],
		.rdx = parked->args[2],
		.r10 = parked->args[3],
		.r8 = parked->args[4],
		.r9 = parked->args[5],
		.rsp = parked->sp,
		.rip = parked->pc,
	};
}

/** Does the thread still sleep where it slept while its stack was copied? */
static bool still_parked(const struct hs_live *live, const struct hs_live_task *task)
{
	struct hs_proc_syscall now;

	return task->is_parked && hs_live_task_syscall(live, task->lwp.host_tid, &now) &&
	       hs_proc_syscall_same(&task->parked, &now);
}

static struct hs_err *decode_task(struct hs_live *live, struct hs_map64 *seen,
                                  struct hs_live_task *task)
{
	struct hs_lwp *lwp = &task->lwp;
	const struct code *code = NULL;

	if (lwp->why_no_regs)
		return NULL;
	if (task->fate == HS_LIVE_STOPPED) {
		hs_lwp_set_regs(lwp, &task->regs);
	} else if (still_parked(live, task)) {
		task->regs = regs_of_parked(&task->parked);
		hs_regs_set(&lwp->regs, HS_REG_SP, task->parked.sp);
		hs_regs_set(&lwp->regs, HS_REG_PC, task->parked.pc);
		lwp->has_regs = true;
	} else {
		lwp->why_no_regs = task->fate == HS_LIVE_SKIPPED
		                           ? "it did not stop in time"
		                           : "it was running, and was not to be stopped";
		return NULL;
	}
	if ((int64_t)task->regs.orig_rax < 0)
		return NULL;
	struct hs_err *err = code_before(live, seen, task->regs.rip, &code);
	if (!err)
		hs_lwp_decode_syscall(lwp, &task->regs, code->bytes, code->len);
	return err;
}

static int compare_lwps(const void *a, const void *b)
{
	const struct hs_lwp *x = a, *y = b;

	return (x->tid > y->tid) - (x->tid < y->tid);
}

/** Without a moment when all threads were held. */
static void note_moments(struct hs_live *live)
{
	static const char subject[] = "one moment of all threads";
	static const char costs[] =
		"waits of different moments may stand side by side; a finding is "
		"reported only when a second look found it unchanged";

	if (live->base.info.capture == HS_CAPTURE_ROLLING)
		hs_source_gap(&live->base, subject, costs, "%s",
		              "threads were held one after the other (--rolling)");
	if (live->base.info.capture == HS_CAPTURE_NO_STOP)
		hs_source_gap(&live->base, subject, costs, "%s",
		              "no thread was held (--no-stop): of those that slept, pc, sp and "
		              "stack were read and found unchanged afterwards");
}

static void note_gaps(struct hs_live *live)
{
	size_t partial = 0;

	note_moments(live);

	for (size_t i = 0; i < live->tasks.num; i++) {
		const struct hs_live_task *task = &live->tasks.items[i];

		partial += task->fate == HS_LIVE_SKIPPED && task->lwp.has_regs;
	}
	if (partial)
		hs_source_gap(
			&live->base, "threads that did not stop",
			"their callers where code keeps values in registers",
			"%zu are in an uninterruptible sleep, frozen, or got no CPU in time: only "
			"their pc and sp are known",
			partial);
	if (live->tasks.cut)
		hs_source_gap(&live->base, "threads", "what the threads left out wait for or hold",
		              "there are more than the %zu that were captured", live->tasks.num);
}

static int compare_tasks(const void *a, const void *b)
{
	const struct hs_live_task *const *x = a, *const *y = b;

	return ((*x)->lwp.tid > (*y)->lwp.tid) - ((*x)->lwp.tid < (*y)->lwp.tid);
}

/** For a snapshot: the registers that hs_lwp has no place for. The order is that of the lwps. */
static struct hs_err *keep_raw_regs(struct hs_live *live)
{
	struct hs_live_tasks *tasks = &live->tasks;
	const struct hs_live_task **order =
		hs_arena_calloc(live->base.arena, tasks->num, sizeof(*order));
	const struct user_regs_struct **regs =
		hs_arena_calloc(live->base.arena, tasks->num, sizeof(*regs));
	size_t num = 0;

	if (!order || !regs)
		return hs_err_oom();
	for (size_t i = 0; i < tasks->num; i++) {
		if (tasks->items[i].fate != HS_LIVE_GONE)
			order[num++] = &tasks->items[i];
	}
	qsort(order, num, sizeof(*order), compare_tasks);
	for (size_t i = 0; i < num; i++)
		regs[i] = order[i]->lwp.has_regs ? &order[i]->regs : NULL;
	live->base.raw_regs = regs;
	return NULL;
}

static struct hs_err *keep_auxv(struct hs_live *live)
{
	uint64_t pairs[MAX_AUXV][2];
	ssize_t len = hs_live_read_text(live->proc_fd, "auxv", (char *)pairs, sizeof(pairs));

	for (size_t i = 0; len > 0 && i < (size_t)len / sizeof(pairs[0]) && pairs[i][0]; i++) {
		for (size_t j = 0; j < 2; j++) {
			uint64_t *slot = hs_vec_push(live->base.arena, &live->base.auxv);

			if (!slot)
				return hs_err_oom();
			*slot = pairs[i][j];
		}
	}
	return NULL;
}

/** Keep what was copied during the pause, and what only a snapshot needs. */
static struct hs_err *record_capture(struct hs_live *live)
{
	struct hs_err *err = hs_source_refresh(&live->base);
	uint8_t byte;

	for (size_t i = 0; i < live->num_ranges && !err; i++) {
		const struct hs_live_range *range = &live->ranges[i];

		for (hs_addr at = range->start; !err && at < range->start + range->len;
		     at = (at & ~(hs_addr)(HS_PAGE - 1)) + HS_PAGE) {
			err = hs_source_read(&live->base, at, &byte, sizeof(byte));
			if (hs_err_catch(&err, HS_ERR_FAULT))
				break;
		}
	}
	return err ? err : keep_auxv(live);
}

static struct hs_err *finish(struct hs_live *live)
{
	hs_cleanup(hs_map64_deinit) struct hs_map64 seen = {0};
	struct hs_live_tasks *tasks = &live->tasks;
	struct hs_lwp *lwps = hs_arena_calloc(live->base.arena, tasks->num, sizeof(*lwps));
	size_t num = 0;
	struct hs_err *err = NULL;

	if (!lwps)
		return hs_err_oom();
	if (live->base.record)
		err = record_capture(live);
	if (err)
		return err;
	for (size_t i = 0; i < tasks->num; i++) {
		if (tasks->items[i].fate == HS_LIVE_GONE)
			continue;
		err = decode_task(live, &seen, &tasks->items[i]);
		if (err)
			return err;
		hs_live_explain(live, &tasks->items[i].lwp);
		lwps[num++] = tasks->items[i].lwp;
	}
	if (!num)
		return hs_err_os(ESRCH, "process %d has just ended", live->pid);
	qsort(lwps, num, sizeof(*lwps), compare_lwps);
	live->base.lwps = lwps;
	live->base.num_lwps = num;
	note_gaps(live);
	return live->base.record ? keep_raw_regs(live) : NULL;
}

static void report_progress(const struct hs_open_options *options, const char *what)
{
	if (options->progress)
		options->progress(options->progress_arg, what, -1);
}

static enum hs_capture mode_of(const struct hs_open_options *options)
{
	return options->keep_stopped ? HS_CAPTURE_STOP
	       : options->rolling    ? HS_CAPTURE_ROLLING
	                             : HS_CAPTURE_PAUSE;
}

static struct hs_err *open_once(pid_t pid, const struct hs_open_options *options,
                                struct hs_target **ret)
{
	struct hs_live *live = live_create();
	struct hs_err *err;

	if (!live)
		return hs_err_oom();

	hs_cleanup(hs_source_destroyp) struct hs_source *source = &live->base;
	source->arena = hs_arena_create();
	if (!source->arena)
		return hs_err_oom();
	live->exact_cpu = options->exact_cpu;
	err = options->record ? hs_source_record(source) : NULL;
	if (!err)
		err = hs_live_identify(live, pid,
		                       options->no_stop ? HS_LIVE_FOR_READ : HS_LIVE_FOR_STOP);
	if (!err) {
		report_progress(options, "reading mappings and files");
		err = prepare(live, options);
	}
	if (err)
		return err;

	report_progress(options, "copying registers and stacks");
	err = options->no_stop ? hs_live_capture_watch(live)
	                       : hs_live_capture_stop(live, mode_of(options));
	// The mappings and files are those of the program that was there before.
	if (!hs_live_is_same(live)) {
		hs_err_free(err);
		err = hs_err_os(ESTALE,
		                "process %d has just ended, or replaced its program "
		                "(execve)",
		                live->pid);
	}
	if (!err)
		err = finish(live);
	if (err)
		return err;
	return hs_target_from_source(hs_take(source), ret);
}

struct hs_err *hs_target_open_pid(pid_t pid, const struct hs_open_options *options,
                                  struct hs_target **ret)
{
	static const struct hs_open_options defaults;
	struct hs_err *err = NULL;

	for (int i = 0; i < MAX_PROGRAMS; i++) {
		hs_err_free(err);
		err = open_once(pid, options ? options : &defaults, ret);
		if (!err || hs_err_code(err) != HS_ERR_OS || hs_err_errno(err) != ESTALE)
			break;
	}
	return err;
}

// ---- Without any right to look in

static struct hs_err *list_threads(struct hs_live *live, const char *why)
{
	const char *copy = hs_arena_strdup(live->base.arena, why);
	struct hs_err *err = hs_live_tasks_read(live);

	if (!err && !copy)
		err = hs_err_oom();
	for (size_t i = 0; !err && i < live->tasks.num; i++)
		live->tasks.items[i].lwp.why_no_regs = copy;
	return err;
}

struct hs_err *hs_target_open_proc(pid_t pid, const char *why, struct hs_target **ret)
{
	struct hs_live *live = live_create();

	if (!live)
		return hs_err_oom();
	hs_cleanup(hs_source_destroyp) struct hs_source *source = &live->base;
	source->arena = hs_arena_create();
	if (!source->arena)
		return hs_err_oom();
	struct hs_err *err = hs_live_identify(live, pid, HS_LIVE_FOR_PROC);
	if (!err)
		err = list_threads(live, why);
	if (err)
		return err;
	read_info(live);
	// Which program it is cannot be seen: what it was called with may say.
	if (!source->info.exe && source->info.args)
		source->info.exe = source->info.args[0];
	source->info.pause_ms = -1;
	source->info.capture = HS_CAPTURE_PROC;
	source->info.captured_at = time(NULL);
	err = finish(live);
	return err ? err : hs_target_from_source(hs_take(source), ret);
}
