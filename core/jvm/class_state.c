// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Class state: classes that are being linked or initialized, by whom, and who waits for that. Two
 * designs: an init lock (an int[0] in the mirror, locked with an ordinary monitor), and in 21.0.0
 * to 21.0.3 and 22 a VM mutex, InstanceKlass::_init_monitor, with a state being_linked.
 */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "core/jvm/java_frames.h"
#include "core/jvm/locks.h"

/**
 * HotSpot's Mutex, product builds of 17 to 25: { Thread *_owner, pthread_mutex_t (40 bytes),
 * pthread_cond_t (48 bytes), const char *_name } (mutex.hpp, os_posix.hpp). The sizes are the same
 * in glibc and musl on x86_64.
 */
enum vm_monitor {
	VM_MONITOR_MUTEX = 8,
	VM_MONITOR_COND = 48,
	VM_MONITOR_END = 96,
};

/**
 * musl's private condition variable: a list of waiters that lie in the stacks of their threads
 * (pthread_cond_timedwait.c: struct waiter { prev, next, int state, barrier; int *notify }); they
 * sleep on barrier. _c_head is the second word of pthread_cond_t (pthread_impl.h).
 */
enum musl_cond {
	MUSL_COND_HEAD = 8,
	MUSL_WAITER_NEXT = 8,
	MUSL_WAITER_BARRIER = 20,
};

// ---- states

static void resolve_states(struct hs_jvm *jvm, struct hs_class_states *states)
{
	const struct {
		const char *constant;
		int64_t *ret;
	} rows[] = {
		{"InstanceKlass::allocated",            &states->allocated        },
		{"InstanceKlass::loaded",               &states->loaded           },
		{"InstanceKlass::being_linked",         &states->being_linked     },
		{"InstanceKlass::linked",               &states->linked           },
		{"InstanceKlass::being_initialized",    &states->being_initialized},
		{"InstanceKlass::fully_initialized",    &states->fully_initialized},
		{"InstanceKlass::initialization_error", &states->error            },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		*rows[i].ret = -1;
		hs_vmstructs_constant(jvm->vm, rows[i].constant, rows[i].ret);
	}
}

static const char unknown_state[] = "unknown";

static const char *state_word(const struct hs_class_states *states, uint8_t state)
{
	const struct {
		int64_t state;
		const char *word;
	} rows[] = {
		{states->allocated,         "allocated"           },
		{states->loaded,            "loaded"              },
		{states->being_linked,      "being_linked"        },
		{states->linked,            "linked"              },
		{states->being_initialized, "being_initialized"   },
		{states->fully_initialized, "fully_initialized"   },
		{states->error,             "initialization_error"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].state == state)
			return rows[i].word;
	return unknown_state;
}

/** Is the next thing that happens to a class in this state its link? */
static bool is_before_link(const struct hs_class_states *states, uint8_t state)
{
	return state == states->allocated || state == states->loaded ||
	       state == states->being_linked;
}

/** Does InstanceKlass::_init_thread name the thread that works on a class in this state? */
static bool has_worker(const struct hs_class_states *states, uint8_t state)
{
	return state == states->being_linked || state == states->being_initialized;
}

// ---- classes that are not initialized

/** Offset of the init lock in a mirror. */
static struct hs_err *init_lock_offset(struct hs_jvm *jvm, uint32_t *ret)
{
	const struct hs_klass *class = NULL;
	const struct hs_jfield *field = NULL;
	struct hs_err *err;

	err = hs_klass_find(jvm, "java/lang/Class", &class);
	if (err)
		return err;
	// 8 and 21.0.4+: injected, by either name. 9 to 20: it shares the slot of componentType
	// (vmSymbols.hpp, init_lock_name; javaClasses.cpp, set_init_lock).
	static const char *const names[] = {"<init_lock>", "init_lock", "componentType"};
	for (size_t i = 0; i < sizeof(names) / sizeof(*names) && !field; i++) {
		err = hs_klass_field(jvm, class, names[i], &field);
		if (!hs_err_catch(&err, HS_ERR_ABSENT) && err)
			return err;
	}
	if (!field)
		return hs_err_absent();
	*ret = field->offset;
	return NULL;
}

struct class_walk {
	struct hs_jvm *jvm;
	struct hs_lock_index *index;
	const struct hs_class_states *states;
	uint32_t lock_offset;
};

static struct hs_err *read_pending_class(struct class_walk *walk, hs_addr klass, uint8_t state)
{
	struct hs_jvm *jvm = walk->jvm;
	struct hs_pending_class class = {.klass = klass, .state = state};
	const struct hs_klass *decoded;
	struct hs_err *err;
	hs_addr mirror = 0;

	err = hs_target_read_u64(jvm->target,
	                         klass + hs_layout_offset(&jvm->layout, HS_F_klass_init_thread),
	                         &class.init_thread);
	if (err)
		return err;
	if (walk->states->being_linked < 0) {
		err = hs_klass_get(jvm, klass, &decoded);
		if (!err)
			err = hs_klass_mirror(jvm, decoded, &mirror);
		if (!err && mirror)
			err = hs_oop_load(jvm, mirror + walk->lock_offset, &class.init_lock);
		if (err)
			return err;
	}
	if (!class.init_lock && !has_worker(walk->states, state))
		return NULL;
	struct hs_pending_class *record = hs_vec_push(jvm->arena, &walk->index->classes);
	if (!record)
		return hs_err_oom();
	*record = class;
	return NULL;
}

static struct hs_err *visit_class(void *arg, hs_addr klass)
{
	struct class_walk *walk = arg;
	struct hs_jvm *jvm = walk->jvm;
	struct hs_err *err;
	uint32_t layout_helper;
	uint8_t state;

	err = hs_target_read_u32(jvm->target,
	                         klass + hs_layout_offset(&jvm->layout, HS_F_klass_layout_helper),
	                         &layout_helper);
	// Negative: an array class, which has no init state.
	if (!err && (int32_t)layout_helper >= 0)
		err = hs_target_read_u8(
			jvm->target, klass + hs_layout_offset(&jvm->layout, HS_F_klass_init_state),
			&state);
	else if (!err)
		return NULL;
	if (!err && !strcmp(state_word(walk->states, state), unknown_state))
		err = hs_err_new(HS_ERR_BAD_DATA, "%u is no state of a class", state);
	if (!err && state != walk->states->fully_initialized && state != walk->states->error)
		err = read_pending_class(walk, klass, state);
	hs_jvm_blind(jvm, err);
	return hs_jvm_gap(jvm, err, "whether a thread waits for this class",
	                  "state of class 0x%" PRIx64, klass);
}

static int compare_init_locks(const void *a, const void *b)
{
	const struct hs_pending_class *x = *(const struct hs_pending_class *const *)a;
	const struct hs_pending_class *y = *(const struct hs_pending_class *const *)b;

	return (x->init_lock > y->init_lock) - (x->init_lock < y->init_lock);
}

static int compare_classes(const void *a, const void *b)
{
	const struct hs_pending_class *x = a, *y = b;

	return (x->klass > y->klass) - (x->klass < y->klass);
}

static struct hs_err *sort_classes(struct hs_jvm *jvm, struct hs_lock_index *index)
{
	hs_vec_sort(&index->classes, compare_classes);
	hs_vec_each (class, &index->classes) {
		if (!class->init_lock)
			continue;
		const struct hs_pending_class **slot =
			hs_vec_push(jvm->arena, &index->by_init_lock);
		if (!slot)
			return hs_err_oom();
		*slot = class;
	}
	hs_vec_sort(&index->by_init_lock, compare_init_locks);
	return NULL;
}

static struct hs_err *walk_classes(struct hs_jvm *jvm, struct hs_lock_index *index)
{
	struct class_walk walk = {.jvm = jvm, .index = index, .states = &index->states};
	struct hs_err *err;

	if (!hs_layout_has(&jvm->layout, HS_F_klass_init_state) ||
	    !hs_layout_has(&jvm->layout, HS_F_klass_init_thread) || index->states.loaded < 0 ||
	    index->states.linked < 0 || index->states.being_initialized < 0 ||
	    index->states.fully_initialized < 0)
		return hs_err_new(HS_ERR_UNSUPPORTED,
		                  "this release does not publish the state of a class");
	if (index->states.being_linked < 0) {
		err = init_lock_offset(jvm, &walk.lock_offset);
		if (err)
			return hs_err_wrap(err, "init lock of java.lang.Class");
	}
	err = hs_klass_each(jvm, visit_class, &walk);
	return err ? err : sort_classes(jvm, index);
}

/** Fill index->classes. NULL when out of memory. */
static struct hs_lock_index *pending_classes(struct hs_jvm *jvm)
{
	struct hs_lock_index *index = hs_lock_index(jvm);
	struct hs_err *err;

	if (!index || index->classes_read)
		return index;
	index->classes_read = true;
	resolve_states(jvm, &index->states);
	err = walk_classes(jvm, index);
	hs_jvm_blind(jvm, err);
	err = hs_jvm_gap(jvm, err, "waits for a class to be linked or initialized",
	                 "state of the classes");
	if (err) {
		hs_err_free(err);
		return NULL;
	}
	return index;
}

const struct hs_pending_class *hs_class_of_init_lock(struct hs_jvm *jvm, hs_addr object)
{
	struct hs_lock_index *index = pending_classes(jvm);
	struct hs_pending_class wanted = {.init_lock = object};
	const struct hs_pending_class *key = &wanted;

	if (!index || !object || !index->by_init_lock.len)
		return NULL;
	const struct hs_pending_class **found =
		bsearch(&key, index->by_init_lock.items, index->by_init_lock.len,
	                sizeof(*index->by_init_lock.items), compare_init_locks);
	return found ? *found : NULL;
}

/** The record of a class that is not ready, by its Klass *; NULL: any other word. */
static const struct hs_pending_class *class_at(const struct hs_lock_index *index, hs_addr klass)
{
	const struct hs_pending_class key = {.klass = klass};

	if (!index->classes.len)
		return NULL;
	return bsearch(&key, index->classes.items, index->classes.len, sizeof(key),
	               compare_classes);
}

hs_addr hs_class_on_stack(struct hs_jvm *jvm, const uint64_t *words, size_t count,
                          bool initializing, hs_addr not_by)
{
	const struct hs_lock_index *index = pending_classes(jvm);

	if (!index)
		return 0;
	for (size_t i = 0; i < count; i++) {
		const struct hs_pending_class *class = class_at(index, words[i]);

		if (class && class->init_thread != not_by &&
		    (class->state == index->states.being_initialized) == initializing)
			return class->klass;
	}
	return 0;
}

/** Does @p jthread link this class? By the owner of its init lock, or as _init_thread. */
static bool is_linked_by(struct hs_jvm *jvm, const struct hs_pending_class *class,
                         const struct hs_jthread *jthread)
{
	struct hs_lock_owner owner = {0};
	struct hs_err *err;

	if (!is_before_link(&jvm->lock_index->states, class->state))
		return false;
	if (class->init_thread == jthread->addr)
		return true;
	if (!class->init_lock)
		return false;
	err = hs_lock_owner(jvm, class->init_lock, 0, &owner);
	hs_err_free(err); // not that we know
	return !err && owner.thread == jthread;
}

hs_addr hs_class_linked_on_stack(struct hs_jvm *jvm, const uint64_t *words, size_t count,
                                 const struct hs_jthread *jthread)
{
	const struct hs_lock_index *index = pending_classes(jvm);

	if (!index)
		return 0;
	for (size_t i = 0; i < count; i++) {
		const struct hs_pending_class *class = class_at(index, words[i]);

		if (class && is_linked_by(jvm, class, jthread))
			return class->klass;
	}
	return 0;
}

/** The record of a class that the native stack of a waiting thread mentions, or NULL. */
static struct hs_pending_class *class_of_stack(struct hs_jvm *jvm, const struct hs_jthread *jthread,
                                               bool initializing)
{
	struct hs_pending_class key = {0};
	const uint64_t *words = NULL;
	struct hs_err *err;
	size_t count = 0;

	err = hs_jthread_native_stack(jvm, jthread, &words, &count);
	hs_err_free(err); // no stack to look at: not found
	key.klass = hs_class_on_stack(jvm, words, count, initializing, jthread->addr);
	if (!key.klass)
		return NULL;
	return bsearch(&key, jvm->lock_index->classes.items, jvm->lock_index->classes.len,
	               sizeof(key), compare_classes);
}

/** Is the object an int[0], as init locks are? */
static bool looks_like_init_lock(struct hs_jvm *jvm, hs_addr object)
{
	const struct hs_klass *klass;
	struct hs_err *err;
	uint32_t length = 1;

	err = hs_oop_klass(jvm, object, &klass);
	if (!err && !strcmp(klass->name, "[I"))
		err = hs_oop_array_length(jvm, object, &length);
	hs_err_free(err); // unreadable: not that we know
	return length == 0;
}

const struct hs_pending_class *hs_class_of_wait(struct hs_jvm *jvm,
                                                const struct hs_jthread *jthread, hs_addr object,
                                                bool initializing, enum hs_certainty *certainty)
{
	const struct hs_pending_class *class = hs_class_of_init_lock(jvm, object);

	*certainty = HS_READ;
	if (class || !looks_like_init_lock(jvm, object))
		return class;
	struct hs_pending_class *found = class_of_stack(jvm, jthread, initializing);
	if (!found)
		return NULL;
	found->init_lock = object;
	*certainty = HS_INFERRED;
	return found;
}

// ---- resources

/** Major version of its class file; 0 when not published or not plausible. */
static uint16_t class_major_version(struct hs_jvm *jvm, const struct hs_klass *klass)
{
	const struct hs_layout *layout = &jvm->layout;
	hs_addr base = klass->addr;
	enum hs_field field = HS_F_klass_major_version;
	struct hs_err *err = NULL;
	uint16_t version = 0;

	if (hs_layout_has(layout, HS_F_cp_major_version)) {
		field = HS_F_cp_major_version;
		err = hs_target_read_u64(
			jvm->target, base + hs_layout_offset(layout, HS_F_klass_constants), &base);
	} else if (!hs_layout_has(layout, field)) {
		return 0;
	}
	if (!err)
		err = hs_target_read_u16(jvm->target, base + hs_layout_offset(layout, field),
		                         &version);
	hs_err_free(err);
	return version >= 45 && version < 256 ? version : 0;
}

/** Class name of the loader of a class; NULL for the boot loader. */
static struct hs_err *loader_name(struct hs_jvm *jvm, const struct hs_klass *klass,
                                  const char **ret)
{
	const struct hs_klass *class;
	struct hs_err *err;
	hs_addr loader = 0;

	*ret = NULL;
	err = hs_klass_loader(jvm, klass, &loader);
	if (err || !loader)
		return err;
	err = hs_oop_klass(jvm, loader, &class);
	if (!err)
		*ret = class->external_name;
	return err;
}

/** @p name_ret is set also when the loader cannot be read. */
static struct hs_err *make_class_info(struct hs_jvm *jvm, const struct hs_pending_class *class,
                                      struct hs_class_info **ret)
{
	struct hs_class_info *info = hs_arena_alloc(jvm->arena, sizeof(*info));
	const struct hs_klass *klass;
	struct hs_err *err;

	if (!info)
		return hs_err_oom();
	info->klass = class->klass;
	info->state = state_word(&jvm->lock_index->states, class->state);
	*ret = info;
	err = hs_klass_get(jvm, class->klass, &klass);
	if (err)
		return err;
	info->name = klass->external_name;
	info->major_version = class_major_version(jvm, klass);
	return loader_name(jvm, klass, &info->loader);
}

uint32_t hs_class_resource(struct hs_jvm *jvm, const struct hs_pending_class *class)
{
	const struct hs_class_states *states = &jvm->lock_index->states;
	bool is_link = is_before_link(states, class->state), is_new;
	struct hs_class_info *info = NULL;
	struct hs_err *err;

	uint32_t index = hs_lock_resource(jvm, is_link ? HS_RES_CLASS_LINK : HS_RES_CLASS_INIT,
	                                  class->klass, class->init_lock, &is_new);
	if (index == HS_NONE || !is_new)
		return index;
	err = hs_jvm_gap(jvm, make_class_info(jvm, class, &info), "its name and loader",
	                 "class 0x%" PRIx64, class->klass);
	if (err) {
		hs_err_free(err); // out of memory: sticky in the arena
		return HS_NONE;
	}
	struct hs_resource *resource = hs_snapshot_resource(jvm->snapshot, index);
	resource->label =
		hs_arena_printf(jvm->arena, "the %s of %s", is_link ? "link" : "initialization",
	                        info && info->name ? info->name : "a class");
	resource->class_info = info;
	if (info) {
		resource->class_name = info->name;
		resource->loader = info->loader;
		hs_snapshot_detail(jvm->snapshot, index, "class state", "%s", info->state);
		if (info->major_version)
			hs_snapshot_detail(jvm->snapshot, index, "class file version", "%u",
			                   info->major_version);
	}
	if (class->init_lock)
		hs_snapshot_detail(jvm->snapshot, index, "init lock", "0x%" PRIx64,
		                   class->init_lock);
	return index;
}

// ---- waits of the being_linked design

/** Where a thread was found to wait for a class's _init_monitor. */
struct monitor_hit {
	enum hs_certainty certainty;
	const char *how;
	hs_addr where;
};

/** The futex word a thread sleeps on; 0: it does not. The target is x86_64, as we are. */
static hs_addr futex_of(const struct hs_lwp *lwp)
{
	return lwp && lwp->in_syscall && lwp->syscall_nr == SYS_futex ? lwp->syscall_args[0] : 0;
}

/** musl: is the thread that sleeps on @p futex queued in this condition variable? */
static bool is_musl_waiter(struct hs_jvm *jvm, hs_addr cond, hs_addr futex)
{
	struct hs_list_walk walk = {0};
	struct hs_err *err;
	hs_addr waiter = 0;

	err = hs_target_read_u64(jvm->target, cond + MUSL_COND_HEAD, &waiter);
	while (!err && waiter && !hs_list_walk_ends(&walk, waiter, HS_MAX_CHAIN)) {
		if (waiter + MUSL_WAITER_BARRIER == futex)
			return true;
		err = hs_target_read_u64(jvm->target, waiter + MUSL_WAITER_NEXT, &waiter);
	}
	hs_err_free(err); // a glibc condition: these words are no pointers
	return false;
}

/** Does the native part of a stack mention the class, or an address inside its monitor? */
static bool scan_stack(const uint64_t *words, size_t count, hs_addr klass, hs_addr monitor)
{
	for (size_t i = 0; i < count; i++)
		if (words[i] == klass ||
		    hs_addr_in(words[i], monitor + VM_MONITOR_MUTEX, monitor + VM_MONITOR_END))
			return true;
	return false;
}

struct monitor_search {
	const struct hs_jthread *jthread;
	hs_addr futex;
	const uint64_t *stack;
	size_t stack_words;
	uint64_t work; /**< words compared so far, for all threads */
};

enum {
	MAX_MONITOR_WORK = 1 << 30
};

static bool waits_for_monitor(struct hs_jvm *jvm, const struct monitor_search *search,
                              hs_addr klass, hs_addr monitor, struct monitor_hit *hit)
{
	hs_addr futex = search->futex;

	if (hs_addr_in(futex, monitor + VM_MONITOR_MUTEX, monitor + VM_MONITOR_END)) {
		*hit = (struct monitor_hit){HS_READ, "sleeps on the futex in", futex};
		return true;
	}
	if (futex && hs_jthread_by_stack(jvm, futex) == search->jthread &&
	    is_musl_waiter(jvm, monitor + VM_MONITOR_COND, futex)) {
		*hit = (struct monitor_hit){HS_READ, "queued (futex in its own stack) in", futex};
		return true;
	}
	if (scan_stack(search->stack, search->stack_words, klass, monitor)) {
		*hit = (struct monitor_hit){HS_INFERRED, "its native stack mentions", 0};
		return true;
	}
	return false;
}

static void add_monitor_wait(struct hs_jvm *jvm, const struct hs_jthread *jthread,
                             const struct hs_pending_class *class, hs_addr monitor,
                             const struct monitor_hit *hit)
{
	const struct hs_layout *layout = &jvm->layout;
	struct hs_edge edge = {
		.thread = hs_jthread_runner(jthread),
		.resource = hs_class_resource(jvm, class),
		.frame = hs_java_top_frame(jvm, hs_jthread_runner(jthread)),
		.certainty = hit->certainty,
	};

	if (edge.resource == HS_NONE)
		return;
	edge.read_from = hs_arena_printf(jvm->arena,
	                                 "%s InstanceKlass 0x%" PRIx64 "::_init_monitor 0x%" PRIx64,
	                                 hit->how, class->klass, monitor);
	edge.words[0] =
		hs_word_at(jvm, class->klass + hs_layout_offset(layout, HS_F_klass_init_state), 1);
	edge.words[1] =
		hs_word_at(jvm, class->klass + hs_layout_offset(layout, HS_F_klass_init_thread), 8);
	hs_snapshot_add_wait(jvm->snapshot, &edge);
	hs_frame_add_class_wait(jvm, edge.thread, edge.frame, edge.resource);
}

/** The class that one blocked thread waits for: a futex is surer than a mention on the stack. */
static struct hs_err *find_monitor_wait(struct hs_jvm *jvm, struct monitor_search *search)
{
	const struct hs_lock_index *index = jvm->lock_index;
	const struct hs_pending_class *best_class = NULL;
	struct monitor_hit best = {0}, hit;
	hs_addr monitor, best_monitor = 0;
	struct hs_err *err;

	hs_vec_each (class, &index->classes) {
		if (!has_worker(&index->states, class->state) ||
		    class->init_thread == search->jthread->addr)
			continue;
		search->work += search->stack_words + 64;
		if (search->work > MAX_MONITOR_WORK)
			return hs_err_new(HS_ERR_BAD_DATA,
			                  "too many classes seem to be initialized at once");
		err = hs_target_read_u64(
			jvm->target,
			class->klass + hs_layout_offset(&jvm->layout, HS_F_klass_init_monitor),
			&monitor);
		if (!err && monitor &&
		    waits_for_monitor(jvm, search, class->klass, monitor, &hit) &&
		    (!best_class || hit.certainty > best.certainty)) {
			best_class = class;
			best_monitor = monitor;
			best = hit;
		}
		err = hs_jvm_gap(jvm, err, "whether a thread waits for it",
		                 "_init_monitor of class 0x%" PRIx64, class->klass);
		if (err)
			return err;
	}
	if (best_class)
		add_monitor_wait(jvm, search->jthread, best_class, best_monitor, &best);
	return NULL;
}

struct hs_err *hs_class_collect_waits(struct hs_jvm *jvm)
{
	struct hs_lock_index *index = pending_classes(jvm);
	struct hs_err *err;

	if (!index)
		return hs_err_oom();
	if (!hs_layout_has(&jvm->layout, HS_F_klass_init_monitor) || !index->classes.len)
		return NULL;
	struct monitor_search search = {0};
	hs_vec_each (jthread, &jvm->jthreads) {
		// Monitor::wait puts the thread in state blocked, and sets no ObjectMonitor.
		if (jthread->thread == HS_NONE || jthread->state != HS_JSTATE_BLOCKED ||
		    jthread->pending_monitor || jthread->waiting_monitor)
			continue;
		search = (struct monitor_search){
			.jthread = jthread,
			.futex = futex_of(hs_jthread_lwp(jvm, jthread)),
			.work = search.work,
		};
		err = hs_jthread_native_stack(jvm, jthread, &search.stack, &search.stack_words);
		if (!hs_err_catch(&err, HS_ERR_ABSENT))
			err = hs_jvm_gap(jvm, err, "which class it waits for",
			                 "native stack of \"%s\"", hs_jthread_name(jvm, jthread));
		if (!err)
			err = hs_jvm_gap(jvm, find_monitor_wait(jvm, &search),
			                 "which class it waits for", "classes and \"%s\"",
			                 hs_jthread_name(jvm, jthread));
		if (err)
			return err;
	}
	return NULL;
}

// ---- holders by _init_thread

static uint32_t clinit_frame(const struct hs_thread *thread, const char *name)
{
	for (uint32_t i = 0; name && i < thread->num_frames; i++) {
		const struct hs_location *l = thread->frames[i].location;

		if (l->method && !strcmp(l->method, "<clinit>") && l->class_name &&
		    !strcmp(l->class_name, name))
			return i;
	}
	return HS_NONE;
}

/** The Java frame that made the VM link a class: below InstanceKlass::link_class_impl, the
 * outermost one, as inner ones wait for it. Without symbols: the only Java frame it can be. */
static uint32_t link_frame(const struct hs_thread *thread)
{
	uint32_t found = HS_NONE, first = HS_NONE, runs = 0;
	bool in_link = false, in_native = true;

	for (uint32_t i = 0; i < thread->num_frames; i++) {
		const struct hs_location *l = thread->frames[i].location;

		if (!l->method) {
			in_link |= l->function && strstr(l->function, "::link_class_impl");
			in_native |= l->kind == HS_FRAME_NATIVE;
			continue;
		}
		if (in_link)
			found = i;
		if (in_native && runs++ == 0)
			first = i;
		in_link = in_native = false;
	}
	return found == HS_NONE && runs == 1 ? first : found;
}

uint32_t hs_class_work_frame(const struct hs_jvm *jvm, uint32_t thread, const char *name,
                             bool is_link)
{
	const struct hs_thread *t = &jvm->snapshot->threads.items[thread];

	return is_link ? link_frame(t) : clinit_frame(t, name);
}

static void add_class_hold(struct hs_jvm *jvm, uint32_t resource,
                           const struct hs_pending_class *class)
{
	const struct hs_layout *layout = &jvm->layout;
	const struct hs_jthread *worker = hs_jthread_by_addr(jvm, class->init_thread);

	if (!worker || worker->thread == HS_NONE) {
		hs_snapshot_detail(jvm->snapshot, resource, "worked on by",
		                   "JavaThread 0x%" PRIx64 ", which is not among the threads",
		                   class->init_thread);
		return;
	}
	const struct hs_resource *record = hs_snapshot_resource(jvm->snapshot, resource);
	// It is the carrier of the virtual thread whose frames run the initializer.
	struct hs_edge edge = {
		.thread = hs_jthread_runner(worker),
		.resource = resource,
		.frame = hs_class_work_frame(jvm, hs_jthread_runner(worker), record->class_name,
	                                     record->kind == HS_RES_CLASS_LINK),
		.certainty = HS_READ,
	};

	edge.read_from = hs_arena_printf(
		jvm->arena,
		"InstanceKlass 0x%" PRIx64 ", _init_thread = JavaThread 0x%" PRIx64 " of \"%s\"",
		class->klass, class->init_thread, hs_jthread_name(jvm, worker));
	edge.words[0] =
		hs_word_at(jvm, class->klass + hs_layout_offset(layout, HS_F_klass_init_thread), 8);
	edge.words[1] =
		hs_word_at(jvm, class->klass + hs_layout_offset(layout, HS_F_klass_init_state), 1);
	hs_snapshot_add_hold(jvm->snapshot, &edge);
}

struct hs_err *hs_class_collect_holds(struct hs_jvm *jvm)
{
	struct hs_lock_index *index = pending_classes(jvm);

	if (!index)
		return hs_err_oom();
	// Only classes that somebody waits for have become resources.
	hs_vec_each (lock, &index->objects) {
		const struct hs_resource *resource =
			hs_snapshot_resource(jvm->snapshot, lock->resource);
		const struct hs_pending_class key = {.klass = resource->address}, *class = NULL;

		if (resource->kind != HS_RES_CLASS_LINK && resource->kind != HS_RES_CLASS_INIT)
			continue;
		if (index->classes.len)
			class = bsearch(&key, index->classes.items, index->classes.len, sizeof(key),
			                compare_classes);
		if (class && class->init_thread && has_worker(&index->states, class->state))
			add_class_hold(jvm, lock->resource, class);
	}
	return NULL;
}
