// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Thread dump: what HotSpot's own dump says of the VM as a whole, the modules of all frames, and
 * the order of the threads. The parts: thread_facts.c, dump_locks.c, owned_locks.c.
 */

#include "core/jvm/thread_dump.h"

#include <inttypes.h>
#include <string.h>

#include "core/base/cleanup.h"

// ---- system properties

/** Properties that the dump wants. */
static const struct {
	const char *key;
	size_t offset; /**< of a const char * in struct hs_thread_dump */
} wanted_properties[] = {
	{"java.vm.info",      offsetof(struct hs_thread_dump, vm_info) },
	{"java.runtime.name", offsetof(struct hs_thread_dump, jdk_name)},
};

static struct hs_err *take_property(void *arg, hs_addr key, hs_addr value)
{
	struct hs_dump_builder *builder = arg;
	const char *name = NULL, *text = NULL;
	struct hs_err *err = hs_oop_string(builder->jvm, key, HS_MAX_NAME, &name);

	for (size_t i = 0;
	     !err && name && i < sizeof(wanted_properties) / sizeof(*wanted_properties); i++) {
		if (strcmp(name, wanted_properties[i].key))
			continue;
		err = hs_oop_string(builder->jvm, value, HS_MAX_NAME, &text);
		if (!err)
			*(const char **)((char *)builder->dump + wanted_properties[i].offset) =
				text;
	}
	if (err && hs_err_code(err) == HS_ERR_OOM)
		return err;
	hs_err_free(err); // a program may put anything there: not ours
	return NULL;
}

/** 8: Properties extends Hashtable, whose table has chains of Entry{key, value, next}. */
static struct hs_err *each_hashtable(struct hs_jvm *jvm, hs_addr hashtable,
                                     struct hs_dump_builder *builder)
{
	struct hs_list_walk walk = {0};
	hs_addr table = 0, entry, key = 0, value = 0;
	struct hs_err *err;
	uint32_t length = 0;

	err = hs_oop_get_oop(jvm, hashtable, "table", &table);
	if (!err)
		err = hs_oop_array_length(jvm, table, &length);
	for (uint32_t i = 0; !err && i < length; i++) {
		err = hs_oop_array_get(jvm, table, i, &entry);
		while (!err && entry) {
			if (hs_list_walk_ends(&walk, entry, HS_MAX_CHAIN))
				return hs_err_new(HS_ERR_BAD_DATA, "its chains have no end");
			err = hs_oop_get_oop(jvm, entry, "key", &key);
			if (!err)
				err = hs_oop_get_oop(jvm, entry, "value", &value);
			if (!err)
				err = take_property(builder, key, value);
			if (!err)
				err = hs_oop_get_oop(jvm, entry, "next", &entry);
		}
	}
	return err;
}

static struct hs_err *read_properties(struct hs_dump_builder *builder)
{
	struct hs_jvm *jvm = builder->jvm;
	const struct hs_klass *system;
	hs_addr properties = 0, map = 0;
	struct hs_err *err;

	if (jvm->snapshot->redact)
		return NULL;
	err = hs_klass_find(jvm, "java/lang/System", &system);
	if (!err)
		err = hs_klass_static_oop(jvm, system, "props", &properties);
	if (err || !properties)
		return err;
	err = hs_oop_get_oop(jvm, properties, "map", &map);
	if (hs_err_catch(&err, HS_ERR_ABSENT))
		return each_hashtable(jvm, properties, builder);
	if (err || !map)
		return err;
	return hs_oop_each_chm(jvm, map, take_property, builder);
}

/** VM_Version::vm_release(), which 8 counts otherwise than the Java release. */
static struct hs_err *read_release(struct hs_dump_builder *builder)
{
	struct hs_jvm *jvm = builder->jvm;
	hs_addr addr = 0;

	if (!hs_layout_has(&jvm->layout, HS_F_vm_release))
		return NULL;
	struct hs_err *err = hs_target_read_u64(
		jvm->target, hs_layout_static(&jvm->layout, HS_F_vm_release), &addr);
	if (err || !addr)
		return err;
	return hs_target_read_cstr(jvm->target, addr, HS_MAX_NAME, jvm->arena,
	                           &builder->dump->vm_release);
}

// ---- the list of threads

static struct hs_err *read_list(struct hs_dump_builder *builder)
{
	struct hs_jvm *jvm = builder->jvm;
	struct hs_thread_dump *dump = builder->dump;
	hs_addr *addrs = hs_arena_calloc(jvm->arena, jvm->jthreads.len + 1, sizeof(*addrs));
	// The linked list begins with the newest one; 11 has it still, but dumps the other.
	bool reverse = hs_layout_has(&jvm->layout, HS_F_thread_list_head) && jvm->major > 8;

	if (!addrs)
		return hs_err_oom();
	for (size_t i = 0; i < jvm->jthreads.len; i++) {
		size_t from = reverse ? jvm->jthreads.len - 1 - i : i;
		const struct hs_jthread *jthread = &jvm->jthreads.items[from];

		addrs[i] = jthread->addr;
		if (jthread->thread == HS_NONE)
			continue;
		uint32_t *slot = hs_vec_push(jvm->arena, &dump->order);
		if (!slot)
			return hs_err_oom();
		*slot = jthread->thread;
	}
	dump->java_threads = addrs;
	dump->num_java_threads = jvm->jthreads.len;
	if (!hs_layout_has(&jvm->layout, HS_F_thread_list))
		return NULL;
	return hs_target_read_u64(jvm->target, hs_layout_static(&jvm->layout, HS_F_thread_list),
	                          &dump->list);
}

/** The VM's own threads, newest first, as HotSpot lists them since 12 (nonJavaThread.cpp). */
static struct hs_err *order_vm_threads(struct hs_dump_builder *builder)
{
	struct hs_snapshot *s = builder->jvm->snapshot;

	for (size_t i = s->threads.len; i-- > 0;) {
		if (!builder->threads[i] || s->threads.items[i].kind == HS_THREAD_JAVA)
			continue;
		uint32_t *slot = hs_vec_push(builder->jvm->arena, &builder->dump->order);
		if (!slot)
			return hs_err_oom();
		*slot = (uint32_t)i;
	}
	return NULL;
}

// ---- modules

/** ModuleDescriptor.rawVersion(): of the parsed version, else what could not be parsed. */
static struct hs_err *raw_version(struct hs_jvm *jvm, hs_addr descriptor, hs_addr *ret)
{
	hs_addr version = 0;
	struct hs_err *err = hs_oop_get_oop(jvm, descriptor, "version", &version);

	if (!err && version)
		return hs_oop_get_oop(jvm, version, "version", ret);
	return err ? err : hs_oop_get_oop(jvm, descriptor, "rawVersionString", ret);
}

/**
 * "java.base@17.0.15" of a class: Class.module, its name and the version that its descriptor was
 * compiled with, which is what the VM was told when it was defined (Module.java, 9 to 28). NULL:
 * the unnamed module, or a release without modules.
 */
static struct hs_err *module_of(struct hs_jvm *jvm, const struct hs_klass *klass, const char **ret)
{
	hs_addr mirror = 0, module = 0, name = 0, descriptor = 0, version = 0;
	const char *name_text = NULL, *version_text = NULL;
	struct hs_err *err;

	*ret = NULL;
	err = hs_klass_mirror(jvm, klass, &mirror);
	if (!err)
		err = hs_oop_get_oop(jvm, mirror, "module", &module);
	if (hs_err_catch(&err, HS_ERR_ABSENT) || (!err && !module))
		return NULL;
	if (!err)
		err = hs_oop_get_oop(jvm, module, "name", &name);
	if (!err && name)
		err = hs_oop_string(jvm, name, HS_MAX_NAME, &name_text);
	if (err || !name_text)
		return err;
	err = hs_oop_get_oop(jvm, module, "descriptor", &descriptor);
	if (!err && descriptor)
		err = raw_version(jvm, descriptor, &version);
	if (!err && version)
		err = hs_oop_string(jvm, version, HS_MAX_NAME, &version_text);
	if (err)
		return err;
	*ret = version_text ? hs_arena_printf(jvm->arena, "%s@%s", name_text, version_text)
	                    : name_text;
	return *ret ? NULL : hs_err_oom();
}

/** The locations of a method are shared by all frames: one module each. */
static void set_module(const struct hs_method *method, const char *module)
{
	for (size_t i = 0; i < method->locations.cap; i++) {
		struct hs_location *location = method->locations.slots[i].value;

		if (location)
			location->java_module = module;
	}
}

static struct hs_err *name_modules(struct hs_dump_builder *builder)
{
	struct hs_jvm *jvm = builder->jvm;
	hs_cleanup(hs_map64_deinit) struct hs_map64 done = {0}; // Klass → its text, "" for none
	struct hs_err *err;
	size_t failed = 0;

	if (jvm->snapshot->redact)
		return NULL;
	for (size_t i = 0; i < jvm->methods.cap; i++) {
		const struct hs_method *method = jvm->methods.slots[i].value;
		if (!method || !method->locations.cap)
			continue;
		const char *module = hs_map64_get(&done, method->holder->addr);
		if (!module) {
			err = module_of(jvm, method->holder, &module);
			if (err && hs_err_code(err) == HS_ERR_OOM)
				return err;
			failed += err != NULL;
			hs_err_free(err); // counted: one gap for all
			if (!module)
				module = "";
			if (!hs_map64_put(&done, method->holder->addr, (void *)(uintptr_t)module))
				return hs_err_oom();
		}
		if (*module)
			set_module(method, module);
	}
	if (failed)
		hs_snapshot_gapf(jvm->snapshot, "modules", "the module in front of some frames",
		                 "the modules of %zu classes could not be read", failed);
	return NULL;
}

// ----

static struct hs_err *create(struct hs_jvm *jvm, struct hs_dump_builder *builder)
{
	struct hs_thread_dump *dump = hs_arena_alloc(jvm->arena, sizeof(*dump));

	*builder = (struct hs_dump_builder){.jvm = jvm, .dump = dump};
	builder->threads = hs_arena_calloc(jvm->arena, jvm->snapshot->threads.len + 1,
	                                   sizeof(*builder->threads));
	if (!dump || !builder->threads)
		return hs_err_oom();
	*dump = (struct hs_thread_dump){
		.major = jvm->major,
		.jni_global = -1,
		.jni_weak = -1,
	};
	return NULL;
}

struct hs_err *hs_jvm_collect_dump(struct hs_jvm *jvm)
{
	static const struct {
		struct hs_err *(*run)(struct hs_dump_builder *builder);
		const char *what, *costs;
	} steps[] = {
		{read_properties,           "system properties", "the mode of the VM"              },
		{read_release,              "release",           "the title of the dump"           },
		{read_list,                 "list of threads",   "its address"                     },
		{hs_dump_collect_facts,     "thread headers",    "CPU time and counters of threads"},
		{order_vm_threads,          "threads of the VM", "their names"                     },
		{name_modules,              "modules",           "the module in front of frames"   },
		{hs_dump_collect_deadlocks, "deadlock search",   "the tail of the thread dump"     },
		{hs_dump_collect_jni,       "JNI references",    "their number"                    },
		{hs_dump_collect_owned,     "Java heap",         "locks that nobody waits for"     },
	};
	struct hs_dump_builder builder;
	struct hs_err *err = create(jvm, &builder);

	for (size_t i = 0; !err && i < sizeof(steps) / sizeof(*steps); i++)
		err = hs_jvm_gap(jvm, steps[i].run(&builder), steps[i].costs, "%s", steps[i].what);
	if (err)
		return err;
	for (size_t i = 0; i < jvm->snapshot->threads.len; i++)
		jvm->snapshot->threads.items[i].dump = builder.threads[i];
	jvm->snapshot->dump = builder.dump;
	return hs_arena_failed(jvm->arena) ? hs_err_oom() : NULL;
}
