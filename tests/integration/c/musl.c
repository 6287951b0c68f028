// SPDX-License-Identifier: Apache-2.0
// One of each lock of a C library, waited for: `musl recursive` or `musl normal` says of what kind
// the mutexes are.
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static pthread_mutex_t first, second, outer;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER,
			read_locked = PTHREAD_RWLOCK_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static sem_t sem;
static pthread_barrier_t barrier;

static void *take_both(void *arg)
{
	pthread_mutex_t *mine = arg, *other = mine == &first ? &second : &first;

	pthread_mutex_lock(mine);
	pthread_barrier_wait(&barrier);
	pthread_mutex_lock(other);
	return NULL;
}

static void *hold_rwlocks(void *arg)
{
	pthread_rwlock_wrlock(&rwlock);
	pthread_rwlock_rdlock(&read_locked);
	pthread_barrier_wait(&barrier);
	pause();
	return arg;
}

static void *want_read(void *arg)
{
	pthread_barrier_wait(&barrier);
	pthread_rwlock_rdlock(&rwlock);
	return arg;
}

static void *want_write(void *arg)
{
	pthread_barrier_wait(&barrier);
	pthread_rwlock_wrlock(&read_locked);
	return arg;
}

static void *wait_cond(void *arg)
{
	pthread_barrier_wait(&barrier);
	pthread_mutex_lock(&outer);
	pthread_cond_wait(&cond, &outer);
	return arg;
}

static void *wait_sem(void *arg)
{
	pthread_barrier_wait(&barrier);
	sem_wait(&sem);
	return arg;
}

int main(int argc, char **argv)
{
	static void *(*const routines[])(void *) = {take_both,  take_both, hold_rwlocks, want_read,
	                                            want_write, wait_cond, wait_sem};
	enum {
		COUNT = sizeof(routines) / sizeof(routines[0])
	};
	static void *const arguments[COUNT] = {&first, &second};
	pthread_t threads[COUNT];
	pthread_mutexattr_t attr;

	pthread_mutexattr_init(&attr);
	if (argc > 1 && !strcmp(argv[1], "recursive"))
		pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&first, &attr);
	pthread_mutex_init(&second, &attr);
	pthread_mutex_init(&outer, &attr);
	sem_init(&sem, 0, 0);
	pthread_barrier_init(&barrier, NULL, COUNT + 1);
	for (int i = 0; i < COUNT; i++)
		pthread_create(&threads[i], NULL, routines[i], arguments[i]);
	pthread_barrier_wait(&barrier);
	sleep(1);
	printf("READY %d\n", (int)getpid());
	fflush(stdout);
	pthread_join(threads[0], NULL);
	return 0;
}
