// SPDX-License-Identifier: Apache-2.0
/** @file May we attach? The kernel's rules one by one, and its own answer at the end. */

#include "core/doctor/checks.h"

enum {
	CAPABILITY_SYS_PTRACE = 19, /**< CAP_SYS_PTRACE, linux/capability.h */
};

bool hs_is_examinable(const struct hs_doctor_facts *facts)
{
	return facts->exists && !facts->is_kernel_thread && !facts->is_foreign &&
	       facts->state != 'Z' && facts->state != 'X';
}

/** The answer that a rule of the kernel gives. */
static void by_rule(const struct hs_doctor_facts *facts, enum hs_refusal refusal,
                    struct hs_arena *arena, struct hs_check *check)
{
	char words[HS_ACCESS_WORDS];

	if (!hs_access_applies(&facts->access, refusal)) {
		check->answer = HS_YES;
		return;
	}
	hs_access_words(&facts->access, refusal, words, sizeof(words));
	check->answer = HS_NO;
	check->detail = hs_arena_strdup(arena, words);
	check->remedy = hs_remedy_refusal(facts, refusal, arena);
}

static bool has_cap(const struct hs_doctor_facts *facts)
{
	return facts->access.caps >> CAPABILITY_SYS_PTRACE & 1;
}

HS_CHECK(process)
{
	check->answer = hs_is_examinable(facts) ? HS_YES : HS_NO;
	if (check->answer == HS_YES) {
		if (facts->num_levels > 1)
			check->detail = hs_arena_printf(
				arena, "it is in a pid namespace of its own, %zu below ours",
				facts->num_levels - 1);
	} else if (facts->hidden) {
		check->detail = hs_arena_printf(arena,
		                                "/proc hides it from us (hidepid=%s): it belongs "
		                                "to another user",
		                                facts->hidepid ? facts->hidepid : "?");
		check->remedy = hs_remedy_hidden(facts, arena);
	} else if (!facts->exists) {
		check->detail = "there is no such process";
		check->remedy = facts->place.kind == HS_PLACE_HOST
		                        ? "look for its number with ps or pgrep"
		                        : "look for its number with ps, here: in a container "
		                          "processes have other numbers than on the host, and "
		                          "only those of a shared pid namespace are seen "
		                          "(kubectl debug --target=CONTAINER, --pid=container:ID)";
	} else if (facts->is_kernel_thread) {
		check->detail = "it is a kernel thread: it has no program to look at";
		check->remedy = "choose a process of a program";
	} else if (facts->is_foreign) {
		check->detail = "it is not an x86_64 program (32-bit, or emulated)";
		check->remedy = "use gdb for it: hangscope reads x86_64 only";
	} else {
		check->detail = "it is a zombie: it has exited, and its parent has not collected "
				"its status yet";
		check->remedy = "nothing is left to look at; look at its parent";
	}
}

HS_CHECK(proc)
{
	(void)arena;
	check->answer = facts->foreign_proc ? HS_NO : HS_YES;
	if (!facts->foreign_proc)
		return;
	check->detail = "/proc is not mounted, or belongs to another pid namespace than ours";
	check->remedy = "mount our own: unshare --mount-proc, or nsenter with --pid and --mount";
}

HS_CHECK(capability)
{
	check->answer = has_cap(facts) ? HS_YES : HS_NO;
	if (has_cap(facts))
		return;
	check->detail = hs_arena_printf(arena, "only processes of uid %llu can be attached to",
	                                (unsigned long long)facts->access.uid);
	check->remedy = hs_remedy_refusal(facts, HS_REFUSAL_UID, arena);
}

HS_CHECK(seccomp)
{
	by_rule(facts, HS_REFUSAL_SECCOMP, arena, check);
	if (facts->access.ptrace_call == HS_UNKNOWN) {
		check->answer = HS_UNKNOWN;
		check->detail = "there is a filter, and it could not be tried";
	} else if (check->answer == HS_YES) {
		check->detail = facts->access.has_filter ? "there is a filter, which allows it"
		                                         : "there is no filter";
	}
}

HS_CHECK(readv)
{
	(void)arena;
	if (facts->access.readv_call != HS_NO)
		return; // the question before says it all
	check->answer = HS_NO;
	check->detail = "memory is read through /proc/PID/mem instead: nothing is lost but time";
	check->remedy = "nothing needs to be done";
}

HS_CHECK(yama)
{
	enum hs_refusal refusal = HS_REFUSAL_YAMA_NOBODY;

	if (hs_access_applies(&facts->access, HS_REFUSAL_YAMA_ADMIN))
		refusal = HS_REFUSAL_YAMA_ADMIN;
	else if (hs_access_applies(&facts->access, HS_REFUSAL_YAMA_CHILD))
		refusal = HS_REFUSAL_YAMA_CHILD;
	by_rule(facts, refusal, arena, check);
	if (check->answer == HS_NO)
		return;
	check->detail = facts->access.yama < 0
	                        ? "there is no Yama"
	                        : hs_arena_printf(arena, "kernel.yama.ptrace_scope is %d",
	                                          facts->access.yama);
}

HS_CHECK(user_namespace)
{
	by_rule(facts, HS_REFUSAL_USER_NAMESPACE, arena, check);
	if (check->answer == HS_NO)
		return;
	if (facts->access.same_user_ns == HS_NO)
		check->detail = facts->access.below_user_ns == HS_YES
		                        ? "its user namespace is below ours"
		                        : "it is in another, and the kernel allows it";
	else if (facts->access.same_user_ns == HS_YES)
		check->detail = "it is in ours";
	else
		check->answer = HS_UNKNOWN;
}

HS_CHECK(uid)
{
	by_rule(facts, HS_REFUSAL_UID, arena, check);
	if (check->answer == HS_NO)
		return;
	check->detail = hs_arena_printf(
		arena, "it belongs to uid %llu, we are uid %llu %s CAP_SYS_PTRACE",
		(unsigned long long)facts->access.uids[0], (unsigned long long)facts->access.uid,
		has_cap(facts) ? "with" : "without");
	if (!facts->access.has_ids)
		check->answer = HS_UNKNOWN;
}

HS_CHECK(dumpable)
{
	by_rule(facts, HS_REFUSAL_DUMPABLE, arena, check);
	if (check->answer == HS_YES && facts->access.dumpable == HS_NO)
		check->detail = hs_access_privileged(&facts->access)
		                        ? "it is not dumpable, and we have CAP_SYS_PTRACE"
		                        : "it is not dumpable, and the kernel allows it";
	else if (check->answer == HS_YES && facts->access.dumpable == HS_UNKNOWN &&
	         facts->access.memory != HS_YES)
		check->answer = HS_UNKNOWN;
}

HS_CHECK(capabilities)
{
	by_rule(facts, HS_REFUSAL_CAPABILITIES, arena, check);
	if (check->answer == HS_YES && (facts->access.their_caps & ~facts->access.caps))
		check->detail = hs_access_privileged(&facts->access)
		                        ? "not every one, but CAP_SYS_PTRACE, which is enough"
		                        : "not every one, and the kernel allows it";
}

HS_CHECK(tracer)
{
	by_rule(facts, HS_REFUSAL_TRACED, arena, check);
}

HS_CHECK(module)
{
	by_rule(facts, HS_REFUSAL_MODULE, arena, check);
	// What another rule forbids never gets as far as the modules.
	if (check->answer == HS_YES && facts->access.memory != HS_YES)
		check->answer = HS_UNKNOWN;
}

HS_CHECK(memory)
{
	enum hs_refusal refusal = hs_access_judge(&facts->access);

	check->answer = facts->access.memory;
	if (check->answer == HS_UNKNOWN)
		check->detail = "it did not say";
	if (check->answer != HS_NO)
		return;
	check->detail = "/proc/PID/mem cannot be opened";
	// A tracer or a filter on ptrace() does not keep it shut.
	if (refusal == HS_REFUSAL_SECCOMP || refusal == HS_REFUSAL_TRACED)
		refusal = HS_REFUSAL_MODULE;
	check->remedy = hs_remedy_refusal(facts, refusal, arena);
}

HS_CHECK(running)
{
	static const char stopped[] = "it is stopped (SIGSTOP or job control); it can be attached "
				      "to, and stays stopped";

	(void)arena;
	check->answer = HS_NO;
	if (facts->is_frozen) {
		check->detail = "its control group is frozen";
		check->remedy = facts->place.kind == HS_PLACE_HOST
		                        ? "thaw it: docker unpause, or 0 into its cgroup.freeze"
		                        : "thaw it on the host: docker unpause, or 0 into its "
		                          "cgroup.freeze";
	} else if (facts->state == 'T') {
		check->detail = stopped;
		check->remedy =
			hs_arena_printf(arena, "kill -CONT %d lets it run on", (int)facts->pid);
	} else if (facts->state == 't') {
		check->detail = "its tracer holds it stopped";
		check->remedy = "let the tracer continue it";
	} else if (facts->state == 'D') {
		check->detail = "its first thread is in an uninterruptible sleep (disk, NFS, "
				"driver): it cannot be stopped, and is read as it is";
		check->remedy = hs_arena_printf(arena, "sudo cat /proc/%d/stack says in what",
		                                (int)facts->pid);
	} else {
		check->answer = facts->state ? HS_YES : HS_UNKNOWN;
	}
}
