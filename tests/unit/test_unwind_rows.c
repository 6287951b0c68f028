// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Unwinding of native code: rows by hand, and this very process, whose own stack is copied into a
 * fake target and must come out as backtrace(3) of libgcc says.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

#include "core/native/native_internal.h"
#include "core/stack_walk.h"
#include "tests/support/fake_target.h"

/** Neither inlined nor cloned: the tests look for its name. */
#if defined(__clang__)
#define NO_CLONE __attribute__((__noinline__, __optnone__))
#else
#define NO_CLONE __attribute__((__noipa__))
#endif

// ---- rows by hand

/** push %rbp; mov %rsp, %rbp: the rule of nearly every function with a frame pointer. */
static struct hs_row frame_pointer_row(void)
{
	return (struct hs_row){
		.kind = HS_ROW_PLAIN,
		.cfa_reg = HS_REG_FP,
		.cfa_offset = 16,
		.rule = {[1] = HS_RULE_AT_CFA, [6] = HS_RULE_AT_CFA},
		.offset = {[1] = -16,            [6] = -8            },
	};
}

static struct hs_regs top_regs(void)
{
	struct hs_regs regs = {0};

	for (unsigned i = 0; i < HS_REG_COUNT; i++)
		hs_regs_set(&regs, i, 0x100 + i);
	hs_regs_set(&regs, HS_REG_FP, 0x5000);
	hs_regs_set(&regs, HS_REG_SP, 0x4f00);
	return regs;
}

static void row_restores_the_caller(void **state)
{
	(void)state;
	struct hs_fake *fake = hs_fake_create();
	struct hs_row row = frame_pointer_row();
	struct hs_regs regs = top_regs();
	bool at_end;

	row.same = 1 << HS_REG_R10;
	row.rule[2] = HS_RULE_UNDEFINED;                     // r12
	row.rule[3] = HS_RULE_REGISTER, row.offset[3] = 11;  // r13 in r11
	row.rule[4] = HS_RULE_IS_CFA, row.offset[4] = -0x10; // r14
	hs_fake_u64(fake, 0x5000, 0x6000);
	hs_fake_u64(fake, 0x5008, 0x401234);
	assert_null(hs_row_apply(&row, hs_fake_target(fake), &regs, &at_end));
	assert_false(at_end);
	assert_int_equal(regs.value[HS_REG_PC], 0x401234);
	assert_int_equal(regs.value[HS_REG_SP], 0x5010);
	assert_int_equal(regs.value[HS_REG_FP], 0x6000);
	assert_int_equal(regs.value[HS_REG_RBX], 0x100 + HS_REG_RBX);
	assert_int_equal(regs.value[HS_REG_R10], 0x100 + HS_REG_R10);
	assert_int_equal(regs.value[HS_REG_R13], 0x100 + HS_REG_R11);
	assert_int_equal(regs.value[HS_REG_R14], 0x5000);
	assert_false(hs_regs_has(&regs, HS_REG_R12));
	assert_false(hs_regs_has(&regs, HS_REG_RAX));
	hs_fake_destroy(fake);
}

static void outermost_rows(void **state)
{
	(void)state;
	struct hs_fake *fake = hs_fake_create();
	struct hs_row row = frame_pointer_row();
	struct hs_regs regs = top_regs();
	bool at_end = false;

	row.rule[6] = HS_RULE_UNDEFINED;
	assert_null(hs_row_apply(&row, hs_fake_target(fake), &regs, &at_end));
	assert_true(at_end);

	row = frame_pointer_row();
	regs = top_regs();
	at_end = false;
	hs_fake_u64(fake, 0x5008, 0);
	assert_null(hs_row_apply(&row, hs_fake_target(fake), &regs, &at_end));
	assert_true(at_end);
	hs_fake_destroy(fake);
}

/** gcore leaves blocks out that it cannot read as a whole: zeros there are no end of a stack. */
static void stack_missing_from_a_core(void **state)
{
	(void)state;
	struct hs_fake *fake = hs_fake_create();
	struct hs_row row = frame_pointer_row();
	struct hs_regs regs = top_regs();
	bool at_end = false;

	hs_fake_info(fake)->kind = HS_TARGET_CORE;
	hs_fake_fill(fake, 0x5000, 0, 0x2000);
	struct hs_err *err = hs_row_apply(&row, hs_fake_target(fake), &regs, &at_end);
	assert_non_null(err);
	assert_non_null(strstr(hs_err_message(err), "missing from the core"));
	assert_non_null(strstr(hs_err_message(err), "0x5000"));
	assert_int_equal(regs.value[HS_REG_SP], 0x4f00);
	hs_err_free(err);

	hs_fake_u8(fake, 0x5fff, 1); // anything on the page: it is there
	assert_null(hs_row_apply(&row, hs_fake_target(fake), &regs, &at_end));
	assert_true(at_end);
	hs_fake_destroy(fake);

	fake = hs_fake_create(); // a live process has no holes
	regs = top_regs();
	at_end = false;
	hs_fake_info(fake)->kind = HS_TARGET_LIVE;
	hs_fake_fill(fake, 0x5000, 0, 0x2000);
	assert_null(hs_row_apply(&row, hs_fake_target(fake), &regs, &at_end));
	assert_true(at_end);
	hs_fake_destroy(fake);
}

static void rows_that_cannot_be_applied(void **state)
{
	(void)state;
	struct hs_fake *fake = hs_fake_create();
	struct hs_row row = frame_pointer_row();
	struct hs_regs regs = top_regs();
	bool at_end;

	struct hs_err *err = hs_row_apply(&row, hs_fake_target(fake), &regs, &at_end);
	assert_non_null(err);
	assert_int_equal(hs_err_code(err), HS_ERR_FAULT);
	hs_err_free(err);
	assert_int_equal(regs.value[HS_REG_SP], 0x4f00);

	regs.valid &= ~(UINT32_C(1) << HS_REG_FP);
	err = hs_row_apply(&row, hs_fake_target(fake), &regs, &at_end);
	assert_non_null(err);
	assert_int_equal(hs_err_code(err), HS_ERR_BAD_DATA);
	hs_err_free(err);
	hs_fake_destroy(fake);
}

// ---- no unwind information

/** Code in no file at 0x10000, a stack at 0x20000. */
static void guess_by_rbp(void **state)
{
	(void)state;
	struct hs_fake *fake = hs_fake_create();
	struct hs_snapshot *snapshot = hs_snapshot_create();
	struct hs_regs regs = {0};
	struct hs_native *native;

	hs_fake_mapping(fake, "", 0x10000, 0x11000, HS_PROT_READ | HS_PROT_EXEC);
	hs_fake_mapping(fake, "[stack]", 0x20000, 0x21000, HS_PROT_READ | HS_PROT_WRITE);
	hs_regs_set(&regs, HS_REG_PC, 0x10100);
	hs_regs_set(&regs, HS_REG_SP, 0x20100);
	hs_regs_set(&regs, HS_REG_FP, 0x20140);
	hs_fake_lwp(fake, 1, &regs);
	hs_fake_lwp(fake, 2, &regs)->regs.value[HS_REG_FP] = 0x20300;
	hs_fake_u64(fake, 0x20140, 0x20180);
	hs_fake_u64(fake, 0x20148, 0x10200);
	hs_fake_u64(fake, 0x20180, 0);
	hs_fake_u64(fake, 0x20188, 0x10300);
	hs_fake_u64(fake, 0x20300, 0x20380); // a return address in the stack: not plausible
	hs_fake_u64(fake, 0x20308, 0x20400);
	for (pid_t tid = 1; tid <= 2; tid++)
		assert_non_null(hs_snapshot_add_thread(snapshot, tid, &(uint32_t){0}));
	assert_null(hs_native_open(hs_fake_target(fake), snapshot, &(struct hs_native_options){0},
	                           &native));
	assert_null(hs_stack_walk_all(snapshot, hs_fake_target(fake),
	                              &(const struct hs_stepper *){hs_native_stepper(native)}, 1));

	const struct hs_thread *thread = &snapshot->threads.items[0];
	assert_int_equal(thread->num_frames, 3);
	assert_int_equal(thread->frames[1].pc, 0x10200);
	assert_int_equal(thread->frames[1].found_by, HS_FOUND_RBP);
	assert_int_equal(thread->frames[2].pc, 0x10300);
	assert_null(thread->frames[2].location->function);
	assert_false(thread->frames_cut);
	thread = &snapshot->threads.items[1];
	assert_int_equal(thread->num_frames, 1);
	assert_true(thread->frames_cut);
	assert_int_equal(snapshot->gaps.len, 1);
	hs_native_close(native);
	hs_snapshot_destroy(snapshot);
	hs_fake_destroy(fake);
}

// ---- this process

enum {
	MAX_PCS = 256,
	COPY_MAX = 4 << 20,
};

/** What one walk of our own stack gave. */
struct own_walk {
	bool use_libunwind;
	void *expected[MAX_PCS]; /**< backtrace(3) */
	int num_expected;
	hs_addr pcs[MAX_PCS];
	const char *functions[MAX_PCS];
	bool exact[MAX_PCS];
	uint8_t found_by[MAX_PCS];
	size_t num;
	hs_addr alternate_start, alternate_end;
	struct hs_fake *fake;
	struct hs_snapshot *snapshot;
};

static struct own_walk own; // a signal handler has no other way to it

/** Through /proc: AddressSanitizer would stop a plain copy of a stack. */
static void copy_own_memory(struct hs_fake *fake, hs_addr start, hs_addr end)
{
	size_t len = end - start < COPY_MAX ? end - start : COPY_MAX;
	uint8_t *bytes = malloc(len);
	int fd = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);

	assert_non_null(bytes);
	ssize_t got = pread(fd, bytes, len, (off_t)start);
	assert_true(got > 0);
	hs_fake_memory(fake, start, bytes, (size_t)got);
	close(fd);
	free(bytes);
}

static int add_own_module(struct dl_phdr_info *info, size_t size, void *arg)
{
	hs_addr start = UINT64_MAX, end = 0;
	const char *path = *info->dlpi_name ? info->dlpi_name : "/proc/self/exe";
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	(void)size;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *phdr = &info->dlpi_phdr[i];
		hs_addr first = (info->dlpi_addr + phdr->p_vaddr) & ~(hs_addr)0xfff;
		hs_addr last = info->dlpi_addr + phdr->p_vaddr + phdr->p_memsz;

		if (phdr->p_type == PT_LOAD && first < start)
			start = first;
		if (phdr->p_type == PT_LOAD && last > end)
			end = last;
		// libunwind reads .eh_frame_hdr, .eh_frame and the trampoline from memory.
		if (phdr->p_type == PT_LOAD && !(phdr->p_flags & PF_W))
			copy_own_memory(arg, first, last);
	}
	if (fd >= 0) { // the vdso has no file
		hs_fake_module(arg, path, start, end, info->dlpi_addr, fd);
		close(fd);
	}
	return 0;
}

static void copy_own_stack(struct hs_fake *fake, hs_addr sp)
{
	pthread_attr_t attr;
	void *base;
	size_t size;

	assert_int_equal(pthread_getattr_np(pthread_self(), &attr), 0);
	assert_int_equal(pthread_attr_getstack(&attr, &base, &size), 0);
	pthread_attr_destroy(&attr);
	hs_addr start = (uintptr_t)base, end = start + size;

	hs_fake_mapping(fake, "[stack]", start, end, HS_PROT_READ | HS_PROT_WRITE);
	if (!own.alternate_end) {
		copy_own_memory(fake, sp, end);
		return;
	}
	hs_fake_mapping(fake, "", own.alternate_start, own.alternate_end,
	                HS_PROT_READ | HS_PROT_WRITE);
	copy_own_memory(fake, sp, own.alternate_end);
	// Where the signal hit is not known here: what the raising functions used is near the top.
	copy_own_memory(fake, end - 0x10000, end);
}

static struct hs_regs regs_of(const ucontext_t *context)
{
	static const int NUMBERS[HS_REG_COUNT] = {
		REG_RAX, REG_RDX, REG_RCX, REG_RBX, REG_RSI, REG_RDI, REG_RBP, REG_RSP, REG_R8,
		REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15, REG_RIP,
	};
	struct hs_regs regs = {0};

	for (int i = 0; i < HS_REG_COUNT; i++)
		hs_regs_set(&regs, (enum hs_reg)i,
		            (uint64_t)context->uc_mcontext.gregs[NUMBERS[i]]);
	return regs;
}

/** Walk our own stack from here. */
NO_CLONE static void walk_here(void)
{
	ucontext_t context;
	struct hs_native *native;
	const struct hs_native_options options = {.use_libunwind = own.use_libunwind};

	own.num_expected = backtrace(own.expected, MAX_PCS);
	assert_int_equal(getcontext(&context), 0);
	struct hs_regs regs = regs_of(&context);

	own.fake = hs_fake_create();
	own.snapshot = hs_snapshot_create();
	hs_fake_lwp(own.fake, 1, &regs);
	dl_iterate_phdr(add_own_module, own.fake);
	copy_own_stack(own.fake, regs.value[HS_REG_SP]);
	assert_non_null(hs_snapshot_add_thread(own.snapshot, 1, &(uint32_t){0}));
	struct hs_target *target = hs_fake_target(own.fake);
	assert_null(hs_native_open(target, own.snapshot, &options, &native));
	assert_null(hs_stack_walk_all(own.snapshot, target,
	                              &(const struct hs_stepper *){hs_native_stepper(native)}, 1));

	const struct hs_thread *thread = &own.snapshot->threads.items[0];
	for (own.num = 0; own.num < thread->num_frames && own.num < MAX_PCS; own.num++) {
		const struct hs_frame *frame = &thread->frames[own.num];

		own.pcs[own.num] = frame->pc;
		own.functions[own.num] = frame->location->function;
		own.exact[own.num] = frame->is_activation;
		own.found_by[own.num] = frame->found_by;
	}
	hs_native_close(native);
}

NO_CLONE static void level(int depth)
{
	if (depth > 0)
		level(depth - 1);
	else
		walk_here();
	__asm__ volatile(""); // not a tail call
}

static void on_signal(int signo)
{
	(void)signo;
	level(1);
	__asm__ volatile("");
}

static void assert_as_backtrace(void)
{
	for (size_t i = 0; i < own.snapshot->gaps.len; i++)
		print_error("gap: %s\n", own.snapshot->gaps.items[i].reason);
	assert_int_equal(own.snapshot->gaps.len, 0);
	assert_true(own.num > 1);
	// The first pc is another place of walk_here(); a sanitizer puts a backtrace() before it.
	int first = 1;
	while (first < own.num_expected && (uintptr_t)own.expected[first] != own.pcs[1])
		first++;
	assert_int_equal(own.num - 1, own.num_expected - first);
	for (size_t i = 1; i < own.num; i++)
		assert_int_equal(own.pcs[i], (uintptr_t)own.expected[(size_t)first + i - 1]);
	assert_string_equal(own.functions[0], "walk_here");
	assert_string_equal(own.functions[1], "level");
}

static void own_free(void)
{
	hs_snapshot_destroy(own.snapshot);
	hs_fake_destroy(own.fake);
	own = (struct own_walk){0};
}

static void own_main_thread(void **state)
{
	own.use_libunwind = *state;
	level(5);
	assert_as_backtrace();
	assert_string_equal(own.functions[6], "level");
	assert_string_equal(own.functions[7], "own_main_thread");
	assert_string_equal(own.functions[own.num - 1], "_start");
	assert_true(own.exact[0]);
	assert_false(own.exact[1]);
	own_free();
}

static void *thread_main(void *arg)
{
	level(3);
	__asm__ volatile("");
	return arg;
}

static void own_other_thread(void **state)
{
	pthread_t thread;

	own.use_libunwind = *state;
	assert_int_equal(pthread_create(&thread, NULL, thread_main, NULL), 0);
	pthread_join(thread, NULL);
	assert_as_backtrace();
	own_free();
}

static void raise_handled(int flags)
{
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = flags};
	struct sigaction before;

	assert_int_equal(sigaction(SIGUSR1, &action, &before), 0);
	raise(SIGUSR1);
	sigaction(SIGUSR1, &before, NULL);
}

/** The trampoline's row is made of expressions: libdwfl steps it. */
static void assert_trampoline(void)
{
	size_t i = 1;

	while (i < own.num && !own.exact[i])
		i++;
	assert_true(i + 1 < own.num);
	assert_string_equal(own.functions[i - 1], "on_signal");
	assert_true(own.exact[i + 1]);
	assert_int_equal(own.found_by[i + 1], HS_FOUND_CFI);
}

static void own_signal_handler(void **state)
{
	own.use_libunwind = *state;
	raise_handled(0);
	assert_as_backtrace();
	assert_trampoline();
	own_free();
}

static void own_alternate_stack(void **state)
{
	enum {
		SIZE = 1 << 20
	};
	stack_t alternate = {.ss_sp = malloc(SIZE), .ss_size = SIZE};
	stack_t before;

	assert_non_null(alternate.ss_sp);
	assert_int_equal(sigaltstack(&alternate, &before), 0);
	own.use_libunwind = *state;
	own.alternate_start = (uintptr_t)alternate.ss_sp;
	own.alternate_end = own.alternate_start + SIZE;
	raise_handled(SA_ONSTACK);
	assert_as_backtrace();
	assert_trampoline();
	sigaltstack(&before, NULL);
	free(alternate.ss_sp);
	own_free();
}

static void libunwind_is_not_for_cores(void **state)
{
	(void)state;
	struct hs_fake *fake = hs_fake_create();
	struct hs_snapshot *snapshot = hs_snapshot_create();
	struct hs_native *native = NULL;

	hs_fake_info(fake)->kind = HS_TARGET_CORE;
	struct hs_err *err =
		hs_native_open(hs_fake_target(fake), snapshot,
	                       &(struct hs_native_options){.use_libunwind = true}, &native);
	assert_non_null(err);
	assert_int_equal(hs_err_code(err), HS_ERR_USAGE);
	hs_err_free(err);
	hs_snapshot_destroy(snapshot);
	hs_fake_destroy(fake);
}

int main(void)
{
	static bool libunwind = true;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(row_restores_the_caller),
		cmocka_unit_test(outermost_rows),
		cmocka_unit_test(stack_missing_from_a_core),
		cmocka_unit_test(rows_that_cannot_be_applied),
		cmocka_unit_test(guess_by_rbp),
		cmocka_unit_test(own_main_thread),
		cmocka_unit_test(own_other_thread),
		cmocka_unit_test(own_signal_handler),
		cmocka_unit_test(own_alternate_stack),
		cmocka_unit_test_prestate(own_main_thread, &libunwind),
		cmocka_unit_test_prestate(own_other_thread, &libunwind),
		cmocka_unit_test_prestate(own_signal_handler, &libunwind),
		cmocka_unit_test_prestate(own_alternate_stack, &libunwind),
		cmocka_unit_test(libunwind_is_not_for_cores),
	};

	return cmocka_run_group_tests_name("unwind_rows", tests, NULL, NULL);
}
