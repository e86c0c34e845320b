/*
 * In-process machine snapshots: an index of QEMU's dirty bitmap.
 *
 * QEMU's bitmap of written pages grows with RAM, and so would a search for
 * set bits.  The index is a bitmap of the words of that bitmap, a bitmap of
 * the words of this one, and so on: to find what was written takes time in
 * proportion to that.  QEMU's bitmap remains what counts.  A bit of the index
 * says that there may be something below it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef MIGRATION_SNAPSHOT_DIRTY_H
#define MIGRATION_SNAPSHOT_DIRTY_H

#include "qemu/atomic.h"
#include "qemu/rcu.h"

#define SNAPSHOT_DIRTY_LEVELS 3

/*
 * Level 0 has a bit for each word of QEMU's bitmap, and each further level a
 * bit for each word of the one below.  With pages of 4 KiB and words of 64
 * bits a bit stands for 256 KiB, 16 MiB and 1 GiB; the words of the last
 * level, for 64 GiB each, are searched in a row.
 */
typedef struct SnapshotDirtyIndex {
    struct rcu_head rcu;
    unsigned long words;    /* of QEMU's bitmap that are covered */
    size_t size;            /* of @bits, in bytes */
    unsigned long *level[SNAPSHOT_DIRTY_LEVELS];    /* in @bits */
    unsigned long bits[];
} SnapshotDirtyIndex;

/* The index to keep, NULL if nobody asks.  Protected by RCU. */
extern SnapshotDirtyIndex *snapshot_dirty_index;

/**
 * snapshot_dirty_mark: mark what stands for the pages [@page, @end)
 *
 * For snapshot_dirty_note().  Pages beyond the end of the index are ignored.
 */
void snapshot_dirty_mark(SnapshotDirtyIndex *index, unsigned long page,
                         unsigned long end);

/**
 * snapshot_dirty_note: bits were set in QEMU's dirty bitmap for migration
 * @page: number of the first page, in ram_addr_t space
 * @end: number of the page after the last
 *
 * Called from any thread, in an RCU read section, after the bits were set.
 */
static inline void snapshot_dirty_note(unsigned long page, unsigned long end)
{
    SnapshotDirtyIndex *index = qatomic_rcu_read(&snapshot_dirty_index);

    if (unlikely(index)) {
        snapshot_dirty_mark(index, page, end);
    }
}

/**
 * snapshot_dirty_start: begin to keep an index of @pages pages
 *
 * Everything is marked at first.  Called with the BQL held.
 */
void snapshot_dirty_start(unsigned long pages);

/**
 * snapshot_dirty_stop: give up the index.  Called with the BQL held.
 */
void snapshot_dirty_stop(void);

/**
 * snapshot_dirty_mark_all: mark everything
 */
void snapshot_dirty_mark_all(void);

/**
 * snapshot_dirty_take: find and unmark a word of QEMU's bitmap
 * @from: look from this word on (page number / BITS_PER_LONG)
 * @end: look at words below this one
 * @looked: is increased by the number of words of the index that were read
 *
 * Returns the first marked word, or @end if there is none.  The caller looks
 * at that word of the bitmap afterwards.  Words beyond the index (memory that
 * was plugged since snapshot_dirty_start()) always count as marked.  For one
 * thread at a time.
 */
unsigned long snapshot_dirty_take(unsigned long from, unsigned long end,
                                  uint64_t *looked);

#endif
