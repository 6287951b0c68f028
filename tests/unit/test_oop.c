// SPDX-License-Identifier: Apache-2.0
/** @file Objects, classes and methods of a small Java heap made by hand. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "core/jvm/jvm_internal.h"
#include "tests/support/fake_libjvm.h"

/** Offsets are those of hs_fake_libjvm_standard(). Narrow pointers are addresses: base and shift 0.
 */
enum {
	METASPACE = 0x10000000,
	HEAP = 0x20000000,
	BOOT_CLD = 0x30000000,
	APP_CLD = 0x30000100,
	ANONYMOUS_CLD = 0x30000200,

	FLAT = 1 << 5, // field flags, as open_heap() numbers them
	NULL_MARKER = 1 << 6,
	INSTANCE = 16,
	BYTES = (int)0xc0100800, // type array, header 16, T_BYTE, log2 0
	CHARS = (int)0xc0100501,
	OOPS = (int)0x80100c02, // object array of narrow oops
	MAX_FIELDS = 16,
};

struct fixture {
	struct hs_fake *fake;
	struct hs_fake_libjvm *libjvm;
	struct hs_snapshot *snapshot;
	struct hs_jvm *jvm;
	hs_addr next_meta, next_object;
	hs_addr last_of[2]; // Klass of the boot and the app loader added last
	hs_addr object, bytes, chars, oops;
	size_t gaps; // that opening left: there is no code cache
	bool is_25;
};

struct field {
	const char *name, *signature;
	uint16_t offset;
	bool is_static, is_generic;
};

static hs_addr meta(struct fixture *f, size_t size)
{
	hs_addr addr = f->next_meta;

	f->next_meta += (size + 15) & ~(size_t)15;
	hs_fake_fill(f->fake, addr, 0, size);
	return addr;
}

static hs_addr symbol(struct fixture *f, const char *text)
{
	hs_addr addr = meta(f, strlen(text) + 16);

	hs_fake_u16(f->fake, addr + 4, (uint16_t)strlen(text));
	hs_fake_memory(f->fake, addr + 6, text, strlen(text));
	return addr;
}

static hs_addr object(struct fixture *f, hs_addr klass, size_t size)
{
	hs_addr addr = f->next_object;

	f->next_object += (size + 15) & ~(size_t)15;
	hs_fake_fill(f->fake, addr, 0, size);
	hs_fake_u64(f->fake, addr, 1); // unlocked
	hs_fake_u32(f->fake, addr + 8, (uint32_t)klass);
	return addr;
}

/** A class in front of the list of its loader, with a mirror of 128 bytes. */
static hs_addr klass(struct fixture *f, const char *name, int32_t helper, hs_addr super,
                     bool is_app)
{
	hs_addr addr = meta(f, 96), slot = meta(f, 8);
	hs_addr cld = is_app ? APP_CLD : BOOT_CLD;

	hs_fake_u32(f->fake, addr + 8, (uint32_t)helper);
	hs_fake_u64(f->fake, addr + 16, symbol(f, name));
	hs_fake_u64(f->fake, addr + 24, super);
	hs_fake_u64(f->fake, slot, object(f, 0, 128));
	hs_fake_u64(f->fake, addr + 32, slot);
	hs_fake_u64(f->fake, addr + 40, cld);
	hs_fake_u64(f->fake, addr + 48, f->last_of[is_app]);
	hs_fake_u64(f->fake, cld + 16, addr);
	f->last_of[is_app] = addr;
	return addr;
}

/** A constant pool of symbols, and the class that holds it. */
static hs_addr constant_pool(struct fixture *f, hs_addr holder, const char *const *texts,
                             size_t count)
{
	hs_addr addr = meta(f, 24 + 8 * (count + 1));

	hs_fake_u64(f->fake, addr + 8, holder);
	for (size_t i = 0; i < count; i++)
		hs_fake_u64(f->fake, addr + 24 + 8 * (i + 1), symbol(f, texts[i]));
	hs_fake_u64(f->fake, holder + 56, addr);
	return addr;
}

static hs_addr fields_of_17(struct fixture *f, const struct field *fields, size_t count)
{
	uint16_t slots[MAX_FIELDS * 7] = {0};
	size_t at = 0;

	for (size_t i = 0; i < count; i++, at += 6) {
		slots[at] = (uint16_t)((fields[i].is_static ? 8 : 0) |
		                       (fields[i].is_generic ? 0x800 : 0));
		slots[at + 1] = (uint16_t)(2 * i + 1);
		slots[at + 2] = (uint16_t)(2 * i + 2);
		slots[at + 4] = (uint16_t)(fields[i].offset << 2 | 1);
	}
	for (size_t i = 0; i < count; i++)
		at += fields[i].is_generic; // the tail: one signature each
	hs_addr array = meta(f, 4 + sizeof(slots));
	hs_fake_u32(f->fake, array, (uint32_t)at);
	hs_fake_memory(f->fake, array + 4, slots, at * 2);
	return array;
}

/** Fields of 28 that hold their value: the ones with these names. */
static bool is_flat(const struct field *field)
{
	return !strncmp(field->name, "flat", 4);
}

/** Numbers below 191 only: one byte each, one more than the number. */
static hs_addr fields_of_25(struct fixture *f, const struct field *fields, size_t count)
{
	uint8_t stream[MAX_FIELDS * 8];
	size_t at = 0;

	stream[at++] = (uint8_t)(count + 1);
	stream[at++] = 1;
	for (size_t i = 0; i < count; i++) {
		stream[at++] = (uint8_t)(2 * i + 2);
		stream[at++] = (uint8_t)(2 * i + 3);
		stream[at++] = (uint8_t)(fields[i].offset + 1);
		stream[at++] = fields[i].is_static ? 9 : 1;
		stream[at++] = (uint8_t)((fields[i].is_generic ? 5 : 1) +
		                         (is_flat(&fields[i]) ? FLAT | NULL_MARKER : 0));
		if (fields[i].is_generic)
			stream[at++] = 100; // its signature
		if (is_flat(&fields[i])) {
			stream[at++] = 4;                                   // layout kind
			stream[at++] = (uint8_t)(fields[i].offset + 3 + 1); // null marker
		}
	}
	stream[at++] = 0;
	hs_addr array = meta(f, 4 + sizeof(stream));
	hs_fake_u32(f->fake, array, (uint32_t)at);
	hs_fake_memory(f->fake, array + 4, stream, at);
	return array;
}

static void set_fields(struct fixture *f, hs_addr holder, const struct field *fields, size_t count)
{
	const char *texts[2 * MAX_FIELDS];

	assert_true(count <= MAX_FIELDS);
	for (size_t i = 0; i < count; i++) {
		texts[2 * i] = fields[i].name;
		texts[2 * i + 1] = fields[i].signature;
	}
	constant_pool(f, holder, texts, 2 * count);
	hs_fake_u64(f->fake, holder + 64,
	            f->is_25 ? fields_of_25(f, fields, count) : fields_of_17(f, fields, count));
}

static void open_heap(struct fixture *f)
{
	const struct hs_layout *layout;

	hs_fake_libjvm_standard(f->libjvm, f->is_25);
	hs_fake_libjvm_int(f->libjvm, "FieldInfo::FieldFlags::_ff_flat", 5);
	hs_fake_libjvm_int(f->libjvm, "FieldInfo::FieldFlags::_ff_null_marker", 6);
	hs_fake_libjvm_flag(f->libjvm, "UseCompressedOops", 1, 1);
	hs_fake_libjvm_flag(f->libjvm, "UseCompressedClassPointers", 1, 1);
	hs_fake_libjvm_int(f->libjvm, "markOopDesc::hash_shift", 8);
	hs_fake_libjvm_long(f->libjvm, "markOopDesc::hash_mask", 0x7fffffff);
	hs_fake_libjvm_install(f->libjvm, true);
	assert_null(hs_jvm_open(hs_fake_target(f->fake), f->snapshot, &f->jvm));
	f->gaps = f->snapshot->gaps.len;
	layout = &f->jvm->layout;
	hs_fake_u64(f->fake, hs_layout_static(layout, HS_F_cldg_head), APP_CLD);
	hs_fake_fill(f->fake, BOOT_CLD, 0, 64);
	hs_fake_fill(f->fake, APP_CLD, 0, 64);
	hs_fake_u64(f->fake, APP_CLD + 24, BOOT_CLD);
	f->object = klass(f, "java/lang/Object", INSTANCE, 0, false);
	set_fields(f, f->object, NULL, 0);
	f->bytes = klass(f, "[B", BYTES, f->object, false);
	f->chars = klass(f, "[C", CHARS, f->object, false);
	f->oops = klass(f, "[Ljava/lang/Object;", OOPS, f->object, false);

	// The app loader is an object behind a handle.
	hs_addr slot = meta(f, 8);
	hs_fake_u64(f->fake, slot, object(f, f->object, 16));
	hs_fake_u64(f->fake, APP_CLD + 8, slot);
}

static struct fixture *make_fixture(bool is_25)
{
	static struct fixture fixture; // one at a time

	fixture = (struct fixture){
		.fake = hs_fake_create(),
		.snapshot = hs_snapshot_create(),
		.next_meta = METASPACE,
		.next_object = HEAP,
		.is_25 = is_25,
	};
	fixture.libjvm = hs_fake_libjvm_create(fixture.fake);
	open_heap(&fixture);
	return &fixture;
}

static int setup_17(void **state)
{
	*state = make_fixture(false);
	return 0;
}

static int setup_25(void **state)
{
	*state = make_fixture(true);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	hs_jvm_close(f->jvm);
	hs_fake_libjvm_destroy(f->libjvm);
	hs_fake_destroy(f->fake);
	hs_snapshot_destroy(f->snapshot);
	return 0;
}

static void assert_code(struct hs_err *err, enum hs_err_code code)
{
	assert_non_null(err);
	assert_int_equal(hs_err_code(err), code);
	hs_err_free(err);
}

// ---- fields

static const struct field point_fields[] = {
	{"x",     "I",                  12, false, false},
	{"list",  "Ljava/util/List;",   16, false, true },
	{"flag",  "Z",                  20, false, false},
	{"small", "B",                  21, false, false},
	{"half",  "S",                  22, false, true },
	{"unit",  "C",                  24, false, false},
	{"big",   "J",                  32, false, false},
	{"real",  "D",                  40, false, false},
	{"ALL",   "[Ljava/lang/Point;", 64, true,  false},
	{"COUNT", "I",                  72, true,  false},
};

static void reads_fields(void **state)
{
	struct fixture *f = *state;
	hs_addr point = klass(f, "app/Point", 48, f->object, true);
	hs_addr sub = klass(f, "app/Sub", 48, point, true), mirror, oop;
	const struct hs_klass *decoded;
	int64_t value;

	set_fields(f, point, point_fields, sizeof(point_fields) / sizeof(point_fields[0]));
	set_fields(f, sub,
	           (struct field[]){
			   {"x", "I", 44, false, false}
        },
	           1);
	hs_addr p = object(f, point, 48), s = object(f, sub, 48);
	hs_fake_u32(f->fake, p + 12, (uint32_t)-7);
	hs_fake_u32(f->fake, p + 16, (uint32_t)s);
	hs_fake_u8(f->fake, p + 20, 1);
	hs_fake_u8(f->fake, p + 21, 0xfe);
	hs_fake_u16(f->fake, p + 22, 0x8000);
	hs_fake_u16(f->fake, p + 24, 0x8000);
	hs_fake_u64(f->fake, p + 32, UINT64_MAX);
	hs_fake_u32(f->fake, s + 44, 9);

	static const struct {
		const char *name;
		int64_t value;
	} ints[] = {
		{"x",     -7    },
                {"flag",  1     },
                {"small", -2    },
		{"half",  -32768},
                {"unit",  32768 },
                {"big",   -1    },
	};
	for (size_t i = 0; i < sizeof(ints) / sizeof(ints[0]); i++) {
		assert_null(hs_oop_get_int(f->jvm, p, ints[i].name, &value));
		assert_int_equal(value, ints[i].value);
	}
	assert_null(hs_oop_get_oop(f->jvm, p, "list", &oop));
	assert_int_equal(oop, s);

	// The subclass's own field hides the inherited one; the others are found above it.
	assert_null(hs_oop_get_int(f->jvm, s, "x", &value));
	assert_int_equal(value, 9);
	assert_null(hs_oop_get_oop(f->jvm, s, "list", &oop));
	assert_int_equal(oop, 0);

	// Static fields lie in the mirror of the class that declares them.
	assert_null(hs_klass_get(f->jvm, point, &decoded));
	assert_null(hs_klass_mirror(f->jvm, decoded, &mirror));
	hs_fake_u32(f->fake, mirror + 64, (uint32_t)p);
	hs_fake_u32(f->fake, mirror + 72, 42);
	assert_null(hs_klass_get(f->jvm, sub, &decoded));
	assert_null(hs_klass_static_oop(f->jvm, decoded, "ALL", &oop));
	assert_int_equal(oop, p);
	assert_null(hs_oop_get_int(f->jvm, s, "COUNT", &value));
	assert_int_equal(value, 42);

	assert_code(hs_oop_get_int(f->jvm, p, "nope", &value), HS_ERR_ABSENT);
	assert_code(hs_oop_get_int(f->jvm, p, "list", &value), HS_ERR_BAD_DATA);
	assert_code(hs_oop_get_int(f->jvm, p, "real", &value), HS_ERR_BAD_DATA);
	assert_code(hs_oop_get_oop(f->jvm, p, "x", &oop), HS_ERR_BAD_DATA);
	assert_code(hs_klass_static_oop(f->jvm, decoded, "list", &oop), HS_ERR_BAD_DATA);
}

/** 28: value classes. What follows in the stream is read all the same. */
static void skips_flat_fields(void **state)
{
	static const struct field fields[] = {
		{"flat",     "Lapp/Point;",      12, false, false},
		{"flatPair", "Lapp/Pair;",       16, false, true },
		{"next",     "Lapp/Line;",       20, false, false},
		{"name",     "Ljava/util/List;", 24, false, true },
	};
	struct fixture *f = *state;
	hs_addr line = klass(f, "app/Line", 32, f->object, true), oop;

	set_fields(f, line, fields, sizeof(fields) / sizeof(fields[0]));
	hs_addr l = object(f, line, 32);
	hs_fake_u32(f->fake, l + 12, (uint32_t)l); // looks like a pointer
	hs_fake_u32(f->fake, l + 20, (uint32_t)l);
	hs_fake_u32(f->fake, l + 24, (uint32_t)l);
	assert_null(hs_oop_get_oop(f->jvm, l, "next", &oop));
	assert_int_equal(oop, l);
	assert_null(hs_oop_get_oop(f->jvm, l, "name", &oop));
	assert_int_equal(oop, l);
	assert_code(hs_oop_get_oop(f->jvm, l, "flat", &oop), HS_ERR_UNSUPPORTED);
	assert_code(hs_oop_get_oop(f->jvm, l, "flatPair", &oop), HS_ERR_UNSUPPORTED);
}

static void refuses_broken_fields(void **state)
{
	struct fixture *f = *state;
	hs_addr broken = klass(f, "app/Broken", 48, f->object, true);
	const struct hs_klass *decoded;

	assert_null(hs_klass_get(f->jvm, broken, &decoded));
	hs_fake_u64(f->fake, broken + 64, 0x1230); // nothing there
	assert_code(hs_klass_fields(f->jvm, decoded), HS_ERR_FAULT);
	hs_addr array = meta(f, 64);
	hs_fake_u64(f->fake, broken + 64, array);
	hs_fake_u32(f->fake, array, 0x7fffffff);
	assert_code(hs_klass_fields(f->jvm, decoded), HS_ERR_BAD_DATA);
	hs_fake_u32(f->fake, array, 12);
	hs_fake_fill(f->fake, array + 4, 0xff, 60);
	struct hs_err *err = hs_klass_fields(f->jvm, decoded);
	assert_non_null(err);
	hs_err_free(err);
	assert_false(decoded->fields_read);
}

// ---- strings

static hs_addr make_string(struct fixture *f, hs_addr string_klass, const void *bytes, size_t len,
                           uint8_t coder, hs_addr array_klass, unsigned width)
{
	hs_addr string = object(f, string_klass, 24), value = object(f, array_klass, 16 + len);

	hs_fake_u32(f->fake, value + 12, (uint32_t)(len / width));
	hs_fake_memory(f->fake, value + 16, bytes, len);
	hs_fake_u32(f->fake, string + 12, (uint32_t)value);
	hs_fake_u8(f->fake, string + 16, coder);
	return string;
}

static void assert_string(struct fixture *f, hs_addr string, size_t max, const char *expected)
{
	const char *text = "";

	assert_null(hs_oop_string(f->jvm, string, max, &text));
	assert_string_equal(text, expected);
}

static void reads_strings(void **state)
{
	struct fixture *f = *state;
	hs_addr k = klass(f, "java/lang/String", 24, f->object, false);
	const char *text = "";
	static const uint16_t wide[] = {0x65e5, 0xd834, 0xdd1e, 0xd834, 'x', 0, 0xdd1e};

	set_fields(f, k,
	           (struct field[]){
			   {"value", "[B", 12, false, false},
			   {"coder", "B",  16, false, false},
        },
	           2);
	assert_string(f, make_string(f, k, "main", 4, 0, f->bytes, 1), 100, "main");
	assert_string(f, make_string(f, k, "h\xe9llo", 5, 0, f->bytes, 1), 100, "h\xc3\xa9llo");
	assert_string(f, make_string(f, k, "h\xe9llo", 5, 0, f->bytes, 1), 2, "h\xc3\xa9");
	assert_string(f, make_string(f, k, "", 0, 0, f->bytes, 1), 100, "");
	assert_string(f, make_string(f, k, wide, sizeof(wide), 1, f->bytes, 1), 100,
	              "\xe6\x97\xa5\xf0\x9d\x84\x9e\xef\xbf\xbdx\xef\xbf\xbd\xef\xbf\xbd");
	assert_null(hs_oop_string(f->jvm, 0, 10, &text));
	assert_null(text);
	assert_code(hs_oop_string(f->jvm, make_string(f, k, "x", 1, 7, f->bytes, 1), 9, &text),
	            HS_ERR_BAD_DATA);
	assert_code(hs_oop_string(f->jvm, make_string(f, k, "x", 1, 0, f->oops, 1), 9, &text),
	            HS_ERR_BAD_DATA);
	assert_code(hs_oop_string(f->jvm, object(f, f->object, 16), 9, &text), HS_ERR_ABSENT);
	// What follows the array is not a part of it.
	hs_addr absurd = make_string(f, k, "main", 4, 0, f->bytes, 1), value = 0;
	assert_null(hs_oop_get_oop(f->jvm, absurd, "value", &value));
	hs_fake_u32(f->fake, value + f->jvm->array_length_offset, 1 << 30);
	assert_code(hs_oop_string(f->jvm, absurd, 9, &text), HS_ERR_BAD_DATA);
}

static void reads_strings_of_8(void **state)
{
	struct fixture *f = *state;
	hs_addr k = klass(f, "java/lang/String", 24, f->object, false);
	static const uint16_t wide[] = {'o', 'l', 'd', 0xe9};

	set_fields(f, k,
	           (struct field[]){
			   {"value", "[C", 12, false, false}
        },
	           1);
	assert_string(f, make_string(f, k, wide, sizeof(wide), 0, f->chars, 2), 100, "old\xc3\xa9");
}

static void caps_array_lengths(void **state)
{
	struct fixture *f = *state;
	hs_addr array = object(f, f->oops, 32), oop;
	uint32_t length;

	hs_fake_u32(f->fake, array + 12, 2);
	hs_fake_u32(f->fake, array + 20, 0x1238);
	assert_null(hs_oop_array_get(f->jvm, array, 1, &oop));
	assert_int_equal(oop, 0x1238);
	assert_code(hs_oop_array_get(f->jvm, array, 2, &oop), HS_ERR_ABSENT);
	hs_fake_u32(f->fake, array + 12, UINT32_MAX);
	assert_code(hs_oop_array_length(f->jvm, array, &length), HS_ERR_BAD_DATA);
	assert_code(hs_oop_array_length(f->jvm, object(f, f->object, 16), &length),
	            HS_ERR_BAD_DATA);
}

// ---- maps

struct map {
	hs_addr map, node, tree_bin, forwarding;
};

static struct map make_map(struct fixture *f)
{
	static const struct field node_fields[] = {
		{"key",  "Ljava/lang/Object;", 12, false, false},
		{"val",  "Ljava/lang/Object;", 16, false, false},
		{"next", "LNode;",             20, false, false},
	};
	struct map map = {
		.map = klass(f, "java/util/concurrent/ConcurrentHashMap", 16, f->object, false),
		.node = klass(f, "java/util/concurrent/ConcurrentHashMap$Node", 24, f->object,
	                      false),
	};
	map.tree_bin =
		klass(f, "java/util/concurrent/ConcurrentHashMap$TreeBin", 32, map.node, false);
	map.forwarding = klass(f, "java/util/concurrent/ConcurrentHashMap$ForwardingNode", 32,
	                       map.node, false);
	set_fields(f, map.map,
	           (struct field[]){
			   {"table", "[LNode;", 12, false, false}
        },
	           1);
	set_fields(f, map.node, node_fields, 3);
	set_fields(f, map.tree_bin,
	           (struct field[]){
			   {"first", "LNode;", 24, false, false}
        },
	           1);
	set_fields(f, map.forwarding,
	           (struct field[]){
			   {"nextTable", "[LNode;", 24, false, false}
        },
	           1);
	return map;
}

static hs_addr make_node(struct fixture *f, hs_addr k, uint32_t key, uint32_t value, hs_addr next)
{
	hs_addr node = object(f, k, 32);

	hs_fake_u32(f->fake, node + 12, key);
	hs_fake_u32(f->fake, node + 16, value);
	hs_fake_u32(f->fake, node + 20, (uint32_t)next);
	return node;
}

static hs_addr make_table(struct fixture *f, const hs_addr *nodes, uint32_t count)
{
	hs_addr table = object(f, f->oops, 16 + 4UL * count);

	hs_fake_u32(f->fake, table + 12, count);
	for (uint32_t i = 0; i < count; i++)
		hs_fake_u32(f->fake, table + 16 + 4 * i, (uint32_t)nodes[i]);
	return table;
}

static struct hs_err *sum_entries(void *arg, hs_addr key, hs_addr value)
{
	*(uint64_t *)arg += key * 1000 + value;
	return NULL;
}

static struct hs_err *stop(void *arg, hs_addr key, hs_addr value)
{
	(void)key;
	(void)value;
	++*(uint64_t *)arg;
	return hs_err_absent();
}

static void walks_a_map(void **state)
{
	struct fixture *f = *state;
	struct map k = make_map(f);
	hs_addr map = object(f, k.map, 16);
	uint64_t sum = 0;

	assert_null(hs_oop_each_chm(f->jvm, map, sum_entries, &sum)); // no table yet
	assert_int_equal(sum, 0);

	hs_addr chain = make_node(f, k.node, 1, 10, make_node(f, k.node, 2, 20, 0));
	hs_addr tree = make_node(f, k.tree_bin, 0, 0, 0);
	hs_fake_u32(f->fake, tree + 24, (uint32_t)make_node(f, k.node, 3, 30, 0));
	hs_addr moved = make_node(f, k.node, 4, 40, 0);
	hs_addr forward = make_node(f, k.forwarding, 0, 0, 0);
	hs_fake_u32(f->fake, forward + 24, (uint32_t)make_table(f, (hs_addr[]){0, moved}, 2));
	hs_addr table = make_table(f, (hs_addr[]){chain, 0, tree, forward}, 4);
	hs_fake_u32(f->fake, map + 12, (uint32_t)table);
	assert_null(hs_oop_each_chm(f->jvm, map, sum_entries, &sum));
	assert_int_equal(sum, 10000 + 100);

	sum = 0;
	assert_code(hs_oop_each_chm(f->jvm, map, stop, &sum), HS_ERR_ABSENT);
	assert_int_equal(sum, 1);
}

static void ends_on_a_circle_of_tables(void **state)
{
	struct fixture *f = *state;
	struct map k = make_map(f);
	hs_addr map = object(f, k.map, 16), forward = make_node(f, k.forwarding, 0, 0, 0);
	hs_addr table = make_table(f, (hs_addr[]){forward}, 1);
	uint64_t sum = 0;

	hs_fake_u32(f->fake, forward + 24, (uint32_t)table);
	hs_fake_u32(f->fake, map + 12, (uint32_t)table);
	assert_null(hs_oop_each_chm(f->jvm, map, sum_entries, &sum));
	assert_int_equal(sum, 0);
}

// ---- classes

static void names_classes_as_jstack_does(void **state)
{
	static const struct {
		const char *name, *external;
		int32_t helper;
	} cases[] = {
		{"app/Main$Inner",                         "app.Main$Inner",                         16   },
		{"[I",				     "[I",				     BYTES},
		{"[[Ljava/lang/String;",                   "[[Ljava.lang.String;",                   OOPS },
		{"app/Main$$Lambda+0x00007f750c000a08",    "app.Main$$Lambda/0x00007f750c000a08",    16   },
		{"[Lapp/Main$$Lambda+0x00007f750c000a08;", "[Lapp.Main$$Lambda/0x00007f750c000a08;",
	         OOPS										     },
		{"app/plus+name",                          "app.plus+name",                          16   },
		{"app/plus+0xnothex",                      "app.plus+0xnothex",                      16   },
		{"Ljdk/internal/vm/FillerArray;",          "Ljdk.internal.vm.FillerArray;",          BYTES},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct hs_klass *decoded;
		hs_addr addr = klass(f, cases[i].name, cases[i].helper, f->object, true);

		assert_null(hs_klass_get(f->jvm, addr, &decoded));
		assert_string_equal(decoded->name, cases[i].name);
		assert_string_equal(decoded->external_name, cases[i].external);
	}
}

static void set_static(struct fixture *f, enum hs_field name, hs_addr value)
{
	hs_addr address = meta(f, 8);

	hs_fake_u64(f->fake, address, value);
	f->jvm->layout.fields[name] =
		(struct hs_layout_field){.present = true, .is_static = true, .address = address};
}

/** A class in a CLD of its own, @p loader's. */
static hs_addr anonymous_class(struct fixture *f, hs_addr loader, hs_addr *mirror_ret)
{
	hs_addr addr = klass(f, "app/Main$$Lambda$1", 16, f->object, true), slot = meta(f, 8);

	hs_fake_fill(f->fake, ANONYMOUS_CLD, 0, 64);
	hs_fake_u64(f->fake, slot, loader);
	hs_fake_u64(f->fake, ANONYMOUS_CLD + 8, slot);
	hs_fake_u64(f->fake, addr + 40, ANONYMOUS_CLD);
	assert_null(hs_target_read_u64(hs_fake_target(f->fake), addr + 32, &slot));
	assert_null(hs_target_read_u64(hs_fake_target(f->fake), slot, mirror_ret));
	return addr;
}

static void assert_name(struct fixture *f, hs_addr addr, const char *expected)
{
	const struct hs_klass *decoded;

	hs_map64_deinit(&f->jvm->klasses); // not from the cache
	f->jvm->klasses = (struct hs_map64){0};
	assert_null(hs_klass_get(f->jvm, addr, &decoded));
	assert_string_equal(decoded->name, "app/Main$$Lambda$1");
	assert_string_equal(decoded->external_name, expected);
}

static hs_addr loader_of_8(struct fixture *f)
{
	hs_addr class_loader = klass(f, "java/lang/ClassLoader", 32, f->object, false);

	set_fields(f, class_loader,
	           (struct field[]){
			   {"loader_data", "J", 24, false, false}
        },
	           1);
	set_static(f, HS_F_system_dictionary, 0);
	set_static(f, HS_F_known_object, f->object);
	set_static(f, HS_F_known_class_loader, class_loader);
	f->jvm->layout.fields[HS_F_basic_lock_header].present = true;
	hs_addr loader = object(f, class_loader, 32);
	hs_fake_u64(f->fake, loader + 24, APP_CLD);
	hs_fake_u64(f->fake, APP_CLD + 8, meta(f, 8));
	return loader;
}

/** 8: "/" and the identity hash of the mirror, wherever the header of that is just now. */
static void anonymous_classes_of_8(void **state)
{
	struct fixture *f = *state;
	hs_addr mirror, loader = loader_of_8(f), addr = anonymous_class(f, loader, &mirror);
	hs_addr monitor = meta(f, 64), lock = meta(f, 16), hashed = 77 << 8 | 1;

	assert_name(f, addr, "app.Main$$Lambda$1"); // never hashed
	hs_fake_u64(f->fake, mirror, hashed);
	assert_name(f, addr, "app.Main$$Lambda$1/77");
	hs_fake_u64(f->fake, mirror, monitor | 2);
	hs_fake_u64(f->fake, monitor, hashed);
	assert_name(f, addr, "app.Main$$Lambda$1/77");
	hs_fake_u64(f->fake, mirror, lock);
	hs_fake_u64(f->fake, lock, hashed);
	assert_name(f, addr, "app.Main$$Lambda$1/77");
	hs_fake_u64(f->fake, mirror, 0x7f0012345405); // biased
	assert_name(f, addr, "app.Main$$Lambda$1");
	hs_fake_u64(f->fake, mirror, hashed);
	hs_fake_u64(f->fake, loader + 24, ANONYMOUS_CLD); // the loader's only one
	hs_map64_deinit(&f->jvm->own_clds);
	f->jvm->own_clds = (struct hs_map64){0};
	assert_name(f, addr, "app.Main$$Lambda$1");
}

static void anonymous_classes_of_11(void **state)
{
	struct fixture *f = *state;
	hs_addr mirror, addr = anonymous_class(f, 0, &mirror);
	char expected[64];

	f->jvm->layout.fields[HS_F_cld_is_anonymous] =
		(struct hs_layout_field){.present = true, .offset = 32};
	assert_name(f, addr, "app.Main$$Lambda$1");
	hs_fake_u8(f->fake, ANONYMOUS_CLD + 32, 1);
	snprintf(expected, sizeof(expected), "app.Main$$Lambda$1/0x%016llx",
	         (unsigned long long)addr);
	assert_name(f, addr, expected);
}

/** The class of the loader of ClassLoader is ClassLoader: no recursion without end. */
static void anonymous_class_of_a_circle(void **state)
{
	struct fixture *f = *state;
	hs_addr mirror, loader = loader_of_8(f), addr = anonymous_class(f, loader, &mirror);

	set_static(f, HS_F_known_class_loader, addr);
	assert_name(f, addr, "app.Main$$Lambda$1");
}

static void refuses_what_is_no_class(void **state)
{
	struct fixture *f = *state;
	const struct hs_klass *decoded;
	hs_addr good = klass(f, "app/Good", 16, f->object, true);

	assert_code(hs_klass_get(f->jvm, 0, &decoded), HS_ERR_BAD_DATA);
	assert_code(hs_klass_get(f->jvm, good + 1, &decoded), HS_ERR_BAD_DATA);
	assert_code(hs_klass_get(f->jvm, 0xdead0000, &decoded), HS_ERR_FAULT);
	assert_code(hs_klass_get(f->jvm, UINT64_MAX - 7, &decoded), HS_ERR_FAULT);
	hs_addr array = klass(f, "[Odd", 16, f->object, true); // an array that is no array
	assert_code(hs_klass_get(f->jvm, array, &decoded), HS_ERR_BAD_DATA);
	hs_addr unnamed = klass(f, "", 16, f->object, true);
	assert_code(hs_klass_get(f->jvm, unnamed, &decoded), HS_ERR_BAD_DATA);
	hs_addr binary = klass(f, "a\xf5z", 16, f->object, true);
	assert_code(hs_klass_get(f->jvm, binary, &decoded), HS_ERR_BAD_DATA);
	hs_addr homeless = klass(f, "app/Homeless", 16, f->object, true);
	hs_fake_u64(f->fake, homeless + 40, 0);
	assert_code(hs_klass_get(f->jvm, homeless, &decoded), HS_ERR_BAD_DATA);
	hs_addr long_name = klass(f, "app/Long", 16, f->object, true);
	hs_fake_u16(f->fake, f->next_meta, 0); // reachable memory behind it
	hs_addr name = meta(f, 16);
	hs_fake_u16(f->fake, name + 4, 65535);
	hs_fake_u64(f->fake, long_name + 16, name);
	assert_code(hs_klass_get(f->jvm, long_name, &decoded), HS_ERR_BAD_DATA);
	assert_null(hs_klass_get(f->jvm, good, &decoded));
}

static void ends_on_a_circle_of_supers(void **state)
{
	struct fixture *f = *state;
	hs_addr a = klass(f, "app/A", 16, f->object, true), b = klass(f, "app/B", 16, a, true);
	const struct hs_klass *decoded;
	const struct hs_jfield *field;

	set_fields(f, a, NULL, 0);
	set_fields(f, b, NULL, 0);
	assert_null(hs_klass_get(f->jvm, b, &decoded));
	assert_true(hs_klass_is_a(f->jvm, decoded, "java/lang/Object"));
	assert_false(hs_klass_is_a(f->jvm, decoded, "java/lang/ClassLoader"));
	hs_addr c = klass(f, "app/C", 16, 0, true), d = klass(f, "app/D", 16, c, true);
	hs_fake_u64(f->fake, c + 24, d);
	set_fields(f, c, NULL, 0);
	set_fields(f, d, NULL, 0);
	assert_null(hs_klass_get(f->jvm, d, &decoded));
	assert_false(hs_klass_is_a(f->jvm, decoded, "java/lang/Object"));
	assert_code(hs_klass_field(f->jvm, decoded, "x", &field), HS_ERR_BAD_DATA);
}

static struct hs_err *count_class(void *arg, hs_addr addr)
{
	(void)addr;
	++*(size_t *)arg;
	return NULL;
}

static void finds_classes_by_name(void **state)
{
	struct fixture *f = *state;
	const struct hs_klass *decoded;
	hs_addr loader;
	size_t count = 0;

	klass(f, "dup/Name", 16, f->object, true);
	hs_addr boot = klass(f, "dup/Name", 16, f->object, false);
	hs_addr app = klass(f, "app/Only", 16, f->object, true);
	assert_null(hs_klass_find(f->jvm, "dup/Name", &decoded));
	assert_int_equal(decoded->addr, boot);
	assert_null(hs_klass_loader(f->jvm, decoded, &loader));
	assert_int_equal(loader, 0);
	assert_null(hs_klass_find(f->jvm, "app/Only", &decoded));
	assert_int_equal(decoded->addr, app);
	assert_null(hs_klass_loader(f->jvm, decoded, &loader));
	assert_true(loader >= HEAP);
	assert_code(hs_klass_find(f->jvm, "no/Such", &decoded), HS_ERR_ABSENT);
	assert_null(hs_klass_each(f->jvm, count_class, &count));
	assert_int_equal(count, 7);
	assert_int_equal(f->snapshot->gaps.len, f->gaps);
}

static void class_lists_may_be_broken(void **state)
{
	struct fixture *f = *state;
	const struct hs_klass *decoded;
	size_t count = 0;

	// A list that runs in a circle, an entry that is no class, and loaders in a circle.
	hs_addr a = klass(f, "app/A", 16, f->object, true);
	hs_addr bad = klass(f, "[bad", 16, f->object, true);
	hs_addr b = klass(f, "app/B", 16, f->object, true);
	(void)bad;
	hs_fake_u64(f->fake, a + 48, b);
	hs_fake_u64(f->fake, BOOT_CLD + 24, APP_CLD);
	assert_null(hs_klass_find(f->jvm, "app/A", &decoded));
	assert_null(hs_klass_find(f->jvm, "app/B", &decoded));
	assert_null(hs_klass_each(f->jvm, count_class, &count));
	assert_int_equal(count, 6);
	assert_int_equal(f->snapshot->gaps.len, f->gaps + 2);
}

// ---- forwarding

static void follows_forwarding_pointers(void **state)
{
	struct fixture *f = *state;
	hs_addr old = object(f, f->object, 16), copy = object(f, f->object, 16);
	hs_addr holder = object(f, f->oops, 24), oop;

	hs_fake_u32(f->fake, holder + 12, 1);
	hs_fake_u32(f->fake, holder + 16, (uint32_t)old);
	hs_fake_u64(f->fake, old, copy | 3);
	assert_null(hs_oop_array_get(f->jvm, holder, 0, &oop));
	assert_int_equal(oop, old); // no collector that forwards is at work
	f->jvm->use_shenandoah = true;
	assert_null(hs_oop_array_get(f->jvm, holder, 0, &oop));
	assert_int_equal(oop, copy);
	hs_fake_u64(f->fake, old, 0xdead0000 | 3); // not copied yet
	assert_null(hs_oop_array_get(f->jvm, holder, 0, &oop));
	assert_int_equal(oop, old);
	hs_fake_u64(f->fake, old, 7); // forwarded to itself (24+)
	assert_int_equal(hs_oop_resolve(f->jvm, old), old);
	assert_int_equal(hs_oop_resolve(f->jvm, 0), 0);
	f->jvm->use_shenandoah = false;
}

static void reads_compact_headers(void **state)
{
	struct fixture *f = *state;
	const struct hs_klass *decoded;
	hs_addr oop = object(f, 0, 16);

	f->jvm->compact_headers = true;
	f->jvm->mark_klass_shift = 42;
	f->jvm->narrow_klass_base = f->object - (5 << 10);
	f->jvm->narrow_klass_shift = 10;
	hs_fake_u64(f->fake, oop, UINT64_C(5) << 42 | UINT64_C(0x7fffff) << 11 | 1);
	assert_null(hs_oop_klass(f->jvm, oop, &decoded));
	assert_string_equal(decoded->name, "java/lang/Object");
}

// ---- methods

/** Method of app.Run: file, line stream; code of 40 bytes. */
static hs_addr make_method(struct fixture *f, const char *descriptor, uint16_t access,
                           const uint8_t *lines, size_t lines_len)
{
	hs_addr holder = klass(f, "app/Run", 16, f->object, true);
	const char *texts[] = {"run", descriptor, "Run.java"};
	hs_addr pool = constant_pool(f, holder, texts, 3);
	hs_addr method = meta(f, 32), const_method = meta(f, 256);

	hs_fake_u16(f->fake, pool + 16, 3);
	hs_fake_u64(f->fake, method + 8, const_method);
	hs_fake_u16(f->fake, method + 16, access);
	hs_fake_u64(f->fake, const_method, pool);
	hs_fake_u32(f->fake, const_method + 8, 256 / 8);
	hs_fake_u16(f->fake, const_method + 12, 40);
	hs_fake_u16(f->fake, const_method + 14, 1);
	hs_fake_u16(f->fake, const_method + 16, 2);
	hs_fake_u32(f->fake, const_method + 20, lines_len ? 1 : 0);
	hs_fake_memory(f->fake, const_method + 32 + 40, lines, lines_len);
	return method;
}

static void reads_methods(void **state)
{
	struct fixture *f = *state;
	uint8_t bias = f->is_25; // bci 0: 5 and 10; 5: 12; escape to 5+3: 12-4; 31: 8
	const uint8_t lines[] = {0 << 3 | 5,          0 << 3 | 5,          5 << 3 | 2, 0xff,
	                         (uint8_t)(6 + bias), (uint8_t)(7 + bias), 23 << 3,    0};
	struct hs_method *method, *again;
	hs_addr addr = make_method(f, "(I)V", 0x28, lines, sizeof(lines));

	assert_null(hs_method_get(f->jvm, addr, &method));
	assert_string_equal(method->name, "run");
	assert_string_equal(method->descriptor, "(I)V");
	assert_string_equal(method->file, "Run.java");
	assert_string_equal(method->holder->external_name, "app.Run");
	assert_int_equal(method->code_size, 40);
	assert_true(method->is_static && method->is_synchronized && !method->is_native);
	assert_int_equal(method->num_lines, 5);
	static const int32_t expected[][2] = {
		{-1, -1},
                {0,  5 },
                {4,  10},
                {5,  12},
                {7,  12},
                {8,  8 },
                {30, 8 },
                {31, 8 },
                {39, 8 },
	};
	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
		assert_int_equal(hs_method_line(method, expected[i][0]), expected[i][1]);
	assert_null(hs_method_get(f->jvm, addr, &again));
	assert_ptr_equal(method, again);

	const struct hs_location *location =
		hs_method_location(f->jvm, method, HS_FRAME_COMPILED, 4, 5);
	assert_string_equal(location->class_name, "app.Run");
	assert_int_equal(location->line, 12);
	assert_int_equal(location->tier, 4);
	assert_ptr_equal(location, hs_method_location(f->jvm, method, HS_FRAME_COMPILED, 4, 5));
	assert_ptr_not_equal(location, hs_method_location(f->jvm, method, HS_FRAME_COMPILED, 3, 5));
	assert_ptr_not_equal(location, hs_method_location(f->jvm, method, HS_FRAME_INLINED, 4, 5));
	assert_int_equal(hs_method_location(f->jvm, method, HS_FRAME_COMPILED, 4, -1)->line, -1);
}

static void native_methods_have_no_line(void **state)
{
	struct fixture *f = *state;
	struct hs_method *method;

	assert_null(hs_method_get(f->jvm, make_method(f, "()V", 0x100, NULL, 0), &method));
	const struct hs_location *location =
		hs_method_location(f->jvm, method, HS_FRAME_INTERPRETED, 0, 3);
	assert_true(location->is_native_method);
	assert_int_equal(location->line, -1);
	assert_int_equal(location->bci, -1);
}

static void refuses_what_is_no_method(void **state)
{
	struct fixture *f = *state;
	struct hs_method *method;
	const uint8_t lines[] = {0xff, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 0};

	assert_code(hs_method_get(f->jvm, 0, &method), HS_ERR_BAD_DATA);
	assert_code(hs_method_get(f->jvm, 0x1234, &method), HS_ERR_BAD_DATA);
	assert_code(hs_method_get(f->jvm, 0xdead0000, &method), HS_ERR_FAULT);
	assert_code(hs_method_get(f->jvm, make_method(f, "no descriptor", 0, NULL, 0), &method),
	            HS_ERR_BAD_DATA);
	// A wild line table costs the lines, not the method.
	assert_null(hs_method_get(f->jvm, make_method(f, "()V", 0, lines, sizeof(lines)), &method));
	assert_int_equal(method->num_lines, 0);
}

int main(void)
{
#define BOTH(name)                                                 \
	cmocka_unit_test_setup_teardown(name, setup_17, teardown), \
		cmocka_unit_test_setup_teardown(name, setup_25, teardown)
	const struct CMUnitTest tests[] = {
		BOTH(reads_fields),
		BOTH(refuses_broken_fields),
		cmocka_unit_test_setup_teardown(skips_flat_fields, setup_25, teardown),
		BOTH(reads_strings),
		BOTH(reads_strings_of_8),
		BOTH(caps_array_lengths),
		BOTH(walks_a_map),
		BOTH(ends_on_a_circle_of_tables),
		BOTH(names_classes_as_jstack_does),
		cmocka_unit_test_setup_teardown(anonymous_classes_of_8, setup_17, teardown),
		cmocka_unit_test_setup_teardown(anonymous_classes_of_11, setup_17, teardown),
		cmocka_unit_test_setup_teardown(anonymous_class_of_a_circle, setup_17, teardown),
		BOTH(refuses_what_is_no_class),
		BOTH(ends_on_a_circle_of_supers),
		BOTH(finds_classes_by_name),
		BOTH(class_lists_may_be_broken),
		BOTH(follows_forwarding_pointers),
		BOTH(reads_compact_headers),
		BOTH(reads_methods),
		BOTH(native_methods_have_no_line),
		BOTH(refuses_what_is_no_method),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
