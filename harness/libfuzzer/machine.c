/*
 * A machine that runs inputs: the other end of QEMU's host-afl.c.
 *
 * The protocol is that of AFL++'s fork server, as of version 4.00, which is the
 * one that newer ones understand, too.  Words have 32 bits and go through two
 * pipes.  First QEMU greets with options and gets an answer; then, for each
 * run, it gets a word, and gives two: the pid of a process that may be killed
 * to cut the run off, and the status of the run.  Coverage and input are in
 * shared memory.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "machine.h"

/* What QEMU has, by number */
#define FD_CONTROL      198
#define FD_STATUS       199

/* Ours are above, so as not to be in the way. */
#define FD_FREE         200

/* Greeting: these options, and the size of the map less one, shifted by one */
#define OPTIONS         0xc1000001u
#define OPTIONS_MASK    0xff000001u
#define ANSWER          0x81000001u

/* How long QEMU may take to end, once it has closed its pipe; milliseconds */
#define END_MS          5000

void say(const char *format, ...)
{
    char text[512];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);
    fprintf(stderr, "snapshot-fuzzer: %s\n", text);
}

bool segment_init(Segment *s, size_t size, void *where)
{
    s->id = shmget(IPC_PRIVATE, size, IPC_CREAT | 0600);
    if (s->id < 0) {
        say("no shared memory of %zu bytes: %s; see the limits of 'ipcs -l'",
            size, strerror(errno));
        return false;
    }
    s->host = shmat(s->id, where, where ? SHM_REMAP : 0);
    if (s->host == (void *)-1) {
        say("cannot attach shared memory of %zu bytes at %p: %s; that has to "
            "be whole pages", size, where, strerror(errno));
    }
    /* QEMU can attach it while we do. */
    shmctl(s->id, IPC_RMID, NULL);
    return s->host != (void *)-1;
}

/*
 * Words
 */

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000) + t.tv_nsec / 1000000;
}

/* Is there something to read within @seconds?  0: there is no limit. */
static bool wait_readable(int fd, unsigned int seconds)
{
    int64_t end = now_ms() + seconds * INT64_C(1000), left = -1;
    struct pollfd p = { .fd = fd, .events = POLLIN };
    int n;

    do {
        if (seconds) {
            left = end - now_ms();
            left = left < 0 ? 0 : left;
        }
        n = poll(&p, 1, left > INT32_MAX ? INT32_MAX : left);
    } while (n < 0 && errno == EINTR);
    return n > 0;
}

/* False: QEMU is gone. */
static bool get_word(Machine *m, uint32_t *word)
{
    ssize_t n;

    do {
        n = read(m->status, word, sizeof(*word));
    } while (n < 0 && errno == EINTR);
    return n == sizeof(*word);
}

/*
 * A pipe takes a word at once, and we hold its other end, too: so if QEMU is
 * gone there is no SIGPIPE, and the next get_word() tells.
 */
static void put_word(Machine *m, uint32_t word)
{
    ssize_t n;

    do {
        n = write(m->control[1], &word, sizeof(word));
    } while (n < 0 && errno == EINTR);
}

/*
 * Beginning and end
 */

/* What the child does, which will be QEMU */
static void __attribute__((noreturn)) become(const char *command, pid_t parent,
                                             int control, int status)
{
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

    /* QEMU changes this to SIGTERM when it has found us. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) {
        _exit(EXIT_FAILURE);
    }
    /* A Ctrl-C is for the fuzzer, which then ends QEMU. */
    setsid();
    dup2(control, FD_CONTROL);
    dup2(status, FD_STATUS);
    dup2(STDERR_FILENO, STDOUT_FILENO);
    dup2(null, STDIN_FILENO);
    execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(127);
}

static bool open_pipe(int ends[2])
{
    int low[2];

    if (pipe2(low, O_CLOEXEC) < 0) {
        return false;
    }
    for (int i = 0; i < 2; i++) {
        ends[i] = fcntl(low[i], F_DUPFD_CLOEXEC, FD_FREE);
        close(low[i]);
    }
    return ends[0] >= 0 && ends[1] >= 0;
}

static void close_pipe(const int ends[2])
{
    close(ends[0]);
    close(ends[1]);
}

static void set_number(const char *name, int number)
{
    char text[16];

    snprintf(text, sizeof(text), "%d", number);
    setenv(name, text, 1);
}

/* Have become() done by a child; false with errno set on failure. */
static bool launch_with(Machine *m, const char *command, int status)
{
    pid_t self = getpid();

    m->pid = fork();
    if (m->pid == 0) {
        become(command, self, m->control[0], status);
    }
    if (m->pid < 0) {
        m->pid = 0;
        return false;
    }
    return true;
}

/*
 * Set *@line to the command that runs @command in the place of the shell, not
 * as a child of it.  It may go over several lines, as it does in scripts.
 */
static bool in_one_line(const char *command, char **line)
{
    if (asprintf(line, "exec %s", command) < 0) {
        *line = NULL;
        return false;
    }
    for (char *p = *line; *p; p++) {
        if (*p == '\n') {
            *p = ' ';
        }
    }
    return true;
}

static bool launch(Machine *m, const char *command, const Segment *map,
                   const Segment *input)
{
    char *exec = NULL;
    int status[2];
    bool launched;

    if (!open_pipe(m->control)) {
        return false;
    }
    if (!open_pipe(status)) {
        close_pipe(m->control);
        return false;
    }
    set_number("__AFL_SHM_ID", map->id);
    set_number("__AFL_SHM_FUZZ_ID", input->id);
    /* Who starts the next QEMU is us. */
    set_number("SNAPSHOT_NO_KEEPER", 1);
    launched = in_one_line(command, &exec) &&
               launch_with(m, exec, status[1]);
    free(exec);
    unsetenv("__AFL_SHM_ID");
    unsetenv("__AFL_SHM_FUZZ_ID");
    unsetenv("SNAPSHOT_NO_KEEPER");
    close(status[1]);
    m->status = status[0];
    if (!launched) {
        close_pipe(m->control);
        close(m->status);
    }
    return launched;
}

/* Wait for the child, which has END_MS for it.  Returns its status. */
static int reap(Machine *m)
{
    const struct timespec moment = { .tv_nsec = 10000000 };
    int64_t end = now_ms() + END_MS;
    int status;

    while (waitpid(m->pid, &status, WNOHANG) == 0) {
        if (now_ms() > end) {
            /* With all that a script of the user's has started */
            kill(-m->pid, SIGKILL);
            waitpid(m->pid, &status, 0);
            break;
        }
        nanosleep(&moment, NULL);
    }
    return status;
}

int machine_end(Machine *m, const char *when)
{
    int status = reap(m);

    m->pid = 0;
    close_pipe(m->control);
    close(m->status);
    if (WIFSIGNALED(status)) {
        say("QEMU ended by signal %d (%s), %s", WTERMSIG(status),
            strsignal(WTERMSIG(status)), when);
    } else {
        say("QEMU ended with exit code %d, %s%s", WEXITSTATUS(status), when,
            WEXITSTATUS(status) == 127 ? ": it was not found" : "");
    }
    return status;
}

void machine_stop(Machine *m)
{
    close_pipe(m->control);
    reap(m);
    m->pid = 0;
    close(m->status);
}

bool machine_start(Machine *m, const char *command, unsigned int seconds,
                   const Segment *map, size_t map_size, const Segment *input)
{
    uint32_t options;
    size_t size;

    if (!launch(m, command, map, input)) {
        say("no process for the machine: %s", strerror(errno));
        return false;
    }
    if (!wait_readable(m->status, seconds)) {
        say("nobody greets within %u s: SNAPSHOT_MACHINE has to start a QEMU "
            "with '-device snapshot,afl=on', which does so in 5 s", seconds);
        kill(-m->pid, SIGKILL);
        machine_end(m, "as it was of no use");
        return false;
    }
    if (!get_word(m, &options)) {
        machine_end(m, "before it greeted; the reason is above");
        return false;
    }
    size = ((options & ~OPTIONS_MASK) >> 1) + 1;
    if ((options & OPTIONS_MASK) != OPTIONS || size > map_size) {
        say("greeted by 0x%08x, with a map of %zu bytes: either it is no QEMU "
            "with '-device snapshot,afl=on', or map-size= is more than %zu",
            options, size, map_size);
        kill(-m->pid, SIGKILL);
        machine_end(m, "as it was of no use");
        return false;
    }
    put_word(m, ANSWER);
    return true;
}

MachineRun machine_run(Machine *m, unsigned int begin, unsigned int end,
                       int *status)
{
    uint32_t pid, word;

    put_word(m, 0);
    if (begin && !wait_readable(m->status, begin)) {
        return MACHINE_RUN_LATE;
    }
    if (!get_word(m, &pid)) {
        return MACHINE_RUN_NONE;
    }
    if (end && !wait_readable(m->status, end)) {
        kill(pid, SIGKILL);
    }
    if (!get_word(m, &word)) {
        return MACHINE_RUN_LOST;
    }
    *status = word;
    return MACHINE_RUN_ENDED;
}
