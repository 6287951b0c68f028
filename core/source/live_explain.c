// SPDX-License-Identifier: Apache-2.0
/** @file What the kernel itself says of a thread: where it sleeps, and its stack in the kernel. */

#include <stdio.h>
#include <string.h>

#include "core/source/live.h"

enum {
	WCHAN_TEXT = 128,
	STACK_TEXT = 4096, /**< at most 64 functions */
};

/** "futex_wait_queue". "0" stands for nowhere, and for what we may not see. */
static const char *read_wchan(const struct hs_live *live, pid_t tid)
{
	char path[64], text[WCHAN_TEXT];

	snprintf(path, sizeof(path), "task/%d/wchan", tid);
	if (hs_live_read_text(live->proc_fd, path, text, sizeof(text)) <= 0 || text[0] == '0')
		return NULL;
	text[strcspn(text, "\n")] = '\0';
	return hs_arena_strdup(live->base.arena, text);
}

/** Lines of "[<0>] futex_wait_queue+0x60/0x90" without their first word. Root may read it. */
static const char *read_stack(const struct hs_live *live, pid_t tid)
{
	char path[64], text[STACK_TEXT];
	size_t len = 0;

	snprintf(path, sizeof(path), "task/%d/stack", tid);
	if (hs_live_read_text(live->proc_fd, path, text, sizeof(text)) <= 0)
		return NULL;
	for (const char *line = text; *line;) {
		size_t end = strcspn(line, "\n");
		const char *name = memchr(line, ' ', end);
		size_t skip = name ? (size_t)(name + 1 - line) : 0;

		// Only what lies before is overwritten.
		memmove(text + len, line + skip, end - skip);
		len += end - skip;
		line += end;
		if (*line == '\n') {
			line++;
			text[len++] = '\n';
		}
	}
	while (len && text[len - 1] == '\n')
		len--;
	return len ? hs_arena_strndup(live->base.arena, text, len) : NULL;
}

void hs_live_explain(struct hs_live *live, struct hs_lwp *lwp)
{
	if (lwp->has_regs && lwp->state != 'D')
		return;
	lwp->wchan = read_wchan(live, lwp->host_tid);
	lwp->kernel_stack = read_stack(live, lwp->host_tid);
}
