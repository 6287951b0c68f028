// SPDX-License-Identifier: Apache-2.0
/** @file Core writer: ELF cores and images, byte by byte. */

#include "tests/support/core_writer.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/procfs.h>
#include <unistd.h>

#include "core/base/arena.h"

struct segment {
	Elf64_Phdr phdr;
	uint8_t *bytes;
};

struct row {
	uint64_t start, end, offset;
	const char *path;
};

struct hs_core_writer {
	struct hs_arena *arena;
	HS_VEC(struct segment) segments;
	HS_VEC(uint8_t) notes;
	HS_VEC(struct row) rows;
	HS_VEC(const char *) saved;
	bool xnum;
};

static void *need(void *ptr)
{
	if (!ptr)
		abort();
	return ptr;
}

struct hs_core_writer *hs_core_writer_create(void)
{
	struct hs_core_writer *writer = need(calloc(1, sizeof(*writer)));

	writer->arena = need(hs_arena_create());
	return writer;
}

void hs_core_writer_destroy(struct hs_core_writer *writer)
{
	if (!writer)
		return;
	hs_vec_each (path, &writer->saved)
		unlink(*path);
	hs_arena_destroy(writer->arena);
	free(writer);
}

void hs_core_writer_segment(struct hs_core_writer *writer, uint64_t vaddr, const void *bytes,
                            size_t filesz, uint64_t memsz, uint32_t flags)
{
	struct segment *segment = need(hs_vec_push(writer->arena, &writer->segments));

	segment->phdr = (Elf64_Phdr){
		.p_type = PT_LOAD,
		.p_flags = flags,
		.p_vaddr = vaddr,
		.p_filesz = filesz,
		.p_memsz = memsz,
		.p_align = HS_TEST_ELF_PAGE,
	};
	segment->bytes = need(hs_arena_alloc(writer->arena, filesz ? filesz : 1));
	if (filesz)
		memcpy(segment->bytes, bytes, filesz);
}

static void put(struct hs_core_writer *writer, const void *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		*(uint8_t *)need(hs_vec_push(writer->arena, &writer->notes)) =
			((const uint8_t *)bytes)[i];
	while (writer->notes.len % 4)
		need(hs_vec_push(writer->arena, &writer->notes));
}

void hs_core_writer_note(struct hs_core_writer *writer, const char *name, uint32_t type,
                         const void *desc, size_t len)
{
	const Elf64_Nhdr nhdr = {(Elf64_Word)strlen(name) + 1, (Elf64_Word)len, type};

	put(writer, &nhdr, sizeof(nhdr));
	put(writer, name, strlen(name) + 1);
	put(writer, desc, len);
}

void hs_core_writer_thread(struct hs_core_writer *writer, pid_t tid,
                           const struct user_regs_struct *regs, int signo, bool by_kernel)
{
	struct elf_prstatus status = {.pr_pid = tid, .pr_cursig = (short)signo};

	memcpy(&status.pr_reg, regs, sizeof(status.pr_reg));
	if (by_kernel) {
		status.pr_ppid = 1;
		status.pr_pgrp = status.pr_sid = tid;
		status.pr_utime.tv_sec = 1;
		status.pr_utime.tv_usec = 700000;
		status.pr_stime.tv_usec = 800000;
	}
	hs_core_writer_note(writer, "CORE", NT_PRSTATUS, &status, sizeof(status));
}

void hs_core_writer_psinfo(struct hs_core_writer *writer, pid_t pid, const char *fname,
                           const char *psargs)
{
	struct elf_prpsinfo info = {.pr_pid = pid};

	// Full to the brim when they are too long, as the kernel's strncpy() leaves them.
	memcpy(info.pr_fname, fname, strnlen(fname, sizeof(info.pr_fname)));
	memcpy(info.pr_psargs, psargs, strnlen(psargs, sizeof(info.pr_psargs)));
	hs_core_writer_note(writer, "CORE", NT_PRPSINFO, &info, sizeof(info));
}

void hs_core_writer_auxv(struct hs_core_writer *writer, const uint64_t (*pairs)[2],
                         size_t num_pairs)
{
	uint64_t(*all)[2] = need(hs_arena_calloc(writer->arena, num_pairs + 1, sizeof(*all)));

	memcpy(all, pairs, num_pairs * sizeof(*all));
	hs_core_writer_note(writer, "CORE", NT_AUXV, all, (num_pairs + 1) * sizeof(*all));
}

void hs_core_writer_file(struct hs_core_writer *writer, uint64_t start, uint64_t end,
                         uint64_t offset, const char *path)
{
	struct row *row = need(hs_vec_push(writer->arena, &writer->rows));

	*row = (struct row){start, end, offset, need(hs_arena_strdup(writer->arena, path))};
}

void hs_core_writer_xnum(struct hs_core_writer *writer)
{
	writer->xnum = true;
}

static void add_file_note(struct hs_core_writer *writer)
{
	size_t len = 2 * sizeof(uint64_t), pos = len;

	if (!writer->rows.len)
		return;
	hs_vec_each (row, &writer->rows)
		len += 3 * sizeof(uint64_t) + strlen(row->path) + 1;

	uint8_t *desc = need(hs_arena_alloc(writer->arena, len));
	const uint64_t head[2] = {writer->rows.len, HS_TEST_ELF_PAGE};
	memcpy(desc, head, sizeof(head));
	hs_vec_each (row, &writer->rows) {
		const uint64_t words[3] = {row->start, row->end, row->offset / HS_TEST_ELF_PAGE};

		memcpy(desc + pos, words, sizeof(words));
		pos += sizeof(words);
	}
	hs_vec_each (row, &writer->rows) {
		memcpy(desc + pos, row->path, strlen(row->path) + 1);
		pos += strlen(row->path) + 1;
	}
	hs_core_writer_note(writer, "CORE", NT_FILE, desc, len);
	writer->rows.len = 0;
}

uint8_t *hs_core_writer_build(struct hs_core_writer *writer, size_t *len_ret)
{
	add_file_note(writer);

	size_t count = writer->segments.len + 1;
	size_t note_offset = sizeof(Elf64_Ehdr) + count * sizeof(Elf64_Phdr);
	size_t pos = note_offset + writer->notes.len, len;
	hs_vec_each (segment, &writer->segments) {
		segment->phdr.p_offset = pos;
		pos += segment->phdr.p_filesz;
	}
	bool xnum = writer->xnum || count >= PN_XNUM;
	len = pos + (xnum ? sizeof(Elf64_Shdr) : 0);

	uint8_t *core = need(hs_arena_alloc(writer->arena, len));
	Elf64_Ehdr ehdr = {
		.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
		.e_type = ET_CORE,
		.e_machine = EM_X86_64,
		.e_version = EV_CURRENT,
		.e_phoff = sizeof(ehdr),
		.e_ehsize = sizeof(ehdr),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = (Elf64_Half)count,
	};
	if (xnum) {
		const Elf64_Shdr shdr = {.sh_size = 1, .sh_info = (Elf64_Word)count};

		ehdr.e_phnum = PN_XNUM;
		ehdr.e_shoff = pos;
		ehdr.e_shnum = 1;
		ehdr.e_shentsize = sizeof(shdr);
		memcpy(core + pos, &shdr, sizeof(shdr));
	}
	memcpy(core, &ehdr, sizeof(ehdr));
	*hs_core_writer_phdr(core, 0) = (Elf64_Phdr){
		.p_type = PT_NOTE,
		.p_offset = note_offset,
		.p_filesz = writer->notes.len,
	};
	if (writer->notes.len)
		memcpy(core + note_offset, writer->notes.items, writer->notes.len);
	for (size_t i = 0; i < writer->segments.len; i++) {
		const struct segment *segment = &writer->segments.items[i];

		*hs_core_writer_phdr(core, i + 1) = segment->phdr;
		memcpy(core + segment->phdr.p_offset, segment->bytes, segment->phdr.p_filesz);
	}
	*len_ret = len;
	return core;
}

Elf64_Phdr *hs_core_writer_phdr(uint8_t *core, size_t index)
{
	return (Elf64_Phdr *)(void *)(core + sizeof(Elf64_Ehdr)) + index;
}

const char *hs_core_writer_save(struct hs_core_writer *writer, const void *bytes, size_t len)
{
	char *path = need(hs_arena_strdup(writer->arena, "/tmp/hs-test-XXXXXX"));
	int fd = mkstemp(path);

	if (fd < 0)
		abort();
	*(const char **)need(hs_vec_push(writer->arena, &writer->saved)) = path;
	for (const uint8_t *in = bytes; len;) {
		ssize_t put_now = write(fd, in, len);

		if (put_now <= 0)
			abort();
		in += put_now;
		len -= (size_t)put_now;
	}
	close(fd);
	return path;
}

const char *hs_core_writer_file_of_core(struct hs_core_writer *writer)
{
	size_t len;
	uint8_t *core = hs_core_writer_build(writer, &len);

	return hs_core_writer_save(writer, core, len);
}

void hs_test_elf_make(uint8_t bytes[static HS_TEST_ELF_SIZE], int id)
{
	enum {
		NUM_PHDRS = 4,
		NOTE = sizeof(Elf64_Ehdr) + NUM_PHDRS * sizeof(Elf64_Phdr),
		NOTE_LEN = sizeof(Elf64_Nhdr) + 4 + HS_TEST_ID_LEN,
	};
	const Elf64_Ehdr ehdr = {
		.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
		.e_type = ET_DYN,
		.e_machine = EM_X86_64,
		.e_version = EV_CURRENT,
		.e_phoff = sizeof(ehdr),
		.e_ehsize = sizeof(ehdr),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = NUM_PHDRS,
	};
	const Elf64_Phdr phdrs[NUM_PHDRS] = {
		{.p_type = PT_LOAD,
	         .p_flags = PF_R,
	         .p_filesz = NOTE + NOTE_LEN,
	         .p_memsz = NOTE + NOTE_LEN },
		{ .p_type = PT_LOAD,
	         .p_flags = PF_R | PF_X,
	         .p_offset = HS_TEST_ELF_RX,
	         .p_vaddr = HS_TEST_ELF_RX,
	         .p_filesz = HS_TEST_ELF_PAGE,
	         .p_memsz = HS_TEST_ELF_PAGE},
		{ .p_type = PT_LOAD,
	         .p_flags = PF_R | PF_W,
	         .p_offset = HS_TEST_ELF_RW,
	         .p_vaddr = HS_TEST_ELF_RW_VADDR,
	         .p_filesz = HS_TEST_ELF_PAGE,
	         .p_memsz = HS_TEST_ELF_PAGE},
		{ .p_type = id < 0 ? PT_NULL : PT_NOTE,
	         .p_flags = PF_R,
	         .p_offset = NOTE,
	         .p_vaddr = NOTE,
	         .p_filesz = NOTE_LEN,
	         .p_memsz = NOTE_LEN},
	};
	const Elf64_Nhdr nhdr = {4, HS_TEST_ID_LEN, NT_GNU_BUILD_ID};

	memset(bytes, 0, HS_TEST_ELF_SIZE);
	memcpy(bytes, &ehdr, sizeof(ehdr));
	memcpy(bytes + sizeof(ehdr), phdrs, sizeof(phdrs));
	memcpy(bytes + NOTE, &nhdr, sizeof(nhdr));
	memcpy(bytes + NOTE + sizeof(nhdr), "GNU", 4);
	for (int i = 0; i < HS_TEST_ID_LEN; i++)
		bytes[NOTE + sizeof(nhdr) + 4 + i] = (uint8_t)(id + i);
	memset(bytes + HS_TEST_ELF_RX, 0xc0, HS_TEST_ELF_PAGE);
	memset(bytes + HS_TEST_ELF_RW, 0xda, HS_TEST_ELF_PAGE);
}
