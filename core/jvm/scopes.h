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
	HS_SCOPE_OTHER,    /**< not known: one of several objects, a constant that cannot be read */
	HS_SCOPE_DEAD,     /**< kept nowhere */
	HS_SCOPE_STACK,    /**< in a stack slot */
	HS_SCOPE_REGISTER, /**< in a register */
	HS_SCOPE_OOP,      /**< a constant, perhaps null */
	HS_SCOPE_INT,      /**< a constant of 32 bits */
	HS_SCOPE_LONG,     /**< a constant of 64 bits */
	HS_SCOPE_SCALAR,   /**< an object that the compiler dissolved */
};

/** What HS_SCOPE_STACK and HS_SCOPE_REGISTER hold. */
enum hs_scope_content {
	HS_CONTENT_OOP,
	HS_CONTENT_NARROW_OOP,
	HS_CONTENT_INT,             /**< int or float: the low 32 bits */
	HS_CONTENT_LONG,            /**< long or double */
	HS_CONTENT_FLOAT_IN_DOUBLE, /**< a float that its register holds as a double */
	HS_CONTENT_OTHER,           /**< a vector, a return address of jsr */
};

/** Where compiled code keeps a value. */
struct hs_scope_value {
	enum hs_scope_value_kind kind;
	enum hs_scope_content content;
	uint32_t where; /**< HS_SCOPE_STACK: bytes from the unextended sp; HS_SCOPE_REGISTER:
	                   VMReg */
	hs_addr oop;    /**< HS_SCOPE_OOP: the object; HS_SCOPE_SCALAR: the mirror of its class */
	uint64_t constant; /**< HS_SCOPE_INT, HS_SCOPE_LONG */
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
	int32_t objects;               /**< offset of the pool of dissolved objects; 0: none */
	const struct hs_scope *scopes; /**< innermost first; empty: no nmethod, or unreadable */
	size_t num_scopes;
	/** The pc has no debug information of its own: all but the method of the outermost scope is
	 * that of the places around it. */
	bool is_near;
};

/**
 * Look up @p pc.
 * @param exact It is a return address; otherwise what the debug information before and after it
 * agrees on is taken: the innermost method may then have no line.
 * @return As hs_code_cache_blob(). Unreadable debug information is a gap of the snapshot: what is
 * left then is the compiled method alone, or no scope.
 */
HS_MUST_CHECK struct hs_err *hs_code_site_get(struct hs_jvm *jvm, hs_addr pc, bool exact,
                                              const struct hs_code_site **ret);

/** Local variable @p slot of @p scope. HS_ERR_ABSENT when it has no such local. */
HS_MUST_CHECK struct hs_err *hs_scope_local(struct hs_jvm *jvm, const struct hs_nmethod *nm,
                                            const struct hs_scope *scope, unsigned slot,
                                            struct hs_scope_value *ret);

/** All local variables of a scope of @p site, by slot, at most @p max. A long or double is in the
 * second of its slots. */
HS_MUST_CHECK struct hs_err *hs_scope_locals(struct hs_jvm *jvm, const struct hs_code_site *site,
                                             const struct hs_scope *scope,
                                             struct hs_scope_value *values, size_t max,
                                             size_t *count_ret);

#endif // HS_JVM_SCOPES_H
