/*
 * Device "snapshot": registers (BAR 0).
 *
 * They are no part of the machine state: they survive a restore, and this is
 * how the guest tells whether it has just saved or was just restored.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_MISC_SNAPSHOT_REGISTERS_H
#define HW_MISC_SNAPSHOT_REGISTERS_H

#include "run.h"

/* Embedded in the device */
typedef struct SnapshotRegs {
    MemoryRegion bar;
    SnapshotRuns *runs;         /* or NULL; the device's */
    SnapshotShared *shared;     /* the device's */

    SnapshotResult result;      /* of the last command */
    uint64_t returns;           /* to a saved instant, known to ->result */
    uint32_t rejected;          /* commands that did nothing */
    uint64_t start, length;     /* of memory to exclude, code to cover */
    uint32_t cover_flags;
} SnapshotRegs;

/*
 * Make @r->bar a region of @owner.  Commands of runs go to @runs, which may
 * be NULL; results are shown in @shared, too.
 */
void snapshot_regs_init(SnapshotRegs *r, Object *owner, SnapshotRuns *runs,
                        SnapshotShared *shared);

/* The device goes: forget its runs, and a command that is pending. */
void snapshot_regs_detach(SnapshotRegs *r);

/* A SnapshotDoneFunc; @regs: the registers that show @result */
void snapshot_regs_done(void *regs, SnapshotResult result);

#endif
