// SPDX-License-Identifier: Apache-2.0
/** @file Target: typed reads, strings, the page cache, what it asks of a source. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/source/source.h"
#include "core/target.h"
#include "tests/support/fake_target.h"

enum {
	PAGE = 4096,
	BASE = 0x10000000,
	SIZE = 64 << 20,
};

#define CLEAN_FAKE hs_cleanup(fake_destroyp) struct hs_fake *
#define CLEAN_ARENA hs_cleanup(hs_arena_destroyp) struct hs_arena *

static void fake_destroyp(struct hs_fake **fake)
{
	hs_fake_destroy(*fake);
}

static void must(struct hs_err *err)
{
	if (err)
		fail_msg("%s", hs_err_message(err));
}

static void assert_fault(struct hs_err *err)
{
	assert_ptr_equal(err, hs_err_fault());
}

// ---- a source that counts: SIZE - 100 bytes at BASE, each word is its own address

struct counter {
	struct hs_source base;
	size_t reads, bytes, *closed;
};

static struct hs_err *counter_read(struct hs_source *source, hs_addr addr, void *buf, size_t len)
{
	struct counter *counter = (struct counter *)source;
	uint8_t *out = buf;

	counter->reads++;
	counter->bytes += len;
	for (size_t i = 0; i < len; i++, addr++) {
		uint64_t word = addr & ~UINT64_C(7);

		if (!hs_addr_in(addr, BASE, BASE + SIZE - 100))
			return hs_err_fault();
		out[i] = ((const uint8_t *)&word)[addr % 8];
	}
	return NULL;
}

static struct hs_err *counter_read_now(struct hs_source *source, hs_addr addr, void *buf,
                                       size_t len)
{
	(void)source;
	(void)addr;
	memset(buf, 0xee, len);
	return NULL;
}

static void counter_close(struct hs_source *source)
{
	++*((struct counter *)source)->closed;
	free(source);
}

static const struct hs_source_ops counter_ops = {
	.name = "counter",
	.read = counter_read,
	.read_now = counter_read_now,
	.close = counter_close,
};

static struct counter *counter_new(size_t *closed)
{
	struct counter *counter = calloc(1, sizeof(*counter));

	assert_non_null(counter);
	counter->base.ops = &counter_ops;
	counter->base.arena = hs_arena_create();
	counter->base.cacheable = true;
	counter->closed = closed;
	return counter;
}

static void test_pages_are_cached(void **state)
{
	(void)state;
	size_t closed = 0;
	struct counter *counter = counter_new(&closed);
	struct hs_target *target;
	uint64_t word;

	must(hs_target_from_source(&counter->base, &target));
	for (int round = 0; round < 3; round++) {
		for (hs_addr addr = BASE; addr < BASE + 100 * PAGE; addr += 8) {
			must(hs_target_read_u64(target, addr, &word));
			assert_int_equal(word, addr);
		}
	}
	assert_int_equal(counter->reads, 100);
	hs_target_close(target);
	assert_int_equal(closed, 1);
}

/** More pages than fit, in no order: what is evicted is read again, and right. */
static void test_eviction(void **state)
{
	(void)state;
	size_t closed = 0;
	struct counter *counter = counter_new(&closed);
	uint64_t word, random = 1;
	hs_cleanup(hs_target_closep) struct hs_target *target = NULL;

	must(hs_target_from_source(&counter->base, &target));
	for (int i = 0; i < 40000; i++) {
		random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
		hs_addr addr = BASE + ((random >> 33) % (SIZE - PAGE) & ~UINT64_C(7));

		must(hs_target_read_u64(target, addr, &word));
		assert_int_equal(word, addr);
	}
	assert_true(counter->reads > SIZE / PAGE);
}

static void test_partly_readable_page(void **state)
{
	(void)state;
	size_t closed = 0;
	struct counter *counter = counter_new(&closed);
	hs_addr end = BASE + SIZE - 100;
	uint8_t buf[64];
	uint64_t word = 5;
	hs_cleanup(hs_target_closep) struct hs_target *target = NULL;

	must(hs_target_from_source(&counter->base, &target));
	must(hs_target_read(target, end - sizeof(buf), buf, sizeof(buf)));
	must(hs_target_read(target, end - PAGE, buf, sizeof(buf)));
	assert_fault(hs_target_read(target, end - 4, buf, 8));
	assert_fault(hs_target_read_u64(target, end, &word));
	assert_fault(hs_target_read_u64(target, BASE - 8, &word));
	assert_int_equal(word, 5);
	// After the failures the pages around are still right.
	must(hs_target_read_u64(target, BASE + SIZE - 2 * PAGE, &word));
	assert_int_equal(word, BASE + SIZE - 2 * PAGE);
}

static void test_words_across_pages(void **state)
{
	(void)state;
	size_t closed = 0;
	struct counter *counter = counter_new(&closed);
	uint64_t word;
	uint32_t half;
	uint16_t quarter;
	uint8_t byte;
	hs_cleanup(hs_target_closep) struct hs_target *target = NULL;

	must(hs_target_from_source(&counter->base, &target));
	must(hs_target_read_u8(target, BASE + PAGE + 1, &byte));
	assert_int_equal(byte, 0x10);
	must(hs_target_read_u16(target, BASE + PAGE, &quarter));
	assert_int_equal(quarter, 0x1000);
	must(hs_target_read_u32(target, BASE + PAGE - 4, &half));
	assert_int_equal(half, 0);
	must(hs_target_read_u64(target, BASE + PAGE - 4, &word));
	assert_int_equal(word, (BASE + (uint64_t)PAGE) << 32);
	assert_int_equal(counter->reads, 2);
}

static void test_long_reads_pass_the_cache(void **state)
{
	(void)state;
	enum {
		LONG = 1 << 20
	};
	size_t closed = 0;
	struct counter *counter = counter_new(&closed);
	uint64_t *words = malloc(LONG);
	hs_cleanup(hs_target_closep) struct hs_target *target = NULL;

	must(hs_target_from_source(&counter->base, &target));
	must(hs_target_read(target, BASE + 8, words, LONG));
	assert_int_equal(words[LONG / 8 - 1], BASE + LONG);
	assert_int_equal(counter->reads, 1);
	assert_int_equal(counter->bytes, LONG);
	free(words);
}

static void test_read_now(void **state)
{
	(void)state;
	size_t closed = 0;
	struct counter *counter = counter_new(&closed);
	uint64_t word;
	hs_cleanup(hs_target_closep) struct hs_target *target = NULL;

	must(hs_target_from_source(&counter->base, &target));
	must(hs_target_read_u64(target, BASE, &word));
	must(hs_target_read_now(target, BASE, &word, sizeof(word)));
	assert_int_equal(word, 0xeeeeeeeeeeeeeeee);
	must(hs_target_read_u64(target, BASE, &word));
	assert_int_equal(word, BASE);
	assert_fault(hs_target_read_now(target, UINT64_MAX, &word, sizeof(word)));
}

static void test_gaps_and_half_built_source(void **state)
{
	(void)state;
	size_t closed = 0, count;
	struct counter *counter = counter_new(&closed);

	hs_source_gap(&counter->base, "lib\x1b.so", "its names", "errno %d", 5);
	struct hs_target *target;
	must(hs_target_from_source(&counter->base, &target));
	const struct hs_target_gap *gaps = hs_target_gaps(target, &count);
	assert_int_equal(count, 1);
	assert_string_equal(gaps[0].subject, "lib\x1b.so");
	assert_string_equal(gaps[0].reason, "errno 5");
	assert_string_equal(gaps[0].costs, "its names");
	hs_target_close(target);
	hs_target_close(NULL);
	hs_source_destroy(&counter_new(&closed)->base);
	hs_source_destroy(NULL);
	assert_int_equal(closed, 2);
}

// ---- hosted

static void test_strings(void **state)
{
	(void)state;
	CLEAN_FAKE fake = hs_fake_create();
	CLEAN_ARENA arena = hs_arena_create();
	const char *s = NULL;
	struct hs_err *err;

	hs_fake_cstr(fake, 0x1000, "short");
	hs_fake_cstr(fake, 0x1ffa, "ab cd"); // ends with the page, and memory with it
	hs_fake_fill(fake, 0x3000, 'x', 2 * PAGE);
	hs_fake_u8(fake, 0x3000 + 1000, 0);
	hs_fake_cstr(fake, 0x7ff0, "");
	struct hs_target *target = hs_fake_target(fake);

	must(hs_target_read_cstr(target, 0x1000, 100, arena, &s));
	assert_string_equal(s, "short");
	must(hs_target_read_cstr(target, 0x1000, 5, arena, &s));
	assert_string_equal(s, "short");
	must(hs_target_read_cstr(target, 0x1ffa, SIZE_MAX, arena, &s));
	assert_string_equal(s, "ab cd");
	must(hs_target_read_cstr(target, 0x7ff0, 0, arena, &s));
	assert_string_equal(s, "");
	must(hs_target_read_cstr(target, 0x3000, 4096, arena, &s));
	assert_int_equal(strlen(s), 1000);

	const char *before = s;
	err = hs_target_read_cstr(target, 0x1000, 4, arena, &s);
	assert_int_equal(hs_err_code(err), HS_ERR_BAD_DATA);
	hs_err_free(err);
	assert_fault(hs_target_read_cstr(target, 0x3000 + 1001, SIZE_MAX, arena, &s));
	assert_fault(hs_target_read_cstr(target, 0x9000, 10, arena, &s));
	assert_fault(hs_target_read_cstr(target, UINT64_MAX, 10, arena, &s));
	assert_ptr_equal(s, before);
}

static void test_hosted(void **state)
{
	(void)state;
	CLEAN_FAKE fake = hs_fake_create();
	struct hs_regs regs = {0};
	uint64_t word;
	size_t count;
	bool same;

	hs_regs_set(&regs, HS_REG_PC, 0x4001);
	hs_fake_lwp(fake, 20, NULL);
	hs_fake_lwp(fake, 10, &regs)->signo = 11;
	hs_fake_module(fake, "/lib/b.so", 0x8000, 0x9000, 0x7000, -1);
	hs_fake_module(fake, "/bin/a", 0x4000, 0x5000, 0x4000, 0);
	hs_fake_mapping(fake, "", 0x6000, 0x7000, HS_PROT_READ | HS_PROT_WRITE);
	hs_fake_info(fake)->pid = 77;
	hs_fake_u64(fake, 0x6010, 1);
	struct hs_target *target = hs_fake_target(fake);
	const struct hs_lwp *lwps = hs_target_lwps(target, &count);
	const struct hs_module_map *map = hs_target_modules(target);

	assert_ptr_equal(hs_fake_target(fake), target);
	assert_int_equal(hs_target_info(target)->pid, 77);
	assert_int_equal(count, 2);
	assert_int_equal(lwps[0].tid, 10);
	assert_int_equal(lwps[0].signo, 11);
	assert_true(hs_regs_has(&lwps[0].regs, HS_REG_PC));
	assert_false(lwps[1].has_regs);
	assert_string_equal(hs_module_map_module(map, 0x4fff)->path, "/bin/a");
	assert_string_equal(hs_module_map_module(map, 0x8000)->path, "/lib/b.so");
	assert_null(hs_module_map_module(map, 0x6000));
	must(hs_target_read_u64(target, 0x6010, &word));
	assert_int_equal(word, 1);
	// Not cached: what the host says now.
	hs_fake_u64(fake, 0x6010, 2);
	must(hs_target_read_u64(target, 0x6010, &word));
	assert_int_equal(word, 2);
	hs_fake_remove(fake, 0x6017, 1);
	assert_fault(hs_target_read_u64(target, 0x6010, &word));

	struct hs_err *err = hs_target_lwp_unmoved(target, 10, &same);
	assert_int_equal(hs_err_code(err), HS_ERR_UNSUPPORTED);
	hs_err_free(err);
	hs_target_gaps(target, &count);
	assert_int_equal(count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pages_are_cached),
		cmocka_unit_test(test_eviction),
		cmocka_unit_test(test_partly_readable_page),
		cmocka_unit_test(test_words_across_pages),
		cmocka_unit_test(test_long_reads_pass_the_cache),
		cmocka_unit_test(test_read_now),
		cmocka_unit_test(test_gaps_and_half_built_source),
		cmocka_unit_test(test_strings),
		cmocka_unit_test(test_hosted),
	};

	return cmocka_run_group_tests_name("target", tests, NULL, NULL);
}
