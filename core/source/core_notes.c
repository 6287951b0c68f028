// SPDX-License-Identifier: Apache-2.0
/** @file The notes of a core: threads, program, auxiliary vector, mapped files. */

#include <elf.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/procfs.h>

#include "core/base/cleanup.h"
#include "core/limits.h"
#include "core/source/core_file.h"
#include "core/source/elf_image.h"

enum {
	WINDOW = 256 * 1024, // of the notes that is held in memory
	MAX_AUXV = 1024,     // entries; the kernel writes some 20
	NAME_LEN = 5,        // "CORE" and its NUL
	OWN_NAME_LEN = sizeof(HS_SNAPSHOT_OWNER),
};

/** A reader of small pieces by ascending offset. */
struct window {
	const struct core *core;
	uint8_t *bytes;
	uint64_t offset; // in the file, of bytes[0]
	size_t len;
};

/** Borrow @p len (at most WINDOW) bytes at @p offset until the next call; NULL: unreadable. */
static const uint8_t *window_at(struct window *window, uint64_t offset, size_t len)
{
	if (offset < window->offset || offset - window->offset > window->len ||
	    len > window->len - (offset - window->offset)) {
		uint64_t rest = window->core->size - offset;

		if (offset > window->core->size || len > rest)
			return NULL;
		window->offset = offset;
		window->len = rest < WINDOW ? (size_t)rest : WINDOW;
		if (!hs_pread_full(window->core->fd, window->bytes, window->len, offset)) {
			window->len = 0;
			return NULL;
		}
	}
	return window->bytes + (offset - window->offset);
}

static void read_prstatus(struct core *core, const uint8_t *desc, size_t len)
{
	struct core_notes *notes = &core->notes;
	struct elf_prstatus status;

	_Static_assert(sizeof(status.pr_reg) == sizeof(struct user_regs_struct),
	               "the kernel writes struct user_regs_struct there");
	if (len < sizeof(status)) {
		notes->num_bad++;
		return;
	}
	memcpy(&status, desc, sizeof(status));
	if (status.pr_pid <= 0) {
		notes->num_bad++;
		return;
	}
	if (notes->threads.len == HS_MAX_THREADS) {
		notes->capped = true;
		return;
	}
	struct core_thread *thread = hs_vec_push(core->base.arena, &notes->threads);
	if (!thread)
		return;
	memcpy(&thread->regs, &status.pr_reg, sizeof(thread->regs));
	thread->order = notes->threads.len - 1;
	// gcore (bfd/elf64-x86-64.c, elf_x86_64_write_core_note) sets pid, signal and registers
	// alone; every process that the kernel dumps has a parent or a group.
	thread->kernel_wrote_it = status.pr_ppid || status.pr_pgrp || status.pr_sid;
	thread->lwp.tid = status.pr_pid;
	thread->lwp.signo = status.pr_cursig;
	thread->lwp.state = '?';
	int64_t seconds, micros, nanos;
	bool overflow =
		__builtin_add_overflow(status.pr_utime.tv_sec, status.pr_stime.tv_sec, &seconds) ||
		__builtin_mul_overflow(seconds, 1000000, &seconds) ||
		__builtin_add_overflow(status.pr_utime.tv_usec, status.pr_stime.tv_usec, &micros) ||
		__builtin_add_overflow(seconds, micros, &micros) ||
		__builtin_mul_overflow(micros, 1000, &nanos);
	bool known = !overflow && micros >= 0;
	thread->lwp.cpu_ms = known ? micros / 1000 : -1;
	thread->lwp.cpu_ns = known ? nanos : -1;
}

static void read_psinfo(struct core *core, const uint8_t *desc, size_t len)
{
	struct elf_prpsinfo info;

	if (len < sizeof(info)) {
		core->notes.num_bad++;
		return;
	}
	memcpy(&info, desc, sizeof(info));
	core->notes.has_psinfo = true;
	core->notes.pid = info.pr_pid;
	// Neither need be terminated: the buffers have a byte more, which is zero.
	memcpy(core->notes.fname, info.pr_fname, sizeof(info.pr_fname));
	memcpy(core->notes.psargs, info.pr_psargs, sizeof(info.pr_psargs));
}

static void read_siginfo(struct core *core, const uint8_t *desc, size_t len)
{
	int signo; // the first member of siginfo_t

	if (len < sizeof(signo)) {
		core->notes.num_bad++;
		return;
	}
	memcpy(&signo, desc, sizeof(signo));
	if (!core->notes.signo)
		core->notes.signo = signo;
}

static void read_auxv(struct core *core, const uint8_t *desc, size_t len)
{
	for (size_t pos = 0; len - pos >= 2 * sizeof(uint64_t); pos += 2 * sizeof(uint64_t)) {
		uint64_t pair[2];

		memcpy(pair, desc + pos, sizeof(pair));
		if (pair[0] == AT_NULL || core->notes.auxv.len >= 2 * MAX_AUXV)
			break;
		for (int i = 0; i < 2; i++) {
			uint64_t *slot = hs_vec_push(core->base.arena, &core->notes.auxv);

			if (slot)
				*slot = pair[i];
		}
	}
}

uint64_t hs_core_auxv(const struct core *core, uint64_t type)
{
	for (size_t i = 0; i + 1 < core->notes.auxv.len; i += 2) {
		if (core->notes.auxv.items[i] == type)
			return core->notes.auxv.items[i + 1];
	}
	return 0;
}

/** Add one row of NT_FILE. @return false when it makes no sense. */
static bool add_file(struct core *core, const uint64_t row[3], uint64_t page_size, const char *path,
                     size_t path_len)
{
	struct core_notes *notes = &core->notes;
	const struct hs_mapping *before =
		notes->files.len ? &notes->files.items[notes->files.len - 1] : NULL;
	uint64_t offset;

	if (row[0] >= row[1] || !path_len || path_len >= HS_MAX_PATH ||
	    __builtin_mul_overflow(row[2], page_size, &offset))
		return false;
	// A file's mappings follow each other: share the string.
	const char *own = before && !strcmp(before->path, path)
	                          ? before->path
	                          : hs_arena_strndup(core->base.arena, path, path_len);
	struct hs_mapping *mapping = own ? hs_vec_push(core->base.arena, &notes->files) : NULL;
	if (mapping)
		*mapping = (struct hs_mapping){
			.start = row[0],
			.end = row[1],
			.offset = offset,
			.prot = HS_PROT_UNKNOWN,
			.path = own,
			.module = UINT32_MAX,
		};
	return true;
}

/**
 * NT_FILE: count, page size, count rows of {start, end, offset in pages}, count strings
 * (fs/binfmt_elf.c, fill_files_note(); gcore writes page size 1 and bytes).
 */
static void read_files(struct core *core, const uint8_t *desc, size_t len)
{
	struct core_notes *notes = &core->notes;
	uint64_t head[2], row[3], table;

	if (len < sizeof(head)) {
		notes->num_bad++;
		return;
	}
	memcpy(head, desc, sizeof(head));
	if (__builtin_mul_overflow(head[0], sizeof(row), &table) || table > len - sizeof(head) ||
	    !head[1]) {
		notes->num_bad++;
		return;
	}
	notes->has_files = true;
	const char *name = (const char *)desc + sizeof(head) + table;
	const char *end = (const char *)desc + len;
	for (uint64_t i = 0; i < head[0]; i++) {
		const char *nul = memchr(name, 0, (size_t)(end - name));

		if (notes->files.len == HS_MAX_MAPPINGS) {
			notes->capped = true;
			return;
		}
		if (!nul) {
			notes->num_bad++;
			return;
		}
		memcpy(row, desc + sizeof(head) + i * sizeof(row), sizeof(row));
		if (!add_file(core, row, head[1], name, (size_t)(nul - name)))
			notes->num_bad++;
		name = nul + 1;
	}
}

/** NT_FILE may be larger than the window: read it whole. Its size is at most that of the core. */
static struct hs_err *load_files(struct core *core, uint64_t offset, size_t len)
{
	hs_cleanup(hs_freep) uint8_t *desc = malloc(len ? len : 1);

	if (!desc)
		return hs_err_oom();
	if (hs_pread_full(core->fd, desc, len, offset))
		read_files(core, desc, len);
	else
		core->notes.num_bad++;
	return NULL;
}

/** A note of `hangscope snapshot`. */
static struct hs_err *read_own_note(struct core *core, struct window *window, unsigned type,
                                    uint64_t offset, size_t len)
{
	struct hs_snapshot_notes *notes = &core->notes.snapshot;
	const uint8_t *small = type == HS_SNAPSHOT_THREAD && len <= HS_SNAPSHOT_MAX_THREAD
	                               ? window_at(window, offset, len)
	                               : NULL;

	if (small)
		hs_snapshot_note_read_thread(core->base.arena, (const char *)small, len, notes);
	if (small || (type != HS_SNAPSHOT_PROCESS && type != HS_SNAPSHOT_THREAD))
		return NULL; // other types are of a newer version
	if (type == HS_SNAPSHOT_THREAD || len > HS_SNAPSHOT_MAX_PROCESS) {
		notes->num_bad++;
		return NULL;
	}
	hs_cleanup(hs_freep) char *text = malloc(len + 1);
	if (!text)
		return hs_err_oom();
	if (hs_pread_full(core->fd, text, len, offset))
		hs_snapshot_note_read_process(core->base.arena, text, len, notes);
	else
		notes->num_bad++;
	return NULL;
}

static struct hs_err *read_note(struct core *core, struct window *window, unsigned type,
                                uint64_t offset, size_t len)
{
	static const struct {
		unsigned type;
		size_t longest; // more is not looked at
		void (*read)(struct core *core, const uint8_t *desc, size_t len);
	} readers[] = {
		{NT_PRSTATUS, sizeof(struct elf_prstatus),     read_prstatus},
		{NT_PRPSINFO, sizeof(struct elf_prpsinfo),     read_psinfo  },
		{NT_SIGINFO,  sizeof(siginfo_t),               read_siginfo },
		{NT_AUXV,     MAX_AUXV * 2 * sizeof(uint64_t), read_auxv    },
	};

	if (type == NT_FILE && !core->notes.has_files)
		return load_files(core, offset, len);
	for (size_t i = 0; i < sizeof(readers) / sizeof(readers[0]); i++) {
		if (readers[i].type != type)
			continue;
		size_t part = len < readers[i].longest ? len : readers[i].longest;
		const uint8_t *desc = window_at(window, offset, part);

		if (desc)
			readers[i].read(core, desc, part);
		else
			core->notes.num_bad++;
	}
	return NULL;
}

static struct hs_err *read_range(struct core *core, struct window *window, uint64_t offset,
                                 uint64_t len)
{
	uint64_t pos = 0;

	while (len - pos >= sizeof(Elf64_Nhdr)) {
		const uint8_t *head = window_at(window, offset + pos, sizeof(Elf64_Nhdr));
		Elf64_Nhdr nhdr;

		if (!head)
			break;
		memcpy(&nhdr, head, sizeof(nhdr));
		pos += sizeof(nhdr);

		uint64_t name_len = ((uint64_t)nhdr.n_namesz + 3) & ~UINT64_C(3);
		uint64_t desc_len = ((uint64_t)nhdr.n_descsz + 3) & ~UINT64_C(3);
		if (name_len > len - pos || nhdr.n_descsz > len - pos - name_len) {
			// Cut off here by the end of the file, or nonsense: nothing to go on from.
			core->notes.num_bad++;
			break;
		}
		bool is_known = nhdr.n_namesz == NAME_LEN || nhdr.n_namesz == OWN_NAME_LEN;
		const uint8_t *name =
			is_known ? window_at(window, offset + pos, nhdr.n_namesz) : NULL;
		pos += name_len;
		struct hs_err *err = NULL;
		if (name && nhdr.n_namesz == NAME_LEN && !memcmp(name, "CORE", NAME_LEN))
			err = read_note(core, window, nhdr.n_type, offset + pos, nhdr.n_descsz);
		else if (name && nhdr.n_namesz == OWN_NAME_LEN &&
		         !memcmp(name, HS_SNAPSHOT_OWNER, OWN_NAME_LEN))
			err = read_own_note(core, window, nhdr.n_type, offset + pos, nhdr.n_descsz);
		if (err)
			return err;
		pos += desc_len < len - pos ? desc_len : len - pos;
	}
	return NULL;
}

struct hs_err *hs_core_read_notes(struct core *core)
{
	hs_cleanup(hs_freep) uint8_t *bytes = malloc(WINDOW);
	struct window window = {.core = core, .bytes = bytes};
	uint64_t budget = HS_MAX_NOTES;

	if (!bytes)
		return hs_err_oom();
	hs_vec_each (range, &core->note_ranges) {
		uint64_t len = range->len < budget ? range->len : budget;
		struct hs_err *err = read_range(core, &window, range->offset, len);

		if (err)
			return err;
		core->notes.capped |= len < range->len;
		budget -= len;
	}
	return hs_arena_failed(core->base.arena) ? hs_err_oom() : NULL;
}
