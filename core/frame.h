// SPDX-License-Identifier: Apache-2.0
/** @file Frames: what one activation of a stack is, and how it was found. */
#ifndef HS_FRAME_H
#define HS_FRAME_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/addr.h"

struct hs_module;

enum {
	/** "No such record", for every index below. */
	HS_NONE = UINT32_MAX,
};

enum hs_frame_kind {
	HS_FRAME_NATIVE,
	HS_FRAME_INTERPRETED,
	HS_FRAME_COMPILED,
	HS_FRAME_INLINED, /**< inside the compiled frame that follows it */
	HS_FRAME_STUB,    /**< VM stub, native wrapper's transition, call stub */
};

enum hs_found_by {
	HS_FOUND_CFI, /**< libdwfl evaluated the call-frame information */
	HS_FOUND_ROW, /**< a cached row made from it */
	HS_FOUND_RBP, /**< frame pointer guess: no unwind information covers this pc */
	HS_FOUND_JVM, /**< HotSpot's own frame layout */
	/** A return address on the stack, proved by the calls before it and further up: between
	 * this frame and the one before it, frames of a file without unwind information are left
	 * out. */
	HS_FOUND_SCAN,
	/** HotSpot's layout, but between two places that have debug information: the thread ran.
	 * Line and inlined methods are those of the places around it, and may be others. */
	HS_FOUND_NEAR,
};

/**
 * Where a frame is: shared by all frames at the same pc (native) or method and bci (Java), and
 * interned in the snapshot's arena. Strings may be NULL (not known, or not of this kind); raw.
 */
struct hs_location {
	enum hs_frame_kind kind;
	const char *function;   /**< native and stub: demangled, without a "+offset" */
	const char *class_name; /**< Java: as jstack prints it, with dots */
	const char *method;
	const char *descriptor;  /**< "(Ljava/lang/String;)V" */
	const char *file;        /**< source file name, no directory */
	const char *module;      /**< native: path of the module */
	const char *java_module; /**< Java: "java.base@17.0.15", "app", or NULL (none, not asked) */
	uint64_t module_offset;  /**< native: pc - module's load bias (its ELF address) */
	uint64_t function_offset; /**< native: pc - start of the function; 0 when unnamed */
	int32_t bci;              /**< Java: -1 when not known or a native method */
	int32_t line;             /**< -1 when not known */
	uint8_t tier;             /**< compiled: 1..4; 0 otherwise */
	bool is_native_method;    /**< Java: declared native */
	bool is_hidden;           /**< Java: lambda form or hidden frame */
};

/** A lock at a frame, as jstack's "- locked", "- waiting to lock", "- waiting on" lines. */
enum hs_frame_lock_state {
	HS_LOCK_LOCKED,
	HS_LOCK_WAITING_TO_LOCK,
	HS_LOCK_WAITING_ON,      /**< Object.wait() */
	HS_LOCK_PARKING,         /**< "parking to wait for" */
	HS_LOCK_ELIMINATED,      /**< locked by the source, removed by the compiler */
	HS_LOCK_WAITING_RE_LOCK, /**< Object.wait() that was notified */
};

struct hs_frame_lock {
	enum hs_frame_lock_state state;
	uint32_t resource;      /**< index into the snapshot's resources, or HS_NONE (eliminated) */
	hs_addr object;         /**< 0 when not known (scalar replaced) */
	const char *class_name; /**< of the object, with dots; NULL when not known */
};

/** What is known of a local variable's value. hs_local_kind_name() gives the JSON word. */
enum hs_local_kind {
	HS_LOCAL_PRIMITIVE,
	HS_LOCAL_NULL,
	HS_LOCAL_OBJECT,
	HS_LOCAL_ELIMINATED,    /**< an object that the compiler dissolved: it is nowhere */
	HS_LOCAL_OPTIMIZED_OUT, /**< the compiled code needs it no longer and keeps it nowhere */
	HS_LOCAL_RAW,           /**< bits whose type nothing records */
	HS_LOCAL_UNKNOWN,       /**< it is somewhere, but that cannot be told from outside */
	HS_LOCAL_UNREADABLE,    /**< where it should be is no object: a gap says more */
	HS_LOCAL_KIND_COUNT,
};

/** An argument or local variable of a Java frame. Strings are raw; NULL where not known. */
struct hs_local {
	const char *name; /**< "this"; else from the class file, or "arg0" (the first declared
	                     parameter), "local3" (slot 3); never NULL */
	const char *type; /**< declared: "int", "java.lang.String[]"; NULL when not recorded */
	enum hs_local_kind kind;
	/** Number or character as Java writes it; text of a String (cut), constant of an enum, name
	 * of a Thread, the class that a Class is, the number in a box. NULL: none, or redacted. */
	const char *value;
	const char *class_name; /**< of the object, as source writes it ("byte[]"), or NULL */
	hs_addr address;        /**< of the object, 0 none */
	int64_t length;         /**< array elements, characters of a String; -1 none, or redacted */
	uint32_t hash;          /**< identity hash; 0 when the object has none in its header */
	bool is_argument;
};

struct hs_frame {
	const struct hs_location *location; /**< never NULL */
	hs_addr pc; /**< as found: a return address unless this is an activation */
	hs_addr sp; /**< stack pointer of this activation; 0 when not known */
	const struct hs_frame_lock *locks; /**< innermost first */
	const struct hs_local *locals;     /**< arguments first; only when asked for */
	uint16_t num_locks;
	uint16_t num_locals;
	uint8_t found_by;   /**< enum hs_found_by */
	bool in_chunk;      /**< of an unmounted virtual thread: its slots are in a heap object */
	bool is_activation; /**< pc is exact: top frame, or interrupted by a signal */
};

#endif // HS_FRAME_H
