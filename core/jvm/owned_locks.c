// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Owned locks: the ownable synchronizers (java.util.concurrent.locks) of each thread. Nothing leads
 * from a thread to those, so HotSpot searches its heap for them, and so do we: for words that are
 * the class of one, in memory that the heap covers. An object that was moved away has a forwarding
 * pointer in its mark word and is skipped.
 */

#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/jvm/thread_dump.h"

enum {
	CHUNK = 1 << 20,
	OVERLAP = 64,            /**< bytes of an object's header that may lie in the next chunk */
	LAST_WORD = OVERLAP - 8, /**< offset in a header up to which a word can be read */
	MARK_MASK = 3,
	MARK_FORWARDED = 3, /**< low bits of a mark word (markWord.hpp, 8 to 28) */
	PAGE = 4096,
};

static const char ownable[] = "java/util/concurrent/locks/AbstractOwnableSynchronizer";

/** A class of ownable synchronizers, by what an object of it holds in its class word. */
struct lock_class {
	uint64_t word;
	const struct hs_klass *klass;
	uint32_t owner; /**< offset of exclusiveOwnerThread; 0 not known */
};

struct found_lock {
	uint32_t thread;
	struct hs_dump_object object;
};

struct search {
	struct hs_dump_builder *builder;
	HS_VEC(struct lock_class) classes; /**< ascending word */
	HS_VEC(struct found_lock) found;   /**< ascending address */
	uint64_t left;                     /**< bytes that may still be looked at */
};

static int compare_classes(const void *a, const void *b)
{
	uint64_t x = ((const struct lock_class *)a)->word, y = ((const struct lock_class *)b)->word;

	return (x > y) - (x < y);
}

static struct hs_err *take_class(void *arg, hs_addr addr)
{
	struct search *search = arg;
	struct hs_jvm *jvm = search->builder->jvm;
	const struct hs_klass *klass;
	struct hs_err *err = hs_klass_get(jvm, addr, &klass);

	if (err && hs_err_code(err) == HS_ERR_OOM)
		return err;
	if (err) {
		hs_err_free(err); // being loaded: no object of it yet
		return NULL;
	}
	if (klass->layout_helper <= 0 || !hs_klass_is_a(jvm, klass, ownable))
		return NULL;
	struct lock_class *entry = hs_vec_push(jvm->arena, &search->classes);
	if (!entry)
		return hs_err_oom();
	const struct hs_jfield *owner = NULL;
	err = hs_klass_field(jvm, klass, "exclusiveOwnerThread", &owner);
	if (err && hs_err_code(err) == HS_ERR_OOM)
		return err;
	hs_err_free(err); // then each of its objects has to be asked
	bool narrow = jvm->compressed_klass || jvm->compact_headers;
	*entry = (struct lock_class){
		.word = narrow ? (addr - jvm->narrow_klass_base) >> jvm->narrow_klass_shift : addr,
		.klass = klass,
		.owner = owner && !owner->is_static ? owner->offset : 0,
	};
	return NULL;
}

/** Does it say, in the bytes that the search has read, that nobody owns it? Most say so. */
static bool is_free(const struct hs_jvm *jvm, const struct lock_class *class, const uint8_t *object)
{
	static const uint8_t null[8];
	size_t size = jvm->compressed_oops ? 4 : 8;

	return class->owner && class->owner <= OVERLAP - sizeof(null) &&
	       memcmp(object + class->owner, null, size) == 0;
}

/** What the object at @p object (@p header: its bytes) has in its class word. */
static uint64_t class_word(const struct hs_jvm *jvm, const uint8_t *header)
{
	uint64_t wide;
	uint32_t narrow;

	if (jvm->compact_headers) {
		memcpy(&wide, header + hs_layout_offset(&jvm->layout, HS_F_oop_mark), sizeof(wide));
		return wide >> jvm->mark_klass_shift;
	}
	if (!jvm->compressed_klass) {
		memcpy(&wide, header + hs_layout_offset(&jvm->layout, HS_F_oop_klass),
		       sizeof(wide));
		return wide;
	}
	memcpy(&narrow, header + hs_layout_offset(&jvm->layout, HS_F_oop_narrow_klass),
	       sizeof(narrow));
	return narrow;
}

static struct hs_err *take_object(struct search *search, hs_addr object,
                                  const struct hs_klass *klass)
{
	struct hs_jvm *jvm = search->builder->jvm;
	struct hs_err *err;
	hs_addr owner = 0;

	err = hs_oop_get_oop(jvm, object, "exclusiveOwnerThread", &owner);
	if (err && hs_err_code(err) == HS_ERR_OOM)
		return err;
	hs_err_free(err); // bytes that look like an object
	const struct hs_jthread *jthread = err ? NULL : hs_jthread_by_oop(jvm, owner);
	if (!jthread || jthread->thread == HS_NONE)
		return NULL;
	if (search->found.len >= HS_MAX_MONITORS)
		return hs_err_new(HS_ERR_BAD_DATA, "more than %d owned locks", HS_MAX_MONITORS);
	struct found_lock *found = hs_vec_push(jvm->arena, &search->found);
	if (!found)
		return hs_err_oom();
	*found = (struct found_lock){
		jthread->thread, {object, klass->external_name}
        };
	return NULL;
}

/** Objects that begin in the first @p len of the bytes at @p start. */
static struct hs_err *search_chunk(struct search *search, hs_addr start, const uint8_t *bytes,
                                   size_t len)
{
	const struct hs_jvm *jvm = search->builder->jvm;
	uint64_t first = search->classes.items[0].word;
	uint64_t last = search->classes.items[search->classes.len - 1].word;

	for (size_t i = 0; i < len; i += 8) {
		struct lock_class key = {.word = class_word(jvm, bytes + i)};
		uint64_t mark;

		if (key.word < first || key.word > last)
			continue;
		const struct lock_class *class =
			bsearch(&key, search->classes.items, search->classes.len,
		                sizeof(*search->classes.items), compare_classes);
		memcpy(&mark, bytes + i + hs_layout_offset(&jvm->layout, HS_F_oop_mark),
		       sizeof(mark));
		if (!class || (mark & MARK_MASK) == MARK_FORWARDED ||
		    is_free(jvm, class, bytes + i))
			continue;
		struct hs_err *err = take_object(search, start + i, class->klass);
		if (err)
			return err;
	}
	return NULL;
}

/** @return HS_ERR_BAD_DATA when the heap is larger than we look at. */
static struct hs_err *search_range(struct search *search, hs_addr start, hs_addr end,
                                   uint8_t *buffer)
{
	struct hs_target *target = search->builder->jvm->target;
	struct hs_err *err;

	while (start < end) {
		size_t len = end - start < CHUNK ? (size_t)(end - start) : CHUNK;

		if (search->left < len)
			return hs_err_new(HS_ERR_BAD_DATA,
			                  "only its first %d MiB were searched for owned locks",
			                  HS_MAX_HEAP_SCAN >> 20);
		memset(buffer, 0, CHUNK + OVERLAP);
		err = hs_target_scan(target, start, buffer, len);
		if (err && hs_err_code(err) != HS_ERR_FAULT)
			return err;
		if (err && len > PAGE) { // one page of it cannot be read: all others may
			hs_err_free(err);
			for (hs_addr at = start; at < start + len; at += PAGE) {
				err = search_range(search, at, at + PAGE, buffer);
				if (err)
					return err;
			}
			start += len;
			continue;
		}
		hs_err_free(err); // uncommitted: nothing there
		search->left -= len;
		// The header of the last object may end in the next chunk.
		if (!err) {
			err = hs_target_scan(target, start + len, buffer + len, OVERLAP);
			hs_err_free(err); // the end of the heap
			err = search_chunk(search, start, buffer, len);
			if (err)
				return err;
		}
		start += len;
	}
	return NULL;
}

static struct hs_err *heap_range(struct hs_jvm *jvm, hs_addr *start_ret, hs_addr *end_ret)
{
	hs_addr heap = 0;
	uint64_t words = 0;
	struct hs_err *err;

	// ZGC's heap is no one range, and its pointers are coloured: HotSpot's own walk differs
	// too.
	if (jvm->use_zgc || !hs_layout_has(&jvm->layout, HS_F_heap) ||
	    !hs_layout_has(&jvm->layout, HS_F_heap_reserved))
		return hs_err_new(HS_ERR_UNSUPPORTED, "a heap that cannot be searched for locks");
	err = hs_target_read_u64(jvm->target, hs_layout_static(&jvm->layout, HS_F_heap), &heap);
	if (err)
		return err;
	// MemRegion { HeapWord *_start; size_t _word_size } (memRegion.hpp, 8 to 28)
	hs_addr reserved = heap + hs_layout_offset(&jvm->layout, HS_F_heap_reserved);
	err = hs_target_read_u64(jvm->target, reserved, start_ret);
	if (!err)
		err = hs_target_read_u64(jvm->target, reserved + 8, &words);
	if (err)
		return err;
	if (hs_layout_offset(&jvm->layout, HS_F_oop_mark) > LAST_WORD ||
	    hs_layout_offset(&jvm->layout, HS_F_oop_klass) > LAST_WORD ||
	    hs_layout_offset(&jvm->layout, HS_F_oop_narrow_klass) > LAST_WORD)
		return hs_err_new(HS_ERR_UNSUPPORTED, "the header of an object is not known");
	if (!*start_ret || *start_ret % PAGE || words > UINT64_MAX / 8 ||
	    hs_addr_wraps(*start_ret, words * 8))
		return hs_err_new(HS_ERR_BAD_DATA, "the heap has no range that makes sense");
	*end_ret = *start_ret + words * 8;
	return NULL;
}

/** The mapped parts of the heap that can hold objects. */
static struct hs_err *search_heap(struct search *search, hs_addr start, hs_addr end)
{
	const struct hs_module_map *map = hs_target_modules(search->builder->jvm->target);
	hs_cleanup(hs_freep) uint8_t *buffer = malloc(CHUNK + OVERLAP);
	struct hs_err *err;

	if (!buffer)
		return hs_err_oom();
	for (size_t i = 0; i < map->num_mappings; i++) {
		const struct hs_mapping *m = &map->mappings[i];
		hs_addr from = m->start > start ? m->start : start;
		hs_addr to = m->end < end ? m->end : end;

		if (from >= to || !(m->prot & HS_PROT_WRITE))
			continue;
		err = search_range(search, from, to, buffer);
		if (err)
			return err;
	}
	return NULL;
}

/** Give each thread its part of what was found. */
static struct hs_err *distribute(struct search *search)
{
	struct hs_dump_builder *builder = search->builder;
	struct hs_arena *arena = builder->jvm->arena;
	size_t num_threads = builder->jvm->snapshot->threads.len;
	struct hs_dump_object **owned = hs_arena_calloc(arena, num_threads + 1, sizeof(*owned));

	if (!owned)
		return hs_err_oom();
	hs_vec_each (found, &search->found) {
		if (builder->threads[found->thread])
			builder->threads[found->thread]->num_owned++;
	}
	for (size_t i = 0; i < num_threads; i++) {
		struct hs_dump_thread *thread = builder->threads[i];

		if (!thread || !thread->num_owned)
			continue;
		owned[i] = hs_arena_calloc(arena, thread->num_owned, sizeof(*owned[i]));
		if (!owned[i])
			return hs_err_oom();
		thread->owned = owned[i];
		thread->num_owned = 0;
	}
	hs_vec_each (found, &search->found) {
		struct hs_dump_thread *thread = builder->threads[found->thread];

		if (thread)
			owned[found->thread][thread->num_owned++] = found->object;
	}
	return NULL;
}

struct hs_err *hs_dump_collect_owned(struct hs_dump_builder *builder)
{
	struct search search = {.builder = builder, .left = HS_MAX_HEAP_SCAN};
	hs_addr start = 0, end = 0;
	struct hs_err *err;

	err = heap_range(builder->jvm, &start, &end);
	if (!err)
		err = hs_klass_each(builder->jvm, take_class, &search);
	if (err)
		return err;
	hs_vec_sort(&search.classes, compare_classes);
	if (search.classes.len)
		err = search_heap(&search, start, end);
	builder->dump->owned_known = !err;
	if (err && hs_err_code(err) == HS_ERR_OOM)
		return err;
	struct hs_err *late = distribute(&search);
	if (late) {
		hs_err_free(err);
		return late;
	}
	return err;
}
