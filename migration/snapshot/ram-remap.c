/*
 * In-process machine snapshots: RAM as a private mapping of a snapshot file.
 *
 * Guest RAM is written to a file, and the file is mapped MAP_PRIVATE in its
 * place.  The guest's writes go to private pages; dropping those brings the
 * file's content back.
 *
 * Chunks of RAM that are all zero stay out of the file: anonymous memory
 * takes their place, of which dropping pages gives zeros just as well.  So
 * the file is about as big as the RAM in use and has no holes.  That matters
 * on tmpfs, where reading a hole of a mapped file allocates, and kills the
 * process when the file system is full.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "qemu/cutils.h"
#include "qemu/error-report.h"
#include "qemu/madvise.h"
#include "qemu/memfd.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "hw/boards.h"
#include "system/qtest.h"
#include "compat-ram.h"
#include "ram-mapped.h"
#include "ram-zero.h"

/* Zero RAM is told apart in units of this size. */
#define CHUNK (2 * MiB)

/* A part of a block that is mapped in one go */
typedef struct Extent {
    SnapshotBlock *block;
    size_t offset;
    size_t len;
    bool zero;
    off_t file_offset;  /* meaningless if @zero */
} Extent;

static bool remap_accepts(const SnapshotBlock *block, Error **errp)
{
    const char *why = NULL;

    if (block->rb->flags & RAM_SHARED) {
        why = "is shared (share=on), a private mapping would cut it off";
    } else if (block->rb->page_size != qemu_real_host_page_size()) {
        why = "has huge pages of a file";
    } else if (block->rb->flags & RAM_PREALLOC) {
        why = "was allocated by a device";
    }
    if (why) {
        error_setg(errp, "RAM block '%s' %s; use engine=copy", block->idstr,
                   why);
    }
    return !why;
}

/* What QEMU asked of the kernel for this memory when it was allocated */
static void advise_like_ram(void *host, size_t len)
{
    qemu_madvise(host, len, QEMU_MADV_HUGEPAGE);
    if (machine_mem_merge(current_machine)) {
        qemu_madvise(host, len, QEMU_MADV_MERGEABLE);
    }
    if (!machine_dump_guest_core(current_machine)) {
        qemu_madvise(host, len, QEMU_MADV_DONTDUMP);
    }
    if (!qtest_enabled()) {
        qemu_madvise(host, len, QEMU_MADV_DONTFORK);
    }
}

/* Cut all blocks into extents.  Returns the size of the file. */
static off_t list_extents(SnapshotRam *ram, GArray *extents)
{
    off_t end = 0;

    for (guint i = 0; i < ram->blocks->len; i++) {
        SnapshotBlock *b = &g_array_index(ram->blocks, SnapshotBlock, i);
        g_autoptr(SnapshotZero) z = snapshot_zero_new(b);
        Extent *last = NULL;

        for (size_t at = 0; at < b->size; at += CHUNK) {
            size_t len = MIN(CHUNK, b->size - at);
            bool zero = snapshot_zero_is(z, at, len);

            if (last && last->zero == zero) {
                last->len += len;
            } else {
                Extent e = { .block = b, .offset = at, .len = len,
                             .zero = zero, .file_offset = end };

                g_array_append_val(extents, e);
                last = &g_array_index(extents, Extent, extents->len - 1);
            }
            end += zero ? 0 : len;
        }
    }
    return end;
}

/*
 * Each extent is a mapping of its own, and the kernel has a limit on them.
 * Hitting it halfway would be hard to undo, so look first.
 */
static bool enough_mappings(guint extents, Error **errp)
{
    g_autofree char *text = NULL;
    guint64 limit = 65530;

    if (g_file_get_contents("/proc/sys/vm/max_map_count", &text, NULL, NULL)) {
        limit = g_ascii_strtoull(text, NULL, 10);
    }
    /* one for guest RAM, one for ->saved, and as much again in reserve */
    if ((guint64)extents * 4 > limit) {
        error_setg(errp, "engine=remap needs %u mappings of memory; raise "
                   "vm.max_map_count or use engine=copy", extents * 2);
        return false;
    }
    return true;
}

/* Returns a file descriptor, or -1; @tmp is its name, NULL for a memfd. */
static int open_file(const char *file, char **tmp, Error **errp)
{
    struct stat st;
    int fd;

    if (!file) {
        return qemu_memfd_create("snapshot-ram", 0, false, 0, 0, errp);
    }
    if (!lstat(file, &st) && !S_ISREG(st.st_mode)) {
        error_setg(errp, "'%s' exists and is not a regular file; set file= to "
                   "another path", file);
        return -1;
    }
    *tmp = g_strdup_printf("%s.XXXXXX", file);
    fd = g_mkstemp_full(*tmp, O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0) {
        error_setg_errno(errp, errno, "cannot create '%s'; set file= to "
                         "another path", *tmp);
        g_clear_pointer(tmp, g_free);
    }
    return fd;
}

static SnapshotResult write_extents(int fd, const GArray *extents,
                                    const char *name, Error **errp)
{
    for (guint i = 0; i < extents->len; i++) {
        const Extent *e = &g_array_index(extents, Extent, i);

        for (size_t done = 0; !e->zero && done < e->len;) {
            ssize_t n = RETRY_ON_EINTR(pwrite(fd,
                                              e->block->host + e->offset + done,
                                              MIN(e->len - done, 64 * MiB),
                                              e->file_offset + done));
            int err = n < 0 ? errno : ENOSPC;

            if (n > 0) {
                done += n;
                continue;
            }
            error_setg_errno(errp, err, "cannot write guest RAM to '%s'; set "
                             "file= to where there is room for it", name);
            return err == ENOSPC || err == ENOMEM || err == EDQUOT ||
                   err == EFBIG ? SNAPSHOT_RESULT_NOMEM : SNAPSHOT_RESULT_IO;
        }
    }
    return SNAPSHOT_RESULT_DONE;
}

static void *map_extent(const Extent *e, int fd, void *at, int prot)
{
    int flags = MAP_PRIVATE | MAP_FIXED | (e->zero ? MAP_ANONYMOUS : 0);

    /* Memory that QEMU did not reserve (reserve=off) is not reserved here. */
    flags |= e->block->rb->flags & RAM_NORESERVE ? MAP_NORESERVE : 0;
    return mmap(at, e->len, prot, flags, e->zero ? -1 : fd,
                e->zero ? 0 : e->file_offset);
}

/* Map all of the file, as it was saved, for reading: ->saved. */
static SnapshotResult map_saved(SnapshotRam *ram, const GArray *extents,
                                int fd, Error **errp)
{
    for (guint i = 0; i < ram->blocks->len; i++) {
        SnapshotBlock *b = &g_array_index(ram->blocks, SnapshotBlock, i);
        void *p = mmap(NULL, b->size, PROT_READ,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        if (p == MAP_FAILED) {
            error_setg_errno(errp, errno, "no address space for RAM block "
                             "'%s' (%zu MiB); raise the limit (ulimit -v)",
                             b->idstr, b->size >> 20);
            return SNAPSHOT_RESULT_NOMEM;
        }
        b->saved = p;
        b->anonymous = bitmap_new(DIV_ROUND_UP(b->size, CHUNK));
    }
    for (guint i = 0; i < extents->len; i++) {
        const Extent *e = &g_array_index(extents, Extent, i);

        if (!e->zero && map_extent(e, fd, e->block->saved + e->offset,
                                   PROT_READ) == MAP_FAILED) {
            error_setg_errno(errp, errno, "cannot map the snapshot file; use "
                             "engine=copy");
            return SNAPSHOT_RESULT_NOMEM;
        }
    }
    return SNAPSHOT_RESULT_DONE;
}

/*
 * Put the file in the place of guest RAM.  Its content is the same, so that a
 * failure halfway costs nothing but the mapping that failed: that part
 * becomes anonymous memory again.
 */
static SnapshotResult map_ram(const GArray *extents, int fd, Error **errp)
{
    for (guint i = 0; i < extents->len; i++) {
        const Extent *e = &g_array_index(extents, Extent, i);
        uint8_t *host = e->block->host + e->offset;

        if (map_extent(e, fd, host, PROT_READ | PROT_WRITE) == MAP_FAILED) {
            int err = errno;

            if (mmap(host, e->len, PROT_READ | PROT_WRITE, MAP_PRIVATE |
                     MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED) {
                memcpy(host, e->block->saved + e->offset, e->len);
                advise_like_ram(host, e->len);
            }
            error_setg_errno(errp, err, "cannot map the snapshot file in "
                             "place of RAM block '%s'; use engine=copy",
                             e->block->idstr);
            return SNAPSHOT_RESULT_NOMEM;
        }
        advise_like_ram(host, e->len);
        e->block->mapped = true;
        if (e->zero) {
            bitmap_set(e->block->anonymous, e->offset / CHUNK,
                       DIV_ROUND_UP(e->len, CHUNK));
        }
    }
    return SNAPSHOT_RESULT_DONE;
}

/* From here on guest RAM is no mapping of @old's file. */
static void forget_mapped(SnapshotRam *old)
{
    for (guint i = 0; old && i < old->blocks->len; i++) {
        g_array_index(old->blocks, SnapshotBlock, i).mapped = false;
    }
}

/* The file is complete: nobody else may change it under us. */
static bool settle_file(SnapshotRam *ram, int fd, const char *tmp,
                        const char *file, Error **errp)
{
    if (!tmp) {
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
        return true;
    }
    if (rename(tmp, file) < 0) {
        error_setg_errno(errp, errno, "cannot rename '%s' to '%s'; set file= "
                         "to another path", tmp, file);
        return false;
    }
    ram->path = g_strdup(file);
    return true;
}

static SnapshotResult remap_save(SnapshotRam *ram, SnapshotRam *old,
                                 const char *file, Error **errp)
{
    g_autoptr(GArray) extents = g_array_new(false, false, sizeof(Extent));
    g_autofree char *tmp = NULL;
    SnapshotResult res;
    int fd;

    list_extents(ram, extents);
    if (!enough_mappings(extents->len, errp)) {
        return SNAPSHOT_RESULT_NOMEM;
    }
    fd = open_file(file, &tmp, errp);
    if (fd < 0) {
        return SNAPSHOT_RESULT_IO;
    }
    res = write_extents(fd, extents, file ? file : "memfd", errp);
    if (res == SNAPSHOT_RESULT_DONE) {
        res = map_saved(ram, extents, fd, errp);
    }
    if (res == SNAPSHOT_RESULT_DONE && !settle_file(ram, fd, tmp, file, errp)) {
        res = SNAPSHOT_RESULT_IO;
    }
    if (res == SNAPSHOT_RESULT_DONE) {
        forget_mapped(old);
        snapshot_zero_mapped();
        res = map_ram(extents, fd, errp);
    }
    if (res == SNAPSHOT_RESULT_DONE) {
        if (old && !g_strcmp0(old->path, ram->path)) {
            g_clear_pointer(&old->path, g_free);
        }
    } else if (tmp && !ram->path) {
        unlink(tmp);
    }
    ram->mapped = snapshot_mapped_new(ram->bytes, ram->choose);
    close(fd);  /* the mappings keep the file */
    return res;
}

/*
 * Give a block anonymous memory again, a chunk at a time, so that the file's
 * memory is not held longer than the snapshot.  A chunk for which there is no
 * memory just stays mapped: its content is right.
 */
static void unmap_block(SnapshotBlock *b)
{
    g_autofree uint8_t *bounce = g_malloc(CHUNK);

    for (size_t at = 0; at < b->size; at += CHUNK) {
        size_t len = MIN(CHUNK, b->size - at);
        uint8_t *host = b->host + at;

        memcpy(bounce, host, len);
        if (mmap(host, len, PROT_READ | PROT_WRITE, MAP_PRIVATE |
                 MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED) {
            warn_report("snapshot: RAM block '%s' stays mapped to the "
                        "snapshot file: %s", b->idstr, strerror(errno));
            return;
        }
        advise_like_ram(host, len);
        if (!buffer_is_zero(bounce, len)) {
            memcpy(host, bounce, len);
        }
    }
}

static void remap_release(SnapshotRam *ram)
{
    for (guint i = 0; i < ram->blocks->len; i++) {
        SnapshotBlock *b = &g_array_index(ram->blocks, SnapshotBlock, i);

        if (b->mapped) {
            unmap_block(b);
        }
        if (b->saved) {
            munmap(b->saved, b->size);
            b->saved = NULL;
        }
        g_clear_pointer(&b->anonymous, g_free);
        g_clear_pointer(&b->copied, g_free);
    }
    g_clear_pointer(&ram->mapped, snapshot_mapped_free);
    if (ram->path) {
        unlink(ram->path);
    }
}

/*
 * Anonymous memory, which was zero, may be huge pages.  To drop a part of one
 * would split it, so those are written over where they were written in part.
 */
static void remap_put_back(SnapshotRam *ram, SnapshotBlock *block,
                           size_t offset, size_t len)
{
    if (!block->mapped) {
        /* A later save got as far as to take the mapping away, and failed. */
        memcpy(block->host + offset, block->saved + offset, len);
        return;
    }
    while (len) {
        size_t n = MIN(len, CHUNK - offset % CHUNK);
        bool part = n < CHUNK && test_bit(offset / CHUNK, block->anonymous);

        snapshot_mapped_add(ram->mapped, block, offset, n, part);
        offset += n;
        len -= n;
    }
}

static uint64_t remap_finish(SnapshotRam *ram)
{
    return snapshot_mapped_finish(ram->mapped, ram);
}

static void remap_put_back_whole(SnapshotBlock *block, size_t offset,
                                 size_t len)
{
    if (!block->mapped) {
        memcpy(block->host + offset, block->saved + offset, len);
        return;
    }
    madvise(block->host + offset, len, MADV_DONTNEED);
}

const SnapshotRamOps snapshot_ram_remap = {
    .kind = SNAPSHOT_DEVICE_ENGINE_REMAP,
    .accepts = remap_accepts,
    .save = remap_save,
    .put_back = remap_put_back,
    .finish = remap_finish,
    .put_back_whole = remap_put_back_whole,
    .release = remap_release,
};
