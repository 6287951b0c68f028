// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Scopes: what the debug information of a compiled method says about one pc: the chain of inlined
 * methods there, their monitors and locals (ScopeDesc, DebugInfoReadStream; same in 8 to 28 but
 * where noted). Decoded once per pc.
 */
#ifndef HS_JVM_SCOPES_H
#define HS_JVM_SCOPES_H

#include "core/jvm/code_cache.h"
#include "core/jvm/nmethod.h"

enum hs_scope_value_kind {
	HS_SCOPE_OTHER,    /**< a number, dead, or not known */
	HS_SCOPE_STACK,    /**< in a stack slot */
	HS_SCOPE_REGISTER, /**< in a register */
	HS_SCOPE_OOP,      /**< a constant */
	HS_SCOPE_SCALAR,   /**< an object that the compiler dissolved */
};

/** Where compiled code keeps an object. */
struct hs_scope_value {
	enum hs_scope_value_kind kind;
	bool is_narrow; /**< HS_SCOPE_STACK, HS_SCOPE_REGISTER: a compressed oop */
	uint32_t where; /**< HS_SCOPE_STACK: bytes from the unextended sp; HS_SCOPE_REGISTER: VMReg
	                 */
	hs_addr oop;    /**< HS_SCOPE_OOP: the object; HS_SCOPE_SCALAR: the mirror of its class */
};

struct hs_scope_monitor {
	struct hs_scope_value owner;
	bool is_eliminated;
};

/** One method at a pc. */
struct hs_scope {
	struct hs_method *method;
	const struct hs_location *location;
	uint32_t locals;                         /**< offset of the list of locals; 0: none */
	const struct hs_scope_monitor *monitors; /**< innermost first */
	size_t num_monitors;
};

/** All that is known of one pc in the code cache. In the arena, cached. */
struct hs_code_site {
	const struct hs_blob *blob;
	const struct hs_scope *scopes; /**< innermost first; empty: no nmethod, or unreadable */
	size_t num_scopes;
};

/**
 * Look up @p pc.
 * @param exact It is a return address; otherwise the next debug information after it is taken.
 * @return As hs_code_cache_blob(). Unreadable debug information is a gap of the snapshot: what is
 * left then is the compiled method alone, or no scope.
 */
HS_MUST_CHECK struct hs_err *hs_code_site_get(struct hs_jvm *jvm, hs_addr pc, bool exact,
                                              const struct hs_code_site **ret);

/** Local variable @p slot of @p scope. HS_ERR_ABSENT when it has no such local. */
HS_MUST_CHECK struct hs_err *hs_scope_local(struct hs_jvm *jvm, const struct hs_nmethod *nm,
                                            const struct hs_scope *scope, unsigned slot,
                                            struct hs_scope_value *ret);

#endif // HS_JVM_SCOPES_H
