/*
 * A target: the kernel reads a file system that the fuzzer has made.
 *
 *     fuzz-filesystem TYPE [MODULE...]
 *
 * The input is the beginning of an image of a disk of 64 KiB, the rest of which
 * is zero.  A run mounts it, walks through all that is there, reads it, and
 * makes a change.  What is counted is the code of the modules on behalf of this
 * process; the kernel is the distribution's, as it is.  README.md has more.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../kernel.h"

#define IMAGE       "/tmp/image"
#define DISK        "/dev/loop0"
#define WHERE       "/tmp/mounted"
#define IMAGE_SIZE  (64 << 10)

/* A directory may contain itself; and there may be no end to one. */
#define DEPTH_MAX   4
#define ENTRIES_MAX 64
#define READ_MAX    (256 << 10)

/* A disk whose content is that of the file; returns the file. */
static int make_disk(void)
{
    static const uint8_t zero[IMAGE_SIZE];
    struct loop_config config = { .block_size = 512 };
    int file = open(IMAGE, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    int disk = open(DISK, O_RDWR | O_CLOEXEC);

    if (file < 0 || pwrite(file, zero, sizeof(zero), 0) != sizeof(zero)) {
        fail(IMAGE);
    }
    config.fd = file;
    if (disk < 0 || ioctl(disk, LOOP_CONFIGURE, &config) < 0) {
        fail(DISK);
    }
    close(disk);
    if (mkdir(WHERE, 0700) < 0) {
        fail(WHERE);
    }
    return file;
}

/* What a run finds out is of no interest; that it is asked for is. */

static void read_file(int dir, const char *name)
{
    static char buffer[16 << 10];
    int file = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t size = 1;

    for (int i = 0; file >= 0 && size > 0 && i < READ_MAX; i += size) {
        size = read(file, buffer, sizeof(buffer));
    }
    if (file >= 0) {
        close(file);
    }
}

static void walk(int at, const char *name, int depth)
{
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    struct stat info;

    for (int i = 0; dir && i < ENTRIES_MAX && (entry = readdir(dir)); i++) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..") ||
            fstatat(fd, entry->d_name, &info, AT_SYMLINK_NOFOLLOW) < 0) {
            continue;
        }
        if (S_ISREG(info.st_mode)) {
            read_file(fd, entry->d_name);
        } else if (S_ISDIR(info.st_mode) && depth < DEPTH_MAX) {
            walk(fd, entry->d_name, depth + 1);
        }
    }
    if (dir) {
        closedir(dir);
    } else if (fd >= 0) {
        close(fd);
    }
}

/* Needs a free entry in the directory, and a free cluster or block. */
static void change(void)
{
    int file = open(WHERE "/a new file.text", O_RDWR | O_CREAT | O_CLOEXEC,
                    0600);

    if (file >= 0) {
        (void)!write(file, WHERE, sizeof(WHERE));
        close(file);
        rename(WHERE "/a new file.text", WHERE "/NEW");
    }
    mkdir(WHERE "/dir", 0700);
    unlink(WHERE "/NEW");
}

/* Returns the status of the run: 0 mounted, 1 the kernel would not have it. */
static int try_image(int file, const char *type, const uint8_t *data,
                     size_t size)
{
    if (pwrite(file, data, size, 0) != (ssize_t)size) {
        fail(IMAGE);
    }
    if (mount(DISK, WHERE, type, 0, NULL) < 0 &&
        mount(DISK, WHERE, type, MS_RDONLY, NULL) < 0) {
        return 1;
    }
    walk(AT_FDCWD, WHERE, 0);
    change();
    return 0;
}

int main(int argc, char **argv)
{
    const uint8_t *data;
    SnapRuns *runs;
    size_t size;
    int file;

    if (argc < 2) {
        fprintf(stderr, "usage: fuzz-filesystem TYPE [MODULE...]\n");
        return EXIT_FAILURE;
    }
    runs = kernel_runs(argv + 2);
    file = make_disk();
    while ((data = snap_next_input(runs, &size))) {
        snap_exit(runs, try_image(file, argv[1], data,
                                  size < IMAGE_SIZE ? size : IMAGE_SIZE));
    }
    no_input(runs);
}
