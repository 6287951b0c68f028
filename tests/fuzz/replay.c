// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Replay: `fuzz_TARGET [-mutate=N] [-seed=S] FILE_OR_DIRECTORY...` runs a fuzz target on each file,
 * and on N random changes of each: for compilers without libFuzzer, and for regression tests. On a
 * crash the last changed input is in the file crash-TARGET-input of the directory it runs in.
 */

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"

enum {
	MAX_FILE = 1 << 20,
	ROOM = 1 << 10, // an input may grow by that
};

struct replay {
	const char *name;
	uint64_t random, mutations, inputs;
	uint8_t *shared; // a mapped file: it keeps what crashed us
	char path[64];
};

/** splitmix64: the same everywhere. */
static uint64_t next_random(struct replay *r)
{
	uint64_t z = (r->random += 0x9e3779b97f4a7c15ULL);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

static size_t random_below(struct replay *r, size_t limit)
{
	return limit ? (size_t)(next_random(r) % limit) : 0;
}

static size_t mutate_once(struct replay *r, uint8_t *data, size_t len)
{
	static const uint64_t values[] = {
		0,          1,          2,         0x7f,       0x80,
		0xbf,       0xc0,       0xff,      0xffff,     0x7fffffff,
		0x80000000, 0xffffffff, INT64_MAX, UINT64_MAX, UINT64_MAX - 7,
	};
	size_t at = random_below(r, len), width, from;

	switch (len ? next_random(r) % 6 : 4) {
	case 0:
		data[at] ^= (uint8_t)(1U << random_below(r, 8));
		break;
	case 1:
		data[at] = (uint8_t)next_random(r);
		break;
	case 2:
		width = (size_t)1 << random_below(r, 4);
		if (at + width <= len)
			memcpy(data + at,
			       &values[random_below(r, sizeof(values) / sizeof(*values))], width);
		break;
	case 3: // cut
		width = 1 + random_below(r, len - at);
		memmove(data + at, data + at + width, len - at - width);
		len -= width;
		break;
	case 4: // grow
		width = 1 + random_below(r, 16);
		memmove(data + at + width, data + at, len - at);
		memset(data + at, (int)next_random(r), width);
		len += width;
		break;
	default: // copy a part over another
		from = random_below(r, len);
		width = random_below(r, len - (at > from ? at : from));
		memmove(data + at, data + from, width);
	}
	return len;
}

static void mutate(struct replay *r, const uint8_t *data, size_t len)
{
	uint8_t *buffer = malloc(len + ROOM);

	if (!buffer)
		abort();
	for (uint64_t i = 0; i < r->mutations; i++) {
		size_t now = len;

		memcpy(buffer, data, len);
		for (size_t n = 1 + random_below(r, 6); n && now + 16 < len + ROOM; n--)
			now = mutate_once(r, buffer, now);
		memcpy(r->shared, &now, sizeof(now));
		memcpy(r->shared + sizeof(now), buffer, now);
		// An exact allocation: reading past the end is seen.
		uint8_t *exact = malloc(now ? now : 1);
		if (!exact)
			abort();
		memcpy(exact, buffer, now);
		LLVMFuzzerTestOneInput(exact, now);
		free(exact);
		r->inputs++;
	}
	free(buffer);
}

static void run_file(struct replay *r, const char *path)
{
	FILE *file = fopen(path, "rbe");
	uint8_t *data = malloc(MAX_FILE);

	if (!file || !data) {
		perror(path);
		exit(1);
	}
	size_t len = fread(data, 1, MAX_FILE, file);
	fclose(file);
	data = realloc(data, len ? len : 1);
	fprintf(stderr, "%s (%zu bytes)\n", path, len);
	LLVMFuzzerTestOneInput(data, len);
	r->inputs++;
	mutate(r, data, len);
	free(data);
}

static int is_visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static void run_path(struct replay *r, const char *path)
{
	struct dirent **entries;
	struct stat st;
	char name[4096];

	if (stat(path, &st) == 0 && !S_ISDIR(st.st_mode)) {
		run_file(r, path);
		return;
	}
	int count = scandir(path, &entries, is_visible, alphasort);
	if (count <= 0) {
		fprintf(stderr, "%s: no inputs there\n", path);
		exit(1);
	}
	for (int i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "%s/%s", path, entries[i]->d_name);
		run_file(r, name);
		free(entries[i]);
	}
	free(entries);
}

/** The input that runs lies in a file: first its length, 8 bytes. */
static void open_shared(struct replay *r)
{
	size_t size = MAX_FILE + ROOM + sizeof(size_t);

	snprintf(r->path, sizeof(r->path), "crash-%s-input", r->name);
	int fd = open(r->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, (off_t)size) != 0) {
		perror(r->path);
		exit(1);
	}
	r->shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (r->shared == MAP_FAILED)
		exit(1);
}

int main(int argc, char **argv)
{
	const char *slash = strrchr(argv[0], '/');
	struct replay r = {.name = slash ? slash + 1 : argv[0], .random = 1};

	open_shared(&r);
	for (int i = 1; i < argc; i++) {
		if (!strncmp(argv[i], "-mutate=", 8))
			r.mutations = strtoull(argv[i] + 8, NULL, 10);
		else if (!strncmp(argv[i], "-seed=", 6))
			r.random = strtoull(argv[i] + 6, NULL, 10);
		else
			run_path(&r, argv[i]);
	}
	unlink(r.path);
	printf("%s: %llu inputs\n", r.name, (unsigned long long)r.inputs);
	return r.inputs ? 0 : 1;
}
