/*
 * In-process machine snapshots: the state from which a loader was written to
 * start.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "hw/core/cpu.h"
#include "hw/qdev-core.h"
#include "hw/virtio/virtio-bus.h"
#include "device-reset.h"
#include "legacy-reset.h"

static int reset_child(Object *child, void *unused)
{
    snapshot_legacy_reset(child);
    return 0;
}

void snapshot_device_end_transfer(I2CBus *bus)
{
    I2CNode *node, *next;

    QLIST_FOREACH_SAFE(node, &bus->current_devs, next, next) {
        I2CSlaveClass *sc = I2C_SLAVE_GET_CLASS(node->elt);

        if (sc->event) {
            sc->event(node->elt, I2C_FINISH);
        }
        QLIST_REMOVE(node, next);
        g_free(node);
    }
    bus->broadcast = false;
}

void snapshot_device_reset(DeviceState *dev)
{
    BusState *bus = qdev_get_parent_bus(dev);

    if (object_dynamic_cast(OBJECT(dev), TYPE_CPU)) {
        cpu_reset(CPU(dev));
    } else if (bus && object_dynamic_cast(OBJECT(bus), TYPE_VIRTIO_BUS)) {
        /* A virtio device is reset by way of its transport. */
        device_cold_reset(bus->parent);
    } else {
        device_cold_reset(dev);
        snapshot_legacy_reset(dev);
        object_child_foreach_recursive(OBJECT(dev), reset_child, NULL);
    }
}
