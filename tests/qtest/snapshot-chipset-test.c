/*
 * Machine snapshots: the memory map and the wiring of a PC.
 *
 * Many loaders were written to run once, after a reset.  Each test here
 * restores so often that one that adds a memory region twice, or forgets to
 * take one away, is found out; verify=on sees to the rest.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "hw/pci/pci_regs.h"
#include "qobject/qdict.h"
#include "snapshot-common.h"

#define PC "-nodefaults -machine pc -m 16 -device snapshot,verify=on "
#define Q35 "-nodefaults -machine q35 -m 16 -device snapshot,verify=on "

#define OFTEN 200

/* The window for legacy video, below which SMM's memory can be made visible */
#define SMRAM 0xa0000

/* A host bridge with this register of SMRAM */
typedef struct SmramData {
    const char *args;
    uint8_t reg;
} SmramData;

static void test_smram(const void *data)
{
    const SmramData *d = data;
    Snap *s = snap_start("%s", d->args);
    QPCIDevice *host = qpci_device_find(s->bus, QPCI_DEVFN(0, 0));
    uint8_t closed = qpci_config_readb(host, d->reg) & ~0x40;
    uint32_t seen;

    qpci_config_writeb(host, d->reg, closed | 0x48);
    qtest_writel(s->qts, SMRAM, 0x11111111);
    qpci_config_writeb(host, d->reg, closed);
    seen = qtest_readl(s->qts, SMRAM);
    g_assert_cmphex(seen, !=, 0x11111111);

    snap_save(s);
    for (int n = 0; n < OFTEN; n++) {
        qpci_config_writeb(host, d->reg, closed | 0x48);
        g_assert_cmphex(qtest_readl(s->qts, SMRAM), ==, 0x11111111);
        qtest_writel(s->qts, SMRAM, n);
        if (n & 1) {
            /* locked, until the next reset */
            qpci_config_writeb(host, d->reg, closed | 0x18);
        }
        snap_restore(s);
        g_assert_cmphex(qpci_config_readb(host, d->reg), ==, closed);
        g_assert_cmphex(qtest_readl(s->qts, SMRAM), ==, seen);
    }
    g_free(host);
    snap_end(s);
}

/* The other way round: open at the save */
static void test_smram_open(const void *data)
{
    const SmramData *d = data;
    Snap *s = snap_start("%s", d->args);
    QPCIDevice *host = qpci_device_find(s->bus, QPCI_DEVFN(0, 0));
    uint8_t open = qpci_config_readb(host, d->reg) | 0x48;

    qpci_config_writeb(host, d->reg, open);
    qtest_writel(s->qts, SMRAM, 0x11111111);
    snap_save(s);
    for (int n = 1; n <= OFTEN; n++) {
        qtest_writel(s->qts, SMRAM, n);
        qpci_config_writeb(host, d->reg, open & ~0x40);
        g_assert_cmphex(qtest_readl(s->qts, SMRAM), !=, n);
        snap_restore(s);
        g_assert_cmphex(qtest_readl(s->qts, SMRAM), ==, 0x11111111);
    }
    g_free(host);
    snap_end(s);
}

static void test_pam(const void *data)
{
    const SmramData *d = data;
    Snap *s = snap_start("%s", d->args);
    QPCIDevice *host = qpci_device_find(s->bus, QPCI_DEVFN(0, 0));

    /* C segment: RAM for reads and writes; D segment: not at all */
    qpci_config_writeb(host, d->reg + 1, 0x33);
    qtest_writel(s->qts, 0xc0000, 0x11111111);
    snap_save(s);
    for (int n = 0; n < OFTEN; n++) {
        /* the other way round */
        qpci_config_writeb(host, d->reg + 1, 0x00);
        qpci_config_writeb(host, d->reg + 3, 0x33);
        qtest_writel(s->qts, 0xd0000, n);
        g_assert_cmphex(qtest_readl(s->qts, 0xd0000), ==, n);
        snap_restore(s);
        g_assert_cmphex(qpci_config_readb(host, d->reg + 1), ==, 0x33);
        g_assert_cmphex(qpci_config_readb(host, d->reg + 3), ==, 0x00);
        g_assert_cmphex(qtest_readl(s->qts, 0xc0000), ==, 0x11111111);
    }
    g_free(host);
    snap_end(s);
}

#define RCBA 0xf0
#define RCRB 0xfed1c000u
#define CHIP_CONFIG 0x3410

static void set_rcba(QPCIDevice *lpc, uint32_t value)
{
    qpci_config_writel(lpc, RCBA, value);
}

/* ICH9: the root complex registers, enabled after the save ... */
static void test_rcba_enabled_later(void)
{
    Snap *s = snap_start(Q35);
    QPCIDevice *lpc = qpci_device_find(s->bus, QPCI_DEVFN(0x1f, 0));
    uint32_t nothing = qtest_readl(s->qts, RCRB + CHIP_CONFIG);

    snap_save(s);
    for (int n = 0; n < OFTEN; n++) {
        set_rcba(lpc, RCRB | 1);
        qtest_writel(s->qts, RCRB + CHIP_CONFIG, n);
        g_assert_cmphex(qtest_readl(s->qts, RCRB + CHIP_CONFIG), ==, n);
        snap_restore(s);
        g_assert_cmphex(qpci_config_readl(lpc, RCBA), ==, 0);
        g_assert_cmphex(qtest_readl(s->qts, RCRB + CHIP_CONFIG), ==, nothing);
    }
    g_free(lpc);
    snap_end(s);
}

/* ... and enabled before it, then moved, disabled, or left alone */
static void test_rcba_enabled_before(void)
{
    static const uint32_t later[] = { 0, 0xfec80000u | 1, RCRB | 1 };
    Snap *s = snap_start(Q35);
    QPCIDevice *lpc = qpci_device_find(s->bus, QPCI_DEVFN(0x1f, 0));

    set_rcba(lpc, RCRB | 1);
    qtest_writel(s->qts, RCRB + CHIP_CONFIG, 0x04);
    snap_save(s);
    for (int n = 0; n < OFTEN; n++) {
        qtest_writel(s->qts, RCRB + CHIP_CONFIG, 0x24);
        set_rcba(lpc, later[n % ARRAY_SIZE(later)]);
        /* something else of the same device: PIRQ routing */
        qpci_config_writeb(lpc, 0x60, n & 0x0f);
        snap_restore(s);
        g_assert_cmphex(qpci_config_readl(lpc, RCBA), ==, RCRB | 1);
        g_assert_cmphex(qtest_readl(s->qts, RCRB + CHIP_CONFIG), ==, 0x04);
    }
    g_free(lpc);
    snap_end(s);
}

/* ACPI power management: its I/O ports move, and its timer goes back. */
static void test_pm_base(const void *data)
{
    const SmramData *d = data;
    Snap *s = snap_start("%s", d->args);
    bool q35 = strstr(d->args, "q35");
    QPCIDevice *pm = qpci_device_find(s->bus, q35 ? QPCI_DEVFN(0x1f, 0)
                                                  : QPCI_DEVFN(1, 3));
    uint8_t enable = q35 ? 0x44 : 0x80;
    uint8_t on = q35 ? 0x80 : 0x01;
    uint32_t timer;

    qpci_config_writel(pm, 0x40, 0x600 | 1);
    qpci_config_writeb(pm, enable, on);
    qtest_clock_step(s->qts, 1000000000);
    qtest_outw(s->qts, 0x602, 0x0120);          /* enabled events */
    timer = qtest_inl(s->qts, 0x608);
    g_assert_cmpint(timer, ==, 3579545);
    snap_save(s);
    for (int n = 0; n < OFTEN; n++) {
        qtest_clock_step(s->qts, 100000000);
        g_assert_cmpint(qtest_inl(s->qts, 0x608), >, timer);
        qtest_outw(s->qts, 0x602, 0);
        qpci_config_writel(pm, 0x40, (n & 1 ? 0xb000 : 0x400) | 1);
        if (n & 2) {
            qpci_config_writeb(pm, enable, 0);
        }
        snap_restore(s);
        g_assert_cmphex(qtest_inw(s->qts, 0x602), ==, 0x0120);
        g_assert_cmpint(qtest_inl(s->qts, 0x608), ==, timer);
    }
    g_free(pm);
    snap_end(s);
}

/* Memory and I/O BARs of another device are moved and disabled. */
static void test_bars(const void *data)
{
    const SmramData *d = data;
    Snap *s = snap_start("%s -device VGA,vgamem_mb=1 "
                         "-device rtl8139,addr=5", d->args);
    QPCIDevice *vga = snap_find(s->bus, 0x1234, 0x1111);
    QPCIDevice *nic = snap_find(s->bus, 0x10ec, 0x8139);
    QPCIBar vram, io;
    uint32_t mac;

    qpci_device_enable(vga);
    qpci_device_enable(nic);
    vram = qpci_iomap(vga, 0, NULL);
    io = qpci_iomap(nic, 0, NULL);
    g_assert_true(io.is_io);
    mac = qpci_io_readl(nic, io, 0);
    g_assert_cmphex(mac, ==, 0x12005452);
    qpci_io_writel(vga, vram, 0x1000, 0x11111111);
    snap_save(s);
    for (int n = 0; n < OFTEN / 4; n++) {
        qpci_io_writel(vga, vram, 0x1000, n);
        qpci_config_writel(vga, PCI_BASE_ADDRESS_0, 0xd8000000);
        qpci_config_writel(nic, PCI_BASE_ADDRESS_0, 0xd000);
        g_assert_cmphex(qtest_readl(s->qts, 0xd8001000), ==, n);
        if (n & 1) {
            qpci_config_writew(vga, PCI_COMMAND, 0);
            qpci_config_writew(nic, PCI_COMMAND, 0);
        }
        snap_restore(s);
        g_assert_cmphex(qpci_io_readl(vga, vram, 0x1000), ==, 0x11111111);
        g_assert_cmphex(qpci_io_readl(nic, io, 0), ==, mac);
    }
    g_free(nic);
    g_free(vga);
    snap_end(s);
}

/* An interrupt line that was up at the save, with the way it is routed */
static void test_intx(void)
{
    Snap *s = snap_start(PC "-device e1000,addr=5");
    QPCIDevice *isa = qpci_device_find(s->bus, QPCI_DEVFN(1, 0));
    QPCIDevice *nic = snap_find(s->bus, 0x8086, 0x100e);
    QPCIBar bar;

    qpci_device_enable(nic);
    bar = qpci_iomap(nic, 0, NULL);
    qtest_outb(s->qts, 0x4d1, 0x0e);        /* level: IRQ 9 to 11 */
    for (int i = 0; i < 4; i++) {
        qpci_config_writeb(isa, 0x60 + i, 11);
    }
    qpci_io_writel(nic, bar, 0xd0, 0x04);   /* IMS */
    qpci_io_writel(nic, bar, 0xc8, 0x04);   /* ICS: line up */
    qtest_outb(s->qts, 0xa0, 0x0a);
    g_assert_cmphex(qtest_inb(s->qts, 0xa0), ==, 0x08);

    snap_save(s);
    for (int n = 0; n < OFTEN / 4; n++) {
        if (n & 1) {
            g_assert_cmphex(qpci_io_readl(nic, bar, 0xc0) & 4, ==, 4);
            g_assert_cmphex(qtest_inb(s->qts, 0xa0), ==, 0);
        }
        if (n & 2) {
            for (int i = 0; i < 4; i++) {
                qpci_config_writeb(isa, 0x60 + i, n & 4 ? 0x80 : 10);
            }
        }
        snap_restore(s);
        g_assert_cmphex(qtest_inb(s->qts, 0xa0), ==, 0x08);
        g_assert_cmphex(qpci_config_readw(nic, PCI_STATUS) &
                        PCI_STATUS_INTERRUPT, !=, 0);
    }
    g_assert_cmphex(qpci_io_readl(nic, bar, 0xc0) & 4, ==, 4);
    g_assert_cmphex(qtest_inb(s->qts, 0xa0), ==, 0);
    g_free(nic);
    g_free(isa);
    snap_end(s);
}

/*
 * ACPI's interface for CPUs to plug: a write of 0 chooses the newer one, and
 * QEMU has no way back.  So a snapshot from before that cannot be restored
 * exactly: it says so, naming the device; a new save is fine.
 */
static void test_cpu_hotplug(const void *data)
{
    const SmramData *d = data;
    Snap *s = snap_start("%s", d->args);
    bool q35 = strstr(d->args, "q35");
    uint16_t port = q35 ? 0xcd8 : 0xaf00;
    QPCIDevice *pm = qpci_device_find(s->bus, q35 ? QPCI_DEVFN(0x1f, 0)
                                                  : QPCI_DEVFN(1, 3));
    g_autofree char *log = NULL;

    qpci_config_writel(pm, 0x40, 0x600 | 1);
    if (q35) {
        set_rcba(pm, RCRB | 1);
    }
    g_assert_cmphex(qtest_inb(s->qts, port), ==, 0x01);
    snap_save(s);
    qtest_outb(s->qts, port, 0);
    for (int n = 0; n < 10; n++) {
        g_assert_cmpint(snap_command(s, SNAPSHOT_CMD_RESTORE), ==,
                        SNAPSHOT_RES_DEVICE);
    }
    log = snap_log(s);
    g_assert_nonnull(strstr(log, q35 ? "'0000:00:1f.0/ICH9LPC'"
                                     : "'0000:00:01.3/piix4_pm'"));
    snap_save(s);
    for (int n = 0; n < 10; n++) {
        qtest_outb(s->qts, port, 0);
        snap_restore(s);
    }
    g_free(pm);
    snap_end(s);
}

/* The SMBus of a pc, at 0x700 */
#define SMBUS_STATUS 0x700
#define SMBUS_CONTROL 0x702
#define SMBUS_COMMAND 0x703
#define SMBUS_ADDRESS 0x704
#define SMBUS_DATA1 0x706
#define SMBUS_BLOCK 0x707

#define SMBUS_DONE 0x02
#define SMBUS_BYTE 0x81         /* busy, one byte of a block is there */
#define SMBUS_BLOCK_READ 0x59   /* start one */
#define SMBUS_BYTE_DATA 0x48    /* start a transfer of a byte */
#define SMBUS_LAST 0x20         /* it is the last byte of the block */

#define DIMM 0xa0               /* address of its EEPROM */

static Snap *smbus_start(void)
{
    Snap *s = snap_start(PC);
    QPCIDevice *pm = qpci_device_find(s->bus, QPCI_DEVFN(1, 3));

    qpci_config_writel(pm, 0x90, 0x700 | 1);
    qpci_config_writeb(pm, 0xd2, 0x09);
    g_free(pm);
    return s;
}

/* Start to read a block from @address, which is even. */
static void smbus_block(Snap *s, uint8_t address)
{
    qtest_outb(s->qts, SMBUS_ADDRESS, address);
    qtest_outb(s->qts, SMBUS_DATA1, 0x00);      /* offset */
    qtest_outb(s->qts, SMBUS_CONTROL, SMBUS_BLOCK_READ);
    g_assert_cmphex(qtest_inb(s->qts, SMBUS_STATUS), ==, SMBUS_BYTE);
}

static uint8_t smbus_next(Snap *s)
{
    uint8_t byte = qtest_inb(s->qts, SMBUS_BLOCK);

    qtest_outb(s->qts, SMBUS_STATUS, 0x80);
    return byte;
}

static void smbus_end(Snap *s)
{
    qtest_outb(s->qts, SMBUS_CONTROL, SMBUS_LAST);
    smbus_next(s);
    g_assert_cmphex(qtest_inb(s->qts, SMBUS_STATUS), ==, SMBUS_DONE);
    qtest_outb(s->qts, SMBUS_STATUS, SMBUS_DONE);
}

static void smbus_write(Snap *s, uint8_t address)
{
    qtest_outb(s->qts, SMBUS_ADDRESS, address);
    qtest_outb(s->qts, SMBUS_COMMAND, 0x10);
    qtest_outb(s->qts, SMBUS_CONTROL, SMBUS_BYTE_DATA);
    qtest_outb(s->qts, SMBUS_STATUS, SMBUS_DONE);
}

/* In the middle of a transfer from the EEPROM of a DIMM; there was none. */
static void test_smbus_later(void)
{
    Snap *s = smbus_start();

    snap_save(s);
    for (int n = 0; n < OFTEN / 4; n++) {
        smbus_block(s, DIMM);
        for (int i = 0; i < n % 4; i++) {
            smbus_next(s);
        }
        snap_restore(s);
        g_assert_cmphex(qtest_inb(s->qts, SMBUS_STATUS), ==, 0);
    }
    snap_end(s);
}

/* The other way round: the rest of the block is read again and again. */
static void test_smbus(void)
{
    Snap *s = smbus_start();
    uint8_t first[8], again[8];

    smbus_block(s, DIMM);
    smbus_next(s);
    smbus_next(s);
    snap_save(s);
    for (int i = 0; i < ARRAY_SIZE(first); i++) {
        first[i] = smbus_next(s);
    }
    for (int n = 0; n < OFTEN / 4; n++) {
        if (n & 1) {
            smbus_end(s);
        }
        if (n & 2) {
            smbus_write(s, DIMM + 2);
        }
        snap_restore(s);
        for (int i = 0; i < ARRAY_SIZE(again); i++) {
            again[i] = smbus_next(s);
        }
        g_assert_cmpmem(first, sizeof(first), again, sizeof(again));
    }
    snap_end(s);
}

/* A transfer to all devices is under way.  Verification sees if it is not. */
static void test_smbus_broadcast(void)
{
    Snap *s = smbus_start();

    qtest_outb(s->qts, SMBUS_ADDRESS, 0);
    qtest_outb(s->qts, SMBUS_CONTROL, SMBUS_BLOCK_READ);
    snap_save(s);
    for (int n = 0; n < OFTEN / 4; n++) {
        smbus_write(s, 0);
        smbus_write(s, DIMM);
        snap_restore(s);
    }
    snap_end(s);
}

#define SMALL_VGA "-device VGA,vgamem_mb=1"

static SmramData pc_smram = { PC SMALL_VGA, 0x72 };
static SmramData q35_smram = { Q35 SMALL_VGA, 0x9d };
static SmramData pc_pam = { PC, 0x59 };
static SmramData q35_pam = { Q35, 0x90 };

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_data_func("/snapshot/chipset/pc/smram", &pc_smram, test_smram);
    qtest_add_data_func("/snapshot/chipset/q35/smram", &q35_smram,
                        test_smram);
    qtest_add_data_func("/snapshot/chipset/pc/smram-open", &pc_smram,
                        test_smram_open);
    qtest_add_data_func("/snapshot/chipset/q35/smram-open", &q35_smram,
                        test_smram_open);
    qtest_add_data_func("/snapshot/chipset/pc/pam", &pc_pam, test_pam);
    qtest_add_data_func("/snapshot/chipset/q35/pam", &q35_pam, test_pam);
    qtest_add_data_func("/snapshot/chipset/pc/pm-base", &pc_pam,
                        test_pm_base);
    qtest_add_data_func("/snapshot/chipset/q35/pm-base", &q35_pam,
                        test_pm_base);
    qtest_add_data_func("/snapshot/chipset/pc/bars", &pc_pam, test_bars);
    qtest_add_data_func("/snapshot/chipset/q35/bars", &q35_pam, test_bars);
    qtest_add_func("/snapshot/chipset/pc/intx", test_intx);
    qtest_add_data_func("/snapshot/chipset/pc/cpu-hotplug", &pc_pam,
                        test_cpu_hotplug);
    qtest_add_data_func("/snapshot/chipset/q35/cpu-hotplug", &q35_pam,
                        test_cpu_hotplug);
    qtest_add_func("/snapshot/chipset/pc/smbus", test_smbus);
    qtest_add_func("/snapshot/chipset/pc/smbus-later", test_smbus_later);
    qtest_add_func("/snapshot/chipset/pc/smbus-broadcast",
                   test_smbus_broadcast);
    qtest_add_func("/snapshot/chipset/q35/rcba-enabled-later",
                   test_rcba_enabled_later);
    qtest_add_func("/snapshot/chipset/q35/rcba-enabled-before",
                   test_rcba_enabled_before);
    return g_test_run();
}
