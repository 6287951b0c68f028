// SPDX-License-Identifier: Apache-2.0
/** @file hangscope: who waits for what, held by whom, why, and what to change. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "cli/options.h"
#include "core/base/cleanup.h"
#include "core/doctor/doctor.h"
#include "core/words.h"
#include "version.h"

// clang-format off
const struct cli_command *const cli_commands[] = {
	&cli_command_analyze,
	&cli_command_stacks,
	&cli_command_graph,
	&cli_command_snapshot,
	&cli_command_bundle,
	&cli_command_doctor,
	NULL,
};
// clang-format on

void cli_progress_show(void *arg, const char *what, double fraction)
{
	struct cli_progress *progress = arg;
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (!progress->start.tv_sec)
		progress->start = now;
	if (now.tv_sec - progress->start.tv_sec < 2)
		return;
	if (fraction >= 0)
		fprintf(stderr, "\r\033[Khangscope: %s, %d %%", what, (int)(fraction * 100));
	else
		fprintf(stderr, "\r\033[Khangscope: %s", what);
	progress->shown = true;
}

void cli_progress_end(struct cli_progress *progress)
{
	if (progress->shown)
		fputs("\r\033[K", stderr);
	progress->shown = false;
}

static int status_of(const struct hs_err *err)
{
	switch (hs_err_code(err)) {
	case HS_ERR_OS:
		return hs_err_errno(err) == EPERM || hs_err_errno(err) == EACCES ? CLI_NO_PERMISSION
		                                                                 : CLI_NO_INPUT;
	case HS_ERR_FAULT:
	case HS_ERR_BAD_DATA:
	case HS_ERR_ABSENT:
	case HS_ERR_UNSUPPORTED:
		return CLI_NO_INPUT;
	case HS_ERR_USAGE:
		return CLI_USAGE;
	case HS_ERR_OOM:
		break;
	}
	return CLI_BUG;
}

/** Why it may not be attached to, and the remedy, on stderr. @return false: nothing to say. */
static bool explain_refusal(const char *target)
{
	hs_cleanup(hs_arena_destroyp) struct hs_arena *arena = hs_arena_create();
	const struct hs_doctor_options options = {.attach_only = true};
	const struct hs_diagnosis *diagnosis = NULL;
	struct hs_err *err = arena ? hs_doctor_run(target, &options, arena, &diagnosis) : NULL;

	hs_err_free(err);
	if (!diagnosis || diagnosis->health != HS_HEALTH_REFUSED)
		return false;
	fprintf(stderr, "hangscope: %s\n", hs_words_safe(arena, diagnosis->verdict));
	if (diagnosis->remedy)
		fprintf(stderr, "  Do this: %s\n", hs_words_safe(arena, diagnosis->remedy));
	fprintf(stderr, "  All that was checked: hangscope doctor %s\n",
	        hs_words_safe(arena, target));
	return true;
}

int cli_fail(const char *subject, struct hs_err *err)
{
	hs_cleanup(hs_arena_destroyp) struct hs_arena *arena = hs_arena_create();
	int status = status_of(err);

	// Many messages begin with the name of the file that they are about.
	bool named = strncmp(hs_err_message(err), subject, strlen(subject)) == 0;

	if (status == CLI_NO_PERMISSION && strspn(subject, "0123456789") == strlen(subject) &&
	    explain_refusal(subject)) {
		hs_err_free(err);
		return status;
	}
	if (arena)
		fprintf(stderr, "hangscope: %s%s%s\n", named ? "" : hs_words_safe(arena, subject),
		        named ? "" : ": ", hs_words_safe(arena, hs_err_message(err)));
	else
		fputs("hangscope: out of memory\n", stderr);
	hs_err_free(err);
	return status;
}

static int terminal_width(void)
{
	struct winsize size;

	return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

static struct hs_err *write_json_file(const struct hs_report *report,
                                      const struct hs_render_options *options, const char *path)
{
	hs_cleanup(hs_fclosep) FILE *file = fopen(path, "we");

	if (!file)
		return hs_err_os(errno, "cannot write %s", path);
	struct hs_err *err =
		hs_renderer_find("json", HS_VIEW_REPORT)->render(report, options, file);
	if (err)
		return err;
	return fclose(hs_take(file)) ? hs_err_os(errno, "cannot write %s", path) : NULL;
}

bool cli_color(const struct cli_options *options)
{
	const char *no_color = getenv("NO_COLOR");

	return !options->no_color && !(no_color && *no_color) && isatty(STDOUT_FILENO);
}

static struct hs_err *render(const struct cli_options *options, enum hs_view view,
                             const struct hs_report *report)
{
	const char *format = options->json           ? "json"
	                     : options->format       ? options->format
	                     : view == HS_VIEW_GRAPH ? "dot"
	                                             : "text";
	struct hs_render_options render_options = {
		.view = view,
		.color = cli_color(options),
		.all = options->all,
		.thread = options->thread,
		.width = terminal_width(),
		.version = HS_VERSION,
	};
	struct hs_err *err = NULL;

	if (options->json_file)
		err = write_json_file(report, &render_options, options->json_file);
	if (err)
		return err;
	return hs_renderer_find(format, view)->render(report, &render_options, stdout);
}

static bool has_thread(const struct hs_snapshot *snapshot, const char *name)
{
	hs_vec_each (thread, &snapshot->threads) {
		if (hs_thread_is_called(thread, name))
			return true;
	}
	return false;
}

int cli_render_target(const struct cli_options *options, enum hs_view view)
{
	hs_cleanup(hs_analysis_destroyp) struct hs_analysis *analysis = NULL;
	struct hs_analysis_options analysis_options = options->analysis;
	struct cli_progress progress = {0};

	if (isatty(STDERR_FILENO)) {
		analysis_options.open.progress = cli_progress_show;
		analysis_options.open.progress_arg = &progress;
	}
	analysis_options.proc_if_refused = true;
	analysis_options.thread_dump = options->format && !strcmp(options->format, "jstack");
	struct hs_err *err = hs_analysis_run(options->target, &analysis_options, &analysis);
	cli_progress_end(&progress);
	if (err)
		return cli_fail(options->target, err);
	const struct hs_report *report = hs_analysis_report(analysis);
	if (options->thread && !has_thread(report->snapshot, options->thread))
		return cli_fail(options->thread, hs_err_new(HS_ERR_ABSENT,
		                                            "no thread has this name or tid; "
		                                            "'hangscope stacks %s' lists all",
		                                            options->target));
	err = render(options, view, report);
	if (err)
		return cli_fail("report", err);
	const struct hs_err *refusal = hs_analysis_refusal(analysis);
	if (!refusal)
		return hs_report_exit_status(report);
	// The report is what could be had without: the status says that it is not what was asked.
	return cli_fail(options->target,
	                hs_err_os(hs_err_errno(refusal), "%s", hs_err_message(refusal)));
}

/** Each file of the target is open as long as it is looked at: a large one has thousands. */
static void raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur == limit.rlim_max)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int argc, char **argv)
{
	struct cli_options options = {0};
	int status = CLI_BUG;

	raise_file_limit();
	const struct cli_command *command = cli_parse(argc, argv, &options, &status);

	return command ? command->run(command, &options) : status;
}
