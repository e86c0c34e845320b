/*
 * Machine snapshots: virtio devices, their queues and their interrupts.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qobject/qdict.h"
#include "snapshot-virtio.h"

#define OFTEN 60

static void run_rng(Virtio *v, const char *machine)
{
    uint8_t before[64], after[64];

    virtio_open(v, snap_start("%s -object rng-builtin,id=r "
                              "-device virtio-rng-pci,rng=r,addr=%d",
                              machine, VIRTIO_SLOT), 0);
    virtio_wait(v, virtio_submit(v, 64, true));
    qtest_memread(v->qts, v->buffer, before, sizeof(before));
    virtio_save(v);
    for (int n = 0; n < OFTEN; n++) {
        for (int i = 0; i < n % 5; i++) {
            virtio_wait(v, virtio_submit(v, 64, true));
            g_assert_cmpint(virtio_used(v), ==, 2 + i);
        }
        virtio_upset(v, n);
        virtio_restore(v);
        g_assert_cmpint(virtio_used(v), ==, 1);
        qtest_memread(v->qts, v->buffer, after, sizeof(after));
        g_assert_cmpmem(before, 64, after, 64);
    }
    virtio_wait(v, virtio_submit(v, 64, true));
    virtio_close(v);
}

static void test_rng(void)
{
    Virtio v = { 0 };

    run_rng(&v, VIRTIO_PC);
}

static void test_rng_msix(void)
{
    Virtio v = { .msix = true };

    run_rng(&v, VIRTIO_Q35);
}

/* The device is limited to a few bytes a second, and the request waits. */
static void test_rng_waits(void)
{
    const int64_t second = 1000000000;
    Virtio v = { 0 };
    uint32_t head;

    virtio_open(&v, snap_start(VIRTIO_PC "-object rng-builtin,id=r "
                               "-device virtio-rng-pci,rng=r,addr=%d,"
                               "max-bytes=16,period=1000", VIRTIO_SLOT), 0);
    virtio_wait(&v, virtio_submit(&v, 16, true));
    qtest_clock_step(v.qts, second / 2);
    head = virtio_submit(&v, 16, true);
    virtio_save(&v);
    for (int n = 0; n < OFTEN; n++) {
        g_assert_cmpint(virtio_used(&v), ==, 1);
        qtest_clock_step(v.qts, second);
        virtio_wait(&v, head);
        g_assert_cmpint(virtio_used(&v), ==, 2);
        virtio_restore(&v);
    }
    virtio_close(&v);
}

/*
 * Pages that the guest gives to the balloon are dropped by the host, behind
 * the back of all that tracks writes.
 */
static void test_balloon(const void *engine)
{
    const uint64_t page = 12 * MiB;
    Virtio v = { 0 };

    virtio_open(&v, snap_start(VIRTIO_PC "-global snapshot.engine=%s "
                               "-device virtio-balloon-pci,addr=%d",
                               (const char *)engine, VIRTIO_SLOT), 0);
    qtest_memset(v.qts, page, 0x11, 4096);
    virtio_save(&v);
    for (int n = 0; n < OFTEN / 4; n++) {
        qtest_writel(v.qts, v.buffer, page >> 12);
        virtio_wait(&v, virtio_submit(&v, 4, false));
        if (n & 1) {
            qtest_writel(v.qts, page + 8, n);
        }
        virtio_restore(&v);
        g_assert_cmphex(qtest_readl(v.qts, page), ==, 0x11111111);
        g_assert_cmphex(qtest_readl(v.qts, page + 8), ==, 0x11111111);
    }
    virtio_close(&v);
}

/* Registers of a device of before version 1, and its queue in RAM */
#define LEGACY_PFN 8
#define LEGACY_NUM 12
#define LEGACY_STATUS 18
#define LEGACY_QUEUE (1 * MiB)

/*
 * The guest wrote nonsense to its queue.  The device has not looked yet; its
 * loader does, and says that the device is broken.
 */
static void test_bad_queue(void)
{
    Snap *s = snap_start(VIRTIO_PC "-object rng-builtin,id=r -device "
                         "virtio-rng-pci-transitional,rng=r,addr=%d",
                         VIRTIO_SLOT);
    QPCIDevice *dev = qpci_device_find(s->bus, QPCI_DEVFN(VIRTIO_SLOT, 0));
    uint64_t avail_idx;
    QPCIBar bar;

    qpci_device_enable(dev);
    bar = qpci_iomap(dev, 0, NULL);
    avail_idx = LEGACY_QUEUE + qpci_io_readw(dev, bar, LEGACY_NUM) * 16 + 2;
    qpci_io_writeb(dev, bar, LEGACY_STATUS, 3);
    qpci_io_writel(dev, bar, LEGACY_PFN, LEGACY_QUEUE >> 12);
    qtest_writew(s->qts, avail_idx, 0x7777);
    snap_save(s);
    for (int n = 0; n < OFTEN; n++) {
        qpci_io_writeb(dev, bar, LEGACY_STATUS, 0);
        snap_restore(s);
        g_assert_cmphex(qpci_io_readb(dev, bar, LEGACY_STATUS), ==, 3);
        g_assert_cmphex(qpci_io_readl(dev, bar, LEGACY_PFN), ==,
                        LEGACY_QUEUE >> 12);
    }
    g_free(dev);
    snap_end(s);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("/snapshot/virtio/rng", test_rng);
    qtest_add_func("/snapshot/virtio/rng-msix", test_rng_msix);
    qtest_add_func("/snapshot/virtio/rng-waits", test_rng_waits);
    qtest_add_data_func("/snapshot/virtio/balloon/copy", "copy", test_balloon);
    qtest_add_data_func("/snapshot/virtio/balloon/remap", "remap",
                        test_balloon);
    qtest_add_func("/snapshot/virtio/bad-queue", test_bad_queue);
    return g_test_run();
}
