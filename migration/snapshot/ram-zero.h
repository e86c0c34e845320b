/*
 * Looking for RAM that is zero, without touching what was never used.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef MIGRATION_SNAPSHOT_RAM_ZERO_H
#define MIGRATION_SNAPSHOT_RAM_ZERO_H

#include "internal.h"

typedef struct SnapshotZero SnapshotZero;

/**
 * snapshot_zero_new: begin to look at @block from its start to its end
 *
 * Free the result with snapshot_zero_free().
 */
SnapshotZero *snapshot_zero_new(const SnapshotBlock *block);
void snapshot_zero_free(SnapshotZero *zero);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(SnapshotZero, snapshot_zero_free)

/**
 * snapshot_zero_is: are these @len bytes at @offset zero?
 *
 * Both are multiples of the host's page size.  Cheap if asked in the order of
 * offsets.
 */
bool snapshot_zero_is(SnapshotZero *zero, size_t offset, size_t len);

/**
 * snapshot_zero_mapped: from now on, RAM may be a mapping of a file
 *
 * Then a page that is not there may have the content of the file, and all are
 * read.
 */
void snapshot_zero_mapped(void);

#endif
