// SPDX-License-Identifier: Apache-2.0
/** @file Frame locals: what is in the slots of interpreted and compiled frames that were walked. */

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

	if (value->kind == HS_SCOPE_OOP && value->oop) {
		*ret = value->oop;
		return NULL;
	}
	if (value->content != HS_CONTENT_OOP && value->content != HS_CONTENT_NARROW_OOP)
		return hs_err_absent();
	switch (value->kind) {
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
	*ret = value->content == HS_CONTENT_NARROW_OOP ? hs_oop_decode_narrow(jvm, (uint32_t)word)
	                                               : hs_stack_oop(jvm, word);
	return NULL;
}

struct hs_err *hs_wrapper_monitor(struct hs_jvm *jvm, const struct hs_nmethod *nm,
                                  const struct hs_method *method, hs_addr sp, hs_addr *ret)
{
	struct hs_err *err;
	const struct hs_klass *klass;
	uint64_t word;

	if (method->is_static)
		return hs_klass_mirror(jvm, method->holder, ret);
	for (size_t i = 0; i < HS_NMETHOD_RECEIVERS; i++) {
		if (nm->receivers[i] < 0)
			continue;
		err = hs_target_read_u64(jvm->target, sp + (uint64_t)nm->receivers[i], &word);
		if (err)
			return err;
		hs_addr object = hs_stack_oop(jvm, word);
		if (!object || object % 8)
			continue;
		err = hs_oop_klass(jvm, object, &klass);
		if (err && hs_err_code(err) == HS_ERR_OOM)
			return err;
		bool is_receiver = !err && hs_klass_is_a(jvm, klass, method->holder->name);
		hs_err_free(err); // no object: the other guess
		if (is_receiver) {
			*ret = object;
			return NULL;
		}
	}
	return hs_err_absent();
}

struct hs_err *hs_frame_fp_put(struct hs_jvm *jvm, hs_addr sp, const struct hs_regs *regs)
{
	hs_addr fp = regs->value[HS_REG_FP];

	// In a stack chunk the value may be encoded, and there may be 100,000 of them.
	if (!hs_regs_has(regs, HS_REG_FP) || !fp || jvm->in_chunk)
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

/** A compiled frame's debug information, and where its values are. */
struct compiled_frame {
	const struct hs_code_site *site;
	const struct hs_scope *scope;
	struct hs_regs regs;
};

static struct hs_err *find_compiled(struct hs_jvm *jvm, const struct hs_thread *thread,
                                    uint32_t index, struct compiled_frame *ret)
{
	struct hs_err *err;
	const struct hs_frame *frame = &thread->frames[index];
	const struct hs_code_site *site;
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
	*ret = (struct compiled_frame){.site = site, .scope = &site->scopes[scope]};
	hs_regs_set(&ret->regs, HS_REG_SP, frame->sp);
	hs_addr fp = (hs_addr)(uintptr_t)hs_map64_get(&jvm->code_cache->frame_fps, frame->sp);
	if (fp)
		hs_regs_set(&ret->regs, HS_REG_FP, fp);
	return NULL;
}

static struct hs_err *compiled_local(struct hs_jvm *jvm, const struct hs_thread *thread,
                                     uint32_t index, unsigned slot, hs_addr *ret)
{
	struct hs_err *err;
	struct compiled_frame frame;
	struct hs_scope_value value;

	err = find_compiled(jvm, thread, index, &frame);
	if (!err)
		err = hs_scope_local(jvm, frame.site->blob->nmethod, frame.scope, slot, &value);
	return err ? err : hs_scope_value_oop(jvm, &value, &frame.regs, false, ret);
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
	if (frame >= t->num_frames || t->frames[frame].in_chunk)
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

// ---- all slots

/** Where a register was saved; 0: nowhere. */
static hs_addr saved_at(const struct hs_saved_registers *saved, uint32_t vm_reg)
{
	for (size_t i = 0; i < saved->count; i++) {
		if (saved->items[i].vm_reg == vm_reg)
			return saved->items[i].addr;
	}
	return 0;
}

/** Word that a compiled frame keeps on its stack or in a register. HS_ERR_ABSENT: nobody saved it.
 */
static struct hs_err *read_word(struct hs_jvm *jvm, const struct hs_scope_value *value,
                                const struct hs_regs *regs, const struct hs_saved_registers *saved,
                                uint64_t *ret)
{
	struct hs_err *err;
	hs_addr addr = regs->value[HS_REG_SP] + value->where;
	uint32_t half;

	if (value->kind == HS_SCOPE_REGISTER) {
		if (get_register(regs, value->where, false, ret))
			return NULL;
		addr = saved_at(saved, value->where);
		if (!addr)
			return hs_err_absent();
	}
	if (value->content != HS_CONTENT_INT && value->content != HS_CONTENT_NARROW_OOP)
		return hs_target_read_u64(jvm->target, addr, ret);
	err = hs_target_read_u32(jvm->target, addr, &half);
	if (!err)
		*ret = half;
	return err;
}

static struct hs_slot typed_slot(const struct hs_jvm *jvm, enum hs_scope_content content,
                                 uint64_t word)
{
	switch (content) {
	case HS_CONTENT_OOP:
		return (struct hs_slot){HS_SLOT_OOP, hs_stack_oop(jvm, word)};
	case HS_CONTENT_NARROW_OOP:
		return (struct hs_slot){HS_SLOT_OOP, hs_oop_decode_narrow(jvm, (uint32_t)word)};
	case HS_CONTENT_INT:
		return (struct hs_slot){HS_SLOT_INT, (uint32_t)word};
	case HS_CONTENT_LONG:
		return (struct hs_slot){HS_SLOT_LONG, word};
	case HS_CONTENT_FLOAT_IN_DOUBLE: // in registers of floats only, which no call saves
	case HS_CONTENT_OTHER:
		break;
	}
	return (struct hs_slot){.kind = HS_SLOT_UNKNOWN};
}

static struct hs_err *compiled_slot(struct hs_jvm *jvm, const struct hs_scope_value *value,
                                    const struct hs_regs *regs,
                                    const struct hs_saved_registers *saved, struct hs_slot *ret)
{
	struct hs_err *err;
	uint64_t word = 0;

	*ret = (struct hs_slot){.kind = HS_SLOT_UNKNOWN};
	switch (value->kind) {
	case HS_SCOPE_OTHER:
		return NULL;
	case HS_SCOPE_DEAD:
		ret->kind = HS_SLOT_DEAD;
		return NULL;
	case HS_SCOPE_OOP:
		*ret = (struct hs_slot){HS_SLOT_OOP, value->oop};
		return NULL;
	case HS_SCOPE_INT:
		*ret = (struct hs_slot){HS_SLOT_INT, value->constant};
		return NULL;
	case HS_SCOPE_LONG:
		*ret = (struct hs_slot){HS_SLOT_LONG, value->constant};
		return NULL;
	case HS_SCOPE_SCALAR:
		*ret = (struct hs_slot){HS_SLOT_SCALAR, value->oop};
		return NULL;
	case HS_SCOPE_STACK:
	case HS_SCOPE_REGISTER:
		break;
	}
	err = read_word(jvm, value, regs, saved, &word);
	if (hs_err_catch(&err, HS_ERR_ABSENT))
		return NULL;
	if (!err)
		*ret = typed_slot(jvm, value->content, word);
	return err;
}

/** Registers that the stub below the frame's activation has saved. */
static struct hs_err *read_saved(struct hs_jvm *jvm, const struct hs_thread *thread, uint32_t index,
                                 struct hs_saved_registers *ret)
{
	uint32_t first = index - (uint32_t)scope_index(thread->frames, index);

	ret->count = 0;
	if (!first || thread->frames[first - 1].location->kind != HS_FRAME_STUB)
		return NULL;
	return hs_saved_registers_read(jvm, &thread->frames[first - 1], thread->frames[first].sp,
	                               ret);
}

static struct hs_err *compiled_slots(struct hs_jvm *jvm, const struct hs_thread *thread,
                                     uint32_t index, struct hs_frame_slots *ret)
{
	struct hs_err *err;
	struct compiled_frame frame;
	size_t count;

	// The debug information describes calls and polls: between them a register may already
	// hold something else.
	if (thread->frames[index].is_activation)
		return hs_err_absent();
	err = find_compiled(jvm, thread, index, &frame);
	if (err)
		return err;
	err = read_saved(jvm, thread, index, &ret->saved);
	if (err)
		return err;
	err = hs_scope_locals(jvm, frame.site, frame.scope, ret->values, HS_MAX_LOCALS + 1, &count);
	if (err)
		return err;
	ret->method = frame.scope->method;
	ret->is_cut = count > HS_MAX_LOCALS;
	ret->count = ret->is_cut ? (size_t)HS_MAX_LOCALS : count;
	for (size_t i = 0; i < ret->count; i++) {
		err = compiled_slot(jvm, &ret->values[i], &frame.regs, &ret->saved, &ret->items[i]);
		if (err)
			return err;
	}
	return NULL;
}

static struct hs_err *interpreted_slots(struct hs_jvm *jvm, const struct hs_frame *frame,
                                        struct hs_frame_slots *ret)
{
	struct hs_err *err;
	const struct hs_variable_table *table;
	uint64_t words[HS_MAX_LOCALS];
	hs_addr fp = (hs_addr)(uintptr_t)hs_map64_get(&jvm->code_cache->frame_fps, frame->sp);

	if (!fp)
		return hs_err_absent();
	err = hs_interpreter_method(jvm, fp, &ret->method);
	if (!err)
		err = hs_method_variables(jvm, ret->method, &table);
	if (err)
		return err;
	ret->is_interpreted = true;
	ret->is_cut = table->max_locals > HS_MAX_LOCALS;
	ret->count = ret->is_cut ? (size_t)HS_MAX_LOCALS : table->max_locals;
	if (!ret->count)
		return NULL;
	err = hs_interpreter_locals(jvm, fp, words, ret->count);
	if (err)
		return err;
	for (size_t i = 0; i < ret->count; i++)
		ret->items[i] = (struct hs_slot){HS_SLOT_WORD, words[i]};
	return NULL;
}

struct hs_err *hs_frame_slots_read(struct hs_jvm *jvm, const struct hs_thread *thread,
                                   uint32_t frame, struct hs_frame_slots *ret)
{
	// In a stack chunk objects may be encoded as in fields.
	if (!jvm->code_cache || frame >= thread->num_frames || thread->frames[frame].in_chunk)
		return hs_err_absent();
	// In a stack chunk of a virtual thread oops may be encoded, and interpreter frames lead
	// elsewhere.
	if (!hs_jthread_by_stack(jvm, thread->frames[frame].sp))
		return hs_err_absent();
	ret->count = 0;
	ret->is_interpreted = ret->is_cut = false;
	switch (thread->frames[frame].location->kind) {
	case HS_FRAME_INTERPRETED:
		return interpreted_slots(jvm, &thread->frames[frame], ret);
	case HS_FRAME_COMPILED:
	case HS_FRAME_INLINED:
		return compiled_slots(jvm, thread, frame, ret);
	default:
		return hs_err_absent();
	}
}
