/*
 * In-process machine snapshots: RAM kept in a shadow copy.
 *
 * The shadow is anonymous memory.  Pages that are zero are never touched in
 * it, so it costs as much as the RAM that is in use.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/madvise.h"
#include "qapi/error.h"
#include "compat-ram.h"
#include "ram-zero.h"

static bool copy_accepts(const SnapshotBlock *block, Error **errp)
{
    return true;
}

static void copy_release(SnapshotRam *ram)
{
    for (guint i = 0; i < ram->blocks->len; i++) {
        SnapshotBlock *b = &g_array_index(ram->blocks, SnapshotBlock, i);

        if (b->saved) {
            munmap(b->saved, b->size);
            b->saved = NULL;
        }
    }
}

/*
 * All address space is taken before the first byte is copied, so that a host
 * that cannot give it fails the save at once.
 */
static SnapshotResult copy_save(SnapshotRam *ram, SnapshotRam *old,
                                const char *file, Error **errp)
{
    size_t page = qemu_real_host_page_size();

    for (guint i = 0; i < ram->blocks->len; i++) {
        SnapshotBlock *b = &g_array_index(ram->blocks, SnapshotBlock, i);
        /* The user may want more memory promised than there is: reserve=off */
        int flags = b->rb->flags & RAM_NORESERVE ? MAP_NORESERVE : 0;
        void *shadow = mmap(NULL, b->size, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);

        if (shadow == MAP_FAILED) {
            error_setg_errno(errp, errno, "no memory for a copy of RAM block "
                             "'%s' (%zu MiB), which engine=remap does not need",
                             b->idstr, b->size >> 20);
            return SNAPSHOT_RESULT_NOMEM;
        }
        qemu_madvise(shadow, b->size, QEMU_MADV_DONTFORK);
        qemu_madvise(shadow, b->size, QEMU_MADV_DONTDUMP);
        b->saved = shadow;
    }
    for (guint i = 0; i < ram->blocks->len; i++) {
        SnapshotBlock *b = &g_array_index(ram->blocks, SnapshotBlock, i);

        g_autoptr(SnapshotZero) zero = snapshot_zero_new(b);

        for (size_t at = 0; at < b->size; at += page) {
            if (!snapshot_zero_is(zero, at, page)) {
                memcpy(b->saved + at, b->host + at, page);
            }
        }
    }
    return SNAPSHOT_RESULT_DONE;
}

static void copy_update(SnapshotBlock *block, size_t offset, size_t len)
{
    memcpy(block->saved + offset, block->host + offset, len);
}

static void copy_put_back(SnapshotRam *ram, SnapshotBlock *block,
                          size_t offset, size_t len)
{
    memcpy(block->host + offset, block->saved + offset, len);
}

static void copy_put_back_whole(SnapshotBlock *block, size_t offset, size_t len)
{
    size_t page = qemu_real_host_page_size();

    /* Pages that are only read cost no memory, on either side. */
    for (size_t at = offset; at < offset + len; at += page) {
        if (memcmp(block->host + at, block->saved + at, page)) {
            memcpy(block->host + at, block->saved + at, page);
        }
    }
}

const SnapshotRamOps snapshot_ram_copy = {
    .kind = SNAPSHOT_DEVICE_ENGINE_COPY,
    .accepts = copy_accepts,
    .save = copy_save,
    .update = copy_update,
    .put_back = copy_put_back,
    .put_back_whole = copy_put_back_whole,
    .release = copy_release,
};
