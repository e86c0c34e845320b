/*
 * Disk images and virtio disks for the qtests of machine snapshots.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "standard-headers/linux/virtio_blk.h"
#include "snapshot-disk.h"

void disk_fill(uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        data[i] = g_test_rand_int();
    }
}

void image_new(Image *image)
{
    int fd = g_file_open_tmp("snapshot-qtest-XXXXXX", &image->name, NULL);

    g_assert_cmpint(fd, >=, 0);
    disk_fill(image->content, DISK_BYTES);
    memcpy(image->now, image->content, DISK_BYTES);
    g_assert_cmpint(write(fd, image->content, DISK_BYTES), ==, DISK_BYTES);
    close(fd);
}

void image_check(const Image *image, const uint8_t *expected)
{
    g_autofree char *found = NULL;
    gsize len;

    g_assert_true(g_file_get_contents(image->name, &found, &len, NULL));
    g_assert_cmpmem(found, len, expected, DISK_BYTES);
}

void image_free(Image *image)
{
    unlink(image->name);
    g_free(image->name);
}

void disk_open(Virtio *v, Image *image, const char *snapshot,
               const char *device)
{
    image_new(image);
    v->unwanted = 0;
    virtio_open(v, snap_start("-nodefaults -machine pc -m 16 "
                              "-device snapshot,addr=4,verify=on%s "
                              "-object iothread,id=io "
                              "-blockdev driver=file,node-name=f,filename=%s,"
                              "auto-read-only=on,discard=unmap "
                              "-blockdev driver=raw,node-name=d,file=f,"
                              "discard=unmap "
                              "-device virtio-blk-pci,drive=d,addr=%d,id=vd%s",
                              snapshot, image->name, VIRTIO_SLOT, device), 0);
}

void disk_close(Virtio *v, Image *image)
{
    virtio_close(v);
    image_free(image);
}

uint8_t disk_write(Virtio *v, Image *image, unsigned sector, unsigned n)
{
    uint8_t data[BLK_DATA_MAX];
    uint8_t status;

    disk_fill(data, n * 512);
    qtest_memwrite(v->qts, v->buffer + BLK_DATA, data, n * 512);
    virtio_wait(v, virtio_blk_submit(v, VIRTIO_BLK_T_OUT, sector, n * 512));
    status = virtio_blk_status(v);
    if (status == VIRTIO_BLK_S_OK) {
        memcpy(image->now + sector * 512, data, n * 512);
    }
    return status;
}

void disk_zero(Virtio *v, Image *image, uint32_t type, unsigned sector,
               unsigned n)
{
    struct virtio_blk_discard_write_zeroes range = {
        .sector = cpu_to_le64(sector),
        .num_sectors = cpu_to_le32(n),
    };

    qtest_memwrite(v->qts, v->buffer + BLK_DATA, &range, sizeof(range));
    virtio_wait(v, virtio_blk_submit(v, type, 0, sizeof(range)));
    g_assert_cmpint(virtio_blk_status(v), ==, VIRTIO_BLK_S_OK);
    memset(image->now + sector * 512, 0, n * 512);
}

void disk_check(Virtio *v, const Image *image, unsigned sector,
                unsigned n)
{
    uint8_t data[BLK_DATA_MAX];

    virtio_wait(v, virtio_blk_submit(v, VIRTIO_BLK_T_IN, sector, n * 512));
    g_assert_cmpint(virtio_blk_status(v), ==, VIRTIO_BLK_S_OK);
    qtest_memread(v->qts, v->buffer + BLK_DATA, data, n * 512);
    g_assert_cmpmem(data, n * 512, image->now + sector * 512, n * 512);
}

void disk_check_all(Virtio *v, const Image *image)
{
    for (unsigned i = 0; i < DISK_SECTORS; i += DISK_MOST) {
        disk_check(v, image, i, MIN(DISK_MOST, DISK_SECTORS - i));
    }
}

void disk_upset(Virtio *v, Image *image)
{
    unsigned sector = g_test_rand_int_range(0, DISK_SECTORS - 3 * DISK_MOST);
    unsigned n = g_test_rand_int_range(1, DISK_MOST + 1);

    switch (g_test_rand_int_range(0, 5)) {
    case 0:
        disk_zero(v, image, VIRTIO_BLK_T_WRITE_ZEROES, sector, n * 3);
        break;
    case 1:
        virtio_wait(v, virtio_blk_submit(v, VIRTIO_BLK_T_FLUSH, 0, 0));
        g_assert_cmpint(virtio_blk_status(v), ==, VIRTIO_BLK_S_OK);
        break;
    default:
        g_assert_cmpint(disk_write(v, image, sector, n), ==,
                        VIRTIO_BLK_S_OK);
        disk_check(v, image, sector, n);
    }
}

int64_t disk_number(QTestState *qts, const char *key)
{
    g_autoptr(QDict) info = snap_query(qts);
    QList *disks = qdict_get_qlist(info, "disks");
    QDict *disk = qobject_to(QDict, qlist_entry_obj(qlist_first(disks)));

    return qdict_get_int(disk, key);
}

void disk_restore(Virtio *v, Image *image, const uint8_t *saved)
{
    virtio_restore(v);
    memcpy(image->now, saved, DISK_BYTES);
    g_assert_cmpint(disk_number(v->qts, "clusters"), ==, 0);
}
