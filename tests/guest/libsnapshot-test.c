/*
 * libsnapshot on a made-up sysfs: how devices are found, and where registers
 * are expected.  The BAR is a file, so commands can be seen but do nothing.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot.h"

#define ADDRESS         "0000:00:04.0"
#define OTHER_ADDRESS   "0000:01:1f.7"

static char root[] = "/tmp/libsnapshot-test-XXXXXX";
static unsigned int count, failures;

static void result(bool passed, const char *name)
{
    count++;
    failures += !passed;
    printf("%sok %u - %s\n", passed ? "" : "not ", count, name);
}

static void die(const char *what)
{
    printf("Bail out! %s: %s\n", what, strerror(errno));
    exit(EXIT_FAILURE);
}

static char *path_of(const char *address, const char *file)
{
    char *path;

    if (asprintf(&path, "%s/bus/pci/devices/%s/%s", root, address, file) < 0) {
        die("asprintf");
    }
    return path;
}

static void write_file(const char *address, const char *file,
                       const void *data, size_t size)
{
    char *path = path_of(address, file);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

    if (fd < 0 || write(fd, data, size) != (ssize_t)size) {
        die(path);
    }
    close(fd);
    free(path);
}

static void write_text(const char *address, const char *file, const char *text)
{
    write_file(address, file, text, strlen(text));
}

static char *read_text(const char *address, const char *file)
{
    static char text[32];
    char *path = path_of(address, file);
    FILE *stream = fopen(path, "r");

    if (!stream) {
        die(path);
    }
    text[fread(text, 1, sizeof(text) - 1, stream)] = '\0';
    fclose(stream);
    free(path);
    return text;
}

static int remove_entry(const char *path, const struct stat *st, int type,
                        struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void remove_tree(void)
{
    nftw(root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* Start again with a machine that has PCI, and nothing on it. */
static void empty_machine(void)
{
    static const char *const parts[] = { "/bus", "/bus/pci",
                                         "/bus/pci/devices" };

    remove_tree();
    if (mkdir(root, 0700) < 0) {
        die(root);
    }
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        char *path;

        if (asprintf(&path, "%s%s", root, parts[i]) < 0 ||
            mkdir(path, 0700) < 0) {
            die("mkdir");
        }
        free(path);
    }
}

/* A device at @address, with memory enabled and register n holding 100 + n */
static void add_device(const char *address, const char *device)
{
    static uint32_t bar[SNAPSHOT_BAR_SIZE / sizeof(uint32_t)];
    const uint8_t config[8] = { 0x34, 0x12, 0x87, 0xf9, 0x02, 0x01 };
    char *path = path_of(address, "");

    if (mkdir(path, 0700) < 0) {
        die(path);
    }
    free(path);
    for (size_t i = 0; i < sizeof(bar) / sizeof(bar[0]); i++) {
        bar[i] = 100 + i * 4;
    }
    bar[SNAPSHOT_REG_ABI / 4] = SNAPSHOT_ABI_VERSION;
    write_text(address, "vendor", "0x1234\n");
    write_text(address, "device", device);
    write_text(address, "revision", "0x10\n");
    write_text(address, "class", "0x00ff00\n");
    write_text(address, "enable", "0\n");
    write_text(address, "resource",
               "0x00000000feb00000 0x00000000febfffff 0x0000000000040200\n");
    write_file(address, "config", config, sizeof(config));
    write_file(address, "resource0", bar, sizeof(bar));
}

/* Does opening fail with @error? */
static bool fails(const char *address, int error)
{
    SnapshotDevice *dev = snapshot_open_sysfs(root, address);
    bool as_expected = !dev && errno == error;

    if (!as_expected) {
        printf("# %s\n", dev ? "opened" : strerror(errno));
    }
    snapshot_close(dev);
    return as_expected;
}

static void test_finding(void)
{
    SnapshotDevice *dev;

    result(fails(NULL, ENODEV), "a machine without PCI has none");
    empty_machine();
    result(fails(NULL, ENODEV), "a machine with an empty bus has none");
    add_device(OTHER_ADDRESS, "0x1111\n");
    result(fails(NULL, ENODEV), "another device is not taken for one");
    result(fails(OTHER_ADDRESS, ENODEV), "not even if it is named");

    add_device(ADDRESS, "0xf987\n");
    dev = snapshot_open_sysfs(root, NULL);
    result(dev != NULL, "the only one is found");
    if (dev) {
        const SnapshotPci *pci = snapshot_pci(dev);

        result(!strcmp(pci->address, ADDRESS) && pci->vendor == 0x1234 &&
               pci->device == 0xf987 && pci->revision == 0x10 &&
               pci->class_code == 0x00ff00 && pci->command == 0x0102 &&
               pci->bar_address == 0xfeb00000 && pci->bar_size == 0x100000,
               "its PCI header is reported");
    }
    snapshot_close(dev);
    snapshot_close(NULL);

    write_text(OTHER_ADDRESS, "device", "0xf987\n");
    result(fails(NULL, ENOTUNIQ), "two are one too many");
    dev = snapshot_open_sysfs(root, OTHER_ADDRESS);
    result(dev && !strcmp(snapshot_pci(dev)->address, OTHER_ADDRESS),
           "unless one is named");
    snapshot_close(dev);
    result(fails("0000:00:05.0", ENODEV), "a name must be that of a device");
}

static void test_state(void)
{
    const uint8_t disabled[8] = { 0x34, 0x12, 0x87, 0xf9 };
    const uint32_t other_abi[] = { 0, SNAPSHOT_ABI_VERSION + 1 };

    empty_machine();
    add_device(ADDRESS, "0xf987\n");
    snapshot_close(snapshot_open_sysfs(root, NULL));
    result(!strcmp(read_text(ADDRESS, "enable"), "0\n"),
           "memory that is enabled is left alone");
    write_file(ADDRESS, "config", disabled, sizeof(disabled));
    snapshot_close(snapshot_open_sysfs(root, NULL));
    result(!strcmp(read_text(ADDRESS, "enable"), "1\n"),
           "memory that is disabled is enabled");

    write_text(ADDRESS, "resource", "0x0 0x0 0x0\n");
    result(fails(NULL, ENXIO), "a BAR without an address is an error");
    empty_machine();
    add_device(ADDRESS, "0xf987\n");
    write_file(ADDRESS, "resource0", other_abi, sizeof(other_abi));
    result(fails(NULL, EPROTO), "another version is an error");
}

static void test_registers(void)
{
    SnapshotDevice *dev;
    SnapshotRegs regs;
    uint32_t restores = 0;
    uint32_t command;

    empty_machine();
    add_device(ADDRESS, "0xf987\n");
    dev = snapshot_open_sysfs(root, NULL);
    if (!dev) {
        die("device");
    }
    snapshot_query(dev, &regs);
    result(regs.result == 100 && regs.abi == 1 && regs.restores == 108 &&
           regs.status == 112 && regs.engine == 116 && regs.verify == 120 &&
           regs.pages == (124 | 128ull << 32) &&
           regs.pages_sum == (132 | 136ull << 32) &&
           regs.ns == (140 | 144ull << 32) &&
           regs.ram_bytes == (148 | 152ull << 32) && regs.rejected == 156 &&
           regs.levels == 160 && regs.start == (164 | 168ull << 32) &&
           regs.length == (172 | 176ull << 32),
           "registers are read from where they are");

    command = snapshot_save(dev, &restores);
    result(command == SNAPSHOT_CMD_SAVE && restores == 108, "save");
    result(snapshot_save(dev, NULL) == SNAPSHOT_CMD_SAVE,
           "save without asking for the restores");
    result(snapshot_restore(dev) == SNAPSHOT_CMD_RESTORE, "restore");
    result(snapshot_discard(dev) == SNAPSHOT_CMD_DISCARD, "discard");
    restores = 0;
    command = snapshot_push(dev, &restores);
    result(command == SNAPSHOT_CMD_PUSH && restores == 108, "push");
    result(snapshot_pop(dev) == SNAPSHOT_CMD_POP, "pop");
    result(snapshot_levels(dev) == 160, "levels");
    result(snapshot_include(dev) == SNAPSHOT_CMD_INCLUDE, "include");
    snapshot_close(dev);
}

static void test_exclude(void)
{
    static _Alignas(4096) unsigned char memory[2 * 4096];
    const uint64_t start = 0x123456789000, length = 0xabcdef000;
    SnapshotDevice *dev;
    SnapshotRegs regs;
    int ret;

    empty_machine();
    add_device(ADDRESS, "0xf987\n");
    dev = snapshot_open_sysfs(root, NULL);
    if (!dev) {
        die("device");
    }
    ret = snapshot_exclude_physical(dev, start, length);
    snapshot_query(dev, &regs);
    result(ret == SNAPSHOT_CMD_EXCLUDE && regs.start == start &&
           regs.length == length, "physical memory is excluded");
    errno = 0;
    result(snapshot_exclude(dev, memory, 0) == -1 && errno == EINVAL,
           "no memory at all is an error");
    result(snapshot_exclude(dev, memory + 1, 4096) == -1 && errno == EINVAL,
           "so is memory that begins within a page");
    result(snapshot_exclude(dev, memory, 4097) == -1 && errno == EINVAL,
           "and memory that ends within a page");
    snapshot_close(dev);
}

static void test_texts(void)
{
    bool distinct = true;

    for (uint32_t i = 0; i <= SNAPSHOT_RES_LIMIT; i++) {
        for (uint32_t j = 0; j < i; j++) {
            distinct &= strcmp(snapshot_strerror(i), snapshot_strerror(j)) != 0;
        }
    }
    result(distinct, "each result has a text of its own");
    result(!strcmp(snapshot_strerror(SNAPSHOT_RES_LIMIT + 1),
                   "unknown result"), "so have results yet unknown");
    result(!strcmp(snapshot_open_strerror(ENOMEM), strerror(ENOMEM)) &&
           strstr(snapshot_open_strerror(ENODEV), "-device snapshot"),
           "errors of opening say what to do");
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!mkdtemp(root)) {
        die("mkdtemp");
    }
    test_finding();
    test_state();
    test_registers();
    test_exclude();
    test_texts();
    remove_tree();
    printf("1..%u\n", count);
    return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
