// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Wait graph. Three steps: which threads are stuck (a greatest fixed point, because a wait with
 * several holders is stuck only when all of them are), the strongly connected components of the
 * stuck ones (Tarjan), and from each the shortest cycles that cover it. All walks are iterative:
 * the depth is the target's to choose.
 */

#include "core/wait_graph.h"

#include <stdlib.h>
#include <string.h>

/** Edges grouped by one of their ends. */
struct edge_list {
	const struct hs_edge **edges;
	uint32_t *first; /**< count + 1 entries */
};

struct hs_graph_index {
	struct edge_list wait_by_thread, wait_by_resource, hold_by_thread, hold_by_resource;
};

struct builder {
	const struct hs_snapshot *snapshot;
	struct hs_arena *arena;
	struct hs_wait_graph *graph;
	const struct hs_graph_index *index;
	size_t num_threads;
	bool *stuck;
	uint32_t *component; /**< by thread; HS_NONE: in none */
	uint32_t num_components;
	uint32_t *queue;
	const struct hs_edge **via_wait, **via_hold; /**< how a search came to a thread */
	uint32_t *parent;
	bool *seen;
	HS_VEC(struct hs_cycle) cycles;
	HS_VEC(struct hs_tree) trees;
};

static bool edge_list_build(struct hs_arena *arena, const struct hs_edge *edges, size_t num_edges,
                            size_t num_keys, bool by_thread, struct edge_list *list)
{
	list->edges = hs_arena_calloc(arena, num_edges + 1, sizeof(*list->edges));
	list->first = hs_arena_calloc(arena, num_keys + 2, sizeof(*list->first));
	if (!list->edges || !list->first)
		return false;
	for (size_t i = 0; i < num_edges; i++)
		list->first[(by_thread ? edges[i].thread : edges[i].resource) + 2]++;
	for (size_t key = 2; key < num_keys + 2; key++)
		list->first[key] += list->first[key - 1];
	// first[key + 1] is the next free place of key, and ends as the start of key + 1.
	for (size_t i = 0; i < num_edges; i++)
		list->edges[list->first[(by_thread ? edges[i].thread : edges[i].resource) + 1]++] =
			&edges[i];
	return true;
}

static const struct hs_edge *const *edges_of(const struct edge_list *list, uint32_t key,
                                             size_t *count_ret)
{
	*count_ret = list->first[key + 1] - list->first[key];
	return &list->edges[list->first[key]];
}

/** Holders that count: of an exclusive lock only the surest, when readings disagree. */
static bool holder_counts(const struct hs_edge *const *holds, size_t count, size_t i)
{
	if (holds[i]->shared)
		return true;
	for (size_t j = 0; j < count; j++) {
		if (holds[j]->certainty > holds[i]->certainty)
			return false;
	}
	return true;
}

/** A wait is stuck when it has a holder and every holder is stuck. */
static bool wait_is_stuck(const struct builder *b, const struct hs_edge *wait)
{
	size_t count, num = 0;
	const struct hs_edge *const *holds =
		edges_of(&b->index->hold_by_resource, wait->resource, &count);

	for (size_t i = 0; i < count; i++) {
		if (!holder_counts(holds, count, i))
			continue;
		// A reader that upgrades is not released by itself, so it counts as its own
		// blocker.
		if (!b->stuck[holds[i]->thread])
			return false;
		num++;
	}
	return num > 0;
}

static bool thread_is_stuck(const struct builder *b, uint32_t thread)
{
	size_t count;
	const struct hs_edge *const *waits = edges_of(&b->index->wait_by_thread, thread, &count);

	for (size_t i = 0; i < count; i++) {
		if (wait_is_stuck(b, waits[i]))
			return true;
	}
	return false;
}

static void find_stuck(struct builder *b)
{
	for (size_t i = 0; i < b->num_threads; i++)
		b->stuck[i] = true;

	// Take out threads that can go on, until nothing changes; each goes at most once, and only
	// the waiters of what it holds need another look.
	size_t head = 0, tail = 0;
	for (uint32_t t = 0; t < b->num_threads; t++) {
		if (!thread_is_stuck(b, t)) {
			b->stuck[t] = false;
			b->queue[tail++] = t;
		}
	}
	while (head < tail) {
		size_t num_held, num_waiters;
		const struct hs_edge *const *held =
			edges_of(&b->index->hold_by_thread, b->queue[head++], &num_held);

		for (size_t i = 0; i < num_held; i++) {
			const struct hs_edge *const *waiters = edges_of(
				&b->index->wait_by_resource, held[i]->resource, &num_waiters);

			for (size_t j = 0; j < num_waiters; j++) {
				uint32_t t = waiters[j]->thread;

				if (b->stuck[t] && !thread_is_stuck(b, t)) {
					b->stuck[t] = false;
					b->queue[tail++] = t;
				}
			}
		}
	}
}

/** Iterates over the (wait, hold) pairs that lead out of a thread to stuck threads. */
struct successor {
	size_t wait, hold;
	const struct hs_edge *wait_edge, *hold_edge;
};

static bool next_successor(const struct builder *b, uint32_t thread, struct successor *it)
{
	size_t num_waits, num_holds;
	const struct hs_edge *const *waits =
		edges_of(&b->index->wait_by_thread, thread, &num_waits);

	for (; it->wait < num_waits; it->wait++, it->hold = 0) {
		if (!wait_is_stuck(b, waits[it->wait]))
			continue;
		const struct hs_edge *const *holds = edges_of(
			&b->index->hold_by_resource, waits[it->wait]->resource, &num_holds);

		while (it->hold < num_holds) {
			size_t i = it->hold++;

			if (!holder_counts(holds, num_holds, i))
				continue;
			it->wait_edge = waits[it->wait];
			it->hold_edge = holds[i];
			return true;
		}
	}
	return false;
}

struct tarjan_frame {
	uint32_t thread;
	struct successor it;
};

struct tarjan {
	uint32_t *order, *low, *stack;
	bool *on_stack;
	struct tarjan_frame *calls;
	size_t depth, height;
	uint32_t next;
};

static void tarjan_enter(struct tarjan *t, uint32_t thread)
{
	t->order[thread] = t->low[thread] = ++t->next;
	t->stack[t->height++] = thread;
	t->on_stack[thread] = true;
	t->calls[t->depth++] = (struct tarjan_frame){.thread = thread};
}

static void tarjan_leave(struct builder *b, struct tarjan *t, uint32_t thread)
{
	t->depth--;
	if (t->depth) {
		uint32_t up = t->calls[t->depth - 1].thread;

		if (t->low[thread] < t->low[up])
			t->low[up] = t->low[thread];
	}
	if (t->low[thread] != t->order[thread])
		return;
	uint32_t member;
	do {
		member = t->stack[--t->height];
		t->on_stack[member] = false;
		b->component[member] = b->num_components;
	} while (member != thread);
	b->num_components++;
}

static void tarjan_from(struct builder *b, struct tarjan *t, uint32_t root)
{
	tarjan_enter(t, root);
	while (t->depth) {
		struct tarjan_frame *call = &t->calls[t->depth - 1];

		if (!next_successor(b, call->thread, &call->it)) {
			tarjan_leave(b, t, call->thread);
			continue;
		}
		uint32_t to = call->it.hold_edge->thread;
		if (!t->order[to])
			tarjan_enter(t, to);
		else if (t->on_stack[to] && t->order[to] < t->low[call->thread])
			t->low[call->thread] = t->order[to];
	}
}

static struct hs_err *find_components(struct builder *b)
{
	size_t n = b->num_threads;
	struct tarjan t = {
		.order = hs_arena_calloc(b->arena, n, sizeof(*t.order)),
		.low = hs_arena_calloc(b->arena, n, sizeof(*t.low)),
		.stack = hs_arena_calloc(b->arena, n, sizeof(*t.stack)),
		.on_stack = hs_arena_calloc(b->arena, n, sizeof(*t.on_stack)),
		.calls = hs_arena_calloc(b->arena, n, sizeof(*t.calls)),
	};

	if (!t.order || !t.low || !t.stack || !t.on_stack || !t.calls)
		return hs_err_oom();
	for (uint32_t i = 0; i < n; i++)
		b->component[i] = HS_NONE;
	for (uint32_t i = 0; i < n; i++) {
		if (b->stuck[i] && !t.order[i])
			tarjan_from(b, &t, i);
	}
	return NULL;
}

/** Breadth first from @p start inside its component until it is met again. */
static bool search_back(struct builder *b, uint32_t start, uint32_t *last_ret)
{
	size_t head = 0, tail = 0;

	memset(b->seen, 0, b->num_threads * sizeof(*b->seen));
	b->queue[tail++] = start;
	while (head < tail) {
		uint32_t thread = b->queue[head++];
		struct successor it = {0};

		while (next_successor(b, thread, &it)) {
			uint32_t to = it.hold_edge->thread;

			if (b->component[to] != b->component[start] || b->seen[to])
				continue;
			b->seen[to] = true;
			b->parent[to] = thread;
			b->via_wait[to] = it.wait_edge;
			b->via_hold[to] = it.hold_edge;
			if (to == start) {
				*last_ret = thread;
				return true;
			}
			b->queue[tail++] = to;
		}
	}
	return false;
}

/** Threads behind @p from[]: waiters of what they hold, and so on. Excludes the given ones. */
static struct hs_err *collect_blocked(struct builder *b, const uint32_t *from, size_t num_from,
                                      const uint32_t **ret, size_t *num_ret, size_t *num_direct_ret)
{
	size_t head = 0, tail = 0;

	memset(b->seen, 0, b->num_threads * sizeof(*b->seen));
	for (size_t i = 0; i < num_from; i++) {
		b->seen[from[i]] = true;
		b->queue[tail++] = from[i];
	}
	while (head < tail) {
		size_t num_held, num_waiters;

		if (head == num_from)
			*num_direct_ret = tail - num_from;
		const struct hs_edge *const *held =
			edges_of(&b->index->hold_by_thread, b->queue[head++], &num_held);
		for (size_t i = 0; i < num_held; i++) {
			const struct hs_edge *const *waiters = edges_of(
				&b->index->wait_by_resource, held[i]->resource, &num_waiters);

			for (size_t j = 0; j < num_waiters; j++) {
				uint32_t t = waiters[j]->thread;

				if (!b->seen[t]) {
					b->seen[t] = true;
					b->queue[tail++] = t;
				}
			}
		}
	}
	if (tail == num_from)
		*num_direct_ret = 0;
	*num_ret = tail - num_from;
	uint32_t *copy = hs_arena_calloc(b->arena, *num_ret + 1, sizeof(*copy));
	if (!copy)
		return hs_err_oom();
	memcpy(copy, b->queue + num_from, *num_ret * sizeof(*copy));
	*ret = copy;
	return NULL;
}

static struct hs_err *add_cycle(struct builder *b, uint32_t start, bool *covered)
{
	size_t len = 0;

	// Follow the parents from start back to start: b->parent[start] closes the cycle.
	uint32_t thread = start;
	do {
		thread = b->parent[thread];
		len++;
	} while (thread != start);
	struct hs_step *steps = hs_arena_calloc(b->arena, len, sizeof(*steps));
	uint32_t *members = hs_arena_calloc(b->arena, len, sizeof(*members));
	if (!steps || !members)
		return hs_err_oom();

	struct hs_cycle cycle = {.steps = steps, .len = len, .certainty = HS_READ};
	uint32_t to = start;
	for (size_t i = len; i-- > 0; to = b->parent[to]) {
		steps[i] = (struct hs_step){b->via_wait[to], b->via_hold[to]};
		members[i] = b->parent[to];
		covered[members[i]] = true;
		if (steps[i].wait->certainty < cycle.certainty)
			cycle.certainty = steps[i].wait->certainty;
		if (steps[i].hold->certainty < cycle.certainty)
			cycle.certainty = steps[i].hold->certainty;
		cycle.has_timed_wait |= steps[i].wait->timed;
	}
	size_t num_direct;
	struct hs_err *err =
		collect_blocked(b, members, len, &cycle.blocked, &cycle.num_blocked, &num_direct);
	if (err)
		return err;
	struct hs_cycle *added = hs_vec_push(b->arena, &b->cycles);
	if (!added)
		return hs_err_oom();
	*added = cycle;
	return NULL;
}

static struct hs_err *find_cycles(struct builder *b)
{
	bool *covered = hs_arena_calloc(b->arena, b->num_threads, sizeof(*covered));

	if (!covered)
		return hs_err_oom();
	for (uint32_t t = 0; t < b->num_threads; t++) {
		uint32_t last;

		// A stuck thread may only wait behind a cycle: then no search comes back to it.
		if (!b->stuck[t] || covered[t] || !search_back(b, t, &last))
			continue;
		struct hs_err *err = add_cycle(b, t, covered);
		if (err)
			return err;
	}
	return NULL;
}

/** Waiting for a thread or a task to end, or for a processor of a busy scheduler, is how programs
 * are built, not contention. */
static bool is_lock(const struct builder *b, const struct hs_edge *hold)
{
	enum hs_resource_kind kind = b->snapshot->resources.items[hold->resource].kind;

	return kind != HS_RES_PTHREAD_JOIN && kind != HS_RES_JUC_SYNC && kind != HS_RES_CARRIER;
}

static const struct hs_edge *busiest_hold(const struct builder *b, uint32_t thread)
{
	size_t num_held, num_waiters, most = 0;
	const struct hs_edge *best = NULL;
	const struct hs_edge *const *held = edges_of(&b->index->hold_by_thread, thread, &num_held);

	for (size_t i = 0; i < num_held; i++) {
		edges_of(&b->index->wait_by_resource, held[i]->resource, &num_waiters);
		if (num_waiters > most && is_lock(b, held[i])) {
			most = num_waiters;
			best = held[i];
		}
	}
	return best;
}

/** Waits for a resource somebody holds? Then it is not the root of a tree. */
static bool is_behind_somebody(const struct builder *b, uint32_t thread)
{
	size_t num_waits, num_holds;
	const struct hs_edge *const *waits =
		edges_of(&b->index->wait_by_thread, thread, &num_waits);

	for (size_t i = 0; i < num_waits; i++) {
		// A thread that only waits for its turn is what others wait behind.
		if (b->snapshot->resources.items[waits[i]->resource].kind == HS_RES_CARRIER &&
		    !b->stuck[thread])
			continue;
		edges_of(&b->index->hold_by_resource, waits[i]->resource, &num_holds);
		if (num_holds)
			return true;
	}
	return false;
}

static int by_blocked(const void *a, const void *b)
{
	const struct hs_tree *x = a, *y = b;

	if (x->num_blocked != y->num_blocked)
		return (x->num_blocked < y->num_blocked) - (x->num_blocked > y->num_blocked);
	return (x->root > y->root) - (x->root < y->root);
}

static struct hs_err *find_trees(struct builder *b)
{
	for (uint32_t t = 0; t < b->num_threads; t++) {
		const struct hs_edge *hold = busiest_hold(b, t);

		if (!hold || is_behind_somebody(b, t))
			continue;
		struct hs_tree tree = {.root = t, .hold = hold, .certainty = hold->certainty};
		struct hs_err *err = collect_blocked(b, &t, 1, &tree.blocked, &tree.num_blocked,
		                                     &tree.num_direct);
		if (err)
			return err;
		struct hs_tree *added = hs_vec_push(b->arena, &b->trees);
		if (!added)
			return hs_err_oom();
		*added = tree;
	}
	if (b->trees.len)
		qsort(b->trees.items, b->trees.len, sizeof(*b->trees.items), by_blocked);
	return NULL;
}

static struct hs_err *index_build(struct builder *b)
{
	const struct hs_snapshot *s = b->snapshot;
	struct hs_graph_index *index = hs_arena_alloc(b->arena, sizeof(*index));

	if (!index ||
	    !edge_list_build(b->arena, s->waits.items, s->waits.len, s->threads.len, true,
	                     &index->wait_by_thread) ||
	    !edge_list_build(b->arena, s->waits.items, s->waits.len, s->resources.len, false,
	                     &index->wait_by_resource) ||
	    !edge_list_build(b->arena, s->holds.items, s->holds.len, s->threads.len, true,
	                     &index->hold_by_thread) ||
	    !edge_list_build(b->arena, s->holds.items, s->holds.len, s->resources.len, false,
	                     &index->hold_by_resource))
		return hs_err_oom();
	b->index = b->graph->index = index;
	return NULL;
}

struct hs_err *hs_wait_graph_build(const struct hs_snapshot *snapshot, struct hs_arena *arena,
                                   const struct hs_wait_graph **ret)
{
	size_t n = snapshot->threads.len;
	struct builder b = {
		.snapshot = snapshot,
		.arena = arena,
		.graph = hs_arena_alloc(arena, sizeof(*b.graph)),
		.num_threads = n,
		.stuck = hs_arena_calloc(arena, n + 1, sizeof(*b.stuck)),
		.component = hs_arena_calloc(arena, n + 1, sizeof(*b.component)),
		.queue = hs_arena_calloc(arena, n + 1, sizeof(*b.queue)),
		.via_wait = hs_arena_calloc(arena, n + 1, sizeof(*b.via_wait)),
		.via_hold = hs_arena_calloc(arena, n + 1, sizeof(*b.via_hold)),
		.parent = hs_arena_calloc(arena, n + 1, sizeof(*b.parent)),
		.seen = hs_arena_calloc(arena, n + 1, sizeof(*b.seen)),
	};
	struct hs_err *err;

	if (hs_arena_failed(arena))
		return hs_err_oom();
	b.graph->snapshot = snapshot;
	err = index_build(&b);
	if (err)
		return err;
	find_stuck(&b);
	err = find_components(&b);
	if (err)
		return err;
	err = find_cycles(&b);
	if (err)
		return err;
	err = find_trees(&b);
	if (err)
		return err;
	b.graph->cycles = b.cycles.items;
	b.graph->num_cycles = b.cycles.len;
	b.graph->trees = b.trees.items;
	b.graph->num_trees = b.trees.len;
	*ret = b.graph;
	return NULL;
}

const struct hs_edge *const *hs_wait_graph_waits(const struct hs_wait_graph *graph, uint32_t thread,
                                                 size_t *count_ret)
{
	return edges_of(&graph->index->wait_by_thread, thread, count_ret);
}

const struct hs_edge *const *hs_wait_graph_holders(const struct hs_wait_graph *graph,
                                                   uint32_t resource, size_t *count_ret)
{
	return edges_of(&graph->index->hold_by_resource, resource, count_ret);
}

const struct hs_edge *const *hs_wait_graph_waiters(const struct hs_wait_graph *graph,
                                                   uint32_t resource, size_t *count_ret)
{
	return edges_of(&graph->index->wait_by_resource, resource, count_ret);
}

const struct hs_edge *const *hs_wait_graph_held(const struct hs_wait_graph *graph, uint32_t thread,
                                                size_t *count_ret)
{
	return edges_of(&graph->index->hold_by_thread, thread, count_ret);
}

const struct hs_edge *hs_wait_graph_wait_of(const struct hs_wait_graph *graph, uint32_t thread)
{
	size_t count;
	const struct hs_edge *const *waits = hs_wait_graph_waits(graph, thread, &count);

	return count ? waits[0] : NULL;
}

const struct hs_edge *hs_wait_graph_hold_of(const struct hs_wait_graph *graph, uint32_t resource)
{
	size_t count;
	const struct hs_edge *const *holds = hs_wait_graph_holders(graph, resource, &count);

	return count ? holds[0] : NULL;
}
