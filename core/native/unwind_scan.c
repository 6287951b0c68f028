// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * The caller of a function without unwind information, by a search of the stack upwards for a
 * return address. Stacks are full of old ones, so one is believed only when all of this holds:
 *
 * - it is just behind a call whose target, followed through the linkage table and through jumps at
 *   the end of functions, is code without unwind information of the module we are in;
 * - from there the unwind information leads, frame by frame, to where the thread began, and each
 *   return address on the way is just behind a call of the very function that it returns from. An
 *   old chain of calls breaks at the newest: that one overwrote the return address it joined at;
 * - there is no second one of this kind within reach.
 *
 * What began the thread must name the function that it called: pthread_create() keeps it beside
 * the stack, the program's entry point has main in its code. rbp is not known behind such a gap;
 * if a frame is found by it, each word that may be its saved copy is tried and proved the same way.
 */

#include "core/native/unwind_scan.h"

#include <string.h>
#include <unistd.h>

#include "core/limits.h"
#include "core/native/musl_sync.h"

enum {
	SCAN_WORDS = 2048, /**< of a stack: printf() of a double has 7 kB in its frame */
	READ_WORDS = 64,
	AFTER_WORDS = 256,   /**< beyond a proved one: is there a second? */
	MAX_LINKS = 1024,    /**< frames that a proof may be long */
	MAX_CROSSINGS = 4,   /**< callbacks: qsort() calls the program, which calls libc again */
	MAX_JUMPS = 2,       /**< functions that end in a jump to another */
	MAX_SPENT = 1 << 24, /**< the same in all searches of one target */
	MAX_BUDGET = 20000,  /**< frames tried in one search: a hostile stack offers many */
	MAX_FRAME = 1 << 20, /**< bytes of a frame that is found by a guessed rbp */
	JUMP_COST = 16,
	MAX_CODE = 4096,    /**< bytes of a function searched for a jump */
	ENTRY_CODE = 160,   /**< _start and _start_c of crt1.o */
	START_WORDS = 8,    /**< struct start_args above clone's frame */
	PTHREAD_WORDS = 40, /**< struct pthread: older musl keeps the start routine in it */
	REL32 = 4,
};

struct scan {
	struct hs_native *native;
	const struct hs_lwp *lwp;
	hs_addr stack_end;
	unsigned budget;
	hs_addr links[MAX_LINKS]; /**< places of the return addresses of the proof so far */
	unsigned num_links;
};

// ---- code

static bool read_bytes(struct hs_native *native, hs_addr addr, void *buf, size_t len)
{
	struct hs_err *err = hs_addr_wraps(addr, len)
	                             ? hs_err_fault()
	                             : hs_target_read(native->target, addr, buf, len);
	bool ok = !err;

	hs_err_free(err);
	return ok;
}

/**
 * Code that a core has left out, from the module's file. Where neither has a build id the target
 * does not take the file for the memory; unwind information and names come from it all the same.
 */
static bool read_file_code(struct hs_native *native, hs_addr addr, void *buf, size_t len)
{
	struct hs_native_module *module = hs_native_module_at(native, addr);
	size_t num;

	if (!module || module->module->state != HS_MODULE_OK || module->module->fd < 0)
		return false;
	struct hs_err *err = hs_native_module_open(native, module);
	bool ok = !err && module->elf && elf_getphdrnum(module->elf, &num) == 0;
	hs_addr vaddr = addr - module->module->bias;
	hs_err_free(err);
	for (size_t i = 0; ok && i < num && i < PN_XNUM; i++) {
		GElf_Phdr phdr;

		if (gelf_getphdr(module->elf, (int)i, &phdr) && phdr.p_type == PT_LOAD &&
		    phdr.p_flags & PF_X && vaddr >= phdr.p_vaddr &&
		    vaddr - phdr.p_vaddr < phdr.p_filesz &&
		    len <= phdr.p_filesz - (vaddr - phdr.p_vaddr))
			return pread(module->module->fd, buf, len,
			             (off_t)(phdr.p_offset + (vaddr - phdr.p_vaddr))) ==
			       (ssize_t)len;
	}
	return false;
}

static bool read_code(struct hs_native *native, hs_addr addr, void *buf, size_t len)
{
	return read_bytes(native, addr, buf, len) || read_file_code(native, addr, buf, len);
}

static hs_addr relative(const uint8_t *code, hs_addr next)
{
	int32_t offset;

	memcpy(&offset, code, sizeof(offset));
	return next + (hs_addr)(int64_t)offset;
}

/** Bytes of opcode, ModRM, SIB and displacement (Intel SDM 2.1.3, table 2-2). */
static size_t modrm_length(const uint8_t *code, size_t left)
{
	uint8_t modrm = left > 1 ? code[1] : 0, mod = modrm >> 6, rm = modrm & 7;
	bool has_sib = mod != 3 && rm == 4;
	size_t len = has_sib ? 3 : 2;

	if (left < len)
		return 0;
	if (mod == 1)
		len += 1;
	else if (mod == 2 || (mod == 0 && (rm == 5 || (has_sib && (code[2] & 7) == 5))))
		len += REL32;
	return len;
}

enum hs_call_kind hs_call_before(const uint8_t *code, hs_addr pc, hs_addr *ret)
{
	enum {
		CALL_REL32 = 0xe8,
		GROUP_5 = 0xff, // its /2 is an indirect call
		CALL_RIP = 0x15,
	};

	if (code[1] == GROUP_5 && code[2] == CALL_RIP) {
		*ret = relative(code + 3, pc);
		return HS_CALL_SLOT;
	}
	if (code[2] == CALL_REL32) {
		*ret = relative(code + 3, pc);
		return HS_CALL_DIRECT;
	}
	for (size_t i = 0; i + 2 <= HS_CALL_BYTES; i++) {
		size_t left = HS_CALL_BYTES - i;

		if (code[i] == GROUP_5 && (code[i + 1] >> 3 & 7) == 2 &&
		    modrm_length(code + i, left) == left)
			return HS_CALL_INDIRECT;
	}
	return HS_CALL_NONE;
}

/** Where control goes on from @p target: through an entry of the linkage table, if it is one. */
static hs_addr through_linkage(struct hs_native *native, hs_addr target)
{
	static const uint8_t ENDBR64[] = {0xf3, 0x0f, 0x1e, 0xfa};
	uint8_t code[sizeof(ENDBR64) + 1 + 2 + REL32] = {0}; // endbr64; bnd jmp *slot(%rip)
	uint64_t slot = 0;
	size_t i = 0;

	if (!read_code(native, target, code, sizeof(code)))
		return target;
	if (!memcmp(code, ENDBR64, sizeof(ENDBR64)))
		i += sizeof(ENDBR64);
	if (code[i] == 0xf2)
		i++;
	if (code[i] != 0xff || code[i + 1] != 0x25)
		return target;
	hs_addr place = relative(code + i + 2, target + i + 2 + REL32);
	return read_bytes(native, place, &slot, sizeof(slot)) && hs_native_is_code(native, slot)
	               ? slot
	               : target;
}

static enum hs_call_kind call_before(struct hs_native *native, hs_addr pc, hs_addr *target_ret)
{
	uint8_t code[HS_CALL_BYTES] = {0};
	hs_addr target = 0;
	uint64_t word = 0;

	if (pc < sizeof(code) || !hs_native_is_code(native, pc - 1) ||
	    !read_code(native, pc - sizeof(code), code, sizeof(code)))
		return HS_CALL_NONE;
	enum hs_call_kind kind = hs_call_before(code, pc, &target);
	if (kind == HS_CALL_SLOT) {
		if (!read_bytes(native, target, &word, sizeof(word)))
			return HS_CALL_NONE;
		target = word;
	}
	if (kind == HS_CALL_DIRECT || kind == HS_CALL_SLOT) {
		if (!hs_native_is_code(native, target))
			return HS_CALL_NONE;
		*target_ret = through_linkage(native, target);
	}
	return kind;
}

static bool has_unwind_info(struct hs_native *native, hs_addr addr)
{
	const struct hs_row *row = hs_native_row(native, addr);

	return row && row->kind != HS_ROW_NONE;
}

/** A function at the end of a call and of jumps. */
struct landing {
	hs_addr wanted; /**< it begins exactly here; 0: anywhere without unwind information */
	const struct hs_native_module *module; /**< that case: in here */
	hs_addr found;
	bool is_unique;
	unsigned *budget; /**< functions searched for jumps cost JUMP_COST */
};

static bool lands(struct hs_native *native, hs_addr target, struct landing *landing)
{
	if (landing->wanted)
		return target == landing->wanted;
	return hs_native_module_at(native, target) == landing->module &&
	       !has_unwind_info(native, target);
}

/** Does the function at @p target, or one that it ends in a jump to, fulfil @p landing? */
static bool leads_to(struct hs_native *native, hs_addr target, struct landing *landing,
                     unsigned depth)
{
	struct hs_function_range range;
	uint8_t code[MAX_CODE];
	bool found = false;

	if (lands(native, target, landing)) {
		landing->is_unique &= !landing->found || landing->found == target;
		landing->found = target;
		return true;
	}
	if (depth >= MAX_JUMPS || *landing->budget < JUMP_COST ||
	    !hs_native_function_range(native, target, &range) || range.start != target ||
	    range.end - target > sizeof(code) ||
	    !read_code(native, target, code, range.end - target))
		return false;
	*landing->budget -= JUMP_COST;
	// jmp rel32, and not to be confused with other bytes: what it leads to is compared.
	for (size_t i = 0; i + 1 + REL32 <= range.end - target; i++) {
		hs_addr next = target + i + 1 + REL32, to = relative(code + i + 1, next);

		if (code[i] == 0xe9 && (to < range.start || to >= range.end) &&
		    hs_native_is_code(native, to) &&
		    leads_to(native, through_linkage(native, to), landing, depth + 1))
			found = true;
	}
	return found;
}

/** Does the call before @p pc lead to code of @p module without unwind information? */
static bool calls_into(struct hs_native *native, hs_addr pc, struct landing *landing)
{
	hs_addr target;
	enum hs_call_kind kind = call_before(native, pc, &target);

	return (kind == HS_CALL_DIRECT || kind == HS_CALL_SLOT) &&
	       has_unwind_info(native, pc - 1) && leads_to(native, target, landing, 0);
}

hs_addr hs_native_called_function(struct hs_native *native, hs_addr pc, hs_addr inner)
{
	unsigned budget = MAX_BUDGET;
	struct landing landing = {
		.module = hs_native_module_at(native, inner),
		.is_unique = true,
		.budget = &budget,
	};

	return landing.module && calls_into(native, pc, &landing) && landing.is_unique
	               ? landing.found
	               : 0;
}

// ---- where threads begin

/** Runtime address of the entry point of the file at @p addr, 0 when not known. */
static hs_addr entry_point(struct hs_native *native, hs_addr addr)
{
	struct hs_native_module *module = hs_native_module_at(native, addr);
	GElf_Ehdr ehdr;

	if (!module)
		return 0;
	struct hs_err *err = hs_native_module_open(native, module);
	bool ok = !err && module->elf && gelf_getehdr(module->elf, &ehdr) && ehdr.e_entry;
	hs_err_free(err);
	return ok ? ehdr.e_entry + module->module->bias : 0;
}

/** clone.s of musl (1.2.3 read): when the thread's function returns, the thread exits. */
static bool is_in_clone(struct hs_native *native, hs_addr pc)
{
	// mov %eax, %edi; xor %eax, %eax; mov $60, %al; syscall
	static const uint8_t EXIT[] = {0x89, 0xc7, 0x31, 0xc0, 0xb0, 0x3c, 0x0f, 0x05};
	uint8_t code[sizeof(EXIT)] = {0};
	hs_addr target;

	return hs_native_is_code(native, pc) && read_code(native, pc, code, sizeof(code)) &&
	       !memcmp(code, EXIT, sizeof(EXIT)) &&
	       call_before(native, pc, &target) == HS_CALL_INDIRECT;
}

/** _start of crt1.o, to which nothing returns. */
static bool is_in_entry(struct hs_native *native, hs_addr pc)
{
	enum {
		START_CODE = 48
	};
	hs_addr target, entry = entry_point(native, pc);

	return entry && pc > entry && pc - entry < START_CODE &&
	       call_before(native, pc, &target) == HS_CALL_DIRECT;
}

static bool has_word(struct hs_native *native, hs_addr addr, size_t num, uint64_t wanted)
{
	uint64_t word;

	for (size_t i = 0; i < num; i++) {
		if (read_bytes(native, addr + i * sizeof(word), &word, sizeof(word)) &&
		    word == wanted)
			return true;
	}
	return false;
}

/** Does the code at the entry point of @p pc's file load the address @p function into rdi? */
static bool entry_names(struct hs_native *native, hs_addr pc, hs_addr function)
{
	static const uint8_t MOV[] = {0x48, 0xc7, 0xc7}; // mov $imm32, %rdi
	static const uint8_t LEA[] = {0x48, 0x8d, 0x3d}; // lea rel32(%rip), %rdi
	static const uint8_t GOT[] = {0x48, 0x8b, 0x3d}; // mov rel32(%rip), %rdi
	hs_addr entry = entry_point(native, pc);
	uint8_t code[ENTRY_CODE] = {0};
	uint64_t word;

	if (!read_code(native, entry, code, sizeof(code)))
		return false;
	for (size_t i = 0; i + sizeof(MOV) + REL32 <= sizeof(code); i++) {
		const uint8_t *operand = code + i + sizeof(MOV);
		hs_addr to = relative(operand, entry + i + sizeof(MOV) + REL32);

		if ((!memcmp(code + i, MOV, sizeof(MOV)) && relative(operand, 0) == function) ||
		    (!memcmp(code + i, LEA, sizeof(LEA)) && to == function) ||
		    (!memcmp(code + i, GOT, sizeof(GOT)) &&
		     read_bytes(native, to, &word, sizeof(word)) && word == function))
			return true;
	}
	return false;
}

/** Is the return address @p pc at @p place that of the thread's beginning, which began @p callee?
 */
static bool began(const struct scan *scan, hs_addr pc, hs_addr place, hs_addr callee)
{
	struct hs_native *native = scan->native;
	struct hs_function_range function;
	bool in_clone = is_in_clone(native, pc);

	if ((!in_clone && !is_in_entry(native, pc)) ||
	    !hs_native_function_range(native, callee, &function))
		return false;
	if (!in_clone)
		return entry_names(native, pc, function.start);
	return has_word(native, place + sizeof(uint64_t), START_WORDS, function.start) ||
	       has_word(native, scan->lwp->thread_pointer, PTHREAD_WORDS, function.start);
}

// ---- proofs

static bool find_caller(struct scan *scan, const struct hs_regs *regs, hs_addr callee,
                        unsigned depth, struct hs_regs *ret);

static bool add_link(struct scan *scan, hs_addr place)
{
	if (scan->num_links >= MAX_LINKS)
		return false;
	scan->links[scan->num_links++] = place;
	return true;
}

static bool has_link(const struct scan *scan, hs_addr place)
{
	for (unsigned i = 0; i < scan->num_links; i++) {
		if (scan->links[i] == place)
			return true;
	}
	return false;
}

/** Is the return address @p pc behind a call that can have led to @p callee? */
static bool is_call_of(struct scan *scan, hs_addr pc, hs_addr callee, bool *is_proved_ret)
{
	struct hs_native *native = scan->native;
	struct hs_function_range range;
	hs_addr target;

	switch (call_before(native, pc, &target)) {
	case HS_CALL_NONE:
		return false;
	case HS_CALL_INDIRECT:
		return true;
	case HS_CALL_DIRECT:
	case HS_CALL_SLOT:
		break;
	}
	if (!hs_native_function_range(native, callee - 1, &range))
		return false;
	*is_proved_ret = true;
	return leads_to(native, target,
	                &(struct landing){.wanted = range.start, .budget = &scan->budget}, 0);
}

/** Does the stack go on soundly from the frame at @p regs, which has unwind information? */
static bool goes_on(struct scan *scan, struct hs_regs regs, unsigned depth)
{
	struct hs_native *native = scan->native;
	bool is_proved = false;
	hs_addr callee = 0;

	while (scan->budget) {
		hs_addr pc = regs.value[HS_REG_PC], sp = regs.value[HS_REG_SP];
		const struct hs_row *row = hs_native_row(native, pc - 1);
		struct hs_regs ignored;
		bool at_end = false;

		scan->budget--;
		if (!row)
			return false;
		// HotSpot's code: what goes on from there, jvm/ knows.
		if (row->kind == HS_ROW_NONE && !hs_native_module_at(native, pc - 1))
			return is_proved;
		if (row->kind == HS_ROW_NONE)
			return find_caller(scan, &regs, callee, depth + 1, &ignored);
		if (row->kind != HS_ROW_PLAIN || row->is_signal)
			return false;
		struct hs_err *err = hs_row_apply(row, native->target, &regs, &at_end);
		hs_err_free(err);
		if (err)
			return false;
		if (at_end)
			return is_proved;
		if (regs.value[HS_REG_SP] <= sp || regs.value[HS_REG_SP] > scan->stack_end ||
		    !hs_regs_has(&regs, HS_REG_PC) ||
		    !is_call_of(scan, regs.value[HS_REG_PC], pc, &is_proved) ||
		    !add_link(scan, regs.value[HS_REG_SP] - sizeof(uint64_t)))
			return false;
		callee = pc - 1;
	}
	return false;
}

/** goes_on(), and forget the links of a proof that fails. */
static bool try(struct scan *scan, const struct hs_regs *regs, unsigned depth)
{
	unsigned num_links = scan->num_links;

	if (goes_on(scan, *regs, depth))
		return true;
	scan->num_links = num_links;
	return false;
}

/**
 * Is the return address in @p regs sound, with rbp not known or else with one that may be it:
 * the register, or a word between here and there, where it was saved? Two that fit are none.
 */
static bool prove(struct scan *scan, const uint64_t *words, size_t num, const struct hs_regs *here,
                  unsigned depth, struct hs_regs *regs)
{
	hs_addr sp = regs->value[HS_REG_SP], found = 0;

	if (try(scan, regs, depth))
		return true;
	for (size_t i = 0; i <= num; i++) {
		uint64_t word = i < num ? words[i] : here->value[HS_REG_FP];
		struct hs_regs guess = *regs;

		if ((i == num && !hs_regs_has(here, HS_REG_FP)) || word < sp ||
		    word - sp > MAX_FRAME || word >= scan->stack_end || word % sizeof(word) ||
		    word == found)
			continue;
		hs_regs_set(&guess, HS_REG_FP, word);
		if (found) {
			unsigned num_links = scan->num_links;

			if (try(scan, &guess, depth))
				return false;
			scan->num_links = num_links;
		} else if (try(scan, &guess, depth)) {
			found = word;
		}
	}
	if (!scan->budget || !found)
		return false;
	hs_regs_set(regs, HS_REG_FP, found);
	return true;
}

static size_t read_stack(const struct scan *scan, hs_addr sp, uint64_t *words)
{
	size_t num = 0;

	if (sp % sizeof(*words) || sp >= scan->stack_end)
		return 0;
	size_t most = (scan->stack_end - sp) / sizeof(*words);
	if (most > SCAN_WORDS)
		most = SCAN_WORDS;
	while (num < most) {
		size_t count = most - num < READ_WORDS ? most - num : READ_WORDS;

		if (!read_bytes(scan->native, sp + num * sizeof(*words), &words[num],
		                count * sizeof(*words)))
			break;
		num += count;
	}
	return num;
}

/** The beginning of the thread, if the function at @p regs is what it calls @p callee by. */
static bool find_beginning(const struct scan *scan, const struct hs_regs *regs, hs_addr callee,
                           const uint64_t *words, size_t num, struct hs_regs *ret)
{
	hs_addr target, sp = regs->value[HS_REG_SP];

	if (!callee ||
	    call_before(scan->native, regs->value[HS_REG_PC], &target) != HS_CALL_INDIRECT)
		return false;
	for (size_t i = 0; i < num; i++) {
		if (!began(scan, words[i], sp + i * sizeof(*words), callee))
			continue;
		*ret = (struct hs_regs){0};
		hs_regs_set(ret, HS_REG_PC, words[i]);
		hs_regs_set(ret, HS_REG_SP, sp + (i + 1) * sizeof(*words));
		return true;
	}
	return false;
}

static bool find_caller(struct scan *scan, const struct hs_regs *regs, hs_addr callee,
                        unsigned depth, struct hs_regs *ret)
{
	uint64_t words[SCAN_WORDS];
	hs_addr sp = regs->value[HS_REG_SP];
	unsigned num_links = scan->num_links;
	bool found = false;

	if (depth >= MAX_CROSSINGS || !hs_regs_has(regs, HS_REG_SP))
		return false;
	size_t num = read_stack(scan, sp, words);
	if (find_beginning(scan, regs, callee, words, num, ret))
		return true;
	for (size_t i = 0; i < num && scan->budget; i++) {
		hs_addr place = sp + i * sizeof(*words);
		struct hs_regs caller = {0};
		struct landing landing = {
			.module = hs_native_module_at(scan->native, regs->value[HS_REG_PC]),
			.budget = &scan->budget,
		};

		// Calls further out, which the proof went through, are no contradiction.
		if (has_link(scan, place) || !hs_native_module_at(scan->native, words[i]) ||
		    !calls_into(scan->native, words[i], &landing))
			continue;
		hs_regs_set(&caller, HS_REG_PC, words[i]);
		hs_regs_set(&caller, HS_REG_SP, place + sizeof(*words));
		unsigned before = scan->num_links;
		if (!add_link(scan, place) || !prove(scan, words, i, regs, depth, &caller)) {
			scan->num_links = before;
			continue;
		}
		if (found) {
			scan->num_links = num_links;
			return false;
		}
		found = true;
		if (num > i + AFTER_WORDS)
			num = i + AFTER_WORDS;
		*ret = caller;
	}
	if (!found || !scan->budget)
		scan->num_links = num_links;
	return found && scan->budget;
}

/** Say once per file that frames of it are left out. */
static void report_crossing(struct hs_native *native, hs_addr pc)
{
	struct hs_native_module *module = hs_native_module_at(native, pc);

	if (!module || module->is_crossed)
		return;
	module->is_crossed = true;
	hs_snapshot_gapf(
		native->snapshot, hs_arena_printf(native->arena, "frames inside %s", module->path),
		"which of its functions lie between a system call and the function that "
		"called into it",
		"its code has no unwind information; callers were found by return addresses "
		"on the stack and proved by the calls before them");
}

bool hs_native_step_by_scan(struct hs_native *native, const struct hs_cursor *cursor,
                            hs_addr callee, struct hs_regs *regs, bool *at_end_ret)
{
	hs_addr pc = regs->value[HS_REG_PC];

	if (!cursor->lwp || !hs_regs_has(regs, HS_REG_SP) || !hs_native_module_at(native, pc) ||
	    !hs_musl_is_thread(native->target, cursor->lwp))
		return false;
	if (!cursor->is_activation && (is_in_clone(native, pc) || is_in_entry(native, pc))) {
		*at_end_ret = true;
		return true;
	}
	const struct hs_mapping *stack = hs_module_map_find(native->map, regs->value[HS_REG_SP]);
	struct hs_regs caller;
	struct scan scan = {
		.native = native,
		.lwp = cursor->lwp,
		.budget = MAX_BUDGET,
		.stack_end =
			stack ? stack->end : regs->value[HS_REG_SP] + SCAN_WORDS * sizeof(uint64_t),
	};
	if (native->scans_spent > MAX_SPENT)
		return false;
	bool found = find_caller(&scan, regs, callee, 0, &caller);
	native->scans_spent += 1 + MAX_BUDGET - scan.budget;
	if (!found)
		return false;
	report_crossing(native, pc);
	*regs = caller;
	return true;
}
