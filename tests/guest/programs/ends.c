/*
 * A harness that ends in every way there is; the first byte says how.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <unistd.h>

#include "../../../guest/fuzz/libfuzzer.h"

static int sysrq = -1;

/* Tells whether the machine was put back before a run. */
static unsigned int runs;

/* Where nothing is; volatile: for the compiler to know nothing of it */
static int *volatile where = (int *)8;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    sysrq = open("/proc/sysrq-trigger", O_WRONLY);
    return 0;
}

/* Not a tail call, so that the stack does grow */
static int overflow_stack(int depth)
{
    /* volatile: it is there for no other use */
    volatile char frame[4096];

    memset((char *)frame, depth, sizeof(frame));
    if (depth == INT_MAX) {
        return 0;
    }
    return overflow_stack(depth + 1) + frame[depth & 4095];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    runs++;
    switch (size ? data[0] : 0) {
    case 'a':
        abort();
    case 'c':               /* how many runs since the machine was put back */
        exit(runs);
    case 'f':               /* for good */
        for (;;) {
            __asm__ volatile("");
        }
    case 'h':
        reboot(RB_HALT_SYSTEM);
        break;
    case 'o':
        reboot(RB_POWER_OFF);
        break;
    case 'p':
        return write(sysrq, "c", 1);
    case 'r':
        reboot(RB_AUTOBOOT);
        break;
    case 's':
        *where = 0;
        break;
    case 'v':
        return overflow_stack(0);
    case 'x':
        exit(3);
    }
    return 0;
}
