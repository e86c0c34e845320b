/*
 * libsnapshot: what its two files share.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef LIBSNAPSHOT_DEVICE_H
#define LIBSNAPSHOT_DEVICE_H

#include "snapshot.h"

struct SnapshotDevice {
    SnapshotPci pci;
    SnapshotBar *bar;
    SnapshotBar *shared;        /* BAR 2, or NULL */
    size_t shared_size;
};

#endif
