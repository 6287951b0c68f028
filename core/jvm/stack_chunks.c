// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Stack chunks: the frames of a virtual thread that is not on a carrier lie in heap objects, as
 * they lay on the stack but with relative frame pointers (stackChunkOop.hpp, continuationFreezeThaw
 * .cpp, 21 to 28; x86_64).
 */

#include <inttypes.h>
#include <string.h>

#include "core/jvm/java_frames.h"
#include "core/jvm/locks.h"
#include "core/jvm/virtual_threads.h"

enum {
	WORD = 8,
	// stackChunkOopDesc::FLAG_GC_MODE: a collector has seen it, and its oops are as in fields:
	// compressed, or coloured. Before that they are as on a stack. 21 to 28.
	FLAG_GC_MODE = 0x08,
	MAX_HEADER = 256,
};

struct chunk {
	hs_addr addr;
	hs_addr stack;   /**< first word of its stack area */
	hs_addr sp, end; /**< innermost frame; end of the outermost */
	hs_addr parent;
	uint8_t flags;
	uint8_t lock_stack_size;
};

static uint32_t get_u32(const uint8_t *bytes, uint32_t offset)
{
	uint32_t value = 0;

	if (offset && offset + sizeof(value) <= MAX_HEADER)
		memcpy(&value, bytes + offset, sizeof(value));
	return value;
}

static uint8_t get_u8(const uint8_t *bytes, uint32_t offset)
{
	return offset < MAX_HEADER ? bytes[offset] : 0;
}

static struct hs_err *check_klass(struct hs_jvm *jvm, hs_addr addr)
{
	const struct hs_klass *klass;
	struct hs_err *err = hs_oop_klass(jvm, addr, &klass);

	if (!err && strcmp(klass->name, "jdk/internal/vm/StackChunk") != 0)
		err = hs_err_new(HS_ERR_BAD_DATA, "0x%" PRIx64 " is no stack chunk but a %s", addr,
		                 klass->external_name);
	return err;
}

static struct hs_err *read_chunk(struct hs_jvm *jvm, hs_addr addr, struct chunk *ret)
{
	const struct hs_vthread_layout *layout = &jvm->vthreads->layout;
	uint8_t header[MAX_HEADER] = {0};
	struct hs_err *err;

	if (!layout->chunk_header || layout->chunk_header > MAX_HEADER || !layout->chunk_sp ||
	    !layout->chunk_size || !(layout->chunk_bottom || layout->chunk_argsize))
		return hs_err_new(HS_ERR_UNSUPPORTED, "the layout of StackChunk is not known");
	err = check_klass(jvm, addr);
	if (!err)
		err = hs_target_read(jvm->target, addr, header, layout->chunk_header);
	if (err)
		return err;
	uint32_t size = get_u32(header, layout->chunk_size);
	uint32_t sp = get_u32(header, layout->chunk_sp);
	uint32_t bottom = get_u32(header, layout->chunk_bottom);
	// 21.0.2: argsize is what the outermost frame has of its caller; since: bottom, without it.
	if (!layout->chunk_bottom)
		bottom = size - get_u32(header, layout->chunk_argsize);
	if (size > HS_MAX_CHUNK_WORDS || bottom > size || sp > size)
		return hs_err_new(HS_ERR_BAD_DATA,
		                  "stack chunk 0x%" PRIx64 ": size %u, sp %u, bottom %u", addr,
		                  size, sp, bottom);
	*ret = (struct chunk){.addr = addr, .stack = addr + layout->chunk_header};
	ret->sp = ret->stack + (uint64_t)sp * WORD;
	ret->end = ret->stack + (uint64_t)bottom * WORD;
	if (layout->chunk_flags)
		ret->flags = get_u8(header, layout->chunk_flags);
	if (layout->chunk_lock_stack_size)
		ret->lock_stack_size = get_u8(header, layout->chunk_lock_stack_size);
	return hs_oop_load(jvm, addr + layout->chunk_parent, &ret->parent);
}

static enum hs_stack_oops oops_of(const struct hs_jvm *jvm, const struct chunk *chunk)
{
	if (!(chunk->flags & FLAG_GC_MODE))
		return HS_STACK_OOPS_RAW;
	return jvm->compressed_oops ? HS_STACK_OOPS_NARROW : HS_STACK_OOPS_FIELD;
}

// ---- frames

/** One frame of the walk. */
struct position {
	hs_addr sp, unextended_sp;
	bool at_end;
};

/** An interpreter frame: its frame pointer is relative to the slot that the callee saved it in. */
static struct hs_err *step_interpreted(struct hs_jvm *jvm, const struct chunk *chunk,
                                       struct hs_cursor *cursor, uint64_t link, struct position *at,
                                       struct hs_frame_list *list)
{
	struct hs_interpreter_links links;
	struct hs_err *err;
	hs_addr fp = at->sp - 2 * WORD + link * WORD;

	if (fp < at->sp || fp > chunk->end)
		return hs_err_new(HS_ERR_BAD_DATA,
		                  "interpreter frame 0x%" PRIx64 " is outside of its stack chunk",
		                  fp);
	hs_regs_set(&cursor->regs, HS_REG_SP, at->sp);
	hs_regs_set(&cursor->regs, HS_REG_FP, fp);
	err = hs_interpreter_describe(jvm, cursor, list, &links);
	if (err)
		return err;
	// The outermost frame's locals lie where its caller's frame was: nothing follows.
	at->at_end = links.locals + WORD >= chunk->end;
	at->sp = fp + 2 * WORD;
	at->unextended_sp = fp + links.sender_sp * WORD;
	if (!at->at_end && (at->unextended_sp < at->sp || at->unextended_sp > chunk->end))
		return hs_err_new(HS_ERR_BAD_DATA,
		                  "interpreter frame 0x%" PRIx64
		                  ": its caller is outside of its stack chunk",
		                  fp);
	return NULL;
}

static struct hs_err *step_blob(struct hs_jvm *jvm, const struct chunk *chunk,
                                struct hs_cursor *cursor, uint64_t link, struct position *at,
                                struct hs_frame_list *list)
{
	hs_addr pc = cursor->regs.value[HS_REG_PC];
	const struct hs_code_site *site;
	struct hs_frame *frame;
	struct hs_err *err;

	err = hs_code_site_get(jvm, pc, true, &site);
	if (hs_err_catch(&err, HS_ERR_ABSENT))
		err = hs_err_new(HS_ERR_BAD_DATA,
		                 "pc 0x%" PRIx64 " of a stack chunk is in no code we know", pc);
	if (err)
		return err;
	uint64_t size = site->blob->frame_size;
	if (size < 2 * WORD || size > chunk->end - at->sp)
		return hs_err_new(HS_ERR_BAD_DATA,
		                  "the frame at pc 0x%" PRIx64 " does not fit its stack chunk", pc);
	hs_regs_set(&cursor->regs, HS_REG_SP, at->unextended_sp);
	hs_regs_set(&cursor->regs, HS_REG_FP, link);
	if (site->blob->nmethod)
		err = hs_compiled_describe(jvm, cursor, site, at->unextended_sp, list);
	else
		err = hs_java_frame_add(list, cursor, site->blob->location, at->sp, &frame);
	at->unextended_sp += size;
	at->sp = at->unextended_sp;
	return err;
}

static struct hs_err *walk_chunk(struct hs_jvm *jvm, const struct chunk *chunk, uint32_t thread,
                                 struct hs_frame_list *list)
{
	struct position at = {.sp = chunk->sp, .unextended_sp = chunk->sp};
	struct hs_err *err = NULL;

	// Each step goes up by a frame at least; their number is bounded by the list.
	while (!err && !at.at_end && at.sp < chunk->end) {
		struct hs_cursor cursor = {.thread = thread};
		uint64_t words[2]; // the caller's link, the return address: below each frame

		if (at.sp < chunk->stack + sizeof(words))
			return hs_err_new(HS_ERR_BAD_DATA, "stack chunk 0x%" PRIx64 " overflows",
			                  chunk->addr);
		err = hs_target_read(jvm->target, at.sp - sizeof(words), words, sizeof(words));
		if (err)
			return err;
		hs_regs_set(&cursor.regs, HS_REG_PC, words[1]);
		err = hs_code_cache_is_interpreter(jvm->code_cache, words[1])
		              ? step_interpreted(jvm, chunk, &cursor, words[0], &at, list)
		              : step_blob(jvm, chunk, &cursor, words[0], &at, list);
	}
	return err;
}

/** Does the chain that starts at @p addr come to an end? Where it cannot be read, it does. */
static struct hs_err *check_chain(struct hs_jvm *jvm, hs_addr addr)
{
	struct hs_list_walk walk = {0};
	struct chunk chunk;

	for (; addr; addr = chunk.parent) {
		if (hs_list_walk_ends(&walk, addr, HS_MAX_CHAIN))
			return hs_err_new(HS_ERR_BAD_DATA, "its chain of stack chunks has no end");
		struct hs_err *err = read_chunk(jvm, addr, &chunk);
		if (err && hs_err_code(err) == HS_ERR_OOM)
			return err;
		hs_err_free(err); // the walk will tell
		if (err)
			break;
	}
	return NULL;
}

static struct hs_err *walk_one(struct hs_jvm *jvm, const struct chunk *chunk, uint32_t thread,
                               struct hs_frame_list *list)
{
	size_t first = list->frames.len;
	struct hs_err *err;

	jvm->stack_oops = oops_of(jvm, chunk);
	jvm->in_chunk = true;
	err = walk_chunk(jvm, chunk, thread, list);
	for (size_t i = first; i < list->frames.len; i++)
		list->frames.items[i].in_chunk = true;
	jvm->in_chunk = false;
	jvm->stack_oops = HS_STACK_OOPS_RAW;
	jvm->vthreads->chunk_frames += list->frames.len - first + 1;
	return err;
}

struct hs_err *hs_chunk_frames(struct hs_jvm *jvm, hs_addr addr, uint32_t thread,
                               struct hs_frame_list *list)
{
	struct hs_err *err = NULL, *endless;
	struct chunk chunk;

	if (!jvm->code_cache)
		return hs_err_new(HS_ERR_UNSUPPORTED, "the code cache could not be read");
	endless = check_chain(jvm, addr);
	if (endless && hs_err_code(endless) == HS_ERR_OOM)
		return endless;
	while (!err && addr) {
		if (jvm->vthreads->chunk_frames >= HS_MAX_CHUNK_FRAMES)
			err = hs_err_new(HS_ERR_BAD_DATA, "more than %d frames in all stack chunks",
			                 HS_MAX_CHUNK_FRAMES);
		if (!err)
			err = read_chunk(jvm, addr, &chunk);
		if (!err)
			err = walk_one(jvm, &chunk, thread, list);
		// In a circle no frame but those of the first chunk is known to be the next.
		addr = err || endless ? 0 : chunk.parent;
	}
	if (!err)
		return endless;
	hs_err_free(endless);
	return err;
}

// ---- lock stack

struct hs_err *hs_chunk_lock_stack(struct hs_jvm *jvm, hs_addr addr, hs_addr *objects,
                                   hs_addr *slots, size_t max, size_t *count_ret)
{
	struct chunk chunk;
	struct hs_err *err;
	size_t count;

	*count_ret = 0;
	if (!jvm->vthreads->layout.chunk_lock_stack_size)
		return NULL;
	err = read_chunk(jvm, addr, &chunk);
	if (err)
		return err;
	count = chunk.lock_stack_size < max ? chunk.lock_stack_size : max;
	// The first slots of the stack area, 8 bytes each whatever the size of an oop is.
	if (count > (chunk.end - chunk.stack) / WORD)
		return hs_err_new(HS_ERR_BAD_DATA, "stack chunk 0x%" PRIx64 " with %zu locks", addr,
		                  count);
	err = hs_target_read(jvm->target, chunk.stack, objects, count * WORD);
	if (err)
		return err;
	enum hs_stack_oops before = jvm->stack_oops; // a stack may be being walked
	jvm->stack_oops = oops_of(jvm, &chunk);
	for (size_t i = 0; i < count; i++) {
		slots[i] = chunk.stack + i * WORD;
		objects[i] = hs_oop_resolve(jvm, hs_stack_oop(jvm, objects[i]));
	}
	jvm->stack_oops = before;
	*count_ret = count;
	return NULL;
}
