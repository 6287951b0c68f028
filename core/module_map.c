// SPDX-License-Identifier: Apache-2.0
/** @file Lookups in the sorted mappings and modules. */

#include "core/module_map.h"

#include <string.h>

const struct hs_mapping *hs_module_map_find(const struct hs_module_map *map, hs_addr addr)
{
	size_t low = 0, high = map->num_mappings;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (map->mappings[middle].end <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == map->num_mappings || addr < map->mappings[low].start)
		return NULL;
	return &map->mappings[low];
}

const struct hs_module *hs_module_map_module(const struct hs_module_map *map, hs_addr addr)
{
	const struct hs_mapping *mapping = hs_module_map_find(map, addr);

	if (!mapping || mapping->module >= map->num_modules)
		return NULL;
	return &map->modules[mapping->module];
}

const struct hs_module *hs_module_map_by_name(const struct hs_module_map *map,
                                              const char *base_name)
{
	for (size_t i = 0; i < map->num_modules; i++) {
		const char *slash = strrchr(map->modules[i].path, '/');
		const char *name = slash ? slash + 1 : map->modules[i].path;

		if (!strcmp(name, base_name))
			return &map->modules[i];
	}
	return NULL;
}
