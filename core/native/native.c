// SPDX-License-Identifier: Apache-2.0
/** @file Native: open and close, and the face of the stepper. */

#include "core/base/cleanup.h"
#include "core/native/native_internal.h"

// Asked last, and whatever no one else knows is native: a wild pc gets a frame and then a gap.
static bool native_owns(void *self, hs_addr pc)
{
	(void)self;
	(void)pc;
	return true;
}

static struct hs_err *native_init_modules(struct hs_native *native)
{
	size_t count = native->map->num_modules;

	native->modules = hs_arena_calloc(native->arena, count, sizeof(*native->modules));
	if (!native->modules)
		return hs_err_oom();
	for (size_t i = 0; i < count; i++) {
		native->modules[i].module = &native->map->modules[i];
		native->modules[i].path =
			hs_arena_strdup(native->arena, native->map->modules[i].path);
		if (!native->modules[i].path)
			return hs_err_oom();
		native->modules[i].debug_dir = native->options.debug_dir;
		native->modules[i].target = native->target;
	}
	return NULL;
}

struct hs_err *hs_native_open(struct hs_target *target, struct hs_snapshot *snapshot,
                              const struct hs_native_options *options, struct hs_native **ret)
{
	struct hs_err *err;
	struct hs_arena *arena = snapshot->arena;

	enum hs_target_kind kind = hs_target_info(target)->kind;

	if (options->use_libunwind && (kind == HS_TARGET_CORE || kind == HS_TARGET_SNAPSHOT))
		return hs_err_new(HS_ERR_USAGE, "libunwind is for live processes, not for cores");

	hs_cleanup(hs_native_closep) struct hs_native *native =
		hs_arena_alloc(arena, sizeof(*native));
	if (!native)
		return hs_err_oom();
	native->target = target;
	native->snapshot = snapshot;
	native->arena = arena;
	native->options = *options;
	native->map = hs_target_modules(target);
	native->last_step.thread = HS_NONE;

	err = native_init_modules(native);
	if (!err)
		err = hs_native_dwfl_open(native);
	if (!err && options->use_libunwind)
		err = hs_libunwind_open(native, &native->libunwind);
	if (err)
		return err;

	native->stepper = (struct hs_stepper){
		.name = options->use_libunwind ? "libunwind" : "native",
		.owns = native_owns,
		.step = options->use_libunwind ? hs_libunwind_step : hs_native_step,
		.self = native,
	};
	*ret = hs_take(native);
	return NULL;
}

void hs_native_close(struct hs_native *native)
{
	if (!native)
		return;
	hs_libunwind_close(native->libunwind);
	hs_native_symbols_deinit(native);
	hs_map64_deinit(&native->rows);
	// Dwfl first: it borrows the modules' Elf handles.
	if (native->dwfl)
		dwfl_end(native->dwfl);
	for (size_t i = 0; native->modules && i < native->map->num_modules; i++)
		hs_native_module_close(&native->modules[i]);
}

void hs_native_closep(struct hs_native **native)
{
	hs_native_close(*native);
}

const struct hs_stepper *hs_native_stepper(struct hs_native *native)
{
	return &native->stepper;
}
