/*
 * In-process machine snapshots: coverage, what its two halves share.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef MIGRATION_SNAPSHOT_COVERAGE_PRIVATE_H
#define MIGRATION_SNAPSHOT_COVERAGE_PRIVATE_H

#include "exec/vaddr.h"

/* A place that was interrupted, and that nobody has returned to yet */
typedef struct SnapshotCoveragePlace {
    uint64_t pc, sp;
    uint64_t space;         /* page tables of a user's code, 0: the kernel's */
    uint32_t previous;      /* SnapshotCoverageCpu.previous and .rest then */
    uint32_t rest;
} SnapshotCoveragePlace;

/* Threads that were interrupted in a run and switched from, at most */
#define SNAPSHOT_COVERAGE_PLACES 8

/*
 * What translated code reads and writes, one for each vCPU.  Whether an edge
 * counts is a matter of where the pointers lead: to the map, or to memory that
 * nobody reads.  So the code has no branch.
 */
typedef struct SnapshotCoverageCpu {
    uint8_t *any;           /* counters for ranges of whatever process */
    uint8_t *process;       /* counters for ranges of one process */
    uint32_t previous;      /* location of the block before, halved */
    uint32_t rest;          /* 1 + location of what was cut off it, or 0 */

    /* The rest is not for translated code. */
    bool in_process;        /* the page tables are those of the process */
    bool interrupted;       /* at the last of these places, by what goes on */
    unsigned int n_places;
    SnapshotCoveragePlace places[SNAPSHOT_COVERAGE_PLACES];
} SnapshotCoverageCpu;

/* log2 of their size, for an array of them */
#define SNAPSHOT_COVERAGE_CPU_SHIFT 9

QEMU_BUILD_BUG_ON(sizeof(SnapshotCoverageCpu) >
                  1 << SNAPSHOT_COVERAGE_CPU_SHIFT);

/* What a block has to do with coverage */
typedef struct SnapshotCoverageBlock {
    uint32_t location;      /* a hash, less than the size of the map */
    bool process;           /* counts for one process only */
} SnapshotCoverageBlock;

/* For each vCPU, by ->cpu_index: elements of 1 << ..._CPU_SHIFT bytes */
extern uint8_t *snapshot_coverage_cpus;

/* Does a block that begins at @pc count?  Called from any vCPU thread. */
bool snapshot_coverage_find(vaddr pc, SnapshotCoverageBlock *block);

#endif
