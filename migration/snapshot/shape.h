/*
 * In-process machine snapshots: has a section changed, without serialising it?
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef MIGRATION_SNAPSHOT_SHAPE_H
#define MIGRATION_SNAPSHOT_SHAPE_H

#include "migration/vmstate.h"

/*
 * What the serialised form of a section depends on, and a copy of it: the
 * memory that its description names, and what the description's functions
 * answer.
 */
typedef struct SnapshotShape SnapshotShape;

/**
 * snapshot_shape_new: take the shape that @opaque has now
 */
SnapshotShape *snapshot_shape_new(const VMStateDescription *vmsd, void *opaque);

/**
 * snapshot_shape_complete: does the description tell all?
 *
 * It does not if it has a field that is written by code of its own.  Whether
 * such a section has changed is known only after serialising it.
 */
bool snapshot_shape_complete(const SnapshotShape *shape);

/**
 * snapshot_shape_same: would it serialise to the same bytes?
 *
 * Calls the description's hooks, as serialising does.  False may be a false
 * alarm, and then a new shape should be taken; true is exact if the shape is
 * complete.
 */
bool snapshot_shape_same(const SnapshotShape *shape);

/**
 * snapshot_shape_put_back: write plain fields back to where they were
 *
 * For a section that was loaded and still differs: its loader leaves alone the
 * fields of subsections that the snapshot does not have, and it may compute
 * fields anew.  Fields behind a pointer that has changed are left as they are.
 */
void snapshot_shape_put_back(const SnapshotShape *shape);

void snapshot_shape_free(SnapshotShape *shape);

#endif
