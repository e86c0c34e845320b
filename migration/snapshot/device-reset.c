/*
 * In-process machine snapshots: the state from which a loader was written to
 * start.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "hw/acpi/piix4.h"
#include "hw/core/cpu.h"
#include "hw/qdev-core.h"
#include "hw/southbridge/ich9.h"
#include "hw/virtio/virtio-bus.h"
#include "device-reset.h"
#include "internal.h"
#include "legacy-reset.h"

static int reset_child(Object *child, void *unused)
{
    snapshot_legacy_reset(child);
    return 0;
}

/* The chip that asks the guest to give up PCI devices, NULL: there is none */
static AcpiPciHpState *unplugger(void)
{
    Object *obj = object_resolve_path_type("", TYPE_PIIX4_PM, NULL);

    if (obj) {
        return &PIIX4_PM(obj)->acpi_pci_hotplug;
    }
    obj = object_resolve_path_type("", TYPE_ICH9_LPC_DEVICE, NULL);
    return obj ? &ICH9_LPC_DEVICE(obj)->pm.acpi_pci_hotplug : NULL;
}

/*
 * Devices that the guest has been asked to give up (ACPI) are gone after a
 * reset of the chip: not in the middle of a restore.  Loading brings back what
 * had been asked for at the save.  The chip is on the bus of a host bridge,
 * and is reset along with that.
 */
static void forget_unplugs(const DeviceState *dev)
{
    AcpiPciHpState *s = dev->num_child_bus ? unplugger() : NULL;

    for (int i = 0; s && i < ACPI_PCIHP_MAX_HOTPLUG_BUS; i++) {
        s->acpi_pcihp_pci_status[i].down = 0;
    }
}

DeviceState *snapshot_device_whole(DeviceState *dev)
{
    BusState *bus = qdev_get_parent_bus(dev);

    return bus && object_dynamic_cast(OBJECT(bus), TYPE_VIRTIO_BUS)
           ? bus->parent : dev;
}

void snapshot_device_reset(DeviceState *dev)
{
    DeviceState *whole = snapshot_device_whole(dev);

    if (object_dynamic_cast(OBJECT(dev), TYPE_CPU)) {
        cpu_reset(CPU(dev));
    } else if (whole != dev) {
        device_cold_reset(whole);
    } else {
        forget_unplugs(dev);
        device_cold_reset(dev);
        snapshot_legacy_reset(dev);
        object_child_foreach_recursive(OBJECT(dev), reset_child, NULL);
        /* KVM's timer, reset by itself or along with its bus, runs now. */
        snapshot_pit_hold();
    }
}
