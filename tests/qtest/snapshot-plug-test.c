/*
 * Machine snapshots: hot-plugging and unplugging, and what migration, savevm
 * and loadvm do while there is a snapshot.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "libqos/pci-pc.h"
#include "qobject/qdict.h"
#include "snapshot-common.h"

#define SLOT 5
#define PC "-nodefaults -machine pc -m 16 -device snapshot,verify=on,id=s0," \
    "addr=" stringify(SLOT) " "

#define SAVE "{ 'execute': 'x-snapshot-device-save' }"
#define RESTORE "{ 'execute': 'x-snapshot-device-restore' }"
#define DISCARD "{ 'execute': 'x-snapshot-device-discard' }"
#define MIGRATE "{ 'execute': 'migrate', " \
    "'arguments': { 'uri': 'exec:cat >/dev/null' } }"

#define SPOT (1 * MiB)
#define TIMEOUT_US (60 * G_USEC_PER_SEC)

static void migration_completes(QTestState *qts)
{
    gint64 end = g_get_monotonic_time() + TIMEOUT_US;
    bool done = false;

    qtest_qmp_assert_success(qts, MIGRATE);
    while (!done) {
        g_autoptr(QDict) info = qtest_qmp_assert_success_ref(qts,
            "{ 'execute': 'query-migrate' }");
        const char *status = qdict_get_str(info, "status");

        g_assert_cmpstr(status, !=, "failed");
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        done = g_str_equal(status, "completed");
        g_usleep(1000);
    }
}

static void test_migrate(void)
{
    Snap *s = snap_start(PC);

    qtest_writel(s->qts, SPOT, 1);
    snap_save(s);
    for (int i = 0; i < 3; i++) {
        g_autofree char *why = snap_qmp_error(s->qts, MIGRATE);

        snap_assert_contains(why, "there is a machine snapshot");
        snap_assert_contains(why, "x-snapshot-device-discard");
        /* A second save does not add a second blocker. */
        snap_save(s);
    }
    qtest_writel(s->qts, SPOT, 2);
    snap_restore(s);
    g_assert_cmpint(qtest_readl(s->qts, SPOT), ==, 1);
    qtest_qmp_assert_success(s->qts, DISCARD);
    migration_completes(s->qts);
    snap_end(s);
}

/* A save that fails must not leave migration blocked. */
static void test_migrate_after_failure(void)
{
    Snap *s = snap_start(PC "-device edu,id=e0,addr=6");

    g_assert_cmpint(snap_command(s, SNAPSHOT_CMD_SAVE), ==,
                    SNAPSHOT_RES_REFUSED);
    qpci_unplug_acpi_device_test(s->qts, "e0", 6);
    migration_completes(s->qts);
    snap_end(s);
}

/* --only-migratable promises what a snapshot would break. */
static void test_only_migratable(void)
{
    Snap *s = snap_start(PC "-only-migratable");
    g_autofree char *why = snap_qmp_error(s->qts, SAVE);

    snap_assert_contains(why, "only-migratable");
    g_assert_cmpint(snap_command(s, SNAPSHOT_CMD_SAVE), ==,
                    SNAPSHOT_RES_REFUSED);
    g_assert_cmphex(snap_reg(s, SNAPSHOT_REG_STATUS), ==, 0);
    snap_end(s);
}

static void wait_for_state(QTestState *qts, const char *state)
{
    gint64 end = g_get_monotonic_time() + TIMEOUT_US;
    bool there = false;

    while (!there) {
        g_autoptr(QDict) status = qtest_qmp_assert_success_ref(qts,
            "{ 'execute': 'query-status' }");

        g_assert_cmpint(g_get_monotonic_time(), <, end);
        there = g_str_equal(qdict_get_str(status, "status"), state);
        g_usleep(1000);
    }
}

/* The device may move to another host, though a snapshot may not. */
static void test_incoming(void)
{
    g_autofree char *file = NULL;
    g_autofree char *uri = NULL;
    g_autofree char *why = NULL;
    Snap *from = snap_start(PC), *to;

    close(g_file_open_tmp("snapshot-qtest-XXXXXX", &file, NULL));
    uri = g_strconcat("file:", file, NULL);
    qtest_writel(from->qts, SPOT, 1);
    qtest_qmp_assert_success(from->qts, "{ 'execute': 'migrate',"
                             " 'arguments': { 'uri': %s } }",
                             uri);
    wait_for_state(from->qts, "postmigrate");
    snap_end(from);

    to = snap_start(PC "-incoming defer");
    why = snap_qmp_error(to->qts, SAVE);
    snap_assert_contains(why, "a migration is under way");
    qtest_qmp_assert_success(to->qts, "{ 'execute': 'migrate-incoming',"
                             " 'arguments': { 'uri': %s } }",
                             uri);
    wait_for_state(to->qts, "running");
    snap_save(to);
    qtest_writel(to->qts, SPOT, 2);
    snap_restore(to);
    g_assert_cmpint(qtest_readl(to->qts, SPOT), ==, 1);
    snap_end(to);
    unlink(file);
}

/* savevm is blocked while armed; loadvm replaces the machine, and disarms. */
static void test_savevm(void)
{
    g_autofree char *image = NULL;
    g_autofree char *blocked = NULL;
    g_autofree char *saved = NULL;
    g_autofree char *loaded = NULL;
    Snap *s;
    int fd;

    if (!have_qemu_img()) {
        g_test_skip("QTEST_QEMU_IMG is not set");
        return;
    }
    fd = g_file_open_tmp("snapshot-qtest-XXXXXX", &image, NULL);
    close(fd);
    g_assert_true(mkimg(image, "qcow2", 1));
    /* Attached to no device, so no part of the machine */
    s = snap_start(PC "-blockdev driver=qcow2,node-name=q0,"
                   "file.driver=file,file.filename=%s", image);
    qtest_writel(s->qts, SPOT, 1);
    saved = qtest_hmp(s->qts, "savevm one");
    g_assert_cmpstr(saved, ==, "");
    qtest_writel(s->qts, SPOT, 2);
    snap_save(s);
    blocked = qtest_hmp(s->qts, "savevm two");
    snap_assert_contains(blocked, "there is a machine snapshot");
    qtest_writel(s->qts, SPOT, 3);
    snap_restore(s);
    g_assert_cmpint(qtest_readl(s->qts, SPOT), ==, 2);

    loaded = qtest_hmp(s->qts, "loadvm one");
    snap_assert_contains(loaded, "discarded");
    g_assert_cmpint(qtest_readl(s->qts, SPOT), ==, 1);
    g_assert_cmphex(snap_reg(s, SNAPSHOT_REG_STATUS), ==, 0);
    g_assert_cmpint(snap_command(s, SNAPSHOT_CMD_RESTORE), ==,
                    SNAPSHOT_RES_NONE);
    snap_save(s);
    qtest_writel(s->qts, SPOT, 4);
    snap_restore(s);
    g_assert_cmpint(qtest_readl(s->qts, SPOT), ==, 1);
    snap_end(s);
    unlink(image);
}

static void assert_disarmed(QTestState *qts)
{
    g_autoptr(QDict) info = snap_query(qts);
    g_autofree char *why = snap_qmp_error(qts, RESTORE);

    g_assert_false(qdict_get_bool(info, "armed"));
    snap_assert_contains(why, "save first");
}

/* Unplugging the snapshot device disarms; plugged again, it works again. */
static void test_unplug_self(const void *engine)
{
    Snap *s = snap_start(PC);

    for (int i = 0; i < 5; i++) {
        qtest_writel(s->qts, SPOT, 1);
        snap_save(s);
        qtest_writel(s->qts, SPOT, 2);
        if (i & 1) {
            snap_restore(s);
        }
        qpci_unplug_acpi_device_test(s->qts, "s0", SLOT);
        assert_disarmed(s->qts);
        g_assert_cmpint(qtest_readl(s->qts, SPOT), ==, i & 1 ? 1 : 2);
        qtest_qmp_device_add(s->qts, "snapshot", "s0",
                             "{ 'addr': %s, 'engine': %s, 'verify': true }",
                             stringify(SLOT), (const char *)engine);
        snap_enable(s);
        g_assert_cmphex(snap_reg(s, SNAPSHOT_REG_STATUS), ==, 0);
        g_assert_cmpint(snap_reg(s, SNAPSHOT_REG_RESULT), ==, 0);
    }
    qpci_unplug_acpi_device_test(s->qts, "s0", SLOT);
    migration_completes(s->qts);
    snap_end(s);
}

/* On q35 the device sits behind a bridge if it is to be unplugged. */
static void test_unplug_self_q35(void)
{
    QTestState *qts = qtest_init("-nodefaults -machine q35 -m 16 "
                                 "-device pcie-root-port,id=rp "
                                 "-device pcie-pci-bridge,id=br,bus=rp "
                                 "-device snapshot,id=s0,bus=br,addr=1");

    qtest_writel(qts, SPOT, 1);
    qtest_qmp_assert_success(qts, SAVE);
    qtest_writel(qts, SPOT, 2);
    qtest_qmp_assert_success(qts, RESTORE);
    g_assert_cmpint(qtest_readl(qts, SPOT), ==, 1);
    qtest_qmp_device_del_send(qts, "s0");
    /* ACPI hot-plug: eject slot 1 of each bus that has hot-plugging */
    for (int bus = 0; bus < 3; bus++) {
        qtest_outl(qts, 0xcc0 + 0x10, bus);
        qtest_outl(qts, 0xcc0 + 0x08, 1 << 1);
    }
    qtest_qmp_eventwait(qts, "DEVICE_DELETED");
    assert_disarmed(qts);
    migration_completes(qts);
    qtest_quit(qts);
}

/* Refused: the machine is not that of the save.  And it is left alone. */
static void assert_restore_refused(Snap *s, const char *reason)
{
    uint32_t restores = snap_reg(s, SNAPSHOT_REG_RESTORES);
    g_autofree char *why = NULL;

    qtest_writel(s->qts, SPOT, 2);
    why = snap_qmp_error(s->qts, RESTORE);
    snap_assert_contains(why, reason);
    snap_assert_contains(why, "save again");
    g_assert_cmpint(snap_command(s, SNAPSHOT_CMD_RESTORE), ==,
                    SNAPSHOT_RES_REFUSED);
    g_assert_cmpint(qtest_readl(s->qts, SPOT), ==, 2);
    g_assert_cmpint(snap_reg(s, SNAPSHOT_REG_RESTORES), ==, restores);

    /* Which helps: */
    snap_save(s);
    qtest_writel(s->qts, SPOT, 3);
    snap_restore(s);
    g_assert_cmpint(qtest_readl(s->qts, SPOT), ==, 2);
}

static void test_device_plugged(void)
{
    Snap *s = snap_start(PC "-object rng-builtin,id=r");

    snap_save(s);
    qtest_qmp_device_add(s->qts, "virtio-rng-pci", "rng0",
                         "{ 'addr': '7', 'rng': 'r' }");
    assert_restore_refused(s, "plugged");
    qpci_unplug_acpi_device_test(s->qts, "rng0", 7);
    assert_restore_refused(s, "unplugged");
    snap_end(s);
}

/* Another device in the place of the old one is another device. */
static void test_device_replaced(void)
{
    Snap *s = snap_start(PC "-object rng-builtin,id=r "
                         "-device virtio-rng-pci,rng=r,id=rng0,addr=7");

    for (int i = 0; i < 5; i++) {
        snap_save(s);
        qpci_unplug_acpi_device_test(s->qts, "rng0", 7);
        qtest_qmp_device_add(s->qts, "virtio-rng-pci", "rng0",
                             "{ 'addr': '7', 'rng': 'r' }");
        assert_restore_refused(s, "plugged");
    }
    snap_end(s);
}

static void test_memory_plugged(void)
{
    Snap *s = snap_start("-nodefaults -machine pc -m 16,slots=2,maxmem=1G "
                         "-device snapshot");

    snap_save(s);
    qtest_qmp_assert_success(s->qts, "{ 'execute': 'object-add',"
                             " 'arguments': { 'qom-type': "
                             "'memory-backend-ram', 'id': 'm1',"
                             " 'size': 134217728 } }");
    qtest_qmp_device_add(s->qts, "pc-dimm", "d1", "{ 'memdev': 'm1' }");
    assert_restore_refused(s, "RAM was plugged");
    snap_end(s);
}

static void test_cpu_plugged(void)
{
    Snap *s = snap_start("-nodefaults -machine pc -m 16 "
                         "-smp 1,sockets=2,maxcpus=2 -device snapshot");

    snap_save(s);
    qtest_qmp_device_add(s->qts, "qemu64-x86_64-cpu", "c1",
                         "{ 'socket-id': 1, 'core-id': 0, 'thread-id': 0 }");
    assert_restore_refused(s, "plugged");
    snap_end(s);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("/snapshot/migrate/blocked", test_migrate);
    qtest_add_func("/snapshot/migrate/after-failure",
                   test_migrate_after_failure);
    qtest_add_func("/snapshot/migrate/only-migratable", test_only_migratable);
    qtest_add_func("/snapshot/migrate/incoming", test_incoming);
    qtest_add_func("/snapshot/migrate/savevm", test_savevm);
    qtest_add_data_func("/snapshot/unplug/self/copy", "copy",
                        test_unplug_self);
    qtest_add_data_func("/snapshot/unplug/self/remap", "remap",
                        test_unplug_self);
    qtest_add_func("/snapshot/unplug/self/q35", test_unplug_self_q35);
    qtest_add_func("/snapshot/plug/device", test_device_plugged);
    qtest_add_func("/snapshot/plug/device-replaced", test_device_replaced);
    qtest_add_func("/snapshot/plug/memory", test_memory_plugged);
    qtest_add_func("/snapshot/plug/cpu", test_cpu_plugged);
    return g_test_run();
}
