// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Numbers of threads in a core of a container. gdb's gcore, run on the host, writes the host's; the
 * program itself, in a pid namespace of its own, knows and keeps others: in the owner words of its
 * mutexes, in HotSpot's thread structures. Its C library keeps each thread's own in the thread's
 * control block. The kernel writes the program's own numbers (fill_prstatus(): task_pid_vnr()).
 */

#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/musl_pthread.h"
#include "core/source/core_file.h"

enum {
	MAX_TID = 1 << 22, // PID_MAX_LIMIT, linux/threads.h
	/** glibc, nptl/descr.h since 2.4: struct pthread has a header of 704 bytes, a list, the
	 * tid. */
	GLIBC_TID = 720,
	GLIBC_SELF = 16, // tcbhead_t: tcb, dtv, self
};

static bool read_memory(struct core *core, hs_addr addr, void *buf, size_t len)
{
	struct hs_err *err = hs_addr_wraps(addr, len)
	                             ? hs_err_fault()
	                             : core->base.ops->read(&core->base, addr, buf, len);

	hs_err_free(err);
	return !err;
}

/** Is it musl's? Its ring tells, and musl must be asked first: an only thread is its own
 * neighbour, and has itself where glibc has the block's own address. */
static bool is_musl(struct core *core, hs_addr block)
{
	hs_addr next, back;

	return read_memory(core, block + HS_MUSL_PTHREAD_NEXT, &next, sizeof(next)) &&
	       !hs_addr_wraps(next, HS_MUSL_PTHREAD_TID) &&
	       read_memory(core, next + HS_MUSL_PTHREAD_PREV, &back, sizeof(back)) && back == block;
}

static bool is_glibc(struct core *core, hs_addr block)
{
	hs_addr self;

	return read_memory(core, block + GLIBC_SELF, &self, sizeof(self)) && self == block;
}

/** What the thread's control block says it is called; 0 when that cannot be told. */
static pid_t own_tid(struct core *core, const struct hs_lwp *lwp)
{
	hs_addr block = lwp->thread_pointer, first, at;
	int32_t tid;

	// x86-64 psABI, TLS: the first word of the block is its own address.
	if (!block || hs_addr_wraps(block, GLIBC_TID + sizeof(tid)) ||
	    !read_memory(core, block, &first, sizeof(first)) || first != block)
		return 0;
	if (is_musl(core, block))
		at = block + HS_MUSL_PTHREAD_TID;
	else if (is_glibc(core, block))
		at = block + GLIBC_TID;
	else
		return 0;
	if (!read_memory(core, at, &tid, sizeof(tid)))
		return 0;
	return tid > 0 && tid <= MAX_TID ? tid : 0;
}

static int compare_tids(const void *a, const void *b)
{
	const struct hs_lwp *x = a, *y = b;

	return (x->tid > y->tid) - (x->tid < y->tid);
}

static bool has_twins(const struct hs_lwp *lwps, size_t num)
{
	for (size_t i = 1; i < num; i++) {
		if (lwps[i].tid == lwps[i - 1].tid)
			return true;
	}
	return false;
}

static void note_doubt(struct core *core, const struct hs_lwp *own, size_t num)
{
	for (size_t i = 0; i < num; i++) {
		if (own[i].host_tid)
			hs_source_gap(&core->base, "thread numbers",
			              "who owns the locks that this thread holds",
			              "thread %d is %d in its own memory: it is from another pid "
			              "namespace, or a child of vfork() that runs in the memory of "
			              "its parent",
			              (int)own[i].host_tid, (int)own[i].tid);
	}
}

struct hs_err *hs_core_own_tids(struct core *core, struct hs_lwp *lwps, size_t num)
{
	hs_cleanup(hs_freep) struct hs_lwp *own = calloc(num ? num : 1, sizeof(*own));
	size_t differ = 0, same = 0;

	if (!own)
		return hs_err_oom();
	for (size_t i = 0; i < num; i++) {
		pid_t tid = own_tid(core, &lwps[i]);

		own[i] = lwps[i];
		if (!tid)
			continue;
		differ += tid != lwps[i].tid;
		same += tid == lwps[i].tid;
		own[i].tid = tid;
		own[i].host_tid = lwps[i].tid;
	}
	// Numbers of one namespace differ for all threads, or for none; memory may hold anything.
	if (!differ || same)
		return NULL;
	// A child of vfork() or posix_spawn() runs with the memory of its parent: all that is in
	// there has the parent's number. It never has two threads.
	if (differ == 1) {
		note_doubt(core, own, num);
		return NULL;
	}
	qsort(own, num, sizeof(*own), compare_tids);
	if (!has_twins(own, num))
		memcpy(lwps, own, num * sizeof(*own));
	return NULL;
}
