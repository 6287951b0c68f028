// SPDX-License-Identifier: Apache-2.0
/** @file A live process: is it there, what state is it in, may we look, what would its core hold.
 */

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/doctor/facts.h"
#include "core/limits.h"
#include "core/source/live.h"

enum {
	TEXT = 8192,
	KERNEL_THREAD = 0x00200000, /**< PF_KTHREAD, linux/sched.h */
	MOUNTS_TEXT = 1 << 20,
	MAPS_TEXT = 4 << 20, /**< of a JVM with 20,000 threads */
};

static int open_proc(pid_t pid)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d", (int)pid);
	return open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/** Its state, name and numbers. @return false when it has ended meanwhile. */
static bool read_identity(struct hs_doctor_facts *facts, int proc_fd, struct hs_arena *arena)
{
	struct hs_proc_stat stat;
	char text[TEXT];
	uint64_t value;
	size_t levels = 1;

	if (hs_live_read_text(proc_fd, "stat", text, sizeof(text)) <= 0 ||
	    !hs_proc_text_stat(text, &stat))
		return false;
	facts->name = hs_arena_strdup(arena, stat.comm);
	facts->state = stat.state;
	facts->is_kernel_thread = stat.flags & KERNEL_THREAD;
	if (hs_live_read_text(proc_fd, "status", text, sizeof(text)) <= 0)
		return false;
	if (hs_proc_text_status(text, "Tgid", 10, &value))
		facts->pid = (pid_t)value;
	facts->num_levels = hs_proc_text_status_last(text, "NSpid", &value, &levels) ? levels : 1;
	// main() has ended, and other threads live on.
	if (facts->state == 'Z' && stat.num_threads > 1)
		facts->state = 'S';
	return true;
}

static bool is_foreign(int proc_fd)
{
	Elf64_Ehdr header = {0};
	hs_cleanup(hs_closep) int fd = openat(proc_fd, "exe", O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 || pread(fd, &header, sizeof(header), 0) != (ssize_t)sizeof(header) ||
	    memcmp(header.e_ident, ELFMAG, SELFMAG) != 0)
		return false;
	return header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_machine != EM_X86_64;
}

/** The line of its control group in @p text that begins with @p head, up to its end. */
static bool cgroup_path(const char *text, const char *head, char *path, size_t size)
{
	const char *at = strstr(text, head);

	if (!at)
		return false;
	at += strlen(head);
	size_t len = strcspn(at, "\n");
	// Of a group outside of our own view nothing can be read.
	if (len >= size || strncmp(at, "/..", 3) == 0)
		return false;
	memcpy(path, at, len);
	path[len] = '\0';
	return true;
}

static bool is_frozen(int proc_fd)
{
	char text[TEXT], group[1024], path[1200];

	if (hs_live_read_text(proc_fd, "cgroup", text, sizeof(text)) <= 0)
		return false;
	if (cgroup_path(text, ":freezer:", group, sizeof(group))) {
		snprintf(path, sizeof(path), "/sys/fs/cgroup/freezer%s/freezer.state", group);
		return hs_live_read_text(AT_FDCWD, path, text, sizeof(text)) > 0 &&
		       strncmp(text, "FR", 2) == 0;
	}
	if (!cgroup_path(text, "0::", group, sizeof(group)))
		return false;
	snprintf(path, sizeof(path), "/sys/fs/cgroup%s/cgroup.events", group);
	return hs_live_read_text(AT_FDCWD, path, text, sizeof(text)) > 0 &&
	       strstr(text, "frozen 1");
}

/** Kubernetes mounts a file of each container from ".../pods/UID/containers/NAME/…". */
static void read_container_name(struct hs_place *place, int proc_fd, struct hs_arena *arena)
{
	hs_cleanup(hs_freep) char *text = malloc(MOUNTS_TEXT);

	if (!text || hs_live_read_text(proc_fd, "mountinfo", text, MOUNTS_TEXT) <= 0)
		return;
	const char *at = strstr(text, "/pods/");
	at = at ? strstr(at, "/containers/") : NULL;
	if (!at)
		return;
	at += strlen("/containers/");
	const char *name = hs_arena_strndup(arena, at, strcspn(at, "/ \n"));
	if (hs_is_plain_name(name))
		place->pod_container = name;
}

static void read_mappings(struct hs_core_writing *writing, int proc_fd)
{
	hs_cleanup(hs_freep) char *text = malloc(MAPS_TEXT);

	if (text && hs_live_read_text(proc_fd, "maps", text, MAPS_TEXT) > 0)
		writing->maps_cds_archive = strstr(text, ".jsa\n") != NULL;
}

/** "debian" of ID=debian in the process's own root. */
static void read_distribution(struct hs_file_facts *files, int proc_fd, struct hs_arena *arena)
{
	char text[TEXT];
	int fd = -1;
	hs_cleanup(hs_closep) int root = openat(proc_fd, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct hs_err *err =
		root < 0 ? hs_err_absent() : hs_root_file_open(root, "/etc/os-release", &fd);

	if (err) {
		hs_err_free(err);
		return;
	}
	ssize_t len = pread(fd, text, sizeof(text) - 1, 0);
	close(fd);
	if (len <= 0)
		return;
	text[len] = '\0';
	const char *at = strncmp(text, "ID=", 3) == 0 ? text : strstr(text, "\nID=");
	if (!at)
		return;
	at = strchr(at, '=') + 1;
	at += *at == '"';
	files->distribution = hs_arena_strndup(arena, at, strcspn(at, "\"\n"));
}

/** Without a stop: this is the analysis up to the point where it would attach. */
static void read_files(struct hs_doctor_facts *facts, const struct hs_doctor_options *options,
                       struct hs_arena *arena)
{
	hs_cleanup(hs_target_closep) struct hs_target *target = NULL;
	const struct hs_open_options open = {
		.root = options->root, .debug_dir = options->debug_dir, .no_stop = true};
	struct hs_err *err = hs_target_open_pid(facts->pid, &open, &target);

	if (err) {
		facts->files.why_unknown = hs_arena_strdup(arena, hs_err_message(err));
		hs_err_free(err);
		return;
	}
	hs_facts_files(&facts->files, target, options->debug_dir, arena);
}

void hs_facts_live(struct hs_doctor_facts *facts, const struct hs_doctor_options *options,
                   struct hs_arena *arena)
{
	pid_t given = facts->pid;
	hs_cleanup(hs_closep) int proc_fd = open_proc(given);

	if (proc_fd < 0) {
		facts->hidden = errno != ENOENT || getpgid(given) >= 0;
		return;
	}
	// Hidden by hidepid, its directory can still be named, but nothing in it.
	if (!read_identity(facts, proc_fd, arena)) {
		facts->hidden = getpgid(given) >= 0;
		return;
	}
	facts->exists = true;
	// A thread's id: its process is meant.
	if (facts->pid != given) {
		hs_closep(&proc_fd);
		proc_fd = open_proc(facts->pid);
		facts->exists = proc_fd >= 0 && read_identity(facts, proc_fd, arena);
	}
	if (!facts->exists || facts->is_kernel_thread || facts->state == 'Z')
		return;
	hs_access_read(&facts->access, proc_fd);
	facts->is_foreign = is_foreign(proc_fd);
	facts->is_frozen = is_frozen(proc_fd);
	if (facts->place.kind == HS_PLACE_KUBERNETES)
		read_container_name(&facts->place, proc_fd, arena);
	if (options->attach_only)
		return;
	hs_facts_writing(&facts->writing, proc_fd, arena);
	read_mappings(&facts->writing, proc_fd);
	if (facts->access.memory == HS_NO || facts->is_foreign) {
		facts->files.why_unknown = "its memory may not be read";
		return;
	}
	read_files(facts, options, arena);
	read_distribution(&facts->files, proc_fd, arena);
}
