// SPDX-License-Identifier: Apache-2.0
/** @file A core: is it whole, what was left out, are the files of its program here. */

#include "core/base/cleanup.h"
#include "core/doctor/facts.h"
#include "core/target.h"
#include "core/words.h"

/** Can a byte of each anonymous mapping be read? Those that nobody may read are left out. */
static void count_lost_memory(struct hs_core_facts *core, struct hs_target *target)
{
	const struct hs_module_map *map = hs_target_modules(target);

	for (size_t i = 0; i < map->num_mappings; i++) {
		const struct hs_mapping *mapping = &map->mappings[i];
		uint8_t byte;

		if (!(mapping->prot & HS_PROT_READ) || mapping->path[0] == '/' ||
		    mapping->path[0] == '[')
			continue;
		struct hs_err *err = hs_target_read_u8(target, mapping->start, &byte);
		if (!err)
			continue;
		hs_err_free(err);
		core->num_lost_areas++;
		core->lost_memory += mapping->end - mapping->start;
	}
}

static void count_threads(struct hs_core_facts *core, const struct hs_target *target)
{
	const struct hs_lwp *lwps = hs_target_lwps(target, &core->threads);

	for (size_t i = 0; i < core->threads; i++)
		core->threads_without_regs += !lwps[i].has_regs;
}

struct hs_err *hs_facts_core(struct hs_doctor_facts *facts, const struct hs_doctor_options *options,
                             struct hs_arena *arena)
{
	hs_cleanup(hs_target_closep) struct hs_target *target = NULL;
	const struct hs_open_options open = {
		.exe = options->exe, .root = options->root, .debug_dir = options->debug_dir};
	struct hs_err *err = hs_target_open_core(facts->path, &open, &target);

	if (err)
		return err;
	const struct hs_target_info *info = hs_target_info(target);
	facts->pid = info->pid;
	facts->name = info->exe ? hs_arena_strdup(arena, hs_words_base_name(info->exe)) : NULL;
	facts->core.signo = info->signo;
	facts->core.killed = info->signo != 0;
	facts->core.truncated = info->truncated_bytes;
	count_threads(&facts->core, target);
	facts->core.is_snapshot = info->kind == HS_TARGET_SNAPSHOT;
	if (!facts->core.is_snapshot)
		count_lost_memory(&facts->core, target);
	hs_facts_files(&facts->files, target, options->debug_dir, arena);
	return NULL;
}
