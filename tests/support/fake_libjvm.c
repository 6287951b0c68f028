// SPDX-License-Identifier: Apache-2.0
/** @file Fake libjvm: tables as vmStructs.cpp compiles to, in a fake target. */

#include "tests/support/fake_libjvm.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
	IMAGE_SIZE = 0x2000,
	SYMTAB = 0x200,
	STRTAB = 0x500,
	DYNAMIC = 0x1000,
	SECTIONS = 0x1100,
	MAX_ROWS = 512,
	STRUCT_STRIDE = 48,
	NAMED_STRIDE = 48, // types
	CONST_STRIDE = 16,
	FLAG_STRIDE = 24,
};

/** Names and values of the exported variables; 0: the address of a table, set when it is written.
 */
static const struct {
	const char *name;
	uint64_t value;
} symbols[FAKE_LIBJVM_SYMBOLS] = {
	{"gHotSpotVMStructs",                      0            },
	{"gHotSpotVMStructEntryTypeNameOffset",    0            },
	{"gHotSpotVMStructEntryFieldNameOffset",   8            },
	{"gHotSpotVMStructEntryTypeStringOffset",  16           },
	{"gHotSpotVMStructEntryIsStaticOffset",    24           },
	{"gHotSpotVMStructEntryOffsetOffset",      32           },
	{"gHotSpotVMStructEntryAddressOffset",     40           },
	{"gHotSpotVMStructEntryArrayStride",       STRUCT_STRIDE},
	{"gHotSpotVMTypes",                        0            },
	{"gHotSpotVMTypeEntryTypeNameOffset",      0            },
	{"gHotSpotVMTypeEntrySizeOffset",          32           },
	{"gHotSpotVMTypeEntryArrayStride",         NAMED_STRIDE },
	{"gHotSpotVMIntConstants",                 0            },
	{"gHotSpotVMIntConstantEntryNameOffset",   0            },
	{"gHotSpotVMIntConstantEntryValueOffset",  8            },
	{"gHotSpotVMIntConstantEntryArrayStride",  CONST_STRIDE },
	{"gHotSpotVMLongConstants",                0            },
	{"gHotSpotVMLongConstantEntryNameOffset",  0            },
	{"gHotSpotVMLongConstantEntryValueOffset", 8            },
	{"gHotSpotVMLongConstantEntryArrayStride", CONST_STRIDE },
};

struct row {
	const char *type, *name, *type_string;
	bool is_static;
	uint64_t value;
};

struct rows {
	struct row items[MAX_ROWS];
	size_t len;
};

struct hs_fake_libjvm {
	struct hs_fake *fake;
	struct rows structs, types, ints, longs;
	bool dropped[FAKE_LIBJVM_SYMBOLS];
	hs_addr next_string, next_table, next_static, flag_table;
	hs_addr info; // _s_internal_vm_info_string
	size_t num_flags;
};

struct hs_fake_libjvm *hs_fake_libjvm_create(struct hs_fake *fake)
{
	struct hs_fake_libjvm *libjvm = calloc(1, sizeof(*libjvm));

	if (!libjvm)
		abort();
	libjvm->fake = fake;
	libjvm->next_string = FAKE_LIBJVM_STRINGS;
	libjvm->next_table = FAKE_LIBJVM_TABLES;
	libjvm->next_static = FAKE_LIBJVM_STATICS;
	libjvm->flag_table = FAKE_LIBJVM_STATICS + 0x80000;
	return libjvm;
}

void hs_fake_libjvm_destroy(struct hs_fake_libjvm *libjvm)
{
	free(libjvm);
}

static void add_row(struct rows *rows, struct row row)
{
	if (rows->len == MAX_ROWS)
		abort();
	rows->items[rows->len++] = row;
}

void hs_fake_libjvm_field(struct hs_fake_libjvm *libjvm, const char *type, const char *field,
                          const char *type_string, uint64_t offset)
{
	add_row(&libjvm->structs, (struct row){type, field, type_string, false, offset});
}

void hs_fake_libjvm_static(struct hs_fake_libjvm *libjvm, const char *type, const char *field,
                           const char *type_string, hs_addr address)
{
	add_row(&libjvm->structs, (struct row){type, field, type_string, true, address});
}

void hs_fake_libjvm_type(struct hs_fake_libjvm *libjvm, const char *name, uint64_t size)
{
	add_row(&libjvm->types, (struct row){NULL, name, NULL, false, size});
}

void hs_fake_libjvm_int(struct hs_fake_libjvm *libjvm, const char *name, int32_t value)
{
	add_row(&libjvm->ints, (struct row){NULL, name, NULL, false, (uint64_t)value});
}

void hs_fake_libjvm_long(struct hs_fake_libjvm *libjvm, const char *name, int64_t value)
{
	add_row(&libjvm->longs, (struct row){NULL, name, NULL, false, (uint64_t)value});
}

void hs_fake_libjvm_drop_symbol(struct hs_fake_libjvm *libjvm, size_t index)
{
	libjvm->dropped[index] = true;
}

static hs_addr put_string(struct hs_fake_libjvm *libjvm, const char *s)
{
	hs_addr addr = libjvm->next_string;

	if (!s)
		return 0;
	hs_fake_cstr(libjvm->fake, addr, s);
	libjvm->next_string += strlen(s) + 1;
	return addr;
}

void hs_fake_libjvm_flag(struct hs_fake_libjvm *libjvm, const char *name, size_t size,
                         int32_t value)
{
	hs_addr row = libjvm->flag_table + libjvm->num_flags++ * FLAG_STRIDE;

	hs_fake_u64(libjvm->fake, row, libjvm->next_static);
	hs_fake_u64(libjvm->fake, row + 8, put_string(libjvm, name));
	hs_fake_u64(libjvm->fake, row + 16, 0);
	if (size == 1)
		hs_fake_u8(libjvm->fake, libjvm->next_static, (uint8_t)value);
	else
		hs_fake_u32(libjvm->fake, libjvm->next_static, (uint32_t)value);
	libjvm->next_static += 8;
}

// ---- the standard rows

static hs_addr static_word(struct hs_fake_libjvm *libjvm, uint64_t value)
{
	hs_addr addr = libjvm->next_static;

	hs_fake_u64(libjvm->fake, addr, value);
	libjvm->next_static += 8;
	return addr;
}

static void standard_fields(struct hs_fake_libjvm *libjvm)
{
	static const struct row rows[] = {
		{"JVMFlag",         "_addr",                       "void*",            false, 0 },
		{"JVMFlag",         "_name",                       "const char*",      false, 8 },
		{"oopDesc",         "_mark",                       "markWord",         false, 0 },
		{"oopDesc",         "_metadata._klass",            "Klass*",           false, 8 },
		{"oopDesc",         "_metadata._compressed_klass", "narrowKlass",      false, 8 },
		{"Symbol",          "_length",                     "u2",               false, 4 },
		{"Symbol",          "_body",                       NULL,               false, 6 },
		{"Klass",           "_layout_helper",              "jint",             false, 8 },
		{"Klass",           "_name",                       "Symbol*",          false, 16},
		{"Klass",           "_super",                      "Klass*",           false, 24},
		{"Klass",           "_java_mirror",                "OopHandle",        false, 32},
		{"Klass",           "_class_loader_data",          "ClassLoaderData*", false, 40},
		{"Klass",           "_next_link",                  "Klass*",           false, 48},
		{"InstanceKlass",   "_constants",                  "ConstantPool*",    false, 56},
		{"InstanceKlass",   "_methods",                    "Array<Method*>*",  false, 72},
		{"ClassLoaderData", "_class_loader",               "OopHandle",        false, 8 },
		{"ClassLoaderData", "_klasses",                    "Klass*",           false, 16},
		{"ClassLoaderData", "_next",                       "ClassLoaderData*", false, 24},
		{"Array<u1>",       "_data",                       NULL,               false, 4 },
		{"Array<u2>",       "_data",                       NULL,               false, 4 },
		{"ConstantPool",    "_pool_holder",                "InstanceKlass*",   false, 8 },
		{"ConstantPool",    "_source_file_name_index",     "u2",               false, 16},
		{"Method",          "_constMethod",                "ConstMethod*",     false, 8 },
		{"Method",          "_access_flags",               "AccessFlags",      false, 16},
		{"ConstMethod",     "_constants",                  "ConstantPool*",    false, 0 },
		{"ConstMethod",     "_constMethod_size",           "int",              false, 8 },
		{"ConstMethod",     "_code_size",                  "u2",               false, 12},
		{"ConstMethod",     "_name_index",                 "u2",               false, 14},
		{"ConstMethod",     "_signature_index",            "u2",               false, 16},
		{"OSThread",        "_thread_id",                  "pid_t",            false, 0 },
		{"JavaThread",      "_osthread",                   "OSThread*",        false, 8 },
		{"JavaThread",      "_anchor",                     "JavaFrameAnchor",  false, 16},
		{"JavaThread",      "_saved_exception_pc",         "address",          false, 64},
		{"JavaFrameAnchor", "_last_Java_sp",               "intptr_t*",        false, 0 },
		{"JavaFrameAnchor", "_last_Java_pc",               "address",          false, 8 },
		{"ObjectMonitor",   "_header",                     "markWord",         false, 0 },
		{"ObjectMonitor",   "_object",                     NULL,               false, 8 },
		{"ObjectMonitor",   "_owner",                      NULL,               false, 16},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		add_row(&libjvm->structs, rows[i]);
}

static void standard_statics(struct hs_fake_libjvm *libjvm, bool is_25)
{
	hs_addr base = static_word(libjvm, 0), shift = static_word(libjvm, 0);

	hs_fake_libjvm_static(libjvm, "CompressedOops", is_25 ? "_base" : "_narrow_oop._base",
	                      "address", base);
	hs_fake_libjvm_static(libjvm, "CompressedOops", is_25 ? "_shift" : "_narrow_oop._shift",
	                      "int", shift);
	hs_fake_libjvm_static(libjvm, "CompressedKlassPointers",
	                      is_25 ? "_base" : "_narrow_klass._base", "address", base);
	hs_fake_libjvm_static(libjvm, "CompressedKlassPointers",
	                      is_25 ? "_shift" : "_narrow_klass._shift", "int", shift);
	hs_fake_libjvm_static(libjvm, "ClassLoaderDataGraph", "_head", "ClassLoaderData*",
	                      static_word(libjvm, 0));
	hs_fake_libjvm_static(libjvm, "Abstract_VM_Version", "_vm_major_version", "int",
	                      static_word(libjvm, is_25 ? 25 : 17));
	hs_fake_libjvm_static(libjvm, "Abstract_VM_Version", "_s_vm_release", "const char*",
	                      static_word(libjvm, put_string(libjvm, "99.0.1+2-Test")));
	libjvm->info = static_word(libjvm, put_string(libjvm, "Test Server VM (99.0.1) for linux"));
	hs_fake_libjvm_static(libjvm, "Abstract_VM_Version", "_s_internal_vm_info_string",
	                      "const char*", libjvm->info);
	hs_fake_libjvm_static(libjvm, "JVMFlag", "flags", "JVMFlag*",
	                      static_word(libjvm, libjvm->flag_table));
}

void hs_fake_libjvm_set_info(struct hs_fake_libjvm *libjvm, const char *text)
{
	hs_fake_u64(libjvm->fake, libjvm->info, put_string(libjvm, text));
}

void hs_fake_libjvm_standard(struct hs_fake_libjvm *libjvm, bool is_25)
{
	standard_fields(libjvm);
	standard_statics(libjvm, is_25);
	hs_fake_libjvm_type(libjvm, "JVMFlag", FLAG_STRIDE);
	hs_fake_libjvm_type(libjvm, "ConstantPool", 24);
	hs_fake_libjvm_type(libjvm, "ConstMethod", 32);
	if (is_25) {
		hs_fake_libjvm_field(libjvm, "InstanceKlass", "_fieldinfo_stream", "Array<u1>*",
		                     64);
		hs_fake_libjvm_field(libjvm, "ConstMethod", "_flags._flags", "u4", 20);
		hs_fake_libjvm_field(libjvm, "nmethod", "_immutable_data", "address", 96);
		hs_fake_libjvm_int(libjvm, "FieldInfo::FieldFlags::_ff_initialized", 0);
		hs_fake_libjvm_int(libjvm, "FieldInfo::FieldFlags::_ff_injected", 1);
		hs_fake_libjvm_int(libjvm, "FieldInfo::FieldFlags::_ff_generic", 2);
	} else {
		hs_fake_libjvm_field(libjvm, "InstanceKlass", "_fields", "Array<u2>*", 64);
		hs_fake_libjvm_field(libjvm, "ConstMethod", "_flags", "u2", 20);
		hs_fake_libjvm_field(libjvm, "Method", "_flags", "u2", 20);
		hs_fake_libjvm_int(libjvm, "Method::_hidden", 8);
	}
}

// ---- writing

static hs_addr write_structs(struct hs_fake_libjvm *libjvm)
{
	hs_addr start = libjvm->next_table, addr = start;

	for (size_t i = 0; i < libjvm->structs.len; i++, addr += STRUCT_STRIDE) {
		const struct row *row = &libjvm->structs.items[i];

		hs_fake_fill(libjvm->fake, addr, 0, STRUCT_STRIDE);
		hs_fake_u64(libjvm->fake, addr, put_string(libjvm, row->type));
		hs_fake_u64(libjvm->fake, addr + 8, put_string(libjvm, row->name));
		hs_fake_u64(libjvm->fake, addr + 16, put_string(libjvm, row->type_string));
		hs_fake_u32(libjvm->fake, addr + 24, row->is_static);
		hs_fake_u64(libjvm->fake, addr + (row->is_static ? 40 : 32), row->value);
	}
	hs_fake_fill(libjvm->fake, addr, 0, STRUCT_STRIDE);
	libjvm->next_table = (addr + 2 * 4096) & ~UINT64_C(4095);
	// The reader takes whole pages.
	hs_fake_fill(libjvm->fake, addr + STRUCT_STRIDE, 0,
	             libjvm->next_table - addr - STRUCT_STRIDE);
	return start;
}

static hs_addr write_named(struct hs_fake_libjvm *libjvm, const struct rows *rows, size_t stride,
                           size_t value_at)
{
	hs_addr start = libjvm->next_table, addr = start;

	for (size_t i = 0; i < rows->len; i++, addr += stride) {
		hs_fake_fill(libjvm->fake, addr, 0, stride);
		hs_fake_u64(libjvm->fake, addr, put_string(libjvm, rows->items[i].name));
		hs_fake_u64(libjvm->fake, addr + value_at, rows->items[i].value);
	}
	libjvm->next_table = (addr + 2 * 4096) & ~UINT64_C(4095);
	hs_fake_fill(libjvm->fake, addr, 0, libjvm->next_table - addr);
	return start;
}

static void write_symbols(struct hs_fake_libjvm *libjvm, uint8_t *image, size_t *strings_ret)
{
	Elf64_Sym *syms = (Elf64_Sym *)(image + SYMTAB);
	size_t at = 1;

	for (size_t i = 0; i < FAKE_LIBJVM_SYMBOLS; i++) {
		if (libjvm->dropped[i])
			continue;
		syms[i + 1] = (Elf64_Sym){
			.st_name = (Elf64_Word)at,
			.st_info = ELF64_ST_INFO(STB_GLOBAL, STT_OBJECT),
			.st_shndx = 1,
			.st_value = FAKE_LIBJVM_VARS - FAKE_LIBJVM_START + 8 * i,
			.st_size = 8,
		};
		strcpy((char *)image + STRTAB + at, symbols[i].name);
		at += strlen(symbols[i].name) + 1;
	}
	*strings_ret = at;
}

static void make_image(struct hs_fake_libjvm *libjvm, uint8_t image[static IMAGE_SIZE])
{
	Elf64_Ehdr *header = (Elf64_Ehdr *)image;
	Elf64_Phdr *segments = (Elf64_Phdr *)(header + 1);
	Elf64_Shdr *sections = (Elf64_Shdr *)(image + SECTIONS);
	size_t strings;

	write_symbols(libjvm, image, &strings);
	*header = (Elf64_Ehdr){
		.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
		.e_type = ET_DYN,
		.e_machine = EM_X86_64,
		.e_version = EV_CURRENT,
		.e_phoff = sizeof(*header),
		.e_shoff = SECTIONS,
		.e_ehsize = sizeof(*header),
		.e_phentsize = sizeof(*segments),
		.e_phnum = 2,
		.e_shentsize = sizeof(*sections),
		.e_shnum = 3,
	};
	segments[0] = (Elf64_Phdr){.p_type = PT_LOAD, .p_filesz = IMAGE_SIZE};
	segments[1] = (Elf64_Phdr){.p_type = PT_DYNAMIC, .p_vaddr = DYNAMIC, .p_offset = DYNAMIC};
	memcpy(image + DYNAMIC,
	       (Elf64_Dyn[]){
		       {DT_STRTAB, {FAKE_LIBJVM_START + STRTAB}}, // relocated, as glibc does
		       {DT_SYMTAB, {SYMTAB}                    },
		       {DT_STRSZ,  {strings}                   },
		       {DT_NULL,   {0}                         },
        },
	       4 * sizeof(Elf64_Dyn));
	sections[1] = (Elf64_Shdr){
		.sh_type = SHT_DYNSYM,
		.sh_offset = SYMTAB,
		.sh_size = (FAKE_LIBJVM_SYMBOLS + 1) * sizeof(Elf64_Sym),
		.sh_link = 2,
		.sh_entsize = sizeof(Elf64_Sym),
	};
	sections[2] = (Elf64_Shdr){.sh_type = SHT_STRTAB, .sh_offset = STRTAB, .sh_size = strings};
}

void hs_fake_libjvm_set_symbol(struct hs_fake_libjvm *libjvm, const char *name, uint64_t value)
{
	for (size_t i = 0; i < FAKE_LIBJVM_SYMBOLS; i++) {
		if (!strcmp(symbols[i].name, name))
			hs_fake_u64(libjvm->fake, FAKE_LIBJVM_VARS + 8 * i, value);
	}
}

void hs_fake_libjvm_install(struct hs_fake_libjvm *libjvm, bool with_file)
{
	uint8_t image[IMAGE_SIZE] = {0};
	int fd = -1;

	hs_fake_libjvm_static(libjvm, "JVMFlag", "numFlags", "size_t",
	                      static_word(libjvm, libjvm->num_flags + 1));
	hs_fake_fill(libjvm->fake, libjvm->flag_table + libjvm->num_flags * FLAG_STRIDE, 0,
	             FLAG_STRIDE);
	make_image(libjvm, image);
	hs_fake_memory(libjvm->fake, FAKE_LIBJVM_START, image, sizeof(image));
	for (size_t i = 0; i < FAKE_LIBJVM_SYMBOLS; i++)
		hs_fake_u64(libjvm->fake, FAKE_LIBJVM_VARS + 8 * i, symbols[i].value);
	hs_fake_libjvm_set_symbol(libjvm, "gHotSpotVMStructs", write_structs(libjvm));
	hs_fake_libjvm_set_symbol(libjvm, "gHotSpotVMTypes",
	                          write_named(libjvm, &libjvm->types, NAMED_STRIDE, 32));
	hs_fake_libjvm_set_symbol(libjvm, "gHotSpotVMIntConstants",
	                          write_named(libjvm, &libjvm->ints, CONST_STRIDE, 8));
	hs_fake_libjvm_set_symbol(libjvm, "gHotSpotVMLongConstants",
	                          write_named(libjvm, &libjvm->longs, CONST_STRIDE, 8));
	// Flag names are read 32 bytes at a time.
	hs_fake_fill(libjvm->fake, libjvm->next_string, 0, 64);
	if (with_file) {
		fd = memfd_create("libjvm.so", MFD_CLOEXEC);
		if (fd < 0 || write(fd, image, sizeof(image)) != sizeof(image))
			abort();
	}
	struct hs_module *module =
		hs_fake_module(libjvm->fake, "/jdk/lib/server/libjvm.so", FAKE_LIBJVM_START,
	                       FAKE_LIBJVM_END, FAKE_LIBJVM_START, fd);
	if (!with_file)
		module->state = HS_MODULE_MISSING;
	if (fd >= 0)
		close(fd);
}
