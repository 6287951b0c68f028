// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Text report, as drawn in DESIGN.md 6: the verdict in the first line, one screen tells the story,
 * evidence below it. Everything from the target goes through hs_words_safe().
 */

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "core/base/cleanup.h"
#include "core/render/text_out.h"
#include "core/words.h"

enum {
	DEFAULT_WIDTH = 120,
	MIN_WIDTH = 60,
	MAX_WIDTH = 140,
	/** Column of what a thread holds or waits for. */
	BODY = 15,
	/** Names in "waiting behind them". */
	BEHIND_SHOWN = 12,
	GAPS_SHOWN = 30,
};

const char *hs_text_style(const struct hs_text *text, enum hs_text_style style)
{
	static const char *const codes[] = {
		[HS_TEXT_PLAIN] = "\033[0m",    [HS_TEXT_BOLD] = "\033[1m",
		[HS_TEXT_ALARM] = "\033[1;31m", [HS_TEXT_WARN] = "\033[1;33m",
		[HS_TEXT_GOOD] = "\033[1;32m",  [HS_TEXT_DIM] = "\033[2m",
	};

	return text->options->color ? codes[style] : "";
}

/** Columns of a printable UTF-8 word: one per character is near enough for names. */
static int columns(const char *s, size_t len)
{
	int n = 0;

	for (size_t i = 0; i < len; i++)
		n += ((unsigned char)s[i] & 0xc0) != 0x80;
	return n;
}

void hs_text_wrap(const struct hs_text *text, const char *first, int indent, const char *words)
{
	int column = columns(first, strlen(first));
	bool at_start = true;

	fputs(first, text->out);
	for (const char *p = words; *p;) {
		if (*p == '\n' || *p == ' ') {
			if (*p == '\n' && !at_start) {
				fprintf(text->out, "\n%*s", indent, "");
				column = indent;
				at_start = true;
			}
			p++;
			continue;
		}
		size_t len = strcspn(p, " \n");
		int width = columns(p, len);

		if (!at_start && column + 1 + width > text->width) {
			fprintf(text->out, "\n%*s", indent, "");
			column = indent;
			at_start = true;
		}
		fprintf(text->out, "%s%.*s", at_start ? "" : " ", (int)len, p);
		column += width + !at_start;
		at_start = false;
		p += len;
	}
	fputc('\n', text->out);
}

static const char *plural(size_t count)
{
	return count == 1 ? "" : "s";
}

static void held(const struct hs_text *text, const struct hs_target_info *info)
{
	static const char *const words[] = {
		[HS_CAPTURE_NONE] = "paused",
		[HS_CAPTURE_PAUSE] = "paused",
		[HS_CAPTURE_STOP] = "stopped for",
		[HS_CAPTURE_ROLLING] = "no thread paused longer than",
	};

	if (info->capture == HS_CAPTURE_NO_STOP || info->capture == HS_CAPTURE_PROC)
		fputs(" · never paused", text->out);
	else
		fprintf(text->out, " · %s %.1f ms", words[info->capture], info->pause_ms);
}

/** What a target in a pid namespace of its own calls itself. */
static void own_pid(const struct hs_text *text, pid_t pid)
{
	hs_vec_each (thread, &text->snapshot->threads) {
		if (pid && thread->host_tid == pid && thread->tid && thread->tid != pid)
			fprintf(text->out, " (%d in its own namespace)", thread->tid);
	}
}

static void header(const struct hs_text *text)
{
	const struct hs_snapshot *s = text->snapshot;
	struct hs_arena *a = text->arena;
	const struct hs_target_info *info = &s->info;

	fprintf(text->out, "hangscope %s", text->options->version);
	if (info->kind == HS_TARGET_LIVE)
		fputs(" · live", text->out);
	else if (info->path)
		fprintf(text->out, " · %s%s", info->kind == HS_TARGET_SNAPSHOT ? "snapshot " : "",
		        hs_words_safe(a,
		                      hs_words_base_name(info->unpacked_from ? info->unpacked_from
		                                                             : info->path)));
	if (info->pid)
		fprintf(text->out, " · pid %d", info->pid);
	own_pid(text, info->pid);
	if (info->exe)
		fprintf(text->out, " %s", hs_words_safe(a, hs_words_base_name(info->exe)));
	if (s->runtime.version)
		fprintf(text->out, " · %s %s%s%s",
		        strcmp(s->runtime.kind, "hotspot") == 0 ? "OpenJDK"
		                                                : hs_words_safe(a, s->runtime.kind),
		        hs_words_safe(a, s->runtime.version), s->runtime.gc ? " " : "",
		        s->runtime.gc ? hs_words_safe(a, s->runtime.gc) : "");
	if (info->signo)
		fprintf(text->out, " · killed by signal %d", info->signo);
	fprintf(text->out, " · %zu thread%s", s->threads.len, plural(s->threads.len));
	if (info->pause_ms >= 0)
		held(text, info);
	fputs("\n\n", text->out);
}

static void headline(const struct hs_text *text, const struct hs_finding *f)
{
	static const struct {
		const char *word;
		enum hs_text_style style;
	} heads[] = {
		[HS_VERDICT_CLEAR] = {"CLEAR",             HS_TEXT_GOOD },
		[HS_VERDICT_INCOMPLETE] = {"INCOMPLETE",        HS_TEXT_WARN },
		[HS_VERDICT_CONTENTION] = {"CONTENTION",        HS_TEXT_WARN },
		[HS_VERDICT_LOOP] = {"LOOP",              HS_TEXT_ALARM},
		[HS_VERDICT_STALL] = {"STALL",             HS_TEXT_WARN },
		[HS_VERDICT_POSSIBLE_DEADLOCK] = {"POSSIBLE DEADLOCK", HS_TEXT_ALARM},
		[HS_VERDICT_DEADLOCK] = {"DEADLOCK",          HS_TEXT_ALARM},
	};

	fprintf(text->out, "%s%s%s  %s%s%s", hs_text_style(text, heads[f->verdict].style),
	        heads[f->verdict].word, hs_text_style(text, HS_TEXT_PLAIN),
	        hs_text_style(text, HS_TEXT_BOLD), f->title, hs_text_style(text, HS_TEXT_PLAIN));
	if (f->steps.len && f->blocked.len)
		fprintf(text->out, "; %zu more thread%s wait%s behind %s", f->blocked.len,
		        f->blocked.len == 1 ? "" : "s", f->blocked.len == 1 ? "s" : "",
		        f->steps.len == 1 ? "it" : "them");
	fputs("\n\n", text->out);
}

static void thread_line(const struct hs_text *text, uint32_t thread)
{
	const struct hs_thread *t = &text->snapshot->threads.items[thread];

	fprintf(text->out, "  %s%s%s", hs_text_style(text, HS_TEXT_BOLD),
	        hs_words_thread(text->arena, text->snapshot, thread),
	        hs_text_style(text, HS_TEXT_PLAIN));
	if (t->tid && t->name && *t->name)
		fprintf(text->out, " tid %d", t->tid);
	if (t->kind == HS_THREAD_VIRTUAL && t->name && *t->name)
		fprintf(text->out, " virtual thread #%" PRId64, t->java_tid);
	if (t->carrier != HS_NONE)
		fprintf(text->out, " on carrier %s",
		        hs_words_thread(text->arena, text->snapshot, t->carrier));
	if (t->host_tid && t->host_tid != t->tid)
		fprintf(text->out, " (%d on the host)", t->host_tid);
	fputc('\n', text->out);
}

static void hold_lines(const struct hs_text *text, const struct hs_edge *hold)
{
	const struct hs_snapshot *s = text->snapshot;
	struct hs_arena *a = text->arena;
	const struct hs_resource *r = &s->resources.items[hold->resource];
	const struct hs_frame *frame = hs_words_hold_frame(s, hold);
	bool loading = hold->subject_class && r->kind == HS_RES_LOADER_LOCK;

	fprintf(text->out, "    holds      %s\n", hs_words_hold(a, s, hold));
	if (!frame && !loading)
		return;
	fprintf(text->out, "%*s", BODY, "");
	if (frame)
		fprintf(text->out, "%s %s",
		        r->kind == HS_RES_CLASS_LINK || r->kind == HS_RES_CLASS_INIT ? "at"
		                                                                     : "taken at",
		        hs_words_frame(a, frame));
	if (loading)
		fprintf(text->out, "%sloading %s", frame ? ", " : "",
		        hs_words_safe(a, hold->subject_class));
	fputc('\n', text->out);
}

static void wait_lines(const struct hs_text *text, const struct hs_edge *wait,
                       const struct hs_edge *hold)
{
	const struct hs_snapshot *s = text->snapshot;
	const struct hs_frame *frame = hs_words_wait_frame(s, wait);

	fprintf(text->out, "    waits for  %s\n", hs_words_wait(text->arena, s, wait, hold));
	if (frame)
		fprintf(text->out, "%*sat %s\n", BODY, "", hs_words_frame(text->arena, frame));
}

static void behind_line(const struct hs_text *text, const struct hs_finding *f)
{
	if (!f->blocked.len)
		return;
	const char *first = f->steps.len == 1 || !f->steps.len ? "  waiting behind it: "
	                                                       : "  waiting behind them: ";

	hs_text_wrap(text, first, 4,
	             hs_words_threads(text->arena, text->snapshot, f->blocked.items, f->blocked.len,
	                              BEHIND_SHOWN));
}

static void cycle_lines(const struct hs_text *text, const struct hs_finding *f)
{
	for (size_t i = 0; i < f->steps.len; i++) {
		const struct hs_step *step = &f->steps.items[i];
		const struct hs_step *before =
			&f->steps.items[(i + f->steps.len - 1) % f->steps.len];

		thread_line(text, step->wait->thread);
		hold_lines(text, before->hold);
		wait_lines(text, step->wait, step->hold);
	}
}

/** Contention: the root, what it holds, what it does. */
static void root_lines(const struct hs_text *text, const struct hs_finding *f)
{
	const struct hs_snapshot *s = text->snapshot;
	size_t count;

	if (!f->threads.len || !f->resources.len)
		return;
	const struct hs_edge *const *holds =
		hs_wait_graph_holders(text->report->graph, f->resources.items[0], &count);

	thread_line(text, f->threads.items[0]);
	for (size_t i = 0; i < count; i++) {
		if (holds[i]->thread == f->threads.items[0])
			hold_lines(text, holds[i]);
	}
	fprintf(text->out, "    now        %s\n",
	        hs_words_activity(text->arena, s, f->threads.items[0]));
}

static void list(const struct hs_text *text, const char *head, const char *const *items, size_t len)
{
	char first[32];

	for (size_t i = 0; i < len; i++) {
		if (len == 1)
			snprintf(first, sizeof(first), "  %-6s", i ? "" : head);
		else
			snprintf(first, sizeof(first), "  %-6s%zu. ", i ? "" : head, i + 1);
		hs_text_wrap(text, first, len == 1 ? 8 : 11, items[i]);
	}
}

static void finding(const struct hs_text *text, const struct hs_finding *f)
{
	headline(text, f);
	if (f->steps.len)
		cycle_lines(text, f);
	else
		root_lines(text, f);
	behind_line(text, f);
	fputc('\n', text->out);
	hs_text_wrap(text, "  Why   ", 8, f->why);
	list(text, "Fix", f->fix.items, f->fix.len);
	for (size_t i = 0; i < f->known.len; i++)
		fprintf(text->out, "  %-6s%s\n        %s\n", i ? "" : "Known",
		        f->known.items[i].title, f->known.items[i].url);
	for (size_t i = 0; i < f->evidence.len; i++)
		hs_text_wrap(text, i ? "            " : "  Evidence  ", 14, f->evidence.items[i]);
	if (text->snapshot->info.ran_on)
		fprintf(text->out, "  %s\n",
		        f->confirmed
		                ? "Confirmed: a second look found its threads in the same place, "
		                  "with the same lock words."
		                : "Not confirmed by a second look.");
	fprintf(text->out, "  %s%s · signature %s%s\n\n", hs_text_style(text, HS_TEXT_DIM), f->id,
	        f->signature, hs_text_style(text, HS_TEXT_PLAIN));
}

static void gaps(const struct hs_text *text)
{
	const struct hs_snapshot *s = text->snapshot;

	if (!s->gaps.len)
		return;
	fputs("Could not be read\n", text->out);
	for (size_t i = 0; i < s->gaps.len && i < GAPS_SHOWN; i++) {
		const struct hs_gap *gap = &s->gaps.items[i];
		const char *line = hs_arena_printf(text->arena, "%s: %s. Costs: %s.",
		                                   hs_words_safe(text->arena, gap->subject),
		                                   hs_words_safe(text->arena, gap->reason),
		                                   hs_words_safe(text->arena, gap->costs));

		if (line)
			hs_text_wrap(text, "  ", 4, line);
	}
	if (s->gaps.len > GAPS_SHOWN)
		fprintf(text->out, "  … and %zu more (--json lists them)\n",
		        s->gaps.len - GAPS_SHOWN);
}

static void nothing_found(const struct hs_text *text)
{
	const struct hs_report *report = text->report;
	const struct hs_snapshot *s = text->snapshot;

	if (s->info.capture == HS_CAPTURE_PROC) {
		fprintf(text->out,
		        "%sINCOMPLETE%s  attaching was refused: this is what /proc alone tells\n\n",
		        hs_text_style(text, HS_TEXT_WARN), hs_text_style(text, HS_TEXT_PLAIN));
		hs_text_stacks(text);
		return;
	}
	if (report->verdict == HS_VERDICT_INCOMPLETE && !s->threads.len) {
		fprintf(text->out,
		        "%sINCOMPLETE%s  nothing is known of its threads; see below why\n\n",
		        hs_text_style(text, HS_TEXT_WARN), hs_text_style(text, HS_TEXT_PLAIN));
		return;
	}
	if (report->verdict == HS_VERDICT_INCOMPLETE) {
		fprintf(text->out,
		        "%sINCOMPLETE%s  no deadlock among what could be read; see below what "
		        "could not\n\n",
		        hs_text_style(text, HS_TEXT_WARN), hs_text_style(text, HS_TEXT_PLAIN));
		return;
	}
	fprintf(text->out,
	        "%sCLEAR%s  no threads wait for each other, and nobody waits behind "
	        "another thread\n\n",
	        hs_text_style(text, HS_TEXT_GOOD), hs_text_style(text, HS_TEXT_PLAIN));
	if (report->unconfirmed_dropped)
		hs_text_wrap(
			text, "  ", 2,
			"A wait that looked like a problem at the first look had moved on at the "
			"second.");
	fprintf(text->out,
	        "  Read: %zu thread%s, %zu wait%s, %zu held lock%s. What each thread does: "
	        "hangscope "
	        "stacks %s\n\n",
	        s->threads.len, plural(s->threads.len), s->waits.len, plural(s->waits.len),
	        s->holds.len, plural(s->holds.len),
	        s->info.kind == HS_TARGET_LIVE       ? "PID"
	        : s->info.kind == HS_TARGET_SNAPSHOT ? "FILE"
	                                             : "CORE");
}

static void report_view(const struct hs_text *text)
{
	if (!text->report->findings.len)
		nothing_found(text);
	hs_vec_each (f, &text->report->findings)
		finding(text, f);
	gaps(text);
}

static struct hs_err *render_view(struct hs_text *text)
{
	header(text);
	switch (text->options->view) {
	case HS_VIEW_REPORT:
		report_view(text);
		break;
	case HS_VIEW_STACKS:
		hs_text_stacks(text);
		gaps(text);
		break;
	case HS_VIEW_GRAPH:
		hs_text_graph(text);
		break;
	}
	return hs_arena_failed(text->arena) ? hs_err_oom() : NULL;
}

static struct hs_err *text_render(const struct hs_report *report,
                                  const struct hs_render_options *options, FILE *out)
{
	hs_cleanup(hs_arena_destroyp) struct hs_arena *scratch = hs_arena_create();
	struct hs_map64 frame_words = {0};
	struct hs_text text = {
		.out = out,
		.arena = scratch,
		.report = report,
		.snapshot = report->snapshot,
		.options = options,
		.width = options->width,
		.frame_words = &frame_words,
	};

	if (!scratch)
		return hs_err_oom();
	if (text.width <= 0)
		text.width = DEFAULT_WIDTH;
	text.width = text.width < MIN_WIDTH   ? MIN_WIDTH
	             : text.width > MAX_WIDTH ? MAX_WIDTH
	                                      : text.width;
	struct hs_err *err = render_view(&text);
	hs_map64_deinit(&frame_words);
	if (err)
		return err;
	return fflush(out) || ferror(out) ? hs_err_os(errno, "cannot write the report") : NULL;
}

const struct hs_renderer hs_renderer_text = {
	.name = "text",
	.suffix = ".txt",
	.views = 1 << HS_VIEW_REPORT | 1 << HS_VIEW_STACKS | 1 << HS_VIEW_GRAPH,
	.render = text_render,
};
