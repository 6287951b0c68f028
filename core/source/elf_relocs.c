// SPDX-License-Identifier: Apache-2.0
/** @file Relocated words of an image in memory, compared with the relocations in its file. */

#include <elf.h>
#include <string.h>

#include "core/source/elf_image.h"

enum {
	MAX_DYNAMIC = 256,    // entries of a PT_DYNAMIC; libraries have some 30
	MAX_RELOCS = 1 << 20, // of one library; the largest have some 100000
	WANTED = 4096,        // relocations that are looked at,
	ENOUGH = 64,          // and those that must be there and fit
	TOO_MANY = 16,        // that do not: ld.so changes few of its own
	AT_ONCE = 64,
	TAG_RELRSZ = 35, // DT_RELRSZ, DT_RELR: not in elf.h before glibc 2.36
	TAG_RELR = 36,
};

/** A table in the file. */
struct table {
	uint64_t offset, count;
};

struct relocs {
	struct table rela; // with addends
	struct table relr; // packed relative ones; the addend lies in the file's word (DT_RELR)
};

struct check {
	int fd;
	const struct hs_elf_image *image;
	struct hs_source *source;
	hs_addr bias;
	size_t fit, differ;
};

static bool set_table(const struct hs_elf_image *image, uint64_t vaddr, uint64_t count,
                      struct table *ret)
{
	*ret = (struct table){0};
	if (!count)
		return true;
	ret->count = count;
	return count <= MAX_RELOCS && hs_elf_image_offset(image, vaddr, 1, &ret->offset);
}

static bool find_relocs(int fd, const struct hs_elf_image *image, struct relocs *ret)
{
	Elf64_Dyn entries[MAX_DYNAMIC];
	size_t len = image->dynamic.size < sizeof(entries) ? (size_t)image->dynamic.size
	                                                   : sizeof(entries);
	uint64_t rela = 0, rela_size = 0, relr = 0, relr_size = 0;

	len -= len % sizeof(entries[0]);
	if (!len || !hs_pread_full(fd, entries, len, image->dynamic.offset))
		return false;
	for (size_t i = 0; i < len / sizeof(entries[0]) && entries[i].d_tag != DT_NULL; i++) {
		uint64_t value = entries[i].d_un.d_val;

		switch (entries[i].d_tag) {
		case DT_RELA:
			rela = value;
			break;
		case DT_RELASZ:
			rela_size = value;
			break;
		case TAG_RELR:
			relr = value;
			break;
		case TAG_RELRSZ:
			relr_size = value;
			break;
		default:
			break;
		}
	}
	return set_table(image, rela, rela_size / sizeof(Elf64_Rela), &ret->rela) &&
	       set_table(image, relr, relr_size / sizeof(uint64_t), &ret->relr);
}

/** One word that the loader has made @p addend + bias, if it is read-only since. */
static void check_word(struct check *check, uint64_t vaddr, uint64_t addend)
{
	struct hs_err *err;
	uint64_t word;

	if (vaddr < check->image->relro.vaddr ||
	    vaddr - check->image->relro.vaddr >= check->image->relro.size)
		return;
	err = hs_source_read(check->source, check->bias + vaddr, &word, sizeof(word));
	if (err)
		hs_err_free(err); // this page was not written
	else if (word == check->bias + addend)
		check->fit++;
	else
		check->differ++;
}

/** Some at a time, spread over all of them. */
static bool check_rela(struct check *check, const struct table *table)
{
	Elf64_Rela chunk[AT_ONCE];
	uint64_t step = table->count * AT_ONCE / WANTED;

	step = step > AT_ONCE ? step : AT_ONCE;
	for (uint64_t i = 0; i < table->count && check->differ <= TOO_MANY; i += step) {
		size_t count = table->count - i < AT_ONCE ? (size_t)(table->count - i) : AT_ONCE;

		if (!hs_pread_full(check->fd, chunk, count * sizeof(chunk[0]),
		                   table->offset + i * sizeof(chunk[0])))
			return false;
		for (size_t j = 0; j < count; j++) {
			if (ELF64_R_TYPE(chunk[j].r_info) == R_X86_64_RELATIVE)
				check_word(check, chunk[j].r_offset, (uint64_t)chunk[j].r_addend);
		}
	}
	return true;
}

static void check_packed(struct check *check, uint64_t vaddr)
{
	uint64_t offset, addend;

	if (hs_elf_image_offset(check->image, vaddr, sizeof(addend), &offset) &&
	    hs_pread_full(check->fd, &addend, sizeof(addend), offset))
		check_word(check, vaddr, addend);
}

/** An even entry is an address, an odd one tells which of the next 63 words follow (gABI). */
static bool check_relr(struct check *check, const struct table *table)
{
	uint64_t count = table->count < WANTED ? table->count : WANTED, entry, next = 0;

	for (uint64_t i = 0; i < count && check->differ <= TOO_MANY; i++) {
		if (!hs_pread_full(check->fd, &entry, sizeof(entry),
		                   table->offset + i * sizeof(entry)))
			return false;
		if (!(entry & 1)) {
			check_packed(check, entry);
			next = entry + sizeof(entry);
			continue;
		}
		for (unsigned bit = 1; bit < 64; bit++) {
			if (entry >> bit & 1)
				check_packed(check, next + (bit - 1) * sizeof(entry));
		}
		next += 63 * sizeof(entry);
	}
	return true;
}

/**
 * Has memory another PT_DYNAMIC than the file? glibc's ld.so makes addresses absolute in place, and
 * fills in DT_DEBUG.
 */
static bool other_dynamic(const struct check *check)
{
	Elf64_Dyn in_file[MAX_DYNAMIC], in_memory[MAX_DYNAMIC];
	const struct hs_elf_note *dynamic = &check->image->dynamic;
	size_t len = dynamic->size < sizeof(in_file) ? (size_t)dynamic->size : sizeof(in_file);

	len -= len % sizeof(in_file[0]);
	if (!len || !hs_pread_full(check->fd, in_file, len, dynamic->offset))
		return false;
	struct hs_err *err =
		hs_source_read(check->source, check->bias + dynamic->vaddr, in_memory, len);
	if (err) {
		hs_err_free(err);
		return false;
	}
	for (size_t i = 0; i < len / sizeof(in_file[0]) && in_file[i].d_tag != DT_NULL; i++) {
		uint64_t value = in_file[i].d_un.d_val, loaded = in_memory[i].d_un.d_val;

		if (in_file[i].d_tag != in_memory[i].d_tag ||
		    (in_file[i].d_tag != DT_DEBUG && loaded != value &&
		     loaded != value + check->bias))
			return true;
	}
	return false;
}

enum hs_elf_loaded hs_elf_image_was_loaded(int fd, const struct hs_elf_image *image,
                                           struct hs_source *source, hs_addr bias)
{
	struct check check = {.fd = fd, .image = image, .source = source, .bias = bias};
	struct relocs relocs;

	if (other_dynamic(&check))
		return HS_ELF_LOADED_OTHER;
	if (!image->relro.size || !find_relocs(fd, image, &relocs) ||
	    !check_rela(&check, &relocs.rela) || !check_relr(&check, &relocs.relr))
		return HS_ELF_LOADED_UNKNOWN;
	if (check.differ > TOO_MANY && check.differ > check.fit)
		return HS_ELF_LOADED_OTHER;
	return !check.differ && check.fit >= ENOUGH ? HS_ELF_LOADED : HS_ELF_LOADED_UNKNOWN;
}
