/*
 * In-process machine snapshots: interfaces between the parts of the engine.
 *
 * Calls go one way: trigger.c -> engine.c -> (rest, stats, ram, devices,
 * clocks, disks) -> (RAM engine, page tracker).  Nothing here calls up, and
 * nothing but trigger.c knows who triggered.  All functions run with the BQL
 * held and the machine at rest (no vCPU in guest code, block layer drained,
 * ticks disabled) unless said otherwise.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef MIGRATION_SNAPSHOT_INTERNAL_H
#define MIGRATION_SNAPSHOT_INTERNAL_H

#include "exec/hwaddr.h"
#include "exec/cpu-common.h"
#include "migration/snapshot-engine.h"
#include "qapi/qapi-types-run-state.h"

/*
 * The engine (engine.c), for trigger.c
 */

/* Once, before anything else */
void snapshot_engine_init(void);

/* How many levels must there be for @op? */
unsigned int snapshot_levels_needed(SnapshotOp op);

/*
 * Carry out a command, with no guest code or device code on the stack; the
 * machine runs until this stops it.  @done is told the result before the
 * machine runs again.
 */
SnapshotResult snapshot_carry_out(SnapshotOp op, SnapshotDoneFunc *done,
                                  void *opaque, Error **errp);

/* Change what restores leave alone; the machine may run. */
SnapshotResult snapshot_engine_exclude(uint64_t start, uint64_t length,
                                       Error **errp);
void snapshot_engine_include_all(void);

/*
 * What nobody may do while there is a snapshot (hold.c)
 */

/*
 * See whether the machine can be saved, block migration, and keep guest RAM
 * where it is.  Called before the machine is stopped: once it is, migration
 * counts as busy and takes no blocker.  Returns false if something is in the
 * way; what could be held is held even then, for the snapshot that exists.
 */
bool snapshot_hold(Error **errp);

/* Other parts of QEMU may do it again. */
void snapshot_let_go(void);

/*
 * The machine comes to rest (rest.c)
 */

/* How the machine was before snapshot_stop_machine() */
typedef struct SnapshotRest {
    RunState state;
    bool paused;        /* vCPUs were paused and must be resumed */
    bool hushed;        /* snapshot_hush_begin() was called */
} SnapshotRest;

/*
 * The guest's clocks, if it runs, stand still, from before the machine is
 * stopped if that takes a while.
 */
void snapshot_stop_clocks(void);

/* Stop a machine that runs; fills in @rest, which is zero before. */
void snapshot_stop_machine(SnapshotRest *rest);

/* Guest clocks go on, from where they stand now. */
void snapshot_start_clocks(const SnapshotRest *rest);

/*
 * The machine goes on as @rest says; if it was restored and runs, in the state
 * @restored (else NULL).
 */
void snapshot_start_machine(const SnapshotRest *rest,
                            const RunState *restored);

/* Have all vCPUs but @self nothing to do? */
bool snapshot_others_sleep(const CPUState *self);

/*
 * The main loop sleeps on (hush.c).  A vCPU calls these, with the BQL, which it
 * holds all the time between the two.
 */

/* From now on bottom halves and timers do not wake the main loop. */
void snapshot_hush_begin(void);

/*
 * Run the bottom halves that are due; wake the main loop if one is left, or if
 * a timer is due before the main loop would wake up by itself.
 */
void snapshot_hush_end(void);

/*
 * Held between a command and snapshot_go_on() (park.c)
 */

/* Once, before anything else */
void snapshot_park_init(void);

/*
 * Statistics (stats.c)
 */

/* snapshot_counters(), to be changed */
SnapshotCounters *snapshot_count(void);

/* All but the returns to a saved instant go to zero, and levels are gone. */
void snapshot_count_reset(void);

/* Count for another level, from zero; then for the one below again. */
void snapshot_count_push(void);
void snapshot_count_pop(void);

/* Restores of level @level, 0 being the first */
uint64_t snapshot_count_restores(unsigned int level);

/* A part of a restore that began at @since is over, and the next begins. */
void snapshot_phase_done(SnapshotDevicePhase phase, int64_t *since);

/* A restore took @ns of host time, from stop to resume. */
void snapshot_count_latency(int64_t ns);

/* Keep the reason of a failure for query; say it once, not at every try. */
void snapshot_note_failure(SnapshotOp op, SnapshotResult res,
                           const Error *err);

/* What is counted, for snapshot_info() to complete */
SnapshotDeviceInfo *snapshot_count_info(void);

/*
 * RAM
 */

typedef struct SnapshotOverlay SnapshotOverlay;     /* see ram-level.h */
typedef struct SnapshotExcluded SnapshotExcluded;
typedef struct SnapshotMapped SnapshotMapped;       /* see ram-mapped.h */

/* One RAMBlock as it was at the save */
typedef struct SnapshotBlock {
    RAMBlock *rb;
    MemoryRegion *mr;
    char *idstr;
    uint8_t *host;          /* guest RAM, host address */
    ram_addr_t offset;      /* in ram_addr_t space, for dirty bitmaps */
    size_t used;            /* bytes of RAM, as seen by the guest */
    size_t size;            /* @used, rounded up to whole host pages */
    uint8_t *saved;         /* the saved content, @size bytes, readable */
    bool mapped;            /* "remap": @host is a mapping of our file */
    unsigned long *anonymous;   /* "remap": 2 MiB that are not in the file */
    unsigned long *copied;  /* "remap": pages copied into, or NULL: none */
    SnapshotOverlay *overlay;   /* of the topmost level; NULL: there is one */
    SnapshotExcluded *excluded; /* what is left alone; NULL: nothing */
} SnapshotBlock;

typedef struct SnapshotRam SnapshotRam;

/*
 * A way to keep RAM and to put it back.
 */
typedef struct SnapshotRamOps {
    SnapshotDeviceEngine kind;

    /* Can @block be kept this way?  If not, say why in @errp. */
    bool (*accepts)(const SnapshotBlock *block, Error **errp);

    /*
     * Keep the content of all blocks of @ram; fills in ->saved of each.  @old
     * is the snapshot that will be replaced, or NULL.  On failure RAM has the
     * content it had, @old is valid and nothing is held.
     */
    SnapshotResult (*save)(SnapshotRam *ram, SnapshotRam *old,
                           const char *file, Error **errp);

    /*
     * Bring the snapshot up to date with @len bytes at @offset, written since
     * the last save or restore.  NULL: a new save is needed instead.
     */
    void (*update)(SnapshotBlock *block, size_t offset, size_t len);

    /*
     * Put back @len bytes at @offset (whole pages), and no byte more; at
     * finish() at the latest.
     */
    void (*put_back)(SnapshotRam *ram, SnapshotBlock *block, size_t offset,
                     size_t len);

    /*
     * The last call of a restore.  Returns how many pages were put back by
     * dropping them.  May be NULL.
     */
    uint64_t (*finish)(SnapshotRam *ram);

    /* The same for what may not have been written at all */
    void (*put_back_whole)(SnapshotBlock *block, size_t offset, size_t len);

    /* Release what save() took.  RAM keeps its present content. */
    void (*release)(SnapshotRam *ram);
} SnapshotRamOps;

struct SnapshotRam {
    const SnapshotRamOps *ops;
    GArray *blocks;         /* of SnapshotBlock */
    uint32_t list_version;  /* of ram_list when the blocks were listed */
    size_t bytes;           /* sum of all ->size */
    bool choose;            /* "auto": how to put back is chosen each time */
    char *path;             /* "remap": name of the file, NULL for a memfd */
    uint64_t dropped;       /* pages that the last restore put back by that */
    SnapshotMapped *mapped; /* "remap": what is put back, and how */
};

extern const SnapshotRamOps snapshot_ram_copy;
extern const SnapshotRamOps snapshot_ram_remap;

/*
 * Save RAM with the engine @kind.  @old is the snapshot that is replaced, or
 * NULL; on success it belongs to the new one (or is freed), on failure it is
 * untouched and still valid.
 */
SnapshotResult snapshot_ram_save(SnapshotRam **ram, SnapshotRam *old,
                                 SnapshotDeviceEngine kind, const char *file,
                                 Error **errp);

/*
 * Are the RAMBlocks still those of the save?  If not, say so.  One that was
 * resized gets its old size back; on failure all have the size they had, or
 * that of the save.
 */
bool snapshot_ram_check(const SnapshotRam *ram, Error **errp);

/* Are the RAMBlocks those of the save, and as large? */
bool snapshot_ram_is_same(const SnapshotRam *ram);

/*
 * Put all written pages back, but for those that are excluded.  Returns how
 * many there were.
 */
uint64_t snapshot_ram_restore(SnapshotRam *ram);

/*
 * The same the plain way, to compare with: all of RAM goes back, whatever the
 * tracker says.  Returns how many pages it says were written.
 */
uint64_t snapshot_ram_restore_all(SnapshotRam *ram);

/* Compare every page with the snapshot; name the first differences. */
bool snapshot_ram_verify(const SnapshotRam *ram, Error **errp);

void snapshot_ram_free(SnapshotRam *ram);

/*
 * Page tracking: who tells us of writes.
 *
 * A tracker knows which pages of RAM were written (by vCPUs and by device
 * DMA) since it was last asked.  What is done with those pages is the
 * caller's business: a restore copies them back, a live save would hand out
 * their old content.
 */

/* [@offset, @offset + @len) of @block was written; both page aligned */
typedef void SnapshotWrittenFunc(SnapshotBlock *block, size_t offset,
                                 size_t len, void *opaque);

typedef struct SnapshotTracker {
    const char *name;
    bool (*usable)(void);

    /* Learn of the writes that the accelerator has recorded.  May be NULL. */
    void (*sync)(void);

    /* Tell again of the next write to these pages.  May be NULL. */
    void (*rearm)(SnapshotBlock *block, size_t offset, size_t len);

    /*
     * Guest RAM is about to become what is at @saved, behind the vCPUs' back.
     * In a restore by reference @saved is NULL.  May be NULL.
     */
    void (*ram_changes)(SnapshotBlock *block, size_t offset, size_t len,
                        const uint8_t *saved);

    /*
     * A restore begins, and RAM and vCPUs are as the guest has left them.
     * With @keep, vCPUs may keep what they have cached of either if it is
     * still true afterwards.  May be NULL.
     */
    void (*begin)(bool keep);

    /*
     * The last thing after pages were collected, and RAM and vCPU state were
     * possibly changed: no vCPU may use anything it has cached of either,
     * unless it may be kept.  Returns whether something was, for each vCPU.
     */
    bool (*flush)(void);

    /*
     * The same after a save of @ram, or a pop: restores go back to what RAM and
     * vCPUs are now.  @keep as for begin(), for these restores.
     */
    void (*saved)(const SnapshotRam *ram, bool keep);

    /* Is what vCPUs have cached true?  If not, say what.  May be NULL. */
    bool (*verify)(Error **errp);

    /* There is no snapshot any more.  May be NULL. */
    void (*stop)(void);
} SnapshotTracker;

extern const SnapshotTracker snapshot_track_tcg;
extern const SnapshotTracker snapshot_track_kvm_ring;
extern const SnapshotTracker snapshot_track_kvm_log;
extern const SnapshotTracker snapshot_track_qtest;

/* Start telling; idempotent.  Returns NULL on failure. */
const SnapshotTracker *snapshot_track_start(Error **errp);
void snapshot_track_stop(void);
const SnapshotTracker *snapshot_tracker(void);

/*
 * Call @fn for each run of pages of @ram written since the last call (or
 * since snapshot_track_start()), and forget them.  Returns their number.
 */
uint64_t snapshot_track_collect(SnapshotRam *ram, SnapshotWrittenFunc *fn,
                                void *opaque);

/* Forget all writes so far, of memory that was plugged meanwhile as well. */
void snapshot_track_forget(SnapshotRam *ram);

/*
 * How many words of bitmaps the last collection looked at: what it cost, apart
 * from the pages that it found.
 */
uint64_t snapshot_track_words(void);

/*
 * A machine reset writes ROM contents anew, past the dirty bitmap: take all
 * pages of such blocks for written.
 */
void snapshot_track_rom_reset(SnapshotRam *ram);

/* Is any page of [@start, @start + @len) clean in QEMU's bitmap @client? */
bool snapshot_any_clean(unsigned int client, ram_addr_t start, size_t len);

/*
 * Device state (devices.c.inc, part of migration/savevm.c)
 */
typedef struct SnapshotDevices SnapshotDevices;

SnapshotDevices *snapshot_devices_save(Error **errp);

/* Are the sections still those of the save?  If not, say which changed. */
bool snapshot_devices_check(const SnapshotDevices *devices, Error **errp);

/* Load every section that differs.  On failure the machine is inconsistent. */
bool snapshot_devices_restore(SnapshotDevices *devices, Error **errp);

/*
 * The same the plain way, to compare with: reset what needs it and load every
 * section by the vmstate code, hooks and all, whether it differs or not.
 */
bool snapshot_devices_load_all(SnapshotDevices *devices, Error **errp);

/* Was RAM written to when vCPUs were restored?  If so, put it back again. */
bool snapshot_devices_touched_ram(const SnapshotDevices *devices);

/* Clocks that KVM keeps go on from the saved instant. */
void snapshot_devices_start(SnapshotDevices *devices);

/* Serialise every section and compare; name the first differences. */
bool snapshot_devices_verify(SnapshotDevices *devices, Error **errp);

SnapshotDeviceLoadList *snapshot_devices_loads(const SnapshotDevices *devices);
void snapshot_devices_free(SnapshotDevices *devices);

/* Is some of the state of @dev in a section of the machine state? */
bool snapshot_devices_covers(DeviceState *dev);

/* Have loadvm and incoming migration call @fn before they change anything */
void snapshot_devices_on_load(void (*fn)(void));

/*
 * The interval timer, where KVM keeps it (pit-kvm.c)
 */
bool snapshot_pit_in_kvm(void);

/*
 * KVM's timer runs on when vCPUs stand, and raises interrupts: stop it.  Does
 * nothing elsewhere.  Its device has read the state before, when it was told of
 * the stop, and starts it again when it is told that the machine runs.
 */
void snapshot_pit_hold(void);

/*
 * Clocks
 */
typedef struct SnapshotClocks SnapshotClocks;

SnapshotClocks *snapshot_clocks_save(void);

/* Virtual time and host-side timers go back; ticks stay disabled. */
void snapshot_clocks_rewind(const SnapshotClocks *clocks);

/* Does virtual time stand where it stood at the save? */
bool snapshot_clocks_verify(const SnapshotClocks *clocks, Error **errp);

void snapshot_clocks_free(SnapshotClocks *clocks);

/*
 * Disks
 *
 * Unlike the others, the list of disks lives on from save to save.
 */
typedef struct SnapshotDisks SnapshotDisks;

/* Can all disks go back?  If not, name one and the remedy. */
bool snapshot_disks_possible(Error **errp);

/*
 * Before a save: hold what is written to disks in memory from now on, and keep
 * what would change them otherwise from happening.  *@disks is the list so
 * far, or NULL; also on failure it is a list, to be freed.  @limit: bytes of
 * memory for each disk, 0 for any number.
 */
bool snapshot_disks_prepare(SnapshotDisks **disks, uint64_t limit,
                            Error **errp);

/*
 * This is the state to go back to: in place of the states saved before, or
 * (not @replace) on top of them.
 */
void snapshot_disks_save(SnapshotDisks *disks, bool replace);

/* Have all drives the disks that they had at the save?  If not, say so. */
bool snapshot_disks_check(const SnapshotDisks *disks, Error **errp);

/* Take back all writes since.  Returns how many clusters of 4 KiB that was. */
uint64_t snapshot_disks_restore(SnapshotDisks *disks);

/* Is every disk as it was saved?  Say which one is not. */
bool snapshot_disks_verify(const SnapshotDisks *disks, Error **errp);

/* The state before the last one is to be restored next, and from now on. */
void snapshot_disks_pop(SnapshotDisks *disks);

SnapshotDeviceDiskList *snapshot_disks_info(const SnapshotDisks *disks);

/* Write what is held to the images, which are used directly from now on. */
void snapshot_disks_free(SnapshotDisks *disks);

#endif
