/*
 * The machine of this process, and the memory that it shares with it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "machine.h"
#include "snapshot-fuzzer.h"

/*
 * As much as input-size= may be; what is not used of it costs nothing.  The
 * length comes first.
 */
#define INPUT_MAX       (64u << 20)
#define INPUT_LENGTH    sizeof(uint32_t)

/* Seconds: QEMU itself is there sooner than its guest. */
#define GREETING_LIMIT  60
#define BOOT_LIMIT      300

/* For the run without input, after which nobody looks */
#define FIRST_RUN_LIMIT 10

static Machine machine;
static Segment map, input;

static bool share_memory(void)
{
    static bool shared;

    if (!shared) {
        shared = segment_init(&map, snapshot_fuzzer_map_size,
                              snapshot_fuzzer_map) &&
                 segment_init(&input, INPUT_MAX + INPUT_LENGTH, NULL);
    }
    return shared;
}

static void set_input(const uint8_t *data, size_t size)
{
    uint32_t length = size < INPUT_MAX ? size : INPUT_MAX;

    memcpy(input.host, &length, sizeof(length));
    if (length) {
        memcpy(input.host + INPUT_LENGTH, data, length);
    }
}

/* Seconds to boot, or 0, with a message, if the user has set nonsense. */
static unsigned int boot_limit(void)
{
    const char *text = getenv(SNAPSHOT_FUZZER_ENV_BOOT);
    unsigned int seconds;
    char more;

    if (!text) {
        return BOOT_LIMIT;
    }
    if (sscanf(text, "%u%c", &seconds, &more) != 1 || seconds < 1) {
        say(SNAPSHOT_FUZZER_ENV_BOOT "=%s is no number of seconds", text);
        return 0;
    }
    return seconds;
}

/*
 * Run an input of no bytes: when that is over the guest has booted.  @limit is
 * from @start on.
 */
static bool boot(time_t start, unsigned int limit)
{
    unsigned int passed = time(NULL) - start;
    int status;

    set_input(NULL, 0);
    switch (machine_run(&machine, passed < limit ? limit - passed : 1,
                        FIRST_RUN_LIMIT, &status)) {
    case MACHINE_RUN_ENDED:
        memset(snapshot_fuzzer_map, 0, snapshot_fuzzer_map_size);
        return true;
    case MACHINE_RUN_LATE:
        say("the guest has not asked for an input in %u s: see its console "
            "('-serial file:console'), or set " SNAPSHOT_FUZZER_ENV_BOOT
            " to more", limit);
        kill(-machine.pid, SIGKILL);
        machine_end(&machine, "as it was of no use");
        return false;
    default:
        machine_end(&machine, "while the guest booted; the reason is above");
        return false;
    }
}

/* At a normal end of the fuzzer; at any other QEMU finds out by itself. */
static void stop(void)
{
    if (machine.pid) {
        machine_stop(&machine);
    }
}

bool snapshot_fuzzer_start(void)
{
    const char *command = getenv(SNAPSHOT_FUZZER_ENV_MACHINE);
    unsigned int limit = boot_limit();
    time_t start = time(NULL);
    static bool registered;

    if (machine.pid) {
        return true;
    }
    if (!registered) {
        registered = true;
        atexit(stop);
    }
    if (!command) {
        say("set " SNAPSHOT_FUZZER_ENV_MACHINE " to a command that starts "
            "QEMU, with '-device snapshot,afl=on' in it");
        return false;
    }
    return limit && share_memory() &&
           machine_start(&machine, command,
                         limit < GREETING_LIMIT ? limit : GREETING_LIMIT,
                         &map, snapshot_fuzzer_map_size, &input) &&
           boot(start, limit);
}

int snapshot_fuzzer_run(const uint8_t *data, size_t size)
{
    int status;

    for (;;) {
        if (!snapshot_fuzzer_start()) {
            /* exit() would be taken for the target's. */
            _exit(EXIT_FAILURE);
        }
        set_input(data, size);
        switch (machine_run(&machine, 0, 0, &status)) {
        case MACHINE_RUN_ENDED:
            return status;
        case MACHINE_RUN_LOST:
            status = machine_end(&machine, "during this run");
            return WIFSIGNALED(status) ? status : SIGABRT;
        default:
            machine_end(&machine, "between two runs; starting another");
        }
    }
}
