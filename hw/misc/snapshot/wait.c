/*
 * Device "snapshot": waiting for a host's next input, with the machine held.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "hw/core/cpu.h"
#include "migration/snapshot-engine.h"
#include "system/cpus.h"
#include "system/runstate.h"
#include "wait.h"

/* How long a vCPU thread waits by itself, in milliseconds */
#define WAIT_ON_VCPU    5

static void unwatch_fd(SnapshotWait *w)
{
    if (w->watching_fd) {
        w->watching_fd = false;
        qemu_set_fd_handler(w->fd, NULL, NULL, NULL);
    }
}

/* There is something for us, unless the machine is stopped. */
static void input_ready(SnapshotWait *w)
{
    if (w->waiting && runstate_is_running()) {
        w->waiting = false;
        w->ready(w->opaque);
    }
}

static void fd_ready(void *opaque)
{
    unwatch_fd(opaque);
    input_ready(opaque);
}

static void wait_bh(void *opaque)
{
    SnapshotWait *w = opaque;

    if (w->waiting && snapshot_busy()) {
        qemu_bh_schedule(w->bh);        /* the machine is at rest: later */
    } else {
        input_ready(w);
    }
}

void snapshot_wait_in_main_loop(SnapshotWait *w)
{
    w->waiting = true;
    if (w->fd < 0) {
        qemu_bh_schedule(w->bh);
    } else if (!w->watching_fd) {
        w->watching_fd = true;
        qemu_set_fd_handler(w->fd, fd_ready, NULL, w);
    }
}

static void wait_on_vcpu(CPUState *cpu, run_on_cpu_data data)
{
    SnapshotWait *w = data.host_ptr;
    GPollFD fd = { .fd = w->fd, .events = G_IO_IN };
    bool input = fd.fd < 0;

    if (w->waiting && !input) {
        bql_unlock();
        input = g_poll(&fd, 1, WAIT_ON_VCPU) > 0;
        bql_lock();
    }
    if (input) {
        input_ready(w);
    }
    if (w->waiting) {
        snapshot_wait_in_main_loop(w);
    }
    snapshot_park();        /* unless there was an input */
}

void snapshot_wait(SnapshotWait *w)
{
    if (qemu_in_vcpu_thread() && snapshot_owns_vcpus()) {
        w->waiting = true;
        async_run_on_cpu(current_cpu, wait_on_vcpu, RUN_ON_CPU_HOST_PTR(w));
    } else {
        snapshot_wait_in_main_loop(w);
    }
}

void snapshot_wait_init(SnapshotWait *w, int fd, void (*ready)(void *opaque),
                        void *opaque)
{
    w->fd = fd;
    w->ready = ready;
    w->opaque = opaque;
    w->bh = aio_bh_new(iohandler_get_aio_context(), wait_bh, w);
}

void snapshot_wait_destroy(SnapshotWait *w)
{
    w->waiting = false;
    unwatch_fd(w);
    qemu_bh_delete(w->bh);
}
