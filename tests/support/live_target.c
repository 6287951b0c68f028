// SPDX-License-Identifier: Apache-2.0
/** @file A target for tests of the live source. */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE // gettid()
#endif

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/source/proc_text.h"
#include "tests/support/live_target.h"

void sleep_ms(long ms)
{
	const struct timespec ts = {ms / 1000, ms % 1000 * 1000000};

	nanosleep(&ts, NULL);
}

double now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

// ---- The target

void *live_thread_beat(void *arg)
{
	struct shared *shared = ((struct live_target *)arg)->shared;
	const struct timespec ts = {.tv_nsec = 200000};

	prctl(PR_SET_NAME, "heart beat");
	shared->ready++;
	for (;;) {
		if (nanosleep(&ts, NULL) && errno != EINTR)
			shared->failures++;
		shared->beat++;
	}
	return NULL;
}

static void *read_main(void *arg)
{
	struct live_target *fixture = arg;
	char byte;

	fixture->shared->reader = gettid();
	fixture->shared->ready++;
	for (;;) {
		if (read(fixture->pipe[0], &byte, 1) < 0 && errno != EINTR)
			fixture->shared->failures++;
	}
	return NULL;
}

static void *sleep_main(void *arg)
{
	struct shared *shared = ((struct live_target *)arg)->shared;
	struct timespec left = {.tv_sec = 100000};

	shared->sleeper = gettid();
	shared->ready++;
	for (;;) {
		int ret = clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left);

		if (ret != EINTR)
			shared->failures++;
	}
	return NULL;
}

static void *spin_main(void *arg)
{
	struct shared *shared = ((struct live_target *)arg)->shared;

	shared->ready++;
	for (;;)
		__asm__ volatile("pause" ::: "memory");
	return NULL;
}

static void *vfork_main(void *arg)
{
	struct shared *shared = ((struct live_target *)arg)->shared;

	shared->vforker = gettid();
	shared->ready++;
	for (;;) {
		pid_t pid = vfork();

		if (!pid) {
			const struct timespec ts = {.tv_sec = 2};

			syscall(SYS_nanosleep, &ts, NULL);
			_exit(0);
		}
		waitpid(pid, NULL, 0);
	}
	return NULL;
}

static void *end_at_once(void *arg)
{
	((struct live_target *)arg)->shared->threads_made++;
	return NULL;
}

static void *make_threads_main(void *arg)
{
	struct shared *shared = ((struct live_target *)arg)->shared;

	shared->ready++;
	for (;;) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, end_at_once, arg) || pthread_join(thread, NULL))
			shared->failures++;
	}
	return NULL;
}

/** The handlers have no other way to find it. */
static struct shared *shared_of_target;

static void count_signal(int signo)
{
	if (signo == SIGALRM)
		shared_of_target->alarms++;
	else
		shared_of_target->realtime++;
}

static void start_signals(struct shared *shared)
{
	struct sigaction action = {.sa_handler = count_signal};
	const struct itimerval timer = {
		{0, 1000},
                {0, 1000}
        };

	shared_of_target = shared;
	sigaction(SIGALRM, &action, NULL);
	action.sa_flags = SA_RESTART;
	sigaction(SIGRTMIN, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
}

static _Noreturn void target_main(struct live_target *fixture, int flags)
{
	void *(*const mains[])(void *) = {
		live_thread_beat,
		read_main,
		sleep_main,
		spin_main,
		flags & WITH_VFORK ? vfork_main : NULL,
		flags & WITH_NEW_THREADS ? make_threads_main : NULL,
	};
	uint64_t *marker = malloc(sizeof(*marker));
	int started = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	*marker = MARKER;
	fixture->shared->marker = (uintptr_t)marker;
	if (flags & WITH_SIGNALS)
		start_signals(fixture->shared);
	for (size_t i = 0; i < sizeof(mains) / sizeof(*mains); i++) {
		pthread_t thread;

		if (mains[i] && !pthread_create(&thread, NULL, mains[i], fixture))
			started++;
	}
	while (fixture->shared->ready < started)
		sleep_ms(1);
	fixture->shared->ready = -1;
	if (flags & LEADER_EXITS)
		pthread_exit(NULL);
	for (;;)
		pause();
}

struct live_target live_target_start(int flags)
{
	struct live_target fixture = {.pid = -1};

	fixture.shared = mmap(NULL, sizeof(*fixture.shared), PROT_READ | PROT_WRITE,
	                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(fixture.shared, MAP_FAILED);
	assert_int_equal(pipe(fixture.pipe), 0);
	fixture.pid = fork();
	assert_true(fixture.pid >= 0);
	if (!fixture.pid)
		target_main(&fixture, flags);
	for (int i = 0; fixture.shared->ready != -1; i++) {
		assert_true(i < PATIENCE * 1000);
		sleep_ms(1);
	}
	sleep_ms(20);
	return fixture;
}

void live_target_end(struct live_target *fixture)
{
	kill(fixture->pid, SIGKILL);
	assert_int_equal(waitpid(fixture->pid, NULL, 0), fixture->pid);
	assert_int_equal(fixture->shared->failures, 0);
	munmap(fixture->shared, sizeof(*fixture->shared));
	close(fixture->pipe[0]);
	close(fixture->pipe[1]);
}

static bool read_status(pid_t pid, pid_t tid, char *text, size_t size)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", pid, tid);
	hs_cleanup(hs_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? -1 : read(fd, text, size - 1);

	if (len < 0)
		return false;
	text[len] = '\0';
	return true;
}

char live_thread_state(pid_t pid, pid_t tid)
{
	char text[4096];
	const char *state;

	if (!read_status(pid, tid, text, sizeof(text)))
		return '\0';
	state = strstr(text, "State:\t");
	return state ? state[strlen("State:\t")] : '\0';
}

void live_target_assert_untouched(const struct live_target *fixture)
{
	char path[64];
	struct dirent *entry;

	snprintf(path, sizeof(path), "/proc/%d/task", fixture->pid);
	hs_cleanup(hs_closedirp) DIR *dir = opendir(path);
	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		char text[4096];
		uint64_t tracer = 0;
		pid_t tid = atoi(entry->d_name);

		if (tid <= 0 || !read_status(fixture->pid, tid, text, sizeof(text)))
			continue;
		(void)hs_proc_text_status(text, "TracerPid", 10, &tracer);
		assert_int_equal(tracer, 0);
		assert_int_not_equal(live_thread_state(fixture->pid, tid), 'T');
		assert_int_not_equal(live_thread_state(fixture->pid, tid), 't');
	}

	unsigned long before = fixture->shared->beat;
	for (int i = 0; fixture->shared->beat < before + 3; i++) {
		assert_true(i < PATIENCE * 1000);
		sleep_ms(1);
	}
}

struct hs_target *live_target_open(pid_t pid, const struct hs_open_options *options)
{
	struct hs_target *target = NULL;
	struct hs_err *err = hs_target_open_pid(pid, options, &target);

	if (err)
		fail_msg("%s", hs_err_message(err));
	return target;
}

const struct hs_lwp *live_target_lwp(const struct hs_target *target, pid_t host_tid)
{
	size_t num;
	const struct hs_lwp *lwps = hs_target_lwps(target, &num);

	for (size_t i = 0; i < num; i++) {
		if (lwps[i].host_tid == host_tid)
			return &lwps[i];
	}
	fail_msg("thread %d is missing", host_tid);
	return NULL;
}
