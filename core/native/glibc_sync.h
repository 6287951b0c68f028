// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Synchronization objects of glibc on x86_64: what function a thread waits in, and what its futex
 * word belongs to. Function name and memory layout are two independent witnesses.
 *
 * Layouts: bits/thread-shared-types.h, bits/struct_mutex.h, bits/struct_rwlock.h,
 * nptl/internaltypes.h of glibc 2.25 to 2.41, for the public ones fixed by the ABI; they were
 * checked against the debug information of 2.36 and in a process that runs 2.41.
 */
#ifndef HS_GLIBC_SYNC_H
#define HS_GLIBC_SYNC_H

#include "core/frame.h"
#include "core/native/syscalls.h"
#include "core/target.h"

/** What a libc function waits for. */
enum hs_sync_call {
	HS_SYNC_NONE, /**< no known function is on the stack */
	HS_SYNC_MUTEX,
	HS_SYNC_RDLOCK,
	HS_SYNC_WRLOCK,
	HS_SYNC_COND,
	HS_SYNC_JOIN,
	HS_SYNC_SEM,
	HS_SYNC_BARRIER,
	HS_SYNC_ONCE,
	HS_SYNC_GUARD,     /**< initialization of a C++ static: __cxa_guard_acquire */
	HS_SYNC_LIBC_LOCK, /**< a lock of libc's own, without an owner */
	HS_SYNC_SYSCALL,   /**< syscall(3): the program does its own locking */
};

/** "__pthread_mutex_lock" → HS_SYNC_MUTEX: any of libc's aliases. */
enum hs_sync_call hs_sync_call_of(const char *function);

/** The innermost frames of a waiting thread. Indices are HS_NONE when there is no such frame. */
struct hs_sync_site {
	enum hs_sync_call call;
	uint32_t frame;           /**< that of the function that tells the call */
	uint32_t caller;          /**< first frame that is not of the C library */
	const char *api_function; /**< outermost named function of the C library, or NULL */
};

void hs_sync_classify(const struct hs_frame *frames, uint32_t num_frames, struct hs_sync_site *ret);

/** Is this file a part of the C library: libc, libpthread, the dynamic linker? */
bool hs_is_libc(const char *path);

struct hs_sync_mutex {
	hs_addr address;
	uint32_t lock, count, owner, num_users, kind;
};

/** The mutex whose lock word is at @p word. @return false: unreadable, or not a mutex. */
bool hs_sync_mutex_read(struct hs_target *target, hs_addr word, struct hs_sync_mutex *ret);

/** Thread id of its owner, 0 when it is free. *word_ret: where that was read. */
pid_t hs_sync_mutex_owner(const struct hs_sync_mutex *mutex, hs_addr *word_ret,
                          uint32_t *value_ret);

bool hs_sync_mutex_is_recursive(const struct hs_sync_mutex *mutex);

/** "recursive", "normal, robust"; in @p arena. */
const char *hs_sync_mutex_kind(struct hs_arena *arena, const struct hs_sync_mutex *mutex);

struct hs_sync_rwlock {
	hs_addr address;
	uint32_t num_readers;    /**< that hold it; 0 while a writer does */
	uint32_t writer;         /**< thread id, 0: none */
	hs_addr writer_word;     /**< where that was read */
	bool has_waiting_writer; /**< a writer waits for the readers to leave */
};

/**
 * The rwlock that has a word at @p wait's address on which @p call waits (HS_SYNC_NONE: either).
 * @return false: unreadable, or not one.
 */
bool hs_sync_rwlock_read(struct hs_target *target, const struct hs_futex_wait *wait,
                         enum hs_sync_call call, struct hs_sync_rwlock *ret);

/**
 * The condition variable whose signal counter is at @p word: its address and number of waiters.
 * @param glibc_minor Decides between layouts when both could be; 0: not known.
 */
bool hs_sync_cond_find(struct hs_target *target, hs_addr word, unsigned glibc_minor,
                       hs_addr *address_ret, uint32_t *waiters_ret);

/** Does a semaphore that cannot be taken lie at @p word? */
bool hs_sync_sem_read(struct hs_target *target, hs_addr word, uint32_t *waiters_ret);

struct hs_sync_barrier {
	hs_addr address;
	uint32_t arrived, needed;
};

bool hs_sync_barrier_read(struct hs_target *target, hs_addr word, struct hs_sync_barrier *ret);

#endif // HS_GLIBC_SYNC_H
