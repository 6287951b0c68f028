// SPDX-License-Identifier: Apache-2.0
/** @file Is a file the one that was loaded: our own libc and its relocated words. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/source/elf_image.h"

struct own_memory {
	struct hs_source source;
	unsigned reads, wrong_after; /**< 0: never */
	bool unreadable;
};

static struct hs_err *read_own(struct hs_source *source, hs_addr addr, void *buf, size_t len)
{
	struct own_memory *own = (struct own_memory *)source;

	if (own->unreadable)
		return hs_err_new(HS_ERR_FAULT, "not there");
	memcpy(buf, (const void *)(uintptr_t)addr, len); // NOLINT(performance-no-int-to-ptr)
	if (own->wrong_after && ++own->reads == own->wrong_after)
		*(uint8_t *)buf ^= 8;
	return NULL;
}

static const struct hs_source_ops own_ops = {.read = read_own};

struct library {
	int fd;
	struct hs_elf_image image;
	hs_addr bias;
};

static void open_libc(struct library *library)
{
	Dl_info info;

	assert_true(dladdr((const void *)(uintptr_t)fopen, &info));
	library->fd = open(info.dli_fname, O_RDONLY | O_CLOEXEC);
	assert_true(library->fd >= 0);
	const struct hs_elf_reader reader = {.fd = library->fd};
	assert_int_equal(hs_elf_image_read(&reader, &library->image), HS_ELF_IMAGE);
	library->bias = (uintptr_t)info.dli_fbase - library->image.first;
}

static bool was_loaded(const struct library *library, struct own_memory *own)
{
	own->source.ops = &own_ops;
	return hs_elf_image_was_loaded(library->fd, &library->image, &own->source, library->bias) ==
	       HS_ELF_LOADED;
}

static void knows_the_loaded_file(void **state)
{
	struct library library;

	(void)state;
	open_libc(&library);
	assert_true(was_loaded(&library, &(struct own_memory){0}));
	close(library.fd);
}

static void one_other_word_is_another_build(void **state)
{
	struct library library;

	(void)state;
	open_libc(&library);
	assert_false(was_loaded(&library, &(struct own_memory){.wrong_after = 30}));
	close(library.fd);
}

static void without_memory_nothing_is_known(void **state)
{
	struct library library;

	(void)state;
	open_libc(&library);
	assert_false(was_loaded(&library, &(struct own_memory){.unreadable = true}));
	library.image.relro.size = 0;
	assert_false(was_loaded(&library, &(struct own_memory){0}));
	close(library.fd);
}

static void tables_outside_of_the_file_are_no_proof(void **state)
{
	struct library library;

	(void)state;
	open_libc(&library);
	library.image.num_loads = 0;
	assert_false(was_loaded(&library, &(struct own_memory){0}));
	library.image.dynamic.offset = UINT64_MAX - 8;
	assert_false(was_loaded(&library, &(struct own_memory){0}));
	close(library.fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(knows_the_loaded_file),
		cmocka_unit_test(one_other_word_is_another_build),
		cmocka_unit_test(without_memory_nothing_is_known),
		cmocka_unit_test(tables_outside_of_the_file_are_no_proof),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
