/*
 * libsnapshot: comparisons, in the form of AFL++'s CmpLog.
 *
 * There is a header for each of 65536 places in a program, and room for 32
 * comparisons of two operands each.  The layouts were taken from the code of
 * afl-compiler-rt.o (4.04c) and from descriptions of struct cmp_map in other
 * programs (LibAFL, qemuafl); which one it is the device says.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <string.h>

#include "device.h"
#include "snapshot-cmplog.h"

/* What was compared, as a number in a header */
typedef enum Kind {
    INTS,
    BYTES,
} Kind;

/*
 * One layout.  A header is an integer, whose fields begin at bit 0 with the
 * number of comparisons.  Of operands the first begins at 0; of those that are
 * integers the lower and the upper eight bytes have a place each.
 */
typedef struct Layout {
    uint8_t header;             /* bytes */
    uint8_t hits_bits;
    uint8_t shape_at;           /* bit: size of the operands, minus one */
    uint8_t kind_at;            /* bit: ->kinds[] */
    uint8_t attribute_at;       /* bit */
    uint8_t kinds[2];
    uint8_t ints;               /* bytes of two integers */
    uint8_t a_upper, b_lower, b_upper;
    uint8_t bytes;              /* bytes of two arrays */
    uint8_t a_length, b, b_length;
    uint8_t longest;            /* of an array, in bytes */
    uint8_t bytes_slots;        /* how many comparisons of arrays */
} Layout;

static const Layout layouts[] = {
    [SNAPSHOT_CMPLOG_8_32] = {
        .header = 8, .hits_bits = 24, .shape_at = 48, .kind_at = 53,
        .attribute_at = 55, .kinds = { [INTS] = 1, [BYTES] = 2 },
        .ints = 32, .a_upper = 16, .b_lower = 8, .b_upper = 24,
        .bytes = 64, .a_length = 31, .b = 32, .b_length = 63,
        .longest = 31, .bytes_slots = 8,
    },
    [SNAPSHOT_CMPLOG_2_42] = {
        .header = 2, .hits_bits = 6, .shape_at = 6, .kind_at = 11,
        .attribute_at = 12, .kinds = { [INTS] = 0, [BYTES] = 1 },
        .ints = 42, .a_upper = 16, .b_lower = 8, .b_upper = 24,
        .bytes = 66, .a_length = 32, .b = 33, .b_length = 65,
        .longest = 32, .bytes_slots = 16,
    },
    [SNAPSHOT_CMPLOG_2_72] = {
        .header = 2, .hits_bits = 6, .shape_at = 6, .kind_at = 11,
        .attribute_at = 12, .kinds = { [INTS] = 0, [BYTES] = 1 },
        .ints = 72, .a_upper = 8, .b_lower = 32, .b_upper = 40,
        .bytes = 72, .a_length = 64, .b = 32, .b_length = 65,
        .longest = 32, .bytes_slots = 16,
    },
};

#define SHAPE_MASK      0x1f
#define ATTRIBUTE_MASK  0xf

/* With the length of an array: it is a string. */
#define TEXT            0x80

bool snap_cmplog_open(SnapCmplog *log, SnapRuns *runs)
{
    const SnapshotDevice *dev = snap_device(runs);
    uint32_t at = snapshot_mmio_read32(dev->shared, SNAPSHOT_SHARED_CMPLOG);
    uint32_t layout = snapshot_mmio_read32(dev->shared,
                                           SNAPSHOT_SHARED_CMPLOG_LAYOUT);

    if (!at || layout == SNAPSHOT_CMPLOG_NONE ||
        layout >= sizeof(layouts) / sizeof(layouts[0])) {
        return false;
    }
    *log = (SnapCmplog) { .map = (uint8_t *)dev->shared + at,
                          .layout = layout };
    return true;
}

size_t snap_cmplog_longest(const SnapCmplog *log)
{
    return layouts[log->layout].longest;
}

static uint64_t hits_of(const Layout *l, uint64_t header)
{
    return header & ((UINT64_C(1) << l->hits_bits) - 1);
}

/*
 * The header after one more comparison.  The number of comparisons stays below
 * twice the slots, so that it tells both the next slot and that all are used.
 */
static uint64_t next_header(const Layout *l, uint64_t header, Kind kind,
                            unsigned int shape, unsigned int attribute,
                            unsigned int slots)
{
    uint64_t hits = hits_of(l, header) + 1;
    unsigned int before = header >> l->shape_at & SHAPE_MASK;

    return (hits < 2 * slots ? hits : slots) |
           (uint64_t)(shape > before ? shape : before) << l->shape_at |
           (uint64_t)l->kinds[kind] << l->kind_at |
           (uint64_t)(attribute & ATTRIBUTE_MASK) << l->attribute_at;
}

/* Count a comparison, and return where its operands go. */
static uint8_t *take_slot(const SnapCmplog *log, uintptr_t place, Kind kind,
                          unsigned int size, unsigned int attribute)
{
    const Layout *l = &layouts[log->layout];
    unsigned int slots = kind == INTS ? SNAPSHOT_CMPLOG_SLOTS : l->bytes_slots;
    uint64_t header = 0, mask = l->kinds[INTS] ^ l->kinds[BYTES];
    uint8_t *at, *operands;
    unsigned int slot;

    /* Fibonacci hashing: the upper bits depend on all of the address. */
    place = (uint64_t)place * UINT64_C(0x9e3779b97f4a7c15) >> 48;
    at = log->map + place * l->header;
    memcpy(&header, at, l->header);
    /* Another place with the same hash has compared something else. */
    if ((header >> l->kind_at ^ l->kinds[kind]) & mask) {
        header = 0;
    }
    slot = hits_of(l, header) % slots;
    header = next_header(l, header, kind, size - 1, attribute, slots);
    memcpy(at, &header, l->header);
    operands = log->map + SNAPSHOT_CMPLOG_PLACES * l->header +
               place * SNAPSHOT_CMPLOG_SLOTS * l->ints;
    return operands + slot * (kind == INTS ? l->ints : l->bytes);
}

static void put64(uint8_t *to, uint64_t value)
{
    memcpy(to, &value, sizeof(value));
}

void snap_cmplog_ints(const SnapCmplog *log, uintptr_t place, SnapInt a,
                      SnapInt b, unsigned int size, unsigned int attribute)
{
    const Layout *l = &layouts[log->layout];
    uint8_t *slot;

    if (size < 1 || size > 16) {
        return;
    }
    slot = take_slot(log, place, INTS, size, attribute);
    put64(slot, a);
    put64(slot + l->b_lower, b);
    if (size > 8) {
        put64(slot + l->a_upper, a >> 32 >> 32);
        put64(slot + l->b_upper, b >> 32 >> 32);
    }
}

void snap_cmplog_bytes(const SnapCmplog *log, uintptr_t place, const void *a,
                       size_t a_size, const void *b, size_t b_size, bool text)
{
    const Layout *l = &layouts[log->layout];
    uint8_t *slot;

    a_size = a_size < l->longest ? a_size : l->longest;
    b_size = b_size < l->longest ? b_size : l->longest;
    if (a_size < 2 && b_size < 2) {
        return;
    }
    slot = take_slot(log, place, BYTES, a_size > b_size ? a_size : b_size, 0);
    memset(slot, 0, l->bytes);
    memcpy(slot, a, a_size);
    memcpy(slot + l->b, b, b_size);
    slot[l->a_length] = a_size | (text ? TEXT : 0);
    slot[l->b_length] = b_size | (text ? TEXT : 0);
}
