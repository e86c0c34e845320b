/*
 * Device "snapshot": who keeps a campaign of afl-fuzz going if QEMU crashes.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_MISC_SNAPSHOT_KEEPER_H
#define HW_MISC_SNAPSHOT_KEEPER_H

/* How far QEMU is with the words of one run */
typedef enum SnapshotKeptPhase {
    SNAPSHOT_KEPT_IDLE,         /* all said */
    SNAPSHOT_KEPT_TAKING,       /* about to read that there is an input */
    SNAPSHOT_KEPT_TAKEN,        /* it has; pid and status are to be written */
    SNAPSHOT_KEPT_TELLING,      /* the keeper writes the pid */
    SNAPSHOT_KEPT_GOING,        /* it is; the status is to be written */
} SnapshotKeptPhase;

/* What QEMU and its keeper both know, and what outlives QEMU */
typedef struct SnapshotKept {
    bool by_keeper;             /* there is one */
    bool new_handshake;         /* afl-fuzz knows the one since 4.20 */
    bool greeted;
    bool ready;                 /* the guest has asked for an input */
    uint32_t beats;             /* counts while QEMU's main loop runs */
    pid_t helper;               /* whom afl-fuzz kills to cut a run off; or 0 */
    SnapshotKeptPhase phase;
} SnapshotKept;

/* Without a keeper, of this process only */
extern SnapshotKept *snapshot_kept;

/*
 * To be called first in QEMU, before there are threads or open files.  If
 * afl-fuzz has started it for a snapshot device, it returns in a child process,
 * once for each that is needed; else at once.
 */
void snapshot_keep(int argc, char **argv);

#endif
