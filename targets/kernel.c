/*
 * What targets in the guest's kernel have in common.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernel.h"

#define PANIC_ON_OOPS   "/proc/sys/kernel/panic_on_oops"

static void __attribute__((noreturn)) end(const char *what, const char *why)
{
    fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, why);
    exit(EXIT_FAILURE);
}

void fail(const char *what)
{
    end(what, strerror(errno));
}

static void panic_on_oops(void)
{
    FILE *file = fopen(PANIC_ON_OOPS, "we");

    if (!file || fputs("1\n", file) < 0 || fclose(file) < 0) {
        fail(PANIC_ON_OOPS);
    }
}

SnapRuns *kernel_runs(char **modules)
{
    SnapRuns *runs = snap_open(NULL);

    if (!runs) {
        end("no device", snapshot_open_strerror(errno));
    }
    for (; *modules; modules++) {
        if (snapshot_cover_module(snap_device(runs), *modules,
                                  SNAPSHOT_COVER_HERE) < 0) {
            fail(*modules);
        }
    }
    panic_on_oops();
    return runs;
}

void no_input(SnapRuns *runs)
{
    end("no input", snapshot_strerror(snap_result(runs)));
}
