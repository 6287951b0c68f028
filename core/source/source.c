// SPDX-License-Identifier: Apache-2.0
/** @file What all kinds of sources share: gaps, and their end. */

#include "core/source/source.h"

#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/source/page_store.h"

struct hs_err *hs_source_record(struct hs_source *source)
{
	source->record = hs_page_store_create();
	return source->record ? NULL : hs_err_oom();
}

/** *page_ret is NULL when the page cannot be read as a whole. */
static struct hs_err *keep_page(struct hs_source *source, uint64_t number, const uint8_t **page_ret)
{
	uint8_t bytes[HS_STORE_PAGE];

	*page_ret = hs_page_store_get(source->record, number);
	if (*page_ret)
		return NULL;
	struct hs_err *err =
		source->ops->read(source, number * HS_STORE_PAGE, bytes, sizeof(bytes));
	if (err) {
		hs_err_free(err);
		return NULL;
	}
	*page_ret = hs_page_store_add(source->record, number, bytes);
	return *page_ret ? NULL : hs_err_oom();
}

struct hs_err *hs_source_read(struct hs_source *source, hs_addr addr, void *buf, size_t len)
{
	if (!source->record)
		return source->ops->read(source, addr, buf, len);
	if (hs_addr_wraps(addr, len))
		return hs_err_fault();
	for (uint8_t *out = buf; len;) {
		size_t offset = addr % HS_STORE_PAGE;
		size_t part = len < HS_STORE_PAGE - offset ? len : HS_STORE_PAGE - offset;
		const uint8_t *page;
		struct hs_err *err = keep_page(source, addr / HS_STORE_PAGE, &page);

		if (!err && page)
			memcpy(out, page + offset, part);
		else if (!err)
			err = source->ops->read(source, addr, out, part);
		if (err)
			return err;
		out += part;
		addr += part;
		len -= part;
	}
	return NULL;
}

struct hs_err *hs_source_refresh(struct hs_source *source)
{
	size_t num;
	struct hs_stored_page *pages = hs_page_store_pages(source->record, &num);
	hs_cleanup(hs_freep) uint64_t *numbers = calloc(num + 1, sizeof(*numbers));
	struct hs_err *err = NULL;

	if (!numbers)
		return hs_err_oom();
	for (size_t i = 0; i < num; i++)
		numbers[i] = pages[i].number;
	hs_page_store_clear(source->record);
	for (size_t i = 0; i < num && !err; i++) {
		const uint8_t *page;

		err = keep_page(source, numbers[i], &page);
	}
	return err;
}

void hs_source_gap(struct hs_source *source, const char *subject, const char *costs,
                   const char *reason_fmt, ...)
{
	va_list ap;

	// The arena keeps out-of-memory sticky: hs_target_from_source() reports it.
	va_start(ap, reason_fmt);
	char *reason = hs_arena_vprintf(source->arena, reason_fmt, ap);
	va_end(ap);
	char *own_subject = hs_arena_strdup(source->arena, subject);
	char *own_costs = hs_arena_strdup(source->arena, costs);
	if (!reason || !own_subject || !own_costs)
		return;

	struct hs_target_gap *gap = hs_vec_push(source->arena, &source->gaps);
	if (gap)
		*gap = (struct hs_target_gap){own_subject, reason, own_costs};
}

void hs_source_destroy(struct hs_source *source)
{
	if (!source)
		return;
	if (source->owns_module_fds) {
		for (size_t i = 0; i < source->modules.num_modules; i++) {
			if (source->modules.modules[i].fd >= 0)
				close(source->modules.modules[i].fd);
		}
	}

	struct hs_arena *arena = source->arena;

	hs_page_store_destroy(source->record);
	source->ops->close(source);
	hs_arena_destroy(arena);
}

void hs_source_destroyp(struct hs_source **source)
{
	hs_source_destroy(*source);
}
