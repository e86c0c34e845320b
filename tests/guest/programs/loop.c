/*
 * A harness for AFL++'s persistent mode, as such sources are.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stdlib.h>
#include <unistd.h>

__AFL_FUZZ_INIT();

int main(void)
{
    unsigned char *data;

    __AFL_INIT();
    data = __AFL_FUZZ_TESTCASE_BUF;
    while (__AFL_LOOP(1000)) {
        int length = __AFL_FUZZ_TESTCASE_LEN;

        if (length > 3) {
            exit(length);
        }
        if (length && data[length - 1] == 'a') {
            abort();
        }
    }
    return 0;
}
