// SPDX-License-Identifier: Apache-2.0
/** @file Demangle: readable names of ELF symbols. */

#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "core/native/native_internal.h"

enum {
	MANGLED_MAX = 2048, /**< bytes; longer names stay as they are */
	/**
	 * Back references of one mangled name. Each can double what is printed, so this bounds the
	 * result to some megabytes; libstdc++ has no bound of its own.
	 */
	REFERENCES_MAX = 40,
	DEMANGLED_MAX = 1024, /**< bytes of the name that are kept */
};

// libstdc++'s, from <cxxabi.h>, which is C++ only.
extern char *__cxa_demangle(const char *mangled, char *buf, size_t *len, int *status);

/** Count S_, S1_, T_, T1_…: Itanium C++ ABI 5.1.10 (substitutions) and template parameters. */
static unsigned count_references(const char *name)
{
	unsigned count = 0;

	for (; *name; name++) {
		if (*name != 'S' && *name != 'T')
			continue;
		size_t digits = strspn(name + 1, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ");
		count += name[1 + digits] == '_';
	}
	return count;
}

const char *hs_demangle(struct hs_arena *arena, const char *name)
{
	size_t len = strcspn(name, "@");
	char *plain = hs_arena_strndup(arena, name, len < HS_MAX_NAME ? len : HS_MAX_NAME);

	if (!plain || strncmp(plain, "_Z", 2) != 0 || len > MANGLED_MAX ||
	    count_references(plain) > REFERENCES_MAX)
		return plain;

	int status;
	char *demangled = __cxa_demangle(plain, NULL, NULL, &status);
	if (!demangled)
		return plain;
	size_t demangled_len = strlen(demangled);
	const char *ret = demangled_len <= DEMANGLED_MAX
	                          ? hs_arena_strdup(arena, demangled)
	                          : hs_arena_printf(arena, "%.*s...", DEMANGLED_MAX, demangled);
	free(demangled);
	return ret;
}
