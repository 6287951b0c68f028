// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Fake code: a JVM with a code cache, one JavaThread and a few methods, made by hand in a fake
 * target. Classes and methods are put into the JVM's caches as if they were decoded. Runs out of
 * memory: aborts.
 */
#ifndef HS_FAKE_CODE_H
#define HS_FAKE_CODE_H

#include "core/jvm/code_cache.h"
#include "core/jvm/java_frames.h"
#include "core/jvm/nmethod.h"
#include "core/jvm/scopes.h"
#include "tests/support/fake_target.h"

/** Addresses and sizes that tests count with. */
enum {
	FAKE_CODE = 0x10000000, /**< code heap, in segments of 128 bytes */
	FAKE_CODE_SIZE = 0x10000,
	FAKE_SEGMENT = 128,
	FAKE_SEGMAP = 0x11000000,
	FAKE_INTERPRETER = FAKE_CODE + 0x8000, /**< 0x1000 bytes, in a blob */
	FAKE_CALL_STUB_RETURN = FAKE_CODE + 0xa080,
	FAKE_STACK = 0x70000000,
	FAKE_STACK_SIZE = 0x10000,
	FAKE_NATIVE = 0x60000000, /**< 0x1000 bytes of libjvm */
	FAKE_JTHREAD = 0x50000000,
	FAKE_TID = 100,
	FAKE_BCI_BYTES = 64, /**< bytecodes of each method; line = 10 + bci */
};

/** Which generation of layout. */
enum fake_release {
	FAKE_8,
	FAKE_17,
	FAKE_25,
};

struct fake_code {
	enum fake_release release;
	struct hs_fake *fake;
	struct hs_fake_libjvm *libjvm;
	struct hs_snapshot *snapshot;
	struct hs_jvm *jvm;
	struct hs_frame_list list;
	hs_addr next; /**< free metadata space */
};

struct fake_code *hs_fake_code_create(enum fake_release release);
void hs_fake_code_destroy(struct fake_code *code);

/** A method of class "app.Main". */
struct hs_method *hs_fake_code_method(struct fake_code *code, const char *name);

/** A Klass in the caches, and an object of it. */
hs_addr hs_fake_code_object(struct fake_code *code, const char *class_name);

/** An ObjectMonitor of an object. */
hs_addr hs_fake_code_monitor(struct fake_code *code, hs_addr object);

/**
 * A blob in @p segments segments from segment @p first.
 * @return Address of its first instruction.
 */
hs_addr hs_fake_code_blob(struct fake_code *code, const char *name, uint32_t first,
                          uint32_t segments, int32_t frame_words);

/** Debug information of an nmethod. */
struct fake_nmethod {
	struct hs_method *method;
	const struct hs_method *const *metadata; /**< up to 4, NULL ends */
	hs_addr oops[4];
	const uint8_t *scopes;
	size_t scopes_len;
	struct hs_pc_desc descs[4]; /**< pc_offset 0 ends */
	int32_t deopt_offset;       /**< from the first instruction; 0 none */
	int32_t orig_pc_offset;
	int32_t receiver_offset, lock_offset; /**< of a native wrapper, before 20 */
	uint8_t tier;
};

hs_addr hs_fake_code_nmethod(struct fake_code *code, uint32_t first, uint32_t segments,
                             int32_t frame_words, const struct fake_nmethod *nm);

/** An interpreter frame at rbp @p fp. Locals and monitors are stored as the release does. */
struct fake_interpreter_frame {
	const struct hs_method *method;
	uint16_t bci;
	hs_addr return_pc, link, sender_sp, locals, monitors; /**< monitors 0: none */
};

void hs_fake_code_interpreter_frame(struct fake_code *code, hs_addr fp,
                                    const struct fake_interpreter_frame *frame);

/** Set the anchor and monitors of the JavaThread, and collect threads: once, before stepping. */
void hs_fake_code_thread(struct fake_code *code, hs_addr pending, hs_addr waiting, hs_addr sp,
                         hs_addr fp, hs_addr pc);

/** A cursor at these registers. */
struct hs_cursor hs_fake_code_cursor(hs_addr pc, hs_addr sp, hs_addr fp);

#endif // HS_FAKE_CODE_H
