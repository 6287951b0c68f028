// SPDX-License-Identifier: Apache-2.0
/** @file hangscope graph: the wait-for graph. */

#include "cli/options.h"

static int graph_run(const struct cli_command *command, const struct cli_options *options)
{
	return cli_render_target(options, command->view);
}

const struct cli_command cli_command_graph = {
	.name = "graph",
	.summary = "the wait-for graph",
	.view = HS_VIEW_GRAPH,
	.run = graph_run,
};
