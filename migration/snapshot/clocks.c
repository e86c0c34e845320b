/*
 * In-process machine snapshots: guest clocks.
 *
 * Ticks and virtual time are stored by the section "timer" as offsets that
 * mean something only while ticks are disabled, which the engine sees to.
 * Three things are left for this file: the last tick count handed out, below
 * which the time stamp counter of a TCG guest would never go again; the clock
 * of a qtest machine; and timers that no device section knows.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/seqlock.h"
#include "qemu/timer.h"
#include "qapi/error.h"
#include "system/cpu-timers.h"
#include "system/cpu-timers-internal.h"
#include "system/qtest.h"
#include "internal.h"
#include "timers.h"
#include "trace.h"

struct SnapshotClocks {
    int64_t virtual_ns;
    int64_t ticks_prev;
    GArray *timers;     /* armed at the save, of SnapshotTimer */
};

SnapshotClocks *snapshot_clocks_save(void)
{
    SnapshotClocks *clocks = g_new0(SnapshotClocks, 1);

    clocks->virtual_ns = qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL);
    clocks->ticks_prev = timers_state.cpu_ticks_prev;
    clocks->timers = snapshot_timers_list();
    return clocks;
}

void snapshot_clocks_rewind(const SnapshotClocks *clocks)
{
    int64_t back = qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL) - clocks->virtual_ns;

    trace_snapshot_clocks_rewind(clocks->virtual_ns, back);
    timers_state.cpu_ticks_prev = clocks->ticks_prev;
    if (qtest_enabled()) {
        cpus_set_virtual_clock(clocks->virtual_ns);
    }
    if (back) {
        snapshot_timers_shift(clocks->timers, back);
    }
}

bool snapshot_clocks_verify(const SnapshotClocks *clocks, Error **errp)
{
    int64_t now = qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL);

    if (now != clocks->virtual_ns) {
        error_setg(errp, "virtual clock is %" PRId64 " ns, was %" PRId64
                   " ns", now, clocks->virtual_ns);
        return false;
    }
    return true;
}

int64_t snapshot_next_timer(void)
{
    int64_t ns = qemu_clock_deadline_ns_all(QEMU_CLOCK_VIRTUAL,
                                            QEMU_TIMER_ATTR_ALL);

    return ns < 0 ? INT64_MAX : ns;
}

void snapshot_clocks_free(SnapshotClocks *clocks)
{
    if (clocks) {
        g_array_unref(clocks->timers);
        g_free(clocks);
    }
}
