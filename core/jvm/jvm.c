// SPDX-License-Identifier: Apache-2.0
/** @file One HotSpot: find libjvm, resolve its layout, read the flags that decide how to decode. */

#include "core/jvm/jvm.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/jvm/jvm_internal.h"
#include "core/jvm/virtual_threads.h"

// ---- flags

enum flag {
	FLAG_COMPRESSED_OOPS,
	FLAG_COMPRESSED_KLASS,
	FLAG_COMPACT_HEADERS,
	FLAG_ZGC,
	FLAG_ZGC_GENERATIONAL,
	FLAG_SHENANDOAH,
	FLAG_G1,
	FLAG_SERIAL,
	FLAG_PARALLEL,
	FLAG_CMS,
	FLAG_EPSILON,
	FLAG_LOCKING_MODE,
	FLAG_MONITOR_TABLE,
	FLAG_HEAVY_MONITORS,
	FLAG_THREAD_PRIORITIES,
	FLAG_PRIORITY_POLICY,
	FLAG_TLAB,
	NUM_FLAGS,
};

static const char *const flag_names[NUM_FLAGS] = {
	[FLAG_COMPRESSED_OOPS] = "UseCompressedOops",
	[FLAG_COMPRESSED_KLASS] = "UseCompressedClassPointers",
	[FLAG_COMPACT_HEADERS] = "UseCompactObjectHeaders",
	[FLAG_ZGC] = "UseZGC",
	[FLAG_ZGC_GENERATIONAL] = "ZGenerational",
	[FLAG_SHENANDOAH] = "UseShenandoahGC",
	[FLAG_G1] = "UseG1GC",
	[FLAG_SERIAL] = "UseSerialGC",
	[FLAG_PARALLEL] = "UseParallelGC",
	[FLAG_CMS] = "UseConcMarkSweepGC",
	[FLAG_EPSILON] = "UseEpsilonGC",
	[FLAG_LOCKING_MODE] = "LockingMode",
	[FLAG_MONITOR_TABLE] = "UseObjectMonitorTable",
	[FLAG_HEAVY_MONITORS] = "UseHeavyMonitors",
	[FLAG_THREAD_PRIORITIES] = "UseThreadPriorities",
	[FLAG_PRIORITY_POLICY] = "ThreadPriorityPolicy",
	[FLAG_TLAB] = "UseTLAB",
};

/** Values of the flags that this release has. */
struct flags {
	bool has[NUM_FLAGS];
	int32_t value[NUM_FLAGS];
};

enum {
	FLAG_NAME_MAX = 32, // longer than any of the names above
	FLAG_BATCH = 64,
	FLAG_STRIDE_MAX = 128, // sizeof(JVMFlag) is 24 to 40
};

static bool flag_is(const struct flags *flags, enum flag flag, bool absent)
{
	return flags->has[flag] ? flags->value[flag] != 0 : absent;
}

static struct hs_err *read_flag_value(struct hs_jvm *jvm, enum flag flag, hs_addr addr,
                                      struct flags *flags)
{
	struct hs_err *err;
	uint32_t word;
	uint8_t byte;

	// The only numbers, the others are bool.
	if (flag == FLAG_LOCKING_MODE || flag == FLAG_PRIORITY_POLICY) {
		err = hs_target_read_u32(jvm->target, addr, &word);
	} else {
		err = hs_target_read_u8(jvm->target, addr, &byte);
		word = byte;
	}
	if (err)
		return hs_err_wrap(err, "flag %s", flag_names[flag]);
	flags->has[flag] = true;
	flags->value[flag] = (int32_t)word;
	return NULL;
}

/** One row of the flag table: a name, an address. */
static struct hs_err *read_flag(struct hs_jvm *jvm, const unsigned char *row, struct flags *flags)
{
	char name[FLAG_NAME_MAX];
	hs_addr name_addr, addr;

	memcpy(&name_addr, row + hs_layout_offset(&jvm->layout, HS_F_flag_name), sizeof(name_addr));
	memcpy(&addr, row + hs_layout_offset(&jvm->layout, HS_F_flag_addr), sizeof(addr));
	if (!name_addr) // the end marker
		return NULL;
	struct hs_err *err = hs_target_read(jvm->target, name_addr, name, sizeof(name));
	if (err) {
		hs_err_free(err); // ours lie in libjvm's .rodata, which does not end there
		return NULL;
	}
	for (size_t i = 0; i < NUM_FLAGS; i++) {
		if (!strncmp(name, flag_names[i], sizeof(name)))
			return read_flag_value(jvm, (enum flag)i, addr, flags);
	}
	return NULL;
}

static struct hs_err *read_flags(struct hs_jvm *jvm, struct flags *flags)
{
	const struct hs_layout *layout = &jvm->layout;
	uint64_t stride = layout->sizes[HS_T_flag], count;
	unsigned char rows[FLAG_BATCH * FLAG_STRIDE_MAX];
	hs_addr table;

	if (stride > FLAG_STRIDE_MAX || stride < 16 ||
	    hs_layout_offset(layout, HS_F_flag_name) > stride - 8 ||
	    hs_layout_offset(layout, HS_F_flag_addr) > stride - 8)
		return hs_err_new(HS_ERR_UNSUPPORTED, "flags of %" PRIu64 " bytes", stride);
	struct hs_err *err =
		hs_target_read_u64(jvm->target, hs_layout_static(layout, HS_F_flags), &table);
	if (!err)
		err = hs_target_read_u64(jvm->target, hs_layout_static(layout, HS_F_flags_count),
		                         &count);
	if (!err && count > HS_MAX_STRUCT_ENTRIES)
		err = hs_err_new(HS_ERR_BAD_DATA, "%" PRIu64 " flags", count);
	for (uint64_t i = 0; !err && i < count; i += FLAG_BATCH) {
		uint64_t batch = count - i < FLAG_BATCH ? count - i : FLAG_BATCH;

		err = hs_target_read(jvm->target, table + i * stride, rows, batch * stride);
		for (uint64_t j = 0; !err && j < batch; j++)
			err = read_flag(jvm, rows + j * stride, flags);
	}
	return hs_err_wrap(err, "the flag table");
}

// ---- what the flags decide

static struct hs_err *read_narrow(struct hs_jvm *jvm, enum hs_field base, enum hs_field shift,
                                  uint64_t *base_ret, uint32_t *shift_ret)
{
	struct hs_err *err =
		hs_target_read_u64(jvm->target, hs_layout_static(&jvm->layout, base), base_ret);
	if (!err)
		err = hs_target_read_u32(jvm->target, hs_layout_static(&jvm->layout, shift),
		                         shift_ret);
	if (!err && *shift_ret > 31)
		err = hs_err_new(HS_ERR_BAD_DATA, "a compressed pointer shift of %u", *shift_ret);
	return err;
}

static struct hs_err *resolve_pointers(struct hs_jvm *jvm, const struct flags *flags)
{
	int64_t klass_shift;
	struct hs_err *err = NULL;

	jvm->compressed_oops = flag_is(flags, FLAG_COMPRESSED_OOPS, false);
	// The flag is gone in 27, and with it the full klass word.
	jvm->compressed_klass = flag_is(flags, FLAG_COMPRESSED_KLASS, true);
	jvm->compact_headers = flag_is(flags, FLAG_COMPACT_HEADERS, false);
	if (jvm->compact_headers) {
		if (!hs_vmstructs_constant(jvm->vm, "markWord::klass_shift", &klass_shift) ||
		    klass_shift < 0 || klass_shift > 63)
			return hs_err_new(HS_ERR_UNSUPPORTED,
			                  "this libjvm does not publish markWord::klass_shift");
		jvm->mark_klass_shift = (unsigned)klass_shift;
	} else if (!hs_layout_has(&jvm->layout,
	                          jvm->compressed_klass ? HS_F_oop_narrow_klass : HS_F_oop_klass)) {
		return hs_err_new(HS_ERR_UNSUPPORTED,
		                  "this libjvm does not publish where the class of an object is");
	}
	if (jvm->compressed_oops)
		err = read_narrow(jvm, HS_F_narrow_oop_base, HS_F_narrow_oop_shift,
		                  &jvm->narrow_oop_base, &jvm->narrow_oop_shift);
	// Without compressed class pointers the base is no base: -1 in 26.
	if (!err && (jvm->compressed_klass || jvm->compact_headers))
		err = read_narrow(jvm, HS_F_narrow_klass_base, HS_F_narrow_klass_shift,
		                  &jvm->narrow_klass_base, &jvm->narrow_klass_shift);
	return err;
}

static void resolve_arrays(struct hs_jvm *jvm)
{
	const struct hs_layout *layout = &jvm->layout;

	// arrayOop.hpp: the length follows the mark word, the narrow klass or the full klass.
	if (jvm->compact_headers)
		jvm->array_length_offset = 8;
	else if (jvm->compressed_klass)
		jvm->array_length_offset =
			(uint32_t)hs_layout_offset(layout, HS_F_oop_narrow_klass) + 4;
	else
		jvm->array_length_offset = (uint32_t)hs_layout_offset(layout, HS_F_oop_klass) + 8;
	// Elements of less than 8 bytes follow directly since 23 (JDK-8139457), the release that
	// also moved nmethod::_immutable_data out of the code cache. The others are 24+.
	jvm->array_data_aligned = !hs_layout_has(layout, HS_F_nmethod_immutable_data) &&
	                          !hs_layout_has(layout, HS_F_blob_mutable_data) &&
	                          !hs_layout_has(layout, HS_F_thread_owner_id) &&
	                          !jvm->compact_headers;
}

static void resolve_locking(struct hs_jvm *jvm, const struct flags *flags)
{
	bool has_lock_stack = hs_layout_has(&jvm->layout, HS_F_thread_lock_stack);

	// LockingMode: 21 to 25. Before there were only stack locks (UseHeavyMonitors still leaves
	// those that the interpreter makes, seen on 17), after only lightweight ones.
	if (flags->has[FLAG_LOCKING_MODE] && flags->value[FLAG_LOCKING_MODE] >= 0 &&
	    flags->value[FLAG_LOCKING_MODE] <= HS_LOCKING_LIGHTWEIGHT)
		jvm->locking_mode = (enum hs_locking_mode)flags->value[FLAG_LOCKING_MODE];
	else
		jvm->locking_mode = has_lock_stack ? HS_LOCKING_LIGHTWEIGHT : HS_LOCKING_LEGACY;
	// The flag is 24 to 27. In 28 there is always a table, and a monitor has no header word.
	jvm->monitor_table = flag_is(flags, FLAG_MONITOR_TABLE,
	                             !hs_layout_has(&jvm->layout, HS_F_monitor_header));
	// 24, 25: forced on by compact headers, which leave no room for a pointer in the mark.
	if (jvm->compact_headers)
		jvm->monitor_table = true;
}

// ---- garbage collector

/** ZGlobalsForVMStructs holds pointers to the values. 0 when absent. */
static struct hs_err *read_zglobal(struct hs_jvm *jvm, enum hs_field instance, enum hs_field field,
                                   uint64_t *ret)
{
	hs_addr globals, pointer;

	if (!hs_layout_has(&jvm->layout, instance) || !hs_layout_has(&jvm->layout, field))
		return NULL;
	struct hs_err *err =
		hs_target_read_u64(jvm->target, hs_layout_static(&jvm->layout, instance), &globals);
	if (!err && globals)
		err = hs_target_read_u64(jvm->target,
		                         globals + hs_layout_offset(&jvm->layout, field), &pointer);
	if (err || !globals || !pointer)
		return err;
	return hs_target_read_u64(jvm->target, pointer, ret);
}

static struct hs_err *resolve_zgc(struct hs_jvm *jvm, const struct flags *flags)
{
	bool can_be_generational = hs_layout_has(&jvm->layout, HS_F_zglobals_load_shift);
	uint64_t shift = 0;
	struct hs_err *err;

	jvm->use_zgc = flag_is(flags, FLAG_ZGC, false);
	if (!jvm->use_zgc)
		return NULL;
	// ZGenerational: 21 to 23. Both kinds live side by side there, as X and Z.
	jvm->zgc_generational = can_be_generational && flag_is(flags, FLAG_ZGC_GENERATIONAL, true);
	if (jvm->zgc_generational) {
		err = read_zglobal(jvm, HS_F_zglobals, HS_F_zglobals_load_shift, &shift);
		jvm->z_load_shift = (uint32_t)(shift & 63);
		if (!err && !jvm->z_load_shift)
			err = hs_err_new(HS_ERR_UNSUPPORTED,
			                 "ZGC's pointer shift is not published");
		return err;
	}
	bool is_x = hs_layout_has(&jvm->layout, HS_F_xglobals);
	err = read_zglobal(jvm, is_x ? HS_F_xglobals : HS_F_zglobals,
	                   is_x ? HS_F_xglobals_offset_mask : HS_F_zglobals_offset_mask,
	                   &jvm->z_offset_mask);
	if (!err)
		err = read_zglobal(jvm, is_x ? HS_F_xglobals : HS_F_zglobals,
		                   is_x ? HS_F_xglobals_good_mask : HS_F_zglobals_good_mask,
		                   &jvm->z_good_mask);
	return err;
}

/** Remembers how many collections have begun: see hs_snapshot. */
static struct hs_err *read_collections(struct hs_jvm *jvm, hs_addr heap)
{
	struct hs_word *word = &jvm->snapshot->collections;
	struct hs_err *err;
	uint32_t value;

	if (!hs_layout_has(&jvm->layout, HS_F_heap_collections))
		return NULL;
	word->addr = heap + hs_layout_offset(&jvm->layout, HS_F_heap_collections);
	err = hs_target_read_u32(jvm->target, word->addr, &value);
	if (err)
		return err;
	word->value = value;
	word->size = sizeof(value);
	return NULL;
}

/** A core may be taken in the middle of a collection that moves objects. */
static struct hs_err *read_gc_active(struct hs_jvm *jvm)
{
	uint8_t active = 0;
	hs_addr heap;

	if (!hs_layout_has(&jvm->layout, HS_F_heap) ||
	    !hs_layout_has(&jvm->layout, HS_F_heap_stw_gc_active))
		return NULL;
	struct hs_err *err =
		hs_target_read_u64(jvm->target, hs_layout_static(&jvm->layout, HS_F_heap), &heap);
	if (!err && heap)
		err = hs_target_read_u8(
			jvm->target, heap + hs_layout_offset(&jvm->layout, HS_F_heap_stw_gc_active),
			&active);
	if (!err && heap)
		err = read_collections(jvm, heap);
	if (err)
		return err;
	jvm->stw_gc_active = active == 1;
	jvm->snapshot->was_collecting = jvm->stw_gc_active;
	if (jvm->stw_gc_active)
		hs_snapshot_gapf(jvm->snapshot, "Java heap",
		                 "an object that is being moved may be read at its old place",
		                 "a stop-the-world garbage collection was running");
	return NULL;
}

static const char *gc_name(const struct flags *flags)
{
	static const struct {
		enum flag flag;
		const char *name;
	} collectors[] = {
		{FLAG_G1,         "G1"        },
		{FLAG_ZGC,        "ZGC"       },
		{FLAG_SHENANDOAH, "Shenandoah"},
		{FLAG_PARALLEL,   "Parallel"  },
		{FLAG_SERIAL,     "Serial"    },
		{FLAG_CMS,        "CMS"       },
		{FLAG_EPSILON,    "Epsilon"   },
	};

	for (size_t i = 0; i < sizeof(collectors) / sizeof(collectors[0]); i++) {
		if (flag_is(flags, collectors[i].flag, false))
			return collectors[i].name;
	}
	return NULL;
}

// ---- version

static struct hs_err *read_static_cstr(struct hs_jvm *jvm, enum hs_field field, const char **ret)
{
	hs_addr addr;

	if (!hs_layout_has(&jvm->layout, field))
		return NULL;
	struct hs_err *err =
		hs_target_read_u64(jvm->target, hs_layout_static(&jvm->layout, field), &addr);
	if (err || !addr)
		return err;
	return hs_target_read_cstr(jvm->target, addr, HS_MAX_NAME, jvm->arena, ret);
}

/** 8: _s_vm_release is that of HotSpot ("25.504-b01"). The release stands behind: "JRE
 * (1.8.0_504-b01)", and some vendors have more ("JRE (Zulu 8.42…) (1.8.0_232-b18)"). */
static struct hs_err *find_release_of_8(struct hs_jvm *jvm, const char *info)
{
	const char *start = info ? strstr(info, "(1.8.0") : NULL;
	const char *end = start ? strchr(start, ')') : NULL;

	if (!end)
		return NULL;
	jvm->release = hs_arena_strndup(jvm->arena, start + 1, (size_t)(end - start - 1));
	return jvm->release ? NULL : hs_err_oom();
}

static struct hs_err *read_version(struct hs_jvm *jvm)
{
	const char *info = NULL;
	uint32_t major = 0;

	struct hs_err *err = read_static_cstr(jvm, HS_F_vm_release, &jvm->release);
	// "OpenJDK 64-Bit Server VM (17.0.15+6-…) for linux-amd64 JRE (17.0.15+6-…), built …".
	if (!err)
		err = read_static_cstr(jvm, HS_F_vm_info_string, &info);
	if (!err && hs_layout_has(&jvm->layout, HS_F_vm_major_version))
		err = hs_target_read_u32(
			jvm->target, hs_layout_static(&jvm->layout, HS_F_vm_major_version), &major);
	if (err)
		return hs_err_wrap(err, "the version");
	// 8 has the version of HotSpot there, 25: told by the dictionary that only 8 publishes.
	jvm->major = hs_layout_has(&jvm->layout, HS_F_system_dictionary) ? 8 : (int)major;
	const char *end = info ? strstr(info, " (") : NULL;
	if (end) {
		jvm->snapshot->runtime.vm =
			hs_arena_strndup(jvm->arena, info, (size_t)(end - info));
		if (!jvm->snapshot->runtime.vm)
			return hs_err_oom();
	}
	return jvm->major == 8 ? find_release_of_8(jvm, info) : NULL;
}

// ---- open, close

static struct hs_err *resolve(struct hs_jvm *jvm)
{
	struct flags flags = {0};

	struct hs_err *err = hs_vmstructs_read(jvm->target, jvm->libjvm, jvm->arena, &jvm->vm);
	if (!err)
		err = hs_layout_resolve(jvm->vm, &jvm->layout);
	if (!err)
		err = read_version(jvm);
	if (!err)
		err = read_flags(jvm, &flags);
	if (!err)
		err = resolve_pointers(jvm, &flags);
	if (!err)
		err = resolve_zgc(jvm, &flags);
	if (err)
		return err;
	jvm->use_tlab = flag_is(&flags, FLAG_TLAB, false);
	// os::get_native_priority (os_linux.cpp, 8 to 28): 0 for all without a policy.
	jvm->native_priority_zero = !flag_is(&flags, FLAG_PRIORITY_POLICY, true) ||
	                            !flag_is(&flags, FLAG_THREAD_PRIORITIES, true);
	jvm->use_shenandoah = flag_is(&flags, FLAG_SHENANDOAH, false);
	// The bias came with these, all in 21 (unsigned5.hpp): a release may hide one of them.
	jvm->unsigned5_bias = hs_layout_has(&jvm->layout, HS_F_klass_fieldinfo_stream) ||
	                      hs_layout_has(&jvm->layout, HS_F_const_method_flags_u4) ||
	                      hs_layout_has(&jvm->layout, HS_F_thread_lock_stack);
	int64_t ignored;
	jvm->has_value_classes =
		hs_vmstructs_constant(jvm->vm, "FieldInfo::FieldFlags::_ff_flat", &ignored);
	resolve_arrays(jvm);
	resolve_locking(jvm, &flags);
	jvm->snapshot->runtime.kind = "hotspot";
	jvm->snapshot->runtime.version = jvm->release;
	jvm->snapshot->runtime.gc = gc_name(&flags);
	return read_gc_active(jvm);
}

struct hs_err *hs_jvm_open(struct hs_target *target, struct hs_snapshot *snapshot,
                           struct hs_jvm **ret)
{
	const struct hs_module *libjvm =
		hs_module_map_by_name(hs_target_modules(target), "libjvm.so");

	if (!libjvm)
		return hs_err_absent();
	struct hs_jvm *jvm = calloc(1, sizeof(*jvm));
	if (!jvm)
		return hs_err_oom();
	jvm->target = target;
	jvm->snapshot = snapshot;
	jvm->arena = snapshot->arena;
	jvm->libjvm = libjvm;

	struct hs_err *err = resolve(jvm);
	if (err) {
		hs_jvm_close(jvm);
		return err;
	}
	// Threads and their monitors can be read without it.
	hs_snapshot_gap(snapshot, "code cache", "Java frames cannot be found",
	                hs_code_cache_open(jvm));
	hs_java_frames_init(jvm);
	hs_jvm_note_missing(jvm);
	*ret = jvm;
	return NULL;
}

void hs_jvm_close(struct hs_jvm *jvm)
{
	if (!jvm)
		return;
	hs_code_cache_close(jvm);
	hs_class_index_close(jvm);
	hs_vthreads_close(jvm);
	for (size_t i = 0; i < jvm->methods.cap; i++) {
		struct hs_method *method = jvm->methods.slots[i].value;
		if (method)
			hs_map64_deinit(&method->locations);
	}
	hs_map64_deinit(&jvm->methods);
	hs_map64_deinit(&jvm->klasses);
	hs_map64_deinit(&jvm->symbols);
	hs_map64_deinit(&jvm->own_clds);
	hs_map64_deinit(&jvm->jthread_by_addr);
	free(jvm);
}

void hs_jvm_closep(struct hs_jvm **jvm)
{
	hs_jvm_close(*jvm);
}

struct hs_err *hs_jvm_split_stacks(struct hs_jvm *jvm)
{
	return hs_vthreads_split(jvm);
}

const struct hs_stepper *hs_jvm_stepper(struct hs_jvm *jvm)
{
	return &jvm->stepper;
}
