/*
 * In-process machine snapshots: which page tables there were at the save.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef MIGRATION_SNAPSHOT_TLB_TABLES_H
#define MIGRATION_SNAPSHOT_TLB_TABLES_H

#include "internal.h"
#include "page-tables.h"
#include "tlb-entries.h"

/* A page of page tables */
typedef struct SnapshotTlbTable {
    SnapshotSpan span;      /* the addresses that it is for; length 0: all */
    unsigned int entry_bytes;
    unsigned int levels;    /* a bit for each that it is used on */
    unsigned int shared;    /* the same, where it is for several addresses */
    bool stored;            /* the guest has stored to it since */
} SnapshotTlbTable;

/*
 * Begin a new list.  All of the tables must be in @ram, which is what restores
 * put back.
 */
void snapshot_tlb_tables_begin(const SnapshotRam *ram);

/*
 * Add those that @cpu uses, whose registers are @regime.  Returns false if they
 * cannot be listed: then nothing may be kept.
 */
bool snapshot_tlb_tables_add(CPUState *cpu, const SnapshotRegime *regime);

/* The list is complete.  Returns how many there are. */
unsigned int snapshot_tlb_tables_end(void);

/* Forget the list. */
void snapshot_tlb_tables_free(void);

/*
 * Is there a page table in the page at @ram?  This one and the next may be
 * called by vCPUs, from any thread.
 */
bool snapshot_tlb_is_table(ram_addr_t ram);

/* It, if there is one */
SnapshotTlbTable *snapshot_tlb_table(ram_addr_t ram);

/* The first page with a table from @page on, below @end; or @end */
unsigned long snapshot_tlb_next_table(unsigned long page, unsigned long end);

/*
 * Does a restore leave one alone, as it was excluded after the save?  Then
 * nobody knows where it leads by now.
 */
bool snapshot_tlb_tables_excluded(void);

/* Is the page at @ram in a block that restores put back? */
bool snapshot_tlb_in_block(ram_addr_t ram);

#endif
