// SPDX-License-Identifier: Apache-2.0
/** @file The main program of a core: its file and its arguments. */

#include <elf.h>
#include <string.h>

#include "core/limits.h"
#include "core/source/core_file.h"

enum {
	MAX_ARGS = 65536,
	MAX_ARG_LEN = 128 * 1024,        // MAX_ARG_STRLEN of the kernel (linux/binfmts.h)
	MAX_ARG_BYTES = 4 * 1024 * 1024, // of all of them
	AUXV_SEARCH = 8192,              // bytes below AT_RANDOM in which the vector must lie
};

static const struct hs_mapping *mapping_at(const struct core *core, hs_addr addr)
{
	const struct hs_module_map map = {.mappings = core->mappings,
	                                  .num_mappings = core->num_mappings};

	return addr ? hs_module_map_find(&map, addr) : NULL;
}

const struct hs_mapping *hs_core_main_mapping(const struct core *core)
{
	const struct hs_mapping *found = mapping_at(core, hs_core_auxv(core, AT_PHDR));

	// AT_PHDR may lie in a mapping that was left out of the core; the entry is code.
	if (!found || !found->path[0])
		found = mapping_at(core, hs_core_auxv(core, AT_ENTRY));
	if (!found)
		found = mapping_at(core, core->program);
	return found && found->path[0] && found->path[0] != '[' ? found : NULL;
}

static bool read_word(struct core *core, hs_addr addr, uint64_t *ret)
{
	struct hs_err *err = core->base.ops->read(&core->base, addr, ret, sizeof(*ret));

	hs_err_free(err);
	return !err;
}

/**
 * Where the auxiliary vector lies in memory. The kernel puts the random bytes and the platform
 * string right above it (fs/binfmt_elf.c, create_elf_tables()): search downwards for the first
 * entries of NT_AUXV. 0: not found.
 */
static hs_addr find_auxv(struct core *core)
{
	const uint64_t *auxv = core->notes.auxv.items;
	hs_addr top = hs_core_auxv(core, AT_RANDOM) & ~UINT64_C(7);

	if (core->notes.auxv.len < 4 || top < AUXV_SEARCH)
		return 0;
	for (hs_addr addr = top - 4 * sizeof(uint64_t); addr > top - AUXV_SEARCH; addr -= 8) {
		uint64_t words[4];
		struct hs_err *err = core->base.ops->read(&core->base, addr, words, sizeof(words));

		hs_err_free(err);
		if (!err && !memcmp(words, auxv, sizeof(words)))
			return addr;
	}
	return 0;
}

/**
 * Where argv[] lies: below the vector are NULL, the environment downwards, NULL, the arguments
 * downwards, and their count.
 */
static hs_addr find_argv(struct core *core, hs_addr auxv, uint64_t *count_ret)
{
	hs_addr addr = auxv - 8;
	uint64_t word;

	if (!auxv || !read_word(core, addr, &word) || word)
		return 0;
	for (int i = 0; i < MAX_ARGS; i++) {
		addr -= 8;
		if (!read_word(core, addr, &word))
			return 0;
		if (!word)
			break;
	}
	if (word)
		return 0;
	for (uint64_t count = 0; count < MAX_ARGS; count++) {
		addr -= 8;
		if (!read_word(core, addr, &word))
			return 0;
		if (word == count) {
			*count_ret = count;
			return addr + 8;
		}
	}
	return 0;
}

/** A string of the target in the arena, or NULL. */
static const char *read_string(struct core *core, hs_addr addr, size_t max)
{
	enum {
		CHUNK = 256
	};
	char chunk[CHUNK];
	const char *nul = NULL;
	size_t len = 0;

	while (!nul && len <= max) {
		// Aligned chunks: a string may end right below the end of the stack.
		size_t part = CHUNK - (addr + len) % CHUNK;
		struct hs_err *err = core->base.ops->read(&core->base, addr + len, chunk, part);

		hs_err_free(err);
		if (err)
			return NULL;
		nul = memchr(chunk, 0, part);
		len += nul ? (size_t)(nul - chunk) : part;
	}
	if (!nul || len > max)
		return NULL;
	char *copy = hs_arena_alloc(core->base.arena, len + 1);
	struct hs_err *err =
		copy ? core->base.ops->read(&core->base, addr, copy, len) : hs_err_oom();

	hs_err_free(err);
	return err ? NULL : copy;
}

static const char *const *args_from_stack(struct core *core)
{
	uint64_t count;
	hs_addr argv = find_argv(core, find_auxv(core), &count);
	size_t budget = MAX_ARG_BYTES;

	if (!argv || !count)
		return NULL;
	const char **args = hs_arena_calloc(core->base.arena, count + 1, sizeof(*args));
	for (uint64_t i = 0; args && i < count; i++) {
		uint64_t pointer;

		if (!read_word(core, argv + 8 * i, &pointer))
			return NULL;
		args[i] = read_string(core, pointer, budget < MAX_ARG_LEN ? budget : MAX_ARG_LEN);
		if (!args[i])
			return NULL;
		budget -= strlen(args[i]);
	}
	return args;
}

/** NT_PRPSINFO has the first 79 bytes, NULs turned into spaces: words, as well as they can be told.
 */
static const char *const *args_from_psinfo(struct core *core)
{
	size_t count = 0;
	char *copy = hs_arena_strdup(core->base.arena, core->notes.psargs);
	const char **args = hs_arena_calloc(core->base.arena, sizeof(core->notes.psargs) / 2 + 2,
	                                    sizeof(*args));

	if (!copy || !args)
		return NULL;
	for (char *save = NULL, *word = strtok_r(copy, " ", &save); word;
	     word = strtok_r(NULL, " ", &save))
		args[count++] = word;
	return count ? args : NULL;
}

const char *const *hs_core_args(struct core *core)
{
	const char *const *args = args_from_stack(core);

	return args ? args : args_from_psinfo(core);
}
