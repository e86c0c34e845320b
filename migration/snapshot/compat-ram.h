/*
 * In-process machine snapshots: RAM and TCG interfaces of QEMU that moved or
 * changed between versions, for the files that look at RAM.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef MIGRATION_SNAPSHOT_COMPAT_RAM_H
#define MIGRATION_SNAPSHOT_COMPAT_RAM_H

#include "migration/snapshot-compat.h"
#include "cpu.h"
#include "exec/cputlb.h"
#include "exec/target_page.h"
#include "exec/translation-block.h"

#if SNAPSHOT_QEMU_SINCE(10, 1)
#include "exec/tlb-flags.h"
#include "system/address-spaces.h"
#include "system/memory.h"
#include "system/ram_addr.h"
#include "system/ramblock.h"
#else
#include "exec/address-spaces.h"
#include "exec/exec-all.h"
#include "exec/memory.h"
#include "exec/ram_addr.h"
#include "exec/ramblock.h"
#endif

#if SNAPSHOT_QEMU_SINCE(10, 2)
#include "exec/icount.h"
#include "system/physmem.h"
#define snapshot_tlb_fast cpu_tlb_fast
#define snapshot_set_dirty_range physical_memory_set_dirty_range
#define snapshot_is_clean physical_memory_is_clean
/* No vCPU runs, so none needs to be told apart. */
#define snapshot_invalidate_tbs(start, last) \
    tb_invalidate_phys_range(NULL, start, last)
#else
typedef uint16_t MMUIdxMap;
#define snapshot_tlb_fast(cpu, mmu_idx) (&(cpu)->neg.tlb.f[mmu_idx])
#define snapshot_set_dirty_range cpu_physical_memory_set_dirty_range
#define snapshot_is_clean cpu_physical_memory_is_clean
#define snapshot_invalidate_tbs tb_invalidate_phys_range
#endif

#endif
