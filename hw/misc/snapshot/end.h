/*
 * Device "snapshot": how runs end.
 *
 * A guest ends its run with a command, or without a word: it resets or
 * switches itself off, its kernel panics, it sleeps for ever, or takes too
 * long.  This knows the ways, tells them apart, and says what each would be
 * for a process; what is then done is run.c's business.
 *
 * Everything here is called with the BQL held.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_MISC_SNAPSHOT_END_H
#define HW_MISC_SNAPSHOT_END_H

#include "qapi/qapi-types-run-state.h"
#include "qemu/notify.h"
#include "shared.h"

typedef enum SnapshotEndKind {
    SNAPSHOT_END_DONE,          /* the guest said so; ->code: its status */
    SNAPSHOT_END_CRASH,         /* a bug, says the guest; ->code: a signal */
    SNAPSHOT_END_PANIC,         /* of the guest's kernel */
    SNAPSHOT_END_RESET,         /* the guest resets itself, or triple fault */
    SNAPSHOT_END_SHUTDOWN,      /* the guest switches itself off */
    SNAPSHOT_END_INTERNAL,      /* the accelerator cannot go on */
    SNAPSHOT_END_HALTED,        /* nothing will ever wake the guest up */
    SNAPSHOT_END_TIMEOUT,       /* it took too long */
} SnapshotEndKind;

/* How a run ended */
typedef struct SnapshotEnd {
    SnapshotEndKind kind;
    uint32_t code;
    uint32_t text_size;         /* bytes of text that the guest left */
    int64_t ns;                 /* host time from input to end */
} SnapshotEnd;

/* How a process that ended like the run would be reported by wait() */
int snapshot_end_wait_status(const SnapshotEnd *end);

/*
 * Print to @to what became of a run: a line that begins with @name, and text
 * and log of the guest.
 */
void snapshot_end_print(FILE *to, const char *name, const SnapshotShared *s,
                        const SnapshotEnd *end);

/* What becomes of a guest, by itself.  Embedded in who looks after it. */
typedef struct SnapshotFate {
    Notifier shutdown;
    ShutdownCause cause;        /* why it was last shut down */
    int64_t began;              /* its time, get_clock() */
    uint32_t limit;             /* of that time, milliseconds; 0: none */
    bool cut;                   /* its time is up, says somebody */
    bool was_halted;            /* for good, at the last look */
} SnapshotFate;

/* @f is zeroed memory; it hears of shutdowns from now on. */
void snapshot_fate_init(SnapshotFate *f);
void snapshot_fate_destroy(SnapshotFate *f);

/*
 * What a guest does to itself shall from now on stop the machine and not end
 * the process.
 */
void snapshot_fate_keep_process(void);

/* The guest's time begins, and is up in @limit milliseconds; 0: never. */
void snapshot_fate_begin(SnapshotFate *f, uint32_t limit);

/* Nanoseconds of host time since snapshot_fate_begin() */
int64_t snapshot_fate_elapsed(const SnapshotFate *f);

/* The guest's time is up. */
void snapshot_fate_cut(SnapshotFate *f);

/*
 * Has the guest stopped itself, now that the run state is @state?  If so,
 * *@kind is how.
 */
bool snapshot_fate_stopped(SnapshotFate *f, RunState state,
                           SnapshotEndKind *kind);

/*
 * Is it over with the guest, whatever it may say?  If so, *@kind is how.  For
 * a look now and then: it takes two to find that the guest sleeps for ever.
 */
bool snapshot_fate_ended(SnapshotFate *f, SnapshotEndKind *kind);

/*
 * Start the machine, which is where it was saved, if the guest had stopped
 * itself; not from device code.
 */
void snapshot_fate_undo(SnapshotFate *f);

#endif
