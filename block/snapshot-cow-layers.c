/*
 * Block driver "snapshot-cow": states of a disk, for the engine of machine
 * snapshots.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "block/block-io.h"
#include "block/snapshot-cow.h"
#include "qapi/error.h"
#include "qemu/memalign.h"
#include "qobject/qdict.h"
#include "snapshot-cow-state.h"

bool snapshot_cow_is(BlockDriverState *bs)
{
    return bs->drv == &bdrv_snapshot_cow;
}

const char *snapshot_cow_name(BlockDriverState *cow)
{
    GRAPH_RDLOCK_GUARD_MAINLOOP();
    return cow_name(cow);
}

BlockDriverState *snapshot_cow_insert(BlockDriverState *bs, uint64_t limit,
                                      Error **errp)
{
    QDict *options = qdict_new();
    BlockDriverState *cow;
    int ret = bdrv_flush(bs);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "cannot flush '%s'; see to its storage",
                         bdrv_get_device_or_node_name(bs));
        qobject_unref(options);
        return NULL;
    }
    qdict_put_str(options, "driver", COW_DRIVER);
    qdict_put_str(options, COW_OPT_IMAGE, bdrv_get_node_name(bs));
    cow = bdrv_insert_node(bs, options, BDRV_O_RDWR | BDRV_O_UNMAP, errp);
    if (cow) {
        CowState *s = cow->opaque;

        s->inserted = true;
        cow_map_set_limit(s->map, limit);
    }
    return cow;
}

typedef struct Commit {
    CowState *s;
    uint8_t *buffer;
} Commit;

static int commit_run(uint64_t cluster, unsigned n, uint8_t *const *data,
                      void *opaque)
{
    Commit *c = opaque;
    int64_t offset = cluster << COW_CLUSTER_BITS;
    int64_t len = MIN(n << COW_CLUSTER_BITS, c->s->length - offset);

    if (!data[0]) {
        return bdrv_pwrite_zeroes(c->s->image, offset, len,
                                  BDRV_REQ_MAY_UNMAP);
    }
    for (unsigned i = 0; i < n; i++) {
        memcpy(c->buffer + i * COW_CLUSTER, data[i], COW_CLUSTER);
    }
    return bdrv_pwrite(c->s->image, offset, len, c->buffer, 0);
}

static void merge_all(CowMap *map)
{
    while (cow_map_layers(map) > 1) {
        cow_map_merge(map);
    }
}

static int refresh_perms(BlockDriverState *cow, Error **errp)
{
    CowState *s = cow->opaque;

    GRAPH_RDLOCK_GUARD_MAINLOOP();
    return bdrv_child_refresh_perms(cow, s->image, errp);
}

/* Write everything to the image. */
static bool commit(BlockDriverState *cow, Error **errp)
{
    CowState *s = cow->opaque;
    Commit c = { .s = s };
    int ret;

    if (!cow_map_bytes(s->map)) {
        return true;
    }
    s->committing = true;
    ret = refresh_perms(cow, errp);
    if (ret == 0) {
        c.buffer = qemu_blockalign(s->image->bs, COW_CHUNK * COW_CLUSTER);
        ret = cow_map_foreach(s->map, commit_run, &c);
        ret = ret < 0 ? ret : bdrv_flush(s->image->bs);
        qemu_vfree(c.buffer);
        if (ret < 0) {
            error_setg_errno(errp, -ret, "cannot write to '%s'; see to its "
                             "storage, then save and discard once more",
                             bdrv_get_device_or_node_name(s->image->bs));
        }
    }
    s->committing = false;
    refresh_perms(cow, NULL);
    return ret == 0;
}

bool snapshot_cow_remove(BlockDriverState *cow, Error **errp)
{
    CowState *s = cow->opaque;
    BlockDriverState *image = s->image->bs;
    int ret;

    merge_all(s->map);
    if (!s->inserted) {
        return true;
    }
    bdrv_drained_begin(cow);
    if (!commit(cow, errp)) {
        bdrv_drained_end(cow);
        return false;
    }
    bdrv_ref(image);
    bdrv_drained_begin(image);
    bdrv_graph_wrlock();
    ret = bdrv_replace_node(cow, image, errp);
    bdrv_graph_wrunlock();
    bdrv_drained_end(image);
    bdrv_drained_end(cow);
    bdrv_unref(image);
    return ret == 0;
}

void snapshot_cow_set_limit(BlockDriverState *cow, uint64_t limit)
{
    CowState *s = cow->opaque;

    if (s->inserted) {
        cow_map_set_limit(s->map, limit);
    }
}

/* How often @bs or a node below it was written to */
static uint64_t GRAPH_RDLOCK count_writes(BlockDriverState *bs)
{
    uint64_t writes = qatomic_read(&bs->write_gen);
    BdrvChild *child;

    QLIST_FOREACH(child, &bs->children, next) {
        writes += count_writes(child->bs);
    }
    return writes;
}

static uint64_t image_writes(CowState *s)
{
    GRAPH_RDLOCK_GUARD_MAINLOOP();
    return count_writes(s->image->bs);
}

void snapshot_cow_save(BlockDriverState *cow, bool replace)
{
    CowState *s = cow->opaque;
    uint64_t sum;

    if (replace) {
        merge_all(s->map);
        g_array_set_size(s->checksums, 0);
    }
    cow_map_push(s->map);
    sum = cow_map_checksum(s->map);
    g_array_append_val(s->checksums, sum);
    s->writes = image_writes(s);
    s->told = false;
    s->failed = 0;
}

uint64_t snapshot_cow_revert(BlockDriverState *cow)
{
    CowState *s = cow->opaque;

    return cow_map_revert(s->map);
}

void snapshot_cow_pop(BlockDriverState *cow)
{
    CowState *s = cow->opaque;

    cow_map_drop(s->map);
    g_array_set_size(s->checksums, s->checksums->len - 1);
}

bool snapshot_cow_verify(BlockDriverState *cow, Error **errp)
{
    CowState *s = cow->opaque;
    uint64_t written = cow_map_held(s->map, cow_map_layers(s->map) - 1);
    const char *name = snapshot_cow_name(cow);

    if (written) {
        error_setg(errp, "disk '%s': %" PRIu64 " clusters are not those of "
                   "the save", name, written);
    } else if (cow_map_checksum(s->map) !=
               g_array_index(s->checksums, uint64_t, s->checksums->len - 1)) {
        error_setg(errp, "disk '%s': what was saved of it has changed", name);
    } else if (image_writes(s) != s->writes) {
        error_setg(errp, "disk '%s': its image was written to since the save; "
                   "let nothing else write to it", name);
    } else {
        return true;
    }
    return false;
}

void snapshot_cow_stats(BlockDriverState *cow, SnapshotCowStats *stats)
{
    CowState *s = cow->opaque;

    *stats = (SnapshotCowStats) {
        .bytes = cow_map_bytes(s->map),
        .limit = cow_map_limit(s->map),
        .clusters = cow_map_held(s->map, cow_map_layers(s->map) - 1),
        .failed = s->failed,
    };
}
