// SPDX-License-Identifier: Apache-2.0
/** @file What /proc and harmless calls tell about the rules that keep us out of a process. */

#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/source/access.h"
#include "core/source/live.h"

enum {
	CAPABILITY_SYS_PTRACE = 19, /**< CAP_SYS_PTRACE, linux/capability.h */
	STATUS_TEXT = 8192,         /**< /proc/PID/status has about 1500 bytes */
	MAP_TEXT = 4096,            /**< uid_map: at most 340 lines, mostly one */
	MAX_DEPTH = 32,             /**< of nested user namespaces, user_namespaces(7) */
	CALL_WORKS = 1,             /**< bits of the probing child's exit status */
	READV_WORKS = 2,
};

static enum hs_tristate yes_or_no(bool yes)
{
	return yes ? HS_YES : HS_NO;
}

// ---- we

/** Never returns. Only system calls: the parent may have other threads. */
static void probe_calls(void)
{
	int status = 0;
	char from = 1, to = 0;
	struct iovec local = {&to, 1}, remote = {&from, 1};

	// There is no process 0: the kernel says so, a filter says something else.
	if (ptrace(PTRACE_SEIZE, 0, NULL, NULL) == -1 && errno == ESRCH)
		status |= CALL_WORKS;
	if (process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == 1 || errno == ESRCH)
		status |= READV_WORKS;
	_exit(status);
}

/** Does our seccomp filter let the calls through? In a child: a filter may kill who makes them. */
static void read_filter(struct hs_access *access)
{
	int status = 0;

	access->ptrace_call = access->readv_call = access->has_filter ? HS_UNKNOWN : HS_YES;
	if (!access->has_filter)
		return;
	pid_t pid = fork();
	if (!pid)
		probe_calls();
	if (pid < 0)
		return;
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return;
	}
	int works = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
	access->ptrace_call = yes_or_no(works & CALL_WORKS);
	access->readv_call = yes_or_no(works & READV_WORKS);
}

/** One line of a file, without its end; "" when it cannot be read. */
static void read_line(int dir_fd, const char *name, char *buf, size_t size)
{
	ssize_t len = hs_live_read_text(dir_fd, name, buf, size);

	buf[len > 0 ? strcspn(buf, "\n") : 0] = '\0';
}

static uint64_t field(const char *status, const char *name, int base)
{
	uint64_t value = 0;

	(void)hs_proc_text_status(status, name, base, &value);
	return value;
}

void hs_access_read_self(struct hs_access *access)
{
	char status[STATUS_TEXT], text[16];

	*access = (struct hs_access){.uid = geteuid(), .gid = getegid(), .yama = -1};
	if (hs_live_read_text(AT_FDCWD, "/proc/self/status", status, sizeof(status)) > 0) {
		access->caps = field(status, "CapEff", 16);
		access->bounding = field(status, "CapBnd", 16);
		access->has_filter = field(status, "Seccomp", 10) != 0;
	}
	if (hs_live_read_text(AT_FDCWD, "/proc/sys/kernel/yama/ptrace_scope", text, sizeof(text)) >
	    0)
		access->yama = atoi(text);
	read_line(AT_FDCWD, "/sys/fs/selinux/booleans/deny_ptrace", text, sizeof(text));
	access->deny_ptrace = text[0] == '1';
	read_line(AT_FDCWD, "/proc/self/attr/current", access->label, sizeof(access->label));
	read_filter(access);
}

// ---- the process

/** Three numbers of a field: "Uid:\treal\teffective\tsaved\tfs". */
static bool read_ids(const char *status, const char *name, uint64_t ids[static 3])
{
	const char *at = strstr(status, name);

	if (!at)
		return false;
	at += strlen(name);
	for (size_t i = 0; i < 3; i++) {
		char *end;

		ids[i] = strtoull(at, &end, 10);
		if (end == at)
			return false;
		at = end;
	}
	return true;
}

static bool same_inode(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_dev == b->st_dev;
}

/** From its user namespace up: do we meet ours, and did we create one just below it? */
static void climb(struct hs_access *access, int proc_fd, const struct stat *ours)
{
	hs_cleanup(hs_closep) int fd = openat(proc_fd, "ns/user", O_RDONLY | O_CLOEXEC);

	access->below_user_ns = HS_UNKNOWN;
	for (int i = 0; fd >= 0 && i < MAX_DEPTH; i++) {
		uid_t owner = (uid_t)-1;
		struct stat above;
		int parent = ioctl(fd, NS_GET_PARENT);

		// The kernel shows nothing that is not below our own.
		if (parent < 0) {
			access->below_user_ns = errno == EPERM ? HS_NO : HS_UNKNOWN;
			return;
		}
		bool met = fstat(parent, &above) == 0 && same_inode(&above, ours);
		if (met) {
			access->below_user_ns = HS_YES;
			access->owns_user_ns =
				ioctl(fd, NS_GET_OWNER_UID, &owner) == 0 && owner == access->uid;
		}
		close(fd);
		fd = parent;
		if (met)
			return;
	}
}

/** Its namespace cannot be named: who may not look in still sees how ids are mapped. */
static enum hs_tristate compare_maps(int proc_fd)
{
	char ours[MAP_TEXT], theirs[MAP_TEXT];

	if (hs_live_read_text(AT_FDCWD, "/proc/self/uid_map", ours, sizeof(ours)) <= 0 ||
	    hs_live_read_text(proc_fd, "uid_map", theirs, sizeof(theirs)) <= 0)
		return HS_UNKNOWN;
	return strcmp(ours, theirs) == 0 ? HS_UNKNOWN : HS_NO;
}

static void read_user_namespace(struct hs_access *access, int proc_fd)
{
	struct stat ours, theirs;

	if (stat("/proc/self/ns/user", &ours) != 0)
		return;
	if (fstatat(proc_fd, "ns/user", &theirs, 0) != 0) {
		access->same_user_ns = compare_maps(proc_fd);
		// Of one below ours, a capability would have shown it.
		if (access->same_user_ns == HS_NO && access->caps >> CAPABILITY_SYS_PTRACE & 1)
			access->below_user_ns = HS_NO;
		return;
	}
	access->same_user_ns = access->below_user_ns = yes_or_no(same_inode(&ours, &theirs));
	if (access->same_user_ns == HS_NO)
		climb(access, proc_fd, &ours);
}

/** The kernel gives the /proc files of a process that is not dumpable to root. */
static enum hs_tristate read_dumpable(const struct hs_access *access, int proc_fd)
{
	struct stat st;

	if (!access->has_ids || fstatat(proc_fd, "stat", &st, 0) != 0)
		return HS_UNKNOWN;
	if (st.st_uid != access->uids[1])
		return HS_NO;
	return st.st_uid ? HS_YES : HS_UNKNOWN;
}

/** Opening these asks the kernel the question itself, and does nothing else. */
static enum hs_tristate opens(int proc_fd, const char *name)
{
	hs_cleanup(hs_closep) int fd = openat(proc_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd >= 0)
		return HS_YES;
	return errno == EACCES || errno == EPERM ? HS_NO : HS_UNKNOWN;
}

static enum hs_tristate reads(int proc_fd, const char *name)
{
	char text[256];
	ssize_t len = hs_live_read_text(proc_fd, name, text, sizeof(text));

	if (len > 0)
		return HS_YES;
	return len == -EACCES || len == -EPERM ? HS_NO : HS_UNKNOWN;
}

static void read_tracer(struct hs_access *access, const char *status)
{
	char path[32];

	access->tracer = (pid_t)field(status, "TracerPid", 10);
	if (!access->tracer)
		return;
	snprintf(path, sizeof(path), "/proc/%d/comm", (int)access->tracer);
	read_line(AT_FDCWD, path, access->tracer_name, sizeof(access->tracer_name));
	if (!access->tracer_name[0])
		strcpy(access->tracer_name, "?");
}

void hs_access_read(struct hs_access *access, int proc_fd)
{
	char status[STATUS_TEXT];
	bool has_ended = false;

	hs_access_read_self(access);
	access->has_process = true;
	if (hs_live_read_text(proc_fd, "status", status, sizeof(status)) > 0) {
		access->has_ids = read_ids(status, "\nUid:", access->uids) &&
		                  read_ids(status, "\nGid:", access->gids);
		access->their_caps = field(status, "CapPrm", 16);
		has_ended = strstr(status, "\nState:\tZ") || strstr(status, "\nState:\tX");
		read_tracer(access, status);
	}
	access->dumpable = read_dumpable(access, proc_fd);
	read_user_namespace(access, proc_fd);
	access->maps = opens(proc_fd, "maps");
	access->memory = opens(proc_fd, "mem");
	// A thread that has ended has no memory, and some kernels then ask nothing.
	if (has_ended && access->memory == HS_YES)
		access->memory = HS_UNKNOWN;
	access->syscalls = reads(proc_fd, "syscall");
	read_line(proc_fd, "attr/current", access->their_label, sizeof(access->their_label));
}

bool hs_access_read_pid(struct hs_access *access, pid_t pid)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d", (int)pid);
	hs_cleanup(hs_closep) int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		hs_access_read_self(access);
		return false;
	}
	hs_access_read(access, fd);
	return true;
}
