// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Fuzz target: the fields of a class. Input: byte 0, 0 for the u2 array of 8 to 20 and 1 for the
 * UNSIGNED5 stream of 21+; the data of the array.
 */

#include <stdlib.h>

#include "tests/fuzz/fuzz.h"

enum {
	MAX_BYTES = 1 << 16,
	ARRAY = 64, // InstanceKlass::_fields or _fieldinfo_stream
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	struct fuzz_jvm *f = fuzz_jvm_get(fuzz_take(&input, 1) & 1);
	const struct hs_klass *klass = NULL;
	const struct hs_jfield *field;

	if (input.len > MAX_BYTES)
		return 0;
	fuzz_jvm_begin(f);
	hs_addr addr = fuzz_jvm_class(f);
	hs_fake_u64(f->fake, addr + ARRAY, FUZZ_SPACE);
	hs_fake_u32(f->fake, FUZZ_SPACE, (uint32_t)(f->is_25 ? input.len : input.len / 2));
	hs_fake_memory(f->fake, FUZZ_SPACE + 4, input.data, input.len);
	struct hs_err *err = hs_klass_get(f->jvm, addr, &klass);
	if (err)
		abort();
	err = hs_klass_field(f->jvm, klass, "name", &field);
	hs_err_free(err);
	for (size_t i = 0; i < klass->num_fields; i++) {
		if (!klass->fields[i].name || !klass->fields[i].signature)
			abort();
	}
	fuzz_jvm_end(f);
	return 0;
}
