// SPDX-License-Identifier: Apache-2.0
/** @file The tables of analyzers and renderers, expanded from what CMake found in their folders. */

#include <stdlib.h>
#include <string.h>

#include "core/analyzer.h"
#include "core/renderer.h"

#define HS_ANALYZER_ROW(name) extern const struct hs_analyzer hs_analyzer_##name;
#include "analyzers.def"
#undef HS_ANALYZER_ROW

const struct hs_analyzer *const hs_analyzers[] = {
#define HS_ANALYZER_ROW(name) &hs_analyzer_##name,
#include "analyzers.def"
#undef HS_ANALYZER_ROW
	NULL,
};

#define HS_RENDERER_ROW(name) extern const struct hs_renderer hs_renderer_##name;
#include "renderers.def"
#undef HS_RENDERER_ROW

const struct hs_renderer *const hs_renderers[] = {
#define HS_RENDERER_ROW(name) &hs_renderer_##name,
#include "renderers.def"
#undef HS_RENDERER_ROW
	NULL,
};

static int by_priority(const void *a, const void *b)
{
	const struct hs_analyzer *x = *(const struct hs_analyzer *const *)a;
	const struct hs_analyzer *y = *(const struct hs_analyzer *const *)b;

	return x->priority != y->priority
	               ? (x->priority > y->priority) - (x->priority < y->priority)
	               : strcmp(x->name, y->name);
}

struct hs_err *hs_analyzers_run(const struct hs_wait_graph *graph, struct hs_report *report)
{
	enum {
		COUNT = sizeof(hs_analyzers) / sizeof(*hs_analyzers) - 1
	};
	const struct hs_analyzer *order[COUNT];

	memcpy(order, hs_analyzers, sizeof(order));
	qsort(order, COUNT, sizeof(*order), by_priority);
	for (size_t i = 0; i < COUNT; i++) {
		struct hs_err *err = order[i]->run(graph, report);

		if (err)
			return hs_err_wrap(err, "analyzer %s", order[i]->name);
	}
	return NULL;
}

const struct hs_renderer *hs_renderer_find(const char *name, enum hs_view view)
{
	for (size_t i = 0; hs_renderers[i]; i++) {
		if (strcmp(hs_renderers[i]->name, name) == 0 && hs_renderers[i]->views >> view & 1)
			return hs_renderers[i];
	}
	return NULL;
}
