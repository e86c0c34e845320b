/*
 * AFL++'s persistent mode in a guest: what snapshot-afl.h calls.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "harness.h"
#include "snapshot-afl.h"

static SnapRuns *runs;
static size_t length;
static bool in_run;

static void open_runs(void)
{
    if (!runs) {
        runs = harness_open();
        if (!runs) {
            _exit(EXIT_FAILURE);
        }
    }
}

static void begin_run(void)
{
    open_runs();
    if (!in_run) {
        harness_next(runs, &length);
        in_run = true;
    }
}

void snapshot_afl_init(void)
{
    open_runs();
}

/* Programs may ask for it once, before the loop: it stays where it is. */
unsigned char *snapshot_afl_buffer(void)
{
    open_runs();
    return snap_input_buffer(runs);
}

/* A program without a loop begins its only run here. */
unsigned int snapshot_afl_length(void)
{
    begin_run();
    return length;
}

/*
 * The number of runs that the program wants to do in one process is of no
 * importance here: the device decides how many there are before a restore.
 */
int snapshot_afl_loop(unsigned int runs_wanted)
{
    (void)runs_wanted;
    if (in_run) {
        in_run = false;
        harness_done(runs, 0);
    }
    begin_run();
    return 1;
}
