// SPDX-License-Identifier: Apache-2.0
/** @file doctor: can it be attached to, is the core whole, what is missing, and what to do. */

#include "core/doctor/doctor.h"
#include "cli/options.h"
#include "core/base/cleanup.h"
#include "version.h"

static int status_of(enum hs_health health)
{
	static const int statuses[] = {
		[HS_HEALTH_GOOD] = CLI_CLEAR,
		[HS_HEALTH_ANSWERS_MISSING] = CLI_INCOMPLETE,
		[HS_HEALTH_REFUSED] = CLI_NO_PERMISSION,
		[HS_HEALTH_NO_TARGET] = CLI_NO_INPUT,
	};

	return statuses[health];
}

static int doctor_run(const struct cli_command *command, const struct cli_options *options)
{
	hs_cleanup(hs_arena_destroyp) struct hs_arena *arena = hs_arena_create();
	const struct hs_diagnosis *diagnosis = NULL;
	const struct hs_doctor_options doctor_options = {
		.exe = options->analysis.open.exe,
		.root = options->analysis.open.root,
		.debug_dir = options->analysis.open.debug_dir,
	};

	struct hs_err *err =
		arena ? hs_doctor_run(options->target, &doctor_options, arena, &diagnosis)
		      : hs_err_oom();
	if (err)
		return cli_fail(options->target ? options->target : command->name, err);
	err = options->json ? hs_doctor_json(diagnosis, HS_VERSION, stdout)
	                    : hs_doctor_text(diagnosis, HS_VERSION, cli_color(options), stdout);
	return err ? cli_fail("diagnosis", err) : status_of(diagnosis->health);
}

const struct cli_command cli_command_doctor = {
	.name = "doctor",
	.summary = "may it be attached to, is a core whole, what is missing, what to do",
	.view = HS_VIEW_REPORT,
	.may_lack_target = true,
	.run = doctor_run,
};
