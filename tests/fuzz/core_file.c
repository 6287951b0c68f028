// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Fuzz target: a core file: ELF header, program headers, notes, module images in its memory. Input:
 * the file.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"

enum {
	MAX_BYTES = 1 << 16,
};

static void use(struct hs_target *target)
{
	const struct hs_module_map *map = hs_target_modules(target);
	size_t count;
	const struct hs_lwp *lwps = hs_target_lwps(target, &count);
	uint64_t word;

	for (size_t i = 0; i < count; i++) {
		if (!memchr(lwps[i].comm, 0, sizeof(lwps[i].comm)))
			abort();
		if (lwps[i].has_regs && hs_regs_has(&lwps[i].regs, HS_REG_SP))
			hs_err_free(
				hs_target_read_u64(target, lwps[i].regs.value[HS_REG_SP], &word));
	}
	for (size_t i = 0; i < map->num_mappings; i++) {
		hs_err_free(hs_target_read_u64(target, map->mappings[i].start, &word));
		hs_err_free(hs_target_read_u64(target, map->mappings[i].end - 4, &word));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	// No file but the core itself may be opened by a name that the input says.
	const struct hs_open_options options = {.root = "/proc/self/fdinfo"};
	struct hs_target *target = NULL;
	char path[64];

	if (size > MAX_BYTES)
		return 0;
	int fd = memfd_create("core", MFD_CLOEXEC);
	if (fd < 0 || (size && write(fd, data, size) != (ssize_t)size))
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	struct hs_err *err = hs_target_open_core(path, &options, &target);
	hs_err_free(err);
	if (!err) {
		use(target);
		hs_target_close(target);
	}
	close(fd);
	return 0;
}
