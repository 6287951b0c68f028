// SPDX-License-Identifier: Apache-2.0
/** @file The notes of a snapshot: those that the kernel writes into a core, and our own. */

#include <elf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/procfs.h>
#include <sys/user.h>

#include "core/base/cleanup.h"
#include "core/capture/capture_internal.h"
#include "core/source/snapshot_note.h"

enum {
	FILE_PAGE = 4096, // unit of the offsets in NT_FILE
};

static void add_padding(struct hs_blob *blob)
{
	static const uint8_t zeros[4];

	hs_blob_add(blob, zeros, -blob->len & 3);
}

static void add_note(struct hs_blob *blob, const char *owner, unsigned type, const void *desc,
                     size_t len)
{
	const Elf64_Nhdr head = {
		.n_namesz = (Elf64_Word)strlen(owner) + 1,
		.n_descsz = (Elf64_Word)len,
		.n_type = type,
	};

	blob->failed |= len > UINT32_MAX;
	hs_blob_add(blob, &head, sizeof(head));
	hs_blob_add(blob, owner, head.n_namesz);
	add_padding(blob);
	hs_blob_add(blob, desc, len);
	add_padding(blob);
}

/** Index of the thread that the process has its number from; that of the first without one. */
static size_t leader_of(const struct hs_source *source)
{
	for (size_t i = 0; i < source->num_lwps; i++) {
		if (source->lwps[i].host_tid == source->info.pid)
			return i;
	}
	return 0;
}

static void add_thread(const struct hs_source *source, size_t index, struct hs_blob *blob)
{
	const struct user_regs_struct *regs = source->raw_regs ? source->raw_regs[index] : NULL;
	const struct hs_lwp *lwp = &source->lwps[index];
	hs_cleanup(hs_freep) char *own = hs_snapshot_note_thread(lwp);

	if (regs) {
		struct elf_prstatus status = {.pr_pid = lwp->tid};

		_Static_assert(sizeof(status.pr_reg) == sizeof(*regs), "what the kernel has there");
		memcpy(&status.pr_reg, regs, sizeof(*regs));
		add_note(blob, "CORE", NT_PRSTATUS, &status, sizeof(status));
	}
	if (own)
		add_note(blob, HS_SNAPSHOT_OWNER, HS_SNAPSHOT_THREAD, own, strlen(own));
	else
		blob->failed = true;
}

static void add_program(const struct hs_source *source, struct hs_blob *blob)
{
	const char *const *args = source->info.args;
	struct elf_prpsinfo info = {.pr_sname = '?'};
	size_t used = 0;

	if (source->num_lwps) {
		const struct hs_lwp *leader = &source->lwps[leader_of(source)];

		info.pr_pid = leader->tid;
		info.pr_sname = leader->state;
		memcpy(info.pr_fname, leader->comm, sizeof(info.pr_fname) - 1);
	}
	for (size_t i = 0; args && args[i] && used < sizeof(info.pr_psargs) - 1; i++) {
		size_t room = sizeof(info.pr_psargs) - 1 - used, len = strlen(args[i]);

		if (i) {
			info.pr_psargs[used++] = ' ';
			room--;
		}
		len = len < room ? len : room;
		memcpy(info.pr_psargs + used, args[i], len);
		used += len;
	}
	add_note(blob, "CORE", NT_PRPSINFO, &info, sizeof(info));
}

static void add_auxv(const struct hs_source *source, struct hs_blob *blob)
{
	static const uint64_t end[2];
	struct hs_blob auxv = {0};

	hs_blob_add(&auxv, source->auxv.items, source->auxv.len * sizeof(*source->auxv.items));
	hs_blob_add(&auxv, end, sizeof(end));
	blob->failed |= auxv.failed;
	if (source->auxv.len)
		add_note(blob, "CORE", NT_AUXV, auxv.bytes, auxv.len);
	hs_blob_deinit(&auxv);
}

/** NT_FILE (fs/binfmt_elf.c, fill_files_note()). */
static void add_files(const struct hs_source *source, struct hs_blob *blob)
{
	const struct hs_module_map *map = &source->modules;
	struct hs_blob rows = {0}, names = {0};
	uint64_t head[2] = {0, FILE_PAGE};

	for (size_t i = 0; i < map->num_mappings; i++) {
		const struct hs_mapping *mapping = &map->mappings[i];
		const uint64_t row[3] = {mapping->start, mapping->end, mapping->offset / FILE_PAGE};

		if (mapping->path[0] != '/')
			continue;
		head[0]++;
		hs_blob_add(&rows, row, sizeof(row));
		hs_blob_add(&names, mapping->path, strlen(mapping->path) + 1);
	}

	struct hs_blob desc = {0};
	hs_blob_add(&desc, head, sizeof(head));
	hs_blob_add(&desc, rows.bytes, rows.len);
	hs_blob_add(&desc, names.bytes, names.len);
	blob->failed |= rows.failed || names.failed || desc.failed;
	add_note(blob, "CORE", NT_FILE, desc.bytes, desc.len);
	hs_blob_deinit(&rows);
	hs_blob_deinit(&names);
	hs_blob_deinit(&desc);
}

struct hs_err *hs_capture_notes(const struct hs_source *source,
                                const struct hs_second_look *second_look, const char *tool,
                                struct hs_blob *blob)
{
	hs_cleanup(hs_freep) char *own = hs_snapshot_note_process(source, second_look, tool);
	size_t leader = leader_of(source);

	if (!own)
		return hs_err_oom();
	// gdb begins with the thread that comes first.
	if (source->num_lwps)
		add_thread(source, leader, blob);
	add_program(source, blob);
	add_auxv(source, blob);
	add_files(source, blob);
	add_note(blob, HS_SNAPSHOT_OWNER, HS_SNAPSHOT_PROCESS, own, strlen(own));
	for (size_t i = 0; i < source->num_lwps; i++) {
		if (i != leader)
			add_thread(source, i, blob);
	}
	return blob->failed ? hs_err_oom() : NULL;
}
