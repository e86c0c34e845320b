/*
 * Device "snapshot": who keeps a campaign of afl-fuzz going if QEMU crashes.
 *
 * afl-fuzz gives up when its fork server is gone.  So the process that it has
 * started is the keeper, which does nothing but wait for a child, and that is
 * QEMU.  Both share a page in which QEMU notes how far it is with a run.  When
 * it has crashed the keeper says the rest to afl-fuzz, as if the run had ended
 * by the same signal, and forks another QEMU, which takes the next input when
 * its guest has booted.
 *
 * A QEMU that hangs, by a bug in the device model that is fuzzed, say, does not
 * hear of afl-fuzz's time limit.  So its main loop counts in that page, too,
 * and the keeper kills it if it does not for long; if afl-fuzz has cut the run
 * off, it soon does.
 *
 * None of this is on the way of a run: pipes and memory of afl-fuzz are the
 * child's, too.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include "hw/misc/snapshot_keeper.h"
#include "qemu/cutils.h"
#include "run.h"

/*
 * Seconds without a sign of QEMU's main loop, unless SNAPSHOT_HANG_LIMIT says
 * otherwise; 0: for ever.  What the monitor may ask for takes its time, too.
 */
#define HANG_LIMIT      60

/* The same when afl-fuzz has killed the helper, which costs QEMU no time */
#define CUT_OFF_LIMIT   5

/* So many failures to boot in a row end a campaign. */
#define BOOTS_MAX       5

static SnapshotKept own;
static sigset_t mask;           /* of signals, as it was */
static sigset_t heard;          /* those that the keeper waits for */
SnapshotKept *snapshot_kept = &own;

/* Does the program that has started us know the handshake since 4.20? */
static bool parent_is_new(void)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/exe", (int)getppid());
    g_autofree char *program = NULL;
    const char *text = "new fork server model";
    gsize len;

    return !getenv("AFL_OLD_FORKSERVER") &&
           g_file_get_contents(path, &program, &len, NULL) &&
           memmem(program, len, text, strlen(text));
}

/* Is there a fuzzer, and may some option be that of a device with afl=on? */
static bool is_campaign(int argc, char **argv)
{
    bool found = false;

    for (int i = 1; i < argc; i++) {
        found |= strstr(argv[i], "snapshot") && strstr(argv[i], "afl");
    }
    return found && fcntl(SNAPSHOT_AFL_CONTROL, F_GETFD) >= 0 &&
           fcntl(SNAPSHOT_AFL_STATUS, F_GETFD) >= 0;
}

/*
 * Nothing of QEMU has been set up in this process, error_report() included:
 * that needs a monitor's lock.
 */
static void G_GNUC_PRINTF(1, 2) tell(const char *format, ...)
{
    va_list ap;

    fprintf(stderr, "qemu: snapshot: ");
    va_start(ap, format);
    vfprintf(stderr, format, ap);
    va_end(ap);
    fputc('\n', stderr);
}

static void say_word(uint32_t word)
{
    if (qemu_write_full(SNAPSHOT_AFL_STATUS, &word, sizeof(word)) <
        sizeof(word)) {
        _exit(EXIT_FAILURE);            /* there is no afl-fuzz any more */
    }
}

/*
 * afl-fuzz drops a crash whose counters in the map are all known from others,
 * and the emulator's must not be hidden by one of its guest's.  So it has a
 * counter that guests leave out; but coverage=tcg, whose map has no numbers.
 */
static void mark_map(void)
{
    const char *id = getenv(SNAPSHOT_AFL_ENV_MAP);
    void *map = id ? shmat(atoi(id), NULL, 0) : (void *)-1;

    if (map != (void *)-1) {
        *(uint8_t *)map = 255;          /* 1 afl-showmap takes for its own */
        shmdt(map);
    }
}

/* Is there something in the pipe that nobody has read? */
static bool is_unread(int fd)
{
    int bytes = 0;

    return ioctl(fd, FIONREAD, &bytes) == 0 && bytes;
}

/*
 * Say what QEMU, whose pid was @pid, has left unsaid.  It notes a word right
 * before it writes it, as what comes after lets another process run.  Only a
 * kill that comes between these two instructions would go wrong.
 */
static void end_run(pid_t pid, int status)
{
    SnapshotKeptPhase phase = snapshot_kept->phase;

    if (phase == SNAPSHOT_KEPT_TAKING) {
        /* What it has not taken is for the next QEMU. */
        phase = is_unread(SNAPSHOT_AFL_CONTROL) ? SNAPSHOT_KEPT_IDLE
                                                : SNAPSHOT_KEPT_TAKEN;
    }
    if (phase == SNAPSHOT_KEPT_TAKEN) {
        say_word(pid);
    }
    if (phase != SNAPSHOT_KEPT_IDLE) {
        mark_map();
        say_word(WIFSIGNALED(status) ? WTERMSIG(status) : SIGABRT);
    }
    snapshot_kept->phase = SNAPSHOT_KEPT_IDLE;
}

/* End as QEMU has. */
static void G_NORETURN end(int status)
{
    sigprocmask(SIG_SETMASK, &mask, NULL);
    if (WIFSIGNALED(status)) {
        signal(WTERMSIG(status), SIG_DFL);
        raise(WTERMSIG(status));
    }
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE);
}

/* The state of a process, a letter as in "ps"; 0: there is no such process */
static char state_of(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/stat", (int)pid);
    g_autofree char *text = NULL;
    const char *after;

    if (!g_file_get_contents(path, &text, NULL, NULL)) {
        return 0;
    }
    after = strrchr(text, ')');         /* the name, which may have any text */
    return after && after[1] == ' ' ? after[2] : 0;
}

/* How long may QEMU's main loop be silent, in seconds?  0: for ever. */
static unsigned int hang_limit(void)
{
    const char *text = getenv("SNAPSHOT_HANG_LIMIT");
    pid_t helper = qatomic_read(&snapshot_kept->helper);
    unsigned int limit;

    if (!text || qemu_strtoui(text, NULL, 10, &limit) < 0) {
        limit = HANG_LIMIT;
    }
    /* Killed, and QEMU has not asked how it ended, as it does at once */
    if (limit && helper && state_of(helper) == 'Z') {
        limit = MIN(limit, CUT_OFF_LIMIT);
    }
    return limit;
}

/*
 * QEMU's main loop is silent: tell afl-fuzz of a run that it would have been
 * told of by that, so that it can cut the run off.
 */
static void begin_run(void)
{
    pid_t helper = qatomic_read(&snapshot_kept->helper);

    if (helper && qatomic_cmpxchg(&snapshot_kept->phase, SNAPSHOT_KEPT_TAKEN,
                                  SNAPSHOT_KEPT_TELLING) ==
        SNAPSHOT_KEPT_TAKEN) {
        say_word(helper);
        qatomic_set(&snapshot_kept->phase, SNAPSHOT_KEPT_GOING);
    }
}

/*
 * Called once a second: does QEMU hang, for longer than is allowed?  One that
 * somebody has stopped, with a debugger maybe, does not.
 */
static bool hangs(pid_t pid)
{
    static uint32_t last, seconds;
    uint32_t beats = qatomic_read(&snapshot_kept->beats);
    char state = state_of(pid);
    unsigned int limit = hang_limit();

    if (!snapshot_kept->ready || beats != last || state == 'T' ||
        state == 't') {
        last = beats;
        seconds = 0;
    } else {
        begin_run();
    }
    return limit && ++seconds > limit;
}

/* There is no afl-fuzz any more, and in a second no QEMU either. */
static void G_NORETURN end_qemu(pid_t pid)
{
    const struct timespec second = { .tv_sec = 1 };
    sigset_t child;

    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    kill(pid, SIGTERM);
    sigtimedwait(&child, NULL, &second);
    kill(pid, SIGKILL);
    _exit(EXIT_FAILURE);
}

/* Wait for QEMU to end, if need be by our hand; returns how it did. */
static int wait_for_end(pid_t pid)
{
    const struct timespec second = { .tv_sec = 1 };
    int status;

    while (waitpid(pid, &status, WNOHANG) != pid) {
        int number = sigtimedwait(&heard, NULL, &second);

        if (number == SIGTERM) {
            end_qemu(pid);
        }
        if (number < 0 && errno == EAGAIN && hangs(pid)) {
            tell("QEMU's main loop hangs");
            kill(pid, SIGKILL);
        }
    }
    return status;
}

/*
 * Is there to be another QEMU after one that has ended with @status?  0 is no
 * failure.  And one that cannot boot could not the next time; if others could,
 * though, somebody may have killed it.
 */
static bool goes_on(int status)
{
    static unsigned int booted, failed;

    booted += snapshot_kept->ready;
    failed = snapshot_kept->ready ? 0 : failed + 1;
    return status != 0 && booted && failed < BOOTS_MAX;
}

/* Wait for QEMU; returns if there is to be another. */
static void keep(pid_t pid)
{
    int status;

    if (pid < 0) {
        tell("no process for QEMU: %s", strerror(errno));
        _exit(EXIT_FAILURE);
    }
    status = wait_for_end(pid);
    if (!goes_on(status)) {
        end(status);
    }
    tell("QEMU has ended by %s %d; starting another",
         WIFSIGNALED(status) ? "signal" : "exit code",
         WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    end_run(pid, status);
    snapshot_kept->ready = false;
    snapshot_kept->helper = 0;
}

/*
 * The RCU thread has just been started.  With AddressSanitizer it may hold the
 * lock of the allocator, which would be held for ever in a child; there is
 * nothing to wait for but time.
 */
static void let_threads_start(void)
{
#ifdef QEMU_SANITIZE_ADDRESS
    g_usleep(G_USEC_PER_SEC / 5);
#endif
}

void snapshot_keep(int argc, char **argv)
{
    pid_t self = getpid(), pid;
    void *page;

    if (!is_campaign(argc, argv) || getenv("SNAPSHOT_NO_KEEPER")) {
        return;
    }
    own.new_handshake = parent_is_new();
    own.by_keeper = true;
    page = mmap(NULL, sizeof(own), PROT_READ | PROT_WRITE,
                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) {
        tell("no memory for two processes: afl-fuzz will end if QEMU crashes");
        own.by_keeper = false;
        return;
    }
    snapshot_kept = page;
    *snapshot_kept = own;
    sigemptyset(&heard);
    sigaddset(&heard, SIGCHLD);
    sigaddset(&heard, SIGTERM);
    sigprocmask(SIG_BLOCK, &heard, &mask);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    let_threads_start();
    while ((pid = fork()) != 0) {
        keep(pid);
    }
    /* A QEMU that hangs would not hear of another signal. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sigprocmask(SIG_SETMASK, &mask, NULL);
    if (getppid() != self) {
        _exit(EXIT_FAILURE);
    }
}
