// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * JNI references: how many global ones there are. An OopStorage keeps the number, and the slots
 * themselves; neither place is published (oopStorage.hpp, 11 to 28). Both are read, and only a
 * number that both agree on is one.
 */

#include <string.h>

#include "core/jvm/thread_dump.h"

enum {
	WORD = 8,
	NAME_WORD = 0,        /**< of OopStorage: const char *_name */
	ARRAY_WORD = 1,       /**< ActiveArray *_active_array */
	FIRST_COUNT_WORD = 7, /**< size_t _allocation_count: 11 */
	LAST_COUNT_WORD = 8,  /**< 12 and later, behind a callback */
	STORAGE_WORDS = 9,
	ARRAY_BLOCKS = 3, /**< ActiveArray { _size; _block_count; int _refcount; Block *[] } */
	BLOCK_BITS = 64 * WORD, /**< Block { oop _data[64]; uintx _allocated_bitmask } */
	MAX_BLOCKS = 1 << 18,
};

/** Slots in use of all blocks of @p array. */
static struct hs_err *count_slots(struct hs_jvm *jvm, hs_addr array, uint64_t *ret)
{
	uint64_t num_blocks, bits;
	hs_addr block;
	struct hs_err *err = hs_target_read_u64(jvm->target, array + WORD, &num_blocks);

	if (err)
		return err;
	if (num_blocks > MAX_BLOCKS)
		return hs_err_new(HS_ERR_BAD_DATA, "too many blocks of handles");
	*ret = 0;
	for (uint64_t i = 0; i < num_blocks; i++) {
		err = hs_target_read_u64(jvm->target, array + (ARRAY_BLOCKS + i) * WORD, &block);
		if (!err)
			err = hs_target_read_u64(jvm->target, block + BLOCK_BITS, &bits);
		if (err)
			return err;
		*ret += (uint64_t)__builtin_popcountll(bits);
	}
	return NULL;
}

/** *ret stays -1 when nothing can be said. @p name: what HotSpot calls the storage. */
static struct hs_err *count_refs(struct hs_jvm *jvm, enum hs_field field, const char *name,
                                 int64_t *ret)
{
	uint64_t words[STORAGE_WORDS], slots;
	hs_addr storage = 0;
	char text[16] = "";
	struct hs_err *err;

	// 8 has lists of blocks instead.
	if (!hs_layout_has(&jvm->layout, field) || !jvm->layout.sizes[HS_T_oop_storage])
		return NULL;
	err = hs_target_read_u64(jvm->target, hs_layout_static(&jvm->layout, field), &storage);
	if (!err)
		err = hs_target_read(jvm->target, storage, words, sizeof(words));
	if (!err)
		err = hs_target_read(jvm->target, words[NAME_WORD], text, strlen(name));
	if (err)
		return err;
	if (strncmp(text, name, strlen(name)) != 0)
		return hs_err_new(HS_ERR_UNSUPPORTED, "an OopStorage of another shape");
	err = count_slots(jvm, words[ARRAY_WORD], &slots);
	if (err)
		return err;
	for (size_t i = FIRST_COUNT_WORD; i <= LAST_COUNT_WORD; i++) {
		if (words[i] == slots && slots <= INT64_MAX)
			*ret = (int64_t)slots;
	}
	return NULL;
}

struct hs_err *hs_dump_collect_jni(struct hs_dump_builder *builder)
{
	struct hs_thread_dump *dump = builder->dump;
	struct hs_err *err =
		count_refs(builder->jvm, HS_F_jni_global_handles, "JNI Global", &dump->jni_global);

	if (!err)
		err = count_refs(builder->jvm, HS_F_jni_weak_handles, "JNI Weak", &dump->jni_weak);
	if (err || dump->jni_weak < 0)
		dump->jni_global = dump->jni_weak = -1;
	return err;
}
