// SPDX-License-Identifier: Apache-2.0
/** @file Yes, no, or not known. */
#ifndef HS_TRISTATE_H
#define HS_TRISTATE_H

enum hs_tristate {
	HS_UNKNOWN,
	HS_NO,
	HS_YES,
};

#endif // HS_TRISTATE_H
