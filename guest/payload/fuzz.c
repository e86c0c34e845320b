/*
 * Runs of a fuzzer, with no operating system and so with no time to boot.
 *
 * And a target: an input is a word, compared letter by letter; each letter that
 * is right has a counter of its own in the coverage map.
 *
 *     crash   a bug: the run ends as by signal 11, with a text
 *     hang    a loop without end
 *     reset   the machine is reset
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "payload.h"

#define SIGNAL_SEGV     11
#define LETTERS_MAX     8       /* counters for each word */

static const char *const words[] = { "crash", "hang", "reset" };

#define WORD_COUNT      (sizeof(words) / sizeof(words[0]))

_Static_assert(FUZZ_WORDS_MAP == 1 + WORD_COUNT * LETTERS_MAX, "map");

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
    uint8_t *counters = area(SNAPSHOT_SHARED_MAP) + 1 + n * LETTERS_MAX;
    const char *word = words[n];
    uint32_t i = 0;

    while (word[i] && i < size && data[i] == word[i]) {
        counters[i++]++;
    }
    return !word[i];
}

void fuzz_words(const uint8_t *data, uint32_t size)
{
    area(SNAPSHOT_SHARED_MAP)[0]++;
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
