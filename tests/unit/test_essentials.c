// SPDX-License-Identifier: Apache-2.0
/** @file What a snapshot has for debuggers: the dynamic linker's lists, which may have no end. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <elf.h>

#include "core/capture/capture_internal.h"
#include "tests/support/fake_target.h"

enum {
	START = 0x100000,
	PAGE = 4096,
	DYNAMIC = START + PAGE, // up to 64 KiB of it
	ENTRIES = 4000,
	LISTS = START + 32 * PAGE, // struct r_debug_extended
	LINK = START + 33 * PAGE,  // struct link_map
	NAME = START + 34 * PAGE,
	END = START + 35 * PAGE,
};

/** A program with @p entries of DT_DEBUG; @p circle: the lists that they lead to lead to themselves
 */
static struct hs_fake *make(int entries, bool circle)
{
	struct hs_fake *fake = hs_fake_create();
	const struct {
		Elf64_Ehdr ehdr;
		Elf64_Phdr phdr[2];
	} header = {
		.ehdr =
			{
                               .e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64,
	                                    ELFDATA2LSB, EV_CURRENT},
                               .e_type = ET_DYN,
                               .e_machine = EM_X86_64,
                               .e_version = EV_CURRENT,
                               .e_phoff = sizeof(Elf64_Ehdr),
                               .e_phentsize = sizeof(Elf64_Phdr),
                               .e_phnum = 2,
			       },
		.phdr = {{.p_type = PT_LOAD,
	                  .p_flags = PF_R | PF_X,
	                  .p_filesz = END - START,
	                  .p_memsz = END - START},
	                       {.p_type = PT_DYNAMIC,
	                  .p_vaddr = DYNAMIC - START,
	                  .p_filesz = sizeof(Elf64_Dyn) * ENTRIES}},
	};

	hs_fake_fill(fake, START, 0, END - START);
	hs_fake_memory(fake, START, &header, sizeof(header));
	for (int i = 0; i < entries; i++) {
		const Elf64_Dyn entry = {DT_DEBUG, {LISTS}};

		hs_fake_memory(fake, DYNAMIC + (hs_addr)i * sizeof(entry), &entry, sizeof(entry));
	}
	hs_fake_u32(fake, LISTS, 2); // a version that has a list of lists
	hs_fake_u64(fake, LISTS + 8, LINK);
	hs_fake_u64(fake, LISTS + 40, circle ? LISTS : 0);
	hs_fake_u64(fake, LINK + 8, NAME);
	hs_fake_u64(fake, LINK + 24, circle ? LINK : 0);
	hs_fake_cstr(fake, NAME, "/lib/libc.so");
	hs_fake_module(fake, "/bin/program", START, END, START, -1);
	return fake;
}

static void check(int entries, bool circle)
{
	struct hs_fake *fake = make(entries, circle);
	bool is_cut = !circle;

	assert_null(hs_capture_essentials(hs_fake_target(fake), &is_cut));
	assert_int_equal(is_cut, circle);
	hs_fake_destroy(fake);
}

static void test_lists(void **state)
{
	(void)state;
	check(1, false);
	check(1, true);
}

/** Each entry leads to a list in a circle of lists in a circle: one after the other takes years. */
static void test_circles_of_circles(void **state)
{
	(void)state;
	check(ENTRIES, false);
	check(ENTRIES, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_circles_of_circles),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
