// SPDX-License-Identifier: Apache-2.0
/** @file Variables by address, from .symtab where there is one and .dynsym where not. */

#include "core/native/data_symbols.h"

#include <string.h>

#include "core/native/native_internal.h"

const char *hs_module_base_name(const struct hs_module *module)
{
	const char *slash = strrchr(module->path, '/');

	return slash ? slash + 1 : module->path;
}

/** Does a segment of the opened module cover @p addr? Its .bss is anonymous memory in the maps. */
static bool segments_cover(const struct hs_native_module *module, hs_addr addr)
{
	size_t count;

	if (elf_getphdrnum(module->elf, &count))
		return false;
	for (size_t i = 0; i < count; i++) {
		GElf_Phdr phdr;

		if (gelf_getphdr(module->elf, (int)i, &phdr) && phdr.p_type == PT_LOAD &&
		    addr - module->module->bias - phdr.p_vaddr < phdr.p_memsz)
			return true;
	}
	return false;
}

/** The module whose file or .bss holds @p addr, opened; NULL when there is none. */
static struct hs_err *module_of_data(struct hs_native *native, hs_addr addr,
                                     struct hs_native_module **ret)
{
	struct hs_err *err;
	struct hs_native_module *module = hs_native_module_at(native, addr);

	// Not in a mapping of a file: the last module that starts before may reach here.
	for (size_t i = 0; !module && i < native->map->num_modules; i++) {
		if (native->map->modules[i].start > addr)
			break;
		if (i + 1 == native->map->num_modules || native->map->modules[i + 1].start > addr)
			module = &native->modules[i];
	}
	*ret = NULL;
	if (!module)
		return NULL;
	err = hs_native_module_open(native, module);
	if (err)
		return err;
	if (module->elf && segments_cover(module, addr))
		*ret = module;
	return NULL;
}

static bool find_in_table(const struct hs_symbol_table *table, uint64_t value,
                          struct hs_data_symbol *ret)
{
	const Elf64_Sym *best = NULL;

	for (uint32_t i = 0; i < table->num; i++) {
		const Elf64_Sym *symbol = &table->symbols[i];

		if (ELF64_ST_TYPE(symbol->st_info) != STT_OBJECT || symbol->st_shndx == SHN_UNDEF ||
		    value - symbol->st_value >= symbol->st_size)
			continue;
		// The smallest one that covers it; of aliases the global one, then the first.
		if (!best || symbol->st_size < best->st_size ||
		    (symbol->st_size == best->st_size &&
		     ELF64_ST_BIND(best->st_info) == STB_LOCAL &&
		     ELF64_ST_BIND(symbol->st_info) != STB_LOCAL))
			best = symbol;
	}
	if (!best || !*hs_symbol_table_name(table, best))
		return false;
	ret->name = hs_symbol_table_name(table, best);
	ret->offset = value - best->st_value;
	return true;
}

/** Full table of the file or its debug file first: it has the static variables. */
static struct hs_err *find_in_module(struct hs_native *native, struct hs_native_module *module,
                                     hs_addr addr, struct hs_data_symbol *ret)
{
	struct hs_err *err;
	struct hs_symbol_table table;
	uint64_t value = addr - module->module->bias;
	Elf *full = NULL;

	err = hs_native_symbol_elf(native, module, &full);
	if (err)
		return err;
	bool found = full && hs_symbol_table_load(full, SHT_SYMTAB, &table) &&
	             find_in_table(&table, value, ret);
	if (!found)
		found = hs_symbol_table_load(module->elf, SHT_DYNSYM, &table) &&
		        find_in_table(&table, value, ret);
	if (!found)
		return hs_err_absent();
	ret->module = module->module;
	ret->name = hs_demangle(native->arena, ret->name);
	return ret->name ? NULL : hs_err_oom();
}

struct hs_err *hs_native_data_symbol(struct hs_native *native, hs_addr addr,
                                     struct hs_data_symbol *ret)
{
	struct hs_native_module *module;
	struct hs_err *err = module_of_data(native, addr, &module);

	if (err)
		return err;
	return module ? find_in_module(native, module, addr, ret) : hs_err_absent();
}

const char *hs_native_data_name(struct hs_native *native, hs_addr addr)
{
	struct hs_data_symbol symbol;
	struct hs_err *err = hs_native_data_symbol(native, addr, &symbol);

	if (!err) {
		const char *module = hs_module_base_name(symbol.module);

		return symbol.offset
		               ? hs_arena_printf(native->arena, "%s+0x%llx in %s", symbol.name,
		                                 (unsigned long long)symbol.offset, module)
		               : hs_arena_printf(native->arena, "%s in %s", symbol.name, module);
	}
	hs_err_free(err);

	struct hs_native_module *module;
	err = module_of_data(native, addr, &module);
	if (err) {
		hs_err_free(err);
		return NULL;
	}
	if (!module)
		return NULL;
	return hs_arena_printf(native->arena, "in %s", hs_module_base_name(module->module));
}
