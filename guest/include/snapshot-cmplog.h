/*
 * libsnapshot: comparisons, for a fuzzer that wants them (afl-fuzz -c).
 *
 *     SnapCmplog log;
 *
 *     if (snap_cmplog_open(&log, runs)) {
 *         snap_cmplog_ints(&log, place, found, wanted, sizeof(found), 0);
 *     }
 *
 * The fuzzer looks for one operand in its input and tries the other there.
 * Harnesses that a compiler has instrumented need none of this: see
 * guest/fuzz/README.md.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef SNAPSHOT_CMPLOG_H
#define SNAPSHOT_CMPLOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "snapshot-run.h"

/* On two lines, since checkpatch.pl takes this macro for an architecture's */
#if defined( \
    __cplusplus)
extern "C" {
#endif

/* Where comparisons go; valid as long as the device is open */
typedef struct SnapCmplog {
    uint8_t *map;
    unsigned int layout;        /* SNAPSHOT_CMPLOG_... */
} SnapCmplog;

/* An integer of any size that comparisons have; on two lines, as above */
#if defined( \
    __SIZEOF_INT128__)
__extension__ typedef unsigned __int128 SnapInt;
#else
typedef uint64_t SnapInt;
#endif

/*
 * Fill in @log and return true if the fuzzer wants the comparisons of these
 * runs.  False: it does not, which is so in most of them.
 */
bool snap_cmplog_open(SnapCmplog *log, SnapRuns *runs);

/*
 * Note that the code at @place (an address, or another number that is the same
 * in each run) has compared the integers @a and @b of @size bytes, 1 to 16.
 * @attribute is what afl-clang-fast says about it, or 0.  The last 32
 * comparisons of each place are kept.
 */
void snap_cmplog_ints(const SnapCmplog *log, uintptr_t place, SnapInt a,
                      SnapInt b, unsigned int size, unsigned int attribute);

/*
 * The same for arrays of bytes, of which up to snap_cmplog_longest() count; at
 * least two.  @text: they are strings, whose terminators are counted.
 */
void snap_cmplog_bytes(const SnapCmplog *log, uintptr_t place, const void *a,
                       size_t a_size, const void *b, size_t b_size, bool text);

/* How many bytes of an array there is room for */
size_t snap_cmplog_longest(const SnapCmplog *log);

#if defined( \
    __cplusplus)
}
#endif

#endif
