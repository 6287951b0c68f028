// SPDX-License-Identifier: Apache-2.0
/** @file hangscope bundle: a core and the files that its analysis needs, in one archive. */

#include <string.h>
#include <unistd.h>

#include "cli/options.h"
#include "core/base/cleanup.h"
#include "core/capture/bundle.h"
#include "core/words.h"
#include "version.h"

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

/** What the capture lacks is lacking in the bundle, too. @return how many. */
static size_t print_gaps(const struct hs_target *target, struct hs_arena *arena)
{
	size_t count;
	const struct hs_target_gap *gaps = hs_target_gaps(target, &count);

	for (size_t i = 0; i < count; i++)
		fprintf(stderr, "hangscope: missing: %s: %s (costs: %s)\n",
		        hs_words_safe(arena, gaps[i].subject), hs_words_safe(arena, gaps[i].reason),
		        hs_words_safe(arena, gaps[i].costs));
	return count;
}

static void print_summary(const struct cli_options *options, const struct hs_bundle_result *result,
                          struct hs_arena *arena)
{
	bool is_file = strcmp(options->output, "-") != 0;

	fprintf(stderr, "hangscope: packed the core (%s), %zu file%s",
	        bytes_words(arena, result->core_bytes), result->num_files,
	        result->num_files == 1 ? "" : "s");
	if (result->num_debug)
		fprintf(stderr, " and %zu debug file%s", result->num_debug,
		        result->num_debug == 1 ? "" : "s");
	fprintf(stderr, " (%s)%s into %s", bytes_words(arena, result->file_bytes),
	        result->has_proc ? ", texts of /proc" : "",
	        bytes_words(arena, result->packed_bytes));
	if (result->num_missing)
		fprintf(stderr, "; %zu file%s missing", result->num_missing,
		        result->num_missing == 1 ? " is" : "s are");
	fprintf(stderr,
	        "\nhangscope: it holds the memory of the process; to read it anywhere: hangscope "
	        "%s\n",
	        is_file ? hs_words_safe(arena, options->output) : "FILE");
}

static struct hs_err *write_bundle(const struct cli_options *options, struct hs_target *target,
                                   struct cli_progress *progress, struct hs_bundle_result *ret)
{
	const struct hs_bundle_options bundle_options = {
		.debug_dir = options->analysis.open.debug_dir,
		.version = HS_VERSION_FULL,
		.progress = isatty(STDERR_FILENO) ? cli_progress_show : NULL,
		.progress_arg = progress,
	};
	hs_cleanup(hs_output_abortp) struct hs_output *output = NULL;
	struct hs_err *err = hs_output_open(options->output, &output);

	if (!err)
		err = hs_bundle_write(target, &bundle_options, output, ret);
	return err ? err : hs_output_commit(hs_take(output));
}

static int bundle_run(const struct cli_command *command, const struct cli_options *options)
{
	hs_cleanup(hs_arena_destroyp) struct hs_arena *arena = hs_arena_create();
	hs_cleanup(hs_target_closep) struct hs_target *target = NULL;
	struct hs_open_options open = options->analysis.open;
	struct hs_bundle_result result = {0};
	struct cli_progress progress = {0};

	(void)command;
	open.progress = isatty(STDERR_FILENO) ? cli_progress_show : NULL;
	open.progress_arg = &progress;
	struct hs_err *err = hs_target_open_core(options->target, &open, &target);
	cli_progress_end(&progress);
	if (err)
		return cli_fail(options->target, err);
	err = write_bundle(options, target, &progress, &result);
	cli_progress_end(&progress);
	if (err)
		return cli_fail(options->output, err);
	size_t num_gaps = print_gaps(target, arena);
	print_summary(options, &result, arena);
	return num_gaps || result.num_missing ? CLI_INCOMPLETE : CLI_CLEAR;
}

const struct cli_command cli_command_bundle = {
	.name = "bundle",
	.summary = "a core and the files its analysis needs, in one archive (-o FILE)",
	.has_output = true,
	.run = bundle_run,
};
