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

/*
 * Interrupts that are messages (LPIs) are pending in a table in guest RAM.  The
 * controller looks there when it is loaded, and else remembers which is the
 * most urgent.  All that is in its section may be as saved, and an interrupt
 * pending that was not: forgotten then, it would be for ever, since raising it
 * once more makes no difference to the table.
 */
static void gicv3_cpu(SnapshotWalk *w, void *at, size_t size)
{
    GICv3CPUState *cs = at;

    SNAPSHOT_MEMORY(w, cs, hppi);
    SNAPSHOT_MEMORY(w, cs, hpplpi);
    SNAPSHOT_MEMORY(w, cs, hppvlpi);
}

/* Registers that are not saved: which channels request, and which are done */
static void dma(SnapshotWalk *w, void *at, size_t size)
{
    I8257State *d = at;

    SNAPSHOT_MEMORY(w, d, status);
}

/* Whether the guest has written a counter that reads as the chip's id else */
static void esp(SnapshotWalk *w, void *at, size_t size)
{
    ESPState *s = at;

    SNAPSHOT_MEMORY(w, s, tchi_written);
    SNAPSHOT_MEMORY(w, s, dma_enabled);
    SNAPSHOT_MEMORY(w, s, dma_cb);
}

/* Reserved registers, which keep what is written to them */
static void ehci(SnapshotWalk *w, void *at, size_t size)
{
    EHCIState *s = at;

    SNAPSHOT_MEMORY(w, s, notused);
}

/* The driver may write these to the configuration, which is not saved. */
static void virtio_scsi(SnapshotWalk *w, void *at, size_t size)
{
    VirtIOSCSICommon *vs = at;

    SNAPSHOT_MEMORY(w, vs, sense_size);
    SNAPSHOT_MEMORY(w, vs, cdb_size);
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
    snapshot_walk_register_addition("arm_gicv3_cpu", gicv3_cpu);
    snapshot_walk_register_addition("dma", dma);
    snapshot_walk_register_addition("ehci-core", ehci);
    snapshot_walk_register_addition("esp", esp);
    snapshot_walk_register_addition("virtio-scsi", virtio_scsi);
}

migration_init(register_fields);
