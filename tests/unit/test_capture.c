// SPDX-License-Identifier: Apache-2.0
/** @file Snapshots: what is written is what is read, and hostile notes are bounded. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/capture/capture_internal.h"
#include "core/source/snapshot_note.h"
#include "tests/support/core_writer.h"
#include "tests/support/live_target.h"

// ---- Round trip

static struct hs_target *reopen(struct hs_target *live, const struct hs_second_look *look,
                                char path[static 32])
{
	const struct hs_capture_options options = {.path = path, .tool = "test"};
	struct hs_capture_result result;
	struct hs_target *target = NULL;

	assert_null(hs_capture_write(live, look, &options, NULL, &result));
	assert_true(result.was_written);
	assert_true(result.memory > 0 && result.memory < result.bytes);
	assert_null(hs_target_open_core(path, NULL, &target));
	return target;
}

static void same_threads(const struct hs_target *a, const struct hs_target *b)
{
	size_t num, other;
	const struct hs_lwp *x = hs_target_lwps(a, &num), *y = hs_target_lwps(b, &other);

	assert_int_equal(num, other);
	for (size_t i = 0; i < num; i++) {
		assert_int_equal(x[i].tid, y[i].tid);
		assert_int_equal(x[i].host_tid, y[i].host_tid);
		assert_int_equal(x[i].has_regs, y[i].has_regs);
		assert_memory_equal(&x[i].regs, &y[i].regs, sizeof(x[i].regs));
		assert_int_equal(x[i].thread_pointer, y[i].thread_pointer);
		assert_int_equal(x[i].in_syscall, y[i].in_syscall);
		assert_int_equal(x[i].syscall_nr, y[i].syscall_nr);
		assert_memory_equal(x[i].syscall_args, y[i].syscall_args,
		                    sizeof(x[i].syscall_args));
		assert_int_equal(x[i].state, y[i].state);
		assert_string_equal(x[i].comm, y[i].comm);
		assert_int_equal(x[i].cpu_ms, y[i].cpu_ms);
		assert_int_equal(x[i].cpu_ns, y[i].cpu_ns);
	}
}

static void what_was_read_is_there(void **state)
{
	(void)state;
	static const char *const confirmed[] = {"a T1/2", "b", NULL}, *const dropped[] = {NULL};
	const struct hs_second_look look = {confirmed, dropped};
	const struct hs_open_options options = {.record = true, .exact_cpu = true};
	struct live_target fixture = live_target_start(0);
	struct hs_target *live = live_target_open(fixture.pid, &options);
	const struct hs_target_info *info = hs_target_info(live);
	char path[32] = "/tmp/hs-capture-XXXXXX";
	uint64_t marker = 0, far;
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_null(hs_target_read_u64(live, fixture.shared->marker, &marker));
	const char *pipe = hs_target_fd_link(live, fixture.pipe[0]);
	assert_non_null(pipe);
	struct hs_target *core = reopen(live, &look, path);
	const struct hs_target_info *again = hs_target_info(core);

	assert_int_equal(again->kind, HS_TARGET_SNAPSHOT);
	assert_int_equal(again->pid, info->pid);
	assert_string_equal(again->exe, info->exe);
	assert_string_equal(again->args[0], info->args[0]);
	assert_string_equal(again->host, info->host);
	assert_int_equal(again->captured_ns, info->captured_ns);
	assert_int_equal(again->captured_ms, info->captured_ms);
	assert_true(again->pause_ms == info->pause_ms && again->ran_on);
	assert_string_equal(again->second_look->confirmed[1], "b");
	assert_null(again->second_look->dropped[0]);
	assert_string_equal(hs_target_fd_link(core, fixture.pipe[0]), pipe);
	assert_null(hs_target_fd_link(core, 999));
	same_threads(live, core);

	uint64_t read = 0;
	assert_null(hs_target_read_u64(core, fixture.shared->marker, &read));
	assert_int_equal(read, MARKER);
	// Far behind the heap.
	struct hs_err *err = hs_target_read_u64(core, fixture.shared->marker + (64 << 20), &far);
	assert_non_null(err);
	assert_int_equal(hs_err_code(err), HS_ERR_FAULT);
	hs_err_free(err);

	hs_target_close(core);
	hs_target_close(live);
	live_target_assert_untouched(&fixture);
	live_target_end(&fixture);
	close(fd);
	unlink(path);
}

static void only_what_was_recorded(void **state)
{
	(void)state;
	const struct hs_capture_options options = {.path = "/tmp/none", .tool = "test"};
	struct live_target fixture = live_target_start(0);
	struct hs_target *live = live_target_open(fixture.pid, NULL);
	struct hs_capture_result result;
	struct hs_err *err = hs_capture_write(live, NULL, &options, NULL, &result);

	assert_non_null(err);
	assert_int_equal(hs_err_code(err), HS_ERR_USAGE);
	hs_err_free(err);
	hs_target_close(live);
	live_target_end(&fixture);
}

// ---- Segments

static void add_page(struct hs_page_store *store, uint64_t number)
{
	uint8_t bytes[HS_STORE_PAGE] = {(uint8_t)number};

	assert_non_null(hs_page_store_add(store, number, bytes));
}

static void check_segment(const struct hs_capture_segment *segment, uint64_t start, uint64_t filesz,
                          uint64_t memsz)
{
	assert_int_equal(segment->start, start * HS_STORE_PAGE);
	assert_int_equal(segment->filesz, filesz * HS_STORE_PAGE);
	assert_int_equal(segment->memsz, memsz * HS_STORE_PAGE);
}

static void plan(void **state)
{
	(void)state;
	const struct hs_mapping mappings[] = {
		{.start = 0x10000, .end = 0x20000,       .prot = HS_PROT_READ, .path = ""      },
		{.start = 0x20000, .end = 0x22000,       .prot = HS_PROT_READ, .path = "[vvar]"},
		{.start = 0x30000, .end = 0x31000,       .path = ""          },
		{.start = 0x40000,  .end = 0x50000, .prot = HS_PROT_READ,           .path = ""                },
	};
	const struct hs_capture_range whole[] = {
		{0x42000, 0x44000},
                {0x45000, 0x46000}
        };
	struct hs_source source = {
		.record = hs_page_store_create(),
		.modules = {.mappings = mappings, .num_mappings = 4},
	};
	struct hs_capture_segments segments = {0};

	// Out of order; one in the vvar, one in no mapping, one between two whole ranges.
	static const uint64_t numbers[] = {0x44, 0x12, 0x11, 0x1f, 0x20, 0x60, 0x16};
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		add_page(source.record, numbers[i]);
	hs_page_store_sort(source.record);
	assert_null(hs_capture_plan(&source, whole, 2, &segments));
	assert_int_equal(segments.num, 9);
	check_segment(&segments.items[0], 0x10, 0, 1);
	check_segment(&segments.items[1], 0x11, 2, 5);
	check_segment(&segments.items[2], 0x16, 1, 9);
	check_segment(&segments.items[3], 0x1f, 1, 1);
	check_segment(&segments.items[4], 0x20, 1, 1);
	check_segment(&segments.items[5], 0x30, 0, 1);
	check_segment(&segments.items[6], 0x40, 0, 2);
	check_segment(&segments.items[7], 0x42, 4, 14);
	check_segment(&segments.items[8], 0x60, 1, 1);
	assert_int_equal(segments.filesz, 10 * HS_STORE_PAGE);
	free(segments.items);
	hs_page_store_destroy(source.record);
}

// ---- Notes

static void texts_that_are_no_utf8(void **state)
{
	(void)state;
	struct hs_arena *arena = hs_arena_create();
	struct hs_lwp lwp = {
		.tid = 7, .state = 'S', .comm = "a\xff\x01\xc3", .cpu_ms = 5, .cpu_ns = -1};
	struct hs_snapshot_notes notes = {0};
	char *text = hs_snapshot_note_thread(&lwp);

	assert_non_null(text);
	hs_snapshot_note_read_thread(arena, text, strlen(text), &notes);
	assert_int_equal(notes.num_bad, 0);
	assert_int_equal(notes.threads.len, 1);
	assert_string_equal(notes.threads.items[0].comm, lwp.comm);
	assert_int_equal(notes.threads.items[0].cpu_ms, 5);
	assert_false(notes.threads.items[0].in_syscall);
	free(text);
	hs_arena_destroy(arena);
}

/** A kernel's stack of 64 functions with long names is read back, and no text is beyond the bound.
 */
static void kernel_stacks(void **state)
{
	(void)state;
	struct hs_arena *arena = hs_arena_create();
	char stack[4096];
	struct hs_lwp lwp = {.tid = 7, .state = 'D', .wchan = "kernel_clone"};
	struct hs_snapshot_notes notes = {0};

	memset(stack, 'f', sizeof(stack) - 1);
	for (size_t i = 63; i < sizeof(stack) - 1; i += 64)
		stack[i] = '\n';
	stack[sizeof(stack) - 1] = '\0';
	lwp.kernel_stack = stack;
	hs_cleanup(hs_freep) char *text = hs_snapshot_note_thread(&lwp);
	assert_non_null(text);
	assert_true(strlen(text) <= HS_SNAPSHOT_MAX_THREAD);
	hs_snapshot_note_read_thread(arena, text, strlen(text), &notes);
	assert_int_equal(notes.num_bad, 0);
	assert_string_equal(notes.threads.items[0].wchan, "kernel_clone");
	assert_string_equal(notes.threads.items[0].kernel_stack, stack);
	memset(stack, '\xff', sizeof(stack) - 1); // the longest that the note can become
	hs_cleanup(hs_freep) char *odd = hs_snapshot_note_thread(&lwp);
	assert_true(odd && strlen(odd) <= HS_SNAPSHOT_MAX_THREAD);
	hs_arena_destroy(arena);
}

static void hostile_threads(void **state)
{
	(void)state;
	static const char *const texts[] = {
		"",
		"{",
		"[]",
		"{}",
		"{\"tid\":0}",
		"{\"tid\":-1}",
		"{\"tid\":99999999999}",
		"{\"tid\":\"7\"}",
		"{\"tid\":1e3}",
		"\xff\xfe",
		"[[[[[[[[[[[[[[[[[[[[",
	};
	static const char *const odd = "{\"tid\":7,\"host_tid\":-3,\"state\":\"\",\"comm\":\"a "
				       "name longer than sixteen bytes\","
				       "\"cpu_ms\":-9,\"valid\":-1,\"why_no_regs\":{\"hex\":\"0g\"}"
				       ",\"syscall\":99999999999,"
				       "\"syscall_args\":7}";
	struct hs_arena *arena = hs_arena_create();
	struct hs_snapshot_notes notes = {0};
	size_t num = sizeof(texts) / sizeof(texts[0]);

	for (size_t i = 0; i < num; i++)
		hs_snapshot_note_read_thread(arena, texts[i], strlen(texts[i]), &notes);
	assert_int_equal(notes.threads.len, 0);
	assert_int_equal(notes.num_bad >= num, 1);
	hs_snapshot_note_read_thread(arena, odd, strlen(odd), &notes);
	assert_int_equal(notes.threads.len, 1);
	const struct hs_lwp *lwp = &notes.threads.items[0];
	assert_int_equal(lwp->host_tid, 0);
	assert_int_equal(lwp->state, '?');
	assert_int_equal(strlen(lwp->comm), sizeof(lwp->comm) - 1);
	assert_int_equal(lwp->cpu_ms, -1);
	assert_int_equal(lwp->regs.valid, 0);
	assert_null(lwp->why_no_regs);
	assert_int_equal(lwp->syscall_nr, -1);
	hs_arena_destroy(arena);
}

static void hostile_process(void **state)
{
	(void)state;
	static const char odd[] =
		"{\"format\":1,\"pid\":-4,\"args\":[1,null,{\"hex\":\"00\"},\"x\"],\"gaps\":[[],[1,"
		"2,3],"
		"[\"a\",\"b\",\"c\",4],7],\"fds\":[[\"x\",\"y\"],[-1,\"z\"],[9,\"nine\"],[3,"
		"\"three\"]],"
		"\"pause_ms\":1e300,\"capture\":77,\"confirmed\":{},\"dropped\":7}";
	struct hs_arena *arena = hs_arena_create();
	struct hs_snapshot_notes notes = {0};

	hs_snapshot_note_read_process(arena, "null", 4, &notes);
	assert_false(notes.present);
	hs_snapshot_note_read_process(arena, odd, sizeof(odd) - 1, &notes);
	assert_true(notes.present);
	assert_int_equal(notes.info.pid, 0);
	assert_string_equal(notes.info.args[0], "x");
	assert_null(notes.info.args[1]);
	assert_int_equal(notes.gaps.len, 1);
	assert_int_equal(notes.fd_links.len, 2);
	assert_int_equal(notes.fd_links.items[0].fd, 3);
	assert_true(notes.info.pause_ms < 0);
	assert_int_equal(notes.info.capture, HS_CAPTURE_NONE);
	assert_null(notes.second_look.confirmed[0]);

	size_t bad = notes.num_bad;
	hs_snapshot_note_read_process(arena, odd, sizeof(odd) - 1, &notes);
	assert_int_equal(notes.num_bad, bad + 1); // there is one
	hs_arena_destroy(arena);
}

/** A thread without registers, one without a note, and a note of a later version. */
static void threads_of_both(void **state)
{
	(void)state;
	static const char process[] = "{\"format\":1,\"pid\":10,\"ran_on\":true,\"pause_ms\":2.5}";
	static const char lost[] = "{\"tid\":12,\"comm\":\"lost\",\"why_no_regs\":\"it ran\"}";
	static const char part[] = "{\"tid\":10,\"comm\":\"part\",\"state\":\"S\",\"valid\":65664}";
	static const char newer[] = "{\"format\":99}";
	struct hs_core_writer *writer = hs_core_writer_create();
	struct user_regs_struct regs = {.rsp = 0x1000, .rip = 0x2000, .orig_rax = -1};
	struct hs_target *target = NULL;
	size_t num;

	hs_core_writer_thread(writer, 10, &regs, 0, false);
	hs_core_writer_thread(writer, 11, &regs, 0, false);
	hs_core_writer_note(writer, "HANGSCOPE", HS_SNAPSHOT_PROCESS, process, sizeof(process) - 1);
	hs_core_writer_note(writer, "HANGSCOPE", HS_SNAPSHOT_THREAD, lost, sizeof(lost) - 1);
	hs_core_writer_note(writer, "HANGSCOPE", HS_SNAPSHOT_THREAD, part, sizeof(part) - 1);
	hs_core_writer_note(writer, "HANGSCOPE", 77, part, sizeof(part) - 1);
	assert_null(hs_target_open_core(hs_core_writer_file_of_core(writer), NULL, &target));
	const struct hs_lwp *lwps = hs_target_lwps(target, &num);
	assert_int_equal(num, 3);
	assert_true(lwps[0].has_regs && lwps[0].regs.valid == 65664);
	assert_string_equal(lwps[0].comm, "part");
	assert_true(lwps[1].has_regs && hs_regs_has(&lwps[1].regs, HS_REG_R15));
	assert_false(lwps[2].has_regs);
	assert_string_equal(lwps[2].why_no_regs, "it ran");
	assert_true(hs_target_info(target)->pause_ms == 2.5);
	hs_target_close(target);
	hs_core_writer_destroy(writer);

	writer = hs_core_writer_create();
	hs_core_writer_thread(writer, 10, &regs, 0, false);
	hs_core_writer_note(writer, "HANGSCOPE", HS_SNAPSHOT_PROCESS, newer, sizeof(newer) - 1);
	assert_null(hs_target_open_core(hs_core_writer_file_of_core(writer), NULL, &target));
	const struct hs_target_gap *gaps = hs_target_gaps(target, &num);
	assert_non_null(strstr(gaps[num - 1].reason, "a newer hangscope"));
	assert_int_equal(hs_target_info(target)->kind, HS_TARGET_SNAPSHOT);
	hs_target_close(target);
	hs_core_writer_destroy(writer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_read_is_there),
		cmocka_unit_test(only_what_was_recorded),
		cmocka_unit_test(plan),
		cmocka_unit_test(texts_that_are_no_utf8),
		cmocka_unit_test(kernel_stacks),
		cmocka_unit_test(hostile_threads),
		cmocka_unit_test(hostile_process),
		cmocka_unit_test(threads_of_both),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
