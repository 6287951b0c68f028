// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * What elfutils' own libraries share but Debian 13's libdw.a and libelf.a (0.192) lack: the search
 * trees of its internal libeu. A tree begins with its root (lib/eu-search.h); the lock behind it is
 * for several threads, and here there is one. Linked in only where it is missing.
 */

#define _GNU_SOURCE 1 // tdestroy

#include <search.h>
#include <stddef.h>

void eu_search_tree_init(void **tree);
void eu_search_tree_fini(void **tree, void (*free_node)(void *));
void *eu_tsearch(const void *key, void **tree, int (*compare)(const void *, const void *));
void *eu_tfind(const void *key, void *const *tree, int (*compare)(const void *, const void *));
void *eu_tdelete(const void *key, void **tree, int (*compare)(const void *, const void *));

void eu_search_tree_init(void **tree)
{
	*tree = NULL;
}

void eu_search_tree_fini(void **tree, void (*free_node)(void *))
{
	tdestroy(*tree, free_node);
	*tree = NULL;
}

void *eu_tsearch(const void *key, void **tree, int (*compare)(const void *, const void *))
{
	return tsearch(key, tree, compare);
}

void *eu_tfind(const void *key, void *const *tree, int (*compare)(const void *, const void *))
{
	return tfind(key, tree, compare);
}

void *eu_tdelete(const void *key, void **tree, int (*compare)(const void *, const void *))
{
	return tdelete(key, tree, compare);
}
