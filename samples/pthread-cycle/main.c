// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Three threads and three mutexes in a cycle: each holds one and waits for the next.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	WORKERS = 3,
	QUIET_POLLS = 10,
	POLL_US = 50000
};

static pthread_mutex_t ledger_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t cache_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t audit_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t all_hold_one;

struct worker {
	const char *name;
	pthread_mutex_t *first;
	pthread_mutex_t *second;
	pthread_t thread;
	pid_t tid;
};

static struct worker workers[WORKERS] = {
	{.name = "ledger-writer", .first = &ledger_lock, .second = &cache_lock },
	{.name = "cache-flusher", .first = &cache_lock,  .second = &audit_lock },
	{.name = "auditor",       .first = &audit_lock,  .second = &ledger_lock},
};

static void *run(void *arg)
{
	struct worker *worker = arg;

	worker->tid = gettid();
	pthread_setname_np(pthread_self(), worker->name);
	pthread_mutex_lock(worker->first);
	pthread_barrier_wait(&all_hold_one);
	pthread_mutex_lock(worker->second);
	puts("never");
	return NULL;
}

static int sleeps(pid_t tid)
{
	char path[64], line[512];

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", (int)tid);
	FILE *file = fopen(path, "r");
	if (!file)
		return 0;
	size_t len = fread(line, 1, sizeof(line) - 1, file);
	fclose(file);
	line[len] = '\0';
	const char *end = strrchr(line, ')');
	return end && strncmp(end, ") S", 3) == 0;
}

int main(void)
{
	pthread_barrier_init(&all_hold_one, NULL, WORKERS + 1);
	for (int i = 0; i < WORKERS; i++) {
		if (pthread_create(&workers[i].thread, NULL, run, &workers[i]) != 0)
			abort();
	}
	pthread_barrier_wait(&all_hold_one);
	for (int quiet = 0; quiet < QUIET_POLLS; quiet++) {
		for (int i = 0; i < WORKERS; i++) {
			if (!sleeps(workers[i].tid))
				quiet = -1;
		}
		usleep(POLL_US);
	}
	printf("READY %d\n", (int)getpid());
	fflush(stdout);
	for (int i = 0; i < WORKERS; i++)
		pthread_join(workers[i].thread, NULL);
	return 0;
}
