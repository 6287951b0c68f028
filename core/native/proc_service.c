// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * The ps_* functions, bound by name when libthread_db is loaded. They must be in the dynamic symbol
 * table of the program (proc_service.list) or of a library that is global.
 */

#define _GNU_SOURCE 1 // RTLD_DEFAULT

#include "core/native/proc_service.h"

#include <dlfcn.h>
#include <string.h>
#include <sys/user.h>

#include "core/native/native_internal.h"

enum {
	SIZE_FACT_LEN = sizeof(uint32_t),
	LIST_T_MAX = 64,       // bytes of a list_t, generously
	THREAD_AREA_FS = 25,   // number of fs in user_regs_struct (sys/reg.h)
	FETCHED_BITS_MAX = 64, // longer fields are not fetched
};

// A size with these bits is of the other byte order.
static const uint32_t db_byte_swapped = 0xff000000;

static const char fact_prefix[] = "_thread_db_";
static const char size_prefix[] = "_thread_db_sizeof_";

static bool starts_with(const char *s, const char *prefix)
{
	return !strncmp(s, prefix, strlen(prefix));
}

static bool spend(struct ps_prochandle *ph)
{
	if (!ph->calls_left)
		return false;
	ph->calls_left--;
	return true;
}

static ps_err_e read_target(struct ps_prochandle *ph, hs_addr addr, void *buf, size_t len)
{
	struct hs_err *err = hs_addr_wraps(addr, len)
	                             ? hs_err_fault()
	                             : hs_target_read(ph->native->target, addr, buf, len);
	ps_err_e ret = err ? PS_BADADDR : PS_OK;

	hs_err_free(err);
	return ret;
}

static ps_err_e lookup(struct ps_prochandle *ph, const char *name, hs_addr *ret)
{
	struct hs_err *err = hs_libc_lookup(ph->native, name, ret);
	ps_err_e status = err ? PS_NOSYM : PS_OK;

	hs_err_free(err);
	return status;
}

/** The size symbol of the structure that libthread_db copies before it looks at @p field. */
static const char *copied_struct(const char *field)
{
	if (starts_with(field, "pthread_") && !starts_with(field, "pthread_key"))
		return "_thread_db_sizeof_pthread";
	if (starts_with(field, "dtv_slotinfo_") && !starts_with(field, "dtv_slotinfo_list"))
		return "_thread_db_sizeof_dtv_slotinfo";
	return NULL;
}

/**
 * Is it safe to give this field to libthread_db? What it fetches from a copied structure must lie
 * inside. Of fields of struct pthread it fetches elements 0 and 1, and its check of the index is
 * off by one (td_thr_get_info.c, fetch-value.c).
 */
static bool field_is_sane(struct ps_prochandle *ph, const char *field,
                          const struct hs_db_field *value)
{
	const char *size_name = copied_struct(field);
	hs_addr addr;
	uint32_t size, len;

	if (!value->bits || value->bits & db_byte_swapped)
		return false;
	if (!strcmp(field, "list_t_next")) // copied as part of struct pthread
		return value->offset <= LIST_T_MAX - sizeof(uint64_t);
	if (!size_name)
		return true;
	if (lookup(ph, size_name, &addr) != PS_OK ||
	    read_target(ph, addr, &size, sizeof(size)) != PS_OK)
		return false;
	if (!strcmp(field, "pthread_list"))
		len = LIST_T_MAX;
	else if (value->bits > FETCHED_BITS_MAX) // only its address is ever taken
		return true;
	else
		len = value->bits / 8 * (starts_with(field, "pthread_") ? 2 : 1);
	return len <= size && value->offset <= size - len;
}

/** Read, check and keep one _thread_db_ symbol. */
static bool learn_fact(struct ps_prochandle *ph, const char *name, hs_addr addr)
{
	const char *field = name + strlen(fact_prefix);
	struct hs_ps_fact fact = {.addr = addr, .len = sizeof(fact.value)};

	for (size_t i = 0; i < ph->num_facts; i++) {
		if (ph->facts[i].addr == addr)
			return true;
	}
	// x86_64 finds a thread by ps_get_thread_area(), not by a description of registers.
	if (ph->num_facts == HS_PS_FACTS_MAX || starts_with(field, "register"))
		return false;
	if (starts_with(name, size_prefix) || starts_with(field, "const_"))
		fact.len = SIZE_FACT_LEN;
	if (read_target(ph, addr, &fact.value, fact.len) != PS_OK)
		return false;
	if (starts_with(name, size_prefix)) {
		if (!fact.value.bits || fact.value.bits > HS_PTHREAD_SIZE_MAX)
			return false;
	} else if (fact.len != SIZE_FACT_LEN && !field_is_sane(ph, field, &fact.value)) {
		return false;
	}
	ph->facts[ph->num_facts++] = fact;
	return true;
}

// glibc's header declares the callbacks; these are their bodies, static so that
// hs_proc_service_is_ours() can tell them from another program's functions of the same names.

static ps_err_e our_pglobal_lookup(struct ps_prochandle *ph, const char *object, const char *name,
                                   psaddr_t *addr_ret)
{
	hs_addr addr;

	(void)object; // its libc may be static, or older and in two libraries
	if (!spend(ph) || lookup(ph, name, &addr) != PS_OK)
		return PS_NOSYM;
	if (starts_with(name, fact_prefix) && !learn_fact(ph, name, addr))
		return PS_NOSYM;
	*addr_ret = (psaddr_t)(uintptr_t)addr;
	return PS_OK;
}

static ps_err_e our_pdread(struct ps_prochandle *ph, psaddr_t where, void *buf, size_t len)
{
	hs_addr addr = (uintptr_t)where;

	if (!spend(ph))
		return PS_ERR;
	for (size_t i = 0; i < ph->num_facts; i++) {
		if (ph->facts[i].addr != addr)
			continue;
		if (len != ph->facts[i].len)
			return PS_ERR;
		memcpy(buf, &ph->facts[i].value, len);
		return PS_OK;
	}
	return read_target(ph, addr, buf, len);
}

static const struct hs_lwp *find_lwp(struct ps_prochandle *ph, lwpid_t tid)
{
	size_t count;
	const struct hs_lwp *lwps = hs_target_lwps(ph->native->target, &count);

	for (size_t i = 0; i < count; i++) {
		if (lwps[i].tid == tid)
			return &lwps[i];
	}
	return NULL;
}

static ps_err_e our_lgetregs(struct ps_prochandle *ph, lwpid_t tid, prgregset_t regs_ret)
{
	// Position in user_regs_struct of each DWARF register, HS_REG_RAX to HS_REG_PC.
	static const size_t at[HS_REG_COUNT] = {
		offsetof(struct user_regs_struct, rax), offsetof(struct user_regs_struct, rdx),
		offsetof(struct user_regs_struct, rcx), offsetof(struct user_regs_struct, rbx),
		offsetof(struct user_regs_struct, rsi), offsetof(struct user_regs_struct, rdi),
		offsetof(struct user_regs_struct, rbp), offsetof(struct user_regs_struct, rsp),
		offsetof(struct user_regs_struct, r8),  offsetof(struct user_regs_struct, r9),
		offsetof(struct user_regs_struct, r10), offsetof(struct user_regs_struct, r11),
		offsetof(struct user_regs_struct, r12), offsetof(struct user_regs_struct, r13),
		offsetof(struct user_regs_struct, r14), offsetof(struct user_regs_struct, r15),
		offsetof(struct user_regs_struct, rip),
	};
	const struct hs_lwp *lwp = find_lwp(ph, tid);

	if (!lwp || !lwp->has_regs)
		return PS_BADLID;
	memset(regs_ret, 0, sizeof(prgregset_t));
	for (size_t i = 0; i < HS_REG_COUNT; i++)
		memcpy((char *)regs_ret + at[i], &lwp->regs.value[i], sizeof(uint64_t));
	memcpy((char *)regs_ret + offsetof(struct user_regs_struct, fs_base), &lwp->thread_pointer,
	       sizeof(uint64_t));
	return PS_OK;
}

static pid_t our_getpid(struct ps_prochandle *ph)
{
	const struct hs_target_info *info = hs_target_info(ph->native->target);
	size_t count;
	const struct hs_lwp *lwps = hs_target_lwps(ph->native->target, &count);

	// The target's own number for itself: that of its first thread.
	for (size_t i = 0; i < count; i++) {
		if (lwps[i].host_tid && lwps[i].host_tid == info->pid)
			return lwps[i].tid;
	}
	return info->pid;
}

static ps_err_e our_get_thread_area(struct ps_prochandle *ph, lwpid_t tid, int index,
                                    psaddr_t *addr_ret)
{
	const struct hs_lwp *lwp = find_lwp(ph, tid);

	if (index != THREAD_AREA_FS)
		return PS_BADADDR;
	if (!lwp || !lwp->thread_pointer)
		return PS_BADLID;
	*addr_ret = (psaddr_t)(uintptr_t)lwp->thread_pointer;
	return PS_OK;
}

#define OURS(name, body) \
	extern __typeof__(name) name __attribute__((__alias__(#body), __visibility__("default")))

OURS(ps_pglobal_lookup, our_pglobal_lookup);
OURS(ps_pdread, our_pdread);
OURS(ps_ptread, our_pdread);
OURS(ps_lgetregs, our_lgetregs);
OURS(ps_getpid, our_getpid);
OURS(ps_get_thread_area, our_get_thread_area);

// What would write to the target, stop it, or needs what we have not captured: refused.

ps_err_e ps_pdwrite(struct ps_prochandle *ph, psaddr_t addr, const void *buf, size_t len)
{
	(void)ph, (void)addr, (void)buf, (void)len;
	return PS_ERR;
}

ps_err_e ps_ptwrite(struct ps_prochandle *ph, psaddr_t addr, const void *buf, size_t len)
{
	return ps_pdwrite(ph, addr, buf, len);
}

ps_err_e ps_lsetregs(struct ps_prochandle *ph, lwpid_t tid, const prgregset_t regs)
{
	(void)ph, (void)tid, (void)regs;
	return PS_ERR;
}

ps_err_e ps_lgetfpregs(struct ps_prochandle *ph, lwpid_t tid, prfpregset_t *regs_ret)
{
	(void)ph, (void)tid, (void)regs_ret;
	return PS_NOFREGS;
}

ps_err_e ps_lsetfpregs(struct ps_prochandle *ph, lwpid_t tid, const prfpregset_t *regs)
{
	(void)ph, (void)tid, (void)regs;
	return PS_ERR;
}

ps_err_e ps_pstop(struct ps_prochandle *ph)
{
	(void)ph;
	return PS_ERR;
}

ps_err_e ps_pcontinue(struct ps_prochandle *ph)
{
	(void)ph;
	return PS_ERR;
}

ps_err_e ps_lstop(struct ps_prochandle *ph, lwpid_t tid)
{
	(void)ph, (void)tid;
	return PS_ERR;
}

ps_err_e ps_lcontinue(struct ps_prochandle *ph, lwpid_t tid)
{
	(void)ph, (void)tid;
	return PS_ERR;
}

static bool is_ours(const char *name, uintptr_t body)
{
	return (uintptr_t)dlsym(RTLD_DEFAULT, name) == body;
}

bool hs_proc_service_is_ours(void)
{
	return is_ours("ps_pglobal_lookup", (uintptr_t)our_pglobal_lookup) &&
	       is_ours("ps_pdread", (uintptr_t)our_pdread) &&
	       is_ours("ps_lgetregs", (uintptr_t)our_lgetregs) &&
	       is_ours("ps_getpid", (uintptr_t)our_getpid) &&
	       is_ours("ps_get_thread_area", (uintptr_t)our_get_thread_area);
}
