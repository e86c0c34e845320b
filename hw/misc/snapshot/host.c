/*
 * Device "snapshot": who gives inputs, and what all of them need.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "hw/qdev-core.h"
#include "qapi/error.h"
#include "qemu/units.h"
#include "run.h"

int snapshot_end_wait_status(const SnapshotEnd *end)
{
    static const int signals[] = {
        [SNAPSHOT_END_PANIC] = SIGABRT,
        [SNAPSHOT_END_RESET] = SIGHUP,
        [SNAPSHOT_END_SHUTDOWN] = SIGTERM,
        [SNAPSHOT_END_INTERNAL] = SIGILL,
        [SNAPSHOT_END_HALTED] = SIGALRM,
        [SNAPSHOT_END_TIMEOUT] = SIGKILL,
    };

    switch (end->kind) {
    case SNAPSHOT_END_DONE:
        return (end->code & 0xff) << 8;     /* as W_EXITCODE() */
    case SNAPSHOT_END_CRASH:
        return end->code >= 1 && end->code < NSIG ? end->code : SIGABRT;
    default:
        return signals[end->kind];
    }
}

/* Find who gives inputs, if somebody does.  False: sets @errp. */
static bool find_host(SnapshotHost **host, SnapshotShared *shared,
                      const SnapshotRunsConfig *config, Error **errp)
{
    ERRP_GUARD();

    *host = NULL;
    if (config->afl) {
        *host = snapshot_host_afl(shared, config, errp);
    }
    if (!*host && !*errp && (config->afl || config->seeds)) {
        *host = snapshot_host_files(shared, config, errp);
    }
    return !*errp;
}

static bool check_sizes(const SnapshotRunsConfig *config, Error **errp)
{
    if (config->map_size < 64 || config->map_size > 8 * MiB ||
        config->map_size % 64) {
        error_setg(errp, "map-size= is in bytes, a multiple of 64 up to "
                   "8388608");
        return false;
    }
    if (config->input_max < 1 || config->input_max > 64 * MiB) {
        error_setg(errp, "input-size= is in bytes, from 1 to 67108864");
        return false;
    }
    return true;
}

bool snapshot_runs_setup(SnapshotRuns **runs, DeviceState *dev,
                         SnapshotShared *shared,
                         const SnapshotRunsConfig *config,
                         SnapshotDoneFunc *done, Error **errp)
{
    SnapshotHost *host;

    if (!check_sizes(config, errp) ||
        !find_host(&host, shared, config, errp)) {
        return false;
    }
    if (!snapshot_shared_init(shared, OBJECT(dev), config->map_size,
                              config->input_max, errp)) {
        if (host) {
            host->ops->free(host);
        }
        return false;
    }
    *runs = host ? snapshot_runs_new(config, dev, host, done) : NULL;
    return true;
}
