// SPDX-License-Identifier: Apache-2.0
/** @file What goes into a bundle: files by build id, and texts. */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/capture/bundle_internal.h"
#include "core/native/native.h"
#include "core/source/source.h"

enum {
	MAX_TEXT = 16 * 1024 * 1024,
	MAX_AUXV = 4096,
	READ_PIECE = 65536,
	MAX_BASE_NAME = 100, // a tar header without extensions holds it
};

// ---- files

static bool same_file(const struct hs_bundle_item *item, const struct hs_module *module,
                      const struct stat *st)
{
	struct stat own;

	if (item->module->build_id_len != module->build_id_len)
		return false;
	if (module->build_id_len)
		return !memcmp(item->module->build_id, module->build_id, module->build_id_len);
	return item->fd >= 0 && !fstat(item->fd, &own) && own.st_dev == st->st_dev &&
	       own.st_ino == st->st_ino;
}

static bool is_listed(const struct hs_bundle_list *list, const char *kind,
                      const struct hs_module *module, const struct stat *st)
{
	hs_vec_each (item, &list->files) {
		if (item->name && !strcmp(item->kind, kind) && same_file(item, module, st))
			return true;
	}
	return false;
}

/** files/BUILD-ID/NAME; a label, so what is not plain becomes '_'. */
static const char *entry_name(struct hs_bundle_list *list, const struct hs_module *module,
                              const char *suffix)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				    "._+-";
	const char *slash = strrchr(module->path, '/');
	char base[MAX_BASE_NAME + 1], id[2 * HS_BUILD_ID_MAX + 1] = "";

	snprintf(base, sizeof(base), "%s", slash ? slash + 1 : module->path);
	for (char *c = base; *c; c++) {
		if (!strchr(plain, *c))
			*c = '_';
	}
	for (size_t i = 0; i < module->build_id_len; i++)
		snprintf(id + 2 * i, 3, "%02x", module->build_id[i]);
	if (!module->build_id_len)
		snprintf(id, sizeof(id), "none-%zu", list->files.len);
	return hs_arena_printf(list->arena, "files/%s/%s%s", id, base, suffix);
}

/** Something was not found. Because it takes @p count descriptors more? Then that is a gap. */
static void note_starved(struct hs_bundle_list *list, struct hs_target *target, int count)
{
	hs_cleanup(hs_closep) int first = fcntl(hs_target_file(target), F_DUPFD_CLOEXEC, 0);
	hs_cleanup(hs_closep) int second =
		first >= 0 && count > 1 ? fcntl(first, F_DUPFD_CLOEXEC, 0) : -1;
	bool is_enough = first >= 0 && (count == 1 || second >= 0);

	if (is_enough || errno == EBADF || list->is_starved)
		return;
	list->is_starved = true;
	hs_source_gap(hs_target_source(target), "debug files and texts",
	              "what of them was found after that is not packed",
	              "no more files can be opened: %s (ulimit -Hn)", strerror(errno));
}

static struct hs_err *add_debug(struct hs_bundle_list *list, struct hs_target *target,
                                const struct hs_module *module, const char *debug_dir)
{
	char path[PATH_MAX];
	hs_cleanup(hs_closep) int fd = hs_native_open_debug_file(target, module, debug_dir, path);
	struct stat st;

	if (fd < 0)
		note_starved(list, target, 1);
	if (fd < 0 || fstat(fd, &st) || is_listed(list, "debug", module, &st))
		return NULL;
	struct hs_bundle_item *item = hs_vec_push(list->arena, &list->files);
	if (!item)
		return hs_err_oom();
	*item = (struct hs_bundle_item){
		.name = entry_name(list, module, ".debug"),
		.path = hs_arena_strdup(list->arena, path),
		.kind = "debug",
		.state = "ok",
		.module = module,
		.fd = fd,
		.size = (uint64_t)st.st_size,
		.mtime = st.st_mtime,
	};
	fd = -1;
	return item->name && item->path ? NULL : hs_err_oom();
}

static struct hs_err *add_module(struct hs_bundle_list *list, struct hs_target *target,
                                 const struct hs_module *module, const char *debug_dir)
{
	bool has_file = module->state == HS_MODULE_OK && module->fd >= 0;
	struct stat st = {0};

	if (module->state == HS_MODULE_MEMORY)
		return add_debug(list, target, module, debug_dir);
	if (has_file && fstat(module->fd, &st))
		return hs_err_os(errno, "cannot look at %s", module->path);
	// The same library at another address, or by another name.
	if (has_file && is_listed(list, "module", module, &st))
		return NULL;
	struct hs_bundle_item *item = hs_vec_push(list->arena, &list->files);
	if (!item)
		return hs_err_oom();
	*item = (struct hs_bundle_item){
		.path = module->path,
		.kind = "module",
		.state = has_file                              ? "ok"
	                 : module->state == HS_MODULE_MISMATCH ? "mismatch"
	                                                       : "missing",
		.why = module->why,
		.module = module,
		.fd = -1,
	};
	// Also one whose file is lost has a debug file that may be found.
	if (!has_file)
		return add_debug(list, target, module, debug_dir);
	item->name = entry_name(list, module, "");
	item->fd = module->fd;
	item->size = (uint64_t)st.st_size;
	item->mtime = st.st_mtime;
	return item->name ? add_debug(list, target, module, debug_dir) : hs_err_oom();
}

struct hs_err *hs_bundle_list_files(struct hs_bundle_list *list, struct hs_target *target,
                                    const char *debug_dir)
{
	const struct hs_module_map *map = hs_target_modules(target);

	for (size_t i = 0; i < map->num_modules; i++) {
		struct hs_err *err = add_module(list, target, &map->modules[i], debug_dir);
		if (err)
			return err;
	}
	return NULL;
}

void hs_bundle_list_close(struct hs_bundle_list *list)
{
	hs_vec_each (item, &list->files) {
		if (!strcmp(item->kind, "debug"))
			hs_closep(&item->fd);
	}
}

// ---- texts

static struct hs_err *add_text(struct hs_bundle_list *list, const char *name, const char *text,
                               size_t len)
{
	struct hs_bundle_item *item = hs_vec_push(list->arena, &list->texts);

	if (!item)
		return hs_err_oom();
	*item = (struct hs_bundle_item){
		.name = hs_arena_printf(list->arena, "texts/%s", name),
		.kind = "text",
		.text = text,
		.fd = -1,
		.size = len,
	};
	return item->name && text ? NULL : hs_err_oom();
}

/** In the form of /proc/PID/maps, as far as a core knows it. */
static struct hs_err *add_maps(struct hs_bundle_list *list, struct hs_target *target)
{
	const struct hs_module_map *map = hs_target_modules(target);
	hs_cleanup(hs_freep) char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return hs_err_oom();
	for (size_t i = 0; i < map->num_mappings; i++) {
		const struct hs_mapping *m = &map->mappings[i];
		bool unknown = m->prot & HS_PROT_UNKNOWN;

		fprintf(out, "%08" PRIx64 "-%08" PRIx64 " %c%c%cp %08" PRIx64 " 00:00 0 %s\n",
		        m->start, m->end,
		        unknown                  ? '?'
		        : m->prot & HS_PROT_READ ? 'r'
		                                 : '-',
		        unknown                   ? '?'
		        : m->prot & HS_PROT_WRITE ? 'w'
		                                  : '-',
		        unknown                  ? '?'
		        : m->prot & HS_PROT_EXEC ? 'x'
		                                 : '-',
		        m->offset, m->path);
	}
	bool failed = ferror(out);
	if (fclose(out) || failed)
		return hs_err_oom();
	return add_text(list, "maps", hs_arena_strndup(list->arena, text, len), len);
}

/** A whole file below /proc. @return NULL when it cannot be read: texts are extras. */
static char *read_proc(struct hs_arena *arena, int proc_fd, const char *name, size_t *len_ret)
{
	hs_cleanup(hs_closep) int fd = openat(proc_fd, name, O_RDONLY | O_CLOEXEC);
	hs_cleanup(hs_freep) char *text = NULL;
	size_t len = 0, cap = 0;
	ssize_t got;

	if (fd < 0)
		return NULL;
	do {
		if (cap - len < READ_PIECE) {
			char *more = realloc(text, cap + READ_PIECE);

			if (!more)
				return NULL;
			text = more;
			cap += READ_PIECE;
		}
		got = read(fd, text + len, cap - len);
		len += got > 0 ? (size_t)got : 0;
	} while (got > 0 && len < MAX_TEXT);
	char *copy = got < 0 ? NULL : hs_arena_alloc(arena, len + 1);
	if (copy)
		memcpy(copy, text, len);
	*len_ret = len;
	return copy;
}

/** Open /proc/PID if it is still the process that the core is of. @return -1 otherwise. */
static int open_process(struct hs_arena *arena, const struct hs_target *target, pid_t pid)
{
	char path[32];
	size_t len = 0;

	if (pid <= 0)
		return -1;
	snprintf(path, sizeof(path), "/proc/%ld", (long)pid);
	hs_cleanup(hs_closep) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	const char *auxv = fd < 0 ? NULL : read_proc(arena, fd, "auxv", &len);
	if (!auxv || !hs_target_is_process(target, auxv, len))
		return -1;
	int ret = fd;
	fd = -1;
	return ret;
}

struct hs_err *hs_bundle_list_texts(struct hs_bundle_list *list, struct hs_target *target,
                                    pid_t pid)
{
	// Not the environment: it is where secrets are.
	static const char *const names[] = {"maps",   "status",    "limits",
	                                    "cgroup", "mountinfo", "cmdline"};
	hs_cleanup(hs_closep) int proc_fd =
		open_process(list->arena, target, pid ? pid : hs_target_info(target)->pid);
	bool has_maps = false, has_all = proc_fd >= 0;

	for (size_t i = 0; proc_fd >= 0 && i < sizeof(names) / sizeof(names[0]); i++) {
		size_t len;
		const char *text = read_proc(list->arena, proc_fd, names[i], &len);
		struct hs_err *err = text && len ? add_text(list, names[i], text, len) : NULL;

		if (err)
			return err;
		has_all &= text != NULL;
		has_maps |= text && len && !strcmp(names[i], "maps");
	}
	// The directory and a file in it.
	if (!has_all)
		note_starved(list, target, proc_fd < 0 ? 2 : 1);
	list->has_proc = has_maps;
	return has_maps ? NULL : add_maps(list, target);
}

// ---- words

json_t *hs_bundle_json_text(struct hs_arena *arena, const char *raw)
{
	if (!raw)
		return json_null();
	json_t *text = json_string(raw);
	if (text)
		return text;
	char *copy = hs_arena_alloc(arena, 4 * strlen(raw) + 1), *out = copy;
	for (; copy && *raw; raw++) {
		unsigned char c = (unsigned char)*raw;

		if (c < 0x80 && c != '\\')
			*out++ = (char)c;
		else
			out += sprintf(out, "\\x%02x", c);
	}
	return copy ? json_string(copy) : NULL;
}
