// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * proc_service: what libthread_db calls back to reach the target. Read-only. libthread_db trusts
 * every number it reads (sizes go to alloca, offsets index its copies), so numbers that would harm
 * us are checked on the way, and its loops are ended by a budget of calls.
 */
#ifndef HS_PROC_SERVICE_H
#define HS_PROC_SERVICE_H

#include <proc_service.h>

#include "core/native/thread_db.h"

enum {
	HS_PS_FACTS_MAX = 128, /**< distinct _thread_db_ symbols; glibc 2.41 has 57 */
	HS_PS_CALLS_PER_THREAD = 16,
	HS_PS_CALLS_BASE = 4096,
};

/** Bytes of one _thread_db_ symbol, as checked: served from here from then on. */
struct hs_ps_fact {
	hs_addr addr;
	uint32_t len;
	struct hs_db_field value; /**< a size is in bits (its first word) */
};

/** libthread_db's handle of the target. */
struct ps_prochandle {
	struct hs_native *native;
	size_t calls_left;
	struct hs_ps_fact facts[HS_PS_FACTS_MAX];
	size_t num_facts;
};

/**
 * Would a library that we load now call our ps_* functions? Not inside of gdb, which has its own,
 * and not when the program that we are part of does not export them.
 */
bool hs_proc_service_is_ours(void);

#endif // HS_PROC_SERVICE_H
