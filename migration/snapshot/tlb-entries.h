/*
 * In-process machine snapshots: the entries of a vCPU's TLB under TCG.
 *
 * QEMU keeps them in CPUState: a table for each MMU index (a mode of the
 * processor), looked up by address, and a few victims of each that were there
 * before.  A page that can be stored to without a call is "open" here: its
 * entry does not have TLB_NOTDIRTY.
 *
 * All but the vCPU itself may call these only while it executes no code.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef MIGRATION_SNAPSHOT_TLB_ENTRIES_H
#define MIGRATION_SNAPSHOT_TLB_ENTRIES_H

#include "exec/vaddr.h"
#include "hw/core/cpu.h"

/* @length addresses from @base on */
typedef struct SnapshotSpan {
    vaddr base;
    uint64_t length;
} SnapshotSpan;

/* Is there an entry, of whatever MMU index? */
static inline bool snapshot_tlb_used(CPUState *cpu)
{
    return qatomic_read(&cpu->neg.tlb.c.dirty);
}

/* Is @full the description of an entry of this MMU index? */
bool snapshot_tlb_belongs(CPUState *cpu, int mmu_idx,
                          const CPUTLBEntryFull *full);

/*
 * Have stores to the page @addr take the slow path, but for those by way of the
 * MMU index @but (-1: none).
 */
void snapshot_tlb_close(CPUState *cpu, vaddr addr, int but);

/*
 * Forget what is known of the page @addr, and the code that was found there;
 * but keep entries of the MMU index @but.
 */
void snapshot_tlb_drop_page(CPUState *cpu, vaddr addr, int but);

/* The same of all addresses in @spans */
void snapshot_tlb_drop(CPUState *cpu, const SnapshotSpan *spans, size_t n,
                       int but);

/*
 * QEMU makes a table larger only when it is flushed, and ours are not: flush
 * those that are full by now.
 */
void snapshot_tlb_make_room(CPUState *cpu);

/* An entry, without what it has for single kinds of access */
typedef struct SnapshotTlbEntry {
    int mmu_idx;
    vaddr addr;
    hwaddr phys;
    ram_addr_t ram;             /* where it is, if @write */
    bool write, exec;
    bool open;                  /* RAM, and stores take no slow path */
} SnapshotTlbEntry;

typedef bool SnapshotTlbFunc(const SnapshotTlbEntry *entry, void *opaque);

/*
 * Call @fn for each entry that says where a page is.  Returns false once @fn
 * has.
 */
bool snapshot_tlb_each(CPUState *cpu, SnapshotTlbFunc *fn, void *opaque);

#endif
