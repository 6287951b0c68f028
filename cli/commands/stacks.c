// SPDX-License-Identifier: Apache-2.0
/** @file hangscope stacks: all threads with their mixed native and Java stacks. */

#include "cli/options.h"

static int stacks_run(const struct cli_command *command, const struct cli_options *options)
{
	return cli_render_target(options, command->view);
}

const struct cli_command cli_command_stacks = {
	.name = "stacks",
	.summary = "all threads with their mixed native and Java stacks",
	.view = HS_VIEW_STACKS,
	.run = stacks_run,
};
