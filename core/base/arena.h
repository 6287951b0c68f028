// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Arena: memory that dies at once. One arena per analysis holds all of its data (records, strings,
 * graph, findings); handles (descriptors, Dwfl, ptrace) are held by scope guards instead.
 *
 * Vectors live in an arena too: growing leaves the old block behind, which costs at most the final
 * size once more. Strings are raw target bytes unless said otherwise: renderers escape them.
 */
#ifndef HS_ARENA_H
#define HS_ARENA_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"

struct hs_arena;

/** @return NULL when out of memory. */
struct hs_arena *hs_arena_create(void);

/** Free everything that was allocated from it. NULL is a no-op. */
void hs_arena_destroy(struct hs_arena *arena);
void hs_arena_destroyp(struct hs_arena **arena);

/** Zeroed, aligned to 16. @return NULL when out of memory (and hs_arena_failed() from then on). */
void *hs_arena_alloc(struct hs_arena *arena, size_t size);

/** @p count elements of @p size bytes, overflow-checked. */
void *hs_arena_calloc(struct hs_arena *arena, size_t count, size_t size);

/** Copies; NULL when out of memory. */
char *hs_arena_strdup(struct hs_arena *arena, const char *s);
char *hs_arena_strndup(struct hs_arena *arena, const char *s, size_t len);
HS_PRINTF(2, 3) char *hs_arena_printf(struct hs_arena *arena, const char *fmt, ...);
char *hs_arena_vprintf(struct hs_arena *arena, const char *fmt, va_list ap);

/** True once any allocation failed: builders check it once, at the end. */
bool hs_arena_failed(const struct hs_arena *arena);

/** Bytes handed out so far. */
size_t hs_arena_used(const struct hs_arena *arena);

/** A typed vector: HS_VEC(struct thing) things; zero-initialize it. */
#define HS_VEC(type)             \
	struct {                 \
		type *items;     \
		size_t len, cap; \
	}

/** A vector of record indices. */
struct hs_index_vec {
	uint32_t *items;
	size_t len, cap;
};

/** Make room for one more element. @return false when out of memory; the vector is unchanged. */
bool hs_vec_grow(struct hs_arena *arena, void **items, size_t *cap, size_t len, size_t elem_size);

/** Append a zeroed element; @return pointer to it (until the next push), or NULL. */
#define hs_vec_push(arena, vec)                                                             \
	((vec)->len < (vec)->cap || hs_vec_grow(arena, (void **)&(vec)->items, &(vec)->cap, \
	                                        (vec)->len, sizeof(*(vec)->items))          \
	         ? &(vec)->items[(vec)->len++]                                              \
	         : NULL)

// Not `items + len` of an empty one: that is undefined for NULL.
#define hs_vec_each(item, vec)                             \
	for (typeof((vec)->items + 0) item = (vec)->items; \
	     item && item < (vec)->items + (vec)->len; item++)

#endif // HS_ARENA_H
