/*
 * Device "snapshot": how runs end.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "migration/snapshot-engine.h"
#include "qemu/timer.h"
#include "system/runstate.h"
#include "system/runstate-action.h"
#include "end.h"

static const char *const kinds[] = {
    [SNAPSHOT_END_DONE] = "done",
    [SNAPSHOT_END_CRASH] = "crash",
    [SNAPSHOT_END_PANIC] = "panic of the guest's kernel",
    [SNAPSHOT_END_RESET] = "reset by the guest",
    [SNAPSHOT_END_SHUTDOWN] = "shutdown by the guest",
    [SNAPSHOT_END_INTERNAL] = "internal error of the accelerator",
    [SNAPSHOT_END_HALTED] = "halted for good",
    [SNAPSHOT_END_TIMEOUT] = "timeout",
};

int snapshot_end_wait_status(const SnapshotEnd *end)
{
    static const int signals[] = {
        [SNAPSHOT_END_PANIC] = SIGABRT,
        [SNAPSHOT_END_RESET] = SIGHUP,
        [SNAPSHOT_END_SHUTDOWN] = SIGTERM,
        [SNAPSHOT_END_INTERNAL] = SIGILL,
        [SNAPSHOT_END_HALTED] = SIGALRM,
        [SNAPSHOT_END_TIMEOUT] = SIGKILL,
    };

    switch (end->kind) {
    case SNAPSHOT_END_DONE:
        return (end->code & 0xff) << 8;     /* as W_EXITCODE() */
    case SNAPSHOT_END_CRASH:
        return end->code >= 1 && end->code < NSIG ? end->code : SIGABRT;
    default:
        return signals[end->kind];
    }
}

/* Print @text, each line by itself, so that none looks like one of ours. */
static void print_lines(FILE *to, const char *text)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

    for (char **line = lines; *text && *line; line++) {
        fprintf(to, "    %s\n", *line);
    }
}

static unsigned int count_map(const SnapshotShared *s)
{
    unsigned int n = 0;

    for (uint32_t i = 0; i < s->map_size; i++) {
        n += s->map.host[i] != 0;
    }
    return n;
}

void snapshot_end_print(FILE *to, const char *name, const SnapshotShared *s,
                        const SnapshotEnd *end)
{
    g_autofree char *text = snapshot_shared_text(s, end->text_size);
    g_autofree char *log = snapshot_shared_log(s);
    int status = snapshot_end_wait_status(end);

    fprintf(to, "%s: %s", name, kinds[end->kind]);
    if (end->kind <= SNAPSHOT_END_CRASH) {
        fprintf(to, " %d", end->kind == SNAPSHOT_END_DONE
                           ? WEXITSTATUS(status) : WTERMSIG(status));
    }
    fprintf(to, ", %" PRId64 " us, %u bytes of the map\n", end->ns / 1000,
            count_map(s));
    print_lines(to, text);
    print_lines(to, log);
}

/*
 * What becomes of the guest
 */

static void shutdown_notify(Notifier *n, void *opaque)
{
    SnapshotFate *f = container_of(n, SnapshotFate, shutdown);

    f->cause = *(ShutdownCause *)opaque;
}

void snapshot_fate_init(SnapshotFate *f)
{
    f->shutdown.notify = shutdown_notify;
    qemu_register_shutdown_notifier(&f->shutdown);
}

void snapshot_fate_destroy(SnapshotFate *f)
{
    notifier_remove(&f->shutdown);
}

void snapshot_fate_keep_process(void)
{
    if (qemu_shutdown_requested_get()) {
        return;                 /* the user has told QEMU to quit */
    }
    reboot_action = REBOOT_ACTION_SHUTDOWN;
    shutdown_action = SHUTDOWN_ACTION_PAUSE;
    panic_action = PANIC_ACTION_PAUSE;
}

void snapshot_fate_begin(SnapshotFate *f, uint32_t limit)
{
    f->began = get_clock();
    f->limit = limit;
    f->cut = f->was_halted = false;
}

int64_t snapshot_fate_elapsed(const SnapshotFate *f)
{
    return get_clock() - f->began;
}

void snapshot_fate_cut(SnapshotFate *f)
{
    f->cut = true;
}

bool snapshot_fate_stopped(SnapshotFate *f, RunState state,
                           SnapshotEndKind *kind)
{
    switch (state) {
    case RUN_STATE_GUEST_PANICKED:
        f->cause = SHUTDOWN_CAUSE_GUEST_PANIC;
        *kind = SNAPSHOT_END_PANIC;
        return true;
    case RUN_STATE_INTERNAL_ERROR:
        f->cause = SHUTDOWN_CAUSE_HOST_ERROR;
        *kind = SNAPSHOT_END_INTERNAL;
        return true;
    case RUN_STATE_SHUTDOWN:
        *kind = f->cause == SHUTDOWN_CAUSE_GUEST_SHUTDOWN
                ? SNAPSHOT_END_SHUTDOWN : SNAPSHOT_END_RESET;
        /* Else it is QEMU that ends. */
        return shutdown_action == SHUTDOWN_ACTION_PAUSE;
    case RUN_STATE_WATCHDOG:
        f->cause = SHUTDOWN_CAUSE_GUEST_RESET;
        *kind = SNAPSHOT_END_TIMEOUT;
        return true;
    default:
        return false;
    }
}

/*
 * Time goes by for a guest that sleeps (ACPI S3), but not while the user has
 * stopped it.
 */
bool snapshot_fate_ended(SnapshotFate *f, SnapshotEndKind *kind)
{
    bool was_halted = f->was_halted;

    if (!runstate_is_live(runstate_get())) {
        return snapshot_fate_stopped(f, runstate_get(), kind);
    }
    if (f->cut ||
        (f->limit && snapshot_fate_elapsed(f) / SCALE_MS >= f->limit)) {
        *kind = SNAPSHOT_END_TIMEOUT;
        return true;
    }
    /* Twice, as something of the host may just be about to wake it. */
    f->was_halted = snapshot_halted_for_good();
    *kind = SNAPSHOT_END_HALTED;
    return f->was_halted && was_halted;
}

void snapshot_fate_undo(SnapshotFate *f)
{
    if (runstate_is_running() || f->cause == SHUTDOWN_CAUSE_NONE) {
        return;
    }
    f->cause = SHUTDOWN_CAUSE_NONE;
    if (runstate_needs_reset()) {
        runstate_set(RUN_STATE_PAUSED);     /* a restore is as good */
    }
    vm_start();
}
