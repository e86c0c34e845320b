/*
 * Machine snapshots: Arm's "virt" machine, its RAM and its devices.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qobject/qdict.h"
#include "snapshot-common.h"

#define VIRT(options) \
    "-nodefaults -machine virt" options " -cpu cortex-a57 -m 64 " \
    "-device snapshot,verify=on"

#define RAM_BASE    (1 * GiB)
#define RAM_SIZE    (64 * MiB)

#define GIC_DIST    0x08000000
#define UART        0x09000000      /* PL011 */
#define RTC         0x09010000      /* PL031 */
#define GPIO        0x09030000      /* PL061 */

#define SECOND      1000000000ll    /* in ns of virtual time */

static const uint64_t places[] = {
    RAM_BASE, RAM_BASE + 0x7ffff, RAM_BASE + 2 * MiB - 2,
    RAM_BASE + 33 * MiB + 123, RAM_BASE + RAM_SIZE - 4,
};

static void fill(Snap *s, uint32_t value)
{
    for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
        qtest_memwrite(s->qts, places[i], &(uint32_t) { value + i }, 4);
    }
}

static void check(Snap *s, uint32_t value)
{
    for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
        uint32_t word;

        qtest_memread(s->qts, places[i], &word, sizeof(word));
        g_assert_cmphex(word, ==, value + i);
    }
}

/* Two levels, and a page that is left alone */
static void test_ram(const void *engine)
{
    Snap *s = snap_start(VIRT("") ",engine=%s", (const char *)engine);
    const uint64_t excluded = RAM_BASE + 40 * MiB;

    fill(s, 0x1000);
    snap_save(s);
    fill(s, 0x2000);
    snap_restore(s);
    check(s, 0x1000);
    fill(s, 0x3000);
    g_assert_cmpint(snap_command(s, SNAPSHOT_CMD_PUSH), ==, SNAPSHOT_RES_DONE);
    for (int n = 0; n < 3; n++) {
        fill(s, 0x4000 + n);
        snap_restore(s);
        check(s, 0x3000);
    }
    qpci_io_writeq(s->dev, s->bar, SNAPSHOT_REG_START, excluded);
    qpci_io_writeq(s->dev, s->bar, SNAPSHOT_REG_LENGTH, 4 * KiB);
    g_assert_cmpint(snap_command(s, SNAPSHOT_CMD_EXCLUDE), ==,
                    SNAPSHOT_RES_DONE);
    qtest_writel(s->qts, excluded, 77);
    g_assert_cmpint(snap_command(s, SNAPSHOT_CMD_POP), ==, SNAPSHOT_RES_DONE);
    check(s, 0x1000);
    g_assert_cmpint(qtest_readl(s->qts, excluded), ==, 77);
    g_assert_cmpint(snap_query_int(s->qts, "verify-failures"), ==, 0);
    snap_end(s);
}

/* Enables and priorities of the first shared interrupts */
static void test_gic(const void *options)
{
    Snap *s = snap_start("%s", (const char *)options);

    qtest_writel(s->qts, GIC_DIST + 0x104, 0x00f0);     /* GICD_ISENABLER1 */
    qtest_writel(s->qts, GIC_DIST + 0x424, 0x80604020); /* GICD_IPRIORITYR9 */
    snap_save(s);
    for (int n = 0; n < 100; n++) {
        qtest_writel(s->qts, GIC_DIST + 0x184, 0x0030); /* GICD_ICENABLER1 */
        qtest_writel(s->qts, GIC_DIST + 0x104, 0x0100);
        qtest_writel(s->qts, GIC_DIST + 0x424, 0);
        g_assert_cmphex(qtest_readl(s->qts, GIC_DIST + 0x104), ==, 0x01c0);
        snap_restore(s);
        g_assert_cmphex(qtest_readl(s->qts, GIC_DIST + 0x104), ==, 0x00f0);
        g_assert_cmphex(qtest_readl(s->qts, GIC_DIST + 0x424), ==, 0x80604020);
    }
    snap_end(s);
}

#define UART_DR     0x00
#define UART_FR     0x18
#define UART_FR_RXFE    0x10        /* nothing has arrived */
#define UART_IBRD   0x24
#define UART_LCRH   0x2c
#define UART_CR     0x30

/* Registers, and what has arrived in the FIFO (by loopback) */
static void test_uart(void)
{
    Snap *s = snap_start(VIRT("") " -serial null");

    qtest_writel(s->qts, UART + UART_IBRD, 13);
    qtest_writel(s->qts, UART + UART_LCRH, 0x70);       /* 8 bits, FIFOs */
    qtest_writel(s->qts, UART + UART_CR, 0x381);
    qtest_writel(s->qts, UART + UART_DR, 'a');
    qtest_writel(s->qts, UART + UART_DR, 'b');
    snap_save(s);
    for (int n = 0; n < 100; n++) {
        g_assert_cmphex(qtest_readl(s->qts, UART + UART_DR), ==, 'a');
        if (n & 1) {
            g_assert_cmphex(qtest_readl(s->qts, UART + UART_DR), ==, 'b');
            g_assert_cmphex(qtest_readl(s->qts, UART + UART_FR) & UART_FR_RXFE,
                            ==, UART_FR_RXFE);
        } else {
            qtest_writel(s->qts, UART + UART_DR, 'c');
        }
        qtest_writel(s->qts, UART + UART_IBRD, n);
        snap_restore(s);
        g_assert_cmphex(qtest_readl(s->qts, UART + UART_IBRD), ==, 13);
    }
    snap_end(s);
}

/* Virtual time goes back, and the date with it; so does an alarm. */
static void test_rtc(void)
{
    Snap *s = snap_start(VIRT(""));
    uint32_t date;

    qtest_writel(s->qts, RTC + 0x08, 1000000);          /* RTCLR */
    qtest_clock_step(s->qts, 5 * SECOND);
    date = qtest_readl(s->qts, RTC);                    /* RTCDR */
    g_assert_cmpint(date, >=, 1000005);
    qtest_writel(s->qts, RTC + 0x10, 1);                /* RTCIMSC */
    qtest_writel(s->qts, RTC + 0x04, date + 3);         /* RTCMR */
    snap_save(s);
    for (int n = 0; n < 100; n++) {
        qtest_clock_step(s->qts, 10 * SECOND);
        g_assert_cmpint(qtest_readl(s->qts, RTC + 0x18), ==, 1); /* RTCMIS */
        qtest_writel(s->qts, RTC + 0x08, n);
        snap_restore(s);
        g_assert_cmpint(qtest_readl(s->qts, RTC + 0x18), ==, 0);
        g_assert_cmpint(qtest_readl(s->qts, RTC), ==, date);
    }
    snap_end(s);
}

/* Directions and levels of the pins */
static void test_gpio(void)
{
    Snap *s = snap_start(VIRT(""));

    qtest_writel(s->qts, GPIO + 0x400, 0xf0);
    qtest_writel(s->qts, GPIO + 0x3fc, 0xa0);
    snap_save(s);
    for (int n = 0; n < 100; n++) {
        qtest_writel(s->qts, GPIO + 0x400, n);
        qtest_writel(s->qts, GPIO + 0x3fc, ~n);
        snap_restore(s);
        g_assert_cmphex(qtest_readl(s->qts, GPIO + 0x400), ==, 0xf0);
        g_assert_cmphex(qtest_readl(s->qts, GPIO + 0x3fc) & 0xf0, ==, 0xa0);
    }
    snap_end(s);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_data_func("/snapshot/arm/ram/copy", "copy", test_ram);
    qtest_add_data_func("/snapshot/arm/ram/remap", "remap", test_ram);
    qtest_add_data_func("/snapshot/arm/ram/auto", "auto", test_ram);
    qtest_add_data_func("/snapshot/arm/gic/2", VIRT(",gic-version=2"),
                        test_gic);
    qtest_add_data_func("/snapshot/arm/gic/3", VIRT(",gic-version=3"),
                        test_gic);
    qtest_add_func("/snapshot/arm/uart", test_uart);
    qtest_add_func("/snapshot/arm/rtc", test_rtc);
    qtest_add_func("/snapshot/arm/gpio", test_gpio);
    return g_test_run();
}
