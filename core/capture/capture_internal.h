// SPDX-License-Identifier: Apache-2.0
/** @file What the parts of the capture share. Not installed. */
#ifndef HS_CAPTURE_INTERNAL_H
#define HS_CAPTURE_INTERNAL_H

#include "core/capture/capture.h"
#include "core/source/page_store.h"
#include "core/source/source.h"

// ---- blob.c: bytes that grow

/** Zero-initialize. Out of memory is sticky. */
struct hs_blob {
	uint8_t *bytes;
	size_t len, cap;
	bool failed;
};

void hs_blob_add(struct hs_blob *blob, const void *bytes, size_t len);
void hs_blob_deinit(struct hs_blob *blob);

// ---- essentials.c

/**
 * Read, and so record, what debuggers need to find the mapped files, and what is in no file: the
 * dynamic sections, the list of loaded objects, the vdso. What cannot be read is left out.
 * @param[out] cut_ret Were the lists longer than any that a linker makes?
 */
HS_MUST_CHECK struct hs_err *hs_capture_essentials(struct hs_target *target, bool *cut_ret);

// ---- core_notes.c

/** All notes of the core. */
HS_MUST_CHECK struct hs_err *hs_capture_notes(const struct hs_source *source,
                                              const struct hs_second_look *second_look,
                                              const char *tool, struct hs_blob *blob);

// ---- segments.c: which memory, in which program header

/** One PT_LOAD. */
struct hs_capture_segment {
	hs_addr start;
	uint64_t memsz, filesz;
	unsigned prot; /**< enum hs_prot */
	size_t page;   /**< of the store: its first one, or the first one in it or behind it */
};

struct hs_capture_segments {
	struct hs_capture_segment *items; /**< from malloc, ascending */
	size_t num, cap;
	uint64_t filesz; /**< of all together */
};

/** A part of a mapping that is to be copied whole. */
struct hs_capture_range {
	hs_addr start, end;
};

/**
 * Segments for the mappings of @p source: the pages of its store (sorted), and the @p whole ranges
 * (ascending, disjoint). What a mapping has besides is in p_memsz alone, so that the map of the
 * address space is complete.
 */
HS_MUST_CHECK struct hs_err *hs_capture_plan(const struct hs_source *source,
                                             const struct hs_capture_range *whole, size_t num_whole,
                                             struct hs_capture_segments *ret);

// ---- full.c

/**
 * The memory that a full core has: what can be read, is no device, is not excluded from dumps
 * (MADV_DONTDUMP), was ever touched, and is not in a file that is there for everybody.
 * @param[out] ret From malloc.
 */
HS_MUST_CHECK struct hs_err *hs_capture_full_ranges(struct hs_target *target,
                                                    struct hs_capture_range **ret, size_t *num_ret);

#endif // HS_CAPTURE_INTERNAL_H
