// SPDX-License-Identifier: Apache-2.0
/** @file States of virtual threads: numbers of the release, words of ours. */

#include "core/jvm/virtual_threads.h"

enum {
	SUSPENDED = 1 << 8, // VirtualThread.SUSPENDED, 21 to 28
};

/** VirtualThread.java: the constants are static fields. The numbers are for a core whose mirror
 * cannot be read: of 21.0.4 to 28, and of 21.0.2, which has a state RUNNABLE. The Java state is
 * that of VirtualThread.threadState(). */
static const struct {
	const char *constant;
	int number, number_21_0_2;
	const char *java_state, *words;
} states[HS_VSTATE_COUNT] = {
  // clang-format off
	[HS_VSTATE_UNKNOWN] = {NULL, -1, -1, NULL, "state not known"},
	[HS_VSTATE_NEW] = {"NEW", 0, 0, "NEW", "not started"},
	[HS_VSTATE_STARTED] = {"STARTED", 1, 1, "RUNNABLE", "ready to run"},
	[HS_VSTATE_RUNNABLE] = {"RUNNABLE", -1, 2, "RUNNABLE", "ready to run"},
	[HS_VSTATE_RUNNING] = {"RUNNING", 2, 3, "RUNNABLE", "running"},
	[HS_VSTATE_PARKING] = {"PARKING", 3, 4, "RUNNABLE", "about to park"},
	[HS_VSTATE_PARKED] = {"PARKED", 4, 5, "WAITING (parking)", "parked"},
	[HS_VSTATE_PINNED] = {"PINNED", 5, 6, "WAITING (parking)", "parked, on its carrier"},
	[HS_VSTATE_TIMED_PARKING] = {"TIMED_PARKING", 6, -1, "RUNNABLE", "about to park"},
	[HS_VSTATE_TIMED_PARKED] = {"TIMED_PARKED", 7, -1, "TIMED_WAITING (parking)", "parked, with a time-out"},
	[HS_VSTATE_TIMED_PINNED] = {"TIMED_PINNED", 8, -1, "TIMED_WAITING (parking)", "parked on its carrier, with a time-out"},
	[HS_VSTATE_UNPARKED] = {"UNPARKED", 9, -1, "RUNNABLE", "ready to run"},
	[HS_VSTATE_YIELDING] = {"YIELDING", 10, 7, "RUNNABLE", "about to yield"},
	[HS_VSTATE_YIELDED] = {"YIELDED", 11, -1, "RUNNABLE", "ready to run"},
	[HS_VSTATE_BLOCKING] = {"BLOCKING", 12, -1, "RUNNABLE", "about to block"},
	[HS_VSTATE_BLOCKED] = {"BLOCKED", 13, -1, "BLOCKED (on object monitor)", "blocked on a monitor"},
	[HS_VSTATE_UNBLOCKED] = {"UNBLOCKED", 14, -1, "RUNNABLE", "ready to run"},
	[HS_VSTATE_WAITING] = {"WAITING", 15, -1, "RUNNABLE", "about to wait"},
	[HS_VSTATE_WAIT] = {"WAIT", 16, -1, "WAITING (on object monitor)", "waiting for a notify()"},
	[HS_VSTATE_TIMED_WAITING] = {"TIMED_WAITING", 17, -1, "RUNNABLE", "about to wait"},
	[HS_VSTATE_TIMED_WAIT] = {"TIMED_WAIT", 18, -1, "TIMED_WAITING (on object monitor)", "waiting for a notify(), with a time-out"},
	[HS_VSTATE_TERMINATED] = {"TERMINATED", 99, 99, "TERMINATED", "ended"},
  // clang-format on
};

static struct hs_err *has_constant(struct hs_jvm *jvm, const struct hs_klass *klass,
                                   const char *name, bool *ret)
{
	const struct hs_jfield *field = NULL;
	struct hs_err *err = hs_klass_field(jvm, klass, name, &field);

	*ret = !hs_err_catch(&err, HS_ERR_ABSENT);
	return err;
}

struct hs_err *hs_vthread_states_read(struct hs_jvm *jvm, const struct hs_klass *klass,
                                      struct hs_vthread_layout *layout)
{
	bool is_21_0_2, found;
	struct hs_err *err = has_constant(jvm, klass, "RUNNABLE", &is_21_0_2);

	layout->states[HS_VSTATE_UNKNOWN] = -1;
	for (size_t i = HS_VSTATE_UNKNOWN + 1; !err && i < HS_VSTATE_COUNT; i++) {
		int64_t value = is_21_0_2 ? states[i].number_21_0_2 : states[i].number;

		layout->states[i] = -1;
		err = has_constant(jvm, klass, states[i].constant, &found);
		if (err || !found) // a state of other releases
			continue;
		err = hs_klass_static_int(jvm, klass, states[i].constant, &value);
		layout->states[i] = value;
		if (!err || hs_err_code(err) == HS_ERR_OOM)
			continue;
		hs_err_free(err); // the mirror is not there: the number of the release, then
		err = NULL;
	}
	return err;
}

enum hs_vthread_state hs_vthread_state_of(const struct hs_vthread_layout *layout, uint32_t raw)
{
	for (size_t i = HS_VSTATE_UNKNOWN + 1; i < HS_VSTATE_COUNT; i++) {
		if (layout->states[i] == (int64_t)(raw & ~(uint32_t)SUSPENDED))
			return (enum hs_vthread_state)i;
	}
	return HS_VSTATE_UNKNOWN;
}

const char *hs_vthread_java_state(enum hs_vthread_state state)
{
	return states[state].java_state;
}

const char *hs_vthread_words(enum hs_vthread_state state)
{
	return states[state].words;
}

bool hs_vthread_is_runnable(enum hs_vthread_state state)
{
	return state == HS_VSTATE_STARTED || state == HS_VSTATE_RUNNABLE ||
	       state == HS_VSTATE_UNPARKED || state == HS_VSTATE_YIELDED ||
	       state == HS_VSTATE_UNBLOCKED;
}
