/*
 * In-process machine snapshots: a section as the memory that it describes.
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

/* How a section compares with its shape */
typedef enum SnapshotChange {
    SNAPSHOT_CHANGE_NONE,       /* it would serialise to the same bytes */
    SNAPSHOT_CHANGE_CONTENT,    /* fields have changed, or may have */
    SNAPSHOT_CHANGE_FORM,       /* and pointers, counts or what is needed */
} SnapshotChange;

/**
 * snapshot_shape_new: take the shape that @opaque has now
 *
 * @vmsd and what it refers to must outlive the shape.  Free it with
 * snapshot_shape_free().
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
 * snapshot_shape_steps: how many steps it takes to compare, for statistics
 */
size_t snapshot_shape_steps(const SnapshotShape *shape);

/**
 * snapshot_shape_loadable: may snapshot_shape_load() be used?
 *
 * It may if the shape is complete and no field is read by code of its own.
 */
bool snapshot_shape_loadable(const SnapshotShape *shape);

/**
 * snapshot_shape_no_reset: does snapshot_shape_load() need no reset first?
 *
 * False if this is not known.
 */
bool snapshot_shape_no_reset(const SnapshotShape *shape);

/**
 * snapshot_shape_compare: has the section changed?
 *
 * Calls the description's hooks, as serialising does.  A change may be a false
 * alarm, and then a new shape should be taken; SNAPSHOT_CHANGE_NONE is exact if
 * the shape is complete.
 */
SnapshotChange snapshot_shape_compare(SnapshotShape *shape);

/**
 * snapshot_shape_load: do what loading the section does
 *
 * Writes the fields, arms the timers, and calls the description's hooks in the
 * order in which vmstate_load_state() would.  For a loadable shape that
 * snapshot_shape_compare() has just found SNAPSHOT_CHANGE_CONTENT in.
 *
 * Returns false if a hook failed: then the section is half loaded.
 */
bool snapshot_shape_load(const SnapshotShape *shape);

/**
 * snapshot_shape_before_load, snapshot_shape_after_load: around a load by
 * vmstate_load_state()
 *
 * That allocates the memory of some fields (VMS_ALLOC) and forgets what they
 * had.  This frees it.
 */
void snapshot_shape_before_load(SnapshotShape *shape);
void snapshot_shape_after_load(SnapshotShape *shape);

/**
 * snapshot_shape_put_back: write plain fields back to where they were
 *
 * For a section that was loaded and still differs: its loader leaves alone the
 * fields of subsections that the snapshot does not have, and it may compute
 * fields anew.  Fields behind a pointer that has changed are left as they are.
 */
void snapshot_shape_put_back(const SnapshotShape *shape);

/**
 * snapshot_shape_additions_same: is memory that is in no section as it was?
 *
 * See snapshot_walk_register_addition().
 */
bool snapshot_shape_additions_same(const SnapshotShape *shape);

/**
 * snapshot_shape_put_back_additions: write that memory back
 *
 * For a section that was loaded from its bytes.
 */
void snapshot_shape_put_back_additions(const SnapshotShape *shape);

/**
 * snapshot_shape_free: free @shape, which may be NULL
 */
void snapshot_shape_free(SnapshotShape *shape);

#endif
