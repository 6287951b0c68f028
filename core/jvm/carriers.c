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
	size_t num_idle;    /**< parked, without a virtual thread: spares when others block */
	struct hs_word ctl; /**< ForkJoinPool.ctl; size 0: not read */
	uint32_t resource;  /**< HS_NONE: nobody waits for one of its carriers */
};

struct schedulers {
	HS_VEC(struct scheduler) items; /**< almost always one */
};

enum {
	MAX_SCHEDULERS = 256, /**< custom ones, by reflection only */
	// ForkJoinPool.java, 21 to 28: ctl is the number of released workers (RC, 16 bits), that of
	// all (TC, 16 bits), and the top of the stack of idle ones: a version and an index.
	RC_SHIFT = 48,
	INDEX_MASK = 0xffff,
};

static struct scheduler *find(struct schedulers *schedulers, hs_addr oop)
{
	hs_vec_each (scheduler, &schedulers->items) {
		if (scheduler->oop == oop)
			return scheduler;
	}
	return NULL;
}

/** ForkJoinPool.ctl; nothing where it cannot be read. */
static void read_ctl(struct hs_jvm *jvm, struct scheduler *scheduler)
{
	const struct hs_jfield *field = NULL;
	const struct hs_klass *klass;
	struct hs_err *err = hs_oop_klass(jvm, scheduler->oop, &klass);

	if (!err)
		err = hs_klass_field(jvm, klass, "ctl", &field);
	if (!err && !field->is_static)
		scheduler->ctl = hs_word_at(jvm, scheduler->oop + field->offset, 8);
	hs_err_free(err); // idle workers may then be about to run
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
	read_ctl(jvm, scheduler);
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

/** Length of the stack of idle workers: one that was released a moment ago is not in it. */
static struct hs_err *count_stacked(struct hs_jvm *jvm, const struct scheduler *scheduler,
                                    size_t *ret)
{
	uint32_t top = (uint32_t)scheduler->ctl.value, length;
	hs_addr queues = 0, queue;
	struct hs_err *err;

	*ret = 0;
	err = hs_oop_get_oop(jvm, scheduler->oop, "queues", &queues);
	if (!err)
		err = hs_oop_array_length(jvm, queues, &length);
	while (!err && top && *ret < scheduler->num_idle) {
		int64_t below = 0;

		if ((top & INDEX_MASK) >= length)
			return hs_err_new(HS_ERR_BAD_DATA, "no such worker");
		err = hs_oop_array_get(jvm, queues, top & INDEX_MASK, &queue);
		if (!err)
			err = hs_oop_get_int(jvm, queue, "stackPred", &below);
		top = (uint32_t)below;
		++*ret;
	}
	return err;
}

/** Do all idle workers stay idle? A ForkJoinPool wakes none while as many are released as its
 * parallelism says, be they blocked or not (signalWork). */
static bool idle_ones_stay(struct hs_jvm *jvm, const struct scheduler *scheduler)
{
	struct hs_err *err;
	size_t stacked;

	if (!scheduler->num_idle)
		return true;
	if (!scheduler->ctl.size ||
	    (int16_t)(scheduler->ctl.value >> RC_SHIFT) < scheduler->parallelism)
		return false;
	err = count_stacked(jvm, scheduler, &stacked);
	if (err) {
		hs_err_free(err); // they may be about to run
		return false;
	}
	return stacked == scheduler->num_idle;
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
		if (scheduler && (jthread->thread_status & HS_STATUS_PARKED))
			scheduler->num_idle++;
		else if (scheduler)
			scheduler->num_free++;
	}
}

static bool all_taken(struct hs_jvm *jvm, const struct scheduler *scheduler)
{
	return scheduler->parallelism > 0 && !scheduler->num_free &&
	       (int64_t)scheduler->num_taken >= scheduler->parallelism &&
	       idle_ones_stay(jvm, scheduler);
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

static void add_wait(struct hs_jvm *jvm, const struct hs_vthread *vthread,
                     const struct scheduler *scheduler)
{
	const struct hs_edge edge = {
		.thread = vthread->thread,
		.resource = scheduler->resource,
		.frame = hs_java_top_frame(jvm, vthread->thread),
		.certainty = HS_INFERRED,
		.read_from = hs_arena_printf(jvm->arena,
	                                     "java.lang.VirtualThread 0x%" PRIx64
	                                     ", state: ready to run, not mounted",
	                                     vthread->oop),
		.words = {hs_word_at(jvm, hs_vthread_state_word(jvm, vthread), 4), scheduler->ctl},
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
	hs_vec_each (scheduler, &schedulers.items) {
		if (!all_taken(jvm, scheduler))
			continue;
		name_resource(jvm, scheduler);
		starved = true;
	}
	if (!starved)
		return NULL;
	hs_vec_each (vthread, &jvm->vthreads->items) {
		const struct scheduler *scheduler = find(&schedulers, vthread->scheduler);

		if (!vthread->is_mounted && hs_vthread_is_runnable(vthread->state) && scheduler &&
		    scheduler->resource != HS_NONE)
			add_wait(jvm, vthread, scheduler);
	}
	add_holds(jvm, &schedulers);
	return NULL;
}
