// SPDX-License-Identifier: Apache-2.0
/** @file Snapshot builder. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/analyzer.h"
#include "tests/support/snapshot_builder.h"

struct hs_snapshot *sb_create(void)
{
	static const struct hs_module_map no_modules;
	struct hs_snapshot *s = hs_snapshot_create();

	assert_non_null(s);
	s->modules = &no_modules;
	s->info = (struct hs_target_info){
		.kind = HS_TARGET_CORE,
		.path = "/tmp/core.11946",
		.pid = 11946,
		.exe = "/usr/bin/java",
		.pause_ms = -1,
	};
	s->runtime = (struct hs_runtime){"hotspot", "17.0.15+6", "OpenJDK 64-Bit Server VM", "G1"};
	return s;
}

/** A location is shared by all frames at one place, as collectors do. */
static const struct hs_location *known_location(const struct hs_snapshot *s,
                                                const struct sb_frame *frame)
{
	hs_vec_each (thread, &s->threads) {
		for (uint32_t i = 0; i < thread->num_frames; i++) {
			const struct hs_location *l = thread->frames[i].location;

			if (l->class_name == frame->class_name && l->method == frame->method &&
			    l->line == frame->line)
				return l;
		}
	}
	return NULL;
}

uint32_t sb_thread(struct hs_snapshot *s, const char *name, pid_t tid,
                   const struct sb_frame *frames)
{
	uint32_t index, count = 0;
	struct hs_thread *thread = hs_snapshot_add_thread(s, tid, &index);

	assert_non_null(thread);
	thread->kind = HS_THREAD_JAVA;
	thread->name = name;
	thread->state = "waiting";
	while (frames && frames[count].class_name)
		count++;
	struct hs_frame *copies = hs_arena_calloc(s->arena, count + 1, sizeof(*copies));
	struct hs_location *locations = hs_arena_calloc(s->arena, count + 1, sizeof(*locations));
	assert_non_null(copies);
	assert_non_null(locations);
	for (uint32_t i = 0; i < count; i++) {
		const struct hs_location *known = known_location(s, &frames[i]);

		locations[i] = (struct hs_location){
			.kind = HS_FRAME_INTERPRETED,
			.class_name = frames[i].class_name,
			.method = frames[i].method,
			.descriptor = frames[i].descriptor ? frames[i].descriptor : "()V",
			.file = frames[i].file,
			.line = frames[i].line,
			.bci = 1,
			.is_native_method = !frames[i].file,
		};
		copies[i] = (struct hs_frame){
			.location = known ? known : &locations[i],
			.pc = 0x7f0000001000 + i,
			.sp = 0x7f1000000000 + 64 * i,
			.found_by = HS_FOUND_JVM,
		};
	}
	thread->frames = copies;
	thread->num_frames = count;
	return index;
}

uint32_t sb_native_thread(struct hs_snapshot *s, pid_t tid)
{
	uint32_t index;

	assert_non_null(hs_snapshot_add_thread(s, tid, &index));
	return index;
}

uint32_t sb_resource(struct hs_snapshot *s, enum hs_resource_kind kind, hs_addr address,
                     const char *label, const char *class_name)
{
	uint32_t index = hs_snapshot_resource_for(s, kind, address, NULL);

	assert_int_not_equal(index, HS_NONE);
	hs_snapshot_resource(s, index)->label = label;
	hs_snapshot_resource(s, index)->class_name = class_name;
	return index;
}

static struct hs_edge edge(uint32_t thread, uint32_t resource)
{
	return (struct hs_edge){
		.thread = thread,
		.resource = resource,
		.frame = HS_NONE,
		.certainty = HS_READ,
		.read_from = "a field of the test",
	};
}

struct hs_edge *sb_wait(struct hs_snapshot *s, uint32_t thread, uint32_t resource)
{
	struct hs_edge wait = edge(thread, resource);

	hs_snapshot_add_wait(s, &wait);
	return &s->waits.items[s->waits.len - 1];
}

struct hs_edge *sb_hold(struct hs_snapshot *s, uint32_t thread, uint32_t resource)
{
	struct hs_edge hold = edge(thread, resource);

	hs_snapshot_add_hold(s, &hold);
	return &s->holds.items[s->holds.len - 1];
}

const struct hs_wait_graph *sb_graph(struct hs_snapshot *s)
{
	const struct hs_wait_graph *graph = NULL;

	if (!s->sealed)
		assert_null(hs_snapshot_seal(s));
	assert_null(hs_wait_graph_build(s, s->arena, &graph));
	return graph;
}

const struct hs_report *sb_report(struct hs_snapshot *s)
{
	const struct hs_wait_graph *graph = sb_graph(s);
	struct hs_report *report = NULL;

	assert_null(hs_report_create(s, graph, s->arena, &report));
	assert_null(hs_analyzers_run(graph, report));
	hs_vec_each (finding, &report->findings)
		finding->confirmed = true;
	assert_null(hs_report_finish(report));
	return report;
}

struct hs_snapshot *sb_incident(void)
{
	static const struct sb_frame main_frames[] = {
		{"java.lang.Class", "forName0", NULL, -1, NULL},
		{"java.lang.Class",             "forName", "Class.java", 467, NULL},
		{"boot.Boot$LaunchedClassLoader",             "findClass", "Boot.java", 13, NULL},
		{"java.lang.ClassLoader", "loadClass", "ClassLoader.java", 592, NULL},
		{"boot.Boot",     "main", "Boot.java", 27, NULL},
		{0            },
	};
	static const struct sb_frame trace_frames[] = {
		{"java.lang.Class", "forName0", NULL, -1, NULL},
		{"boot.Boot",             "lambda$main$0", "Boot.java", 23, NULL},
		{"java.lang.Thread",             "run", "Thread.java", 840, NULL},
		{0      },
	};
	static const struct hs_loader_info loader = {
		.class_name = "boot.Boot$LaunchedClassLoader",
		.object = 0xffd1d958,
		.parallel_capable = HS_NO,
		.asked = HS_YES,
		.unregistered_superclass = "boot.Boot$JarUrlClassLoader",
		.self_registered = HS_NO,
	};
	static const struct hs_class_info writer = {
		.name = "app.ClassWriter",
		.loader = "boot.Boot$LaunchedClassLoader",
		.klass = 0x800c3000,
		.state = "loaded",
		.major_version = 49,
	};
	struct hs_snapshot *s = sb_create();
	uint32_t main_thread = sb_thread(s, "main", 11947, main_frames);
	uint32_t trace = sb_thread(s, "dd-trace-processor", 11965, trace_frames);
	uint32_t scheduler = sb_thread(s, "dd-task-scheduler", 11966, trace_frames);
	uint32_t telemetry = sb_thread(s, "dd-telemetry", 11967, trace_frames);
	uint32_t lock = sb_resource(s, HS_RES_LOADER_LOCK, 0xffd1d958,
	                            "the class-loader lock of boot.Boot$LaunchedClassLoader",
	                            "boot.Boot$LaunchedClassLoader");
	uint32_t link = sb_resource(s, HS_RES_CLASS_LINK, 0x800c3000, "the link of app.ClassWriter",
	                            "app.ClassWriter");

	hs_snapshot_resource(s, lock)->loader_info = &loader;
	hs_snapshot_resource(s, link)->class_info = &writer;
	sb_wait(s, main_thread, link);
	struct hs_edge *hold = sb_hold(s, main_thread, lock);
	hold->frame = 3;
	hold->subject_class = "app.RajinApplication";
	sb_wait(s, trace, lock);
	sb_hold(s, trace, link)->subject_class = "app.Base";
	sb_wait(s, scheduler, link);
	sb_wait(s, telemetry, link);
	return s;
}

static struct hs_dump_thread *dump_header(struct hs_snapshot *s, uint32_t index)
{
	struct hs_dump_thread *d = hs_arena_alloc(s->arena, sizeof(*d));

	assert_non_null(d);
	*d = (struct hs_dump_thread){
		.address = 0x7f0000100000 + 0x1000 * (hs_addr)index,
		.os_state = "waiting for monitor entry",
		.has_os_prio = true,
		.cpu_ns = 12345678,
		.elapsed_ms = 5678,
		.allocated = 102400 + index,
		.defined_classes = 4,
		.last_java_sp = 0x7f1000000123,
		.blocker = {.owner = HS_NONE},
	};
	return d;
}

void sb_thread_dump(struct hs_snapshot *s, int major)
{
	static const struct hs_dump_object owned = {
		0xffd20090, "java.util.concurrent.locks.ReentrantLock$NonfairSync"};
	size_t n = s->threads.len;
	struct hs_thread_dump *dump = hs_arena_alloc(s->arena, sizeof(*dump));
	hs_addr *list = hs_arena_calloc(s->arena, n + 1, sizeof(*list));
	struct hs_dump_thread **headers = hs_arena_calloc(s->arena, n + 1, sizeof(*headers));

	assert_non_null(dump);
	assert_non_null(list);
	assert_non_null(headers);
	for (uint32_t i = 0; i < n; i++) {
		headers[i] = dump_header(s, i);
		list[i] = headers[i]->address;
		s->threads.items[i].dump = headers[i];
		s->threads.items[i].java_tid = i + 1;
		s->threads.items[i].priority = 5;
		s->threads.items[i].is_daemon = i % 2;
		s->threads.items[i].java_state = "BLOCKED (on object monitor)";
		*hs_vec_push(s->arena, &dump->order) = i;
	}
	*dump = (struct hs_thread_dump){
		.major = major,
		.vm_release = s->runtime.version,
		.vm_info = "mixed mode, sharing",
		.jdk_name = "OpenJDK Runtime Environment",
		.list = major > 11 ? 0x7f0000001000 : 0,
		.java_threads = list,
		.num_java_threads = n - 1,
		.order = dump->order,
		.owned_known = true,
		.jni_global = 9,
		.jni_weak = 1,
	};
	s->threads.items[n - 1].kind = HS_THREAD_VM;
	headers[n - 1]->name = "VM Periodic Task Thread";
	headers[n - 1]->allocated = headers[n - 1]->defined_classes = -1;
	headers[0]->owned = &owned;
	headers[0]->num_owned = 1;
	headers[0]->blocker = (struct hs_dump_blocker){
		.monitor = 0x7f0000200000,
		.object = {0xffd1d958, "boot.Boot$LaunchedClassLoader"},
		.owner = 1,
		.is_from_java = false,
	};
	headers[1]->blocker = (struct hs_dump_blocker){.object = owned, .owner = 0};
	struct hs_dump_deadlock *deadlock = hs_vec_push(s->arena, &dump->deadlocks);
	assert_non_null(deadlock);
	*deadlock = (struct hs_dump_deadlock){0};
	for (uint32_t i = 0; i < 2; i++)
		*hs_vec_push(s->arena, &deadlock->threads) = i;
	s->dump = dump;
}
