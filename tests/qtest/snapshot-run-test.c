/*
 * Machine snapshots: runs, with files as the host.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qobject/qdict.h"
#include "snapshot-common.h"

#define SPOT (4 * MiB)
#define TIMEOUT_US (60 * G_USEC_PER_SEC)
#define LONGEST 5000

/* A machine with runs, whose inputs are "input 00", "input 01", ... */
typedef struct Runs {
    Snap *s;
    QPCIBar shared;         /* BAR 2 */
    uint64_t size;
    char *dir;
    int inputs;
} Runs;

static char *input_name(const Runs *r, int n)
{
    return g_strdup_printf("%s/%02d", r->dir, n);
}

static Runs *start(int inputs, const char *options)
{
    Runs *r = g_new0(Runs, 1);

    r->inputs = inputs;
    r->dir = g_dir_make_tmp("snapshot-run-XXXXXX", NULL);
    for (int i = 0; i < inputs; i++) {
        g_autofree char *name = input_name(r, i);
        g_autofree char *text = g_strdup_printf("input %02d", i);

        g_assert_true(g_file_set_contents(name, text, -1, NULL));
    }
    r->s = snap_start("-nodefaults -machine pc -m 32 -device snapshot,id=s0,"
                      "verify=on,input-size=%d,seeds=%s%s >/dev/null",
                      LONGEST, r->dir, options);
    r->shared = qpci_iomap(r->s->dev, SNAPSHOT_SHARED_BAR, &r->size);
    return r;
}

static void end(Runs *r)
{
    snap_end(r->s);
    for (int i = 0; i < r->inputs; i++) {
        g_autofree char *name = input_name(r, i);

        unlink(name);
    }
    rmdir(r->dir);
    g_free(r->dir);
    g_free(r);
}

static uint32_t field(const Runs *r, unsigned int at)
{
    return qpci_io_readl(r->s->dev, r->shared, at);
}

static void set_reg(const Runs *r, unsigned int reg, uint32_t value)
{
    qpci_io_writel(r->s->dev, r->s->bar, reg, value);
}

static uint64_t runs(const Runs *r)
{
    return snap_reg64(r->s, SNAPSHOT_REG_RUNS);
}

static void expect_input(const Runs *r, int n)
{
    uint32_t at = field(r, SNAPSHOT_SHARED_INPUT);
    gint64 deadline = g_get_monotonic_time() + TIMEOUT_US;
    char expected[16], text[16] = "";

    snprintf(expected, sizeof(expected), "input %02d", n);
    /* The input comes a moment after the result. */
    while (!g_str_equal(text, expected)) {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        qpci_memread(r->s->dev, r->shared, at + 4, text, 8);
    }
    g_assert_cmpint(field(r, SNAPSHOT_SHARED_INPUT), ==, at);
    g_assert_cmpint(field(r, at), ==, 8);
}

/* Issue @command, after which the input number @n is there. */
static void get_input(const Runs *r, uint32_t command, int n)
{
    g_assert_cmpint(snap_command(r->s, command), ==, SNAPSHOT_RES_DONE);
    g_assert_cmpint(field(r, SNAPSHOT_SHARED_RESULT), ==, SNAPSHOT_RES_DONE);
    expect_input(r, n);
}

static void wait_for_runs(const Runs *r, uint64_t n)
{
    gint64 deadline = g_get_monotonic_time() + TIMEOUT_US;

    while (runs(r) < n) {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        g_usleep(1000);
    }
    g_assert_cmpint(runs(r), ==, n);
}

static void test_header(void)
{
    static const struct { unsigned int at, size; } areas[] = {
        { SNAPSHOT_SHARED_INPUT, SNAPSHOT_SHARED_INPUT_MAX },
        { SNAPSHOT_SHARED_MAP, SNAPSHOT_SHARED_MAP_SIZE },
        { SNAPSHOT_SHARED_TEXT, SNAPSHOT_SHARED_TEXT_SIZE },
        { SNAPSHOT_SHARED_LOG, SNAPSHOT_SHARED_LOG_SIZE },
    };
    Runs *r = start(1, ",map-size=4160");

    g_assert_cmphex(field(r, SNAPSHOT_SHARED_MAGIC), ==,
                    SNAPSHOT_SHARED_MAGIC_IS);
    g_assert_cmpint(field(r, SNAPSHOT_SHARED_VERSION), ==,
                    SNAPSHOT_SHARED_VERSION_IS);
    g_assert_cmpint(field(r, SNAPSHOT_SHARED_INPUT_MAX), ==, LONGEST);
    g_assert_cmpint(field(r, SNAPSHOT_SHARED_MAP_SIZE), ==, 4160);
    /* Files are no fuzzer that wants comparisons. */
    g_assert_cmpint(field(r, SNAPSHOT_SHARED_CMPLOG), ==, 0);
    g_assert_cmpint(field(r, SNAPSHOT_SHARED_CMPLOG_SIZE), ==, 0);
    g_assert_cmpint(field(r, SNAPSHOT_SHARED_CMPLOG_LAYOUT), ==,
                    SNAPSHOT_CMPLOG_NONE);
    for (int i = 0; i < ARRAY_SIZE(areas); i++) {
        uint32_t from = field(r, areas[i].at);
        uint32_t to = from + field(r, areas[i].size);

        g_assert_cmpint(from % 4096, ==, 0);
        g_assert_cmpint(to, <=, r->size);
        for (int j = 0; j < i; j++) {
            uint32_t from2 = field(r, areas[j].at);

            g_assert_true(to <= from2 ||
                          from >= from2 + field(r, areas[j].size));
        }
    }
    end(r);
}

/* Inputs come in order; RAM goes back, shared memory does not. */
static void test_runs(void)
{
    Runs *r = start(6, "");
    uint32_t map = field(r, SNAPSHOT_SHARED_MAP);

    g_assert_cmpint(snap_reg(r->s, SNAPSHOT_REG_HOST), ==,
                    SNAPSHOT_HOST_FILES);
    qtest_writel(r->s->qts, SPOT, 1);
    for (int i = 0; i < 5; i++) {
        /* Either command ends a run, and so does NEXT. */
        uint32_t command = i == 0 ? SNAPSHOT_CMD_NEXT :
                           i == 1 ? SNAPSHOT_CMD_CRASH :
                           i == 2 ? SNAPSHOT_CMD_NEXT : SNAPSHOT_CMD_DONE;

        get_input(r, command, i);
        g_assert_cmpint(runs(r), ==, i);
        g_assert_cmpint(qtest_readl(r->s->qts, SPOT), ==, 1);
        qtest_writel(r->s->qts, SPOT, 2);
        /* For the host to read, and for the next run to find. */
        qpci_io_writeb(r->s->dev, r->shared, map + 9, 1);
        g_assert_cmpint(field(r, SNAPSHOT_SHARED_LOG_HEAD), ==, 0);
        qpci_io_writel(r->s->dev, r->shared, SNAPSHOT_SHARED_LOG_HEAD, 100);
        qpci_io_writel(r->s->dev, r->shared,
                       field(r, SNAPSHOT_SHARED_TEXT), 0x41410000 + i);
        set_reg(r, SNAPSHOT_REG_RUN_STATUS, 11);
    }
    g_assert_cmpint(field(r, field(r, SNAPSHOT_SHARED_TEXT)), ==, 0x41410004);
    g_assert_cmpint(snap_reg(r->s, SNAPSHOT_REG_RESTORES), ==, 4);
    g_assert_cmpint(snap_reg(r->s, SNAPSHOT_REG_VERIFY), ==, 0);
    end(r);
}

/* Seconds of @part of the time that runs have taken */
static double seconds(const QDict *info, const char *part)
{
    return qdict_get_int(qdict_get_qdict(info, "runs"), part) / 1e9;
}

/* The time of runs is told apart, and none of it is missing. */
static void test_times(void)
{
    static const char *const parts[] = {
        "fuzzer", "wake-up", "guest", "restore",
    };
    Runs *r = start(4, "");
    gint64 began = g_get_monotonic_time();
    g_autoptr(QDict) before = snap_query(r->s->qts), after = NULL;
    double sum = 0, elapsed;

    for (int i = 0; i < ARRAY_SIZE(parts); i++) {
        g_assert_cmpint(seconds(before, parts[i]), ==, 0);
    }
    get_input(r, SNAPSHOT_CMD_NEXT, 0);
    for (int i = 1; i < 4; i++) {
        g_usleep(200 * 1000);
        get_input(r, SNAPSHOT_CMD_DONE, i);
    }
    after = snap_query(r->s->qts);
    elapsed = (g_get_monotonic_time() - began) / 1e6;
    g_assert_cmpint(qdict_get_int(qdict_get_qdict(after, "runs"), "ended"), ==,
                    3);
    for (int i = 0; i < ARRAY_SIZE(parts); i++) {
        g_assert_cmpfloat(seconds(after, parts[i]), >, 0);
        sum += seconds(after, parts[i]);
    }
    g_assert_cmpfloat(seconds(after, "guest"), >=, 0.6);
    g_assert_cmpfloat(sum, <=, elapsed);
    end(r);
}

static void test_persistent(void)
{
    Runs *r = start(8, ",persistent=3");

    qtest_writel(r->s->qts, SPOT, 1);
    get_input(r, SNAPSHOT_CMD_NEXT, 0);
    qtest_writel(r->s->qts, SPOT, 2);
    g_assert_cmpint(snap_command(r->s, SNAPSHOT_CMD_DONE), ==,
                    SNAPSHOT_RES_DONE);
    g_assert_cmpint(qtest_readl(r->s->qts, SPOT), ==, 2);
    get_input(r, SNAPSHOT_CMD_NEXT, 1);
    get_input(r, SNAPSHOT_CMD_NEXT, 2);
    g_assert_cmpint(qtest_readl(r->s->qts, SPOT), ==, 2);
    get_input(r, SNAPSHOT_CMD_DONE, 3);
    g_assert_cmpint(qtest_readl(r->s->qts, SPOT), ==, 1);
    /* A crash, and a run that says it is the last one, go back at once. */
    qtest_writel(r->s->qts, SPOT, 3);
    get_input(r, SNAPSHOT_CMD_CRASH, 4);
    g_assert_cmpint(qtest_readl(r->s->qts, SPOT), ==, 1);
    qtest_writel(r->s->qts, SPOT, 3);
    set_reg(r, SNAPSHOT_REG_RUN_STATUS, SNAPSHOT_RUN_LAST);
    get_input(r, SNAPSHOT_CMD_DONE, 5);
    g_assert_cmpint(qtest_readl(r->s->qts, SPOT), ==, 1);
    end(r);
}

/* Ends that come from elsewhere: nobody stores to a register. */
static void test_ends(void)
{
    Runs *r = start(8, ",timeout=200");

    qtest_writel(r->s->qts, SPOT, 1);
    get_input(r, SNAPSHOT_CMD_NEXT, 0);
    qtest_writel(r->s->qts, SPOT, 2);
    wait_for_runs(r, 1);
    g_assert_cmpint(qtest_readl(r->s->qts, SPOT), ==, 1);
    qtest_writel(r->s->qts, SPOT, 3);
    wait_for_runs(r, 2);
    g_assert_cmpint(qtest_readl(r->s->qts, SPOT), ==, 1);
    end(r);

    r = start(8, "");
    qtest_writel(r->s->qts, SPOT, 1);
    get_input(r, SNAPSHOT_CMD_NEXT, 0);
    for (int n = 1; n <= 3; n++) {
        g_autoptr(QDict) status = NULL;

        qtest_writel(r->s->qts, SPOT, 2);
        qtest_qmp_assert_success(r->s->qts, "{ 'execute': 'system_reset' }");
        wait_for_runs(r, n);
        qtest_qmp_eventwait(r->s->qts, "RESUME");
        g_assert_cmpint(qtest_readl(r->s->qts, SPOT), ==, 1);
        status = qtest_qmp_assert_success_ref(r->s->qts,
            "{ 'execute': 'query-status' }");
        g_assert_true(qdict_get_bool(status, "running"));
    }
    end(r);
}

/* What the guest has done since the input is undone, and input @n follows. */
static void expect_next(const Runs *r, uint64_t ended, int n)
{
    gint64 deadline = g_get_monotonic_time() + TIMEOUT_US;

    while (qtest_readl(r->s->qts, SPOT) != 1) {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        g_usleep(1000);
    }
    expect_input(r, n);
    g_assert_cmpint(runs(r), ==, ended);
}

/* Not restored, and not heard of again: it goes back, and that is no run. */
static void test_kept(void)
{
    Runs *r = start(8, ",persistent=4,timeout=200");

    qtest_writel(r->s->qts, SPOT, 1);
    get_input(r, SNAPSHOT_CMD_NEXT, 0);
    qtest_writel(r->s->qts, SPOT, 2);
    snap_command(r->s, SNAPSHOT_CMD_DONE);
    expect_next(r, 1, 1);
    end(r);

    r = start(8, ",persistent=4");
    qtest_writel(r->s->qts, SPOT, 1);
    get_input(r, SNAPSHOT_CMD_NEXT, 0);
    for (int n = 1; n <= 3; n++) {
        qtest_writel(r->s->qts, SPOT, 2);
        snap_command(r->s, SNAPSHOT_CMD_DONE);
        g_assert_cmpint(qtest_readl(r->s->qts, SPOT), ==, 2);
        qtest_qmp_assert_success(r->s->qts, "{ 'execute': 'system_reset' }");
        expect_next(r, n, n);
    }
    end(r);
}

/* A guest that sleeps, or whose watchdog stops it */
static void test_asleep(void)
{
    Runs *r = start(8, ",timeout=200 -device ib700 -action watchdog=pause");
    QPCIDevice *pm = qpci_device_find(r->s->bus, QPCI_DEVFN(1, 3));

    qpci_config_writel(pm, 0x40, 0x601);        /* power management */
    qpci_config_writeb(pm, 0x80, 1);
    qtest_writel(r->s->qts, SPOT, 1);
    get_input(r, SNAPSHOT_CMD_NEXT, 0);
    for (int n = 1; n <= 5; n++) {
        qtest_writel(r->s->qts, SPOT, 2);
        if (n % 2) {
            qtest_outw(r->s->qts, 0x604, 0x2400);       /* ACPI S3 */
            qtest_qmp_eventwait(r->s->qts, "SUSPEND");
        } else {
            qtest_outb(r->s->qts, 0x443, 0xf);          /* at once */
            qtest_clock_step(r->s->qts, G_USEC_PER_SEC);
        }
        expect_next(r, n, n);
    }
    g_assert_cmpint(snap_reg(r->s, SNAPSHOT_REG_VERIFY), ==, 0);
    g_free(pm);
    end(r);
}

static void test_refused(void)
{
    static const uint32_t forbidden[] = {
        SNAPSHOT_CMD_SAVE, SNAPSHOT_CMD_PUSH, SNAPSHOT_CMD_POP,
        SNAPSHOT_CMD_DISCARD,
    };
    Runs *r = start(3, "");
    g_autofree char *why = NULL;
    Snap *s;

    g_assert_cmpint(snap_command(r->s, SNAPSHOT_CMD_DONE), ==,
                    SNAPSHOT_RES_REFUSED);
    g_assert_cmpint(snap_command(r->s, SNAPSHOT_CMD_CRASH), ==,
                    SNAPSHOT_RES_REFUSED);
    snap_save(r->s);
    get_input(r, SNAPSHOT_CMD_NEXT, 0);
    for (int i = 0; i < ARRAY_SIZE(forbidden); i++) {
        g_assert_cmpint(snap_command(r->s, forbidden[i]), ==,
                        SNAPSHOT_RES_REFUSED);
        g_assert_cmpint(field(r, SNAPSHOT_SHARED_RESULT), ==,
                        SNAPSHOT_RES_REFUSED);
    }
    qtest_writel(r->s->qts, SPOT, 2);
    snap_restore(r->s);             /* the same run again */
    g_assert_cmpint(runs(r), ==, 0);
    why = snap_qmp_error(r->s->qts, "{ 'execute': 'device_del', "
                         "'arguments': { 'id': 's0' } }");
    snap_assert_contains(why, "runs of a fuzzer");
    get_input(r, SNAPSHOT_CMD_DONE, 1);
    end(r);

    s = snap_start("-nodefaults -machine pc -m 32 -device snapshot");
    g_assert_cmpint(snap_reg(s, SNAPSHOT_REG_HOST), ==, SNAPSHOT_HOST_NONE);
    g_assert_cmpint(snap_command(s, SNAPSHOT_CMD_NEXT), ==,
                    SNAPSHOT_RES_REFUSED);
    g_assert_cmpint(snap_reg64(s, SNAPSHOT_REG_RUNS), ==, 0);
    snap_save(s);
    snap_end(s);
}

/* A guest that writes anything anywhere: runs end, and nothing else does. */
static void test_hostile(void)
{
    Runs *r = start(90, ",persistent=2");
    GRand *rand = g_rand_new_with_seed(4);

    get_input(r, SNAPSHOT_CMD_NEXT, 0);
    while (runs(r) < 80) {
        for (int i = 0; i < 20; i++) {
            uint32_t at = g_rand_int_range(rand, 0, 0x20000) & ~3;

            qpci_io_writel(r->s->dev, r->shared, i < 10 ? at & 0x3c : at,
                           g_rand_int(rand));
            set_reg(r, SNAPSHOT_REG_HOST + (at & 0x1c), g_rand_int(rand));
        }
        /* PUSH, the disk's and the others are part of it. */
        set_reg(r, SNAPSHOT_REG_COMMAND, g_rand_int_range(rand, 0x101, 0x118));
        set_reg(r, SNAPSHOT_REG_COMMAND, g_rand_int_range(rand, 0x110, 0x113));
        snap_reg(r->s, SNAPSHOT_REG_RESULT);
    }
    g_assert_cmpint(snap_reg(r->s, SNAPSHOT_REG_VERIFY), ==, 0);
    g_rand_free(rand);
    end(r);
}

static void test_options(void)
{
    static const struct { const char *options, *why; } wrong[] = {
        { "map-size=63", "map-size=" },
        { "map-size=100", "map-size=" },
        { "map-size=8388672", "map-size=" },
        { "input-size=0", "input-size=" },
        { "seeds=/nowhere/at/all,map-size=0", "map-size=" },
    };

    for (int i = 0; i < ARRAY_SIZE(wrong); i++) {
        g_autofree char *output = snap_run(1, "-machine none -machine pc "
                                           "-device snapshot,%s",
                                           wrong[i].options);

        snap_assert_contains(output, wrong[i].why);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("snapshot/run/header", test_header);
    qtest_add_func("snapshot/run/runs", test_runs);
    qtest_add_func("snapshot/run/times", test_times);
    qtest_add_func("snapshot/run/persistent", test_persistent);
    qtest_add_func("snapshot/run/ends", test_ends);
    qtest_add_func("snapshot/run/kept", test_kept);
    qtest_add_func("snapshot/run/asleep", test_asleep);
    qtest_add_func("snapshot/run/refused", test_refused);
    qtest_add_func("snapshot/run/hostile", test_hostile);
    qtest_add_func("snapshot/run/options", test_options);
    return g_test_run();
}
