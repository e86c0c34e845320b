/*
 * Putting back RAM that is a private mapping: by dropping private pages, or by
 * copying into them.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef MIGRATION_SNAPSHOT_RAM_MAPPED_H
#define MIGRATION_SNAPSHOT_RAM_MAPPED_H

#include "internal.h"

/**
 * snapshot_mapped_new: for RAM of which @bytes are mapped
 * @choose: take the way that is cheaper; else always drop
 */
SnapshotMapped *snapshot_mapped_new(size_t bytes, bool choose);
void snapshot_mapped_free(SnapshotMapped *mapped);

/**
 * snapshot_mapped_add: @len bytes at @offset of @block have to go back
 * @copy: they shall not be dropped
 */
void snapshot_mapped_add(SnapshotMapped *mapped, SnapshotBlock *block,
                         size_t offset, size_t len, bool copy);

/**
 * snapshot_mapped_finish: put back what was added, blocks of @ram
 *
 * Returns how many pages were put back by dropping them.
 */
uint64_t snapshot_mapped_finish(SnapshotMapped *mapped, SnapshotRam *ram);

#endif
