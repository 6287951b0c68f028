// SPDX-License-Identifier: Apache-2.0
/** @file Dump streams: tables of local variables, oop maps of stubs, stack chunks. */

#include <string.h>

#include "core/jvm/java_frames.h"
#include "core/jvm/virtual_threads.h"
#include "tests/fuzz/dump.h"
#include "tests/fuzz/stack_chunks.h"

enum {
	MAX_WORDS = 240, // of a stack in the corpus
	MAX_CODED = 10,  // bytes of a value in an oop map
};

void dump_local_table(struct dump *d, hs_addr addr)
{
	const struct hs_layout *layout = &d->jvm->layout;
	bool is_u4 = hs_layout_has(layout, HS_F_const_method_flags_u4);
	const struct hs_variable_table *table = NULL;
	struct hs_method *method = NULL;
	uint32_t words = 0, flags = 0;
	uint8_t kind = is_u4;
	struct bytes out = {0};

	if (!dump_wants(d, "local_table") || d->written_tables == DUMP_FEW)
		return;
	struct hs_err *err = hs_method_get(d->jvm, addr, &method);
	if (!err)
		err = hs_method_variables(d->jvm, method, &table);
	hs_err_free(err);
	if (err || !table->len)
		return;
	hs_addr const_method = method->code_base - layout->sizes[HS_T_const_method];
	hs_addr start = method->code_base + method->code_size;
	if (!dump_load(d, const_method + hs_layout_offset(layout, HS_F_const_method_size), &words,
	               sizeof(words)) ||
	    !dump_load(d,
	               const_method + hs_layout_offset(layout, is_u4 ? HS_F_const_method_flags_u4
	                                                             : HS_F_const_method_flags_u2),
	               &flags, is_u4 ? 4 : 2))
		return;
	uint64_t size = const_method + 8 * (uint64_t)words - start;
	if (!size || size >= DUMP_MAX_FILE || d->seen_tables[size])
		return;
	dump_put(&out, &kind, 1);
	dump_put(&out, &flags, 4);
	dump_put(&out, &table->max_locals, 2);
	if (start % 8) // the target's bytecodes end at a word
		dump_put(&out, &(uint64_t){0}, start % 8);
	if (!dump_load(d, start, out.data + out.len, size))
		return;
	out.len += size;
	d->seen_tables[size] = true;
	dump_save(d, "local_table", d->written_tables++, &out);
}

// ---- oop maps

/** The pair whose map tells most registers; false: none does. */
static bool find_pair(struct dump *d, const struct hs_blob *blob, hs_addr set, uint16_t *ret)
{
	static struct hs_saved_registers saved; // large
	uint32_t count = 0, pc_offset;
	size_t most = 0;

	if (!dump_load(d, set, &count, sizeof(count)))
		return false;
	for (uint32_t i = 0; i < count && i < 64; i++) {
		hs_addr pair = set + d->jvm->layout.sizes[HS_T_oop_map_set] +
		               i * d->jvm->layout.sizes[HS_T_oop_map_pair];

		if (!dump_load(d, pair, &pc_offset, sizeof(pc_offset)))
			return false;
		struct hs_frame stub = {.pc = blob->code_begin + pc_offset, .sp = 0x1000};
		struct hs_err *err =
			hs_saved_registers_read(d->jvm, &stub, stub.sp + blob->frame_size, &saved);
		hs_err_free(err);
		if (err || saved.count <= most)
			continue;
		most = saved.count;
		*ret = (uint16_t)pc_offset;
	}
	return most > 0;
}

void dump_oop_maps(struct dump *d, const struct hs_blob *blob)
{
	const struct hs_layout *layout = &d->jvm->layout;
	uint16_t words = (uint16_t)(blob->frame_size / 8), pc_offset = 0;
	uint32_t stack0 = 0, sizes[2] = {0};
	struct bytes out = {0};

	if (!dump_wants(d, "oop_map") || d->written_maps == DUMP_FEW || !blob->frame_size ||
	    !hs_layout_has(layout, HS_F_blob_oop_maps) ||
	    !hs_layout_has(layout, HS_F_vm_reg_stack0))
		return;
	hs_addr set = dump_word(d, blob->addr, HS_F_blob_oop_maps);
	if (!set || !find_pair(d, blob, set, &pc_offset) ||
	    !dump_load(d, set, sizes, sizeof(sizes)) ||
	    !dump_load(d, hs_layout_static(layout, HS_F_vm_reg_stack0), &stack0, sizeof(stack0)))
		return;
	// ImmutableOopMapSet::_size follows _count (oopMap.hpp, 9 to 28); its last map may be cut.
	uint32_t size = sizes[1];
	if (size < 8 || size > DUMP_MAX_FILE)
		return;
	dump_put(&out, &(uint8_t){(uint8_t)d->jvm->unsigned5_bias}, 1);
	dump_put(&out, &(uint8_t){(uint8_t)layout->sizes[HS_T_oop_map_set]}, 1);
	dump_put(&out, &(uint8_t){(uint8_t)layout->sizes[HS_T_oop_map_pair]}, 1);
	dump_put(&out, &(uint8_t){(uint8_t)layout->sizes[HS_T_oop_map]}, 1);
	dump_put(&out, &stack0, 4);
	dump_put(&out, &pc_offset, 2);
	dump_put(&out, &words, 2);
	if (!dump_load(d, set, out.data + out.len, size))
		return;
	out.len += size;
	// The reader copies as many bytes as the values may have.
	memset(out.data + out.len, 0, (size_t)MAX_CODED * 64);
	out.len += (size_t)MAX_CODED * 64;
	dump_save(d, "oop_map", d->written_maps++, &out);
}

// ---- stack chunks

/** A chunk of the JVM, as it is. */
struct source {
	hs_addr addr, stack, end;
	hs_addr parent;
	struct fuzz_chunk head;
	uint64_t words[MAX_WORDS];
};

static bool load_chunk(struct dump *d, hs_addr addr, struct source *ret)
{
	const struct hs_vthread_layout *layout = &d->jvm->vthreads->layout;

	*ret = (struct source){.addr = addr, .stack = addr + layout->chunk_header};
	if (!dump_load(d, addr + layout->chunk_size, &ret->head.size, 4) ||
	    !dump_load(d, addr + layout->chunk_sp, &ret->head.sp, 4) ||
	    !dump_load(d, addr + (layout->chunk_bottom ?: layout->chunk_argsize), &ret->head.bottom,
	               4))
		return false;
	if (layout->chunk_flags)
		(void)dump_load(d, addr + layout->chunk_flags, &ret->head.flags, 1);
	if (layout->chunk_lock_stack_size)
		(void)dump_load(d, addr + layout->chunk_lock_stack_size, &ret->head.lock_stack_size,
		                1);
	ret->head.num_words = ret->head.size;
	if (ret->head.size > MAX_WORDS ||
	    !dump_load(d, ret->stack, ret->words, 8UL * ret->head.size))
		return false;
	ret->end = ret->stack + 8UL * ret->head.size;
	hs_err_free(hs_oop_load(d->jvm, addr + layout->chunk_parent, &ret->parent));
	return true;
}

/** The words of an interpreter frame (frame_x86.hpp) that point out of the chunk. */
static void hide_interpreted(struct source *s, uint64_t sp)
{
	uint64_t fp = sp - 2 + s->words[sp - 2];

	if (fp < 8 || fp >= s->head.size)
		return;
	s->words[fp - 3] = FUZZ_TOKEN(FUZZ_METHOD, sp % FUZZ_METHODS);
	s->words[fp - 8] = FUZZ_TOKEN(FUZZ_BCP, sp % FUZZ_METHODS << FUZZ_BCI_BITS | sp % 32);
}

static bool hide_frame(struct dump *d, struct source *s, const struct hs_frame *frame)
{
	uint64_t sp = (frame->sp - s->stack) / 8;
	const struct hs_blob *blob;

	if (frame->sp < s->stack + 16 || sp >= s->head.size)
		return true; // of another chunk
	hs_addr pc = s->words[sp - 1];
	if (pc >> 48) // inlined: it is done
		return true;
	if (hs_code_cache_is_interpreter(d->jvm->code_cache, pc)) {
		hide_interpreted(s, sp);
		s->words[sp - 1] = FUZZ_TOKEN(FUZZ_IN_INTERPRETER, 0);
		return true;
	}
	struct hs_err *err = hs_code_cache_blob(d->jvm, pc, &blob);
	hs_err_free(err);
	if (err || blob->frame_size < 16 || blob->frame_size / 8 - 2 >= FUZZ_FRAMES)
		return false;
	s->words[sp - 1] = FUZZ_TOKEN(FUZZ_COMPILED, blob->frame_size / 8 - 2);
	return true;
}

/** No address of the JVM is kept. */
static void hide_rest(struct source *s)
{
	for (uint32_t i = 0; i < s->head.size; i++)
		if (s->words[i] >> 48 != FUZZ_TOKEN(0, 0) >> 48 && s->words[i] >> 24 &&
		    (int64_t)s->words[i] >> 24 != -1)
			s->words[i] = FUZZ_TOKEN(FUZZ_OBJECT, 0);
}

static void dump_stack(struct dump *d, const struct hs_vthread *vthread)
{
	const struct hs_thread *thread = &d->jvm->snapshot->threads.items[vthread->thread];
	uint8_t mode = d->jvm->vthreads->layout.chunk_bottom ? 0 : FUZZ_BY_ARGSIZE;
	static struct source s; // large
	hs_addr chunk = vthread->chunk;
	struct bytes out = {0};

	if (d->jvm->compressed_oops)
		mode |= FUZZ_COMPRESSED;
	dump_put(&out, &mode, 1);
	for (uint8_t n = 1; chunk && n <= FUZZ_MAX_CHUNKS; n++, chunk = s.parent) {
		if (!load_chunk(d, chunk, &s))
			return;
		for (uint32_t i = 0; i < thread->num_frames; i++)
			if (!hide_frame(d, &s, &thread->frames[i]))
				return;
		hide_rest(&s);
		s.head.parent = s.parent ? n + 1 : 0;
		dump_put(&out, &s.head, sizeof(s.head));
		dump_put(&out, s.words, 8UL * s.head.num_words);
	}
	dump_save(d, "stack_chunks", d->written_stacks++, &out);
}

void dump_chunks(struct dump *d)
{
	uint32_t last = 0;

	if (!dump_wants(d, "stack_chunks") || !d->jvm->vthreads)
		return;
	hs_vec_each (vthread, &d->jvm->vthreads->items) {
		if (!vthread->chunk || vthread->is_mounted || vthread->thread == HS_NONE ||
		    d->written_stacks == DUMP_FEW)
			continue;
		uint32_t count = d->jvm->snapshot->threads.items[vthread->thread].num_frames;
		if (count == last) // the same again
			continue;
		last = count;
		dump_stack(d, vthread);
	}
}
