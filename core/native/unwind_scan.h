// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Code without unwind information: how to prove, from the code and memory of the target, which
 * function called into it. Used for musl, whose functions have none.
 */
#ifndef HS_UNWIND_SCAN_H
#define HS_UNWIND_SCAN_H

#include "core/native/native_internal.h"

enum {
	HS_CALL_BYTES = 7, /**< the longest call instruction without a prefix that matters */
};

enum hs_call_kind {
	HS_CALL_NONE,     /**< no call instruction ends there */
	HS_CALL_DIRECT,   /**< call rel32: the target is in the code */
	HS_CALL_SLOT,     /**< call *slot(%rip): the target is in a word of memory */
	HS_CALL_INDIRECT, /**< through a register, or a word found by one */
};

/**
 * Which call instruction ends just before the return address @p pc?
 * @param code The HS_CALL_BYTES bytes before pc.
 * @param[out] ret Target, or the address of its slot; untouched where neither is known.
 */
enum hs_call_kind hs_call_before(const uint8_t *code, hs_addr pc, hs_addr *ret);

/** Functions by their frame description entries (FDE), which stripped files have, too. */
struct hs_function_range {
	hs_addr start, end; /**< runtime; end == start: only the start is known */
};

/** Where does the function at @p addr begin and end? @return false when that is not known. */
bool hs_native_function_range(struct hs_native *native, hs_addr addr,
                              struct hs_function_range *ret);

/**
 * The caller of a function without unwind information, in a thread of musl, found by a search of
 * the stack and proved: see unwind_scan.c.
 * @param callee An address in the function that it has called, 0 when it has called none.
 * @return true, and the caller's pc and sp (rbp only where proved) or *at_end_ret; false, and
 *         nothing changed, where nothing or more than one thing can be proved.
 */
bool hs_native_step_by_scan(struct hs_native *native, const struct hs_cursor *cursor,
                            hs_addr callee, struct hs_regs *regs, bool *at_end_ret);

/**
 * The function that the code before the return address @p pc calls in the file of @p inner, where
 * it has no unwind information: through the procedure linkage table, and through a function that
 * ends in a jump to it.
 * @return its address; 0 when there is none, or it is not the only one possible.
 */
hs_addr hs_native_called_function(struct hs_native *native, hs_addr pc, hs_addr inner);

#endif // HS_UNWIND_SCAN_H
