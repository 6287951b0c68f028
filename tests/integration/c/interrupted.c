// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * A program full of system calls that a signal, or a careless tracer, would interrupt. Each thread
 * makes one kind of them over and over and counts what no program expects: EINTR without a signal,
 * too short a sleep, a byte too many or too few. The only handler has no SA_RESTART, and nobody
 * sends its signal.
 *
 * One side of each pair sleeps now and then, so that the other blocks, and the machine has rest.
 *
 * signal(7) lists calls that return EINTR after a stop of the process even without a handler; every
 * program has to repeat those after SIGCONT, too. They are counted as such ("may").
 *
 * SIGTERM: wait until every thread has made one more call, print one line per thread
 * ("CALL name calls eintr wrong may|must-not"), end.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	SHORT_NS = 3000000,
	PATIENCE = 60, /**< s until every thread must have made one more call */
	CHUNK = 1000,  /**< words per write to a pipe: more than fits in a few of them */
	REST_US = 300,
};

struct worker {
	const char *name;
	void (*run)(struct worker *);
	bool may; /**< signal(7): EINTR after a stop is documented */
	atomic_ulong calls, eintr, wrong;
};

static int pipe_fds[2], event_fds[2], queue, semaphore, listener;
static struct sockaddr_un address = {.sun_family = AF_UNIX};

static int64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/** @return true when the call gave what it should: @p ret, or -1 with @p error. */
static bool check(struct worker *w, long got, long ret, int error)
{
	int saved = errno;

	w->calls++;
	if (got == ret && (ret != -1 || saved == error))
		return true;
	if (got == -1 && saved == EINTR)
		w->eintr++;
	else
		w->wrong++;
	return false;
}

/** One that lasts SHORT_NS. */
static void check_slept(struct worker *w, int64_t start, long got, long ret, int error)
{
	if (check(w, got, ret, error) && now() - start < SHORT_NS)
		w->wrong++;
}

// ---- Sleeps and time-outs

static const struct timespec brief = {.tv_nsec = SHORT_NS};

static void run_nanosleep(struct worker *w)
{
	// The kernel may write to rest even when it goes on with the sleep by itself.
	struct timespec rest;
	int64_t start = now();

	check_slept(w, start, nanosleep(&brief, &rest), 0, 0);
}

static void run_clock_nanosleep(struct worker *w)
{
	int64_t end = now() + SHORT_NS;
	const struct timespec until = {end / 1000000000, end % 1000000000};

	errno = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
	check_slept(w, end - SHORT_NS, errno ? -1 : 0, 0, 0);
}

static void run_usleep(struct worker *w)
{
	int64_t start = now();

	check_slept(w, start, usleep(SHORT_NS / 1000), 0, 0);
}

static void run_poll(struct worker *w)
{
	struct pollfd fd = {.fd = listener, .events = POLLERR};
	int64_t start = now();

	check_slept(w, start, poll(&fd, 0, SHORT_NS / 1000000), 0, 0);
}

static void run_ppoll(struct worker *w)
{
	int64_t start = now();

	check_slept(w, start, ppoll(NULL, 0, &brief, NULL), 0, 0);
}

static void run_select(struct worker *w)
{
	struct timeval tv = {.tv_usec = SHORT_NS / 1000};
	int64_t start = now();

	check_slept(w, start, select(0, NULL, NULL, NULL, &tv), 0, 0);
}

static void run_pselect(struct worker *w)
{
	int64_t start = now();

	check_slept(w, start, pselect(0, NULL, NULL, NULL, &brief, NULL), 0, 0);
}

static void run_futex(struct worker *w)
{
	uint32_t word = 1;
	int64_t start = now();

	check_slept(w, start, syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 1, &brief, NULL, 0), -1,
	            ETIMEDOUT);
}

static void run_sem_timedwait(struct worker *w)
{
	static sem_t sem;
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += SHORT_NS;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	check(w, sem_timedwait(&sem, &until), -1, ETIMEDOUT);
}

static void run_timerfd(struct worker *w)
{
	const struct itimerspec once = {.it_value = brief};
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	int64_t start = now();
	uint64_t count;

	timerfd_settime(fd, 0, &once, NULL);
	check_slept(w, start, read(fd, &count, sizeof(count)), sizeof(count), 0);
	close(fd);
}

static void run_epoll_wait(struct worker *w)
{
	int fd = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event event;

	check(w, epoll_wait(fd, &event, 1, SHORT_NS / 1000000), 0, 0);
	close(fd);
}

static void run_semtimedop(struct worker *w)
{
	struct sembuf down = {.sem_op = -1};

	check(w, semtimedop(semaphore, &down, 1, &brief), -1, EAGAIN);
}

static void run_sigtimedwait(struct worker *w)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	check(w, sigtimedwait(&set, NULL, &brief), -1, EAGAIN);
}

static void run_receive_timeout(struct worker *w)
{
	const struct timeval tv = {.tv_usec = SHORT_NS / 1000};
	int fds[2];
	char byte;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds))
		return;
	setsockopt(fds[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	check(w, recv(fds[0], &byte, 1, 0), -1, EAGAIN);
	close(fds[0]);
	close(fds[1]);
}

// ---- Bytes that are handed over

/** A stream of words that count on: each write blocks until the reader has made room. */
static void run_pipe_write(struct worker *w)
{
	static uint32_t next;
	uint32_t words[CHUNK];
	size_t done = 0;

	for (size_t i = 0; i < CHUNK; i++)
		words[i] = next++;
	while (done < sizeof(words)) {
		ssize_t got = write(pipe_fds[1], (char *)words + done, sizeof(words) - done);

		// It may end after a part (write(2)): nothing is lost by that.
		if (check(w, got < 0 ? -1 : 0, 0, 0))
			done += (size_t)got;
	}
}

static void run_pipe_read(struct worker *w)
{
	static uint32_t next;
	static unsigned char partial[sizeof(next)];
	static size_t num_partial;
	unsigned char bytes[4096 + 3];
	ssize_t got = read(pipe_fds[0], bytes, sizeof(bytes));

	if (got <= 0) {
		check(w, got, 1, 0);
		return;
	}
	usleep(REST_US); // the writer waits for room
	w->calls++;
	for (ssize_t i = 0; i < got; i++) {
		uint32_t word;

		partial[num_partial++] = bytes[i];
		if (num_partial < sizeof(word))
			continue;
		memcpy(&word, partial, sizeof(word));
		num_partial = 0;
		w->wrong += word != next++;
	}
}

/** Two threads that wake each other by eventfds. */
static void add_event(struct worker *w, int fd)
{
	uint64_t value = 1;

	check(w, write(fd, &value, sizeof(value)), sizeof(value), 0);
}

static void take_event(struct worker *w, int fd)
{
	uint64_t value = 0;

	if (check(w, read(fd, &value, sizeof(value)), sizeof(value), 0))
		w->wrong += value != 1;
}

static void run_event_there(struct worker *w)
{
	add_event(w, event_fds[0]);
	take_event(w, event_fds[1]);
	usleep(REST_US);
}

static void run_event_back(struct worker *w)
{
	take_event(w, event_fds[0]);
	add_event(w, event_fds[1]);
}

struct message {
	long type;
	unsigned long number;
};

static void run_msgsnd(struct worker *w)
{
	static unsigned long next;
	const struct message message = {1, next};

	if (check(w, msgsnd(queue, &message, sizeof(message.number), 0), 0, 0))
		next++;
	usleep(REST_US);
}

static void run_msgrcv(struct worker *w)
{
	static unsigned long next;
	struct message message;

	if (check(w, msgrcv(queue, &message, sizeof(message.number), 0, 0), sizeof(message.number),
	          0))
		w->wrong += message.number != next++;
}

static void run_accept(struct worker *w)
{
	static unsigned char next;
	unsigned char byte;
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0) {
		check(w, -1, 0, 0);
		return;
	}
	if (check(w, recv(fd, &byte, 1, MSG_WAITALL), 1, 0))
		w->wrong += byte != next++;
	close(fd);
}

static void run_connect(struct worker *w)
{
	static unsigned char next;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (check(w, connect(fd, (struct sockaddr *)&address, sizeof(address)), 0, 0) &&
	    check(w, send(fd, &next, 1, 0), 1, 0))
		next++;
	close(fd);
	usleep(REST_US);
}

/** Two of these: each takes the lock of the whole file from the other. */
static void run_file_lock(struct worker *w)
{
	static atomic_int holders;
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int fd = open("/proc/self/exe", O_RDWR | O_CLOEXEC);

	if (fd < 0) {
		char path[] = "/tmp/hangscope-lock-XXXXXX";
		static int file;
		static pthread_mutex_t once = PTHREAD_MUTEX_INITIALIZER;
		char link[32];

		pthread_mutex_lock(&once);
		if (!file) {
			file = mkstemp(path);
			unlink(path);
		}
		pthread_mutex_unlock(&once);
		snprintf(link, sizeof(link), "/proc/self/fd/%d", file);
		fd = open(link, O_RDWR | O_CLOEXEC);
	}
	if (check(w, fcntl(fd, F_OFD_SETLKW, &lock), 0, 0)) {
		w->wrong += ++holders != 1;
		usleep(500);
		holders--;
	}
	close(fd);
}

static void run_wait(struct worker *w)
{
	int status = -1;
	pid_t pid = fork();

	if (!pid) {
		usleep(1000);
		_exit(3);
	}
	if (check(w, waitpid(pid, &status, 0), pid, 0))
		w->wrong += !WIFEXITED(status) || WEXITSTATUS(status) != 3;
	else
		waitpid(pid, NULL, 0);
	usleep(10000);
}

// ---- No call at all

static void run_compute(struct worker *w)
{
	volatile double sum = 0;

	for (int i = 1; i <= 100000; i++)
		sum = sum + i;
	w->calls++;
	w->wrong += sum != 5000050000.0;
	usleep(REST_US);
}

// clang-format off
static struct worker workers[] = {
	{.name = "nanosleep", .run = run_nanosleep},
	{.name = "clock_nanosleep", .run = run_clock_nanosleep},
	{.name = "usleep", .run = run_usleep},
	{.name = "poll", .run = run_poll},
	{.name = "ppoll", .run = run_ppoll},
	{.name = "select", .run = run_select},
	{.name = "pselect", .run = run_pselect},
	{.name = "futex", .run = run_futex},
	{.name = "sem_timedwait", .run = run_sem_timedwait},
	{.name = "timerfd", .run = run_timerfd},
	{.name = "pipe write", .run = run_pipe_write},
	{.name = "pipe read", .run = run_pipe_read},
	{.name = "eventfd there", .run = run_event_there},
	{.name = "eventfd back", .run = run_event_back},
	{.name = "msgsnd", .run = run_msgsnd},
	{.name = "msgrcv", .run = run_msgrcv},
	{.name = "accept", .run = run_accept},
	{.name = "connect", .run = run_connect},
	{.name = "file lock", .run = run_file_lock},
	{.name = "file lock too", .run = run_file_lock},
	{.name = "waitpid", .run = run_wait},
	{.name = "compute", .run = run_compute},
	{.name = "epoll_wait", .run = run_epoll_wait, .may = true},
	{.name = "semtimedop", .run = run_semtimedop, .may = true},
	{.name = "sigtimedwait", .run = run_sigtimedwait, .may = true},
	{.name = "recv with SO_RCVTIMEO", .run = run_receive_timeout, .may = true},
};
// clang-format on

enum {
	NUM_WORKERS = sizeof(workers) / sizeof(*workers)
};

static void *work(void *arg)
{
	struct worker *w = arg;

	for (;;)
		w->run(w);
	return NULL;
}

static void ignore(int signo)
{
	(void)signo;
}

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void prepare(void)
{
	struct sigaction action = {.sa_handler = ignore};
	sigset_t set;

	// Where it may: queue and semaphore end with this program even when it is killed.
	(void)unshare(CLONE_NEWIPC);
	sigaction(SIGUSR1, &action, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	event_fds[0] = eventfd(0, EFD_CLOEXEC);
	event_fds[1] = eventfd(0, EFD_CLOEXEC);
	queue = msgget(IPC_PRIVATE, 0600);
	semaphore = semget(IPC_PRIVATE, 1, 0600);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "hangscope-test-%d", getpid());
	if (pipe2(pipe_fds, O_CLOEXEC) || queue < 0 || semaphore < 0 || listener < 0 ||
	    bind(listener, (struct sockaddr *)&address, sizeof(address)) || listen(listener, 8))
		fail("prepare");
}

static void print_results(void)
{
	unsigned long calls[NUM_WORKERS];
	int64_t end = now() + (int64_t)PATIENCE * 1000000000;
	size_t behind = NUM_WORKERS;

	for (size_t i = 0; i < NUM_WORKERS; i++)
		calls[i] = workers[i].calls;
	while (behind && now() < end) {
		usleep(10000);
		behind = 0;
		for (size_t i = 0; i < NUM_WORKERS; i++)
			behind += workers[i].calls == calls[i];
	}
	for (size_t i = 0; i < NUM_WORKERS; i++) {
		if (workers[i].calls == calls[i])
			printf("STUCK %s\n", workers[i].name);
		printf("CALL %s: %lu calls, %lu EINTR, %lu wrong, %s\n", workers[i].name,
		       workers[i].calls, workers[i].eintr, workers[i].wrong,
		       workers[i].may ? "may" : "must not");
	}
	printf("END\n");
	fflush(stdout);
}

int main(void)
{
	sigset_t set;
	int signo;

	prepare();
	for (size_t i = 0; i < NUM_WORKERS; i++) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, work, &workers[i]))
			fail("pthread_create");
		if (strlen(workers[i].name) < 16)
			pthread_setname_np(thread, workers[i].name);
	}
	printf("READY %d\n", (int)getpid());
	fflush(stdout);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	while (sigwait(&set, &signo) || signo != SIGTERM)
		;
	print_results();
	msgctl(queue, IPC_RMID, NULL);
	semctl(semaphore, 0, IPC_RMID);
	_exit(0);
}
