/*
 * In-process machine snapshots: the page tables of x86.
 *
 * The formats are those of Intel's Software Developer's Manual, volume 3,
 * chapter "Paging": two levels of 32-bit entries, or three to five of 64-bit
 * ones.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/rcu.h"
#include "compat-ram.h"
#include "page-tables.h"

#ifdef TARGET_I386

#define LEVELS_MAX      5
#define PAGE_BITS       12
#define PAGE_BYTES      (1u << PAGE_BITS)

/* How a regime's tables are built */
typedef struct Format {
    unsigned int levels;
    unsigned int entry_bytes;
    unsigned int index_bits;    /* of an address, for each level */
    unsigned int top_bits;      /* the same for the topmost level */
    unsigned int large_levels;  /* on these levels, entries may be of pages */
    uint64_t top_mask;          /* where CR3 has the topmost table's address */
} Format;

static Format format_of(const SnapshotRegime *r)
{
    if (!(r->cr4 & CR4_PAE_MASK)) {
        return (Format) {
            .levels = 2, .entry_bytes = 4, .index_bits = 10, .top_bits = 10,
            .large_levels = r->cr4 & CR4_PSE_MASK ? 2 : 0,
            .top_mask = 0xfffff000,
        };
    }
    if (!(r->efer & MSR_EFER_LMA)) {
        return (Format) {
            .levels = 3, .entry_bytes = 8, .index_bits = 9, .top_bits = 2,
            .large_levels = 2,
            .top_mask = 0xffffffe0,
        };
    }
    return (Format) {
        .levels = r->cr4 & CR4_LA57_MASK ? 5 : 4,
        .entry_bytes = 8, .index_bits = 9, .top_bits = 9,
        .large_levels = 2 | 4,
        .top_mask = PG_ADDRESS_MASK,
    };
}

bool snapshot_regime(CPUState *cpu, SnapshotRegime *r)
{
    const CPUX86State *env = cpu_env(cpu);

    *r = (SnapshotRegime) {
        .cr0 = env->cr[0] & (CR0_PG_MASK | CR0_WP_MASK | CR0_PE_MASK),
        .cr3 = env->cr[3],
        .cr4 = env->cr[4],
        .efer = env->efer,
        .a20_mask = (uint64_t)(int64_t)env->a20_mask,
        .pkru = env->pkru,
        .pkrs = env->pkrs,
    };
    return !(env->hflags & (HF_SMM_MASK | HF_GUEST_MASK)) &&
           !(env->efer & MSR_EFER_SVME) && env->a20_mask == -1;
}

bool snapshot_regime_paging(const SnapshotRegime *r)
{
    return r->cr0 & CR0_PG_MASK;
}

int snapshot_table_mmu_index(void)
{
    return MMU_PHYS_IDX;
}

bool snapshot_user_mmu_index(int mmu_idx)
{
    return is_mmu_index_user(mmu_idx);
}

uint8_t *snapshot_find_ram(CPUState *cpu, hwaddr phys, ram_addr_t *ram)
{
    hwaddr xlat, len = PAGE_BYTES;
    MemoryRegion *mr = address_space_translate(cpu->as, phys, &xlat, &len,
                                               false, MEMTXATTRS_UNSPECIFIED);

    if (!memory_region_is_ram(mr) || len < PAGE_BYTES) {
        return NULL;
    }
    *ram = memory_region_get_ram_addr(mr) + xlat;
    return (uint8_t *)memory_region_get_ram_ptr(mr) + xlat;
}

static uint64_t read_entry(const Format *f, const uint8_t *table,
                           unsigned int index)
{
    return f->entry_bytes == 8 ? ldq_le_p(table + index * 8)
                               : (uint32_t)ldl_le_p(table + index * 4);
}

/* How many addresses an entry of a table on @level is for, as a shift */
static unsigned int entry_shift(const Format *f, unsigned int level)
{
    return PAGE_BITS + level * f->index_bits;
}

static bool is_large(const Format *f, unsigned int level, uint64_t entry)
{
    return (f->large_levels >> level & 1) && (entry & PG_PSE_MASK);
}

/* The tables of one walk */
typedef struct Walk {
    CPUState *cpu;
    Format format;
    SnapshotTableFunc *fn;
    void *opaque;
} Walk;

/* Addresses of the upper half begin with ones. */
static vaddr sign_extend(const Format *f, vaddr base)
{
    unsigned int bits = entry_shift(f, f->levels - 1) + f->top_bits;

    return f->levels > 3 ? sextract64(base, 0, bits) : base;
}

static bool walk_table(const Walk *w, hwaddr at, unsigned int level, vaddr base,
                       bool shared)
{
    const Format *f = &w->format;
    bool top = level == f->levels - 1;
    unsigned int bits = top ? f->top_bits : f->index_bits;
    SnapshotTable t = {
        .level = level,
        .entry_bytes = f->entry_bytes,
        .base = base,
        .span = top ? 0 : 1ull << (entry_shift(f, level) + bits),
        .shared = shared,
    };
    const uint8_t *table = snapshot_find_ram(w->cpu, at & ~(PAGE_BYTES - 1ull),
                                             &t.ram);

    if (!table) {
        return false;
    }
    table += at & (PAGE_BYTES - 1);
    switch (w->fn(&t, w->opaque)) {
    case SNAPSHOT_TABLE_STOP:
        return false;
    case SNAPSHOT_TABLE_LEAVE:
        return true;
    case SNAPSHOT_TABLE_ENTER:
        shared = false;
        break;
    case SNAPSHOT_TABLE_ENTER_SHARED:
        shared = true;
        break;
    }
    for (unsigned int i = 0; level > 0 && i < 1u << bits; i++) {
        uint64_t entry = read_entry(f, table, i);
        vaddr below = base + ((vaddr)i << entry_shift(f, level));

        if ((entry & PG_PRESENT_MASK) && !is_large(f, level, entry) &&
            !walk_table(w, entry & PG_ADDRESS_MASK, level - 1,
                        top ? sign_extend(f, below) : below, shared)) {
            return false;
        }
    }
    return true;
}

bool snapshot_page_tables(CPUState *cpu, const SnapshotRegime *regime,
                          SnapshotTableFunc *fn, void *opaque)
{
    Walk w = {
        .cpu = cpu,
        .format = format_of(regime),
        .fn = fn,
        .opaque = opaque,
    };

    RCU_READ_LOCK_GUARD();
    return walk_table(&w, regime->cr3 & w.format.top_mask,
                      w.format.levels - 1, 0, false);
}

/* The address of a page that is mapped by @entry, on @level */
static hwaddr page_address(const Format *f, unsigned int level, uint64_t entry,
                           vaddr addr)
{
    uint64_t inside = (1ull << entry_shift(f, level)) - 1;

    if (level && f->entry_bytes == 4) {
        /* Bits 32 to 39 of a page of 4 MiB are in bits 13 to 20. */
        entry = (entry & 0xffc00000) | extract64(entry, 13, 8) << 32;
    }
    return ((entry & PG_ADDRESS_MASK & ~inside) | (addr & inside)) &
           ~(PAGE_BYTES - 1ull);
}

bool snapshot_page_tables_look(CPUState *cpu, const SnapshotRegime *regime,
                               vaddr addr, bool user, SnapshotMapping *m)
{
    Format f = format_of(regime);
    hwaddr at = regime->cr3 & f.top_mask;
    uint64_t all = PG_USER_MASK | PG_RW_MASK;   /* what each table allows */

    m->exec = true;
    RCU_READ_LOCK_GUARD();
    for (unsigned int level = f.levels; level-- > 0;) {
        bool top = level == f.levels - 1;
        ram_addr_t unused;
        const uint8_t *table = snapshot_find_ram(
            cpu, at & ~(PAGE_BYTES - 1ull), &unused);
        uint64_t entry;

        if (!table) {
            return false;
        }
        entry = read_entry(&f, table + (at & (PAGE_BYTES - 1)),
                           extract64(addr, entry_shift(&f, level),
                                     top ? f.top_bits : f.index_bits));
        if (!(entry & PG_PRESENT_MASK)) {
            return false;
        }
        /* The four topmost entries of PAE allow everything. */
        if (f.levels != 3 || !top) {
            all &= entry;
            m->exec &= !(entry & PG_NX_MASK);
        }
        if (!level || is_large(&f, level, entry)) {
            m->phys = page_address(&f, level, entry, addr);
            m->dirty = entry & PG_DIRTY_MASK;
            m->write = (all & PG_RW_MASK) ||
                       (!user && !(regime->cr0 & CR0_WP_MASK));
            return !user || (all & PG_USER_MASK);
        }
        at = entry & PG_ADDRESS_MASK;
    }
    g_assert_not_reached();
}

#else /* !TARGET_I386 */

bool snapshot_regime(CPUState *cpu, SnapshotRegime *regime)
{
    return false;
}

bool snapshot_regime_paging(const SnapshotRegime *regime)
{
    g_assert_not_reached();
}

bool snapshot_page_tables(CPUState *cpu, const SnapshotRegime *regime,
                          SnapshotTableFunc *fn, void *opaque)
{
    g_assert_not_reached();
}

bool snapshot_page_tables_look(CPUState *cpu, const SnapshotRegime *regime,
                               vaddr addr, bool user,
                               SnapshotMapping *mapping)
{
    g_assert_not_reached();
}

int snapshot_table_mmu_index(void)
{
    g_assert_not_reached();
}

bool snapshot_user_mmu_index(int mmu_idx)
{
    g_assert_not_reached();
}

uint8_t *snapshot_find_ram(CPUState *cpu, hwaddr phys, ram_addr_t *ram)
{
    g_assert_not_reached();
}

#endif
