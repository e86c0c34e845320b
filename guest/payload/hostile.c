/*
 * A guest that does to the device what no driver would.
 *
 * The first CPU gives commands, in any order, reads and writes registers with
 * any width, at any address, moves the BARs, and now and then ends the machine.
 * The others write to the registers and to the memory that is shared with the
 * host at the same time, so that what the host reads twice differs.  Nothing is
 * checked here: whether the host is well is for the host to see.
 *
 * What is next depends on a number that starts as hostile=N.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "payload.h"

/* Where the registers that do something are */
#define REGISTERS       0xa0

/* Commands before the first input is asked for, at most */
#define EARLY_COMMANDS  100

/* Shared with the host: what the others know of it */
#define CONTROL_SIZE    0x10000

#define RANDOM_STEP     0x9e3779b9

/* A generator of random numbers (xorshift), one for each CPU */
typedef struct Random {
    uint32_t state;
} Random;

static uint32_t shared, shared_size;        /* BAR 2 */

static uint32_t random(Random *r)
{
    r->state ^= r->state << 13;
    r->state ^= r->state >> 17;
    r->state ^= r->state << 5;
    return r->state;
}

static uint32_t below(Random *r, uint32_t limit)
{
    return random(r) % limit;
}

/*
 * A restore brings the generator back as well, so that the guest would do the
 * same for ever: the registers that are not brought back tell how often it was.
 */
static void stir(Random *r)
{
    r->state += RANDOM_STEP *
                (snapshot_mmio_read32(bar, SNAPSHOT_REG_RUNS) +
                 3 * snapshot_mmio_read32(bar, SNAPSHOT_REG_RESTORES) +
                 5 * snapshot_mmio_read32(bar, SNAPSHOT_REG_REJECTED));
    if (!r->state) {
        r->state = RANDOM_STEP;
    }
}

/* Values at which something might change */
static uint32_t value(Random *r)
{
    switch (below(r, 8)) {
    case 0:
        return 0;
    case 1:
        return ~0u;
    case 2:
        return 1u << below(r, 32);
    case 3:
        return (1u << below(r, 32)) - 1;
    case 4:
        return POOL_BASE + PAGE_SIZE * below(r, POOL_PAGES);
    case 5:
        return shared + PAGE_SIZE * below(r, 64);
    case 6:
        return PAGE_SIZE * below(r, 64);
    default:
        return random(r);
    }
}

static void put8(uint32_t at, uint8_t value)
{
    asm volatile("movb %0, (%1)" : : "q"(value), "r"(at) : "memory");
}

static void put16(uint32_t at, uint16_t value)
{
    asm volatile("movw %0, (%1)" : : "r"(value), "r"(at) : "memory");
}

static void put32(uint32_t at, uint32_t value)
{
    asm volatile("movl %0, (%1)" : : "r"(value), "r"(at) : "memory");
}

/* 64 bits in one access */
static void put64(uint32_t at, uint64_t value)
{
    asm volatile("movq %0, %%mm0; movq %%mm0, (%1); emms"
                 : : "m"(value), "r"(at) : "memory");
}

static void put(Random *r, uint32_t at)
{
    uint32_t v = value(r);

    switch (below(r, 6)) {
    case 0:
        put8(at, v);
        break;
    case 1:
        put16(at, v);
        break;
    case 2:
        put64(at, (uint64_t)value(r) << 32 | v);
        break;
    default:
        put32(at, v);
    }
}

static void get(Random *r, uint32_t at)
{
    uint32_t v;

    switch (below(r, 4)) {
    case 0:
        asm volatile("movb (%1), %b0" : "=q"(v) : "r"(at));
        break;
    case 1:
        asm volatile("movw (%1), %w0" : "=r"(v) : "r"(at));
        break;
    case 2:
        asm volatile("movq (%0), %%mm0; emms" : : "r"(at));
        break;
    default:
        asm volatile("movl (%1), %0" : "=r"(v) : "r"(at));
    }
}

/* Mostly a register, aligned; sometimes any address, and across its end */
static uint32_t register_offset(Random *r, bool commands)
{
    uint32_t offset = below(r, REGISTERS) & ~3u;

    switch (below(r, 16)) {
    case 0:
        offset = below(r, SNAPSHOT_BAR_SIZE);
        break;
    case 1:
        offset = below(r, REGISTERS);
        break;
    case 2:
        offset = SNAPSHOT_BAR_SIZE - 1 - below(r, 8);
        break;
    }
    return offset >= 4 || commands ? offset : SNAPSHOT_REG_START;
}

static void write_register(Random *r, bool commands)
{
    put(r, (uint32_t)bar + register_offset(r, commands));
}

/* Header, text, log, map, input: the beginning of the header most of all */
static void write_shared(Random *r)
{
    uint32_t limit = below(r, 4) ? SNAPSHOT_SHARED_LOG_HEAD + 8
                     : below(r, 2) ? CONTROL_SIZE : shared_size;

    put(r, shared + below(r, limit));
}

static void flood_shared(Random *r)
{
    uint32_t at = below(r, shared_size - PAGE_SIZE), v = value(r);

    for (uint32_t i = 0; i < PAGE_SIZE; i += 4) {
        put32(shared + at + i, v);
    }
}

/* The other CPUs */
void hostile_aside(unsigned int index)
{
    Random r = { opt.hostile ^ RANDOM_STEP * (index + 2) };

    for (;;) {
        for (unsigned int i = 0; i < 64; i++) {
            if (below(&r, 4)) {
                write_shared(&r);
            } else {
                write_register(&r, false);
            }
        }
        if (!below(&r, 8)) {
            flood_shared(&r);
        }
        if (!below(&r, 64)) {
            snapshot_mmio_command(bar, SNAPSHOT_CMD_SAVE + below(&r, 0x18));
        }
        stir(&r);
    }
}

/* The first half of them before there are runs; SAVE and PUSH take long. */
static const uint16_t commands[] = {
    SNAPSHOT_CMD_SAVE, SNAPSHOT_CMD_PUSH, SNAPSHOT_CMD_PUSH,
    SNAPSHOT_CMD_POP, SNAPSHOT_CMD_POP, SNAPSHOT_CMD_RESTORE,
    SNAPSHOT_CMD_RESTORE, SNAPSHOT_CMD_RESTORE, SNAPSHOT_CMD_RESTORE,
    SNAPSHOT_CMD_DISCARD, SNAPSHOT_CMD_INCLUDE,
    SNAPSHOT_CMD_EXCLUDE, SNAPSHOT_CMD_EXCLUDE, SNAPSHOT_CMD_EXCLUDE,
    SNAPSHOT_CMD_COVER, SNAPSHOT_CMD_COVER, SNAPSHOT_CMD_COVER,
    SNAPSHOT_CMD_UNCOVER, SNAPSHOT_CMD_DONE, SNAPSHOT_CMD_CRASH,
    SNAPSHOT_CMD_NEXT, SNAPSHOT_CMD_NEXT, SNAPSHOT_CMD_NEXT,
    SNAPSHOT_CMD_DONE, SNAPSHOT_CMD_DONE, SNAPSHOT_CMD_CRASH,
};

#define COMMANDS        (sizeof(commands) / sizeof(commands[0]))
#define COMMANDS_EARLY  20

/* Restores put the count of them back, so that it is no promise. */
static bool may_begin(void)
{
    return snapshot_mmio_read32(bar, SNAPSHOT_REG_RESTORES) > 20 ||
           snapshot_mmio_read32(bar, SNAPSHOT_REG_REJECTED) > EARLY_COMMANDS;
}

static void give_command(Random *r)
{
    unsigned int n = may_begin() ? COMMANDS : COMMANDS_EARLY;

    snapshot_mmio_command(bar, commands[below(r, n)]);
}

/* Exclude a range, or count in one, that there can be */
static void give_range(Random *r)
{
    bool exclude = below(r, 2);

    put64((uint32_t)bar + SNAPSHOT_REG_START,
          POOL_BASE + PAGE_SIZE * below(r, POOL_PAGES));
    put64((uint32_t)bar + SNAPSHOT_REG_LENGTH, PAGE_SIZE * below(r, 256));
    snapshot_mmio_command(bar, exclude ? SNAPSHOT_CMD_EXCLUDE
                                       : SNAPSHOT_CMD_COVER);
}

static void dirty_pool(Random *r)
{
    for (uint32_t n = below(r, 64); n; n--) {
        put32(POOL_BASE + PAGE_SIZE * below(r, POOL_PAGES), n);
    }
}

/* What ends a run without a word; only once there are runs to end */
static void end_machine(Random *r)
{
    static const struct {
        uint16_t limit;
        uint32_t base;
    } __attribute__((packed)) no_interrupts;

    if (!snapshot_mmio_read32(bar, SNAPSHOT_REG_RUNS)) {
        return;
    }
    switch (below(r, 5)) {
    case 0:
        asm volatile("cli; hlt");
        break;
    case 1:
        outb(0x64, 0xfe);               /* reset */
        break;
    case 2:
        asm volatile("lidtl %0; int3" : : "m"(no_interrupts));
        break;
    case 3:
        outw(0x604, 0x2000);            /* ACPI: off */
        break;
    case 4:
        outw(0x604, 0x2400);            /* ACPI: sleep */
        break;
    }
}

void hostile(void)
{
    Random r = { opt.hostile ^ RANDOM_STEP };

    shared = (uint32_t)find_shared();
    shared_size = find_shared_size();
    for (;;) {
        switch (below(&r, 64)) {
        case 0:
            end_machine(&r);
            break;
        case 1:
            hide_bars();
            break;
        case 2 ... 3:
            flood_shared(&r);
            break;
        case 4 ... 7:
            give_range(&r);
            break;
        case 8 ... 15:
            dirty_pool(&r);
            break;
        case 16 ... 25:
            give_command(&r);
            break;
        case 26 ... 35:
            write_shared(&r);
            break;
        case 36 ... 45:
            get(&r, (uint32_t)bar + register_offset(&r, true));
            break;
        default:
            write_register(&r, true);
        }
        stir(&r);
    }
}
