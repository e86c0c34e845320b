/*
 * main() for harnesses written for libFuzzer, to run in a guest.
 *
 * Each run calls LLVMFuzzerTestOneInput() with a copy of the input that is as
 * long as the input and no longer, so that sanitizers see what reads behind
 * its end.  Started with files as arguments, or where nobody gives inputs, the
 * program runs those files and ends.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "libfuzzer.h"

static int test_one(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    int status;

    if (!copy) {
        perror("no memory for the input");
        return EXIT_FAILURE;
    }
    memcpy(copy, data, size);
    status = LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    return status;
}

static int test_file(const char *name)
{
    FILE *file = fopen(name, "rb");
    uint8_t *data = NULL;
    size_t size = 0, room = 0;

    while (file && !feof(file) && !ferror(file)) {
        if (size == room) {
            room = room ? room * 2 : 4096;
            data = realloc(data, room);
            if (!data) {
                break;
            }
        }
        size += fread(data + size, 1, room - size, file);
    }
    if (!file || ferror(file) || !data) {
        perror(name);
        return EXIT_FAILURE;
    }
    fclose(file);
    fprintf(stderr, "%s: %zu bytes\n", name, size);
    test_one(data, size);
    free(data);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    SnapRuns *runs;
    int status = EXIT_SUCCESS;

    if (LLVMFuzzerInitialize) {
        LLVMFuzzerInitialize(&argc, &argv);
    }
    if (argc > 1) {
        for (int i = 1; i < argc; i++) {
            status |= test_file(argv[i]);
        }
        return status;
    }
    runs = harness_open();
    if (!runs) {
        return EXIT_FAILURE;
    }
    for (;;) {
        size_t size;
        const uint8_t *data = harness_next(runs, &size);

        /* -1: the input is of no use, which is no failure */
        test_one(data, size);
        harness_done(runs, 0);
    }
}
