// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Busy and contended, but correct: two mutexes always taken in one order, a condition variable, a
 * rwlock, a semaphore.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum {
	MUTEX_USERS = 4,
	READERS = 2,
	PAUSE_NS = 100000
};

static pthread_mutex_t outer_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t inner_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static pthread_rwlock_t table_lock = PTHREAD_RWLOCK_INITIALIZER;
static sem_t tokens;
static unsigned long counter;
static volatile unsigned int sink;

static void work(void)
{
	static _Thread_local unsigned int calls;

	for (unsigned int i = 0; i < 2000; i++)
		sink = i;
	// Now and then inside a lock, so that others really wait.
	if (++calls % 8 == 0)
		nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
}

static void *use_mutexes(void *arg)
{
	for (;;) {
		pthread_mutex_lock(&outer_lock);
		work();
		pthread_mutex_lock(&inner_lock);
		counter++;
		pthread_cond_broadcast(&changed);
		pthread_mutex_unlock(&inner_lock);
		pthread_mutex_unlock(&outer_lock);
		sem_post(&tokens);
	}
	return arg;
}

static void *wait_for_change(void *arg)
{
	pthread_mutex_lock(&inner_lock);
	for (unsigned long seen = counter;; seen = counter) {
		while (counter == seen)
			pthread_cond_wait(&changed, &inner_lock);
	}
	return arg;
}

static void *take_tokens(void *arg)
{
	for (;;) {
		sem_wait(&tokens);
		pthread_rwlock_wrlock(&table_lock);
		work();
		pthread_rwlock_unlock(&table_lock);
	}
	return arg;
}

static void *read_table(void *arg)
{
	for (;;) {
		pthread_rwlock_rdlock(&table_lock);
		work();
		pthread_rwlock_unlock(&table_lock);
		work();
	}
	return arg;
}

static void start(const char *name, void *(*body)(void *))
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, body, NULL) != 0)
		abort();
	pthread_setname_np(thread, name);
}

int main(void)
{
	sem_init(&tokens, 0, 0);
	for (int i = 0; i < MUTEX_USERS; i++)
		start("mutex-user", use_mutexes);
	for (int i = 0; i < READERS; i++)
		start("reader", read_table);
	start("waiter", wait_for_change);
	start("token-taker", take_tokens);
	usleep(200000);
	printf("READY %d\n", (int)getpid());
	fflush(stdout);
	for (;;)
		pause();
}
