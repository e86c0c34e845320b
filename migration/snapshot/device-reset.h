/*
 * In-process machine snapshots: the state from which a loader was written to
 * start.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef MIGRATION_SNAPSHOT_DEVICE_RESET_H
#define MIGRATION_SNAPSHOT_DEVICE_RESET_H

#include "hw/qdev-core.h"

/**
 * snapshot_device_whole: what has to be reset to reset @dev
 *
 * The transport of a virtio device, and else @dev itself.
 */
DeviceState *snapshot_device_whole(DeviceState *dev);

/**
 * snapshot_device_reset: reset @dev alone, as a reset of the machine would
 *
 * It is reset with its whole.  Other devices may see interrupt lines change.
 */
void snapshot_device_reset(DeviceState *dev);

#endif
