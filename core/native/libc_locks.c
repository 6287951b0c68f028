// SPDX-License-Identifier: Apache-2.0
/** @file Locks of the C library: recognized by where they lie. Offsets hold for glibc 2.26 to 2.41.
 */

#include "core/native/libc_locks.h"

#include <string.h>

#include "core/limits.h"
#include "core/native/data_symbols.h"
#include "core/native/native_internal.h"
#include "core/native/thread_db.h"

enum {
	// struct _IO_FILE, bits/types/struct_FILE.h
	FILE_CHAIN = 104,
	FILE_FILENO = 112,
	FILE_LOCK = 136,
	STREAMS_MAX = 4096,
	// _IO_lock_t, sysdeps/nptl/stdio-lock.h: int lock, int count, void *owner
	STDIO_LOCK_OWNER = 8,
	// malloc/arena.c: the first field of a heap is its arena, and the arena follows the header
	HEAP_SIZE = 64 << 20,
	HEAP_HEADER = 48, // since 2.35
	HEAP_HEADER_OLD = 32,
	// struct rtld_global, ldsodefs.h: size_t _dl_nns, then three recursive mutexes
	NAMESPACES_MAX = 16,
	MUTEX_SIZE = 40,
};

static bool read_u64(struct hs_native *native, hs_addr addr, uint64_t *ret)
{
	struct hs_err *err = hs_target_read_u64(native->target, addr, ret);
	bool ok = !err;

	hs_err_free(err);
	return ok;
}

static bool lookup(struct hs_native *native, const char *name, hs_addr *ret)
{
	struct hs_err *err = hs_libc_lookup(native, name, ret);
	bool ok = !err;

	hs_err_free(err);
	return ok;
}

static const char *stream_label(struct hs_native *native, hs_addr stream, hs_addr word)
{
	static const char *const names[] = {"stdin", "stdout", "stderr"};
	uint32_t fd;
	struct hs_err *err = hs_target_read_u32(native->target, stream + FILE_FILENO, &fd);

	if (err) {
		hs_err_free(err);
		fd = UINT32_MAX;
	}
	if (fd < sizeof(names) / sizeof(names[0]))
		return hs_arena_printf(native->arena, "the lock of the stream %s 0x%llx", names[fd],
		                       (unsigned long long)word);
	return hs_arena_printf(native->arena, "the lock of the stream (FILE *) 0x%llx on fd %d",
	                       (unsigned long long)stream, (int)fd);
}

/** Is it the lock of an open stream? All of them are chained, from _IO_list_all. */
static bool find_stream(struct hs_native *native, hs_addr word, struct hs_libc_lock *ret)
{
	hs_addr head, stream, lock;

	if (!lookup(native, "_IO_list_all", &head) || !read_u64(native, head, &stream))
		return false;
	for (size_t i = 0; stream && i < STREAMS_MAX; i++) {
		if (!read_u64(native, stream + FILE_LOCK, &lock))
			return false;
		if (lock == word) {
			ret->label = stream_label(native, stream, word);
			ret->owner_word = word + STDIO_LOCK_OWNER;
			return read_u64(native, ret->owner_word, &ret->owner);
		}
		if (!read_u64(native, stream + FILE_CHAIN, &stream))
			return false;
	}
	return false;
}

static bool is_heap_arena(struct hs_native *native, hs_addr word)
{
	hs_addr heap = word & ~(hs_addr)(HEAP_SIZE - 1);
	uint64_t arena;

	return (word - heap == HEAP_HEADER || word - heap == HEAP_HEADER_OLD) &&
	       read_u64(native, heap, &arena) && arena == word;
}

struct hs_libc_lock hs_libc_lock_describe(struct hs_native *native, hs_addr word,
                                          const char *function)
{
	struct hs_libc_lock lock = {0};
	unsigned long long addr = word;

	if (find_stream(native, word, &lock))
		return lock;
	lock = (struct hs_libc_lock){0};
	if (is_heap_arena(native, word)) {
		lock.label = hs_arena_printf(native->arena, "the malloc arena 0x%llx", addr);
		return lock;
	}
	const char *name = hs_native_data_name(native, word);
	if (name && !strncmp(name, "main_arena in ", strlen("main_arena in ")))
		lock.label = hs_arena_printf(native->arena, "malloc's main arena 0x%llx", addr);
	else
		lock.label =
			hs_arena_printf(native->arena, "a lock inside of libc 0x%llx%s%s%s%s%s",
		                        addr, name ? " (" : "", name ? name : "", name ? ")" : "",
		                        function ? ", taken by " : "", function ? function : "");
	return lock;
}

const char *hs_linker_lock_name(struct hs_native *native, hs_addr mutex)
{
	// include/link.h and ldsodefs.h of 2.36: in this order since 2.35; before, without the
	// last.
	static const char *const names[] = {"_dl_load_lock", "_dl_load_write_lock",
	                                    "_dl_load_tls_lock"};
	struct hs_data_symbol symbol;
	struct hs_err *err = hs_native_data_symbol(native, mutex, &symbol);

	if (err) {
		hs_err_free(err);
		return NULL;
	}
	if (strcmp(symbol.name, "_rtld_global") && strcmp(symbol.name, "_rtld_local"))
		return NULL;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		uint64_t num_namespaces;
		hs_addr before = mutex - i * MUTEX_SIZE - sizeof(num_namespaces);

		if (read_u64(native, before, &num_namespaces) && num_namespaces &&
		    num_namespaces <= NAMESPACES_MAX)
			return hs_arena_printf(native->arena, "the dynamic linker's lock %s 0x%llx",
			                       names[i], (unsigned long long)mutex);
	}
	return hs_arena_printf(native->arena, "a lock of the dynamic linker 0x%llx",
	                       (unsigned long long)mutex);
}
