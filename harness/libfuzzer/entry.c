/*
 * What libFuzzer calls.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "libfuzzer.h"
#include "snapshot-fuzzer.h"

/*
 * Options with which libFuzzer runs no input in this process: it starts others
 * that do.
 */
static const char *const supervising[] = {
    "-cleanse_crash=", "-fork=", "-help=", "-jobs=", "-merge=",
    "-minimize_crash=", "-set_cover_merge=",
};

static bool supervises(int argc, char **argv)
{
    const size_t count = sizeof(supervising) / sizeof(*supervising);
    bool found[sizeof(supervising) / sizeof(*supervising)] = { false };
    bool any = false;

    for (int i = 1; i < argc; i++) {
        for (size_t j = 0; j < count; j++) {
            size_t length = strlen(supervising[j]);

            /* The last one of a kind holds. */
            if (!strncmp(argv[i], supervising[j], length)) {
                found[j] = atoi(argv[i] + length) != 0;
            }
        }
    }
    for (size_t j = 0; j < count; j++) {
        any |= found[j];
    }
    return any;
}

/*
 * The machine boots here, where libFuzzer's clocks (-timeout, -max_total_time)
 * do not run yet.  If others are to have machines but cannot it is said here,
 * too: what started them would take their exit for a crash.
 */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    bool known = getenv(SNAPSHOT_FUZZER_ENV_MACHINE) != NULL;

    if (!(known && supervises(*argc, *argv)) && !snapshot_fuzzer_start()) {
        exit(EXIT_FAILURE);
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int status = snapshot_fuzzer_run(data, size);

    if (WIFSIGNALED(status)) {
        fprintf(stderr, "snapshot-fuzzer: the run ended as by signal %d "
                "(%s)\n", WTERMSIG(status), strsignal(WTERMSIG(status)));
        abort();
    }
    return 0;
}
