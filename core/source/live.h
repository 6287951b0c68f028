// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Live: the parts of the live-process source, which share struct hs_live. live_process.c puts them
 * together; see there for the order of things. Not installed.
 */
#ifndef HS_LIVE_H
#define HS_LIVE_H

#include <stdatomic.h>
#include <sys/user.h>

#include "core/source/proc_text.h"
#include "core/source/source.h"

/** Addresses, and the bytes of them that were copied during the pause. */
struct hs_live_range {
	hs_addr start;
	size_t len;
	const uint8_t *bytes;
};

/** Mappings as one reading of /proc/PID/maps showed them. */
struct hs_live_maps {
	struct hs_mapping *items;
	size_t num;
	bool cut; /**< there were more than HS_MAX_MAPPINGS */
};

enum hs_live_fate {
	HS_LIVE_LISTED,  /**< not attached to */
	HS_LIVE_SEIZED,  /**< attached to, it runs */
	HS_LIVE_STOPPED, /**< it was held: regs and signo are its */
	HS_LIVE_SKIPPED, /**< in an uninterruptible sleep (D), or it did not stop in time */
	HS_LIVE_GONE,    /**< it has ended */
	HS_LIVE_REFUSED, /**< cannot be had: lwp.why_no_regs says why */
};

/** One thread of the target while it is captured. */
struct hs_live_task {
	struct hs_lwp lwp; /**< becomes the record of the target; host_tid is its key here */
	enum hs_live_fate fate;
	int refusal;                   /**< errno of PTRACE_SEIZE, 0 */
	int signo;                     /**< stopped on its way to this signal: deliver it */
	struct user_regs_struct regs;  /**< when STOPPED */
	bool is_parked;                /**< parked is known, and it is not running */
	struct hs_proc_syscall parked; /**< where it sleeps, as /proc shows it */
};

struct hs_live_tasks {
	struct hs_live_task *items; /**< [0, num_sorted) by host_tid, later ones as found */
	size_t num, num_sorted, cap;
	bool cut;         /**< there were more than fit */
	bool own_numbers; /**< the target is in a pid namespace of its own: read NSpid */
};

struct hs_live_capture;

struct hs_live {
	struct hs_source base;
	pid_t pid;   /**< thread group */
	pid_t view;  /**< a living thread of it: the leader, unless that has exited */
	int proc_fd; /**< directory /proc/VIEW (O_PATH): bound to that process, not to its number */
	int mem_fd;  /**< /proc/VIEW/mem: bound to the memory that was seen first */
	int root_fd; /**< what its "/" is, or -1 */
	const char *root_name; /**< of root_fd, for messages */
	bool exact_cpu;        /**< read schedstat of each thread too */
	bool root_is_given;    /**< by the user: inode numbers of a copy prove nothing */
	bool no_process_readv; /**< process_vm_readv() is refused (seccomp): use mem_fd */
	struct hs_live_maps maps;
	struct hs_live_tasks tasks;
	struct hs_live_range *ranges; /**< captured, ascending, disjoint */
	size_t num_ranges;
	size_t kept;  /**< bytes of ranges that were copied one by one, in the arena */
	void *buffer; /**< mmap'ed, all bytes of ranges; one by one: of the one at hand */
	size_t buffer_len;
	struct hs_live_capture *capture; /**< NULL unless the target is held */
	int64_t held_since;              /**< monotonic ns, while it is held */
	atomic_size_t progress;          /**< goes on while the capture does */
};

// ---- live_check.c: may and can it be done; texts below /proc.

/** What is wanted of the process: less is refused when less is wanted. */
enum hs_live_need {
	HS_LIVE_FOR_PROC, /**< the texts below /proc that everybody may read */
	HS_LIVE_FOR_READ, /**< its memory too */
	HS_LIVE_FOR_STOP, /**< a stop */
};

/** Find the process behind @p pid (a thread's id will do) and refuse what cannot be captured. */
HS_MUST_CHECK struct hs_err *hs_live_identify(struct hs_live *live, pid_t pid,
                                              enum hs_live_need need);

/**
 * Error for a refused access, with its probable cause; what helps depends on the place, and the
 * doctor knows it. @p what: "attach to".
 */
HS_MUST_CHECK struct hs_err *hs_live_denied(const struct hs_live *live, const char *what,
                                            int errnum);

/**
 * Read a small text below the directory @p dir_fd, NUL-terminated; what does not fit is cut.
 * @return Its length, or -errno.
 */
ssize_t hs_live_read_text(int dir_fd, const char *name, char *buf, size_t size);

/** Monotonic clock, ns. */
int64_t hs_live_now(void);

// ---- live_explain.c

/** What the kernel says of a thread that has no registers, or sleeps uninterruptibly. */
void hs_live_explain(struct hs_live *live, struct hs_lwp *lwp);

// ---- live_maps.c

/** Read /proc/VIEW/maps. Items live in the arena. */
HS_MUST_CHECK struct hs_err *hs_live_maps_read(struct hs_live *live, struct hs_live_maps *ret);

const struct hs_mapping *hs_live_maps_find(const struct hs_live_maps *maps, hs_addr addr);

/** Not to be touched: device memory, and what the kernel does not let anyone read. */
bool hs_live_maps_forbid(const struct hs_live_maps *maps, hs_addr addr, size_t len);

/** Take over mappings that were read later, keeping the modules of those that are the same. */
void hs_live_maps_refresh(struct hs_live *live, const struct hs_live_maps *fresh);

// ---- live_tasks.c

/** List all threads and read what /proc says about them. */
HS_MUST_CHECK struct hs_err *hs_live_tasks_read(struct hs_live *live);

/** Append the threads that are not known yet. @return how many; 0 too when the list is full. */
size_t hs_live_tasks_update(struct hs_live *live);

/** Threads that the process has now, ended ones included until they are reaped; -1 unknown. */
long hs_live_tasks_count(const struct hs_live *live);

/** Is this a thread of the target still, and not of a process that has its number now? */
bool hs_live_task_exists(const struct hs_live *live, pid_t tid);

/** State letter of a thread now, '\0' when it is gone. */
char hs_live_task_state(const struct hs_live *live, pid_t tid);

/** Where does this thread sleep now? @return false when that cannot be read. */
bool hs_live_task_syscall(const struct hs_live *live, pid_t tid, struct hs_proc_syscall *ret);

/** How often was this thread switched out? @return false when that cannot be read. */
bool hs_live_task_switches(const struct hs_live *live, pid_t tid, uint64_t *ret);

// ---- live_stacks.c: copies of used stacks, and all other reads.

/**
 * Map a buffer, its pages present, for the stacks of the threads whose sp is known so far, or for
 * @p one_by_one.
 */
HS_MUST_CHECK struct hs_err *hs_live_stacks_prepare(struct hs_live *live, bool one_by_one);

/**
 * Copy [sp - 128, end of its mapping) of all stopped and sleeping threads, at most
 * STACK_COPY_NOW of each.
 */
HS_MUST_CHECK struct hs_err *hs_live_stacks_copy(struct hs_live *live);

/**
 * Copy the stack of one stopped thread into the buffer.
 * @return false when its mapping is not known yet.
 */
bool hs_live_stacks_copy_one(struct hs_live *live, const struct hs_live_task *task,
                             struct hs_live_range *ret);

/** Keep what hs_live_stacks_copy_one() copied: the buffer is free for the next then. */
HS_MUST_CHECK struct hs_err *hs_live_stacks_keep(struct hs_live *live,
                                                 const struct hs_live_range *range);

/** After the last one: make them fit for reading. */
void hs_live_stacks_sort(struct hs_live *live);

/** Read the mappings again: a thread started, or a stack grew, since they were read. */
void hs_live_stacks_refresh(struct hs_live *live);

/** hs_source_ops.read and .read_now */
struct hs_err *hs_live_read(struct hs_source *source, hs_addr addr, void *buf, size_t len);
struct hs_err *hs_live_read_now(struct hs_source *source, hs_addr addr, void *buf, size_t len);

/** False when the process has ended, or runs another program since. */
bool hs_live_is_same(const struct hs_live *live);

// ---- live_files.c

/** Open the root directory of the target (failing is a gap), or @p root when it is not NULL. */
HS_MUST_CHECK struct hs_err *hs_live_files_open_root(struct hs_live *live, const char *root);

/** hs_file_opener.open; @p arg is the struct hs_live. */
struct hs_err *hs_live_files_open(void *arg, const struct hs_mapping *mapping, int *fd_ret,
                                  const char **open_path_ret);

// ---- root_file.c

/** Open what the O_PATH descriptor @p path_fd stands for; it must be a regular file. */
HS_MUST_CHECK struct hs_err *hs_root_file_reopen(int path_fd, const char *name, int *fd_ret);

#endif // HS_LIVE_H
