/*
 * PCI as far as the payload needs it: find devices, and where they are.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "payload.h"

#define PCI_ADDRESS         0xcf8
#define PCI_DATA            0xcfc
#define PCI_ID              0x00
#define PCI_COMMAND         0x04
#define PCI_COMMAND_IO      0x1
#define PCI_COMMAND_MEMORY  0x2
#define PCI_COMMAND_MASTER  0x4
#define PCI_HEADER          0x0c
#define PCI_HEADER_TYPE     0x007f0000
#define PCI_BAR(n)          (0x10 + 4 * (n))
#define PCI_BAR_IO          0x1
#define PCI_BAR_64          0x4
#define PCI_FUNCTIONS       (256 * 32 * 8)      /* bus, device, function */

/* BARs go below the interrupt controllers, from the top down */
#define PCI_HOLE_TOP        0xfec00000u
#define PCI_HOLE_BOTTOM     0xe0000000u

#define SNAPSHOT_ID         (SNAPSHOT_PCI_DEVICE_ID << 16 | \
                             SNAPSHOT_PCI_VENDOR_ID)

uint32_t pci_read(uint32_t function, uint32_t reg)
{
    outl(PCI_ADDRESS, 0x80000000 | function << 8 | reg);
    return inl(PCI_DATA);
}

void pci_write(uint32_t function, uint32_t reg, uint32_t value)
{
    outl(PCI_ADDRESS, 0x80000000 | function << 8 | reg);
    outl(PCI_DATA, value);
}

/* Does a memory BAR of @function overlap @size bytes at @base? */
static bool function_overlaps(uint32_t function, uint32_t base, uint32_t size)
{
    for (unsigned int n = 0; n < PCI_BARS; n++) {
        uint32_t old = pci_read(function, PCI_BAR(n));
        uint32_t start = old & ~0xfu;
        uint32_t mask;

        if (!start || old & PCI_BAR_IO) {
            continue;
        }
        pci_write(function, PCI_BAR(n), ~0u);
        mask = pci_read(function, PCI_BAR(n)) & ~0xfu;
        pci_write(function, PCI_BAR(n), old);
        if (start < base + size && base <= start + ~mask) {
            return true;
        }
    }
    return false;
}

/* The next function that exists after @function, on any bus; -1: none */
static int next_function(int function)
{
    while (++function < PCI_FUNCTIONS) {
        if ((pci_read(function, PCI_ID) & 0xffff) != 0xffff) {
            return function;
        }
        if (!(function & 7)) {
            function |= 7;              /* there is no device in this slot */
        }
    }
    return -1;
}

static bool is_free(uint32_t base, uint32_t size)
{
    for (int f = next_function(-1); f >= 0; f = next_function(f)) {
        bool bridge = pci_read(f, PCI_HEADER) & PCI_HEADER_TYPE;

        if (!bridge && function_overlaps(f, base, size)) {
            return false;
        }
    }
    return true;
}

static uint32_t assign_bar(uint32_t function)
{
    uint32_t base = PCI_HOLE_TOP;

    pci_write(function, PCI_BAR(SNAPSHOT_BAR), 0);
    do {
        base -= SNAPSHOT_BAR_SIZE;
    } while (base > PCI_HOLE_BOTTOM && !is_free(base, SNAPSHOT_BAR_SIZE));
    pci_write(function, PCI_BAR(SNAPSHOT_BAR), base);
    return base;
}

int pci_find(uint32_t id)
{
    int f = next_function(-1);

    while (f >= 0 && pci_read(f, PCI_ID) != id) {
        f = next_function(f);
    }
    return f;
}

SnapshotBar *find_device(bool reassign)
{
    int f = pci_find(SNAPSHOT_ID);
    uint32_t base, command;

    if (f < 0) {
        return NULL;
    }
    command = pci_read(f, PCI_COMMAND) & 0xffff;
    base = pci_read(f, PCI_BAR(SNAPSHOT_BAR)) & ~0xfu;
    if (reassign || !base) {
        pci_write(f, PCI_COMMAND, command & ~PCI_COMMAND_MEMORY);
        base = assign_bar(f);
    }
    pci_write(f, PCI_COMMAND, command | PCI_COMMAND_MEMORY);
    return (SnapshotBar *)base;
}

uint8_t *find_shared(void)
{
    uint32_t bar = pci_read(pci_find(SNAPSHOT_ID),
                            PCI_BAR(SNAPSHOT_SHARED_BAR));

    return (uint8_t *)(bar & ~0xfu);
}

/* What BAR @n of @function takes up; false: it is not in use. */
static bool bar_region(uint32_t function, unsigned int n, PciRegion *region)
{
    uint32_t old = pci_read(function, PCI_BAR(n));
    uint32_t flags = old & PCI_BAR_IO ? 0x3 : 0xf;
    uint32_t mask;

    pci_write(function, PCI_BAR(n), ~0u);
    mask = pci_read(function, PCI_BAR(n)) & ~flags;
    pci_write(function, PCI_BAR(n), old);
    region->io = old & PCI_BAR_IO;
    region->base = old & ~flags;
    region->size = region->io ? -mask & 0xffff : -mask;
    return region->base && region->size;
}

unsigned int pci_enable(uint32_t function, PciRegion *regions)
{
    unsigned int count = 0;

    pci_write(function, PCI_COMMAND, 0);    /* while BARs are asked for size */
    for (unsigned int n = 0; n < PCI_BARS; n++) {
        uint32_t bar = pci_read(function, PCI_BAR(n));
        bool is_long = !(bar & PCI_BAR_IO) && bar & PCI_BAR_64;
        bool is_high = is_long && n + 1 < PCI_BARS &&
                       pci_read(function, PCI_BAR(n + 1));

        count += !is_high && bar_region(function, n, &regions[count]);
        n += is_long;
    }
    pci_write(function, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY |
              PCI_COMMAND_MASTER);
    return count;
}

uint32_t find_shared_size(void)
{
    PciRegion region = { 0 };

    bar_region(pci_find(SNAPSHOT_ID), SNAPSHOT_SHARED_BAR, &region);
    return region.size;
}

void hide_bars(void)
{
    int f = pci_find(SNAPSHOT_ID);
    uint32_t command = pci_read(f, PCI_COMMAND) & 0xffff;
    uint32_t bar = pci_read(f, PCI_BAR(SNAPSHOT_BAR));
    uint32_t shared = pci_read(f, PCI_BAR(SNAPSHOT_SHARED_BAR));

    pci_write(f, PCI_COMMAND, command & ~PCI_COMMAND_MEMORY);
    pci_write(f, PCI_BAR(SNAPSHOT_SHARED_BAR), bar);
    pci_write(f, PCI_BAR(SNAPSHOT_BAR), POOL_BASE);
    pci_write(f, PCI_COMMAND, command | PCI_COMMAND_MEMORY);
    pci_write(f, PCI_BAR(SNAPSHOT_BAR), bar);
    pci_write(f, PCI_BAR(SNAPSHOT_SHARED_BAR), shared);
    pci_write(f, PCI_COMMAND, command);
}
