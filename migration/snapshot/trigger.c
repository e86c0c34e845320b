/*
 * In-process machine snapshots: who asks, and where the work is done.
 *
 * A command comes from a vCPU (it stored to a register), from the main loop
 * (a device's DMA, qtest) or from the monitor.  All of them end in
 * snapshot_carry_out():
 *
 *   vCPU that has the machine to itself   work item on that vCPU
 *   vCPU whose others sleep (TCG)         the same, and they are kept asleep
 *   vCPU among others                     it parks; bottom half in main loop
 *   main loop, inside a device            bottom half in main loop
 *   monitor                               called directly
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "block/aio.h"
#include "hw/core/cpu.h"
#include "qapi/error.h"
#include "qemu/main-loop.h"
#include "system/runstate-action.h"
#include "system/runstate.h"
#include "system/tcg.h"
#include "internal.h"
#include "trace.h"

/* The one command that is accepted and not yet carried out */
typedef struct Request {
    bool pending;
    SnapshotOp op;
    SnapshotDoneFunc *done;
    void *opaque;
    CPUState *cpu;      /* that triggered it, or NULL */
} Request;

static struct {
    Request request;
    bool discard;       /* discard the snapshot, after the request */
    bool over;          /* QEMU ends: nothing is carried out any more */
    QEMUBH *bh;         /* in the main loop */
} trigger;

static void carry_out_request(void)
{
    Request r = trigger.request;

    trigger.request = (Request) { 0 };
    if (r.pending) {
        snapshot_carry_out(r.op, r.done, r.opaque, NULL);
    }
}

static void request_bh(void *opaque)
{
    if (trigger.over) {
        return;
    }
    if (snapshot_busy()) {
        /* Called by a command that lets devices finish: after it, then. */
        qemu_bh_schedule(trigger.bh);
        return;
    }
    carry_out_request();
    if (trigger.discard) {
        trigger.discard = false;
        snapshot_carry_out(SNAPSHOT_OP_DISCARD, NULL, NULL, NULL);
    }
}

static bool is_asked_by(const CPUState *cpu)
{
    return trigger.request.pending && trigger.request.cpu == cpu &&
           !trigger.over;
}

/* The vCPU parks, and the main loop carries on from here. */
static void leave_to_main_loop(CPUState *cpu)
{
    cpu_pause(cpu);
    qemu_bh_schedule(trigger.bh);
}

/*
 * No other vCPU executes code, nor can it begin to, as this is a work item that
 * excludes that.  It is called without the BQL.  Those that slept sleep on, as
 * waking up takes the BQL.
 */
static void request_alone(CPUState *cpu, run_on_cpu_data unused)
{
    BQL_LOCK_GUARD();
    if (!is_asked_by(cpu)) {
        return;
    }
    if (snapshot_others_sleep(cpu) && runstate_is_running()) {
        carry_out_request();
    } else {
        leave_to_main_loop(cpu);
    }
}

/*
 * First thing on the vCPU after the instruction that triggered.  Where other
 * vCPUs run, or while somebody is stopping the machine, the main loop has to
 * stop them.
 */
static void request_on_vcpu(CPUState *cpu, run_on_cpu_data unused)
{
    if (!is_asked_by(cpu)) {
        return;
    }
    if (!runstate_is_running()) {
        leave_to_main_loop(cpu);
    } else if (snapshot_owns_vcpus()) {
        carry_out_request();
    } else if (tcg_enabled() && snapshot_others_sleep(cpu)) {
        async_safe_run_on_cpu(cpu, request_alone, RUN_ON_CPU_NULL);
    } else {
        leave_to_main_loop(cpu);
    }
}

/*
 * "cont" between the trigger and the bottom half would let the vCPU run on:
 * park it again.
 */
static void vm_state_changed(void *opaque, bool running, RunState state)
{
    if (running && trigger.request.pending && trigger.request.cpu) {
        async_run_on_cpu(trigger.request.cpu, request_on_vcpu, RUN_ON_CPU_NULL);
    }
}

/* The main loop ends, and takes the machine apart while it still polls. */
static void shutting_down(Notifier *n, void *cause)
{
    trigger.over = shutdown_action != SHUTDOWN_ACTION_PAUSE;
}

static void trigger_init(void)
{
    static Notifier at_shutdown = { .notify = shutting_down };

    if (!trigger.bh) {
        snapshot_engine_init();
        qemu_register_shutdown_notifier(&at_shutdown);
        /* Not the block layer's context: it runs in the middle of drains. */
        trigger.bh = aio_bh_new(iohandler_get_aio_context(), request_bh, NULL);
        qemu_add_vm_change_state_handler(vm_state_changed, NULL);
    }
}

SnapshotResult snapshot_submit(SnapshotOp op, SnapshotDoneFunc *done,
                               void *opaque)
{
    trigger_init();
    if (snapshot_busy() || trigger.request.pending) {
        trace_snapshot_failed(op, SNAPSHOT_RESULT_BUSY, "one is pending");
        return SNAPSHOT_RESULT_BUSY;
    }
    if (snapshot_counters()->levels < snapshot_levels_needed(op)) {
        trace_snapshot_failed(op, SNAPSHOT_RESULT_NONE, "no such level");
        return SNAPSHOT_RESULT_NONE;
    }
    trigger.request = (Request) {
        .pending = true,
        .op = op,
        .done = done,
        .opaque = opaque,
        .cpu = current_cpu,
    };
    if (current_cpu) {
        async_run_on_cpu(current_cpu, request_on_vcpu, RUN_ON_CPU_NULL);
    } else {
        qemu_bh_schedule(trigger.bh);
    }
    return SNAPSHOT_RESULT_PENDING;
}

void snapshot_cancel(void *opaque)
{
    CPUState *cpu = trigger.request.cpu;

    if (trigger.request.pending && trigger.request.opaque == opaque) {
        trigger.request = (Request) { 0 };
        if (cpu && cpu->stopped && runstate_is_running()) {
            cpu_resume(cpu);
        }
    }
}

void snapshot_release(void)
{
    trigger_init();
    trigger.discard = true;
    qemu_bh_schedule(trigger.bh);
}

bool snapshot_pending(void)
{
    return trigger.request.pending;
}

/* May something be done at once, or is a command under way? */
static bool is_idle(Error **errp)
{
    if (snapshot_busy() || trigger.request.pending) {
        error_setg(errp, "another snapshot command is being carried out; "
                   "try again");
        return false;
    }
    return true;
}

SnapshotResult snapshot_run(SnapshotOp op, Error **errp)
{
    trigger_init();
    if (!is_idle(errp)) {
        return SNAPSHOT_RESULT_BUSY;
    }
    return snapshot_carry_out(op, NULL, NULL, errp);
}

SnapshotResult snapshot_exclude(uint64_t start, uint64_t length, Error **errp)
{
    if (!is_idle(errp)) {
        return SNAPSHOT_RESULT_BUSY;
    }
    return snapshot_engine_exclude(start, length, errp);
}

SnapshotResult snapshot_include_all(Error **errp)
{
    if (!is_idle(errp)) {
        return SNAPSHOT_RESULT_BUSY;
    }
    snapshot_engine_include_all();
    return SNAPSHOT_RESULT_DONE;
}
