// SPDX-License-Identifier: Apache-2.0
/** @file Core files: memory, threads, modules, and what is said of bad ones. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <archive.h>
#include <archive_entry.h>
#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/procfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/target.h"
#include "tests/support/core_writer.h"

enum {
	PAGE = 4096,
	STACK = 0x7ffc00000000,
	LIB = 0x7f0000000000,
	HEAP = 0x10000,
};

#define CLEAN_TARGET hs_cleanup(hs_target_closep) struct hs_target *
#define CLEAN_WRITER hs_cleanup(writer_destroyp) struct hs_core_writer *

static void writer_destroyp(struct hs_core_writer **writer)
{
	hs_core_writer_destroy(*writer);
}

static void must(struct hs_err *err)
{
	if (err)
		fail_msg("%s", hs_err_message(err));
}

static struct hs_target *open_path(const char *path, const char *exe)
{
	const struct hs_open_options options = {.exe = exe};
	struct hs_target *target = NULL;

	must(hs_target_open_core(path, &options, &target));
	return target;
}

static struct hs_target *open_core(struct hs_core_writer *writer)
{
	return open_path(hs_core_writer_file_of_core(writer), NULL);
}

/** Opening must fail with this code and these words in its message. */
static void assert_refused(const char *path, const char *exe, enum hs_err_code code,
                           const char *words)
{
	const struct hs_open_options options = {.exe = exe};
	struct hs_target *target = NULL;
	struct hs_err *err = hs_target_open_core(path, &options, &target);

	assert_non_null(err);
	assert_null(target);
	if (hs_err_code(err) != code || !strstr(hs_err_message(err), words))
		fail_msg("code %d: %s", (int)hs_err_code(err), hs_err_message(err));
	hs_err_free(err);
}

static bool has_gap(const struct hs_target *target, const char *subject, const char *reason,
                    const char *costs)
{
	size_t count;
	const struct hs_target_gap *gaps = hs_target_gaps(target, &count);

	for (size_t i = 0; i < count; i++) {
		if (strstr(gaps[i].subject, subject) && strstr(gaps[i].reason, reason) &&
		    strstr(gaps[i].costs, costs))
			return true;
	}
	return false;
}

static bool can_read(struct hs_target *target, hs_addr addr, uint8_t *byte_ret)
{
	struct hs_err *err = hs_target_read_u8(target, addr, byte_ret);

	if (err)
		assert_int_equal(hs_err_code(err), HS_ERR_FAULT);
	hs_err_free(err);
	return !err;
}

/** A page of memory that holds one thread's code, as after `mov $nr, %eax; syscall`. */
static void add_code(struct hs_core_writer *writer, uint32_t nr)
{
	uint8_t code[PAGE] = {0xb8};

	memcpy(code + 1, &nr, sizeof(nr));
	code[5] = 0x0f;
	code[6] = 0x05;
	hs_core_writer_segment(writer, HEAP, code, sizeof(code), sizeof(code), PF_R | PF_X);
}

static struct user_regs_struct regs_at(uint64_t pc, int64_t orig_rax, int64_t rax)
{
	return (struct user_regs_struct){
		.rip = pc,
		.orig_rax = (uint64_t)orig_rax,
		.rax = (uint64_t)rax,
		.rdi = 1,
		.rsi = 2,
		.rdx = 3,
		.r10 = 4,
		.r8 = 5,
		.r9 = 6,
		.rsp = STACK,
		.rbp = 7,
		.rbx = 8,
		.rcx = 9,
		.r11 = 11,
		.r12 = 12,
		.r13 = 13,
		.r14 = 14,
		.r15 = 15,
		.fs_base = 0x7000,
	};
}

// ---- memory

static void test_reads_segments(void **state)
{
	(void)state;
	CLEAN_WRITER writer = hs_core_writer_create();
	uint8_t bytes[2 * PAGE], out[PAGE];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i / 16);
	// Not in order, and two that touch.
	hs_core_writer_segment(writer, 0x50000, bytes, PAGE, PAGE, PF_R | PF_W);
	hs_core_writer_segment(writer, 0x20000, bytes, PAGE, PAGE, PF_R | PF_W);
	hs_core_writer_segment(writer, 0x21000, bytes + PAGE, PAGE, PAGE, PF_R);
	CLEAN_TARGET target = open_core(writer);

	must(hs_target_read(target, 0x20800, out, PAGE));
	assert_memory_equal(out, bytes + 0x800, PAGE);
	must(hs_target_read(target, 0x50000, out, PAGE));
	assert_memory_equal(out, bytes, PAGE);
	uint8_t byte;
	assert_false(can_read(target, 0x1ffff, &byte));
	assert_false(can_read(target, 0x22000, &byte));
	assert_false(can_read(target, 0, &byte));
	assert_false(can_read(target, UINT64_MAX, &byte));
	struct hs_err *err = hs_target_read(target, 0x21ff0, out, 32);
	assert_ptr_equal(err, hs_err_fault());
	err = hs_target_read(target, UINT64_MAX - 3, out, 8);
	assert_ptr_equal(err, hs_err_fault());
}

static void test_past_filesz_is_a_fault(void **state)
{
	(void)state;
	CLEAN_WRITER writer = hs_core_writer_create();
	uint8_t bytes[PAGE], byte;

	memset(bytes, 0xaa, sizeof(bytes));
	hs_core_writer_segment(writer, 0x20000, bytes, 100, PAGE, PF_R | PF_W);
	// Its bytes follow in the file: libdwfl's core reader would give them for 0x20064.
	hs_core_writer_segment(writer, 0x30000, bytes, PAGE, PAGE, PF_R);
	CLEAN_TARGET target = open_core(writer);

	assert_true(can_read(target, 0x20063, &byte));
	assert_false(can_read(target, 0x20064, &byte));
	assert_true(can_read(target, 0x30000, &byte));
}

// ---- threads

static void test_threads_of_kernel_core(void **state)
{
	(void)state;
	CLEAN_WRITER writer = hs_core_writer_create();
	struct user_regs_struct died = regs_at(0x99, -1, 0), waits = regs_at(HEAP + 7, 202, -512);
	size_t count;

	add_code(writer, 202);
	hs_core_writer_thread(writer, 30, &died, SIGSEGV, true);
	hs_core_writer_psinfo(writer, 10, "a name that is too long", "prog arg");
	hs_core_writer_thread(writer, 10, &waits, SIGSEGV, true);
	hs_core_writer_thread(writer, 20, &waits, SIGSEGV, true);
	CLEAN_TARGET target = open_core(writer);
	const struct hs_target_info *info = hs_target_info(target);
	const struct hs_lwp *lwps = hs_target_lwps(target, &count);

	assert_int_equal(info->kind, HS_TARGET_CORE);
	assert_int_equal(info->pid, 10);
	assert_int_equal(info->signo, SIGSEGV);
	assert_string_equal(info->args[0], "prog");
	assert_string_equal(info->args[1], "arg");
	assert_null(info->args[2]);
	assert_int_equal(count, 3);
	assert_int_equal(lwps[0].tid, 10);
	assert_int_equal(lwps[0].signo, 0);
	assert_int_equal(lwps[0].cpu_ms, -1); // of the whole process
	assert_string_equal(lwps[0].comm, "a name that is ");
	assert_int_equal(lwps[1].tid, 20);
	assert_int_equal(lwps[1].cpu_ms, 2500);
	assert_string_equal(lwps[1].comm, "");
	assert_int_equal(lwps[2].tid, 30);
	assert_int_equal(lwps[2].signo, SIGSEGV);
	assert_false(lwps[2].in_syscall);
	assert_int_equal(lwps[2].syscall_nr, -1);
}

static void test_registers_in_dwarf_order(void **state)
{
	(void)state;
	CLEAN_WRITER writer = hs_core_writer_create();
	struct user_regs_struct regs = regs_at(HEAP + 7, 202, -512);
	size_t count;

	add_code(writer, 202);
	hs_core_writer_thread(writer, 10, &regs, SIGTRAP, false);
	CLEAN_TARGET target = open_core(writer);
	const struct hs_lwp *lwp = hs_target_lwps(target, &count);
	const uint64_t expected[HS_REG_COUNT] = {
		(uint64_t)-512, 3, 9, 8, 2, 1, 7, STACK, 5, 6, 4, 11, 12, 13, 14, 15, HEAP + 7};

	assert_true(lwp->has_regs);
	assert_memory_equal(lwp->regs.value, expected, sizeof(expected));
	assert_int_equal(lwp->regs.valid, 0x1ffff);
	assert_int_equal(lwp->thread_pointer, 0x7000);
	assert_true(lwp->in_syscall);
	assert_int_equal(lwp->syscall_nr, 202);
	for (size_t i = 0; i < HS_SYSCALL_ARGS; i++)
		assert_int_equal(lwp->syscall_args[i], i + 1);
	// As gcore writes it: the signal by which it attached, and no times.
	assert_int_equal(hs_target_info(target)->signo, 0);
	assert_int_equal(lwp->cpu_ms, -1);
	assert_int_equal(lwp->host_tid, 0);
	assert_int_equal(lwp->state, '?');
}

static void test_system_calls(void **state)
{
	(void)state;
	static const struct {
		int64_t orig_rax, rax;
		uint64_t pc;
		bool in_syscall;
		long nr;
	} cases[] = {
		{SYS_futex,           -512,   HEAP + 7,  true,  SYS_futex          },
		{SYS_poll,            -516,   HEAP + 7,  true,  SYS_poll           },
		{SYS_epoll_wait,      -EINTR, HEAP + 7,  true,  SYS_epoll_wait     },
		{SYS_restart_syscall, -516,   HEAP + 7,  true,  230                }, // by the code
		{SYS_restart_syscall, -516,   HEAP + 18, true,  SYS_restart_syscall}, // no mov there
		{SYS_read,            5,      HEAP + 7,  false, -1                 }, // it has returned
		{SYS_read,            -512,   HEAP + 9,  false, -1                 }, // not after a syscall
		{-1,                  -512,   HEAP + 7,  false, -1                 },
		{SYS_read,            -512,   0x666000,  true,  SYS_read           }, // code not readable
		{SYS_read,            -EINTR, 0x666000,  false, -1                 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CLEAN_WRITER writer = hs_core_writer_create();
		struct user_regs_struct regs =
			regs_at(cases[i].pc, cases[i].orig_rax, cases[i].rax);
		uint8_t code[PAGE] = {0xb8, 230, 0, 0, 0, 0x0f, 0x05};
		size_t count;

		code[16] = 0x0f;
		code[17] = 0x05;
		hs_core_writer_segment(writer, HEAP, code, PAGE, PAGE, PF_R | PF_X);
		hs_core_writer_thread(writer, 10, &regs, 0, true);
		CLEAN_TARGET target = open_core(writer);
		const struct hs_lwp *lwp = hs_target_lwps(target, &count);

		if (lwp->in_syscall != cases[i].in_syscall || lwp->syscall_nr != cases[i].nr)
			fail_msg("case %zu: %d %ld", i, lwp->in_syscall, lwp->syscall_nr);
	}
}

// ---- mapped files

/**
 * A library at LIB of which the core has the headers (build id 0 up), and data, but no code. Its
 * writable page is mapped read-only (as after RELRO) and left out, to be no file's bytes.
 */
static void add_library(struct hs_core_writer *writer, const char *path)
{
	uint8_t elf[HS_TEST_ELF_SIZE];

	hs_test_elf_make(elf, 0);
	hs_core_writer_segment(writer, LIB, elf, PAGE, PAGE, PF_R);
	hs_core_writer_segment(writer, LIB + HS_TEST_ELF_RX, NULL, 0, PAGE, PF_R | PF_X);
	hs_core_writer_segment(writer, LIB + HS_TEST_ELF_RW_VADDR, NULL, 0, PAGE, PF_R);
	hs_core_writer_file(writer, LIB, LIB + PAGE, 0, path);
	hs_core_writer_file(writer, LIB + HS_TEST_ELF_RX, LIB + HS_TEST_ELF_RX + PAGE,
	                    HS_TEST_ELF_RX, path);
	hs_core_writer_file(writer, LIB + HS_TEST_ELF_RW_VADDR, LIB + HS_TEST_ELF_RW_VADDR + PAGE,
	                    HS_TEST_ELF_RW, path);
}

static void test_memory_from_mapped_file(void **state)
{
	(void)state;
	CLEAN_WRITER writer = hs_core_writer_create();
	uint8_t elf[HS_TEST_ELF_SIZE], byte = 0, page[PAGE];

	hs_test_elf_make(elf, 0);
	const char *path = hs_core_writer_save(writer, elf, sizeof(elf));
	add_library(writer, path);
	CLEAN_TARGET target = open_core(writer);
	const struct hs_module_map *map = hs_target_modules(target);

	assert_int_equal(map->num_modules, 1);
	const struct hs_module *module = &map->modules[0];
	assert_string_equal(module->path, path);
	assert_int_equal(module->state, HS_MODULE_OK);
	assert_true(module->build_id_checked);
	assert_int_equal(module->build_id_len, HS_TEST_ID_LEN);
	assert_int_equal(module->build_id[19], 19);
	assert_int_equal(module->bias, LIB);
	assert_int_equal(module->start, LIB);
	assert_int_equal(module->end, LIB + 0x4000);
	assert_true(module->fd >= 0);
	assert_ptr_equal(hs_module_map_module(map, LIB + HS_TEST_ELF_RX + 5), module);
	assert_int_equal(hs_module_map_find(map, LIB + HS_TEST_ELF_RX)->prot,
	                 HS_PROT_READ | HS_PROT_EXEC);

	assert_true(can_read(target, LIB + HS_TEST_ELF_RX, &byte));
	assert_int_equal(byte, 0xc0);
	must(hs_target_read(target, LIB + 0x800, page, PAGE)); // core, then file
	assert_int_equal(page[0x7ff], 0);
	assert_int_equal(page[0x800], 0xc0);
	assert_false(can_read(target, LIB + HS_TEST_ELF_RX + PAGE, &byte));
	assert_false(can_read(target, LIB + HS_TEST_ELF_RW_VADDR, &byte));
}

static void test_another_build_is_not_used(void **state)
{
	(void)state;
	CLEAN_WRITER writer = hs_core_writer_create();
	uint8_t elf[HS_TEST_ELF_SIZE], byte;

	hs_test_elf_make(elf, 1);
	const char *path = hs_core_writer_save(writer, elf, sizeof(elf));
	add_library(writer, path);
	CLEAN_TARGET target = open_core(writer);
	const struct hs_module *module = hs_target_modules(target)->modules;

	assert_int_equal(module->state, HS_MODULE_MISMATCH);
	assert_true(module->from_memory);
	assert_int_equal(module->build_id[0], 0);
	assert_non_null(strstr(module->why, "build id 0102"));
	assert_true(has_gap(target, path, "another build", "function names and unwinding"));
	assert_false(can_read(target, LIB + HS_TEST_ELF_RX, &byte));
}

static void test_file_without_build_id(void **state)
{
	(void)state;
	CLEAN_WRITER writer = hs_core_writer_create();
	uint8_t elf[HS_TEST_ELF_SIZE], byte;

	hs_test_elf_make(elf, -1);
	add_library(writer, hs_core_writer_save(writer, elf, sizeof(elf)));
	CLEAN_TARGET target = open_core(writer);

	assert_int_equal(hs_target_modules(target)->modules[0].state, HS_MODULE_MISMATCH);
	assert_false(can_read(target, LIB + HS_TEST_ELF_RX, &byte));
}

static void test_missing_and_odd_files(void **state)
{
	(void)state;
	CLEAN_WRITER writer = hs_core_writer_create();
	static const char text[] = "jar";
	uint8_t elf[HS_TEST_ELF_SIZE], byte;

	hs_test_elf_make(elf, 0);
	add_library(writer, "/nonexistent/libgone.so (deleted)");
	// A data file, one that is a device now, and a library mapped to be read.
	hs_core_writer_segment(writer, 0x1000, text, sizeof(text), PAGE, PF_R);
	hs_core_writer_file(writer, 0x1000, 0x2000, 0, "/usr/share/x.jar");
	hs_core_writer_segment(writer, 0x3000, elf, PAGE, PAGE, PF_R | PF_X);
	hs_core_writer_file(writer, 0x3000, 0x4000, 0, "/dev/zero");
	hs_core_writer_segment(writer, 0x8000, elf, sizeof(elf), sizeof(elf), PF_R);
	hs_core_writer_file(writer, 0x8000, 0x8000 + sizeof(elf), 0, "/usr/lib/data.so");
	CLEAN_TARGET target = open_core(writer);
	const struct hs_module_map *map = hs_target_modules(target);

	assert_int_equal(map->num_modules, 2);
	assert_string_equal(map->modules[0].path, "/dev/zero");
	assert_int_equal(map->modules[0].state, HS_MODULE_MISSING);
	assert_true(map->modules[0].from_memory);
	assert_string_equal(map->modules[1].path, "/nonexistent/libgone.so");
	assert_true(map->modules[1].deleted);
	assert_int_equal(map->modules[1].state, HS_MODULE_MISSING);
	assert_int_equal(map->modules[1].build_id_len, HS_TEST_ID_LEN);
	assert_true(has_gap(target, "libgone.so", "was deleted", "libgone.so"));
	assert_ptr_equal(hs_module_map_by_name(map, "libgone.so"), &map->modules[1]);
	assert_false(can_read(target, LIB + HS_TEST_ELF_RX, &byte));
	assert_non_null(hs_module_map_find(map, 0x1000));
	assert_null(hs_module_map_module(map, 0x1000));
	assert_null(hs_module_map_module(map, 0x8000));
}

static void test_mappings(void **state)
{
	(void)state;
	CLEAN_WRITER writer = hs_core_writer_create();
	uint8_t page[2 * PAGE] = {0}, vdso[HS_TEST_ELF_SIZE];
	const uint64_t auxv[][2] = {
		{AT_SYSINFO_EHDR, 0x7000},
                {AT_RANDOM,       0x9010}
        };

	hs_test_elf_make(vdso, 7);
	hs_core_writer_segment(writer, 0x2000, page, PAGE, 3 * PAGE, PF_R | PF_W);
	hs_core_writer_segment(writer, 0x7000, vdso, PAGE, PAGE, PF_R | PF_X);
	hs_core_writer_segment(writer, 0x9000, page, PAGE, PAGE, PF_R | PF_W);
	hs_core_writer_file(writer, 0x3000, 0x4000, 0, "/x/middle");
	hs_core_writer_file(writer, 0x20000, 0x21000, PAGE, "/x/not in the core");
	hs_core_writer_file(writer, 0x20800, 0x22000, PAGE, "/x/overlaps");
	hs_core_writer_auxv(writer, auxv, 2);
	CLEAN_TARGET target = open_core(writer);
	const struct hs_module_map *map = hs_target_modules(target);
	static const struct {
		hs_addr start, end;
		unsigned prot;
		const char *path;
	} expected[] = {
		{0x2000,  0x3000,  HS_PROT_READ | HS_PROT_WRITE, ""                  },
		{0x3000,  0x4000,  HS_PROT_READ | HS_PROT_WRITE, "/x/middle"         },
		{0x4000,  0x5000,  HS_PROT_READ | HS_PROT_WRITE, ""                  },
		{0x7000,  0x8000,  HS_PROT_READ | HS_PROT_EXEC,  "[vdso]"            },
		{0x9000,  0xa000,  HS_PROT_READ | HS_PROT_WRITE, "[stack]"           },
		{0x20000, 0x21000, HS_PROT_UNKNOWN,              "/x/not in the core"},
	};

	assert_int_equal(map->num_mappings, sizeof(expected) / sizeof(expected[0]));
	for (size_t i = 0; i < map->num_mappings; i++) {
		assert_int_equal(map->mappings[i].start, expected[i].start);
		assert_int_equal(map->mappings[i].end, expected[i].end);
		assert_int_equal(map->mappings[i].prot, expected[i].prot);
		assert_string_equal(map->mappings[i].path, expected[i].path);
	}
	assert_int_equal(map->num_modules, 1);
	assert_int_equal(map->modules[0].state, HS_MODULE_MEMORY);
	assert_int_equal(map->modules[0].bias, 0x7000);
	assert_int_equal(map->modules[0].build_id[0], 7);
	assert_true(has_gap(target, "hs-test", "make no sense: 1", ""));
}

// ---- the program

static void add_program(struct hs_core_writer *writer, const char *path)
{
	const uint64_t auxv[][2] = {
		{AT_PHDR, LIB + sizeof(Elf64_Ehdr)},
	};

	add_library(writer, path);
	hs_core_writer_auxv(writer, auxv, 1);
}

static void test_exe(void **state)
{
	(void)state;
	CLEAN_WRITER writer = hs_core_writer_create();
	uint8_t elf[HS_TEST_ELF_SIZE];

	hs_test_elf_make(elf, 0);
	const char *same = hs_core_writer_save(writer, elf, sizeof(elf));
	hs_test_elf_make(elf, 0x30);
	const char *other = hs_core_writer_save(writer, elf, sizeof(elf));
	add_program(writer, "/nonexistent/prog");
	const char *core = hs_core_writer_file_of_core(writer);

	CLEAN_TARGET missing = open_path(core, NULL);
	assert_string_equal(hs_target_info(missing)->exe, "/nonexistent/prog");
	assert_int_equal(hs_target_modules(missing)->modules[0].state, HS_MODULE_MISSING);
	CLEAN_TARGET given = open_path(core, same);
	assert_string_equal(hs_target_info(given)->exe, same);
	assert_int_equal(hs_target_modules(given)->modules[0].state, HS_MODULE_OK);
	assert_refused(core, other, HS_ERR_BAD_DATA, "303132333435");
	assert_refused(core, other, HS_ERR_BAD_DATA, "000102030405");
	assert_refused(core, "/nonexistent/prog", HS_ERR_OS, "/nonexistent/prog");
}

static void test_arguments_on_stack(void **state)
{
	(void)state;
	CLEAN_WRITER writer = hs_core_writer_create();
	static const char first[] = "java", second[] = "two words";
	uint8_t stack[PAGE] = {0};
	const uint64_t auxv[][2] = {
		{AT_PAGESZ, PAGE         },
                {AT_PHDR,   0x1234       },
                {AT_RANDOM, STACK + 0x208}
        };
	// argc, argv, NULL, one of the environment, NULL, the vector; strings above.
	const uint64_t words[] = {2, STACK + 0x300, STACK + 0xff6, 0, STACK + 0x320, 0};

	memcpy(stack + 0x100, words, sizeof(words));
	memcpy(stack + 0x100 + sizeof(words), auxv, sizeof(auxv));
	memcpy(stack + 0x300, first, sizeof(first));
	memcpy(stack + 0xff6, second, sizeof(second)); // ends where the stack ends
	hs_core_writer_segment(writer, STACK, stack, PAGE, PAGE, PF_R | PF_W);
	hs_core_writer_auxv(writer, auxv, 3);
	hs_core_writer_psinfo(writer, 10, "java", "java two words");
	CLEAN_TARGET target = open_core(writer);
	const char *const *args = hs_target_info(target)->args;

	assert_string_equal(args[0], "java");
	assert_string_equal(args[1], "two words");
	assert_null(args[2]);
}

// ---- many segments, cut-off files

static void test_more_than_65534_segments(void **state)
{
	(void)state;
	enum {
		MANY = 65600
	};
	CLEAN_WRITER writer = hs_core_writer_create();
	struct user_regs_struct regs = regs_at(0, -1, 0);
	uint32_t value;
	size_t len;

	hs_core_writer_thread(writer, 10, &regs, 0, true);
	for (uint32_t i = 0; i < MANY; i++)
		hs_core_writer_segment(writer, (uint64_t)(i + 1) << 13, &i, sizeof(i), PAGE, PF_R);
	uint8_t *core = hs_core_writer_build(writer, &len);
	CLEAN_TARGET target = open_path(hs_core_writer_save(writer, core, len), NULL);

	must(hs_target_read_u32(target, (hs_addr)MANY << 13, &value));
	assert_int_equal(value, MANY - 1);
	// The section header with the number is the first thing to be cut off.
	CLEAN_TARGET cut = open_path(hs_core_writer_save(writer, core, len - 100), NULL);
	must(hs_target_read_u32(cut, (hs_addr)(MANY - 100) << 13, &value));
	assert_int_equal(value, MANY - 101);
	assert_true(hs_target_info(cut)->truncated_bytes > 0);
}

static void test_truncated(void **state)
{
	(void)state;
	CLEAN_WRITER writer = hs_core_writer_create();
	struct user_regs_struct regs = regs_at(0, -1, 0);
	uint8_t bytes[PAGE] = {1}, byte;
	size_t len, count;

	hs_core_writer_thread(writer, 10, &regs, 0, true);
	hs_core_writer_segment(writer, 0x10000, bytes, PAGE, PAGE, PF_R);
	hs_core_writer_segment(writer, 0x20000, bytes, PAGE, PAGE, PF_R);
	hs_core_writer_segment(writer, 0x30000, bytes, PAGE, PAGE, PF_R);
	uint8_t *core = hs_core_writer_build(writer, &len);
	CLEAN_TARGET target =
		open_path(hs_core_writer_save(writer, core, len - PAGE - PAGE / 2), NULL);

	assert_int_equal(hs_target_info(target)->truncated_bytes, PAGE + PAGE / 2);
	assert_true(has_gap(target, "hs-test", "6144 bytes are missing", "threads"));
	hs_target_lwps(target, &count);
	assert_int_equal(count, 1);
	assert_true(can_read(target, 0x10000, &byte));
	assert_true(can_read(target, 0x207ff, &byte));
	assert_false(can_read(target, 0x20800, &byte));
	assert_false(can_read(target, 0x30000, &byte));

	size_t headers = sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr);
	CLEAN_TARGET notes_only = open_path(hs_core_writer_save(writer, core, headers), NULL);
	hs_target_lwps(notes_only, &count);
	assert_int_equal(count, 0);
	assert_true(has_gap(notes_only, "", "no threads", "stacks"));
	assert_refused(hs_core_writer_save(writer, core, headers - 1), NULL, HS_ERR_BAD_DATA,
	               "cut off before its program headers");
	assert_refused(hs_core_writer_save(writer, core, 40), NULL, HS_ERR_BAD_DATA,
	               "inside of its ELF header");
}

// ---- compressed

static const char *save_compressed(struct hs_core_writer *writer, const uint8_t *core, size_t len,
                                   int (*filter)(struct archive *archive))
{
	struct archive *archive = archive_write_new();
	struct archive_entry *entry = archive_entry_new();
	uint8_t *packed = malloc(len + PAGE);
	size_t used;

	assert_non_null(packed);
	assert_int_equal(archive_write_set_format_raw(archive), ARCHIVE_OK);
	assert_int_equal(filter(archive), ARCHIVE_OK);
	assert_int_equal(archive_write_open_memory(archive, packed, len + PAGE, &used), ARCHIVE_OK);
	archive_entry_set_filetype(entry, AE_IFREG);
	assert_int_equal(archive_write_header(archive, entry), ARCHIVE_OK);
	assert_int_equal(archive_write_data(archive, core, len), len);
	archive_entry_free(entry);
	assert_int_equal(archive_write_free(archive), ARCHIVE_OK);
	const char *path = hs_core_writer_save(writer, packed, used);
	free(packed);
	return path;
}

static void test_compressed(void **state)
{
	(void)state;
	static int (*const filters[])(struct archive * archive) = {
		archive_write_add_filter_zstd,
		archive_write_add_filter_xz,
		archive_write_add_filter_gzip,
		archive_write_add_filter_lz4,
	};
	CLEAN_WRITER writer = hs_core_writer_create();
	uint8_t bytes[16 * PAGE] = {1}, out[16 * PAGE];
	size_t len;

	memset(bytes + 9 * PAGE + 7, 5, PAGE); // the rest becomes holes
	hs_core_writer_segment(writer, 0x10000, bytes, sizeof(bytes), sizeof(bytes), PF_R);
	uint8_t *core = hs_core_writer_build(writer, &len);
	for (size_t i = 0; i < sizeof(filters) / sizeof(filters[0]); i++) {
		const char *path = save_compressed(writer, core, len, filters[i]);
		CLEAN_TARGET target = open_path(path, NULL);

		assert_string_equal(hs_target_info(target)->unpacked_from, path);
		assert_int_equal(hs_target_info(target)->truncated_bytes, 0);
		must(hs_target_read(target, 0x10000, out, sizeof(out)));
		assert_memory_equal(out, bytes, sizeof(out));
	}
	static const uint8_t broken[64] = {0x28, 0xb5, 0x2f, 0xfd, 0xff, 0xff, 0xff};
	assert_refused(hs_core_writer_save(writer, broken, sizeof(broken)), NULL, HS_ERR_BAD_DATA,
	               "cannot unpack");
	assert_refused(save_compressed(writer, (const uint8_t *)"text", 4, filters[0]), NULL,
	               HS_ERR_BAD_DATA, "not an ELF file");
}

// ---- bad input

static void test_not_a_core(void **state)
{
	(void)state;
	static const struct {
		size_t offset;
		uint16_t value;
		enum hs_err_code code;
		const char *words;
	} cases[] = {
		{0,		    0x4242,             HS_ERR_BAD_DATA,    "not an ELF file"  },
		{		   offsetof(Elf64_Ehdr,             e_type),            ET_EXEC,    HS_ERR_BAD_DATA, "an ELF executable"},
		{		   offsetof(Elf64_Ehdr,             e_type),             ET_DYN,    HS_ERR_BAD_DATA,    "shared library"},
		{		   offsetof(Elf64_Ehdr,             e_type),             ET_REL,    HS_ERR_BAD_DATA,       "object file"},
		{		   offsetof(Elf64_Ehdr,             e_type),             0x1234,    HS_ERR_BAD_DATA,        "other type"},
		{		   offsetof(Elf64_Ehdr,          e_machine),         EM_AARCH64, HS_ERR_UNSUPPORTED,           "aarch64"},
		{		   offsetof(Elf64_Ehdr,          e_machine),             EM_386, HS_ERR_UNSUPPORTED,      "x86 (32 bit)"},
		{		   offsetof(Elf64_Ehdr,          e_machine),               4711, HS_ERR_UNSUPPORTED, "machine type 4711"},
		{		   EI_CLASS, ELFCLASS32 | 1 << 8, HS_ERR_UNSUPPORTED,           "32-bit"                   },
		{ offsetof(Elf64_Ehdr,                  e_phentsize),                     32,   HS_ERR_BAD_DATA,                    "makes no sense"},
		{ offsetof(Elf64_Ehdr,                   e_phnum),                      0,   HS_ERR_BAD_DATA,                    "makes no sense"},
		{ offsetof(Elf64_Ehdr,              e_phoff) + 4,                 0x7fff,  HS_ERR_BAD_DATA,                    "program headers"},
	};
	CLEAN_WRITER writer = hs_core_writer_create();
	size_t len;
	uint8_t *core = hs_core_writer_build(writer, &len);

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t copy[sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr)];

		memcpy(copy, core, sizeof(copy));
		memcpy(copy + cases[i].offset, &cases[i].value, sizeof(cases[i].value));
		assert_refused(hs_core_writer_save(writer, copy, sizeof(copy)), NULL, cases[i].code,
		               cases[i].words);
	}
	assert_refused(hs_core_writer_save(writer, "", 0), NULL, HS_ERR_BAD_DATA, "is empty");
	assert_refused(hs_core_writer_save(writer, "JAVA PROFILE 1.0.2", 19), NULL, HS_ERR_BAD_DATA,
	               "Java heap dump");
	assert_refused("/nonexistent/core", NULL, HS_ERR_OS, "/nonexistent/core");
	assert_refused("/tmp", NULL, HS_ERR_BAD_DATA, "a directory");
	assert_refused("/dev/zero", NULL, HS_ERR_BAD_DATA, "device");
}

static void test_bad_segments(void **state)
{
	(void)state;
	CLEAN_WRITER writer = hs_core_writer_create();
	uint8_t bytes[2 * PAGE], byte;
	size_t len;

	memset(bytes, 1, PAGE);
	memset(bytes + PAGE, 2, PAGE);
	hs_core_writer_segment(writer, 0x10000, bytes, PAGE, PAGE, PF_R);
	hs_core_writer_segment(writer, 0x20000, bytes, PAGE, PAGE, PF_R);
	hs_core_writer_segment(writer, 0x30000, bytes, PAGE, PAGE, PF_R);
	hs_core_writer_segment(writer, 0x40000, bytes + PAGE, PAGE, PAGE, PF_R);
	uint8_t *core = hs_core_writer_build(writer, &len);
	hs_core_writer_phdr(core, 1)->p_memsz = UINT64_MAX; // wraps around
	hs_core_writer_phdr(core, 2)->p_offset = UINT64_MAX - 5;
	hs_core_writer_phdr(core, 3)->p_memsz = 0x11000; // over the last one
	CLEAN_TARGET target = open_path(hs_core_writer_save(writer, core, len), NULL);

	assert_true(has_gap(target, "", "make no sense: 2", "memory"));
	assert_false(can_read(target, 0x10000, &byte));
	assert_false(can_read(target, 0x20000, &byte));
	assert_true(can_read(target, 0x30fff, &byte));
	assert_true(can_read(target, 0x40000, &byte));
	assert_int_equal(byte, 2);
}

static void test_bad_notes(void **state)
{
	(void)state;
	CLEAN_WRITER writer = hs_core_writer_create();
	struct user_regs_struct regs = regs_at(0, -1, 0);
	const uint64_t many[2] = {UINT64_MAX / 3, 1}, no_names[5] = {1, PAGE, 0x1000, 0x2000, 0};
	size_t len, count;

	hs_core_writer_thread(writer, 10, &regs, 0, true);
	hs_core_writer_thread(writer, 10, &regs, 0, true);
	hs_core_writer_thread(writer, -5, &regs, 0, true);
	hs_core_writer_note(writer, "CORE", NT_PRSTATUS, "short", 5);
	hs_core_writer_note(writer, "CORE", NT_FILE, many, sizeof(many));
	hs_core_writer_note(writer, "CORE", NT_FILE, no_names, sizeof(no_names));
	hs_core_writer_note(writer, "CORE", NT_AUXV, "odd", 3);
	hs_core_writer_note(writer, "LINUX", NT_PRSTATUS, "not ours", 8);
	hs_core_writer_thread(writer, 11, &regs, 0, true);
	uint8_t *core = hs_core_writer_build(writer, &len);
	CLEAN_TARGET target = open_path(hs_core_writer_save(writer, core, len), NULL);

	hs_target_lwps(target, &count);
	assert_int_equal(count, 2);
	assert_true(has_gap(target, "", "make no sense: 5", "threads"));

	// A note that is longer than what is left ends the walk.
	((Elf64_Nhdr *)(void *)(core + hs_core_writer_phdr(core, 0)->p_offset))->n_descsz =
		UINT32_MAX;
	CLEAN_TARGET cut = open_path(hs_core_writer_save(writer, core, len), NULL);
	hs_target_lwps(cut, &count);
	assert_int_equal(count, 0);
}

/** Any bit flipped: opened or refused, never a crash, and it can be read from end to end. */
static void test_flipped_bits(void **state)
{
	(void)state;
	CLEAN_WRITER writer = hs_core_writer_create();
	struct user_regs_struct regs = regs_at(HEAP + 7, 202, -512);
	uint8_t elf[HS_TEST_ELF_SIZE];
	size_t len;

	hs_test_elf_make(elf, 0);
	add_code(writer, 202);
	add_program(writer, hs_core_writer_save(writer, elf, sizeof(elf)));
	hs_core_writer_thread(writer, 10, &regs, 0, true);
	hs_core_writer_psinfo(writer, 10, "prog", "prog");
	uint8_t *core = hs_core_writer_build(writer, &len);
	const char *path = hs_core_writer_save(writer, core, len);
	FILE *file = fopen(path, "r+");
	assert_non_null(file);
	// Headers and notes are the first 1.5 KiB, the library's headers the second page after.
	size_t notes_end = (size_t)hs_core_writer_phdr(core, 1)->p_offset;
	for (size_t i = 0; i < notes_end + PAGE + 300; i++) {
		hs_cleanup(hs_target_closep) struct hs_target *target = NULL;
		const uint8_t flipped = core[i] ^ (uint8_t)(1 << (i * 5 + i / 7) % 8);
		uint8_t byte;

		if (i == notes_end)
			i += PAGE; // plain memory
		rewind(file);
		assert_int_equal(fwrite(core, 1, len, file), len);
		fseek(file, (long)i, SEEK_SET);
		fputc(flipped, file);
		fflush(file);
		struct hs_err *err = hs_target_open_core(path, NULL, &target);
		hs_err_free(err);
		if (err)
			continue;
		for (hs_addr addr = LIB; addr < LIB + 0x4000; addr += PAGE / 2)
			(void)can_read(target, addr, &byte);
	}
	fclose(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reads_segments),
		cmocka_unit_test(test_past_filesz_is_a_fault),
		cmocka_unit_test(test_threads_of_kernel_core),
		cmocka_unit_test(test_registers_in_dwarf_order),
		cmocka_unit_test(test_system_calls),
		cmocka_unit_test(test_memory_from_mapped_file),
		cmocka_unit_test(test_another_build_is_not_used),
		cmocka_unit_test(test_file_without_build_id),
		cmocka_unit_test(test_missing_and_odd_files),
		cmocka_unit_test(test_mappings),
		cmocka_unit_test(test_exe),
		cmocka_unit_test(test_arguments_on_stack),
		cmocka_unit_test(test_more_than_65534_segments),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_compressed),
		cmocka_unit_test(test_not_a_core),
		cmocka_unit_test(test_bad_segments),
		cmocka_unit_test(test_bad_notes),
		cmocka_unit_test(test_flipped_bits),
	};

	return cmocka_run_group_tests_name("core_file", tests, NULL, NULL);
}
