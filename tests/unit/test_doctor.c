// SPDX-License-Identifier: Apache-2.0
/** @file The doctor's judgement: made-up facts, and what it says to do about them. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/doctor/facts.h"
#include "core/target.h"
#include "tests/support/live_target.h"

enum {
	NOBODY = 65534,
	SYS_PTRACE = 1 << 19,
};

/** A process of uid 1000 on a host, looked at by root. */
static struct hs_doctor_facts healthy(void)
{
	return (struct hs_doctor_facts){
		.kind = HS_DOCTOR_LIVE,
		.given = "4711",
		.pid = 4711,
		.name = "java",
		.exists = true,
		.state = 'S',
		.num_levels = 1,
		.thread_db = HS_YES,
		.access =
			{
				 .caps = SYS_PTRACE,
				 .bounding = SYS_PTRACE,
				 .yama = -1,
				 .ptrace_call = HS_YES,
				 .readv_call = HS_YES,
				 .has_process = true,
				 .has_ids = true,
				 .uids = {1000, 1000, 1000},
				 .gids = {1000, 1000, 1000},
				 .dumpable = HS_YES,
				 .same_user_ns = HS_YES,
				 .below_user_ns = HS_YES,
				 .maps = HS_YES,
				 .memory = HS_YES,
				 },
		.files = {.known = true, .num = 3,    .libc = "glibc"},
	};
}

/** The same, looked at by its own user without any capability. */
static struct hs_doctor_facts own_user(void)
{
	struct hs_doctor_facts facts = healthy();

	facts.access.caps = 0;
	facts.access.uid = facts.access.gid = 1000;
	return facts;
}

/** By another user without any capability. */
static struct hs_doctor_facts stranger(enum hs_place_kind place)
{
	struct hs_doctor_facts facts = healthy();

	facts.access.caps = 0;
	facts.access.uid = facts.access.gid = NOBODY;
	facts.access.memory = facts.access.maps = HS_NO;
	facts.place.kind = place;
	return facts;
}

static const struct hs_check *check_of(const struct hs_diagnosis *diagnosis, const char *id)
{
	hs_vec_each (check, &diagnosis->checks) {
		if (strcmp(check->id, id) == 0)
			return check;
	}
	return NULL;
}

static const struct hs_diagnosis *judge(const struct hs_doctor_facts *facts, struct hs_arena *arena)
{
	const struct hs_diagnosis *diagnosis = NULL;

	assert_null(hs_doctor_judge(facts, arena, &diagnosis));
	hs_vec_each (check, &diagnosis->checks) {
		assert_non_null(check->question);
		if (check->answer == HS_NO && !check->remedy)
			fail_msg("%s: no remedy", check->id);
	}
	return diagnosis;
}

/** What must be said: parts of the verdict and of the remedy, and the check that says no. */
static void expect(struct hs_doctor_facts facts, enum hs_health health, const char *id,
                   const char *verdict, const char *remedy)
{
	hs_cleanup(hs_arena_destroyp) struct hs_arena *arena = hs_arena_create();
	const struct hs_diagnosis *diagnosis = judge(&facts, arena);
	const struct hs_check *check = id ? check_of(diagnosis, id) : NULL;

	if (diagnosis->health != health || !strstr(diagnosis->verdict, verdict) ||
	    (remedy && (!diagnosis->remedy || !strstr(diagnosis->remedy, remedy))) ||
	    (!remedy && diagnosis->remedy))
		fail_msg("%d: %s → %s; wanted %d: %s → %s", (int)diagnosis->health,
		         diagnosis->verdict, diagnosis->remedy ? diagnosis->remedy : "-",
		         (int)health, verdict, remedy ? remedy : "-");
	if (id) {
		assert_non_null(check);
		assert_int_equal(check->answer, HS_NO);
	}
}

static void nothing_is_wrong(void **state)
{
	(void)state;
	expect(healthy(), HS_HEALTH_GOOD, NULL, "PID 4711 (java) can be attached to", NULL);
	expect(own_user(), HS_HEALTH_GOOD, NULL, "can be attached to", NULL);
}

static void another_user(void **state)
{
	(void)state;
	struct hs_doctor_facts facts = stranger(HS_PLACE_HOST);

	expect(facts, HS_HEALTH_REFUSED, "attach.uid",
	       "belongs to uid 1000, and we are uid 65534 without CAP_SYS_PTRACE",
	       "sudo hangscope 4711");
	facts = stranger(HS_PLACE_DOCKER);
	facts.place.container_id = "0123456789ab";
	expect(facts, HS_HEALTH_REFUSED, "attach.uid", "belongs to uid 1000",
	       "docker exec -it --privileged -u 0 0123456789ab hangscope 4711");
	expect(stranger(HS_PLACE_PODMAN), HS_HEALTH_REFUSED, "attach.uid", "uid 65534",
	       "podman exec -it --privileged");
	expect(stranger(HS_PLACE_CONTAINER), HS_HEALTH_REFUSED, "attach.uid", "uid 65534",
	       "on the host of this container");
	facts = healthy();
	facts.access.caps = facts.access.bounding = 0;
	facts.access.memory = HS_NO;
	expect(facts, HS_HEALTH_REFUSED, "attach.uid", "we are uid 0 without CAP_SYS_PTRACE",
	       "CapabilityBoundingSet=");
}

static void in_a_pod(void **state)
{
	(void)state;
	struct hs_doctor_facts facts = stranger(HS_PLACE_KUBERNETES);

	facts.access.uid = facts.access.gid = 0;
	expect(facts, HS_HEALTH_REFUSED, "attach.uid", "uid 1000",
	       "kubectl debug -it POD -n NAMESPACE --image=IMAGE --target=CONTAINER "
	       "--profile=general -c hangscope-debug -- sh");
	expect(facts, HS_HEALTH_REFUSED, "attach.uid", "uid 1000", "in its shell: hangscope 4711");
	facts.place.pod = "shop-7d9f";
	facts.place.pod_namespace = "prod";
	facts.place.pod_container = "app";
	expect(facts, HS_HEALTH_REFUSED, "attach.uid", "uid 1000",
	       "kubectl debug -it shop-7d9f -n prod --image=IMAGE --target=app --profile=general");
	// Capabilities of a container are in effect for root only.
	facts.access.uid = facts.access.gid = NOBODY;
	expect(facts, HS_HEALTH_REFUSED, "attach.uid", "uid 1000",
	       "--profile=general --custom=ptrace.json -c hangscope-debug -- sh");
	expect(facts, HS_HEALTH_REFUSED, "attach.uid", "uid 1000", "in its shell: hangscope 4711");
	facts = healthy();
	facts.place.kind = HS_PLACE_KUBERNETES;
	facts.access.has_filter = true;
	facts.access.ptrace_call = HS_NO;
	expect(facts, HS_HEALTH_REFUSED, "attach.seccomp", "a seccomp filter",
	       "--profile=sysadmin");
	expect(facts, HS_HEALTH_REFUSED, "attach.seccomp", "a seccomp filter",
	       "hangscope 4711 --no-stop");
}

/** A namespace may refuse every capability: its own user is enough, but not for every process. */
static void in_a_restricted_pod(void **state)
{
	(void)state;
	static const char offer[] = "--profile=restricted --custom=same-user.json";
	static const struct {
		uint64_t uid, our_uid, their_caps;
		int yama;
		enum hs_tristate dumpable;
		bool is_offered;
	} rows[] = {
		{1000, 0,      0, -1, HS_YES,     true },
                {1000, NOBODY, 0, 0,  HS_YES,     true },
		{1000, NOBODY, 0, 1,  HS_YES,     false},
                {1000, NOBODY, 0, 0,  HS_NO,      false},
		{1000, NOBODY, 0, 0,  HS_UNKNOWN, false},
                {1000, NOBODY, 1, 0,  HS_YES,     false},
		{1000, 1000,   0, 0,  HS_YES,     false}, // it is something else
		{0,    NOBODY, 0, 0,  HS_YES,     false}, // nobody is root there
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		hs_cleanup(hs_arena_destroyp) struct hs_arena *arena = hs_arena_create();
		struct hs_doctor_facts facts = stranger(HS_PLACE_KUBERNETES);

		facts.access.uid = facts.access.gid = rows[i].our_uid;
		for (size_t j = 0; j < 3; j++)
			facts.access.uids[j] = facts.access.gids[j] = rows[i].uid;
		facts.access.their_caps = rows[i].their_caps;
		facts.access.yama = rows[i].yama;
		facts.access.dumpable = rows[i].dumpable;
		const struct hs_diagnosis *diagnosis = judge(&facts, arena);
		assert_int_equal(diagnosis->health, HS_HEALTH_REFUSED);
		assert_int_equal(strstr(diagnosis->remedy, offer) != NULL, rows[i].is_offered);
		if (rows[i].is_offered)
			assert_non_null(
				strstr(diagnosis->remedy, "runAsUser 1000 and runAsGroup 1000"));
	}
}

static void namespaces_of_resolvers(void **state)
{
	(void)state;
	hs_cleanup(hs_arena_destroyp) struct hs_arena *arena = hs_arena_create();
	static const struct {
		const char *text, *name;
	} rows[] = {
		{"search prod.svc.cluster.local svc.cluster.local cluster.local\nnameserver "
	         "10.0.0.1\n",	                                 "prod"  },
		{"nameserver 10.0.0.1\nsearch\tprod.svc.corp.example options ndots:5",  "prod"  },
		{"search corp.example shop-2.svc.cluster.local\n",                      "shop-2"},
		{"search corp.example\n",					       NULL    },
		{"search svc.cluster.local\n",                                          NULL    },
		{"searching prod.svc.cluster.local\n",                                  NULL    },
		{"# search prod.svc.cluster.local\nsearch a\nprod.svc.cluster.local\n", NULL    },
		{"search $(reboot).svc.cluster.local\n",                                NULL    },
		{"search .svc.cluster.local\n",                                         NULL    },
		{"search",							      NULL    },
		{"",								    NULL    },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		const char *name = hs_resolver_namespace(rows[i].text, arena);

		if (rows[i].name)
			assert_string_equal(name, rows[i].name);
		else
			assert_null(name);
	}
}

static void rules_of_the_kernel(void **state)
{
	(void)state;
	struct hs_doctor_facts facts = own_user();

	facts.access.yama = 1;
	facts.access.memory = HS_NO;
	expect(facts, HS_HEALTH_REFUSED, "attach.yama", "ptrace_scope is 1", "sudo hangscope 4711");
	facts.access.yama = 2;
	expect(facts, HS_HEALTH_REFUSED, "attach.yama", "ptrace_scope is 2", "sudo hangscope 4711");
	facts = healthy();
	facts.access.yama = 2; // CAP_SYS_PTRACE is what it asks for
	expect(facts, HS_HEALTH_GOOD, NULL, "can be attached to", NULL);
	facts.access.yama = 3;
	facts.access.memory = HS_NO;
	expect(facts, HS_HEALTH_REFUSED, "attach.yama", "until the next boot", "next boot");

	facts = own_user();
	facts.access.dumpable = HS_NO;
	facts.access.memory = HS_NO;
	expect(facts, HS_HEALTH_REFUSED, "attach.dumpable", "not dumpable", "sudo hangscope");
	facts = own_user();
	facts.access.their_caps = 1 << 12;
	facts.access.memory = HS_NO;
	expect(facts, HS_HEALTH_REFUSED, "attach.capabilities", "capabilities that we lack",
	       "sudo");
	facts = own_user();
	facts.access.gids[2] = 7;
	facts.access.memory = HS_NO;
	expect(facts, HS_HEALTH_REFUSED, "attach.uid", "not all ours", "sudo hangscope");
}

/** Where opening its memory succeeded the kernel has allowed it, whatever the rules look like. */
static void the_kernel_has_the_last_word(void **state)
{
	(void)state;
	static const struct {
		const char *id; /**< the check that would say no otherwise */
		int yama;
		uint64_t gid, their_caps;
		enum hs_tristate dumpable, ptrace_call, same_user_ns;
		pid_t tracer;
		bool refuses; /**< all the same: it is no part of the kernel's answer */
	} rows[] = {
  // PR_SET_PTRACER, or a descendant of ours
		{"attach.yama",           1,  1000, 0,       HS_YES, HS_YES, HS_YES, 0,   false},
		{"attach.yama",           2,  1000, 0,       HS_YES, HS_YES, HS_YES, 0,   false},
		{"attach.yama",           3,  1000, 0,       HS_YES, HS_YES, HS_YES, 0,   false},
		{"attach.uid",            -1, 7,    0,       HS_YES, HS_YES, HS_YES, 0,   false},
		{"attach.dumpable",       -1, 1000, 0,       HS_NO,  HS_YES, HS_YES, 0,   false},
		{"attach.capabilities",   -1, 1000, 1 << 12, HS_YES, HS_YES, HS_YES, 0,   false},
		{"attach.user-namespace", -1, 1000, 0,       HS_YES, HS_YES, HS_NO,  0,   false},
		{"attach.seccomp",        1,  1000, 0,       HS_YES, HS_NO,  HS_YES, 0,   true },
		{"attach.tracer",         1,  1000, 0,       HS_YES, HS_YES, HS_YES, 815, true },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		hs_cleanup(hs_arena_destroyp) struct hs_arena *arena = hs_arena_create();
		struct hs_doctor_facts facts = own_user();

		facts.access.yama = rows[i].yama;
		facts.access.gids[0] = rows[i].gid;
		facts.access.their_caps = rows[i].their_caps;
		facts.access.dumpable = rows[i].dumpable;
		facts.access.ptrace_call = rows[i].ptrace_call;
		facts.access.same_user_ns = rows[i].same_user_ns;
		facts.access.tracer = rows[i].tracer;
		for (int asked = 0; asked < 2; asked++) {
			facts.access.memory = asked ? HS_YES : HS_UNKNOWN;
			bool allowed = asked && !rows[i].refuses;
			const struct hs_diagnosis *diagnosis = judge(&facts, arena);
			const struct hs_check *check = check_of(diagnosis, rows[i].id);

			assert_int_equal(check->answer, allowed ? HS_YES : HS_NO);
			assert_int_equal(diagnosis->health,
			                 allowed ? HS_HEALTH_GOOD : HS_HEALTH_REFUSED);
			// Nothing is put down to a capability that we lack.
			if (allowed && check->detail)
				assert_null(strstr(check->detail, "CAP_SYS_PTRACE, which"));
		}
	}
}

static void user_namespaces(void **state)
{
	(void)state;
	struct hs_doctor_facts facts = healthy();

	facts.access.same_user_ns = HS_NO; // below ours: our capability counts there
	expect(facts, HS_HEALTH_GOOD, NULL, "can be attached to", NULL);
	facts.access.below_user_ns = HS_NO;
	facts.access.memory = HS_NO;
	expect(facts, HS_HEALTH_REFUSED, "attach.user-namespace",
	       "another user namespace, where our CAP_SYS_PTRACE does not count", "above it");
	facts = own_user();
	facts.access.same_user_ns = HS_NO;
	facts.access.memory = HS_NO;
	expect(facts, HS_HEALTH_REFUSED, "attach.user-namespace", "another user namespace",
	       "sudo hangscope 4711");
	facts.access.owns_user_ns = true; // who made it has every right in it
	facts.access.memory = HS_YES;
	expect(facts, HS_HEALTH_GOOD, NULL, "can be attached to", NULL);
}

static void tracers_and_modules(void **state)
{
	(void)state;
	struct hs_doctor_facts facts = healthy();

	facts.access.tracer = 815;
	strcpy(facts.access.tracer_name, "strace");
	expect(facts, HS_HEALTH_REFUSED, "attach.tracer", "traced already, by 815 (strace)",
	       "hangscope 4711 --no-stop");
	facts.access.memory = HS_UNKNOWN;
	expect(facts, HS_HEALTH_REFUSED, "attach.tracer", "traced already",
	       "let strace detach (process 815)");
	facts = healthy();
	facts.access.memory = HS_NO;
	expect(facts, HS_HEALTH_REFUSED, "attach.module", "a security module", "audit log");
	facts.access.deny_ptrace = true;
	expect(facts, HS_HEALTH_REFUSED, "attach.module", "deny_ptrace",
	       "setsebool deny_ptrace off");
	facts.access.deny_ptrace = false;
	facts.place.kind = HS_PLACE_DOCKER;
	strcpy(facts.access.label, "docker-default (enforce)");
	expect(facts, HS_HEALTH_REFUSED, "attach.module", "docker-default", "apparmor=unconfined");
}

static void nothing_to_attach_to(void **state)
{
	(void)state;
	struct hs_doctor_facts facts = healthy();

	facts.exists = false;
	expect(facts, HS_HEALTH_NO_TARGET, "attach.process", "there is no such process", "ps");
	facts.hidden = true;
	facts.access = stranger(HS_PLACE_HOST).access;
	expect(facts, HS_HEALTH_REFUSED, "attach.process", "hidepid", "sudo hangscope 4711");
	facts = healthy();
	facts.state = 'Z';
	expect(facts, HS_HEALTH_NO_TARGET, "attach.process", "zombie", "parent");
	facts = healthy();
	facts.is_kernel_thread = true;
	expect(facts, HS_HEALTH_NO_TARGET, "attach.process", "kernel thread", "");
	facts = healthy();
	facts.is_foreign = true;
	expect(facts, HS_HEALTH_NO_TARGET, "attach.process", "x86_64", "gdb");
	facts = healthy();
	facts.foreign_proc = true;
	expect(facts, HS_HEALTH_REFUSED, "attach.proc", "pid namespace", "unshare --mount-proc");
}

static void states(void **state)
{
	(void)state;
	static const struct {
		char state;
		bool frozen;
		const char *detail;
	} rows[] = {
		{'T', false, "SIGSTOP"        },
		{'t', false, "tracer"         },
		{'D', false, "uninterruptible"},
		{'S', true,  "frozen"         },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		hs_cleanup(hs_arena_destroyp) struct hs_arena *arena = hs_arena_create();
		struct hs_doctor_facts facts = healthy();

		facts.state = rows[i].state;
		facts.is_frozen = rows[i].frozen;
		const struct hs_diagnosis *diagnosis = judge(&facts, arena);
		const struct hs_check *check = check_of(diagnosis, "attach.running");
		// It is worth knowing, and keeps nobody from attaching.
		assert_int_equal(diagnosis->health, HS_HEALTH_GOOD);
		assert_int_equal(check->answer, HS_NO);
		assert_non_null(strstr(check->detail, rows[i].detail));
	}
}

static const struct hs_check *writing(const struct hs_core_writing *with, const char *id,
                                      struct hs_arena *arena)
{
	struct hs_doctor_facts facts = healthy();

	facts.writing = *with;
	const struct hs_diagnosis *diagnosis = judge(&facts, arena);
	assert_int_equal(diagnosis->health, HS_HEALTH_GOOD);
	return check_of(diagnosis, id);
}

static void a_core_to_be_written(void **state)
{
	(void)state;
	hs_cleanup(hs_arena_destroyp) struct hs_arena *arena = hs_arena_create();
	struct hs_core_writing with = {
		.pattern = "core",
		.has_limit = true,
		.limit = 0,
		.hard_limit = UINT64_MAX,
		.has_filter = true,
		.filter = 0x33,
		.size = 1000000,
		.has_space = true,
		.space = 2000000,
		.directory = "/cores",
	};

	assert_int_equal(writing(&with, "core-writing.pattern", arena)->answer, HS_YES);
	const struct hs_check *check = writing(&with, "core-writing.limit", arena);
	assert_int_equal(check->answer, HS_NO);
	assert_string_equal(check->remedy, "sudo prlimit --core=unlimited --pid 4711");
	with.pattern = "|/usr/share/apport %p"; // a program gets it whole, whatever the limit
	assert_int_equal(writing(&with, "core-writing.limit", arena)->answer, HS_YES);
	assert_non_null(strstr(writing(&with, "core-writing.pattern", arena)->detail, "apport"));
	with.pattern = "";
	assert_int_equal(writing(&with, "core-writing.pattern", arena)->answer, HS_NO);

	assert_int_equal(writing(&with, "core-writing.filter", arena)->answer, HS_YES);
	with.filter = 0x10;
	check = writing(&with, "core-writing.filter", arena);
	assert_string_equal(check->remedy, "echo 0x13 > /proc/4711/coredump_filter");
	with.uses_huge_pages = with.maps_cds_archive = true;
	check = writing(&with, "core-writing.filter", arena);
	assert_string_equal(check->remedy, "echo 0x77 > /proc/4711/coredump_filter");

	assert_int_equal(writing(&with, "core-writing.space", arena)->answer, HS_YES);
	with.size = 3000000;
	check = writing(&with, "core-writing.space", arena);
	assert_int_equal(check->answer, HS_NO);
	assert_non_null(strstr(check->detail, "/cores has 2 MB free"));
}

static struct hs_doctor_facts a_core(void)
{
	return (struct hs_doctor_facts){
		.kind = HS_DOCTOR_CORE,
		.given = "core.1",
		.path = "core.1",
		.pid = 1,
		.thread_db = HS_YES,
		.core = {.threads = 5    },
		.files = { .known = true, .num = 3, .libc = "glibc"},
	};
}

static void cores(void **state)
{
	(void)state;
	struct hs_doctor_facts facts = a_core();
	struct hs_lost_file lost = {
		.path = "/jdk/lib/server/libjvm.so", .why = "not here", .build_id = "ab12"};

	expect(facts, HS_HEALTH_GOOD, NULL, "core.1 can be analysed", NULL);
	facts.core.truncated = 5000000;
	expect(facts, HS_HEALTH_ANSWERS_MISSING, "core.complete", "costs answers", "take it again");
	facts = a_core();
	facts.core.num_lost_areas = 7;
	facts.core.lost_memory = 2000000000;
	expect(facts, HS_HEALTH_ANSWERS_MISSING, "core.memory", "costs answers", "coredump_filter");
	facts = a_core();
	facts.core.threads = 0;
	expect(facts, HS_HEALTH_ANSWERS_MISSING, "core.threads", "costs answers", "gcore");
	facts = a_core();
	facts.files.lost.items = &lost;
	facts.files.lost.len = 1;
	expect(facts, HS_HEALTH_ANSWERS_MISSING, "files.present", "costs answers",
	       "hangscope core.1 --root DIR, where DIR/jdk/lib/server/libjvm.so is that file");
	lost.is_main = true;
	expect(facts, HS_HEALTH_ANSWERS_MISSING, "files.present", "costs answers", "--exe FILE");
}

static void symbols(void **state)
{
	(void)state;
	hs_cleanup(hs_arena_destroyp) struct hs_arena *arena = hs_arena_create();
	struct hs_doctor_facts facts = healthy();

	facts.files.jvm = "/usr/lib/jvm/java-17-openjdk-amd64/lib/server/libjvm.so";
	facts.files.jvm_package = "java-17-openjdk-amd64";
	facts.files.jvm_symbols = facts.files.libc_symbols = HS_NO;
	const struct hs_diagnosis *diagnosis = judge(&facts, arena);
	assert_int_equal(diagnosis->health, HS_HEALTH_GOOD); // they cost no answer
	assert_non_null(strstr(check_of(diagnosis, "files.jvm-symbols")->remedy,
	                       "apt-get install openjdk-17-dbg"));
	assert_non_null(strstr(check_of(diagnosis, "files.libc-symbols")->remedy, "libc6-dbg"));
	facts.files.libc = "musl";
	facts.files.jvm_package = NULL;
	diagnosis = judge(&facts, arena);
	assert_non_null(strstr(check_of(diagnosis, "files.libc-symbols")->remedy, "apk add"));
	assert_non_null(strstr(check_of(diagnosis, "files.jvm-symbols")->remedy, "--debug-dir"));
}

static void this_place(void **state)
{
	(void)state;
	struct hs_doctor_facts facts = {
		.kind = HS_DOCTOR_SELF,
		.thread_db = HS_YES,
		.access = {.caps = SYS_PTRACE, .yama = -1, .ptrace_call = HS_YES},
	};

	expect(facts, HS_HEALTH_GOOD, NULL, "processes can be attached to from here", NULL);
	facts.access.caps = 0;
	facts.access.uid = 1000;
	expect(facts, HS_HEALTH_GOOD, "attach.capability", "processes of uid 1000 can", NULL);
	facts.access.yama = 1;
	expect(facts, HS_HEALTH_REFUSED, "attach.yama", "ptrace_scope is 1", "sudo hangscope PID");
}

/** Rendered texts hold no raw byte of a target. */
static void hostile_names(void **state)
{
	(void)state;
	hs_cleanup(hs_arena_destroyp) struct hs_arena *arena = hs_arena_create();
	hs_cleanup(hs_freep) char *text = NULL;
	size_t size = 0;
	struct hs_doctor_facts facts = healthy();
	struct hs_lost_file lost = {.path = "/x\033[31m\xff\n\"$(reboot)\"", .why = "\001"};

	facts.name = "\033]0;x\a";
	facts.files.lost.items = &lost;
	facts.files.lost.len = 1;
	assert_false(hs_is_plain_name("a b"));
	assert_false(hs_is_plain_name("$(reboot)"));
	assert_false(hs_is_plain_name("-x"));
	assert_false(hs_is_plain_name(""));
	assert_false(hs_is_plain_name(NULL));
	assert_true(hs_is_plain_name("shop-7d9f.prod"));
	const struct hs_diagnosis *diagnosis = judge(&facts, arena);
	for (int json = 0; json < 2; json++) {
		FILE *out = open_memstream(&text, &size);

		assert_non_null(out);
		assert_null(json ? hs_doctor_json(diagnosis, "0", out)
		                 : hs_doctor_text(diagnosis, "0", false, out));
		fclose(out);
		for (size_t i = 0; i < size; i++)
			assert_true((unsigned char)text[i] >= ' ' || text[i] == '\n');
		assert_null(strchr(text, '\xff'));
		free(hs_take(text));
	}
}

/** A process that may not be attached to: who may read where its threads sleep still sees it. */
static void proc_alone(void **state)
{
	(void)state;
	struct live_target fixture = live_target_start(0);
	hs_cleanup(hs_target_closep) struct hs_target *target = NULL;
	char path[64], wchan[64] = "";
	size_t count = 0, seen = 0;
	uint8_t byte;

	snprintf(path, sizeof(path), "/proc/%d/wchan", fixture.pid);
	FILE *file = fopen(path, "re");
	if (file && !fgets(wchan, sizeof(wchan), file))
		wchan[0] = '\0';
	if (file)
		fclose(file);
	assert_null(hs_target_open_proc(fixture.pid, "for a test", &target));
	const struct hs_lwp *lwps = hs_target_lwps(target, &count);
	assert_true(count > 1);
	for (size_t i = 0; i < count; i++) {
		assert_false(lwps[i].has_regs);
		assert_string_equal(lwps[i].why_no_regs, "for a test");
		assert_true(lwps[i].state != '?');
		seen += lwps[i].wchan != NULL;
	}
	if (wchan[0] && wchan[0] != '0')
		assert_true(seen > 0);
	struct hs_err *err = hs_target_read_u8(target, 0x1000, &byte);
	assert_int_equal(hs_err_code(err), HS_ERR_FAULT);
	hs_err_free(err);
	assert_int_equal(hs_target_info(target)->capture, HS_CAPTURE_PROC);
	live_target_assert_untouched(&fixture);
	live_target_end(&fixture);
}

/** What is gathered of ourselves and of a process of ours is right. */
static void gathered_facts(void **state)
{
	(void)state;
	struct live_target fixture = live_target_start(0);
	hs_cleanup(hs_arena_destroyp) struct hs_arena *arena = hs_arena_create();
	const struct hs_diagnosis *diagnosis = NULL;
	struct hs_access access;
	char pid[16];

	assert_true(hs_access_read_pid(&access, fixture.pid));
	assert_true(access.has_ids);
	assert_int_equal(access.uids[0], geteuid());
	assert_int_equal(access.same_user_ns, HS_YES);
	assert_int_equal(access.tracer, 0);
	assert_false(hs_access_read_pid(&access, 4194305));
	assert_false(access.has_process);

	snprintf(pid, sizeof(pid), "%d", fixture.pid);
	assert_null(hs_doctor_run(pid, NULL, arena, &diagnosis));
	assert_int_equal(diagnosis->pid, fixture.pid);
	assert_int_equal(check_of(diagnosis, "attach.process")->answer, HS_YES);
	assert_non_null(check_of(diagnosis, "core-writing.filter"));
	live_target_assert_untouched(&fixture);
	live_target_end(&fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_wrong),
		cmocka_unit_test(another_user),
		cmocka_unit_test(in_a_pod),
		cmocka_unit_test(in_a_restricted_pod),
		cmocka_unit_test(namespaces_of_resolvers),
		cmocka_unit_test(rules_of_the_kernel),
		cmocka_unit_test(the_kernel_has_the_last_word),
		cmocka_unit_test(user_namespaces),
		cmocka_unit_test(tracers_and_modules),
		cmocka_unit_test(nothing_to_attach_to),
		cmocka_unit_test(states),
		cmocka_unit_test(a_core_to_be_written),
		cmocka_unit_test(cores),
		cmocka_unit_test(symbols),
		cmocka_unit_test(this_place),
		cmocka_unit_test(hostile_names),
		cmocka_unit_test(proc_alone),
		cmocka_unit_test(gathered_facts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
