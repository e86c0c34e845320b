/*
 * Fuzzing harnesses in a guest: what the parts of libsnapshot-fuzz share.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef SNAPSHOT_HARNESS_H
#define SNAPSHOT_HARNESS_H

#include "snapshot-run.h"

/*
 * Open the device, give the compiler's coverage the map, and see to it that
 * whatever ends the process ends the run.  Returns NULL without a device, with
 * a message, or where nobody gives inputs: then the harness runs by itself.
 */
SnapRuns *harness_open(void);

/* The next input; ends the process if there is none. */
uint8_t *harness_next(SnapRuns *runs, size_t *size);

/* The run has ended normally. */
void harness_done(SnapRuns *runs, unsigned int status);

/*
 * Coverage (coverage.c): use the map of @runs; and, at the end of a run, put
 * in it what the compiler has counted elsewhere.
 */
void coverage_attach(SnapRuns *runs);
void coverage_collect(void);

/* Comparisons (cmplog.c): note those of @runs if the fuzzer wants them. */
void cmplog_attach(SnapRuns *runs);

#endif
