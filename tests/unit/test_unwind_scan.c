// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Callers of code without unwind information: call instructions by hand, and a thread of this very
 * process that looks like one of musl, with functions in assembly that have no such information.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/native/unwind_scan.h"
#include "core/stack_walk.h"
#include "tests/support/fake_target.h"

#if defined(__clang__)
#define NO_CLONE __attribute__((__noinline__, __optnone__, __no_sanitize__("address")))
#else
#define NO_CLONE __attribute__((__noipa__, __no_sanitize_address__))
#endif

// ---- call instructions

static enum hs_call_kind call(const char *bytes, hs_addr *target)
{
	*target = 0;
	return hs_call_before((const uint8_t *)bytes, 0x400100, target);
}

static void knows_calls(void **state)
{
	hs_addr target;

	(void)state;
	assert_int_equal(call("\x90\x90\xe8\x00\x01\x00\x00", &target), HS_CALL_DIRECT);
	assert_int_equal(target, 0x400200);
	assert_int_equal(call("\x90\x90\xe8\xf0\xff\xff\xff", &target), HS_CALL_DIRECT);
	assert_int_equal(target, 0x4000f0);
	assert_int_equal(call("\x90\xff\x15\x08\x00\x00\x00", &target), HS_CALL_SLOT);
	assert_int_equal(target, 0x400108);
	assert_int_equal(call("\x90\x90\x90\x90\x90\xff\xd0", &target), HS_CALL_INDIRECT);
	assert_int_equal(call("\x90\x90\x90\x90\x41\xff\xd1", &target), HS_CALL_INDIRECT);
	assert_int_equal(call("\x90\x90\x90\x90\x90\xff\x13", &target), HS_CALL_INDIRECT);
	assert_int_equal(call("\x90\x90\x90\xff\x54\x24\x08", &target), HS_CALL_INDIRECT);
	assert_int_equal(call("\xff\x94\x24\x00\x01\x00\x00", &target), HS_CALL_INDIRECT);
	assert_int_equal(call("\x90\x90\x90\x90\x90\xff\xe0", &target), HS_CALL_NONE); // jmp
	assert_int_equal(call("\x90\x90\x90\x90\x90\x90\x90", &target), HS_CALL_NONE);
	assert_int_equal(call("\x90\x90\x90\x90\xe8\x00\x01", &target), HS_CALL_NONE);
	assert_int_equal(target, 0);
}

// ---- a thread

enum {
	WORDS = 8, // free in the frame of scan_blocked, then rbp and the return address
	PTHREAD = 0x10000,
	OTHER = 0x20000,
	TID = 77,
};

/** What a test changes in the copy of the stack. */
enum damage {
	NONE,
	NO_RETURN_ADDRESS,
	OTHER_ROUTINE,
	OLD_RETURN_ADDRESS, // of a function that is not on the stack
};

static struct {
	enum damage damage;
	uint64_t old;
	const char *functions[16];
	uint8_t found_by[16];
	size_t num;
	bool is_cut;
} walked;

void scan_clone(void (*routine)(void));
void scan_blocked(void);
void scan_start(void);
void scan_capture(uint64_t *sp);
extern const char scan_blocked_pc[];

// scan_clone is as clone.s of musl, and scan_start takes the way back around its end. No .cfi.
__asm__(".text\n"
        ".type scan_clone, @function\n"
        "scan_clone:\n"
        "	push %rdi\n"
        "	lea scan_start(%rip), %r9\n"
        "	call *%r9\n"
        "	mov %eax, %edi\n"
        "	xor %eax, %eax\n"
        "	mov $60, %al\n"
        "	syscall\n"
        "	hlt\n"
        ".size scan_clone, . - scan_clone\n"
        ".type scan_start, @function\n"
        "scan_start:\n"
        "	sub $8, %rsp\n"
        "	call *%rdi\n"
        "	add $24, %rsp\n"
        "	ret\n"
        ".size scan_start, . - scan_start\n"
        ".type scan_blocked, @function\n"
        "scan_blocked:\n"
        "	push %rbp\n"
        "	sub $64, %rsp\n"
        "	mov %rsp, %rdi\n"
        "	call scan_capture\n"
        "scan_blocked_pc:\n"
        "	add $64, %rsp\n"
        "	pop %rbp\n"
        "	ret\n"
        ".size scan_blocked, . - scan_blocked\n");

NO_CLONE static void other_caller(void)
{
	if (walked.old) // never: only its call is needed
		scan_blocked();
	__asm__ volatile("");
}

NO_CLONE static void caller(void)
{
	scan_blocked();
	__asm__ volatile("");
}

NO_CLONE static void routine(void)
{
	caller();
	__asm__ volatile("");
}

static int add_module(struct dl_phdr_info *info, size_t size, void *arg)
{
	hs_addr start = UINT64_MAX, end = 0;
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	(void)size;
	assert_true(fd >= 0);
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *phdr = &info->dlpi_phdr[i];
		hs_addr first = (info->dlpi_addr + phdr->p_vaddr) & ~(hs_addr)0xfff;
		hs_addr last = info->dlpi_addr + phdr->p_vaddr + phdr->p_memsz;

		if (phdr->p_type != PT_LOAD)
			continue;
		start = first < start ? first : start;
		end = last > end ? last : end;
	}
	// Its code is not in the target's memory: it is read from the file.
	hs_fake_module(arg, "/proc/self/exe", start, end, info->dlpi_addr, fd);
	close(fd);
	return 1; // the program is the first
}

/** The return address of the call in @p function. */
static uint64_t return_address_in(void (*function)(void), void (*callee)(void))
{
	const uint8_t *code = (const uint8_t *)(uintptr_t)function;

	for (size_t i = 0; i < 200; i++) {
		int32_t offset;

		memcpy(&offset, code + i + 1, sizeof(offset));
		if (code[i] == 0xe8 &&
		    (uintptr_t)(code + i + 5) + (uintptr_t)(intptr_t)offset == (uintptr_t)callee)
			return (uintptr_t)(code + i + 5);
	}
	fail_msg("no call");
	return 0;
}

static void copy_stack(struct hs_fake *fake, const uint64_t *sp)
{
	enum {
		COPIED = 512
	};
	static uint64_t words[COPIED];
	int fd = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	uint64_t right = return_address_in(caller, scan_blocked);

	assert_int_equal(pread(fd, words, sizeof(words), (off_t)(uintptr_t)sp), sizeof(words));
	close(fd);
	assert_int_equal(words[WORDS + 1], right);
	memset(words, 0, WORDS * sizeof(*words));
	for (size_t i = WORDS + 1; i < COPIED; i++) {
		if (walked.damage == OTHER_ROUTINE && words[i] == (uintptr_t)routine)
			words[i] = (uintptr_t)caller;
	}
	if (walked.damage == NO_RETURN_ADDRESS)
		words[WORDS + 1]++;
	if (walked.damage == OLD_RETURN_ADDRESS) {
		words[2] = return_address_in(other_caller, scan_blocked);
		words[3] = words[5] = return_address_in(routine, caller);
	}
	hs_addr at = (uintptr_t)sp;
	hs_fake_mapping(fake, "[stack]", at & ~(hs_addr)0xfff, at + sizeof(words),
	                HS_PROT_READ | HS_PROT_WRITE);
	hs_fake_memory(fake, at, words, sizeof(words));
}

static void walk(struct hs_fake *fake)
{
	const struct hs_native_options options = {0};
	struct hs_snapshot *snapshot = hs_snapshot_create();
	struct hs_target *target = hs_fake_target(fake);
	struct hs_native *native;

	assert_non_null(hs_snapshot_add_thread(snapshot, TID, &(uint32_t){0}));
	assert_null(hs_native_open(target, snapshot, &options, &native));
	assert_null(hs_stack_walk_all(snapshot, target,
	                              &(const struct hs_stepper *){hs_native_stepper(native)}, 1));
	const struct hs_thread *thread = &snapshot->threads.items[0];
	walked.is_cut = thread->frames_cut;
	walked.num = thread->num_frames < 16 ? thread->num_frames : 16;
	for (size_t i = 0; i < walked.num; i++) {
		const char *name = thread->frames[i].location->function;

		walked.functions[i] = name ? strdup(name) : NULL;
		walked.found_by[i] = thread->frames[i].found_by;
	}
	hs_native_close(native);
	hs_snapshot_destroy(snapshot);
}

__attribute__((__used__)) void scan_capture(uint64_t *sp)
{
	struct hs_fake *fake = hs_fake_create();
	struct hs_regs regs = {0};

	hs_regs_set(&regs, HS_REG_PC, (uintptr_t)scan_blocked_pc);
	hs_regs_set(&regs, HS_REG_SP, (uintptr_t)sp);
	// As in code that uses it for something else.
	hs_regs_set(&regs, HS_REG_FP, 12345);
	hs_fake_lwp(fake, TID, &regs)->thread_pointer = PTHREAD;
	hs_fake_fill(fake, PTHREAD, 0, 512);
	hs_fake_fill(fake, OTHER, 0, 64);
	hs_fake_u64(fake, PTHREAD, PTHREAD);
	hs_fake_u64(fake, PTHREAD + 24, OTHER);
	hs_fake_u64(fake, OTHER + 16, PTHREAD);
	hs_fake_u32(fake, PTHREAD + 48, TID);
	dl_iterate_phdr(add_module, fake);
	copy_stack(fake, sp);
	walk(fake);
	hs_fake_destroy(fake);
}

static void walk_with(enum damage damage)
{
	for (size_t i = 0; i < walked.num; i++)
		free((char *)(uintptr_t)walked.functions[i]);
	memset(&walked, 0, sizeof(walked));
	walked.damage = damage;
	scan_clone(routine);
}

static void assert_whole(void)
{
	static const char *const EXPECTED[] = {"scan_blocked", "caller", "routine", "scan_start",
	                                       "scan_clone"};
	assert_false(walked.is_cut);
	assert_int_equal(walked.num, 5);
	for (size_t i = 0; i < 5; i++)
		assert_string_equal(walked.functions[i], EXPECTED[i]);
	assert_int_equal(walked.found_by[1], HS_FOUND_SCAN);
	assert_int_equal(walked.found_by[2], HS_FOUND_ROW);
	assert_int_equal(walked.found_by[3], HS_FOUND_ROW);
	assert_int_equal(walked.found_by[4], HS_FOUND_SCAN);
}

static void finds_the_caller(void **state)
{
	(void)state;
	walk_with(NONE);
	assert_whole();
	walk_with(OLD_RETURN_ADDRESS);
	assert_whole();
}

static void proves_or_gives_up(void **state)
{
	static const enum damage DAMAGES[] = {NO_RETURN_ADDRESS, OTHER_ROUTINE};

	(void)state;
	for (size_t i = 0; i < sizeof(DAMAGES) / sizeof(DAMAGES[0]); i++) {
		walk_with(DAMAGES[i]);
		assert_true(walked.is_cut);
		assert_int_equal(walked.num, 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(knows_calls),
		cmocka_unit_test(finds_the_caller),
		cmocka_unit_test(proves_or_gives_up),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
