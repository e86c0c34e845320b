/*
 * Memory that a program can write to: its own, files', video memory, code.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dirty.h"

/* Anonymous memory: some pages change, some come to be, some go away */

#define POOL_PAGES  256
#define SPOILED     16

static uint8_t *pool;

static bool anonymous_prepare(void)
{
    pool = get_memory(POOL_PAGES * PAGE, PROT_READ | PROT_WRITE);
    for (uint32_t i = 0; i < POOL_PAGES; i++) {
        fill(pool + i * PAGE, i);
    }
    return true;
}

static void anonymous_check(uint32_t round)
{
    for (uint32_t i = 0; i < POOL_PAGES; i++) {
        if (!filled(pool + i * PAGE, i)) {
            fail("page %u of %u differs, in round %u", i, POOL_PAGES, round);
        }
    }
}

static void anonymous_spoil(uint32_t round)
{
    uint8_t *fresh = get_memory(SPOILED * PAGE, PROT_READ | PROT_WRITE);

    for (uint32_t i = 0; i < SPOILED; i++) {
        uint32_t page = (round * SPOILED + i) % POOL_PAGES;

        memset(pool + page * PAGE, ~round, PAGE);
        memset(fresh + i * PAGE, round, PAGE);
    }
    munmap(pool + (round + POOL_PAGES / 2) % POOL_PAGES * PAGE, PAGE);
}

const Subject anonymous_memory = {
    "anonymous memory", anonymous_prepare, anonymous_check, anonymous_spoil
};

/* Page cache: a file's content, its length, and a file that is new */

#define OLD_FILE    "/tmp/dirty-old"
#define NEW_FILE    "/tmp/dirty-new"

static void write_page(const char *path, int flags, uint32_t seed)
{
    int fd = open(path, O_WRONLY | O_CREAT | flags, 0600);
    uint8_t page[PAGE];

    fill(page, seed);
    if (fd < 0 || write(fd, page, PAGE) != PAGE) {
        fail("%s: %s", path, strerror(errno));
    }
    close(fd);
}

static bool cache_prepare(void)
{
    write_page(OLD_FILE, O_TRUNC, 1);
    return true;
}

static void cache_check(uint32_t round)
{
    int fd = open(OLD_FILE, O_RDONLY);
    uint8_t page[PAGE + 1];

    if (fd < 0 || read(fd, page, sizeof(page)) != PAGE || !filled(page, 1)) {
        fail("%s differs, in round %u", OLD_FILE, round);
    }
    close(fd);
    if (access(NEW_FILE, F_OK) == 0) {
        fail("%s exists, in round %u", NEW_FILE, round);
    }
}

static void cache_spoil(uint32_t round)
{
    write_page(OLD_FILE, 0, round + 2);
    write_page(OLD_FILE, O_APPEND, round + 3);
    write_page(NEW_FILE, O_TRUNC, round);
}

const Subject page_cache = {
    "page cache", cache_prepare, cache_check, cache_spoil
};

/* Video memory: BAR 0 of the display adapter, beyond what is on the screen */

#define VIDEO_OFFSET    (1024 * 1024)
#define VIDEO_PAGES     4
#define CLASS_DISPLAY   0x03

static volatile uint8_t *video;     /* volatile: device memory */

static int open_display(void)
{
    DIR *list = opendir("/sys/bus/pci/devices");
    struct dirent *entry;
    int fd = -1;

    while (list && fd < 0 && (entry = readdir(list))) {
        char path[300];
        unsigned int code = 0;
        FILE *file;

        snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/class",
                 entry->d_name);
        file = fopen(path, "r");
        if (!file) {
            continue;
        }
        if (fscanf(file, "%x", &code) == 1 && code >> 16 == CLASS_DISPLAY) {
            snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource0",
                     entry->d_name);
            fd = open(path, O_RDWR);
        }
        fclose(file);
    }
    if (list) {
        closedir(list);
    }
    return fd;
}

static bool video_prepare(void)
{
    int fd = open_display();
    void *map;

    if (fd < 0) {
        return false;
    }
    map = mmap(NULL, VIDEO_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED,
               fd, VIDEO_OFFSET);
    close(fd);
    if (map == MAP_FAILED) {
        return false;
    }
    video = map;
    for (uint32_t i = 0; i < VIDEO_PAGES * PAGE; i++) {
        video[i] = i * 7;
    }
    return true;
}

static void video_check(uint32_t round)
{
    for (uint32_t i = 0; i < VIDEO_PAGES * PAGE; i++) {
        if (video[i] != (uint8_t)(i * 7)) {
            fail("byte %u is 0x%02x, in round %u", i, video[i], round);
        }
    }
}

static void video_spoil(uint32_t round)
{
    for (uint32_t i = 0; i < VIDEO_PAGES * PAGE; i++) {
        video[i] = ~round;
    }
}

const Subject video_memory = {
    "video memory", video_prepare, video_check, video_spoil
};

/* Program code that is rewritten after it has run */

#define RETURN_SAVED    1000

static uint8_t *code;

/* movl $value, %eax; ret */
static void emit(uint32_t value)
{
    code[0] = 0xb8;
    memcpy(code + 1, &value, sizeof(value));
    code[5] = 0xc3;
}

static uint32_t call(void)
{
    uint32_t (*function)(void) = (uint32_t (*)(void))code;

    return function();
}

static bool code_prepare(void)
{
    code = get_memory(PAGE, PROT_READ | PROT_WRITE | PROT_EXEC);
    emit(RETURN_SAVED);
    return call() == RETURN_SAVED;
}

static void code_check(uint32_t round)
{
    if (call() != RETURN_SAVED) {
        fail("the code returns %u, not %u, in round %u", call(),
             RETURN_SAVED, round);
    }
}

static void code_spoil(uint32_t round)
{
    emit(round);
    if (call() != round) {
        fail("the code cannot be rewritten, in round %u", round);
    }
}

const Subject program_code = {
    "program code", code_prepare, code_check, code_spoil
};
