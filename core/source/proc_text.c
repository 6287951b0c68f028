// SPDX-License-Identifier: Apache-2.0
/** @file Parsers of the texts below /proc/PID. */

#include "core/source/proc_text.h"

#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "core/limits.h"

/** A number at *pos, which must begin with a digit of it: strtoull() alone takes signs and blanks.
 */
static bool take_number(const char **pos, int base, uint64_t *ret)
{
	const char *s = *pos;
	uint64_t value = 0;

	for (;; s++) {
		unsigned digit;

		if (*s >= '0' && *s <= '9')
			digit = (unsigned)(*s - '0');
		else if (base == 16 && *s >= 'a' && *s <= 'f')
			digit = (unsigned)(*s - 'a') + 10;
		else
			break;
		if (__builtin_mul_overflow(value, (uint64_t)base, &value) ||
		    __builtin_add_overflow(value, (uint64_t)digit, &value))
			return false;
	}
	if (s == *pos)
		return false;
	*pos = s;
	*ret = value;
	return true;
}

static bool take_char(const char **pos, char c)
{
	if (**pos != c)
		return false;
	++*pos;
	return true;
}

static void skip_blanks(const char **pos)
{
	while (**pos == ' ' || **pos == '\t')
		++*pos;
}

/** Copy a path with "\012" turned into the newline that the kernel wrote it for (seq_file_path()).
 */
static char *unescape_path(struct hs_arena *arena, const char *path, size_t len)
{
	char *copy = hs_arena_alloc(arena, len + 1);
	char *out = copy;

	if (!copy)
		return NULL;
	for (size_t i = 0; i < len;) {
		if (len - i >= 4 && memcmp(path + i, "\\012", 4) == 0) {
			*out++ = '\n';
			i += 4;
		} else {
			*out++ = path[i++];
		}
	}
	*out = '\0';
	return copy;
}

/** The part of a line before the path: "55d0-55e1 r-xp 00002000 08:02 1234     ". */
static bool take_mapping(const char **pos, struct hs_mapping *ret)
{
	uint64_t major_nr, minor_nr;

	if (!take_number(pos, 16, &ret->start) || !take_char(pos, '-') ||
	    !take_number(pos, 16, &ret->end) || !take_char(pos, ' '))
		return false;
	if (strnlen(*pos, 5) < 5 || (*pos)[4] != ' ')
		return false;
	ret->prot = ((*pos)[0] == 'r' ? HS_PROT_READ : 0) | ((*pos)[1] == 'w' ? HS_PROT_WRITE : 0) |
	            ((*pos)[2] == 'x' ? HS_PROT_EXEC : 0);
	*pos += 5;
	if (!take_number(pos, 16, &ret->offset) || !take_char(pos, ' ') ||
	    !take_number(pos, 16, &major_nr) || !take_char(pos, ':') ||
	    !take_number(pos, 16, &minor_nr) || !take_char(pos, ' ') ||
	    !take_number(pos, 10, &ret->inode))
		return false;
	ret->dev = makedev((unsigned)major_nr, (unsigned)minor_nr);
	skip_blanks(pos);
	return ret->start < ret->end;
}

/** One line of @p len bytes, a newline or NUL behind it. @p previous shares its path if equal. */
static struct hs_err *parse_mapping(struct hs_arena *arena, const char *line, size_t len,
                                    const struct hs_mapping *previous, struct hs_mapping *ret,
                                    bool *ok_ret)
{
	const char *pos = line;

	*ok_ret = false;
	*ret = (struct hs_mapping){.module = UINT32_MAX, .path = ""};
	if (!take_mapping(&pos, ret) || pos > line + len)
		return NULL;
	if (previous && ret->start < previous->end)
		ret->start = previous->end;
	if (ret->start >= ret->end)
		return NULL;

	size_t path_len = len - (size_t)(pos - line);

	if (path_len) {
		char *path = unescape_path(arena, pos, path_len);

		if (!path)
			return hs_err_oom();
		ret->path = previous && strcmp(previous->path, path) == 0 ? previous->path : path;
	}
	*ok_ret = true;
	return NULL;
}

struct hs_err *hs_proc_text_maps(struct hs_arena *arena, const char *text, size_t len,
                                 struct hs_mapping **ret, size_t *num_ret, bool *cut_ret)
{
	struct hs_err *err;
	size_t lines = 1, num = 0;
	bool cut = false;

	for (const char *s = text; (s = memchr(s, '\n', len - (size_t)(s - text))); s++)
		lines++;
	if (lines > HS_MAX_MAPPINGS)
		lines = HS_MAX_MAPPINGS;

	struct hs_mapping *items = hs_arena_calloc(arena, lines, sizeof(*items));
	if (!items)
		return hs_err_oom();
	for (size_t at = 0; at < len;) {
		const char *line = text + at;
		const char *end = memchr(line, '\n', len - at);
		bool ok;

		// A line without its newline is one that was cut in the middle.
		if (!end)
			break;
		at += (size_t)(end - line) + 1;
		if (num == lines) {
			cut = true;
			break;
		}
		err = parse_mapping(arena, line, (size_t)(end - line), num ? &items[num - 1] : NULL,
		                    &items[num], &ok);
		if (err)
			return err;
		if (ok)
			num++;
	}
	*ret = items;
	*num_ret = num;
	*cut_ret = cut;
	return NULL;
}

/** Step over @p count blank-separated words. */
static bool skip_words(const char **pos, int count)
{
	while (count-- > 0) {
		skip_blanks(pos);
		if (!**pos || **pos == '\n')
			return false;
		while (**pos && **pos != ' ' && **pos != '\n')
			++*pos;
	}
	skip_blanks(pos);
	return true;
}

bool hs_proc_text_stat(const char *text, struct hs_proc_stat *ret)
{
	struct hs_proc_stat stat = {0};
	uint64_t ppid, flags, num_threads;
	const char *open = strchr(text, '(');
	// The name may hold anything, also ") R 1": the last ')' ends it, numbers have none.
	const char *pos = strrchr(text, ')');

	if (!open || !pos || pos <= open)
		return false;

	size_t len = (size_t)(pos - open) - 1;

	memcpy(stat.comm, open + 1, len < sizeof(stat.comm) ? len : sizeof(stat.comm) - 1);
	pos++;
	skip_blanks(&pos);
	if (!*pos)
		return false;
	stat.state = *pos++;
	skip_blanks(&pos);
	if (!take_number(&pos, 10, &ppid) || !skip_words(&pos, 4) ||  // fields 4 and 5 to 8
	    !take_number(&pos, 10, &flags) || !skip_words(&pos, 4) || // 9 and 10 to 13
	    !take_number(&pos, 10, &stat.utime) || !take_char(&pos, ' ') ||
	    !take_number(&pos, 10, &stat.stime) || !skip_words(&pos, 4) || // 16 to 19
	    !take_number(&pos, 10, &num_threads) || num_threads > INT32_MAX)
		return false;
	stat.ppid = (pid_t)ppid;
	stat.flags = (unsigned)flags;
	stat.num_threads = (long)num_threads;
	*ret = stat;
	return true;
}

static bool take_hex(const char **pos, uint64_t *ret)
{
	skip_blanks(pos);
	return take_char(pos, '0') && take_char(pos, 'x') && take_number(pos, 16, ret);
}

bool hs_proc_text_syscall(const char *text, struct hs_proc_syscall *ret)
{
	struct hs_proc_syscall call = {.nr = -1};
	const char *pos = text;
	uint64_t nr;

	if (strncmp(pos, "running", strlen("running")) == 0) {
		call.running = true;
		*ret = call;
		return true;
	}
	if (take_char(&pos, '-')) {
		if (!take_number(&pos, 10, &nr) || nr != 1)
			return false;
	} else {
		if (!take_number(&pos, 10, &nr) || nr > INT32_MAX)
			return false;
		call.nr = (long)nr;
		for (size_t i = 0; i < HS_SYSCALL_ARGS; i++) {
			if (!take_hex(&pos, &call.args[i]))
				return false;
		}
	}
	if (!take_hex(&pos, &call.sp) || !take_hex(&pos, &call.pc))
		return false;
	*ret = call;
	return true;
}

bool hs_proc_syscall_same(const struct hs_proc_syscall *a, const struct hs_proc_syscall *b)
{
	// The first argument is what is waited for: the futex, the descriptor, the process. It is
	// still in its register when restart_syscall goes on.
	if (a->running || b->running || a->sp != b->sp || a->pc != b->pc ||
	    a->args[0] != b->args[0])
		return false;
	return a->nr == b->nr || (a->nr >= 0 && b->nr >= 0 &&
	                          (a->nr == SYS_restart_syscall || b->nr == SYS_restart_syscall));
}

/** Start of the value of "name:\t", or NULL. */
static const char *find_field(const char *text, const char *name)
{
	size_t len = strlen(name);

	for (const char *line = text; line; line = strchr(line, '\n')) {
		if (*line == '\n')
			line++;
		if (strncmp(line, name, len) == 0 && line[len] == ':') {
			line += len + 1;
			skip_blanks(&line);
			return line;
		}
	}
	return NULL;
}

bool hs_proc_text_status(const char *text, const char *name, int base, uint64_t *ret)
{
	const char *pos = find_field(text, name);

	return pos && take_number(&pos, base, ret);
}

bool hs_proc_text_status_last(const char *text, const char *name, uint64_t *ret, size_t *count_ret)
{
	const char *pos = find_field(text, name);
	size_t count = 0;
	uint64_t value;

	if (!pos)
		return false;
	while (take_number(&pos, 10, &value)) {
		count++;
		skip_blanks(&pos);
	}
	if (!count)
		return false;
	*ret = value;
	*count_ret = count;
	return true;
}

const char *const *hs_proc_text_args(struct hs_arena *arena, const char *text, size_t len)
{
	size_t count = 0, at = 0;

	for (size_t i = 0; i < len; i++)
		count += text[i] == '\0';
	// A program may have written over its arguments and left no NUL at the end.
	if (len && text[len - 1] != '\0')
		count++;

	const char **args = hs_arena_calloc(arena, count + 1, sizeof(*args));
	if (!args)
		return NULL;
	for (size_t i = 0; i < count; i++) {
		size_t arg_len = strnlen(text + at, len - at);

		args[i] = hs_arena_strndup(arena, text + at, arg_len);
		if (!args[i])
			return NULL;
		at += arg_len + 1;
	}
	return args;
}
