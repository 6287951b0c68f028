// SPDX-License-Identifier: Apache-2.0
/** @file musl's synchronization objects: layouts, and what makes them plausible. */

#include "core/native/musl_sync.h"

#include <stdlib.h>

#include "core/limits.h"
#include "core/musl_pthread.h"

enum {
	PID_LIMIT = 1 << 22,   // linux/threads.h: PID_MAX_LIMIT
	TID_MASK = 0x3fffffff, // the bits above: waiters, owner died
	MUTEX_TYPE = 15,
	MUTEX_NORMAL_LOCKED = 16,          // EBUSY: a normal mutex does not say by whom
	MUTEX_TYPES = 1 | 2 | 4 | 8 | 128, // recursive, error-checking, robust, PI, shared

	LOCK_SHARED = 128,
	RWLOCK_WRITER = 0x7fffffff,

	WAITER_LOCKED = 2, // pthread_cond_timedwait.c: node.barrier starts as 2
};

static const uint32_t waiters_bit = UINT32_C(1) << 31;

static bool read_bytes(struct hs_target *target, hs_addr addr, void *buf, size_t len)
{
	struct hs_err *err =
		hs_addr_wraps(addr, len) ? hs_err_fault() : hs_target_read(target, addr, buf, len);
	bool ok = !err;

	hs_err_free(err);
	return ok;
}

bool hs_musl_is_thread(struct hs_target *target, const struct hs_lwp *lwp)
{
	uint64_t words[HS_MUSL_PTHREAD_TID / 8 + 1], back;

	if (!lwp->thread_pointer || !read_bytes(target, lwp->thread_pointer, words, sizeof(words)))
		return false;
	if (words[HS_MUSL_PTHREAD_SELF] != lwp->thread_pointer ||
	    (uint32_t)words[HS_MUSL_PTHREAD_TID / 8] != (uint32_t)lwp->tid)
		return false;
	// All threads are in a ring. glibc has its tid elsewhere, and no such ring here.
	hs_addr next = words[HS_MUSL_PTHREAD_NEXT / 8];
	return !hs_addr_wraps(next, HS_MUSL_PTHREAD_TID) &&
	       read_bytes(target, next + HS_MUSL_PTHREAD_PREV, &back, sizeof(back)) &&
	       back == lwp->thread_pointer;
}

static int compare_lwps(const void *key, const void *lwp)
{
	pid_t a = *(const pid_t *)key, b = ((const struct hs_lwp *)lwp)->tid;

	return (a > b) - (a < b);
}

bool hs_musl_is_thread_at(struct hs_target *target, hs_addr pthread, pid_t tid)
{
	size_t count;
	const struct hs_lwp *lwps = hs_target_lwps(target, &count);
	const struct hs_lwp *lwp =
		count ? bsearch(&tid, lwps, count, sizeof(*lwps), compare_lwps) : NULL;

	return lwp && lwp->thread_pointer == pthread && hs_musl_is_thread(target, lwp);
}

hs_addr hs_musl_joined(struct hs_target *target, hs_addr word, pid_t *tid_ret)
{
	hs_addr pthread = word - HS_MUSL_PTHREAD_DETACH_STATE;
	uint32_t tid;

	if (word < HS_MUSL_PTHREAD_DETACH_STATE || word % 8 ||
	    !read_bytes(target, pthread + HS_MUSL_PTHREAD_TID, &tid, sizeof(tid)) ||
	    tid > PID_LIMIT)
		return 0;
	*tid_ret = (pid_t)tid;
	return pthread;
}

/** { int type; int lock; int waiters; ... int count }: the word is lock. */
static bool read_mutex(struct hs_target *target, const struct hs_futex_wait *wait,
                       struct hs_musl_object *object)
{
	uint32_t words[6];

	if (wait->word % 8 != 4 || !read_bytes(target, wait->word - 4, words, sizeof(words)))
		return false;
	uint32_t type = words[0], lock = words[1], held_by = lock & TID_MASK;
	if (type & ~(uint32_t)MUTEX_TYPES || !(lock & waiters_bit) || words[2] > HS_MAX_THREADS ||
	    !(wait->expected & waiters_bit))
		return false;
	object->is_normal = (type & MUTEX_TYPE) == 0;
	if (object->is_normal ? held_by != MUTEX_NORMAL_LOCKED : !held_by || held_by > PID_LIMIT)
		return false;
	object->kind = HS_MUSL_MUTEX;
	object->address = wait->word - 4;
	object->owner = object->is_normal ? 0 : (pid_t)held_by;
	return true;
}

/** { int lock; int waiters; int shared }; a semaphore is { int value; int waiters; int shared }. */
static bool read_rwlock(struct hs_target *target, const struct hs_futex_wait *wait,
                        struct hs_musl_object *object)
{
	uint32_t words[3];

	if (!read_bytes(target, wait->word, words, sizeof(words)))
		return false;
	if (!(wait->expected & waiters_bit) || words[0] != wait->expected || !words[1] ||
	    words[1] > HS_MAX_THREADS || (words[2] && words[2] != LOCK_SHARED))
		return false;
	uint32_t held = words[0] & ~waiters_bit;
	object->kind = held == RWLOCK_WRITER ? HS_MUSL_RWLOCK_OR_SEM : HS_MUSL_RWLOCK;
	object->address = wait->word;
	object->num_readers = held == RWLOCK_WRITER ? 0 : held;
	// pthread_rwlock_t has pointers in it, sem_t only ints.
	return held == RWLOCK_WRITER || (held && held <= HS_MAX_THREADS && wait->word % 8 == 0);
}

/** In the waiter's own stack: { waiter *prev, *next; int state, barrier; int *notify }. */
static bool is_cond_waiter(const struct hs_lwp *lwp, const struct hs_futex_wait *wait)
{
	if (!lwp->has_regs || !hs_regs_has(&lwp->regs, HS_REG_SP))
		return false;
	hs_addr sp = lwp->regs.value[HS_REG_SP];
	return wait->word % 8 == 4 && wait->expected == WAITER_LOCKED && wait->word > sp &&
	       wait->word - sp < 4096;
}

void hs_musl_object_read(struct hs_target *target, const struct hs_lwp *lwp,
                         const struct hs_futex_wait *wait, struct hs_musl_object *ret)
{
	*ret = (struct hs_musl_object){.kind = HS_MUSL_NONE};
	if (wait->word % 4)
		return;
	if (is_cond_waiter(lwp, wait)) {
		ret->kind = HS_MUSL_COND;
		ret->address = wait->word;
	} else if (!read_mutex(target, wait, ret) && !read_rwlock(target, wait, ret)) {
		*ret = (struct hs_musl_object){.kind = HS_MUSL_NONE};
	}
}
