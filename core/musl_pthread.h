// SPDX-License-Identifier: Apache-2.0
/** @file musl's struct pthread on x86_64: its control block of a thread. Not installed. */
#ifndef HS_MUSL_PTHREAD_H
#define HS_MUSL_PTHREAD_H

/**
 * src/internal/pthread_impl.h since 1.1.20: self, dtv, prev, next, sysinfo, canary, then int tid,
 * errno_val, detach_state. All threads are in a ring by prev and next, an only one with itself.
 */
enum hs_musl_pthread {
	HS_MUSL_PTHREAD_SELF = 0,
	HS_MUSL_PTHREAD_PREV = 16,
	HS_MUSL_PTHREAD_NEXT = 24,
	HS_MUSL_PTHREAD_TID = 48,
	HS_MUSL_PTHREAD_DETACH_STATE = 56,
};

#endif // HS_MUSL_PTHREAD_H
