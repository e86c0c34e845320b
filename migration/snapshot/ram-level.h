/*
 * In-process machine snapshots: levels of saved RAM, and pages left alone.
 *
 * The RAM engine keeps all of RAM as it was at the first save.  A level on top
 * of that keeps the pages that differ from the level below, in an overlay per
 * block.  So the content of a page is in the topmost overlay that has it, and
 * with the RAM engine if there is none.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef MIGRATION_SNAPSHOT_RAM_LEVEL_H
#define MIGRATION_SNAPSHOT_RAM_LEVEL_H

#include "qemu/interval-tree.h"
#include "internal.h"

/*
 * What a level keeps of a block.  @pages is as large as the block and each
 * page is where it is in the block, so that neighbours are copied in one go;
 * what was never written to takes no memory.
 */
struct SnapshotOverlay {
    SnapshotOverlay *below;     /* NULL: below is the RAM engine's */
    uint8_t *pages;
    size_t size;                /* of @pages, in bytes */
    unsigned long *present;     /* a bit for each page that is kept */
};

/*
 * Put a level on top of @ram, with the content that RAM has now.  On failure
 * nothing has changed.
 */
SnapshotResult snapshot_level_push(SnapshotRam *ram, Error **errp);

/*
 * Take the topmost level off @ram, which has more than the first one.  Its
 * pages count as written since, so that the next restore puts them back.
 */
void snapshot_level_pop(SnapshotRam *ram);

/*
 * Take the pages that levels above the first keep for written, so that a save
 * may bring the first one up to date with them.
 */
void snapshot_level_mark(SnapshotRam *ram);

/* Forget all levels above the first. */
void snapshot_level_forget(SnapshotRam *ram);

/* How many bytes of pages does level @level of @ram keep?  0: the first */
uint64_t snapshot_level_bytes(const SnapshotRam *ram, unsigned int level);

/*
 * [@offset, @offset + @len) of @block has its saved content at @saved; NULL
 * where the RAM engine has it.
 */
typedef void SnapshotPartFunc(SnapshotBlock *block, size_t offset, size_t len,
                              const uint8_t *saved, void *opaque);

/*
 * Call @fn for the parts of [@offset, @offset + @len) (whole pages) that are
 * not excluded, each of which is kept in one piece.
 */
void snapshot_level_parts(SnapshotBlock *block, size_t offset, size_t len,
                          SnapshotPartFunc *fn, void *opaque);

/*
 * Pages that restores leave alone (exclude.c).  They belong to no snapshot:
 * the list is there before the first save and after the next one.
 */

/* Excluded parts of a block: intervals of offsets, disjoint and not adjacent */
struct SnapshotExcluded {
    char *idstr;                /* of the block; blocks come and go */
    IntervalTreeRoot parts;
    QTAILQ_ENTRY(SnapshotExcluded) next;
};

/* Add guest-physical memory.  On failure nothing has changed. */
SnapshotResult snapshot_exclude_add(uint64_t start, uint64_t length,
                                    Error **errp);

/* Empty the list; no SnapshotBlock may point to it any more. */
void snapshot_exclude_clear(void);

/* What is excluded of the block @idstr; NULL if nothing is */
SnapshotExcluded *snapshot_exclude_find(const char *idstr);

/* Tell all blocks of @ram what is excluded of them now. */
void snapshot_exclude_attach(SnapshotRam *ram);

/* Take all excluded pages of @ram for written. */
void snapshot_exclude_mark(SnapshotRam *ram);

/*
 * Is the page at @offset excluded?  Shortens @len to the pages from there on
 * of which the same is true.
 */
bool snapshot_exclude_has(const SnapshotBlock *block, size_t offset,
                          size_t *len);

SnapshotDeviceExcludedList *snapshot_exclude_list(void);

/* How often the list has changed; to see whether it has */
unsigned int snapshot_exclude_changes(void);

#endif
