/*
 * snaprun: run a program as it is, once for each input.
 *
 * The machine is saved when the program has been loaded and is about to begin,
 * so a run costs no fork() and no execve().
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "snapshot-run.h"
#include "tracee.h"

/* How much of what the program has printed is told of */
#define OUTPUT_MAX 2048

/* Exit codes, as --help lists them */
enum {
    EXIT_USAGE = 2,
    EXIT_NO_DEVICE = 3,
};

static const char usage[] =
    "usage: snaprun [OPTION]... PROGRAM [ARGUMENT]...\n"
    "\n"
    "Run PROGRAM once for each input that the snapshot device gets from a\n"
    "fuzzer.  It needs no change: the input is its standard input, or a file\n"
    "whose name stands where an argument has @@.  A signal that ends it is a\n"
    "crash.  With coverage=tcg the device counts the edges of its code.\n"
    "\n"
    "  -f, --file NAME   the name of that file (default: one that is nowhere,\n"
    "                    /proc/self/fd/...)\n"
    "  -l, --libraries   count edges of shared libraries, too\n"
    "  -h, --help        show this text\n"
    "\n"
    "What the program prints is told with its end: the last 2 KiB of it.\n"
    "Sanitizers are told to end it by a signal, unless ASAN_OPTIONS or\n"
    "UBSAN_OPTIONS are set.\n"
    "\n"
    "Exit codes, of a machine that gets no further:\n"
    "  1    PROGRAM cannot be started, or there is no input\n"
    "  2    wrong usage\n"
    "  3    no device that can be used; standard error says why\n";

typedef struct Options {
    const char *file;
    bool libraries;
    char **argv;
} Options;

static int parse(int argc, char **argv, Options *o)
{
    static const struct option names[] = {
        { "file", required_argument, NULL, 'f' },
        { "libraries", no_argument, NULL, 'l' },
        { "help", no_argument, NULL, 'h' },
        { 0 }
    };
    int option;

    while ((option = getopt_long(argc, argv, "+f:lh", names, NULL)) != -1) {
        switch (option) {
        case 'f':
            o->file = optarg;
            break;
        case 'l':
            o->libraries = true;
            break;
        case 'h':
            fputs(usage, stdout);
            exit(EXIT_SUCCESS);
        default:
            fputs("try 'snaprun --help'\n", stderr);
            return -1;
        }
    }
    o->argv = argv + optind;
    if (!*o->argv) {
        fputs("snaprun: which program? try 'snaprun --help'\n", stderr);
        return -1;
    }
    return 0;
}

/* Have arguments name the file where they have @@; returns if any did. */
static bool name_input(char **argv, const char *name)
{
    bool any = false;

    for (char **arg = argv + 1; *arg; arg++) {
        char *at = strstr(*arg, "@@"), *whole;

        if (at) {
            any = true;
            if (asprintf(&whole, "%.*s%s%s", (int)(at - *arg), *arg, name,
                         at + 2) < 0) {
                abort();
            }
            *arg = whole;
        }
    }
    return any;
}

static SnapRuns *open_runs(void)
{
    SnapRuns *runs = snap_open(NULL);

    if (!runs) {
        fprintf(stderr, "snaprun: %s\n", snapshot_open_strerror(errno));
    } else if (snapshot_mmio_read32(snapshot_bar(snap_device(runs)),
                                    SNAPSHOT_REG_HOST) == SNAPSHOT_HOST_NONE) {
        fputs("snaprun: nobody gives inputs: start QEMU with "
              "-device snapshot,afl=on or seeds=\n", stderr);
        return NULL;
    }
    return runs;
}

/* What counting has come to */
typedef struct Cover {
    SnapshotDevice *dev;
    uint32_t result;
} Cover;

static bool cover(unsigned long start, unsigned long length, void *opaque)
{
    Cover *c = opaque;

    c->result = snapshot_cover(c->dev, start, length, 0);
    return c->result == SNAPSHOT_RES_DONE;
}

/* Have the device count edges of the program, if it does such a thing. */
static bool cover_program(SnapRuns *runs, pid_t pid, bool libraries)
{
    Cover c = { .dev = snap_device(runs), .result = SNAPSHOT_RES_DONE };

    if (snapshot_mmio_read32(snapshot_bar(c.dev), SNAPSHOT_REG_COVERAGE) !=
        SNAPSHOT_COVERAGE_TCG) {
        fputs("snaprun: nobody counts edges: start QEMU with "
              "-device snapshot,coverage=tcg\n", stderr);
        return true;
    }
    if (tracee_code(pid, libraries, cover, &c)) {
        perror("snaprun: the program's memory map");
        return false;
    }
    if (c.result != SNAPSHOT_RES_DONE) {
        fprintf(stderr, "snaprun: cannot count edges: %s\n",
                snapshot_strerror(c.result));
        return false;
    }
    return true;
}

/* Put the input into its file. */
static bool write_input(int fd, const uint8_t *data, size_t size)
{
    size_t done = 0;

    if (ftruncate(fd, 0)) {
        return false;
    }
    while (done < size) {
        ssize_t count = pwrite(fd, data + done, size - done, done);

        if (count < 0 && errno != EINTR) {
            return false;
        }
        done += count > 0 ? count : 0;
    }
    return true;
}

/* The last of what the program has printed */
static const char *read_output(int fd)
{
    static char text[OUTPUT_MAX + 1];
    off_t size = lseek(fd, 0, SEEK_END);
    ssize_t count = size > 0 ?
        pread(fd, text, OUTPUT_MAX, size > OUTPUT_MAX ? size - OUTPUT_MAX : 0) :
        0;

    text[count > 0 ? count : 0] = 0;
    return text;
}

/* Tell how the run has ended.  Returns only if there is no run. */
static void tell(SnapRuns *runs, const TraceeEnd *end, const char *output)
{
    static char text[sizeof(end->text) + 1 + OUTPUT_MAX];

    if (!end->signal) {
        if (*output) {
            snap_log(runs, "%s", output);
        }
        snap_exit(runs, end->status);
        return;
    }
    snprintf(text, sizeof(text), "%s\n%s", end->text, output);
    snap_crash(runs, end->signal, text);
}

int main(int argc, char **argv)
{
    Options o = { 0 };
    char name[32];
    int in, out, null = open("/dev/null", O_RDWR | O_CLOEXEC);
    const uint8_t *data;
    SnapRuns *runs;
    TraceeEnd end;
    size_t size;
    pid_t pid;

    if (parse(argc, argv, &o)) {
        return EXIT_USAGE;
    }
    runs = open_runs();
    if (!runs) {
        return EXIT_NO_DEVICE;
    }
    in = o.file ? open(o.file, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)
                : memfd_create("input", 0);
    out = memfd_create("output", MFD_CLOEXEC);
    if (null < 0 || in < 0 || out < 0) {
        perror(o.file && in < 0 ? o.file : "snaprun");
        return EXIT_FAILURE;
    }
    snprintf(name, sizeof(name), "/proc/self/fd/%d", in);
    pid = tracee_start(o.argv, name_input(o.argv, o.file ?: name) ? null : in,
                       out);
    if (pid < 0 || !cover_program(runs, pid, o.libraries)) {
        return EXIT_FAILURE;
    }
    data = snap_next_input(runs, &size);
    if (!data) {
        fprintf(stderr, "snaprun: no input: %s\n",
                snapshot_strerror(snap_result(runs)));
        return EXIT_FAILURE;
    }
    /* From here on it is one run: all others begin here, too. */
    if (!write_input(in, data, size)) {
        perror("snaprun: the input's file");
        return EXIT_FAILURE;
    }
    tracee_finish(pid, &end);
    tell(runs, &end, read_output(out));
    return EXIT_FAILURE;
}
