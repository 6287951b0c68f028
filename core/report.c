// SPDX-License-Identifier: Apache-2.0
/** @file Report: building findings, their order, signatures and the verdict. */

#include "core/report.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "core/words.h"

struct hs_err *hs_report_create(const struct hs_snapshot *snapshot,
                                const struct hs_wait_graph *graph, struct hs_arena *arena,
                                struct hs_report **ret)
{
	struct hs_report *report = hs_arena_alloc(arena, sizeof(*report));

	if (!report)
		return hs_err_oom();
	report->arena = arena;
	report->snapshot = snapshot;
	report->graph = graph;
	*ret = report;
	return NULL;
}

struct hs_finding *hs_report_add(struct hs_report *report, const char *id,
                                 enum hs_severity severity, enum hs_verdict verdict)
{
	struct hs_finding *finding = hs_vec_push(report->arena, &report->findings);

	if (!finding)
		return NULL;
	finding->id = id;
	finding->severity = severity;
	finding->verdict = verdict;
	finding->certainty = HS_READ;
	finding->title = finding->why = "";
	return finding;
}

void hs_finding_title(struct hs_report *report, struct hs_finding *finding, const char *fmt, ...)
{
	va_list ap;

	if (!finding)
		return;
	va_start(ap, fmt);
	const char *title = hs_arena_vprintf(report->arena, fmt, ap);
	va_end(ap);
	finding->title = title ? title : "";
}

/** A circle may have very many steps with a sentence each: the text grows as a vector does. */
static void append_why(struct hs_arena *arena, struct hs_finding *finding, const char *more)
{
	bool space = finding->why_len && *more != '\n';
	size_t len = strlen(more), end = finding->why_len + space + len;
	char *text = finding->why_text;

	if (end >= finding->why_cap) {
		text = hs_arena_alloc(arena, 2 * end + 1);
		if (!text)
			return;
		memcpy(text, finding->why, finding->why_len);
		finding->why_cap = 2 * end + 1;
	}
	if (space)
		text[finding->why_len] = ' ';
	memcpy(text + end - len, more, len + 1);
	finding->why_text = text;
	finding->why_len = end;
	finding->why = text;
}

void hs_finding_why(struct hs_report *report, struct hs_finding *finding, const char *fmt, ...)
{
	va_list ap;

	if (!finding)
		return;
	va_start(ap, fmt);
	const char *more = hs_arena_vprintf(report->arena, fmt, ap);
	va_end(ap);
	if (!more)
		return;
	append_why(report->arena, finding, more);
}

void hs_finding_fix(struct hs_report *report, struct hs_finding *finding, const char *fmt, ...)
{
	va_list ap;

	if (!finding)
		return;
	const char **slot = hs_vec_push(report->arena, &finding->fix);
	va_start(ap, fmt);
	const char *text = hs_arena_vprintf(report->arena, fmt, ap);
	va_end(ap);
	if (slot)
		*slot = text ? text : "";
}

void hs_finding_evidence(struct hs_report *report, struct hs_finding *finding, const char *fmt, ...)
{
	va_list ap;

	if (!finding)
		return;
	const char **slot = hs_vec_push(report->arena, &finding->evidence);
	va_start(ap, fmt);
	const char *text = hs_arena_vprintf(report->arena, fmt, ap);
	va_end(ap);
	if (slot)
		*slot = text ? text : "";
}

void hs_finding_known(struct hs_report *report, struct hs_finding *finding, const char *title,
                      const char *url)
{
	if (!finding)
		return;
	struct hs_known_issue *known = hs_vec_push(report->arena, &finding->known);
	if (known)
		*known = (struct hs_known_issue){title, url};
}

void hs_finding_push(struct hs_arena *arena, struct hs_index_vec *vector, uint32_t value)
{
	uint32_t *slot = hs_vec_push(arena, vector);

	if (slot)
		*slot = value;
}

static void edge_evidence(struct hs_report *report, struct hs_finding *finding,
                          const struct hs_edge *edge, const char *verb)
{
	const struct hs_resource *resource = &report->snapshot->resources.items[edge->resource];
	struct hs_arena *arena = report->arena;

	if (!edge->read_from)
		return;
	hs_finding_evidence(report, finding, "%s %s %s: %s%s",
	                    hs_words_thread(arena, report->snapshot, edge->thread), verb,
	                    hs_words_safe(arena, resource->label),
	                    hs_words_safe(arena, edge->read_from),
	                    edge->certainty == HS_READ       ? ""
	                    : edge->certainty == HS_INFERRED ? " (inferred)"
	                                                     : " (guessed)");
}

void hs_finding_cite_cycle(struct hs_report *report, struct hs_finding *finding,
                           const struct hs_cycle *cycle)
{
	struct hs_arena *arena = report->arena;

	if (!finding)
		return;
	for (size_t i = 0; i < cycle->len; i++) {
		struct hs_step *step = hs_vec_push(arena, &finding->steps);

		if (step)
			*step = cycle->steps[i];
		hs_finding_push(arena, &finding->threads, cycle->steps[i].wait->thread);
		hs_finding_push(arena, &finding->resources, cycle->steps[i].wait->resource);
		edge_evidence(report, finding, cycle->steps[i].wait, "waits for");
		edge_evidence(report, finding, cycle->steps[i].hold, "holds");
	}
	for (size_t i = 0; i < cycle->num_blocked; i++)
		hs_finding_push(arena, &finding->blocked, cycle->blocked[i]);
	if (cycle->certainty < finding->certainty)
		finding->certainty = cycle->certainty;
}

void hs_report_claim(struct hs_report *report, const struct hs_cycle *cycle)
{
	const struct hs_cycle **slot = hs_vec_push(report->arena, &report->claimed);

	if (slot)
		*slot = cycle;
}

bool hs_report_claimed(const struct hs_report *report, const struct hs_cycle *cycle)
{
	for (size_t i = 0; i < report->claimed.len; i++) {
		if (report->claimed.items[i] == cycle)
			return true;
	}
	return false;
}

// ---- signature

static uint64_t hash_byte(uint64_t hash, unsigned char byte)
{
	return (hash ^ byte) * UINT64_C(0x100000001b3); // FNV-1a
}

/** A name without what differs between runs: addresses and the counters of generated classes, also
 * those behind a '/' (in 8 that is there only once somebody asked for the class's hash). */
static uint64_t hash_name(uint64_t hash, const char *name)
{
	for (const char *p = name ? name : ""; *p; p++) {
		if (p[0] == '/' && isdigit((unsigned char)p[1]))
			continue;
		if (p[0] == '0' && p[1] == 'x') {
			p += 2;
			while (isxdigit((unsigned char)*p))
				p++;
			p--;
		} else if (!isdigit((unsigned char)*p)) {
			hash = hash_byte(hash, (unsigned char)*p);
		}
	}
	return hash_byte(hash, 0);
}

static uint64_t hash_edge(const struct hs_snapshot *snapshot, const struct hs_edge *wait)
{
	const struct hs_resource *resource = &snapshot->resources.items[wait->resource];
	const struct hs_frame *frame = hs_words_wait_frame(snapshot, wait);
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	hash = hash_name(hash, hs_resource_kind_name(resource->kind));
	hash = hash_name(hash, resource->class_name);
	if (frame) {
		hash = hash_name(hash, frame->location->class_name);
		hash = hash_name(hash, frame->location->method ? frame->location->method
		                                               : frame->location->function);
	}
	return hash;
}

/** The parts are added, so that it does not matter where the walk round the cycle began. */
static void sign(const struct hs_report *report, struct hs_finding *finding)
{
	uint64_t sum = 0, hash = hash_name(UINT64_C(0xcbf29ce484222325), finding->id);

	for (size_t i = 0; i < finding->steps.len; i++)
		sum += hash_edge(report->snapshot, finding->steps.items[i].wait);
	if (!finding->steps.len && finding->threads.len) {
		struct hs_edge root = {.thread = finding->threads.items[0], .frame = HS_NONE};
		const struct hs_frame *frame = hs_words_wait_frame(report->snapshot, &root);

		for (size_t i = 0; i < finding->resources.len; i++) {
			const struct hs_resource *resource =
				&report->snapshot->resources.items[finding->resources.items[i]];

			sum += hash_name(hash, hs_resource_kind_name(resource->kind)) +
			       hash_name(hash, resource->class_name);
		}
		if (frame)
			sum += hash_name(hash, frame->location->class_name) +
			       hash_name(hash, frame->location->method ? frame->location->method
			                                               : frame->location->function);
	}
	for (int i = 0; i < 8; i++)
		hash = hash_byte(hash, (unsigned char)(sum >> (8 * i)));
	static const char digits[] = "0123456789abcdef";
	for (int i = 0; i < 16; i++)
		finding->signature[i] = digits[hash >> (60 - 4 * i) & 15];
	finding->signature[16] = '\0';
}

static int by_importance(const void *a, const void *b)
{
	const struct hs_finding *x = a, *y = b;

	if (x->severity != y->severity)
		return (x->severity < y->severity) - (x->severity > y->severity);
	if (x->verdict != y->verdict)
		return (x->verdict < y->verdict) - (x->verdict > y->verdict);
	int id = strcmp(x->id, y->id);
	if (id)
		return id;
	uint32_t first_x = x->threads.len ? x->threads.items[0] : HS_NONE;
	uint32_t first_y = y->threads.len ? y->threads.items[0] : HS_NONE;
	return (first_x > first_y) - (first_x < first_y);
}

struct hs_err *hs_report_finish(struct hs_report *report)
{
	report->verdict = report->snapshot->blind ? HS_VERDICT_INCOMPLETE : HS_VERDICT_CLEAR;
	for (size_t i = 0; i < report->findings.len; i++) {
		struct hs_finding *finding = &report->findings.items[i];

		sign(report, finding);
		if (finding->verdict > report->verdict)
			report->verdict = finding->verdict;
	}
	if (report->findings.len)
		qsort(report->findings.items, report->findings.len, sizeof(*report->findings.items),
		      by_importance);
	return hs_arena_failed(report->arena) ? hs_err_oom() : NULL;
}

const char *hs_verdict_name(enum hs_verdict verdict)
{
	static const char *const names[] = {
		[HS_VERDICT_CLEAR] = "clear",
		[HS_VERDICT_INCOMPLETE] = "incomplete",
		[HS_VERDICT_CONTENTION] = "contention",
		[HS_VERDICT_LOOP] = "loop",
		[HS_VERDICT_STALL] = "stall",
		[HS_VERDICT_POSSIBLE_DEADLOCK] = "possible-deadlock",
		[HS_VERDICT_DEADLOCK] = "deadlock",
	};

	return names[verdict];
}

const char *hs_severity_name(enum hs_severity severity)
{
	static const char *const names[] = {"note", "warning", "critical"};

	return names[severity];
}

int hs_report_exit_status(const struct hs_report *report)
{
	if (report->findings.len)
		return 1;
	return report->verdict == HS_VERDICT_INCOMPLETE ? 2 : 0;
}
