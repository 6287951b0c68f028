// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Thread dump in the words of jstack -l -e, for the tools that read those. What differs between
 * releases is a row of dialects[]. Two things differ from jstack on purpose: control characters of
 * names are escaped, and virtual threads are listed too. A fact that is not known is left out.
 */

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "core/base/cleanup.h"
#include "core/renderer.h"
#include "core/words.h"

/** Wording of a release and those after it (threads.cpp, javaThread.cpp, osThread.cpp, vframe.cpp).
 */
struct dialect {
	int since;
	bool has_jdk_line;   /**< "JDK version: …" below "Full thread dump" */
	bool prints_mounted; /**< a mounted virtual thread below its carrier */
	bool has_carrier; /**< "Carrying virtual thread #1" instead of a state, [nid] behind #1 */
	bool has_decimal_nid;
	bool has_class_init; /**< a line about the class whose initialization it waits for */
	bool relocks_below;  /**< "waiting to re-lock" below Object.wait(), where it is held */
	bool has_counters; /**< cpu, elapsed…; a second blank before [sp]; what a compiler does */
	bool has_re_lock;  /**< says at Object.wait() that the thread was notified */
	bool has_weak_refs; /**< "JNI global refs: 1, weak refs: 2" */
};

// clang-format off
static const struct dialect dialects[] = { // newest first
	// since, jdk, mounted, carrier, decimal, class init, re-lock, counters, re-lock words, weak
	{26, true,  true,  true,  true,  true,  false, true,  true,  true },
	{25, false, true,  true,  true,  true,  false, true,  true,  true },
	{21, false, false, true,  true,  true,  false, true,  true,  true },
	{12, false, false, false, false, true,  false, true,  true,  true },
	{9,  false, false, false, false, false, true,  true,  false, true },
	{0,  false, false, false, false, false, false, false, false, false},
};
// clang-format on

struct writer {
	FILE *out;
	struct hs_arena *arena;
	const struct hs_snapshot *snapshot;
	const struct hs_thread_dump *dump;
	const struct hs_render_options *options;
	const struct dialect *dialect;
};

static const char *safe(const struct writer *w, const char *raw)
{
	return hs_words_safe(w->arena, raw);
}

static const struct hs_thread *thread_at(const struct writer *w, uint32_t index)
{
	return &w->snapshot->threads.items[index];
}

static bool is_java_frame(const struct hs_frame *frame)
{
	enum hs_frame_kind kind = frame->location->kind;

	return frame->location->class_name && frame->location->method &&
	       (kind == HS_FRAME_INTERPRETED || kind == HS_FRAME_COMPILED ||
	        kind == HS_FRAME_INLINED);
}

// ---- the top

/** "26.0.2.1+1" of "26.0.2.1+1-1-Debian", "28.0+18" of "28-ea+18-1": JDK_Version::to_string(). */
static void print_jdk_line(const struct writer *w)
{
	const char *version = w->dump->vm_release;
	size_t numbers = version ? strspn(version, "0123456789.") : 0;
	const char *build = version ? strchr(version, '+') : NULL;

	if (!numbers || !w->dump->jdk_name || !build)
		return;
	fprintf(w->out, "                 JDK version: %s (%.*s%s%.*s) (build %s)\n",
	        safe(w, w->dump->jdk_name), (int)numbers, version,
	        memchr(version, '.', numbers) ? "" : ".0", 1 + (int)strspn(build + 1, "0123456789"),
	        build, safe(w, version));
}

static void print_top(const struct writer *w)
{
	const struct hs_runtime *runtime = &w->snapshot->runtime;
	time_t when = w->snapshot->info.captured_at;
	char date[32];
	struct tm tm;

	if (when && localtime_r(&when, &tm) && strftime(date, sizeof(date), "%F %T", &tm))
		fprintf(w->out, "%s\n", date);
	fprintf(w->out, "Full thread dump %s (%s%s%s)%s\n",
	        safe(w, runtime->vm ? runtime->vm : "HotSpot"),
	        safe(w, w->dump->vm_release ? w->dump->vm_release : "unknown"),
	        w->dump->vm_info ? " " : "", w->dump->vm_info ? safe(w, w->dump->vm_info) : "",
	        w->dialect->has_jdk_line ? "" : ":");
	if (w->dialect->has_jdk_line)
		print_jdk_line(w);
	fputc('\n', w->out);
}

static void print_list(const struct writer *w)
{
	size_t n = w->dump->num_java_threads;

	if (!w->dump->list)
		return;
	fprintf(w->out,
	        "Threads class SMR info:\n"
	        "_java_thread_list=0x%016" PRIx64 ", length=%zu, elements={\n",
	        w->dump->list, n);
	for (size_t i = 0; i < n; i++)
		fprintf(w->out, "0x%016" PRIx64 "%s", w->dump->java_threads[i],
		        i + 1 == n         ? "\n"
		        : (i + 1) % 4 == 0 ? ",\n"
		                           : ", ");
	fputs("}\n\n", w->out);
}

// ---- stacks

static void print_frame(const struct writer *w, const struct hs_location *l)
{
	fprintf(w->out, "\tat %s.%s(", safe(w, l->class_name), safe(w, l->method));
	if (l->java_module)
		fprintf(w->out, "%s/", safe(w, l->java_module));
	if (l->is_native_method)
		fputs("Native Method)\n", w->out);
	else if (l->file && l->line >= 0)
		fprintf(w->out, "%s:%d)\n", safe(w, l->file), l->line);
	else
		fprintf(w->out, "%s)\n", l->file ? safe(w, l->file) : "Unknown Source");
}

static enum hs_resource_kind kind_of(const struct writer *w, const struct hs_frame_lock *lock)
{
	return lock->resource < w->snapshot->resources.len
	               ? w->snapshot->resources.items[lock->resource].kind
	               : HS_RES_KIND_COUNT;
}

/** @p waited: what the thread waits on with Object.wait() in a frame above, or NULL. */
static void print_lock(const struct writer *w, const struct hs_frame_lock *lock,
                       const struct hs_frame_lock *waited)
{
	static const char *const words[] = {
		[HS_LOCK_LOCKED] = "locked",
		[HS_LOCK_WAITING_TO_LOCK] = "waiting to lock",
		[HS_LOCK_WAITING_ON] = "waiting on",
		[HS_LOCK_PARKING] = "parking to wait for ",
		[HS_LOCK_ELIMINATED] = "eliminated",
		[HS_LOCK_WAITING_RE_LOCK] = "waiting to re-lock in wait()",
	};
	const char *name = lock->class_name ? safe(w, lock->class_name) : NULL;
	enum hs_frame_lock_state state = lock->state;
	enum hs_resource_kind kind = kind_of(w, lock);

	if (lock->state == HS_LOCK_WAITING_ON &&
	    (kind == HS_RES_CLASS_INIT || kind == HS_RES_CLASS_LINK)) {
		const char *class_name = w->snapshot->resources.items[lock->resource].class_name;

		if (class_name && w->dialect->has_class_init)
			fprintf(w->out, "\t- waiting on the Class initialization monitor for %s\n",
			        safe(w, class_name));
		return;
	}
	bool is_waited =
		waited && (lock->object == waited->object ||
	                   (lock->resource != HS_NONE && lock->resource == waited->resource));
	if (w->dialect->relocks_below && is_waited && state == HS_LOCK_LOCKED)
		state = HS_LOCK_WAITING_RE_LOCK;
	else if (!w->dialect->has_re_lock && state == HS_LOCK_WAITING_RE_LOCK)
		state = HS_LOCK_WAITING_ON;
	fprintf(w->out, "\t- %s ", words[state]);
	if (lock->object)
		fprintf(w->out, "<0x%016" PRIx64 ">", lock->object);
	else
		fputs(lock->state == HS_LOCK_ELIMINATED ? "<owner is scalar replaced>"
		                                        : "<no object reference available>",
		      w->out);
	// A parked thread's blocker is named by its class even if it is a class itself.
	if (name && lock->state == HS_LOCK_PARKING)
		fprintf(w->out, " (a %.*s)", (int)strcspn(name, " "), name);
	else if (name)
		fprintf(w->out, " (a %s)", name);
	fputc('\n', w->out);
}

/** The stub below a mounted virtual thread, which HotSpot's walk ends at. */
static bool is_continuation_entry(const struct hs_location *l)
{
	return !strcmp(l->class_name, "jdk.internal.vm.Continuation") &&
	       !strcmp(l->method, "enterSpecial");
}

static void print_stack(const struct writer *w, const struct hs_thread *t)
{
	const struct hs_frame_lock *waited = NULL, *above;

	for (uint32_t i = 0; i < t->num_frames; i++) {
		const struct hs_frame *frame = &t->frames[i];

		if (!is_java_frame(frame) || is_continuation_entry(frame->location))
			continue;
		print_frame(w, frame->location);
		above = waited;
		for (uint16_t j = 0; j < frame->num_locks; j++) {
			const struct hs_frame_lock *lock = &frame->locks[j];

			if (lock->state == HS_LOCK_WAITING_ON ||
			    lock->state == HS_LOCK_WAITING_RE_LOCK)
				waited = lock;
			print_lock(w, lock, above);
		}
	}
}

// ---- headers

/** byte_size_in_proper_unit() of globalDefinitions.hpp */
static void print_size(const struct writer *w, int64_t bytes)
{
	static const struct {
		int64_t unit;
		char letter;
	} units[] = {
		{INT64_C(1) << 30, 'G'},
                {1 << 20,          'M'},
                {1 << 10,          'K'}
        };

	for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++) {
		if (bytes >= 100 * units[i].unit) {
			fprintf(w->out, "allocated=%" PRId64 "%c ", bytes / units[i].unit,
			        units[i].letter);
			return;
		}
	}
	fprintf(w->out, "allocated=%" PRId64 "B ", bytes);
}

static void print_counters(const struct writer *w, const struct hs_dump_thread *d)
{
	if (d->cpu_ns >= 0)
		fprintf(w->out, "cpu=%.2fms ", (double)d->cpu_ns / 1e6);
	if (d->elapsed_ms >= 0)
		fprintf(w->out, "elapsed=%.2fs ", (double)d->elapsed_ms / 1e3);
	if (d->allocated >= 0)
		print_size(w, d->allocated);
	if (d->allocated >= 0 && d->defined_classes >= 0)
		fprintf(w->out, "defined_classes=%" PRId64 " ", d->defined_classes);
}

/** OSThread::print_on() */
static void print_os_thread(const struct writer *w, const struct hs_thread *t)
{
	if (w->dialect->has_decimal_nid)
		fprintf(w->out, "nid=%d ", (int)t->tid);
	else
		fprintf(w->out, "nid=0x%x ", (unsigned)t->tid);
	if (t->dump->os_state)
		fprintf(w->out, "%s ", t->dump->os_state);
}

/** From os_prio to the state words, the same for threads of Java and of the VM. */
static void print_native_part(const struct writer *w, const struct hs_thread *t)
{
	const struct hs_dump_thread *d = t->dump;

	if (d->has_os_prio)
		fprintf(w->out, "os_prio=%d ", d->os_prio);
	if (w->dialect->has_counters)
		print_counters(w, d);
	fprintf(w->out, "tid=0x%016" PRIx64 " ", d->address);
	// JavaThread::print_on() leaves that to the virtual thread on it, where there is one.
	if (!d->carried || !w->dialect->has_carrier)
		print_os_thread(w, t);
	if (w->dialect->has_counters)
		fputc(' ', w->out);
}

/** Where its Java stack ends, as a page; of a thread that runs Java code we know the frames. */
static hs_addr java_sp(const struct hs_thread *t)
{
	hs_addr sp = t->dump->last_java_sp;

	for (uint32_t i = 0; !sp && i < t->num_frames; i++) {
		if (is_java_frame(&t->frames[i]))
			sp = t->frames[i].sp;
	}
	return sp & ~UINT64_C(0xfff);
}

static void print_java_header(const struct writer *w, const struct hs_thread *t)
{
	fprintf(w->out, "\"%s\" ", t->name ? safe(w, t->name) : "");
	if (t->java_tid) {
		fprintf(w->out, "#%" PRId64 " ", t->java_tid);
		if (w->dialect->has_carrier)
			fprintf(w->out, "[%d] ", (int)t->tid);
		fputs(t->is_daemon ? "daemon " : "", w->out);
		if (t->priority)
			fprintf(w->out, "prio=%d ", t->priority);
	}
	print_native_part(w, t);
	fprintf(w->out, "[0x%016" PRIx64 "]\n", java_sp(t));
	if (t->dump->carried && w->dialect->has_carrier)
		fprintf(w->out, "   Carrying virtual thread #%" PRId64 "\n", t->dump->carried);
	else if (t->java_state)
		fprintf(w->out, "   java.lang.Thread.State: %s\n", safe(w, t->java_state));
	if (t->dump->compiler && w->dialect->has_counters)
		fprintf(w->out, "   %s\n", safe(w, t->dump->compiler));
}

static void print_owned(const struct writer *w, const struct hs_dump_thread *d)
{
	if (!d->num_owned && !w->dump->owned_known)
		return;
	fputs("   Locked ownable synchronizers:\n", w->out);
	for (size_t i = 0; i < d->num_owned; i++)
		fprintf(w->out, "\t- <0x%016" PRIx64 "> (a %s)\n", d->owned[i].address,
		        safe(w, d->owned[i].class_name));
	fputs(d->num_owned ? "\n" : "\t- None\n\n", w->out);
}

static bool wanted(const struct writer *w, const struct hs_thread *t)
{
	return !w->options->thread || hs_thread_is_called(t, w->options->thread);
}

// ---- virtual threads

/** Below its carrier, as 25 and later print it. */
static void print_mounted(const struct writer *w, uint32_t carrier)
{
	// Few threads are carriers, and there may be very many virtual threads to search.
	if (!thread_at(w, carrier)->dump->carried)
		return;
	hs_vec_each (t, &w->snapshot->threads) {
		if (t->kind != HS_THREAD_VIRTUAL || t->carrier != carrier)
			continue;
		fprintf(w->out, "   Mounted virtual thread #%" PRId64 "\n", t->java_tid);
		print_stack(w, t);
	}
}

/**
 * jstack knows no other virtual threads. They get a header of the facts that all threads have:
 * virtual threads are daemons of priority 5 (Thread.java, 21 to 28), and have no native thread.
 */
static void print_virtual(const struct writer *w, const struct hs_thread *t)
{
	fprintf(w->out, "\"%s\" #%" PRId64 " daemon prio=5 virtual\n",
	        t->name ? safe(w, t->name) : "", t->java_tid);
	if (t->java_state)
		fprintf(w->out, "   java.lang.Thread.State: %s\n", safe(w, t->java_state));
	print_stack(w, t);
	fputc('\n', w->out);
}

// ----

static void print_threads(const struct writer *w)
{
	hs_vec_each (index, &w->dump->order) {
		const struct hs_thread *t = thread_at(w, *index);

		if (!t->dump || !wanted(w, t))
			continue;
		if (t->kind != HS_THREAD_JAVA) {
			if (t->dump->name)
				fprintf(w->out, "\"%s\" ", safe(w, t->dump->name));
			else // a gcore core has no names of threads that Java does not know
				fprintf(w->out, "\"%s\" ",
				        t->name ? safe(w, t->name) : "VM thread");
			print_native_part(w, t);
			fputs("\n\n", w->out);
			continue;
		}
		print_java_header(w, t);
		print_stack(w, t);
		if (w->dialect->prints_mounted)
			print_mounted(w, *index);
		fputc('\n', w->out);
		print_owned(w, t->dump);
	}
	hs_vec_each (t, &w->snapshot->threads) {
		bool shown = t->carrier != HS_NONE && w->dialect->prints_mounted;

		if (t->kind == HS_THREAD_VIRTUAL && !shown && wanted(w, t))
			print_virtual(w, t);
	}
}

static void print_jni(const struct writer *w)
{
	if (w->dump->jni_global < 0)
		return;
	if (w->dialect->has_weak_refs)
		fprintf(w->out, "JNI global refs: %" PRId64 ", weak refs: %" PRId64,
		        w->dump->jni_global, w->dump->jni_weak);
	else
		fprintf(w->out, "JNI global references: %" PRId64, w->dump->jni_global);
	fputs("\n\n", w->out);
}

// ---- deadlocks (threadService.cpp, DeadlockCycle::print_on_with)

static const char *name_at(const struct writer *w, uint32_t index)
{
	const char *name = index == HS_NONE ? NULL : thread_at(w, index)->name;

	return name ? safe(w, name) : "";
}

static void print_blocker(const struct writer *w, uint32_t index)
{
	const struct hs_dump_blocker *b = &thread_at(w, index)->dump->blocker;
	const char *held = ",\n  which is held by";

	fprintf(w->out, "\n\"%s\":\n", name_at(w, index));
	if (b->monitor) {
		fprintf(w->out,
		        "  waiting to lock monitor 0x%016" PRIx64 " (object 0x%016" PRIx64
		        ", a %s)",
		        b->monitor, b->object.address, safe(w, b->object.class_name));
		held = b->is_from_java ? held : "\n  in JNI, which is held by";
	} else {
		fprintf(w->out, "  waiting for ownable synchronizer 0x%016" PRIx64 ", (a %s)",
		        b->object.address, safe(w, b->object.class_name));
	}
	fprintf(w->out, "%s \"%s\"\n", held, name_at(w, b->owner));
}

static void print_deadlock(const struct writer *w, const struct hs_dump_deadlock *deadlock)
{
	fputs("\nFound one Java-level deadlock:\n"
	      "=============================",
	      w->out);
	hs_vec_each (index, &deadlock->threads)
		print_blocker(w, *index);
	fputs("\nJava stack information for the threads listed above:\n"
	      "===================================================\n",
	      w->out);
	hs_vec_each (index, &deadlock->threads) {
		fprintf(w->out, "\"%s\":\n", name_at(w, *index));
		print_stack(w, thread_at(w, *index));
	}
}

static void print_deadlocks(const struct writer *w)
{
	size_t count = w->dump->deadlocks.len;

	if (w->options->thread)
		return;
	hs_vec_each (deadlock, &w->dump->deadlocks)
		print_deadlock(w, deadlock);
	if (count)
		fprintf(w->out, "\nFound %zu deadlock%s.\n\n", count, count == 1 ? "" : "s");
}

static struct hs_err *jstack_render(const struct hs_report *report,
                                    const struct hs_render_options *options, FILE *out)
{
	hs_cleanup(hs_arena_destroyp) struct hs_arena *scratch = hs_arena_create();
	struct writer w = {
		.out = out,
		.arena = scratch,
		.snapshot = report->snapshot,
		.dump = report->snapshot->dump,
		.options = options,
		.dialect = dialects,
	};

	if (!scratch)
		return hs_err_oom();
	if (!w.dump)
		return hs_err_new(HS_ERR_UNSUPPORTED,
		                  "there is no Java virtual machine in it that could be read: "
		                  "--format=text shows its threads");
	// An unknown release is taken for a new one.
	while (w.dump->major && w.dialect->since > w.dump->major)
		w.dialect++;
	print_top(&w);
	print_list(&w);
	print_threads(&w);
	print_jni(&w);
	print_deadlocks(&w);
	if (hs_arena_failed(scratch))
		return hs_err_oom();
	return fflush(out) || ferror(out) ? hs_err_os(errno, "cannot write the report") : NULL;
}

const struct hs_renderer hs_renderer_jstack = {
	.name = "jstack",
	.suffix = ".txt",
	.views = 1 << HS_VIEW_STACKS,
	.render = jstack_render,
};
