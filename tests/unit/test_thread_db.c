// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * libthread_db over our proc_service, and the descriptors without it: on a real child process, and
 * on an image of our own libc whose descriptors, lists and sizes are lies.
 */

#define _GNU_SOURCE 1 // dl_iterate_phdr, gettid

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gnu/libc-version.h>

#include "core/native/native.h"
#include "core/native/native_internal.h"
#include "core/native/thread_db.h"
#include "tests/support/fake_target.h"

#define ASSERT_OK(call)                                       \
	do {                                                  \
		struct hs_err *err_ = (call);                 \
		if (err_)                                     \
			fail_msg("%s", hs_err_message(err_)); \
	} while (0)

// AddressSanitizer starts threads by a function of its own.
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HS_STARTS_INDIRECTLY 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define HS_STARTS_INDIRECTLY 1
#endif

// ---- a real child

enum {
	NUM_WORKERS = 3
};

struct shared {
	pid_t tids[NUM_WORKERS];
	hs_addr pthreads[NUM_WORKERS], tls[NUM_WORKERS];
};

static struct shared *shared;
static _Thread_local int tls_variable = 42;
static int ready_pipe[2];

void *test_worker(void *arg);

void *test_worker(void *arg)
{
	size_t i = (size_t)arg;

	shared->tids[i] = gettid();
	shared->pthreads[i] = (uintptr_t)pthread_self();
	shared->tls[i] = (uintptr_t)&tls_variable;
	if (write(ready_pipe[1], "x", 1) != 1)
		_exit(1);
	for (;;)
		pause();
	return NULL;
}

static pid_t start_child(void)
{
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
	              0);
	assert_ptr_not_equal(shared, MAP_FAILED);
	assert_int_equal(pipe(ready_pipe), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid) {
		char c;
		for (size_t i = 0; i < NUM_WORKERS; i++)
			assert_int_equal(read(ready_pipe[0], &c, 1), 1);
		return pid;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (size_t i = 0; i < NUM_WORKERS; i++) {
		pthread_t thread;
		if (pthread_create(&thread, NULL, test_worker, (void *)i))
			_exit(1);
	}
	for (;;)
		pause();
}

static void stop_child(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(ready_pipe[0]);
	close(ready_pipe[1]);
	munmap(shared, sizeof(*shared));
}

struct opened {
	struct hs_target *target;
	struct hs_snapshot *snapshot;
	struct hs_native *native;
};

static struct opened open_native(struct hs_target *target)
{
	struct opened opened = {.target = target, .snapshot = hs_snapshot_create()};
	const struct hs_native_options options = {0};

	assert_non_null(opened.snapshot);
	ASSERT_OK(hs_native_open(target, opened.snapshot, &options, &opened.native));
	return opened;
}

static void close_native(struct opened *opened)
{
	hs_native_close(opened->native);
	hs_snapshot_destroy(opened->snapshot);
}

/** The offset of tls_variable in the executable's TLS block: the first module reported. */
static int exe_tls(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)size;
	*(uint64_t *)arg = (uintptr_t)&tls_variable - (uintptr_t)info->dlpi_tls_data;
	return 1;
}

static void check_thread_db(struct hs_native *native)
{
	const struct hs_td_thread *threads;
	struct hs_thread_db *db;
	size_t count, found = 0;
	uint64_t offset;

	ASSERT_OK(hs_thread_db_open(native, &db));
	ASSERT_OK(hs_thread_db_threads(db, &threads, &count));
	assert_int_equal(count, NUM_WORKERS + 1);
	dl_iterate_phdr(exe_tls, &offset);
	for (size_t i = 0; i < count; i++) {
		for (size_t j = 0; j < NUM_WORKERS; j++) {
			hs_addr addr;

			if (threads[i].tid != shared->tids[j])
				continue;
			found++;
			assert_int_equal(threads[i].pthread, shared->pthreads[j]);
#ifndef HS_STARTS_INDIRECTLY
			assert_int_equal(threads[i].start_routine, (uintptr_t)test_worker);
#endif
			ASSERT_OK(hs_thread_db_tls(db, threads[i].pthread,
			                           (uintptr_t)_r_debug.r_map, offset, &addr));
			assert_int_equal(addr, shared->tls[j]);
		}
	}
	assert_int_equal(found, NUM_WORKERS);
	hs_thread_db_close(db);
}

static void check_threads(struct opened *opened, pid_t pid)
{
	const struct hs_snapshot *snapshot = opened->snapshot;

	ASSERT_OK(hs_native_collect_threads(opened->native));
	assert_int_equal(snapshot->threads.len, NUM_WORKERS + 1);
	assert_int_equal(snapshot->gaps.len, 0);
	for (size_t i = 0; i < NUM_WORKERS; i++) {
		uint32_t index = hs_snapshot_thread_by_tid(snapshot, shared->tids[i]);
		assert_int_not_equal(index, HS_NONE);
		const struct hs_thread *thread = &snapshot->threads.items[index];
		assert_int_equal(thread->pthread, shared->pthreads[i]);
#ifndef HS_STARTS_INDIRECTLY
		assert_string_equal(thread->start_routine, "test_worker");
#endif
		assert_non_null(thread->start_routine);
		assert_string_equal(thread->syscall, "pause()");
		assert_string_equal(thread->state, "sleeping");
	}
	uint32_t main_index = hs_snapshot_thread_by_tid(snapshot, pid);
	assert_int_not_equal(main_index, HS_NONE);
	assert_string_equal(snapshot->threads.items[main_index].start_routine, "main");
}

/** They said that they are ready just before they pause(). */
static void wait_until_asleep(pid_t pid)
{
	for (size_t i = 0; i < NUM_WORKERS; i++) {
		char path[64], text[256] = "";

		snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", pid, shared->tids[i]);
		while (!strstr(text, ") S ")) {
			FILE *file = fopen(path, "re");
			assert_non_null(file);
			assert_non_null(fgets(text, sizeof(text), file));
			fclose(file);
			usleep(1000);
		}
	}
}

static void test_child(void **state)
{
	const struct hs_open_options options = {0};
	struct hs_target *target = NULL;

	(void)state;
	pid_t pid = start_child();
	wait_until_asleep(pid);
	struct hs_err *err = hs_target_open_pid(pid, &options, &target);
	if (err && hs_err_errno(err) == EPERM) {
		print_message("skipped: ptrace is not permitted here\n");
		hs_err_free(err);
		stop_child(pid);
		skip();
	}
	ASSERT_OK(err);
	struct opened opened = open_native(target);
	struct hs_pthread_layout layout;
	ASSERT_OK(hs_pthread_layout_read(opened.native, &layout));
	assert_true(layout.tid < layout.size && layout.start_routine < layout.size);
	unsigned minor = (unsigned)strtoul(strchr(gnu_get_libc_version(), '.') + 1, NULL, 10);
	assert_int_equal(hs_glibc_minor(opened.native), minor);
	check_thread_db(opened.native);
	check_threads(&opened, pid);
	close_native(&opened);
	hs_target_close(target);
	stop_child(pid);
}

// ---- an image of libc that lies

enum {
	BIAS = 0x10000000,
	RTLD_GLOBAL_AT = 0x20000000,
	NODE_A = 0x30000000,
	NODE_B = 0x30010000,
	PTHREAD_ROOM = 0x4000,
	FAKE_TID = 100,
	FAKE_START = 0x1234,
};

struct image {
	struct hs_fake *fake;
	struct opened opened;
};

static hs_addr symbol(struct image *image, const char *name)
{
	hs_addr addr;

	ASSERT_OK(hs_libc_lookup(image->opened.native, name, &addr));
	return addr;
}

static uint32_t value32(struct image *image, hs_addr addr)
{
	uint32_t value;

	ASSERT_OK(hs_target_read_u32(image->opened.target, addr, &value));
	return value;
}

static uint32_t field_offset(struct image *image, const char *name)
{
	return value32(image, symbol(image, name) + 8);
}

/** Copy the segments of a file to where a loader would put them. */
static hs_addr load_segments(struct hs_fake *fake, int fd)
{
	Elf64_Ehdr ehdr;
	Elf64_Phdr phdr;
	hs_addr end = 0;

	assert_int_equal(pread(fd, &ehdr, sizeof(ehdr), 0), sizeof(ehdr));
	for (unsigned i = 0; i < ehdr.e_phnum; i++) {
		off_t at = (off_t)(ehdr.e_phoff + i * sizeof(phdr));

		assert_int_equal(pread(fd, &phdr, sizeof(phdr), at), sizeof(phdr));
		if (phdr.p_type != PT_LOAD)
			continue;
		char *bytes = calloc(1, phdr.p_memsz);
		assert_non_null(bytes);
		assert_int_equal(pread(fd, bytes, phdr.p_filesz, (off_t)phdr.p_offset),
		                 phdr.p_filesz);
		hs_fake_memory(fake, BIAS + phdr.p_vaddr, bytes, phdr.p_memsz);
		free(bytes);
		end = BIAS + phdr.p_vaddr + phdr.p_memsz;
	}
	return end;
}

/** One honest thread: on the list of user stacks, tid and start routine set. */
static void make_thread(struct image *image)
{
	uint32_t user = field_offset(image, "_thread_db_rtld_global__dl_stack_user");
	uint32_t used = field_offset(image, "_thread_db_rtld_global__dl_stack_used");
	uint32_t list = field_offset(image, "_thread_db_pthread_list");

	hs_fake_fill(image->fake, RTLD_GLOBAL_AT, 0, 0x4000);
	hs_fake_fill(image->fake, NODE_A, 0, PTHREAD_ROOM);
	hs_fake_u64(image->fake, symbol(image, "__nptl_rtld_global"), RTLD_GLOBAL_AT);
	hs_fake_u64(image->fake, RTLD_GLOBAL_AT + user, NODE_A + list);
	hs_fake_u64(image->fake, RTLD_GLOBAL_AT + used, RTLD_GLOBAL_AT + used);
	hs_fake_u64(image->fake, NODE_A + list, RTLD_GLOBAL_AT + user);
	hs_fake_u32(image->fake, NODE_A + field_offset(image, "_thread_db_pthread_tid"), FAKE_TID);
	hs_fake_u64(image->fake, NODE_A + field_offset(image, "_thread_db_pthread_start_routine"),
	            FAKE_START);
}

static int setup_image_called(void **state, const char *path)
{
	static struct image image;
	struct hs_regs regs = {0};
	Dl_info info;

	assert_true(dladdr((void *)(uintptr_t)gnu_get_libc_version, &info));
	int fd = open(info.dli_fname, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	image.fake = hs_fake_create();
	hs_addr end = load_segments(image.fake, fd);
	hs_fake_module(image.fake, path, BIAS, end, BIAS, fd);
	close(fd);
	hs_fake_lwp(image.fake, FAKE_TID, &regs)->thread_pointer = NODE_A;
	image.opened = open_native(hs_fake_target(image.fake));
	make_thread(&image);
	*state = &image;
	return 0;
}

static int setup_image(void **state)
{
	return setup_image_called(state, "/lib/libc.so.6");
}

/** Up to 2.33: two libraries, and the maps show the names of the files behind the links. */
static int setup_versioned(void **state)
{
	return setup_image_called(state, "/lib/x86_64-linux-gnu/libpthread-2.31.so");
}

static int teardown_image(void **state)
{
	struct image *image = *state;

	close_native(&image->opened);
	hs_fake_destroy(image->fake);
	return 0;
}

/** Both ways must end, without a crash, whatever they find. @return threads of libthread_db. */
static size_t survive(struct image *image)
{
	const struct hs_td_thread *threads;
	struct hs_thread_db *db;
	struct hs_pthread_layout layout;
	size_t count = 0;

	struct hs_err *err = hs_thread_db_open(image->opened.native, &db);
	if (!err) {
		err = hs_thread_db_threads(db, &threads, &count);
		hs_thread_db_close(db);
	}
	hs_err_free(err);
	hs_err_free(hs_pthread_layout_read(image->opened.native, &layout));
	return count;
}

static void test_image(void **state)
{
	struct image *image = *state;
	struct hs_snapshot *snapshot = image->opened.snapshot;

	assert_int_equal(survive(image), 1);
	ASSERT_OK(hs_native_collect_threads(image->opened.native));
	assert_int_equal(snapshot->threads.len, 1);
	assert_int_equal(snapshot->threads.items[0].pthread, NODE_A);
	assert_int_equal(snapshot->gaps.len, 0);
}

/** The version differs: libthread_db refuses, the descriptors still tell. */
static void test_other_version(void **state)
{
	struct image *image = *state;
	struct hs_snapshot *snapshot = image->opened.snapshot;

	hs_fake_cstr(image->fake, symbol(image, "__nptl_version"), "2.99");
	assert_int_equal(survive(image), 0);
	assert_int_equal(hs_glibc_minor(image->opened.native), 99);
	ASSERT_OK(hs_native_collect_threads(image->opened.native));
	assert_int_equal(snapshot->threads.items[0].pthread, NODE_A);
	assert_int_equal(snapshot->gaps.len, 0);
}

/** A tid that is not this thread's: not its structure. Nothing is left: one gap. */
static void test_nothing_known(void **state)
{
	struct image *image = *state;
	struct hs_snapshot *snapshot = image->opened.snapshot;

	hs_fake_u32(image->fake, symbol(image, "_thread_db_sizeof_pthread"), UINT32_MAX);
	assert_int_equal(survive(image), 0);
	ASSERT_OK(hs_native_collect_threads(image->opened.native));
	assert_int_equal(snapshot->threads.items[0].pthread, 0);
	assert_null(snapshot->threads.items[0].start_routine);
	assert_int_equal(snapshot->gaps.len, 1);
}

static void test_circular_list(void **state)
{
	struct image *image = *state;
	uint32_t list = field_offset(image, "_thread_db_pthread_list");

	hs_fake_fill(image->fake, NODE_B, 0, PTHREAD_ROOM);
	hs_fake_u64(image->fake, NODE_A + list, NODE_B + list);
	hs_fake_u64(image->fake, NODE_B + list, NODE_A + list);
	assert_true(survive(image) < 100000);
}

static void test_hostile_fields(void **state)
{
	static const char *const names[] = {
		"_thread_db_pthread_tid",
		"_thread_db_pthread_start_routine",
		"_thread_db_pthread_list",
		"_thread_db_pthread_schedpolicy",
		"_thread_db_pthread_cancelhandling",
		"_thread_db_pthread_report_events",
		"_thread_db_pthread_eventbuf_eventmask_event_bits",
		"_thread_db_list_t_next",
		"_thread_db_rtld_global__dl_stack_user",
	};
	static const uint32_t values[] = {0,          1,          7,          64,   2368,
	                                  0x7fffffff, 0x80000000, 0xffffffff, 65535};
	struct image *image = *state;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		hs_addr addr = symbol(image, names[i]);

		for (size_t word = 0; word < 3; word++) {
			uint32_t honest = value32(image, addr + word * 4);

			for (size_t j = 0; j < sizeof(values) / sizeof(values[0]); j++) {
				hs_fake_u32(image->fake, addr + word * 4, values[j]);
				survive(image);
			}
			hs_fake_u32(image->fake, addr + word * 4, honest);
		}
	}
	assert_int_equal(survive(image), 1);
}

static void test_hostile_sizes(void **state)
{
	static const uint32_t values[] = {0, 1, 16, 255, 700, 65537, 0x7fffffff, 0xffffffff};
	struct image *image = *state;
	hs_addr addr = symbol(image, "_thread_db_sizeof_pthread");

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		hs_fake_u32(image->fake, addr, values[i]);
		assert_int_equal(survive(image), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_child),
		cmocka_unit_test_setup_teardown(test_image, setup_image, teardown_image),
		cmocka_unit_test_setup_teardown(test_other_version, setup_image, teardown_image),
		cmocka_unit_test_setup_teardown(test_other_version, setup_versioned,
	                                        teardown_image),
		cmocka_unit_test_setup_teardown(test_nothing_known, setup_image, teardown_image),
		cmocka_unit_test_setup_teardown(test_circular_list, setup_image, teardown_image),
		cmocka_unit_test_setup_teardown(test_hostile_fields, setup_image, teardown_image),
		cmocka_unit_test_setup_teardown(test_hostile_sizes, setup_image, teardown_image),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
