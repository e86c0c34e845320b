/*
 * In-process machine snapshots: RAM that devices write to by pointers.
 *
 * A device that maps RAM for a transfer marks what it has written when it
 * unmaps it.  AHCI controllers keep the lists of their ports mapped for as long
 * as the ports run: nothing tells of a write to these.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef MIGRATION_SNAPSHOT_DMA_HELD_H
#define MIGRATION_SNAPSHOT_DMA_HELD_H

/**
 * snapshot_dma_held_find: look for such devices
 *
 * Called at each save; devices that go or come make it outdated.
 */
void snapshot_dma_held_find(void);

/**
 * snapshot_dma_held_mark: what they hold now counts as written
 *
 * Called before written pages are collected.
 */
void snapshot_dma_held_mark(void);

#endif
