/*
 * A harness for the kernel: a system call that wants magic numbers.  With all
 * of them right the machine is reset, or halts, or is switched off.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint32_t words[3];

    if (size >= sizeof(words)) {
        memcpy(words, data, sizeof(words));
        syscall(SYS_reboot, words[0], words[1], words[2], NULL);
    }
    return 0;
}
