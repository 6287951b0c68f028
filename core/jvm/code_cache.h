// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Code cache: which CodeBlob holds a pc. The heaps are read once; blobs are found through the
 * segment map, validated, and cached by address. Everything lives in the arena but the maps.
 */
#ifndef HS_JVM_CODE_CACHE_H
#define HS_JVM_CODE_CACHE_H

#include "core/jvm/jvm_internal.h"

struct hs_nmethod;
struct hs_code_site;

enum {
	HS_MAX_CODE_HEAPS = 16, /**< 8: one; 9+: at most one per CodeBlobType */
};

/** One CodeHeap. */
struct hs_code_heap {
	hs_addr low, high; /**< committed memory */
	hs_addr segmap;    /**< first byte of the segment map */
	uint64_t segments; /**< bytes of it that are committed */
	unsigned log2_segment_size;
};

/** One CodeBlob. */
struct hs_blob {
	hs_addr addr, end;   /**< of the whole blob */
	const char *name;    /**< raw; "nmethod", "StubRoutines (initial stubs)"; never NULL */
	hs_addr code_begin;  /**< first instruction */
	uint64_t frame_size; /**< bytes with the return address; 0: no frame of a fixed size */
	/** From this pc on the frame is set up; 0: never known to be (CodeOffsets,
	 * frame_never_safe). */
	hs_addr frame_complete;
	const struct hs_nmethod *nmethod;   /**< NULL: another kind of blob */
	const struct hs_location *location; /**< as a stub frame */
};

struct hs_code_cache {
	struct hs_code_heap heaps[HS_MAX_CODE_HEAPS];
	size_t num_heaps;
	hs_addr low, high; /**< hull of the heaps */
	hs_addr interpreter_start, interpreter_end;
	hs_addr call_stub_return; /**< return address of every call from the call stub */
	hs_addr return_barrier;   /**< 27+; 0: known by the blob's name */
	const struct hs_location *call_stub_location;
	const struct hs_location *static_call_stub_location;
	struct hs_map64 blobs;     /**< CodeBlob * → struct hs_blob * */
	struct hs_map64 sites;     /**< pc and exactness → struct hs_code_site *, see scopes.h */
	struct hs_map64 frame_fps; /**< hs_frame.sp → frame pointer, see frame_locals.c */
};

/** Does @p pc lie in a code heap? A range check. */
bool hs_code_cache_owns(const struct hs_code_cache *cache, hs_addr pc);

/** The blob that holds @p pc. HS_ERR_ABSENT: free space, or no code heap. HS_ERR_BAD_DATA: the
 * segment map or the blob makes no sense. */
HS_MUST_CHECK struct hs_err *hs_code_cache_blob(struct hs_jvm *jvm, hs_addr pc,
                                                const struct hs_blob **ret);

static inline bool hs_code_cache_is_interpreter(const struct hs_code_cache *cache, hs_addr pc)
{
	return hs_addr_in(pc, cache->interpreter_start, cache->interpreter_end);
}

/** A copy of one VM structure, so that its fields cost one read. */
struct hs_record {
	const struct hs_jvm *jvm;
	hs_addr addr;
	size_t len;
	uint8_t bytes[1024];
};

HS_MUST_CHECK struct hs_err *hs_record_read(struct hs_jvm *jvm, hs_addr addr, uint64_t len,
                                            struct hs_record *ret);
/** Value of an integer field, of the width and sign that its C++ type has; 0 when the release has
 * no such field, or it lies outside of the copy. */
int64_t hs_record_int(const struct hs_record *record, enum hs_field field);

#endif // HS_JVM_CODE_CACHE_H
