// SPDX-License-Identifier: Apache-2.0
/** @file Hosted source: a host (gdb, a test) holds the program and serves its memory. */

#include <stdlib.h>

#include "core/base/cleanup.h"
#include "core/source/source.h"

struct hosted {
	struct hs_source base;
	const struct hs_host_ops *ops;
	void *host;
};

static struct hs_err *hosted_read(struct hs_source *source, hs_addr addr, void *buf, size_t len)
{
	struct hosted *hosted = (struct hosted *)source;

	return hosted->ops->read(hosted->host, addr, buf, len) ? NULL : hs_err_fault();
}

static void hosted_close(struct hs_source *source)
{
	free(source);
}

static const struct hs_source_ops hosted_ops = {
	.name = "hosted",
	.read = hosted_read,
	.close = hosted_close,
};

struct hs_err *hs_target_open_hosted(const struct hs_host_ops *ops, void *host,
                                     struct hs_target **ret)
{
	struct hosted *hosted = calloc(1, sizeof(*hosted));

	if (!hosted)
		return hs_err_oom();
	hosted->base.ops = &hosted_ops;
	hosted->ops = ops;
	hosted->host = host;

	hs_cleanup(hs_source_destroyp) struct hs_source *source = &hosted->base;
	source->arena = hs_arena_create();
	if (!source->arena)
		return hs_err_oom();
	source->info = *ops->info(host);
	source->lwps = ops->lwps(host, &source->num_lwps);
	source->modules = *ops->modules(host);
	return hs_target_from_source(hs_take(source), ret);
}
