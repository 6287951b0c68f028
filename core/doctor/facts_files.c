// SPDX-License-Identifier: Apache-2.0
/** @file The files of a target: which are missing or another build, and which have symbols. */

#include <string.h>

#include "core/doctor/facts.h"
#include "core/native/native.h"
#include "core/target.h"
#include "core/words.h"

static const char *id_words(const struct hs_module *module, struct hs_arena *arena)
{
	static const char digits[] = "0123456789abcdef";
	char words[2 * HS_BUILD_ID_MAX + 1];
	size_t len =
		module->build_id_len < HS_BUILD_ID_MAX ? module->build_id_len : HS_BUILD_ID_MAX;

	for (size_t i = 0; i < len; i++) {
		words[2 * i] = digits[module->build_id[i] >> 4];
		words[2 * i + 1] = digits[module->build_id[i] & 15];
	}
	words[2 * len] = '\0';
	return len ? hs_arena_strdup(arena, words) : NULL;
}

/** glibc is libc.so.6 (libc-2.31.so before 2.34), musl is its own dynamic linker. */
static const char *libc_of(const char *name)
{
	if (strcmp(name, "libc.so.6") == 0 || strncmp(name, "libc-2.", 7) == 0)
		return "glibc";
	if (strncmp(name, "ld-musl-", 8) == 0 || strncmp(name, "libc.musl-", 10) == 0)
		return "musl";
	return NULL;
}

/** "java-17-openjdk-amd64" of ".../java-17-openjdk-amd64/lib/server/libjvm.so". */
static const char *jvm_directory(const char *path, struct hs_arena *arena)
{
	const char *lib = strstr(path, "/jre/lib/");
	const char *begin;

	lib = lib ? lib : strstr(path, "/lib/server/");
	if (!lib)
		return NULL;
	for (begin = lib; begin > path && begin[-1] != '/';)
		begin--;
	const char *name = hs_arena_strndup(arena, begin, (size_t)(lib - begin));
	return hs_is_plain_name(name) ? name : NULL;
}

static void take(struct hs_file_facts *files, const struct hs_target *target,
                 const struct hs_module *module, const char *debug_dir, struct hs_arena *arena)
{
	const char *name = hs_words_base_name(module->path);
	const char *libc = libc_of(name), *exe = hs_target_info(target)->exe;
	bool is_jvm = strcmp(name, "libjvm.so") == 0;

	files->num++;
	files->num_without_id += !module->build_id_len;
	if (libc)
		files->libc = libc;
	if (is_jvm) {
		files->jvm = hs_arena_strdup(arena, module->path);
		files->jvm_package = jvm_directory(module->path, arena);
	}
	if (module->state != HS_MODULE_OK) {
		struct hs_lost_file *lost = hs_vec_push(arena, &files->lost);

		if (lost)
			*lost = (struct hs_lost_file){
				.path = hs_arena_strdup(arena, module->path),
				.why = module->why ? hs_arena_strdup(arena, module->why) : NULL,
				.build_id = id_words(module, arena),
				.from_memory = module->from_memory,
				.is_main = exe && strcmp(exe, module->path) == 0,
			};
		return;
	}
	files->num_unproven += !module->build_id_checked;
	if (is_jvm)
		files->jvm_symbols = hs_native_has_symbols(target, module, debug_dir);
	else if (libc)
		files->libc_symbols = hs_native_has_symbols(target, module, debug_dir);
}

void hs_facts_files(struct hs_file_facts *files, struct hs_target *target, const char *debug_dir,
                    struct hs_arena *arena)
{
	const struct hs_module_map *map = hs_target_modules(target);

	files->known = true;
	for (size_t i = 0; i < map->num_modules; i++) {
		if (map->modules[i].state != HS_MODULE_MEMORY)
			take(files, target, &map->modules[i], debug_dir, arena);
	}
}
