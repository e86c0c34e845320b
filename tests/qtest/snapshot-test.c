/*
 * Machine snapshots: the PCI device, its registers and its error codes.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "hw/pci/pci_ids.h"
#include "hw/pci/pci_regs.h"
#include "qemu/sockets.h"
#include "qobject/qdict.h"
#include "migration/snapshot-compat.h"
#include "snapshot-common.h"

#define PC "-nodefaults -machine pc -m 16 -device snapshot"

#if SNAPSHOT_QEMU_SINCE(10, 2)
#define init_unconnected qtest_init_ext
#else
#define init_unconnected qtest_init_with_env_and_capabilities
#endif

/* Every register, 0x00 to the last one */
#define READ_ONLY_END 0x40
#define REGS_END (SNAPSHOT_REG_TIMER + 4)

static void test_identity(void)
{
    Snap *s = snap_start(PC);
    uint32_t bar;

    g_assert_cmphex(qpci_config_readw(s->dev, PCI_VENDOR_ID), ==, 0x1234);
    g_assert_cmphex(qpci_config_readw(s->dev, PCI_DEVICE_ID), ==, 0xf987);
    g_assert_cmphex(qpci_config_readb(s->dev, PCI_REVISION_ID), ==, 0x10);
    g_assert_cmphex(qpci_config_readw(s->dev, PCI_CLASS_DEVICE), ==,
                    PCI_CLASS_OTHERS);
    bar = qpci_config_readl(s->dev, PCI_BASE_ADDRESS_0);
    g_assert_cmphex(bar & ~PCI_BASE_ADDRESS_MEM_MASK, ==,
                    PCI_BASE_ADDRESS_SPACE_MEMORY |
                    PCI_BASE_ADDRESS_MEM_TYPE_32);
    for (int i = PCI_BASE_ADDRESS_1; i <= PCI_BASE_ADDRESS_5; i += 4) {
        qpci_config_writel(s->dev, i, ~0u);
        g_assert_cmphex(qpci_config_readl(s->dev, i), ==,
                        i == PCI_BASE_ADDRESS_2 ?
                        (uint32_t)(-2 * MiB) | PCI_BASE_ADDRESS_MEM_PREFETCH :
                        0);
    }
    g_assert_cmphex(qpci_config_readb(s->dev, PCI_INTERRUPT_PIN), ==, 0);
    snap_end(s);
}

static void test_before_save(void)
{
    Snap *s = snap_start(PC);

    for (uint64_t reg = 0; reg < SNAPSHOT_REG_TIMER; reg += 4) {
        g_assert_cmphex(snap_reg(s, reg), ==,
                        reg == SNAPSHOT_REG_ABI ? SNAPSHOT_ABI_VERSION : 0);
    }
    snap_end(s);
}

static void test_life(void)
{
    Snap *s = snap_start(PC ",engine=copy");
    uint64_t ram;

    snap_save(s);
    g_assert_cmpint(snap_reg(s, SNAPSHOT_REG_RESTORES), ==, 0);
    g_assert_cmphex(snap_reg(s, SNAPSHOT_REG_STATUS), ==,
                    SNAPSHOT_STATUS_ARMED);
    g_assert_cmpint(snap_reg(s, SNAPSHOT_REG_ENGINE), ==,
                    SNAPSHOT_ENGINE_COPY);
    ram = snap_reg64(s, SNAPSHOT_REG_RAM_BYTES);
    g_assert_cmpint(ram, >, 16 * MiB);
    g_assert_cmpint(ram, ==, snap_query_int(s->qts, "ram-bytes"));
    g_assert_cmpint(snap_reg64(s, SNAPSHOT_REG_NS), ==, 0);

    for (int n = 1; n <= 3; n++) {
        qtest_memset(s->qts, 1 * MiB, n, n * 4096);
        snap_restore(s);
        g_assert_cmpint(snap_reg(s, SNAPSHOT_REG_RESTORES), ==, n);
        g_assert_cmpint(snap_reg64(s, SNAPSHOT_REG_PAGES), ==, n);
        g_assert_cmpint(snap_reg64(s, SNAPSHOT_REG_PAGES_SUM), ==,
                        n * (n + 1) / 2);
        g_assert_cmpint(snap_reg64(s, SNAPSHOT_REG_NS), >, 0);
    }

    snap_save(s);
    g_assert_cmpint(snap_reg(s, SNAPSHOT_REG_RESTORES), ==, 0);
    g_assert_cmpint(snap_reg64(s, SNAPSHOT_REG_PAGES), ==, 0);
    g_assert_cmpint(snap_reg64(s, SNAPSHOT_REG_PAGES_SUM), ==, 0);
    g_assert_cmpint(snap_reg64(s, SNAPSHOT_REG_NS), ==, 0);

    g_assert_cmpint(snap_command(s, SNAPSHOT_CMD_DISCARD), ==,
                    SNAPSHOT_RES_DONE);
    g_assert_cmphex(snap_reg(s, SNAPSHOT_REG_STATUS), ==, 0);
    g_assert_cmpint(snap_reg(s, SNAPSHOT_REG_ENGINE), ==,
                    SNAPSHOT_ENGINE_NONE);
    g_assert_cmpint(snap_reg64(s, SNAPSHOT_REG_RAM_BYTES), ==, 0);
    snap_end(s);
}

/* The first timer of the machine: here one of the PIT, of 10 ms */
static void test_timer_shown(void)
{
    const uint32_t period_us = 10000, count = 11932;    /* at 1.193182 MHz */
    Snap *s = snap_start(PC);
    uint32_t left;

    qtest_outb(s->qts, 0x43, 0x34);     /* counter 0, both bytes, mode 2 */
    qtest_outb(s->qts, 0x40, count & 0xff);
    qtest_outb(s->qts, 0x40, count >> 8);
    left = snap_reg(s, SNAPSHOT_REG_TIMER);
    g_assert_cmpuint(left, >, period_us / 2);
    g_assert_cmpuint(left, <=, period_us);
    qtest_clock_step(s->qts, period_us / 4 * 1000);
    g_assert_cmpuint(snap_reg(s, SNAPSHOT_REG_TIMER), ==,
                     left - period_us / 4);
    snap_save(s);
    qtest_clock_step(s->qts, period_us / 4 * 1000);
    g_assert_cmpuint(snap_reg(s, SNAPSHOT_REG_TIMER), ==,
                     left - period_us / 2);
    snap_restore(s);
    g_assert_cmpuint(snap_reg(s, SNAPSHOT_REG_TIMER), ==,
                     left - period_us / 4);
    snap_end(s);
}

static void test_engine_and_verify_shown(void)
{
    Snap *s = snap_start(PC ",engine=remap,verify=on");

    snap_save(s);
    snap_restore(s);
    g_assert_cmphex(snap_reg(s, SNAPSHOT_REG_STATUS), ==,
                    SNAPSHOT_STATUS_ARMED | SNAPSHOT_STATUS_VERIFY);
    g_assert_cmpint(snap_reg(s, SNAPSHOT_REG_ENGINE), ==,
                    SNAPSHOT_ENGINE_REMAP);
    g_assert_cmpint(snap_reg(s, SNAPSHOT_REG_VERIFY), ==, 0);
    snap_end(s);
}

static void test_unknown_registers(void)
{
    static const uint64_t far[] = {
        0x100, 0x1000, 0x10100, 0x80000, SNAPSHOT_BAR_SIZE - 8,
        SNAPSHOT_BAR_SIZE - 4,
    };
    Snap *s = snap_start(PC);

    for (uint64_t reg = REGS_END; reg < 0x200; reg += 4) {
        qpci_io_writel(s->dev, s->bar, reg, SNAPSHOT_CMD_SAVE);
        /* One keeps what is written, and has no effect without coverage. */
        g_assert_cmphex(snap_reg(s, reg), ==, reg == SNAPSHOT_REG_COVER_FLAGS ?
                        SNAPSHOT_CMD_SAVE : 0);
    }
    for (size_t i = 0; i < ARRAY_SIZE(far); i++) {
        qpci_io_writel(s->dev, s->bar, far[i], SNAPSHOT_CMD_SAVE);
        g_assert_cmphex(snap_reg(s, far[i]), ==, 0);
    }
    g_assert_cmphex(snap_reg(s, SNAPSHOT_REG_STATUS), ==, 0);
    g_assert_cmpint(snap_reg(s, SNAPSHOT_REG_REJECTED), ==, 0);
    snap_end(s);
}

static void test_read_only_registers(void)
{
    Snap *s = snap_start(PC);
    uint32_t before[READ_ONLY_END / 4];

    snap_save(s);
    qtest_memset(s->qts, 1 * MiB, 1, 4096);
    snap_restore(s);
    for (uint64_t reg = 4; reg < READ_ONLY_END; reg += 4) {
        before[reg / 4] = snap_reg(s, reg);
        qpci_io_writel(s->dev, s->bar, reg, ~before[reg / 4]);
        qpci_io_writel(s->dev, s->bar, reg, SNAPSHOT_CMD_DISCARD);
    }
    for (uint64_t reg = 4; reg < READ_ONLY_END; reg += 4) {
        g_assert_cmphex(snap_reg(s, reg), ==, before[reg / 4]);
    }
    snap_end(s);
}

/* Whole or in halves, and only by 32 or 64 bits */
static void test_writable_registers(void)
{
    static const uint64_t regs[] = {
        SNAPSHOT_REG_START, SNAPSHOT_REG_LENGTH,
    };
    Snap *s = snap_start(PC);

    for (size_t i = 0; i < ARRAY_SIZE(regs); i++) {
        g_assert_cmphex(snap_reg64(s, regs[i]), ==, 0);
        qpci_io_writeq(s->dev, s->bar, regs[i], 0x1122334455667788 + i);
        g_assert_cmphex(snap_reg64(s, regs[i]), ==, 0x1122334455667788 + i);
        qpci_io_writel(s->dev, s->bar, regs[i], 0xa0 + i);
        g_assert_cmphex(snap_reg64(s, regs[i]), ==, 0x11223344000000a0 + i);
        qpci_io_writel(s->dev, s->bar, regs[i] + 4, 0xb0);
        qpci_io_writew(s->dev, s->bar, regs[i], 0xffff);
        qpci_io_writeb(s->dev, s->bar, regs[i] + 7, 0xff);
        g_assert_cmphex(snap_reg64(s, regs[i]), ==, 0xb0000000a0 + i);
        g_assert_cmphex(snap_reg(s, regs[i] + 4), ==, 0xb0);
    }
    /* They belong to the device, not to what is saved. */
    snap_save(s);
    qpci_io_writeq(s->dev, s->bar, SNAPSHOT_REG_START, 7);
    snap_restore(s);
    g_assert_cmphex(snap_reg64(s, SNAPSHOT_REG_START), ==, 7);
    snap_end(s);
}

static void test_access_sizes(void)
{
    static const uint64_t wide[] = {
        SNAPSHOT_REG_PAGES, SNAPSHOT_REG_PAGES_SUM, SNAPSHOT_REG_NS,
        SNAPSHOT_REG_RAM_BYTES,
    };
    Snap *s = snap_start(PC);

    snap_save(s);
    qtest_memset(s->qts, 1 * MiB, 1, 3 * 4096);
    snap_restore(s);
    for (size_t i = 0; i < ARRAY_SIZE(wide); i++) {
        uint64_t value = snap_reg64(s, wide[i]);

        g_assert_cmphex(value, !=, 0);
        g_assert_cmphex(snap_reg(s, wide[i]), ==, (uint32_t)value);
        g_assert_cmphex(snap_reg(s, wide[i] + 4), ==, value >> 32);
    }
    /* Registers of 32 bits are not there for accesses of 64 bits. */
    for (uint64_t reg = 0; reg < SNAPSHOT_REG_PAGES; reg += 8) {
        g_assert_cmphex(snap_reg64(s, reg), ==, 0);
    }
    qpci_io_writeq(s->dev, s->bar, SNAPSHOT_REG_COMMAND, SNAPSHOT_CMD_DISCARD);
    g_assert_cmphex(snap_reg(s, SNAPSHOT_REG_STATUS), ==,
                    SNAPSHOT_STATUS_ARMED);
    snap_end(s);
}

static void test_narrow_accesses(void)
{
    Snap *s = snap_start(PC);

    qpci_io_writew(s->dev, s->bar, SNAPSHOT_REG_COMMAND, SNAPSHOT_CMD_SAVE);
    qpci_io_writeb(s->dev, s->bar, SNAPSHOT_REG_COMMAND, 0x01);
    qpci_io_writel(s->dev, s->bar, SNAPSHOT_REG_COMMAND + 1,
                   SNAPSHOT_CMD_SAVE);
    qpci_io_writel(s->dev, s->bar, SNAPSHOT_REG_COMMAND + 2,
                   SNAPSHOT_CMD_SAVE);
    g_assert_cmphex(snap_reg(s, SNAPSHOT_REG_STATUS), ==, 0);
    g_assert_cmpint(snap_reg(s, SNAPSHOT_REG_REJECTED), ==, 0);
    g_assert_cmphex(qpci_io_readb(s->dev, s->bar, SNAPSHOT_REG_ABI), ==, 0);
    g_assert_cmphex(qpci_io_readw(s->dev, s->bar, SNAPSHOT_REG_ABI), ==, 0);
    snap_end(s);
}

static void test_error_codes(void)
{
    static const uint32_t unknown[] = {
        0, 1, 0x100, 0x108, 0x10f, 0x115, 0x10101, 0x80000101, ~0u,
    };
    Snap *s = snap_start(PC);

    g_assert_cmpint(snap_command(s, SNAPSHOT_CMD_RESTORE), ==,
                    SNAPSHOT_RES_NONE);
    for (size_t i = 0; i < ARRAY_SIZE(unknown); i++) {
        g_assert_cmpint(snap_command(s, unknown[i]), ==,
                        SNAPSHOT_RES_UNKNOWN);
    }
    g_assert_cmpint(snap_reg(s, SNAPSHOT_REG_REJECTED), ==,
                    1 + ARRAY_SIZE(unknown));
    g_assert_cmphex(snap_reg(s, SNAPSHOT_REG_STATUS), ==, 0);

    /* An error has no consequences for the snapshot that there is. */
    snap_save(s);
    qtest_writel(s->qts, 1 * MiB, 0x12345678);
    g_assert_cmpint(snap_command(s, 7), ==, SNAPSHOT_RES_UNKNOWN);
    g_assert_cmpint(snap_reg(s, SNAPSHOT_REG_RESTORES), ==, 0);
    snap_restore(s);
    g_assert_cmphex(qtest_readl(s->qts, 1 * MiB), ==, 0);
    g_assert_cmpint(snap_reg(s, SNAPSHOT_REG_RESTORES), ==, 1);

    g_assert_cmpint(snap_command(s, SNAPSHOT_CMD_DISCARD), ==,
                    SNAPSHOT_RES_DONE);
    g_assert_cmpint(snap_command(s, SNAPSHOT_CMD_DISCARD), ==,
                    SNAPSHOT_RES_DONE);
    g_assert_cmpint(snap_command(s, SNAPSHOT_CMD_RESTORE), ==,
                    SNAPSHOT_RES_NONE);
    snap_end(s);
}

/* What QEMU answers on its qtest socket, until @lines lines are there */
static char *answers(int fd, int lines)
{
    GString *text = g_string_new("");

    while (lines > 0) {
        char c;

        g_assert_cmpint(RETRY_ON_EINTR(read(fd, &c, 1)), ==, 1);
        g_string_append_c(text, c);
        lines -= c == '\n';
    }
    return g_string_free(text, false);
}

/*
 * A command comes while another one is pending.  Here a command is carried
 * out by a bottom half, so all accesses must get to QEMU in one piece for the
 * second to be early enough; hence a qtest socket of our own.
 */
static void test_busy(void)
{
    static const char script[] =
        "outl 0xcf8 0x80002010\n" "outl 0xcfc 0xe0000000\n"
        "outl 0xcf8 0x80002004\n" "outl 0xcfc 0x2\n"
        "writel 0xe0000000 0x101\n" "readl 0xe0000000\n"
        "readl 0xe000000c\n"
        "writel 0xe0000000 0x105\n" "readl 0xe0000000\n"
        "readl 0xe0000038\n";
    static const char expected[] =
        "OK\n" "OK\n" "OK\n" "OK\n"
        "OK\n" "OK 0x0000000000000001\n"    /* pending */
        "OK 0x0000000000000002\n"           /* status: pending */
        "OK\n" "OK 0x0000000000000004\n"    /* busy */
        "OK 0x0000000000000001\n";          /* one command was rejected */
    g_autofree char *path = g_strdup_printf("%s/snapshot-qtest-%d.sock",
                                            g_get_tmp_dir(), getpid());
    int listener = qtest_socket_server(path);
    g_autofree char *args = g_strdup_printf(PC ",addr=4 -qtest unix:%s", path);
    QTestState *qts = init_unconnected(NULL, args, NULL, false);
    int fd = accept(listener, NULL, NULL);
    g_autofree char *text = NULL;
    g_autofree char *after = NULL;

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(write(fd, script, strlen(script)), ==, strlen(script));
    text = answers(fd, 10);
    g_assert_cmpstr(text, ==, expected);

    /* The first command was carried out nevertheless. */
    do {
        g_free(after);
        g_assert_cmpint(write(fd, "readl 0xe000000c\n", 17), ==, 17);
        after = answers(fd, 1);
    } while (g_str_equal(after, "OK 0x0000000000000002\n"));
    g_assert_cmpstr(after, ==, "OK 0x0000000000000001\n");
    qtest_quit(qts);
    close(fd);
    close(listener);
    unlink(path);
}

/* The device's own PCI configuration is part of the machine, and goes back. */
static void test_bar_moves(void)
{
    Snap *s = snap_start(PC ",verify=on");
    QPCIBar elsewhere = { .addr = 0xd0000000 };

    snap_save(s);
    qpci_config_writel(s->dev, PCI_BASE_ADDRESS_0, elsewhere.addr);
    g_assert_cmphex(qpci_io_readl(s->dev, elsewhere, SNAPSHOT_REG_ABI), ==,
                    SNAPSHOT_ABI_VERSION);
    qpci_io_writel(s->dev, elsewhere, SNAPSHOT_REG_COMMAND,
                   SNAPSHOT_CMD_RESTORE);
    while (snap_reg(s, SNAPSHOT_REG_RESTORES) != 1) {
        g_usleep(1000);
    }
    g_assert_cmpint(snap_reg(s, SNAPSHOT_REG_RESULT), ==, SNAPSHOT_RES_DONE);
    g_assert_cmphex(qpci_config_readl(s->dev, PCI_BASE_ADDRESS_0), ==,
                    s->bar.addr);
    snap_end(s);
}

static void test_reset(void)
{
    Snap *s = snap_start(PC ",verify=on");

    qtest_writel(s->qts, 1 * MiB, 0x11111111);
    snap_save(s);
    qtest_writel(s->qts, 1 * MiB, 0x22222222);
    qtest_system_reset(s->qts);
    /* The BAR is unmapped now; the snapshot stays. */
    snap_enable(s);
    g_assert_cmphex(snap_reg(s, SNAPSHOT_REG_STATUS), ==,
                    SNAPSHOT_STATUS_ARMED | SNAPSHOT_STATUS_VERIFY);
    qtest_qmp_assert_success(s->qts,
                             "{ 'execute': 'x-snapshot-device-restore' }");
    g_assert_cmphex(qtest_readl(s->qts, 1 * MiB), ==, 0x11111111);
    snap_end(s);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("/snapshot/identity", test_identity);
    qtest_add_func("/snapshot/registers/before-save", test_before_save);
    qtest_add_func("/snapshot/registers/life", test_life);
    qtest_add_func("/snapshot/registers/timer", test_timer_shown);
    qtest_add_func("/snapshot/registers/engine-and-verify",
                   test_engine_and_verify_shown);
    qtest_add_func("/snapshot/registers/unknown", test_unknown_registers);
    qtest_add_func("/snapshot/registers/read-only", test_read_only_registers);
    qtest_add_func("/snapshot/registers/writable", test_writable_registers);
    qtest_add_func("/snapshot/registers/access-sizes", test_access_sizes);
    qtest_add_func("/snapshot/registers/narrow-accesses",
                   test_narrow_accesses);
    qtest_add_func("/snapshot/error-codes", test_error_codes);
    qtest_add_func("/snapshot/busy", test_busy);
    qtest_add_func("/snapshot/bar-moves", test_bar_moves);
    qtest_add_func("/snapshot/reset", test_reset);
    return g_test_run();
}
