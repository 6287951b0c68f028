// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Renderer: report → FILE. A new one: add core/render/NAME.c that defines
 * `const struct hs_renderer hs_renderer_NAME`. No lookups in a target and no judgement in a
 * renderer; it escapes everything that comes from the target.
 */
#ifndef HS_RENDERER_H
#define HS_RENDERER_H

#include <stdio.h>

#include "core/report.h"

enum hs_view {
	HS_VIEW_REPORT, /**< analyze: verdict, findings, blocked, gaps */
	HS_VIEW_STACKS, /**< stacks: all threads */
	HS_VIEW_GRAPH,  /**< graph: waits and holds */
};

struct hs_render_options {
	enum hs_view view;
	bool color;          /**< terminal escapes allowed */
	bool all;            /**< stacks: do not fold equal ones */
	const char *thread;  /**< stacks: only this tid or name; NULL all */
	int width;           /**< of the terminal, 0: 100 */
	const char *version; /**< of the tool */
};

struct hs_renderer {
	const char *name;   /**< what --format= takes, and the file name */
	const char *suffix; /**< of a file of this kind */
	unsigned views;     /**< bit set of 1 << enum hs_view */
	/** @return NULL, or HS_ERR_OS (the stream failed), HS_ERR_OOM. */
	HS_MUST_CHECK struct hs_err *(*render)(const struct hs_report *report,
	                                       const struct hs_render_options *options, FILE *out);
};

/** All of them, NULL at the end, by name. */
extern const struct hs_renderer *const hs_renderers[];

const struct hs_renderer *hs_renderer_find(const char *name, enum hs_view view);

#endif // HS_RENDERER_H
