/*
 * In-process machine snapshots: transfers on I2C buses.
 *
 * A bus in the middle of a transfer has a list of the devices that take part in
 * it.  The list is in no section: what is saved of a bus is an address, and
 * each device, when it is loaded, adds itself to the list if that is its own.
 * So the list is right only if it was empty, and all devices are loaded.  Here
 * it is made along with the bus, by the address.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef MIGRATION_SNAPSHOT_I2C_H
#define MIGRATION_SNAPSHOT_I2C_H

#include "hw/i2c/i2c.h"

/**
 * snapshot_i2c_forget: @bus is idle, and the devices are not told of it
 *
 * They are restored after their bus.
 */
void snapshot_i2c_forget(I2CBus *bus);

/**
 * snapshot_i2c_resume: @bus, idle so far, is in the transfer that was saved
 *
 * Its section was loaded.
 */
void snapshot_i2c_resume(I2CBus *bus);

/**
 * snapshot_i2c_before_load: @dev is about to be loaded
 *
 * If it is a device on an I2C bus, it does not add itself to the list.
 */
void snapshot_i2c_before_load(DeviceState *dev);

/**
 * snapshot_i2c_after_load: @dev was loaded
 *
 * The controller of q35 has ports that are there if a bit of its configuration
 * says so.  Its loader does not look at that.
 */
void snapshot_i2c_after_load(DeviceState *dev);

#endif
