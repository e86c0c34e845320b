/*
 * Device "snapshot": memory that guest and host share (BAR 2).
 *
 * It belongs to the host side: no save, restore or verification touches it.
 * Whatever is in it the guest may have written, at any time, so the host reads
 * a value once and checks the copy.  Offsets and sizes are the device's own;
 * the header only tells the guest of them.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_MISC_SNAPSHOT_SHARED_H
#define HW_MISC_SNAPSHOT_SHARED_H

#include "migration/snapshot-compat.h"

#if SNAPSHOT_QEMU_SINCE(10, 1)
#include "system/memory.h"
#else
#include "exec/memory.h"
#endif

/* Bytes, those for fields to come included */
#define SNAPSHOT_HEADER_SIZE 64

/*
 * One area of the BAR.  Each is a RAM block of its own, since a fuzzer may
 * bring the memory for it.
 */
typedef struct SnapshotArea {
    MemoryRegion mr;
    uint8_t *host;
    size_t size;        /* bytes, whole pages */
    bool owned;         /* mapped here; else a fuzzer's segment, attached */
} SnapshotArea;

typedef struct SnapshotShared {
    MemoryRegion bar;
    SnapshotArea control;       /* header, text, log ring */
    SnapshotArea map;           /* coverage */
    SnapshotArea input;         /* length, 32 bits, and the bytes */
    SnapshotArea cmplog;        /* comparisons; ->host NULL: not wanted */
    uint32_t map_size;          /* bytes */
    uint32_t input_max;         /* bytes of the longest input */
    uint32_t cmplog_layout;     /* SNAPSHOT_CMPLOG_... */
    uint8_t header[SNAPSHOT_HEADER_SIZE];   /* as each run begins with it */
} SnapshotShared;

/*
 * Set up the areas as a region for the BAR of @owner, with room for a map of
 * @map_size bytes and inputs of @input_max.  Areas with ->host set on entry
 * are attached segments of shared memory, ->size bytes, which must be enough
 * for the map, and may shorten the input.  Returns false and sets @errp on
 * failure; call snapshot_shared_free() all the same.
 */
bool snapshot_shared_init(SnapshotShared *s, Object *owner, uint32_t map_size,
                          uint32_t input_max, Error **errp);

/* The device goes: its BAR must not be mapped any more. */
void snapshot_shared_take_apart(SnapshotShared *s);

/* Unmap and detach all memory, once no guest can reach it. */
void snapshot_shared_free(SnapshotShared *s);

/*
 * A run begins: its log is empty, and the header is what it was, whatever has
 * been written to it, by the guest or by another device.
 */
void snapshot_shared_begin_run(SnapshotShared *s);

/* Show the guest the result of its last command here, too. */
void snapshot_shared_set_result(SnapshotShared *s, uint32_t result);

/* Put @len bytes at @data in the input area; returns how many fit. */
uint32_t snapshot_shared_set_input(SnapshotShared *s, const void *data,
                                   size_t len);

/*
 * A copy of the first @size bytes of text, at most, and of the log; both with
 * a terminator, and free of characters that are not text.  Free with g_free().
 */
char *snapshot_shared_text(const SnapshotShared *s, uint32_t size);
char *snapshot_shared_log(const SnapshotShared *s);

#endif
