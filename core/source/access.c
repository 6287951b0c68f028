// SPDX-License-Identifier: Apache-2.0
/** @file Which rule of the kernel keeps us out: the judgement, and its words. */

#include "core/source/access.h"

#include <stdio.h>

enum {
	CAPABILITY_SYS_PTRACE = 19, /**< CAP_SYS_PTRACE, linux/capability.h */
	YAMA_CHILD = 1,
	YAMA_ADMIN,
	YAMA_NOBODY, /**< /proc/sys/kernel/yama/ptrace_scope */
};

bool hs_access_privileged(const struct hs_access *access)
{
	bool has_cap = access->caps >> CAPABILITY_SYS_PTRACE & 1;

	return (has_cap && access->below_user_ns != HS_NO) || access->owns_user_ns;
}

// ---- the rules

static bool by_seccomp(const struct hs_access *access)
{
	return access->ptrace_call == HS_NO;
}

static bool by_yama_nobody(const struct hs_access *access)
{
	return access->yama >= YAMA_NOBODY;
}

// Equal user ids mean nothing across user namespaces.
static bool by_user_namespace(const struct hs_access *access)
{
	return access->same_user_ns == HS_NO && !hs_access_privileged(access);
}

static bool by_uid(const struct hs_access *access)
{
	if (!access->has_ids || hs_access_privileged(access))
		return false;
	for (size_t i = 0; i < 3; i++) {
		if (access->uids[i] != access->uid || access->gids[i] != access->gid)
			return true;
	}
	return false;
}

static bool by_dumpable(const struct hs_access *access)
{
	return access->dumpable == HS_NO && !hs_access_privileged(access);
}

static bool by_capabilities(const struct hs_access *access)
{
	return (access->their_caps & ~access->caps) && !hs_access_privileged(access);
}

static bool by_yama_admin(const struct hs_access *access)
{
	return access->yama == YAMA_ADMIN && !hs_access_privileged(access);
}

// A descendant of ours, or one that has named us with PR_SET_PTRACER, opens its memory to us.
static bool by_yama_child(const struct hs_access *access)
{
	return access->yama == YAMA_CHILD && !hs_access_privileged(access);
}

static bool by_tracer(const struct hs_access *access)
{
	return access->tracer != 0;
}

static bool by_module(const struct hs_access *access)
{
	if (access->memory != HS_NO)
		return false;
	for (int i = 0; i < HS_REFUSAL_MODULE; i++) {
		// A tracer keeps nobody from reading, nor does a filter on ptrace().
		if (i != HS_REFUSAL_TRACED && i != HS_REFUSAL_SECCOMP &&
		    hs_access_applies(access, (enum hs_refusal)i))
			return false;
	}
	return true;
}

bool hs_access_applies(const struct hs_access *access, enum hs_refusal refusal)
{
	static bool (*const rules[HS_REFUSAL_COUNT])(const struct hs_access *access) = {
		[HS_REFUSAL_SECCOMP] = by_seccomp,
		[HS_REFUSAL_YAMA_NOBODY] = by_yama_nobody,
		[HS_REFUSAL_USER_NAMESPACE] = by_user_namespace,
		[HS_REFUSAL_UID] = by_uid,
		[HS_REFUSAL_DUMPABLE] = by_dumpable,
		[HS_REFUSAL_CAPABILITIES] = by_capabilities,
		[HS_REFUSAL_YAMA_ADMIN] = by_yama_admin,
		[HS_REFUSAL_YAMA_CHILD] = by_yama_child,
		[HS_REFUSAL_TRACED] = by_tracer,
		[HS_REFUSAL_MODULE] = by_module,
	};

	// Asked itself, the kernel allows it: only what is no part of its answer can still refuse.
	if (access->memory == HS_YES && refusal != HS_REFUSAL_SECCOMP &&
	    refusal != HS_REFUSAL_TRACED)
		return false;
	return refusal < HS_REFUSAL_COUNT && rules[refusal](access);
}

enum hs_refusal hs_access_judge(const struct hs_access *access)
{
	enum hs_refusal refusal = 0;

	while (refusal < HS_REFUSAL_COUNT && !hs_access_applies(access, refusal))
		refusal++;
	return refusal;
}

// ---- words

static void uid_words(const struct hs_access *access, char *buf, size_t size)
{
	if (access->uids[0] != access->uid)
		snprintf(buf, size,
		         "it belongs to uid %llu, and we are uid %llu without CAP_SYS_PTRACE",
		         (unsigned long long)access->uids[0], (unsigned long long)access->uid);
	else
		snprintf(buf, size,
		         "its user and group ids are not all ours (uid %llu, gid %llu), and we "
		         "have no CAP_SYS_PTRACE",
		         (unsigned long long)access->uid, (unsigned long long)access->gid);
}

static void module_words(const struct hs_access *access, char *buf, size_t size)
{
	if (access->deny_ptrace)
		snprintf(buf, size, "SELinux forbids ptrace to everyone (deny_ptrace)");
	else if (access->label[0] || access->their_label[0])
		snprintf(buf, size,
		         "AppArmor or SELinux refuses it: we run as \"%s\", the process as \"%s\"",
		         access->label, access->their_label);
	else
		snprintf(buf, size, "%s",
		         hs_access_privileged(access)
		                 ? "we have CAP_SYS_PTRACE, so a security module (AppArmor, "
		                   "SELinux, Landlock) refuses it"
		                 : "we have no CAP_SYS_PTRACE, and it is not dumpable, or a user "
		                   "namespace or a security module (AppArmor, SELinux, Landlock) "
		                   "is in the way");
}

void hs_access_words(const struct hs_access *access, enum hs_refusal refusal, char *buf,
                     size_t size)
{
	static const char *const words[HS_REFUSAL_COUNT] = {
		[HS_REFUSAL_SECCOMP] = "a seccomp filter on this shell or container blocks ptrace",
		[HS_REFUSAL_YAMA_NOBODY] =
			"kernel.yama.ptrace_scope is 3: nobody may attach until the next boot",
		[HS_REFUSAL_DUMPABLE] =
			"it is not dumpable (set-uid, prctl(PR_SET_DUMPABLE) or a program that we "
			"may not read), and we have no CAP_SYS_PTRACE",
		[HS_REFUSAL_CAPABILITIES] =
			"it has capabilities that we lack, and we have no CAP_SYS_PTRACE",
		[HS_REFUSAL_YAMA_ADMIN] =
			"kernel.yama.ptrace_scope is 2 and we have no CAP_SYS_PTRACE",
		[HS_REFUSAL_YAMA_CHILD] =
			"kernel.yama.ptrace_scope is 1, it is no child of ours, and we have no "
			"CAP_SYS_PTRACE",
	};

	switch (refusal) {
	case HS_REFUSAL_UID:
		uid_words(access, buf, size);
		break;
	case HS_REFUSAL_USER_NAMESPACE:
		snprintf(buf, size, "it lives in another user namespace, where %s",
		         access->caps >> CAPABILITY_SYS_PTRACE & 1
		                 ? "our CAP_SYS_PTRACE does not count"
		                 : "our user id does not count");
		break;
	case HS_REFUSAL_TRACED:
		snprintf(buf, size, "it is traced already, by %d (%s)", (int)access->tracer,
		         access->tracer_name);
		break;
	case HS_REFUSAL_MODULE:
		module_words(access, buf, size);
		break;
	case HS_REFUSAL_NONE:
		snprintf(buf, size,
		         "the kernel does not say why; nothing that is known forbids it");
		break;
	default:
		snprintf(buf, size, "%s", words[refusal]);
		break;
	}
}
