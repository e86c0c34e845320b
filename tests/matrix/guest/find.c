/*
 * Devices by the name of their driver, and other things that all need.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <dirent.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "exercise.h"

/* Drivers are loaded and buses are scanned in the background. */
#define TRIES       300
#define TRY_MS      100

void *allocate(size_t size)
{
    void *memory = calloc(1, size);

    if (!memory) {
        fail("no memory");
    }
    return memory;
}

void run(const char *format, ...)
{
    char command[512];
    va_list ap;

    va_start(ap, format);
    vsnprintf(command, sizeof(command), format, ap);
    va_end(ap);
    if (system(command) != 0) {
        fail("'%s' failed", command);
    }
}

bool wait_readable(int fd, int ms)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };

    return poll(&p, 1, ms) > 0;
}

/* Does @driver drive @path, in /sys, or something above it? */
static bool driven_by(const char *path, const char *driver)
{
    char dir[PATH_MAX], link[PATH_MAX + 8], target[PATH_MAX];
    char *slash;

    if (!realpath(path, dir)) {
        return false;
    }
    while ((slash = strrchr(dir, '/')) && slash != dir) {
        snprintf(link, sizeof(link), "%s/driver", dir);
        if (realpath(link, target) &&
            !strcmp(strrchr(target, '/') + 1, driver)) {
            return true;
        }
        *slash = '\0';
    }
    return false;
}

static bool look_for(const char *class, const char *driver,
                     const char *prefix, char *name, size_t size)
{
    char path[PATH_MAX];
    struct dirent *entry;
    bool found = false;
    DIR *list;

    snprintf(path, sizeof(path), "/sys/class/%s", class);
    list = opendir(path);
    while (list && !found && (entry = readdir(list))) {
        snprintf(path, sizeof(path), "/sys/class/%s/%s", class, entry->d_name);
        if (entry->d_name[0] != '.' &&
            !strncmp(entry->d_name, prefix, strlen(prefix)) &&
            driven_by(path, driver)) {
            snprintf(name, size, "%s", entry->d_name);
            found = true;
        }
    }
    if (list) {
        closedir(list);
    }
    return found;
}

void find_device(const char *class, const char *driver, const char *prefix,
                 char *name, size_t size)
{
    for (int i = 0; i < TRIES; i++) {
        if (look_for(class, driver, prefix, name, size)) {
            return;
        }
        poll(NULL, 0, TRY_MS);
    }
    fail("nothing in /sys/class/%s is driven by '%s'", class, driver);
}
