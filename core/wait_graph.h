// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Wait graph: the waits and holds of a sealed snapshot as a graph of threads. Pure: no target.
 *
 * A thread that waits for a resource is stuck behind the holders of it: behind all of them when
 * there are several (readers of a rwlock). A cycle of untimed waits is a deadlock, certainty is
 * that of its weakest edge.
 */
#ifndef HS_WAIT_GRAPH_H
#define HS_WAIT_GRAPH_H

#include "core/snapshot.h"

/** steps[i].wait's thread waits for a resource that steps[i + 1]'s thread holds by steps[i].hold.
 */
struct hs_step {
	const struct hs_edge *wait; /**< thread steps[i].wait->thread → resource */
	const struct hs_edge *hold; /**< resource → thread of the next step */
};

struct hs_cycle {
	const struct hs_step *steps;
	size_t len;
	enum hs_certainty certainty; /**< of the weakest edge */
	bool has_timed_wait;
	/** Threads that are not in the cycle and wait, directly or not, behind one that is. By
	 * index. */
	const uint32_t *blocked;
	size_t num_blocked;
};

/** Threads behind a thread that waits for nobody (it runs, sleeps, does I/O, or waits for an
 * event). */
struct hs_tree {
	uint32_t root;           /**< thread */
	const uint32_t *blocked; /**< threads behind it, direct ones first, then by distance */
	size_t num_blocked;
	size_t num_direct;
	const struct hs_edge *hold; /**< of the resource with most direct waiters */
	enum hs_certainty certainty;
};

struct hs_wait_graph {
	const struct hs_snapshot *snapshot;
	const struct hs_cycle *cycles; /**< each elementary problem once, by lowest thread index */
	size_t num_cycles;
	const struct hs_tree *trees; /**< by num_blocked, descending */
	size_t num_trees;
	const struct hs_graph_index *index; /**< private */
};

/** Build in @p arena. The snapshot must be sealed and outlive the graph. */
HS_MUST_CHECK struct hs_err *hs_wait_graph_build(const struct hs_snapshot *snapshot,
                                                 struct hs_arena *arena,
                                                 const struct hs_wait_graph **ret);

/** All waits / holds of one thread or resource; the array ends at @p count_ret. */
const struct hs_edge *const *hs_wait_graph_waits(const struct hs_wait_graph *graph, uint32_t thread,
                                                 size_t *count_ret);
const struct hs_edge *const *hs_wait_graph_holders(const struct hs_wait_graph *graph,
                                                   uint32_t resource, size_t *count_ret);
const struct hs_edge *const *hs_wait_graph_waiters(const struct hs_wait_graph *graph,
                                                   uint32_t resource, size_t *count_ret);
const struct hs_edge *const *hs_wait_graph_held(const struct hs_wait_graph *graph, uint32_t thread,
                                                size_t *count_ret);

/** First wait of a thread, or NULL. A thread has at most a few. */
const struct hs_edge *hs_wait_graph_wait_of(const struct hs_wait_graph *graph, uint32_t thread);

/** First hold of a resource, or NULL. */
const struct hs_edge *hs_wait_graph_hold_of(const struct hs_wait_graph *graph, uint32_t resource);

#endif // HS_WAIT_GRAPH_H
