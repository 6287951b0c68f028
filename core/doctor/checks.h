// SPDX-License-Identifier: Apache-2.0
/** @file The answers: one function per question of checks.c. Pure functions. Not installed. */
#ifndef HS_DOCTOR_CHECKS_H
#define HS_DOCTOR_CHECKS_H

#include "core/doctor/facts.h"

#define HS_CHECK(name)                                                                    \
	void hs_check_##name(const struct hs_doctor_facts *facts, struct hs_arena *arena, \
	                     struct hs_check *check)

// ---- checks_attach.c
HS_CHECK(process);
HS_CHECK(proc);
HS_CHECK(capability);
HS_CHECK(seccomp);
HS_CHECK(readv);
HS_CHECK(yama);
HS_CHECK(user_namespace);
HS_CHECK(uid);
HS_CHECK(dumpable);
HS_CHECK(capabilities);
HS_CHECK(tracer);
HS_CHECK(module);
HS_CHECK(memory);
HS_CHECK(running);

// ---- checks_core.c: cores that are, and that would be.
HS_CHECK(pattern);
HS_CHECK(limit);
HS_CHECK(filter);
HS_CHECK(space);
HS_CHECK(complete);
HS_CHECK(threads);
HS_CHECK(core_memory);
HS_CHECK(kind);

// ---- checks_files.c
HS_CHECK(files);
HS_CHECK(build_ids);
HS_CHECK(libc);
HS_CHECK(libc_symbols);
HS_CHECK(jvm_symbols);
HS_CHECK(thread_db);

/** Is there a process, ours to look at as far as its kind goes? */
bool hs_is_examinable(const struct hs_doctor_facts *facts);

/** "1.5 GB" */
const char *hs_size_words(struct hs_arena *arena, uint64_t bytes);

#endif // HS_DOCTOR_CHECKS_H
