// SPDX-License-Identifier: Apache-2.0
/** @file What can be saved of a library from memory: our own libc, compared with its file. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dlfcn.h>
#include <fcntl.h>
#include <gelf.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/limits.h"
#include "core/source/memory_image.h"

struct own_memory {
	struct hs_source source;
	hs_addr lost_from, lost_to; /**< not readable; in full pages */
};

static struct hs_err *read_own(struct hs_source *source, hs_addr addr, void *buf, size_t len)
{
	struct own_memory *own = (struct own_memory *)source;

	if (addr < own->lost_to && addr + len > own->lost_from)
		return hs_err_fault();
	memcpy(buf, (const void *)(uintptr_t)addr, len); // NOLINT(performance-no-int-to-ptr)
	return NULL;
}

static const struct hs_source_ops own_ops = {.read = read_own};

struct library {
	int fd;
	hs_addr start;
	struct hs_elf_image image;
};

static void open_libc(struct library *library)
{
	Dl_info info;

	assert_true(dladdr((const void *)(uintptr_t)fopen, &info));
	library->fd = open(info.dli_fname, O_RDONLY | O_CLOEXEC);
	assert_true(library->fd >= 0);
	library->start = (uintptr_t)info.dli_fbase;
	const struct hs_elf_reader reader = {.fd = library->fd};
	assert_int_equal(hs_elf_image_read(&reader, &library->image), HS_ELF_IMAGE);
}

static struct hs_memory_image make(const struct library *library, struct own_memory *own)
{
	struct hs_memory_image image = {.fd = -1};

	own->source.ops = &own_ops;
	assert_null(hs_memory_image_make(&own->source, library->start, &library->image, &image));
	assert_true(image.fd >= 0);
	return image;
}

/** Bytes of a section by name; NULL: none. */
static Elf_Data *section(Elf *elf, const char *name)
{
	size_t names;

	assert_int_equal(elf_getshdrstrndx(elf, &names), 0);
	for (Elf_Scn *scn = elf_nextscn(elf, NULL); scn; scn = elf_nextscn(elf, scn)) {
		GElf_Shdr shdr;

		assert_non_null(gelf_getshdr(scn, &shdr));
		if (shdr.sh_type != SHT_NULL && !strcmp(elf_strptr(elf, names, shdr.sh_name), name))
			return elf_getdata(scn, NULL);
	}
	return NULL;
}

static void test_same_as_file(void **state)
{
	static const char *const sections[] = {".dynsym", ".dynstr", ".gnu.version",
	                                       ".eh_frame_hdr", ".eh_frame"};
	struct own_memory own = {0};
	struct library library;

	(void)state;
	open_libc(&library);
	struct hs_memory_image image = make(&library, &own);
	assert_true(image.has_symbols);
	assert_true(image.has_unwind);

	elf_version(EV_CURRENT);
	Elf *file = elf_begin(library.fd, ELF_C_READ, NULL);
	Elf *made = elf_begin(image.fd, ELF_C_READ, NULL);
	for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++) {
		Elf_Data *want = section(file, sections[i]), *got = section(made, sections[i]);

		assert_non_null(want);
		assert_non_null(got);
		assert_int_equal(got->d_size, want->d_size);
		assert_memory_equal(got->d_buf, want->d_buf, want->d_size);
	}
	elf_end(made);
	elf_end(file);
	close(image.fd);
	close(library.fd);
}

/** A core that has the first pages only, as gcore writes them: symbols, and nothing to unwind by.
 */
static void test_parts(void **state)
{
	struct own_memory own = {0};
	struct library library;

	(void)state;
	open_libc(&library);
	hs_addr bias = library.start - library.image.first;
	hs_addr header = bias + library.image.eh_frame_hdr.vaddr;
	own.lost_from = header & ~(hs_addr)(HS_PAGE - 1);
	own.lost_to = own.lost_from + HS_PAGE;
	struct hs_memory_image image = make(&library, &own);
	assert_true(image.has_symbols);
	assert_false(image.has_unwind);
	close(image.fd);

	own.lost_from = library.start + HS_PAGE;
	own.lost_to = header & ~(hs_addr)(HS_PAGE - 1);
	image = make(&library, &own);
	assert_false(image.has_symbols);
	assert_true(image.has_unwind);
	elf_version(EV_CURRENT);
	Elf *made = elf_begin(image.fd, ELF_C_READ, NULL);
	assert_null(section(made, ".dynsym"));
	assert_null(section(made, ".dynstr"));
	elf_end(made);
	close(image.fd);
	close(library.fd);
}

static void test_bad_headers(void **state)
{
	struct own_memory own = {.source = {.ops = &own_ops}};
	struct library library;
	struct hs_memory_image image = {.fd = -1};

	(void)state;
	open_libc(&library);
	library.image.loads[0].filesz = UINT64_MAX - 1;
	struct hs_err *err =
		hs_memory_image_make(&own.source, library.start, &library.image, &image);
	assert_int_equal(hs_err_code(err), HS_ERR_BAD_DATA);
	hs_err_free(err);
	own.lost_from = library.start;
	own.lost_to = library.start + HS_PAGE;
	err = hs_memory_image_make(&own.source, library.start, &library.image, &image);
	assert_int_equal(hs_err_code(err), HS_ERR_BAD_DATA);
	hs_err_free(err);
	assert_int_equal(image.fd, -1);
	close(library.fd);
}

/** All that is in there: an ELF header, PT_DYNAMIC, a hash table of one symbol. The rest is zeros.
 */
struct sparse_memory {
	struct hs_source source;
	Elf64_Ehdr ehdr;
	Elf64_Dyn dynamic[5];
	uint32_t hash[2];
};

enum {
	DYNAMIC = HS_PAGE,
	HASH = 2 * HS_PAGE,
	SYMBOLS = 3 * HS_PAGE,
	STRINGS = 4 * HS_PAGE,
	STRINGS_SIZE = 64 << 20,
};

static struct hs_err *read_sparse(struct hs_source *source, hs_addr addr, void *buf, size_t len)
{
	const struct sparse_memory *sparse = (struct sparse_memory *)source;

	memset(buf, 0, len);
	if (!addr)
		memcpy(buf, &sparse->ehdr, len);
	else if (addr == DYNAMIC)
		memcpy(buf, sparse->dynamic, len);
	else if (addr == HASH)
		memcpy(buf, sparse->hash, len);
	return NULL;
}

/** A core of a few kilobytes may have images of very many zeros: they must not take memory. */
static void test_zeros_and_budget(void **state)
{
	static const struct hs_source_ops ops = {.read = read_sparse};
	struct sparse_memory sparse = {
		.source = {.ops = &ops               },
		.ehdr = {                      .e_phoff = sizeof(Elf64_Ehdr)                         },
		.dynamic = { {DT_SYMTAB, {SYMBOLS}},
                           {DT_STRTAB, {STRINGS}},
                           {DT_STRSZ, {STRINGS_SIZE}},
                           {DT_HASH, {HASH}}},
		.hash = {				 1,                          1},
	};
	const struct hs_elf_image image = {
		.end = STRINGS + STRINGS_SIZE,
		.num_loads = 1,
		.loads = {{.filesz = STRINGS + STRINGS_SIZE, .memsz = STRINGS + STRINGS_SIZE}},
		.dynamic = { DYNAMIC, DYNAMIC, sizeof(sparse.dynamic)},
	};
	struct hs_memory_image made;
	struct hs_err *err;
	struct stat st;
	int count = 0;

	(void)state;
	while (!(err = hs_memory_image_make(&sparse.source, 0, &image, &made))) {
		assert_false(fstat(made.fd, &st));
		assert_true(st.st_size > STRINGS_SIZE);
		assert_true(st.st_blocks * 512 <= 4 * HS_PAGE);
		close(made.fd);
		count++;
		if (!made.has_symbols)
			break;
	}
	hs_err_free(err);
	assert_true(count > 0 && count <= HS_MAX_IMAGE_READS / STRINGS_SIZE + 1);
	assert_true(hs_memory_image_spent(&sparse.source));
}

static void test_budget(void **state)
{
	struct own_memory own = {.source = {.ops = &own_ops}};
	struct hs_memory_image image = {.fd = -1};
	struct library library;

	(void)state;
	open_libc(&library);
	image = make(&library, &own);
	assert_false(hs_memory_image_spent(&own.source));
	assert_true(own.source.image_bytes < 4 << 20);
	close(image.fd);
	image.fd = -1;
	own.source.image_bytes = HS_MAX_IMAGE_BYTES - 32 * HS_PAGE;
	struct hs_err *err =
		hs_memory_image_make(&own.source, library.start, &library.image, &image);
	assert_int_equal(hs_err_code(err), HS_ERR_BAD_DATA);
	hs_err_free(err);
	assert_int_equal(image.fd, -1);
	assert_true(hs_memory_image_spent(&own.source));
	close(library.fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same_as_file), cmocka_unit_test(test_parts),
		cmocka_unit_test(test_bad_headers),  cmocka_unit_test(test_zeros_and_budget),
		cmocka_unit_test(test_budget),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
