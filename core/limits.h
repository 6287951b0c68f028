// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Caps on everything that a target controls. A cap that is reached becomes a gap in the report,
 * never a silent cut.
 */
#ifndef HS_LIMITS_H
#define HS_LIMITS_H

enum hs_limit {
	HS_MAX_THREADS = 200000,       /**< LWPs, JavaThreads */
	HS_MAX_FRAMES = 4096,          /**< activations of one thread, inlined ones included */
	HS_MAX_SEGMENTS = 4 << 20,     /**< PT_LOAD entries of a core */
	HS_MAX_MAPPINGS = 1 << 20,     /**< mappings of a process, entries of NT_FILE */
	HS_MAX_NOTES = 1 << 30,        /**< bytes of one PT_NOTE segment */
	HS_MAX_PATH = 4096,            /**< bytes of a path from the target */
	HS_MAX_NAME = 4096,            /**< bytes of a class, method or thread name */
	HS_MAX_STRUCT_ENTRIES = 65536, /**< rows of one vmStructs table */
	HS_MAX_CLASSES = 1 << 20,      /**< classes walked */
	HS_MAX_LOADERS = 1 << 18,      /**< class loader data walked */
	HS_MAX_FIELDS = 65536,         /**< fields of one class */
	HS_MAX_MONITORS = 1 << 20,     /**< inflated monitors walked */
	HS_MAX_ARRAY = 1 << 22,        /**< elements of one Java array we iterate */
	HS_MAX_CHAIN = 65536,          /**< nodes of any other linked walk */
	HS_MAX_CHUNK_WORDS = 1 << 24,  /**< words of one stack chunk of a virtual thread */
	HS_MAX_CHUNK_FRAMES = 1 << 24, /**< frames of all virtual threads that are not mounted */
	HS_MAX_GAPS = 10000,           /**< gaps with a line of their own */
	HS_MAX_SCOPES = 256,           /**< inlined scopes at one pc */
	HS_MAX_LOCALS = 1024,          /**< local variables of one frame */
	HS_MAX_ALL_LOCALS = 1 << 22,   /**< local variables of all frames */
	HS_MAX_LOCAL_TEXT = 120,       /**< characters shown of a String in a local variable */
	HS_MAX_LOCKS = 1024,           /**< monitor slots of one frame */
	HS_MAX_STACK_COPY = 8 << 20, /**< bytes of used stack copied per thread of a live process */
	HS_MAX_HEAP_SCAN = 1 << 30,  /**< bytes of Java heap searched for owned locks */
	HS_MAX_IMAGE_BYTES = 256 << 20, /**< bytes of all images made of memory for lost files */
	HS_MAX_IMAGE_READS = 1 << 30,   /**< bytes read for them, with a price for each read */
	HS_MAX_STACK_SCAN = 1 << 20,    /**< bytes of one native stack scanned for pointers */
};

#endif // HS_LIMITS_H
