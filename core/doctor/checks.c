// SPDX-License-Identifier: Apache-2.0
/** @file The questions, and which of them each kind of target is asked. */

#include "core/doctor/checks.h"

enum {
	SELF = 1 << HS_DOCTOR_SELF,
	LIVE = 1 << HS_DOCTOR_LIVE,
	CORE = 1 << HS_DOCTOR_CORE,
};

/** One question. */
struct question {
	const char *id, *area, *text;
	enum hs_check_need need;
	unsigned kinds; /**< bit set of SELF, LIVE, CORE */
	/** Fill in answer, detail and remedy. An answer HS_UNKNOWN without detail drops it. */
	void (*ask)(const struct hs_doctor_facts *facts, struct hs_arena *arena,
	            struct hs_check *check);
};

// clang-format off
static const struct question questions[] = {
	{"attach.process", "attach", "is it a process that can be looked at?", HS_NEED_ATTACH, LIVE, hs_check_process},
	{"attach.proc", "attach", "does /proc number processes as we do?", HS_NEED_ATTACH, SELF | LIVE, hs_check_proc},
	{"attach.capability", "attach", "do we have CAP_SYS_PTRACE?", HS_NEED_NOTHING, SELF, hs_check_capability},
	{"attach.seccomp", "attach", "does our seccomp filter let ptrace through?", HS_NEED_ATTACH, SELF | LIVE, hs_check_seccomp},
	{"attach.readv", "attach", "does it let process_vm_readv through?", HS_NEED_NOTHING, SELF | LIVE, hs_check_readv},
	{"attach.yama", "attach", "does Yama allow it?", HS_NEED_ATTACH, SELF | LIVE, hs_check_yama},
	{"attach.user-namespace", "attach", "do our rights count in its user namespace?", HS_NEED_ATTACH, LIVE, hs_check_user_namespace},
	{"attach.uid", "attach", "are we its user, or have CAP_SYS_PTRACE?", HS_NEED_ATTACH, LIVE, hs_check_uid},
	{"attach.dumpable", "attach", "is it dumpable, or do we have CAP_SYS_PTRACE?", HS_NEED_ATTACH, LIVE, hs_check_dumpable},
	{"attach.capabilities", "attach", "do we have every capability that it has?", HS_NEED_ATTACH, LIVE, hs_check_capabilities},
	{"attach.tracer", "attach", "is it free of another tracer?", HS_NEED_ATTACH, LIVE, hs_check_tracer},
	{"attach.module", "attach", "do the security modules (AppArmor, SELinux) allow it?", HS_NEED_ATTACH, LIVE, hs_check_module},
	{"attach.memory", "attach", "does the kernel open its memory to us?", HS_NEED_ATTACH, LIVE, hs_check_memory},
	{"attach.running", "attach", "does it run or sleep as usual?", HS_NEED_NOTHING, LIVE, hs_check_running},
	{"core-writing.pattern", "core-writing", "would the kernel write a core of it?", HS_NEED_NOTHING, SELF | LIVE, hs_check_pattern},
	{"core-writing.limit", "core-writing", "does its core size limit (ulimit -c) allow one?", HS_NEED_NOTHING, LIVE, hs_check_limit},
	{"core-writing.filter", "core-writing", "would it hold all memory that an analysis needs (coredump_filter)?", HS_NEED_NOTHING, LIVE, hs_check_filter},
	{"core-writing.space", "core-writing", "is there room for it?", HS_NEED_NOTHING, LIVE, hs_check_space},
	{"core.complete", "core", "is the core whole?", HS_NEED_ANSWERS, CORE, hs_check_complete},
	{"core.threads", "core", "does it have threads and their registers?", HS_NEED_ANSWERS, CORE, hs_check_threads},
	{"core.memory", "core", "does it hold the memory of the program?", HS_NEED_ANSWERS, CORE, hs_check_core_memory},
	{"core.kind", "core", "how was it made?", HS_NEED_NOTHING, CORE, hs_check_kind},
	{"files.present", "files", "are all mapped programs and libraries here, and the same build?", HS_NEED_ANSWERS, LIVE | CORE, hs_check_files},
	{"files.build-ids", "files", "do build ids prove that they are the same?", HS_NEED_NOTHING, LIVE | CORE, hs_check_build_ids},
	{"files.libc", "files", "is its C library known?", HS_NEED_NOTHING, LIVE | CORE, hs_check_libc},
	{"files.libc-symbols", "files", "does its C library have symbols?", HS_NEED_NOTHING, LIVE | CORE, hs_check_libc_symbols},
	{"files.jvm-symbols", "files", "does its libjvm.so have symbols?", HS_NEED_NOTHING, LIVE | CORE, hs_check_jvm_symbols},
	{"files.thread-db", "files", "can libthread_db be loaded here?", HS_NEED_NOTHING, SELF | LIVE | CORE, hs_check_thread_db},
};
// clang-format on

void hs_checks_run(const struct hs_doctor_facts *facts, struct hs_arena *arena,
                   struct hs_diagnosis *diagnosis)
{
	for (size_t i = 0; i < sizeof(questions) / sizeof(*questions); i++) {
		const struct question *question = &questions[i];
		struct hs_check check = {
			.id = question->id,
			.area = question->area,
			.question = question->text,
			.need = question->need,
		};

		if (!(question->kinds >> facts->kind & 1))
			continue;
		// Of what cannot be looked at, nothing else can be said.
		if (facts->kind == HS_DOCTOR_LIVE && i && !hs_is_examinable(facts))
			break;
		question->ask(facts, arena, &check);
		if (check.answer == HS_UNKNOWN && !check.detail)
			continue;
		struct hs_check *slot = hs_vec_push(arena, &diagnosis->checks);
		if (slot)
			*slot = check;
	}
}
