// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * What the files that walk Java frames share: the layout of interpreter frames, the locks of a
 * frame, and where a frame that was walked keeps its locals. x86_64.
 */
#ifndef HS_JVM_JAVA_FRAMES_H
#define HS_JVM_JAVA_FRAMES_H

#include "core/jvm/code_cache.h"
#include "core/jvm/scopes.h"

// ---- java_frames.c

/** Forget all registers but these, and go on at a return address. */
void hs_cursor_set(struct hs_cursor *cursor, hs_addr pc, hs_addr sp, hs_addr fp);

/** Append a Java frame. HS_ERR_OOM; HS_ERR_BAD_DATA at HS_MAX_FRAMES. */
HS_MUST_CHECK struct hs_err *hs_java_frame_add(struct hs_frame_list *list,
                                               const struct hs_cursor *cursor,
                                               const struct hs_location *location, hs_addr sp,
                                               struct hs_frame **ret);

/**
 * The caller of an activation that has no frame yet, or none any more: its return address is on
 * top of the stack, or above a saved rbp. Sets the cursor to it.
 * @return NULL, or HS_ERR_BAD_DATA when nothing there is a return address into Java code.
 */
HS_MUST_CHECK struct hs_err *hs_java_frameless_sender(struct hs_jvm *jvm, struct hs_cursor *cursor);

/** Append the frames of a compiled method whose frame stands, at the return address in @p cursor.
 * @param sp Its unextended stack pointer. */
HS_MUST_CHECK struct hs_err *hs_compiled_describe(struct hs_jvm *jvm,
                                                  const struct hs_cursor *cursor,
                                                  const struct hs_code_site *site, hs_addr sp,
                                                  struct hs_frame_list *list);

// ---- return_address.c

/** Is @p pc a place that compiled or interpreted Java code can return to? */
bool hs_java_is_return_pc(struct hs_jvm *jvm, hs_addr pc);

/** Is there a call right before @p pc? With @p callee: one that leads into that blob. */
bool hs_java_follows_call(struct hs_jvm *jvm, hs_addr pc, const struct hs_blob *callee);

/** Is @p pc a return address in compiled Java code: right after a call, in a method? */
bool hs_java_is_compiled_return(struct hs_jvm *jvm, hs_addr pc);

/** Could the word at @p at, which is @p pc, be a return address? Its frame must have one too. */
bool hs_java_is_return_slot(struct hs_jvm *jvm, hs_addr at, hs_addr pc);

/**
 * Is the word at @p at, which is @p pc, a return address in the interpreter? No call stands before
 * those. The frame pointer of the interpreted caller, which tells, is right below it or still in
 * the register.
 * @param fp The register, 0: not known.
 * @param[out] fp_at Where the caller's frame pointer was saved, 0: in the register.
 */
bool hs_java_is_interpreter_return(struct hs_jvm *jvm, hs_addr at, hs_addr pc, hs_addr fp,
                                   hs_addr *fp_at);

/** Does a direct call of the code in @p blob, which returns to the word at @p sp, lead to @p
 * target? */
bool hs_java_was_called_at(struct hs_jvm *jvm, const struct hs_blob *blob, hs_addr sp,
                           hs_addr target);

// ---- interpreter_frames.c

/** Is there an interpreter frame, with a method, at rbp @p fp? */
bool hs_interpreter_has_frame(struct hs_jvm *jvm, hs_addr fp);

HS_MUST_CHECK struct hs_err *hs_interpreter_step(struct hs_jvm *jvm, struct hs_cursor *cursor,
                                                 struct hs_frame_list *list);

/** Where an interpreter frame in a stack chunk leads. */
struct hs_interpreter_links {
	uint64_t sender_sp; /**< raw: words from its frame pointer */
	hs_addr locals;     /**< address of local 0 */
};

/** Append the frame at rbp of @p cursor, without going on to its caller. */
HS_MUST_CHECK struct hs_err *hs_interpreter_describe(struct hs_jvm *jvm,
                                                     const struct hs_cursor *cursor,
                                                     struct hs_frame_list *list,
                                                     struct hs_interpreter_links *ret);

/** Local variable @p slot of the interpreter frame at @p fp, as a raw word. */
HS_MUST_CHECK struct hs_err *hs_interpreter_local(struct hs_jvm *jvm, hs_addr fp, unsigned slot,
                                                  uint64_t *ret);

/** Its first @p count local variables; the frame must have as many. */
HS_MUST_CHECK struct hs_err *hs_interpreter_locals(struct hs_jvm *jvm, hs_addr fp, uint64_t *words,
                                                   size_t count);

HS_MUST_CHECK struct hs_err *hs_interpreter_method(struct hs_jvm *jvm, hs_addr fp,
                                                   struct hs_method **ret);

// ---- frame_locks.c

/**
 * The locks of one Java frame, as jstack would print them (javaVFrame::print_lock_info_on, 17 to
 * 25). Zero-initialize but for the first fields, add innermost first, store.
 */
struct hs_frame_locks {
	struct hs_jvm *jvm;
	uint32_t thread;
	bool is_top; /**< innermost Java frame of its thread */

	bool found_first;
	HS_VEC(struct hs_frame_lock) items;
};

void hs_frame_locks_init(struct hs_frame_locks *locks, struct hs_jvm *jvm, uint32_t thread,
                         const struct hs_frame_list *list);

/**
 * For the top frame: what the thread waits for in Object.wait(), park(), or a class's initializer.
 * @param receiver Local 0 of @p method, 0 when there is no such thing to read.
 */
HS_MUST_CHECK struct hs_err *hs_frame_locks_add_wait(struct hs_frame_locks *locks,
                                                     const struct hs_method *method,
                                                     hs_addr receiver);
/** A monitor of the frame; object 0 is a free slot. */
HS_MUST_CHECK struct hs_err *hs_frame_locks_add(struct hs_frame_locks *locks, hs_addr object,
                                                bool is_eliminated);
/** An eliminated lock on an object that the compiler dissolved. */
HS_MUST_CHECK struct hs_err *hs_frame_locks_add_scalar(struct hs_frame_locks *locks,
                                                       hs_addr mirror);

void hs_frame_locks_store(const struct hs_frame_locks *locks, struct hs_frame *frame);

/** "java.lang.String", "int": what a java.lang.Class stands for. */
HS_MUST_CHECK struct hs_err *hs_mirror_class_name(struct hs_jvm *jvm, hs_addr mirror,
                                                  const char **ret);

/**
 * Give a frame the line "waiting on the Class initialization monitor" after the walk, where no
 * ObjectMonitor told. Nothing is done for another kind of @p resource, or without a @p frame.
 */
void hs_frame_add_class_wait(struct hs_jvm *jvm, uint32_t thread, uint32_t frame,
                             uint32_t resource);

/** Decode a full oop that the VM or compiled code keeps outside of the heap. */
hs_addr hs_root_oop(const struct hs_jvm *jvm, uint64_t word);

/** Decode an oop that a thread keeps on its stack, or in a register, or in its stack chunk while
 * that is walked (jvm->stack_oops). */
hs_addr hs_stack_oop(const struct hs_jvm *jvm, uint64_t word);

// ---- frame_locals.c

/** The value at @p value of a compiled frame; HS_ERR_ABSENT when it cannot be known. */
HS_MUST_CHECK struct hs_err *hs_scope_value_oop(struct hs_jvm *jvm,
                                                const struct hs_scope_value *value,
                                                const struct hs_regs *regs, bool is_activation,
                                                hs_addr *ret);

/**
 * What a synchronized native method has locked: its class, or the receiver that its compiled
 * wrapper keeps for the collector at @p sp, the unextended one. HS_ERR_ABSENT when it is not known.
 */
HS_MUST_CHECK struct hs_err *hs_wrapper_monitor(struct hs_jvm *jvm, const struct hs_nmethod *nm,
                                                const struct hs_method *method, hs_addr sp,
                                                hs_addr *ret);

/** Remember the frame pointer of the frame that is recorded with @p sp. */
HS_MUST_CHECK struct hs_err *hs_frame_fp_put(struct hs_jvm *jvm, hs_addr sp,
                                             const struct hs_regs *regs);

/**
 * Pc for the debug information of a frame of @p nm: the one that deoptimization replaced.
 * @param sp Unextended stack pointer of the frame.
 */
HS_MUST_CHECK struct hs_err *hs_compiled_pc(struct hs_jvm *jvm, const struct hs_nmethod *nm,
                                            hs_addr pc, hs_addr sp, hs_addr *ret);

// ---- oop_map.c

enum {
	HS_MAX_SAVED_REGISTERS = 256
};

/** A register that a stub has saved, by its VMReg number. */
struct hs_saved_register {
	uint32_t vm_reg;
	hs_addr addr;
};

struct hs_saved_registers {
	struct hs_saved_register items[HS_MAX_SAVED_REGISTERS];
	size_t count;
};

/**
 * Registers of a caller with stack pointer @p caller_sp, as the frame below it, @p stub, has saved
 * them. @return Only out-of-memory: none is found when there is no map.
 */
HS_MUST_CHECK struct hs_err *hs_saved_registers_read(struct hs_jvm *jvm,
                                                     const struct hs_frame *stub, hs_addr caller_sp,
                                                     struct hs_saved_registers *ret);

// ---- frame_locals.c

/** How much is known of the type of a slot's bits. */
enum hs_slot_kind {
	HS_SLOT_UNKNOWN, /**< in a register that nobody saved, one of several objects… */
	HS_SLOT_DEAD,
	HS_SLOT_WORD,   /**< interpreter: 64 bits of any type */
	HS_SLOT_OOP,    /**< bits: decoded address, or 0 */
	HS_SLOT_INT,    /**< bits: 32 of an int or float */
	HS_SLOT_LONG,   /**< bits: a long or double; in the second of its two slots */
	HS_SLOT_SCALAR, /**< bits: mirror of the class of the dissolved object, 0 unknown */
};

struct hs_slot {
	enum hs_slot_kind kind;
	uint64_t bits;
};

/** The local variables of a Java frame, by slot. */
struct hs_frame_slots {
	struct hs_method *method;
	bool is_interpreted;
	struct hs_slot items[HS_MAX_LOCALS];
	size_t count;
	bool is_cut;                                     /**< there are more than HS_MAX_LOCALS */
	struct hs_scope_value values[HS_MAX_LOCALS + 1]; /**< scratch */
	struct hs_saved_registers saved;                 /**< scratch */
};

/**
 * Read all slots of frame @p frame of @p thread's stack, which was walked. The frame has no slot
 * that can be told when HS_ERR_ABSENT is returned.
 */
HS_MUST_CHECK struct hs_err *hs_frame_slots_read(struct hs_jvm *jvm, const struct hs_thread *thread,
                                                 uint32_t frame, struct hs_frame_slots *ret);

// ---- local_values.c

/**
 * Describe an object as a local variable's value: class, address, identity hash, and what is known
 * of strings, arrays, boxes, enums, threads and classes. 0 is null.
 * @return NULL or OOM; *why_ret: NULL, or why it or a part of it could not be read (the caller
 * frees it).
 */
HS_MUST_CHECK struct hs_err *hs_local_set_object(struct hs_jvm *jvm, struct hs_local *local,
                                                 hs_addr oop, struct hs_err **why_ret);

/** Write bits as a primitive of the type that starts a descriptor: 'Z', 'I', 'D'… */
HS_MUST_CHECK struct hs_err *hs_local_set_primitive(struct hs_jvm *jvm, struct hs_local *local,
                                                    char type, uint64_t bits);

/** "java.lang.String[]" of "[Ljava/lang/String;", which is copied. NULL: out of memory. */
const char *hs_type_words(struct hs_arena *arena, const char *descriptor);
/** "byte[]" of "[B", which is copied; the name itself of any other class. NULL: out of memory. */
const char *hs_class_words(struct hs_arena *arena, const char *name);

#endif // HS_JVM_JAVA_FRAMES_H
