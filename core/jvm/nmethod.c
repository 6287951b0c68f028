// SPDX-License-Identifier: Apache-2.0
/** @file Nmethod: ranges of its tables, PcDesc lookup. */

#include "core/jvm/nmethod.h"

#include <inttypes.h>
#include <string.h>

#include "core/jvm/java_frames.h"

enum {
	MAX_TABLE = 64 << 20,   /**< bytes of one table of one nmethod */
	MAX_EMPTY_DESCS = 1024, /**< PcDescs without a scope that are skipped */
};

static bool is_sane(hs_addr start, hs_addr end)
{
	return start <= end && end - start <= MAX_TABLE;
}

/** PcDescs and scopes. They lie in the blob (8..22) or in immutable data (23+, nmethod.hpp). */
static void set_debug_info(const struct hs_blob *blob, const struct hs_record *record,
                           struct hs_nmethod *nm)
{
	const struct hs_layout *layout = &record->jvm->layout;
	bool apart = hs_layout_has(layout, HS_F_nmethod_immutable_data);
	hs_addr base =
		apart ? (hs_addr)hs_record_int(record, HS_F_nmethod_immutable_data) : blob->addr;

	nm->pcs = base + (hs_addr)hs_record_int(record, HS_F_nmethod_scopes_pcs_offset);
	if (hs_layout_has(layout, HS_F_nmethod_scopes_data_begin)) // 11..22
		nm->scopes = (hs_addr)hs_record_int(record, HS_F_nmethod_scopes_data_begin);
	else
		nm->scopes = base + (hs_addr)hs_record_int(record, HS_F_nmethod_scopes_data_offset);
	if (!apart) { // scopes data, PcDescs, dependencies
		nm->scopes_end = nm->pcs;
		nm->pcs_end =
			base + (hs_addr)hs_record_int(record, HS_F_nmethod_dependencies_offset);
		return;
	}
	// PcDescs, scopes data, (speculations), end
	nm->pcs_end = nm->scopes;
	nm->scopes_end = base + (hs_addr)hs_record_int(record, HS_F_nmethod_immutable_data_size);
}

static void set_tables(const struct hs_blob *blob, const struct hs_record *record,
                       struct hs_nmethod *nm)
{
	const struct hs_layout *layout = &record->jvm->layout;

	if (hs_layout_has(layout, HS_F_nmethod_metadata_offset)) { // 8..22
		nm->metadata =
			blob->addr + (hs_addr)hs_record_int(record, HS_F_nmethod_metadata_offset);
		nm->metadata_end = blob->end;
	} else { // 24+: relocations, then metadata
		hs_addr data = (hs_addr)hs_record_int(record, HS_F_blob_mutable_data);

		nm->metadata = data + (hs_addr)hs_record_int(record, HS_F_blob_relocation_size);
		nm->metadata_end =
			data + (hs_addr)hs_record_int(record, HS_F_blob_mutable_data_size);
	}
	enum hs_field oops = hs_layout_has(layout, HS_F_nmethod_oops_offset)
	                             ? HS_F_nmethod_oops_offset // 8..22
	                             : HS_F_blob_data_offset;
	nm->oops = blob->addr + (hs_addr)hs_record_int(record, oops);
	nm->oops_end = blob->end;
}

/** The pcs that replace the return address of a deoptimized frame. */
static void set_deopt(const struct hs_blob *blob, const struct hs_record *record,
                      struct hs_nmethod *nm)
{
	static const struct {
		enum hs_field field;
		unsigned slot;
		bool is_address;
	} rows[] = {
		{HS_F_nmethod_deopt_entry_offset, 0, false}, // 26+
		{HS_F_nmethod_deopt_offset,       0, false}, // 8, 23..25
		{HS_F_nmethod_deopt_mh_offset,    1, false},
		{HS_F_nmethod_deopt_begin,        0, true }, // 11..22
		{HS_F_nmethod_deopt_mh_begin,     1, true },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		int64_t value = hs_record_int(record, rows[i].field);
		hs_addr pc = rows[i].is_address ? (hs_addr)value : blob->addr + (hs_addr)value;

		// Native wrappers have 0 or -1 there.
		if (value && hs_addr_in(pc, blob->code_begin, blob->end))
			nm->deopt[rows[i].slot] = pc;
	}
	nm->orig_pc_offset = hs_record_int(record, HS_F_nmethod_orig_pc_offset);
}

/** A field that is not published reads as 0, and frames decoded with it would be wrong ones. */
static struct hs_err *check_layout(const struct hs_layout *layout)
{
	static const struct {
		enum hs_field any_of[3]; // the first is what a newer release would lack
		const char *name;
	} needed[] = {
		{{HS_F_nmethod_method},						"nmethod::_method"            },
		{{HS_F_nmethod_scopes_pcs_offset},                                     "nmethod::_scopes_pcs_offset" },
		{{HS_F_nmethod_scopes_data_offset, HS_F_nmethod_scopes_data_begin},
	         "nmethod::_scopes_data_offset"								      },
		{{HS_F_nmethod_immutable_data_size, HS_F_nmethod_dependencies_offset},
	         "nmethod::_immutable_data_size"								     },
		{{HS_F_blob_mutable_data, HS_F_nmethod_metadata_offset},               "CodeBlob::_mutable_data"     },
		{{HS_F_blob_mutable_data_size, HS_F_nmethod_metadata_offset},
	         "CodeBlob::_mutable_data_size"								      },
		{{HS_F_blob_relocation_size, HS_F_nmethod_metadata_offset},
	         "CodeBlob::_relocation_size"									},
		{{HS_F_blob_data_offset, HS_F_nmethod_oops_offset},                    "CodeBlob::_data_offset"      },
		{{HS_F_nmethod_deopt_entry_offset, HS_F_nmethod_deopt_offset,
	          HS_F_nmethod_deopt_begin},
	         "nmethod::_deopt_handler_entry_offset"							      },
		{{HS_F_nmethod_orig_pc_offset},                                        "nmethod::_orig_pc_offset"    },
		{{HS_F_pc_desc_pc_offset},					     "PcDesc::_pc_offset"          },
		{{HS_F_pc_desc_scope_offset},                                          "PcDesc::_scope_decode_offset"},
		{{HS_F_pc_desc_obj_offset},					    "PcDesc::_obj_decode_offset"  },
	};

	for (size_t i = 0; i < sizeof(needed) / sizeof(*needed); i++) {
		bool found = false;

		for (size_t j = 0; j < 3 && (!j || needed[i].any_of[j]); j++)
			found |= hs_layout_has(layout, needed[i].any_of[j]);
		if (!found)
			return hs_err_new(HS_ERR_UNSUPPORTED, "libjvm does not publish %s",
			                  needed[i].name);
	}
	// One without the other: neither layout.
	if (hs_layout_has(layout, HS_F_nmethod_immutable_data_size) !=
	    hs_layout_has(layout, HS_F_nmethod_immutable_data))
		return hs_err_new(HS_ERR_UNSUPPORTED,
		                  "libjvm does not publish nmethod::_immutable_data");
	return NULL;
}

/**
 * nmethod { ..., ByteSize _native_receiver_sp_offset, _native_basic_lock_sp_offset } (nmethod.hpp):
 * 8..19 the last members, up to 4 bytes of padding after them; 20..22 before _comp_level; 23+
 * before _immutable_data. Both are -1, or part of a pointer, in what is no native wrapper.
 */
static void set_receivers(const struct hs_blob *blob, const struct hs_record *record,
                          struct hs_nmethod *nm)
{
	const struct hs_layout *layout = &record->jvm->layout;
	uint64_t ends[HS_NMETHOD_RECEIVERS] = {0};

	if (hs_layout_has(layout, HS_F_nmethod_immutable_data)) {
		ends[0] = hs_layout_offset(layout, HS_F_nmethod_immutable_data);
	} else {
		ends[0] = layout->sizes[HS_T_nmethod];
		ends[1] = ends[0] >= 4 ? ends[0] - 4 : 0;
		if (hs_layout_has(layout, HS_F_nmethod_comp_level))
			ends[2] = hs_layout_offset(layout, HS_F_nmethod_comp_level);
	}
	for (size_t i = 0; i < HS_NMETHOD_RECEIVERS; i++) {
		int32_t pair[2];

		nm->receivers[i] = -1;
		if (ends[i] < sizeof(pair) || ends[i] > record->len)
			continue;
		memcpy(pair, record->bytes + ends[i] - sizeof(pair), sizeof(pair));
		bool is_slot =
			pair[0] >= 0 && (uint32_t)pair[0] < blob->frame_size && !(pair[0] % 8);
		bool is_lock =
			pair[1] > 0 && (uint32_t)pair[1] < blob->frame_size && !(pair[1] % 8);
		if (is_slot && is_lock)
			nm->receivers[i] = pair[0];
	}
}

struct hs_err *hs_nmethod_read(struct hs_jvm *jvm, const struct hs_blob *blob,
                               const struct hs_record *record, const struct hs_nmethod **ret)
{
	struct hs_nmethod *nm = hs_arena_alloc(jvm->arena, sizeof(*nm));

	if (!nm)
		return hs_err_oom();
	struct hs_err *err = check_layout(&jvm->layout);
	if (err)
		return err;
	nm->method = (hs_addr)hs_record_int(record, HS_F_nmethod_method);
	nm->tier = hs_record_int(record, HS_F_nmethod_comp_level) & 0xff;
	set_debug_info(blob, record, nm);
	set_tables(blob, record, nm);
	set_deopt(blob, record, nm);
	set_receivers(blob, record, nm);
	if (!is_sane(nm->pcs, nm->pcs_end) || !is_sane(nm->scopes, nm->scopes_end) ||
	    !is_sane(nm->metadata, nm->metadata_end) || !is_sane(nm->oops, nm->oops_end))
		return hs_err_new(HS_ERR_BAD_DATA, "the tables of this nmethod make no sense");
	*ret = nm;
	return NULL;
}

/** sizeof(PcDesc): 16 in 8..28. */
static uint64_t desc_size(const struct hs_jvm *jvm)
{
	uint64_t size = jvm->layout.sizes[HS_T_pc_desc];

	return size >= 12 && size <= 64 ? size : 16;
}

static int32_t load_i32(const uint8_t *bytes, uint64_t offset)
{
	int32_t value;

	memcpy(&value, bytes + (offset <= 60 ? offset : 0), sizeof(value));
	return value;
}

static struct hs_err *read_desc(struct hs_jvm *jvm, const struct hs_nmethod *nm, uint64_t index,
                                struct hs_pc_desc *ret)
{
	struct hs_err *err;
	const struct hs_layout *layout = &jvm->layout;
	uint8_t bytes[64] = {0};

	err = hs_target_read(jvm->target, nm->pcs + index * desc_size(jvm), bytes, desc_size(jvm));
	if (err)
		return err;
	ret->pc_offset = load_i32(bytes, hs_layout_offset(layout, HS_F_pc_desc_pc_offset));
	ret->scope_offset = load_i32(bytes, hs_layout_offset(layout, HS_F_pc_desc_scope_offset));
	ret->object_offset = load_i32(bytes, hs_layout_offset(layout, HS_F_pc_desc_obj_offset));
	return NULL;
}

static uint64_t num_descs(const struct hs_jvm *jvm, const struct hs_nmethod *nm)
{
	return (nm->pcs_end - nm->pcs) / desc_size(jvm);
}

/** Index of the first PcDesc at or after @p offset; num_descs() when there is none. */
static struct hs_err *find_desc(struct hs_jvm *jvm, const struct hs_nmethod *nm, int64_t offset,
                                uint64_t *ret)
{
	struct hs_err *err;
	uint64_t low = 0, high = num_descs(jvm, nm);
	struct hs_pc_desc desc;

	while (low < high) {
		uint64_t middle = low + (high - low) / 2;

		err = read_desc(jvm, nm, middle, &desc);
		if (err)
			return err;
		if (desc.pc_offset < offset)
			low = middle + 1;
		else
			high = middle;
	}
	*ret = low;
	return NULL;
}

struct hs_err *hs_nmethod_pc_desc(struct hs_jvm *jvm, const struct hs_blob *blob, hs_addr pc,
                                  bool exact, struct hs_pc_desc *ret)
{
	struct hs_err *err;
	const struct hs_nmethod *nm = blob->nmethod;
	int64_t offset = (int64_t)(pc - blob->code_begin);
	uint64_t i, count = num_descs(jvm, nm);
	struct hs_pc_desc desc;

	err = find_desc(jvm, nm, offset, &i);
	if (err)
		return err;
	for (unsigned skipped = 0; i < count && skipped < MAX_EMPTY_DESCS; i++, skipped++) {
		err = read_desc(jvm, nm, i, &desc);
		if (err)
			return err;
		if (exact && desc.pc_offset != offset)
			break;
		if (desc.scope_offset > 0) { // 0: DebugInformationRecorder::serialized_null
			*ret = desc;
			return NULL;
		}
	}
	return hs_err_absent();
}

struct hs_err *hs_nmethod_pc_desc_before(struct hs_jvm *jvm, const struct hs_blob *blob, hs_addr pc,
                                         struct hs_pc_desc *ret)
{
	struct hs_err *err;
	const struct hs_nmethod *nm = blob->nmethod;
	struct hs_pc_desc desc;
	uint64_t i;

	err = find_desc(jvm, nm, (int64_t)(pc - blob->code_begin), &i);
	if (err)
		return err;
	for (unsigned skipped = 0; i-- > 0 && skipped < MAX_EMPTY_DESCS; skipped++) {
		err = read_desc(jvm, nm, i, &desc);
		if (err)
			return err;
		if (desc.scope_offset > 0 && desc.pc_offset >= 0) { // the first one is a sentinel
			*ret = desc;
			return NULL;
		}
	}
	return hs_err_absent();
}

static struct hs_err *table_entry(struct hs_jvm *jvm, hs_addr start, hs_addr end, uint32_t index,
                                  hs_addr *ret)
{
	if (!index) {
		*ret = 0;
		return NULL;
	}
	if ((uint64_t)index * 8 > end - start)
		return hs_err_new(HS_ERR_BAD_DATA, "index %" PRIu32 " is outside of its table",
		                  index);
	return hs_target_read_u64(jvm->target, start + (uint64_t)(index - 1) * 8, ret);
}

struct hs_err *hs_nmethod_metadata(struct hs_jvm *jvm, const struct hs_nmethod *nm, uint32_t index,
                                   hs_addr *ret)
{
	return table_entry(jvm, nm->metadata, nm->metadata_end, index, ret);
}

struct hs_err *hs_nmethod_oop(struct hs_jvm *jvm, const struct hs_nmethod *nm, uint32_t index,
                              hs_addr *ret)
{
	struct hs_err *err;
	hs_addr oop;

	err = table_entry(jvm, nm->oops, nm->oops_end, index, &oop);
	if (err)
		return err;
	// Uncoloured under generational ZGC, as on stacks (zUncoloredRoot.hpp, 21+).
	*ret = hs_root_oop(jvm, oop);
	return NULL;
}

bool hs_nmethod_is_deopt_pc(const struct hs_nmethod *nm, hs_addr pc)
{
	return pc && (pc == nm->deopt[0] || pc == nm->deopt[1]);
}
