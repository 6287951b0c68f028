// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Renderers against golden files in tests/golden/FORMAT/; HS_UPDATE_GOLDEN=1 writes them. And
 * hostile names: nothing from a target may reach a terminal or a JSON reader raw.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "core/renderer.h"
#include "core/words.h"
#include "tests/support/snapshot_builder.h"

static char *render(const struct hs_report *report, const char *format, enum hs_view view)
{
	const struct hs_renderer *renderer = hs_renderer_find(format, view);
	const struct hs_render_options options = {.view = view, .version = "0.1"};
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(renderer);
	assert_non_null(out);
	assert_null(renderer->render(report, &options, out));
	assert_int_equal(fclose(out), 0);
	return text;
}

static char *read_file(const char *path)
{
	FILE *file = fopen(path, "re");
	char *text = NULL;
	size_t len = 0;

	if (!file)
		return NULL;
	assert_true(getdelim(&text, &len, '\0', file) >= 0);
	fclose(file);
	return text;
}

static void golden(const struct hs_report *report, const char *format, enum hs_view view,
                   const char *name)
{
	char path[512];
	char *text = render(report, format, view);

	snprintf(path, sizeof(path), "%s/tests/golden/%s/%s", HS_SOURCE_DIR, format, name);
	if (getenv("HS_UPDATE_GOLDEN")) {
		FILE *file = fopen(path, "we");

		assert_non_null(file);
		fputs(text, file);
		fclose(file);
	}
	char *expected = read_file(path);
	assert_non_null(expected);
	assert_string_equal(text, expected);
	free(text);
	free(expected);
}

static void incident_in_all_formats(void **state)
{
	(void)state;
	struct hs_snapshot *s = sb_incident();
	const struct hs_report *r;

	hs_snapshot_gapf(s, "libfoo.so", "names of functions in it", "the file is gone");
	r = sb_report(s);
	golden(r, "text", HS_VIEW_REPORT, "incident.txt");
	golden(r, "text", HS_VIEW_STACKS, "incident_stacks.txt");
	golden(r, "text", HS_VIEW_GRAPH, "incident_graph.txt");
	golden(r, "folded", HS_VIEW_STACKS, "incident.folded");
	golden(r, "dot", HS_VIEW_GRAPH, "incident.dot");
	golden(r, "json", HS_VIEW_REPORT, "incident.json");
	hs_snapshot_destroy(s);
}

/** Lock lines of every kind at the first frame of @p thread, and a module for its places. */
static void add_lock_lines(struct hs_snapshot *s, uint32_t thread)
{
	uint32_t init =
		sb_resource(s, HS_RES_CLASS_INIT, 0x800c4000, "the class app.Init", "app.Init");
	const struct hs_frame_lock locks[] = {
		{HS_LOCK_WAITING_ON,      HS_NONE, 0,          NULL                          },
		{HS_LOCK_WAITING_ON,      init,    0x800c4010, "[I"                          },
		{HS_LOCK_WAITING_RE_LOCK, HS_NONE, 0xffd00010, "java.lang.Object"            },
		{HS_LOCK_PARKING,         HS_NONE, 0xffd00020, "java.lang.Class for app.Main"},
		{HS_LOCK_WAITING_TO_LOCK, HS_NONE, 0xffd00030, "java.lang.Class for app.Main"},
		{HS_LOCK_LOCKED,          HS_NONE, 0xffd00040, "app.Held"                    },
		{HS_LOCK_ELIMINATED,      HS_NONE, 0,          "app.Gone"                    },
		{HS_LOCK_ELIMINATED,      HS_NONE, 0xffd00050, "app.Kept"                    },
	};
	struct hs_thread *t = &s->threads.items[thread];
	// What collectors keep to themselves until the seal.
	struct hs_frame *frames = (struct hs_frame *)t->frames;
	void *copy = hs_arena_alloc(s->arena, sizeof(locks));

	assert_non_null(copy);
	memcpy(copy, locks, sizeof(locks));
	frames[0].locks = copy;
	frames[0].num_locks = sizeof(locks) / sizeof(*locks);
	frames[1].locks = (struct hs_frame_lock *)copy + 5;
	frames[1].num_locks = 1;
	for (uint32_t i = 0; i < t->num_frames; i++) {
		struct hs_location *l = (struct hs_location *)t->frames[i].location;

		l->java_module = i + 1 < t->num_frames ? "java.base@17.0.15" : NULL;
		if (i == 2)
			l->line = -1;
		if (i == 3)
			l->file = NULL;
	}
}

static void jstack_of_each_release(void **state)
{
	(void)state;
	static const int majors[] = {8, 11, 17, 21, 25, 26};

	for (size_t i = 0; i < sizeof(majors) / sizeof(*majors); i++) {
		struct hs_snapshot *s = sb_incident();
		char name[32];

		if (majors[i] == 26)
			s->runtime.version = "26-ea+15-Debian-1";
		add_lock_lines(s, 0);
		sb_thread_dump(s, majors[i]);
		snprintf(name, sizeof(name), "incident%d.txt", majors[i]);
		golden(sb_report(s), "jstack", HS_VIEW_STACKS, name);
		hs_snapshot_destroy(s);
	}
}

/** Virtual threads: below the carrier where jstack shows them there, else at the end. */
static void jstack_virtual_threads(void **state)
{
	(void)state;
	static const struct sb_frame frames[] = {
		{"app.Task",   "run", "Task.java", 7, NULL},
		{0},
	};
	static const int majors[] = {21, 25};

	for (size_t i = 0; i < sizeof(majors) / sizeof(*majors); i++) {
		struct hs_snapshot *s = sb_create();
		uint32_t carrier = sb_thread(s, "ForkJoinPool-1-worker-1", 20, frames);
		uint32_t mounted = sb_thread(s, "mounted", 0, frames);
		uint32_t parked = sb_thread(s, "parked", 0, frames);
		char name[32];

		sb_thread(s, "VM Periodic Tas", 21, NULL);
		sb_thread_dump(s, majors[i]);
		struct hs_thread_dump *dump = (struct hs_thread_dump *)s->dump;
		dump->deadlocks.len = 0;
		dump->owned_known = false;
		dump->order.items[1] = 3;
		dump->order.len = 2;
		s->threads.items[mounted].kind = HS_THREAD_VIRTUAL;
		s->threads.items[mounted].carrier = carrier;
		s->threads.items[parked].kind = HS_THREAD_VIRTUAL;
		s->threads.items[parked].java_state = "WAITING (parking)";
		s->threads.items[mounted].dump = s->threads.items[parked].dump = NULL;
		((struct hs_dump_thread *)s->threads.items[carrier].dump)->carried = 2;
		snprintf(name, sizeof(name), "virtual%d.txt", majors[i]);
		golden(sb_report(s), "jstack", HS_VIEW_STACKS, name);
		hs_snapshot_destroy(s);
	}
}

/** Facts that are not known are left out, as jstack leaves them out. */
static void jstack_unknown_facts(void **state)
{
	(void)state;
	struct hs_snapshot *s = sb_incident();

	sb_thread_dump(s, 17);
	hs_vec_each (t, &s->threads)
		*(struct hs_dump_thread *)t->dump = (struct hs_dump_thread){
			.address = 0x1000,
			.cpu_ns = -1,
			.elapsed_ms = -1,
			.allocated = -1,
			.defined_classes = -1,
			.blocker = {.owner = HS_NONE},
		};
	struct hs_thread_dump *dump = (struct hs_thread_dump *)s->dump;
	dump->vm_info = NULL;
	dump->list = 0;
	dump->owned_known = false;
	dump->jni_global = dump->jni_weak = -1;
	dump->deadlocks.len = 0;
	golden(sb_report(s), "jstack", HS_VIEW_STACKS, "unknown.txt");
	hs_snapshot_destroy(s);
}

static void jstack_needs_a_jvm(void **state)
{
	(void)state;
	struct hs_snapshot *s = sb_create();
	const struct hs_render_options options = {.view = HS_VIEW_STACKS, .version = "0.1"};
	FILE *out = fopen("/dev/null", "we");

	assert_non_null(out);
	sb_native_thread(s, 1);
	struct hs_err *err =
		hs_renderer_find("jstack", HS_VIEW_STACKS)->render(sb_report(s), &options, out);
	assert_int_equal(hs_err_code(err), HS_ERR_UNSUPPORTED);
	hs_err_free(err);
	fclose(out);
	hs_snapshot_destroy(s);
}

static void clear(void **state)
{
	(void)state;
	struct hs_snapshot *s = sb_create();

	sb_thread(s, "main", 1, NULL);
	golden(sb_report(s), "text", HS_VIEW_REPORT, "clear.txt");
	hs_snapshot_destroy(s);
}

static void contention(void **state)
{
	(void)state;
	static const struct sb_frame frames[] = {
		{"java.lang.Thread", "sleep", NULL, -1, NULL},
		{"app.Cache",              "refresh", "Cache.java", 42, NULL},
		{0             },
	};
	struct hs_snapshot *s = sb_create();
	uint32_t root = sb_thread(s, "refresher", 1, frames);
	uint32_t lock = sb_resource(s, HS_RES_JAVA_MONITOR, 0xabc0, "the monitor of a app.Cache",
	                            "app.Cache");

	sb_hold(s, root, lock)->frame = 1;
	for (int i = 0; i < 15; i++)
		sb_wait(s, sb_thread(s, "worker", 10 + i, NULL), lock);
	golden(sb_report(s), "text", HS_VIEW_REPORT, "contention.txt");
	hs_snapshot_destroy(s);
}

static void hostile_names(void **state)
{
	(void)state;
	static const char evil[] = "\033[2Jx\n\"}<script>\xff\xc0\xaf\x7f\xe2\x80\xae";
	struct hs_snapshot *s = sb_incident();

	hs_vec_each (thread, &s->threads)
		thread->name = evil;
	hs_vec_each (resource, &s->resources)
		resource->class_name = resource->label = evil;
	hs_vec_each (hold, &s->holds)
		hold->subject_class = evil;
	hs_snapshot_gapf(s, evil, evil, "%s", evil);
	sb_thread_dump(s, 17);
	((struct hs_thread_dump *)s->dump)->vm_info = evil;
	hs_vec_each (thread, &s->threads) {
		struct hs_dump_thread *d = (struct hs_dump_thread *)thread->dump;

		thread->java_state = evil;
		d->name = d->compiler = d->blocker.object.class_name = evil;
		for (uint32_t i = 0; i < thread->num_frames; i++) {
			struct hs_location *l = (struct hs_location *)thread->frames[i].location;

			l->class_name = l->method = l->java_module = evil;
			l->file = l->file ? evil : NULL;
		}
	}
	const struct hs_report *r = sb_report(s);
	static const struct {
		const char *format;
		enum hs_view view;
	} all[] = {
		{"text",   HS_VIEW_REPORT},
                {"text",   HS_VIEW_STACKS},
                {"text",   HS_VIEW_GRAPH },
		{"jstack", HS_VIEW_STACKS},
                {"folded", HS_VIEW_STACKS},
                {"dot",    HS_VIEW_GRAPH },
		{"json",   HS_VIEW_REPORT}
        };

	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		char *text = render(r, all[i].format, all[i].view);

		assert_null(strchr(text, '\033'));
		assert_null(strchr(text, '\x7f'));
		assert_null(strchr(text, '\xff'));
		assert_null(strstr(text, "\xe2\x80\xae"));
		if (strcmp(all[i].format, "json") == 0) {
			json_t *root = json_loads(text, 0, NULL);

			assert_non_null(root);
			json_decref(root);
		}
		free(text);
	}
	hs_snapshot_destroy(s);
}

static void safe_words(void **state)
{
	(void)state;
	struct hs_arena *a = hs_arena_create();

	assert_string_equal(hs_words_safe(a, "plain"), "plain");
	assert_string_equal(hs_words_safe(a, "Gr\xc3\xbc\xc3\x9f"), "Gr\xc3\xbc\xc3\x9f");
	assert_string_equal(hs_words_safe(a, "a\tb"), "a\\x09"
	                                              "b");
	assert_string_equal(hs_words_safe(a, "\xed\xa0\x80"), "\\xed\\xa0\\x80");
	assert_string_equal(hs_words_safe(a, "\xf0\x9f\x98"), "\\xf0\\x9f\\x98");
	assert_string_equal(hs_words_safe(a, NULL), "?");
	assert_string_equal(hs_words_paragraphs(a, "a\nb\r"), "a\nb\\x0d");
	hs_arena_destroy(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(incident_in_all_formats),
		cmocka_unit_test(jstack_of_each_release),
		cmocka_unit_test(jstack_virtual_threads),
		cmocka_unit_test(jstack_unknown_facts),
		cmocka_unit_test(jstack_needs_a_jvm),
		cmocka_unit_test(clear),
		cmocka_unit_test(contention),
		cmocka_unit_test(hostile_names),
		cmocka_unit_test(safe_words),
	};

	return cmocka_run_group_tests_name("render", tests, NULL, NULL);
}
