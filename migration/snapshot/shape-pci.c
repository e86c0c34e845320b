/*
 * In-process machine snapshots: fields of PCI devices with code of their own.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/module.h"
#include "hw/pci/msix.h"
#include "hw/pci/pci_device.h"
#include "shape-pci.h"
#include "shape-walk.h"

/* Mappings of BARs and bridges follow from it. */
static void pci_config(SnapshotWalk *w, void *at, size_t size)
{
    uint8_t **config = at;

    snapshot_walk_guard(w, config, sizeof(*config));
    snapshot_walk_guard(w, *config, size);
}

/* The levels of the device's pins, a bit each */
static void pci_irq_state(SnapshotWalk *w, void *at, size_t size)
{
    PCIDevice *dev = container_of(at, PCIDevice, irq_state);

    snapshot_walk_memory(w, &dev->irq_state, sizeof(dev->irq_state));
}

/* Interrupt routes follow from the table. */
static void msix_state(SnapshotWalk *w, void *at, size_t size)
{
    PCIDevice *dev = at;
    size_t n = dev->msix_entries_nr;

    if (msix_present(dev)) {
        snapshot_walk_guard(w, dev->msix_table, n * PCI_MSIX_ENTRY_SIZE);
        snapshot_walk_guard(w, dev->msix_pba, DIV_ROUND_UP(n, 8));
    }
}

void snapshot_walk_pci(SnapshotWalk *w, PCIDevice *dev)
{
    pci_config(w, &dev->config, pci_config_size(dev));
    pci_irq_state(w, &dev->irq_state, sizeof(dev->irq_state));
    msix_state(w, dev, 0);
}

static void register_fields(void)
{
    snapshot_walk_register("pci config", pci_config);
    snapshot_walk_register("pci irq state", pci_irq_state);
    snapshot_walk_register("msix state", msix_state);
}

migration_init(register_fields);
