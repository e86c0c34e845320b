/*
 * Virtio devices for the qtests of machine snapshots, driven by libqos.
 *
 * The driver's own notes on a queue are in the test, so the test puts them
 * back along with the machine.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_QTEST_SNAPSHOT_VIRTIO_H
#define TESTS_QTEST_SNAPSHOT_VIRTIO_H

#include "libqos/malloc-pc.h"
#include "libqos/virtio-pci.h"
#include "snapshot-common.h"

#define VIRTIO_SLOT 6
#define VIRTIO_TIMEOUT_US (30 * G_USEC_PER_SEC)

#define VIRTIO_PC \
    "-nodefaults -machine pc -m 16 -device snapshot,addr=4,verify=on "
#define VIRTIO_Q35 \
    "-nodefaults -machine q35 -m 16 -device snapshot,addr=4,verify=on "

/* A virtio device in VIRTIO_SLOT, and the queue that is tried */
typedef struct Virtio {
    /* Set these before virtio_open(). */
    bool want_rx;           /* set up queue 0, too */
    bool msix;
    uint64_t unwanted;      /* features that are not taken */

    Snap *s;
    QTestState *qts;
    QGuestAllocator alloc;
    QVirtioPCIDevice *pci;
    QVirtioDevice *dev;
    QVirtQueue *vq;
    QVirtQueue vq_saved;    /* the driver's notes at the save */
    QVirtQueue *rx;
    uint64_t buffer;        /* a page for the test */
} Virtio;

/**
 * virtio_open: start the device in VIRTIO_SLOT of @s, and set up @queue
 *
 * End both with virtio_close().
 */
void virtio_open(Virtio *v, Snap *s, int queue);
void virtio_close(Virtio *v);

/**
 * virtio_save, virtio_restore: the machine, and the notes on ->vq
 */
void virtio_save(Virtio *v);
void virtio_restore(Virtio *v);

/**
 * virtio_submit: pass the first @len bytes of ->buffer to the device
 * @write: the device shall write to them
 *
 * Returns the descriptor, for virtio_wait().
 */
uint32_t virtio_submit(Virtio *v, uint32_t len, bool write);
void virtio_wait(Virtio *v, uint32_t head);

/* Layout of ->buffer for a request to a disk: header, data, status */
#define BLK_DATA 512
#define BLK_DATA_MAX 3072
#define BLK_STATUS 4095

/**
 * virtio_blk_submit: pass a request of @type to a virtio disk
 *
 * The @len bytes of data are at ->buffer + BLK_DATA.  Returns the descriptor,
 * for virtio_wait().
 */
uint32_t virtio_blk_submit(Virtio *v, uint32_t type, uint64_t sector,
                           uint32_t len);

/**
 * virtio_blk_status: how the last request of that kind has ended
 */
uint8_t virtio_blk_status(Virtio *v);

/**
 * virtio_used: how many buffers the device has returned in ->vq
 */
uint16_t virtio_used(Virtio *v);

/**
 * virtio_upset: take the device down, in a way that depends on @n
 */
void virtio_upset(Virtio *v, int n);

#endif
