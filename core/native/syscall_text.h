// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * The words of one system call while they are put together: a bounded buffer, and the printers of
 * arguments that point to structures. Private to syscalls.c, syscall_args.c and futex.c.
 */
#ifndef HS_SYSCALL_TEXT_H
#define HS_SYSCALL_TEXT_H

#include "core/native/syscalls.h"

enum {
	HS_SYSCALL_TEXT_MAX = 1024, /**< bytes of one described call; the rest is cut */
	HS_SYSCALL_PATH_MAX = 256,  /**< bytes shown of a path */
};

struct hs_syscall_text {
	const struct hs_syscalls *syscalls;
	const struct hs_lwp *lwp;
	size_t len;
	char bytes[HS_SYSCALL_TEXT_MAX];
};

HS_PRINTF(2, 3) void hs_syscall_put(struct hs_syscall_text *text, const char *fmt, ...);

/** A name for a value of a set; both lists end with a NULL name. */
struct hs_flag_name {
	uint64_t value;
	const char *name;
};

/** "A|B|0x40", or @p zero when no bit is set. */
void hs_syscall_put_flags(struct hs_syscall_text *text, uint64_t value,
                          const struct hs_flag_name *names, const char *zero);
/** The one name that equals, or the number. */
void hs_syscall_put_name(struct hs_syscall_text *text, uint64_t value,
                         const struct hs_flag_name *names);

/** "5 <pipe:[1234]>", or "5". */
void hs_syscall_put_fd(struct hs_syscall_text *text, int fd);
void hs_syscall_put_path(struct hs_syscall_text *text, hs_addr addr);

/** How a struct timespec is meant. */
enum hs_deadline {
	HS_DEADLINE_RELATIVE,
	HS_DEADLINE_REALTIME,  /**< absolute, since 1970 */
	HS_DEADLINE_MONOTONIC, /**< absolute, since boot or so */
};

/** "no timeout", "timeout 1.500 s", "until 1732250000.123 (realtime)". */
void hs_syscall_put_timespec(struct hs_syscall_text *text, hs_addr addr, enum hs_deadline kind);
void hs_syscall_put_timeval(struct hs_syscall_text *text, hs_addr addr);

void hs_syscall_put_pollfds(struct hs_syscall_text *text, hs_addr addr, uint64_t count);
void hs_syscall_put_fdset(struct hs_syscall_text *text, hs_addr addr, uint64_t nfds);
void hs_syscall_put_sockaddr(struct hs_syscall_text *text, hs_addr addr, uint64_t len);
void hs_syscall_put_sembuf(struct hs_syscall_text *text, hs_addr addr, uint64_t count);
void hs_syscall_put_sigset(struct hs_syscall_text *text, hs_addr addr);
void hs_syscall_put_fcntl_arg(struct hs_syscall_text *text, uint64_t cmd, uint64_t arg);

/** The arguments of futex(2), futex_wait(2), futex_waitv(2). */
void hs_syscall_put_futex(struct hs_syscall_text *text);
void hs_syscall_put_waitv(struct hs_syscall_text *text, hs_addr addr, uint64_t count);

/** "SIGALRM", "SIGRT_3", or the number. */
void hs_syscall_put_signal(struct hs_syscall_text *text, int signo);

enum {
	HS_FCNTL_SETLKW = 7,
	HS_FCNTL_OFD_SETLKW = 38,
};

#endif // HS_SYSCALL_TEXT_H
