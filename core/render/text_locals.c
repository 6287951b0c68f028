// SPDX-License-Identifier: Apache-2.0
/** @file Text of local variables: "int count = 42", one a line. */

#include <inttypes.h>
#include <string.h>

#include "core/limits.h"
#include "core/render/text_out.h"
#include "core/words.h"

/** The text in quotes; its own quotes and backslashes with a backslash. */
static void print_string(const struct hs_text *text, const struct hs_local *l)
{
	char *copy = hs_arena_alloc(text->arena, strlen(l->value) * 2 + 1), *out = copy;

	if (!copy)
		return;
	for (const char *s = l->value; *s; s++) {
		if (*s == '"' || *s == '\\')
			*out++ = '\\';
		*out++ = *s;
	}
	*out = '\0';
	fprintf(text->out, "\"%s\"", hs_words_safe(text->arena, copy));
	if (l->length > HS_MAX_LOCAL_TEXT)
		fprintf(text->out, "… (%" PRId64 " characters)", l->length);
}

static bool is_string(const struct hs_local *l)
{
	return l->class_name && strcmp(l->class_name, "java.lang.String") == 0;
}

/** "byte[]" and 3: "byte[3]". */
static void print_class(const struct hs_text *text, const struct hs_local *l)
{
	const char *name = hs_words_safe(text->arena, l->class_name);
	const char *brackets = l->length >= 0 && !is_string(l) ? strstr(name, "[]") : NULL;

	if (brackets)
		fprintf(text->out, "%.*s[%" PRId64 "]%s", (int)(brackets - name), name, l->length,
		        brackets + 2);
	else
		fputs(name, text->out);
}

static void print_object(const struct hs_text *text, const struct hs_local *l)
{
	const char *value = l->value ? hs_words_safe(text->arena, l->value) : NULL;

	if (value && is_string(l)) {
		print_string(text, l);
		fprintf(text->out, " @0x%" PRIx64, l->address);
	} else {
		print_class(text, l);
		fprintf(text->out, " @0x%" PRIx64, l->address);
		if (value)
			fprintf(text->out, ": %s", value);
	}
	if (l->hash)
		fprintf(text->out, " (hash %" PRIx32 ")", l->hash);
}

static void print_value(const struct hs_text *text, const struct hs_local *l)
{
	switch (l->kind) {
	case HS_LOCAL_PRIMITIVE:
		fputs(l->value ? hs_words_safe(text->arena, l->value) : HS_REDACTED, text->out);
		return;
	case HS_LOCAL_RAW:
		fprintf(text->out, "%s (of a type that the class file does not record)",
		        l->value ? hs_words_safe(text->arena, l->value) : HS_REDACTED);
		return;
	case HS_LOCAL_NULL:
		fputs("null", text->out);
		return;
	case HS_LOCAL_OBJECT:
		print_object(text, l);
		return;
	case HS_LOCAL_ELIMINATED:
		if (l->class_name)
			fprintf(text->out, "<eliminated object of class %s>",
			        hs_words_safe(text->arena, l->class_name));
		else
			fputs("<eliminated object>", text->out);
		return;
	case HS_LOCAL_OPTIMIZED_OUT:
		fputs("<optimized out>", text->out);
		return;
	case HS_LOCAL_UNREADABLE:
		fputs("<unreadable>", text->out);
		return;
	case HS_LOCAL_UNKNOWN:
	case HS_LOCAL_KIND_COUNT:
		break;
	}
	fputs("<not known>", text->out);
}

void hs_text_locals(const struct hs_text *text, const struct hs_frame *frame)
{
	for (uint16_t i = 0; i < frame->num_locals; i++) {
		const struct hs_local *l = &frame->locals[i];

		fputs("            ", text->out);
		if (l->type)
			fprintf(text->out, "%s ", hs_words_safe(text->arena, l->type));
		fprintf(text->out, "%s = ", hs_words_safe(text->arena, l->name));
		print_value(text, l);
		fputc('\n', text->out);
	}
}
