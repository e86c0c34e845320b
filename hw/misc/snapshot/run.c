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
 * While a run is WAITING the machine is held (snapshot_stay()).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "hw/misc/snapshot_regs.h"
#include "hw/qdev-core.h"
#include "migration/snapshot-coverage.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/timer.h"
#include "system/cpus.h"
#include "system/runstate.h"
#include "system/runstate-action.h"
#include "coverage-qemu.h"
#include "end.h"
#include "run.h"
#include "trace.h"
#include "wait.h"

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
    SnapshotDoneFunc *done;     /* tells the guest */
    void *opaque;               /* for @done */
    DeviceState *dev;
    Error *unplug_blocker;

    uint32_t persistent;        /* restore after so many runs */
    uint32_t kept;              /* runs since the last restore */
    uint32_t timeout;           /* ms; 0: none */
    SnapshotDeviceRuns counts;  /* which snapshot_info() shows */
    uint64_t *part;             /* of ->counts, which goes on; or NULL */
    int64_t since;              /* when it began, get_clock() */
    uint64_t returns;           /* to a saved instant, when coverage began */
    SnapshotEnd end;            /* of the last one */
    bool told;                  /* the host knows of it */

    /* Registers */
    uint32_t status, text_size, map_used;

    SnapshotWait wait;          /* for an input */
    SnapshotFate fate;          /* of the guest, in the present run */
    QEMUBH *start_bh;           /* starts a machine that had stopped itself */
    QEMUTimer *watch;
    VMChangeStateEntry *vm_state;
};

/* From now on the time goes to @part of what is counted. */
static void count_time(SnapshotRuns *r, uint64_t *part)
{
    int64_t now = get_clock();

    if (r->part) {
        *r->part += now - r->since;
    }
    r->part = part;
    r->since = now;
}

/* The end of it all: for a reason, or as the host has no more inputs. */
static void over(SnapshotRuns *r, Error *err)
{
    int code;

    if (r->phase == PHASE_OVER) {
        error_free(err);
        return;
    }
    r->phase = PHASE_OVER;
    count_time(r, NULL);
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

/* The machine is held. */
static void wait_for_input(SnapshotRuns *r)
{
    r->phase = PHASE_WAITING;
    count_time(r, &r->counts.fuzzer);
    snapshot_wait(&r->wait);
}

/* Count edges of the run that begins. */
static void begin_coverage(SnapshotRuns *r)
{
    r->returns = snapshot_counters()->returns;
    snapshot_coverage_begin();
    snapshot_coverage_qemu_begin();
}

static void take_input(void *opaque)
{
    SnapshotRuns *r = opaque;

    count_time(r, &r->counts.wake_up);
    switch (r->host->ops->next(r->host)) {
    case SNAPSHOT_NEXT_INPUT:
        snapshot_shared_begin_run(r->host->shared);
        begin_coverage(r);
        r->phase = PHASE_GOING;
        snapshot_fate_begin(&r->fate, r->timeout);
        r->status = r->text_size = 0;
        trace_snapshot_run_begin(r->counts.ended);
        count_time(r, &r->counts.guest);
        snapshot_go_on();
        break;
    case SNAPSHOT_NEXT_WAIT:
        count_time(r, &r->counts.fuzzer);
        snapshot_wait_in_main_loop(&r->wait);
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
    r->done(r->opaque, res);
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
    snapshot_fate_keep_process();
    timer_mod(r->watch, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + WATCH_MAX);
    wait_for_input(r);
}

/*
 * End
 */

static void tell_host(SnapshotRuns *r)
{
    uint64_t *part = r->part;

    if (!r->told) {
        r->told = true;
        count_time(r, &r->counts.wake_up);
        r->host->ops->ended(r->host, &r->end);
        count_time(r, part);
    }
}

static void restored(void *opaque, SnapshotResult res)
{
    SnapshotRuns *r = opaque;
    Error *err = NULL;

    tell_guest(r, res);
    tell_host(r);
    if (res != SNAPSHOT_RESULT_DONE && res != SNAPSHOT_RESULT_VERIFY) {
        error_setg(&err, "the machine cannot be put back (result %d); the "
                   "warning above, or last-error of x-snapshot-device-query, "
                   "has the reason", res);
        snapshot_stay();
        over(r, err);
        return;
    }
    r->kept = 0;
    snapshot_stay();
    if (!runstate_check(RUN_STATE_SAVE_VM)) {
        qemu_bh_schedule(r->start_bh);  /* the guest had stopped itself */
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
    trace_snapshot_run_give_up(r->counts.ended);
    r->phase = PHASE_ENDING;
    count_time(r, &r->counts.restore);
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
        count_time(r, &r->counts.restore);
    }
    snapshot_coverage_end();
    snapshot_coverage_qemu_end();
    r->end = (SnapshotEnd) {
        .kind = kind,
        .code = r->status,
        .text_size = r->text_size,
        .ns = snapshot_fate_elapsed(&r->fate),
    };
    r->told = false;
    trace_snapshot_run_end(r->counts.ended, kind, r->end.code, r->end.ns);
    r->counts.ended++;
    /*
     * The host works while the machine goes back, if no vCPU can write to the
     * coverage map any more.
     */
    if (keep || (qemu_in_vcpu_thread() && snapshot_owns_vcpus())) {
        tell_host(r);
    }
    r->phase = keep ? PHASE_KEPT : PHASE_ENDING;
    r->kept++;
    /* The time until it asks for its next input, of interest if kept */
    snapshot_fate_begin(&r->fate, r->timeout ? r->timeout : KEPT_MAX);
    if (res == SNAPSHOT_RESULT_NONE) {
        restored(r, res);
    }
    return res;
}

static void rested(void *opaque, SnapshotResult res)
{
    SnapshotRuns *r = opaque;
    SnapshotEndKind kind;

    tell_guest(r, res);
    if (snapshot_fate_stopped(&r->fate, runstate_get(), &kind)) {
        r->phase = PHASE_KEPT;          /* another vCPU has done so */
        give_up_kept(r);
        return;
    }
    snapshot_stay();
    wait_for_input(r);
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
        snapshot_fate_ended(&r->fate, &kind) &&
        end_unasked(r, kind) == SNAPSHOT_RESULT_BUSY) {
        period = WATCH_MIN;
    }
    timer_mod(r->watch, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) +
              MIN(MAX(period, WATCH_MIN), WATCH_MAX));
}

void snapshot_runs_cut_off(SnapshotRuns *r)
{
    if (r->phase == PHASE_GOING) {
        snapshot_fate_cut(&r->fate);
        look(r);
    }
}

/* In the main loop, with no code of devices on the stack */
static void start_bh(void *opaque)
{
    SnapshotRuns *r = opaque;

    if (r->phase != PHASE_WAITING) {
        return;
    }
    if (snapshot_busy()) {
        qemu_bh_schedule(r->start_bh);  /* the machine is at rest: later */
    } else {
        snapshot_fate_undo(&r->fate);
    }
}

static void vm_state_changed(void *opaque, bool running, RunState state)
{
    SnapshotRuns *r = opaque;
    SnapshotEndKind kind;

    if (running && r->phase == PHASE_GOING &&
        r->returns != snapshot_counters()->returns) {
        begin_coverage(r);              /* the same run, once more */
        tell_guest(r, snapshot_counters()->returned);
    }
    if (running && r->phase == PHASE_WAITING && !qemu_in_vcpu_thread()) {
        snapshot_wait_in_main_loop(&r->wait);   /* after "stop" and "cont" */
    } else if ((r->phase == PHASE_GOING || r->phase == PHASE_KEPT) &&
               snapshot_fate_stopped(&r->fate, state, &kind)) {
        end_unasked(r, kind);
    } else if (r->phase == PHASE_WAITING &&
               snapshot_fate_stopped(&r->fate, state, &kind)) {
        qemu_bh_schedule(r->start_bh);  /* it is at the saved instant */
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
            count_time(r, &r->counts.restore);
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
    return r ? r->counts.ended : 0;
}

uint32_t snapshot_runs_host(const SnapshotRuns *r)
{
    return r ? r->host->ops->reg : SNAPSHOT_HOST_NONE;
}

uint32_t *snapshot_runs_reg(SnapshotRuns *r, hwaddr addr)
{
    switch (r ? addr : HWADDR_MAX) {
    case SNAPSHOT_REG_RUN_STATUS:
        return &r->status;
    case SNAPSHOT_REG_TEXT_SIZE:
        return &r->text_size;
    case SNAPSHOT_REG_MAP_USED:
        return &r->map_used;
    default:
        return NULL;
    }
}

SnapshotRuns *snapshot_runs_new(const SnapshotRunsConfig *config,
                                DeviceState *dev, SnapshotHost *host,
                                SnapshotDoneFunc *done, void *opaque)
{
    SnapshotRuns *r = g_new0(SnapshotRuns, 1);

    r->host = host;
    host->runs = r;
    r->done = done;
    r->opaque = opaque;
    r->dev = dev;
    r->persistent = config->persistent;
    r->timeout = config->timeout;
    snapshot_wait_init(&r->wait, host->fd, take_input, r);
    snapshot_fate_init(&r->fate);
    r->start_bh = aio_bh_new(iohandler_get_aio_context(), start_bh, r);
    r->watch = timer_new_ms(QEMU_CLOCK_REALTIME, look, r);
    r->vm_state = qemu_add_vm_change_state_handler(vm_state_changed, r);
    error_setg(&r->unplug_blocker, "there are runs of a fuzzer, which need "
               "the device; quit instead");
    qdev_add_unplug_blocker(dev, r->unplug_blocker);
    snapshot_show_runs(&r->counts);
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
    snapshot_show_runs(NULL);
    qdev_del_unplug_blocker(r->dev, r->unplug_blocker);
    error_free(r->unplug_blocker);
    snapshot_wait_destroy(&r->wait);
    snapshot_cancel(r);
    snapshot_fate_destroy(&r->fate);
    qemu_del_vm_change_state_handler(r->vm_state);
    timer_free(r->watch);
    qemu_bh_delete(r->start_bh);
    r->host->ops->free(r->host);
    g_free(r);
}
