// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * A small target with odd properties: `odd name NAME` blocks two threads called NAME on each other,
 * `odd map FILE` maps a file and sleeps, `odd orphan mutex` waits for a mutex whose owner has
 * exited, `odd vfork child` has a thread in vfork(), which is an uninterruptible sleep,
 * `odd shared child` has memory that only a child has written to.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static pthread_mutex_t locks[2] = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER};
static pthread_barrier_t both;
static const char *thread_name;

static void *cross(void *arg)
{
	int first = arg != NULL;

	prctl(PR_SET_NAME, thread_name);
	pthread_mutex_lock(&locks[first]);
	pthread_barrier_wait(&both);
	pthread_mutex_lock(&locks[!first]);
	return NULL;
}

static void map(const char *path)
{
	struct stat st;
	int fd = open(path, O_RDONLY);

	if (fd < 0 || fstat(fd, &st) != 0 ||
	    mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0) ==
	            MAP_FAILED) {
		perror(path);
		exit(1);
	}
	close(fd);
}

static void *orphan(void *arg)
{
	pthread_mutex_lock(arg);
	return NULL;
}

static void *wait_for(void *arg)
{
	pthread_mutex_lock(arg);
	return NULL;
}

static void *vfork_main(void *arg)
{
	if (vfork() == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	return arg;
}

/** One page of memory that is mostly never touched. */
static void share(void)
{
	char *memory =
		mmap(NULL, 64 << 20, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t child = memory == MAP_FAILED ? -1 : fork();

	if (child == 0) {
		strcpy(memory + (32 << 20), "written by ");
		strcat(memory + (32 << 20), "a child");
		_exit(0);
	}
	if (child < 0 || waitpid(child, NULL, 0) != child) {
		perror("share");
		exit(1);
	}
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "name") == 0) {
		pthread_t threads[2];
		thread_name = argv[2];
		pthread_barrier_init(&both, NULL, 2);
		pthread_create(&threads[0], NULL, cross, NULL);
		pthread_create(&threads[1], NULL, cross, &both);
		usleep(300000);
	} else if (argc == 3 && strcmp(argv[1], "map") == 0) {
		map(argv[2]);
	} else if (argc == 3 && strcmp(argv[1], "orphan") == 0) {
		pthread_t thread;
		pthread_create(&thread, NULL, orphan, &locks[0]);
		pthread_join(thread, NULL);
		pthread_create(&thread, NULL, wait_for, &locks[0]);
		usleep(300000);
	} else if (argc == 3 && strcmp(argv[1], "shared") == 0) {
		share();
	} else if (argc == 3 && strcmp(argv[1], "vfork") == 0) {
		pthread_t thread;
		pthread_create(&thread, NULL, vfork_main, NULL);
		usleep(300000);
	}
	printf("READY %d\n", (int)getpid());
	fflush(stdout);
	for (;;)
		pause();
}
