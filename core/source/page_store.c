// SPDX-License-Identifier: Apache-2.0
/** @file Page store: slabs of pages, and a map from numbers to them. */

#include "core/source/page_store.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/base/map64.h"

enum {
	SLAB_PAGES = 256,
};

struct slab {
	struct slab *next;
	size_t used; // pages
	uint8_t bytes[SLAB_PAGES * HS_STORE_PAGE];
};

struct hs_page_store {
	struct hs_map64 by_number;
	struct slab *slabs; // the newest first
	struct hs_stored_page *pages;
	size_t num, cap;
};

struct hs_page_store *hs_page_store_create(void)
{
	return calloc(1, sizeof(struct hs_page_store));
}

void hs_page_store_clear(struct hs_page_store *store)
{
	while (store->slabs) {
		struct slab *next = store->slabs->next;

		free(store->slabs);
		store->slabs = next;
	}
	hs_map64_deinit(&store->by_number);
	store->num = 0;
}

void hs_page_store_destroy(struct hs_page_store *store)
{
	if (!store)
		return;
	hs_page_store_clear(store);
	free(store->pages);
	free(store);
}

const uint8_t *hs_page_store_get(const struct hs_page_store *store, uint64_t number)
{
	return hs_map64_get(&store->by_number, number);
}

static bool make_room(struct hs_page_store *store)
{
	if (store->num == store->cap) {
		size_t cap = store->cap ? store->cap * 2 : 1024;
		struct hs_stored_page *grown = realloc(store->pages, cap * sizeof(*grown));

		if (!grown)
			return false;
		store->pages = grown;
		store->cap = cap;
	}
	if (!store->slabs || store->slabs->used == SLAB_PAGES) {
		struct slab *slab = malloc(sizeof(*slab));

		if (!slab)
			return false;
		slab->next = store->slabs;
		slab->used = 0;
		store->slabs = slab;
	}
	return true;
}

const uint8_t *hs_page_store_add(struct hs_page_store *store, uint64_t number,
                                 const uint8_t bytes[static HS_STORE_PAGE])
{
	if (!make_room(store))
		return NULL;
	uint8_t *page = store->slabs->bytes + store->slabs->used * HS_STORE_PAGE;

	memcpy(page, bytes, HS_STORE_PAGE);
	if (!hs_map64_put(&store->by_number, number, page))
		return NULL;
	store->slabs->used++;
	store->pages[store->num++] = (struct hs_stored_page){number, page};
	return page;
}

struct hs_stored_page *hs_page_store_pages(struct hs_page_store *store, size_t *count_ret)
{
	*count_ret = store->num;
	return store->pages;
}

static int compare_pages(const void *a, const void *b)
{
	const struct hs_stored_page *x = a, *y = b;

	return (x->number > y->number) - (x->number < y->number);
}

void hs_page_store_sort(struct hs_page_store *store)
{
	if (store->num)
		qsort(store->pages, store->num, sizeof(*store->pages), compare_pages);
}
