/*
 * In-process machine snapshots: what a shape is made of (shape.c and
 * shape-walk.c only).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef MIGRATION_SNAPSHOT_SHAPE_STEPS_H
#define MIGRATION_SNAPSHOT_SHAPE_STEPS_H

#include "shape.h"

typedef enum SnapshotStepKind {
    SNAPSHOT_STEP_MEMORY,       /* fields: compared, written by a load */
    SNAPSHOT_STEP_GUARD,        /* a pointer or a count that others rely on */
    SNAPSHOT_STEP_TIMER,        /* a timer's deadline */
    SNAPSHOT_STEP_NEEDED,       /* is this (sub)section needed? */
    SNAPSHOT_STEP_EXISTS,       /* does this field exist? */
    SNAPSHOT_STEP_PRE_SAVE,     /* hook, called when comparing */
    SNAPSHOT_STEP_PRE_LOAD,     /* hook, called when loading */
    SNAPSHOT_STEP_POST_LOAD,    /* hook, called when loading */
} SnapshotStepKind;

/* In place of the offset of a copy: the memory was all zeros */
#define SNAPSHOT_STEP_ZEROS SIZE_MAX

typedef struct SnapshotStep {
    SnapshotStepKind kind;
    void *opaque;           /* for the function, or where the memory is */
    union {
        struct {
            size_t len;
            size_t copy;    /* offset in SnapshotShape.copies, or ..._ZEROS */
        } memory;
        struct {
            int (*call)(void *opaque);
        } hook;
        struct {
            int (*call)(void *opaque, int version_id);
            int version_id;
        } post_load;
        struct {
            bool (*ask)(void *opaque);
            bool answer;
        } needed;
        struct {
            bool (*ask)(void *opaque, int version_id);
            int version_id;
            bool answer;
        } exists;
    };
} SnapshotStep;

/* A pointer that a loader sets to new memory, whatever it points to */
typedef struct SnapshotAllocation {
    void **pointer;
    void *before;           /* where it pointed before the load */
} SnapshotAllocation;

struct SnapshotShape {
    GArray *steps;          /* of SnapshotStep, in the order of vmstate */
    GArray *absent;         /* of SnapshotStep: fields that were not needed */
    GArray *additions;      /* of SnapshotStep: memory that is in no section */
    GByteArray *copies;     /* of all memory, one after the other */
    GArray *allocations;    /* of SnapshotAllocation */
    GPtrArray *temporaries; /* structures of VMSTATE_WITH_TMP fields */
    bool complete;          /* the steps tell all */
    bool loadable;          /* writing memory is all that a loader does */
    bool no_reset;          /* loading needs no reset first */
    bool absent_needed;     /* at the last comparison: some of @absent are */
};

#endif
