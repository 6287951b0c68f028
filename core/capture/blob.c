// SPDX-License-Identifier: Apache-2.0
/** @file Bytes that grow. */

#include <stdlib.h>
#include <string.h>

#include "core/capture/capture_internal.h"

void hs_blob_add(struct hs_blob *blob, const void *bytes, size_t len)
{
	size_t need;

	if (blob->failed || !len)
		return;
	if (__builtin_add_overflow(blob->len, len, &need)) {
		blob->failed = true;
		return;
	}
	if (need > blob->cap) {
		size_t cap = blob->cap ? blob->cap : 4096;

		while (cap < need && cap <= SIZE_MAX / 2)
			cap *= 2;
		uint8_t *grown = cap >= need ? realloc(blob->bytes, cap) : NULL;
		if (!grown) {
			blob->failed = true;
			return;
		}
		blob->bytes = grown;
		blob->cap = cap;
	}
	memcpy(blob->bytes + blob->len, bytes, len);
	blob->len = need;
}

void hs_blob_deinit(struct hs_blob *blob)
{
	free(blob->bytes);
	*blob = (struct hs_blob){0};
}
