// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * futex(2): operation, word, what was expected of the word and what it is now. Operations and
 * flags: include/uapi/linux/futex.h; which of them take an absolute time, and on which clock:
 * kernel/futex/syscalls.c (futex_init_timeout) of Linux 6.17.
 */

#include "core/native/syscall_text.h"

enum {
	NR_FUTEX = 202,
	NR_FUTEX_WAIT = 455,

	FUTEX_PRIVATE = 128,
	FUTEX_REALTIME = 256,
	FUTEX_OP_MASK = ~(FUTEX_PRIVATE | FUTEX_REALTIME),

	FUTEX2_SIZE_MASK = 3, // 0: 8 bit, 1: 16, 2: 32, 3: 64
	FUTEX2_SIZE_U32 = 2,
	FUTEX2_PRIVATE = 128,

	WAITV_SHOWN = 4,
};

/** How the arguments after the operation are to be read. */
enum futex_shape {
	SHAPE_WAIT,         /**< expected value, relative time */
	SHAPE_WAIT_BITSET,  /**< expected value, absolute time, -, bit set */
	SHAPE_LOCK,         /**< -, absolute time */
	SHAPE_UNLOCK,       /**< no more arguments */
	SHAPE_WAKE,         /**< how many */
	SHAPE_REQUEUE,      /**< how many, how many more, second word, (value) */
	SHAPE_WAIT_REQUEUE, /**< expected value, absolute time, second word */
};

// clang-format off
static const struct futex_op_row {
	const char *name;
	uint8_t shape; // enum futex_shape
} futex_ops[] = {
	[HS_FUTEX_WAIT] =            {"FUTEX_WAIT", SHAPE_WAIT},
	[1] =                        {"FUTEX_WAKE", SHAPE_WAKE},
	[3] =                        {"FUTEX_REQUEUE", SHAPE_REQUEUE},
	[4] =                        {"FUTEX_CMP_REQUEUE", SHAPE_REQUEUE},
	[5] =                        {"FUTEX_WAKE_OP", SHAPE_REQUEUE},
	[HS_FUTEX_LOCK_PI] =         {"FUTEX_LOCK_PI", SHAPE_LOCK},
	[7] =                        {"FUTEX_UNLOCK_PI", SHAPE_UNLOCK},
	[8] =                        {"FUTEX_TRYLOCK_PI", SHAPE_UNLOCK},
	[HS_FUTEX_WAIT_BITSET] =     {"FUTEX_WAIT_BITSET", SHAPE_WAIT_BITSET},
	[10] =                       {"FUTEX_WAKE_BITSET", SHAPE_WAKE},
	[HS_FUTEX_WAIT_REQUEUE_PI] = {"FUTEX_WAIT_REQUEUE_PI", SHAPE_WAIT_REQUEUE},
	[12] =                       {"FUTEX_CMP_REQUEUE_PI", SHAPE_REQUEUE},
	[HS_FUTEX_LOCK_PI2] =        {"FUTEX_LOCK_PI2", SHAPE_LOCK},
};
// clang-format on

static const struct futex_op_row *futex_row(uint32_t op)
{
	op &= (uint32_t)FUTEX_OP_MASK;
	if (op >= sizeof(futex_ops) / sizeof(futex_ops[0]) || !futex_ops[op].name)
		return NULL;
	return &futex_ops[op];
}

static bool read_word(const struct hs_syscalls *syscalls, hs_addr addr, uint32_t *ret)
{
	struct hs_err *err = hs_target_read_u32(syscalls->target, addr, ret);

	bool ok = !err;

	hs_err_free(err);
	return ok;
}

static void put_word(struct hs_syscall_text *text, hs_addr addr)
{
	uint32_t word;

	if (read_word(text->syscalls, addr, &word))
		hs_syscall_put(text, "0x%llx (word %u)", (unsigned long long)addr, word);
	else
		hs_syscall_put(text, "0x%llx", (unsigned long long)addr);
}

static void put_shape(struct hs_syscall_text *text, enum futex_shape shape, uint32_t op)
{
	const uint64_t *args = text->lwp->syscall_args;
	bool realtime = op & FUTEX_REALTIME || (op & (uint32_t)FUTEX_OP_MASK) == HS_FUTEX_LOCK_PI;
	enum hs_deadline absolute = realtime ? HS_DEADLINE_REALTIME : HS_DEADLINE_MONOTONIC;

	switch (shape) {
	case SHAPE_WAIT:
		hs_syscall_put(text, ", %u, ", (uint32_t)args[2]);
		hs_syscall_put_timespec(text, args[3], HS_DEADLINE_RELATIVE);
		break;
	case SHAPE_WAIT_BITSET:
		hs_syscall_put(text, ", %u, ", (uint32_t)args[2]);
		hs_syscall_put_timespec(text, args[3], absolute);
		if ((uint32_t)args[5] != UINT32_MAX)
			hs_syscall_put(text, ", bits 0x%x", (uint32_t)args[5]);
		break;
	case SHAPE_LOCK:
		hs_syscall_put(text, ", ");
		hs_syscall_put_timespec(text, args[3], absolute);
		break;
	case SHAPE_WAKE:
		hs_syscall_put(text, ", %u", (uint32_t)args[2]);
		break;
	case SHAPE_REQUEUE:
		hs_syscall_put(text, ", %u, %u, ", (uint32_t)args[2], (uint32_t)args[3]);
		put_word(text, args[4]);
		break;
	case SHAPE_WAIT_REQUEUE:
		hs_syscall_put(text, ", %u, ", (uint32_t)args[2]);
		hs_syscall_put_timespec(text, args[3], absolute);
		hs_syscall_put(text, ", ");
		put_word(text, args[4]);
		break;
	case SHAPE_UNLOCK:
		break;
	}
}

/** futex_wait(word, expected, bits, flags, time, clock): Linux 6.7. The time is absolute. */
static void put_futex_wait(struct hs_syscall_text *text)
{
	const uint64_t *args = text->lwp->syscall_args;

	put_word(text, args[0]);
	hs_syscall_put(text, ", %llu, ", (unsigned long long)args[1]);
	hs_syscall_put_timespec(text, args[4],
	                        args[5] == 0 ? HS_DEADLINE_REALTIME : HS_DEADLINE_MONOTONIC);
}

void hs_syscall_put_futex(struct hs_syscall_text *text)
{
	const uint64_t *args = text->lwp->syscall_args;

	if (text->lwp->syscall_nr == NR_FUTEX_WAIT) {
		put_futex_wait(text);
		return;
	}
	uint32_t op = (uint32_t)args[1];
	const struct futex_op_row *row = futex_row(op);
	put_word(text, args[0]);
	if (!row) {
		hs_syscall_put(text, ", op 0x%x, ...", op);
		return;
	}
	hs_syscall_put(text, ", %s%s%s", row->name, op & FUTEX_PRIVATE ? "_PRIVATE" : "",
	               op & FUTEX_REALTIME ? "|FUTEX_CLOCK_REALTIME" : "");
	put_shape(text, row->shape, op);
}

void hs_syscall_put_waitv(struct hs_syscall_text *text, hs_addr addr, uint64_t count)
{
	size_t shown = count < WAITV_SHOWN ? (size_t)count : WAITV_SHOWN;

	for (size_t i = 0; i < shown; i++) {
		struct { // struct futex_waitv
			uint64_t expected, word;
			uint32_t flags, reserved;
		} entry;
		struct hs_err *err = hs_target_read(
			text->syscalls->target, addr + i * sizeof(entry), &entry, sizeof(entry));
		if (err) {
			hs_err_free(err);
			hs_syscall_put(text, "%s0x%llx", i ? ", " : "[", (unsigned long long)addr);
			break;
		}
		hs_syscall_put(text, i ? ", {" : "[{");
		put_word(text, entry.word);
		hs_syscall_put(text, ", %llu}", (unsigned long long)entry.expected);
	}
	if (shown)
		hs_syscall_put(text, shown < count ? ", ...]" : "]");
	else
		hs_syscall_put(text, "[]");
}

/** futex(2). @return false: not an operation that waits. */
static bool decode_futex(const uint64_t *args, struct hs_futex_wait *wait)
{
	const struct futex_op_row *row = futex_row((uint32_t)args[1]);
	if (!row)
		return false;

	switch ((enum futex_shape)row->shape) {
	case SHAPE_WAIT:
	case SHAPE_WAIT_BITSET:
	case SHAPE_WAIT_REQUEUE:
		wait->expected = (uint32_t)args[2];
		break;
	case SHAPE_LOCK:
		break;
	default:
		return false;
	}
	wait->op = (enum hs_futex_op)((uint32_t)args[1] & (uint32_t)FUTEX_OP_MASK);
	wait->is_private = args[1] & FUTEX_PRIVATE;
	wait->has_timeout = args[3] != 0;
	return true;
}

bool hs_syscall_futex_wait(const struct hs_syscalls *syscalls, const struct hs_lwp *lwp,
                           struct hs_futex_wait *ret)
{
	const uint64_t *args = lwp->syscall_args;
	struct hs_futex_wait wait = {.word = args[0]};

	if (!lwp->in_syscall)
		return false;
	if (lwp->syscall_nr == NR_FUTEX) {
		if (!decode_futex(args, &wait))
			return false;
	} else if (lwp->syscall_nr == NR_FUTEX_WAIT &&
	           (args[3] & FUTEX2_SIZE_MASK) == FUTEX2_SIZE_U32) {
		wait.op = HS_FUTEX_WAIT_BITSET;
		wait.expected = (uint32_t)args[1];
		wait.is_private = args[3] & FUTEX2_PRIVATE;
		wait.has_timeout = args[4] != 0;
	} else {
		return false;
	}
	wait.has_current = read_word(syscalls, wait.word, &wait.current);
	*ret = wait;
	return true;
}
