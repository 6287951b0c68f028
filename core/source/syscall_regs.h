// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * From the kernel's register set of a stopped thread to hs_regs, and to the system call that the
 * thread is inside of. Shared by cores and live processes. Not installed.
 */
#ifndef HS_SYSCALL_REGS_H
#define HS_SYSCALL_REGS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/user.h>

#include "core/target.h"

enum {
	/** Bytes before the pc that the decoder can use: `mov $nr, %eax; syscall` (5 + 2). */
	HS_SYSCALL_CODE = 7
};

/** Set regs (all valid), has_regs and thread_pointer (fs base). */
void hs_lwp_set_regs(struct hs_lwp *lwp, const struct user_regs_struct *regs);

/**
 * Set in_syscall, syscall_nr and syscall_args (-1 and zeros when it is in none).
 * @param code The @p len bytes of code that end at the pc (code[len - 1] is the byte at pc - 1):
 * HS_SYSCALL_CODE of them where readable, else 2, else 0 (NULL allowed).
 */
void hs_lwp_decode_syscall(struct hs_lwp *lwp, const struct user_regs_struct *regs,
                           const uint8_t *code, size_t len);

#endif // HS_SYSCALL_REGS_H
