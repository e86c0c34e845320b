/*
 * Machine snapshots: control from the host (QMP, HMP, QOM), and run states.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "snapshot-common.h"

#define PC "-nodefaults -machine pc -m 16 -device snapshot,id=s0"

#define SAVE "{ 'execute': 'x-snapshot-device-save' }"
#define RESTORE "{ 'execute': 'x-snapshot-device-restore' }"
#define DISCARD "{ 'execute': 'x-snapshot-device-discard' }"

static void test_qmp(void)
{
    Snap *s = snap_start(PC ",verify=on");
    g_autofree char *none = snap_qmp_error(s->qts, RESTORE);
    g_autofree char *gone = NULL;
    g_autoptr(QDict) info = NULL;

    snap_assert_contains(none, "save first");
    qtest_qmp_assert_success(s->qts, SAVE);
    qtest_writel(s->qts, 1 * MiB, 1);
    qtest_qmp_assert_success(s->qts, RESTORE);
    g_assert_cmpint(qtest_readl(s->qts, 1 * MiB), ==, 0);
    /* Guest and host control one snapshot. */
    g_assert_cmpint(snap_reg(s, SNAPSHOT_REG_RESTORES), ==, 1);
    snap_restore(s);
    g_assert_cmpint(snap_query_int(s->qts, "restores"), ==, 2);
    qtest_writel(s->qts, 1 * MiB, 1);
    qtest_qmp_assert_success(s->qts, DISCARD);
    g_assert_cmpint(qtest_readl(s->qts, 1 * MiB), ==, 1);
    qtest_qmp_assert_success(s->qts, DISCARD);
    gone = snap_qmp_error(s->qts, RESTORE);
    snap_assert_contains(gone, "save first");
    info = snap_query(s->qts);
    snap_assert_contains(qdict_get_str(info, "last-error"), "save first");
    snap_end(s);
}

/* Nothing but monitor commands: the device is not needed. */
static void test_without_device(void)
{
    QTestState *qts = qtest_init("-nodefaults -machine pc -m 16 "
                                 "-rtc clock=vm");
    g_autoptr(QDict) info = NULL;

    qtest_writel(qts, 1 * MiB, 1);
    qtest_qmp_assert_success(qts, "{ 'execute': 'x-snapshot-device-save',"
                             " 'arguments': { 'verify': true } }");
    for (int i = 0; i < 10; i++) {
        qtest_writel(qts, 1 * MiB, 2);
        qtest_qmp_assert_success(qts, RESTORE);
        g_assert_cmpint(qtest_readl(qts, 1 * MiB), ==, 1);
    }
    info = snap_query(qts);
    g_assert_cmpint(qdict_get_int(info, "restores"), ==, 10);
    g_assert_true(qdict_get_bool(info, "verify"));
    qtest_quit(qts);
}

/* Arguments are for one save; the device has the defaults. */
static void test_arguments(void)
{
    Snap *s = snap_start(PC ",engine=copy");
    g_autoptr(QDict) info = NULL;

    qtest_qmp_assert_success(s->qts,
                             "{ 'execute': 'x-snapshot-device-save',"
                             "  'arguments': { 'engine': 'remap',"
                             "                 'verify': true } }");
    info = snap_query(s->qts);
    g_assert_cmpstr(qdict_get_str(info, "engine"), ==, "remap");
    g_assert_true(qdict_get_bool(info, "verify"));
    snap_save(s);
    g_assert_cmpint(snap_reg(s, SNAPSHOT_REG_ENGINE), ==,
                    SNAPSHOT_ENGINE_COPY);
    g_assert_cmphex(snap_reg(s, SNAPSHOT_REG_STATUS), ==,
                    SNAPSHOT_STATUS_ARMED);

    /* The property can be changed; it is for the next save. */
    qtest_qmp_assert_success(s->qts, "{ 'execute': 'qom-set', 'arguments': {"
                             " 'path': '/machine/peripheral/s0',"
                             " 'property': 'engine', 'value': 'remap' } }");
    g_assert_cmpint(snap_reg(s, SNAPSHOT_REG_ENGINE), ==,
                    SNAPSHOT_ENGINE_COPY);
    snap_save(s);
    g_assert_cmpint(snap_reg(s, SNAPSHOT_REG_ENGINE), ==,
                    SNAPSHOT_ENGINE_REMAP);
    snap_end(s);
}

static void check_phases(const QDict *info)
{
    static const char *const names[] = {
        "stop", "ram", "devices", "disks", "clocks", "resume",
    };
    const QListEntry *e;
    size_t n = 0;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(info, "phases"), e) {
        QDict *phase = qobject_to(QDict, qlist_entry_obj(e));

        g_assert_cmpint(n, <, ARRAY_SIZE(names));
        g_assert_cmpstr(qdict_get_str(phase, "phase"), ==, names[n++]);
        g_assert_cmpint(qdict_get_int(phase, "last"), >, 0);
        g_assert_cmpint(qdict_get_int(phase, "last"), <=,
                        qdict_get_int(phase, "max"));
        g_assert_cmpint(qdict_get_int(phase, "max"), <=,
                        qdict_get_int(phase, "total"));
    }
    g_assert_cmpint(n, ==, ARRAY_SIZE(names));
}

static void test_statistics(void)
{
    Snap *s = snap_start(PC);
    g_autoptr(QDict) before = snap_query(s->qts);
    g_autoptr(QDict) info = NULL;
    g_autoptr(QDict) answer = NULL;

    g_assert_false(qdict_get_bool(before, "armed"));
    g_assert_false(qdict_haskey(before, "tracker"));
    g_assert_true(qlist_empty(qdict_get_qlist(before, "phases")));

    snap_save(s);
    for (int n = 1; n <= 5; n++) {
        qtest_memset(s->qts, 1 * MiB, 1, n * 4096);
        qtest_outb(s->qts, 0x70, 0x40);
        qtest_outb(s->qts, 0x71, n);
        snap_restore(s);
    }
    info = snap_query(s->qts);
    g_assert_true(qdict_get_bool(info, "armed"));
    g_assert_cmpstr(qdict_get_str(info, "tracker"), ==, "qtest");
    g_assert_cmpint(qdict_get_int(info, "restores"), ==, 5);
    g_assert_cmpint(qdict_get_int(info, "pages-last"), ==, 5);
    g_assert_cmpint(qdict_get_int(info, "pages-total"), ==, 15);
    g_assert_cmpint(qdict_get_int(info, "verify-failures"), ==, 0);
    g_assert_cmpint(qdict_get_int(info, "ram-bytes"), >=, 16 * MiB);
    check_phases(info);
    g_assert_cmpint(snap_section(s->qts, "mc146818rtc", "loads"), ==, 5);

    answer = qtest_qmp_assert_success_ref(s->qts,
        "{ 'execute': 'qom-get', 'arguments': {"
        " 'path': '/machine/peripheral/s0', 'property': 'stats' } }");
    g_assert_true(qobject_is_equal(QOBJECT(answer), QOBJECT(info)));

    snap_save(s);
    g_assert_cmpint(snap_query_int(s->qts, "restores"), ==, 0);
    g_assert_cmpint(snap_section(s->qts, "mc146818rtc", "loads"), ==, 0);
    snap_end(s);
}

static void test_schema(void)
{
    static const char *const commands[] = {
        "x-snapshot-device-save", "x-snapshot-device-restore",
        "x-snapshot-device-discard", "x-snapshot-device-query",
        "x-snapshot-device-set-verify", "x-snapshot-device-push",
        "x-snapshot-device-pop", "x-snapshot-device-exclude",
        "x-snapshot-device-include-all",
    };
    Snap *s = snap_start(PC);
    g_autoptr(QDict) answer = qtest_qmp(s->qts,
                                        "{ 'execute': 'query-qmp-schema' }");
    const QListEntry *e;
    size_t found = 0;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(answer, "return"), e) {
        QDict *entity = qobject_to(QDict, qlist_entry_obj(e));

        for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
            found += g_str_equal(qdict_get_str(entity, "name"), commands[i]);
        }
    }
    g_assert_cmpint(found, ==, ARRAY_SIZE(commands));
    snap_end(s);
}

static void test_hmp(void)
{
    Snap *s = snap_start(PC ",engine=copy");
    g_autofree char *none = qtest_hmp(s->qts, "snapshot_device_restore");
    g_autofree char *off = qtest_hmp(s->qts, "info snapshot-device");
    g_autofree char *saved = qtest_hmp(s->qts, "snapshot_device_save");
    g_autofree char *restored = NULL;
    g_autofree char *armed = NULL;
    g_autofree char *discarded = NULL;

    snap_assert_contains(none, "Error: there is no snapshot");
    snap_assert_contains(off, "snapshot: none");
    g_assert_cmpstr(saved, ==, "");
    qtest_writel(s->qts, 1 * MiB, 1);
    restored = qtest_hmp(s->qts, "snapshot_device_restore");
    g_assert_cmpstr(restored, ==, "");
    g_assert_cmpint(qtest_readl(s->qts, 1 * MiB), ==, 0);
    armed = qtest_hmp(s->qts, "info snapshot-device");
    snap_assert_contains(armed, "snapshot: armed, engine copy, verify off");
    snap_assert_contains(armed, "tracked by qtest");
    snap_assert_contains(armed, "restores: 1");
    snap_assert_contains(armed, "devices: last ");
    discarded = qtest_hmp(s->qts, "snapshot_device_discard");
    g_assert_cmpstr(discarded, ==, "");
    g_assert_cmphex(snap_reg(s, SNAPSHOT_REG_STATUS), ==, 0);
    snap_end(s);
}

static void assert_state(Snap *s, const char *state)
{
    g_autoptr(QDict) status = qtest_qmp_assert_success_ref(s->qts,
        "{ 'execute': 'query-status' }");

    g_assert_cmpstr(qdict_get_str(status, "status"), ==, state);
}

static void assert_no_event(Snap *s, const char *name)
{
    g_autoptr(QDict) event = qtest_qmp_event_ref(s->qts, name);

    g_assert_null(event);
}

static void test_running(void)
{
    Snap *s = snap_start(PC);

    assert_state(s, "running");
    snap_save(s);
    assert_state(s, "running");
    snap_restore(s);
    qtest_qmp_assert_success(s->qts, SAVE);
    qtest_qmp_assert_success(s->qts, RESTORE);
    assert_state(s, "running");
    assert_no_event(s, "STOP");
    snap_end(s);
}

/* A stopped machine stays stopped, whatever it did at the save. */
static void test_stopped(void)
{
    Snap *s = snap_start(PC ",verify=on");

    qtest_qmp_assert_success(s->qts, "{ 'execute': 'stop' }");
    qtest_qmp_assert_success(s->qts, SAVE);
    assert_state(s, "paused");
    qtest_qmp_assert_success(s->qts, RESTORE);
    assert_state(s, "paused");
    qtest_qmp_assert_success(s->qts, "{ 'execute': 'cont' }");
    snap_restore(s);
    assert_state(s, "running");
    snap_save(s);
    qtest_qmp_assert_success(s->qts, "{ 'execute': 'stop' }");
    snap_restore(s);
    assert_state(s, "paused");
    snap_end(s);
}

/* Power management of the PC: I/O ports at 0x600; returns PM1 control. */
static uint16_t enable_pm(Snap *s)
{
    QPCIDevice *pm = qpci_device_find(s->bus, QPCI_DEVFN(1, 3));

    qpci_config_writel(pm, 0x40, 0x600 | 1);
    qpci_config_writeb(pm, 0x80, 1);
    g_free(pm);
    return 0x604;
}

/* Back from the dead: the guest had switched itself off. */
static void test_shut_down(void)
{
    Snap *s = snap_start(PC ",verify=on -action shutdown=pause");
    uint16_t pm1_control = enable_pm(s);

    snap_save(s);
    qtest_outw(s->qts, pm1_control, 0x2000);
    qtest_qmp_eventwait(s->qts, "SHUTDOWN");
    assert_state(s, "shutdown");
    qtest_qmp_assert_success(s->qts, RESTORE);
    assert_state(s, "paused");
    qtest_qmp_assert_success(s->qts, "{ 'execute': 'cont' }");
    assert_state(s, "running");
    snap_end(s);
}

static void go_to_sleep(Snap *s, uint16_t pm1_control)
{
    qtest_outw(s->qts, pm1_control, 0x2400);
    qtest_qmp_eventwait(s->qts, "SUSPEND");
    assert_state(s, "suspended");
}

static void test_suspended_later(void)
{
    Snap *s = snap_start(PC ",verify=on");
    uint16_t pm1_control = enable_pm(s);

    snap_save(s);
    for (int i = 0; i < 3; i++) {
        go_to_sleep(s, pm1_control);
        qtest_qmp_assert_success(s->qts, RESTORE);
        assert_state(s, "running");
    }
    snap_end(s);
}

static void test_suspended_before(void)
{
    Snap *s = snap_start(PC ",verify=on");

    go_to_sleep(s, enable_pm(s));
    qtest_qmp_assert_success(s->qts, SAVE);
    assert_state(s, "suspended");
    for (int i = 0; i < 3; i++) {
        qtest_qmp_assert_success(s->qts, "{ 'execute': 'system_wakeup' }");
        qtest_qmp_eventwait(s->qts, "WAKEUP");
        assert_state(s, "running");
        qtest_qmp_assert_success(s->qts, RESTORE);
        assert_state(s, "suspended");
    }
    snap_end(s);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("/snapshot/control/qmp", test_qmp);
    qtest_add_func("/snapshot/control/without-device", test_without_device);
    qtest_add_func("/snapshot/control/arguments", test_arguments);
    qtest_add_func("/snapshot/control/statistics", test_statistics);
    qtest_add_func("/snapshot/control/schema", test_schema);
    qtest_add_func("/snapshot/control/hmp", test_hmp);
    qtest_add_func("/snapshot/state/running", test_running);
    qtest_add_func("/snapshot/state/stopped", test_stopped);
    qtest_add_func("/snapshot/state/shut-down", test_shut_down);
    qtest_add_func("/snapshot/state/suspended-later", test_suspended_later);
    qtest_add_func("/snapshot/state/suspended-before",
                   test_suspended_before);
    return g_test_run();
}
