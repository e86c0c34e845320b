/*
 * In-process machine snapshots: levels of saved RAM.
 *
 * Nothing here depends on the RAM engine: pages of a level are copied back
 * whatever keeps the first one.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "qemu/cutils.h"
#include "qemu/madvise.h"
#include "qapi/error.h"
#include "compat-ram.h"
#include "ram-level.h"
#include "trace.h"

static SnapshotBlock *block_at(const SnapshotRam *ram, guint i)
{
    return &g_array_index(ram->blocks, SnapshotBlock, i);
}

static unsigned long page_count(const SnapshotOverlay *o)
{
    return o->size / qemu_real_host_page_size();
}

static void overlay_free(SnapshotOverlay *o)
{
    if (o->pages) {
        munmap(o->pages, o->size);
    }
    g_free(o->present);
    g_free(o);
}

/* An overlay with no pages in it, NULL if there is no memory */
static SnapshotOverlay *overlay_new(SnapshotBlock *block)
{
    SnapshotOverlay *o = g_new0(SnapshotOverlay, 1);
    void *pages = mmap(NULL, block->size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    o->size = block->size;
    o->below = block->overlay;
    o->pages = pages == MAP_FAILED ? NULL : pages;
    o->present = bitmap_try_new(page_count(o));
    if (!o->pages || !o->present) {
        overlay_free(o);
        return NULL;
    }
    /* A huge page would take the memory of 512 pages for one of them. */
    qemu_madvise(pages, o->size, QEMU_MADV_NOHUGEPAGE);
    qemu_madvise(pages, o->size, QEMU_MADV_DONTFORK);
    qemu_madvise(pages, o->size, QEMU_MADV_DONTDUMP);
    return o;
}

/* Take the topmost overlays off the first @n blocks. */
static void drop_overlays(SnapshotRam *ram, guint n)
{
    for (guint i = 0; i < n; i++) {
        SnapshotOverlay *o = block_at(ram, i)->overlay;

        block_at(ram, i)->overlay = o->below;
        overlay_free(o);
    }
}

static void keep_pages(SnapshotBlock *block, size_t offset, size_t len,
                       void *unused)
{
    size_t page = qemu_real_host_page_size();
    SnapshotOverlay *o = block->overlay;

    bitmap_set(o->present, offset / page, len / page);
    for (size_t at = offset; at < offset + len; at += page) {
        /* A page of zeros is there without having been written to. */
        if (!buffer_is_zero(block->host + at, page)) {
            memcpy(o->pages + at, block->host + at, page);
        }
    }
}

SnapshotResult snapshot_level_push(SnapshotRam *ram, Error **errp)
{
    uint64_t pages;

    if (!snapshot_ram_is_same(ram)) {
        error_setg(errp, "RAM was plugged, unplugged or resized since the "
                   "save; save again rather than push");
        return SNAPSHOT_RESULT_REFUSED;
    }
    for (guint i = 0; i < ram->blocks->len; i++) {
        SnapshotOverlay *o = overlay_new(block_at(ram, i));

        if (!o) {
            drop_overlays(ram, i);
            error_setg(errp, "no memory for another level of RAM block '%s'; "
                       "pop, or save rather than push",
                       block_at(ram, i)->idstr);
            return SNAPSHOT_RESULT_NOMEM;
        }
        block_at(ram, i)->overlay = o;
    }
    snapshot_exclude_mark(ram);
    pages = snapshot_track_collect(ram, keep_pages, NULL);
    trace_snapshot_level_push(pages);
    return SNAPSHOT_RESULT_DONE;
}

/* Take the pages of @o for written.  Returns their number. */
static uint64_t mark_overlay(const SnapshotBlock *block,
                             const SnapshotOverlay *o)
{
    size_t page = qemu_real_host_page_size();
    unsigned long end = page_count(o), at = 0, next;
    uint64_t pages = 0;

    while ((at = find_next_bit(o->present, end, at)) < end) {
        next = find_next_zero_bit(o->present, end, at);
        snapshot_set_dirty_range(block->offset + at * page,
                                 (next - at) * page,
                                 1 << DIRTY_MEMORY_MIGRATION);
        pages += next - at;
        at = next;
    }
    return pages;
}

void snapshot_level_pop(SnapshotRam *ram)
{
    uint64_t pages = 0;

    for (guint i = 0; i < ram->blocks->len; i++) {
        pages += mark_overlay(block_at(ram, i), block_at(ram, i)->overlay);
    }
    drop_overlays(ram, ram->blocks->len);
    trace_snapshot_level_pop(pages);
}

void snapshot_level_mark(SnapshotRam *ram)
{
    for (guint i = 0; i < ram->blocks->len; i++) {
        SnapshotBlock *b = block_at(ram, i);

        for (SnapshotOverlay *o = b->overlay; o; o = o->below) {
            mark_overlay(b, o);
        }
    }
}

void snapshot_level_forget(SnapshotRam *ram)
{
    /* All blocks have as many levels. */
    while (ram->blocks->len && block_at(ram, 0)->overlay) {
        drop_overlays(ram, ram->blocks->len);
    }
}

uint64_t snapshot_level_bytes(const SnapshotRam *ram, unsigned int level)
{
    uint64_t pages = 0;

    if (!level) {
        return ram->bytes;
    }
    for (guint i = 0; i < ram->blocks->len; i++) {
        const SnapshotOverlay *o = block_at(ram, i)->overlay;
        unsigned int depth = 0;

        for (const SnapshotOverlay *p = o; p; p = p->below) {
            depth++;
        }
        for (; depth > level; depth--) {
            o = o->below;
        }
        pages += bitmap_count_one(o->present, page_count(o));
    }
    return pages * qemu_real_host_page_size();
}

/*
 * Where the topmost level that has the page at @offset keeps it.  Shortens
 * @len to the pages from there on that are in the same place.
 */
static const uint8_t *find_part(const SnapshotBlock *block, size_t offset,
                                size_t *len)
{
    size_t page = qemu_real_host_page_size();
    unsigned long at = offset / page, end = at + *len / page;
    const SnapshotOverlay *o;

    for (o = block->overlay; o; o = o->below) {
        if (test_bit(at, o->present)) {
            end = find_next_zero_bit(o->present, end, at);
            break;
        }
        end = find_next_bit(o->present, end, at);
    }
    *len = (end - at) * page;
    return o ? o->pages + offset : NULL;
}

void snapshot_level_parts(SnapshotBlock *block, size_t offset, size_t len,
                          SnapshotPartFunc *fn, void *opaque)
{
    size_t end = offset + len;

    if (!block->overlay && !block->excluded) {
        fn(block, offset, len, NULL, opaque);
        return;
    }
    for (; offset < end; offset += len) {
        const uint8_t *saved;

        len = end - offset;
        if (snapshot_exclude_has(block, offset, &len)) {
            continue;
        }
        saved = find_part(block, offset, &len);
        fn(block, offset, len, saved, opaque);
    }
}
