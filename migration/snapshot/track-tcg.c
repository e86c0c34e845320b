/*
 * In-process machine snapshots: page tracking under TCG, and under qtest.
 *
 * A TLB entry for a page that is clean in the dirty bitmap sends the first
 * store to the slow path, which marks the page; then the entry lets stores
 * pass.  So there is nothing to ask for, but TLBs must be flushed when bits
 * were cleared.  They must be flushed anyhow, since page tables and control
 * registers changed with the rest, and nothing tells which of the pages put
 * back were page tables: a single one may be behind any entry of a TLB.
 * Translated code of a page that changed must go, too; the translation cache as
 * a whole stays.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "system/qtest.h"
#include "system/tcg.h"
#include "compat-ram.h"
#include "internal.h"

static bool tcg_usable(void)
{
    return tcg_enabled();
}

static void tcg_ram_changed(SnapshotBlock *block, size_t offset, size_t len)
{
    ram_addr_t start = block->offset + offset;

    /* Pages that hold translated code are clean in this bitmap. */
    if (snapshot_any_clean(DIRTY_MEMORY_CODE, start, len)) {
        snapshot_invalidate_tbs(start, start + len - 1);
    }
}

static void tcg_flush(void)
{
    CPUState *cpu;

    CPU_FOREACH(cpu) {
        /*
         * If no MMU index got an entry since it was last flushed, because the
         * load of the vCPU's section has just done that, there is nothing to
         * flush.  Then the cache of jump targets is empty as well: each flush
         * clears it, and what is put in it was looked up through the TLB.
         */
        if (qatomic_read(&cpu->neg.tlb.c.dirty)) {
            tlb_flush(cpu);
        }
    }
}

const SnapshotTracker snapshot_track_tcg = {
    .name = "tcg",
    .usable = tcg_usable,
    .ram_changed = tcg_ram_changed,
    .flush = tcg_flush,
};

static bool qtest_usable(void)
{
    return qtest_enabled();
}

static void qtest_flush(void)
{
    /* There is no vCPU that could have anything cached. */
}

const SnapshotTracker snapshot_track_qtest = {
    .name = "qtest",
    .usable = qtest_usable,
    .flush = qtest_flush,
};
