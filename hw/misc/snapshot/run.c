/*
 * Device "snapshot": the life of a run.
 *
 *   NONE --NEXT, save--> WAITING --input--> GOING --end--> ENDING
 *                           ^                 |               |  ^
 *                           |       no restore|               |  |
 *                           +---NEXT---- KEPT <               |  |
 *                           |             |                   |  |
 *                           |             +--no NEXT----------|--+
 *                           +---------------------------------+
 *                                                     restored
 *
 * While a run is WAITING the machine is held (snapshot_stay()).  The thread of
 * a vCPU that has the machine to itself waits for the host there, without the
 * BQL: an input then costs one wake-up.  It does so for a moment only, as
 * nobody can stop a vCPU that is in there; a fuzzer that takes longer is
 * waited for in the main loop, as is one for a machine with several vCPU
 * threads.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "hw/core/cpu.h"
#include "hw/misc/snapshot_regs.h"
#include "hw/qdev-core.h"
#include "migration/snapshot-coverage.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/notify.h"
#include "qemu/timer.h"
#include "system/cpus.h"
#include "system/runstate.h"
#include "system/runstate-action.h"
#include "coverage-qemu.h"
#include "run.h"
#include "trace.h"

/* How long a vCPU thread waits by itself, in milliseconds */
#define WAIT_ON_VCPU    5

/* How often runs are looked at for one that does not end, milliseconds */
#define WATCH_MIN       1
#define WATCH_MAX       100

/*
 * How long a guest that is not restored may take to ask for its next input,
 * milliseconds, where runs have no limit: no fuzzer looks at it meanwhile.
 */
#define KEPT_MAX        10000

typedef enum Phase {
    PHASE_NONE,         /* the guest has not asked for an input yet */
    PHASE_STARTING,     /* the machine is being saved */
    PHASE_WAITING,      /* for an input; the machine is held */
    PHASE_GOING,        /* the guest has an input */
    PHASE_ENDING,       /* the machine is being restored */
    PHASE_KEPT,         /* the run has ended, the guest goes on as it is */
    PHASE_RESTING,      /* and wants the next input; is being held */
    PHASE_OVER,         /* no runs any more */
} Phase;

struct SnapshotRuns {
    Phase phase;
    SnapshotHost *host;
    SnapshotDoneFunc *done;
    DeviceState *dev;           /* for @done */
    Error *unplug_blocker;

    uint32_t persistent;        /* restore after so many runs */
    uint32_t kept;              /* runs since the last restore */
    uint32_t timeout;           /* ms; 0: none */
    uint64_t ended;             /* runs that have ended */
    uint64_t returns;           /* to a saved instant, when coverage began */
    int64_t began;              /* the present one, get_clock() */
    SnapshotEnd end;            /* of the last one */
    bool told;                  /* the host knows of it */

    /* Registers */
    uint32_t status, text_size, map_used;

    QEMUBH *bh;                 /* takes an input, starts a machine */
    QEMUTimer *watch;
    bool watching_fd;
    bool cut;                   /* the present run has taken too long */
    bool was_halted;            /* for good, at the last look */
    VMChangeStateEntry *vm_state;
    Notifier shutdown;
    ShutdownCause cause;        /* why the guest was last shut down */
};

/* The end of it all: for a reason, or as the host has no more inputs. */
static void over(SnapshotRuns *r, Error *err)
{
    int code;

    if (r->phase == PHASE_OVER) {
        error_free(err);
        return;
    }
    r->phase = PHASE_OVER;
    timer_del(r->watch);
    code = r->host->ops->over(r->host, err);
    if (err) {
        error_reportf_err(err, "snapshot: no more runs: ");
    }
    shutdown_action = SHUTDOWN_ACTION_POWEROFF;
    qemu_system_shutdown_request_with_code(SHUTDOWN_CAUSE_HOST_UI, code);
}

/*
 * Input
 */

static void take_input(SnapshotRuns *r);

static void unwatch_fd(SnapshotRuns *r)
{
    if (r->watching_fd) {
        r->watching_fd = false;
        qemu_set_fd_handler(r->host->fd, NULL, NULL, NULL);
    }
}

/* In the main loop: there is something for us, unless the machine is stopped */
static void input_ready(void *opaque)
{
    SnapshotRuns *r = opaque;

    unwatch_fd(r);
    if (r->phase == PHASE_WAITING && runstate_is_running()) {
        take_input(r);
    }
}

static void wait_in_main_loop(SnapshotRuns *r)
{
    if (r->host->fd < 0) {
        qemu_bh_schedule(r->bh);
    } else if (!r->watching_fd) {
        r->watching_fd = true;
        qemu_set_fd_handler(r->host->fd, input_ready, NULL, r);
    }
}

static void wait_on_vcpu(CPUState *cpu, run_on_cpu_data data)
{
    SnapshotRuns *r = data.host_ptr;
    GPollFD fd = { .fd = r->host->fd, .events = G_IO_IN };
    bool ready = fd.fd < 0;

    if (r->phase == PHASE_WAITING && !ready) {
        bql_unlock();
        ready = g_poll(&fd, 1, WAIT_ON_VCPU) > 0;
        bql_lock();
    }
    if (r->phase == PHASE_WAITING) {
        if (ready && runstate_is_running()) {
            take_input(r);
        } else {
            wait_in_main_loop(r);
        }
    }
    snapshot_park();        /* unless there was an input */
}

/* The machine is held. */
static void wait_for_input(SnapshotRuns *r)
{
    r->phase = PHASE_WAITING;
    if (qemu_in_vcpu_thread() && snapshot_owns_vcpus()) {
        async_run_on_cpu(current_cpu, wait_on_vcpu, RUN_ON_CPU_HOST_PTR(r));
    } else {
        wait_in_main_loop(r);
    }
}

/* Count edges of the run that begins. */
static void begin_coverage(SnapshotRuns *r)
{
    r->returns = snapshot_counters()->returns;
    snapshot_coverage_begin();
    snapshot_coverage_qemu_begin();
}

static void take_input(SnapshotRuns *r)
{
    switch (r->host->ops->next(r->host)) {
    case SNAPSHOT_NEXT_INPUT:
        snapshot_shared_begin_run(r->host->shared);
        begin_coverage(r);
        r->phase = PHASE_GOING;
        r->began = get_clock();
        r->cut = r->was_halted = false;
        r->status = r->text_size = 0;
        trace_snapshot_run_begin(r->ended);
        snapshot_go_on();
        break;
    case SNAPSHOT_NEXT_WAIT:
        wait_in_main_loop(r);
        break;
    case SNAPSHOT_NEXT_OVER:
        over(r, NULL);
        break;
    }
}

/*
 * Beginning
 */

static void tell_guest(SnapshotRuns *r, SnapshotResult res)
{
    r->done(r->dev, res);
}

/*
 * What a guest does to itself shall stop the machine and not end the process:
 * it is restored.
 */
static void keep_process(void)
{
    if (qemu_shutdown_requested_get()) {
        return;                 /* the user has told QEMU to quit */
    }
    reboot_action = REBOOT_ACTION_SHUTDOWN;
    shutdown_action = SHUTDOWN_ACTION_PAUSE;
    panic_action = PANIC_ACTION_PAUSE;
}

static void saved(void *opaque, SnapshotResult res)
{
    /* Edges that the device counts may be anywhere in the map. */
    bool anywhere = snapshot_coverage_in_use() ||
                    snapshot_coverage_qemu_available();
    SnapshotRuns *r = opaque;
    Error *err = NULL;

    tell_guest(r, res);
    if (res != SNAPSHOT_RESULT_DONE) {
        r->phase = PHASE_NONE;
        return;
    }
    snapshot_stay();
    if (!r->host->ops->start(r->host, anywhere ? 0 : r->map_used, &err)) {
        over(r, err);
        return;
    }
    keep_process();
    timer_mod(r->watch, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + WATCH_MAX);
    wait_for_input(r);
}

/*
 * End
 */

static void tell_host(SnapshotRuns *r)
{
    if (!r->told) {
        r->told = true;
        r->host->ops->ended(r->host, &r->end);
    }
}

static void restored(void *opaque, SnapshotResult res)
{
    SnapshotRuns *r = opaque;
    Error *err = NULL;

    tell_guest(r, res);
    tell_host(r);
    if (res != SNAPSHOT_RESULT_DONE && res != SNAPSHOT_RESULT_VERIFY) {
        error_setg(&err, "the machine cannot be put back (result %d); "
                   "see x-snapshot-device-query", res);
        snapshot_stay();
        over(r, err);
        return;
    }
    r->kept = 0;
    snapshot_stay();
    if (!runstate_check(RUN_STATE_SAVE_VM)) {
        qemu_bh_schedule(r->bh);        /* the guest had stopped itself */
    }
    wait_for_input(r);
}

/*
 * Between two runs, with the machine not restored, the guest has stopped or
 * does not ask for its next input: it goes back, and is given it there.
 */
static SnapshotResult give_up_kept(SnapshotRuns *r)
{
    SnapshotResult res = snapshot_submit(SNAPSHOT_OP_RESTORE, restored, r);

    if (res == SNAPSHOT_RESULT_BUSY) {
        return res;
    }
    trace_snapshot_run_give_up(r->ended);
    r->phase = PHASE_ENDING;
    if (res == SNAPSHOT_RESULT_NONE) {
        restored(r, res);
    }
    return res;
}

static SnapshotResult end_run(SnapshotRuns *r, SnapshotEndKind kind)
{
    SnapshotResult res = SNAPSHOT_RESULT_DONE;
    bool keep = kind == SNAPSHOT_END_DONE && r->kept + 1 < r->persistent &&
                !(r->status & SNAPSHOT_RUN_LAST);

    if (!keep) {
        res = snapshot_submit(SNAPSHOT_OP_RESTORE, restored, r);
        if (res == SNAPSHOT_RESULT_BUSY) {
            return res;
        }
    }
    snapshot_coverage_end();
    snapshot_coverage_qemu_end();
    r->end = (SnapshotEnd) {
        .kind = kind,
        .code = r->status,
        .text_size = r->text_size,
        .ns = get_clock() - r->began,
    };
    r->told = false;
    trace_snapshot_run_end(r->ended, kind, r->end.code, r->end.ns);
    r->ended++;
    /*
     * The host works while the machine goes back, if no vCPU can write to the
     * coverage map any more.
     */
    if (keep || (qemu_in_vcpu_thread() && snapshot_owns_vcpus())) {
        tell_host(r);
    }
    r->phase = keep ? PHASE_KEPT : PHASE_ENDING;
    r->kept++;
    r->cut = false;
    r->began = get_clock();             /* of the time until the next input */
    if (res == SNAPSHOT_RESULT_NONE) {
        restored(r, res);
    }
    return res;
}

/* What became of the guest, if it has stopped itself.  False: it has not. */
static bool stopped_itself(SnapshotRuns *r, RunState state,
                           SnapshotEndKind *kind)
{
    switch (state) {
    case RUN_STATE_GUEST_PANICKED:
        r->cause = SHUTDOWN_CAUSE_GUEST_PANIC;
        *kind = SNAPSHOT_END_PANIC;
        return true;
    case RUN_STATE_INTERNAL_ERROR:
        r->cause = SHUTDOWN_CAUSE_HOST_ERROR;
        *kind = SNAPSHOT_END_INTERNAL;
        return true;
    case RUN_STATE_SHUTDOWN:
        *kind = r->cause == SHUTDOWN_CAUSE_GUEST_SHUTDOWN
                ? SNAPSHOT_END_SHUTDOWN : SNAPSHOT_END_RESET;
        /* Else it is QEMU that ends. */
        return shutdown_action == SHUTDOWN_ACTION_PAUSE;
    case RUN_STATE_WATCHDOG:
        r->cause = SHUTDOWN_CAUSE_GUEST_RESET;
        *kind = SNAPSHOT_END_TIMEOUT;
        return true;
    default:
        return false;
    }
}

static void rested(void *opaque, SnapshotResult res)
{
    SnapshotRuns *r = opaque;
    SnapshotEndKind kind;

    tell_guest(r, res);
    if (stopped_itself(r, runstate_get(), &kind)) {
        r->phase = PHASE_KEPT;          /* another vCPU has done so */
        give_up_kept(r);
        return;
    }
    snapshot_stay();
    wait_for_input(r);
}

/* How long the guest may take at present, milliseconds; 0: as it likes */
static uint32_t time_limit(const SnapshotRuns *r)
{
    return r->phase == PHASE_KEPT && !r->timeout ? KEPT_MAX : r->timeout;
}

/*
 * Is it over with the present run, whatever the guest may say?  Time goes by
 * for one that sleeps (ACPI S3), but not while the user has stopped it.
 */
static bool has_ended(SnapshotRuns *r, SnapshotEndKind *kind)
{
    bool was_halted = r->was_halted;
    uint32_t limit = time_limit(r);

    if (!runstate_is_live(runstate_get())) {
        return stopped_itself(r, runstate_get(), kind);
    }
    if (r->cut || (limit && (get_clock() - r->began) / SCALE_MS >= limit)) {
        *kind = SNAPSHOT_END_TIMEOUT;
        return true;
    }
    /* Twice, as something of the host may just be about to wake it. */
    r->was_halted = snapshot_halted_for_good();
    *kind = SNAPSHOT_END_HALTED;
    return r->was_halted && was_halted;
}

/* The present run, or what is between two, ends without a word of the guest. */
static SnapshotResult end_unasked(SnapshotRuns *r, SnapshotEndKind kind)
{
    return r->phase == PHASE_KEPT ? give_up_kept(r) : end_run(r, kind);
}

/*
 * Look at the present run, now and then: so no run pays for a timer of its
 * own.  If somebody's command is being carried out the next look ends it.
 */
static void look(void *opaque)
{
    SnapshotRuns *r = opaque;
    SnapshotEndKind kind;
    int64_t period = r->timeout ? r->timeout / 4 : WATCH_MAX;

    if ((r->phase == PHASE_GOING || r->phase == PHASE_KEPT) &&
        has_ended(r, &kind) &&
        end_unasked(r, kind) == SNAPSHOT_RESULT_BUSY) {
        period = WATCH_MIN;
    }
    timer_mod(r->watch, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) +
              MIN(MAX(period, WATCH_MIN), WATCH_MAX));
}

void snapshot_runs_cut_off(SnapshotRuns *r)
{
    if (r->phase == PHASE_GOING) {
        r->cut = true;
        look(r);
    }
}

/* In the main loop, with no code of devices on the stack */
static void run_bh(void *opaque)
{
    SnapshotRuns *r = opaque;

    if (r->phase != PHASE_WAITING) {
        return;
    }
    if (snapshot_busy()) {
        qemu_bh_schedule(r->bh);        /* the machine is at rest: later */
        return;
    }
    if (!runstate_is_running() && r->cause != SHUTDOWN_CAUSE_NONE) {
        r->cause = SHUTDOWN_CAUSE_NONE;
        if (runstate_needs_reset()) {
            runstate_set(RUN_STATE_PAUSED);     /* a restore is as good */
        }
        vm_start();
    }
    if (r->host->fd < 0 && runstate_is_running()) {
        take_input(r);
    }
}

static void shutdown_notify(Notifier *n, void *opaque)
{
    SnapshotRuns *r = container_of(n, SnapshotRuns, shutdown);

    r->cause = *(ShutdownCause *)opaque;
}

static void vm_state_changed(void *opaque, bool running, RunState state)
{
    SnapshotRuns *r = opaque;
    SnapshotEndKind kind;

    if (running && r->phase == PHASE_GOING &&
        r->returns != snapshot_counters()->returns) {
        begin_coverage(r);              /* the same run, once more */
    }
    if (running && r->phase == PHASE_WAITING && !qemu_in_vcpu_thread()) {
        wait_in_main_loop(r);           /* after "stop" and "cont" */
    } else if ((r->phase == PHASE_GOING || r->phase == PHASE_KEPT) &&
               stopped_itself(r, state, &kind)) {
        end_unasked(r, kind);
    } else if (r->phase == PHASE_WAITING && stopped_itself(r, state, &kind)) {
        qemu_bh_schedule(r->bh);        /* it is at the saved instant */
    }
}

/*
 * The guest's side
 */

static SnapshotResult next(SnapshotRuns *r)
{
    SnapshotResult res;

    switch (r->phase) {
    case PHASE_NONE:
        res = snapshot_submit(SNAPSHOT_OP_SAVE, saved, r);
        if (res == SNAPSHOT_RESULT_PENDING) {
            r->phase = PHASE_STARTING;
        }
        return res;
    case PHASE_KEPT:
        res = snapshot_submit(SNAPSHOT_OP_REST, rested, r);
        if (res == SNAPSHOT_RESULT_PENDING) {
            r->phase = PHASE_RESTING;
        }
        return res;
    case PHASE_GOING:
        res = end_run(r, SNAPSHOT_END_DONE);
        return r->phase == PHASE_KEPT ? next(r) : res;
    default:
        return SNAPSHOT_RESULT_REFUSED;
    }
}

SnapshotResult snapshot_runs_command(SnapshotRuns *r, uint32_t command)
{
    if (!r) {
        warn_report_once("snapshot: the guest asks for inputs, and there are "
                         "none: start QEMU by afl-fuzz with afl=on, or with "
                         "seeds=");
        return SNAPSHOT_RESULT_REFUSED;
    }
    if (command == SNAPSHOT_CMD_NEXT) {
        return next(r);
    }
    if (r->phase != PHASE_GOING) {
        return SNAPSHOT_RESULT_REFUSED;
    }
    return end_run(r, command == SNAPSHOT_CMD_CRASH ? SNAPSHOT_END_CRASH
                                                    : SNAPSHOT_END_DONE);
}

bool snapshot_runs_begun(const SnapshotRuns *r)
{
    return r && r->phase != PHASE_NONE;
}

bool snapshot_runs_forbid(const SnapshotRuns *r, SnapshotOp op)
{
    return snapshot_runs_begun(r) && op != SNAPSHOT_OP_RESTORE;
}

uint64_t snapshot_runs_ended(const SnapshotRuns *r)
{
    return r ? r->ended : 0;
}

bool snapshot_runs_read(const SnapshotRuns *r, hwaddr addr, uint64_t *val)
{
    switch (addr) {
    case SNAPSHOT_REG_HOST:
        *val = r ? r->host->ops->reg : SNAPSHOT_HOST_NONE;
        return true;
    case SNAPSHOT_REG_RUN_STATUS:
        *val = r ? r->status : 0;
        return true;
    case SNAPSHOT_REG_TEXT_SIZE:
        *val = r ? r->text_size : 0;
        return true;
    case SNAPSHOT_REG_MAP_USED:
        *val = r ? r->map_used : 0;
        return true;
    default:
        return false;
    }
}

bool snapshot_runs_write(SnapshotRuns *r, hwaddr addr, uint32_t val)
{
    uint32_t *reg = !r ? NULL
                    : addr == SNAPSHOT_REG_RUN_STATUS ? &r->status
                    : addr == SNAPSHOT_REG_TEXT_SIZE ? &r->text_size
                    : addr == SNAPSHOT_REG_MAP_USED ? &r->map_used : NULL;

    if (reg) {
        *reg = val;
    }
    return reg;
}

SnapshotRuns *snapshot_runs_new(const SnapshotRunsConfig *config,
                                DeviceState *dev, SnapshotHost *host,
                                SnapshotDoneFunc *done)
{
    SnapshotRuns *r = g_new0(SnapshotRuns, 1);

    r->host = host;
    host->runs = r;
    r->done = done;
    r->dev = dev;
    r->persistent = config->persistent;
    r->timeout = config->timeout;
    r->bh = aio_bh_new(iohandler_get_aio_context(), run_bh, r);
    r->watch = timer_new_ms(QEMU_CLOCK_REALTIME, look, r);
    r->vm_state = qemu_add_vm_change_state_handler(vm_state_changed, r);
    r->shutdown.notify = shutdown_notify;
    qemu_register_shutdown_notifier(&r->shutdown);
    error_setg(&r->unplug_blocker, "there are runs of a fuzzer, which need "
               "the device; quit instead");
    qdev_add_unplug_blocker(dev, r->unplug_blocker);
    return r;
}

void snapshot_runs_free(SnapshotRuns *r)
{
    if (!r) {
        return;
    }
    if (r->phase == PHASE_WAITING) {
        r->phase = PHASE_OVER;
        snapshot_go_on();
    }
    qdev_del_unplug_blocker(r->dev, r->unplug_blocker);
    error_free(r->unplug_blocker);
    unwatch_fd(r);
    snapshot_cancel(r);
    notifier_remove(&r->shutdown);
    qemu_del_vm_change_state_handler(r->vm_state);
    timer_free(r->watch);
    qemu_bh_delete(r->bh);
    r->host->ops->free(r->host);
    g_free(r);
}
