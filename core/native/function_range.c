// SPDX-License-Identifier: Apache-2.0
/** @file Where functions begin and end: by .eh_frame, which strip(1) leaves, else by a symbol. */

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <stdlib.h>
#include <string.h>

#include "core/native/unwind_scan.h"

/** Addresses in the file, ascending. */
struct hs_function_table {
	struct hs_function_range *items;
	size_t num;
};

static bool section_by_name(Elf *elf, const char *name, GElf_Shdr *shdr_ret, Elf_Data **data_ret)
{
	size_t strings;

	if (elf_getshdrstrndx(elf, &strings) != 0)
		return false;
	for (Elf_Scn *scn = elf_nextscn(elf, NULL); scn; scn = elf_nextscn(elf, scn)) {
		const char *found;

		if (!gelf_getshdr(scn, shdr_ret) || shdr_ret->sh_type == SHT_NOBITS)
			continue;
		found = elf_strptr(elf, strings, shdr_ret->sh_name);
		if (found && !strcmp(found, name)) {
			*data_ret = elf_getdata(scn, NULL);
			return *data_ret && (*data_ret)->d_buf;
		}
	}
	return false;
}

/** Bytes of a pointer in DWARF EH @p encoding (LSB core 10.5); 0: not one we know. */
static size_t pointer_size(uint8_t encoding)
{
	switch (encoding & 0x0f) {
	case DW_EH_PE_absptr:
	case DW_EH_PE_udata8:
	case DW_EH_PE_sdata8:
		return 8;
	case DW_EH_PE_udata4:
	case DW_EH_PE_sdata4:
		return 4;
	case DW_EH_PE_udata2:
	case DW_EH_PE_sdata2:
		return 2;
	default:
		return 0;
	}
}

/** How the entries of @p cie write their addresses. @return false when that is not known. */
static bool address_encoding(const Dwarf_CIE *cie, uint8_t *ret)
{
	const uint8_t *data = cie->augmentation_data;
	size_t left = cie->augmentation_data_size;
	const char *s = cie->augmentation;

	*ret = DW_EH_PE_absptr;
	if (!*s)
		return true;
	if (*s++ != 'z')
		return false;
	for (; *s; s++) {
		size_t size = *s == 'L' || *s == 'R' || *s == 'P' ? 1 : 0;

		if (!size && *s != 'S')
			return false;
		if (size && !left)
			return false;
		if (*s == 'R')
			*ret = *data;
		if (*s == 'P') {
			size_t pointer = pointer_size(*data);

			if (!pointer)
				return false;
			size += pointer;
		}
		if (size > left)
			return false;
		data += size;
		left -= size;
	}
	return true;
}

/** First address and length of @p fde, in the encoding that compilers use. */
static bool fde_range(const Dwarf_FDE *fde, uint8_t encoding, const Elf_Data *data, hs_addr section,
                      struct hs_function_range *ret)
{
	int32_t offset;
	uint32_t len;

	if (encoding != (DW_EH_PE_pcrel | DW_EH_PE_sdata4) ||
	    fde->end - fde->start < (ptrdiff_t)(sizeof(offset) + sizeof(len)))
		return false;
	memcpy(&offset, fde->start, sizeof(offset));
	memcpy(&len, fde->start + sizeof(offset), sizeof(len));
	hs_addr place = section + (hs_addr)(fde->start - (const uint8_t *)data->d_buf);
	ret->start = place + (hs_addr)(int64_t)offset;
	return !__builtin_add_overflow(ret->start, len, &ret->end) && len;
}

static int compare_ranges(const void *a, const void *b)
{
	hs_addr x = ((const struct hs_function_range *)a)->start;
	hs_addr y = ((const struct hs_function_range *)b)->start;

	return (x > y) - (x < y);
}

/** Fill @p table, which has room for @p cap, with the functions of .eh_frame. */
static void collect_fdes(Elf *elf, Elf_Data *data, hs_addr section, struct hs_function_table *table,
                         size_t cap)
{
	size_t ident_len;
	const unsigned char *ident = (const unsigned char *)elf_getident(elf, &ident_len);
	Dwarf_Off offset = 0, next, cie_at = UINT64_MAX;
	uint8_t encoding = 0;
	bool is_known = false;

	while (table->num < cap) {
		Dwarf_CFI_Entry entry, cie;
		Dwarf_Off after;

		if (dwarf_next_cfi(ident, data, true, offset, &next, &entry) != 0 || next <= offset)
			return;
		offset = next;
		if (dwarf_cfi_cie_p(&entry))
			continue;
		if (entry.fde.CIE_pointer != cie_at) {
			cie_at = entry.fde.CIE_pointer;
			is_known = dwarf_next_cfi(ident, data, true, cie_at, &after, &cie) == 0 &&
			           dwarf_cfi_cie_p(&cie) && address_encoding(&cie.cie, &encoding);
		}
		if (is_known &&
		    fde_range(&entry.fde, encoding, data, section, &table->items[table->num]))
			table->num++;
	}
}

/** The table of @p module, made on first use; empty where it has no usable .eh_frame. */
static const struct hs_function_table *function_table(struct hs_native *native,
                                                      struct hs_native_module *module)
{
	enum {
		SMALLEST_FDE = 16
	};
	GElf_Shdr shdr;
	Elf_Data *data;

	if (module->functions)
		return module->functions;
	struct hs_function_table *table = hs_arena_calloc(native->arena, 1, sizeof(*table));
	if (!table)
		return NULL;
	module->functions = table;
	if (!module->elf || !section_by_name(module->elf, ".eh_frame", &shdr, &data))
		return table;
	size_t cap = data->d_size / SMALLEST_FDE;
	table->items = hs_arena_calloc(native->arena, cap + 1, sizeof(*table->items));
	if (!table->items)
		return table;
	collect_fdes(module->elf, data, shdr.sh_addr, table, cap);
	qsort(table->items, table->num, sizeof(*table->items), compare_ranges);
	return table;
}

bool hs_native_function_range(struct hs_native *native, hs_addr addr, struct hs_function_range *ret)
{
	struct hs_native_module *module = hs_native_module_at(native, addr);

	if (!module)
		return false;
	struct hs_err *err = hs_native_module_open(native, module);
	const struct hs_function_table *table = err ? NULL : function_table(native, module);
	hs_err_free(err);
	if (!table)
		return false;
	hs_addr bias = module->module->bias, target = addr - bias;
	size_t low = 0, high = table->num;
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (table->items[middle].start <= target)
			low = middle + 1;
		else
			high = middle;
	}
	if (low && target < table->items[low - 1].end) {
		ret->start = table->items[low - 1].start + bias;
		ret->end = table->items[low - 1].end + bias;
		return true;
	}
	const struct hs_location *location = hs_native_location(native, addr, true);
	if (!location || !location->function)
		return false;
	ret->start = ret->end = addr - location->function_offset;
	return true;
}
