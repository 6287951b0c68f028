// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Snapshot builder: sealed snapshots made of a few calls, for tests of graph, analyzers and
 * renderers. Fails the running cmocka test when memory runs out.
 */
#ifndef HS_SNAPSHOT_BUILDER_H
#define HS_SNAPSHOT_BUILDER_H

#include "core/report.h"
#include "core/snapshot.h"
#include "core/wait_graph.h"

/** A Java frame: class, method, file, line. */
struct sb_frame {
	const char *class_name, *method, *file;
	int line;
	const char *descriptor; /**< NULL: "()V" */
};

/** An empty snapshot of a core of a JVM. The caller destroys it. */
struct hs_snapshot *sb_create(void);

/** Add a Java thread with @p frames (innermost first, ends at class_name NULL; may be NULL). */
uint32_t sb_thread(struct hs_snapshot *snapshot, const char *name, pid_t tid,
                   const struct sb_frame *frames);

/** Add a native thread without frames. */
uint32_t sb_native_thread(struct hs_snapshot *snapshot, pid_t tid);

uint32_t sb_resource(struct hs_snapshot *snapshot, enum hs_resource_kind kind, hs_addr address,
                     const char *label, const char *class_name);

/** Edges read with certainty READ; the edge may be changed until the next one is added. */
struct hs_edge *sb_wait(struct hs_snapshot *snapshot, uint32_t thread, uint32_t resource);
struct hs_edge *sb_hold(struct hs_snapshot *snapshot, uint32_t thread, uint32_t resource);

/** Seal, build the graph, run all analyzers, finish. Everything lives in the snapshot's arena. */
const struct hs_report *sb_report(struct hs_snapshot *snapshot);

/** Seal and build the graph only. */
const struct hs_wait_graph *sb_graph(struct hs_snapshot *snapshot);

/** The incident of SCENARIOS.md A: loader lock versus link of app.ClassWriter, two threads behind.
 */
struct hs_snapshot *sb_incident(void);

/**
 * Give the snapshot what --format=jstack needs, as Java release @p major: a header for each thread,
 * "main" owns a lock, the first two threads block each other, the last one is a thread of the VM.
 */
void sb_thread_dump(struct hs_snapshot *s, int major);

#endif // HS_SNAPSHOT_BUILDER_H
