/*
 * In-process machine snapshots: monitor commands.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "migration/snapshot-engine.h"
#include "migration/snapshot/hmp.h"
#include "monitor/hmp.h"
#include "monitor/monitor.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-snapshot-device.h"
#include "qobject/qdict.h"

void qmp_x_snapshot_device_save(bool has_engine, SnapshotDeviceEngine engine,
                                const char *file, bool has_verify, bool verify,
                                bool has_disk_limit, uint64_t disk_limit,
                                Error **errp)
{
    SnapshotConfig before = *snapshot_config();
    g_autofree char *before_file = g_strdup(before.file);
    SnapshotConfig config = before;

    if (has_engine) {
        config.engine = engine;
    }
    if (file) {
        config.file = (char *)file;
    }
    if (has_verify) {
        config.verify = verify;
    }
    if (has_disk_limit) {
        config.disk_limit = disk_limit;
    }
    if (file && config.engine == SNAPSHOT_DEVICE_ENGINE_COPY) {
        error_setg(errp, "'file' is for engine 'remap'; engine 'copy' keeps "
                   "RAM in memory");
        return;
    }
    before.file = before_file;
    snapshot_configure(&config);
    snapshot_run(SNAPSHOT_OP_SAVE, errp);
    snapshot_configure(&before);
}

void qmp_x_snapshot_device_restore(Error **errp)
{
    snapshot_run(SNAPSHOT_OP_RESTORE, errp);
}

void qmp_x_snapshot_device_push(Error **errp)
{
    snapshot_run(SNAPSHOT_OP_PUSH, errp);
}

void qmp_x_snapshot_device_pop(Error **errp)
{
    snapshot_run(SNAPSHOT_OP_POP, errp);
}

void qmp_x_snapshot_device_exclude(uint64_t start, uint64_t length,
                                   Error **errp)
{
    snapshot_exclude(start, length, errp);
}

void qmp_x_snapshot_device_include_all(Error **errp)
{
    snapshot_include_all(errp);
}

void qmp_x_snapshot_device_set_verify(bool verify, Error **errp)
{
    snapshot_set_verify(verify);
}

void qmp_x_snapshot_device_discard(Error **errp)
{
    snapshot_run(SNAPSHOT_OP_DISCARD, errp);
}

SnapshotDeviceInfo *qmp_x_snapshot_device_query(Error **errp)
{
    return snapshot_info();
}

void hmp_snapshot_device_save(Monitor *mon, const QDict *qdict)
{
    Error *err = NULL;

    qmp_x_snapshot_device_save(false, 0, NULL, false, false, false, 0, &err);
    hmp_handle_error(mon, err);
}

void hmp_snapshot_device_restore(Monitor *mon, const QDict *qdict)
{
    Error *err = NULL;

    qmp_x_snapshot_device_restore(&err);
    hmp_handle_error(mon, err);
}

void hmp_snapshot_device_discard(Monitor *mon, const QDict *qdict)
{
    Error *err = NULL;

    qmp_x_snapshot_device_discard(&err);
    hmp_handle_error(mon, err);
}

void hmp_snapshot_device_push(Monitor *mon, const QDict *qdict)
{
    Error *err = NULL;

    qmp_x_snapshot_device_push(&err);
    hmp_handle_error(mon, err);
}

void hmp_snapshot_device_pop(Monitor *mon, const QDict *qdict)
{
    Error *err = NULL;

    qmp_x_snapshot_device_pop(&err);
    hmp_handle_error(mon, err);
}

void hmp_snapshot_device_exclude(Monitor *mon, const QDict *qdict)
{
    Error *err = NULL;

    qmp_x_snapshot_device_exclude(qdict_get_int(qdict, "start"),
                                  qdict_get_int(qdict, "length"), &err);
    hmp_handle_error(mon, err);
}

void hmp_snapshot_device_include_all(Monitor *mon, const QDict *qdict)
{
    Error *err = NULL;

    qmp_x_snapshot_device_include_all(&err);
    hmp_handle_error(mon, err);
}

/* How long @percent of the restores took at most, in ns; 0 if there are none */
static uint64_t percentile(const SnapshotDeviceLatency *latency,
                           uint64_t restores, unsigned int percent)
{
    SnapshotDeviceLatencyBucketList *b = latency->buckets;
    uint64_t below = 0;

    for (; b; b = b->next) {
        below += b->value->count;
        if (below * 100 >= restores * percent) {
            return MIN(b->value->last, latency->max);
        }
    }
    return 0;
}

static void print_runs(Monitor *mon, const SnapshotDeviceRuns *runs)
{
    monitor_printf(mon, "runs: %" PRIu64 ", time: fuzzer %" PRIu64
                   " ns, wake-up %" PRIu64 " ns, guest %" PRIu64
                   " ns, restore %" PRIu64 " ns\n", runs->ended,
                   runs->fuzzer, runs->wake_up, runs->guest, runs->restore);
}

void hmp_info_snapshot_device(Monitor *mon, const QDict *qdict)
{
    g_autoptr(SnapshotDeviceInfo) info = snapshot_info();
    SnapshotDevicePhaseTimeList *t;
    SnapshotDeviceExcludedList *x;
    SnapshotDeviceLevelList *v;
    SnapshotDeviceLoadList *l;
    SnapshotDeviceDiskList *d;
    unsigned int n = 0;

    monitor_printf(mon, "snapshot: %s, engine %s, verify %s\n",
                   info->armed ? "armed" : "none",
                   SnapshotDeviceEngine_str(info->engine),
                   info->verify ? "on" : "off");
    if (info->armed) {
        monitor_printf(mon, "RAM: %" PRIu64 " MiB, tracked by %s\n",
                       info->ram_bytes >> 20, info->tracker);
        monitor_printf(mon, "restores: %" PRIu64 ", not exact: %" PRIu64
                       ", pages put back: %" PRIu64 " (last %" PRIu64 ")\n",
                       info->restores, info->verify_failures,
                       info->pages_total, info->pages_last);
        monitor_printf(mon, "restore: median %" PRIu64 " ns, 99 %% within %"
                       PRIu64 " ns, max %" PRIu64 " ns\n",
                       percentile(info->latency, info->restores, 50),
                       percentile(info->latency, info->restores, 99),
                       info->latency->max);
    }
    for (v = info->levels; v; v = v->next) {
        monitor_printf(mon, "level %u: restores: %" PRIu64 ", RAM kept: %"
                       PRIu64 " KiB\n", ++n, v->value->restores,
                       v->value->ram_bytes >> 10);
    }
    for (x = info->excluded; x; x = x->next) {
        monitor_printf(mon, "excluded: %s offset 0x%" PRIx64 " length 0x%"
                       PRIx64 "\n", x->value->block, x->value->offset,
                       x->value->length);
    }
    for (t = info->phases; t; t = t->next) {
        monitor_printf(mon, "%s: last %" PRIu64 " ns, max %" PRIu64
                       " ns, total %" PRIu64 " ns\n",
                       SnapshotDevicePhase_str(t->value->phase),
                       t->value->last, t->value->max, t->value->total);
    }
    for (l = info->loads; l; l = l->next) {
        monitor_printf(mon, "section %s %" PRIu32 ": serialised %" PRIu64
                       " times, loaded %" PRIu64 ", %" PRIu64
                       " after a reset\n", l->value->section,
                       l->value->instance, l->value->serialised,
                       l->value->loads, l->value->resets);
    }
    for (d = info->disks; d; d = d->next) {
        g_autofree char *limit = d->value->limit
            ? g_strdup_printf(" of %" PRIu64, d->value->limit >> 10) : NULL;

        monitor_printf(mon, "disk %s: %" PRIu64 "%s KiB held, %" PRIu64
                       " clusters taken back last, %" PRIu64
                       " requests failed\n", d->value->disk,
                       d->value->bytes >> 10, limit ?: "",
                       d->value->clusters_last, d->value->failed);
    }
    if (info->runs) {
        print_runs(mon, info->runs);
    }
    if (info->last_error) {
        monitor_printf(mon, "last error: %s\n", info->last_error);
    }
}
