// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * What the instructions around a pc say of the frame of compiled code: a thread that runs may be
 * anywhere in a prologue, an epilogue, or in the code that compilers put behind a method.
 */
#ifndef HS_JVM_FRAME_CODE_H
#define HS_JVM_FRAME_CODE_H

#include "core/jvm/code_cache.h"

/** Where an activation keeps its return address and its caller's rbp. */
enum hs_frame_shape {
	HS_SHAPE_WHOLE,     /**< at the end of the frame; rbp right below */
	HS_SHAPE_FP_LIVE,   /**< at the end of the frame; rbp is not saved yet */
	HS_SHAPE_FP_ON_TOP, /**< right above rbp, which is on top of the stack */
	HS_SHAPE_NONE,      /**< on top of the stack; no frame yet, or no more */
};

/** Bytes that are looked at. */
enum {
	HS_CODE_BEFORE = 64, /**< the longest prologue up to frame_complete has about 50 */
	HS_CODE_AFTER = 32,
};

/** Instructions around a pc, as far as they are of one blob. */
struct hs_code_window {
	const uint8_t *at; /**< the instruction at the pc */
	size_t before, after;
};

/**
 * Shape before frame_complete, from what was executed (MacroAssembler::verified_entry,
 * C1_MacroAssembler::build_frame, generate_native_wrapper; 8 to 28).
 * @param frame_size Bytes with the return address; less than two words: only rbp can be pushed.
 */
enum hs_frame_shape hs_prologue_shape(struct hs_code_window code, uint64_t frame_size);

/** Shape from frame_complete on, from what is executed next. */
enum hs_frame_shape hs_body_shape(struct hs_code_window code);

/**
 * Offset of @p code from the first instruction of the static call stub that it seems to be in (a
 * compiled call of an interpreted method jumps there: CompiledStaticCall); -1: it is none.
 */
int hs_static_call_stub_offset(struct hs_code_window code);

#endif // HS_JVM_FRAME_CODE_H
