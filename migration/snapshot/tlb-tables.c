/*
 * In-process machine snapshots: which page tables there were at the save.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "compat-ram.h"
#include "ram-level.h"
#include "tlb-tables.h"

/* More than this are not listed; Linux has some hundred. */
#define TABLES_MAX  16384

static struct {
    const SnapshotRam *ram;     /* where they are */
    GHashTable *tables;         /* SnapshotTlbTable by number of the page */
    unsigned long *is_table;    /* the same: a bit for each page */
    unsigned long n_pages;      /* of these bits */
    unsigned int exclusions;    /* how often what is excluded had changed */
    bool excluded;              /* so is a table */
} list;

static unsigned long page_of(ram_addr_t ram)
{
    return ram >> TARGET_PAGE_BITS;
}

bool snapshot_tlb_is_table(ram_addr_t ram)
{
    return page_of(ram) < list.n_pages &&
           test_bit(page_of(ram), list.is_table);
}

SnapshotTlbTable *snapshot_tlb_table(ram_addr_t ram)
{
    return g_hash_table_lookup(list.tables, GUINT_TO_POINTER(page_of(ram)));
}

unsigned long snapshot_tlb_next_table(unsigned long page, unsigned long end)
{
    unsigned long last = MIN(end, list.n_pages);

    if (page >= last) {
        return end;
    }
    page = find_next_bit(list.is_table, last, page);
    return page < last ? page : end;
}

static const SnapshotBlock *block_of(ram_addr_t ram)
{
    for (guint i = 0; i < list.ram->blocks->len; i++) {
        const SnapshotBlock *b = &g_array_index(list.ram->blocks, SnapshotBlock,
                                                i);

        if (ram - b->offset < b->size) {
            return b;
        }
    }
    return NULL;
}

bool snapshot_tlb_in_block(ram_addr_t ram)
{
    return block_of(ram);
}

/* Will a restore put this page back? */
static bool goes_back(ram_addr_t ram)
{
    const SnapshotBlock *b = block_of(ram);
    size_t len = TARGET_PAGE_SIZE;

    return b && !snapshot_exclude_has(b, ram - b->offset, &len);
}

static SnapshotTlbTable *new_table(const SnapshotTable *found)
{
    SnapshotTlbTable *t = g_new0(SnapshotTlbTable, 1);

    t->span = (SnapshotSpan) { found->base, found->span };
    t->entry_bytes = found->entry_bytes;
    g_hash_table_insert(list.tables, GUINT_TO_POINTER(page_of(found->ram)), t);
    list.n_pages = MAX(list.n_pages, page_of(found->ram) + 1);
    return t;
}

/*
 * A table that is used for other addresses as well is shared, and so is all
 * that is below it: from now on, whatever is known of it already.
 */
static SnapshotTableNext add_table(const SnapshotTable *found, void *unused)
{
    unsigned int level = 1 << found->level;
    SnapshotTlbTable *t = snapshot_tlb_table(found->ram);

    if (!t) {
        if (g_hash_table_size(list.tables) == TABLES_MAX ||
            !goes_back(found->ram)) {
            return SNAPSHOT_TABLE_STOP;
        }
        t = new_table(found);
    } else if (!found->shared && (t->levels & level) &&
               t->span.base == found->base && t->span.length == found->span) {
        return SNAPSHOT_TABLE_LEAVE;        /* another vCPU's, too */
    } else if (t->shared & level) {
        return SNAPSHOT_TABLE_LEAVE;
    }
    if (found->shared || t->levels) {
        t->shared |= level;
    }
    t->levels |= level;
    return t->shared ? SNAPSHOT_TABLE_ENTER_SHARED : SNAPSHOT_TABLE_ENTER;
}

void snapshot_tlb_tables_begin(const SnapshotRam *ram)
{
    snapshot_tlb_tables_free();
    list.ram = ram;
    list.tables = g_hash_table_new_full(NULL, NULL, NULL, g_free);
    list.n_pages = 0;
    list.exclusions = snapshot_exclude_changes();
    list.excluded = false;
}

bool snapshot_tlb_tables_add(CPUState *cpu, const SnapshotRegime *regime)
{
    return !snapshot_regime_paging(regime) ||
           snapshot_page_tables(cpu, regime, add_table, NULL);
}

unsigned int snapshot_tlb_tables_end(void)
{
    GHashTableIter iter;
    gpointer page;

    list.is_table = bitmap_new(list.n_pages);
    g_hash_table_iter_init(&iter, list.tables);
    while (g_hash_table_iter_next(&iter, &page, NULL)) {
        set_bit(GPOINTER_TO_UINT(page), list.is_table);
    }
    return g_hash_table_size(list.tables);
}

void snapshot_tlb_tables_free(void)
{
    g_clear_pointer(&list.tables, g_hash_table_unref);
    g_clear_pointer(&list.is_table, g_free);
}

bool snapshot_tlb_tables_excluded(void)
{
    GHashTableIter iter;
    gpointer page;

    if (list.exclusions == snapshot_exclude_changes()) {
        return list.excluded;
    }
    list.exclusions = snapshot_exclude_changes();
    g_hash_table_iter_init(&iter, list.tables);
    while (g_hash_table_iter_next(&iter, &page, NULL)) {
        ram_addr_t ram = GPOINTER_TO_UINT(page);

        list.excluded |= !goes_back(ram << TARGET_PAGE_BITS);
    }
    return list.excluded;
}
