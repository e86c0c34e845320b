/*
 * Device "snapshot": who gives inputs, and what all of them need.
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

static const char *const kinds[] = {
    [SNAPSHOT_END_DONE] = "done",
    [SNAPSHOT_END_CRASH] = "crash",
    [SNAPSHOT_END_PANIC] = "panic of the guest's kernel",
    [SNAPSHOT_END_RESET] = "reset by the guest",
    [SNAPSHOT_END_SHUTDOWN] = "shutdown by the guest",
    [SNAPSHOT_END_INTERNAL] = "internal error of the accelerator",
    [SNAPSHOT_END_HALTED] = "halted for good",
    [SNAPSHOT_END_TIMEOUT] = "timeout",
};

/* Print @text, each line by itself, so that none looks like one of ours. */
static void print_lines(FILE *to, const char *text)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

    for (char **line = lines; *text && *line; line++) {
        fprintf(to, "    %s\n", *line);
    }
}

static unsigned int count_map(const SnapshotShared *s)
{
    unsigned int n = 0;

    for (uint32_t i = 0; i < s->map_size; i++) {
        n += s->map.host[i] != 0;
    }
    return n;
}

void snapshot_end_print(FILE *to, const char *name, const SnapshotShared *s,
                        const SnapshotEnd *end)
{
    g_autofree char *text = snapshot_shared_text(s, end->text_size);
    g_autofree char *log = snapshot_shared_log(s);
    int status = snapshot_end_wait_status(end);

    fprintf(to, "%s: %s", name, kinds[end->kind]);
    if (end->kind <= SNAPSHOT_END_CRASH) {
        fprintf(to, " %d", end->kind == SNAPSHOT_END_DONE
                           ? WEXITSTATUS(status) : WTERMSIG(status));
    }
    fprintf(to, ", %" PRId64 " us, %u bytes of the map\n", end->ns / 1000,
            count_map(s));
    print_lines(to, text);
    print_lines(to, log);
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
    *runs = host ? snapshot_runs_new(config, dev, host, done) : NULL;
    return true;
}
