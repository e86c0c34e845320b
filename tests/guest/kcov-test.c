/*
 * libsnapshot: what KCOV has traced is folded into the map, on a made-up
 * buffer.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <linux/kcov.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../guest/lib/kcov.h"

#define MAP_SIZE    4096
#define WORDS       64

static unsigned int count, failures;
static uint64_t buffer[WORDS];
static uint8_t map[MAP_SIZE];

static void result(bool passed, const char *name)
{
    count++;
    failures += !passed;
    printf("%sok %u - %s\n", passed ? "" : "not ", count, name);
}

/* Fold these words, said to be @entries, into an empty map. */
static void fold(const uint64_t *words, size_t size, uint64_t entries,
                 const SnapCmplog *log)
{
    SnapKcov kcov = { .buffer = buffer, .words = WORDS, .comparisons = log };

    memset(map, 0, sizeof(map));
    memset(buffer, 0xee, sizeof(buffer));
    buffer[0] = entries;
    memcpy(buffer + 1, words, size);
    kcov_collect(&kcov, map, sizeof(map), log);
}

static unsigned int edges(void)
{
    unsigned int n = 0;

    for (size_t i = 0; i < sizeof(map); i++) {
        n += map[i] != 0;
    }
    return n;
}

static void test_addresses(void)
{
    static const uint64_t there[] = { 0xffffffff81000010, 0xffffffff81000040,
                                      0xffffffff81000090 };
    static const uint64_t back[] = { 0xffffffff81000090, 0xffffffff81000040,
                                     0xffffffff81000010 };
    uint64_t loop[WORDS - 1];
    uint8_t first[MAP_SIZE];

    fold(there, sizeof(there), 0, NULL);
    result(edges() == 0, "nothing");
    fold(there, sizeof(there), 3, NULL);
    memcpy(first, map, sizeof(map));
    result(edges() == 3 && buffer[0] == 0, "an edge for each, and from zero");
    fold(there, sizeof(there), 3, NULL);
    result(!memcmp(first, map, sizeof(map)), "the same again");
    fold(back, sizeof(back), 3, NULL);
    result(edges() == 3 && memcmp(first, map, sizeof(map)), "order matters");
    for (size_t i = 0; i < WORDS - 1; i++) {
        loop[i] = there[0];
    }
    /* The kernel says no more than fits; whatever is there is not trusted. */
    fold(loop, sizeof(loop), ~0ull, NULL);
    result(edges() == 2 && memchr(map, WORDS - 2, sizeof(map)),
           "not beyond the buffer, and an edge counts");
}

static void test_comparisons(void)
{
    static const uint64_t words[] = {
        KCOV_CMP_SIZE(2) | KCOV_CMP_CONST, 0xfee1dead, 0x64636261, 0x1000,
        KCOV_CMP_SIZE(2), 5, 5, 0x2000,             /* equal */
        KCOV_CMP_SIZE(0), 1, 2, 0x3000,             /* bytes */
    };
    SnapCmplog log = {
        .map = calloc(1, SNAPSHOT_CMPLOG_BYTES(2, 72)),
        .layout = SNAPSHOT_CMPLOG_2_72,
    };
    unsigned int found = 0, places = 0;

    if (!log.map) {
        printf("Bail out! no memory\n");
        exit(EXIT_FAILURE);
    }
    fold(words, sizeof(words), 3, &log);
    for (size_t i = 0; i < SNAPSHOT_CMPLOG_PLACES; i++) {
        const uint8_t *slot = log.map + SNAPSHOT_CMPLOG_PLACES * 2 +
                              i * SNAPSHOT_CMPLOG_SLOTS * 72;
        uint64_t a, b;

        if (log.map[i * 2] || log.map[i * 2 + 1]) {
            memcpy(&a, slot, sizeof(a));
            memcpy(&b, slot + 32, sizeof(b));
            places++;
            found += a == 0xfee1dead && b == 0x64636261;
        }
    }
    result(places == 1 && found == 1, "what is of use is noted");
    result(edges() == 3, "all have their edges");
    free(log.map);
}

int main(void)
{
    test_addresses();
    test_comparisons();
    printf("1..%u\n", count);
    return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
