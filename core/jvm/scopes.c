// SPDX-License-Identifier: Apache-2.0
/** @file Scopes: decoder of the compressed debug information, cache by pc. */

#include "core/jvm/scopes.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
	STREAM_BYTES = 4096, /**< largest list of monitors, locals or objects that is decoded */
	SCOPE_BYTES = 64,    /**< a ScopeDesc is six numbers of at most five bytes */
	PAGE_BYTES = 4096,
	MAX_VALUE_DEPTH = 32, /**< objects in fields of objects */
	MAX_VALUES = 4096,    /**< values of one list, fields of objects included */
	MAX_POOL = 256,       /**< objects of one pool */
	MAX_BCI = UINT16_MAX, /**< code length is a u2 (JVMS 4.7.3) */
};

/** Tags of DebugInfoReadStream (debugInfo.cpp). */
enum value_tag {
	TAG_LOCATION = 0,
	TAG_INT = 1,
	TAG_OOP = 2,
	TAG_LONG = 3,
	TAG_DOUBLE = 4,
	TAG_OBJECT = 5,
	TAG_OBJECT_ID = 6,
	TAG_BOX = 7,    // 16+
	TAG_MARKER = 8, // 16+
	TAG_MERGE = 9,  // 22+
};

/** Location: type in bits 0..3, bit 4 in a register, above it the slot or VMReg (location.hpp). */
enum location_bits {
	LOCATION_TYPE = 0xf,
	LOCATION_IN_REGISTER = 0x10,
	LOCATION_SHIFT = 5,
	LOCATION_INVALID = 0,
	LOCATION_NORMAL = 1,
	LOCATION_OOP = 2,
	LOCATION_INT_IN_LONG = 3,
	LOCATION_LONG = 4,
	LOCATION_FLOAT_IN_DOUBLE = 5,
	LOCATION_DOUBLE = 6,
	LOCATION_NARROW_OOP_11 = 8, // 8..15; a vector since, which is never an object's lock or oop
	LOCATION_NARROW_OOP = 9,    // 16+
	BYTES_PER_SLOT = 4,         // VMRegImpl::stack_slot_size
};

struct pool_object {
	uint32_t id;
	hs_addr mirror;
};

struct decoder {
	struct hs_jvm *jvm;
	const struct hs_nmethod *nm;
	struct hs_u5 in;
	unsigned num_values;
	struct pool_object pool[MAX_POOL];
	size_t pool_len;
	uint8_t bytes[STREAM_BYTES];
};

/** Read the debug information at @p offset, as much of @p max bytes as there is. */
static struct hs_err *decoder_seek(struct decoder *d, uint32_t offset, size_t max)
{
	struct hs_err *err;
	uint64_t size = d->nm->scopes_end - d->nm->scopes;

	if (offset >= size)
		return hs_err_new(HS_ERR_BAD_DATA,
		                  "scope offset %" PRIu32 " is outside of its data", offset);
	hs_addr addr = d->nm->scopes + offset;
	size_t len = size - offset < max ? (size_t)(size - offset) : max;
	err = hs_target_read(d->jvm->target, addr, d->bytes, len);
	if (hs_err_catch(&err, HS_ERR_FAULT)) { // a core may lack the pages behind
		len = PAGE_BYTES - addr % PAGE_BYTES;
		err = hs_target_read(d->jvm->target, addr, d->bytes, len < max ? len : max);
	}
	if (err)
		return err;
	d->in = (struct hs_u5){
		.data = d->bytes, .len = len < max ? len : max, .bias = d->jvm->unsigned5_bias};
	return NULL;
}

static struct hs_err *decoder_check(const struct decoder *d)
{
	return d->in.failed ? hs_err_new(HS_ERR_BAD_DATA,
	                                 "debug information of compiled code at "
	                                 "0x%" PRIx64 " is cut or too long",
	                                 d->nm->scopes)
	                    : NULL;
}

static void read_value(struct decoder *d, unsigned depth, struct hs_scope_value *ret);

static enum hs_scope_content content_of(uint32_t type)
{
	switch (type) {
	case LOCATION_NORMAL:
	case LOCATION_INT_IN_LONG:
		return HS_CONTENT_INT;
	case LOCATION_OOP:
		return HS_CONTENT_OOP;
	case LOCATION_LONG:
	case LOCATION_DOUBLE:
		return HS_CONTENT_LONG;
	case LOCATION_FLOAT_IN_DOUBLE:
		return HS_CONTENT_FLOAT_IN_DOUBLE;
	case LOCATION_NARROW_OOP_11:
	case LOCATION_NARROW_OOP:
		return HS_CONTENT_NARROW_OOP;
	default:
		return HS_CONTENT_OTHER;
	}
}

static void read_location(struct decoder *d, struct hs_scope_value *ret)
{
	uint32_t word = hs_u5_next(&d->in), type = word & LOCATION_TYPE;

	if (type == LOCATION_INVALID) {
		ret->kind = HS_SCOPE_DEAD;
		return;
	}
	ret->content = content_of(type);
	if (word & LOCATION_IN_REGISTER) {
		ret->kind = HS_SCOPE_REGISTER;
		ret->where = word >> LOCATION_SHIFT;
	} else {
		ret->kind = HS_SCOPE_STACK;
		ret->where = (word >> LOCATION_SHIFT) * BYTES_PER_SLOT;
	}
}

static void read_oop(struct decoder *d, struct hs_scope_value *ret)
{
	struct hs_err *err;
	hs_addr oop;

	err = hs_nmethod_oop(d->jvm, d->nm, hs_u5_next(&d->in), &oop);
	if (err) {
		hs_err_free(err); // then it is not known
		return;
	}
	ret->kind = HS_SCOPE_OOP;
	ret->oop = oop;
}

static void read_object(struct decoder *d, unsigned depth, struct hs_scope_value *ret)
{
	struct hs_scope_value klass, field;
	uint32_t id = hs_u5_next(&d->in);

	// 22+: a byte is_root, 0 or 1. Before, the tag of the class constant follows at once, which
	// UNSIGNED5 writes as tag + bias.
	if (d->in.pos < d->in.len && d->in.data[d->in.pos] != TAG_OOP + d->in.bias)
		hs_u5_byte(&d->in);
	read_value(d, depth + 1, &klass);
	// 28: whether a value object is null, or the properties of an array (a marker when neither
	// is asked for). Seen in its code cache.
	if (d->jvm->has_value_classes)
		read_value(d, depth + 1, &field);
	if (klass.kind == HS_SCOPE_OOP && klass.oop) {
		ret->kind = HS_SCOPE_SCALAR;
		ret->oop = klass.oop;
		if (d->pool_len < MAX_POOL)
			d->pool[d->pool_len++] = (struct pool_object){id, klass.oop};
	}
	for (uint32_t n = hs_u5_next(&d->in); n && !d->in.failed; n--)
		read_value(d, depth + 1, &field);
}

static uint32_t reverse_bits(uint32_t value)
{
	uint32_t ret = 0;

	for (unsigned i = 0; i < 32; i++)
		ret |= (value >> i & 1) << (31 - i);
	return ret;
}

/** A long: its low half, its high half, both signed. A double: its high half, its low half, both
 * with their bits in reverse order (compressedStream.cpp, 8 to 28). */
static void read_wide_constant(struct decoder *d, enum value_tag tag, struct hs_scope_value *ret)
{
	uint32_t low, high;

	if (tag == TAG_LONG) {
		low = (uint32_t)hs_u5_next_signed(&d->in);
		high = (uint32_t)hs_u5_next_signed(&d->in);
	} else {
		high = reverse_bits(hs_u5_next(&d->in));
		low = reverse_bits(hs_u5_next(&d->in));
	}
	ret->kind = HS_SCOPE_LONG;
	ret->constant = (uint64_t)high << 32 | low;
}

/** ObjectMergeValue (22+): id, selector, pointer, candidates. Which of them it is stays unknown. */
static void read_merge(struct decoder *d, unsigned depth)
{
	struct hs_scope_value value;

	hs_u5_next(&d->in);
	read_value(d, depth + 1, &value);
	read_value(d, depth + 1, &value);
	for (uint32_t n = hs_u5_next(&d->in); n && !d->in.failed; n--)
		read_value(d, depth + 1, &value);
}

static void read_object_id(struct decoder *d, struct hs_scope_value *ret)
{
	uint32_t id = hs_u5_next(&d->in);

	ret->kind = HS_SCOPE_SCALAR;
	for (size_t i = 0; i < d->pool_len; i++) {
		if (d->pool[i].id == id)
			ret->oop = d->pool[i].mirror;
	}
}

/** Sets in.failed on nonsense. */
static void read_value(struct decoder *d, unsigned depth, struct hs_scope_value *ret)
{
	*ret = (struct hs_scope_value){.kind = HS_SCOPE_OTHER};
	if (depth > MAX_VALUE_DEPTH || d->num_values++ >= MAX_VALUES) {
		d->in.failed = true;
		return;
	}
	enum value_tag tag = (enum value_tag)hs_u5_next(&d->in);
	switch (tag) {
	case TAG_LOCATION:
		read_location(d, ret);
		return;
	case TAG_INT:
		ret->kind = HS_SCOPE_INT;
		ret->constant = (uint32_t)hs_u5_next_signed(&d->in);
		return;
	case TAG_OOP:
		read_oop(d, ret);
		return;
	case TAG_LONG:
	case TAG_DOUBLE:
		read_wide_constant(d, tag, ret);
		return;
	case TAG_OBJECT:
	case TAG_BOX:
		read_object(d, depth, ret);
		return;
	case TAG_OBJECT_ID:
		read_object_id(d, ret);
		return;
	case TAG_MARKER:
		return;
	case TAG_MERGE:
		read_merge(d, depth);
		return;
	}
	d->in.failed = true;
}

/** The objects that scopes at this pc name by id. */
static struct hs_err *read_pool(struct decoder *d, int32_t offset)
{
	struct hs_err *err;
	struct hs_scope_value value;

	d->pool_len = 0;
	if (offset <= 0)
		return NULL;
	err = decoder_seek(d, (uint32_t)offset, STREAM_BYTES);
	if (err)
		return err;
	d->num_values = 0;
	for (uint32_t n = hs_u5_next(&d->in); n && !d->in.failed; n--)
		read_value(d, 0, &value);
	return decoder_check(d);
}

static struct hs_err *read_monitors(struct decoder *d, uint32_t offset, struct hs_scope *scope)
{
	struct hs_err *err;

	if (!offset)
		return NULL;
	err = decoder_seek(d, offset, STREAM_BYTES);
	if (err)
		return err;
	d->num_values = 0;
	uint32_t n = hs_u5_next(&d->in);
	if (n > HS_MAX_LOCKS)
		return hs_err_new(HS_ERR_BAD_DATA, "%" PRIu32 " monitors in one scope", n);
	struct hs_scope_monitor *monitors = hs_arena_calloc(d->jvm->arena, n, sizeof(*monitors));
	if (!monitors)
		return hs_err_oom();
	for (uint32_t i = n; i-- > 0;) { // written outermost first
		hs_u5_next(&d->in);      // Location of the BasicLock
		read_value(d, 0, &monitors[i].owner);
		monitors[i].is_eliminated = hs_u5_byte(&d->in);
	}
	scope->monitors = monitors;
	scope->num_monitors = n;
	return decoder_check(d);
}

/** Read the ScopeDesc at *offset, and set *offset to its caller's. */
static struct hs_err *read_scope(struct decoder *d, uint32_t *offset, struct hs_scope *scope)
{
	struct hs_err *err;
	hs_addr method;

	err = decoder_seek(d, *offset, SCOPE_BYTES);
	if (err)
		return err;
	uint32_t sender = hs_u5_next(&d->in);
	uint32_t method_index = hs_u5_next(&d->in);
	// Written + 1; -1 is the entry of a synchronized method, which stands on its first line
	// (Method::line_number_from_bci).
	int64_t bci = (int64_t)hs_u5_next(&d->in) - 1;
	scope->locals = hs_u5_next(&d->in);
	hs_u5_next(&d->in); // expression stack
	uint32_t monitors = hs_u5_next(&d->in);
	err = decoder_check(d);
	if (err)
		return err;
	if (bci > MAX_BCI)
		return hs_err_new(HS_ERR_BAD_DATA, "bci %" PRId64, bci);
	err = hs_nmethod_metadata(d->jvm, d->nm, method_index, &method);
	if (err)
		return err;
	err = hs_method_get(d->jvm, method, &scope->method);
	if (err)
		return err;
	scope->location = hs_method_location(d->jvm, scope->method,
	                                     sender ? HS_FRAME_INLINED : HS_FRAME_COMPILED,
	                                     d->nm->tier, bci < 0 ? 0 : (int32_t)bci);
	if (!scope->location)
		return hs_err_oom();
	*offset = sender;
	return read_monitors(d, monitors, scope);
}

static struct hs_err *read_scopes(struct hs_jvm *jvm, const struct hs_nmethod *nm,
                                  const struct hs_pc_desc *desc, struct hs_code_site *site)
{
	struct hs_err *err;
	struct decoder d = {.jvm = jvm, .nm = nm};
	HS_VEC(struct hs_scope) scopes = {0};

	err = read_pool(&d, desc->object_offset);
	if (err)
		return err;
	for (uint32_t offset = (uint32_t)desc->scope_offset; offset;) {
		if (scopes.len >= HS_MAX_SCOPES)
			return hs_err_new(HS_ERR_BAD_DATA, "more than %d methods at one pc",
			                  HS_MAX_SCOPES);
		struct hs_scope *scope = hs_vec_push(jvm->arena, &scopes);
		if (!scope)
			return hs_err_oom();
		err = read_scope(&d, &offset, scope);
		if (err)
			return err;
	}
	site->objects = desc->object_offset;
	site->scopes = scopes.items;
	site->num_scopes = scopes.len;
	return NULL;
}

/** The compiled method alone: native wrappers have no more, and nor has a pc without a PcDesc. */
static struct hs_err *set_method_scope(struct hs_jvm *jvm, const struct hs_nmethod *nm,
                                       struct hs_code_site *site)
{
	struct hs_err *err;
	struct hs_scope *scope = hs_arena_alloc(jvm->arena, sizeof(*scope));

	if (!scope)
		return hs_err_oom();
	err = hs_method_get(jvm, nm->method, &scope->method);
	if (err)
		return err;
	scope->location = hs_method_location(jvm, scope->method, HS_FRAME_COMPILED, nm->tier, -1);
	if (!scope->location)
		return hs_err_oom();
	site->scopes = scope;
	site->num_scopes = 1;
	return NULL;
}

/** Outermost scopes that are of the same methods in both. */
static size_t count_common(const struct hs_code_site *a, const struct hs_code_site *b)
{
	size_t n = 0;

	while (n < a->num_scopes && n < b->num_scopes &&
	       a->scopes[a->num_scopes - 1 - n].method == b->scopes[b->num_scopes - 1 - n].method)
		n++;
	return n;
}

/** Leave out the innermost scopes, so that @p keep are left; which line the last one of them is on
 * is then not known, nor what it has locked. */
static struct hs_err *cut_scopes(struct hs_jvm *jvm, struct hs_code_site *site, size_t keep)
{
	struct hs_scope *scopes = hs_arena_calloc(jvm->arena, keep, sizeof(*scopes));

	if (!scopes)
		return hs_err_oom();
	memcpy(scopes, site->scopes + (site->num_scopes - keep), keep * sizeof(*scopes));
	scopes[0].monitors = NULL;
	scopes[0].num_monitors = 0;
	scopes[0].locals = 0;
	scopes[0].location = hs_method_location(jvm, scopes[0].method, scopes[0].location->kind,
	                                        site->blob->nmethod->tier, -1);
	if (!scopes[0].location)
		return hs_err_oom();
	site->scopes = scopes;
	site->num_scopes = keep;
	return NULL;
}

/**
 * A pc between two PcDescs. Code of several inlined methods may lie there, and the next PcDesc may
 * be of another one than the code at the pc: what both agree on is likely, only the compiled method
 * is certain.
 */
static struct hs_err *read_scopes_around(struct hs_jvm *jvm, hs_addr pc,
                                         const struct hs_pc_desc *next, struct hs_code_site *site)
{
	struct hs_err *err;
	struct hs_code_site before = {.blob = site->blob};
	struct hs_pc_desc desc;

	err = read_scopes(jvm, site->blob->nmethod, next, site);
	site->is_near = (hs_addr)next->pc_offset != pc - site->blob->code_begin;
	if (err || !site->is_near || site->num_scopes < 2)
		return err;
	err = hs_nmethod_pc_desc_before(jvm, site->blob, pc, &desc);
	if (!err)
		err = read_scopes(jvm, site->blob->nmethod, &desc, &before);
	if (err && !hs_err_catch(&err, HS_ERR_ABSENT))
		return err;
	size_t common = count_common(site, &before);
	if (!common) // nothing before: the compiled method itself is certain
		common = 1;
	err = common < site->num_scopes ? cut_scopes(jvm, site, common) : NULL;
	// The outermost method alone, without a line, is no guess.
	site->is_near = site->num_scopes > 1 || site->scopes[0].location->line >= 0;
	return err;
}

static struct hs_err *find_scopes(struct hs_jvm *jvm, hs_addr pc, bool exact,
                                  struct hs_code_site *site)
{
	struct hs_err *err;
	struct hs_pc_desc desc;

	err = hs_nmethod_pc_desc(jvm, site->blob, pc, exact, &desc);
	// Calls of leaf stubs record nothing at their return address (C2, CallLeafNode).
	if (exact && hs_err_catch(&err, HS_ERR_ABSENT))
		err = hs_nmethod_pc_desc(jvm, site->blob, pc, false, &desc);
	if (!err)
		return read_scopes_around(jvm, pc, &desc, site);
	if (!hs_err_catch(&err, HS_ERR_ABSENT))
		return err;
	return set_method_scope(jvm, site->blob->nmethod, site);
}

/** What cannot be decoded costs the inlined frames, not the walk. */
static struct hs_err *set_scopes(struct hs_jvm *jvm, hs_addr pc, bool exact,
                                 struct hs_code_site *site)
{
	struct hs_err *err;
	char subject[64];

	err = find_scopes(jvm, pc, exact, site);
	if (!err || hs_err_code(err) == HS_ERR_OOM)
		return err;
	snprintf(subject, sizeof(subject), "compiled code at 0x%" PRIx64, pc);
	hs_snapshot_gap(jvm->snapshot, subject, "the inlined methods and locks of frames there",
	                err);
	err = set_method_scope(jvm, site->blob->nmethod, site);
	if (!err || hs_err_code(err) == HS_ERR_OOM)
		return err;
	hs_snapshot_gap(jvm->snapshot, subject, "the method of frames there", err);
	return NULL;
}

struct hs_err *hs_code_site_get(struct hs_jvm *jvm, hs_addr pc, bool exact,
                                const struct hs_code_site **ret)
{
	struct hs_err *err;
	struct hs_code_cache *cache = jvm->code_cache;
	uint64_t key = pc << 1 | exact; // user space ends at 2^57 (x86_64, 5 levels)
	struct hs_code_site *site = cache ? hs_map64_get(&cache->sites, key) : NULL;

	if (site) {
		*ret = site;
		return NULL;
	}
	site = hs_arena_alloc(jvm->arena, sizeof(*site));
	if (!site)
		return hs_err_oom();
	err = hs_code_cache_blob(jvm, pc, &site->blob);
	if (err)
		return err;
	if (site->blob->nmethod) {
		err = set_scopes(jvm, pc, exact, site);
		if (err)
			return err;
	}
	if (!hs_map64_put(&cache->sites, key, site))
		return hs_err_oom();
	*ret = site;
	return NULL;
}

struct hs_err *hs_scope_local(struct hs_jvm *jvm, const struct hs_nmethod *nm,
                              const struct hs_scope *scope, unsigned slot,
                              struct hs_scope_value *ret)
{
	struct hs_err *err;
	struct decoder d = {.jvm = jvm, .nm = nm};
	struct hs_scope_value value = {.kind = HS_SCOPE_OTHER};

	if (!scope->locals)
		return hs_err_absent();
	err = decoder_seek(&d, scope->locals, STREAM_BYTES);
	if (err)
		return err;
	uint32_t n = hs_u5_next(&d.in);
	if (slot >= n)
		return hs_err_absent();
	for (unsigned i = 0; i <= slot && !d.in.failed; i++)
		read_value(&d, 0, &value);
	err = decoder_check(&d);
	if (err)
		return err;
	*ret = value;
	return NULL;
}

struct hs_err *hs_scope_locals(struct hs_jvm *jvm, const struct hs_code_site *site,
                               const struct hs_scope *scope, struct hs_scope_value *values,
                               size_t max, size_t *count_ret)
{
	struct hs_err *err;
	struct decoder d = {.jvm = jvm, .nm = site->blob->nmethod};

	*count_ret = 0;
	if (!scope->locals)
		return NULL;
	err = read_pool(&d, site->objects);
	if (!err)
		err = decoder_seek(&d, scope->locals, STREAM_BYTES);
	if (err)
		return err;
	d.num_values = 0;
	uint32_t n = hs_u5_next(&d.in);
	for (uint32_t i = 0; i < n && i < max && !d.in.failed; i++)
		read_value(&d, 0, &values[i]);
	err = decoder_check(&d);
	if (err)
		return err;
	*count_ret = n < max ? n : max;
	return NULL;
}
