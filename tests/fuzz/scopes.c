// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Fuzz target: debug information of compiled code. Input: byte 0, layout (0: 8, 1: 17, 2: 25) and
 * in bit 7 "look for the pc itself, not for the next one"; two signed numbers of 4 bytes, offsets
 * of the scope and of its pool of objects, as in a PcDesc; the scopes data.
 */

#include <stdlib.h>

#include "tests/fuzz/fuzz.h"
#include "tests/support/fake_code.h"

enum {
	MAX_BYTES = 8192,
	NUM_METHODS = 64, // also of oops
	NUM_LOCALS = 8,
	PC = 0x20,
};

struct world {
	struct fake_code *code;
	struct hs_method *method;
	hs_addr object;
	hs_addr next;
	struct hs_snapshot *first;
};

static struct world *world_get(unsigned release)
{
	static struct world worlds[3]; // reachable, so no leak
	struct world *w = &worlds[release];

	if (!w->code) {
		w->code = hs_fake_code_create((enum fake_release)release);
		w->method = hs_fake_code_method(w->code, "run");
		w->object = hs_fake_code_object(w->code, "java/lang/Class");
		w->next = w->code->next;
		w->first = w->code->snapshot;
	}
	return w;
}

/** hs_fake_code_nmethod() has room for 4 methods and oops; this is what real streams name. */
static void put_tables(struct world *w, hs_addr pc)
{
	enum { // of fake_code.c
		CODE_OFFSET = 256,
		METADATA = 0x3000,
		OOPS = 0x3400,
	};
	hs_addr blob = pc - CODE_OFFSET;
	struct hs_fake *fake = w->code->fake;

	for (hs_addr i = 0; i < NUM_METHODS; i++) {
		hs_fake_u64(fake, blob + METADATA + 8 * i, w->method->addr);
		hs_fake_u64(fake, blob + OOPS + 8 * i, i % 8 == 7 ? 0 : w->object);
	}
	if (w->code->release == FAKE_25) {
		hs_fake_u64(fake, blob + 32, blob + METADATA - 8); // 8 bytes of relocations
		hs_fake_u32(fake, blob + 40, 8 + 8 * NUM_METHODS);
		hs_fake_u32(fake, blob + 28, OOPS);
	} else {
		hs_fake_u32(fake, blob + 100, METADATA);
		hs_fake_u32(fake, blob + 104, OOPS);
	}
}

static void decode(struct hs_jvm *jvm, hs_addr pc, bool exact)
{
	const struct hs_code_site *site = NULL;
	struct hs_scope_value value;
	struct hs_err *err = hs_code_site_get(jvm, pc, exact, &site);

	if (err)
		abort();
	for (size_t i = 0; i < site->num_scopes; i++) {
		const struct hs_scope *scope = &site->scopes[i];

		if (!scope->method || !scope->location)
			abort();
		for (unsigned slot = 0; slot < NUM_LOCALS; slot++)
			hs_err_free(hs_scope_local(jvm, site->blob->nmethod, scope, slot, &value));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	unsigned mode = (unsigned)fuzz_take(&input, 1);
	int32_t scope = (int32_t)fuzz_take(&input, 4), objects = (int32_t)fuzz_take(&input, 4);
	struct world *w = world_get((mode & 0x7f) % 3);
	struct hs_jvm *jvm = w->code->jvm;

	if (input.len > MAX_BYTES)
		return 0;
	struct hs_snapshot *snapshot = hs_snapshot_create();
	if (!snapshot)
		abort();
	jvm->snapshot = snapshot;
	jvm->arena = snapshot->arena;
	w->code->next = w->next;
	hs_addr pc = hs_fake_code_nmethod(w->code, 8, 0x80, 6,
	                                  &(struct fake_nmethod){
						  .method = w->method,
						  .scopes = input.data,
						  .scopes_len = input.len,
						  .descs = {{-1, 0, 0}, {PC, scope, objects}},
						  .tier = 4,
        });
	put_tables(w, pc);
	struct hs_err *err = hs_code_cache_open(jvm);
	if (err)
		abort();
	decode(jvm, pc + PC, mode & 0x80);
	hs_code_cache_close(jvm);
	hs_map64_deinit(&w->method->locations);
	jvm->snapshot = w->first;
	jvm->arena = w->first->arena;
	hs_snapshot_destroy(snapshot);
	return 0;
}
