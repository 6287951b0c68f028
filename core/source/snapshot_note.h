// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Snapshot notes: what a core has no place for and a live process told, as JSON in notes of our
 * own. One for the process, and one per thread, so that each is small. Written and read here, so
 * that both sides know the same words. Texts of the target are strings where they are UTF-8, and
 * {"hex": "…"} where not. Not installed.
 */
#ifndef HS_SNAPSHOT_NOTE_H
#define HS_SNAPSHOT_NOTE_H

#include "core/source/source.h"

#define HS_SNAPSHOT_OWNER "HANGSCOPE"

enum {
	/** n_type: gdb knows low numbers whoever their owner is. */
	HS_SNAPSHOT_PROCESS = 0x48530001,
	HS_SNAPSHOT_THREAD = 0x48530002,
	HS_SNAPSHOT_FORMAT = 1, /**< what a reader must know; members may be added without */
	HS_SNAPSHOT_MAX_PROCESS = 4 << 20, /**< bytes of the notes */
	HS_SNAPSHOT_MAX_THREAD = 16 << 10, /**< has room for a kernel_stack */
};

/** What such notes say, in the arena of the source that they were read for. */
struct hs_snapshot_notes {
	bool present;
	int format;
	struct hs_target_info info; /**< kind, path, signo and so on are not set */
	HS_VEC(struct hs_target_gap) gaps;
	HS_VEC(struct hs_fd_link) fd_links; /**< by ascending descriptor */
	struct hs_second_look second_look;
	HS_VEC(struct hs_lwp)
	threads;        /**< without values of registers; regs.valid says which are */
	size_t num_bad; /**< notes, or members of one, that make no sense */
};

/** @return Text from malloc, NULL when out of memory. @p tool: name and version of the writer. */
char *hs_snapshot_note_process(const struct hs_source *source,
                               const struct hs_second_look *second_look, const char *tool);
char *hs_snapshot_note_thread(const struct hs_lwp *lwp);

/** Read a note; what makes no sense is counted. */
void hs_snapshot_note_read_process(struct hs_arena *arena, const char *text, size_t len,
                                   struct hs_snapshot_notes *notes);
void hs_snapshot_note_read_thread(struct hs_arena *arena, const char *text, size_t len,
                                  struct hs_snapshot_notes *notes);

#endif // HS_SNAPSHOT_NOTE_H
