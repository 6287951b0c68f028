// SPDX-License-Identifier: Apache-2.0
/** @file Analysis: the pipeline on one screen. */

#include "core/analysis.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/analyzer.h"
#include "core/base/cleanup.h"
#include "core/base/output_file.h"
#include "core/jvm/jvm.h"
#include "core/native/native.h"
#include "core/source/access.h"
#include "core/stack_walk.h"

enum {
	/** Looks at a live target until a finding holds still; more would only hide the churn. */
	MAX_LOOKS = 3,
	/** Second looks at one cycle until nobody in it ran meanwhile: a wait may poll, and a
	   thread that our stop woke goes back to sleep. */
	MAX_STILL = 5,
	/** The same where a virtual thread without a carrier is in the cycle. */
	UNMOUNTED_STILL = 10,
	UNMOUNTED_PAUSE_NS = 1000000,
};

struct hs_analysis {
	struct hs_snapshot *snapshot; /**< owns everything else */
	struct hs_report *report;
	struct hs_err *refusal;    /**< NULL, or why it was not attached to */
	struct hs_output **output; /**< of the run, for a snapshot; taken when that is written */
};

static bool is_refusal(const struct hs_err *err)
{
	int errnum = err ? hs_err_errno(err) : 0;

	return errnum == EPERM || errnum == EACCES;
}

/** Attaching was refused: without a stop, else without memory. NULL: *ret is a target. */
static struct hs_err *open_refused(pid_t pid, const struct hs_open_options *options,
                                   struct hs_analysis *analysis, struct hs_target **ret)
{
	struct hs_snapshot *s = analysis->snapshot;
	struct hs_open_options unstopped = *options;
	struct hs_access access;
	char why[HS_ACCESS_WORDS];
	bool is_read = true;
	struct hs_err *err = NULL;

	(void)hs_access_read_pid(&access, pid);
	hs_access_words(&access, hs_access_judge(&access), why, sizeof(why));
	unstopped.keep_stopped = unstopped.rolling = false;
	unstopped.no_stop = true;
	if (!options->no_stop && access.memory == HS_YES)
		err = hs_target_open_pid(pid, &unstopped, ret);
	if (err || !*ret) {
		hs_err_free(err);
		err = hs_target_open_proc(pid, why, ret);
		is_read = false;
	}
	if (!err)
		hs_snapshot_gapf(s, "attaching",
		                 is_read ? "registers of running threads"
		                         : "all stacks, and who waits for whom",
		                 "%s%s", why, is_read ? "; it was read without being stopped" : "");
	return err;
}

static struct hs_err *open_target(const char *name, const struct hs_analysis_options *options,
                                  struct hs_analysis *analysis, struct hs_target **ret)
{
	struct hs_open_options open = options->open;
	pid_t pid;

	open.exact_cpu = options->thread_dump;
	open.record = options->capture != NULL;
	// A file that is called like a number is taken for a PID: say ./4711 for the file.
	if (!hs_target_is_pid(name, &pid))
		return hs_target_open_core(name, &open, ret);
	struct hs_err *err = hs_target_open_pid(pid, &open, ret);
	if (!options->proc_if_refused || !is_refusal(err))
		return err;
	struct hs_err *proc_err = open_refused(pid, &open, analysis, ret);
	if (proc_err) {
		hs_err_free(proc_err);
		return err;
	}
	analysis->refusal = err;
	return NULL;
}

/** Strings and arrays of the target die with it: copy what the report needs. */
static struct hs_err *keep_info(struct hs_snapshot *s, const struct hs_target *target)
{
	struct hs_arena *a = s->arena;
	const struct hs_target_info *from = hs_target_info(target);
	const struct hs_module_map *map = hs_target_modules(target);
	struct hs_target_info *info = &s->info;
	size_t num_args = 0, num_gaps;

	*info = *from;
	info->path = from->path ? hs_arena_strdup(a, from->path) : NULL;
	// Of a process that may not be looked into it is the first word of the command line.
	bool keep_exe = from->exe && !(s->redact && from->capture == HS_CAPTURE_PROC);
	info->exe = keep_exe ? hs_arena_strdup(a, from->exe) : NULL;
	info->host = from->host ? hs_arena_strdup(a, from->host) : NULL;
	info->unpacked_from = from->unpacked_from ? hs_arena_strdup(a, from->unpacked_from) : NULL;
	while (from->args && from->args[num_args])
		num_args++;
	const char **args = hs_arena_calloc(a, num_args + 1, sizeof(*args));
	for (size_t i = 0; args && i < num_args; i++)
		args[i] = hs_arena_strdup(a, s->redact ? HS_REDACTED : from->args[i]);
	info->args = args;
	info->second_look = NULL;

	struct hs_module_map *copy = hs_arena_alloc(a, sizeof(*copy));
	struct hs_module *modules = hs_arena_calloc(a, map->num_modules + 1, sizeof(*modules));
	if (!copy || !modules)
		return hs_err_oom();
	for (size_t i = 0; i < map->num_modules; i++) {
		modules[i] = map->modules[i];
		modules[i].path = hs_arena_strdup(a, modules[i].path);
		modules[i].open_path = NULL;
		modules[i].why = NULL;
		modules[i].fd = -1;
	}
	copy->modules = modules;
	copy->num_modules = map->num_modules;
	s->modules = copy;

	const struct hs_target_gap *gaps = hs_target_gaps(target, &num_gaps);
	for (size_t i = 0; i < num_gaps; i++)
		hs_snapshot_gapf(s, gaps[i].subject, gaps[i].costs, "%s", gaps[i].reason);
	if (info->truncated_bytes)
		s->blind = true;
	return NULL;
}

/** Threads without registers have no stack: what they wait for is not known. */
static void note_lost_threads(struct hs_snapshot *s, struct hs_target *target)
{
	size_t num_lwps, lost = 0;
	const struct hs_lwp *lwps = hs_target_lwps(target, &num_lwps);
	const char *why = NULL;

	// A core without any is a gap already.
	if (!num_lwps)
		s->blind = true;
	for (size_t i = 0; i < num_lwps; i++) {
		if (lwps[i].has_regs)
			continue;
		lost++;
		why = why ? why : lwps[i].why_no_regs;
	}
	if (!lost)
		return;
	s->blind = true;
	hs_snapshot_gapf(s, "threads without registers", "their stacks and what they wait for",
	                 "%zu thread%s: %s", lost, lost == 1 ? "" : "s",
	                 why ? why : "the registers could not be read");
}

static struct hs_err *collect_jvm(struct hs_snapshot *s, struct hs_target *target,
                                  struct hs_jvm **ret)
{
	struct hs_err *err = hs_jvm_open(target, s, ret);

	if (hs_err_catch(&err, HS_ERR_ABSENT))
		return NULL;
	if (!err)
		err = hs_jvm_collect_threads(*ret);
	if (!err || hs_err_code(err) == HS_ERR_OOM)
		return err;
	hs_snapshot_gap(s, "the Java virtual machine",
	                "Java stacks, and every deadlock through Java locks or class loading", err);
	s->blind = true;
	hs_jvm_close(*ret);
	*ret = NULL;
	return NULL;
}

static struct hs_err *collect(struct hs_target *target, const struct hs_analysis_options *options,
                              struct hs_snapshot *s)
{
	hs_cleanup(hs_native_closep) struct hs_native *native = NULL;
	hs_cleanup(hs_jvm_closep) struct hs_jvm *jvm = NULL;
	const struct hs_native_options native_options = {
		.debug_dir = options->open.debug_dir,
		.use_libunwind = options->unwinder == HS_UNWINDER_LIBUNWIND,
	};
	struct hs_err *err;

	err = keep_info(s, target);
	if (err)
		return err;
	err = hs_native_open(target, s, &native_options, &native);
	if (err)
		return err;
	err = hs_native_collect_threads(native);
	if (err)
		return err;
	// Attaching was refused, which is a gap already: there is no memory to look at.
	if (s->info.capture == HS_CAPTURE_PROC) {
		s->blind = true;
		return NULL;
	}
	err = collect_jvm(s, target, &jvm);
	if (err)
		return err;

	const struct hs_stepper *steppers[2];
	size_t num_steppers = 0;
	if (jvm)
		steppers[num_steppers++] = hs_jvm_stepper(jvm);
	steppers[num_steppers++] = hs_native_stepper(native);
	err = hs_stack_walk_all(s, target, steppers, num_steppers);
	if (!err && jvm)
		err = hs_jvm_split_stacks(jvm);
	if (err)
		return err;
	err = hs_native_collect_locks(native);
	if (err)
		return err;
	if (jvm)
		err = hs_jvm_collect_locks(jvm);
	if (!err && jvm && options->locals)
		err = hs_jvm_collect_locals(jvm);
	if (!err && jvm && options->thread_dump)
		err = hs_jvm_collect_dump(jvm);
	if (err)
		return err;
	note_lost_threads(s, target);
	return NULL;
}

// ---- the second look at a live target

static bool same_word(struct hs_target *target, const struct hs_word *word)
{
	uint64_t now = 0;
	struct hs_err *err;

	if (!word->size || word->size > sizeof(now))
		return true;
	err = hs_target_read_now(target, word->addr, &now, word->size);
	if (err) {
		hs_err_free(err);
		return false;
	}
	return now == word->value;
}

static bool same_words(struct hs_target *target, const struct hs_edge *edge)
{
	for (size_t i = 0; i < HS_EDGE_WORDS; i++) {
		if (!same_word(target, &edge->words[i]))
			return false;
	}
	return true;
}

/** Kernel thread that a thread is, or is mounted on; 0: it has none. */
static pid_t host_tid_of(const struct hs_snapshot *s, uint32_t index)
{
	const struct hs_thread *thread = &s->threads.items[index];

	return thread->carrier != HS_NONE ? s->threads.items[thread->carrier].host_tid
	                                  : thread->host_tid;
}

static bool thread_unmoved(struct hs_target *target, const struct hs_snapshot *s, uint32_t index)
{
	pid_t tid = host_tid_of(s, index);
	bool same = false;

	if (!tid)
		return true; // unmounted virtual thread: its lock words speak for it
	struct hs_err *err = hs_target_lwp_unmoved(target, tid, &same);
	if (err) {
		hs_err_free(err);
		return false;
	}
	return same;
}

/** Context switches of all threads of a cycle together. */
static bool count_switches(struct hs_target *target, const struct hs_snapshot *s,
                           const struct hs_finding *f, uint64_t *ret)
{
	*ret = 0;
	for (size_t i = 0; i < f->steps.len; i++) {
		pid_t tid = host_tid_of(s, f->steps.items[i].wait->thread);
		uint64_t switches = 0;

		if (!tid)
			continue;
		struct hs_err *err = hs_target_lwp_switches(target, tid, &switches);
		if (err) {
			hs_err_free(err);
			return false;
		}
		*ret += switches;
	}
	return true;
}

static bool steps_hold(struct hs_target *target, const struct hs_snapshot *s,
                       const struct hs_finding *f)
{
	for (size_t i = 0; i < f->steps.len; i++) {
		if (!same_words(target, f->steps.items[i].wait) ||
		    !same_words(target, f->steps.items[i].hold))
			return false;
	}
	for (size_t i = 0; i < f->steps.len; i++) {
		if (!thread_unmoved(target, s, f->steps.items[i].wait->thread))
			return false;
	}
	return true;
}

/** Nobody counts how often an unmounted virtual thread ran: only looking again and again tells. */
static bool has_unmounted(const struct hs_snapshot *s, const struct hs_finding *f)
{
	for (size_t i = 0; i < f->steps.len; i++) {
		if (!host_tid_of(s, f->steps.items[i].wait->thread))
			return true;
	}
	return false;
}

/** The words of an unmounted virtual thread are in the heap. What a collection left at the old
 * place of an object never changes again, and would hold for ever. */
static bool heap_unmoved(struct hs_target *target, const struct hs_snapshot *s)
{
	return !s->was_collecting && same_word(target, &s->collections);
}

/**
 * The words of a cycle are read one after the other, and a busy thread comes back to the same
 * place: edges of different moments could close a circle that never was. They are of one moment
 * when no thread of the circle ran from the first to the last, that is: sleeps at the end, and was
 * not switched out since the start.
 */
static bool cycle_holds(struct hs_target *target, const struct hs_snapshot *s,
                        const struct hs_finding *f)
{
	uint64_t before, after;
	int still = 0, needed = has_unmounted(s, f) ? UNMOUNTED_STILL : 1;

	for (int i = 0; i < MAX_STILL + needed; i++) {
		if (!count_switches(target, s, f, &before) || !steps_hold(target, s, f) ||
		    !count_switches(target, s, f, &after))
			return false;
		if (before == after && ++still == needed)
			return needed == 1 || heap_unmoved(target, s);
		if (needed > 1)
			nanosleep(&(struct timespec){.tv_nsec = UNMOUNTED_PAUSE_NS}, NULL);
	}
	return false;
}

static bool finding_holds(struct hs_target *target, const struct hs_report *report,
                          const struct hs_finding *f)
{
	const struct hs_snapshot *s = report->snapshot;
	size_t count;

	if (f->steps.len)
		return cycle_holds(target, s, f);
	if (!f->resources.len)
		return true;
	// No cycle: the one in front may run, but somebody must still wait, and it must still hold.
	const struct hs_edge *hold = hs_wait_graph_hold_of(report->graph, f->resources.items[0]);
	const struct hs_edge *const *waits =
		hs_wait_graph_waiters(report->graph, f->resources.items[0], &count);
	if (hold && !same_words(target, hold))
		return false;
	for (size_t i = 0; i < count; i++) {
		if (thread_unmoved(target, s, waits[i]->thread) && same_words(target, waits[i]))
			return true;
	}
	return false;
}

/** Was there no moment when all threads were held? */
static bool is_of_many_moments(const struct hs_snapshot *s)
{
	return s->info.capture == HS_CAPTURE_ROLLING || s->info.capture == HS_CAPTURE_NO_STOP;
}

/** A cycle that the second look confirms existed then, whenever its threads were captured. That
 * somebody waits behind a thread that runs may be put together from different moments. */
static void weaken(struct hs_report *report, struct hs_finding *f)
{
	if (f->steps.len) {
		hs_finding_evidence(report, f,
		                    "its threads were not captured at one moment: it rests on the "
		                    "second look, during which none of them ran");
		return;
	}
	if (f->certainty > HS_INFERRED)
		f->certainty = HS_INFERRED;
	hs_finding_evidence(report, f,
	                    "its threads were not captured at one moment, so that waits of "
	                    "different moments may have come together");
}

/** As snprintf(), at @p len bytes of a text of @p size. @return The length with it. */
HS_PRINTF(4, 5)
static size_t append(char *text, size_t size, size_t len, const char *fmt, ...)
{
	bool fits = len < size;
	va_list ap;

	va_start(ap, fmt);
	int more = vsnprintf(fits ? text + len : NULL, fits ? size - len : 0, fmt, ap);
	va_end(ap);
	return len + (more > 0 ? (size_t)more : 0);
}

static size_t print_key(const struct hs_report *report, const struct hs_finding *f, char *text,
                        size_t size)
{
	const struct hs_snapshot *s = report->snapshot;
	size_t len = append(text, size, 0, "%s", f->id);

	for (size_t i = 0; i < f->steps.len; i++) {
		const struct hs_thread *thread = &s->threads.items[f->steps.items[i].wait->thread];

		len = append(text, size, len, " T%d/%lld", (int)thread->tid,
		             (long long)thread->java_tid);
	}
	for (size_t i = 0; i < f->resources.len && (f->steps.len || !i); i++) {
		const struct hs_resource *resource = &s->resources.items[f->resources.items[i]];

		len = append(text, size, len, " %s@%llx", hs_resource_kind_name(resource->kind),
		             (unsigned long long)resource->address);
	}
	return len;
}

/**
 * What a finding is about, the same for a live process and for the snapshot of it, whatever names
 * can be read there.
 */
static const char *key_of(const struct hs_report *report, const struct hs_finding *f)
{
	size_t size = print_key(report, f, NULL, 0) + 1;
	char *key = hs_arena_alloc(report->snapshot->arena, size);

	if (key)
		print_key(report, f, key, size);
	return key;
}

static bool has_key(const char *const *keys, const char *key)
{
	for (; key && keys && *keys; keys++) {
		if (!strcmp(*keys, key))
			return true;
	}
	return false;
}

enum verdict_of_look {
	LOOK_CONFIRMED,
	LOOK_UNKNOWN,
	LOOK_DROPPED,
};

/** A snapshot knows what the second look at the process said, when it was taken. */
static enum verdict_of_look look_back(const struct hs_target_info *info, const char *key)
{
	if (!info->ran_on)
		return LOOK_CONFIRMED;
	if (!info->second_look)
		return LOOK_UNKNOWN;
	return has_key(info->second_look->confirmed, key) ? LOOK_CONFIRMED
	       : has_key(info->second_look->dropped, key) ? LOOK_DROPPED
	                                                  : LOOK_UNKNOWN;
}

/** For a snapshot. */
struct look_keys {
	HS_VEC(const char *) confirmed;
	HS_VEC(const char *) dropped;
};

static void keep_key(struct hs_arena *arena, struct look_keys *keys, enum verdict_of_look look,
                     const char *key)
{
	const char **slot = look == LOOK_DROPPED ? hs_vec_push(arena, &keys->dropped)
	                                         : hs_vec_push(arena, &keys->confirmed);

	if (slot)
		*slot = key;
}

/** Drop what is gone at the second look. @p keys: for a snapshot, or NULL. @return true when a
 * cycle was dropped: look again. */
static bool confirm(struct hs_target *target, struct hs_report *report, struct look_keys *keys)
{
	const struct hs_target_info *info = hs_target_info(target);
	struct hs_arena *arena = report->snapshot->arena;
	bool is_live = info->kind == HS_TARGET_LIVE;
	size_t kept = 0;
	bool again = false;

	for (size_t i = 0; i < report->findings.len; i++) {
		struct hs_finding *f = &report->findings.items[i];
		const char *key = keys || info->second_look ? key_of(report, f) : NULL;
		enum verdict_of_look look = !is_live ? look_back(info, key)
		                            : finding_holds(target, report, f) ? LOOK_CONFIRMED
		                                                               : LOOK_DROPPED;

		if (keys)
			keep_key(arena, keys, look, key);
		f->confirmed = look == LOOK_CONFIRMED;
		if (look != LOOK_DROPPED) {
			if (f->confirmed && is_of_many_moments(report->snapshot))
				weaken(report, f);
			report->findings.items[kept++] = *f;
			continue;
		}
		report->unconfirmed_dropped = true;
		again |= is_live && f->steps.len > 0;
	}
	report->findings.len = kept;
	return again;
}

static struct hs_err *write_snapshot(struct hs_target *target,
                                     const struct hs_analysis_options *options,
                                     struct hs_analysis *analysis, struct look_keys *keys)
{
	struct hs_arena *arena = analysis->snapshot->arena;
	const char **end = hs_vec_push(arena, &keys->confirmed);

	end = end ? hs_vec_push(arena, &keys->dropped) : NULL;
	if (!end || hs_arena_failed(arena))
		return hs_err_oom();
	const struct hs_second_look look = {keys->confirmed.items, keys->dropped.items};
	struct hs_err *err = hs_capture_write(target, &look, options->capture,
	                                      hs_take(*analysis->output), options->capture_result);
	analysis->snapshot->info.pause_ms = hs_target_held_ms(target);
	return err;
}

static struct hs_err *look(struct hs_target *target, const struct hs_analysis_options *options,
                           struct hs_analysis *analysis, bool is_last, bool *again_ret)
{
	struct look_keys keys = {0};
	struct hs_snapshot *s = analysis->snapshot;
	const struct hs_wait_graph *graph;
	struct hs_err *err = collect(target, options, s);

	if (err)
		return err;
	err = hs_snapshot_seal(s);
	if (err)
		return err;
	err = hs_wait_graph_build(s, s->arena, &graph);
	if (err)
		return err;
	err = hs_report_create(s, graph, s->arena, &analysis->report);
	if (err)
		return err;
	err = hs_analyzers_run(graph, analysis->report);
	if (err)
		return err;
	*again_ret = confirm(target, analysis->report, options->capture ? &keys : NULL);
	if (s->info.kind == HS_TARGET_LIVE)
		s->info.pause_ms = hs_target_held_ms(target);
	err = hs_report_finish(analysis->report);
	if (!err && options->capture && (is_last || !*again_ret))
		err = write_snapshot(target, options, analysis, &keys);
	return err;
}

static struct hs_err *look_once(const char *name, const struct hs_analysis_options *options,
                                bool is_last, struct hs_output **output, struct hs_analysis **ret,
                                bool *again_ret)
{
	hs_cleanup(hs_target_closep) struct hs_target *target = NULL;
	hs_cleanup(hs_analysis_destroyp) struct hs_analysis *analysis =
		calloc(1, sizeof(*analysis));
	struct hs_err *err;

	if (!analysis)
		return hs_err_oom();
	analysis->snapshot = hs_snapshot_create();
	if (!analysis->snapshot)
		return hs_err_oom();
	analysis->snapshot->redact = options->redact;
	analysis->output = output;
	err = open_target(name, options, analysis, &target);
	if (err)
		return err;
	err = look(target, options, analysis, is_last, again_ret);
	if (err)
		return err;
	*ret = hs_take(analysis);
	return NULL;
}

struct hs_err *hs_analysis_run(const char *target, const struct hs_analysis_options *options,
                               struct hs_analysis **ret)
{
	hs_cleanup(hs_output_abortp) struct hs_output *output = NULL;
	struct hs_analysis *analysis = NULL;
	struct hs_err *err = NULL;
	bool again = true;

	if (options->capture) {
		// A file that cannot be written costs the target nothing.
		err = hs_output_open_early(options->capture->path, &output);
		options->capture_result->is_output = err != NULL;
	}
	if (err)
		return err;
	for (int i = 0; again && i < MAX_LOOKS; i++) {
		hs_analysis_destroy(analysis);
		analysis = NULL;
		err = look_once(target, options, i == MAX_LOOKS - 1, &output, &analysis, &again);
		if (err)
			return err;
	}
	*ret = analysis;
	return NULL;
}

const char *hs_analysis_libunwind(void)
{
	return hs_native_libunwind();
}

const struct hs_report *hs_analysis_report(const struct hs_analysis *analysis)
{
	return analysis->report;
}

const struct hs_err *hs_analysis_refusal(const struct hs_analysis *analysis)
{
	return analysis->refusal;
}

void hs_analysis_destroy(struct hs_analysis *analysis)
{
	if (!analysis)
		return;
	hs_err_free(analysis->refusal);
	hs_snapshot_destroy(analysis->snapshot);
	free(analysis);
}

void hs_analysis_destroyp(struct hs_analysis **analysis)
{
	hs_analysis_destroy(*analysis);
}
