// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Parsers of the texts below /proc/PID: maps, stat, status, syscall, cmdline. Pure functions over
 * bytes; what they do not understand they refuse. Not installed.
 */
#ifndef HS_PROC_TEXT_H
#define HS_PROC_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/base/arena.h"
#include "core/module_map.h"
#include "core/target.h"

/**
 * Parse /proc/PID/maps: ascending and disjoint mappings, paths with "\012" turned back into a
 * newline and " (deleted)" kept, devices as st_dev shows them. Lines that make no sense, and what
 * overlaps an earlier line (the file is read in pieces, while the target runs), are left out.
 * @param text NUL-terminated at text[len].
 * @param[out] ret, num_ret In @p arena, at most HS_MAX_MAPPINGS.
 * @param[out] cut_ret True when there were more.
 * @return NULL or HS_ERR_OOM.
 */
HS_MUST_CHECK struct hs_err *hs_proc_text_maps(struct hs_arena *arena, const char *text, size_t len,
                                               struct hs_mapping **ret, size_t *num_ret,
                                               bool *cut_ret);

/** Of /proc/PID/stat or /proc/PID/task/TID/stat, proc_pid_stat(5). */
struct hs_proc_stat {
	char comm[16]; /**< raw, cut to 15 bytes */
	char state;
	pid_t ppid;
	unsigned flags;        /**< PF_* of linux/sched.h */
	uint64_t utime, stime; /**< clock ticks */
	long num_threads;
};

/** @return false, and @p ret untouched, when @p text is no such line. */
bool hs_proc_text_stat(const char *text, struct hs_proc_stat *ret);

/** Where a thread is, from /proc/PID/task/TID/syscall, proc_pid_syscall(5). */
struct hs_proc_syscall {
	bool running; /**< on a CPU: nothing else is known */
	long nr;      /**< -1: blocked, but in no system call */
	uint64_t args[HS_SYSCALL_ARGS];
	hs_addr sp, pc;
};

bool hs_proc_text_syscall(const char *text, struct hs_proc_syscall *ret);

/** Same place, same call, same first argument: neither runs. restart_syscall stands for what it
 * goes on with. */
bool hs_proc_syscall_same(const struct hs_proc_syscall *a, const struct hs_proc_syscall *b);

/** First number of the field "name:" of /proc/PID/status, in @p base (10 or 16). */
bool hs_proc_text_status(const char *text, const char *name, int base, uint64_t *ret);

/**
 * The last number of the field, and how many there are: NSpid has one per nested pid namespace,
 * from the one of the reader to the thread's own.
 */
bool hs_proc_text_status_last(const char *text, const char *name, uint64_t *ret, size_t *count_ret);

/** Split NUL-terminated strings (cmdline) into a NULL-terminated array. NULL when out of memory. */
const char *const *hs_proc_text_args(struct hs_arena *arena, const char *text, size_t len);

#endif // HS_PROC_TEXT_H
