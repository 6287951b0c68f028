// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Errors: a pointer that is NULL on success. Every function that can fail returns one, must-check.
 *
 * An error ends in exactly one of: `return err`, hs_snapshot_gap(), hs_err_catch(), hs_err_free().
 * Out-of-memory, fault and absent are static objects: probing allocates nothing, and freeing them
 * is a no-op.
 */
#ifndef HS_ERR_H
#define HS_ERR_H

#include <stdbool.h>
#include <stddef.h>

#define HS_MUST_CHECK __attribute__((__warn_unused_result__))
/** Says that an error is an error: without it the compiler sees paths where a result is unset. */
#define HS_IS_ERR __attribute__((__returns_nonnull__))
#define HS_PRINTF(fmt, args) __attribute__((__format__(__printf__, fmt, args)))

enum hs_err_code {
	HS_ERR_OOM,         /**< our own memory ran out */
	HS_ERR_OS,          /**< a system call failed: hs_err_errno() says how */
	HS_ERR_FAULT,       /**< the target has no such memory, or it cannot be read */
	HS_ERR_BAD_DATA,    /**< it was read, and it makes no sense */
	HS_ERR_ABSENT,      /**< the thing asked for is not there */
	HS_ERR_UNSUPPORTED, /**< correct, but not a thing we can handle */
	HS_ERR_USAGE,       /**< the caller (or the user) asked for something impossible */
};

/** One error. Opaque; NULL means success. */
struct hs_err;

/** New error with a message. Never NULL: falls back to the static out-of-memory error. */
HS_MUST_CHECK HS_IS_ERR HS_PRINTF(2, 3) struct hs_err *hs_err_new(enum hs_err_code code,
                                                                  const char *fmt, ...);

/** HS_ERR_OS with @p errnum kept; the message is "fmt: strerror". */
HS_MUST_CHECK HS_IS_ERR HS_PRINTF(2, 3) struct hs_err *hs_err_os(int errnum, const char *fmt, ...);

HS_MUST_CHECK HS_IS_ERR struct hs_err *hs_err_oom(void);
HS_MUST_CHECK HS_IS_ERR struct hs_err *hs_err_fault(void);
HS_MUST_CHECK HS_IS_ERR struct hs_err *hs_err_absent(void);
/** HS_ERR_FAULT of memory that the target had, and that the snapshot of it leaves out. */
HS_MUST_CHECK HS_IS_ERR struct hs_err *hs_err_not_captured(void);

/** "context: old message"; consumes @p err, keeps code and errno. NULL stays NULL. */
HS_MUST_CHECK HS_PRINTF(2, 3) struct hs_err *hs_err_wrap(struct hs_err *err, const char *fmt, ...);

enum hs_err_code hs_err_code(const struct hs_err *err);

/** errno of an HS_ERR_OS, 0 otherwise. */
int hs_err_errno(const struct hs_err *err);

/** Borrowed until the error is freed. May contain raw target bytes: escape before printing. */
const char *hs_err_message(const struct hs_err *err);

/** If *err has @p code, free it, set it to NULL and return true. */
bool hs_err_catch(struct hs_err **err, enum hs_err_code code);

/** Drop an error that the caller has decided not to care about. NULL is a no-op. */
void hs_err_free(struct hs_err *err);

/** For hs_cleanup(). */
void hs_err_freep(struct hs_err **err);

#if defined(__clang_analyzer__) && !defined(HS_ERR_IMPLEMENTATION)
// clang's analyzer does not believe returns_nonnull: spell it out for it.
HS_IS_ERR static inline struct hs_err *hs_err_nonnull(struct hs_err *err)
{
	if (!err)
		__builtin_unreachable();
	return err;
}
#define hs_err_new(...) hs_err_nonnull(hs_err_new(__VA_ARGS__))
#define hs_err_os(...) hs_err_nonnull(hs_err_os(__VA_ARGS__))
#define hs_err_oom() hs_err_nonnull(hs_err_oom())
#define hs_err_fault() hs_err_nonnull(hs_err_fault())
#define hs_err_absent() hs_err_nonnull(hs_err_absent())
#define hs_err_not_captured() hs_err_nonnull(hs_err_not_captured())
#endif

#endif // HS_ERR_H
