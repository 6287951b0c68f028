// SPDX-License-Identifier: Apache-2.0
/** @file From mappings to modules: which are ELF images, which file goes with each, is it theirs.
 */

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/cleanup.h"
#include "core/limits.h"
#include "core/source/memory_image.h"

enum {
	MAX_MODULES = 16384,
	MAX_SCAN = 1024, // mappings from the first one of an image to its last
};

static const char deleted_suffix[] = " (deleted)";
static const char vdso_path[] = "[vdso]";

struct builder {
	struct hs_source *source;
	struct hs_mapping *mappings;
	size_t num_mappings;
	const struct hs_file_opener *opener;
	HS_VEC(struct hs_module) modules;
	size_t num_unproved; // files that nothing in memory could be compared with
};

/** A module while it is built. */
struct candidate {
	struct hs_module module;
	size_t head; // index of the mapping of file offset 0
	bool is_vdso;
	struct hs_elf_image image; // valid when memory or file is HS_ELF_IMAGE
	enum hs_elf_found in_memory, in_file;
	struct hs_err *open_err;
};

static bool is_file_mapping(const struct hs_mapping *mapping)
{
	return mapping->path[0] && mapping->path[0] != '[';
}

static bool same_file(const struct hs_mapping *a, const struct hs_mapping *b)
{
	return a->inode == b->inode && a->dev == b->dev && !strcmp(a->path, b->path);
}

/** Is @p mapping a part of the candidate's image, given where the image ends (0: not known)? */
static bool belongs(const struct builder *builder, const struct candidate *candidate,
                    const struct hs_mapping *mapping, hs_addr image_end)
{
	const struct hs_mapping *head = &builder->mappings[candidate->head];

	if (candidate->is_vdso)
		return mapping == head;
	if (!is_file_mapping(mapping) || !same_file(mapping, head))
		return false;
	// Without headers, offset 0 once more is taken for a second copy of the file.
	return image_end ? mapping->start < image_end : mapping == head || mapping->offset;
}

/** Past the last mapping that can belong to the candidate. */
static size_t end_of_image(const struct builder *builder, const struct candidate *candidate,
                           hs_addr image_end)
{
	size_t end = candidate->head;

	for (size_t i = candidate->head;
	     i < builder->num_mappings && i - candidate->head < MAX_SCAN; i++) {
		const struct hs_mapping *mapping = &builder->mappings[i];

		if (belongs(builder, candidate, mapping, image_end))
			end = i + 1;
		else if (image_end ? mapping->start >= image_end : is_file_mapping(mapping))
			break;
	}
	return end;
}

/** Runtime end of the image by its headers; 0 when they are not known or make no sense. */
static hs_addr image_end_of(const struct candidate *candidate)
{
	hs_addr end;

	if (candidate->in_memory != HS_ELF_IMAGE && candidate->in_file != HS_ELF_IMAGE)
		return 0;
	uint64_t size = candidate->image.end - candidate->image.first;
	return __builtin_add_overflow(candidate->module.start, size, &end) ? 0 : end;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/**
 * Is it a loaded program or library? Not when the file is only mapped as data (its code segment
 * is not mapped as code); and with no header to look at, by what a library looks like.
 */
static bool is_loaded(const struct builder *builder, const struct candidate *candidate)
{
	hs_addr image_end = image_end_of(candidate);
	size_t end = end_of_image(builder, candidate, image_end);
	bool exec = false, unknown = false;

	for (size_t i = candidate->head; i < end; i++) {
		if (!belongs(builder, candidate, &builder->mappings[i], image_end))
			continue;
		exec |= (builder->mappings[i].prot & HS_PROT_EXEC) != 0;
		unknown |= (builder->mappings[i].prot & HS_PROT_UNKNOWN) != 0;
	}
	if (exec || candidate->is_vdso)
		return true;
	if (image_end)
		return unknown || !candidate->image.has_exec;
	return unknown && strstr(base_name(candidate->module.path), ".so");
}

/** Open the file and look at it; a failure stays in candidate->open_err. */
static void open_file(struct builder *builder, struct candidate *candidate)
{
	struct hs_module *module = &candidate->module;
	const char *open_path = NULL;
	int fd = -1;
	struct stat st;

	candidate->open_err = builder->opener->open(
		builder->opener->arg, &builder->mappings[candidate->head], &fd, &open_path);
	if (candidate->open_err)
		return;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		candidate->open_err = hs_err_new(HS_ERR_BAD_DATA, "not a regular file");
		close(fd);
		return;
	}

	const struct hs_elf_reader reader = {.fd = fd};
	struct hs_elf_image image;

	candidate->in_file = hs_elf_image_read(&reader, &image);
	if (candidate->in_file == HS_ELF_IMAGE && candidate->in_memory != HS_ELF_IMAGE)
		candidate->image = image;
	module->fd = fd;
	module->open_path = open_path;
}

static void close_file(struct hs_module *module)
{
	if (module->fd >= 0)
		close(module->fd);
	module->fd = -1;
	module->open_path = NULL;
}

/** Without a build id to compare, in the file (some vendors' builds) or in memory (core filters).
 */
static enum hs_elf_loaded was_loaded(struct builder *builder, const struct hs_module *module,
                                     const struct hs_elf_image *image)
{
	return hs_elf_image_was_loaded(module->fd, image, builder->source,
	                               module->start - image->first);
}

/** Memory has no build id: the file's is taken for it, unless what was loaded tells otherwise. */
static void compare_loaded(struct builder *builder, struct hs_module *module,
                           enum hs_elf_loaded loaded)
{
	if (loaded == HS_ELF_LOADED_OTHER) {
		module->build_id_len = 0;
		module->state = HS_MODULE_MISMATCH;
		module->why = "it is another build: what the loader made of it in memory does not "
			      "fit the file";
		return;
	}
	module->state = HS_MODULE_OK;
	module->build_id_checked = loaded == HS_ELF_LOADED;
	builder->num_unproved += !module->build_id_checked;
}

/** Compare the file with the image in memory: sets state, build id, why. */
static void compare(struct builder *builder, struct candidate *candidate)
{
	struct hs_arena *arena = builder->source->arena;
	struct hs_module *module = &candidate->module;
	const struct hs_elf_reader memory = {
		.fd = -1, .source = builder->source, .start = module->start};
	const struct hs_elf_reader file = {.fd = module->fd};
	struct hs_elf_image image = {0};
	uint8_t id[HS_BUILD_ID_MAX];
	size_t len = 0;

	if (candidate->in_memory == HS_ELF_IMAGE)
		module->build_id_len =
			hs_elf_image_build_id(&memory, &candidate->image, module->build_id);
	if (candidate->is_vdso) {
		module->state = HS_MODULE_MEMORY;
		return;
	}
	if (module->fd < 0) {
		bool absent = hs_err_code(candidate->open_err) == HS_ERR_ABSENT;

		module->state = HS_MODULE_MISSING;
		module->why = !absent ? hs_arena_strdup(arena, hs_err_message(candidate->open_err))
		              : module->deleted
		                      ? "the file was deleted, and none of its build is here "
		                        "(--root DIR says where the target's files are)"
		                      : "the file is not here (--root DIR says where the target's "
		                        "files are)";
		return;
	}
	if (candidate->in_file != HS_ELF_IMAGE) {
		module->state = HS_MODULE_MISMATCH;
		module->why = "what lies there now is not a program or library of this machine";
		return;
	}
	// The image in the candidate may be that of memory: read the file's own.
	if (hs_elf_image_read(&file, &image) == HS_ELF_IMAGE)
		len = hs_elf_image_build_id(&file, &image, id);
	if (module->build_id_len != len || memcmp(module->build_id, id, len)) {
		// Memory that is not in the core has no build id to compare.
		if (!module->build_id_len && candidate->in_memory == HS_ELF_UNREADABLE) {
			memcpy(module->build_id, id, len);
			module->build_id_len = len;
			compare_loaded(builder, module, was_loaded(builder, module, &image));
			return;
		}
		module->state = HS_MODULE_MISMATCH;
		module->why = hs_arena_printf(
			arena, "it is another build: build id %s, that of the target is %s",
			hs_build_id_words(arena, id, len),
			hs_build_id_words(arena, module->build_id, module->build_id_len));
		return;
	}
	module->state = HS_MODULE_OK;
	module->build_id_checked = len > 0 || was_loaded(builder, module, &image) == HS_ELF_LOADED;
}

/** Say what is lost with the file, and what its image in memory makes up for. */
static void add_gap(struct builder *builder, const struct hs_module *module,
                    const struct hs_memory_image *image)
{
	static const struct {
		const char *lost, *lost_more, *saved;
	} rows[2][2] = {
		{{"function names and unwinding of ", "", ""},
	         {"function names of ", "", "; its image in memory gives the unwind information"}},
		{{"unwinding of ", ", and names of functions that it does not export",
	          "; its image in memory gives the names that it exports"},
	         {"names of functions that are not exported by ", "",
	          "; its image in memory gives the names that it exports and the unwind "
	          "information"}								 },
	};
	const char *lost = rows[image->has_symbols][image->has_unwind].lost;
	const char *lost_more = rows[image->has_symbols][image->has_unwind].lost_more;
	const char *saved = rows[image->has_symbols][image->has_unwind].saved;
	const char *costs = hs_arena_printf(builder->source->arena, "%s%s%s", lost,
	                                    base_name(module->path), lost_more);

	if (costs && module->why)
		hs_source_gap(builder->source, module->path, costs, "%s%s", module->why, saved);
}

/** The file is of no use: go on with what the memory of the target has of it. */
static struct hs_err *replace_file(struct builder *builder, struct candidate *candidate)
{
	struct hs_memory_image image = {.fd = -1};
	struct hs_module *module = &candidate->module;
	struct hs_err *err = NULL;

	close_file(module);
	if (candidate->in_memory == HS_ELF_IMAGE)
		err = hs_memory_image_make(builder->source, module->start, &candidate->image,
		                           &image);
	if (err && hs_err_code(err) == HS_ERR_OOM)
		return err;
	hs_err_free(err); // then the file is missing, and nothing makes up for it
	module->from_memory = image.fd >= 0;
	module->fd = image.fd;
	add_gap(builder, module, &image);
	return NULL;
}

/** A snapshot of a program whose file was deleted: who reads it finds that file nowhere. */
static struct hs_err *record_image(struct builder *builder, const struct candidate *candidate)
{
	struct hs_memory_image image = {.fd = -1};

	if (!builder->source->record || !candidate->module.deleted ||
	    candidate->in_memory != HS_ELF_IMAGE)
		return NULL;
	struct hs_err *err = hs_memory_image_make(builder->source, candidate->module.start,
	                                          &candidate->image, &image);
	if (image.fd >= 0)
		close(image.fd);
	if (err && hs_err_code(err) == HS_ERR_OOM)
		return err;
	hs_err_free(err);
	return NULL;
}

/** Settle everything about a candidate that is a module, and keep it. */
static struct hs_err *keep(struct builder *builder, struct candidate *candidate)
{
	struct hs_module *module = &candidate->module;
	hs_addr image_end = image_end_of(candidate);
	size_t end = end_of_image(builder, candidate, image_end);

	module->end = module->start;
	for (size_t i = candidate->head; i < end; i++) {
		struct hs_mapping *mapping = &builder->mappings[i];

		if (!belongs(builder, candidate, mapping, image_end) ||
		    mapping->module != UINT32_MAX)
			continue;
		mapping->module = (uint32_t)builder->modules.len;
		if (mapping->end > module->end)
			module->end = mapping->end;
	}
	module->bias = module->start - candidate->image.first;
	compare(builder, candidate);
	if (module->state == HS_MODULE_MISSING || module->state == HS_MODULE_MISMATCH) {
		struct hs_err *err = replace_file(builder, candidate);

		if (err)
			return err;
	} else {
		struct hs_err *err = record_image(builder, candidate);

		if (err) {
			close_file(module);
			return err;
		}
	}

	struct hs_module *slot = hs_vec_push(builder->source->arena, &builder->modules);
	if (!slot) {
		close_file(module);
		return hs_err_oom();
	}
	*slot = *module;
	return NULL;
}

/** The path without " (deleted)", which the kernel appends. */
static const char *undeleted(struct hs_arena *arena, const char *path, bool *deleted_ret)
{
	size_t len = strlen(path), suffix = sizeof(deleted_suffix) - 1;

	*deleted_ret = len > suffix && !strcmp(path + len - suffix, deleted_suffix);
	return *deleted_ret ? hs_arena_strndup(arena, path, len - suffix) : path;
}

/** Look at a mapping of file offset 0: does a module begin there? */
static struct hs_err *consider(struct builder *builder, size_t head)
{
	const struct hs_mapping *mapping = &builder->mappings[head];
	struct candidate candidate = {
		.head = head,
		.is_vdso = !strcmp(mapping->path, vdso_path),
		.in_file = HS_ELF_UNREADABLE,
		.module = {.start = mapping->start, .fd = -1},
	};
	const struct hs_elf_reader memory = {
		.fd = -1, .source = builder->source, .start = mapping->start};

	candidate.module.path =
		undeleted(builder->source->arena, mapping->path, &candidate.module.deleted);
	if (!candidate.module.path)
		return hs_err_oom();
	candidate.in_memory = hs_elf_image_read(&memory, &candidate.image);
	if (candidate.in_memory == HS_ELF_OTHER ||
	    (candidate.is_vdso && candidate.in_memory != HS_ELF_IMAGE))
		return NULL;
	// Most files need not be opened to see that they are data.
	if (candidate.in_memory == HS_ELF_IMAGE && !is_loaded(builder, &candidate))
		return NULL;
	if (!candidate.is_vdso)
		open_file(builder, &candidate);

	// With no header in memory, the file or the looks of the mappings decide.
	struct hs_err *err = NULL;
	bool is_data = candidate.module.fd >= 0 && candidate.in_file != HS_ELF_IMAGE;
	if (candidate.in_memory == HS_ELF_UNREADABLE &&
	    (is_data || !is_loaded(builder, &candidate)))
		close_file(&candidate.module);
	else
		err = keep(builder, &candidate);
	hs_err_free(candidate.open_err);
	return err;
}

struct hs_err *hs_modules_build(struct hs_source *source, struct hs_mapping *mappings,
                                size_t num_mappings, const struct hs_file_opener *opener)
{
	struct builder builder = {
		.source = source,
		.mappings = mappings,
		.num_mappings = num_mappings,
		.opener = opener,
	};
	struct hs_err *err = NULL;
	size_t i;

	for (i = 0; i < num_mappings; i++)
		mappings[i].module = UINT32_MAX;
	for (i = 0; i < num_mappings && !err && builder.modules.len < MAX_MODULES; i++) {
		const struct hs_mapping *mapping = &mappings[i];

		if (mapping->module == UINT32_MAX && !mapping->offset &&
		    (is_file_mapping(mapping) || !strcmp(mapping->path, vdso_path)))
			err = consider(&builder, i);
	}
	if (!err && i < num_mappings)
		hs_source_gap(source, "modules", "function names and unwinding of the others",
		              "more than %d files are mapped as programs or libraries",
		              MAX_MODULES);
	if (!err && hs_memory_image_spent(source))
		hs_source_gap(source, "images of files that are not here",
		              "what the memory has of the other files: names and unwinding",
		              "they have too much of it: %d MiB are made of memory, and %d MiB are "
		              "read for that, at most",
		              HS_MAX_IMAGE_BYTES >> 20, HS_MAX_IMAGE_READS >> 20);
	if (!err && builder.num_unproved)
		hs_source_gap(source, "files that were taken by their name",
		              "function names and unwinding of them, if they were replaced",
		              "%zu: memory has no build id to compare theirs with (a core without "
		              "ELF headers: coredump_filter without bit 4)",
		              builder.num_unproved);
	source->modules = (struct hs_module_map){
		.mappings = mappings,
		.num_mappings = num_mappings,
		.modules = builder.modules.items,
		.num_modules = builder.modules.len,
	};
	source->owns_module_fds = true;
	return err;
}
