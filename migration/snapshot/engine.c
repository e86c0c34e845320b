/*
 * In-process machine snapshots: triggers, and the order of things.
 *
 * A command comes from a vCPU (it stored to a register), from the main loop
 * (a device's DMA, qtest) or from the monitor.  All of them end in carry_out(),
 * with the machine at rest:
 *
 *   vCPU that has the machine to itself   work item on that vCPU
 *   vCPU among others                     it parks; bottom half in main loop
 *   main loop, inside a device            bottom half in main loop
 *   monitor                               called directly
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "block/aio.h"
#include "block/block.h"
#include "hw/core/cpu.h"
#include "migration/blocker.h"
#include "migration/misc.h"
#include "qapi/error.h"
#include "qapi/util.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/timer.h"
#include "system/cpu-timers.h"
#include "system/cpus.h"
#include "system/reset.h"
#include "system/runstate.h"
#include "system/system.h"
#include "system/tcg.h"
#include "tcg/startup.h"
#include "compat-ram.h"
#include "internal.h"
#include "trace.h"

/* Bottom halves run before a command; more than this many are a live loop. */
#define MAX_BOTTOM_HALVES 64

/* The one command that is accepted and not yet carried out */
typedef struct Request {
    bool pending;
    SnapshotOp op;
    SnapshotDoneFunc *done;
    void *opaque;
    CPUState *cpu;      /* that triggered it, or NULL */
} Request;

typedef struct PhaseTime {
    int64_t last, total, max;
} PhaseTime;

static struct {
    SnapshotConfig config;
    Request request;
    bool busy;          /* a command is being carried out */
    bool discard;       /* discard the snapshot, after the request */
    QEMUBH *bh;

    /* The snapshot; ram is NULL if there is none. */
    SnapshotRam *ram;
    SnapshotDevices *devices;
    SnapshotClocks *clocks;
    bool suspended;     /* the guest was asleep (ACPI S3) */
    Error *blocker;     /* of migration, while there is a snapshot */
    bool holds_ram;     /* no balloon may drop pages: nobody would tell us */

    SnapshotCounters counters;
    PhaseTime phases[SNAPSHOT_DEVICE_PHASE__MAX];
    char *last_error;
} engine;

/*
 * The machine comes to rest
 */

/* How the machine was before stop_machine() */
typedef struct Rest {
    RunState state;
    bool paused;        /* vCPUs were paused and must be resumed */
} Rest;

/* Is the calling thread the only one that runs vCPUs? */
static bool own_all_vcpus(void)
{
    return !CPU_NEXT(first_cpu) ||
           (tcg_enabled() && !qemu_tcg_mttcg_enabled());
}

/*
 * Like vm_stop(), without what it does for people who watch: no STOP event,
 * no flush of disks to stable storage.  Devices are told, so that they cancel
 * or finish what is not part of their saved state.
 */
static void stop_machine(Rest *rest)
{
    if (runstate_check(RUN_STATE_RUNNING) &&
        !(qemu_in_vcpu_thread() && own_all_vcpus())) {
        pause_all_vcpus();
        rest->paused = true;
    }
    rest->state = runstate_get();
    if (runstate_is_live(rest->state)) {
        cpu_disable_ticks();
        runstate_set(RUN_STATE_SAVE_VM);
        vm_state_notify(false, RUN_STATE_SAVE_VM);
    }
    bdrv_drain_all();
    for (int i = 0; i < MAX_BOTTOM_HALVES; i++) {
        if (!aio_poll(qemu_get_aio_context(), false)) {
            break;
        }
    }
}

/* Guest clocks go on, from where they stand now. */
static void start_clocks(const Rest *rest)
{
    if (runstate_is_live(rest->state)) {
        cpu_enable_ticks();
    }
}

static void start_machine(const Rest *rest, bool restored)
{
    RunState state = rest->state;

    if (runstate_is_live(state)) {
        if (restored) {
            state = engine.suspended ? RUN_STATE_SUSPENDED : RUN_STATE_RUNNING;
        }
        runstate_set(state);
        vm_state_notify(true, state);
    } else if (restored && runstate_needs_reset()) {
        /* It had shut down or crashed; now it is an instant before that. */
        runstate_set(RUN_STATE_PAUSED);
    }
    if (rest->paused || rest->state == RUN_STATE_SUSPENDED) {
        resume_all_vcpus();
    }
}

/*
 * Save, restore, discard
 */

/* Other parts of QEMU may do again what a snapshot keeps them from doing. */
static void let_go(void)
{
    migrate_del_blocker(&engine.blocker);
    if (engine.holds_ram) {
        ram_block_discard_disable(false);
        engine.holds_ram = false;
    }
}

static void reset_counters(void)
{
    engine.counters = (SnapshotCounters) {
        .returns = engine.counters.returns,
        .returned = engine.counters.returned,
    };
    memset(engine.phases, 0, sizeof(engine.phases));
}

static void forget_snapshot(void)
{
    snapshot_ram_free(g_steal_pointer(&engine.ram));
    snapshot_devices_free(g_steal_pointer(&engine.devices));
    snapshot_clocks_free(g_steal_pointer(&engine.clocks));
    snapshot_track_stop();
    let_go();
    reset_counters();
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

static SnapshotResult save(const Rest *rest, Error **errp)
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
    engine.suspended = rest->state == RUN_STATE_SUSPENDED;
    reset_counters();
    engine.counters.armed = true;
    engine.counters.engine = engine.ram->ops->kind;
    engine.counters.verify = config->verify;
    engine.counters.ram_bytes = engine.ram->bytes;
    return SNAPSHOT_RESULT_DONE;
}

static void phase_done(SnapshotDevicePhase phase, int64_t *since)
{
    int64_t now = get_clock();
    PhaseTime *p = &engine.phases[phase];

    p->last = now - *since;
    p->total += p->last;
    p->max = MAX(p->max, p->last);
    *since = now;
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
    engine.counters.verify_failures++;
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
    phase_done(SNAPSHOT_DEVICE_PHASE_STOP, since);

    /* RAM goes first: devices read their rings while they are loaded. */
    pages = snapshot_ram_restore(engine.ram);
    phase_done(SNAPSHOT_DEVICE_PHASE_RAM, since);

    /* Time stands still, and goes back first: timers are set relative to it. */
    snapshot_clocks_rewind(engine.clocks);
    if (!snapshot_devices_restore(engine.devices, errp)) {
        res = SNAPSHOT_RESULT_DEVICE;
    }
    snapshot_tracker()->flush();
    phase_done(SNAPSHOT_DEVICE_PHASE_DEVICES, since);

    engine.counters.restores++;
    engine.counters.pages_last = pages;
    engine.counters.pages_total += pages;
    if (res == SNAPSHOT_RESULT_DONE && engine.counters.verify) {
        res = verify(errp);
        *since = get_clock();
    }
    return res;
}

/* Keep the reason of a failure for query; say it once, not at every try. */
static void note_failure(SnapshotOp op, SnapshotResult res, Error *err)
{
    const char *text = error_get_pretty(err);

    trace_snapshot_failed(op, res, text);
    if (g_strcmp0(engine.last_error, text)) {
        if (res != SNAPSHOT_RESULT_NONE) {
            warn_report("snapshot: %s", text);
        }
        g_free(engine.last_error);
        engine.last_error = g_strdup(text);
    }
}

static SnapshotResult carry_out_at_rest(SnapshotOp op, const Rest *rest,
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

/*
 * Carry out a command; BQL held, no guest code or device code on the stack.
 * @done is told the result before the machine runs again.
 */
static SnapshotResult carry_out(SnapshotOp op, SnapshotDoneFunc *done,
                                void *opaque, Error **errp)
{
    int64_t begin = get_clock(), since = begin;
    SnapshotResult res = SNAPSHOT_RESULT_DONE;
    Error *err = NULL;
    Rest rest = { 0 };
    bool restored;

    trace_snapshot_begin(op);
    engine.busy = true;
    if (op == SNAPSHOT_OP_SAVE) {
        res = prepare_save(&err);
    }
    stop_machine(&rest);
    if (res == SNAPSHOT_RESULT_DONE) {
        res = carry_out_at_rest(op, &rest, &since, &err);
    }
    if (!engine.ram) {
        forget_snapshot();      /* what prepare_save() did for nothing */
    }
    restored = op == SNAPSHOT_OP_RESTORE &&
               res != SNAPSHOT_RESULT_NONE && res != SNAPSHOT_RESULT_REFUSED;
    if (restored) {
        engine.counters.returns++;
        engine.counters.returned = res;
    }
    engine.busy = false;
    if (done) {
        done(opaque, res);
    }
    start_clocks(&rest);
    if (restored) {
        phase_done(SNAPSHOT_DEVICE_PHASE_CLOCKS, &since);
    }
    start_machine(&rest, restored);
    if (restored) {
        phase_done(SNAPSHOT_DEVICE_PHASE_RESUME, &since);
        engine.counters.restore_ns = get_clock() - begin;
    }
    if (err) {
        note_failure(op, res, err);
        error_propagate(errp, err);
    }
    trace_snapshot_end(op, res, get_clock() - begin);
    return res;
}

/*
 * Triggers
 */

static void carry_out_request(void)
{
    Request r = engine.request;

    engine.request = (Request) { 0 };
    if (r.pending) {
        carry_out(r.op, r.done, r.opaque, NULL);
    }
}

static void request_bh(void *opaque)
{
    carry_out_request();
    if (engine.discard) {
        engine.discard = false;
        carry_out(SNAPSHOT_OP_DISCARD, NULL, NULL, NULL);
    }
}

/*
 * First thing on the vCPU after the instruction that triggered.  With other
 * vCPU threads around, or while somebody is stopping the machine, this one
 * parks and the main loop carries on from here.
 */
static void request_on_vcpu(CPUState *cpu, run_on_cpu_data unused)
{
    if (!engine.request.pending || engine.request.cpu != cpu) {
        return;
    }
    if (own_all_vcpus() && runstate_is_running()) {
        carry_out_request();
    } else {
        cpu_pause(cpu);
        qemu_bh_schedule(engine.bh);
    }
}

/*
 * "cont" between the trigger and the bottom half would let the vCPU run on:
 * park it again.
 */
static void vm_state_changed(void *opaque, bool running, RunState state)
{
    if (running && engine.request.pending && engine.request.cpu) {
        async_run_on_cpu(engine.request.cpu, request_on_vcpu, RUN_ON_CPU_NULL);
    }
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

static void engine_init(void)
{
    static Notifier at_exit = { .notify = engine_exit };

    if (!engine.bh) {
        /* A limit on file sizes shall fail a save, not end QEMU. */
        signal(SIGXFSZ, SIG_IGN);
        qemu_add_exit_notifier(&at_exit);
        qemu_register_reset(machine_is_reset, NULL);
        /* Not the block layer's context: it runs in the middle of drains. */
        engine.bh = aio_bh_new(iohandler_get_aio_context(), request_bh, NULL);
        qemu_add_vm_change_state_handler(vm_state_changed, NULL);
    }
}

SnapshotResult snapshot_submit(SnapshotOp op, SnapshotDoneFunc *done,
                               void *opaque)
{
    engine_init();
    if (engine.busy || engine.request.pending) {
        trace_snapshot_failed(op, SNAPSHOT_RESULT_BUSY, "one is pending");
        return SNAPSHOT_RESULT_BUSY;
    }
    if (op == SNAPSHOT_OP_RESTORE && !engine.ram) {
        trace_snapshot_failed(op, SNAPSHOT_RESULT_NONE, "no snapshot");
        return SNAPSHOT_RESULT_NONE;
    }
    engine.request = (Request) {
        .pending = true,
        .op = op,
        .done = done,
        .opaque = opaque,
        .cpu = current_cpu,
    };
    if (current_cpu) {
        async_run_on_cpu(current_cpu, request_on_vcpu, RUN_ON_CPU_NULL);
    } else {
        qemu_bh_schedule(engine.bh);
    }
    return SNAPSHOT_RESULT_PENDING;
}

void snapshot_cancel(void *opaque)
{
    CPUState *cpu = engine.request.cpu;

    if (engine.request.pending && engine.request.opaque == opaque) {
        engine.request = (Request) { 0 };
        if (cpu && cpu->stopped && runstate_is_running()) {
            cpu_resume(cpu);
        }
    }
}

void snapshot_release(void)
{
    engine_init();
    engine.discard = true;
    qemu_bh_schedule(engine.bh);
}

bool snapshot_pending(void)
{
    return engine.request.pending;
}

SnapshotResult snapshot_run(SnapshotOp op, Error **errp)
{
    engine_init();
    if (engine.busy || engine.request.pending) {
        error_setg(errp, "another snapshot command is being carried out; "
                   "try again");
        return SNAPSHOT_RESULT_BUSY;
    }
    return carry_out(op, NULL, NULL, errp);
}

void snapshot_configure(const SnapshotConfig *config)
{
    g_free(engine.config.file);
    engine.config = *config;
    engine.config.file = g_strdup(config->file);
}

const SnapshotConfig *snapshot_config(void)
{
    return &engine.config;
}

/*
 * Statistics
 */

const SnapshotCounters *snapshot_counters(void)
{
    return &engine.counters;
}

SnapshotDeviceInfo *snapshot_info(void)
{
    SnapshotDeviceInfo *info = g_new0(SnapshotDeviceInfo, 1);
    const SnapshotCounters *c = &engine.counters;

    info->armed = c->armed;
    info->engine = c->armed ? c->engine : engine.config.engine;
    info->verify = c->armed ? c->verify : engine.config.verify;
    info->restores = c->restores;
    info->verify_failures = c->verify_failures;
    info->pages_last = c->pages_last;
    info->pages_total = c->pages_total;
    info->ram_bytes = c->ram_bytes;
    info->last_error = g_strdup(engine.last_error);
    if (!c->armed) {
        return info;
    }
    info->tracker = g_strdup(snapshot_tracker()->name);
    info->loads = snapshot_devices_loads(engine.devices);
    for (int i = SNAPSHOT_DEVICE_PHASE__MAX - 1; i >= 0; i--) {
        SnapshotDevicePhaseTime *t = g_new0(SnapshotDevicePhaseTime, 1);

        t->phase = i;
        t->last = engine.phases[i].last;
        t->total = engine.phases[i].total;
        t->max = engine.phases[i].max;
        QAPI_LIST_PREPEND(info->phases, t);
    }
    return info;
}
