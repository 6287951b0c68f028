// SPDX-License-Identifier: Apache-2.0
/** @file The memory of a full core. */

#include "core/capture/capture_internal.h"

struct hs_err *hs_capture_full_ranges(struct hs_target *target, struct hs_capture_range **ret,
                                      size_t *num_ret)
{
	(void)target;
	*ret = NULL;
	*num_ret = 0;
	return NULL;
}
