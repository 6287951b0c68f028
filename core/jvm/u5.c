// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * UNSIGNED5: HotSpot's variable length integers (compressedStream.hpp 8..20, unsigned5.hpp 21+).
 * One to five bytes, six bits each after the first. Since 21 each byte is one more than before
 * (bias X = 1), so that a zero byte can end a stream.
 */

#include "core/jvm/jvm_internal.h"

enum {
	U5_MAX_BYTES = 5,
	U5_LG_HIGH = 6,
	U5_HIGH = 1 << U5_LG_HIGH,
};

uint8_t hs_u5_byte(struct hs_u5 *stream)
{
	if (stream->pos >= stream->len) {
		stream->failed = true;
		return 0;
	}
	return stream->data[stream->pos++];
}

uint32_t hs_u5_next(struct hs_u5 *stream)
{
	// A byte below this ends the number: the other 64 codes say that more follow.
	const unsigned low_limit = 256 - U5_HIGH;
	uint32_t sum = 0;

	for (unsigned i = 0; i < U5_MAX_BYTES; i++) {
		uint8_t byte = hs_u5_byte(stream);

		if (stream->failed)
			return 0;
		if (byte < stream->bias) {
			stream->failed = true; // an end marker inside of a number
			return 0;
		}
		sum += (uint32_t)(byte - stream->bias) << (U5_LG_HIGH * i);
		if (byte < low_limit)
			break;
	}
	return sum;
}

int32_t hs_u5_next_signed(struct hs_u5 *stream)
{
	uint32_t value = hs_u5_next(stream);

	return (int32_t)(value >> 1 ^ -(value & 1));
}
