// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Mappings and modules: which file lies where in the target. A mapping is one line of
 * /proc/PID/maps or one row of NT_FILE; a module is an ELF file with all of its mappings.
 */
#ifndef HS_MODULE_MAP_H
#define HS_MODULE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/base/addr.h"

enum hs_prot {
	HS_PROT_READ = 1,
	HS_PROT_WRITE = 2,
	HS_PROT_EXEC = 4,
	HS_PROT_UNKNOWN = 8, /**< a core without the segment: only NT_FILE knows the range */
};

/** One mapping. @c path is "" for anonymous memory, "[stack]", "[vdso]" and so on as the kernel
 * names it. */
struct hs_mapping {
	hs_addr start, end;
	uint64_t offset; /**< bytes into the file */
	unsigned prot;   /**< enum hs_prot */
	const char *path;
	uint64_t dev, inode; /**< 0 when not known (core) */
	uint32_t module;     /**< index into the modules, or UINT32_MAX */
};

enum hs_module_state {
	HS_MODULE_OK,       /**< file open, build ids equal (or memory has none to compare) */
	HS_MODULE_MISSING,  /**< no file found: names and unwind rows of it are gaps */
	HS_MODULE_MISMATCH, /**< a file was found, but it is another build: it is not used */
	HS_MODULE_MEMORY,   /**< no file, its image is read from the target's memory (vdso) */
};

enum {
	HS_BUILD_ID_MAX = 64
};

/** An ELF file that is mapped. */
struct hs_module {
	const char *path; /**< as the target names it; " (deleted)" removed, see deleted */
	const char *
		open_path; /**< what we opened, NULL if none: for messages, not for opening again */
	hs_addr start, end; /**< lowest and highest mapped address */
	/** runtime address - ELF p_vaddr; valid when state is OK or MEMORY, or from_memory is set
	 */
	hs_addr bias;
	uint8_t build_id[HS_BUILD_ID_MAX];
	size_t build_id_len; /**< 0: none known */
	enum hs_module_state state;
	bool deleted;
	/** The file is missing or another build, and fd is an ELF file made of what the target's
	 * memory has of it: all, some or none of its exported symbols and unwind information. */
	bool from_memory;
	/** File and memory both have one, and they are equal; or memory has relocations that only
	 * this file gives. */
	bool build_id_checked;
	const char *why; /**< NULL, or why the file is not used, in words for the report */
	int fd;          /**< the file, or -1. Owned by the target; use pread or dup */
};

struct hs_module_map {
	const struct hs_mapping *mappings; /**< ascending, disjoint */
	size_t num_mappings;
	const struct hs_module *modules; /**< by ascending start */
	size_t num_modules;
};

/** The mapping that holds @p addr, or NULL. */
const struct hs_mapping *hs_module_map_find(const struct hs_module_map *map, hs_addr addr);

/** The module that holds @p addr, or NULL. */
const struct hs_module *hs_module_map_module(const struct hs_module_map *map, hs_addr addr);

/** The first module whose file name (after the last '/') is @p base_name, or NULL. */
const struct hs_module *hs_module_map_by_name(const struct hs_module_map *map,
                                              const char *base_name);

#endif // HS_MODULE_MAP_H
