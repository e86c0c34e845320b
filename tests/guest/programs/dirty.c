/*
 * dirty N: save, then N times change as many kinds of state as a program can
 * reach, restore, and check that all of it is as it was at the save.
 *
 * Prints one line for each kind that the machine does not have, and "dirty:
 * ok" with the others at the end; the first difference ends it with exit code
 * 1 and a line that names it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "dirty.h"
#include "snapshot.h"

static const Subject *const subjects[] = {
    &time_of_day, &anonymous_memory, &page_cache, &video_memory, &program_code,
    &kernel_module, &block_dma, &random_dma, &vector_registers, &other_thread,
};

#define SUBJECTS (sizeof(subjects) / sizeof(subjects[0]))

static const char *current = "dirty";
static uint32_t restores;

void fail(const char *format, ...)
{
    va_list ap;

    printf("dirty: %s, after %" PRIu32 " restores: ", current, restores);
    va_start(ap, format);
    vprintf(format, ap);
    va_end(ap);
    printf("\n");
    exit(EXIT_FAILURE);
}

void *get_memory(size_t size, int protection)
{
    void *memory = mmap(NULL, size, protection,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

    if (memory == MAP_FAILED) {
        fail("no memory: %s", strerror(errno));
    }
    return memory;
}

void fill(uint8_t *page, uint32_t seed)
{
    for (size_t i = 0; i < PAGE; i++) {
        page[i] = seed * 31 + i + (i >> 8);
    }
}

bool filled(const uint8_t *page, uint32_t seed)
{
    uint8_t expected[PAGE];

    fill(expected, seed);
    return !memcmp(page, expected, PAGE);
}

int main(int argc, char **argv)
{
    bool present[SUBJECTS];
    uint32_t limit, result;
    SnapshotDevice *dev;

    if (argc != 2 || sscanf(argv[1], "%" SCNu32, &limit) != 1) {
        fail("usage: dirty N, with N the number of restores");
    }
    dev = snapshot_open(NULL);
    if (!dev) {
        fail("%s", snapshot_open_strerror(errno));
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    /* Backwards, so that what is checked first is prepared last. */
    for (size_t i = SUBJECTS; i-- > 0; ) {
        current = subjects[i]->name;
        present[i] = subjects[i]->prepare();
        if (!present[i]) {
            printf("dirty: %s: not in this machine\n", current);
        }
    }

    current = "save";
    result = snapshot_save(dev, &restores);
    if (result != SNAPSHOT_RES_DONE) {
        fail("%s", snapshot_strerror(result));
    }
    for (size_t i = 0; i < SUBJECTS; i++) {
        current = subjects[i]->name;
        if (present[i]) {
            subjects[i]->check(restores);
        }
    }
    if (restores < limit) {
        for (size_t i = 0; i < SUBJECTS; i++) {
            current = subjects[i]->name;
            if (present[i]) {
                subjects[i]->spoil(restores);
            }
        }
        current = "restore";
        fail("%s", snapshot_strerror(snapshot_restore(dev)));
    }
    printf("dirty: ok after %" PRIu32 " restores:", restores);
    for (size_t i = 0; i < SUBJECTS; i++) {
        if (present[i]) {
            printf(" %s", subjects[i]->name);
        }
    }
    printf("\n");
    return EXIT_SUCCESS;
}
