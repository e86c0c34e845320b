/*
 * Tests of address translation: page tables go back, and what the processor has
 * looked up in them is never what a run has made of them.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "payload.h"

#define ALIAS       (WINDOW + 0x400000)
#define SAVED       0x5a7ed
#define OTHER       0x07e4

/* Pages of WINDOW: one that is there at the save, one that is not */
#define FIRST       WINDOW
#define SECOND      (WINDOW + PAGE_SIZE)

static uint32_t saved_page[PAGE_SIZE / 4] __attribute__((aligned(PAGE_SIZE)));
static uint32_t other_page[PAGE_SIZE / 4] __attribute__((aligned(PAGE_SIZE)));

static uint32_t *at(uint32_t address)
{
    return (uint32_t *)address;
}

static uint32_t entry_for(const void *page)
{
    return (uint32_t)page | PTE_WRITE | PTE_PRESENT;
}

static void map_first(const void *page)
{
    store(&window_entries()[0], entry_for(page));
    forget_page(FIRST);
}

/*
 * What a run may do to page tables.  Each is followed by a restore.
 */

static void move(void)
{
    map_first(other_page);
    expect("the window that was moved", load(at(FIRST)), OTHER);
}

static void move_and_back(void)
{
    uint32_t before = load(&window_entries()[0]);

    move();
    store(&window_entries()[0], before);    /* the processor is not told */
}

/* A page that was not there may be mapped without telling the processor. */
static void map_for_a_while(void)
{
    store(&window_entries()[1], entry_for(other_page));
    expect("the page that was mapped", load(at(SECOND)), OTHER);
    store(&window_entries()[1], 0);
}

static void unmap(void)
{
    store(&window_entries()[0], 0);
    forget_page(FIRST);
}

static void other_tables(void)
{
    use_other_tables(other_page);
    expect("the window of other tables", load(at(FIRST)), OTHER);
}

static void other_tables_and_back(void)
{
    other_tables();
    use_other_tables(NULL);
}

static void nothing(void)
{
}

static void (*const runs[])(void) = {
    move, nothing, move_and_back, nothing, map_for_a_while, nothing, unmap,
    other_tables, other_tables_and_back, nothing,
};

/* The processor notes its accesses in the entry of the first page. */
static void expect_noted(uint32_t done)
{
    const uint32_t *entry = &window_entries()[0];
    const uint32_t noted = PTE_ACCESSED | PTE_DIRTY;

    if (load(entry) & noted) {
        fail("after restore %u, the entry is 0x%x: not as saved", done,
             load(entry));
    }
    if (load(at(FIRST)) != SAVED) {
        fail("after restore %u, the window shows 0x%x", done, load(at(FIRST)));
    }
    if ((load(entry) & noted) != PTE_ACCESSED) {
        fail("after restore %u, the entry is 0x%x after a load", done,
             load(entry));
    }
    store(at(FIRST), SAVED);
    if ((load(entry) & noted) != noted) {
        fail("after restore %u, the entry is 0x%x after a store", done,
             load(entry));
    }
}

/* A page that appears is the one that it is now, not one of another run. */
static void expect_second(uint32_t done)
{
    store(&window_entries()[1], entry_for(saved_page));
    if (load(at(SECOND)) != SAVED) {
        fail("after restore %u, the second page shows 0x%x", done,
             load(at(SECOND)));
    }
    store(&window_entries()[1], 0);
    forget_page(SECOND);
}

static void init_pages(void)
{
    store(saved_page, SAVED);
    store(other_page, OTHER);
    map_first(saved_page);
}

static void forget_pages(void)
{
    store(&window_entries()[0], 0);
    forget_page(FIRST);
}

/* Whatever runs have done, each begins with the translations of the save. */
void test_tlb(void)
{
    uint32_t done;

    if (!opt.paging) {
        skip("without paging");
        return;
    }
    init_pages();
    done = save();
    expect_noted(done);
    if (done % 3 == 0) {
        expect_second(done);
    }
    runs[done % (sizeof(runs) / sizeof(*runs))]();
    restore_until(done, opt.restores);
    forget_pages();
}

/* The same where page tables are at a run's end what they were at the save. */
void test_tlb_back(void)
{
    uint32_t done;

    if (!opt.paging) {
        skip("without paging");
        return;
    }
    init_pages();
    store(at(FIRST), SAVED);            /* the entry is noted in already */
    done = save();
    if (load(at(FIRST)) != SAVED) {
        fail("after restore %u, the window shows 0x%x", done, load(at(FIRST)));
    }
    switch (done % 4) {
    case 0:
        map_for_a_while();
        break;
    case 1:
        expect_second(done);
        break;
    case 2:
        other_tables();
        break;
    default:
        other_tables_and_back();
    }
    restore_until(done, opt.restores);
    forget_pages();
}

/* A page table that is in use for two places */
void test_tlb_alias(void)
{
    uint32_t done;

    if (!opt.paging) {
        skip("without paging");
        return;
    }
    init_pages();
    window_alias(ALIAS);
    done = save();
    if (load(at(FIRST)) != SAVED || load(at(ALIAS)) != SAVED) {
        fail("after restore %u, the window shows 0x%x, and 0x%x the other time",
             done, load(at(FIRST)), load(at(ALIAS)));
    }
    map_first(other_page);
    forget_page(ALIAS);
    expect("the other place of the window", load(at(ALIAS)), OTHER);
    restore_until(done, opt.restores);
    window_alias(0);
    forget_pages();
}
