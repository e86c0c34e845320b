/*
 * In-process machine snapshots: the page tables that a vCPU uses.
 *
 * For x86; of other targets nothing is known here.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef MIGRATION_SNAPSHOT_PAGE_TABLES_H
#define MIGRATION_SNAPSHOT_PAGE_TABLES_H

#include "exec/cpu-common.h"
#include "exec/hwaddr.h"
#include "exec/vaddr.h"

/*
 * The registers that translation of addresses depends on: where these are the
 * same, and the page tables are, addresses are translated alike.  There is no
 * padding, so that two can be compared as memory.
 */
typedef struct SnapshotRegime {
    uint64_t cr0, cr3, cr4, efer, a20_mask;
    uint32_t pkru, pkrs;
} SnapshotRegime;

/*
 * Read them.  Returns false if @cpu translates in a way that is not known
 * here: another target, virtualisation, system management mode.
 */
bool snapshot_regime(CPUState *cpu, SnapshotRegime *regime);

/* Has @regime page tables? */
bool snapshot_regime_paging(const SnapshotRegime *regime);

/* A page of page tables, in one of the places where it is used */
typedef struct SnapshotTable {
    ram_addr_t ram;         /* where it is */
    unsigned int level;     /* 0: its entries are of pages */
    unsigned int entry_bytes;
    vaddr base;             /* the first address that it is looked at for */
    uint64_t span;          /* how many there are; 0: all that there are */
    bool shared;            /* so is a table above it, in several places */
} SnapshotTable;

typedef enum SnapshotTableNext {
    SNAPSHOT_TABLE_ENTER,           /* go on with the tables below */
    SNAPSHOT_TABLE_ENTER_SHARED,    /* the same, and have them ->shared */
    SNAPSHOT_TABLE_LEAVE,           /* leave them out */
    SNAPSHOT_TABLE_STOP,
} SnapshotTableNext;

typedef SnapshotTableNext SnapshotTableFunc(const SnapshotTable *table,
                                            void *opaque);

/*
 * Call @fn for the page tables that @cpu uses, top down, in each place where
 * they are used.  Returns false if @fn has stopped it, or if a table is not in
 * RAM.
 */
bool snapshot_page_tables(CPUState *cpu, const SnapshotRegime *regime,
                          SnapshotTableFunc *fn, void *opaque);

/* Where an address is, and what may be done there */
typedef struct SnapshotMapping {
    hwaddr phys;            /* of the page of 4 KiB that it is in */
    bool write, exec;
    bool dirty;             /* page tables say that it was written to */
} SnapshotMapping;

/*
 * Look @addr up as the user or the kernel would, changing nothing.  Returns
 * false if it is not there, for them.
 */
bool snapshot_page_tables_look(CPUState *cpu, const SnapshotRegime *regime,
                               vaddr addr, bool user,
                               SnapshotMapping *mapping);

/* The MMU index by which the emulation of a vCPU reads its page tables */
int snapshot_table_mmu_index(void);

/* Is this the MMU index of user mode? */
bool snapshot_user_mmu_index(int mmu_idx);

/*
 * Where RAM is that @cpu sees at @phys, a page: its host address, and @ram as
 * in dirty bitmaps.  NULL: there is something else.  In an RCU read section.
 */
uint8_t *snapshot_find_ram(CPUState *cpu, hwaddr phys, ram_addr_t *ram);

#endif
