// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Input of the fuzz target stack_chunks, which dump_chunks.c writes: byte 0, mode; then up to
 * FUZZ_MAX_CHUNKS records, innermost first: a struct fuzz_chunk, its words. Words that are
 * addresses are tokens: FUZZ_TOKEN, what it stands for, a number.
 */
#ifndef HS_FUZZ_STACK_CHUNKS_H
#define HS_FUZZ_STACK_CHUNKS_H

#include <stdint.h>

enum {
	FUZZ_MAX_CHUNKS = 6,
	FUZZ_CHUNK_WORDS = 1024,
	FUZZ_FRAMES = 30, /**< compiled methods: number i has a frame of i + 2 words */
	FUZZ_METHODS = 4,
	FUZZ_BCI_BITS = 5, /**< lower bits of the number of a bytecode's address */
};

/** Bits of the mode. */
enum fuzz_chunk_mode {
	FUZZ_BY_ARGSIZE = 1, /**< 21.0.2: fuzz_chunk.bottom is argsize */
	FUZZ_COMPRESSED = 2, /**< oops in fields are */
};

enum fuzz_token {
	FUZZ_IN_INTERPRETER,
	FUZZ_COMPILED, /**< number: which method */
	FUZZ_STUB,
	FUZZ_METHOD, /**< Method * */
	FUZZ_BCP,    /**< number: method << FUZZ_BCI_BITS | bci */
	FUZZ_OBJECT,
	FUZZ_CHUNK_OOP, /**< number: which chunk */
};

#define FUZZ_TOKEN(kind, number) \
	(UINT64_C(0x7ab0) << 48 | (uint64_t)(kind) << 32 | (uint32_t)(number))

struct fuzz_chunk {
	uint8_t parent; /**< number of the chunk + 1; 0: none */
	uint8_t flags, lock_stack_size;
	uint8_t is_other; /**< an object that is no chunk */
	uint32_t size, sp, bottom;
	uint32_t num_words; /**< that follow; the rest is 0 */
};

#endif // HS_FUZZ_STACK_CHUNKS_H
