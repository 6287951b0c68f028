// SPDX-License-Identifier: Apache-2.0
/** @file Names of addresses and addresses of names, from small ELF files written here. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/limits.h"
#include "core/native/native_internal.h"
#include "tests/support/fake_target.h"

enum {
	BIAS = 0x7f0000000000,
	TEXT = 0x1000, /**< .text is [TEXT, TEXT + TEXT_SIZE) */
	TEXT_SIZE = 0x1000,
	OTHER = 0x2000, /**< .other follows it */
	OTHER_SIZE = 0x1000,
	IMAGE_SIZE = 0x3000,
};

enum section {
	SEC_NULL,
	SEC_TEXT,
	SEC_OTHER,
	SEC_SYMTAB,
	SEC_STRTAB,
	SEC_NOTE,
	SEC_COUNT,
};

enum {
	MAX_SYMBOLS = 128,
	MAX_STRINGS = 16384,
};

/** The file: one struct, so that offsets are offsetof(). */
struct elf_file {
	Elf64_Ehdr ehdr;
	Elf64_Phdr phdr;
	Elf64_Shdr shdrs[SEC_COUNT];
	struct {
		Elf64_Nhdr header;
		char name[4];
		uint8_t id[4];
	} note;
	Elf64_Sym symbols[MAX_SYMBOLS];
	char strings[MAX_STRINGS];
};

struct builder {
	struct elf_file file;
	size_t num_symbols, strings_len;
};

static Elf64_Shdr section(uint32_t type, uint64_t addr, uint64_t offset, uint64_t size)
{
	return (Elf64_Shdr){
		.sh_type = type,
		.sh_flags = addr ? SHF_ALLOC : 0,
		.sh_addr = addr,
		.sh_offset = offset,
		.sh_size = size,
		.sh_addralign = 4,
	};
}

static struct builder *builder_create(void)
{
	struct builder *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	b->num_symbols = 1;
	b->strings_len = 1;
	b->file.ehdr = (Elf64_Ehdr){
		.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB,
	                    EV_CURRENT},
		.e_type = ET_DYN,
		.e_machine = EM_X86_64,
		.e_version = EV_CURRENT,
		.e_phoff = offsetof(struct elf_file, phdr),
		.e_shoff = offsetof(struct elf_file, shdrs),
		.e_ehsize = sizeof(Elf64_Ehdr),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = 1,
		.e_shentsize = sizeof(Elf64_Shdr),
		.e_shnum = SEC_COUNT,
		.e_shstrndx = SEC_STRTAB,
	};
	b->file.phdr = (Elf64_Phdr){.p_type = PT_LOAD,
	                            .p_flags = PF_R | PF_X,
	                            .p_memsz = IMAGE_SIZE,
	                            .p_align = 0x1000};
	b->file.note.header = (Elf64_Nhdr){4, 4, NT_GNU_BUILD_ID};
	memcpy(b->file.note.name, "GNU", 4);
	memcpy(b->file.note.id, "\xab\xcd\xef\x01", 4);
	return b;
}

static void add_symbol(struct builder *b, const char *name, uint64_t value, uint64_t size,
                       unsigned bind, unsigned type, uint16_t shndx)
{
	size_t len = strlen(name) + 1;

	assert_true(b->num_symbols < MAX_SYMBOLS && b->strings_len + len <= MAX_STRINGS);
	memcpy(b->file.strings + b->strings_len, name, len);
	b->file.symbols[b->num_symbols++] = (Elf64_Sym){
		.st_name = (uint32_t)b->strings_len,
		.st_info = (unsigned char)ELF64_ST_INFO(bind, type),
		.st_shndx = shndx,
		.st_value = value,
		.st_size = size,
	};
	b->strings_len += len;
}

static void add_function(struct builder *b, const char *name, uint64_t value, uint64_t size,
                         unsigned bind)
{
	add_symbol(b, name, value, size, bind, STT_FUNC, SEC_TEXT);
}

/** Fill in the sections; @p type SHT_SYMTAB, SHT_DYNSYM or SHT_NULL for none. */
static struct elf_file *builder_finish(struct builder *b, uint32_t type)
{
	struct elf_file *file = &b->file;

	file->shdrs[SEC_TEXT] = section(SHT_NOBITS, TEXT, 0, TEXT_SIZE);
	file->shdrs[SEC_OTHER] = section(SHT_NOBITS, OTHER, 0, OTHER_SIZE);
	file->shdrs[SEC_SYMTAB] = section(type, 0, offsetof(struct elf_file, symbols),
	                                  b->num_symbols * sizeof(Elf64_Sym));
	file->shdrs[SEC_SYMTAB].sh_link = SEC_STRTAB;
	file->shdrs[SEC_SYMTAB].sh_info = 1;
	file->shdrs[SEC_SYMTAB].sh_entsize = sizeof(Elf64_Sym);
	file->shdrs[SEC_SYMTAB].sh_addralign = 8;
	file->shdrs[SEC_STRTAB] =
		section(SHT_STRTAB, 0, offsetof(struct elf_file, strings), b->strings_len);
	file->shdrs[SEC_NOTE] =
		section(SHT_NOTE, 0, offsetof(struct elf_file, note), sizeof(file->note));
	return file;
}

static int memory_file(const void *bytes, size_t len)
{
	int fd = memfd_create("module", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), (ssize_t)len);
	return fd;
}

/** A target with that file as its only module. */
struct fixture {
	struct hs_fake *fake;
	struct hs_snapshot *snapshot;
	struct hs_native *native;
};

static struct fixture open_bytes(const void *bytes, size_t len, const char *debug_dir)
{
	struct fixture f = {.fake = hs_fake_create(), .snapshot = hs_snapshot_create()};
	int fd = memory_file(bytes, len);
	struct hs_module *module =
		hs_fake_module(f.fake, "/lib/module.so", BIAS, BIAS + IMAGE_SIZE, BIAS, fd);

	close(fd);
	memcpy(module->build_id, "\xab\xcd\xef\x01", 4);
	module->build_id_len = 4;
	const struct hs_native_options options = {.debug_dir = debug_dir};
	assert_null(hs_native_open(hs_fake_target(f.fake), f.snapshot, &options, &f.native));
	return f;
}

static struct fixture open_built(struct builder *b, uint32_t type)
{
	struct fixture f = open_bytes(builder_finish(b, type), sizeof(b->file), "/nonexistent");

	free(b);
	return f;
}

static void fixture_destroy(struct fixture *f)
{
	hs_native_close(f->native);
	hs_snapshot_destroy(f->snapshot);
	hs_fake_destroy(f->fake);
}

static void assert_name(struct fixture *f, uint64_t addr, const char *expected)
{
	const char *name = hs_native_symbol(f->native, BIAS + addr, NULL, NULL);

	if (!expected)
		assert_null(name);
	else if (!name)
		fail_msg("0x%lx: no name, not %s", (unsigned long)addr, expected);
	else
		assert_string_equal(name, expected);
}

static void choice_among_symbols(void **state)
{
	(void)state;
	struct builder *b = builder_create();

	add_function(b, "local_inside", TEXT + 0x20, 0x10, STB_LOCAL);
	add_function(b, "local_only", TEXT + 0x100, 0x10, STB_LOCAL);
	add_function(b, "outer", TEXT, 0x80, STB_GLOBAL);
	add_function(b, "inner", TEXT + 0x40, 0x10, STB_GLOBAL);
	add_function(b, "weak_alias", TEXT + 0x200, 0x20, STB_WEAK);
	add_function(b, "strong", TEXT + 0x200, 0x20, STB_GLOBAL);
	add_function(b, "same_as_strong", TEXT + 0x200, 0x20, STB_GLOBAL);
	add_function(b, "long", TEXT + 0x300, 0x20, STB_GLOBAL);
	add_function(b, "short", TEXT + 0x300, 0x10, STB_GLOBAL);
	add_symbol(b, "undefined", TEXT + 0x400, 0x10, STB_GLOBAL, STT_FUNC, SHN_UNDEF);
	add_symbol(b, "a_section", TEXT + 0x400, 0x10, STB_LOCAL, STT_SECTION, SEC_TEXT);
	struct fixture f = open_built(b, SHT_SYMTAB);

	assert_name(&f, TEXT + 0x10, "outer");
	assert_name(&f, TEXT + 0x24, "outer"); // a local symbol names what no global does
	assert_name(&f, TEXT + 0x44, "inner");
	assert_name(&f, TEXT + 0x50, "outer");
	assert_name(&f, TEXT + 0x7f, "outer");
	assert_name(&f, TEXT + 0x80, NULL);
	assert_name(&f, TEXT + 0x100, "local_only");
	assert_name(&f, TEXT + 0x210, "strong");
	assert_name(&f, TEXT + 0x305, "short");
	assert_name(&f, TEXT + 0x315, "long");
	assert_name(&f, TEXT + 0x405, NULL);
	assert_name(&f, IMAGE_SIZE + 0x10, NULL);
	fixture_destroy(&f);
}

static void labels_without_size(void **state)
{
	(void)state;
	struct builder *b = builder_create();

	add_function(b, "before", TEXT, 0x10, STB_GLOBAL);
	add_symbol(b, "__restore_rt", TEXT + 0x20, 0, STB_LOCAL, STT_NOTYPE, SEC_TEXT);
	add_function(b, "after", TEXT + 0x40, 0x10, STB_GLOBAL);
	add_symbol(b, "covered", TEXT + 0x48, 0, STB_LOCAL, STT_NOTYPE, SEC_TEXT);
	add_symbol(b, "last", TEXT + 0x100, 0, STB_LOCAL, STT_NOTYPE, SEC_TEXT);
	struct fixture f = open_built(b, SHT_SYMTAB);

	assert_name(&f, TEXT + 0x18, NULL);
	assert_name(&f, TEXT + 0x20, "__restore_rt");
	assert_name(&f, TEXT + 0x2f, "__restore_rt");
	assert_name(&f, TEXT + 0x48, "after");
	assert_name(&f, TEXT + 0x50, NULL); // a sized symbol reaches past the label
	assert_name(&f, TEXT + 0x800, "last");
	assert_name(&f, OTHER + 8, NULL); // another section
	fixture_destroy(&f);
}

/** A long way back to the symbol that fits: over more than one block of the index. */
static void function_with_many_inside(void **state)
{
	(void)state;
	struct builder *b = builder_create();

	add_function(b, "outer", TEXT, 0x1000, STB_GLOBAL);
	for (uint64_t i = 0; i < 100; i++)
		add_function(b, "inner", TEXT + 0x10 + 8 * i, 4, STB_GLOBAL);
	struct fixture f = open_built(b, SHT_SYMTAB);

	assert_name(&f, TEXT + 0x10 + 8 * 99 + 6, "outer");
	assert_name(&f, TEXT + 0xfff, "outer");
	assert_name(&f, TEXT + 0x10 + 8 * 50 + 1, "inner");
	fixture_destroy(&f);
}

static void locations(void **state)
{
	(void)state;
	struct builder *b = builder_create();

	add_function(b, "caller", TEXT, 0x10, STB_GLOBAL);
	add_function(b, "next", TEXT + 0x10, 0x10, STB_GLOBAL);
	struct fixture f = open_built(b, SHT_SYMTAB);

	// A call that does not return may be the last instruction: the return address is next's.
	const struct hs_location *call = hs_native_location(f.native, BIAS + TEXT + 0x10, false);
	assert_string_equal(call->function, "caller");
	assert_int_equal(call->function_offset, 0x10);
	assert_int_equal(call->module_offset, TEXT + 0x10);
	assert_string_equal(call->module, "/lib/module.so");
	assert_int_equal(call->line, -1);
	const struct hs_location *top = hs_native_location(f.native, BIAS + TEXT + 0x10, true);
	assert_string_equal(top->function, "next");
	assert_int_equal(top->function_offset, 0);
	assert_ptr_equal(call, hs_native_location(f.native, BIAS + TEXT + 0x10, false));

	uint64_t offset;
	const struct hs_module *module;
	assert_string_equal(hs_native_symbol(f.native, BIAS + TEXT + 0x14, &offset, &module),
	                    "next");
	assert_int_equal(offset, 4);
	assert_string_equal(module->path, "/lib/module.so");

	const struct hs_location *nowhere = hs_native_location(f.native, 0x1234, true);
	assert_null(nowhere->module);
	assert_null(nowhere->function);
	fixture_destroy(&f);
}

static hs_addr lookup(struct fixture *f, const char *name)
{
	hs_addr addr = 0;
	const struct hs_module *module = &hs_target_modules(hs_fake_target(f->fake))->modules[0];
	struct hs_err *err = hs_native_lookup(f->native, module, name, &addr);

	if (err) {
		assert_int_equal(hs_err_code(err), HS_ERR_ABSENT);
		hs_err_free(err);
		return 0;
	}
	return addr - BIAS;
}

static void lookup_by_name(void **state)
{
	(void)state;
	struct builder *b = builder_create();

	add_function(b, "wait@GLIBC_2.2.5", TEXT + 0x10, 0x10, STB_GLOBAL);
	add_function(b, "wait@@GLIBC_2.3.2", TEXT + 0x20, 0x10, STB_GLOBAL);
	add_function(b, "twice", TEXT + 0x30, 0x10, STB_LOCAL);
	add_function(b, "twice", TEXT + 0x40, 0x10, STB_GLOBAL);
	add_symbol(b, "undefined", 0, 0, STB_GLOBAL, STT_FUNC, SHN_UNDEF);
	add_symbol(b, "thread_local", 0x10, 8, STB_GLOBAL, STT_TLS, SEC_TEXT);
	struct fixture f = open_built(b, SHT_SYMTAB);

	assert_int_equal(lookup(&f, "wait"), TEXT + 0x20);
	assert_int_equal(lookup(&f, "twice"), TEXT + 0x40);
	assert_int_equal(lookup(&f, "undefined"), 0);
	assert_int_equal(lookup(&f, "thread_local"), 0);
	assert_int_equal(lookup(&f, "wai"), 0);
	assert_int_equal(lookup(&f, ""), 0);
	assert_name(&f, TEXT + 0x24, "wait"); // the version is cut off
	fixture_destroy(&f);
}

static void dynamic_symbols_only(void **state)
{
	(void)state;
	struct builder *b = builder_create();

	add_function(b, "exported", TEXT, 0x10, STB_GLOBAL);
	struct fixture f = open_built(b, SHT_DYNSYM);

	assert_name(&f, TEXT + 4, "exported");
	assert_int_equal(lookup(&f, "exported"), TEXT);
	fixture_destroy(&f);
}

static void no_symbols(void **state)
{
	(void)state;
	struct fixture f = open_built(builder_create(), SHT_NULL);

	assert_name(&f, TEXT, NULL);
	assert_int_equal(lookup(&f, "anything"), 0);
	fixture_destroy(&f);
}

static void missing_module(void **state)
{
	(void)state;
	struct fixture f = {.fake = hs_fake_create(), .snapshot = hs_snapshot_create()};
	struct hs_module *module =
		hs_fake_module(f.fake, "/lib/gone.so", BIAS, BIAS + IMAGE_SIZE, 0, -1);

	module->state = HS_MODULE_MISSING;
	module->why = "no such file";
	assert_null(hs_native_open(hs_fake_target(f.fake), f.snapshot,
	                           &(struct hs_native_options){0}, &f.native));
	const struct hs_location *location = hs_native_location(f.native, BIAS + 0x123, true);
	assert_string_equal(location->module, "/lib/gone.so");
	assert_int_equal(location->module_offset, 0x123);
	assert_null(location->function);
	assert_int_equal(lookup(&f, "anything"), 0);
	fixture_destroy(&f);
}

// ---- names

static void demangling(void **state)
{
	(void)state;
	struct hs_arena *arena = hs_arena_create();

	assert_string_equal(hs_demangle(arena, "main"), "main");
	assert_string_equal(hs_demangle(arena, "pthread_cond_wait@@GLIBC_2.3.2"),
	                    "pthread_cond_wait");
	assert_string_equal(hs_demangle(arena, "_ZN2os13PlatformEvent4parkEl"),
	                    "os::PlatformEvent::park(long)");
	assert_string_equal(hs_demangle(arena, "_Z"), "_Z");
	assert_string_equal(hs_demangle(arena, "_ZN2os"), "_ZN2os");
	assert_string_equal(hs_demangle(arena, ""), "");

	// f(A<A<A<…, …>, …>): each level names the one below twice.
	char bomb[2048] = "_Z1f1AI";
	for (int i = 0; i < 200; i++)
		strcat(bomb, "S_S_");
	strcat(bomb, "E");
	assert_string_equal(hs_demangle(arena, bomb), bomb);

	char *endless = malloc(2 * HS_MAX_NAME);
	assert_non_null(endless);
	memset(endless, 'x', 2 * HS_MAX_NAME);
	endless[2 * HS_MAX_NAME - 1] = '\0';
	assert_int_equal(strlen(hs_demangle(arena, endless)), HS_MAX_NAME);
	free(endless);

	// A readable name of more than 1024 bytes is cut, and says so.
	char many[2048] = "_Z1f";
	for (int i = 0; i < 500; i++)
		strcat(many, "l");
	const char *cut = hs_demangle(arena, many);
	assert_int_equal(strlen(cut), 1024 + 3);
	assert_string_equal(cut + 1024, "...");
	hs_arena_destroy(arena);
}

// ---- separate debug files

static void write_debug_file(const char *dir, const char *name, const struct elf_file *file)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/.build-id", dir);
	mkdir(path, 0700);
	snprintf(path, sizeof(path), "%s/.build-id/ab", dir);
	mkdir(path, 0700);
	snprintf(path, sizeof(path), "%s/.build-id/ab/%s", dir, name);
	FILE *out = fopen(path, "we");
	assert_non_null(out);
	assert_int_equal(fwrite(file, sizeof(*file), 1, out), 1);
	assert_int_equal(fclose(out), 0);
}

static void remove_debug_dir(const char *dir, const char *name)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/.build-id/ab/%s", dir, name);
	unlink(path);
	snprintf(path, sizeof(path), "%s/.build-id/ab", dir);
	rmdir(path);
	snprintf(path, sizeof(path), "%s/.build-id", dir);
	rmdir(path);
	rmdir(dir);
}

static void debug_file_is_found(bool same_build, const char *expected)
{
	static const char NAME[] = "cdef01.debug";
	char dir[] = "/tmp/hs-debug-XXXXXX";
	struct builder *debug = builder_create();
	struct builder *stripped = builder_create();

	assert_non_null(mkdtemp(dir));
	add_function(debug, "from_debug_file", TEXT, 0x10, STB_LOCAL);
	add_function(debug, "more", TEXT + 0x20, 0x10, STB_GLOBAL);
	if (!same_build)
		debug->file.note.id[3] ^= 1;
	write_debug_file(dir, NAME, builder_finish(debug, SHT_SYMTAB));
	struct fixture f =
		open_bytes(builder_finish(stripped, SHT_NULL), sizeof(stripped->file), dir);

	assert_name(&f, TEXT + 4, expected);
	fixture_destroy(&f);
	remove_debug_dir(dir, NAME);
	free(debug);
	free(stripped);
}

static void debug_file_by_build_id(void **state)
{
	(void)state;
	debug_file_is_found(true, "from_debug_file");
}

static void debug_file_of_another_build(void **state)
{
	(void)state;
	debug_file_is_found(false, NULL);
}

// ---- bad input

static struct builder *ordinary_file(void)
{
	struct builder *b = builder_create();

	add_function(b, "first", TEXT, 0x10, STB_GLOBAL);
	add_function(b, "second", TEXT + 0x10, 0x10, STB_LOCAL);
	add_function(b, "third", TEXT + 0x20, 0, STB_GLOBAL);
	builder_finish(b, SHT_SYMTAB);
	return b;
}

/** Ask everything; any answer will do. */
static void ask(const void *bytes, size_t len)
{
	struct fixture f = open_bytes(bytes, len, "/nonexistent");

	for (uint64_t addr = 0; addr < IMAGE_SIZE; addr += 0x8)
		hs_native_symbol(f.native, BIAS + addr, NULL, NULL);
	lookup(&f, "first");
	assert_non_null(hs_native_row(f.native, BIAS + TEXT + 1));
	fixture_destroy(&f);
}

static void wild_symbols(void **state)
{
	(void)state;
	struct builder *b = ordinary_file();

	b->file.symbols[1].st_name = UINT32_MAX;
	b->file.symbols[2].st_size = UINT64_MAX;
	b->file.symbols[3].st_value = UINT64_MAX - 1;
	ask(&b->file, sizeof(b->file));
	b->file.shdrs[SEC_SYMTAB].sh_link = 4000;
	ask(&b->file, sizeof(b->file));
	free(b);

	b = ordinary_file();
	b->file.shdrs[SEC_STRTAB].sh_size = 3; // no NUL at its end
	ask(&b->file, sizeof(b->file));
	b->file.shdrs[SEC_STRTAB].sh_size = UINT64_MAX / 2;
	ask(&b->file, sizeof(b->file));
	b->file.shdrs[SEC_SYMTAB].sh_size = UINT64_MAX / 2;
	ask(&b->file, sizeof(b->file));
	b->file.phdr.p_align = 0;
	ask(&b->file, sizeof(b->file));
	b->file.phdr.p_type = PT_NULL;
	ask(&b->file, sizeof(b->file));
	free(b);
}

static void files_that_are_no_module(void **state)
{
	(void)state;
	struct builder *b = ordinary_file();
	static const char TEXT_FILE[] = "#!/bin/sh\necho not an ELF file\n";

	ask(TEXT_FILE, sizeof(TEXT_FILE));
	ask("", 0);
	b->file.ehdr.e_machine = EM_AARCH64;
	ask(&b->file, sizeof(b->file));
	b->file.ehdr.e_machine = EM_X86_64;
	b->file.ehdr.e_ident[EI_CLASS] = ELFCLASS32;
	ask(&b->file, sizeof(b->file));
	free(b);
}

/** Each byte of the headers and symbols changed, and the file cut at each 64 bytes. */
static void flipped_and_truncated(void **state)
{
	(void)state;
	const size_t headers = offsetof(struct elf_file, symbols) + 4 * sizeof(Elf64_Sym);
	struct builder *b = ordinary_file();
	uint8_t *bytes = (uint8_t *)&b->file;

	for (size_t i = 0; i < headers; i++) {
		bytes[i] ^= 0xff;
		ask(bytes, sizeof(b->file));
		bytes[i] ^= 0xff;
	}
	for (size_t len = 0; len < headers; len += 64)
		ask(bytes, len);
	free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(choice_among_symbols),
		cmocka_unit_test(labels_without_size),
		cmocka_unit_test(function_with_many_inside),
		cmocka_unit_test(locations),
		cmocka_unit_test(lookup_by_name),
		cmocka_unit_test(dynamic_symbols_only),
		cmocka_unit_test(no_symbols),
		cmocka_unit_test(missing_module),
		cmocka_unit_test(demangling),
		cmocka_unit_test(debug_file_by_build_id),
		cmocka_unit_test(debug_file_of_another_build),
		cmocka_unit_test(wild_symbols),
		cmocka_unit_test(files_that_are_no_module),
		cmocka_unit_test(flipped_and_truncated),
	};

	return cmocka_run_group_tests_name("symbols", tests, NULL, NULL);
}
