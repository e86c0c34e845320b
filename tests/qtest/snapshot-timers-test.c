/*
 * Machine snapshots: virtual time, and the timers of devices.
 *
 * A timer's interrupt is looked for in the interrupt controller, as a guest
 * would, so that the path to it is restored, too.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "hw/pci/pci_regs.h"
#include "qobject/qdict.h"
#include "snapshot-common.h"

#define PC "-nodefaults -machine pc -m 16 -device snapshot,verify=on"

#define MS 1000000ll    /* in ns of virtual time */

/* Virtual time, a nanosecond later: to ask is to let time pass. */
static int64_t now(Snap *s)
{
    return qtest_clock_step(s->qts, 1);
}

static uint8_t cmos_read(Snap *s, uint8_t reg)
{
    qtest_outb(s->qts, 0x70, reg);
    return qtest_inb(s->qts, 0x71);
}

static void cmos_write(Snap *s, uint8_t reg, uint8_t value)
{
    qtest_outb(s->qts, 0x70, reg);
    qtest_outb(s->qts, 0x71, value);
}

/* Is this ISA interrupt requested? */
static bool irq_requested(Snap *s, int irq)
{
    uint16_t port = irq < 8 ? 0x20 : 0xa0;

    qtest_outb(s->qts, port, 0x0a);
    return qtest_inb(s->qts, port) & (1 << (irq & 7));
}

static void test_clock(void)
{
    Snap *s = snap_start(PC);
    int64_t saved = qtest_clock_step(s->qts, 1234567);

    snap_save(s);
    for (int n = 1; n <= 300; n++) {
        qtest_clock_step(s->qts, n * MS);
        snap_restore(s);
        g_assert_cmpint(now(s), ==, saved + 1);
    }
    snap_end(s);
}

static void test_rtc(void)
{
    Snap *s = snap_start(PC " -rtc base=2022-07-22T12:34:56");

    cmos_write(s, 0x40, 0x5a);
    cmos_write(s, 0x0a, 0x26);
    g_assert_cmphex(cmos_read(s, 0x00), ==, 0x56);
    snap_save(s);
    for (int n = 0; n < 100; n++) {
        qtest_clock_step(s->qts, 60 * 1000 * MS);
        g_assert_cmphex(cmos_read(s, 0x02), ==, 0x35);
        cmos_write(s, 0x40, n);
        cmos_write(s, 0x0b, 0x06);
        cmos_write(s, 0x00, 0x33);
        snap_restore(s);
        g_assert_cmphex(cmos_read(s, 0x40), ==, 0x5a);
        g_assert_cmphex(cmos_read(s, 0x0b), ==, 0x02);
        g_assert_cmphex(cmos_read(s, 0x00), ==, 0x56);
        g_assert_cmphex(cmos_read(s, 0x02), ==, 0x34);
    }
    snap_end(s);
}

/* A timer due @due ns after the save is due then after each restore. */
static void check_due(Snap *s, int irq, int64_t due, void (*ack)(Snap *))
{
    snap_save(s);
    for (int n = 0; n < 100; n++) {
        g_assert_false(irq_requested(s, irq));
        qtest_clock_step(s->qts, due - MS / 10);
        g_assert_false(irq_requested(s, irq));
        qtest_clock_step(s->qts, MS / 5);
        g_assert_true(irq_requested(s, irq));
        if (n & 1) {
            ack(s);
            qtest_clock_step(s->qts, 50 * MS);
        }
        snap_restore(s);
    }
}

static void rtc_ack(Snap *s)
{
    g_assert_cmphex(cmos_read(s, 0x0c) & 0xc0, ==, 0xc0);
}

static void test_rtc_timer(void)
{
    Snap *s = snap_start(PC);

    cmos_write(s, 0x0a, 0x2e);              /* every 250 ms ... */
    cmos_write(s, 0x0b, 0x42);              /* ... an interrupt */
    while (!irq_requested(s, 8)) {
        qtest_clock_step_next(s->qts);
    }
    rtc_ack(s);
    /* The request stays until it is taken, or the controller initialised. */
    qtest_outb(s->qts, 0xa0, 0x11);
    qtest_outb(s->qts, 0xa1, 0x70);
    qtest_outb(s->qts, 0xa1, 0x02);
    qtest_outb(s->qts, 0xa1, 0x01);
    check_due(s, 8, 250 * MS, rtc_ack);
    snap_end(s);
}

static void pit_ack(Snap *s)
{
    /* latched status of channel 0: the output is high */
    qtest_outb(s->qts, 0x43, 0xe2);
    g_assert_cmphex(qtest_inb(s->qts, 0x40) & 0x80, ==, 0x80);
}

static void test_pit(void)
{
    Snap *s = snap_start(PC);

    qtest_outb(s->qts, 0x43, 0x30);         /* channel 0: once ... */
    qtest_outb(s->qts, 0x40, 11932 & 0xff); /* ... after 10 ms */
    qtest_outb(s->qts, 0x40, 11932 >> 8);
    qtest_clock_step(s->qts, 4 * MS);
    check_due(s, 0, 6 * MS, pit_ack);
    snap_end(s);
}

#define HPET 0xfed00000

static void test_hpet(void)
{
    Snap *s = snap_start(PC ",addr=8 -machine hpet=on");
    uint64_t period = qtest_readq(s->qts, HPET) >> 32;  /* fs */
    uint64_t ticks = 10 * MS * 1000000 / period;
    uint64_t counter;

    qtest_writeq(s->qts, HPET + 0x108, ticks);
    qtest_writeq(s->qts, HPET + 0x100, 0x2 | 0x4 | (20 << 9)); /* level */
    qtest_writeq(s->qts, HPET + 0x10, 1);
    qtest_clock_step(s->qts, 4 * MS);
    snap_save(s);
    counter = qtest_readq(s->qts, HPET + 0xf0);
    g_assert_cmpint(counter, ==, ticks * 4 / 10);
    for (int n = 0; n < 100; n++) {
        g_assert_cmphex(qtest_readq(s->qts, HPET + 0x20), ==, 0);
        qtest_clock_step(s->qts, 6 * MS - MS / 10);
        g_assert_cmphex(qtest_readq(s->qts, HPET + 0x20), ==, 0);
        qtest_clock_step(s->qts, MS / 5);
        g_assert_cmphex(qtest_readq(s->qts, HPET + 0x20), ==, 1);
        if (n & 1) {
            qtest_writeq(s->qts, HPET + 0x20, 1);
            qtest_writeq(s->qts, HPET + 0x10, 0);
            qtest_writeq(s->qts, HPET + 0xf0, n);
        }
        snap_restore(s);
        g_assert_cmpint(qtest_readq(s->qts, HPET + 0xf0), ==, counter);
    }
    snap_end(s);
}

static bool interrupts(QPCIDevice *nic)
{
    return qpci_config_readw(nic, PCI_STATUS) & PCI_STATUS_INTERRUPT;
}

/* A NIC holds an interrupt back until its throttling timer is through. */
static void test_nic_timer(void)
{
    Snap *s = snap_start(PC " -device e1000e,addr=5");
    QPCIDevice *nic = snap_find(s->bus, 0x8086, 0x10d3);
    QPCIBar bar;

    qpci_device_enable(nic);
    bar = qpci_iomap(nic, 0, NULL);
    qpci_io_writel(nic, bar, 0xc4, 40000);  /* ITR: 10.24 ms */
    qpci_io_writel(nic, bar, 0xd0, 0x04);   /* IMS: link status */
    qpci_io_writel(nic, bar, 0xc8, 0x04);   /* ICS: at once */
    g_assert_true(interrupts(nic));
    qpci_io_readl(nic, bar, 0xc0);          /* ICR: acknowledged */
    qtest_clock_step(s->qts, 2 * MS);
    qpci_io_writel(nic, bar, 0xc8, 0x04);   /* the next one has to wait */
    g_assert_false(interrupts(nic));
    snap_save(s);
    for (int n = 0; n < 50; n++) {
        qtest_clock_step(s->qts, 8 * MS);
        g_assert_false(interrupts(nic));
        qtest_clock_step(s->qts, MS / 2);
        g_assert_true(interrupts(nic));
        if (n & 1) {
            qpci_io_readl(nic, bar, 0xc0);
            qpci_io_writel(nic, bar, 0xc4, 0);
            qtest_clock_step(s->qts, 100 * MS);
        }
        snap_restore(s);
        g_assert_false(interrupts(nic));
    }
    g_free(nic);
    snap_end(s);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("/snapshot/timers/clock", test_clock);
    qtest_add_func("/snapshot/timers/rtc", test_rtc);
    qtest_add_func("/snapshot/timers/rtc-periodic", test_rtc_timer);
    qtest_add_func("/snapshot/timers/pit", test_pit);
    qtest_add_func("/snapshot/timers/hpet", test_hpet);
    qtest_add_func("/snapshot/timers/nic", test_nic_timer);
    return g_test_run();
}
