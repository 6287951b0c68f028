// SPDX-License-Identifier: Apache-2.0
/** @file The class-loading findings, and what they leave to the general analyzer. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/snapshot_builder.h"

#define assert_contains(haystack, needle) assert_non_null(strstr(haystack, needle))

static void incident(void **state)
{
	(void)state;
	struct hs_snapshot *s = sb_incident();
	const struct hs_report *r = sb_report(s);

	assert_int_equal(r->verdict, HS_VERDICT_DEADLOCK);
	assert_int_equal(hs_report_exit_status(r), 1);
	assert_int_equal(r->findings.len, 1);
	const struct hs_finding *f = &r->findings.items[0];
	assert_string_equal(f->id, "class-loading.loader-lock-vs-link");
	assert_int_equal(f->severity, HS_CRITICAL);
	assert_string_equal(f->title,
	                    "class loading: \"main\" and \"dd-trace-processor\" wait for each "
	                    "other");
	assert_int_equal(f->blocked.len, 2);
	assert_contains(f->why, "not parallel capable");
	assert_contains(f->why, "boot.Boot$LaunchedClassLoader is not parallel capable");
	assert_contains(f->why, "superclass boot.Boot$JarUrlClassLoader is not registered");
	assert_contains(f->fix.items[0], "registerAsParallelCapable() in a static initializer of "
	                                 "boot.Boot$JarUrlClassLoader");
	assert_contains(f->fix.items[1], "app.ClassWriter");
	assert_contains(f->fix.items[2], "version 50");
	assert_contains(f->fix.items[3], "At once: restart");
	assert_int_equal(f->known.len, 0);
	hs_snapshot_destroy(s);
}

/** Same bug, other tids, thread order and addresses: same signature. */
static void signature_is_stable(void **state)
{
	(void)state;
	struct hs_snapshot *a = sb_incident(), *b = sb_create();
	static const struct sb_frame trace[] = {
		{"boot.Boot",  "lambda$main$0", "Boot.java", 99, NULL},
                {0}
        };
	static const struct sb_frame main_frames[] = {
		{"boot.Boot$LaunchedClassLoader", "findClass", "Boot.java", 77, NULL},
                {0                   }
        };
	uint32_t t = sb_thread(b, "dd-trace-processor", 7, trace);
	uint32_t m = sb_thread(b, "main", 9, main_frames);
	uint32_t link = sb_resource(b, HS_RES_CLASS_LINK, 0x42, "l", "app.ClassWriter");
	uint32_t lock =
		sb_resource(b, HS_RES_LOADER_LOCK, 0x43, "l", "boot.Boot$LaunchedClassLoader");

	sb_hold(b, t, link);
	sb_wait(b, t, lock);
	sb_hold(b, m, lock);
	sb_wait(b, m, link);
	assert_string_equal(sb_report(a)->findings.items[0].signature,
	                    sb_report(b)->findings.items[0].signature);
	hs_snapshot_destroy(a);
	hs_snapshot_destroy(b);
}

static const char *signature_of_class(const char *class_name, struct hs_snapshot **ret)
{
	struct hs_snapshot *s = sb_create();
	uint32_t x = sb_thread(s, "x", 1, NULL), y = sb_thread(s, "y", 2, NULL);
	uint32_t a = sb_resource(s, HS_RES_JAVA_MONITOR, 0x10, "a", class_name);
	uint32_t b = sb_resource(s, HS_RES_JAVA_MONITOR, 0x20, "b", "app.B");

	sb_hold(s, x, a);
	sb_wait(s, x, b);
	sb_hold(s, y, b);
	sb_wait(s, y, a);
	*ret = s;
	return sb_report(s)->findings.items[0].signature;
}

/** 8: the number behind the slash is there once somebody asked for the hash of the class. */
static void signature_ignores_hashes_of_classes(void **state)
{
	(void)state;
	struct hs_snapshot *a, *b;
	const char *plain = signature_of_class("app.Main$$Lambda$1", &a);

	assert_string_equal(plain, signature_of_class("app.Main$$Lambda$7/1096979270", &b));
	hs_snapshot_destroy(a);
	hs_snapshot_destroy(b);
}

static const struct hs_loader_info launched = {
	.class_name = "org.springframework.boot.loader.launch.LaunchedClassLoader",
	.parallel_capable = HS_NO,
	.asked = HS_YES,
	.unregistered_superclass =
		"org.springframework.boot.loader.net.protocol.jar.JarUrlClassLoader",
	.self_registered = HS_NO,
};

static struct hs_snapshot *incident_with_loader(const struct hs_loader_info *loader)
{
	struct hs_snapshot *s = sb_incident();

	hs_vec_each (resource, &s->resources) {
		if (resource->kind == HS_RES_LOADER_LOCK)
			resource->loader_info = loader;
	}
	return s;
}

static void known_issue(void **state)
{
	(void)state;
	struct hs_snapshot *s = incident_with_loader(&launched);
	const struct hs_finding *f = &sb_report(s)->findings.items[0];

	assert_int_equal(f->known.len, 1);
	assert_contains(f->known.items[0].url, "spring-boot/issues/41665");
	assert_contains(f->fix.items[0], "Upgrade Spring Boot");
	assert_contains(f->fix.items[0], "JarUrlClassLoader");
	assert_contains(f->fix.items[1], "Load and initialize app.ClassWriter");
	hs_snapshot_destroy(s);
}

/** The same loader, of a release that has the fix: another problem. */
static void repaired_loader_is_not_the_known_issue(void **state)
{
	(void)state;
	struct hs_loader_info repaired = launched;
	repaired.parallel_capable = HS_YES;
	struct hs_snapshot *s = incident_with_loader(&repaired);

	assert_int_equal(sb_report(s)->findings.items[0].known.len, 0);
	hs_snapshot_destroy(s);
}

static void known_transformer(void **state)
{
	(void)state;
	static const struct sb_frame frames[] = {
		{"com.datadog.debugger.agent.SourceFileTrackingTransformer", "transform", "S.java",
	         34, "(Ljava/lang/ClassLoader;Ljava/lang/String;Ljava/lang/Class;"
	         "Ljava/security/ProtectionDomain;[B)[B"},
		{0						 },
	};
	struct hs_snapshot *s = sb_incident();

	sb_wait(s, sb_thread(s, "more", 5, frames), 1);
	const struct hs_finding *f = &sb_report(s)->findings.items[0];
	assert_int_equal(f->known.len, 1);
	assert_contains(f->known.items[0].url, "datadog-agent/issues/33821");
	assert_contains(f->fix.items[0], "registerAsParallelCapable"); // it names no fix
	hs_snapshot_destroy(s);
}

/** The thread that holds the loader's lock got to the class through an agent. */
static void transformer_with_the_lock_held(void **state)
{
	(void)state;
	static const struct sb_frame frames[] = {
		{"agent.Rewriter", "transform", "R.java", 7,
	         "(Ljava/lang/Module;Ljava/lang/ClassLoader;Ljava/lang/String;Ljava/lang/Class;"
	         "Ljava/security/ProtectionDomain;[B)[B"},
		{0       },
	};
	struct hs_snapshot *s = sb_create();
	uint32_t loads = sb_thread(s, "loads", 1, frames), links = sb_thread(s, "links", 2, NULL);
	uint32_t lock = sb_resource(s, HS_RES_LOADER_LOCK, 0x10, "the lock", "app.Loader");
	uint32_t link = sb_resource(s, HS_RES_CLASS_LINK, 0x20, "the link", "app.deep.Writer");

	sb_hold(s, loads, lock);
	sb_wait(s, loads, link);
	sb_hold(s, links, link);
	sb_wait(s, links, lock);
	assert_contains(sb_report(s)->findings.items[0].why,
	                "Writer was needed by the class-file transformer agent.Rewriter of an "
	                "agent: a transformer runs within each class load, so");
	hs_snapshot_destroy(s);
}

/** JDK 21.0.0 to 21.0.3: a thread dump is of no help, and the report says so. */
static void jstack_is_silent(void **state)
{
	(void)state;
	struct hs_class_info linked = {.name = "app.ClassWriter", .state = "being_linked"};
	struct hs_snapshot *s = sb_incident();

	hs_vec_each (resource, &s->resources) {
		if (resource->kind == HS_RES_CLASS_LINK)
			resource->class_info = &linked;
	}
	assert_contains(sb_report(s)->findings.items[0].why, "jstack shows");
	hs_snapshot_destroy(s);
}

static void transformer_on_the_stack(void **state)
{
	(void)state;
	static const struct sb_frame frames[] = {
		{"reactor.tools.agent.ReactorDebugAgent$1", "transform", "R.java", 97,
	         "(Ljava/lang/ClassLoader;Ljava/lang/String;Ljava/lang/Class;"
	         "Ljava/security/ProtectionDomain;[B)[B"},
		{"sun.instrument.TransformerManager",                                 "transform", "T.java", 188, NULL},
		{0  },
	};
	struct hs_snapshot *s = sb_incident();
	uint32_t more = sb_thread(s, "more", 5, frames);

	sb_wait(s, more, 1);
	const struct hs_finding *f = &sb_report(s)->findings.items[0];
	assert_contains(f->fix.items[1], "ReactorDebugAgent$1");
	assert_contains(f->fix.items[3], "without the agent that installs");
	hs_snapshot_destroy(s);
}

static struct hs_snapshot *two(enum hs_resource_kind a, enum hs_resource_kind b)
{
	struct hs_snapshot *s = sb_create();
	uint32_t x = sb_thread(s, "x", 1, NULL), y = sb_thread(s, "y", 2, NULL);
	uint32_t ra = sb_resource(s, a, 0x10, "the first", "app.A");
	uint32_t rb = sb_resource(s, b, 0x20, "the second", "app.B");

	sb_hold(s, x, ra);
	sb_wait(s, x, rb);
	sb_hold(s, y, rb);
	sb_wait(s, y, ra);
	return s;
}

static void ids_by_kind(void **state)
{
	static const struct {
		enum hs_resource_kind a, b;
		const char *id;
	} cases[] = {
		{HS_RES_CLASS_INIT,    HS_RES_CLASS_INIT,    "class-loading.init-cycle"         },
		{HS_RES_CLASS_INIT,    HS_RES_CLASS_LINK,    "class-loading.init-cycle"         },
		{HS_RES_CLASS_INIT,    HS_RES_JAVA_MONITOR,  "class-loading.init-vs-lock"       },
		{HS_RES_CLASS_LINK,    HS_RES_JUC_LOCK,      "class-loading.init-vs-lock"       },
		{HS_RES_LOADER_LOCK,   HS_RES_CLASS_INIT,    "class-loading.init-vs-lock"       },
		{HS_RES_LOADER_LOCK,   HS_RES_CLASS_LINK,    "class-loading.loader-lock-vs-link"},
		{HS_RES_LOADER_LOCK,   HS_RES_JAVA_MONITOR,  "deadlock.cycle"                   },
		{HS_RES_JAVA_MONITOR,  HS_RES_JUC_LOCK,      "deadlock.cycle"                   },
		{HS_RES_PTHREAD_MUTEX, HS_RES_PTHREAD_MUTEX, "deadlock.cycle"                   },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct hs_snapshot *s = two(cases[i].a, cases[i].b);
		const struct hs_report *r = sb_report(s);

		assert_int_equal(r->findings.len, 1);
		assert_string_equal(r->findings.items[0].id, cases[i].id);
		assert_int_equal(r->verdict, HS_VERDICT_DEADLOCK);
		assert_true(r->findings.items[0].fix.len > 0);
		hs_snapshot_destroy(s);
	}
}

static void unsure_edge_is_only_possible(void **state)
{
	(void)state;
	struct hs_snapshot *s = two(HS_RES_JAVA_MONITOR, HS_RES_JAVA_MONITOR);

	s->waits.items[0].certainty = HS_INFERRED;
	const struct hs_report *r = sb_report(s);
	assert_string_equal(r->findings.items[0].id, "deadlock.possible");
	assert_int_equal(r->verdict, HS_VERDICT_POSSIBLE_DEADLOCK);
	hs_snapshot_destroy(s);
}

static void timed_wait_is_a_stall(void **state)
{
	(void)state;
	struct hs_snapshot *s = two(HS_RES_JUC_LOCK, HS_RES_JAVA_MONITOR);

	s->waits.items[1].timed = true;
	const struct hs_report *r = sb_report(s);
	assert_int_equal(r->verdict, HS_VERDICT_STALL);
	assert_int_equal(r->findings.items[0].severity, HS_WARNING);
	hs_snapshot_destroy(s);
}

static void self_wait(void **state)
{
	(void)state;
	struct hs_snapshot *s = sb_create();
	uint32_t t = sb_native_thread(s, 12);
	uint32_t lock = sb_resource(s, HS_RES_PTHREAD_MUTEX, 0x10, "pthread mutex lock_a", NULL);

	sb_hold(s, t, lock);
	sb_wait(s, t, lock);
	const struct hs_report *r = sb_report(s);
	assert_int_equal(r->findings.len, 1);
	assert_string_equal(r->findings.items[0].id, "deadlock.self");
	assert_contains(r->findings.items[0].title, "thread 12");
	hs_snapshot_destroy(s);
}

static void contention(void **state)
{
	(void)state;
	struct hs_snapshot *s = sb_create();
	uint32_t root = sb_thread(s, "root", 1, NULL);
	uint32_t lock = sb_resource(s, HS_RES_JAVA_MONITOR, 0x10, "the monitor", "app.X");

	sb_hold(s, root, lock);
	for (int i = 0; i < 3; i++)
		sb_wait(s, sb_thread(s, "behind", 10 + i, NULL), lock);
	const struct hs_report *r = sb_report(s);
	assert_int_equal(r->verdict, HS_VERDICT_CONTENTION);
	assert_string_equal(r->findings.items[0].id, "contention.blocked-behind");
	assert_int_equal(r->findings.items[0].blocked.len, 3);
	hs_snapshot_destroy(s);
}

static void blind_is_incomplete(void **state)
{
	(void)state;
	struct hs_snapshot *s = sb_create();

	s->blind = true;
	const struct hs_report *r = sb_report(s);
	assert_int_equal(r->verdict, HS_VERDICT_INCOMPLETE);
	assert_int_equal(hs_report_exit_status(r), 2);
	hs_snapshot_destroy(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(incident),
		cmocka_unit_test(signature_is_stable),
		cmocka_unit_test(signature_ignores_hashes_of_classes),
		cmocka_unit_test(known_issue),
		cmocka_unit_test(repaired_loader_is_not_the_known_issue),
		cmocka_unit_test(known_transformer),
		cmocka_unit_test(transformer_with_the_lock_held),
		cmocka_unit_test(jstack_is_silent),
		cmocka_unit_test(transformer_on_the_stack),
		cmocka_unit_test(ids_by_kind),
		cmocka_unit_test(unsure_edge_is_only_possible),
		cmocka_unit_test(timed_wait_is_a_stall),
		cmocka_unit_test(self_wait),
		cmocka_unit_test(contention),
		cmocka_unit_test(blind_is_incomplete),
	};

	return cmocka_run_group_tests_name("class_loading", tests, NULL, NULL);
}
