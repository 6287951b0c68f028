// SPDX-License-Identifier: Apache-2.0
/** @file Output files: complete or not there, with and without O_TMPFILE. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/output_file.h"

struct fixture {
	char dir[64];
	char path[80]; /**< of the file in it */
};

static int setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	if (!fixture)
		return -1;
	strcpy(fixture->dir, "/tmp/hs-output-XXXXXX");
	*state = fixture;
	if (!mkdtemp(fixture->dir))
		return -1;
	snprintf(fixture->path, sizeof(fixture->path), "%s/file", fixture->dir);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;
	char command[96];

	snprintf(command, sizeof(command), "rm -rf %s", fixture->dir);
	int status = system(command);
	free(fixture);
	return status;
}

static void assert_ok(struct hs_err *err)
{
	if (err)
		fail_msg("%s", hs_err_message(err));
}

static int count_files(const char *dir)
{
	hs_cleanup(hs_closedirp) DIR *stream = opendir(dir);
	int count = 0;

	assert_non_null(stream);
	for (struct dirent *entry; (entry = readdir(stream));)
		count += strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..");
	return count;
}

static void put(const char *path, const char *text)
{
	hs_cleanup(hs_fclosep) FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
}

static void assert_content(const char *path, const char *text)
{
	hs_cleanup(hs_fclosep) FILE *file = fopen(path, "r");
	char content[64] = "";

	assert_non_null(file);
	content[fread(content, 1, sizeof(content) - 1, file)] = '\0';
	assert_string_equal(content, text);
}

static void test_commit(void **state)
{
	const struct fixture *fixture = *state;

	for (int named = 0; named < 2; named++) {
		struct hs_output *output = NULL;
		struct stat st;

		assert_ok(hs_output_open_as(fixture->path, named, &output));
		assert_false(hs_output_is_stream(output));
		assert_ok(hs_output_write(output, "hello", 5));
		assert_int_equal(access(fixture->path, F_OK), -1);
		assert_ok(hs_output_commit(output));
		assert_content(fixture->path, "hello");
		assert_int_equal(stat(fixture->path, &st), 0);
		assert_int_equal(st.st_mode & 07777, 0600);
		assert_int_equal(count_files(fixture->dir), 1);
		unlink(fixture->path);
	}
}

static void test_replaces_at_the_end(void **state)
{
	const struct fixture *fixture = *state;

	for (int named = 0; named < 2; named++) {
		struct hs_output *output = NULL;

		put(fixture->path, "old");
		assert_ok(hs_output_open_as(fixture->path, named, &output));
		assert_ok(hs_output_write(output, "new", 3));
		assert_content(fixture->path, "old");
		assert_ok(hs_output_commit(output));
		assert_content(fixture->path, "new");
		assert_int_equal(count_files(fixture->dir), 1);
	}
}

static void test_abort(void **state)
{
	const struct fixture *fixture = *state;

	put(fixture->path, "old");
	for (int named = 0; named < 2; named++) {
		hs_cleanup(hs_output_abortp) struct hs_output *output = NULL;

		assert_ok(hs_output_open_as(fixture->path, named, &output));
		assert_ok(hs_output_write(output, "new", 3));
	}
	assert_content(fixture->path, "old");
	assert_int_equal(count_files(fixture->dir), 1);
}

static void test_follows_a_link(void **state)
{
	const struct fixture *fixture = *state;
	struct hs_output *output = NULL;
	char link[96];
	struct stat st;

	snprintf(link, sizeof(link), "%s/link", fixture->dir);
	put(fixture->path, "old");
	assert_int_equal(symlink("file", link), 0);
	assert_ok(hs_output_open(link, &output));
	assert_ok(hs_output_write(output, "new", 3));
	assert_ok(hs_output_commit(output));
	assert_content(fixture->path, "new");
	assert_int_equal(lstat(link, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
}

static void test_devices_stay(void **state)
{
	struct hs_output *output = NULL;
	struct stat st;

	(void)state;
	assert_ok(hs_output_open("/dev/null", &output));
	assert_true(hs_output_is_stream(output));
	assert_ok(hs_output_write(output, "x", 1));
	assert_ok(hs_output_commit(output));
	assert_int_equal(stat("/dev/null", &st), 0);
	assert_true(S_ISCHR(st.st_mode));
}

/** A file that was unlinked has no name to be replaced: it is written to. */
static void test_unlinked(void **state)
{
	const struct fixture *fixture = *state;
	hs_cleanup(hs_closep) int fd = open(fixture->path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	struct hs_output *output = NULL;
	char path[40], content[8] = "";

	assert_int_equal(write(fd, "old old", 7), 7);
	assert_int_equal(unlink(fixture->path), 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	assert_ok(hs_output_open(path, &output));
	assert_false(hs_output_is_stream(output));
	assert_ok(hs_output_write(output, "new", 3));
	assert_ok(hs_output_commit(output));
	assert_int_equal(pread(fd, content, sizeof(content), 0), 3);
	assert_string_equal(content, "new");
	assert_int_equal(count_files(fixture->dir), 0);
}

static void test_terminal(void **state)
{
	hs_cleanup(hs_closep) int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	struct hs_output *output = NULL;
	struct hs_err *err;

	(void)state;
	if (master < 0 || grantpt(master) || unlockpt(master))
		skip();
	err = hs_output_open(ptsname(master), &output);
	assert_int_equal(hs_err_code(err), HS_ERR_USAGE);
	assert_non_null(strstr(hs_err_message(err), "is a terminal"));
	hs_err_free(err);
}

static void assert_refused(const char *path, enum hs_err_code code, int errnum)
{
	struct hs_output *output = NULL;
	struct hs_err *err = hs_output_open(path, &output);

	assert_non_null(err);
	assert_int_equal(hs_err_code(err), code);
	assert_int_equal(hs_err_errno(err), errnum);
	assert_null(output);
	hs_err_free(err);
}

static void test_bad_places(void **state)
{
	const struct fixture *fixture = *state;
	char path[96];

	assert_refused("", HS_ERR_USAGE, 0);
	assert_refused(fixture->dir, HS_ERR_OS, EISDIR);
	snprintf(path, sizeof(path), "%s/none/file", fixture->dir);
	assert_refused(path, HS_ERR_OS, ENOENT);
	snprintf(path, sizeof(path), "%s/none/", fixture->dir);
	assert_refused(path, HS_ERR_OS, EISDIR);
	put(fixture->path, "");
	snprintf(path, sizeof(path), "%s/file", fixture->path);
	assert_refused(path, HS_ERR_OS, ENOTDIR);
}

/** In a child: write until it fails under a limit on file sizes. @return its exit status. */
static int write_too_much(const char *path, bool named)
{
	const struct rlimit limit = {1000, 1000};
	struct hs_output *output = NULL;
	struct hs_err *err = NULL;
	char page[600] = "";

	if (setrlimit(RLIMIT_FSIZE, &limit))
		return 2;
	err = hs_output_open_as(path, named, &output);
	for (int i = 0; i < 3 && !err; i++)
		err = hs_output_write(output, page, sizeof(page));
	hs_output_abort(output);
	int status = err && hs_err_errno(err) == EFBIG ? 0 : 3;
	hs_err_free(err);
	return status;
}

static void test_size_limit(void **state)
{
	const struct fixture *fixture = *state;

	for (int named = 0; named < 2; named++) {
		int status = -1;
		pid_t child = fork();

		if (!child)
			_exit(write_too_much(fixture->path, named));
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_int_equal(status, 0);
		assert_int_equal(count_files(fixture->dir), 0);
	}
}

/** In a child: a signal arrives while it writes. */
static int write_until_the_end(const char *path, bool named)
{
	struct hs_output *output = NULL;
	struct hs_err *err = hs_output_open_as(path, named, &output);

	if (err)
		return 2;
	raise(SIGTERM); // ends it here when the file has no name
	err = hs_output_write(output, "x", 1);
	if (!err || hs_err_errno(err) != EINTR)
		return 3;
	hs_err_free(err);
	hs_output_abort(output); // ends it here when it has one
	return 4;
}

static void test_signal(void **state)
{
	const struct fixture *fixture = *state;

	for (int named = 0; named < 2; named++) {
		int status = -1;
		pid_t child = fork();

		if (!child)
			_exit(write_until_the_end(fixture->path, named));
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), SIGTERM);
		assert_int_equal(count_files(fixture->dir), 0);
	}
}

static void test_mask_is_restored(void **state)
{
	const struct fixture *fixture = *state;
	sigset_t before, after;

	for (int named = 0; named < 2; named++) {
		struct hs_output *output = NULL;

		pthread_sigmask(SIG_SETMASK, NULL, &before);
		assert_ok(hs_output_open_as(fixture->path, named, &output));
		assert_ok(hs_output_commit(output));
		pthread_sigmask(SIG_SETMASK, NULL, &after);
		for (int i = 1; i < SIGRTMIN; i++)
			assert_int_equal(sigismember(&before, i), sigismember(&after, i));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_commit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_replaces_at_the_end, setup, teardown),
		cmocka_unit_test_setup_teardown(test_abort, setup, teardown),
		cmocka_unit_test_setup_teardown(test_follows_a_link, setup, teardown),
		cmocka_unit_test_setup_teardown(test_devices_stay, setup, teardown),
		cmocka_unit_test_setup_teardown(test_terminal, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unlinked, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_places, setup, teardown),
		cmocka_unit_test_setup_teardown(test_size_limit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_signal, setup, teardown),
		cmocka_unit_test_setup_teardown(test_mask_is_restored, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
