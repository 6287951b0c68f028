// SPDX-License-Identifier: Apache-2.0
/** @file The headers of a core: is it one, and where do its segments and notes lie. */

#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "core/source/core_file.h"
#include "core/source/elf_image.h"

enum {
	PHDRS_AT_ONCE = 512,
	MAX_NOTE_RANGES = 1024, // the kernel and gcore write one
};

static const char *machine_name(unsigned machine)
{
	static const struct {
		unsigned machine;
		const char *name;
	} names[] = {
		{EM_386,       "x86 (32 bit)"   },
		{EM_ARM,       "ARM (32 bit)"   },
		{EM_AARCH64,   "aarch64 (ARM64)"},
		{EM_PPC64,     "ppc64"          },
		{EM_S390,      "s390x"          },
		{EM_RISCV,     "RISC-V"         },
		{EM_LOONGARCH, "LoongArch"      },
		{EM_SPARCV9,   "SPARC"          },
		{EM_MIPS,      "MIPS"           },
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (names[i].machine == machine)
			return names[i].name;
	}
	return NULL;
}

/** e_type and e_machine lie at the same place in all classes. */
static unsigned header_half(const Elf64_Ehdr *ehdr, const Elf64_Half *field)
{
	unsigned value = *field;

	return ehdr->e_ident[EI_DATA] == ELFDATA2MSB ? value >> 8 | (value & 0xff) << 8 : value;
}

static struct hs_err *not_a_core(const struct core *core, unsigned type)
{
	const char *what = type == ET_EXEC  ? "an ELF executable"
	                   : type == ET_DYN ? "an ELF executable or shared library"
	                   : type == ET_REL ? "an ELF object file"
	                                    : "an ELF file of some other type";

	return hs_err_new(HS_ERR_BAD_DATA, "%s is %s, not a core", core->path, what);
}

static struct hs_err *not_elf(const struct core *core, const void *head)
{
	static const char hprof[] = "JAVA PROFILE"; // hprof format: "JAVA PROFILE 1.0.2"

	if (!memcmp(head, hprof, sizeof(hprof) - 1))
		return hs_err_new(HS_ERR_BAD_DATA, "%s is a Java heap dump, not a core",
		                  core->path);
	return hs_err_new(HS_ERR_BAD_DATA, "%s is not an ELF file, so not a core", core->path);
}

static struct hs_err *check_header(const struct core *core, const Elf64_Ehdr *ehdr)
{
	if (memcmp(ehdr->e_ident, ELFMAG, SELFMAG))
		return not_elf(core, ehdr);

	unsigned type = header_half(ehdr, &ehdr->e_type);
	unsigned machine = header_half(ehdr, &ehdr->e_machine);
	const char *name = machine_name(machine);

	if (type != ET_CORE)
		return not_a_core(core, type);
	if (machine != EM_X86_64)
		return name ? hs_err_new(HS_ERR_UNSUPPORTED,
		                         "%s is a core of an %s program: only x86_64 can be read",
		                         core->path, name)
		            : hs_err_new(HS_ERR_UNSUPPORTED,
		                         "%s is a core of machine type %u: only x86_64 can be read",
		                         core->path, machine);
	if (ehdr->e_ident[EI_CLASS] != ELFCLASS64 || ehdr->e_ident[EI_DATA] != ELFDATA2LSB)
		return hs_err_new(HS_ERR_UNSUPPORTED,
		                  "%s is a core of a 32-bit (x32) or big-endian program: only "
		                  "64-bit x86_64 can be read",
		                  core->path);
	if (ehdr->e_phentsize != sizeof(Elf64_Phdr) || ehdr->e_phoff < sizeof(*ehdr) ||
	    !ehdr->e_phnum)
		return hs_err_new(HS_ERR_BAD_DATA, "%s: its ELF header makes no sense", core->path);
	return NULL;
}

/**
 * Number of program headers. From 65535 on it stands in section header 0 (PN_XNUM, elf(5)), which
 * the kernel writes last: a truncated core has lost it. The kernel's first header is the note,
 * whose data follow the headers at once: that tells the number then.
 */
static uint64_t count_phdrs(const struct core *core, const Elf64_Ehdr *ehdr)
{
	Elf64_Shdr shdr;
	Elf64_Phdr first;

	if (ehdr->e_phnum != PN_XNUM)
		return ehdr->e_phnum;
	if (ehdr->e_shoff && hs_pread_full(core->fd, &shdr, sizeof(shdr), ehdr->e_shoff) &&
	    shdr.sh_info >= PN_XNUM)
		return shdr.sh_info;
	if (hs_pread_full(core->fd, &first, sizeof(first), ehdr->e_phoff) &&
	    first.p_type == PT_NOTE && first.p_offset > ehdr->e_phoff) {
		uint64_t count = (first.p_offset - ehdr->e_phoff) / sizeof(first);

		if (count >= PN_XNUM)
			return count;
	}
	return PN_XNUM;
}

/** How many of the @p len bytes at @p offset the file has; the rest counts as truncated. */
static uint64_t clip_to_file(struct core *core, uint64_t offset, uint64_t len)
{
	uint64_t have = offset >= core->size        ? 0
	                : len > core->size - offset ? core->size - offset
	                                            : len;
	size_t *missing = &core->base.info.truncated_bytes;

	if (__builtin_add_overflow(*missing, len - have, missing))
		*missing = SIZE_MAX;
	return have;
}

static void add_segment(struct core *core, const Elf64_Phdr *phdr)
{
	uint64_t memsz = phdr->p_memsz ? phdr->p_memsz : phdr->p_filesz;
	uint64_t filesz = phdr->p_filesz;

	if (!memsz)
		return;
	if (hs_addr_wraps(phdr->p_vaddr, memsz) || phdr->p_vaddr + memsz == 0) {
		core->num_bad_headers++;
		return;
	}
	if (filesz > memsz) {
		core->num_bad_headers++;
		filesz = memsz;
	}
	core->segments[core->num_segments++] = (struct core_segment){
		.start = phdr->p_vaddr,
		.end = phdr->p_vaddr + memsz,
		.file_end = phdr->p_vaddr + clip_to_file(core, phdr->p_offset, filesz),
		.offset = phdr->p_offset,
		.prot = (phdr->p_flags & PF_R ? HS_PROT_READ : 0) |
	                (phdr->p_flags & PF_W ? HS_PROT_WRITE : 0) |
	                (phdr->p_flags & PF_X ? HS_PROT_EXEC : 0),
	};
}

static void add_notes(struct core *core, const Elf64_Phdr *phdr)
{
	struct core_range *range;

	if (core->note_ranges.len == MAX_NOTE_RANGES) {
		core->notes.capped = true;
		return;
	}
	range = hs_vec_push(core->base.arena, &core->note_ranges);
	if (!range)
		return;
	*range = (struct core_range){phdr->p_offset,
	                             clip_to_file(core, phdr->p_offset, phdr->p_filesz)};
	core->lost_notes += phdr->p_filesz - range->len;
}

/** By start; of equal ones the larger part in the file last, which then wins. */
static int compare_segments(const void *a, const void *b)
{
	const struct core_segment *x = a, *y = b;

	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	if (x->file_end != y->file_end)
		return x->file_end < y->file_end ? -1 : 1;
	return (x->offset > y->offset) - (x->offset < y->offset);
}

/** Sort; where two overlap, the first ends where the second begins. */
static void order_segments(struct core *core)
{
	struct core_segment *segments = core->segments;
	size_t kept = 0;

	if (core->num_segments)
		qsort(segments, core->num_segments, sizeof(*segments), compare_segments);
	for (size_t i = 0; i < core->num_segments; i++) {
		if (kept && segments[kept - 1].end > segments[i].start) {
			struct core_segment *before = &segments[kept - 1];

			core->num_bad_headers++;
			before->end = segments[i].start;
			if (before->file_end > before->end)
				before->file_end = before->end;
			if (before->start == before->end)
				kept--;
		}
		segments[kept++] = segments[i];
	}
	core->num_segments = kept;
}

static struct hs_err *read_phdrs(struct core *core, uint64_t offset, uint64_t count)
{
	Elf64_Phdr phdrs[PHDRS_AT_ONCE];

	core->segments = hs_arena_calloc(core->base.arena, count, sizeof(*core->segments));
	if (!core->segments)
		return hs_err_oom();
	for (uint64_t i = 0; i < count; i += PHDRS_AT_ONCE) {
		uint64_t some = count - i < PHDRS_AT_ONCE ? count - i : PHDRS_AT_ONCE;

		if (!hs_pread_full(core->fd, phdrs, some * sizeof(phdrs[0]),
		                   offset + i * sizeof(phdrs[0])))
			return hs_err_new(HS_ERR_BAD_DATA, "%s: its program headers cannot be read",
			                  core->path);
		for (uint64_t j = 0; j < some; j++) {
			if (phdrs[j].p_type == PT_LOAD)
				add_segment(core, &phdrs[j]);
			else if (phdrs[j].p_type == PT_NOTE)
				add_notes(core, &phdrs[j]);
		}
	}
	order_segments(core);
	return NULL;
}

struct hs_err *hs_core_read_headers(struct core *core)
{
	Elf64_Ehdr ehdr = {0};

	if (!core->size)
		return hs_err_new(HS_ERR_BAD_DATA, "%s is empty", core->path);
	size_t len = core->size < sizeof(ehdr) ? core->size : sizeof(ehdr);
	if (!hs_pread_full(core->fd, &ehdr, len, 0))
		return hs_err_new(HS_ERR_BAD_DATA, "%s cannot be read", core->path);
	if (len < sizeof(ehdr) && !memcmp(ehdr.e_ident, ELFMAG, SELFMAG))
		return hs_err_new(HS_ERR_BAD_DATA, "%s is cut off inside of its ELF header",
		                  core->path);
	struct hs_err *err = check_header(core, &ehdr);
	if (err)
		return err;

	uint64_t count = count_phdrs(core, &ehdr);
	uint64_t have =
		ehdr.e_phoff < core->size ? (core->size - ehdr.e_phoff) / sizeof(Elf64_Phdr) : 0;
	if (!have)
		return hs_err_new(HS_ERR_BAD_DATA, "%s is cut off before its program headers",
		                  core->path);
	if (count > have) {
		clip_to_file(core, ehdr.e_phoff, count * sizeof(Elf64_Phdr));
		count = have;
	}
	if (count > HS_MAX_SEGMENTS) {
		core->num_bad_headers++;
		count = HS_MAX_SEGMENTS;
	}
	return read_phdrs(core, ehdr.e_phoff, count);
}
