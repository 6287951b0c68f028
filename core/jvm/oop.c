// SPDX-License-Identifier: Apache-2.0
/** @file Objects: where they are, of which class, and what is in their fields. */

#include <string.h>

#include "core/jvm/jvm_internal.h"

enum {
	// Lock bits of a mark word, the same 8..28 (markOop.hpp, markWord.hpp): forwarded by a GC.
	// Bit 2 is set when an object is forwarded to itself (24+), and clear in a pointer.
	MARK_FORWARD_MASK = 7,
	MARK_FORWARDED = 3,
};

// ---- addresses

hs_addr hs_oop_decode_narrow(const struct hs_jvm *jvm, uint32_t narrow)
{
	if (!narrow)
		return 0;
	return jvm->narrow_oop_base + ((uint64_t)narrow << jvm->narrow_oop_shift);
}

hs_addr hs_oop_uncolor(const struct hs_jvm *jvm, uint64_t oop)
{
	if (!oop || !jvm->use_zgc)
		return oop;
	if (jvm->z_load_shift) {
		// Generational, x86: bits 12..15 of each pointer hold one remap bit, and it says by
		// how much this pointer is shifted (zAddress.inline.hpp 21+): the current load
		// shift is wrong for a pointer that was stored before the last cycle.
		unsigned remap = oop >> 12 & 0xf;

		if (__builtin_popcount(remap) == 1)
			return oop >> (13 + __builtin_ctz(remap));
		return oop >> 16 ? oop >> jvm->z_load_shift : 0;
	}
	// Single generation: the same memory is mapped once per colour, but a core may lack all
	// mappings except the good one (zAddress.inline.hpp 11..20, xAddress.inline.hpp 21..23).
	if (jvm->z_offset_mask && jvm->z_good_mask)
		return (oop & jvm->z_offset_mask) | jvm->z_good_mask;
	return oop;
}

static struct hs_err *klass_address(struct hs_jvm *jvm, hs_addr oop, hs_addr *ret)
{
	const struct hs_layout *layout = &jvm->layout;
	struct hs_err *err;
	uint64_t word;
	uint32_t narrow;

	if (jvm->compact_headers) {
		err = hs_oop_mark(jvm, oop, &word);
		if (err)
			return err;
		*ret = jvm->narrow_klass_base +
		       (word >> jvm->mark_klass_shift << jvm->narrow_klass_shift);
		return NULL;
	}
	if (jvm->compressed_klass) {
		err = hs_target_read_u32(jvm->target,
		                         oop + hs_layout_offset(layout, HS_F_oop_narrow_klass),
		                         &narrow);
		if (!err)
			*ret = jvm->narrow_klass_base +
			       ((uint64_t)narrow << jvm->narrow_klass_shift);
		return err;
	}
	return hs_target_read_u64(jvm->target, oop + hs_layout_offset(layout, HS_F_oop_klass), ret);
}

hs_addr hs_oop_resolve(struct hs_jvm *jvm, hs_addr oop)
{
	const struct hs_klass *klass;
	hs_addr klass_addr;
	uint64_t mark = 0;

	if (!oop || !(jvm->use_shenandoah || jvm->stw_gc_active))
		return oop;
	struct hs_err *err = hs_oop_mark(jvm, oop, &mark);
	if (!err && (mark & MARK_FORWARD_MASK) != MARK_FORWARDED)
		return oop;
	// A sliding GC writes the new address before the copy is made: only a plausible object is
	// followed.
	if (!err)
		err = klass_address(jvm, mark & ~(uint64_t)MARK_FORWARD_MASK, &klass_addr);
	if (!err)
		err = hs_klass_get(jvm, klass_addr, &klass);
	if (err) {
		hs_err_free(err);
		return oop;
	}
	return mark & ~(uint64_t)MARK_FORWARD_MASK;
}

hs_addr hs_oop_decode(struct hs_jvm *jvm, const void *bytes)
{
	uint32_t narrow;
	uint64_t wide;

	if (jvm->compressed_oops) {
		memcpy(&narrow, bytes, sizeof(narrow));
		return hs_oop_resolve(jvm, hs_oop_decode_narrow(jvm, narrow));
	}
	memcpy(&wide, bytes, sizeof(wide));
	return hs_oop_resolve(jvm, hs_oop_uncolor(jvm, wide));
}

struct hs_err *hs_oop_load(struct hs_jvm *jvm, hs_addr addr, hs_addr *ret)
{
	uint8_t bytes[sizeof(uint64_t)];
	struct hs_err *err =
		hs_target_read(jvm->target, addr, bytes,
	                       jvm->compressed_oops ? sizeof(uint32_t) : sizeof(uint64_t));

	if (!err)
		*ret = hs_oop_decode(jvm, bytes);
	return err;
}

/** Does the field hold a pointer to a slot (OopHandle, WeakHandle) or the oop itself? */
static bool is_handle(const struct hs_jvm *jvm, enum hs_field field)
{
	const char *type = jvm->layout.fields[field].type;

	// ObjectMonitor::_object is published without a type; it is a WeakHandle since 16, as are
	// the in-use list and the handle to the Thread (objectMonitor.hpp, thread.hpp).
	if (field == HS_F_monitor_object && hs_layout_has(&jvm->layout, HS_F_monitor_in_use_list))
		return true;
	if (field == HS_F_monitor_object)
		type = jvm->layout.fields[HS_F_thread_oop].type;
	return type && strstr(type, "Handle");
}

struct hs_err *hs_oop_load_handle(struct hs_jvm *jvm, hs_addr base, enum hs_field field,
                                  hs_addr *ret)
{
	uint64_t value;

	if (!hs_layout_has(&jvm->layout, field))
		return hs_err_absent();
	struct hs_err *err = hs_target_read_u64(
		jvm->target, base + hs_layout_offset(&jvm->layout, field), &value);
	if (!err && value && is_handle(jvm, field))
		err = hs_target_read_u64(jvm->target, value, &value);
	if (!err)
		*ret = hs_oop_resolve(jvm, hs_oop_uncolor(jvm, value));
	return err;
}

// ---- headers

struct hs_err *hs_oop_mark(struct hs_jvm *jvm, hs_addr oop, uint64_t *ret)
{
	return hs_target_read_u64(jvm->target, oop + hs_layout_offset(&jvm->layout, HS_F_oop_mark),
	                          ret);
}

struct hs_err *hs_oop_klass(struct hs_jvm *jvm, hs_addr oop, const struct hs_klass **ret)
{
	hs_addr addr;

	// Objects are aligned to 8 or more (ObjectAlignmentInBytes).
	if (!oop || oop % 8)
		return hs_err_new(HS_ERR_BAD_DATA, "0x%llx is no object", (unsigned long long)oop);
	struct hs_err *err = klass_address(jvm, oop, &addr);
	return err ? err : hs_klass_get(jvm, addr, ret);
}

// ---- fields

static bool is_oop_signature(const char *signature)
{
	return signature[0] == 'L' || signature[0] == '[' || signature[0] == 'Q';
}

/** Where the named field of an object lies. */
static struct hs_err *field_address(struct hs_jvm *jvm, hs_addr oop, const char *name,
                                    const struct hs_jfield **field_ret, hs_addr *ret)
{
	const struct hs_klass *klass, *owner;
	const struct hs_jfield *field;
	hs_addr base = oop;

	struct hs_err *err = hs_oop_klass(jvm, oop, &klass);
	if (!err)
		err = hs_klass_field_owner(jvm, klass, name, &owner, &field);
	if (!err && field->is_static)
		err = hs_klass_mirror(jvm, owner, &base);
	if (err)
		return err;
	*field_ret = field;
	*ret = base + field->offset;
	return NULL;
}

static struct hs_err *static_address(struct hs_jvm *jvm, const struct hs_klass *klass,
                                     const char *name, const struct hs_jfield **field_ret,
                                     hs_addr *ret)
{
	const struct hs_klass *owner;
	hs_addr mirror;

	struct hs_err *err = hs_klass_field_owner(jvm, klass, name, &owner, field_ret);
	if (err)
		return err;
	if (!(*field_ret)->is_static)
		return hs_err_new(HS_ERR_BAD_DATA, "%s.%s is not static", klass->external_name,
		                  name);
	err = hs_klass_mirror(jvm, owner, &mirror);
	if (!err)
		*ret = mirror + (*field_ret)->offset;
	return err;
}

static struct hs_err *load_oop(struct hs_jvm *jvm, const struct hs_jfield *field, hs_addr addr,
                               hs_addr *ret)
{
	if (!is_oop_signature(field->signature))
		return hs_err_new(HS_ERR_BAD_DATA, "field %s holds no object but %s", field->name,
		                  field->signature);
	if (field->is_flat)
		return hs_err_new(HS_ERR_UNSUPPORTED, "the value of field %s lies in its object",
		                  field->name);
	return hs_oop_load(jvm, addr, ret);
}

static struct hs_err *load_int(struct hs_jvm *jvm, const struct hs_jfield *field, hs_addr addr,
                               int64_t *ret)
{
	struct hs_err *err;
	uint64_t wide;
	uint32_t word;
	uint16_t half;
	uint8_t byte;

	switch (field->signature[0]) {
	case 'Z':
	case 'B':
		err = hs_target_read_u8(jvm->target, addr, &byte);
		if (!err)
			*ret = field->signature[0] == 'Z' ? byte : (int8_t)byte;
		return err;
	case 'C':
	case 'S':
		err = hs_target_read_u16(jvm->target, addr, &half);
		if (!err)
			*ret = field->signature[0] == 'C' ? half : (int16_t)half;
		return err;
	case 'I':
		err = hs_target_read_u32(jvm->target, addr, &word);
		if (!err)
			*ret = (int32_t)word;
		return err;
	case 'J':
		err = hs_target_read_u64(jvm->target, addr, &wide);
		if (!err)
			*ret = (int64_t)wide;
		return err;
	default:
		return hs_err_new(HS_ERR_BAD_DATA, "field %s holds no integer but %s", field->name,
		                  field->signature);
	}
}

struct hs_err *hs_oop_get_oop(struct hs_jvm *jvm, hs_addr oop, const char *field, hs_addr *ret)
{
	const struct hs_jfield *found;
	hs_addr addr = 0;

	struct hs_err *err = field_address(jvm, oop, field, &found, &addr);
	return err ? err : load_oop(jvm, found, addr, ret);
}

struct hs_err *hs_oop_get_int(struct hs_jvm *jvm, hs_addr oop, const char *field, int64_t *ret)
{
	const struct hs_jfield *found;
	hs_addr addr = 0;

	struct hs_err *err = field_address(jvm, oop, field, &found, &addr);
	return err ? err : load_int(jvm, found, addr, ret);
}

struct hs_err *hs_klass_static_oop(struct hs_jvm *jvm, const struct hs_klass *klass,
                                   const char *field, hs_addr *ret)
{
	const struct hs_jfield *found;
	hs_addr addr = 0;

	struct hs_err *err = static_address(jvm, klass, field, &found, &addr);
	return err ? err : load_oop(jvm, found, addr, ret);
}

struct hs_err *hs_klass_static_int(struct hs_jvm *jvm, const struct hs_klass *klass,
                                   const char *field, int64_t *ret)
{
	const struct hs_jfield *found;
	hs_addr addr = 0;

	struct hs_err *err = static_address(jvm, klass, field, &found, &addr);
	return err ? err : load_int(jvm, found, addr, ret);
}

// ---- arrays

struct hs_err *hs_oop_array_count(struct hs_jvm *jvm, hs_addr array, uint32_t *ret)
{
	const struct hs_klass *klass;
	uint32_t length;

	struct hs_err *err = hs_oop_klass(jvm, array, &klass);
	if (err)
		return err;
	if (klass->layout_helper >= 0)
		return hs_err_new(HS_ERR_BAD_DATA, "object 0x%llx is no array but a %s",
		                  (unsigned long long)array, klass->external_name);
	err = hs_target_read_u32(jvm->target, array + jvm->array_length_offset, &length);
	if (err)
		return err;
	if (length > INT32_MAX)
		return hs_err_new(HS_ERR_BAD_DATA, "array 0x%llx has %u elements",
		                  (unsigned long long)array, length);
	*ret = length;
	return NULL;
}

struct hs_err *hs_oop_array_length(struct hs_jvm *jvm, hs_addr array, uint32_t *ret)
{
	uint32_t length = 0;

	struct hs_err *err = hs_oop_array_count(jvm, array, &length);
	if (err)
		return err;
	if (length > HS_MAX_ARRAY)
		return hs_err_new(HS_ERR_BAD_DATA, "array 0x%llx has %u elements",
		                  (unsigned long long)array, length);
	*ret = length;
	return NULL;
}

hs_addr hs_oop_array_elem(const struct hs_jvm *jvm, hs_addr array, uint32_t index,
                          unsigned elem_size)
{
	uint32_t base = jvm->array_length_offset + sizeof(uint32_t);

	if (!elem_size)
		elem_size = jvm->compressed_oops ? 4 : 8;
	if (jvm->array_data_aligned || elem_size == 8)
		base = (base + 7) & ~7U;
	return array + base + (uint64_t)index * elem_size;
}

struct hs_err *hs_oop_array_get(struct hs_jvm *jvm, hs_addr array, uint32_t index, hs_addr *ret)
{
	uint32_t length = 0;

	struct hs_err *err = hs_oop_array_length(jvm, array, &length);
	if (err)
		return err;
	if (index >= length)
		return hs_err_absent();
	return hs_oop_load(jvm, hs_oop_array_elem(jvm, array, index, 0), ret);
}
