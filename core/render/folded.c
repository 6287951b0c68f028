// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Folded stacks: one line for equal stacks, outermost frame first, with the number of threads. The
 * input of flame graph tools.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/renderer.h"
#include "core/words.h"

/** What stands between frames must not stand in one. */
static const char *frame_text(struct hs_arena *arena, const struct hs_frame *frame)
{
	const char *words = hs_words_frame(arena, frame);
	char *copy = hs_arena_strdup(arena, words);

	for (char *c = copy; c && (c = strchr(c, ';')); c++)
		*c = ',';
	return copy ? copy : "?";
}

static const char *stack_line(struct hs_arena *arena, const struct hs_thread *t)
{
	const char **texts = hs_arena_calloc(arena, (size_t)t->num_frames + 1, sizeof(*texts));
	size_t len = 1;

	if (!texts)
		return NULL;
	for (uint32_t i = 0; i < t->num_frames; i++) {
		texts[i] = frame_text(arena, &t->frames[i]);
		len += strlen(texts[i]) + 1;
	}
	char *line = hs_arena_alloc(arena, len), *end = line;
	if (!line)
		return NULL;
	for (uint32_t i = t->num_frames; i-- > 0;) {
		if (end != line)
			*end++ = ';';
		end = stpcpy(end, texts[i]);
	}
	return line;
}

static int compare_lines(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static struct hs_err *folded_render(const struct hs_report *report,
                                    const struct hs_render_options *options, FILE *out)
{
	hs_cleanup(hs_arena_destroyp) struct hs_arena *scratch = hs_arena_create();
	const struct hs_snapshot *s = report->snapshot;
	size_t num = 0;

	if (!scratch)
		return hs_err_oom();
	const char **lines = hs_arena_calloc(scratch, s->threads.len + 1, sizeof(*lines));
	if (!lines)
		return hs_err_oom();
	hs_vec_each (t, &s->threads) {
		if (!t->num_frames || (options->thread && !hs_thread_is_called(t, options->thread)))
			continue;
		lines[num] = stack_line(scratch, t);
		if (!lines[num++])
			return hs_err_oom();
	}
	qsort(lines, num, sizeof(*lines), compare_lines);
	for (size_t i = 0, count = 1; i < num; i++, count++) {
		if (i + 1 < num && strcmp(lines[i], lines[i + 1]) == 0)
			continue;
		fprintf(out, "%s %zu\n", lines[i], count);
		count = 0;
	}
	return fflush(out) || ferror(out) ? hs_err_os(errno, "cannot write the report") : NULL;
}

const struct hs_renderer hs_renderer_folded = {
	.name = "folded",
	.suffix = ".folded",
	.views = 1 << HS_VIEW_STACKS,
	.render = folded_render,
};
