// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Anonymous classes of the VM (Unsafe.defineAnonymousClass, 8 to 14; the classes of lambdas above
 * all): how jstack tells them apart. 15 replaced them by hidden classes, whose name says it all.
 */

#include <inttypes.h>

#include "core/jvm/jvm_internal.h"

/** Mark word of 8 (markOop.hpp). */
enum {
	MARK_LOCK_BITS = 3,
	MARK_STACK = 0,
	MARK_INFLATED = 2,
	MARK_NEUTRAL = 1, // of the low 3 bits: unlocked, not biased
	MARK_BIASED_BITS = 7,
};

// ---- is it one?

/** 11 to 14: a CLD of its own, marked as such. */
static struct hs_err *is_marked(struct hs_jvm *jvm, hs_addr cld, bool *ret)
{
	uint8_t flag;
	struct hs_err *err = hs_target_read_u8(
		jvm->target, cld + hs_layout_offset(&jvm->layout, HS_F_cld_is_anonymous), &flag);

	if (!err)
		*ret = flag == 1;
	return err;
}

/** Offset of the injected field ClassLoader.loader_data: its CLD. HS_ERR_ABSENT. */
static struct hs_err *loader_data_offset(struct hs_jvm *jvm, uint32_t *ret)
{
	const struct hs_klass *klass;
	const struct hs_jfield *field;
	struct hs_err *err;
	hs_addr addr;

	if (!jvm->loader_data_read) {
		// First, as naming the class ClassLoader may lead here again.
		jvm->loader_data_read = true;
		if (!hs_layout_has(&jvm->layout, HS_F_known_class_loader))
			return hs_err_absent();
		err = hs_target_read_u64(jvm->target,
		                         hs_layout_static(&jvm->layout, HS_F_known_class_loader),
		                         &addr);
		if (!err)
			err = hs_klass_get(jvm, addr, &klass);
		if (!err)
			err = hs_klass_field(jvm, klass, "loader_data", &field);
		if (err)
			return err;
		jvm->loader_data_offset = field->offset;
	}
	if (!jvm->loader_data_offset)
		return hs_err_absent();
	*ret = jvm->loader_data_offset;
	return NULL;
}

/** The CLD of a class loader, 0 the boot loader. */
static struct hs_err *cld_of_loader(struct hs_jvm *jvm, hs_addr loader, hs_addr *ret)
{
	uint32_t offset;
	hs_addr object;
	struct hs_err *err;

	if (loader) {
		err = loader_data_offset(jvm, &offset);
		return err ? err : hs_target_read_u64(jvm->target, loader + offset, ret);
	}
	if (!hs_layout_has(&jvm->layout, HS_F_known_object))
		return hs_err_absent();
	err = hs_target_read_u64(jvm->target, hs_layout_static(&jvm->layout, HS_F_known_object),
	                         &object);
	return err ? err
	           : hs_target_read_u64(jvm->target,
	                                object + hs_layout_offset(&jvm->layout, HS_F_klass_cld),
	                                ret);
}

/** 8 does not publish the mark: an anonymous class is in another CLD than its loader's. */
static struct hs_err *has_own_cld(struct hs_jvm *jvm, hs_addr cld, bool *ret)
{
	void *const yes = jvm, *const no = &jvm->own_clds;
	hs_addr loader = 0, main_cld = 0;
	struct hs_err *err;

	void *known = hs_map64_get(&jvm->own_clds, cld);
	if (!known) {
		err = hs_oop_load_handle(jvm, cld, HS_F_cld_class_loader, &loader);
		if (!err)
			err = cld_of_loader(jvm, loader, &main_cld);
		if (err && hs_err_code(err) == HS_ERR_OOM)
			return err;
		hs_err_free(err); // not that we know
		known = main_cld && main_cld != cld ? yes : no;
		if (!hs_map64_put(&jvm->own_clds, cld, known))
			return hs_err_oom();
	}
	*ret = known == yes;
	return NULL;
}

// ---- its name

/** Identity hash of an object of 8; 0: it has none yet. */
static struct hs_err *identity_hash(struct hs_jvm *jvm, hs_addr oop, uint64_t *ret)
{
	struct hs_err *err;
	int64_t shift = 0, mask = 0;
	uint64_t mark;

	*ret = 0;
	if (!hs_vmstructs_constant(jvm->vm, "markOopDesc::hash_shift", &shift) ||
	    !hs_vmstructs_constant(jvm->vm, "markOopDesc::hash_mask", &mask) || shift < 0 ||
	    shift > 63)
		return hs_err_absent();
	err = hs_oop_mark(jvm, oop, &mark);
	// Locked: the header lies in the ObjectMonitor, or where the lock lies on a stack.
	if (!err && (mark & MARK_LOCK_BITS) == MARK_INFLATED)
		err = hs_target_read_u64(
			jvm->target,
			(mark & ~(uint64_t)MARK_LOCK_BITS) +
				hs_layout_offset(&jvm->layout, HS_F_monitor_header),
			&mark);
	else if (!err && (mark & MARK_LOCK_BITS) == MARK_STACK)
		err = hs_target_read_u64(
			jvm->target, mark + hs_layout_offset(&jvm->layout, HS_F_basic_lock_header),
			&mark);
	if (!err && (mark & MARK_BIASED_BITS) == MARK_NEUTRAL)
		*ret = mark >> shift & (uint64_t)mask;
	return err;
}

/** 8: the identity hash of the mirror, which jstack makes where there is none
 * (klass.cpp, external_name). */
static struct hs_err *suffix_of_8(struct hs_jvm *jvm, const struct hs_klass *klass,
                                  const char **ret)
{
	struct hs_err *err;
	hs_addr mirror = 0;
	uint64_t hash = 0;

	err = hs_klass_mirror(jvm, klass, &mirror);
	if (!err && mirror)
		err = identity_hash(jvm, mirror, &hash);
	if (err || !hash)
		return err;
	*ret = hs_arena_printf(jvm->arena, "/%" PRIu64, hash);
	return *ret ? NULL : hs_err_oom();
}

struct hs_err *hs_anonymous_suffix(struct hs_jvm *jvm, const struct hs_klass *klass,
                                   const char **ret)
{
	bool by_mark = hs_layout_has(&jvm->layout, HS_F_cld_is_anonymous), is_one = false;
	struct hs_err *err = NULL;

	*ret = "";
	if (klass->layout_helper < 0) // an array keeps the plain name of its elements' class
		return NULL;
	if (by_mark)
		err = is_marked(jvm, klass->cld, &is_one);
	else if (hs_layout_has(&jvm->layout, HS_F_system_dictionary)) // 8
		err = has_own_cld(jvm, klass->cld, &is_one);
	if (err || !is_one)
		return err;
	if (!by_mark)
		return suffix_of_8(jvm, klass, ret);
	*ret = hs_arena_printf(jvm->arena, "/0x%016" PRIx64, klass->addr);
	return *ret ? NULL : hs_err_oom();
}
