// SPDX-License-Identifier: Apache-2.0
// Threads blocked in a C library without unwind information, in ways that make it hard to tell who
// called it: callbacks, deep calls that left old return addresses behind, large frames, calls by
// pointer. Each thread is named after its start routine.
#define _GNU_SOURCE
#include <alloca.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NOINLINE __attribute__((__noinline__))

static pthread_mutex_t mutex;
static FILE *full_pipe;

/** With optimization this is a jump. */
NOINLINE int lock_it(void)
{
	return pthread_mutex_lock(&mutex);
}

/** Leaves return addresses of calls into libc behind, below its caller's frame. */
NOINLINE static int deep(int n)
{
	char buf[300];

	snprintf(buf, sizeof(buf), "%d %s %f", n, "text", n * 1.5);
	if (n > 0)
		return deep(n - 1) + buf[0];
	return (int)strtol(buf, NULL, 10) + (getenv("PATH") != NULL);
}

static int compare(const void *a, const void *b)
{
	lock_it();
	return *(const int *)a - *(const int *)b;
}

NOINLINE static void *sorts(void *arg)
{
	int values[] = {3, 1, 2};

	qsort(values, 3, sizeof(values[0]), compare);
	return values[0] ? arg : NULL;
}

NOINLINE static void *after_deep(void *arg)
{
	volatile int ignored = deep(6);

	(void)ignored;
	lock_it();
	return arg;
}

NOINLINE static void *with_alloca(void *arg)
{
	volatile char *p = alloca((size_t)arg);

	p[0] = 1;
	deep(3);
	pthread_mutex_lock(&mutex);
	p[1] = 2;
	return arg;
}

NOINLINE static void *many_arguments(void *arg)
{
	char s[64];

	snprintf(s, sizeof(s), "%d%d%d%d%d%d%d%d", 1, 2, 3, 4, 5, 6, 7, (int)(long)arg);
	deep(2);
	pthread_mutex_lock(&mutex);
	return s[0] ? arg : NULL;
}

NOINLINE static void *prints(void *arg)
{
	for (int i = 0; arg; i++)
		fprintf(full_pipe, "%d %f %s\n", i, i * 1.1, "hello");
	return arg;
}

NOINLINE static void *polls(void *arg)
{
	poll(NULL, 0, -1);
	return arg;
}

static int (*volatile pointer)(void) = lock_it;

NOINLINE static void *by_pointer(void *arg)
{
	pointer();
	return arg;
}

int main(void)
{
	static const struct {
		const char *name;
		void *(*routine)(void *);
	} starts[] = {
		{"sorts",       sorts         },
		{"after_deep",  after_deep    },
		{"with_alloca", with_alloca   },
		{"many_args",   many_arguments},
		{"prints",      prints        },
		{"polls",       polls         },
		{"by_pointer",  by_pointer    },
	};
	pthread_mutexattr_t attr;
	int fds[2];

	if (pipe(fds))
		return 1;
	full_pipe = fdopen(fds[1], "w");
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&mutex, &attr);
	pthread_mutex_lock(&mutex);
	for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
		pthread_t thread;

		pthread_create(&thread, NULL, starts[i].routine, (void *)100L);
		pthread_setname_np(thread, starts[i].name);
	}
	sleep(1);
	printf("READY %d\n", (int)getpid());
	fflush(stdout);
	pause();
	return 0;
}
