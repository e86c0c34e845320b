/*
 * libsnapshot: what a kernel with KCOV tells of itself.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef LIBSNAPSHOT_KCOV_H
#define LIBSNAPSHOT_KCOV_H

#include "snapshot-cmplog.h"

/*
 * The kernel's code on behalf of one thread: addresses of blocks in the order
 * they were executed in, or comparisons, which the kernel writes to a buffer.
 */
typedef struct SnapKcov {
    int fd;
    uint64_t *buffer;           /* how many, and then what; NULL: not in use */
    size_t words;               /* of the buffer */
    bool comparisons;           /* and not addresses */
} SnapKcov;

/*
 * Have the kernel trace the calling thread from now on: what it compares, if
 * @comparisons and if it can do that.  Returns 0, or -1 and errno: ENOTSUP if
 * it has no KCOV, EBUSY if somebody else traces the thread.
 */
int kcov_open(SnapKcov *kcov, bool comparisons);

/* Forget what was traced until now: a run begins. */
void kcov_begin(SnapKcov *kcov);

/*
 * Count edges of what was traced since in @map, of @size bytes, and note
 * comparisons in @log.
 */
void kcov_collect(SnapKcov *kcov, uint8_t *map, uint32_t size,
                  const SnapCmplog *log);

/* The thread is traced no more. */
void kcov_close(SnapKcov *kcov);

#endif
