// SPDX-License-Identifier: Apache-2.0
/** @file The diagnosis for people: the verdict and its remedy first, then each question. */

#include <errno.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/doctor/doctor.h"
#include "core/words.h"

enum colour {
	PLAIN,
	GOOD,
	WARN,
	ALARM,
	BOLD,
};

struct page {
	FILE *out;
	struct hs_arena *arena;
	bool color;
};

static const char *style(const struct page *page, enum colour colour)
{
	static const char *const codes[] = {"\033[0m", "\033[1;32m", "\033[1;33m", "\033[1;31m",
	                                    "\033[1m"};

	return page->color ? codes[colour] : "";
}

static void verdict(const struct page *page, const struct hs_diagnosis *diagnosis)
{
	static const struct {
		const char *word;
		enum colour colour;
	} heads[] = {
		[HS_HEALTH_GOOD] = {"YES",      GOOD },
		[HS_HEALTH_ANSWERS_MISSING] = {"YES, BUT", WARN },
		[HS_HEALTH_REFUSED] = {"NO",       ALARM},
		[HS_HEALTH_NO_TARGET] = {"NO",       ALARM},
	};

	fprintf(page->out, "%s%s%s  %s%s%s\n", style(page, heads[diagnosis->health].colour),
	        heads[diagnosis->health].word, style(page, PLAIN), style(page, BOLD),
	        hs_words_safe(page->arena, diagnosis->verdict), style(page, PLAIN));
	if (diagnosis->remedy)
		fprintf(page->out, "  Do this: %s\n",
		        hs_words_safe(page->arena, diagnosis->remedy));
	fputc('\n', page->out);
}

static void line(const struct page *page, const struct hs_check *check)
{
	static const char *const words[] = {"?  ", "no ", "yes"};
	enum colour colour = check->answer == HS_YES          ? GOOD
	                     : check->answer == HS_UNKNOWN    ? PLAIN
	                     : check->need == HS_NEED_ATTACH  ? ALARM
	                     : check->need == HS_NEED_ANSWERS ? WARN
	                                                      : BOLD;

	fprintf(page->out, "  %s%s%s  %s", style(page, colour), words[check->answer],
	        style(page, PLAIN), check->question);
	if (check->detail)
		fprintf(page->out, " %s", hs_words_safe(page->arena, check->detail));
	fputc('\n', page->out);
	if (check->answer == HS_NO && check->remedy)
		fprintf(page->out, "       → %s\n", hs_words_safe(page->arena, check->remedy));
}

struct hs_err *hs_doctor_text(const struct hs_diagnosis *diagnosis, const char *version, bool color,
                              FILE *out)
{
	static const struct {
		const char *area, *title;
	} titles[] = {
		{"attach",       "Attaching"                             },
		{"core-writing", "A core, if the kernel had to write one"},
		{"core",         "The core"                              },
		{"files",        "Files and symbols"                     },
	};
	hs_cleanup(hs_arena_destroyp) struct hs_arena *arena = hs_arena_create();
	const struct page page = {out, arena, color};
	const char *area = "";

	if (!arena)
		return hs_err_oom();
	fprintf(out, "hangscope %s · doctor · %s · %s\n\n", version,
	        hs_words_safe(arena, diagnosis->target), diagnosis->environment);
	verdict(&page, diagnosis);
	hs_vec_each (check, &diagnosis->checks) {
		for (size_t i = 0; i < sizeof(titles) / sizeof(*titles); i++) {
			if (strcmp(check->area, area) != 0 &&
			    strcmp(check->area, titles[i].area) == 0)
				fprintf(out, "%s\n", titles[i].title);
		}
		area = check->area;
		line(&page, check);
	}
	if (hs_arena_failed(arena))
		return hs_err_oom();
	return fflush(out) || ferror(out) ? hs_err_os(errno, "cannot write the diagnosis") : NULL;
}
