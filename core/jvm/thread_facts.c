// SPDX-License-Identifier: Apache-2.0
/** @file Thread facts: the header of each thread in a dump, from Thread, OSThread and the kernel.
 */

#include <inttypes.h>
#include <string.h>

#include "core/jvm/thread_dump.h"

enum {
	WORD = 8,
	STATISTICS_REACH = 160,   /**< bytes after _allocated_bytes searched for the statistics */
	PTHREAD_REACH = 2304,     /**< bytes of struct pthread, glibc 2.17 to 2.43 */
	MIN_THREADS_AS_PROOF = 4, /**< that agree on where the statistics are */
	MAX_TLAB = 1 << 30,
	MAX_DEFINED = 1 << 24, /**< classes defined by one thread; more is no count */
};

static const uint64_t first_stamp = 1000000000;         // ns: no JVM starts in the first second
static const uint64_t first_wall_stamp = 1500000000000; // ms since 1970: 11 is of 2018
static const uint64_t last_wall_stamp = 4102444800000;  // 2100

/** OSThread::ThreadState (osThread.hpp), words of OSThread::print_on(): the same from 8 to 28. */
static const struct {
	const char *constant, *words;
} os_states[] = {
	{"ALLOCATED",    "allocated"                },
	{"INITIALIZED",  "initialized"              },
	{"RUNNABLE",     "runnable"                 },
	{"MONITOR_WAIT", "waiting for monitor entry"},
	{"CONDVAR_WAIT", "waiting on condition"     },
	{"OBJECT_WAIT",  "in Object.wait()"         },
	{"BREAKPOINTED", "at breakpoint"            },
	{"SLEEPING",     "sleeping"                 },
	{"ZOMBIE",       "zombie"                   },
};

static bool has(const struct hs_jvm *jvm, enum hs_field field)
{
	return hs_layout_has(&jvm->layout, field);
}

static struct hs_err *read_u64(struct hs_jvm *jvm, hs_addr base, enum hs_field field, uint64_t *ret)
{
	return hs_target_read_u64(jvm->target, base + hs_layout_offset(&jvm->layout, field), ret);
}

static struct hs_err *read_u32(struct hs_jvm *jvm, hs_addr base, enum hs_field field, uint32_t *ret)
{
	return hs_target_read_u32(jvm->target, base + hs_layout_offset(&jvm->layout, field), ret);
}

// ---- statistics

struct statistics {
	uint64_t start, defined;
};

/** Could @p start be ms since 1970 (11), of the time that this machine is up, where known? */
static bool is_wall_stamp(const struct hs_target_info *info, uint64_t start)
{
	if (!info->captured_ns)
		return start >= first_wall_stamp && start <= last_wall_stamp;
	int64_t now = info->captured_at * 1000 + 999, up = info->captured_ns / 1000000;

	return (int64_t)start <= now && (int64_t)start >= now - up;
}

/** How often what is at an offset of all Java threads looks like what. */
struct statistics_votes {
	size_t wall, monotonic, odd;
};

/** All Java threads have statistics at @p offset. */
static bool are_statistics(const struct hs_dump_builder *builder, uint64_t offset)
{
	struct hs_jvm *jvm = builder->jvm;
	const struct hs_target_info *info = &jvm->snapshot->info;
	int64_t now = info->captured_ns ? info->captured_ns : INT64_MAX;
	struct statistics_votes votes = {0};
	uint64_t before = 0;

	hs_vec_each (jthread, &jvm->jthreads) {
		struct statistics words = {0};
		struct hs_err *err =
			hs_target_read(jvm->target, jthread->addr + offset, &words, sizeof(words));

		hs_err_free(err); // zeros then
		if (words.defined > MAX_DEFINED)
			return false;
		votes.wall += is_wall_stamp(info, words.start);
		// Threads start at different times, which are no multiples of 8, as pointers are.
		votes.monotonic += words.start >= first_stamp && words.start <= (uint64_t)now &&
		                   words.start != before;
		votes.odd += words.start % WORD != 0;
		before = words.start;
	}
	return votes.wall == jvm->jthreads.len ||
	       (votes.monotonic == jvm->jthreads.len && votes.odd > jvm->jthreads.len / 2);
}

/**
 * ThreadStatisticalInfo { start; classes defined } follows _allocated_bytes and the heap sampler in
 * Thread (thread.hpp, 11 to 28); its place is not published. The start is by the monotonic clock in
 * ns, in 11 in ms since 1970. The first two words there that look like it in every Java thread are
 * it.
 */
static uint64_t find_statistics(const struct hs_dump_builder *builder)
{
	const struct hs_jvm *jvm = builder->jvm;

	if (!has(jvm, HS_F_thread_allocated_bytes) || jvm->jthreads.len < MIN_THREADS_AS_PROOF)
		return 0;
	uint64_t first = hs_layout_offset(&jvm->layout, HS_F_thread_allocated_bytes) + WORD;

	for (uint64_t offset = first; offset < first + STATISTICS_REACH; offset += WORD) {
		if (are_statistics(builder, offset))
			return offset;
	}
	return 0;
}

static struct hs_err *read_statistics(struct hs_dump_builder *builder, struct hs_dump_thread *ret)
{
	struct hs_jvm *jvm = builder->jvm;
	int64_t now = jvm->snapshot->info.captured_ns;
	struct statistics words;

	if (!builder->statistics)
		return NULL;
	struct hs_err *err = hs_target_read(jvm->target, ret->address + builder->statistics, &words,
	                                    sizeof(words));
	if (err)
		return err;
	if (now && is_wall_stamp(&jvm->snapshot->info, words.start))
		ret->elapsed_ms = jvm->snapshot->info.captured_ms - (int64_t)words.start;
	else if (now && words.start >= first_stamp && words.start <= (uint64_t)now)
		ret->elapsed_ms = (now - (int64_t)words.start) / 1000000;
	if (words.defined <= MAX_DEFINED)
		ret->defined_classes = (int64_t)words.defined;
	return NULL;
}

/** Thread::cooked_allocated_bytes(): what was counted, and what the current TLAB has given out. */
static struct hs_err *read_allocated(struct hs_jvm *jvm, struct hs_dump_thread *ret)
{
	uint64_t counted, start = 0, top = 0;
	struct hs_err *err;

	if (!has(jvm, HS_F_thread_allocated_bytes))
		return NULL;
	err = read_u64(jvm, ret->address, HS_F_thread_allocated_bytes, &counted);
	if (!err && jvm->use_tlab) {
		if (!has(jvm, HS_F_thread_tlab) || !has(jvm, HS_F_tlab_start) ||
		    !has(jvm, HS_F_tlab_top))
			return NULL;
		hs_addr tlab = ret->address + hs_layout_offset(&jvm->layout, HS_F_thread_tlab);
		err = read_u64(jvm, tlab, HS_F_tlab_start, &start);
		if (!err)
			err = read_u64(jvm, tlab, HS_F_tlab_top, &top);
	}
	if (err)
		return err;
	if (top > start && top - start <= MAX_TLAB)
		counted += top - start;
	if (counted <= INT64_MAX)
		ret->allocated = (int64_t)counted;
	return NULL;
}

// ---- every thread

static struct hs_err *read_os_state(struct hs_jvm *jvm, hs_addr osthread,
                                    struct hs_dump_thread *ret)
{
	struct hs_err *err;
	uint32_t raw;

	if (!has(jvm, HS_F_osthread_state))
		return NULL;
	err = read_u32(jvm, osthread, HS_F_osthread_state, &raw);
	if (err)
		return err;
	for (size_t i = 0; i < sizeof(os_states) / sizeof(*os_states); i++) {
		int64_t value = (int64_t)i; // 8 publishes no constants, but counts like the others

		(void)hs_vmstructs_constant(jvm->vm, os_states[i].constant, &value);
		if (value == (int64_t)raw)
			ret->os_state = os_states[i].words;
	}
	return NULL;
}

/** Thread::print_on(): for threads of Java and of the VM alike. */
static struct hs_err *read_common(struct hs_dump_builder *builder, const struct hs_thread *thread,
                                  hs_addr address, struct hs_dump_thread *ret)
{
	struct hs_jvm *jvm = builder->jvm;
	const struct hs_lwp *lwp = hs_lwp_of(jvm, thread->tid);
	hs_addr osthread = 0;
	struct hs_err *err;

	*ret = (struct hs_dump_thread){
		.address = address,
		.has_os_prio = jvm->native_priority_zero,
		.cpu_ns = lwp ? lwp->cpu_ns : -1,
		.elapsed_ms = -1,
		.allocated = -1,
		.defined_classes = -1,
		.blocker = {.owner = HS_NONE},
	};
	err = read_u64(jvm, address, HS_F_thread_osthread, &osthread);
	if (!err && osthread)
		err = read_os_state(jvm, osthread, ret);
	return err ? err : read_statistics(builder, ret);
}

static struct hs_dump_thread *add(struct hs_dump_builder *builder, uint32_t thread)
{
	struct hs_dump_thread *ret = hs_arena_alloc(builder->jvm->arena, sizeof(*ret));

	builder->threads[thread] = ret;
	return ret;
}

// ---- Java threads

/** "Compiling: …" as CompileTask::print_impl() words it without its flags, which need the method's
 * exception table; "No compile task". */
static struct hs_err *describe_task(struct hs_jvm *jvm, hs_addr env, const char **ret)
{
	hs_addr task = 0, method_addr = 0;
	struct hs_method *method;
	uint32_t id = 0, level = 0;
	struct hs_err *err;

	*ret = "No compile task";
	if (!env)
		return NULL;
	*ret = NULL;
	if (!has(jvm, HS_F_ci_env_task) || !has(jvm, HS_F_compile_task_method) ||
	    !has(jvm, HS_F_compile_task_id) || !has(jvm, HS_F_compile_task_level))
		return NULL;
	err = read_u64(jvm, env, HS_F_ci_env_task, &task);
	if (!err && task)
		err = read_u64(jvm, task, HS_F_compile_task_method, &method_addr);
	if (!err && task)
		err = read_u32(jvm, task, HS_F_compile_task_id, &id);
	if (!err && task)
		err = read_u32(jvm, task, HS_F_compile_task_level, &level);
	if (err || !task)
		return err;
	err = hs_method_get(jvm, method_addr, &method);
	if (err)
		return err;
	*ret = hs_arena_printf(jvm->arena, "Compiling: %4u   %s   %u       %s::%s (%u bytes)", id,
	                       method->is_native ? "n" : " ", level, method->holder->external_name,
	                       method->name, method->code_size);
	return *ret ? NULL : hs_err_oom();
}

/** Compiler threads have no Java frames, and names that the VM gives them (compileBroker.cpp). */
static struct hs_err *read_compiler(struct hs_jvm *jvm, const struct hs_thread *thread,
                                    struct hs_dump_thread *ret)
{
	hs_addr env = 0;
	struct hs_err *err;

	if (!thread->name || !strstr(thread->name, " CompilerThread") ||
	    !has(jvm, HS_F_compiler_thread_env))
		return NULL;
	if (strncmp(thread->name, "C1 ", 3) && strncmp(thread->name, "C2 ", 3) &&
	    strncmp(thread->name, "JVMCI", 5))
		return NULL;
	err = read_u64(jvm, ret->address, HS_F_compiler_thread_env, &env);
	if (err)
		return err;
	err = describe_task(jvm, env, &ret->compiler);
	if (err && hs_err_code(err) == HS_ERR_OOM)
		return err;
	hs_err_free(err); // a live one has gone on
	return NULL;
}

static struct hs_err *collect_java(struct hs_dump_builder *builder,
                                   const struct hs_jthread *jthread)
{
	struct hs_jvm *jvm = builder->jvm;
	const struct hs_thread *thread = &jvm->snapshot->threads.items[jthread->thread];
	struct hs_dump_thread *ret = add(builder, jthread->thread);
	struct hs_err *err;

	if (!ret)
		return hs_err_oom();
	err = read_common(builder, thread, jthread->addr, ret);
	if (err)
		return err;
	ret->last_java_sp = jthread->last_java_sp;
	err = read_allocated(jvm, ret);
	if (!err)
		err = read_compiler(jvm, thread, ret);
	if (!err && jthread->vthread_oop)
		err = hs_oop_get_int(jvm, jthread->vthread_oop, "tid", &ret->carried);
	return err;
}

// ---- threads of the VM

/** The Thread whose OSThread is that of @p tid: is it at @p address? */
static bool is_thread_of(struct hs_jvm *jvm, hs_addr address, pid_t tid)
{
	hs_addr osthread = 0;
	uint32_t id = 0;
	struct hs_err *err;

	if (!address || address % WORD)
		return false;
	err = read_u64(jvm, address, HS_F_thread_osthread, &osthread);
	if (!err && osthread && osthread % WORD == 0)
		err = read_u32(jvm, osthread, HS_F_osthread_thread_id, &id);
	hs_err_free(err); // no
	return !err && id == (uint32_t)tid;
}

/**
 * The Thread of a kernel thread: HotSpot starts each with it as the argument, which the C library
 * keeps in struct pthread. Found by what it points to, at whatever offset.
 */
static hs_addr find_thread(struct hs_jvm *jvm, const struct hs_thread *thread)
{
	const struct hs_lwp *lwp = hs_lwp_of(jvm, thread->tid);
	hs_addr pthread = thread->pthread;
	uint64_t words[PTHREAD_REACH / WORD];

	if (!pthread && lwp)
		pthread = lwp->thread_pointer; // the same on x86_64
	if (!pthread)
		return 0;
	struct hs_err *err = hs_target_read(jvm->target, pthread, words, sizeof(words));
	if (err) {
		hs_err_free(err); // none, then
		return 0;
	}
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
		if (is_thread_of(jvm, words[i], thread->tid))
			return words[i];
	}
	return 0;
}

/** Is @p comm, the kernel's 15 bytes, what pthread_setname_np() was given for @p name? 25 and
 * before cut it, 26 and later leave out the middle: "G1 Refi..ontrol" (os_linux.cpp). */
static bool name_fits(const char *name, const char *comm)
{
	const char *dots = strstr(comm, "..");
	size_t len = strlen(name), comm_len = strlen(comm);

	if (!strncmp(name, comm, comm_len))
		return true;
	if (!dots || len < comm_len)
		return false;
	size_t head = (size_t)(dots - comm), tail = comm_len - head - 2;

	return !strncmp(name, comm, head) && !strcmp(name + len - tail, dots + 2);
}

/** A core by gcore knows no comm: then the text itself must look like a name. */
static bool is_name(const char *text)
{
	size_t len = strlen(text);

	for (size_t i = 0; i < len; i++)
		if (text[i] < ' ' || text[i] > '~')
			return false;
	return len >= 2;
}

/** NamedThread::_name. The others have a name of their class. */
static struct hs_err *read_name(struct hs_jvm *jvm, const struct hs_thread *thread,
                                struct hs_dump_thread *ret)
{
	static const char watcher[] = "VM Periodic Task Thread"; // WatcherThread::name()
	const char *name = NULL, *comm = thread->name ? thread->name : "";
	hs_addr addr = 0;
	struct hs_err *err;

	if (*comm && name_fits(watcher, comm)) {
		ret->name = watcher;
		return NULL;
	}
	if (!has(jvm, HS_F_named_thread_name))
		return NULL;
	err = read_u64(jvm, ret->address, HS_F_named_thread_name, &addr);
	if (!err && addr)
		err = hs_target_read_cstr(jvm->target, addr, HS_MAX_NAME, jvm->arena, &name);
	if (err && hs_err_code(err) == HS_ERR_OOM)
		return err;
	hs_err_free(err); // a thread that is no NamedThread
	if (!err && name && is_name(name) && name_fits(name, comm))
		ret->name = name;
	return NULL;
}

static struct hs_err *collect_vm(struct hs_dump_builder *builder, uint32_t index)
{
	struct hs_jvm *jvm = builder->jvm;
	const struct hs_thread *thread = &jvm->snapshot->threads.items[index];
	hs_addr address = find_thread(jvm, thread);

	if (!address)
		return NULL;
	struct hs_dump_thread *ret = add(builder, index);
	if (!ret)
		return hs_err_oom();
	struct hs_err *err = read_common(builder, thread, address, ret);
	if (!err)
		err = read_name(jvm, thread, ret);
	return err;
}

// ----

struct hs_err *hs_dump_collect_facts(struct hs_dump_builder *builder)
{
	struct hs_jvm *jvm = builder->jvm;
	struct hs_err *err;

	builder->statistics = find_statistics(builder);
	hs_vec_each (jthread, &jvm->jthreads) {
		if (jthread->thread == HS_NONE)
			continue;
		err = hs_jvm_gap(jvm, collect_java(builder, jthread), "its header in the dump",
		                 "JavaThread 0x%" PRIx64, jthread->addr);
		if (err)
			return err;
	}
	for (uint32_t i = 0; i < jvm->snapshot->threads.len; i++) {
		const struct hs_thread *thread = &jvm->snapshot->threads.items[i];

		if (thread->kind != HS_THREAD_VM && thread->kind != HS_THREAD_NATIVE)
			continue;
		err = hs_jvm_gap(jvm, collect_vm(builder, i), "its header in the dump", "thread %d",
		                 (int)thread->tid);
		if (err)
			return err;
	}
	return NULL;
}
