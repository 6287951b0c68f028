// SPDX-License-Identifier: Apache-2.0
/** @file System calls: words for registers and memory, and what cannot be read stays an address. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/native/syscalls.h"
#include "tests/support/fake_target.h"

enum {
	MEM = 0x10000,
	NR_READ = 0,
	NR_POLL = 7,
	NR_SELECT = 23,
	NR_NANOSLEEP = 35,
	NR_GETPID = 39,
	NR_CONNECT = 42,
	NR_WAIT4 = 61,
	NR_SEMTIMEDOP = 220,
	NR_FCNTL = 72,
	NR_FLOCK = 73,
	NR_SIGTIMEDWAIT = 128,
	NR_FUTEX = 202,
	NR_CLOCK_NANOSLEEP = 230,
	NR_EPOLL_WAIT = 232,
	NR_WAITID = 247,
	NR_OPENAT = 257,
	NR_PSELECT6 = 270,
	NR_IO_URING_ENTER = 426,
	NR_FUTEX_WAITV = 449,
	NR_FUTEX_WAIT = 455,
};

struct fixture {
	struct hs_fake *fake;
	struct hs_arena *arena;
	struct hs_syscalls syscalls;
};

static int setup(void **state)
{
	static struct fixture fixture;

	fixture.fake = hs_fake_create();
	fixture.arena = hs_arena_create();
	fixture.syscalls = (struct hs_syscalls){.target = hs_fake_target(fixture.fake),
	                                        .arena = fixture.arena};
	*state = &fixture;
	return fixture.arena ? 0 : -1;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	hs_fake_destroy(fixture->fake);
	hs_arena_destroy(fixture->arena);
	return 0;
}

static struct hs_lwp call(long nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e)
{
	return (struct hs_lwp){
		.tid = 1,
		.in_syscall = true,
		.syscall_nr = nr,
		.syscall_args = {a, b, c, d, e, UINT32_MAX},
		.state = 'S',
	};
}

static void expect(struct fixture *fixture, struct hs_lwp lwp, const char *text)
{
	assert_string_equal(hs_syscall_describe(&fixture->syscalls, &lwp), text);
}

static void put_timespec(struct fixture *fixture, hs_addr addr, int64_t sec, int64_t nsec)
{
	hs_fake_u64(fixture->fake, addr, (uint64_t)sec);
	hs_fake_u64(fixture->fake, addr + 8, (uint64_t)nsec);
}

static void test_names(void **state)
{
	(void)state;
	assert_string_equal(hs_syscall_name(0), "read");
	assert_string_equal(hs_syscall_name(202), "futex");
	assert_string_equal(hs_syscall_name(219), "restart_syscall");
	assert_string_equal(hs_syscall_name(281), "epoll_pwait");
	assert_string_equal(hs_syscall_name(435), "clone3");
	assert_string_equal(hs_syscall_name(462), "mseal");
	assert_null(hs_syscall_name(-1));
	assert_null(hs_syscall_name(400));
	assert_null(hs_syscall_name(100000));
}

static void test_scalars(void **state)
{
	struct fixture *fixture = *state;
	struct hs_lwp none = {.syscall_nr = NR_READ};

	assert_null(hs_syscall_describe(&fixture->syscalls, &none));
	expect(fixture, call(NR_READ, 5, 0x1000, 64, 0, 0), "read(5, 0x1000, 64)");
	expect(fixture, call(NR_GETPID, 9, 9, 9, 9, 9), "getpid()");
	expect(fixture, call(NR_FLOCK, 3, 2 | 4, 0, 0, 0), "flock(3, LOCK_EX|LOCK_NB)");
	expect(fixture, call(NR_WAIT4, (uint32_t)-1, 0, 1, 0, 0), "wait4(-1, NULL, WNOHANG, NULL)");
	expect(fixture, call(NR_WAITID, 1, 77, 0, 4 | 1 << 24, 0),
	       "waitid(P_PID, 77, NULL, WEXITED|WNOWAIT, NULL)");
	expect(fixture, call(NR_EPOLL_WAIT, 7, 0x1000, 64, (uint32_t)-1, 0),
	       "epoll_wait(7, 0x1000, 64, no timeout)");
	expect(fixture, call(NR_IO_URING_ENTER, 4, 0, 1, 1, 0),
	       "io_uring_enter(4, 0, 1, 0x1, NULL, 4294967295)");
	expect(fixture, call(400, 1, 2, 3, 4, 5), "syscall_400(...)");
	expect(fixture, call(-1, 1, 2, 3, 4, 5), "a system call");
	expect(fixture, call(13, 1, 2, 3, 4, 5), "rt_sigaction(...)");
}

static void test_pointers(void **state)
{
	struct fixture *fixture = *state;

	hs_fake_cstr(fixture->fake, MEM, "/tmp/\x1b[31mx");
	expect(fixture, call(NR_OPENAT, (uint32_t)-100, MEM, 02 | 0100 | 02000000, 0644, 0),
	       "openat(AT_FDCWD, \"/tmp/\x1b[31mx\", O_RDWR|O_CREAT|O_CLOEXEC, 0644)");
	put_timespec(fixture, MEM, 1, 500000000);
	expect(fixture, call(NR_NANOSLEEP, MEM, 0, 0, 0, 0), "nanosleep(timeout 1.500 s, NULL)");
	expect(fixture, call(NR_CLOCK_NANOSLEEP, 1, 1, MEM, 0, 0),
	       "clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, until 1.500 (monotonic), NULL)");
	put_timespec(fixture, MEM, -1, INT64_MIN);
	expect(fixture, call(NR_NANOSLEEP, MEM, 0, 0, 0, 0),
	       "nanosleep(timeout {-1, -9223372036854775808}, NULL)");
	hs_fake_u32(fixture->fake, MEM, 5);
	hs_fake_u32(fixture->fake, MEM + 4, 0x1);
	hs_fake_u32(fixture->fake, MEM + 8, 6);
	hs_fake_u32(fixture->fake, MEM + 12, 0x4);
	expect(fixture, call(NR_POLL, MEM, 2, 250, 0, 0),
	       "poll([{fd=5, events=POLLIN}, {fd=6, events=POLLOUT}], 2, timeout 250 ms)");
	hs_fake_u64(fixture->fake, MEM, 1 << 3 | 1 << 5);
	expect(fixture, call(NR_SELECT, 6, MEM, 0, 0, 0),
	       "select(6, [3 5], NULL, NULL, no timeout)");
	hs_fake_u64(fixture->fake, MEM, 1 << 9);
	expect(fixture, call(NR_SIGTIMEDWAIT, MEM, 0, 0, 8, 0),
	       "rt_sigtimedwait([SIGUSR1], NULL, no timeout, 8)");
	hs_fake_memory(fixture->fake, MEM, "\x02\x00\x1f\x90\x7f\x00\x00\x01", 8);
	hs_fake_fill(fixture->fake, MEM + 8, 0, 8);
	expect(fixture, call(NR_CONNECT, 4, 0x99, 16, 0, 0), "connect(4, 0x99, 16)");
	expect(fixture, call(NR_CONNECT, 4, MEM, 16, 0, 0),
	       "connect(4, {AF_INET, 127.0.0.1:8080}, 16)");
	hs_fake_memory(fixture->fake, MEM, "\x01\x00/run/x\0zz", 11);
	expect(fixture, call(NR_CONNECT, 4, MEM, 11, 0, 0),
	       "connect(4, {AF_UNIX, \"/run/x\"}, 11)");
	hs_fake_fill(fixture->fake, MEM, 0, 24);
	hs_fake_u16(fixture->fake, MEM, 1);
	expect(fixture, call(NR_FCNTL, 3, 7, MEM, 0, 0),
	       "fcntl(3, F_SETLKW, {F_WRLCK, SEEK_SET, 0, 0})");
	hs_fake_memory(fixture->fake, MEM, "\x01\x00\xff\xff\x00\x10", 6);
	expect(fixture, call(NR_SEMTIMEDOP, 9, MEM, 1, 0, 0),
	       "semtimedop(9, [{1, -1, 0x1000}], 1, no timeout)");
}

/** Whatever the arguments are: an address, or nothing, and never a crash. */
static void test_hostile(void **state)
{
	struct fixture *fixture = *state;
	static const uint64_t values[] = {
		0, 1, 0x1000, UINT32_MAX, UINT64_MAX, UINT64_MAX - 7, 1ULL << 63};

	hs_fake_fill(fixture->fake, MEM, 0xff, 4096);
	for (long nr = -2; nr < 520; nr++) {
		for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
			uint64_t v = values[i];
			struct hs_lwp lwp = call(nr, v, v, v, v, v);
			struct hs_fd_wait fd_wait;
			struct hs_futex_wait futex_wait;

			const char *text = hs_syscall_describe(&fixture->syscalls, &lwp);
			assert_non_null(text);
			assert_true(strlen(text) < 1024);
			hs_syscall_fd_wait(&fixture->syscalls, &lwp, &fd_wait);
			hs_syscall_futex_wait(&fixture->syscalls, &lwp, &futex_wait);
			lwp = call(nr, MEM, MEM, v, v, MEM);
			assert_non_null(hs_syscall_describe(&fixture->syscalls, &lwp));
			lwp = call(nr, v, MEM, MEM, MEM, v);
			assert_non_null(hs_syscall_describe(&fixture->syscalls, &lwp));
		}
	}
}

static void test_futex(void **state)
{
	struct fixture *fixture = *state;
	struct hs_futex_wait wait;

	hs_fake_u32(fixture->fake, MEM, 2);
	put_timespec(fixture, MEM + 16, 1732250000, 123000000);
	struct hs_lwp lwp = call(NR_FUTEX, MEM, 128, 2, 0, 0);
	expect(fixture, lwp, "futex(0x10000 (word 2), FUTEX_WAIT_PRIVATE, 2, no timeout)");
	assert_true(hs_syscall_futex_wait(&fixture->syscalls, &lwp, &wait));
	assert_int_equal(wait.word, MEM);
	assert_int_equal(wait.expected, 2);
	assert_true(wait.has_current && wait.current == 2);
	assert_true(wait.is_private && !wait.has_timeout);

	lwp = call(NR_FUTEX, MEM, 128 | 256 | 9, 2, MEM + 16, 0);
	expect(fixture, lwp,
	       "futex(0x10000 (word 2), FUTEX_WAIT_BITSET_PRIVATE|FUTEX_CLOCK_REALTIME, 2, "
	       "until 1732250000.123 (realtime))");
	assert_true(hs_syscall_futex_wait(&fixture->syscalls, &lwp, &wait));
	assert_true(wait.has_timeout && wait.op == HS_FUTEX_WAIT_BITSET);

	expect(fixture, call(NR_FUTEX, MEM, 0, 2, MEM + 16, 0),
	       "futex(0x10000 (word 2), FUTEX_WAIT, 2, timeout 1732250000.123 s)");
	expect(fixture, call(NR_FUTEX, MEM, 0, 2, 0x99, 0),
	       "futex(0x10000 (word 2), FUTEX_WAIT, 2, timeout at 0x99)");
	lwp = call(NR_FUTEX, 0x99, 6, 0, 0, 0);
	expect(fixture, lwp, "futex(0x99, FUTEX_LOCK_PI, no timeout)");
	assert_true(hs_syscall_futex_wait(&fixture->syscalls, &lwp, &wait));
	assert_false(wait.has_current);

	lwp = call(NR_FUTEX, MEM, 129, 1, 0, 0);
	expect(fixture, lwp, "futex(0x10000 (word 2), FUTEX_WAKE_PRIVATE, 1)");
	assert_false(hs_syscall_futex_wait(&fixture->syscalls, &lwp, &wait));
	expect(fixture, call(NR_FUTEX, MEM, 128 | 4, 1, 7, MEM),
	       "futex(0x10000 (word 2), FUTEX_CMP_REQUEUE_PRIVATE, 1, 7, 0x10000 (word 2))");
	expect(fixture, call(NR_FUTEX, MEM, 0x77, 1, 0, 0),
	       "futex(0x10000 (word 2), op 0x77, ...)");

	lwp = call(NR_FUTEX_WAIT, MEM, 2, UINT32_MAX, 2 | 128, 0);
	expect(fixture, lwp, "futex_wait(0x10000 (word 2), 2, no timeout)");
	assert_true(hs_syscall_futex_wait(&fixture->syscalls, &lwp, &wait));
	hs_fake_u64(fixture->fake, MEM + 64, 2);
	hs_fake_u64(fixture->fake, MEM + 72, MEM);
	hs_fake_u64(fixture->fake, MEM + 80, 2);
	expect(fixture, call(NR_FUTEX_WAITV, MEM + 64, 1, 0, 0, 1),
	       "futex_waitv([{0x10000 (word 2), 2}], 1, 0, no timeout, CLOCK_MONOTONIC)");
}

static void test_fd_waits(void **state)
{
	struct fixture *fixture = *state;
	const struct hs_syscalls *syscalls = &fixture->syscalls;
	struct hs_fd_wait wait;

	struct hs_lwp lwp = call(NR_READ, 5, 0, 0, 0, 0);
	assert_true(hs_syscall_fd_wait(syscalls, &lwp, &wait));
	assert_int_equal(wait.fd, 5);
	assert_string_equal(wait.what, "read from");
	assert_false(wait.timed);

	hs_fake_u32(fixture->fake, MEM, 8);
	lwp = call(NR_POLL, MEM, 1, 100, 0, 0);
	assert_true(hs_syscall_fd_wait(syscalls, &lwp, &wait));
	assert_true(wait.fd == 8 && wait.timed);
	lwp = call(NR_POLL, MEM, 2, 100, 0, 0);
	assert_false(hs_syscall_fd_wait(syscalls, &lwp, &wait));
	lwp = call(NR_POLL, 0x99, 1, 100, 0, 0);
	assert_false(hs_syscall_fd_wait(syscalls, &lwp, &wait));

	lwp = call(NR_EPOLL_WAIT, 7, 0, 1, (uint32_t)-1, 0);
	assert_true(hs_syscall_fd_wait(syscalls, &lwp, &wait) && !wait.timed);
	lwp = call(NR_FCNTL, 3, 7, 0, 0, 0);
	assert_true(hs_syscall_fd_wait(syscalls, &lwp, &wait));
	lwp = call(NR_FCNTL, 3, 3, 0, 0, 0);
	assert_false(hs_syscall_fd_wait(syscalls, &lwp, &wait));
	lwp = call(NR_PSELECT6, 3, 0, 0, 0, 0);
	assert_false(hs_syscall_fd_wait(syscalls, &lwp, &wait));
	lwp = call(NR_READ, UINT64_MAX, 0, 0, 0, 0);
	assert_false(hs_syscall_fd_wait(syscalls, &lwp, &wait));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test_setup_teardown(test_scalars, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pointers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hostile, setup, teardown),
		cmocka_unit_test_setup_teardown(test_futex, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fd_waits, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
