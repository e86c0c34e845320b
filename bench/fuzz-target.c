/*
 * What the campaigns of bench/fuzz.py run: a parser of "name=number" lines,
 * which has work to do and no bug.
 *
 * With WITH_MAIN it is a program that reads one input, as the fork server of
 * afl-fuzz starts it for each.  With WITH_COVER it has the device count its
 * edges, if that does (coverage=tcg).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(WITH_MAIN)
#include <unistd.h>
#endif

#if defined(WITH_COVER)
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "snapshot.h"
#endif

#include "../guest/fuzz/libfuzzer.h"

static const char *const names[] = {
    "width", "height", "depth", "stride", "offset", "gamma", "scale", "tile",
};

#define NAME_COUNT  (sizeof(names) / sizeof(names[0]))

/* volatile: for the compiler not to see that nobody reads them */
static volatile uint32_t values[NAME_COUNT];

static void set_value(const uint8_t *line, size_t name, size_t size)
{
    for (size_t i = 0; i < NAME_COUNT; i++) {
        if (strlen(names[i]) != name || memcmp(names[i], line, name)) {
            continue;
        }
        for (size_t at = name + 1; at < size; at++) {
            if (line[at] < '0' || line[at] > '9') {
                return;
            }
            values[i] = values[i] * 10 + (line[at] - '0');
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < NAME_COUNT; i++) {
        values[i] = 0;
    }
    while (size) {
        const uint8_t *end = memchr(data, '\n', size);
        size_t line = end ? (size_t)(end - data) : size;
        const uint8_t *equals = memchr(data, '=', line);

        if (equals) {
            set_value(data, equals - data, line);
        }
        size -= line + (end != NULL);
        data += line + (end != NULL);
    }
    return 0;
}

#if defined(WITH_COVER)
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    SnapshotDevice *dev = snapshot_open(NULL);

    (void)argc;
    (void)argv;
    /* EPERM: with coverage=none */
    if (!dev || (snapshot_cover_program(dev) && errno != EPERM)) {
        perror("fuzz-target");
        exit(1);
    }
    snapshot_close(dev);
    return 0;
}
#endif

#if defined(WITH_MAIN)
int main(void)
{
    static uint8_t data[1 << 20];
    ssize_t size = read(STDIN_FILENO, data, sizeof(data));

    return size < 0 || LLVMFuzzerTestOneInput(data, size);
}
#endif
