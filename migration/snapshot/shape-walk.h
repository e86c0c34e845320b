/*
 * In-process machine snapshots: the walk over a description, for those who
 * know what a field with code of its own reads and writes.
 *
 * To add such a field: a function that calls those below in the order in which
 * the field's put() reads memory, registered by migration_init().
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef MIGRATION_SNAPSHOT_SHAPE_WALK_H
#define MIGRATION_SNAPSHOT_SHAPE_WALK_H

#include "migration/vmstate.h"

typedef struct SnapshotWalk SnapshotWalk;

/* The field at @at is walked over; @size as in VMStateInfo's put(). */
typedef void SnapshotWalkField(SnapshotWalk *w, void *at, size_t size);

/**
 * snapshot_walk_register: @fn knows all fields whose VMStateInfo has this @name
 */
void snapshot_walk_register(const char *name, SnapshotWalkField *fn);

/**
 * snapshot_walk_register_addition: memory that belongs to all descriptions of
 * this @name
 * @offset: in what is described; it stays where it is
 *
 * It is in no section: registers that the device does not save, or what it has
 * computed from guest RAM, which goes back without the device being told.  It
 * is compared, verified and put back as if it were.
 */
void snapshot_walk_register_addition(const char *name, size_t offset,
                                     size_t len);

/* A field as an addition: @type is that of what is described by @name */
#define SNAPSHOT_ADDITION(name, type, field) \
    snapshot_walk_register_addition(name, offsetof(type, field), \
                                    sizeof_field(type, field))

/**
 * snapshot_walk_memory: the field reads this memory, and loading just writes it
 */
void snapshot_walk_memory(SnapshotWalk *w, void *at, size_t len);

/**
 * snapshot_walk_guard: the field reads this memory, and to load another value
 * takes more than writing it; or other memory is found through it
 */
void snapshot_walk_guard(SnapshotWalk *w, void *at, size_t len);

/**
 * snapshot_walk_guarded: @opaque is written by this description, and to load
 * it takes more than its hooks
 *
 * All its fields are guards, save those of descriptions named @plain, which
 * may be NULL.
 */
void snapshot_walk_guarded(SnapshotWalk *w, const VMStateDescription *vmsd,
                           void *opaque, const char *plain);

/**
 * snapshot_walk_no_reset: what is not guarded is loaded without a reset
 *
 * For a field that makes up its section.
 */
void snapshot_walk_no_reset(SnapshotWalk *w);

/**
 * snapshot_walk_incomplete: the field may depend on what was not told
 */
void snapshot_walk_incomplete(SnapshotWalk *w);

/**
 * snapshot_walk_not_loadable: as things stand, only the loader can load it
 */
void snapshot_walk_not_loadable(SnapshotWalk *w);

/* A guard, or memory: one field of the structure that @ptr points to */
#define SNAPSHOT_GUARD(w, ptr, field) \
    snapshot_walk_guard(w, &(ptr)->field, sizeof((ptr)->field))

#define SNAPSHOT_MEMORY(w, ptr, field) \
    snapshot_walk_memory(w, &(ptr)->field, sizeof((ptr)->field))

#endif
