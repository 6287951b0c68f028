// SPDX-License-Identifier: Apache-2.0
/** @file What the parts of the thread dump collector share. Not installed. */
#ifndef HS_JVM_THREAD_DUMP_H
#define HS_JVM_THREAD_DUMP_H

#include "core/jvm/locks.h"

/** A dump that is being collected. */
struct hs_dump_builder {
	struct hs_jvm *jvm;
	struct hs_thread_dump *dump;
	struct hs_dump_thread **threads; /**< by thread index; NULL: no thread of the VM */
	/** Offset of ThreadStatisticalInfo in a Thread; 0 when not found. */
	uint64_t statistics;
};

// ---- thread_facts.c: headers.

/** Headers of Java threads and of the VM's own threads. */
HS_MUST_CHECK struct hs_err *hs_dump_collect_facts(struct hs_dump_builder *builder);

// ---- dump_locks.c: what blocks whom.

/** What each thread is blocked by, and the deadlocks that HotSpot's search would find. */
HS_MUST_CHECK struct hs_err *hs_dump_collect_deadlocks(struct hs_dump_builder *builder);

// ---- owned_locks.c

/** Ownable synchronizers of each thread: searches the Java heap. Sets dump->owned_known. */
HS_MUST_CHECK struct hs_err *hs_dump_collect_owned(struct hs_dump_builder *builder);

// ---- jni_refs.c

/** How many global references JNI has. */
HS_MUST_CHECK struct hs_err *hs_dump_collect_jni(struct hs_dump_builder *builder);

#endif // HS_JVM_THREAD_DUMP_H
