// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Arguments of system calls that point to memory. Layouts are those of the x86_64 kernel ABI
 * (include/uapi), spelled out as bytes: the headers of our own libc describe us, not the target.
 */

#define _GNU_SOURCE 1 // sigabbrev_np, POLLRDHUP

#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "core/native/syscall_text.h"

enum {
	POLLFDS_SHOWN = 4,
	SEMBUFS_SHOWN = 4,
	FDS_SHOWN = 8,
	FDSET_BITS = 1024, // FD_SETSIZE; programs that pass more get the first of them
	NSEC_PER_MSEC = 1000000,
	USEC_PER_MSEC = 1000,
};

void hs_syscall_put(struct hs_syscall_text *text, const char *fmt, ...)
{
	size_t room = sizeof(text->bytes) - text->len;
	va_list ap;

	va_start(ap, fmt);
	int len = vsnprintf(text->bytes + text->len, room, fmt, ap);
	va_end(ap);
	if (len > 0)
		text->len += (size_t)len < room ? (size_t)len : room - 1;
}

/** Read; an unreadable argument is shown as a bare address, so the reason does not matter. */
static bool read_arg(struct hs_syscall_text *text, hs_addr addr, void *buf, size_t len)
{
	struct hs_err *err = hs_addr_wraps(addr, len)
	                             ? hs_err_fault()
	                             : hs_target_read(text->syscalls->target, addr, buf, len);

	bool ok = !err;

	hs_err_free(err);
	return ok;
}

static void put_addr(struct hs_syscall_text *text, hs_addr addr)
{
	hs_syscall_put(text, addr ? "0x%llx" : "NULL", (unsigned long long)addr);
}

void hs_syscall_put_flags(struct hs_syscall_text *text, uint64_t value,
                          const struct hs_flag_name *names, const char *zero)
{
	const char *separator = "";

	if (!value) {
		hs_syscall_put(text, "%s", zero);
		return;
	}
	for (; names->name; names++) {
		if ((value & names->value) != names->value)
			continue;
		hs_syscall_put(text, "%s%s", separator, names->name);
		separator = "|";
		value &= ~names->value;
	}
	if (value)
		hs_syscall_put(text, "%s0x%llx", separator, (unsigned long long)value);
}

void hs_syscall_put_name(struct hs_syscall_text *text, uint64_t value,
                         const struct hs_flag_name *names)
{
	for (; names->name; names++) {
		if (names->value == value) {
			hs_syscall_put(text, "%s", names->name);
			return;
		}
	}
	hs_syscall_put(text, "%llu", (unsigned long long)value);
}

void hs_syscall_put_fd(struct hs_syscall_text *text, int fd)
{
	const char *target = hs_syscall_fd_target(text->syscalls, fd);

	if (target)
		hs_syscall_put(text, "%d <%s>", fd, target);
	else
		hs_syscall_put(text, "%d", fd);
}

void hs_syscall_put_path(struct hs_syscall_text *text, hs_addr addr)
{
	const char *path;

	if (text->syscalls->redact) {
		put_addr(text, addr);
		return;
	}
	struct hs_err *err = hs_target_read_cstr(text->syscalls->target, addr, HS_SYSCALL_PATH_MAX,
	                                         text->syscalls->arena, &path);

	if (!err) {
		hs_syscall_put(text, "\"%s\"", path);
		return;
	}
	hs_err_free(err);
	put_addr(text, addr);
}

/** struct timespec and struct timeval are two 64-bit integers. */
static void put_time(struct hs_syscall_text *text, hs_addr addr, enum hs_deadline kind,
                     int64_t units_per_ms)
{
	int64_t time[2];

	if (!addr) {
		hs_syscall_put(text, "no timeout");
		return;
	}
	if (!read_arg(text, addr, time, sizeof(time))) {
		hs_syscall_put(text, "timeout at 0x%llx", (unsigned long long)addr);
		return;
	}
	long long sec = time[0], msec = time[1] / units_per_ms;
	if (sec < 0 || msec < 0 || msec > 999)
		hs_syscall_put(text, "timeout {%lld, %lld}", sec, (long long)time[1]);
	else if (kind == HS_DEADLINE_RELATIVE)
		hs_syscall_put(text, "timeout %lld.%03lld s", sec, msec);
	else
		hs_syscall_put(text, "until %lld.%03lld (%s)", sec, msec,
		               kind == HS_DEADLINE_REALTIME ? "realtime" : "monotonic");
}

void hs_syscall_put_timespec(struct hs_syscall_text *text, hs_addr addr, enum hs_deadline kind)
{
	put_time(text, addr, kind, NSEC_PER_MSEC);
}

void hs_syscall_put_timeval(struct hs_syscall_text *text, hs_addr addr)
{
	put_time(text, addr, HS_DEADLINE_RELATIVE, USEC_PER_MSEC);
}

void hs_syscall_put_pollfds(struct hs_syscall_text *text, hs_addr addr, uint64_t count)
{
	static const struct hs_flag_name events[] = {
		{POLLIN,    "POLLIN"   },
		{POLLPRI,   "POLLPRI"  },
		{POLLOUT,   "POLLOUT"  },
		{POLLRDHUP, "POLLRDHUP"},
		{0,         NULL       },
	};
	struct {
		int32_t fd;
		uint16_t events, revents;
	} entries[POLLFDS_SHOWN];
	size_t shown = count < POLLFDS_SHOWN ? (size_t)count : POLLFDS_SHOWN;

	if (!shown || !read_arg(text, addr, entries, shown * sizeof(entries[0]))) {
		put_addr(text, addr);
		return;
	}
	for (size_t i = 0; i < shown; i++) {
		hs_syscall_put(text, i ? ", {fd=" : "[{fd=");
		hs_syscall_put_fd(text, entries[i].fd);
		hs_syscall_put(text, ", events=");
		hs_syscall_put_flags(text, entries[i].events, events, "0");
		hs_syscall_put(text, "}");
	}
	if (shown < count)
		hs_syscall_put(text, ", %llu more", (unsigned long long)(count - shown));
	hs_syscall_put(text, "]");
}

void hs_syscall_put_fdset(struct hs_syscall_text *text, hs_addr addr, uint64_t nfds)
{
	uint64_t bits[FDSET_BITS / 64];
	size_t num = nfds < FDSET_BITS ? (size_t)nfds : FDSET_BITS;
	size_t found = 0;

	// The kernel reads whole words.
	if (!addr || !num || !read_arg(text, addr, bits, (num + 63) / 64 * 8)) {
		put_addr(text, addr);
		return;
	}
	for (size_t fd = 0; fd < num; fd++) {
		if (!(bits[fd / 64] >> fd % 64 & 1))
			continue;
		if (found < FDS_SHOWN) {
			hs_syscall_put(text, found ? " " : "[");
			hs_syscall_put_fd(text, (int)fd);
		}
		found++;
	}
	if (found > FDS_SHOWN)
		hs_syscall_put(text, " and %zu more", found - FDS_SHOWN);
	hs_syscall_put(text, found ? "]" : "[]");
}

static void put_unix(struct hs_syscall_text *text, const unsigned char *bytes, size_t len)
{
	const char *path = (const char *)bytes + 2;
	size_t path_len = len - 2;

	if (text->syscalls->redact)
		hs_syscall_put(text, "{AF_UNIX, <redacted>}");
	else if (path_len && !path[0]) // an abstract name has no end but the length
		hs_syscall_put(text, "{AF_UNIX, \"@%.*s\"}", (int)path_len - 1, path + 1);
	else
		hs_syscall_put(text, "{AF_UNIX, \"%.*s\"}", (int)strnlen(path, path_len), path);
}

void hs_syscall_put_sockaddr(struct hs_syscall_text *text, hs_addr addr, uint64_t len)
{
	unsigned char bytes[110]; // sizeof(struct sockaddr_un)
	char host[INET6_ADDRSTRLEN];
	uint16_t family;

	if (!addr || len < sizeof(family) || len > 128 ||
	    !read_arg(text, addr, bytes, len < sizeof(bytes) ? len : sizeof(bytes))) {
		put_addr(text, addr);
		return;
	}
	memcpy(&family, bytes, sizeof(family));
	unsigned port = len >= 4 ? (unsigned)bytes[2] << 8 | bytes[3] : 0;
	if (family == AF_UNIX)
		put_unix(text, bytes, len < sizeof(bytes) ? len : sizeof(bytes));
	else if (family == AF_INET && len >= 8 && inet_ntop(AF_INET, bytes + 4, host, sizeof(host)))
		hs_syscall_put(text, "{AF_INET, %s:%u}", host, port);
	else if (family == AF_INET6 && len >= 24 &&
	         inet_ntop(AF_INET6, bytes + 8, host, sizeof(host)))
		hs_syscall_put(text, "{AF_INET6, [%s]:%u}", host, port);
	else
		hs_syscall_put(text, "{family %u}", family);
}

void hs_syscall_put_sembuf(struct hs_syscall_text *text, hs_addr addr, uint64_t count)
{
	struct {
		uint16_t num;
		int16_t op, flags;
	} entries[SEMBUFS_SHOWN];
	size_t shown = count < SEMBUFS_SHOWN ? (size_t)count : SEMBUFS_SHOWN;

	if (!shown || !read_arg(text, addr, entries, shown * sizeof(entries[0]))) {
		put_addr(text, addr);
		return;
	}
	for (size_t i = 0; i < shown; i++)
		hs_syscall_put(text, "%s{%u, %d, 0x%x}", i ? ", " : "[", entries[i].num,
		               entries[i].op, (unsigned)(uint16_t)entries[i].flags);
	hs_syscall_put(text, shown < count ? ", ...]" : "]");
}

void hs_syscall_put_signal(struct hs_syscall_text *text, int signo)
{
	enum {
		SIGNAL_RT_MIN = 32, // the kernel's; libc hides the first two
		SIGNAL_MAX = 64,
	};
	const char *name = signo > 0 && signo < SIGNAL_RT_MIN ? sigabbrev_np(signo) : NULL;

	if (name)
		hs_syscall_put(text, "SIG%s", name);
	else if (signo >= SIGNAL_RT_MIN && signo <= SIGNAL_MAX)
		hs_syscall_put(text, "SIGRT_%d", signo - SIGNAL_RT_MIN);
	else
		hs_syscall_put(text, "%d", signo);
}

void hs_syscall_put_sigset(struct hs_syscall_text *text, hs_addr addr)
{
	uint64_t set;
	const char *separator = "";

	if (!addr || !read_arg(text, addr, &set, sizeof(set))) {
		put_addr(text, addr);
		return;
	}
	// Mostly blocked: shorter to say what is not.
	bool inverted = __builtin_popcountll(set) > 32;
	if (inverted)
		set = ~set;
	hs_syscall_put(text, inverted ? "~[" : "[");
	for (int signo = 1; signo <= 64; signo++) {
		if (!(set >> (signo - 1) & 1))
			continue;
		hs_syscall_put(text, "%s", separator);
		hs_syscall_put_signal(text, signo);
		separator = " ";
	}
	hs_syscall_put(text, "]");
}

void hs_syscall_put_fcntl_arg(struct hs_syscall_text *text, uint64_t cmd, uint64_t arg)
{
	static const struct hs_flag_name types[] = {
		{0, "F_RDLCK"},
                {1, "F_WRLCK"},
                {2, "F_UNLCK"},
                {0, NULL     }
        };
	static const struct hs_flag_name whences[] = {
		{0, "SEEK_SET"},
                {1, "SEEK_CUR"},
                {2, "SEEK_END"},
                {0, NULL      }
        };
	struct {
		int16_t type, whence;
		int32_t pad;
		int64_t start, len;
	} lock;
	// F_GETLK, F_SETLK, F_SETLKW and their F_OFD_ forms (asm-generic/fcntl.h).
	bool is_lock = (cmd >= 5 && cmd <= 7) || (cmd >= 36 && cmd <= 38);

	if (!is_lock || !read_arg(text, arg, &lock, sizeof(lock))) {
		hs_syscall_put(text, arg ? "0x%llx" : "0", (unsigned long long)arg);
		return;
	}
	hs_syscall_put(text, "{");
	hs_syscall_put_name(text, (uint16_t)lock.type, types);
	hs_syscall_put(text, ", ");
	hs_syscall_put_name(text, (uint16_t)lock.whence, whences);
	hs_syscall_put(text, ", %lld, %lld}", (long long)lock.start, (long long)lock.len);
}
