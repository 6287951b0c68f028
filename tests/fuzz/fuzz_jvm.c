// SPDX-License-Identifier: Apache-2.0
/** @file What the fuzz targets share: reading the input, and a small JVM to put it in. */

#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"

enum {
	META = 0x10000000,
	KLASS = META,
	NAME = META + 0x100,
	CLD = META + 0x200,
	SYMBOLS = META + 0x1000, // of 64 bytes
	POOL = META + 0x8000,
	POOL_HEADER = 24,
	POOL_SLOTS = 65536, // whatever index a stream has
	NUM_SYMBOLS = 64,
};

uint64_t fuzz_take(struct fuzz_input *input, size_t bytes)
{
	uint64_t value = 0;
	size_t len = bytes < input->len ? bytes : input->len;

	memcpy(&value, input->data, len);
	input->data += len;
	input->len -= len;
	return value;
}

static struct fuzz_jvm *create(bool is_25)
{
	struct fuzz_jvm *f = calloc(1, sizeof(*f));

	if (!f)
		abort();
	f->is_25 = is_25;
	f->fake = hs_fake_create();
	f->libjvm = hs_fake_libjvm_create(f->fake);
	f->first = hs_snapshot_create();
	hs_fake_libjvm_standard(f->libjvm, is_25);
	hs_fake_libjvm_int(f->libjvm, "FieldInfo::FieldFlags::_ff_contended", 4);
	hs_fake_libjvm_static(f->libjvm, "Symbol", "_vm_symbols[0]", "Symbol*", POOL);
	hs_fake_libjvm_flag(f->libjvm, "UseCompressedOops", 1, 1);
	hs_fake_libjvm_flag(f->libjvm, "UseCompressedClassPointers", 1, 1);
	hs_fake_libjvm_install(f->libjvm, true);
	struct hs_err *err = hs_jvm_open(hs_fake_target(f->fake), f->first, &f->jvm);
	if (err)
		abort();
	return f;
}

struct fuzz_jvm *fuzz_jvm_get(bool is_25)
{
	static struct fuzz_jvm *jvms[2]; // reachable, so no leak

	if (!jvms[is_25])
		jvms[is_25] = create(is_25);
	return jvms[is_25];
}

void fuzz_jvm_begin(struct fuzz_jvm *f)
{
	struct hs_snapshot *snapshot = hs_snapshot_create();

	if (!snapshot)
		abort();
	f->jvm->snapshot = snapshot;
	f->jvm->arena = snapshot->arena;
}

void fuzz_jvm_end(struct fuzz_jvm *f)
{
	struct hs_jvm *jvm = f->jvm;

	for (size_t i = 0; i < jvm->methods.cap; i++) {
		struct hs_method *method = jvm->methods.slots[i].value;

		if (method)
			hs_map64_deinit(&method->locations);
	}
	hs_map64_deinit(&jvm->methods);
	hs_map64_deinit(&jvm->klasses);
	hs_map64_deinit(&jvm->symbols);
	hs_snapshot_destroy(jvm->snapshot);
	jvm->snapshot = f->first;
	jvm->arena = f->first->arena;
}

static void put_symbol(struct hs_fake *fake, hs_addr addr, const char *text)
{
	hs_fake_fill(fake, addr, 0, 64);
	hs_fake_u16(fake, addr + 4, (uint16_t)strlen(text));
	hs_fake_memory(fake, addr + 6, text, strlen(text));
}

hs_addr fuzz_jvm_class(struct fuzz_jvm *f)
{
	static const char *const texts[] = {"name", "app/Run", "()V", "Run.java", "I"};

	if (f->has_class)
		return KLASS;
	f->has_class = true;
	hs_fake_fill(f->fake, KLASS, 0, 128);
	put_symbol(f->fake, NAME, "app/Run");
	hs_fake_u32(f->fake, KLASS + 8, 16); // an instance of 16 bytes
	hs_fake_u64(f->fake, KLASS + 16, NAME);
	hs_fake_u64(f->fake, KLASS + 40, CLD);
	hs_fake_fill(f->fake, CLD, 0, 64);
	hs_fake_fill(f->fake, POOL, 0, POOL_HEADER);
	hs_fake_u64(f->fake, POOL + 8, KLASS);
	hs_fake_u16(f->fake, POOL + 16, 3);
	for (hs_addr i = 0; i < NUM_SYMBOLS; i++)
		put_symbol(f->fake, SYMBOLS + 64 * i, texts[i < 5 ? i : 0]);
	for (hs_addr i = 0; i < POOL_SLOTS; i++)
		hs_fake_u64(f->fake, POOL + POOL_HEADER + 8 * i, SYMBOLS + 64 * (i % NUM_SYMBOLS));
	hs_fake_u64(f->fake, KLASS + 56, POOL);
	return KLASS;
}
