// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * ELF image: what the program headers of an executable or shared library say, read from its file
 * or from where it is mapped in a target. Not installed.
 */
#ifndef HS_ELF_IMAGE_H
#define HS_ELF_IMAGE_H

#include "core/source/source.h"

enum {
	HS_ELF_LOADS = 64, /**< PT_LOAD kept; programs have 2 to 8 */
	HS_ELF_NOTES = 16,
	HS_PAGE = 4096, /**< of x86_64: mappings begin and end at its multiples */
};

/** Where to read an image: a file (fd >= 0), or memory where file offset 0 is mapped at start. */
struct hs_elf_reader {
	int fd;
	struct hs_source *source;
	hs_addr start;
};

struct hs_elf_image {
	uint64_t first; /**< p_vaddr that file offset 0 has: bias = start - first */
	uint64_t end;   /**< highest p_vaddr + p_memsz, rounded up to a page */
	bool has_exec;  /**< a PT_LOAD is executable */
	struct hs_elf_load {
		uint64_t offset, filesz, vaddr, memsz;
		uint32_t flags; /**< PF_* */
	} loads[HS_ELF_LOADS];
	size_t num_loads;
	struct hs_elf_note {
		uint64_t offset, vaddr, size;
	} notes[HS_ELF_NOTES];
	size_t num_notes;
	/** PT_DYNAMIC, PT_GNU_RELRO, PT_GNU_EH_FRAME (size 0: none) */
	struct hs_elf_note dynamic, relro, eh_frame_hdr;
};

enum hs_elf_found {
	HS_ELF_UNREADABLE, /**< no ELF header could be read there */
	HS_ELF_OTHER,      /**< something else: not ELF, another machine, a core, an object file */
	HS_ELF_IMAGE,
};

/** Read and check the headers. @param[out] ret Set when HS_ELF_IMAGE is returned. */
enum hs_elf_found hs_elf_image_read(const struct hs_elf_reader *reader, struct hs_elf_image *ret);

/** Its NT_GNU_BUILD_ID. @return Length, 0: none found. */
size_t hs_elf_image_build_id(const struct hs_elf_reader *reader, const struct hs_elf_image *image,
                             uint8_t id[static HS_BUILD_ID_MAX]);

/** File offset of the @p size bytes at @p vaddr, all in one segment. @return false: in none. */
bool hs_elf_image_offset(const struct hs_elf_image *image, uint64_t vaddr, uint64_t size,
                         uint64_t *ret);

enum hs_elf_loaded {
	HS_ELF_LOADED_UNKNOWN,
	HS_ELF_LOADED,
	HS_ELF_LOADED_OTHER, /**< something else was */
};

/**
 * Is the file behind @p fd, an image like @p image, the one that was loaded at @p bias? For memory
 * that has no headers to tell: its words that are read-only after relocation must be those that the
 * loader makes of the file's relocations, all that can be read of a few thousand. Addresses of code
 * are among them: another build has others. Its dynamic section must be the file's, too.
 */
enum hs_elf_loaded hs_elf_image_was_loaded(int fd, const struct hs_elf_image *image,
                                           struct hs_source *source, hs_addr bias);

/** pread() of all of it. */
bool hs_pread_full(int fd, void *buf, size_t len, uint64_t offset);

/** Hexadecimal words for a message, in @p arena; "none" when @p len is 0, NULL out of memory. */
const char *hs_build_id_words(struct hs_arena *arena, const uint8_t *id, size_t len);

#endif // HS_ELF_IMAGE_H
