// SPDX-License-Identifier: Apache-2.0
/** @file glibc's synchronization objects: function names, layouts, and what makes them plausible.
 */

#include "core/native/glibc_sync.h"

#include <string.h>

#include "core/limits.h"

enum {
	SITE_FRAMES = 12,      // libc is never deeper between its API and the system call
	TID_MASK = 0x3fffffff, // linux/futex.h: FUTEX_TID_MASK
	PID_LIMIT = 1 << 22,   // linux/threads.h: PID_MAX_LIMIT

	// nptl/pthreadP.h
	MUTEX_TYPE_MASK = 3,
	MUTEX_RECURSIVE = 1,
	MUTEX_ROBUST = 16,
	MUTEX_PRIO_INHERIT = 32,
	MUTEX_PRIO_PROTECT = 64,
	MUTEX_SHARED = 128,
	MUTEX_KIND_BITS = 0x3ff & ~(4 | 8), // with elision 256 and 512

	// nptl/pthread_rwlock_common.c
	RWLOCK_WRPHASE = 1,
	RWLOCK_WRLOCKED = 2,
	RWLOCK_RWAITING = 4,
	RWLOCK_READER_SHIFT = 3,
	RWLOCK_FUTEX_MAX = 3, // 1, and FUTEX_USED

	COND_WREFS_SHIFT = 3, // nptl/pthread_cond_common.c: below are flags
};

struct call_name {
	const char *name; // without leading underscores, "GI_" and "new_"
	enum hs_sync_call call;
};

// clang-format off
static const struct call_name call_names[] = {
	{"pthread_mutex_lock", HS_SYNC_MUTEX},
	{"pthread_mutex_lock_full", HS_SYNC_MUTEX},
	{"pthread_mutex_cond_lock", HS_SYNC_MUTEX},
	{"pthread_mutex_cond_lock_full", HS_SYNC_MUTEX},
	{"pthread_mutex_timedlock", HS_SYNC_MUTEX},
	{"pthread_mutex_clocklock", HS_SYNC_MUTEX},
	{"pthread_mutex_clocklock_common", HS_SYNC_MUTEX},
	{"pthread_mutex_clocklock64", HS_SYNC_MUTEX},
	{"mtx_lock", HS_SYNC_MUTEX},
	{"mtx_timedlock", HS_SYNC_MUTEX},
	{"pthread_rwlock_rdlock", HS_SYNC_RDLOCK},
	{"pthread_rwlock_rdlock_full", HS_SYNC_RDLOCK},
	{"pthread_rwlock_rdlock_full64", HS_SYNC_RDLOCK},
	{"pthread_rwlock_timedrdlock", HS_SYNC_RDLOCK},
	{"pthread_rwlock_clockrdlock", HS_SYNC_RDLOCK},
	{"pthread_rwlock_wrlock", HS_SYNC_WRLOCK},
	{"pthread_rwlock_wrlock_full", HS_SYNC_WRLOCK},
	{"pthread_rwlock_wrlock_full64", HS_SYNC_WRLOCK},
	{"pthread_rwlock_timedwrlock", HS_SYNC_WRLOCK},
	{"pthread_rwlock_clockwrlock", HS_SYNC_WRLOCK},
	{"pthread_cond_wait", HS_SYNC_COND},
	{"pthread_cond_wait_common", HS_SYNC_COND},
	{"pthread_cond_timedwait", HS_SYNC_COND},
	{"pthread_cond_clockwait", HS_SYNC_COND},
	{"cnd_wait", HS_SYNC_COND},
	{"cnd_timedwait", HS_SYNC_COND},
	{"pthread_join", HS_SYNC_JOIN},
	{"pthread_timedjoin_np", HS_SYNC_JOIN},
	{"pthread_clockjoin_np", HS_SYNC_JOIN},
	{"pthread_clockjoin_ex", HS_SYNC_JOIN},
	{"pthread_timedjoin_ex", HS_SYNC_JOIN},
	{"thrd_join", HS_SYNC_JOIN},
	{"sem_wait", HS_SYNC_SEM},
	{"sem_timedwait", HS_SYNC_SEM},
	{"sem_clockwait", HS_SYNC_SEM},
	{"sem_wait_slow", HS_SYNC_SEM},
	{"sem_wait_slow64", HS_SYNC_SEM},
	{"do_futex_wait", HS_SYNC_SEM},
	{"pthread_barrier_wait", HS_SYNC_BARRIER},
	{"pthread_once", HS_SYNC_ONCE},
	{"pthread_once_slow", HS_SYNC_ONCE},
	{"call_once", HS_SYNC_ONCE},
	{"cxa_guard_acquire", HS_SYNC_GUARD},
	{"syscall", HS_SYNC_SYSCALL},
};
// clang-format on

static const char lll_private[] = "lll_lock_wait_private";

static bool starts_with(const char *s, const char *prefix)
{
	return !strncmp(s, prefix, strlen(prefix));
}

bool hs_is_libc(const char *path)
{
	static const char *const prefixes[] = {
		"libc.so", "libc-2", "libpthread.so", "libpthread-2", "ld-linux", "ld-2", "ld-musl",
	};
	const char *slash = path ? strrchr(path, '/') : NULL;
	const char *name = slash ? slash + 1 : path;

	for (size_t i = 0; name && i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
		if (starts_with(name, prefixes[i]))
			return true;
	}
	return false;
}

/** "__GI___pthread_mutex_lock" → "pthread_mutex_lock": libc's own aliases of one function. */
static const char *plain_name(const char *name)
{
	static const char *const prefixes[] = {"_", "GI_", "new_", "old_"};

	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]);) {
		if (starts_with(name, prefixes[i])) {
			name += strlen(prefixes[i]);
			i = 0;
		} else {
			i++;
		}
	}
	return name;
}

enum hs_sync_call hs_sync_call_of(const char *function)
{
	const char *name = plain_name(function);
	size_t len = strcspn(name, "."); // the compiler's copies: ".constprop.0", ".part.1"

	for (size_t i = 0; i < sizeof(call_names) / sizeof(call_names[0]); i++) {
		if (!strncmp(name, call_names[i].name, len) && !call_names[i].name[len])
			return call_names[i].call;
	}
	return HS_SYNC_NONE;
}

/** Functions at the bottom of all waits; a static program has them in its own file. */
static bool is_low_level(const char *function)
{
	static const char *const prefixes[] = {"lll_lock_wait", "futex_", "libc_futex_"};
	const char *name = plain_name(function);

	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
		if (starts_with(name, prefixes[i]))
			return true;
	}
	return false;
}

/** Is it code that waits on behalf of its caller: libc, or the guard function of libstdc++? */
static bool is_waiter_code(const struct hs_location *location)
{
	if (location->kind != HS_FRAME_NATIVE)
		return false;
	return hs_is_libc(location->module) ||
	       (location->function && (hs_sync_call_of(location->function) != HS_SYNC_NONE ||
	                               is_low_level(location->function)));
}

void hs_sync_classify(const struct hs_frame *frames, uint32_t num_frames, struct hs_sync_site *ret)
{
	struct hs_sync_site site = {.frame = HS_NONE, .caller = HS_NONE};
	uint32_t lll_frame = HS_NONE;

	for (uint32_t i = 0; i < num_frames && i < SITE_FRAMES; i++) {
		const char *function = frames[i].location->function;

		if (!is_waiter_code(frames[i].location)) {
			site.caller = i;
			break;
		}
		if (!function)
			continue;
		site.api_function = function;
		if (!strcmp(plain_name(function), lll_private))
			lll_frame = i;
		enum hs_sync_call call = hs_sync_call_of(function);
		// libstdc++ uses syscall(3) where libc has the instruction inline.
		if (call != HS_SYNC_NONE &&
		    (site.call == HS_SYNC_NONE || site.call == HS_SYNC_SYSCALL)) {
			site.call = call;
			site.frame = i;
		}
	}
	// libc takes its private locks itself, also in the functions of the table.
	if (lll_frame != HS_NONE) {
		site.call = HS_SYNC_LIBC_LOCK;
		site.frame = lll_frame;
	}
	*ret = site;
}

static bool read_words(struct hs_target *target, hs_addr addr, uint32_t *words, size_t count)
{
	struct hs_err *err = hs_addr_wraps(addr, count * sizeof(*words))
	                             ? hs_err_fault()
	                             : hs_target_read(target, addr, words, count * sizeof(*words));
	bool ok = !err;

	hs_err_free(err);
	return ok;
}

bool hs_sync_mutex_read(struct hs_target *target, hs_addr word, struct hs_sync_mutex *ret)
{
	uint32_t words[5]; // __lock __count __owner __nusers __kind

	if (!word || word % sizeof(words[0]) || !read_words(target, word, words, 5))
		return false;
	if (words[4] & ~(uint32_t)MUTEX_KIND_BITS || words[2] > PID_LIMIT)
		return false;
	*ret = (struct hs_sync_mutex){
		.address = word,
		.lock = words[0],
		.count = words[1],
		.owner = words[2],
		.num_users = words[3],
		.kind = words[4],
	};
	return true;
}

pid_t hs_sync_mutex_owner(const struct hs_sync_mutex *mutex, hs_addr *word_ret, uint32_t *value_ret)
{
	enum {
		OWNER_OFFSET = 8,
	};
	bool tid_in_lock = mutex->kind & (MUTEX_ROBUST | MUTEX_PRIO_INHERIT);
	uint32_t lock_tid = mutex->lock & TID_MASK;

	// Robust and priority-inheriting ones have the owner in the lock word, for the kernel.
	if (tid_in_lock && lock_tid && lock_tid <= PID_LIMIT) {
		*word_ret = mutex->address;
		*value_ret = mutex->lock;
		return (pid_t)lock_tid;
	}
	*word_ret = mutex->address + OWNER_OFFSET;
	*value_ret = mutex->owner;
	return mutex->lock ? (pid_t)mutex->owner : 0;
}

bool hs_sync_mutex_is_recursive(const struct hs_sync_mutex *mutex)
{
	return (mutex->kind & MUTEX_TYPE_MASK) == MUTEX_RECURSIVE;
}

const char *hs_sync_mutex_kind(struct hs_arena *arena, const struct hs_sync_mutex *mutex)
{
	static const char *const types[] = {"normal", "recursive", "error-checking", "adaptive"};
	// Robust ones always have that bit (pthread_mutex_init.c).
	bool is_shared = (mutex->kind & (MUTEX_SHARED | MUTEX_ROBUST)) == MUTEX_SHARED;

	return hs_arena_printf(arena, "%s%s%s%s%s", types[mutex->kind & MUTEX_TYPE_MASK],
	                       mutex->kind & MUTEX_ROBUST ? ", robust" : "",
	                       mutex->kind & MUTEX_PRIO_INHERIT ? ", priority inheriting" : "",
	                       mutex->kind & MUTEX_PRIO_PROTECT ? ", priority ceiling" : "",
	                       is_shared ? ", shared between processes" : "");
}

/** __readers +0, __writers +4, __wrphase_futex +8, __writers_futex +12, __cur_writer +24. */
static bool rwlock_at(struct hs_target *target, hs_addr address, struct hs_sync_rwlock *ret)
{
	uint32_t words[13];
	enum {
		READERS = 0,
		WRPHASE_FUTEX = 2,
		WRITERS_FUTEX = 3,
		CUR_WRITER = 6,
		SHARED = 7,
		FLAGS = 12,
		FLAGS_MAX = 2, // PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP
	};

	if (!address || !read_words(target, address, words, 13))
		return false;
	if (words[WRPHASE_FUTEX] > RWLOCK_FUTEX_MAX || words[WRITERS_FUTEX] > RWLOCK_FUTEX_MAX ||
	    words[CUR_WRITER] > PID_LIMIT || words[SHARED] > 1 || words[FLAGS] > FLAGS_MAX)
		return false;

	uint32_t readers = words[READERS];
	bool write_phase = readers & RWLOCK_WRPHASE;
	// In a write phase the count is that of the readers that wait.
	*ret = (struct hs_sync_rwlock){
		.address = address,
		.num_readers = write_phase ? 0 : readers >> RWLOCK_READER_SHIFT,
		.writer = write_phase && readers & RWLOCK_WRLOCKED ? words[CUR_WRITER] : 0,
		.writer_word = address + CUR_WRITER * sizeof(words[0]),
		.has_waiting_writer = !write_phase && readers & RWLOCK_WRLOCKED,
	};
	return true;
}

bool hs_sync_rwlock_read(struct hs_target *target, const struct hs_futex_wait *wait,
                         enum hs_sync_call call, struct hs_sync_rwlock *ret)
{
	// pthread_rwlock_t is 8-aligned: an odd word can only be __writers_futex.
	if (wait->word % 8 == 4)
		return call != HS_SYNC_RDLOCK && wait->word >= 12 &&
		       rwlock_at(target, wait->word - 12, ret);
	if (wait->word % 8)
		return false;
	// Readers that let writers go first wait on __readers itself (state #4a).
	if (call == HS_SYNC_RDLOCK && wait->expected > RWLOCK_FUTEX_MAX)
		return wait->expected & RWLOCK_RWAITING && rwlock_at(target, wait->word, ret);
	return wait->word >= 8 && rwlock_at(target, wait->word - 8, ret);
}

/** Byte offsets inside of pthread_cond_t, by the glibc release that began with them. */
struct cond_layout {
	unsigned since_minor;
	uint8_t g_size, g1_orig_size, wrefs, g_signals;
};

// clang-format off
static const struct cond_layout cond_layouts[] = { // newest first
	{41, 16, 24, 28, 32}, // __g_refs is gone
	{25, 24, 32, 36, 40},
};
// clang-format on

static bool cond_at(struct hs_target *target, hs_addr address, const struct cond_layout *layout,
                    uint32_t *waiters_ret)
{
	uint32_t words[12];

	if (!read_words(target, address, words, 12))
		return false;
	uint32_t waiters = words[layout->wrefs / 4] >> COND_WREFS_SHIFT;
	const uint32_t *sizes = &words[layout->g_size / 4];
	uint32_t orig_size = words[layout->g1_orig_size / 4]; // two low bits: a lock
	if (!waiters || waiters > HS_MAX_THREADS || sizes[0] > HS_MAX_THREADS ||
	    sizes[1] > HS_MAX_THREADS || orig_size >> 2 > HS_MAX_THREADS || (orig_size & 3) == 3)
		return false;
	*waiters_ret = waiters;
	return true;
}

bool hs_sync_cond_find(struct hs_target *target, hs_addr word, unsigned glibc_minor,
                       hs_addr *address_ret, uint32_t *waiters_ret)
{
	bool found = false;
	// pthread_cond_t is 8-aligned: the low bits tell which of the two groups it is.
	hs_addr first = word & ~UINT64_C(7);

	if (word % 4)
		return false;
	for (size_t i = 0; i < sizeof(cond_layouts) / sizeof(cond_layouts[0]); i++) {
		const struct cond_layout *layout = &cond_layouts[i];
		uint32_t waiters;

		if (first < layout->g_signals ||
		    !cond_at(target, first - layout->g_signals, layout, &waiters))
			continue;
		if (!found || (glibc_minor && glibc_minor < cond_layouts[i - 1].since_minor)) {
			*address_ret = first - layout->g_signals;
			*waiters_ret = waiters;
		}
		found = true;
	}
	return found;
}

bool hs_sync_sem_read(struct hs_target *target, hs_addr word, uint32_t *waiters_ret)
{
	uint32_t words[3]; // value, waiters, private
	enum {
		SEM_SHARED = 128, // LLL_SHARED; private is 0
	};

	if (word % 8 || !read_words(target, word, words, 3))
		return false;
	if (words[0] || !words[1] || words[1] > HS_MAX_THREADS ||
	    (words[2] && words[2] != SEM_SHARED))
		return false;
	*waiters_ret = words[1];
	return true;
}

bool hs_sync_barrier_read(struct hs_target *target, hs_addr word, struct hs_sync_barrier *ret)
{
	uint32_t words[5]; // in, current_round, count, shared, out

	if (word < 4 || !read_words(target, word - 4, words, 5))
		return false;
	uint32_t arrived = words[0] - words[1];
	if (!words[2] || words[2] > HS_MAX_THREADS || arrived > words[2])
		return false;
	*ret = (struct hs_sync_barrier){
		.address = word - 4,
		.arrived = arrived,
		.needed = words[2],
	};
	return true;
}
