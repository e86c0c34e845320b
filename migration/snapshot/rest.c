/*
 * In-process machine snapshots: the machine comes to rest, and goes on.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "block/aio.h"
#include "block/block_int.h"
#include "exec/cpu-common.h"
#include "hw/core/cpu.h"
#include "hw/virtio/virtio-blk.h"
#include "hw/virtio/virtio-scsi.h"
#include "qemu/main-loop.h"
#include "system/block-backend.h"
#include "system/cpu-timers.h"
#include "system/cpus.h"
#include "system/runstate.h"
#include "system/tcg.h"
#include "tcg/startup.h"
#include "compat-ram.h"
#include "internal.h"
#include "rest-virtio.h"

/* Bottom halves run before a command; more than this many are a live loop. */
#define MAX_BOTTOM_HALVES 64

/* The block layer is drained until it is idle, but not more often than this. */
#define MAX_DRAINS 64

bool snapshot_owns_vcpus(void)
{
    return !CPU_NEXT(first_cpu) ||
           (tcg_enabled() && !qemu_tcg_mttcg_enabled());
}

/*
 * A vCPU that is halted and has nothing to do is about to wait, or waits, for
 * the BQL or for somebody who has it.  It answers run_on_cpu(), which some
 * devices call when they are loaded; one that is awake, and kept from executing
 * code by a work item that excludes that, would not.
 */
bool snapshot_others_sleep(const CPUState *self)
{
    CPUState *cpu;

    CPU_FOREACH(cpu) {
        if (cpu != self && !cpu_thread_is_idle(cpu)) {
            return false;
        }
    }
    return true;
}

/* Can no vCPU run while this thread, with the BQL, does not let it? */
static bool is_alone(void)
{
    return qemu_in_vcpu_thread() &&
           (snapshot_owns_vcpus() || cpu_in_exclusive_context(current_cpu));
}

/* Those that slept may have something to do now. */
static void wake_others(void)
{
    CPUState *cpu;

    CPU_FOREACH(cpu) {
        if (cpu != current_cpu && !cpu_thread_is_idle(cpu)) {
            qemu_cpu_kick(cpu);
        }
    }
}

bool snapshot_virtio_has_thread(VirtIODevice *vdev)
{
    Object *obj = OBJECT(vdev);

    if (object_dynamic_cast(obj, TYPE_VIRTIO_BLK)) {
        VirtIOBlkConf *conf = &VIRTIO_BLK(obj)->conf;

        return conf->iothread || conf->iothread_vq_mapping_list;
    }
    if (object_dynamic_cast(obj, TYPE_VIRTIO_SCSI_COMMON)) {
        VirtIOSCSIConf *conf = &VIRTIO_SCSI_COMMON(obj)->conf;

        return conf->iothread || conf->iothread_vq_mapping_list;
    }
    return false;
}

/*
 * Run the bottom halves that are due.  Some devices (virtio-gpu) have theirs
 * in the context of the I/O handlers, whose file descriptors are left alone.
 * Returns whether there were any.
 */
static bool poll_bottom_halves(void)
{
    bool more = true, any = false;

    for (int i = 0; more && i < MAX_BOTTOM_HALVES; i++) {
        more = aio_bh_poll(iohandler_get_aio_context());
        more |= aio_poll(qemu_get_aio_context(), false);
        any |= more;
    }
    return any;
}

/*
 * Is there a request that has not got as far as its device's callback?  After
 * poll_bottom_halves() such a request is in some node, or it is throttled.
 */
static bool is_in_flight(void)
{
    BlockDriverState *bs = NULL;

    while ((bs = bdrv_next_all_states(bs))) {
        if (qatomic_read(&bs->in_flight)) {
            return true;
        }
    }
    return false;
}

static bool is_throttled(void)
{
    BlockBackend *blk = NULL;

    while ((blk = blk_all_next(blk))) {
        if (blk_get_public(blk)->throttle_group_member.throttle_state) {
            return true;
        }
    }
    return false;
}

/*
 * To drain what is idle is not free: devices stop listening for requests and
 * start again, with system calls for each of their queues.
 *
 * And to drain once is not enough.  A device may follow up a request with the
 * next (IDE does a long transfer in parts), which waits while the block layer
 * drains and goes on right after.  No vCPU asks for more, so this ends.
 *
 * Returns whether something may have been finished.
 */
static bool finish_requests(void)
{
    bool drain = snapshot_config()->reference || is_throttled();
    bool any = poll_bottom_halves();

    for (int i = 0; i < MAX_DRAINS && (drain || is_in_flight()); i++) {
        bdrv_drain_all();
        poll_bottom_halves();
        drain = false;
        any = true;
    }
    return any;
}

void snapshot_stop_clocks(void)
{
    if (runstate_is_live(runstate_get())) {
        cpu_disable_ticks();
    }
}

/*
 * Like vm_stop(), without what it does for people who watch: no STOP event,
 * no flush of disks to stable storage.  Devices are told, so that they cancel
 * or finish what is not part of their saved state.
 */
void snapshot_stop_machine(SnapshotRest *rest)
{
    if (is_alone()) {
        /* With -icount the main loop has a part in how time goes on. */
        rest->hushed = !icount_enabled();
        if (rest->hushed) {
            snapshot_hush_begin();
        }
    } else if (runstate_check(RUN_STATE_RUNNING)) {
        pause_all_vcpus();
        rest->paused = true;
    }
    /* Stores of the guest that KVM has not passed on yet */
    qemu_flush_coalesced_mmio_buffer();
    rest->state = runstate_get();
    snapshot_stop_clocks();
    if (runstate_is_live(rest->state)) {
        runstate_set(RUN_STATE_SAVE_VM);
        if (!snapshot_config()->reference) {
            snapshot_virtio_rest_begin();
        }
        vm_state_notify(false, RUN_STATE_SAVE_VM);
        snapshot_virtio_rest_end();
        snapshot_pit_hold();
    }
    snapshot_virtio_rest_call(finish_requests());
}

void snapshot_start_clocks(const SnapshotRest *rest)
{
    if (runstate_is_live(rest->state) && !snapshot_staying()) {
        cpu_enable_ticks();
    }
}

void snapshot_start_machine(const SnapshotRest *rest,
                            const RunState *restored)
{
    RunState state = rest->state;

    snapshot_virtio_rest_over();
    if (runstate_is_live(state)) {
        if (restored) {
            state = *restored;
        }
        runstate_set(state);
        vm_state_notify(true, state);
    } else if (restored) {
        /* "cont" is to bring it to the state of the save. */
        vm_set_suspended(*restored == RUN_STATE_SUSPENDED);
        if (runstate_needs_reset()) {
            /* It had shut down or crashed; now it is an instant before. */
            runstate_set(RUN_STATE_PAUSED);
        }
    }
    if (!snapshot_staying() &&
        (rest->paused || rest->state == RUN_STATE_SUSPENDED)) {
        resume_all_vcpus();
    }
    if (is_alone() && !snapshot_owns_vcpus()) {
        wake_others();
    }
    if (rest->hushed) {
        snapshot_hush_end();
    }
}

/* A vCPU that sleeps and takes no interrupts does so for ever. */
static bool is_deaf(CPUState *cpu)
{
#ifdef TARGET_I386
    return !(cpu_env(cpu)->eflags & IF_MASK);
#else
    return false;
#endif
}

bool snapshot_halted_for_good(void)
{
    bool deaf = true;
    CPUState *cpu;

    CPU_FOREACH(cpu) {
        if (!cpu->halted || !cpu_thread_is_idle(cpu)) {
            return false;
        }
        deaf &= is_deaf(cpu);
    }
    return deaf || qemu_clock_deadline_ns_all(QEMU_CLOCK_VIRTUAL,
                                              QEMU_TIMER_ATTR_ALL) < 0;
}
