// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Live processes: captured, unharmed, and refused with the right words. Each test starts its own
 * target, a fork of this program with a few threads, and kills it.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE // gettid()
#endif

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/source/proc_text.h"
#include "core/target.h"

enum {
	WITH_SIGNALS = 1,     /**< an interval timer, and handlers that count */
	WITH_VFORK = 2,       /**< a thread in the uninterruptible sleep of vfork() */
	LEADER_EXITS = 4,     /**< main() ends by pthread_exit() */
	WITH_NEW_THREADS = 8, /**< threads come and go all the time */
	PATIENCE = 10,        /**< seconds for something that must happen */
	EXEC_CHURN_EXIT = 3,
};

/** What a target shows of itself. */
struct shared {
	atomic_ulong beat, alarms, realtime, failures, threads_made;
	atomic_int ready, reader, sleeper, vforker;
	atomic_ulong marker; /**< address of a heap word with MARKER in it */
};

static const uint64_t marker_value = 0x68616e6773636f70;

struct fixture {
	struct shared *shared;
	pid_t pid;
	int pipe[2];
};

static void sleep_ms(long ms)
{
	const struct timespec ts = {ms / 1000, ms % 1000 * 1000000};

	nanosleep(&ts, NULL);
}

static double now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

// ---- The target

static void *beat_main(void *arg)
{
	struct shared *shared = ((struct fixture *)arg)->shared;
	const struct timespec ts = {.tv_nsec = 200000};

	prctl(PR_SET_NAME, "heart beat");
	shared->ready++;
	for (;;) {
		if (nanosleep(&ts, NULL) && errno != EINTR)
			shared->failures++;
		shared->beat++;
	}
	return NULL;
}

static void *read_main(void *arg)
{
	struct fixture *fixture = arg;
	char byte;

	fixture->shared->reader = gettid();
	fixture->shared->ready++;
	for (;;) {
		if (read(fixture->pipe[0], &byte, 1) < 0 && errno != EINTR)
			fixture->shared->failures++;
	}
	return NULL;
}

static void *sleep_main(void *arg)
{
	struct shared *shared = ((struct fixture *)arg)->shared;
	struct timespec left = {.tv_sec = 100000};

	shared->sleeper = gettid();
	shared->ready++;
	for (;;) {
		int ret = clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left);

		if (ret != EINTR)
			shared->failures++;
	}
	return NULL;
}

static void *spin_main(void *arg)
{
	struct shared *shared = ((struct fixture *)arg)->shared;

	shared->ready++;
	for (;;)
		__asm__ volatile("pause" ::: "memory");
	return NULL;
}

static void *vfork_main(void *arg)
{
	struct shared *shared = ((struct fixture *)arg)->shared;

	shared->vforker = gettid();
	shared->ready++;
	for (;;) {
		pid_t pid = vfork();

		if (!pid) {
			const struct timespec ts = {.tv_sec = 2};

			syscall(SYS_nanosleep, &ts, NULL);
			_exit(0);
		}
		waitpid(pid, NULL, 0);
	}
	return NULL;
}

static void *end_at_once(void *arg)
{
	((struct fixture *)arg)->shared->threads_made++;
	return NULL;
}

static void *make_threads_main(void *arg)
{
	struct shared *shared = ((struct fixture *)arg)->shared;

	shared->ready++;
	for (;;) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, end_at_once, arg) || pthread_join(thread, NULL))
			shared->failures++;
	}
	return NULL;
}

/** The handlers have no other way to find it. */
static struct shared *shared_of_target;

static void count_signal(int signo)
{
	if (signo == SIGALRM)
		shared_of_target->alarms++;
	else
		shared_of_target->realtime++;
}

static void start_signals(struct shared *shared)
{
	struct sigaction action = {.sa_handler = count_signal};
	const struct itimerval timer = {
		{0, 1000},
                {0, 1000}
        };

	shared_of_target = shared;
	sigaction(SIGALRM, &action, NULL);
	action.sa_flags = SA_RESTART;
	sigaction(SIGRTMIN, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
}

static _Noreturn void target_main(struct fixture *fixture, int flags)
{
	void *(*const mains[])(void *) = {
		beat_main,
		read_main,
		sleep_main,
		spin_main,
		flags & WITH_VFORK ? vfork_main : NULL,
		flags & WITH_NEW_THREADS ? make_threads_main : NULL,
	};
	uint64_t *marker = malloc(sizeof(*marker));
	int started = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	*marker = marker_value;
	fixture->shared->marker = (uintptr_t)marker;
	if (flags & WITH_SIGNALS)
		start_signals(fixture->shared);
	for (size_t i = 0; i < sizeof(mains) / sizeof(*mains); i++) {
		pthread_t thread;

		if (mains[i] && !pthread_create(&thread, NULL, mains[i], fixture))
			started++;
	}
	while (fixture->shared->ready < started)
		sleep_ms(1);
	fixture->shared->ready = -1;
	if (flags & LEADER_EXITS)
		pthread_exit(NULL);
	for (;;)
		pause();
}

/** Start a target and wait until all of its threads are where they shall be. */
static struct fixture start_target(int flags)
{
	struct fixture fixture = {.pid = -1};

	fixture.shared = mmap(NULL, sizeof(*fixture.shared), PROT_READ | PROT_WRITE,
	                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(fixture.shared, MAP_FAILED);
	assert_int_equal(pipe(fixture.pipe), 0);
	fixture.pid = fork();
	assert_true(fixture.pid >= 0);
	if (!fixture.pid)
		target_main(&fixture, flags);
	for (int i = 0; fixture.shared->ready != -1; i++) {
		assert_true(i < PATIENCE * 1000);
		sleep_ms(1);
	}
	sleep_ms(20);
	return fixture;
}

static void end_target(struct fixture *fixture)
{
	kill(fixture->pid, SIGKILL);
	assert_int_equal(waitpid(fixture->pid, NULL, 0), fixture->pid);
	assert_int_equal(fixture->shared->failures, 0);
	munmap(fixture->shared, sizeof(*fixture->shared));
	close(fixture->pipe[0]);
	close(fixture->pipe[1]);
}

static bool read_status(pid_t pid, pid_t tid, char *text, size_t size)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", pid, tid);
	hs_cleanup(hs_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? -1 : read(fd, text, size - 1);

	if (len < 0)
		return false;
	text[len] = '\0';
	return true;
}

static char state_of(pid_t pid, pid_t tid)
{
	char text[4096];
	const char *state;

	if (!read_status(pid, tid, text, sizeof(text)))
		return '\0';
	state = strstr(text, "State:\t");
	return state ? state[strlen("State:\t")] : '\0';
}

/** No thread is stopped or traced: it is as if we had never been there. */
static void assert_untouched(const struct fixture *fixture)
{
	char path[64];
	struct dirent *entry;

	snprintf(path, sizeof(path), "/proc/%d/task", fixture->pid);
	hs_cleanup(hs_closedirp) DIR *dir = opendir(path);
	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		char text[4096];
		uint64_t tracer = 0;
		pid_t tid = atoi(entry->d_name);

		if (tid <= 0 || !read_status(fixture->pid, tid, text, sizeof(text)))
			continue;
		(void)hs_proc_text_status(text, "TracerPid", 10, &tracer);
		assert_int_equal(tracer, 0);
		assert_int_not_equal(state_of(fixture->pid, tid), 'T');
		assert_int_not_equal(state_of(fixture->pid, tid), 't');
	}

	unsigned long before = fixture->shared->beat;
	for (int i = 0; fixture->shared->beat < before + 3; i++) {
		assert_true(i < PATIENCE * 1000);
		sleep_ms(1);
	}
}

static struct hs_target *open_target(pid_t pid, const struct hs_open_options *options)
{
	struct hs_target *target = NULL;
	struct hs_err *err = hs_target_open_pid(pid, options, &target);

	if (err)
		fail_msg("%s", hs_err_message(err));
	return target;
}

static const struct hs_lwp *find_lwp(const struct hs_target *target, pid_t host_tid)
{
	size_t num;
	const struct hs_lwp *lwps = hs_target_lwps(target, &num);

	for (size_t i = 0; i < num; i++) {
		if (lwps[i].host_tid == host_tid)
			return &lwps[i];
	}
	fail_msg("thread %d is missing", host_tid);
	return NULL;
}

// ---- Captures

static void all_threads_with_registers(void **state)
{
	(void)state;
	struct fixture fixture = start_target(0);
	struct hs_target *target = open_target(fixture.pid, NULL);
	const struct hs_target_info *info = hs_target_info(target);
	size_t num;
	const struct hs_lwp *lwps = hs_target_lwps(target, &num);
	uint64_t value = 0;
	bool named = false;

	assert_untouched(&fixture);
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

	const struct hs_lwp *reader = find_lwp(target, fixture.shared->reader);
	assert_true(reader->in_syscall);
	assert_int_equal(reader->syscall_nr, SYS_read);
	assert_int_equal(reader->syscall_args[0], fixture.pipe[0]);
	assert_int_equal(reader->state, 'S');
	assert_int_equal(find_lwp(target, fixture.shared->sleeper)->syscall_nr,
	                 SYS_clock_nanosleep);

	assert_null(hs_target_read_u64(target, fixture.shared->marker, &value));
	assert_int_equal(value, marker_value);
	assert_non_null(hs_target_read_u64(target, 8, &value));
	assert_non_null(hs_target_read_u64(target, UINT64_MAX - 3, &value));
	hs_target_close(target);
	end_target(&fixture);
}

static void modules_are_open(void **state)
{
	(void)state;
	struct fixture fixture = start_target(0);
	struct hs_target *target = open_target(fixture.pid, NULL);
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
	end_target(&fixture);
}

static void a_thread_id_means_its_process(void **state)
{
	(void)state;
	struct fixture fixture = start_target(0);
	struct hs_target *target = open_target(fixture.shared->reader, NULL);

	assert_int_equal(hs_target_info(target)->pid, fixture.pid);
	hs_target_close(target);
	end_target(&fixture);
}

static void moved_or_not(void **state)
{
	(void)state;
	struct fixture fixture = start_target(0);
	struct hs_target *target = open_target(fixture.pid, NULL);
	bool same = false;

	assert_null(hs_target_lwp_unmoved(target, fixture.shared->reader, &same));
	assert_true(same);
	// It goes on in restart_syscall() now.
	same = false;
	assert_null(hs_target_lwp_unmoved(target, fixture.shared->sleeper, &same));
	assert_true(same);
	hs_target_close(target);

	target = open_target(fixture.pid, NULL);
	assert_int_equal(find_lwp(target, fixture.shared->sleeper)->syscall_nr,
	                 SYS_clock_nanosleep);
	assert_int_equal(write(fixture.pipe[1], "x", 1), 1);
	// The same place again, but it has moved in between: that is for the lock words to tell.
	assert_null(hs_target_lwp_unmoved(target, fixture.shared->reader, &same));

	struct hs_err *err = hs_target_lwp_unmoved(target, 1, &same);
	assert_non_null(err);
	hs_err_free(err);
	hs_target_close(target);
	end_target(&fixture);
}

static void held_until_close(void **state)
{
	(void)state;
	struct fixture fixture = start_target(0);
	const struct hs_open_options options = {.keep_stopped = true};
	struct hs_target *target = open_target(fixture.pid, &options);
	unsigned long beat = fixture.shared->beat;
	bool same = false;

	sleep_ms(50);
	assert_int_equal(fixture.shared->beat, beat);
	assert_int_equal(state_of(fixture.pid, fixture.shared->reader), 't');
	assert_null(hs_target_lwp_unmoved(target, fixture.shared->reader, &same));
	assert_true(same);
	hs_target_close(target);
	assert_untouched(&fixture);
	end_target(&fixture);
}

static void never_stopped(void **state)
{
	(void)state;
	struct fixture fixture = start_target(0);
	const struct hs_open_options options = {.no_stop = true};
	struct hs_target *target = open_target(fixture.pid, &options);
	const struct hs_lwp *reader = find_lwp(target, fixture.shared->reader);
	uint64_t value;

	assert_true(reader->has_regs);
	assert_int_equal(reader->regs.valid, 1U << HS_REG_SP | 1U << HS_REG_PC);
	assert_true(reader->in_syscall);
	assert_int_equal(reader->syscall_nr, SYS_read);
	assert_int_equal(reader->syscall_args[0], fixture.pipe[0]);
	assert_null(hs_target_read_u64(target, reader->regs.value[HS_REG_SP], &value));
	assert_true(hs_target_info(target)->pause_ms == 0);
	hs_target_close(target);
	assert_untouched(&fixture);
	end_target(&fixture);
}

static void no_signal_is_lost(void **state)
{
	(void)state;
	enum {
		ROUNDS = 200,
		PER_ROUND = 10
	};
	struct fixture fixture = start_target(WITH_SIGNALS);
	unsigned long sent = 0, alarms = fixture.shared->alarms;

	for (int round = 0; round < ROUNDS; round++) {
		struct hs_target *target;

		for (int i = 0; i < PER_ROUND; i++)
			sent += sigqueue(fixture.pid, SIGRTMIN, (union sigval){.sival_int = i}) ==
			        0;
		target = open_target(fixture.pid, NULL);
		for (int i = 0; i < PER_ROUND; i++)
			sent += sigqueue(fixture.pid, SIGRTMIN, (union sigval){.sival_int = i}) ==
			        0;
		hs_target_close(target);
	}
	for (int i = 0; fixture.shared->realtime < sent && i < PATIENCE * 1000; i++)
		sleep_ms(1);
	assert_int_equal(fixture.shared->realtime, sent);
	assert_true(fixture.shared->alarms > alarms + ROUNDS);
	assert_untouched(&fixture);
	end_target(&fixture);
}

static void threads_that_come_and_go(void **state)
{
	(void)state;
	struct fixture fixture = start_target(WITH_NEW_THREADS);

	for (int round = 0; round < 100; round++)
		hs_target_close(open_target(fixture.pid, NULL));

	unsigned long made = fixture.shared->threads_made;
	for (int i = 0; fixture.shared->threads_made < made + 10; i++) {
		assert_true(i < PATIENCE * 1000);
		sleep_ms(1);
	}
	assert_untouched(&fixture);
	end_target(&fixture);
}

static void a_stopped_process_stays_stopped(void **state)
{
	(void)state;
	struct fixture fixture = start_target(0);
	struct hs_target *target;

	kill(fixture.pid, SIGSTOP);
	for (int i = 0; state_of(fixture.pid, fixture.shared->reader) != 'T'; i++) {
		assert_true(i < PATIENCE * 1000);
		sleep_ms(1);
	}
	target = open_target(fixture.pid, NULL);
	assert_true(find_lwp(target, fixture.shared->reader)->has_regs);
	assert_int_equal(find_lwp(target, fixture.shared->reader)->state, 'T');
	assert_int_equal(find_lwp(target, fixture.shared->reader)->syscall_nr, SYS_read);
	hs_target_close(target);

	sleep_ms(20);
	unsigned long beat = fixture.shared->beat;
	sleep_ms(20);
	assert_int_equal(fixture.shared->beat, beat);
	assert_int_equal(state_of(fixture.pid, fixture.shared->reader), 'T');
	assert_int_equal(state_of(fixture.pid, fixture.pid), 'T');
	kill(fixture.pid, SIGCONT);
	assert_untouched(&fixture);
	end_target(&fixture);
}

static void an_uninterruptible_sleep_delays_nothing(void **state)
{
	(void)state;
	struct fixture fixture = start_target(WITH_VFORK);
	double begin;

	for (int i = 0; state_of(fixture.pid, fixture.shared->vforker) != 'D'; i++) {
		assert_true(i < PATIENCE * 1000);
		sleep_ms(1);
	}
	begin = now_ms();

	struct hs_target *target = open_target(fixture.pid, NULL);
	const struct hs_lwp *lwp = find_lwp(target, fixture.shared->vforker);
	size_t num_gaps;

	assert_true(now_ms() - begin < 1500); // the sleep is 2 s
	if (lwp->state == 'D') {
		assert_true(lwp->has_regs);
		assert_int_equal(lwp->regs.valid, 1U << HS_REG_SP | 1U << HS_REG_PC);
		assert_true(lwp->in_syscall);
		hs_target_gaps(target, &num_gaps);
		assert_true(num_gaps > 0);
	}
	assert_true(hs_regs_has(&find_lwp(target, fixture.shared->reader)->regs, HS_REG_FP));
	hs_target_close(target);
	assert_untouched(&fixture);
	end_target(&fixture);
}

static void threads_outlive_their_leader(void **state)
{
	(void)state;
	struct fixture fixture = start_target(LEADER_EXITS);
	uint64_t value = 0;

	for (int i = 0; state_of(fixture.pid, fixture.pid) != 'Z'; i++) {
		assert_true(i < PATIENCE * 1000);
		sleep_ms(1);
	}
	struct hs_target *target = open_target(fixture.pid, NULL);

	assert_int_equal(hs_target_info(target)->pid, fixture.pid);
	assert_true(find_lwp(target, fixture.shared->reader)->has_regs);
	assert_false(find_lwp(target, fixture.pid)->has_regs);
	assert_non_null(find_lwp(target, fixture.pid)->why_no_regs);
	assert_null(hs_target_read_u64(target, fixture.shared->marker, &value));
	assert_int_equal(value, marker_value);
	hs_target_close(target);
	assert_untouched(&fixture);
	end_target(&fixture);
}

static void death_after_the_capture(void **state)
{
	(void)state;
	struct fixture fixture = start_target(0);
	struct hs_target *target = open_target(fixture.pid, NULL);
	hs_addr sp = find_lwp(target, fixture.shared->reader)->regs.value[HS_REG_SP];
	hs_addr marker = fixture.shared->marker;
	pid_t reader = fixture.shared->reader;
	uint64_t value;
	bool same;

	end_target(&fixture);
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

	struct hs_target *target = open_target(pid, NULL);
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

static void our_own_death_harms_nobody(void **state)
{
	(void)state;
	enum {
		ROUNDS = 100
	};
	struct fixture fixture = start_target(WITH_SIGNALS);
	unsigned long sent = 0;

	for (int round = 0; round < ROUNDS; round++) {
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (!pid) {
			const struct hs_open_options options = {.keep_stopped = round % 4 == 0};

			for (;;) {
				struct hs_target *target = NULL;
				struct hs_err *err =
					hs_target_open_pid(fixture.pid, &options, &target);

				hs_err_free(err);
				hs_target_close(target);
			}
		}
		for (int i = 0; i < 20; i++)
			sent += sigqueue(fixture.pid, SIGRTMIN, (union sigval){.sival_int = i}) ==
			        0;
		usleep((unsigned)(rand() % 30000));
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		assert_untouched(&fixture);
	}
	for (int i = 0; fixture.shared->realtime < sent && i < PATIENCE * 1000; i++)
		sleep_ms(1);
	assert_int_equal(fixture.shared->realtime, sent);
	end_target(&fixture);
}

/** Runs in a fork: threads, and one of them replaces the program by itself again. */
static _Noreturn void exec_churn_main(char *times)
{
	struct fixture fixture = {.shared = calloc(1, sizeof(*fixture.shared))};
	char left[16];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!fixture.shared || atoi(times) <= 0)
		_exit(EXEC_CHURN_EXIT);
	for (int i = 0; i < 8; i++) {
		pthread_t thread;

		pthread_create(&thread, NULL, beat_main, &fixture);
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
	struct fixture fixture = start_target(0);
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
	hs_target_close(open_target(fixture.pid, &options));
	kill(tracer, SIGKILL);
	waitpid(tracer, NULL, 0);
	close(ready[0]);
	close(ready[1]);
	assert_untouched(&fixture);
	end_target(&fixture);
}

static void no_permission(void **state)
{
	(void)state;
	enum {
		NOBODY = 65534
	};
	struct fixture fixture = start_target(0);
	int status;

	if (geteuid() != 0) {
		end_target(&fixture);
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
		      !strstr(hs_err_message(err), "kubectl"));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_untouched(&fixture);
	end_target(&fixture);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_threads_with_registers),
		cmocka_unit_test(modules_are_open),
		cmocka_unit_test(a_thread_id_means_its_process),
		cmocka_unit_test(moved_or_not),
		cmocka_unit_test(held_until_close),
		cmocka_unit_test(never_stopped),
		cmocka_unit_test(no_signal_is_lost),
		cmocka_unit_test(threads_that_come_and_go),
		cmocka_unit_test(a_stopped_process_stays_stopped),
		cmocka_unit_test(an_uninterruptible_sleep_delays_nothing),
		cmocka_unit_test(threads_outlive_their_leader),
		cmocka_unit_test(death_after_the_capture),
		cmocka_unit_test(another_program_after_the_capture),
		cmocka_unit_test(our_own_death_harms_nobody),
		cmocka_unit_test(programs_that_replace_themselves),
		cmocka_unit_test(no_such_process),
		cmocka_unit_test(kernel_threads),
		cmocka_unit_test(traced_by_another),
		cmocka_unit_test(no_permission),
	};

	if (argc == 3 && strcmp(argv[1], "--exec-churn") == 0)
		exec_churn_main(argv[2]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
