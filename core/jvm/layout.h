// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Layout: the fields of HotSpot that we read, as data. Each row of layout_fields.def is one need
 * with its spellings, newest release first; the first that the target publishes wins. A new JDK is
 * a new spelling in a row, never an `if (version)`.
 */
#ifndef HS_JVM_LAYOUT_H
#define HS_JVM_LAYOUT_H

#include "core/jvm/vmstructs.h"

enum hs_field {
#define FIELD(name, need, ...) HS_F_##name,
#include "core/jvm/layout_fields.def"
	HS_FIELD_COUNT,
};

/** Types whose size we need. */
enum hs_type {
#define TYPE(name, ...) HS_T_##name,
#include "core/jvm/layout_fields.def"
	HS_TYPE_COUNT,
};

/** A resolved row. @c present is false for an optional field this release does not have. */
struct hs_layout_field {
	bool present, is_static;
	uint64_t offset;
	hs_addr address;
	const char *type;  /**< C++ type, NULL for a row that came from layout_fallback.def */
	bool inferred;     /**< from layout_fallback.def: what it yields is inferred, not read */
	unsigned spelling; /**< index of the spelling that matched */
};

struct hs_layout {
	struct hs_layout_field fields[HS_FIELD_COUNT];
	uint64_t sizes[HS_TYPE_COUNT]; /**< sizeof; 0: this release does not say */
};

/** @return NULL, or HS_ERR_UNSUPPORTED naming the first REQUIRED field that is missing. */
HS_MUST_CHECK struct hs_err *hs_layout_resolve(const struct hs_vmstructs *vm,
                                               struct hs_layout *layout);

static inline bool hs_layout_has(const struct hs_layout *layout, enum hs_field field)
{
	return layout->fields[field].present;
}

/** Offset of a field; 0 when it is absent: ask hs_layout_has() of an OPTIONAL one first. */
static inline uint64_t hs_layout_offset(const struct hs_layout *layout, enum hs_field field)
{
	return layout->fields[field].offset;
}

/** Address of a static; 0 when it is absent. */
static inline hs_addr hs_layout_static(const struct hs_layout *layout, enum hs_field field)
{
	return layout->fields[field].address;
}

#endif // HS_JVM_LAYOUT_H
