// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Class loading: deadlocks in which the JVM's own locks take part: a class loader's lock, the link
 * of a class, its initialization.
 *
 * Reads: the cycles of the wait graph that contain such a resource. Reports, and claims the cycle:
 * class-loading.loader-lock-vs-link (loader lock and link), class-loading.init-cycle (only links
 * and initializations), class-loading.init-vs-lock (one of them and any other lock). Blind to:
 * loads that wait for each other in the VM's placeholder table.
 */

#include <string.h>

#include "core/analyzer.h"
#include "core/words.h"

enum {
	NAMES_SHOWN = 4
};

/** What takes part in a cycle. */
struct parts {
	const struct hs_edge *loader_hold; /**< NULL: no loader lock */
	const struct hs_edge *link_hold;   /**< NULL: no class link */
	const struct hs_edge *init_hold;   /**< NULL: no class initialization */
	const struct hs_edge *other_hold;  /**< NULL: no other lock */
	size_t num_class;                  /**< links and initializations */
};

/**
 * Deadlocks that somebody has published. A row matches when each of its names does; NULL: any. A
 * new one is a row here and a case in tests/unit/test_class_loading.c; its page must exist.
 */
// clang-format off
static const struct known_issue {
	const char *loader;      /**< class of a class loader that is not parallel capable */
	const char *transformer; /**< class of the class-file transformer on the stacks */
	const char *title, *url;
	const char *fix; /**< the release that has the fix; NULL when there is none */
} known_issues[] = {
	{
		.loader = "org.springframework.boot.loader.launch.LaunchedClassLoader",
		.title = "Launcher's ClassLoader is no longer parallel capable (spring-projects/spring-boot#41665)",
		.url = "https://github.com/spring-projects/spring-boot/issues/41665",
		.fix = "Upgrade Spring Boot to 3.2.9, 3.3.3 or later: there JarUrlClassLoader calls "
		       "ClassLoader.registerAsParallelCapable().",
	},
	{
		.transformer = "com.datadog.debugger.agent.SourceFileTrackingTransformer",
		.title = "Deadlock / BLOCKED threads starting tomcat with dd-agent (DataDog/datadog-agent#33821)",
		.url = "https://github.com/DataDog/datadog-agent/issues/33821",
	},
};
// clang-format on

static struct parts parts_of(const struct hs_snapshot *s, const struct hs_cycle *cycle)
{
	struct parts parts = {0};

	for (size_t i = 0; i < cycle->len; i++) {
		const struct hs_edge *hold = cycle->steps[i].hold;

		switch (s->resources.items[hold->resource].kind) {
		case HS_RES_LOADER_LOCK:
			parts.loader_hold = parts.loader_hold ? parts.loader_hold : hold;
			break;
		case HS_RES_CLASS_LINK:
			parts.link_hold = parts.link_hold ? parts.link_hold : hold;
			parts.num_class++;
			break;
		case HS_RES_CLASS_INIT:
			parts.init_hold = parts.init_hold ? parts.init_hold : hold;
			parts.num_class++;
			break;
		default:
			parts.other_hold = parts.other_hold ? parts.other_hold : hold;
		}
	}
	return parts;
}

static const struct hs_resource *resource_of(const struct hs_report *report,
                                             const struct hs_edge *edge)
{
	return &report->snapshot->resources.items[edge->resource];
}

/** Is this java.lang.instrument.ClassFileTransformer.transform(), by its two signatures? */
static bool is_transform(const struct hs_location *l)
{
	static const char *const starts[] = {
		"(Ljava/lang/ClassLoader;Ljava/lang/String;Ljava/lang/Class;",
		"(Ljava/lang/Module;Ljava/lang/ClassLoader;Ljava/lang/String;Ljava/lang/Class;",
	};

	if (!l->class_name || !l->method || !l->descriptor || strcmp(l->method, "transform") != 0 ||
	    strncmp(l->class_name, "sun.instrument.", strlen("sun.instrument.")) == 0)
		return false;
	for (size_t i = 0; i < sizeof(starts) / sizeof(*starts); i++) {
		if (strncmp(l->descriptor, starts[i], strlen(starts[i])) == 0)
			return true;
	}
	return false;
}

/** Class of the innermost class-file transformer on a thread's stack, or NULL. */
static const char *transformer_on(const struct hs_snapshot *s, uint32_t thread)
{
	const struct hs_thread *t = &s->threads.items[thread];

	for (uint32_t i = 0; i < t->num_frames; i++) {
		if (is_transform(t->frames[i].location))
			return t->frames[i].location->class_name;
	}
	return NULL;
}

static const char *find_transformer(const struct hs_snapshot *s, const struct hs_cycle *cycle)
{
	for (size_t i = 0; i < cycle->len; i++) {
		const char *name = transformer_on(s, cycle->steps[i].wait->thread);

		if (name)
			return name;
	}
	for (size_t i = 0; i < cycle->num_blocked; i++) {
		const char *name = transformer_on(s, cycle->blocked[i]);

		if (name)
			return name;
	}
	return NULL;
}

/** Name without its package, for a second mention: full names of libraries fill a line. */
static const char *simple_name(struct hs_arena *arena, const char *class_name)
{
	const char *name = hs_words_safe(arena, class_name);
	const char *dot = strrchr(name, '.');

	return dot && dot[1] ? dot + 1 : name;
}

static void why_not_parallel(struct hs_report *report, struct hs_finding *f,
                             const struct hs_loader_info *info)
{
	const char *name = simple_name(report->arena, info->class_name);

	if (info->asked == HS_YES && info->unregistered_superclass)
		hs_finding_why(report, f,
		               "%s asked to be parallel capable, but its superclass %s is not "
		               "registered, so the request was refused.",
		               name, hs_words_safe(report->arena, info->unregistered_superclass));
	else if (info->asked == HS_NO)
		hs_finding_why(report, f, "%s never asked to be parallel capable.", name);
}

static void explain_loader_vs_link(struct hs_report *report, struct hs_finding *f,
                                   const struct parts *parts)
{
	struct hs_arena *arena = report->arena;
	const struct hs_snapshot *s = report->snapshot;
	const struct hs_resource *loader = resource_of(report, parts->loader_hold);
	const struct hs_resource *link = resource_of(report, parts->link_hold);
	const struct hs_loader_info *info = loader->loader_info;
	const char *cls = hs_words_safe(arena, link->class_name);

	if (info && info->parallel_capable == HS_NO)
		hs_finding_why(report, f,
		               "Verifying a class can load other classes through its loader. %s is "
		               "not parallel capable, so the VM takes its lock for each load; %s "
		               "entered it first%s%s, and then needed %s, which %s is verifying.",
		               hs_words_safe(arena, info->class_name),
		               hs_words_thread(arena, s, parts->loader_hold->thread),
		               parts->loader_hold->subject_class ? ", to load " : "",
		               parts->loader_hold->subject_class
		                       ? hs_words_safe(arena, parts->loader_hold->subject_class)
		                       : "",
		               cls, hs_words_thread(arena, s, parts->link_hold->thread));
	else
		hs_finding_why(
			report, f,
			"Verifying a class can load other classes. %s holds %s while it needs "
			"%s, and %s, which is verifying that class, needs the same lock to load "
			"another one.",
			hs_words_thread(arena, s, parts->loader_hold->thread),
			hs_words_safe(arena, loader->label), cls,
			hs_words_thread(arena, s, parts->link_hold->thread));
	if (info)
		why_not_parallel(report, f, info);
}

/** The holder of the loader's lock loads a class, and needs the other one to transform it. */
static void explain_transformer(struct hs_report *report, struct hs_finding *f,
                                const struct parts *parts)
{
	const struct hs_snapshot *s = report->snapshot;
	struct hs_arena *arena = report->arena;
	uint32_t thread = parts->loader_hold->thread;
	const char *name = transformer_on(s, thread);

	if (!name)
		return;
	hs_finding_why(
		report, f,
		"%s was needed by the class-file transformer %s of an agent: a transformer runs "
		"within each class load%s, so here with the loader's lock held.",
		simple_name(arena, resource_of(report, parts->link_hold)->class_name),
		hs_words_safe(arena, name),
		transformer_on(s, parts->link_hold->thread) ? ", of both threads" : "");
}

/** Since JDK 20 (JDK-8288064) until 22, and in 21.0.0 to 21.0.3, a monitor of the VM guards a link;
 * such a JVM has the state being_linked. */
static void why_jstack_is_silent(struct hs_report *report, struct hs_finding *f,
                                 const struct parts *parts)
{
	const struct hs_class_info *info = resource_of(report, parts->link_hold)->class_info;

	if (info && info->state && strcmp(info->state, "being_linked") == 0)
		hs_finding_why(report, f,
		               "\njstack shows the threads that wait for the link as RUNNABLE and "
		               "reports no deadlock: this JVM guards a link with a monitor of its "
		               "own (JDK-8288064).");
}

static void fix_loader(struct hs_report *report, struct hs_finding *f,
                       const struct hs_loader_info *info)
{
	struct hs_arena *arena = report->arena;

	if (!info || info->parallel_capable == HS_YES)
		return;
	if (info->asked == HS_YES && info->unregistered_superclass)
		hs_finding_fix(
			report, f,
			"Call ClassLoader.registerAsParallelCapable() in a static initializer of "
			"%s too (every superclass must).",
			hs_words_safe(arena, info->unregistered_superclass));
	else
		hs_finding_fix(
			report, f,
			"Call ClassLoader.registerAsParallelCapable() in a static initializer of "
			"%s and of each of its superclasses.",
			hs_words_safe(arena, info->class_name));
}

static void fix_link(struct hs_report *report, struct hs_finding *f, const char *transformer,
                     const struct hs_resource *link)
{
	struct hs_arena *arena = report->arena;
	const char *cls = hs_words_safe(arena, link->class_name);

	if (transformer) {
		hs_finding_fix(
			report, f,
			"Load and initialize %s (Class.forName) before a second thread can load "
			"classes: before the class-file transformer %s is installed.",
			cls, simple_name(arena, transformer));
		hs_finding_evidence(report, f,
		                    "A class-file transformer (%s) is on the stacks: an agent that "
		                    "transforms classes while they are loaded widens the window",
		                    hs_words_safe(arena, transformer));
	} else {
		hs_finding_fix(
			report, f,
			"Load and initialize %s (Class.forName) before a second thread can load "
			"classes (for example before installing a class-file transformer).",
			cls);
	}
	if (link->class_info && link->class_info->major_version &&
	    link->class_info->major_version < 50)
		hs_finding_fix(
			report, f,
			"Use a build of %s with class file version 50 or later (it is %u): the "
			"old verifier loads more classes than the split verifier. This narrows "
			"the window, it does not close it.",
			simple_name(arena, link->class_name), link->class_info->major_version);
}

static void loader_evidence(struct hs_report *report, struct hs_finding *f,
                            const struct hs_resource *loader)
{
	const struct hs_loader_info *info = loader->loader_info;
	struct hs_arena *arena = report->arena;

	if (!info)
		return;
	const char *name = hs_words_safe(arena, info->class_name);
	if (info->parallel_capable == HS_NO)
		hs_finding_evidence(report, f, "%s @%llx: parallelLockMap == null", name,
		                    (unsigned long long)info->object);
	if (info->self_registered == HS_NO && info->unregistered_superclass)
		hs_finding_evidence(
			report, f,
			"ClassLoader.ParallelLoaders.loaderTypes holds neither %s nor its "
			"superclass %s",
			name, hs_words_safe(arena, info->unregistered_superclass));
	else if (info->self_registered == HS_NO)
		hs_finding_evidence(report, f,
		                    "ClassLoader.ParallelLoaders.loaderTypes does not hold %s",
		                    name);
}

static bool same_name(const char *wanted, const char *name)
{
	return !wanted || (name && strcmp(wanted, name) == 0);
}

/** Cites the published deadlocks that this one looks like; true when one names its fix. @p info
 * and @p transformer may be NULL. */
static bool report_known(struct hs_report *report, struct hs_finding *f,
                         const struct hs_loader_info *info, const char *transformer)
{
	// A loader that is parallel capable has been repaired.
	const char *loader = info && info->parallel_capable == HS_NO ? info->class_name : NULL;
	bool fixed = false;

	for (size_t i = 0; i < sizeof(known_issues) / sizeof(*known_issues); i++) {
		const struct known_issue *known = &known_issues[i];

		if (!same_name(known->loader, loader) ||
		    !same_name(known->transformer, transformer))
			continue;
		hs_finding_known(report, f, known->title, known->url);
		if (known->fix)
			hs_finding_fix(report, f, "%s", known->fix);
		fixed = fixed || known->fix;
	}
	return fixed;
}

/** What can be done before anybody changes code. */
static void fix_at_once(struct hs_report *report, struct hs_finding *f, const char *transformer)
{
	if (transformer)
		hs_finding_fix(report, f,
		               "At once: restart it, this is a race that another start can win; "
		               "without the agent that installs %s, if that can be spared.",
		               simple_name(report->arena, transformer));
	else
		hs_finding_fix(report, f,
		               "At once: restart it, this is a race that another start can win.");
}

static void loader_lock_vs_link(struct hs_report *report, struct hs_finding *f,
                                const struct hs_cycle *cycle, const struct parts *parts)
{
	const struct hs_resource *loader = resource_of(report, parts->loader_hold);
	const char *transformer = find_transformer(report->snapshot, cycle);

	explain_loader_vs_link(report, f, parts);
	explain_transformer(report, f, parts);
	why_jstack_is_silent(report, f, parts);
	// Who meets a loader that is repaired in a release does not write that loader.
	if (!report_known(report, f, loader->loader_info, transformer))
		fix_loader(report, f, loader->loader_info);
	fix_link(report, f, transformer, resource_of(report, parts->link_hold));
	fix_at_once(report, f, transformer);
	loader_evidence(report, f, loader);
}

/** "A, B and C": the classes of a cycle, in walking order. */
static const char *class_list(struct hs_report *report, const struct hs_cycle *cycle)
{
	const struct hs_snapshot *s = report->snapshot;
	const char *text = "";
	size_t shown = 0;

	for (size_t i = 0; i < cycle->len; i++) {
		const struct hs_resource *r = &s->resources.items[cycle->steps[i].wait->resource];

		if (r->kind != HS_RES_CLASS_LINK && r->kind != HS_RES_CLASS_INIT)
			continue;
		const char *longer =
			hs_arena_printf(report->arena, "%s%s%s", text, shown++ ? " and " : "",
		                        hs_words_safe(report->arena, r->class_name));
		text = longer ? longer : text;
	}
	return text;
}

static void init_cycle(struct hs_report *report, struct hs_finding *f, const struct hs_cycle *cycle)
{
	const struct hs_snapshot *s = report->snapshot;
	struct hs_arena *arena = report->arena;
	const char *classes = class_list(report, cycle);

	hs_finding_why(
		report, f,
		"A class is initialized by one thread; every other thread that needs it waits "
		"until that is done. The initializers of %s need each other, and each was "
		"entered by another thread:",
		classes);
	for (size_t i = 0; i < cycle->len; i++) {
		const struct hs_step *step = &cycle->steps[i];
		const struct hs_edge *held = cycle->steps[(i + cycle->len - 1) % cycle->len].hold;

		hs_finding_why(report, f, "%s initializes %s and needs %s%s",
		               hs_words_thread(arena, s, step->wait->thread),
		               hs_words_safe(arena, resource_of(report, held)->class_name),
		               hs_words_safe(arena, resource_of(report, step->wait)->class_name),
		               i + 1 == cycle->len ? "." : ";");
	}
	hs_finding_why(report, f,
	               "jstack shows these threads as RUNNABLE and reports no deadlock.");
	hs_finding_fix(
		report, f,
		"Break the circle: a static initializer of one of %s must not use the other "
		"(move the constant to a third class, or create it lazily in a holder class).",
		classes);
	hs_finding_fix(
		report, f,
		"Until then, initialize them from one thread at start, before others can: for "
		"example Class.forName on each in main().");
}

static void init_vs_lock(struct hs_report *report, struct hs_finding *f,
                         const struct hs_cycle *cycle, const struct parts *parts)
{
	struct hs_arena *arena = report->arena;
	const struct hs_snapshot *s = report->snapshot;
	const struct hs_edge *init = parts->init_hold ? parts->init_hold : parts->link_hold;
	const struct hs_edge *lock = parts->other_hold ? parts->other_hold : parts->loader_hold;
	const char *cls = hs_words_safe(arena, resource_of(report, init)->class_name);
	const char *what = parts->init_hold ? "initialization" : "link";

	hs_finding_why(
		report, f,
		"%s is in the %s of %s and needs %s; %s holds that and needs %s. While a "
		"class is being %s, every other thread that uses it waits, so its %s acts as "
		"a lock that no lock order mentions.",
		hs_words_thread(arena, s, init->thread), what, cls,
		hs_words_safe(arena, resource_of(report, lock)->label),
		hs_words_thread(arena, s, lock->thread), cls,
		parts->init_hold ? "initialized" : "linked", what);
	if (parts->loader_hold) {
		const struct hs_resource *loader = resource_of(report, parts->loader_hold);

		if (!report_known(report, f, loader->loader_info, find_transformer(s, cycle)))
			fix_loader(report, f, loader->loader_info);
		loader_evidence(report, f, loader);
	}
	hs_finding_fix(
		report, f,
		"Do not take locks (or wait for threads that do) in the static initializer of "
		"%s: move that work to a method that is called after start.",
		cls);
	hs_finding_fix(
		report, f,
		"Or initialize %s before any thread can hold %s: for example Class.forName in "
		"main().",
		cls, hs_words_safe(arena, resource_of(report, lock)->label));
}

static struct hs_err *class_loading_run(const struct hs_wait_graph *graph, struct hs_report *report)
{
	for (size_t i = 0; i < graph->num_cycles; i++) {
		const struct hs_cycle *cycle = &graph->cycles[i];
		struct parts parts = parts_of(graph->snapshot, cycle);
		bool only_classes = parts.num_class == cycle->len;

		// A loader lock against plain locks is an ordinary deadlock.
		if (!parts.num_class || hs_report_claimed(report, cycle))
			continue;
		const char *id = only_classes ? "class-loading.init-cycle"
		                 : parts.loader_hold && parts.link_hold
		                         ? "class-loading.loader-lock-vs-link"
		                         : "class-loading.init-vs-lock";
		bool sure = cycle->certainty == HS_READ;
		struct hs_finding *f =
			hs_report_add(report, id, cycle->has_timed_wait ? HS_WARNING : HS_CRITICAL,
		                      cycle->has_timed_wait ? HS_VERDICT_STALL
		                      : sure                ? HS_VERDICT_DEADLOCK
		                                            : HS_VERDICT_POSSIBLE_DEADLOCK);

		if (!f)
			return hs_err_oom();
		hs_finding_cite_cycle(report, f, cycle);
		if (cycle->len == 1)
			hs_finding_title(report, f, "class loading: %s waits for itself",
			                 hs_words_thread(report->arena, graph->snapshot,
			                                 f->threads.items[0]));
		else
			hs_finding_title(report, f, "class loading: %s wait for each other",
			                 hs_words_threads(report->arena, graph->snapshot,
			                                  f->threads.items, f->threads.len,
			                                  NAMES_SHOWN));
		if (only_classes)
			init_cycle(report, f, cycle);
		else if (parts.loader_hold && parts.link_hold)
			loader_lock_vs_link(report, f, cycle, &parts);
		else
			init_vs_lock(report, f, cycle, &parts);
		hs_report_claim(report, cycle);
	}
	return NULL;
}

const struct hs_analyzer hs_analyzer_class_loading = {
	.abi = HS_ANALYZER_ABI,
	.name = "class_loading",
	.summary = "deadlocks through class-loader locks, class linking and initialization",
	.priority = 10,
	.run = class_loading_run,
};
