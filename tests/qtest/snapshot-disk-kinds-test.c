/*
 * Machine snapshots: disks of several kinds, and what else may happen to one:
 * what would change it behind the snapshot's back is refused.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qobject/qdict.h"
#include "snapshot-disk.h"

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
    disk_close(&v, &image);
}

/* An unplugged disk keeps what was written to it, and there is no way back. */
static void test_unplug(void)
{
    g_autofree char *why = NULL;
    Virtio v = { 0 };
    Image image;

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
    disk_close(&v, &image);
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
        saved = g_memdup2(image[i].now, DISK_BYTES);
        for (int n = 0; n < 10; n++) {
            disk_upset(&v[i], &image[i]);
            disk_restore(&v[i], &image[i], saved);
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
        disk_fill(data, 512);
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
    uint32_t base = -DISK_BYTES;
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
