// SPDX-License-Identifier: Apache-2.0
/** @file Locks that belong to the C library itself: stdio streams, malloc arenas, the linker's. */
#ifndef HS_LIBC_LOCKS_H
#define HS_LIBC_LOCKS_H

#include "core/native/native.h"

/** A lock of libc's own. */
struct hs_libc_lock {
	const char *label; /**< "the lock of stdout 0x…"; in the snapshot's arena */
	/** pthread_t of its owner as @c owner_word says, 0: free; owner_word 0: has none. */
	hs_addr owner, owner_word;
};

/**
 * What the low-level lock at @p word is. @p function: what libc was called for, may be NULL.
 * Never fails: a lock that is not recognized is "a lock inside of libc".
 */
struct hs_libc_lock hs_libc_lock_describe(struct hs_native *native, hs_addr word,
                                          const char *function);

/**
 * Name of a mutex of the dynamic linker ("the dynamic linker's lock _dl_load_lock 0x…"), NULL when
 * it is none. Those are recursive mutexes inside of _rtld_global.
 */
const char *hs_linker_lock_name(struct hs_native *native, hs_addr mutex);

#endif // HS_LIBC_LOCKS_H
