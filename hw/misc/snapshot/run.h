/*
 * Device "snapshot": runs, the unit of work of a fuzzer.
 *
 * A run takes one input from a host (a fuzzer, a list of files), gives it to
 * the guest, and ends: the guest says so, or something happens to it.  The
 * host is told how, and the machine is put back to where it asked for its
 * first input.  run.c knows the order of these steps and nothing of who the
 * host is; host-*.c know a host and nothing of machines.
 *
 * Everything here is called with the BQL held.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_MISC_SNAPSHOT_RUN_H
#define HW_MISC_SNAPSHOT_RUN_H

#include "migration/snapshot-engine.h"
#include "end.h"
#include "shared.h"

/* The pipes of afl-fuzz; words are 32 bits, in the order of the host. */
#define SNAPSHOT_AFL_CONTROL    198
#define SNAPSHOT_AFL_STATUS     199

/* Its coverage map: the number of a System V segment */
#define SNAPSHOT_AFL_ENV_MAP    "__AFL_SHM_ID"

typedef enum SnapshotNext {
    SNAPSHOT_NEXT_INPUT,        /* the input is in place */
    SNAPSHOT_NEXT_WAIT,         /* not yet */
    SNAPSHOT_NEXT_OVER,         /* there will be none */
} SnapshotNext;

typedef struct SnapshotHost SnapshotHost;

/*
 * One kind of host.  Its object begins with a SnapshotHost.
 */
typedef struct SnapshotHostOps {
    uint32_t reg;               /* SNAPSHOT_HOST_... */

    /*
     * The guest is where all runs begin, and uses @map_used bytes of the map.
     * Returns false and sets @errp if there can be no runs.
     */
    bool (*start)(SnapshotHost *h, uint32_t map_used, Error **errp);

    /* Take the next input; called when ->fd is readable.  Does not block. */
    SnapshotNext (*next)(SnapshotHost *h);

    /*
     * The run has ended, and no more is written to the map.  The machine may
     * not be back yet.
     */
    void (*ended)(SnapshotHost *h, const SnapshotEnd *end);

    /*
     * There will be no more runs: the reason is @err, or NULL after
     * SNAPSHOT_NEXT_OVER.  Returns the exit code for QEMU.
     */
    int (*over)(SnapshotHost *h, const Error *err);

    void (*free)(SnapshotHost *h);
} SnapshotHostOps;

typedef struct SnapshotRuns SnapshotRuns;

struct SnapshotHost {
    const SnapshotHostOps *ops;
    SnapshotShared *shared;
    SnapshotRuns *runs;         /* for snapshot_runs_cut_off() */
    int fd;                     /* readable if there is an input; -1: always */
};

/* What the user has set */
typedef struct SnapshotRunsConfig {
    bool afl;
    char *seeds;                /* a file or a directory, or NULL */
    uint32_t persistent;        /* restore after this many runs, or sooner */
    uint32_t timeout;           /* of a run, in ms of host time; 0: none */
    uint32_t map_size;          /* bytes */
    uint32_t input_max;         /* bytes */
    SnapshotDeviceCoverage coverage;
} SnapshotRunsConfig;

/*
 * The hosts.  Each returns a new object, or NULL if it is not there; the areas
 * of @shared that it brings are set, before snapshot_shared_init().  On
 * failure @errp is set.
 */
SnapshotHost *snapshot_host_afl(SnapshotShared *shared,
                                const SnapshotRunsConfig *config,
                                Error **errp);
SnapshotHost *snapshot_host_files(SnapshotShared *shared,
                                  const SnapshotRunsConfig *config,
                                  Error **errp);

/*
 * If afl-fuzz or afl-showmap has started us, have its map for that of @shared,
 * which snapshot_shared_free() detaches.
 */
bool snapshot_afl_attach_map(SnapshotShared *shared, uint32_t map_size,
                             Error **errp);

/*
 * Set up the memory that is shared and, if somebody gives inputs, *@runs of
 * the device @dev (else NULL).  @done is told the result of commands, with
 * @opaque, as that of snapshot_submit().  Returns false and sets @errp on
 * failure.
 */
bool snapshot_runs_setup(SnapshotRuns **runs, DeviceState *dev,
                         SnapshotShared *shared,
                         const SnapshotRunsConfig *config,
                         SnapshotDoneFunc *done, void *opaque, Error **errp);

/* Have runs with @host, which now belongs to them.  See above for @done. */
SnapshotRuns *snapshot_runs_new(const SnapshotRunsConfig *config,
                                DeviceState *dev, SnapshotHost *host,
                                SnapshotDoneFunc *done, void *opaque);

/* End runs and let go of the host; @r may be NULL. */
void snapshot_runs_free(SnapshotRuns *r);

/* Is a command of another kind out of place, since runs depend on it? */
bool snapshot_runs_forbid(const SnapshotRuns *r, SnapshotOp op);

/* Has the guest asked for its first input? */
bool snapshot_runs_begun(const SnapshotRuns *r);

/* How many runs have ended */
uint64_t snapshot_runs_ended(const SnapshotRuns *r);

/* Who gives inputs: SNAPSHOT_HOST_... */
uint32_t snapshot_runs_host(const SnapshotRuns *r);

/* The register of runs at @addr, for the guest to read and write, or NULL */
uint32_t *snapshot_runs_reg(SnapshotRuns *r, hwaddr addr);

/* Carry out SNAPSHOT_CMD_NEXT, DONE or CRASH. */
SnapshotResult snapshot_runs_command(SnapshotRuns *r, uint32_t command);

/* For hosts: the run that is under way, if any, takes too long. */
void snapshot_runs_cut_off(SnapshotRuns *r);

#endif
