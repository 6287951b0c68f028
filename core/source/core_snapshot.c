// SPDX-License-Identifier: Apache-2.0
/** @file A core that `hangscope snapshot` wrote: its own notes laid over what the core says. */

#include <stdlib.h>
#include <string.h>

#include "core/source/core_file.h"

static int compare_lwps(const void *a, const void *b)
{
	pid_t x = ((const struct hs_lwp *)a)->tid, y = ((const struct hs_lwp *)b)->tid;

	return (x > y) - (x < y);
}

/** What the note of a thread says, with the registers of its NT_PRSTATUS, if it has one. */
static struct hs_lwp join(const struct hs_lwp *note, const struct hs_lwp *core)
{
	struct hs_lwp lwp = *note;

	lwp.regs = core ? core->regs : (struct hs_regs){0};
	lwp.regs.valid &= note->regs.valid;
	lwp.has_regs = core && lwp.regs.valid;
	lwp.thread_pointer = core ? core->thread_pointer : 0;
	if (!lwp.has_regs && !lwp.why_no_regs)
		lwp.why_no_regs = "the snapshot has none of it";
	return lwp;
}

/** Threads of both, by tid; a thread that only the core has stays as it is. */
static struct hs_err *join_threads(struct core *core)
{
	struct hs_snapshot_notes *notes = &core->notes.snapshot;
	struct hs_source *source = &core->base;
	size_t num_old = source->num_lwps, old = 0, num = 0;
	struct hs_lwp *lwps =
		hs_arena_calloc(source->arena, num_old + notes->threads.len, sizeof(*lwps));

	if (!lwps)
		return hs_err_oom();
	if (notes->threads.len)
		qsort(notes->threads.items, notes->threads.len, sizeof(*notes->threads.items),
		      compare_lwps);
	hs_vec_each (note, &notes->threads) {
		const struct hs_lwp *same = NULL;

		while (old < num_old && source->lwps[old].tid < note->tid)
			lwps[num++] = source->lwps[old++];
		if (num && lwps[num - 1].tid == note->tid) {
			notes->num_bad++;
			continue;
		}
		if (old < num_old && source->lwps[old].tid == note->tid)
			same = &source->lwps[old++];
		lwps[num++] = join(note, same);
	}
	while (old < num_old)
		lwps[num++] = source->lwps[old++];
	source->lwps = lwps;
	source->num_lwps = num;
	return NULL;
}

const char *hs_core_fd_link(struct hs_source *source, int fd)
{
	const struct core *core = (const struct core *)source;
	size_t low = 0, high = core->notes.snapshot.fd_links.len;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct hs_fd_link *link = &core->notes.snapshot.fd_links.items[middle];

		if (link->fd == fd)
			return link->target;
		if (link->fd < fd)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

struct hs_err *hs_core_apply_snapshot(struct core *core, const struct hs_open_options *options)
{
	struct hs_snapshot_notes *notes = &core->notes.snapshot;
	struct hs_target_info *info = &core->base.info;
	const struct hs_target_info *told = &notes->info;

	info->kind = HS_TARGET_SNAPSHOT;
	if (notes->format > HS_SNAPSHOT_FORMAT) {
		info->ran_on = true;
		hs_source_gap(&core->base, core->path,
		              "names and states of threads, and whether findings were confirmed",
		              "a newer hangscope wrote it (format %d, known is %d): its own notes "
		              "are left out",
		              notes->format, HS_SNAPSHOT_FORMAT);
		return NULL;
	}
	info->pid = told->pid ? told->pid : info->pid;
	info->exe = !options->exe && told->exe ? told->exe : info->exe;
	info->args = told->args && told->args[0] ? told->args : info->args;
	info->host = told->host;
	info->captured_at = told->captured_at ? told->captured_at : info->captured_at;
	info->captured_ms = told->captured_ms;
	info->captured_ns = told->captured_ns;
	info->pause_ms = told->pause_ms;
	info->capture = told->capture;
	info->ran_on = told->ran_on;
	info->second_look = notes->second_look.confirmed && notes->second_look.dropped
	                            ? &notes->second_look
	                            : NULL;
	hs_vec_each (gap, &notes->gaps)
		hs_source_gap(&core->base, gap->subject, gap->costs, "%s", gap->reason);
	struct hs_err *err = join_threads(core);
	if (!err && notes->num_bad)
		hs_source_gap(&core->base, core->path, "names and states of threads",
		              "notes of the snapshot, or parts of them, that make no sense: %zu",
		              notes->num_bad);
	return err;
}
