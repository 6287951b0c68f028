// SPDX-License-Identifier: Apache-2.0
/** @file Strings and maps: the few library classes whose insides we read. */

#include <string.h>

#include "core/base/cleanup.h"
#include "core/jvm/jvm_internal.h"

// ---- java.lang.String

enum {
	UTF8_MAX = 3, // bytes per UTF-16 unit; a surrogate pair makes 4 of two
	REPLACEMENT = 0xfffd,
};

static char *utf8_put(char *out, uint32_t c)
{
	// A NUL would end the C string early.
	if (!c || (c >= 0xd800 && c < 0xe000))
		c = REPLACEMENT;
	if (c < 0x80) {
		*out++ = (char)c;
	} else if (c < 0x800) {
		*out++ = (char)(0xc0 | c >> 6);
		*out++ = (char)(0x80 | (c & 0x3f));
	} else if (c < 0x10000) {
		*out++ = (char)(0xe0 | c >> 12);
		*out++ = (char)(0x80 | (c >> 6 & 0x3f));
		*out++ = (char)(0x80 | (c & 0x3f));
	} else {
		*out++ = (char)(0xf0 | c >> 18);
		*out++ = (char)(0x80 | (c >> 12 & 0x3f));
		*out++ = (char)(0x80 | (c >> 6 & 0x3f));
		*out++ = (char)(0x80 | (c & 0x3f));
	}
	return out;
}

static void utf8_from_latin1(const uint8_t *in, size_t len, char *out)
{
	for (size_t i = 0; i < len; i++)
		out = utf8_put(out, in[i]);
	*out = '\0';
}

static uint16_t utf16_unit(const uint8_t *in, size_t i)
{
	return (uint16_t)(in[2 * i] | in[2 * i + 1] << 8);
}

static void utf8_from_utf16(const uint8_t *in, size_t len, char *out)
{
	for (size_t i = 0; i < len; i++) {
		uint32_t c = utf16_unit(in, i);
		uint32_t low = i + 1 < len ? utf16_unit(in, i + 1) : 0;

		if (c >= 0xd800 && c < 0xdc00 && low >= 0xdc00 && low < 0xe000) {
			c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
			i++;
		}
		out = utf8_put(out, c);
	}
	*out = '\0';
}

/** Bytes per character: 9+ has a coder (0 Latin-1, 1 UTF-16), 8 a char[]. */
static struct hs_err *string_width(struct hs_jvm *jvm, hs_addr string, unsigned *ret)
{
	int64_t coder;

	struct hs_err *err = hs_oop_get_int(jvm, string, "coder", &coder);
	if (hs_err_catch(&err, HS_ERR_ABSENT))
		coder = 1;
	if (err)
		return err;
	if (coder != 0 && coder != 1)
		return hs_err_new(HS_ERR_BAD_DATA, "string 0x%llx has coder %lld",
		                  (unsigned long long)string, (long long)coder);
	*ret = coder ? 2 : 1;
	return NULL;
}

/** Characters in the value array of a string. */
static struct hs_err *string_length(struct hs_jvm *jvm, hs_addr value, unsigned width, size_t *ret)
{
	const struct hs_klass *klass;
	uint32_t length;

	struct hs_err *err = hs_oop_klass(jvm, value, &klass);
	if (!err)
		err = hs_oop_array_count(jvm, value, &length);
	if (err)
		return err;
	if (!strcmp(klass->name, "[B"))
		*ret = length / width;
	else if (!strcmp(klass->name, "[C") && width == 2)
		*ret = length;
	else
		return hs_err_new(HS_ERR_BAD_DATA, "the value of a string is a %s",
		                  klass->external_name);
	return NULL;
}

/** An array that is cut short must have an end: a name is not what follows a damaged one. */
static struct hs_err *check_end(struct hs_jvm *jvm, hs_addr value, size_t len, unsigned width)
{
	uint16_t last;

	struct hs_err *err = hs_target_read(
		jvm->target, hs_oop_array_elem(jvm, value, (uint32_t)len - 1, width), &last, width);
	if (hs_err_catch(&err, HS_ERR_FAULT))
		err = hs_err_new(HS_ERR_BAD_DATA,
		                 "a string of %zu characters goes past the end of the heap", len);
	return err;
}

struct hs_err *hs_oop_text(struct hs_jvm *jvm, hs_addr string, size_t max, const char **ret,
                           size_t *length_ret)
{
	unsigned width = 1;
	hs_addr value;
	size_t len = 0;

	if (!string) {
		*ret = NULL;
		return NULL;
	}
	struct hs_err *err = hs_oop_get_oop(jvm, string, "value", &value);
	if (!err)
		err = string_width(jvm, string, &width);
	if (!err)
		err = string_length(jvm, value, width, &len);
	if (err)
		return err;
	if (length_ret)
		*length_ret = len;
	if (len > max) {
		err = check_end(jvm, value, len, width);
		if (err)
			return err;
		len = max;
	}
	uint8_t *bytes = hs_arena_calloc(jvm->arena, len + 1, width);
	char *text = hs_arena_calloc(jvm->arena, len + 1, UTF8_MAX);
	if (!bytes || !text)
		return hs_err_oom();
	err = hs_target_read(jvm->target, hs_oop_array_elem(jvm, value, 0, width), bytes,
	                     len * width);
	if (err)
		return err;
	if (width == 1)
		utf8_from_latin1(bytes, len, text);
	else
		utf8_from_utf16(bytes, len, text);
	*ret = text;
	return NULL;
}

struct hs_err *hs_oop_string(struct hs_jvm *jvm, hs_addr string, size_t max, const char **ret)
{
	if (!string || !jvm->snapshot->redact)
		return hs_oop_text(jvm, string, max, ret, NULL);
	*ret = HS_REDACTED;
	return NULL;
}

// ---- java.util.concurrent.ConcurrentHashMap

enum {
	CHM_MAX_TABLES = 4, // a table, and the ones that resizes in flight lead to
};

struct chm_walk {
	struct hs_jvm *jvm;
	struct hs_err *(*fn)(void *arg, hs_addr key, hs_addr value);
	void *arg;
	size_t budget;      // nodes left: bounds chains and breaks cycles
	hs_addr next_table; // 0, or where a resize has moved bins to
};

static bool name_ends(const struct hs_klass *klass, const char *tail)
{
	size_t len = strlen(klass->name), tail_len = strlen(tail);

	return len >= tail_len && !strcmp(klass->name + len - tail_len, tail);
}

static struct hs_err *chm_entry(struct chm_walk *walk, hs_addr node, hs_addr *next_ret)
{
	hs_addr key, value;

	struct hs_err *err = hs_oop_get_oop(walk->jvm, node, "key", &key);
	if (!err)
		err = hs_oop_get_oop(walk->jvm, node, "val", &value);
	if (!err)
		err = hs_oop_get_oop(walk->jvm, node, "next", next_ret);
	// A ReservationNode has neither; a Node always has a key.
	if (!err && key)
		err = walk->fn(walk->arg, key, value);
	return err;
}

static struct hs_err *chm_bin(struct chm_walk *walk, hs_addr node)
{
	while (node) {
		const struct hs_klass *klass;
		hs_addr next;

		if (!walk->budget--)
			return hs_err_new(HS_ERR_BAD_DATA, "a map has more than %d nodes",
			                  HS_MAX_ARRAY);
		struct hs_err *err = hs_oop_klass(walk->jvm, node, &klass);
		if (err)
			return err;
		if (name_ends(klass, "$ForwardingNode"))
			return hs_oop_get_oop(walk->jvm, node, "nextTable", &walk->next_table);
		if (name_ends(klass, "$TreeBin"))
			err = hs_oop_get_oop(walk->jvm, node, "first", &next);
		else
			err = chm_entry(walk, node, &next);
		if (err)
			return err;
		node = next;
	}
	return NULL;
}

static struct hs_err *chm_table(struct chm_walk *walk, hs_addr table)
{
	struct hs_jvm *jvm = walk->jvm;
	uint32_t length;

	struct hs_err *err = hs_oop_array_length(jvm, table, &length);
	for (uint32_t i = 0; !err && i < length; i++) {
		hs_addr node;

		err = hs_oop_load(jvm, hs_oop_array_elem(jvm, table, i, 0), &node);
		if (!err && node)
			err = chm_bin(walk, node);
	}
	return err;
}

struct hs_err *hs_oop_each_chm(struct hs_jvm *jvm, hs_addr map,
                               struct hs_err *(*fn)(void *arg, hs_addr key, hs_addr value),
                               void *arg)
{
	struct chm_walk walk = {.jvm = jvm, .fn = fn, .arg = arg, .budget = HS_MAX_ARRAY};
	hs_addr table;

	struct hs_err *err = hs_oop_get_oop(jvm, map, "table", &table);
	// Bins that a resize has moved are in its new table, and only those are.
	for (size_t i = 0; !err && table && i < CHM_MAX_TABLES; i++) {
		walk.next_table = 0;
		err = chm_table(&walk, table);
		table = walk.next_table;
	}
	return err;
}
