// SPDX-License-Identifier: Apache-2.0
/** @file Snapshot: append-only records, with lookups by tid, resource identity and edge. */

#include "core/snapshot.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/map64.h"
#include "core/limits.h"

/** Values are index + 1, so that NULL means absent. */
struct hs_snapshot_index {
	struct hs_map64 thread_by_tid;
	struct hs_map64 resource[HS_RES_KIND_COUNT]; /**< by address */
	struct hs_map64 wait, hold;                  /**< by thread << 32 | resource */
};

static void *index_value(size_t i)
{
	return (void *)(uintptr_t)(i + 1);
}

static size_t value_index(const void *value)
{
	return (size_t)(uintptr_t)value - 1;
}

struct hs_snapshot *hs_snapshot_create(void)
{
	struct hs_arena *arena = hs_arena_create();
	if (!arena)
		return NULL;

	struct hs_snapshot *snapshot = hs_arena_alloc(arena, sizeof(*snapshot));
	struct hs_snapshot_index *index = calloc(1, sizeof(*index));
	if (!snapshot || !index) {
		free(index);
		hs_arena_destroy(arena);
		return NULL;
	}
	snapshot->arena = arena;
	snapshot->index = index;
	snapshot->info.pause_ms = -1;
	snapshot->runtime.kind = "native";
	return snapshot;
}

static void index_destroy(struct hs_snapshot_index *index)
{
	if (!index)
		return;
	hs_map64_deinit(&index->thread_by_tid);
	for (size_t i = 0; i < HS_RES_KIND_COUNT; i++)
		hs_map64_deinit(&index->resource[i]);
	hs_map64_deinit(&index->wait);
	hs_map64_deinit(&index->hold);
	free(index);
}

void hs_snapshot_destroy(struct hs_snapshot *snapshot)
{
	if (!snapshot)
		return;
	index_destroy(snapshot->index);
	hs_arena_destroy(snapshot->arena);
}

void hs_snapshot_destroyp(struct hs_snapshot **snapshot)
{
	hs_snapshot_destroy(*snapshot);
}

struct hs_thread *hs_snapshot_add_thread(struct hs_snapshot *snapshot, pid_t tid,
                                         uint32_t *index_ret)
{
	if (snapshot->threads.len >= HS_MAX_THREADS)
		return NULL;
	struct hs_thread *thread = hs_vec_push(snapshot->arena, &snapshot->threads);
	if (!thread)
		return NULL;
	size_t i = snapshot->threads.len - 1;

	thread->tid = tid;
	thread->state = "state not known";
	thread->cpu_ms = -1;
	thread->carrier = HS_NONE;
	thread->mounted = HS_NONE;
	if (tid)
		hs_map64_put(&snapshot->index->thread_by_tid, (uint64_t)tid, index_value(i));
	if (index_ret)
		*index_ret = (uint32_t)i;
	return thread;
}

bool hs_thread_is_called(const struct hs_thread *thread, const char *want)
{
	char *end;

	if (thread->name && strcmp(thread->name, want) == 0)
		return true;
	long tid = strtol(want, &end, 10);
	if (!*want || *end || tid <= 0)
		return false;
	return thread->tid == tid || thread->host_tid == tid ||
	       (thread->kind == HS_THREAD_VIRTUAL && thread->java_tid == tid);
}

uint32_t hs_snapshot_thread_by_tid(const struct hs_snapshot *snapshot, pid_t tid)
{
	const void *value = snapshot->index
	                            ? hs_map64_get(&snapshot->index->thread_by_tid, (uint64_t)tid)
	                            : NULL;

	return value ? (uint32_t)value_index(value) : (uint32_t)HS_NONE;
}

uint32_t hs_snapshot_resource_for(struct hs_snapshot *snapshot, enum hs_resource_kind kind,
                                  hs_addr address, bool *is_new_ret)
{
	struct hs_map64 *map = &snapshot->index->resource[kind];
	const void *value = hs_map64_get(map, address);

	if (is_new_ret)
		*is_new_ret = !value;
	if (value)
		return (uint32_t)value_index(value);

	struct hs_resource *resource = hs_vec_push(snapshot->arena, &snapshot->resources);
	if (!resource)
		return HS_NONE;
	size_t i = snapshot->resources.len - 1;
	if (!hs_map64_put(map, address, index_value(i))) {
		snapshot->resources.len--;
		return HS_NONE;
	}
	resource->kind = kind;
	resource->address = address;
	return (uint32_t)i;
}

struct hs_resource *hs_snapshot_resource(struct hs_snapshot *snapshot, uint32_t index)
{
	return &snapshot->resources.items[index];
}

void hs_snapshot_detail(struct hs_snapshot *snapshot, uint32_t resource, const char *key,
                        const char *fmt, ...)
{
	if (resource == HS_NONE)
		return;
	va_list ap;
	va_start(ap, fmt);
	const char *value = hs_arena_vprintf(snapshot->arena, fmt, ap);
	va_end(ap);

	struct hs_resource *record = &snapshot->resources.items[resource];
	for (size_t i = 0; i < record->details.len; i++) {
		if (strcmp(record->details.items[i].key, key) == 0) {
			record->details.items[i].value = value ? value : "";
			return;
		}
	}
	const char *key_copy = hs_arena_strdup(snapshot->arena, key);
	struct hs_detail *detail = hs_vec_push(snapshot->arena, &record->details);
	if (detail)
		*detail = (struct hs_detail){key_copy ? key_copy : "", value ? value : ""};
}

static void add_edge(struct hs_snapshot *snapshot, struct hs_map64 *map, const struct hs_edge *edge,
                     bool is_wait)
{
	if (edge->thread >= snapshot->threads.len || edge->resource >= snapshot->resources.len)
		return;
	uint64_t key = (uint64_t)edge->thread << 32 | edge->resource;
	const void *value = hs_map64_get(map, key);

	if (value) {
		struct hs_edge *old = is_wait ? &snapshot->waits.items[value_index(value)]
		                              : &snapshot->holds.items[value_index(value)];
		struct hs_edge merged = edge->certainty > old->certainty ? *edge : *old;

		// What only one of the two knows is kept: the frame, the class being loaded.
		if (merged.frame == HS_NONE)
			merged.frame = old->frame != HS_NONE ? old->frame : edge->frame;
		if (!merged.subject_class)
			merged.subject_class =
				old->subject_class ? old->subject_class : edge->subject_class;
		*old = merged;
		return;
	}
	struct hs_edge *added = is_wait ? hs_vec_push(snapshot->arena, &snapshot->waits)
	                                : hs_vec_push(snapshot->arena, &snapshot->holds);
	if (!added)
		return;
	*added = *edge;
	size_t i = (is_wait ? snapshot->waits.len : snapshot->holds.len) - 1;
	hs_map64_put(map, key, index_value(i));
}

void hs_snapshot_add_wait(struct hs_snapshot *snapshot, const struct hs_edge *edge)
{
	add_edge(snapshot, &snapshot->index->wait, edge, true);
}

void hs_snapshot_add_hold(struct hs_snapshot *snapshot, const struct hs_edge *edge)
{
	add_edge(snapshot, &snapshot->index->hold, edge, false);
}

static void add_gap(struct hs_snapshot *snapshot, const char *subject, const char *costs,
                    const char *reason)
{
	if (snapshot->gaps.len >= HS_MAX_GAPS) {
		snapshot->num_more_gaps++;
		return;
	}
	for (size_t i = 0; i < snapshot->gaps.len; i++) {
		const struct hs_gap *gap = &snapshot->gaps.items[i];

		if (strcmp(gap->subject, subject) == 0 && gap->reason && reason &&
		    strcmp(gap->reason, reason) == 0)
			return;
	}
	const char *subject_copy = hs_arena_strdup(snapshot->arena, subject);
	const char *costs_copy = hs_arena_strdup(snapshot->arena, costs);
	struct hs_gap *gap = hs_vec_push(snapshot->arena, &snapshot->gaps);
	if (gap)
		*gap = (struct hs_gap){subject_copy ? subject_copy : "", reason ? reason : "",
		                       costs_copy ? costs_copy : ""};
}

void hs_snapshot_gap(struct hs_snapshot *snapshot, const char *subject, const char *costs,
                     struct hs_err *err)
{
	if (!err)
		return;
	add_gap(snapshot, subject, costs, hs_arena_strdup(snapshot->arena, hs_err_message(err)));
	hs_err_free(err);
}

void hs_snapshot_gapf(struct hs_snapshot *snapshot, const char *subject, const char *costs,
                      const char *reason_fmt, ...)
{
	va_list ap;

	va_start(ap, reason_fmt);
	const char *reason = hs_arena_vprintf(snapshot->arena, reason_fmt, ap);
	va_end(ap);
	add_gap(snapshot, subject, costs, reason);
}

static void add_more_gaps(struct hs_snapshot *snapshot)
{
	const char *reason =
		hs_arena_printf(snapshot->arena, "%zu times more than the %d that are listed",
	                        snapshot->num_more_gaps, HS_MAX_GAPS);
	struct hs_gap *gap = snapshot->num_more_gaps && reason
	                             ? hs_vec_push(snapshot->arena, &snapshot->gaps)
	                             : NULL;

	if (gap)
		*gap = (struct hs_gap){"other gaps", reason, "facts of the same kinds"};
}

struct hs_err *hs_snapshot_seal(struct hs_snapshot *snapshot)
{
	hs_snapshot_redact_names(snapshot);
	add_more_gaps(snapshot);
	snapshot->sealed = true;
	index_destroy(snapshot->index);
	snapshot->index = NULL;
	return hs_arena_failed(snapshot->arena) ? hs_err_oom() : NULL;
}

const char *hs_resource_kind_name(enum hs_resource_kind kind)
{
	static const char *const names[HS_RES_KIND_COUNT] = {
		[HS_RES_JAVA_MONITOR] = "java-monitor",
		[HS_RES_LOADER_LOCK] = "loader-lock",
		[HS_RES_CLASS_LINK] = "class-link",
		[HS_RES_CLASS_INIT] = "class-init",
		[HS_RES_JUC_LOCK] = "juc-lock",
		[HS_RES_JUC_SYNC] = "juc-sync",
		[HS_RES_CARRIER] = "carrier",
		[HS_RES_PTHREAD_MUTEX] = "pthread-mutex",
		[HS_RES_PTHREAD_RWLOCK] = "pthread-rwlock",
		[HS_RES_PTHREAD_COND] = "pthread-cond",
		[HS_RES_PTHREAD_JOIN] = "pthread-join",
		[HS_RES_SEMAPHORE] = "semaphore",
		[HS_RES_FUTEX] = "futex",
		[HS_RES_VM_MUTEX] = "vm-mutex",
		[HS_RES_SAFEPOINT] = "safepoint",
		[HS_RES_HANDSHAKE] = "handshake",
		[HS_RES_NATIVE_LIBRARY] = "native-library",
		[HS_RES_FD] = "fd",
	};

	return kind < HS_RES_KIND_COUNT ? names[kind] : "unknown";
}

const char *hs_local_kind_name(enum hs_local_kind kind)
{
	static const char *const names[HS_LOCAL_KIND_COUNT] = {
		[HS_LOCAL_PRIMITIVE] = "primitive",
		[HS_LOCAL_NULL] = "null",
		[HS_LOCAL_OBJECT] = "object",
		[HS_LOCAL_ELIMINATED] = "eliminated",
		[HS_LOCAL_OPTIMIZED_OUT] = "optimized-out",
		[HS_LOCAL_RAW] = "raw",
		[HS_LOCAL_UNKNOWN] = "unknown",
		[HS_LOCAL_UNREADABLE] = "unreadable",
	};

	return kind < HS_LOCAL_KIND_COUNT ? names[kind] : "unknown";
}

const char *hs_certainty_name(enum hs_certainty certainty)
{
	static const char *const names[] = {"guessed", "inferred", "read"};

	return names[certainty];
}
