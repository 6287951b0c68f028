// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * java.util.concurrent: what a parked thread waits for (its parkBlocker), and who holds that:
 * exclusive owners, readers by their hold counters, the runner of a FutureTask. By field name.
 */

#include <inttypes.h>
#include <string.h>

#include "core/jvm/locks.h"
#include "core/jvm/virtual_threads.h"

enum {
	FUTURE_COMPLETING =
		1, // FutureTask.state: 0 new, 1 completing, more: done (FutureTask.java, 8 to 25)
};

static const char ownable[] = "java/util/concurrent/locks/AbstractOwnableSynchronizer";
static const char long_queued[] = "java/util/concurrent/locks/AbstractQueuedLongSynchronizer";
static const char hold_counter[] =
	"java/util/concurrent/locks/ReentrantReadWriteLock$Sync$HoldCounter";

/** Synchronizers whose state is a count that anybody may change: nobody holds them. */
static const char *const ownerless[] = {
	"java/util/concurrent/CountDownLatch$",
	"java/util/concurrent/Semaphore$",
};

/** Part of a resource's label, by the class of the blocker; @c prefix matches nested classes. */
static const struct {
	const char *prefix, *label;
} sync_labels[] = {
	{"java/util/concurrent/CountDownLatch$",                                "the count-down of" },
	{"java/util/concurrent/Semaphore$",                                     "a permit of"       },
	{"java/util/concurrent/FutureTask",                                     "the result of"     },
	{"java/util/concurrent/CompletableFuture",                              "the completion of" },
	{"java/util/concurrent/Phaser",					 "the next phase of" },
	{"java/util/concurrent/Exchanger",                                      "an exchange with"  },
	{"java/util/concurrent/SynchronousQueue",                               "a transfer through"},
	{"java/util/concurrent/LinkedTransferQueue",                            "an element of"     },
	{"java/util/concurrent/ForkJoinPool",                                   "work for"          },
	{"java/util/concurrent/locks/AbstractQueuedSynchronizer$Condition",     "a signal() of"     },
	{"java/util/concurrent/locks/AbstractQueuedLongSynchronizer$Condition", "a signal() of"     },
	{"java/util/concurrent/locks/",					 "the lock of"       },
};

static bool starts_with(const char *s, const char *prefix)
{
	return !strncmp(s, prefix, strlen(prefix));
}

/** "ReentrantLock" of "java.util.concurrent.locks.ReentrantLock$NonfairSync", in the arena. */
static const char *outer_name(struct hs_jvm *jvm, const struct hs_klass *klass)
{
	const char *name = klass->external_name;
	const char *nested = strchr(name, '$');
	size_t len = nested && nested > name ? (size_t)(nested - name) : strlen(name);

	// The JDK's own classes are known without their package.
	if (starts_with(name, "java.util.concurrent."))
		for (size_t i = 0; i < len; i++)
			if (name[i] == '.') {
				name += i + 1;
				len -= i + 1;
				i = 0;
			}
	const char *copy = hs_arena_strndup(jvm->arena, name, len);
	return copy ? copy : "?";
}

/** The memory word of an oop field, and the object in it. *ret 0 when there is no such field. */
static struct hs_err *field_word(struct hs_jvm *jvm, hs_addr object, const char *name, hs_addr *ret,
                                 struct hs_word *word_ret)
{
	const struct hs_jfield *field = NULL;
	const struct hs_klass *klass;
	struct hs_err *err;

	*ret = 0;
	err = hs_oop_klass(jvm, object, &klass);
	if (!err)
		err = hs_klass_field(jvm, klass, name, &field);
	if (hs_err_catch(&err, HS_ERR_ABSENT))
		return NULL;
	if (err || !field)
		return err;
	*word_ret = hs_word_at(jvm, object + field->offset, jvm->compressed_oops ? 4 : 8);
	return hs_oop_load(jvm, object + field->offset, ret);
}

// ---- holds

/** A holder that no JavaThread runs. */
static void describe_gone(struct hs_jvm *jvm, uint32_t resource, hs_addr thread_oop, bool shared)
{
	const struct hs_klass *klass;
	const char *name = NULL;
	struct hs_err *err;
	hs_addr string = 0;
	bool is_virtual = false;

	err = hs_oop_klass(jvm, thread_oop, &klass);
	if (!err) {
		is_virtual = hs_klass_is_a(jvm, klass, "java/lang/BaseVirtualThread");
		err = hs_oop_get_oop(jvm, thread_oop, "name", &string);
	}
	if (!err)
		err = hs_oop_string(jvm, string, HS_MAX_NAME, &name);
	hs_err_free(err); // the address says it then
	hs_snapshot_detail(jvm->snapshot, resource, shared ? "a reader" : "owner",
	                   "thread \"%s\" @%" PRIx64 ", %s", name ? name : "?", thread_oop,
	                   is_virtual ? "a virtual thread that was not found" : "which has ended");
}

/** A thread object as the holder of @p resource; a detail when it is no thread that runs. */
static void add_thread_hold(struct hs_jvm *jvm, uint32_t resource, hs_addr thread_oop,
                            struct hs_word word, const char *read_from, bool shared)
{
	uint32_t thread = hs_thread_of_object(jvm, thread_oop);

	if (thread == HS_NONE) {
		describe_gone(jvm, resource, thread_oop, shared);
		return;
	}
	struct hs_edge edge = {
		.thread = thread,
		.resource = resource,
		.frame = HS_NONE,
		.certainty = HS_READ,
		.shared = shared,
		.read_from = read_from,
		.words = {word},
	};
	hs_snapshot_resource(jvm->snapshot, resource)->owner_tid =
		jvm->snapshot->threads.items[thread].tid;
	hs_snapshot_add_hold(jvm->snapshot, &edge);
}

static struct hs_err *add_field_hold(struct hs_jvm *jvm, uint32_t resource, hs_addr object,
                                     const char *field, hs_addr *owner_ret)
{
	struct hs_word word = {0};
	struct hs_err *err = field_word(jvm, object, field, owner_ret, &word);

	if (err || !*owner_ret)
		return err;
	const char *read_from =
		hs_arena_printf(jvm->arena, "object 0x%" PRIx64 ", %s", object, field);
	add_thread_hold(jvm, resource, *owner_ret, word, read_from, false);
	return NULL;
}

/** Are two ThreadLocals the same? Each has a hash code of its own; addresses may be of old copies
 * that a moving collector left. */
static struct hs_err *same_thread_local(struct hs_jvm *jvm, hs_addr a, hs_addr b, bool *ret)
{
	int64_t hash_a = 0, hash_b = 1;
	struct hs_err *err;

	*ret = a == b;
	if (a == b || !a || !b)
		return NULL;
	err = hs_oop_get_int(jvm, a, "threadLocalHashCode", &hash_a);
	if (!err)
		err = hs_oop_get_int(jvm, b, "threadLocalHashCode", &hash_b);
	*ret = !err && hash_a == hash_b;
	return err;
}

/** Read holds of one thread: its ThreadLocalMap has an entry (readHolds → HoldCounter). */
static struct hs_err *read_hold_counter(struct hs_jvm *jvm, hs_addr entry, hs_addr read_holds,
                                        struct hs_word *word_ret, int64_t *count_ret)
{
	const struct hs_jfield *count = NULL;
	const struct hs_klass *klass;
	struct hs_err *err;
	hs_addr key = 0, value = 0;
	bool same = false;

	*count_ret = 0;
	err = hs_oop_get_oop(jvm, entry, "referent", &key);
	if (!err)
		err = same_thread_local(jvm, key, read_holds, &same);
	if (err || !same)
		return err;
	err = hs_oop_get_oop(jvm, entry, "value", &value);
	if (err || !value)
		return err;
	err = hs_oop_klass(jvm, value, &klass);
	if (err || strcmp(klass->name, hold_counter) != 0)
		return err;
	err = hs_klass_field(jvm, klass, "count", &count);
	if (err)
		return err;
	*word_ret = hs_word_at(jvm, value + count->offset, 4);
	return hs_oop_get_int(jvm, value, "count", count_ret);
}

static struct hs_err *read_thread_holds(struct hs_jvm *jvm, hs_addr thread, hs_addr read_holds,
                                        struct hs_word *word_ret, int64_t *count_ret)
{
	hs_addr map = 0, table = 0, entry = 0;
	struct hs_err *err;
	uint32_t length = 0;

	*count_ret = 0;
	err = hs_oop_get_oop(jvm, thread, "threadLocals", &map);
	if (err || !map)
		return err;
	err = hs_oop_get_oop(jvm, map, "table", &table);
	if (!err && table)
		err = hs_oop_array_length(jvm, table, &length);
	for (uint32_t i = 0; !err && !*count_ret && i < length; i++) {
		if (jvm->lock_index->num_thread_locals++ >= HS_MAX_ARRAY)
			return hs_err_new(HS_ERR_BAD_DATA, "more than %d thread locals",
			                  HS_MAX_ARRAY);
		err = hs_oop_array_get(jvm, table, i, &entry);
		if (!err && entry)
			err = read_hold_counter(jvm, entry, read_holds, word_ret, count_ret);
	}
	return err;
}

struct readers {
	uint32_t resource;
	hs_addr read_holds;
	int64_t wanted, found; /**< holds */
};

/** The read holds of one thread. */
static struct hs_err *add_counted_reader(struct hs_jvm *jvm, struct readers *readers,
                                         hs_addr thread)
{
	struct hs_word word = {0};
	int64_t count = 0;
	struct hs_err *err = read_thread_holds(jvm, thread, readers->read_holds, &word, &count);

	if (err || count <= 0)
		return err;
	readers->found += count;
	add_thread_hold(jvm, readers->resource, thread, word,
	                "its ThreadLocal hold counter of the lock", true);
	return NULL;
}

static struct hs_err *add_virtual_readers(struct hs_jvm *jvm, struct readers *readers)
{
	struct hs_err *err;

	if (!jvm->vthreads)
		return NULL;
	hs_vec_each (vthread, &jvm->vthreads->items) {
		if (vthread->is_mounted || readers->found >= readers->wanted)
			continue;
		err = hs_jvm_gap(jvm, add_counted_reader(jvm, readers, vthread->oop),
		                 "whether it holds a read lock",
		                 "thread locals of the virtual thread #%" PRId64,
		                 vthread->java_tid);
		if (err)
			return err;
	}
	return NULL;
}

/** The readers beyond the first: *found_ret counts their holds. */
static struct hs_err *add_counted_readers(struct hs_jvm *jvm, uint32_t resource, hs_addr sync,
                                          int64_t wanted, int64_t *found_ret)
{
	struct readers readers = {.resource = resource, .wanted = wanted, .found = *found_ret};
	struct hs_err *err;

	if (!hs_lock_index(jvm))
		return hs_err_oom();
	err = hs_oop_get_oop(jvm, sync, "readHolds", &readers.read_holds);
	if (err || !readers.read_holds)
		return err;
	hs_vec_each (jthread, &jvm->jthreads) {
		hs_addr current = jthread->vthread_oop ? jthread->vthread_oop : jthread->thread_oop;

		if (!current || readers.found >= wanted)
			continue;
		err = hs_jvm_gap(jvm, add_counted_reader(jvm, &readers, current),
		                 "whether it holds a read lock", "thread locals of \"%s\"",
		                 hs_jthread_name(jvm, jthread));
		if (err)
			return err;
	}
	err = add_virtual_readers(jvm, &readers);
	*found_ret = readers.found;
	return err;
}

/** Readers of a ReentrantReadWriteLock$Sync: state's upper half counts their holds. */
static struct hs_err *add_readers(struct hs_jvm *jvm, uint32_t resource, hs_addr sync,
                                  const struct hs_klass *klass)
{
	int64_t state = 0, first_count = 0, found = 0;
	struct hs_word word = {0};
	struct hs_err *err;
	hs_addr first = 0;

	err = hs_oop_get_int(jvm, sync, "state", &state);
	if (err)
		return err;
	// SHARED_SHIFT: 32 where the state is a long (25), 16 where it is an int.
	int64_t shared = hs_klass_is_a(jvm, klass, long_queued) ? (int64_t)((uint64_t)state >> 32)
	                                                        : (int64_t)((uint32_t)state >> 16);
	if (!shared)
		return NULL;
	hs_snapshot_detail(jvm->snapshot, resource, "read holds", "%" PRId64, shared);
	err = field_word(jvm, sync, "firstReader", &first, &word);
	if (!err && first)
		err = hs_oop_get_int(jvm, sync, "firstReaderHoldCount", &first_count);
	if (err)
		return err;
	if (first && first_count > 0) {
		found = first_count;
		add_thread_hold(
			jvm, resource, first, word,
			hs_arena_printf(jvm->arena, "object 0x%" PRIx64 ", firstReader", sync),
			true);
	}
	if (found < shared)
		err = add_counted_readers(jvm, resource, sync, shared, &found);
	if (!err && found < shared)
		hs_snapshot_detail(jvm->snapshot, resource, "read holds not found", "%" PRId64,
		                   shared - found);
	return err;
}

// ---- resources

static bool has_owner(const struct hs_klass *klass)
{
	for (size_t i = 0; i < sizeof(ownerless) / sizeof(ownerless[0]); i++)
		if (starts_with(klass->name, ownerless[i]))
			return false;
	return true;
}

static const char *label_of(struct hs_jvm *jvm, const struct hs_klass *klass, bool is_lock,
                            hs_addr object)
{
	const char *words = is_lock ? "the" : "the wake-up by";
	const char *of = "";

	for (size_t i = 0; !is_lock && i < sizeof(sync_labels) / sizeof(sync_labels[0]); i++) {
		if (!starts_with(klass->name, sync_labels[i].prefix))
			continue;
		words = sync_labels[i].label;
		of = " the";
		break;
	}
	if (!is_lock && !of[0])
		of = " the";
	return hs_arena_printf(jvm->arena, "%s%s %s @%" PRIx64, words, of, outer_name(jvm, klass),
	                       object);
}

/** A Condition is named by the lock it belongs to. */
static struct hs_err *label_condition(struct hs_jvm *jvm, hs_addr condition, const char **ret)
{
	const struct hs_klass *klass;
	struct hs_err *err;
	hs_addr sync = 0;

	err = hs_oop_get_oop(jvm, condition, "this$0", &sync);
	if (!err)
		err = hs_oop_klass(jvm, sync, &klass);
	if (err)
		return err;
	*ret = hs_arena_printf(jvm->arena, "a signal() of a Condition of the %s @%" PRIx64,
	                       outer_name(jvm, klass), sync);
	return NULL;
}

/** Holders of a lock, or of a FutureTask. */
static struct hs_err *add_holds(struct hs_jvm *jvm, uint32_t resource, hs_addr blocker,
                                const struct hs_klass *klass, bool is_lock)
{
	struct hs_err *err = NULL;
	hs_addr owner = 0;

	if (starts_with(klass->name, "java/util/concurrent/FutureTask")) {
		int64_t state = FUTURE_COMPLETING;

		// Its waiters are on their way once it is done, though runner may still be set.
		err = hs_oop_get_int(jvm, blocker, "state", &state);
		if (err || state > FUTURE_COMPLETING)
			return err;
		return add_field_hold(jvm, resource, blocker, "runner", &owner);
	}
	if (!is_lock)
		return NULL;
	err = add_field_hold(jvm, resource, blocker, "exclusiveOwnerThread", &owner);
	if (!err && !owner &&
	    starts_with(klass->name, "java/util/concurrent/locks/ReentrantReadWriteLock$"))
		err = add_readers(jvm, resource, blocker, klass);
	return err;
}

/** Threads in join() wait for a latch of the virtual thread, which counts it down when it ends. */
static void add_join(struct hs_jvm *jvm, uint32_t index, const struct hs_vthread *joined)
{
	struct hs_resource *resource = hs_snapshot_resource(jvm->snapshot, index);
	const char *name = jvm->snapshot->threads.items[joined->thread].name;
	struct hs_edge hold = {
		.thread = joined->thread,
		.resource = index,
		.frame = HS_NONE,
		.certainty = HS_READ,
	};

	resource->label =
		name ? hs_arena_printf(jvm->arena, "the end of the virtual thread \"%s\"", name)
		     : hs_arena_printf(jvm->arena, "the end of the virtual thread #%" PRId64,
	                               joined->java_tid);
	hold.read_from = hs_arena_printf(
		jvm->arena, "java.lang.VirtualThread 0x%" PRIx64 ", termination", joined->oop);
	hold.words[0] = hs_word_at(jvm, hs_vthread_state_word(jvm, joined), 4);
	hs_snapshot_add_hold(jvm->snapshot, &hold);
}

static struct hs_err *blocker_resource(struct hs_jvm *jvm, hs_addr blocker, uint32_t *ret)
{
	const struct hs_klass *klass;
	const char *label = NULL;
	struct hs_err *err;
	bool is_new;

	err = hs_oop_klass(jvm, blocker, &klass);
	if (err)
		return err;
	bool is_lock = (hs_klass_is_a(jvm, klass, ownable) && has_owner(klass)) ||
	               !strcmp(klass->name, "java/util/concurrent/locks/StampedLock");
	uint32_t index = hs_snapshot_resource_for(
		jvm->snapshot, is_lock ? HS_RES_JUC_LOCK : HS_RES_JUC_SYNC, blocker, &is_new);
	if (index == HS_NONE)
		return hs_err_oom();
	*ret = index;
	if (!is_new)
		return NULL;
	if (strstr(klass->name, "$ConditionObject"))
		err = hs_jvm_gap(jvm, label_condition(jvm, blocker, &label), "the lock it is of",
		                 "condition 0x%" PRIx64, blocker);
	if (err)
		return err;
	if (!label)
		label = label_of(jvm, klass, is_lock, blocker);
	struct hs_resource *resource = hs_snapshot_resource(jvm->snapshot, index);
	resource->label = label;
	resource->class_name = klass->external_name;
	const struct hs_vthread *joined = hs_vthread_by_termination(jvm, blocker);
	if (joined) {
		add_join(jvm, index, joined);
		return NULL;
	}
	return add_holds(jvm, index, blocker, klass, is_lock);
}

// ---- waits

/** A thread that wants to be a reader parks below ReadLock.lock(). */
static bool wants_to_read(const struct hs_jvm *jvm, uint32_t thread)
{
	const struct hs_thread *t = &jvm->snapshot->threads.items[thread];
	uint32_t first = hs_java_top_frame(jvm, thread);

	for (uint32_t i = first; i < t->num_frames && i - first < 12; i++) {
		const struct hs_location *l = t->frames[i].location;

		if (l->class_name &&
		    !strcmp(l->class_name,
		            "java.util.concurrent.locks.ReentrantReadWriteLock$ReadLock"))
			return true;
	}
	return false;
}

/** The walk saw the blocker, but not yet what it is: give its lock line the resource. */
static void link_frame(struct hs_jvm *jvm, const struct hs_edge *wait, hs_addr blocker)
{
	const struct hs_thread *t = &jvm->snapshot->threads.items[wait->thread];

	if (wait->frame >= t->num_frames)
		return;
	const struct hs_frame *frame = &t->frames[wait->frame];
	for (uint16_t i = 0; i < frame->num_locks; i++) {
		// Const for readers of the snapshot; it is not sealed yet.
		struct hs_frame_lock *lock = (struct hs_frame_lock *)&frame->locks[i];

		if (lock->state == HS_LOCK_PARKING && lock->object == blocker)
			lock->resource = wait->resource;
	}
}

/** A thread that is parked for something. */
struct parked {
	uint32_t thread;
	hs_addr object; /**< its java.lang.Thread */
	hs_addr blocker;
	hs_addr state_word; /**< 0: none */
	bool timed;
};

static struct hs_err *add_wait(struct hs_jvm *jvm, const struct parked *parked)
{
	hs_addr blocker = 0;
	struct hs_err *err;
	struct hs_edge edge = {
		.thread = parked->thread,
		.resource = HS_NONE,
		.frame = hs_java_top_frame(jvm, parked->thread),
		.certainty = HS_READ,
		.timed = parked->timed,
		.shared = wants_to_read(jvm, parked->thread),
	};

	err = blocker_resource(jvm, parked->blocker, &edge.resource);
	if (err)
		return err;
	err = field_word(jvm, parked->object, "parkBlocker", &blocker, &edge.words[0]);
	if (err)
		return err;
	if (parked->state_word)
		edge.words[1] = hs_word_at(jvm, parked->state_word, 4);
	edge.read_from = hs_arena_printf(jvm->arena,
	                                 "java.lang.Thread 0x%" PRIx64 ", parkBlocker = 0x%" PRIx64,
	                                 parked->object, parked->blocker);
	hs_snapshot_add_wait(jvm->snapshot, &edge);
	link_frame(jvm, &edge, parked->blocker);
	return NULL;
}

/** Those without a carrier; a pinned one is parked as its carrier. */
static struct hs_err *collect_virtual(struct hs_jvm *jvm)
{
	struct hs_err *err;

	if (!jvm->vthreads)
		return NULL;
	hs_vec_each (vthread, &jvm->vthreads->items) {
		const struct parked parked = {
			.thread = vthread->thread,
			.object = vthread->oop,
			.blocker = vthread->park_blocker,
			.state_word = hs_vthread_state_word(jvm, vthread),
			.timed = vthread->state == HS_VSTATE_TIMED_PARKED,
		};

		if (!parked.blocker || vthread->is_mounted ||
		    (vthread->state != HS_VSTATE_PARKED && !parked.timed))
			continue;
		err = hs_jvm_gap(jvm, add_wait(jvm, &parked), "what it is parked for",
		                 "park blocker of the virtual thread #%" PRId64, vthread->java_tid);
		if (err)
			return err;
	}
	return NULL;
}

struct hs_err *hs_juc_collect(struct hs_jvm *jvm)
{
	struct hs_err *err;

	hs_vec_each (jthread, &jvm->jthreads) {
		const struct parked parked = {
			.thread = hs_jthread_runner(jthread),
			.object = jthread->vthread_oop ? jthread->vthread_oop : jthread->thread_oop,
			.blocker = jthread->park_blocker,
			.timed = jthread->thread_status & HS_STATUS_TIMED,
		};

		// parkBlocker is set a little before the thread parks, and cleared a little after.
		if (!parked.blocker || jthread->thread == HS_NONE ||
		    !(jthread->thread_status & HS_STATUS_PARKED))
			continue;
		err = hs_jvm_gap(jvm, add_wait(jvm, &parked), "what it is parked for",
		                 "park blocker of \"%s\"", hs_jthread_name(jvm, jthread));
		if (err)
			return err;
	}
	return collect_virtual(jvm);
}
