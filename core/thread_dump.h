// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Thread dump: what HotSpot's own dump (jstack -l -e) says beside stacks and locks. Collected on
 * demand, kept beside the threads of a snapshot. A fact that cannot be known is left out, as
 * HotSpot itself leaves it out, never guessed.
 */
#ifndef HS_THREAD_DUMP_H
#define HS_THREAD_DUMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/addr.h"
#include "core/base/arena.h"

/** An object in a line about locks. */
struct hs_dump_object {
	hs_addr address;
	const char *class_name; /**< with dots; raw */
};

/** What a thread is blocked by, as the search for deadlocks sees it. */
struct hs_dump_blocker {
	hs_addr monitor; /**< ObjectMonitor *; 0: object is an ownable synchronizer */
	struct hs_dump_object object;
	uint32_t owner;    /**< thread index, or HS_NONE */
	bool is_from_java; /**< entered by Java code, not by JNI or the VM */
};

/** Header of one thread. */
struct hs_dump_thread {
	hs_addr address;         /**< Thread * */
	const char *name;        /**< of a VM thread, where the kernel cuts it; NULL */
	const char *os_state;    /**< OSThread's word: "waiting on condition"; NULL */
	bool has_os_prio;        /**< native priority is known */
	int32_t os_prio;         /**< native priority */
	int64_t cpu_ns;          /**< -1 when not known, as all below */
	int64_t elapsed_ms;      /**< since the thread was started */
	int64_t allocated;       /**< bytes of Java heap */
	int64_t defined_classes; /**< classes that it defined */
	hs_addr last_java_sp;    /**< 0 when it runs Java code, or has none */
	int64_t carried;         /**< java_tid of the virtual thread mounted on it; 0 none */
	const char *compiler;    /**< what a compiler thread does, in HotSpot's words; NULL */
	struct hs_dump_blocker blocker;     /**< object.address 0: none */
	const struct hs_dump_object *owned; /**< ownable synchronizers, by address */
	size_t num_owned;
};

/** Threads that block each other, in the order in which HotSpot's search visits them. */
struct hs_dump_deadlock {
	struct hs_index_vec threads;
};

struct hs_thread_dump {
	int major;                   /**< Java release: wording differs; 0 when not known */
	const char *vm_release;      /**< "17.0.15+6"; in 8 that of HotSpot, "25.412-b08"; NULL */
	const char *vm_info;         /**< "mixed mode, sharing"; NULL */
	const char *jdk_name;        /**< "OpenJDK Runtime Environment"; NULL */
	int64_t captured_ms;         /**< unix milliseconds; 0 when not known that exactly */
	hs_addr list;                /**< ThreadsList *, 0 where it is not published */
	const hs_addr *java_threads; /**< JavaThread *, in HotSpot's order */
	size_t num_java_threads;
	struct hs_index_vec order; /**< thread indices in HotSpot's order: Java, then VM threads */
	bool owned_known; /**< all ownable synchronizers were found: a thread may have "None" */
	int64_t jni_global, jni_weak; /**< -1 when not known */
	HS_VEC(struct hs_dump_deadlock) deadlocks;
};

#endif // HS_THREAD_DUMP_H
