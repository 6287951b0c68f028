// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Unwind rows: what the call-frame information says at one pc, decoded once into a few bytes.
 * Threads of one program stop at few distinct places, so nearly every step is a look-up.
 */

#include <dwarf.h>
#include <elfutils/libdw.h>

#include "core/base/cleanup.h"
#include "core/native/native_internal.h"

/** DWARF numbers of the registers with a rule of their own; the return address is the last. */
static const uint8_t ROW_REGS[HS_ROW_REGS] = {
	HS_REG_RBX, HS_REG_FP, HS_REG_R12, HS_REG_R13, HS_REG_R14, HS_REG_R15, HS_REG_PC,
};

/** The others, the stack pointer left out: it is the CFA. */
static const uint8_t OTHER_REGS[] = {
	HS_REG_RAX, HS_REG_RDX, HS_REG_RCX, HS_REG_RSI, HS_REG_RDI,
	HS_REG_R8,  HS_REG_R9,  HS_REG_R10, HS_REG_R11,
};

static bool to_offset(Dwarf_Word number, int32_t *ret)
{
	int64_t value = (int64_t)number;

	*ret = (int32_t)value;
	return *ret == value;
}

static bool is_known_reg(Dwarf_Word number)
{
	return number < HS_REG_COUNT;
}

/** CFA = register + offset? */
static bool decode_cfa(Dwarf_Frame *frame, struct hs_row *row)
{
	Dwarf_Op *ops;
	size_t num_ops;
	Dwarf_Word reg;
	bool fits;

	if (dwarf_frame_cfa(frame, &ops, &num_ops) != 0 || num_ops != 1)
		return false;
	if (ops[0].atom == DW_OP_bregx) {
		reg = ops[0].number;
		fits = to_offset(ops[0].number2, &row->cfa_offset);
	} else if (ops[0].atom >= DW_OP_breg0 && ops[0].atom <= DW_OP_breg31) {
		reg = (Dwarf_Word)(ops[0].atom - DW_OP_breg0);
		fits = to_offset(ops[0].number, &row->cfa_offset);
	} else {
		return false;
	}
	row->cfa_reg = (uint8_t)reg;
	return fits && is_known_reg(reg);
}

/** The rule of register @p reg. @return false when it is an expression. */
static bool decode_rule(Dwarf_Frame *frame, int reg, uint8_t *rule_ret, int32_t *offset_ret)
{
	Dwarf_Op memory[3], *ops;
	size_t num_ops;

	*offset_ret = 0;
	*rule_ret = HS_RULE_UNDEFINED;
	// As handle_cfi() of libdwfl/frame_unwind.c: a rule that cannot be decoded is "unknown".
	if (dwarf_frame_register(frame, reg, memory, &ops, &num_ops) != 0)
		return true;
	if (num_ops == 0) {
		// dwarf_frame_register.c: no ops and ops == memory is undefined, NULL same value.
		if (ops == NULL)
			*rule_ret = HS_RULE_SAME;
		return true;
	}
	if (ops[0].atom == DW_OP_regx && num_ops == 1) {
		*rule_ret = HS_RULE_REGISTER;
		return is_known_reg(ops[0].number) && to_offset(ops[0].number, offset_ret);
	}
	// Saved at (or equal to) CFA + n: call_frame_cfa [plus_uconst n] [stack_value].
	if (ops[0].atom != DW_OP_call_frame_cfa)
		return false;
	size_t i = 1;
	if (i < num_ops && ops[i].atom == DW_OP_plus_uconst &&
	    !to_offset(ops[i++].number, offset_ret))
		return false;
	*rule_ret = HS_RULE_AT_CFA;
	if (i < num_ops && ops[i].atom == DW_OP_stack_value) {
		*rule_ret = HS_RULE_IS_CFA;
		i++;
	}
	return i == num_ops;
}

static enum hs_row_kind decode_frame(Dwarf_Frame *frame, struct hs_row *row)
{
	Dwarf_Addr start, end;
	bool is_signal;
	uint8_t rule;
	int32_t offset;

	// Returns the number of the return address register; all of x86_64 uses 16.
	int ra_reg = dwarf_frame_info(frame, &start, &end, &is_signal);
	row->is_signal = is_signal;
	if (ra_reg != HS_REG_PC || !decode_cfa(frame, row))
		return HS_ROW_COMPLEX;
	for (size_t i = 0; i < HS_ROW_REGS; i++) {
		if (!decode_rule(frame, ROW_REGS[i], &row->rule[i], &row->offset[i]))
			return HS_ROW_COMPLEX;
	}
	for (size_t i = 0; i < sizeof(OTHER_REGS); i++) {
		if (!decode_rule(frame, OTHER_REGS[i], &rule, &offset))
			return HS_ROW_COMPLEX;
		if (rule == HS_RULE_SAME)
			row->same |= (uint16_t)(1U << OTHER_REGS[i]);
		else if (rule != HS_RULE_UNDEFINED)
			return HS_ROW_COMPLEX;
	}
	// The caller's stack pointer is the CFA, unless the code says otherwise (a stack switch).
	if (!decode_rule(frame, HS_REG_SP, &rule, &offset) || rule != HS_RULE_IS_CFA || offset != 0)
		return HS_ROW_COMPLEX;
	return HS_ROW_PLAIN;
}

static Dwarf_CFI *module_eh_frame(struct hs_native_module *module)
{
	if (!module->eh_looked) {
		module->eh_looked = true;
		module->eh_frame = dwfl_module_eh_cfi(module->dwfl, &module->eh_bias);
	}
	return module->eh_frame;
}

static Dwarf_CFI *module_debug_frame(struct hs_native_module *module)
{
	if (!module->debug_looked) {
		module->debug_looked = true;
		module->debug_frame = dwfl_module_dwarf_cfi(module->dwfl, &module->debug_bias);
	}
	return module->debug_frame;
}

static struct hs_err *build_row(struct hs_native *native, hs_addr lookup_pc, struct hs_row *row)
{
	struct hs_native_module *module = hs_native_module_at(native, lookup_pc);
	hs_cleanup(hs_freep) Dwarf_Frame *frame = NULL;
	struct hs_err *err;

	row->kind = HS_ROW_NONE;
	if (!module)
		return NULL;
	err = hs_native_module_open(native, module);
	if (err || !module->elf)
		return err;
	Dwarf_CFI *cfi = module_eh_frame(module);
	if (cfi && dwarf_cfi_addrframe(cfi, lookup_pc - module->eh_bias, &frame) != 0)
		frame = NULL;
	if (!frame) {
		cfi = module_debug_frame(module);
		if (cfi && dwarf_cfi_addrframe(cfi, lookup_pc - module->debug_bias, &frame) != 0)
			frame = NULL;
	}
	if (frame)
		row->kind = decode_frame(frame, row);
	return NULL;
}

const struct hs_row *hs_native_row(struct hs_native *native, hs_addr lookup_pc)
{
	struct hs_row *row = hs_map64_get(&native->rows, lookup_pc);

	if (row)
		return row;
	row = hs_arena_alloc(native->arena, sizeof(*row));
	if (!row)
		return NULL;
	struct hs_err *err = build_row(native, lookup_pc, row);
	if (err) {
		hs_err_free(err);
		return NULL;
	}
	return hs_map64_put(&native->rows, lookup_pc, row) ? row : NULL;
}

/** Value of ROW_REGS[i] in the caller. @return false when it is not known. */
static bool apply_rule(const struct hs_row *row, size_t i, struct hs_target *target,
                       const struct hs_regs *regs, hs_addr cfa, uint64_t *ret)
{
	enum hs_reg source = ROW_REGS[i];
	struct hs_err *err;

	switch ((enum hs_rule)row->rule[i]) {
	case HS_RULE_UNDEFINED:
		return false;
	case HS_RULE_REGISTER:
		source = (enum hs_reg)row->offset[i];
		__attribute__((__fallthrough__));
	case HS_RULE_SAME:
		*ret = regs->value[source];
		return hs_regs_has(regs, source);
	case HS_RULE_IS_CFA:
		*ret = cfa + (uint64_t)(int64_t)row->offset[i];
		return true;
	case HS_RULE_AT_CFA:
		err = hs_target_read_u64(target, cfa + (uint64_t)(int64_t)row->offset[i], ret);
		if (!err)
			return true;
		hs_err_free(err);
		return false;
	}
	return false;
}

struct hs_err *hs_row_apply(const struct hs_row *row, struct hs_target *target,
                            struct hs_regs *regs, bool *at_end_ret)
{
	struct hs_regs caller = {.valid = regs->valid & row->same};

	if (!hs_regs_has(regs, (enum hs_reg)row->cfa_reg))
		return hs_err_new(HS_ERR_BAD_DATA,
		                  "the frame is found by a register whose value is not known");
	hs_addr cfa = regs->value[row->cfa_reg] + (uint64_t)(int64_t)row->cfa_offset;

	for (size_t i = 0; i < sizeof(OTHER_REGS); i++)
		caller.value[OTHER_REGS[i]] = regs->value[OTHER_REGS[i]];
	for (size_t i = 0; i < HS_ROW_REGS; i++) {
		uint64_t value;

		if (apply_rule(row, i, target, regs, cfa, &value))
			hs_regs_set(&caller, (enum hs_reg)ROW_REGS[i], value);
	}
	hs_regs_set(&caller, HS_REG_SP, cfa);

	if (hs_regs_has(&caller, HS_REG_PC)) {
		*at_end_ret = caller.value[HS_REG_PC] == 0;
		// The return address is the word below the CFA (psABI 3.2.2).
		struct hs_err *err =
			*at_end_ret ? hs_target_check_stack(target, cfa - sizeof(uint64_t)) : NULL;
		if (err)
			return err;
	} else if (row->rule[HS_ROW_REGS - 1] == HS_RULE_UNDEFINED) {
		// _start and clone3 mark themselves as outermost with an undefined return address.
		*at_end_ret = true;
	} else {
		return hs_err_new(HS_ERR_FAULT, "the return address cannot be read");
	}
	*regs = caller;
	return NULL;
}
