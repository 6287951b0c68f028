// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Loading: which class is a thread loading while it holds, or waits for, the lock of a class
 * loader? From the String argument of a loadClass() frame, or, when the VM itself asks (to verify
 * or resolve), from the Symbol of a class name on the native stack.
 */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/jvm/locks.h"

/** Constant pool tags (JVMS 4.4; constantTag.hpp for those above 100). */
enum {
	CP_TAG_UTF8 = 1,
	CP_TAG_CLASS = 7,
	CP_TAG_UNRESOLVED_CLASS = 100,
	CP_TAG_UNRESOLVED_CLASS_IN_ERROR = 103,
};

enum {
	MAX_CLASS_NAME = 512, // bytes of a class name that we look for on a stack
	MAX_SUPERS = 64,      // superclasses looked at
	NEAR_FRAMES = 3,      // callers of a frame that may still know its argument
	MAX_SYMBOLS = 1024,   // class names on one stack that are looked up
};

// ---- from a Java frame

static bool is_loading_method(const struct hs_location *location)
{
	static const char *const names[] = {
		"loadClass",      "findClass",  "loadClassOrNull", "findClassOnClassPathOrNull",
		"loadClassImpl",  "forName",    "forName0",        "findClassInModuleOrNull",
		"findLocalClass", "defineClass"};

	if (!location->method || !location->descriptor)
		return false;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(location->method, names[i]))
			return true;
	return false;
}

/** Argument slot of the class name in an instance method: after a module, if it takes one. */
static unsigned name_slot(const char *descriptor)
{
	static const char *const two[] = {"(Ljava/lang/Module;Ljava/lang/String;)",
	                                  "(Ljava/lang/String;Ljava/lang/String;)"};

	for (size_t i = 0; i < sizeof(two) / sizeof(two[0]); i++)
		if (!strncmp(descriptor, two[i], strlen(two[i])))
			return 2;
	return 1;
}

/** Value of a slot when it is a String; HS_ERR_ABSENT otherwise. */
static struct hs_err *string_in_slot(struct hs_jvm *jvm, uint32_t thread, uint32_t frame,
                                     unsigned slot, const char **ret)
{
	const struct hs_klass *klass;
	struct hs_err *err;
	hs_addr oop = 0;

	err = hs_java_frame_local_oop(jvm, thread, frame, slot, &oop);
	if (!err && !oop)
		err = hs_err_absent();
	if (!err)
		err = hs_oop_klass(jvm, oop, &klass);
	if (err)
		return err;
	if (strcmp(klass->name, "java/lang/String") != 0)
		return hs_err_absent();
	err = hs_oop_text(jvm, oop, MAX_CLASS_NAME, ret, NULL);
	return !err && !*ret ? hs_err_absent() : err;
}

static const char *with_dots(struct hs_jvm *jvm, const char *name)
{
	char *copy = hs_arena_strdup(jvm->arena, name);

	for (char *p = copy; p && *p; p++)
		if (*p == '/')
			*p = '.';
	return copy;
}

/** Class name in the arguments of one frame, NULL when it cannot be told. */
static const char *class_of_frame(struct hs_jvm *jvm, uint32_t thread, uint32_t frame)
{
	const struct hs_thread *t = &jvm->snapshot->threads.items[thread];
	const char *name = NULL;
	struct hs_err *err;

	if (frame >= t->num_frames || !is_loading_method(t->frames[frame].location))
		return NULL;
	// Static methods have it in slot 0, where the others have the loader.
	err = string_in_slot(jvm, thread, frame, 0, &name);
	if (err) {
		hs_err_free(err);
		err = string_in_slot(jvm, thread, frame,
		                     name_slot(t->frames[frame].location->descriptor), &name);
	}
	// Dead in compiled code, or no such argument: the class stays unnamed.
	hs_err_free(err);
	return name ? with_dots(jvm, name) : NULL;
}

/** The same, or from a caller that handed the name on, or from a callee that got it. */
static const char *class_near_frame(struct hs_jvm *jvm, uint32_t thread, uint32_t frame)
{
	const char *name = NULL;

	for (uint32_t i = 0; !name && frame != HS_NONE && i <= NEAR_FRAMES; i++)
		name = class_of_frame(jvm, thread, frame + i);
	for (uint32_t i = 1; !name && frame != HS_NONE && i <= NEAR_FRAMES && i <= frame; i++)
		name = class_of_frame(jvm, thread, frame - i);
	return name;
}

// ---- class names in a constant pool

struct pool {
	struct hs_jvm *jvm;
	hs_addr klass; /**< whose pool it is */
	hs_addr slots;
	const uint8_t *tags;
	uint32_t length;
	HS_VEC(const char *) names; /**< of classes, and descriptors that hold some */
};

static struct hs_err *open_pool(struct hs_jvm *jvm, hs_addr klass, struct pool *pool)
{
	const struct hs_layout *layout = &jvm->layout;
	hs_addr addr = 0, tags = 0;
	struct hs_err *err;

	*pool = (struct pool){.jvm = jvm, .klass = klass};
	if (!hs_layout_has(layout, HS_F_cp_tags) || !hs_layout_has(layout, HS_F_array_u1_data) ||
	    !layout->sizes[HS_T_constant_pool])
		return hs_err_absent();
	err = hs_target_read_u64(jvm->target,
	                         klass + hs_layout_offset(layout, HS_F_klass_constants), &addr);
	if (!err)
		err = hs_target_read_u64(jvm->target, addr + hs_layout_offset(layout, HS_F_cp_tags),
		                         &tags);
	// Array<T> starts with an int length (array.hpp).
	if (!err)
		err = hs_target_read_u32(jvm->target, tags, &pool->length);
	if (err)
		return err;
	if (!pool->length || pool->length > UINT16_MAX + 1)
		return hs_err_new(HS_ERR_BAD_DATA, "constant pool 0x%" PRIx64 " has %u entries",
		                  addr, pool->length);
	uint8_t *copy = hs_arena_alloc(jvm->arena, pool->length);
	if (!copy)
		return hs_err_oom();
	pool->tags = copy;
	pool->slots = addr + layout->sizes[HS_T_constant_pool];
	return hs_target_read(jvm->target, tags + hs_layout_offset(layout, HS_F_array_u1_data),
	                      copy, pool->length);
}

static struct hs_err *utf8_entry(const struct pool *pool, uint32_t i, const char **ret)
{
	struct hs_err *err;
	hs_addr symbol = 0;

	if (i >= pool->length || pool->tags[i] != CP_TAG_UTF8)
		return NULL;
	err = hs_target_read_u64(pool->jvm->target, pool->slots + UINT64_C(8) * i, &symbol);
	return err ? err : hs_symbol(pool->jvm, symbol, ret);
}

/** 8: the slot holds the Klass *, or Symbol * | 1 until that is resolved (constantPool.hpp,
 * CPSlot).
 */
static struct hs_err *class_entry_8(const struct pool *pool, uint32_t i, const char **ret)
{
	const struct hs_klass *klass;
	struct hs_err *err;
	hs_addr word;

	err = hs_target_read_u64(pool->jvm->target, pool->slots + UINT64_C(8) * i, &word);
	if (err)
		return err;
	if (word & 1)
		return hs_symbol(pool->jvm, word & ~UINT64_C(1), ret);
	err = hs_klass_get(pool->jvm, word, &klass);
	if (!err)
		*ret = klass->name;
	return err;
}

/** Name of the class that entry @p i stands for; *ret stays when it is no class. */
static struct hs_err *class_entry(const struct pool *pool, uint32_t i, const char **ret)
{
	struct hs_err *err;
	uint32_t packed;

	if (pool->tags[i] != CP_TAG_CLASS && pool->tags[i] != CP_TAG_UNRESOLVED_CLASS &&
	    pool->tags[i] != CP_TAG_UNRESOLVED_CLASS_IN_ERROR)
		return NULL;
	if (!hs_layout_has(&pool->jvm->layout, HS_F_cp_resolved_klasses))
		return class_entry_8(pool, i, ret);
	// 9+: name index << 16 | index into _resolved_klasses (constantPool.hpp, CPKlassSlot).
	err = hs_target_read_u32(pool->jvm->target, pool->slots + UINT64_C(8) * i, &packed);
	return err ? err : utf8_entry(pool, packed >> 16, ret);
}

/** The class that an entry stands for, or a descriptor or signature, which has them as "L…;". */
static struct hs_err *add_pool_name(struct pool *pool, uint32_t i)
{
	const char *name = NULL, *text = NULL;
	struct hs_err *err;

	err = class_entry(pool, i, &name);
	if (!err)
		err = utf8_entry(pool, i, &text);
	if (err)
		return err;
	if (text && strchr(text, ';'))
		name = text;
	if (!name)
		return NULL;
	const char **slot = hs_vec_push(pool->jvm->arena, &pool->names);
	if (!slot)
		return hs_err_oom();
	*slot = name;
	return NULL;
}

static struct hs_err *read_pool(struct hs_jvm *jvm, hs_addr klass, struct pool *pool)
{
	struct hs_err *err = open_pool(jvm, klass, pool);

	for (uint32_t i = 1; !err && i < pool->length; i++)
		err = add_pool_name(pool, i);
	return err;
}

/** Does the pool mention a class other than its own and its superclasses, as an entry or inside a
 * descriptor? */
static bool pool_mentions(const struct pool *pool, const char *name)
{
	size_t len = strlen(name);

	// The class itself and its superclasses: their Symbols are on the stack, but they are
	// loaded.
	hs_addr super = pool->klass;
	for (unsigned i = 0; super && i < MAX_SUPERS; i++) {
		const struct hs_klass *klass;
		struct hs_err *err = hs_klass_get(pool->jvm, super, &klass);

		if (err) {
			hs_err_free(err);
			break;
		}
		if (!strcmp(klass->name, name))
			return false;
		super = klass->super;
	}
	hs_vec_each (text, &pool->names) {
		if (!strcmp(*text, name))
			return true;
		for (const char *p = strstr(*text, name); p; p = strstr(p + 1, name))
			if (p > *text && p[-1] == 'L' && (p[len] == ';' || p[len] == '<'))
				return true;
	}
	return false;
}

// ---- Symbols on the native stack

static bool is_class_name(const char *name)
{
	if (!name[0] || (name[0] >= '0' && name[0] <= '9'))
		return false;
	for (const char *p = name; *p; p++) {
		unsigned char c = (unsigned char)*p;

		if (!(c >= 0x80 || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		      (c >= '0' && c <= '9') || c == '_' || c == '$' || c == '/'))
			return false;
	}
	return true;
}

/** Text of the Symbol at @p word, if it is one and spells a class name. */
static bool read_class_symbol(struct hs_jvm *jvm, uint64_t word, char name[MAX_CLASS_NAME + 1])
{
	struct hs_err *err;
	uint16_t length = 0;

	if (word < 4096 || word % 8)
		return false;
	err = hs_target_read_u16(
		jvm->target, word + hs_layout_offset(&jvm->layout, HS_F_symbol_length), &length);
	if (!err && length > 0 && length <= MAX_CLASS_NAME)
		err = hs_target_read(jvm->target,
		                     word + hs_layout_offset(&jvm->layout, HS_F_symbol_body), name,
		                     length);
	else if (!err)
		err = hs_err_absent();
	if (err) {
		hs_err_free(err); // no pointer, or to something else: the usual case
		return false;
	}
	name[length] = '\0';
	return strlen(name) == length && is_class_name(name);
}

struct loaded_search {
	struct hs_jvm *jvm;
	const char *name;
	hs_addr loader;
	bool found;
};

static struct hs_err *visit_loaded(void *arg, hs_addr addr)
{
	struct loaded_search *search = arg;
	const struct hs_klass *klass;
	struct hs_err *err;
	hs_addr loader = 0;

	err = hs_klass_get(search->jvm, addr, &klass);
	if (!err && !strcmp(klass->name, search->name))
		err = hs_klass_loader(search->jvm, klass, &loader);
	else if (!err)
		return NULL;
	if (err && hs_err_code(err) == HS_ERR_OOM)
		return err;
	search->found |= !err && loader == search->loader;
	hs_err_free(err); // a class that cannot be read is not the one
	return NULL;
}

static struct hs_err *is_loaded(struct hs_jvm *jvm, const char *name, hs_addr loader, bool *ret)
{
	struct loaded_search search = {.jvm = jvm, .name = name, .loader = loader};
	struct hs_err *err = hs_klass_each(jvm, visit_loaded, &search);

	*ret = search.found;
	return err;
}

/** Class of the innermost Java frame, for what it resolves. 0: not known. */
static struct hs_err *calling_class(struct hs_jvm *jvm, uint32_t thread, hs_addr *ret)
{
	const struct hs_thread *t = &jvm->snapshot->threads.items[thread];
	uint32_t frame = hs_java_top_frame(jvm, thread);
	const struct hs_klass *klass = NULL;
	struct hs_err *err;

	*ret = 0;
	if (frame == HS_NONE || !t->frames[frame].location->class_name)
		return NULL;
	char *name = hs_arena_strdup(jvm->arena, t->frames[frame].location->class_name);
	if (!name)
		return hs_err_oom();
	for (char *p = name; *p; p++)
		if (*p == '.')
			*p = '/';
	err = hs_klass_find(jvm, name, &klass);
	if (hs_err_catch(&err, HS_ERR_ABSENT))
		return NULL; // hidden classes are found under another name
	if (!err)
		*ret = klass->addr;
	return err;
}

/** First class name on the stack that @p pool mentions and @p loader has not loaded. */
static struct hs_err *first_symbol(struct hs_jvm *jvm, const uint64_t *words, size_t count,
                                   const struct pool *pool, hs_addr loader, const char **ret)
{
	char name[MAX_CLASS_NAME + 1];
	struct hs_err *err;
	size_t num_symbols = 0;

	for (size_t i = 0; i < count; i++) {
		bool loaded = false;

		if ((i && words[i] == words[i - 1]) || !read_class_symbol(jvm, words[i], name))
			continue;
		if (num_symbols++ >= MAX_SYMBOLS)
			return hs_err_new(HS_ERR_BAD_DATA, "more than %d class names on its stack",
			                  MAX_SYMBOLS);
		if (!pool_mentions(pool, name))
			continue;
		err = is_loaded(jvm, name, loader, &loaded);
		if (err)
			return err;
		if (loaded)
			continue;
		*ret = with_dots(jvm, name);
		return *ret ? NULL : hs_err_oom();
	}
	return NULL;
}

static struct hs_err *symbol_in_pool(struct hs_jvm *jvm, const uint64_t *words, size_t count,
                                     hs_addr klass, hs_addr loader, const char **ret)
{
	struct pool pool;
	struct hs_err *err = read_pool(jvm, klass, &pool);

	if (hs_err_catch(&err, HS_ERR_ABSENT))
		return NULL;
	return err ? err : first_symbol(jvm, words, count, &pool, loader, ret);
}

/** What a thread that waits for @p loader inside the VM is loading. *ret NULL: not known. */
static struct hs_err *class_on_native_stack(struct hs_jvm *jvm, const struct hs_jthread *jthread,
                                            hs_addr loader, const char **ret)
{
	uint32_t thread = hs_jthread_runner(jthread);
	const uint64_t *words = NULL;
	struct hs_err *err;
	size_t count = 0;
	hs_addr klass;

	err = hs_jthread_native_stack(jvm, jthread, &words, &count);
	if (hs_err_catch(&err, HS_ERR_ABSENT))
		return NULL;
	if (err)
		return err;
	// The class that the thread is linking: the one nearest to the top of its stack.
	klass = hs_class_linked_on_stack(jvm, words, count, jthread);
	if (klass)
		return symbol_in_pool(jvm, words, count, klass, loader, ret);
	// Its lock cannot be read (a moving collector): any class that is not linked.
	klass = hs_class_on_stack(jvm, words, count, false, UINT64_MAX);
	if (klass)
		err = symbol_in_pool(jvm, words, count, klass, loader, ret);
	if (!err && !*ret)
		*ret = class_of_frame(jvm, thread, hs_java_top_frame(jvm, thread));
	if (err || *ret)
		return err;
	err = calling_class(jvm, thread, &klass);
	if (err || !klass)
		return err;
	return symbol_in_pool(jvm, words, count, klass, loader, ret);
}

// ---- the edges

static bool waits_in_java(const struct hs_jvm *jvm, const struct hs_edge *wait)
{
	const struct hs_thread *t = &jvm->snapshot->threads.items[wait->thread];
	hs_addr object = jvm->snapshot->resources.items[wait->resource].address;

	if (wait->frame >= t->num_frames)
		return false;
	const struct hs_frame *frame = &t->frames[wait->frame];
	for (uint16_t i = 0; i < frame->num_locks; i++)
		if (frame->locks[i].object == object &&
		    frame->locks[i].state == HS_LOCK_WAITING_TO_LOCK)
			return true;
	return false;
}

/** Loader whose loadClass() runs in a frame; HS_ERR_ABSENT. */
static struct hs_err *loader_of_frame(struct hs_jvm *jvm, uint32_t thread, uint32_t frame,
                                      hs_addr *ret)
{
	const struct hs_thread *t = &jvm->snapshot->threads.items[thread];
	const struct hs_klass *klass;
	struct hs_err *err;

	if (frame >= t->num_frames || !is_loading_method(t->frames[frame].location))
		return hs_err_absent();
	err = hs_java_frame_local_oop(jvm, thread, frame, 0, ret);
	if (!err && !*ret)
		err = hs_err_absent();
	if (!err)
		err = hs_oop_klass(jvm, *ret, &klass);
	if (!err && !hs_klass_is_a(jvm, klass, "java/lang/ClassLoader"))
		err = hs_err_absent();
	return err;
}

/** getClassLoadingLock() of a parallel capable loader gives an Object for each class: a monitor
 * that a loadClass() frame waits for is that, if the loader's parallelLockMap has it. */
static struct hs_err *find_class_lock(struct hs_jvm *jvm, const struct hs_edge *wait)
{
	const struct hs_loader_info *info = NULL;
	const char *class_name = NULL;
	struct hs_err *err;
	hs_addr loader = 0;

	struct hs_resource *resource = hs_snapshot_resource(jvm->snapshot, wait->resource);
	if (resource->kind != HS_RES_JAVA_MONITOR || !resource->class_name ||
	    strcmp(resource->class_name, "java.lang.Object") != 0)
		return NULL;
	err = loader_of_frame(jvm, wait->thread, wait->frame, &loader);
	if (!err)
		err = hs_loader_class_of_lock(jvm, loader, resource->address, &class_name);
	if (!err)
		err = hs_loader_get(jvm, loader, &info);
	if (hs_err_catch(&err, HS_ERR_ABSENT) || err || !info)
		return err;
	// It stays known by (java-monitor, address): frames refer to it by index.
	resource->kind = HS_RES_LOADER_LOCK;
	resource->class_name = info->class_name;
	resource->loader_info = info;
	resource->label =
		hs_arena_printf(jvm->arena, "the lock of %s for loading %s",
	                        info->class_name ? info->class_name : "a class loader", class_name);
	return NULL;
}

static struct hs_err *name_wait(struct hs_jvm *jvm, struct hs_edge *wait)
{
	const struct hs_resource *resource = &jvm->snapshot->resources.items[wait->resource];
	const struct hs_jthread *jthread = hs_jthread_by_index(jvm, wait->thread);
	const char *name = NULL;
	struct hs_err *err;

	if (resource->kind != HS_RES_LOADER_LOCK || !resource->loader_info || !jthread)
		return NULL;
	if (waits_in_java(jvm, wait)) {
		wait->subject_class = class_near_frame(jvm, wait->thread, wait->frame);
		return NULL;
	}
	err = class_on_native_stack(jvm, jthread, resource->loader_info->object, &name);
	if (err || !name)
		return err;
	wait->subject_class = name;
	wait->read_from =
		hs_arena_printf(jvm->arena, "%s; class %s: its name on the native stack (inferred)",
	                        wait->read_from ? wait->read_from : "", name);
	return NULL;
}

/** A link holds up others because its verification loads a class, and waits to do so. By thread;
 * NULL when out of memory. */
static const char **classes_waited_for(struct hs_jvm *jvm)
{
	const char **names =
		hs_arena_calloc(jvm->arena, jvm->snapshot->threads.len + 1, sizeof(*names));

	hs_vec_each (wait, &jvm->snapshot->waits)
		if (names && wait->subject_class)
			names[wait->thread] = wait->subject_class;
	return names;
}

struct hs_err *hs_loading_collect(struct hs_jvm *jvm)
{
	struct hs_err *err;

	hs_vec_each (wait, &jvm->snapshot->waits) {
		err = find_class_lock(jvm, wait);
		if (!err)
			err = name_wait(jvm, wait);
		err = hs_jvm_gap(jvm, err, "the class that it is loading", "stack of thread %d",
		                 (int)jvm->snapshot->threads.items[wait->thread].tid);
		if (err)
			return err;
	}
	const char **names = classes_waited_for(jvm);
	if (!names)
		return hs_err_oom();
	hs_vec_each (hold, &jvm->snapshot->holds) {
		enum hs_resource_kind kind = jvm->snapshot->resources.items[hold->resource].kind;

		if (kind == HS_RES_LOADER_LOCK)
			hold->subject_class = class_near_frame(jvm, hold->thread, hold->frame);
		else if (kind == HS_RES_CLASS_LINK && names[hold->thread])
			hold->subject_class = names[hold->thread];
	}
	return NULL;
}
