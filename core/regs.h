// SPDX-License-Identifier: Apache-2.0
/** @file The registers of one activation, in DWARF order (x86_64 psABI, figure 3.36). */
#ifndef HS_REGS_H
#define HS_REGS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/addr.h"

enum hs_reg {
	HS_REG_RAX = 0,
	HS_REG_RDX = 1,
	HS_REG_RCX = 2,
	HS_REG_RBX = 3,
	HS_REG_RSI = 4,
	HS_REG_RDI = 5,
	HS_REG_FP = 6, /**< rbp */
	HS_REG_SP = 7, /**< rsp */
	HS_REG_R8 = 8,
	HS_REG_R9 = 9,
	HS_REG_R10 = 10,
	HS_REG_R11 = 11,
	HS_REG_R12 = 12,
	HS_REG_R13 = 13,
	HS_REG_R14 = 14,
	HS_REG_R15 = 15,
	HS_REG_PC = 16, /**< rip, or the return address */
	HS_REG_COUNT = 17,
};

/** Values with a bit each in @c valid; an invalid one is unknown, not zero. */
struct hs_regs {
	uint64_t value[HS_REG_COUNT];
	uint32_t valid;
};

static inline bool hs_regs_has(const struct hs_regs *regs, enum hs_reg reg)
{
	return regs->valid >> reg & 1;
}

static inline void hs_regs_set(struct hs_regs *regs, enum hs_reg reg, uint64_t value)
{
	regs->value[reg] = value;
	regs->valid |= UINT32_C(1) << reg;
}

#endif // HS_REGS_H
