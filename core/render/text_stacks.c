// SPDX-License-Identifier: Apache-2.0
/** @file Text of all stacks: equal ones once, with the names of their threads. */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/render/text_out.h"
#include "core/words.h"

enum {
	NAMES_SHOWN = 8
};

static uint64_t stack_hash(const struct hs_thread *thread)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (uint32_t i = 0; i < thread->num_frames; i++)
		hash = (hash ^ (uintptr_t)thread->frames[i].location) *
		       UINT64_C(0x9e3779b97f4a7c15);
	return hash;
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

/** Same places in the same order; locks may differ: each thread has its own. */
static bool same_stack(const struct hs_thread *a, const struct hs_thread *b)
{
	if (a->num_frames != b->num_frames || a->kind != b->kind)
		return false;
	// Where the kernel is all that is known, it is all that can be the same.
	if (!same_text(a->wchan, b->wchan) || !same_text(a->kernel_stack, b->kernel_stack) ||
	    (!a->num_frames && !same_text(a->state, b->state)))
		return false;
	for (uint32_t i = 0; i < a->num_frames; i++) {
		if (a->frames[i].location != b->frames[i].location)
			return false;
	}
	return true;
}

static bool wanted(const struct hs_text *text, const struct hs_thread *thread)
{
	return !text->options->thread || hs_thread_is_called(thread, text->options->thread);
}

/** Does the thread wait for another one that initializes a class? */
static bool is_class_wait(const struct hs_snapshot *snapshot, const struct hs_frame_lock *lock)
{
	return lock->state == HS_LOCK_WAITING_ON && lock->resource != HS_NONE &&
	       snapshot->resources.items[lock->resource].kind == HS_RES_CLASS_INIT;
}

static void lock_lines(const struct hs_text *text, const struct hs_frame *frame)
{
	static const char *const words[] = {
		[HS_LOCK_LOCKED] = "locked",
		[HS_LOCK_WAITING_TO_LOCK] = "waiting to lock",
		[HS_LOCK_WAITING_ON] = "waiting on",
		[HS_LOCK_PARKING] = "parking to wait for",
		[HS_LOCK_ELIMINATED] = "eliminated",
		[HS_LOCK_WAITING_RE_LOCK] = "waiting to re-lock in wait()",
	};

	for (uint16_t i = 0; i < frame->num_locks; i++) {
		const struct hs_frame_lock *lock = &frame->locks[i];

		if (is_class_wait(text->snapshot, lock)) {
			const struct hs_resource *r =
				&text->snapshot->resources.items[lock->resource];

			fprintf(text->out,
			        "          - waiting on the Class initialization monitor for %s\n",
			        hs_words_safe(text->arena, r->class_name));
			continue;
		}
		fprintf(text->out, "          - %s", words[lock->state]);
		if (lock->object)
			fprintf(text->out, " <0x%016" PRIx64 ">", lock->object);
		else
			fputs(lock->state == HS_LOCK_ELIMINATED
			              ? " <owner is scalar replaced>"
			              : " <no object reference available>",
			      text->out);
		if (lock->class_name)
			fprintf(text->out, " (a %s)", hs_words_safe(text->arena, lock->class_name));
		fputc('\n', text->out);
	}
}

static const char *kind_word(const struct hs_location *l, char buf[static 32])
{
	switch (l->kind) {
	case HS_FRAME_INTERPRETED:
		return " [interpreted]";
	case HS_FRAME_COMPILED:
		snprintf(buf, 32, l->tier ? " [compiled, tier %u]" : " [compiled]", l->tier);
		return buf;
	case HS_FRAME_INLINED:
		return " [inlined]";
	case HS_FRAME_STUB:
		return " [VM stub]";
	default:
		return "";
	}
}

static const char *frame_words(const struct hs_text *text, const struct hs_frame *frame)
{
	uint64_t key = (uintptr_t)frame->location;
	const char *words = hs_map64_get(text->frame_words, key);

	if (!words) {
		words = hs_words_frame(text->arena, frame);
		// Without room for it, it is made again next time.
		(void)hs_map64_put(text->frame_words, key, (void *)(uintptr_t)words);
	}
	return words;
}

static void frame_line(const struct hs_text *text, uint32_t i, const struct hs_frame *frame)
{
	const struct hs_location *l = frame->location;
	char buf[32];

	fprintf(text->out, "    #%-3u %s", i, frame_words(text, frame));
	if (l->kind == HS_FRAME_NATIVE && l->function)
		fprintf(text->out, " +0x%" PRIx64, l->function_offset);
	fprintf(text->out, "%s%s%s", hs_text_style(text, HS_TEXT_DIM), kind_word(l, buf),
	        frame->found_by == HS_FOUND_RBP    ? " [guessed by frame pointer]"
	        : frame->found_by == HS_FOUND_SCAN ? " [frames may be missing before it]"
	        : frame->found_by == HS_FOUND_NEAR ? " [about here: it was running]"
	                                           : "");
	fprintf(text->out, "%s\n", hs_text_style(text, HS_TEXT_PLAIN));
	lock_lines(text, frame);
	hs_text_locals(text, frame);
}

static void thread_header(const struct hs_text *text, uint32_t index)
{
	const struct hs_thread *t = &text->snapshot->threads.items[index];

	fprintf(text->out, "%s%s%s", hs_text_style(text, HS_TEXT_BOLD),
	        hs_words_thread(text->arena, text->snapshot, index),
	        hs_text_style(text, HS_TEXT_PLAIN));
	if (t->tid && t->name && *t->name)
		fprintf(text->out, " tid %d", t->tid);
	if (t->host_tid && t->host_tid != t->tid)
		fprintf(text->out, " (%d on the host)", t->host_tid);
	if (t->kind == HS_THREAD_VIRTUAL)
		fprintf(text->out, "%s", t->name && *t->name ? " virtual" : "");
	if (t->java_tid && (t->kind != HS_THREAD_VIRTUAL || (t->name && *t->name)))
		fprintf(text->out, " java #%" PRId64, t->java_tid);
	fprintf(text->out, " · %s",
	        hs_words_safe(text->arena, t->java_state ? t->java_state : t->state));
	if (t->carrier != HS_NONE)
		fprintf(text->out, " · on carrier %s",
		        hs_words_thread(text->arena, text->snapshot, t->carrier));
	if (t->pinned)
		fprintf(text->out, " · pinned: %s", hs_words_safe(text->arena, t->pinned));
	if (t->mounted != HS_NONE)
		fprintf(text->out, " · carries %s",
		        hs_words_thread(text->arena, text->snapshot, t->mounted));
	if (t->syscall)
		fprintf(text->out, " · %s", hs_words_safe(text->arena, t->syscall));
	if (t->wchan)
		fprintf(text->out, " · in the kernel's %s", hs_words_safe(text->arena, t->wchan));
	if (t->start_routine)
		fprintf(text->out, " · started in %s",
		        hs_words_safe(text->arena, t->start_routine));
	if (t->cpu_ms >= 0)
		fprintf(text->out, " · cpu %" PRId64 " ms", t->cpu_ms);
	fputc('\n', text->out);
}

static void print_frames(const struct hs_text *text, const struct hs_thread *t)
{
	for (const char *line = t->kernel_stack; line && *line;) {
		size_t len = strcspn(line, "\n");
		const char *name = hs_arena_strndup(text->arena, line, len);

		fprintf(text->out, "    %s%s [kernel]%s\n", hs_text_style(text, HS_TEXT_DIM),
		        hs_words_safe(text->arena, name), hs_text_style(text, HS_TEXT_PLAIN));
		line += len + (line[len] == '\n');
	}
	for (uint32_t i = 0; i < t->num_frames; i++)
		frame_line(text, i, &t->frames[i]);
	if (!t->num_frames && t->kind == HS_THREAD_VIRTUAL && !t->frames_cut)
		fputs("    (no frames)\n", text->out);
	else if (!t->num_frames && text->snapshot->info.capture != HS_CAPTURE_PROC)
		fputs("    (no frames: see below what could not be read)\n", text->out);
	else if (t->frames_cut)
		fputs("    … (the walk ended here: see below)\n", text->out);
	fputc('\n', text->out);
}

struct group {
	uint64_t hash;
	uint32_t thread;
};

static int by_hash(const void *a, const void *b)
{
	const struct group *x = a, *y = b;

	if (x->hash != y->hash)
		return (x->hash > y->hash) - (x->hash < y->hash);
	return (x->thread > y->thread) - (x->thread < y->thread);
}

static bool is_proc_only(const struct hs_text *text)
{
	return text->snapshot->info.capture == HS_CAPTURE_PROC;
}

static void group_header(const struct hs_text *text, const uint32_t *members, size_t count)
{
	thread_header(text, members[0]);
	if (count == 1)
		return;
	const char *first = hs_arena_printf(text->arena, "  and %zu more %s: ", count - 1,
	                                    is_proc_only(text) ? "like it" : "with the same stack");
	hs_text_wrap(
		text, first ? first : "", 4,
		hs_words_threads(text->arena, text->snapshot, members + 1, count - 1, NAMES_SHOWN));
}

/** leader[t] of each wanted thread: the first thread with the same stack. */
static void find_leaders(const struct hs_snapshot *s, struct group *groups, size_t num,
                         uint32_t *leader)
{
	qsort(groups, num, sizeof(*groups), by_hash);
	for (size_t i = 0; i < num; i++) {
		uint32_t t = groups[i].thread;

		leader[t] = t;
		for (size_t j = i; j-- > 0 && groups[j].hash == groups[i].hash;) {
			uint32_t other = leader[groups[j].thread];

			if (same_stack(&s->threads.items[t], &s->threads.items[other])) {
				leader[t] = other;
				break;
			}
		}
	}
}

/** Groups in order of their first thread. leader[] is HS_NONE for threads not wanted. */
static void print_folded(const struct hs_text *text, const uint32_t *leader, uint32_t *members)
{
	const struct hs_snapshot *s = text->snapshot;
	size_t n = s->threads.len;
	uint32_t *next = hs_arena_calloc(text->arena, n + 1, sizeof(*next));
	uint32_t *last = hs_arena_calloc(text->arena, n + 1, sizeof(*last));

	if (!next || !last)
		return;
	for (uint32_t t = 0; t < n; t++) {
		next[t] = HS_NONE;
		if (leader[t] == HS_NONE)
			continue;
		if (leader[t] != t)
			next[last[leader[t]]] = t;
		last[leader[t]] = t;
	}
	for (uint32_t t = 0; t < n; t++) {
		size_t count = 0;

		if (leader[t] != t)
			continue;
		for (uint32_t m = t; m != HS_NONE; m = next[m])
			members[count++] = m;
		group_header(text, members, count);
		print_frames(text, &s->threads.items[t]);
	}
}

void hs_text_stacks(const struct hs_text *text)
{
	const struct hs_snapshot *s = text->snapshot;
	size_t n = s->threads.len, num = 0;
	struct group *groups = hs_arena_calloc(text->arena, n + 1, sizeof(*groups));
	uint32_t *leader = hs_arena_calloc(text->arena, n + 1, sizeof(*leader));
	uint32_t *members = hs_arena_calloc(text->arena, n + 1, sizeof(*members));

	if (!groups || !leader || !members)
		return;
	// One line each is all there is of a process that may not be attached to.
	bool each =
		text->options->all || (is_proc_only(text) && text->options->view == HS_VIEW_STACKS);
	for (uint32_t i = 0; i < n; i++) {
		leader[i] = HS_NONE;
		if (!wanted(text, &s->threads.items[i]))
			continue;
		if (each) {
			thread_header(text, i);
			print_frames(text, &s->threads.items[i]);
			continue;
		}
		groups[num++] = (struct group){stack_hash(&s->threads.items[i]), i};
	}
	if (each)
		return;
	find_leaders(s, groups, num, leader);
	print_folded(text, leader, members);
}

void hs_text_graph(const struct hs_text *text)
{
	const struct hs_snapshot *s = text->snapshot;

	hs_vec_each (hold, &s->holds) {
		size_t waiters;

		hs_wait_graph_waiters(text->report->graph, hold->resource, &waiters);
		if (!waiters)
			continue;
		fprintf(text->out, "%s holds %s (%s)\n",
		        hs_words_thread(text->arena, s, hold->thread),
		        hs_words_hold(text->arena, s, hold), hs_certainty_name(hold->certainty));
	}
	hs_vec_each (wait, &s->waits) {
		const struct hs_edge *hold =
			hs_wait_graph_hold_of(text->report->graph, wait->resource);

		fprintf(text->out, "%s waits for %s (%s)\n",
		        hs_words_thread(text->arena, s, wait->thread),
		        hs_words_wait(text->arena, s, wait, hold),
		        hs_certainty_name(wait->certainty));
	}
}
