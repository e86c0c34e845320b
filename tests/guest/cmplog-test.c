/*
 * libsnapshot: comparisons are where AFL++ of each version looks for them.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot-cmplog.h"

#define PLACES  SNAPSHOT_CMPLOG_PLACES
#define SLOTS   SNAPSHOT_CMPLOG_SLOTS

/* What a compiler makes of the fuzzer's declarations: bit fields, packed */
typedef struct __attribute__((packed)) Header8 {
    uint64_t hits:24, id:24, shape:5, kind:2, attribute:4, rest:5;
} Header8;

typedef struct __attribute__((packed)) Header2 {
    uint16_t hits:6, shape:5, kind:1, attribute:4;
} Header2;

/* A place in the map, whatever the layout */
typedef struct Place {
    unsigned int hits, shape, kind, attribute;
    const uint8_t *slots;
} Place;

typedef struct Expected {
    const char *name;
    size_t header, ints, bytes;             /* bytes of each */
    size_t a_upper, b_lower, b_upper;       /* in two integers */
    size_t a_length, b, b_length, longest;  /* in two arrays */
    unsigned int ints_kind, bytes_kind, bytes_slots;
} Expected;

static const Expected expected[] = {
    [SNAPSHOT_CMPLOG_8_32] = { "8_32", sizeof(Header8), 32, 64, 16, 8, 24,
                               31, 32, 63, 31, 1, 2, 8 },
    [SNAPSHOT_CMPLOG_2_42] = { "2_42", sizeof(Header2), 42, 66, 16, 8, 24,
                               32, 33, 65, 32, 0, 1, 16 },
    [SNAPSHOT_CMPLOG_2_72] = { "2_72", sizeof(Header2), 72, 72, 8, 32, 40,
                               64, 32, 65, 32, 0, 1, 16 },
};

static unsigned int count, failures;

static void result(bool passed, const Expected *e, const char *name)
{
    count++;
    failures += !passed;
    printf("%sok %u - %s: %s\n", passed ? "" : "not ", count, e->name, name);
}

/* The only place with comparisons; ->slots NULL: there is none, or several. */
static Place only_place(const SnapCmplog *log, const Expected *e)
{
    Place found = { 0 };
    unsigned int places = 0;

    for (size_t i = 0; i < PLACES; i++) {
        Header8 h8 = { 0 };
        Header2 h2 = { 0 };
        Place here;

        if (e->header == sizeof(h8)) {
            memcpy(&h8, log->map + i * sizeof(h8), sizeof(h8));
            here = (Place) { h8.hits, h8.shape, h8.kind, h8.attribute, NULL };
        } else {
            memcpy(&h2, log->map + i * sizeof(h2), sizeof(h2));
            here = (Place) { h2.hits, h2.shape, h2.kind, h2.attribute, NULL };
        }
        if (here.hits) {
            places++;
            found = here;
            found.slots = log->map + PLACES * e->header + i * SLOTS * e->ints;
        }
    }
    return places == 1 ? found : (Place) { 0 };
}

static uint64_t get64(const uint8_t *at)
{
    uint64_t value;

    memcpy(&value, at, sizeof(value));
    return value;
}

static void clear(const SnapCmplog *log, const Expected *e)
{
    memset(log->map, 0, PLACES * e->header);
}

static void test_ints(const SnapCmplog *log, const Expected *e)
{
    SnapInt wide = (SnapInt)0x1122334455667788 << 32 << 32 | 5;
    Place p;

    clear(log, e);
    snap_cmplog_ints(log, 0x401000, 7, 0x8899aabb, 4, 3);
    p = only_place(log, e);
    result(p.slots && p.hits == 1 && p.shape == 3 && p.attribute == 3 &&
           p.kind == e->ints_kind && get64(p.slots) == 7 &&
           get64(p.slots + e->b_lower) == 0x8899aabb, e, "integers");
    snap_cmplog_ints(log, 0x401000, 9, wide, 16, 0);
    p = only_place(log, e);
    result(p.slots && p.hits == 2 && p.shape == 15 &&
           get64(p.slots + e->ints) == 9 &&
           get64(p.slots + e->ints + e->a_upper) == 0 &&
           get64(p.slots + e->ints + e->b_lower) == 5 &&
           get64(p.slots + e->ints + e->b_upper) == 0x1122334455667788, e,
           "16 bytes");
    for (int i = 0; i < 200; i++) {
        snap_cmplog_ints(log, 0x401000, i, ~0ull, 8, 0);
    }
    /* Number 202 is the last one. */
    p = only_place(log, e);
    result(p.slots && p.hits >= SLOTS && p.hits < 2 * SLOTS &&
           get64(p.slots + 201 % SLOTS * e->ints) == 199 &&
           get64(p.slots + 202 % SLOTS * e->ints) == 168, e, "the last ones");
    snap_cmplog_ints(log, 0x402000, 1, 2, 17, 0);
    result(only_place(log, e).slots, e, "no integer");
}

static void test_bytes(const SnapCmplog *log, const Expected *e)
{
    char a[40], b[40];
    Place p;

    memset(a, 'a', sizeof(a));
    memset(b, 'b', sizeof(b));
    /* The place has compared integers before. */
    snap_cmplog_bytes(log, 0x401000, a, 5, b, sizeof(b), false);
    p = only_place(log, e);
    result(p.slots && p.hits == 1 && p.shape == e->longest - 1 &&
           p.kind == e->bytes_kind && p.slots[e->a_length] == 5 &&
           p.slots[e->b_length] == e->longest &&
           !memcmp(p.slots, "aaaaa", 6) &&
           !memcmp(p.slots + e->b, b, e->longest) &&
           snap_cmplog_longest(log) == e->longest, e, "arrays");
    for (unsigned int i = 0; i < 3 * e->bytes_slots; i++) {
        snap_cmplog_bytes(log, 0x401000, "no", 3, "yes", 4, true);
    }
    p = only_place(log, e);
    result(p.slots && p.hits >= e->bytes_slots &&
           p.hits < 2 * e->bytes_slots &&
           p.slots[e->bytes + e->a_length] == 0x83 &&
           !strcmp((const char *)p.slots + e->bytes + e->b, "yes"), e,
           "strings");
    clear(log, e);
    snap_cmplog_bytes(log, 0x401000, "x", 1, "y", 1, false);
    result(!only_place(log, e).slots, e, "single bytes do not count");
}

int main(void)
{
    for (unsigned int i = 1; i < sizeof(expected) / sizeof(*expected); i++) {
        const Expected *e = &expected[i];
        size_t size = SNAPSHOT_CMPLOG_BYTES(e->header, e->ints);
        SnapCmplog log = { .map = calloc(1, size), .layout = i };

        if (!log.map) {
            printf("Bail out! no memory for %zu bytes\n", size);
            return EXIT_FAILURE;
        }
        test_ints(&log, e);
        test_bytes(&log, e);
        free(log.map);
    }
    printf("1..%u\n", count);
    return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
