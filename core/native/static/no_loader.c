// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * In place of libc.a's functions in the static program (the linker's --wrap, cli/static.cmake). It
 * runs in the root of the target, or of a debug container: a library found there is foreign,
 * and loading it would run its code with our rights. glibc's static dlopen() would load one for
 * libdw (libdebuginfod, when the program starts), for libthread_db, and, in iconv_open(), tables
 * and code of character sets.
 */

#define _GNU_SOURCE 1 // dladdr

#include <dlfcn.h>
#include <errno.h>
#include <iconv.h>
#include <stddef.h>

#define WRAPPED(name) extern __typeof__(name) __wrap_##name

WRAPPED(dlopen);
WRAPPED(dlclose);
WRAPPED(dlsym);
WRAPPED(dladdr);
WRAPPED(dlerror);
WRAPPED(iconv_open);
WRAPPED(iconv);
WRAPPED(iconv_close);

void *__wrap_dlopen(const char *path, int mode)
{
	(void)path, (void)mode;
	return NULL;
}

int __wrap_dlclose(void *library)
{
	(void)library;
	return -1;
}

void *__wrap_dlsym(void *restrict library, const char *restrict name)
{
	(void)library, (void)name;
	return NULL;
}

int __wrap_dladdr(const void *address, Dl_info *ret)
{
	(void)address, (void)ret;
	return 0;
}

char *__wrap_dlerror(void)
{
	static char message[] = "this program is static and loads no libraries";

	return message;
}

/** libarchive then takes names as they are. */
iconv_t __wrap_iconv_open(const char *to, const char *from)
{
	(void)to, (void)from;
	errno = EINVAL;
	return (iconv_t)-1;
}

size_t __wrap_iconv(iconv_t conversion, char **restrict in, size_t *restrict in_left,
                    char **restrict out, size_t *restrict out_left)
{
	(void)conversion, (void)in, (void)in_left, (void)out, (void)out_left;
	errno = EBADF;
	return (size_t)-1;
}

int __wrap_iconv_close(iconv_t conversion)
{
	(void)conversion;
	return 0;
}
