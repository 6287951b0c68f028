// SPDX-License-Identifier: Apache-2.0
/** @file UNSIGNED5: known encodings, round trips, ends. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/jvm/jvm_internal.h"

/** The writer of unsigned5.hpp (21+, bias 1) and compressedStream.cpp (bias 0). */
static size_t encode(uint32_t value, unsigned bias, uint8_t out[static 5])
{
	const uint32_t low = 192 - bias;
	uint32_t sum = value;
	size_t i = 0;

	while (i < 4 && sum >= low) {
		sum -= low;
		out[i++] = (uint8_t)(bias + low + sum % 64);
		sum >>= 6;
	}
	out[i++] = (uint8_t)(bias + sum);
	return i;
}

static const uint32_t samples[] = {
	0,      1,      2,        63,         64,         190,        191,        192,
	193,    255,    256,      12000,      12478,      12479,      12480,      65535,
	799000, 799167, 51151000, 0x7ffffffe, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff,
};

static void reads_what_was_written(void **state)
{
	(void)state;
	for (unsigned bias = 0; bias <= 1; bias++) {
		for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
			uint8_t bytes[6] = {0};
			size_t len = encode(samples[i], bias, bytes);
			struct hs_u5 stream = {.data = bytes, .len = len, .bias = bias};

			assert_int_equal(hs_u5_next(&stream), samples[i]);
			assert_false(stream.failed);
			assert_int_equal(stream.pos, len);
		}
	}
}

static void reads_known_bytes(void **state)
{
	// By hand: one byte below 192 + bias; two to three bytes, 64 codes that go on.
	static const uint8_t old[] = {0, 191, 192, 0, 255, 191, 192, 192, 1};
	static const uint8_t biased[] = {1, 191, 192, 1, 255, 191, 192, 193, 2};
	static const uint32_t expected[] = {0, 191, 192, 255 + 191 * 64, 192 + 192 * 64 + 4096};
	struct hs_u5 stream = {.data = old, .len = sizeof(old), .bias = 0};

	(void)state;
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(hs_u5_next(&stream), expected[i]);
	assert_int_equal(stream.pos, sizeof(old));
	stream = (struct hs_u5){.data = biased, .len = sizeof(biased), .bias = 1};
	assert_int_equal(hs_u5_next(&stream), 0);
	assert_int_equal(hs_u5_next(&stream), 190);
	assert_int_equal(hs_u5_next(&stream), 191);
	assert_int_equal(hs_u5_next(&stream), 254 + 190 * 64);
	assert_int_equal(hs_u5_next(&stream), 191 + 192 * 64 + 4096);
	assert_false(stream.failed);
}

static void reads_signed(void **state)
{
	static const struct {
		uint8_t byte;
		int32_t value;
	} cases[] = {
		{0,   0  },
                {1,   -1 },
                {2,   1  },
                {3,   -2 },
                {4,   2  },
                {191, -96},
	};
	static const uint8_t minimum[] = {255, 252, 252, 252, 252};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct hs_u5 stream = {.data = &cases[i].byte, .len = 1};
		assert_int_equal(hs_u5_next_signed(&stream), cases[i].value);
	}
	struct hs_u5 stream = {.data = minimum, .len = sizeof(minimum)};
	assert_int_equal(hs_u5_next(&stream), UINT32_MAX);
	stream.pos = 0;
	assert_int_equal(hs_u5_next_signed(&stream), INT32_MIN);
}

static void stops_at_the_end(void **state)
{
	static const uint8_t cut[] = {200, 200};
	struct hs_u5 stream = {.data = cut, .len = sizeof(cut)};

	(void)state;
	assert_int_equal(hs_u5_next(&stream), 0);
	assert_true(stream.failed);
	assert_int_equal(hs_u5_next(&stream), 0);
	assert_int_equal(hs_u5_byte(&stream), 0);
	assert_int_equal(stream.pos, sizeof(cut));
	stream = (struct hs_u5){.data = cut};
	assert_int_equal(hs_u5_next(&stream), 0);
	assert_true(stream.failed);
}

static void end_marker_is_no_number(void **state)
{
	static const uint8_t zero[] = {0, 5};
	struct hs_u5 stream = {.data = zero, .len = sizeof(zero), .bias = 1};

	(void)state;
	assert_int_equal(hs_u5_next(&stream), 0);
	assert_true(stream.failed);
}

static void never_reads_outside(void **state)
{
	uint8_t bytes[64];
	uint32_t random = 1;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		size_t len = (size_t)round % sizeof(bytes);
		for (size_t i = 0; i < len; i++)
			bytes[i] = (uint8_t)((random = random * 1103515245 + 12345) >> 16);
		struct hs_u5 stream = {.data = bytes, .len = len, .bias = round & 1};
		while (!stream.failed) {
			size_t before = stream.pos;
			hs_u5_next_signed(&stream);
			assert_true(stream.pos <= len && (stream.failed || stream.pos > before));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_what_was_written),
		cmocka_unit_test(reads_known_bytes),
		cmocka_unit_test(reads_signed),
		cmocka_unit_test(stops_at_the_end),
		cmocka_unit_test(end_marker_is_no_number),
		cmocka_unit_test(never_reads_outside),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
