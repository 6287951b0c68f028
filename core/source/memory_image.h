// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Memory image: what can be saved of a program or library whose file is gone, from where it is
 * mapped. Not installed.
 */
#ifndef HS_MEMORY_IMAGE_H
#define HS_MEMORY_IMAGE_H

#include "core/source/elf_image.h"

struct hs_memory_image {
	int fd;           /**< an ELF file in memory (memfd); the caller closes it */
	bool has_symbols; /**< .dynsym: what it exports */
	bool has_unwind;  /**< .eh_frame, all of it */
};

/**
 * Make an ELF file of the parts of an image in memory that are as in its file and that names and
 * unwinding need: headers, exported symbols, unwind information. It has section headers of its own,
 * and holes in place of all else. All images of one source share one budget (core/limits.h).
 * @param start Where file offset 0 is mapped; @p image was read from there.
 * @return NULL, HS_ERR_BAD_DATA (headers that make no sense), HS_ERR_OS, HS_ERR_OOM.
 */
HS_MUST_CHECK struct hs_err *hs_memory_image_make(struct hs_source *source, hs_addr start,
                                                  const struct hs_elf_image *image,
                                                  struct hs_memory_image *ret);

/** Was so much spent on the images of this source that one of them is not whole? */
bool hs_memory_image_spent(const struct hs_source *source);

#endif // HS_MEMORY_IMAGE_H
