/*
 * Unit test: the index of the dirty bitmap finds what was marked, whoever
 * marks meanwhile, and looks at no more than it has to.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "qemu/cutils.h"
#include "qemu/rcu.h"
#include "qemu/thread.h"
#include "qemu/units.h"
#include "migration/snapshot-dirty.h"

#define PAGE (4 * KiB)

/* Pages of the machine with the given amount of RAM; words of its bitmap */
#define PAGES(bytes) ((unsigned long)((bytes) / PAGE))
#define WORDS(bytes) (PAGES(bytes) / BITS_PER_LONG)

static uint64_t looked;

static void start(uint64_t bytes)
{
    snapshot_dirty_start(PAGES(bytes));
}

/* Take everything.  Returns how many words were marked. */
static unsigned long take_all(unsigned long words)
{
    unsigned long at = 0, n = 0;

    while ((at = snapshot_dirty_take(at, words, &looked)) < words) {
        at++;
        n++;
    }
    return n;
}

static void note(uint64_t address, uint64_t len)
{
    RCU_READ_LOCK_GUARD();
    snapshot_dirty_note(PAGES(address), PAGES(address + len));
}

/* At first all is marked, and then nothing. */
static void test_all(void)
{
    unsigned long words = WORDS(3 * GiB) + 1;

    start(3 * GiB + PAGE);
    g_assert_cmpuint(take_all(words), ==, words);
    g_assert_cmpuint(take_all(words), ==, 0);
    snapshot_dirty_mark_all();
    g_assert_cmpuint(take_all(words), ==, words);
    snapshot_dirty_stop();
}

/* Without an index, notes go nowhere. */
static void test_off(void)
{
    g_assert_null(snapshot_dirty_index);
    note(5 * MiB, 3 * MiB);
}

/* Memory that was plugged later is always looked at. */
static void test_plugged(void)
{
    unsigned long words = WORDS(64 * MiB), more = words + 5;

    start(64 * MiB);
    g_assert_cmpuint(take_all(more), ==, more);
    g_assert_cmpuint(take_all(more), ==, 5);
    note(63 * MiB, 2 * MiB);
    g_assert_cmpuint(take_all(words), ==, 4);
    snapshot_dirty_stop();
}

/* Random marks and random ranges, against a plain bitmap */
static void test_random(void)
{
    unsigned long words = WORDS(6 * GiB);
    g_autofree unsigned long *expect = bitmap_new(words);

    start(6 * GiB);
    take_all(words);
    for (int round = 0; round < 2000; round++) {
        int from = g_test_rand_int_range(0, words);
        int end = g_test_rand_int_range(from, words + 1);
        unsigned long at = from, next;

        for (int i = 0; i < 10; i++) {
            int word = g_test_rand_int_range(0, words - 2);
            int len = g_test_rand_int_range(1, 3);

            snapshot_dirty_note(word * BITS_PER_LONG,
                                (word + len) * BITS_PER_LONG);
            bitmap_set(expect, word, len);
        }
        while ((next = find_next_bit(expect, end, at)) < end) {
            at = snapshot_dirty_take(at, end, &looked);
            g_assert_cmpuint(at, ==, next);
            clear_bit(at++, expect);
        }
        g_assert_cmpuint(snapshot_dirty_take(at, end, &looked), ==, end);
    }
    snapshot_dirty_stop();
}

/* What it takes to find a few scattered pages does not depend on RAM size. */
static uint64_t cost_of_pages(uint64_t bytes)
{
    unsigned long words = WORDS(bytes);
    uint64_t before;

    start(bytes);
    take_all(words);
    take_all(words);
    before = looked;
    for (int i = 0; i < 16; i++) {
        note(i * 15 * MiB, PAGE);
    }
    g_assert_cmpuint(take_all(words), ==, 16);
    snapshot_dirty_stop();
    return looked - before;
}

static void test_cost(void)
{
    uint64_t small = cost_of_pages(256 * MiB);

    g_assert_cmpuint(small, <, 100);
    /* Where words of the index end inside of RAM, it is one word more. */
    g_assert_cmpuint(cost_of_pages(16 * GiB), <=, small + 1);
    g_assert_cmpuint(cost_of_pages(64 * GiB), ==, cost_of_pages(16 * GiB));
}

/*
 * Threads set bits while another one collects them.  Each thread has bits of
 * its own, and sets one again only when it was collected: if a mark is ever
 * lost, the test does not end.
 */
#define THREADS 3
#define RACE_BYTES (1 * GiB)
#define TURNS 20000

static unsigned long bitmap[WORDS(RACE_BYTES)];
static int finished;

static void *writer(void *opaque)
{
    unsigned long mask = 1ul << GPOINTER_TO_INT(opaque);
    uint32_t random = GPOINTER_TO_INT(opaque) + 1;

    rcu_register_thread();
    for (int turn = 0; turn < TURNS; turn++) {
        unsigned long word;

        random = random * 1664525 + 1013904223;
        /* few words, near each other and far apart */
        word = (random >> 20) % 8 +
               (random >> 28 & 1) * (ARRAY_SIZE(bitmap) / 2);
        while (qatomic_read(&bitmap[word]) & mask) {
            g_thread_yield();
        }
        qatomic_or(&bitmap[word], mask);
        WITH_RCU_READ_LOCK_GUARD() {
            snapshot_dirty_note(word * BITS_PER_LONG,
                                word * BITS_PER_LONG + 1);
        }
    }
    qatomic_inc(&finished);
    rcu_unregister_thread();
    return NULL;
}

static unsigned long collect(void)
{
    unsigned long at = 0, n = 0;

    while ((at = snapshot_dirty_take(at, ARRAY_SIZE(bitmap), &looked)) <
           ARRAY_SIZE(bitmap)) {
        n += ctpopl(qatomic_xchg(&bitmap[at], 0));
        at++;
    }
    return n;
}

static void test_race(void)
{
    QemuThread threads[THREADS];
    unsigned long seen = 0;

    start(RACE_BYTES);
    collect();
    for (int i = 0; i < THREADS; i++) {
        qemu_thread_create(&threads[i], "writer", writer, GINT_TO_POINTER(i),
                           QEMU_THREAD_JOINABLE);
    }
    while (qatomic_read(&finished) < THREADS) {
        seen += collect();
        g_thread_yield();
    }
    for (int i = 0; i < THREADS; i++) {
        qemu_thread_join(&threads[i]);
    }
    seen += collect();
    g_assert_cmpuint(seen, ==, THREADS * TURNS);
    g_assert_true(buffer_is_zero(bitmap, sizeof(bitmap)));
    snapshot_dirty_stop();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/snapshot/dirty/off", test_off);
    g_test_add_func("/snapshot/dirty/all", test_all);
    g_test_add_func("/snapshot/dirty/plugged", test_plugged);
    g_test_add_func("/snapshot/dirty/random", test_random);
    g_test_add_func("/snapshot/dirty/cost", test_cost);
    g_test_add_func("/snapshot/dirty/race", test_race);
    return g_test_run();
}
