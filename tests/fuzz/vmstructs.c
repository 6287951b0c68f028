// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Fuzz target: the vmStructs tables and what is made of them. Input: the values of the 20 exported
 * variables, in the order of fake_libjvm.c; memory at FAKE_LIBJVM_TABLES, where the tables and
 * their strings are.
 */

#include <stdlib.h>

#include "tests/fuzz/fuzz.h"

enum {
	MAX_BYTES = 1 << 16,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct hs_fake *fake; // reachable, so no leak
	static size_t last_len;
	struct fuzz_input input = {data, size};
	struct hs_vmstructs *vm = NULL;
	struct hs_layout layout;
	int64_t value;

	if (!fake) {
		fake = hs_fake_create();
		struct hs_fake_libjvm *libjvm = hs_fake_libjvm_create(fake);
		hs_fake_libjvm_install(libjvm, true);
		hs_fake_libjvm_destroy(libjvm);
		last_len = 2 * MAX_BYTES; // also what installing left there
	}
	if (size > MAX_BYTES)
		return 0;
	for (hs_addr i = 0; i < FAKE_LIBJVM_SYMBOLS; i++)
		hs_fake_u64(fake, FAKE_LIBJVM_VARS + 8 * i, fuzz_take(&input, 8));
	hs_fake_memory(fake, FAKE_LIBJVM_TABLES, input.data, input.len);
	if (last_len > input.len) // tables are read by pages: zeros behind, then nothing
		hs_fake_fill(fake, FAKE_LIBJVM_TABLES + input.len, 0, last_len - input.len);
	last_len = input.len;

	struct hs_target *target = hs_fake_target(fake);
	struct hs_arena *arena = hs_arena_create();
	if (!arena)
		abort();
	struct hs_err *err = hs_vmstructs_read(
		target, hs_module_map_by_name(hs_target_modules(target), "libjvm.so"), arena, &vm);
	if (!err) {
		err = hs_layout_resolve(vm, &layout);
		(void)hs_vmstructs_constant(vm, "_thread_blocked", &value);
		(void)hs_vmstructs_sizeof(vm, "nmethod");
	}
	hs_err_free(err);
	hs_arena_destroy(arena);
	return 0;
}
