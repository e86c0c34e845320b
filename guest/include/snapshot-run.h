/*
 * libsnapshot: runs, for programs in a guest that a fuzzer tests.
 *
 *     SnapRuns *runs = snap_open(NULL);
 *     const uint8_t *data;
 *     size_t size;
 *
 *     ... set up whatever each run needs; coverage with snap_coverage() ...
 *     while ((data = snap_next_input(runs, &size))) {
 *         test(data, size);
 *         snap_done(runs, 0);
 *     }
 *
 * The first snap_next_input() saves the machine.  snap_done() ends a run: the
 * machine goes back, and snap_next_input() returns once more, with the next
 * input.  So the loop is never seen to turn, unless the machine is restored
 * only after several runs (persistent=).  The input and what the host learns
 * of a run are in memory that is shared with it and does not go back.
 *
 * Harnesses for libFuzzer or for AFL++'s persistent mode need none of this:
 * see guest/fuzz/README.md.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef SNAPSHOT_RUN_H
#define SNAPSHOT_RUN_H

#include "snapshot.h"

/* On two lines, since checkpatch.pl takes this macro for an architecture's */
#if defined( \
    __cplusplus)
extern "C" {
#endif

/* The runs of an open device.  One thread at a time may use them. */
typedef struct SnapRuns SnapRuns;

/*
 * Open the device for runs; @address as for snapshot_open().  Returns NULL and
 * errno as that does, and ENODATA if the device has no memory to share.
 *
 * If SNAPSHOT_KCOV is in the environment, the kernel (with CONFIG_KCOV) traces
 * the calling thread, which is to be the one that has the runs: edges of its
 * code go into the coverage map when a run ends, and what it has compared to a
 * fuzzer that wants to know (afl-fuzz -c).  Needs root.  A kernel without:
 * ENOTSUP.
 */
SnapRuns *snap_open(const char *address);

/*
 * Wait for the next input; the first call saves the machine.  A run that was
 * not ended yet ends as by snap_done(runs, 0).
 *
 * Returns the input, @size bytes, valid until the run ends.  It may be
 * written to, but nothing may be read behind its end: earlier inputs are
 * there.  Returns NULL if there are no inputs; snap_result() tells why.
 */
uint8_t *snap_next_input(SnapRuns *runs, size_t *size);

/* Where inputs are put, always; valid until the device is closed. */
uint8_t *snap_input_buffer(SnapRuns *runs);

/*
 * End the run normally, with a status of 0 to 255.  Returns in the next
 * run only if the machine is not restored in between.
 */
void snap_done(SnapRuns *runs, unsigned int status);

/*
 * The same for a program that cannot go on after the run, since it exits: the
 * machine is restored in any case.  Does not return, unless there is no run.
 */
void snap_exit(SnapRuns *runs, unsigned int status);

/*
 * End the run with a bug: @signal as the reason, 0 for SIGABRT, and @text,
 * which may be NULL and may be long, for who looks into it.  Does not return,
 * unless there is no run.
 */
void snap_crash(SnapRuns *runs, int signal, const char *text);

/*
 * Note something about the run, as printf() does.  The host keeps the last
 * 32 KiB of it; after the run they are gone.
 */
void snap_log(SnapRuns *runs, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/*
 * The coverage map, *@size bytes of counters that are zero at the beginning of
 * each run.  Restores do not touch it.
 */
uint8_t *snap_coverage(SnapRuns *runs, size_t *size);

/*
 * Only the first @used bytes of the map are ever written, which makes the
 * fuzzer faster.  Before the first snap_next_input(); 0: all.
 */
void snap_coverage_used(SnapRuns *runs, size_t used);

/* SNAPSHOT_RES_... of the last call, for snapshot_strerror() */
uint32_t snap_result(const SnapRuns *runs);

/* The device, for anything else */
SnapshotDevice *snap_device(SnapRuns *runs);

#if defined( \
    __cplusplus)
}
#endif

#endif
