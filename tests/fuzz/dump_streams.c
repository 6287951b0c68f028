// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Dump streams: `dump_streams CORE|PID DIRECTORY PREFIX [TARGET...]` writes small inputs for the
 * fuzz targets, or for these, from a real JVM: DIRECTORY/TARGET/PREFIX-NN. See make_corpus.py.
 */

#include <gelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/jvm/scopes.h"
#include "tests/fuzz/dump.h"

enum {
	NUM_SYMBOLS = 20,
	MAX_ROWS = 8192,
	MAX_STRIDE = 256,
};

void dump_put(struct bytes *out, const void *data, size_t len)
{
	if (len > sizeof(out->data) - out->len)
		abort();
	memcpy(out->data + out->len, data, len);
	out->len += len;
}

void dump_save(const struct dump *d, const char *target, unsigned number, const struct bytes *out)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s/%s-%02u", d->directory, target, d->prefix, number);
	FILE *file = fopen(path, "wbe");
	if (!file || fwrite(out->data, 1, out->len, file) != out->len || fclose(file) != 0) {
		perror(path);
		exit(1);
	}
}

bool dump_wants(const struct dump *d, const char *target)
{
	for (char **name = d->targets; *name; name++)
		if (!strcmp(*name, target))
			return true;
	return !d->targets[0];
}

bool dump_load(const struct dump *d, hs_addr addr, void *data, size_t len)
{
	struct hs_err *err = hs_target_read(d->jvm->target, addr, data, len);
	bool ok = !err;

	hs_err_free(err);
	return ok;
}

uint64_t dump_load_u64(const struct dump *d, hs_addr addr)
{
	uint64_t value = 0;

	return dump_load(d, addr, &value, sizeof(value)) ? value : 0;
}

uint64_t dump_word(const struct dump *d, hs_addr base, enum hs_field field)
{
	return dump_load_u64(d, base + hs_layout_offset(&d->jvm->layout, field));
}

// ---- fields

static void dump_fields(struct dump *d, hs_addr klass)
{
	bool is_stream = hs_layout_has(&d->jvm->layout, HS_F_klass_fieldinfo_stream);
	hs_addr array =
		dump_word(d, klass, is_stream ? HS_F_klass_fieldinfo_stream : HS_F_klass_fields);
	uint32_t len = 0;
	uint8_t kind = is_stream;
	struct bytes out = {0};

	if (!dump_wants(d, "field_info") || !array || !dump_load(d, array, &len, sizeof(len)))
		return;
	size_t size = is_stream ? len : 2UL * len;
	if (!size || size >= DUMP_MAX_FILE || d->seen_fields[size] ||
	    d->written_fields == DUMP_PER_KIND)
		return;
	dump_put(&out, &kind, 1);
	if (!dump_load(d,
	               array + hs_layout_offset(&d->jvm->layout, is_stream ? HS_F_array_u1_data
	                                                                   : HS_F_array_u2_data),
	               out.data + 1, size))
		return;
	out.len += size;
	d->seen_fields[size] = true;
	dump_save(d, "field_info", d->written_fields++, &out);
}

// ---- lines

static void dump_lines(struct dump *d, hs_addr addr)
{
	const struct hs_layout *layout = &d->jvm->layout;
	struct hs_method *method = NULL;
	struct bytes out = {0};
	uint32_t words = 0;
	uint8_t kind = (uint8_t)d->jvm->unsigned5_bias;

	struct hs_err *err = hs_method_get(d->jvm, addr, &method);
	hs_err_free(err);
	if (!dump_wants(d, "line_numbers") || err || !method->num_lines ||
	    d->written_lines == DUMP_PER_KIND)
		return;
	hs_addr const_method = dump_word(d, addr, HS_F_method_const_method);
	hs_addr start = method->code_base + method->code_size;
	if (!dump_load(d, const_method + hs_layout_offset(layout, HS_F_const_method_size), &words,
	               4))
		return;
	uint64_t size = const_method + 8 * (uint64_t)words - start;
	if (!size || size >= DUMP_MAX_FILE || d->seen_lines[size])
		return;
	uint16_t code_size = (uint16_t)method->code_size;
	dump_put(&out, &kind, 1);
	dump_put(&out, &code_size, 2);
	if (!dump_load(d, start, out.data + out.len, size))
		return;
	out.len += size;
	d->seen_lines[size] = true;
	dump_save(d, "line_numbers", d->written_lines++, &out);
}

static void dump_method(struct dump *d, hs_addr addr)
{
	dump_lines(d, addr);
	dump_local_table(d, addr);
}

static struct hs_err *dump_class(void *arg, hs_addr addr)
{
	struct dump *d = arg;
	const struct hs_klass *klass = NULL;
	uint32_t count = 0;

	struct hs_err *err = hs_klass_get(d->jvm, addr, &klass);
	if (err || klass->layout_helper < 0) {
		hs_err_free(err);
		return NULL;
	}
	dump_fields(d, addr);
	hs_addr methods = dump_word(d, addr, HS_F_klass_methods);
	if (!methods || !dump_load(d, methods, &count, sizeof(count)))
		return NULL;
	for (uint32_t i = 0; i < count && i < 64; i++)
		dump_method(d, dump_load_u64(d, methods + 8 + 8 * (hs_addr)i));
	return NULL;
}

// ---- scopes

static void dump_scopes(struct dump *d, const struct hs_blob *blob)
{
	const struct hs_nmethod *nm = blob->nmethod;
	uint64_t size = nm->scopes_end - nm->scopes, deepest = 0;
	struct hs_pc_desc best = {0}, desc;
	struct bytes out = {0};
	uint8_t kind = d->jvm->unsigned5_bias ? 2 : 1;

	if (hs_layout_has(&d->jvm->layout, HS_F_code_cache_heap))
		kind = 0;
	if (!dump_wants(d, "scopes") || !size || size >= DUMP_MAX_FILE ||
	    d->written_scopes == DUMP_PER_KIND)
		return;
	for (hs_addr pc = blob->code_begin; pc < blob->end;
	     pc = blob->code_begin + desc.pc_offset + 1) {
		const struct hs_code_site *site = NULL;
		struct hs_err *err = hs_nmethod_pc_desc(d->jvm, blob, pc, false, &desc);

		if (!err)
			err = hs_code_site_get(d->jvm, blob->code_begin + desc.pc_offset, true,
			                       &site);
		hs_err_free(err);
		if (err || desc.pc_offset < 0)
			break;
		uint64_t depth = site->num_scopes * 4;
		for (size_t i = 0; i < site->num_scopes; i++)
			depth += site->scopes[i].num_monitors + !!site->scopes[i].locals;
		if (depth > deepest) {
			deepest = depth;
			best = desc;
		}
	}
	if (deepest < 9) // two methods at least
		return;
	dump_put(&out, &kind, 1);
	dump_put(&out, &best.scope_offset, 4);
	dump_put(&out, &best.object_offset, 4);
	if (!dump_load(d, nm->scopes, out.data + out.len, size))
		return;
	out.len += size;
	dump_save(d, "scopes", d->written_scopes++, &out);
}

static void dump_code(struct dump *d)
{
	const struct hs_code_cache *cache = d->jvm->code_cache;

	for (size_t i = 0; cache && i < cache->num_heaps; i++) {
		hs_addr step = 1UL << cache->heaps[i].log2_segment_size;

		for (hs_addr pc = cache->heaps[i].low; pc < cache->heaps[i].high; pc += step) {
			const struct hs_blob *blob = NULL;
			struct hs_err *err = hs_code_cache_blob(d->jvm, pc, &blob);

			hs_err_free(err);
			if (err)
				continue;
			if (blob->nmethod)
				dump_scopes(d, blob);
			else
				dump_oop_maps(d, blob);
			if (blob->end > pc + step)
				pc = (blob->end - 1) & ~(step - 1);
		}
	}
}

// ---- vmStructs

static const struct {
	const char *type, *field;
} wanted_fields[] = {
#define SPELLINGS(...) __VA_ARGS__
#define FIELD(name, need, ...) SPELLINGS(__VA_ARGS__ __VA_OPT__(, ))
#define TYPE(...)
#include "core/jvm/layout_fields.def"
};

static bool is_wanted(const char *type, const char *field)
{
	for (size_t i = 0; field && i < sizeof(wanted_fields) / sizeof(*wanted_fields); i++)
		if (!strcmp(wanted_fields[i].type, type) && !strcmp(wanted_fields[i].field, field))
			return true;
	return false;
}

struct tables {
	struct dump *dump;
	uint64_t symbols[NUM_SYMBOLS]; // values of the variables
	struct bytes rows, strings;
	hs_addr strings_at;
};

static const char *text_at(struct tables *t, hs_addr addr)
{
	const char *text = "";
	struct hs_err *err = hs_target_read_cstr(t->dump->jvm->target, addr, HS_MAX_NAME,
	                                         t->dump->jvm->arena, &text);

	hs_err_free(err);
	return text;
}

/** Copy the string that the word at @p at points to, and correct the word. */
static void move_string(struct tables *t, uint8_t *at)
{
	hs_addr addr;

	memcpy(&addr, at, sizeof(addr));
	if (!addr)
		return;
	const char *text = text_at(t, addr);
	addr = t->strings_at + t->strings.len;
	dump_put(&t->strings, text, strlen(text) + 1);
	memcpy(at, &addr, sizeof(addr));
}

/** One table: rows that are wanted, then an empty one. @p name: where the name of a row is. */
static void move_table(struct tables *t, unsigned table, unsigned stride, unsigned name)
{
	uint64_t size = t->symbols[stride];
	hs_addr row = t->symbols[table];
	uint8_t bytes[MAX_STRIDE];
	unsigned kept = 0;

	if (size > sizeof(bytes))
		abort();
	t->symbols[table] = FAKE_LIBJVM_TABLES + t->rows.len;
	for (unsigned i = 0; i < MAX_ROWS; i++, row += size) {
		uint64_t text, type;

		if (!dump_load(t->dump, row, bytes, size))
			abort();
		memcpy(&text, bytes + t->symbols[name], sizeof(text));
		if (!text)
			break;
		if (table == 0) { // structs
			memcpy(&type, bytes + t->symbols[1], sizeof(type));
			if (!is_wanted(text_at(t, type), text_at(t, text)))
				continue;
			move_string(t, bytes + t->symbols[1]);
			move_string(t, bytes + t->symbols[3]);
		} else if (kept++ >= 24) {
			continue;
		}
		move_string(t, bytes + t->symbols[name]);
		dump_put(&t->rows, bytes, size);
	}
	memset(bytes, 0, size);
	dump_put(&t->rows, bytes, size);
}

/** Names as in fake_libjvm.c. */
static const char *const symbol_names[NUM_SYMBOLS] = {
	"Structs",
	"StructEntryTypeNameOffset",
	"StructEntryFieldNameOffset",
	"StructEntryTypeStringOffset",
	"StructEntryIsStaticOffset",
	"StructEntryOffsetOffset",
	"StructEntryAddressOffset",
	"StructEntryArrayStride",
	"Types",
	"TypeEntryTypeNameOffset",
	"TypeEntrySizeOffset",
	"TypeEntryArrayStride",
	"IntConstants",
	"IntConstantEntryNameOffset",
	"IntConstantEntryValueOffset",
	"IntConstantEntryArrayStride",
	"LongConstants",
	"LongConstantEntryNameOffset",
	"LongConstantEntryValueOffset",
	"LongConstantEntryArrayStride",
};

static void find_symbols(struct tables *t, Elf *elf, Elf_Scn *section, const GElf_Shdr *header)
{
	Elf_Data *data = elf_getdata(section, NULL);
	GElf_Sym symbol;

	for (int i = 0; data && gelf_getsym(data, i, &symbol); i++) {
		const char *name = elf_strptr(elf, header->sh_link, symbol.st_name);

		for (size_t j = 0; name && !strncmp(name, "gHotSpotVM", 10) && j < NUM_SYMBOLS; j++)
			if (!strcmp(name + 10, symbol_names[j]))
				t->symbols[j] = dump_load_u64(
					t->dump, symbol.st_value + t->dump->jvm->libjvm->bias);
	}
}

static void dump_vmstructs(struct dump *d)
{
	static struct tables t; // large
	struct bytes out = {0};

	t.dump = d;
	elf_version(EV_CURRENT);
	Elf *elf = elf_begin(d->jvm->libjvm->fd, ELF_C_READ_MMAP, NULL);
	for (Elf_Scn *section = NULL; elf && (section = elf_nextscn(elf, section));) {
		GElf_Shdr header;

		if (gelf_getshdr(section, &header) && header.sh_type == SHT_DYNSYM)
			find_symbols(&t, elf, section, &header);
	}
	elf_end(elf);
	t.strings_at = FAKE_LIBJVM_TABLES + 0x6000;
	move_table(&t, 0, 7, 2);
	move_table(&t, 8, 11, 9);
	move_table(&t, 12, 15, 13);
	move_table(&t, 16, 19, 17);
	if (t.rows.len > 0x6000)
		abort();
	dump_put(&out, t.symbols, sizeof(t.symbols));
	dump_put(&out, t.rows.data, t.rows.len);
	uint8_t zeros[0x6000] = {0};
	dump_put(&out, zeros, 0x6000 - t.rows.len);
	dump_put(&out, t.strings.data, t.strings.len);
	dump_save(d, "vmstructs", 0, &out);
}

// ----

static void must(struct hs_err *err)
{
	if (!err)
		return;
	fprintf(stderr, "%s\n", hs_err_message(err));
	exit(1);
}

int main(int argc, char **argv)
{
	struct dump d = {0};
	const struct hs_open_options options = {0};
	struct hs_target *target = NULL;
	struct hs_snapshot *snapshot = hs_snapshot_create();

	if (argc < 4 || !snapshot) {
		fprintf(stderr, "usage: dump_streams CORE|PID DIRECTORY PREFIX [TARGET...]\n");
		return 64;
	}
	long pid = strtol(argv[1], NULL, 10);
	must(pid ? hs_target_open_pid((pid_t)pid, &options, &target)
	         : hs_target_open_core(argv[1], &options, &target));
	must(hs_jvm_open(target, snapshot, &d.jvm));
	d.directory = argv[2];
	d.prefix = argv[3];
	d.targets = argv + 4;
	if (dump_wants(&d, "vmstructs"))
		dump_vmstructs(&d);
	must(hs_klass_each(d.jvm, dump_class, &d));
	dump_code(&d);
	must(hs_jvm_collect_threads(d.jvm));
	dump_chunks(&d);
	printf("%s: %u field, %u line, %u scope streams; %u local tables, %u oop maps, %u stacks\n",
	       d.prefix, d.written_fields, d.written_lines, d.written_scopes, d.written_tables,
	       d.written_maps, d.written_stacks);
	hs_jvm_close(d.jvm);
	hs_snapshot_destroy(snapshot);
	hs_target_close(target);
	return 0;
}
