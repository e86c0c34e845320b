/*
 * levels N M: tries N states, M inputs from each of them.
 *
 * A fuzzer's program in small.  State A, the first level, is the machine before
 * anything happened.  From there it is brought into a state B, which takes
 * long in real life, and saved on top of A.  Each input then begins at B: a
 * restore brings back that one.  When there are no more inputs, a pop forgets B
 * and brings back A, for the next state.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "say.h"
#include "snapshot.h"

static SnapshotDevice *dev;

static void fail(const char *command, uint32_t result)
{
    fprintf(stderr, "levels: %s: %s\n", command, snapshot_strerror(result));
    exit(EXIT_FAILURE);
}

/* One state, saved as B, and inputs from there.  Goes on where A was saved. */
static void try_state(uint32_t state, uint32_t inputs)
{
    volatile uint32_t value = state;    /* volatile: stored where it says so */
    uint32_t input, result;

    result = snapshot_push(dev, &input);
    if (result != SNAPSHOT_RES_DONE) {
        fail("push", result);
    }
    say("  B: value %" PRIu32 ", input %" PRIu32 "\n", value, input);
    value = 1000 + input;               /* what an input does to the machine */
    if (input + 1 < inputs) {
        fail("restore", snapshot_restore(dev));
    }
    fail("pop", snapshot_pop(dev));
}

int main(int argc, char **argv)
{
    uint32_t states, inputs, state, result;

    if (argc != 3 || sscanf(argv[1], "%" SCNu32, &states) != 1 ||
        sscanf(argv[2], "%" SCNu32, &inputs) != 1) {
        fprintf(stderr, "usage: levels N M (states, and inputs for each)\n");
        return EXIT_FAILURE;
    }
    dev = snapshot_open(NULL);
    if (!dev) {
        fprintf(stderr, "levels: %s\n", snapshot_open_strerror(errno));
        return EXIT_FAILURE;
    }
    result = snapshot_save(dev, &state);
    if (result != SNAPSHOT_RES_DONE) {
        fail("save", result);
    }
    say("A: state %" PRIu32 "\n", state);
    if (state < states) {
        try_state(state, inputs);
    }
    say("done: levels %" PRIu32 "\n", snapshot_levels(dev));
    snapshot_discard(dev);
    snapshot_close(dev);
    return EXIT_SUCCESS;
}
