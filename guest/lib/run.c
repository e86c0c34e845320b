/*
 * libsnapshot: runs.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "device.h"
#include "kcov.h"
#include "snapshot-run.h"

/* Larger mappings are somebody's reserve (a sanitizer's), not in use. */
#define POPULATE_MAX    (256ul << 20)

/* Deeper than most targets' stacks */
#define STACK_TOUCHED   (256 << 10)

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ  22
#define MADV_POPULATE_WRITE 23
#endif

/* Areas of the memory that is shared, as the header said at the beginning */
struct SnapRuns {
    SnapshotDevice *dev;
    uint8_t *input, *map, *text, *log;
    uint32_t input_max, map_size, text_size, log_size;
    uint32_t result;
    bool begun;
    SnapKcov kcov;              /* ->buffer NULL: not in use */
    SnapCmplog cmplog;          /* for that */
};

static uint32_t field(const SnapshotDevice *dev, unsigned int at)
{
    return snapshot_mmio_read32(dev->shared, at);
}

static void set_register(SnapRuns *runs, unsigned int reg, uint32_t value)
{
    /* volatile: the store is what sets it */
    *(volatile uint32_t *)(runs->dev->bar + reg) = snapshot_mmio_le32(value);
}

static bool is_shared(const SnapshotDevice *dev)
{
    return dev->shared &&
           field(dev, SNAPSHOT_SHARED_MAGIC) == SNAPSHOT_SHARED_MAGIC_IS &&
           field(dev, SNAPSHOT_SHARED_VERSION) == SNAPSHOT_SHARED_VERSION_IS;
}

/* Have the kernel trace us, if that is wanted.  Returns 0, or -1 and errno. */
static int open_kcov(SnapRuns *runs)
{
    if (!getenv("SNAPSHOT_KCOV")) {
        return 0;
    }
    return kcov_open(&runs->kcov, snap_cmplog_open(&runs->cmplog, runs));
}

/* The run ends: what the kernel has traced goes into the map. */
static void collect(SnapRuns *runs)
{
    if (runs->kcov.buffer) {
        kcov_collect(&runs->kcov, runs->map, runs->map_size, &runs->cmplog);
    }
}

SnapRuns *snap_open(const char *address)
{
    SnapshotDevice *dev = snapshot_open(address);
    uint8_t *shared;
    SnapRuns *runs;
    int error;

    if (!dev) {
        return NULL;
    }
    runs = is_shared(dev) ? calloc(1, sizeof(*runs)) : NULL;
    if (!runs) {
        errno = is_shared(dev) ? ENOMEM : ENODATA;
        snapshot_close(dev);
        return NULL;
    }
    runs->dev = dev;
    /* Plain memory: what the host does to it, it does between two runs. */
    shared = (uint8_t *)dev->shared;
    runs->input = shared + field(dev, SNAPSHOT_SHARED_INPUT);
    runs->input_max = field(dev, SNAPSHOT_SHARED_INPUT_MAX);
    runs->map = shared + field(dev, SNAPSHOT_SHARED_MAP);
    runs->map_size = field(dev, SNAPSHOT_SHARED_MAP_SIZE);
    runs->text = shared + field(dev, SNAPSHOT_SHARED_TEXT);
    runs->text_size = field(dev, SNAPSHOT_SHARED_TEXT_SIZE);
    runs->log = shared + field(dev, SNAPSHOT_SHARED_LOG);
    runs->log_size = field(dev, SNAPSHOT_SHARED_LOG_SIZE);
    if (open_kcov(runs) < 0) {
        error = errno;
        free(runs);
        snapshot_close(dev);
        errno = error;
        return NULL;
    }
    return runs;
}

/* Have the pages of one line of /proc/self/maps in memory, as far as can be. */
static void populate_mapping(const char *line)
{
    unsigned long start, end;
    char read, write;

    if (sscanf(line, "%lx-%lx %c%c", &start, &end, &read, &write) == 4 &&
        read == 'r' && end - start <= POPULATE_MAX) {
        madvise((void *)start, end - start,
                write == 'w' ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
    }
}

/*
 * Have page tables note that @size bytes of the memory that is shared were
 * written to, without changing them: the host may have an input there already.
 */
static void touch(uint8_t *start, size_t size)
{
    for (size_t at = 0; at < size; at += 4096) {
        /* volatile: or the compiler saw that nothing is stored */
        __atomic_fetch_or((volatile uint8_t *)start + at, 0, __ATOMIC_RELAXED);
    }
}

/*
 * A page that a run is the first to touch costs it a fault, or the processor a
 * note in page tables, and again each time, as this is undone by the restore:
 * have them all before.
 */
static void populate(const SnapRuns *runs)
{
    /* volatile: or the stores, which nothing reads, were left out */
    volatile char stack[STACK_TOUCHED];
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[512];

    for (size_t i = 0; i < sizeof(stack); i += 4096) {
        stack[i] = 0;
    }
    if (maps) {
        while (fgets(line, sizeof(line), maps)) {
            populate_mapping(line);
        }
        fclose(maps);
    }
    touch(runs->input, runs->input_max);
    touch(runs->map, runs->map_size);
}

/*
 * Issue @command until nobody else's is in the way.  The result is read where
 * that is no exit to the device.
 */
static uint32_t command(SnapRuns *runs, uint32_t command)
{
    do {
        snapshot_mmio_issue(runs->dev->bar, command);
        runs->result = field(runs->dev, SNAPSHOT_SHARED_RESULT);
    } while (runs->result == SNAPSHOT_RES_BUSY);
    return runs->result;
}

uint8_t *snap_next_input(SnapRuns *runs, size_t *size)
{
    uint32_t length;

    if (!runs->begun) {
        runs->begun = true;
        populate(runs);
        snapshot_await_tick(runs->dev->bar);
    } else {
        collect(runs);
    }
    if (command(runs, SNAPSHOT_CMD_NEXT) != SNAPSHOT_RES_DONE &&
        runs->result != SNAPSHOT_RES_VERIFY) {
        return NULL;
    }
    if (runs->kcov.buffer) {
        kcov_begin(&runs->kcov);
    }
    memcpy(&length, runs->input, sizeof(length));
    length = snapshot_mmio_le32(length);
    *size = length < runs->input_max ? length : runs->input_max;
    return snap_input_buffer(runs);
}

uint8_t *snap_input_buffer(SnapRuns *runs)
{
    return runs->input + sizeof(uint32_t);
}

void snap_done(SnapRuns *runs, unsigned int status)
{
    if (status) {
        set_register(runs, SNAPSHOT_REG_RUN_STATUS, status);
    }
    collect(runs);
    command(runs, SNAPSHOT_CMD_DONE);
}

void snap_exit(SnapRuns *runs, unsigned int status)
{
    collect(runs);
    set_register(runs, SNAPSHOT_REG_RUN_STATUS, status | SNAPSHOT_RUN_LAST);
    command(runs, SNAPSHOT_CMD_DONE);
}

void snap_crash(SnapRuns *runs, int signal, const char *text)
{
    size_t size = text ? strlen(text) : 0;

    if (size > runs->text_size) {
        size = runs->text_size;
    }
    if (size) {
        memcpy(runs->text, text, size);
    }
    collect(runs);
    set_register(runs, SNAPSHOT_REG_TEXT_SIZE, size);
    set_register(runs, SNAPSHOT_REG_RUN_STATUS, signal);
    command(runs, SNAPSHOT_CMD_CRASH);
}

void snap_log(SnapRuns *runs, const char *format, ...)
{
    uint32_t head = field(runs->dev, SNAPSHOT_SHARED_LOG_HEAD);
    char text[1024];
    va_list ap;
    int size;

    va_start(ap, format);
    size = vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);
    if (size >= (int)sizeof(text)) {
        size = sizeof(text) - 1;
    }
    for (int i = 0; i < size; i++) {
        runs->log[head++ & (runs->log_size - 1)] = text[i];
    }
    /* volatile: after the text */
    *(volatile uint32_t *)(runs->dev->shared + SNAPSHOT_SHARED_LOG_HEAD) =
        snapshot_mmio_le32(head);
}

uint8_t *snap_coverage(SnapRuns *runs, size_t *size)
{
    *size = runs->map_size;
    return runs->map;
}

void snap_coverage_used(SnapRuns *runs, size_t used)
{
    /* Edges of the kernel may be anywhere in it. */
    set_register(runs, SNAPSHOT_REG_MAP_USED, runs->kcov.buffer ? 0 : used);
}

uint32_t snap_result(const SnapRuns *runs)
{
    return runs->result;
}

SnapshotDevice *snap_device(SnapRuns *runs)
{
    return runs->dev;
}
