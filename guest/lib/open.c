/*
 * libsnapshot: find the device in sysfs and map it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "device.h"

/* PCI configuration space, which sysfs shows as "config" */
#define PCI_COMMAND         0x04
#define PCI_COMMAND_MEMORY  0x2

/* Open @file of the device directory @dir.  Returns a stream, or NULL. */
static FILE *open_attribute(int dir, const char *file, const char *mode)
{
    int flags = *mode == 'w' ? O_WRONLY : O_RDONLY;
    int fd = openat(dir, file, flags | O_CLOEXEC);
    FILE *stream;

    if (fd < 0) {
        return NULL;
    }
    stream = fdopen(fd, mode);
    if (!stream) {
        close(fd);
    }
    return stream;
}

/* Read the hexadecimal number in @file.  Returns 0, or -1 and errno. */
static int read_hex(int dir, const char *file, uint32_t *value)
{
    FILE *stream = open_attribute(dir, file, "r");
    int fields;

    if (!stream) {
        return -1;
    }
    fields = fscanf(stream, "%" SCNx32, value);
    fclose(stream);
    if (fields != 1) {
        errno = EIO;
        return -1;
    }
    return 0;
}

/* Read where BAR 0 is and how long: the first line of "resource". */
static int read_bar(int dir, SnapshotPci *pci)
{
    FILE *stream = open_attribute(dir, "resource", "r");
    uint64_t start, end;
    int fields;

    if (!stream) {
        return -1;
    }
    fields = fscanf(stream, "%" SCNx64 " %" SCNx64, &start, &end);
    fclose(stream);
    if (fields != 2 || end < start || end - start + 1 < SNAPSHOT_BAR_SIZE) {
        errno = ENXIO;
        return -1;
    }
    pci->bar_address = start;
    pci->bar_size = end - start + 1;
    return 0;
}

/* Read the PCI command register, which any user may. */
static int read_command(int dir, uint16_t *command)
{
    uint8_t bytes[2];
    int fd = openat(dir, "config", O_RDONLY | O_CLOEXEC);
    ssize_t size;

    if (fd < 0) {
        return -1;
    }
    size = pread(fd, bytes, sizeof(bytes), PCI_COMMAND);
    close(fd);
    if (size != sizeof(bytes)) {
        errno = EIO;
        return -1;
    }
    *command = bytes[0] | bytes[1] << 8;
    return 0;
}

/*
 * Have the kernel enable the device unless its memory is enabled already: the
 * kernel counts who enables it, so this is done only where it is needed.
 */
static int enable_memory(int dir, SnapshotPci *pci)
{
    FILE *stream;

    if (read_command(dir, &pci->command) < 0) {
        return -1;
    }
    if (pci->command & PCI_COMMAND_MEMORY) {
        return 0;
    }
    stream = open_attribute(dir, "enable", "w");
    if (!stream) {
        return -1;
    }
    fputs("1", stream);
    if (fclose(stream)) {
        return -1;
    }
    return read_command(dir, &pci->command);
}

static int read_pci(int dir, SnapshotPci *pci)
{
    uint32_t vendor, device, revision;

    if (read_hex(dir, "vendor", &vendor) < 0 ||
        read_hex(dir, "device", &device) < 0 ||
        read_hex(dir, "revision", &revision) < 0 ||
        read_hex(dir, "class", &pci->class_code) < 0 ||
        read_bar(dir, pci) < 0) {
        return -1;
    }
    pci->vendor = vendor;
    pci->device = device;
    pci->revision = revision;
    return enable_memory(dir, pci);
}

static int map_bar(int dir, SnapshotDevice *dev)
{
    int fd = openat(dir, "resource0", O_RDWR | O_CLOEXEC);
    void *map;

    if (fd < 0) {
        return -1;
    }
    map = mmap(NULL, SNAPSHOT_BAR_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
               fd, 0);
    close(fd);
    if (map == MAP_FAILED) {
        return -1;
    }
    dev->bar = (SnapshotBar *)map;
    if (snapshot_mmio_read32(dev->bar, SNAPSHOT_REG_ABI) !=
        SNAPSHOT_ABI_VERSION) {
        errno = EPROTO;
        return -1;
    }
    return 0;
}

/* Map BAR 2, which is for those who need it: without it the rest works. */
static void map_shared(int dir, SnapshotDevice *dev)
{
    int fd = openat(dir, "resource2", O_RDWR | O_CLOEXEC);
    struct stat info;
    void *map;

    if (fd < 0) {
        return;
    }
    if (fstat(fd, &info) == 0 && info.st_size > 0) {
        map = mmap(NULL, info.st_size, PROT_READ | PROT_WRITE, MAP_SHARED,
                   fd, 0);
        if (map != MAP_FAILED) {
            dev->shared = (SnapshotBar *)map;
            dev->shared_size = info.st_size;
        }
    }
    close(fd);
}

/* Does the PCI function @name below @devices have the ids of our device? */
static bool is_snapshot(int devices, const char *name)
{
    int dir = openat(devices, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
    uint32_t vendor = 0, device = 0;
    bool match;

    if (dir < 0) {
        return false;
    }
    match = read_hex(dir, "vendor", &vendor) == 0 &&
            read_hex(dir, "device", &device) == 0 &&
            vendor == SNAPSHOT_PCI_VENDOR_ID &&
            device == SNAPSHOT_PCI_DEVICE_ID;
    close(dir);
    return match;
}

/*
 * Put the address of the only snapshot device, or of the one at @wanted, in
 * @found.  Returns 0, or -1 and errno.
 */
static int find_device(int devices, const char *wanted, char *found,
                       size_t size)
{
    int fd = openat(devices, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    unsigned int count = 0;

    if (!list) {
        if (fd >= 0) {
            close(fd);
        }
        return -1;
    }
    while ((entry = readdir(list))) {
        const char *name = entry->d_name;

        if (name[0] != '.' && strlen(name) < size &&
            (!wanted || !strcmp(name, wanted)) &&
            is_snapshot(devices, name)) {
            strcpy(found, name);
            count++;
        }
    }
    closedir(list);
    if (count != 1) {
        errno = count ? ENOTUNIQ : ENODEV;
        return -1;
    }
    return 0;
}

/* Open the directory of all PCI functions.  A machine without PCI: ENODEV. */
static int open_devices(const char *sysfs)
{
    char *path;
    int fd;

    if (asprintf(&path, "%s/bus/pci/devices", sysfs) < 0) {
        errno = ENOMEM;
        return -1;
    }
    fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    free(path);
    if (fd < 0 && errno == ENOENT) {
        errno = ENODEV;
    }
    return fd;
}

static int open_device(SnapshotDevice *dev, const char *sysfs,
                       const char *address)
{
    int devices = open_devices(sysfs);
    int dir = -1;
    int ret = -1;

    if (devices < 0) {
        return -1;
    }
    if (find_device(devices, address, dev->pci.address,
                    sizeof(dev->pci.address)) == 0) {
        dir = openat(devices, dev->pci.address,
                     O_PATH | O_DIRECTORY | O_CLOEXEC);
    }
    if (dir >= 0) {
        ret = read_pci(dir, &dev->pci);
        if (ret == 0) {
            ret = map_bar(dir, dev);
        }
        if (ret == 0) {
            map_shared(dir, dev);
        }
        close(dir);
    }
    close(devices);
    return ret;
}

SnapshotDevice *snapshot_open_sysfs(const char *sysfs, const char *address)
{
    SnapshotDevice *dev = calloc(1, sizeof(*dev));
    int error;

    if (!dev) {
        return NULL;
    }
    if (open_device(dev, sysfs, address) < 0) {
        error = errno;
        snapshot_close(dev);
        errno = error;
        return NULL;
    }
    return dev;
}

SnapshotDevice *snapshot_open(const char *address)
{
    return snapshot_open_sysfs("/sys", address);
}

void snapshot_close(SnapshotDevice *dev)
{
    if (!dev) {
        return;
    }
    if (dev->bar) {
        munmap((void *)dev->bar, SNAPSHOT_BAR_SIZE);
    }
    if (dev->shared) {
        munmap((void *)dev->shared, dev->shared_size);
    }
    free(dev);
}
