// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Fields of a Java class. Two encodings: an array of u2 (InstanceKlass::_fields, 8..20) and a
 * stream of UNSIGNED5 (InstanceKlass::_fieldinfo_stream, 21+).
 */

#include <inttypes.h>

#include "core/base/cleanup.h"
#include "core/jvm/jvm_internal.h"

enum {
	CP_SLOT = 8,
	CP_MAX = 65536,

	// 8..20: six u2 per field (fieldInfo.hpp).
	SLOT_ACCESS = 0,
	SLOT_NAME = 1,
	SLOT_SIGNATURE = 2,
	SLOT_LOW = 4,
	SLOT_HIGH = 5,
	SLOTS = 6,
	ACCESS_STATIC = 0x8,
	ACCESS_INTERNAL = 0x400, // injected: name and signature are vmSymbols ids
	ACCESS_GENERIC = 0x800,  // one more u2 at the end of the array
	OFFSET_TAG_BITS = 2,

	MAX_VM_SYMBOLS = 8192,
	MAX_OFFSET = 1 << 24, // bytes into an object or mirror
};

struct hs_err *hs_klass_cp_symbol(struct hs_jvm *jvm, hs_addr constants, uint32_t index,
                                  const char **ret)
{
	uint64_t header = jvm->layout.sizes[HS_T_constant_pool];
	hs_addr symbol;

	if (!header || index >= CP_MAX)
		return hs_err_new(HS_ERR_BAD_DATA, "constant pool index %u", index);
	struct hs_err *err = hs_target_read_u64(
		jvm->target, constants + header + (uint64_t)index * CP_SLOT, &symbol);
	// 8: the low bit of a slot may be a pseudo string tag (constantPool.hpp, CPSlot).
	return err ? err : hs_symbol(jvm, symbol & ~UINT64_C(1), ret);
}

static struct hs_err *vm_symbol(struct hs_jvm *jvm, uint32_t id, const char **ret)
{
	hs_addr symbol;

	if (!hs_layout_has(&jvm->layout, HS_F_vm_symbols) || id >= MAX_VM_SYMBOLS)
		return hs_err_new(HS_ERR_BAD_DATA, "vmSymbols id %u", id);
	struct hs_err *err = hs_target_read_u64(
		jvm->target, hs_layout_static(&jvm->layout, HS_F_vm_symbols) + 8 * (uint64_t)id,
		&symbol);
	return err ? err : hs_symbol(jvm, symbol, ret);
}

/** One field as either encoding has it. */
struct raw_field {
	uint32_t name, signature; // constant pool index, or vmSymbols id
	uint32_t offset, access;
	bool is_injected, is_flat;
};

struct field_reader {
	struct hs_jvm *jvm;
	hs_addr constants;
	HS_VEC(struct hs_jfield) fields;
};

static struct hs_err *add_field(struct field_reader *reader, const struct raw_field *raw)
{
	struct hs_jvm *jvm = reader->jvm;
	struct hs_jfield field = {
		.offset = raw->offset,
		.is_static = raw->access & ACCESS_STATIC,
		.is_injected = raw->is_injected,
		.is_flat = raw->is_flat,
	};
	struct hs_err *err;

	if (raw->offset > MAX_OFFSET)
		return hs_err_new(HS_ERR_BAD_DATA, "a field at offset %u", raw->offset);
	if (raw->is_injected) {
		err = vm_symbol(jvm, raw->name, &field.name);
		if (!err)
			err = vm_symbol(jvm, raw->signature, &field.signature);
	} else {
		err = hs_klass_cp_symbol(jvm, reader->constants, raw->name, &field.name);
		if (!err)
			err = hs_klass_cp_symbol(jvm, reader->constants, raw->signature,
			                         &field.signature);
	}
	if (err)
		return err;
	struct hs_jfield *slot = hs_vec_push(jvm->arena, &reader->fields);
	if (!slot)
		return hs_err_oom();
	*slot = field;
	return NULL;
}

/** An Array<T> in the target: its length, and a copy of its data that the caller frees. */
static struct hs_err *read_array(struct hs_jvm *jvm, hs_addr array, enum hs_field data_field,
                                 size_t elem_size, size_t *len_ret, void **ret)
{
	uint32_t len;

	if (!array) {
		*len_ret = 0;
		*ret = NULL;
		return NULL;
	}
	if (!hs_layout_has(&jvm->layout, data_field))
		return hs_err_new(HS_ERR_UNSUPPORTED, "this libjvm does not publish Array::_data");
	// Array<T> { int _length; T _data[] } (array.hpp, 8..28).
	struct hs_err *err = hs_target_read_u32(jvm->target, array, &len);
	if (err)
		return err;
	if (len > HS_MAX_FIELDS * SLOTS)
		return hs_err_new(HS_ERR_BAD_DATA, "%u field entries", len);
	hs_cleanup(hs_freep) void *data = calloc(len + 1UL, elem_size);
	if (!data)
		return hs_err_oom();
	err = hs_target_read(jvm->target, array + hs_layout_offset(&jvm->layout, data_field), data,
	                     len * elem_size);
	if (err)
		return err;
	*len_ret = len;
	*ret = hs_take(data);
	return NULL;
}

// ---- 8..20

static struct hs_err *read_u2_fields(struct field_reader *reader, hs_addr array)
{
	hs_cleanup(hs_freep) void *data = NULL;
	size_t len;

	struct hs_err *err =
		read_array(reader->jvm, array, HS_F_array_u2_data, sizeof(uint16_t), &len, &data);
	if (err)
		return err;
	// The tail holds one generic signature per field that has one: it shrinks what is left.
	for (size_t at = 0; at + SLOTS <= len; at += SLOTS) {
		const uint16_t *slots = (const uint16_t *)data + at;

		if (slots[SLOT_ACCESS] & ACCESS_GENERIC)
			len--;
		if (at + SLOTS > len)
			return hs_err_new(HS_ERR_BAD_DATA, "the fields array ends early");
		struct raw_field raw = {
			.name = slots[SLOT_NAME],
			.signature = slots[SLOT_SIGNATURE],
			.access = slots[SLOT_ACCESS],
			.offset = ((uint32_t)slots[SLOT_HIGH] << 16 | slots[SLOT_LOW]) >>
		                  OFFSET_TAG_BITS,
			.is_injected = slots[SLOT_ACCESS] & ACCESS_INTERNAL,
		};
		err = add_field(reader, &raw);
		if (err)
			return err;
	}
	return NULL;
}

// ---- 21+

/** Is the flag, by HotSpot's name of its bit number, set? The numbers moved in 28. */
static bool field_flag(const struct hs_jvm *jvm, uint32_t flags, const char *constant)
{
	int64_t bit;

	return hs_vmstructs_constant(jvm->vm, constant, &bit) && bit >= 0 && bit < 32 &&
	       (flags >> bit & 1);
}

/** A flag that this VM does not name may announce one more number: what follows is not known. */
static bool has_unnamed_flag(const struct hs_jvm *jvm, uint32_t flags)
{
	// fieldInfo.hpp; the first three of 28 alone.
	static const char *const names[] = {
		"FieldInfo::FieldFlags::_ff_null_free_value_type",
		"FieldInfo::FieldFlags::_ff_flat",
		"FieldInfo::FieldFlags::_ff_null_marker",
		"FieldInfo::FieldFlags::_ff_initialized",
		"FieldInfo::FieldFlags::_ff_injected",
		"FieldInfo::FieldFlags::_ff_generic",
		"FieldInfo::FieldFlags::_ff_stable",
		"FieldInfo::FieldFlags::_ff_contended",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		int64_t bit;

		if (hs_vmstructs_constant(jvm->vm, names[i], &bit) && bit >= 0 && bit < 32)
			flags &= ~(1U << bit);
	}
	return flags;
}

static bool next_stream_field(const struct hs_jvm *jvm, struct hs_u5 *stream, struct raw_field *raw)
{
	raw->name = hs_u5_next(stream);
	raw->signature = hs_u5_next(stream);
	raw->offset = hs_u5_next(stream);
	raw->access = hs_u5_next(stream);
	uint32_t flags = hs_u5_next(stream);
	raw->is_injected = field_flag(jvm, flags, "FieldInfo::FieldFlags::_ff_injected");
	raw->is_flat = field_flag(jvm, flags, "FieldInfo::FieldFlags::_ff_flat");

	// Optional numbers, in this order (fieldInfo.inline.hpp, FieldInfoReader::read_field_info).
	// The layout kind of a flat field and its null marker came with 28.
	static const char *const optional[] = {
		"FieldInfo::FieldFlags::_ff_initialized", "FieldInfo::FieldFlags::_ff_generic",
		"FieldInfo::FieldFlags::_ff_contended",   "FieldInfo::FieldFlags::_ff_flat",
		"FieldInfo::FieldFlags::_ff_null_marker",
	};
	for (size_t i = 0; i < sizeof(optional) / sizeof(optional[0]); i++) {
		if (field_flag(jvm, flags, optional[i]))
			hs_u5_next(stream);
	}
	return !stream->failed && !has_unnamed_flag(jvm, flags);
}

static struct hs_err *read_stream_fields(struct field_reader *reader, hs_addr array)
{
	hs_cleanup(hs_freep) void *data = NULL;
	size_t len;

	struct hs_err *err = read_array(reader->jvm, array, HS_F_array_u1_data, 1, &len, &data);
	if (err || !len)
		return err;
	struct hs_u5 stream = {.data = data, .len = len, .bias = reader->jvm->unsigned5_bias};
	uint64_t count = hs_u5_next(&stream);
	count += hs_u5_next(&stream);
	if (stream.failed || count > HS_MAX_FIELDS)
		return hs_err_new(HS_ERR_BAD_DATA, "%" PRIu64 " fields", count);
	for (uint64_t i = 0; i < count; i++) {
		struct raw_field raw;

		if (!next_stream_field(reader->jvm, &stream, &raw))
			return hs_err_new(HS_ERR_BAD_DATA, "the field stream cannot be decoded");
		err = add_field(reader, &raw);
		if (err)
			return err;
	}
	return NULL;
}

// ----

static struct hs_err *read_fields(struct field_reader *reader, const struct hs_klass *klass)
{
	struct hs_jvm *jvm = reader->jvm;
	bool is_stream = hs_layout_has(&jvm->layout, HS_F_klass_fieldinfo_stream);
	enum hs_field field = is_stream ? HS_F_klass_fieldinfo_stream : HS_F_klass_fields;
	hs_addr array;

	if (!hs_layout_has(&jvm->layout, field))
		return hs_err_new(HS_ERR_UNSUPPORTED,
		                  "this libjvm does not publish InstanceKlass::_fieldinfo_stream");
	struct hs_err *err = hs_target_read_u64(
		jvm->target, klass->addr + hs_layout_offset(&jvm->layout, HS_F_klass_constants),
		&reader->constants);
	if (!err)
		err = hs_target_read_u64(
			jvm->target, klass->addr + hs_layout_offset(&jvm->layout, field), &array);
	if (err)
		return err;
	return is_stream ? read_stream_fields(reader, array) : read_u2_fields(reader, array);
}

struct hs_err *hs_klass_fields(struct hs_jvm *jvm, const struct hs_klass *klass)
{
	struct field_reader reader = {.jvm = jvm};

	struct hs_klass *cached = hs_map64_get(&jvm->klasses, klass->addr);

	if (klass->fields_read)
		return NULL;
	// Not again: there may be many of them, and many threads or objects of the class.
	if (klass->fields_failed)
		return hs_err_new(HS_ERR_BAD_DATA, "the fields of %s cannot be read",
		                  klass->external_name);
	if (klass->layout_helper >= 0) { // an array class has none
		struct hs_err *err = read_fields(&reader, klass);
		if (err) {
			cached->fields_failed = true;
			return hs_err_wrap(err, "fields of %s", klass->external_name);
		}
	}
	cached->fields = reader.fields.items;
	cached->num_fields = reader.fields.len;
	cached->fields_read = true;
	return NULL;
}
