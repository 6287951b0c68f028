// SPDX-License-Identifier: Apache-2.0
/** @file Names of variables: what lies at an address in the data of a module. */
#ifndef HS_DATA_SYMBOLS_H
#define HS_DATA_SYMBOLS_H

#include "core/native/native.h"

/** A place inside a variable. */
struct hs_data_symbol {
	const char *name; /**< demangled; in the snapshot's arena */
	uint64_t offset;  /**< of the address, from the start of the variable */
	const struct hs_module *module;
};

/**
 * The variable that covers @p addr, zero-initialized ones (.bss) too. A scan of one symbol table:
 * for the few locks that threads wait for, not for hot paths.
 * @return NULL, or HS_ERR_ABSENT, HS_ERR_OOM.
 */
HS_MUST_CHECK struct hs_err *hs_native_data_symbol(struct hs_native *native, hs_addr addr,
                                                   struct hs_data_symbol *ret);

/** "lock_a in deadlock", "table+0x28 in libfoo.so", "in libfoo.so"; NULL: in no module. */
const char *hs_native_data_name(struct hs_native *native, hs_addr addr);

/** File name of a module, without the directory. Borrowed from its path. */
const char *hs_module_base_name(const struct hs_module *module);

#endif // HS_DATA_SYMBOLS_H
