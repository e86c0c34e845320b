/*
 * Runs of a fuzzer, with no operating system and so with no time to boot.
 *
 * And a target: an input is a word, compared letter by letter; each letter that
 * is right has a counter of its own in the coverage map.
 *
 *     crash   a bug: the run ends as by signal 11, with a text
 *     hang    a loop without end
 *     reset   the machine is reset
 *     stuck   QEMU is in a loop without end, in a device (with "stuck" on the
 *             command line)
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "payload.h"

#define SIGNAL_SEGV     11
#define LETTERS_MAX     8       /* counters for each word */
#define COUNT_INPUTS    1       /* number of a counter; 0 is QEMU's */
#define COUNT_WORDS     2

static const char *const words[] = { "crash", "hang", "reset", "stuck" };

#define WORD_COUNT      (sizeof(words) / sizeof(words[0]))

_Static_assert(FUZZ_WORDS_MAP == COUNT_WORDS + WORD_COUNT * LETTERS_MAX, "map");

/* The timer of the board, and its registers, of 64 bits each */
#define HPET                0xfed00000u
#define HPET_CONFIG         0x10
#define HPET_CONFIG_ENABLE  0x1
#define HPET_COUNTER        0xf0
#define HPET_TIMER_CONFIG   0x100
#define HPET_TIMER_PERIODIC 0x8
#define HPET_TIMER_PERIOD   0x108

static uint8_t *shared;
static bool in_run;

static uint8_t *area(unsigned int field)
{
    return shared + snapshot_mmio_read32(shared, field);
}

static void set_register(unsigned int reg, uint32_t value)
{
    *(volatile uint32_t *)(bar + reg) = value;      /* volatile: MMIO */
}

static uint32_t copy_text(uint8_t *to, const char *text)
{
    uint32_t size = 0;

    while (text[size]) {
        to[size] = text[size];
        size++;
    }
    return size;
}

static void crash(const char *text)
{
    set_register(SNAPSHOT_REG_TEXT_SIZE,
                 copy_text(area(SNAPSHOT_SHARED_TEXT), text));
    set_register(SNAPSHOT_REG_RUN_STATUS, SIGNAL_SEGV);
    snapshot_mmio_command(bar, SNAPSHOT_CMD_CRASH);
}

/* Does @data begin with word number @n?  Counts the letters that do. */
static bool matches(unsigned int n, const uint8_t *data, uint32_t size)
{
    uint8_t *counters = area(SNAPSHOT_SHARED_MAP) + COUNT_WORDS +
                        n * LETTERS_MAX;
    const char *word = words[n];
    uint32_t i = 0;

    while (word[i] && i < size && data[i] == word[i]) {
        counters[i++]++;
    }
    return !word[i];
}

static void set_hpet(unsigned int offset, uint32_t value)
{
    *(volatile uint32_t *)(HPET + offset) = value;  /* volatile: MMIO */
}

/*
 * A period of one tick, for a counter that is far ahead of the timer: QEMU
 * adds one to the other until it has caught up, in a few hundred years.
 */
static void have_qemu_stuck(void)
{
    set_hpet(HPET_TIMER_CONFIG, HPET_TIMER_PERIODIC);
    set_hpet(HPET_TIMER_PERIOD, 1);
    set_hpet(HPET_COUNTER + 4, 0x0c000000);
    set_hpet(HPET_CONFIG, HPET_CONFIG_ENABLE);
    for (;;) {
        relax();
    }
}

void fuzz_words(const uint8_t *data, uint32_t size)
{
    area(SNAPSHOT_SHARED_MAP)[COUNT_INPUTS]++;
    if (matches(0, data, size)) {
        crash("the word is crash");
    }
    if (matches(1, data, size)) {
        for (;;) {
            relax();
        }
    }
    if (matches(2, data, size)) {
        outb(0x64, 0xfe);               /* by way of the keyboard controller */
        for (;;) {
            asm volatile("hlt");
        }
    }
    if (opt.stuck && matches(3, data, size)) {
        have_qemu_stuck();
    }
}

void fuzz_count(uint32_t n)
{
    n %= snapshot_mmio_read32(shared, SNAPSHOT_SHARED_MAP_SIZE);
    area(SNAPSHOT_SHARED_MAP)[n]++;
}

void fuzz_give_up(void)
{
    if (in_run) {
        set_register(SNAPSHOT_REG_RUN_STATUS, 1 | SNAPSHOT_RUN_LAST);
        snapshot_mmio_command(bar, SNAPSHOT_CMD_DONE);
    }
}

void fuzz(FuzzTest *test, uint32_t map_used)
{
    shared = find_shared();
    expect("magic of the shared memory",
           snapshot_mmio_read32(shared, SNAPSHOT_SHARED_MAGIC),
           SNAPSHOT_SHARED_MAGIC_IS);
    set_register(SNAPSHOT_REG_MAP_USED, map_used);
    for (;;) {
        uint32_t result = snapshot_mmio_command(bar, SNAPSHOT_CMD_NEXT);
        uint8_t *input = area(SNAPSHOT_SHARED_INPUT);
        uint32_t limit = snapshot_mmio_read32(shared,
                                              SNAPSHOT_SHARED_INPUT_MAX);
        uint32_t size = snapshot_mmio_read32(input, 0);

        if (result != SNAPSHOT_RES_DONE) {
            fail("no input: result %u", result);
        }
        in_run = true;
        test(input + 4, size < limit ? size : limit);
        in_run = false;
        snapshot_mmio_command(bar, SNAPSHOT_CMD_DONE);
    }
}
