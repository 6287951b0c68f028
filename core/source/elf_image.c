// SPDX-License-Identifier: Apache-2.0
/** @file Program headers and build id of an ELF image, from its file or from memory. */

#include "core/source/elf_image.h"

#include <elf.h>
#include <string.h>
#include <unistd.h>

enum {
	MAX_PHDRS = 512,          // of one image; the largest programs have some 20
	PHDRS_AT_ONCE = 16,       // read with one call
	MAX_NOTE_BYTES = 1 << 16, // of one PT_NOTE of an image
};

bool hs_pread_full(int fd, void *buf, size_t len, uint64_t offset)
{
	if (offset > INT64_MAX)
		return false;
	for (uint8_t *out = buf; len;) {
		ssize_t got = pread(fd, out, len, (off_t)offset);

		if (got <= 0)
			return false;
		out += got;
		len -= (size_t)got;
		offset += (uint64_t)got;
		if (offset > INT64_MAX)
			return false;
	}
	return true;
}

/** @p pos: a file offset, or bytes from where file offset 0 is mapped. */
static bool read_at(const struct hs_elf_reader *reader, uint64_t pos, void *buf, size_t len)
{
	hs_addr addr;

	if (reader->fd >= 0 || !reader->source)
		return hs_pread_full(reader->fd, buf, len, pos);
	if (__builtin_add_overflow(reader->start, pos, &addr) || hs_addr_wraps(addr, len))
		return false;
	struct hs_err *err = hs_source_read(reader->source, addr, buf, len);
	hs_err_free(err);
	return !err;
}

static bool add_load(struct hs_elf_image *image, const Elf64_Phdr *phdr)
{
	uint64_t end;

	if (__builtin_add_overflow(phdr->p_vaddr, phdr->p_memsz, &end) ||
	    end > UINT64_MAX - HS_PAGE || phdr->p_filesz > phdr->p_memsz ||
	    image->num_loads == HS_ELF_LOADS)
		return false;
	end = (end + HS_PAGE - 1) & ~(uint64_t)(HS_PAGE - 1);
	// PT_LOADs ascend by p_vaddr (ELF specification): the first tells where offset 0 lies.
	if (!image->num_loads)
		image->first = (phdr->p_vaddr - phdr->p_offset) & ~(uint64_t)(HS_PAGE - 1);
	if (end > image->end)
		image->end = end;
	image->has_exec |= (phdr->p_flags & PF_X) != 0;
	image->loads[image->num_loads++] = (struct hs_elf_load){
		.offset = phdr->p_offset,
		.filesz = phdr->p_filesz,
		.vaddr = phdr->p_vaddr,
		.memsz = phdr->p_memsz,
		.flags = phdr->p_flags,
	};
	return true;
}

static bool add_phdr(struct hs_elf_image *image, const Elf64_Phdr *phdr)
{
	switch (phdr->p_type) {
	case PT_LOAD:
		return add_load(image, phdr);
	case PT_NOTE:
		if (image->num_notes < HS_ELF_NOTES)
			image->notes[image->num_notes++] =
				(struct hs_elf_note){phdr->p_offset, phdr->p_vaddr, phdr->p_filesz};
		return true;
	case PT_DYNAMIC:
		image->dynamic =
			(struct hs_elf_note){phdr->p_offset, phdr->p_vaddr, phdr->p_filesz};
		return true;
	case PT_GNU_EH_FRAME:
		image->eh_frame_hdr =
			(struct hs_elf_note){phdr->p_offset, phdr->p_vaddr, phdr->p_filesz};
		return true;
	case PT_GNU_RELRO:
		image->relro = (struct hs_elf_note){phdr->p_offset, phdr->p_vaddr, phdr->p_memsz};
		return true;
	default:
		return true;
	}
}

static bool is_image_header(const Elf64_Ehdr *ehdr)
{
	return !memcmp(ehdr->e_ident, ELFMAG, SELFMAG) && ehdr->e_ident[EI_CLASS] == ELFCLASS64 &&
	       ehdr->e_ident[EI_DATA] == ELFDATA2LSB && ehdr->e_machine == EM_X86_64 &&
	       (ehdr->e_type == ET_EXEC || ehdr->e_type == ET_DYN) &&
	       ehdr->e_phentsize == sizeof(Elf64_Phdr) && ehdr->e_phnum &&
	       ehdr->e_phnum <= MAX_PHDRS;
}

enum hs_elf_found hs_elf_image_read(const struct hs_elf_reader *reader, struct hs_elf_image *ret)
{
	Elf64_Ehdr ehdr;
	Elf64_Phdr phdrs[PHDRS_AT_ONCE];
	struct hs_elf_image image = {0};

	if (!read_at(reader, 0, &ehdr, sizeof(ehdr)))
		return HS_ELF_UNREADABLE;
	if (!is_image_header(&ehdr))
		return HS_ELF_OTHER;
	for (size_t i = 0; i < ehdr.e_phnum; i += PHDRS_AT_ONCE) {
		size_t count = ehdr.e_phnum - i < PHDRS_AT_ONCE ? ehdr.e_phnum - i : PHDRS_AT_ONCE;
		uint64_t pos;

		if (__builtin_add_overflow(ehdr.e_phoff, i * sizeof(phdrs[0]), &pos) ||
		    !read_at(reader, pos, phdrs, count * sizeof(phdrs[0])))
			return HS_ELF_UNREADABLE;
		for (size_t j = 0; j < count; j++) {
			if (!add_phdr(&image, &phdrs[j]))
				return HS_ELF_OTHER;
		}
	}
	if (!image.num_loads || image.end <= image.first)
		return HS_ELF_OTHER;
	*ret = image;
	return HS_ELF_IMAGE;
}

bool hs_elf_image_offset(const struct hs_elf_image *image, uint64_t vaddr, uint64_t size,
                         uint64_t *ret)
{
	for (size_t i = 0; i < image->num_loads; i++) {
		const struct hs_elf_load *load = &image->loads[i];

		if (vaddr >= load->vaddr && vaddr - load->vaddr < load->filesz)
			return size <= load->filesz - (vaddr - load->vaddr) &&
			       !__builtin_add_overflow(load->offset, vaddr - load->vaddr, ret);
	}
	return false;
}

/** Walk one PT_NOTE that begins at @p pos. */
static size_t build_id_in_note(const struct hs_elf_reader *reader, uint64_t pos, uint64_t size,
                               uint8_t *id)
{
	uint64_t done = 0;

	if (size > MAX_NOTE_BYTES || pos > UINT64_MAX - MAX_NOTE_BYTES)
		return 0;
	while (size - done >= sizeof(Elf64_Nhdr)) {
		Elf64_Nhdr nhdr;
		char name[4];

		if (!read_at(reader, pos + done, &nhdr, sizeof(nhdr)))
			return 0;
		done += sizeof(nhdr);

		uint64_t name_len = ((uint64_t)nhdr.n_namesz + 3) & ~UINT64_C(3);
		uint64_t desc_len = ((uint64_t)nhdr.n_descsz + 3) & ~UINT64_C(3);
		if (name_len + desc_len > size - done)
			return 0;
		if (nhdr.n_type == NT_GNU_BUILD_ID && nhdr.n_namesz == sizeof(name) &&
		    nhdr.n_descsz && nhdr.n_descsz <= HS_BUILD_ID_MAX &&
		    read_at(reader, pos + done, name, sizeof(name)) && !memcmp(name, "GNU", 4))
			return read_at(reader, pos + done + name_len, id, nhdr.n_descsz)
			               ? nhdr.n_descsz
			               : 0;
		done += name_len + desc_len;
	}
	return 0;
}

size_t hs_elf_image_build_id(const struct hs_elf_reader *reader, const struct hs_elf_image *image,
                             uint8_t id[static HS_BUILD_ID_MAX])
{
	size_t len = 0;

	for (size_t i = 0; i < image->num_notes && !len; i++) {
		const struct hs_elf_note *note = &image->notes[i];

		len = build_id_in_note(reader,
		                       reader->fd >= 0 ? note->offset : note->vaddr - image->first,
		                       note->size, id);
	}
	return len;
}

size_t hs_build_id_of_fd(int fd, uint8_t id[static HS_BUILD_ID_MAX])
{
	const struct hs_elf_reader reader = {.fd = fd};
	struct hs_elf_image image;

	if (hs_elf_image_read(&reader, &image) != HS_ELF_IMAGE)
		return 0;
	return hs_elf_image_build_id(&reader, &image, id);
}

size_t hs_build_id_of_memory(struct hs_source *source, hs_addr start,
                             uint8_t id[static HS_BUILD_ID_MAX])
{
	const struct hs_elf_reader reader = {.fd = -1, .source = source, .start = start};
	struct hs_elf_image image;

	if (hs_elf_image_read(&reader, &image) != HS_ELF_IMAGE)
		return 0;
	return hs_elf_image_build_id(&reader, &image, id);
}

const char *hs_build_id_words(struct hs_arena *arena, const uint8_t *id, size_t len)
{
	static const char digits[] = "0123456789abcdef";

	if (!len)
		return "none";
	char *words = hs_arena_alloc(arena, len * 2 + 1);
	for (size_t i = 0; words && i < len; i++) {
		words[2 * i] = digits[id[i] >> 4];
		words[2 * i + 1] = digits[id[i] & 15];
	}
	return words;
}
