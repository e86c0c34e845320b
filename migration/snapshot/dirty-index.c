/*
 * In-process machine snapshots: an index of QEMU's dirty bitmap.
 *
 * Threads write guest RAM, and mark it here, while another one looks.  No
 * lock is needed, because all keep to an order:
 *
 *   who writes   sets a bit, then looks whether that above it is set, and
 *                stops there if it is;
 *   who looks    clears a bit, then looks at the word below it.
 *
 * With a full barrier in between on both sides, at least one of them sees what
 * the other did: either the one who looks finds the bit below, or the one who
 * writes finds the bit above cleared, and sets it again.  So a set bit of
 * QEMU's bitmap is never without marks for longer than its writer is on the
 * way up.
 *
 * A thread may have looked for an index before there was one.  It set its bit
 * while the machine was not at rest yet for the first save, and what that
 * finds marked is everything.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "migration/snapshot-dirty.h"

SnapshotDirtyIndex *snapshot_dirty_index;

/* Mark bit @at of @level, and what stands for it above. */
static void mark(SnapshotDirtyIndex *index, int level, unsigned long at)
{
    for (; level < SNAPSHOT_DIRTY_LEVELS; level++, at = BIT_WORD(at)) {
        unsigned long *word = &index->level[level][BIT_WORD(at)];

        /* The bit below was set just now: that comes first. */
        smp_mb__after_rmw();
        if (qatomic_read(word) & BIT_MASK(at)) {
            return;
        }
        qatomic_or(word, BIT_MASK(at));
    }
}

void snapshot_dirty_mark(SnapshotDirtyIndex *index, unsigned long page,
                         unsigned long end)
{
    end = MIN(BITS_TO_LONGS(end), index->words);
    for (unsigned long at = BIT_WORD(page); at < end; at++) {
        mark(index, 0, at);
    }
}

void snapshot_dirty_mark_all(void)
{
    memset(snapshot_dirty_index->bits, 0xff, snapshot_dirty_index->size);
}

void snapshot_dirty_start(unsigned long pages)
{
    unsigned long lengths[SNAPSHOT_DIRTY_LEVELS];
    unsigned long bits = BITS_TO_LONGS(pages), total = 0;
    SnapshotDirtyIndex *index;

    for (int i = 0; i < SNAPSHOT_DIRTY_LEVELS; i++) {
        bits = BITS_TO_LONGS(bits);
        lengths[i] = bits;
        total += bits;
    }
    index = g_malloc0(sizeof(*index) + total * sizeof(unsigned long));
    index->words = BITS_TO_LONGS(pages);
    index->size = total * sizeof(unsigned long);
    total = 0;
    for (int i = 0; i < SNAPSHOT_DIRTY_LEVELS; i++) {
        index->level[i] = index->bits + total;
        total += lengths[i];
    }
    memset(index->bits, 0xff, index->size);
    qatomic_rcu_set(&snapshot_dirty_index, index);
}

void snapshot_dirty_stop(void)
{
    SnapshotDirtyIndex *index = snapshot_dirty_index;

    qatomic_rcu_set(&snapshot_dirty_index, NULL);
    if (index) {
        g_free_rcu(index, rcu);
    }
}

/*
 * Word @word of @level was searched.  If nothing is left in it, its mark goes,
 * unless somebody sets a bit at that moment; and so on with the levels above.
 */
static void leave_word(SnapshotDirtyIndex *index, int level, unsigned long word)
{
    for (; level + 1 < SNAPSHOT_DIRTY_LEVELS; level++, word = BIT_WORD(word)) {
        unsigned long *at = &index->level[level][word];

        if (qatomic_read(at)) {
            return;
        }
        qatomic_and(&index->level[level + 1][BIT_WORD(word)], ~BIT_MASK(word));
        smp_mb__after_rmw();
        if (qatomic_read(at)) {
            mark(index, level + 1, word);
            return;
        }
    }
}

/* The first bit that is set in [@at, @end) of @level, or @end */
static unsigned long find(SnapshotDirtyIndex *index, int level,
                          unsigned long at, unsigned long end,
                          uint64_t *looked)
{
    while (at < end) {
        unsigned long word = BIT_WORD(at);
        unsigned long bits = qatomic_read(&index->level[level][word]);

        ++*looked;
        bits &= BITMAP_FIRST_WORD_MASK(at);
        if (bits) {
            return MIN(word * BITS_PER_LONG + ctzl(bits), end);
        }
        leave_word(index, level, word);
        if (level + 1 < SNAPSHOT_DIRTY_LEVELS) {
            word = find(index, level + 1, word + 1, BITS_TO_LONGS(end),
                        looked);
        } else {
            word++;
        }
        at = word * BITS_PER_LONG;
    }
    return end;
}

unsigned long snapshot_dirty_take(unsigned long from, unsigned long end,
                                  uint64_t *looked)
{
    SnapshotDirtyIndex *index = snapshot_dirty_index;
    unsigned long covered = MIN(end, index->words);
    unsigned long at;

    if (from >= covered) {
        return from;
    }
    at = find(index, 0, from, covered, looked);
    if (at < covered) {
        qatomic_and(&index->level[0][BIT_WORD(at)], ~BIT_MASK(at));
        smp_mb__after_rmw();
        leave_word(index, 0, BIT_WORD(at));
    }
    return at;
}
