// SPDX-License-Identifier: Apache-2.0
/** @file Read the vmStructs tables once, into one hash table. */

#include "core/jvm/vmstructs.h"

#include <gelf.h>
#include <libelf.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/base/map64.h"
#include "core/limits.h"

enum {
	PAGE = 4096,
	MAX_STRIDE = 1024,
	HASH_BUCKETS = 8192,

	// Image in memory; the numbers of libjvm 17..25 are 9 segments, 35 entries, 1300 symbols.
	MAX_SEGMENTS = 64,
	MAX_DYNAMIC = 256,
	MAX_DYNSYMS = 1 << 20,
	SYMBOL_NAME_MAX = 64, // longer than all of ours
};

/** The exported variables of vmStructs.hpp: pointers to the tables, and the shape of their rows. */
enum symbol {
	STRUCTS,
	STRUCT_TYPE,
	STRUCT_FIELD,
	STRUCT_TYPE_STRING,
	STRUCT_IS_STATIC,
	STRUCT_OFFSET,
	STRUCT_ADDRESS,
	STRUCT_STRIDE,
	TYPES,
	TYPE_NAME,
	TYPE_SIZE,
	TYPE_STRIDE,
	INTS,
	INT_NAME,
	INT_VALUE,
	INT_STRIDE,
	LONGS,
	LONG_NAME,
	LONG_VALUE,
	LONG_STRIDE,
	NUM_SYMBOLS,
};

static const char symbol_prefix[] = "gHotSpotVM";

static const char *const symbol_names[NUM_SYMBOLS] = {
	[STRUCTS] = "Structs",
	[STRUCT_TYPE] = "StructEntryTypeNameOffset",
	[STRUCT_FIELD] = "StructEntryFieldNameOffset",
	[STRUCT_TYPE_STRING] = "StructEntryTypeStringOffset",
	[STRUCT_IS_STATIC] = "StructEntryIsStaticOffset",
	[STRUCT_OFFSET] = "StructEntryOffsetOffset",
	[STRUCT_ADDRESS] = "StructEntryAddressOffset",
	[STRUCT_STRIDE] = "StructEntryArrayStride",
	[TYPES] = "Types",
	[TYPE_NAME] = "TypeEntryTypeNameOffset",
	[TYPE_SIZE] = "TypeEntrySizeOffset",
	[TYPE_STRIDE] = "TypeEntryArrayStride",
	[INTS] = "IntConstants",
	[INT_NAME] = "IntConstantEntryNameOffset",
	[INT_VALUE] = "IntConstantEntryValueOffset",
	[INT_STRIDE] = "IntConstantEntryArrayStride",
	[LONGS] = "LongConstants",
	[LONG_NAME] = "LongConstantEntryNameOffset",
	[LONG_VALUE] = "LongConstantEntryValueOffset",
	[LONG_STRIDE] = "LongConstantEntryArrayStride",
};

enum row_kind {
	ROW_FIELD,
	ROW_TYPE,
	ROW_CONSTANT,
};

struct row {
	struct row *next;
	enum row_kind kind;
	const char *type, *name; // type: "" unless kind is ROW_FIELD
	struct hs_vmfield field;
	int64_t value; // of a constant, or size of a type
};

struct hs_vmstructs {
	struct row *buckets[HASH_BUCKETS];
};

/** What is needed while the tables are read. */
struct reader {
	struct hs_target *target;
	struct hs_arena *arena;
	struct hs_vmstructs *vm;
	struct hs_map64 strings;       // address → copy: type names repeat
	uint64_t symbols[NUM_SYMBOLS]; // addresses, then the values at them
	hs_addr window_addr;
	size_t window_len;
	unsigned char window[2 * PAGE];
};

// ---- lookup

static size_t row_hash(enum row_kind kind, const char *type, const char *name)
{
	uint32_t hash = 2166136261U + kind;

	for (const char *p = type; *p; p++)
		hash = (hash ^ (unsigned char)*p) * 16777619U;
	hash = (hash ^ ':') * 16777619U;
	for (const char *p = name; *p; p++)
		hash = (hash ^ (unsigned char)*p) * 16777619U;
	return (hash ^ hash >> 15) % HASH_BUCKETS;
}

static const struct row *row_find(const struct hs_vmstructs *vm, enum row_kind kind,
                                  const char *type, const char *name)
{
	const struct row *row = vm->buckets[row_hash(kind, type, name)];

	while (row && (row->kind != kind || strcmp(row->name, name) || strcmp(row->type, type)))
		row = row->next;
	return row;
}

const struct hs_vmfield *hs_vmstructs_field(const struct hs_vmstructs *vm, const char *type,
                                            const char *field)
{
	const struct row *row = row_find(vm, ROW_FIELD, type, field);
	return row ? &row->field : NULL;
}

uint64_t hs_vmstructs_sizeof(const struct hs_vmstructs *vm, const char *type)
{
	const struct row *row = row_find(vm, ROW_TYPE, "", type);
	return row ? (uint64_t)row->value : 0;
}

bool hs_vmstructs_constant(const struct hs_vmstructs *vm, const char *name, int64_t *ret)
{
	const struct row *row = row_find(vm, ROW_CONSTANT, "", name);

	if (!row)
		return false;
	*ret = row->value;
	return true;
}

static struct hs_err *row_add(struct reader *reader, const struct row *row)
{
	struct row **bucket = &reader->vm->buckets[row_hash(row->kind, row->type, row->name)];
	struct row *copy = hs_arena_alloc(reader->arena, sizeof(*copy));

	if (!copy)
		return hs_err_oom();
	*copy = *row;
	copy->next = *bucket;
	*bucket = copy;
	return NULL;
}

// ---- symbols

static void elf_endp(Elf **elf)
{
	elf_end(*elf);
}

static void symbol_note(struct reader *reader, const char *name, uint64_t address)
{
	if (strncmp(name, symbol_prefix, sizeof(symbol_prefix) - 1) != 0)
		return;
	for (size_t i = 0; i < NUM_SYMBOLS; i++) {
		if (!reader->symbols[i] &&
		    !strcmp(name + sizeof(symbol_prefix) - 1, symbol_names[i]))
			reader->symbols[i] = address;
	}
}

static void symbols_from_section(struct reader *reader, Elf *elf, Elf_Scn *section,
                                 const GElf_Shdr *header, hs_addr bias)
{
	Elf_Data *data = elf_getdata(section, NULL);
	size_t count = header->sh_entsize ? header->sh_size / header->sh_entsize : 0;

	for (size_t i = 0; data && i < count && i <= INT32_MAX; i++) {
		GElf_Sym symbol;
		if (!gelf_getsym(data, (int)i, &symbol))
			break;
		const char *name = elf_strptr(elf, header->sh_link, symbol.st_name);
		if (name && symbol.st_shndx != SHN_UNDEF && symbol.st_value)
			symbol_note(reader, name, symbol.st_value + bias);
	}
}

static struct hs_err *symbols_from_file(struct reader *reader, const struct hs_module *module)
{
	if (elf_version(EV_CURRENT) == EV_NONE)
		return hs_err_new(HS_ERR_UNSUPPORTED, "libelf: %s", elf_errmsg(-1));
	hs_cleanup(elf_endp) Elf *elf = elf_begin(module->fd, ELF_C_READ_MMAP, NULL);
	if (!elf)
		return hs_err_new(HS_ERR_BAD_DATA, "%s", elf_errmsg(-1));
	for (Elf_Scn *section = NULL; (section = elf_nextscn(elf, section));) {
		GElf_Shdr header;
		if (gelf_getshdr(section, &header) && header.sh_type == SHT_DYNSYM)
			symbols_from_section(reader, elf, section, &header, module->bias);
	}
	return NULL;
}

/** What the dynamic section of an image in memory says. */
struct dynamic {
	hs_addr bias, start;
	hs_addr symtab, strtab;
	uint64_t strsz;
};

/** ld.so of glibc makes these addresses absolute in place, musl's leaves them as in the file. */
static hs_addr dynamic_address(const struct dynamic *dynamic, uint64_t value)
{
	return value >= dynamic->start ? value : value + dynamic->bias;
}

static struct hs_err *dynamic_read(struct reader *reader, hs_addr addr, struct dynamic *dynamic)
{
	for (size_t i = 0; i < MAX_DYNAMIC; i++) {
		Elf64_Dyn entry;
		struct hs_err *err = hs_target_read(reader->target, addr + i * sizeof(entry),
		                                    &entry, sizeof(entry));
		if (err)
			return err;
		if (entry.d_tag == DT_NULL)
			break;
		if (entry.d_tag == DT_SYMTAB)
			dynamic->symtab = dynamic_address(dynamic, entry.d_un.d_ptr);
		else if (entry.d_tag == DT_STRTAB)
			dynamic->strtab = dynamic_address(dynamic, entry.d_un.d_ptr);
		else if (entry.d_tag == DT_STRSZ)
			dynamic->strsz = entry.d_un.d_val;
	}
	return NULL;
}

static struct hs_err *dynamic_find(struct reader *reader, const struct hs_module *module,
                                   struct dynamic *dynamic)
{
	Elf64_Ehdr header;
	Elf64_Phdr segment;
	bool has_bias = false;
	hs_addr addr = 0;

	struct hs_err *err = hs_target_read(reader->target, module->start, &header, sizeof(header));
	if (err)
		return err;
	if (memcmp(header.e_ident, ELFMAG, SELFMAG) || header.e_ident[EI_CLASS] != ELFCLASS64 ||
	    header.e_phentsize != sizeof(segment))
		return hs_err_new(HS_ERR_BAD_DATA, "no ELF header at its start");
	dynamic->start = module->start;
	for (size_t i = 0; i < header.e_phnum && i < MAX_SEGMENTS; i++) {
		err = hs_target_read(reader->target,
		                     module->start + header.e_phoff + i * sizeof(segment), &segment,
		                     sizeof(segment));
		if (err)
			return err;
		if (segment.p_type == PT_LOAD && !has_bias) {
			dynamic->bias = module->start - (segment.p_vaddr & ~(hs_addr)(PAGE - 1));
			has_bias = true;
		} else if (segment.p_type == PT_DYNAMIC) {
			addr = segment.p_vaddr;
		}
	}
	if (!has_bias || !addr)
		return hs_err_new(HS_ERR_BAD_DATA, "no dynamic section");
	return dynamic_read(reader, addr + dynamic->bias, dynamic);
}

/**
 * The file is gone or was replaced by an upgrade while the JVM runs: its image still has the
 * dynamic symbols. Their number is not recorded; linkers put the strings behind them, and what may
 * lie between does not bear our names.
 */
static struct hs_err *symbols_from_memory(struct reader *reader, const struct hs_module *module)
{
	struct dynamic dynamic = {0};
	Elf64_Sym symbol;

	struct hs_err *err = dynamic_find(reader, module, &dynamic);
	if (err)
		return err;
	if (!dynamic.symtab || dynamic.strtab <= dynamic.symtab)
		return hs_err_new(HS_ERR_UNSUPPORTED, "unusual order of its dynamic symbols");
	uint64_t count = (dynamic.strtab - dynamic.symtab) / sizeof(symbol);
	for (uint64_t i = 0; i < count && i < MAX_DYNSYMS; i++) {
		char name[SYMBOL_NAME_MAX] = "";

		err = hs_target_read(reader->target, dynamic.symtab + i * sizeof(symbol), &symbol,
		                     sizeof(symbol));
		if (err)
			return err;
		if (symbol.st_shndx == SHN_UNDEF || ELF64_ST_TYPE(symbol.st_info) != STT_OBJECT ||
		    symbol.st_name >= dynamic.strsz)
			continue;
		size_t len = dynamic.strsz - symbol.st_name;
		if (len > sizeof(name) - 1)
			len = sizeof(name) - 1;
		err = hs_target_read(reader->target, dynamic.strtab + symbol.st_name, name, len);
		if (err)
			return err;
		symbol_note(reader, name, symbol.st_value + dynamic.bias);
	}
	return NULL;
}

static struct hs_err *symbols_find(struct reader *reader, const struct hs_module *module)
{
	bool has_file = module->fd >= 0 && module->state == HS_MODULE_OK;

	struct hs_err *err =
		has_file ? symbols_from_file(reader, module) : symbols_from_memory(reader, module);
	if (err)
		return hs_err_wrap(err, "%s", module->path);
	for (size_t i = 0; i < NUM_SYMBOLS; i++) {
		if (!reader->symbols[i])
			return hs_err_new(HS_ERR_UNSUPPORTED, "%s does not export %s%s",
			                  module->path, symbol_prefix, symbol_names[i]);
	}
	return NULL;
}

/** Each symbol is a variable: replace its address by its value. */
static struct hs_err *symbols_load(struct reader *reader)
{
	for (size_t i = 0; i < NUM_SYMBOLS; i++) {
		struct hs_err *err =
			hs_target_read_u64(reader->target, reader->symbols[i], &reader->symbols[i]);
		if (err)
			return hs_err_wrap(err, "%s%s", symbol_prefix, symbol_names[i]);
	}
	return NULL;
}

// ---- tables

/** Find the row at @p addr in the window, which moves up page by page. */
static struct hs_err *table_row(struct reader *reader, hs_addr addr, size_t stride,
                                const unsigned char **ret)
{
	if (addr < reader->window_addr ||
	    addr - reader->window_addr + stride > reader->window_len) {
		if (hs_addr_wraps(addr, 2 * PAGE))
			return hs_err_fault();
		// Up to the end of a page: a longer read could run into unmapped memory.
		size_t len = ((addr + stride + PAGE - 1) & ~(hs_addr)(PAGE - 1)) - addr;
		reader->window_len = 0;
		struct hs_err *err = hs_target_read(reader->target, addr, reader->window, len);
		if (err)
			return err;
		reader->window_addr = addr;
		reader->window_len = len;
	}
	*ret = reader->window + (addr - reader->window_addr);
	return NULL;
}

static uint64_t row_u64(const unsigned char *row, uint64_t offset)
{
	uint64_t value;

	memcpy(&value, row + offset, sizeof(value));
	return value;
}

static int32_t row_i32(const unsigned char *row, uint64_t offset)
{
	int32_t value;

	memcpy(&value, row + offset, sizeof(value));
	return value;
}

static struct hs_err *read_string(struct reader *reader, hs_addr addr, const char **ret)
{
	const char *string = "";

	if (addr) {
		string = hs_map64_get(&reader->strings, addr);
		if (!string) {
			struct hs_err *err = hs_target_read_cstr(reader->target, addr, HS_MAX_NAME,
			                                         reader->arena, &string);
			if (err)
				return err;
			if (!hs_map64_put(&reader->strings, addr, (void *)string))
				return hs_err_oom();
		}
	}
	*ret = string;
	return NULL;
}

/** @return The name, NULL at the end marker (in *ret). */
static struct hs_err *row_string(struct reader *reader, const unsigned char *row,
                                 enum symbol offset, const char **ret)
{
	hs_addr addr = row_u64(row, reader->symbols[offset]);

	*ret = NULL;
	return addr ? read_string(reader, addr, ret) : NULL;
}

static struct hs_err *add_field(struct reader *reader, const unsigned char *bytes, bool *end_ret)
{
	const uint64_t *symbols = reader->symbols;
	struct row row = {.kind = ROW_FIELD};
	const char *type = NULL;

	struct hs_err *err = row_string(reader, bytes, STRUCT_FIELD, &row.name);
	if (err || !row.name) {
		*end_ret = true;
		return err;
	}
	err = read_string(reader, row_u64(bytes, symbols[STRUCT_TYPE]), &row.type);
	if (err)
		return err;
	err = read_string(reader, row_u64(bytes, symbols[STRUCT_TYPE_STRING]), &type);
	if (err)
		return err;
	row.field.type = type;
	row.field.is_static = row_i32(bytes, symbols[STRUCT_IS_STATIC]) != 0;
	if (row.field.is_static)
		row.field.address = row_u64(bytes, symbols[STRUCT_ADDRESS]);
	else
		row.field.offset = row_u64(bytes, symbols[STRUCT_OFFSET]);
	return row_add(reader, &row);
}

static struct hs_err *add_named(struct reader *reader, const unsigned char *bytes,
                                enum symbol table, bool *end_ret)
{
	struct row row = {.kind = table == TYPES ? ROW_TYPE : ROW_CONSTANT, .type = ""};

	// TYPES, INTS and LONGS are each followed by their name, value and stride.
	struct hs_err *err = row_string(reader, bytes, table + 1, &row.name);
	if (err || !row.name) {
		*end_ret = true;
		return err;
	}
	if (table == INTS)
		row.value = row_i32(bytes, reader->symbols[table + 2]);
	else
		row.value = (int64_t)row_u64(bytes, reader->symbols[table + 2]);
	return row_add(reader, &row);
}

static struct hs_err *check_shape(const struct reader *reader, enum symbol table,
                                  enum symbol stride)
{
	uint64_t size = reader->symbols[stride];

	if (size < sizeof(uint64_t) || size > MAX_STRIDE)
		return hs_err_new(HS_ERR_BAD_DATA, "%s%s: rows of %llu bytes", symbol_prefix,
		                  symbol_names[table], (unsigned long long)size);
	for (size_t i = table + 1; i < stride; i++) {
		if (reader->symbols[i] > size - sizeof(uint64_t) &&
		    !((i == STRUCT_IS_STATIC || i == INT_VALUE) &&
		      reader->symbols[i] <= size - sizeof(int32_t)))
			return hs_err_new(HS_ERR_BAD_DATA, "%s%s lies outside of the row",
			                  symbol_prefix, symbol_names[i]);
	}
	return NULL;
}

static struct hs_err *read_table(struct reader *reader, enum symbol table, enum symbol stride)
{
	hs_addr addr = reader->symbols[table];
	bool end = false;

	struct hs_err *err = check_shape(reader, table, stride);
	if (err)
		return err;
	for (size_t i = 0; i < HS_MAX_STRUCT_ENTRIES; i++) {
		const unsigned char *bytes = NULL;

		err = table_row(reader, addr, reader->symbols[stride], &bytes);
		if (!err)
			err = table == STRUCTS ? add_field(reader, bytes, &end)
			                       : add_named(reader, bytes, table, &end);
		if (err)
			return hs_err_wrap(err, "%s%s, row %zu", symbol_prefix, symbol_names[table],
			                   i);
		if (end)
			return NULL;
		addr += reader->symbols[stride];
	}
	return hs_err_new(HS_ERR_BAD_DATA, "%s%s has no end", symbol_prefix, symbol_names[table]);
}

static struct hs_err *read_all(struct reader *reader, const struct hs_module *module)
{
	static const enum symbol tables[][2] = {
		{STRUCTS, STRUCT_STRIDE},
		{TYPES,   TYPE_STRIDE  },
		{INTS,    INT_STRIDE   },
		{LONGS,   LONG_STRIDE  },
	};

	struct hs_err *err = symbols_find(reader, module);
	if (!err)
		err = symbols_load(reader);
	for (size_t i = 0; !err && i < sizeof(tables) / sizeof(tables[0]); i++)
		err = read_table(reader, tables[i][0], tables[i][1]);
	return err;
}

struct hs_err *hs_vmstructs_read(struct hs_target *target, const struct hs_module *module,
                                 struct hs_arena *arena, struct hs_vmstructs **ret)
{
	struct reader reader = {
		.target = target,
		.arena = arena,
		.vm = hs_arena_alloc(arena, sizeof(*reader.vm)),
	};

	if (!reader.vm)
		return hs_err_oom();
	struct hs_err *err = read_all(&reader, module);
	hs_map64_deinit(&reader.strings);
	if (!err)
		*ret = reader.vm;
	return err;
}
