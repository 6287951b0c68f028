// SPDX-License-Identifier: Apache-2.0
/** @file Frame locals: objects in slots of interpreted and compiled frames that were walked. */

#include <inttypes.h>

#include "core/jvm/java_frames.h"

/** VMReg is two per register, in the order of the instruction encoding (register_x86.hpp). */
static const enum hs_reg vm_regs[] = {
	HS_REG_RAX, HS_REG_RCX, HS_REG_RDX, HS_REG_RBX, HS_REG_SP,  HS_REG_FP,
	HS_REG_RSI, HS_REG_RDI, HS_REG_R8,  HS_REG_R9,  HS_REG_R10, HS_REG_R11,
	HS_REG_R12, HS_REG_R13, HS_REG_R14, HS_REG_R15,
};

static bool get_register(const struct hs_regs *regs, uint32_t vm_reg, bool is_activation,
                         uint64_t *ret)
{
	if (vm_reg % 2 || vm_reg / 2 >= sizeof(vm_regs) / sizeof(*vm_regs))
		return false;
	enum hs_reg reg = vm_regs[vm_reg / 2];
	// Calls save rbp only; the others hold their value nowhere but in an activation.
	if (!hs_regs_has(regs, reg) || (reg != HS_REG_FP && !is_activation))
		return false;
	*ret = regs->value[reg];
	return true;
}

struct hs_err *hs_scope_value_oop(struct hs_jvm *jvm, const struct hs_scope_value *value,
                                  const struct hs_regs *regs, bool is_activation, hs_addr *ret)
{
	struct hs_err *err;
	uint64_t word;

	switch (value->kind) {
	case HS_SCOPE_OOP:
		*ret = value->oop;
		return NULL;
	case HS_SCOPE_STACK:
		err = hs_target_read_u64(jvm->target, regs->value[HS_REG_SP] + value->where, &word);
		if (err)
			return err;
		break;
	case HS_SCOPE_REGISTER:
		if (!get_register(regs, value->where, is_activation, &word))
			return hs_err_absent();
		break;
	default:
		return hs_err_absent();
	}
	*ret = value->is_narrow ? hs_oop_decode_narrow(jvm, (uint32_t)word)
	                        : hs_stack_oop(jvm, word);
	return NULL;
}

struct hs_err *hs_frame_fp_put(struct hs_jvm *jvm, hs_addr sp, const struct hs_regs *regs)
{
	hs_addr fp = regs->value[HS_REG_FP];

	if (!hs_regs_has(regs, HS_REG_FP) || !fp)
		return NULL;
	// Stack pointers are unique in a process, whatever the thread.
	if (!hs_map64_put(&jvm->code_cache->frame_fps, sp, (void *)(uintptr_t)fp))
		return hs_err_oom();
	return NULL;
}

struct hs_err *hs_compiled_pc(struct hs_jvm *jvm, const struct hs_nmethod *nm, hs_addr pc,
                              hs_addr sp, hs_addr *ret)
{
	if (!hs_nmethod_is_deopt_pc(nm, pc)) {
		*ret = pc;
		return NULL;
	}
	return hs_target_read_u64(jvm->target, sp + (uint64_t)nm->orig_pc_offset, ret);
}

/** Distance to the innermost scope recorded for the same activation. */
static size_t scope_index(const struct hs_frame *frames, uint32_t frame)
{
	size_t index = 0;

	while (index < frame && frames[frame - index - 1].location->kind == HS_FRAME_INLINED &&
	       frames[frame - index - 1].sp == frames[frame].sp &&
	       frames[frame - index - 1].pc == frames[frame].pc)
		index++;
	return index;
}

static struct hs_err *compiled_local(struct hs_jvm *jvm, const struct hs_thread *thread,
                                     uint32_t index, unsigned slot, hs_addr *ret)
{
	struct hs_err *err;
	const struct hs_frame *frame = &thread->frames[index];
	const struct hs_code_site *site;
	struct hs_scope_value value;
	struct hs_regs regs = {0};
	hs_addr pc;

	err = hs_code_site_get(jvm, frame->pc, !frame->is_activation, &site);
	if (err)
		return err;
	if (!site->blob->nmethod)
		return hs_err_absent();
	err = hs_compiled_pc(jvm, site->blob->nmethod, frame->pc, frame->sp, &pc);
	if (err)
		return err;
	if (pc != frame->pc) {
		err = hs_code_site_get(jvm, pc, true, &site);
		if (err)
			return err;
	}
	size_t scope = scope_index(thread->frames, index);
	if (scope >= site->num_scopes || !site->blob->nmethod)
		return hs_err_absent();
	err = hs_scope_local(jvm, site->blob->nmethod, &site->scopes[scope], slot, &value);
	if (err)
		return err;
	hs_regs_set(&regs, HS_REG_SP, frame->sp);
	hs_addr fp = (hs_addr)(uintptr_t)hs_map64_get(&jvm->code_cache->frame_fps, frame->sp);
	if (fp)
		hs_regs_set(&regs, HS_REG_FP, fp);
	return hs_scope_value_oop(jvm, &value, &regs, false, ret);
}

static struct hs_err *interpreted_local(struct hs_jvm *jvm, const struct hs_frame *frame,
                                        unsigned slot, hs_addr *ret)
{
	struct hs_err *err;
	uint64_t word;
	hs_addr fp = (hs_addr)(uintptr_t)hs_map64_get(&jvm->code_cache->frame_fps, frame->sp);

	if (!fp)
		return hs_err_absent();
	err = hs_interpreter_local(jvm, fp, slot, &word);
	if (err)
		return err;
	*ret = hs_stack_oop(jvm, word);
	return NULL;
}

struct hs_err *hs_java_frame_local_oop(struct hs_jvm *jvm, uint32_t thread, uint32_t frame,
                                       unsigned slot, hs_addr *ret)
{
	struct hs_err *err;
	const struct hs_klass *klass;
	hs_addr oop;

	if (!jvm->code_cache || thread >= jvm->snapshot->threads.len)
		return hs_err_absent();
	const struct hs_thread *t = &jvm->snapshot->threads.items[thread];
	if (frame >= t->num_frames)
		return hs_err_absent();

	switch (t->frames[frame].location->kind) {
	case HS_FRAME_INTERPRETED:
		err = interpreted_local(jvm, &t->frames[frame], slot, &oop);
		break;
	case HS_FRAME_COMPILED:
	case HS_FRAME_INLINED:
		err = compiled_local(jvm, t, frame, slot, &oop);
		break;
	default:
		return hs_err_absent();
	}
	if (err)
		return err;
	// Without its oop map an interpreter slot may hold anything: only an object passes.
	err = oop && oop % 8 == 0 ? hs_oop_klass(jvm, oop, &klass) : hs_err_absent();
	if (hs_err_catch(&err, HS_ERR_BAD_DATA) || hs_err_catch(&err, HS_ERR_FAULT))
		return hs_err_absent();
	if (err)
		return err;
	*ret = oop;
	return NULL;
}
