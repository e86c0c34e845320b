/*
 * In-process machine snapshots: the order of things.
 *
 * Each command is carried out with the machine at rest.  trigger.c sees to it
 * that there is one at a time, and that no guest or device code is on the
 * stack.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "migration/blocker.h"
#include "migration/misc.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/timer.h"
#include "system/reset.h"
#include "system/runstate.h"
#include "system/system.h"
#include "compat-ram.h"
#include "internal.h"
#include "trace.h"

static struct {
    SnapshotConfig config;
    bool busy;          /* a command is being carried out */

    /* The snapshot; ram is NULL if there is none. */
    SnapshotRam *ram;
    SnapshotDevices *devices;
    SnapshotClocks *clocks;
    RunState state;     /* of a machine that runs: SUSPENDED in ACPI S3 */
    Error *blocker;     /* of migration, while there is a snapshot */
    bool holds_ram;     /* no balloon may drop pages: nobody would tell us */
} engine;

/* Other parts of QEMU may do again what a snapshot keeps them from doing. */
static void let_go(void)
{
    migrate_del_blocker(&engine.blocker);
    if (engine.holds_ram) {
        ram_block_discard_disable(false);
        engine.holds_ram = false;
    }
}

static void forget_snapshot(void)
{
    snapshot_ram_free(g_steal_pointer(&engine.ram));
    snapshot_devices_free(g_steal_pointer(&engine.devices));
    snapshot_clocks_free(g_steal_pointer(&engine.clocks));
    snapshot_track_stop();
    let_go();
    snapshot_count_reset();
}

/* RAM and devices are about to be replaced by loadvm: nothing to go back to */
static void machine_is_loaded(void)
{
    if (engine.ram && !engine.busy) {
        warn_report("snapshot: discarded, another machine state is loaded");
        forget_snapshot();
    }
}

/*
 * Everything that must hold before the machine is stopped for a save.  (Once
 * it is, migration counts as busy and takes no blocker.)
 */
static SnapshotResult prepare_save(Error **errp)
{
    int ret;
    bool ok;

    if (migration_is_running() || runstate_check(RUN_STATE_INMIGRATE)) {
        error_setg(errp, "a migration is under way; wait for its end");
        return SNAPSHOT_RESULT_REFUSED;
    }
    /* Look for obstacles other than ourselves. */
    let_go();
    ok = snapshot_check_machine(errp);
    error_setg(&engine.blocker, "there is a machine snapshot: discard it "
               "(x-snapshot-device-discard) or unplug the snapshot device");
    if (migrate_add_blocker(&engine.blocker, ok ? errp : NULL) < 0) {
        ok = false;
    }
    ret = ram_block_discard_disable(true);
    engine.holds_ram = ret == 0;
    if (ok && ret < 0) {
        error_setg_errno(errp, -ret, "cannot keep devices from giving guest "
                         "RAM back to the host");
        ok = false;
    }
    if (!ok || !snapshot_track_start(errp)) {
        return SNAPSHOT_RESULT_REFUSED;
    }
    snapshot_devices_on_load(machine_is_loaded);
    return SNAPSHOT_RESULT_DONE;
}

static SnapshotResult save(const SnapshotRest *rest, Error **errp)
{
    SnapshotConfig *config = &engine.config;
    /* Devices first: to save some of them changes guest RAM. */
    SnapshotDevices *devices = snapshot_devices_save(errp);
    SnapshotResult res;

    if (!devices) {
        return SNAPSHOT_RESULT_DEVICE;
    }
    res = snapshot_ram_save(&engine.ram, engine.ram, config->engine,
                            config->file, errp);
    if (res != SNAPSHOT_RESULT_DONE) {
        snapshot_devices_free(devices);
        return res;
    }
    snapshot_devices_free(engine.devices);
    snapshot_clocks_free(engine.clocks);
    engine.devices = devices;
    engine.clocks = snapshot_clocks_save();
    snapshot_tracker()->flush();
    engine.state = rest->state == RUN_STATE_SUSPENDED ? RUN_STATE_SUSPENDED
                                                      : RUN_STATE_RUNNING;
    snapshot_count_reset();
    snapshot_count()->armed = true;
    snapshot_count()->engine = engine.ram->ops->kind;
    snapshot_count()->verify = config->verify;
    snapshot_count()->ram_bytes = engine.ram->bytes;
    return SNAPSHOT_RESULT_DONE;
}

static SnapshotResult verify(Error **errp)
{
    Error *ram_err = NULL, *dev_err = NULL, *clock_err = NULL;
    bool ok = snapshot_ram_verify(engine.ram, &ram_err);

    ok &= snapshot_devices_verify(engine.devices, &dev_err);
    ok &= snapshot_clocks_verify(engine.clocks, &clock_err);
    if (ok) {
        return SNAPSHOT_RESULT_DONE;
    }
    snapshot_count()->verify_failures++;
    error_setg(errp, "restore is not exact: %s%s%s%s%s",
               ram_err ? error_get_pretty(ram_err) : "",
               ram_err && dev_err ? "; " : "",
               dev_err ? error_get_pretty(dev_err) : "",
               (ram_err || dev_err) && clock_err ? "; " : "",
               clock_err ? error_get_pretty(clock_err) : "");
    error_free(ram_err);
    error_free(dev_err);
    error_free(clock_err);
    return SNAPSHOT_RESULT_VERIFY;
}

static SnapshotResult restore(int64_t *since, Error **errp)
{
    SnapshotResult res = SNAPSHOT_RESULT_DONE;
    uint64_t pages;

    if (!snapshot_devices_check(engine.devices, errp) ||
        !snapshot_ram_check(engine.ram, errp)) {
        return SNAPSHOT_RESULT_REFUSED;
    }
    snapshot_phase_done(SNAPSHOT_DEVICE_PHASE_STOP, since);

    /* RAM goes first: devices read their rings while they are loaded. */
    pages = snapshot_ram_restore(engine.ram);
    snapshot_phase_done(SNAPSHOT_DEVICE_PHASE_RAM, since);

    /* Time stands still, and goes back first: timers are set relative to it. */
    snapshot_clocks_rewind(engine.clocks);
    if (!snapshot_devices_restore(engine.devices, errp)) {
        res = SNAPSHOT_RESULT_DEVICE;
    }
    snapshot_tracker()->flush();
    snapshot_phase_done(SNAPSHOT_DEVICE_PHASE_DEVICES, since);

    snapshot_count()->restores++;
    snapshot_count()->pages_last = pages;
    snapshot_count()->pages_total += pages;
    if (res == SNAPSHOT_RESULT_DONE && snapshot_count()->verify) {
        res = verify(errp);
        *since = get_clock();
    }
    return res;
}

static SnapshotResult carry_out_at_rest(SnapshotOp op, const SnapshotRest *rest,
                                        int64_t *since, Error **errp)
{
    switch (op) {
    case SNAPSHOT_OP_SAVE:
        return save(rest, errp);
    case SNAPSHOT_OP_RESTORE:
        if (!engine.ram) {
            error_setg(errp, "there is no snapshot to restore; save first");
            return SNAPSHOT_RESULT_NONE;
        }
        return restore(since, errp);
    case SNAPSHOT_OP_DISCARD:
        forget_snapshot();
        return SNAPSHOT_RESULT_DONE;
    }
    g_assert_not_reached();
}

SnapshotResult snapshot_carry_out(SnapshotOp op, SnapshotDoneFunc *done,
                                  void *opaque, Error **errp)
{
    int64_t begin = get_clock(), since = begin;
    SnapshotResult res = SNAPSHOT_RESULT_DONE;
    Error *err = NULL;
    SnapshotRest rest = { 0 };
    bool restored;

    trace_snapshot_begin(op);
    engine.busy = true;
    if (op == SNAPSHOT_OP_SAVE) {
        res = prepare_save(&err);
    }
    snapshot_stop_machine(&rest);
    if (res == SNAPSHOT_RESULT_DONE) {
        res = carry_out_at_rest(op, &rest, &since, &err);
    }
    if (!engine.ram) {
        forget_snapshot();      /* what prepare_save() did for nothing */
    }
    restored = op == SNAPSHOT_OP_RESTORE &&
               res != SNAPSHOT_RESULT_NONE && res != SNAPSHOT_RESULT_REFUSED;
    if (restored) {
        snapshot_count()->returns++;
        snapshot_count()->returned = res;
    }
    engine.busy = false;
    if (done) {
        done(opaque, res);
    }
    snapshot_start_clocks(&rest);
    if (restored) {
        snapshot_phase_done(SNAPSHOT_DEVICE_PHASE_CLOCKS, &since);
    }
    snapshot_start_machine(&rest, restored ? &engine.state : NULL);
    if (restored) {
        snapshot_phase_done(SNAPSHOT_DEVICE_PHASE_RESUME, &since);
        snapshot_count()->restore_ns = get_clock() - begin;
    }
    if (err) {
        snapshot_note_failure(op, res, err);
        error_propagate(errp, err);
    }
    trace_snapshot_end(op, res, get_clock() - begin);
    return res;
}

/* A file is of no use to anybody without the rest of the snapshot. */
static void engine_exit(Notifier *n, void *unused)
{
    if (engine.ram && engine.ram->path) {
        unlink(engine.ram->path);
    }
}

static void machine_is_reset(void *opaque)
{
    if (engine.ram) {
        snapshot_track_rom_reset(engine.ram);
    }
}

void snapshot_engine_init(void)
{
    static Notifier at_exit = { .notify = engine_exit };

    /* A limit on file sizes shall fail a save, not end QEMU. */
    signal(SIGXFSZ, SIG_IGN);
    qemu_add_exit_notifier(&at_exit);
    qemu_register_reset(machine_is_reset, NULL);
}

bool snapshot_busy(void)
{
    return engine.busy;
}

void snapshot_configure(const SnapshotConfig *config)
{
    g_free(engine.config.file);
    engine.config = *config;
    engine.config.file = g_strdup(config->file);
}

void snapshot_set_verify(bool verify)
{
    engine.config.verify = verify;
    snapshot_count()->verify = verify && engine.ram;
}

const SnapshotConfig *snapshot_config(void)
{
    return &engine.config;
}

SnapshotDeviceInfo *snapshot_info(void)
{
    SnapshotDeviceInfo *info = snapshot_count_info();

    if (!info->armed) {
        info->engine = engine.config.engine;
        info->verify = engine.config.verify;
        return info;
    }
    info->tracker = g_strdup(snapshot_tracker()->name);
    info->loads = snapshot_devices_loads(engine.devices);
    return info;
}
