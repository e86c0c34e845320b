/*
 * Device "snapshot": waiting for a host's next input, with the machine held.
 *
 * The thread of a vCPU that has the machine to itself waits there, without the
 * BQL: an input then costs one wake-up.  It does so for a moment only, as
 * nobody can stop a vCPU that is in there; a fuzzer that takes longer is
 * waited for in the main loop, as is one for a machine with several vCPU
 * threads.
 *
 * Everything here is called with the BQL held.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_MISC_SNAPSHOT_WAIT_H
#define HW_MISC_SNAPSHOT_WAIT_H

#include "qemu/main-loop.h"

/* Embedded in who waits */
typedef struct SnapshotWait {
    int fd;                     /* readable if there is an input; -1: always */
    void (*ready)(void *opaque);
    void *opaque;               /* for ->ready() */
    bool waiting;
    bool watching_fd;           /* in the main loop */
    QEMUBH *bh;                 /* instead, where there is no descriptor */
} SnapshotWait;

/*
 * @ready is called, with @opaque, when there may be an input and the machine
 * is not stopped; waiting has ended then.  It may be in the thread of a vCPU.
 */
void snapshot_wait_init(SnapshotWait *w, int fd, void (*ready)(void *opaque),
                        void *opaque);

/* Wait no more, ever. */
void snapshot_wait_destroy(SnapshotWait *w);

/* Wait where it is best.  The machine is held (snapshot_stay()). */
void snapshot_wait(SnapshotWait *w);

/*
 * Wait in the main loop: there was no input yet, or the machine has been
 * stopped and started.
 */
void snapshot_wait_in_main_loop(SnapshotWait *w);

#endif
