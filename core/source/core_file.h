// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Core file: what the parts of its reader share. core_file.c opens and reads memory,
 * core_headers.c the program headers, core_notes.c the notes, core_maps.c joins both into
 * mappings, core_images.c does without the list of files, core_program.c finds the executable and
 * its arguments. Not installed.
 */
#ifndef HS_CORE_FILE_H
#define HS_CORE_FILE_H

#include <sys/user.h>

#include "core/source/bundle_read.h"
#include "core/source/snapshot_note.h"
#include "core/source/source.h"

/** One PT_LOAD. Bytes of [start, file_end) lie in the core at offset; the rest do not. */
struct core_segment {
	hs_addr start, end;
	hs_addr file_end;
	uint64_t offset;
	unsigned prot; /**< enum hs_prot */
};

/** Memory that is equal to bytes of a file whose build id was checked. */
struct core_backing {
	hs_addr start, end;
	uint64_t offset;
	int fd; /**< borrowed from the module */
};

/** A part of the file. */
struct core_range {
	uint64_t offset, len;
};

/** One NT_PRSTATUS. */
struct core_thread {
	struct hs_lwp lwp;
	struct user_regs_struct regs;
	size_t order; /**< of the notes: the kernel writes the thread that died first */
	bool kernel_wrote_it;
};

/** What the notes say. */
struct core_notes {
	HS_VEC(struct core_thread) threads;
	HS_VEC(struct hs_mapping) files; /**< NT_FILE */
	HS_VEC(uint64_t) auxv;           /**< pairs, without AT_NULL */
	bool has_files;
	bool has_psinfo;
	pid_t pid;
	char fname[17], psargs[81];        /**< NUL-terminated */
	int signo;                         /**< of NT_SIGINFO, 0 if none */
	size_t num_bad;                    /**< notes that make no sense */
	struct hs_snapshot_notes snapshot; /**< our own */
	bool capped; /**< HS_MAX_NOTES, HS_MAX_THREADS or HS_MAX_MAPPINGS reached */
};

struct core {
	struct hs_source base;
	int fd;
	struct hs_bundle *bundle; /**< NULL: it was not packed with files */
	uint64_t size;            /**< of the file */
	const char *path;
	struct core_segment *segments; /**< sorted, disjoint */
	size_t num_segments, last_segment;
	struct core_backing *backings; /**< sorted, disjoint */
	size_t num_backings, last_backing;
	HS_VEC(struct core_range) note_ranges;
	struct core_notes notes;
	struct hs_mapping *mappings;
	size_t num_mappings;
	size_t num_bad_headers; /**< that overlap or make no sense */
	uint64_t lost_notes;    /**< bytes of notes that a truncated file lacks */
	size_t num_images;      /**< found by hs_core_find_images() */
	hs_addr vdso, program;  /**< where it found them, 0 if not */
};

/** Check the ELF header, read the program headers: segments, note_ranges, truncated_bytes. */
HS_MUST_CHECK struct hs_err *hs_core_read_headers(struct core *core);

HS_MUST_CHECK struct hs_err *hs_core_read_notes(struct core *core);

/** Value of an auxiliary vector entry (AT_*), 0 when absent. */
uint64_t hs_core_auxv(const struct core *core, uint64_t type);

/**
 * core_images.c: without NT_FILE, make its rows from the ELF headers in memory and the dynamic
 * linker's list of libraries. @p root_fd: where their files are; @p exe: the program's file, or
 * NULL.
 */
HS_MUST_CHECK struct hs_err *hs_core_find_images(struct core *core, int root_fd, const char *exe);

/** Join NT_FILE and segments into core->mappings. */
HS_MUST_CHECK struct hs_err *hs_core_build_mappings(struct core *core);

/** core_program.c: the mapping of the main program, or NULL. */
const struct hs_mapping *hs_core_main_mapping(const struct core *core);

/** Arguments from the initial stack, else from NT_PRPSINFO; NULL-terminated, or NULL. */
const char *const *hs_core_args(struct core *core);

// ---- core_snapshot.c

/** Lay the notes of a snapshot over what the core says. */
HS_MUST_CHECK struct hs_err *hs_core_apply_snapshot(struct core *core,
                                                    const struct hs_open_options *options);

/** hs_source_ops.fd_link */
const char *hs_core_fd_link(struct hs_source *source, int fd);

/**
 * core_tids.c: where the threads' own control blocks say that they are numbered in another pid
 * namespace than the notes have them, make that the tid, and the notes' the host_tid; sorts anew.
 */
HS_MUST_CHECK struct hs_err *hs_core_own_tids(struct core *core, struct hs_lwp *lwps, size_t num);

#endif // HS_CORE_FILE_H
