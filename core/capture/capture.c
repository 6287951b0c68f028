// SPDX-License-Identifier: Apache-2.0
/**
 * @file
 * Capture: header, program headers, notes, memory, in this order and without seeking back, so that
 * it can go through a pipe. All offsets are known before the first byte is written.
 */

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/output_file.h"
#include "core/capture/capture_internal.h"

enum {
	BUFFER = 1 << 20,
	PAGE = HS_STORE_PAGE,
};

struct writer {
	struct hs_source *source;
	struct hs_target *target;
	const struct hs_capture_options *options;
	struct hs_capture_result *result;
	struct hs_output *output;
	struct hs_capture_segments segments;
	const struct hs_stored_page *pages;
	size_t num_pages;
	uint8_t *buffer;
	size_t used;    // of the buffer
	uint64_t done;  // bytes of memory that went through it
	bool is_sparse; // pages of zeros become holes
};

// ---- bytes out

static bool is_zero_page(const uint8_t *page)
{
	// Each byte is equal to the next, and the first is zero.
	return !page[0] && !memcmp(page, page + 1, PAGE - 1);
}

/** Write the buffer from @p from to @p to, both multiples of a page, with holes. */
static struct hs_err *write_sparse(struct writer *w, size_t from, size_t to)
{
	while (from < to) {
		bool zero = is_zero_page(w->buffer + from);
		size_t end = from + PAGE;

		while (end < to && is_zero_page(w->buffer + end) == zero)
			end += PAGE;
		if (!zero) {
			struct hs_err *err =
				hs_output_write(w->output, w->buffer + from, end - from);
			if (err)
				return err;
		} else if (lseek(hs_output_fd(w->output), (off_t)(end - from), SEEK_CUR) < 0) {
			return hs_output_err(w->output, errno);
		}
		from = end;
	}
	return NULL;
}

static struct hs_err *flush(struct writer *w)
{
	size_t len = w->used;

	w->used = 0;
	w->done += len;
	if (hs_output_is_interrupted(w->output))
		return hs_output_err(w->output, EINTR);
	if (w->options->progress && w->segments.filesz)
		w->options->progress(w->options->progress_arg, "writing the snapshot",
		                     (double)w->done / (double)w->segments.filesz);
	return w->is_sparse ? write_sparse(w, 0, len) : hs_output_write(w->output, w->buffer, len);
}

// ---- header

static struct hs_err *write_headers(struct writer *w, const struct hs_blob *notes)
{
	size_t num = w->segments.num + 1; // and the notes
	bool many = num >= PN_XNUM;
	uint64_t tables = sizeof(Elf64_Ehdr) + num * sizeof(Elf64_Phdr);
	uint64_t note_offset = tables + (many ? sizeof(Elf64_Shdr) : 0);
	uint64_t offset = (note_offset + notes->len + PAGE - 1) & ~(uint64_t)(PAGE - 1);
	hs_cleanup(hs_blob_deinit) struct hs_blob head = {0};
	const Elf64_Ehdr ehdr = {
		.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT,
	                    ELFOSABI_NONE},
		.e_type = ET_CORE,
		.e_machine = EM_X86_64,
		.e_version = EV_CURRENT,
		.e_phoff = sizeof(ehdr),
		.e_shoff = many ? tables : 0,
		.e_ehsize = sizeof(ehdr),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = many ? PN_XNUM : (Elf64_Half)num,
		.e_shentsize = many ? sizeof(Elf64_Shdr) : 0,
		.e_shnum = many ? 1 : 0,
	};
	const Elf64_Phdr note = {
		.p_type = PT_NOTE, .p_offset = note_offset, .p_filesz = notes->len, .p_align = 4};
	const Elf64_Shdr count = {.sh_info = (Elf64_Word)num, .sh_size = 1};
	static const uint8_t zeros[PAGE];

	hs_blob_add(&head, &ehdr, sizeof(ehdr));
	hs_blob_add(&head, &note, sizeof(note));
	for (size_t i = 0; i < w->segments.num; i++) {
		const struct hs_capture_segment *segment = &w->segments.items[i];
		const Elf64_Phdr phdr = {
			.p_type = PT_LOAD,
			.p_flags = (segment->prot & HS_PROT_READ ? PF_R : 0u) |
		                   (segment->prot & HS_PROT_WRITE ? PF_W : 0u) |
		                   (segment->prot & HS_PROT_EXEC ? PF_X : 0u),
			.p_offset = offset,
			.p_vaddr = segment->start,
			.p_filesz = segment->filesz,
			.p_memsz = segment->memsz,
			.p_align = PAGE,
		};

		hs_blob_add(&head, &phdr, sizeof(phdr));
		offset += segment->filesz;
	}
	if (many)
		hs_blob_add(&head, &count, sizeof(count));
	hs_blob_add(&head, notes->bytes, notes->len);
	hs_blob_add(&head, zeros, -head.len & (PAGE - 1));
	w->result->bytes = offset;
	return head.failed ? hs_err_oom() : hs_output_write(w->output, head.bytes, head.len);
}

// ---- memory

/** Copy a part that is not recorded: page by page where it cannot be read as a whole. */
static void copy_live(struct writer *w, hs_addr addr, uint8_t *to, size_t len)
{
	struct hs_source *source = w->source;
	struct hs_err *err = source->ops->read(source, addr, to, len);

	for (size_t i = 0; err && i < len; i += PAGE) {
		struct hs_err *page_err = source->ops->read(source, addr + i, to + i, PAGE);

		if (page_err) {
			memset(to + i, 0, PAGE);
			w->result->lost += PAGE;
		}
		hs_err_free(page_err);
	}
	hs_err_free(err);
}

static struct hs_err *write_segment(struct writer *w, const struct hs_capture_segment *segment)
{
	hs_addr at = segment->start, end = segment->start + segment->filesz;
	size_t page = segment->page;

	while (at < end) {
		hs_addr stored = page < w->num_pages ? w->pages[page].number * PAGE : UINT64_MAX;
		size_t room = BUFFER - w->used;

		if (stored == at) {
			memcpy(w->buffer + w->used, w->pages[page++].bytes, PAGE);
			room = PAGE;
		} else {
			hs_addr stop = stored < end ? stored : end;

			room = stop - at < room ? (size_t)(stop - at) : room;
			copy_live(w, at, w->buffer + w->used, room);
		}
		at += room;
		w->used += room;
		struct hs_err *err = w->used == BUFFER ? flush(w) : NULL;
		if (err)
			return err;
	}
	return NULL;
}

static struct hs_err *write_all(struct writer *w, const struct hs_blob *notes)
{
	struct hs_err *err = write_headers(w, notes);

	for (size_t i = 0; i < w->segments.num && !err; i++)
		err = write_segment(w, &w->segments.items[i]);
	if (!err)
		err = flush(w);
	// To bring it to the disk may take long: all memory has been read.
	hs_target_release(w->target);
	if (err || !w->is_sparse)
		return err;
	// A hole at the end is no length.
	if (ftruncate(hs_output_fd(w->output), (off_t)w->result->bytes) ||
	    fsync(hs_output_fd(w->output)))
		return hs_output_err(w->output, errno);
	return NULL;
}

static struct hs_err *write_output(struct writer *w, const struct hs_blob *notes)
{
	struct hs_err *err = NULL;

	w->buffer = malloc(BUFFER);
	if (!w->buffer)
		return hs_err_oom();
	w->result->is_output = true;
	if (!w->output)
		err = hs_output_open(w->options->path, &w->output);
	if (err)
		return err;
	w->is_sparse = !hs_output_is_stream(w->output);
	err = write_all(w, notes);
	if (!err)
		err = hs_output_commit(hs_take(w->output));
	if (err)
		return err;
	w->result->is_output = false;
	w->result->was_written = true;
	return NULL;
}

// ---- all of it

static void deinit(struct writer *w)
{
	hs_output_abort(w->output);
	free(w->segments.items);
	free(w->buffer);
}

struct hs_err *hs_capture_write(struct hs_target *target, const struct hs_second_look *second_look,
                                const struct hs_capture_options *options, struct hs_output *output,
                                struct hs_capture_result *ret)
{
	hs_cleanup(deinit) struct writer w = {
		.source = hs_target_source(target),
		.target = target,
		.options = options,
		.output = output,
		.result = ret,
	};
	hs_cleanup(hs_blob_deinit) struct hs_blob notes = {0};
	hs_cleanup(hs_freep) struct hs_capture_range *whole = NULL;
	size_t num_whole = 0;

	*ret = (struct hs_capture_result){.threads = w.source->num_lwps};
	if (!w.source->record)
		return hs_err_new(HS_ERR_USAGE,
		                  "only what was opened to be recorded can be written");
	struct hs_err *err = hs_capture_essentials(target, &ret->cut_lists);
	if (!err && options->full)
		err = hs_capture_full_ranges(target, &whole, &num_whole);
	if (err)
		return err;
	if (!options->full)
		hs_target_release(target);
	// Of one that is still held: until now. The rest of the time is the writing.
	w.source->info.pause_ms = hs_target_held_ms(target);
	hs_page_store_sort(w.source->record);
	w.pages = hs_page_store_pages(w.source->record, &w.num_pages);
	err = hs_capture_plan(w.source, whole, num_whole, &w.segments);
	if (!err)
		err = hs_capture_notes(w.source, second_look, options->tool, &notes);
	if (err)
		return err;
	ret->memory = w.segments.filesz;
	return write_output(&w, &notes);
}
