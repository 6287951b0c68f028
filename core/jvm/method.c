// SPDX-License-Identifier: Apache-2.0
/** @file Methods: Method * to class, name, file and line. */

#include <inttypes.h>
#include <stdlib.h>

#include "core/base/cleanup.h"
#include "core/jvm/jvm_internal.h"

enum {
	// Access flags of the class file (JVMS table 4.6-A), in the low half of the word.
	ACC_STATIC = 0x8,
	ACC_SYNCHRONIZED = 0x20,
	ACC_NATIVE = 0x100,

	// ConstMethod flags (constMethod.hpp 8..20, constMethodFlags.hpp 21+).
	CM_LINE_NUMBERS = 1 << 0,

	WORD = 8,
	MAX_LINE_BYTES = 1 << 20,
	LINE_FULL = 0xff, // escape of the line number stream: two signed numbers follow
};

/** Addresses on the way from a Method to its names. */
struct method_parts {
	hs_addr const_method, constants;
	uint32_t flags; // of the ConstMethod
};

static struct hs_err *read_pointer(struct hs_jvm *jvm, hs_addr base, enum hs_field field,
                                   hs_addr *ret)
{
	uint64_t value;

	struct hs_err *err = hs_target_read_u64(
		jvm->target, base + hs_layout_offset(&jvm->layout, field), &value);
	if (err)
		return err;
	if (!value || value % WORD)
		return hs_err_new(HS_ERR_BAD_DATA, "0x%" PRIx64 " leads to no method", base);
	*ret = value;
	return NULL;
}

static struct hs_err *read_index(struct hs_jvm *jvm, hs_addr base, enum hs_field field,
                                 uint16_t *ret)
{
	return hs_target_read_u16(jvm->target, base + hs_layout_offset(&jvm->layout, field), ret);
}

static struct hs_err *read_parts(struct hs_jvm *jvm, hs_addr addr, struct method_parts *parts)
{
	uint16_t half = 0;

	struct hs_err *err =
		read_pointer(jvm, addr, HS_F_method_const_method, &parts->const_method);
	if (!err)
		err = read_pointer(jvm, parts->const_method, HS_F_const_method_constants,
		                   &parts->constants);
	if (err)
		return err;
	if (hs_layout_has(&jvm->layout, HS_F_const_method_flags_u4))
		return hs_target_read_u32(
			jvm->target,
			parts->const_method +
				hs_layout_offset(&jvm->layout, HS_F_const_method_flags_u4),
			&parts->flags);
	parts->flags = 0;
	if (hs_layout_has(&jvm->layout, HS_F_const_method_flags_u2))
		err = read_index(jvm, parts->const_method, HS_F_const_method_flags_u2, &half);
	parts->flags = half;
	return err;
}

static struct hs_err *read_names(struct hs_jvm *jvm, const struct method_parts *parts,
                                 struct hs_method *method)
{
	hs_addr holder = 0;
	uint16_t name, signature;

	struct hs_err *err = read_pointer(jvm, parts->constants, HS_F_cp_pool_holder, &holder);
	if (!err)
		err = hs_klass_get(jvm, holder, &method->holder);
	if (!err)
		err = read_index(jvm, parts->const_method, HS_F_const_method_name, &name);
	if (!err)
		err = read_index(jvm, parts->const_method, HS_F_const_method_signature, &signature);
	if (!err)
		err = hs_klass_cp_symbol(jvm, parts->constants, name, &method->name);
	if (!err)
		err = hs_klass_cp_symbol(jvm, parts->constants, signature, &method->descriptor);
	if (!err && method->descriptor[0] != '(')
		err = hs_err_new(HS_ERR_BAD_DATA, "0x%" PRIx64 " is no Method", method->addr);
	return err;
}

/** Source file: 17+ in the constant pool, before that in the class. 0 is "none". */
static struct hs_err *read_file(struct hs_jvm *jvm, const struct method_parts *parts,
                                struct hs_method *method)
{
	bool in_pool = hs_layout_has(&jvm->layout, HS_F_cp_source_file_name_index);
	enum hs_field field =
		in_pool ? HS_F_cp_source_file_name_index : HS_F_klass_source_file_name_index;
	uint16_t index = 0;

	if (!hs_layout_has(&jvm->layout, field))
		return NULL;
	struct hs_err *err =
		read_index(jvm, in_pool ? parts->constants : method->holder->addr, field, &index);
	if (err || !index)
		return err;
	return hs_klass_cp_symbol(jvm, parts->constants, index, &method->file);
}

/** Hidden from stack traces: Method::_flags in 8..20, a ConstMethod flag without a published
 * number since. */
static struct hs_err *read_hidden(struct hs_jvm *jvm, const struct method_parts *parts,
                                  struct hs_method *method)
{
	int64_t mask;
	uint8_t flags = 0;

	if (hs_layout_has(&jvm->layout, HS_F_const_method_flags_u4)) {
		// constMethodFlags.hpp of 21 to 25: flag(is_hidden, 1 << 12).
		method->is_hidden = parts->flags >> 12 & 1;
		return NULL;
	}
	if (!hs_layout_has(&jvm->layout, HS_F_method_flags) ||
	    !hs_vmstructs_constant(jvm->vm, "Method::_hidden", &mask))
		return NULL;
	// All masks fit the low byte: u1 in 8, u2 later.
	struct hs_err *err = hs_target_read_u8(
		jvm->target, method->addr + hs_layout_offset(&jvm->layout, HS_F_method_flags),
		&flags);
	method->is_hidden = flags & mask;
	return err;
}

static struct hs_err *read_code(struct hs_jvm *jvm, const struct method_parts *parts,
                                struct hs_method *method)
{
	uint64_t header = jvm->layout.sizes[HS_T_const_method];
	uint16_t access = 0, size = 0;

	if (!header)
		return hs_err_new(HS_ERR_UNSUPPORTED,
		                  "this libjvm does not publish the size of ConstMethod");
	struct hs_err *err = read_index(jvm, method->addr, HS_F_method_access_flags, &access);
	if (!err)
		err = read_index(jvm, parts->const_method, HS_F_const_method_code_size, &size);
	if (err)
		return err;
	method->is_native = access & ACC_NATIVE;
	method->is_static = access & ACC_STATIC;
	method->is_synchronized = access & ACC_SYNCHRONIZED;
	method->code_base = parts->const_method + header;
	method->code_size = size;
	return NULL;
}

// ---- lines

struct hs_err *hs_const_method_tail(struct hs_jvm *jvm, hs_addr const_method, uint64_t before,
                                    size_t max, size_t *ret)
{
	uint32_t words;

	if (!hs_layout_has(&jvm->layout, HS_F_const_method_size))
		return hs_err_absent();
	struct hs_err *err = hs_target_read_u32(
		jvm->target, const_method + hs_layout_offset(&jvm->layout, HS_F_const_method_size),
		&words);
	if (err)
		return err;
	uint64_t total = (uint64_t)words * WORD;
	if (total < before || total - before > max)
		return hs_err_new(HS_ERR_BAD_DATA, "a ConstMethod of %" PRIu64 " bytes", total);
	*ret = total - before;
	return NULL;
}

/** The compressed line number table (method.hpp, CompressedLineNumberReadStream; 8..28). */
static struct hs_err *decode_lines(struct hs_jvm *jvm, struct hs_u5 *stream,
                                   struct hs_method *method)
{
	HS_VEC(struct hs_line_entry) lines = {0};
	int32_t bci = 0, line = 0;

	for (uint8_t byte; (byte = hs_u5_byte(stream)) != 0;) {
		int32_t bci_delta = byte >> 3, line_delta = byte & 7;

		if (byte == LINE_FULL) {
			bci_delta = hs_u5_next_signed(stream);
			line_delta = hs_u5_next_signed(stream);
		}
		if (stream->failed || __builtin_add_overflow(bci, bci_delta, &bci) ||
		    __builtin_add_overflow(line, line_delta, &line) || bci < 0 || bci > UINT16_MAX)
			break;
		struct hs_line_entry *entry = hs_vec_push(jvm->arena, &lines);
		if (!entry)
			return hs_err_oom();
		*entry = (struct hs_line_entry){.bci = (uint16_t)bci, .line = line};
	}
	method->lines = lines.items;
	method->num_lines = lines.len;
	return NULL;
}

static struct hs_err *read_lines(struct hs_jvm *jvm, const struct method_parts *parts,
                                 struct hs_method *method)
{
	size_t len = 0;

	if (!(parts->flags & CM_LINE_NUMBERS))
		return NULL;
	struct hs_err *err = hs_const_method_tail(
		jvm, parts->const_method, jvm->layout.sizes[HS_T_const_method] + method->code_size,
		MAX_LINE_BYTES, &len);
	if (err)
		return err;
	hs_cleanup(hs_freep) uint8_t *bytes = malloc(len + 1);
	if (!bytes)
		return hs_err_oom();
	err = hs_target_read(jvm->target, method->code_base + method->code_size, bytes, len);
	if (err)
		return err;
	struct hs_u5 stream = {.data = bytes, .len = len, .bias = jvm->unsigned5_bias};
	return decode_lines(jvm, &stream, method);
}

int32_t hs_method_line(const struct hs_method *method, int32_t bci)
{
	const struct hs_line_entry *best = NULL;

	// As Method::line_number_from_bci: an exact entry, else the nearest one before.
	for (size_t i = 0; bci >= 0 && i < method->num_lines; i++) {
		const struct hs_line_entry *entry = &method->lines[i];

		if (entry->bci == bci)
			return entry->line;
		if (entry->bci < bci && (!best || entry->bci >= best->bci))
			best = entry;
	}
	return best ? best->line : -1;
}

// ----

static struct hs_err *decode_method(struct hs_jvm *jvm, struct hs_method *method)
{
	struct method_parts parts;

	struct hs_err *err = read_parts(jvm, method->addr, &parts);
	if (!err)
		err = read_names(jvm, &parts, method);
	if (!err)
		err = read_code(jvm, &parts, method);
	if (!err)
		err = read_hidden(jvm, &parts, method);
	if (err)
		return err;
	// A frame without its file or line is better than none.
	err = read_file(jvm, &parts, method);
	if (!err)
		err = read_lines(jvm, &parts, method);
	if (err && hs_err_code(err) == HS_ERR_OOM)
		return err;
	hs_err_free(err);
	return NULL;
}

struct hs_err *hs_method_get(struct hs_jvm *jvm, hs_addr addr, struct hs_method **ret)
{
	struct hs_method *method = hs_map64_get(&jvm->methods, addr);

	if (method) {
		*ret = method;
		return NULL;
	}
	if (!addr || addr % WORD)
		return hs_err_new(HS_ERR_BAD_DATA, "0x%" PRIx64 " is no Method", addr);

	struct hs_method found = {.addr = addr};
	struct hs_err *err = decode_method(jvm, &found);
	if (err)
		return err;
	method = hs_arena_alloc(jvm->arena, sizeof(*method));
	if (!method)
		return hs_err_oom();
	*method = found;
	if (!hs_map64_put(&jvm->methods, addr, method))
		return hs_err_oom();
	*ret = method;
	return NULL;
}

const struct hs_location *hs_method_location(struct hs_jvm *jvm, struct hs_method *method,
                                             enum hs_frame_kind kind, unsigned tier, int32_t bci)
{
	if (method->is_native || bci < 0)
		bci = -1;
	uint64_t key = (uint64_t)kind << 40 | (uint64_t)(tier & 0xff) << 32 | (uint32_t)bci;
	struct hs_location *location = hs_map64_get(&method->locations, key);

	if (location)
		return location;
	location = hs_arena_alloc(jvm->arena, sizeof(*location));
	if (!location)
		return NULL;
	*location = (struct hs_location){
		.kind = kind,
		.class_name = method->holder->external_name,
		.method = method->name,
		.descriptor = method->descriptor,
		.file = method->file,
		.bci = bci,
		.line = hs_method_line(method, bci),
		.tier = (uint8_t)tier,
		.is_native_method = method->is_native,
		.is_hidden = method->is_hidden,
	};
	return hs_map64_put(&method->locations, key, location) ? location : NULL;
}
