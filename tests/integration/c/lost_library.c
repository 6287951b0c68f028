// SPDX-License-Identifier: Apache-2.0
/** @file The library of lost.c: its frames are found by unwind information alone (no frame
 * pointer). */

#include <pthread.h>

#ifdef OTHER // another build of it: frames of another size
enum {
	ROOM = 700
};
#else
enum {
	ROOM = 200
};
#endif

/** Not exported: its name is lost with the file. */
__attribute__((noinline)) static int take_second(pthread_mutex_t *second)
{
	volatile char room[ROOM];

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
