/*
 * rewind N: a program that runs into its own past, N times.
 *
 * The variable goes from 0 to 1 and back with the whole machine, so the output
 * is before, middle, before, middle, ... until the one thing that is not
 * rewound, the device's count of restores, says that it is enough.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "say.h"
#include "snapshot.h"

int main(int argc, char **argv)
{
    volatile int value;     /* volatile: stored and loaded where it says so */
    uint32_t limit, restores, result;
    SnapshotDevice *dev;

    if (argc != 2 || sscanf(argv[1], "%" SCNu32, &limit) != 1) {
        fprintf(stderr, "usage: rewind N (how often to restore)\n");
        return EXIT_FAILURE;
    }
    dev = snapshot_open(NULL);
    if (!dev) {
        fprintf(stderr, "rewind: %s\n", snapshot_open_strerror(errno));
        return EXIT_FAILURE;
    }
    value = 0;
    result = snapshot_save(dev, &restores);
    if (result != SNAPSHOT_RES_DONE) {
        fprintf(stderr, "rewind: save: %s\n", snapshot_strerror(result));
        return EXIT_FAILURE;
    }
    say("before: value %d, restores %" PRIu32 "\n", value, restores);
    value = 1;
    say("middle: value %d\n", value);
    if (restores < limit) {
        result = snapshot_restore(dev);
        fprintf(stderr, "rewind: restore: %s\n", snapshot_strerror(result));
        return EXIT_FAILURE;
    }
    say("done: %" PRIu32 " restores\n", restores);
    snapshot_close(dev);
    return EXIT_SUCCESS;
}
