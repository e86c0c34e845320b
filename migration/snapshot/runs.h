/*
 * Runs of set bits in a word of a dirty bitmap.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef MIGRATION_SNAPSHOT_RUNS_H
#define MIGRATION_SNAPSHOT_RUNS_H

#include "qemu/bitmap.h"

/* Neighbouring pages: [from, to) */
typedef struct SnapshotRun {
    unsigned long from, to;
} SnapshotRun;

/**
 * snapshot_take_word: take the bits [@from, @to) out of a word of a bitmap
 * @word: the word; may be changed by other threads meanwhile
 *
 * @from < @to <= BITS_PER_LONG.  Returns the bits that were set, in their
 * places.
 */
static inline unsigned long snapshot_take_word(unsigned long *word,
                                               unsigned int from,
                                               unsigned int to)
{
    unsigned long mask = BITMAP_FIRST_WORD_MASK(from) &
                         BITMAP_LAST_WORD_MASK(to);

    if (!(qatomic_read(word) & mask)) {
        return 0;
    }
    return qatomic_fetch_and(word, ~mask) & mask;
}

/**
 * snapshot_take_run: take the first run of set bits out of @bits
 * @bits: not 0
 */
static inline SnapshotRun snapshot_take_run(unsigned long *bits)
{
    unsigned int from = ctzl(*bits);
    unsigned long above = ~(*bits >> from);
    /* All of @bits are set: a shift by its width would be undefined. */
    unsigned int to = above ? from + ctzl(above) : BITS_PER_LONG;

    *bits &= to < BITS_PER_LONG ? ~0ul << to : 0;
    return (SnapshotRun) { from, to };
}

/**
 * snapshot_join_runs: let @run grow by @next, if that goes on where it ends
 *
 * Returns whether it did.
 */
static inline bool snapshot_join_runs(SnapshotRun *run, SnapshotRun next)
{
    if (run->to != next.from) {
        return false;
    }
    run->to = next.to;
    return true;
}

#endif
