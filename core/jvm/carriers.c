// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Carriers: a virtual thread that is ready to run waits for a carrier when all of its scheduler are
 * taken. Who waits and who is mounted is read; that the pool makes no further carrier is inferred
 * from its parallelism.
 */

#include <inttypes.h>

#include "core/jvm/locks.h"
#include "core/jvm/virtual_threads.h"

/** One scheduler, which is a ForkJoinPool, and its carriers. */
struct scheduler {
	hs_addr oop;
	int64_t parallelism; /**< 0: not known */
	size_t num_taken, num_free;
	uint32_t resource; /**< HS_NONE: nobody waits for one of its carriers */
};

struct schedulers {
	HS_VEC(struct scheduler) items; /**< almost always one */
};

enum {
	MAX_SCHEDULERS = 256, /**< custom ones, by reflection only */
};

static struct scheduler *find(struct schedulers *schedulers, hs_addr oop)
{
	hs_vec_each (scheduler, &schedulers->items) {
		if (scheduler->oop == oop)
			return scheduler;
	}
	return NULL;
}

/** NULL: too many of them, or no memory. */
static struct scheduler *add(struct hs_jvm *jvm, struct schedulers *schedulers, hs_addr oop)
{
	struct scheduler *scheduler = find(schedulers, oop);
	struct hs_err *err;

	if (scheduler || !oop || schedulers->items.len >= MAX_SCHEDULERS)
		return scheduler;
	scheduler = hs_vec_push(jvm->arena, &schedulers->items);
	if (!scheduler)
		return NULL;
	*scheduler = (struct scheduler){.oop = oop, .resource = HS_NONE};
	err = hs_oop_get_int(jvm, oop, "parallelism", &scheduler->parallelism);
	hs_err_free(err); // no ForkJoinPool: how many carriers it has is its own affair
	return scheduler;
}

/** ForkJoinPool of one of its workers; 0: another thread. A pool has other threads too (25). */
static hs_addr pool_of_worker(struct hs_jvm *jvm, hs_addr thread)
{
	const struct hs_klass *klass;
	hs_addr pool = 0;
	struct hs_err *err = hs_oop_klass(jvm, thread, &klass);

	if (!err && hs_klass_is_a(jvm, klass, "java/util/concurrent/ForkJoinWorkerThread"))
		err = hs_oop_get_oop(jvm, thread, "pool", &pool);
	hs_err_free(err); // then it is none that we know of
	return pool;
}

/** Threads of a pool that carry a virtual thread, and those that could. */
static void count_carriers(struct hs_jvm *jvm, struct schedulers *schedulers)
{
	struct scheduler *scheduler;

	hs_vec_each (jthread, &jvm->jthreads) {
		const struct hs_vthread *vthread = hs_vthread_by_oop(jvm, jthread->vthread_oop);

		if (jthread->thread == HS_NONE || !jthread->thread_oop)
			continue;
		if (vthread) {
			scheduler = find(schedulers, vthread->scheduler);
			if (scheduler)
				scheduler->num_taken++;
			continue;
		}
		scheduler = find(schedulers, pool_of_worker(jvm, jthread->thread_oop));
		if (scheduler)
			scheduler->num_free++;
	}
}

static bool all_taken(const struct scheduler *scheduler)
{
	return scheduler->parallelism > 0 && !scheduler->num_free &&
	       (int64_t)scheduler->num_taken >= scheduler->parallelism;
}

static void name_resource(struct hs_jvm *jvm, struct scheduler *scheduler)
{
	bool is_new;

	scheduler->resource =
		hs_snapshot_resource_for(jvm->snapshot, HS_RES_CARRIER, scheduler->oop, &is_new);
	if (scheduler->resource == HS_NONE || !is_new)
		return;
	hs_snapshot_resource(jvm->snapshot, scheduler->resource)->label = hs_arena_printf(
		jvm->arena, "a carrier thread of the virtual thread scheduler @%" PRIx64,
		scheduler->oop);
	hs_snapshot_detail(jvm->snapshot, scheduler->resource, "parallelism", "%" PRId64,
	                   scheduler->parallelism);
	hs_snapshot_detail(jvm->snapshot, scheduler->resource, "carriers taken", "%zu",
	                   scheduler->num_taken);
}

static void add_wait(struct hs_jvm *jvm, const struct hs_vthread *vthread, uint32_t resource)
{
	const struct hs_edge edge = {
		.thread = vthread->thread,
		.resource = resource,
		.frame = hs_java_top_frame(jvm, vthread->thread),
		.certainty = HS_INFERRED,
		.read_from = hs_arena_printf(jvm->arena,
	                                     "java.lang.VirtualThread 0x%" PRIx64
	                                     ", state: ready to run, not mounted",
	                                     vthread->oop),
		.words = {hs_word_at(jvm, hs_vthread_state_word(jvm, vthread), 4)},
	};

	jvm->snapshot->threads.items[vthread->thread].state = "ready to run, waits for a carrier";
	hs_snapshot_add_wait(jvm->snapshot, &edge);
}

/** Any one of them that leaves is enough: a shared hold. */
static void add_holds(struct hs_jvm *jvm, struct schedulers *schedulers)
{
	hs_vec_each (vthread, &jvm->vthreads->items) {
		const struct scheduler *scheduler = find(schedulers, vthread->scheduler);

		if (!vthread->is_mounted || !scheduler || scheduler->resource == HS_NONE)
			continue;
		const struct hs_edge edge = {
			.thread = vthread->thread,
			.resource = scheduler->resource,
			.frame = HS_NONE,
			.certainty = HS_INFERRED,
			.shared = true,
			.read_from = "JavaThread of its carrier, _vthread",
			.words = {hs_word_at(jvm, hs_vthread_state_word(jvm, vthread), 4)},
		};
		hs_snapshot_add_hold(jvm->snapshot, &edge);
	}
}

struct hs_err *hs_carriers_collect(struct hs_jvm *jvm)
{
	struct schedulers schedulers = {0};
	bool starved = false;

	if (!jvm->vthreads)
		return NULL;
	hs_vec_each (vthread, &jvm->vthreads->items) {
		if (!vthread->is_mounted && hs_vthread_is_runnable(vthread->state))
			add(jvm, &schedulers, vthread->scheduler);
	}
	if (!schedulers.items.len)
		return NULL;
	count_carriers(jvm, &schedulers);
	hs_vec_each (vthread, &jvm->vthreads->items) {
		struct scheduler *scheduler = find(&schedulers, vthread->scheduler);

		if (vthread->is_mounted || !hs_vthread_is_runnable(vthread->state) || !scheduler ||
		    !all_taken(scheduler))
			continue;
		if (scheduler->resource == HS_NONE)
			name_resource(jvm, scheduler);
		add_wait(jvm, vthread, scheduler->resource);
		starved = true;
	}
	if (starved)
		add_holds(jvm, &schedulers);
	return NULL;
}
