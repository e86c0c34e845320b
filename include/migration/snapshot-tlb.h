/*
 * In-process machine snapshots: TLBs that outlive a restore, under TCG.
 *
 * What the lines that the graft inserts into QEMU call.  See
 * migration/snapshot/tlb.h for what it is about.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef MIGRATION_SNAPSHOT_TLB_H
#define MIGRATION_SNAPSHOT_TLB_H

#if defined(CONFIG_TCG) && !defined(CONFIG_USER_ONLY)

#include "exec/cpu-common.h"
#include "hw/core/cpu.h"
#include "qemu/atomic.h"

/* Are TLBs kept?  Changes only while no vCPU executes code. */
extern bool snapshot_tlb_on;

/* Is a restore under way that flushes TLBs itself, at its end? */
extern bool snapshot_tlb_restoring;

/* The functions that snapshot_tlb_store() and snapshot_tlb_opened() call */
void snapshot_tlb_note_store(CPUState *cpu, ram_addr_t ram,
                             const CPUTLBEntryFull *full);
void snapshot_tlb_note_opened(CPUState *cpu, vaddr addr, ram_addr_t ram,
                              const CPUTLBEntryFull *full);

/*
 * Shall a new entry of a TLB send the first store through it to the slow path,
 * even if its page is known to be written to?
 */
static inline bool snapshot_tlb_closed(void)
{
    return unlikely(qatomic_read(&snapshot_tlb_on));
}

/* A store takes the slow path, to @ram, by way of the entry @full. */
static inline void snapshot_tlb_store(CPUState *cpu, ram_addr_t ram,
                                      const CPUTLBEntryFull *full)
{
    if (unlikely(qatomic_read(&snapshot_tlb_on))) {
        snapshot_tlb_note_store(cpu, ram, full);
    }
}

/* Further stores to the page of @addr, which is at @ram, will not. */
static inline void snapshot_tlb_opened(CPUState *cpu, vaddr addr,
                                       ram_addr_t ram,
                                       const CPUTLBEntryFull *full)
{
    if (unlikely(qatomic_read(&snapshot_tlb_on))) {
        snapshot_tlb_note_opened(cpu, addr, ram, full);
    }
}

#else

#define snapshot_tlb_restoring false

#endif

#endif
