// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Snapshot: everything collected about one target, plus what could not be (gaps). Collectors fill
 * it; hs_snapshot_seal() ends that, and from then on it is const and the target may be gone.
 * Records refer to each other by index. Strings live in the snapshot's arena and are raw target
 * bytes: renderers escape them. Adding keeps out-of-memory sticky (index HS_NONE is then returned,
 * and seal reports it), so collectors need no checks at each step.
 */
#ifndef HS_SNAPSHOT_H
#define HS_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/base/addr.h"
#include "core/base/arena.h"
#include "core/base/err.h"
#include "core/base/tristate.h"
#include "core/frame.h"
#include "core/target.h"
#include "core/thread_dump.h"

/** How sure: ordered, so that the weakest of several is their minimum. */
enum hs_certainty {
	HS_GUESSED,  /**< a heuristic on bytes */
	HS_INFERRED, /**< follows from what was read, if the program is what it seems to be */
	HS_READ,     /**< read from the field that the program itself uses */
};

enum hs_thread_kind {
	HS_THREAD_NATIVE,
	HS_THREAD_JAVA,
	HS_THREAD_VM,
	HS_THREAD_VIRTUAL,
};

/** A thread. Identified by its index: an unmounted virtual thread has no tid. */
struct hs_thread {
	enum hs_thread_kind kind;
	const char *name; /**< best known name; NULL when none */
	pid_t tid;        /**< in the target's namespace; 0 for an unmounted virtual thread */
	pid_t host_tid;   /**< 0 when not known */
	int64_t java_tid; /**< java.lang.Thread.tid; 0 when not a Java thread */
	hs_addr pthread;  /**< pthread_t; 0 when not known */
	const char *start_routine; /**< name of the function it was started with, or NULL */
	const char *state; /**< plain word: "running", "sleeping", "blocked on a monitor"…; never
	                      NULL */
	const char *java_state; /**< java.lang.Thread.State as jstack words it, or NULL */
	const char *syscall; /**< decoded, "futex(FUTEX_WAIT, 0x7f…, 2)"; NULL when not in one */
	/** Of a live thread that was not stopped: the kernel's function that it sleeps in, and the
	 * kernel's stack, one function a line; or NULL. */
	const char *wchan, *kernel_stack;
	int64_t cpu_ms;     /**< -1 when not known */
	uint32_t carrier;   /**< of a mounted virtual thread: thread index, or HS_NONE */
	uint32_t mounted;   /**< of a carrier: the virtual thread on its stack, or HS_NONE */
	const char *pinned; /**< why a virtual thread that waits keeps its carrier, or NULL */
	hs_addr vm_thread;  /**< JavaThread *, 0 if none */
	bool is_daemon;
	int priority;                  /**< Java priority, 0 when not known */
	const struct hs_frame *frames; /**< innermost first */
	uint32_t num_frames;
	bool frames_cut; /**< the walk ended before the thread's first function: see gaps */
	const struct hs_dump_thread *dump; /**< for a thread dump; NULL unless asked for */
};

/** Order and names are those of DESIGN.md 3; hs_resource_kind_name() gives the JSON word. */
enum hs_resource_kind {
	HS_RES_JAVA_MONITOR,
	HS_RES_LOADER_LOCK,
	HS_RES_CLASS_LINK,
	HS_RES_CLASS_INIT,
	HS_RES_JUC_LOCK,
	HS_RES_JUC_SYNC,
	HS_RES_CARRIER,
	HS_RES_PTHREAD_MUTEX,
	HS_RES_PTHREAD_RWLOCK,
	HS_RES_PTHREAD_COND,
	HS_RES_PTHREAD_JOIN,
	HS_RES_SEMAPHORE,
	HS_RES_FUTEX,
	HS_RES_VM_MUTEX,
	HS_RES_SAFEPOINT,
	HS_RES_HANDSHAKE,
	HS_RES_NATIVE_LIBRARY,
	HS_RES_FD,
	HS_RES_KIND_COUNT,
};

/** A class loader, as far as its lock matters. */
struct hs_loader_info {
	const char *class_name; /**< with dots */
	hs_addr object;
	enum hs_tristate parallel_capable; /**< parallelLockMap != null */
	/** The class called registerAsParallelCapable(): its Class is in a static it writes, or its
	 * <clinit> refers to that method. */
	enum hs_tristate asked;
	/** First superclass that is not in ClassLoader.ParallelLoaders.loaderTypes; NULL when all
	 * are (or when it could not be read). Only meaningful when not parallel capable. */
	const char *unregistered_superclass;
	enum hs_tristate self_registered; /**< its own class is in loaderTypes */
};

/** A class that is being linked or initialized. */
struct hs_class_info {
	const char *name;   /**< with dots */
	const char *loader; /**< class name of its loader, NULL for the boot loader */
	hs_addr klass;      /**< InstanceKlass * */
	const char *state;  /**< HotSpot's word: "loaded", "being_linked", "being_initialized"… */
	uint16_t major_version; /**< of the class file; 0 when not known; < 50 means the old
	                           verifier */
};

/** An extra fact, for the report's "detail". */
struct hs_detail {
	const char *key, *value;
};

/** A thing that threads wait for. Identity: (kind, address). */
struct hs_resource {
	enum hs_resource_kind kind;
	hs_addr address;   /**< of the object, class, mutex, futex word… */
	const char *label; /**< "the class-loader lock of boot.Boot$LaunchedClassLoader" */
	const char
		*class_name; /**< Java class of the object, or the class itself; NULL otherwise */
	const char *loader;  /**< class name of the loader of that class, NULL for boot / none */
	const struct hs_loader_info *loader_info; /**< HS_RES_LOADER_LOCK */
	const struct hs_class_info *class_info;   /**< HS_RES_CLASS_LINK, HS_RES_CLASS_INIT */
	pid_t owner_tid; /**< as the owner word says, even when no such thread is left; 0 none */
	HS_VEC(struct hs_detail) details;
};

/** A word of target memory that an edge was read from: looked at again before a live report. */
struct hs_word {
	hs_addr addr;
	uint64_t value;
	uint8_t size; /**< 1, 2, 4, 8; 0: unused */
};

enum {
	HS_EDGE_WORDS = 3
};

/** One edge of the wait-for graph. A wait: thread → resource. A hold: resource → thread. */
struct hs_edge {
	uint32_t thread, resource;
	uint32_t
		frame; /**< index into the thread's frames of the frame that shows it, or HS_NONE */
	enum hs_certainty certainty;
	bool timed;            /**< waits: ends by itself (tryLock(5s), wait(1000)) */
	bool shared;           /**< holds: a reader; waits: wants to be one */
	const char *read_from; /**< memory it was read from: "JavaThread 0x…,
	                          _current_pending_monitor" */
	/** Class that the thread is loading, linking or initializing on account of this edge, with
	 * dots; NULL when none or not known. */
	const char *subject_class;
	struct hs_word words[HS_EDGE_WORDS];
};

/** What could not be read, and the answer that it costs. */
struct hs_gap {
	const char *subject, *reason, *costs;
};

/** What runs in the target. */
struct hs_runtime {
	const char *kind;    /**< "hotspot", "node", "native" */
	const char *version; /**< "17.0.15+6-Debian-1deb12u1"; NULL when not known */
	const char *vm;      /**< "OpenJDK 64-Bit Server VM"; NULL */
	const char *gc;      /**< "G1"; NULL */
};

struct hs_snapshot {
	struct hs_arena *arena; /**< owns everything below */
	struct hs_target_info info;
	const struct hs_module_map *modules; /**< a copy; file descriptors are -1 */
	struct hs_runtime runtime;
	HS_VEC(struct hs_thread) threads;
	HS_VEC(struct hs_resource) resources;
	HS_VEC(struct hs_edge) waits;
	HS_VEC(struct hs_edge) holds;
	HS_VEC(struct hs_gap) gaps;
	size_t num_more_gaps; /**< beyond HS_MAX_GAPS: the seal adds one gap for them */
	const struct hs_thread_dump *dump; /**< NULL unless asked for, and without HotSpot */
	/** A count of the garbage collections that have begun, read before any object; size 0:
	 * none. While it stays, and none was under way, a collector that stops the world moves no
	 * object: their words can be looked at again where they were. */
	struct hs_word collections;
	bool was_collecting; /**< such a collection was under way then */
	/** A gap that can hide a deadlock: without findings, the verdict is then "incomplete". */
	bool blind;
	bool has_locals; /**< the local variables of Java frames were collected */
	bool sealed;
	/** Nothing that the program wrote may get in: no text or number of its heap, no thread name
	 * of its own, no command line. Set before collecting; whoever reads such a thing obeys it.
	 */
	bool redact;
	struct hs_snapshot_index *index; /**< lookups while it is built */
};

/** @return NULL when out of memory. */
struct hs_snapshot *hs_snapshot_create(void);
void hs_snapshot_destroy(struct hs_snapshot *snapshot);
void hs_snapshot_destroyp(struct hs_snapshot **snapshot);

/** Add a thread; its fields other than state are zero (carrier HS_NONE, cpu_ms -1). */
struct hs_thread *hs_snapshot_add_thread(struct hs_snapshot *snapshot, pid_t tid,
                                         uint32_t *index_ret);

/** What stands for a text that is left out. */
#define HS_REDACTED "<redacted>"

/** Set a thread's name, which is borrowed. With snapshot->redact only names that the VM gives
 * survive; others become "thread T12", where 12 is the thread's index + 1. */
void hs_snapshot_name_thread(struct hs_snapshot *snapshot, struct hs_thread *thread,
                             const char *name);
/** The same for all threads: a second line of defence, at the seal. */
void hs_snapshot_redact_names(struct hs_snapshot *snapshot);

/** Does a user mean this thread by @p want: its name, its tid, its tid on the host, or the number
 * of a virtual thread? */
bool hs_thread_is_called(const struct hs_thread *thread, const char *want);

/** Index of the thread with this tid (target's namespace), or HS_NONE. */
uint32_t hs_snapshot_thread_by_tid(const struct hs_snapshot *snapshot, pid_t tid);

/** What runs on a thread: the virtual thread that it carries, or itself. HS_NONE stays HS_NONE. */
static inline uint32_t hs_snapshot_runner(const struct hs_snapshot *snapshot, uint32_t thread)
{
	if (thread == HS_NONE || snapshot->threads.items[thread].mounted == HS_NONE)
		return thread;
	return snapshot->threads.items[thread].mounted;
}

/**
 * The resource with this identity, added on first use (label NULL then: the caller fills it).
 * @return Its index; *is_new_ret (may be NULL) says whether it was added. HS_NONE when out of
 * memory. The pointer from hs_snapshot_resource() is good until the next resource is added.
 */
uint32_t hs_snapshot_resource_for(struct hs_snapshot *snapshot, enum hs_resource_kind kind,
                                  hs_addr address, bool *is_new_ret);
struct hs_resource *hs_snapshot_resource(struct hs_snapshot *snapshot, uint32_t index);

/** Add "key: value" to a resource. */
HS_PRINTF(4, 5)
void hs_snapshot_detail(struct hs_snapshot *snapshot, uint32_t resource, const char *key,
                        const char *fmt, ...);

/** Add edges; copies. An identical (thread, resource) edge is merged, the surer one wins. */
void hs_snapshot_add_wait(struct hs_snapshot *snapshot, const struct hs_edge *edge);
void hs_snapshot_add_hold(struct hs_snapshot *snapshot, const struct hs_edge *edge);

/**
 * Record that something could not be read: consumes @p err. A NULL err is a no-op.
 * @p subject and @p costs are copied.
 */
void hs_snapshot_gap(struct hs_snapshot *snapshot, const char *subject, const char *costs,
                     struct hs_err *err);
HS_PRINTF(4, 5)
void hs_snapshot_gapf(struct hs_snapshot *snapshot, const char *subject, const char *costs,
                      const char *reason_fmt, ...);

/** Collection is over. @return NULL or HS_ERR_OOM if anything was lost on the way. */
HS_MUST_CHECK struct hs_err *hs_snapshot_seal(struct hs_snapshot *snapshot);

/** "java-monitor", "loader-lock"… */
const char *hs_resource_kind_name(enum hs_resource_kind kind);
/** "object", "optimized-out"… */
const char *hs_local_kind_name(enum hs_local_kind kind);
const char *hs_certainty_name(enum hs_certainty certainty);

#endif // HS_SNAPSHOT_H
