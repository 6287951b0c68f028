// SPDX-License-Identifier: Apache-2.0
/** @file Programs and libraries of a core without NT_FILE: many headers, little work. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <elf.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/target.h"
#include "tests/support/core_writer.h"

enum {
	PAGE = 4096,
	FIRST = 0x100000,
	MANY = 200000,
};

static const uint64_t far_away = UINT64_C(1) << 40;

static void writer_destroyp(struct hs_core_writer **writer)
{
	hs_core_writer_destroy(*writer);
}

struct header {
	Elf64_Ehdr ehdr;
	Elf64_Phdr phdr[2];
};

/** A library of a page, and of one with code at @p code. */
static struct header make_header(uint64_t code)
{
	return (struct header){
		.ehdr =
			{
                               .e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64,
	                                    ELFDATA2LSB, EV_CURRENT},
                               .e_type = ET_DYN,
                               .e_machine = EM_X86_64,
                               .e_version = EV_CURRENT,
                               .e_phoff = sizeof(Elf64_Ehdr),
                               .e_ehsize = sizeof(Elf64_Ehdr),
                               .e_phentsize = sizeof(Elf64_Phdr),
                               .e_phnum = 2,
			       },
		.phdr = {{.p_type = PT_LOAD, .p_flags = PF_R, .p_filesz = PAGE, .p_memsz = PAGE},
	                       {.p_type = PT_LOAD,
	                  .p_flags = PF_R | PF_X,
	                  .p_offset = PAGE,
	                  .p_vaddr = code,
	                  .p_filesz = 16,
	                  .p_memsz = 16}},
	};
}

static struct hs_target *open_core(struct hs_core_writer *writer)
{
	const struct user_regs_struct regs = {0};
	struct hs_target *target = NULL;

	hs_core_writer_thread(writer, 77, &regs, 0, true);
	struct hs_err *err =
		hs_target_open_core(hs_core_writer_file_of_core(writer), NULL, &target);
	if (err)
		fail_msg("%s", hs_err_message(err));
	return target;
}

/** A library is one whose code is mapped as such; a page that the core lacks may be code. */
static void test_what_is_code(void **state)
{
	static const struct {
		uint32_t flags;
		bool is_left_out;
		size_t modules;
	} rows[] = {
		{PF_R | PF_X, false, 1},
		{PF_R,        false, 0},
		{0,           true,  1},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		hs_cleanup(writer_destroyp) struct hs_core_writer *writer = hs_core_writer_create();
		const struct header header = make_header(PAGE);

		hs_core_writer_segment(writer, FIRST, &header, sizeof(header), PAGE, PF_R);
		if (!rows[i].is_left_out)
			hs_core_writer_segment(writer, FIRST + PAGE, NULL, 0, PAGE, rows[i].flags);
		hs_core_writer_segment(writer, FIRST + 4 * PAGE, NULL, 0, PAGE, PF_R);
		hs_cleanup(hs_target_closep) struct hs_target *target = open_core(writer);
		assert_int_equal(hs_target_modules(target)->num_modules, rows[i].modules);
	}
}

/** Each of them has a header whose code would be in the last segment, far away: looking for that
 * one segment after the other takes hours. */
static void test_many_headers(void **state)
{
	hs_cleanup(writer_destroyp) struct hs_core_writer *writer = hs_core_writer_create();
	const struct header header = make_header(far_away);

	(void)state;
	for (uint64_t i = 0; i < MANY; i++)
		hs_core_writer_segment(writer, FIRST + 2 * i * PAGE, &header, sizeof(header), PAGE,
		                       PF_R);
	hs_core_writer_segment(writer, FIRST + far_away, NULL, 0, 2 * far_away, PF_R);
	hs_cleanup(hs_target_closep) struct hs_target *target = open_core(writer);
	assert_int_equal(hs_target_modules(target)->num_modules, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_code),
		cmocka_unit_test(test_many_headers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
