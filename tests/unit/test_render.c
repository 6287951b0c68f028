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
	golden(r, "dot", HS_VIEW_GRAPH, "incident.dot");
	golden(r, "json", HS_VIEW_REPORT, "incident.json");
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
	const struct hs_report *r = sb_report(s);
	static const struct {
		const char *format;
		enum hs_view view;
	} all[] = {
		{"text", HS_VIEW_REPORT},
		{"text", HS_VIEW_STACKS},
		{"text", HS_VIEW_GRAPH },
		{"dot",  HS_VIEW_GRAPH },
		{"json", HS_VIEW_REPORT}
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
		cmocka_unit_test(clear),
		cmocka_unit_test(contention),
		cmocka_unit_test(hostile_names),
		cmocka_unit_test(safe_words),
	};

	return cmocka_run_group_tests_name("render", tests, NULL, NULL);
}
