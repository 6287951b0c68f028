// SPDX-License-Identifier: Apache-2.0
/** @file hangscope bundle: a core and the files that its analysis needs, in one archive. */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE // O_PATH
#endif
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "cli/options.h"
#include "core/base/cleanup.h"
#include "core/base/temp_file.h"
#include "core/capture/bundle.h"
#include "core/words.h"
#include "version.h"

/** A run of the verb: what is made one after the other, and goes in the opposite order. */
struct bundling {
	const struct cli_options *options;
	struct hs_arena *arena;
	struct cli_progress progress;
	struct hs_temp_file temp; // the snapshot, when the target is a process
	struct hs_target *target; // the core that is packed
	struct hs_output *output; // NULL: opened when it is written
	pid_t pid;                // 0: the target is a core
	const char *root;         // of the process
	int root_fd;              // the same, for when the process has ended; -1: none
	bool is_temp;             // the error is about the temporary file
};

/** Of file sizes, for people. */
static const char *bytes_words(struct hs_arena *arena, uint64_t bytes)
{
	static const char *const units[] = {"bytes", "kB", "MB", "GB", "TB"};
	double value = (double)bytes;
	size_t unit = 0;

	for (; value >= 999.5 && unit + 1 < sizeof(units) / sizeof(units[0]); unit++)
		value /= 1000;
	return hs_arena_printf(arena, value < 9.95 && unit ? "%.1f %s" : "%.0f %s", value,
	                       units[unit]);
}

static const char *plural(size_t count)
{
	return count == 1 ? "" : "s";
}

/** What the capture lacks is lacking in the bundle, too. @return how many. */
static size_t print_gaps(const struct bundling *bundling)
{
	struct hs_arena *arena = bundling->arena;
	size_t count;
	const struct hs_target_gap *gaps = hs_target_gaps(bundling->target, &count);

	for (size_t i = 0; i < count; i++)
		fprintf(stderr, "hangscope: missing: %s: %s (costs: %s)\n",
		        hs_words_safe(arena, gaps[i].subject), hs_words_safe(arena, gaps[i].reason),
		        hs_words_safe(arena, gaps[i].costs));
	return count;
}

static void print_summary(const struct bundling *bundling, const struct hs_bundle_result *result)
{
	struct hs_arena *arena = bundling->arena;
	const char *output = bundling->options->output;

	fprintf(stderr, "hangscope: packed the %s (%s), %zu file%s",
	        hs_target_info(bundling->target)->kind == HS_TARGET_SNAPSHOT ? "snapshot" : "core",
	        bytes_words(arena, result->core_bytes), result->num_files,
	        plural(result->num_files));
	if (result->num_debug)
		fprintf(stderr, " and %zu debug file%s", result->num_debug,
		        plural(result->num_debug));
	fprintf(stderr, " (%s)%s into %s", bytes_words(arena, result->file_bytes),
	        result->has_proc ? ", texts of /proc" : "",
	        bytes_words(arena, result->packed_bytes));
	if (result->num_missing)
		fprintf(stderr, "; %zu file%s missing", result->num_missing,
		        result->num_missing == 1 ? " is" : "s are");
	fprintf(stderr,
	        "\nhangscope: it holds the memory of the process; to read it anywhere: "
	        "hangscope %s\n",
	        strcmp(output, "-") ? hs_words_safe(arena, output) : "FILE");
}

// ---- of a process

/** It cannot be written to the temporary directory: in these words, instead of its path. */
static struct hs_err *temp_err(struct bundling *bundling, struct hs_err *err)
{
	int errnum = hs_err_errno(err);

	if (hs_err_code(err) != HS_ERR_OS)
		return err;
	bundling->is_temp = true;
	hs_err_free(err);
	return hs_err_os(errnum,
	                 "cannot write the snapshot to the temporary directory %s (set TMPDIR to "
	                 "one with more room)",
	                 bundling->temp.directory);
}

/** Take a snapshot into a file without a name. @return its path, for as long as it is open. */
static struct hs_err *take_snapshot(struct bundling *bundling, const char **path_ret)
{
	hs_cleanup(hs_analysis_destroyp) struct hs_analysis *analysis = NULL;
	struct hs_analysis_options options = bundling->options->analysis;
	struct hs_capture_options capture = {.tool = "hangscope " HS_VERSION_FULL};
	struct hs_capture_result result = {0};
	struct hs_err *err = hs_temp_file_open("the snapshot", &bundling->temp);

	bundling->is_temp = err != NULL;
	if (err)
		return err;
	*path_ret = capture.path =
		hs_arena_printf(bundling->arena, "/proc/self/fd/%d", bundling->temp.fd);
	bundling->root = hs_arena_printf(bundling->arena, "/proc/%ld/root", (long)bundling->pid);
	if (!capture.path || !bundling->root)
		return hs_err_oom();
	bundling->root_fd = open(bundling->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	// All that any verb can ask for, as for the verb snapshot.
	options.locals = options.thread_dump = true;
	options.capture = &capture;
	options.capture_result = &result;
	if (isatty(STDERR_FILENO)) {
		options.open.progress = capture.progress = cli_progress_show;
		options.open.progress_arg = capture.progress_arg = &bundling->progress;
	}
	err = hs_analysis_run(bundling->options->target, &options, &analysis);
	cli_progress_end(&bundling->progress);
	if (err && result.is_output)
		return temp_err(bundling, err);
	if (err)
		return err;
	const struct hs_report *report = hs_analysis_report(analysis);
	fprintf(stderr, "hangscope: snapshot of %ld: %zu thread%s, paused %.1f ms, %s\n",
	        (long)bundling->pid, result.threads, plural(result.threads),
	        report->snapshot->info.pause_ms, hs_verdict_name(report->verdict));
	return NULL;
}

// ---- pack

static struct hs_err *open_target(struct bundling *bundling)
{
	struct hs_open_options open = bundling->options->analysis.open;
	const char *path = bundling->options->target;
	struct hs_err *err = bundling->pid ? take_snapshot(bundling, &path) : NULL;

	if (err)
		return err;
	if (isatty(STDERR_FILENO)) {
		open.progress = cli_progress_show;
		open.progress_arg = &bundling->progress;
	}
	open.files_of = bundling->pid;
	if (!open.root)
		open.root = bundling->root;
	err = hs_target_open_core(path, &open, &bundling->target);
	if (err && open.root && open.root == bundling->root && access(open.root, F_OK)) {
		// The process has ended since. Its snapshot is all the more worth.
		hs_err_free(err);
		open.root = bundling->root_fd < 0
		                    ? NULL
		                    : hs_arena_printf(bundling->arena, "/proc/self/fd/%d",
		                                      bundling->root_fd);
		err = hs_target_open_core(path, &open, &bundling->target);
	}
	cli_progress_end(&bundling->progress);
	return err;
}

static struct hs_err *write_bundle(struct bundling *bundling, struct hs_bundle_result *ret)
{
	const struct cli_options *options = bundling->options;
	const struct hs_bundle_options bundle_options = {
		.debug_dir = options->analysis.open.debug_dir,
		.version = HS_VERSION_FULL,
		.core_path = bundling->pid ? "snapshot" : NULL,
		.pid = bundling->pid,
		.progress = isatty(STDERR_FILENO) ? cli_progress_show : NULL,
		.progress_arg = &bundling->progress,
	};
	struct hs_err *err = NULL;

	if (!bundling->output)
		err = hs_output_open(options->output, &bundling->output);
	if (!err)
		err = hs_bundle_write(bundling->target, &bundle_options, bundling->output, ret);
	cli_progress_end(&bundling->progress);
	return err ? err : hs_output_commit(hs_take(bundling->output));
}

/** A file that cannot be written has a status of its own. */
static int fail_to_write(const char *subject, struct hs_err *err)
{
	bool is_output = hs_err_code(err) == HS_ERR_OS;
	int status = cli_fail(subject, err);

	return is_output && status == CLI_NO_INPUT ? CLI_CANNOT_WRITE : status;
}

static int run(struct bundling *bundling)
{
	const struct cli_options *options = bundling->options;
	struct hs_bundle_result result = {0};
	struct hs_err *err = NULL;

	if (options->analysis.redact)
		err = hs_err_new(HS_ERR_USAGE, "a bundle holds memory of the process: there is no "
		                               "--redact of that");
	if (err)
		return cli_fail(options->target, err);
	err = hs_output_open_early(options->output, &bundling->output);
	if (err)
		return fail_to_write(options->output, err);
	err = open_target(bundling);
	if (err && bundling->is_temp)
		return fail_to_write(options->target, err);
	if (err)
		return cli_fail(options->target, err);
	err = write_bundle(bundling, &result);
	if (err)
		return fail_to_write(options->output, err);
	size_t num_gaps = print_gaps(bundling);
	print_summary(bundling, &result);
	return num_gaps || result.num_missing ? CLI_INCOMPLETE : CLI_CLEAR;
}

static int bundle_run(const struct cli_command *command, const struct cli_options *options)
{
	struct bundling bundling = {
		.options = options,
		.arena = hs_arena_create(),
		.temp = {.fd = -1},
		.root_fd = -1,
	};

	(void)command;
	if (!hs_target_is_pid(options->target, &bundling.pid))
		bundling.pid = 0;
	int status = bundling.arena ? run(&bundling) : cli_fail("bundle", hs_err_oom());
	hs_target_close(bundling.target);
	hs_output_abort(bundling.output);
	hs_closep(&bundling.root_fd);
	hs_closep(&bundling.temp.fd);
	hs_arena_destroy(bundling.arena);
	return status;
}

const struct cli_command cli_command_bundle = {
	.name = "bundle",
	.summary = "a core and the files its analysis needs, in one archive (-o FILE)",
	.has_output = true,
	.run = bundle_run,
};
