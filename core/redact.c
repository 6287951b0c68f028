// SPDX-License-Identifier: Apache-2.0
/** @file What may be said of a thread's name under --redact. */

#include <ctype.h>
#include <string.h>

#include "core/snapshot.h"

/** Names that the VM and its library give: they tell nothing about the program. '#' stands for
 * digits. The kernel keeps 15 bytes of a name. */
static const char *const known_names[] = {
	"main",
	"java",
	"DestroyJavaVM",
	"Reference Handler",
	"Reference Handl",
	"Finalizer",
	"Signal Dispatcher",
	"Signal Dispatch",
	"Service Thread",
	"Notification Thread",
	"Notification Th",
	"Monitor Deflation Thread",
	"Monitor Deflati",
	"Common-Cleaner",
	"Attach Listener",
	"C# CompilerThread#",
	"C# CompilerThre",
	"Sweeper thread",
	"VM Thread",
	"VM Periodic Task Thread",
	"VM Periodic Tas",
	"Surrogate Locker Thread (Concurrent GC)",
	"Surrogate Locke",
	"GC Thread##",
	"GC task thread##",
	"ParGC Thread##",
	"G# Main Marker",
	"G# Conc##",
	"G# Refine##",
	"G# Service",
	"G# Young RemSet",
	"G# Young RemSet Sampling",
	"Gang worker##",
	"ZDirector",
	"ZDriver",
	"ZDriverMajor",
	"ZDriverMinor",
	"ZWorker##",
	"ZWorkerYoung##",
	"ZWorkerOld##",
	"ZStat",
	"ZUncommitter##",
	"ZUnmapper",
	"XDirector",
	"XDriver",
	"XWorker##",
	"XStat",
	"Shenandoah Control Thread",
	"Shenandoah Cont",
	"Shenandoah GC Threads##",
	"Shenandoah GC T",
	"VirtualThread-unparker",
	"VirtualThread-u",
	"Read-Updater",
	"Thread-#",
	"ForkJoinPool.commonPool-worker-#",
	"ForkJoinPool-#-worker-#",
	"pool-#-thread-#",
};

/** Does @p name match, where "##" is '#' with digits and "#" digits alone? */
static bool matches(const char *pattern, const char *name)
{
	for (; *pattern; pattern++) {
		bool hash = pattern[0] == '#' && pattern[1] == '#';

		if (*pattern != '#' || hash) {
			if (*name++ != *pattern)
				return false;
			continue;
		}
		if (!isdigit((unsigned char)*name))
			return false;
		name += strspn(name, "0123456789");
	}
	return !*name;
}

static bool is_known(const char *name)
{
	for (size_t i = 0; i < sizeof(known_names) / sizeof(*known_names); i++) {
		if (matches(known_names[i], name))
			return true;
	}
	return false;
}

/** The same number as in the JSON's "ref": "T12". */
static const char *neutral_name(struct hs_snapshot *snapshot, const struct hs_thread *thread)
{
	return hs_arena_printf(snapshot->arena, "thread T%zu",
	                       (size_t)(thread - snapshot->threads.items) + 1);
}

void hs_snapshot_name_thread(struct hs_snapshot *snapshot, struct hs_thread *thread,
                             const char *name)
{
	thread->name = !snapshot->redact || !name || is_known(name)
	                       ? name
	                       : neutral_name(snapshot, thread);
}

void hs_snapshot_redact_names(struct hs_snapshot *snapshot)
{
	for (size_t i = 0; i < snapshot->threads.len; i++) {
		struct hs_thread *thread = &snapshot->threads.items[i];

		hs_snapshot_name_thread(snapshot, thread, thread->name);
	}
}
