// SPDX-License-Identifier: Apache-2.0
/** @file Can this process be captured? If not: why, and what would help. */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE // O_PATH
#endif

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/source/access.h"
#include "core/source/live.h"

enum {
	STATUS_TEXT = 8192,         /**< /proc/PID/status has about 1500 bytes */
	KERNEL_THREAD = 0x00200000, /**< PF_KTHREAD, linux/sched.h */
};

int64_t hs_live_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

ssize_t hs_live_read_text(int dir_fd, const char *name, char *buf, size_t size)
{
	hs_cleanup(hs_closep) int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	size_t len = 0;

	if (fd < 0)
		return -errno;
	while (len < size - 1) {
		ssize_t got = read(fd, buf + len, size - 1 - len);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (!got)
			break;
		len += (size_t)got;
	}
	buf[len] = '\0';
	return (ssize_t)len;
}

/** The name of a process, for a message. */
static void name_of(pid_t pid, char name[static 17])
{
	char path[32];
	ssize_t len;

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	len = hs_live_read_text(AT_FDCWD, path, name, 17);
	if (len <= 0)
		strcpy(name, "?");
	else
		name[strcspn(name, "\n")] = '\0';
}

/** /proc must number processes as we do, or every id below it means another process. */
static struct hs_err *check_proc(void)
{
	char link[16];
	ssize_t len = readlink("/proc/self", link, sizeof(link) - 1);

	if (len < 0)
		return hs_err_os(errno, "/proc is not mounted here");
	link[len] = '\0';
	if (atoi(link) != getpid())
		return hs_err_new(HS_ERR_UNSUPPORTED,
		                  "/proc belongs to another pid namespace than ours: mount our own "
		                  "(unshare --mount-proc, or nsenter with --pid and --mount)");
	return NULL;
}

/**
 * /proc/@p pid, or what is in it, cannot be opened: does hidepid hide the process? With 1 its files
 * cannot be opened, with 2 it seems to be empty, with 4 it is not there.
 */
static bool is_hidden(pid_t pid, int errnum)
{
	if (errnum != ENOENT)
		return errnum == EPERM || errnum == EACCES;
	return getpgid(pid) >= 0 || errno != ESRCH;
}

static struct hs_err *hidden(pid_t pid)
{
	return hs_err_os(EPERM,
	                 "process %d is hidden from us (/proc has hidepid): run as root, or as the "
	                 "same user",
	                 pid);
}

/** Bind to /proc/@p pid. */
static struct hs_err *bind_proc(struct hs_live *live, pid_t pid)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d", pid);
	int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		int saved = errno;

		if (is_hidden(pid, saved))
			return hidden(pid);
		if (saved != ENOENT)
			return hs_err_os(saved, "cannot look at process %d", pid);
		return hs_err_os(ESRCH, "there is no process %d", pid);
	}
	hs_closep(&live->proc_fd);
	live->proc_fd = fd;
	live->view = pid;
	return NULL;
}

/**
 * The leader has exited: a zombie, unless other threads live on (main() called pthread_exit()).
 * The leader's memory, maps and files are then seen through one of them.
 */
static struct hs_err *find_living_thread(struct hs_live *live, const struct hs_proc_stat *stat)
{
	struct hs_err *err = hs_live_tasks_read(live);

	if (err)
		return err;
	for (size_t i = 0; i < live->tasks.num; i++) {
		const struct hs_lwp *lwp = &live->tasks.items[i].lwp;

		if (lwp->state != 'Z' && lwp->state != 'X')
			return bind_proc(live, lwp->host_tid);
	}
	return hs_err_os(ESRCH,
	                 "process %d (%s) is a zombie: it has exited, and its parent %d has not "
	                 "collected its status yet; there is nothing left to look at",
	                 live->pid, stat->comm, stat->ppid);
}

static struct hs_err *check_tracer(const struct hs_live *live, const char *status)
{
	uint64_t tracer;
	char name[17];

	if (!hs_proc_text_status(status, "TracerPid", 10, &tracer) || !tracer)
		return NULL;
	name_of((pid_t)tracer, name);
	return hs_err_os(
		EPERM, "process %d is traced already, by %d (%s): end that first, or use --no-stop",
		live->pid, (int)tracer, name);
}

/** x86_64 only: neither 32-bit programs nor x32 ones, which are 32-bit ELF too. */
static struct hs_err *check_machine(const struct hs_live *live)
{
	Elf64_Ehdr header = {0};
	hs_cleanup(hs_closep) int fd =
		openat(live->proc_fd, "exe", O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return errno == EACCES || errno == EPERM ? hs_live_denied(live, "look into", errno)
		                                         : NULL;
	if (pread(fd, &header, sizeof(header), 0) != (ssize_t)sizeof(header) ||
	    memcmp(header.e_ident, ELFMAG, SELFMAG) != 0)
		return NULL;
	if (header.e_ident[EI_CLASS] != ELFCLASS64)
		return hs_err_new(HS_ERR_UNSUPPORTED,
		                  "process %d is a 32-bit program: only x86_64 is supported",
		                  live->pid);
	return NULL;
}

static struct hs_err *read_identity(struct hs_live *live, char status[static STATUS_TEXT],
                                    struct hs_proc_stat *stat)
{
	char text[1024];
	ssize_t len = hs_live_read_text(live->proc_fd, "status", status, STATUS_TEXT);

	if (len >= 0)
		len = hs_live_read_text(live->proc_fd, "stat", text, sizeof(text));
	if (len < 0 && is_hidden(live->view, (int)-len))
		return hidden(live->view);
	if (len < 0)
		return hs_err_os(ESRCH, "process %d has just ended", live->view);
	if (!hs_proc_text_stat(text, stat))
		return hs_err_new(HS_ERR_BAD_DATA, "/proc/%d/stat makes no sense", live->view);
	return NULL;
}

struct hs_err *hs_live_identify(struct hs_live *live, pid_t pid, enum hs_live_need need)
{
	char status[STATUS_TEXT];
	struct hs_proc_stat stat;
	struct hs_err *err;
	uint64_t tgid, last;
	size_t levels = 1;

	if (pid <= 0)
		return hs_err_new(HS_ERR_USAGE, "%d is not a process id", pid);
	err = check_proc();
	if (!err)
		err = bind_proc(live, pid);
	if (!err)
		err = read_identity(live, status, &stat);
	if (err)
		return err;

	live->pid = pid;
	if (hs_proc_text_status(status, "Tgid", 10, &tgid) && (pid_t)tgid != pid) {
		// A thread's id: its process is meant.
		live->pid = (pid_t)tgid;
		err = bind_proc(live, live->pid);
		if (!err)
			err = read_identity(live, status, &stat);
		if (err)
			return err;
	}
	if (live->pid == getpid())
		return hs_err_new(HS_ERR_USAGE, "process %d is hangscope itself", live->pid);
	if (stat.flags & KERNEL_THREAD)
		return hs_err_new(
			HS_ERR_UNSUPPORTED,
			"process %d (%s) is a kernel thread: it has no program to look at",
			live->pid, stat.comm);
	if (hs_proc_text_status_last(status, "NSpid", &last, &levels))
		live->tasks.own_numbers = levels > 1;
	if (stat.state == 'Z' || stat.state == 'X')
		err = find_living_thread(live, &stat);
	if (!err && need >= HS_LIVE_FOR_STOP)
		err = check_tracer(live, status);
	if (!err && need >= HS_LIVE_FOR_READ)
		err = check_machine(live);
	return err;
}

// ---- Why not?

struct hs_err *hs_live_denied(const struct hs_live *live, const char *what, int errnum)
{
	struct hs_access access;
	char cause[HS_ACCESS_WORDS];

	hs_access_read(&access, live->proc_fd);
	hs_access_words(&access, hs_access_judge(&access), cause, sizeof(cause));
	return hs_err_os(errnum, "cannot %s process %d: %s", what, live->pid, cause);
}
