// SPDX-License-Identifier: Apache-2.0
/** @file hangscope snapshot: a small core of a live process, for this tool, gdb and eu-stack. */

#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <unistd.h>

#include "cli/options.h"
#include "core/base/cleanup.h"
#include "core/words.h"
#include "version.h"

static const char *size_words(struct hs_arena *arena, uint64_t bytes)
{
	return bytes < 10000000 ? hs_arena_printf(arena, "%.1f MB", (double)bytes / 1e6)
	                        : hs_arena_printf(arena, "%.0f MB", (double)bytes / 1e6);
}

/** "DEADLOCK  class loading: …": the first line of the report. */
static const char *verdict_words(struct hs_arena *arena, const struct hs_report *report)
{
	if (report->findings.len)
		return hs_arena_printf(arena, "%s: %s", hs_verdict_name(report->verdict),
		                       report->findings.items[0].title);
	return hs_verdict_name(report->verdict);
}

static void print_summary(const struct cli_options *options, const struct hs_report *report,
                          const struct hs_capture_result *result)
{
	hs_cleanup(hs_arena_destroyp) struct hs_arena *arena = hs_arena_create();
	const struct hs_target_info *info = &report->snapshot->info;
	bool is_stream = !strcmp(options->output, "-");

	if (!arena)
		return;
	fprintf(stderr, "hangscope: %s: %s, %zu thread%s, paused %.1f ms\n",
	        is_stream ? "snapshot" : hs_words_safe(arena, options->output),
	        size_words(arena, result->bytes), result->threads, result->threads == 1 ? "" : "s",
	        info->pause_ms);
	if (result->cut_lists)
		fprintf(stderr, "hangscope: its lists of libraries have no end: a debugger may "
		                "miss some of them\n");
	if (result->lost)
		fprintf(stderr, "hangscope: %s of it could not be read, and are zero\n",
		        size_words(arena, result->lost));
	fprintf(stderr, "hangscope: %s; the whole report: hangscope %s\n",
	        hs_words_safe(arena, verdict_words(arena, report)),
	        is_stream ? "FILE" : hs_words_safe(arena, options->output));
}

static int print_json(const struct cli_options *options, const struct hs_report *report,
                      const struct hs_capture_result *result)
{
	hs_cleanup(hs_arena_destroyp) struct hs_arena *arena = hs_arena_create();
	const struct hs_target_info *info = &report->snapshot->info;

	if (!arena)
		return cli_fail("report", hs_err_oom());
	json_t *object = json_pack(
		"{s:s, s:s, s:i, s:I, s:I, s:I, s:I, s:b, s:f, s:s, s:i}", "schema",
		"hangscope-snapshot/1", "file", hs_words_utf8(arena, options->output), "pid",
		(int)info->pid, "bytes", (json_int_t)result->bytes, "memory_bytes",
		(json_int_t)result->memory, "lost", (json_int_t)result->lost, "threads",
		(json_int_t)result->threads, "full", (int)options->full, "pause_ms", info->pause_ms,
		"verdict", hs_verdict_name(report->verdict), "findings", (int)report->findings.len);
	bool failed = !object || json_dumpf(object, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);

	json_decref(object);
	putchar('\n');
	return failed || fflush(stdout)
	               ? cli_fail("report", hs_err_os(errno, "cannot write to standard output"))
	       : result->lost ? CLI_INCOMPLETE
	                      : CLI_CLEAR;
}

/** @return Words when the options contradict each other, or NULL. */
static const char *check_options(const struct cli_options *options)
{
	pid_t pid;

	if (!hs_target_is_pid(options->target, &pid))
		return "is no PID: a snapshot is taken of a live process";
	if (options->analysis.redact)
		return "a snapshot holds memory of the process: there is no --redact of that";
	if (options->json && !strcmp(options->output, "-"))
		return "--json and -o - cannot both have standard output";
	if (options->full && !strcmp(options->output, "-") && !options->analysis.open.no_stop)
		return "--full -o - would hold the process for as long as the reader takes: write "
		       "to a file, or --no-stop";
	if (options->full && options->analysis.open.rolling)
		return "--full needs the whole process stopped, or --no-stop: not --rolling";
	return NULL;
}

static struct hs_err *run_analysis(const struct cli_options *options,
                                   struct hs_capture_result *result, struct hs_analysis **ret)
{
	struct hs_analysis_options analysis = options->analysis;
	struct cli_progress progress = {0};
	struct hs_capture_options capture = {
		.path = options->output,
		.tool = "hangscope " HS_VERSION_FULL,
		.full = options->full,
	};

	// All that any verb can ask for, so that each can be asked of the snapshot.
	analysis.locals = true;
	analysis.thread_dump = true;
	analysis.capture = &capture;
	analysis.capture_result = result;
	if (options->full && !analysis.open.no_stop)
		analysis.open.keep_stopped = true;
	if (isatty(STDERR_FILENO)) {
		analysis.open.progress = capture.progress = cli_progress_show;
		analysis.open.progress_arg = capture.progress_arg = &progress;
	}
	struct hs_err *err = hs_analysis_run(options->target, &analysis, ret);
	cli_progress_end(&progress);
	return err;
}

static int snapshot_run(const struct cli_command *command, const struct cli_options *options)
{
	hs_cleanup(hs_analysis_destroyp) struct hs_analysis *analysis = NULL;
	struct hs_capture_result result = {0};
	const char *wrong = check_options(options);

	(void)command;
	if (wrong)
		return cli_fail(options->target, hs_err_new(HS_ERR_USAGE, "%s", wrong));
	struct hs_err *err = run_analysis(options, &result, &analysis);
	if (err && result.is_output && hs_err_code(err) == HS_ERR_OS) {
		int status = cli_fail(
			strcmp(options->output, "-") ? options->output : "cannot write", err);

		return status == CLI_NO_INPUT ? CLI_CANNOT_WRITE : status;
	}
	if (err)
		return cli_fail(options->target, err);
	const struct hs_report *report = hs_analysis_report(analysis);
	print_summary(options, report, &result);
	if (options->json)
		return print_json(options, report, &result);
	return result.lost ? CLI_INCOMPLETE : CLI_CLEAR;
}

const struct cli_command cli_command_snapshot = {
	.name = "snapshot",
	.summary = "a small core of a live process, for hangscope, gdb and eu-stack (-o FILE)",
	.has_output = true,
	.run = snapshot_run,
};
