// SPDX-License-Identifier: Apache-2.0
/** @file What to do about a refusal, in this place: one command, not a list. */

#include "core/doctor/facts.h"

/** How much must be lifted. */
enum lift {
	LIFT_RIGHTS,  /**< CAP_SYS_PTRACE will do */
	LIFT_SANDBOX, /**< a seccomp filter or a security module, too */
};

/** "hangscope 123", as the last words of a command. */
static const char *command(const struct hs_doctor_facts *facts, struct hs_arena *arena)
{
	return facts->pid ? hs_arena_printf(arena, "hangscope %d", (int)facts->pid)
	                  : "hangscope PID";
}

/** Would a container of the process's own user and group do, without any capability? */
static bool own_user_will_do(const struct hs_access *access)
{
	if (!access->has_ids || !access->uids[0] || access->yama > 0 || access->their_caps ||
	    access->dumpable != HS_YES || access->same_user_ns == HS_NO)
		return false;
	for (size_t i = 1; i < 3; i++) {
		if (access->uids[i] != access->uids[0] || access->gids[i] != access->gids[0])
			return false;
	}
	return access->uid != access->uids[0] || access->gid != access->gids[0];
}

/**
 * A new ephemeral container: what an existing one may do cannot be changed. The profiles grant
 * capabilities to the container, and only root's processes have them in effect. It gets a shell and
 * a name, so that it is still there when a capture is fetched from it.
 */
static const char *in_kubernetes(const struct hs_doctor_facts *facts, enum lift lift,
                                 struct hs_arena *arena)
{
	const struct hs_place *place = &facts->place;
	const struct hs_access *access = &facts->access;
	const char *why = "", *instead = "";

	if (access->uid != 0)
		why = hs_arena_printf(
			arena,
			"; the pod runs as uid %llu, which has no capabilities: ptrace.json, of "
			"samples/kubernetes, says {\"securityContext\": {\"runAsUser\": 0, "
			"\"runAsNonRoot\": false, \"capabilities\": {\"add\": "
			"[\"SYS_PTRACE\"]}}}",
			(unsigned long long)access->uid);
	// What the namespace admits cannot be seen from within a pod.
	if (lift == LIFT_RIGHTS && own_user_will_do(access))
		instead = hs_arena_printf(
			arena,
			"; if the namespace refuses that (Pod Security): --profile=restricted "
			"--custom=same-user.json, of samples/kubernetes, with runAsUser %llu and "
			"runAsGroup %llu in it",
			(unsigned long long)access->uids[0], (unsigned long long)access->gids[0]);
	if (!why || !instead)
		return NULL;
	return hs_arena_printf(
		arena,
		"kubectl debug -it %s -n %s --image=IMAGE --target=%s --profile=%s%s "
		"-c hangscope-debug -- sh   and in its shell: %s   (a name can be used once: take "
		"another after -c for another try%s%s)",
		place->pod ? place->pod : "POD",
		place->pod_namespace ? place->pod_namespace : "NAMESPACE",
		place->pod_container ? place->pod_container : "CONTAINER",
		lift == LIFT_SANDBOX ? "sysadmin" : "general",
		access->uid == 0 ? "" : " --custom=ptrace.json", command(facts, arena), why,
		instead);
}

/** exec --privileged gives every capability, but the seccomp filter stays that of the container. */
static const char *in_docker(const struct hs_doctor_facts *facts, enum lift lift,
                             struct hs_arena *arena)
{
	const char *tool = hs_place_name(facts->place.kind);
	const char *id = facts->place.container_id ? facts->place.container_id : "CONTAINER";

	if (lift == LIFT_RIGHTS)
		return hs_arena_printf(arena, "on the host: %s exec -it --privileged -u 0 %s %s",
		                       tool, id, command(facts, arena));
	return hs_arena_printf(arena,
	                       "on the host: %s run --rm -it --pid=container:%s "
	                       "--cap-add=SYS_PTRACE --security-opt seccomp=unconfined "
	                       "--security-opt %s IMAGE %s",
	                       tool, id,
	                       facts->place.kind == HS_PLACE_PODMAN ? "label=disable"
	                                                            : "apparmor=unconfined",
	                       command(facts, arena));
}

static const char *in_container(const struct hs_doctor_facts *facts, enum lift lift,
                                struct hs_arena *arena)
{
	return hs_arena_printf(arena,
	                       "run %s as root on the host of this container, or in a container "
	                       "with its pid namespace and CAP_SYS_PTRACE%s",
	                       command(facts, arena),
	                       lift == LIFT_SANDBOX ? ", without a seccomp filter" : "");
}

static const char *on_host(const struct hs_doctor_facts *facts, enum lift lift,
                           struct hs_arena *arena)
{
	if (lift == LIFT_SANDBOX)
		return "start hangscope from a shell outside of the sandbox (systemd: without "
		       "SystemCallFilter=; bubblewrap, firejail, flatpak: outside of them)";
	if (facts->access.uid != 0)
		return hs_arena_printf(arena, "sudo %s", command(facts, arena));
	return "start hangscope from a root shell that has CAP_SYS_PTRACE: this one was stripped "
	       "of it (systemd: CapabilityBoundingSet=)";
}

static const char *lift_here(const struct hs_doctor_facts *facts, enum lift lift,
                             struct hs_arena *arena)
{
	switch (facts->place.kind) {
	case HS_PLACE_KUBERNETES:
		return in_kubernetes(facts, lift, arena);
	case HS_PLACE_DOCKER:
	case HS_PLACE_PODMAN:
		return in_docker(facts, lift, arena);
	case HS_PLACE_CONTAINER:
		return in_container(facts, lift, arena);
	case HS_PLACE_HOST:
		break;
	}
	return on_host(facts, lift, arena);
}

/** What can be done at once where reading is allowed and only the stop is not. */
static const char *unstopped(const struct hs_doctor_facts *facts, const char *otherwise,
                             struct hs_arena *arena)
{
	if (facts->access.memory != HS_YES || !otherwise)
		return otherwise;
	return hs_arena_printf(arena, "%s --no-stop (reading is allowed); for full stacks: %s",
	                       command(facts, arena), otherwise);
}

static const char *end_tracer(const struct hs_doctor_facts *facts, struct hs_arena *arena)
{
	return hs_arena_printf(arena, "let %s detach (process %d)", facts->access.tracer_name,
	                       (int)facts->access.tracer);
}

static const char *out_of_namespace(const struct hs_doctor_facts *facts, struct hs_arena *arena)
{
	if (facts->place.kind == HS_PLACE_HOST && facts->access.uid != 0)
		return hs_arena_printf(arena, "sudo %s", command(facts, arena));
	return hs_arena_printf(arena,
	                       "run %s as root in the user namespace of the process or above it "
	                       "(on the host or the node)",
	                       command(facts, arena));
}

const char *hs_remedy_refusal(const struct hs_doctor_facts *facts, enum hs_refusal refusal,
                              struct hs_arena *arena)
{
	switch (refusal) {
	case HS_REFUSAL_SECCOMP:
		return unstopped(facts, lift_here(facts, LIFT_SANDBOX, arena), arena);
	case HS_REFUSAL_TRACED:
		return unstopped(facts, end_tracer(facts, arena), arena);
	case HS_REFUSAL_MODULE:
		if (facts->access.deny_ptrace)
			return "on the host: sudo setsebool deny_ptrace off";
		// Without rights it may as well be those.
		return hs_access_privileged(&facts->access) && facts->place.kind == HS_PLACE_HOST
		               ? "look into the audit log (journalctl -k -g 'DENIED|avc') for the "
		                 "rule, and run hangscope outside of that profile"
		               : lift_here(facts,
		                           hs_access_privileged(&facts->access) ? LIFT_SANDBOX
		                                                                : LIFT_RIGHTS,
		                           arena);
	case HS_REFUSAL_YAMA_NOBODY:
		return "nothing lifts it before the next boot; a core that the kernel writes (kill "
		       "-ABRT ends the process) can be analysed";
	case HS_REFUSAL_USER_NAMESPACE:
		return out_of_namespace(facts, arena);
	default:
		return lift_here(facts, LIFT_RIGHTS, arena);
	}
}

const char *hs_remedy_hidden(const struct hs_doctor_facts *facts, struct hs_arena *arena)
{
	return lift_here(facts, LIFT_RIGHTS, arena);
}

uint64_t hs_wanted_filter(const struct hs_core_writing *writing)
{
	enum { // core(5)
		ANONYMOUS = 0x03,
		FILE_PRIVATE = 0x04,
		ELF_HEADERS = 0x10,
		HUGE_PAGES = 0x60,
	};

	return writing->filter | ANONYMOUS | ELF_HEADERS |
	       (writing->maps_cds_archive ? FILE_PRIVATE : 0) |
	       (writing->uses_huge_pages ? HUGE_PAGES : 0);
}
