/*
 * A target to try a campaign on: a parser of records with a bug in it.
 *
 *     "RC"                    two bytes, the format
 *     records:
 *       type                  one byte: 'n' name, 's' sum, 'e' end
 *       length                one byte
 *       that many bytes
 *
 * The bug: a name is copied without a look at its length, over whatever
 * follows its 24 bytes.  A name of more than 32 bytes overwrites the pointer
 * through which sums are stored, and a record 's' after it crashes.
 *
 * It is a harness for libFuzzer, and knows nothing of virtual machines.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct Document {
    char name[24];
    uint64_t records;
    uint32_t *sum;
} Document;

static void read_name(Document *doc, const uint8_t *data, size_t length)
{
    char *to = doc->name;

    while (length--) {
        *to++ = *data++;
    }
}

static void read_sum(Document *doc, const uint8_t *data, size_t length)
{
    uint32_t sum = 0;

    while (length--) {
        sum += *data++;
    }
    *doc->sum = sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint32_t sum = 0;
    /* volatile: the compiler is not to reason about the bug. */
    Document *volatile unknown;
    Document here = { .sum = &sum }, *doc;

    unknown = &here;
    doc = unknown;
    if (size < 2 || data[0] != 'R' || data[1] != 'C') {
        return 0;
    }
    data += 2;
    size -= 2;
    while (size >= 2 && data[0] != 'e') {
        size_t length = data[1];

        if (length > size - 2) {
            return 0;
        }
        if (data[0] == 'n') {
            read_name(doc, data + 2, length);
        } else if (data[0] == 's') {
            read_sum(doc, data + 2, length);
        }
        doc->records++;
        data += 2 + length;
        size -= 2 + length;
    }
    return 0;
}
