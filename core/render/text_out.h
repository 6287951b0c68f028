// SPDX-License-Identifier: Apache-2.0
/** @file What the parts of the text renderer share. Not installed. */
#ifndef HS_TEXT_OUT_H
#define HS_TEXT_OUT_H

#include <stdio.h>

#include "core/base/map64.h"
#include "core/renderer.h"

struct hs_text {
	FILE *out;
	struct hs_arena *arena; /**< scratch for words, dies with the rendering */
	const struct hs_report *report;
	const struct hs_snapshot *snapshot;
	const struct hs_render_options *options;
	int width; /**< columns */
	/** hs_location * → its words: thousands of threads stand in a few hundred places. */
	struct hs_map64 *frame_words;
};

enum hs_text_style {
	HS_TEXT_PLAIN,
	HS_TEXT_BOLD,
	HS_TEXT_ALARM, /**< bold red */
	HS_TEXT_WARN,  /**< bold yellow */
	HS_TEXT_GOOD,  /**< bold green */
	HS_TEXT_DIM,
};

/** Escape sequence that starts @p style, or that ends any with HS_TEXT_PLAIN; "" without colour. */
const char *hs_text_style(const struct hs_text *text, enum hs_text_style style);

/** Print @p words wrapped to the width, @p first before the first line, @p indent before others. */
void hs_text_wrap(const struct hs_text *text, const char *first, int indent, const char *words);

/** All threads with their stacks. */
void hs_text_stacks(const struct hs_text *text);

/** Waits and holds, one line each. */
void hs_text_graph(const struct hs_text *text);

/** Lines of a frame's local variables (--locals). */
void hs_text_locals(const struct hs_text *text, const struct hs_frame *frame);

#endif // HS_TEXT_OUT_H
