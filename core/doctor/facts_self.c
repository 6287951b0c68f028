// SPDX-License-Identifier: Apache-2.0
/** @file Where we run: host or container, whose, under which name; what we may load. */

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/doctor/facts.h"
#include "core/native/thread_db.h"
#include "core/source/live.h"

enum {
	CGROUP_TEXT = 16 << 10,
	MOUNTS_TEXT = 1 << 20, /**< of a host with thousands of containers, the first part */
	MAX_PLAIN_NAME = 253,  /**< of a name in Kubernetes */
	SHORT_ID = 12,         /**< characters that name a container */
	RESOLVER_TEXT = 4096,  /**< Kubernetes: 2048 bytes of domains, three servers */
};

bool hs_is_plain_name(const char *name)
{
	static const char allowed[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	size_t len = name ? strlen(name) : 0;

	return len && len <= MAX_PLAIN_NAME && *name != '-' && strspn(name, allowed) == len;
}

const char *hs_place_name(enum hs_place_kind kind)
{
	static const char *const names[] = {"host", "kubernetes", "docker", "podman", "container"};

	return names[kind];
}

static bool exists(const char *path)
{
	return access(path, F_OK) == 0;
}

/** The text of a file below /proc/self, from malloc, or NULL. */
static char *read_self(const char *path, size_t size)
{
	hs_cleanup(hs_freep) char *text = malloc(size);

	if (!text || hs_live_read_text(AT_FDCWD, path, text, size) <= 0)
		return NULL;
	return hs_take(text);
}

/** Our root directory is one that a container runtime put together. */
static bool root_is_layered(const char *mounts)
{
	const char *root = mounts ? strstr(mounts, " / / ") : NULL;
	const char *end = root ? strchr(root, '\n') : NULL;
	const char *overlay = root ? strstr(root, " - overlay ") : NULL;

	if (!overlay || (end && overlay > end))
		return false;
	const char *runtime = strstr(overlay, "contain");
	const char *docker = strstr(overlay, "docker");
	return (runtime && (!end || runtime < end)) || (docker && (!end || docker < end));
}

static enum hs_place_kind place_of(const char *cgroup, const char *mounts)
{
	if (getenv("KUBERNETES_SERVICE_HOST") || exists("/var/run/secrets/kubernetes.io") ||
	    (cgroup && strstr(cgroup, "kubepods")))
		return HS_PLACE_KUBERNETES;
	if (exists("/run/.containerenv") || (cgroup && strstr(cgroup, "/libpod-")))
		return HS_PLACE_PODMAN;
	if (exists("/.dockerenv") ||
	    (cgroup && (strstr(cgroup, "/docker/") || strstr(cgroup, "/docker-"))))
		return HS_PLACE_DOCKER;
	if (getenv("container") || root_is_layered(mounts))
		return HS_PLACE_CONTAINER;
	return HS_PLACE_HOST;
}

/** The runtime mounts files of ours that lie in a directory named by the container's id. */
static const char *id_of(const char *mounts, struct hs_arena *arena)
{
	static const char *const parents[] = {"/docker/containers/", "/overlay-containers/"};

	for (size_t i = 0; mounts && i < sizeof(parents) / sizeof(*parents); i++) {
		const char *at = strstr(mounts, parents[i]);

		if (!at)
			continue;
		at += strlen(parents[i]);
		if (strspn(at, "0123456789abcdef") >= SHORT_ID)
			return hs_arena_strndup(arena, at, SHORT_ID);
	}
	return NULL;
}

/** The value of hidepid= among the options of the last mount of /proc: it covers the others. */
static const char *hidepid_of(const char *mounts, struct hs_arena *arena)
{
	static const char option[] = "hidepid=";
	const char *line = NULL;

	for (const char *at = mounts; at && (at = strstr(at, " /proc ")); at++)
		line = at;
	const char *end = line ? strchr(line, '\n') : NULL;
	const char *at = line ? strstr(line, option) : NULL;
	if (!at || (end && at > end))
		return NULL;
	at += strlen(option);
	const char *value = hs_arena_strndup(arena, at, strcspn(at, ", \n"));
	return value && strcmp(value, "0") != 0 && strcmp(value, "off") != 0 ? value : NULL;
}

const char *hs_resolver_namespace(const char *text, struct hs_arena *arena)
{
	static const char search[] = "search", service[] = ".svc.";
	const char *line = text;

	for (; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		size_t len = strcspn(line, "\n");
		size_t at = sizeof(search) - 1;

		if (strncmp(line, search, at) != 0 || !strspn(line + at, " \t"))
			continue;
		// One domain after the other; that of a namespace is NAMESPACE.svc.ZONE.
		while ((at += strspn(line + at, " \t")) < len) {
			size_t label = strcspn(line + at, ". \t\n");

			if (strncmp(line + at + label, service, sizeof(service) - 1) == 0) {
				const char *name = hs_arena_strndup(arena, line + at, label);

				return hs_is_plain_name(name) ? name : NULL;
			}
			at += strcspn(line + at, " \t\n");
		}
	}
	return NULL;
}

static void read_pod(struct hs_place *place, struct hs_arena *arena)
{
	char text[RESOLVER_TEXT];

	// The name of the host is that of the pod, unless the pod shares the node's network.
	if (gethostname(text, sizeof(text)) == 0) {
		text[sizeof(text) - 1] = '\0';
		place->pod = hs_is_plain_name(text) ? hs_arena_strdup(arena, text) : NULL;
	}
	if (hs_live_read_text(AT_FDCWD, "/var/run/secrets/kubernetes.io/serviceaccount/namespace",
	                      text, sizeof(text)) > 0)
		place->pod_namespace = hs_is_plain_name(text) ? hs_arena_strdup(arena, text) : NULL;
	// A pod may have no token mounted (automountServiceAccountToken: false).
	if (!place->pod_namespace &&
	    hs_live_read_text(AT_FDCWD, "/etc/resolv.conf", text, sizeof(text)) > 0)
		place->pod_namespace = hs_resolver_namespace(text, arena);
}

static bool proc_is_foreign(void)
{
	char link[16];
	ssize_t len = readlink("/proc/self", link, sizeof(link) - 1);

	if (len < 0)
		return true;
	link[len] = '\0';
	return atoi(link) != getpid();
}

static void read_thread_db(struct hs_doctor_facts *facts, struct hs_arena *arena)
{
	struct hs_err *err = hs_thread_db_check();

	facts->thread_db = err ? HS_NO : HS_YES;
	if (err)
		facts->why_no_thread_db = hs_arena_strdup(arena, hs_err_message(err));
	hs_err_free(err);
}

void hs_facts_self(struct hs_doctor_facts *facts, struct hs_arena *arena)
{
	hs_cleanup(hs_freep) char *cgroup = read_self("/proc/self/cgroup", CGROUP_TEXT);
	hs_cleanup(hs_freep) char *mounts = read_self("/proc/self/mountinfo", MOUNTS_TEXT);
	struct hs_place *place = &facts->place;

	place->kind = place_of(cgroup, mounts);
	if (place->kind != HS_PLACE_HOST)
		place->container_id = id_of(mounts, arena);
	if (place->kind == HS_PLACE_KUBERNETES)
		read_pod(place, arena);
	facts->foreign_proc = proc_is_foreign();
	facts->hidepid = hidepid_of(mounts, arena);
	hs_access_read_self(&facts->access);
	read_thread_db(facts, arena);
}
