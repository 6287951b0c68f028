// SPDX-License-Identifier: Apache-2.0
/** @file ELF files of modules: the file itself, its separate debug file, its symbol tables. */

#include <elfutils/libdwelf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/native/native_internal.h"

enum {
	MEMORY_IMAGE_MAX = 1 << 20, /**< bytes of an image in memory; the vdso has 2 pages */
};

static const char DEFAULT_DEBUG_DIR[] = "/usr/lib/debug";

struct hs_native_module *hs_native_module_of(struct hs_native *native,
                                             const struct hs_module *module)
{
	const struct hs_module *modules = native->map->modules;

	// Another map's module (the snapshot has a copy) is found by its place.
	if (!module || !native->map->num_modules)
		return NULL;
	if (module < modules || module >= modules + native->map->num_modules)
		module = hs_module_map_module(native->map, module->start);
	return module ? &native->modules[module - modules] : NULL;
}

struct hs_native_module *hs_native_module_at(struct hs_native *native, hs_addr addr)
{
	return hs_native_module_of(native, hs_module_map_module(native->map, addr));
}

static struct hs_err *image_open(struct hs_native *native, struct hs_native_module *module)
{
	hs_addr start = module->module->start;
	uint64_t size = module->module->end - start;

	if (size > MEMORY_IMAGE_MAX) {
		module->why = "its image in memory is too large to be a vdso";
		return NULL;
	}
	char *image = hs_arena_alloc(native->arena, size);
	if (!image)
		return hs_err_oom();
	struct hs_err *err = hs_target_read(native->target, start, image, size);
	if (err) {
		hs_err_free(err);
		module->why = "its image in memory cannot be read";
		return NULL;
	}
	module->elf = elf_memory(image, size);
	return NULL;
}

static bool elf_is_usable(Elf *elf)
{
	GElf_Ehdr ehdr;

	return elf_kind(elf) == ELF_K_ELF && gelf_getclass(elf) == ELFCLASS64 &&
	       gelf_getehdr(elf, &ehdr) && ehdr.e_machine == EM_X86_64 &&
	       ehdr.e_ident[EI_DATA] == ELFDATA2LSB &&
	       (ehdr.e_type == ET_DYN || ehdr.e_type == ET_EXEC);
}

struct hs_err *hs_native_module_open(struct hs_native *native, struct hs_native_module *module)
{
	struct hs_err *err;

	if (module->is_open)
		return NULL;
	module->is_open = true;

	switch (module->module->state) {
	case HS_MODULE_OK:
		// libelf maps the file; it reads through the descriptor, at offsets, when that
		// fails.
		module->elf = elf_begin(module->module->fd, ELF_C_READ_MMAP_PRIVATE, NULL);
		break;
	case HS_MODULE_MEMORY:
		err = image_open(native, module);
		if (err)
			return err;
		break;
	case HS_MODULE_MISSING:
	case HS_MODULE_MISMATCH:
		if (module->module->from_memory)
			module->elf = elf_begin(module->module->fd, ELF_C_READ_MMAP_PRIVATE, NULL);
		else
			module->why = module->module->why ?: "its file was not found";
		break;
	}
	if (module->elf && !elf_is_usable(module->elf)) {
		elf_end(module->elf);
		module->elf = NULL;
	}
	if (!module->elf)
		module->why = module->why ?: "its file is not an x86_64 ELF file";
	else if (!hs_native_dwfl_report(native, module))
		return hs_err_oom();
	return NULL;
}

void hs_native_module_close(struct hs_native_module *module)
{
	elf_end(module->elf);
	module->elf = NULL;
}

// ---- separate debug files

static bool has_build_id(int fd, const struct hs_module *module)
{
	Elf *elf = elf_begin(fd, ELF_C_READ_MMAP_PRIVATE, NULL);
	const void *id;
	ssize_t len = elf && elf_is_usable(elf) ? dwelf_elf_gnu_build_id(elf, &id) : -1;
	bool same = len > 0 && (size_t)len == module->build_id_len &&
	            memcmp(id, module->build_id, (size_t)len) == 0;

	elf_end(elf);
	return same;
}

/** @p opened if it is a regular file of the build @p module is; closes it and is -1 otherwise. */
static int debug_file_check(int opened, const struct hs_module *module)
{
	hs_cleanup(hs_closep) int fd = opened;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || !has_build_id(fd, module))
		return -1;
	int ret = fd;
	fd = -1;
	return ret;
}

static int debug_file_try(const char *path, const struct hs_module *module)
{
	return debug_file_check(open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), module);
}

/** DIR/.build-id/ab/cdef….debug */
static int debug_file_by_id(const char *dir, const struct hs_module *module, char *path,
                            size_t size)
{
	int len = snprintf(path, size, "%s/.build-id/%02x/", dir, module->build_id[0]);

	for (size_t i = 1; i < module->build_id_len; i++) {
		if (len < 0 || (size_t)len + sizeof("xx.debug") > size)
			return -1;
		len += snprintf(path + len, size - (size_t)len, "%02x", module->build_id[i]);
	}
	if (len < 0 || (size_t)len + sizeof(".debug") > size)
		return -1;
	snprintf(path + len, size - (size_t)len, ".debug");
	return debug_file_try(path, module);
}

/** By the name in .gnu_debuglink: beside the file, in .debug/ beside it, and below @p dir. */
static int debug_file_by_link(const char *dir, const struct hs_module *module, const char *link,
                              char *path, size_t size)
{
	const char *slash = strrchr(module->path, '/');
	int parent_len = slash ? (int)(slash - module->path) : 0;
	const char *const prefixes[] = {"", "", dir};
	const char *const middles[] = {"/", "/.debug/", "/"};

	if (!*link || strchr(link, '/') || !slash)
		return -1;
	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
		int len = snprintf(path, size, "%s%.*s%s%s", prefixes[i], parent_len, module->path,
		                   middles[i], link);
		int fd = len < 0 || (size_t)len >= size ? -1 : debug_file_try(path, module);
		if (fd >= 0)
			return fd;
	}
	return -1;
}

static int debug_file_find(const struct hs_target *target, const struct hs_module *module,
                           const char *debug_dir, const char *link, char path[static PATH_MAX])
{
	const char *dir = debug_dir ?: DEFAULT_DEBUG_DIR, *packed = "";

	if (!module->build_id_len)
		return -1;
	int fd = debug_file_check(hs_target_open_debug(target, module, &packed), module);
	if (fd >= 0) {
		snprintf(path, PATH_MAX, "%s", packed);
		return fd;
	}
	fd = debug_file_by_id(dir, module, path, PATH_MAX);
	if (fd < 0 && link)
		fd = debug_file_by_link(dir, module, link, path, PATH_MAX);
	return fd;
}

int hs_native_find_debuginfo(Dwfl_Module *mod, void **userdata, const char *modname,
                             Dwarf_Addr base, const char *file_name, const char *debuglink_file,
                             GElf_Word debuglink_crc, char **debuginfo_file_name)
{
	const struct hs_native_module *module = *userdata;
	char path[PATH_MAX];

	(void)mod;
	(void)modname;
	(void)base;
	(void)file_name;
	(void)debuglink_crc;
	// dwfl_standard_find_debuginfo() may ask debuginfod servers: a network on a sick host.
	if (!module)
		return -1;
	int fd = debug_file_find(module->target, module->module, module->debug_dir, debuglink_file,
	                         path);
	if (fd >= 0)
		*debuginfo_file_name = strdup(path);
	return fd;
}

int hs_native_open_debug_file(const struct hs_target *target, const struct hs_module *module,
                              const char *debug_dir, char path[static PATH_MAX])
{
	GElf_Word crc;

	elf_version(EV_CURRENT);
	Elf *elf = module->fd >= 0 ? elf_begin(module->fd, ELF_C_READ_MMAP_PRIVATE, NULL) : NULL;
	const char *link = elf ? dwelf_elf_gnu_debuglink(elf, &crc) : NULL;
	int fd = debug_file_find(target, module, debug_dir, link, path);

	elf_end(elf);
	return fd;
}

/** Has it a symbol table, or the compressed one of .gnu_debugdata? */
static bool has_own_symbols(Elf *elf)
{
	Elf_Scn *section = NULL;
	GElf_Shdr header;
	size_t names;

	if (elf_getshdrstrndx(elf, &names) != 0)
		return false;
	while ((section = elf_nextscn(elf, section))) {
		const char *name = gelf_getshdr(section, &header)
		                           ? elf_strptr(elf, names, header.sh_name)
		                           : NULL;

		if (name && (header.sh_type == SHT_SYMTAB || strcmp(name, ".gnu_debugdata") == 0))
			return true;
	}
	return false;
}

enum hs_tristate hs_native_has_symbols(const struct hs_target *target,
                                       const struct hs_module *module, const char *debug_dir)
{
	char path[PATH_MAX];

	if (module->fd < 0 || elf_version(EV_CURRENT) == EV_NONE)
		return HS_UNKNOWN;
	Elf *elf = elf_begin(module->fd, ELF_C_READ_MMAP_PRIVATE, NULL);
	bool usable = elf && elf_is_usable(elf);
	bool own = usable && has_own_symbols(elf);

	elf_end(elf);
	if (!usable)
		return HS_UNKNOWN;
	if (own)
		return HS_YES;
	hs_cleanup(hs_closep) int fd = hs_native_open_debug_file(target, module, debug_dir, path);
	return fd >= 0 ? HS_YES : HS_NO;
}

// ---- symbol tables

static Elf_Scn *section_of_type(Elf *elf, uint32_t type, GElf_Shdr *shdr_ret)
{
	for (Elf_Scn *scn = elf_nextscn(elf, NULL); scn; scn = elf_nextscn(elf, scn)) {
		if (gelf_getshdr(scn, shdr_ret) && shdr_ret->sh_type == type)
			return scn;
	}
	return NULL;
}

struct hs_err *hs_native_symbol_elf(struct hs_native *native, struct hs_native_module *module,
                                    Elf **ret)
{
	struct hs_err *err = hs_native_module_open(native, module);
	GElf_Shdr shdr;

	if (err)
		return err;
	if (!module->symbols_looked && module->elf) {
		module->symbols_looked = true;
		if (section_of_type(module->elf, SHT_SYMTAB, &shdr)) {
			module->symbol_elf = module->elf;
		} else {
			// libdwfl opens a debug file or unpacks .gnu_debugdata, but hands out
			// neither; the first or last global symbol tells which file it is from.
			int count = dwfl_module_getsymtab(module->dwfl);
			int first_global = dwfl_module_getsymtab_first_global(module->dwfl);
			const int probes[] = {count - 1, first_global - 1, 1};

			for (size_t i = 0; i < sizeof(probes) / sizeof(probes[0]); i++) {
				GElf_Sym sym;
				GElf_Addr addr;
				Elf *elf = NULL;

				if (probes[i] <= 0 || probes[i] >= count ||
				    !dwfl_module_getsym_info(module->dwfl, probes[i], &sym, &addr,
				                             NULL, &elf, NULL))
					continue;
				if (elf && elf != module->elf)
					module->symbol_elf = elf;
			}
		}
	}
	*ret = module->symbol_elf;
	return NULL;
}

static void load_versions(Elf *elf, struct hs_symbol_table *table)
{
	GElf_Shdr shdr;
	Elf_Scn *scn = section_of_type(elf, SHT_GNU_versym, &shdr);
	Elf_Data *data = scn ? elf_getdata(scn, NULL) : NULL;

	if (data && data->d_buf && data->d_size / sizeof(uint16_t) >= table->num)
		table->versions = data->d_buf;
}

bool hs_symbol_table_load(Elf *elf, uint32_t type, struct hs_symbol_table *ret)
{
	struct hs_symbol_table table = {.elf = elf};
	GElf_Shdr shdr;
	Elf_Scn *scn = section_of_type(elf, type, &shdr);
	Elf_Data *data = scn ? elf_getdata(scn, NULL) : NULL;

	if (!data || !data->d_buf || data->d_size / sizeof(Elf64_Sym) >= UINT32_MAX / 2)
		return false;
	table.symbols = data->d_buf;
	table.num = (uint32_t)(data->d_size / sizeof(Elf64_Sym));

	Elf_Scn *string_scn = elf_getscn(elf, shdr.sh_link);
	data = string_scn ? elf_getdata(string_scn, NULL) : NULL;
	if (!data || !data->d_buf)
		return false;
	const char *last_nul = memrchr(data->d_buf, '\0', data->d_size);
	table.strings = data->d_buf;
	table.strings_len = last_nul ? (size_t)(last_nul + 1 - table.strings) : 0;
	if (type == SHT_DYNSYM)
		load_versions(elf, &table);
	*ret = table;
	return true;
}
