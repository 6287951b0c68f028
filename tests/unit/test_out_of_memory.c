// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Out of memory: the n-th allocation of our own code fails, for every n. Each run must end in an
 * out-of-memory error, or in a result; never in a crash or a leak (LeakSanitizer looks).
 * Linked with --wrap=malloc,calloc,realloc; allocations inside shared libraries are not counted.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/analysis.h"
#include "core/analyzer.h"
#include "core/renderer.h"
#include "tests/support/core_writer.h"
#include "tests/support/snapshot_builder.h"

enum {
	MAX_ALLOCATIONS = 100000
};

/** Allocations until the one that fails; < 0: none does. */
static long countdown = -1;
static bool failed;

static bool fails(void)
{
	if (countdown < 0 || countdown-- > 0)
		return false;
	failed = true;
	return true;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);

void *__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
	return fails() ? NULL : __real_realloc(old, size);
}

/** Runs @p run with every allocation failing in turn, until one run needs no more. */
static void for_each_allocation(struct hs_err *(*run)(void *arg), void *arg)
{
	for (long n = 0; n < MAX_ALLOCATIONS; n++) {
		countdown = n;
		failed = false;
		struct hs_err *err = run(arg);
		countdown = -1;
		if (!failed) {
			assert_null(err);
			assert_true(n > 0);
			return;
		}
		hs_err_free(err); // an answer without that allocation is as good
	}
	fail_msg("more than %d allocations", MAX_ALLOCATIONS);
}

static struct hs_err *analyze(void *path)
{
	const struct hs_analysis_options options = {0};
	struct hs_analysis *analysis = NULL;
	struct hs_err *err = hs_analysis_run(path, &options, &analysis);

	hs_analysis_destroy(analysis);
	return err;
}

static void analysis_of_a_core(void **state)
{
	uint8_t stack[4096] = {0};
	struct user_regs_struct regs = {.rip = 0x401000, .rsp = 0x7f0000000100, .orig_rax = ~0ULL};

	(void)state;
	struct hs_core_writer *writer = hs_core_writer_create();
	hs_core_writer_segment(writer, 0x7f0000000000, stack, sizeof(stack), sizeof(stack),
	                       PF_R | PF_W);
	for (pid_t tid = 10; tid < 13; tid++)
		hs_core_writer_thread(writer, tid, &regs, 0, true);
	hs_core_writer_psinfo(writer, 10, "prog", "prog --option");
	for_each_allocation(analyze, (void *)(uintptr_t)hs_core_writer_file_of_core(writer));
	hs_core_writer_destroy(writer);
}

struct rendering {
	struct hs_snapshot *snapshot;
	const struct hs_renderer *renderer;
	enum hs_view view;
	FILE *out;
};

static struct hs_err *diagnose_and_render(void *arg)
{
	const struct rendering *r = arg;
	const struct hs_render_options options = {.view = r->view, .version = "0.1"};
	const struct hs_wait_graph *graph = NULL;
	struct hs_report *report = NULL;
	struct hs_arena *arena = hs_arena_create();

	if (!arena)
		return hs_err_oom();
	struct hs_err *err = hs_wait_graph_build(r->snapshot, arena, &graph);
	if (!err)
		err = hs_report_create(r->snapshot, graph, arena, &report);
	if (!err)
		err = hs_analyzers_run(graph, report);
	if (!err)
		err = hs_report_finish(report);
	if (!err)
		err = r->renderer->render(report, &options, r->out);
	hs_arena_destroy(arena);
	return err;
}

static void diagnosis_and_renderers(void **state)
{
	(void)state;
	struct rendering r = {.snapshot = sb_incident(), .out = fopen("/dev/null", "we")};

	assert_non_null(r.out);
	sb_thread_dump(r.snapshot, 17);
	assert_null(hs_snapshot_seal(r.snapshot));
	for (size_t i = 0; hs_renderers[i]; i++) {
		for (r.view = HS_VIEW_REPORT; r.view <= HS_VIEW_GRAPH; r.view++) {
			r.renderer = hs_renderers[i];
			if (r.renderer->views >> r.view & 1)
				for_each_allocation(diagnose_and_render, &r);
		}
	}
	fclose(r.out);
	hs_snapshot_destroy(r.snapshot);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(analysis_of_a_core),
		cmocka_unit_test(diagnosis_and_renderers),
	};

	return cmocka_run_group_tests_name("out_of_memory", tests, NULL, NULL);
}
