/*
 * Durations sorted into buckets, so that percentiles can be told at the cost
 * of one increment for each.
 *
 * A bucket spans a sixteenth of a power of two: what is told of a duration is
 * never more than 1/16 off.  Below 16 ns each value has a bucket of its own.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef MIGRATION_SNAPSHOT_HISTOGRAM_H
#define MIGRATION_SNAPSHOT_HISTOGRAM_H

#include "qemu/host-utils.h"

#define SNAPSHOT_HISTOGRAM_BITS 4
#define SNAPSHOT_HISTOGRAM_STEPS (1u << SNAPSHOT_HISTOGRAM_BITS)
#define SNAPSHOT_HISTOGRAM_BUCKETS \
    ((64 - SNAPSHOT_HISTOGRAM_BITS + 1) * SNAPSHOT_HISTOGRAM_STEPS)

/* The bucket that @ns belongs to */
static inline unsigned int snapshot_histogram_bucket(uint64_t ns)
{
    int shift;

    if (ns < SNAPSHOT_HISTOGRAM_STEPS) {
        return ns;
    }
    shift = 63 - clz64(ns) - SNAPSHOT_HISTOGRAM_BITS;
    return shift * SNAPSHOT_HISTOGRAM_STEPS + (ns >> shift);
}

/* The largest duration that belongs to @bucket, in ns */
static inline uint64_t snapshot_histogram_last(unsigned int bucket)
{
    unsigned int shift;
    uint64_t step;

    if (bucket < 2 * SNAPSHOT_HISTOGRAM_STEPS) {
        return bucket;
    }
    shift = bucket / SNAPSHOT_HISTOGRAM_STEPS - 1;
    step = bucket % SNAPSHOT_HISTOGRAM_STEPS + SNAPSHOT_HISTOGRAM_STEPS;
    /* For the very last bucket the sum wraps around to all ones. */
    return ((step + 1) << shift) - 1;
}

#endif
