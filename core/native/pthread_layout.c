// SPDX-License-Identifier: Apache-2.0
/** @file The `_thread_db_*` descriptors of the target's own glibc, read directly. */

#include <stdlib.h>
#include <string.h>

#include "core/native/native_internal.h"
#include "core/native/thread_db.h"

enum {
	PTHREAD_SIZE_MIN = 256,
	BITS_PER_BYTE = 8,
	VERSION_MAX = 32,
};

/** The executable: a static one has its C library inside. */
static const struct hs_module *exe_module(const struct hs_native *native)
{
	const char *exe = hs_target_info(native->target)->exe;

	for (size_t i = 0; exe && i < native->map->num_modules; i++) {
		if (!strcmp(native->map->modules[i].path, exe))
			return &native->map->modules[i];
	}
	return NULL;
}

/** A part of glibc. Up to 2.33 the maps show what its name links to: "libpthread-2.31.so". */
static const struct hs_module *glibc_part(const struct hs_native *native, const char *name,
                                          const char *versioned)
{
	const struct hs_module *found = hs_module_map_by_name(native->map, name);

	for (size_t i = 0; !found && i < native->map->num_modules; i++) {
		const char *path = native->map->modules[i].path, *slash = strrchr(path, '/');

		if (!strncmp(slash ? slash + 1 : path, versioned, strlen(versioned)))
			found = &native->map->modules[i];
	}
	return found;
}

struct hs_err *hs_libc_lookup(struct hs_native *native, const char *name, hs_addr *ret)
{
	const struct hs_module *modules[] = {
		glibc_part(native, "libc.so.6", "libc-2."),
		glibc_part(native, "libpthread.so.0", "libpthread-2."),
		glibc_part(native, "ld-linux-x86-64.so.2", "ld-2."),
		exe_module(native),
	};
	struct hs_err *first = NULL;

	for (size_t i = 0; i < sizeof(modules) / sizeof(modules[0]); i++) {
		if (!modules[i])
			continue;
		struct hs_err *err = hs_native_lookup(native, modules[i], name, ret);
		if (!err) {
			hs_err_free(first);
			return NULL;
		}
		// A file that cannot be used says more than "absent" of another one.
		if (first && hs_err_code(first) != HS_ERR_ABSENT) {
			hs_err_free(err);
		} else {
			hs_err_free(first);
			first = err;
		}
	}
	return first ? first : hs_err_absent();
}

static struct hs_err *read_field(struct hs_native *native, const char *name, uint32_t bits,
                                 uint32_t size, uint32_t *offset_ret)
{
	struct hs_err *err;
	struct hs_db_field field;
	hs_addr addr;

	err = hs_libc_lookup(native, name, &addr);
	if (!err)
		err = hs_target_read(native->target, addr, &field, sizeof(field));
	if (err)
		return hs_err_wrap(err, "%s", name);
	if (field.bits != bits || size < bits / BITS_PER_BYTE ||
	    field.offset > size - bits / BITS_PER_BYTE)
		return hs_err_new(HS_ERR_BAD_DATA, "%s makes no sense", name);
	*offset_ret = field.offset;
	return NULL;
}

struct hs_err *hs_pthread_layout_read(struct hs_native *native, struct hs_pthread_layout *ret)
{
	static const char size_name[] = "_thread_db_sizeof_pthread";
	struct hs_err *err;
	struct hs_pthread_layout layout;
	hs_addr addr;

	err = hs_libc_lookup(native, size_name, &addr);
	if (!err)
		err = hs_target_read_u32(native->target, addr, &layout.size);
	if (err)
		return hs_err_wrap(err, "%s", size_name);
	if (layout.size < PTHREAD_SIZE_MIN || layout.size > HS_PTHREAD_SIZE_MAX)
		return hs_err_new(HS_ERR_BAD_DATA, "%s is %u", size_name, layout.size);

	err = read_field(native, "_thread_db_pthread_tid", 32, layout.size, &layout.tid);
	if (!err)
		err = read_field(native, "_thread_db_pthread_start_routine", 64, layout.size,
		                 &layout.start_routine);
	if (err)
		return err;
	*ret = layout;
	return NULL;
}

unsigned hs_glibc_minor(struct hs_native *native)
{
	// __nptl_version since 2.34; before, nptl_version in libpthread (nptl_db/structs.def).
	static const char *const names[] = {"__nptl_version", "nptl_version"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const char *version;
		hs_addr addr;
		struct hs_err *err = hs_libc_lookup(native, names[i], &addr);
		if (!err)
			err = hs_target_read_cstr(native->target, addr, VERSION_MAX, native->arena,
			                          &version);
		if (err) {
			hs_err_free(err);
			continue;
		}
		if (!strncmp(version, "2.", 2))
			return (unsigned)strtoul(version + 2, NULL, 10);
	}
	return 0;
}
