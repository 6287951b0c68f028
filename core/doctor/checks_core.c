// SPDX-License-Identifier: Apache-2.0
/** @file Cores: the one that the kernel would write, and the one that is looked at. */

#include <inttypes.h>
#include <string.h>

#include "core/doctor/checks.h"

const char *hs_size_words(struct hs_arena *arena, uint64_t bytes)
{
	if (bytes >= 10000000000)
		return hs_arena_printf(arena, "%" PRIu64 " GB", bytes / 1000000000);
	if (bytes >= 1000000000)
		return hs_arena_printf(arena, "%.1f GB", (double)bytes / 1e9);
	if (bytes >= 1000000)
		return hs_arena_printf(arena, "%" PRIu64 " MB", bytes / 1000000);
	return hs_arena_printf(arena, "%" PRIu64 " kB", (bytes + 999) / 1000);
}

// ---- one that would be written

HS_CHECK(pattern)
{
	const char *pattern = facts->writing.pattern;

	if (!pattern)
		return;
	check->answer = pattern[0] ? HS_YES : HS_NO;
	if (!pattern[0]) {
		check->detail = "kernel.core_pattern is empty";
		check->remedy = "on the host: sudo sysctl kernel.core_pattern=core.%p";
	} else if (pattern[0] == '|') {
		check->detail = hs_arena_printf(
			arena,
			"kernel.core_pattern gives it to a program, which runs in the first "
			"namespaces of the host, not in a container: %s",
			pattern + 1 + strspn(pattern + 1, " "));
	} else if (pattern[0] == '/') {
		check->detail = hs_arena_printf(
			arena, "into %s, as the process sees that path (in its own container)",
			pattern);
	} else {
		check->detail = hs_arena_printf(
			arena, "into %s in the working directory of the process%s", pattern,
			facts->place.kind == HS_PLACE_HOST ? "" : ", in its container");
	}
}

HS_CHECK(limit)
{
	const struct hs_core_writing *writing = &facts->writing;

	if (!writing->has_limit)
		return;
	check->answer = HS_YES;
	if (writing->limit == UINT64_MAX) {
		check->detail = "unlimited";
		return;
	}
	check->detail = hs_arena_printf(arena, "it is %s", hs_size_words(arena, writing->limit));
	// The kernel asks the limit only when it writes a file itself.
	if (writing->pattern && writing->pattern[0] == '|') {
		check->detail = "a core that goes to a program is not limited by it";
		return;
	}
	if (writing->limit > writing->size && writing->size)
		return;
	check->answer = HS_NO;
	check->remedy = hs_arena_printf(arena, "%sprlimit --core=unlimited --pid %d",
	                                writing->hard_limit == UINT64_MAX &&
	                                                facts->access.uid == facts->access.uids[0]
	                                        ? ""
	                                        : "sudo ",
	                                (int)facts->pid);
}

HS_CHECK(filter)
{
	const struct hs_core_writing *writing = &facts->writing;
	uint64_t wanted = hs_wanted_filter(writing);

	if (!writing->has_filter)
		return;
	check->answer = writing->filter == wanted ? HS_YES : HS_NO;
	check->detail = hs_arena_printf(arena, "it is 0x%" PRIx64, writing->filter);
	if (check->answer == HS_NO)
		check->remedy =
			hs_arena_printf(arena, "echo 0x%" PRIx64 " > /proc/%d/coredump_filter",
		                        wanted, (int)facts->pid);
}

HS_CHECK(space)
{
	const struct hs_core_writing *writing = &facts->writing;

	if (!writing->has_space)
		return;
	check->answer = !writing->read_only && writing->space > writing->size ? HS_YES : HS_NO;
	check->detail = hs_arena_printf(arena, "%s %s: %s free, and a core takes up to %s",
	                                writing->directory ? writing->directory : "the directory",
	                                writing->read_only ? "is read-only" : "has room",
	                                hs_size_words(arena, writing->space),
	                                hs_size_words(arena, writing->size));
	if (check->answer == HS_YES)
		return;
	if (!writing->read_only)
		check->detail = hs_arena_printf(
			arena, "%s has %s free, and a core takes up to %s",
			writing->directory ? writing->directory : "the directory",
			hs_size_words(arena, writing->space), hs_size_words(arena, writing->size));
	check->remedy = hs_arena_printf(
		arena,
		"hangscope snapshot %d -o FILE on a disk with room: it needs a small part "
		"of that",
		(int)facts->pid);
}

// ---- one that is there

HS_CHECK(complete)
{
	uint64_t lost = facts->core.truncated;

	check->answer = lost ? HS_NO : HS_YES;
	if (!lost)
		return;
	check->detail = hs_arena_printf(arena, "it is cut off: %s are missing at its end",
	                                hs_size_words(arena, lost));
	check->remedy =
		facts->core.killed
			? "take it again with ulimit -c unlimited and room on the disk "
			  "(systemd-coredump: ProcessSizeMax= and ExternalSizeMax= in "
			  "coredump.conf)"
			: "take it again on a disk with room, or take the small one: hangscope "
			  "snapshot PID -o FILE";
}

HS_CHECK(threads)
{
	const struct hs_core_facts *core = &facts->core;

	check->answer = core->threads && !core->threads_without_regs ? HS_YES : HS_NO;
	check->detail = hs_arena_printf(arena, "%zu thread%s", core->threads,
	                                core->threads == 1 ? "" : "s");
	if (core->threads_without_regs)
		check->detail = hs_arena_printf(arena, "%zu of %zu have no registers",
		                                core->threads_without_regs, core->threads);
	if (check->answer == HS_NO)
		check->remedy = "take it again: hangscope snapshot PID -o FILE, or gcore PID";
}

HS_CHECK(core_memory)
{
	const struct hs_core_facts *core = &facts->core;

	check->answer = core->num_lost_areas ? HS_NO : HS_YES;
	if (core->is_snapshot)
		check->detail = "a snapshot: what an analysis reads, not the rest of the heap";
	if (!core->num_lost_areas)
		return;
	check->detail = hs_arena_printf(arena, "%zu area%s of anonymous memory (%s) %s not in it",
	                                core->num_lost_areas, core->num_lost_areas == 1 ? "" : "s",
	                                hs_size_words(arena, core->lost_memory),
	                                core->num_lost_areas == 1 ? "is" : "are");
	check->remedy = core->truncated
	                        ? "they lie in the part that was cut off: take it again"
	                        : "before the next one: echo 0x73 > /proc/PID/coredump_filter";
}

HS_CHECK(kind)
{
	check->answer = HS_YES;
	if (facts->core.is_snapshot)
		check->detail = "by hangscope snapshot, of a process that ran on";
	else if (facts->core.killed)
		check->detail =
			hs_arena_printf(arena, "by the kernel, when signal %d ended the process",
		                        facts->core.signo);
	else
		check->detail = "on demand (gcore): the process did not crash";
}
