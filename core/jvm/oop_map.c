// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Oop maps: where a stub has saved the registers of the compiled code that called it. C1 keeps
 * values in registers while its stubs wait for a monitor or a safepoint; only the stub's map tells
 * where they are. 9 and later (ImmutableOopMapSet); 8 keeps its maps in another form.
 */

#include "core/jvm/java_frames.h"

enum {
	MAX_MAPS = 4096,      /**< of one blob */
	MAX_VALUES = 512,     /**< of one map */
	MAX_VALUE_BYTES = 10, /**< two numbers */
	SLOT_BYTES = 4,       /**< VMRegImpl::stack_slot_size */
};

/** How a value is coded (oopMap.hpp); published. */
struct coding {
	int64_t type_bits, register_shift, callee_saved, derived;
	uint64_t stack0; /**< number of the first stack slot, after all registers */
};

static struct hs_err *read_coding(struct hs_jvm *jvm, struct coding *ret)
{
	const struct hs_vmstructs *vm = jvm->vm;

	if (!hs_layout_has(&jvm->layout, HS_F_vm_reg_stack0) ||
	    !hs_vmstructs_constant(vm, "OopMapValue::type_bits", &ret->type_bits) ||
	    !hs_vmstructs_constant(vm, "OopMapValue::register_shift", &ret->register_shift) ||
	    !hs_vmstructs_constant(vm, "OopMapValue::callee_saved_value", &ret->callee_saved) ||
	    !hs_vmstructs_constant(vm, "OopMapValue::derived_oop_value", &ret->derived) ||
	    ret->type_bits < 1 || ret->type_bits > 16 || ret->register_shift < 1 ||
	    ret->register_shift > 16)
		return hs_err_absent();
	return hs_target_read_u64(jvm->target, hs_layout_static(&jvm->layout, HS_F_vm_reg_stack0),
	                          &ret->stack0);
}

static struct hs_err *read_int(struct hs_jvm *jvm, hs_addr base, enum hs_field field, uint32_t *ret)
{
	if (!hs_layout_has(&jvm->layout, field))
		return hs_err_absent();
	return hs_target_read_u32(jvm->target, base + hs_layout_offset(&jvm->layout, field), ret);
}

/** The map for the return address at @p offset from the first instruction. */
static struct hs_err *find_map(struct hs_jvm *jvm, hs_addr set, uint64_t offset, hs_addr *ret)
{
	const uint64_t *sizes = jvm->layout.sizes;
	uint32_t count = 0, pc_offset = 0, map_offset = 0;
	struct hs_err *err = read_int(jvm, set, HS_F_oop_map_set_count, &count);

	if (err)
		return err;
	if (!sizes[HS_T_oop_map_set] || !sizes[HS_T_oop_map_pair] || count > MAX_MAPS)
		return hs_err_absent();
	hs_addr pairs = set + sizes[HS_T_oop_map_set];
	hs_addr data = pairs + count * sizes[HS_T_oop_map_pair];
	for (uint32_t i = 0; i < count; i++) {
		hs_addr pair = pairs + i * sizes[HS_T_oop_map_pair];

		err = read_int(jvm, pair, HS_F_oop_map_pair_pc_offset, &pc_offset);
		if (!err && pc_offset == offset)
			err = read_int(jvm, pair, HS_F_oop_map_pair_map_offset, &map_offset);
		if (err)
			return err;
		if (pc_offset == offset) {
			*ret = data + map_offset;
			return NULL;
		}
	}
	return hs_err_absent();
}

static void decode_map(const struct coding *coding, struct hs_u5 *in, uint32_t count,
                       const struct hs_frame *stub, uint64_t frame_size,
                       struct hs_saved_registers *ret)
{
	for (uint32_t i = 0; i < count && !in->failed; i++) {
		uint32_t value = hs_u5_next(in);
		uint32_t type = value & ((1U << coding->type_bits) - 1);
		uint64_t slot = (value >> coding->register_shift) - coding->stack0;
		bool is_saved = type == coding->callee_saved;
		uint32_t content = is_saved || type == coding->derived ? hs_u5_next(in) : 0;

		if (in->failed || !is_saved || slot >= frame_size / SLOT_BYTES ||
		    ret->count >= HS_MAX_SAVED_REGISTERS)
			continue;
		ret->items[ret->count++] =
			(struct hs_saved_register){content, stub->sp + slot * SLOT_BYTES};
	}
}

static struct hs_err *read_map(struct hs_jvm *jvm, const struct hs_blob *blob,
                               const struct hs_frame *stub, struct hs_saved_registers *ret)
{
	struct coding coding;
	uint32_t count = 0;
	hs_addr set = 0, map = 0;
	struct hs_err *err = read_coding(jvm, &coding);

	if (!err && (!hs_layout_has(&jvm->layout, HS_F_blob_oop_maps) ||
	             !hs_layout_has(&jvm->layout, HS_F_oop_map_set_count) ||
	             !jvm->layout.sizes[HS_T_oop_map]))
		err = hs_err_absent();
	if (!err)
		err = hs_target_read_u64(
			jvm->target,
			blob->addr + hs_layout_offset(&jvm->layout, HS_F_blob_oop_maps), &set);
	if (!err && !set)
		err = hs_err_absent();
	if (!err)
		err = find_map(jvm, set, stub->pc - blob->code_begin, &map);
	if (!err)
		err = read_int(jvm, map, HS_F_oop_map_count, &count);
	if (err)
		return err;
	if (count > MAX_VALUES)
		return hs_err_new(HS_ERR_BAD_DATA, "an oop map of %u values", count);
	uint8_t bytes[MAX_VALUES * MAX_VALUE_BYTES];
	size_t len = (size_t)count * MAX_VALUE_BYTES;
	hs_addr data = map + jvm->layout.sizes[HS_T_oop_map];
	err = hs_target_read(jvm->target, data, bytes, len);
	if (hs_err_catch(&err, HS_ERR_FAULT)) { // a core may end behind the map: most need less
		len /= 2;
		err = hs_target_read(jvm->target, data, bytes, len);
	}
	if (err)
		return err;
	struct hs_u5 in = {.data = bytes, .len = len, .bias = jvm->unsigned5_bias};
	decode_map(&coding, &in, count, stub, blob->frame_size, ret);
	return NULL;
}

struct hs_err *hs_saved_registers_read(struct hs_jvm *jvm, const struct hs_frame *stub,
                                       hs_addr caller_sp, struct hs_saved_registers *ret)
{
	const struct hs_blob *blob;

	ret->count = 0;
	struct hs_err *err = hs_code_cache_blob(jvm, stub->pc, &blob);
	if (!err && (blob->nmethod || stub->is_activation || !blob->frame_size ||
	             stub->sp + blob->frame_size != caller_sp))
		err = hs_err_absent();
	if (!err)
		err = read_map(jvm, blob, stub, ret);
	if (!err || hs_err_code(err) == HS_ERR_OOM)
		return err;
	hs_err_free(err); // then what was in registers is not known
	return NULL;
}
