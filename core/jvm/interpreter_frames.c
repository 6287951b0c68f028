// SPDX-License-Identifier: Apache-2.0
/** @file Interpreter frames: the template interpreter of x86_64 (frame_x86.hpp, 8 to 28). */

#include <inttypes.h>
#include <string.h>

#include "core/jvm/java_frames.h"

/** Words from rbp. 9+ has a word more (the mirror), which moves all below it down. */
enum frame_word {
	WORD_RETURN = 1,
	WORD_LINK = 0,
	WORD_SENDER_SP = -1,
	WORD_METHOD = -3,
	WORD_LOCALS = -7,
	WORD_BCP = -8,
	WORD_MONITORS = -9, /**< also called initial expression sp */
	WORD_LOWEST = WORD_MONITORS,
	NUM_WORDS = WORD_RETURN - WORD_LOWEST + 1,
};

enum {
	MAX_RELATIVE = 1 << 20, /**< words: code attributes end at 65535 locals and stack slots */
};

struct interpreter_frame {
	hs_addr fp;
	int shift; /**< words that the words below the method are higher than in 9+ */
	uint64_t words[NUM_WORDS];
};

/** The single code heap and the frame without a mirror both end with 8. */
static int frame_shift(const struct hs_jvm *jvm)
{
	return hs_layout_has(&jvm->layout, HS_F_code_cache_heap) ? 1 : 0;
}

static struct hs_err *read_frame(struct hs_jvm *jvm, hs_addr fp, struct interpreter_frame *ret)
{
	const uint64_t below = -(int64_t)WORD_LOWEST * 8;

	if (fp % 8 || fp < below)
		return hs_err_new(HS_ERR_BAD_DATA, "interpreter frame at 0x%" PRIx64, fp);
	ret->fp = fp;
	ret->shift = frame_shift(jvm);
	return hs_target_read(jvm->target, fp - below, ret->words, sizeof(ret->words));
}

static uint64_t get_word(const struct interpreter_frame *frame, enum frame_word word)
{
	int shift = word < WORD_METHOD ? frame->shift : 0;

	return frame->words[word - WORD_LOWEST + shift];
}

static hs_addr word_addr(const struct interpreter_frame *frame, enum frame_word word)
{
	int shift = word < WORD_METHOD ? frame->shift : 0;

	return frame->fp + (uint64_t)(int64_t)((word + shift) * 8);
}

/** A pointer into the stack that newer releases store in words from rbp (locals 21+, last sp and
 * monitors 22+). Stack addresses are far above what a relative one can be. */
static hs_addr get_pointer(const struct interpreter_frame *frame, enum frame_word word)
{
	int64_t value = (int64_t)get_word(frame, word);

	return value > -MAX_RELATIVE && value < MAX_RELATIVE ? frame->fp + (uint64_t)value * 8
	                                                     : (hs_addr)value;
}

static bool is_bcp(const struct hs_method *method, hs_addr bcp)
{
	return bcp >= method->code_base && bcp - method->code_base < method->code_size;
}

static int32_t find_bci(const struct interpreter_frame *frame, const struct hs_cursor *cursor,
                        const struct hs_method *method)
{
	hs_addr bcp = get_word(frame, WORD_BCP);

	if (method->is_native)
		return -1;
	// While a template runs, r13 is ahead of the slot; the slot is written before each call.
	if (cursor->is_activation && hs_regs_has(&cursor->regs, HS_REG_R13) &&
	    is_bcp(method, cursor->regs.value[HS_REG_R13]))
		bcp = cursor->regs.value[HS_REG_R13];
	return is_bcp(method, bcp) ? (int32_t)(bcp - method->code_base) : -1;
}

struct hs_err *hs_interpreter_local(struct hs_jvm *jvm, hs_addr fp, unsigned slot, uint64_t *ret)
{
	struct hs_err *err;
	struct interpreter_frame frame;

	err = read_frame(jvm, fp, &frame);
	if (err)
		return err;
	hs_addr locals = get_pointer(&frame, WORD_LOCALS);
	if (slot > UINT16_MAX || locals % 8 || locals <= fp)
		return hs_err_absent();
	return hs_target_read_u64(jvm->target, locals - (uint64_t)slot * 8, ret);
}

struct hs_err *hs_interpreter_locals(struct hs_jvm *jvm, hs_addr fp, uint64_t *words, size_t count)
{
	struct hs_err *err;
	struct interpreter_frame frame;

	err = read_frame(jvm, fp, &frame);
	if (err)
		return err;
	hs_addr locals = get_pointer(&frame, WORD_LOCALS);
	if (!count || count > UINT16_MAX || locals % 8 || locals <= fp)
		return hs_err_absent();
	err = hs_target_read(jvm->target, locals - (count - 1) * 8, words, count * 8);
	if (err)
		return err;
	for (size_t i = 0; i < count / 2; i++) { // slot 0 has the highest address
		uint64_t word = words[i];

		words[i] = words[count - 1 - i];
		words[count - 1 - i] = word;
	}
	return NULL;
}

struct hs_err *hs_interpreter_method(struct hs_jvm *jvm, hs_addr fp, struct hs_method **ret)
{
	struct hs_err *err;
	struct interpreter_frame frame;

	err = read_frame(jvm, fp, &frame);
	return err ? err : hs_method_get(jvm, get_word(&frame, WORD_METHOD), ret);
}

/** The receiver in local 0, for "- waiting on" of Object.wait(). */
static struct hs_err *get_receiver(struct hs_jvm *jvm, const struct interpreter_frame *frame,
                                   const struct hs_method *method, hs_addr *ret)
{
	struct hs_err *err;
	uint64_t word = 0;

	*ret = 0;
	if (!method->is_native || method->is_static)
		return NULL;
	err = hs_interpreter_local(jvm, frame->fp, 0, &word);
	if (err && hs_err_code(err) == HS_ERR_OOM)
		return err;
	hs_err_free(err); // not available, says jstack
	*ret = hs_stack_oop(jvm, word);
	return NULL;
}

/** BasicObjectLocks from the monitor top (innermost) up to the fixed part. */
static struct hs_err *add_monitors(struct hs_jvm *jvm, const struct interpreter_frame *frame,
                                   struct hs_frame_locks *locks)
{
	struct hs_err *err;
	uint64_t size = jvm->layout.sizes[HS_T_basic_object_lock];
	hs_addr top = get_pointer(frame, WORD_MONITORS), end = word_addr(frame, WORD_MONITORS);

	if (!size || size > 64 || !hs_layout_has(&jvm->layout, HS_F_basic_object_lock_obj))
		return NULL;
	if (top >= end || (end - top) % size) // none, or the frame is only half built
		return NULL;
	if ((end - top) / size > HS_MAX_LOCKS)
		return NULL;
	for (hs_addr at = top; at < end; at += size) {
		uint64_t word;

		err = hs_target_read_u64(
			jvm->target,
			at + hs_layout_offset(&jvm->layout, HS_F_basic_object_lock_obj), &word);
		if (err)
			return err;
		err = hs_frame_locks_add(locks, hs_stack_oop(jvm, word), false);
		if (err)
			return err;
	}
	return NULL;
}

static struct hs_err *add_locks(struct hs_jvm *jvm, const struct interpreter_frame *frame,
                                const struct hs_method *method, struct hs_frame_locks *locks)
{
	struct hs_err *err;
	hs_addr receiver = 0;

	if (locks->is_top) {
		err = get_receiver(jvm, frame, method, &receiver);
		if (err)
			return err;
	}
	err = hs_frame_locks_add_wait(locks, method, receiver);
	return err ? err : add_monitors(jvm, frame, locks);
}

static struct hs_err *describe(struct hs_jvm *jvm, const struct hs_cursor *cursor,
                               const struct interpreter_frame *frame, struct hs_method *method,
                               struct hs_frame_list *list)
{
	struct hs_err *err;
	struct hs_frame_locks locks;
	struct hs_frame *added;
	hs_addr sp = cursor->regs.value[HS_REG_SP];

	const struct hs_location *location = hs_method_location(jvm, method, HS_FRAME_INTERPRETED,
	                                                        0, find_bci(frame, cursor, method));
	if (!location)
		return hs_err_oom();
	hs_frame_locks_init(&locks, jvm, cursor->thread, list);
	err = hs_java_frame_add(list, cursor, location, sp, &added);
	if (err)
		return err;
	err = add_locks(jvm, frame, method, &locks);
	if (err)
		return err;
	hs_frame_locks_store(&locks, added);
	return hs_frame_fp_put(jvm, sp, &cursor->regs);
}

/** Locals beyond the arguments lie between the caller's frame and what is at the cursor. */
static void set_sender_sp(struct hs_cursor *cursor, hs_addr sender_sp)
{
	hs_addr sp = cursor->regs.value[HS_REG_SP];

	if (sender_sp > sp && sender_sp % 8 == 0 && sender_sp - sp < MAX_RELATIVE * UINT64_C(8))
		cursor->unextended_sp = sender_sp;
}

struct hs_err *hs_interpreter_describe(struct hs_jvm *jvm, const struct hs_cursor *cursor,
                                       struct hs_frame_list *list, struct hs_interpreter_links *ret)
{
	hs_addr fp = cursor->regs.value[HS_REG_FP];
	struct hs_method *method = NULL;
	struct interpreter_frame frame;
	struct hs_err *err;

	err = read_frame(jvm, fp, &frame);
	if (!err)
		err = hs_method_get(jvm, get_word(&frame, WORD_METHOD), &method);
	if (err)
		return hs_err_wrap(err, "interpreter frame at 0x%" PRIx64, fp);
	ret->sender_sp = get_word(&frame, WORD_SENDER_SP);
	ret->locals = get_pointer(&frame, WORD_LOCALS);
	return describe(jvm, cursor, &frame, method, list);
}

static struct hs_err *move_to_sender(const struct interpreter_frame *frame,
                                     struct hs_cursor *cursor)
{
	hs_addr sp = word_addr(frame, WORD_RETURN) + 8;
	hs_addr sender_sp = get_word(frame, WORD_SENDER_SP);

	hs_cursor_set(cursor, get_word(frame, WORD_RETURN), sp, get_word(frame, WORD_LINK));
	set_sender_sp(cursor, sender_sp);
	return NULL;
}

/** Bytes of the fixed part below rbp. */
static uint64_t fixed_size(const struct hs_jvm *jvm)
{
	return (uint64_t)(-WORD_MONITORS - frame_shift(jvm)) * 8;
}

/** The caller of a method entry that has no frame, or half of one. */
static struct hs_err *leave_entry(struct hs_jvm *jvm, struct hs_cursor *cursor)
{
	struct hs_err *err;
	const struct hs_regs regs = cursor->regs;
	hs_addr sp = regs.value[HS_REG_SP], fp = regs.value[HS_REG_FP];
	uint64_t words[2], sender_sp = 0;

	// After enter(), while the fixed part is pushed: the caller is where it will be.
	if (fp >= sp && fp - sp < fixed_size(jvm)) {
		err = hs_target_read(jvm->target, fp, words, sizeof(words));
		if (!err)
			err = hs_target_read_u64(jvm->target, fp - 8, &sender_sp);
		if (err)
			return err;
		if (hs_java_is_return_pc(jvm, words[1])) {
			hs_cursor_set(cursor, words[1], fp + sizeof(words), words[0]);
			// The caller's sp is pushed first; until then it is in r13, the bcp after.
			if (fp > sp)
				set_sender_sp(cursor, sender_sp);
			else if (hs_regs_has(&regs, HS_REG_R13))
				set_sender_sp(cursor, regs.value[HS_REG_R13]);
			return NULL;
		}
	}
	err = hs_java_frameless_sender(jvm, cursor);
	if (!err || hs_err_code(err) == HS_ERR_OOM || !hs_regs_has(&regs, HS_REG_RAX) ||
	    !hs_java_is_return_pc(jvm, regs.value[HS_REG_RAX]))
		return err;
	hs_err_free(err); // popped to rax: nothing of the caller is below its own frame now
	hs_cursor_set(cursor, regs.value[HS_REG_RAX], sp + 8, fp);
	return NULL;
}

/**
 * Interrupted in a method entry, before the frame is there: rbx is the Method, r13 the sp of the
 * caller, and rax the return address once it is popped (generate_normal_entry).
 */
static struct hs_err *step_entry(struct hs_jvm *jvm, struct hs_cursor *cursor,
                                 struct hs_frame_list *list)
{
	struct hs_err *err;
	struct hs_frame *added;
	struct hs_method *method;
	const struct hs_regs regs = cursor->regs;

	if (!hs_regs_has(&regs, HS_REG_RBX))
		return leave_entry(jvm, cursor);
	err = hs_method_get(jvm, regs.value[HS_REG_RBX], &method);
	if (err && hs_err_code(err) == HS_ERR_OOM)
		return err;
	if (err) { // a stub of the interpreter: no frame of its own
		hs_err_free(err);
		return leave_entry(jvm, cursor);
	}
	const struct hs_location *location = hs_method_location(jvm, method, HS_FRAME_INTERPRETED,
	                                                        0, method->is_native ? -1 : 0);
	if (!location)
		return hs_err_oom();
	err = hs_java_frame_add(list, cursor, location, regs.value[HS_REG_SP], &added);
	if (err)
		return err;
	err = leave_entry(jvm, cursor);
	if (err)
		return err;
	if (!cursor->unextended_sp && hs_regs_has(&regs, HS_REG_R13))
		set_sender_sp(cursor, regs.value[HS_REG_R13]);
	return NULL;
}

bool hs_interpreter_has_frame(struct hs_jvm *jvm, hs_addr fp)
{
	struct hs_err *err;
	struct interpreter_frame frame;
	struct hs_method *method;

	err = read_frame(jvm, fp, &frame);
	if (!err)
		err = hs_method_get(jvm, get_word(&frame, WORD_METHOD), &method);
	bool found = !err;
	hs_err_free(err); // no frame is an answer
	return found;
}

static bool is_method(struct hs_jvm *jvm, const struct hs_regs *regs, enum hs_reg reg)
{
	struct hs_err *err;
	struct hs_method *method;

	if (!hs_regs_has(regs, reg))
		return false;
	err = hs_method_get(jvm, regs->value[reg], &method);
	bool found = !err;
	hs_err_free(err); // something else is in the register
	return found;
}

/**
 * Interrupted between compiled code and the interpreter, where rbp is still, or again, that of the
 * compiled caller: of an outer interpreter frame, if that code does not use it. A return address in
 * compiled code lies on top of the stack only then, or in a register.
 * @param entering Set when a method is entered, clear when one was left.
 */
static bool is_between(struct hs_jvm *jvm, const struct hs_regs *regs, bool *entering)
{
	struct hs_err *err;
	uint64_t words[2];

	err = hs_target_read(jvm->target, regs->value[HS_REG_SP], words, sizeof(words));
	if (err) {
		hs_err_free(err); // no stack to look at
		return false;
	}
	*entering = is_method(jvm, regs, HS_REG_RBX);
	if (hs_java_is_compiled_return(jvm, words[0]))
		return true;
	if (*entering) // the return address is popped in between, and rbp pushed above it
		return hs_java_is_compiled_return(jvm, words[1]) ||
		       (hs_regs_has(regs, HS_REG_RAX) &&
		        hs_java_is_compiled_return(jvm, regs->value[HS_REG_RAX]));
	return hs_regs_has(regs, HS_REG_R13) &&
	       hs_java_is_compiled_return(jvm, regs->value[HS_REG_R13]);
}

/** The frame is gone: the return address is on top of the stack or popped to r13, the caller's sp
 * in rbx (InterpreterMacroAssembler::remove_activation). */
static struct hs_err *leave_removed(struct hs_jvm *jvm, struct hs_cursor *cursor)
{
	struct hs_err *err;
	const struct hs_regs regs = cursor->regs;
	hs_addr sp = regs.value[HS_REG_SP], sender_sp = regs.value[HS_REG_RBX], pc;
	hs_addr fp = hs_regs_has(&regs, HS_REG_FP) ? regs.value[HS_REG_FP] : 0;

	err = hs_target_read_u64(jvm->target, sp, &pc);
	if (err)
		return err;
	if (hs_java_is_compiled_return(jvm, pc))
		sp += 8;
	else
		pc = regs.value[HS_REG_R13];
	if (hs_regs_has(&regs, HS_REG_RBX) && sender_sp >= sp && sender_sp % 8 == 0 &&
	    sender_sp - sp < MAX_RELATIVE * UINT64_C(8))
		sp = sender_sp;
	hs_cursor_set(cursor, pc, sp, fp);
	return NULL;
}

/** Is the frame at rbp not built yet? What lies there then is left over from another call. */
static bool is_half_built(const struct hs_jvm *jvm, const struct hs_regs *regs)
{
	hs_addr sp = regs->value[HS_REG_SP], fp = regs->value[HS_REG_FP];

	return fp >= sp && fp - sp < fixed_size(jvm);
}

struct hs_err *hs_interpreter_step(struct hs_jvm *jvm, struct hs_cursor *cursor,
                                   struct hs_frame_list *list)
{
	struct hs_err *err;
	struct interpreter_frame frame;
	struct hs_method *method = NULL;
	bool entering;

	if (!hs_regs_has(&cursor->regs, HS_REG_FP))
		return hs_err_new(HS_ERR_BAD_DATA,
		                  "an interpreter frame whose frame pointer is not known");
	if (cursor->is_activation && is_between(jvm, &cursor->regs, &entering))
		return entering ? step_entry(jvm, cursor, list) : leave_removed(jvm, cursor);
	if (cursor->is_activation && is_half_built(jvm, &cursor->regs))
		return step_entry(jvm, cursor, list);
	err = read_frame(jvm, cursor->regs.value[HS_REG_FP], &frame);
	if (!err && !get_word(&frame, WORD_RETURN))
		err = hs_target_check_stack(jvm->target, word_addr(&frame, WORD_RETURN));
	if (!err)
		err = hs_method_get(jvm, get_word(&frame, WORD_METHOD), &method);
	if (err && cursor->is_activation && hs_err_code(err) != HS_ERR_OOM) {
		hs_err_free(err);
		return step_entry(jvm, cursor, list);
	}
	if (err)
		return hs_err_wrap(err, "interpreter frame at 0x%" PRIx64,
		                   cursor->regs.value[HS_REG_FP]);
	err = describe(jvm, cursor, &frame, method, list);
	return err ? err : move_to_sender(&frame, cursor);
}
