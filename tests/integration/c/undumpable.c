// SPDX-License-Identifier: Apache-2.0
/** @file A program that forbids its own user to look into it. */

#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

int main(void)
{
	if (prctl(PR_SET_DUMPABLE, 0))
		return 1;
	printf("READY %d\n", getpid());
	fflush(stdout);
	for (;;)
		pause();
}
