/*
 * Machine snapshots: registers are written at random, and put back.
 *
 * Nobody can list all that a guest may do to its devices between a save and a
 * restore, so chance does it: the same chance in each run, and another one for
 * each number in SNAPSHOT_FUZZ_SEED.  Verification tells whether the machine is
 * the saved one, as far as devices save their state.  That they do is seen by
 * reading registers: what is read after a restore must be what was read after
 * the save.  A failure shows the accesses since the save.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "hw/pci/pci_regs.h"
#include "qobject/qdict.h"
#include "snapshot-common.h"

#define SAVES 2
#define RESTORES 3          /* after each save, and after each push */
#define ACCESSES 60         /* before each of them */
#define OBSERVED 0x400      /* bytes that are read of a range, at most */

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
    GArray *seen;           /* what was read at the save; of uint32_t */
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

static uint32_t read_at(Fuzz *f, const Range *r, uint32_t offset)
{
    uint64_t at = (uint64_t)r->base + offset;

    if (r->space == CONFIG) {
        qtest_outl(f->qts, 0xcf8, 0x80000000 | at);
        at = 0xcfc;
    }
    return r->space == MEM ? qtest_readl(f->qts, at)
                           : qtest_inl(f->qts, at);
}

/* Parts of an address make BARs overlap: which is in front is not saved. */
static bool is_bar(uint32_t at)
{
    return (at & 0xff) >= PCI_BASE_ADDRESS_0 &&
           (at & 0xff) < PCI_CARDBUS_CIS;
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
        if (r->space == CONFIG && is_bar(r->base + offset)) {
            offset &= ~3;
            size = 4;
        }
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

/*
 * All that can be read, which changes the machine, too; it must be what was
 * read @before, unless that is NULL
 */
static GArray *observe(Fuzz *f, const GArray *before)
{
    GArray *seen = g_array_new(false, false, sizeof(uint32_t));

    for (guint i = 0; i < f->ranges->len; i++) {
        const Range *r = &g_array_index(f->ranges, Range, i);

        for (uint32_t at = 0; at + 4 <= MIN(r->size, OBSERVED); at += 4) {
            uint32_t is = read_at(f, r, at);
            uint32_t was = before ? g_array_index(before, uint32_t, seen->len)
                                  : is;

            if (is != was) {
                fprintf(stderr, "space %d at 0x%x+0x%x: is 0x%x, was 0x%x\n",
                        r->space, r->base, at, is, was);
                abort();
            }
            g_array_append_val(seen, is);
        }
    }
    return seen;
}

/* By QMP: the guest may have hidden the device's registers by now. */
static void command(Fuzz *f, const char *name)
{
    access_often(f);
    qtest_qmp_assert_success(f->qts, "{ 'execute': %s }", name);
    g_string_append_printf(f->log, "%s\n", name);
}

static void save(Fuzz *f, const char *name)
{
    command(f, name);
    g_clear_pointer(&f->seen, g_array_unref);
    f->seen = observe(f, NULL);
}

static void restore(Fuzz *f)
{
    command(f, "x-snapshot-device-restore");
    g_array_unref(observe(f, f->seen));
}

static void restore_often(Fuzz *f)
{
    for (int n = 0; n < RESTORES; n++) {
        restore(f);
    }
}

/* The second level is left for the first, and that must still be exact. */
static void run(Fuzz *f)
{
    for (int n = 0; n < SAVES; n++) {
        g_autoptr(GArray) first = NULL;

        save(f, "x-snapshot-device-save");
        restore_often(f);
        first = g_steal_pointer(&f->seen);
        save(f, "x-snapshot-device-push");
        restore_often(f);
        command(f, "x-snapshot-device-pop");
        g_array_unref(f->seen);
        f->seen = g_steal_pointer(&first);
        restore(f);
    }
}

/* Far apart: the hashes of similar arguments are neighbours. */
static uint32_t seed(const char *args)
{
    const char *more = getenv("SNAPSHOT_FUZZ_SEED") ?: "0";
    int n;

    if (qemu_strtoi(more, NULL, 0, &n) < 0) {
        g_error("SNAPSHOT_FUZZ_SEED is '%s', not a number", more);
    }
    return g_str_hash(args) + n * 7919u;
}

static Fuzz *fuzz_start(const char *args)
{
    Fuzz *f = g_new0(Fuzz, 1);

    f->s = snap_start("-m 16 -action shutdown=pause,panic=none "
                      "-device snapshot,verify=on,addr=%d %s",
                      SNAPSHOT_SLOT, args);
    f->qts = f->s->qts;
    f->rand = g_rand_new_with_seed(seed(args));
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
    g_array_unref(f->seen);
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
    { IO, 0x70, 4 }, { IO, 0x80, 0x10 }, { IO, 0xa0, 2 }, { IO, 0xc0, 0x20 },
    { IO, 0x3b0, 0x30 }, { IO, 0x3f8, 8 }, { IO, 0x4d0, 2 }, { IO, 0x510, 12 },
    { IO, 0xcf8, 8 }, { IO, 0x600, 4 }, { IO, 0x608, 0x38 },
    { IO, 0x700, 0x40 },
    { MEM, 0xa0000, 0x20000 }, { MEM, 0xc0000, 0x40000 },
    { MEM, 0x100000, 0x1000 }, { MEM, 0xfec00000, 0x20 },
    { MEM, 0xfed00000, 0x160 },
    { CONFIG, 0x0040, 0xc0 },
};

static const Range i440fx_ranges[] = {
    { IO, 0xb2, 2 }, { IO, 0x170, 8 }, { IO, 0x1f0, 8 }, { IO, 0x376, 1 },
    { IO, 0x378, 4 }, { IO, 0x3f0, 8 }, { IO, 0xae00, 8 }, { IO, 0xae0c, 0xc },
    { IO, 0xaf00, 0x20 },
    { CONFIG, QPCI_DEVFN(1, 0) << 8 | 0x40, 0xc0 },
    { CONFIG, QPCI_DEVFN(1, 1) << 8 | 0x40, 0xc0 },
    { CONFIG, QPCI_DEVFN(1, 3) << 8 | 0x40, 0xc0 },
};

/* Not 0xb2: the chip looks for the CPU that writes there, which is nobody. */
static const Range q35_ranges[] = {
    { IO, 0xcc0, 8 }, { IO, 0xccc, 0xc }, { IO, 0xcd8, 0x18 },
    { MEM, 0xfed1c000, 0x4000 }, { MEM, 0xb0000000, 0x1000 },
    { CONFIG, QPCI_DEVFN(0x1f, 0) << 8 | 0x40, 0xc0 },
    { CONFIG, QPCI_DEVFN(0x1f, 2) << 8 | 0x40, 0xc0 },
    { CONFIG, QPCI_DEVFN(0x1f, 3) << 8 | 0x40, 0xc0 },
};

static void test_pc(const void *date)
{
    g_autofree char *args = g_strdup_printf("-machine pc -serial null "
                                            "-parallel null -rtc base=%s",
                                            (const char *)date);
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

static void test_q35(const void *date)
{
    g_autofree char *args = g_strdup_printf("-machine q35 -serial null "
                                            "-rtc base=%s",
                                            (const char *)date);
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
    "AC97", "ES1370", "VGA", "am53c974", "bochs-display", "cirrus-vga",
    "e1000", "e1000e", "i6300esb", "i82559a", "i82801b11-bridge", "ich9-ahci",
    "ich9-usb-uhci1", "intel-hda", "lsi53c810", "lsi53c895a", "megasas",
    "megasas-gen2", "mptsas1068", "ne2k_pci", "pci-ohci", "pci-serial",
    "pci-serial-4x", "pcnet", "piix3-ide", "piix3-usb-uhci", "pvpanic-pci",
    "pvscsi", "qemu-xhci", "rtl8139", "sdhci-pci", "secondary-vga",
    "tpci200", "tulip", "usb-ehci", "virtio-balloon-pci", "virtio-gpu-pci",
    "virtio-iommu-pci", "virtio-keyboard-pci", "virtio-net-pci",
    "virtio-net-pci-transitional", "virtio-rng-pci", "virtio-scsi-pci",
    "virtio-scsi-pci-transitional", "virtio-serial-pci", "virtio-vga",
    "vmware-svga", "vmxnet3",
};

static const char *const dates[] = {
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
    for (size_t i = 0; i < ARRAY_SIZE(dates); i++) {
        add("pc", dates[i], test_pc);
        add("q35", dates[i], test_q35);
    }
    return g_test_run();
}
