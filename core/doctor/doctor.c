// SPDX-License-Identifier: Apache-2.0
/** @file The examination: facts, checks, and what they come to. */

#include "core/doctor/doctor.h"

#include "core/doctor/facts.h"
#include "core/target.h"

static const struct hs_check *first_no(const struct hs_diagnosis *diagnosis,
                                       enum hs_check_need need)
{
	hs_vec_each (check, &diagnosis->checks) {
		if (check->answer == HS_NO && check->need == need)
			return check;
	}
	return NULL;
}

static size_t count_no(const struct hs_diagnosis *diagnosis, enum hs_check_need need)
{
	size_t count = 0;

	hs_vec_each (check, &diagnosis->checks)
		count += check->answer == HS_NO && check->need == need;
	return count;
}

static const char *target_words(const struct hs_doctor_facts *facts, struct hs_arena *arena)
{
	if (facts->kind == HS_DOCTOR_CORE)
		return facts->path;
	if (facts->kind == HS_DOCTOR_SELF)
		return "processes";
	return facts->name ? hs_arena_printf(arena, "PID %d (%s)", (int)facts->pid, facts->name)
	                   : hs_arena_printf(arena, "PID %d", (int)facts->pid);
}

/** Something keeps us from attaching. The reason is that of the rule that comes first. */
static void refuse(const struct hs_doctor_facts *facts, const struct hs_check *why,
                   struct hs_arena *arena, struct hs_diagnosis *diagnosis)
{
	enum hs_refusal refusal = hs_access_judge(&facts->access);
	bool is_gone = facts->kind == HS_DOCTOR_LIVE && why == diagnosis->checks.items;
	char words[HS_ACCESS_WORDS];

	diagnosis->health = is_gone && !facts->hidden ? HS_HEALTH_NO_TARGET : HS_HEALTH_REFUSED;
	diagnosis->remedy = why->remedy;
	if (is_gone && !facts->hidden) {
		diagnosis->verdict = hs_arena_printf(arena, "%s cannot be looked at: %s",
		                                     diagnosis->target, why->detail);
		return;
	}
	if (is_gone || facts->foreign_proc || refusal == HS_REFUSAL_NONE) {
		diagnosis->verdict = hs_arena_printf(arena, "%s cannot be attached to: %s",
		                                     diagnosis->target, why->detail);
		return;
	}
	hs_access_words(&facts->access, refusal, words, sizeof(words));
	diagnosis->verdict =
		hs_arena_printf(arena, "%s cannot be attached to: %s", diagnosis->target, words);
	diagnosis->remedy = hs_remedy_refusal(facts, refusal, arena);
}

static void approve(const struct hs_doctor_facts *facts, struct hs_arena *arena,
                    struct hs_diagnosis *diagnosis)
{
	static const char *const able[] = {
		[HS_DOCTOR_SELF] = "can be attached to from here",
		[HS_DOCTOR_LIVE] = "can be attached to",
		[HS_DOCTOR_CORE] = "can be analysed",
	};
	const struct hs_check *missing = first_no(diagnosis, HS_NEED_ANSWERS);
	size_t count = count_no(diagnosis, HS_NEED_ANSWERS);

	if (missing) {
		diagnosis->health = HS_HEALTH_ANSWERS_MISSING;
		diagnosis->remedy = missing->remedy;
		diagnosis->verdict = hs_arena_printf(
			arena, "%s %s, but %s costs answers", diagnosis->target, able[facts->kind],
			count == 1 ? "what is missing" : "more than one thing that is missing");
		return;
	}
	diagnosis->health = HS_HEALTH_GOOD;
	if (facts->kind == HS_DOCTOR_SELF && !hs_access_privileged(&facts->access))
		diagnosis->verdict =
			hs_arena_printf(arena, "processes of uid %llu can be attached to from here",
		                        (unsigned long long)facts->access.uid);
	else
		diagnosis->verdict = hs_arena_printf(
			arena, "%s %s%s", diagnosis->target, able[facts->kind],
			facts->kind == HS_DOCTOR_SELF
				? ""
				: ", and nothing is missing that an analysis needs");
}

/** The verdict, when all questions are answered. */
static void conclude(const struct hs_doctor_facts *facts, struct hs_arena *arena,
                     struct hs_diagnosis *diagnosis)
{
	const struct hs_check *why = first_no(diagnosis, HS_NEED_ATTACH);

	diagnosis->kind = facts->kind;
	diagnosis->pid = facts->pid;
	diagnosis->path = facts->path;
	diagnosis->environment = hs_place_name(facts->place.kind);
	diagnosis->target = target_words(facts, arena);
	if (why)
		refuse(facts, why, arena, diagnosis);
	else
		approve(facts, arena, diagnosis);
}

struct hs_err *hs_doctor_judge(const struct hs_doctor_facts *facts, struct hs_arena *arena,
                               const struct hs_diagnosis **ret)
{
	struct hs_diagnosis *diagnosis = hs_arena_alloc(arena, sizeof(*diagnosis));

	if (!diagnosis)
		return hs_err_oom();
	hs_checks_run(facts, arena, diagnosis);
	if (!hs_arena_failed(arena))
		conclude(facts, arena, diagnosis);
	if (hs_arena_failed(arena))
		return hs_err_oom();
	*ret = diagnosis;
	return NULL;
}

struct hs_err *hs_doctor_run(const char *target, const struct hs_doctor_options *options,
                             struct hs_arena *arena, const struct hs_diagnosis **ret)
{
	static const struct hs_doctor_options defaults;
	struct hs_doctor_facts facts = {.kind = HS_DOCTOR_SELF, .given = target};
	struct hs_err *err = NULL;

	if (!options)
		options = &defaults;
	hs_facts_self(&facts, arena);
	if (target && hs_target_is_pid(target, &facts.pid)) {
		facts.kind = HS_DOCTOR_LIVE;
		hs_facts_live(&facts, options, arena);
	} else if (target) {
		facts.kind = HS_DOCTOR_CORE;
		facts.path = target;
		err = hs_facts_core(&facts, options, arena);
	} else {
		hs_facts_writing(&facts.writing, -1, arena);
	}
	return err ? err : hs_doctor_judge(&facts, arena, ret);
}
