/*
 * Block driver "snapshot-cow": state of a node, shared by its two parts.
 *
 * snapshot-cow.c has the requests, snapshot-cow-layers.c what the engine of
 * machine snapshots asks for.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOCK_SNAPSHOT_COW_STATE_H
#define BLOCK_SNAPSHOT_COW_STATE_H

#include "block/block_int.h"
#include "snapshot-cow-map.h"

#define COW_DRIVER "snapshot-cow"
#define COW_OPT_IMAGE "image"

extern BlockDriver bdrv_snapshot_cow;

typedef struct CowState {
    BdrvChild *image;
    int64_t length;
    bool inserted;          /* by snapshot_cow_insert() */
    bool committing;        /* the image may be written to */

    /*
     * Requests may come from several threads.  The lock is held while memory
     * is copied, never across a yield.
     */
    QemuMutex lock;
    CowMap *map;
    uint64_t failed;
    bool told;              /* that requests fail, since the last save */

    /* For snapshot_cow_verify() */
    GArray *checksums;      /* uint64_t: of all that was held, at each save */
    uint64_t writes;        /* write_gen of all nodes below, at the last */
} CowState;

/* The name of the disk that @bs makes up, for messages */
const char *cow_name(BlockDriverState *bs);

#endif
