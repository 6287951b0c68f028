// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * What the files of core/jvm share: the open JVM, its resolved layout, and the readers of oops,
 * classes and methods. Not installed.
 */
#ifndef HS_JVM_INTERNAL_H
#define HS_JVM_INTERNAL_H

#include "core/base/map64.h"
#include "core/jvm/jvm.h"
#include "core/jvm/layout.h"
#include "core/jvm/vmstructs.h"
#include "core/limits.h"

/** How the owner word of an ObjectMonitor and the lock bits of a mark word are read. */
enum hs_locking_mode {
	HS_LOCKING_MONITOR = 0,     /**< always inflated */
	HS_LOCKING_LEGACY = 1,      /**< stack locks: the mark word points to a BasicLock */
	HS_LOCKING_LIGHTWEIGHT = 2, /**< the owner's LockStack holds the object */
};

/** JavaThread._thread_state, renumbered in 28: always by the int constants. */
enum hs_jthread_state {
	HS_JSTATE_UNKNOWN,
	HS_JSTATE_NEW,
	HS_JSTATE_NATIVE,
	HS_JSTATE_VM,
	HS_JSTATE_JAVA,
	HS_JSTATE_BLOCKED,
};

/** How oops lie in the stack that is being walked. */
enum hs_stack_oops {
	HS_STACK_OOPS_RAW,    /**< on a thread's stack: full, uncoloured by generational ZGC */
	HS_STACK_OOPS_NARROW, /**< in a stack chunk that a collector has seen: compressed */
	HS_STACK_OOPS_FIELD,  /**< the same without compressed oops: coloured as a field is */
};

/** One JavaThread. Oops are decoded (full, uncoloured) addresses. */
struct hs_jthread {
	hs_addr addr;        /**< JavaThread * */
	pid_t tid;           /**< OSThread::_thread_id, in the target's namespace */
	uint32_t thread;     /**< index into the snapshot */
	hs_addr thread_oop;  /**< java.lang.Thread; 0 if unreadable */
	hs_addr vthread_oop; /**< mounted virtual thread, 0 if none */
	uint32_t vthread;    /**< record of the virtual thread whose frames are on its stack, or
	                        HS_NONE: see hs_jthread_runner() */
	enum hs_jthread_state state;
	bool in_transition; /**< the _trans variant of the state */
	hs_addr stack_base; /**< highest address */
	uint64_t stack_size;
	hs_addr last_java_sp, last_java_fp, last_java_pc; /**< anchor; sp 0: none */
	hs_addr pending_monitor, waiting_monitor;         /**< ObjectMonitor *, 0 none */
	int64_t monitor_owner_id;                         /**< 24+; 0 otherwise */
	uint32_t thread_status; /**< java.lang.Thread.threadStatus bits (JVMTI), 0 unknown */
	hs_addr park_blocker;   /**< oop, 0 none */
};

/** Field of a Java class, found by name. */
struct hs_jfield {
	const char *name, *signature;
	uint32_t offset; /**< into the object, or into the mirror when static */
	bool is_static, is_injected;
	bool is_flat; /**< 28: a value object lies in place, there is no pointer to it */
};

/** A decoded class, cached by Klass *. */
struct hs_klass {
	hs_addr addr;
	const char *name;          /**< internal form, "java/lang/String"; raw */
	const char *external_name; /**< as jstack prints it: "java.lang.String", "[I" for int[] */
	int32_t layout_helper;     /**< > 0 instance, < 0 array, 0 interface/abstract */
	hs_addr super;             /**< Klass *, 0 */
	hs_addr cld;               /**< ClassLoaderData * */
	const struct hs_jfield *fields; /**< declared; NULL until hs_klass_fields() */
	size_t num_fields;
	bool fields_read, fields_failed;
};

/** A row of a LocalVariableTable: valid for start_bci <= bci < end_bci. */
struct hs_variable {
	uint16_t slot;
	uint32_t start_bci, end_bci;
	const char *name, *descriptor;
};

struct hs_variable_table {
	uint16_t max_locals; /**< slots, arguments included; 0 when not known */
	const struct hs_variable *items;
	size_t len;      /**< 0: the class was compiled without -g, or see why */
	const char *why; /**< it has a table that cannot be read; NULL */
};

/** A decoded method, cached by Method *. */
struct hs_method {
	hs_addr addr;
	const struct hs_klass *holder;
	const char *name, *descriptor;
	const char *file;   /**< source file, NULL unknown */
	hs_addr code_base;  /**< first bytecode */
	uint32_t code_size; /**< bytes */
	bool is_native, is_static, is_synchronized, is_hidden;
	const struct hs_line_entry {
		uint16_t bci;
		int32_t line;
	} * lines; /**< stream order; NULL: no table */
	size_t num_lines;
	const struct hs_variable_table *variables; /**< NULL until hs_method_variables() */
	struct hs_map64 locations; /**< (kind, tier, bci) → hs_location, see hs_method_location() */
};

struct hs_jvm {
	struct hs_target *target;
	struct hs_snapshot *snapshot;
	struct hs_arena *arena; /**< snapshot->arena */
	const struct hs_module *libjvm;
	struct hs_vmstructs *vm;
	struct hs_layout layout;

	int major;           /**< 8, 11, 17, 21… ; for messages, never for decoding */
	const char *release; /**< "17.0.15+6-Debian-1deb12u1" */
	bool compressed_oops, compressed_klass, compact_headers;
	bool use_zgc, zgc_generational, use_shenandoah;
	bool native_priority_zero; /**< all threads have native priority 0: no policy maps them */
	bool use_tlab;
	bool monitor_table; /**< mark words hold no ObjectMonitor pointer */
	enum hs_locking_mode locking_mode;
	uint64_t narrow_oop_base, narrow_klass_base;
	uint32_t narrow_oop_shift, narrow_klass_shift;
	uint64_t z_offset_mask, z_good_mask; /**< single-generation ZGC; 0 otherwise */
	uint32_t z_load_shift;               /**< generational ZGC; 0 otherwise */
	unsigned unsigned5_bias;             /**< X of UNSIGNED5: 1 since 21, 0 before */
	bool has_value_classes;    /**< 28+: fields in place, more debug information on objects */
	bool stw_gc_active;        /**< a stop-the-world GC runs: objects may be forwarded */
	unsigned mark_klass_shift; /**< compact headers: klass bits of the mark word */
	uint32_t array_length_offset; /**< of the length word of an array object */
	bool array_data_aligned;      /**< array elements start at a multiple of 8 */

	HS_VEC(struct hs_jthread) jthreads;
	struct hs_map64 jthread_by_addr; /**< JavaThread * → struct hs_jthread * (after collect) */
	struct hs_map64 klasses;         /**< Klass * → struct hs_klass * */
	struct hs_map64 methods;         /**< Method * → struct hs_method * */
	struct hs_map64 symbols;         /**< Symbol * → its text */
	struct hs_map64 own_clds;        /**< 8: ClassLoaderData * → is it an anonymous class's */
	uint32_t loader_data_offset;     /**< 8: of ClassLoader.loader_data; 0 unknown */
	bool loader_data_read;           /**< 8: it was looked for */
	struct hs_code_cache *code_cache;   /**< code_cache.c */
	struct hs_class_index *class_index; /**< klass.c: all loaded classes, built on first use */
	struct hs_jthread_index *jthread_index; /**< java_threads.c: by stack, oop, thread */
	struct hs_lock_index *lock_index;       /**< monitors.c: built on first use, in the arena */
	struct hs_stepper stepper;              /**< java_frames.c */
	struct hs_vthread_table *vthreads;      /**< virtual_threads.c; NULL: before 21 */
	enum hs_stack_oops stack_oops;          /**< while frames are walked */
	bool in_chunk;                          /**< while the frames of a stack chunk are */
};

// ---- oop.c: objects. Addresses in, addresses out; nothing is trusted.

/** Decode a heap oop read from an object field of 4 or 8 bytes at @p addr (narrow, coloured). */
HS_MUST_CHECK struct hs_err *hs_oop_load(struct hs_jvm *jvm, hs_addr addr, hs_addr *ret);
/** The same of @p bytes that were copied from there. */
hs_addr hs_oop_decode(struct hs_jvm *jvm, const void *bytes);
/** Decode a narrow oop value. 0 stays 0. */
hs_addr hs_oop_decode_narrow(const struct hs_jvm *jvm, uint32_t narrow);
/** Remove ZGC's colour from a 64-bit oop. Others: unchanged. */
hs_addr hs_oop_uncolor(const struct hs_jvm *jvm, uint64_t oop);
/** Where a decoded oop is now: follows the forwarding pointer that a moving GC leaves in the mark
 * word (Shenandoah; others while stw_gc_active). Unchanged when there is none. For oops found in
 * stacks and LockStacks; the loads below do it themselves. */
hs_addr hs_oop_resolve(struct hs_jvm *jvm, hs_addr oop);
/** Follow the OopHandle/WeakHandle (or plain oop where the release has one) field @p field. */
HS_MUST_CHECK struct hs_err *hs_oop_load_handle(struct hs_jvm *jvm, hs_addr base,
                                                enum hs_field field, hs_addr *ret);
/** Mark word. */
HS_MUST_CHECK struct hs_err *hs_oop_mark(struct hs_jvm *jvm, hs_addr oop, uint64_t *ret);
/** Class of an object, validated (HS_ERR_BAD_DATA when it is no class). */
HS_MUST_CHECK struct hs_err *hs_oop_klass(struct hs_jvm *jvm, hs_addr oop,
                                          const struct hs_klass **ret);
/** Field by name, searched up the superclasses; static fields are read from the mirror.
 * HS_ERR_ABSENT when there is none of that name. */
HS_MUST_CHECK struct hs_err *hs_oop_get_oop(struct hs_jvm *jvm, hs_addr oop, const char *field,
                                            hs_addr *ret);
HS_MUST_CHECK struct hs_err *hs_oop_get_int(struct hs_jvm *jvm, hs_addr oop, const char *field,
                                            int64_t *ret);
/** Number of elements that an array says to have: bound what is made of it. */
HS_MUST_CHECK struct hs_err *hs_oop_array_count(struct hs_jvm *jvm, hs_addr array, uint32_t *ret);
/** Number of elements of an array, capped at HS_MAX_ARRAY (BAD_DATA beyond). */
HS_MUST_CHECK struct hs_err *hs_oop_array_length(struct hs_jvm *jvm, hs_addr array, uint32_t *ret);
/** Address of element @p index, not bounds-checked; @p elem_size 1, 2, 4, 8; 0: of oops. */
hs_addr hs_oop_array_elem(const struct hs_jvm *jvm, hs_addr array, uint32_t index,
                          unsigned elem_size);
HS_MUST_CHECK struct hs_err *hs_oop_array_get(struct hs_jvm *jvm, hs_addr array, uint32_t index,
                                              hs_addr *ret);
/** java.lang.String → UTF-8 in the arena, at most @p max characters. NULL string: *ret NULL.
 * HS_REDACTED where the snapshot must not hold heap contents. */
HS_MUST_CHECK struct hs_err *hs_oop_string(struct hs_jvm *jvm, hs_addr string, size_t max,
                                           const char **ret);
/** The same, never redacted: for names of classes, and for what the caller redacts.
 * @param[out] length_ret All its characters; may be NULL. */
HS_MUST_CHECK struct hs_err *hs_oop_text(struct hs_jvm *jvm, hs_addr string, size_t max,
                                         const char **ret, size_t *length_ret);
/** Iterate a java.util.concurrent.ConcurrentHashMap: @p fn gets key and value oops; stop on error.
 */
HS_MUST_CHECK struct hs_err *
hs_oop_each_chm(struct hs_jvm *jvm, hs_addr map,
                struct hs_err *(*fn)(void *arg, hs_addr key, hs_addr value), void *arg);

// ---- klass.c: classes.

/** Decoded class, from the cache. HS_ERR_BAD_DATA when @p addr is no plausible Klass, HS_ERR_FAULT
 * when there is nothing. */
HS_MUST_CHECK struct hs_err *hs_klass_get(struct hs_jvm *jvm, hs_addr addr,
                                          const struct hs_klass **ret);
/** Field by name, the class's own or a superclass's. HS_ERR_ABSENT. */
HS_MUST_CHECK struct hs_err *hs_klass_field(struct hs_jvm *jvm, const struct hs_klass *klass,
                                            const char *name, const struct hs_jfield **ret);
/** The same, and which class declares it (a static field lies in that one's mirror). */
HS_MUST_CHECK struct hs_err *hs_klass_field_owner(struct hs_jvm *jvm, const struct hs_klass *klass,
                                                  const char *name,
                                                  const struct hs_klass **owner_ret,
                                                  const struct hs_jfield **ret);
/** Fill in klass->fields (cached): its declared and injected fields. */
HS_MUST_CHECK struct hs_err *hs_klass_fields(struct hs_jvm *jvm, const struct hs_klass *klass);
/** Static field by name. HS_ERR_ABSENT; HS_ERR_BAD_DATA when it is not static. */
HS_MUST_CHECK struct hs_err *hs_klass_static_oop(struct hs_jvm *jvm, const struct hs_klass *klass,
                                                 const char *field, hs_addr *ret);
HS_MUST_CHECK struct hs_err *hs_klass_static_int(struct hs_jvm *jvm, const struct hs_klass *klass,
                                                 const char *field, int64_t *ret);
/** Text of the Utf8 entry @p index of a ConstantPool. */
HS_MUST_CHECK struct hs_err *hs_klass_cp_symbol(struct hs_jvm *jvm, hs_addr constants,
                                                uint32_t index, const char **ret);
/** java.lang.Class mirror (oop). */
HS_MUST_CHECK struct hs_err *hs_klass_mirror(struct hs_jvm *jvm, const struct hs_klass *klass,
                                             hs_addr *ret);
/** InstanceKlass * of a java.lang.Class oop; 0 for primitives. */
HS_MUST_CHECK struct hs_err *hs_klass_of_mirror(struct hs_jvm *jvm, hs_addr mirror, hs_addr *ret);
/** Class loader object of a class; 0 for the boot loader. */
HS_MUST_CHECK struct hs_err *hs_klass_loader(struct hs_jvm *jvm, const struct hs_klass *klass,
                                             hs_addr *ret);
/** Is @p klass, or a superclass of it, called @p name (internal form)? Interfaces are not walked.
 */
bool hs_klass_is_a(struct hs_jvm *jvm, const struct hs_klass *klass, const char *name);
/** First loaded class of that name; boot loader's first. HS_ERR_ABSENT. */
HS_MUST_CHECK struct hs_err *hs_klass_find(struct hs_jvm *jvm, const char *name,
                                           const struct hs_klass **ret);
/** Symbol * → string in the arena (cached). */
HS_MUST_CHECK struct hs_err *hs_symbol(struct hs_jvm *jvm, hs_addr symbol, const char **ret);
/** Call @p fn for each loaded class, array classes included. Built once: later calls are cheap. */
HS_MUST_CHECK struct hs_err *
hs_klass_each(struct hs_jvm *jvm, struct hs_err *(*fn)(void *arg, hs_addr klass), void *arg);

// ---- anonymous_class.c

/**
 * What jstack appends to the name of an anonymous class of the VM: "/0x…" of its address, in 8 "/"
 * and a number. "" for all others, and in 8 before jstack or somebody else made that number.
 */
HS_MUST_CHECK struct hs_err *hs_anonymous_suffix(struct hs_jvm *jvm, const struct hs_klass *klass,
                                                 const char **ret);

/** Free what the index of all classes holds. */
void hs_class_index_close(struct hs_jvm *jvm);

// ---- method.c: methods.

HS_MUST_CHECK struct hs_err *hs_method_get(struct hs_jvm *jvm, hs_addr addr,
                                           struct hs_method **ret);
/** Bytes of a ConstMethod behind its first @p before, which end with the bytecodes: line numbers,
 * then the tables. HS_ERR_ABSENT: no size is published; HS_ERR_BAD_DATA: negative, or over @p max.
 */
HS_MUST_CHECK struct hs_err *hs_const_method_tail(struct hs_jvm *jvm, hs_addr const_method,
                                                  uint64_t before, size_t max, size_t *ret);
/** Line of a bci, -1 when unknown. */
int32_t hs_method_line(const struct hs_method *method, int32_t bci);
/** Interned location; NULL when out of memory. */
const struct hs_location *hs_method_location(struct hs_jvm *jvm, struct hs_method *method,
                                             enum hs_frame_kind kind, unsigned tier, int32_t bci);

// ---- local_table.c

/** First character after the field descriptor at @p s; NULL: it is none. */
const char *hs_type_end(const char *s);

/** The method's LocalVariableTable (cached). @return Only out-of-memory. */
HS_MUST_CHECK struct hs_err *hs_method_variables(struct hs_jvm *jvm, struct hs_method *method,
                                                 const struct hs_variable_table **ret);

// ---- u5.c: the compressed streams of HotSpot.

/** Reader over a copied buffer; running off its end sets failed and yields 0. */
struct hs_u5 {
	const uint8_t *data;
	size_t len, pos;
	unsigned bias; /**< jvm->unsigned5_bias */
	bool failed;
};

uint8_t hs_u5_byte(struct hs_u5 *stream);
uint32_t hs_u5_next(struct hs_u5 *stream);
int32_t hs_u5_next_signed(struct hs_u5 *stream);

// ---- java_threads.c

/** The JavaThread whose stack holds @p addr, or NULL. */
const struct hs_jthread *hs_jthread_by_stack(const struct hs_jvm *jvm, hs_addr addr);
const struct hs_jthread *hs_jthread_by_addr(const struct hs_jvm *jvm, hs_addr jthread);
/** The JavaThread of a record; of a virtual thread its carrier, NULL when it is not mounted. */
const struct hs_jthread *hs_jthread_by_index(const struct hs_jvm *jvm, uint32_t thread);
/** What runs on a JavaThread: the record of its mounted virtual thread, or its own. What the VM
 * notes of a JavaThread (a pending monitor, a system call) is a matter of that. */
static inline uint32_t hs_jthread_runner(const struct hs_jthread *jthread)
{
	return jthread->vthread != HS_NONE ? jthread->vthread : jthread->thread;
}
/** Objects on the LockStack of a thread, outermost first. *count_ret ≤ 8 in known releases. */
HS_MUST_CHECK struct hs_err *hs_jthread_lock_stack(struct hs_jvm *jvm,
                                                   const struct hs_jthread *jthread,
                                                   hs_addr *objects, size_t max, size_t *count_ret);

// ---- monitors.c

/** Resource for the lock of an object: a java-monitor, or a loader-lock, class-link or class-init
 * where the object is one. Names it. HS_NONE when out of memory. */
uint32_t hs_monitor_resource(struct hs_jvm *jvm, hs_addr object);

// ---- missing.c

/** Gaps for what this release does not publish, where readers just do without. */
void hs_jvm_note_missing(struct hs_jvm *jvm);

// ---- code_cache.c, java_frames.c

HS_MUST_CHECK struct hs_err *hs_code_cache_open(struct hs_jvm *jvm);
void hs_code_cache_close(struct hs_jvm *jvm);
void hs_java_frames_init(struct hs_jvm *jvm); /**< fills jvm->stepper */

/**
 * Value of local variable @p slot as an oop in frame @p frame of @p jthread's stack, read through
 * the interpreter frame or the compiled scope. HS_ERR_ABSENT when dead or unknown there.
 * For "which class is this loadClass call loading".
 */
HS_MUST_CHECK struct hs_err *hs_java_frame_local_oop(struct hs_jvm *jvm, uint32_t thread,
                                                     uint32_t frame, unsigned slot, hs_addr *ret);

#endif // HS_JVM_INTERNAL_H
