/*
 * Which edges does the device count?  The first letter of an input says what a
 * run does:
 *
 *     w     work in this process
 *     c     work in a child process, in other code of the same program
 *     b     the same work as with "w", which the kernel goes on with at the end
 *           of an interrupt of the child, which loops
 *     s     only loop, for longer than it takes to a timer interrupt
 *     k     system calls
 *     t     wait for as many units of time as the second byte says, then go
 *           through some timer interrupts, which so come at other places
 *
 * Arguments: "here" or "any" counts edges of what is compiled from this file,
 * for this process or for whatever process; "program", those of all that it is
 * linked with; START and LENGTH, those of other code.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "snapshot-run.h"

/* Loops of this many steps take tens of milliseconds when translated. */
#define STEPS_LONG  20000000
#define STEPS_SHORT 100

/* With "-icount shift=5" these have a few ticks of the guest's timer each. */
#define STEPS_TIMED     100000
#define STEPS_DEVICE    20000

#define WAIT_US     50      /* a unit of time */
#define CHILD_US    20000   /* the child does nothing but loop by then */

#define PAGE        ((uintptr_t)4096)

/* volatile: the loops are not to be left out. */
static volatile unsigned int sink;

static void __attribute__((noinline)) work(unsigned int steps)
{
    for (unsigned int i = 0; i < steps; i++) {
        sink += i;
    }
}

static void __attribute__((noinline)) other_work(void)
{
    for (unsigned int i = 0; i < STEPS_SHORT; i++) {
        if (i % 3 == 0) {
            sink ^= i;
        } else if (i % 5 == 0) {
            sink *= 3;
        } else {
            sink++;
        }
    }
}

/* Blocks that TCG takes apart as they access a device */
static void __attribute__((noinline)) ask(SnapshotDevice *dev)
{
    for (unsigned int i = 0; i < STEPS_DEVICE; i++) {
        sink += snapshot_restores(dev) ^ i;
    }
}

static void child(int from, int to)
{
    char letter;

    while (read(from, &letter, 1) == 1) {
        while (letter == 'b') {
            sink++;
        }
        other_work();
        if (write(to, &letter, 1) != 1) {
            break;
        }
    }
    _exit(0);
}

static void run(SnapRuns *runs, const uint8_t *data, int to, int from)
{
    char letter = data[0];

    switch (letter) {
    case 'w':
        work(STEPS_SHORT);
        break;
    case 'c':
        if (write(to, &letter, 1) != 1 || read(from, &letter, 1) != 1) {
            exit(EXIT_FAILURE);
        }
        break;
    case 'b':
        if (write(to, &letter, 1) != 1) {
            exit(EXIT_FAILURE);
        }
        usleep(CHILD_US);
        work(STEPS_SHORT);
        break;
    case 's':
        work(STEPS_LONG);
        break;
    case 'k':
        for (int i = 0; i < 10; i++) {
            close(-1);
        }
        break;
    case 't':
        usleep(data[1] * WAIT_US);
        work(STEPS_TIMED);
        ask(snap_device(runs));
        break;
    }
}

static uint32_t cover(SnapshotDevice *dev, int argc, char **argv)
{
    uint64_t start, length;

    if (!strcmp(argv[1], "program")) {
        return snapshot_cover_program(dev) < 0 ? SNAPSHOT_RES_REFUSED
                                               : SNAPSHOT_RES_DONE;
    }
    if (argc == 3 && sscanf(argv[1], "%" SCNx64, &start) == 1 &&
        sscanf(argv[2], "%" SCNu64, &length) == 1) {
        return snapshot_cover(dev, start, length, 0);
    }
    /* What has been compiled from this file */
    return snapshot_cover(dev, ((uintptr_t)work & -PAGE) - PAGE, 4 * PAGE,
                          strcmp(argv[1], "here") ? 0 : SNAPSHOT_COVER_HERE);
}

int main(int argc, char **argv)
{
    SnapRuns *runs = snap_open(NULL);
    int to[2], from[2];
    const uint8_t *data;
    uint32_t result;
    size_t size;

    if (argc < 2 || !runs || pipe(to) < 0 || pipe(from) < 0) {
        perror("cover");
        return EXIT_FAILURE;
    }
    result = cover(snap_device(runs), argc, argv);
    if (result != SNAPSHOT_RES_DONE) {
        fprintf(stderr, "cover: %s\n", snapshot_strerror(result));
        return EXIT_FAILURE;
    }
    if (fork() == 0) {
        child(to[0], from[1]);
    }
    while ((data = snap_next_input(runs, &size))) {
        if (size) {
            run(runs, data, to[1], from[0]);
        }
        snap_done(runs, 0);
    }
    fprintf(stderr, "cover: %s\n", snapshot_strerror(snap_result(runs)));
    return EXIT_FAILURE;
}
