// SPDX-License-Identifier: Apache-2.0
/** @file The target's address type, and overflow-checked sums on it. */
#ifndef HS_ADDR_H
#define HS_ADDR_H

#include <stdbool.h>
#include <stdint.h>

/** Address in the target. Never cast to or from a host pointer. 0 is "none". */
typedef uint64_t hs_addr;

/** True when [addr, addr + len) wraps around the address space. */
static inline bool hs_addr_wraps(hs_addr addr, uint64_t len)
{
	return len && addr + (len - 1) < addr;
}

/** True when @p addr lies in [start, end). */
static inline bool hs_addr_in(hs_addr addr, hs_addr start, hs_addr end)
{
	return addr >= start && addr < end;
}

#endif // HS_ADDR_H
