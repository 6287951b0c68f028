// SPDX-License-Identifier: Apache-2.0
/** @file Packing a bundle: manifest, texts, files, the core; streamed through libarchive. */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE // SEEK_DATA, sched_getaffinity()
#endif
#include "core/capture/bundle.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/capture/bundle_internal.h"
#include "core/source/bundle_read.h"

enum {
	CHUNK = 1024 * 1024,
	ZEROS = 64 * 1024, // they lie in the program file
	PROGRESS_EVERY = 16 * CHUNK,
	MAX_EXTENTS = 65536,  // of data between holes; what lies behind is packed as it is
	MIN_HOLE = 64 * 1024, // a smaller one costs more in the map than its zeros when packed
	MAX_THREADS = 4,
	MANIFEST_FLAGS = JSON_INDENT(1) | JSON_ENSURE_ASCII,
};

/** A part of the core that is no hole. */
struct extent {
	int64_t offset, len;
};

struct packer {
	const struct hs_bundle_options *options;
	struct hs_target *target;
	struct hs_output *output;
	struct hs_arena *arena;
	struct archive *archive;
	struct hs_bundle_list list;
	int core_fd;
	int64_t core_size;
	HS_VEC(struct extent) extents;
	char *chunk;          // CHUNK bytes
	bool is_open, failed; // the archive; when it failed, what it still writes is dropped
	struct hs_err *err;   // of the write callback
	int64_t done, next_progress, total;
};

static void archive_freep(struct archive **archive)
{
	archive_write_free(*archive);
}

static la_ssize_t write_out(struct archive *archive, void *arg, const void *bytes, size_t len)
{
	struct packer *packer = arg;

	if (packer->failed)
		return (la_ssize_t)len;
	packer->err = hs_output_write(packer->output, bytes, len);
	if (!packer->err)
		return (la_ssize_t)len;
	archive_set_error(archive, EIO, "the output cannot be written");
	return -1;
}

/** Why libarchive failed: mostly because our callback did. */
static struct hs_err *pack_err(struct packer *packer, const char *name)
{
	const char *why = archive_error_string(packer->archive);

	if (packer->err)
		return hs_take(packer->err);
	return hs_err_new(HS_ERR_UNSUPPORTED, "cannot pack %s: %s", name,
	                  why ? why : "libarchive gives no reason");
}

// ---- the archive

/** CPUs that we may use: packing must not take all of a host in trouble. */
static int count_threads(void)
{
	cpu_set_t set;
	int count = sched_getaffinity(0, sizeof(set), &set) ? 1 : CPU_COUNT(&set);

	return count < MAX_THREADS ? count : MAX_THREADS;
}

static struct hs_err *open_archive(struct packer *packer)
{
	struct archive *archive = packer->archive;
	char threads[16];

	// ARCHIVE_WARN: it would start a program for it.
	if (archive_write_add_filter_zstd(archive) != ARCHIVE_OK)
		return hs_err_new(HS_ERR_UNSUPPORTED, "libarchive was built without zstd");
	// An older libarchive packs with one thread.
	snprintf(threads, sizeof(threads), "%d", count_threads());
	archive_write_set_filter_option(archive, "zstd", "threads", threads);
	if (archive_write_set_format_pax_restricted(archive) != ARCHIVE_OK ||
	    archive_write_set_bytes_per_block(archive, CHUNK) != ARCHIVE_OK ||
	    archive_write_set_bytes_in_last_block(archive, 1) != ARCHIVE_OK ||
	    archive_write_open(archive, packer, NULL, write_out, NULL) != ARCHIVE_OK)
		return pack_err(packer, "the archive");
	packer->is_open = true;
	return NULL;
}

/** End an unfinished archive. One that failed is not finished, and closing alone frees all of it.
 */
static void drop_archive(struct packer *packer)
{
	packer->failed = true;
	archive_write_fail(packer->archive);
	if (packer->is_open)
		archive_write_close(packer->archive);
}

static struct hs_err *put_header(struct packer *packer, const char *name, int64_t size,
                                 int64_t mtime)
{
	struct archive_entry *entry = archive_entry_new();

	if (!entry)
		return hs_err_oom();
	archive_entry_set_pathname(entry, name);
	archive_entry_set_filetype(entry, AE_IFREG);
	archive_entry_set_perm(entry, 0600);
	archive_entry_set_size(entry, size);
	archive_entry_set_mtime(entry, mtime, 0);
	if (!strcmp(name, "core")) {
		hs_vec_each (extent, &packer->extents)
			archive_entry_sparse_add_entry(entry, extent->offset, extent->len);
	}
	int rc = archive_write_header(packer->archive, entry);
	archive_entry_free(entry);
	return rc == ARCHIVE_OK ? NULL : pack_err(packer, name);
}

static void progress(struct packer *packer)
{
	const struct hs_bundle_options *options = packer->options;

	if (!options->progress || packer->done < packer->next_progress)
		return;
	packer->next_progress = packer->done + PROGRESS_EVERY;
	options->progress(options->progress_arg, "packing",
	                  packer->total ? (double)packer->done / (double)packer->total : -1);
}

static struct hs_err *put_data(struct packer *packer, const char *name, const void *bytes,
                               size_t len)
{
	if (hs_output_is_interrupted(packer->output))
		return hs_output_err(packer->output, EINTR);
	if (archive_write_data(packer->archive, bytes, len) != (la_ssize_t)len)
		return pack_err(packer, name);
	packer->done += (int64_t)len;
	progress(packer);
	return NULL;
}

/** Zeros where the archive has a hole: libarchive takes them and packs nothing. */
static struct hs_err *put_hole(struct packer *packer, const char *name, int64_t len)
{
	static const char zeros[ZEROS];
	struct hs_err *err = NULL;

	for (; len && !err; len -= len < ZEROS ? len : ZEROS)
		err = put_data(packer, name, zeros, len < ZEROS ? (size_t)len : ZEROS);
	return err;
}

static struct hs_err *put_range(struct packer *packer, const char *name, int fd, int64_t offset,
                                int64_t len)
{
	while (len) {
		ssize_t got = pread(fd, packer->chunk, len < CHUNK ? (size_t)len : CHUNK, offset);

		if (got < 0)
			return hs_err_os(errno, "cannot read %s", name);
		if (!got)
			return hs_err_new(HS_ERR_BAD_DATA, "%s became shorter while it was read",
			                  name);
		struct hs_err *err = put_data(packer, name, packer->chunk, (size_t)got);
		if (err)
			return err;
		offset += got;
		len -= got;
	}
	return NULL;
}

// ---- the core

/** Find the holes of the file: a snapshot or an unpacked core has many. */
static struct hs_err *find_extents(struct packer *packer)
{
	int64_t at = 0;

	while (at < packer->core_size) {
		int64_t data = lseek(packer->core_fd, at, SEEK_DATA);
		int64_t hole = data < 0 ? -1 : lseek(packer->core_fd, data, SEEK_HOLE);
		struct extent *last = packer->extents.len
		                              ? &packer->extents.items[packer->extents.len - 1]
		                              : NULL;

		if (data < 0 && errno == ENXIO)
			break; // nothing but a hole up to the end
		if (data < 0 || hole < 0 || packer->extents.len == MAX_EXTENTS) {
			data = at;
			hole = packer->core_size;
		}
		hole = hole < packer->core_size ? hole : packer->core_size;
		at = hole;
		if (last && data - (last->offset + last->len) < MIN_HOLE) {
			last->len = hole - last->offset;
			continue;
		}
		struct extent *extent = hs_vec_push(packer->arena, &packer->extents);
		if (!extent)
			return hs_err_oom();
		*extent = (struct extent){data, hole - data};
	}
	// None at all would mean that the entry is not sparse.
	if (!packer->extents.len && packer->core_size) {
		struct extent *empty = hs_vec_push(packer->arena, &packer->extents);

		return empty ? NULL : hs_err_oom();
	}
	return NULL;
}

static struct hs_err *put_core(struct packer *packer)
{
	const struct hs_target_info *info = hs_target_info(packer->target);
	struct hs_err *err = put_header(packer, "core", packer->core_size, info->captured_at);
	int64_t at = 0;

	hs_vec_each (extent, &packer->extents) {
		if (!err)
			err = put_hole(packer, "the core", extent->offset - at);
		if (!err)
			err = put_range(packer, "the core", packer->core_fd, extent->offset,
			                extent->len);
		at = extent->offset + extent->len;
	}
	return err ? err : put_hole(packer, "the core", packer->core_size - at);
}

// ---- the rest

static struct hs_err *put_item(struct packer *packer, const struct hs_bundle_item *item)
{
	struct hs_err *err = put_header(packer, item->name, (int64_t)item->size,
	                                item->text ? time(NULL) : item->mtime);

	if (err)
		return err;
	if (item->text)
		return put_data(packer, item->name, item->text, item->size);
	return put_range(packer, item->path, item->fd, 0, (int64_t)item->size);
}

static json_t *build_id_of(const struct hs_module *module)
{
	char id[2 * HS_BUILD_ID_MAX + 1] = "";

	for (size_t i = 0; i < module->build_id_len; i++)
		snprintf(id + 2 * i, 3, "%02x", module->build_id[i]);
	return *id ? json_string(id) : json_null();
}

static json_t *file_line(struct packer *packer, const struct hs_bundle_item *item)
{
	struct hs_arena *arena = packer->arena;

	return json_pack("{s:o, s:o, s:s, s:s, s:o, s:o, s:o}", "path",
	                 hs_bundle_json_text(arena, item->path), "build_id",
	                 build_id_of(item->module), "kind", item->kind, "state", item->state, "why",
	                 hs_bundle_json_text(arena, item->why), "name",
	                 hs_bundle_json_text(arena, item->name), "size",
	                 item->name ? json_integer((json_int_t)item->size) : json_null());
}

static json_t *manifest(struct packer *packer)
{
	static const char *const kinds[] = {"core", "live", "snapshot", "hosted"};
	const struct hs_target_info *info = hs_target_info(packer->target);
	json_t *texts = json_array(), *files = json_array();
	int failed = 0;

	hs_vec_each (item, &packer->list.texts)
		failed |= json_array_append_new(texts, json_pack("{s:s, s:I}", "name", item->name,
		                                                 "size", (json_int_t)item->size));
	hs_vec_each (item, &packer->list.files)
		failed |= json_array_append_new(files, file_line(packer, item));
	json_t *core = json_pack(
		"{s:s, s:s, s:o, s:I, s:I}", "name", "core", "kind", kinds[info->kind], "path",
		hs_bundle_json_text(packer->arena,
	                            packer->options->core_path ?: info->unpacked_from ?: info->path),
		"size", (json_int_t)packer->core_size, "captured_at",
		(json_int_t)info->captured_at);
	json_t *root = json_pack("{s:s, s:{s:s, s:s}, s:I, s:I, s:o, s:o, s:o, s:o}", "schema",
	                         HS_BUNDLE_SCHEMA, "tool", "name", "hangscope", "version",
	                         packer->options->version, "created_at", (json_int_t)time(NULL),
	                         "pid", (json_int_t)info->pid, "exe",
	                         hs_bundle_json_text(packer->arena, info->exe), "core", core,
	                         "files", files, "texts", texts);

	if (!failed)
		return root;
	json_decref(root);
	return NULL;
}

static struct hs_err *put_manifest(struct packer *packer)
{
	json_t *root = manifest(packer);
	hs_cleanup(hs_freep) char *text = root ? json_dumps(root, MANIFEST_FLAGS) : NULL;

	json_decref(root);
	if (!text)
		return hs_err_oom();
	size_t len = strlen(text);
	struct hs_err *err = put_header(packer, HS_BUNDLE_MANIFEST, (int64_t)len, time(NULL));
	return err ? err : put_data(packer, HS_BUNDLE_MANIFEST, text, len);
}

static struct hs_err *put_all(struct packer *packer)
{
	struct hs_err *err = open_archive(packer);

	if (!err)
		err = put_manifest(packer);
	hs_vec_each (item, &packer->list.texts) {
		if (!err)
			err = put_item(packer, item);
	}
	hs_vec_each (item, &packer->list.files) {
		if (!err && item->name)
			err = put_item(packer, item);
	}
	if (!err)
		err = put_core(packer);
	if (!err && archive_write_close(packer->archive) != ARCHIVE_OK)
		err = pack_err(packer, "the archive");
	return err;
}

/** Everything that is to be packed, with its size: the manifest comes first. */
static struct hs_err *prepare(struct packer *packer)
{
	const struct hs_bundle_options *options = packer->options;
	struct stat st;

	packer->core_fd = hs_target_file(packer->target);
	if (packer->core_fd < 0)
		return hs_err_new(HS_ERR_USAGE, "only a core can be packed");
	if (fstat(packer->core_fd, &st))
		return hs_err_os(errno, "cannot look at the core");
	packer->core_size = packer->total = st.st_size;
	struct hs_err *err = find_extents(packer);
	if (!err)
		err = hs_bundle_list_files(&packer->list, packer->target, options->debug_dir);
	if (!err)
		err = hs_bundle_list_texts(&packer->list, packer->target, options->pid);
	hs_vec_each (item, &packer->list.files)
		packer->total += (int64_t)item->size;
	return err;
}

static void count_result(struct packer *packer, struct hs_bundle_result *ret)
{
	*ret = (struct hs_bundle_result){
		.has_proc = packer->list.has_proc,
		.core_bytes = (uint64_t)packer->core_size,
		.packed_bytes = (uint64_t)archive_filter_bytes(packer->archive, -1),
	};
	hs_vec_each (item, &packer->list.files) {
		ret->num_missing += !item->name;
		ret->num_debug += !strcmp(item->kind, "debug");
		ret->num_files += item->name && strcmp(item->kind, "debug") != 0;
		ret->file_bytes += item->size;
	}
}

struct hs_err *hs_bundle_write(struct hs_target *target, const struct hs_bundle_options *options,
                               struct hs_output *output, struct hs_bundle_result *ret)
{
	hs_cleanup(hs_arena_destroyp) struct hs_arena *arena = hs_arena_create();
	hs_cleanup(archive_freep) struct archive *archive = archive_write_new();
	hs_cleanup(hs_freep) char *chunk = malloc(CHUNK);

	if (!arena || !archive || !chunk)
		return hs_err_oom();
	struct packer packer = {
		.options = options,
		.target = target,
		.output = output,
		.arena = arena,
		.archive = archive,
		.list = {.arena = arena},
		.chunk = chunk,
	};
	struct hs_err *err = prepare(&packer);
	if (!err)
		err = put_all(&packer);
	if (!err)
		count_result(&packer, ret);
	else
		drop_archive(&packer);
	hs_bundle_list_close(&packer.list);
	hs_err_free(packer.err);
	return err;
}
