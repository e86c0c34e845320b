/*
 * In-process machine snapshots: the entries of a vCPU's TLB under TCG.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "compat-ram.h"
#include "accel/tcg/tb-jmp-cache.h"
#include "accel/tcg/tb-hash.h"
#include "tlb-entries.h"

/* Above this, in percent, a table is full: too many addresses share a place. */
#define FULL 70

static size_t table_size(const CPUTLBDescFast *fast)
{
    return (fast->mask >> CPU_TLB_ENTRY_BITS) + 1;
}

/* Where an entry for @addr is, if there is one */
static CPUTLBEntry *entry_at(const CPUTLBDescFast *fast, vaddr addr)
{
    return &fast->table[(addr >> TARGET_PAGE_BITS) & (table_size(fast) - 1)];
}

/* The address of an entry's page, -1 if the entry is empty */
static vaddr address_of(const CPUTLBEntry *e)
{
    uintptr_t addr = e->addr_read;

    if (addr == -1) {
        addr = e->addr_write == -1 ? e->addr_code : e->addr_write;
    }
    return addr == -1 ? -1 : addr & TARGET_PAGE_MASK;
}

static bool is_empty(const CPUTLBEntry *e)
{
    return e->addr_read == -1 && e->addr_write == -1 && e->addr_code == -1;
}

bool snapshot_tlb_belongs(CPUState *cpu, int mmu_idx,
                          const CPUTLBEntryFull *full)
{
    const CPUTLBEntryFull *first = cpu->neg.tlb.d[mmu_idx].fulltlb;

    return full >= first &&
           full < first + table_size(snapshot_tlb_fast(cpu, mmu_idx));
}

/* With any other flag than TLB_NOTDIRTY, stores take the slow path anyhow. */
static void close_entry(CPUTLBEntry *e, vaddr addr)
{
    if (e->addr_write == addr) {
        e->addr_write |= TLB_NOTDIRTY;
    }
}

/* The MMU indices that have entries, without @but */
static MMUIdxMap used_but(const CPUTLB *tlb, int but)
{
    return but < 0 ? tlb->c.dirty : tlb->c.dirty & ~(1 << but);
}

void snapshot_tlb_close(CPUState *cpu, vaddr addr, int but)
{
    CPUTLB *tlb = &cpu->neg.tlb;

    for (MMUIdxMap left = used_but(tlb, but); left; left &= left - 1) {
        int i = ctz32(left);

        close_entry(entry_at(snapshot_tlb_fast(cpu, i), addr), addr);
        for (size_t k = 0; k < CPU_VTLB_SIZE; k++) {
            close_entry(&tlb->d[i].vtable[k], addr);
        }
    }
}

static bool in_spans(const SnapshotSpan *spans, size_t n, vaddr addr)
{
    for (size_t i = 0; i < n; i++) {
        if (addr - spans[i].base < spans[i].length) {
            return true;
        }
    }
    return false;
}

/* Returns whether there was an entry to drop. */
static bool drop_entry(CPUTLBEntry *e, const SnapshotSpan *spans, size_t n)
{
    if (is_empty(e) || !in_spans(spans, n, address_of(e))) {
        return false;
    }
    memset(e, -1, sizeof(*e));
    return true;
}

static void drop_victims(CPUTLBDesc *desc, const SnapshotSpan *spans, size_t n)
{
    for (size_t k = 0; k < CPU_VTLB_SIZE; k++) {
        drop_entry(&desc->vtable[k], spans, n);
    }
}

static void forget_jumps(CPUJumpCache *cache, vaddr addr)
{
    unsigned int first = tb_jmp_cache_hash_page(addr);

    for (unsigned int i = 0; i < TB_JMP_PAGE_SIZE; i++) {
        qatomic_set(&cache->array[first + i].tb, NULL);
    }
}

void snapshot_tlb_drop_page(CPUState *cpu, vaddr addr, int but)
{
    const SnapshotSpan page = { addr, TARGET_PAGE_SIZE };
    CPUTLB *tlb = &cpu->neg.tlb;

    for (MMUIdxMap left = used_but(tlb, but); left; left &= left - 1) {
        int i = ctz32(left);

        if (drop_entry(entry_at(snapshot_tlb_fast(cpu, i), addr), &page, 1)) {
            tlb->d[i].n_used_entries--;
        }
        drop_victims(&tlb->d[i], &page, 1);
    }
    if (cpu->tb_jmp_cache) {
        /* A block of code may reach into the page from the one before it. */
        forget_jumps(cpu->tb_jmp_cache, addr - TARGET_PAGE_SIZE);
        forget_jumps(cpu->tb_jmp_cache, addr);
    }
}

static void forget_jumps_to(CPUJumpCache *cache, const SnapshotSpan *spans,
                            size_t n)
{
    for (size_t i = 0; i < TB_JMP_CACHE_SIZE; i++) {
        vaddr pc = cache->array[i].pc;

        if (in_spans(spans, n, pc) ||
            in_spans(spans, n, pc + TARGET_PAGE_SIZE)) {
            qatomic_set(&cache->array[i].tb, NULL);
        }
    }
}

void snapshot_tlb_drop(CPUState *cpu, const SnapshotSpan *spans, size_t n,
                       int but)
{
    CPUTLB *tlb = &cpu->neg.tlb;

    for (MMUIdxMap left = used_but(tlb, but); left; left &= left - 1) {
        int i = ctz32(left);
        CPUTLBDescFast *fast = snapshot_tlb_fast(cpu, i);
        size_t size = table_size(fast);

        for (size_t at = 0; at < size; at++) {
            if (drop_entry(&fast->table[at], spans, n)) {
                tlb->d[i].n_used_entries--;
            }
        }
        drop_victims(&tlb->d[i], spans, n);
    }
    if (cpu->tb_jmp_cache) {
        forget_jumps_to(cpu->tb_jmp_cache, spans, n);
    }
}

/*
 * QEMU's count of entries includes those that were written over by one for the
 * same page.
 */
static bool is_full(CPUTLBDesc *desc, const CPUTLBDescFast *fast)
{
    size_t size = table_size(fast), used = 0;

    if (desc->n_used_entries * 100 <= size * FULL) {
        return false;
    }
    for (size_t at = 0; at < size; at++) {
        used += !is_empty(&fast->table[at]);
    }
    desc->n_used_entries = used;
    return used * 100 > size * FULL;
}

void snapshot_tlb_make_room(CPUState *cpu)
{
    CPUTLB *tlb = &cpu->neg.tlb;
    MMUIdxMap full = 0;

    for (MMUIdxMap left = tlb->c.dirty; left; left &= left - 1) {
        int i = ctz32(left);

        if (is_full(&tlb->d[i], snapshot_tlb_fast(cpu, i))) {
            full |= 1 << i;
        }
    }
    if (full) {
        tlb_flush_by_mmuidx(cpu, full);
    }
}

static bool call_for(int mmu_idx, const CPUTLBEntry *e,
                     const CPUTLBEntryFull *full, SnapshotTlbFunc *fn,
                     void *opaque)
{
    SnapshotTlbEntry entry = {
        .mmu_idx = mmu_idx,
        .addr = address_of(e),
        .phys = full->phys_addr,
        .write = e->addr_write != -1,
        .exec = e->addr_code != -1,
    };

    /* Some are for one access only, after which they are looked up again. */
    if (is_empty(e) || full->lg_page_size < TARGET_PAGE_BITS ||
        (entry.write && (e->addr_write & TLB_INVALID_MASK))) {
        return true;
    }
    entry.open = e->addr_write == entry.addr;
    entry.ram = entry.addr + full->xlat_section;
    return fn(&entry, opaque);
}

bool snapshot_tlb_each(CPUState *cpu, SnapshotTlbFunc *fn, void *opaque)
{
    CPUTLB *tlb = &cpu->neg.tlb;

    for (MMUIdxMap left = tlb->c.dirty; left; left &= left - 1) {
        int i = ctz32(left);
        CPUTLBDescFast *fast = snapshot_tlb_fast(cpu, i);
        size_t size = table_size(fast);

        for (size_t at = 0; at < size; at++) {
            if (!call_for(i, &fast->table[at], &tlb->d[i].fulltlb[at], fn,
                          opaque)) {
                return false;
            }
        }
        for (size_t k = 0; k < CPU_VTLB_SIZE; k++) {
            if (!call_for(i, &tlb->d[i].vtable[k], &tlb->d[i].vfulltlb[k], fn,
                          opaque)) {
                return false;
            }
        }
    }
    return true;
}
