// SPDX-License-Identifier: Apache-2.0
/** @file Snapshot notes: JSON by jansson, both ways. */

#include "core/source/snapshot_note.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"

enum {
	MAX_ARGS = 65536,
	MAX_FDS = 65536,
	MAX_LOOKS = 65536, // findings that were confirmed or dropped
};

// ---- write

static json_t *text(const char *raw)
{
	static const char digits[] = "0123456789abcdef";
	json_t *plain = raw ? json_string(raw) : json_null();

	if (plain || !raw)
		return plain;
	size_t len = strlen(raw);
	char *hex = malloc(2 * len + 1);
	if (!hex)
		return NULL;
	for (size_t i = 0; raw[i]; i++) {
		hex[2 * i] = digits[(unsigned char)raw[i] >> 4];
		hex[2 * i + 1] = digits[raw[i] & 15];
	}
	json_t *ret = json_pack("{s:s#}", "hex", hex, (int)(2 * len));
	free(hex);
	return ret;
}

static json_t *texts(const char *const *items)
{
	json_t *list = json_array();

	for (size_t i = 0; items && items[i]; i++)
		json_array_append_new(list, text(items[i]));
	return list;
}

/** The reader finds out about files by itself, where it is. */
static bool is_about_module(const struct hs_source *source, const struct hs_target_gap *gap)
{
	for (size_t i = 0; i < source->modules.num_modules; i++) {
		if (!strcmp(source->modules.modules[i].path, gap->subject))
			return true;
	}
	return false;
}

static json_t *gaps(const struct hs_source *source)
{
	json_t *list = json_array();

	hs_vec_each (gap, &source->gaps) {
		if (!is_about_module(source, gap))
			json_array_append_new(list, json_pack("[o, o, o]", text(gap->subject),
			                                      text(gap->reason), text(gap->costs)));
	}
	return list;
}

static json_t *fds(const struct hs_source *source)
{
	json_t *list = json_array();

	hs_vec_each (link, &source->fd_links)
		json_array_append_new(list, json_pack("[i, o]", link->fd, text(link->target)));
	return list;
}

/** Dumps and drops @p value, which may be NULL. */
static char *dump(json_t *value)
{
	char *ret = value ? json_dumps(value, JSON_COMPACT) : NULL;

	json_decref(value);
	return ret;
}

char *hs_snapshot_note_process(const struct hs_source *source,
                               const struct hs_second_look *second_look, const char *tool)
{
	const struct hs_target_info *info = &source->info;
	json_t *note = json_object();

	json_object_set_new(note, "format", json_integer(HS_SNAPSHOT_FORMAT));
	json_object_set_new(note, "tool", text(tool));
	json_object_set_new(note, "pid", json_integer(info->pid));
	json_object_set_new(note, "exe", text(info->exe));
	json_object_set_new(note, "args", texts(info->args));
	json_object_set_new(note, "host", text(info->host));
	json_object_set_new(note, "captured_at", json_integer(info->captured_at));
	json_object_set_new(note, "captured_ms", json_integer(info->captured_ms));
	json_object_set_new(note, "captured_ns", json_integer(info->captured_ns));
	json_object_set_new(note, "pause_ms", json_real(info->pause_ms));
	json_object_set_new(note, "capture", json_integer(info->capture));
	json_object_set_new(note, "ran_on", json_boolean(info->ran_on));
	json_object_set_new(note, "gaps", gaps(source));
	json_object_set_new(note, "fds", fds(source));
	if (second_look) {
		json_object_set_new(note, "confirmed", texts(second_look->confirmed));
		json_object_set_new(note, "dropped", texts(second_look->dropped));
	}
	return dump(note);
}

char *hs_snapshot_note_thread(const struct hs_lwp *lwp)
{
	const char state[2] = {lwp->state};
	char comm[sizeof(lwp->comm) + 1] = {0};
	json_t *note = json_object();

	memcpy(comm, lwp->comm, sizeof(lwp->comm));
	json_object_set_new(note, "tid", json_integer(lwp->tid));
	json_object_set_new(note, "host_tid", json_integer(lwp->host_tid));
	json_object_set_new(note, "state", text(state));
	json_object_set_new(note, "comm", text(comm));
	json_object_set_new(note, "cpu_ms", json_integer(lwp->cpu_ms));
	json_object_set_new(note, "cpu_ns", json_integer(lwp->cpu_ns));
	json_object_set_new(note, "valid", json_integer(lwp->has_regs ? lwp->regs.valid : 0));
	json_object_set_new(note, "why_no_regs", text(lwp->why_no_regs));
	if (lwp->wchan)
		json_object_set_new(note, "wchan", text(lwp->wchan));
	if (lwp->kernel_stack)
		json_object_set_new(note, "kernel_stack", text(lwp->kernel_stack));
	if (lwp->in_syscall) {
		json_t *args = json_array();

		for (size_t i = 0; i < HS_SYSCALL_ARGS; i++)
			json_array_append_new(args, json_integer((json_int_t)lwp->syscall_args[i]));
		json_object_set_new(note, "syscall", json_integer(lwp->syscall_nr));
		json_object_set_new(note, "syscall_args", args);
	}
	return dump(note);
}

// ---- read

struct reader {
	struct hs_arena *arena;
	struct hs_snapshot_notes *notes;
};

static int digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static const char *unhex(const struct reader *r, const char *hex, size_t len)
{
	char *ret = len % 2 ? NULL : hs_arena_alloc(r->arena, len / 2 + 1);

	for (size_t i = 0; ret && i < len / 2; i++) {
		int high = digit(hex[2 * i]), low = digit(hex[2 * i + 1]);

		if (high < 0 || low < 0 || !(high | low))
			return NULL;
		ret[i] = (char)(high << 4 | low);
	}
	return ret;
}

/** A text; NULL when it is null or missing, or makes no sense, which is counted. */
static const char *read_text(const struct reader *r, const json_t *value)
{
	const json_t *hex = json_object_get(value, "hex");
	const char *ret = NULL;

	if (!value || json_is_null(value))
		return NULL;
	if (json_is_string(value))
		ret = hs_arena_strdup(r->arena, json_string_value(value));
	else if (json_is_string(hex))
		ret = unhex(r, json_string_value(hex), json_string_length(hex));
	r->notes->num_bad += !ret;
	return ret;
}

/** An array's length, at most @p most; more is counted as nonsense. */
static size_t read_length(const struct reader *r, const json_t *list, size_t most)
{
	size_t len = json_array_size(list); // 0 when it is none

	if (len <= most)
		return len;
	r->notes->num_bad++;
	return most;
}

/** NULL-terminated; NULL when out of memory. */
static const char *const *read_texts(const struct reader *r, const json_t *list, size_t most)
{
	size_t len = read_length(r, list, most), num = 0;
	const char **items = hs_arena_calloc(r->arena, len + 1, sizeof(*items));

	for (size_t i = 0; items && i < len; i++) {
		items[num] = read_text(r, json_array_get(list, i));
		num += items[num] != NULL;
	}
	return items;
}

/** A number from @p low to @p high, or @p fallback; one that is outside is counted. */
static int64_t read_number(const struct reader *r, const json_t *object, const char *key,
                           int64_t low, int64_t high, int64_t fallback)
{
	const json_t *value = json_object_get(object, key);
	json_int_t number = json_integer_value(value);

	if (json_is_integer(value) && number >= low && number <= high)
		return number;
	r->notes->num_bad += value != NULL;
	return fallback;
}

static void read_gaps(const struct reader *r, const json_t *list)
{
	size_t len = read_length(r, list, HS_MAX_GAPS);

	for (size_t i = 0; i < len; i++) {
		const json_t *row = json_array_get(list, i);
		struct hs_target_gap gap = {
			read_text(r, json_array_get(row, 0)),
			read_text(r, json_array_get(row, 1)),
			read_text(r, json_array_get(row, 2)),
		};

		if (!gap.subject || !gap.reason || !gap.costs)
			continue;
		struct hs_target_gap *slot = hs_vec_push(r->arena, &r->notes->gaps);
		if (slot)
			*slot = gap;
	}
}

static int compare_fds(const void *a, const void *b)
{
	int x = ((const struct hs_fd_link *)a)->fd, y = ((const struct hs_fd_link *)b)->fd;

	return (x > y) - (x < y);
}

static void read_fds(const struct reader *r, const json_t *list)
{
	size_t len = read_length(r, list, MAX_FDS);
	struct hs_snapshot_notes *notes = r->notes;

	for (size_t i = 0; i < len; i++) {
		const json_t *row = json_array_get(list, i);
		const json_t *number = json_array_get(row, 0);
		json_int_t fd = json_is_integer(number) ? json_integer_value(number) : -1;
		const char *target = read_text(r, json_array_get(row, 1));

		if (!target || fd < 0 || fd > INT32_MAX)
			continue;
		struct hs_fd_link *slot = hs_vec_push(r->arena, &notes->fd_links);
		if (slot)
			*slot = (struct hs_fd_link){(int)fd, target};
	}
	if (notes->fd_links.len)
		qsort(notes->fd_links.items, notes->fd_links.len, sizeof(*notes->fd_links.items),
		      compare_fds);
}

void hs_snapshot_note_read_process(struct hs_arena *arena, const char *bytes, size_t len,
                                   struct hs_snapshot_notes *notes)
{
	const struct reader r = {arena, notes};
	json_t *note = json_loadb(bytes, len, 0, NULL);
	struct hs_target_info *info = &notes->info;

	if (!json_is_object(note) || notes->present) {
		notes->num_bad++;
		json_decref(note);
		return;
	}
	notes->present = true;
	notes->format = (int)read_number(&r, note, "format", 1, INT32_MAX, HS_SNAPSHOT_FORMAT + 1);
	if (notes->format <= HS_SNAPSHOT_FORMAT) {
		double pause = json_real_value(json_object_get(note, "pause_ms"));

		info->pid = (pid_t)read_number(&r, note, "pid", 0, INT32_MAX, 0);
		info->exe = read_text(&r, json_object_get(note, "exe"));
		info->args = read_texts(&r, json_object_get(note, "args"), MAX_ARGS);
		info->host = read_text(&r, json_object_get(note, "host"));
		info->captured_at = read_number(&r, note, "captured_at", 0, INT64_MAX / 1000, 0);
		info->captured_ms = read_number(&r, note, "captured_ms", 0, INT64_MAX, 0);
		info->captured_ns = read_number(&r, note, "captured_ns", 0, INT64_MAX, 0);
		info->pause_ms = pause >= 0 && pause < 1e12 ? pause : -1;
		info->capture = (enum hs_capture)read_number(&r, note, "capture", HS_CAPTURE_NONE,
		                                             HS_CAPTURE_NO_STOP, HS_CAPTURE_NONE);
		info->ran_on = json_is_true(json_object_get(note, "ran_on"));
		read_gaps(&r, json_object_get(note, "gaps"));
		read_fds(&r, json_object_get(note, "fds"));
		notes->second_look.confirmed =
			read_texts(&r, json_object_get(note, "confirmed"), MAX_LOOKS);
		notes->second_look.dropped =
			read_texts(&r, json_object_get(note, "dropped"), MAX_LOOKS);
	}
	json_decref(note);
}

static void read_syscall(const struct reader *r, const json_t *note, struct hs_lwp *lwp)
{
	const json_t *args = json_object_get(note, "syscall_args");

	lwp->syscall_nr = -1;
	if (!json_object_get(note, "syscall"))
		return;
	lwp->in_syscall = true;
	lwp->syscall_nr = (long)read_number(r, note, "syscall", -1, INT32_MAX, -1);
	for (size_t i = 0; i < HS_SYSCALL_ARGS; i++)
		lwp->syscall_args[i] = (uint64_t)json_integer_value(json_array_get(args, i));
}

void hs_snapshot_note_read_thread(struct hs_arena *arena, const char *bytes, size_t len,
                                  struct hs_snapshot_notes *notes)
{
	const struct reader r = {arena, notes};
	json_t *note = json_loadb(bytes, len, 0, NULL);
	int64_t tid = json_is_object(note) ? read_number(&r, note, "tid", 1, INT32_MAX, 0) : 0;
	struct hs_lwp *lwp = NULL;

	if (tid && notes->threads.len < HS_MAX_THREADS)
		lwp = hs_vec_push(arena, &notes->threads);
	if (lwp) {
		const char *state = read_text(&r, json_object_get(note, "state"));
		const char *comm = read_text(&r, json_object_get(note, "comm"));

		lwp->tid = (pid_t)tid;
		lwp->host_tid = (pid_t)read_number(&r, note, "host_tid", 0, INT32_MAX, 0);
		lwp->state = state && strchr("RSDTtZXIPK", *state) && *state ? *state : '?';
		if (comm)
			memcpy(lwp->comm, comm, strnlen(comm, sizeof(lwp->comm) - 1));
		lwp->cpu_ms = read_number(&r, note, "cpu_ms", -1, INT64_MAX, -1);
		lwp->cpu_ns = read_number(&r, note, "cpu_ns", -1, INT64_MAX, -1);
		lwp->regs.valid =
			(uint32_t)read_number(&r, note, "valid", 0, (1 << HS_REG_COUNT) - 1, 0);
		lwp->why_no_regs = read_text(&r, json_object_get(note, "why_no_regs"));
		lwp->wchan = read_text(&r, json_object_get(note, "wchan"));
		lwp->kernel_stack = read_text(&r, json_object_get(note, "kernel_stack"));
		read_syscall(&r, note, lwp);
	} else {
		notes->num_bad++;
	}
	json_decref(note);
}
