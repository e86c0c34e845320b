/*
 * libsnapshot: memory that restores leave alone.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

#include "device.h"

/* An entry of /proc/PID/pagemap: a page frame, and whether it is in RAM */
#define PAGEMAP_FRAME   ((1ull << 55) - 1)
#define PAGEMAP_PRESENT (1ull << 63)

uint32_t snapshot_exclude_physical(SnapshotDevice *dev, uint64_t start,
                                   uint64_t length)
{
    return snapshot_mmio_exclude(dev->bar, start, length);
}

uint32_t snapshot_include(SnapshotDevice *dev)
{
    return snapshot_mmio_include(dev->bar);
}

static int exclude_frames(SnapshotDevice *dev, uint64_t frame, uint64_t count,
                          size_t page)
{
    return snapshot_to_errno(snapshot_exclude_physical(dev, frame * page,
                                                       count * page));
}

/* The page frame behind page number @number of this process */
static bool find_frame(int pagemap, uint64_t number, uint64_t *frame)
{
    uint64_t entry;
    ssize_t n = pread(pagemap, &entry, sizeof(entry),
                      (off_t)(number * sizeof(entry)));

    if (n != sizeof(entry)) {
        errno = n < 0 ? errno : EIO;
        return false;
    }
    if (!(entry & PAGEMAP_PRESENT)) {
        errno = EINVAL;
        return false;
    }
    *frame = entry & PAGEMAP_FRAME;
    if (!*frame) {
        errno = EPERM;      /* hidden from those that are not root */
        return false;
    }
    return true;
}

/* Exclude @count pages from @number on, in runs of neighbouring frames. */
static int exclude_pages(SnapshotDevice *dev, int pagemap, uint64_t number,
                         uint64_t count, size_t page)
{
    uint64_t first = 0, run = 0, frame;

    for (uint64_t i = 0; i < count; i++) {
        if (!find_frame(pagemap, number + i, &frame)) {
            return -1;
        }
        if (run && frame == first + run) {
            run++;
            continue;
        }
        if (run && exclude_frames(dev, first, run, page) < 0) {
            return -1;
        }
        first = frame;
        run = 1;
    }
    return exclude_frames(dev, first, run, page);
}

int snapshot_exclude(SnapshotDevice *dev, void *memory, size_t size)
{
    size_t page = getauxval(AT_PAGESZ);
    uintptr_t start = (uintptr_t)memory;
    int pagemap, ret, error;

    if (!size || start % page || size % page) {
        errno = EINVAL;
        return -1;
    }
    /* A huge page would be put together elsewhere; no matter if that fails. */
    madvise(memory, size, MADV_NOHUGEPAGE);
    if (mlock(memory, size) < 0) {
        return -1;
    }
    pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    if (pagemap < 0) {
        return -1;
    }
    ret = exclude_pages(dev, pagemap, start / page, size / page, page);
    error = errno;
    close(pagemap);
    errno = error;
    return ret;
}
