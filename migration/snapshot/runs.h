/*
 * Taking runs of set bits out of a dirty bitmap.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef MIGRATION_SNAPSHOT_RUNS_H
#define MIGRATION_SNAPSHOT_RUNS_H

#include "qemu/bitmap.h"

/**
 * snapshot_take_run: find and clear the first run of set bits
 * @map: the bitmap; may be changed by other threads meanwhile
 * @end: look at bits below this one
 * @at: look from this bit on; set to the first bit of the run
 *
 * Returns the length of the run in bits, 0 if no bit is set; then @at is @end.
 */
static inline unsigned long snapshot_take_run(unsigned long *map,
                                              unsigned long end,
                                              unsigned long *at)
{
    unsigned long len;

    *at = find_next_bit(map, end, *at);
    if (*at >= end) {
        *at = end;
        return 0;
    }
    len = find_next_zero_bit(map, end, *at) - *at;
    bitmap_test_and_clear_atomic(map, *at, len);
    return len;
}

#endif
