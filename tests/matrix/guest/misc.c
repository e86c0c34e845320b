/*
 * Random numbers, a keyboard's lights, a screen, a register.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <linux/fb.h>
#include <unistd.h>

#include "exercise.h"

/* random: numbers, which differ from the last ones */

typedef struct Random {
    int fd;
    uint64_t last[4];
} Random;

static void random_open(Device *dev)
{
    Random *r = dev->state = allocate(sizeof(*r));
    char name[64] = "";
    int fd = open("/sys/class/misc/hw_random/rng_current", O_RDONLY);

    if (fd < 0 || read(fd, name, sizeof(name) - 1) <= 0 ||
        strncmp(name, dev->driver, strlen(dev->driver))) {
        fail("random numbers come from '%s'", name);
    }
    close(fd);
    r->fd = open("/dev/hwrng", O_RDONLY);
    if (r->fd < 0) {
        fail("/dev/hwrng: %s", strerror(errno));
    }
}

static void random_use(Device *dev, uint32_t round)
{
    Random *r = dev->state;
    uint64_t now[ARRAY_LENGTH(r->last)];
    size_t length = 0;

    (void)round;
    while (length < sizeof(now)) {
        ssize_t size = read(r->fd, (char *)now + length,
                            sizeof(now) - length);

        if (size <= 0) {
            fail("read gives %zd: %s", size, strerror(errno));
        }
        length += size;
    }
    if (!memcmp(now, r->last, sizeof(now))) {
        fail("the same numbers twice");
    }
    memcpy(r->last, now, sizeof(now));
}

const Kind random_kind = { "random", random_open, random_use, NULL, NULL };

/* leds: a light goes on and off, of which the keyboard is told each time */

typedef struct Leds {
    char path[128];
} Leds;

static void leds_open(Device *dev)
{
    Leds *l = dev->state = allocate(sizeof(*l));
    char name[64];

    find_device("leds", dev->driver, "input", name, sizeof(name));
    snprintf(l->path, sizeof(l->path), "/sys/class/leds/%s/brightness", name);
}

static void set_led(const Leds *l, bool on)
{
    int fd = open(l->path, O_WRONLY);

    if (fd < 0 || write(fd, on ? "1" : "0", 1) != 1) {
        fail("%s: %s", l->path, strerror(errno));
    }
    close(fd);
}

static void leds_use(Device *dev, uint32_t round)
{
    (void)round;
    set_led(dev->state, true);
    set_led(dev->state, false);
}

static void leds_begin(Device *dev)
{
    set_led(dev->state, true);
}

const Kind leds_kind = { "leds", leds_open, leds_use, leds_begin, NULL };

/*
 * screen: the colour of all of it changes, and is SCREEN_COLOUR in the end,
 * which the host looks for.
 */

#define SCREEN_COLOUR   0x00c08040u

typedef struct Screen {
    int fd;
    uint32_t *pixels;       /* to be painted */
    size_t length;          /* of a line, in bytes */
    uint32_t lines;
} Screen;

static void screen_open(Device *dev)
{
    Screen *s = dev->state = allocate(sizeof(*s));
    struct fb_var_screeninfo var;
    struct fb_fix_screeninfo fix;
    char name[64], path[80];

    find_device("graphics", dev->driver, "fb", name, sizeof(name));
    snprintf(path, sizeof(path), "/dev/%s", name);
    s->fd = open(path, O_RDWR);
    if (s->fd < 0 || ioctl(s->fd, FBIOGET_VSCREENINFO, &var) < 0 ||
        ioctl(s->fd, FBIOGET_FSCREENINFO, &fix) < 0) {
        fail("%s: %s", path, strerror(errno));
    }
    if (var.bits_per_pixel != 32) {
        fail("%u bits per pixel", var.bits_per_pixel);
    }
    s->length = fix.line_length;
    s->lines = var.yres;
    s->pixels = allocate(s->lines * s->length);
}

/* In one piece: some kernels miss the change of a single whole line. */
static void paint(const Screen *s, uint32_t colour, uint32_t lines)
{
    ssize_t size = lines * s->length;

    for (size_t i = 0; i < size / sizeof(*s->pixels); i++) {
        s->pixels[i] = colour;
    }
    if (pwrite(s->fd, s->pixels, size, 0) != size) {
        fail("painting %u lines: %s", lines, strerror(errno));
    }
}

static void screen_use(Device *dev, uint32_t round)
{
    const Screen *s = dev->state;
    uint32_t last;

    /* The last of the line: the console's cursor may blink at the first. */
    paint(s, round * 0x10101, 8);
    if (pread(s->fd, &last, sizeof(last), s->length - sizeof(last)) !=
        sizeof(last) || last != round * 0x10101) {
        fail("the last pixel of the first line is 0x%08x", last);
    }
    paint(s, SCREEN_COLOUR, round ? 8 : s->lines);
}

const Kind screen_kind = { "screen", screen_open, screen_use, NULL, NULL };

/* register:VENDOR:DEVICE,VALUE: the first byte of BAR 0 of a PCI device */

typedef struct Register {
    const volatile uint8_t *bar;    /* volatile: device memory */
    unsigned int value;
} Register;

static bool has_id(const char *device, const char *file, unsigned int id)
{
    char path[300];
    unsigned int value = 0;
    FILE *stream;

    snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", device, file);
    stream = fopen(path, "r");
    if (!stream || fscanf(stream, "%x", &value) != 1) {
        value = 0;
    }
    if (stream) {
        fclose(stream);
    }
    return value == id;
}

static int open_bar(unsigned int vendor, unsigned int device)
{
    DIR *list = opendir("/sys/bus/pci/devices");
    struct dirent *entry;
    char path[300];
    int fd = -1;

    while (list && fd < 0 && (entry = readdir(list))) {
        if (has_id(entry->d_name, "vendor", vendor) &&
            has_id(entry->d_name, "device", device)) {
            snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/enable",
                     entry->d_name);
            /* A driver that has it has enabled it. */
            run("[ -e %.*s/driver ] || echo 1 >%s",
                (int)(strrchr(path, '/') - path), path, path);
            snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource0",
                     entry->d_name);
            fd = open(path, O_RDWR);
        }
    }
    if (list) {
        closedir(list);
    }
    return fd;
}

static void register_open(Device *dev)
{
    Register *r = dev->state = allocate(sizeof(*r));
    unsigned int vendor, device;
    void *map;
    int fd;

    if (sscanf(dev->driver, "%x", &vendor) != 1 ||
        sscanf(dev->argument, "%x,%x", &device, &r->value) != 2) {
        fail("no VENDOR:DEVICE,VALUE");
    }
    fd = open_bar(vendor, device);
    map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) {
        fail("BAR 0: %s", strerror(errno));
    }
    r->bar = map;
}

static void register_use(Device *dev, uint32_t round)
{
    const Register *r = dev->state;

    (void)round;
    if (*r->bar != r->value) {
        fail("reads as 0x%02x", *r->bar);
    }
}

const Kind register_kind = {
    "register", register_open, register_use, NULL, NULL
};
