// SPDX-License-Identifier: Apache-2.0
/** @file Fuzz target: stacks of virtual threads in stack chunks. Input: see stack_chunks.h. */

#include "tests/fuzz/stack_chunks.h"

#include <stdlib.h>
#include <string.h>

#include "core/jvm/virtual_threads.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/fake_code.h"

enum {
	MAX_BYTES = 1 << 16,
	CHUNKS_AT = 0x30000000,
	CHUNK_STRIDE = 0x10000,
	HEADER = 64,
	PARENT = 16,
	SIZE = 24,
	SP = 28,
	BOTTOM = 32,
	FLAGS = 36,
	LOCKS = 37,
	MAX_LOCKS = 8,
	RETURN_AT = 0x20, // in each compiled method
};

struct world {
	struct fake_code *code;
	struct hs_vthread_table table;
	struct hs_method *methods[FUZZ_METHODS];
	hs_addr compiled[FUZZ_FRAMES];
	hs_addr stub, object, chunk_class, other_class;
};

static hs_addr class_of(struct world *w, hs_addr object)
{
	const struct hs_klass *klass;
	struct hs_err *err = hs_oop_klass(w->code->jvm, object, &klass);

	if (err)
		abort();
	return klass->addr;
}

/** A method in which another is inlined, with a lock in the stack. */
static hs_addr make_compiled(struct world *w, uint32_t number)
{
	static const uint8_t scopes[] = {
		0xff,                  // offset 0 means none; numbers are one more than they say
		2,    2, 1, 131, 0,    // a monitor: BasicLock, location in the stack at +16
		1,    2, 5, 1,   1, 2, // at 6: method 1 at bci 3
		7,    3, 6, 1,   1, 2, // at 12: method 2, inlined there
	};
	const struct hs_method *metadata[] = {w->methods[0], w->methods[1], NULL};
	hs_addr begin = hs_fake_code_nmethod(w->code, 8 * number, 8, (int32_t)number + 2,
	                                     &(struct fake_nmethod){
						     .method = w->methods[0],
						     .metadata = metadata,
						     .scopes = scopes,
						     .scopes_len = sizeof(scopes),
						     .descs = {{-1, 0, 0}, {RETURN_AT, 12, 0}},
						     .tier = 4,
        });

	return begin + RETURN_AT;
}

static void world_create(struct world *w, unsigned mode)
{
	static const char *const names[FUZZ_METHODS] = {"a", "b", "c", "d"};

	w->code = hs_fake_code_create(FAKE_25);
	struct hs_jvm *jvm = w->code->jvm;
	w->table.layout = (struct hs_vthread_layout){
		.chunk_header = HEADER,
		.chunk_parent = PARENT,
		.chunk_size = SIZE,
		.chunk_sp = SP,
		.chunk_bottom = mode & FUZZ_BY_ARGSIZE ? 0 : BOTTOM,
		.chunk_argsize = mode & FUZZ_BY_ARGSIZE ? BOTTOM : 0,
		.chunk_flags = FLAGS,
		.chunk_lock_stack_size = LOCKS,
	};
	jvm->vthreads = &w->table;
	jvm->compressed_oops = mode & FUZZ_COMPRESSED;
	jvm->narrow_oop_shift = 3;
	for (size_t i = 0; i < FUZZ_METHODS; i++)
		w->methods[i] = hs_fake_code_method(w->code, names[i]);
	for (uint32_t i = 0; i < FUZZ_FRAMES; i++)
		w->compiled[i] = make_compiled(w, i);
	w->stub = hs_fake_code_blob(w->code, "StubRoutines (cont_thaw)", 0x150, 8, 4);
	w->object = hs_fake_code_object(w->code, "app/Lock");
	w->other_class = class_of(w, w->object);
	w->chunk_class = class_of(w, hs_fake_code_object(w->code, "jdk/internal/vm/StackChunk"));
	struct hs_err *err = hs_code_cache_open(jvm);
	if (err)
		abort();
}

static uint64_t resolve(const struct world *w, uint64_t word)
{
	uint32_t number = (uint32_t)word;
	const struct hs_method *method;

	if (word >> 48 != FUZZ_TOKEN(0, 0) >> 48)
		return word;
	switch (word >> 32 & 0xffff) {
	case FUZZ_IN_INTERPRETER:
		return FAKE_INTERPRETER + 0x200;
	case FUZZ_COMPILED:
		return w->compiled[number % FUZZ_FRAMES];
	case FUZZ_STUB:
		return w->stub + 8;
	case FUZZ_METHOD:
		return w->methods[number % FUZZ_METHODS]->addr;
	case FUZZ_BCP:
		method = w->methods[(number >> FUZZ_BCI_BITS) % FUZZ_METHODS];
		return method->code_base + number % (1 << FUZZ_BCI_BITS);
	case FUZZ_OBJECT:
		return w->object;
	case FUZZ_CHUNK_OOP:
		return CHUNKS_AT + (hs_addr)(number % FUZZ_MAX_CHUNKS) * CHUNK_STRIDE;
	default:
		return word;
	}
}

static void put_parent(struct world *w, hs_addr at, unsigned parent)
{
	hs_addr oop = parent ? CHUNKS_AT + (hs_addr)(parent - 1) * CHUNK_STRIDE : 0;

	if (w->code->jvm->compressed_oops)
		hs_fake_u32(w->code->fake, at, (uint32_t)(oop >> 3));
	else
		hs_fake_u64(w->code->fake, at, oop);
}

static void put_chunk(struct world *w, hs_addr at, struct fuzz_input *input)
{
	struct hs_fake *fake = w->code->fake;
	unsigned parent = (unsigned)fuzz_take(input, 1);

	hs_fake_fill(fake, at, 0, HEADER + 8UL * FUZZ_CHUNK_WORDS);
	hs_fake_u64(fake, at, 1);
	put_parent(w, at + PARENT, parent);
	hs_fake_u8(fake, at + FLAGS, (uint8_t)fuzz_take(input, 1));
	hs_fake_u8(fake, at + LOCKS, (uint8_t)fuzz_take(input, 1));
	hs_fake_u64(fake, at + 8, fuzz_take(input, 1) ? w->other_class : w->chunk_class);
	hs_fake_u32(fake, at + SIZE, (uint32_t)fuzz_take(input, 4));
	hs_fake_u32(fake, at + SP, (uint32_t)fuzz_take(input, 4));
	hs_fake_u32(fake, at + BOTTOM, (uint32_t)fuzz_take(input, 4));
	uint32_t count = (uint32_t)fuzz_take(input, 4);
	for (uint32_t i = 0; i < count && i < FUZZ_CHUNK_WORDS && input->len; i++)
		hs_fake_u64(fake, at + HEADER + 8UL * i, resolve(w, fuzz_take(input, 8)));
}

static void read_chunks(struct world *w)
{
	struct hs_frame_list *list = &w->code->list;
	hs_addr objects[MAX_LOCKS], slots[MAX_LOCKS];
	struct hs_jvm *jvm = w->code->jvm;
	size_t count = 0;

	hs_err_free(hs_chunk_frames(jvm, CHUNKS_AT, HS_NONE, list));
	if (jvm->in_chunk || jvm->stack_oops != HS_STACK_OOPS_RAW)
		abort();
	for (size_t i = 0; i < list->frames.len; i++) {
		const struct hs_frame *frame = &list->frames.items[i];

		if (!frame->location || !frame->in_chunk)
			abort();
	}
	hs_err_free(hs_chunk_lock_stack(jvm, CHUNKS_AT, objects, slots, MAX_LOCKS, &count));
	if (count > MAX_LOCKS)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	unsigned mode = (unsigned)fuzz_take(&input, 1);
	struct world w = {0};

	if (input.len > MAX_BYTES)
		return 0;
	world_create(&w, mode);
	for (hs_addr i = 0; i < FUZZ_MAX_CHUNKS && input.len; i++)
		put_chunk(&w, CHUNKS_AT + i * CHUNK_STRIDE, &input);
	read_chunks(&w);
	hs_fake_code_destroy(w.code);
	return 0;
}
