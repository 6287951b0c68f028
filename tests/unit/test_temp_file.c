// SPDX-License-Identifier: Apache-2.0
/** @file Temporary files where there is no directory for them. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/temp_file.h"

enum {
	BLOCK = 1 << 20,
	BOUND = 256, // blocks
};

/** Put blocks with something in them until it is refused. @return how many were taken. */
static int fill(struct hs_temp_file *file, char *block, struct hs_err **err_ret)
{
	int count = 0;

	for (*err_ret = NULL; count <= BOUND; count++) {
		// Holes between them cost nothing.
		*err_ret = hs_temp_file_put(file, 2LL * count * BLOCK, block, BLOCK);
		if (*err_ret)
			break;
	}
	return count;
}

/** In a root directory with nothing in it. @return 0, or the number of what went wrong. */
static int in_empty_root(void)
{
	struct hs_temp_file file = {.fd = -1};
	char text[4] = "", *block = malloc(BLOCK);
	struct hs_err *err;

	if (!block)
		return 1;
	memset(block, 'x', BLOCK);
	unsetenv("TMPDIR");
	if (hs_temp_file_open("a test", &file) || !file.in_memory)
		return 2;
	if (hs_temp_file_put(&file, 0, "abc", 3) || hs_temp_file_end(&file, 3) ||
	    pread(file.fd, text, sizeof(text), 0) != 3 || strcmp(text, "abc") != 0)
		return 3;
	close(file.fd);
	if (hs_temp_file_open("a test", &file))
		return 4;
	if (fill(&file, block, &err) != BOUND || hs_err_errno(err) != ENOSPC ||
	    !strstr(hs_err_message(err), "memory") || !strstr(hs_err_message(err), "TMPDIR"))
		return 5;
	hs_err_free(err);
	close(file.fd);
	free(block);
	// A directory that was asked for is not replaced by anything.
	setenv("TMPDIR", "/nowhere", 1);
	err = hs_temp_file_open("a test", &file);
	return err && hs_err_errno(err) == ENOENT ? 0 : 6;
}

static void no_directory(void **state)
{
	(void)state;
	char root[] = "/tmp/hs-temp-file-XXXXXX";
	int status = 0;

	if (geteuid() != 0)
		skip();
	assert_non_null(mkdtemp(root));
	pid_t child = fork();
	assert_true(child >= 0);
	if (!child)
		_exit(chroot(root) || chdir("/") ? 99 : in_empty_root());
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(rmdir(root), 0);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void a_directory(void **state)
{
	(void)state;
	struct hs_temp_file file = {.fd = -1};

	assert_null(hs_temp_file_open("a test", &file));
	assert_false(file.in_memory);
	assert_null(hs_temp_file_put(&file, 0, "abc", 3));
	assert_null(hs_temp_file_end(&file, 3));
	close(file.fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_directory),
		cmocka_unit_test(no_directory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
