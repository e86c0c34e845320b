/*
 * In-process machine snapshots: the order of things.
 *
 * Each command is carried out with the machine at rest.  trigger.c sees to it
 * that there is one at a time, and that no guest or device code is on the
 * stack.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/util.h"
#include "qemu/error-report.h"
#include "qemu/timer.h"
#include "system/reset.h"
#include "system/runstate.h"
#include "system/system.h"
#include "compat-ram.h"
#include "commands.h"
#include "dma-held.h"
#include "internal.h"
#include "ram-level.h"
#include "requests.h"
#include "trace.h"

/* A saved instant; RAM has levels of its own, see ram-level.h. */
typedef struct Level {
    SnapshotDevices *devices;
    SnapshotClocks *clocks;
    RunState state;     /* of a machine that runs: SUSPENDED in ACPI S3 */
} Level;

static struct {
    SnapshotConfig config;
    bool busy;          /* a command is being carried out */

    /* The snapshot; ram is NULL if there is none, and then depth is 0. */
    SnapshotRam *ram;
    Level levels[SNAPSHOT_LEVELS_MAX];
    unsigned int depth;
    SnapshotDisks *disks;
} engine = {
    .config.disk_limit = SNAPSHOT_DISK_LIMIT,
};

static Level *top_level(void)
{
    return &engine.levels[engine.depth - 1];
}

static void free_level(Level *level)
{
    snapshot_devices_free(level->devices);
    snapshot_clocks_free(level->clocks);
}

/* Free all levels, but for RAM. */
static void free_levels(void)
{
    while (engine.depth) {
        free_level(top_level());
        engine.depth--;
    }
}

static void forget_snapshot(void)
{
    snapshot_ram_free(g_steal_pointer(&engine.ram));
    free_levels();
    snapshot_disks_free(g_steal_pointer(&engine.disks));
    snapshot_track_stop();
    snapshot_let_go();
    snapshot_count_reset();
}

/* RAM and devices are about to be replaced by loadvm: nothing to go back to */
static void machine_is_loaded(void)
{
    if (engine.ram && !engine.busy) {
        warn_report("snapshot: discarded, another machine state is loaded");
        forget_snapshot();
        snapshot_exclude_clear();
    }
}

/* What must hold before the machine is stopped for a save */
static SnapshotResult prepare_save(Error **errp)
{
    if (!snapshot_hold(errp) || !snapshot_track_start(errp)) {
        return SNAPSHOT_RESULT_REFUSED;
    }
    snapshot_devices_on_load(machine_is_loaded);
    return SNAPSHOT_RESULT_DONE;
}

/* Can there be a level on top of what was saved before? */
static SnapshotResult prepare_push(Error **errp)
{
    if (engine.depth == SNAPSHOT_LEVELS_MAX) {
        error_setg(errp, "there are %d levels, which is the limit; pop or "
                   "save", SNAPSHOT_LEVELS_MAX);
        return SNAPSHOT_RESULT_LIMIT;
    }
    if (engine.depth && (!snapshot_devices_check(top_level()->devices, errp) ||
                         !snapshot_disks_check(engine.disks, errp))) {
        return SNAPSHOT_RESULT_REFUSED;
    }
    return SNAPSHOT_RESULT_DONE;
}

/* A push without a snapshot is a save. */
static bool is_save(SnapshotOp op)
{
    return op == SNAPSHOT_OP_SAVE ||
           (op == SNAPSHOT_OP_PUSH && !engine.depth);
}

static SnapshotResult save_ram(SnapshotOp op, Error **errp)
{
    const SnapshotConfig *config = &engine.config;

    if (is_save(op)) {
        return snapshot_ram_save(&engine.ram, engine.ram, config->engine,
                                 config->file, errp);
    }
    return snapshot_level_push(engine.ram, errp);
}

static void count_save(bool replaces)
{
    if (!replaces) {
        snapshot_count_push();
        return;
    }
    snapshot_count_reset();
    snapshot_count()->armed = true;
    snapshot_count()->levels = 1;
    snapshot_count()->engine = engine.ram->ops->kind;
    snapshot_count()->verify = engine.config.verify;
    snapshot_count()->ram_bytes = engine.ram->bytes;
}

/* Save, or push */
static SnapshotResult save(SnapshotOp op, const SnapshotRest *rest,
                           Error **errp)
{
    bool replaces = is_save(op);
    SnapshotResult res;
    Level level = {
        .state = rest->state == RUN_STATE_SUSPENDED ? RUN_STATE_SUSPENDED
                                                    : RUN_STATE_RUNNING,
    };

    if (!snapshot_disks_prepare(&engine.disks, engine.config.disk_limit,
                                errp)) {
        return SNAPSHOT_RESULT_REFUSED;
    }
    snapshot_dma_held_find();
    snapshot_dma_held_mark();
    /* Devices before RAM: to save some of them changes guest RAM. */
    level.devices = snapshot_devices_save(errp);
    if (!level.devices) {
        return SNAPSHOT_RESULT_DEVICE;
    }
    res = save_ram(op, errp);
    if (res != SNAPSHOT_RESULT_DONE) {
        free_level(&level);
        return res;
    }
    if (replaces) {
        free_levels();
    }
    level.clocks = snapshot_clocks_save();
    snapshot_disks_save(engine.disks, replaces);
    engine.levels[engine.depth++] = level;
    snapshot_tracker()->saved(engine.ram, !engine.config.flush_tlbs);
    count_save(replaces);
    return SNAPSHOT_RESULT_DONE;
}

static SnapshotResult verify(Error **errp)
{
    g_autoptr(GString) text = g_string_new("restore is not exact: ");
    Error *found[5] = { NULL };
    bool ok = snapshot_ram_verify(engine.ram, &found[0]);

    ok &= snapshot_devices_verify(top_level()->devices, &found[1]);
    ok &= snapshot_clocks_verify(top_level()->clocks, &found[2]);
    ok &= snapshot_disks_verify(engine.disks, &found[3]);
    if (snapshot_tracker()->verify) {
        ok &= snapshot_tracker()->verify(&found[4]);
    }
    if (ok) {
        return SNAPSHOT_RESULT_DONE;
    }
    for (size_t i = 0, n = 0; i < ARRAY_SIZE(found); i++) {
        if (found[i]) {
            g_string_append_printf(text, "%s%s", n++ ? "; " : "",
                                   error_get_pretty(found[i]));
            error_free(found[i]);
        }
    }
    snapshot_count()->verify_failures++;
    error_setg(errp, "%s", text->str);
    return SNAPSHOT_RESULT_VERIFY;
}

/* The topmost level goes; there is one below. */
static void drop_level(void)
{
    snapshot_level_pop(engine.ram);
    snapshot_disks_pop(engine.disks);
    free_level(top_level());
    engine.depth--;
    snapshot_count_pop();
}

/* Restore, or pop */
static SnapshotResult restore(SnapshotOp op, int64_t *since, Error **errp)
{
    const Level *to = op == SNAPSHOT_OP_POP ? top_level() - 1 : top_level();
    SnapshotResult res = SNAPSHOT_RESULT_DONE;
    const SnapshotTracker *tracker = snapshot_tracker();
    bool reference = engine.config.reference;
    uint64_t pages;

    if (!snapshot_devices_check(to->devices, errp) ||
        !snapshot_disks_check(engine.disks, errp) ||
        !snapshot_ram_check(engine.ram, errp)) {
        return SNAPSHOT_RESULT_REFUSED;
    }
    if (op == SNAPSHOT_OP_POP) {
        drop_level();
    }
    snapshot_forget_requests();
    if (tracker->begin) {
        tracker->begin(!reference && !engine.config.flush_tlbs);
    }
    snapshot_phase_done(SNAPSHOT_DEVICE_PHASE_STOP, since);

    /* RAM goes first: devices read their rings while they are loaded. */
    snapshot_dma_held_mark();
    pages = reference ? snapshot_ram_restore_all(engine.ram)
                      : snapshot_ram_restore(engine.ram);
    snapshot_phase_done(SNAPSHOT_DEVICE_PHASE_RAM, since);

    /* Time stands still, and goes back first: timers are set relative to it. */
    snapshot_clocks_rewind(to->clocks);
    if (!(reference ? snapshot_devices_load_all(to->devices, errp)
                    : snapshot_devices_restore(to->devices, errp))) {
        res = SNAPSHOT_RESULT_DEVICE;
    }
    if (snapshot_devices_touched_ram(to->devices)) {
        pages += snapshot_ram_restore(engine.ram);
    }
    if (tracker->flush()) {
        snapshot_count()->tlbs_kept++;
    }
    if (op == SNAPSHOT_OP_POP) {
        tracker->saved(engine.ram, !engine.config.flush_tlbs);
    }
    snapshot_phase_done(SNAPSHOT_DEVICE_PHASE_DEVICES, since);

    /* Last, as devices may write to disks when they are reset. */
    snapshot_disks_restore(engine.disks);
    snapshot_phase_done(SNAPSHOT_DEVICE_PHASE_DISKS, since);

    snapshot_count()->restores++;
    snapshot_count()->pages_last = pages;
    snapshot_count()->pages_total += pages;
    snapshot_count()->dropped_last = engine.ram->dropped;
    snapshot_count()->words_last = snapshot_track_words();
    if (res == SNAPSHOT_RESULT_DONE && snapshot_count()->verify) {
        res = verify(errp);
        *since = get_clock();
    }
    return res;
}

unsigned int snapshot_levels_needed(SnapshotOp op)
{
    switch (op) {
    case SNAPSHOT_OP_RESTORE:
        return 1;
    case SNAPSHOT_OP_POP:
        return 2;
    default:
        return 0;
    }
}

static SnapshotResult carry_out_at_rest(SnapshotOp op, const SnapshotRest *rest,
                                        int64_t *since, Error **errp)
{
    if (engine.depth < snapshot_levels_needed(op)) {
        error_setg(errp, engine.depth ?
                   "there is no level below this one; restore or discard" :
                   "there is no snapshot to restore; save first");
        return SNAPSHOT_RESULT_NONE;
    }
    switch (op) {
    case SNAPSHOT_OP_SAVE:
    case SNAPSHOT_OP_PUSH:
        return save(op, rest, errp);
    case SNAPSHOT_OP_RESTORE:
    case SNAPSHOT_OP_POP:
        return restore(op, since, errp);
    case SNAPSHOT_OP_DISCARD:
        forget_snapshot();
        snapshot_exclude_clear();
        return SNAPSHOT_RESULT_DONE;
    case SNAPSHOT_OP_REST:
        return SNAPSHOT_RESULT_DONE;
    }
    g_assert_not_reached();
}

/* What must hold before the machine is stopped */
static SnapshotResult prepare(SnapshotOp op, Error **errp)
{
    SnapshotResult res = SNAPSHOT_RESULT_DONE;

    if (op != SNAPSHOT_OP_PUSH && op != SNAPSHOT_OP_SAVE) {
        return res;
    }
    /* It takes long enough for timers to be due when the guest goes on. */
    snapshot_stop_clocks();
    if (op == SNAPSHOT_OP_PUSH) {
        res = prepare_push(errp);
    }
    return res == SNAPSHOT_RESULT_DONE ? prepare_save(errp) : res;
}

SnapshotResult snapshot_carry_out(SnapshotOp op, SnapshotDoneFunc *done,
                                  void *opaque, Error **errp)
{
    int64_t begin = get_clock(), since = begin;
    Error *err = NULL;
    SnapshotRest rest = { 0 };
    SnapshotResult res;
    bool restored;

    trace_snapshot_begin(op);
    engine.busy = true;
    res = prepare(op, &err);
    snapshot_stop_machine(&rest);
    if (res == SNAPSHOT_RESULT_DONE) {
        res = carry_out_at_rest(op, &rest, &since, &err);
    }
    if (!engine.ram) {
        forget_snapshot();      /* what prepare_save() did for nothing */
    }
    restored = snapshot_levels_needed(op) &&
               res != SNAPSHOT_RESULT_NONE && res != SNAPSHOT_RESULT_REFUSED;
    if (restored) {
        snapshot_count()->returns++;
        snapshot_count()->returned = res;
    }
    engine.busy = false;
    if (done) {
        done(opaque, res);
    }
    snapshot_start_clocks(&rest);
    if (restored) {
        snapshot_devices_start(top_level()->devices);
        snapshot_phase_done(SNAPSHOT_DEVICE_PHASE_CLOCKS, &since);
    }
    snapshot_start_machine(&rest, restored ? &top_level()->state : NULL);
    if (restored) {
        snapshot_phase_done(SNAPSHOT_DEVICE_PHASE_RESUME, &since);
        snapshot_count_latency(get_clock() - begin);
    }
    if (err) {
        snapshot_note_failure(op, res, err);
        error_propagate(errp, err);
    }
    trace_snapshot_end(op, res, get_clock() - begin);
    return res;
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

void snapshot_engine_init(void)
{
    static Notifier at_exit = { .notify = engine_exit };

    /* A limit on file sizes shall fail a save, not end QEMU. */
    signal(SIGXFSZ, SIG_IGN);
    qemu_add_exit_notifier(&at_exit);
    qemu_register_reset(machine_is_reset, NULL);
    snapshot_holds_commands = snapshot_busy;
    snapshot_park_init();
}

bool snapshot_busy(void)
{
    return engine.busy;
}

void snapshot_configure(const SnapshotConfig *config)
{
    /* @config may be a copy of ours, with the same name in it. */
    char *file = g_strdup(config->file);

    g_free(engine.config.file);
    engine.config = *config;
    engine.config.file = file;
}

void snapshot_set_verify(bool verify)
{
    engine.config.verify = verify;
    snapshot_count()->verify = verify && engine.ram;
}

const SnapshotConfig *snapshot_config(void)
{
    return &engine.config;
}

SnapshotResult snapshot_engine_exclude(uint64_t start, uint64_t length,
                                       Error **errp)
{
    SnapshotResult res = snapshot_exclude_add(start, length, errp);

    if (res == SNAPSHOT_RESULT_DONE && engine.ram) {
        snapshot_exclude_attach(engine.ram);
    }
    return res;
}

void snapshot_engine_include_all(void)
{
    SnapshotRam *ram = engine.ram;

    if (ram) {
        snapshot_exclude_mark(ram);
    }
    snapshot_exclude_clear();
    if (ram) {
        snapshot_exclude_attach(ram);
    }
}

static SnapshotDeviceLevelList *list_levels(void)
{
    SnapshotDeviceLevelList *head = NULL;

    for (unsigned int i = engine.depth; i-- > 0;) {
        SnapshotDeviceLevel *level = g_new0(SnapshotDeviceLevel, 1);

        level->restores = snapshot_count_restores(i);
        level->ram_bytes = snapshot_level_bytes(engine.ram, i);
        QAPI_LIST_PREPEND(head, level);
    }
    return head;
}

SnapshotDeviceInfo *snapshot_info(void)
{
    SnapshotDeviceInfo *info = snapshot_count_info();

    info->excluded = snapshot_exclude_list();
    if (!info->armed) {
        info->engine = engine.config.engine;
        info->verify = engine.config.verify;
        return info;
    }
    info->tracker = g_strdup(snapshot_tracker()->name);
    info->loads = snapshot_devices_loads(top_level()->devices);
    info->disks = snapshot_disks_info(engine.disks);
    info->levels = list_levels();
    return info;
}
