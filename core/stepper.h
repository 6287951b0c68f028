// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Stepper: "I can unwind this pc". The stack walk asks each in turn; native code and HotSpot's
 * code cache each have one, and neither knows the other.
 */
#ifndef HS_STEPPER_H
#define HS_STEPPER_H

#include <stdbool.h>

#include "core/base/err.h"
#include "core/frame.h"
#include "core/regs.h"
#include "core/snapshot.h"

/** Where the walk of one thread is. */
struct hs_cursor {
	struct hs_regs regs;      /**< of the activation to be described next */
	bool is_activation;       /**< pc is exact, not a return address */
	const struct hs_lwp *lwp; /**< NULL for an unmounted virtual thread */
	uint32_t thread;          /**< index into the snapshot */
	/** Java walks only: the unextended sp of the activation when it differs from sp (an
	 * interpreted callee moved it); 0 when it does not. Native steppers clear it. */
	hs_addr unextended_sp;
	bool at_end; /**< set by a stepper: that was the outermost frame */
};

/** Frames found so far, innermost first. Growing keeps out-of-memory sticky in the arena. */
struct hs_frame_list {
	struct hs_arena *arena;
	HS_VEC(struct hs_frame) frames;
};

/** Append a frame; NULL when out of memory or at HS_MAX_FRAMES. */
struct hs_frame *hs_frame_list_add(struct hs_frame_list *list, const struct hs_location *location,
                                   hs_addr pc, hs_addr sp, enum hs_found_by found_by);

struct hs_stepper {
	const char *name;
	/** Does this stepper unwind @p pc? Called often: must be a range check or a cache hit. */
	bool (*owns)(void *self, hs_addr pc);
	/**
	 * Describe the activation at @p cursor: append its frame (several when code was inlined),
	 * and move the cursor to its caller, or set at_end.
	 * @return NULL, or why the walk cannot go on (a gap of this thread); frames appended stay.
	 */
	HS_MUST_CHECK struct hs_err *(*step)(void *self, struct hs_cursor *cursor,
	                                     struct hs_frame_list *list);
	/**
	 * The walk of @p cursor's thread came to an end at a pc nobody owns, or with an error, and
	 * no frame of this stepper was found yet: is there another place to go on from (HotSpot's
	 * JavaFrameAnchor)? Set the cursor and return true. May be NULL.
	 */
	bool (*resume)(void *self, struct hs_cursor *cursor);
	void *self;
};

#endif // HS_STEPPER_H
