/*
 * A target: what a driver makes of data that is written to its device.
 *
 *     fuzz-write FILE [MODULE...]
 *
 * A run writes the input to the file at once.  What is counted is the code of
 * the modules on behalf of this process.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../kernel.h"

int main(int argc, char **argv)
{
    const uint8_t *data;
    SnapRuns *runs;
    size_t size;
    int file;

    if (argc < 2) {
        fprintf(stderr, "usage: fuzz-write FILE [MODULE...]\n");
        return EXIT_FAILURE;
    }
    runs = kernel_runs(argv + 2);
    file = open(argv[1], O_WRONLY | O_CLOEXEC);
    if (file < 0) {
        fail(argv[1]);
    }
    while ((data = snap_next_input(runs, &size))) {
        /* Status 1: the driver would not have it. */
        snap_done(runs, write(file, data, size) < 0);
    }
    no_input(runs);
}
