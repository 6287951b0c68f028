// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Access: may we look into a process, and if not, which of the kernel's rules forbids it? The facts
 * are gathered from /proc and by calls that touch nothing of the process; the judgement is a pure
 * function of them, in the order in which the kernel asks (__ptrace_may_access() and the security
 * modules). Not installed.
 */
#ifndef HS_ACCESS_H
#define HS_ACCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/base/tristate.h"

enum {
	HS_ACCESS_LABEL = 128, /**< bytes kept of a security label */
	HS_ACCESS_WORDS = 320, /**< enough for hs_access_words() */
};

struct hs_access {
	// ---- we
	uint64_t uid, gid;            /**< effective */
	uint64_t caps;                /**< effective */
	uint64_t bounding;            /**< capabilities that root would have here */
	int yama;                     /**< kernel.yama.ptrace_scope; -1: no Yama */
	bool has_filter;              /**< a seccomp filter is on us */
	enum hs_tristate ptrace_call; /**< ptrace() reaches the kernel */
	enum hs_tristate readv_call;  /**< process_vm_readv() reaches the kernel */
	char label[HS_ACCESS_LABEL];  /**< AppArmor or SELinux, "" when none */
	bool deny_ptrace;             /**< SELinux forbids ptrace to everyone */

	// ---- the process; all zero when there is none
	bool has_process;
	bool has_ids;
	uint64_t uids[3], gids[3]; /**< real, effective, saved */
	uint64_t their_caps;       /**< permitted */
	enum hs_tristate dumpable; /**< unknown when root owns it */
	enum hs_tristate same_user_ns;
	enum hs_tristate below_user_ns; /**< its user namespace is ours, or below ours */
	bool owns_user_ns;              /**< we created that of the process, or one above it */
	enum hs_tristate maps;          /**< /proc/PID/maps opens: PTRACE_MODE_READ */
	enum hs_tristate memory;        /**< /proc/PID/mem opens: PTRACE_MODE_ATTACH */
	enum hs_tristate syscalls;      /**< /proc/PID/syscall can be read */
	pid_t tracer;                   /**< who traces it, 0 nobody */
	char tracer_name[17];
	char their_label[HS_ACCESS_LABEL];
};

/** Why not. By the order in which they are looked for: the first that applies is the reason. */
enum hs_refusal {
	HS_REFUSAL_SECCOMP, /**< our own seccomp filter */
	HS_REFUSAL_YAMA_NOBODY,
	HS_REFUSAL_USER_NAMESPACE,
	HS_REFUSAL_UID,
	HS_REFUSAL_DUMPABLE,
	HS_REFUSAL_CAPABILITIES, /**< it may do things that we may not */
	HS_REFUSAL_YAMA_ADMIN,
	HS_REFUSAL_YAMA_CHILD,
	HS_REFUSAL_TRACED,
	HS_REFUSAL_MODULE, /**< nothing else explains it: AppArmor, SELinux, Landlock… */
	HS_REFUSAL_COUNT,
	HS_REFUSAL_NONE = HS_REFUSAL_COUNT,
};

/** Gather what is known of ourselves. Nothing fails: what cannot be read stays unknown. */
void hs_access_read_self(struct hs_access *access);

/** Gather what is known of the process behind the /proc directory @p proc_fd, and of ourselves. */
void hs_access_read(struct hs_access *access, int proc_fd);

/** The same by number. @return false when there is no /proc/PID that we can see. */
bool hs_access_read_pid(struct hs_access *access, pid_t pid);

/** Have we CAP_SYS_PTRACE where it counts for this process (or: anywhere, without one)? */
bool hs_access_privileged(const struct hs_access *access);

/**
 * Does this rule forbid it? Rules that a privilege lifts do not apply to the privileged, and to a
 * process whose memory we may open only those that the kernel does not ask for that: the filter on
 * us, and a tracer that is there already.
 */
bool hs_access_applies(const struct hs_access *access, enum hs_refusal refusal);

/** The first rule that applies, or HS_REFUSAL_NONE. */
enum hs_refusal hs_access_judge(const struct hs_access *access);

/** "it belongs to uid 0, and we are uid 1000 without CAP_SYS_PTRACE". Raw bytes of names: escape.
 */
void hs_access_words(const struct hs_access *access, enum hs_refusal refusal, char *buf,
                     size_t size);

#endif // HS_ACCESS_H
