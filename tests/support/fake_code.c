// SPDX-License-Identifier: Apache-2.0
/** @file Fake code: layout by hand, caches filled directly. */

#include "tests/support/fake_code.h"

#include <stdlib.h>
#include <string.h>

#include "tests/support/fake_libjvm.h"

/** Places of our own choice. */
enum {
	META = 0x20000000,
	STATICS = 0x40000000,
	CODE_HEAP_OBJECT = 0x41000000,
	STUB_QUEUE = 0x42000000,
	SPACE_SIZE = 0x10000,

	BLOCK_SIZE = 16,
	BLOB_SIZE = 64,
	NMETHOD_SIZE = 160,
	CODE_OFFSET = 256, /**< of the first instruction, from the blob */
};

static void set_field(struct fake_code *code, enum hs_field field, const char *type,
                      uint64_t offset)
{
	code->jvm->layout.fields[field] =
		(struct hs_layout_field){.present = true, .offset = offset, .type = type};
}

static void set_static(struct fake_code *code, enum hs_field field, uint64_t value)
{
	hs_addr at = STATICS + (hs_addr)field * 8;

	code->jvm->layout.fields[field] =
		(struct hs_layout_field){.present = true, .is_static = true, .address = at};
	hs_fake_u64(code->fake, at, value);
}

static void common_layout(struct fake_code *code)
{
	static const struct {
		enum hs_field field;
		const char *type;
		uint64_t offset;
	} rows[] = {
		{HS_F_code_heap_memory,            NULL,             0 },
		{HS_F_code_heap_segmap,            NULL,             16},
		{HS_F_code_heap_log2_segment_size, "int",            32},
		{HS_F_virtual_space_low,           "char*",          0 },
		{HS_F_virtual_space_high,          "char*",          8 },
		{HS_F_heap_block_used,             "bool",           8 },
		{HS_F_blob_name,                   "const char*",    0 },
		{HS_F_blob_size,                   "int",            8 },
		{HS_F_blob_frame_size,             "int",            12},
		{HS_F_nmethod_method,              "Method*",        64},
		{HS_F_nmethod_comp_level,          "CompLevel",      72},
		{HS_F_nmethod_scopes_pcs_offset,   "int",            76},
		{HS_F_nmethod_orig_pc_offset,      "int",            80},
		{HS_F_pc_desc_pc_offset,           "int",            0 },
		{HS_F_pc_desc_scope_offset,        "int",            4 },
		{HS_F_pc_desc_obj_offset,          "int",            8 },
		{HS_F_stub_queue_buffer,           "address",        0 },
		{HS_F_stub_queue_limit,            "int",            8 },
		{HS_F_basic_object_lock_obj,       "oop",            8 },
		{HS_F_oop_klass,                   "Klass*",         8 },
		{HS_F_monitor_object,              "oop",            8 },
		{HS_F_growable_array_len,          "int",            0 },
		{HS_F_growable_array_data,         "int*",           8 },
		{HS_F_thread_list_length,          "uint",           0 },
		{HS_F_thread_list_threads,         "JavaThread**",   8 },
		{HS_F_thread_osthread,             "OSThread*",      0 },
		{HS_F_osthread_thread_id,          "pid_t",          0 },
		{HS_F_thread_anchor,               NULL,             8 },
		{HS_F_anchor_last_java_sp,         "intptr_t*",      0 },
		{HS_F_anchor_last_java_pc,         "address",        8 },
		{HS_F_anchor_last_java_fp,         "intptr_t*",      16},
		{HS_F_thread_pending_monitor,      "ObjectMonitor*", 32},
		{HS_F_thread_waiting_monitor,      "ObjectMonitor*", 40},
		{HS_F_thread_stack_base,           "address",        48},
		{HS_F_thread_stack_size,           "size_t",         56},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		set_field(code, rows[i].field, rows[i].type, rows[i].offset);
	code->jvm->layout.sizes[HS_T_heap_block] = BLOCK_SIZE;
	code->jvm->layout.sizes[HS_T_code_blob] = BLOB_SIZE;
	code->jvm->layout.sizes[HS_T_nmethod] = NMETHOD_SIZE;
	code->jvm->layout.sizes[HS_T_pc_desc] = 16;
	code->jvm->layout.sizes[HS_T_basic_object_lock] = 16;
}

static void release_layout(struct fake_code *code)
{
	if (code->release == FAKE_25) {
		set_field(code, HS_F_blob_kind, "CodeBlobKind", 20);
		set_field(code, HS_F_blob_frame_complete_offset, "int16_t", 16);
		set_field(code, HS_F_blob_code_offset, "int", 24);
		set_field(code, HS_F_blob_data_offset, "int", 28);
		set_field(code, HS_F_blob_mutable_data, "address", 32);
		set_field(code, HS_F_blob_mutable_data_size, "int", 40);
		set_field(code, HS_F_blob_relocation_size, "int", 44);
		set_field(code, HS_F_nmethod_immutable_data, "address", 88);
		set_field(code, HS_F_nmethod_immutable_data_size, "int", 96);
		set_field(code, HS_F_nmethod_scopes_data_offset, "int", 100);
		set_field(code, HS_F_nmethod_deopt_offset, "int", 104);
		code->jvm->unsigned5_bias = 1;
	} else {
		set_field(code, HS_F_blob_frame_complete_offset, "int", 16);
		set_field(code, HS_F_blob_code_begin, "address", 24);
		set_field(code, HS_F_nmethod_scopes_data_begin, "address", 88);
		set_field(code, HS_F_nmethod_dependencies_offset, "int", 96);
		set_field(code, HS_F_nmethod_metadata_offset, "int", 100);
		set_field(code, HS_F_nmethod_oops_offset, "int", 104);
		set_field(code, HS_F_nmethod_deopt_begin, "address", 112);
	}
	if (code->release == FAKE_8) {
		set_static(code, HS_F_code_cache_heap, CODE_HEAP_OBJECT);
	} else {
		set_static(code, HS_F_code_cache_heaps, CODE_HEAP_OBJECT + 0x100);
		hs_fake_fill(code->fake, CODE_HEAP_OBJECT + 0x100, 0, 0x20);
		hs_fake_u32(code->fake, CODE_HEAP_OBJECT + 0x100, 1);
		hs_fake_u64(code->fake, CODE_HEAP_OBJECT + 0x108, CODE_HEAP_OBJECT + 0x110);
		hs_fake_u64(code->fake, CODE_HEAP_OBJECT + 0x110, CODE_HEAP_OBJECT);
	}
}

static void make_heap(struct fake_code *code)
{
	hs_fake_fill(code->fake, FAKE_CODE, 0x90, FAKE_CODE_SIZE);
	hs_fake_fill(code->fake, FAKE_SEGMAP, 0xff, FAKE_CODE_SIZE / FAKE_SEGMENT);
	hs_fake_u64(code->fake, CODE_HEAP_OBJECT, FAKE_CODE);
	hs_fake_u64(code->fake, CODE_HEAP_OBJECT + 8, FAKE_CODE + FAKE_CODE_SIZE);
	hs_fake_u64(code->fake, CODE_HEAP_OBJECT + 16, FAKE_SEGMAP);
	hs_fake_u64(code->fake, CODE_HEAP_OBJECT + 24, FAKE_SEGMAP + FAKE_CODE_SIZE / FAKE_SEGMENT);
	hs_fake_u32(code->fake, CODE_HEAP_OBJECT + 32, 7);
	hs_fake_u64(code->fake, STUB_QUEUE, FAKE_INTERPRETER);
	hs_fake_u32(code->fake, STUB_QUEUE + 8, 0x1000);
	set_static(code, HS_F_interpreter_code, STUB_QUEUE);
	set_static(code, HS_F_call_stub_return, FAKE_CALL_STUB_RETURN);
}

/** Tables with nothing but constants: the layout is made by hand. */
static struct hs_fake_libjvm *make_libjvm(struct fake_code *code)
{
	struct hs_fake_libjvm *libjvm = hs_fake_libjvm_create(code->fake);

	hs_fake_libjvm_int(libjvm, "CodeBlobKind::Nmethod", 1);
	// oopMap.hpp, 17 to 25.
	hs_fake_libjvm_int(libjvm, "OopMapValue::type_bits", 2);
	hs_fake_libjvm_int(libjvm, "OopMapValue::register_shift", 2);
	hs_fake_libjvm_int(libjvm, "OopMapValue::callee_saved_value", 2);
	hs_fake_libjvm_int(libjvm, "OopMapValue::derived_oop_value", 3);
	hs_fake_libjvm_standard(libjvm, code->release == FAKE_25);
	hs_fake_libjvm_install(libjvm, true);
	return libjvm;
}

static void read_libjvm(struct fake_code *code)
{
	struct hs_jvm *jvm = code->jvm;

	jvm->libjvm = hs_module_map_by_name(hs_target_modules(jvm->target), "libjvm.so");
	struct hs_err *err = hs_vmstructs_read(jvm->target, jvm->libjvm, jvm->arena, &jvm->vm);
	if (err)
		abort();
}

struct fake_code *hs_fake_code_create(enum fake_release release)
{
	struct fake_code *code = calloc(1, sizeof(*code));

	if (!code)
		abort();
	code->release = release;
	code->fake = hs_fake_create();
	code->snapshot = hs_snapshot_create();
	code->jvm = calloc(1, sizeof(*code->jvm));
	if (!code->snapshot || !code->jvm)
		abort();
	code->jvm->snapshot = code->snapshot;
	code->jvm->arena = code->snapshot->arena;
	code->list.arena = code->snapshot->arena;
	code->next = META;
	hs_fake_fill(code->fake, META, 0, SPACE_SIZE);
	hs_fake_fill(code->fake, STATICS, 0, SPACE_SIZE);
	hs_fake_fill(code->fake, FAKE_STACK, 0, FAKE_STACK_SIZE);
	hs_fake_mapping(code->fake, "libjvm.so", FAKE_NATIVE, FAKE_NATIVE + 0x1000,
	                HS_PROT_READ | HS_PROT_EXEC);
	common_layout(code);
	release_layout(code);
	make_heap(code);
	code->libjvm = make_libjvm(code);
	code->jvm->target = hs_fake_target(code->fake);
	read_libjvm(code);
	hs_fake_code_blob(code, "Interpreter", 0x100, 0x20 + 1, 0);
	hs_fake_code_blob(code, "StubRoutines (1)", 0x140, 8, 0);
	hs_java_frames_init(code->jvm);
	return code;
}

void hs_fake_code_destroy(struct fake_code *code)
{
	if (!code)
		return;
	hs_code_cache_close(code->jvm);
	for (size_t i = 0; i < code->jvm->methods.cap; i++) {
		struct hs_method *method = code->jvm->methods.slots[i].value;

		if (method)
			hs_map64_deinit(&method->locations);
	}
	hs_map64_deinit(&code->jvm->methods);
	hs_map64_deinit(&code->jvm->klasses);
	hs_map64_deinit(&code->jvm->jthread_by_addr);
	free(code->jvm);
	hs_snapshot_destroy(code->snapshot);
	hs_fake_destroy(code->fake);
	hs_fake_libjvm_destroy(code->libjvm);
	free(code);
}

static hs_addr take(struct fake_code *code, size_t size)
{
	hs_addr addr = code->next;

	code->next += (size + 15) & ~(size_t)15;
	if (code->next > META + SPACE_SIZE)
		abort();
	return addr;
}

static struct hs_klass *make_klass(struct fake_code *code, const char *name)
{
	struct hs_klass *klass = hs_arena_alloc(code->jvm->arena, sizeof(*klass));

	if (!klass)
		abort();
	klass->addr = take(code, 64);
	klass->name = hs_arena_strdup(code->jvm->arena, name);
	klass->layout_helper = 16;
	char *external = hs_arena_strdup(code->jvm->arena, name);
	if (!external || !klass->name || !hs_map64_put(&code->jvm->klasses, klass->addr, klass))
		abort();
	for (char *slash = external; (slash = strchr(slash, '/'));)
		*slash = '.';
	klass->external_name = external;
	klass->fields_read = true;
	return klass;
}

struct hs_method *hs_fake_code_method(struct fake_code *code, const char *name)
{
	struct hs_method *method = hs_arena_alloc(code->jvm->arena, sizeof(*method));

	if (!method)
		abort();
	*method = (struct hs_method){
		.addr = take(code, 64),
		.holder = make_klass(code, "app/Main"),
		.name = name,
		.descriptor = "()V",
		.code_base = take(code, FAKE_BCI_BYTES),
		.code_size = FAKE_BCI_BYTES,
	};
	if (!hs_map64_put(&code->jvm->methods, method->addr, method))
		abort();
	return method;
}

hs_addr hs_fake_code_object(struct fake_code *code, const char *class_name)
{
	const struct hs_klass *klass = make_klass(code, class_name);
	hs_addr object = take(code, 32);

	hs_fake_u64(code->fake, object, 1);
	hs_fake_u64(code->fake, object + 8, klass->addr);
	return object;
}

hs_addr hs_fake_code_monitor(struct fake_code *code, hs_addr object)
{
	hs_addr monitor = take(code, 32);

	hs_fake_u64(code->fake, monitor + 8, object);
	hs_fake_u64(code->fake, object, monitor | 2); // inflated
	return monitor;
}

static hs_addr put_blob(struct fake_code *code, const char *name, uint32_t first, uint32_t segments,
                        int32_t frame_words)
{
	hs_addr block = FAKE_CODE + (hs_addr)first * FAKE_SEGMENT, blob = block + BLOCK_SIZE;
	hs_addr text = take(code, strlen(name) + 1);

	for (uint32_t i = 0; i < segments; i++)
		hs_fake_u8(code->fake, FAKE_SEGMAP + first + i, (uint8_t)(i < 2 ? i : 2 - i % 2));
	hs_fake_fill(code->fake, block, 0, BLOCK_SIZE + NMETHOD_SIZE);
	hs_fake_u8(code->fake, block + 8, 1);
	hs_fake_cstr(code->fake, text, name);
	hs_fake_u64(code->fake, blob, text);
	hs_fake_u32(code->fake, blob + 8, segments * FAKE_SEGMENT - BLOCK_SIZE);
	hs_fake_u32(code->fake, blob + 12, (uint32_t)frame_words);
	return blob;
}

static void put_code_begin(struct fake_code *code, hs_addr blob, uint32_t offset)
{
	if (code->release == FAKE_25)
		hs_fake_u32(code->fake, blob + 24, offset);
	else
		hs_fake_u64(code->fake, blob + 24, blob + offset);
}

hs_addr hs_fake_code_blob(struct fake_code *code, const char *name, uint32_t first,
                          uint32_t segments, int32_t frame_words)
{
	hs_addr blob = put_blob(code, name, first, segments, frame_words);

	put_code_begin(code, blob, BLOB_SIZE);
	if (code->release == FAKE_25)
		hs_fake_u16(code->fake, blob + 16, UINT16_MAX);
	else
		hs_fake_u32(code->fake, blob + 16, UINT32_MAX);
	hs_fake_u8(code->fake, blob + 20, 2);
	return blob + BLOB_SIZE;
}

static void put_offsets(struct fake_code *code, hs_addr blob, hs_addr scopes, size_t scopes_len,
                        hs_addr pcs, hs_addr metadata, hs_addr oops, int32_t deopt)
{
	struct hs_fake *fake = code->fake;

	if (code->release == FAKE_25) { // PcDescs, scopes; all apart
		hs_fake_u64(fake, blob + 88, pcs);
		hs_fake_u32(fake, blob + 76, 0);
		hs_fake_u32(fake, blob + 100, (uint32_t)(scopes - pcs));
		hs_fake_u32(fake, blob + 96, (uint32_t)(scopes - pcs + scopes_len));
		hs_fake_u64(fake, blob + 32, metadata - 8);
		hs_fake_u32(fake, blob + 40, 8 + 32);
		hs_fake_u32(fake, blob + 44, 8);
		hs_fake_u32(fake, blob + 28, (uint32_t)(oops - blob));
		hs_fake_u32(fake, blob + 104, deopt ? (uint32_t)(CODE_OFFSET + deopt) : UINT32_MAX);
	} else {
		hs_fake_u64(fake, blob + 88, scopes);
		hs_fake_u32(fake, blob + 76, (uint32_t)(pcs - blob));
		hs_fake_u32(fake, blob + 96, (uint32_t)(pcs + 64 - blob));
		hs_fake_u32(fake, blob + 100, (uint32_t)(metadata - blob));
		hs_fake_u32(fake, blob + 104, (uint32_t)(oops - blob));
		hs_fake_u64(fake, blob + 112, deopt ? blob + CODE_OFFSET + (hs_addr)deopt : 0);
	}
}

hs_addr hs_fake_code_nmethod(struct fake_code *code, uint32_t first, uint32_t segments,
                             int32_t frame_words, const struct fake_nmethod *nm)
{
	hs_addr blob = put_blob(code, nm->scopes ? "nmethod" : "native nmethod", first, segments,
	                        frame_words);
	// In the blob, behind the code: oops, metadata, scopes, PcDescs.
	hs_addr data = blob + CODE_OFFSET + 256, oops = data, metadata = data + 40;
	hs_addr pcs = data + 80, scopes = data + 144;
	size_t count = 0;

	if (code->release != FAKE_25) {
		scopes = data + 80;
		pcs = scopes + (nm->scopes_len > 64 ? (nm->scopes_len + 15) & ~(size_t)15 : 64);
	}
	for (size_t i = 0; i < 4; i++)
		hs_fake_u64(code->fake, oops + 8 * i, nm->oops[i]);
	hs_fake_fill(code->fake, metadata - 8, 0, 40);
	for (size_t i = 0; nm->metadata && nm->metadata[i]; i++)
		hs_fake_u64(code->fake, metadata + 8 * i, nm->metadata[i]->addr);
	hs_fake_memory(code->fake, scopes, nm->scopes, nm->scopes_len);
	for (size_t i = 0; i < 4; i++) {
		struct hs_pc_desc desc = nm->descs[i];

		if (i && !desc.pc_offset) // the end, after all others
			desc = (struct hs_pc_desc){.pc_offset = 1 << 20};
		hs_fake_u32(code->fake, pcs + 16 * i, (uint32_t)desc.pc_offset);
		hs_fake_u32(code->fake, pcs + 16 * i + 4, (uint32_t)desc.scope_offset);
		hs_fake_u32(code->fake, pcs + 16 * i + 8, (uint32_t)desc.object_offset);
		hs_fake_u32(code->fake, pcs + 16 * i + 12, 0);
		count++;
	}
	put_code_begin(code, blob, CODE_OFFSET);
	hs_fake_u16(code->fake, blob + 16, 16); // frame complete
	hs_fake_u8(code->fake, blob + 20, 1);
	put_offsets(code, blob, scopes, nm->scopes_len, pcs, metadata, oops, nm->deopt_offset);
	hs_fake_u64(code->fake, blob + 64, nm->method->addr);
	hs_fake_u8(code->fake, blob + 72, nm->tier);
	hs_fake_u32(code->fake, blob + 80, (uint32_t)nm->orig_pc_offset);
	hs_fake_u32(code->fake, blob + NMETHOD_SIZE - 8, (uint32_t)nm->receiver_offset);
	hs_fake_u32(code->fake, blob + NMETHOD_SIZE - 4, (uint32_t)nm->lock_offset);
	return blob + CODE_OFFSET;
}

/** Newer releases store words from rbp. */
static uint64_t pointer(const struct fake_code *code, hs_addr fp, hs_addr value)
{
	return code->release == FAKE_25 ? (uint64_t)((int64_t)(value - fp) / 8) : value;
}

void hs_fake_code_interpreter_frame(struct fake_code *code, hs_addr fp,
                                    const struct fake_interpreter_frame *frame)
{
	hs_addr low = code->release == FAKE_8 ? fp + 8 : fp; // no mirror

	hs_fake_u64(code->fake, fp + 8, frame->return_pc);
	hs_fake_u64(code->fake, fp, frame->link);
	hs_fake_u64(code->fake, fp - 8, frame->sender_sp);
	hs_fake_u64(code->fake, fp - 24, frame->method->addr);
	hs_fake_u64(code->fake, low - 56, pointer(code, fp, frame->locals));
	hs_fake_u64(code->fake, low - 64, frame->method->code_base + frame->bci);
	hs_fake_u64(code->fake, low - 72,
	            pointer(code, fp, frame->monitors ? frame->monitors : low - 72));
}

void hs_fake_code_thread(struct fake_code *code, hs_addr pending, hs_addr waiting, hs_addr sp,
                         hs_addr fp, hs_addr pc)
{
	struct hs_fake *fake = code->fake;
	hs_addr list = take(code, 32), osthread = take(code, 16);
	struct hs_err *err;

	set_static(code, HS_F_thread_list, list);
	hs_fake_u32(fake, list, 1);
	hs_fake_u64(fake, list + 8, list + 16);
	hs_fake_u64(fake, list + 16, FAKE_JTHREAD);
	hs_fake_fill(fake, FAKE_JTHREAD, 0, 128);
	hs_fake_u64(fake, FAKE_JTHREAD, osthread);
	hs_fake_u32(fake, osthread, FAKE_TID);
	hs_fake_u64(fake, FAKE_JTHREAD + 8, sp);
	hs_fake_u64(fake, FAKE_JTHREAD + 16, pc);
	hs_fake_u64(fake, FAKE_JTHREAD + 24, fp);
	hs_fake_u64(fake, FAKE_JTHREAD + 32, pending);
	hs_fake_u64(fake, FAKE_JTHREAD + 40, waiting);
	hs_fake_u64(fake, FAKE_JTHREAD + 48, FAKE_STACK + FAKE_STACK_SIZE);
	hs_fake_u64(fake, FAKE_JTHREAD + 56, FAKE_STACK_SIZE);
	uint32_t index;
	struct hs_thread *thread = hs_snapshot_add_thread(code->snapshot, FAKE_TID, &index);
	if (!thread)
		abort();
	thread->state = "sleeping";
	err = hs_jvm_collect_threads(code->jvm);
	if (err)
		abort();
}

struct hs_cursor hs_fake_code_cursor(hs_addr pc, hs_addr sp, hs_addr fp)
{
	struct hs_cursor cursor = {0};

	hs_regs_set(&cursor.regs, HS_REG_PC, pc);
	hs_regs_set(&cursor.regs, HS_REG_SP, sp);
	if (fp)
		hs_regs_set(&cursor.regs, HS_REG_FP, fp);
	return cursor;
}
