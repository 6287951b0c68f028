// SPDX-License-Identifier: Apache-2.0
/** @file Local values: objects and primitives in a reader's words. Everything is checked first. */

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/jvm/java_frames.h"

enum {
	MAX_DIMENSIONS = 255, /**< of an array type (JVMS 4.3.2) */

	// Lock bits of a mark word in which it holds the hash itself (markWord.hpp, 8 to 28).
	MARK_LOCK_MASK = 3,
	MARK_UNLOCKED = 1,
	MARK_FAST_LOCKED = 0,   /**< with LockStacks; before, the hash moved with the header */
	MARK_UNLOCKED_MASK = 7, /**< bit 2: biased in 8..17, self-forwarded in 24+ */
};

// ---- types

static const char *primitive_type(char type)
{
	switch (type) {
	case 'B':
		return "byte";
	case 'C':
		return "char";
	case 'D':
		return "double";
	case 'F':
		return "float";
	case 'I':
		return "int";
	case 'J':
		return "long";
	case 'S':
		return "short";
	case 'Z':
		return "boolean";
	default:
		return NULL;
	}
}

const char *hs_type_words(struct hs_arena *arena, const char *descriptor)
{
	size_t dimensions = strspn(descriptor, "[");
	const char *element = descriptor + dimensions;
	const char *primitive = primitive_type(element[0]);
	size_t len = strlen(element);

	if (dimensions > MAX_DIMENSIONS)
		return hs_arena_strdup(arena, descriptor);
	if (!primitive && element[0] == 'L' && len > 2 && element[len - 1] == ';') {
		element++;
		len -= 2;
	} else if (primitive && len == 1) {
		element = primitive;
		len = strlen(primitive);
	} else {
		return hs_arena_strdup(arena, descriptor);
	}
	char *words = hs_arena_alloc(arena, len + dimensions * 2 + 1);
	if (!words)
		return NULL;
	for (size_t i = 0; i < len; i++)
		words[i] = element[i] == '/' ? '.' : element[i];
	for (size_t i = 0; i < dimensions; i++)
		memcpy(words + len + i * 2, "[]", 2);
	words[len + dimensions * 2] = '\0';
	return words;
}

// ---- primitives

/** The shortest decimal that reads back as the same number. */
static void put_real(char *text, size_t size, double value, bool is_float)
{
	if (isnan(value)) {
		snprintf(text, size, "NaN");
		return;
	}
	if (isinf(value)) {
		snprintf(text, size, value < 0 ? "-Infinity" : "Infinity");
		return;
	}
	for (int digits = 1; digits <= 17; digits++) {
		snprintf(text, size, "%.*g", digits, value);
		if (is_float ? strtof(text, NULL) == (float)value : strtod(text, NULL) == value)
			break;
	}
	if (!strpbrk(text, ".e"))
		snprintf(text + strlen(text), size - strlen(text), ".0");
}

static void put_char(char *text, size_t size, uint16_t value)
{
	if (value >= ' ' && value < 0x7f && value != '\'' && value != '\\')
		snprintf(text, size, "'%c'", value);
	else
		snprintf(text, size, "'\\u%04x'", value);
}

struct hs_err *hs_local_set_primitive(struct hs_jvm *jvm, struct hs_local *local, char type,
                                      uint64_t bits)
{
	char text[64];
	uint32_t half = (uint32_t)bits;
	double wide;
	float narrow;

	local->kind = HS_LOCAL_PRIMITIVE;
	if (jvm->snapshot->redact)
		return NULL;
	switch (type) {
	case 'Z':
		if (half <= 1)
			snprintf(text, sizeof(text), half ? "true" : "false");
		else // no javac writes that; other tools do
			snprintf(text, sizeof(text), "%" PRId32, (int32_t)half);
		break;
	case 'C':
		put_char(text, sizeof(text), (uint16_t)half);
		break;
	case 'J':
		snprintf(text, sizeof(text), "%" PRId64, (int64_t)bits);
		break;
	case 'F':
		memcpy(&narrow, &half, sizeof(narrow));
		put_real(text, sizeof(text), (double)narrow, true);
		break;
	case 'D':
		memcpy(&wide, &bits, sizeof(wide));
		put_real(text, sizeof(text), wide, false);
		break;
	default:
		snprintf(text, sizeof(text), "%" PRId32, (int32_t)half);
		break;
	}
	local->value = hs_arena_strdup(jvm->arena, text);
	return local->value ? NULL : hs_err_oom();
}

// ---- objects

static uint32_t identity_hash(struct hs_jvm *jvm, hs_addr oop)
{
	static const char *const shifts[] = {"markWord::hash_shift", "markOopDesc::hash_shift"};
	static const char *const masks[] = {"markWord::hash_mask", "markOopDesc::hash_mask"};
	int64_t shift = 0, mask = 0;
	uint64_t mark;
	bool found = false;

	for (size_t i = 0; !found && i < sizeof(shifts) / sizeof(*shifts); i++)
		found = hs_vmstructs_constant(jvm->vm, shifts[i], &shift) &&
		        hs_vmstructs_constant(jvm->vm, masks[i], &mask);
	struct hs_err *err = hs_oop_mark(jvm, oop, &mark);
	if (err || !found || shift < 0 || shift > 63) {
		hs_err_free(err); // an object without a hash that can be told
		return 0;
	}
	bool is_fast_locked = jvm->locking_mode == HS_LOCKING_LIGHTWEIGHT &&
	                      (mark & MARK_LOCK_MASK) == MARK_FAST_LOCKED;
	if (!is_fast_locked && (mark & MARK_UNLOCKED_MASK) != MARK_UNLOCKED)
		return 0;
	return (uint32_t)(mark >> shift & (uint64_t)mask);
}

/** The number in a box, of the type of its field. */
static struct hs_err *set_box(struct hs_jvm *jvm, struct hs_local *local,
                              const struct hs_klass *klass)
{
	struct hs_err *err;
	const struct hs_jfield *field;
	uint64_t bits = 0;

	err = hs_klass_field(jvm, klass, "value", &field);
	if (err)
		return err;
	if (field->is_static || !primitive_type(field->signature[0]))
		return hs_err_new(HS_ERR_BAD_DATA, "the value of a %s is a %s",
		                  klass->external_name, field->signature);
	char type = field->signature[0];
	size_t size = strchr("JD", type) ? 8 : strchr("IF", type) ? 4 : strchr("CS", type) ? 2 : 1;
	err = hs_target_read(jvm->target, local->address + field->offset, &bits, size);
	if (err)
		return err;
	if (type == 'B')
		bits = (uint64_t)(int8_t)bits;
	if (type == 'S')
		bits = (uint64_t)(int16_t)bits;
	err = hs_local_set_primitive(jvm, local, type, bits);
	local->kind = HS_LOCAL_OBJECT;
	return err;
}

static struct hs_err *set_string(struct hs_jvm *jvm, struct hs_local *local)
{
	size_t length = 0;
	struct hs_err *err =
		hs_oop_text(jvm, local->address, HS_MAX_LOCAL_TEXT, &local->value, &length);

	local->length = err ? -1 : (int64_t)length;
	return err;
}

/** The "name" of a Thread or of an enum's constant. */
static struct hs_err *set_name(struct hs_jvm *jvm, struct hs_local *local)
{
	hs_addr name = 0;
	struct hs_err *err = hs_oop_get_oop(jvm, local->address, "name", &name);

	return err ? err : hs_oop_string(jvm, name, HS_MAX_LOCAL_TEXT, &local->value);
}

static bool is_box(const char *name)
{
	static const char *const boxes[] = {"Boolean", "Byte", "Character", "Double",
	                                    "Float",   "Long", "Integer",   "Short"};
	static const char prefix[] = "java/lang/";

	if (strncmp(name, prefix, sizeof(prefix) - 1) != 0)
		return false;
	for (size_t i = 0; i < sizeof(boxes) / sizeof(*boxes); i++) {
		if (!strcmp(name + sizeof(prefix) - 1, boxes[i]))
			return true;
	}
	return false;
}

const char *hs_class_words(struct hs_arena *arena, const char *name)
{
	return name[0] == '[' ? hs_type_words(arena, name) : name;
}

/** The class that a java.lang.Class is. */
static struct hs_err *set_mirrored(struct hs_jvm *jvm, struct hs_local *local)
{
	const char *name;
	struct hs_err *err = hs_mirror_class_name(jvm, local->address, &name);

	if (err)
		return err;
	local->value = hs_class_words(jvm->arena, name);
	return local->value ? NULL : hs_err_oom();
}

/** What the classes that everybody knows hold. */
static struct hs_err *set_contents(struct hs_jvm *jvm, struct hs_local *local,
                                   const struct hs_klass *klass)
{
	struct hs_err *err;
	uint32_t length;

	if (!strcmp(klass->name, "java/lang/Class"))
		return set_mirrored(jvm, local);
	if (jvm->snapshot->redact)
		return NULL;
	if (klass->layout_helper < 0) {
		err = hs_oop_array_count(jvm, local->address, &length);
		local->length = err ? -1 : (int64_t)length;
		return err;
	}
	if (!strcmp(klass->name, "java/lang/String"))
		return set_string(jvm, local);
	if (is_box(klass->name))
		return set_box(jvm, local, klass);
	if (hs_klass_is_a(jvm, klass, "java/lang/Enum") ||
	    hs_klass_is_a(jvm, klass, "java/lang/Thread"))
		return set_name(jvm, local);
	return NULL;
}

struct hs_err *hs_local_set_object(struct hs_jvm *jvm, struct hs_local *local, hs_addr oop,
                                   struct hs_err **why_ret)
{
	struct hs_err *err;
	const struct hs_klass *klass;

	*why_ret = NULL;
	local->length = -1;
	local->kind = HS_LOCAL_NULL;
	if (!oop)
		return NULL;
	oop = hs_oop_resolve(jvm, oop);
	err = hs_oop_klass(jvm, oop, &klass);
	if (!err && !klass->layout_helper)
		err = hs_err_new(HS_ERR_BAD_DATA, "0x%" PRIx64 " would be an object of %s", oop,
		                 klass->external_name);
	if (err && hs_err_code(err) == HS_ERR_OOM)
		return err;
	if (err) {
		local->kind = HS_LOCAL_UNREADABLE;
		*why_ret = err;
		return NULL;
	}
	local->kind = HS_LOCAL_OBJECT;
	local->address = oop;
	local->hash = identity_hash(jvm, oop);
	local->class_name = hs_class_words(jvm->arena, klass->external_name);
	if (!local->class_name)
		return hs_err_oom();
	err = set_contents(jvm, local, klass);
	if (err && hs_err_code(err) == HS_ERR_OOM)
		return err;
	*why_ret = err; // its class is known, what it holds is not
	return NULL;
}
