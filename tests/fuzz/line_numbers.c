// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Fuzz target: the line number table of a method. Input: byte 0, 1 for 21+; two bytes, the size of
 * the code; the compressed stream.
 */

#include <stdlib.h>

#include "tests/fuzz/fuzz.h"

enum {
	MAX_BYTES = 1 << 16,
	CONST_METHOD = 32, // its size
	CONST_METHOD_AT = 64,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	struct fuzz_jvm *f = fuzz_jvm_get(fuzz_take(&input, 1) & 1);
	uint16_t code_size = (uint16_t)fuzz_take(&input, 2);
	struct hs_method *method = NULL;

	if (input.len > MAX_BYTES)
		return 0;
	fuzz_jvm_begin(f);
	fuzz_jvm_class(f);
	hs_addr method_addr = FUZZ_SPACE, const_method = FUZZ_SPACE + CONST_METHOD_AT;
	hs_fake_fill(f->fake, method_addr, 0, CONST_METHOD_AT + CONST_METHOD);
	hs_fake_u64(f->fake, method_addr + 8, const_method);
	hs_fake_u64(f->fake, const_method, UINT64_C(0x10008000)); // the constant pool
	size_t words = (CONST_METHOD + code_size + input.len + 7) / 8;
	hs_fake_u32(f->fake, const_method + 8, (uint32_t)words);
	hs_fake_u16(f->fake, const_method + 12, code_size);
	hs_fake_u16(f->fake, const_method + 14, 1);
	hs_fake_u16(f->fake, const_method + 16, 2);
	hs_fake_u32(f->fake, const_method + 20, 1); // it has lines
	hs_fake_memory(f->fake, const_method + CONST_METHOD + code_size, input.data, input.len);
	hs_fake_fill(f->fake, const_method + CONST_METHOD + code_size + input.len, 0, 8);
	struct hs_err *err = hs_method_get(f->jvm, method_addr, &method);
	if (err)
		abort();
	for (int32_t bci = -1; bci <= code_size; bci += 1 + code_size / 64)
		(void)hs_method_line(method, bci);
	fuzz_jvm_end(f);
	return 0;
}
