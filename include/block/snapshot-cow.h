/*
 * Block driver "snapshot-cow": writes to a disk are held in memory and can be
 * taken back.
 *
 * What is written forms layers.  Only the top layer changes; those below are
 * states of the disk to which one can go back.
 *
 * All functions are for the main loop or a thread with the BQL, outside of
 * coroutines, with no request to the disk under way.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOCK_SNAPSHOT_COW_H
#define BLOCK_SNAPSHOT_COW_H

#include "block/block-common.h"

/* State of one node */
typedef struct SnapshotCowStats {
    uint64_t bytes;         /* memory that the writes take */
    uint64_t limit;         /* on that, 0: none */
    uint64_t clusters;      /* of 4 KiB, in the top layer */
    uint64_t failed;        /* requests that failed for the limit or memory */
} SnapshotCowStats;

/**
 * snapshot_cow_is: is @bs a node of this driver?
 */
bool snapshot_cow_is(BlockDriverState *bs);

/**
 * snapshot_cow_name: the name of the disk for messages, with no node inserted
 */
const char *snapshot_cow_name(BlockDriverState *cow);

/**
 * snapshot_cow_insert: put a node above @bs, for all that use @bs
 * @limit: bytes of memory for writes, 0 for no limit
 *
 * @bs is flushed and will not be written to any more.  Returns the node, with
 * a reference that belongs to the caller, or NULL.
 */
BlockDriverState *snapshot_cow_insert(BlockDriverState *bs, uint64_t limit,
                                      Error **errp);

/**
 * snapshot_cow_remove: write all that @cow holds to the image, take @cow away
 *
 * References to @cow stay with those who have them.  A node that was not put
 * there by snapshot_cow_insert() stays where it is, and what it holds becomes
 * one layer.  So it is on failure.
 */
bool snapshot_cow_remove(BlockDriverState *cow, Error **errp);

/**
 * snapshot_cow_set_limit: change the limit of a node
 *
 * Only of one put there by snapshot_cow_insert(); others have their own.
 */
void snapshot_cow_set_limit(BlockDriverState *cow, uint64_t limit);

/**
 * snapshot_cow_save: remember the state of the disk
 * @replace: in place of all states remembered before, else on top of them
 */
void snapshot_cow_save(BlockDriverState *cow, bool replace);

/**
 * snapshot_cow_revert: go back to the state that was remembered last
 *
 * Returns how many clusters of 4 KiB had been written since.
 */
uint64_t snapshot_cow_revert(BlockDriverState *cow);

/**
 * snapshot_cow_pop: forget the state that was remembered last
 *
 * The one before it is what snapshot_cow_revert() goes back to; it has to be
 * called next.
 */
void snapshot_cow_pop(BlockDriverState *cow);

/**
 * snapshot_cow_verify: is the disk in the state remembered last?
 *
 * Nothing was written since, what was remembered has the same checksum, and
 * no node below has been written to.
 */
bool snapshot_cow_verify(BlockDriverState *cow, Error **errp);

/**
 * snapshot_cow_stats: numbers for @cow
 */
void snapshot_cow_stats(BlockDriverState *cow, SnapshotCowStats *stats);

#endif
