/*
 * Block driver "snapshot-cow": writes to a disk are held in memory and can be
 * taken back.
 *
 * The image below is only read; snapshot-cow-map.h has what was written.  The
 * driver is not a filter in the sense of the block layer, since its content
 * differs from that of its child: nobody may skip it.
 *
 * Permissions on the image: as soon as somebody writes to this node, nobody
 * else may write to the image, and this node does not.  Image locking thus
 * lets any number of QEMU processes use one image.
 *
 * A flush does nothing.  What it would make permanent is in memory, which is
 * gone when QEMU is; and what the image held is flushed before it is covered.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "block/block-io.h"
#include "block/qdict.h"
#include "migration/snapshot-compat.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/memalign.h"
#include "qemu/module.h"
#include "qemu/option.h"
#include "snapshot-cow-state.h"

#define OPT_LIMIT "limit"

static QemuOptsList runtime_opts = {
    .name = COW_DRIVER,
    .head = QTAILQ_HEAD_INITIALIZER(runtime_opts.head),
    .desc = {
        {
            .name = OPT_LIMIT,
            .type = QEMU_OPT_SIZE,
            .help = "Memory that writes may take (default: no limit)",
        },
        { /* end of list */ }
    },
};

/*
 * The node
 */

const char *cow_name(BlockDriverState *bs)
{
    CowState *s = bs->opaque;
    const char *name = bdrv_get_device_name(bs);

    return *name ? name
           : bdrv_get_node_name(s->inserted ? s->image->bs : bs);
}

static void free_state(CowState *s)
{
    cow_map_free(s->map);
    g_array_free(s->checksums, true);
    qemu_mutex_destroy(&s->lock);
}

static bool read_options(CowState *s, QDict *options, Error **errp)
{
    QemuOpts *opts = qemu_opts_create(&runtime_opts, NULL, 0, &error_abort);
    bool ok = qemu_opts_absorb_qdict(opts, options, errp);

    if (ok) {
        cow_map_set_limit(s->map, qemu_opt_get_size(opts, OPT_LIMIT, 0));
    }
    qemu_opts_del(opts);
    return ok;
}

static int GRAPH_UNLOCKED
cow_open(BlockDriverState *bs, QDict *options, int flags, Error **errp)
{
    CowState *s = bs->opaque;

    qemu_mutex_init(&s->lock);
    s->map = cow_map_new();
    s->checksums = g_array_new(false, false, sizeof(uint64_t));
    if (!read_options(s, options, errp)) {
        goto fail;
    }
    /* What is opened along with us is only read; a node by name is as it is. */
    if (!qdict_get_try_str(options, COW_OPT_IMAGE)) {
        qdict_set_default_str(options, COW_OPT_IMAGE "." BDRV_OPT_READ_ONLY,
                              "on");
    }
    s->image = bdrv_open_child(NULL, options, COW_OPT_IMAGE, bs, &child_of_bds,
                               BDRV_CHILD_DATA, false, errp);
    if (!s->image) {
        goto fail;
    }
    s->length = bdrv_getlength(s->image->bs);
    if (s->length < 0) {
        error_setg_errno(errp, -s->length, "cannot find out the size of '%s'",
                         bdrv_get_device_or_node_name(s->image->bs));
        goto fail;
    }
    bs->supported_write_flags = BDRV_REQ_FUA | BDRV_REQ_WRITE_UNCHANGED;
    bs->supported_zero_flags = BDRV_REQ_FUA | BDRV_REQ_WRITE_UNCHANGED |
                               BDRV_REQ_MAY_UNMAP | BDRV_REQ_NO_FALLBACK;
    return 0;

fail:
    if (s->image) {
        bdrv_drain_all_begin();
        bdrv_graph_wrlock();
        bdrv_unref_child(bs, s->image);
        bdrv_graph_wrunlock();
        bdrv_drain_all_end();
    }
    free_state(s);
    return -EINVAL;
}

static void cow_close(BlockDriverState *bs)
{
    free_state(bs->opaque);
}

static void GRAPH_RDLOCK
cow_child_perm(BlockDriverState *bs, BdrvChild *c, BdrvChildRole role,
               BlockReopenQueue *reopen_queue, uint64_t perm, uint64_t shared,
               uint64_t *nperm, uint64_t *nshared)
{
    CowState *s = bs->opaque;
    bool written = perm & (BLK_PERM_WRITE | BLK_PERM_WRITE_UNCHANGED);

    *nperm = BLK_PERM_CONSISTENT_READ | (s->committing ? BLK_PERM_WRITE : 0);
    *nshared = BLK_PERM_ALL;
    if (written || !(shared & BLK_PERM_WRITE)) {
        *nshared &= ~(BLK_PERM_WRITE | BLK_PERM_RESIZE);
    }
}

static int64_t coroutine_fn GRAPH_RDLOCK
cow_co_getlength(BlockDriverState *bs)
{
    CowState *s = bs->opaque;

    return s->length;
}

static int coroutine_fn GRAPH_RDLOCK
cow_co_truncate(BlockDriverState *bs, int64_t offset, bool exact,
                PreallocMode prealloc, BdrvRequestFlags flags, Error **errp)
{
    error_setg(errp, "writes to this disk are held in memory, and its size is "
               "that of the image; discard the snapshot first, or resize the "
               "image while QEMU does not run");
    return -ENOTSUP;
}

static int coroutine_fn GRAPH_RDLOCK cow_co_flush(BlockDriverState *bs)
{
    return 0;
}

/* To another process (migration) only the image would go, without the map. */
static int GRAPH_RDLOCK cow_inactivate(BlockDriverState *bs)
{
    CowState *s = bs->opaque;

    if (!cow_map_bytes(s->map)) {
        return 0;
    }
    error_report("%s: writes to disk '%s' are held in this process and cannot "
                 "be handed over; to migrate, start without this driver",
                 COW_DRIVER, cow_name(bs));
    return -ENOTSUP;
}

/*
 * Requests
 */

static uint64_t last_cluster(uint64_t end)
{
    return DIV_ROUND_UP(end, COW_CLUSTER);
}

/*
 * Copy the longest piece that is held, up to @bytes; *@held tells if there was
 * one.  Returns the length of the piece, or that of what is not held.
 */
static uint64_t read_held(CowState *s, int64_t offset, int64_t bytes,
                          QEMUIOVector *qiov, size_t qiov_offset, bool *held)
{
    uint64_t cluster = offset >> COW_CLUSTER_BITS, done = 0, run, len;
    QEMU_LOCK_GUARD(&s->lock);

    run = cow_map_run(s->map, cluster,
                      last_cluster(offset + bytes) - cluster, held);
    if (!*held) {
        return MIN(bytes, ((cluster + run) << COW_CLUSTER_BITS) - offset);
    }
    for (; run && done < bytes; run--, cluster++, done += len) {
        const uint8_t *data = cow_map_read(s->map, cluster);
        size_t skip = (offset + done) % COW_CLUSTER;

        len = MIN(COW_CLUSTER - skip, bytes - done);
        if (data) {
            qemu_iovec_from_buf(qiov, qiov_offset + done, data + skip, len);
        } else {
            qemu_iovec_memset(qiov, qiov_offset + done, 0, len);
        }
    }
    return done;
}

static int coroutine_fn GRAPH_RDLOCK
cow_co_preadv_part(BlockDriverState *bs, int64_t offset, int64_t bytes,
                   QEMUIOVector *qiov, size_t qiov_offset,
                   BdrvRequestFlags flags)
{
    CowState *s = bs->opaque;
    int64_t len, more = 0;

    for (; bytes; offset += len, bytes -= len, qiov_offset += len) {
        bool held, next = false;
        int ret;

        len = read_held(s, offset, bytes, qiov, qiov_offset, &held);
        if (held) {
            continue;
        }
        /* One request for all that comes from the image in one piece */
        while (len < bytes) {
            more = read_held(s, offset + len, bytes - len, qiov,
                             qiov_offset + len, &next);
            if (next) {
                break;
            }
            len += more;
        }
        ret = bdrv_co_preadv_part(s->image, offset, len, qiov, qiov_offset,
                                  0);
        if (ret < 0) {
            return ret;
        }
        if (next) {
            len += more;
        }
    }
    return 0;
}

/* Say that writes fail, once; then the guest's log has it. */
static int request_failed(BlockDriverState *bs, int ret)
{
    CowState *s = bs->opaque;
    bool first;

    WITH_QEMU_LOCK_GUARD(&s->lock) {
        first = !s->told;
        s->told = true;
        s->failed++;
    }
    if (first) {
        error_report("%s: a write to disk '%s' fails: %s", COW_DRIVER,
                     cow_name(bs), ret == -EDQUOT
                     ? "its writes take all the memory that the limit allows; "
                     "raise the limit" : strerror(-ret));
    }
    return ret;
}

/*
 * Write the piece [@offset, @offset + @len) of one cluster; no @qiov: zeros.
 * The rest of the cluster may have to come from the image.
 */
static int coroutine_fn GRAPH_RDLOCK
write_piece(BlockDriverState *bs, int64_t offset, int64_t len,
            QEMUIOVector *qiov, size_t qiov_offset, uint8_t **bounce)
{
    CowState *s = bs->opaque;
    uint64_t cluster = offset >> COW_CLUSTER_BITS;
    int64_t start = cluster << COW_CLUSTER_BITS;
    int64_t size = MIN(COW_CLUSTER, s->length - start);
    bool whole = len >= size, held;
    uint8_t *data;
    int ret;

    WITH_QEMU_LOCK_GUARD(&s->lock) {
        cow_map_run(s->map, cluster, 1, &held);
    }
    if (!whole && !held) {
        if (!*bounce) {
            *bounce = qemu_try_blockalign0(s->image->bs, COW_CLUSTER);
        }
        if (!*bounce) {
            return -ENOMEM;
        }
        ret = bdrv_co_pread(s->image, start, size, *bounce, 0);
        if (ret < 0) {
            return ret;
        }
    }
    /* Another request may have come to hold it; then this is what counts. */
    QEMU_LOCK_GUARD(&s->lock);
    ret = cow_map_claim(s->map, cluster, whole, *bounce, &data);
    if (ret < 0) {
        return ret;
    }
    if (qiov) {
        qemu_iovec_to_buf(qiov, qiov_offset, data + offset - start, len);
    } else {
        memset(data + offset - start, 0, len);
    }
    return 0;
}

static int coroutine_fn GRAPH_RDLOCK
cow_co_pwritev_part(BlockDriverState *bs, int64_t offset, int64_t bytes,
                    QEMUIOVector *qiov, size_t qiov_offset,
                    BdrvRequestFlags flags)
{
    uint8_t *bounce = NULL;
    int ret = 0;

    while (bytes && !ret) {
        int64_t len = MIN(bytes, COW_CLUSTER - offset % COW_CLUSTER);

        ret = write_piece(bs, offset, len, qiov, qiov_offset, &bounce);
        offset += len;
        bytes -= len;
        qiov_offset += len;
    }
    qemu_vfree(bounce);
    return ret < 0 ? request_failed(bs, ret) : 0;
}

static int coroutine_fn GRAPH_RDLOCK
cow_co_pwrite_zeroes(BlockDriverState *bs, int64_t offset, int64_t bytes,
                     BdrvRequestFlags flags)
{
    CowState *s = bs->opaque;
    int64_t end = offset + bytes;
    int64_t begin_whole = ROUND_UP(offset, COW_CLUSTER);
    int64_t end_whole = end == s->length ? ROUND_UP(end, COW_CLUSTER)
                                         : QEMU_ALIGN_DOWN(end, COW_CLUSTER);
    int ret = 0;

    if (begin_whole > end_whole) {      /* within one cluster */
        return cow_co_pwritev_part(bs, offset, bytes, NULL, 0, flags);
    }
    if (offset < begin_whole) {
        ret = cow_co_pwritev_part(bs, offset, begin_whole - offset, NULL, 0,
                                  flags);
    }
    if (!ret && end_whole < end) {
        ret = cow_co_pwritev_part(bs, end_whole, end - end_whole, NULL, 0,
                                  flags);
    }
    if (ret || begin_whole == end_whole) {
        return ret;
    }
    WITH_QEMU_LOCK_GUARD(&s->lock) {
        ret = cow_map_zero(s->map, begin_whole >> COW_CLUSTER_BITS,
                           (end_whole - begin_whole) >> COW_CLUSTER_BITS);
    }
    return ret < 0 ? request_failed(bs, ret) : 0;
}

/* A discard frees memory where it can.  It may have no effect. */
static int coroutine_fn GRAPH_RDLOCK
cow_co_pdiscard(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    CowState *s = bs->opaque;
    uint64_t begin = DIV_ROUND_UP(offset, COW_CLUSTER);
    uint64_t end = (offset + bytes) >> COW_CLUSTER_BITS;

    if (begin < end) {
        QEMU_LOCK_GUARD(&s->lock);
        cow_map_discard(s->map, begin, end - begin);
    }
    return 0;
}

static int coroutine_fn GRAPH_RDLOCK
cow_co_block_status(BlockDriverState *bs, SnapshotStatusMode mode,
                    int64_t offset, int64_t bytes, int64_t *pnum,
                    int64_t *map, BlockDriverState **file)
{
    CowState *s = bs->opaque;
    uint64_t cluster = offset >> COW_CLUSTER_BITS, n;
    bool held, zero;

    WITH_QEMU_LOCK_GUARD(&s->lock) {
        n = cow_map_run(s->map, cluster,
                        last_cluster(offset + bytes) - cluster, &held);
        zero = held && !cow_map_read(s->map, cluster);
        if (held) {
            n = 1;      /* the next one may differ in what it is */
        }
    }
    *pnum = MIN(bytes, ((cluster + n) << COW_CLUSTER_BITS) - offset);
    if (held) {
        return zero ? BDRV_BLOCK_ZERO : BDRV_BLOCK_DATA;
    }
    *map = offset;
    *file = s->image->bs;
    return BDRV_BLOCK_RAW | BDRV_BLOCK_OFFSET_VALID;
}

BlockDriver bdrv_snapshot_cow = {
    .format_name = COW_DRIVER,
    .instance_size = sizeof(CowState),

    .bdrv_open = cow_open,
    .bdrv_close = cow_close,
    .bdrv_child_perm = cow_child_perm,
    .bdrv_inactivate = cow_inactivate,

    .bdrv_co_getlength = cow_co_getlength,
    .bdrv_co_truncate = cow_co_truncate,
    .bdrv_co_preadv_part = cow_co_preadv_part,
    .bdrv_co_pwritev_part = cow_co_pwritev_part,
    .bdrv_co_pwrite_zeroes = cow_co_pwrite_zeroes,
    .bdrv_co_pdiscard = cow_co_pdiscard,
    .bdrv_co_flush = cow_co_flush,
    .bdrv_co_block_status = cow_co_block_status,
};

static void bdrv_snapshot_cow_init(void)
{
    bdrv_register(&bdrv_snapshot_cow);
}

block_init(bdrv_snapshot_cow_init);
