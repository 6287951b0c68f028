// SPDX-License-Identifier: Apache-2.0
/** @file From mappings and recorded pages to the program headers of a core. */

#include <stdlib.h>
#include <string.h>

#include "core/capture/capture_internal.h"

struct planner {
	struct hs_capture_segments *out;
	const struct hs_stored_page *pages;
	size_t num_pages, page; // the first page that is not behind us
	const struct hs_capture_range *whole;
	size_t num_whole, range;
	bool failed;
};

static void add(struct planner *p, struct hs_capture_segment segment)
{
	struct hs_capture_segments *out = p->out;

	if (!segment.memsz || p->failed)
		return;
	if (out->num == out->cap) {
		size_t cap = out->cap ? out->cap * 2 : 1024;
		struct hs_capture_segment *grown = realloc(out->items, cap * sizeof(*grown));

		if (!grown) {
			p->failed = true;
			return;
		}
		out->items = grown;
		out->cap = cap;
	}
	out->items[out->num++] = segment;
	out->filesz += segment.filesz;
}

static hs_addr page_addr(const struct planner *p, size_t index)
{
	return index < p->num_pages ? p->pages[index].number * HS_STORE_PAGE : UINT64_MAX;
}

static hs_addr range_start(const struct planner *p)
{
	return p->range < p->num_whole ? p->whole[p->range].start : UINT64_MAX;
}

/**
 * The next part at or behind @p at that is to be stored, clipped to @p end.
 * @return its start, or @p end when there is none; *stop_ret is where it ends.
 */
static hs_addr next_part(struct planner *p, hs_addr at, hs_addr end, hs_addr *stop_ret)
{
	while (p->range < p->num_whole && p->whole[p->range].end <= at)
		p->range++;
	while (page_addr(p, p->page) < at)
		p->page++;

	hs_addr from_range = range_start(p) > at ? range_start(p) : at;
	hs_addr from_page = page_addr(p, p->page);
	hs_addr start = from_range < from_page ? from_range : from_page;
	hs_addr stop = start;
	size_t page = p->page, range = p->range;

	if (start >= end)
		return end;
	// Pages and ranges may take turns.
	for (bool grown = true; grown && stop < end;) {
		grown = false;
		while (page_addr(p, page) < stop)
			page++;
		while (page_addr(p, page) == stop && stop < end) {
			stop += HS_STORE_PAGE;
			page++;
			grown = true;
		}
		while (range < p->num_whole && p->whole[range].end <= stop)
			range++;
		if (range < p->num_whole && p->whole[range].start <= stop) {
			stop = p->whole[range].end;
			grown = true;
		}
	}
	*stop_ret = stop < end ? stop : end;
	return start;
}

/** Memory of a mapping that was not in the list, as it was read. */
static void plan_unmapped(struct planner *p, hs_addr end)
{
	while (page_addr(p, p->page) < end) {
		struct hs_capture_segment segment = {
			.start = page_addr(p, p->page),
			.prot = HS_PROT_READ | HS_PROT_WRITE,
			.page = p->page,
		};

		do {
			segment.filesz += HS_STORE_PAGE;
			p->page++;
		} while (page_addr(p, p->page) == segment.start + segment.filesz &&
		         page_addr(p, p->page) < end);
		segment.memsz = segment.filesz;
		add(p, segment);
	}
}

static void plan_mapping(struct planner *p, const struct hs_mapping *mapping)
{
	hs_addr at = mapping->start, stop = 0;

	while (at < mapping->end && !p->failed) {
		hs_addr start = next_part(p, at, mapping->end, &stop);
		size_t page = p->page;

		// Either nothing of it is stored before the first part, or the part before has it.
		if (at == mapping->start && start > at)
			add(p, (struct hs_capture_segment){
				       .start = at,
				       .memsz = start - at,
				       .prot = mapping->prot,
				       .page = page,
			       });
		if (start == mapping->end)
			break;
		hs_addr next_stop, next = stop < mapping->end
		                                  ? next_part(p, stop, mapping->end, &next_stop)
		                                  : mapping->end;
		add(p, (struct hs_capture_segment){
			       .start = start,
			       .memsz = next - start,
			       .filesz = stop - start,
			       .prot = mapping->prot,
			       .page = page,
		       });
		at = next;
	}
	while (page_addr(p, p->page) < mapping->end)
		p->page++;
}

/** Of the kernel, not of the program: reading it is not allowed, or makes no sense later. */
static bool is_left_out(const struct hs_mapping *mapping)
{
	return !strncmp(mapping->path, "[vvar", 5) || !strcmp(mapping->path, "[vsyscall]");
}

struct hs_err *hs_capture_plan(const struct hs_source *source, const struct hs_capture_range *whole,
                               size_t num_whole, struct hs_capture_segments *ret)
{
	struct planner p = {.out = ret, .whole = whole, .num_whole = num_whole};
	const struct hs_module_map *map = &source->modules;

	p.pages = hs_page_store_pages(source->record, &p.num_pages);
	for (size_t i = 0; i < map->num_mappings && !p.failed; i++) {
		plan_unmapped(&p, map->mappings[i].start);
		if (!is_left_out(&map->mappings[i]))
			plan_mapping(&p, &map->mappings[i]);
	}
	plan_unmapped(&p, UINT64_MAX);
	return p.failed ? hs_err_oom() : NULL;
}
