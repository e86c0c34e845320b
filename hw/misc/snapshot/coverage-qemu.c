/*
 * Device "snapshot": edges of QEMU's own code in the coverage map.
 *
 * scripts/instrument-qemu compiles some files of QEMU, those of a device that
 * is to be tested, with -fsanitize-coverage=trace-pc.  Their code then calls
 * the function at the end at the beginning of each basic block.  It is in any
 * QEMU, where nothing calls it.
 *
 * An edge is a pair of blocks that a thread has executed one after the other,
 * in the same run.  Its place in the map is a hash of their addresses, relative
 * to where QEMU was loaded, so that it is the same in each process.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/atomic.h"
#include "coverage-qemu.h"

static uint8_t *map;
static uint32_t map_size;
static bool called;             /* ever: there is instrumented code */
static bool counting;
static uint32_t run;            /* number of the present one */

/* The block that this thread has executed last, if that was in this run */
static __thread struct {
    uint32_t run;
    uint32_t block;
} previous;

bool snapshot_coverage_qemu_possible(Error **errp)
{
    /* If any file is instrumented, so is what registers its types. */
    if (!called) {
        error_setg(errp, "nothing in this QEMU is compiled for coverage=qemu; "
                   "start one that scripts/instrument-qemu has made");
    }
    return called;
}

void snapshot_coverage_qemu_setup(uint8_t *to, uint32_t size)
{
    qatomic_set(&counting, false);
    map = to;
    map_size = size;
}

bool snapshot_coverage_qemu_available(void)
{
    return map;
}

void snapshot_coverage_qemu_begin(void)
{
    run++;
    qatomic_set(&counting, map);
}

void snapshot_coverage_qemu_end(void)
{
    qatomic_set(&counting, false);
}

static void count(uintptr_t address)
{
    uint32_t block = address - (uintptr_t)&__sanitizer_cov_trace_pc;
    uint8_t *counter;

    /* Fibonacci hashing: the upper bits depend on all of the address. */
    block = (block * 0x9e3779b97f4a7c15ull) >> 32;
    if (previous.run != run) {
        previous.run = run;
        previous.block = 0;
    }
    counter = &map[(block ^ previous.block) % map_size];
    *counter += 1 + (*counter == UINT8_MAX);    /* skips zero */
    previous.block = block >> 1;
}

void __sanitizer_cov_trace_pc(void)
{
    called = true;
    if (qatomic_read(&counting)) {
        count((uintptr_t)__builtin_return_address(0));
    }
}
