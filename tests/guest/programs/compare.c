/*
 * A harness behind comparisons that random changes of an input do not pass: of
 * integers, or with TEXT defined of memory, an integer and a string.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t magic;
    uint32_t kind;
    char word[10];

    if (size < 24) {
        return 0;
    }
    memcpy(&magic, data, sizeof(magic));
    memcpy(&kind, data + 8, sizeof(kind));
    memcpy(word, data + 12, sizeof(word));
    word[sizeof(word) - 1] = '\0';
#ifdef TEXT
    if (!memcmp(&magic, "\x7e\x3a\x91\xc4\x5f\xd2\x08\xb6", sizeof(magic)) &&
        kind == 0x5ca1ab1e && !strcmp(word, "Wegweiser")) {
        abort();
    }
#else
    if (magic == UINT64_C(0x7e3a91c45fd208b6)) {
        switch (kind) {
        case 0x5ca1ab1e:
            abort();
        case 0x0ddba115:
            return 1;
        case 0xca55e77e:
            return 2;
        }
    }
#endif
    return 0;
}
