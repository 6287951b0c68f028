// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * vmStructs: HotSpot's own description of its data, found through the dynamic symbols
 * gHotSpotVMStructs, gHotSpotVMTypes, gHotSpotVMIntConstants, gHotSpotVMLongConstants of libjvm
 * (they survive stripping). Lookup tables, nothing interpreted. Source: vmStructs.hpp, 8 to 28.
 */
#ifndef HS_JVM_VMSTRUCTS_H
#define HS_JVM_VMSTRUCTS_H

#include "core/target.h"

struct hs_vmstructs;

/** Where a field is. */
struct hs_vmfield {
	bool is_static;
	uint64_t offset;  /**< bytes into the object; not static */
	hs_addr address;  /**< static: where the variable is */
	const char *type; /**< C++ type as HotSpot spells it: "OopHandle", "JavaThread*" */
};

/** Read the tables of the libjvm in @p module. All memory in @p arena. */
HS_MUST_CHECK struct hs_err *hs_vmstructs_read(struct hs_target *target,
                                               const struct hs_module *module,
                                               struct hs_arena *arena, struct hs_vmstructs **ret);

/** NULL when this release does not publish it. */
const struct hs_vmfield *hs_vmstructs_field(const struct hs_vmstructs *vm, const char *type,
                                            const char *field);
/** sizeof a type; 0 when unknown. */
uint64_t hs_vmstructs_sizeof(const struct hs_vmstructs *vm, const char *type);

/** Int and long constants. @return false when absent, *ret untouched. */
bool hs_vmstructs_constant(const struct hs_vmstructs *vm, const char *name, int64_t *ret);

#endif // HS_JVM_VMSTRUCTS_H
