// SPDX-License-Identifier: Apache-2.0
/** @file Resolve the rows of layout_fields.def against what the target publishes. */

#include "core/jvm/layout.h"

#include <string.h>

enum need {
	OPTIONAL,
	REQUIRED,
};

enum {
	MAX_SPELLINGS = 4
};

struct spelling {
	const char *type, *field;
};

struct field_row {
	const char *name;
	enum need need;
	struct spelling spellings[MAX_SPELLINGS + 1]; // ends with a NULL type
};

static const struct field_row field_rows[HS_FIELD_COUNT] = {
#define FIELD(name, need, ...) [HS_F_##name] = {#name, need, {__VA_ARGS__}},
#include "core/jvm/layout_fields.def"
};

static const char *const type_rows[HS_TYPE_COUNT][MAX_SPELLINGS + 1] = {
#define TYPE(name, ...) [HS_T_##name] = {__VA_ARGS__},
#include "core/jvm/layout_fields.def"
};

static bool resolve_field(const struct hs_vmstructs *vm, const struct field_row *row,
                          struct hs_layout_field *ret)
{
	for (unsigned i = 0; i < MAX_SPELLINGS && row->spellings[i].type; i++) {
		const struct hs_vmfield *field =
			hs_vmstructs_field(vm, row->spellings[i].type, row->spellings[i].field);
		if (!field)
			continue;
		*ret = (struct hs_layout_field){
			.present = true,
			.is_static = field->is_static,
			.offset = field->offset,
			.address = field->address,
			.type = field->type,
			.spelling = i,
		};
		return true;
	}
	return false;
}

static void resolve_fallback(struct hs_layout *layout, enum hs_field name, enum hs_field neighbour,
                             int64_t delta, bool gate)
{
	const struct hs_layout_field *near = &layout->fields[neighbour];
	struct hs_layout_field *field = &layout->fields[name];
	uint64_t offset;

	if (field->present || !near->present || near->is_static || !gate)
		return;
	if (__builtin_add_overflow(near->offset, delta, &offset))
		return;
	*field = (struct hs_layout_field){.present = true, .offset = offset, .inferred = true};
}

static void resolve_fallbacks(const struct hs_vmstructs *vm, struct hs_layout *layout)
{
	int64_t ignored;

#define has(name) hs_layout_has(layout, HS_F_##name)
#define constant(name) hs_vmstructs_constant(vm, name, &ignored)
#define FALLBACK(name, neighbour, delta, gate) \
	resolve_fallback(layout, HS_F_##name, HS_F_##neighbour, delta, gate);
#include "core/jvm/layout_fallback.def"
#undef has
#undef constant
}

struct hs_err *hs_layout_resolve(const struct hs_vmstructs *vm, struct hs_layout *layout)
{
	struct hs_layout found;

	memset(&found, 0, sizeof(found));
	for (size_t i = 0; i < HS_FIELD_COUNT; i++) {
		const struct field_row *row = &field_rows[i];

		if (!resolve_field(vm, row, &found.fields[i]) && row->need == REQUIRED)
			return hs_err_new(
				HS_ERR_UNSUPPORTED, "this libjvm does not publish %s::%s (%s)",
				row->spellings[0].type, row->spellings[0].field, row->name);
	}
	for (size_t i = 0; i < HS_TYPE_COUNT; i++) {
		for (size_t j = 0; type_rows[i][j] && !found.sizes[i]; j++)
			found.sizes[i] = hs_vmstructs_sizeof(vm, type_rows[i][j]);
	}
	resolve_fallbacks(vm, &found);
	*layout = found;
	return NULL;
}
