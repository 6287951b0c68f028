// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Stack walk: asks the steppers in turn, checks that each step leads up the same stack, and folds
 * what went wrong the same way in many threads into one gap.
 */

#include "core/stack_walk.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/base/map64.h"
#include "core/limits.h"

enum {
	MAX_STEPPERS = 32,    /**< bits of walk_state.seen */
	MAX_GAP_GROUPS = 100, /**< different reasons told apart; the rest share one */
};

/** Threads whose walk ended for the same reason below the same function. */
struct gap_group {
	const char *reason, *below; /**< of the first; below is NULL when it has no frame */
	const char *resumed_by;     /**< stepper that went on further down, NULL: cut there */
	uint32_t thread;            /**< the first */
	uint32_t count;
};

struct walk {
	struct hs_snapshot *snapshot;
	struct hs_target *target;
	const struct hs_module_map *map;
	const struct hs_stepper *const *steppers;
	size_t num_steppers;
	struct hs_frame_list list; /**< scratch: one thread's frames */
	HS_VEC(struct gap_group *) groups;
	struct hs_map64 group_of; /**< hash of reason and place → struct gap_group */
};

/** One thread's walk. */
struct walk_state {
	struct hs_cursor cursor;
	uint32_t seen;                  /**< steppers that found a frame, by bit */
	uint32_t resumed;               /**< steppers that were asked to resume */
	hs_addr stack_start, stack_end; /**< mapping of the stack; 0, 0 when not known */
};

struct hs_frame *hs_frame_list_add(struct hs_frame_list *list, const struct hs_location *location,
                                   hs_addr pc, hs_addr sp, enum hs_found_by found_by)
{
	if (list->frames.len >= HS_MAX_FRAMES)
		return NULL;
	struct hs_frame *frame = hs_vec_push(list->arena, &list->frames);
	if (frame)
		*frame = (struct hs_frame){
			.location = location,
			.pc = pc,
			.sp = sp,
			.found_by = (uint8_t)found_by,
		};
	return frame;
}

// ---- gaps

/** What a hash of two texts must not see: addresses and counts. */
static uint64_t hash_text(uint64_t hash, const char *text)
{
	for (const char *s = text ? text : ""; *s;) {
		unsigned char c = (unsigned char)*s;

		if (strncmp(s, "0x", 2) == 0) {
			s += 2 + strspn(s + 2, "0123456789abcdef");
			c = '#';
		} else if (isdigit(c)) {
			s += strspn(s, "0123456789");
			c = '#';
		} else {
			s++;
		}
		hash = (hash ^ c) * 0x100000001b3;
	}
	return (hash ^ 0xff) * 0x100000001b3;
}

/** Words for the innermost place the walk reached, or NULL. */
static const char *last_frame_text(const struct walk *walk)
{
	struct hs_arena *arena = walk->snapshot->arena;

	if (!walk->list.frames.len)
		return NULL;
	const struct hs_frame *frame = &walk->list.frames.items[walk->list.frames.len - 1];
	const struct hs_location *location = frame->location;
	if (location->method)
		return hs_arena_printf(arena, "%s.%s", location->class_name ?: "?",
		                       location->method);
	if (location->function)
		return location->function;
	if (location->module)
		return hs_arena_printf(arena, "%s+0x%" PRIx64, location->module,
		                       location->module_offset);
	return hs_arena_printf(arena, "pc 0x%" PRIx64, frame->pc);
}

static struct gap_group *add_group(struct walk *walk, const struct gap_group *values)
{
	struct hs_arena *arena = walk->snapshot->arena;
	struct gap_group *group = hs_arena_alloc(arena, sizeof(*group));
	struct gap_group **slot = group ? hs_vec_push(arena, &walk->groups) : NULL;

	if (!slot)
		return NULL;
	*group = *values;
	*slot = group;
	return group;
}

/** Count a gap of one thread. Out-of-memory stays in the arena: seal reports it. */
static void walk_gap(struct walk *walk, uint32_t thread, const char *reason, const char *resumed_by)
{
	const char *below = last_frame_text(walk);
	uint64_t key =
		hash_text(hash_text(hash_text(0xcbf29ce484222325, reason), below), resumed_by);
	struct gap_group *group = hs_map64_get(&walk->group_of, key);

	if (!group && walk->groups.len == MAX_GAP_GROUPS) {
		group = walk->groups.items[MAX_GAP_GROUPS - 1];
	} else if (!group && walk->groups.len == MAX_GAP_GROUPS - 1) {
		group = add_group(walk, &(struct gap_group){.thread = thread,
		                                            .reason = "many other reasons"});
	} else if (!group) {
		group = add_group(walk,
		                  &(struct gap_group){
					  .thread = thread,
					  .reason = hs_arena_strdup(walk->snapshot->arena, reason),
					  .below = below,
					  .resumed_by = resumed_by,
				  });
		// Not finding it again costs one line more in the report.
		if (group)
			hs_map64_put(&walk->group_of, key, group);
	}
	if (group)
		group->count++;
}

static const char *thread_text(struct hs_snapshot *snapshot, uint32_t index)
{
	const struct hs_thread *thread = &snapshot->threads.items[index];

	return thread->name ? hs_arena_printf(snapshot->arena, "\"%s\" (tid %d)", thread->name,
	                                      (int)thread->tid)
	                    : hs_arena_printf(snapshot->arena, "tid %d", (int)thread->tid);
}

static void report_group(struct hs_snapshot *snapshot, const struct gap_group *group)
{
	struct hs_arena *arena = snapshot->arena;
	const char *thread = thread_text(snapshot, group->thread);
	const char *subject, *costs;

	if (!thread)
		return;
	if (group->count == 1)
		subject = hs_arena_printf(arena, "stack of %s", thread);
	else
		subject = hs_arena_printf(arena, "stacks of %" PRIu32 " threads, first %s",
		                          group->count, thread);
	const char *who = group->count == 1 ? thread : "they";
	const char *verb = group->count == 1 ? "does" : "do";
	if (!group->below)
		costs = hs_arena_printf(arena, "what %s %s", who, verb);
	else if (group->resumed_by)
		costs = hs_arena_printf(arena, "what %s %s between %s and the %s frames further up",
		                        who, verb, group->below, group->resumed_by);
	else
		costs = hs_arena_printf(arena, "what %s %s below %s", who, verb, group->below);
	if (subject && costs && group->reason)
		hs_snapshot_gapf(snapshot, subject, costs, "%s", group->reason);
}

// ---- one thread

static const struct hs_stepper *walk_owner(const struct walk *walk, hs_addr pc, uint32_t *bit_ret)
{
	for (size_t i = 0; i < walk->num_steppers; i++) {
		if (walk->steppers[i]->owns(walk->steppers[i]->self, pc)) {
			*bit_ret = UINT32_C(1) << i;
			return walk->steppers[i];
		}
	}
	return NULL;
}

/** Is @p sp on the same stack as before? A mapping that is not known proves nothing. */
static bool on_same_stack(const struct walk *walk, struct walk_state *state, hs_addr sp)
{
	if (hs_addr_in(sp, state->stack_start, state->stack_end))
		return true;
	const struct hs_mapping *mapping = hs_module_map_find(walk->map, sp);
	if (!mapping)
		return true;
	// Changed protections (HotSpot's guard zones) split a stack's mapping in two.
	bool follows = state->stack_end == 0 || state->stack_end == mapping->start;
	state->stack_start = mapping->start;
	state->stack_end = mapping->end;
	return follows;
}

/** Steps lead up the stack. Only a signal may have come in on another (sigaltstack(2)). */
static struct hs_err *check_progress(const struct walk *walk, struct walk_state *state,
                                     const struct hs_regs *before)
{
	const struct hs_regs *after = &state->cursor.regs;
	hs_addr sp = after->value[HS_REG_SP];

	if (!hs_regs_has(after, HS_REG_SP) || !hs_regs_has(after, HS_REG_PC))
		return hs_err_new(HS_ERR_BAD_DATA, "the caller's pc or stack pointer is not known");
	if (state->cursor.is_activation) {
		state->stack_start = state->stack_end = 0;
		return NULL;
	}
	// Only the innermost frame may be a leaf that keeps nothing on the stack.
	bool is_top = walk->list.frames.len <= 1;
	if (sp < before->value[HS_REG_SP] || (sp == before->value[HS_REG_SP] && !is_top))
		return hs_err_new(HS_ERR_BAD_DATA,
		                  "the stack does not go on: the next frame is not further up");
	if (!on_same_stack(walk, state, sp))
		return hs_err_new(HS_ERR_BAD_DATA,
		                  "the stack does not go on: the next frame is on another stack");
	return NULL;
}

/** Describe the frame at the cursor and go to its caller, or set at_end. */
static struct hs_err *walk_step(struct walk *walk, struct walk_state *state)
{
	struct hs_cursor *cursor = &state->cursor;
	const struct hs_regs before = cursor->regs;
	size_t len = walk->list.frames.len;
	struct hs_err *err;
	uint32_t bit;

	if (len >= HS_MAX_FRAMES)
		return hs_err_new(HS_ERR_UNSUPPORTED, "more than %d frames", HS_MAX_FRAMES);
	const struct hs_stepper *stepper = walk_owner(walk, cursor->regs.value[HS_REG_PC], &bit);
	if (!stepper)
		return hs_err_new(HS_ERR_BAD_DATA, "pc 0x%" PRIx64 " is in no code we know",
		                  cursor->regs.value[HS_REG_PC]);
	err = stepper->step(stepper->self, cursor, &walk->list);
	if (walk->list.frames.len > len)
		state->seen |= bit;
	if (err || cursor->at_end)
		return err;
	return check_progress(walk, state, &before);
}

/**
 * Where to go on is read after the capture. Of a thread that was not stopped it is that of another
 * moment unless the thread still sleeps where it slept.
 */
static bool may_resume(const struct walk *walk, const struct hs_lwp *lwp)
{
	bool same = false;
	struct hs_err *err;

	if (!lwp || !lwp->host_tid || hs_regs_has(&lwp->regs, HS_REG_FP))
		return true;
	err = hs_target_lwp_unmoved(walk->target, lwp->host_tid, &same);
	if (hs_err_catch(&err, HS_ERR_UNSUPPORTED))
		return true; // a core holds all of one moment
	hs_err_free(err);
	return same;
}

/** A stepper that can go on elsewhere, the cursor moved there; or NULL. */
static const struct hs_stepper *walk_resume(const struct walk *walk, struct walk_state *state)
{
	for (size_t i = 0; i < walk->num_steppers; i++) {
		const struct hs_stepper *stepper = walk->steppers[i];
		uint32_t bit = UINT32_C(1) << i;

		if (!stepper->resume || (state->seen | state->resumed) & bit)
			continue;
		state->resumed |= bit;
		const struct hs_cursor before = state->cursor;

		if (stepper->resume(stepper->self, &state->cursor)) {
			if (!may_resume(walk, before.lwp)) {
				state->cursor = before;
				continue;
			}
			state->stack_start = state->stack_end = 0;
			return stepper;
		}
	}
	return NULL;
}

static struct hs_err *store_frames(struct walk *walk, struct hs_thread *thread)
{
	size_t count = walk->list.frames.len;
	struct hs_frame *frames;

	if (!count)
		return NULL;
	frames = hs_arena_calloc(walk->snapshot->arena, count, sizeof(*frames));
	if (!frames)
		return hs_err_oom();
	memcpy(frames, walk->list.frames.items, count * sizeof(*frames));
	thread->frames = frames;
	thread->num_frames = (uint32_t)count;
	return NULL;
}

/** @return NULL or HS_ERR_OOM: all else is a gap. */
static struct hs_err *walk_thread(struct walk *walk, const struct hs_lwp *lwp, uint32_t index)
{
	struct walk_state state = {
		.cursor = {.regs = lwp->regs, .is_activation = true, .lwp = lwp, .thread = index},
	};
	struct hs_thread *thread = &walk->snapshot->threads.items[index];

	walk->list.frames.len = 0;
	if (!lwp->has_regs || !hs_regs_has(&lwp->regs, HS_REG_PC)) {
		walk_gap(walk, index, lwp->why_no_regs ?: "its registers are not known", NULL);
		thread->frames_cut = true;
		return NULL;
	}
	on_same_stack(walk, &state, lwp->regs.value[HS_REG_SP]);
	while (!state.cursor.at_end) {
		hs_cleanup(hs_err_freep) struct hs_err *err = walk_step(walk, &state);

		if (!err)
			continue;
		if (hs_err_code(err) == HS_ERR_OOM)
			return hs_err_oom();
		const struct hs_stepper *resumed = walk_resume(walk, &state);
		walk_gap(walk, index, hs_err_message(err), resumed ? resumed->name : NULL);
		if (resumed)
			continue;
		thread->frames_cut = true;
		break;
	}
	return store_frames(walk, thread);
}

struct hs_err *hs_stack_walk_all(struct hs_snapshot *snapshot, struct hs_target *target,
                                 const struct hs_stepper *const *steppers, size_t num_steppers)
{
	struct walk walk = {
		.snapshot = snapshot,
		.target = target,
		.map = hs_target_modules(target),
		.steppers = steppers,
		.num_steppers = num_steppers,
		.list = {.arena = snapshot->arena},
	};
	struct hs_err *err = NULL;
	size_t num_lwps;
	const struct hs_lwp *lwps = hs_target_lwps(target, &num_lwps);

	if (num_steppers > MAX_STEPPERS)
		return hs_err_new(HS_ERR_USAGE, "more than %d steppers", MAX_STEPPERS);
	for (size_t i = 0; !err && i < num_lwps; i++) {
		uint32_t index = hs_snapshot_thread_by_tid(snapshot, lwps[i].tid);

		if (index != HS_NONE)
			err = walk_thread(&walk, &lwps[i], index);
	}
	hs_map64_deinit(&walk.group_of);
	for (size_t i = 0; !err && i < walk.groups.len; i++)
		report_group(snapshot, walk.groups.items[i]);
	return err;
}
