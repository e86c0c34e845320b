/*
 * In-process machine snapshots: TLBs that outlive a restore, under TCG.
 *
 * To look up again what the guest uses costs more than to put it back: page
 * tables are walked, marked as written to on the way, and blocks of code are
 * found by a hash.  None of it is needed where addresses are translated as
 * they were before the restore.  That is so for a vCPU if
 *
 * - its registers for translation are those of the save (page-tables.h).  What
 *   it has looked up since they last changed was found with them: QEMU flushes
 *   TLBs when they change;
 * - no page table has changed since.  At a save those that are in use are
 *   listed (tlb-tables.h).  Only they can lead anywhere: one that is added is
 *   entered in one of them.
 *
 * The second has three sides.  A store of the guest to a table counts in any
 * case, as it may have been taken back in between (a page is mapped, used, and
 * unmapped, and the TLB is not told of this yet).  What the emulation of the
 * processor writes when it walks them are bits for pages that were accessed or
 * written to; it marks each table that it walks, so these are compared.  And
 * devices may write to any page, so they are found by comparing, too; unless
 * one takes back what it has done, within a run.
 *
 * Of a table that the guest has stored to, all addresses are dropped that it is
 * for; of another one those whose entries differ.
 *
 * The TLB has a part in page tracking, too.  A store to a page is noted once;
 * then stores do not take the slow path, and the page is open.  A restore
 * closes pages again.  To find their entries, each page that is opened is
 * noted: so a new entry is always closed at first.  Pages that restores leave
 * out stay open.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "hw/boards.h"
#include "migration/snapshot-tlb.h"
#include "qapi/error.h"
#include "compat-ram.h"
#include "page-tables.h"
#include "tlb-entries.h"
#include "tlb-tables.h"
#include "tlb.h"
#include "trace.h"

/* Is more to be dropped, or to be closed, then it is cheaper to flush. */
#define SPANS_MAX   8
#define ADDRS_MAX   32
#define OPENED_MAX  512

typedef struct Opened {
    vaddr addr;
    ram_addr_t ram;
} Opened;

/* What is known of a vCPU, which fills in ->opened itself */
typedef struct Tlb {
    SnapshotRegime regime;  /* at the save */
    bool keep;              /* in the present restore, so far */
    unsigned int n_opened;  /* OPENED_MAX + 1: there were more */
    Opened opened[OPENED_MAX];
} Tlb;

bool snapshot_tlb_on;
bool snapshot_tlb_restoring;

static struct {
    Tlb *cpus;                  /* by ->cpu_index */

    /* What must be dropped in the present restore */
    bool all;
    SnapshotSpan spans[SPANS_MAX];
    size_t n_spans;
    vaddr addrs[ADDRS_MAX];     /* of single pages */
    size_t n_addrs;
} tlb;

static Tlb *tlb_of(CPUState *cpu)
{
    return &tlb.cpus[cpu->cpu_index];
}

static void flush(CPUState *cpu)
{
    /*
     * If there is no entry, because the load of the vCPU's section has just
     * flushed them, then the cache of jump targets is empty as well: each flush
     * clears it, and what is put in it was looked up through the TLB.
     */
    if (snapshot_tlb_used(cpu)) {
        tlb_flush(cpu);
    }
}

static void flush_all(void)
{
    CPUState *cpu;

    CPU_FOREACH(cpu) {
        flush(cpu);
    }
}

/*
 * Called by vCPUs
 */

/* Does the emulation of the processor walk page tables, by way of @full? */
static bool is_walk(CPUState *cpu, const CPUTLBEntryFull *full)
{
    return snapshot_tlb_belongs(cpu, snapshot_table_mmu_index(), full);
}

void snapshot_tlb_note_store(CPUState *cpu, ram_addr_t ram,
                             const CPUTLBEntryFull *full)
{
    if (snapshot_tlb_is_table(ram) && !is_walk(cpu, full)) {
        qatomic_set(&snapshot_tlb_table(ram)->stored, true);
    }
}

void snapshot_tlb_note_opened(CPUState *cpu, vaddr addr, ram_addr_t ram,
                              const CPUTLBEntryFull *full)
{
    Tlb *t = tlb_of(cpu);

    /*
     * QEMU opens a page for all modes in which it has the same address.  That
     * of a walk is the physical one, and the guest may use that, too; but its
     * own first store has to be seen.
     */
    if (snapshot_tlb_is_table(ram) && is_walk(cpu, full)) {
        snapshot_tlb_close(cpu, addr & TARGET_PAGE_MASK,
                           snapshot_table_mmu_index());
    }
    if (t->n_opened < OPENED_MAX) {
        t->opened[t->n_opened] = (Opened) {
            .addr = addr & TARGET_PAGE_MASK,
            .ram = ram & TARGET_PAGE_MASK,
        };
    }
    t->n_opened = MIN(t->n_opened + 1, OPENED_MAX + 1);
}

/*
 * Save
 */

/* Nothing is kept. */
static void give_up(void)
{
    snapshot_tlb_on = false;
    snapshot_tlb_tables_free();
}

void snapshot_tlb_stop(void)
{
    give_up();
    g_clear_pointer(&tlb.cpus, g_free);
}

static bool list_tables(const SnapshotRam *ram)
{
    CPUState *cpu;

    snapshot_tlb_tables_begin(ram);
    CPU_FOREACH(cpu) {
        SnapshotRegime *regime = &tlb_of(cpu)->regime;

        if (!snapshot_regime(cpu, regime) ||
            !snapshot_tlb_tables_add(cpu, regime)) {
            return false;
        }
    }
    trace_snapshot_tlb_saved(snapshot_tlb_tables_end());
    return true;
}

void snapshot_tlb_saved(const SnapshotRam *ram, bool keep)
{
    unsigned int max_cpus = current_machine->smp.max_cpus;

    give_up();
    flush_all();
    if (!keep) {
        return;
    }
    if (!tlb.cpus) {
        tlb.cpus = g_new(Tlb, max_cpus);
    }
    for (unsigned int i = 0; i < max_cpus; i++) {
        tlb.cpus[i].n_opened = 0;
    }
    if (list_tables(ram)) {
        snapshot_tlb_on = true;
    } else {
        give_up();
    }
}

/*
 * Restore
 */

/* Does @cpu translate addresses as it did at the save? */
static bool same_regime(CPUState *cpu)
{
    SnapshotRegime now;

    return snapshot_regime(cpu, &now) &&
           !memcmp(&now, &tlb_of(cpu)->regime, sizeof(now));
}

void snapshot_tlb_begin(bool keep)
{
    CPUState *cpu;

    snapshot_tlb_restoring = keep && snapshot_tlb_on &&
                             !snapshot_tlb_tables_excluded();
    tlb.n_spans = tlb.n_addrs = 0;
    tlb.all = false;
    if (!snapshot_tlb_restoring) {
        return;
    }
    CPU_FOREACH(cpu) {
        tlb_of(cpu)->keep = same_regime(cpu);
    }
}

static void drop_later(SnapshotSpan span)
{
    if (span.length == TARGET_PAGE_SIZE && tlb.n_addrs < ADDRS_MAX) {
        tlb.addrs[tlb.n_addrs++] = span.base;
    } else if (span.length && tlb.n_spans < SPANS_MAX) {
        tlb.spans[tlb.n_spans++] = span;
    } else {
        tlb.all = true;
    }
}

/* The guest has not stored to a table, but its entries are not all the same. */
static void drop_changed(const SnapshotTlbTable *t, const uint8_t *now,
                         const uint8_t *saved)
{
    unsigned int n = TARGET_PAGE_SIZE / t->entry_bytes;
    uint64_t length = t->span.length / n;

    for (unsigned int i = 0; i < n && !tlb.all; i++) {
        size_t at = i * t->entry_bytes;

        if (memcmp(now + at, saved + at, t->entry_bytes)) {
            drop_later((SnapshotSpan) { t->span.base + i * length, length });
        }
    }
}

/* What a table is for, if that may have changed */
static void look_at_table(SnapshotTlbTable *t, const uint8_t *now,
                          const uint8_t *saved)
{
    bool same = !memcmp(now, saved, TARGET_PAGE_SIZE);

    if (same && !t->stored) {
        return;
    }
    trace_snapshot_tlb_table(t->span.base, t->span.length, t->stored);
    if (t->shared) {
        tlb.all = true;
    } else if (t->stored) {
        drop_later(t->span);
    } else {
        drop_changed(t, now, saved);
    }
    t->stored = false;
}

void snapshot_tlb_ram_changes(const SnapshotBlock *block, size_t offset,
                              size_t len, const uint8_t *saved)
{
    unsigned long page = (block->offset + offset) >> TARGET_PAGE_BITS;
    unsigned long end = (block->offset + offset + len) >> TARGET_PAGE_BITS;

    if (!snapshot_tlb_on) {
        return;
    }
    while ((page = snapshot_tlb_next_table(page, end)) < end) {
        ram_addr_t ram = (ram_addr_t)page << TARGET_PAGE_BITS;
        size_t at = ram - block->offset;

        look_at_table(snapshot_tlb_table(ram), block->host + at,
                      saved + (at - offset));
        page++;
    }
}

/*
 * Close the pages that restores put back, and forget about others.  A page that
 * was written to since they were collected remains to be closed.
 */
static void close_opened(CPUState *cpu, Tlb *t)
{
    unsigned int left = 0;

    for (unsigned int i = 0; i < t->n_opened; i++) {
        const Opened o = t->opened[i];

        if (snapshot_tlb_is_table(o.ram) || snapshot_is_clean(o.ram)) {
            snapshot_tlb_close(cpu, o.addr, -1);
        } else if (snapshot_tlb_in_block(o.ram)) {
            t->opened[left++] = o;
        }
    }
    t->n_opened = left;
}

static bool end_for(CPUState *cpu)
{
    Tlb *t = tlb_of(cpu);

    if (tlb.all || !t->keep || t->n_opened > OPENED_MAX || !same_regime(cpu)) {
        flush(cpu);
        t->n_opened = 0;
        return false;
    }
    for (size_t i = 0; i < tlb.n_addrs; i++) {
        snapshot_tlb_drop_page(cpu, tlb.addrs[i], snapshot_table_mmu_index());
    }
    if (tlb.n_spans) {
        snapshot_tlb_drop(cpu, tlb.spans, tlb.n_spans,
                          snapshot_table_mmu_index());
    }
    close_opened(cpu, t);
    snapshot_tlb_make_room(cpu);
    return true;
}

bool snapshot_tlb_end(void)
{
    bool kept = true;
    CPUState *cpu;

    tlb.all |= !snapshot_tlb_restoring;
    snapshot_tlb_restoring = false;
    if (!snapshot_tlb_on) {
        flush_all();
        return false;
    }
    CPU_FOREACH(cpu) {
        kept &= end_for(cpu);
    }
    trace_snapshot_tlb_end(kept, tlb.n_spans, tlb.n_addrs);
    return kept;
}

/*
 * Verification
 */

typedef struct Check {
    CPUState *cpu;
    const SnapshotRegime *regime;
    const char *wrong;
    vaddr addr;
} Check;

/* An entry may allow less than the page tables do, but nothing more. */
static const char *compare(const Check *c, const SnapshotTlbEntry *e)
{
    SnapshotMapping m = { .phys = e->addr, .write = true, .exec = true,
                          .dirty = true };

    if (e->open && snapshot_is_clean(e->ram)) {
        return "a store to it would not be noted";
    }
    if (e->mmu_idx != snapshot_table_mmu_index() &&
        snapshot_regime_paging(c->regime) &&
        !snapshot_page_tables_look(c->cpu, c->regime, e->addr,
                                   snapshot_user_mmu_index(e->mmu_idx), &m)) {
        return "it is not mapped";
    }
    if (e->phys != m.phys) {
        return "it is mapped to another page";
    }
    if (e->exec && !m.exec) {
        return "there is no code";
    }
    if (e->write && !m.write) {
        return "it must not be stored to";
    }
    if (e->write && !m.dirty) {
        return "its page table would not be told of a store";
    }
    return NULL;
}

static bool check_entry(const SnapshotTlbEntry *e, void *opaque)
{
    Check *c = opaque;

    c->wrong = compare(c, e);
    c->addr = e->addr;
    return !c->wrong;
}

bool snapshot_tlb_verify(Error **errp)
{
    CPUState *cpu;

    if (!snapshot_tlb_on) {
        return true;
    }
    CPU_FOREACH(cpu) {
        Check c = { .cpu = cpu, .regime = &tlb_of(cpu)->regime };

        if (!snapshot_tlb_each(cpu, check_entry, &c)) {
            error_setg(errp, "the TLB of vCPU %d has an entry for address 0x%"
                       VADDR_PRIx ", but %s", cpu->cpu_index, c.addr, c.wrong);
            return false;
        }
    }
    return true;
}
