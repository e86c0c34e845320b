/*
 * Unit test: buckets of the latency histogram.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "migration/snapshot/histogram.h"

#define LAST_BUCKET (SNAPSHOT_HISTOGRAM_BUCKETS - 1)

/* Each bucket begins right after the one before it, and is narrow enough. */
static void test_buckets(void)
{
    uint64_t first = 0;

    for (unsigned int i = 0; i <= LAST_BUCKET; i++) {
        uint64_t last = snapshot_histogram_last(i);

        g_assert_cmpuint(last, >=, first);
        g_assert_cmpuint(snapshot_histogram_bucket(first), ==, i);
        g_assert_cmpuint(snapshot_histogram_bucket(last), ==, i);
        g_assert_cmpuint(last - first, <=, first / SNAPSHOT_HISTOGRAM_STEPS);
        first = last + 1;
    }
    /* The last one ends where numbers do. */
    g_assert_cmpuint(first, ==, 0);
}

static void test_small(void)
{
    for (uint64_t ns = 0; ns < 2 * SNAPSHOT_HISTOGRAM_STEPS; ns++) {
        g_assert_cmpuint(snapshot_histogram_bucket(ns), ==, ns);
        g_assert_cmpuint(snapshot_histogram_last(ns), ==, ns);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/snapshot/histogram/buckets", test_buckets);
    g_test_add_func("/snapshot/histogram/small", test_small);
    return g_test_run();
}
