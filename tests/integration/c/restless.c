// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Programs that do not hold still, each with two threads that wait for each other for ever (or,
 * where said, without): `restless leader` main() has ended, the threads live on; `restless threads`
 * starts and ends threads all the time; `restless forks` makes children; `restless execs` (without)
 * replaces itself by itself; `restless stuck-exec` (without) is in an execve() that waits for a
 * thread which ended, and whose tracer, a child of it, does not collect its status.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

static pthread_mutex_t locks[2] = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER};
static pthread_barrier_t both;

static void *cross(void *arg)
{
	int first = arg != NULL;

	pthread_mutex_lock(&locks[first]);
	pthread_barrier_wait(&both);
	pthread_mutex_lock(&locks[!first]);
	return NULL;
}

static void start(void *(*function)(void *), void *arg)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, function, arg))
		exit(1);
	pthread_detach(thread);
}

static void deadlock(void)
{
	pthread_barrier_init(&both, NULL, 3);
	start(cross, NULL);
	start(cross, &both);
	pthread_barrier_wait(&both);
	usleep(100000);
}

static void ready(void)
{
	printf("READY %d\n", (int)getpid());
	fflush(stdout);
}

static void *end(void *arg)
{
	return arg;
}

static void *make_threads(void *arg)
{
	for (;;) {
		pthread_t threads[8];

		for (int i = 0; i < 8; i++) {
			if (pthread_create(&threads[i], NULL, end, arg))
				exit(1);
		}
		for (int i = 0; i < 8; i++)
			pthread_join(threads[i], NULL);
		usleep(200);
	}
	return NULL;
}

static void make_children(void)
{
	for (;;) {
		pid_t pid = fork();
		int status;

		if (!pid)
			_exit(7);
		if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status) ||
		    WEXITSTATUS(status) != 7)
			exit(1);
		usleep(500);
	}
}

static void *sleep_long(void *arg)
{
	for (;;)
		pause();
	return arg;
}

static void exec_again(bool first)
{
	for (int i = 0; i < 4; i++)
		start(sleep_long, NULL);
	if (first)
		ready();
	usleep(3000);
	execl("/proc/self/exe", "restless", "execs", "again", NULL);
	exit(1);
}

static void *exec_now(void *arg)
{
	usleep(300000);
	execl("/proc/self/exe", "restless", "threads", NULL);
	exit(1);
	return arg;
}

static pid_t traced;

static void *be_traced(void *arg)
{
	traced = gettid();
	return sleep_long(arg);
}

static void exec_stuck(void)
{
	int pipe_fds[2];
	char byte;

	start(be_traced, NULL);
	while (!__atomic_load_n(&traced, __ATOMIC_SEQ_CST))
		usleep(1000);
	if (pipe(pipe_fds))
		exit(1);
	if (!fork()) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (ptrace(PTRACE_SEIZE, traced, NULL, NULL) || write(pipe_fds[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
	if (read(pipe_fds[0], &byte, 1) != 1)
		exit(1);
	ready();
	exec_now(NULL);
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";

	if (strcmp(mode, "execs") == 0)
		exec_again(argc == 2);
	if (strcmp(mode, "stuck-exec") == 0)
		exec_stuck();
	deadlock();
	if (strcmp(mode, "threads") == 0)
		start(make_threads, NULL);
	ready();
	if (strcmp(mode, "leader") == 0)
		pthread_exit(NULL);
	if (strcmp(mode, "forks") == 0)
		make_children();
	for (;;)
		pause();
}
