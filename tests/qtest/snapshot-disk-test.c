/*
 * Machine snapshots: a disk goes back with the machine, its image does not
 * change before a discard, and memory for what is written is limited.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "standard-headers/linux/virtio_blk.h"
#include "snapshot-disk.h"

#define ROUNDS 60

/* Writes of all kinds, and back; then the same from another instant. */
static void test_revert(const void *options)
{
    g_autofree uint8_t *saved = g_malloc(DISK_BYTES);
    Virtio v = { 0 };
    Image image;

    disk_open(&v, &image, "", options);
    disk_check_all(&v, &image);
    disk_write(&v, &image, 3, 2);           /* before there is a snapshot */
    image_check(&image, image.now);
    memcpy(image.content, image.now, DISK_BYTES);
    for (int save = 0; save < 3; save++) {
        virtio_save(&v);
        memcpy(saved, image.now, DISK_BYTES);
        for (int n = 0; n < ROUNDS / 3; n++) {
            for (int i = 0; i < n % 7; i++) {
                disk_upset(&v, &image);
            }
            disk_restore(&v, &image, saved);
            disk_check_all(&v, &image);
        }
        image_check(&image, image.content);
        /* The next save is of a disk that differs from its image. */
        for (int i = 0; i < 10; i++) {
            disk_upset(&v, &image);
        }
    }
    disk_zero(&v, &image, VIRTIO_BLK_T_DISCARD, 64, 64);
    memcpy(image.now + 64 * 512, saved + 64 * 512, 64 * 512);
    image_check(&image, image.content);
    disk_restore(&v, &image, saved);
    disk_check_all(&v, &image);
    virtio_close(&v);
    image_check(&image, image.content);
    image_free(&image);
}

/* After a discard, the image has all that was written. */
static void test_discard(void)
{
    Virtio v = { 0 };
    Image image;

    disk_open(&v, &image, "", "");
    virtio_save(&v);
    disk_write(&v, &image, 0, DISK_MOST);
    virtio_save(&v);
    disk_write(&v, &image, 1, 1);
    disk_zero(&v, &image, VIRTIO_BLK_T_WRITE_ZEROES, 40, 30);
    disk_write(&v, &image, DISK_SECTORS - 1, 1);
    image_check(&image, image.content);
    qtest_qmp_assert_success(v.qts,
                             "{ 'execute': 'x-snapshot-device-discard' }");
    image_check(&image, image.now);
    disk_check_all(&v, &image);
    disk_write(&v, &image, 100, 3);
    image_check(&image, image.now);
    disk_close(&v, &image);
}

/* Writes that are under way at a restore come too late to change anything. */
static void test_in_flight(const void *options)
{
    Virtio v = { 0 };
    Image image;

    disk_open(&v, &image, "", options);
    virtio_save(&v);
    for (int n = 0; n < ROUNDS; n++) {
        for (int i = 0; i <= n % 8; i++) {
            virtio_blk_submit(&v, VIRTIO_BLK_T_OUT, (n + i * 16) % 200,
                              BLK_DATA_MAX);
        }
        disk_restore(&v, &image, image.content);
        if (n % 10 == 0) {
            disk_check_all(&v, &image);
            disk_restore(&v, &image, image.content);
        }
    }
    disk_check_all(&v, &image);
    virtio_close(&v);
    image_check(&image, image.content);
    image_free(&image);
}

/* Beyond the limit writes fail, nothing else does, and it is told once. */
static void test_limit(void)
{
    g_autofree char *log = NULL;
    unsigned failed = 0;
    const char *told;
    Virtio v = { 0 };
    Image image;

    disk_open(&v, &image, ",disk-limit=32K", "");
    virtio_save(&v);
    for (int n = 0; n < 2; n++) {
        for (int i = 0; i < DISK_SECTORS - 8; i += 8) {
            failed += disk_write(&v, &image, i, 1) == VIRTIO_BLK_S_IOERR;
        }
        g_assert_cmpint(failed, >, 20 * (n + 1));
        g_assert_cmpint(disk_number(v.qts, "failed"), ==, failed);
        g_assert_cmpint(disk_number(v.qts, "bytes"), <=, 32 * KiB);
        g_assert_cmpint(disk_number(v.qts, "clusters"), ==, 7);
        disk_check_all(&v, &image);
        disk_restore(&v, &image, image.content);
        g_assert_cmpint(disk_number(v.qts, "clusters-last"), ==, 7);
        g_assert_cmpint(disk_number(v.qts, "bytes"), ==, 0);
        disk_check_all(&v, &image);
        disk_restore(&v, &image, image.content);
    }
    log = snap_log(v.s);
    snap_assert_contains(log, "disk 'd'");
    told = strstr(log, "raise the limit");
    g_assert_nonnull(told);
    g_assert_null(strstr(told + 1, "raise the limit"));
    disk_close(&v, &image);
}

/* With werror=stop the machine stops, and can be restored all the same. */
static void test_limit_stops(void)
{
    Virtio v = { 0 };
    Image image;

    disk_open(&v, &image, ",disk-limit=8K", ",werror=stop");
    virtio_save(&v);
    for (int n = 0; n < 3; n++) {
        disk_write(&v, &image, 0, 1);
        virtio_blk_submit(&v, VIRTIO_BLK_T_OUT, 64, 512);
        qtest_qmp_eventwait(v.qts, "STOP");
        disk_restore(&v, &image, image.content);
        qtest_qmp_assert_success(v.qts, "{ 'execute': 'cont' }");
        qtest_qmp_eventwait(v.qts, "RESUME");
        disk_check_all(&v, &image);
        disk_restore(&v, &image, image.content);
    }
    disk_close(&v, &image);
}

/*
 * An image that someone else has come to use cannot be written to at a
 * discard: the disk stays in memory, until that is over.
 */
static void test_discard_fails(void)
{
    g_autofree char *log = NULL;
    Virtio v = { 0 };
    Image image;
    Snap *other;

    disk_open(&v, &image, "", "");
    virtio_save(&v);
    disk_write(&v, &image, 20, 5);
    other = snap_start("-nodefaults -machine pc -m 16 -device snapshot "
                       "-blockdev driver=file,node-name=f,filename=%s,"
                       "read-only=on -device virtio-blk-pci,drive=f",
                       image.name);
    qtest_qmp_assert_success(v.qts,
                             "{ 'execute': 'x-snapshot-device-discard' }");
    log = snap_log(v.s);
    snap_assert_contains(log, "stays in memory");
    image_check(&image, image.content);
    disk_check_all(&v, &image);
    disk_write(&v, &image, 30, 1);
    snap_end(other);

    virtio_save(&v);
    disk_check_all(&v, &image);
    image_check(&image, image.content);
    qtest_qmp_assert_success(v.qts,
                             "{ 'execute': 'x-snapshot-device-discard' }");
    image_check(&image, image.now);
    disk_check_all(&v, &image);
    disk_close(&v, &image);
}

/* Saved instants on top of each other, each with the disk it had */
static void test_levels(void)
{
    g_autofree uint8_t *saved = g_malloc(4 * DISK_BYTES);
    QVirtQueue queues[4];
    Virtio v = { 0 };
    Image image;

    disk_open(&v, &image, "", "");
    virtio_save(&v);            /* what comes first would go to the image */
    for (int round = 0; round < 4; round++) {
        for (int level = 0; level < 4; level++) {
            for (int i = 0; i < 5; i++) {
                disk_upset(&v, &image);
            }
            memcpy(saved + level * DISK_BYTES, image.now, DISK_BYTES);
            g_assert_cmpint(snap_command(v.s, level ? SNAPSHOT_CMD_PUSH
                                                    : SNAPSHOT_CMD_SAVE), ==,
                            SNAPSHOT_RES_DONE);
            v.vq_saved = queues[level] = *v.vq;
            for (int n = 0; n < 5; n++) {
                disk_upset(&v, &image);
                disk_restore(&v, &image, saved + level * DISK_BYTES);
            }
        }
        for (int level = 2; level >= round; level--) {
            disk_upset(&v, &image);
            g_assert_cmpint(snap_command(v.s, SNAPSHOT_CMD_POP), ==,
                            SNAPSHOT_RES_DONE);
            *v.vq = v.vq_saved = queues[level];
            memcpy(image.now, saved + level * DISK_BYTES, DISK_BYTES);
            disk_check_all(&v, &image);
            disk_restore(&v, &image, saved + level * DISK_BYTES);
            disk_check_all(&v, &image);
        }
    }
    image_check(&image, image.content);
    qtest_qmp_assert_success(v.qts,
                             "{ 'execute': 'x-snapshot-device-discard' }");
    image_check(&image, image.now);
    disk_close(&v, &image);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_data_func("/snapshot/disk/revert", "", test_revert);
    qtest_add_data_func("/snapshot/disk/revert-iothread", ",iothread=io",
                        test_revert);
    qtest_add_data_func("/snapshot/disk/in-flight", "", test_in_flight);
    qtest_add_data_func("/snapshot/disk/in-flight-iothread", ",iothread=io",
                        test_in_flight);
    qtest_add_func("/snapshot/disk/discard", test_discard);
    qtest_add_func("/snapshot/disk/limit", test_limit);
    qtest_add_func("/snapshot/disk/limit-stops", test_limit_stops);
    qtest_add_func("/snapshot/disk/discard-fails", test_discard_fails);
    qtest_add_func("/snapshot/disk/levels", test_levels);
    return g_test_run();
}
