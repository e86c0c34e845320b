/*
 * In-process machine snapshots: statistics.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/clone-visitor.h"
#include "qapi/error.h"
#include "qapi/qapi-visit-snapshot-device.h"
#include "qapi/util.h"
#include "qemu/error-report.h"
#include "qemu/timer.h"
#include "histogram.h"
#include "internal.h"
#include "trace.h"

typedef struct PhaseTime {
    int64_t last, total, max;
} PhaseTime;

/* What is counted of a level */
typedef struct Stats {
    SnapshotCounters counters;
    PhaseTime phases[SNAPSHOT_DEVICE_PHASE__MAX];
    uint64_t latencies[SNAPSHOT_HISTOGRAM_BUCKETS];
    int64_t latency_max;
} Stats;

static Stats levels[SNAPSHOT_LEVELS_MAX];
static Stats *stats = levels;       /* of the topmost level */
static char *last_error;
static const SnapshotDeviceRuns *shown_runs;    /* the device's, or NULL */

const SnapshotCounters *snapshot_counters(void)
{
    return &stats->counters;
}

SnapshotCounters *snapshot_count(void)
{
    return &stats->counters;
}

void snapshot_count_reset(void)
{
    Stats zero = { .counters = { .returns = stats->counters.returns,
                                 .returned = stats->counters.returned } };

    stats = levels;
    *stats = zero;
}

void snapshot_count_push(void)
{
    const SnapshotCounters *below = &stats->counters;

    *++stats = (Stats) { .counters = { .armed = true,
                                       .engine = below->engine,
                                       .verify = below->verify,
                                       .levels = below->levels + 1,
                                       .ram_bytes = below->ram_bytes,
                                       .returns = below->returns,
                                       .returned = below->returned } };
}

void snapshot_count_pop(void)
{
    const SnapshotCounters *above = &stats->counters;

    stats--;
    stats->counters.verify = above->verify;
    stats->counters.returns = above->returns;
    stats->counters.returned = above->returned;
}

uint64_t snapshot_count_restores(unsigned int level)
{
    return levels[level].counters.restores;
}

void snapshot_phase_done(SnapshotDevicePhase phase, int64_t *since)
{
    int64_t now = get_clock();
    PhaseTime *p = &stats->phases[phase];

    p->last = now - *since;
    p->total += p->last;
    p->max = MAX(p->max, p->last);
    *since = now;
}

void snapshot_count_latency(int64_t ns)
{
    stats->counters.restore_ns = ns;
    stats->latencies[snapshot_histogram_bucket(ns)]++;
    stats->latency_max = MAX(stats->latency_max, ns);
}

void snapshot_show_runs(const SnapshotDeviceRuns *runs)
{
    shown_runs = runs;
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

static SnapshotDeviceLatency *latency_info(void)
{
    SnapshotDeviceLatency *info = g_new0(SnapshotDeviceLatency, 1);

    info->max = stats->latency_max;
    for (int i = SNAPSHOT_HISTOGRAM_BUCKETS - 1; i >= 0; i--) {
        SnapshotDeviceLatencyBucket *b;

        if (stats->latencies[i]) {
            b = g_new0(SnapshotDeviceLatencyBucket, 1);
            b->last = snapshot_histogram_last(i);
            b->count = stats->latencies[i];
            QAPI_LIST_PREPEND(info->buckets, b);
        }
    }
    return info;
}

SnapshotDeviceInfo *snapshot_count_info(void)
{
    SnapshotDeviceInfo *info = g_new0(SnapshotDeviceInfo, 1);
    const SnapshotCounters *c = &stats->counters;

    info->armed = c->armed;
    info->engine = c->engine;
    info->verify = c->verify;
    info->restores = c->restores;
    info->verify_failures = c->verify_failures;
    info->pages_last = c->pages_last;
    info->pages_total = c->pages_total;
    info->dropped_last = c->dropped_last;
    info->words_last = c->words_last;
    info->tlbs_kept = c->tlbs_kept;
    info->ram_bytes = c->ram_bytes;
    info->last_error = g_strdup(last_error);
    info->latency = latency_info();
    if (shown_runs) {
        info->runs = QAPI_CLONE(SnapshotDeviceRuns, shown_runs);
    }
    for (int i = SNAPSHOT_DEVICE_PHASE__MAX - 1; c->armed && i >= 0; i--) {
        SnapshotDevicePhaseTime *t = g_new0(SnapshotDevicePhaseTime, 1);

        t->phase = i;
        t->last = stats->phases[i].last;
        t->total = stats->phases[i].total;
        t->max = stats->phases[i].max;
        QAPI_LIST_PREPEND(info->phases, t);
    }
    return info;
}
