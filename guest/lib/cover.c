/*
 * libsnapshot: which code the device counts edges of.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "device.h"

#define MODULES "/sys/module"

uint32_t snapshot_cover(SnapshotDevice *dev, uint64_t start, uint64_t length,
                        uint32_t flags)
{
    return snapshot_mmio_cover(dev->bar, start, length, flags);
}

uint32_t snapshot_uncover(SnapshotDevice *dev)
{
    return snapshot_mmio_uncover(dev->bar);
}

int snapshot_cover_program(SnapshotDevice *dev)
{
    uintptr_t start = (uintptr_t)__executable_start;
    uint64_t length = (uintptr_t)etext - start;

    return snapshot_to_errno(snapshot_cover(dev, start, length,
                                            SNAPSHOT_COVER_HERE));
}

/* The number that a file of sysfs has, in the format @format of fscanf() */
static bool __attribute__((format(scanf, 2, 3)))
read_number(const char *path, const char *format, ...)
{
    FILE *file = fopen(path, "re");
    va_list ap;
    int count;

    if (!file) {
        return false;
    }
    va_start(ap, format);
    errno = EIO;
    count = vfscanf(file, format, ap);
    va_end(ap);
    fclose(file);
    return count == 1;
}

static bool read_section(const char *module, const char *section,
                         uint64_t *address)
{
    char path[PATH_MAX];

    snprintf(path, sizeof(path), MODULES "/%s/sections/%s", module, section);
    if (!read_number(path, "%" SCNx64, address)) {
        return false;
    }
    if (!*address) {
        errno = EPERM;          /* hidden: kernel.kptr_restrict */
        return false;
    }
    return true;
}

static void lower_to(uint64_t *end, uint64_t start, uint64_t address)
{
    if (address > start && address < *end) {
        *end = address;
    }
}

/* The first address of something else of the module, if that is before @end */
static void end_at_data(const char *module, uint64_t start, uint64_t *end)
{
    char path[PATH_MAX];
    struct dirent *entry;
    uint64_t address;
    DIR *dir;

    snprintf(path, sizeof(path), MODULES "/%s/sections", module);
    dir = opendir(path);
    while (dir && (entry = readdir(dir))) {
        if (!strstr(entry->d_name, "text") &&
            read_section(module, entry->d_name, &address)) {
            lower_to(end, start, address);
        }
    }
    if (dir) {
        closedir(dir);
    }
}

/* The first address of another module's code, if that is before @end */
static void end_at_modules(uint64_t start, uint64_t *end)
{
    DIR *dir = opendir(MODULES);
    struct dirent *entry;
    uint64_t address;

    while (dir && (entry = readdir(dir))) {
        if (read_section(entry->d_name, ".text", &address)) {
            lower_to(end, start, address);
        }
    }
    if (dir) {
        closedir(dir);
    }
}

int snapshot_cover_module(SnapshotDevice *dev, const char *module,
                          uint32_t flags)
{
    char path[PATH_MAX];
    uint64_t start, size, end;

    /* The kernel tells where code begins, and how long all of it is. */
    snprintf(path, sizeof(path), MODULES "/%s/coresize", module);
    if (!read_section(module, ".text", &start) ||
        !read_number(path, "%" SCNu64, &size)) {
        return -1;
    }
    end = start + size;
    end_at_data(module, start, &end);
    end_at_modules(start, &end);
    return snapshot_to_errno(snapshot_cover(dev, start, end - start, flags));
}
