// SPDX-License-Identifier: Apache-2.0
/** @file The library of lost.c: its frames are found by unwind information alone (no frame
 * pointer). */

#include <pthread.h>

/** Not exported: its name is lost with the file. */
__attribute__((noinline)) static int take_second(pthread_mutex_t *second)
{
	volatile char room[200];

	room[0] = 1;
	return pthread_mutex_lock(second) + room[0];
}

__attribute__((visibility("default"))) void
lost_take_both(pthread_mutex_t *first, pthread_mutex_t *second, pthread_barrier_t *both)
{
	volatile char room[300];

	pthread_mutex_lock(first);
	pthread_barrier_wait(both);
	room[0] = (char)take_second(second);
	(void)room[0];
}
