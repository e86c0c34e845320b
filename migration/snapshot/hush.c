/*
 * In-process machine snapshots: the main loop sleeps on.
 *
 * Devices that are told of a stop and of a start schedule bottom halves and set
 * timers, and each time the main loop is woken: system calls, and a thread that
 * wants the BQL while a vCPU restores the machine.  But that vCPU holds the BQL
 * from the stop to the start, so the main loop can do nothing before; and when
 * it could, it is only needed if there is still something to do.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "block/aio.h"
#include "qemu/main-loop.h"
#include "qemu/timer.h"
#include "internal.h"

/* Bottom halves that go on for longer are left to the main loop. */
#define MAX_ROUNDS 4

/* Two deadlines that are no further apart are the same. */
#define SLACK_NS 10000

/*
 * Within this time the main loop looks anew at what it waits for.  Whether a
 * device takes what comes from outside (packets, characters) may have changed,
 * and of that there is no other sign than the wake-up that was left out.
 */
#define LATE_NS 5000000

static struct {
    uint32_t notify_me;     /* of the main loop's context, which is 0 now */
    int64_t deadline;       /* when the main loop wakes up, by get_clock() */
    Notifier poll;          /* before it sleeps */
    QEMUTimer *wake;        /* it wakes up by this at the latest */
} hush;

/* The earliest timer, by the host's clock */
static int64_t first_deadline(void)
{
    int64_t ns = timerlistgroup_deadline_ns(&main_loop_tlg);

    return ns < 0 ? INT64_MAX : get_clock() + ns;
}

static void main_loop_polls(Notifier *n, void *poll)
{
    if (((MainLoopPoll *)poll)->state == MAIN_LOOP_POLL_FILL) {
        hush.deadline = first_deadline();
    }
}

static void look_anew(void *unused)
{
}

/*
 * A guest that in each run sets a timer to later, which each restore sets back,
 * would have the main loop look at another deadline each time.  So what it
 * waits for is a timer of ours, of a clock that is not restored.
 */
static void wake_main_loop_at(int64_t deadline)
{
    if (deadline < hush.deadline - SLACK_NS) {
        hush.deadline = deadline;
        timer_mod_anticipate_ns(hush.wake, deadline);
    }
}

void snapshot_hush_begin(void)
{
    AioContext *ctx = qemu_get_aio_context();

    if (!hush.wake) {
        hush.wake = timer_new_ns(QEMU_CLOCK_REALTIME, look_anew, NULL);
        hush.deadline = INT64_MAX;
        hush.poll.notify = main_loop_polls;
        main_loop_poll_add_notifier(&hush.poll);
    }
    /* The main loop changes this with the BQL held; nobody else does. */
    hush.notify_me = qatomic_read(&ctx->notify_me);
    qatomic_set(&ctx->notify_me, 0);
}

void snapshot_hush_end(void)
{
    AioContext *ctx = qemu_get_aio_context();

    /* One that runs may schedule another, or delete itself. */
    for (int i = 0; i < MAX_ROUNDS && qatomic_read(&ctx->notified); i++) {
        aio_notify_accept(ctx);
        aio_bh_poll(ctx);
    }

    qatomic_set(&ctx->notify_me, hush.notify_me);
    /* Pairs with the barrier in aio_notify(), which other threads call. */
    smp_mb();
    if (qatomic_read(&ctx->notified)) {
        aio_notify(ctx);
    } else {
        wake_main_loop_at(MIN(first_deadline(), get_clock() + LATE_NS));
    }
}
