// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * In place of unwind_libunwind.c in the static program: Debian's libunwind.a is not position
 * independent, and a second opinion is not worth a program at a fixed address.
 */

#include "core/native/native_internal.h"

const char *hs_native_libunwind(void)
{
	return NULL;
}

struct hs_err *hs_libunwind_open(struct hs_native *native, struct hs_libunwind **ret)
{
	(void)native, (void)ret;
	return hs_err_new(HS_ERR_USAGE, "this hangscope is static and has no libunwind in it");
}

void hs_libunwind_close(struct hs_libunwind *unwind)
{
	(void)unwind;
}

struct hs_err *hs_libunwind_step(void *self, struct hs_cursor *cursor, struct hs_frame_list *list)
{
	(void)self, (void)cursor, (void)list;
	return hs_err_fault();
}
