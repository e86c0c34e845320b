/*
 * Machine snapshots: disks go back with the machine, their images do not
 * change, and what would change them otherwise is refused.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "standard-headers/linux/virtio_blk.h"
#include "snapshot-virtio.h"

#define SECTORS 256
#define BYTES (SECTORS * 512)
#define MOST (BLK_DATA_MAX / 512)   /* sectors in one request */
#define ROUNDS 60

/* A disk image, what is in it, and what the guest shall find on the disk */
typedef struct Image {
    char *name;
    uint8_t content[BYTES];
    uint8_t now[BYTES];
} Image;

static void fill(uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        data[i] = g_test_rand_int();
    }
}

static void image_new(Image *image)
{
    int fd = g_file_open_tmp("snapshot-qtest-XXXXXX", &image->name, NULL);

    g_assert_cmpint(fd, >=, 0);
    fill(image->content, BYTES);
    memcpy(image->now, image->content, BYTES);
    g_assert_cmpint(write(fd, image->content, BYTES), ==, BYTES);
    close(fd);
}

static void image_check(const Image *image, const uint8_t *expected)
{
    g_autofree char *found = NULL;
    gsize len;

    g_assert_true(g_file_get_contents(image->name, &found, &len, NULL));
    g_assert_cmpmem(found, len, expected, BYTES);
}

static void image_free(Image *image)
{
    unlink(image->name);
    g_free(image->name);
}

/*
 * A virtio disk
 */

static void disk_open(Virtio *v, const Image *image, const char *snapshot,
                      const char *device)
{
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

static uint8_t disk_write(Virtio *v, Image *image, unsigned sector, unsigned n)
{
    uint8_t data[BLK_DATA_MAX];
    uint8_t status;

    fill(data, n * 512);
    qtest_memwrite(v->qts, v->buffer + BLK_DATA, data, n * 512);
    virtio_wait(v, virtio_blk_submit(v, VIRTIO_BLK_T_OUT, sector, n * 512));
    status = virtio_blk_status(v);
    if (status == VIRTIO_BLK_S_OK) {
        memcpy(image->now + sector * 512, data, n * 512);
    }
    return status;
}

/* Zero (or discard, which is not specified to) @n sectors. */
static void disk_zero(Virtio *v, Image *image, uint32_t type, unsigned sector,
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

static void disk_check(Virtio *v, const Image *image, unsigned sector,
                       unsigned n)
{
    uint8_t data[BLK_DATA_MAX];

    virtio_wait(v, virtio_blk_submit(v, VIRTIO_BLK_T_IN, sector, n * 512));
    g_assert_cmpint(virtio_blk_status(v), ==, VIRTIO_BLK_S_OK);
    qtest_memread(v->qts, v->buffer + BLK_DATA, data, n * 512);
    g_assert_cmpmem(data, n * 512, image->now + sector * 512, n * 512);
}

static void disk_check_all(Virtio *v, const Image *image)
{
    for (unsigned i = 0; i < SECTORS; i += MOST) {
        disk_check(v, image, i, MIN(MOST, SECTORS - i));
    }
}

static void disk_upset(Virtio *v, Image *image)
{
    unsigned sector = g_test_rand_int_range(0, SECTORS - 3 * MOST);
    unsigned n = g_test_rand_int_range(1, MOST + 1);

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

/* One number of the first disk in x-snapshot-device-query */
static int64_t disk_number(QTestState *qts, const char *key)
{
    g_autoptr(QDict) info = snap_query(qts);
    QList *disks = qdict_get_qlist(info, "disks");
    QDict *disk = qobject_to(QDict, qlist_entry_obj(qlist_first(disks)));

    return qdict_get_int(disk, key);
}

static void restore(Virtio *v, Image *image, const uint8_t *saved)
{
    virtio_restore(v);
    memcpy(image->now, saved, BYTES);
    g_assert_cmpint(disk_number(v->qts, "clusters"), ==, 0);
}

/* Writes of all kinds, and back; then the same from another instant. */
static void test_revert(const void *options)
{
    g_autofree uint8_t *saved = g_malloc(BYTES);
    Virtio v = { 0 };
    Image image;

    image_new(&image);
    disk_open(&v, &image, "", options);
    disk_check_all(&v, &image);
    disk_write(&v, &image, 3, 2);           /* before there is a snapshot */
    image_check(&image, image.now);
    memcpy(image.content, image.now, BYTES);
    for (int save = 0; save < 3; save++) {
        virtio_save(&v);
        memcpy(saved, image.now, BYTES);
        for (int n = 0; n < ROUNDS / 3; n++) {
            for (int i = 0; i < n % 7; i++) {
                disk_upset(&v, &image);
            }
            restore(&v, &image, saved);
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
    restore(&v, &image, saved);
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

    image_new(&image);
    disk_open(&v, &image, "", "");
    virtio_save(&v);
    disk_write(&v, &image, 0, MOST);
    virtio_save(&v);
    disk_write(&v, &image, 1, 1);
    disk_zero(&v, &image, VIRTIO_BLK_T_WRITE_ZEROES, 40, 30);
    disk_write(&v, &image, SECTORS - 1, 1);
    image_check(&image, image.content);
    qtest_qmp_assert_success(v.qts,
                             "{ 'execute': 'x-snapshot-device-discard' }");
    image_check(&image, image.now);
    disk_check_all(&v, &image);
    disk_write(&v, &image, 100, 3);
    image_check(&image, image.now);
    virtio_close(&v);
    image_free(&image);
}

/* Writes that are under way at a restore come too late to change anything. */
static void test_in_flight(const void *options)
{
    Virtio v = { 0 };
    Image image;

    image_new(&image);
    disk_open(&v, &image, "", options);
    virtio_save(&v);
    for (int n = 0; n < ROUNDS; n++) {
        for (int i = 0; i <= n % 8; i++) {
            virtio_blk_submit(&v, VIRTIO_BLK_T_OUT, (n + i * 16) % 200,
                              BLK_DATA_MAX);
        }
        restore(&v, &image, image.content);
        if (n % 10 == 0) {
            disk_check_all(&v, &image);
            restore(&v, &image, image.content);
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

    image_new(&image);
    disk_open(&v, &image, ",disk-limit=32K", "");
    virtio_save(&v);
    for (int n = 0; n < 2; n++) {
        for (int i = 0; i < SECTORS - 8; i += 8) {
            failed += disk_write(&v, &image, i, 1) == VIRTIO_BLK_S_IOERR;
        }
        g_assert_cmpint(failed, >, 20 * (n + 1));
        g_assert_cmpint(disk_number(v.qts, "failed"), ==, failed);
        g_assert_cmpint(disk_number(v.qts, "bytes"), <=, 32 * KiB);
        g_assert_cmpint(disk_number(v.qts, "clusters"), ==, 7);
        disk_check_all(&v, &image);
        restore(&v, &image, image.content);
        g_assert_cmpint(disk_number(v.qts, "clusters-last"), ==, 7);
        g_assert_cmpint(disk_number(v.qts, "bytes"), ==, 0);
        disk_check_all(&v, &image);
        restore(&v, &image, image.content);
    }
    log = snap_log(v.s);
    snap_assert_contains(log, "disk 'd'");
    told = strstr(log, "raise the limit");
    g_assert_nonnull(told);
    g_assert_null(strstr(told + 1, "raise the limit"));
    virtio_close(&v);
    image_free(&image);
}

/* With werror=stop the machine stops, and can be restored all the same. */
static void test_limit_stops(void)
{
    Virtio v = { 0 };
    Image image;

    image_new(&image);
    disk_open(&v, &image, ",disk-limit=8K", ",werror=stop");
    virtio_save(&v);
    for (int n = 0; n < 3; n++) {
        disk_write(&v, &image, 0, 1);
        virtio_blk_submit(&v, VIRTIO_BLK_T_OUT, 64, 512);
        qtest_qmp_eventwait(v.qts, "STOP");
        restore(&v, &image, image.content);
        qtest_qmp_assert_success(v.qts, "{ 'execute': 'cont' }");
        qtest_qmp_eventwait(v.qts, "RESUME");
        disk_check_all(&v, &image);
        restore(&v, &image, image.content);
    }
    virtio_close(&v);
    image_free(&image);
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

    image_new(&image);
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
    virtio_close(&v);
    image_free(&image);
}

/* Saved instants on top of each other, each with the disk it had */
static void test_levels(void)
{
    g_autofree uint8_t *saved = g_malloc(4 * BYTES);
    QVirtQueue queues[4];
    Virtio v = { 0 };
    Image image;

    image_new(&image);
    disk_open(&v, &image, "", "");
    virtio_save(&v);            /* what comes first would go to the image */
    for (int round = 0; round < 4; round++) {
        for (int level = 0; level < 4; level++) {
            for (int i = 0; i < 5; i++) {
                disk_upset(&v, &image);
            }
            memcpy(saved + level * BYTES, image.now, BYTES);
            g_assert_cmpint(snap_command(v.s, level ? SNAPSHOT_CMD_PUSH
                                                    : SNAPSHOT_CMD_SAVE), ==,
                            SNAPSHOT_RES_DONE);
            v.vq_saved = queues[level] = *v.vq;
            for (int n = 0; n < 5; n++) {
                disk_upset(&v, &image);
                restore(&v, &image, saved + level * BYTES);
            }
        }
        for (int level = 2; level >= round; level--) {
            disk_upset(&v, &image);
            g_assert_cmpint(snap_command(v.s, SNAPSHOT_CMD_POP), ==,
                            SNAPSHOT_RES_DONE);
            *v.vq = v.vq_saved = queues[level];
            memcpy(image.now, saved + level * BYTES, BYTES);
            disk_check_all(&v, &image);
            restore(&v, &image, saved + level * BYTES);
            disk_check_all(&v, &image);
        }
    }
    image_check(&image, image.content);
    qtest_qmp_assert_success(v.qts,
                             "{ 'execute': 'x-snapshot-device-discard' }");
    image_check(&image, image.now);
    virtio_close(&v);
    image_free(&image);
}

/* What changes a disk from outside has to wait for the snapshot's end. */
static void test_refused_meanwhile(void)
{
    static const char *const commands[] = {
        "{ 'execute': 'block_resize', 'arguments': {"
        " 'node-name': 'd', 'size': 262144 } }",
        "{ 'execute': 'block_resize', 'arguments': {"
        " 'device': 'drive', 'size': 262144 } }",
        "{ 'execute': 'blockdev-snapshot', 'arguments': {"
        " 'node': 'd', 'overlay': 'other' } }",
        "{ 'execute': 'block-stream', 'arguments': { 'device': 'drive' } }",
        "{ 'execute': 'block-commit', 'arguments': { 'device': 'drive' } }",
        "{ 'execute': 'blockdev-backup', 'arguments': { 'job-id': 'j',"
        " 'device': 'drive', 'target': 'other', 'sync': 'full' } }",
        "{ 'execute': 'blockdev-mirror', 'arguments': { 'job-id': 'j',"
        " 'device': 'drive', 'target': 'other', 'sync': 'full' } }",
        "{ 'execute': 'blockdev-snapshot-internal-sync', 'arguments': {"
        " 'device': 'drive', 'name': 'x' } }",
    };
    Image image;
    Snap *s;

    image_new(&image);
    s = snap_start("-nodefaults -machine pc -m 16 -device snapshot,verify=on "
                   "-drive if=virtio,id=drive,node-name=d,format=raw,file=%s "
                   "-blockdev null-co,node-name=other,size=131072",
                   image.name);
    snap_save(s);
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        g_autofree char *why = snap_qmp_error(s->qts, commands[i], NULL);

        snap_assert_contains(why, "there is a machine snapshot");
    }
    snap_restore(s);
    qtest_qmp_assert_success(s->qts,
                             "{ 'execute': 'x-snapshot-device-discard' }");
    qtest_qmp_assert_success(s->qts, commands[0], NULL);
    snap_end(s);
    image_free(&image);
}

/* A block job that runs already keeps the machine from being saved. */
static void test_job(void)
{
    g_autofree char *why = NULL;
    Virtio v = { 0 };
    Image image;

    image_new(&image);
    disk_open(&v, &image, "", "");
    qtest_qmp_assert_success(v.qts, "{ 'execute': 'blockdev-add',"
                             " 'arguments': { 'driver': 'null-co',"
                             " 'node-name': 'other', 'size': 131072 } }");
    qtest_qmp_assert_success(v.qts, "{ 'execute': 'blockdev-mirror',"
                             " 'arguments': { 'job-id': 'j', 'device': 'd',"
                             " 'target': 'other', 'sync': 'full' } }");
    why = snap_qmp_error(v.qts, "{ 'execute': 'x-snapshot-device-save' }");
    snap_assert_contains(why, "'j'");
    snap_assert_contains(why, "cancel");
    qtest_qmp_assert_success(v.qts, "{ 'execute': 'job-cancel',"
                             " 'arguments': { 'id': 'j' } }");
    qtest_qmp_eventwait(v.qts, "BLOCK_JOB_CANCELLED");
    virtio_save(&v);
    virtio_close(&v);
    image_free(&image);
}

/* An unplugged disk keeps what was written to it, and there is no way back. */
static void test_unplug(void)
{
    g_autofree char *why = NULL;
    Virtio v = { 0 };
    Image image;

    image_new(&image);
    disk_open(&v, &image, "", "");
    virtio_save(&v);
    disk_write(&v, &image, 8, 4);
    image_check(&image, image.content);
    qtest_qmp_device_del_send(v.qts, "vd");
    qtest_outl(v.qts, 0xae08, 1 << VIRTIO_SLOT);    /* the guest lets it go */
    qtest_qmp_eventwait(v.qts, "DEVICE_DELETED");
    qtest_qmp_eventwait(v.qts, "DEVICE_DELETED");
    image_check(&image, image.now);
    why = snap_qmp_error(v.qts, "{ 'execute': 'x-snapshot-device-restore' }");
    qtest_qmp_assert_success(v.qts,
                             "{ 'execute': 'x-snapshot-device-save' }");
    virtio_close(&v);
    image_free(&image);
}

/*
 * A disk whose writes are in memory from the start
 */

#define COW \
    "-blockdev driver=snapshot-cow,node-name=d,discard=unmap,image.driver=%s," \
    "image.file.driver=file,image.file.filename=%s " \
    "-device virtio-blk-pci,drive=d,addr=%d "

static void cow_open(Virtio *v, const Image *image, const char *format,
                     const char *name)
{
    virtio_open(v, snap_start(VIRTIO_PC COW, format, name, VIRTIO_SLOT), 0);
    disk_check_all(v, image);
}

/* What is in memory stays behind, so the machine cannot go elsewhere. */
static void migrate_in_vain(Virtio *v)
{
    g_autofree char *log = NULL;
    g_autofree char *status = NULL;

    qtest_qmp_assert_success(v->qts, "{ 'execute': 'migrate', 'arguments': {"
                             " 'uri': 'exec:cat >/dev/null' } }");
    do {
        g_autoptr(QDict) info = qtest_qmp_assert_success_ref(v->qts,
            "{ 'execute': 'query-migrate' }");

        g_free(status);
        status = g_strdup(qdict_get_try_str(info, "status") ?: "");
        g_usleep(1000);
    } while (!g_str_equal(status, "failed") &&
             !g_str_equal(status, "completed"));
    g_assert_cmpstr(status, ==, "failed");
    log = snap_log(v->s);
    snap_assert_contains(log, "cannot be handed over");
}

/* Two machines share an image that nobody may write to. */
static void test_shared(const void *format)
{
    g_autofree char *name = NULL;
    g_autofree char *command = NULL;
    Virtio v[2] = { { 0 }, { 0 } };
    Image image[2];

    image_new(&image[0]);
    name = g_strdup_printf("%s.%s", image[0].name, (const char *)format);
    command = g_strdup_printf("%s convert -O %s %s %s && chmod a-w %s",
                              g_getenv("QTEST_QEMU_IMG"),
                              (const char *)format, image[0].name, name, name);
    g_assert_cmpint(system(command), ==, 0);
    image[1] = image[0];
    for (int i = 0; i < 2; i++) {
        cow_open(&v[i], &image[i], format, name);
    }
    for (int i = 0; i < 2; i++) {
        g_autofree uint8_t *saved = NULL;

        disk_write(&v[i], &image[i], 1 + i, 5);
        virtio_save(&v[i]);
        saved = g_memdup2(image[i].now, BYTES);
        for (int n = 0; n < 10; n++) {
            disk_upset(&v[i], &image[i]);
            restore(&v[i], &image[i], saved);
            disk_check_all(&v[i], &image[i]);
        }
        disk_write(&v[i], &image[i], 3, 3);
        qtest_qmp_assert_success(v[i].qts, "{ 'execute':"
                                 " 'x-snapshot-device-discard' }");
        disk_check_all(&v[i], &image[i]);
    }
    migrate_in_vain(&v[0]);
    disk_upset(&v[0], &image[0]);
    disk_check_all(&v[0], &image[0]);
    for (int i = 0; i < 2; i++) {
        virtio_close(&v[i]);
    }
    unlink(name);
    image_free(&image[0]);
}

/*
 * Other kinds of disks
 */

static void ide_start(QTestState *qts, uint8_t command, unsigned sector)
{
    qtest_outb(qts, 0x1f2, 1);
    qtest_outb(qts, 0x1f3, sector);
    qtest_outb(qts, 0x1f4, 0);
    qtest_outb(qts, 0x1f5, 0);
    qtest_outb(qts, 0x1f6, 0xe0);
    qtest_outb(qts, 0x1f7, command);
    while ((qtest_inb(qts, 0x1f7) & 0x88) != 0x08) {
        g_usleep(100);                      /* until it wants data */
    }
}

static void ide_read(QTestState *qts, unsigned sector, uint8_t *data)
{
    ide_start(qts, 0x20, sector);
    for (int i = 0; i < 512; i += 2) {
        stw_le_p(data + i, qtest_inw(qts, 0x1f0));
    }
}

static void ide_write(QTestState *qts, unsigned sector, const uint8_t *data)
{
    ide_start(qts, 0x30, sector);
    for (int i = 0; i < 512; i += 2) {
        qtest_outw(qts, 0x1f0, lduw_le_p(data + i));
    }
    while (qtest_inb(qts, 0x1f7) & 0x80) {
        g_usleep(100);                      /* while it is busy */
    }
}

static void test_ide(void)
{
    uint8_t data[512], found[512];
    Image image;
    Snap *s;

    image_new(&image);
    s = snap_start("-nodefaults -machine pc -m 16 -device snapshot,verify=on "
                   "-drive if=ide,format=raw,file=%s", image.name);
    snap_save(s);
    for (int n = 0; n < 10; n++) {
        fill(data, 512);
        ide_write(s->qts, n, data);
        if (n % 2) {
            ide_start(s->qts, 0x30, 9);     /* and stop in the middle */
        } else {
            ide_read(s->qts, n, found);
            g_assert_cmpmem(found, 512, data, 512);
        }
        snap_restore(s);
        ide_read(s->qts, n, found);
        g_assert_cmpmem(found, 512, image.content + n * 512, 512);
        snap_restore(s);
    }
    image_check(&image, image.content);
    snap_end(s);
    image_check(&image, image.content);
    image_free(&image);
}

/* Flash memory is RAM for the guest, and a disk for QEMU. */
static void test_flash(void)
{
    uint32_t base = -BYTES;
    Image image;
    Snap *s;

    image_new(&image);
    s = snap_start("-nodefaults -machine pc -m 16 -device snapshot,verify=on "
                   "-drive if=pflash,format=raw,file=%s", image.name);
    snap_save(s);
    for (int n = 0; n < 10; n++) {
        qtest_writeb(s->qts, base + n, 0x40);       /* write a byte */
        qtest_writeb(s->qts, base + n, 0);
        qtest_writeb(s->qts, base + n, 0xff);       /* back to reading */
        g_assert_cmphex(qtest_readb(s->qts, base + n), ==, 0);
        g_assert_cmpint(disk_number(s->qts, "clusters"), >, 0);
        snap_restore(s);
        g_assert_cmphex(qtest_readb(s->qts, base + n), ==, image.content[n]);
    }
    snap_end(s);
    image_check(&image, image.content);
    image_free(&image);
}

/* Another medium in a drive: what was in it at the save is asked for. */
static void test_medium(void)
{
    g_autofree char *why = NULL;
    Image image;
    Snap *s;

    image_new(&image);
    s = snap_start("-nodefaults -machine pc -m 16 -device snapshot,verify=on "
                   "-blockdev driver=file,node-name=cd,read-only=on,"
                   "filename=%s -device ide-cd,id=drive", image.name);
    snap_save(s);
    qtest_qmp_assert_success(s->qts, "{ 'execute': 'blockdev-open-tray',"
                             " 'arguments': { 'id': 'drive' } }");
    qtest_qmp_assert_success(s->qts, "{ 'execute': 'blockdev-insert-medium',"
                             " 'arguments': { 'id': 'drive',"
                             " 'node-name': 'cd' } }");
    why = snap_qmp_error(s->qts, "{ 'execute': 'x-snapshot-device-restore' }");
    snap_assert_contains(why, "another medium");
    snap_save(s);
    g_free(why);
    why = snap_qmp_error(s->qts, "{ 'execute': 'blockdev-remove-medium',"
                         " 'arguments': { 'id': 'drive' } }");
    snap_assert_contains(why, "there is a machine snapshot");
    snap_restore(s);
    snap_end(s);
    image_free(&image);
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
    qtest_add_func("/snapshot/disk/refused-meanwhile",
                   test_refused_meanwhile);
    qtest_add_func("/snapshot/disk/job", test_job);
    qtest_add_func("/snapshot/disk/unplug", test_unplug);
    qtest_add_data_func("/snapshot/disk/shared-raw", "raw", test_shared);
    qtest_add_data_func("/snapshot/disk/shared-qcow2", "qcow2", test_shared);
    qtest_add_func("/snapshot/disk/ide", test_ide);
    qtest_add_func("/snapshot/disk/flash", test_flash);
    qtest_add_func("/snapshot/disk/medium", test_medium);
    return g_test_run();
}
