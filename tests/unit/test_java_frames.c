// SPDX-License-Identifier: Apache-2.0
/** @file Walks through interpreted and compiled frames, stubs and the call stub. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "tests/support/fake_code.h"

enum {
	SP = FAKE_STACK + 0x1000,
	FP = FAKE_STACK + 0x1100,
	ENTRY_FP = FAKE_STACK + 0x1400, /**< rbp of the call stub */
	IN_INTERPRETER = FAKE_INTERPRETER + 0x200,
	FRAME_WORDS = 8,
	FRAME_BYTES = FRAME_WORDS * 8,
	CALL_AT = 0x20, /**< return pc in compiled code, from its first instruction */
};

static void open_cache(struct fake_code *code)
{
	struct hs_err *err = hs_code_cache_open(code->jvm);

	assert_null(err);
}

static struct hs_err *try_step(struct fake_code *code, struct hs_cursor *cursor)
{
	const struct hs_stepper *stepper = &code->jvm->stepper;

	assert_true(stepper->owns(stepper->self, cursor->regs.value[HS_REG_PC]));
	return stepper->step(stepper->self, cursor, &code->list);
}

static void step(struct fake_code *code, struct hs_cursor *cursor)
{
	struct hs_err *err = try_step(code, cursor);

	if (err)
		fail_msg("%s", hs_err_message(err));
}

static const struct hs_frame *frame_at(struct fake_code *code, size_t index)
{
	assert_true(index < code->list.frames.len);
	return &code->list.frames.items[index];
}

static void check_frame(struct fake_code *code, size_t index, enum hs_frame_kind kind,
                        const char *method, int32_t bci)
{
	const struct hs_location *location = frame_at(code, index)->location;

	assert_int_equal(location->kind, kind);
	assert_string_equal(location->method, method);
	assert_int_equal(location->bci, bci);
	assert_string_equal(location->class_name, "app.Main");
}

static void check_registers(const struct hs_cursor *cursor, hs_addr pc, hs_addr sp, hs_addr fp)
{
	assert_int_equal(cursor->regs.value[HS_REG_PC], pc);
	assert_int_equal(cursor->regs.value[HS_REG_SP], sp);
	assert_true(hs_regs_has(&cursor->regs, HS_REG_FP));
	assert_int_equal(cursor->regs.value[HS_REG_FP], fp);
	assert_false(cursor->is_activation);
}

// ---- interpreted

static void walks_interpreted(enum fake_release release)
{
	struct fake_code *code = hs_fake_code_create(release);
	struct hs_method *method = hs_fake_code_method(code, "run");
	hs_addr first = hs_fake_code_object(code, "app/A"),
		second = hs_fake_code_object(code, "app/B");
	hs_addr low = release == FAKE_8 ? FP - 64 : FP - 72;
	struct hs_cursor cursor = hs_fake_code_cursor(IN_INTERPRETER, SP, FP);

	hs_fake_code_interpreter_frame(code, FP,
	                               &(struct fake_interpreter_frame){
					       .method = method,
					       .bci = 7,
					       .return_pc = FAKE_CALL_STUB_RETURN,
					       .link = ENTRY_FP,
					       .sender_sp = FP + 32,
					       .locals = FP + 24,
					       .monitors = low - 48,
				       });
	hs_fake_u64(code->fake, low - 48 + 8, second); // innermost
	hs_fake_u64(code->fake, low - 32 + 8, 0);      // free
	hs_fake_u64(code->fake, low - 16 + 8, first);
	open_cache(code);
	hs_fake_code_thread(code, 0, 0, 0, 0, 0);
	step(code, &cursor);

	check_frame(code, 0, HS_FRAME_INTERPRETED, "run", 7);
	assert_int_equal(frame_at(code, 0)->sp, SP);
	assert_int_equal(frame_at(code, 0)->found_by, HS_FOUND_JVM);
	assert_int_equal(frame_at(code, 0)->num_locks, 2);
	assert_int_equal(frame_at(code, 0)->locks[0].object, second);
	assert_int_equal(frame_at(code, 0)->locks[0].state, HS_LOCK_LOCKED);
	assert_string_equal(frame_at(code, 0)->locks[0].class_name, "app.B");
	assert_int_equal(frame_at(code, 0)->locks[1].object, first);
	check_registers(&cursor, FAKE_CALL_STUB_RETURN, FP + 16, ENTRY_FP);
	assert_int_equal(cursor.unextended_sp, FP + 32);
	hs_fake_code_destroy(code);
}

static void walks_interpreted_8(void **state)
{
	(void)state;
	walks_interpreted(FAKE_8);
}

static void walks_interpreted_17(void **state)
{
	(void)state;
	walks_interpreted(FAKE_17);
}

static void walks_interpreted_25(void **state)
{
	(void)state;
	walks_interpreted(FAKE_25);
}

static void running_interpreter_has_bcp_in_r13(void **state)
{
	struct fake_code *code = hs_fake_code_create(FAKE_17);
	struct hs_method *method = hs_fake_code_method(code, "run");
	struct hs_cursor cursor = hs_fake_code_cursor(IN_INTERPRETER, SP, FP);

	(void)state;
	hs_fake_code_interpreter_frame(
		code, FP,
		&(struct fake_interpreter_frame){
			.method = method, .bci = 3, .return_pc = FAKE_CALL_STUB_RETURN, .link = 8});
	open_cache(code);
	cursor.is_activation = true;
	hs_regs_set(&cursor.regs, HS_REG_R13, method->code_base + 9);
	step(code, &cursor);
	check_frame(code, 0, HS_FRAME_INTERPRETED, "run", 9);
	assert_true(frame_at(code, 0)->is_activation);
	hs_fake_code_destroy(code);
}

static void method_entry_has_no_frame_yet(void **state)
{
	struct fake_code *code = hs_fake_code_create(FAKE_17);
	struct hs_method *method = hs_fake_code_method(code, "run");
	struct hs_cursor cursor = hs_fake_code_cursor(IN_INTERPRETER, SP, FP);

	(void)state;
	hs_fake_u64(code->fake, SP, IN_INTERPRETER + 0x40); // return address
	open_cache(code);
	cursor.is_activation = true;
	hs_regs_set(&cursor.regs, HS_REG_RBX, method->addr);
	hs_regs_set(&cursor.regs, HS_REG_R13, SP + 24);
	step(code, &cursor);
	check_frame(code, 0, HS_FRAME_INTERPRETED, "run", 0);
	check_registers(&cursor, IN_INTERPRETER + 0x40, SP + 8, FP);
	assert_int_equal(cursor.unextended_sp, SP + 24);
	hs_fake_code_destroy(code);
}

static void bad_method_is_an_error(void **state)
{
	struct fake_code *code = hs_fake_code_create(FAKE_17);
	struct hs_cursor cursor = hs_fake_code_cursor(IN_INTERPRETER, SP, FP);
	struct hs_err *err;

	(void)state;
	open_cache(code);
	err = try_step(code, &cursor);
	assert_non_null(err);
	hs_err_free(err);
	cursor = hs_fake_code_cursor(IN_INTERPRETER, SP, 0);
	err = try_step(code, &cursor);
	assert_true(hs_err_catch(&err, HS_ERR_BAD_DATA));
	assert_int_equal(code->list.frames.len, 0);
	hs_fake_code_destroy(code);
}

// ---- compiled

/** outer, compiled, with one lock in a stack slot at +16 and one in rbp. */
static hs_addr add_compiled(struct fake_code *code, struct hs_method *outer)
{
	// UNSIGNED5: 338 (VMReg 10 = rbp, an oop) is 192 + 18, 2; 130 (stack slot 4, an oop) a
	// byte.
	static const uint8_t scopes[] = {
		0xff,                       // offset 0 means none
		2,                          // monitors, outermost first
		1,    0, 192 + 18, 2, 0,    // BasicLock, location in rbp, not eliminated
		1,    0, 130,      0,       // in the stack at +16
		0,    1, 4,        0, 0, 1, // at 11: outer at bci 3
	};
	const struct hs_method *metadata[] = {outer, NULL};

	return hs_fake_code_nmethod(code, 8, 8, FRAME_WORDS,
	                            &(struct fake_nmethod){
					    .method = outer,
					    .metadata = metadata,
					    .scopes = scopes,
					    .scopes_len = sizeof(scopes),
					    .descs = {{-1, 0, 0}, {CALL_AT, 11, 0}},
					    .deopt_offset = 0x80,
					    .orig_pc_offset = 24,
					    .tier = 4,
        });
}

struct compiled {
	struct fake_code *code;
	hs_addr entry, rbp_object, stack_object;
};

static void setup_compiled(struct compiled *c)
{
	c->code = hs_fake_code_create(FAKE_17);
	c->entry = add_compiled(c->code, hs_fake_code_method(c->code, "outer"));
	c->rbp_object = hs_fake_code_object(c->code, "app/Rbp");
	c->stack_object = hs_fake_code_object(c->code, "app/Stack");
	hs_fake_u64(c->code->fake, SP + 16, c->stack_object);
	hs_fake_u64(c->code->fake, SP + FRAME_BYTES - 16, ENTRY_FP);
	hs_fake_u64(c->code->fake, SP + FRAME_BYTES - 8, FAKE_CALL_STUB_RETURN);
	open_cache(c->code);
	hs_fake_code_thread(c->code, 0, 0, 0, 0, 0);
}

static void check_compiled_locks(struct compiled *c, const struct hs_frame *frame)
{
	assert_int_equal(frame->num_locks, 2);
	assert_int_equal(frame->locks[0].object, c->stack_object);
	assert_string_equal(frame->locks[0].class_name, "app.Stack");
	assert_int_equal(frame->locks[1].object, c->rbp_object);
}

static void walks_compiled(void **state)
{
	struct compiled c;

	(void)state;
	setup_compiled(&c);
	struct hs_cursor cursor = hs_fake_code_cursor(c.entry + CALL_AT, SP, c.rbp_object);
	step(c.code, &cursor);
	check_frame(c.code, 0, HS_FRAME_COMPILED, "outer", 3);
	assert_int_equal(frame_at(c.code, 0)->location->tier, 4);
	check_compiled_locks(&c, frame_at(c.code, 0));
	check_registers(&cursor, FAKE_CALL_STUB_RETURN, SP + FRAME_BYTES, ENTRY_FP);
	hs_fake_code_destroy(c.code);
}

static void unextended_sp_counts(void **state)
{
	struct compiled c;

	(void)state;
	setup_compiled(&c);
	struct hs_cursor cursor = hs_fake_code_cursor(c.entry + CALL_AT, SP - 24, c.rbp_object);
	cursor.unextended_sp = SP;
	step(c.code, &cursor);
	check_compiled_locks(&c, frame_at(c.code, 0));
	assert_int_equal(frame_at(c.code, 0)->sp, SP);
	check_registers(&cursor, FAKE_CALL_STUB_RETURN, SP + FRAME_BYTES, ENTRY_FP);
	assert_int_equal(cursor.unextended_sp, 0);
	hs_fake_code_destroy(c.code);
}

static void deoptimized_frame_has_its_pc_apart(void **state)
{
	struct compiled c;

	(void)state;
	setup_compiled(&c);
	hs_fake_u64(c.code->fake, SP + 24, c.entry + CALL_AT);
	struct hs_cursor cursor = hs_fake_code_cursor(c.entry + 0x80, SP, c.rbp_object);
	step(c.code, &cursor);
	check_frame(c.code, 0, HS_FRAME_COMPILED, "outer", 3);
	check_compiled_locks(&c, frame_at(c.code, 0));
	assert_int_equal(frame_at(c.code, 0)->pc, c.entry + 0x80);
	hs_fake_code_destroy(c.code);
}

static void alignment_for_c_is_undone(void **state)
{
	static const struct hs_location native = {.kind = HS_FRAME_NATIVE};
	struct compiled c;

	(void)state;
	setup_compiled(&c);
	hs_fake_memory(c.code->fake, c.entry + CALL_AT, "\x48\x83\xc4\x08", 4);
	assert_non_null(hs_frame_list_add(&c.code->list, &native, 1, SP - 16, HS_FOUND_CFI));
	struct hs_cursor cursor = hs_fake_code_cursor(c.entry + CALL_AT, SP - 8, c.rbp_object);
	step(c.code, &cursor);
	check_registers(&cursor, FAKE_CALL_STUB_RETURN, SP + FRAME_BYTES, ENTRY_FP);
	hs_fake_code_destroy(c.code);
}

/** An activation at @p offset with @p code there, whose return address is at @p return_at. */
static void check_activation(uint32_t offset, const char *code, size_t len, hs_addr sp,
                             hs_addr return_at, hs_addr fp_at)
{
	struct compiled c;

	setup_compiled(&c);
	hs_fake_fill(c.code->fake, SP, 0, FRAME_BYTES);
	hs_fake_memory(c.code->fake, c.entry + offset - 8, code, len);
	hs_fake_u64(c.code->fake, return_at, FAKE_CALL_STUB_RETURN);
	if (fp_at)
		hs_fake_u64(c.code->fake, fp_at, ENTRY_FP);
	struct hs_cursor cursor =
		hs_fake_code_cursor(c.entry + offset, sp, fp_at ? 0x1234 : ENTRY_FP);
	cursor.is_activation = true;
	step(c.code, &cursor);
	check_registers(&cursor, FAKE_CALL_STUB_RETURN, return_at + 8, ENTRY_FP);
	assert_string_equal(frame_at(c.code, 0)->location->method, "outer");
	assert_int_equal(frame_at(c.code, 0)->num_locks, 0);
	hs_fake_code_destroy(c.code);
}

static void prologues_and_epilogues(void **state)
{
	(void)state;
	// Before anything, after push rbp, after sub rsp without push rbp.
	check_activation(8, "\x90\x90\x90\x90\x90\x90\x90\x90\x55", 9, SP, SP, 0);
	check_activation(9, "\x90\x90\x90\x90\x90\x90\x90\x55\x48\x83\xec\x30", 12, SP, SP + 8, SP);
	check_activation(9, "\x90\x48\x81\xec\x38\x00\x00\x00\x48\x89\x6c", 11, SP,
	                 SP + FRAME_BYTES - 8, 0);
	// The barrier of ZGC and others, before frame_complete.
	check_activation(10, "\x90\x90\x90\x55\x48\x83\xec\x30\x41\x81\x7f\x24", 12, SP,
	                 SP + FRAME_BYTES - 8, SP + FRAME_BYTES - 16);
	// At pop rbp, at the poll behind it, at ret.
	check_activation(0x30, "\x90\x90\x90\x90\x48\x83\xc4\x30\x5d\xc3", 10, SP, SP + 8, SP);
	check_activation(0x30,
	                 "\x90\x90\x90\x48\x83\xc4\x30\x5d"
	                 "\x49\x3b\xa7\x58\x03\x00\x00\x0f\x87\x01\x00\x00\x00\xc3",
	                 22, SP, SP, 0);
	check_activation(0x30, "\x90\x90\x90\x90\x90\x90\x90\x5d\xc3", 9, SP, SP, 0);
}

static void moved_stack_pointer_is_searched(void **state)
{
	struct compiled c;

	(void)state;
	setup_compiled(&c);
	// An intrinsic pushed four words; the caller is found by the call before its return
	// address.
	hs_fake_memory(c.code->fake, FAKE_CALL_STUB_RETURN - 2, "\xff\xd6", 2);
	struct hs_cursor cursor = hs_fake_code_cursor(c.entry + CALL_AT, SP - 32, 0);
	cursor.is_activation = true;
	step(c.code, &cursor);
	check_registers(&cursor, FAKE_CALL_STUB_RETURN, SP + FRAME_BYTES, ENTRY_FP);
	hs_fake_code_destroy(c.code);
}

static void interpreted_caller_is_found_by_search(void **state)
{
	enum {
		CALLER_FP = SP + 0x80
	};
	struct compiled c;

	(void)state;
	setup_compiled(&c);
	hs_fake_fill(c.code->fake, SP - 32, 0, 32 + FRAME_BYTES);
	hs_fake_code_interpreter_frame(c.code, CALLER_FP,
	                               &(struct fake_interpreter_frame){
					       .method = hs_fake_code_method(c.code, "caller"),
					       .bci = 7,
					       .return_pc = FAKE_CALL_STUB_RETURN,
					       .link = ENTRY_FP,
				       });
	hs_fake_u64(c.code->fake, SP + FRAME_BYTES - 16, CALLER_FP);
	hs_fake_u64(c.code->fake, SP + FRAME_BYTES - 8, IN_INTERPRETER);
	struct hs_cursor cursor = hs_fake_code_cursor(c.entry + CALL_AT, SP - 32, 0);
	cursor.is_activation = true;
	step(c.code, &cursor);
	check_registers(&cursor, IN_INTERPRETER, SP + FRAME_BYTES, CALLER_FP);
	hs_fake_code_destroy(c.code);
}

static void static_call_stub_is_no_frame(void **state)
{
	static const uint32_t stub = 0x60;
	struct compiled c;

	(void)state;
	setup_compiled(&c);
	// outer has called, and returns to CALL_AT; the stub behind it goes on to the interpreter.
	hs_fake_memory(c.code->fake, c.entry + CALL_AT - 5, "\xe8\x40\x00\x00\x00", 5);
	hs_fake_memory(c.code->fake, c.entry + stub,
	               "\x48\xbb\x00\x00\x00\x00\x00\x00\x00\x00\xe9\x00\x00\x00\x00", 15);
	for (uint32_t offset = 0; offset <= 10; offset += 10) {
		hs_fake_u64(c.code->fake, SP - 8, c.entry + CALL_AT);
		struct hs_cursor cursor =
			hs_fake_code_cursor(c.entry + stub + offset, SP - 8, c.rbp_object);
		cursor.is_activation = true;
		step(c.code, &cursor);
		check_registers(&cursor, c.entry + CALL_AT, SP, c.rbp_object);
		const struct hs_location *location =
			frame_at(c.code, c.code->list.frames.len - 1)->location;
		assert_int_equal(location->kind, HS_FRAME_STUB);
		assert_string_equal(location->function, "static call stub");
	}
	hs_fake_code_destroy(c.code);
}

static void native_wrapper_is_one_frame(void **state)
{
	struct fake_code *code = hs_fake_code_create(FAKE_25);
	struct hs_method *method = hs_fake_code_method(code, "poll");

	(void)state;
	method->is_native = true;
	hs_addr entry = hs_fake_code_nmethod(code, 8, 8, FRAME_WORDS,
	                                     &(struct fake_nmethod){.method = method});
	hs_fake_u64(code->fake, SP + FRAME_BYTES - 8, FAKE_CALL_STUB_RETURN);
	open_cache(code);
	struct hs_cursor cursor = hs_fake_code_cursor(entry + 0x21, SP, 0);
	step(code, &cursor);
	check_frame(code, 0, HS_FRAME_COMPILED, "poll", -1);
	assert_true(frame_at(code, 0)->location->is_native_method);
	assert_int_equal(cursor.regs.value[HS_REG_SP], SP + FRAME_BYTES);
	hs_fake_code_destroy(code);
}

/** Blocked in its wrapper, which has pushed the arguments before it called for the lock. */
static void native_wrapper_shows_its_lock(void **state)
{
	enum {
		PUSHED = 16
	};
	struct fake_code *code = hs_fake_code_create(FAKE_17);
	struct hs_method *method = hs_fake_code_method(code, "locked");

	(void)state;
	method->is_native = method->is_synchronized = true;
	hs_addr object = hs_fake_code_object(code, "app/Main");
	hs_addr entry = hs_fake_code_nmethod(
		code, 8, 8, FRAME_WORDS,
		&(struct fake_nmethod){.method = method, .receiver_offset = 8, .lock_offset = 24});
	hs_fake_u64(code->fake, SP + 8, object);
	hs_fake_u64(code->fake, SP + FRAME_BYTES - 8, FAKE_CALL_STUB_RETURN);
	hs_fake_code_thread(code, 0, 0, SP, 0, entry + 0x40);
	open_cache(code);
	struct hs_cursor cursor = hs_fake_code_cursor(entry + 0x21, SP - PUSHED, 0);
	step(code, &cursor);
	assert_int_equal(frame_at(code, 0)->num_locks, 1);
	assert_int_equal(frame_at(code, 0)->locks[0].object, object);
	assert_int_equal(frame_at(code, 0)->sp, SP);
	assert_int_equal(cursor.regs.value[HS_REG_PC], FAKE_CALL_STUB_RETURN);
	assert_int_equal(cursor.regs.value[HS_REG_SP], SP + FRAME_BYTES);
	hs_fake_code_destroy(code);
}

// ---- stubs

static void call_stub_restores_what_it_saved(void **state)
{
	static const struct {
		enum hs_reg reg;
		int offset;
	} saved[] = {
		{HS_REG_RBX, -56},
                {HS_REG_R12, -64},
                {HS_REG_R13, -72},
		{HS_REG_R14, -80},
                {HS_REG_R15, -88},
	};
	struct fake_code *code = hs_fake_code_create(FAKE_17);
	struct hs_cursor cursor = hs_fake_code_cursor(FAKE_CALL_STUB_RETURN, SP, ENTRY_FP);

	(void)state;
	hs_fake_u64(code->fake, ENTRY_FP, 0x1111);
	hs_fake_u64(code->fake, ENTRY_FP + 8, FAKE_NATIVE + 4);
	for (size_t i = 0; i < sizeof(saved) / sizeof(*saved); i++)
		hs_fake_u64(code->fake, ENTRY_FP + (uint64_t)(int64_t)saved[i].offset, i + 1);
	open_cache(code);
	cursor.unextended_sp = SP + 8;
	step(code, &cursor);
	assert_string_equal(frame_at(code, 0)->location->function, "call_stub");
	assert_int_equal(frame_at(code, 0)->location->kind, HS_FRAME_STUB);
	check_registers(&cursor, FAKE_NATIVE + 4, ENTRY_FP + 16, 0x1111);
	for (size_t i = 0; i < sizeof(saved) / sizeof(*saved); i++) {
		assert_true(hs_regs_has(&cursor.regs, saved[i].reg));
		assert_int_equal(cursor.regs.value[saved[i].reg], i + 1);
	}
	assert_false(hs_regs_has(&cursor.regs, HS_REG_RAX));
	assert_int_equal(cursor.unextended_sp, 0);
	hs_fake_code_destroy(code);
}

static void stub_with_a_frame(void **state)
{
	struct fake_code *code = hs_fake_code_create(FAKE_17);
	hs_addr entry = hs_fake_code_blob(code, "RuntimeStub - test", 0x20, 4, FRAME_WORDS);

	(void)state;
	hs_fake_u64(code->fake, SP + FRAME_BYTES - 8, IN_INTERPRETER);
	hs_fake_u64(code->fake, SP + FRAME_BYTES - 16, FP);
	open_cache(code);
	struct hs_cursor cursor = hs_fake_code_cursor(entry + 16, SP, 0);
	step(code, &cursor);
	assert_string_equal(frame_at(code, 0)->location->function, "RuntimeStub - test");
	check_registers(&cursor, IN_INTERPRETER, SP + FRAME_BYTES, FP);
	hs_fake_code_destroy(code);
}

static void interrupted_leaf_stub(void **state)
{
	struct compiled c;
	hs_addr stub;
	int32_t rel;

	(void)state;
	c.code = hs_fake_code_create(FAKE_17);
	stub = hs_fake_code_blob(c.code, "StubRoutines (2)", 0x40, 4, 0);
	hs_fake_code_destroy(c.code);
	setup_compiled(&c);
	hs_fake_code_blob(c.code, "StubRoutines (2)", 0x40, 4, 0);
	// outer calls it; it has pushed two words; below its frame lies a stale return address.
	rel = (int32_t)(stub + 8 - (c.entry + CALL_AT));
	hs_fake_u8(c.code->fake, c.entry + CALL_AT - 5, 0xe8);
	hs_fake_u32(c.code->fake, c.entry + CALL_AT - 4, (uint32_t)rel);
	hs_fake_u64(c.code->fake, SP - 24, c.entry + CALL_AT + 1);
	hs_fake_u64(c.code->fake, SP - 8, c.entry + CALL_AT);
	struct hs_cursor cursor = hs_fake_code_cursor(stub + 8, SP - 24, ENTRY_FP);
	cursor.is_activation = true;
	step(c.code, &cursor);
	assert_string_equal(frame_at(c.code, 0)->location->function, "StubRoutines (2)");
	check_registers(&cursor, c.entry + CALL_AT, SP, ENTRY_FP);
	hs_fake_code_destroy(c.code);
}

static void return_barrier_ends_the_walk(void **state)
{
	struct fake_code *code = hs_fake_code_create(FAKE_25);
	hs_addr entry = hs_fake_code_blob(code, "StubRoutines (continuationstubs)", 0x20, 4, 0);
	struct hs_err *err;

	(void)state;
	open_cache(code);
	struct hs_cursor cursor = hs_fake_code_cursor(entry + 16, SP, FP);
	err = try_step(code, &cursor);
	assert_true(hs_err_catch(&err, HS_ERR_UNSUPPORTED)); // no virtual threads known
	assert_int_equal(code->list.frames.len, 0);
	hs_fake_code_destroy(code);
}

static void pc_without_a_blob_is_an_error(void **state)
{
	struct fake_code *code = hs_fake_code_create(FAKE_17);
	struct hs_cursor cursor = hs_fake_code_cursor(FAKE_CODE + 0x7000, SP, FP);
	struct hs_err *err;

	(void)state;
	open_cache(code);
	err = try_step(code, &cursor);
	assert_non_null(err);
	assert_non_null(strstr(hs_err_message(err), "in the code cache belongs to no blob"));
	hs_err_free(err);
	hs_fake_code_destroy(code);
}

// ---- the top frame

static struct hs_cursor enter_top(struct fake_code *code, struct hs_method *method, hs_addr held)
{
	hs_fake_code_interpreter_frame(code, FP,
	                               &(struct fake_interpreter_frame){
					       .method = method,
					       .bci = 1,
					       .return_pc = FAKE_CALL_STUB_RETURN,
					       .link = ENTRY_FP,
					       .locals = FP + 24,
					       .monitors = held ? FP - 88 : 0,
				       });
	hs_fake_u64(code->fake, FP - 80, held);
	return hs_fake_code_cursor(IN_INTERPRETER, SP, FP);
}

static void pending_monitor_is_not_locked_yet(void **state)
{
	struct fake_code *code = hs_fake_code_create(FAKE_17);
	hs_addr object = hs_fake_code_object(code, "app/A");

	(void)state;
	struct hs_cursor cursor = enter_top(code, hs_fake_code_method(code, "run"), object);
	open_cache(code);
	hs_fake_code_thread(code, hs_fake_code_monitor(code, object), 0, 0, 0, 0);
	step(code, &cursor);
	assert_int_equal(frame_at(code, 0)->num_locks, 1);
	assert_int_equal(frame_at(code, 0)->locks[0].state, HS_LOCK_WAITING_TO_LOCK);
	assert_int_not_equal(frame_at(code, 0)->locks[0].resource, HS_NONE);
	// Not so in a frame below: there it is held.
	cursor = hs_fake_code_cursor(IN_INTERPRETER, SP + 8, FP);
	step(code, &cursor);
	assert_int_equal(frame_at(code, 1)->locks[0].state, HS_LOCK_LOCKED);
	hs_fake_code_destroy(code);
}

/** Held, or still waited for? Without its pending monitor that cannot be told. */
static void unknown_pending_monitor_is_no_locked_one(void **state)
{
	struct fake_code *code = hs_fake_code_create(FAKE_17);
	hs_addr object = hs_fake_code_object(code, "app/A");

	(void)state;
	struct hs_cursor cursor = enter_top(code, hs_fake_code_method(code, "run"), object);
	open_cache(code);
	step(code, &cursor); // no JavaThread is known
	assert_int_equal(frame_at(code, 0)->num_locks, 0);
	code->list.frames.len = 0;
	hs_fake_code_thread(code, 0xdead0000, 0, 0, 0, 0); // its monitor cannot be read
	cursor = hs_fake_code_cursor(IN_INTERPRETER, SP, FP);
	step(code, &cursor);
	assert_int_equal(frame_at(code, 0)->num_locks, 0);
	cursor = hs_fake_code_cursor(IN_INTERPRETER, SP + 8, FP); // below the top it is held
	step(code, &cursor);
	assert_int_equal(frame_at(code, 1)->num_locks, 1);
	hs_fake_code_destroy(code);
}

/** 8 to 17: an object that is biased to another thread is not locked by this one, not yet. */
static void biased_to_another_is_not_locked_yet(void **state)
{
	struct fake_code *code = hs_fake_code_create(FAKE_17);
	hs_addr object = hs_fake_code_object(code, "app/A");
	const struct hs_jthread *self;

	(void)state;
	struct hs_cursor cursor = enter_top(code, hs_fake_code_method(code, "run"), object);
	open_cache(code);
	code->jvm->layout.fields[HS_F_klass_prototype_header].present = true;
	hs_fake_code_thread(code, 0, 0, 0, 0, 0);
	self = hs_jthread_by_index(code->jvm, 0);
	hs_fake_u64(code->fake, object, self->addr | 5);
	step(code, &cursor);
	assert_int_equal(frame_at(code, 0)->locks[0].state, HS_LOCK_LOCKED);

	struct hs_jthread other = *self;
	other.addr = 0x7f0000000400;
	assert_true(hs_map64_put(&code->jvm->jthread_by_addr, other.addr, &other));
	hs_fake_u64(code->fake, object, other.addr | 5);
	code->list.frames.len = 0;
	cursor = hs_fake_code_cursor(IN_INTERPRETER, SP, FP);
	step(code, &cursor);
	assert_int_equal(frame_at(code, 0)->locks[0].state, HS_LOCK_WAITING_TO_LOCK);
	hs_fake_code_destroy(code);
}

static void object_wait_names_its_receiver(void **state)
{
	struct fake_code *code = hs_fake_code_create(FAKE_17);
	hs_addr object = hs_fake_code_object(code, "app/A");
	struct hs_method *method = hs_fake_code_method(code, "wait0");
	struct hs_klass *holder = (struct hs_klass *)method->holder;

	(void)state;
	holder->name = "java/lang/Object";
	method->is_native = true;
	struct hs_cursor cursor = enter_top(code, method, 0);
	hs_fake_u64(code->fake, FP + 24, object); // local 0
	open_cache(code);
	hs_fake_code_thread(code, 0, hs_fake_code_monitor(code, object), 0, 0, 0);
	step(code, &cursor);
	assert_int_equal(frame_at(code, 0)->location->bci, -1);
	assert_int_equal(frame_at(code, 0)->num_locks, 1);
	assert_int_equal(frame_at(code, 0)->locks[0].state, HS_LOCK_WAITING_ON);
	assert_int_equal(frame_at(code, 0)->locks[0].object, object);
	hs_fake_code_destroy(code);
}

static void resumes_at_the_anchor(void **state)
{
	struct fake_code *code = hs_fake_code_create(FAKE_17);
	struct hs_cursor cursor = hs_fake_code_cursor(FAKE_NATIVE, SP - 0x100, 1);
	const struct hs_stepper *stepper = &code->jvm->stepper;

	(void)state;
	open_cache(code);
	assert_false(stepper->resume(stepper->self, &cursor));
	hs_fake_u64(code->fake, SP - 8, IN_INTERPRETER); // pc 0: on the stack
	hs_fake_code_thread(code, 0, 0, SP, FP, 0);
	cursor.is_activation = true;
	hs_regs_set(&cursor.regs, HS_REG_R12, 5);
	assert_false(stepper->resume(stepper->self, &cursor)); // zeros: missing from the core
	hs_fake_u64(code->fake, FP + 8, IN_INTERPRETER);
	assert_true(stepper->resume(stepper->self, &cursor));
	check_registers(&cursor, IN_INTERPRETER, SP, FP);
	assert_false(hs_regs_has(&cursor.regs, HS_REG_R12));
	hs_fake_code_destroy(code);
}

// ---- locals

static void store_frames(struct fake_code *code)
{
	struct hs_thread *thread = &code->snapshot->threads.items[0];

	thread->frames = code->list.frames.items;
	thread->num_frames = (uint32_t)code->list.frames.len;
}

static void finds_locals_of_interpreted_frames(void **state)
{
	struct fake_code *code = hs_fake_code_create(FAKE_25);
	hs_addr object = hs_fake_code_object(code, "app/A"), found = 0;
	struct hs_cursor cursor = enter_top(code, hs_fake_code_method(code, "run"), 0);
	struct hs_err *err;

	(void)state;
	hs_fake_u64(code->fake, FP + 24 - 8, object); // local 1
	open_cache(code);
	hs_fake_code_thread(code, 0, 0, 0, 0, 0);
	step(code, &cursor);
	store_frames(code);
	err = hs_java_frame_local_oop(code->jvm, 0, 0, 1, &found);
	assert_null(err);
	assert_int_equal(found, object);
	err = hs_java_frame_local_oop(code->jvm, 0, 0, 0, &found);
	assert_true(hs_err_catch(&err, HS_ERR_ABSENT));
	err = hs_java_frame_local_oop(code->jvm, 0, 1, 0, &found);
	assert_true(hs_err_catch(&err, HS_ERR_ABSENT));
	hs_fake_code_destroy(code);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(walks_interpreted_8),
		cmocka_unit_test(walks_interpreted_17),
		cmocka_unit_test(walks_interpreted_25),
		cmocka_unit_test(running_interpreter_has_bcp_in_r13),
		cmocka_unit_test(method_entry_has_no_frame_yet),
		cmocka_unit_test(bad_method_is_an_error),
		cmocka_unit_test(walks_compiled),
		cmocka_unit_test(unextended_sp_counts),
		cmocka_unit_test(deoptimized_frame_has_its_pc_apart),
		cmocka_unit_test(alignment_for_c_is_undone),
		cmocka_unit_test(prologues_and_epilogues),
		cmocka_unit_test(moved_stack_pointer_is_searched),
		cmocka_unit_test(interpreted_caller_is_found_by_search),
		cmocka_unit_test(static_call_stub_is_no_frame),
		cmocka_unit_test(native_wrapper_is_one_frame),
		cmocka_unit_test(call_stub_restores_what_it_saved),
		cmocka_unit_test(stub_with_a_frame),
		cmocka_unit_test(interrupted_leaf_stub),
		cmocka_unit_test(return_barrier_ends_the_walk),
		cmocka_unit_test(native_wrapper_shows_its_lock),
		cmocka_unit_test(pc_without_a_blob_is_an_error),
		cmocka_unit_test(pending_monitor_is_not_locked_yet),
		cmocka_unit_test(unknown_pending_monitor_is_no_locked_one),
		cmocka_unit_test(biased_to_another_is_not_locked_yet),
		cmocka_unit_test(object_wait_names_its_receiver),
		cmocka_unit_test(resumes_at_the_anchor),
		cmocka_unit_test(finds_locals_of_interpreted_frames),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
