// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * pthread objects: names and layouts by themselves over made-up memory, then both together on a
 * child process whose threads block on one of each kind.
 */

#define _GNU_SOURCE 1 // gettid, robust and recursive initializers

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/futex.h>

#include "core/native/glibc_sync.h"
#include "core/native/native.h"
#include "core/stack_walk.h"
#include "tests/support/fake_target.h"

#define ASSERT_OK(call)                                       \
	do {                                                  \
		struct hs_err *err_ = (call);                 \
		if (err_)                                     \
			fail_msg("%s", hs_err_message(err_)); \
	} while (0)

// ---- function names

static void test_names(void **state)
{
	(void)state;
	assert_int_equal(hs_sync_call_of("pthread_mutex_lock"), HS_SYNC_MUTEX);
	assert_int_equal(hs_sync_call_of("___pthread_mutex_lock"), HS_SYNC_MUTEX);
	assert_int_equal(hs_sync_call_of("__GI___pthread_mutex_lock"), HS_SYNC_MUTEX);
	assert_int_equal(hs_sync_call_of("__pthread_mutex_lock_full"), HS_SYNC_MUTEX);
	assert_int_equal(hs_sync_call_of("__pthread_rwlock_rdlock_full64"), HS_SYNC_RDLOCK);
	assert_int_equal(hs_sync_call_of("__pthread_clockjoin_ex"), HS_SYNC_JOIN);
	assert_int_equal(hs_sync_call_of("__new_sem_wait_slow64.constprop.0"), HS_SYNC_SEM);
	assert_int_equal(hs_sync_call_of("__cxa_guard_acquire"), HS_SYNC_GUARD);
	assert_int_equal(hs_sync_call_of("pthread_mutex_lock_all"), HS_SYNC_NONE);
	assert_int_equal(hs_sync_call_of("pthread_mutex_loc"), HS_SYNC_NONE);
	assert_int_equal(hs_sync_call_of(""), HS_SYNC_NONE);
	assert_int_equal(hs_sync_call_of("."), HS_SYNC_NONE);
	assert_true(hs_is_libc("/usr/lib/x86_64-linux-gnu/libc.so.6"));
	assert_true(hs_is_libc("/lib/libpthread-2.31.so"));
	assert_true(hs_is_libc("ld-linux-x86-64.so.2"));
	assert_false(hs_is_libc("/opt/libcrypto.so.3"));
	assert_false(hs_is_libc(NULL));
}

static void test_classify(void **state)
{
	static const char libc[] = "/lib/libc.so.6";
	static const struct hs_location locations[] = {
		{.kind = HS_FRAME_NATIVE,         .module = libc                       },
		{ .kind = HS_FRAME_NATIVE,                 .module = libc,         .function = "__lll_lock_wait"},
		{ .kind = HS_FRAME_NATIVE,                 .module = libc,      .function = "pthread_mutex_lock"},
		{ .kind = HS_FRAME_NATIVE,           .module = "/bin/app",                    .function = "work"},
		{ .kind = HS_FRAME_NATIVE,                 .module = libc, .function = "__lll_lock_wait_private"},
		{ .kind = HS_FRAME_NATIVE,                 .module = libc,                  .function = "malloc"},
		{ .kind = HS_FRAME_INTERPRETED,              .class_name = "A",                         .method = "b"},
		{ .kind = HS_FRAME_NATIVE,        .module = "/bin/static",       .function = "pthread_cond_wait"},
		{ .kind = HS_FRAME_NATIVE,                 .module = libc,                 .function = "syscall"},
		{ .kind = HS_FRAME_NATIVE,
	         .module = "/lib/libstdc++.so.6",
	         .function = "__cxa_guard_acquire"},
	};
	struct hs_frame frames[3] = {{.location = &locations[1]},
	                             {.location = &locations[2]},
	                             {.location = &locations[3]}};
	struct hs_sync_site site;

	(void)state;
	hs_sync_classify(frames, 3, &site);
	assert_int_equal(site.call, HS_SYNC_MUTEX);
	assert_int_equal(site.frame, 1);
	assert_int_equal(site.caller, 2);
	assert_string_equal(site.api_function, "pthread_mutex_lock");

	frames[0].location = &locations[4];
	frames[1].location = &locations[5];
	hs_sync_classify(frames, 3, &site);
	assert_int_equal(site.call, HS_SYNC_LIBC_LOCK);
	assert_string_equal(site.api_function, "malloc");

	frames[0].location = &locations[8];
	frames[1].location = &locations[9];
	hs_sync_classify(frames, 3, &site);
	assert_int_equal(site.call, HS_SYNC_GUARD);
	assert_int_equal(site.caller, 2);

	frames[0].location = &locations[0];
	frames[1].location = &locations[6];
	hs_sync_classify(frames, 3, &site);
	assert_int_equal(site.call, HS_SYNC_NONE);
	assert_int_equal(site.caller, 1);

	frames[0].location = &locations[7];
	frames[1].location = &locations[3];
	hs_sync_classify(frames, 2, &site);
	assert_int_equal(site.call, HS_SYNC_COND);
	assert_int_equal(site.caller, 1);

	hs_sync_classify(NULL, 0, &site);
	assert_int_equal(site.call, HS_SYNC_NONE);
	assert_int_equal(site.caller, HS_NONE);
}

// ---- layouts

enum {
	AT = 0x1000
};

static void put_words(struct hs_fake *fake, hs_addr addr, const uint32_t *words, size_t count)
{
	hs_fake_memory(fake, addr, words, count * sizeof(*words));
}

static void test_mutex_layout(void **state)
{
	struct hs_fake *fake = hs_fake_create();
	struct hs_target *target = hs_fake_target(fake);
	struct hs_sync_mutex mutex;
	hs_addr word;
	uint32_t value;

	(void)state;
	put_words(fake, AT, (uint32_t[]){2, 3, 77, 1, 1}, 5);
	assert_true(hs_sync_mutex_read(target, AT, &mutex));
	assert_int_equal(hs_sync_mutex_owner(&mutex, &word, &value), 77);
	assert_int_equal(word, AT + 8);
	assert_true(hs_sync_mutex_is_recursive(&mutex));
	put_words(fake, AT, (uint32_t[]){0x80000000 | 78, 0, 0, 1, 32}, 5); // priority inheriting
	assert_true(hs_sync_mutex_read(target, AT, &mutex));
	assert_int_equal(hs_sync_mutex_owner(&mutex, &word, &value), 78);
	assert_int_equal(word, AT);
	put_words(fake, AT, (uint32_t[]){0, 0, 77, 0, 0}, 5); // free, owner not cleared yet
	assert_true(hs_sync_mutex_read(target, AT, &mutex));
	assert_int_equal(hs_sync_mutex_owner(&mutex, &word, &value), 0);
	put_words(fake, AT, (uint32_t[]){2, 0, 77, 1, 0x400}, 5); // no such kind
	assert_false(hs_sync_mutex_read(target, AT, &mutex));
	put_words(fake, AT, (uint32_t[]){2, 0, 0xffffffff, 1, 0}, 5); // no such thread id
	assert_false(hs_sync_mutex_read(target, AT, &mutex));
	assert_false(hs_sync_mutex_read(target, AT + 2, &mutex));
	assert_false(hs_sync_mutex_read(target, UINT64_MAX - 3, &mutex));
	assert_false(hs_sync_mutex_read(target, 0, &mutex));
	hs_fake_destroy(fake);
}

static void test_cond_layouts(void **state)
{
	struct hs_fake *fake = hs_fake_create();
	struct hs_target *target = hs_fake_target(fake);
	hs_addr cond;
	uint32_t waiters;

	(void)state;
	hs_fake_fill(fake, AT - 64, 0, 256);
	hs_fake_u32(fake, AT + 36, 2 << 3); // 2.25 to 2.40: __wrefs
	assert_true(hs_sync_cond_find(target, AT + 44, 36, &cond, &waiters));
	assert_int_equal(cond, AT);
	assert_int_equal(waiters, 2);
	hs_fake_u32(fake, AT + 36, 0);
	hs_fake_u32(fake, AT + 28, 5 << 3); // 2.41
	assert_true(hs_sync_cond_find(target, AT + 32, 41, &cond, &waiters));
	assert_int_equal(cond, AT);
	assert_int_equal(waiters, 5);
	// Both are plausible: the version decides. For the old layout the object starts 8 before.
	assert_true(hs_sync_cond_find(target, AT + 32, 40, &cond, &waiters));
	assert_int_equal(cond, AT - 8);
	assert_true(hs_sync_cond_find(target, AT + 32, 0, &cond, &waiters));
	hs_fake_u32(fake, AT + 28, 0);
	assert_false(hs_sync_cond_find(target, AT + 32, 41, &cond, &waiters));
	assert_false(hs_sync_cond_find(target, 8, 41, &cond, &waiters));
	hs_fake_destroy(fake);
}

static void test_rwlock_layout(void **state)
{
	struct hs_fake *fake = hs_fake_create();
	struct hs_target *target = hs_fake_target(fake);
	struct hs_sync_rwlock rwlock;
	uint32_t words[14] = {3 << 3 | 2, 0, 2, 1, 0, 0, 0}; // three readers, a writer waits
	struct hs_futex_wait wait = {.word = AT + 8, .expected = 2};

	(void)state;
	put_words(fake, AT, words, 14);
	assert_true(hs_sync_rwlock_read(target, &wait, HS_SYNC_WRLOCK, &rwlock));
	assert_int_equal(rwlock.address, AT);
	assert_int_equal(rwlock.num_readers, 3);
	assert_int_equal(rwlock.writer, 0);
	assert_true(rwlock.has_waiting_writer);
	words[0] = 1 << 3 | 2 | 1; // a writer, one reader waits
	words[6] = 55;
	put_words(fake, AT, words, 14);
	wait.word = AT + 12;
	assert_true(hs_sync_rwlock_read(target, &wait, HS_SYNC_WRLOCK, &rwlock));
	assert_int_equal(rwlock.num_readers, 0);
	assert_int_equal(rwlock.writer, 55);
	assert_int_equal(rwlock.writer_word, AT + 24);
	assert_false(hs_sync_rwlock_read(target, &wait, HS_SYNC_RDLOCK, &rwlock));
	words[12] = 9; // no such preference
	put_words(fake, AT, words, 14);
	assert_false(hs_sync_rwlock_read(target, &wait, HS_SYNC_WRLOCK, &rwlock));
	wait.word = 4;
	assert_false(hs_sync_rwlock_read(target, &wait, HS_SYNC_WRLOCK, &rwlock));
	hs_fake_destroy(fake);
}

static void test_sem_and_barrier(void **state)
{
	struct hs_fake *fake = hs_fake_create();
	struct hs_target *target = hs_fake_target(fake);
	struct hs_sync_barrier barrier;
	uint32_t waiters;

	(void)state;
	put_words(fake, AT, (uint32_t[]){0, 4, 0}, 3);
	assert_true(hs_sync_sem_read(target, AT, &waiters));
	assert_int_equal(waiters, 4);
	put_words(fake, AT, (uint32_t[]){1, 4, 0}, 3);
	assert_false(hs_sync_sem_read(target, AT, &waiters));
	put_words(fake, AT, (uint32_t[]){7, 5, 5, 0, 0}, 5);
	assert_true(hs_sync_barrier_read(target, AT + 4, &barrier));
	assert_int_equal(barrier.address, AT);
	assert_int_equal(barrier.arrived, 2);
	assert_int_equal(barrier.needed, 5);
	put_words(fake, AT, (uint32_t[]){70, 5, 5, 0, 0}, 5);
	assert_false(hs_sync_barrier_read(target, AT + 4, &barrier));
	hs_fake_destroy(fake);
}

// ---- a real process

/** What each thread of the child blocks in; the first three are a cycle. */
enum role {
	CYCLE_A,
	CYCLE_B,
	CYCLE_C,
	HOLDER, /**< holds what the others want, and sleeps */
	SELF,
	RECURSIVE,
	ROBUST,
	INHERIT,
	TIMED,
	WRITE_BEHIND_READER,
	READ_BEHIND_WRITER,
	WRITE_BEHIND_WRITER,
	COND,
	COND_TIMED,
	SEM,
	JOIN,
	BARRIER,
	ONCE_RUN,
	ONCE_WAIT,
	STREAM,
	PLAIN_FUTEX,
	PIPE,
	NUM_ROLES,
};

struct shared {
	atomic_int tids[NUM_ROLES];
	atomic_int locked; /**< threads that hold what they are to hold */
};

static struct shared *shared;
// Not static: their names are looked up.
pthread_mutex_t test_cycle[3] = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER,
                                 PTHREAD_MUTEX_INITIALIZER};
static pthread_mutex_t self_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t recursive_mutex = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static pthread_mutex_t robust_mutex, inherit_mutex, timed_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t cond_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_rwlock_t read_lock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_rwlock_t write_lock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static sem_t sem;
static pthread_barrier_t barrier;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_t threads[NUM_ROLES];
static int plain_futex, pipe_fds[2];

static void sleep_forever(void)
{
	for (;;)
		pause();
}

static struct timespec in_one_hour(void)
{
	struct timespec time;

	clock_gettime(CLOCK_REALTIME, &time);
	time.tv_sec += 3600;
	return time;
}

static void hold_all(void)
{
	pthread_mutex_lock(&recursive_mutex);
	pthread_mutex_lock(&recursive_mutex);
	pthread_mutex_lock(&robust_mutex);
	pthread_mutex_lock(&inherit_mutex);
	pthread_mutex_lock(&timed_mutex);
	pthread_rwlock_rdlock(&read_lock);
	pthread_rwlock_wrlock(&write_lock);
	flockfile(stdout);
}

static void block_in_cond(bool is_timed)
{
	struct timespec time = in_one_hour();

	pthread_mutex_lock(&cond_mutex);
	if (is_timed)
		pthread_cond_timedwait(&cond, &cond_mutex, &time);
	else
		pthread_cond_wait(&cond, &cond_mutex);
}

static void block(enum role role)
{
	struct timespec time = in_one_hour();
	char c;

	switch (role) {
	case CYCLE_A:
	case CYCLE_B:
	case CYCLE_C:
		pthread_mutex_lock(&test_cycle[(role + 1) % 3]);
		break;
	case SELF:
		pthread_mutex_lock(&self_mutex);
		break;
	case RECURSIVE:
		pthread_mutex_lock(&recursive_mutex);
		break;
	case ROBUST:
		pthread_mutex_lock(&robust_mutex);
		break;
	case INHERIT:
		pthread_mutex_lock(&inherit_mutex);
		break;
	case TIMED:
		pthread_mutex_timedlock(&timed_mutex, &time);
		break;
	case WRITE_BEHIND_READER:
		pthread_rwlock_wrlock(&read_lock);
		break;
	case READ_BEHIND_WRITER:
		pthread_rwlock_rdlock(&write_lock);
		break;
	case WRITE_BEHIND_WRITER:
		pthread_rwlock_wrlock(&write_lock);
		break;
	case COND:
	case COND_TIMED:
		block_in_cond(role == COND_TIMED);
		break;
	case SEM:
		sem_wait(&sem);
		break;
	case JOIN:
		pthread_join(threads[HOLDER], NULL);
		break;
	case BARRIER:
		pthread_barrier_wait(&barrier);
		break;
	case ONCE_RUN:
	case ONCE_WAIT:
		pthread_once(&once, sleep_forever);
		break;
	case STREAM:
		flockfile(stdout);
		break;
	case PLAIN_FUTEX:
		syscall(SYS_futex, &plain_futex, FUTEX_WAIT_PRIVATE, 0, NULL);
		break;
	case PIPE:
		(void)!read(pipe_fds[0], &c, 1);
		break;
	default:
		break;
	}
}

static void *run(void *arg)
{
	enum role role = (enum role)(size_t)arg;

	if (role <= CYCLE_C)
		pthread_mutex_lock(&test_cycle[role]);
	if (role == HOLDER)
		hold_all();
	if (role == SELF)
		pthread_mutex_lock(&self_mutex);
	atomic_store(&shared->tids[role], gettid());
	atomic_fetch_add(&shared->locked, 1);
	// ONCE_WAIT starts when the other one is inside.
	int all = NUM_ROLES - (role == ONCE_RUN);
	while (atomic_load(&shared->locked) < all)
		usleep(1000);
	if (role == ONCE_WAIT)
		usleep(100000);
	block(role);
	sleep_forever();
	return NULL;
}

static void child(void)
{
	pthread_mutexattr_t attr;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(&robust_mutex, &attr);
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT);
	pthread_mutex_init(&inherit_mutex, &attr);
	sem_init(&sem, 0, 0);
	pthread_barrier_init(&barrier, NULL, 2);
	if (pipe(pipe_fds))
		_exit(1);
	for (size_t i = 0; i < NUM_ROLES; i++) {
		if (pthread_create(&threads[i], NULL, run, (void *)i))
			_exit(1);
	}
	sleep_forever();
}

/** Do all threads sleep in the system calls of their roles? */
static bool all_blocked(pid_t pid)
{
	for (size_t i = 0; i < NUM_ROLES; i++) {
		char path[64], line[64] = "";
		int tid = atomic_load(&shared->tids[i]);

		if (!tid)
			return false;
		snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", (int)pid, tid);
		FILE *file = fopen(path, "r");
		if (!file)
			return false;
		bool ok = fgets(line, sizeof(line), file);
		fclose(file);
		long nr = strtol(line, NULL, 10);
		if (!ok || !strncmp(line, "running", 7) || nr == SYS_clock_nanosleep)
			return false;
	}
	return true;
}

static struct hs_snapshot *take_snapshot(pid_t pid, bool *skip_ret)
{
	const struct hs_open_options options = {0};
	const struct hs_native_options native_options = {0};
	struct hs_target *target;
	struct hs_native *native;

	struct hs_err *err = hs_target_open_pid(pid, &options, &target);
	*skip_ret = err && hs_err_errno(err) == EPERM;
	if (*skip_ret) {
		print_message("skipped: ptrace is not permitted here\n");
		hs_err_free(err);
		return NULL;
	}
	ASSERT_OK(err);
	struct hs_snapshot *snapshot = hs_snapshot_create();
	assert_non_null(snapshot);
	ASSERT_OK(hs_native_open(target, snapshot, &native_options, &native));
	ASSERT_OK(hs_native_collect_threads(native));
	const struct hs_stepper *steppers[] = {hs_native_stepper(native)};
	ASSERT_OK(hs_stack_walk_all(snapshot, target, steppers, 1));
	ASSERT_OK(hs_native_collect_locks(native));
	hs_native_close(native);
	hs_target_close(target);
	ASSERT_OK(hs_snapshot_seal(snapshot));
	return snapshot;
}

static uint32_t thread_of(const struct hs_snapshot *snapshot, enum role role)
{
	for (size_t i = 0; i < snapshot->threads.len; i++) {
		if (snapshot->threads.items[i].tid == atomic_load(&shared->tids[role]))
			return (uint32_t)i;
	}
	fail_msg("role %d has no thread", (int)role);
	return HS_NONE;
}

static const struct hs_edge *wait_of(const struct hs_snapshot *snapshot, enum role role)
{
	uint32_t thread = thread_of(snapshot, role);

	hs_vec_each (edge, &snapshot->waits) {
		if (edge->thread == thread)
			return edge;
	}
	fail_msg("role %d does not wait", (int)role);
	return NULL;
}

/** A stripped libc has no name for __pthread_once_slow(), and pthread_once() jumps to it. */
static bool is_named_libc(const struct hs_snapshot *snapshot)
{
	const struct hs_edge *wait = wait_of(snapshot, ONCE_WAIT);

	return strstr(snapshot->resources.items[wait->resource].label, "pthread_once_t");
}

/** The role waits for that object, and holder (NUM_ROLES: nobody) holds it. */
static const struct hs_resource *expect(const struct hs_snapshot *snapshot, enum role role,
                                        enum hs_resource_kind kind, const void *object,
                                        enum role holder)
{
	const struct hs_edge *wait = wait_of(snapshot, role);
	const struct hs_resource *resource = &snapshot->resources.items[wait->resource];
	const struct hs_edge *hold = NULL;

	assert_int_equal(resource->kind, kind);
	if (object)
		assert_int_equal(resource->address, (uintptr_t)object);
	assert_non_null(resource->label);
	assert_int_equal(wait->timed, role == TIMED || role == COND_TIMED);
	assert_int_equal(wait->shared, role == READ_BEHIND_WRITER);
	hs_vec_each (edge, &snapshot->holds) {
		if (edge->resource == wait->resource)
			hold = edge;
	}
	if (holder == NUM_ROLES) {
		assert_null(hold);
	} else {
		assert_non_null(hold);
		assert_int_equal(hold->thread, thread_of(snapshot, holder));
		// In a stripped libc the functions of these two have no name: only their layout
		// tells.
		if (is_named_libc(snapshot) || (role != ROBUST && role != TIMED))
			assert_int_equal(hold->certainty,
			                 holder == ONCE_RUN ? HS_INFERRED : HS_READ);
		else
			assert_true(hold->certainty >= HS_INFERRED);
		if (holder != ONCE_RUN) {
			assert_int_equal(resource->owner_tid, shared->tids[holder]);
			assert_int_not_equal(hold->words[0].size, 0);
		}
	}
	return resource;
}

static void check_locks(const struct hs_snapshot *snapshot)
{
	for (enum role role = CYCLE_A; role <= CYCLE_C; role++) {
		const struct hs_resource *mutex =
			expect(snapshot, role, HS_RES_PTHREAD_MUTEX, &test_cycle[(role + 1) % 3],
		               (role + 1) % 3);
		assert_int_equal(wait_of(snapshot, role)->certainty, HS_READ);
		assert_non_null(strstr(mutex->label, "test_cycle"));
	}
	expect(snapshot, SELF, HS_RES_PTHREAD_MUTEX, &self_mutex, SELF);
	expect(snapshot, RECURSIVE, HS_RES_PTHREAD_MUTEX, &recursive_mutex, HOLDER);
	expect(snapshot, INHERIT, HS_RES_PTHREAD_MUTEX, &inherit_mutex, HOLDER);
	expect(snapshot, READ_BEHIND_WRITER, HS_RES_PTHREAD_RWLOCK, &write_lock, HOLDER);
	expect(snapshot, WRITE_BEHIND_WRITER, HS_RES_PTHREAD_RWLOCK, &write_lock, HOLDER);
	expect(snapshot, WRITE_BEHIND_READER, HS_RES_PTHREAD_RWLOCK, &read_lock, NUM_ROLES);
	assert_int_equal(snapshot->gaps.len, 1); // whose read locks those are
	expect(snapshot, COND, HS_RES_PTHREAD_COND, &cond, NUM_ROLES);
	expect(snapshot, COND_TIMED, HS_RES_PTHREAD_COND, &cond, NUM_ROLES);
	expect(snapshot, SEM, HS_RES_SEMAPHORE, &sem, NUM_ROLES);
	expect(snapshot, JOIN, HS_RES_PTHREAD_JOIN, NULL, HOLDER);
	assert_int_equal(wait_of(snapshot, JOIN)->certainty, HS_READ);
	expect(snapshot, BARRIER, HS_RES_FUTEX, &barrier, NUM_ROLES);
	expect(snapshot, ONCE_WAIT, HS_RES_FUTEX, &once,
	       is_named_libc(snapshot) ? ONCE_RUN : NUM_ROLES);
	const struct hs_resource *stream =
		expect(snapshot, STREAM, HS_RES_PTHREAD_MUTEX, NULL, HOLDER);
	assert_non_null(strstr(stream->label, "stdout"));
	expect(snapshot, PLAIN_FUTEX, HS_RES_FUTEX, &plain_futex, NUM_ROLES);
	const struct hs_resource *fd = expect(snapshot, PIPE, HS_RES_FD, NULL, NUM_ROLES);
	assert_non_null(strstr(fd->label, "read from fd "));
	assert_non_null(strstr(fd->label, "pipe:["));
}

static void test_process(void **state)
{
	bool is_skipped;

	(void)state;
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
	              0);
	assert_ptr_not_equal(shared, MAP_FAILED);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (!pid)
		child();
	for (int i = 0; i < 3000 && !all_blocked(pid); i++)
		usleep(10000);
	assert_true(all_blocked(pid));
	struct hs_snapshot *snapshot = take_snapshot(pid, &is_skipped);
	if (snapshot) {
		check_locks(snapshot);
		// A stripped libc names the functions of these two only by their layout.
		expect(snapshot, ROBUST, HS_RES_PTHREAD_MUTEX, &robust_mutex, HOLDER);
		expect(snapshot, TIMED, HS_RES_PTHREAD_MUTEX, &timed_mutex, HOLDER);
	}
	hs_snapshot_destroy(snapshot);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	munmap(shared, sizeof(*shared));
	if (is_skipped)
		skip();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),         cmocka_unit_test(test_classify),
		cmocka_unit_test(test_mutex_layout),  cmocka_unit_test(test_cond_layouts),
		cmocka_unit_test(test_rwlock_layout), cmocka_unit_test(test_sem_and_barrier),
		cmocka_unit_test(test_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
