// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * libunwind as a second, independent unwinder: it parses the call-frame information itself. It
 * reads the target through our accessors, so that it walks the same capture as libdwfl does.
 *
 * Not _UPT_accessors of libunwind-ptrace: those need a stopped tracee for every word they read, and
 * _UPT_find_proc_info() opens the paths of /proc/PID/maps as our mount namespace sees them. The
 * look-up of unwind information is that of perf instead (tools/perf/util/unwind-libunwind-local.c).
 */

#include <libunwind.h>
#include <string.h>

#include "core/native/native_internal.h"

#define HS_STRING_OF(x) #x
#define HS_STRING(x) HS_STRING_OF(x)

struct hs_libunwind {
	struct hs_native *native;
	unw_addr_space_t space;
	const struct hs_regs *regs; /**< of the step in progress */
	hs_addr lookup_pc;
	bool has_info; /**< the step found unwind information, it did not guess */
};

/** Exported by libunwind for remote unwinders, but in no header. */
extern int UNW_OBJ(dwarf_search_unwind_table)(unw_addr_space_t as, unw_word_t ip,
                                              unw_dyn_info_t *di, unw_proc_info_t *pi,
                                              int need_unwind_info, void *arg);

/** libunwind's register numbers (libunwind-x86_64.h) are DWARF's, and rip follows r15. */
_Static_assert((int)UNW_X86_64_RAX == (int)HS_REG_RAX && (int)UNW_X86_64_RBP == (int)HS_REG_FP &&
                       (int)UNW_X86_64_RSP == (int)HS_REG_SP &&
                       (int)UNW_X86_64_RIP == (int)HS_REG_PC,
               "register numbers");

/** Start of .eh_frame_hdr (LSB core 10.6.2) up to the search table. */
struct eh_frame_hdr {
	uint8_t version, eh_frame_encoding, count_encoding, table_encoding;
	uint32_t eh_frame;
	uint32_t count;
} __attribute__((__packed__));

enum {
	ENCODING_UDATA4 = 0x03,
	ENCODING_SDATA4 = 0x0b,
	ENCODING_FORMAT = 0x0f,
	ENCODING_DATAREL_SDATA4 = 0x3b,
	TABLE_ENTRY_SIZE = 8, /**< two offsets of 4 bytes */
};

static bool is_usable_header(const struct eh_frame_hdr *header)
{
	uint8_t format = header->eh_frame_encoding & ENCODING_FORMAT;

	return header->version == 1 && header->count_encoding == ENCODING_UDATA4 &&
	       header->table_encoding == ENCODING_DATAREL_SDATA4 &&
	       (format == ENCODING_UDATA4 || format == ENCODING_SDATA4);
}

/** Runtime address and size of the module's PT_GNU_EH_FRAME. */
static bool eh_frame_segment(const struct hs_native_module *module, hs_addr *addr_ret,
                             uint64_t *size_ret)
{
	size_t num;

	if (elf_getphdrnum(module->elf, &num) != 0)
		return false;
	for (size_t i = 0; i < num && i < PN_XNUM; i++) {
		GElf_Phdr phdr;

		if (gelf_getphdr(module->elf, (int)i, &phdr) && phdr.p_type == PT_GNU_EH_FRAME) {
			*addr_ret = phdr.p_vaddr + module->module->bias;
			*size_ret = phdr.p_memsz;
			return true;
		}
	}
	return false;
}

static bool read_target(struct hs_libunwind *unwind, hs_addr addr, void *buf, size_t len)
{
	struct hs_err *err = hs_target_read(unwind->native->target, addr, buf, len);

	hs_err_free(err);
	return !err;
}

static int find_proc_info(unw_addr_space_t space, unw_word_t ip, unw_proc_info_t *info,
                          int need_unwind_info, void *arg)
{
	struct hs_libunwind *unwind = arg;
	struct hs_native_module *module = hs_native_module_at(unwind->native, ip);
	struct eh_frame_hdr header;
	hs_addr addr;
	uint64_t size;

	if (!module)
		return -UNW_ENOINFO;
	struct hs_err *err = hs_native_module_open(unwind->native, module);
	if (err) {
		hs_err_free(err);
		return -UNW_ENOMEM;
	}
	if (!module->elf || !eh_frame_segment(module, &addr, &size) ||
	    !read_target(unwind, addr, &header, sizeof(header)) || !is_usable_header(&header) ||
	    size < sizeof(header) || header.count > (size - sizeof(header)) / TABLE_ENTRY_SIZE)
		return -UNW_ENOINFO;

	unw_dyn_info_t table = {
		.start_ip = module->module->start,
		.end_ip = module->module->end,
		.format = UNW_INFO_FORMAT_REMOTE_TABLE,
		.u.rti.segbase = addr,
		.u.rti.table_data = addr + sizeof(header),
		.u.rti.table_len = header.count * TABLE_ENTRY_SIZE / sizeof(unw_word_t),
	};
	int rc = UNW_OBJ(dwarf_search_unwind_table)(space, ip, &table, info, need_unwind_info, arg);
	unwind->has_info |= rc == 0;
	return rc;
}

static void put_unwind_info(unw_addr_space_t space, unw_proc_info_t *info, void *arg)
{
	// Entries of a table are libunwind's own, and it frees them itself.
	(void)space;
	(void)info;
	(void)arg;
}

static int get_dyn_info_list_addr(unw_addr_space_t space, unw_word_t *addr, void *arg)
{
	// Code registered by _U_dyn_register() in the target: HotSpot and glibc have none.
	(void)space;
	(void)addr;
	(void)arg;
	return -UNW_ENOINFO;
}

static int access_mem(unw_addr_space_t space, unw_word_t addr, unw_word_t *value, int is_write,
                      void *arg)
{
	(void)space;
	if (is_write)
		return -UNW_EREADONLYREG;
	return read_target(arg, addr, value, sizeof(*value)) ? 0 : -UNW_EUNSPEC;
}

static int access_reg(unw_addr_space_t space, unw_regnum_t reg, unw_word_t *value, int is_write,
                      void *arg)
{
	const struct hs_libunwind *unwind = arg;

	(void)space;
	if (is_write)
		return -UNW_EREADONLYREG;
	if (reg < 0 || reg >= HS_REG_COUNT || !hs_regs_has(unwind->regs, (enum hs_reg)reg))
		return -UNW_EBADREG;
	// It takes the first frame as an activation: at a call, pc - 1 finds the right rule.
	*value = reg == HS_REG_PC ? unwind->lookup_pc : unwind->regs->value[reg];
	return 0;
}

static int access_fpreg(unw_addr_space_t space, unw_regnum_t reg, unw_fpreg_t *value, int is_write,
                        void *arg)
{
	(void)space;
	(void)reg;
	(void)value;
	(void)is_write;
	(void)arg;
	return -UNW_EBADREG;
}

static int resume(unw_addr_space_t space, unw_cursor_t *cursor, void *arg)
{
	(void)space;
	(void)cursor;
	(void)arg;
	return -UNW_EINVAL;
}

static int get_proc_name(unw_addr_space_t space, unw_word_t addr, char *buf, size_t len,
                         unw_word_t *offset, void *arg)
{
	(void)space;
	(void)addr;
	(void)buf;
	(void)len;
	(void)offset;
	(void)arg;
	return -UNW_ENOINFO;
}

const char *hs_native_libunwind(void)
{
	return HS_STRING(UNW_VERSION_MAJOR) "." HS_STRING(UNW_VERSION_MINOR);
}

struct hs_err *hs_libunwind_open(struct hs_native *native, struct hs_libunwind **ret)
{
	unw_accessors_t accessors = {
		.find_proc_info = find_proc_info,
		.put_unwind_info = put_unwind_info,
		.get_dyn_info_list_addr = get_dyn_info_list_addr,
		.access_mem = access_mem,
		.access_reg = access_reg,
		.access_fpreg = access_fpreg,
		.resume = resume,
		.get_proc_name = get_proc_name,
	};
	struct hs_libunwind *unwind = hs_arena_alloc(native->arena, sizeof(*unwind));
	const int own_byte_order = 0;

	if (!unwind)
		return hs_err_oom();
	unwind->native = native;
	unwind->space = unw_create_addr_space(&accessors, own_byte_order);
	if (!unwind->space)
		return hs_err_oom();
	// A cached step would not ask for unwind information: has_info could not be told.
	unw_set_caching_policy(unwind->space, UNW_CACHE_NONE);
	*ret = unwind;
	return NULL;
}

void hs_libunwind_close(struct hs_libunwind *unwind)
{
	if (unwind)
		unw_destroy_addr_space(unwind->space);
}

/** Is this the kernel's way back from a signal: mov $15, %rax; syscall (glibc's __restore_rt)? */
static bool is_trampoline(struct hs_libunwind *unwind, hs_addr pc)
{
	static const uint8_t CODE[] = {0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05};
	uint8_t bytes[sizeof(CODE)];

	return read_target(unwind, pc, bytes, sizeof(bytes)) &&
	       memcmp(bytes, CODE, sizeof(CODE)) == 0;
}

/** One step by libunwind: a new cursor at *regs each time, since the jvm may step in between. */
static struct hs_err *single_step(struct hs_libunwind *unwind, struct hs_regs *regs,
                                  bool *at_end_ret)
{
	struct hs_regs caller = {0};
	unw_cursor_t cursor;

	int rc = unw_init_remote(&cursor, unwind->space, unwind);
	if (rc == 0)
		rc = unw_step(&cursor);
	// What it makes of the frame pointer is not wanted: see the caller.
	if (!unwind->has_info)
		return NULL;
	if (rc < 0)
		return hs_err_new(HS_ERR_BAD_DATA, "libunwind: %s", unw_strerror(rc));

	for (int i = 0; rc > 0 && i < HS_REG_COUNT; i++) {
		unw_word_t value;

		if (unw_get_reg(&cursor, i, &value) == 0)
			hs_regs_set(&caller, (enum hs_reg)i, value);
	}
	*at_end_ret = rc == 0 || caller.value[HS_REG_PC] == 0;
	*regs = caller;
	return NULL;
}

struct hs_err *hs_libunwind_step(void *self, struct hs_cursor *cursor, struct hs_frame_list *list)
{
	struct hs_native *native = self;
	struct hs_libunwind *unwind = native->libunwind;
	hs_addr pc = cursor->regs.value[HS_REG_PC];
	struct hs_regs regs = cursor->regs;
	bool is_signal = is_trampoline(unwind, pc), at_end = false;
	enum hs_found_by found_by = HS_FOUND_CFI;
	struct hs_err *err = hs_native_add_frame(native, cursor, is_signal, list);

	if (err)
		return err;
	unwind->regs = &cursor->regs;
	unwind->lookup_pc = cursor->is_activation ? pc : pc - 1;
	unwind->has_info = false;
	err = single_step(unwind, &regs, &at_end);
	if (!err && !unwind->has_info)
		err = hs_native_step_without_info(native, cursor, list, &regs, &at_end, &found_by);
	if (err)
		return err;
	if (at_end)
		cursor->at_end = true;
	else
		hs_native_move(native, cursor, &regs, is_signal, found_by);
	return NULL;
}
