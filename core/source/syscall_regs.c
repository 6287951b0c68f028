// SPDX-License-Identifier: Apache-2.0
/** @file Registers of a stopped thread, and the system call it is inside of (x86_64). */

#include "core/source/syscall_regs.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>

void hs_lwp_set_regs(struct hs_lwp *lwp, const struct user_regs_struct *regs)
{
	// DWARF order (x86_64 psABI, figure 3.36) from the order of struct user_regs_struct.
	const uint64_t value[HS_REG_COUNT] = {
		[HS_REG_RAX] = regs->rax, [HS_REG_RDX] = regs->rdx, [HS_REG_RCX] = regs->rcx,
		[HS_REG_RBX] = regs->rbx, [HS_REG_RSI] = regs->rsi, [HS_REG_RDI] = regs->rdi,
		[HS_REG_FP] = regs->rbp,  [HS_REG_SP] = regs->rsp,  [HS_REG_R8] = regs->r8,
		[HS_REG_R9] = regs->r9,   [HS_REG_R10] = regs->r10, [HS_REG_R11] = regs->r11,
		[HS_REG_R12] = regs->r12, [HS_REG_R13] = regs->r13, [HS_REG_R14] = regs->r14,
		[HS_REG_R15] = regs->r15, [HS_REG_PC] = regs->rip,
	};

	memcpy(lwp->regs.value, value, sizeof(value));
	lwp->regs.valid = (UINT32_C(1) << HS_REG_COUNT) - 1;
	lwp->has_regs = true;
	lwp->thread_pointer = regs->fs_base;
}

/**
 * Codes that the kernel leaves in rax while a system call is interrupted by a stop (linux/errno.h):
 * ERESTARTSYS, ERESTARTNOINTR, ERESTARTNOHAND, ERESTART_RESTARTBLOCK. Programs never see them.
 */
static bool is_restart_code(int64_t rax)
{
	return rax == -512 || rax == -513 || rax == -514 || rax == -516;
}

static bool ends_with_syscall(const uint8_t *code, size_t len)
{
	return len >= 2 && code[len - 2] == 0x0f && code[len - 1] == 0x05;
}

/** The number that `mov $nr, %eax` (b8 imm32) right before the syscall instruction loads, or -1. */
static long number_in_code(const uint8_t *code, size_t len)
{
	enum {
		// x86_64 has under 500 calls and x32 sets bit 30: more is not this instruction.
		PLAUSIBLE_CALLS = 4096
	};
	uint32_t nr;

	if (len < HS_SYSCALL_CODE || code[len - HS_SYSCALL_CODE] != 0xb8)
		return -1;
	memcpy(&nr, &code[len - HS_SYSCALL_CODE + 1], sizeof(nr));
	return nr < PLAUSIBLE_CALLS ? (long)nr : -1;
}

void hs_lwp_decode_syscall(struct hs_lwp *lwp, const struct user_regs_struct *regs,
                           const uint8_t *code, size_t len)
{
	int64_t nr = (int64_t)regs->orig_rax, rax = (int64_t)regs->rax;

	lwp->in_syscall = false;
	lwp->syscall_nr = -1;
	memset(lwp->syscall_args, 0, sizeof(lwp->syscall_args));
	if (nr < 0)
		return;
	// EINTR is a value that programs do see, so it needs the code's word for it; the restart
	// codes do not, and stand alone where the code is not in the core.
	if (len < 2 ? !is_restart_code(rax)
	            : !ends_with_syscall(code, len) || (!is_restart_code(rax) && rax != -EINTR))
		return;

	// Stopped once before, a timed wait goes on as restart_syscall, with its own arguments
	// still in the registers: the code says which call it was.
	if (nr == SYS_restart_syscall) {
		long real = number_in_code(code, len);

		if (real >= 0)
			nr = real;
	}
	const uint64_t args[HS_SYSCALL_ARGS] = {regs->rdi, regs->rsi, regs->rdx,
	                                        regs->r10, regs->r8,  regs->r9};

	lwp->in_syscall = true;
	lwp->syscall_nr = (long)nr;
	memcpy(lwp->syscall_args, args, sizeof(args));
}
