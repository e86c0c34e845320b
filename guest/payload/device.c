/*
 * A target for fuzzers: an emulated device.  QEMU is what is tested.
 *
 * An input is a list of operations of 8 bytes each:
 *
 *     byte 0   bits 0-1   width: 1, 2, 4, 4 bytes
 *              bits 2-3   0: write to the device, 1: read from it, 2: write to
 *                         memory for its DMA, 3: wait
 *              bits 4-7   bits 16 to 19 of the offset
 *     byte 1   of which BAR, modulo the number of those in use
 *     2 to 3   offset, modulo the size, cut to a multiple of the width
 *     4 to 7   value, or how many turns of a loop to wait, modulo 65536
 *
 * all of them little-endian.  What is left over at the end is ignored, so that
 * every input means something.
 *
 * Where QEMU does not count edges of its own code (coverage=qemu), coverage is
 * what the guest sees of the device: for each register and width, a counter for
 * each number of significant bits that is read.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "payload.h"

#define OPERATION_SIZE  8
#define WAIT_MAX        0xffff

enum { DO_WRITE, DO_READ, DO_MEMORY, DO_WAIT };

typedef struct Operation {
    unsigned int kind;
    unsigned int width;         /* bytes */
    unsigned int bar;
    uint32_t offset, value;
} Operation;

static PciRegion regions[PCI_BARS];
static unsigned int n_regions;
static bool counts;             /* does the guest count? */

static Operation decode(const uint8_t *data)
{
    return (Operation) {
        .kind = data[0] >> 2 & 3,
        .width = (data[0] & 3) == 3 ? 4 : 1 << (data[0] & 3),
        .bar = data[1] % n_regions,
        .offset = (data[0] >> 4) << 16 | data[3] << 8 | data[2],
        .value = (uint32_t)data[7] << 24 | data[6] << 16 | data[5] << 8 |
                 data[4],
    };
}

/* Offset of an access of @width bytes in @size bytes */
static uint32_t place(const Operation *op, uint32_t size)
{
    return (op->offset % size) & ~(op->width - 1);
}

/* To MMIO, or to what a device reads: one access of just this width */
static void write_memory(uint32_t address, unsigned int width, uint32_t value)
{
    if (width == 1) {
        *(volatile uint8_t *)address = value;       /* volatile: MMIO */
    } else if (width == 2) {
        *(volatile uint16_t *)address = value;      /* volatile: MMIO */
    } else {
        *(volatile uint32_t *)address = value;      /* volatile: MMIO */
    }
}

static uint32_t read_memory(uint32_t address, unsigned int width)
{
    if (width == 1) {
        return *(volatile uint8_t *)address;        /* volatile: MMIO */
    }
    if (width == 2) {
        return *(volatile uint16_t *)address;       /* volatile: MMIO */
    }
    return *(volatile uint32_t *)address;           /* volatile: MMIO */
}

static void write_port(uint16_t port, unsigned int width, uint32_t value)
{
    if (width == 1) {
        outb(port, value);
    } else if (width == 2) {
        outw(port, value);
    } else {
        outl(port, value);
    }
}

static uint32_t read_port(uint16_t port, unsigned int width)
{
    return width == 1 ? inb(port) : width == 2 ? inw(port) : inl(port);
}

static unsigned int significant_bits(uint32_t value)
{
    return value ? 32 - __builtin_clz(value) : 0;
}

/* Count what was read from @address, unless that is nothing. */
static void note(uint32_t address, unsigned int width, uint32_t value)
{
    if (counts && value) {
        uint32_t what = width * 32 + significant_bits(value);

        /* Fibonacci hashing: the upper bits depend on all of the sum. */
        fuzz_count((address * 256 + what) * 0x9e3779b1u >> 12);
    }
}

static void write_device(const Operation *op)
{
    const PciRegion *r = &regions[op->bar];
    uint32_t address = r->base + place(op, r->size);

    if (r->io) {
        write_port(address, op->width, op->value);
    } else {
        write_memory(address, op->width, op->value);
    }
}

static void read_device(const Operation *op)
{
    const PciRegion *r = &regions[op->bar];
    uint32_t address = r->base + place(op, r->size);
    uint32_t value = r->io ? read_port(address, op->width)
                           : read_memory(address, op->width);

    note(address, op->width, value);
}

void fuzz_device(const uint8_t *data, uint32_t size)
{
    if (counts) {
        fuzz_count(0);          /* afl-fuzz wants to see something each time */
    }
    for (; size >= OPERATION_SIZE; size -= OPERATION_SIZE) {
        Operation op = decode(data);

        switch (op.kind) {
        case DO_WRITE:
            write_device(&op);
            break;
        case DO_READ:
            read_device(&op);
            break;
        case DO_MEMORY:
            write_memory(DMA_BASE + place(&op, DMA_SIZE), op.width, op.value);
            break;
        case DO_WAIT:
            delay((op.value & WAIT_MAX) + 1);
            break;
        }
        data += OPERATION_SIZE;
    }
}

void fuzz_device_open(uint32_t id)
{
    int function = pci_find(id);

    if (function < 0) {
        fail("no PCI device 0x%x: start QEMU with one", id);
    }
    n_regions = pci_enable(function, regions);
    if (!n_regions) {
        fail("the PCI device 0x%x has no BAR with an address", id);
    }
    counts = snapshot_mmio_read32(bar, SNAPSHOT_REG_COVERAGE) ==
             SNAPSHOT_COVERAGE_NONE;
}
