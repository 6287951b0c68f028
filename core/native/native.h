// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Native: what kernel and libc know. Unwinding and names of native code (libdwfl over our own
 * readers), threads and their system calls, pthread objects. Includes nothing of jvm/.
 */
#ifndef HS_NATIVE_H
#define HS_NATIVE_H

#include <limits.h>

#include "core/snapshot.h"
#include "core/stepper.h"
#include "core/target.h"

struct hs_native;

struct hs_native_options {
	const char *debug_dir; /**< separate debug files; NULL: the system's */
	bool use_libunwind;    /**< live only: libunwind-ptrace instead of libdwfl */
};

/** Open the unwinder and the symbol index. Cheap: modules are opened when a pc needs them. */
HS_MUST_CHECK struct hs_err *hs_native_open(struct hs_target *target, struct hs_snapshot *snapshot,
                                            const struct hs_native_options *options,
                                            struct hs_native **ret);
void hs_native_close(struct hs_native *native);
void hs_native_closep(struct hs_native **native);

/** Version of libunwind ("1.6"), NULL when this program has none. */
const char *hs_native_libunwind(void);

/** Owns every pc that lies in no other stepper: it must be asked last. */
const struct hs_stepper *hs_native_stepper(struct hs_native *native);

/**
 * Name of the function at @p addr ("JavaMain"), NULL when unknown. Interned in the snapshot's
 * arena. *offset_ret and *module_ret may be NULL.
 */
const char *hs_native_symbol(struct hs_native *native, hs_addr addr, uint64_t *offset_ret,
                             const struct hs_module **module_ret);

/** Address of an ELF symbol by name in a module (dynamic or static table). HS_ERR_ABSENT. */
HS_MUST_CHECK struct hs_err *hs_native_lookup(struct hs_native *native,
                                              const struct hs_module *module, const char *name,
                                              hs_addr *ret);

/** Add one thread per LWP to the snapshot: name, state, decoded system call, CPU time, pthread_t
 * and start routine (libthread_db, or the target libc's _thread_db_* descriptors). */
HS_MUST_CHECK struct hs_err *hs_native_collect_threads(struct hs_native *native);

/** After the stack walk: futex waits decoded to pthread mutexes, rwlocks, conditions, joins,
 * semaphores, with owners; other futex waits as plain futexes; blocking descriptors. */
HS_MUST_CHECK struct hs_err *hs_native_collect_locks(struct hs_native *native);

/**
 * Open the separate debug file that the analysis would use for @p module.
 * @param debug_dir As in hs_native_options. @param[out] path Where it was found.
 * @return A new descriptor, or -1: none, or of another build.
 */
int hs_native_open_debug_file(const struct hs_target *target, const struct hs_module *module,
                              const char *debug_dir, char path[static PATH_MAX]);

/**
 * Has a module a symbol table: its own, that of .gnu_debugdata, or that of its separate debug file?
 * Unknown when its file is not open.
 */
enum hs_tristate hs_native_has_symbols(const struct hs_target *target,
                                       const struct hs_module *module, const char *debug_dir);

#endif // HS_NATIVE_H
