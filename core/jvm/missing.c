// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Missing: what this release of HotSpot does not publish although the ones we know do, and what
 * that costs. Readers that cannot do without a field say so themselves; these do without, and
 * their answers get poorer without a word.
 */

#include "core/jvm/locks.h"

enum {
	NEWEST_RELEASE = 28, // that the tests run on
	MAX_SPELLINGS = 3,
};

struct need {
	enum hs_field any_of[MAX_SPELLINGS]; // 0 ends; row 0 is never one of these
	const char *name, *costs;
};

static const struct need needs[] = {
	{{HS_F_const_method_flags_u4, HS_F_const_method_flags_u2},
         "ConstMethod::_flags",                                                                                 "line numbers of Java frames"              },
	{{HS_F_const_method_size},					    "ConstMethod::_constMethod_size", "line numbers of Java frames"              },
	{{HS_F_cp_source_file_name_index, HS_F_klass_source_file_name_index},
         "ConstantPool::_source_file_name_index",                                                               "source files of Java frames"              },
	{{HS_F_thread_state},
         "JavaThread::_thread_state",                                                                           "whether a thread runs Java code or waits" },
	{{HS_F_nmethod_comp_level},
         "nmethod::_comp_level",                                                                                "which compiler made the code of a frame"  },
	{{HS_F_call_wrapper_anchor},
         "JavaCallWrapper::_anchor",                                                                            "Java frames below a call from native code"},
};

static bool has_any(const struct hs_layout *layout, const struct need *need)
{
	for (size_t i = 0; i < MAX_SPELLINGS && need->any_of[i]; i++)
		if (hs_layout_has(layout, need->any_of[i]))
			return true;
	return false;
}

void hs_jvm_note_missing(struct hs_jvm *jvm)
{
	static const char reason[] = "this libjvm does not publish it";
	const struct hs_layout *layout = &jvm->layout;
	struct hs_snapshot *snapshot = jvm->snapshot;
	const char *release = hs_arena_printf(jvm->arena, "Java %d", jvm->major);

	if (jvm->major > NEWEST_RELEASE && release)
		hs_snapshot_gapf(snapshot, release, "what a new release does in a new way",
		                 "newer than the releases that are known, up to %d",
		                 NEWEST_RELEASE);
	for (size_t i = 0; i < sizeof(needs) / sizeof(needs[0]); i++)
		if (!has_any(layout, &needs[i]))
			hs_snapshot_gapf(snapshot, needs[i].name, needs[i].costs, reason);
	if (hs_layout_has(layout, HS_F_basic_object_lock_obj) &&
	    layout->sizes[HS_T_basic_object_lock])
		return;
	hs_snapshot_gapf(snapshot, "BasicObjectLock", "which monitors interpreted frames hold",
	                 reason);
	// A biased lock is held when a frame shows it.
	if (hs_layout_has(layout, HS_F_klass_prototype_header) &&
	    !hs_layout_has(layout, HS_F_thread_lock_stack))
		snapshot->blind = true;
}
