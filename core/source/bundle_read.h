// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Bundle: a core and the files that its analysis opens, in one tar archive, as `hangscope bundle`
 * writes it. In this order: manifest.json, which lists all that follows, texts, files, the core.
 * Names in it are labels: nothing is ever created or opened by one. Not installed.
 */
#ifndef HS_BUNDLE_READ_H
#define HS_BUNDLE_READ_H

#include "core/source/unpack.h"

struct archive_entry;

#define HS_BUNDLE_SCHEMA "hangscope-bundle/1"
#define HS_BUNDLE_MANIFEST "manifest.json"

/** The files of an unpacked bundle. Its memory is in an arena; the descriptors are closed by close.
 */
struct hs_bundle;

/** Read a tar archive, whose first header was read, as a bundle. Called by hs_unpack(). */
HS_MUST_CHECK struct hs_err *hs_bundle_read(struct hs_unpacker *unpacker,
                                            struct archive_entry *entry, struct hs_unpacked *ret);

/** NULL is a no-op. */
void hs_bundle_close(struct hs_bundle *bundle);

/**
 * Open a file that was packed: that of a build id, or when @p id_len is 0, that of a path (of
 * @p path_len bytes).
 * @return A new descriptor, or -1.
 */
int hs_bundle_open_file(const struct hs_bundle *bundle, const uint8_t *id, size_t id_len,
                        const char *path, size_t path_len);

/** Open the separate debug file of a build id. @return A new descriptor, or -1. */
int hs_bundle_open_debug(const struct hs_bundle *bundle, const uint8_t *id, size_t id_len,
                         const char **path_ret);

/** Close all but the debug files: the modules have theirs. */
void hs_bundle_drop_files(struct hs_bundle *bundle);

#endif // HS_BUNDLE_READ_H
