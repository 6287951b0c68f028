// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Where the library's classes keep what we read of virtual threads. Offsets come from the target:
 * each must lie in its object, of which a copy of that size is made.
 */

#include "core/jvm/virtual_threads.h"

/** layout_helper of an instance: its size in bytes, bit 0 is a flag (klass.hpp). */
static uint32_t instance_size(const struct hs_klass *klass)
{
	return klass->layout_helper > 0 ? (uint32_t)klass->layout_helper & ~7U : 0;
}

static struct hs_err *field_offset(struct hs_jvm *jvm, const struct hs_klass *klass,
                                   const char *name, uint32_t *ret)
{
	const struct hs_jfield *field = NULL;
	struct hs_err *err = hs_klass_field(jvm, klass, name, &field);

	if (hs_err_catch(&err, HS_ERR_ABSENT))
		return NULL;
	if (err || field->is_static)
		return err;
	if (field->offset >= instance_size(klass))
		return hs_err_new(HS_ERR_BAD_DATA, "the field %s of a %s is outside of it", name,
		                  klass->external_name);
	*ret = field->offset;
	return NULL;
}

struct row {
	const char *name;
	uint32_t *ret;
};

static struct hs_err *read_rows(struct hs_jvm *jvm, const struct hs_klass *klass,
                                const struct row *rows, size_t count)
{
	struct hs_err *err = NULL;

	for (size_t i = 0; !err && i < count; i++)
		err = field_offset(jvm, klass, rows[i].name, rows[i].ret);
	return err;
}

struct hs_err *hs_vthread_layout_read(struct hs_jvm *jvm, const struct hs_klass *klass,
                                      struct hs_vthread_layout *layout)
{
	const struct row rows[] = {
		{"state",               &layout->state       },
		{"cont",                &layout->cont        },
		{"scheduler",           &layout->scheduler   },
		{"termination",         &layout->termination },
		{"parkBlocker",         &layout->park_blocker},
		{"name",                &layout->name        },
		{"tid",                 &layout->tid         },
		{"headStackableScopes", &layout->scopes      },
		{"objectWaiter",        &layout->waiter      }, // injected, 24+
	};
	struct hs_err *err;

	err = read_rows(jvm, klass, rows, sizeof(rows) / sizeof(rows[0]));
	if (!err)
		err = hs_vthread_states_read(jvm, klass, layout);
	if (err)
		return err;
	layout->size = instance_size(klass);
	if (!layout->size || layout->size > HS_VTHREAD_MAX_BYTES || !layout->state || !layout->cont)
		return hs_err_new(HS_ERR_UNSUPPORTED, "the layout of VirtualThread is not known");
	return NULL;
}

struct hs_err *hs_chunk_layout_read(struct hs_jvm *jvm, const struct hs_klass *cont,
                                    const struct hs_klass *chunk, struct hs_vthread_layout *layout)
{
	const struct row rows[] = {
		{"parent",        &layout->chunk_parent         },
		{"size",          &layout->chunk_size           },
		{"sp",            &layout->chunk_sp             },
		{"bottom",        &layout->chunk_bottom         }, // 21.0.4+
		{"argsize",       &layout->chunk_argsize        }, // 21.0.2
		{"flags",         &layout->chunk_flags          }, // injected
		{"lockStackSize", &layout->chunk_lock_stack_size}, // injected, 24+
	};
	struct hs_err *err;

	err = field_offset(jvm, cont, "tail", &layout->cont_tail);
	if (!err)
		err = read_rows(jvm, chunk, rows, sizeof(rows) / sizeof(rows[0]));
	if (!err)
		layout->chunk_header = instance_size(chunk);
	return err;
}
