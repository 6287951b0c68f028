// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Local tables: the LocalVariableTable of a method, which javac -g writes. It is one of the tables
 * at the end of the ConstMethod.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/jvm/jvm_internal.h"

enum {
	WORD = 8,
	MAX_TABLE_BYTES = 1 << 21, /**< of all tables of one method */

	// Bytes of an element (constMethod.hpp, 8 to 28).
	PARAMETER_BYTES = 4,
	CHECKED_EXCEPTION_BYTES = 2,
	EXCEPTION_BYTES = 8,
	VARIABLE_BYTES = 12,
};

/** Flags of a ConstMethod that say which tables it has. */
enum table_flag {
	CHECKED_EXCEPTIONS,
	VARIABLES,
	EXCEPTIONS,
	GENERIC_SIGNATURE,
	PARAMETERS,
	METHOD_ANNOTATIONS,
	PARAMETER_ANNOTATIONS,
	TYPE_ANNOTATIONS,
	DEFAULT_ANNOTATIONS,
	NUM_FLAGS,
};

/** Their published names; the bits are the same in 8 to 28 (constMethod.hpp 8..20,
 * constMethodFlags.hpp 21+). */
static const struct {
	const char *name;
	uint32_t bit;
} flag_rows[NUM_FLAGS] = {
	[CHECKED_EXCEPTIONS] = {"has_checked_exceptions",    1 << 1 },
	[VARIABLES] = {"has_localvariable_table",   1 << 2 },
	[EXCEPTIONS] = {"has_exception_table",       1 << 3 },
	[GENERIC_SIGNATURE] = {"has_generic_signature",     1 << 4 },
	[PARAMETERS] = {"has_method_parameters",     1 << 5 },
	[METHOD_ANNOTATIONS] = {"has_method_annotations",    1 << 7 },
	[PARAMETER_ANNOTATIONS] = {"has_parameter_annotations", 1 << 8 },
	[TYPE_ANNOTATIONS] = {"has_type_annotations",      1 << 9 },
	[DEFAULT_ANNOTATIONS] = {"has_default_annotations",   1 << 10},
};

const char *hs_type_end(const char *s)
{
	s += strspn(s, "[");
	if (*s == 'L') {
		const char *end = strchr(s, ';');

		return end ? end + 1 : NULL;
	}
	return *s && strchr("BCDFIJSZ", *s) ? s + 1 : NULL;
}

/** The end of a ConstMethod, read backwards. */
struct tail {
	const uint8_t *bytes;
	size_t len; /**< of what is not read yet */
	bool failed;
};

static uint32_t flag_bit(const struct hs_jvm *jvm, enum table_flag flag)
{
	static const char *const prefixes[] = {"ConstMethodFlags::_misc_", "ConstMethod::_"};
	char name[80];
	int64_t value;

	for (size_t i = 0; i < sizeof(prefixes) / sizeof(*prefixes); i++) {
		snprintf(name, sizeof(name), "%s%s", prefixes[i], flag_rows[flag].name);
		if (hs_vmstructs_constant(jvm->vm, name, &value) && value > 0 &&
		    value <= UINT32_MAX)
			return (uint32_t)value;
	}
	return flag_rows[flag].bit;
}

static uint16_t get_u2(const uint8_t *bytes)
{
	uint16_t value;

	memcpy(&value, bytes, sizeof(value));
	return value;
}

/** Step back over @p len bytes. */
static const uint8_t *tail_take(struct tail *tail, size_t len)
{
	if (tail->failed || len > tail->len) {
		tail->failed = true;
		return NULL;
	}
	tail->len -= len;
	return tail->bytes + tail->len;
}

/** Step back over a table that ends with its length; 0 when that makes no sense. */
static size_t tail_take_table(struct tail *tail, size_t element, const uint8_t **ret)
{
	const uint8_t *end = tail_take(tail, sizeof(uint16_t));
	size_t count = end ? get_u2(end) : 0;

	*ret = tail_take(tail, count * element);
	return *ret ? count : 0;
}

/**
 * Find the elements of the LocalVariableTable. From the end of a ConstMethod backwards: a pointer
 * for each kind of annotation, the index of the generic signature, then the tables, each before its
 * length (constMethod.hpp, 8 to 28).
 */
static size_t find_variables(const struct hs_jvm *jvm, uint32_t flags, struct tail *tail,
                             const uint8_t **ret)
{
	static const struct {
		enum table_flag flag;
		size_t element;
	} tables[] = {
		{PARAMETERS,         PARAMETER_BYTES        },
		{CHECKED_EXCEPTIONS, CHECKED_EXCEPTION_BYTES},
		{EXCEPTIONS,         EXCEPTION_BYTES        },
	};

	if (!(flags & flag_bit(jvm, VARIABLES)))
		return 0;
	for (enum table_flag f = METHOD_ANNOTATIONS; f <= DEFAULT_ANNOTATIONS; f++) {
		if (flags & flag_bit(jvm, f))
			tail_take(tail, WORD);
	}
	if (flags & flag_bit(jvm, GENERIC_SIGNATURE))
		tail_take(tail, sizeof(uint16_t));
	for (size_t i = 0; i < sizeof(tables) / sizeof(*tables); i++) {
		if (flags & flag_bit(jvm, tables[i].flag))
			tail_take_table(tail, tables[i].element, ret);
	}
	return tail_take_table(tail, VARIABLE_BYTES, ret);
}

/** LocalVariableTableElement: start_bci, length, name, descriptor, signature (indices), slot. */
static struct hs_err *decode_variable(struct hs_jvm *jvm, hs_addr constants, const uint8_t *bytes,
                                      struct hs_variable *ret)
{
	struct hs_err *err;

	err = hs_klass_cp_symbol(jvm, constants, get_u2(bytes + 4), &ret->name);
	if (!err)
		err = hs_klass_cp_symbol(jvm, constants, get_u2(bytes + 6), &ret->descriptor);
	ret->start_bci = get_u2(bytes);
	ret->end_bci = ret->start_bci + get_u2(bytes + 2);
	ret->slot = get_u2(bytes + 10);
	return err;
}

static struct hs_err *read_flags(struct hs_jvm *jvm, hs_addr const_method, uint32_t *ret)
{
	uint16_t half = 0;
	struct hs_err *err = NULL;

	*ret = 0;
	if (hs_layout_has(&jvm->layout, HS_F_const_method_flags_u4))
		return hs_target_read_u32(
			jvm->target,
			const_method + hs_layout_offset(&jvm->layout, HS_F_const_method_flags_u4),
			ret);
	if (hs_layout_has(&jvm->layout, HS_F_const_method_flags_u2))
		err = hs_target_read_u16(
			jvm->target,
			const_method + hs_layout_offset(&jvm->layout, HS_F_const_method_flags_u2),
			&half);
	*ret = half;
	return err;
}

static struct hs_err *read_variables(struct hs_jvm *jvm, const struct hs_method *method,
                                     hs_addr const_method, struct hs_variable_table *table)
{
	struct hs_err *err;
	const uint8_t *elements = NULL;
	uint32_t flags = 0;
	hs_addr constants;
	size_t len = 0;

	err = read_flags(jvm, const_method, &flags);
	if (err || !(flags & flag_bit(jvm, VARIABLES)))
		return err;
	err = hs_const_method_tail(jvm, const_method,
	                           method->code_base - const_method + method->code_size,
	                           MAX_TABLE_BYTES, &len);
	if (!err)
		err = hs_target_read_u64(
			jvm->target,
			const_method + hs_layout_offset(&jvm->layout, HS_F_const_method_constants),
			&constants);
	if (err)
		return err;
	hs_cleanup(hs_freep) uint8_t *bytes = malloc(len + 1);
	if (!bytes)
		return hs_err_oom();
	err = hs_target_read(jvm->target, method->code_base + method->code_size, bytes, len);
	if (err)
		return err;
	struct tail tail = {.bytes = bytes, .len = len};
	size_t count = find_variables(jvm, flags, &tail, &elements);
	if (tail.failed)
		return hs_err_new(HS_ERR_BAD_DATA, "the tables of method %s do not fit its size",
		                  method->name);
	struct hs_variable *items = hs_arena_calloc(jvm->arena, count + 1, sizeof(*items));
	if (!items)
		return hs_err_oom();
	for (size_t i = 0; i < count; i++) {
		err = decode_variable(jvm, constants, elements + i * VARIABLE_BYTES, &items[i]);
		if (err)
			return err;
	}
	table->items = items;
	table->len = count;
	return NULL;
}

/** Slots of the parameters; classFileParser.cpp gives native methods no max_locals but this. */
static uint16_t parameter_slots(const struct hs_method *method)
{
	unsigned slots = !method->is_static;

	for (const char *s = method->descriptor + 1, *end; (end = hs_type_end(s)) != NULL;
	     s = end) {
		slots += *s == 'J' || *s == 'D' ? 2 : 1;
		if (slots > UINT8_MAX) // JVMS 4.3.3
			return UINT8_MAX;
	}
	return (uint16_t)slots;
}

struct hs_err *hs_method_variables(struct hs_jvm *jvm, struct hs_method *method,
                                   const struct hs_variable_table **ret)
{
	struct hs_err *err = NULL;
	hs_addr const_method = method->code_base - jvm->layout.sizes[HS_T_const_method];

	if (method->variables) {
		*ret = method->variables;
		return NULL;
	}
	struct hs_variable_table *table = hs_arena_alloc(jvm->arena, sizeof(*table));
	if (!table)
		return hs_err_oom();
	if (hs_layout_has(&jvm->layout, HS_F_const_method_max_locals))
		err = hs_target_read_u16(
			jvm->target,
			const_method + hs_layout_offset(&jvm->layout, HS_F_const_method_max_locals),
			&table->max_locals);
	if (method->is_native)
		table->max_locals = parameter_slots(method);
	if (!err)
		err = read_variables(jvm, method, const_method, table);
	if (err && hs_err_code(err) == HS_ERR_OOM)
		return err;
	if (err) {
		table->why = hs_arena_strdup(jvm->arena, hs_err_message(err));
		hs_err_free(err);
		if (!table->why)
			return hs_err_oom();
	}
	method->variables = table;
	*ret = table;
	return NULL;
}
