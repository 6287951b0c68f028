// SPDX-License-Identifier: Apache-2.0
/** @file Words for threads, frames, resources and edges. */

#include "core/words.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/** What may stay as it is; everything else becomes \xNN. */
enum keep {
	KEEP_PRINTABLE,
	KEEP_NEWLINES, /**< and printable characters */
	KEEP_VALID,    /**< all valid UTF-8 but DEL */
};

/** Length of the UTF-8 sequence at @p s and its code point; 0 when it is none. */
static size_t utf8_decode(const unsigned char *s, uint32_t *code_ret)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000}; // shorter forms are overlong
	size_t len = s[0] < 0x80   ? 1
	             : s[0] < 0xc2 ? 0
	             : s[0] < 0xe0 ? 2
	             : s[0] < 0xf0 ? 3
	             : s[0] < 0xf5 ? 4
	                           : 0;
	uint32_t code = len == 1 ? s[0] : len == 2 ? s[0] & 0x1f : len == 3 ? s[0] & 0xf : s[0] & 7;

	for (size_t i = 1; i < len; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (s[i] & 0x3f);
	}
	if (code < least[len] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
		return 0;
	*code_ret = code;
	return len;
}

/** No control character, and no mark that reorders or hides text. */
static bool is_printable(uint32_t code)
{
	return code >= 0x20 && !(code >= 0x7f && code < 0xa0) &&
	       !(code >= 0x200b && code <= 0x200f) && !(code >= 0x2028 && code <= 0x202e) &&
	       !(code >= 0x2066 && code <= 0x2069) && code != 0xfeff;
}

/** Length of the sequence at @p s that may stay, 0 when its first byte must be escaped. */
static size_t safe_len(const char *s, enum keep keep)
{
	uint32_t code = 0;
	size_t len = utf8_decode((const unsigned char *)s, &code);

	if (keep == KEEP_VALID)
		return code == 0x7f ? 0 : len;
	if (keep == KEEP_NEWLINES && code == '\n')
		return len;
	return is_printable(code) ? len : 0;
}

static const char *make_safe(struct hs_arena *arena, const char *raw, enum keep keep)
{
	if (!raw)
		return "?";

	size_t bad = 0, len = strlen(raw);
	for (size_t i = 0; i < len;) {
		size_t step = safe_len(raw + i, keep);

		bad += !step;
		i += step ? step : 1;
	}
	if (!bad)
		return raw;

	char *out = hs_arena_alloc(arena, len + bad * 3 + 1);
	if (!out)
		return "?";
	char *p = out;
	for (size_t i = 0; i < len;) {
		size_t step = safe_len(raw + i, keep);

		if (step) {
			memcpy(p, raw + i, step);
			p += step;
			i += step;
		} else {
			p += sprintf(p, "\\x%02x", (unsigned char)raw[i++]);
		}
	}
	*p = '\0';
	return out;
}

const char *hs_words_safe(struct hs_arena *arena, const char *raw)
{
	return make_safe(arena, raw, KEEP_PRINTABLE);
}

const char *hs_words_utf8(struct hs_arena *arena, const char *raw)
{
	return make_safe(arena, raw, KEEP_VALID);
}

const char *hs_words_paragraphs(struct hs_arena *arena, const char *text)
{
	return make_safe(arena, text, KEEP_NEWLINES);
}

static const char *or_unknown(const char *s)
{
	return s ? s : "?";
}

const char *hs_words_thread(struct hs_arena *arena, const struct hs_snapshot *snapshot,
                            uint32_t thread)
{
	const struct hs_thread *t = &snapshot->threads.items[thread];

	if (t->name && *t->name)
		return or_unknown(hs_arena_printf(arena, "\"%s\"", hs_words_safe(arena, t->name)));
	if (t->tid)
		return or_unknown(hs_arena_printf(arena, "thread %d", t->tid));
	return or_unknown(hs_arena_printf(arena, "virtual thread #%" PRId64, t->java_tid));
}

const char *hs_words_threads(struct hs_arena *arena, const struct hs_snapshot *snapshot,
                             const uint32_t *threads, size_t count, size_t max)
{
	size_t shown = count > max ? max : count;
	const char *text = "";

	for (size_t i = 0; i < shown; i++) {
		const char *glue = i == 0 ? "" : i + 1 == count ? " and " : ", ";

		text = or_unknown(hs_arena_printf(arena, "%s%s%s", text, glue,
		                                  hs_words_thread(arena, snapshot, threads[i])));
	}
	if (shown < count)
		text = or_unknown(hs_arena_printf(arena, "%s and %zu more", text, count - shown));
	return text;
}

const char *hs_words_base_name(const char *path)
{
	const char *slash = path ? strrchr(path, '/') : NULL;

	return slash ? slash + 1 : path;
}

const char *hs_words_frame(struct hs_arena *arena, const struct hs_frame *frame)
{
	const struct hs_location *l = frame->location;

	if (l->class_name || l->method) {
		const char *cls = hs_words_safe(arena, l->class_name);
		const char *method = hs_words_safe(arena, l->method);

		if (l->is_native_method)
			return or_unknown(
				hs_arena_printf(arena, "%s.%s(Native Method)", cls, method));
		if (!l->file)
			return or_unknown(
				hs_arena_printf(arena, "%s.%s(Unknown Source)", cls, method));
		if (l->line < 0)
			return or_unknown(hs_arena_printf(arena, "%s.%s(%s)", cls, method,
			                                  hs_words_safe(arena, l->file)));
		return or_unknown(hs_arena_printf(arena, "%s.%s(%s:%d)", cls, method,
		                                  hs_words_safe(arena, l->file), l->line));
	}
	const char *module = hs_words_base_name(l->module);
	const char *function = l->function ? hs_words_safe(arena, l->function) : NULL;
	if (function && module)
		return or_unknown(
			hs_arena_printf(arena, "%s (%s)", function, hs_words_safe(arena, module)));
	if (function)
		return function;
	if (module)
		return or_unknown(hs_arena_printf(arena, "%s+0x%" PRIx64,
		                                  hs_words_safe(arena, module), l->module_offset));
	return or_unknown(hs_arena_printf(arena, "0x%" PRIx64, frame->pc));
}

const char *hs_words_frame_or(struct hs_arena *arena, const struct hs_frame *frame,
                              const char *otherwise)
{
	return frame ? hs_words_frame(arena, frame) : otherwise;
}

static bool starts_with(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool hs_words_is_java_library(const struct hs_location *location)
{
	const char *name = location->class_name;

	return name && (starts_with(name, "java.") || starts_with(name, "javax.") ||
	                starts_with(name, "jdk.") || starts_with(name, "sun.") ||
	                starts_with(name, "com.sun.proxy."));
}

/** Libraries whose frames are how a wait is done, not why. */
static bool is_plumbing(const struct hs_location *location)
{
	static const char *const libraries[] = {
		"libc.so",  "libc-",      "ld-",     "libpthread", "libjvm.",
		"libjava.", "libverify.", "libjli.", "linux-vdso", "[vdso]"};
	const char *module = hs_words_base_name(location->module);

	if (location->kind == HS_FRAME_STUB)
		return true;
	if (location->class_name)
		return hs_words_is_java_library(location);
	if (!module)
		return !location->function;
	for (size_t i = 0; i < sizeof(libraries) / sizeof(*libraries); i++) {
		if (starts_with(module, libraries[i]))
			return true;
	}
	return false;
}

const struct hs_frame *hs_words_wait_frame(const struct hs_snapshot *snapshot,
                                           const struct hs_edge *wait)
{
	const struct hs_thread *thread = &snapshot->threads.items[wait->thread];
	const struct hs_frame *java = NULL;

	for (uint32_t i = 0; i < thread->num_frames; i++) {
		if (!is_plumbing(thread->frames[i].location))
			return &thread->frames[i];
		if (!java && thread->frames[i].location->class_name)
			java = &thread->frames[i];
	}
	if (java)
		return java;
	if (wait->frame < thread->num_frames)
		return &thread->frames[wait->frame];
	return thread->num_frames ? &thread->frames[0] : NULL;
}

const struct hs_frame *hs_words_hold_frame(const struct hs_snapshot *snapshot,
                                           const struct hs_edge *hold)
{
	const struct hs_thread *thread = &snapshot->threads.items[hold->thread];

	return hold->frame < thread->num_frames ? &thread->frames[hold->frame] : NULL;
}

static const char *resource_label(struct hs_arena *arena, const struct hs_resource *resource)
{
	if (resource->label)
		return hs_words_safe(arena, resource->label);
	return or_unknown(hs_arena_printf(
		arena, "%s 0x%" PRIx64, hs_resource_kind_name(resource->kind), resource->address));
}

/** The label, with " @address" when it does not say one already. */
static const char *label_with_address(struct hs_arena *arena, const struct hs_resource *resource)
{
	const char *label = resource_label(arena, resource);

	// The address of a descriptor is its number, which the label says.
	if (!resource->address || resource->kind == HS_RES_FD || strstr(label, " @") ||
	    strstr(label, "0x"))
		return label;
	return or_unknown(hs_arena_printf(arena, "%s @%" PRIx64, label, resource->address));
}

/** Is a thread in the old verifier, the split verifier, or neither as far as frames tell? */
static const char *verifier_words(const struct hs_snapshot *snapshot, uint32_t thread,
                                  const struct hs_class_info *info)
{
	const struct hs_thread *t = &snapshot->threads.items[thread];

	for (uint32_t i = 0; i < t->num_frames; i++) {
		const struct hs_location *l = t->frames[i].location;

		if (l->module && starts_with(hs_words_base_name(l->module), "libverify."))
			return " (libverify.so)";
	}
	return info && info->major_version && info->major_version < 50 ? " (old verifier)" : "";
}

static const char *hold_of_link(struct hs_arena *arena, const struct hs_snapshot *snapshot,
                                const struct hs_edge *hold, const struct hs_resource *resource)
{
	const char *cls = hs_words_safe(arena, resource->class_name);
	const char *verifier = verifier_words(snapshot, hold->thread, resource->class_info);

	if (hold->subject_class && resource->class_name &&
	    strcmp(hold->subject_class, resource->class_name) != 0)
		return or_unknown(
			hs_arena_printf(arena, "the link of %s: its verification%s is loading %s",
		                        cls, verifier, hs_words_safe(arena, hold->subject_class)));
	return or_unknown(hs_arena_printf(arena, "the link of %s", cls));
}

const char *hs_words_hold(struct hs_arena *arena, const struct hs_snapshot *snapshot,
                          const struct hs_edge *hold)
{
	const struct hs_resource *resource = &snapshot->resources.items[hold->resource];
	const char *cls = hs_words_safe(arena, resource->class_name);

	switch (resource->kind) {
	case HS_RES_CLASS_LINK:
		return hold_of_link(arena, snapshot, hold, resource);
	case HS_RES_CLASS_INIT:
		return or_unknown(hs_arena_printf(
			arena, "the initialization of %s: it runs its static initializer", cls));
	case HS_RES_LOADER_LOCK:
		if (resource->loader_info && resource->loader_info->parallel_capable == HS_NO)
			return or_unknown(hs_arena_printf(arena, "%s (not parallel capable)",
			                                  label_with_address(arena, resource)));
		return label_with_address(arena, resource);
	default:
		return hold->shared
		               ? or_unknown(hs_arena_printf(arena, "%s (as a reader)",
		                                            label_with_address(arena, resource)))
		               : label_with_address(arena, resource);
	}
}

const char *hs_words_wait(struct hs_arena *arena, const struct hs_snapshot *snapshot,
                          const struct hs_edge *wait, const struct hs_edge *hold)
{
	const struct hs_resource *resource = &snapshot->resources.items[wait->resource];
	const char *cls = hs_words_safe(arena, resource->class_name);
	const char *owner = hold ? hs_words_thread(arena, snapshot, hold->thread) : NULL;
	bool self = hold && hold->thread == wait->thread;
	const char *what;

	if (resource->kind == HS_RES_CLASS_LINK || resource->kind == HS_RES_CLASS_INIT) {
		const char *done = resource->kind == HS_RES_CLASS_LINK ? "linked" : "initialized";

		what = owner ? hs_arena_printf(arena, "class %s to be %s, which %s is doing", cls,
		                               done, self ? "it itself" : owner)
		             : hs_arena_printf(arena, "class %s to be %s", cls, done);
	} else if (resource->kind == HS_RES_PTHREAD_JOIN) {
		what = owner ? hs_arena_printf(arena, "%s to end", self ? "itself" : owner)
		             : hs_arena_printf(arena, "%s", resource_label(arena, resource));
	} else {
		what = owner ? hs_arena_printf(arena, "%s, held by %s%s",
		                               label_with_address(arena, resource),
		                               self ? "itself" : owner,
		                               hold->shared ? " (as a reader)" : "")
		             : hs_arena_printf(arena, "%s", label_with_address(arena, resource));
	}
	if (wait->timed)
		what = hs_arena_printf(arena, "%s (with a time-out)", or_unknown(what));
	return or_unknown(what);
}

const char *hs_words_activity(struct hs_arena *arena, const struct hs_snapshot *snapshot,
                              uint32_t thread)
{
	const struct hs_thread *t = &snapshot->threads.items[thread];
	struct hs_edge none = {.thread = thread, .frame = HS_NONE};
	const struct hs_frame *frame = hs_words_wait_frame(snapshot, &none);
	const char *state = t->java_state ? t->java_state : t->state;
	const char *at = frame ? hs_words_frame(arena, frame) : NULL;
	const char *text;

	// A Java thread's system call is how the VM waits, not what the thread does.
	if (at && t->syscall && !t->java_state)
		text = hs_arena_printf(arena, "is %s in %s, called from %s",
		                       hs_words_safe(arena, state),
		                       hs_words_safe(arena, t->syscall), at);
	else if (at)
		text = hs_arena_printf(arena, "is %s at %s", hs_words_safe(arena, state), at);
	else
		text = hs_arena_printf(arena, "is %s", hs_words_safe(arena, state));
	return or_unknown(text);
}
