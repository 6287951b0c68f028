// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Fake libjvm: an ELF image with HotSpot's exported tables, in a fake target. Runs out of memory:
 * aborts.
 */
#ifndef HS_FAKE_LIBJVM_H
#define HS_FAKE_LIBJVM_H

#include "tests/support/fake_target.h"

struct hs_fake_libjvm;

enum {
	FAKE_LIBJVM_SYMBOLS = 20
};

/** Where it is mapped: image, variables, tables, strings, and room for statics. */
#define FAKE_LIBJVM_START UINT64_C(0x7f0000000000)
#define FAKE_LIBJVM_VARS (FAKE_LIBJVM_START + 0x2000)
#define FAKE_LIBJVM_TABLES (FAKE_LIBJVM_START + 0x10000)
#define FAKE_LIBJVM_STRINGS (FAKE_LIBJVM_START + 0x80000)
#define FAKE_LIBJVM_STATICS (FAKE_LIBJVM_START + 0x100000)
#define FAKE_LIBJVM_END (FAKE_LIBJVM_START + 0x200000)

struct hs_fake_libjvm *hs_fake_libjvm_create(struct hs_fake *fake);
void hs_fake_libjvm_destroy(struct hs_fake_libjvm *libjvm);

/** Rows of the tables. Names must outlive the libjvm. */
void hs_fake_libjvm_field(struct hs_fake_libjvm *libjvm, const char *type, const char *field,
                          const char *type_string, uint64_t offset);
void hs_fake_libjvm_static(struct hs_fake_libjvm *libjvm, const char *type, const char *field,
                           const char *type_string, hs_addr address);
void hs_fake_libjvm_type(struct hs_fake_libjvm *libjvm, const char *name, uint64_t size);
void hs_fake_libjvm_int(struct hs_fake_libjvm *libjvm, const char *name, int32_t value);
void hs_fake_libjvm_long(struct hs_fake_libjvm *libjvm, const char *name, int64_t value);

/** A flag: 1 byte when @p size is 1, an int when it is 4. */
void hs_fake_libjvm_flag(struct hs_fake_libjvm *libjvm, const char *name, size_t size,
                         int32_t value);

/** All REQUIRED rows, and what the object and class readers need; objects as in 17 (u2 fields) or
 * as in 25 (field stream), with handles for mirrors and loaders. */
void hs_fake_libjvm_standard(struct hs_fake_libjvm *libjvm, bool is_25);

/** The one line that describes the VM, after hs_fake_libjvm_standard(). */
void hs_fake_libjvm_set_info(struct hs_fake_libjvm *libjvm, const char *text);

/** Do not export the symbol with this number. */
void hs_fake_libjvm_drop_symbol(struct hs_fake_libjvm *libjvm, size_t index);

/** Replace the value of an exported variable, after hs_fake_libjvm_install(). */
void hs_fake_libjvm_set_symbol(struct hs_fake_libjvm *libjvm, const char *name, uint64_t value);

/** Write all of it to the target and add the module. @p with_file: a file to go with it. */
void hs_fake_libjvm_install(struct hs_fake_libjvm *libjvm, bool with_file);

#endif // HS_FAKE_LIBJVM_H
