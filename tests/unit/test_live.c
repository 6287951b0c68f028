// SPDX-License-Identifier: Apache-2.0
/** @file Live processes: captured as they are, or refused with the right words. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "tests/support/live_target.h"

// ---- Captures

static void all_threads_with_registers(void **state)
{
	(void)state;
	struct live_target fixture = live_target_start(0);
	struct hs_target *target = live_target_open(fixture.pid, NULL);
	const struct hs_target_info *info = hs_target_info(target);
	size_t num;
	const struct hs_lwp *lwps = hs_target_lwps(target, &num);
	uint64_t value = 0;
	bool named = false;

	live_target_assert_untouched(&fixture);
	assert_int_equal(num, 5);
	assert_int_equal(info->kind, HS_TARGET_LIVE);
	assert_int_equal(info->pid, fixture.pid);
	assert_true(info->pause_ms > 0 && info->pause_ms < 500);
	assert_non_null(info->exe);
	assert_non_null(info->args);
	assert_non_null(info->host);
	assert_true(info->captured_at > 0);
	for (size_t i = 0; i < num; i++) {
		assert_true(lwps[i].has_regs);
		assert_true(hs_regs_has(&lwps[i].regs, HS_REG_R15));
		assert_null(lwps[i].why_no_regs);
		assert_int_not_equal(lwps[i].thread_pointer, 0);
		assert_true(lwps[i].cpu_ms >= 0);
		assert_true(i == 0 || lwps[i - 1].tid < lwps[i].tid);
		assert_null(hs_target_read_u64(target, lwps[i].regs.value[HS_REG_SP], &value));
		named = named || strcmp(lwps[i].comm, "heart beat") == 0;
	}
	assert_true(named);

	const struct hs_lwp *reader = live_target_lwp(target, fixture.shared->reader);
	assert_true(reader->in_syscall);
	assert_int_equal(reader->syscall_nr, SYS_read);
	assert_int_equal(reader->syscall_args[0], fixture.pipe[0]);
	assert_int_equal(reader->state, 'S');
	assert_int_equal(live_target_lwp(target, fixture.shared->sleeper)->syscall_nr,
	                 SYS_clock_nanosleep);

	assert_null(hs_target_read_u64(target, fixture.shared->marker, &value));
	assert_int_equal(value, MARKER);
	assert_non_null(hs_target_read_u64(target, 8, &value));
	assert_non_null(hs_target_read_u64(target, UINT64_MAX - 3, &value));
	hs_target_close(target);
	live_target_end(&fixture);
}

static void modules_are_open(void **state)
{
	(void)state;
	struct live_target fixture = live_target_start(0);
	struct hs_target *target = live_target_open(fixture.pid, NULL);
	const struct hs_module_map *map = hs_target_modules(target);
	bool libc = false, vdso = false;

	for (size_t i = 0; i < map->num_modules; i++) {
		const struct hs_module *module = &map->modules[i];

		if (strstr(module->path, "/libc.so")) {
			libc = true;
			assert_int_equal(module->state, HS_MODULE_OK);
			assert_true(module->fd >= 0);
			assert_non_null(strstr(module->open_path, "/proc/"));
		}
		vdso = vdso ||
		       (strcmp(module->path, "[vdso]") == 0 && module->state == HS_MODULE_MEMORY);
	}
	assert_true(libc);
	assert_true(vdso);
	for (size_t i = 0; i < map->num_mappings; i++) {
		uint8_t byte;

		if (strcmp(map->mappings[i].path, "[vvar]") == 0)
			assert_non_null(hs_target_read_u8(target, map->mappings[i].start, &byte));
	}
	hs_target_close(target);
	live_target_end(&fixture);
}

static void a_thread_id_means_its_process(void **state)
{
	(void)state;
	struct live_target fixture = live_target_start(0);
	struct hs_target *target = live_target_open(fixture.shared->reader, NULL);

	assert_int_equal(hs_target_info(target)->pid, fixture.pid);
	hs_target_close(target);
	live_target_end(&fixture);
}

static void moved_or_not(void **state)
{
	(void)state;
	struct live_target fixture = live_target_start(0);
	struct hs_target *target = live_target_open(fixture.pid, NULL);
	bool same = false;

	assert_null(hs_target_lwp_unmoved(target, fixture.shared->reader, &same));
	assert_true(same);
	// It goes on in restart_syscall() now.
	same = false;
	assert_null(hs_target_lwp_unmoved(target, fixture.shared->sleeper, &same));
	assert_true(same);
	hs_target_close(target);

	target = live_target_open(fixture.pid, NULL);
	assert_int_equal(live_target_lwp(target, fixture.shared->sleeper)->syscall_nr,
	                 SYS_clock_nanosleep);
	assert_null(hs_target_lwp_unmoved(target, fixture.shared->reader, &same));
	uint64_t before = 0, after = 0;
	assert_null(hs_target_lwp_switches(target, fixture.shared->reader, &before));
	assert_null(hs_target_lwp_switches(target, fixture.shared->reader, &after));
	assert_int_equal(before, after);
	assert_int_equal(write(fixture.pipe[1], "x", 1), 1);
	// The same place again, but it has moved in between: its context switches tell.
	sleep_ms(50);
	assert_null(hs_target_lwp_unmoved(target, fixture.shared->reader, &same));
	assert_true(same);
	assert_null(hs_target_lwp_switches(target, fixture.shared->reader, &after));
	assert_true(after > before);

	struct hs_err *err = hs_target_lwp_unmoved(target, 1, &same);
	assert_non_null(err);
	hs_err_free(err);
	hs_target_close(target);
	live_target_end(&fixture);
}

static void held_until_close(void **state)
{
	(void)state;
	struct live_target fixture = live_target_start(0);
	const struct hs_open_options options = {.keep_stopped = true};
	struct hs_target *target = live_target_open(fixture.pid, &options);
	unsigned long beat = fixture.shared->beat;
	bool same = false;

	sleep_ms(50);
	assert_int_equal(fixture.shared->beat, beat);
	assert_int_equal(live_thread_state(fixture.pid, fixture.shared->reader), 't');
	assert_null(hs_target_lwp_unmoved(target, fixture.shared->reader, &same));
	assert_true(same);
	hs_target_close(target);
	live_target_assert_untouched(&fixture);
	live_target_end(&fixture);
}

static void never_stopped(void **state)
{
	(void)state;
	struct live_target fixture = live_target_start(0);
	const struct hs_open_options options = {.no_stop = true};
	struct hs_target *target = live_target_open(fixture.pid, &options);
	const struct hs_lwp *reader = live_target_lwp(target, fixture.shared->reader);
	uint64_t value;

	assert_true(reader->has_regs);
	assert_int_equal(reader->regs.valid, 1U << HS_REG_SP | 1U << HS_REG_PC);
	assert_true(reader->in_syscall);
	assert_int_equal(reader->syscall_nr, SYS_read);
	assert_int_equal(reader->syscall_args[0], fixture.pipe[0]);
	assert_null(hs_target_read_u64(target, reader->regs.value[HS_REG_SP], &value));
	assert_true(hs_target_info(target)->pause_ms == 0);
	hs_target_close(target);
	live_target_assert_untouched(&fixture);
	live_target_end(&fixture);
}

static void one_thread_at_a_time(void **state)
{
	(void)state;
	struct live_target fixture = live_target_start(WITH_VFORK);
	const struct hs_open_options options = {.rolling = true};

	for (int i = 0; live_thread_state(fixture.pid, fixture.shared->vforker) != 'D'; i++) {
		assert_true(i < PATIENCE * 1000);
		sleep_ms(1);
	}
	struct hs_target *target = live_target_open(fixture.pid, &options);
	const struct hs_target_info *info = hs_target_info(target);
	const struct hs_lwp *reader = live_target_lwp(target, fixture.shared->reader);
	size_t num_gaps = 0;
	uint64_t value;
	bool same = false;

	assert_int_equal(info->capture, HS_CAPTURE_ROLLING);
	assert_true(info->pause_ms > 0 && hs_target_held_ms(target) == info->pause_ms);
	assert_true(hs_regs_has(&reader->regs, HS_REG_R15));
	assert_int_equal(reader->syscall_nr, SYS_read);
	assert_null(hs_target_lwp_unmoved(target, fixture.shared->reader, &same));
	assert_true(same);
	// In the vfork() it cannot be stopped, and nobody waits for that.
	assert_true(live_target_lwp(target, fixture.shared->vforker)->has_regs);
	assert_int_equal(hs_target_gaps(target, &num_gaps)[0].subject[0], 'o');
	assert_true(num_gaps > 0);

	hs_addr sp = reader->regs.value[HS_REG_SP];
	live_target_assert_untouched(&fixture);
	live_target_end(&fixture);
	assert_null(hs_target_read_u64(target, sp, &value)); // its stack was copied
	hs_target_close(target);
}

static void how_long_it_is_held(void **state)
{
	(void)state;
	struct live_target fixture = live_target_start(0);
	const struct hs_open_options options = {.keep_stopped = true};
	struct hs_target *target = live_target_open(fixture.pid, &options);
	double first = hs_target_held_ms(target);

	assert_int_equal(hs_target_info(target)->capture, HS_CAPTURE_STOP);
	sleep_ms(20);
	assert_true(hs_target_held_ms(target) >= first + 20);
	hs_target_close(target);
	live_target_assert_untouched(&fixture);
	live_target_end(&fixture);
}

static void a_stopped_process_stays_stopped(void **state)
{
	(void)state;
	struct live_target fixture = live_target_start(0);
	struct hs_target *target;

	kill(fixture.pid, SIGSTOP);
	for (int i = 0; live_thread_state(fixture.pid, fixture.shared->reader) != 'T'; i++) {
		assert_true(i < PATIENCE * 1000);
		sleep_ms(1);
	}
	target = live_target_open(fixture.pid, NULL);
	assert_true(live_target_lwp(target, fixture.shared->reader)->has_regs);
	assert_int_equal(live_target_lwp(target, fixture.shared->reader)->state, 'T');
	assert_int_equal(live_target_lwp(target, fixture.shared->reader)->syscall_nr, SYS_read);
	hs_target_close(target);

	sleep_ms(20);
	unsigned long beat = fixture.shared->beat;
	sleep_ms(20);
	assert_int_equal(fixture.shared->beat, beat);
	assert_int_equal(live_thread_state(fixture.pid, fixture.shared->reader), 'T');
	assert_int_equal(live_thread_state(fixture.pid, fixture.pid), 'T');
	kill(fixture.pid, SIGCONT);
	live_target_assert_untouched(&fixture);
	live_target_end(&fixture);
}

static void an_uninterruptible_sleep_delays_nothing(void **state)
{
	(void)state;
	struct live_target fixture = live_target_start(WITH_VFORK);
	double begin;

	for (int i = 0; live_thread_state(fixture.pid, fixture.shared->vforker) != 'D'; i++) {
		assert_true(i < PATIENCE * 1000);
		sleep_ms(1);
	}
	begin = now_ms();

	struct hs_target *target = live_target_open(fixture.pid, NULL);
	const struct hs_lwp *lwp = live_target_lwp(target, fixture.shared->vforker);
	size_t num_gaps;

	assert_true(now_ms() - begin < 1500); // the sleep is 2 s
	if (lwp->state == 'D') {
		assert_true(lwp->has_regs);
		assert_int_equal(lwp->regs.valid, 1U << HS_REG_SP | 1U << HS_REG_PC);
		assert_true(lwp->in_syscall);
		hs_target_gaps(target, &num_gaps);
		assert_true(num_gaps > 0);
	}
	assert_true(hs_regs_has(&live_target_lwp(target, fixture.shared->reader)->regs, HS_REG_FP));
	hs_target_close(target);
	live_target_assert_untouched(&fixture);
	live_target_end(&fixture);
}

static void threads_outlive_their_leader(void **state)
{
	(void)state;
	struct live_target fixture = live_target_start(LEADER_EXITS);
	uint64_t value = 0;

	for (int i = 0; live_thread_state(fixture.pid, fixture.pid) != 'Z'; i++) {
		assert_true(i < PATIENCE * 1000);
		sleep_ms(1);
	}
	struct hs_target *target = live_target_open(fixture.pid, NULL);

	assert_int_equal(hs_target_info(target)->pid, fixture.pid);
	assert_true(live_target_lwp(target, fixture.shared->reader)->has_regs);
	assert_false(live_target_lwp(target, fixture.pid)->has_regs);
	assert_non_null(live_target_lwp(target, fixture.pid)->why_no_regs);
	assert_null(hs_target_read_u64(target, fixture.shared->marker, &value));
	assert_int_equal(value, MARKER);
	hs_target_close(target);
	live_target_assert_untouched(&fixture);
	live_target_end(&fixture);
}

static void death_after_the_capture(void **state)
{
	(void)state;
	struct live_target fixture = live_target_start(0);
	struct hs_target *target = live_target_open(fixture.pid, NULL);
	hs_addr sp = live_target_lwp(target, fixture.shared->reader)->regs.value[HS_REG_SP];
	hs_addr marker = fixture.shared->marker;
	pid_t reader = fixture.shared->reader;
	uint64_t value;
	bool same;

	live_target_end(&fixture);
	assert_null(hs_target_read_u64(target, sp, &value));
	assert_non_null(hs_target_read_now(target, sp, &value, sizeof(value)));
	assert_non_null(hs_target_read_u64(target, marker, &value));

	struct hs_err *err = hs_target_lwp_unmoved(target, reader, &same);
	assert_non_null(err);
	assert_int_equal(hs_err_errno(err), ESRCH);
	hs_err_free(err);
	hs_target_close(target);
}

static void another_program_after_the_capture(void **state)
{
	(void)state;
	int ready[2], go[2];
	char byte;
	static uint64_t word = 42;
	uint64_t value = 0;

	assert_int_equal(pipe(ready), 0);
	assert_int_equal(pipe(go), 0);
	pid_t pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (write(ready[1], "r", 1) == 1 && read(go[0], &byte, 1) == 1)
			execlp("sleep", "sleep", "1000", NULL);
		_exit(1);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);

	struct hs_target *target = live_target_open(pid, NULL);
	assert_null(hs_target_read_now(target, (uintptr_t)&word, &value, sizeof(value)));
	assert_int_equal(value, 42);
	assert_int_equal(write(go[1], "g", 1), 1);
	for (int i = 0; i < PATIENCE * 1000; i++) {
		char comm[16] = "", path[64];

		snprintf(path, sizeof(path), "/proc/%d/comm", pid);
		hs_cleanup(hs_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
		if (read(fd, comm, sizeof(comm) - 1) > 0 && strncmp(comm, "sleep", 5) == 0)
			break;
		sleep_ms(1);
	}
	// Whatever lies there now, it is not what was captured.
	assert_non_null(hs_target_read_now(target, (uintptr_t)&word, &value, sizeof(value)));
	hs_target_close(target);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	for (int i = 0; i < 2; i++) {
		close(ready[i]);
		close(go[i]);
	}
}

// ---- Refusals

static void assert_refused(pid_t pid, enum hs_err_code code, int errnum, const char *words)
{
	struct hs_target *target = NULL;
	struct hs_err *err = hs_target_open_pid(pid, NULL, &target);

	assert_non_null(err);
	assert_null(target);
	if (hs_err_code(err) != code || hs_err_errno(err) != errnum ||
	    !strstr(hs_err_message(err), words))
		fail_msg("code %d, errno %d: %s", hs_err_code(err), hs_err_errno(err),
		         hs_err_message(err));
	hs_err_free(err);
}

static void no_such_process(void **state)
{
	(void)state;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid)
		_exit(0);
	siginfo_t info;
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	assert_refused(pid, HS_ERR_OS, ESRCH, "zombie");
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_refused(pid, HS_ERR_OS, ESRCH, "no process");
	assert_refused(0, HS_ERR_USAGE, 0, "not a process id");
	assert_refused(-5, HS_ERR_USAGE, 0, "not a process id");
	assert_refused(getpid(), HS_ERR_USAGE, 0, "itself");
}

static void kernel_threads(void **state)
{
	(void)state;
	hs_cleanup(hs_fclosep) FILE *file = fopen("/proc/2/comm", "r");
	char comm[32] = "";

	if (!file || !fgets(comm, sizeof(comm), file) || strcmp(comm, "kthreadd\n") != 0)
		skip();
	assert_refused(2, HS_ERR_UNSUPPORTED, 0, "kernel thread");
}

static void traced_by_another(void **state)
{
	(void)state;
	struct live_target fixture = live_target_start(0);
	int ready[2];
	char byte, words[64];

	assert_int_equal(pipe(ready), 0);
	pid_t tracer = fork();
	assert_true(tracer >= 0);
	if (!tracer) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		prctl(PR_SET_NAME, "other tracer");
		if (ptrace(PTRACE_SEIZE, fixture.pid, NULL, NULL) || write(ready[1], "r", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	snprintf(words, sizeof(words), "by %d (other tracer)", tracer);
	assert_refused(fixture.pid, HS_ERR_OS, EPERM, words);

	// Without ptrace, a tracer is in nobody's way.
	const struct hs_open_options options = {.no_stop = true};
	hs_target_close(live_target_open(fixture.pid, &options));
	kill(tracer, SIGKILL);
	waitpid(tracer, NULL, 0);
	close(ready[0]);
	close(ready[1]);
	live_target_assert_untouched(&fixture);
	live_target_end(&fixture);
}

static void no_permission(void **state)
{
	(void)state;
	enum {
		NOBODY = 65534
	};
	struct live_target fixture = live_target_start(0);
	int status;

	if (geteuid() != 0) {
		live_target_end(&fixture);
		skip();
	}
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		struct hs_target *target = NULL;
		struct hs_err *err;

		if (setgid(NOBODY) || setuid(NOBODY))
			_exit(2);
		err = hs_target_open_pid(fixture.pid, NULL, &target);
		_exit(!err || hs_err_code(err) != HS_ERR_OS ||
		      (hs_err_errno(err) != EPERM && hs_err_errno(err) != EACCES) ||
		      !strstr(hs_err_message(err), "belongs to uid 0") ||
		      !strstr(hs_err_message(err), "CAP_SYS_PTRACE") ||
		      // What helps depends on the cause and on the place: it is the doctor's to
		      // say.
		      strstr(hs_err_message(err), "kubectl") || strchr(hs_err_message(err), ';'));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	live_target_assert_untouched(&fixture);
	live_target_end(&fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_threads_with_registers),
		cmocka_unit_test(modules_are_open),
		cmocka_unit_test(a_thread_id_means_its_process),
		cmocka_unit_test(moved_or_not),
		cmocka_unit_test(held_until_close),
		cmocka_unit_test(never_stopped),
		cmocka_unit_test(one_thread_at_a_time),
		cmocka_unit_test(how_long_it_is_held),
		cmocka_unit_test(a_stopped_process_stays_stopped),
		cmocka_unit_test(an_uninterruptible_sleep_delays_nothing),
		cmocka_unit_test(threads_outlive_their_leader),
		cmocka_unit_test(death_after_the_capture),
		cmocka_unit_test(another_program_after_the_capture),
		cmocka_unit_test(no_such_process),
		cmocka_unit_test(kernel_threads),
		cmocka_unit_test(traced_by_another),
		cmocka_unit_test(no_permission),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
