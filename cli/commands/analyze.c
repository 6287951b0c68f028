// SPDX-License-Identifier: Apache-2.0
/** @file hangscope analyze: the verdict, each problem with its cause and fix, who waits behind
 * whom. */

#include "cli/options.h"

static int analyze_run(const struct cli_command *command, const struct cli_options *options)
{
	return cli_render_target(options, command->view);
}

const struct cli_command cli_command_analyze = {
	.name = "analyze",
	.summary = "the verdict, each problem with its cause and fix, who waits behind whom",
	.view = HS_VIEW_REPORT,
	.run = analyze_run,
};
