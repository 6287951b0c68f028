// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * What glibc publishes about its threads for debuggers, by two ways: libthread_db (that of our own
 * system; it accepts only a target with the same glibc version), and the `_thread_db_*` descriptors
 * that it would read itself, which every glibc exports. Both read the target only.
 */
#ifndef HS_THREAD_DB_H
#define HS_THREAD_DB_H

#include "core/native/native.h"

// ---- pthread_layout.c: the descriptors.

enum {
	HS_PTHREAD_SIZE_MAX = 64 * 1024, /**< of a struct pthread (2.41: 2368) */
};

/** A db_desc_t: where a field lies (glibc nptl_db/db_info.c). */
struct hs_db_field {
	uint32_t bits, count, offset;
};

/** The fields of struct pthread that we read. Validated: inside of size. */
struct hs_pthread_layout {
	uint32_t size;
	uint32_t tid, start_routine; /**< byte offsets */
};

/**
 * Where the target's C library has @p name: libc.so.6, libpthread.so.0 (before 2.34), the dynamic
 * linker, or a static executable.
 * @return NULL, HS_ERR_ABSENT (and what hs_native_lookup() says of an unreadable file).
 */
HS_MUST_CHECK struct hs_err *hs_libc_lookup(struct hs_native *native, const char *name,
                                            hs_addr *ret);

/** @return NULL, or why not: HS_ERR_ABSENT (no glibc), HS_ERR_FAULT, HS_ERR_BAD_DATA. */
HS_MUST_CHECK struct hs_err *hs_pthread_layout_read(struct hs_native *native,
                                                    struct hs_pthread_layout *ret);

/** Minor version of the target's glibc ("2.36" → 36); 0 when not known. */
unsigned hs_glibc_minor(struct hs_native *native);

// ---- thread_db.c

struct hs_thread_db;

/** One thread in libthread_db's words. */
struct hs_td_thread {
	pid_t tid;
	hs_addr pthread, start_routine; /**< start_routine 0: the main thread */
};

/** Can the libthread_db of our own system be loaded? @return NULL, or HS_ERR_UNSUPPORTED. */
HS_MUST_CHECK struct hs_err *hs_thread_db_check(void);

/**
 * Load libthread_db from the directory of our own libc and point it at @p native's target.
 * @return NULL, or HS_ERR_UNSUPPORTED with the reason: no library, another glibc version, a
 * program without glibc, a host program with a proc_service of its own (gdb).
 */
HS_MUST_CHECK struct hs_err *hs_thread_db_open(struct hs_native *native, struct hs_thread_db **ret);
void hs_thread_db_close(struct hs_thread_db *db);
void hs_thread_db_closep(struct hs_thread_db **db);

/**
 * All threads it can find, in its order, in the snapshot's arena. The lists of a live target may
 * change under it: then what was found so far is returned, as *threads_ret with an error.
 */
HS_MUST_CHECK struct hs_err *hs_thread_db_threads(struct hs_thread_db *db,
                                                  const struct hs_td_thread **threads_ret,
                                                  size_t *count_ret);

/**
 * Address of a thread-local variable: @p offset in the TLS block of the module whose link map is
 * at @p link_map. @return NULL, HS_ERR_ABSENT (not allocated for this thread yet), or
 * HS_ERR_UNSUPPORTED.
 */
HS_MUST_CHECK struct hs_err *hs_thread_db_tls(struct hs_thread_db *db, hs_addr pthread,
                                              hs_addr link_map, uint64_t offset, hs_addr *ret);

#endif // HS_THREAD_DB_H
