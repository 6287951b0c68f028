// SPDX-License-Identifier: Apache-2.0
/** @file Live processes run on as if nothing had happened, whatever happens to us or them. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/live_target.h"

enum {
	EXEC_CHURN_EXIT = 3,
};

/** A process that sends real-time signals, which the kernel counts, until it is told to stop. */
struct sender {
	pid_t pid;
	struct counts {
		atomic_ulong sent;
		atomic_bool stop;
	} * counts;
};

static struct sender start_sender(pid_t target)
{
	struct sender sender = {
		.counts = mmap(NULL, sizeof(*sender.counts), PROT_READ | PROT_WRITE,
	                       MAP_SHARED | MAP_ANONYMOUS, -1, 0),
	};

	assert_ptr_not_equal(sender.counts, MAP_FAILED);
	sender.pid = fork();
	assert_true(sender.pid >= 0);
	if (sender.pid)
		return sender;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (!sender.counts->stop) {
		if (sigqueue(target, SIGRTMIN, (union sigval){.sival_int = 1}) == 0)
			sender.counts->sent++;
		usleep(5);
	}
	_exit(0);
}

/** Stop sending, and wait until all of it has arrived. */
static void assert_all_arrive(struct sender *sender, const struct live_target *fixture)
{
	unsigned long sent;

	sender->counts->stop = true;
	assert_int_equal(waitpid(sender->pid, NULL, 0), sender->pid);
	sent = sender->counts->sent;
	for (int i = 0; fixture->shared->realtime < sent && i < PATIENCE * 1000; i++)
		sleep_ms(1);
	assert_int_equal(fixture->shared->realtime, sent);
	assert_true(sent > 0);
	munmap(sender->counts, sizeof(*sender->counts));
}

static void no_signal_is_lost(void **state)
{
	(void)state;
	enum {
		ROUNDS = 200
	};
	struct live_target fixture = live_target_start(WITH_SIGNALS);
	struct sender sender = start_sender(fixture.pid);
	unsigned long alarms = fixture.shared->alarms;

	for (int round = 0; round < ROUNDS; round++)
		hs_target_close(live_target_open(fixture.pid, NULL));
	assert_all_arrive(&sender, &fixture);
	assert_true(fixture.shared->alarms > alarms + ROUNDS);
	live_target_assert_untouched(&fixture);
	live_target_end(&fixture);
}

static void threads_that_come_and_go(void **state)
{
	(void)state;
	struct live_target fixture = live_target_start(WITH_NEW_THREADS);

	for (int round = 0; round < 100; round++)
		hs_target_close(live_target_open(fixture.pid, NULL));

	unsigned long made = fixture.shared->threads_made;
	for (int i = 0; fixture.shared->threads_made < made + 10; i++) {
		assert_true(i < PATIENCE * 1000);
		sleep_ms(1);
	}
	live_target_assert_untouched(&fixture);
	live_target_end(&fixture);
}

/** Captures the target again and again, or once and holds it, until it is killed. */
static _Noreturn void capture_forever(pid_t pid, bool hold)
{
	const struct hs_open_options options = {.keep_stopped = hold};

	for (;;) {
		struct hs_target *target = NULL;
		struct hs_err *err = hs_target_open_pid(pid, &options, &target);

		if (hold && !err)
			pause();
		hs_err_free(err);
		hs_target_close(target);
	}
}

static void our_own_death_harms_nobody(void **state)
{
	(void)state;
	enum {
		ROUNDS = 100
	};
	struct live_target fixture = live_target_start(WITH_SIGNALS);
	struct sender sender = start_sender(fixture.pid);

	for (int round = 0; round < ROUNDS; round++) {
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (!pid)
			capture_forever(fixture.pid, round % 2 == 0);
		usleep((unsigned)(rand() % 30000));
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		live_target_assert_untouched(&fixture);
	}
	assert_all_arrive(&sender, &fixture);
	live_target_end(&fixture);
}

/** Runs in a fork: threads, and one of them replaces the program by itself again. */
static _Noreturn void exec_churn_main(char *times)
{
	struct live_target fixture = {.shared = calloc(1, sizeof(*fixture.shared))};
	char left[16];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!fixture.shared || atoi(times) <= 0)
		_exit(EXEC_CHURN_EXIT);
	for (int i = 0; i < 8; i++) {
		pthread_t thread;

		pthread_create(&thread, NULL, live_thread_beat, &fixture);
	}
	snprintf(left, sizeof(left), "%d", atoi(times) - 1);
	execl("/proc/self/exe", "test_live", "--exec-churn", left, NULL);
	_exit(1);
}

static void programs_that_replace_themselves(void **state)
{
	(void)state;
	int status, captures = 0;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid) {
		execl("/proc/self/exe", "test_live", "--exec-churn", "150", NULL);
		_exit(1);
	}
	while (waitpid(pid, &status, WNOHANG) == 0) {
		struct hs_target *target = NULL;
		struct hs_err *err = hs_target_open_pid(pid, NULL, &target);

		captures += !err;
		hs_err_free(err);
		hs_target_close(target);
	}
	// It came to its end by itself.
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), EXEC_CHURN_EXIT);
	assert_true(captures > 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_signal_is_lost),
		cmocka_unit_test(threads_that_come_and_go),
		cmocka_unit_test(our_own_death_harms_nobody),
		cmocka_unit_test(programs_that_replace_themselves),
	};

	if (argc == 3 && strcmp(argv[1], "--exec-churn") == 0)
		exec_churn_main(argv[2]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
