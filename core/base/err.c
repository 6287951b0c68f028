// SPDX-License-Identifier: Apache-2.0
/** @file Errors as pointers. */

#define HS_ERR_IMPLEMENTATION
#include "core/base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct hs_err {
	enum hs_err_code code;
	int errnum;
	bool is_static;
	char message[];
};

// A flexible array member may be initialized in a static object: a GNU extension we build with.
static struct hs_err err_oom = {HS_ERR_OOM, 0, true, {"out of memory"}};
static struct hs_err err_fault = {HS_ERR_FAULT, 0, true, {"memory of the target cannot be read"}};
static struct hs_err err_not_captured = {
	HS_ERR_FAULT, 0, true, {"the snapshot does not hold this memory"}};
static struct hs_err err_absent = {HS_ERR_ABSENT, 0, true, {"not there"}};

static struct hs_err *err_vmake(enum hs_err_code code, int errnum, const char *tail,
                                const char *fmt, va_list ap)
{
	va_list copy;

	va_copy(copy, ap);
	int len = vsnprintf(NULL, 0, fmt, copy);
	va_end(copy);
	if (len < 0)
		return &err_oom;

	size_t tail_len = tail ? strlen(tail) + 2 : 0;
	struct hs_err *err = malloc(sizeof(*err) + (size_t)len + tail_len + 1);
	if (!err)
		return &err_oom;
	err->code = code;
	err->errnum = errnum;
	err->is_static = false;
	vsnprintf(err->message, (size_t)len + 1, fmt, ap);
	if (tail)
		snprintf(err->message + len, tail_len + 1, ": %s", tail);
	return err;
}

struct hs_err *hs_err_new(enum hs_err_code code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	struct hs_err *err = err_vmake(code, 0, NULL, fmt, ap);
	va_end(ap);
	return err;
}

struct hs_err *hs_err_os(int errnum, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	struct hs_err *err = err_vmake(HS_ERR_OS, errnum, strerror(errnum), fmt, ap);
	va_end(ap);
	return err;
}

struct hs_err *hs_err_oom(void)
{
	return &err_oom;
}

struct hs_err *hs_err_fault(void)
{
	return &err_fault;
}

struct hs_err *hs_err_absent(void)
{
	return &err_absent;
}

struct hs_err *hs_err_not_captured(void)
{
	return &err_not_captured;
}

struct hs_err *hs_err_wrap(struct hs_err *err, const char *fmt, ...)
{
	va_list ap;

	if (!err || err->code == HS_ERR_OOM)
		return err;
	va_start(ap, fmt);
	struct hs_err *wrapped = err_vmake(err->code, err->errnum, err->message, fmt, ap);
	va_end(ap);
	hs_err_free(err);
	return wrapped;
}

enum hs_err_code hs_err_code(const struct hs_err *err)
{
	return err->code;
}

int hs_err_errno(const struct hs_err *err)
{
	return err->errnum;
}

const char *hs_err_message(const struct hs_err *err)
{
	return err->message;
}

bool hs_err_catch(struct hs_err **err, enum hs_err_code code)
{
	if (!*err || (*err)->code != code)
		return false;
	hs_err_free(*err);
	*err = NULL;
	return true;
}

void hs_err_free(struct hs_err *err)
{
	if (err && !err->is_static)
		free(err);
}

void hs_err_freep(struct hs_err **err)
{
	hs_err_free(*err);
}
