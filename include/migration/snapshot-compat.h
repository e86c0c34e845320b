/*
 * In-process machine snapshots: what differs between the QEMU versions that
 * the graft is for (10.0 and later), for all files; what concerns RAM alone is
 * in migration/snapshot/compat-ram.h.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef MIGRATION_SNAPSHOT_COMPAT_H
#define MIGRATION_SNAPSHOT_COMPAT_H

#define SNAPSHOT_QEMU_SINCE(major, minor) \
    (QEMU_VERSION_MAJOR > (major) || \
     (QEMU_VERSION_MAJOR == (major) && QEMU_VERSION_MINOR >= (minor)))

/* The last parameter of class_init */
#if SNAPSHOT_QEMU_SINCE(10, 1)
typedef const void SnapshotClassData;
#else
typedef void SnapshotClassData;
#endif

/* How exact the answer of bdrv_co_block_status() has to be */
#if SNAPSHOT_QEMU_SINCE(10, 1)
typedef unsigned int SnapshotStatusMode;
#else
typedef bool SnapshotStatusMode;
#endif

#endif
