// SPDX-License-Identifier: Apache-2.0
/** @file Files below another root: links stay inside, and only the mapped regular file is used. */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE // O_PATH
#endif

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/source/live.h"

struct fixture {
	char top[64]; /**< holds "outside" and the root */
	char root[80];
	int root_fd;
};

static void write_file(const char *dir, const char *name, const char *text)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	hs_cleanup(hs_fclosep) FILE *file = fopen(path, "w");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
}

static void make_link(const struct fixture *fixture, const char *target, const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", fixture->root, name);
	assert_int_equal(symlink(target, path), 0);
}

static int setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	char path[PATH_MAX];

	strcpy(fixture->top, "/tmp/hs_root_file_XXXXXX");
	assert_non_null(mkdtemp(fixture->top));
	snprintf(fixture->root, sizeof(fixture->root), "%s/root", fixture->top);
	assert_int_equal(mkdir(fixture->root, 0755), 0);
	snprintf(path, sizeof(path), "%s/lib", fixture->root);
	assert_int_equal(mkdir(path, 0755), 0);
	write_file(fixture->top, "outside", "outside");
	write_file(fixture->root, "outside", "inside");
	write_file(fixture->root, "lib/a.so", "a");
	make_link(fixture, "/lib/a.so", "absolute");
	make_link(fixture, "lib/a.so", "relative");
	make_link(fixture, "../../outside", "dots");
	make_link(fixture, "/lib", "dir");
	make_link(fixture, "loop", "loop");
	make_link(fixture, "fifo", "to_fifo");
	snprintf(path, sizeof(path), "%s/outside", fixture->top);
	make_link(fixture, path, "real_outside");
	snprintf(path, sizeof(path), "%s/fifo", fixture->root);
	assert_int_equal(mkfifo(path, 0600), 0);

	fixture->root_fd = open(fixture->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_true(fixture->root_fd >= 0);
	*state = fixture;
	return 0;
}

static int teardown(void **state)
{
	static const char *const names[] = {
		"root/lib/a.so", "root/absolute", "root/relative",     "root/dots", "root/dir",
		"root/loop",     "root/to_fifo",  "root/real_outside", "root/fifo", "root/outside",
		"root/lib",      "root",          "outside",           ""};
	struct fixture *fixture = *state;
	char path[PATH_MAX];

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		snprintf(path, sizeof(path), "%s/%s", fixture->top, names[i]);
		(void)remove(path);
	}
	close(fixture->root_fd);
	free(fixture);
	return 0;
}

/** What is in the file at @p path, or "!" and the error's code as a digit. */
static const char *content(const struct fixture *fixture, const char *path)
{
	static char text[32];
	hs_cleanup(hs_closep) int fd = -1;
	struct hs_err *err = hs_root_file_open(fixture->root_fd, path, &fd);

	if (err) {
		snprintf(text, sizeof(text), "!%d", (int)hs_err_code(err));
		hs_err_free(err);
		return text;
	}
	ssize_t len = read(fd, text, sizeof(text) - 1);
	text[len < 0 ? 0 : len] = '\0';
	return text;
}

static const struct expected {
	const char *path, *content;
} expected[] = {
	{"/lib/a.so",          "a"     },
        {"lib/a.so",           "a"     },
        {"/absolute",          "a"     },
	{"/relative",          "a"     },
        {"/dir/a.so",          "a"     },
        {"/dir/../lib/./a.so", "a"     },
	{"/../../lib/a.so",    "a"     },
        {"/dots",              "inside"},
        {"//outside",          "inside"},
	{"/real_outside",      "!4"    }, // HS_ERR_ABSENT: no such path in this root
	{"/missing",           "!4"    },
        {"/lib/a.so/x",        "!4"    },
        {"",                   "!4"    },
	{"/fifo",              "!3"    }, // HS_ERR_BAD_DATA
	{"/to_fifo",           "!3"    },
        {"/loop",              "!3"    },
        {"/lib",               "!3"    },
};

static void links_stay_inside(void **state)
{
	char longest[PATH_MAX + 2];

	for (size_t i = 0; i < sizeof(expected) / sizeof(*expected); i++)
		assert_string_equal(content(*state, expected[i].path), expected[i].content);
	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	assert_string_equal(content(*state, longest), "!3");
}

/** Make openat2() fail as an old kernel (ENOSYS) or container runtime (EPERM) does. */
static void forbid_openat2(int errnum)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)errnum),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = {sizeof(code) / sizeof(*code), code};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		_exit(77);
}

static void without_openat2(void **state)
{
	static const int errors[] = {ENOSYS, EPERM};

	for (size_t e = 0; e < 2; e++) {
		pid_t pid = fork();
		int status;

		assert_true(pid >= 0);
		if (!pid) {
			forbid_openat2(errors[e]);
			for (size_t i = 0; i < sizeof(expected) / sizeof(*expected); i++) {
				const char *got = content(*state, expected[i].path);

				if (strcmp(got, expected[i].content) != 0) {
					fprintf(stderr, "%s: %s\n", expected[i].path, got);
					_exit(1);
				}
			}
			_exit(0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFEXITED(status));
		if (WEXITSTATUS(status) == 77)
			skip();
		assert_int_equal(WEXITSTATUS(status), 0);
	}
}

/** The file of a mapping at @p path with the identity of @p st, without the help of map_files. */
static struct hs_err *open_mapped(struct fixture *fixture, struct hs_arena *arena, const char *path,
                                  const struct stat *st, int *fd_ret)
{
	struct hs_live live = {.base = {.arena = arena},
	                       .proc_fd = -1,
	                       .root_fd = fixture->root_fd,
	                       .root_name = "R"};
	const struct hs_mapping mapping = {
		.path = path, .dev = st->st_dev, .inode = st->st_ino, .start = 4096, .end = 8192};
	const char *name = NULL;
	struct hs_err *err = hs_live_files_open(&live, &mapping, fd_ret, &name);

	if (!err)
		assert_non_null(name);
	return err;
}

static void only_the_mapped_file(void **state)
{
	hs_cleanup(hs_arena_destroyp) struct hs_arena *arena = hs_arena_create();
	struct fixture *fixture = *state;
	struct stat st;
	struct hs_err *err;
	int fd = -1;

	assert_int_equal(fstatat(fixture->root_fd, "lib/a.so", &st, 0), 0);
	assert_null(open_mapped(fixture, arena, "/lib/a.so", &st, &fd));
	close(fd);

	// Another inode now, and no build id that could prove it to be the same.
	err = open_mapped(fixture, arena, "/outside", &st, &fd);
	assert_non_null(err);
	assert_int_equal(hs_err_code(err), HS_ERR_BAD_DATA);
	assert_non_null(strstr(hs_err_message(err), "replaced"));
	hs_err_free(err);

	err = open_mapped(fixture, arena, "/fifo", &st, &fd);
	assert_non_null(err);
	assert_non_null(strstr(hs_err_message(err), "FIFO"));
	hs_err_free(err);

	err = open_mapped(fixture, arena, "/missing (deleted)", &st, &fd);
	assert_non_null(err);
	assert_int_equal(hs_err_code(err), HS_ERR_ABSENT);
	hs_err_free(err);

	err = open_mapped(fixture, arena, "anon_inode:[io_uring]", &st, &fd);
	assert_non_null(err);
	hs_err_free(err);
}

static void another_build_is_left_to_the_build_id(void **state)
{
	hs_cleanup(hs_arena_destroyp) struct hs_arena *arena = hs_arena_create();
	struct fixture *fixture = *state;
	struct stat st;
	int fd = -1;
	uint8_t id[HS_BUILD_ID_MAX];
	hs_cleanup(hs_closep) int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	if (!hs_build_id_of_fd(self, id))
		skip();
	char path[PATH_MAX], command[2 * PATH_MAX];

	snprintf(path, sizeof(path), "%s/outside", fixture->root);
	snprintf(command, sizeof(command), "cp /proc/%d/exe %s", getpid(), path);
	assert_int_equal(system(command), 0);
	assert_int_equal(fstatat(fixture->root_fd, "lib/a.so", &st, 0), 0);
	assert_null(open_mapped(fixture, arena, "/outside", &st, &fd));
	close(fd);
}

static void devices_are_not_opened(void **state)
{
	(void)state;
	hs_cleanup(hs_closep) int root_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int fd = -1;
	struct hs_err *err = hs_root_file_open(root_fd, "/dev/null", &fd);

	assert_non_null(err);
	assert_int_equal(hs_err_code(err), HS_ERR_BAD_DATA);
	assert_non_null(strstr(hs_err_message(err), "device"));
	hs_err_free(err);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(links_stay_inside, setup, teardown),
		cmocka_unit_test_setup_teardown(without_openat2, setup, teardown),
		cmocka_unit_test_setup_teardown(only_the_mapped_file, setup, teardown),
		cmocka_unit_test_setup_teardown(another_build_is_left_to_the_build_id, setup,
	                                        teardown),
		cmocka_unit_test(devices_are_not_opened),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
