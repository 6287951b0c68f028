// SPDX-License-Identifier: Apache-2.0
/** @file Command line: verbs, options, exit status. */
#ifndef HS_OPTIONS_H
#define HS_OPTIONS_H

#include <stdbool.h>
#include <stdio.h>

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
	CLI_NO_PERMISSION = 77,
};

/** A parsed command line. Strings are borrowed from argv. */
struct cli_options {
	const char *target;
	const char *format; /**< NULL: the verb's default */
	bool json;
	const char *json_file;
	bool no_color;
	bool verbose;
	bool all;
	const char *thread;
	struct hs_analysis_options analysis;
};

/** A verb: one file in cli/commands/, one row in main.c. */
struct cli_command {
	const char *name;
	const char *summary; /**< one line of --help */
	enum hs_view view;
	/** @return An enum cli_exit. */
	int (*run)(const struct cli_command *command, const struct cli_options *options);
};

extern const struct cli_command cli_command_analyze;
extern const struct cli_command cli_command_graph;
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

/** Analyze options->target and render @p view: what every verb of this version does. */
int cli_render_target(const struct cli_options *options, enum hs_view view);

#endif // HS_OPTIONS_H
