/*
 * Unit test: runs of set bits in a dirty bitmap, against a bit by bit oracle.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "migration/snapshot/runs.h"

#define BITS (5 * BITS_PER_LONG + 7)

/* Take all runs of [from, end) and compare with what was set. */
static void check(const unsigned long *before, unsigned long from,
                  unsigned long end)
{
    g_autofree unsigned long *map = bitmap_new(BITS);
    unsigned long next = from;      /* no bit below this is still to come */
    unsigned long at = from, len;

    bitmap_copy(map, before, BITS);
    while ((len = snapshot_take_run(map, end, &at))) {
        g_assert_cmpuint(at, >=, next);
        for (; next < at; next++) {
            g_assert_false(test_bit(next, before));
        }
        g_assert_cmpuint(at + len, <=, end);
        for (; next < at + len; next++) {
            g_assert_true(test_bit(next, before));
        }
        /* A run is as long as can be. */
        g_assert_true(next == end || !test_bit(next, before));
        at += len;
    }
    g_assert_cmpuint(at, ==, end);
    for (unsigned long i = 0; i < BITS; i++) {
        bool inside = i >= from && i < end;

        g_assert_true(test_bit(i, map) == (!inside && test_bit(i, before)));
    }
}

static void test_none(void)
{
    g_autofree unsigned long *map = bitmap_new(BITS);

    check(map, 0, BITS);
    check(map, 3, 3);
}

static void test_all(void)
{
    g_autofree unsigned long *map = bitmap_new(BITS);
    unsigned long at = 0;

    bitmap_set(map, 0, BITS);
    check(map, 0, BITS);
    check(map, 1, BITS_PER_LONG);
    g_assert_cmpuint(snapshot_take_run(map, BITS, &at), ==, BITS);
    g_assert_cmpuint(at, ==, 0);
}

static void test_edges(void)
{
    g_autofree unsigned long *map = bitmap_new(BITS);

    set_bit(0, map);
    set_bit(BITS_PER_LONG - 1, map);
    set_bit(BITS_PER_LONG, map);
    set_bit(BITS - 1, map);
    for (unsigned long from = 0; from <= BITS; from++) {
        check(map, from, BITS);
        check(map, 0, from);
    }
}

static void test_random(void)
{
    for (int round = 0; round < 2000; round++) {
        g_autofree unsigned long *map = bitmap_new(BITS);
        int density = g_test_rand_int_range(1, 8);
        unsigned long from = g_test_rand_int_range(0, BITS);

        for (unsigned long i = 0; i < BITS; i++) {
            if (g_test_rand_int_range(0, 8) < density) {
                set_bit(i, map);
            }
        }
        check(map, from, g_test_rand_int_range(from, BITS + 1));
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/snapshot/runs/none", test_none);
    g_test_add_func("/snapshot/runs/all", test_all);
    g_test_add_func("/snapshot/runs/edges", test_edges);
    g_test_add_func("/snapshot/runs/random", test_random);
    return g_test_run();
}
