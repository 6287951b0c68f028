// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * What the doctor knows before it judges. Gathered once by facts_*.c; checks and remedies are pure
 * functions of it, so that tests can make up any place and any process. Not installed.
 */
#ifndef HS_DOCTOR_FACTS_H
#define HS_DOCTOR_FACTS_H

#include "core/doctor/doctor.h"
#include "core/module_map.h"
#include "core/source/access.h"

enum hs_place_kind {
	HS_PLACE_HOST,
	HS_PLACE_KUBERNETES,
	HS_PLACE_DOCKER,
	HS_PLACE_PODMAN,
	HS_PLACE_CONTAINER, /**< some other runtime */
};

/** Where we run. Names are checked to be plain words: they go into commands. */
struct hs_place {
	enum hs_place_kind kind;
	const char *container_id;        /**< of our container, or NULL */
	const char *pod, *pod_namespace; /**< or NULL */
	const char *pod_container;       /**< of the process, or NULL */
};

/** How a core of the process would be written. */
struct hs_core_writing {
	const char *pattern; /**< kernel.core_pattern; NULL not known */
	bool has_limit;
	uint64_t limit, hard_limit; /**< UINT64_MAX: unlimited */
	bool has_filter;
	uint64_t filter;       /**< coredump_filter */
	bool uses_huge_pages;  /**< explicit ones: hugetlbfs, MAP_HUGETLB */
	bool maps_cds_archive; /**< a JVM's class data archive: private file pages */
	uint64_t size;         /**< bytes the core would have, about */
	bool has_space;        /**< the directory could be looked at: */
	bool read_only;
	uint64_t space;        /**< bytes free there */
	const char *directory; /**< for words; NULL not known */
};

/** A file that is mapped as a program or library, and is not here. */
struct hs_lost_file {
	const char *path, *why;
	const char *build_id; /**< in hexadecimal, or NULL */
	bool is_main;
	bool from_memory; /**< its image in memory stands in for it */
};

struct hs_file_facts {
	bool known;
	const char *why_unknown;
	size_t num;            /**< files, the vdso left out */
	size_t num_without_id; /**< the program has none to compare */
	size_t num_unproven;   /**< used, although nothing shows that they are the mapped ones */
	HS_VEC(struct hs_lost_file) lost;
	const char *libc; /**< "glibc", "musl" or NULL */
	const char *jvm;  /**< path of libjvm.so, or NULL */
	enum hs_tristate jvm_symbols, libc_symbols;
	const char *distribution; /**< ID of the process's os-release, or NULL */
	const char *jvm_package;  /**< name of its directory: "java-17-openjdk-amd64", or NULL */
};

struct hs_core_facts {
	bool is_snapshot; /**< of hangscope snapshot: most of the memory is not in it, on purpose */
	bool killed;      /**< the kernel wrote it, when the process died of a signal */
	int signo;
	size_t threads, threads_without_regs;
	uint64_t truncated;    /**< bytes */
	uint64_t lost_memory;  /**< bytes of anonymous memory that it lacks */
	size_t num_lost_areas; /**< mappings */
};

struct hs_doctor_facts {
	enum hs_doctor_kind kind;
	const char *given; /**< what the user called the target */
	struct hs_place place;
	struct hs_access access;
	enum hs_tristate thread_db;
	const char *why_no_thread_db;
	bool foreign_proc;   /**< /proc is of another pid namespace than ours */
	const char *hidepid; /**< value of the option of /proc, or NULL */

	// ---- a live process
	pid_t pid;
	const char *name; /**< of the process, or NULL */
	bool exists, hidden;
	bool is_kernel_thread, is_foreign; /**< foreign: not an x86_64 program */
	char state;                        /**< as in /proc, '\0' not known */
	bool is_frozen;                    /**< by its cgroup */
	size_t num_levels;                 /**< of pid namespaces between us and it: 1 is ours */
	struct hs_core_writing writing;

	// ---- both
	struct hs_file_facts files;

	// ---- a core
	const char *path;
	struct hs_core_facts core;
};

// ---- facts_*.c: nothing fails but for want of memory, which the arena remembers.

/** Where we run, our rights, the kernel's settings. */
void hs_facts_self(struct hs_doctor_facts *facts, struct hs_arena *arena);

/** A process; facts->pid is given. */
void hs_facts_live(struct hs_doctor_facts *facts, const struct hs_doctor_options *options,
                   struct hs_arena *arena);

/** A core; facts->path is given. @return NULL, or why it cannot be read at all. */
HS_MUST_CHECK struct hs_err *hs_facts_core(struct hs_doctor_facts *facts,
                                           const struct hs_doctor_options *options,
                                           struct hs_arena *arena);

struct hs_target;

/** The files of an open target. */
void hs_facts_files(struct hs_file_facts *files, struct hs_target *target, const char *debug_dir,
                    struct hs_arena *arena);

/** How a core of the process at @p proc_fd would be written. */
void hs_facts_writing(struct hs_core_writing *writing, int proc_fd, struct hs_arena *arena);

/** A name that is safe in a command: letters, digits, '.', '_', '-'. */
bool hs_is_plain_name(const char *name);

/** The namespace of a pod by the search domains of its resolv.conf. @return NULL when none tells.
 */
const char *hs_resolver_namespace(const char *text, struct hs_arena *arena);

// ---- doctor.c, checks.c, remedies.c

/** From facts to the diagnosis. @param[out] ret In @p arena. @return NULL or HS_ERR_OOM. */
HS_MUST_CHECK struct hs_err *hs_doctor_judge(const struct hs_doctor_facts *facts,
                                             struct hs_arena *arena,
                                             const struct hs_diagnosis **ret);

/** Ask every question that @p facts can answer. */
void hs_checks_run(const struct hs_doctor_facts *facts, struct hs_arena *arena,
                   struct hs_diagnosis *diagnosis);

/** The one thing to do here about this refusal. */
const char *hs_remedy_refusal(const struct hs_doctor_facts *facts, enum hs_refusal refusal,
                              struct hs_arena *arena);

/** The same where /proc hides the process. */
const char *hs_remedy_hidden(const struct hs_doctor_facts *facts, struct hs_arena *arena);

/** The value of coredump_filter with which a core of the process answers everything. */
uint64_t hs_wanted_filter(const struct hs_core_writing *writing);

/** "host", "kubernetes"… */
const char *hs_place_name(enum hs_place_kind kind);

#endif // HS_DOCTOR_FACTS_H
