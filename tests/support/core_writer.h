// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Core writer: makes ELF cores, and small ELF images to be mapped in them, for tests. Runs out of
 * memory: aborts.
 */
#ifndef HS_CORE_WRITER_H
#define HS_CORE_WRITER_H

#include <elf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

struct hs_core_writer;

struct hs_core_writer *hs_core_writer_create(void);

/** NULL is a no-op. Files that were saved are removed. */
void hs_core_writer_destroy(struct hs_core_writer *writer);

/** Add a PT_LOAD of @p memsz bytes, the first @p filesz of which are @p bytes. */
void hs_core_writer_segment(struct hs_core_writer *writer, uint64_t vaddr, const void *bytes,
                            size_t filesz, uint64_t memsz, uint32_t flags);

/** Add a note, in the order of the calls. */
void hs_core_writer_note(struct hs_core_writer *writer, const char *name, uint32_t type,
                         const void *desc, size_t len);

/** NT_PRSTATUS as the kernel (with a parent and a signal) or as gcore writes it. */
void hs_core_writer_thread(struct hs_core_writer *writer, pid_t tid,
                           const struct user_regs_struct *regs, int signo, bool by_kernel);

/** NT_PRPSINFO. */
void hs_core_writer_psinfo(struct hs_core_writer *writer, pid_t pid, const char *fname,
                           const char *psargs);

/** NT_AUXV of @p num_pairs pairs and AT_NULL. */
void hs_core_writer_auxv(struct hs_core_writer *writer, const uint64_t (*pairs)[2],
                         size_t num_pairs);

/** A row of NT_FILE, which is written after all other notes; @p offset in bytes. */
void hs_core_writer_file(struct hs_core_writer *writer, uint64_t start, uint64_t end,
                         uint64_t offset, const char *path);

/** Write the number of program headers as from 65535 on (PN_XNUM), also when it is smaller. */
void hs_core_writer_xnum(struct hs_core_writer *writer);

/** The whole core, to be changed in place; owned by the writer. Layout as the kernel's: header,
 * program headers (the note first), notes, segments, section header. */
uint8_t *hs_core_writer_build(struct hs_core_writer *writer, size_t *len_ret);

/** Program header @p index of a built core; 0 is the note. */
Elf64_Phdr *hs_core_writer_phdr(uint8_t *core, size_t index);

/** Write bytes to a new temporary file. @return Its path, until the writer is destroyed. */
const char *hs_core_writer_save(struct hs_core_writer *writer, const void *bytes, size_t len);

/** Build and save all of it. */
const char *hs_core_writer_file_of_core(struct hs_core_writer *writer);

enum {
	HS_TEST_ELF_PAGE = 4096,
	HS_TEST_ELF_RX = 0x1000,       /**< file offset and p_vaddr of the code */
	HS_TEST_ELF_RW = 0x2000,       /**< file offset of the data */
	HS_TEST_ELF_RW_VADDR = 0x3000, /**< p_vaddr of the data */
	HS_TEST_ELF_SIZE = 0x3000,
	HS_TEST_ID_LEN = 20,
};

/**
 * A shared library: headers and build id note in page 0, code of 0xc0 bytes, data of 0xda bytes.
 * @param id First byte of the build id, which then counts up; -1: no build id.
 */
void hs_test_elf_make(uint8_t bytes[static HS_TEST_ELF_SIZE], int id);

#endif // HS_CORE_WRITER_H
