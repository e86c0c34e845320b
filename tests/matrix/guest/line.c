/*
 * line:DRIVER:CLASS,PREFIX: lines of text to the host, and its answers.
 *
 * The line is the first in /sys/class/CLASS whose name begins with PREFIX: a
 * serial port, or a port of virtio-serial.  The host answers "WORD\n" with
 * "re-WORD\n".  One is on its way at the save, so that after a restore parts
 * of lines may come twice: what is not the answer is ignored.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "exercise.h"

#define TRIES       50
#define TRY_MS      200

typedef struct Line {
    int fd;
    uint32_t serial;        /* of the next word */
    char input[256];        /* what came and is no whole line yet */
    size_t length;
} Line;

static void set_raw(int fd)
{
    struct termios mode;

    if (tcgetattr(fd, &mode) == 0) {
        cfmakeraw(&mode);
        cfsetspeed(&mode, B115200);
        tcsetattr(fd, TCSANOW, &mode);
    }
}

static void line_open(Device *dev)
{
    Line *l = dev->state = allocate(sizeof(*l));
    char class[32], prefix[32], name[64], path[80];

    if (sscanf(dev->argument, "%31[^,],%31s", class, prefix) != 2) {
        fail("no CLASS,PREFIX");
    }
    find_device(class, dev->driver, prefix, name, sizeof(name));
    snprintf(path, sizeof(path), "/dev/%s", name);
    l->fd = open(path, O_RDWR | O_NOCTTY);
    if (l->fd < 0) {
        fail("%s: %s", path, strerror(errno));
    }
    set_raw(l->fd);
}

static void send_word(Line *l, uint32_t round)
{
    char text[64];
    int length = snprintf(text, sizeof(text), "\n%" PRIu32 ".%" PRIu32 "\n",
                          round, l->serial);

    if (write(l->fd, text, length) != length) {
        fail("write: %s", strerror(errno));
    }
}

/* Take a whole line out of what has come.  Returns false if there is none. */
static bool take_line(Line *l, char *line)
{
    char *end = memchr(l->input, '\n', l->length);
    size_t length;

    if (!end) {
        if (l->length == sizeof(l->input)) {
            l->length = 0;
        }
        return false;
    }
    length = end - l->input;
    memcpy(line, l->input, length);
    line[length] = '\0';
    l->length -= length + 1;
    memmove(l->input, end + 1, l->length);
    return true;
}

static bool answered(Line *l, uint32_t round)
{
    char expected[64], line[sizeof(l->input)];
    ssize_t size;

    snprintf(expected, sizeof(expected), "re-%" PRIu32 ".%" PRIu32, round,
             l->serial);
    while (wait_readable(l->fd, TRY_MS)) {
        size = read(l->fd, l->input + l->length,
                    sizeof(l->input) - l->length);
        if (size <= 0) {
            fail("read: %s", strerror(errno));
        }
        l->length += size;
        while (take_line(l, line)) {
            if (!strcmp(line, expected)) {
                return true;
            }
        }
    }
    return false;
}

static void line_use(Device *dev, uint32_t round)
{
    Line *l = dev->state;

    for (int i = 0; i < TRIES; i++) {
        l->serial++;
        send_word(l, round);
        if (answered(l, round)) {
            return;
        }
    }
    fail("no answer to %d words", TRIES);
}

static void line_begin(Device *dev)
{
    Line *l = dev->state;

    l->serial++;
    send_word(l, 0);
}

/* The answer comes once, and not again after a restore. */
static void line_finish(Device *dev, uint32_t round)
{
    if (round || !answered(dev->state, 0)) {
        line_use(dev, round);
    }
}

const Kind line_kind = {
    "line", line_open, line_use, line_begin, line_finish
};
