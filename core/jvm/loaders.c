// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Class loaders: is a loader parallel capable, did it ask to be, and which superclass refused it;
 * and the per-class locks of those that are.
 */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/jvm/locks.h"

static const char registers_name[] = "registerAsParallelCapable";

/** Tag of a name in a constant pool (JVMS 4.4.7). */
enum {
	CP_TAG_UTF8 = 1
};

// ---- ClassLoader.ParallelLoaders.loaderTypes

static int compare_addrs(const void *a, const void *b)
{
	hs_addr x = *(const hs_addr *)a, y = *(const hs_addr *)b;

	return (x > y) - (x < y);
}

/** A static field of a class that has no instance we know. */
static struct hs_err *static_oop(struct hs_jvm *jvm, const char *class_name, const char *name,
                                 hs_addr *ret)
{
	const struct hs_klass *klass = NULL;
	const struct hs_jfield *field = NULL;
	struct hs_err *err;
	hs_addr mirror = 0;

	err = hs_klass_find(jvm, class_name, &klass);
	if (!err)
		err = hs_klass_field(jvm, klass, name, &field);
	if (!err && !field->is_static)
		err = hs_err_absent();
	if (!err)
		err = hs_klass_mirror(jvm, klass, &mirror);
	if (!err)
		err = hs_oop_load(jvm, mirror + field->offset, ret);
	return hs_err_wrap(err, "%s.%s", class_name, name);
}

/** One chain of a WeakHashMap's table: Entry extends WeakReference { next }. @p walk bounds all of
 * its chains together. */
static struct hs_err *read_weak_chain(struct hs_jvm *jvm, struct hs_lock_index *index,
                                      struct hs_list_walk *walk, hs_addr entry)
{
	struct hs_err *err = NULL;
	hs_addr mirror;

	while (!err && entry) {
		if (hs_list_walk_ends(walk, entry, HS_MAX_LOADERS))
			return hs_err_new(HS_ERR_BAD_DATA, "its hash chains have no end");
		err = hs_oop_get_oop(jvm, entry, "referent", &mirror);
		if (!err && mirror) {
			hs_addr *slot = hs_vec_push(jvm->arena, &index->registered);

			if (!slot)
				return hs_err_oom();
			*slot = mirror;
		}
		if (!err)
			err = hs_oop_get_oop(jvm, entry, "next", &entry);
	}
	return err;
}

/** static Set<Class> loaderTypes = Collections.newSetFromMap(new WeakHashMap()), 8 to 28. */
static struct hs_err *walk_registered(struct hs_jvm *jvm, struct hs_lock_index *index)
{
	hs_addr set = 0, map = 0, table = 0, entry = 0;
	struct hs_list_walk walk = {0};
	struct hs_err *err;
	uint32_t length = 0;

	err = static_oop(jvm, "java/lang/ClassLoader$ParallelLoaders", "loaderTypes", &set);
	if (!err)
		err = hs_oop_get_oop(jvm, set, "m", &map);
	if (!err)
		err = hs_oop_get_oop(jvm, map, "table", &table);
	if (!err)
		err = hs_oop_array_length(jvm, table, &length);
	for (uint32_t i = 0; !err && i < length; i++) {
		err = hs_oop_array_get(jvm, table, i, &entry);
		if (!err)
			err = read_weak_chain(jvm, index, &walk, entry);
	}
	return err;
}

static struct hs_err *read_registered(struct hs_jvm *jvm, struct hs_lock_index *index)
{
	struct hs_err *err;

	if (index->registered_read)
		return NULL;
	index->registered_read = true;
	err = walk_registered(jvm, index);
	index->registered_known = !err;
	err = hs_jvm_gap(jvm, err, "why a class loader is not parallel capable",
	                 "ClassLoader.ParallelLoaders.loaderTypes");
	hs_vec_sort(&index->registered, compare_addrs);
	return err;
}

static bool is_registered(const struct hs_lock_index *index, hs_addr mirror)
{
	return index->registered.len &&
	       bsearch(&mirror, index->registered.items, index->registered.len, sizeof(hs_addr),
	               compare_addrs);
}

// ---- did the class ask?

/** Is there a Utf8 "registerAsParallelCapable" in its constant pool? */
static struct hs_err *asks_to_register(struct hs_jvm *jvm, const struct hs_klass *klass, bool *ret)
{
	const struct hs_layout *layout = &jvm->layout;
	const char *name;
	struct hs_err *err;
	hs_addr pool = 0, tags = 0, symbol = 0;
	uint32_t length = 0;
	uint8_t tag = 0;

	if (!hs_layout_has(layout, HS_F_cp_tags) || !hs_layout_has(layout, HS_F_array_u1_data) ||
	    !layout->sizes[HS_T_constant_pool])
		return hs_err_absent();
	err = hs_target_read_u64(
		jvm->target, klass->addr + hs_layout_offset(layout, HS_F_klass_constants), &pool);
	if (!err)
		err = hs_target_read_u64(jvm->target, pool + hs_layout_offset(layout, HS_F_cp_tags),
		                         &tags);
	// Array<T> starts with an int length (array.hpp).
	if (!err)
		err = hs_target_read_u32(jvm->target, tags, &length);
	if (err)
		return err;
	if (length > UINT16_MAX + 1)
		return hs_err_new(HS_ERR_BAD_DATA, "constant pool 0x%" PRIx64 " has %u entries",
		                  pool, length);
	*ret = false;
	for (uint32_t i = 1; i < length; i++) {
		err = hs_target_read_u8(
			jvm->target, tags + hs_layout_offset(layout, HS_F_array_u1_data) + i, &tag);
		if (err)
			return err;
		if (tag != CP_TAG_UTF8)
			continue;
		err = hs_target_read_u64(jvm->target,
		                         pool + layout->sizes[HS_T_constant_pool] + UINT64_C(8) * i,
		                         &symbol);
		if (!err)
			err = hs_symbol(jvm, symbol, &name);
		if (err)
			return err;
		if (!strcmp(name, registers_name)) {
			*ret = true;
			return NULL;
		}
	}
	return NULL;
}

// ---- a loader

/** First superclass, from @p klass up to ClassLoader, that is not registered. */
static struct hs_err *find_unregistered(struct hs_jvm *jvm, const struct hs_lock_index *index,
                                        const struct hs_klass *klass, const char **ret)
{
	struct hs_err *err;
	hs_addr mirror = 0;

	for (size_t i = 0; klass->super && i < HS_MAX_CHAIN; i++) {
		err = hs_klass_get(jvm, klass->super, &klass);
		if (!err)
			err = hs_klass_mirror(jvm, klass, &mirror);
		if (err)
			return err;
		// ClassLoader registers itself (ParallelLoaders.<clinit>).
		if (!strcmp(klass->name, "java/lang/ClassLoader"))
			return NULL;
		if (!is_registered(index, mirror)) {
			*ret = klass->external_name;
			return NULL;
		}
	}
	return NULL;
}

static struct hs_err *read_registration(struct hs_jvm *jvm, const struct hs_klass *klass,
                                        struct hs_loader_info *info)
{
	struct hs_lock_index *index = hs_lock_index(jvm);
	struct hs_err *err;
	hs_addr mirror = 0;
	bool asked = false;

	if (!index)
		return hs_err_oom();
	err = asks_to_register(jvm, klass, &asked);
	if (!err)
		info->asked = asked ? HS_YES : HS_NO;
	hs_err_catch(&err, HS_ERR_ABSENT);
	err = hs_jvm_gap(jvm, err, "whether it asked to be parallel capable", "constant pool of %s",
	                 klass->external_name);
	if (!err)
		err = read_registered(jvm, index);
	if (err || !index->registered_known)
		return err;
	err = hs_klass_mirror(jvm, klass, &mirror);
	if (err)
		return err;
	info->self_registered = is_registered(index, mirror) ? HS_YES : HS_NO;
	return find_unregistered(jvm, index, klass, &info->unregistered_superclass);
}

static struct hs_err *read_loader(struct hs_jvm *jvm, hs_addr loader, struct hs_loader_info *info)
{
	const struct hs_klass *klass;
	struct hs_err *err;
	hs_addr map = 0;

	info->object = loader;
	err = hs_oop_klass(jvm, loader, &klass);
	if (err)
		return err;
	info->class_name = klass->external_name;
	// The VM's own test: java_lang_ClassLoader::parallelCapable() (javaClasses.cpp).
	err = hs_oop_get_oop(jvm, loader, "parallelLockMap", &map);
	if (err)
		return err;
	info->parallel_capable = map ? HS_YES : HS_NO;
	return map ? NULL : read_registration(jvm, klass, info);
}

struct hs_err *hs_loader_get(struct hs_jvm *jvm, hs_addr loader, const struct hs_loader_info **ret)
{
	struct hs_lock_index *index = hs_lock_index(jvm);
	struct hs_err *err;

	if (!index)
		return hs_err_oom();
	hs_vec_each (ref, &index->loaders) {
		if (ref->loader == loader) {
			*ret = ref->info;
			return NULL;
		}
	}
	struct hs_loader_info *info = hs_arena_alloc(jvm->arena, sizeof(*info));
	struct hs_loader_ref *ref = hs_vec_push(jvm->arena, &index->loaders);
	if (!info || !ref)
		return hs_err_oom();
	*ref = (struct hs_loader_ref){loader, info};
	err = hs_jvm_gap(jvm, read_loader(jvm, loader, info),
	                 "whether the loader is parallel capable, and why not",
	                 "class loader 0x%" PRIx64, loader);
	if (err)
		return err;
	*ret = info;
	return NULL;
}

// ---- per-class locks of parallel capable loaders

struct class_lock_search {
	hs_addr object, key;
};

/** Stops the walk with HS_ERR_ABSENT when it has found its object. */
static struct hs_err *visit_class_lock(void *arg, hs_addr key, hs_addr value)
{
	struct class_lock_search *search = arg;

	if (value != search->object)
		return NULL;
	search->key = key;
	return hs_err_absent();
}

struct hs_err *hs_loader_class_of_lock(struct hs_jvm *jvm, hs_addr loader, hs_addr object,
                                       const char **ret)
{
	struct class_lock_search search = {.object = object};
	struct hs_err *err;
	hs_addr map = 0;

	err = hs_oop_get_oop(jvm, loader, "parallelLockMap", &map);
	if (!err && !map)
		err = hs_err_absent();
	if (err)
		return err;
	err = hs_oop_each_chm(jvm, map, visit_class_lock, &search);
	if (!search.key)
		return err ? err : hs_err_absent();
	hs_err_free(err); // what ended the walk
	err = hs_oop_text(jvm, search.key, HS_MAX_NAME, ret, NULL);
	return !err && !*ret ? hs_err_absent() : err;
}
