/*
 * Machine snapshots: commands as text on a serial line.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qobject/qdict.h"
#include "snapshot-common.h"

/* No snapshot device: this is for guests that cannot map a BAR. */
#define PC "-nodefaults -machine pc -m 16 -rtc clock=vm " \
    "-chardev snapshot,id=c -serial chardev:c"

#define COM1 0x3f8
#define TIMEOUT_US (30 * G_USEC_PER_SEC)

static QTestState *start(void)
{
    QTestState *qts = qtest_init(PC);

    qtest_outb(qts, COM1 + 3, 0x03);
    qtest_outb(qts, COM1 + 2, 0x01);    /* FIFOs on */
    return qts;
}

static void tell(QTestState *qts, const char *text)
{
    for (; *text; text++) {
        qtest_outb(qts, COM1, *text);
    }
}

/* The next line that arrives, without its end */
static void receive(QTestState *qts, char *line, size_t size)
{
    gint64 end = g_get_monotonic_time() + TIMEOUT_US;
    size_t len = 0;

    while (len < 2 || line[len - 1] != '\n') {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        if (qtest_inb(qts, COM1 + 5) & 1) {
            g_assert_cmpint(len, <, size - 1);
            line[len++] = qtest_inb(qts, COM1);
        }
    }
    g_assert_cmpint(line[len - 2], ==, '\r');
    line[len - 2] = 0;
}

static void expect(QTestState *qts, const char *reply)
{
    char line[64];

    receive(qts, line, sizeof(line));
    g_assert_cmpstr(line, ==, reply);
}

static void expect_silence(QTestState *qts)
{
    /* A command with a known reply: nothing comes before it. */
    tell(qts, "nothing\n");
    expect(qts, "error 2");
    g_assert_cmphex(qtest_inb(qts, COM1 + 5) & 1, ==, 0);
}

static void test_life(void)
{
    QTestState *qts = start();

    qtest_writel(qts, 1 * MiB, 1);
    tell(qts, "restore\n");
    expect(qts, "error 3");
    tell(qts, "save\n");
    expect(qts, "ok 0");
    for (int n = 1; n <= 100; n++) {
        g_autofree char *reply = g_strdup_printf("ok %d", n);

        qtest_writel(qts, 1 * MiB, 2);
        tell(qts, "restore\n");
        expect(qts, reply);
        g_assert_cmpint(qtest_readl(qts, 1 * MiB), ==, 1);
    }
    qtest_writel(qts, 1 * MiB, 3);
    tell(qts, "discard\n");
    expect(qts, "ok 0");
    g_assert_cmpint(qtest_readl(qts, 1 * MiB), ==, 3);
    tell(qts, "restore\n");
    expect(qts, "error 3");
    qtest_quit(qts);
}

static void test_lines(void)
{
    static const char *const unknown[] = {
        "frobnicate\n", "save \r", " save\n", "Save\n", "saves\n", "sav\n",
        "save\t\n", "restoresave\n",
    };
    QTestState *qts = start();
    g_autofree char *too_long = g_strnfill(1000, 'x');

    for (size_t i = 0; i < ARRAY_SIZE(unknown); i++) {
        tell(qts, unknown[i]);
        expect(qts, "error 2");
    }
    tell(qts, too_long);
    tell(qts, "save\n");
    expect(qts, "error 2");
    /* Lines of 32 characters, the most, and of 33 */
    too_long[32] = 0;
    tell(qts, too_long);
    tell(qts, "\n");
    expect(qts, "error 2");
    tell(qts, too_long);
    tell(qts, "x\n");
    expect(qts, "error 2");
    /* Empty lines are none; any end of line will do. */
    tell(qts, "\n\r\n\r\r");
    expect_silence(qts);
    tell(qts, "save\r\n");
    expect(qts, "ok 0");
    tell(qts, "restore\r");
    expect(qts, "ok 1");
    expect_silence(qts);
    qtest_quit(qts);
}

static void test_zero_bytes(void)
{
    QTestState *qts = start();

    tell(qts, "save");
    qtest_outb(qts, COM1, 0);
    tell(qts, "\n");
    expect(qts, "error 2");
    qtest_quit(qts);
}

/* A guest that never reads loses replies, and nothing else. */
static void test_unread(void)
{
    QTestState *qts = start();
    char line[64] = "";

    tell(qts, "save\n");
    for (int n = 0; n < 200; n++) {
        tell(qts, "nothing\n");
    }
    expect(qts, "ok 0");
    /* Each reply that was kept is whole. */
    for (int n = 0; n < 10; n++) {
        expect(qts, "error 2");
    }
    while (qtest_inb(qts, COM1 + 5) & 1) {
        receive(qts, line, sizeof(line));
    }
    g_assert_cmpstr(line, ==, "error 2");
    tell(qts, "discard\n");
    expect(qts, "ok 0");
    qtest_quit(qts);
}

static void test_levels(void)
{
    QTestState *qts = start();

    tell(qts, "pop\n");
    expect(qts, "error 3");
    for (uint32_t n = 0; n < 3; n++) {
        qtest_writel(qts, 1 * MiB, n);
        tell(qts, "push\n");
        expect(qts, "ok 0");
    }
    qtest_writel(qts, 1 * MiB, 7);
    tell(qts, "restore\n");
    expect(qts, "ok 1");
    g_assert_cmpint(qtest_readl(qts, 1 * MiB), ==, 2);
    for (int n = 1; n >= 0; n--) {
        tell(qts, "pop\n");
        expect(qts, "ok 1");
        g_assert_cmpint(qtest_readl(qts, 1 * MiB), ==, n);
    }
    tell(qts, "pop\n");
    expect(qts, "error 3");
    qtest_quit(qts);
}

/* Half a line at the save: it is the host's, and does not go back. */
static void test_split_line(void)
{
    QTestState *qts = start();

    tell(qts, "resto");
    qtest_qmp_assert_success(qts, "{ 'execute': 'x-snapshot-device-save' }");
    qtest_writel(qts, 1 * MiB, 1);
    tell(qts, "re\n");
    expect(qts, "ok 1");
    g_assert_cmpint(qtest_readl(qts, 1 * MiB), ==, 0);
    qtest_quit(qts);
}

/* The line can come and go while the machine runs. */
static void test_plugged(void)
{
    QTestState *qts = qtest_init("-nodefaults -machine pc -rtc clock=vm "
                                 "-device virtio-serial-pci,id=v");

    for (int i = 0; i < 3; i++) {
        qtest_qmp_assert_success(qts, "{ 'execute': 'chardev-add',"
                                 " 'arguments': { 'id': 'c', 'backend':"
                                 " { 'type': 'snapshot', 'data': {} } } }");
        qtest_qmp_device_add(qts, "virtserialport", "p",
                             "{ 'chardev': 'c', 'bus': 'v.0' }");
        qtest_qmp_device_del(qts, "p");
        qtest_qmp_assert_success(qts, "{ 'execute': 'chardev-remove',"
                                 " 'arguments': { 'id': 'c' } }");
    }
    qtest_quit(qts);
}

/* A failure of the save is an error on the line, too. */
static void test_refused(void)
{
    QTestState *qts = qtest_init("-nodefaults -machine pc -m 16 "
                                 "-rtc clock=host "
                                 "-chardev snapshot,id=c -serial chardev:c");

    tell(qts, "save\n");
    expect(qts, "error 5");
    qtest_quit(qts);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("/snapshot/serial/life", test_life);
    qtest_add_func("/snapshot/serial/lines", test_lines);
    qtest_add_func("/snapshot/serial/zero-bytes", test_zero_bytes);
    qtest_add_func("/snapshot/serial/unread", test_unread);
    qtest_add_func("/snapshot/serial/levels", test_levels);
    qtest_add_func("/snapshot/serial/split-line", test_split_line);
    qtest_add_func("/snapshot/serial/plugged", test_plugged);
    qtest_add_func("/snapshot/serial/refused", test_refused);
    return g_test_run();
}
