/*
 * Coverage in a guest: the runtime of the compiler's instrumentation.
 *
 * The counters of the map are the fuzzer's own: nothing is copied, unless the
 * compiler wants counters in the program (inline-8bit-counters).  Known are
 *
 *   clang -fsanitize-coverage=trace-pc-guard     a counter for each edge
 *   afl-clang-fast                               the same, done inline
 *   clang -fsanitize=fuzzer-no-link              counters in the program
 *   gcc, clang -fsanitize-coverage=trace-pc      pairs of blocks, hashed
 *
 * This file must not be compiled with any of them.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "../lib/edges.h"
#include "harness.h"
#include "sancov.h"

/* Instrumented modules; the objects of a static program are one. */
#define MODULES_MAX     64

/* What is counted before there is a map goes here. */
#define NOWHERE_SIZE    (8u << 20)

typedef struct Guards {
    uint32_t *start, *stop;
} Guards;

typedef struct Counters {
    uint8_t *start;
    size_t size;
} Counters;

static Guards guards[MODULES_MAX];
static Counters counters[MODULES_MAX];
static unsigned int n_guards, n_counters;

static uint8_t first_counter[64];
static uint8_t *map = first_counter;
static uint32_t map_size = sizeof(first_counter);
static uint32_t used = 1;           /* counters given out; 0 is for nobody */
static uint32_t collect_at;         /* those in the program begin here */
static uint64_t previous;           /* trace-pc: the block before */

/* afl-clang-fast's code counts by this pointer. */
uint8_t *__afl_area_ptr = first_counter;

static void set_map(uint8_t *to, uint32_t size)
{
    map = to;
    map_size = size;
    __afl_area_ptr = to;
}

static void have_somewhere(void)
{
    void *nowhere;

    if (map == first_counter) {
        nowhere = mmap(NULL, NOWHERE_SIZE, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (nowhere != MAP_FAILED) {
            set_map(nowhere, NOWHERE_SIZE);
        }
    }
}

/* Counter number @n of all, in a map that may have fewer */
static uint32_t fold(uint32_t n)
{
    return n < map_size ? n : 1 + n % (map_size - 1);
}

static void number_guards(const Guards *g)
{
    for (uint32_t *guard = g->start; guard < g->stop; guard++) {
        *guard = fold(used++);
    }
}

void __sanitizer_cov_trace_pc_guard_init(uint32_t *start, uint32_t *stop)
{
    if (start == stop || *start || n_guards == MODULES_MAX) {
        return;
    }
    have_somewhere();
    guards[n_guards] = (Guards) { start, stop };
    number_guards(&guards[n_guards++]);
}

void __sanitizer_cov_trace_pc_guard(uint32_t *guard)
{
    edge_count(map, *guard);
}

void __sanitizer_cov_trace_pc(void)
{
    edge_count_hashed(map, map_size, &previous,
                      (uintptr_t)__builtin_return_address(0));
}

void __sanitizer_cov_8bit_counters_init(uint8_t *start, uint8_t *stop)
{
    if (start != stop && n_counters < MODULES_MAX) {
        counters[n_counters++] = (Counters) { start, stop - start };
    }
}

void coverage_collect(void)
{
    uint32_t at = collect_at;

    for (unsigned int i = 0; i < n_counters; i++) {
        for (size_t j = 0; j < counters[i].size; j++) {
            map[fold(at++)] |= counters[i].start[j];
        }
        memset(counters[i].start, 0, counters[i].size);
    }
}

void coverage_attach(SnapRuns *runs)
{
    uint8_t *nowhere = map == first_counter ? NULL : map;
    size_t size;
    uint8_t *to = snap_coverage(runs, &size);

    set_map(to, size);
    used = 1;
    for (unsigned int i = 0; i < n_guards; i++) {
        number_guards(&guards[i]);
    }
    collect_at = used;
    for (unsigned int i = 0; i < n_counters; i++) {
        used += counters[i].size;
        memset(counters[i].start, 0, counters[i].size);
    }
    previous = 0;
    /* Without numbered counters, trace-pc uses all of the map. */
    snap_coverage_used(runs, used > 1 && used < size ? used : 0);
    if (nowhere) {
        munmap(nowhere, NOWHERE_SIZE);
    }
}

/*
 * What the flags above make programs call besides; nothing is done with it.
 * Comparisons of integers are in cmplog.c.
 */

void __sanitizer_cov_pcs_init(const uintptr_t *start, const uintptr_t *stop)
{
    (void)start;
    (void)stop;
}

#define IGNORE_2(name, type) \
    void name(type a, type b) \
    { \
        (void)a; \
        (void)b; \
    }

#define IGNORE_1(name, type) \
    void name(type a) \
    { \
        (void)a; \
    }

IGNORE_2(__sanitizer_cov_trace_cmpf, float)
IGNORE_2(__sanitizer_cov_trace_cmpd, double)
IGNORE_1(__sanitizer_cov_trace_div4, uint32_t)
IGNORE_1(__sanitizer_cov_trace_div8, uint64_t)
IGNORE_1(__sanitizer_cov_trace_gep, uintptr_t)
IGNORE_1(__sanitizer_cov_trace_pc_indir, uintptr_t)

/* inline-8bit-counters with stack-depth */
__thread uintptr_t __sancov_lowest_stack;
