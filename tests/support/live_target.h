// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * A target for tests of the live source: a fork of the test program with a few threads that tell
 * how they are by shared memory.
 */
#ifndef HS_TEST_LIVE_TARGET_H
#define HS_TEST_LIVE_TARGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/target.h"

enum {
	WITH_SIGNALS = 1,     /**< an interval timer, and handlers that count */
	WITH_VFORK = 2,       /**< a thread in the uninterruptible sleep of vfork() */
	LEADER_EXITS = 4,     /**< main() ends by pthread_exit() */
	WITH_NEW_THREADS = 8, /**< threads come and go all the time */
	PATIENCE = 10,        /**< seconds for something that must happen */
};

/** What a target shows of itself. */
struct shared {
	atomic_ulong beat, alarms, realtime, failures, threads_made;
	atomic_int ready, reader, sleeper, vforker;
	atomic_ulong marker; /**< address of a heap word with MARKER in it */
};

#define MARKER UINT64_C(0x68616e6773636f70)

struct live_target {
	struct shared *shared;
	pid_t pid;
	int pipe[2];
};

void sleep_ms(long ms);

/** Monotonic. */
double now_ms(void);

/** Start a target and wait until all of its threads are where they shall be. */
struct live_target live_target_start(int flags);

/** Kill it; none of its system calls may have failed. */
void live_target_end(struct live_target *fixture);

/** As /proc shows it; NUL when there is no such thread. */
char live_thread_state(pid_t pid, pid_t tid);

/** No thread is stopped or traced, and it runs: it is as if we had never been there. */
void live_target_assert_untouched(const struct live_target *fixture);

/** A thread body that counts. */
void *live_thread_beat(void *fixture);

/** These fail the test instead of returning an error. */
struct hs_target *live_target_open(pid_t pid, const struct hs_open_options *options);
const struct hs_lwp *live_target_lwp(const struct hs_target *target, pid_t host_tid);

#endif // HS_TEST_LIVE_TARGET_H
