// SPDX-License-Identifier: Apache-2.0
/** @file The diagnosis as JSON, schema "hangscope-doctor/1" (hangscope-doctor-1.schema.json). */

#include <errno.h>
#include <jansson.h>

#include "core/base/cleanup.h"
#include "core/doctor/doctor.h"
#include "core/words.h"

static json_t *text(struct hs_arena *arena, const char *raw)
{
	return raw ? json_string(hs_words_utf8(arena, raw)) : json_null();
}

static json_t *check_value(struct hs_arena *arena, const struct hs_check *check)
{
	static const char *const answers[] = {"unknown", "no", "yes"};
	static const char *const needs[] = {"attach", "answers", "nothing"};

	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:o}", "id", check->id, "area",
	                 check->area, "question", check->question, "needed_for", needs[check->need],
	                 "answer", answers[check->answer], "detail", text(arena, check->detail),
	                 "remedy", text(arena, check->answer == HS_NO ? check->remedy : NULL));
}

static json_t *target_value(struct hs_arena *arena, const struct hs_diagnosis *diagnosis)
{
	static const char *const kinds[] = {"none", "live", "core"};

	return json_pack("{s:s, s:o, s:o, s:o}", "kind", kinds[diagnosis->kind], "pid",
	                 diagnosis->pid ? json_integer(diagnosis->pid) : json_null(), "path",
	                 text(arena, diagnosis->path), "name", text(arena, diagnosis->target));
}

struct hs_err *hs_doctor_json(const struct hs_diagnosis *diagnosis, const char *version, FILE *out)
{
	static const char *const healths[] = {"good", "answers-missing", "refused", "no-target"};
	hs_cleanup(hs_arena_destroyp) struct hs_arena *arena = hs_arena_create();
	json_t *checks = json_array();

	if (!arena) {
		json_decref(checks);
		return hs_err_oom();
	}
	hs_vec_each (check, &diagnosis->checks)
		json_array_append_new(checks, check_value(arena, check));
	json_t *root = json_pack("{s:s, s:{s:s, s:s}, s:o, s:s, s:s, s:o, s:o, s:o}", "schema",
	                         "hangscope-doctor/1", "tool", "name", "hangscope", "version",
	                         version, "target", target_value(arena, diagnosis), "environment",
	                         diagnosis->environment, "health", healths[diagnosis->health],
	                         "verdict", text(arena, diagnosis->verdict), "remedy",
	                         text(arena, diagnosis->remedy), "checks", checks);
	int failed = !root || hs_arena_failed(arena) ||
	             json_dumpf(root, out, JSON_INDENT(1) | JSON_ENSURE_ASCII) != 0;

	json_decref(root);
	if (failed && !ferror(out))
		return hs_err_oom();
	fputc('\n', out);
	return fflush(out) || ferror(out) ? hs_err_os(errno, "cannot write the diagnosis") : NULL;
}
