// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * The native stepper: cached rows where they do, libdwfl's own single step where the call-frame
 * information is an expression (PLT entries, signal trampolines), and the frame pointer where
 * there is none. libdwfl reads the target through our callbacks only; it never sees a core, a
 * process or a path.
 */

#include <inttypes.h>

#include "core/limits.h"
#include "core/native/native_internal.h"
#include "core/native/unwind_scan.h"

// ---- modules

static int find_elf(Dwfl_Module *mod, void **userdata, const char *modname, Dwarf_Addr base,
                    char **file_name, Elf **elfp)
{
	struct hs_native_module *module = *userdata;

	(void)mod;
	(void)modname;
	(void)base;
	(void)file_name;
	// One more reference to our handle; libdwfl drops it and has no descriptor to close.
	if (module && module->elf)
		*elfp = elf_begin(-1, ELF_C_READ, module->elf);
	return -1;
}

static const Dwfl_Callbacks DWFL_CALLBACKS = {
	.find_elf = find_elf,
	.find_debuginfo = hs_native_find_debuginfo,
};

/** Address of the first PT_LOAD, rounded down as libdwfl does (open_elf in getdwarf.c). */
static bool first_load(Elf *elf, hs_addr *ret)
{
	size_t num;

	if (elf_getphdrnum(elf, &num) != 0)
		return false;
	for (size_t i = 0; i < num && i < PN_XNUM; i++) {
		GElf_Phdr phdr;

		if (gelf_getphdr(elf, (int)i, &phdr) && phdr.p_type == PT_LOAD) {
			*ret = phdr.p_vaddr & -phdr.p_align;
			return true;
		}
	}
	return false;
}

bool hs_native_dwfl_report(struct hs_native *native, struct hs_native_module *module)
{
	const struct hs_module *file = module->module;
	hs_addr load;
	void **userdata;

	if (!first_load(module->elf, &load)) {
		elf_end(module->elf);
		module->elf = NULL;
		module->why = "its ELF file has no segment to load";
		return true;
	}
	// libdwfl takes start - first address as the bias, so start must be where that one lies.
	dwfl_report_begin_add(native->dwfl);
	module->dwfl = dwfl_report_module(native->dwfl, file->path, file->bias + load, file->end);
	if (dwfl_report_end(native->dwfl, NULL, NULL) != 0 || !module->dwfl)
		return false;
	dwfl_module_info(module->dwfl, &userdata, NULL, NULL, NULL, NULL, NULL, NULL);
	*userdata = module;
	return true;
}

struct hs_err *hs_native_dwfl_open(struct hs_native *native)
{
	elf_version(EV_CURRENT);
	native->dwfl_step.native = native;
	native->dwfl = dwfl_begin(&DWFL_CALLBACKS);
	return native->dwfl ? NULL : hs_err_oom();
}

// ---- single steps by libdwfl

static pid_t step_next_thread(Dwfl *dwfl, void *dwfl_arg, void **thread_arg)
{
	(void)dwfl;
	(void)dwfl_arg;
	(void)thread_arg;
	return 0;
}

static bool step_get_thread(Dwfl *dwfl, pid_t tid, void *dwfl_arg, void **thread_arg)
{
	(void)dwfl;
	(void)tid;
	*thread_arg = dwfl_arg;
	return true;
}

static bool step_memory_read(Dwfl *dwfl, Dwarf_Addr addr, Dwarf_Word *ret, void *dwfl_arg)
{
	const struct hs_dwfl_step *step = dwfl_arg;
	uint64_t word;
	struct hs_err *err = hs_target_read_u64(step->native->target, addr, &word);

	(void)dwfl;
	if (err) {
		hs_err_free(err);
		return false;
	}
	*ret = word;
	return true;
}

static bool step_set_registers(Dwfl_Thread *thread, void *thread_arg)
{
	const struct hs_dwfl_step *step = thread_arg;

	for (int i = 0; i < HS_REG_COUNT; i++) {
		Dwarf_Word value = step->regs.value[i];

		if (hs_regs_has(&step->regs, (enum hs_reg)i) &&
		    !dwfl_thread_state_registers(thread, i, 1, &value))
			return false;
	}
	// libdwfl takes the first frame as an activation: at a call, pc - 1 finds the right row.
	dwfl_thread_state_register_pc(thread, step->lookup_pc);
	return true;
}

static const Dwfl_Thread_Callbacks STEP_CALLBACKS = {
	.next_thread = step_next_thread,
	.get_thread = step_get_thread,
	.memory_read = step_memory_read,
	.set_initial_registers = step_set_registers,
};

/** First the frame we know, then its caller: take that one's registers, and stop. */
static int step_frame(Dwfl_Frame *frame, void *arg)
{
	struct hs_dwfl_step *step = arg;
	struct hs_regs caller = {0};
	Dwarf_Addr pc;

	if (!step->at_caller) {
		step->at_caller = true;
		return DWARF_CB_OK;
	}
	if (!dwfl_frame_pc(frame, &pc, NULL))
		return DWARF_CB_ABORT;
	for (unsigned i = 0; i < HS_REG_PC; i++) {
		Dwarf_Word value;

		if (dwfl_frame_reg(frame, i, &value) == 0)
			hs_regs_set(&caller, (enum hs_reg)i, value);
	}
	hs_regs_set(&caller, HS_REG_PC, pc);
	step->regs = caller;
	step->has_caller = true;
	return DWARF_CB_ABORT;
}

/** One step by libdwfl, from *regs to those of the caller. */
static struct hs_err *dwfl_single_step(struct hs_native *native, struct hs_regs *regs,
                                       hs_addr lookup_pc, bool *at_end_ret)
{
	const struct hs_native_module *module = hs_native_module_at(native, lookup_pc);
	struct hs_dwfl_step *step = &native->dwfl_step;
	const pid_t any_tid = 1;

	// It would go on by the frame pointer where it knows of no module.
	if (!module || dwfl_addrmodule(native->dwfl, lookup_pc) != module->dwfl)
		return hs_err_new(HS_ERR_BAD_DATA, "modules overlap at pc 0x%" PRIx64, lookup_pc);
	if (!native->is_attached &&
	    !dwfl_attach_state(native->dwfl, module->elf, any_tid, &STEP_CALLBACKS, step))
		return hs_err_new(HS_ERR_UNSUPPORTED, "libdwfl: %s", dwfl_errmsg(-1));
	native->is_attached = true;

	step->regs = *regs;
	step->lookup_pc = lookup_pc;
	step->at_caller = step->has_caller = false;
	int rc = dwfl_getthread_frames(native->dwfl, any_tid, step_frame, step);
	if (!step->has_caller && rc != 0)
		return hs_err_new(HS_ERR_BAD_DATA, "libdwfl: %s", dwfl_errmsg(-1));
	// Zero and no second frame: it found an undefined return address.
	*at_end_ret = !step->has_caller;
	*regs = step->regs;
	return *at_end_ret ? hs_target_check_stack(native->target, regs->value[HS_REG_SP]) : NULL;
}

// ---- without unwind information

bool hs_native_is_code(const struct hs_native *native, hs_addr addr)
{
	const struct hs_mapping *mapping = hs_module_map_find(native->map, addr);

	return mapping && mapping->prot & (HS_PROT_EXEC | HS_PROT_UNKNOWN);
}

static struct hs_err *no_unwind_info(struct hs_native *native, hs_addr pc)
{
	const struct hs_native_module *module = hs_native_module_at(native, pc);

	const char *why = module ? module->why ?: module->module->why : NULL;

	if (why)
		return hs_err_new(HS_ERR_ABSENT, "no unwind information of %s: %s",
		                  module->module->path, why);
	if (module)
		return hs_err_new(HS_ERR_ABSENT, "%s has no unwind information at 0x%" PRIx64,
		                  module->module->path, pc - module->module->bias);
	if (!hs_native_is_code(native, pc))
		return hs_err_new(HS_ERR_BAD_DATA, "pc 0x%" PRIx64 " is not in executable memory",
		                  pc);
	return hs_err_new(HS_ERR_ABSENT, "pc 0x%" PRIx64 " is in no file", pc);
}

struct hs_err *hs_native_step_by_rbp(struct hs_native *native, struct hs_regs *regs,
                                     bool is_activation, bool *at_end_ret)
{
	struct hs_target *target = native->target;
	hs_addr pc = regs->value[HS_REG_PC], fp = regs->value[HS_REG_FP];
	hs_addr sp = hs_regs_has(regs, HS_REG_SP) ? regs->value[HS_REG_SP] : 0;
	struct hs_regs caller = {0};
	uint64_t saved[2]; // of the caller: rbp, return address

	// psABI 3.4.1: rbp is 0 in the outermost frame (musl's clone relies on it).
	if (hs_regs_has(regs, HS_REG_FP) && fp == 0 && !is_activation) {
		*at_end_ret = true;
		return hs_target_check_stack(target, sp);
	}
	if (!hs_regs_has(regs, HS_REG_FP) || fp < sp || hs_addr_wraps(fp, sizeof(saved) + 1))
		return no_unwind_info(native, pc);
	struct hs_err *err = hs_target_read(target, fp, saved, sizeof(saved));
	if (err || !hs_native_is_code(native, saved[1])) {
		bool is_zero = !err && !saved[1];

		hs_err_free(err);
		err = is_zero ? hs_target_check_stack(target, fp + sizeof(saved[0])) : NULL;
		return err ? err : no_unwind_info(native, pc);
	}
	hs_regs_set(&caller, HS_REG_FP, saved[0]);
	hs_regs_set(&caller, HS_REG_PC, saved[1]);
	hs_regs_set(&caller, HS_REG_SP, fp + sizeof(saved));
	*at_end_ret = false;
	*regs = caller;
	return NULL;
}

struct hs_err *hs_native_step_without_info(struct hs_native *native, const struct hs_cursor *cursor,
                                           const struct hs_frame_list *list, struct hs_regs *regs,
                                           bool *at_end_ret, enum hs_found_by *found_by_ret)
{
	size_t len = list->frames.len;
	hs_addr callee = 0;

	if (!cursor->is_activation && len >= 2) {
		const struct hs_frame *inner = &list->frames.items[len - 2];
		callee = inner->is_activation ? inner->pc : inner->pc - 1;
	}
	*found_by_ret = HS_FOUND_SCAN;
	if (hs_native_step_by_scan(native, cursor, callee, regs, at_end_ret))
		return NULL;
	*found_by_ret = HS_FOUND_RBP;
	return hs_native_step_by_rbp(native, regs, cursor->is_activation, at_end_ret);
}

// ---- the stepper

struct hs_err *hs_native_add_frame(struct hs_native *native, const struct hs_cursor *cursor,
                                   bool is_trampoline, struct hs_frame_list *list)
{
	const struct hs_step_result *last = &native->last_step;
	hs_addr pc = cursor->regs.value[HS_REG_PC], sp = cursor->regs.value[HS_REG_SP];
	// A signal trampoline was not called either: its pc is where it begins.
	bool is_exact = cursor->is_activation || is_trampoline;
	const struct hs_location *location = hs_native_location(native, pc, is_exact);
	enum hs_found_by found_by = list->frames.len ? HS_FOUND_JVM : HS_FOUND_ROW;

	if (!location)
		return hs_err_oom();
	if (list->frames.len && last->thread == cursor->thread && last->pc == pc && last->sp == sp)
		found_by = last->found_by;
	struct hs_frame *frame = hs_frame_list_add(list, location, pc, sp, found_by);
	if (!frame)
		return hs_arena_failed(list->arena)
		               ? hs_err_oom()
		               : hs_err_new(HS_ERR_UNSUPPORTED, "more than %d frames",
		                            HS_MAX_FRAMES);
	frame->is_activation = is_exact;
	return NULL;
}

void hs_native_move(struct hs_native *native, struct hs_cursor *cursor, const struct hs_regs *regs,
                    bool is_activation, enum hs_found_by found_by)
{
	cursor->regs = *regs;
	cursor->is_activation = is_activation;
	cursor->unextended_sp = 0;
	native->last_step = (struct hs_step_result){
		.thread = cursor->thread,
		.pc = regs->value[HS_REG_PC],
		.sp = regs->value[HS_REG_SP],
		.found_by = found_by,
	};
}

struct hs_err *hs_native_step(void *self, struct hs_cursor *cursor, struct hs_frame_list *list)
{
	struct hs_native *native = self;
	hs_addr pc = cursor->regs.value[HS_REG_PC];
	hs_addr lookup_pc = cursor->is_activation ? pc : pc - 1;
	const struct hs_row *row = hs_native_row(native, lookup_pc);
	struct hs_regs regs = cursor->regs;
	enum hs_found_by found_by = HS_FOUND_ROW;
	bool at_end = false;
	struct hs_err *err;

	if (!row)
		return hs_err_oom();
	err = hs_native_add_frame(native, cursor, row->is_signal, list);
	if (err)
		return err;
	switch ((enum hs_row_kind)row->kind) {
	case HS_ROW_PLAIN:
		err = hs_row_apply(row, native->target, &regs, &at_end);
		break;
	case HS_ROW_COMPLEX:
		found_by = HS_FOUND_CFI;
		err = dwfl_single_step(native, &regs, lookup_pc, &at_end);
		break;
	case HS_ROW_NONE:
		err = hs_native_step_without_info(native, cursor, list, &regs, &at_end, &found_by);
		break;
	}
	if (err)
		return err;
	if (at_end)
		cursor->at_end = true;
	else
		hs_native_move(native, cursor, &regs, row->is_signal, found_by);
	return NULL;
}
