// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Target: one stopped program image that can be read. A core file, a live process and an image
 * served by a host (gdb, a test) look the same behind this header. Collectors read a target to
 * fill a snapshot; analyzers and renderers never see it: it is closed before they run.
 */
#ifndef HS_TARGET_H
#define HS_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/base/addr.h"
#include "core/base/arena.h"
#include "core/base/err.h"
#include "core/module_map.h"
#include "core/regs.h"

/**
 * Invariants from open to close: nothing is written to it, and its modules, thread ids, registers
 * and used stacks do not change: a live process runs on, these are a copy from one short pause,
 * and only other memory is read late. Use from one thread at a time.
 */
struct hs_target;

enum hs_target_kind {
	HS_TARGET_CORE,
	HS_TARGET_LIVE,
	HS_TARGET_SNAPSHOT, /**< a core written by `hangscope snapshot` */
	HS_TARGET_HOSTED,
};

/** How a live target was captured. */
enum hs_capture {
	HS_CAPTURE_NONE,    /**< not live */
	HS_CAPTURE_PAUSE,   /**< all threads were held together, while registers and stacks were
	                       copied */
	HS_CAPTURE_STOP,    /**< all were held until everything was read (--stop) */
	HS_CAPTURE_ROLLING, /**< one after the other was held: there is no one moment (--rolling) */
	HS_CAPTURE_NO_STOP, /**< none was held (--no-stop) */
	HS_CAPTURE_PROC,    /**< none, and nothing was read but what /proc tells everybody */
};

enum {
	HS_SYSCALL_ARGS = 6
};

/** One kernel thread of the target. */
struct hs_lwp {
	pid_t tid; /**< as the target's own pid namespace numbers it */
	/** As our namespace numbers it; in a core, as that of who wrote it does: 0 when that is
	 * the target's own. */
	pid_t host_tid;
	bool has_regs;          /**< false: see why_no_regs */
	struct hs_regs regs;    /**< at the pause, or when the core was written */
	hs_addr thread_pointer; /**< fs base; 0 when not known */
	bool in_syscall;        /**< it is inside the system call below */
	long syscall_nr; /**< x86_64 number (restart_syscall resolved where possible), or -1 */
	uint64_t syscall_args[HS_SYSCALL_ARGS];
	char state;     /**< R S D T t Z X as in /proc, '?' when not known */
	char comm[16];  /**< kernel name, "" when not known; raw target bytes, NUL-terminated */
	int64_t cpu_ms; /**< user + system CPU time; -1 when not known */
	int64_t cpu_ns; /**< the same, where it is known finer than in clock ticks; else -1 */
	int signo;      /**< current signal of this thread in a core, 0 if none */
	const char *why_no_regs; /**< NULL, or words for a gap */
	/** Live and in a snapshot, of a thread that was not stopped: the kernel's function that it
	 * sleeps in, and the kernel's stack of it, one function a line. NULL when /proc does not
	 * tell. */
	const char *wchan, *kernel_stack;
};

/** Findings by a key (core/analysis.c): NULL-terminated. */
struct hs_second_look {
	const char *const *confirmed;
	const char *const *dropped; /**< they had moved on */
};

/** What is known of the program as a whole. Strings are raw target bytes. */
struct hs_target_info {
	enum hs_target_kind kind;
	const char *path; /**< of the core, or NULL */
	pid_t pid;        /**< in our namespace when live, in the target's in a core; 0 unknown */
	const char *exe;  /**< as the target names it; NULL when not known */
	const char *const *args; /**< NULL-terminated, or NULL */
	const char *host;        /**< NULL when not known */
	int signo;               /**< signal that killed it, 0 if none */
	int64_t captured_at;     /**< unix seconds; 0 when not known */
	int64_t captured_ms;     /**< unix milliseconds; 0 when not known that exactly (core) */
	int64_t captured_ns;     /**< the target's monotonic clock then; 0 when not known (core) */
	enum hs_capture capture;
	/** How long a live target was held; ROLLING: the thread that was held longest; < 0 for a
	 * core. */
	double pause_ms;
	size_t truncated_bytes; /**< bytes that the core's headers promise and the file lacks */
	/** Memory was read while the program ran on (a live process, a snapshot of one): two words
	 * may be of different moments, and findings need a second look. */
	bool ran_on;
	/** What the second look said when a snapshot was taken, or NULL. Borrowed until close. */
	const struct hs_second_look *second_look;
	const char *unpacked_from; /**< NULL, or the compressed file or bundle of path */
};

struct hs_open_options {
	const char *exe;  /**< executable of a core; NULL: by NT_FILE and build id */
	const char *root; /**< where the target's files are; NULL: /proc/PID/root, or "/" */
	pid_t files_of;   /**< core: the process that it is of lives, and has its files; or 0 */
	const char *debug_dir; /**< separate debug files; NULL: the system's */
	bool keep_stopped;     /**< --stop: until hs_target_close() */
	bool no_stop;          /**< --no-stop: no ptrace at all */
	bool rolling;   /**< --rolling: hold one thread at a time; at most one of the three */
	bool exact_cpu; /**< live: cpu_ns too, at the price of a file read per thread */
	bool record;    /**< live: keep all that is read, for a snapshot */
	/** NULL, or called now and then with words and 0..1 (or -1): for progress on a terminal. */
	void (*progress)(void *arg, const char *what, double fraction);
	void *progress_arg;
};

/**
 * Open a core file, plain or compressed (.zst .xz .gz .lz4: unpacked to an unlinked temporary
 * file), or a bundle (`hangscope bundle`: files of the target are looked for in it first).
 * @param[out] ret The target; the caller closes it. Untouched on error.
 * @return NULL, or HS_ERR_OS, HS_ERR_BAD_DATA, HS_ERR_UNSUPPORTED (foreign machine, 32 bit).
 */
HS_MUST_CHECK struct hs_err *hs_target_open_core(const char *path,
                                                 const struct hs_open_options *options,
                                                 struct hs_target **ret);
/** Is the name of a target a PID: a number? A file that is called like one is ./4711. */
bool hs_target_is_pid(const char *name, pid_t *ret);

/**
 * Pause a process, copy the registers and used stacks of all its threads, and let it run on.
 * @return NULL, or HS_ERR_OS with ESRCH (gone, zombie) or EPERM (see ptrace(2), Yama; traced).
 */
HS_MUST_CHECK struct hs_err *hs_target_open_pid(pid_t pid, const struct hs_open_options *options,
                                                struct hs_target **ret);

/**
 * A process that may not be attached to: what /proc alone tells of it. Its threads have no
 * registers, @p why being the reason (copied), and there is no memory to read and no module.
 * @return NULL, or HS_ERR_OS with ESRCH, or with EPERM where /proc hides it.
 */
HS_MUST_CHECK struct hs_err *hs_target_open_proc(pid_t pid, const char *why,
                                                 struct hs_target **ret);

/** What a host (gdb, a test) provides. All pointers stay valid while the target is open. */
struct hs_host_ops {
	/** All of it or false. */
	bool (*read)(void *host, hs_addr addr, void *buf, size_t len);
	const struct hs_lwp *(*lwps)(void *host, size_t *count_ret);
	const struct hs_module_map *(*modules)(void *host);
	const struct hs_target_info *(*info)(void *host);
};

/** Read through a host that already holds the program stopped. @p host outlives the target. */
HS_MUST_CHECK struct hs_err *hs_target_open_hosted(const struct hs_host_ops *ops, void *host,
                                                   struct hs_target **ret);

/** Resume exactly what open stopped, and free. NULL is a no-op. Ends every borrow. */
void hs_target_close(struct hs_target *target);
void hs_target_closep(struct hs_target **target);

const struct hs_target_info *hs_target_info(const struct hs_target *target);

/** info.pause_ms, or how long a target that is held until close has been held by now. */
double hs_target_held_ms(const struct hs_target *target);

/** Resume what open stopped, before close: what is read from then on is of later. */
void hs_target_release(struct hs_target *target);

/** Mappings and modules. Borrowed until close. */
const struct hs_module_map *hs_target_modules(const struct hs_target *target);

/** Threads, by ascending tid. Borrowed until close. */
const struct hs_lwp *hs_target_lwps(const struct hs_target *target, size_t *count_ret);

/**
 * Read @p len bytes: all of them, or an error and @p buf undefined. In a core, bytes past
 * p_filesz come from the mapped file when its build id matches (private mappings: only ranges that
 * are not writable), and are a fault otherwise. Served from a cache of pages.
 * @return NULL, or HS_ERR_FAULT: a static error, so probing allocates nothing.
 */
HS_MUST_CHECK struct hs_err *hs_target_read(struct hs_target *target, hs_addr addr, void *buf,
                                            size_t len);

/** Shorthands; HS_ERR_FAULT and *ret untouched when it cannot be read. Little-endian targets. */
HS_MUST_CHECK struct hs_err *hs_target_read_u8(struct hs_target *target, hs_addr addr,
                                               uint8_t *ret);
HS_MUST_CHECK struct hs_err *hs_target_read_u16(struct hs_target *target, hs_addr addr,
                                                uint16_t *ret);
HS_MUST_CHECK struct hs_err *hs_target_read_u32(struct hs_target *target, hs_addr addr,
                                                uint32_t *ret);
HS_MUST_CHECK struct hs_err *hs_target_read_u64(struct hs_target *target, hs_addr addr,
                                                uint64_t *ret);

/**
 * Is the part of a stack that @p slot is on missing from the core? gdb's gcore writes zeros for a
 * block of 1 MiB when it cannot read a page of it, and since glibc 2.42 the guard page of a stack
 * may lie within the mapping of its neighbours. A page of a stack in use is never all zeros. For a
 * place where a frame must have left something and there is zero.
 * @return NULL, or HS_ERR_BAD_DATA with words for a gap.
 */
HS_MUST_CHECK struct hs_err *hs_target_check_stack(struct hs_target *target, hs_addr slot);

/**
 * Read much memory in search of something: past the cache, and not for a snapshot. What is found
 * has to be read by hs_target_read() once more. A snapshot lacks pages that only a search has seen.
 * @return NULL, or HS_ERR_FAULT.
 */
HS_MUST_CHECK struct hs_err *hs_target_scan(struct hs_target *target, hs_addr addr, void *buf,
                                            size_t len);

/**
 * Read past the cache and past the copied stacks: what is there now. For confirming a live finding.
 */
HS_MUST_CHECK struct hs_err *hs_target_read_now(struct hs_target *target, hs_addr addr, void *buf,
                                                size_t len);

/**
 * Read a NUL-terminated string of at most @p max bytes before the NUL.
 * @param[out] ret Copy in @p arena. Raw target bytes: escape before printing.
 * @return NULL, HS_ERR_OOM, HS_ERR_FAULT, or HS_ERR_BAD_DATA (no NUL in @p max bytes).
 */
HS_MUST_CHECK struct hs_err *hs_target_read_cstr(struct hs_target *target, hs_addr addr, size_t max,
                                                 struct hs_arena *arena, const char **ret);

/**
 * Live only: is this thread where the capture saw it (same pc and sp, same system call)?
 * Reads /proc/PID/task/TID/syscall; stops nothing.
 * @return NULL and *same_ret; HS_ERR_UNSUPPORTED on a core; HS_ERR_OS when /proc cannot tell.
 */
HS_MUST_CHECK struct hs_err *hs_target_lwp_unmoved(struct hs_target *target, pid_t host_tid,
                                                   bool *same_ret);

/**
 * Live only: how often this thread has been switched out so far. Equal at two moments, and asleep
 * at the second: it did not run in between. Stops nothing.
 * @return NULL and *ret; HS_ERR_UNSUPPORTED on a core; HS_ERR_OS when /proc cannot tell.
 */
HS_MUST_CHECK struct hs_err *hs_target_lwp_switches(struct hs_target *target, pid_t host_tid,
                                                    uint64_t *ret);

/**
 * What a descriptor of the target is open for: a path, "socket:[1234]". NULL when that is not
 * known (a core). Raw target bytes; borrowed until close.
 */
const char *hs_target_fd_link(struct hs_target *target, int fd);

/** A thing of the capture itself that could not be read, for the report. */
struct hs_target_gap {
	const char *subject, *reason, *costs;
};

/** Borrowed until close. */
const struct hs_target_gap *hs_target_gaps(const struct hs_target *target, size_t *count_ret);

/** The core itself, unpacked, to be read at offsets; -1: there is none. Borrowed until close. */
int hs_target_file(const struct hs_target *target);

/**
 * The separate debug file of @p module that came in a bundle; its build id is to be checked.
 * @param[out] path_ret Where it lay when it was packed; borrowed until close.
 * @return A new descriptor, or -1.
 */
int hs_target_open_debug(const struct hs_target *target, const struct hs_module *module,
                         const char **path_ret);

/** Is this the auxiliary vector (/proc/PID/auxv) of the very process that the core is of? */
bool hs_target_is_process(const struct hs_target *target, const void *auxv, size_t len);

#endif // HS_TARGET_H
