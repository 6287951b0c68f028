// SPDX-License-Identifier: Apache-2.0
/** @file Code cache: heaps, segment map, blobs. */

#include "core/jvm/code_cache.h"

#include <inttypes.h>
#include <string.h>

#include "core/jvm/nmethod.h"

enum {
	SEGMAP_FREE = 0xff, /**< CodeHeap::free_sentinel, 8..28 */
	SEGMAP_CHUNK = 64,  /**< bytes of the map read at once */
	MAX_LOG2_SEGMENT = 16,
};

struct hs_err *hs_record_read(struct hs_jvm *jvm, hs_addr addr, uint64_t len, struct hs_record *ret)
{
	ret->jvm = jvm;
	ret->addr = addr;
	ret->len = len < sizeof(ret->bytes) ? (size_t)len : sizeof(ret->bytes);
	return hs_target_read(jvm->target, addr, ret->bytes, ret->len);
}

/** Bytes of an integer of C++ type @p type; unknown names (enums) are as wide as an int. */
static size_t int_width(const char *type)
{
	static const struct {
		const char *type;
		size_t width;
	} widths[] = {
		{"bool",      1},
		{"char",      1},
		{"u1",        1},
		{"s1",        1},
		{"uint8_t",   1},
		{"int8_t",    1},
		{"CompLevel", 1}, // 8..28: levels fit the low
  // byte; s1 since 21
		{"u2",        2},
		{"short",     2},
		{"int16_t",   2},
		{"uint16_t",  2},
		{"size_t",    8},
		{"intptr_t",  8},
		{"uintptr_t", 8},
		{"int64_t",   8},
		{"uint64_t",  8},
		{"address",   8},
		{"oop",       8},
	};

	if (!type)
		return 4;
	if (strchr(type, '*'))
		return 8;
	for (size_t i = 0; i < sizeof(widths) / sizeof(*widths); i++) {
		if (!strcmp(type, widths[i].type))
			return widths[i].width;
	}
	return 4;
}

int64_t hs_record_int(const struct hs_record *record, enum hs_field field)
{
	const struct hs_layout_field *f = &record->jvm->layout.fields[field];
	size_t width = int_width(f->type);

	if (!f->present || f->is_static || !width || record->len < width ||
	    f->offset > record->len - width)
		return 0;

	const uint8_t *at = record->bytes + f->offset;
	bool is_unsigned = f->type && (f->type[0] == 'u' || !strcmp(f->type, "bool"));
	uint64_t value = 0;
	for (size_t i = 0; i < width; i++)
		value |= (uint64_t)at[i] << (8 * i);
	if (width < 8 && !is_unsigned && value >> (8 * width - 1))
		value |= ~UINT64_C(0) << (8 * width);
	return (int64_t)value;
}

static struct hs_err *read_pointer(struct hs_jvm *jvm, hs_addr base, enum hs_field field,
                                   hs_addr *ret)
{
	return hs_target_read_u64(jvm->target, base + hs_layout_offset(&jvm->layout, field), ret);
}

/** [_low, _high) of the VirtualSpace embedded at @p space. */
static struct hs_err *read_space(struct hs_jvm *jvm, hs_addr space, hs_addr *low_ret,
                                 hs_addr *high_ret)
{
	struct hs_err *err;
	hs_addr low, high;

	err = read_pointer(jvm, space, HS_F_virtual_space_low, &low);
	if (err)
		return err;
	err = read_pointer(jvm, space, HS_F_virtual_space_high, &high);
	if (err)
		return err;
	if (low > high)
		return hs_err_new(HS_ERR_BAD_DATA,
		                  "VirtualSpace at 0x%" PRIx64 " ends before it starts", space);
	*low_ret = low;
	*high_ret = high;
	return NULL;
}

static struct hs_err *add_heap(struct hs_jvm *jvm, hs_addr addr)
{
	struct hs_err *err;
	struct hs_code_cache *cache = jvm->code_cache;
	const struct hs_layout *layout = &jvm->layout;
	struct hs_code_heap heap;
	hs_addr segmap_end;
	uint32_t log2;

	err = read_space(jvm, addr + hs_layout_offset(layout, HS_F_code_heap_memory), &heap.low,
	                 &heap.high);
	if (err)
		return err;
	err = read_space(jvm, addr + hs_layout_offset(layout, HS_F_code_heap_segmap), &heap.segmap,
	                 &segmap_end);
	if (err)
		return err;
	err = hs_target_read_u32(jvm->target,
	                         addr + hs_layout_offset(layout, HS_F_code_heap_log2_segment_size),
	                         &log2);
	if (err)
		return err;
	if (log2 > MAX_LOG2_SEGMENT)
		return hs_err_new(HS_ERR_BAD_DATA,
		                  "CodeHeap at 0x%" PRIx64 ": segments of 2^%u bytes", addr, log2);
	heap.segments = segmap_end - heap.segmap;
	heap.log2_segment_size = log2;

	if (!cache->num_heaps || heap.low < cache->low)
		cache->low = heap.low;
	if (heap.high > cache->high)
		cache->high = heap.high;
	cache->heaps[cache->num_heaps++] = heap;
	return NULL;
}

static struct hs_err *add_heaps(struct hs_jvm *jvm)
{
	struct hs_err *err;
	const struct hs_layout *layout = &jvm->layout;
	hs_addr array, data, heap;
	uint32_t len;

	if (hs_layout_has(layout, HS_F_code_cache_heap)) { // 8: CodeHeap *CodeCache::_heap
		err = hs_target_read_u64(jvm->target,
		                         hs_layout_static(layout, HS_F_code_cache_heap), &heap);
		return err ? err : add_heap(jvm, heap);
	}
	// 9+: GrowableArray<CodeHeap *> *CodeCache::_heaps
	err = hs_target_read_u64(jvm->target, hs_layout_static(layout, HS_F_code_cache_heaps),
	                         &array);
	if (err)
		return err;
	err = hs_target_read_u32(jvm->target,
	                         array + hs_layout_offset(layout, HS_F_growable_array_len), &len);
	if (err)
		return err;
	err = read_pointer(jvm, array, HS_F_growable_array_data, &data);
	if (err)
		return err;
	if (!len || len > HS_MAX_CODE_HEAPS)
		return hs_err_new(HS_ERR_BAD_DATA, "%u code heaps", len);
	for (uint32_t i = 0; i < len; i++) {
		err = hs_target_read_u64(jvm->target, data + i * sizeof(hs_addr), &heap);
		if (err)
			return err;
		err = add_heap(jvm, heap);
		if (err)
			return err;
	}
	return NULL;
}

/** Range of the template interpreter: the buffer of the StubQueue AbstractInterpreter::_code. */
static struct hs_err *find_interpreter(struct hs_jvm *jvm)
{
	struct hs_err *err;
	struct hs_code_cache *cache = jvm->code_cache;
	const struct hs_layout *layout = &jvm->layout;
	hs_addr queue, buffer;
	uint32_t limit;

	err = hs_target_read_u64(jvm->target, hs_layout_static(layout, HS_F_interpreter_code),
	                         &queue);
	if (err)
		return err;
	err = read_pointer(jvm, queue, HS_F_stub_queue_buffer, &buffer);
	if (err)
		return err;
	err = hs_target_read_u32(jvm->target,
	                         queue + hs_layout_offset(layout, HS_F_stub_queue_limit), &limit);
	if (err)
		return err;
	if (hs_addr_wraps(buffer, limit) || !hs_code_cache_owns(cache, buffer))
		return hs_err_new(HS_ERR_BAD_DATA, "interpreter at 0x%" PRIx64, buffer);
	cache->interpreter_start = buffer;
	cache->interpreter_end = buffer + limit;
	return NULL;
}

/** Location of a stub that is not a blob of its own. NULL: out of memory. */
static const struct hs_location *stub_location(struct hs_jvm *jvm, const char *name)
{
	struct hs_location *location = hs_arena_alloc(jvm->arena, sizeof(*location));

	if (location)
		*location = (struct hs_location){
			.kind = HS_FRAME_STUB, .function = name, .bci = -1, .line = -1};
	return location;
}

static struct hs_err *find_stubs(struct hs_jvm *jvm)
{
	struct hs_err *err;
	struct hs_code_cache *cache = jvm->code_cache;
	const struct hs_layout *layout = &jvm->layout;

	cache->call_stub_location = stub_location(jvm, "call_stub");
	cache->static_call_stub_location = stub_location(jvm, "static call stub");
	if (!cache->call_stub_location || !cache->static_call_stub_location)
		return hs_err_oom();
	err = hs_target_read_u64(jvm->target, hs_layout_static(layout, HS_F_call_stub_return),
	                         &cache->call_stub_return);
	if (err)
		return err;
	if (!hs_layout_has(layout, HS_F_cont_return_barrier))
		return NULL;
	return hs_target_read_u64(jvm->target, hs_layout_static(layout, HS_F_cont_return_barrier),
	                          &cache->return_barrier);
}

/** Without these no frame can be found: the names are for the message. */
static struct hs_err *check_layout(const struct hs_layout *layout)
{
	static const struct {
		enum hs_field field;
		const char *name;
	} needed[] = {
		{HS_F_code_heap_memory,            "CodeHeap::_memory"                      },
		{HS_F_code_heap_segmap,            "CodeHeap::_segmap"                      },
		{HS_F_code_heap_log2_segment_size, "CodeHeap::_log2_segment_size"           },
		{HS_F_virtual_space_low,           "VirtualSpace::_low"                     },
		{HS_F_virtual_space_high,          "VirtualSpace::_high"                    },
		{HS_F_heap_block_used,             "HeapBlock::Header::_used"               },
		{HS_F_blob_name,                   "CodeBlob::_name"                        },
		{HS_F_blob_size,                   "CodeBlob::_size"                        },
		{HS_F_blob_frame_size,             "CodeBlob::_frame_size"                  },
		{HS_F_blob_frame_complete_offset,  "CodeBlob::_frame_complete_offset"       },
		{HS_F_interpreter_code,            "AbstractInterpreter::_code"             },
		{HS_F_stub_queue_buffer,           "StubQueue::_stub_buffer"                },
		{HS_F_stub_queue_limit,            "StubQueue::_buffer_limit"               },
		{HS_F_call_stub_return,            "StubRoutines::_call_stub_return_address"},
	};

	for (size_t i = 0; i < sizeof(needed) / sizeof(*needed); i++) {
		if (!hs_layout_has(layout, needed[i].field))
			return hs_err_new(HS_ERR_UNSUPPORTED, "libjvm does not publish %s",
			                  needed[i].name);
	}
	if (!hs_layout_has(layout, HS_F_code_cache_heap) &&
	    !(hs_layout_has(layout, HS_F_code_cache_heaps) &&
	      hs_layout_has(layout, HS_F_growable_array_len) &&
	      hs_layout_has(layout, HS_F_growable_array_data)))
		return hs_err_new(HS_ERR_UNSUPPORTED, "libjvm does not publish CodeCache::_heaps");
	if (!hs_layout_has(layout, HS_F_blob_code_begin) &&
	    !hs_layout_has(layout, HS_F_blob_code_offset))
		return hs_err_new(HS_ERR_UNSUPPORTED,
		                  "libjvm does not publish CodeBlob::_code_offset");
	if (!layout->sizes[HS_T_heap_block] || !layout->sizes[HS_T_code_blob])
		return hs_err_new(HS_ERR_UNSUPPORTED,
		                  "libjvm does not publish the sizes of HeapBlock and CodeBlob");
	return NULL;
}

struct hs_err *hs_code_cache_open(struct hs_jvm *jvm)
{
	struct hs_err *err;

	err = check_layout(&jvm->layout);
	if (err)
		return err;
	jvm->code_cache = hs_arena_alloc(jvm->arena, sizeof(*jvm->code_cache));
	if (!jvm->code_cache)
		return hs_err_oom();
	err = add_heaps(jvm);
	if (!err)
		err = find_interpreter(jvm);
	if (!err)
		err = find_stubs(jvm);
	if (err)
		hs_code_cache_close(jvm);
	return hs_err_wrap(err, "code cache");
}

void hs_code_cache_close(struct hs_jvm *jvm)
{
	struct hs_code_cache *cache = jvm->code_cache;

	if (!cache)
		return;
	hs_map64_deinit(&cache->blobs);
	hs_map64_deinit(&cache->sites);
	hs_map64_deinit(&cache->frame_fps);
	jvm->code_cache = NULL;
}

static const struct hs_code_heap *find_heap(const struct hs_code_cache *cache, hs_addr pc)
{
	if (!hs_addr_in(pc, cache->low, cache->high))
		return NULL;
	for (size_t i = 0; i < cache->num_heaps; i++) {
		if (hs_addr_in(pc, cache->heaps[i].low, cache->heaps[i].high))
			return &cache->heaps[i];
	}
	return NULL;
}

bool hs_code_cache_owns(const struct hs_code_cache *cache, hs_addr pc)
{
	return cache && find_heap(cache, pc);
}

/**
 * First segment of the block that holds @p segment. A byte of the map is how far back to hop for
 * the start of the block, 0 at the start itself (CodeHeap::find_block_for, 8..28).
 */
static struct hs_err *find_block(struct hs_jvm *jvm, const struct hs_code_heap *heap,
                                 uint64_t segment, uint64_t *ret)
{
	struct hs_err *err;
	uint8_t window[SEGMAP_CHUNK];
	uint64_t first = segment + 1;

	if (segment >= heap->segments)
		return hs_err_new(HS_ERR_BAD_DATA,
		                  "segment %" PRIu64 " is outside of the segment map", segment);
	for (unsigned hops = 0; hops < HS_MAX_CHAIN; hops++) {
		if (segment < first) {
			first = segment + 1 > SEGMAP_CHUNK ? segment + 1 - SEGMAP_CHUNK : 0;
			err = hs_target_read(jvm->target, heap->segmap + first, window,
			                     (size_t)(segment + 1 - first));
			if (err)
				return err;
		}
		uint8_t hop = window[segment - first];
		if (hop == SEGMAP_FREE)
			return hs_err_absent();
		if (!hop) {
			*ret = segment;
			return NULL;
		}
		if (hop > segment)
			break;
		segment -= hop;
	}
	return hs_err_new(HS_ERR_BAD_DATA, "the segment map at 0x%" PRIx64 " leads nowhere",
	                  heap->segmap);
}

static struct hs_err *blob_name(struct hs_jvm *jvm, const struct hs_record *record,
                                const char **ret)
{
	struct hs_err *err;

	err = hs_target_read_cstr(jvm->target, (hs_addr)hs_record_int(record, HS_F_blob_name),
	                          HS_MAX_NAME, jvm->arena, ret);
	if (!err || hs_err_code(err) == HS_ERR_OOM)
		return err;
	hs_err_free(err);
	*ret = "CodeBlob"; // only a name: the blob is good without it
	return NULL;
}

static bool is_nmethod(const struct hs_jvm *jvm, const struct hs_record *record, const char *name)
{
	int64_t kind;

	if (hs_layout_has(&jvm->layout, HS_F_blob_kind) &&
	    hs_vmstructs_constant(jvm->vm, "CodeBlobKind::Nmethod", &kind))
		return (hs_record_int(record, HS_F_blob_kind) & 0xff) == kind;
	// 8..24 publish no kinds: nmethod.cpp names them so (to 28), nothing else is named so.
	return !strcmp(name, "nmethod") || !strcmp(name, "native nmethod");
}

static struct hs_err *set_frame(const struct hs_record *record, struct hs_blob *blob)
{
	const struct hs_layout *layout = &record->jvm->layout;
	int64_t words = hs_record_int(record, HS_F_blob_frame_size);
	int64_t complete = hs_record_int(record, HS_F_blob_frame_complete_offset);

	if (words < -1 || words > HS_MAX_STACK_COPY / 8)
		return hs_err_new(HS_ERR_BAD_DATA, "a frame of %" PRId64 " words", words);
	blob->frame_size = words > 0 ? (uint64_t)words * 8 : 0; // -1: Runtime1, no_frame_size
	if (hs_layout_has(layout, HS_F_blob_code_begin))        // 9..22
		blob->code_begin = (hs_addr)hs_record_int(record, HS_F_blob_code_begin);
	else
		blob->code_begin =
			blob->addr + (hs_addr)hs_record_int(record, HS_F_blob_code_offset);
	if (!hs_addr_in(blob->code_begin, blob->addr, blob->end))
		return hs_err_new(HS_ERR_BAD_DATA, "its code is outside of it");
	if (complete >= 0) // -1: CodeOffsets::frame_never_safe
		blob->frame_complete = blob->code_begin + (uint64_t)complete;
	return NULL;
}

static struct hs_err *set_location(struct hs_jvm *jvm, struct hs_blob *blob)
{
	struct hs_location *location = hs_arena_alloc(jvm->arena, sizeof(*location));

	if (!location)
		return hs_err_oom();
	*location = (struct hs_location){
		.kind = HS_FRAME_STUB, .function = blob->name, .bci = -1, .line = -1};
	blob->location = location;
	return NULL;
}

static struct hs_err *read_blob(struct hs_jvm *jvm, const struct hs_code_heap *heap, hs_addr addr,
                                struct hs_blob **ret)
{
	struct hs_err *err;
	struct hs_record record;
	struct hs_blob *blob = hs_arena_alloc(jvm->arena, sizeof(*blob));

	if (!blob)
		return hs_err_oom();
	err = hs_record_read(jvm, addr, jvm->layout.sizes[HS_T_code_blob], &record);
	if (err)
		return err;
	int64_t size = hs_record_int(&record, HS_F_blob_size);
	if (size <= 0 || (uint64_t)size > heap->high - addr)
		return hs_err_new(HS_ERR_BAD_DATA, "it has a size of %" PRId64, size);
	blob->addr = addr;
	blob->end = addr + (uint64_t)size;
	err = blob_name(jvm, &record, &blob->name);
	if (err)
		return err;
	err = set_frame(&record, blob);
	if (err)
		return err;
	err = set_location(jvm, blob);
	if (err)
		return err;
	if (is_nmethod(jvm, &record, blob->name)) {
		err = hs_record_read(jvm, addr, jvm->layout.sizes[HS_T_nmethod], &record);
		if (err)
			return err;
		err = hs_nmethod_read(jvm, blob, &record, &blob->nmethod);
		if (err)
			return err;
	}
	*ret = blob;
	return NULL;
}

/** Address of the blob in whose block @p pc lies. */
static struct hs_err *find_blob(struct hs_jvm *jvm, const struct hs_code_heap *heap, hs_addr pc,
                                hs_addr *ret)
{
	struct hs_err *err;
	uint64_t segment;
	uint8_t used;

	err = find_block(jvm, heap, (pc - heap->low) >> heap->log2_segment_size, &segment);
	if (err)
		return err;
	hs_addr block = heap->low + (segment << heap->log2_segment_size);
	err = hs_target_read_u8(
		jvm->target, block + hs_layout_offset(&jvm->layout, HS_F_heap_block_used), &used);
	if (err)
		return err;
	hs_addr addr = block + jvm->layout.sizes[HS_T_heap_block];
	if (!used || pc < addr || addr >= heap->high)
		return hs_err_absent();
	*ret = addr;
	return NULL;
}

struct hs_err *hs_code_cache_blob(struct hs_jvm *jvm, hs_addr pc, const struct hs_blob **ret)
{
	struct hs_err *err;
	struct hs_code_cache *cache = jvm->code_cache;
	const struct hs_code_heap *heap = cache ? find_heap(cache, pc) : NULL;
	hs_addr addr;

	if (!heap)
		return hs_err_absent();
	err = find_blob(jvm, heap, pc, &addr);
	if (err)
		return err;
	struct hs_blob *blob = hs_map64_get(&cache->blobs, addr);
	if (!blob) {
		err = read_blob(jvm, heap, addr, &blob);
		if (err)
			return hs_err_wrap(err, "code blob at 0x%" PRIx64, addr);
		if (!hs_map64_put(&cache->blobs, addr, blob))
			return hs_err_oom();
	}
	if (pc >= blob->end)
		return hs_err_absent();
	*ret = blob;
	return NULL;
}
