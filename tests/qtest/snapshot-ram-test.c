/*
 * Machine snapshots: RAM, its engines, and the verification of it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "libqos/fw_cfg.h"
#include "qobject/qdict.h"
#include "snapshot-common.h"

/* Where the guest finds its ACPI tables, and the most it can take */
#define TABLES "etc/table-loader"
#define TABLES_LEN (8 * KiB)

static const char *const engines[] = { "copy", "remap", "auto" };

/* Places in 64 MiB of RAM: its ends, and both sides of 2 MiB boundaries */
static const uint64_t places[] = {
    0, 0x7ffff, 1 * MiB, 2 * MiB - 2, 5 * MiB + 123, 6 * MiB - 8,
    32 * MiB, 63 * MiB, 64 * MiB - 4,
};

static void fill(Snap *s, uint32_t value)
{
    for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
        uint32_t word = value + i;

        qtest_memwrite(s->qts, places[i], &word, sizeof(word));
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

static void test_engine(const void *engine)
{
    Snap *s = snap_start("-nodefaults -machine pc -m 64 "
                         "-device snapshot,verify=on,engine=%s",
                         (const char *)engine);

    fill(s, 0x1000);
    snap_save(s);
    for (int n = 0; n < 3; n++) {
        fill(s, 0x2000 + n * 0x1000);
        /* RAM that was zero at the save */
        qtest_memset(s->qts, 40 * MiB, 0xaa, 3 * MiB);
        snap_restore(s);
        check(s, 0x1000);
        g_assert_cmpint(qtest_readl(s->qts, 41 * MiB), ==, 0);
    }
    /* A restore with nothing to put back */
    snap_restore(s);
    g_assert_cmpint(snap_reg64(s, SNAPSHOT_REG_PAGES), ==, 0);
    snap_end(s);
}

/* A save replaces the snapshot, whichever engine each of the two has. */
static void test_save_again(const void *engine)
{
    Snap *s = snap_start("-nodefaults -machine pc -m 64 "
                         "-device snapshot,verify=on,engine=%s",
                         (const char *)engine);

    for (size_t i = 0; i < ARRAY_SIZE(engines); i++) {
        fill(s, 0x1000);
        snap_save(s);
        fill(s, 0x2000);
        snap_restore(s);
        fill(s, 0x3000);
        qtest_qmp_assert_success(s->qts,
                                 "{ 'execute': 'x-snapshot-device-save',"
                                 "  'arguments': { 'engine': %s } }",
                                 engines[i]);
        fill(s, 0x4000);
        snap_restore(s);
        check(s, 0x3000);
        fill(s, 0x5000);
        snap_restore(s);
        check(s, 0x3000);
    }
    g_assert_cmpint(snap_command(s, SNAPSHOT_CMD_DISCARD), ==,
                    SNAPSHOT_RES_DONE);
    check(s, 0x3000);
    snap_end(s);
}

static void test_above_4g(const void *engine)
{
    static const uint64_t high[] = {
        4 * GiB, 4 * GiB + 777 * MiB, 6 * GiB - 8,
    };
    /* pc: 3 GiB below the hole, the rest from 4 GiB on */
    Snap *s = snap_start("-nodefaults -machine pc -m 5G "
                         "-device snapshot,engine=%s",
                         (const char *)engine);

    for (size_t i = 0; i < ARRAY_SIZE(high); i++) {
        qtest_writeq(s->qts, high[i], i);
    }
    snap_save(s);
    g_assert_cmpint(snap_reg64(s, SNAPSHOT_REG_RAM_BYTES), >, 5 * GiB);
    for (size_t i = 0; i < ARRAY_SIZE(high); i++) {
        qtest_writeq(s->qts, high[i], ~0ull);
    }
    snap_restore(s);
    g_assert_cmpint(snap_reg64(s, SNAPSHOT_REG_PAGES), ==, ARRAY_SIZE(high));
    for (size_t i = 0; i < ARRAY_SIZE(high); i++) {
        g_assert_cmpint(qtest_readq(s->qts, high[i]), ==, i);
    }
    snap_end(s);
}

/* The same with a hole that begins early, so that all can be verified */
static void test_above_hole(const void *engine)
{
    Snap *s = snap_start("-nodefaults -m 96 "
                         "-machine pc,max-ram-below-4g=64M "
                         "-device snapshot,verify=on,engine=%s",
                         (const char *)engine);

    qtest_memset(s->qts, 4 * GiB, 0x11, 32 * MiB);
    snap_save(s);
    for (int n = 0; n < 10; n++) {
        qtest_memset(s->qts, 4 * GiB + n * MiB, 0x22, 3 * MiB);
        snap_restore(s);
        g_assert_cmphex(qtest_readl(s->qts, 4 * GiB + n * MiB), ==,
                        0x11111111);
    }
    snap_end(s);
}

static void test_video_ram(const void *engine)
{
    Snap *s = snap_start("-machine pc -m 16 -vga std "
                         "-device snapshot,verify=on,engine=%s",
                         (const char *)engine);
    QPCIDevice *vga = snap_find(s->bus, 0x1234, 0x1111);
    QPCIBar vram;
    uint64_t size;

    g_assert_nonnull(vga);
    qpci_device_enable(vga);
    vram = qpci_iomap(vga, 0, &size);
    qpci_io_writel(vga, vram, 0, 0x11223344);
    qpci_io_writel(vga, vram, size - 4, 0x55667788);
    snap_save(s);
    qpci_io_writel(vga, vram, 0, 0);
    qpci_io_writel(vga, vram, size / 2, 0xffffffff);
    qpci_io_writel(vga, vram, size - 4, 0);
    snap_restore(s);
    g_assert_cmphex(qpci_io_readl(vga, vram, 0), ==, 0x11223344);
    g_assert_cmphex(qpci_io_readl(vga, vram, size / 2), ==, 0);
    g_assert_cmphex(qpci_io_readl(vga, vram, size - 4), ==, 0x55667788);
    g_free(vga);
    snap_end(s);
}

/*
 * ACPI tables are in blocks that grow: the firmware reads them, and they are
 * made anew for what it has set up.  Here an MMCONFIG window adds a table.
 */
static void test_acpi_tables(const void *engine)
{
    Snap *s = snap_start("-nodefaults -machine q35 -m 64 "
                         "-device snapshot,verify=on,engine=%s",
                         (const char *)engine);
    QFWCFG *fw_cfg = pc_fw_cfg_init(s->qts);
    QPCIDevice *mch = qpci_device_find(s->bus, QPCI_DEVFN(0, 0));
    g_autofree char *before = g_malloc0(TABLES_LEN);
    g_autofree char *during = g_malloc0(TABLES_LEN);
    g_autofree char *after = g_malloc0(TABLES_LEN);
    size_t len;

    snap_save(s);
    len = qfw_cfg_get_file(fw_cfg, TABLES, before, TABLES_LEN);
    g_assert_cmpint(len, <, TABLES_LEN);
    snap_restore(s);
    qpci_config_writel(mch, 0x60, 0xb0000001);
    qfw_cfg_get_file(fw_cfg, TABLES, during, TABLES_LEN);
    g_assert_true(memcmp(before, during, TABLES_LEN));
    snap_restore(s);
    g_assert_cmphex(qpci_config_readl(mch, 0x60) & 1, ==, 0);
    qfw_cfg_get_file(fw_cfg, TABLES, after, TABLES_LEN);
    g_assert_cmpmem(before, TABLES_LEN, after, TABLES_LEN);
    snap_restore(s);
    pc_fw_cfg_uninit(fw_cfg);
    g_free(mch);
    snap_end(s);
}

/* Shadow RAM below 1 MiB, and who may write to it, are part of the state. */
static void test_shadow_ram(const void *engine)
{
    Snap *s = snap_start("-nodefaults -machine pc -m 16 "
                         "-device snapshot,verify=on,engine=%s",
                         (const char *)engine);
    QPCIDevice *host = qpci_device_find(s->bus, QPCI_DEVFN(0, 0));
    uint32_t rom = qtest_readl(s->qts, 0xffff0);

    snap_save(s);
    for (int n = 0; n < 10; n++) {
        /* PAM0: F segment to RAM, for reads and for writes */
        qpci_config_writeb(host, 0x59, 0x30);
        qtest_writel(s->qts, 0xffff0, 0xdeadbeef);
        g_assert_cmphex(qtest_readl(s->qts, 0xffff0), ==, 0xdeadbeef);
        snap_restore(s);
        g_assert_cmphex(qpci_config_readb(host, 0x59), ==, 0);
        g_assert_cmphex(qtest_readl(s->qts, 0xffff0), ==, rom);
    }
    qpci_config_writeb(host, 0x59, 0x30);
    g_assert_cmphex(qtest_readl(s->qts, 0xffff0), ==, 0);
    g_free(host);
    snap_end(s);
}

/* Guest RAM as a file: /proc/PID/mem, at the address of guest address 0 */
static int open_ram(Snap *s, off_t *base)
{
    g_autofree char *text = qtest_hmp(s->qts, "gpa2hva 0");
    g_autofree char *path = g_strdup_printf("/proc/%d/mem",
                                            (int)qtest_pid(s->qts));
    const char *address = strstr(text, " is 0x");

    g_assert_nonnull(address);
    *base = g_ascii_strtoull(address + strlen(" is "), NULL, 16);
    return open(path, O_RDWR);
}

/*
 * Tracking must be complete, and verification is what tells if it is not.  So
 * change RAM in a way that no tracking can see: from another process.
 */
static void test_verify_finds(const void *engine)
{
    Snap *s = snap_start("-nodefaults -machine pc -m 64 "
                         "-device snapshot,verify=on,engine=%s",
                         (const char *)engine);
    off_t base;
    int fd = open_ram(s, &base);
    g_autofree char *log = NULL;
    g_autofree char *why = NULL;
    g_autoptr(QDict) info = NULL;

    if (fd < 0) {
        g_test_skip("this host does not let us write to QEMU's memory");
        snap_end(s);
        return;
    }
    qtest_writeb(s->qts, 3 * MiB + 0x123, 0x11);
    snap_save(s);
    g_assert_cmpint(pwrite(fd, "\x22", 1, base + 3 * MiB + 0x123), ==, 1);
    g_assert_cmpint(snap_command(s, SNAPSHOT_CMD_RESTORE), ==,
                    SNAPSHOT_RES_VERIFY);
    g_assert_cmpint(snap_reg(s, SNAPSHOT_REG_VERIFY), ==, 1);
    log = snap_log(s);
    snap_assert_contains(log, "'pc.ram' differs at 0x300123: "
                         "is 0x22, was 0x11");
    why = snap_qmp_error(s->qts, "{ 'execute': 'x-snapshot-device-restore' }");
    snap_assert_contains(why, "1 pages of RAM differ");
    info = snap_query(s->qts);
    g_assert_cmpint(qdict_get_int(info, "verify-failures"), ==, 2);
    snap_assert_contains(qdict_get_str(info, "last-error"), "RAM");

    /* Verification does not repair; a write that is seen makes it exact. */
    g_assert_cmpint(qtest_readb(s->qts, 3 * MiB + 0x123), ==, 0x22);
    qtest_writeb(s->qts, 3 * MiB, 0);
    snap_restore(s);
    g_assert_cmpint(qtest_readb(s->qts, 3 * MiB + 0x123), ==, 0x11);
    g_assert_cmpint(snap_reg(s, SNAPSHOT_REG_VERIFY), ==, 2);
    close(fd);
    snap_end(s);
}

/* Without verify=on nobody looks, until it is switched on. */
static void test_verify_off(const void *engine)
{
    Snap *s = snap_start("-nodefaults -machine pc -m 64 "
                         "-device snapshot,id=s0,engine=%s",
                         (const char *)engine);
    off_t base;
    int fd = open_ram(s, &base);

    if (fd < 0) {
        g_test_skip("this host does not let us write to QEMU's memory");
        snap_end(s);
        return;
    }
    snap_save(s);
    g_assert_cmpint(pwrite(fd, "\x22", 1, base + 3 * MiB), ==, 1);
    snap_restore(s);
    g_assert_cmpint(snap_reg(s, SNAPSHOT_REG_VERIFY), ==, 0);

    qtest_qmp_assert_success(s->qts, "{ 'execute': 'qom-set', 'arguments': {"
                             " 'path': '/machine/peripheral/s0',"
                             " 'property': 'verify', 'value': true } }");
    g_assert_cmphex(snap_reg(s, SNAPSHOT_REG_STATUS), ==,
                    SNAPSHOT_STATUS_ARMED | SNAPSHOT_STATUS_VERIFY);
    g_assert_cmpint(snap_command(s, SNAPSHOT_CMD_RESTORE), ==,
                    SNAPSHOT_RES_VERIFY);
    qtest_qmp_assert_success(s->qts,
                             "{ 'execute': 'x-snapshot-device-set-verify',"
                             "  'arguments': { 'verify': false } }");
    g_assert_cmphex(snap_reg(s, SNAPSHOT_REG_STATUS), ==,
                    SNAPSHOT_STATUS_ARMED);
    snap_restore(s);
    g_assert_cmpint(snap_reg(s, SNAPSHOT_REG_VERIFY), ==, 1);
    close(fd);
    snap_end(s);
}

static void add_for_engine(const char *name, const char *engine,
                           void (*fn)(const void *))
{
    g_autofree char *path = g_strdup_printf("/snapshot/ram/%s/%s", name,
                                            engine);

    qtest_add_data_func(path, engine, fn);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(engines); i++) {
        add_for_engine("engine", engines[i], test_engine);
        add_for_engine("save-again", engines[i], test_save_again);
    }
    /* "auto" is one of the two others. */
    for (size_t i = 0; i < 2; i++) {
        add_for_engine("above-4g", engines[i], test_above_4g);
        add_for_engine("above-hole", engines[i], test_above_hole);
        add_for_engine("video-ram", engines[i], test_video_ram);
        add_for_engine("acpi-tables", engines[i], test_acpi_tables);
        add_for_engine("shadow-ram", engines[i], test_shadow_ram);
        add_for_engine("verify-finds", engines[i], test_verify_finds);
        add_for_engine("verify-off", engines[i], test_verify_off);
    }
    return g_test_run();
}
