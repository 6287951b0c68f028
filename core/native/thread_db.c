// SPDX-License-Identifier: Apache-2.0
/** @file libthread_db of our own system, loaded on demand. */

#define _GNU_SOURCE 1 // dladdr

#include "core/native/thread_db.h"

#include <dlfcn.h>
#include <gnu/libc-version.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <thread_db.h>

#include "core/base/cleanup.h"
#include "core/limits.h"
#include "core/native/native_internal.h"
#include "core/native/proc_service.h"

/** The functions that we call, by name: nothing of it is linked. */
#define TD_FUNCTIONS(X)    \
	X(td_init)         \
	X(td_ta_new)       \
	X(td_ta_delete)    \
	X(td_ta_thr_iter)  \
	X(td_thr_get_info) \
	X(td_thr_tls_get_addr)

struct hs_thread_db {
	struct ps_prochandle ph;
	void *library;
	td_thragent_t *agent;
#define X(name) __typeof__(name) *name;
	TD_FUNCTIONS(X)
#undef X
};

static const char *td_message(td_err_e status)
{
	switch (status) {
	case TD_VERSION:
		return "it is for another version of glibc";
	case TD_NOLIBTHREAD:
		return "it finds no thread library in the program";
	case TD_NOCAPAB:
		return "the program's glibc lacks or garbles what it needs";
	case TD_ERR:
	case TD_DBERR:
		return "the thread lists are damaged or changed while they were read";
	case TD_TLSDEFER:
		return "not allocated for this thread yet";
	default:
		return "it failed";
	}
}

static struct hs_err *td_error(td_err_e status, const char *function)
{
	return hs_err_new(status == TD_TLSDEFER ? HS_ERR_ABSENT : HS_ERR_UNSUPPORTED,
	                  "libthread_db: %s (%s: error %d)", td_message(status), function,
	                  (int)status);
}

/** The directory that our own libc was loaded from: the same build, and never the target's. */
static struct hs_err *library_path(char *path, size_t size)
{
	static const char name[] = "libthread_db.so.1";
	Dl_info info;

	if (!dladdr((void *)(uintptr_t)gnu_get_libc_version, &info) || info.dli_fname[0] != '/')
		return hs_err_new(
			HS_ERR_UNSUPPORTED,
			"libthread_db cannot be used: our own libc is not a file (a static "
			"program)");
	int dir_len = (int)(strrchr(info.dli_fname, '/') - info.dli_fname);
	if ((size_t)snprintf(path, size, "%.*s/%s", dir_len, info.dli_fname, name) >= size)
		return hs_err_new(HS_ERR_UNSUPPORTED, "the path of our own libc is too long");
	return NULL;
}

static struct hs_err *load_library(struct hs_thread_db *db)
{
	char path[HS_MAX_PATH];
	struct hs_err *err = library_path(path, sizeof(path));

	if (err)
		return err;
	// Some other program's ps_* functions would take our handle for theirs.
	if (!hs_proc_service_is_ours())
		return hs_err_new(HS_ERR_UNSUPPORTED,
		                  "libthread_db cannot be used inside of this program: it does not "
		                  "export our proc_service, or has one of its own");
	// All symbols now: a missing ps_* is an error here instead of an abort later.
	db->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!db->library)
		return hs_err_new(HS_ERR_UNSUPPORTED, "%s", dlerror());
#define X(name)                                                              \
	db->name = (__typeof__(name) *)(uintptr_t)dlsym(db->library, #name); \
	if (!db->name)                                                       \
		return hs_err_new(HS_ERR_UNSUPPORTED, "%s has no function %s", path, #name);
	TD_FUNCTIONS(X)
#undef X
	return NULL;
}

static void give_calls(struct hs_thread_db *db)
{
	size_t count;

	hs_target_lwps(db->ph.native->target, &count);
	db->ph.calls_left = HS_PS_CALLS_BASE + count * HS_PS_CALLS_PER_THREAD;
}

struct hs_err *hs_thread_db_check(void)
{
	struct hs_thread_db db = {0};
	struct hs_err *err = load_library(&db);

	if (db.library)
		dlclose(db.library);
	return err;
}

struct hs_err *hs_thread_db_open(struct hs_native *native, struct hs_thread_db **ret)
{
	hs_cleanup(hs_thread_db_closep) struct hs_thread_db *db = calloc(1, sizeof(*db));
	if (!db)
		return hs_err_oom();
	db->ph.native = native;

	struct hs_err *err = load_library(db);
	if (err)
		return err;
	td_err_e status = db->td_init();
	if (status != TD_OK)
		return td_error(status, "td_init");
	give_calls(db);
	status = db->td_ta_new(&db->ph, &db->agent);
	if (status != TD_OK) {
		db->agent = NULL;
		return td_error(status, "td_ta_new");
	}
	*ret = hs_take(db);
	return NULL;
}

void hs_thread_db_close(struct hs_thread_db *db)
{
	if (!db)
		return;
	if (db->agent)
		db->td_ta_delete(db->agent);
	if (db->library)
		dlclose(db->library);
	free(db);
}

void hs_thread_db_closep(struct hs_thread_db **db)
{
	hs_thread_db_close(*db);
}

/** What td_ta_thr_iter() gives its callback. */
struct thread_walk {
	struct hs_thread_db *db;
	HS_VEC(struct hs_td_thread) threads;
	bool oom;
};

static int walk_thread(const td_thrhandle_t *handle, void *arg)
{
	struct thread_walk *walk = arg;
	td_thrinfo_t info;

	// A handle of 0 stands for a main thread that has not initialized itself yet.
	if (!handle->th_unique || walk->threads.len >= HS_MAX_THREADS)
		return !!handle->th_unique;
	if (walk->db->td_thr_get_info(handle, &info) != TD_OK)
		return 0;
	struct hs_td_thread *thread = hs_vec_push(walk->db->ph.native->arena, &walk->threads);
	if (!thread) {
		walk->oom = true;
		return 1;
	}
	thread->tid = info.ti_lid;
	thread->pthread = (uintptr_t)handle->th_unique;
	thread->start_routine = (uintptr_t)info.ti_startfunc;
	return 0;
}

struct hs_err *hs_thread_db_threads(struct hs_thread_db *db,
                                    const struct hs_td_thread **threads_ret, size_t *count_ret)
{
	struct thread_walk walk = {.db = db};

	give_calls(db);
	td_err_e status =
		db->td_ta_thr_iter(db->agent, walk_thread, &walk, TD_THR_ANY_STATE,
	                           TD_THR_LOWEST_PRIORITY, TD_SIGNO_MASK, TD_THR_ANY_USER_FLAGS);
	*threads_ret = walk.threads.items;
	*count_ret = walk.threads.len;
	if (walk.oom)
		return hs_err_oom();
	return status == TD_OK ? NULL : td_error(status, "td_ta_thr_iter");
}

struct hs_err *hs_thread_db_tls(struct hs_thread_db *db, hs_addr pthread, hs_addr link_map,
                                uint64_t offset, hs_addr *ret)
{
	td_thrhandle_t handle = {.th_ta_p = db->agent, .th_unique = (psaddr_t)(uintptr_t)pthread};
	psaddr_t address;

	give_calls(db);
	td_err_e status = db->td_thr_tls_get_addr(&handle, (psaddr_t)(uintptr_t)link_map,
	                                          (size_t)offset, &address);
	if (status != TD_OK)
		return td_error(status, "td_thr_tls_get_addr");
	*ret = (uintptr_t)address;
	return NULL;
}
