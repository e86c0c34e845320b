/*
 * Timers on virtual time that belong to the host side.
 *
 * Device timers are part of the device state.  Others (the round-robin
 * scheduler's, the network back ends', throttling) are not: when virtual time
 * goes back, they would fire late by as much as it went back.  So each timer
 * that was armed after the save keeps the time it had left.
 *
 * The functions live in timers.c.inc, at the end of util/qemu-timer.c.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef MIGRATION_SNAPSHOT_TIMERS_H
#define MIGRATION_SNAPSHOT_TIMERS_H

/* An armed timer: which, and when it was due (ns of QEMU_CLOCK_VIRTUAL) */
typedef struct SnapshotTimer {
    const QEMUTimer *timer;     /* to compare with, never to follow */
    int64_t expire_time;
} SnapshotTimer;

/* All armed timers of QEMU_CLOCK_VIRTUAL; free with g_array_unref(). */
GArray *snapshot_timers_list(void);

/* Move each armed timer that is not in @saved @ns into the past. */
void snapshot_timers_shift(const GArray *saved, int64_t ns);

#endif
