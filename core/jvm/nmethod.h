// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Nmethod: where a compiled method keeps its debug information. Three generations of layout: all in
 * the blob by offsets (8), partly by addresses (11 to 22), in data apart from the blob (23+).
 */
#ifndef HS_JVM_NMETHOD_H
#define HS_JVM_NMETHOD_H

#include "core/jvm/code_cache.h"

enum {
	HS_NMETHOD_DEOPT_PCS = 2,
	HS_NMETHOD_RECEIVERS = 3,
};

/** All addresses are of the target; each range is sane (start <= end, at most 64 MiB). */
struct hs_nmethod {
	hs_addr method;                      /**< Method * */
	uint8_t tier;                        /**< compilation level, 0 for a native wrapper */
	hs_addr pcs, pcs_end;                /**< PcDesc array, ascending by pc */
	hs_addr scopes, scopes_end;          /**< compressed debug information */
	hs_addr metadata, metadata_end;      /**< Method * by index - 1 */
	hs_addr oops, oops_end;              /**< constants by index - 1 */
	hs_addr deopt[HS_NMETHOD_DEOPT_PCS]; /**< return pcs of a deoptimized frame; 0: none */
	int64_t orig_pc_offset;              /**< of the original pc, from the unextended sp */
	/** Native wrapper: where the receiver may be, in bytes from the unextended sp; not more
	 * than guesses. 0: none. */
	int32_t receivers[HS_NMETHOD_RECEIVERS];
};

/** One PcDesc. */
struct hs_pc_desc {
	int32_t pc_offset;     /**< from the first instruction */
	int32_t scope_offset;  /**< into the scopes; 0: no scope */
	int32_t object_offset; /**< of the pool of scalar replaced objects; 0: none */
};

/** Decode the nmethod part of @p blob, which is read already into @p record. */
HS_MUST_CHECK struct hs_err *hs_nmethod_read(struct hs_jvm *jvm, const struct hs_blob *blob,
                                             const struct hs_record *record,
                                             const struct hs_nmethod **ret);

/**
 * The debug information for @p pc: the one recorded for exactly this pc (as for each return
 * address), or the next one after it (as the VM does for an interrupted pc).
 * @return NULL; HS_ERR_ABSENT when there is none.
 */
HS_MUST_CHECK struct hs_err *hs_nmethod_pc_desc(struct hs_jvm *jvm, const struct hs_blob *blob,
                                                hs_addr pc, bool exact, struct hs_pc_desc *ret);

/** The last debug information before @p pc. HS_ERR_ABSENT when there is none. */
HS_MUST_CHECK struct hs_err *hs_nmethod_pc_desc_before(struct hs_jvm *jvm,
                                                       const struct hs_blob *blob, hs_addr pc,
                                                       struct hs_pc_desc *ret);

/** Entry @p index of the metadata table; 0 for index 0. */
HS_MUST_CHECK struct hs_err *hs_nmethod_metadata(struct hs_jvm *jvm, const struct hs_nmethod *nm,
                                                 uint32_t index, hs_addr *ret);
/** Entry @p index of the oop table, decoded; 0 for index 0. */
HS_MUST_CHECK struct hs_err *hs_nmethod_oop(struct hs_jvm *jvm, const struct hs_nmethod *nm,
                                            uint32_t index, hs_addr *ret);

/** Is @p pc what the return address of a deoptimized frame was replaced with? */
bool hs_nmethod_is_deopt_pc(const struct hs_nmethod *nm, hs_addr pc);

#endif // HS_JVM_NMETHOD_H
