// SPDX-License-Identifier: Apache-2.0
/** @file Bundles: what is packed is found again, and hostile ones are refused. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <archive.h>
#include <archive_entry.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/capture/bundle.h"
#include "core/source/unpack.h"
#include "core/target.h"
#include "tests/support/core_writer.h"

enum {
	PAGE = 4096,
	LIB = 0x7f0000000000,
	HEAP = 0x10000,
	HEAP_PAGES = 512,
	MAX_PACKED = 1 << 20,
	CAPTURED_AT = 1600000000,
};

#define CLEAN_TARGET hs_cleanup(hs_target_closep) struct hs_target *
#define CLEAN_WRITER hs_cleanup(writer_destroyp) struct hs_core_writer *

static void writer_destroyp(struct hs_core_writer **writer)
{
	hs_core_writer_destroy(*writer);
}

static void must(struct hs_err *err)
{
	if (err)
		fail_msg("%s", hs_err_message(err));
}

static struct hs_target *open_path(const char *path)
{
	struct hs_target *target = NULL;

	must(hs_target_open_core(path, NULL, &target));
	return target;
}

static void assert_refused(const char *path, enum hs_err_code code, const char *words)
{
	struct hs_target *target = NULL;
	struct hs_err *err = hs_target_open_core(path, NULL, &target);

	if (!err)
		fail_msg("opened, and not refused: %s", words);
	assert_null(target);
	if (hs_err_code(err) != code || !strstr(hs_err_message(err), words))
		fail_msg("code %d: %s", (int)hs_err_code(err), hs_err_message(err));
	hs_err_free(err);
}

/** A core of a library at LIB without its code, and of a heap whose first and last page are in use.
 */
static const char *save_core(struct hs_core_writer *writer, const char *library, int id)
{
	const struct timespec times[2] = {{.tv_sec = CAPTURED_AT}, {.tv_sec = CAPTURED_AT}};
	static uint8_t heap[HEAP_PAGES * PAGE];
	uint8_t elf[HS_TEST_ELF_SIZE];

	heap[0] = 0xaa;
	heap[sizeof(heap) - 1] = 0xbb;
	hs_test_elf_make(elf, id);
	hs_core_writer_segment(writer, HEAP, heap, sizeof(heap), sizeof(heap), PF_R | PF_W);
	hs_core_writer_segment(writer, LIB, elf, PAGE, PAGE, PF_R);
	hs_core_writer_segment(writer, LIB + HS_TEST_ELF_RX, NULL, 0, PAGE, PF_R | PF_X);
	hs_core_writer_file(writer, LIB, LIB + PAGE, 0, library);
	hs_core_writer_file(writer, LIB + HS_TEST_ELF_RX, LIB + HS_TEST_ELF_RX + PAGE,
	                    HS_TEST_ELF_RX, library);
	const char *core = hs_core_writer_file_of_core(writer);
	assert_int_equal(utimensat(AT_FDCWD, core, times, 0), 0);
	return core;
}

static const char *save_library(struct hs_core_writer *writer, int id)
{
	uint8_t elf[HS_TEST_ELF_SIZE];

	hs_test_elf_make(elf, id);
	return hs_core_writer_save(writer, elf, sizeof(elf));
}

/** Make a bundle. @return Its path, until the writer is destroyed. */
static const char *pack(struct hs_core_writer *writer, struct hs_target *target,
                        struct hs_bundle_result *ret)
{
	const struct hs_bundle_options options = {.debug_dir = "/nowhere", .version = "0"};
	const char *path = hs_core_writer_save(writer, "", 0);
	struct hs_output *output = NULL;

	must(hs_output_open(path, &output));
	must(hs_bundle_write(target, &options, output, ret));
	must(hs_output_commit(output));
	return path;
}

static void assert_memory(struct hs_target *target, bool has_code)
{
	uint8_t byte = 0;

	must(hs_target_read_u8(target, HEAP, &byte));
	assert_int_equal(byte, 0xaa);
	must(hs_target_read_u8(target, HEAP + PAGE, &byte));
	assert_int_equal(byte, 0);
	must(hs_target_read_u8(target, HEAP + HEAP_PAGES * PAGE - 1, &byte));
	assert_int_equal(byte, 0xbb);
	struct hs_err *err = hs_target_read_u8(target, LIB + HS_TEST_ELF_RX, &byte);
	assert_int_equal(!err, has_code);
	hs_err_free(err);
	if (has_code)
		assert_int_equal(byte, 0xc0);
}

// ---- what is packed is found again

static void test_round_trip(void **state)
{
	(void)state;
	CLEAN_WRITER writer = hs_core_writer_create();
	struct hs_bundle_result result;
	const char *library = save_library(writer, 7);
	CLEAN_TARGET original = open_path(save_core(writer, library, 7));
	const char *bundle = pack(writer, original, &result);

	assert_int_equal(result.num_files, 1);
	assert_int_equal(result.num_missing, 0);
	assert_int_equal(result.num_debug, 0);
	assert_false(result.has_proc);
	assert_int_equal(unlink(library), 0);
	for (int i = 0; i < 2; i++) {
		CLEAN_TARGET target = open_path(bundle);
		const struct hs_module *module = &hs_target_modules(target)->modules[0];
		size_t num_gaps;

		assert_int_equal(hs_target_modules(target)->num_modules, 1);
		assert_string_equal(module->path, library);
		assert_int_equal(module->state, HS_MODULE_OK);
		assert_true(module->build_id_checked);
		assert_memory(target, true);
		assert_int_equal(hs_target_info(target)->captured_at, CAPTURED_AT);
		assert_string_equal(hs_target_info(target)->unpacked_from, bundle);
		hs_target_gaps(target, &num_gaps);
		bundle = pack(writer, target, &result); // and a bundle of the bundle
		assert_int_equal(result.num_files, 1);
	}
}

static void test_without_build_id(void **state)
{
	(void)state;
	CLEAN_WRITER writer = hs_core_writer_create();
	struct hs_bundle_result result;
	const char *library = save_library(writer, -1);
	CLEAN_TARGET original = open_path(save_core(writer, library, -1));
	const char *bundle = pack(writer, original, &result);

	assert_int_equal(result.num_files, 1);
	assert_int_equal(unlink(library), 0);
	CLEAN_TARGET target = open_path(bundle);
	assert_int_equal(hs_target_modules(target)->modules[0].state, HS_MODULE_OK);
	assert_memory(target, false); // nothing proves that it is the loaded one
}

static void test_missing_file(void **state)
{
	(void)state;
	CLEAN_WRITER writer = hs_core_writer_create();
	struct hs_bundle_result result;
	const char *library = save_library(writer, 8);
	CLEAN_TARGET original = open_path(save_core(writer, library, 7));
	const char *bundle = pack(writer, original, &result);

	assert_int_equal(hs_target_modules(original)->modules[0].state, HS_MODULE_MISMATCH);
	assert_int_equal(result.num_files, 0);
	assert_int_equal(result.num_missing, 1);
	assert_int_equal(unlink(library), 0);
	CLEAN_TARGET target = open_path(bundle);
	assert_int_equal(hs_target_modules(target)->modules[0].state, HS_MODULE_MISSING);
	assert_memory(target, false);
}

static void test_holes(void **state)
{
	(void)state;
	CLEAN_WRITER writer = hs_core_writer_create();
	struct hs_bundle_result result;
	const char *core = save_core(writer, "/nowhere", 7);
	hs_cleanup(hs_closep) int fd = open(core, O_RDWR | O_CLOEXEC);
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	// Holes in the heap, which begins within the first two pages, and one at the end.
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 8 * PAGE, 200 * PAGE) ||
	    fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 250 * PAGE, 200 * PAGE))
		skip();
	assert_int_equal(ftruncate(fd, st.st_size + 100 * PAGE), 0);
	CLEAN_TARGET original = open_path(core);
	CLEAN_TARGET target = open_path(pack(writer, original, &result));
	assert_memory(target, false);
	assert_int_equal(fstat(hs_target_file(target), &st), 0);
	assert_int_equal(st.st_size, result.core_bytes);
}

// ---- hostile archives

struct entry {
	const char *name;
	const char *text;
	mode_t type;
	const char *link; // hard, when the type is a regular file
};

static void add_entry(struct archive *archive, const struct entry *from)
{
	struct archive_entry *entry = archive_entry_new();
	size_t len = from->text ? strlen(from->text) : 0;

	archive_entry_set_pathname(entry, from->name);
	archive_entry_set_filetype(entry, from->type ? from->type : AE_IFREG);
	archive_entry_set_perm(entry, 0600);
	if (from->link && from->type == AE_IFREG)
		archive_entry_set_hardlink(entry, from->link);
	else if (from->link)
		archive_entry_set_symlink(entry, from->link);
	archive_entry_set_size(entry, (la_int64_t)len);
	assert_int_equal(archive_write_header(archive, entry), ARCHIVE_OK);
	if (len)
		assert_int_equal(archive_write_data(archive, from->text, len), len);
	archive_entry_free(entry);
}

static const char *save_archive(struct hs_core_writer *writer, const struct entry *entries,
                                size_t num)
{
	hs_cleanup(hs_freep) char *packed = malloc(MAX_PACKED);
	struct archive *archive = archive_write_new();
	size_t used;

	assert_non_null(packed);
	assert_int_equal(archive_write_set_format_pax_restricted(archive), ARCHIVE_OK);
	assert_int_equal(archive_write_add_filter_zstd(archive), ARCHIVE_OK);
	assert_int_equal(archive_write_open_memory(archive, packed, MAX_PACKED, &used), ARCHIVE_OK);
	for (size_t i = 0; i < num && entries[i].name; i++)
		add_entry(archive, &entries[i]);
	assert_int_equal(archive_write_free(archive), ARCHIVE_OK);
	return hs_core_writer_save(writer, packed, used);
}

// clang-format off
#define SCHEMA "\"schema\":\"hangscope-bundle/1\""
#define CORE(size) "\"core\":{\"name\":\"core\",\"size\":" size "}"
#define LARGE "{\"name\":\"a\",\"kind\":\"module\",\"size\":99999999999}"
#define REG(name, text) {name, text, 0, NULL}
#define ODD(name, type, link) {name, NULL, type, link}
#define MANIFEST(text) REG("manifest.json", text)
#define GOOD MANIFEST("{" SCHEMA "," CORE("5") "}")

static const struct {
	struct entry entries[4];
	enum hs_err_code code;
	const char *words;
} hostile[] = {
	{{REG("core", "12345")}, HS_ERR_BAD_DATA, "no bundle of hangscope"},
	{{ODD("manifest.json", AE_IFDIR, NULL)}, HS_ERR_BAD_DATA, "no bundle of hangscope"},
	{{ODD("manifest.json", AE_IFLNK, "/etc/passwd")}, HS_ERR_BAD_DATA, "no file"},
	{{MANIFEST("")}, HS_ERR_BAD_DATA, "line 1"},
	{{MANIFEST("{\"schema\":")}, HS_ERR_BAD_DATA, "line 1"},
	{{MANIFEST("[]")}, HS_ERR_UNSUPPORTED, "schema is not given"},
	{{MANIFEST("{\"schema\":7}")}, HS_ERR_UNSUPPORTED, "schema is not given"},
	{{MANIFEST("{\"schema\":\"a\",\"schema\":\"b\"}")}, HS_ERR_BAD_DATA, "duplicate"},
	{{MANIFEST("{\"schema\":\"hangscope-bundle/2\"}")}, HS_ERR_UNSUPPORTED, "another version"},
	{{MANIFEST("{" SCHEMA "}")}, HS_ERR_BAD_DATA, "is none"},
	{{MANIFEST("{" SCHEMA ",\"core\":[]}")}, HS_ERR_BAD_DATA, "is none"},
	{{MANIFEST("{" SCHEMA ",\"core\":{\"size\":5}}")}, HS_ERR_BAD_DATA, "no name"},
	{{MANIFEST("{" SCHEMA "," CORE("-1") "}")}, HS_ERR_BAD_DATA, "no size"},
	{{MANIFEST("{" SCHEMA "," CORE("9e3") "}")}, HS_ERR_BAD_DATA, "no size"},
	{{MANIFEST("{" SCHEMA "," CORE("9999999999999") "}")}, HS_ERR_BAD_DATA, "no size"},
	{{MANIFEST("{" SCHEMA "," CORE("5") ",\"files\":[3]}")}, HS_ERR_BAD_DATA, "is none"},
	{{MANIFEST("{" SCHEMA "," CORE("5") ",\"files\":[" LARGE "]}")}, HS_ERR_BAD_DATA, "a has 99999999999 bytes"},
	{{GOOD}, HS_ERR_BAD_DATA, "core is missing"},
	{{GOOD, REG("other", "12345")}, HS_ERR_BAD_DATA, "has core, it holds other"},
	{{GOOD, REG("core", "123456")}, HS_ERR_BAD_DATA, "core has 6 bytes, its manifest says 5"},
	{{GOOD, ODD("core", AE_IFLNK, "/etc/passwd")}, HS_ERR_BAD_DATA, "core is not a regular file"},
	{{GOOD, ODD("core", AE_IFREG, "/etc/passwd")}, HS_ERR_BAD_DATA, "core is not a regular file"},
	{{GOOD, ODD("core", AE_IFIFO, NULL)}, HS_ERR_BAD_DATA, "core is not a regular file"},
	{{GOOD, REG("core", "12345"), REG("core", "12345")}, HS_ERR_BAD_DATA, "more than its manifest"},
	{{GOOD, REG("core", "12345")}, HS_ERR_BAD_DATA, "not an ELF file"},
};
// clang-format on

static void test_hostile(void **state)
{
	(void)state;
	CLEAN_WRITER writer = hs_core_writer_create();

	for (size_t i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++)
		assert_refused(save_archive(writer, hostile[i].entries, 4), hostile[i].code,
		               hostile[i].words);
}

/** Names are labels: none is a path, wherever it points to. */
static void test_names(void **state)
{
	(void)state;
	CLEAN_WRITER writer = hs_core_writer_create();
	const struct entry entries[] = {
		MANIFEST("{" SCHEMA
	                 ",\"core\":{\"name\":\"/tmp/hs-bundle-core\",\"size\":5},\"files\":["
	                 "{\"name\":\"../../../../../../tmp/hs-bundle-file\",\"kind\":\"module\","
	                 "\"size\":5,\"path\":\"/etc/passwd\"}]}"),
		REG("../../../../../../tmp/hs-bundle-file", "12345"),
		REG("/tmp/hs-bundle-core", "12345"),
	};

	assert_refused(save_archive(writer, entries, 3), HS_ERR_BAD_DATA, "not an ELF file");
	assert_int_equal(access("/tmp/hs-bundle-file", F_OK), -1);
	assert_int_equal(access("/tmp/hs-bundle-core", F_OK), -1);
}

/** A file that is not what the manifest says is another build, and not used. */
static void test_lie(void **state)
{
	(void)state;
	CLEAN_WRITER writer = hs_core_writer_create();
	struct hs_bundle_result result;
	const char *library = save_library(writer, 7);
	CLEAN_TARGET original = open_path(save_core(writer, library, 7));
	// Of the same size, behind the back of the one who packs.
	hs_cleanup(hs_closep) int fd = open(library, O_WRONLY | O_CLOEXEC);
	uint8_t other[HS_TEST_ELF_SIZE];

	hs_test_elf_make(other, 9);
	assert_int_equal(pwrite(fd, other, sizeof(other), 0), sizeof(other));
	CLEAN_TARGET target = open_path(pack(writer, original, &result));
	assert_int_equal(hs_target_modules(target)->modules[0].state, HS_MODULE_MISMATCH);
	assert_memory(target, false);
}

// ---- limits

static void assert_limit(const char *path, const struct hs_unpack_limits *limits, const char *words)
{
	static const struct hs_open_options no_options;
	hs_cleanup(hs_arena_destroyp) struct hs_arena *arena = hs_arena_create();
	hs_cleanup(hs_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct hs_unpacked unpacked;
	struct hs_err *err = hs_unpack(fd, path, arena, &no_options, limits, &unpacked);

	if (!err)
		fail_msg("unpacked: %s", words);
	assert_int_equal(hs_err_code(err), HS_ERR_BAD_DATA);
	if (!strstr(hs_err_message(err), words))
		fail_msg("%s", hs_err_message(err));
	hs_err_free(err);
}

static void test_limits(void **state)
{
	(void)state;
	CLEAN_WRITER writer = hs_core_writer_create();
	struct hs_bundle_result result;
	CLEAN_TARGET original = open_path(save_core(writer, save_library(writer, 7), 7));
	const char *bundle = pack(writer, original, &result);
	struct hs_unpack_limits limits = {
		.max_bytes = (int64_t)result.core_bytes,
		.free_bytes = INT64_MAX,
		.max_ratio = 1,
		.max_library = HS_TEST_ELF_SIZE,
	};

	assert_limit(bundle, &limits, "unpacks to more than");
	limits.max_bytes = INT64_MAX;
	limits.free_bytes = 1 << 20;
	limits.max_ratio = 100;
	assert_limit(bundle, &limits, "100 times its size");
	limits.max_library--;
	assert_limit(bundle, &limits, "bytes");
}

// ---- damage

/** The archive without its compression. */
static uint8_t *unpack_tar(const char *bundle, size_t *len_ret)
{
	struct archive *archive = archive_read_new();
	struct archive_entry *entry;
	uint8_t *bytes = malloc(4 * MAX_PACKED);

	assert_non_null(bytes);
	archive_read_support_filter_zstd(archive);
	archive_read_support_format_raw(archive);
	assert_int_equal(archive_read_open_filename(archive, bundle, PAGE), ARCHIVE_OK);
	assert_int_equal(archive_read_next_header(archive, &entry), ARCHIVE_OK);
	la_ssize_t len = archive_read_data(archive, bytes, 4 * MAX_PACKED);
	assert_true(len > 0 && len < 4 * MAX_PACKED);
	archive_read_free(archive);
	*len_ret = (size_t)len;
	return bytes;
}

static bool opens(const char *path)
{
	CLEAN_TARGET target = NULL;
	struct hs_err *err = hs_target_open_core(path, NULL, &target);

	hs_err_free(err);
	return !err;
}

static const char *some_bundle(struct hs_core_writer *writer)
{
	struct hs_bundle_result result;
	CLEAN_TARGET original = open_path(save_core(writer, save_library(writer, 7), 7));

	return pack(writer, original, &result);
}

static void test_truncated(void **state)
{
	(void)state;
	CLEAN_WRITER writer = hs_core_writer_create();
	const char *bundle = some_bundle(writer);
	struct stat st;

	assert_int_equal(stat(bundle, &st), 0);
	for (off_t i = 0; i < st.st_size; i += st.st_size / 40 + 1) {
		assert_int_equal(truncate(bundle, st.st_size - i), 0);
		assert_int_equal(opens(bundle), i == 0);
	}
}

/** Any byte of headers and manifest changed: opened or refused, never a crash. */
static void test_flipped(void **state)
{
	(void)state;
	CLEAN_WRITER writer = hs_core_writer_create();
	size_t len, opened = 0;
	hs_cleanup(hs_freep) uint8_t *bytes = unpack_tar(some_bundle(writer), &len);
	const char *path = hs_core_writer_save(writer, bytes, len);
	hs_cleanup(hs_closep) int fd = open(path, O_WRONLY | O_CLOEXEC);

	assert_true(opens(path));
	for (size_t i = 0; i < 2 * PAGE; i += i < 512 ? 5 : 41) {
		const uint8_t flipped = bytes[i] ^ (uint8_t)(1 << (i * 5 + i / 7) % 8);

		assert_int_equal(pwrite(fd, &flipped, 1, (off_t)i), 1);
		opened += opens(path);
		assert_int_equal(pwrite(fd, &bytes[i], 1, (off_t)i), 1);
	}
	assert_true(opened > 0); // not each byte matters
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),   cmocka_unit_test(test_without_build_id),
		cmocka_unit_test(test_missing_file), cmocka_unit_test(test_holes),
		cmocka_unit_test(test_hostile),      cmocka_unit_test(test_names),
		cmocka_unit_test(test_lie),          cmocka_unit_test(test_limits),
		cmocka_unit_test(test_truncated),    cmocka_unit_test(test_flipped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
