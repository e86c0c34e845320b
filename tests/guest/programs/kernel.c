/*
 * State that the kernel and devices hold: a module, DMA, the time.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "dirty.h"

/* A kernel module, loaded after the save */

#define MODULE      "dummy"
#define MODULE_DIR  "/sys/module/" MODULE

static bool module_prepare(void)
{
    return system("modprobe " MODULE " 2>/dev/null && "
                  "modprobe -r " MODULE " 2>/dev/null") == 0;
}

static void module_check(uint32_t round)
{
    if (access(MODULE_DIR, F_OK) == 0) {
        fail("%s is still loaded, in round %u", MODULE, round);
    }
}

static void module_spoil(uint32_t round)
{
    if (system("modprobe " MODULE) != 0 || access(MODULE_DIR, F_OK) != 0) {
        fail("%s cannot be loaded, in round %u", MODULE, round);
    }
}

const Subject kernel_module = {
    "kernel module", module_prepare, module_check, module_spoil
};

/* A read-only disk, which writes to the program's own pages by DMA */

#define DISK        "/dev/vda"
#define DISK_PAGES  8

static uint8_t *disk_buffer;

static bool disk_prepare(void)
{
    if (access(DISK, R_OK) < 0) {
        return false;
    }
    disk_buffer = get_memory(DISK_PAGES * PAGE, PROT_READ | PROT_WRITE);
    for (uint32_t i = 0; i < DISK_PAGES; i++) {
        fill(disk_buffer + i * PAGE, i);
    }
    return true;
}

static void disk_check(uint32_t round)
{
    for (uint32_t i = 0; i < DISK_PAGES; i++) {
        if (!filled(disk_buffer + i * PAGE, i)) {
            fail("page %u of the buffer differs, in round %u", i, round);
        }
    }
}

static void disk_spoil(uint32_t round)
{
    const ssize_t size = DISK_PAGES * PAGE;
    int fd = open(DISK, O_RDONLY | O_DIRECT);

    if (fd < 0 || pread(fd, disk_buffer, size, 0) != size) {
        fail("%s: %s, in round %u", DISK, strerror(errno), round);
    }
    close(fd);
    if (filled(disk_buffer, 0)) {
        fail("%s gave what was in the buffer, in round %u", DISK, round);
    }
}

const Subject block_dma = {
    "block DMA", disk_prepare, disk_check, disk_spoil
};

/* Random numbers by DMA: the device's queue moves on each time */

#define RANDOM      "/dev/hwrng"

static void read_random(uint8_t *bytes, size_t size)
{
    int fd = open(RANDOM, O_RDONLY);

    if (fd < 0 || read(fd, bytes, size) <= 0) {
        fail("%s: %s", RANDOM, strerror(errno));
    }
    close(fd);
}

static uint8_t random_bytes[64];
static uint8_t random_saved[64];

static bool random_prepare(void)
{
    if (access("/sys/class/misc/hw_random/rng_current", R_OK) < 0 ||
        system("grep -q virtio /sys/class/misc/hw_random/rng_current")) {
        return false;
    }
    read_random(random_bytes, sizeof(random_bytes));
    memcpy(random_saved, random_bytes, sizeof(random_saved));
    return true;
}

static void random_check(uint32_t round)
{
    if (memcmp(random_bytes, random_saved, sizeof(random_saved))) {
        fail("the buffer differs, in round %u", round);
    }
}

static void random_spoil(uint32_t round)
{
    (void)round;
    for (unsigned int i = 0; i < 8; i++) {
        read_random(random_bytes, sizeof(random_bytes));
    }
}

const Subject random_dma = {
    "random DMA", random_prepare, random_check, random_spoil
};

/* The time: it goes on from the save, whatever passed until the restore */

#define SLEEP_MS    3000    /* no busy host keeps a guest waiting so long */
#define SLEEPS      1       /* only in the first round, for it takes long */

static int64_t saved_ms;

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000ll + now.tv_nsec / 1000000;
}

static bool time_prepare(void)
{
    saved_ms = now_ms();
    return true;
}

static void time_check(uint32_t round)
{
    int64_t passed = now_ms() - saved_ms;

    if (passed < 0 || (round <= SLEEPS && passed >= SLEEP_MS)) {
        fail("%lld ms since the save, in round %u", (long long)passed, round);
    }
}

static void time_spoil(uint32_t round)
{
    struct timespec delay = { .tv_sec = SLEEP_MS / 1000 };

    if (round < SLEEPS) {
        nanosleep(&delay, NULL);
    }
}

const Subject time_of_day = {
    "time", time_prepare, time_check, time_spoil
};
