// SPDX-License-Identifier: Apache-2.0
/** @file Arena: blocks of doubling size, freed together. */

#include "core/base/arena.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HS_ARENA_ASAN 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define HS_ARENA_ASAN 1
#endif

enum {
	ARENA_ALIGN = 16,
	ARENA_FIRST = 16 * 1024,
	ARENA_LARGEST = 1024 * 1024,
};

struct block {
	struct block *next;
	size_t size, used;
	_Alignas(ARENA_ALIGN) unsigned char data[];
};

struct hs_arena {
	struct block *blocks;
	size_t next_size, used;
	bool failed;
};

struct hs_arena *hs_arena_create(void)
{
	struct hs_arena *arena = calloc(1, sizeof(*arena));
	if (arena)
		arena->next_size = ARENA_FIRST;
	return arena;
}

void hs_arena_destroy(struct hs_arena *arena)
{
	if (!arena)
		return;
	for (struct block *block = arena->blocks, *next; block; block = next) {
		next = block->next;
		free(block);
	}
	free(arena);
}

void hs_arena_destroyp(struct hs_arena **arena)
{
	hs_arena_destroy(*arena);
}

static struct block *arena_add(struct hs_arena *arena, size_t size)
{
#ifdef HS_ARENA_ASAN
	// One block per allocation, so that AddressSanitizer sees overruns between neighbours.
	size_t want = size;
#else
	size_t want = size > arena->next_size ? size : arena->next_size;
	if (arena->next_size < ARENA_LARGEST)
		arena->next_size *= 2;
#endif
	struct block *block = malloc(sizeof(*block) + want);
	if (!block) {
		arena->failed = true;
		return NULL;
	}
	block->size = want;
	block->used = 0;
	block->next = arena->blocks;
	arena->blocks = block;
	return block;
}

void *hs_arena_alloc(struct hs_arena *arena, size_t size)
{
	if (size > SIZE_MAX / 2) {
		arena->failed = true;
		return NULL;
	}
	size_t rounded = (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
	struct block *block = arena->blocks;

	if (!block || block->size - block->used < rounded) {
#ifdef HS_ARENA_ASAN
		block = arena_add(arena, size);
		rounded = size;
#else
		block = arena_add(arena, rounded);
#endif
		if (!block)
			return NULL;
	}
	void *ret = block->data + block->used;
	block->used += rounded;
	arena->used += rounded;
	return memset(ret, 0, size);
}

void *hs_arena_calloc(struct hs_arena *arena, size_t count, size_t size)
{
	size_t total;

	if (__builtin_mul_overflow(count, size, &total)) {
		arena->failed = true;
		return NULL;
	}
	return hs_arena_alloc(arena, total);
}

char *hs_arena_strndup(struct hs_arena *arena, const char *s, size_t len)
{
	char *copy = hs_arena_alloc(arena, len + 1);
	if (copy)
		memcpy(copy, s, len);
	return copy;
}

char *hs_arena_strdup(struct hs_arena *arena, const char *s)
{
	return hs_arena_strndup(arena, s, strlen(s));
}

char *hs_arena_vprintf(struct hs_arena *arena, const char *fmt, va_list ap)
{
	va_list copy;

	va_copy(copy, ap);
	int len = vsnprintf(NULL, 0, fmt, copy);
	va_end(copy);
	if (len < 0)
		return NULL;
	char *s = hs_arena_alloc(arena, (size_t)len + 1);
	if (s)
		vsnprintf(s, (size_t)len + 1, fmt, ap);
	return s;
}

char *hs_arena_printf(struct hs_arena *arena, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	char *s = hs_arena_vprintf(arena, fmt, ap);
	va_end(ap);
	return s;
}

bool hs_arena_failed(const struct hs_arena *arena)
{
	return arena->failed;
}

size_t hs_arena_used(const struct hs_arena *arena)
{
	return arena->used;
}

bool hs_vec_grow(struct hs_arena *arena, void **items, size_t *cap, size_t len, size_t elem_size)
{
	size_t new_cap = *cap ? *cap * 2 : 8;
	void *grown = hs_arena_calloc(arena, new_cap, elem_size);

	if (!grown)
		return false;
	if (len)
		memcpy(grown, *items, len * elem_size);
	*items = grown;
	*cap = new_cap;
	return true;
}
