// SPDX-License-Identifier: Apache-2.0
/** @file What all kinds of sources share: gaps, and their end. */

#include "core/source/source.h"

#include <stdarg.h>
#include <unistd.h>

void hs_source_gap(struct hs_source *source, const char *subject, const char *costs,
                   const char *reason_fmt, ...)
{
	va_list ap;

	// The arena keeps out-of-memory sticky: hs_target_from_source() reports it.
	va_start(ap, reason_fmt);
	char *reason = hs_arena_vprintf(source->arena, reason_fmt, ap);
	va_end(ap);
	char *own_subject = hs_arena_strdup(source->arena, subject);
	char *own_costs = hs_arena_strdup(source->arena, costs);
	if (!reason || !own_subject || !own_costs)
		return;

	struct hs_target_gap *gap = hs_vec_push(source->arena, &source->gaps);
	if (gap)
		*gap = (struct hs_target_gap){own_subject, reason, own_costs};
}

void hs_source_destroy(struct hs_source *source)
{
	if (!source)
		return;
	if (source->owns_module_fds) {
		for (size_t i = 0; i < source->modules.num_modules; i++) {
			if (source->modules.modules[i].fd >= 0)
				close(source->modules.modules[i].fd);
		}
	}

	struct hs_arena *arena = source->arena;

	source->ops->close(source);
	hs_arena_destroy(arena);
}

void hs_source_destroyp(struct hs_source **source)
{
	hs_source_destroy(*source);
}
