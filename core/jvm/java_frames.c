// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Java frames: the stepper for pcs in HotSpot's code cache. Interpreter frames are chained by rbp,
 * compiled ones by the frame size of their blob; the call stub leads back to native code.
 */

#include "core/jvm/java_frames.h"

#include <inttypes.h>
#include <string.h>

#include "core/jvm/frame_code.h"
#include "core/jvm/virtual_threads.h"

enum {
	WORD = 8,
	MAX_PUSHED_WORDS = 64, /**< what an intrinsic may push within compiled code */
	MAX_STUB_WORDS = 512,  /**< frame of a stub: SHA-512 has more than 1 KiB */
};

/** Where an activation keeps what it returns to. */
struct sender_slots {
	hs_addr return_pc; /**< address of the return address */
	hs_addr saved_fp;  /**< address of the caller's rbp; 0: it is in the register */
};

void hs_cursor_set(struct hs_cursor *cursor, hs_addr pc, hs_addr sp, hs_addr fp)
{
	cursor->regs.valid = 0;
	hs_regs_set(&cursor->regs, HS_REG_PC, pc);
	hs_regs_set(&cursor->regs, HS_REG_SP, sp);
	if (fp)
		hs_regs_set(&cursor->regs, HS_REG_FP, fp);
	cursor->is_activation = false;
	cursor->unextended_sp = 0;
}

struct hs_err *hs_java_frame_add(struct hs_frame_list *list, const struct hs_cursor *cursor,
                                 const struct hs_location *location, hs_addr sp,
                                 struct hs_frame **ret)
{
	struct hs_frame *frame =
		hs_frame_list_add(list, location, cursor->regs.value[HS_REG_PC], sp, HS_FOUND_JVM);

	if (!frame)
		return hs_arena_failed(list->arena)
		               ? hs_err_oom()
		               : hs_err_new(HS_ERR_BAD_DATA, "more than %d frames", HS_MAX_FRAMES);
	frame->is_activation = cursor->is_activation;
	*ret = frame;
	return NULL;
}

static bool is_executable(struct hs_jvm *jvm, hs_addr pc)
{
	const struct hs_mapping *mapping = hs_module_map_find(hs_target_modules(jvm->target), pc);

	return mapping && mapping->prot & HS_PROT_EXEC;
}

/** Move to the caller if @p slots hold one; without it the cursor is unchanged. */
static struct hs_err *move_to_sender(struct hs_jvm *jvm, struct hs_cursor *cursor,
                                     const struct sender_slots *slots, bool may_be_native)
{
	struct hs_err *err;
	hs_addr pc, fp = hs_regs_has(&cursor->regs, HS_REG_FP) ? cursor->regs.value[HS_REG_FP] : 0;

	err = hs_target_read_u64(jvm->target, slots->return_pc, &pc);
	if (err)
		return err;
	if (slots->saved_fp) {
		err = hs_target_read_u64(jvm->target, slots->saved_fp, &fp);
		if (err)
			return err;
	}
	err = pc ? NULL : hs_target_check_stack(jvm->target, slots->return_pc);
	if (err)
		return err;
	// Java code is called by Java code, the interpreter and the call stub alone.
	if (!hs_java_is_return_pc(jvm, pc) && !(may_be_native && is_executable(jvm, pc)))
		return hs_err_new(HS_ERR_BAD_DATA,
		                  "what should be the return address of the code at 0x%" PRIx64
		                  " is 0x%" PRIx64,
		                  cursor->regs.value[HS_REG_PC], pc);
	hs_cursor_set(cursor, pc, slots->return_pc + WORD, fp);
	return NULL;
}

struct hs_err *hs_java_frameless_sender(struct hs_jvm *jvm, struct hs_cursor *cursor)
{
	struct hs_err *err;
	hs_addr sp = cursor->regs.value[HS_REG_SP];

	err = move_to_sender(jvm, cursor, &(struct sender_slots){sp, 0}, false);
	if (!err || hs_err_code(err) == HS_ERR_OOM)
		return err;
	hs_err_free(err); // after push rbp, then
	return move_to_sender(jvm, cursor, &(struct sender_slots){sp + WORD, sp}, false);
}

/**
 * Look upwards from @p from for the return address of an activation whose frame has another shape
 * than it should: intrinsics move the stack pointer within compiled code, and stubs push what they
 * like. @p callee as in hs_java_follows_call().
 */
static struct hs_err *scan_for_sender(struct hs_jvm *jvm, struct hs_cursor *cursor, hs_addr from,
                                      size_t max_words, const struct hs_blob *callee)
{
	struct hs_err *err;
	hs_addr pc, fp = 0, fp_at;

	if (hs_regs_has(&cursor->regs, HS_REG_FP))
		fp = cursor->regs.value[HS_REG_FP];
	for (size_t i = 0; i < max_words; i++) {
		hs_addr at = from + i * WORD;

		err = hs_target_read_u64(jvm->target, at, &pc);
		if (err)
			return err;
		if (!callee && hs_java_is_interpreter_return(jvm, at, pc, fp, &fp_at)) {
			return move_to_sender(jvm, cursor, &(struct sender_slots){at, fp_at},
			                      false);
		}
		if (!hs_java_is_return_pc(jvm, pc) || !hs_java_follows_call(jvm, pc, callee) ||
		    !hs_java_is_return_slot(jvm, at, pc))
			continue;
		// Compiled frames keep the caller's rbp below it, stubs with a frame pointer too.
		// Others may have it anywhere: what is in the register is the caller's if it lies
		// above.
		if (!callee || fp == at - WORD)
			return move_to_sender(jvm, cursor, &(struct sender_slots){at, at - WORD},
			                      false);
		hs_cursor_set(cursor, pc, at + WORD, fp > at ? fp : 0);
		return NULL;
	}
	return hs_err_new(HS_ERR_BAD_DATA, "no return address found for the code at 0x%" PRIx64,
	                  cursor->regs.value[HS_REG_PC]);
}

// ---- compiled code

/** Copy the code of @p blob around @p pc to @p buf. Nothing of it, when it cannot be read. */
static struct hs_code_window read_code(struct hs_jvm *jvm, const struct hs_blob *blob, hs_addr pc,
                                       uint8_t buf[static HS_CODE_BEFORE + HS_CODE_AFTER])
{
	struct hs_err *err;
	size_t before = HS_CODE_BEFORE, after = HS_CODE_AFTER;

	if (pc - blob->code_begin < before)
		before = pc > blob->code_begin ? (size_t)(pc - blob->code_begin) : 0;
	if (blob->end - pc < after)
		after = (size_t)(blob->end - pc);
	err = hs_target_read(jvm->target, pc - before, buf, before + after);
	if (err) {
		hs_err_free(err); // code that cannot be seen: most of it has its frame
		before = after = 0;
	}
	return (struct hs_code_window){buf + before, before, after};
}

static struct sender_slots slots_of(enum hs_frame_shape shape, hs_addr sp, uint64_t frame_size)
{
	switch (shape) {
	case HS_SHAPE_FP_LIVE:
		return (struct sender_slots){sp + frame_size - WORD, 0};
	case HS_SHAPE_FP_ON_TOP:
		return (struct sender_slots){sp + WORD, sp};
	case HS_SHAPE_NONE:
		return (struct sender_slots){sp, 0};
	case HS_SHAPE_WHOLE:
		break;
	}
	return (struct sender_slots){sp + frame_size - WORD, sp + frame_size - 2 * WORD};
}

/**
 * Slots of an activation in a blob with a frame.
 * @return True when the frame stands; false in its prologue or epilogue.
 */
static bool find_slots(struct hs_jvm *jvm, const struct hs_cursor *cursor,
                       const struct hs_blob *blob, hs_addr sp, struct sender_slots *ret)
{
	uint8_t buf[HS_CODE_BEFORE + HS_CODE_AFTER];
	hs_addr pc = cursor->regs.value[HS_REG_PC];
	enum hs_frame_shape shape = HS_SHAPE_WHOLE;
	bool in_prologue = cursor->is_activation && pc < blob->frame_complete;

	if (cursor->is_activation) {
		struct hs_code_window code = read_code(jvm, blob, pc, buf);

		shape = in_prologue ? hs_prologue_shape(code, blob->frame_size)
		                    : hs_body_shape(code);
	}
	*ret = slots_of(shape, sp, blob->frame_size);
	return shape == HS_SHAPE_WHOLE && !in_prologue;
}

/** The caller of a blob with a frame; of an activation also if it is not where it should be. */
static struct hs_err *leave_frame(struct hs_jvm *jvm, struct hs_cursor *cursor, hs_addr frame_end,
                                  const struct sender_slots *slots, bool may_be_native)
{
	struct hs_err *err;
	bool was_activation = cursor->is_activation;

	err = move_to_sender(jvm, cursor, slots, may_be_native);
	if (!err || !was_activation || hs_err_code(err) == HS_ERR_OOM)
		return err;
	hs_err_free(err); // a prologue or epilogue of another shape
	err = hs_java_frameless_sender(jvm, cursor);
	if (!err || hs_err_code(err) == HS_ERR_OOM)
		return err;
	hs_err_free(err); // code that moved the stack pointer
	return scan_for_sender(jvm, cursor, frame_end - WORD, MAX_PUSHED_WORDS, NULL);
}

/** Stack pointer of the anchor, if the thread has set it in the frame of @p blob that is at @p sp
 * or a little above; or 0. A native wrapper pushes its arguments before it calls for its lock. */
static hs_addr anchored_sp(const struct hs_jvm *jvm, const struct hs_cursor *cursor,
                           const struct hs_blob *blob, hs_addr sp)
{
	const struct hs_jthread *jthread = hs_jthread_by_index(jvm, cursor->thread);

	if (!jthread || !hs_addr_in(jthread->last_java_pc, blob->code_begin, blob->end))
		return 0;
	hs_addr anchor = jthread->last_java_sp;
	return anchor >= sp && anchor - sp <= (uint64_t)MAX_PUSHED_WORDS * WORD ? anchor : 0;
}

/**
 * Stack pointer that the frame was set up with. MacroAssembler::call_VM_leaf_base aligns the stack
 * by a word around a call to C when it must: the return address is an "add rsp, 8" then, which
 * neither compiler writes after a call for another reason.
 */
static hs_addr frame_sp(struct hs_jvm *jvm, const struct hs_cursor *cursor,
                        const struct hs_blob *blob, const struct hs_frame_list *list)
{
	static const uint8_t add_rsp_8[] = {0x48, 0x83, 0xc4, 0x08};
	struct hs_err *err;
	uint8_t code[sizeof(add_rsp_8)];
	hs_addr sp = cursor->regs.value[HS_REG_SP];

	if (cursor->unextended_sp)
		return cursor->unextended_sp;
	hs_addr anchor = anchored_sp(jvm, cursor, blob, sp);
	if (anchor)
		return anchor;
	if (cursor->is_activation || !list->frames.len ||
	    list->frames.items[list->frames.len - 1].location->kind != HS_FRAME_NATIVE)
		return sp;
	err = hs_target_read(jvm->target, cursor->regs.value[HS_REG_PC], code, sizeof(code));
	bool is_aligned = !err && !memcmp(code, add_rsp_8, sizeof(code));
	hs_err_free(err); // no code: no alignment to be seen
	return is_aligned ? sp + WORD : sp;
}

static struct hs_err *add_monitors(struct hs_jvm *jvm, const struct hs_scope *scope,
                                   const struct hs_regs *regs, bool is_activation,
                                   struct hs_frame_locks *locks)
{
	struct hs_err *err;

	for (size_t i = 0; i < scope->num_monitors; i++) {
		const struct hs_scope_monitor *monitor = &scope->monitors[i];
		hs_addr object = 0;

		if (monitor->owner.kind == HS_SCOPE_SCALAR) {
			err = hs_frame_locks_add_scalar(locks, monitor->owner.oop);
			if (err)
				return err;
			continue;
		}
		err = hs_scope_value_oop(jvm, &monitor->owner, regs, is_activation, &object);
		if (err && hs_err_code(err) == HS_ERR_OOM)
			return err;
		hs_err_free(err); // in a register that nobody saved: not shown
		err = hs_frame_locks_add(locks, object, monitor->is_eliminated);
		if (err)
			return err;
	}
	return NULL;
}

/** The lock of a synchronized native method, of which there is no debug information: the wrapper
 * takes it before the call and gives it back after (generate_native_wrapper). */
static struct hs_err *add_wrapper_monitor(struct hs_jvm *jvm, const struct hs_blob *blob,
                                          const struct hs_method *method, hs_addr sp,
                                          struct hs_frame_locks *locks)
{
	struct hs_err *err;
	hs_addr object = 0;

	if (!method->is_native || !method->is_synchronized)
		return NULL;
	err = hs_wrapper_monitor(jvm, blob->nmethod, method, sp, &object);
	if (err && hs_err_code(err) == HS_ERR_OOM)
		return err;
	hs_err_free(err); // not shown, then
	return hs_frame_locks_add(locks, object, false);
}

/** Append the frames of all scopes. @p regs: sp is the unextended one; NULL: no slot is valid. */
static struct hs_err *add_scopes(struct hs_jvm *jvm, const struct hs_cursor *cursor,
                                 const struct hs_code_site *site, const struct hs_regs *regs,
                                 hs_addr sp, struct hs_frame_list *list)
{
	struct hs_err *err;

	for (size_t i = 0; i < site->num_scopes; i++) {
		const struct hs_scope *scope = &site->scopes[i];
		struct hs_frame_locks locks;
		struct hs_frame *frame = NULL;

		hs_frame_locks_init(&locks, jvm, cursor->thread, list);
		err = hs_java_frame_add(list, cursor, scope->location, sp, &frame);
		if (err || !frame)
			return err;
		if (site->is_near)
			frame->found_by = HS_FOUND_NEAR;
		err = hs_frame_locks_add_wait(&locks, scope->method, 0);
		if (!err && regs)
			err = add_monitors(jvm, scope, regs, cursor->is_activation, &locks);
		if (!err && regs && !cursor->is_activation)
			err = add_wrapper_monitor(jvm, site->blob, scope->method, sp, &locks);
		if (err)
			return err;
		hs_frame_locks_store(&locks, frame);
	}
	return NULL;
}

static struct hs_err *add_compiled(struct hs_jvm *jvm, const struct hs_cursor *cursor,
                                   const struct hs_code_site *site, hs_addr sp, bool has_frame,
                                   struct hs_frame_list *list)
{
	struct hs_err *err;
	struct hs_regs regs = cursor->regs;
	hs_addr pc;

	hs_regs_set(&regs, HS_REG_SP, sp);
	if (has_frame) {
		err = hs_compiled_pc(jvm, site->blob->nmethod, regs.value[HS_REG_PC], sp, &pc);
		if (err)
			return err;
		if (pc != regs.value[HS_REG_PC]) {
			const struct hs_blob *blob = site->blob;

			err = hs_code_site_get(jvm, pc, true, &site);
			if (err)
				return hs_err_wrap(err, "original pc of a deoptimized frame");
			if (site->blob != blob)
				return hs_err_new(HS_ERR_BAD_DATA,
				                  "original pc 0x%" PRIx64
				                  " of a deoptimized frame is elsewhere",
				                  pc);
		}
		err = hs_frame_fp_put(jvm, sp, &regs);
		if (err)
			return err;
	}
	if (!site->num_scopes) { // a gap says why
		struct hs_frame *frame;

		return hs_java_frame_add(list, cursor, site->blob->location, sp, &frame);
	}
	return add_scopes(jvm, cursor, site, has_frame ? &regs : NULL, sp, list);
}

struct hs_err *hs_compiled_describe(struct hs_jvm *jvm, const struct hs_cursor *cursor,
                                    const struct hs_code_site *site, hs_addr sp,
                                    struct hs_frame_list *list)
{
	return add_compiled(jvm, cursor, site, sp, true, list);
}

/**
 * In a static call stub, on the way from a compiled call to an interpreted method? It lies behind
 * the caller's code, and has no frame.
 */
static bool is_in_static_call_stub(struct hs_jvm *jvm, const struct hs_cursor *cursor,
                                   const struct hs_blob *blob)
{
	uint8_t buf[HS_CODE_BEFORE + HS_CODE_AFTER];
	hs_addr pc = cursor->regs.value[HS_REG_PC];

	if (!cursor->is_activation)
		return false;
	int offset = hs_static_call_stub_offset(read_code(jvm, blob, pc, buf));
	return offset >= 0 && hs_java_was_called_at(jvm, blob, cursor->regs.value[HS_REG_SP],
	                                            pc - (hs_addr)offset);
}

static struct hs_err *step_compiled(struct hs_jvm *jvm, struct hs_cursor *cursor,
                                    const struct hs_code_site *site, struct hs_frame_list *list)
{
	struct hs_err *err;
	struct sender_slots slots;
	hs_addr sp = frame_sp(jvm, cursor, site->blob, list);

	if (is_in_static_call_stub(jvm, cursor, site->blob)) {
		struct hs_frame *frame;

		err = hs_java_frame_add(list, cursor, jvm->code_cache->static_call_stub_location,
		                        sp, &frame);
		return err ? err
		           : move_to_sender(jvm, cursor, &(struct sender_slots){sp, 0}, false);
	}
	uint64_t frame_size = site->blob->frame_size;
	if (frame_size < 2 * WORD) { // intrinsics of method handles jump on without a frame
		err = add_compiled(jvm, cursor, site, sp, false, list);
		return err ? err : hs_java_frameless_sender(jvm, cursor);
	}
	bool has_frame = find_slots(jvm, cursor, site->blob, sp, &slots);
	err = add_compiled(jvm, cursor, site, sp, has_frame, list);
	return err ? err : leave_frame(jvm, cursor, sp + frame_size, &slots, false);
}

// ---- stubs

static bool is_return_barrier(const struct hs_code_cache *cache, const struct hs_cursor *cursor,
                              const struct hs_blob *blob)
{
	if (cursor->is_activation)
		return false;
	if (cache->return_barrier)
		return cursor->regs.value[HS_REG_PC] == cache->return_barrier;
	// 21..26: "StubRoutines (continuation stubs)", "StubRoutines (continuationstubs)"
	return strstr(blob->name, "continuation") != NULL;
}

/**
 * Adapters between interpreted and compiled code keep the return address in rax while they move the
 * arguments, and the caller's sp in r13; rbx is the Method (gen_i2c_adapter, gen_c2i_adapter).
 */
static bool leave_adapter(struct hs_jvm *jvm, struct hs_cursor *cursor)
{
	const struct hs_regs regs = cursor->regs;
	hs_addr pc = regs.value[HS_REG_RAX], sp = regs.value[HS_REG_SP];
	hs_addr fp = hs_regs_has(&regs, HS_REG_FP) ? regs.value[HS_REG_FP] : 0;
	hs_addr sender_sp = regs.value[HS_REG_R13];

	if (!hs_regs_has(&regs, HS_REG_RAX) || !hs_regs_has(&regs, HS_REG_R13))
		return false;
	if (hs_code_cache_is_interpreter(jvm->code_cache, pc)) {
		if (!hs_interpreter_has_frame(jvm, fp))
			return false;
	} else if (!hs_java_is_compiled_return(jvm, pc) || sender_sp < sp || sender_sp % WORD ||
	           sender_sp - sp > (uint64_t)MAX_STUB_WORDS * WORD) {
		return false;
	}
	hs_cursor_set(cursor, pc, sender_sp > sp ? sender_sp : sp, fp);
	return true;
}

/** Is the word on top of the stack the return address of the Java code that runs, its own frame
 * gone? So it is where an exception is passed on to the caller (generate_forward_exception,
 * Runtime1::generate_unwind_exception). */
static bool is_return_on_top(struct hs_jvm *jvm, hs_addr sp, hs_addr fp)
{
	struct hs_err *err;
	hs_addr pc;

	err = hs_target_read_u64(jvm->target, sp, &pc);
	if (err) {
		hs_err_free(err); // then not
		return false;
	}
	if (hs_code_cache_is_interpreter(jvm->code_cache, pc))
		return hs_interpreter_has_frame(jvm, fp);
	return hs_java_is_compiled_return(jvm, pc) && hs_java_is_return_slot(jvm, sp, pc);
}

/** Slots of a stub that keeps rbp as its frame pointer. The barrier at the entry of methods has
 * pushed a cookie of -1 before (generate_method_entry_barrier). */
static struct hs_err *leave_by_fp(struct hs_jvm *jvm, struct hs_cursor *cursor, hs_addr fp)
{
	struct hs_err *err;
	struct sender_slots slots = {fp + WORD, fp};
	uint64_t word;

	err = hs_target_read_u64(jvm->target, slots.return_pc, &word);
	if (err)
		return err;
	if (word == UINT64_MAX)
		slots.return_pc += WORD;
	return move_to_sender(jvm, cursor, &slots, true);
}

/** A stub without a frame of known size: most keep rbp as their frame pointer, or push nothing. */
static struct hs_err *leave_frameless(struct hs_jvm *jvm, struct hs_cursor *cursor,
                                      const struct hs_blob *blob, hs_addr sp)
{
	struct hs_err *err;
	hs_addr fp = hs_regs_has(&cursor->regs, HS_REG_FP) ? cursor->regs.value[HS_REG_FP] : 0;

	if (cursor->is_activation) {
		uint8_t buf[HS_CODE_BEFORE + HS_CODE_AFTER];

		if (leave_adapter(jvm, cursor))
			return NULL;
		err = scan_for_sender(jvm, cursor, sp, MAX_STUB_WORDS, blob);
		if (!err || hs_err_code(err) == HS_ERR_OOM)
			return err;
		hs_err_free(err); // called through a pointer, or jumped to
		struct hs_code_window code =
			read_code(jvm, blob, cursor->regs.value[HS_REG_PC], buf);
		struct sender_slots slots = slots_of(hs_prologue_shape(code, 0), sp, 0);
		err = move_to_sender(jvm, cursor, &slots, false);
		if (!err || hs_err_code(err) == HS_ERR_OOM)
			return err;
		hs_err_free(err); // it has pushed something
	} else if (fp != sp && is_return_on_top(jvm, sp, fp)) {
		return move_to_sender(jvm, cursor, &(struct sender_slots){sp, 0}, false);
	}
	if (fp < sp || fp - sp > HS_MAX_STACK_COPY)
		return hs_err_new(HS_ERR_BAD_DATA,
		                  "the stub at 0x%" PRIx64 " has no frame pointer to follow",
		                  cursor->regs.value[HS_REG_PC]);
	return leave_by_fp(jvm, cursor, fp);
}

/** A stub with a frame, while its frame is built or taken down: most have set rbp before
 * (StubFrame of C1), which then leads to a call of the stub. */
static struct hs_err *leave_half_built(struct hs_jvm *jvm, struct hs_cursor *cursor,
                                       const struct hs_blob *blob, hs_addr frame_end,
                                       const struct sender_slots *slots)
{
	struct hs_err *err, *by_fp;
	hs_addr sp = cursor->regs.value[HS_REG_SP], pc;
	hs_addr fp = hs_regs_has(&cursor->regs, HS_REG_FP) ? cursor->regs.value[HS_REG_FP] : 0;
	bool was_activation = cursor->is_activation;

	err = leave_frame(jvm, cursor, frame_end, slots, true);
	if (!err || !was_activation || hs_err_code(err) == HS_ERR_OOM || fp < sp ||
	    fp - sp > (uint64_t)MAX_STUB_WORDS * WORD)
		return err;
	by_fp = hs_target_read_u64(jvm->target, fp + WORD, &pc);
	if (by_fp || !hs_java_is_compiled_return(jvm, pc) || !hs_java_follows_call(jvm, pc, blob)) {
		hs_err_free(by_fp); // the first reason is the better one
		return err;
	}
	hs_err_free(err); // found after all
	return move_to_sender(jvm, cursor, &(struct sender_slots){fp + WORD, fp}, false);
}

static struct hs_err *step_stub(struct hs_jvm *jvm, struct hs_cursor *cursor,
                                const struct hs_blob *blob, struct hs_frame_list *list)
{
	struct hs_err *err;
	struct hs_frame *frame;
	struct sender_slots slots;
	hs_addr sp = frame_sp(jvm, cursor, blob, list);

	// No activation: it stands in the place of a return address.
	if (is_return_barrier(jvm->code_cache, cursor, blob))
		return hs_return_barrier_step(jvm, cursor, list);
	err = hs_java_frame_add(list, cursor, blob->location, sp, &frame);
	if (err)
		return err;
	if (blob->frame_size < 2 * WORD) {
		frame->found_by = HS_FOUND_RBP;
		return leave_frameless(jvm, cursor, blob, sp);
	}
	find_slots(jvm, cursor, blob, sp, &slots);
	return leave_half_built(jvm, cursor, blob, sp + blob->frame_size, &slots);
}

/**
 * The call stub: a C caller entered Java. It saves what C expects to find again (stubGenerator for
 * Linux, 8 to 28), so that CFI goes on below it.
 */
static struct hs_err *step_call_stub(struct hs_jvm *jvm, struct hs_cursor *cursor,
                                     struct hs_frame_list *list)
{
	enum {
		LOWEST = -11,
		NUM_WORDS = 13, // words -11..1 from rbp
	};
	static const struct {
		enum hs_reg reg;
		int word;
	} saved[] = {
		{HS_REG_RBX, -7 },
                {HS_REG_R12, -8 },
                {HS_REG_R13, -9 },
		{HS_REG_R14, -10},
                {HS_REG_R15, -11},
	};
	struct hs_err *err;
	uint64_t words[NUM_WORDS];
	struct hs_frame *frame;
	hs_addr fp = cursor->regs.value[HS_REG_FP];

	err = hs_java_frame_add(list, cursor, jvm->code_cache->call_stub_location,
	                        cursor->regs.value[HS_REG_SP], &frame);
	if (err)
		return err;
	if (!hs_regs_has(&cursor->regs, HS_REG_FP) || fp % WORD || fp < NUM_WORDS * WORD)
		return hs_err_new(HS_ERR_BAD_DATA, "a call stub whose frame pointer is not known");
	err = hs_target_read(jvm->target, fp - (uint64_t)-LOWEST * WORD, words, sizeof(words));
	if (!err && !words[1 - LOWEST])
		err = hs_target_check_stack(jvm->target, fp + WORD);
	if (err)
		return hs_err_wrap(err, "call stub frame at 0x%" PRIx64, fp);
	hs_cursor_set(cursor, words[1 - LOWEST], fp + 2 * WORD, 0);
	hs_regs_set(&cursor->regs, HS_REG_FP, words[0 - LOWEST]);
	for (size_t i = 0; i < sizeof(saved) / sizeof(*saved); i++)
		hs_regs_set(&cursor->regs, saved[i].reg, words[saved[i].word - LOWEST]);
	return NULL;
}

// ---- the stepper

static bool stepper_owns(void *self, hs_addr pc)
{
	const struct hs_jvm *jvm = self;

	return hs_code_cache_owns(jvm->code_cache, pc);
}

static struct hs_err *stepper_step(void *self, struct hs_cursor *cursor, struct hs_frame_list *list)
{
	struct hs_err *err;
	struct hs_jvm *jvm = self;
	const struct hs_code_site *site;
	hs_addr pc = cursor->regs.value[HS_REG_PC];

	if (!hs_regs_has(&cursor->regs, HS_REG_SP))
		return hs_err_new(HS_ERR_BAD_DATA, "a Java frame whose stack pointer is not known");
	if (hs_code_cache_is_interpreter(jvm->code_cache, pc))
		return hs_interpreter_step(jvm, cursor, list);
	if (pc == jvm->code_cache->call_stub_return && !cursor->is_activation)
		return step_call_stub(jvm, cursor, list);
	err = hs_code_site_get(jvm, pc, !cursor->is_activation, &site);
	if (hs_err_catch(&err, HS_ERR_ABSENT))
		return hs_err_new(HS_ERR_BAD_DATA,
		                  "pc 0x%" PRIx64 " in the code cache belongs to no blob", pc);
	if (err)
		return err;
	return site->blob->nmethod ? step_compiled(jvm, cursor, site, list)
	                           : step_stub(jvm, cursor, site->blob, list);
}

/** JavaFrameAnchor: where the thread left Java (javaFrameAnchor_x86.hpp). */
static bool stepper_resume(void *self, struct hs_cursor *cursor)
{
	struct hs_err *err;
	struct hs_jvm *jvm = self;
	const struct hs_jthread *jthread = hs_jthread_by_index(jvm, cursor->thread);

	if (!jthread || !jthread->last_java_sp)
		return false;
	hs_addr pc = jthread->last_java_pc;
	if (!pc) { // native wrappers leave it to the stack
		err = hs_target_read_u64(jvm->target, jthread->last_java_sp - WORD, &pc);
		if (err) {
			hs_err_free(err); // then there is no place to go on from
			return false;
		}
	}
	if (!hs_code_cache_owns(jvm->code_cache, pc))
		return false;
	err = hs_target_check_stack(jvm->target, jthread->last_java_sp);
	if (err) {
		hs_err_free(err); // what ended the walk is said already
		return false;
	}
	hs_cursor_set(cursor, pc, jthread->last_java_sp, jthread->last_java_fp);
	return true;
}

void hs_java_frames_init(struct hs_jvm *jvm)
{
	jvm->stepper = (struct hs_stepper){
		.name = "java",
		.owns = stepper_owns,
		.step = stepper_step,
		.resume = stepper_resume,
		.self = jvm,
	};
}
