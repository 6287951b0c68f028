// SPDX-License-Identifier: Apache-2.0
/** @file Output files: without a name until they are complete. */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE // O_TMPFILE, O_PATH
#endif
#include "core/base/output_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/base/cleanup.h"

enum {
	MAX_TRIES = 1000, // of names that are taken
};

enum kind {
	STREAM,  // somebody else's: nothing to name and nothing to remove
	UNNAMED, // O_TMPFILE
	NAMED,   // has the name temp in directory
	DIRECT,  // a file that has lost its name, reached through /proc/self/fd: stays as it is
};

struct hs_output {
	enum kind kind;
	int fd;
	int directory;    // -1: a stream
	char *path;       // as it was given
	char *final;      // whole path of the file to be
	const char *base; // its last component, in final
	char temp[64];    // name in directory while it is NAMED
	bool masked;
	sigset_t mask; // of the thread before open
};

/** A write past a file size limit, or into a pipe that nobody reads, raises one of these, and would
 * end the program instead of the write. */
static void add_write_signals(sigset_t *set)
{
	sigaddset(set, SIGXFSZ);
	sigaddset(set, SIGPIPE);
}

static void add_end_signals(sigset_t *set)
{
	sigaddset(set, SIGINT);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGHUP);
	sigaddset(set, SIGQUIT);
}

static void hold_signals(struct hs_output *output, bool ends)
{
	sigset_t set;

	sigemptyset(&set);
	add_write_signals(&set);
	if (ends)
		add_end_signals(&set);
	output->masked = !pthread_sigmask(SIG_BLOCK, &set, output->masked ? NULL : &output->mask) ||
	                 output->masked;
}

static void release_signals(struct hs_output *output)
{
	const struct timespec now = {0};
	sigset_t set;

	if (!output->masked)
		return;
	sigemptyset(&set);
	// The error of the write has told it.
	if (!sigismember(&output->mask, SIGXFSZ))
		sigaddset(&set, SIGXFSZ);
	if (!sigismember(&output->mask, SIGPIPE))
		sigaddset(&set, SIGPIPE);
	while (sigtimedwait(&set, NULL, &now) > 0)
		;
	// Only what was blocked here: a capture that ends later or earlier has signals of its own.
	add_end_signals(&set);
	for (int i = 1; i < NSIG; i++) {
		if (sigismember(&output->mask, i) == 1)
			sigdelset(&set, i);
	}
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

bool hs_output_is_interrupted(const struct hs_output *output)
{
	static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
	sigset_t pending;

	if (output->kind != NAMED || sigpending(&pending))
		return false;
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		// One that the caller holds back himself is his affair.
		if (sigismember(&pending, ends[i]) && !sigismember(&output->mask, ends[i]))
			return true;
	}
	return false;
}

struct hs_err *hs_output_err(const struct hs_output *output, int errnum)
{
	const char *advice = "";

	if (errnum == ENOSPC || errnum == EDQUOT)
		advice = " (-o a file on a disk with more room, or -o - into a pipe)";
	else if (errnum == EFBIG)
		advice = " (a limit on file sizes: ulimit -f)";
	return hs_err_os(errnum, "cannot write %s%s", hs_output_name(output), advice);
}

// ---- open

static void destroy(struct hs_output *output)
{
	hs_closep(&output->fd);
	hs_closep(&output->directory);
	release_signals(output);
	free(output->path);
	free(output->final);
	free(output);
}

static void destroyp(struct hs_output **output)
{
	if (*output)
		destroy(*output);
}

static struct hs_err *open_stream(struct hs_output *output, int fd)
{
	output->kind = STREAM;
	output->fd = fd;
	if (fd < 0)
		return hs_err_os(errno, "cannot write %s", hs_output_name(output));
	if (isatty(fd))
		return hs_err_new(HS_ERR_USAGE,
		                  "%s is a terminal: say -o FILE, or put a pipe behind it",
		                  hs_output_name(output));
	hold_signals(output, false);
	return NULL;
}

static struct hs_err *open_direct(struct hs_output *output)
{
	output->kind = DIRECT;
	output->fd = open(output->path, O_RDWR | O_TRUNC | O_CLOEXEC);
	if (output->fd < 0)
		return hs_err_os(errno, "cannot write %s", output->path);
	hold_signals(output, false);
	return NULL;
}

/** Where the file will be: the path, or what it leads to when it is a symbolic link. */
static struct hs_err *find_place(struct hs_output *output)
{
	struct stat st;
	const char *slash;

	if (!lstat(output->path, &st) && S_ISLNK(st.st_mode))
		output->final = realpath(output->path, NULL); // NULL: it dangles, and is replaced
	if (!output->final)
		output->final = strdup(output->path);
	if (!output->final)
		return hs_err_oom();
	slash = strrchr(output->final, '/');
	output->base = slash ? slash + 1 : output->final;
	if (!*output->base)
		return hs_err_os(EISDIR, "cannot write %s", output->path);

	size_t len = (size_t)(output->base - output->final);
	hs_cleanup(hs_freep) char *directory = len ? strndup(output->final, len) : strdup(".");
	if (!directory)
		return hs_err_oom();
	output->directory = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return output->directory < 0 ? hs_err_os(errno, "cannot write %s", output->path) : NULL;
}

/** Next temporary name; our own process id keeps most others away. */
static void name_temp(struct hs_output *output, int try)
{
	snprintf(output->temp, sizeof(output->temp), ".hangscope-%ld-%d", (long)getpid(), try);
}

static struct hs_err *open_unnamed(struct hs_output *output)
{
	output->kind = UNNAMED;
	output->fd = openat(output->directory, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (output->fd < 0)
		return hs_err_os(errno, "cannot write %s", output->path);
	hold_signals(output, false);
	return NULL;
}

static struct hs_err *open_named(struct hs_output *output)
{
	output->kind = NAMED;
	hold_signals(output, true);
	for (int i = 0; i < MAX_TRIES; i++) {
		name_temp(output, i);
		output->fd = openat(output->directory, output->temp,
		                    O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (output->fd >= 0)
			return NULL;
		if (errno != EEXIST)
			break;
	}
	return hs_err_os(errno, "cannot write %s", output->path);
}

static struct hs_err *open_file(struct hs_output *output, bool named)
{
	struct hs_err *err = find_place(output);

	if (err || named)
		return err ? err : open_named(output);
	err = open_unnamed(output);
	if (!err)
		return NULL;
	// EISDIR: a kernel, EOPNOTSUPP: a file system that does not know O_TMPFILE.
	if (hs_err_errno(err) == EOPNOTSUPP || hs_err_errno(err) == EISDIR ||
	    hs_err_errno(err) == EINVAL) {
		hs_err_free(err);
		err = open_named(output);
	}
	return err;
}

static struct hs_err *open_any(struct hs_output *output, bool named)
{
	struct stat st;

	if (!*output->path)
		return hs_err_new(HS_ERR_USAGE, "the name of the file to write is empty");
	if (!strcmp(output->path, "-"))
		return open_stream(output, fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0));
	// To replace /dev/null by a file would be a disaster.
	if (!stat(output->path, &st) && !S_ISREG(st.st_mode))
		return open_stream(output, open(output->path, O_WRONLY | O_CLOEXEC | O_NOCTTY));
	if (!stat(output->path, &st) && !st.st_nlink)
		return open_direct(output);
	return open_file(output, named);
}

struct hs_err *hs_output_open_as(const char *path, bool named, struct hs_output **ret)
{
	hs_cleanup(destroyp) struct hs_output *output = calloc(1, sizeof(*output));

	if (!output)
		return hs_err_oom();
	output->fd = output->directory = -1;
	output->path = strdup(path);
	if (!output->path)
		return hs_err_oom();
	struct hs_err *err = open_any(output, named);
	if (!err)
		*ret = hs_take(output);
	return err;
}

struct hs_err *hs_output_open(const char *path, struct hs_output **ret)
{
	return hs_output_open_as(path, false, ret);
}

struct hs_err *hs_output_open_early(const char *path, struct hs_output **ret)
{
	hs_cleanup(hs_output_abortp) struct hs_output *output = NULL;
	struct hs_err *err = hs_output_open(path, &output);

	if (!err && output->kind != NAMED)
		*ret = hs_take(output);
	return err;
}

// ---- use

int hs_output_fd(const struct hs_output *output)
{
	return output->fd;
}

bool hs_output_is_stream(const struct hs_output *output)
{
	return output->kind == STREAM;
}

const char *hs_output_name(const struct hs_output *output)
{
	return strcmp(output->path, "-") ? output->path : "standard output";
}

struct hs_err *hs_output_write(struct hs_output *output, const void *bytes, size_t len)
{
	const uint8_t *at = bytes;

	while (len) {
		if (hs_output_is_interrupted(output))
			return hs_output_err(output, EINTR);
		ssize_t put = write(output->fd, at, len);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return hs_output_err(output, errno);
		at += put;
		len -= (size_t)put;
	}
	return NULL;
}

// ---- end

static int link_as(const struct hs_output *output, const char *name)
{
	char link[40];

	// For the privileged, or newer kernels; the other way needs /proc (open(2), O_TMPFILE).
	if (!linkat(output->fd, "", output->directory, name, AT_EMPTY_PATH))
		return 0;
	if (errno != ENOENT && errno != EPERM)
		return -1;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", output->fd);
	return linkat(AT_FDCWD, link, output->directory, name, AT_SYMLINK_FOLLOW);
}

/** Give a file without a name its final one; @return errno when that fails. */
static int give_name(struct hs_output *output)
{
	if (!link_as(output, output->base))
		return 0;
	// No link over a file that is there: by way of another name, and a rename.
	for (int i = 0; errno == EEXIST && i < MAX_TRIES; i++) {
		name_temp(output, i);
		if (link_as(output, output->temp))
			continue;
		output->kind = NAMED;
		return 0;
	}
	return errno;
}

struct hs_err *hs_output_commit(struct hs_output *output)
{
	int errnum = 0;

	if (hs_output_is_interrupted(output))
		errnum = EINTR;
	else if (output->kind == UNNAMED) {
		// Between the two names nothing may end us.
		hold_signals(output, true);
		errnum = give_name(output);
	}
	// A file system over a network may tell only here that the disk is full.
	if (!errnum) {
		if (close(output->fd))
			errnum = errno;
		output->fd = -1;
	}
	if (!errnum && output->kind == NAMED) {
		if (renameat(output->directory, output->temp, output->directory, output->base))
			errnum = errno;
		else
			output->kind = UNNAMED;
	}

	struct hs_err *err = errnum ? hs_output_err(output, errnum) : NULL;
	hs_output_abort(output);
	return err;
}

void hs_output_abort(struct hs_output *output)
{
	if (!output)
		return;
	if (output->kind == NAMED && *output->temp)
		unlinkat(output->directory, output->temp, 0);
	destroy(output);
}

void hs_output_abortp(struct hs_output **output)
{
	hs_output_abort(*output);
}
