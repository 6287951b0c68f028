// SPDX-License-Identifier: Apache-2.0
/** @file Is a word of a stack a return address in Java code? Asked of the code before it. */

#include <string.h>

#include "core/jvm/java_frames.h"

enum {
	WORD = 8,
	CALL_WINDOW = 13, /**< bytes of the longest call, mov r10, imm64; call r10 */
	CALL_REL32 = 5,   /**< bytes of the direct call */
};

bool hs_java_is_return_pc(struct hs_jvm *jvm, hs_addr pc)
{
	struct hs_err *err;
	const struct hs_blob *blob;

	if (!hs_code_cache_owns(jvm->code_cache, pc))
		return false;
	if (hs_code_cache_is_interpreter(jvm->code_cache, pc))
		return true;
	err = hs_code_cache_blob(jvm, pc, &blob);
	if (err) {
		hs_err_free(err); // not code
		return false;
	}
	return pc > blob->code_begin;
}

bool hs_java_follows_call(struct hs_jvm *jvm, hs_addr pc, const struct hs_blob *callee)
{
	struct hs_err *err;
	uint8_t code[CALL_WINDOW];
	const uint8_t *end = code + sizeof(code);
	hs_addr to;
	int32_t rel;

	err = hs_target_read(jvm->target, pc - sizeof(code), code, sizeof(code));
	if (err) {
		hs_err_free(err); // no code, no call
		return false;
	}
	if (end[-5] == 0xe8) { // call rel32
		memcpy(&rel, end - 4, sizeof(rel));
		to = pc + (uint64_t)(int64_t)rel;
		if (!callee || hs_addr_in(to, callee->addr, callee->end))
			return true;
	}
	if (!memcmp(end - 13, "\x49\xba", 2) && !memcmp(end - 3, "\x41\xff\xd2", 3)) {
		memcpy(&to, end - 11, sizeof(to)); // mov r10, imm64; call r10
		return !callee || hs_addr_in(to, callee->addr, callee->end);
	}
	if (callee)
		return false;
	// call r/m: ff /2 with a register, or memory with disp8 or disp32
	return (end[-2] == 0xff && (end[-1] & 0xf8) == 0xd0) ||
	       (end[-3] == 0xff && (end[-2] & 0xf8) == 0x50) ||
	       (end[-6] == 0xff && (end[-5] & 0xf8) == 0x90);
}

bool hs_java_is_compiled_return(struct hs_jvm *jvm, hs_addr pc)
{
	struct hs_err *err;
	const struct hs_blob *blob;

	if (!hs_code_cache_owns(jvm->code_cache, pc) ||
	    hs_code_cache_is_interpreter(jvm->code_cache, pc))
		return false;
	err = hs_code_cache_blob(jvm, pc, &blob);
	if (err) {
		hs_err_free(err); // not code
		return false;
	}
	return blob->nmethod && pc > blob->code_begin && hs_java_follows_call(jvm, pc, NULL);
}

bool hs_java_is_return_slot(struct hs_jvm *jvm, hs_addr at, hs_addr pc)
{
	struct hs_err *err;
	const struct hs_blob *blob;
	hs_addr next;

	if (hs_code_cache_is_interpreter(jvm->code_cache, pc))
		return true;
	err = hs_code_cache_blob(jvm, pc, &blob);
	if (!err && !blob->nmethod)
		return true;
	if (!err)
		err = hs_target_read_u64(jvm->target, at + blob->frame_size, &next);
	if (err) {
		hs_err_free(err); // then no
		return false;
	}
	return blob->frame_size && hs_java_is_return_pc(jvm, next);
}

bool hs_java_is_interpreter_return(struct hs_jvm *jvm, hs_addr at, hs_addr pc, hs_addr fp,
                                   hs_addr *fp_at)
{
	struct hs_err *err;
	hs_addr saved;

	if (!hs_code_cache_is_interpreter(jvm->code_cache, pc))
		return false;
	err = hs_target_read_u64(jvm->target, at - WORD, &saved);
	if (!err && saved > at && hs_interpreter_has_frame(jvm, saved)) {
		*fp_at = at - WORD;
		return true;
	}
	hs_err_free(err); // then it is not below
	*fp_at = 0;
	return fp > at && hs_interpreter_has_frame(jvm, fp);
}

bool hs_java_was_called_at(struct hs_jvm *jvm, const struct hs_blob *blob, hs_addr sp,
                           hs_addr target)
{
	struct hs_err *err;
	hs_addr return_pc;
	uint8_t call[CALL_REL32];
	int32_t rel;

	err = hs_target_read_u64(jvm->target, sp, &return_pc);
	if (!err && !hs_addr_in(return_pc, blob->code_begin + sizeof(call), blob->end))
		return false;
	if (!err)
		err = hs_target_read(jvm->target, return_pc - sizeof(call), call, sizeof(call));
	if (err) {
		hs_err_free(err); // then it is not known
		return false;
	}
	memcpy(&rel, call + 1, sizeof(rel));
	return call[0] == 0xe8 && return_pc + (uint64_t)(int64_t)rel == target;
}
