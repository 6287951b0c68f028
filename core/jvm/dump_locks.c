// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Deadlocks as HotSpot's own dump finds them: a walk from each thread to the owner of what blocks
 * it, monitors and ownable synchronizers only (threadService.cpp, find_deadlocks_at_safepoint(), 8
 * to 28). It sees less than the wait graph; the tail of a dump must not say more than HotSpot's.
 */

#include <inttypes.h>
#include <string.h>

#include "core/jvm/thread_dump.h"

static const char ownable[] = "java/util/concurrent/locks/AbstractOwnableSynchronizer";

static uint32_t thread_index(const struct hs_jthread *jthread)
{
	return jthread ? jthread->thread : HS_NONE;
}

/** Blocked by an ownable synchronizer that somebody owns. */
static struct hs_err *by_synchronizer(struct hs_jvm *jvm, const struct hs_jthread *jthread,
                                      struct hs_dump_blocker *ret)
{
	const struct hs_klass *klass;
	struct hs_err *err;
	hs_addr owner = 0;

	err = hs_oop_klass(jvm, jthread->park_blocker, &klass);
	if (err || !hs_klass_is_a(jvm, klass, ownable))
		return err;
	err = hs_oop_get_oop(jvm, jthread->park_blocker, "exclusiveOwnerThread", &owner);
	if (err || !owner)
		return err;
	*ret = (struct hs_dump_blocker){
		.object = {jthread->park_blocker, klass->external_name},
		.owner = thread_index(hs_jthread_of_object(jvm, owner)),
	};
	return NULL;
}

/** Blocked in monitor enter. */
static struct hs_err *by_monitor(struct hs_jvm *jvm, const struct hs_jthread *jthread,
                                 struct hs_dump_blocker *ret)
{
	const struct hs_klass *klass = NULL;
	struct hs_lock_owner owner = {0};
	uint8_t from_java = 1;
	struct hs_err *err;
	hs_addr object = 0;

	err = hs_monitor_object(jvm, jthread->pending_monitor, &object);
	if (err || !object)
		return err;
	err = hs_lock_owner(jvm, object, jthread->pending_monitor, &owner);
	if (!err)
		err = hs_oop_klass(jvm, object, &klass);
	if (!err && hs_layout_has(&jvm->layout, HS_F_thread_pending_from_java))
		err = hs_target_read_u8(
			jvm->target,
			jthread->addr +
				hs_layout_offset(&jvm->layout, HS_F_thread_pending_from_java),
			&from_java);
	if (err)
		return err;
	*ret = (struct hs_dump_blocker){
		.monitor = jthread->pending_monitor,
		.object = {object, klass->external_name},
		.owner = thread_index(owner.thread),
		.is_from_java = from_java != 0,
	};
	return NULL;
}

static struct hs_err *find_blocker(struct hs_jvm *jvm, const struct hs_jthread *jthread,
                                   struct hs_dump_blocker *ret)
{
	if (jthread->pending_monitor)
		return by_monitor(jvm, jthread, ret);
	if (jthread->park_blocker)
		return by_synchronizer(jvm, jthread, ret);
	return NULL;
}

static struct hs_err *add_deadlock(struct hs_dump_builder *builder, uint32_t first, size_t len)
{
	struct hs_arena *arena = builder->jvm->arena;
	struct hs_dump_deadlock *deadlock = hs_vec_push(arena, &builder->dump->deadlocks);

	if (!deadlock)
		return hs_err_oom();
	*deadlock = (struct hs_dump_deadlock){0};
	for (uint32_t t = first; len--; t = builder->threads[t]->blocker.owner) {
		uint32_t *slot = hs_vec_push(arena, &deadlock->threads);

		if (!slot)
			return hs_err_oom();
		*slot = t;
	}
	return NULL;
}

/** Follow the owners from @p first. As HotSpot does it, the threads that lead into a cycle are
 * listed with it. @p visits: when each thread was first seen, 0 never. */
static struct hs_err *walk_from(struct hs_dump_builder *builder, uint32_t first, uint32_t *visits,
                                uint32_t *clock)
{
	uint32_t start = ++*clock, current = first;
	size_t len = 0;

	visits[first] = start;
	while (builder->threads[current] && builder->threads[current]->blocker.object.address) {
		uint32_t next = builder->threads[current]->blocker.owner;

		len++;
		if (next == HS_NONE || next == current)
			return NULL;
		if (visits[next])
			return visits[next] < start ? NULL : add_deadlock(builder, first, len);
		visits[next] = ++*clock;
		current = next;
	}
	return NULL;
}

struct hs_err *hs_dump_collect_deadlocks(struct hs_dump_builder *builder)
{
	struct hs_jvm *jvm = builder->jvm;
	uint32_t *visits =
		hs_arena_calloc(jvm->arena, jvm->snapshot->threads.len + 1, sizeof(*visits));
	uint32_t clock = 0;
	struct hs_err *err;

	if (!visits)
		return hs_err_oom();
	hs_vec_each (jthread, &jvm->jthreads) {
		struct hs_dump_thread *thread =
			jthread->thread == HS_NONE ? NULL : builder->threads[jthread->thread];

		if (!thread)
			continue;
		err = hs_jvm_gap(jvm, find_blocker(jvm, jthread, &thread->blocker),
		                 "the tail of the dump", "what blocks \"%s\"",
		                 hs_jthread_name(jvm, jthread));
		if (err)
			return err;
	}
	hs_vec_each (index, &builder->dump->order) {
		if (visits[*index] || !builder->threads[*index])
			continue;
		err = walk_from(builder, *index, visits, &clock);
		if (err)
			return err;
	}
	return NULL;
}
