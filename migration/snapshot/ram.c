/*
 * In-process machine snapshots: RAM.
 *
 * Lists the RAMBlocks, chooses the engine that keeps them, and connects the
 * page tracker (which pages were written) with the engine (what to do about
 * it).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/rcu.h"
#include "qemu/error-report.h"
#include "qapi/error.h"
#include "compat-ram.h"
#include "internal.h"
#include "ram-level.h"
#include "trace.h"

/* Differences named by one verification; the others are counted. */
#define VERIFY_NAMED 4

/* Regions whose RAM is left out, see snapshot_leave_out() */
static GSList *left_out;

void snapshot_leave_out(const MemoryRegion *mr, bool out)
{
    left_out = g_slist_remove(left_out, mr);
    if (out) {
        left_out = g_slist_prepend(left_out, (void *)mr);
    }
}

static bool list_block(SnapshotRam *ram, RAMBlock *rb, Error **errp)
{
    SnapshotBlock block = {
        .rb = rb,
        .mr = rb->mr,
        .host = rb->host,
        .offset = rb->offset,
        .used = rb->used_length,
        .size = ROUND_UP(rb->used_length, qemu_real_host_page_size()),
    };

    if (g_slist_find(left_out, rb->mr)) {
        return true;
    }
    if (!qemu_ram_is_migratable(rb)) {
        error_setg(errp, "RAM block '%s' belongs to a device that cannot be "
                   "restored; unplug it", memory_region_name(rb->mr));
        return false;
    }
    if (rb->flags & RAM_GUEST_MEMFD) {
        error_setg(errp, "RAM block '%s' is private guest memory, which "
                   "the host cannot read; start without guest-memfd",
                   rb->idstr);
        return false;
    }
    if (!rb->used_length || (rb->flags & RAM_READONLY)) {
        /* Nothing there, or a mapping that this machine cannot change */
        return true;
    }
    block.idstr = g_strdup(rb->idstr);
    ram->bytes += block.size;
    g_array_append_val(ram->blocks, block);
    return true;
}

static SnapshotRam *ram_new(const SnapshotRamOps *ops, Error **errp)
{
    SnapshotRam *ram = g_new0(SnapshotRam, 1);
    RAMBlock *rb;

    ram->ops = ops;
    ram->blocks = g_array_new(false, false, sizeof(SnapshotBlock));
    RCU_READ_LOCK_GUARD();
    ram->list_version = ram_list.version;
    RAMBLOCK_FOREACH(rb) {
        if (!list_block(ram, rb, errp)) {
            snapshot_ram_free(ram);
            return NULL;
        }
    }
    for (guint i = 0; i < ram->blocks->len; i++) {
        if (!ops->accepts(&g_array_index(ram->blocks, SnapshotBlock, i),
                          errp)) {
            snapshot_ram_free(ram);
            return NULL;
        }
    }
    snapshot_exclude_attach(ram);
    return ram;
}

void snapshot_ram_free(SnapshotRam *ram)
{
    if (!ram) {
        return;
    }
    snapshot_level_forget(ram);
    ram->ops->release(ram);
    for (guint i = 0; i < ram->blocks->len; i++) {
        g_free(g_array_index(ram->blocks, SnapshotBlock, i).idstr);
    }
    g_array_unref(ram->blocks);
    g_free(ram->path);
    g_free(ram);
}

bool snapshot_ram_check(const SnapshotRam *ram, Error **errp)
{
    if (ram->list_version != ram_list.version) {
        error_setg(errp, "RAM was plugged or unplugged since the save; "
                   "save again");
        return false;
    }
    for (guint i = 0; i < ram->blocks->len; i++) {
        const SnapshotBlock *b = &g_array_index(ram->blocks, SnapshotBlock, i);

        if (b->rb->used_length != b->used &&
            qemu_ram_resize(b->rb, b->used, errp) < 0) {
            return false;
        }
    }
    return true;
}

bool snapshot_ram_is_same(const SnapshotRam *ram)
{
    if (ram->list_version != ram_list.version) {
        return false;
    }
    for (guint i = 0; i < ram->blocks->len; i++) {
        const SnapshotBlock *b = &g_array_index(ram->blocks, SnapshotBlock, i);

        if (b->rb->used_length != b->used) {
            return false;
        }
    }
    return true;
}

static void update_block(SnapshotBlock *block, size_t offset, size_t len,
                         void *opaque)
{
    const SnapshotRamOps *ops = opaque;

    ops->update(block, offset, len);
}

/* A snapshot of the same RAM that only needs the pages written since */
static bool can_update(const SnapshotRam *old, const SnapshotRamOps *ops)
{
    return old && old->ops == ops && ops->update && snapshot_ram_is_same(old);
}

static SnapshotResult save_with(SnapshotRam **ram, SnapshotRam *old,
                                const SnapshotRamOps *ops, bool choose,
                                const char *file, Error **errp)
{
    SnapshotResult res;
    SnapshotRam *new;

    if (can_update(old, ops)) {
        /* Pages whose dirty bits are gone, but which it does not have */
        snapshot_exclude_mark(old);
        snapshot_level_mark(old);
        snapshot_track_collect(old, update_block, (void *)ops);
        snapshot_level_forget(old);
        *ram = old;
        return SNAPSHOT_RESULT_DONE;
    }
    new = ram_new(ops, errp);
    if (!new) {
        return SNAPSHOT_RESULT_REFUSED;
    }
    new->choose = choose;
    res = ops->save(new, old, file, errp);
    if (res != SNAPSHOT_RESULT_DONE) {
        snapshot_ram_free(new);
        return res;
    }
    snapshot_ram_free(old);
    snapshot_track_forget(new);
    *ram = new;
    return SNAPSHOT_RESULT_DONE;
}

/*
 * "auto": to copy is the fastest way to put a page back, and huge pages stay
 * what they are.  So RAM is mapped only where a copy does not fit, or where the
 * user wants it in a file; then each restore chooses between copying and
 * dropping.
 */
static SnapshotResult save_auto(SnapshotRam **ram, SnapshotRam *old,
                                const char *file, Error **errp)
{
    Error *err = NULL;
    SnapshotResult res;

    if (file) {
        return save_with(ram, old, &snapshot_ram_remap, true, file, errp);
    }
    res = save_with(ram, old, &snapshot_ram_copy, false, NULL, &err);
    if (res == SNAPSHOT_RESULT_NOMEM) {
        info_report("snapshot: %s: trying engine=remap", error_get_pretty(err));
        error_free(err);
        return save_with(ram, old, &snapshot_ram_remap, true, NULL, errp);
    }
    error_propagate(errp, err);
    return res;
}

SnapshotResult snapshot_ram_save(SnapshotRam **ram, SnapshotRam *old,
                                 SnapshotDeviceEngine kind, const char *file,
                                 Error **errp)
{
    switch (kind) {
    case SNAPSHOT_DEVICE_ENGINE_COPY:
        return save_with(ram, old, &snapshot_ram_copy, false, NULL, errp);
    case SNAPSHOT_DEVICE_ENGINE_REMAP:
        return save_with(ram, old, &snapshot_ram_remap, false, file, errp);
    default:
        return save_auto(ram, old, file, errp);
    }
}

typedef struct PutBack {
    SnapshotRam *ram;
    uint64_t pages;
} PutBack;

/* We are about to change RAM: tell who shows it, and who has translated it. */
static void changes(SnapshotBlock *block, size_t offset, size_t len,
                    const uint8_t *saved)
{
    const SnapshotTracker *tracker = snapshot_tracker();

    if (memory_region_is_logging(block->mr, DIRTY_MEMORY_VGA)) {
        snapshot_set_dirty_range(block->offset + offset, len,
                                 1 << DIRTY_MEMORY_VGA);
    }
    if (tracker->ram_changes) {
        tracker->ram_changes(block, offset, len, saved);
    }
}

static void put_back_part(SnapshotBlock *block, size_t offset, size_t len,
                          const uint8_t *saved, void *opaque)
{
    PutBack *p = opaque;

    trace_snapshot_ram_put_back(block->idstr, offset, len);
    changes(block, offset, len, saved ? saved : block->saved + offset);
    if (saved) {
        memcpy(block->host + offset, saved, len);
    } else {
        p->ram->ops->put_back(p->ram, block, offset, len);
    }
    p->pages += len / qemu_real_host_page_size();
}

static void put_back(SnapshotBlock *block, size_t offset, size_t len,
                     void *opaque)
{
    snapshot_level_parts(block, offset, len, put_back_part, opaque);
}

uint64_t snapshot_ram_restore(SnapshotRam *ram)
{
    PutBack p = { .ram = ram };

    snapshot_track_collect(ram, put_back, &p);
    ram->dropped = ram->ops->finish ? ram->ops->finish(ram) : 0;
    return p.pages;
}

static void put_back_whole_part(SnapshotBlock *block, size_t offset,
                                size_t len, const uint8_t *saved, void *opaque)
{
    const SnapshotRamOps *ops = opaque;

    if (saved) {
        memcpy(block->host + offset, saved, len);
    } else {
        ops->put_back_whole(block, offset, len);
    }
}

static void changes_by_reference(SnapshotBlock *block, size_t offset,
                                 size_t len, void *unused)
{
    changes(block, offset, len, NULL);
}

uint64_t snapshot_ram_restore_all(SnapshotRam *ram)
{
    uint64_t pages = snapshot_track_collect(ram, changes_by_reference, NULL);

    ram->dropped = 0;
    for (guint i = 0; i < ram->blocks->len; i++) {
        SnapshotBlock *b = &g_array_index(ram->blocks, SnapshotBlock, i);

        snapshot_level_parts(b, 0, b->size, put_back_whole_part,
                             (void *)ram->ops);
    }
    return pages;
}

/* Count the pages that differ, of all blocks, and report the first ones. */
static void verify_part(SnapshotBlock *block, size_t offset, size_t len,
                        const uint8_t *saved, void *opaque)
{
    const uint8_t *is = block->host + offset;
    const uint8_t *was = saved ? saved : block->saved + offset;
    size_t page = qemu_real_host_page_size();
    uint64_t *differ = opaque;

    for (size_t at = 0; at < len; at += page) {
        size_t i = at;

        if (!memcmp(is + at, was + at, page) || ++*differ > VERIFY_NAMED) {
            continue;
        }
        while (is[i] == was[i]) {
            i++;
        }
        error_report("snapshot: verify: RAM block '%s' differs at 0x%zx: "
                     "is 0x%02x, was 0x%02x", block->idstr, offset + i, is[i],
                     was[i]);
    }
}

bool snapshot_ram_verify(const SnapshotRam *ram, Error **errp)
{
    uint64_t differ = 0;

    for (guint i = 0; i < ram->blocks->len; i++) {
        SnapshotBlock *b = &g_array_index(ram->blocks, SnapshotBlock, i);

        snapshot_level_parts(b, 0, b->size, verify_part, &differ);
    }
    if (differ) {
        error_setg(errp, "%" PRIu64 " pages of RAM differ", differ);
        return false;
    }
    return true;
}
