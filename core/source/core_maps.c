// SPDX-License-Identifier: Apache-2.0
/** @file The mappings of a core: rows of NT_FILE, and segments that no row covers. */

#include <elf.h>
#include <stdlib.h>

#include "core/limits.h"
#include "core/source/core_file.h"

struct sweep {
	struct core *core;
	HS_VEC(struct hs_mapping) mappings;
	hs_addr vdso;  // AT_SYSINFO_EHDR, 0 if none
	hs_addr stack; // an address in the initial stack, 0 if none
};

/** fs/proc/task_mmu.c prints it; it lies in the kernel's half (asm/vsyscall.h). */
static const hs_addr vsyscall = 0xffffffffff600000;

static int compare_files(const void *a, const void *b)
{
	const struct hs_mapping *x = a, *y = b;

	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	return (x->end > y->end) - (x->end < y->end);
}

/** Sort the rows of NT_FILE; one that overlaps the row before it is dropped. */
static void order_files(struct core *core)
{
	struct hs_mapping *files = core->notes.files.items;
	size_t kept = 0, len = core->notes.files.len;

	if (len)
		qsort(files, len, sizeof(*files), compare_files);
	for (size_t i = 0; i < len; i++) {
		if (kept && files[i].start < files[kept - 1].end)
			core->notes.num_bad++;
		else
			files[kept++] = files[i];
	}
	core->notes.files.len = kept;
}

static void add(struct sweep *sweep, struct hs_mapping mapping)
{
	if (sweep->mappings.len == HS_MAX_MAPPINGS) {
		sweep->core->notes.capped = true;
		return;
	}
	struct hs_mapping *slot = hs_vec_push(sweep->core->base.arena, &sweep->mappings);
	if (slot)
		*slot = mapping;
}

/** Add a part of a segment that has no row. */
static void add_anonymous(struct sweep *sweep, hs_addr start, hs_addr end, unsigned prot)
{
	struct hs_mapping mapping = {
		.start = start, .end = end, .prot = prot, .path = "", .module = UINT32_MAX};

	if (start >= end)
		return;
	if (sweep->vdso && hs_addr_in(sweep->vdso, start, end)) {
		add_anonymous(sweep, start, sweep->vdso, prot);
		mapping.start = sweep->vdso;
		mapping.path = "[vdso]";
	} else if (hs_addr_in(sweep->stack, start, end)) {
		mapping.path = "[stack]";
	} else if (start == vsyscall) {
		mapping.path = "[vsyscall]";
	}
	add(sweep, mapping);
}

/**
 * Protection of a row: that of the segments that cover it from end to end, if they agree.
 * @param segment The first one that ends after the row's start.
 */
static unsigned prot_of(const struct core *core, size_t segment, hs_addr start, hs_addr end)
{
	unsigned prot = HS_PROT_UNKNOWN;
	hs_addr covered = start;

	for (size_t i = segment; i < core->num_segments && covered < end; i++) {
		const struct core_segment *one = &core->segments[i];

		if (one->start > covered || (covered != start && one->prot != prot))
			return HS_PROT_UNKNOWN;
		prot = one->prot;
		covered = one->end;
	}
	return covered < end ? HS_PROT_UNKNOWN : prot;
}

struct hs_err *hs_core_build_mappings(struct core *core)
{
	struct sweep sweep = {
		.core = core,
		.vdso = core->vdso ?: hs_core_auxv(core, AT_SYSINFO_EHDR),
		.stack = hs_core_auxv(core, AT_RANDOM),
	};
	size_t segment = 0;
	hs_addr done = 0; // everything below is in the list

	order_files(core);
	hs_vec_each (file, &core->notes.files) {
		while (segment < core->num_segments && core->segments[segment].end <= file->start) {
			const struct core_segment *one = &core->segments[segment++];

			add_anonymous(&sweep, one->start > done ? one->start : done, one->end,
			              one->prot);
		}
		file->prot = prot_of(core, segment, file->start, file->end);
		if (segment < core->num_segments) {
			const struct core_segment *one = &core->segments[segment];

			add_anonymous(&sweep, one->start > done ? one->start : done, file->start,
			              one->prot);
		}
		add(&sweep, *file);
		done = file->end;
		// Segments, or parts of one, between this row's end and the next come next round.
	}
	for (; segment < core->num_segments; segment++) {
		const struct core_segment *one = &core->segments[segment];

		add_anonymous(&sweep, one->start > done ? one->start : done, one->end, one->prot);
	}
	core->mappings = sweep.mappings.items;
	core->num_mappings = sweep.mappings.len;
	return hs_arena_failed(core->base.arena) ? hs_err_oom() : NULL;
}
