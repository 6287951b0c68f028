// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Fuzz targets: one file each, with libFuzzer's entry point. What a target does with its input is
 * said on top of its file; corpus/TARGET/ holds inputs from real JVMs (dump_streams.c) and every
 * input that found a bug. A target aborts on what must never be, sanitizers find the rest.
 */
#ifndef HS_FUZZ_H
#define HS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include "core/jvm/jvm_internal.h"
#include "tests/support/fake_libjvm.h"

/** The entry point that libFuzzer and replay.c call. @return 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/** What is left of an input. */
struct fuzz_input {
	const uint8_t *data;
	size_t len;
};

/** Next @p bytes (1 to 8) as a little-endian number; 0 at the end. */
uint64_t fuzz_take(struct fuzz_input *input, size_t bytes);

/** An open JVM in a fake target: made once, emptied for each input. */
struct fuzz_jvm {
	struct hs_fake *fake;
	struct hs_fake_libjvm *libjvm;
	struct hs_snapshot *first; /**< what opening it has allocated */
	struct hs_jvm *jvm;
	bool is_25, has_class;
};

/** Layout of hs_fake_libjvm_standard(), the same object each time. Aborts when out of memory. */
struct fuzz_jvm *fuzz_jvm_get(bool is_25);

/** A new snapshot, nothing in the caches. */
void fuzz_jvm_begin(struct fuzz_jvm *f);
void fuzz_jvm_end(struct fuzz_jvm *f);

/**
 * A class with a full constant pool: index 1 is the class's name, 2 a descriptor, 3 a file.
 * @return Klass *, at the same place each time.
 */
hs_addr fuzz_jvm_class(struct fuzz_jvm *f);

/** Free addresses behind the class. */
#define FUZZ_SPACE UINT64_C(0x11000000)

#endif // HS_FUZZ_H
