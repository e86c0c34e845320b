/*
 * Machine snapshots: the registers of devices, and what waits in them.
 *
 * Some state is saved only while there is some: so each device is saved busy
 * and restored when idle, and the other way round.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "hw/pci/pci_regs.h"
#include "qobject/qdict.h"
#include "snapshot-common.h"

#define PC "-nodefaults -machine pc -m 16 -device snapshot,verify=on"

#define MS 1000000ll    /* in ns of virtual time */

/* A mode of the controller, a mask, and a request */
static void test_pic(void)
{
    Snap *s = snap_start(PC);

    qtest_outb(s->qts, 0x20, 0x11);
    qtest_outb(s->qts, 0x21, 0x30);
    qtest_outb(s->qts, 0x21, 0x04);
    qtest_outb(s->qts, 0x21, 0x01);
    qtest_outb(s->qts, 0x21, 0xa5);
    qtest_outb(s->qts, 0x4d0, 0x20);
    snap_save(s);
    for (int n = 0; n < 300; n++) {
        qtest_outb(s->qts, 0x20, 0x11);
        qtest_outb(s->qts, 0x21, 0x08);
        qtest_outb(s->qts, 0x21, 0x04);
        qtest_outb(s->qts, 0x21, 0x03);
        qtest_outb(s->qts, 0x21, n);
        qtest_outb(s->qts, 0x4d0, 0x08);
        snap_restore(s);
        g_assert_cmphex(qtest_inb(s->qts, 0x21), ==, 0xa5);
        g_assert_cmphex(qtest_inb(s->qts, 0x4d0), ==, 0x20);
    }
    snap_end(s);
}

#define COM1 0x3f8

/* Registers of the UART, and what has arrived in its FIFO (by loopback) */
static void test_serial(void)
{
    Snap *s = snap_start(PC " -serial null");

    qtest_outb(s->qts, COM1 + 3, 0x83);
    qtest_outb(s->qts, COM1 + 0, 0x0c);
    qtest_outb(s->qts, COM1 + 1, 0x01);
    qtest_outb(s->qts, COM1 + 3, 0x1b);
    qtest_outb(s->qts, COM1 + 2, 0x01);
    qtest_outb(s->qts, COM1 + 4, 0x10);
    qtest_outb(s->qts, COM1 + 7, 0x77);
    qtest_outb(s->qts, COM1, 'a');
    qtest_outb(s->qts, COM1, 'b');
    qtest_clock_step(s->qts, 100 * MS);
    snap_save(s);
    for (int n = 0; n < 300; n++) {
        g_assert_cmphex(qtest_inb(s->qts, COM1), ==, 'a');
        if (n & 1) {
            g_assert_cmphex(qtest_inb(s->qts, COM1), ==, 'b');
            qtest_outb(s->qts, COM1, 'c');
            qtest_clock_step(s->qts, 100 * MS);
        }
        if (n & 2) {
            qtest_outb(s->qts, COM1 + 3, 0x80 | n);
            qtest_outb(s->qts, COM1 + 1, n);
        }
        qtest_outb(s->qts, COM1 + 7, n);
        snap_restore(s);
        g_assert_cmphex(qtest_inb(s->qts, COM1 + 3), ==, 0x1b);
        g_assert_cmphex(qtest_inb(s->qts, COM1 + 4), ==, 0x10);
        g_assert_cmphex(qtest_inb(s->qts, COM1 + 5) & 1, ==, 1);
        g_assert_cmphex(qtest_inb(s->qts, COM1 + 7), ==, 0x77);
    }
    snap_end(s);
}

/* The other way round: nothing had arrived at the save. */
static void test_serial_later(void)
{
    Snap *s = snap_start(PC " -serial null");

    qtest_outb(s->qts, COM1 + 4, 0x10);
    snap_save(s);
    for (int n = 0; n < 100; n++) {
        qtest_outb(s->qts, COM1 + 2, 0x01);
        for (int i = 0; i <= n % 4; i++) {
            qtest_outb(s->qts, COM1, 'x');
        }
        g_assert_cmphex(qtest_inb(s->qts, COM1 + 5) & 1, ==, 1);
        snap_restore(s);
        g_assert_cmphex(qtest_inb(s->qts, COM1 + 5), ==, 0x60);
        g_assert_cmphex(qtest_inb(s->qts, COM1 + 2), ==, 0x01);
    }
    snap_end(s);
}

/* Fill the line to a back end that does not take what is sent. */
static void serial_block(Snap *s)
{
    for (int n = 0; qtest_inb(s->qts, COM1 + 5) & 0x40; n++) {
        g_assert_cmpint(n, <, 10 * MiB);
        qtest_outb(s->qts, COM1, 'x');
    }
}

static void serial_drain(Snap *s, int host)
{
    g_autofree char *bytes = g_malloc(1 * MiB);

    while (!(qtest_inb(s->qts, COM1 + 5) & 0x40)) {
        g_assert_cmpint(recv(host, bytes, 1 * MiB, MSG_DONTWAIT), !=, 0);
    }
}

/* The host does not read, and a byte waits to be sent: or just does not. */
static void test_serial_blocked(void)
{
    int line[2];
    Snap *s;

    g_assert_cmpint(socketpair(PF_UNIX, SOCK_STREAM, 0, line), ==, 0);
    s = snap_start(PC " -chardev socket,id=c,fd=%d -serial chardev:c",
                   line[1]);
    serial_block(s);
    snap_save(s);
    for (int n = 0; n < 20; n++) {
        qtest_outb(s->qts, COM1 + 7, n + 1);
        if (n & 1) {
            serial_drain(s, line[0]);
        }
        if (n & 2) {
            serial_block(s);
        }
        snap_restore(s);
        g_assert_cmphex(qtest_inb(s->qts, COM1 + 7), ==, 0);
    }
    serial_drain(s, line[0]);
    snap_save(s);
    for (int n = 0; n < 20; n++) {
        serial_block(s);
        if (n & 1) {
            serial_drain(s, line[0]);
        }
        snap_restore(s);
        g_assert_cmphex(qtest_inb(s->qts, COM1 + 5), ==, 0x60);
    }
    snap_end(s);
    close(line[0]);
    close(line[1]);
}

/* The answer of the keyboard controller to a self-test waits to be read. */
static void test_keyboard(void)
{
    Snap *s = snap_start(PC);

    qtest_outb(s->qts, 0x64, 0xaa);
    snap_save(s);
    for (int n = 0; n < 100; n++) {
        g_assert_cmphex(qtest_inb(s->qts, 0x64) & 1, ==, 1);
        g_assert_cmphex(qtest_inb(s->qts, 0x60), ==, 0x55);
        qtest_outb(s->qts, 0x60, 0xff);
        snap_restore(s);
    }
    snap_end(s);
}

/* LEDs are switched on; they were off at the save. */
static void test_keyboard_leds(void)
{
    Snap *s = snap_start(PC);

    snap_save(s);
    for (int n = 0; n < 20; n++) {
        qtest_outb(s->qts, 0x60, 0xed);
        qtest_outb(s->qts, 0x60, 0x07);
        g_assert_cmphex(qtest_inb(s->qts, 0x64) & 1, ==, 1);
        snap_restore(s);
        g_assert_cmphex(qtest_inb(s->qts, 0x64) & 1, ==, 0);
    }
    snap_end(s);
}

/* In the middle of a sector that is read by the CPU, word by word */
static void test_ide(void)
{
    Snap *s = snap_start(PC " -drive if=ide,index=2,media=cdrom");
    uint16_t before[256], after[256];

    qtest_outb(s->qts, 0x176, 0xa0);
    qtest_outb(s->qts, 0x177, 0xa1);        /* identify packet device */
    g_assert_cmphex(qtest_inb(s->qts, 0x177) & 0x89, ==, 0x08);
    for (int i = 0; i < 100; i++) {
        before[i] = qtest_inw(s->qts, 0x170);
    }
    snap_save(s);
    for (int i = 100; i < 256; i++) {
        before[i] = qtest_inw(s->qts, 0x170);
    }
    g_assert_cmphex(qtest_inb(s->qts, 0x177) & 0x08, ==, 0);
    for (int n = 0; n < 20; n++) {
        snap_restore(s);
        g_assert_cmphex(qtest_inb(s->qts, 0x177) & 0x08, ==, 0x08);
        for (int i = 100; i < 256; i++) {
            after[i] = qtest_inw(s->qts, 0x170);
        }
        g_assert_cmpmem(before + 100, 312, after + 100, 312);
        qtest_outb(s->qts, 0x376, 0x04);    /* soft reset */
        qtest_outb(s->qts, 0x376, 0x00);
    }
    snap_end(s);
}

static void test_ide_later(void)
{
    Snap *s = snap_start(PC " -drive if=ide,index=2,media=cdrom");
    uint8_t status = qtest_inb(s->qts, 0x177);

    snap_save(s);
    for (int n = 0; n < 20; n++) {
        qtest_outb(s->qts, 0x176, 0xa0);
        qtest_outb(s->qts, 0x177, 0xa1);
        for (int i = 0; i < n; i++) {
            qtest_inw(s->qts, 0x170);
        }
        g_assert_cmphex(qtest_inb(s->qts, 0x177) & 0x08, ==, 0x08);
        snap_restore(s);
        g_assert_cmphex(qtest_inb(s->qts, 0x177), ==, status);
    }
    snap_end(s);
}

/*
 * A port of an AHCI controller writes to RAM that it has mapped for good, and
 * the CPU does not: here what it says after a reset of the port.
 */
#define AHCI_FIS (1 * MiB)
#define AHCI_PORT 0x100
#define AHCI_FIS_BASE (AHCI_PORT + 0x08)
#define AHCI_COMMAND (AHCI_PORT + 0x18)
#define AHCI_SCONTROL (AHCI_PORT + 0x2c)

static void test_ahci(void)
{
    Snap *s = snap_start(PC " -device ich9-ahci,id=ahci,addr=6 "
                         "-device ide-cd,bus=ahci.0");
    QPCIDevice *ahci = qpci_device_find(s->bus, QPCI_DEVFN(6, 0));
    QPCIBar bar;

    qpci_device_enable(ahci);
    bar = qpci_iomap(ahci, 5, NULL);
    qpci_io_writel(ahci, bar, AHCI_FIS_BASE, AHCI_FIS);
    qpci_io_writel(ahci, bar, AHCI_COMMAND, 0x16);  /* receive FIS */
    qtest_memset(s->qts, AHCI_FIS, 0, 256);
    snap_save(s);
    for (int n = 0; n < 10; n++) {
        qpci_io_writel(ahci, bar, AHCI_SCONTROL, 1);
        qpci_io_writel(ahci, bar, AHCI_SCONTROL, 0);
        g_assert_cmphex(qtest_readb(s->qts, AHCI_FIS + 0x40), ==, 0x34);
        snap_restore(s);
        g_assert_cmphex(qtest_readb(s->qts, AHCI_FIS + 0x40), ==, 0);
    }
    g_free(ahci);
    snap_end(s);
}

/*
 * Two sections of one device, of which neither can be reset without the other:
 * both are as no reset leaves them.
 */
static void test_virtio_vga(void)
{
    Snap *s = snap_start(PC " -device virtio-vga,addr=6");
    QPCIDevice *vga = qpci_device_find(s->bus, QPCI_DEVFN(6, 0));

    qpci_device_enable(vga);
    qtest_outb(s->qts, 0x3c4, 2);       /* sequencer: which planes to write */
    qtest_outb(s->qts, 0x3c5, 0x0f);
    qpci_config_writew(vga, PCI_COMMAND, 3);    /* virtio calls it disabled */
    snap_save(s);
    for (int n = 0; n < 10; n++) {
        qpci_config_writew(vga, PCI_COMMAND, 7);
        snap_restore(s);
        g_assert_cmphex(qpci_config_readw(vga, PCI_COMMAND), ==, 3);
        g_assert_cmphex(qtest_inb(s->qts, 0x3c5), ==, 0x0f);
    }
    g_free(vga);
    snap_end(s);
}

/*
 * QEMU looks for a subsection behind each structure, and a register that
 * follows one may look like the start of a long name.  Few bytes follow these.
 */
static void test_like_a_subsection(void)
{
    static const uint32_t starts[] = { 0x105, 0x4005, 0xa005, 0xff05 };
    Snap *s = snap_start(PC " -device am53c974,addr=6");
    QPCIDevice *esp = qpci_device_find(s->bus, QPCI_DEVFN(6, 0));
    QPCIBar bar;

    qpci_device_enable(esp);
    bar = qpci_iomap(esp, 0, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(starts); i++) {
        qpci_io_writel(esp, bar, 0x40, starts[i]);
        snap_save(s);
        for (int n = 0; n < 3; n++) {
            qpci_io_writel(esp, bar, 0x40, n);
            snap_restore(s);
            g_assert_cmphex(qpci_io_readl(esp, bar, 0x40), ==, starts[i]);
        }
    }
    g_free(esp);
    snap_end(s);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("/snapshot/devices/pic", test_pic);
    qtest_add_func("/snapshot/devices/serial", test_serial);
    qtest_add_func("/snapshot/devices/serial-later", test_serial_later);
    qtest_add_func("/snapshot/devices/serial-blocked", test_serial_blocked);
    qtest_add_func("/snapshot/devices/keyboard", test_keyboard);
    qtest_add_func("/snapshot/devices/keyboard-leds", test_keyboard_leds);
    qtest_add_func("/snapshot/devices/ide", test_ide);
    qtest_add_func("/snapshot/devices/ide-later", test_ide_later);
    qtest_add_func("/snapshot/devices/ahci", test_ahci);
    qtest_add_func("/snapshot/devices/virtio-vga", test_virtio_vga);
    if (qtest_has_device("am53c974")) {
        qtest_add_func("/snapshot/devices/like-a-subsection",
                       test_like_a_subsection);
    }
    return g_test_run();
}
