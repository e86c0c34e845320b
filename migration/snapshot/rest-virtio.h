/*
 * In-process machine snapshots: virtio devices while the machine is at rest.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef MIGRATION_SNAPSHOT_REST_VIRTIO_H
#define MIGRATION_SNAPSHOT_REST_VIRTIO_H

#include "hw/virtio/virtio.h"

/*
 * From now on, a virtio device that is told of a stop keeps its ioeventfds.
 * To close them and to open them again costs dozens of system calls for each
 * device, and a rebuild of the memory topology.  Without vCPUs nobody signals
 * one; what has been signalled is taken in at the stop, as closing would.
 */
void snapshot_virtio_rest_begin(void);

/* Does another thread handle queues of this device? */
bool snapshot_virtio_has_thread(VirtIODevice *vdev);

/*
 * Devices do again what they always do; those that keep their ioeventfds handle
 * what has been signalled.
 */
void snapshot_virtio_rest_end(void);

/*
 * The interrupts for what the devices have finished are raised, as closing
 * their ioeventfds would.  To be called once no request is under way; @finished
 * tells if something ran since snapshot_virtio_rest_end().
 */
void snapshot_virtio_rest_call(bool finished);

/*
 * Devices are about to be reset.  That drains the block layer, which handles
 * whatever is signalled meanwhile: queues of devices half of whose state, or
 * whose rings in RAM, are those of another time already.  So close the
 * ioeventfds after all; what is signalled means nothing any more.
 */
void snapshot_virtio_rest_close(void);

/*
 * The state of @dev was loaded, and it was not reset: if it is one of these
 * devices, it looks at its queues when the machine goes on.
 */
void snapshot_virtio_rest_loaded(DeviceState *dev);

/* The machine goes on. */
void snapshot_virtio_rest_over(void);

#endif
