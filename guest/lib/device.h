/*
 * libsnapshot: what its files share.
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

/* From the linker: where the program's code is */
extern const char __executable_start[], etext[];

/* Set errno for the result of a command and return -1; 0 if it was done. */
int snapshot_to_errno(uint32_t result);

/*
 * Return right after the kernel's timer, if that can be, with no other one due
 * soon; in 100 ms at most.
 */
void snapshot_await_tick(const SnapshotBar *bar);

#endif
