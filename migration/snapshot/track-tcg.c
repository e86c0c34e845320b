/*
 * In-process machine snapshots: page tracking under TCG, and under qtest.
 *
 * A TLB entry for a page that is clean in the dirty bitmap sends the first
 * store to the slow path, which marks the page; then the entry lets stores
 * pass.  So there is nothing to ask for, but when bits were cleared, TLBs must
 * hear of it, as they must of page tables that went back (tlb.c).  Translated
 * code of a page that changes must go, too; the translation cache as a whole
 * stays.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "system/qtest.h"
#include "system/tcg.h"
#include "compat-ram.h"
#include "internal.h"
#include "tlb.h"

#ifdef CONFIG_TCG
static bool tcg_usable(void)
{
    return tcg_enabled();
}

static void tcg_ram_changes(SnapshotBlock *block, size_t offset, size_t len,
                            const uint8_t *saved)
{
    ram_addr_t start = block->offset + offset;

    /* Pages that hold translated code are clean in this bitmap. */
    if (snapshot_any_clean(DIRTY_MEMORY_CODE, start, len)) {
        snapshot_invalidate_tbs(start, start + len - 1);
    }
    if (saved) {
        snapshot_tlb_ram_changes(block, offset, len, saved);
    }
}

const SnapshotTracker snapshot_track_tcg = {
    .name = "tcg",
    .usable = tcg_usable,
    .ram_changes = tcg_ram_changes,
    .begin = snapshot_tlb_begin,
    .flush = snapshot_tlb_end,
    .saved = snapshot_tlb_saved,
    .verify = snapshot_tlb_verify,
    .stop = snapshot_tlb_stop,
};
#endif

static bool qtest_usable(void)
{
    return qtest_enabled();
}

/* There is no vCPU that could have anything cached. */
static bool qtest_flush(void)
{
    return false;
}

static void qtest_saved(const SnapshotRam *ram, bool keep)
{
}

const SnapshotTracker snapshot_track_qtest = {
    .name = "qtest",
    .usable = qtest_usable,
    .flush = qtest_flush,
    .saved = qtest_saved,
};
