// SPDX-License-Identifier: Apache-2.0
/** @file Core files: memory from the segments, or from mapped files whose build id matches. */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE // O_PATH
#endif
#include "core/source/core_file.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/cleanup.h"
#include "core/source/elf_image.h"
#include "core/source/live.h"
#include "core/source/syscall_regs.h"

// ---- reading

/** Index of the first segment that ends after @p addr. */
static size_t segment_after(struct core *core, hs_addr addr)
{
	size_t low = 0, high = core->num_segments;

	if (core->last_segment < core->num_segments) {
		const struct core_segment *last = &core->segments[core->last_segment];

		if (hs_addr_in(addr, last->start, last->end))
			return core->last_segment;
	}
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (core->segments[middle].end <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	core->last_segment = low;
	return low;
}

static const struct core_backing *backing_at(struct core *core, hs_addr addr)
{
	size_t low = 0, high = core->num_backings;

	if (core->last_backing < core->num_backings) {
		const struct core_backing *last = &core->backings[core->last_backing];

		if (hs_addr_in(addr, last->start, last->end))
			return last;
	}
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (core->backings[middle].end <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == core->num_backings || addr < core->backings[low].start)
		return NULL;
	core->last_backing = low;
	return &core->backings[low];
}

/** Read from a mapped file; the rest of its last page is zero. */
static bool read_backing(const struct core_backing *backing, hs_addr addr, uint8_t *buf, size_t len)
{
	uint64_t offset = backing->offset + (addr - backing->start);
	ssize_t got;

	for (; len; buf += got, len -= (size_t)got, offset += (uint64_t)got) {
		got = pread(backing->fd, buf, len, (off_t)offset);
		if (got < 0)
			return false;
		if (!got) {
			memset(buf, 0, len);
			return true;
		}
	}
	return true;
}

/** What cannot be read: not there, or there and not in the snapshot? */
static struct hs_err *missing(const struct core *core, const struct core_segment *segment,
                              hs_addr addr)
{
	return core->notes.snapshot.present && segment &&
	                       hs_addr_in(addr, segment->start, segment->end)
	               ? hs_err_not_captured()
	               : hs_err_fault();
}

static struct hs_err *core_read(struct hs_source *source, hs_addr addr, void *buf, size_t len)
{
	struct core *core = (struct core *)source;
	size_t part;

	if (hs_addr_wraps(addr, len))
		return hs_err_fault();
	for (uint8_t *out = buf; len; out += part, addr += part, len -= part) {
		size_t index = segment_after(core, addr);
		const struct core_segment *segment =
			index < core->num_segments ? &core->segments[index] : NULL;
		hs_addr end = UINT64_MAX; // of what can be read from one place

		if (segment && addr >= segment->start && addr < segment->file_end) {
			end = segment->file_end;
			part = len < end - addr ? len : (size_t)(end - addr);
			if (!hs_pread_full(core->fd, out, part,
			                   segment->offset + (addr - segment->start)))
				return hs_err_fault();
			continue;
		}
		if (segment)
			end = addr < segment->start ? segment->start : segment->end;

		const struct core_backing *backing = backing_at(core, addr);
		if (!backing)
			return missing(core, segment, addr);
		if (backing->end < end)
			end = backing->end;
		part = len < end - addr ? len : (size_t)(end - addr);
		if (!read_backing(backing, addr, out, part))
			return hs_err_fault();
	}
	return NULL;
}

static void core_close(struct hs_source *source)
{
	struct core *core = (struct core *)source;

	if (core->fd >= 0)
		close(core->fd);
	hs_bundle_close(core->bundle);
	free(core);
}

static int core_file(const struct hs_source *source)
{
	return ((const struct core *)source)->fd;
}

static int core_open_debug(const struct hs_source *source, const struct hs_module *module,
                           const char **path_ret)
{
	const struct core *core = (const struct core *)source;

	return hs_bundle_open_debug(core->bundle, module->build_id, module->build_id_len, path_ret);
}

/** The vector holds addresses that the kernel draws for each program that it starts. */
static bool core_is_process(const struct hs_source *source, const void *auxv, size_t len)
{
	const struct core *core = (const struct core *)source;
	size_t own = core->notes.auxv.len * sizeof(uint64_t);

	return own && own <= len && hs_core_auxv(core, AT_RANDOM) &&
	       !memcmp(auxv, core->notes.auxv.items, own);
}

static const struct hs_source_ops core_ops = {
	.name = "core",
	.read = core_read,
	.file = core_file,
	.open_debug = core_open_debug,
	.is_process = core_is_process,
	.fd_link = hs_core_fd_link,
	.close = core_close,
};

// ---- files

struct file_opener {
	struct core *core;
	int root_fd;
	const struct hs_mapping *main; // NULL: not known
	const char *exe;               // options.exe
	pid_t files_of;                // options.files_of
	const char *root;              // for messages, "" when it is "/"
	struct hs_arena *arena;
};

/** The file that was packed with the core, or -1: by build id where the memory says it. */
static int open_packed(const struct file_opener *opener, const struct hs_mapping *mapping,
                       size_t path_len)
{
	struct core *core = opener->core;
	uint8_t id[HS_BUILD_ID_MAX];

	if (!core->bundle)
		return -1;
	size_t id_len = hs_build_id_of_memory(&core->base, mapping->start, id);
	return hs_bundle_open_file(core->bundle, id, id_len, mapping->path, path_len);
}

static struct hs_err *open_regular(const char *path, int *fd_ret, struct stat *st)
{
	hs_cleanup(hs_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return hs_err_os(errno, "cannot open %s", path);
	if (fstat(fd, st))
		return hs_err_os(errno, "cannot look at %s", path);
	if (!S_ISREG(st->st_mode))
		return hs_err_new(HS_ERR_BAD_DATA, "%s is %s, not a file", path,
		                  S_ISDIR(st->st_mode) ? "a directory"
		                                       : "a device, pipe or socket");
	*fd_ret = fd;
	fd = -1;
	return NULL;
}

/** The path with newlines in place of "\\012": gcore copies it from maps as the kernel shows it. */
static char *unescape(struct hs_arena *arena, const char *path)
{
	char *ret = hs_arena_strdup(arena, path);

	for (char *at = ret; at && (at = strstr(at, "\\012")); at++) {
		*at = '\n';
		memmove(at + 1, at + 4, strlen(at + 4) + 1);
	}
	return ret;
}

/** Open the first @p len bytes of the mapping's path below the root. */
static struct hs_err *open_below(struct file_opener *opener, const struct hs_mapping *mapping,
                                 size_t len, int *fd_ret, const char **open_path_ret)
{
	char *path = hs_arena_strndup(opener->arena, mapping->path, len);
	struct hs_err *err;

	if (!path)
		return hs_err_oom();
	err = hs_root_file_open(opener->root_fd, path, fd_ret);
	if (err && hs_err_code(err) == HS_ERR_ABSENT && strstr(path, "\\012")) {
		hs_err_free(err);
		path = unescape(opener->arena, path);
		err = path ? hs_root_file_open(opener->root_fd, path, fd_ret) : hs_err_oom();
	}
	if (err)
		return err;
	*open_path_ret = hs_arena_printf(opener->arena, "%s%s", opener->root, path);
	if (*open_path_ret)
		return NULL;
	close(*fd_ret);
	*fd_ret = -1;
	return hs_err_oom();
}

static bool reopen(const char *path, int flags, int *fd_ret)
{
	hs_cleanup(hs_closep) int path_fd = open(path, O_PATH | O_CLOEXEC | flags);
	struct hs_err *err =
		path_fd < 0 ? hs_err_absent() : hs_root_file_reopen(path_fd, path, fd_ret);

	hs_err_free(err);
	return !err;
}

/** The kernel's own link to what a living process has mapped there; for the privileged. */
static bool open_living(const struct file_opener *opener, const struct hs_mapping *mapping,
                        int *fd_ret, const char **open_path_ret)
{
	const char *link = hs_arena_printf(
		opener->arena, "/proc/%ld/map_files/%llx-%llx", (long)opener->files_of,
		(unsigned long long)mapping->start, (unsigned long long)mapping->end);

	*open_path_ret = link;
	return opener->files_of && link && reopen(link, 0, fd_ret);
}

/** By its path as we see it: what the kernel shows of a living process with a root inside ours. */
static bool open_plain(const struct file_opener *opener, const struct hs_mapping *mapping,
                       int *fd_ret, const char **open_path_ret)
{
	*open_path_ret = mapping->path;
	return opener->files_of && reopen(mapping->path, O_NOFOLLOW, fd_ret);
}

static struct hs_err *open_mapped(void *arg, const struct hs_mapping *mapping, int *fd_ret,
                                  const char **open_path_ret)
{
	static const char deleted[] = " (deleted)";
	struct file_opener *opener = arg;
	size_t len = strlen(mapping->path), suffix = sizeof(deleted) - 1;
	bool is_deleted = len > suffix && !strcmp(mapping->path + len - suffix, deleted);
	size_t short_len = is_deleted ? len - suffix : len;
	struct stat st;

	if (opener->exe && opener->main && !strcmp(opener->main->path, mapping->path)) {
		*open_path_ret = opener->exe;
		return open_regular(opener->exe, fd_ret, &st);
	}
	*fd_ret = open_packed(opener, mapping, short_len);
	if (*fd_ret >= 0) {
		*open_path_ret = opener->core->path;
		return NULL;
	}
	if (open_living(opener, mapping, fd_ret, open_path_ret))
		return NULL;
	struct hs_err *err = open_below(opener, mapping, len, fd_ret, open_path_ret);
	if (err && open_plain(opener, mapping, fd_ret, open_path_ret)) {
		hs_err_free(err);
		return NULL;
	}
	if (!err || hs_err_code(err) != HS_ERR_ABSENT || !is_deleted)
		return err;
	// What lies where a deleted file was may still be the same build.
	hs_err_free(err);
	return open_below(opener, mapping, short_len, fd_ret, open_path_ret);
}

static struct hs_err *open_root(const struct hs_open_options *options, int *fd_ret)
{
	const char *root = options->root ? options->root : "/";
	int fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return hs_err_os(errno, "cannot open the root directory %s", root);
	*fd_ret = fd;
	return NULL;
}

static struct hs_err *build_modules(struct core *core, const struct hs_open_options *options,
                                    int root_fd, const struct hs_mapping *main)
{
	struct file_opener files = {
		.core = core,
		.root_fd = root_fd,
		.main = main,
		.exe = options->exe,
		.files_of = options->files_of,
		.root = options->root ? options->root : "",
		.arena = core->base.arena,
	};
	const struct hs_file_opener opener = {.open = open_mapped, .arg = &files};

	struct hs_err *err =
		hs_modules_build(&core->base, core->mappings, core->num_mappings, &opener);
	hs_bundle_drop_files(core->bundle);
	return err;
}

/** The given executable must be the one that ran. */
static struct hs_err *check_exe(struct core *core, const struct hs_open_options *options,
                                const struct hs_mapping *main)
{
	uint8_t id[HS_BUILD_ID_MAX];
	hs_cleanup(hs_closep) int fd = -1;
	struct stat st;

	if (!options->exe)
		return NULL;
	struct hs_err *err = open_regular(options->exe, &fd, &st);
	if (err)
		return err;
	if (!main) {
		hs_source_gap(&core->base, options->exe,
		              "function names and unwinding of the main program",
		              "the core does not say where the main program was mapped");
		return NULL;
	}
	const struct hs_module *module = hs_module_map_module(&core->base.modules, main->start);
	if (!module || module->state != HS_MODULE_MISMATCH)
		return NULL;

	const char *core_id =
		hs_build_id_words(core->base.arena, module->build_id, module->build_id_len);
	const char *exe_id = hs_build_id_words(core->base.arena, id, hs_build_id_of_fd(fd, id));
	return hs_err_new(HS_ERR_BAD_DATA,
	                  "%s is not the program of this core: its build id is %s, the core's %s "
	                  "is of build id %s",
	                  options->exe, exe_id ? exe_id : "?", module->path,
	                  core_id ? core_id : "?");
}

// ---- memory that the core leaves to the mapped files

/** Address of the first page that a writable segment of @p image has in [start, end), or @p end. */
static hs_addr first_writable(const struct hs_module *module, const struct hs_elf_image *image,
                              hs_addr start, hs_addr end)
{
	for (size_t i = 0; i < image->num_loads; i++) {
		const struct hs_elf_load *load = &image->loads[i];
		hs_addr low = (module->bias + load->vaddr) & ~(hs_addr)(HS_PAGE - 1);

		if (load->flags & PF_W && low < end && low + (load->memsz + HS_PAGE) > start)
			end = low > start ? low : start;
	}
	return end;
}

/**
 * Add the part of one mapping that one read-only segment of the file covers. A segment that is
 * writable was changed by the loader (relocations, also where it is read-only afterwards).
 */
static void add_backing(struct core *core, const struct hs_mapping *mapping,
                        const struct hs_module *module, const struct hs_elf_image *image,
                        const struct hs_elf_load *load, uint64_t file_size)
{
	const uint64_t mask = HS_PAGE - 1;
	const struct core_backing *before =
		core->num_backings ? &core->backings[core->num_backings - 1] : NULL;
	uint64_t low = load->offset & ~mask, high, mapped_end;

	if (load->flags & PF_W ||
	    mapping->start - mapping->offset != module->bias + load->vaddr - load->offset ||
	    __builtin_add_overflow(load->offset, load->filesz, &high) || file_size > INT64_MAX ||
	    __builtin_add_overflow(mapping->offset, mapping->end - mapping->start, &mapped_end))
		return;
	high = ((high < file_size ? high : file_size) + mask) & ~mask;
	high = high < mapped_end ? high : mapped_end;
	low = low > mapping->offset ? low : mapping->offset;
	if (low >= high)
		return;

	hs_addr start = mapping->start + (low - mapping->offset);
	hs_addr end = first_writable(module, image, start, start + (high - low));
	// Two segments of the file may share a page.
	if (before && start < before->end) {
		low += before->end - start;
		start = before->end;
	}
	if (start >= end)
		return;
	core->backings[core->num_backings++] = (struct core_backing){
		.start = start,
		.end = end,
		.offset = low,
		.fd = module->fd,
	};
}

/** Add what the file of a mapping's module gives for it. */
static void add_backings(struct core *core, size_t cap, const struct hs_mapping *mapping,
                         const struct hs_module *module, const struct hs_elf_image *image,
                         uint64_t file_size)
{
	for (size_t i = 0; i < image->num_loads && core->num_backings < cap; i++)
		add_backing(core, mapping, module, image, &image->loads[i], file_size);
}

static struct hs_err *build_backings(struct core *core)
{
	const struct hs_module_map *map = &core->base.modules;
	size_t cap = 0;

	// A mapping covers one segment of the file, or two that lie in one page.
	for (size_t i = 0; i < map->num_mappings; i++)
		cap += map->mappings[i].module < map->num_modules ? 2 : 0;
	core->backings = hs_arena_calloc(core->base.arena, cap, sizeof(*core->backings));
	if (!core->backings)
		return hs_err_oom();

	uint32_t current = UINT32_MAX; // the module that image and st are of
	struct hs_elf_image image = {0};
	struct stat st = {0};
	for (size_t i = 0; i < map->num_mappings; i++) {
		const struct hs_mapping *mapping = &map->mappings[i];

		if (mapping->module >= map->num_modules || mapping->prot & HS_PROT_WRITE)
			continue;
		const struct hs_module *module = &map->modules[mapping->module];
		const struct hs_elf_reader reader = {.fd = module->fd};

		if (!module->build_id_checked)
			continue;
		if (mapping->module != current) {
			current = UINT32_MAX; // a failed read spoils image
			if (fstat(module->fd, &st) ||
			    hs_elf_image_read(&reader, &image) != HS_ELF_IMAGE)
				continue;
			current = mapping->module;
		}
		add_backings(core, cap, mapping, module, &image, (uint64_t)st.st_size);
	}
	return NULL;
}

// ---- threads

static int compare_threads(const void *a, const void *b)
{
	const struct core_thread *x = a, *y = b;

	if (x->lwp.tid != y->lwp.tid)
		return x->lwp.tid < y->lwp.tid ? -1 : 1;
	return (x->order > y->order) - (x->order < y->order);
}

static void decode_syscall(struct core *core, struct core_thread *thread)
{
	uint8_t code[HS_SYSCALL_CODE];
	size_t len = sizeof(code);

	for (; len; len = len > 2 ? 2 : 0) {
		struct hs_err *err = core_read(&core->base, thread->regs.rip - len, code, len);

		hs_err_free(err);
		if (!err)
			break;
	}
	hs_lwp_decode_syscall(&thread->lwp, &thread->regs, code, len);
}

/**
 * What only one kind of writer fills in. The kernel gives the signal of the process to all its
 * threads (binfmt_elf.c, fill_thread_core_info()), the one that got it first, and its CPU time to
 * the leader (fill_prstatus()); gcore the signal that it saw last, SIGSTOP or SIGTRAP when it
 * attached, and no times.
 */
static void settle_thread(const struct core *core, struct core_thread *thread, bool by_kernel)
{
	struct hs_lwp *lwp = &thread->lwp;
	bool stopped_only = lwp->signo == SIGSTOP || (!by_kernel && lwp->signo == SIGTRAP);

	if (thread->order || stopped_only || lwp->signo < 0)
		lwp->signo = 0;
	if (!by_kernel || lwp->tid == core->base.info.pid)
		lwp->cpu_ms = lwp->cpu_ns = -1;
	if (lwp->tid == core->base.info.pid)
		memcpy(lwp->comm, core->notes.fname, sizeof(lwp->comm) - 1);
}

static struct hs_err *build_lwps(struct core *core)
{
	struct core_notes *notes = &core->notes;
	struct core_thread *threads = notes->threads.items;
	struct hs_lwp *lwps = hs_arena_calloc(core->base.arena, notes->threads.len, sizeof(*lwps));
	bool by_kernel = false;

	if (!lwps)
		return hs_err_oom();
	hs_vec_each (thread, &notes->threads)
		by_kernel |= thread->kernel_wrote_it;
	if (notes->threads.len)
		qsort(threads, notes->threads.len, sizeof(*threads), compare_threads);
	hs_vec_each (thread, &notes->threads) {
		if (core->base.num_lwps && lwps[core->base.num_lwps - 1].tid == thread->lwp.tid) {
			notes->num_bad++;
			continue;
		}
		settle_thread(core, thread, by_kernel);
		if (!thread->order)
			core->base.info.signo = thread->lwp.signo;
		hs_lwp_set_regs(&thread->lwp, &thread->regs);
		decode_syscall(core, thread);
		lwps[core->base.num_lwps++] = thread->lwp;
	}
	core->base.lwps = lwps;
	// A snapshot has both numbers in notes of its own.
	struct hs_err *err = core->notes.snapshot.present
	                             ? NULL
	                             : hs_core_own_tids(core, lwps, core->base.num_lwps);
	if (err)
		return err;
	if (by_kernel && !core->base.info.signo && notes->signo > 0)
		core->base.info.signo = notes->signo;
	return NULL;
}

// ---- open

static void fill_info(struct core *core, const struct stat *st)
{
	struct hs_target_info *info = &core->base.info;

	info->kind = HS_TARGET_CORE;
	info->path = core->path;
	info->captured_at = st->st_mtime;
	info->pause_ms = -1;
	info->pid = core->notes.pid;
	// Without NT_PRPSINFO: the leader has the lowest tid, unless tids wrapped around.
	hs_vec_each (thread, &core->notes.threads) {
		if (!core->notes.has_psinfo && (!info->pid || thread->lwp.tid < info->pid))
			info->pid = thread->lwp.tid;
	}
}

/** What explains all else that is missing: first in the report. */
static void add_first_gap(struct core *core)
{
	struct hs_source *source = &core->base;

	if (core->lost_notes && !core->notes.threads.len)
		hs_source_gap(
			source, core->path,
			"all threads and stacks: no lock that native code or the kernel knows of",
			"the core has no threads: it is cut off (%zu bytes are missing), and the "
			"list of them was in the part that is lost, since gdb's gcore writes it "
			"last. Take the core again with more room (df, ulimit -f)",
			source->info.truncated_bytes);
	else if (source->info.truncated_bytes)
		hs_source_gap(
			source, core->path,
			"threads and objects whose memory lies in the missing part",
			"the core is cut off: %zu bytes are missing (it was written to a full "
			"disk, or under a size limit: ulimit -c)",
			source->info.truncated_bytes);
}

static void add_gaps(struct core *core)
{
	struct hs_source *source = &core->base;
	const struct core_notes *notes = &core->notes;

	if (core->num_bad_headers)
		hs_source_gap(source, core->path, "memory that those headers describe",
		              "program headers that overlap or make no sense: %zu",
		              core->num_bad_headers);
	if (notes->num_bad)
		hs_source_gap(source, core->path,
		              "threads or mapped files that those notes describe",
		              "notes, or rows in them, that make no sense: %zu", notes->num_bad);
	if (notes->capped)
		hs_source_gap(source, core->path, "threads or mapped files beyond the limit",
		              "it has more notes, threads or mappings than can be read");
	if (!notes->has_files && core->num_images)
		hs_source_gap(source, core->path,
		              "function names and unwinding of programs and libraries that were "
		              "not found",
		              "the core has no list of mapped files (NT_FILE): %zu programs and "
		              "libraries were found in its memory instead",
		              core->num_images);
	else if (!notes->has_files)
		hs_source_gap(source, core->path, "function names and unwinding of all native code",
		              "the core has no list of mapped files (NT_FILE)");
	if (!source->num_lwps && !core->lost_notes)
		hs_source_gap(source, core->path, "all stacks",
		              "the core has no threads (NT_PRSTATUS)");
}

static struct hs_err *load(struct core *core, const struct hs_open_options *options,
                           const struct stat *st)
{
	hs_cleanup(hs_closep) int root_fd = -1;
	struct hs_err *err = hs_core_read_headers(core);

	if (!err)
		err = hs_core_read_notes(core);
	if (!err)
		err = open_root(options, &root_fd);
	if (!err && !core->notes.has_files)
		err = hs_core_find_images(core, root_fd, options->exe);
	if (!err)
		err = hs_core_build_mappings(core);
	if (err)
		return err;

	const struct hs_mapping *main = hs_core_main_mapping(core);
	fill_info(core, st);
	add_first_gap(core);
	err = build_modules(core, options, root_fd, main);
	if (!err)
		err = check_exe(core, options, main);
	if (!err)
		err = build_backings(core);
	if (!err)
		err = build_lwps(core);
	if (err)
		return err;
	const struct hs_module *module =
		main ? hs_module_map_module(&core->base.modules, main->start) : NULL;
	core->base.info.exe = options->exe ? hs_arena_strdup(core->base.arena, options->exe)
	                      : module     ? module->path
	                      : main       ? main->path
	                                   : NULL;
	core->base.info.args = hs_core_args(core);
	add_gaps(core);
	return core->notes.snapshot.present ? hs_core_apply_snapshot(core, options) : NULL;
}

/** Unpack if need be: *fd then is the unpacked file, and its size in @p size_ret. */
static struct hs_err *unpack(struct core *core, const struct hs_open_options *options,
                             struct stat *st)
{
	struct hs_unpacked unpacked;
	struct stat inner;
	struct hs_err *err =
		hs_unpack(core->fd, core->path, core->base.arena, options, NULL, &unpacked);

	if (err || unpacked.fd < 0)
		return err;
	close(core->fd);
	core->fd = unpacked.fd;
	core->bundle = unpacked.bundle;
	core->base.info.unpacked_from = core->path;
	if (fstat(core->fd, &inner))
		return hs_err_os(errno, "cannot look at the unpacked %s", core->path);
	st->st_size = inner.st_size;
	if (core->bundle)
		st->st_mtime = unpacked.captured_at;
	return NULL;
}

struct hs_err *hs_target_open_core(const char *path, const struct hs_open_options *options,
                                   struct hs_target **ret)
{
	static const struct hs_open_options no_options = {0};
	struct core *core = calloc(1, sizeof(*core));
	struct stat st;

	if (!core)
		return hs_err_oom();
	core->base.ops = &core_ops;
	core->base.cacheable = true;
	core->fd = -1;

	hs_cleanup(hs_source_destroyp) struct hs_source *source = &core->base;
	source->arena = hs_arena_create();
	core->path = source->arena ? hs_arena_strdup(source->arena, path) : NULL;
	if (!core->path)
		return hs_err_oom();
	if (!options)
		options = &no_options;

	struct hs_err *err = open_regular(path, &core->fd, &st);
	if (!err)
		err = unpack(core, options, &st);
	if (err)
		return err;
	core->size = (uint64_t)st.st_size;
	err = load(core, options, &st);
	return err ? err : hs_target_from_source(hs_take(source), ret);
}
