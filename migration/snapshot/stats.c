/*
 * In-process machine snapshots: statistics.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/util.h"
#include "qemu/error-report.h"
#include "qemu/timer.h"
#include "internal.h"
#include "trace.h"

typedef struct PhaseTime {
    int64_t last, total, max;
} PhaseTime;

static SnapshotCounters counters;
static PhaseTime phases[SNAPSHOT_DEVICE_PHASE__MAX];
static char *last_error;

const SnapshotCounters *snapshot_counters(void)
{
    return &counters;
}

SnapshotCounters *snapshot_count(void)
{
    return &counters;
}

void snapshot_count_reset(void)
{
    counters = (SnapshotCounters) {
        .returns = counters.returns,
        .returned = counters.returned,
    };
    memset(phases, 0, sizeof(phases));
}

void snapshot_phase_done(SnapshotDevicePhase phase, int64_t *since)
{
    int64_t now = get_clock();
    PhaseTime *p = &phases[phase];

    p->last = now - *since;
    p->total += p->last;
    p->max = MAX(p->max, p->last);
    *since = now;
}

void snapshot_note_failure(SnapshotOp op, SnapshotResult res,
                           const Error *err)
{
    const char *text = error_get_pretty(err);

    trace_snapshot_failed(op, res, text);
    if (g_strcmp0(last_error, text)) {
        if (res != SNAPSHOT_RESULT_NONE) {
            warn_report("snapshot: %s", text);
        }
        g_free(last_error);
        last_error = g_strdup(text);
    }
}

SnapshotDeviceInfo *snapshot_count_info(void)
{
    SnapshotDeviceInfo *info = g_new0(SnapshotDeviceInfo, 1);
    const SnapshotCounters *c = &counters;

    info->armed = c->armed;
    info->engine = c->engine;
    info->verify = c->verify;
    info->restores = c->restores;
    info->verify_failures = c->verify_failures;
    info->pages_last = c->pages_last;
    info->pages_total = c->pages_total;
    info->ram_bytes = c->ram_bytes;
    info->last_error = g_strdup(last_error);
    for (int i = SNAPSHOT_DEVICE_PHASE__MAX - 1; c->armed && i >= 0; i--) {
        SnapshotDevicePhaseTime *t = g_new0(SnapshotDevicePhaseTime, 1);

        t->phase = i;
        t->last = phases[i].last;
        t->total = phases[i].total;
        t->max = phases[i].max;
        QAPI_LIST_PREPEND(info->phases, t);
    }
    return info;
}
