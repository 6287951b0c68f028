// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Monitor owner: who holds the lock of an object. Mark word → stack lock, LockStack or
 * ObjectMonitor; its owner word is a JavaThread, a stack address, a thread id or a marker.
 */

#include <inttypes.h>
#include <stdlib.h>

#include "core/jvm/locks.h"
#include "core/jvm/virtual_threads.h"

/** Lock bits of a mark word (markWord.hpp; markOop.hpp in 8 and 11). */
enum mark_bits {
	MARK_STACK = 0, /**< BasicLock address, or fast-locked (lightweight) */
	MARK_UNLOCKED = 1,
	MARK_INFLATED = 2,
	MARK_MOVED = 3, /**< the collector is moving it */
	MARK_LOCK_BITS = 3,
	MARK_BIASED = 5, /**< in the low 3 bits; 8 to 17 */
	MARK_BIASED_BITS = 7,
};

/** The JavaThread of a biased mark; below it epoch, age and bits. */
#define MARK_BIAS_OWNER UINT64_C(0xfffffffffffffc00)

/** Values of ObjectMonitor::_owner that are no owner. */
enum owner_marker {
	OWNER_NONE = 0,
	OWNER_ANONYMOUS = 1, /**< 21+: fast-locked when a contender inflated it */
	OWNER_DEFLATER = 2,  /**< 21+ */
};

static const uint64_t owner_deflater_17 = UINT64_MAX; // 17: DEFLATER_MARKER is (void *)-1

// ---- all inflated monitors

static struct hs_err *add_monitor(struct hs_jvm *jvm, hs_addr monitor)
{
	struct hs_lock_index *index = jvm->lock_index;
	struct hs_err *err;
	hs_addr object = 0;

	err = hs_monitor_object(jvm, monitor, &object);
	if (err || !object)
		return err;
	struct hs_monitor_ref *ref = hs_vec_push(jvm->arena, &index->monitors);
	if (!ref)
		return hs_err_oom();
	*ref = (struct hs_monitor_ref){object, monitor};
	return NULL;
}

/** 16+: one list, linked by _next_om. */
static struct hs_err *read_in_use_list(struct hs_jvm *jvm)
{
	const struct hs_layout *layout = &jvm->layout;
	hs_addr monitor, list = hs_layout_static(layout, HS_F_monitor_in_use_list);
	struct hs_list_walk walk = {0};
	struct hs_err *err;

	err = hs_target_read_u64(jvm->target,
	                         list + hs_layout_offset(layout, HS_F_monitor_list_head), &monitor);
	while (!err && monitor) {
		if (hs_list_walk_ends(&walk, monitor, HS_MAX_MONITORS))
			return hs_err_new(HS_ERR_BAD_DATA, "the list has no end");
		err = add_monitor(jvm, monitor);
		if (!err)
			err = hs_target_read_u64(
				jvm->target,
				monitor + hs_layout_offset(layout, HS_F_monitor_next_om), &monitor);
	}
	return err;
}

/** Where element 0 of a block of monitors has the next block: 8 to 13 FreeNext, 15 _next_om. */
static enum hs_field block_link(const struct hs_jvm *jvm)
{
	return hs_layout_has(&jvm->layout, HS_F_monitor_free_next) ? HS_F_monitor_free_next
	                                                           : HS_F_monitor_next_om;
}

/** 8 to 15: blocks of _BLOCKSIZE monitors; element 0 only links the blocks (synchronizer.cpp). */
static struct hs_err *read_block_list(struct hs_jvm *jvm)
{
	const struct hs_layout *layout = &jvm->layout;
	uint64_t link = hs_layout_offset(layout, block_link(jvm));
	uint64_t stride = layout->sizes[HS_T_padded_object_monitor];
	struct hs_err *err;
	struct hs_list_walk walk = {0};
	int64_t block_size;
	hs_addr block;

	if (!stride)
		stride = layout->sizes[HS_T_object_monitor];
	if (!hs_vmstructs_constant(jvm->vm, "ObjectSynchronizer::_BLOCKSIZE", &block_size) ||
	    block_size < 2 || block_size > HS_MAX_CHAIN || stride < 64 || stride > 4096)
		return hs_err_new(HS_ERR_UNSUPPORTED, "the size of its blocks is not known");
	err = hs_target_read_u64(jvm->target, hs_layout_static(layout, HS_F_monitor_block_list),
	                         &block);
	while (!err && block) {
		if (hs_list_walk_ends(&walk, block, HS_MAX_MONITORS / (size_t)block_size))
			return hs_err_new(HS_ERR_BAD_DATA, "the list has no end");
		for (int64_t i = 1; !err && i < block_size; i++) {
			err = add_monitor(jvm, block + (uint64_t)i * stride);
		}
		if (!err)
			err = hs_target_read_u64(jvm->target, block + link, &block);
	}
	return err;
}

/** Monitors that threads are in: all there is where no list is published. */
static struct hs_err *add_monitors_of_threads(struct hs_jvm *jvm)
{
	struct hs_err *err = NULL;

	hs_vec_each (jthread, &jvm->jthreads) {
		if (!err && jthread->pending_monitor)
			err = add_monitor(jvm, jthread->pending_monitor);
		if (!err && jthread->waiting_monitor)
			err = add_monitor(jvm, jthread->waiting_monitor);
		err = hs_jvm_gap(jvm, err, "the object it waits for", "monitor of \"%s\"",
		                 hs_jthread_name(jvm, jthread));
		if (err)
			return err;
	}
	return NULL;
}

static int compare_monitors(const void *a, const void *b)
{
	const struct hs_monitor_ref *x = a, *y = b;

	return (x->object > y->object) - (x->object < y->object);
}

static struct hs_err *read_monitors(struct hs_jvm *jvm)
{
	struct hs_lock_index *index = hs_lock_index(jvm);
	struct hs_err *err = NULL;

	if (!index)
		return hs_err_oom();
	if (index->monitors_read)
		return NULL;
	index->monitors_read = true;
	if (hs_layout_has(&jvm->layout, HS_F_monitor_in_use_list) &&
	    hs_layout_has(&jvm->layout, HS_F_monitor_next_om))
		err = read_in_use_list(jvm);
	else if (hs_layout_has(&jvm->layout, HS_F_monitor_block_list) &&
	         hs_layout_has(&jvm->layout, block_link(jvm)))
		err = read_block_list(jvm);
	err = hs_jvm_gap(jvm, err, "holders of some monitors", "the JVM's list of monitors");
	if (!err)
		err = add_monitors_of_threads(jvm);
	if (err)
		return err;
	hs_vec_sort(&index->monitors, compare_monitors);
	return NULL;
}

struct hs_err *hs_monitor_object(struct hs_jvm *jvm, hs_addr monitor, hs_addr *ret)
{
	return hs_oop_load_handle(jvm, monitor, HS_F_monitor_object, ret);
}

/**
 * A monitor that somebody is in is not deflated: the mark word of its object points to it. Not so
 * while objects move, or where a table does that.
 */
static bool is_object_of(struct hs_jvm *jvm, hs_addr object, hs_addr monitor)
{
	struct hs_err *err;
	uint64_t mark;

	if (object % 8 ||
	    (jvm->compressed_oops &&
	     object - jvm->narrow_oop_base > UINT64_C(0xffffffff) << jvm->narrow_oop_shift))
		return false;
	if (jvm->monitor_table || jvm->stw_gc_active || jvm->use_zgc || jvm->use_shenandoah)
		return true;
	err = hs_oop_mark(jvm, object, &mark);
	if (err) { // a core without the heap
		hs_err_free(err);
		return true;
	}
	return mark == (monitor | MARK_INFLATED);
}

struct hs_err *hs_monitor_waited_object(struct hs_jvm *jvm, hs_addr monitor, hs_addr *ret)
{
	struct hs_err *err;
	hs_addr object = 0;

	err = hs_monitor_object(jvm, monitor, &object);
	if (err)
		return err;
	if (!object || !is_object_of(jvm, object, monitor))
		return hs_err_new(HS_ERR_BAD_DATA,
		                  "ObjectMonitor 0x%" PRIx64
		                  " is not that of its object 0x%" PRIx64,
		                  monitor, object);
	*ret = object;
	return NULL;
}

/** ObjectMonitor of an object whose mark word says "inflated". HS_ERR_ABSENT. */
static struct hs_err *find_monitor(struct hs_jvm *jvm, hs_addr object, uint64_t mark, hs_addr *ret)
{
	struct hs_monitor_ref key = {.object = object};
	struct hs_err *err;
	hs_addr back = 0;

	if (!jvm->monitor_table) {
		hs_addr monitor = mark & ~(uint64_t)MARK_LOCK_BITS;

		err = hs_monitor_object(jvm, monitor, &back);
		if (!err && back == object) {
			*ret = monitor;
			return NULL;
		}
		hs_err_free(err);
	}
	// 24+ with UseObjectMonitorTable: the mark word holds no pointer.
	err = read_monitors(jvm);
	if (err)
		return err;
	const struct hs_lock_index *index = jvm->lock_index;
	const struct hs_monitor_ref *ref =
		index->monitors.len ? bsearch(&key, index->monitors.items, index->monitors.len,
	                                      sizeof(key), compare_monitors)
				    : NULL;
	if (!ref)
		return hs_err_absent();
	*ret = ref->monitor;
	return NULL;
}

// ---- lock stacks

static int compare_lock_stacks(const void *a, const void *b)
{
	const struct hs_lock_stack_ref *x = a, *y = b;

	if (x->object != y->object)
		return x->object > y->object ? 1 : -1;
	return (x->slot > y->slot) - (x->slot < y->slot);
}

static struct hs_err *read_lock_stack(struct hs_jvm *jvm, const struct hs_jthread *jthread)
{
	struct hs_lock_index *index = jvm->lock_index;
	hs_addr objects[64];
	size_t count = 0;
	struct hs_err *err;

	err = hs_jthread_lock_stack(jvm, jthread, objects, sizeof(objects) / sizeof(*objects),
	                            &count);
	for (size_t i = 0; !err && i < count; i++) {
		struct hs_lock_stack_ref *ref = hs_vec_push(jvm->arena, &index->lock_stacks);

		if (!ref)
			return hs_err_oom();
		*ref = (struct hs_lock_stack_ref){
			objects[i], hs_jthread_lock_stack_slot(jvm, jthread, i), jthread, NULL};
	}
	return err;
}

/** 25+: a virtual thread takes its lock stack along when it leaves its carrier. */
static struct hs_err *read_chunk_locks(struct hs_jvm *jvm, const struct hs_vthread *vthread)
{
	struct hs_lock_index *index = jvm->lock_index;
	hs_addr objects[64], slots[64];
	size_t count = 0;
	struct hs_err *err;

	err = hs_chunk_lock_stack(jvm, vthread->chunk, objects, slots,
	                          sizeof(objects) / sizeof(*objects), &count);
	for (size_t i = 0; !err && i < count; i++) {
		struct hs_lock_stack_ref *ref = hs_vec_push(jvm->arena, &index->lock_stacks);

		if (!ref)
			return hs_err_oom();
		*ref = (struct hs_lock_stack_ref){objects[i], slots[i], NULL, vthread};
	}
	return err;
}

static struct hs_err *read_all_chunk_locks(struct hs_jvm *jvm)
{
	struct hs_err *err;

	if (!jvm->vthreads || !jvm->vthreads->layout.chunk_lock_stack_size)
		return NULL;
	hs_vec_each (vthread, &jvm->vthreads->items) {
		if (vthread->is_mounted || !vthread->chunk ||
		    vthread->state == HS_VSTATE_TERMINATED)
			continue;
		err = read_chunk_locks(jvm, vthread);
		if (err && hs_err_code(err) == HS_ERR_OOM)
			return err;
		hs_err_free(err); // that its stack cannot be read is a gap already
	}
	return NULL;
}

static struct hs_err *read_lock_stacks(struct hs_jvm *jvm)
{
	struct hs_lock_index *index = hs_lock_index(jvm);
	struct hs_err *err;

	if (!index)
		return hs_err_oom();
	if (index->lock_stacks_read)
		return NULL;
	index->lock_stacks_read = true;
	hs_vec_each (jthread, &jvm->jthreads) {
		err = hs_jvm_gap(jvm, read_lock_stack(jvm, jthread), "the monitors it holds",
		                 "lock stack of \"%s\"", hs_jthread_name(jvm, jthread));
		if (err)
			return err;
	}
	err = read_all_chunk_locks(jvm);
	hs_vec_sort(&index->lock_stacks, compare_lock_stacks);
	return err;
}

/** First entry of @p object in any LockStack, or NULL. */
static struct hs_err *find_in_lock_stacks(struct hs_jvm *jvm, hs_addr object,
                                          const struct hs_lock_stack_ref **ret)
{
	struct hs_err *err = read_lock_stacks(jvm);

	if (err)
		return err;
	const struct hs_lock_index *index = jvm->lock_index;
	size_t low = 0, high = index->lock_stacks.len;
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (index->lock_stacks.items[middle].object >= object)
			high = middle;
		else
			low = middle + 1;
	}
	*ret = low < index->lock_stacks.len && index->lock_stacks.items[low].object == object
	               ? &index->lock_stacks.items[low]
	               : NULL;
	return NULL;
}

static int compare_marks(const void *a, const void *b)
{
	const struct hs_lock_stack_mark *x = a, *y = b;

	return (x->mark > y->mark) - (x->mark < y->mark);
}

static void read_lock_stack_marks(struct hs_jvm *jvm)
{
	struct hs_lock_index *index = jvm->lock_index;

	if (index->marks_read)
		return;
	index->marks_read = true;
	hs_vec_each (ref, &index->lock_stacks) {
		uint64_t mark = 0;
		struct hs_err *err = hs_oop_mark(jvm, ref->object, &mark);

		hs_err_free(err); // not this one
		struct hs_lock_stack_mark *slot = hs_vec_push(jvm->arena, &index->lock_stack_marks);
		if (slot)
			*slot = (struct hs_lock_stack_mark){mark, ref};
	}
	hs_vec_sort(&index->lock_stack_marks, compare_marks);
}

/** First entry of an object whose mark word points to @p monitor: under ZGC two addresses may be
 * those of one object, where one of them was not yet corrected. */
static const struct hs_lock_stack_ref *find_by_monitor(struct hs_jvm *jvm, hs_addr monitor)
{
	if (jvm->monitor_table || !monitor)
		return NULL;
	read_lock_stack_marks(jvm);
	const struct hs_lock_index *index = jvm->lock_index;
	const struct hs_lock_stack_mark key = {.mark = monitor | MARK_INFLATED};
	const struct hs_lock_stack_mark *found =
		index->lock_stack_marks.len
			? bsearch(&key, index->lock_stack_marks.items, index->lock_stack_marks.len,
	                          sizeof(key), compare_marks)
			: NULL;
	return found ? found->ref : NULL;
}

/** A virtual thread that is not mounted: it stays the holder while its state does. */
static void owner_is_unmounted(struct hs_jvm *jvm, struct hs_lock_owner *owner,
                               const struct hs_vthread *vthread, const char *what)
{
	owner->is_locked = true;
	owner->vthread = vthread;
	owner->words[2] = hs_word_at(jvm, hs_vthread_state_word(jvm, vthread), 4);
	owner->read_from = hs_arena_printf(jvm->arena, "%s%s%s of the virtual thread #%" PRId64,
	                                   owner->read_from ? owner->read_from : "",
	                                   owner->read_from ? "; " : "", what, vthread->java_tid);
}

static struct hs_err *owner_by_lock_stack(struct hs_jvm *jvm, hs_addr object,
                                          struct hs_lock_owner *owner)
{
	const struct hs_lock_stack_ref *ref = NULL;
	struct hs_err *err = find_in_lock_stacks(jvm, object, &ref);

	if (err)
		return err;
	if (!ref)
		ref = find_by_monitor(jvm, owner->monitor);
	owner->is_locked = true;
	if (!ref) {
		owner->unknown = "fast-locked, on no thread's lock stack: a virtual thread that "
				 "could not be found, or the lock was just released";
		return NULL;
	}
	if (ref->vthread) {
		owner_is_unmounted(jvm, owner, ref->vthread, "lock stack in its stack chunk");
		owner->words[1] = hs_word_at(jvm, ref->slot, 8);
		return NULL;
	}
	owner->thread = ref->thread;
	owner->words[1] = hs_word_at(jvm, ref->slot, 8);
	// A slot above _top keeps its value: product builds do not clear it (lockStack.inline.hpp).
	owner->words[2] = hs_word_at(jvm, hs_jthread_lock_stack_top(jvm, ref->thread), 4);
	owner->read_from = hs_arena_printf(
		jvm->arena, "%s%sLockStack of JavaThread 0x%" PRIx64 " of \"%s\", slot 0x%" PRIx64,
		owner->read_from ? owner->read_from : "", owner->read_from ? "; " : "",
		ref->thread->addr, hs_jthread_name(jvm, ref->thread), ref->slot);
	return owner->read_from ? NULL : hs_err_oom();
}

// ---- ObjectMonitor::_owner

static void owner_is(struct hs_jvm *jvm, struct hs_lock_owner *owner,
                     const struct hs_jthread *thread, const char *what)
{
	owner->is_locked = true;
	owner->thread = thread;
	owner->read_from =
		hs_arena_printf(jvm->arena, "ObjectMonitor 0x%" PRIx64 ", _owner = %s of \"%s\"",
	                        owner->monitor, what, hs_jthread_name(jvm, thread));
}

static void owner_unknown(struct hs_jvm *jvm, struct hs_lock_owner *owner, const char *what,
                          uint64_t raw)
{
	owner->is_locked = true;
	owner->unknown = hs_arena_printf(jvm->arena, "%s 0x%" PRIx64, what, raw);
}

/** 24 and 25 with LockingMode 1: _owner stays anonymous, _stack_locker is the BasicLock. */
static struct hs_err *owner_by_stack_locker(struct hs_jvm *jvm, struct hs_lock_owner *owner,
                                            bool *found)
{
	struct hs_err *err;
	hs_addr lock;

	*found = false;
	if (!hs_layout_has(&jvm->layout, HS_F_monitor_stack_locker) ||
	    jvm->locking_mode == HS_LOCKING_LIGHTWEIGHT)
		return NULL;
	hs_addr word = owner->monitor + hs_layout_offset(&jvm->layout, HS_F_monitor_stack_locker);
	err = hs_target_read_u64(jvm->target, word, &lock);
	if (err)
		return err;
	const struct hs_jthread *thread = hs_jthread_by_stack(jvm, lock);
	if (!thread)
		return NULL;
	owner_is(jvm, owner, thread, "anonymous, _stack_locker in the stack");
	owner->words[1] = hs_word_at(jvm, word, 8);
	*found = true;
	return NULL;
}

static struct hs_err *owner_anonymous(struct hs_jvm *jvm, hs_addr object,
                                      struct hs_lock_owner *owner)
{
	struct hs_err *err;
	bool found;

	err = owner_by_stack_locker(jvm, owner, &found);
	if (err || found)
		return err;
	owner->read_from = hs_arena_printf(
		jvm->arena, "ObjectMonitor 0x%" PRIx64 ", _owner = anonymous", owner->monitor);
	return owner_by_lock_stack(jvm, object, owner);
}

static int compare_owner_ids(const void *a, const void *b)
{
	const struct hs_owner_id_ref *x = a, *y = b;

	if (x->id != y->id)
		return x->id > y->id ? 1 : -1;
	return x->of_carrier - y->of_carrier;
}

static void add_owner_id(struct hs_jvm *jvm, int64_t id, bool of_carrier,
                         const struct hs_jthread *thread)
{
	struct hs_owner_id_ref *ref = hs_vec_push(jvm->arena, &jvm->lock_index->owner_ids);

	if (ref)
		*ref = (struct hs_owner_id_ref){(uint64_t)id, of_carrier, thread};
}

/** The thread with this id; NULL: none. There may be very many threads and locks. */
static const struct hs_jthread *find_owner_id(struct hs_jvm *jvm, uint64_t id, bool of_carrier)
{
	struct hs_lock_index *index = hs_lock_index(jvm);
	const struct hs_owner_id_ref key = {.id = id, .of_carrier = of_carrier};

	if (!index)
		return NULL; // sticky in the arena
	if (!index->owner_ids_read) {
		index->owner_ids_read = true;
		hs_vec_each (jthread, &jvm->jthreads) {
			add_owner_id(jvm, jthread->monitor_owner_id, false, jthread);
			if (jthread->thread != HS_NONE)
				add_owner_id(jvm,
				             jvm->snapshot->threads.items[jthread->thread].java_tid,
				             true, jthread);
		}
		hs_vec_sort(&index->owner_ids, compare_owner_ids);
	}
	const struct hs_owner_id_ref *ref =
		index->owner_ids.len ? bsearch(&key, index->owner_ids.items, index->owner_ids.len,
	                                       sizeof(key), compare_owner_ids)
				     : NULL;
	return ref ? ref->thread : NULL;
}

/** 24+: the owner is JavaThread::_monitor_owner_id, java.lang.Thread.tid of what it runs. */
static struct hs_err *owner_by_id(struct hs_jvm *jvm, hs_addr object, uint64_t raw,
                                  struct hs_lock_owner *owner)
{
	if (raw == OWNER_ANONYMOUS)
		return owner_anonymous(jvm, object, owner);
	if (raw == OWNER_DEFLATER)
		return NULL;
	const struct hs_jthread *jthread = find_owner_id(jvm, raw, false);
	if (jthread) {
		owner_is(jvm, owner, jthread, "thread id");
		return NULL;
	}
	const struct hs_vthread *vthread = hs_vthread_by_tid(jvm, (int64_t)raw);
	if (vthread && !vthread->is_mounted) {
		owner->read_from =
			hs_arena_printf(jvm->arena, "ObjectMonitor 0x%" PRIx64, owner->monitor);
		owner_is_unmounted(jvm, owner, vthread, "_owner = thread id");
		return NULL;
	}
	// A carrier's own id is not in its JavaThread while it runs a virtual thread.
	jthread = find_owner_id(jvm, raw, true);
	if (jthread) {
		owner_is(jvm, owner, jthread, "thread id");
		return NULL;
	}
	owner_unknown(jvm, owner,
	              "a virtual thread that was not found, or a thread that has ended: id", raw);
	return NULL;
}

/** 8 to 23: a JavaThread, the BasicLock it locked with, or a marker. */
static struct hs_err *owner_by_address(struct hs_jvm *jvm, hs_addr object, uint64_t raw,
                                       struct hs_lock_owner *owner)
{
	const struct hs_jthread *thread = hs_jthread_by_addr(jvm, raw);

	if (thread) {
		owner_is(jvm, owner, thread, "JavaThread");
		return NULL;
	}
	if (raw == OWNER_ANONYMOUS)
		return owner_anonymous(jvm, object, owner);
	if (raw == OWNER_DEFLATER || raw == owner_deflater_17)
		return NULL;
	// It was stack-locked when a contender inflated it; the owner corrects that later.
	thread = hs_jthread_by_stack(jvm, raw);
	if (thread)
		owner_is(jvm, owner, thread, "stack lock in the stack");
	else
		owner_unknown(jvm, owner, "not a thread of the JVM's list: JavaThread", raw);
	return NULL;
}

/** An inflated lock is no longer fast-locked once it has seen its owner go (21+). */
static struct hs_err *check_free(struct hs_jvm *jvm, hs_addr object)
{
	const struct hs_lock_stack_ref *ref = NULL;
	struct hs_err *err;

	// A live process changes between one word and the next.
	if (jvm->locking_mode != HS_LOCKING_LIGHTWEIGHT || jvm->snapshot->info.ran_on)
		return NULL;
	err = find_in_lock_stacks(jvm, object, &ref);
	if (!err && ref)
		err = hs_err_new(HS_ERR_BAD_DATA,
		                 "its monitor has no owner, but it is on the lock stack of \"%s\"",
		                 hs_jthread_name(jvm, ref->thread));
	return err;
}

static struct hs_err *owner_of_monitor(struct hs_jvm *jvm, hs_addr object,
                                       struct hs_lock_owner *owner)
{
	hs_addr word = owner->monitor + hs_layout_offset(&jvm->layout, HS_F_monitor_owner);
	struct hs_err *err;
	uint64_t raw;

	err = hs_target_read_u64(jvm->target, word, &raw);
	if (err)
		return err;
	owner->words[0] = (struct hs_word){word, raw, 8};
	if (raw == OWNER_NONE)
		return check_free(jvm, object);
	err = hs_layout_has(&jvm->layout, HS_F_thread_owner_id)
	              ? owner_by_id(jvm, object, raw, owner)
	              : owner_by_address(jvm, object, raw, owner);
	if (!err && hs_layout_has(&jvm->layout, HS_F_monitor_recursions))
		err = hs_target_read_u64(
			jvm->target,
			owner->monitor + hs_layout_offset(&jvm->layout, HS_F_monitor_recursions),
			(uint64_t *)&owner->recursions);
	return err;
}

// ---- the mark word

static void owner_of_stack_lock(struct hs_jvm *jvm, hs_addr object, uint64_t mark,
                                struct hs_lock_owner *owner)
{
	owner->is_locked = true;
	owner->thread = hs_jthread_by_stack(jvm, mark);
	if (!owner->thread) {
		owner_unknown(jvm, owner, "stack lock in no Java thread's stack:", mark);
		return;
	}
	owner->read_from = hs_arena_printf(jvm->arena,
	                                   "mark word of 0x%" PRIx64 " = stack lock 0x%" PRIx64
	                                   " in the stack of \"%s\"",
	                                   object, mark, hs_jthread_name(jvm, owner->thread));
}

/** 8 to 17: the thread that the object is biased to may hold it, or not. */
static void owner_of_bias(struct hs_jvm *jvm, hs_addr object, uint64_t mark,
                          struct hs_lock_owner *owner)
{
	owner->is_biased = true;
	owner->thread = hs_jthread_by_addr(jvm, mark & MARK_BIAS_OWNER);
	if (owner->thread)
		owner->read_from =
			hs_arena_printf(jvm->arena, "mark word of 0x%" PRIx64 ", biased to \"%s\"",
		                        object, hs_jthread_name(jvm, owner->thread));
}

/** Biased locking left with 18; since 21 a LockStack exists, and bit 2 has other uses later. */
static bool may_be_biased(const struct hs_jvm *jvm)
{
	return hs_layout_has(&jvm->layout, HS_F_klass_prototype_header) &&
	       !hs_layout_has(&jvm->layout, HS_F_thread_lock_stack);
}

/** By the mark word. */
static struct hs_err *owner_of_object(struct hs_jvm *jvm, hs_addr object, struct hs_lock_owner *ret)
{
	struct hs_lock_owner owner = {0};
	struct hs_err *err;
	uint64_t mark;

	err = hs_oop_mark(jvm, object, &mark);
	if (err)
		return err;
	owner.words[0] =
		(struct hs_word){object + hs_layout_offset(&jvm->layout, HS_F_oop_mark), mark, 8};
	if ((mark & MARK_BIASED_BITS) == MARK_BIASED && may_be_biased(jvm)) {
		owner_of_bias(jvm, object, mark, &owner);
		*ret = owner;
		return NULL;
	}
	switch (mark & MARK_LOCK_BITS) {
	case MARK_INFLATED:
		err = find_monitor(jvm, object, mark, &owner.monitor);
		if (!err)
			err = owner_of_monitor(jvm, object, &owner);
		break;
	case MARK_STACK:
		if (jvm->locking_mode == HS_LOCKING_LIGHTWEIGHT)
			err = owner_by_lock_stack(jvm, object, &owner);
		else
			owner_of_stack_lock(jvm, object, mark, &owner);
		break;
	case MARK_MOVED:
		err = hs_err_new(HS_ERR_BAD_DATA, "the garbage collector is moving it");
		break;
	default:
		break;
	}
	*ret = owner;
	return err;
}

struct hs_err *hs_lock_owner(struct hs_jvm *jvm, hs_addr object, hs_addr monitor,
                             struct hs_lock_owner *ret)
{
	struct hs_lock_owner owner = {.monitor = monitor};
	struct hs_err *err = monitor ? owner_of_monitor(jvm, object, &owner)
	                             : owner_of_object(jvm, object, &owner);

	if (err)
		return hs_err_wrap(err, "lock of object 0x%" PRIx64, object);
	*ret = owner;
	return NULL;
}
