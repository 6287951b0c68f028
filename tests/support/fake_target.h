// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Fake target: a hosted target over byte arrays that a test fills. Runs out of memory: aborts.
 *
 * Memory may be added or changed at any time, also while the target is open (a hosted target is
 * not cached). Threads, modules and info must be complete before the first hs_fake_target().
 */
#ifndef HS_FAKE_TARGET_H
#define HS_FAKE_TARGET_H

#include "core/target.h"

struct hs_fake;

struct hs_fake *hs_fake_create(void);

/** Closes the target too. NULL is a no-op. */
void hs_fake_destroy(struct hs_fake *fake);

/** Put a copy of @p len bytes at @p addr; what was there is replaced. */
void hs_fake_memory(struct hs_fake *fake, hs_addr addr, const void *bytes, size_t len);

/** Put @p len times @p byte there: room for a structure whose fields are set one by one. */
void hs_fake_fill(struct hs_fake *fake, hs_addr addr, uint8_t byte, size_t len);

/** Little-endian values, no alignment needed. */
void hs_fake_u8(struct hs_fake *fake, hs_addr addr, uint8_t value);
void hs_fake_u16(struct hs_fake *fake, hs_addr addr, uint16_t value);
void hs_fake_u32(struct hs_fake *fake, hs_addr addr, uint32_t value);
void hs_fake_u64(struct hs_fake *fake, hs_addr addr, uint64_t value);

/** With its NUL. */
void hs_fake_cstr(struct hs_fake *fake, hs_addr addr, const char *s);

/** Make these bytes unreadable again. */
void hs_fake_remove(struct hs_fake *fake, hs_addr addr, size_t len);

/**
 * Add a thread: state 'S', no system call (nr -1), cpu_ms -1; no registers when @p regs is NULL.
 * @return It, to fill in more; valid until the next thread is added or the target opened.
 */
struct hs_lwp *hs_fake_lwp(struct hs_fake *fake, pid_t tid, const struct hs_regs *regs);

/**
 * Add a module that is mapped r-x at [start, end) from offset 0, state OK, with a copy of the
 * descriptor @p fd taken (-1: none).
 * @return It, to fill in more; valid until the next module is added or the target opened.
 */
struct hs_module *hs_fake_module(struct hs_fake *fake, const char *path, hs_addr start, hs_addr end,
                                 hs_addr bias, int fd);

/** Add a mapping that belongs to no module; @return as above. */
struct hs_mapping *hs_fake_mapping(struct hs_fake *fake, const char *path, hs_addr start,
                                   hs_addr end, unsigned prot);

/** kind HS_TARGET_HOSTED, pid 1, pause_ms -1: to fill in more. */
struct hs_target_info *hs_fake_info(struct hs_fake *fake);

/** Open on first use; threads, mappings and modules are sorted. Closed by hs_fake_destroy(). */
struct hs_target *hs_fake_target(struct hs_fake *fake);

#endif // HS_FAKE_TARGET_H
