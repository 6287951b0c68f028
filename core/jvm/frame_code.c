// SPDX-License-Identifier: Apache-2.0
/** @file Shapes of a frame that is being built or taken down, read from x86_64 instructions. */

#include "core/jvm/frame_code.h"

#include <string.h>

enum {
	WORD = 8,
	POP_RBP = 0x5d,
	RET = 0xc3,
	RET_IMM = 0xc2,
	JMP_REL32 = 0xe9,
	JMP_LENGTH = 5,
	SAVE_RBP_DISP8 = 5, /**< bytes of mov [rsp + disp8], rbp */
	SAVE_RBP_DISP32 = 8,
	MOV_RBX_LENGTH = 10, /**< mov rbx, imm64 */
};

/** An instruction, by its first bytes. */
struct instruction {
	uint8_t bytes[4], num_bytes, length;
};

/** What stands between the end of a frame and its ret. */
static const struct instruction polls[] = {
	{{0x49, 0x3b, 0xa7}, 3, 7}, // cmp rsp, [r15 + disp32]: 16+
	{{0x49, 0x3b, 0x67}, 3, 4}, // cmp rsp, [r15 + disp8]
	{{0x0f, 0x87},       2, 6}, // ja to the slow path
	{{0x4d, 0x8b, 0x97}, 3, 7}, // mov r10, [r15 + disp32]: 11
	{{0x4d, 0x8b, 0x57}, 3, 4}, // mov r10, [r15 + disp8]
	{{0x41, 0x85, 0x02}, 3, 3}, // test eax, [r10]
	{{0x85, 0x05},       2, 6}, // test eax, [rip + disp32]: 8
	{{0x49, 0x83, 0x7f}, 3, 5}, // cmp [r15 + disp8], imm8: a pending exception, native wrappers
	{{0x49, 0x83, 0xbf}, 3, 8}, // cmp [r15 + disp32], imm8
	{{0x0f, 0x85},       2, 6}, // jne to the exception's way out
};

/** Slow path of the poll at a return, behind the method: it tells the VM where it came from. */
static const struct instruction poll_stubs[] = {
	{{0x49, 0xba},       2, 10}, // mov r10, imm64
	{{0x4c, 0x8d, 0x15}, 3, 7 }, // lea r10, [rip + disp32]
	{{0x4d, 0x89, 0x97}, 3, 7 }, // mov [r15 + disp32], r10
	{{0x4d, 0x89, 0x57}, 3, 4 }, // mov [r15 + disp8], r10
};

#define COUNT(table) (sizeof(table) / sizeof(*(table)))

/** Bytes of the instruction at @p code when it is one of @p table, or 0. */
static size_t match(const struct instruction *table, size_t count, const uint8_t *code, size_t len)
{
	for (size_t i = 0; i < count; i++) {
		if (len >= table[i].length && !memcmp(code, table[i].bytes, table[i].num_bytes))
			return table[i].length;
	}
	return 0;
}

/** Do the @p len bytes before the pc end with an instruction like this? */
static bool ends_with(struct hs_code_window code, const char *bytes, size_t num_bytes,
                      size_t length)
{
	return code.before >= length && !memcmp(code.at - length, bytes, num_bytes);
}

// ---- prologue

/** The value that "sub rsp, imm" at @p code subtracts, and its length; 0: another instruction. */
static size_t sub_rsp(const uint8_t *code, size_t len, uint64_t *imm)
{
	int32_t value;

	if (len >= 4 && !memcmp(code, "\x48\x83\xec", 3)) {
		*imm = code[3];
		return 4;
	}
	if (len >= 7 && !memcmp(code, "\x48\x81\xec", 3)) {
		memcpy(&value, code + 3, sizeof(value));
		*imm = (uint64_t)(int64_t)value;
		return 7;
	}
	return 0;
}

/** @p len bytes were executed since the stack pointer moved by all but the return address: was rbp
 * saved among them? */
static bool saves_rbp(const uint8_t *code, size_t len)
{
	return (len >= SAVE_RBP_DISP8 && !memcmp(code, "\x48\x89\x6c\x24", 4)) ||
	       (len >= SAVE_RBP_DISP32 && !memcmp(code, "\x48\x89\xac\x24", 4));
}

enum hs_frame_shape hs_prologue_shape(struct hs_code_window code, uint64_t frame_size)
{
	const uint8_t *first = code.at - code.before;
	uint64_t imm;

	// The subtraction is known by its value: it leaves the return address, and rbp if that was
	// pushed before. Methods that check the stack first, and native wrappers, push it.
	for (size_t i = 0; frame_size >= 2 * WORD && i < code.before; i++) {
		size_t length = sub_rsp(first + i, code.before - i, &imm);

		if (length && imm == frame_size - 2 * WORD)
			return HS_SHAPE_WHOLE;
		if (length && imm == frame_size - WORD)
			return saves_rbp(first + i + length, code.before - i - length)
			               ? HS_SHAPE_WHOLE
			               : HS_SHAPE_FP_LIVE;
	}
	bool pushed = ends_with(code, "\x55", 1, 1) ||
	              ends_with(code, "\x55\x48\x8b\xec", 4, 4) || // mov rbp, rsp
	              ends_with(code, "\x55\x48\x89\xe5", 4, 4);
	return pushed ? HS_SHAPE_FP_ON_TOP : HS_SHAPE_NONE;
}

// ---- body and epilogue

/** Do the bytes before the pc give the frame back, up to and with pop rbp? */
static bool has_popped(struct hs_code_window code)
{
	return ends_with(code, "\x5d", 1, 1) &&
	       (ends_with(code, "\x48\x83\xc4", 3, 5) || ends_with(code, "\x48\x81\xc4", 3, 8));
}

/** Has the frame been given back, but for rbp that may be on top? */
static bool has_shrunk(struct hs_code_window code)
{
	return ends_with(code, "\x48\x83\xc4", 3, 4) || ends_with(code, "\x48\x81\xc4", 3, 7);
}

static bool is_jump(const uint8_t *code, size_t len)
{
	return len >= JMP_LENGTH && code[0] == JMP_REL32;
}

/** [poll] ret at @p code? */
static bool is_return(const uint8_t *code, size_t len)
{
	size_t at = 0, step;

	while ((step = match(polls, COUNT(polls), code + at, len - at)) > 0)
		at += step;
	return at < len && (code[at] == RET || code[at] == RET_IMM);
}

/** In the slow path of a return poll? */
static bool is_poll_stub(struct hs_code_window code)
{
	size_t at = 0, step;

	while ((step = match(poll_stubs, COUNT(poll_stubs), code.at + at, code.after - at)) > 0)
		at += step;
	return is_jump(code.at + at, code.after - at) &&
	       (at || ends_with(code, "\x4d\x89\x97", 3, 7) ||
	        ends_with(code, "\x4d\x89\x57", 3, 4));
}

enum hs_frame_shape hs_body_shape(struct hs_code_window code)
{
	if (!code.after)
		return HS_SHAPE_WHOLE;
	if (code.at[0] == POP_RBP) { // pop rbp; [poll] ret, or on to the handler of the caller
		bool leaves = is_return(code.at + 1, code.after - 1) ||
		              (has_shrunk(code) && is_jump(code.at + 1, code.after - 1));

		return leaves ? HS_SHAPE_FP_ON_TOP : HS_SHAPE_WHOLE;
	}
	if (is_return(code.at, code.after) || is_poll_stub(code) ||
	    (is_jump(code.at, code.after) && has_popped(code)))
		return HS_SHAPE_NONE;
	return HS_SHAPE_WHOLE;
}

// ---- behind the method

int hs_static_call_stub_offset(struct hs_code_window code)
{
	if (code.after >= MOV_RBX_LENGTH && !memcmp(code.at, "\x48\xbb", 2))
		return is_jump(code.at + MOV_RBX_LENGTH, code.after - MOV_RBX_LENGTH) ? 0 : -1;
	if (is_jump(code.at, code.after) && ends_with(code, "\x48\xbb", 2, MOV_RBX_LENGTH))
		return MOV_RBX_LENGTH;
	return -1;
}
