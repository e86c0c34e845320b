/*
 * Virtio devices for the qtests of machine snapshots, driven by libqos.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "hw/pci/pci_regs.h"
#include "qemu/bswap.h"
#include "standard-headers/linux/virtio_blk.h"
#include "snapshot-virtio.h"

void virtio_open(Virtio *v, Snap *s, int queue)
{
    QPCIAddress address = { .devfn = QPCI_DEVFN(VIRTIO_SLOT, 0) };
    uint64_t features;

    v->s = s;
    v->qts = s->qts;
    pc_alloc_init(&v->alloc, v->qts, ALLOC_NO_FLAGS);
    v->pci = virtio_pci_new(s->bus, &address);
    v->dev = &v->pci->vdev;
    qvirtio_pci_device_enable(v->pci);
    if (v->msix) {
        qpci_msix_enable(v->pci->pdev);
        qvirtio_pci_set_msix_configuration_vector(v->pci, &v->alloc, 0);
    }
    qvirtio_start_device(v->dev);
    features = qvirtio_get_features(v->dev);
    features &= ~(QVIRTIO_F_BAD_FEATURE | v->unwanted |
                  (1ull << VIRTIO_RING_F_INDIRECT_DESC) |
                  (1ull << VIRTIO_RING_F_EVENT_IDX));
    qvirtio_set_features(v->dev, features);
    if (v->want_rx) {
        v->rx = qvirtqueue_setup(v->dev, &v->alloc, 0);
    }
    v->vq = qvirtqueue_setup(v->dev, &v->alloc, queue);
    if (v->msix) {
        qvirtqueue_pci_msix_setup(v->pci, (QVirtQueuePCI *)v->vq, &v->alloc,
                                  1);
    }
    qvirtio_set_driver_ok(v->dev);
    v->buffer = guest_alloc(&v->alloc, 4096);
}

void virtio_close(Virtio *v)
{
    qvirtqueue_cleanup(v->dev->bus, v->vq, &v->alloc);
    if (v->rx) {
        qvirtqueue_cleanup(v->dev->bus, v->rx, &v->alloc);
    }
    qvirtio_pci_device_disable(v->pci);
    g_free(v->pci->pdev);
    g_free(v->pci);
    alloc_destroy(&v->alloc);
    snap_end(v->s);
}

uint16_t virtio_used(Virtio *v)
{
    return qtest_readw(v->qts, v->vq->used + 2);
}

void virtio_save(Virtio *v)
{
    snap_save(v->s);
    v->vq_saved = *v->vq;
}

/* By QMP, which works after a reset, too */
void virtio_restore(Virtio *v)
{
    qtest_qmp_assert_success(v->qts,
                             "{ 'execute': 'x-snapshot-device-restore' }");
    *v->vq = v->vq_saved;
}

uint32_t virtio_submit(Virtio *v, uint32_t len, bool write)
{
    uint32_t head = qvirtqueue_add(v->qts, v->vq, v->buffer, len, write,
                                   false);

    qvirtqueue_kick(v->qts, v->dev, v->vq, head);
    return head;
}

void virtio_wait(Virtio *v, uint32_t head)
{
    qvirtio_wait_used_elem(v->qts, v->dev, v->vq, head, NULL,
                           VIRTIO_TIMEOUT_US);
    /* libqos never takes descriptors back: they are all free now. */
    if (qtest_readw(v->qts, v->vq->avail + 2) == virtio_used(v)) {
        v->vq->num_free = v->vq->size;
        v->vq->free_head = 0;
    }
}

uint32_t virtio_blk_submit(Virtio *v, uint32_t type, uint64_t sector,
                           uint32_t len)
{
    struct virtio_blk_outhdr header = {
        .type = cpu_to_le32(type),
        .sector = cpu_to_le64(sector),
    };
    uint64_t status = v->buffer + BLK_STATUS;
    uint32_t head;

    qtest_memwrite(v->qts, v->buffer, &header, sizeof(header));
    qtest_writeb(v->qts, status, 0xff);
    head = qvirtqueue_add(v->qts, v->vq, v->buffer, sizeof(header), false,
                          true);
    if (len) {
        qvirtqueue_add(v->qts, v->vq, v->buffer + BLK_DATA, len,
                       type == VIRTIO_BLK_T_IN, true);
    }
    qvirtqueue_add(v->qts, v->vq, status, 1, true, false);
    qvirtqueue_kick(v->qts, v->dev, v->vq, head);
    return head;
}

uint8_t virtio_blk_status(Virtio *v)
{
    return qtest_readb(v->qts, v->buffer + BLK_STATUS);
}

void virtio_upset(Virtio *v, int n)
{
    switch (n % 4) {
    case 1:
        qvirtio_reset(v->dev);
        v->dev->features_negotiated = true;
        break;
    case 2:
        qpci_config_writew(v->pci->pdev, PCI_COMMAND, 0);
        break;
    case 3:
        qtest_system_reset(v->qts);
        break;
    }
}
