// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Words: threads, frames, resources and edges in plain English, the same in every report. All
 * results are printable UTF-8 in @p arena (control bytes and invalid sequences of the target as
 * \xNN), never NULL: out of memory gives "?".
 */
#ifndef HS_WORDS_H
#define HS_WORDS_H

#include "core/snapshot.h"

/** Printable form of raw target bytes; NULL gives "?". */
const char *hs_words_safe(struct hs_arena *arena, const char *raw);

/** "\"main\"", or "thread 4711" when it has no name. */
const char *hs_words_thread(struct hs_arena *arena, const struct hs_snapshot *snapshot,
                            uint32_t thread);

/** "\"a\"", "\"a\" and \"b\"", "\"a\", \"b\" and 3 more". */
const char *hs_words_threads(struct hs_arena *arena, const struct hs_snapshot *snapshot,
                             const uint32_t *threads, size_t count, size_t max);

/** "java.lang.ClassLoader.loadClass(ClassLoader.java:592)", "pthread_mutex_lock (libc.so.6)". */
const char *hs_words_frame(struct hs_arena *arena, const struct hs_frame *frame);

/** The same, or @p otherwise when @p frame is NULL. */
const char *hs_words_frame_or(struct hs_arena *arena, const struct hs_frame *frame,
                              const char *otherwise);

/** Valid UTF-8 with its control characters: for a format that escapes them itself (JSON). Invalid
 * bytes and DEL become \xNN. */
const char *hs_words_utf8(struct hs_arena *arena, const char *raw);

/** Like hs_words_safe(), but keeps '\n': for text that is ours and quotes escaped names. */
const char *hs_words_paragraphs(struct hs_arena *arena, const char *text);

/** The frame of a wait that its author would recognise: the innermost one that is neither C
 * library, VM nor the Java library; the edge's own frame, or the first one, when there is none.
 * NULL: no frames. */
const struct hs_frame *hs_words_wait_frame(const struct hs_snapshot *snapshot,
                                           const struct hs_edge *wait);

/** Frame of a hold as far as it is known, or NULL. */
const struct hs_frame *hs_words_hold_frame(const struct hs_snapshot *snapshot,
                                           const struct hs_edge *hold);

/** "the class-loader lock of X @ffd1d958 (not parallel capable)", "the link of C: …". */
const char *hs_words_hold(struct hs_arena *arena, const struct hs_snapshot *snapshot,
                          const struct hs_edge *hold);

/** "class C to be linked, which \"t\" is doing", "the lock L, held by \"t\"". @p hold may be NULL.
 */
const char *hs_words_wait(struct hs_arena *arena, const struct hs_snapshot *snapshot,
                          const struct hs_edge *wait, const struct hs_edge *hold);

/** What a thread that waits for nobody is doing: "sleeps", "reads from …", "runs". */
const char *hs_words_activity(struct hs_arena *arena, const struct hs_snapshot *snapshot,
                              uint32_t thread);

/** Name after the last '/' of a path. */
const char *hs_words_base_name(const char *path);

/** Is this frame of the Java library or of a VM-generated class (reflection, lambda forms)? */
bool hs_words_is_java_library(const struct hs_location *location);

#endif // HS_WORDS_H
