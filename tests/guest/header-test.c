/*
 * The public headers compile, as C11, gnu11 and C++17, and nothing more than
 * the library is needed to link.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "snapshot.h"
#include "snapshot-mmio.h"

#include <errno.h>
#include <stdio.h>

int main(void)
{
    SnapshotDevice *dev = snapshot_open_sysfs("/nowhere", NULL);
    static unsigned char memory[SNAPSHOT_BAR_SIZE];
    SnapshotBar *bar = memory;
    int passed = !dev && errno == ENODEV &&
        snapshot_mmio_save(bar) == SNAPSHOT_CMD_SAVE &&
        snapshot_mmio_read64(bar, SNAPSHOT_REG_COMMAND) == SNAPSHOT_CMD_SAVE;

    snapshot_close(dev);
    printf("1..1\n%sok 1 - compiled, linked and called\n",
           passed ? "" : "not ");
    return !passed;
}
