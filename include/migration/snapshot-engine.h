/*
 * In-process machine snapshots: interface of the engine.
 *
 * The engine remembers an instant of the machine (RAM, device state, clocks),
 * or several on top of each other, and puts the machine back there as often as
 * it is asked to.  It knows
 * nothing of what asks: a PCI device, a serial line and QMP all use the three
 * calls snapshot_submit(), snapshot_run() and snapshot_configure().
 *
 * Everything here is called with the BQL held.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef MIGRATION_SNAPSHOT_ENGINE_H
#define MIGRATION_SNAPSHOT_ENGINE_H

#include "qapi/qapi-types-snapshot-device.h"
#include "qemu/units.h"

typedef enum SnapshotOp {
    SNAPSHOT_OP_SAVE,
    SNAPSHOT_OP_RESTORE,
    SNAPSHOT_OP_DISCARD,
    SNAPSHOT_OP_PUSH,
    SNAPSHOT_OP_POP,
    SNAPSHOT_OP_REST,           /* only bring the machine to rest */
} SnapshotOp;

/*
 * How a command ended.  The values are part of the guest interface: see
 * SNAPSHOT_RES_... in hw/misc/snapshot_regs.h.
 */
typedef enum SnapshotResult {
    SNAPSHOT_RESULT_DONE = 0,
    SNAPSHOT_RESULT_PENDING = 1,
    SNAPSHOT_RESULT_UNKNOWN = 2,
    SNAPSHOT_RESULT_NONE = 3,
    SNAPSHOT_RESULT_BUSY = 4,
    SNAPSHOT_RESULT_REFUSED = 5,
    SNAPSHOT_RESULT_NOMEM = 6,
    SNAPSHOT_RESULT_IO = 7,
    SNAPSHOT_RESULT_DEVICE = 8,
    SNAPSHOT_RESULT_VERIFY = 9,
    SNAPSHOT_RESULT_RANGE = 10,
    SNAPSHOT_RESULT_LIMIT = 11,
} SnapshotResult;

/* Saved instants on top of each other: one by a save, one more by each push */
#define SNAPSHOT_LEVELS_MAX 16

/* What the next save uses; the snapshot that exists is not touched by it. */
typedef struct SnapshotConfig {
    SnapshotDeviceEngine engine;
    char *file;         /* where engine "remap" keeps RAM; NULL: a memfd */
    bool verify;        /* compare the whole machine after each restore */
    bool reference;     /* restore the plain way: all of it, changed or not */
    bool flush_tlbs;    /* TCG: vCPUs look all addresses up anew */
    uint64_t disk_limit;    /* bytes that each disk's writes may take; 0: any */
} SnapshotConfig;

/* As much is written to a disk between two restores at most, normally. */
#define SNAPSHOT_DISK_LIMIT GiB

/*
 * Counters that triggers show; "since the save" unless said otherwise.  They
 * are those of the topmost level, and "the save" is the one that made it.
 */
typedef struct SnapshotCounters {
    bool armed;                     /* there is a snapshot */
    SnapshotDeviceEngine engine;    /* of that snapshot */
    bool verify;
    uint32_t levels;
    uint64_t restores;
    uint64_t verify_failures;
    uint64_t pages_last;
    uint64_t pages_total;
    uint64_t dropped_last;          /* of pages_last: private pages dropped */
    uint64_t words_last;            /* of bitmaps, searched for those pages */
    uint64_t tlbs_kept;             /* restores in which none was flushed */
    uint64_t ram_bytes;
    int64_t restore_ns;             /* the last restore, stop to resume */
    uint64_t returns;               /* to a saved instant, ever */
    SnapshotResult returned;        /* how the last of those went */
} SnapshotCounters;

/*
 * Tells a trigger how its command ended.  Called with the BQL held, before
 * any vCPU runs again.
 */
typedef void SnapshotDoneFunc(void *opaque, SnapshotResult result);

/**
 * snapshot_submit: carry out @op as soon as the machine can be stopped
 * @done: called with the result; may be NULL
 * @opaque: for @done; also names the trigger for snapshot_cancel()
 *
 * For triggers that run inside guest-visible code (an MMIO write, a device's
 * DMA): nothing happens before the caller has returned.  A vCPU that triggers
 * executes not one further instruction before the command is carried out.
 *
 * Returns SNAPSHOT_RESULT_PENDING; or, without calling @done ever,
 * SNAPSHOT_RESULT_BUSY if another command is pending or being carried out, and
 * SNAPSHOT_RESULT_NONE if there is no level to restore.
 */
SnapshotResult snapshot_submit(SnapshotOp op, SnapshotDoneFunc *done,
                               void *opaque);

/**
 * snapshot_cancel: forget the pending command of the trigger @opaque, if any
 */
void snapshot_cancel(void *opaque);

/**
 * snapshot_stay: let the machine stay where it is, until snapshot_go_on()
 *
 * For a SnapshotDoneFunc: the command ends as usual, but no vCPU runs and no
 * guest clock advances; see also snapshot_park().  The main loop and the
 * monitor go on; "stop" and "cont" work, and after "cont" the machine is held
 * again.
 */
void snapshot_stay(void);

/* Is the machine held? */
bool snapshot_staying(void);

/**
 * snapshot_park: go to sleep for as long as the machine is held
 *
 * For the thread that owns the vCPUs, which snapshot_stay() leaves to its
 * caller: in a work item that is queued before the command ends.
 */
void snapshot_park(void);

/**
 * snapshot_go_on: end snapshot_stay(); from the main loop or from a work item
 *
 * The machine runs, unless somebody has stopped it meanwhile.
 */
void snapshot_go_on(void);

/**
 * snapshot_owns_vcpus: is the thread of a vCPU the only one that runs vCPUs?
 */
bool snapshot_owns_vcpus(void);

/**
 * snapshot_halted_for_good: do all vCPUs sleep, and will no timer wake them?
 *
 * On x86 also: do they sleep with interrupts disabled?  With an interrupt
 * controller in the kernel (KVM) this is not known, and false.
 */
bool snapshot_halted_for_good(void);

/**
 * snapshot_next_timer: when is the first timer of the machine due?
 *
 * Returns nanoseconds of the guest's time; 0: one is due, INT64_MAX: there is
 * none.  What KVM has in the kernel is not known.
 */
int64_t snapshot_next_timer(void);

/**
 * snapshot_leave_out: whether the RAM of @mr is no part of the machine
 *
 * It is not saved, not restored and not verified.  For memory that belongs to
 * the host side; set it before the region can be reached by a guest.
 */
void snapshot_leave_out(const MemoryRegion *mr, bool out);

/**
 * snapshot_release: discard the snapshot soon, whatever is pending
 *
 * For a trigger that goes away, from any context.
 */
void snapshot_release(void);

/**
 * snapshot_pending: is a command accepted and not yet carried out?
 */
bool snapshot_pending(void);

/**
 * snapshot_busy: is a command being carried out?
 *
 * Bottom halves and others may run while it waits for devices to finish: they
 * must not change the run state, then.
 */
bool snapshot_busy(void);

/**
 * snapshot_run: carry out @op now
 *
 * For the main loop only (monitor commands).  Sets @errp and returns the
 * reason on failure, SNAPSHOT_RESULT_DONE on success.
 */
SnapshotResult snapshot_run(SnapshotOp op, Error **errp);

/**
 * snapshot_exclude: have restores leave guest memory alone
 * @start: guest-physical address
 * @length: in bytes; both are multiples of the host's page size
 *
 * At once, for the snapshot that exists and for later ones, until
 * snapshot_include_all() or a discard.  Ranges may overlap.  Sets @errp and
 * returns SNAPSHOT_RESULT_RANGE for what is not whole pages of RAM,
 * SNAPSHOT_RESULT_LIMIT if there are too many ranges, and
 * SNAPSHOT_RESULT_BUSY while a command is pending or carried out.
 */
SnapshotResult snapshot_exclude(uint64_t start, uint64_t length,
                                Error **errp);

/**
 * snapshot_include_all: have restores put back all of RAM again
 *
 * Returns SNAPSHOT_RESULT_DONE, or sets @errp and returns
 * SNAPSHOT_RESULT_BUSY as above.
 */
SnapshotResult snapshot_include_all(Error **errp);

/**
 * snapshot_configure: set what the next save uses; @config is copied
 */
void snapshot_configure(const SnapshotConfig *config);

/**
 * snapshot_set_verify: whether the next restores are verified
 *
 * Those of the snapshot that exists, and of later ones.
 */
void snapshot_set_verify(bool verify);

/**
 * snapshot_config: what the next save uses; belongs to the engine
 */
const SnapshotConfig *snapshot_config(void);

/**
 * snapshot_check_machine: can this machine be saved and restored?
 *
 * Returns false and names the first obstacle and its remedy in @errp.
 */
bool snapshot_check_machine(Error **errp);

/**
 * snapshot_counters: the counters that triggers show
 */
const SnapshotCounters *snapshot_counters(void);

/**
 * snapshot_show_runs: have snapshot_info() show @runs
 * @runs: belongs to the caller, who goes on counting; NULL: no longer
 */
void snapshot_show_runs(const SnapshotDeviceRuns *runs);

/**
 * snapshot_info: everything there is to know, for query and the QOM property
 *
 * Returns a new object; free it with qapi_free_SnapshotDeviceInfo().
 */
SnapshotDeviceInfo *snapshot_info(void);

#endif
