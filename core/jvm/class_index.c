// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * All loaded classes: ClassLoaderDataGraph::_head → ClassLoaderData::_klasses → Klass::_next_link,
 * walked once and kept in walking order, with a hash by name.
 */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/jvm/jvm_internal.h"

struct index_entry {
	const struct hs_klass *klass;
	struct index_entry *next; // of the same hash
	bool is_boot;             // loaded by the boot loader
};

struct hs_class_index {
	HS_VEC(struct index_entry) entries; // walking order
	struct hs_map64 by_name;            // hash of the name → struct index_entry *
	size_t num_unreadable;
	bool cut; // a cap was reached or a list could not be followed
};

struct index_walk {
	struct hs_jvm *jvm;
	struct hs_class_index *index;
	uint64_t klasses_offset; // of ClassLoaderData::_klasses
	struct hs_map64 seen;    // Klass * and ClassLoaderData *: breaks cycles
};

// ---- where a loader's class list starts

/** Loader data of the graph, capped. */
static struct hs_err *each_cld(struct hs_jvm *jvm, struct index_walk *walk,
                               struct hs_err *(*fn)(struct index_walk *walk, hs_addr cld))
{
	hs_addr cld;

	struct hs_err *err = hs_target_read_u64(
		jvm->target, hs_layout_static(&jvm->layout, HS_F_cldg_head), &cld);
	for (size_t i = 0; !err && cld; i++) {
		if (i == HS_MAX_LOADERS)
			return hs_err_new(HS_ERR_BAD_DATA, "more than %d class loaders",
			                  HS_MAX_LOADERS);
		err = fn(walk, cld);
		if (!err)
			err = hs_target_read_u64(
				jvm->target, cld + hs_layout_offset(&jvm->layout, HS_F_cld_next),
				&cld);
	}
	return err;
}

enum {
	CLD_MAX_WORDS = 64, // sizeof(ClassLoaderData) is 160 or less in 8..25
};

struct probe {
	struct index_walk walk; // first: the callback gets a pointer to it
	size_t num_words;
	unsigned votes[CLD_MAX_WORDS];
};

static struct hs_err *probe_cld(struct index_walk *walk, hs_addr cld)
{
	struct probe *probe = (struct probe *)walk;
	struct hs_jvm *jvm = walk->jvm;
	uint64_t words[CLD_MAX_WORDS] = {0};

	struct hs_err *err = hs_target_read(jvm->target, cld, words, probe->num_words * 8);
	if (err)
		return err;
	for (size_t i = 1; i < probe->num_words; i++) {
		hs_addr back = 0;

		if (!words[i] || words[i] % 8 ||
		    i * 8 == hs_layout_offset(&jvm->layout, HS_F_cld_next))
			continue;
		err = hs_target_read_u64(jvm->target,
		                         words[i] + hs_layout_offset(&jvm->layout, HS_F_klass_cld),
		                         &back);
		hs_err_free(err); // most words are no pointers
		if (!err && back == cld)
			probe->votes[i]++;
	}
	return NULL;
}

/** 8 does not publish ClassLoaderData::_klasses: it is the word that most often points to a Klass
 * which points back. */
static struct hs_err *find_klasses_offset(struct hs_jvm *jvm, uint64_t *ret)
{
	struct probe probe = {.walk.jvm = jvm};
	size_t best = 0;

	if (hs_layout_has(&jvm->layout, HS_F_cld_klasses)) {
		*ret = hs_layout_offset(&jvm->layout, HS_F_cld_klasses);
		return NULL;
	}
	probe.num_words = jvm->layout.sizes[HS_T_cld] / 8;
	if (probe.num_words > CLD_MAX_WORDS)
		probe.num_words = CLD_MAX_WORDS;
	struct hs_err *err = each_cld(jvm, &probe.walk, probe_cld);
	if (err)
		return err;
	for (size_t i = 1; i < probe.num_words; i++) {
		if (probe.votes[i] > probe.votes[best])
			best = i;
	}
	if (!best)
		return hs_err_new(HS_ERR_UNSUPPORTED,
		                  "this libjvm does not publish ClassLoaderData::_klasses");
	*ret = best * 8;
	return NULL;
}

// ---- the walk

static uint64_t name_hash(const char *name)
{
	uint64_t hash = UINT64_C(14695981039346656037);

	for (const char *p = name; *p; p++)
		hash = (hash ^ (unsigned char)*p) * UINT64_C(1099511628211);
	return hash;
}

static struct hs_err *add_klass(struct index_walk *walk, hs_addr addr, bool is_boot)
{
	struct hs_jvm *jvm = walk->jvm;
	const struct hs_klass *klass;

	struct hs_err *err = hs_klass_get(jvm, addr, &klass);
	if (err && hs_err_code(err) != HS_ERR_OOM) {
		hs_err_free(err); // counted, reported as one gap
		walk->index->num_unreadable++;
		return NULL;
	}
	if (err)
		return err;
	struct index_entry *entry = hs_vec_push(jvm->arena, &walk->index->entries);
	if (!entry)
		return hs_err_oom();
	*entry = (struct index_entry){.klass = klass, .is_boot = is_boot};
	return NULL;
}

/** Mark as seen. @return false when it already was: the list has a cycle, or a class two homes. */
static struct hs_err *mark_seen(struct index_walk *walk, hs_addr addr, bool *is_new_ret)
{
	*is_new_ret = !hs_map64_get(&walk->seen, addr);
	return !*is_new_ret || hs_map64_put(&walk->seen, addr, walk) ? NULL : hs_err_oom();
}

static struct hs_err *walk_list(struct index_walk *walk, hs_addr klass, bool is_boot)
{
	struct hs_jvm *jvm = walk->jvm;
	uint64_t next_link = hs_layout_offset(&jvm->layout, HS_F_klass_next_link);

	while (klass) {
		bool is_new;

		if (walk->seen.len >= HS_MAX_CLASSES) {
			walk->index->cut = true;
			return NULL;
		}
		struct hs_err *err = mark_seen(walk, klass, &is_new);
		if (err || !is_new)
			return err;
		err = add_klass(walk, klass, is_boot);
		if (err)
			return err;
		err = hs_target_read_u64(jvm->target, klass + next_link, &klass);
		if (err) {
			hs_err_free(err); // the rest of this loader's classes is a gap
			walk->index->cut = true;
			return NULL;
		}
	}
	return NULL;
}

static struct hs_err *walk_cld(struct index_walk *walk, hs_addr cld)
{
	struct hs_jvm *jvm = walk->jvm;
	hs_addr klass, loader = 0;
	bool is_new;

	struct hs_err *err = mark_seen(walk, cld, &is_new);
	if (err)
		return err;
	if (!is_new)
		return hs_err_new(HS_ERR_BAD_DATA, "the list of class loaders runs in a circle");
	err = hs_oop_load_handle(jvm, cld, HS_F_cld_class_loader, &loader);
	bool is_boot = !err && !loader;
	hs_err_free(err);
	err = hs_target_read_u64(jvm->target, cld + walk->klasses_offset, &klass);
	return err ? err : walk_list(walk, klass, is_boot);
}

/** Hash the entries, last first, so that each chain is in walking order. */
static struct hs_err *hash_entries(struct hs_class_index *index)
{
	for (size_t i = index->entries.len; i-- > 0;) {
		struct index_entry *entry = &index->entries.items[i];
		uint64_t hash = name_hash(entry->klass->name);

		entry->next = hs_map64_get(&index->by_name, hash);
		if (!hs_map64_put(&index->by_name, hash, entry))
			return hs_err_oom();
	}
	return NULL;
}

static void report_gaps(struct hs_jvm *jvm, const struct hs_class_index *index, struct hs_err *err)
{
	const char *costs = "classes may be missing: a lock may not be named after its class";

	hs_snapshot_gap(jvm->snapshot, "loaded classes", costs, err);
	if (index->cut)
		hs_snapshot_gapf(jvm->snapshot, "loaded classes", costs,
		                 "a class list could not be followed to its end");
	if (index->num_unreadable)
		hs_snapshot_gapf(jvm->snapshot, "loaded classes", costs,
		                 "entries that are no class: %zu", index->num_unreadable);
}

static struct hs_err *build_index(struct hs_jvm *jvm, struct hs_class_index *index)
{
	struct index_walk walk = {.jvm = jvm, .index = index};

	if (!hs_layout_has(&jvm->layout, HS_F_klass_next_link))
		return hs_err_new(HS_ERR_UNSUPPORTED,
		                  "this libjvm does not publish Klass::_next_link");
	struct hs_err *err = find_klasses_offset(jvm, &walk.klasses_offset);
	if (err)
		return err;
	err = each_cld(jvm, &walk, walk_cld);
	hs_map64_deinit(&walk.seen);
	if (err && hs_err_code(err) == HS_ERR_OOM)
		return err;
	report_gaps(jvm, index, err);
	return hash_entries(index);
}

static struct hs_err *ensure_index(struct hs_jvm *jvm)
{
	if (jvm->class_index)
		return NULL;
	struct hs_class_index *index = hs_arena_alloc(jvm->arena, sizeof(*index));
	if (!index)
		return hs_err_oom();
	struct hs_err *err = build_index(jvm, index);
	if (err) {
		hs_map64_deinit(&index->by_name);
		return err;
	}
	jvm->class_index = index;
	return NULL;
}

void hs_class_index_close(struct hs_jvm *jvm)
{
	if (jvm->class_index)
		hs_map64_deinit(&jvm->class_index->by_name);
	jvm->class_index = NULL;
}

struct hs_err *hs_klass_find(struct hs_jvm *jvm, const char *name, const struct hs_klass **ret)
{
	const struct hs_klass *found = NULL;

	struct hs_err *err = ensure_index(jvm);
	if (err)
		return err;
	for (const struct index_entry *entry =
	             hs_map64_get(&jvm->class_index->by_name, name_hash(name));
	     entry; entry = entry->next) {
		if (strcmp(entry->klass->name, name) != 0)
			continue;
		if (!found || entry->is_boot)
			found = entry->klass;
		if (entry->is_boot)
			break;
	}
	if (!found)
		return hs_err_absent();
	*ret = found;
	return NULL;
}

struct hs_err *hs_klass_each(struct hs_jvm *jvm, struct hs_err *(*fn)(void *arg, hs_addr klass),
                             void *arg)
{
	struct hs_err *err = ensure_index(jvm);

	if (err)
		return err;
	hs_vec_each (entry, &jvm->class_index->entries) {
		err = fn(arg, entry->klass->addr);
		if (err)
			return err;
	}
	return NULL;
}
