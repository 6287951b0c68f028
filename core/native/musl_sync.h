// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Synchronization objects of musl on x86_64. musl's own code has no unwind information, so that no
 * function name tells what a thread waits for: its memory alone does. Layouts: pthread_impl.h,
 * pthread_mutex_timedlock.c, pthread_rwlock_*.c, sem_timedwait.c, pthread_cond_timedwait.c,
 * pthread_join.c of musl 1.2 (run with 1.2.3).
 */
#ifndef HS_MUSL_SYNC_H
#define HS_MUSL_SYNC_H

#include "core/native/syscalls.h"
#include "core/target.h"

/** Is the C library of this thread musl? Its struct pthread says so itself, also in a static or
 * stripped program. */
bool hs_musl_is_thread(struct hs_target *target, const struct hs_lwp *lwp);

/** Is there a struct pthread of the thread @p tid at @p pthread? */
bool hs_musl_is_thread_at(struct hs_target *target, hs_addr pthread, pid_t tid);

/** Where the struct pthread is whose end is waited for at @p word, and the thread id in it; 0 when
 * it is none. To be checked against that thread. */
hs_addr hs_musl_joined(struct hs_target *target, hs_addr word, pid_t *tid_ret);

enum hs_musl_kind {
	HS_MUSL_NONE,
	HS_MUSL_MUTEX,
	HS_MUSL_RWLOCK,        /**< held for reading */
	HS_MUSL_RWLOCK_OR_SEM, /**< write-locked, or a semaphore: they look the same */
	HS_MUSL_COND,
};

struct hs_musl_object {
	enum hs_musl_kind kind;
	hs_addr address;
	pid_t owner;          /**< of a mutex; 0: not recorded (a normal one), or none */
	bool is_normal;       /**< a mutex that records no owner */
	uint32_t num_readers; /**< HS_MUSL_RWLOCK */
};

/** What the futex word of @p wait, on which @p lwp waits, belongs to. */
void hs_musl_object_read(struct hs_target *target, const struct hs_lwp *lwp,
                         const struct hs_futex_wait *wait, struct hs_musl_object *ret);

#endif // HS_MUSL_SYNC_H
