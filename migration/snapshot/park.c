/*
 * In-process machine snapshots: the machine stays at rest after a command.
 *
 * While it is held, the run state is "running" all the same, since nobody has
 * stopped the machine: it only gets no time.  Ticks are disabled and no vCPU
 * runs.  Whatever starts a machine ("cont", the end of a monitor's command)
 * enables ticks and resumes vCPUs, so that each is parked again before its
 * first instruction.  With -icount, time goes by when all vCPUs are idle, so
 * QEMU asks us whether they are held.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "hw/core/cpu.h"
#include "system/cpu-timers.h"
#include "system/cpus.h"
#include "system/runstate.h"
#include "internal.h"
#include "trace.h"

static bool held;

static void park(CPUState *cpu, run_on_cpu_data unused)
{
    if (held) {
        cpu_pause(cpu);
    }
}

static void vm_state_changed(void *opaque, bool running, RunState state)
{
    CPUState *cpu;

    if (!running || !held) {
        return;
    }
    cpu_disable_ticks();
    /* At the end of a vCPU's own command its trigger knows what comes next. */
    if (!(qemu_in_vcpu_thread() && snapshot_owns_vcpus())) {
        CPU_FOREACH(cpu) {
            async_run_on_cpu(cpu, park, RUN_ON_CPU_NULL);
        }
    }
}

void snapshot_park(void)
{
    CPUState *cpu;

    CPU_FOREACH(cpu) {
        park(cpu, RUN_ON_CPU_NULL);
    }
}

void snapshot_park_init(void)
{
    qemu_add_vm_change_state_handler(vm_state_changed, NULL);
}

bool snapshot_staying(void)
{
    return held;
}

void snapshot_stay(void)
{
    trace_snapshot_stay();
    held = true;
}

void snapshot_go_on(void)
{
    trace_snapshot_go_on();
    held = false;
    if (!runstate_is_running()) {
        return;
    }
    cpu_enable_ticks();
    if (!(qemu_in_vcpu_thread() && snapshot_owns_vcpus())) {
        resume_all_vcpus();
    }
}
