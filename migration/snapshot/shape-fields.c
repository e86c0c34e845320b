/*
 * In-process machine snapshots: fields with code of their own, and state that
 * is in no field.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/module.h"
#include "hw/dma/i8257.h"
#include "hw/intc/arm_gicv3_common.h"
#include "hw/pci/msix.h"
#include "hw/pci/pci_device.h"
#include "hw/scsi/esp.h"
#include "hw/scsi/scsi.h"
#include "hw/usb/hcd-ehci.h"
#include "hw/virtio/virtio-scsi.h"
#include "shape-fields.h"
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

    SNAPSHOT_MEMORY(w, dev, irq_state);
}

/* Interrupt routes follow from the table. */
static void msix_state(SnapshotWalk *w, void *at, size_t size)
{
    PCIDevice *dev = at;
    size_t n = dev->msix_entries_nr;

    SNAPSHOT_GUARD(w, dev, cap_present);
    if (msix_present(dev)) {
        SNAPSHOT_GUARD(w, dev, msix_entries_nr);
        SNAPSHOT_GUARD(w, dev, msix_table);
        SNAPSHOT_GUARD(w, dev, msix_pba);
        snapshot_walk_guard(w, dev->msix_table, n * PCI_MSIX_ENTRY_SIZE);
        snapshot_walk_guard(w, dev->msix_pba, DIV_ROUND_UP(n, 8));
    }
}

/* A list of requests is written as such; there is none, mostly. */
static void scsi_requests(SnapshotWalk *w, void *at, size_t size)
{
    SCSIDevice *dev = at;

    snapshot_walk_guard(w, &dev->requests, sizeof(dev->requests.tqh_first));
    if (!QTAILQ_EMPTY(&dev->requests)) {
        snapshot_walk_incomplete(w);
    }
}

void snapshot_walk_pci(SnapshotWalk *w, PCIDevice *dev)
{
    SNAPSHOT_GUARD(w, dev, version_id);
    pci_config(w, &dev->config, pci_config_size(dev));
    pci_irq_state(w, &dev->irq_state, sizeof(dev->irq_state));
    msix_state(w, dev, 0);
}

static void register_fields(void)
{
    snapshot_walk_register("pci config", pci_config);
    snapshot_walk_register("pci irq state", pci_irq_state);
    snapshot_walk_register("msix state", msix_state);
    snapshot_walk_register("scsi-requests", scsi_requests);
}

static void register_additions(void)
{
    /*
     * Interrupts that are messages (LPIs) are pending in a table in guest RAM.
     * The controller looks there when it is loaded, and else remembers which is
     * the most urgent.  All that is in its section may be as saved, and an
     * interrupt pending that was not: forgotten then, it would be for ever,
     * since raising it once more makes no difference to the table.
     */
    SNAPSHOT_ADDITION("arm_gicv3_cpu", GICv3CPUState, hppi);
    SNAPSHOT_ADDITION("arm_gicv3_cpu", GICv3CPUState, hpplpi);
    SNAPSHOT_ADDITION("arm_gicv3_cpu", GICv3CPUState, hppvlpi);
    /* Which channels request, and which are done */
    SNAPSHOT_ADDITION("dma", I8257State, status);
    /* Reserved registers, which keep what is written to them */
    SNAPSHOT_ADDITION("ehci-core", EHCIState, notused);
    /* Whether a counter was written to, that reads as the chip's id else */
    SNAPSHOT_ADDITION("esp", ESPState, tchi_written);
    SNAPSHOT_ADDITION("esp", ESPState, dma_enabled);
    SNAPSHOT_ADDITION("esp", ESPState, dma_cb);
    /* The driver may write these to the configuration. */
    SNAPSHOT_ADDITION("virtio-scsi", VirtIOSCSICommon, sense_size);
    SNAPSHOT_ADDITION("virtio-scsi", VirtIOSCSICommon, cdb_size);
}

migration_init(register_fields);
migration_init(register_additions);
