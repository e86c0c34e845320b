/*
 * libsnapshot: when to save.
 *
 * An interrupt of the kernel's timer that is due when the machine is saved, or
 * soon after, is due again after each restore.  To handle it may take longer
 * than all that a run is for, and there is nothing wrong to be seen.  So save
 * right after one.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "device.h"

/* Nanoseconds: twice the period at 100 Hz; a kernel may have no such timer. */
#define TICK_MAX    20000000

/* Longer than many runs */
#define FAR_US      1000

/* On a busy host timers come late, or another one may follow. */
#define TRIES       5

static int64_t now(clockid_t clock)
{
    struct timespec time = { 0 };

    clock_gettime(clock, &time);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

static void await_tick(void)
{
    /* This one goes on with the interrupt, and to read it is no system call. */
    int64_t coarse = now(CLOCK_MONOTONIC_COARSE);
    int64_t end = now(CLOCK_MONOTONIC) + TICK_MAX;
    bool same;

    do {
        same = now(CLOCK_MONOTONIC_COARSE) == coarse;
    } while (same && now(CLOCK_MONOTONIC) < end);
}

void snapshot_await_tick(const SnapshotBar *bar)
{
    for (int i = 0; i < TRIES; i++) {
        await_tick();
        if (snapshot_mmio_read32(bar, SNAPSHOT_REG_TIMER) >= FAR_US) {
            return;
        }
    }
}
