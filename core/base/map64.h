// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Hash map from a 64-bit key (an address, a packed pair) to a pointer, for the hot paths: once per
 * distinct pc, class or method. Everything else uses uthash or a sorted array.
 */
#ifndef HS_MAP64_H
#define HS_MAP64_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Zero-initialize. Values are never NULL. Not iterable in a stable order: sort what you print. */
struct hs_map64 {
	struct hs_map64_slot {
		uint64_t key;
		void *value;
	} * slots;
	size_t cap, len;
	uint64_t seed; /**< set with the first entry */
};

/** @return The value, or NULL. */
void *hs_map64_get(const struct hs_map64 *map, uint64_t key);

/** Insert or replace. @return false when out of memory; the map is unchanged then. */
bool hs_map64_put(struct hs_map64 *map, uint64_t key, void *value);

/** Free the slots, not the values. */
void hs_map64_deinit(struct hs_map64 *map);

#endif // HS_MAP64_H
