/*
 * Device "snapshot": who gives inputs, and the memory that is shared.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "hw/qdev-core.h"
#include "migration/snapshot-coverage.h"
#include "qapi/error.h"
#include "qemu/units.h"
#include "coverage-qemu.h"
#include "run.h"

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
                         SnapshotDoneFunc *done, void *opaque, Error **errp)
{
    bool tcg = config->coverage == SNAPSHOT_DEVICE_COVERAGE_TCG;
    bool qemu = config->coverage == SNAPSHOT_DEVICE_COVERAGE_QEMU;
    SnapshotHost *host;

    if (!check_sizes(config, errp) ||
        (tcg && !snapshot_coverage_possible(errp)) ||
        (qemu && !snapshot_coverage_qemu_possible(errp)) ||
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
    if (tcg) {
        snapshot_coverage_setup(shared->map.host, config->map_size);
    } else if (qemu) {
        snapshot_coverage_qemu_setup(shared->map.host, config->map_size);
    }
    *runs = host ? snapshot_runs_new(config, dev, host, done, opaque)
                 : NULL;
    return true;
}
