// SPDX-License-Identifier: Apache-2.0
/** @file An ELF file made of what memory has of one. */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE // memfd_create
#endif
#include "core/source/memory_image.h"

#include <dwarf.h>
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/limits.h"

enum {
	MAX_DYNAMIC = 256,     // entries of PT_DYNAMIC; libraries have some 30
	MAX_SYMBOLS = 1 << 22, // of one image; the largest have some 200000
	MAX_PART = 1 << 28,    // bytes of its symbols, strings or unwind information
	MAX_FILE = INT32_MAX,  // an image that is larger is none
	COPY_AT_ONCE = 16 * HS_PAGE,
	HASH_AT_ONCE = 1024,
	READ_PRICE = 512,          // bytes that could be copied in the time of a small read
	IMAGE_PRICE = 4 * HS_PAGE, // pages of headers of the smallest image
};

enum section {
	NONE,
	DYNSYM,
	DYNSTR,
	VERSIONS,
	EH_HEADER, // before .eh_frame: libdw looks for them in this order
	EH_FRAME,
	NAMES,
	NUM_SECTIONS,
};

static const char names[] = "\0.dynsym\0.dynstr\0.gnu.version\0.eh_frame_hdr\0.eh_frame\0.shstrtab";

struct maker {
	struct hs_source *source;
	const struct hs_elf_image *image;
	hs_addr start, bias;
	int fd;
	Elf64_Shdr sections[NUM_SECTIONS];
};

/** What PT_DYNAMIC says; 0: nothing. Addresses are those of the file. */
struct dynamic {
	uint64_t symtab, strtab, strsz, hash, gnu_hash, versym;
};

/** Take @p price from a budget. What does not fit empties it: nobody goes on with what is left. */
static bool spend(uint64_t *spent, uint64_t budget, uint64_t price)
{
	*spent = *spent > budget || price > budget - *spent ? budget + 1 : *spent + price;
	return *spent <= budget;
}

bool hs_memory_image_spent(const struct hs_source *source)
{
	return source->image_bytes > HS_MAX_IMAGE_BYTES || source->image_reads > HS_MAX_IMAGE_READS;
}

static bool read_memory(const struct maker *maker, uint64_t vaddr, void *buf, size_t len)
{
	hs_addr addr = maker->bias + vaddr;

	if (hs_addr_wraps(addr, len) ||
	    !spend(&maker->source->image_reads, HS_MAX_IMAGE_READS, READ_PRICE + len))
		return false;
	struct hs_err *err = hs_source_read(maker->source, addr, buf, len);
	hs_err_free(err);
	return !err;
}

static bool write_file(const struct maker *maker, uint64_t offset, const void *buf, size_t len)
{
	if (!spend(&maker->source->image_bytes, HS_MAX_IMAGE_BYTES, len))
		return false;
	for (const uint8_t *in = buf; len;) {
		ssize_t put = pwrite(maker->fd, in, len, (off_t)offset);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return false;
		in += put;
		offset += (uint64_t)put;
		len -= (size_t)put;
	}
	return true;
}

/** Write pieces of a page, but what is nothing but zeros stays a hole: it takes no memory. */
static bool write_pages(const struct maker *maker, uint64_t offset, const uint8_t *buf, size_t len)
{
	static const uint8_t zeros[HS_PAGE];

	while (len) {
		size_t rest = HS_PAGE - offset % HS_PAGE, part = len < rest ? len : rest;

		if (memcmp(buf, zeros, part) != 0 && !write_file(maker, offset, buf, part))
			return false;
		buf += part;
		offset += part;
		len -= part;
	}
	return true;
}

static void set_section(struct maker *maker, enum section section, uint32_t type, uint64_t vaddr,
                        uint64_t offset, uint64_t size)
{
	static const uint32_t name_of[NUM_SECTIONS] = {0, 1, 9, 17, 30, 44, 54};

	maker->sections[section] = (Elf64_Shdr){
		.sh_name = name_of[section],
		.sh_type = type,
		.sh_flags = vaddr ? SHF_ALLOC : 0,
		.sh_addr = vaddr,
		.sh_offset = offset,
		.sh_size = size,
		.sh_addralign = 1,
	};
}

/** Copy [vaddr, vaddr + size), all of it, and describe it by a section. */
static bool copy_part(struct maker *maker, enum section section, uint32_t type, uint64_t vaddr,
                      uint64_t size)
{
	uint8_t buf[COPY_AT_ONCE];
	uint64_t offset, done = 0;

	if (!size || size > MAX_PART || !hs_elf_image_offset(maker->image, vaddr, size, &offset) ||
	    offset > MAX_FILE)
		return false;
	while (done < size) {
		size_t part = size - done < sizeof(buf) ? (size_t)(size - done) : sizeof(buf);

		if (!read_memory(maker, vaddr + done, buf, part) ||
		    !write_pages(maker, offset + done, buf, part))
			return false;
		done += part;
	}
	set_section(maker, section, type, vaddr, offset, size);
	return true;
}

// ---- exported symbols

/** ld.so of glibc makes these addresses absolute in place, musl's leaves them as in the file. */
static uint64_t file_address(const struct maker *maker, uint64_t value)
{
	return value >= maker->start ? value - maker->bias : value;
}

static bool read_dynamic(const struct maker *maker, struct dynamic *ret)
{
	Elf64_Dyn entries[MAX_DYNAMIC];
	uint64_t size = maker->image->dynamic.size;
	size_t count =
		(size < sizeof(entries) ? (size_t)size : sizeof(entries)) / sizeof(entries[0]);

	if (!count ||
	    !read_memory(maker, maker->image->dynamic.vaddr, entries, count * sizeof(entries[0])))
		return false;
	for (size_t i = 0; i < count && entries[i].d_tag != DT_NULL; i++) {
		uint64_t value = entries[i].d_un.d_val;

		switch (entries[i].d_tag) {
		case DT_SYMTAB:
			ret->symtab = file_address(maker, value);
			break;
		case DT_STRTAB:
			ret->strtab = file_address(maker, value);
			break;
		case DT_STRSZ:
			ret->strsz = value;
			break;
		case DT_HASH:
			ret->hash = file_address(maker, value);
			break;
		case DT_GNU_HASH:
			ret->gnu_hash = file_address(maker, value);
			break;
		case DT_VERSYM:
			ret->versym = file_address(maker, value);
			break;
		default:
			break;
		}
	}
	return ret->symtab && ret->strtab && ret->strsz;
}

/** Highest of @p count words at @p vaddr. */
static bool highest_word(const struct maker *maker, uint64_t vaddr, uint64_t count, uint32_t *ret)
{
	uint32_t words[HASH_AT_ONCE];

	*ret = 0;
	for (uint64_t i = 0; i < count; i += HASH_AT_ONCE) {
		size_t some = count - i < HASH_AT_ONCE ? (size_t)(count - i) : HASH_AT_ONCE;

		if (!read_memory(maker, vaddr + i * sizeof(words[0]), words,
		                 some * sizeof(words[0])))
			return false;
		for (size_t j = 0; j < some; j++)
			*ret = words[j] > *ret ? words[j] : *ret;
	}
	return true;
}

/** Words of a chain up to the one with bit 0 set; 0: no end. By pages: it may end at the last one
 * that can be read. */
static uint64_t chain_length(const struct maker *maker, uint64_t vaddr)
{
	uint32_t words[HASH_AT_ONCE];
	uint64_t length = 0;

	while (length < MAX_SYMBOLS) {
		uint64_t at = vaddr + length * sizeof(words[0]);
		size_t some = (HS_PAGE - (maker->bias + at) % HS_PAGE) / sizeof(words[0]);

		some = some ? some : 1; // the address is odd
		if (!read_memory(maker, at, words, some * sizeof(words[0])))
			return 0;
		for (size_t i = 0; i < some; i++) {
			if (words[i] & 1)
				return length + i + 1;
		}
		length += some;
	}
	return 0;
}

/**
 * Number of symbols by DT_GNU_HASH: {buckets, first symbol, words of the filter, shift}, filter,
 * buckets, chains; a chain of the last bucket ends, with bit 0 set, at the last symbol.
 */
static uint64_t count_by_gnu_hash(const struct maker *maker, uint64_t vaddr)
{
	uint32_t head[4], last;

	if (!read_memory(maker, vaddr, head, sizeof(head)) || head[0] > MAX_SYMBOLS ||
	    head[1] > MAX_SYMBOLS || head[2] > MAX_SYMBOLS)
		return 0;
	uint64_t buckets = vaddr + sizeof(head) + (uint64_t)head[2] * sizeof(uint64_t);
	uint64_t chains = buckets + (uint64_t)head[0] * sizeof(uint32_t);
	if (!highest_word(maker, buckets, head[0], &last))
		return 0;
	if (last < head[1] || last >= MAX_SYMBOLS)
		return last < head[1] ? head[1] : 0;
	uint64_t length =
		chain_length(maker, chains + (uint64_t)(last - head[1]) * sizeof(uint32_t));
	return length && length <= MAX_SYMBOLS - last ? last + length : 0;
}

/** The number of dynamic symbols is written nowhere but in the hash tables. */
static uint64_t count_symbols(const struct maker *maker, const struct dynamic *dynamic)
{
	uint32_t head[2]; // buckets, chains: as many as symbols

	if (dynamic->hash && read_memory(maker, dynamic->hash, head, sizeof(head)))
		return head[1] <= MAX_SYMBOLS ? head[1] : 0;
	return dynamic->gnu_hash ? count_by_gnu_hash(maker, dynamic->gnu_hash) : 0;
}

static bool copy_symbols(struct maker *maker)
{
	struct dynamic dynamic = {0};
	uint64_t count = read_dynamic(maker, &dynamic) ? count_symbols(maker, &dynamic) : 0;

	if (!count || !copy_part(maker, DYNSTR, SHT_STRTAB, dynamic.strtab, dynamic.strsz) ||
	    !copy_part(maker, DYNSYM, SHT_DYNSYM, dynamic.symtab, count * sizeof(Elf64_Sym)))
		return false;
	maker->sections[DYNSYM].sh_link = DYNSTR;
	maker->sections[DYNSYM].sh_info = 1;
	maker->sections[DYNSYM].sh_entsize = sizeof(Elf64_Sym);
	maker->sections[DYNSYM].sh_addralign = sizeof(uint64_t);
	if (dynamic.versym && copy_part(maker, VERSIONS, SHT_GNU_versym, dynamic.versym,
	                                count * sizeof(Elf64_Half))) {
		maker->sections[VERSIONS].sh_link = DYNSYM;
		maker->sections[VERSIONS].sh_entsize = sizeof(Elf64_Half);
		maker->sections[VERSIONS].sh_addralign = sizeof(Elf64_Half);
	}
	return true;
}

// ---- unwind information

/** Where .eh_frame begins, as .eh_frame_hdr has it in the encoding that all linkers use. */
static bool find_eh_frame(const struct maker *maker, uint64_t *ret)
{
	const struct hs_elf_note *header = &maker->image->eh_frame_hdr;
	struct {
		uint8_t version, pointer_encoding, count_encoding, table_encoding;
		int32_t pointer; // from where it lies itself
	} head;

	if (header->size < sizeof(head) ||
	    !read_memory(maker, header->vaddr, &head, sizeof(head)) || head.version != 1 ||
	    head.pointer_encoding != (DW_EH_PE_pcrel | DW_EH_PE_sdata4))
		return false;
	*ret = header->vaddr + 4 + (uint64_t)(int64_t)head.pointer;
	return true;
}

/**
 * Size of .eh_frame, which is written nowhere: up to the entry of length 0 that ends it. An entry
 * is a length and as many bytes (0xffffffff: 64 bits follow; no compiler writes that).
 */
static uint64_t eh_frame_size(const struct maker *maker, uint64_t vaddr)
{
	uint8_t page[HS_PAGE];
	uint64_t pos = 0, page_at = UINT64_MAX;
	uint32_t len;

	while (pos < MAX_PART) {
		uint64_t at = vaddr + pos, base = at & ~(uint64_t)(HS_PAGE - 1);
		size_t in_page = (size_t)(at - base);

		if (in_page > HS_PAGE - sizeof(len)) {
			if (!read_memory(maker, at, &len, sizeof(len)))
				return 0;
		} else {
			if (base != page_at && !read_memory(maker, base, page, sizeof(page)))
				return 0;
			page_at = base;
			memcpy(&len, page + in_page, sizeof(len));
		}
		pos += sizeof(len);
		if (!len)
			return pos;
		if (len == UINT32_MAX)
			return 0;
		pos += len;
	}
	return 0;
}

static bool copy_unwind(struct maker *maker)
{
	const struct hs_elf_note *header = &maker->image->eh_frame_hdr;
	uint64_t vaddr;

	if (!find_eh_frame(maker, &vaddr) ||
	    !copy_part(maker, EH_FRAME, SHT_PROGBITS, vaddr, eh_frame_size(maker, vaddr)))
		return false;
	maker->sections[EH_FRAME].sh_addralign = sizeof(uint64_t);
	// Only a table for a faster search: libdw does without.
	copy_part(maker, EH_HEADER, SHT_PROGBITS, header->vaddr, header->size);
	return true;
}

// ---- the file

/** Copy the headers: they lie at the same place in the file. @return false when they make no sense.
 */
static bool copy_headers(const struct maker *maker, Elf64_Ehdr *ehdr)
{
	uint64_t first = maker->image->first;

	if (!read_memory(maker, first, ehdr, sizeof(*ehdr)) || ehdr->e_phoff > MAX_FILE)
		return false;
	for (size_t i = 0; i < ehdr->e_phnum; i++) {
		uint64_t offset = ehdr->e_phoff + i * sizeof(Elf64_Phdr);
		Elf64_Phdr phdr;

		if (!read_memory(maker, first + offset, &phdr, sizeof(phdr)))
			return false;
		// The loader has changed what is in there, and the sections say it all.
		if (phdr.p_type == PT_DYNAMIC)
			phdr.p_type = PT_NULL;
		if (!write_file(maker, offset, &phdr, sizeof(phdr)))
			return false;
	}
	return true;
}

/** Behind all that the program headers tell of: names of sections, section headers. */
static bool write_sections(struct maker *maker, Elf64_Ehdr *ehdr)
{
	uint64_t end = ehdr->e_phoff + (uint64_t)ehdr->e_phnum * sizeof(Elf64_Phdr);

	for (size_t i = 0; i < maker->image->num_loads; i++) {
		const struct hs_elf_load *load = &maker->image->loads[i];
		uint64_t load_end;

		if (__builtin_add_overflow(load->offset, load->filesz, &load_end) ||
		    load_end > MAX_FILE)
			return false;
		end = load_end > end ? load_end : end;
	}
	end = (end + HS_PAGE - 1) & ~(uint64_t)(HS_PAGE - 1);
	set_section(maker, NAMES, SHT_STRTAB, 0, end + sizeof(maker->sections), sizeof(names));
	ehdr->e_shoff = end;
	ehdr->e_shnum = NUM_SECTIONS;
	ehdr->e_shstrndx = NAMES;
	ehdr->e_shentsize = sizeof(maker->sections[0]);
	return write_file(maker, end, maker->sections, sizeof(maker->sections)) &&
	       write_file(maker, end + sizeof(maker->sections), names, sizeof(names)) &&
	       write_file(maker, 0, ehdr, sizeof(*ehdr));
}

struct hs_err *hs_memory_image_make(struct hs_source *source, hs_addr start,
                                    const struct hs_elf_image *image, struct hs_memory_image *ret)
{
	hs_cleanup(hs_closep) int fd = memfd_create("hangscope-image", MFD_CLOEXEC);
	struct maker maker = {
		.source = source,
		.image = image,
		.start = start,
		.bias = start - image->first,
		.fd = fd,
	};
	Elf64_Ehdr ehdr;

	if (fd < 0)
		return hs_err_os(errno, "cannot make a file in memory");
	if (!spend(&source->image_bytes, HS_MAX_IMAGE_BYTES, IMAGE_PRICE) ||
	    !copy_headers(&maker, &ehdr))
		return hs_err_new(HS_ERR_BAD_DATA, "the headers of its image make no sense");
	struct hs_memory_image made = {
		.fd = -1,
		.has_symbols = copy_symbols(&maker),
		.has_unwind = copy_unwind(&maker),
	};
	// Half a table is worse than none.
	if (!made.has_symbols)
		maker.sections[DYNSYM] = maker.sections[DYNSTR] = (Elf64_Shdr){0};
	if (!write_sections(&maker, &ehdr))
		return hs_err_new(HS_ERR_BAD_DATA, "the segments of its image make no sense");
	made.fd = fd;
	fd = -1;
	*ret = made;
	return NULL;
}
