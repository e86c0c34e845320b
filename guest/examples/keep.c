/*
 * keep N: a log that N restores do not take back.
 *
 * All of the machine is rewound N times, but for the page with the log: so the
 * last run finds in it what every run has written.  It works the same for a
 * coverage map, or for whatever else a test collects.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "snapshot.h"

#define LOG_SIZE    4096
#define LOG_ENTRIES (LOG_SIZE / sizeof(uint32_t) - 1)

typedef struct Log {
    uint32_t count;
    uint32_t entries[LOG_ENTRIES];
} Log;

/* A page for the log that is left alone from now on, NULL on failure */
static Log *new_log(SnapshotDevice *dev)
{
    void *memory = mmap(NULL, LOG_SIZE, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED || snapshot_exclude(dev, memory, LOG_SIZE) < 0) {
        return NULL;
    }
    return memory;
}

static int print_log(const Log *log, uint32_t forgotten)
{
    printf("%" PRIu32 " entries:", log->count);
    for (uint32_t i = 0; i < log->count; i++) {
        printf(" %" PRIu32, log->entries[i]);
    }
    printf("\nwithout the log: %" PRIu32 "\n", forgotten);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    volatile uint32_t forgotten = 0;    /* an ordinary variable: goes back */
    uint32_t limit, restores, result;
    SnapshotDevice *dev;
    Log *log;

    if (argc != 2 || sscanf(argv[1], "%" SCNu32, &limit) != 1 ||
        limit >= LOG_ENTRIES) {
        fprintf(stderr, "usage: keep N (how often to restore)\n");
        return EXIT_FAILURE;
    }
    dev = snapshot_open(NULL);
    if (!dev) {
        fprintf(stderr, "keep: %s\n", snapshot_open_strerror(errno));
        return EXIT_FAILURE;
    }
    snapshot_discard(dev);              /* what an earlier program excluded */
    log = new_log(dev);
    if (!log) {
        fprintf(stderr, "keep: no log: %s\n", strerror(errno));
        return EXIT_FAILURE;
    }
    result = snapshot_save(dev, &restores);
    if (result != SNAPSHOT_RES_DONE) {
        fprintf(stderr, "keep: save: %s\n", snapshot_strerror(result));
        return EXIT_FAILURE;
    }
    forgotten++;
    log->entries[log->count++] = restores;
    if (restores < limit) {
        result = snapshot_restore(dev);
        fprintf(stderr, "keep: restore: %s\n", snapshot_strerror(result));
        return EXIT_FAILURE;
    }
    snapshot_discard(dev);              /* the page is to be used for others */
    return print_log(log, forgotten);
}
