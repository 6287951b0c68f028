// SPDX-License-Identifier: Apache-2.0
/** @file Open addressing, linear probing, at most two thirds full. */

#include "core/base/map64.h"

#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

enum {
	MAP_FIRST_CAP = 64
};

/** A number that the target cannot know: the kernel's random bytes for this process. */
static uint64_t map_seed(void)
{
	const void *bytes = (const void *)getauxval(AT_RANDOM);
	uint64_t seed = 0;

	if (bytes)
		memcpy(&seed, bytes, sizeof(seed));
	return seed;
}

static size_t map_slot(const struct hs_map64 *map, uint64_t key)
{
	int bits = 63 - __builtin_clzll((unsigned long long)map->cap);

	// Keys are addresses that a hostile core chooses. After the shift between the products
	// no difference of keys collides for every seed; the top bits depend on all others.
	key = (key ^ map->seed) * 0x9e3779b97f4a7c15ULL;
	key = (key ^ key >> 32) * 0xd6e8feb86659fd93ULL;
	return (size_t)(key >> (64 - bits));
}

void *hs_map64_get(const struct hs_map64 *map, uint64_t key)
{
	if (!map->cap)
		return NULL;
	for (size_t i = map_slot(map, key);; i = (i + 1) & (map->cap - 1)) {
		if (!map->slots[i].value)
			return NULL;
		if (map->slots[i].key == key)
			return map->slots[i].value;
	}
}

static void map_insert(struct hs_map64 *map, uint64_t key, void *value)
{
	size_t i = map_slot(map, key);

	while (map->slots[i].value && map->slots[i].key != key)
		i = (i + 1) & (map->cap - 1);
	if (!map->slots[i].value)
		map->len++;
	map->slots[i] = (struct hs_map64_slot){key, value};
}

bool hs_map64_put(struct hs_map64 *map, uint64_t key, void *value)
{
	if (map->len * 3 >= map->cap * 2) {
		struct hs_map64 bigger = {
			.cap = map->cap ? map->cap * 2 : MAP_FIRST_CAP,
			.seed = map->cap ? map->seed : map_seed(),
		};

		bigger.slots = calloc(bigger.cap, sizeof(*bigger.slots));
		if (!bigger.slots)
			return false;
		for (size_t i = 0; i < map->cap; i++) {
			if (map->slots[i].value)
				map_insert(&bigger, map->slots[i].key, map->slots[i].value);
		}
		free(map->slots);
		*map = bigger;
	}
	map_insert(map, key, value);
	return true;
}

void hs_map64_deinit(struct hs_map64 *map)
{
	free(map->slots);
	*map = (struct hs_map64){0};
}
