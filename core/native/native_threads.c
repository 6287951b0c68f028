// SPDX-License-Identifier: Apache-2.0
/** @file Threads as kernel and libc know them: state, system call, pthread_t, first function. */

#include <string.h>

#include "core/base/cleanup.h"
#include "core/native/native_internal.h"
#include "core/native/syscalls.h"
#include "core/native/thread_db.h"

static const char start_costs[] = "which function each thread was started with, and who is joined";

static const char *state_words(const struct hs_lwp *lwp)
{
	switch (lwp->state) { // proc_pid_stat(5)
	case 'R':
		return "running";
	case 'S':
		return "sleeping";
	case 'D':
		return "in uninterruptible sleep (disk)";
	case 'T':
		return "stopped";
	case 't':
		return "stopped by a tracer";
	case 'Z':
		return "exited (zombie)";
	case 'X':
		return "dead";
	case 'I':
		return "idle";
	default:
		break;
	}
	if (lwp->in_syscall)
		return "in a system call";
	return lwp->has_regs ? "running" : "state not known";
}

/** Is this the thread that the program began with? */
static bool is_first(const struct hs_native *native, const struct hs_lwp *lwp)
{
	pid_t pid = hs_target_info(native->target)->pid;

	// A live target may number its threads in a namespace of its own.
	return pid && (lwp->host_tid ? lwp->host_tid == pid : lwp->tid == pid);
}

/** Name of the function at exactly @p addr, or "library.so+0x12a0". */
static const char *routine_name(struct hs_native *native, hs_addr addr)
{
	const struct hs_module *module = NULL;
	uint64_t offset = 0;
	const char *name = hs_native_symbol(native, addr, &offset, &module);

	if (name && offset)
		return hs_arena_printf(native->arena, "%s+0x%llx", name,
		                       (unsigned long long)offset);
	if (name || !module)
		return name;
	const char *slash = strrchr(module->path, '/');
	return hs_arena_printf(native->arena, "%s+0x%llx", slash ? slash + 1 : module->path,
	                       (unsigned long long)(addr - module->bias));
}

static void set_start(struct hs_native *native, const struct hs_lwp *lwp, struct hs_thread *thread,
                      hs_addr pthread, hs_addr start_routine)
{
	thread->pthread = pthread;
	if (start_routine)
		thread->start_routine = routine_name(native, start_routine);
	else if (is_first(native, lwp))
		thread->start_routine = "main";
}

/** pthread_t is the thread pointer on x86_64: believed when the tid inside is this thread's. */
static bool read_pthread(struct hs_native *native, const struct hs_pthread_layout *layout,
                         const struct hs_lwp *lwp, hs_addr *start_ret)
{
	struct hs_err *err;
	uint32_t tid;
	hs_addr pthread = lwp->thread_pointer;

	if (!pthread || hs_addr_wraps(pthread, layout->size))
		return false;
	err = hs_target_read_u32(native->target, pthread + layout->tid, &tid);
	if (!err && (pid_t)tid == lwp->tid)
		err = hs_target_read_u64(native->target, pthread + layout->start_routine,
		                         start_ret);
	bool ok = !err && (pid_t)tid == lwp->tid;
	hs_err_free(err);
	return ok;
}

static const struct hs_lwp *lwp_of(struct hs_native *native, pid_t tid)
{
	size_t count, low = 0;
	const struct hs_lwp *lwps = hs_target_lwps(native->target, &count);

	for (size_t high = count; low < high;) {
		size_t middle = low + (high - low) / 2;
		if (lwps[middle].tid < tid)
			low = middle + 1;
		else
			high = middle;
	}
	return low < count && lwps[low].tid == tid ? &lwps[low] : NULL;
}

/** Ask libthread_db. What it says of a thread must agree with the thread's registers. */
static struct hs_err *ask_thread_db(struct hs_native *native)
{
	const struct hs_td_thread *found;
	size_t count;
	hs_cleanup(hs_thread_db_closep) struct hs_thread_db *db = NULL;

	struct hs_err *err = hs_thread_db_open(native, &db);
	if (err)
		return err;
	err = hs_thread_db_threads(db, &found, &count);
	for (size_t i = 0; i < count; i++) {
		const struct hs_lwp *lwp = lwp_of(native, found[i].tid);
		uint32_t index = hs_snapshot_thread_by_tid(native->snapshot, found[i].tid);

		if (!lwp || index == HS_NONE ||
		    (lwp->thread_pointer && lwp->thread_pointer != found[i].pthread))
			continue;
		// One that has exited and is not joined has tid 0, which is given out as the pid.
		struct hs_thread *thread = &native->snapshot->threads.items[index];
		if (!thread->pthread)
			set_start(native, lwp, thread, found[i].pthread, found[i].start_routine);
	}
	return err;
}

/** pthread_t and start routine of every thread: libthread_db, then the descriptors for the rest. */
static void collect_starts(struct hs_native *native)
{
	struct hs_pthread_layout layout;
	struct hs_err *td_err = ask_thread_db(native);
	struct hs_err *layout_err = hs_pthread_layout_read(native, &layout);
	size_t count, unknown = 0;
	const struct hs_lwp *lwps = hs_target_lwps(native->target, &count);

	for (size_t i = 0; i < count; i++) {
		uint32_t index = hs_snapshot_thread_by_tid(native->snapshot, lwps[i].tid);
		hs_addr start;

		if (index == HS_NONE || native->snapshot->threads.items[index].pthread)
			continue;
		if (!layout_err && read_pthread(native, &layout, &lwps[i], &start))
			set_start(native, &lwps[i], &native->snapshot->threads.items[index],
			          lwps[i].thread_pointer, start);
		else
			unknown++;
	}
	// One way is enough; when both failed, the second reason is about the program itself.
	if (unknown && layout_err && td_err)
		hs_snapshot_gap(native->snapshot, "pthread structures", start_costs,
		                hs_err_wrap(layout_err, "%zu of %zu threads: %s; %s", unknown,
		                            count, hs_err_message(td_err),
		                            "the descriptors of its libc"));
	else
		hs_err_free(layout_err);
	hs_err_free(td_err);
}

struct hs_err *hs_native_collect_threads(struct hs_native *native)
{
	struct hs_syscalls syscalls = {
		.target = native->target,
		.arena = native->arena,
		.redact = native->snapshot->redact,
	};
	size_t count;
	const struct hs_lwp *lwps = hs_target_lwps(native->target, &count);

	for (size_t i = 0; i < count; i++) {
		const struct hs_lwp *lwp = &lwps[i];
		struct hs_thread *thread = hs_snapshot_add_thread(native->snapshot, lwp->tid, NULL);
		if (!thread)
			break;
		thread->kind = HS_THREAD_NATIVE;
		if (lwp->comm[0])
			hs_snapshot_name_thread(
				native->snapshot, thread,
				hs_arena_strndup(native->arena, lwp->comm,
			                         strnlen(lwp->comm, sizeof(lwp->comm))));
		thread->host_tid = lwp->host_tid;
		thread->cpu_ms = lwp->cpu_ms;
		thread->state = state_words(lwp);
		thread->syscall = hs_syscall_describe(&syscalls, lwp);
		if (lwp->wchan)
			thread->wchan = hs_arena_strdup(native->arena, lwp->wchan);
		if (lwp->kernel_stack)
			thread->kernel_stack = hs_arena_strdup(native->arena, lwp->kernel_stack);
	}
	if (hs_arena_failed(native->arena))
		return hs_err_oom();
	if (native->snapshot->threads.len < count)
		hs_snapshot_gapf(native->snapshot, "threads", "what the others do",
		                 "only the first %zu of %zu threads were taken",
		                 native->snapshot->threads.len, count);
	if (hs_target_info(native->target)->capture != HS_CAPTURE_PROC)
		collect_starts(native);
	return hs_arena_failed(native->arena) ? hs_err_oom() : NULL;
}
