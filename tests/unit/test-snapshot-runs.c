/*
 * Unit test: runs of set bits in a word, against a bit by bit oracle.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "migration/snapshot/runs.h"

static const unsigned long words[] = {
    0, 1, 2, ~0ul, ~0ul << 1, ~0ul >> 1, 1ul << (BITS_PER_LONG - 1),
    0x00ff00ff, 0x5555, 1ul << (BITS_PER_LONG - 1) | 1,
};

static bool is_set(unsigned long word, unsigned int bit)
{
    return word >> bit & 1;
}

/* Only bits in the range are taken, and all of them. */
static void check_take(unsigned long before, unsigned int from,
                       unsigned int to)
{
    unsigned long word = before;
    unsigned long taken = snapshot_take_word(&word, from, to);

    for (unsigned int i = 0; i < BITS_PER_LONG; i++) {
        bool inside = i >= from && i < to;

        g_assert_true(is_set(taken, i) == (inside && is_set(before, i)));
        g_assert_true(is_set(word, i) == (!inside && is_set(before, i)));
    }
}

static void test_take(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        for (unsigned int from = 0; from < BITS_PER_LONG; from++) {
            for (unsigned int to = from + 1; to <= BITS_PER_LONG; to++) {
                check_take(words[i], from, to);
            }
        }
    }
}

/* The runs come in order, as long as can be, and have all bits. */
static void check_runs(unsigned long word)
{
    unsigned long left = word, seen = 0;
    unsigned int next = 0;

    while (left) {
        SnapshotRun run = snapshot_take_run(&left);

        g_assert_cmpuint(run.from, <, run.to);
        g_assert_cmpuint(run.to, <=, BITS_PER_LONG);
        g_assert_cmpuint(run.from, >=, next);
        g_assert_false(run.from && is_set(word, run.from - 1));
        for (next = run.from; next < run.to; next++) {
            seen |= 1ul << next;
        }
        g_assert_false(next < BITS_PER_LONG && is_set(word, next));
    }
    g_assert_cmphex(seen, ==, word);
}

static void test_runs(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        check_runs(words[i]);
    }
    for (int round = 0; round < 20000; round++) {
        unsigned long word = 0;
        int density = g_test_rand_int_range(1, 8);

        for (unsigned int i = 0; i < BITS_PER_LONG; i++) {
            if (g_test_rand_int_range(0, 8) < density) {
                word |= 1ul << i;
            }
        }
        check_runs(word);
    }
}

static void test_join(void)
{
    SnapshotRun run = { 3, BITS_PER_LONG };

    g_assert_false(snapshot_join_runs(&run, (SnapshotRun) {
        BITS_PER_LONG + 1, BITS_PER_LONG + 2 }));
    g_assert_cmpuint(run.to, ==, BITS_PER_LONG);
    g_assert_true(snapshot_join_runs(&run, (SnapshotRun) {
        BITS_PER_LONG, BITS_PER_LONG + 5 }));
    g_assert_cmpuint(run.from, ==, 3);
    g_assert_cmpuint(run.to, ==, BITS_PER_LONG + 5);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/snapshot/runs/take", test_take);
    g_test_add_func("/snapshot/runs/runs", test_runs);
    g_test_add_func("/snapshot/runs/join", test_join);
    return g_test_run();
}
