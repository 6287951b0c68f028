// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Symbols: names of addresses and addresses of names. One index per module, made on first use:
 * references into the symbol tables that libelf holds, sorted by address, and hashed by name. The
 * choice among several symbols is that of dwfl_module_addrname(), so that names equal eu-stack's.
 */

#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/limits.h"
#include "core/native/native_internal.h"

enum {
	TABLES = 2,              /**< .symtab (of the file or its debug file), .dynsym */
	BLOCK = 64,              /**< symbols that share one entry of reach */
	VERSION_HIDDEN = 0x8000, /**< .gnu.version: not the default version of that name */
};

/** A symbol: the table's index in the top bit, the symbol's in the others. */
typedef uint32_t symbol_ref;

#define NO_SYMBOL UINT32_MAX

struct hs_symbol_index {
	struct hs_symbol_table tables[TABLES];
	symbol_ref *by_addr; /**< ascending st_value; NULL until needed */
	size_t num;
	hs_addr *reach;      /**< per block: highest end of its symbols and all before */
	symbol_ref *by_name; /**< open addressing, NO_SYMBOL: free; NULL until needed */
	size_t name_cap;
};

static const Elf64_Sym *ref_symbol(const struct hs_symbol_index *index, symbol_ref ref)
{
	return &index->tables[ref >> 31].symbols[ref & INT32_MAX];
}

static const char *ref_name(const struct hs_symbol_index *index, symbol_ref ref)
{
	return hs_symbol_table_name(&index->tables[ref >> 31], ref_symbol(index, ref));
}

static hs_addr symbol_end(const Elf64_Sym *symbol)
{
	hs_addr end;

	return __builtin_add_overflow(symbol->st_value, symbol->st_size, &end) ? UINT64_MAX : end;
}

/** Is it the kind of symbol that names a place in the image? */
static bool symbol_is_place(const struct hs_symbol_table *table, const Elf64_Sym *symbol)
{
	unsigned type = ELF64_ST_TYPE(symbol->st_info);

	return symbol->st_shndx != SHN_UNDEF && symbol->st_shndx != SHN_ABS &&
	       type != STT_SECTION && type != STT_FILE && type != STT_TLS &&
	       *hs_symbol_table_name(table, symbol);
}

static struct hs_err *index_get(struct hs_native *native, struct hs_native_module *module,
                                struct hs_symbol_index **ret)
{
	struct hs_err *err;

	if (!module->symbols) {
		Elf *elf;

		err = hs_native_symbol_elf(native, module, &elf);
		if (err)
			return err;
		module->symbols = hs_arena_alloc(native->arena, sizeof(*module->symbols));
		if (!module->symbols)
			return hs_err_oom();
		// A table that cannot be used stays empty.
		if (elf)
			hs_symbol_table_load(elf, SHT_SYMTAB, &module->symbols->tables[0]);
		if (module->elf)
			hs_symbol_table_load(module->elf, SHT_DYNSYM, &module->symbols->tables[1]);
	}
	*ret = module->symbols;
	return NULL;
}

// ---- by address

struct sort_key {
	hs_addr value;
	symbol_ref ref;
};

enum {
	DIGIT_BITS = 11,
	DIGIT_VALUES = 1 << DIGIT_BITS,
};

/** One pass of a radix sort, by the digit at @p shift. @return false when all have the same. */
static bool sort_pass(const struct sort_key *from, struct sort_key *to, size_t num, unsigned shift)
{
	size_t place[DIGIT_VALUES] = {0};
	size_t sum = 0;

	for (size_t i = 0; i < num; i++)
		place[from[i].value >> shift & (DIGIT_VALUES - 1)]++;
	for (size_t i = 0; i < DIGIT_VALUES; i++) {
		size_t count = place[i];

		if (count == num)
			return false;
		place[i] = sum;
		sum += count;
	}
	for (size_t i = 0; i < num; i++)
		to[place[from[i].value >> shift & (DIGIT_VALUES - 1)]++] = from[i];
	return true;
}

/** Ascending by value, stable. @p keys has room for twice @p num. @return Where they end up. */
static struct sort_key *sort_keys(struct sort_key *keys, size_t num)
{
	struct sort_key *from = keys, *to = keys + num;

	// libjvm has 58,000 symbols: qsort() took half of the time of naming 2000 stacks.
	for (unsigned shift = 0; shift < 64; shift += DIGIT_BITS) {
		if (num && sort_pass(from, to, num, shift)) {
			struct sort_key *sorted = to;

			to = from;
			from = sorted;
		}
	}
	return from;
}

static size_t collect_keys(const struct hs_symbol_index *index, struct sort_key *keys)
{
	size_t num = 0;

	for (symbol_ref t = 0; t < TABLES; t++) {
		const struct hs_symbol_table *table = &index->tables[t];

		for (symbol_ref i = 1; i < table->num; i++) {
			if (symbol_is_place(table, &table->symbols[i]))
				keys[num++] =
					(struct sort_key){table->symbols[i].st_value, t << 31 | i};
		}
	}
	return num;
}

static struct hs_err *index_sort(struct hs_native *native, struct hs_symbol_index *index)
{
	size_t most = (size_t)index->tables[0].num + index->tables[1].num;
	hs_addr reach = 0;

	if (index->by_addr)
		return NULL;
	hs_cleanup(hs_freep) struct sort_key *memory = calloc(most + 1, 2 * sizeof(*memory));
	if (!memory)
		return hs_err_oom();
	size_t num = collect_keys(index, memory);
	const struct sort_key *keys = sort_keys(memory, num);

	symbol_ref *refs = hs_arena_calloc(native->arena, num + 1, sizeof(*refs));
	index->reach = hs_arena_calloc(native->arena, num / BLOCK + 1, sizeof(*index->reach));
	if (!refs || !index->reach)
		return hs_err_oom();
	for (size_t i = 0; i < num; i++) {
		hs_addr end = symbol_end(ref_symbol(index, keys[i].ref));

		refs[i] = keys[i].ref;
		reach = end > reach ? end : reach;
		index->reach[i / BLOCK] = reach;
	}
	index->num = num;
	index->by_addr = refs;
	return NULL;
}

static int binding_rank(const Elf64_Sym *symbol)
{
	switch (ELF64_ST_BIND(symbol->st_info)) {
	case STB_GLOBAL:
	case STB_GNU_UNIQUE:
		return 3;
	case STB_WEAK:
		return 2;
	default:
		return 1;
	}
}

/** Is @p a a better name than @p b for an address that both contain? */
static bool symbol_is_better(const struct hs_symbol_index *index, symbol_ref a, symbol_ref b)
{
	const Elf64_Sym *x = ref_symbol(index, a), *y = ref_symbol(index, b);
	bool x_local = ELF64_ST_BIND(x->st_info) == STB_LOCAL;
	bool y_local = ELF64_ST_BIND(y->st_info) == STB_LOCAL;

	// libdwfl (dwfl_module_addrsym.c, 0.188) asks the local symbols only when no global fits.
	if (x_local != y_local)
		return y_local;
	if (x->st_value != y->st_value)
		return x->st_value > y->st_value;
	if (binding_rank(x) != binding_rank(y))
		return binding_rank(x) > binding_rank(y);
	if (x->st_size != y->st_size)
		return x->st_size < y->st_size;
	return a < b;
}

/** Index of the section that holds @p addr, 0 if none. */
static size_t section_at(Elf *elf, hs_addr addr)
{
	for (Elf_Scn *scn = elf_nextscn(elf, NULL); scn; scn = elf_nextscn(elf, scn)) {
		GElf_Shdr shdr;

		if (gelf_getshdr(scn, &shdr) && shdr.sh_flags & SHF_ALLOC && addr >= shdr.sh_addr &&
		    addr - shdr.sh_addr < shdr.sh_size)
			return elf_ndxscn(scn);
	}
	return 0;
}

static size_t index_upper_bound(const struct hs_symbol_index *index, hs_addr addr)
{
	size_t low = 0, high = index->num;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (ref_symbol(index, index->by_addr[middle])->st_value <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/**
 * The symbol that names @p addr (an address in the file). A label without a size, as hand-written
 * assembly has them (__restore_rt), names what follows it in its section up to the next symbol,
 * unless a sized symbol reaches past the label.
 */
static symbol_ref index_find(const struct hs_symbol_index *index, hs_addr addr)
{
	symbol_ref best = NO_SYMBOL, label = NO_SYMBOL;
	bool label_covered = false;
	size_t i = index_upper_bound(index, addr);

	for (unsigned steps = 0; i > 0 && steps < HS_MAX_CHAIN; steps++) {
		symbol_ref ref = index->by_addr[--i];
		const Elf64_Sym *symbol = ref_symbol(index, ref);

		if (symbol->st_size == 0) {
			if (label == NO_SYMBOL)
				label = ref;
		} else {
			if (label == NO_SYMBOL ||
			    symbol_end(symbol) > ref_symbol(index, label)->st_value)
				label_covered = true;
			if (addr - symbol->st_value < symbol->st_size &&
			    (best == NO_SYMBOL || symbol_is_better(index, ref, best)))
				best = ref;
		}
		// Nothing before this block reaches far enough to change the answer.
		hs_addr lowest = label_covered ? addr : 0;
		if (label != NO_SYMBOL && !label_covered)
			lowest = ref_symbol(index, label)->st_value;
		if (i % BLOCK == 0 && i > 0 && lowest && index->reach[i / BLOCK - 1] <= lowest)
			break;
	}
	if (best != NO_SYMBOL || label == NO_SYMBOL || label_covered)
		return best;
	return section_at(index->tables[label >> 31].elf, addr) ==
	                       ref_symbol(index, label)->st_shndx
	               ? label
	               : NO_SYMBOL;
}

static const char *readable_name(struct hs_native *native, const struct hs_symbol_index *index,
                                 symbol_ref ref)
{
	uint64_t key = (uintptr_t)ref_symbol(index, ref);
	char *name = hs_map64_get(&native->names, key);

	if (!name) {
		name = (char *)hs_demangle(native->arena, ref_name(index, ref));
		if (!name || !hs_map64_put(&native->names, key, name))
			return NULL;
	}
	return name;
}

static struct hs_err *name_location(struct hs_native *native, struct hs_native_module *module,
                                    hs_addr lookup_pc, struct hs_location *location)
{
	struct hs_symbol_index *index;
	struct hs_err *err = index_get(native, module, &index);

	if (err || !module->elf)
		return err;
	err = index_sort(native, index);
	if (err)
		return err;
	symbol_ref ref = index_find(index, lookup_pc - module->module->bias);
	if (ref == NO_SYMBOL)
		return NULL;
	location->function = readable_name(native, index, ref);
	location->function_offset = location->module_offset - ref_symbol(index, ref)->st_value;
	return location->function ? NULL : hs_err_oom();
}

const struct hs_location *hs_native_location(struct hs_native *native, hs_addr pc, bool is_exact)
{
	// A return address and the same pc as an activation may lie in different functions.
	uint64_t key = is_exact ? pc : ~pc;
	hs_addr lookup_pc = is_exact ? pc : pc - 1;
	struct hs_location *location = hs_map64_get(&native->locations, key);

	if (location)
		return location;
	location = hs_arena_alloc(native->arena, sizeof(*location));
	if (!location)
		return NULL;
	*location = (struct hs_location){.kind = HS_FRAME_NATIVE, .bci = -1, .line = -1};

	struct hs_native_module *module = hs_native_module_at(native, lookup_pc);
	if (module) {
		const struct hs_module *file = module->module;
		// Without its file the bias is not known; most files are linked at 0.
		bool has_bias = file->state == HS_MODULE_OK || file->state == HS_MODULE_MEMORY ||
		                file->from_memory;

		location->module = module->path;
		location->module_offset = pc - (has_bias ? file->bias : file->start);
		struct hs_err *err = name_location(native, module, lookup_pc, location);
		if (err) {
			hs_err_free(err);
			return NULL;
		}
	}
	return hs_map64_put(&native->locations, key, location) ? location : NULL;
}

const char *hs_native_symbol(struct hs_native *native, hs_addr addr, uint64_t *offset_ret,
                             const struct hs_module **module_ret)
{
	const struct hs_location *location = hs_native_location(native, addr, true);

	if (module_ret)
		*module_ret = hs_module_map_module(native->map, addr);
	if (offset_ret)
		*offset_ret = location ? location->function_offset : 0;
	return location ? location->function : NULL;
}

// ---- by name

/** FNV-1a up to the version: "pthread_cond_wait@@GLIBC_2.3.2" is found as pthread_cond_wait. */
static size_t name_hash(const char *name, size_t len)
{
	uint64_t hash = 0xcbf29ce484222325;

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ (unsigned char)name[i]) * 0x100000001b3;
	return (size_t)(hash ^ hash >> 32);
}

/** How good an answer is this symbol to a question for its name? */
static int name_rank(const struct hs_symbol_index *index, symbol_ref ref)
{
	const struct hs_symbol_table *table = &index->tables[ref >> 31];
	const char *version = strchr(ref_name(index, ref), '@');
	bool is_default = version ? version[1] == '@' : true;

	if (table->versions && table->versions[ref & INT32_MAX] & VERSION_HIDDEN)
		is_default = false;
	return binding_rank(ref_symbol(index, ref)) + (is_default ? 4 : 0);
}

/** The slot of a name: a free one when it is not there. */
static symbol_ref *name_slot(const struct hs_symbol_index *index, const char *name, size_t len)
{
	size_t mask = index->name_cap - 1;

	for (size_t i = name_hash(name, len) & mask;; i = (i + 1) & mask) {
		symbol_ref *slot = &index->by_name[i];
		const char *other = *slot == NO_SYMBOL ? NULL : ref_name(index, *slot);

		if (!other ||
		    (strncmp(other, name, len) == 0 && (other[len] == '\0' || other[len] == '@')))
			return slot;
	}
}

static struct hs_err *index_hash(struct hs_native *native, struct hs_symbol_index *index)
{
	size_t most = (size_t)index->tables[0].num + index->tables[1].num;

	if (index->by_name)
		return NULL;
	index->name_cap = 64;
	while (index->name_cap < most * 3 / 2)
		index->name_cap *= 2;
	symbol_ref *slots = hs_arena_calloc(native->arena, index->name_cap, sizeof(*slots));
	if (!slots)
		return hs_err_oom();
	memset(slots, 0xff, index->name_cap * sizeof(*slots));
	index->by_name = slots;

	for (symbol_ref t = 0; t < TABLES; t++) {
		const struct hs_symbol_table *table = &index->tables[t];

		for (symbol_ref i = 1; i < table->num; i++) {
			if (!symbol_is_place(table, &table->symbols[i]))
				continue;
			symbol_ref ref = t << 31 | i;
			const char *name = ref_name(index, ref);
			symbol_ref *slot = name_slot(index, name, strcspn(name, "@"));

			if (*slot == NO_SYMBOL || name_rank(index, ref) > name_rank(index, *slot))
				*slot = ref;
		}
	}
	return NULL;
}

struct hs_err *hs_native_lookup(struct hs_native *native, const struct hs_module *module,
                                const char *name, hs_addr *ret)
{
	struct hs_native_module *owner = hs_native_module_of(native, module);
	struct hs_symbol_index *index;
	struct hs_err *err;

	if (!owner)
		return hs_err_absent();
	err = index_get(native, owner, &index);
	if (!err)
		err = index_hash(native, index);
	if (err)
		return err;
	symbol_ref ref = *name_slot(index, name, strlen(name));
	if (ref == NO_SYMBOL)
		return hs_err_absent();
	*ret = ref_symbol(index, ref)->st_value + owner->module->bias;
	return NULL;
}

void hs_native_symbols_deinit(struct hs_native *native)
{
	hs_map64_deinit(&native->locations);
	hs_map64_deinit(&native->names);
}
