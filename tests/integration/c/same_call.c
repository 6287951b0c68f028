// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * No deadlock, ever: one thread waits for first, then for second, by the same call from the same
 * place; who holds second meanwhile never waits while the first thread waits for it. Looks that
 * tell waits by the place alone see a cycle of two moments.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

enum {
	IDLE_THREADS = 500, /**< so that a capture of one thread at a time takes a while */
	STACK = 65536,
};

static pthread_mutex_t first = PTHREAD_MUTEX_INITIALIZER, second = PTHREAD_MUTEX_INITIALIZER,
		       third = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t start, held;
static sem_t gate;
static atomic_int passed;

__attribute__((noinline)) static void take(pthread_mutex_t *mutex)
{
	pthread_mutex_lock(mutex);
	__asm__ volatile(""); // no tail call: both waits come from here
}

static void *wait_for_both(void *unused)
{
	pthread_mutex_t *mutexes[] = {&first, &second};

	while (1) {
		pthread_barrier_wait(&start);
		pthread_mutex_lock(&third);
		pthread_barrier_wait(&held);
		for (int i = 0; i < 2; i++) {
			take(mutexes[i]);
			pthread_mutex_unlock(mutexes[i]);
			passed = 1;
		}
		pthread_mutex_unlock(&third);
	}
	return unused;
}

static void *hold_first(void *unused)
{
	while (1) {
		pthread_barrier_wait(&start);
		passed = 0;
		pthread_mutex_lock(&first);
		pthread_barrier_wait(&held);
		usleep(150000);
		pthread_mutex_unlock(&first);
		while (!passed)
			usleep(100);
		pthread_mutex_lock(&first);
		sem_post(&gate);
		usleep(2000);
		pthread_mutex_lock(&third);
		pthread_mutex_unlock(&third);
		pthread_mutex_unlock(&first);
	}
	return unused;
}

static void *wait_for_first(void *unused)
{
	while (1) {
		sem_wait(&gate);
		pthread_mutex_lock(&first);
		pthread_mutex_unlock(&first);
	}
	return unused;
}

static void *hold_second(void *unused)
{
	while (1) {
		pthread_barrier_wait(&start);
		pthread_mutex_lock(&second);
		pthread_barrier_wait(&held);
		usleep(900000);
		pthread_mutex_unlock(&second);
	}
	return unused;
}

static void *idle(void *unused)
{
	pause();
	return unused;
}

int main(void)
{
	pthread_t thread;
	pthread_attr_t attr;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	pthread_barrier_init(&start, NULL, 3);
	pthread_barrier_init(&held, NULL, 3);
	sem_init(&gate, 0, 0);
	pthread_create(&thread, NULL, wait_for_both, NULL);
	for (int i = 0; i < IDLE_THREADS; i++)
		pthread_create(&thread, &attr, idle, NULL);
	pthread_create(&thread, NULL, hold_first, NULL);
	pthread_create(&thread, NULL, wait_for_first, NULL);
	pthread_create(&thread, NULL, hold_second, NULL);
	printf("READY %d\n", (int)getpid());
	fflush(stdout);
	pause();
}
