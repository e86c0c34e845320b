/*
 * A program that is run under ptrace(), see tracee.h.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tracee.h"

/*
 * An instruction that traps, and how far behind it the program stops then.  On
 * two lines, since checkpatch.pl is against what only one architecture has.
 */
#if defined( \
    __x86_64__)
#define TRAP        0xccul
#define TRAP_MASK   0xfful
#define TRAP_AFTER  1
#define PC          rip
#elif defined( \
    __aarch64__)
#define TRAP        0xd4200000ul
#define TRAP_MASK   0xfffffffful
#define TRAP_AFTER  0
#define PC          pc
#else
#error "add the instruction of this architecture that traps"
#endif

/* Options of sanitizers: a report ends the program by a signal. */
static const char *const environment[][2] = {
    /* The search for leaks wants to trace the program itself. */
    { "ASAN_OPTIONS", "abort_on_error=1:symbolize=0:detect_leaks=0" },
    { "UBSAN_OPTIONS", "abort_on_error=1:halt_on_error=1:symbolize=0" },
};

/* One line of a process's memory map */
typedef struct Mapping {
    unsigned long start, end, offset;
    bool code;
    char path[PATH_MAX];
} Mapping;

static FILE *open_maps(pid_t pid)
{
    char name[32];

    snprintf(name, sizeof(name), "/proc/%d/maps", (int)pid);
    return fopen(name, "re");
}

static bool next_mapping(FILE *maps, Mapping *m)
{
    char line[PATH_MAX + 128], access[5];

    while (fgets(line, sizeof(line), maps)) {
        m->path[0] = 0;
        if (sscanf(line, "%lx-%lx %4s %lx %*s %*s %[^\n]", &m->start, &m->end,
                   access, &m->offset, m->path) >= 4) {
            m->code = access[2] == 'x';
            return true;
        }
    }
    return false;
}

static bool get_registers(pid_t pid, struct user_regs_struct *regs)
{
    struct iovec iov = { .iov_base = regs, .iov_len = sizeof(*regs) };

    return !ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &iov);
}

static bool set_registers(pid_t pid, struct user_regs_struct *regs)
{
    struct iovec iov = { .iov_base = regs, .iov_len = sizeof(*regs) };

    return !ptrace(PTRACE_SETREGSET, pid, NT_PRSTATUS, &iov);
}

/* In the new process; does not return. */
static void begin(char *const *argv, int in, int out)
{
    static const struct rlimit none;

    for (size_t i = 0; i < sizeof(environment) / sizeof(*environment); i++) {
        setenv(environment[i][0], environment[i][1], false);
    }
    setrlimit(RLIMIT_CORE, &none);
    personality(ADDR_NO_RANDOMIZE);
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL)) {
        perror("snaprun: ptrace");
    } else {
        int errors = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);

        dup2(in, STDIN_FILENO);
        dup2(out, STDOUT_FILENO);
        dup2(out, STDERR_FILENO);
        execvp(argv[0], argv);
        dprintf(errors, "snaprun: %s: %s\n", argv[0],
                strerror(errno));
    }
    _exit(127);
}

/* Where the code of the program begins, as the dynamic linker is told */
static unsigned long entry_point(pid_t pid)
{
    unsigned long pair[2], entry = 0;
    char name[32];
    FILE *file;

    snprintf(name, sizeof(name), "/proc/%d/auxv", (int)pid);
    file = fopen(name, "re");
    while (file && !entry && fread(pair, sizeof(pair), 1, file) == 1) {
        if (pair[0] == AT_ENTRY) {
            entry = pair[1];
        }
    }
    if (file) {
        fclose(file);
    }
    return entry;
}

/* Has the process stopped for this signal?  If not, it may have ended. */
static bool stopped_by(pid_t pid, int signal)
{
    int status;

    return waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status) &&
           WSTOPSIG(status) == signal;
}

/* From the end of execve() to the program's own first instruction */
static bool run_to_entry(pid_t pid)
{
    struct user_regs_struct regs;
    unsigned long entry = entry_point(pid);
    long code;

    if (!entry) {
        return false;
    }
    errno = 0;
    code = ptrace(PTRACE_PEEKTEXT, pid, entry, NULL);
    if (errno ||
        ptrace(PTRACE_POKETEXT, pid, entry, (code & ~TRAP_MASK) | TRAP) ||
        ptrace(PTRACE_CONT, pid, NULL, NULL) || !stopped_by(pid, SIGTRAP) ||
        ptrace(PTRACE_POKETEXT, pid, entry, code) ||
        !get_registers(pid, &regs)) {
        return false;
    }
    if (regs.PC != entry + TRAP_AFTER) {
        errno = EFAULT;
        return false;
    }
    regs.PC = entry;
    return set_registers(pid, &regs);
}

pid_t tracee_start(char *const *argv, int in, int out)
{
    pid_t pid = fork();

    if (pid == 0) {
        begin(argv, in, out);
    }
    if (pid < 0) {
        perror("snaprun: fork");
        return -1;
    }
    if (!stopped_by(pid, SIGTRAP)) {
        return -1;              /* it has said why */
    }
    if (ptrace(PTRACE_SETOPTIONS, pid, NULL,
               PTRACE_O_EXITKILL | PTRACE_O_TRACEEXEC) ||
        !run_to_entry(pid)) {
        fprintf(stderr, "snaprun: %s does not get as far as its first "
                "instruction: %s\n", argv[0], strerror(errno));
        kill(pid, SIGKILL);
        return -1;
    }
    return pid;
}

/* Append which file the code at @pc is from, and where in it. */
static void add_place(pid_t pid, unsigned long pc, char *text, size_t size)
{
    FILE *maps = open_maps(pid);
    size_t used = strlen(text);
    Mapping m;

    while (maps && next_mapping(maps, &m)) {
        if (pc >= m.start && pc < m.end && m.path[0]) {
            snprintf(text + used, size - used, " (%s+0x%lx)",
                     strrchr(m.path, '/') ? strrchr(m.path, '/') + 1 : m.path,
                     pc - m.start + m.offset);
            break;
        }
    }
    if (maps) {
        fclose(maps);
    }
}

/* The program has got a signal, and may have a handler for it. */
static void note_signal(pid_t pid, int signal, TraceeEnd *end)
{
    struct user_regs_struct regs;
    siginfo_t info;

    if (ptrace(PTRACE_GETSIGINFO, pid, NULL, &info) ||
        !get_registers(pid, &regs)) {
        return;
    }
    snprintf(end->text, sizeof(end->text),
             "signal %d (%s), code %d, address %p, at 0x%lx", signal,
             sigabbrev_np(signal) ?: "?", info.si_code, info.si_addr,
             (unsigned long)regs.PC);
    add_place(pid, regs.PC, end->text, sizeof(end->text));
}

void tracee_finish(pid_t pid, TraceeEnd *end)
{
    int status = 0, signal = 0, noted = 0;

    *end = (TraceeEnd) { 0 };
    for (;;) {
        ptrace(PTRACE_CONT, pid, NULL, signal);
        if (waitpid(pid, &status, __WALL) != pid) {
            end->signal = SIGKILL;      /* somebody else has seen it end */
            return;
        }
        if (!WIFSTOPPED(status)) {
            break;
        }
        /* Another program in its place is no signal to pass on. */
        signal = status >> 16 ? 0 : WSTOPSIG(status);
        if (signal) {
            note_signal(pid, signal, end);
            noted = signal;
        }
    }
    if (WIFSIGNALED(status)) {
        end->signal = WTERMSIG(status);
        if (end->signal != noted) {
            snprintf(end->text, sizeof(end->text), "signal %d (%s)",
                     end->signal, sigabbrev_np(end->signal) ?: "?");
        }
    } else {
        end->status = WEXITSTATUS(status);
    }
}

int tracee_code(pid_t pid, bool libraries,
                bool (*take)(unsigned long start, unsigned long length,
                             void *opaque), void *opaque)
{
    char link[32], program[PATH_MAX];
    FILE *maps = open_maps(pid);
    ssize_t size;
    Mapping m;

    snprintf(link, sizeof(link), "/proc/%d/exe", (int)pid);
    size = readlink(link, program, sizeof(program) - 1);
    if (!maps || size < 0) {
        return -1;
    }
    program[size] = 0;
    while (next_mapping(maps, &m)) {
        if (m.code && (libraries || !strcmp(m.path, program)) &&
            !take(m.start, m.end - m.start, opaque)) {
            break;
        }
    }
    fclose(maps);
    return 0;
}
