/*
 * Disk images and virtio disks for the qtests of machine snapshots.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_QTEST_SNAPSHOT_DISK_H
#define TESTS_QTEST_SNAPSHOT_DISK_H

#include "snapshot-virtio.h"

#define DISK_SECTORS 256
#define DISK_BYTES (DISK_SECTORS * 512)
#define DISK_MOST (BLK_DATA_MAX / 512)      /* sectors in one request */

/* A disk image, what is in it, and what the guest shall find on the disk */
typedef struct Image {
    char *name;
    uint8_t content[DISK_BYTES];
    uint8_t now[DISK_BYTES];
} Image;

/**
 * disk_fill: random bytes
 */
void disk_fill(uint8_t *data, size_t len);

/**
 * image_new: make a file with random content; remove it with image_free()
 */
void image_new(Image *image);
void image_free(Image *image);

/**
 * image_check: is @expected what the file holds?
 */
void image_check(const Image *image, const uint8_t *expected);

/**
 * disk_open: start a machine with a new image, node "d", on a virtio disk
 * @snapshot, @device: more options of the snapshot device and of the disk
 *
 * End it with disk_close(), or virtio_close() and, later, image_free().
 */
void disk_open(Virtio *v, Image *image, const char *snapshot,
               const char *device);
void disk_close(Virtio *v, Image *image);

/**
 * disk_write: write random data to @n sectors; returns the status
 */
uint8_t disk_write(Virtio *v, Image *image, unsigned sector, unsigned n);

/**
 * disk_zero: write zeroes to (or, by @type, discard) @n sectors
 */
void disk_zero(Virtio *v, Image *image, uint32_t type, unsigned sector,
               unsigned n);

/**
 * disk_check, disk_check_all: read, and compare with what shall be there
 */
void disk_check(Virtio *v, const Image *image, unsigned sector,
                unsigned n);
void disk_check_all(Virtio *v, const Image *image);

/**
 * disk_upset: write something, or zeroes, or flush
 */
void disk_upset(Virtio *v, Image *image);

/**
 * disk_restore: restore the machine; @saved is what shall be on the disk then
 */
void disk_restore(Virtio *v, Image *image, const uint8_t *saved);

/**
 * disk_number: one number of the first disk in x-snapshot-device-query
 */
int64_t disk_number(QTestState *qts, const char *key);

#endif
