/*
 * Machine snapshots: is every change of every section seen, and can every
 * section be loaded any number of times?
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qobject/qdict.h"
#include "snapshot-common.h"

#define DEVICES \
    "-m 16 -vga std -serial null -parallel null " \
    "-device qemu-xhci,id=usb -device usb-kbd,bus=usb.0 " \
    "-device e1000 -device rtl8139 " \
    "-device ich9-ahci,id=ahci -device ide-cd,bus=ahci.0 " \
    "-device pvpanic -device snapshot"

#define VIRT(gic) "-machine virt,gic-version=" gic " -cpu cortex-a57 "

/* "virt" has a UART, an RTC and pins of its own. */
#define DEVICES_ARM \
    "-nodefaults -m 16 -serial null " \
    "-device qemu-xhci,id=usb -device usb-kbd,bus=usb.0 -device e1000e " \
    "-device ich9-ahci,id=ahci -device ide-cd,bus=ahci.0 -device snapshot"

#define VIRTIO \
    "-nodefaults -m 16 " \
    "-blockdev driver=null-co,node-name=n0,size=1048576,read-only=on " \
    "-blockdev driver=null-co,node-name=n1,size=1048576,read-only=on " \
    "-device virtio-blk-pci,drive=n0 -device virtio-net-pci " \
    "-device virtio-scsi-pci,id=scsi -device scsi-hd,bus=scsi.0,drive=n1 " \
    "-device virtio-serial-pci -chardev null,id=c " \
    "-device virtconsole,chardev=c -device virtio-balloon-pci " \
    "-device virtio-rng-pci -device virtio-keyboard-pci -device snapshot"

static QDict *machine_property(Snap *s, const char *name)
{
    return qtest_qmp(s->qts, "{ 'execute': 'qom-get', 'arguments': {"
                     " 'path': '/machine', 'property': %s } }", name);
}

/*
 * Flip memory, byte by byte: what is not seen must not matter.  QEMU does it,
 * see migration/snapshot/devices-selftest.c.inc.
 */
static void test_unseen(const void *args)
{
    Snap *s = snap_start("%s", (const char *)args);
    g_autoptr(QDict) response = NULL;
    uint64_t tried, serialised, missed;
    const char *report;

    snap_save(s);
    response = machine_property(s, "x-snapshot-unseen");
    report = qdict_get_str(response, "return");
    g_test_message("tried, serialised, missed: %s", report);
    g_assert_cmpint(sscanf(report, "%" PRIu64 " %" PRIu64 " %" PRIu64, &tried,
                           &serialised, &missed), ==, 3);
    g_assert_cmpint(tried, >, 10000);
    g_assert_cmpint(serialised, >, 1000);
    g_assert_cmpint(missed, ==, 0);

    /* It was another process whose memory was flipped. */
    snap_restore(s);
    g_assert_cmpint(snap_query_int(s->qts, "verify-failures"), ==, 0);
    snap_end(s);
}

static int64_t heap(Snap *s)
{
    g_autoptr(QDict) response = machine_property(s, "x-snapshot-heap");

    return qdict_get_int(response, "return");
}

#define ROUNDS 8
#define RESTORES 200

/* malloc() gives out 32 bytes at least: no restore may keep that much. */
#define GROWTH (RESTORES * 24)

/*
 * Every section is loaded each time, the way migration does it.  Caches may
 * grow at first, and at times; what leaks grows in each round.
 */
static void test_repeat(const void *args)
{
    Snap *s = snap_start("%s,x-reference=on", (const char *)args);
    int64_t last, now, growth = INT64_MAX;

    snap_save(s);
    last = heap(s);
    for (int round = 0; round < ROUNDS; round++) {
        for (int n = 0; n < RESTORES; n++) {
            snap_restore(s);
        }
        now = heap(s);
        growth = MIN(growth, now - last);
        last = now;
    }
    g_assert_cmpint(growth, <=, GROWTH);
    snap_end(s);
}

static void add(const char *machine, const char *args)
{
    g_autofree char *unseen = g_strdup_printf("/snapshot/sections/unseen/%s",
                                              machine);
    g_autofree char *repeat = g_strdup_printf("/snapshot/sections/repeat/%s",
                                              machine);

    qtest_add_data_func(unseen, args, test_unseen);
    qtest_add_data_func(repeat, args, test_repeat);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (g_str_equal(qtest_get_arch(), "aarch64")) {
        add("gic-2", VIRT("2") DEVICES_ARM);
        add("gic-3", VIRT("3") DEVICES_ARM);
        add("virtio", VIRT("3") VIRTIO);
    } else {
        add("pc", "-machine pc " DEVICES);
        add("q35", "-machine q35 " DEVICES);
        add("virtio", "-machine pc " VIRTIO);
    }
    return g_test_run();
}
