/*
 * Tests of commands and of memory.
 *
 * Each test saves once and comes back to that point with the number of
 * restores done so far: 0 means that nothing was restored yet.  All it may
 * remember between restores is that number, since memory is rewound.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "payload.h"

#define WORDS           (PAGE_SIZE / sizeof(uint32_t))
#define VIDEO_TEXT      0xb8000
#define VIDEO_WORDS     (80 * 25 * 2 / sizeof(uint32_t))

static uint32_t status(void)
{
    return snapshot_mmio_read32(bar, SNAPSHOT_REG_STATUS);
}

/* Commands that must do nothing but say so; registers that do not exist */
void test_errors(void)
{
    uint32_t rejected = snapshot_mmio_read32(bar, SNAPSHOT_REG_REJECTED);
    uint32_t result = snapshot_mmio_read32(bar, SNAPSHOT_REG_RESULT);

    for (uint32_t reg = SNAPSHOT_REG_TIMER + 4; reg < 0x1000; reg += 4) {
        if (reg == SNAPSHOT_REG_COVER_FLAGS) {
            continue;           /* keeps what is written, on any machine */
        }
        snapshot_mmio_read32(bar, reg);
        *(volatile uint32_t *)(bar + reg) = ~0u;        /* volatile: MMIO */
        expect("unknown register", snapshot_mmio_read32(bar, reg), 0);
    }
    expect("result after unknown registers",
           snapshot_mmio_read32(bar, SNAPSHOT_REG_RESULT), result);
    expect("armed before a save", status() & SNAPSHOT_STATUS_ARMED, 0);
    expect("restore without a save", snapshot_mmio_restore(bar),
           SNAPSHOT_RES_NONE);
    expect("unknown command", snapshot_mmio_command(bar, 0x999),
           SNAPSHOT_RES_UNKNOWN);
    expect("rejected commands",
           snapshot_mmio_read32(bar, SNAPSHOT_REG_REJECTED), rejected + 2);

    restore_until(save(), 1);
    expect("armed after a save", status() & SNAPSHOT_STATUS_ARMED,
           SNAPSHOT_STATUS_ARMED);
    expect("unknown command", snapshot_mmio_command(bar, 0x999),
           SNAPSHOT_RES_UNKNOWN);
    expect("restores", snapshot_mmio_restores(bar), 1);
    expect("discard", snapshot_mmio_discard(bar), SNAPSHOT_RES_DONE);
    expect("armed after a discard", status() & SNAPSHOT_STATUS_ARMED, 0);
    expect("restore after a discard", snapshot_mmio_restore(bar),
           SNAPSHOT_RES_NONE);
}

/*
 * The page that write @i of round @round goes to: no page twice a round, if
 * the pool is a power of two.
 */
static uint32_t *written_page(uint32_t round, uint32_t i)
{
    const uint32_t stride = 577;        /* odd */
    uint32_t page = (round * opt.pages + i * stride) % opt.pool;

    return (uint32_t *)(POOL_BASE + page * PAGE_SIZE);
}

static uint32_t saved_word(const uint32_t *word)
{
    return (uint32_t)word * 0x9e3779b1u ^ 0x5a5a5a5a;
}

static void fill_page(uint32_t *page, uint32_t change)
{
    for (uint32_t i = 0; i < WORDS; i++) {
        page[i] = saved_word(&page[i]) ^ change;
    }
}

static void check_page(uint32_t done, const uint32_t *page)
{
    for (uint32_t i = 0; i < WORDS; i++) {
        if (page[i] != saved_word(&page[i])) {
            fail("after restore %u, RAM at 0x%x is 0x%x, not 0x%x", done,
                 (uint32_t)&page[i], page[i], saved_word(&page[i]));
        }
    }
}

/* RAM: other pages each time, checked right after; all of them at the end */
void test_pages(void)
{
    uint32_t done;

    for (uint32_t i = 0; i < opt.pool; i++) {
        fill_page((uint32_t *)(POOL_BASE + i * PAGE_SIZE), 0);
    }
    done = save();
    for (uint32_t i = 0; done && i < opt.pages; i++) {
        check_page(done, written_page(done - 1, i));
    }
    for (uint32_t i = 0; done < opt.restores && i < opt.pages; i++) {
        fill_page(written_page(done, i), ~done);
    }
    restore_until(done, opt.restores);

    for (uint32_t i = 0; i < opt.pool; i++) {
        check_page(done, (uint32_t *)(POOL_BASE + i * PAGE_SIZE));
    }
    if (snapshot_mmio_read32(bar, SNAPSHOT_REG_PAGES) < opt.pages) {
        fail("%u pages put back by the last restore, of %u written",
             snapshot_mmio_read32(bar, SNAPSHOT_REG_PAGES), opt.pages);
    }
}

/*
 * As little as can be between two restores: one word in each of some pages.
 * Whoever measures takes the time between the two lines.
 */
void test_rate(void)
{
    const uint32_t end = POOL_BASE + opt.dirty * PAGE_SIZE;
    uint32_t done;

    if (opt.dirty > (memory_end - POOL_BASE) / PAGE_SIZE) {
        fail("dirty=%u: there is no RAM for so many pages", opt.dirty);
    }
    done = save();
    if (!done) {
        print("# rate: begin\n");
    }
    for (uint32_t at = POOL_BASE; done < opt.restores && at < end;
         at += PAGE_SIZE) {
        store((uint32_t *)at, done);
    }
    restore_until(done, opt.restores);
    print("# rate: end %u\n", done);
}

/* Video memory, through the VGA window */
void test_video(void)
{
    volatile uint32_t *text = (uint32_t *)VIDEO_TEXT;   /* volatile: MMIO */
    uint32_t done;

    for (uint32_t i = 0; i < VIDEO_WORDS; i++) {
        text[i] = 0x07000700 | (i & 0x3f) << 16 | (i & 0x3f);
    }
    if (text[1] != 0x07010701) {
        skip("no video memory");
        return;
    }
    done = save();
    for (uint32_t i = 0; i < VIDEO_WORDS; i++) {
        if (text[i] != (0x07000700 | (i & 0x3f) << 16 | (i & 0x3f))) {
            fail("after restore %u, cell %u is 0x%x", done, i * 2, text[i]);
        }
        text[i] = ~done;
    }
    restore_until(done, opt.restores);
}

/*
 * Code that is rewritten after the save: in the page of the save itself (the
 * very next instruction) and in another one.  After a restore the original
 * code must run, not what was translated from the newer one.
 */
void test_code(void)
{
    uint32_t operand = patched_save(bar);
    uint32_t done = saved();

    expect("operand next to the save", operand, PATCHED_ORIGINAL);
    expect("operand in another page", patched_call(), PATCHED_ORIGINAL);
    store(&patched_call_operand, done);
    expect("rewritten operand", patched_call(), done);
    store(&patched_operand, done);
    restore_until(done, opt.restores);
    store(&patched_operand, PATCHED_ORIGINAL);
    store(&patched_call_operand, PATCHED_ORIGINAL);
}
