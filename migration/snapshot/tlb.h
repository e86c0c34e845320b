/*
 * In-process machine snapshots: TLBs that outlive a restore, under TCG.
 *
 * Calls come from track-tcg.c, with the BQL held and the machine at rest.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef MIGRATION_SNAPSHOT_TLB_PRIVATE_H
#define MIGRATION_SNAPSHOT_TLB_PRIVATE_H

#include "internal.h"

/*
 * A save is complete.  TLBs are flushed; if @keep, and if this can be done for
 * the machine, those that vCPUs fill from now on are kept by restores.
 */
void snapshot_tlb_saved(const SnapshotRam *ram, bool keep);

/* There is no snapshot any more. */
void snapshot_tlb_stop(void);

/* A restore begins, and nothing was put back yet.  @keep as it says. */
void snapshot_tlb_begin(bool keep);

/* [@offset, @offset + @len) of @block will become what is at @saved. */
void snapshot_tlb_ram_changes(const SnapshotBlock *block, size_t offset,
                              size_t len, const uint8_t *saved);

/*
 * A restore is complete: drop what may not be kept.  Returns false if nothing
 * could be.
 */
bool snapshot_tlb_end(void);

/* Is what TLBs have what the page tables say?  If not, name an entry. */
bool snapshot_tlb_verify(Error **errp);

#endif
