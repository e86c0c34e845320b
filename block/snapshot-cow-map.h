/*
 * What was written to a disk, held in memory: a stack of layers.
 *
 * A disk is cut into clusters of COW_CLUSTER bytes.  A layer holds some of
 * them; what it does not hold is in the layer below it, and below the lowest
 * one is the image, of which nothing is known here.  Only the top layer
 * changes: to save is to put an empty one on top, to restore is to empty it.
 *
 * A layer is a hash table of chunks of COW_CHUNK clusters each, with a bit for
 * each cluster that it holds, so that an empty layer costs nothing, a restore
 * is as long as what was written, and one look-up tells of 64 clusters.  A
 * cluster that is held without data reads as zeros; a whole disk may be zeroed
 * at little cost.
 *
 * Not thread-safe: callers have a lock.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOCK_SNAPSHOT_COW_MAP_H
#define BLOCK_SNAPSHOT_COW_MAP_H

#define COW_CLUSTER_BITS 12
#define COW_CLUSTER (1 << COW_CLUSTER_BITS)
#define COW_CHUNK 64            /* bits of CowChunk.held */

typedef struct CowMap CowMap;

/**
 * cow_map_new: a map with one empty layer; free it with cow_map_free()
 */
CowMap *cow_map_new(void);
void cow_map_free(CowMap *map);

/**
 * cow_map_set_limit: how many bytes the map may take, 0 for any number
 *
 * What is held already stays, even if it is more.
 */
void cow_map_set_limit(CowMap *map, uint64_t limit);
uint64_t cow_map_limit(const CowMap *map);

/**
 * cow_map_bytes: how much memory the map takes now
 */
uint64_t cow_map_bytes(const CowMap *map);

/**
 * cow_map_run: how many of the clusters [@cluster, @cluster + @max) are like
 * the first of them: held by some layer, or by none (@held)
 *
 * At least one, and possibly less than there are: ask again.
 */
uint64_t cow_map_run(const CowMap *map, uint64_t cluster, uint64_t max,
                     bool *held);

/**
 * cow_map_read: the content of @cluster, which is held
 *
 * NULL stands for zeros.  Valid until the map changes.
 */
const uint8_t *cow_map_read(const CowMap *map, uint64_t cluster);

/**
 * cow_map_claim: the content of @cluster in the top layer, to be changed
 * @data: set to COW_CLUSTER bytes, valid until the map changes
 * @whole: all of it is going to be overwritten, so that it may be undefined
 * @base: content if no layer holds the cluster; may be NULL if @whole
 *
 * Returns 0; -EDQUOT if the limit does not allow it, or -ENOMEM.
 */
int cow_map_claim(CowMap *map, uint64_t cluster, bool whole,
                  const uint8_t *base, uint8_t **data);

/**
 * cow_map_zero: let @n clusters from @cluster on read as zeros
 *
 * Returns 0, or -EDQUOT.
 */
int cow_map_zero(CowMap *map, uint64_t cluster, uint64_t n);

/**
 * cow_map_discard: free the data of @n clusters from @cluster on
 *
 * Those that have data in the top layer become zeros; others stay as they are.
 */
void cow_map_discard(CowMap *map, uint64_t cluster, uint64_t n);

/**
 * cow_map_push: put an empty layer on top
 */
void cow_map_push(CowMap *map);

/**
 * cow_map_merge: let the top layer become part of the one below it, if any
 */
void cow_map_merge(CowMap *map);

/**
 * cow_map_drop: remove the top layer with what it holds, if there is another
 */
void cow_map_drop(CowMap *map);

/**
 * cow_map_revert: empty the top layer; returns how many clusters it held
 */
uint64_t cow_map_revert(CowMap *map);

/**
 * cow_map_layers: number of layers, at least one
 */
unsigned cow_map_layers(const CowMap *map);

/**
 * cow_map_held: how many clusters the layer @layer holds, 0 being the lowest
 */
uint64_t cow_map_held(const CowMap *map, unsigned layer);

/**
 * cow_map_checksum: of all that is held below the top layer
 *
 * The order in which things were written does not matter.
 */
uint64_t cow_map_checksum(const CowMap *map);

/* @n clusters from @cluster on; data[i] is NULL for zeros.  0 or an error */
typedef int CowMapFunc(uint64_t cluster, unsigned n, uint8_t *const *data,
                       void *opaque);

/**
 * cow_map_foreach: call @fn for each run of clusters in the lowest layer
 *
 * The data of a run is all there, or all of it is zeros.  Ends with the first
 * result that is not 0, and returns it.
 */
int cow_map_foreach(const CowMap *map, CowMapFunc *fn, void *opaque);

#endif
