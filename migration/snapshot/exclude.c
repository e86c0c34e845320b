/*
 * In-process machine snapshots: pages that restores leave alone.
 *
 * A page may be excluded and have been written since the save, although no
 * dirty bit says so any more: a restore has cleared it and not put the page
 * back.  So excluded pages are taken for written before they are included
 * again, and before anything is saved.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/queue.h"
#include "qapi/error.h"
#include "qapi/util.h"
#include "compat-ram.h"
#include "ram-level.h"
#include "trace.h"

/* A buffer in scattered pages is many ranges: this is 16 MiB of single ones. */
#define MAX_PARTS 4096

static QTAILQ_HEAD(, SnapshotExcluded) list = QTAILQ_HEAD_INITIALIZER(list);
static unsigned int n_parts;
static unsigned int changes;

SnapshotExcluded *snapshot_exclude_find(const char *idstr)
{
    SnapshotExcluded *ex;

    QTAILQ_FOREACH(ex, &list, next) {
        if (!strcmp(ex->idstr, idstr)) {
            return ex;
        }
    }
    return NULL;
}

/* A part of @ex that overlaps or touches [@first, @last] */
static IntervalTreeNode *touching(SnapshotExcluded *ex, uint64_t first,
                                  uint64_t last)
{
    return interval_tree_iter_first(&ex->parts, first ? first - 1 : 0,
                                    last + 1);
}

static void add_part(const char *idstr, uint64_t first, uint64_t last)
{
    SnapshotExcluded *ex = snapshot_exclude_find(idstr);
    IntervalTreeNode *node;

    trace_snapshot_exclude(idstr, first, last - first + 1);
    changes++;
    if (!ex) {
        ex = g_new0(SnapshotExcluded, 1);
        ex->idstr = g_strdup(idstr);
        QTAILQ_INSERT_TAIL(&list, ex, next);
    }
    while ((node = touching(ex, first, last))) {
        first = MIN(first, node->start);
        last = MAX(last, node->last);
        interval_tree_remove(node, &ex->parts);
        g_free(node);
        n_parts--;
    }
    node = g_new0(IntervalTreeNode, 1);
    node->start = first;
    node->last = last;
    interval_tree_insert(node, &ex->parts);
    n_parts++;
}

/* RAM that is in one piece in a block: bytes @first to @last of @idstr */
typedef struct Part {
    const char *idstr;
    uint64_t first, last;
} Part;

/*
 * Find the RAM at @start, @length bytes of it or as many as there are in one
 * piece.  Returns false if it is not RAM, or not in whole pages.
 */
static bool find_part(uint64_t start, uint64_t length, Part *part)
{
    MemoryRegionSection s = memory_region_find(get_system_memory(), start,
                                               length);
    uint64_t first = s.offset_within_region, size = int128_get64(s.size);
    bool ok = s.mr && memory_region_is_ram(s.mr) && !s.readonly &&
              !memory_region_is_ram_device(s.mr) &&
              s.offset_within_address_space == start &&
              QEMU_IS_ALIGNED(first | size, qemu_real_host_page_size());

    if (ok) {
        *part = (Part) {
            .idstr = s.mr->ram_block->idstr,
            .first = first,
            .last = first + size - 1,
        };
    }
    memory_region_unref(s.mr);
    return ok;
}

/* The number of parts that adding those of @parts needs, at most */
static unsigned int count_new(const GArray *parts)
{
    unsigned int n = 0;

    for (guint i = 0; i < parts->len; i++) {
        const Part *p = &g_array_index(parts, Part, i);
        SnapshotExcluded *ex = snapshot_exclude_find(p->idstr);

        n += !ex || !touching(ex, p->first, p->last);
    }
    return n;
}

SnapshotResult snapshot_exclude_add(uint64_t start, uint64_t length,
                                    Error **errp)
{
    g_autoptr(GArray) parts = g_array_new(false, false, sizeof(Part));
    size_t page = qemu_real_host_page_size();
    Part part;

    if (!length || !QEMU_IS_ALIGNED(start | length, page) ||
        length - 1 > UINT64_MAX - start) {
        error_setg(errp, "a range of 0x%" PRIx64 " bytes at 0x%" PRIx64
                   " cannot be excluded: ranges are whole pages of %zu bytes",
                   length, start, page);
        return SNAPSHOT_RESULT_RANGE;
    }
    while (length) {
        if (!find_part(start, length, &part)) {
            error_setg(errp, "there is no RAM at guest-physical address 0x%"
                       PRIx64 "; exclude whole pages of RAM", start);
            return SNAPSHOT_RESULT_RANGE;
        }
        g_array_append_val(parts, part);
        start += part.last - part.first + 1;
        length -= part.last - part.first + 1;
    }
    if (n_parts + count_new(parts) > MAX_PARTS) {
        error_setg(errp, "too many excluded ranges, the limit is %d; exclude "
                   "memory that is contiguous", MAX_PARTS);
        return SNAPSHOT_RESULT_LIMIT;
    }
    for (guint i = 0; i < parts->len; i++) {
        const Part *p = &g_array_index(parts, Part, i);

        add_part(p->idstr, p->first, p->last);
    }
    return SNAPSHOT_RESULT_DONE;
}

void snapshot_exclude_clear(void)
{
    SnapshotExcluded *ex, *next_ex;
    IntervalTreeNode *node;

    QTAILQ_FOREACH_SAFE(ex, &list, next, next_ex) {
        while ((node = interval_tree_iter_first(&ex->parts, 0, UINT64_MAX))) {
            interval_tree_remove(node, &ex->parts);
            g_free(node);
        }
        QTAILQ_REMOVE(&list, ex, next);
        g_free(ex->idstr);
        g_free(ex);
    }
    n_parts = 0;
    changes++;
}

unsigned int snapshot_exclude_changes(void)
{
    return changes;
}

void snapshot_exclude_attach(SnapshotRam *ram)
{
    for (guint i = 0; i < ram->blocks->len; i++) {
        SnapshotBlock *b = &g_array_index(ram->blocks, SnapshotBlock, i);

        b->excluded = snapshot_exclude_find(b->idstr);
    }
}

static void mark_block(const SnapshotBlock *b)
{
    IntervalTreeNode *node;

    if (!b->excluded) {
        return;
    }
    for (node = interval_tree_iter_first(&b->excluded->parts, 0, b->size - 1);
         node;
         node = interval_tree_iter_next(node, 0, b->size - 1)) {
        snapshot_set_dirty_range(b->offset + node->start,
                                 MIN(node->last, b->size - 1) - node->start + 1,
                                 1 << DIRTY_MEMORY_MIGRATION);
    }
}

void snapshot_exclude_mark(SnapshotRam *ram)
{
    for (guint i = 0; i < ram->blocks->len; i++) {
        mark_block(&g_array_index(ram->blocks, SnapshotBlock, i));
    }
}

bool snapshot_exclude_has(const SnapshotBlock *block, size_t offset,
                          size_t *len)
{
    uint64_t last = offset + *len - 1;
    IntervalTreeNode *node;

    if (!block->excluded) {
        return false;
    }
    node = interval_tree_iter_first(&block->excluded->parts, offset, last);
    if (!node) {
        return false;
    }
    if (node->start > offset) {
        *len = node->start - offset;
        return false;
    }
    *len = MIN(node->last, last) - offset + 1;
    return true;
}

SnapshotDeviceExcludedList *snapshot_exclude_list(void)
{
    SnapshotDeviceExcludedList *head = NULL, **tail = &head;
    SnapshotExcluded *ex;

    QTAILQ_FOREACH(ex, &list, next) {
        IntervalTreeNode *node;

        for (node = interval_tree_iter_first(&ex->parts, 0, UINT64_MAX); node;
             node = interval_tree_iter_next(node, 0, UINT64_MAX)) {
            SnapshotDeviceExcluded *part = g_new0(SnapshotDeviceExcluded, 1);

            part->block = g_strdup(ex->idstr);
            part->offset = node->start;
            part->length = node->last - node->start + 1;
            QAPI_LIST_APPEND(tail, part);
        }
    }
    return head;
}
