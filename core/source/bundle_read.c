// SPDX-License-Identifier: Apache-2.0
/** @file Reading bundles. What the manifest says is checked against what comes; build ids later. */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE // F_DUPFD_CLOEXEC
#endif
#include "core/source/bundle_read.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/cleanup.h"
#include "core/module_map.h"

enum {
	MAX_MANIFEST = 16 * 1024 * 1024,
	MAX_FILES = 16384,
	READ_PIECE = 65536,
};

/** What one line of the manifest promises. */
struct packed {
	const char *name; // of the entry
	int64_t size;
	enum kind {
		KIND_OTHER, // for readers of the archive, or for a newer one of us
		KIND_MODULE,
		KIND_DEBUG,
		KIND_CORE,
	} kind;
	const char *path; // where the target has it
	uint8_t id[HS_BUILD_ID_MAX];
	size_t id_len;
	int fd; // -1: not unpacked
};

struct hs_bundle {
	struct packed *files; // in the order of the archive
	size_t num;
};

HS_PRINTF(2, 3)
static struct hs_err *bad(const struct hs_unpacker *unpacker, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	const char *what = hs_arena_vprintf(unpacker->arena, fmt, ap);
	va_end(ap);
	return what ? hs_err_new(HS_ERR_BAD_DATA, "%s is no whole bundle of hangscope: %s",
	                         unpacker->path, what)
	            : hs_err_oom();
}

// ---- the manifest

static struct hs_err *read_text(struct hs_unpacker *unpacker, struct archive_entry *entry,
                                char **text_ret, size_t *len_ret)
{
	int64_t size = archive_entry_size(entry);

	if (archive_entry_filetype(entry) != AE_IFREG || archive_entry_hardlink(entry) ||
	    !archive_entry_size_is_set(entry) || size < 0 || size > MAX_MANIFEST)
		return bad(unpacker, "%s is no file, or too large", HS_BUNDLE_MANIFEST);
	char *text = hs_arena_alloc(unpacker->arena, (size_t)size + 1);
	if (!text)
		return hs_err_oom();
	for (int64_t done = 0; done < size;) {
		int64_t rest = size - done;
		la_ssize_t got = archive_read_data(unpacker->archive, text + done,
		                                   (size_t)(rest < READ_PIECE ? rest : READ_PIECE));

		if (got < 0)
			return hs_unpack_err(unpacker);
		if (!got)
			return bad(unpacker, "%s is cut off", HS_BUNDLE_MANIFEST);
		done += got;
	}
	*text_ret = text;
	*len_ret = (size_t)size;
	return NULL;
}

/** Bytes of hexadecimal digits; 0 when they are none. */
static size_t parse_id(const char *hex, uint8_t id[static HS_BUILD_ID_MAX])
{
	static const char digits[] = "0123456789abcdef";
	size_t len = strlen(hex);

	if (len % 2 || len / 2 > HS_BUILD_ID_MAX)
		return 0;
	for (size_t i = 0; i < len; i++) {
		const char *digit = strchr(digits, hex[i]);

		if (!digit)
			return 0;
		id[i / 2] = (uint8_t)(id[i / 2] << 4 | (digit - digits));
	}
	return len / 2;
}

static const char *string_of(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s ? s : "";
}

/** One line: of "core", of "files", or of "texts". One without a name was not packed. */
static struct hs_err *add_line(struct hs_unpacker *unpacker, struct hs_bundle *bundle,
                               const json_t *line, enum kind kind)
{
	const json_t *size = json_object_get(line, "size");
	const char *name = string_of(line, "name"), *words = string_of(line, "kind");

	if (!json_is_object(line))
		return bad(unpacker, "a line of its manifest, or its core, is none");
	if (!*name && kind != KIND_CORE)
		return NULL;
	if (!*name || !json_is_integer(size) || json_integer_value(size) < 0 ||
	    json_integer_value(size) > unpacker->limits->max_bytes)
		return bad(unpacker, "its manifest gives no name or no size to %s",
		           *name ? name : "the core");
	if (kind == KIND_MODULE && !strcmp(words, "debug"))
		kind = KIND_DEBUG;
	else if (kind == KIND_MODULE && strcmp(words, "module") != 0)
		kind = KIND_OTHER;
	struct packed *file = &bundle->files[bundle->num++];
	*file = (struct packed){
		.name = hs_arena_strdup(unpacker->arena, name),
		.path = hs_arena_strdup(unpacker->arena, string_of(line, "path")),
		.size = json_integer_value(size),
		.kind = kind,
		.fd = -1,
	};
	file->id_len = parse_id(string_of(line, "build_id"), file->id);
	if (!file->name || !file->path)
		return hs_err_oom();
	if (kind != KIND_CORE && file->size > unpacker->limits->max_library)
		return bad(unpacker, "%s has %lld bytes", file->name, (long long)file->size);
	return NULL;
}

static struct hs_err *add_lines(struct hs_unpacker *unpacker, struct hs_bundle *bundle,
                                const json_t *lines, enum kind kind)
{
	const json_t *line;
	size_t i;

	if (json_array_size(lines) > MAX_FILES)
		return bad(unpacker, "its manifest has more than %d files", MAX_FILES);
	json_array_foreach(lines, i, line)
	{
		struct hs_err *err = add_line(unpacker, bundle, line, kind);
		if (err)
			return err;
	}
	return NULL;
}

static struct hs_err *parse_manifest(struct hs_unpacker *unpacker, const json_t *root,
                                     struct hs_bundle *bundle)
{
	const char *schema = string_of(root, "schema");
	const json_t *texts = json_object_get(root, "texts"),
		     *files = json_object_get(root, "files");

	if (strcmp(schema, HS_BUNDLE_SCHEMA) != 0)
		return hs_err_new(HS_ERR_UNSUPPORTED,
		                  "%s is a bundle of another version: its schema is %.40s, this "
		                  "hangscope reads %s",
		                  unpacker->path, *schema ? schema : "not given", HS_BUNDLE_SCHEMA);
	size_t cap = json_array_size(texts) + json_array_size(files) + 1;
	bundle->files = hs_arena_calloc(unpacker->arena, cap, sizeof(*bundle->files));
	if (!bundle->files)
		return hs_err_oom();
	struct hs_err *err = add_lines(unpacker, bundle, texts, KIND_OTHER);
	if (!err)
		err = add_lines(unpacker, bundle, files, KIND_MODULE);
	return err ? err : add_line(unpacker, bundle, json_object_get(root, "core"), KIND_CORE);
}

static struct hs_err *read_manifest(struct hs_unpacker *unpacker, struct archive_entry *entry,
                                    struct hs_bundle *bundle)
{
	const char *name = archive_entry_pathname(entry);
	json_error_t error;
	char *text = NULL;
	size_t len = 0;

	if (!name || strcmp(name, HS_BUNDLE_MANIFEST) != 0)
		return hs_err_new(HS_ERR_BAD_DATA,
		                  "%s is a tar archive, but no bundle of hangscope (its first "
		                  "entry is not %s): unpack it, and give the core in it",
		                  unpacker->path, HS_BUNDLE_MANIFEST);
	struct hs_err *err = read_text(unpacker, entry, &text, &len);
	if (err)
		return err;
	hs_cleanup(json_decrefp) json_t *root =
		json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
	if (!root)
		return bad(unpacker, "%s: line %d: %s", HS_BUNDLE_MANIFEST, error.line, error.text);
	return parse_manifest(unpacker, root, bundle);
}

// ---- the files

/** The entry must be the next one that the manifest lists. */
static struct hs_err *check_entry(struct hs_unpacker *unpacker, struct archive_entry *entry,
                                  const struct packed *file)
{
	const char *name = archive_entry_pathname(entry);

	if (!name || strcmp(name, file->name) != 0)
		return bad(unpacker, "where its manifest has %s, it holds %s", file->name,
		           name ? name : "an entry without a name");
	if (archive_entry_filetype(entry) != AE_IFREG || archive_entry_hardlink(entry) ||
	    archive_entry_symlink(entry))
		return bad(unpacker, "%s is not a regular file", file->name);
	if (!archive_entry_size_is_set(entry) || archive_entry_size(entry) != file->size)
		return bad(unpacker, "%s has %lld bytes, its manifest says %lld", file->name,
		           (long long)archive_entry_size(entry), (long long)file->size);
	return NULL;
}

static struct hs_err *next_entry(struct hs_unpacker *unpacker, struct archive_entry **entry_ret)
{
	int rc = archive_read_next_header(unpacker->archive, entry_ret);

	if (rc == ARCHIVE_EOF)
		*entry_ret = NULL;
	else if (rc != ARCHIVE_OK)
		return hs_unpack_err(unpacker);
	return NULL;
}

static struct hs_err *read_files(struct hs_unpacker *unpacker, struct hs_bundle *bundle,
                                 int64_t *captured_at_ret)
{
	struct archive_entry *entry;
	struct hs_err *err;

	for (size_t i = 0; i < bundle->num; i++) {
		struct packed *file = &bundle->files[i];

		err = next_entry(unpacker, &entry);
		if (err)
			return err;
		if (!entry)
			return bad(unpacker, "it is cut off: %s is missing", file->name);
		err = check_entry(unpacker, entry, file);
		if (!err)
			err = file->kind == KIND_OTHER
			              ? hs_unpack_pass(unpacker, file->size)
			              : hs_unpack_entry(unpacker, file->size, &file->fd);
		if (err)
			return err;
		if (file->kind == KIND_CORE)
			*captured_at_ret = archive_entry_mtime(entry);
	}
	err = next_entry(unpacker, &entry);
	if (!err && entry)
		err = bad(unpacker, "it holds more than its manifest lists");
	return err;
}

struct hs_err *hs_bundle_read(struct hs_unpacker *unpacker, struct archive_entry *entry,
                              struct hs_unpacked *ret)
{
	struct hs_bundle *bundle = hs_arena_alloc(unpacker->arena, sizeof(*bundle));
	struct hs_err *err;
	int64_t captured_at = 0;

	if (!bundle)
		return hs_err_oom();
	err = read_manifest(unpacker, entry, bundle);
	if (!err)
		err = read_files(unpacker, bundle, &captured_at);
	if (err) {
		hs_bundle_close(bundle);
		return err;
	}
	struct packed *core = &bundle->files[bundle->num - 1];
	*ret = (struct hs_unpacked){
		.fd = core->fd,
		.bundle = bundle,
		.captured_at = captured_at,
	};
	core->fd = -1;
	return NULL;
}

void hs_bundle_close(struct hs_bundle *bundle)
{
	for (size_t i = 0; bundle && i < bundle->num; i++)
		hs_closep(&bundle->files[i].fd);
	if (bundle)
		bundle->num = 0;
}

void hs_bundle_drop_files(struct hs_bundle *bundle)
{
	for (size_t i = 0; bundle && i < bundle->num; i++) {
		struct packed *file = &bundle->files[i];

		if (file->kind == KIND_DEBUG)
			continue;
		hs_closep(&file->fd);
		file->fd = -1;
	}
}

static bool same_id(const struct packed *file, const uint8_t *id, size_t id_len)
{
	return file->id_len == id_len && !memcmp(file->id, id, id_len);
}

int hs_bundle_open_file(const struct hs_bundle *bundle, const uint8_t *id, size_t id_len,
                        const char *path, size_t path_len)
{
	for (size_t i = 0; i < bundle->num; i++) {
		const struct packed *file = &bundle->files[i];

		if (file->kind != KIND_MODULE || file->fd < 0)
			continue;
		if (id_len ? same_id(file, id, id_len)
		           : strlen(file->path) == path_len && !memcmp(file->path, path, path_len))
			return fcntl(file->fd, F_DUPFD_CLOEXEC, 0);
	}
	return -1;
}

int hs_bundle_open_debug(const struct hs_bundle *bundle, const uint8_t *id, size_t id_len,
                         const char **path_ret)
{
	for (size_t i = 0; bundle && id_len && i < bundle->num; i++) {
		const struct packed *file = &bundle->files[i];

		if (file->kind != KIND_DEBUG || file->fd < 0 || !same_id(file, id, id_len))
			continue;
		*path_ret = file->path;
		return fcntl(file->fd, F_DUPFD_CLOEXEC, 0);
	}
	return -1;
}
