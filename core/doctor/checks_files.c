// SPDX-License-Identifier: Apache-2.0
/** @file Files of the program: names of functions and unwinding come from them. */

#include <string.h>

#include "core/doctor/checks.h"

enum {
	LOST_SHOWN = 5,
};

static bool unknown(const struct hs_doctor_facts *facts, struct hs_arena *arena,
                    struct hs_check *check)
{
	if (facts->files.known)
		return false;
	check->answer = HS_UNKNOWN;
	check->detail = facts->files.why_unknown
	                        ? hs_arena_printf(arena, "%s", facts->files.why_unknown)
	                        : NULL;
	return true;
}

static const char *add(struct hs_arena *arena, const char *list, const struct hs_lost_file *file)
{
	return hs_arena_printf(arena, "%s%s%s (%s%s%s%s)", list, *list ? "; " : "", file->path,
	                       file->why ? file->why : "not here",
	                       file->build_id ? "; build id " : "",
	                       file->build_id ? file->build_id : "",
	                       file->from_memory ? "; what memory has of it is used" : "");
}

static const char *lost_remedy(const struct hs_doctor_facts *facts, struct hs_arena *arena)
{
	const struct hs_lost_file *first = &facts->files.lost.items[0];

	if (facts->kind == HS_DOCTOR_LIVE)
		return facts->access.uid
		               ? hs_arena_printf(arena,
		                                 "run it as root: deleted files are open to root "
		                                 "below /proc/%d/map_files",
		                                 (int)facts->pid)
		               : hs_arena_printf(arena,
		                                 "hangscope %d --root DIR, where DIR%s is that "
		                                 "file, from the same image or package",
		                                 (int)facts->pid, first->path);
	if (facts->files.lost.len == 1 && first->is_main)
		return hs_arena_printf(arena, "hangscope %s --exe FILE, where FILE is that program",
		                       facts->given);
	return hs_arena_printf(arena,
	                       "hangscope %s --root DIR, where DIR%s is that file: unpack the "
	                       "container's image into DIR, or copy the files from where the "
	                       "core was taken",
	                       facts->given, first->path);
}

HS_CHECK(files)
{
	const struct hs_file_facts *files = &facts->files;
	const char *list = "";

	if (unknown(facts, arena, check))
		return;
	check->answer = files->lost.len ? HS_NO : HS_YES;
	if (!files->lost.len) {
		check->detail = hs_arena_printf(arena, "%zu files", files->num);
		return;
	}
	for (size_t i = 0; list && i < files->lost.len && i < LOST_SHOWN; i++)
		list = add(arena, list, &files->lost.items[i]);
	check->detail =
		hs_arena_printf(arena, "%zu of %zu are not: %s%s", files->lost.len, files->num,
	                        list ? list : "", files->lost.len > LOST_SHOWN ? "; …" : "");
	check->remedy = lost_remedy(facts, arena);
}

HS_CHECK(build_ids)
{
	const struct hs_file_facts *files = &facts->files;

	if (!files->known)
		return;
	check->answer = files->num_unproven || files->num_without_id ? HS_NO : HS_YES;
	if (files->num_unproven) {
		check->detail = hs_arena_printf(
			arena,
			"%zu file%s used by path: the target's memory does not show which build "
			"it is",
			files->num_unproven, files->num_unproven == 1 ? " is" : "s are");
		check->remedy =
			facts->kind == HS_DOCTOR_CORE
				? "see that they are those of the process; for the next core: "
				  "bit 0x10 of coredump_filter keeps the ELF headers"
				: "nothing needs to be done: these are the mapped files";
	} else if (files->num_without_id) {
		check->detail = hs_arena_printf(arena, "%zu of %zu files have none",
		                                files->num_without_id, files->num);
		check->remedy = "link them with --build-id, so that cores can be matched";
	}
}

HS_CHECK(libc)
{
	const struct hs_file_facts *files = &facts->files;

	(void)arena;
	if (!files->known)
		return;
	check->answer = files->libc ? HS_YES : HS_NO;
	check->detail = files->libc;
	if (files->libc)
		return;
	check->detail = "neither glibc nor musl is mapped: a static program, or another library";
	check->remedy = "nothing needs to be done: what pthread locks need is looked for in the "
			"program itself";
}

HS_CHECK(libc_symbols)
{
	const char *distribution = facts->files.distribution;

	(void)arena;
	check->answer = facts->files.libc_symbols;
	if (check->answer != HS_NO)
		return;
	check->detail = "only exported functions of it have names";
	if (facts->files.libc && strcmp(facts->files.libc, "musl") == 0)
		check->remedy = "apk add musl-dbg, of the same version";
	else if (distribution && (!strcmp(distribution, "fedora") || !strcmp(distribution, "rhel")))
		check->remedy = "dnf debuginfo-install glibc, of the same version";
	else
		check->remedy = "apt-get install libc6-dbg, of the same version (or --debug-dir)";
}

HS_CHECK(jvm_symbols)
{
	const struct hs_file_facts *files = &facts->files;

	if (!files->jvm)
		return;
	check->answer = files->jvm_symbols;
	if (check->answer != HS_NO)
		return;
	check->detail = "functions inside of the VM have no names; Java stacks and locks need none";
	// Debian's directories are named java-17-openjdk-amd64, its packages openjdk-17-dbg.
	const char *digits = files->jvm_package ? strpbrk(files->jvm_package, "0123456789") : NULL;
	if (digits && strstr(files->jvm_package, "-openjdk-amd64"))
		check->remedy = hs_arena_printf(arena,
		                                "apt-get install openjdk-%.*s-dbg, of the same "
		                                "version (or --debug-dir)",
		                                (int)strspn(digits, "0123456789"), digits);
	else
		check->remedy = "put libjvm.debuginfo of the same build beside libjvm.so, or give "
				"--debug-dir DIR with .build-id/…";
}

HS_CHECK(thread_db)
{
	(void)arena;
	check->answer = facts->thread_db;
	if (check->answer != HS_NO)
		return;
	check->detail = facts->why_no_thread_db;
	check->remedy = "nothing needs to be done: thread structures are read from the target's "
			"libc instead";
}
