// SPDX-License-Identifier: Apache-2.0
/** @file Classes: Klass * to name, superclass, loader, mirror. Nothing is trusted. */

#include <inttypes.h>
#include <string.h>

#include "core/jvm/jvm_internal.h"

enum {
	KLASS_PREFIX = 512, // bytes of a Klass that are read at once; 200 are used in 17..25
	SYMBOL_PREFIX = 64, // most names are shorter
	MAX_SUPERS = 1024,  // depth of a class hierarchy
	PAGE = 4096,
};

// ---- symbols

/** Modified UTF-8 (JVMS 4.4.7) has no zero byte, and none above 0xef. */
static bool is_modified_utf8(const unsigned char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (!text[i] || text[i] >= 0xf0)
			return false;
	}
	return true;
}

static struct hs_err *read_symbol(struct hs_jvm *jvm, hs_addr symbol, char **ret)
{
	uint64_t length_at = hs_layout_offset(&jvm->layout, HS_F_symbol_length);
	hs_addr body = symbol + hs_layout_offset(&jvm->layout, HS_F_symbol_body);
	uint16_t len;

	// Symbols are allocated with malloc or lie in the CDS archive: aligned either way.
	if (!symbol || symbol % 8)
		return hs_err_new(HS_ERR_BAD_DATA, "0x%" PRIx64 " is no Symbol", symbol);
	struct hs_err *err = hs_target_read_u16(jvm->target, symbol + length_at, &len);
	if (err)
		return err;
	if (len > HS_MAX_NAME)
		return hs_err_new(HS_ERR_BAD_DATA, "Symbol 0x%" PRIx64 " has %u bytes", symbol,
		                  len);
	char *text = hs_arena_alloc(jvm->arena, (size_t)len + 1);
	if (!text)
		return hs_err_oom();
	err = hs_target_read(jvm->target, body, text, len);
	if (err)
		return err;
	if (!is_modified_utf8((unsigned char *)text, len))
		return hs_err_new(HS_ERR_BAD_DATA, "Symbol 0x%" PRIx64 " holds no text", symbol);
	*ret = text;
	return NULL;
}

struct hs_err *hs_symbol(struct hs_jvm *jvm, hs_addr symbol, const char **ret)
{
	char *text = hs_map64_get(&jvm->symbols, symbol);

	if (!text) {
		struct hs_err *err = read_symbol(jvm, symbol, &text);
		if (err)
			return err;
		if (!hs_map64_put(&jvm->symbols, symbol, text))
			return hs_err_oom();
	}
	*ret = text;
	return NULL;
}

// ---- one class

/** The first bytes of a Klass, and which field lies where in them. */
struct klass_image {
	const struct hs_layout *layout;
	size_t len;
	unsigned char bytes[KLASS_PREFIX];
};

static uint64_t image_get(const struct klass_image *image, enum hs_field field, size_t size)
{
	uint64_t offset = hs_layout_offset(image->layout, field);
	uint64_t value = 0;

	if (offset < image->len && image->len - offset >= size)
		memcpy(&value, image->bytes + offset, size);
	return value;
}

/** Read what the fields below need, no more: a Klass may lie at the end of a mapping. */
static struct hs_err *image_read(struct hs_jvm *jvm, hs_addr addr, struct klass_image *image)
{
	static const enum hs_field fields[] = {
		HS_F_klass_name,
		HS_F_klass_super,
		HS_F_klass_layout_helper,
		HS_F_klass_cld,
	};

	image->layout = &jvm->layout;
	image->len = 0;
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		uint64_t offset = hs_layout_offset(&jvm->layout, fields[i]);

		if (offset > KLASS_PREFIX - sizeof(uint64_t))
			return hs_err_new(HS_ERR_UNSUPPORTED, "a Klass field lies at %" PRIu64,
			                  offset);
		if (image->len < offset + sizeof(uint64_t))
			image->len = offset + sizeof(uint64_t);
	}
	return hs_target_read(jvm->target, addr, image->bytes, image->len);
}

/** Shape of an array's layout helper: tag 0b10 or 0b11, header size, type, log2 (klass.hpp). */
static bool is_array_helper(int32_t helper)
{
	unsigned log2_elem = (unsigned)helper & 0xff, header = (unsigned)helper >> 16 & 0xff;

	// 28 marks flat and null-free arrays in bits of the first byte below the tag: not checked.
	return helper < 0 && (log2_elem & 0x3f) <= 6 && header >= 8 && header <= 64;
}

static bool is_plausible(const struct hs_klass *klass)
{
	bool is_array = klass->layout_helper < 0;

	// 20..21.0.3: the filler array's class is called "Ljdk/internal/vm/FillerArray;".
	if (is_array && (!strchr("[L", klass->name[0]) || !is_array_helper(klass->layout_helper)))
		return false;
	if (!klass->name[0] || (klass->name[0] == '[' && !is_array))
		return false;
	return klass->cld && klass->cld % 8 == 0 && klass->super % 8 == 0 &&
	       klass->super != klass->addr;
}

/** Does the name end in "+0x" and an address, as that of a hidden class does (JEP 371, 15+)? */
static char *hidden_suffix(char *name)
{
	char *plus = strrchr(name, '+');

	if (!plus || strncmp(plus, "+0x", 3) != 0 || !plus[3])
		return NULL;
	const char *end = plus + 3 + strspn(plus + 3, "0123456789abcdef");
	if (name[0] == '[' && *end == ';')
		end++;
	return *end ? NULL : plus;
}

/** As jstack prints it: dots, and '/' before what tells apart the anonymous or hidden classes of
 * one name (Klass::external_name). */
static struct hs_err *make_external_name(struct hs_jvm *jvm, struct hs_klass *klass)
{
	const char *anonymous = "";
	struct hs_err *err;

	err = hs_anonymous_suffix(jvm, klass, &anonymous);
	if (err && hs_err_code(err) == HS_ERR_OOM)
		return err;
	hs_err_free(err); // cannot be read: the plain name will do
	char *name = hs_arena_printf(jvm->arena, "%s%s", klass->name, anonymous);
	if (!name)
		return hs_err_oom();
	for (char *p = name; *p && p < name + strlen(klass->name); p++) {
		if (*p == '/')
			*p = '.';
	}
	char *suffix = hidden_suffix(name);
	if (suffix)
		*suffix = '/';
	klass->external_name = name;
	return NULL;
}

static struct hs_err *decode_klass(struct hs_jvm *jvm, hs_addr addr, struct hs_klass *klass)
{
	struct klass_image image;

	struct hs_err *err = image_read(jvm, addr, &image);
	if (err)
		return err;
	klass->addr = addr;
	klass->layout_helper = (int32_t)image_get(&image, HS_F_klass_layout_helper, 4);
	klass->super = image_get(&image, HS_F_klass_super, 8);
	klass->cld = image_get(&image, HS_F_klass_cld, 8);
	err = hs_symbol(jvm, image_get(&image, HS_F_klass_name, 8), &klass->name);
	if (err)
		return err;
	if (!is_plausible(klass))
		return hs_err_new(HS_ERR_BAD_DATA, "0x%" PRIx64 " is no Klass", addr);
	return make_external_name(jvm, klass);
}

struct hs_err *hs_klass_get(struct hs_jvm *jvm, hs_addr addr, const struct hs_klass **ret)
{
	struct hs_klass *klass = hs_map64_get(&jvm->klasses, addr);

	if (klass) {
		*ret = klass;
		return NULL;
	}
	if (!addr || addr % 8)
		return hs_err_new(HS_ERR_BAD_DATA, "0x%" PRIx64 " is no Klass", addr);

	struct hs_klass found = {0};
	struct hs_err *err = decode_klass(jvm, addr, &found);
	if (err)
		return err;
	klass = hs_arena_alloc(jvm->arena, sizeof(*klass));
	if (!klass)
		return hs_err_oom();
	*klass = found;
	if (!hs_map64_put(&jvm->klasses, addr, klass))
		return hs_err_oom();
	*ret = klass;
	return NULL;
}

// ---- relations

struct hs_err *hs_klass_mirror(struct hs_jvm *jvm, const struct hs_klass *klass, hs_addr *ret)
{
	return hs_oop_load_handle(jvm, klass->addr, HS_F_klass_mirror, ret);
}

struct hs_err *hs_klass_loader(struct hs_jvm *jvm, const struct hs_klass *klass, hs_addr *ret)
{
	return hs_oop_load_handle(jvm, klass->cld, HS_F_cld_class_loader, ret);
}

struct hs_err *hs_klass_of_mirror(struct hs_jvm *jvm, hs_addr mirror, hs_addr *ret)
{
	uint32_t offset;

	if (!hs_layout_has(&jvm->layout, HS_F_class_klass_offset))
		return hs_err_new(HS_ERR_UNSUPPORTED,
		                  "this libjvm does not publish java_lang_Class::_klass_offset");
	struct hs_err *err = hs_target_read_u32(
		jvm->target, hs_layout_static(&jvm->layout, HS_F_class_klass_offset), &offset);
	if (err)
		return err;
	if (offset > PAGE)
		return hs_err_new(HS_ERR_BAD_DATA, "java_lang_Class::_klass_offset is %u", offset);
	return hs_target_read_u64(jvm->target, mirror + offset, ret);
}

bool hs_klass_is_a(struct hs_jvm *jvm, const struct hs_klass *klass, const char *name)
{
	for (size_t depth = 0; depth < MAX_SUPERS; depth++) {
		if (!strcmp(klass->name, name))
			return true;
		if (!klass->super)
			return false;
		struct hs_err *err = hs_klass_get(jvm, klass->super, &klass);
		if (err) {
			hs_err_free(err);
			return false;
		}
	}
	return false;
}

/** Own field of that name. */
static const struct hs_jfield *own_field(const struct hs_klass *klass, const char *name)
{
	for (size_t i = 0; i < klass->num_fields; i++) {
		if (!strcmp(klass->fields[i].name, name))
			return &klass->fields[i];
	}
	return NULL;
}

struct hs_err *hs_klass_field_owner(struct hs_jvm *jvm, const struct hs_klass *klass,
                                    const char *name, const struct hs_klass **owner_ret,
                                    const struct hs_jfield **ret)
{
	for (size_t depth = 0; depth < MAX_SUPERS; depth++) {
		struct hs_err *err = hs_klass_fields(jvm, klass);
		if (err)
			return err;
		const struct hs_jfield *field = own_field(klass, name);
		if (field) {
			*owner_ret = klass;
			*ret = field;
			return NULL;
		}
		if (!klass->super)
			return hs_err_absent();
		err = hs_klass_get(jvm, klass->super, &klass);
		if (err)
			return err;
	}
	return hs_err_new(HS_ERR_BAD_DATA, "the superclasses of %s have no end",
	                  klass->external_name);
}

struct hs_err *hs_klass_field(struct hs_jvm *jvm, const struct hs_klass *klass, const char *name,
                              const struct hs_jfield **ret)
{
	const struct hs_klass *owner;

	return hs_klass_field_owner(jvm, klass, name, &owner, ret);
}
