/*
 * A target: the right input has the kernel panic.
 *
 * It stands for any bug that a program can reach: the kernel is asked to crash
 * (sysrq "c") by an input that begins with "BUG", which is compared byte by
 * byte.  Nothing of the program was compiled for coverage; edges of its code
 * are counted as TCG executes it, for this process only.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot-run.h"

static void crash_kernel(void)
{
    FILE *file = fopen("/proc/sysrq-trigger", "we");

    if (!file || fputc('c', file) == EOF || fclose(file) == EOF) {
        fprintf(stderr, "fuzz-panic: /proc/sysrq-trigger: %s\n",
                strerror(errno));
        exit(EXIT_FAILURE);
    }
}

static void test(const uint8_t *data, size_t size)
{
    static const char magic[] = "BUG";

    /* One comparison, and one branch, for each byte */
    if (size > 0 && data[0] == magic[0]) {
        if (size > 1 && data[1] == magic[1]) {
            if (size > 2 && data[2] == magic[2]) {
                crash_kernel();
            }
        }
    }
}

int main(void)
{
    SnapRuns *runs = snap_open(NULL);
    const uint8_t *data;
    size_t size;

    if (!runs || snapshot_cover_program(snap_device(runs)) < 0) {
        fprintf(stderr, "fuzz-panic: %s\n",
                runs ? strerror(errno) : snapshot_open_strerror(errno));
        return EXIT_FAILURE;
    }
    while ((data = snap_next_input(runs, &size))) {
        test(data, size);
        snap_done(runs, 0);
    }
    fprintf(stderr, "fuzz-panic: no input: %s\n",
            snapshot_strerror(snap_result(runs)));
    return EXIT_FAILURE;
}
