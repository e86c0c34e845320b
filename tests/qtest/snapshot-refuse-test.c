/*
 * Machine snapshots: what cannot be restored is refused, by name.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qobject/qdict.h"
#include "snapshot-common.h"

#define PC "-nodefaults -machine pc -m 16 "
#define SAVE "{ 'execute': 'x-snapshot-device-save' }"

static char *disk;

/* A machine that a snapshot device refuses, and how it does */
typedef struct Refusal {
    const char *name;
    const char *args;       /* %s stands for a disk image */
    const char *culprit;    /* is in the message */
    const char *remedy;     /* is in the message, too */
    bool start_only;        /* cannot come after the snapshot device */
} Refusal;

static const Refusal refusals[] = {
    { "disk/copy-on-read",
      "-drive if=none,id=rw0,format=raw,copy-on-read=on,file=%s "
      "-device virtio-blk-pci,drive=rw0,id=vd0", "rw0", "copy-on-read" },
    { "nvme",
      "-drive if=none,id=n0,format=raw,file=%s "
      "-device nvme,drive=n0,serial=1,id=nvme0", "nvme", "non-migratable" },
    { "ivshmem",
      "-object memory-backend-memfd,id=iv0,size=1M,share=on "
      "-device ivshmem-plain,memdev=iv0",
      "ivshmem", "Migration is disabled" },
    { "edu", "-device edu,id=edu0", "edu", "unplug" },
    { "rtc/host", "-rtc clock=host", "real-time clock", "-rtc clock=vm", true },
    { "rtc/rt", "-rtc clock=rt", "real-time clock", "-rtc clock=vm", true },
    { "only-one", "-device snapshot", "snapshot device already", "one", true },
    { "virtio-mem",
      "-m 16,maxmem=1G "
      "-object memory-backend-ram,id=vm0,size=128M "
      "-device virtio-mem-pci,memdev=vm0,id=vmem0,requested-size=64M",
      "virtio-mem", "unplug" },
};

/* On the command line, before the snapshot device: QEMU does not start. */
static void test_at_start(const void *data)
{
    const Refusal *r = data;
    g_autofree char *args = g_strdup_printf(r->args, disk);
    g_autofree char *text = snap_run(1, PC "-accel qtest %s "
                                     "-device snapshot", args);

    snap_assert_contains(text, "-device snapshot: ");
    snap_assert_contains(text, r->culprit);
    snap_assert_contains(text, r->remedy);
}

/* After it: the machine starts, with a warning, and saves fail. */
static void test_at_save(const void *data)
{
    const Refusal *r = data;
    g_autofree char *args = g_strdup_printf(r->args, disk);
    Snap *s = snap_start(PC "-device snapshot %s", args);
    g_autofree char *log = snap_log(s);
    g_autofree char *why = NULL;

    snap_assert_contains(log, "saves will be refused");
    snap_assert_contains(log, r->culprit);
    qtest_writel(s->qts, 1 * MiB, 0x12345678);
    g_assert_cmpint(snap_command(s, SNAPSHOT_CMD_SAVE), ==,
                    SNAPSHOT_RES_REFUSED);
    g_assert_cmphex(snap_reg(s, SNAPSHOT_REG_STATUS), ==, 0);
    why = snap_qmp_error(s->qts, SAVE);
    snap_assert_contains(why, r->culprit);
    snap_assert_contains(why, r->remedy);
    g_assert_cmpint(snap_command(s, SNAPSHOT_CMD_RESTORE), ==,
                    SNAPSHOT_RES_NONE);
    g_assert_cmphex(qtest_readl(s->qts, 1 * MiB), ==, 0x12345678);
    snap_end(s);
}

static void test_file_with_copy(void)
{
    g_autofree char *text = snap_run(1, PC "-accel qtest "
                                     "-device snapshot,engine=copy,"
                                     "file=/dev/shm/none");

    snap_assert_contains(text, "file= is for engine=remap");
}

static void test_bad_engine(void)
{
    g_autofree char *text = snap_run(1, PC "-accel qtest "
                                     "-device snapshot,engine=fast");

    snap_assert_contains(text, "fast");
    snap_assert_contains(text, "engine");
}

static void test_record_replay(void)
{
    g_autofree char *text = snap_run(1, PC "-device snapshot -accel tcg "
                                     "-icount shift=7,rr=record,"
                                     "rrfile=/dev/null");

    snap_assert_contains(text, "record/replay");
}

/* Shared RAM cannot become a private mapping; a copy of it is fine. */
static void test_shared_ram(void)
{
    Snap *s = snap_start("-nodefaults "
                         "-object memory-backend-memfd,id=m,size=16M,share=on "
                         "-machine pc,memory-backend=m -m 16 "
                         "-device snapshot,engine=remap,verify=on");
    g_autofree char *why = snap_qmp_error(s->qts, SAVE);

    snap_assert_contains(why, "RAM block 'm' is shared");
    snap_assert_contains(why, "engine=copy");
    g_assert_cmpint(snap_command(s, SNAPSHOT_CMD_SAVE), ==,
                    SNAPSHOT_RES_REFUSED);
    qtest_qmp_assert_success(s->qts, "{ 'execute': 'x-snapshot-device-save',"
                             " 'arguments': { 'engine': 'copy' } }");
    qtest_writel(s->qts, 1 * MiB, 1);
    snap_restore(s);
    g_assert_cmpint(qtest_readl(s->qts, 1 * MiB), ==, 0);
    snap_end(s);
}

/* What an export may write to does not go back with the machine. */
static void test_export(void)
{
    Snap *s = snap_start(PC "-device snapshot "
                         "-blockdev driver=file,node-name=shared,filename=%s",
                         disk);
    g_autofree char *why = NULL;
    g_autofree char *address = g_strdup_printf("%s.nbd", disk);

    snap_save(s);
    qtest_qmp_assert_success(s->qts, "{ 'execute': 'nbd-server-start',"
                             " 'arguments': { 'addr': { 'type': 'unix',"
                             " 'data': { 'path': %s } } } }", address);
    qtest_qmp_assert_success(s->qts, "{ 'execute': 'block-export-add',"
                             " 'arguments': { 'type': 'nbd', 'id': 'e',"
                             " 'node-name': 'shared', 'writable': true } }");
    why = snap_qmp_error(s->qts, SAVE);
    snap_assert_contains(why, "shared");
    snap_assert_contains(why, "export");
    snap_end(s);
    unlink(address);
}

/* These are fine: disks, and an empty drive. */
static void test_accepts(const void *args)
{
    g_autofree char *filled = g_strdup_printf(args, disk);
    Snap *s = snap_start("-m 16 -device snapshot,verify=on,addr=10 %s",
                         filled);
    g_autofree char *log = NULL;

    snap_save(s);
    qtest_writel(s->qts, 1 * MiB, 1);
    snap_restore(s);
    log = snap_log(s);
    g_assert_null(strstr(log, "snapshot"));
    snap_end(s);
}

static void test_help(void)
{
    static const char *const lines[] = {
        "disk-limit=<size>", "engine=<SnapshotDeviceEngine>", "file=<str>",
        "verify=<bool>",
    };
    g_autofree char *text = snap_run(0, "-device snapshot,help");

    for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
        const char *line = strstr(text, lines[i]);
        const char *end;

        snap_assert_contains(text, lines[i]);
        end = strchr(line, '\n');
        /* name=<type>  - description */
        line = strstr(line, " - ");
        g_assert_true(line && line < end);
        g_assert_cmpint(end - line, >, 20);
    }
}

static void add(const char *prefix, const char *name, const void *data,
                void (*fn)(const void *))
{
    g_autofree char *path = g_strdup_printf("/snapshot/%s/%s", prefix, name);

    qtest_add_data_func(path, data, fn);
}

int main(int argc, char **argv)
{
    g_autofree char *zeros = g_malloc0(1440 * KiB);
    int ret, fd;

    g_test_init(&argc, &argv, NULL);
    fd = g_file_open_tmp("snapshot-qtest-XXXXXX", &disk, NULL);
    g_assert_cmpint(write(fd, zeros, 1440 * KiB), ==, 1440 * KiB);
    close(fd);
    for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
        add("refuse/start", refusals[i].name, &refusals[i], test_at_start);
        if (!refusals[i].start_only) {
            add("refuse/save", refusals[i].name, &refusals[i], test_at_save);
        }
    }
    qtest_add_func("/snapshot/refuse/file-with-copy", test_file_with_copy);
    qtest_add_func("/snapshot/refuse/bad-engine", test_bad_engine);
    qtest_add_func("/snapshot/refuse/record-replay", test_record_replay);
    qtest_add_func("/snapshot/refuse/shared-ram", test_shared_ram);
    qtest_add_func("/snapshot/refuse/export", test_export);
    add("accept", "virtio-read-only",
        "-machine pc -drive if=none,id=ro,format=raw,read-only=on,file=%s "
        "-device virtio-blk-pci,drive=ro", test_accepts);
    add("accept", "cdrom",
        "-machine pc -drive if=ide,media=cdrom,format=raw,file=%s",
        test_accepts);
    add("accept", "disks",
        "-machine pc,usb=on -device isa-fdc,id=fdc1,iobase=0x370 "
        "-drive if=none,id=d0,format=raw,file=%1$s,file.locking=off "
        "-drive if=none,id=d1,format=raw,file=%1$s,file.locking=off,"
        "snapshot=on "
        "-drive if=none,id=d2,format=raw,file=%1$s,file.locking=off "
        "-device floppy,drive=d0 -device usb-storage,drive=d1 "
        "-device virtio-scsi-pci -device scsi-hd,drive=d2", test_accepts);
    add("accept", "pc", "-machine pc", test_accepts);
    add("accept", "q35", "-machine q35", test_accepts);
    add("accept", "smp-8", "-machine q35 -smp 8", test_accepts);
    add("accept", "pc-options", "-machine pc,hpet=off,vmport=off,usb=on",
        test_accepts);
    qtest_add_func("/snapshot/help", test_help);
    ret = g_test_run();
    unlink(disk);
    g_free(disk);
    return ret;
}
