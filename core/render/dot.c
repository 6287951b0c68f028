// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Graphviz: threads as boxes, resources as ellipses, waits and holds as arrows; the edges of a
 * cycle in red. Only what takes part in a wait is drawn.
 */

#include <errno.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/renderer.h"
#include "core/words.h"

struct drawing {
	FILE *out;
	struct hs_arena *arena;
	const struct hs_report *report;
	const struct hs_snapshot *snapshot;
};

/** A double-quoted dot string; the words are printable already. */
static void quoted(struct drawing *d, const char *words)
{
	fputc('"', d->out);
	for (const char *p = words; *p; p++) {
		if (*p == '"' || *p == '\\')
			fputc('\\', d->out);
		fputc(*p, d->out);
	}
	fputc('"', d->out);
}

static bool in_cycle(const struct hs_report *report, const struct hs_edge *edge)
{
	hs_vec_each (f, &report->findings) {
		for (size_t i = 0; i < f->steps.len; i++) {
			if (f->steps.items[i].wait == edge || f->steps.items[i].hold == edge)
				return true;
		}
	}
	return false;
}

static void edge_line(struct drawing *d, const struct hs_edge *e, bool is_wait)
{
	const char *style = e->certainty == HS_READ ? "solid" : "dashed";
	const char *colour = in_cycle(d->report, e) ? "red" : "gray30";

	if (is_wait)
		fprintf(d->out, "  T%u -> R%u [label=\"waits for\"", e->thread + 1,
		        e->resource + 1);
	else
		fprintf(d->out, "  R%u -> T%u [label=\"held by\"", e->resource + 1, e->thread + 1);
	fprintf(d->out, ", style=%s, color=%s, tooltip=", style, colour);
	quoted(d, hs_words_safe(d->arena, e->read_from));
	fputs("];\n", d->out);
}

static void nodes(struct drawing *d)
{
	const struct hs_snapshot *s = d->snapshot;
	size_t waits, holds;

	for (uint32_t i = 0; i < s->threads.len; i++) {
		bool drawn = hs_wait_graph_wait_of(d->report->graph, i) != NULL;
		const struct hs_edge *const *held = hs_wait_graph_held(d->report->graph, i, &holds);

		for (size_t j = 0; !drawn && j < holds; j++) {
			hs_wait_graph_waiters(d->report->graph, held[j]->resource, &waits);
			drawn = waits > 0;
		}
		if (!drawn)
			continue;
		fprintf(d->out, "  T%u [shape=box, label=", i + 1);
		quoted(d, hs_words_thread(d->arena, s, i));
		fputs("];\n", d->out);
	}
	for (uint32_t i = 0; i < s->resources.len; i++) {
		hs_wait_graph_waiters(d->report->graph, i, &waits);
		if (!waits)
			continue;
		fprintf(d->out, "  R%u [shape=ellipse, label=", i + 1);
		quoted(d, hs_words_safe(d->arena, s->resources.items[i].label));
		fputs("];\n", d->out);
	}
}

static struct hs_err *dot_render(const struct hs_report *report,
                                 const struct hs_render_options *options, FILE *out)
{
	hs_cleanup(hs_arena_destroyp) struct hs_arena *scratch = hs_arena_create();
	const struct hs_snapshot *s = report->snapshot;
	struct drawing d = {out, scratch, report, s};
	size_t waits;

	(void)options;
	if (!scratch)
		return hs_err_oom();
	fputs("digraph hangscope {\n  rankdir=LR;\n  node [fontname=\"sans-serif\"];\n", out);
	nodes(&d);
	hs_vec_each (wait, &s->waits)
		edge_line(&d, wait, true);
	hs_vec_each (hold, &s->holds) {
		hs_wait_graph_waiters(report->graph, hold->resource, &waits);
		if (waits)
			edge_line(&d, hold, false);
	}
	fputs("}\n", out);
	if (hs_arena_failed(scratch))
		return hs_err_oom();
	return fflush(out) || ferror(out) ? hs_err_os(errno, "cannot write the graph") : NULL;
}

const struct hs_renderer hs_renderer_dot = {
	.name = "dot",
	.suffix = ".dot",
	.views = 1 << HS_VIEW_GRAPH,
	.render = dot_render,
};
