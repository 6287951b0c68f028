// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Stack walk: one mixed stack per thread, native → Java → native → …, by asking the steppers.
 * Guarantees an end: at most HS_MAX_FRAMES frames, and the stack pointer must grow.
 */
#ifndef HS_STACK_WALK_H
#define HS_STACK_WALK_H

#include "core/snapshot.h"
#include "core/stepper.h"

/**
 * Walk every thread of the snapshot that has an LWP with registers in @p target, and store its
 * frames. What goes wrong with one thread is a gap of that thread.
 * @param steppers In the order in which they are asked; the first that owns a pc steps it.
 */
HS_MUST_CHECK struct hs_err *hs_stack_walk_all(struct hs_snapshot *snapshot,
                                               struct hs_target *target,
                                               const struct hs_stepper *const *steppers,
                                               size_t num_steppers);

#endif // HS_STACK_WALK_H
