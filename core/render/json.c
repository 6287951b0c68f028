// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * JSON, schema "hangscope/1" (DESIGN.md 5, hangscope-1.schema.json). Thread by thread through
 * jansson, so that a process with thousands of threads never lies in memory as one tree.
 */

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/renderer.h"
#include "core/words.h"

struct writer {
	FILE *out;
	struct hs_arena *arena;
	const struct hs_report *report;
	const struct hs_snapshot *snapshot;
	const struct hs_render_options *options;
	bool failed;
};

static json_t *text(struct writer *w, const char *raw)
{
	return raw ? json_string(hs_words_utf8(w->arena, raw)) : json_null();
}

static json_t *hex(hs_addr addr)
{
	return addr ? json_sprintf("0x%016" PRIx64, addr) : json_null();
}

static json_t *thread_ref(uint32_t index)
{
	return index == HS_NONE ? json_null() : json_sprintf("T%u", index + 1);
}

static json_t *resource_ref(uint32_t index)
{
	return index == HS_NONE ? json_null() : json_sprintf("R%u", index + 1);
}

/** Writes @p value and drops it; jansson's constructors give NULL on failure. */
static void dump(struct writer *w, json_t *value)
{
	if (!value ||
	    json_dumpf(value, w->out, JSON_COMPACT | JSON_ENCODE_ANY | JSON_ENSURE_ASCII) != 0)
		w->failed = true;
	json_decref(value);
}

static void member(struct writer *w, const char *key, json_t *value, bool last)
{
	fprintf(w->out, "\"%s\":", key);
	dump(w, value);
	fputs(last ? "\n" : ",\n", w->out);
}

static json_t *string_list(struct writer *w, const char *const *items, size_t len)
{
	json_t *list = json_array();

	for (size_t i = 0; i < len; i++)
		json_array_append_new(list, text(w, items[i]));
	return list;
}

static json_t *ref_list(json_t *(*ref)(uint32_t), const struct hs_index_vec *items)
{
	json_t *list = json_array();

	for (size_t i = 0; i < items->len; i++)
		json_array_append_new(list, ref(items->items[i]));
	return list;
}

static json_t *target(struct writer *w)
{
	static const char *const kinds[] = {"core", "live", "snapshot", "hosted"};
	static const char *const captures[] = {
		[HS_CAPTURE_NONE] = NULL,         [HS_CAPTURE_PAUSE] = "pause",
		[HS_CAPTURE_STOP] = "stop",       [HS_CAPTURE_ROLLING] = "rolling",
		[HS_CAPTURE_NO_STOP] = "no-stop", [HS_CAPTURE_PROC] = "proc",
	};
	const struct hs_snapshot *s = w->snapshot;
	const struct hs_target_info *info = &s->info;
	json_t *args = json_array();

	for (size_t i = 0; info->args && info->args[i]; i++)
		json_array_append_new(args, text(w, info->args[i]));
	json_t *runtime = json_pack("{s:s, s:o, s:o, s:o}", "kind", s->runtime.kind, "version",
	                            text(w, s->runtime.version), "vm", text(w, s->runtime.vm), "gc",
	                            text(w, s->runtime.gc));
	json_t *ret = json_object();

	json_object_set_new(ret, "kind", json_string(kinds[info->kind]));
	json_object_set_new(ret, "path",
	                    text(w, info->unpacked_from ? info->unpacked_from : info->path));
	json_object_set_new(ret, "pid", info->pid ? json_integer(info->pid) : json_null());
	json_object_set_new(ret, "exe", text(w, info->exe));
	json_object_set_new(ret, "args", args);
	json_object_set_new(ret, "arch", json_string("x86_64"));
	json_object_set_new(ret, "signal", info->signo ? json_integer(info->signo) : json_null());
	json_object_set_new(ret, "runtime", runtime);
	json_object_set_new(ret, "host", text(w, info->host));
	json_object_set_new(ret, "captured_at",
	                    info->captured_at ? json_integer(info->captured_at) : json_null());
	json_object_set_new(ret, "capture",
	                    captures[info->capture] ? json_string(captures[info->capture])
	                                            : json_null());
	json_object_set_new(ret, "pause_ms",
	                    info->pause_ms >= 0 ? json_real(info->pause_ms) : json_null());
	return ret;
}

static json_t *frame_words(struct writer *w, const struct hs_frame *frame)
{
	return frame ? json_string(hs_words_frame(w->arena, frame)) : json_null();
}

static json_t *step(struct writer *w, const struct hs_step *s)
{
	const struct hs_snapshot *snapshot = w->snapshot;
	enum hs_certainty certainty =
		s->wait->certainty < s->hold->certainty ? s->wait->certainty : s->hold->certainty;
	json_t *ret = json_object();

	json_object_set_new(ret, "thread", thread_ref(s->wait->thread));
	json_object_set_new(ret, "waits_for", resource_ref(s->wait->resource));
	json_object_set_new(ret, "held_by", thread_ref(s->hold->thread));
	json_object_set_new(ret, "certainty", json_string(hs_certainty_name(certainty)));
	json_object_set_new(ret, "frame",
	                    json_string(hs_words_frame_or(
				    w->arena, hs_words_wait_frame(snapshot, s->wait), "unknown")));
	json_object_set_new(ret, "read_from",
	                    json_string(hs_words_safe(w->arena, s->wait->read_from)));
	json_object_set_new(ret, "hold_frame",
	                    frame_words(w, hs_words_hold_frame(snapshot, s->hold)));
	json_object_set_new(ret, "hold_read_from", text(w, s->hold->read_from));
	return ret;
}

static json_t *finding(struct writer *w, const struct hs_finding *f)
{
	json_t *ret = json_object(), *cycle = json_array(), *known = json_array();

	for (size_t i = 0; i < f->steps.len; i++)
		json_array_append_new(cycle, step(w, &f->steps.items[i]));
	for (size_t i = 0; i < f->known.len; i++)
		json_array_append_new(known,
		                      json_pack("{s:s, s:s}", "title", f->known.items[i].title,
		                                "url", f->known.items[i].url));
	json_object_set_new(ret, "id", json_string(f->id));
	json_object_set_new(ret, "severity", json_string(hs_severity_name(f->severity)));
	json_object_set_new(ret, "certainty", json_string(hs_certainty_name(f->certainty)));
	json_object_set_new(ret, "confirmed", json_boolean(f->confirmed));
	json_object_set_new(ret, "title", text(w, f->title));
	json_object_set_new(ret, "why", json_string(hs_words_paragraphs(w->arena, f->why)));
	json_object_set_new(ret, "fix", string_list(w, f->fix.items, f->fix.len));
	json_object_set_new(ret, "evidence", string_list(w, f->evidence.items, f->evidence.len));
	json_object_set_new(ret, "known", known);
	json_object_set_new(ret, "signature", json_string(f->signature));
	json_object_set_new(ret, "threads", ref_list(thread_ref, &f->threads));
	json_object_set_new(ret, "resources", ref_list(resource_ref, &f->resources));
	json_object_set_new(ret, "cycle", cycle);
	json_object_set_new(ret, "blocked", ref_list(thread_ref, &f->blocked));
	return ret;
}

static json_t *frame_locks(const struct hs_frame *frame)
{
	json_t *list = json_array();

	for (uint16_t i = 0; i < frame->num_locks; i++) {
		const struct hs_frame_lock *lock = &frame->locks[i];

		if (lock->resource == HS_NONE)
			continue;
		json_array_append_new(
			list, json_pack("{s:s, s:o}", "state",
		                        lock->state == HS_LOCK_LOCKED ? "locked" : "waiting",
		                        "resource", resource_ref(lock->resource)));
	}
	return list;
}

static json_t *frame_locals(struct writer *w, const struct hs_frame *f)
{
	json_t *list = json_array();

	for (uint16_t i = 0; i < f->num_locals; i++) {
		const struct hs_local *l = &f->locals[i];

		json_array_append_new(
			list, json_pack("{s:o, s:o, s:b, s:s, s:o, s:o, s:o, s:o, s:o}", "name",
		                        text(w, l->name), "type", text(w, l->type), "argument",
		                        l->is_argument, "kind", hs_local_kind_name(l->kind),
		                        "value", text(w, l->value), "class", text(w, l->class_name),
		                        "address", hex(l->address), "hash",
		                        l->hash ? json_integer(l->hash) : json_null(), "length",
		                        l->length >= 0 ? json_integer(l->length) : json_null()));
	}
	return list;
}

static json_t *frame(struct writer *w, const struct hs_frame *f)
{
	static const char *const kinds[] = {"native", "interpreted", "compiled", "inlined", "stub"};
	static const char *const found[] = {"cfi", "row", "rbp", "jvm", "scan", "near"};
	const struct hs_location *l = f->location;
	json_t *ret = json_object();

	json_object_set_new_nocheck(ret, "kind", json_string(kinds[l->kind]));
	json_object_set_new_nocheck(ret, "tier", l->tier ? json_integer(l->tier) : json_null());
	json_object_set_new_nocheck(ret, "function", text(w, l->function));
	json_object_set_new_nocheck(ret, "class", text(w, l->class_name));
	json_object_set_new_nocheck(ret, "method", text(w, l->method));
	json_object_set_new_nocheck(ret, "descriptor", text(w, l->descriptor));
	json_object_set_new_nocheck(
		ret, "bci", l->class_name && l->bci >= 0 ? json_integer(l->bci) : json_null());
	json_object_set_new_nocheck(ret, "file", text(w, l->file));
	json_object_set_new_nocheck(ret, "line",
	                            l->line >= 0 && l->file ? json_integer(l->line) : json_null());
	json_object_set_new_nocheck(ret, "module", text(w, l->module));
	json_object_set_new_nocheck(ret, "offset",
	                            l->module ? json_sprintf("0x%" PRIx64, l->module_offset)
	                                      : json_null());
	json_object_set_new_nocheck(ret, "pc", hex(f->pc));
	json_object_set_new_nocheck(ret, "found_by", json_string(found[f->found_by]));
	json_object_set_new_nocheck(ret, "locks", frame_locks(f));
	if (w->snapshot->has_locals && l->class_name)
		json_object_set_new_nocheck(ret, "locals", frame_locals(w, f));
	return ret;
}

static json_t *thread(struct writer *w, uint32_t index)
{
	static const char *const kinds[] = {"native", "java", "vm", "virtual"};
	const struct hs_thread *t = &w->snapshot->threads.items[index];
	const struct hs_edge *wait = hs_wait_graph_wait_of(w->report->graph, index);
	size_t num_held;
	const struct hs_edge *const *held = hs_wait_graph_held(w->report->graph, index, &num_held);
	json_t *ret = json_object(), *holds = json_array(), *frames = json_array();

	for (size_t i = 0; i < num_held; i++)
		json_array_append_new(holds, resource_ref(held[i]->resource));
	for (uint32_t i = 0; i < t->num_frames; i++)
		json_array_append_new(frames, frame(w, &t->frames[i]));
	json_object_set_new(ret, "ref", thread_ref(index));
	json_object_set_new(ret, "kind", json_string(kinds[t->kind]));
	json_object_set_new(ret, "name", text(w, t->name));
	json_object_set_new(ret, "tid", t->tid ? json_integer(t->tid) : json_null());
	json_object_set_new(ret, "host_tid", t->host_tid ? json_integer(t->host_tid) : json_null());
	json_object_set_new(ret, "java_tid", t->java_tid ? json_integer(t->java_tid) : json_null());
	json_object_set_new(ret, "pthread", hex(t->pthread));
	json_object_set_new(ret, "start_routine", text(w, t->start_routine));
	json_object_set_new(ret, "state", text(w, t->java_state ? t->java_state : t->state));
	json_object_set_new(ret, "syscall", text(w, t->syscall));
	if (t->wchan)
		json_object_set_new(ret, "wchan", text(w, t->wchan));
	if (t->kernel_stack)
		json_object_set_new(ret, "kernel_stack", text(w, t->kernel_stack));
	json_object_set_new(ret, "cpu_ms", t->cpu_ms >= 0 ? json_integer(t->cpu_ms) : json_null());
	json_object_set_new(ret, "carrier", thread_ref(t->carrier));
	json_object_set_new(ret, "pinned", text(w, t->pinned));
	json_object_set_new(ret, "waits_for", resource_ref(wait ? wait->resource : HS_NONE));
	json_object_set_new(ret, "holds", holds);
	json_object_set_new(ret, "frames", frames);
	return ret;
}

static json_t *resource(struct writer *w, uint32_t index)
{
	const struct hs_resource *r = &w->snapshot->resources.items[index];
	const struct hs_edge *hold = hs_wait_graph_hold_of(w->report->graph, index);
	size_t num_waiters;
	const struct hs_edge *const *waits =
		hs_wait_graph_waiters(w->report->graph, index, &num_waiters);
	json_t *ret = json_object(), *waiters = json_array(), *detail = json_object();
	pid_t owner_tid = r->owner_tid;

	if (!owner_tid && hold)
		owner_tid = w->snapshot->threads.items[hold->thread].tid;
	for (size_t i = 0; i < num_waiters; i++)
		json_array_append_new(waiters, thread_ref(waits[i]->thread));
	for (size_t i = 0; i < r->details.len; i++)
		json_object_set_new(detail, r->details.items[i].key,
		                    text(w, r->details.items[i].value));
	json_object_set_new(ret, "ref", resource_ref(index));
	json_object_set_new(ret, "kind", json_string(hs_resource_kind_name(r->kind)));
	json_object_set_new(ret, "address", hex(r->address));
	json_object_set_new(ret, "label", text(w, r->label));
	json_object_set_new(ret, "class", text(w, r->class_name));
	json_object_set_new(ret, "loader", text(w, r->loader));
	json_object_set_new(ret, "owner", thread_ref(hold ? hold->thread : HS_NONE));
	json_object_set_new(ret, "owner_tid", owner_tid ? json_integer(owner_tid) : json_null());
	json_object_set_new(ret, "waiters", waiters);
	json_object_set_new(ret, "detail", detail);
	return ret;
}

static json_t *module(struct writer *w, const struct hs_module *m)
{
	static const char *const states[] = {"ok", "missing", "mismatch", "ok"};
	char id[2 * HS_BUILD_ID_MAX + 1] = "";

	for (size_t i = 0; i < m->build_id_len && i < HS_BUILD_ID_MAX; i++)
		snprintf(id + 2 * i, 3, "%02x", m->build_id[i]);
	return json_pack("{s:o, s:o, s:o, s:o, s:s}", "path", text(w, m->path), "build_id",
	                 *id ? json_string(id) : json_null(), "start", hex(m->start), "end",
	                 hex(m->end), "state", states[m->state]);
}

static json_t *gap(struct writer *w, const struct hs_gap *g)
{
	return json_pack("{s:o, s:o, s:o}", "subject", text(w, g->subject), "reason",
	                 text(w, g->reason), "costs", text(w, g->costs));
}

/** "key":[one element a line], each made by @p make(w, i). */
static void stream(struct writer *w, const char *key, size_t len,
                   json_t *(*make)(struct writer *w, uint32_t index), bool last)
{
	fprintf(w->out, "\"%s\":[", key);
	for (uint32_t i = 0; i < len && !w->failed; i++) {
		fputs(i ? ",\n" : "\n", w->out);
		dump(w, make(w, i));
	}
	fputs(last ? "]\n" : "],\n", w->out);
}

static json_t *make_finding(struct writer *w, uint32_t i)
{
	return finding(w, &w->report->findings.items[i]);
}

static json_t *make_module(struct writer *w, uint32_t i)
{
	return module(w, &w->snapshot->modules->modules[i]);
}

static json_t *make_gap(struct writer *w, uint32_t i)
{
	return gap(w, &w->snapshot->gaps.items[i]);
}

static struct hs_err *json_render(const struct hs_report *report,
                                  const struct hs_render_options *options, FILE *out)
{
	hs_cleanup(hs_arena_destroyp) struct hs_arena *scratch = hs_arena_create();
	const struct hs_snapshot *s = report->snapshot;
	struct writer w = {out, scratch, report, s, options, false};

	if (!scratch)
		return hs_err_oom();
	fputs("{", out);
	member(&w, "schema", json_string("hangscope/1"), false);
	member(&w, "tool",
	       json_pack("{s:s, s:s}", "name", "hangscope", "version", options->version), false);
	member(&w, "target", target(&w), false);
	member(&w, "verdict", json_string(hs_verdict_name(report->verdict)), false);
	stream(&w, "findings", report->findings.len, make_finding, false);
	stream(&w, "threads", s->threads.len, thread, false);
	stream(&w, "resources", s->resources.len, resource, false);
	stream(&w, "modules", s->modules ? s->modules->num_modules : 0, make_module, false);
	stream(&w, "gaps", s->gaps.len, make_gap, true);
	fputs("}\n", out);
	if (hs_arena_failed(scratch) || (w.failed && !ferror(out)))
		return hs_err_oom();
	return fflush(out) || ferror(out) ? hs_err_os(errno, "cannot write the report") : NULL;
}

const struct hs_renderer hs_renderer_json = {
	.name = "json",
	.suffix = ".json",
	.views = 1 << HS_VIEW_REPORT | 1 << HS_VIEW_STACKS | 1 << HS_VIEW_GRAPH,
	.render = json_render,
};
