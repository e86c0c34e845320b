/*
 * A libFuzzer target of its own making: a larger map, and each input goes into
 * the machine in capitals' place, with small letters.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "../../../guest/fuzz/libfuzzer.h"
#include "snapshot-fuzzer.h"

SNAPSHOT_FUZZER_MAP(131072);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *small = malloc(size + 1);
    int status;

    for (size_t i = 0; i < size; i++) {
        small[i] = tolower(data[i]);
    }
    status = snapshot_fuzzer_run(small, size);
    free(small);
    if (WIFSIGNALED(status)) {
        fprintf(stderr, "status %d, map begins with %u %u\n", status,
                snapshot_fuzzer_map[0], snapshot_fuzzer_map[1]);
        abort();
    }
    return 0;
}
