/*
 * Machine snapshots: virtio disk, network and console, whose back ends are on
 * the host and do not go back.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qobject/qdict.h"
#include "standard-headers/linux/virtio_blk.h"
#include "standard-headers/linux/virtio_console.h"
#include "snapshot-virtio.h"

#define OFTEN 60

#define SECTORS 64

static char *new_disk(void)
{
    g_autofree uint8_t *data = g_malloc(SECTORS * 512);
    char *name;
    int fd = g_file_open_tmp("snapshot-qtest-XXXXXX", &name, NULL);

    for (int i = 0; i < SECTORS; i++) {
        memset(data + i * 512, i + 1, 512);
    }
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(write(fd, data, SECTORS * 512), ==, SECTORS * 512);
    close(fd);
    return name;
}

static uint32_t blk_read(Virtio *v, uint64_t sector)
{
    return virtio_blk_submit(v, VIRTIO_BLK_T_IN, sector, 512);
}

static void blk_check(Virtio *v, uint64_t sector)
{
    uint8_t data[512];

    g_assert_cmpint(virtio_blk_status(v), ==, 0);
    qtest_memread(v->qts, v->buffer + BLK_DATA, data, 512);
    for (int i = 0; i < 512; i++) {
        g_assert_cmpint(data[i], ==, sector + 1);
    }
}

static void blk_open(Virtio *v, const char *disk, const char *options)
{
    virtio_open(v, snap_start(VIRTIO_PC "-object iothread,id=io "
                              "-blockdev driver=raw,node-name=d,read-only=on,"
                              "file.driver=file,file.filename=%s "
                              "-device virtio-blk-pci,drive=d,addr=%d%s",
                              disk, VIRTIO_SLOT, options), 0);
}

/* A machine that is saved after sector 5 was read; returns its disk. */
static char *blk_saved(Virtio *v, const char *options)
{
    char *disk = new_disk();

    blk_open(v, disk, options);
    virtio_wait(v, blk_read(v, 5));
    virtio_save(v);
    return disk;
}

/* Back there */
static void blk_restore(Virtio *v)
{
    virtio_restore(v);
    g_assert_cmpint(virtio_used(v), ==, 1);
    blk_check(v, 5);
}

static void test_blk(const void *options)
{
    Virtio v = { 0 };
    g_autofree char *disk = blk_saved(&v, options);

    for (int n = 0; n < OFTEN; n++) {
        for (int i = 0; i < n % 4; i++) {
            int sector = (n + i) % SECTORS;

            virtio_wait(&v, blk_read(&v, sector));
            blk_check(&v, sector);
        }
        virtio_upset(&v, n);
        blk_restore(&v);
    }
    virtio_close(&v);
    unlink(disk);
}

#define BLK_SECTION "0000:00:06.0/virtio-blk"

/* To go back a few requests takes neither a reset nor a byte stream. */
static void test_blk_progress(const void *options)
{
    Virtio v = { 0 };
    g_autofree char *disk = blk_saved(&v, options);

    for (int n = 0; n < OFTEN; n++) {
        for (int i = 0; i < 3; i++) {
            virtio_wait(&v, blk_read(&v, (n + i) % SECTORS));
        }
        blk_restore(&v);
    }
    g_assert_cmpint(snap_section(v.qts, BLK_SECTION, "loads"), ==, OFTEN);
    g_assert_cmpint(snap_section(v.qts, BLK_SECTION, "resets"), ==, 0);
    g_assert_cmpint(snap_section(v.qts, BLK_SECTION, "serialised"), ==, 0);
    virtio_close(&v);
    unlink(disk);
}

/* A read that is under way ends before the save, and before each restore. */
static void test_blk_in_flight(const void *options)
{
    g_autofree char *disk = new_disk();
    Virtio v = { 0 };

    blk_open(&v, disk, options);
    blk_read(&v, 7);
    virtio_save(&v);
    for (int n = 0; n < OFTEN; n++) {
        g_assert_cmpint(virtio_used(&v), ==, 1);
        blk_check(&v, 7);
        for (int i = 0; i <= n % 8; i++) {
            blk_read(&v, i);
        }
        virtio_restore(&v);
    }
    virtio_close(&v);
    unlink(disk);
}

/* A packet of the world outside, which does not go back with the machine */
static void net_receive(Virtio *v, int wire, uint8_t fill)
{
    struct { uint32_t len; uint8_t bytes[60]; } packet = {
        .len = htonl(sizeof(packet.bytes)),
    };
    uint64_t in = v->buffer + 1024;
    uint32_t head = qvirtqueue_add(v->qts, v->rx, in, 1024, true, false);

    memset(packet.bytes, 0xff, 6);          /* broadcast */
    memset(packet.bytes + 6, fill, sizeof(packet.bytes) - 6);
    qvirtqueue_kick(v->qts, v->dev, v->rx, head);
    g_assert_cmpint(write(wire, &packet, sizeof(packet)), ==, sizeof(packet));
    qvirtio_wait_used_elem(v->qts, v->dev, v->rx, head, NULL,
                           VIRTIO_TIMEOUT_US);
    /* behind the header of 12 bytes */
    g_assert_cmphex(qtest_readb(v->qts, in + 12 + 20), ==, fill);
}

static void test_net(void)
{
    Virtio v = { .want_rx = true };
    QVirtQueue rx_saved;
    int wire[2];

    g_assert_cmpint(socketpair(PF_UNIX, SOCK_STREAM, 0, wire), ==, 0);
    virtio_open(&v, snap_start(VIRTIO_PC "-netdev socket,fd=%d,id=n "
                               "-device virtio-net-pci,netdev=n,addr=%d",
                               wire[1], VIRTIO_SLOT), 1);
    virtio_wait(&v, virtio_submit(&v, 80, false));
    net_receive(&v, wire[0], 0xee);
    virtio_save(&v);
    rx_saved = *v.rx;
    for (int n = 0; n < OFTEN; n++) {
        for (int i = 0; i < n % 5; i++) {
            virtio_wait(&v, virtio_submit(&v, 80, false));
            net_receive(&v, wire[0], i);
        }
        virtio_upset(&v, n);
        virtio_restore(&v);
        *v.rx = rx_saved;
        g_assert_cmpint(virtio_used(&v), ==, 1);
        g_assert_cmphex(qtest_readb(v.qts, v.buffer + 1024 + 12 + 20), ==,
                        0xee);
    }
    net_receive(&v, wire[0], 0x77);
    virtio_close(&v);
    close(wire[0]);
    close(wire[1]);
}

#define MULTIPORT (1ull << VIRTIO_CONSOLE_F_MULTIPORT)

static void test_console(void)
{
    Virtio v = { .unwanted = MULTIPORT };

    virtio_open(&v, snap_start(VIRTIO_PC "-chardev null,id=c "
                               "-device virtio-serial-pci,addr=%d "
                               "-device virtconsole,chardev=c",
                               VIRTIO_SLOT), 1);
    virtio_wait(&v, virtio_submit(&v, 20, false));
    virtio_save(&v);
    for (int n = 0; n < OFTEN; n++) {
        for (int i = 0; i < n % 5; i++) {
            virtio_wait(&v, virtio_submit(&v, 20, false));
        }
        virtio_upset(&v, n);
        virtio_restore(&v);
        g_assert_cmpint(virtio_used(&v), ==, 1);
    }
    virtio_close(&v);
}

#define LINE 64

/* Where the line of a descriptor of the receive queue goes */
static uint64_t line_at(Virtio *v, uint32_t descriptor)
{
    return v->buffer + 1024 + descriptor * LINE;
}

static void console_listen(Virtio *v, int lines)
{
    while (lines-- > 0) {
        uint32_t head = qvirtqueue_add(v->qts, v->rx,
                                       line_at(v, v->rx->free_head), LINE,
                                       true, false);

        qvirtqueue_kick(v->qts, v->dev, v->rx, head);
    }
}

static void console_tell(Virtio *v, const char *text)
{
    qtest_memwrite(v->qts, v->buffer, text, strlen(text));
    virtio_submit(v, strlen(text), false);
}

static void console_expect(Virtio *v, const char *reply)
{
    gint64 end = g_get_monotonic_time() + VIRTIO_TIMEOUT_US;
    char line[LINE + 1] = "";
    uint32_t descriptor, len;

    while (!qvirtqueue_get_buf(v->qts, v->rx, &descriptor, &len)) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
    }
    qtest_memread(v->qts, line_at(v, descriptor), line, MIN(len, LINE));
    g_assert_cmpstr(line, ==, reply);
}

/*
 * The virtio console as the line for commands.  A buffer holds many bytes,
 * so a second command can come while the first one is pending.
 */
static void test_console_trigger(void)
{
    Virtio v = { .want_rx = true, .unwanted = MULTIPORT };
    QVirtQueue rx_saved;

    virtio_open(&v, snap_start(VIRTIO_PC "-chardev snapshot,id=c "
                               "-device virtio-serial-pci,addr=%d "
                               "-device virtconsole,chardev=c",
                               VIRTIO_SLOT), 1);
    console_listen(&v, 8);
    console_tell(&v, "discard\nsave\n");
    console_expect(&v, "error 4\r\n");
    console_expect(&v, "ok 0\r\n");

    /* Replies come after the save, so they are not part of it. */
    rx_saved = *v.rx;
    console_tell(&v, "save\n");
    v.vq_saved = *v.vq;
    console_expect(&v, "ok 0\r\n");
    for (int n = 1; n <= OFTEN; n++) {
        g_autofree char *reply = g_strdup_printf("ok %d\r\n", n);

        qtest_writel(v.qts, v.buffer + 8 * LINE, n);
        console_tell(&v, "restore\n");
        while (snap_reg(v.s, SNAPSHOT_REG_RESTORES) != n) {
            g_usleep(100);
        }
        *v.vq = v.vq_saved;
        *v.rx = rx_saved;
        console_expect(&v, reply);
        g_assert_cmpint(qtest_readl(v.qts, v.buffer + 8 * LINE), ==, 0);
    }
    g_assert_cmpint(snap_reg(v.s, SNAPSHOT_REG_VERIFY), ==, 0);
    virtio_close(&v);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_data_func("/snapshot/virtio/blk", "", test_blk);
    qtest_add_data_func("/snapshot/virtio/blk-iothread", ",iothread=io",
                        test_blk);
    qtest_add_data_func("/snapshot/virtio/blk-progress", "",
                        test_blk_progress);
    qtest_add_data_func("/snapshot/virtio/blk-in-flight", "",
                        test_blk_in_flight);
    qtest_add_data_func("/snapshot/virtio/blk-in-flight-iothread",
                        ",iothread=io", test_blk_in_flight);
    qtest_add_func("/snapshot/virtio/net", test_net);
    qtest_add_func("/snapshot/virtio/console", test_console);
    qtest_add_func("/snapshot/virtio/console-trigger", test_console_trigger);
    return g_test_run();
}
