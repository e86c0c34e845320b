/*
 * Machine snapshots: the file of engine=remap, and hosts that are short of
 * memory or file space.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <sys/resource.h>
#include <glib/gstdio.h>
#include "qobject/qdict.h"
#include "snapshot-common.h"

#define PC "-nodefaults -machine pc -m 64 -device snapshot,verify=on"

/* A place in RAM whose content is told apart */
#define SPOT (20 * MiB)

static char *directory;

static char *in_directory(const char *name)
{
    return g_build_filename(directory, name, NULL);
}

/* How many files there are: failures must not leave any behind. */
static int files(void)
{
    GDir *dir = g_dir_open(directory, 0, NULL);
    int n = 0;

    g_assert_nonnull(dir);
    while (g_dir_read_name(dir)) {
        n++;
    }
    g_dir_close(dir);
    return n;
}

static void test_life(void)
{
    g_autofree char *file = in_directory("ram");
    Snap *s = snap_start(PC ",engine=remap,file=%s", file);
    struct stat first, second;

    qtest_writel(s->qts, SPOT, 1);
    snap_save(s);
    g_assert_cmpint(stat(file, &first), ==, 0);
    g_assert_true(S_ISREG(first.st_mode));
    g_assert_cmphex(first.st_mode & 07777, ==, 0600);
    /* RAM that is all zero takes no room. */
    g_assert_cmpint(first.st_size, <, snap_reg64(s, SNAPSHOT_REG_RAM_BYTES));
    qtest_writel(s->qts, SPOT, 2);
    snap_restore(s);
    g_assert_cmpint(qtest_readl(s->qts, SPOT), ==, 1);

    /* The next save has a file of its own, in the same place. */
    qtest_writel(s->qts, SPOT, 3);
    snap_save(s);
    g_assert_cmpint(stat(file, &second), ==, 0);
    g_assert_cmpint(second.st_ino, !=, first.st_ino);
    qtest_writel(s->qts, SPOT, 4);
    snap_restore(s);
    g_assert_cmpint(qtest_readl(s->qts, SPOT), ==, 3);
    g_assert_cmpint(files(), ==, 1);

    qtest_writel(s->qts, SPOT, 5);
    g_assert_cmpint(snap_command(s, SNAPSHOT_CMD_DISCARD), ==,
                    SNAPSHOT_RES_DONE);
    g_assert_cmpint(files(), ==, 0);
    g_assert_cmpint(qtest_readl(s->qts, SPOT), ==, 5);
    snap_end(s);
}

/* A file that was there is replaced, not written to. */
static void test_replaces(void)
{
    g_autofree char *file = in_directory("ram");
    g_autofree char *other = in_directory("other");
    g_autofree char *text = NULL;
    Snap *s;

    g_assert_true(g_file_set_contents(file, "mine", -1, NULL));
    g_assert_cmpint(link(file, other), ==, 0);
    s = snap_start(PC ",engine=remap,file=%s", file);
    snap_save(s);
    snap_restore(s);
    g_assert_true(g_file_get_contents(other, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, "mine");
    snap_end(s);
    unlink(file);
    unlink(other);
}

static void test_gone_at_exit(void)
{
    g_autofree char *file = in_directory("ram");
    Snap *s = snap_start(PC ",engine=remap,file=%s", file);

    snap_save(s);
    g_assert_cmpint(files(), ==, 1);
    snap_end(s);
    g_assert_cmpint(files(), ==, 0);
}

/* The machine is as it was, and so is the snapshot: SPOT goes back to 1. */
static void check_unharmed(Snap *s)
{
    g_assert_cmpint(qtest_readl(s->qts, SPOT), ==, 2);
    qtest_writel(s->qts, SPOT, 3);
    snap_restore(s);
    g_assert_cmpint(qtest_readl(s->qts, SPOT), ==, 1);
}

/* Saves to places that will not do, with a snapshot that must survive it */
static void test_bad_place(void)
{
    g_autofree char *missing = in_directory("missing/ram");
    g_autofree char *link_name = in_directory("link");
    const struct {
        const char *file;
        const char *why;
    } bad[] = {
        { missing, "No such file or directory" },
        { directory, "not a regular file" },
        { "/dev/null", "not a regular file" },
        { "/dev/full", "not a regular file" },
        { link_name, "not a regular file" },
    };
    g_autofree char *file = in_directory("ram");
    Snap *s = snap_start(PC ",engine=remap,file=%s", file);

    g_assert_cmpint(symlink(file, link_name), ==, 0);
    qtest_writel(s->qts, SPOT, 1);
    snap_save(s);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        g_autofree char *why = NULL;

        qtest_writel(s->qts, SPOT, 2);
        why = snap_qmp_error(s->qts,
                             "{ 'execute': 'x-snapshot-device-save',"
                             "  'arguments': { 'file': %s } }", bad[i].file);
        snap_assert_contains(why, bad[i].file);
        snap_assert_contains(why, bad[i].why);
        check_unharmed(s);
    }
    unlink(link_name);
    g_assert_cmpint(files(), ==, 1);
    snap_end(s);
}

static void test_bad_place_register(void)
{
    Snap *s = snap_start(PC ",engine=remap,file=%s/missing/ram", directory);
    g_autofree char *log = NULL;

    g_assert_cmpint(snap_command(s, SNAPSHOT_CMD_SAVE), ==, SNAPSHOT_RES_IO);
    g_assert_cmphex(snap_reg(s, SNAPSHOT_REG_STATUS), ==, 0);
    log = snap_log(s);
    snap_assert_contains(log, "missing/ram");
    g_assert_cmpint(snap_command(s, SNAPSHOT_CMD_RESTORE), ==,
                    SNAPSHOT_RES_NONE);
    snap_end(s);
}

static void set_limit(Snap *s, int what, rlim_t bytes)
{
    struct rlimit limit;

    g_assert_cmpint(prlimit(qtest_pid(s->qts), what, NULL, &limit), ==, 0);
    limit.rlim_cur = bytes;
    g_assert_cmpint(prlimit(qtest_pid(s->qts), what, &limit, NULL), ==, 0);
}

/* The limit on file sizes stands for a full file system. */
static void test_file_space(const void *name)
{
    g_autofree char *file = in_directory(name);
    Snap *s = snap_start(PC ",engine=remap%s%s", name ? ",file=" : "",
                         name ? file : "");
    g_autofree char *why = NULL;

    qtest_memset(s->qts, SPOT, 0x77, 8 * MiB);
    qtest_writel(s->qts, SPOT, 1);
    snap_save(s);
    qtest_writel(s->qts, SPOT, 2);
    set_limit(s, RLIMIT_FSIZE, 1 * MiB);
    g_assert_cmpint(snap_command(s, SNAPSHOT_CMD_SAVE), ==,
                    SNAPSHOT_RES_NOMEM);
    check_unharmed(s);
    why = snap_qmp_error(s->qts, "{ 'execute': 'x-snapshot-device-save' }");
    snap_assert_contains(why, "cannot write guest RAM");

    set_limit(s, RLIMIT_FSIZE, RLIM_INFINITY);
    qtest_writel(s->qts, SPOT, 4);
    snap_save(s);
    qtest_writel(s->qts, SPOT, 5);
    snap_restore(s);
    g_assert_cmpint(qtest_readl(s->qts, SPOT), ==, 4);
    snap_end(s);
}

static void test_file_space_cleaned(void)
{
    g_autofree char *file = in_directory("ram");
    Snap *s = snap_start(PC ",engine=remap,file=%s", file);

    qtest_memset(s->qts, SPOT, 0x77, 8 * MiB);
    set_limit(s, RLIMIT_FSIZE, 1 * MiB);
    g_assert_cmpint(snap_command(s, SNAPSHOT_CMD_SAVE), ==,
                    SNAPSHOT_RES_NOMEM);
    g_assert_cmpint(files(), ==, 0);
    g_assert_cmphex(snap_reg(s, SNAPSHOT_REG_STATUS), ==, 0);
    snap_end(s);
}

/* Bytes of writable private memory that QEMU has now */
static rlim_t data_size(Snap *s)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/status",
                                            (int)qtest_pid(s->qts));
    g_autofree char *text = NULL;
    const char *line;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    line = strstr(text, "VmData:");
    g_assert_nonnull(line);
    return g_ascii_strtoull(line + strlen("VmData:"), NULL, 10) * KiB;
}

/* No memory for a shadow copy: "copy" fails, "auto" does without. */
static void test_memory(void)
{
    Snap *s = snap_start(PC ",engine=copy");
    g_autofree char *log = NULL;

    qtest_writel(s->qts, SPOT, 1);
    set_limit(s, RLIMIT_DATA, data_size(s) + 16 * MiB);
    g_assert_cmpint(snap_command(s, SNAPSHOT_CMD_SAVE), ==,
                    SNAPSHOT_RES_NOMEM);
    g_assert_cmphex(snap_reg(s, SNAPSHOT_REG_STATUS), ==, 0);
    log = snap_log(s);
    snap_assert_contains(log, "no memory for a copy of RAM block 'pc.ram'");

    qtest_qmp_assert_success(s->qts,
                             "{ 'execute': 'x-snapshot-device-save',"
                             "  'arguments': { 'engine': 'auto' } }");
    g_assert_cmpint(snap_reg(s, SNAPSHOT_REG_ENGINE), ==,
                    SNAPSHOT_ENGINE_REMAP);
    qtest_writel(s->qts, SPOT, 2);

    /* A save that fails leaves the snapshot that is there. */
    g_assert_cmpint(snap_command(s, SNAPSHOT_CMD_SAVE), ==,
                    SNAPSHOT_RES_NOMEM);
    check_unharmed(s);
    snap_end(s);
}

/* Not even address space: neither engine can do without. */
static void test_address_space(const void *engine)
{
    Snap *s = snap_start("-machine pc -m 1G -device snapshot,engine=%s",
                         (const char *)engine);
    g_autofree char *path = g_strdup_printf("/proc/%d/statm",
                                            (int)qtest_pid(s->qts));
    g_autofree char *text = NULL;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    set_limit(s, RLIMIT_AS, g_ascii_strtoull(text, NULL, 10) *
              qemu_real_host_page_size() + 512 * MiB);
    qtest_writel(s->qts, SPOT, 2);
    for (int i = 0; i < 3; i++) {
        g_assert_cmpint(snap_command(s, SNAPSHOT_CMD_SAVE), ==,
                        SNAPSHOT_RES_NOMEM);
        g_assert_cmphex(snap_reg(s, SNAPSHOT_REG_STATUS), ==, 0);
        g_assert_cmpint(qtest_readl(s->qts, SPOT), ==, 2);
    }
    snap_end(s);
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    /* Inherited by QEMU: too large a file is an error then, not the end. */
    signal(SIGXFSZ, SIG_IGN);
    directory = g_dir_make_tmp("snapshot-qtest-XXXXXX", NULL);
    g_assert_nonnull(directory);

    qtest_add_func("/snapshot/file/life", test_life);
    qtest_add_func("/snapshot/file/replaces", test_replaces);
    qtest_add_func("/snapshot/file/gone-at-exit", test_gone_at_exit);
    qtest_add_func("/snapshot/file/bad-place", test_bad_place);
    qtest_add_func("/snapshot/file/bad-place-register",
                   test_bad_place_register);
    qtest_add_data_func("/snapshot/file/space/memfd", NULL, test_file_space);
    qtest_add_data_func("/snapshot/file/space/file", "ram", test_file_space);
    qtest_add_func("/snapshot/file/space/cleaned", test_file_space_cleaned);
    qtest_add_func("/snapshot/memory/data", test_memory);
    qtest_add_data_func("/snapshot/memory/address-space/copy", "copy",
                        test_address_space);
    qtest_add_data_func("/snapshot/memory/address-space/remap", "remap",
                        test_address_space);
    qtest_add_data_func("/snapshot/memory/address-space/auto", "auto",
                        test_address_space);
    ret = g_test_run();
    rmdir(directory);
    g_free(directory);
    return ret;
}
