/*
 * In-process machine snapshots: the state from which a loader was written to
 * start.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef MIGRATION_SNAPSHOT_DEVICE_RESET_H
#define MIGRATION_SNAPSHOT_DEVICE_RESET_H

#include "hw/i2c/i2c.h"
#include "hw/qdev-core.h"

/**
 * snapshot_device_reset: reset @dev alone, as a reset of the machine would
 *
 * A virtio device is reset by way of its transport.  Other devices may see
 * interrupt lines change.
 */
void snapshot_device_reset(DeviceState *dev);

/**
 * snapshot_device_end_transfer: make @bus idle
 *
 * An I2C bus is in the middle of a transfer if it has current devices.  Its
 * loader adds one, but takes none away.
 */
void snapshot_device_end_transfer(I2CBus *bus);

#endif
