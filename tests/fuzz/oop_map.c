// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Fuzz target: oop maps of stubs. Input: byte 0, bias of UNSIGNED5 (0, 1); bytes 1 to 3, sizes of a
 * set's header, of a pair, of a map's header; number of the first stack slot, 4 bytes; offset of
 * the return address, 2 bytes; size of the frame in words, 2 bytes; the ImmutableOopMapSet.
 */

#include <stdlib.h>

#include "tests/fuzz/fuzz.h"
#include "tests/support/fake_code.h"

enum {
	MAX_BYTES = 8192,
	SEGMENTS = 64,
	FIRST_SEGMENT = 8,
	STATIC_AT = 0x43000000,
	SET_AT = 0x43010000,
	AT_OOP_MAPS = 32, // in the blob: the release's own layout leaves that free in a stub
};

static void use_field(struct fake_code *code, enum hs_field field, uint64_t offset)
{
	code->jvm->layout.fields[field] =
		(struct hs_layout_field){.present = true, .offset = offset};
}

static void use_layout(struct fake_code *code, struct fuzz_input *input)
{
	struct hs_layout *layout = &code->jvm->layout;

	layout->sizes[HS_T_oop_map_set] = fuzz_take(input, 1);
	layout->sizes[HS_T_oop_map_pair] = fuzz_take(input, 1);
	layout->sizes[HS_T_oop_map] = fuzz_take(input, 1);
	use_field(code, HS_F_blob_oop_maps, AT_OOP_MAPS);
	use_field(code, HS_F_oop_map_set_count, 0);
	use_field(code, HS_F_oop_map_pair_pc_offset, 0);
	use_field(code, HS_F_oop_map_pair_map_offset, 4);
	use_field(code, HS_F_oop_map_count, 0);
	layout->fields[HS_F_vm_reg_stack0] =
		(struct hs_layout_field){.present = true, .is_static = true, .address = STATIC_AT};
	hs_fake_u64(code->fake, STATIC_AT, fuzz_take(input, 4));
}

static void read_registers(struct fake_code *code, hs_addr pc, uint64_t frame_bytes)
{
	static struct hs_saved_registers saved; // large
	const struct hs_frame stub = {.pc = pc, .sp = FAKE_STACK};
	hs_addr end = FAKE_STACK + frame_bytes;
	struct hs_err *err = hs_code_cache_open(code->jvm);

	if (!err)
		err = hs_saved_registers_read(code->jvm, &stub, end, &saved);
	if (err || saved.count > HS_MAX_SAVED_REGISTERS)
		abort();
	for (size_t i = 0; i < saved.count; i++)
		if (saved.items[i].addr < FAKE_STACK || saved.items[i].addr >= end)
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	unsigned bias = (unsigned)fuzz_take(&input, 1) & 1;

	if (input.len > MAX_BYTES)
		return 0;
	struct fake_code *code = hs_fake_code_create(FAKE_17);
	code->jvm->unsigned5_bias = bias;
	use_layout(code, &input);
	uint16_t offset = (uint16_t)fuzz_take(&input, 2) % (SEGMENTS * FAKE_SEGMENT - 256);
	uint16_t words = (uint16_t)fuzz_take(&input, 2);
	hs_addr begin = hs_fake_code_blob(code, "monitorenter_nofpu Runtime1 stub", FIRST_SEGMENT,
	                                  SEGMENTS, words);
	hs_addr blob = begin - 64;
	hs_fake_u64(code->fake, blob + AT_OOP_MAPS, SET_AT);
	hs_fake_memory(code->fake, SET_AT, input.data, input.len);
	read_registers(code, begin + offset, 8UL * words);
	hs_fake_code_destroy(code);
	return 0;
}
