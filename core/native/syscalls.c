// SPDX-License-Identifier: Apache-2.0
/** @file System calls by table: names, arguments, and which descriptor a blocked one waits for. */

#include "core/native/syscalls.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/native/syscall_text.h"

/** How an argument is shown; "next" is the argument after it. */
enum arg_kind {
	A_NONE, /**< no argument: the end */
	A_UNKNOWN,
	A_FD,
	A_DIRFD,
	A_INT,
	A_UINT,
	A_HEX,
	A_PTR,
	A_SIZE,
	A_OFF,
	A_MODE,
	A_PATH,
	A_OPEN_FLAGS,
	A_MS,
	A_TIMESPEC,
	A_TIMESPEC_ABS,
	A_TIMESPEC_CLOCK, /**< absolute when the argument before says so */
	A_TIMEVAL,
	A_CLOCK,
	A_TIMER_FLAGS,
	A_POLLFDS,  /**< next: how many */
	A_FDSET,    /**< the first argument: how many */
	A_SOCKADDR, /**< next: how long */
	A_SEMBUF,   /**< next: how many */
	A_SIGSET,
	A_SIGNAL,
	A_PID,
	A_ID_TYPE,
	A_WAIT_OPTIONS,
	A_FLOCK_OP,
	A_FCNTL_CMD,
	A_FCNTL_ARG,
	A_MSG_FLAGS,
	A_FUTEX,       /**< all arguments */
	A_FUTEX_WAITV, /**< next: how many */
};

struct syscall_row {
	const char *name, *wait;
	uint8_t args[HS_SYSCALL_ARGS];
};

enum {
	SYSCALL_TABLE_LEN = 512,
	NR_POLL = 7,
	NR_FCNTL = 72,
	NR_EPOLL_WAIT = 232,
	NR_PPOLL = 271,
	NR_EPOLL_PWAIT = 281,
	NR_EPOLL_PWAIT2 = 441,
	NR_MQ_TIMEDSEND = 242,
	NR_MQ_TIMEDRECEIVE = 243,
	NR_RECVMMSG = 299,
};

#define SYSCALL(nr, name, wait, ...) [nr] = {#name, wait, {__VA_ARGS__}},
static const struct syscall_row syscall_table[SYSCALL_TABLE_LEN] = {
#include "core/native/syscall_table.def"
};
#undef SYSCALL

static const struct syscall_row *syscall_row(long nr)
{
	if (nr < 0 || nr >= SYSCALL_TABLE_LEN || !syscall_table[nr].name)
		return NULL;
	return &syscall_table[nr];
}

const char *hs_syscall_name(long nr)
{
	const struct syscall_row *row = syscall_row(nr);

	return row ? row->name : NULL;
}

// clang-format off
static const struct hs_flag_name open_flags[] = {
	{O_WRONLY, "O_WRONLY"}, {O_RDWR, "O_RDWR"}, {O_CREAT, "O_CREAT"}, {O_EXCL, "O_EXCL"},
	{O_NOCTTY, "O_NOCTTY"}, {O_TRUNC, "O_TRUNC"}, {O_APPEND, "O_APPEND"},
	{O_NONBLOCK, "O_NONBLOCK"}, {O_CLOEXEC, "O_CLOEXEC"}, {O_NOFOLLOW, "O_NOFOLLOW"},
	{O_DIRECTORY, "O_DIRECTORY"}, {0, NULL},
};
static const struct hs_flag_name msg_flags[] = {
	{MSG_OOB, "MSG_OOB"}, {MSG_PEEK, "MSG_PEEK"}, {MSG_TRUNC, "MSG_TRUNC"},
	{MSG_DONTWAIT, "MSG_DONTWAIT"}, {MSG_WAITALL, "MSG_WAITALL"},
	{MSG_NOSIGNAL, "MSG_NOSIGNAL"}, {MSG_ERRQUEUE, "MSG_ERRQUEUE"},
	{MSG_WAITFORONE, "MSG_WAITFORONE"}, {MSG_CMSG_CLOEXEC, "MSG_CMSG_CLOEXEC"}, {0, NULL},
};
static const struct hs_flag_name wait_options[] = { // linux/wait.h
	{1, "WNOHANG"}, {2, "WUNTRACED"}, {4, "WEXITED"}, {8, "WCONTINUED"},
	{0x1000000, "WNOWAIT"}, {0x20000000, "__WNOTHREAD"}, {0x40000000, "__WALL"},
	{0x80000000, "__WCLONE"}, {0, NULL},
};
static const struct hs_flag_name flock_ops[] = { // linux/fcntl.h
	{1, "LOCK_SH"}, {2, "LOCK_EX"}, {4, "LOCK_NB"}, {8, "LOCK_UN"}, {0, NULL},
};
static const struct hs_flag_name fcntl_cmds[] = { // asm-generic/fcntl.h, linux/fcntl.h
	{0, "F_DUPFD"}, {1, "F_GETFD"}, {2, "F_SETFD"}, {3, "F_GETFL"}, {4, "F_SETFL"},
	{5, "F_GETLK"}, {6, "F_SETLK"}, {HS_FCNTL_SETLKW, "F_SETLKW"}, {36, "F_OFD_GETLK"},
	{37, "F_OFD_SETLK"}, {HS_FCNTL_OFD_SETLKW, "F_OFD_SETLKW"}, {1024, "F_SETLEASE"},
	{1030, "F_DUPFD_CLOEXEC"}, {0, NULL},
};
static const struct hs_flag_name id_types[] = { // linux/wait.h
	{0, "P_ALL"}, {1, "P_PID"}, {2, "P_PGID"}, {3, "P_PIDFD"}, {0, NULL},
};
static const struct hs_flag_name clocks[] = { // linux/time.h
	{0, "CLOCK_REALTIME"}, {1, "CLOCK_MONOTONIC"}, {2, "CLOCK_PROCESS_CPUTIME_ID"},
	{3, "CLOCK_THREAD_CPUTIME_ID"}, {4, "CLOCK_MONOTONIC_RAW"}, {5, "CLOCK_REALTIME_COARSE"},
	{6, "CLOCK_MONOTONIC_COARSE"}, {7, "CLOCK_BOOTTIME"}, {8, "CLOCK_REALTIME_ALARM"},
	{9, "CLOCK_BOOTTIME_ALARM"}, {11, "CLOCK_TAI"}, {0, NULL},
};
static const struct hs_flag_name timer_flags[] = {{1, "TIMER_ABSTIME"}, {0, NULL}};
// clang-format on

/** Arguments that are a number. @return false: not one of these. */
static bool put_scalar(struct hs_syscall_text *text, enum arg_kind kind, uint64_t value)
{
	int as_int = (int)(uint32_t)value;

	switch (kind) {
	case A_UNKNOWN:
		hs_syscall_put(text, "...");
		return true;
	case A_INT:
	case A_PID:
		hs_syscall_put(text, "%d", as_int);
		return true;
	case A_UINT:
		hs_syscall_put(text, "%u", (uint32_t)value);
		return true;
	case A_HEX:
		hs_syscall_put(text, value ? "0x%llx" : "0", (unsigned long long)value);
		return true;
	case A_PTR:
		hs_syscall_put(text, value ? "0x%llx" : "NULL", (unsigned long long)value);
		return true;
	case A_SIZE:
		hs_syscall_put(text, "%llu", (unsigned long long)value);
		return true;
	case A_OFF:
		hs_syscall_put(text, "%lld", (long long)value);
		return true;
	case A_MODE:
		hs_syscall_put(text, "0%o", (uint32_t)value);
		return true;
	case A_MS:
		hs_syscall_put(text, as_int < 0 ? "no timeout" : "timeout %d ms", as_int);
		return true;
	case A_SIGNAL:
		hs_syscall_put_signal(text, as_int);
		return true;
	case A_FD:
		hs_syscall_put_fd(text, as_int);
		return true;
	case A_DIRFD:
		if (as_int == AT_FDCWD)
			hs_syscall_put(text, "AT_FDCWD");
		else
			hs_syscall_put_fd(text, as_int);
		return true;
	default:
		return false;
	}
}

/** Arguments that are names or bits. @return false: not one of these. */
static bool put_named(struct hs_syscall_text *text, enum arg_kind kind, uint64_t value)
{
	switch (kind) {
	case A_OPEN_FLAGS:
		hs_syscall_put_flags(text, (uint32_t)value, open_flags, "O_RDONLY");
		return true;
	case A_MSG_FLAGS:
		hs_syscall_put_flags(text, (uint32_t)value, msg_flags, "0");
		return true;
	case A_WAIT_OPTIONS:
		hs_syscall_put_flags(text, (uint32_t)value, wait_options, "0");
		return true;
	case A_FLOCK_OP:
		hs_syscall_put_flags(text, (uint32_t)value, flock_ops, "0");
		return true;
	case A_TIMER_FLAGS:
		hs_syscall_put_flags(text, (uint32_t)value, timer_flags, "0");
		return true;
	case A_FCNTL_CMD:
		hs_syscall_put_name(text, (uint32_t)value, fcntl_cmds);
		return true;
	case A_ID_TYPE:
		hs_syscall_put_name(text, (uint32_t)value, id_types);
		return true;
	case A_CLOCK:
		hs_syscall_put_name(text, (uint32_t)value, clocks);
		return true;
	default:
		return false;
	}
}

/** Is the deadline of clock_nanosleep(clock, flags, ...) absolute, and on which clock? */
static enum hs_deadline sleep_deadline(const uint64_t *args)
{
	if (!(args[1] & 1))
		return HS_DEADLINE_RELATIVE;
	return (int)args[0] == 0 ? HS_DEADLINE_REALTIME : HS_DEADLINE_MONOTONIC;
}

static void put_pointer(struct hs_syscall_text *text, enum arg_kind kind, const uint64_t *args,
                        size_t i)
{
	uint64_t next = i + 1 < HS_SYSCALL_ARGS ? args[i + 1] : 0;

	switch (kind) {
	case A_PATH:
		hs_syscall_put_path(text, args[i]);
		break;
	case A_TIMESPEC:
		hs_syscall_put_timespec(text, args[i], HS_DEADLINE_RELATIVE);
		break;
	case A_TIMESPEC_ABS:
		hs_syscall_put_timespec(text, args[i], HS_DEADLINE_REALTIME);
		break;
	case A_TIMESPEC_CLOCK:
		hs_syscall_put_timespec(text, args[i], sleep_deadline(args));
		break;
	case A_TIMEVAL:
		hs_syscall_put_timeval(text, args[i]);
		break;
	case A_POLLFDS:
		hs_syscall_put_pollfds(text, args[i], (uint32_t)next);
		break;
	case A_FDSET:
		hs_syscall_put_fdset(text, args[i], (uint32_t)args[0]);
		break;
	case A_SOCKADDR:
		hs_syscall_put_sockaddr(text, args[i], (uint32_t)next);
		break;
	case A_SEMBUF:
		hs_syscall_put_sembuf(text, args[i], next);
		break;
	case A_SIGSET:
		hs_syscall_put_sigset(text, args[i]);
		break;
	case A_FCNTL_ARG:
		hs_syscall_put_fcntl_arg(text, (uint32_t)args[1], args[i]);
		break;
	case A_FUTEX_WAITV:
		hs_syscall_put_waitv(text, args[i], (uint32_t)next);
		break;
	default:
		hs_syscall_put_futex(text);
		break;
	}
}

const char *hs_syscall_describe(const struct hs_syscalls *syscalls, const struct hs_lwp *lwp)
{
	if (!lwp->in_syscall)
		return NULL;

	struct hs_syscall_text text = {.syscalls = syscalls, .lwp = lwp};
	const struct syscall_row *row = syscall_row(lwp->syscall_nr);
	if (!row) {
		// -1: the capture knows only that the thread is in the kernel.
		if (lwp->syscall_nr < 0)
			return "a system call";
		hs_syscall_put(&text, "syscall_%ld(...)", lwp->syscall_nr);
		return hs_arena_strdup(syscalls->arena, text.bytes);
	}

	hs_syscall_put(&text, "%s(", row->name);
	for (size_t i = 0; i < HS_SYSCALL_ARGS && row->args[i] != A_NONE; i++) {
		enum arg_kind kind = row->args[i];

		if (i)
			hs_syscall_put(&text, ", ");
		if (!put_scalar(&text, kind, lwp->syscall_args[i]) &&
		    !put_named(&text, kind, lwp->syscall_args[i]))
			put_pointer(&text, kind, lwp->syscall_args, i);
	}
	hs_syscall_put(&text, ")");
	return hs_arena_strdup(syscalls->arena, text.bytes);
}

const char *hs_syscall_fd_target(const struct hs_syscalls *syscalls, int fd)
{
	const char *target = hs_target_fd_link(syscalls->target, fd);

	if (!target || (syscalls->redact && target[0] == '/'))
		return NULL;
	return hs_arena_strndup(syscalls->arena, target, strnlen(target, HS_SYSCALL_PATH_MAX));
}

/** The one descriptor of a poll() call. */
static bool poll_fd(const struct hs_syscalls *syscalls, const struct hs_lwp *lwp, int *fd_ret)
{
	uint32_t fd;

	if (lwp->syscall_args[1] != 1)
		return false;
	struct hs_err *err = hs_target_read_u32(syscalls->target, lwp->syscall_args[0], &fd);
	if (err) {
		hs_err_free(err);
		return false;
	}
	*fd_ret = (int)fd;
	return true;
}

static bool fd_wait_is_timed(const struct hs_lwp *lwp)
{
	switch (lwp->syscall_nr) {
	case NR_POLL:
		return (int)(uint32_t)lwp->syscall_args[2] >= 0;
	case NR_PPOLL:
		return lwp->syscall_args[2] != 0;
	case NR_EPOLL_WAIT:
	case NR_EPOLL_PWAIT:
		return (int)(uint32_t)lwp->syscall_args[3] >= 0;
	case NR_EPOLL_PWAIT2:
		return lwp->syscall_args[3] != 0;
	case NR_MQ_TIMEDSEND:
	case NR_MQ_TIMEDRECEIVE:
	case NR_RECVMMSG:
		return lwp->syscall_args[4] != 0;
	default:
		return false;
	}
}

bool hs_syscall_fd_wait(const struct hs_syscalls *syscalls, const struct hs_lwp *lwp,
                        struct hs_fd_wait *ret)
{
	const struct syscall_row *row = lwp->in_syscall ? syscall_row(lwp->syscall_nr) : NULL;
	if (!row)
		return false;

	struct hs_fd_wait wait = {.fd = (int)(uint32_t)lwp->syscall_args[0], .what = row->wait};
	if (lwp->syscall_nr == NR_FCNTL) {
		uint32_t cmd = (uint32_t)lwp->syscall_args[1];
		if (cmd != HS_FCNTL_SETLKW && cmd != HS_FCNTL_OFD_SETLKW)
			return false;
		wait.what = "a record lock on";
	} else if (lwp->syscall_nr == NR_POLL || lwp->syscall_nr == NR_PPOLL) {
		if (!poll_fd(syscalls, lwp, &wait.fd))
			return false;
		wait.what = "an event on";
	}
	if (!wait.what || wait.fd < 0)
		return false;
	wait.timed = fd_wait_is_timed(lwp);
	*ret = wait;
	return true;
}
