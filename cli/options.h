// SPDX-License-Identifier: Apache-2.0
/** @file Command line: verbs, options, exit status. */
#ifndef HS_OPTIONS_H
#define HS_OPTIONS_H

#include <stdbool.h>
#include <stdio.h>
#include <time.h>

#include "core/analysis.h"
#include "core/renderer.h"

/** DESIGN.md 1; sysexits.h where it has a name for it. */
enum cli_exit {
	CLI_CLEAR = 0,
	CLI_FINDINGS = 1,
	CLI_INCOMPLETE = 2,
	CLI_USAGE = 64,
	CLI_NO_INPUT = 66,
	CLI_BUG = 70,
	CLI_CANNOT_WRITE = 73, /**< the file to write: a full disk, no such directory */
	CLI_NO_PERMISSION = 77,
};

/** A parsed command line. Strings are borrowed from argv. */
struct cli_options {
	const char *target; /**< NULL only for a verb that may lack it */
	const char *format; /**< NULL: the verb's default */
	bool json;
	const char *json_file;
	bool no_color;
	bool verbose;
	bool all;
	const char *thread;
	const char *output; /**< -o */
	bool full;          /**< --full */
	struct hs_analysis_options analysis;
};

/** A verb: one file in cli/commands/, one row in main.c. */
struct cli_command {
	const char *name;
	const char *summary; /**< one line of --help */
	enum hs_view view;
	bool has_output; /**< needs -o; the others have none */
	bool may_lack_target;
	/** @return An enum cli_exit. */
	int (*run)(const struct cli_command *command, const struct cli_options *options);
};

extern const struct cli_command cli_command_analyze;
extern const struct cli_command cli_command_bundle;
extern const struct cli_command cli_command_doctor;
extern const struct cli_command cli_command_graph;
extern const struct cli_command cli_command_snapshot;
extern const struct cli_command cli_command_stacks;

/** All verbs, NULL at the end; the first is the default. */
extern const struct cli_command *const cli_commands[];

/**
 * Parse. Prints --help, --version and usage errors itself.
 * @return NULL when it is done: *exit_ret is then the exit status.
 */
const struct cli_command *cli_parse(int argc, char **argv, struct cli_options *options,
                                    int *exit_ret);

/** Print an error of the library in one clear line on stderr, and free it. @return the exit status.
 */
int cli_fail(const char *subject, struct hs_err *err);

/** Progress on a terminal, for what takes more than a moment; zero-initialize it. */
struct cli_progress {
	struct timespec start;
	bool shown;
};

/** For hs_open_options.progress and its like; @p arg is a struct cli_progress. */
void cli_progress_show(void *arg, const char *what, double fraction);

/** Wipe it off the terminal. */
void cli_progress_end(struct cli_progress *progress);

/** Colour on stdout: a terminal, and nobody has said no. */
bool cli_color(const struct cli_options *options);

/** Analyze options->target and render @p view: what every verb of this version does. */
int cli_render_target(const struct cli_options *options, enum hs_view view);

#endif // HS_OPTIONS_H
