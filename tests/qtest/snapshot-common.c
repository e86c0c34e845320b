/*
 * Helpers shared by the qtests of machine snapshots.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "libqos/pci-pc.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "snapshot-common.h"

/* Longer than any command takes, on a machine that is busy with others */
#define COMMAND_TIMEOUT_US (60 * G_USEC_PER_SEC)

/* An empty file for QEMU's stderr */
static char *new_log(void)
{
    char *name;
    int fd = g_file_open_tmp("snapshot-qtest-XXXXXX", &name, NULL);

    g_assert_cmpint(fd, >=, 0);
    close(fd);
    return name;
}

static char *read_log(const char *name)
{
    char *text;

    g_assert_true(g_file_get_contents(name, &text, NULL, NULL));
    return text;
}

/* A test fails: show what QEMU said. */
static void show_log(void *log)
{
    g_autofree char *text = read_log(log);

    fprintf(stderr, "%s", text);
    unlink(log);
}

/* The PCI bus of a PC, or of Arm's "virt" */
static QPCIBus *new_bus(Snap *s)
{
    if (g_str_equal(qtest_get_arch(), "aarch64")) {
        qpci_init_generic(&s->arm_bus, s->qts, NULL, false);
        return &s->arm_bus.bus;
    }
    return qpci_new_pc(s->qts, NULL);
}

Snap *snap_start(const char *fmt, ...)
{
    g_autofree char *args = NULL;
    Snap *s = g_new0(Snap, 1);
    va_list ap;

    va_start(ap, fmt);
    args = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    s->log = new_log();
    qtest_add_abrt_handler(show_log, s->log);
    s->qts = qtest_initf("%s 2>%s", args, s->log);
    s->bus = new_bus(s);
    s->dev = snap_find(s->bus, SNAPSHOT_PCI_VENDOR_ID, SNAPSHOT_PCI_DEVICE_ID);
    g_assert_nonnull(s->dev);
    snap_enable(s);
    return s;
}

Snap *snap_start_engine(const char *engine)
{
    return snap_start("-nodefaults -machine pc -m 64 "
                      "-device snapshot,id=s0,verify=on,engine=%s", engine);
}

void snap_add_for_engines(const char *path, void (*fn)(const void *))
{
    static const char *const engines[] = { "copy", "remap" };

    for (size_t i = 0; i < ARRAY_SIZE(engines); i++) {
        g_autofree char *full = g_strdup_printf("/snapshot/%s/%s", path,
                                                engines[i]);

        qtest_add_data_func(full, engines[i], fn);
    }
}

void snap_end(Snap *s)
{
    qtest_quit(s->qts);
    qtest_remove_abrt_handler(s->log);
    g_free(s->dev);
    if (s->bus != &s->arm_bus.bus) {
        qpci_free_pc(s->bus);
    }
    unlink(s->log);
    g_free(s->log);
    g_free(s);
}

char *snap_log(const Snap *s)
{
    return read_log(s->log);
}

static void found(QPCIDevice *dev, int devfn, void *data)
{
    QPCIDevice **first = data;

    if (*first) {
        g_free(dev);
    } else {
        *first = dev;
    }
}

QPCIDevice *snap_find(QPCIBus *bus, uint16_t vendor, uint16_t device)
{
    QPCIDevice *dev = NULL;

    qpci_device_foreach(bus, vendor, device, found, &dev);
    return dev;
}

void snap_enable(Snap *s)
{
    uint64_t size;

    qpci_device_enable(s->dev);
    s->bar = qpci_iomap(s->dev, SNAPSHOT_BAR, &size);
    g_assert_cmphex(size, ==, SNAPSHOT_BAR_SIZE);
    g_assert_false(s->bar.is_io);
}

uint32_t snap_reg(const Snap *s, uint64_t reg)
{
    return qpci_io_readl(s->dev, s->bar, reg);
}

uint64_t snap_reg64(const Snap *s, uint64_t reg)
{
    return qpci_io_readq(s->dev, s->bar, reg);
}

uint32_t snap_command(const Snap *s, uint32_t command)
{
    gint64 end = g_get_monotonic_time() + COMMAND_TIMEOUT_US;
    uint32_t result;

    /* Is the BAR still there? */
    g_assert_cmpint(snap_reg(s, SNAPSHOT_REG_ABI), ==, SNAPSHOT_ABI_VERSION);
    qpci_io_writel(s->dev, s->bar, SNAPSHOT_REG_COMMAND, command);
    do {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        result = snap_reg(s, SNAPSHOT_REG_RESULT);
    } while (result == SNAPSHOT_RES_PENDING);
    return result;
}

void snap_save(const Snap *s)
{
    g_assert_cmpint(snap_command(s, SNAPSHOT_CMD_SAVE), ==, SNAPSHOT_RES_DONE);
}

void snap_restore(const Snap *s)
{
    g_assert_cmpint(snap_command(s, SNAPSHOT_CMD_RESTORE), ==,
                    SNAPSHOT_RES_DONE);
}

QDict *snap_query(QTestState *qts)
{
    return qtest_qmp_assert_success_ref(qts,
        "{ 'execute': 'x-snapshot-device-query' }");
}

int64_t snap_query_int(QTestState *qts, const char *key)
{
    g_autoptr(QDict) info = snap_query(qts);

    return qdict_get_int(info, key);
}

int64_t snap_section(QTestState *qts, const char *name, const char *key)
{
    g_autoptr(QDict) info = snap_query(qts);
    const QListEntry *e;
    int64_t n = 0;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(info, "loads"), e) {
        QDict *load = qobject_to(QDict, qlist_entry_obj(e));

        if (g_str_equal(qdict_get_str(load, "section"), name)) {
            n += qdict_get_int(load, key);
        }
    }
    return n;
}

char *snap_qmp_error(QTestState *qts, const char *fmt, ...)
{
    g_autoptr(QDict) error = NULL;
    va_list ap;

    va_start(ap, fmt);
    error = qtest_vqmp_assert_failure_ref(qts, fmt, ap);
    va_end(ap);
    return g_strdup(qdict_get_str(error, "desc"));
}

char *snap_run(int expected_status, const char *fmt, ...)
{
    g_autofree char *args = NULL;
    g_autofree char *script = NULL;
    g_autofree char *output = NULL;
    g_autoptr(GError) err = NULL;
    const char *argv[] = { "/bin/sh", "-c", NULL, NULL };
    int status;
    va_list ap;

    va_start(ap, fmt);
    args = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    script = g_strdup_printf("printf '%s%s' | exec %s -display none "
                             "-qmp stdio %s 2>&1",
                             "{\"execute\":\"qmp_capabilities\"}",
                             "{\"execute\":\"quit\"}",
                             g_getenv("QTEST_QEMU_BINARY"), args);
    argv[2] = script;
    g_test_message("running: %s", script);
    g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_DEFAULT, NULL, NULL,
                 &output, NULL, &status, &err);
    g_assert_no_error(err);
    g_assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) != expected_status) {
        g_error("exit status %d instead of %d: %s", WEXITSTATUS(status),
                expected_status, output);
    }
    return g_steal_pointer(&output);
}

void snap_assert_contains_at(const char *file, int line, const char *text,
                             const char *part)
{
    if (!strstr(text, part)) {
        g_error("%s:%d: '%s' is not in '%s'", file, line, part, text);
    }
}
