// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Two threads in a deadlock inside of a library (lost_library.c), which a test then removes.
 * "lost crash": dies of SIGABRT instead, for a core that the kernel writes.
 */

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void lost_take_both(pthread_mutex_t *first, pthread_mutex_t *second, pthread_barrier_t *both);

static pthread_mutex_t left_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t right_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t both;

static void *left(void *arg)
{
	lost_take_both(&left_lock, &right_lock, &both);
	return arg;
}

static void *right(void *arg)
{
	lost_take_both(&right_lock, &left_lock, &both);
	return arg;
}

/** Both sleep: in state S and in the futex call, which has number 202. */
static int is_asleep(int tid)
{
	char path[64], text[16] = "";

	snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", tid);
	FILE *file = fopen(path, "r");
	if (!file)
		return 0;
	int is_read = fgets(text, sizeof(text), file) != NULL;
	fclose(file);
	return is_read && strncmp(text, "202 ", 4) == 0;
}

int main(int argc, char **argv)
{
	pthread_t threads[2];

	pthread_barrier_init(&both, NULL, 2);
	pthread_create(&threads[0], NULL, left, NULL);
	pthread_create(&threads[1], NULL, right, NULL);
	// Their ids follow ours in a quiet namespace only: look at all of the mutexes' owners.
	while (!left_lock.__data.__owner || !right_lock.__data.__owner ||
	       !is_asleep(left_lock.__data.__owner) || !is_asleep(right_lock.__data.__owner))
		usleep(10000);
	if (argc > 1 && strcmp(argv[1], "crash") == 0)
		abort();
	printf("READY %d\n", (int)getpid());
	fflush(stdout);
	pthread_join(threads[0], NULL);
	return 0;
}
