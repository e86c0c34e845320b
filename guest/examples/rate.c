/*
 * rate N [PAGES]: restore the machine N times in a tight loop, with PAGES
 * pages written each time, and say what the device measured.
 *
 * The guest's clocks go back with everything else, so no clock of the guest
 * can tell how long the loop took.  Two others can: the device, whose register
 * holds the host time of the last restore (the restore alone, without what the
 * guest does in between), and the host, which may look at its own clock when
 * the two lines "rate: begin" and "rate: end" arrive: that is what make demo
 * does, and it measures everything.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <termios.h>
#include <unistd.h>

#include "snapshot.h"

/* How long the rest of the guest has to come to an end with its work */
#define REST_US 100000

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "rate: %s: %s\n", what, why);
    return EXIT_FAILURE;
}

/*
 * Returns @pages pages, and one that nobody asked for, since there is no memory
 * of no size.  All are there already, so that none is allocated later.
 */
static char *get_pages(size_t pages, size_t size)
{
    char *memory = mmap(NULL, (pages + 1) * size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (memory != MAP_FAILED) {
        memset(memory, 1, pages * size);
    }
    return memory;
}

int main(int argc, char **argv)
{
    const size_t size = 4096;   /* of a page */
    size_t pages = 16;
    uint32_t limit, restores, result;
    SnapshotDevice *dev;
    SnapshotRegs regs;
    char *memory;

    if (argc < 2 || argc > 3 || sscanf(argv[1], "%" SCNu32, &limit) != 1 ||
        (argc == 3 && sscanf(argv[2], "%zu", &pages) != 1)) {
        return fail("usage", "rate N [PAGES]: N restores with PAGES (16) "
                    "pages written before each");
    }
    dev = snapshot_open(NULL);
    if (!dev) {
        return fail("device", snapshot_open_strerror(errno));
    }
    memory = get_pages(pages, size);
    if (memory == MAP_FAILED) {
        return fail("memory", strerror(errno));
    }
    /* What another vCPU has in hand at the save would come back each time. */
    usleep(REST_US);
    result = snapshot_save(dev, &restores);
    if (result != SNAPSHOT_RES_DONE) {
        return fail("save", snapshot_strerror(result));
    }
    if (restores == 0) {
        printf("rate: begin %" PRIu32 "\n", limit);
        /* Text that has not left the machine would be rewound. */
        fflush(stdout);
        tcdrain(STDOUT_FILENO);
    }
    if (restores < limit) {
        for (size_t i = 0; i < pages; i++) {
            memory[i * size]++;
        }
        result = snapshot_restore(dev);
        return fail("restore", snapshot_strerror(result));
    }
    printf("rate: end %" PRIu32 "\n", restores);
    snapshot_query(dev, &regs);
    printf("rate: %.1f pages a restore; the last one: %" PRIu64 " pages, "
           "%.1f us inside QEMU\n",
           restores ? (double)regs.pages_sum / restores : 0, regs.pages,
           regs.ns / 1e3);
    snapshot_close(dev);
    return EXIT_SUCCESS;
}
