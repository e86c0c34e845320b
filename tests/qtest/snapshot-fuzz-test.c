/*
 * Machine snapshots: registers are written at random, and put back.
 *
 * Nobody can list all that a guest may do to its devices between a save and a
 * restore, so chance does it: the same chance in each run.  Verification tells
 * whether the machine is the saved one.  A failure shows the accesses since
 * the save.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "hw/pci/pci_regs.h"
#include "qobject/qdict.h"
#include "snapshot-common.h"

#define SAVES 2
#define RESTORES 3          /* after each save, and after each push */
#define ACCESSES 60         /* before each of them */

/* The device that is tried, and the snapshot device */
#define SLOT 6
#define SNAPSHOT_SLOT 10

typedef enum Space { IO, MEM, CONFIG } Space;

/* Where to write: for CONFIG, devfn << 8 | register */
typedef struct Range {
    Space space;
    uint32_t base;
    uint32_t size;
} Range;

typedef struct Fuzz {
    Snap *s;
    QTestState *qts;
    GRand *rand;
    GArray *ranges;         /* of Range */
    GString *log;           /* since the save */
} Fuzz;

static void show_accesses(void *log)
{
    fprintf(stderr, "%s", ((GString *)log)->str);
}

static void write_at(Fuzz *f, const Range *r, uint32_t offset, int size,
                     uint32_t value)
{
    uint64_t at = (uint64_t)r->base + offset;

    if (r->space == CONFIG) {
        qtest_outl(f->qts, 0xcf8, 0x80000000 | (at & ~3));
        at = 0xcfc + (at & 3);
    }
    if (r->space == MEM) {
        size == 1 ? qtest_writeb(f->qts, at, value) :
        size == 2 ? qtest_writew(f->qts, at, value) :
                    qtest_writel(f->qts, at, value);
    } else {
        size == 1 ? qtest_outb(f->qts, at, value) :
        size == 2 ? qtest_outw(f->qts, at, value) :
                    qtest_outl(f->qts, at, value);
    }
}

static void access_once(Fuzz *f)
{
    static const uint32_t values[] = { 0, 1, 0xff, 0x100000, ~0u };
    int what = g_rand_int_range(f->rand, 0, 100);
    uint32_t value = g_rand_int(f->rand);
    const Range *r = &g_array_index(f->ranges, Range,
                                    value % f->ranges->len);
    int size = 1 << g_rand_int_range(f->rand, 0, 3);
    uint32_t offset = g_rand_int_range(f->rand, 0, r->size) & -size;

    if (what == 0) {
        g_string_append(f->log, "reset\n");
        qtest_system_reset(f->qts);
    } else if (what < 8) {
        g_string_append_printf(f->log, "clock %d\n", 1 << (value % 25));
        qtest_clock_step(f->qts, 1 << (value % 25));
    } else if (offset + size <= r->size) {
        value = what & 1 ? value : values[value % ARRAY_SIZE(values)];
        g_string_append_printf(f->log, "space %d at 0x%x+0x%x, size %d: 0x%x\n",
                               r->space, r->base, offset, size, value);
        write_at(f, r, offset, size, value);
    }
}

static void access_often(Fuzz *f)
{
    for (int i = 0; i < ACCESSES; i++) {
        access_once(f);
    }
}

/* By QMP: the guest may have hidden the device's registers by now. */
static void command(Fuzz *f, const char *name)
{
    access_often(f);
    qtest_qmp_assert_success(f->qts, "{ 'execute': %s }", name);
    g_string_append_printf(f->log, "%s\n", name);
}

static void restore_often(Fuzz *f)
{
    for (int n = 0; n < RESTORES; n++) {
        command(f, "x-snapshot-device-restore");
    }
}

/* The second level is left for the first, and that must still be exact. */
static void run(Fuzz *f)
{
    for (int save = 0; save < SAVES; save++) {
        command(f, "x-snapshot-device-save");
        restore_often(f);
        command(f, "x-snapshot-device-push");
        restore_often(f);
        command(f, "x-snapshot-device-pop");
        command(f, "x-snapshot-device-restore");
    }
}

static Fuzz *fuzz_start(const char *args)
{
    Fuzz *f = g_new0(Fuzz, 1);

    f->s = snap_start("-m 16 -action shutdown=pause,panic=none "
                      "-device snapshot,verify=on,addr=%d %s",
                      SNAPSHOT_SLOT, args);
    f->qts = f->s->qts;
    f->rand = g_rand_new_with_seed(g_str_hash(args));
    f->ranges = g_array_new(false, false, sizeof(Range));
    f->log = g_string_new("");
    qtest_add_abrt_handler(show_accesses, f->log);
    return f;
}

static void fuzz_end(Fuzz *f)
{
    qtest_remove_abrt_handler(f->log);
    g_string_free(f->log, true);
    g_array_unref(f->ranges);
    g_rand_free(f->rand);
    snap_end(f->s);
    g_free(f);
}

/* Map all BARs of @dev, and add them to the ranges. */
static void map_bars(Fuzz *f, QPCIDevice *dev)
{
    uint32_t mem = 0xd0000000, io = 0xc000;

    for (int reg = PCI_BASE_ADDRESS_0; reg <= PCI_BASE_ADDRESS_5; reg += 4) {
        Range r = { 0 };
        uint32_t *next = &mem, bits;

        qpci_config_writel(dev, reg, ~0u);
        bits = qpci_config_readl(dev, reg);
        if (bits & PCI_BASE_ADDRESS_SPACE_IO) {
            r.space = IO;
            r.size = -(bits & PCI_BASE_ADDRESS_IO_MASK) & 0xffff;
            next = &io;
        } else {
            r.space = MEM;
            r.size = -(bits & (uint32_t)PCI_BASE_ADDRESS_MEM_MASK);
        }
        if (!r.size) {
            continue;
        }
        r.base = *next = ROUND_UP(*next, r.size);
        *next += r.size;
        qpci_config_writel(dev, reg, r.base);
        /* Most registers are at the beginning. */
        r.size = MIN(r.size, 0x1000);
        g_array_append_val(f->ranges, r);
        if (bits & PCI_BASE_ADDRESS_MEM_TYPE_64 && r.space == MEM) {
            reg += 4;
            qpci_config_writel(dev, reg, 0);
        }
    }
    qpci_device_enable(dev);
}

static void test_device(const void *name)
{
    g_autofree char *args = g_strdup_printf("-nodefaults -machine pc "
                                            "-device %s,addr=%d",
                                            (const char *)name, SLOT);
    Fuzz *f = fuzz_start(args);
    QPCIDevice *dev = qpci_device_find(f->s->bus, QPCI_DEVFN(SLOT, 0));
    Range config = { CONFIG, QPCI_DEVFN(SLOT, 0) << 8 | 4, 0x7c };

    map_bars(f, dev);
    g_array_append_val(f->ranges, config);
    run(f);
    g_free(dev);
    fuzz_end(f);
}

/*
 * What all PCs have; not the registers that power off or eject a PCI card:
 * there is no going back from that, and a restore says so.
 */
static const Range pc_ranges[] = {
    { IO, 0x00, 0x10 }, { IO, 0x20, 2 }, { IO, 0x40, 4 }, { IO, 0x60, 5 },
    { IO, 0x70, 4 }, { IO, 0x80, 0x10 }, { IO, 0xa0, 2 }, { IO, 0xb2, 2 },
    { IO, 0xc0, 0x20 }, { IO, 0x3b0, 0x30 }, { IO, 0x3f8, 8 },
    { IO, 0x4d0, 2 }, { IO, 0x510, 12 }, { IO, 0xcf8, 8 }, { IO, 0x600, 4 },
    { IO, 0x608, 0x38 }, { IO, 0x700, 0x40 },
    { MEM, 0xa0000, 0x20000 }, { MEM, 0xc0000, 0x40000 },
    { MEM, 0x100000, 0x1000 }, { MEM, 0xfec00000, 0x20 },
    { MEM, 0xfed00000, 0x400 },
    { CONFIG, 0x0040, 0xc0 },
};

static const Range i440fx_ranges[] = {
    { IO, 0x170, 8 }, { IO, 0x1f0, 8 }, { IO, 0x376, 1 }, { IO, 0x378, 4 },
    { IO, 0x3f0, 8 }, { IO, 0xae00, 8 }, { IO, 0xae0c, 0xc },
    { IO, 0xaf00, 0x20 },
    { CONFIG, QPCI_DEVFN(1, 0) << 8 | 0x40, 0xc0 },
    { CONFIG, QPCI_DEVFN(1, 1) << 8 | 0x40, 0xc0 },
    { CONFIG, QPCI_DEVFN(1, 3) << 8 | 0x40, 0xc0 },
};

static const Range q35_ranges[] = {
    { IO, 0xcc0, 8 }, { IO, 0xccc, 0xc }, { IO, 0xcd8, 0x18 },
    { MEM, 0xfed1c000, 0x4000 }, { MEM, 0xb0000000, 0x1000 },
    { CONFIG, QPCI_DEVFN(0x1f, 0) << 8 | 0x40, 0xc0 },
    { CONFIG, QPCI_DEVFN(0x1f, 2) << 8 | 0x40, 0xc0 },
    { CONFIG, QPCI_DEVFN(0x1f, 3) << 8 | 0x40, 0xc0 },
};

static void test_pc(const void *seed)
{
    g_autofree char *args = g_strdup_printf("-machine pc -serial null "
                                            "-parallel null -rtc base=%s",
                                            (const char *)seed);
    Fuzz *f = fuzz_start(args);
    QPCIDevice *pm = qpci_device_find(f->s->bus, QPCI_DEVFN(1, 3));

    g_array_append_vals(f->ranges, pc_ranges, ARRAY_SIZE(pc_ranges));
    g_array_append_vals(f->ranges, i440fx_ranges, ARRAY_SIZE(i440fx_ranges));
    qpci_config_writel(pm, 0x40, 0x601);        /* power management */
    qpci_config_writeb(pm, 0x80, 1);
    qpci_config_writel(pm, 0x90, 0x701);        /* SMBus */
    qpci_config_writeb(pm, 0xd2, 0x09);
    qtest_outb(f->qts, 0xaf00, 0);              /* no way back: do it first */
    run(f);
    g_free(pm);
    fuzz_end(f);
}

static void test_q35(const void *seed)
{
    g_autofree char *args = g_strdup_printf("-machine q35 -serial null "
                                            "-rtc base=%s",
                                            (const char *)seed);
    Fuzz *f = fuzz_start(args);
    QPCIDevice *lpc = qpci_device_find(f->s->bus, QPCI_DEVFN(0x1f, 0));
    QPCIDevice *smb = qpci_device_find(f->s->bus, QPCI_DEVFN(0x1f, 3));

    g_array_append_vals(f->ranges, pc_ranges, ARRAY_SIZE(pc_ranges));
    g_array_append_vals(f->ranges, q35_ranges, ARRAY_SIZE(q35_ranges));
    qpci_config_writel(lpc, 0x40, 0x601);       /* power management */
    qpci_config_writeb(lpc, 0x44, 0x80);
    qpci_config_writel(lpc, 0xf0, 0xfed1c001);  /* root complex */
    qpci_config_writel(smb, 0x20, 0x701);       /* SMBus */
    qpci_config_writeb(smb, 0x40, 1);
    qpci_config_writew(smb, PCI_COMMAND, PCI_COMMAND_IO);
    qtest_outb(f->qts, 0xcd8, 0);               /* no way back: do it first */
    run(f);
    g_free(lpc);
    g_free(smb);
    fuzz_end(f);
}

static const char *const devices[] = {
    "am53c974", "bochs-display", "cirrus-vga", "e1000", "e1000e", "i6300esb",
    "i82559a", "ich9-ahci", "intel-hda", "lsi53c895a", "megasas",
    "mptsas1068", "pci-ohci", "pci-serial", "pcnet", "piix3-usb-uhci",
    "pvscsi", "qemu-xhci", "rtl8139", "sdhci-pci", "tulip", "usb-ehci",
    "virtio-balloon-pci", "virtio-gpu-pci", "virtio-keyboard-pci",
    "virtio-net-pci", "virtio-rng-pci", "virtio-scsi-pci",
    "virtio-serial-pci", "vmxnet3",
};

static const char *const seeds[] = {
    "2021-01-01", "2021-01-02", "2021-01-03", "2021-01-04", "2021-01-05",
};

static void add(const char *kind, const char *name, void (*fn)(const void *))
{
    g_autofree char *path = g_strdup_printf("/snapshot/fuzz/%s/%s", kind,
                                            name);

    qtest_add_data_func(path, name, fn);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(devices); i++) {
        if (qtest_has_device(devices[i])) {
            add("device", devices[i], test_device);
        }
    }
    for (size_t i = 0; i < ARRAY_SIZE(seeds); i++) {
        add("pc", seeds[i], test_pc);
        add("q35", seeds[i], test_q35);
    }
    return g_test_run();
}
