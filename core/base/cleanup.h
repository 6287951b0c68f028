// SPDX-License-Identifier: Apache-2.0
/** @file Scope guards for handles: hs_cleanup(hs_closep) int fd = open(...). */
#ifndef HS_CLEANUP_H
#define HS_CLEANUP_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define hs_cleanup(fn) __attribute__((__cleanup__(fn)))

/** Hand a guarded pointer on: returns it and leaves NULL behind. */
#define hs_take(ptr)                        \
	__extension__({                     \
		typeof(ptr) taken_ = (ptr); \
		(ptr) = NULL;               \
		taken_;                     \
	})

static inline void hs_closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void hs_fclosep(FILE **file)
{
	if (*file)
		fclose(*file);
}

static inline void hs_closedirp(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

/** For any pointer from malloc. */
static inline void hs_freep(void *ptr)
{
	free(*(void **)ptr);
}

#endif // HS_CLEANUP_H
