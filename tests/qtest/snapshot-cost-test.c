/*
 * Machine snapshots: what RAM engines cost.  No times are measured, but what
 * is looked at, and how much memory is used.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "snapshot-common.h"

/* A value of /proc/PID/smaps_rollup in bytes; -1 where there is no such file */
static int64_t memory_of(Snap *s, const char *what)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/smaps_rollup",
                                            (int)qtest_pid(s->qts));
    g_autofree char *text = NULL;
    const char *line;

    if (!g_file_get_contents(path, &text, NULL, NULL)) {
        return -1;
    }
    line = strstr(text, what);
    g_assert_nonnull(line);
    return g_ascii_strtoll(line + strlen(what), NULL, 10) * KiB;
}

/* A guest with so much RAM, which is hardly used */
static Snap *start_sparse(const char *engine, const char *size)
{
    return snap_start("-nodefaults -machine pc,memory-backend=ram -m %s "
                      "-object memory-backend-ram,id=ram,size=%s,reserve=off "
                      "-device snapshot,engine=%s", size, size, engine);
}

/* How many words of bitmaps does it take to find 16 pages? */
static int64_t words_for_pages(const char *engine, const char *size)
{
    Snap *s = start_sparse(engine, size);
    int64_t words = 0;

    snap_save(s);
    for (int n = 0; n < 3; n++) {
        for (int i = 0; i < 16; i++) {
            qtest_writeb(s->qts, i * 15 * MiB + 0x123, n + 1);
        }
        snap_restore(s);
        g_assert_cmpint(snap_query_int(s->qts, "pages-last"), ==, 16);
        words = snap_query_int(s->qts, "words-last");
    }
    snap_end(s);
    return words;
}

static void test_words(const void *engine)
{
    int64_t small = words_for_pages(engine, "256M");

    g_assert_cmpint(small, >=, 16);
    g_assert_cmpint(small, <, 150);
    /* Other blocks are elsewhere, with other words of the index above them. */
    g_assert_cmpint(ABS(words_for_pages(engine, "16G") - small), <=, 8);
}

/* RAM that was never used is not touched, by a save or by a restore. */
static void test_sparse(const void *engine)
{
    Snap *s = start_sparse(engine, "16G");
    int64_t before = memory_of(s, "Rss:");

    if (before < 0) {
        g_test_skip("this kernel has no smaps_rollup");
        snap_end(s);
        return;
    }
    snap_save(s);
    qtest_writeb(s->qts, 12 * GiB, 1);
    snap_restore(s);
    /* Firmware and bitmaps; a huge page */
    g_assert_cmpint(memory_of(s, "Rss:") - before, <, 16 * MiB);
    snap_end(s);
}

/* An idle copy is as large as the RAM in use. */
static void test_overhead(const void *unused)
{
    Snap *s = snap_start("-nodefaults -machine pc -m 256 "
                         "-device snapshot,engine=copy");
    int64_t before, after;

    qtest_memset(s->qts, 16 * MiB, 0x5a, 64 * MiB);
    /* In use, but zero */
    qtest_memset(s->qts, 128 * MiB, 0, 64 * MiB);
    before = memory_of(s, "Anonymous:");
    if (before < 0) {
        g_test_skip("this kernel has no smaps_rollup");
        snap_end(s);
        return;
    }
    snap_save(s);
    after = memory_of(s, "Anonymous:");
    g_assert_cmpint(after - before, >=, 62 * MiB);
    g_assert_cmpint(after - before, <, 72 * MiB);
    g_assert_cmpint(snap_command(s, SNAPSHOT_CMD_DISCARD), ==,
                    SNAPSHOT_RES_DONE);
    g_assert_cmpint(memory_of(s, "Anonymous:") - before, <, 8 * MiB);
    snap_end(s);
}

static char *directory;

static Snap *start_auto(void)
{
    g_autofree char *file = NULL;
    Snap *s;

    directory = g_dir_make_tmp("snapshot-XXXXXX", NULL);
    file = g_build_filename(directory, "ram", NULL);
    s = snap_start("-nodefaults -machine pc -m 96 "
                   "-device snapshot,verify=on,engine=auto,file=%s", file);

    /* With a file there is a choice; RAM that is zero would not be in it. */
    qtest_memset(s->qts, 0, 0x11, 96 * MiB);
    snap_save(s);
    g_assert_cmpint(snap_reg(s, SNAPSHOT_REG_ENGINE), ==,
                    SNAPSHOT_ENGINE_REMAP);
    return s;
}

static void end_auto(Snap *s)
{
    snap_end(s);
    g_assert_cmpint(rmdir(directory), ==, 0);
    g_clear_pointer(&directory, g_free);
}

/* Whichever way is chosen, RAM is that of the save; and each has its turn. */
static void test_choice(const void *unused)
{
    Snap *s = start_auto();
    int dropped = 0;

    for (int n = 0; n < 150; n++) {
        for (int i = 0; i < 20; i++) {
            qtest_memset(s->qts, i * 2 * MiB + n * 4 * KiB, n, 4 * KiB);
        }
        snap_restore(s);
        g_assert_cmpint(snap_query_int(s->qts, "pages-last"), ==, 20);
        dropped += snap_query_int(s->qts, "dropped-last") == 20;
    }
    g_assert_cmpint(dropped, >=, 2);
    g_assert_cmpint(dropped, <=, 148);
    end_auto(s);
}

/* Pages that were copied into are not kept without end. */
static void test_bounded(const void *unused)
{
    Snap *s = start_auto();
    int64_t before = memory_of(s, "Anonymous:");

    for (int n = 0; before >= 0 && n < 90; n++) {
        qtest_memset(s->qts, n * MiB, 0xaa, 1 * MiB);
        snap_restore(s);
        /* 16 MiB are kept, and one write may be on top; sanitizers add some. */
        g_assert_cmpint(memory_of(s, "Anonymous:") - before, <, 24 * MiB);
    }
    end_auto(s);
}

/* The other ways to change what RAM is, with pages that were copied into */
static void test_choice_levels(const void *unused)
{
    Snap *s = start_auto();

    for (int n = 0; n < 40; n++) {
        qtest_memset(s->qts, n * MiB, 0xaa, 1 * MiB);
        snap_restore(s);
    }
    qtest_memset(s->qts, 3 * MiB, 0x22, 20 * MiB);
    g_assert_cmpint(snap_command(s, SNAPSHOT_CMD_PUSH), ==, SNAPSHOT_RES_DONE);
    for (int n = 0; n < 90; n++) {
        qtest_memset(s->qts, n * MiB, 0xbb, 1 * MiB);
        snap_restore(s);
        g_assert_cmphex(qtest_readb(s->qts, 10 * MiB), ==, 0x22);
    }
    g_assert_cmpint(snap_command(s, SNAPSHOT_CMD_POP), ==, SNAPSHOT_RES_DONE);
    g_assert_cmphex(qtest_readb(s->qts, 10 * MiB), ==, 0x11);
    end_auto(s);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    snap_add_for_engines("cost/words", test_words);
    snap_add_for_engines("cost/sparse", test_sparse);
    qtest_add_data_func("/snapshot/cost/overhead", NULL, test_overhead);
    qtest_add_data_func("/snapshot/cost/choice", NULL, test_choice);
    qtest_add_data_func("/snapshot/cost/bounded", NULL, test_bounded);
    qtest_add_data_func("/snapshot/cost/choice-levels", NULL,
                        test_choice_levels);
    return g_test_run();
}
