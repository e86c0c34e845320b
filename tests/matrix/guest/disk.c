/*
 * disk:DRIVER[:rw]: a disk whose sectors the host has filled in a known way.
 *
 * A read is under way at the save.  With "rw" the second half of the disk is
 * written to, and must be as it was at the save after each restore.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "exercise.h"

#define PIECE   4096        /* bytes, for one read or write */
#define WORDS   (PIECE / sizeof(uint32_t))

typedef struct Disk {
    int fd;
    bool writable;
    uint32_t pieces;
    uint32_t *buffer;       /* one piece */
    uint32_t *under_way;    /* the piece that is read during the save */
    aio_context_t aio;
    struct iocb iocb;
} Disk;

/* The host fills in word @i of the disk in the same way: see host.py. */
static uint32_t pattern(uint32_t i)
{
    return i * 2654435761u + 12345;
}

static void fill_piece(uint32_t *buffer, uint32_t piece, uint32_t seed)
{
    for (size_t i = 0; i < WORDS; i++) {
        buffer[i] = pattern(piece * WORDS + i) ^ seed;
    }
}

static void check_piece(const uint32_t *buffer, uint32_t piece, uint32_t seed)
{
    for (size_t i = 0; i < WORDS; i++) {
        uint32_t expected = pattern(piece * WORDS + i) ^ seed;

        if (buffer[i] != expected) {
            fail("word %zu of piece %u is 0x%08x and not 0x%08x", i, piece,
                 buffer[i], expected);
        }
    }
}

static uint32_t *get_piece(void)
{
    void *buffer;

    if (posix_memalign(&buffer, PIECE, PIECE)) {
        fail("no memory");
    }
    return buffer;
}

static void disk_open(Device *dev)
{
    Disk *d = dev->state = allocate(sizeof(*d));
    char name[64], path[80];
    uint64_t size;

    find_device("block", dev->driver, "", name, sizeof(name));
    snprintf(path, sizeof(path), "/dev/%s", name);
    d->writable = !strcmp(dev->argument, "rw");
    d->fd = open(path, (d->writable ? O_RDWR : O_RDONLY) | O_DIRECT);
    if (d->fd < 0 || ioctl(d->fd, BLKGETSIZE64, &size) < 0) {
        fail("%s: %s", path, strerror(errno));
    }
    d->pieces = size / PIECE;
    d->buffer = get_piece();
    d->under_way = get_piece();
    if (syscall(SYS_io_setup, 4, &d->aio) < 0) {
        fail("io_setup: %s", strerror(errno));
    }
}

static void read_piece(Disk *d, uint32_t piece, uint32_t seed)
{
    memset(d->buffer, 0, PIECE);
    if (pread(d->fd, d->buffer, PIECE, (off_t)piece * PIECE) != PIECE) {
        fail("reading piece %u: %s", piece, strerror(errno));
    }
    check_piece(d->buffer, piece, seed);
}

static void disk_use(Device *dev, uint32_t round)
{
    Disk *d = dev->state;
    uint32_t half = d->pieces / 2;
    uint32_t piece = half + round % half;

    read_piece(d, round % half, 0);
    if (!d->writable) {
        return;
    }
    read_piece(d, piece, 0);
    fill_piece(d->buffer, piece, round + 1);
    if (pwrite(d->fd, d->buffer, PIECE, (off_t)piece * PIECE) != PIECE) {
        fail("writing piece %u: %s", piece, strerror(errno));
    }
    read_piece(d, piece, round + 1);
    /* Some rounds leave it to the restore to bring the old content back. */
    if (round % 2) {
        return;
    }
    fill_piece(d->buffer, piece, 0);
    if (pwrite(d->fd, d->buffer, PIECE, (off_t)piece * PIECE) != PIECE) {
        fail("writing piece %u back: %s", piece, strerror(errno));
    }
}

static void disk_begin(Device *dev)
{
    Disk *d = dev->state;
    struct iocb *list = &d->iocb;

    d->iocb = (struct iocb) {
        .aio_lio_opcode = IOCB_CMD_PREAD,
        .aio_fildes = d->fd,
        .aio_buf = (uintptr_t)d->under_way,
        .aio_nbytes = PIECE,
        .aio_offset = PIECE,
    };
    if (syscall(SYS_io_submit, d->aio, 1, &list) != 1) {
        fail("io_submit: %s", strerror(errno));
    }
}

static void disk_finish(Device *dev, uint32_t round)
{
    Disk *d = dev->state;
    struct io_event event;

    (void)round;
    if (syscall(SYS_io_getevents, d->aio, 1, 1, &event, NULL) != 1) {
        fail("io_getevents: %s", strerror(errno));
    }
    if (event.res != PIECE) {
        fail("the read that was under way failed: %lld of %d bytes",
             (long long)event.res, PIECE);
    }
    check_piece(d->under_way, 1, 0);
}

const Kind disk_kind = {
    "disk", disk_open, disk_use, disk_begin, disk_finish
};
