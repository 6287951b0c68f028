// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * System calls: what a thread is doing in the kernel, in strace's words, and what it waits for
 * there. Everything is read from the registers of the call; memory behind a pointer is shown when
 * it can be read. Target bytes (paths, socket names) are raw: renderers escape them.
 */
#ifndef HS_SYSCALLS_H
#define HS_SYSCALLS_H

#include "core/target.h"

/** Where the arguments point to, and where the words go. */
struct hs_syscalls {
	struct hs_target *target;
	struct hs_arena *arena;
	bool redact; /**< show no path and no socket name */
};

/** "futex", or NULL. Static. */
const char *hs_syscall_name(long nr);

/**
 * "futex(0x7f3c5c0 (word 2), FUTEX_WAIT_PRIVATE, 2, no timeout)"; NULL when the thread is in no
 * system call, or out of memory (sticky in the arena).
 */
const char *hs_syscall_describe(const struct hs_syscalls *syscalls, const struct hs_lwp *lwp);

/** "/dev/null", "pipe:[1234]"; NULL when not known (a core), or a redacted path. */
const char *hs_syscall_fd_target(const struct hs_syscalls *syscalls, int fd);

/** A wait for one descriptor. */
struct hs_fd_wait {
	int fd;
	const char *what; /**< "read from", "an event on"; static */
	bool timed;
};

/** Is the thread in a call that blocks on one descriptor? */
bool hs_syscall_fd_wait(const struct hs_syscalls *syscalls, const struct hs_lwp *lwp,
                        struct hs_fd_wait *ret);

/** Operations of futex(2) that wait. Values are the kernel's (linux/futex.h). */
enum hs_futex_op {
	HS_FUTEX_WAIT = 0,
	HS_FUTEX_LOCK_PI = 6,
	HS_FUTEX_WAIT_BITSET = 9,
	HS_FUTEX_WAIT_REQUEUE_PI = 11,
	HS_FUTEX_LOCK_PI2 = 13,
};

/** A wait for one futex word. */
struct hs_futex_wait {
	hs_addr word;
	enum hs_futex_op op;
	uint32_t expected; /**< what the word had to be for the wait to begin; 0 for LOCK_PI */
	uint32_t current;  /**< what it is, when has_current */
	bool has_current, has_timeout, is_private;
};

/** Is the thread in futex(2) or futex_wait(2), and does the operation wait? */
bool hs_syscall_futex_wait(const struct hs_syscalls *syscalls, const struct hs_lwp *lwp,
                           struct hs_futex_wait *ret);

#endif // HS_SYSCALLS_H
