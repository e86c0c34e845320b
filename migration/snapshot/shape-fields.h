/*
 * In-process machine snapshots: fields with code of their own.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef MIGRATION_SNAPSHOT_SHAPE_FIELDS_H
#define MIGRATION_SNAPSHOT_SHAPE_FIELDS_H

#include "hw/pci/pci_device.h"
#include "shape-walk.h"

/**
 * snapshot_walk_pci: what pci_device_save() and msix_save() read of @dev
 */
void snapshot_walk_pci(SnapshotWalk *w, PCIDevice *dev);

#endif
