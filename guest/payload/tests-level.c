/*
 * Tests of levels, and of memory that restores leave alone.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "payload.h"

/* Restores of each level above the first */
#define INPUTS  3

/* Words in pages of their own */
typedef struct Words {
    uint32_t *saved;        /* written before the save only */
    uint32_t *pushed;       /* and before the push */
    uint32_t *later;        /* and after it */
} Words;

static uint32_t *word_in_page(uint32_t page)
{
    return (uint32_t *)(POOL_BASE + page * PAGE_SIZE);
}

/* A level on top of the first, restored a few times; then back to the first */
static void try_level(const Words *w, uint32_t done)
{
    uint32_t inputs, result;

    store(w->pushed, 100 + done);
    inputs = push();
    expect("levels after a push", snapshot_mmio_levels(bar), 2);
    expect("word of the first level", load(w->saved), 1);
    expect("word of the second level", load(w->pushed), 100 + done);
    expect("word of no level", load(w->later), 1);
    store(w->pushed, 200 + inputs);
    store(w->later, 200 + inputs);
    if (inputs & 1) {
        store(w->saved, 200 + inputs);
    }
    restore_until(inputs, INPUTS);
    result = snapshot_mmio_pop(bar);
    fail("pop returned, with result %u", result);
}

void test_levels(void)
{
    const Words w = {
        word_in_page(0), word_in_page(1), word_in_page(7),
    };
    uint32_t done;

    store(w.saved, 1);
    store(w.pushed, 1);
    store(w.later, 1);
    done = save();
    expect("levels after a save", snapshot_mmio_levels(bar), 1);
    expect("word of the first level", load(w.saved), 1);
    expect("word changed before the push", load(w.pushed), 1);
    expect("word changed after the push", load(w.later), 1);
    if (done < opt.restores) {
        try_level(&w, done);
    }
    expect("pop from the first level", snapshot_mmio_pop(bar),
           SNAPSHOT_RES_NONE);
    expect("levels after it", snapshot_mmio_levels(bar), 1);
}

/* A counter that is not rewound, between words that are */
void test_exclude(void)
{
    uint32_t *before = word_in_page(2), *kept = word_in_page(3);
    uint32_t *after = word_in_page(4);
    uint32_t done;

    store(before, 1);
    store(kept, 0);
    store(after, 1);
    expect("exclude half a page",
           snapshot_mmio_exclude(bar, (uint32_t)kept, PAGE_SIZE / 2),
           SNAPSHOT_RES_RANGE);
    expect("exclude all addresses", snapshot_mmio_exclude(bar, 0, -PAGE_SIZE),
           SNAPSHOT_RES_RANGE);
    expect("exclude a register",
           snapshot_mmio_exclude(bar, (uint32_t)bar, PAGE_SIZE),
           SNAPSHOT_RES_RANGE);
    expect("exclude", snapshot_mmio_exclude(bar, (uint32_t)kept, PAGE_SIZE),
           SNAPSHOT_RES_DONE);
    done = save();
    expect("word below", load(before), 1);
    expect("word above", load(after), 1);
    if (done > opt.restores) {
        expect("counter after the end of its exclusion", load(kept), 0);
        return;
    }
    expect("counter", load(kept), done);
    store(before, ~done);
    store(kept, done + 1);
    store(after, ~done);
    restore_until(done, opt.restores);
    expect("include", snapshot_mmio_include(bar), SNAPSHOT_RES_DONE);
    restore_until(done, opt.restores + 1);
}
