// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Page store: every page of a target that was read, as it was read first. A snapshot is made of
 * it, so that it holds what the collectors have seen, and nothing that they did not need.
 */
#ifndef HS_PAGE_STORE_H
#define HS_PAGE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/addr.h"

struct hs_page_store;

/** A page: its address is @c number * HS_STORE_PAGE. */
struct hs_stored_page {
	uint64_t number;
	uint8_t *bytes; /**< owned by the store */
};

enum {
	HS_STORE_PAGE = 4096
};

/** @return NULL when out of memory. */
struct hs_page_store *hs_page_store_create(void);

/** NULL is a no-op. */
void hs_page_store_destroy(struct hs_page_store *store);

/** The bytes of a page, or NULL when it is not there. */
const uint8_t *hs_page_store_get(const struct hs_page_store *store, uint64_t number);

/** Add a page that is not there, from @p bytes. @return its bytes, NULL when out of memory. */
const uint8_t *hs_page_store_add(struct hs_page_store *store, uint64_t number,
                                 const uint8_t bytes[static HS_STORE_PAGE]);

/** All pages, ascending after hs_page_store_sort(). Borrowed until the next add. */
struct hs_stored_page *hs_page_store_pages(struct hs_page_store *store, size_t *count_ret);
void hs_page_store_sort(struct hs_page_store *store);

/** Forget all pages. */
void hs_page_store_clear(struct hs_page_store *store);

#endif // HS_PAGE_STORE_H
