// SPDX-License-Identifier: Apache-2.0
/** @file Shapes of frames, from instructions as C1 and C2 of 8 to 28 write them. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "core/jvm/frame_code.h"

enum {
	FRAME_BYTES = 0x40,
	MAX_CODE = 64,
};

/** Code with a '|' where the pc is; every other character pair is a byte in hex, blanks between. */
struct hex_code {
	uint8_t bytes[MAX_CODE];
	struct hs_code_window window;
};

static unsigned hex_digit(char c)
{
	return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
}

static struct hs_code_window parse(const char *text, struct hex_code *code)
{
	size_t len = 0, pc = 0;

	for (; *text; text++) {
		if (*text == '|') {
			pc = len;
		} else if (*text != ' ') {
			assert_true(len < sizeof(code->bytes));
			code->bytes[len++] =
				(uint8_t)(hex_digit(text[0]) << 4 | hex_digit(text[1]));
			text++;
		}
	}
	return (struct hs_code_window){code->bytes + pc, pc, len - pc};
}

static void prologues(void **state)
{
	static const struct {
		const char *code;
		enum hs_frame_shape shape;
	} cases[] = {
		{"|55",									     HS_SHAPE_NONE     },
		{"89 84 24 00 c0 fe ff | 55",						       HS_SHAPE_NONE     }, // stack check
		{"89 84 24 00 c0 fe ff 55 | 48 83 ec 30",                                           HS_SHAPE_FP_ON_TOP},
		{"55 48 8b ec | 48 83 ec 30",						       HS_SHAPE_FP_ON_TOP}, // native wrapper
		{"55 48 83 ec 30 |",								HS_SHAPE_WHOLE    },
		{"55 48 8b ec 48 81 ec 30 00 00 00 | 90",                                           HS_SHAPE_WHOLE    },
		{"48 83 ec 38 | 48 89 6c 24 30",						    HS_SHAPE_FP_LIVE  },
		{"48 81 ec 38 00 00 00 | 48 89 6c 24 30",                                           HS_SHAPE_FP_LIVE  },
		{"48 83 ec 38 48 89 6c 24 30 |",						    HS_SHAPE_WHOLE    },
 // The barrier at the entry of methods lies before frame_complete.
		{"48 81 ec 38 00 00 00 48 89 6c 24 30 0f 1f 40 00 | 41 81 7f 24 00 34 00 00 0f 84",
	         HS_SHAPE_WHOLE										       },
		{"48 83 ec 38 48 89 6c 24 30 41 81 7f 24 00 34 00 00 | 0f 84 05 00 00 00 e8",
	         HS_SHAPE_WHOLE										       },
 // Another subtraction is no frame of this size.
		{"48 83 ec 08 |",								   HS_SHAPE_NONE     },
	};
	struct hex_code code;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		if (hs_prologue_shape(parse(cases[i].code, &code), FRAME_BYTES) != cases[i].shape)
			fail_msg("%s", cases[i].code);
	}
	assert_int_equal(hs_prologue_shape(parse("55|", &code), 0), HS_SHAPE_FP_ON_TOP);
	assert_int_equal(hs_prologue_shape(parse("48 83 ec 00 |", &code), 0), HS_SHAPE_NONE);
}

static void bodies_and_epilogues(void **state)
{
	static const struct {
		const char *code;
		enum hs_frame_shape shape;
	} cases[] = {
		{"|",								   HS_SHAPE_WHOLE    },
		{"| 48 83 c4 30 5d c3",						 HS_SHAPE_WHOLE    },
		{"48 83 c4 30 | 5d c3",						 HS_SHAPE_FP_ON_TOP},
		{"48 83 c4 30 5d | c3",						 HS_SHAPE_NONE     },
		{"48 83 c4 30 5d | 49 3b a7 40 03 00 00 0f 87 01 00 00 00 c3",
	         HS_SHAPE_NONE									    }, // 16+
		{"48 83 c4 30 5d 49 3b a7 40 03 00 00 | 0f 87 01 00 00 00 c3",          HS_SHAPE_NONE     },
		{"48 83 c4 30 5d | 4d 8b 97 08 01 00 00 41 85 02 c3",                   HS_SHAPE_NONE     }, // 11
		{"48 83 c4 30 5d | 85 05 00 00 00 01 c3",                               HS_SHAPE_NONE     }, // 8
		{"c9 | 49 83 7f 08 00 0f 85 01 00 00 00 c3",                            HS_SHAPE_NONE     }, // native wrapper
		{"| 49 83 7f 08 00 0f 85 01 00 00 00 90",                               HS_SHAPE_WHOLE    },
 // On to the handler of the caller.
		{"48 83 c4 30 | 5d e9 00 00 00 00",                                     HS_SHAPE_FP_ON_TOP},
		{"48 83 c4 30 5d | e9 00 00 00 00",                                     HS_SHAPE_NONE     },
		{"48 81 c4 30 00 00 00 5d | e9 00 00 00 00",                            HS_SHAPE_NONE     },
		{"90 90 90 90 90 5d | e9 00 00 00 00",                                  HS_SHAPE_WHOLE    },
		{"| e9 00 00 00 00",						    HS_SHAPE_WHOLE    },
 // The slow path of the poll at a return.
		{"| 49 ba 19 54 48 01 ba 7f 00 00 4d 89 97 58 03 00 00 e9 36 33 fd ff",
	         HS_SHAPE_NONE									    },
		{"49 ba 19 54 48 01 ba 7f 00 00 | 4d 89 97 58 03 00 00 e9 36 33 fd ff",
	         HS_SHAPE_NONE									    },
		{"4d 89 97 58 03 00 00 | e9 36 33 fd ff",                               HS_SHAPE_NONE     },
		{"| 4c 8d 15 e8 ff ff ff 4d 89 97 58 03 00 00 e9 36 33 fd ff",
	         HS_SHAPE_NONE									    }, // 21+
		{"| 49 ba 19 54 48 01 ba 7f 00 00 41 ff d2",                            HS_SHAPE_WHOLE    },
	};
	struct hex_code code;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		if (hs_body_shape(parse(cases[i].code, &code)) != cases[i].shape)
			fail_msg("%s", cases[i].code);
	}
}

static void static_call_stubs(void **state)
{
	static const struct {
		const char *code;
		int offset;
	} cases[] = {
		{"| 48 bb 90 23 40 97 b7 7f 00 00 e9 96 68 ff ff", 0 },
		{"48 bb 90 23 40 97 b7 7f 00 00 | e9 96 68 ff ff", 10},
		{"| 48 bb 90 23 40 97 b7 7f 00 00 90",             -1},
		{"| e9 96 68 ff ff",                               -1},
		{"| 48 bb 90 23",				  -1},
	};
	struct hex_code code;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		assert_int_equal(hs_static_call_stub_offset(parse(cases[i].code, &code)),
		                 cases[i].offset);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(prologues),
		cmocka_unit_test(bodies_and_epilogues),
		cmocka_unit_test(static_call_stubs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
