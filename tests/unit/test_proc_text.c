// SPDX-License-Identifier: Apache-2.0
/** @file Texts below /proc/PID, well-formed, hostile and cut. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <sys/sysmacros.h>

#include "core/base/cleanup.h"
#include "core/source/proc_text.h"

static struct hs_mapping *parse_maps(struct hs_arena *arena, const char *text, size_t *num_ret)
{
	struct hs_mapping *maps = NULL;
	bool cut = true;

	assert_null(hs_proc_text_maps(arena, text, strlen(text), &maps, num_ret, &cut));
	assert_false(cut);
	return maps;
}

static void maps_as_the_kernel_writes_them(void **state)
{
	(void)state;
	static const char text[] =
		"55d0c0000000-55d0c0002000 r--p 00000000 fe:01 1234                       /a b/c\n"
		"55d0c0002000-55d0c0004000 r-xp 00002000 fe:01 1234                       /a b/c\n"
		"55d0c0004000-55d0c0005000 rw-s 00000000 00:05 7                          "
		"/x\\012y (deleted)\n"
		"7f0000000000-7f0000001000 ---p 00000000 00:00 0 \n"
		"7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0                          [stack]\n"
		"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  "
		"[vsyscall]\n";
	hs_cleanup(hs_arena_destroyp) struct hs_arena *arena = hs_arena_create();
	size_t num;
	const struct hs_mapping *maps = parse_maps(arena, text, &num);

	assert_int_equal(num, 6);
	assert_int_equal(maps[0].start, 0x55d0c0000000);
	assert_int_equal(maps[0].end, 0x55d0c0002000);
	assert_int_equal(maps[0].prot, HS_PROT_READ);
	assert_int_equal(maps[0].dev, makedev(0xfe, 1));
	assert_int_equal(maps[0].inode, 1234);
	assert_string_equal(maps[0].path, "/a b/c");
	assert_int_equal(maps[1].offset, 0x2000);
	assert_int_equal(maps[1].prot, HS_PROT_READ | HS_PROT_EXEC);
	assert_ptr_equal(maps[1].path, maps[0].path);
	assert_string_equal(maps[2].path, "/x\ny (deleted)");
	assert_int_equal(maps[2].prot, HS_PROT_READ | HS_PROT_WRITE);
	assert_string_equal(maps[3].path, "");
	assert_int_equal(maps[3].prot, 0);
	assert_string_equal(maps[4].path, "[stack]");
	assert_int_equal(maps[5].end, 0xffffffffff601000);
	assert_int_equal(maps[5].module, UINT32_MAX);
}

static void maps_that_make_no_sense(void **state)
{
	(void)state;
	static const char text[] = "\n"
				   "garbage\n"
				   "1000-2000\n"
				   "1000-2000 r--\n"
				   "1000-0fff r--p 0 0:0 0\n"
				   "1000-3000 r--p 00000000 00:00 0 \n"
				   "2000-4000 r--p 00000000 00:00 0 \n"
				   "2000-3000 r--p 00000000 00:00 0 \n"
				   "11111111111111111-2 r--p 00000000 00:00 0 \n"
				   "-1000-2000 r--p 00000000 00:00 0 \n"
				   "5000-6000 r--p 00000000 00:00 0 /cut";
	hs_cleanup(hs_arena_destroyp) struct hs_arena *arena = hs_arena_create();
	size_t num;
	const struct hs_mapping *maps = parse_maps(arena, text, &num);

	assert_int_equal(num, 2);
	assert_int_equal(maps[0].end, 0x3000);
	assert_int_equal(maps[1].start, 0x3000);
	assert_int_equal(maps[1].end, 0x4000);
	parse_maps(arena, "", &num);
	assert_int_equal(num, 0);
}

static void stat_with_an_evil_name(void **state)
{
	(void)state;
	static const char text[] = "42 (a) R 1 (x) S 7 42 42 34816 42 4194304 100 0 3 0 11 22 0 0 "
				   "20 0 5 0 123 4567 89 18446744073709551615 1 1\n";
	struct hs_proc_stat stat;

	assert_true(hs_proc_text_stat(text, &stat));
	assert_string_equal(stat.comm, "a) R 1 (x");
	assert_int_equal(stat.state, 'S');
	assert_int_equal(stat.ppid, 7);
	assert_int_equal(stat.flags, 4194304);
	assert_int_equal(stat.utime, 11);
	assert_int_equal(stat.stime, 22);
	assert_int_equal(stat.num_threads, 5);

	assert_true(hs_proc_text_stat("1 (0123456789abcdefXYZ) D 0 0 0 0 -1 0 0 0 0 0 0 0 0 0 20 0 "
	                              "1 0\n",
	                              &stat));
	assert_string_equal(stat.comm, "0123456789abcde");
}

static void stat_that_is_none(void **state)
{
	(void)state;
	static const char *const texts[] = {"",
	                                    "1",
	                                    "1 (",
	                                    "1 )(",
	                                    "1 (a)",
	                                    "1 (a) ",
	                                    "1 (a) S 1 2 3 4 5",
	                                    "1 (a) S x 1 1 1 1 1 1 1 1 1 1 1"};
	struct hs_proc_stat stat = {.state = '!'};

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		assert_false(hs_proc_text_stat(texts[i], &stat));
	assert_int_equal(stat.state, '!');
}

static void syscall_lines(void **state)
{
	(void)state;
	struct hs_proc_syscall call;

	assert_true(hs_proc_text_syscall("running\n", &call));
	assert_true(call.running);
	assert_true(hs_proc_text_syscall("-1 0x7ffc0010 0x401000\n", &call));
	assert_false(call.running);
	assert_int_equal(call.nr, -1);
	assert_int_equal(call.sp, 0x7ffc0010);
	assert_int_equal(call.pc, 0x401000);
	assert_true(hs_proc_text_syscall(
		"202 0x1 0x80 0x2 0x0 0x5 0xffffffffffffffff 0x7f00 0x7f11", &call));
	assert_int_equal(call.nr, 202);
	assert_int_equal(call.args[5], UINT64_MAX);
	assert_int_equal(call.sp, 0x7f00);
	assert_int_equal(call.pc, 0x7f11);

	static const char *const bad[] = {
		"",        "-", "-2 0x1 0x2",        "202",
		"202 0x1", "x", "1 1 2 3 4 5 6 7 8", "-1 0x1 0x11111111111111111"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_false(hs_proc_text_syscall(bad[i], &call));
}

static void the_same_place(void **state)
{
	(void)state;
	struct hs_proc_syscall a = {.nr = 202, .sp = 1, .pc = 2}, b = a;

	assert_true(hs_proc_syscall_same(&a, &b));
	b.nr = 219;
	assert_true(hs_proc_syscall_same(&a, &b));
	assert_true(hs_proc_syscall_same(&b, &a));
	b.nr = 1;
	assert_false(hs_proc_syscall_same(&a, &b));
	a.nr = -1;
	b.nr = 219;
	assert_false(hs_proc_syscall_same(&a, &b));
	b = a;
	b.sp = 9;
	assert_false(hs_proc_syscall_same(&a, &b));
	b = a;
	b.running = true;
	assert_false(hs_proc_syscall_same(&a, &b));
	b = a;
	b.args[0] = 0x1000; // the same function waits for another lock
	assert_false(hs_proc_syscall_same(&a, &b));
	b = a;
	b.args[3] = 0x1000;
	assert_true(hs_proc_syscall_same(&a, &b));
}

static void status_fields(void **state)
{
	(void)state;
	static const char text[] = "Name:\tNSpid:\t9\n"
				   "TracerPid:\t17\n"
				   "Uid:\t1000\t0\t0\t0\n"
				   "NSpid:\t4711\t12\t1\n"
				   "CapEff:\t000001ffffffffff\n";
	uint64_t value;
	size_t count;

	assert_true(hs_proc_text_status(text, "TracerPid", 10, &value));
	assert_int_equal(value, 17);
	assert_true(hs_proc_text_status(text, "Uid", 10, &value));
	assert_int_equal(value, 1000);
	assert_true(hs_proc_text_status(text, "CapEff", 16, &value));
	assert_int_equal(value, 0x1ffffffffff);
	assert_true(hs_proc_text_status_last(text, "NSpid", &value, &count));
	assert_int_equal(value, 1);
	assert_int_equal(count, 3);
	assert_false(hs_proc_text_status(text, "Pid", 10, &value));
	assert_false(hs_proc_text_status("", "Pid", 10, &value));
	assert_false(hs_proc_text_status_last("NSpid:\n", "NSpid", &value, &count));
}

static void arguments(void **state)
{
	(void)state;
	hs_cleanup(hs_arena_destroyp) struct hs_arena *arena = hs_arena_create();
	const char *const *args = hs_proc_text_args(arena, "java\0\0-jar\0x", 12);

	assert_string_equal(args[0], "java");
	assert_string_equal(args[1], "");
	assert_string_equal(args[2], "-jar");
	assert_string_equal(args[3], "x");
	assert_null(args[4]);
	assert_null(hs_proc_text_args(arena, "", 0)[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(maps_as_the_kernel_writes_them),
		cmocka_unit_test(maps_that_make_no_sense),
		cmocka_unit_test(stat_with_an_evil_name),
		cmocka_unit_test(stat_that_is_none),
		cmocka_unit_test(syscall_lines),
		cmocka_unit_test(the_same_place),
		cmocka_unit_test(status_fields),
		cmocka_unit_test(arguments),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
