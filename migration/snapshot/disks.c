/*
 * In-process machine snapshots: disks go back with the machine.
 *
 * While there is a snapshot, a node of the block driver "snapshot-cow" is
 * above the root of each disk that the guest may write to.  It holds what is
 * written, so that a restore forgets it, and images are not written to.  A
 * node that was there from the start (-drive driver=snapshot-cow) is used as
 * it is, and stays.
 *
 * While there is a snapshot, what would change a disk behind the back of that
 * node is refused: block jobs, resizing, another medium.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "block/block_int.h"
#include "block/blockjob.h"
#include "block/snapshot-cow.h"
#include "hw/qdev-core.h"
#include "qapi/error.h"
#include "qapi/util.h"
#include "qemu/error-report.h"
#include "system/block-backend.h"
#include "internal.h"
#include "trace.h"

/* What one device has in its drive: a disk, a medium or nothing */
typedef struct Disk {
    SnapshotDisks *disks;
    BlockBackend *blk;
    DeviceState *dev;
    BlockDriverState *root;     /* of @blk, NULL: nothing; no reference */
    BlockDriverState *cow;      /* @root if written to, a reference; or NULL */
    GPtrArray *blocked;         /* all nodes of the disk, references */
    Notifier gone;              /* @blk loses its root */
    bool saved;                 /* was there at the save */
    uint64_t clusters;          /* taken back by the last restore */
} Disk;

struct SnapshotDisks {
    GPtrArray *list;            /* of Disk */
    DeviceListener listener;
    Error *blocker;
};

static const char *disk_name(BlockBackend *blk)
{
    const char *name = blk_name(blk);
    BlockDriverState *bs = blk_bs(blk);

    if (*name || !bs) {
        return name;
    }
    return snapshot_cow_is(bs) ? snapshot_cow_name(bs)
                               : bdrv_get_node_name(bs);
}

/* @errp, with the names of the disk and its device in front */
static void G_GNUC_PRINTF(3, 4)
disk_error(Error **errp, BlockBackend *blk, const char *fmt, ...)
{
    g_autofree char *id = blk_get_attached_dev_id(blk);
    g_autofree char *why = NULL;
    va_list ap;

    va_start(ap, fmt);
    why = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    error_setg(errp, "disk '%s' of device '%s' %s", disk_name(blk),
               id && *id ? id : "(none)", why);
}

/*
 * Can it be done?
 */

/* Does reading from @bs write to some image? */
static bool GRAPH_RDLOCK copies_on_read(BlockDriverState *bs)
{
    BdrvChild *child;

    if (qatomic_read(&bs->copy_on_read) ||
        !g_strcmp0(bdrv_get_format_name(bs), "copy-on-read")) {
        return true;
    }
    QLIST_FOREACH(child, &bs->children, next) {
        if (copies_on_read(child->bs)) {
            return true;
        }
    }
    return false;
}

static bool check_disk(BlockBackend *blk, Error **errp)
{
    DeviceState *dev = blk_get_attached_dev(blk);
    BlockDriverState *bs = blk_bs(blk);

    GRAPH_RDLOCK_GUARD_MAINLOOP();
    if (!dev) {
        error_setg(errp, "node '%s' is written to by something that is not a "
                   "device of this machine, such as an export; end that",
                   bdrv_get_node_name(bs));
    } else if (object_dynamic_cast(OBJECT(dev), "scsi-generic") ||
               object_dynamic_cast(OBJECT(dev), "scsi-block")) {
        disk_error(errp, blk, "is passed through to the guest, and does not "
                   "go back with the machine; use scsi-hd");
    } else if (copies_on_read(bs)) {
        disk_error(errp, blk, "has a copy-on-read node, which writes to its "
                   "image; start without it");
    } else if (bs->bl.zoned != BLK_Z_NONE) {
        disk_error(errp, blk, "is zoned, which machine snapshots do not "
                   "support; attach it with read-only=on");
    } else {
        return true;
    }
    return false;
}

/* Does anybody write to the medium of @blk, or may do so at any time? */
static bool is_written(BlockBackend *blk)
{
    /* A drive of -drive if=none without a device waits for one. */
    return blk_bs(blk) && blk_is_writable(blk) &&
           (blk_get_attached_dev(blk) || !*blk_name(blk));
}

bool snapshot_disks_possible(Error **errp)
{
    BlockBackend *blk;

    WITH_JOB_LOCK_GUARD() {
        BlockJob *job = block_job_next_locked(NULL);

        if (job) {
            error_setg(errp, "the block job '%s' is running; wait for its end "
                       "or cancel it", job->job.id ? job->job.id : "(none)");
            return false;
        }
    }
    for (blk = blk_all_next(NULL); blk; blk = blk_all_next(blk)) {
        if (is_written(blk) && !check_disk(blk, errp)) {
            return false;
        }
    }
    return true;
}

/*
 * The list of disks
 */

static void GRAPH_RDLOCK block_nodes(Disk *disk, BlockDriverState *bs)
{
    BdrvChild *child;

    bdrv_ref(bs);
    bdrv_op_block_all(bs, disk->disks->blocker);
    g_ptr_array_add(disk->blocked, bs);
    QLIST_FOREACH(child, &bs->children, next) {
        block_nodes(disk, child->bs);
    }
}

static void unblock_nodes(Disk *disk)
{
    while (disk->blocked->len) {
        BlockDriverState *bs =
            g_ptr_array_steal_index(disk->blocked, disk->blocked->len - 1);

        bdrv_op_unblock_all(bs, disk->disks->blocker);
        bdrv_unref(bs);
    }
}

/* The first disk of the list with this node is the one that counts. */
static bool is_first(const Disk *disk)
{
    GPtrArray *list = disk->disks->list;

    for (unsigned i = 0; i < list->len; i++) {
        Disk *other = g_ptr_array_index(list, i);

        if (other->cow == disk->cow) {
            return other == disk;
        }
    }
    g_assert_not_reached();
}

/* Take @disk off the list.  @keep: write what it holds to the image. */
static void remove_disk(Disk *disk, bool keep)
{
    GPtrArray *list = disk->disks->list;
    Error *err = NULL;
    bool last = disk->cow;

    g_ptr_array_remove(list, disk);
    if (disk->root) {
        notifier_remove(&disk->gone);
    }
    unblock_nodes(disk);
    for (unsigned i = 0; i < list->len && last; i++) {
        last = ((Disk *)g_ptr_array_index(list, i))->cow != disk->cow;
    }
    if (last && keep && !snapshot_cow_remove(disk->cow, &err)) {
        warn_reportf_err(err, "snapshot: what was written to disk '%s' stays "
                         "in memory: ", disk_name(disk->blk));
    }
    bdrv_unref(disk->cow);
    g_ptr_array_free(disk->blocked, true);
    g_free(disk);
}

/*
 * The medium goes away, past all that keeps users from doing so: QEMU ends.
 * An image is not written to then; it is as it was at the save.
 */
static void medium_gone(Notifier *n, void *unused)
{
    remove_disk(container_of(n, Disk, gone), false);
}

/* An unplugged disk has all that was written: there is no way back to it. */
static void device_gone(DeviceListener *listener, DeviceState *dev)
{
    SnapshotDisks *disks = container_of(listener, SnapshotDisks, listener);

    for (unsigned i = disks->list->len; i-- > 0; ) {
        Disk *disk = g_ptr_array_index(disks->list, i);

        if (disk->dev == dev) {
            remove_disk(disk, true);
        }
    }
}

static Disk *find_disk(const SnapshotDisks *disks, BlockBackend *blk)
{
    for (unsigned i = 0; i < disks->list->len; i++) {
        Disk *disk = g_ptr_array_index(disks->list, i);

        if (disk->blk == blk) {
            return disk;
        }
    }
    return NULL;
}

static bool add_disk(SnapshotDisks *disks, BlockBackend *blk, uint64_t limit,
                     Error **errp)
{
    BlockDriverState *root = blk_bs(blk), *cow = NULL;
    Disk *disk;

    if (root && blk_is_writable(blk)) {
        if (snapshot_cow_is(root)) {
            cow = root;
            bdrv_ref(cow);
        } else {
            cow = snapshot_cow_insert(root, limit, errp);
            if (!cow) {
                return false;
            }
        }
        root = cow;
    }
    disk = g_new0(Disk, 1);
    *disk = (Disk) {
        .disks = disks,
        .blk = blk,
        .dev = blk_get_attached_dev(blk),
        .root = root,
        .cow = cow,
        .blocked = g_ptr_array_new(),
        .gone = { .notify = medium_gone },
    };
    g_ptr_array_add(disks->list, disk);
    if (root) {
        GRAPH_RDLOCK_GUARD_MAINLOOP();
        block_nodes(disk, root);
        blk_add_remove_bs_notifier(blk, &disk->gone);
    }
    return true;
}

static SnapshotDisks *new_disks(void)
{
    SnapshotDisks *disks = g_new0(SnapshotDisks, 1);

    disks->list = g_ptr_array_new();
    disks->listener.unrealize = device_gone;
    device_listener_register(&disks->listener);
    error_setg(&disks->blocker, "there is a machine snapshot, and this disk "
               "goes back with it; discard it (x-snapshot-device-discard) "
               "first");
    return disks;
}

/* Is there a drive, with the medium that we know of? */
static bool is_there(const Disk *disk)
{
    BlockBackend *blk;

    for (blk = blk_all_next(NULL); blk; blk = blk_all_next(blk)) {
        if (blk == disk->blk) {
            return blk_get_attached_dev(blk) == disk->dev &&
                   blk_bs(blk) == disk->root;
        }
    }
    return false;
}

bool snapshot_disks_prepare(SnapshotDisks **disks, uint64_t limit,
                            Error **errp)
{
    BlockBackend *blk;

    if (!*disks) {
        *disks = new_disks();
    }
    for (unsigned i = (*disks)->list->len; i-- > 0; ) {
        Disk *disk = g_ptr_array_index((*disks)->list, i);

        if (!is_there(disk)) {
            remove_disk(disk, true);
        } else if (disk->cow) {
            snapshot_cow_set_limit(disk->cow, limit);
        }
    }
    for (blk = blk_all_next(NULL); blk; blk = blk_all_next(blk)) {
        if (blk_get_attached_dev(blk) && !find_disk(*disks, blk) &&
            !add_disk(*disks, blk, limit, errp)) {
            return false;
        }
    }
    return true;
}

void snapshot_disks_save(SnapshotDisks *disks, bool replace)
{
    for (unsigned i = 0; i < disks->list->len; i++) {
        Disk *disk = g_ptr_array_index(disks->list, i);

        if (disk->cow && is_first(disk)) {
            snapshot_cow_save(disk->cow, replace);
        }
        disk->saved = true;
    }
}

bool snapshot_disks_check(const SnapshotDisks *disks, Error **errp)
{
    BlockBackend *blk;
    unsigned found = 0;

    for (blk = blk_all_next(NULL); blk; blk = blk_all_next(blk)) {
        DeviceState *dev = blk_get_attached_dev(blk);
        Disk *disk = dev ? find_disk(disks, blk) : NULL;

        if (!dev) {
            continue;
        }
        if (!disk || !disk->saved || disk->dev != dev ||
            disk->root != blk_bs(blk)) {
            disk_error(errp, blk, "was attached, or got another medium, since "
                       "the save; undo that, or save again");
            return false;
        }
        found++;
    }
    if (found < disks->list->len) {
        error_setg(errp, "a disk was detached since the save; save again");
        return false;
    }
    return true;
}

uint64_t snapshot_disks_restore(SnapshotDisks *disks)
{
    uint64_t clusters = 0;

    for (unsigned i = 0; i < disks->list->len; i++) {
        Disk *disk = g_ptr_array_index(disks->list, i);

        if (disk->cow && is_first(disk)) {
            disk->clusters = snapshot_cow_revert(disk->cow);
            clusters += disk->clusters;
        }
    }
    trace_snapshot_disks(clusters);
    return clusters;
}

bool snapshot_disks_verify(const SnapshotDisks *disks, Error **errp)
{
    for (unsigned i = 0; i < disks->list->len; i++) {
        Disk *disk = g_ptr_array_index(disks->list, i);

        if (disk->cow && !snapshot_cow_verify(disk->cow, errp)) {
            return false;
        }
    }
    return true;
}

void snapshot_disks_pop(SnapshotDisks *disks)
{
    for (unsigned i = 0; i < disks->list->len; i++) {
        Disk *disk = g_ptr_array_index(disks->list, i);

        if (disk->cow && is_first(disk)) {
            snapshot_cow_pop(disk->cow);
        }
    }
}

void snapshot_disks_free(SnapshotDisks *disks)
{
    if (!disks) {
        return;
    }
    device_listener_unregister(&disks->listener);
    while (disks->list->len) {
        remove_disk(g_ptr_array_index(disks->list, disks->list->len - 1),
                    true);
    }
    g_ptr_array_free(disks->list, true);
    error_free(disks->blocker);
    g_free(disks);
}

SnapshotDeviceDiskList *snapshot_disks_info(const SnapshotDisks *disks)
{
    SnapshotDeviceDiskList *list = NULL;

    for (unsigned i = disks ? disks->list->len : 0; i-- > 0; ) {
        Disk *disk = g_ptr_array_index(disks->list, i);
        SnapshotDeviceDisk *info;
        SnapshotCowStats stats;

        if (!disk->cow || !is_first(disk)) {
            continue;
        }
        snapshot_cow_stats(disk->cow, &stats);
        info = g_new0(SnapshotDeviceDisk, 1);
        info->disk = g_strdup(disk_name(disk->blk));
        info->device = blk_get_attached_dev_id(disk->blk);
        info->bytes = stats.bytes;
        info->limit = stats.limit;
        info->clusters = stats.clusters;
        info->clusters_last = disk->clusters;
        info->failed = stats.failed;
        QAPI_LIST_PREPEND(list, info);
    }
    return list;
}
