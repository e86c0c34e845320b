/*
 * Machine snapshots: memory that restores leave alone.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "snapshot-common.h"

#define RAM_BASE (4 * MiB)
#define PAGE 4096
#define PAGES 64
#define MAX_RANGES 4096

static uint32_t exclude(const Snap *s, uint64_t at, uint64_t length)
{
    qpci_io_writeq(s->dev, s->bar, SNAPSHOT_REG_START, at);
    qpci_io_writeq(s->dev, s->bar, SNAPSHOT_REG_LENGTH, length);
    return snap_command(s, SNAPSHOT_CMD_EXCLUDE);
}

static void exclude_pages(const Snap *s, unsigned int page, unsigned int n)
{
    g_assert_cmpint(exclude(s, RAM_BASE + page * PAGE, n * PAGE), ==,
                    SNAPSHOT_RES_DONE);
}

static void include(const Snap *s)
{
    g_assert_cmpint(snap_command(s, SNAPSHOT_CMD_INCLUDE), ==,
                    SNAPSHOT_RES_DONE);
}

static void set(Snap *s, unsigned int page, unsigned int n, uint8_t value)
{
    qtest_memset(s->qts, RAM_BASE + page * PAGE, value, n * PAGE);
}

static uint8_t get(Snap *s, unsigned int page)
{
    return qtest_readb(s->qts, RAM_BASE + page * PAGE + PAGE - 1);
}

/* How many separate ranges are there? */
static size_t ranges(Snap *s)
{
    g_autoptr(QDict) info = snap_query(s->qts);

    return qlist_size(qdict_get_qlist(info, "excluded"));
}

static void test_counter(const void *engine)
{
    Snap *s = snap_start_engine(engine);

    exclude_pages(s, 2, 1);
    set(s, 0, 5, 1);
    snap_save(s);
    for (int n = 2; n < 10; n++) {
        /* One run of written pages, of which the middle is excluded */
        set(s, 0, 5, n);
        snap_restore(s);
        g_assert_cmpint(snap_reg64(s, SNAPSHOT_REG_PAGES), ==, 4);
        for (int page = 0; page < 5; page++) {
            g_assert_cmpint(get(s, page), ==, page == 2 ? n : 1);
        }
    }
    /* Nobody wrote since the last restore, and yet it goes back now. */
    include(s);
    snap_restore(s);
    g_assert_cmpint(get(s, 2), ==, 1);
    g_assert_cmpint(snap_reg64(s, SNAPSHOT_REG_PAGES), ==, 1);
    /* Excluding after the save is as good. */
    exclude_pages(s, 0, 1);
    set(s, 0, 2, 7);
    snap_restore(s);
    g_assert_cmpint(get(s, 0), ==, 7);
    g_assert_cmpint(get(s, 1), ==, 1);
    snap_end(s);
}

/* A save saves what is excluded, too, and the list outlives it. */
static void test_save(const void *engine)
{
    static const char *const engines[] = { "copy", "remap" };
    Snap *s = snap_start_engine(engine);

    for (size_t i = 0; i < ARRAY_SIZE(engines); i++) {
        exclude_pages(s, 1, 2);
        set(s, 0, 4, 1);
        snap_save(s);
        set(s, 0, 4, 2);
        snap_restore(s);
        qtest_qmp_assert_success(s->qts,
                                 "{ 'execute': 'x-snapshot-device-save',"
                                 "  'arguments': { 'engine': %s } }",
                                 engines[i]);
        set(s, 0, 4, 3);
        snap_restore(s);
        g_assert_cmpint(get(s, 0), ==, 1);
        g_assert_cmpint(get(s, 1), ==, 3);
        g_assert_cmpint(get(s, 2), ==, 3);
        include(s);
        snap_restore(s);
        g_assert_cmpint(get(s, 1), ==, 2);
        g_assert_cmpint(get(s, 2), ==, 2);
        g_assert_cmpint(get(s, 3), ==, 1);
    }
    snap_end(s);
}

static void test_levels(const void *engine)
{
    Snap *s = snap_start_engine(engine);

    exclude_pages(s, 0, 1);
    set(s, 0, 2, 1);
    snap_save(s);
    set(s, 0, 2, 2);
    snap_restore(s);
    g_assert_cmpint(snap_command(s, SNAPSHOT_CMD_PUSH), ==, SNAPSHOT_RES_DONE);
    set(s, 0, 2, 3);
    snap_restore(s);
    g_assert_cmpint(get(s, 0), ==, 3);
    g_assert_cmpint(get(s, 1), ==, 1);
    include(s);
    snap_restore(s);
    g_assert_cmpint(get(s, 0), ==, 2);
    exclude_pages(s, 0, 1);
    g_assert_cmpint(snap_command(s, SNAPSHOT_CMD_POP), ==, SNAPSHOT_RES_DONE);
    g_assert_cmpint(get(s, 0), ==, 2);
    include(s);
    snap_restore(s);
    g_assert_cmpint(get(s, 0), ==, 1);
    snap_end(s);
}

/* A discard empties the list; unplugging discards. */
static void test_discard(const void *engine)
{
    Snap *s = snap_start_engine(engine);

    exclude_pages(s, 0, 1);
    g_assert_cmpint(ranges(s), ==, 1);
    g_assert_cmpint(snap_command(s, SNAPSHOT_CMD_DISCARD), ==,
                    SNAPSHOT_RES_DONE);
    g_assert_cmpint(ranges(s), ==, 0);
    snap_save(s);
    set(s, 0, 1, 1);
    snap_restore(s);
    g_assert_cmpint(get(s, 0), ==, 0);
    snap_end(s);
}

static void test_bad_ranges(const void *engine)
{
    static const struct {
        uint64_t at, length;
    } bad[] = {
        { RAM_BASE, 0 },
        { RAM_BASE + 1, PAGE },
        { RAM_BASE, PAGE - 1 },
        { 0, ~0ull },
        { 0, ~0ull << 12 },
        { ~0ull << 12, PAGE },
        { ~0ull << 12, 2 * PAGE },
        { RAM_BASE, ~0ull << 12 },
        { RAM_BASE, 1ull << 63 },
        { 63 * MiB, 1 * MiB + PAGE },   /* RAM ends before that */
        { 128 * MiB, PAGE },            /* there is nothing */
        { 0xf0000, PAGE },              /* read-only */
        { 0xfffff000, PAGE },           /* firmware */
        { 0xfee00000, PAGE },           /* interrupt controller */
        { 1ull << 52, PAGE },
    };
    Snap *s = snap_start_engine(engine);

    snap_save(s);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        g_assert_cmpint(exclude(s, bad[i].at, bad[i].length), ==,
                        SNAPSHOT_RES_RANGE);
        g_assert_cmpint(ranges(s), ==, 0);
    }
    g_assert_cmpint(snap_reg(s, SNAPSHOT_REG_REJECTED), ==, ARRAY_SIZE(bad));
    set(s, 0, 1, 1);
    snap_restore(s);
    g_assert_cmpint(get(s, 0), ==, 0);
    snap_end(s);
}

/* Ranges join; there is a limit to those that do not. */
static void test_many(const void *engine)
{
    Snap *s = snap_start_engine(engine);
    g_autofree char *why = NULL;

    for (int i = 0; i < MAX_RANGES; i++) {
        g_assert_cmpint(exclude(s, RAM_BASE + i * 2 * PAGE, PAGE), ==,
                        SNAPSHOT_RES_DONE);
    }
    g_assert_cmpint(ranges(s), ==, MAX_RANGES);
    g_assert_cmpint(exclude(s, 1 * MiB, PAGE), ==, SNAPSHOT_RES_LIMIT);
    why = snap_qmp_error(s->qts, "{ 'execute': 'x-snapshot-device-exclude',"
                         " 'arguments': { 'start': 1048576,"
                         " 'length': 4096 } }");
    snap_assert_contains(why, "the limit is 4096");
    snap_save(s);
    set(s, 0, 8, 1);
    snap_restore(s);
    for (int page = 0; page < 8; page++) {
        g_assert_cmpint(get(s, page), ==, page & 1 ? 0 : 1);
    }
    /* What is there already, a neighbour, what fills gaps: no new ranges */
    exclude_pages(s, 0, 1);
    exclude_pages(s, 1, 1);
    g_assert_cmpint(ranges(s), ==, MAX_RANGES - 1);
    g_assert_cmpint(exclude(s, RAM_BASE, 2 * MAX_RANGES * PAGE), ==,
                    SNAPSHOT_RES_DONE);
    g_assert_cmpint(ranges(s), ==, 1);
    g_assert_cmpint(exclude(s, 1 * MiB, PAGE), ==, SNAPSHOT_RES_DONE);
    g_assert_cmpint(ranges(s), ==, 2);
    snap_end(s);
}

/* Any ranges and writes, compared with a model and verified by the device */
static void test_random(const void *engine)
{
    Snap *s = snap_start_engine(engine);
    GRand *rand = g_rand_new_with_seed(7);
    uint8_t now[PAGES] = { 0 }, saved[PAGES] = { 0 };
    bool excluded[PAGES] = { false };

    snap_save(s);
    for (int n = 0; n < 400; n++) {
        int page = g_rand_int_range(rand, 0, PAGES);
        int len = g_rand_int_range(rand, 1, MIN(9, PAGES - page + 1));

        switch (g_rand_int_range(rand, 0, 12)) {
        case 0:
            include(s);
            memset(excluded, false, sizeof(excluded));
            break;
        case 1:
        case 2:
            exclude_pages(s, page, len);
            memset(excluded + page, true, len);
            break;
        case 3:
            snap_save(s);
            memcpy(saved, now, sizeof(now));
            break;
        case 4:
        case 5:
        case 6:
            snap_restore(s);
            for (int i = 0; i < PAGES; i++) {
                now[i] = excluded[i] ? now[i] : saved[i];
            }
            break;
        default:
            set(s, page, len, n);
            memset(now + page, n, len);
        }
        for (int i = 0; i < PAGES; i++) {
            g_assert_cmpint(get(s, i), ==, now[i]);
        }
    }
    g_assert_cmpint(snap_reg(s, SNAPSHOT_REG_VERIFY), ==, 0);
    g_rand_free(rand);
    snap_end(s);
}

/* Values that a guest may write to find out what breaks */
static uint64_t hostile(GRand *rand)
{
    uint64_t value = 1ull << g_rand_int_range(rand, 0, 64);

    switch (g_rand_int_range(rand, 0, 5)) {
    case 0:
        return value;
    case 1:
        return value - PAGE;
    case 2:
        return -value;
    case 3:
        return (uint64_t)g_rand_int(rand) << 32 | g_rand_int(rand);
    default:
        return g_rand_int_range(rand, 0, 64 * MiB / PAGE) * PAGE;
    }
}

/* Any ranges at all: what is RAM is excluded, and all else is refused. */
static void test_hostile(const void *engine)
{
    Snap *s = snap_start_engine(engine);
    GRand *rand = g_rand_new_with_seed(3);
    unsigned int done = 0;

    for (int n = 0; n < 3000; n++) {
        uint64_t at = hostile(rand), length = hostile(rand);
        uint32_t result = exclude(s, at, length);

        if (result == SNAPSHOT_RES_DONE) {
            g_assert_cmpint(at % PAGE + length % PAGE, ==, 0);
            g_assert_cmpint(length, !=, 0);
            g_assert_cmpint(length, <=, 64 * MiB);
            done++;
        } else {
            g_assert_cmpint(result, ==, SNAPSHOT_RES_RANGE);
        }
        if (n % 500 == 0) {
            snap_save(s);
            snap_restore(s);
        }
    }
    g_assert_cmpint(done, >, 50);
    g_rand_free(rand);
    snap_end(s);
}

/* From the monitor; above the hole for devices; what the query says */
static void test_monitor(const void *engine)
{
    Snap *s = snap_start("-nodefaults -m 96 "
                         "-machine pc,max-ram-below-4g=64M "
                         "-device snapshot,verify=on,engine=%s",
                         (const char *)engine);
    g_autofree char *text = NULL;
    g_autofree char *why = NULL;

    snap_save(s);
    /* RAM below the hole ends at 64 MiB, and goes on at 4 GiB. */
    qtest_qmp_assert_success(s->qts,
                             "{ 'execute': 'x-snapshot-device-exclude',"
                             "  'arguments': { 'start': 4294971392,"
                             "                 'length': 8192 } }");
    why = qtest_hmp(s->qts, "snapshot_device_exclude 0x3fff000 0x2000");
    snap_assert_contains(why, "no RAM at guest-physical address 0x4000000");
    g_free(qtest_hmp(s->qts, "snapshot_device_exclude 0x3fff000 0x1000"));
    text = qtest_hmp(s->qts, "info snapshot-device");
    snap_assert_contains(text, "excluded: pc.ram offset 0x3fff000 "
                         "length 0x1000");
    snap_assert_contains(text, "excluded: pc.ram offset 0x4001000 "
                         "length 0x2000");
    qtest_memset(s->qts, 4 * GiB, 5, 4 * PAGE);
    snap_restore(s);
    g_assert_cmpint(qtest_readb(s->qts, 4 * GiB), ==, 0);
    g_assert_cmpint(qtest_readb(s->qts, 4 * GiB + PAGE), ==, 5);
    g_assert_cmpint(qtest_readb(s->qts, 4 * GiB + 2 * PAGE), ==, 5);
    g_assert_cmpint(qtest_readb(s->qts, 4 * GiB + 3 * PAGE), ==, 0);
    g_free(qtest_hmp(s->qts, "snapshot_device_include_all"));
    g_assert_cmpint(ranges(s), ==, 0);
    qtest_qmp_assert_success(s->qts,
                             "{ 'execute': 'x-snapshot-device-include-all' }");
    snap_restore(s);
    g_assert_cmpint(qtest_readb(s->qts, 4 * GiB + PAGE), ==, 0);
    snap_end(s);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    snap_add_for_engines("exclude/counter", test_counter);
    snap_add_for_engines("exclude/save", test_save);
    snap_add_for_engines("exclude/levels", test_levels);
    snap_add_for_engines("exclude/discard", test_discard);
    snap_add_for_engines("exclude/bad-ranges", test_bad_ranges);
    snap_add_for_engines("exclude/many", test_many);
    snap_add_for_engines("exclude/random", test_random);
    qtest_add_data_func("/snapshot/exclude/random/reference/copy",
                        "copy,x-reference=on", test_random);
    qtest_add_data_func("/snapshot/exclude/random/reference/remap",
                        "remap,x-reference=on", test_random);
    snap_add_for_engines("exclude/hostile", test_hostile);
    snap_add_for_engines("exclude/monitor", test_monitor);
    return g_test_run();
}
