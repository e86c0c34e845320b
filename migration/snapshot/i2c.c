/*
 * In-process machine snapshots: transfers on I2C buses.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/module.h"
#include "hw/pci/pci_device.h"
#include "hw/southbridge/ich9.h"
#include "i2c.h"
#include "shape-walk.h"

/*
 * In I2CBus.saved_address: there is no transfer, or one to all devices.
 * Addresses have 7 bits.
 */
#define IDLE 0xff
#define BROADCAST 0

void snapshot_i2c_forget(I2CBus *bus)
{
    I2CNode *node, *next;

    QLIST_FOREACH_SAFE(node, &bus->current_devs, next, next) {
        QLIST_REMOVE(node, next);
        g_free(node);
    }
}

void snapshot_i2c_resume(I2CBus *bus)
{
    BusChild *kid;

    if (bus->saved_address == IDLE) {
        return;
    }
    bus->broadcast = bus->saved_address == BROADCAST;
    QTAILQ_FOREACH(kid, &bus->qbus.children, sibling) {
        I2CSlave *slave = I2C_SLAVE(kid->child);
        I2CSlaveClass *sc = I2C_SLAVE_GET_CLASS(slave);

        if (sc->match_and_add(slave, bus->saved_address, bus->broadcast,
                              &bus->current_devs) && !bus->broadcast) {
            return;
        }
    }
}

void snapshot_i2c_before_load(DeviceState *dev)
{
    if (object_dynamic_cast(OBJECT(dev), TYPE_I2C_SLAVE)) {
        I2C_BUS(qdev_get_parent_bus(dev))->saved_address = IDLE;
    }
}

void snapshot_i2c_after_load(DeviceState *dev)
{
    PCIDevice *pci;

    if (object_dynamic_cast(OBJECT(dev), TYPE_ICH9_SMB_DEVICE)) {
        pci = PCI_DEVICE(dev);
        pci->config_write(pci, ICH9_SMB_HOSTC, pci->config[ICH9_SMB_HOSTC], 1);
    }
}

static void register_addition(void)
{
    /* It outlives a broadcast that nobody answers. */
    SNAPSHOT_ADDITION("i2c_bus", I2CBus, broadcast);
}

migration_init(register_addition);
