// SPDX-License-Identifier: Apache-2.0
/** @file How the kernel would write a core of a process: where to, how much, and what is left out.
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/doctor/facts.h"
#include "core/source/live.h"

enum {
	TEXT = 8192,
	KIB = 1024,
};

static uint64_t limit_value(const char **at)
{
	*at += strspn(*at, " ");
	if (strncmp(*at, "unlimited", 9) == 0) {
		*at += 9;
		return UINT64_MAX;
	}
	char *end;
	uint64_t value = strtoull(*at, &end, 10);
	*at = end;
	return value;
}

static void read_limit(struct hs_core_writing *writing, int proc_fd)
{
	static const char row[] = "Max core file size";
	char text[TEXT];

	if (proc_fd < 0 || hs_live_read_text(proc_fd, "limits", text, sizeof(text)) <= 0)
		return;
	const char *at = strstr(text, row);
	if (!at)
		return;
	at += strlen(row);
	writing->limit = limit_value(&at);
	writing->hard_limit = limit_value(&at);
	writing->has_limit = true;
}

static void read_sizes(struct hs_core_writing *writing, int proc_fd)
{
	static const char *const parts[] = {"RssAnon", "RssShmem", "VmSwap", "HugetlbPages"};
	char text[TEXT];
	uint64_t value;

	if (hs_live_read_text(proc_fd, "status", text, sizeof(text)) <= 0)
		return;
	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
		if (hs_proc_text_status(text, parts[i], 10, &value) && value < UINT64_MAX / KIB / 8)
			writing->size += value * KIB;
	}
	writing->uses_huge_pages = hs_proc_text_status(text, "HugetlbPages", 10, &value) && value;
}

static void read_filter(struct hs_core_writing *writing, int proc_fd)
{
	char text[32];

	if (hs_live_read_text(proc_fd, "coredump_filter", text, sizeof(text)) <= 0)
		return;
	writing->filter = strtoull(text, NULL, 16);
	writing->has_filter = true;
}

/** The directory that the pattern means, in the root of the process; -1 when it cannot be told. */
static int open_directory(int proc_fd, const char *dir)
{
	struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
	                       .resolve = RESOLVE_IN_ROOT};

	if (!dir)
		return openat(proc_fd, "cwd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	hs_cleanup(hs_closep) int root = openat(proc_fd, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return root < 0 ? -1 : (int)syscall(SYS_openat2, root, dir, &how, sizeof(how));
}

/** The kernel resolves the name in the process's own directories, when it dumps into a file. */
static void read_space(struct hs_core_writing *writing, int proc_fd, struct hs_arena *arena)
{
	const char *slash = strrchr(writing->pattern, '/');
	const char *dir = NULL;
	struct statvfs fs;

	if (slash)
		dir = slash == writing->pattern
		              ? "/"
		              : hs_arena_strndup(arena, writing->pattern,
		                                 (size_t)(slash - writing->pattern));
	bool is_absolute = writing->pattern[0] == '/';
	writing->directory = is_absolute ? dir : "the working directory of the process";
	if ((dir && strchr(dir, '%')) || (dir && !is_absolute))
		return; // depends on the process, or below its directory
	hs_cleanup(hs_closep) int fd = open_directory(proc_fd, dir);
	if (fd < 0 || fstatvfs(fd, &fs) != 0)
		return;
	writing->has_space = true;
	writing->read_only = fs.f_flag & ST_RDONLY;
	writing->space = (uint64_t)fs.f_bavail * fs.f_frsize;
}

void hs_facts_writing(struct hs_core_writing *writing, int proc_fd, struct hs_arena *arena)
{
	char text[256];

	if (hs_live_read_text(AT_FDCWD, "/proc/sys/kernel/core_pattern", text, sizeof(text)) >= 0) {
		text[strcspn(text, "\n")] = '\0';
		writing->pattern = hs_arena_strdup(arena, text);
	}
	if (proc_fd < 0)
		return;
	read_limit(writing, proc_fd);
	read_sizes(writing, proc_fd);
	read_filter(writing, proc_fd);
	if (writing->pattern && writing->pattern[0] && writing->pattern[0] != '|')
		read_space(writing, proc_fd, arena);
}
