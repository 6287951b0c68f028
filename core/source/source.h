// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Source: where a target's bytes come from. One const struct of functions per kind; target.c puts
 * the page cache, the string readers and the public face on top. Not installed.
 */
#ifndef HS_SOURCE_H
#define HS_SOURCE_H

#include "core/target.h"

struct hs_page_store;
struct hs_source;
struct user_regs_struct;

/** What a descriptor of the target was open for: a path, "socket:[1234]" and so on, raw. */
struct hs_fd_link {
	int fd;
	const char *target;
};

struct hs_source_ops {
	const char *name;
	/**
	 * Read what lies at @p addr as the capture saw it: all of @p len or HS_ERR_FAULT (static).
	 * @p len may be a whole cache page, and the page may be only partly readable: target.c
	 * falls back to the exact range then.
	 */
	struct hs_err *(*read)(struct hs_source *source, hs_addr addr, void *buf, size_t len);
	/** Past every copy; NULL: same as read. */
	struct hs_err *(*read_now)(struct hs_source *source, hs_addr addr, void *buf, size_t len);
	/** NULL: HS_ERR_UNSUPPORTED. */
	struct hs_err *(*lwp_unmoved)(struct hs_source *source, pid_t host_tid, bool *same_ret);
	/** NULL: HS_ERR_UNSUPPORTED. */
	struct hs_err *(*lwp_switches)(struct hs_source *source, pid_t host_tid, uint64_t *ret);
	/** How long the target has been held by now; NULL: info.pause_ms. */
	double (*held_ms)(const struct hs_source *source);
	/** Resume what open stopped, before close; info.pause_ms is final then. NULL: nothing is.
	 */
	void (*release)(struct hs_source *source);
	/** Of the core, for reading it at offsets; -1 or NULL: there is none. */
	int (*file)(const struct hs_source *source);
	/** A new descriptor of a debug file that came with the core; -1 or NULL: none came. */
	int (*open_debug)(const struct hs_source *source, const struct hs_module *module,
	                  const char **path_ret);
	/** Is @p auxv, of a live process, that of this program? NULL: no. */
	bool (*is_process)(const struct hs_source *source, const void *auxv, size_t len);
	/** What @p fd is open for, into the arena; NULL: not known. The function may be NULL. */
	const char *(*fd_link)(struct hs_source *source, int fd);
	/** /proc/PID of a live process, borrowed; NULL: it is none. */
	int (*proc_directory)(const struct hs_source *source);
	/** Resume what open stopped, free everything and @p source itself. */
	void (*close)(struct hs_source *source);
};

/** Base of every source; a kind embeds it as its first member. */
struct hs_source {
	const struct hs_source_ops *ops;
	struct hs_arena *arena; /**< everything below; destroyed after ops->close() */
	struct hs_target_info info;
	const struct hs_lwp *lwps; /**< by ascending tid */
	size_t num_lwps;
	struct hs_module_map modules;
	bool owns_module_fds; /**< set by hs_modules_build(): closed by hs_source_destroy() */
	HS_VEC(struct hs_target_gap) gaps;
	/** NULL, or keep each page that is read, for a snapshot: and what it is of besides. */
	struct hs_page_store *record;
	HS_VEC(struct hs_fd_link) fd_links; /**< those asked for while recording */
	/** Of each of lwps, as the kernel gave them; NULL where there are none. While recording. */
	const struct user_regs_struct *const *raw_regs;
	HS_VEC(uint64_t) auxv; /**< pairs without AT_NULL; while recording */
	/** Spent on images of lost files, of HS_MAX_IMAGE_BYTES and HS_MAX_IMAGE_READS. */
	uint64_t image_bytes, image_reads;
	bool cacheable; /**< pages may be cached by target.c (false: the source serves memory
	                   itself) */
};

/** What a target reads from. For what is part of the capture, not for collectors. */
struct hs_source *hs_target_source(struct hs_target *target);

/** ops->read(), kept in source->record where there is one: what every reader calls. */
HS_MUST_CHECK struct hs_err *hs_source_read(struct hs_source *source, hs_addr addr, void *buf,
                                            size_t len);

/** Begin to keep the pages that are read. */
HS_MUST_CHECK struct hs_err *hs_source_record(struct hs_source *source);

/** Read the pages kept so far again: they were read before the pause. */
HS_MUST_CHECK struct hs_err *hs_source_refresh(struct hs_source *source);

/** Record a gap of the capture; strings are formatted into the arena. */
HS_PRINTF(4, 5)
void hs_source_gap(struct hs_source *source, const char *subject, const char *costs,
                   const char *reason_fmt, ...);

/**
 * End a source, also a half-built one (its ops must be set): the descriptors of its modules,
 * ops->close(), the arena. NULL is a no-op. hs_target_close() calls it.
 */
void hs_source_destroy(struct hs_source *source);
void hs_source_destroyp(struct hs_source **source);

/** Put the public face on a source; consumes it also on error. */
HS_MUST_CHECK struct hs_err *hs_target_from_source(struct hs_source *source,
                                                   struct hs_target **ret);

// ---- modules.c: from mappings to modules, shared by core and live.

/** How a kind of source opens the file behind a mapping. */
struct hs_file_opener {
	/**
	 * Open the regular file that is mapped there, read-only, O_NONBLOCK | O_CLOEXEC |
	 * O_NOFOLLOW where it applies. *open_path_ret (arena or static) is for messages.
	 * @return NULL, HS_ERR_ABSENT, HS_ERR_OS, HS_ERR_BAD_DATA (not a regular file, other
	 * inode).
	 */
	struct hs_err *(*open)(void *arg, const struct hs_mapping *mapping, int *fd_ret,
	                       const char **open_path_ret);
	void *arg;
};

/**
 * Group @p mappings (sorted, disjoint; module indices are written) into modules, open their files,
 * compare build ids with the image in memory, compute biases. A file that is missing or another
 * build makes the module's state so and adds a gap that says what it costs.
 */
HS_MUST_CHECK struct hs_err *hs_modules_build(struct hs_source *source, struct hs_mapping *mappings,
                                              size_t num_mappings,
                                              const struct hs_file_opener *opener);

/** Build id of an ELF image: from a file descriptor, or from memory at @p start. 0: none found. */
size_t hs_build_id_of_fd(int fd, uint8_t id[static HS_BUILD_ID_MAX]);
size_t hs_build_id_of_memory(struct hs_source *source, hs_addr start,
                             uint8_t id[static HS_BUILD_ID_MAX]);

// ---- root_file.c: files below another root.

/**
 * Open @p path as a process whose root is the directory @p root_fd sees it: absolute links stay
 * inside (openat2 RESOLVE_IN_ROOT). Regular files only, non-blocking, close-on-exec.
 */
HS_MUST_CHECK struct hs_err *hs_root_file_open(int root_fd, const char *path, int *fd_ret);

#endif // HS_SOURCE_H
