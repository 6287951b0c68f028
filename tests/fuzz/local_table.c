// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Fuzz target: the tables at the end of a ConstMethod. Input: byte 0, layout of the flags (0: 2
 * bytes, 1: 4 bytes, 21 and later); the flags, 4 bytes; max_locals, 2 bytes; then all that follows
 * the bytecodes: the line table, a gap, the tables. Indices are of fuzz_jvm_class()'s pool.
 */

#include <stdlib.h>
#include <string.h>

#include "core/jvm/java_frames.h"
#include "tests/fuzz/fuzz.h"

enum {
	MAX_BYTES = 1 << 16,
	CODE_SIZE = 16,
	CONST_METHOD = FUZZ_SPACE,
	AT_SIZE = 8, // of fuzz_jvm.c's layout, and two of our own
	AT_MAX_LOCALS = 16,
	AT_FLAGS = 20,
};

static void use_field(struct fuzz_jvm *f, enum hs_field field, bool present, uint64_t offset)
{
	f->jvm->layout.fields[field] =
		(struct hs_layout_field){.present = present, .offset = offset};
}

static void check_table(struct fuzz_jvm *f, const struct hs_variable_table *table)
{
	if (table->why && table->len)
		abort();
	for (size_t i = 0; i < table->len; i++) {
		const struct hs_variable *v = &table->items[i];

		if (!v->name || !v->descriptor || v->end_bci < v->start_bci)
			abort();
		if (!hs_type_words(f->jvm->arena, v->descriptor))
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	bool is_u4 = fuzz_take(&input, 1) & 1;
	struct fuzz_jvm *f = fuzz_jvm_get(is_u4);
	uint32_t flags = (uint32_t)fuzz_take(&input, 4);
	uint16_t max_locals = (uint16_t)fuzz_take(&input, 2);
	const struct hs_variable_table *table = NULL;

	if (input.len > MAX_BYTES)
		return 0;
	fuzz_jvm_begin(f);
	fuzz_jvm_class(f);
	use_field(f, HS_F_const_method_size, true, AT_SIZE);
	use_field(f, HS_F_const_method_max_locals, true, AT_MAX_LOCALS);
	use_field(f, HS_F_const_method_flags_u4, is_u4, AT_FLAGS);
	use_field(f, HS_F_const_method_flags_u2, !is_u4, AT_FLAGS);
	uint64_t header = f->jvm->layout.sizes[HS_T_const_method];
	hs_fake_fill(f->fake, CONST_METHOD, 0, header + CODE_SIZE);
	hs_fake_u64(f->fake, CONST_METHOD, UINT64_C(0x10008000)); // the constant pool
	hs_fake_u32(f->fake, CONST_METHOD + AT_SIZE,
	            (uint32_t)((header + CODE_SIZE + input.len) / 8));
	hs_fake_u16(f->fake, CONST_METHOD + AT_MAX_LOCALS, max_locals);
	hs_fake_u32(f->fake, CONST_METHOD + AT_FLAGS, flags);
	hs_fake_memory(f->fake, CONST_METHOD + header + CODE_SIZE, input.data, input.len);
	struct hs_method method = {
		.name = "run",
		.descriptor = "(IJ)V",
		.code_base = CONST_METHOD + header,
		.code_size = CODE_SIZE,
	};
	struct hs_err *err = hs_method_variables(f->jvm, &method, &table);
	if (err)
		abort();
	check_table(f, table);
	fuzz_jvm_end(f);
	return 0;
}
