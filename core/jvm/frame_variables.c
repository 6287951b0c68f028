// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Frame variables: the arguments and local variables of all Java frames, named and typed by the
 * class file as far as it tells. The interpreter's slots have no types of their own: where the
 * class has no LocalVariableTable, a slot that is no argument is shown as the bits it holds.
 */

#include <inttypes.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/jvm/java_frames.h"

/** What is collected of one thread. */
struct collector {
	struct hs_jvm *jvm;
	struct hs_thread *thread;
	struct hs_frame_slots slots;
	size_t budget; /**< local variables that may still be added, of all threads */
	bool budget_spent;

	// Of the frame at hand.
	const struct hs_variable_table *table;
	int32_t bci;
	HS_VEC(struct hs_local) locals; /**< scratch */

	// Of the thread at hand.
	struct hs_err *why; /**< first thing that could not be read */
	size_t num_bad;
};

/** Count what could not be read; consumes @p err. @return Only out-of-memory. */
static struct hs_err *note(struct collector *c, struct hs_err *err)
{
	if (!err || hs_err_code(err) == HS_ERR_OOM)
		return err;
	c->num_bad++;
	if (c->why)
		hs_err_free(err);
	else
		c->why = err;
	return NULL;
}

static struct hs_local *add_local(struct collector *c)
{
	struct hs_local *local;

	if (!c->budget || c->locals.len >= UINT16_MAX) {
		c->budget_spent = true;
		return NULL;
	}
	local = hs_vec_push(c->jvm->arena, &c->locals);
	if (!local)
		return NULL;
	c->budget--;
	*local = (struct hs_local){.length = -1};
	return local;
}

// ---- one value

static struct hs_err *set_object(struct collector *c, struct hs_local *local, hs_addr oop)
{
	struct hs_err *why = NULL;
	struct hs_err *err = hs_local_set_object(c->jvm, local, oop, &why);

	return err ? err : note(c, why);
}

static struct hs_err *set_scalar(struct collector *c, struct hs_local *local, hs_addr mirror)
{
	struct hs_err *err;
	const char *name;

	local->kind = HS_LOCAL_ELIMINATED;
	if (!mirror)
		return NULL;
	err = hs_mirror_class_name(c->jvm, mirror, &name);
	if (err)
		return note(c, err);
	local->class_name = hs_class_words(c->jvm->arena, name);
	return local->class_name ? NULL : hs_err_oom();
}

/** Bits without a type. @p digits of them in hexadecimal. */
static struct hs_err *set_raw(struct collector *c, struct hs_local *local, uint64_t bits,
                              int digits)
{
	local->kind = HS_LOCAL_RAW;
	if (c->jvm->snapshot->redact)
		return NULL;
	local->value = hs_arena_printf(c->jvm->arena, "0x%0*" PRIx64, digits, bits);
	return local->value ? NULL : hs_err_oom();
}

static const struct hs_slot *slot_at(const struct collector *c, unsigned slot)
{
	static const struct hs_slot unknown = {.kind = HS_SLOT_UNKNOWN};

	return slot < c->slots.count ? &c->slots.items[slot] : &unknown;
}

/** The value in a slot that should hold an object. */
static struct hs_err *set_reference(struct collector *c, struct hs_local *local,
                                    const struct hs_slot *slot)
{
	switch (slot->kind) {
	case HS_SLOT_WORD:
		return set_object(c, local, hs_stack_oop(c->jvm, slot->bits));
	case HS_SLOT_OOP:
		return set_object(c, local, slot->bits);
	case HS_SLOT_SCALAR:
		return set_scalar(c, local, slot->bits);
	case HS_SLOT_DEAD:
		local->kind = HS_LOCAL_OPTIMIZED_OUT;
		return NULL;
	default:
		local->kind = HS_LOCAL_UNKNOWN;
		return NULL;
	}
}

static struct hs_err *set_number(struct collector *c, struct hs_local *local, char type,
                                 const struct hs_slot *slot)
{
	bool is_wide = type == 'J' || type == 'D';

	if (slot->kind == HS_SLOT_WORD || slot->kind == (is_wide ? HS_SLOT_LONG : HS_SLOT_INT))
		return hs_local_set_primitive(c->jvm, local, type, slot->bits);
	local->kind = slot->kind == HS_SLOT_DEAD ? HS_LOCAL_OPTIMIZED_OUT : HS_LOCAL_UNKNOWN;
	return NULL;
}

/** A long or double takes two slots, and is in the second one on 64-bit machines. */
static bool is_wide(const char *descriptor)
{
	return descriptor[0] == 'J' || descriptor[0] == 'D';
}

static struct hs_err *set_typed(struct collector *c, struct hs_local *local, const char *descriptor,
                                unsigned slot)
{
	local->type = hs_type_words(c->jvm->arena, descriptor);
	if (!local->type)
		return hs_err_oom();
	switch (descriptor[0]) {
	case 'L':
	case '[':
		return set_reference(c, local, slot_at(c, slot));
	case 'J':
	case 'D':
		return set_number(c, local, descriptor[0], slot_at(c, slot + 1));
	case 'B':
	case 'C':
	case 'F':
	case 'I':
	case 'S':
	case 'Z':
		return set_number(c, local, descriptor[0], slot_at(c, slot));
	default:
		local->kind = HS_LOCAL_UNKNOWN;
		return NULL;
	}
}

// ---- one frame

/** The variable in @p slot at the frame's bci. @p any_ret: the slot has one somewhere. */
static const struct hs_variable *find_variable(const struct collector *c, unsigned slot,
                                               bool *any_ret)
{
	*any_ret = false;
	for (size_t i = 0; i < c->table->len; i++) {
		const struct hs_variable *variable = &c->table->items[i];

		if (variable->slot != slot)
			continue;
		*any_ret = true;
		if (c->bci >= 0 && (uint32_t)c->bci >= variable->start_bci &&
		    (uint32_t)c->bci < variable->end_bci)
			return variable;
	}
	return NULL;
}

/** @param name NULL: arg and @p number. */
static struct hs_err *add_argument(struct collector *c, unsigned slot, const char *name,
                                   unsigned number, const char *descriptor)
{
	struct hs_arena *arena = c->jvm->arena;
	struct hs_err *err;
	bool any;
	const struct hs_variable *variable = find_variable(c, slot, &any);

	// In another scope of the same slot, what was the argument is overwritten.
	if (!variable && any && c->bci >= 0)
		return NULL;
	struct hs_local *local = add_local(c);
	if (!local)
		return hs_arena_failed(arena) ? hs_err_oom() : NULL;
	local->is_argument = true;
	local->name = variable ? variable->name
	              : name   ? name
	                       : hs_arena_printf(arena, "arg%u", number);
	if (!local->name)
		return hs_err_oom();
	err = set_typed(c, local, variable ? variable->descriptor : descriptor, slot);
	// The descriptor of a hidden class is not its name.
	if (!err && name)
		local->type = c->slots.method->holder->external_name;
	return err;
}

/** The receiver and the parameters. *slots_ret: how many slots they take. */
static struct hs_err *add_arguments(struct collector *c, unsigned *slots_ret)
{
	const struct hs_method *method = c->slots.method;
	struct hs_err *err = NULL;
	unsigned slot = 0, number = 0;
	const char *s = method->descriptor + 1, *end;

	if (!method->is_static) {
		const char *holder = hs_arena_printf(c->jvm->arena, "L%s;", method->holder->name);

		if (!holder)
			return hs_err_oom();
		err = add_argument(c, slot++, "this", 0, holder);
	}
	for (; !err && (end = hs_type_end(s)) != NULL && slot < c->slots.count; s = end) {
		const char *type = hs_arena_strndup(c->jvm->arena, s, (size_t)(end - s));

		if (!type)
			return hs_err_oom();
		err = add_argument(c, slot, NULL, number++, type);
		slot += is_wide(type) ? 2 : 1;
	}
	*slots_ret = slot;
	return err;
}

/** A slot that no table names: as much as the slot itself tells. */
static struct hs_err *set_untyped(struct collector *c, struct hs_local *local,
                                  const struct hs_slot *slot)
{
	switch (slot->kind) {
	case HS_SLOT_WORD:
	case HS_SLOT_LONG:
		return set_raw(c, local, slot->bits, 16);
	case HS_SLOT_INT:
		return set_raw(c, local, slot->bits, 8);
	default:
		return set_reference(c, local, slot);
	}
}

static struct hs_err *add_unnamed(struct collector *c, unsigned *slot)
{
	unsigned first = *slot;
	const struct hs_slot *value = slot_at(c, first), *next = slot_at(c, first + 1);

	// Compilers fill the first slot of a long or double with the constant 0.
	if (value->kind == HS_SLOT_INT && next->kind == HS_SLOT_LONG) {
		value = next;
		++*slot;
	}
	if (value->kind == HS_SLOT_DEAD)
		return NULL;
	struct hs_local *local = add_local(c);
	if (!local)
		return hs_arena_failed(c->jvm->arena) ? hs_err_oom() : NULL;
	local->name = hs_arena_printf(c->jvm->arena, "local%u", first);
	if (!local->name)
		return hs_err_oom();
	return set_untyped(c, local, value);
}

static struct hs_err *add_variable(struct collector *c, const struct hs_variable *variable)
{
	struct hs_local *local = add_local(c);

	if (!local)
		return hs_arena_failed(c->jvm->arena) ? hs_err_oom() : NULL;
	local->name = variable->name;
	return set_typed(c, local, variable->descriptor, variable->slot);
}

static struct hs_err *add_others(struct collector *c, unsigned slot)
{
	struct hs_err *err = NULL;
	bool any;

	for (; !err && slot < c->slots.count; slot++) {
		const struct hs_variable *variable = find_variable(c, slot, &any);

		if (variable) {
			err = add_variable(c, variable);
			slot += is_wide(variable->descriptor);
		} else if (!c->table->len) {
			err = add_unnamed(c, &slot);
		} // else: out of scope here, or the compiler's own
	}
	return err;
}

/** Give the frame its own copy, of the size that it has. */
static struct hs_err *store_locals(const struct collector *c, struct hs_frame *frame)
{
	struct hs_local *locals;

	if (!c->locals.len)
		return NULL;
	locals = hs_arena_calloc(c->jvm->arena, c->locals.len, sizeof(*locals));
	if (!locals)
		return hs_err_oom();
	memcpy(locals, c->locals.items, c->locals.len * sizeof(*locals));
	frame->locals = locals;
	frame->num_locals = (uint16_t)c->locals.len;
	return NULL;
}

static struct hs_err *collect_frame(struct collector *c, uint32_t index, struct hs_frame *frame)
{
	struct hs_err *err;
	unsigned slots = 0;

	err = hs_frame_slots_read(c->jvm, c->thread, index, &c->slots);
	if (hs_err_catch(&err, HS_ERR_ABSENT))
		return NULL;
	if (err)
		return note(c, err);
	if (c->slots.is_cut) {
		err = note(c,
		           hs_err_new(HS_ERR_UNSUPPORTED,
		                      "more than %d local variables in one frame", HS_MAX_LOCALS));
		if (err)
			return err;
	}
	err = hs_method_variables(c->jvm, c->slots.method, &c->table);
	if (!err && c->table->why)
		err = note(c, hs_err_new(HS_ERR_BAD_DATA, "%s", c->table->why));
	if (err)
		return err;
	c->bci = frame->location->bci;
	c->locals.len = 0;
	err = add_arguments(c, &slots);
	if (!err)
		err = add_others(c, slots);
	return err ? err : store_locals(c, frame);
}

// ---- all threads

static void report_bad(struct collector *c)
{
	struct hs_snapshot *snapshot = c->jvm->snapshot;
	const struct hs_thread *thread = c->thread;
	const char *subject;

	if (!c->why)
		return;
	subject = thread->tid
	                  ? hs_arena_printf(snapshot->arena, "local variables of \"%s\" (tid %d)",
	                                    thread->name ? thread->name : "?", (int)thread->tid)
	                  : hs_arena_printf(snapshot->arena, "local variables of \"%s\"",
	                                    thread->name ? thread->name : "?");
	if (subject)
		hs_snapshot_gapf(snapshot, subject, "what some of them hold", "%zu time%s: %s",
		                 c->num_bad, c->num_bad == 1 ? "" : "s", hs_err_message(c->why));
	hs_err_free(c->why);
	c->why = NULL;
	c->num_bad = 0;
}

static struct hs_err *collect_thread(struct collector *c)
{
	struct hs_err *err = NULL;
	size_t count = c->thread->num_frames;
	struct hs_frame *frames = hs_arena_calloc(c->jvm->arena, count, sizeof(*frames));

	if (!frames)
		return hs_err_oom();
	memcpy(frames, c->thread->frames, count * sizeof(*frames));
	for (uint32_t i = 0; !err && i < count; i++)
		err = collect_frame(c, i, &frames[i]);
	c->thread->frames = frames;
	report_bad(c);
	return err;
}

static bool has_java_frame(const struct hs_thread *thread)
{
	for (uint32_t i = 0; i < thread->num_frames; i++) {
		if (thread->frames[i].location->method)
			return true;
	}
	return false;
}

struct hs_err *hs_jvm_collect_locals(struct hs_jvm *jvm)
{
	struct hs_err *err = NULL;
	// Too large for the stack.
	struct collector *c = hs_arena_calloc(jvm->arena, 1, sizeof(*c));

	if (!c)
		return hs_err_oom();
	jvm->snapshot->has_locals = true;
	c->jvm = jvm;
	c->budget = HS_MAX_ALL_LOCALS;
	for (size_t i = 0; !err && i < jvm->snapshot->threads.len; i++) {
		c->thread = &jvm->snapshot->threads.items[i];
		if (has_java_frame(c->thread))
			err = collect_thread(c);
	}
	if (c->budget_spent)
		hs_snapshot_gapf(jvm->snapshot, "local variables", "the others",
		                 "more than %d in all threads", HS_MAX_ALL_LOCALS);
	return err;
}
