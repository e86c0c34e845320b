/*
 * Edges of code: pairs of blocks, executed one after the other, in a map of
 * counters.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef LIBSNAPSHOT_EDGES_H
#define LIBSNAPSHOT_EDGES_H

#include <stdint.h>

/* Count, and skip zero when it wraps. */
static inline void edge_count(uint8_t *map, uint32_t at)
{
    uint8_t n = map[at] + 1;

    map[at] = n + !n;
}

/*
 * Count the edge to the block at the address @block, in a map of @size bytes.
 * @previous is where it comes from, as the last call has left it; 0 at first.
 */
static inline void edge_count_hashed(uint8_t *map, uint32_t size,
                                     uint64_t *previous, uint64_t block)
{
    /* Fibonacci hashing: the upper bits depend on all of the address. */
    uint64_t hash = block * UINT64_C(0x9e3779b97f4a7c15) >> 32;

    edge_count(map, (hash ^ *previous) % size);
    *previous = hash >> 1;
}

#endif
