// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * What the files of native/ share: the state behind hs_native, its modules, and who finds what in
 * them. Not installed, and included by no other folder.
 */
#ifndef HS_NATIVE_INTERNAL_H
#define HS_NATIVE_INTERNAL_H

#include <elfutils/libdwfl.h>
#include <gelf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/arena.h"
#include "core/base/map64.h"
#include "core/native/native.h"

struct hs_function_table;
struct hs_libunwind;
struct hs_symbol_index;

/** One module of the target, as far as native/ has opened it. Everything is opened on first use. */
struct hs_native_module {
	const struct hs_module *module; /**< of hs_target_modules() */
	const char *path;               /**< its path, kept: frames outlive the target */
	const char *debug_dir;          /**< hs_native_options.debug_dir */
	const struct hs_target *target; /**< of the hs_native */
	bool is_open;                   /**< hs_native_module_open() was here */
	const char *why;                /**< open, and elf is NULL: the reason, in words */
	Elf *elf;                       /**< the file (or the copied image), or NULL */
	Elf *symbol_elf;     /**< what has .symtab: elf, a debug file, or NULL. Dwfl owns it */
	bool symbols_looked; /**< symbol_elf was searched for */
	Dwfl_Module *dwfl;   /**< reported to hs_native.dwfl; NULL when elf is */
	Dwarf_CFI *eh_frame; /**< NULL when there is none */
	Dwarf_CFI *debug_frame;
	Dwarf_Addr eh_bias, debug_bias; /**< runtime address - address in that CFI */
	bool eh_looked, debug_looked;
	struct hs_symbol_index *symbols;     /**< NULL until a symbol is asked for */
	struct hs_function_table *functions; /**< NULL until function_range.c is asked */
	bool is_crossed; /**< unwind_scan.c found a caller of it: the gap is reported */
};

/** libdwfl's callbacks get this; the registers are those of the step in progress. */
struct hs_dwfl_step {
	struct hs_native *native;
	struct hs_regs regs; /**< in: of the frame; out: of its caller */
	hs_addr lookup_pc;
	bool at_caller;  /**< while it runs: the frame itself was seen */
	bool has_caller; /**< out */
};

struct hs_native {
	struct hs_target *target;
	struct hs_snapshot *snapshot;
	struct hs_arena *arena; /**< the snapshot's */
	struct hs_native_options options;
	const struct hs_module_map *map;  /**< hs_target_modules(target) */
	struct hs_native_module *modules; /**< one for each of map->modules, same index */

	Dwfl *dwfl;
	bool is_attached;               /**< dwfl_attach_state() was called */
	struct hs_dwfl_step dwfl_step;  /**< its argument: lives as long as dwfl */
	struct hs_map64 rows;           /**< lookup pc → struct hs_row */
	struct hs_map64 locations;      /**< see hs_native_location() → struct hs_location */
	struct hs_map64 names;          /**< host address of an Elf64_Sym → its readable name */
	struct hs_libunwind *libunwind; /**< NULL unless options.use_libunwind */
	uint64_t scans_spent;           /**< frames tried by unwind_scan.c so far */

	struct hs_stepper stepper;
	/** Where the last step led: tells the next one how its frame was found. */
	struct hs_step_result {
		uint32_t thread;
		hs_addr pc, sp;
		enum hs_found_by found_by;
	} last_step;
};

// ---- elf_lookup.c: ELF files of modules.

/** The module that holds @p addr, or NULL. Not opened by this. */
struct hs_native_module *hs_native_module_at(struct hs_native *native, hs_addr addr);

/** Same, for a module of hs_target_modules(). NULL when it is none of them. */
struct hs_native_module *hs_native_module_of(struct hs_native *native,
                                             const struct hs_module *module);

/** Open its ELF file and report it to Dwfl. @return NULL, or HS_ERR_OOM; else see why. */
HS_MUST_CHECK struct hs_err *hs_native_module_open(struct hs_native *native,
                                                   struct hs_native_module *module);
void hs_native_module_close(struct hs_native_module *module);

/**
 * The file that has the module's .symtab: itself, its separate debug file, or the little one
 * packed into .gnu_debugdata; NULL when there is none. Borrowed. Opens the module.
 */
HS_MUST_CHECK struct hs_err *hs_native_symbol_elf(struct hs_native *native,
                                                  struct hs_native_module *module, Elf **ret);

/** Dwfl_Callbacks.find_debuginfo: local files with the module's build id only, no debuginfod. */
int hs_native_find_debuginfo(Dwfl_Module *mod, void **userdata, const char *modname,
                             Dwarf_Addr base, const char *file_name, const char *debuglink_file,
                             GElf_Word debuglink_crc, char **debuginfo_file_name);

/** A symbol section whose bytes libelf holds. Checked: string offsets and the last NUL. */
struct hs_symbol_table {
	Elf *elf;
	const Elf64_Sym *symbols;
	uint32_t num;
	const char *strings;
	size_t strings_len; /**< the byte before this offset is a NUL; 0 when there are none */
	const uint16_t *versions; /**< .gnu.version, one per symbol, or NULL */
};

/** Section of @p type (SHT_SYMTAB, SHT_DYNSYM). @return false when there is no usable one. */
bool hs_symbol_table_load(Elf *elf, uint32_t type, struct hs_symbol_table *ret);

/** "" when its offset is out of range. */
static inline const char *hs_symbol_table_name(const struct hs_symbol_table *table,
                                               const Elf64_Sym *symbol)
{
	return symbol->st_name < table->strings_len ? table->strings + symbol->st_name : "";
}

// ---- symbols.c: names of addresses, addresses of names.

/**
 * Location of native code at @p pc, looked up at pc - 1 unless @p is_exact. Cached by pc.
 * @return NULL when out of memory.
 */
const struct hs_location *hs_native_location(struct hs_native *native, hs_addr pc, bool is_exact);

/** Free what symbols.c and unwind_rows.c cached. */
void hs_native_symbols_deinit(struct hs_native *native);

// ---- demangle.c

/**
 * Readable form of an ELF symbol name: demangled C++, the version ("@@GLIBC_2.3.2") cut off.
 * @return NULL when out of memory.
 */
const char *hs_demangle(struct hs_arena *arena, const char *name);

// ---- unwind_rows.c: call-frame information, one compact row per pc.

enum {
	HS_ROW_REGS = 7 /**< rbx rbp r12 r13 r14 r15 and the return address */
};

enum hs_row_kind {
	HS_ROW_NONE = 1, /**< no unwind information covers this pc */
	HS_ROW_PLAIN,    /**< CFA = register + offset; every rule is one of hs_rule */
	HS_ROW_COMPLEX,  /**< expressions: libdwfl has to evaluate them */
};

enum hs_rule {
	HS_RULE_SAME,
	HS_RULE_UNDEFINED, /**< for the return address: this is the outermost frame */
	HS_RULE_AT_CFA,    /**< saved at CFA + offset */
	HS_RULE_IS_CFA,    /**< equal to CFA + offset */
	HS_RULE_REGISTER,  /**< in the register numbered offset */
};

struct hs_row {
	uint8_t kind; /**< enum hs_row_kind */
	uint8_t cfa_reg;
	bool is_signal;            /**< of a signal trampoline: its caller is an activation */
	uint8_t rule[HS_ROW_REGS]; /**< enum hs_rule */
	uint16_t same; /**< registers beyond those seven that keep their value, by bit */
	int32_t cfa_offset;
	int32_t offset[HS_ROW_REGS];
};

/** Row of @p lookup_pc, built on first use. @return NULL when out of memory. */
const struct hs_row *hs_native_row(struct hs_native *native, hs_addr lookup_pc);

/**
 * Apply a plain row: *regs becomes the caller's.
 * @return NULL, and *at_end_ret when there is no caller; or HS_ERR_FAULT, HS_ERR_BAD_DATA.
 */
HS_MUST_CHECK struct hs_err *hs_row_apply(const struct hs_row *row, struct hs_target *target,
                                          struct hs_regs *regs, bool *at_end_ret);

// ---- unwind_dwfl.c: the stepper, and libdwfl for what rows cannot express.

HS_MUST_CHECK struct hs_err *hs_native_dwfl_open(struct hs_native *native);

/** Report @p module, whose elf is open. @return false when out of memory. */
bool hs_native_dwfl_report(struct hs_native *native, struct hs_native_module *module);

/** hs_stepper.step of the rows and libdwfl. */
HS_MUST_CHECK struct hs_err *hs_native_step(void *self, struct hs_cursor *cursor,
                                            struct hs_frame_list *list);

/** Append the frame at @p cursor; @p is_trampoline: the kernel put it there for a signal. */
HS_MUST_CHECK struct hs_err *hs_native_add_frame(struct hs_native *native,
                                                 const struct hs_cursor *cursor, bool is_trampoline,
                                                 struct hs_frame_list *list);

/** Move @p cursor to its caller, and remember how that was found: for the frame to come. */
void hs_native_move(struct hs_native *native, struct hs_cursor *cursor, const struct hs_regs *regs,
                    bool is_activation, enum hs_found_by found_by);

/** Is there code at @p addr, as far as the mappings tell? */
bool hs_native_is_code(const struct hs_native *native, hs_addr addr);

/**
 * Without unwind information: follow the frame pointer as backends/x86_64_unwind.c of elfutils
 * does, but only where the result is plausible: a return address in executable memory, further up.
 * @return NULL, and the caller's registers or *at_end_ret; or an error that says what is missing.
 */
HS_MUST_CHECK struct hs_err *hs_native_step_by_rbp(struct hs_native *native, struct hs_regs *regs,
                                                   bool is_activation, bool *at_end_ret);

/**
 * The caller of a frame without unwind information: unwind_scan.c where it can prove one, else the
 * frame pointer. @p list ends with the frame at @p cursor.
 */
HS_MUST_CHECK struct hs_err *hs_native_step_without_info(struct hs_native *native,
                                                         const struct hs_cursor *cursor,
                                                         const struct hs_frame_list *list,
                                                         struct hs_regs *regs, bool *at_end_ret,
                                                         enum hs_found_by *found_by_ret);

// ---- unwind_libunwind.c: the independent second unwinder.

HS_MUST_CHECK struct hs_err *hs_libunwind_open(struct hs_native *native, struct hs_libunwind **ret);
void hs_libunwind_close(struct hs_libunwind *unwind);

/** hs_stepper.step of libunwind. */
HS_MUST_CHECK struct hs_err *hs_libunwind_step(void *self, struct hs_cursor *cursor,
                                               struct hs_frame_list *list);

#endif // HS_NATIVE_INTERNAL_H
