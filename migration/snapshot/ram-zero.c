/*
 * Looking for RAM that is zero, without touching what was never used.
 *
 * To read a page of anonymous memory that nobody has written to is a page
 * fault, and takes memory for page tables.  So the kernel is asked first which
 * pages there are: /proc/self/pagemap has 64 bits for each of them.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "compat-ram.h"
#include "ram-zero.h"

/* Bits of an entry: the page is in memory, or in swap */
#define PAGEMAP_PRESENT (1ull << 63 | 1ull << 62)

/* Entries read at a time */
#define ENTRIES 8192

struct SnapshotZero {
    const SnapshotBlock *block;
    int fd;             /* of the page map, -1: pages must be read */
    size_t first;       /* page of @block that entry[0] is for */
    size_t count;       /* entries that were read */
    uint64_t entry[ENTRIES];
};

static bool ram_was_mapped;

void snapshot_zero_mapped(void)
{
    ram_was_mapped = true;
}

SnapshotZero *snapshot_zero_new(const SnapshotBlock *block)
{
    SnapshotZero *zero = g_new(SnapshotZero, 1);
    bool anonymous = block->rb->fd < 0 && !ram_was_mapped &&
                     !(block->rb->flags & (RAM_SHARED | RAM_PREALLOC));

    zero->block = block;
    zero->first = 0;
    zero->count = 0;
    zero->fd = anonymous ? qemu_open("/proc/self/pagemap", O_RDONLY, NULL) : -1;
    return zero;
}

void snapshot_zero_free(SnapshotZero *zero)
{
    if (zero->fd >= 0) {
        close(zero->fd);
    }
    g_free(zero);
}

/* Has page @page never been used?  "No" may be wrong. */
static bool is_absent(SnapshotZero *zero, size_t page)
{
    if (zero->fd < 0) {
        return false;
    }
    if (page < zero->first || page >= zero->first + zero->count) {
        uint64_t at = (uintptr_t)zero->block->host / qemu_real_host_page_size()
                      + page;
        ssize_t n = RETRY_ON_EINTR(pread(zero->fd, zero->entry,
                                         sizeof(zero->entry),
                                         at * sizeof(uint64_t)));

        if (n < (ssize_t)sizeof(uint64_t)) {
            close(zero->fd);
            zero->fd = -1;
            return false;
        }
        zero->first = page;
        zero->count = n / sizeof(uint64_t);
    }
    return !(zero->entry[page - zero->first] & PAGEMAP_PRESENT);
}

bool snapshot_zero_is(SnapshotZero *zero, size_t offset, size_t len)
{
    size_t page = qemu_real_host_page_size();

    for (size_t at = offset; at < offset + len; at += page) {
        if (!is_absent(zero, at / page) &&
            !buffer_is_zero(zero->block->host + at, page)) {
            return false;
        }
    }
    return true;
}
