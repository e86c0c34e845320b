/*
 * libsnapshot: what a kernel with KCOV tells of itself.
 *
 * The buffer is the kernel's memory.  It is put back by restores like all
 * other: so each run begins with the same one, and what that costs is one page
 * for 512 addresses.  What counts is folded into the fuzzer's map at the end of
 * the run, before the machine goes back; a run that the guest does not live to
 * see the end of has none.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kcov.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <unistd.h>

#include "edges.h"
#include "kcov.h"

#define DEBUGFS         "/sys/kernel/debug"
#define KCOV            DEBUGFS "/kcov"

/* 2 MiB: what is traced beyond its end is lost, and only that. */
#define BUFFER_WORDS    (256ul << 10)

/* Words of a comparison: kind, two operands, address */
#define CMP_WORDS       4

static int open_file(void)
{
    int fd = open(KCOV, O_RDWR | O_CLOEXEC);

    if (fd < 0 && errno == ENOENT) {
        /* It may be mounted already, and have no such file. */
        mount("debugfs", DEBUGFS, "debugfs", 0, NULL);
        fd = open(KCOV, O_RDWR | O_CLOEXEC);
    }
    if (fd < 0 && errno == ENOENT) {
        errno = ENOTSUP;
    }
    return fd;
}

static int map_buffer(SnapKcov *kcov)
{
    void *buffer;

    if (ioctl(kcov->fd, KCOV_INIT_TRACE, BUFFER_WORDS) < 0) {
        return -1;
    }
    buffer = mmap(NULL, BUFFER_WORDS * sizeof(*kcov->buffer),
                  PROT_READ | PROT_WRITE, MAP_SHARED, kcov->fd, 0);
    if (buffer == MAP_FAILED) {
        return -1;
    }
    kcov->buffer = buffer;
    kcov->words = BUFFER_WORDS;
    return 0;
}

int kcov_open(SnapKcov *kcov, bool comparisons)
{
    int error;

    *kcov = (SnapKcov) { .fd = open_file() };
    if (kcov->fd >= 0 && map_buffer(kcov) == 0) {
        /* Not every kernel with KCOV traces comparisons. */
        kcov->comparisons = comparisons &&
                            ioctl(kcov->fd, KCOV_ENABLE, KCOV_TRACE_CMP) == 0;
        if (kcov->comparisons ||
            ioctl(kcov->fd, KCOV_ENABLE, KCOV_TRACE_PC) == 0) {
            return 0;
        }
    }
    error = errno;
    kcov_close(kcov);
    errno = error;
    return -1;
}

void kcov_begin(SnapKcov *kcov)
{
    __atomic_store_n(&kcov->buffer[0], 0, __ATOMIC_RELAXED);
}

/* One comparison; its address stands for the block that it is in. */
static void note_comparison(const uint64_t *cmp, const SnapCmplog *log)
{
    unsigned int size = 1u << ((cmp[0] & KCOV_CMP_MASK) >> 1);

    if (size > 1 && cmp[1] != cmp[2]) {
        snap_cmplog_ints(log, cmp[3], cmp[1], cmp[2], size, 0);
    }
}

void kcov_collect(SnapKcov *kcov, uint8_t *map, uint32_t size,
                  const SnapCmplog *log)
{
    size_t count = __atomic_load_n(&kcov->buffer[0], __ATOMIC_RELAXED);
    size_t words = kcov->comparisons ? CMP_WORDS : 1;
    size_t most = (kcov->words - 1) / words;
    uint64_t previous = 0;

    for (size_t i = 0; i < count && i < most; i++) {
        const uint64_t *entry = kcov->buffer + 1 + i * words;

        if (kcov->comparisons) {
            note_comparison(entry, log);
        }
        edge_count_hashed(map, size, &previous, entry[words - 1]);
    }
    kcov_begin(kcov);
}

void kcov_close(SnapKcov *kcov)
{
    if (kcov->buffer) {
        ioctl(kcov->fd, KCOV_DISABLE, 0);
        munmap(kcov->buffer, kcov->words * sizeof(*kcov->buffer));
        kcov->buffer = NULL;
    }
    if (kcov->fd >= 0) {
        close(kcov->fd);
        kcov->fd = -1;
    }
}
