// SPDX-License-Identifier: Apache-2.0
/** @file What the parts of dump_streams share. */
#ifndef HS_FUZZ_DUMP_H
#define HS_FUZZ_DUMP_H

#include "core/jvm/code_cache.h"
#include "tests/fuzz/fuzz.h"

enum {
	DUMP_PER_KIND = 14,   /**< files of each target */
	DUMP_FEW = 3,         /**< of those whose files are larger */
	DUMP_MAX_FILE = 1000, /**< bytes of a stream */
};

struct dump {
	struct hs_jvm *jvm;
	const char *directory, *prefix;
	char **targets; /**< up to NULL; none: all */
	unsigned written_fields, written_lines, written_scopes, written_tables, written_maps,
		written_stacks;
	bool seen_fields[DUMP_MAX_FILE], seen_lines[DUMP_MAX_FILE], seen_tables[DUMP_MAX_FILE];
};

struct bytes {
	uint8_t data[1 << 16];
	size_t len;
};

/** Append; aborts when it is full. */
void dump_put(struct bytes *out, const void *data, size_t len);
void dump_save(const struct dump *d, const char *target, unsigned number, const struct bytes *out);

/** Is this target wanted? */
bool dump_wants(const struct dump *d, const char *target);

/** Memory of the JVM; false or 0 when it cannot be read. */
bool dump_load(const struct dump *d, hs_addr addr, void *data, size_t len);
uint64_t dump_load_u64(const struct dump *d, hs_addr addr);
uint64_t dump_word(const struct dump *d, hs_addr base, enum hs_field field);

// ---- dump_stacks.c

void dump_local_table(struct dump *d, hs_addr method);
void dump_oop_maps(struct dump *d, const struct hs_blob *blob);
/** After hs_jvm_collect_threads(). */
void dump_chunks(struct dump *d);

#endif // HS_FUZZ_DUMP_H
