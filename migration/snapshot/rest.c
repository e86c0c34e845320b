/*
 * In-process machine snapshots: the machine comes to rest, and goes on.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "block/aio.h"
#include "block/block.h"
#include "exec/cpu-common.h"
#include "hw/core/cpu.h"
#include "qemu/main-loop.h"
#include "system/cpu-timers.h"
#include "system/cpus.h"
#include "system/runstate.h"
#include "system/tcg.h"
#include "tcg/startup.h"
#include "internal.h"

/* Bottom halves run before a command; more than this many are a live loop. */
#define MAX_BOTTOM_HALVES 64

bool snapshot_owns_vcpus(void)
{
    return !CPU_NEXT(first_cpu) ||
           (tcg_enabled() && !qemu_tcg_mttcg_enabled());
}

/*
 * Like vm_stop(), without what it does for people who watch: no STOP event,
 * no flush of disks to stable storage.  Devices are told, so that they cancel
 * or finish what is not part of their saved state.
 */
void snapshot_stop_machine(SnapshotRest *rest)
{
    if (runstate_check(RUN_STATE_RUNNING) &&
        !(qemu_in_vcpu_thread() && snapshot_owns_vcpus())) {
        pause_all_vcpus();
        rest->paused = true;
    }
    /* Stores of the guest that KVM has not passed on yet */
    qemu_flush_coalesced_mmio_buffer();
    rest->state = runstate_get();
    if (runstate_is_live(rest->state)) {
        cpu_disable_ticks();
        runstate_set(RUN_STATE_SAVE_VM);
        vm_state_notify(false, RUN_STATE_SAVE_VM);
        snapshot_pit_hold();
    }
    bdrv_drain_all();
    for (int i = 0; i < MAX_BOTTOM_HALVES; i++) {
        if (!aio_poll(qemu_get_aio_context(), false)) {
            break;
        }
    }
}

void snapshot_start_clocks(const SnapshotRest *rest)
{
    if (runstate_is_live(rest->state)) {
        cpu_enable_ticks();
    }
}

void snapshot_start_machine(const SnapshotRest *rest,
                            const RunState *restored)
{
    RunState state = rest->state;

    if (runstate_is_live(state)) {
        if (restored) {
            state = *restored;
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
