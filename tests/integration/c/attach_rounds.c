// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * attach_rounds PID MODE ROUNDS: what hangscope does to a live process, and nothing else, again and
 * again. MODE is pause, stop, rolling or no-stop. Prints "ROUNDS captured failed threads", where
 * threads counts those with registers. Linked with libhangscope: the start of a program, its
 * libraries and the analysis cost more than the capture.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/target.h"

static bool set_mode(const char *name, struct hs_open_options *options)
{
	options->keep_stopped = strcmp(name, "stop") == 0;
	options->rolling = strcmp(name, "rolling") == 0;
	options->no_stop = strcmp(name, "no-stop") == 0;
	return options->keep_stopped || options->rolling || options->no_stop ||
	       strcmp(name, "pause") == 0;
}

int main(int argc, char **argv)
{
	struct hs_open_options options = {0};
	unsigned long captured = 0, failed = 0, threads = 0;

	if (argc != 4 || !set_mode(argv[2], &options)) {
		fputs("usage: attach_rounds PID pause|stop|rolling|no-stop ROUNDS\n", stderr);
		return 64;
	}
	for (long round = 0; round < atol(argv[3]); round++) {
		struct hs_target *target = NULL;
		struct hs_err *err = hs_target_open_pid(atoi(argv[1]), &options, &target);
		size_t num = 0;

		if (err) {
			if (!failed++)
				fprintf(stderr, "%s\n", hs_err_message(err));
			hs_err_free(err);
			continue;
		}
		const struct hs_lwp *lwps = hs_target_lwps(target, &num);
		for (size_t i = 0; i < num; i++)
			threads += lwps[i].has_regs;
		captured++;
		hs_target_close(target);
	}
	printf("ROUNDS %lu %lu %lu\n", captured, failed, threads);
	return failed != 0;
}
