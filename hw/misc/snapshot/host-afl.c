/*
 * Device "snapshot": afl-fuzz as the host of runs.
 *
 * QEMU is the fork server: afl-fuzz writes a word to a pipe for each run and
 * reads two from another, the pid of the process that it may kill and how that
 * ended.  A run that is short has both told at its end, as each word wakes
 * afl-fuzz up.  Map and input are in System V shared memory, which becomes part
 * of BAR 2, so that nothing is copied.
 *
 * The pid is that of a helper, which does nothing but sleep.  When a run takes
 * too long, afl-fuzz kills it; the end of a pipe that the helper holds tells
 * us so, and the run is cut off.  QEMU itself lives on.  And when the fuzzer is
 * gone, but not QEMU, which may hang, the helper sees to that.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <poll.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include "hw/misc/snapshot_keeper.h"
#include "hw/misc/snapshot_regs.h"
#include "qapi/error.h"
#include "qemu/cutils.h"
#include "qemu/main-loop.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "run.h"
#include "trace.h"

/*
 * What afl-fuzz looks for in a program, to see that it is instrumented and
 * that it takes test cases from shared memory.
 */
const char snapshot_afl_signature[] __attribute__((used)) =
    "##SIG_AFL_PERSISTENT##";

/* The test cases' segment */
#define ENV_INPUT       "__AFL_SHM_FUZZ_ID"

/*
 * With -c, afl-fuzz starts two fork servers and has one segment for comparisons
 * in the environment of both.  They are for the one that has this, too.
 */
#define ENV_CMPLOG      "__AFL_CMPLOG_SHM_ID"
#define ENV_CMPLOG_MARK "___AFL_EINS_ZWEI_POLIZEI___"

/* Handshake up to version 4.1x: one word of options, and one as an answer */
#define OLD_ENABLED     0x80000001u
#define OLD_MAPSIZE     0x40000000u
#define OLD_SHMEM       0x01000000u
#define OLD_CMPLOG      0x02000000u     /* as 4.00 has it, or later */
#define OLD_MAP_MAX     (8 * MiB)
#define OLD_MAP(size)   (((size) - 1) << 1)

/*
 * Handshake since 4.20: version, its complement as an answer, options, the
 * size of the map, version
 */
#define NEW_VERSION     0x41464c01u
#define NEW_MAPSIZE     0x00000001u
#define NEW_SHMEM       0x00000002u

/* afl-fuzz rounds the size of its map up to a multiple of this. */
#define MAP_UNIT        64

/*
 * Unless told otherwise, afl-fuzz waits so long for the first word, and the
 * other tools always do.  For the pid of the first run they wait for ever.
 */
#define START_UP_MS     10000

/* How long QEMU may outlive the fuzzer, in seconds */
#define OUTLIVE_S       5

/*
 * How often the main loop looks for a run whose pid afl-fuzz should know by
 * now, and tells the keeper that it does
 */
#define BEAT_MS         10

typedef struct SnapshotAfl {
    SnapshotHost parent;
    bool has_input;             /* inputs come in shared memory */
    pid_t helper;               /* or the one that was */
    int helper_fd;              /* at its end when the helper is; -1: none */
    QEMUTimer *start_up, *beat;
    bool same_run;              /* as at the last beat */
} SnapshotAfl;

static bool get_word(uint32_t *word)
{
    /* afl-fuzz writes whole words, and less than a pipe takes at once. */
    return RETRY_ON_EINTR(read(SNAPSHOT_AFL_CONTROL, word, sizeof(*word))) ==
           sizeof(*word);
}

static bool put_words(const uint32_t *words, size_t n)
{
    size_t size = n * sizeof(*words);

    return qemu_write_full(SNAPSHOT_AFL_STATUS, words, size) == size;
}

static bool put_word(uint32_t word)
{
    return put_words(&word, 1);
}

/*
 * The helper
 */

/* @fds are left open; one is SNAPSHOT_AFL_CONTROL. */
static void G_NORETURN sleep_until_killed(int fds[2], pid_t parent)
{
    struct pollfd fuzzer = { .fd = SNAPSHOT_AFL_CONTROL };      /* its end */
    struct sigaction action = { .sa_handler = SIG_DFL };
    sigset_t none;

    /* Only what is safe after a fork of a process with threads */
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_NAME, "snapshot-run");
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    qemu_close_all_open_fd(fds, 2);
    while (getppid() == parent) {
        if (poll(&fuzzer, 1, -1) > 0) {
            sleep(OUTLIVE_S);
            kill(parent, SIGKILL);      /* and so us */
        }
    }
    _exit(EXIT_SUCCESS);
}

static void bury_helper(SnapshotAfl *a)
{
    if (a->helper_fd >= 0) {
        qemu_set_fd_handler(a->helper_fd, NULL, NULL, NULL);
        close(a->helper_fd);
        kill(a->helper, SIGKILL);
        waitpid(a->helper, NULL, 0);
        qatomic_set(&snapshot_kept->helper, 0);
        a->helper_fd = -1;
    }
}

static void helper_died(void *opaque)
{
    SnapshotAfl *a = opaque;

    trace_snapshot_afl_killed(a->helper);
    bury_helper(a);
    snapshot_runs_cut_off(a->parent.runs);
}

static bool start_helper(SnapshotAfl *a)
{
    pid_t self = getpid(), helper;
    int fds[2];

    if (!g_unix_open_pipe(fds, FD_CLOEXEC, NULL)) {
        return false;
    }
    helper = fork();
    if (helper == 0) {
        int keep[2] = { MIN(fds[1], SNAPSHOT_AFL_CONTROL),
                        MAX(fds[1], SNAPSHOT_AFL_CONTROL) };

        sleep_until_killed(keep, self);
    }
    close(fds[1]);
    if (helper < 0) {
        close(fds[0]);
        return false;
    }
    a->helper = helper;
    a->helper_fd = fds[0];
    qatomic_set(&snapshot_kept->helper, helper);
    qemu_set_fd_handler(a->helper_fd, helper_died, NULL, a);
    return true;
}

/*
 * Handshake
 */

static bool greet_new(SnapshotAfl *a, uint32_t map_size)
{
    uint32_t options = NEW_MAPSIZE | (a->has_input ? NEW_SHMEM : 0);
    uint32_t answer;

    return put_word(NEW_VERSION) && get_word(&answer) &&
           answer == ~NEW_VERSION && put_word(options) &&
           put_word(map_size) && put_word(NEW_VERSION);
}

static bool greet_old(SnapshotAfl *a, uint32_t map_size)
{
    uint32_t options = OLD_ENABLED | OLD_MAPSIZE | OLD_MAP(map_size);
    uint32_t answer;

    options |= a->parent.shared->cmplog_layout ? OLD_CMPLOG : 0;
    if (!a->has_input) {
        return put_word(options);
    }
    return put_word(options | OLD_SHMEM) && get_word(&answer) &&
           answer == (OLD_ENABLED | OLD_SHMEM);
}

static bool greet(SnapshotAfl *a, uint32_t map_size)
{
    if (!snapshot_kept->greeted) {
        trace_snapshot_afl_greet(map_size, a->has_input);
        snapshot_kept->greeted = snapshot_kept->new_handshake
                                 ? greet_new(a, map_size)
                                 : greet_old(a, map_size);
    }
    return snapshot_kept->greeted;
}

/*
 * The guest still boots, and afl-fuzz is about to give up.  How much of the
 * map the guest will use nobody knows yet: all of it, then.
 */
static void greet_early(void *opaque)
{
    SnapshotAfl *a = opaque;

    greet(a, a->parent.shared->map_size);
}

static bool afl_start(SnapshotHost *h, uint32_t map_used, Error **errp)
{
    SnapshotAfl *a = container_of(h, SnapshotAfl, parent);
    uint32_t size = h->shared->map_size;

    if (map_used && map_used < size) {
        size = ROUND_UP(map_used, MAP_UNIT);
    }
    timer_del(a->start_up);
    if (!greet(a, size)) {
        error_setg(errp, "afl-fuzz has ended or does not answer as expected; "
                   "use AFL++ 4.00 or later");
        return false;
    }
    if (!start_helper(a)) {
        error_setg_errno(errp, errno, "no process for afl-fuzz to kill; have "
                         "fewer processes, or raise the limit (ulimit -u)");
        return false;
    }
    snapshot_kept->ready = true;
    return true;
}

/*
 * Runs
 */

/* From the file that is afl-fuzz's other way to pass inputs */
static bool read_input(SnapshotAfl *a)
{
    g_autofree char *data = g_malloc(a->parent.shared->input_max);
    ssize_t len = pread(STDIN_FILENO, data, a->parent.shared->input_max, 0);

    if (len < 0) {
        return false;
    }
    snapshot_shared_set_input(a->parent.shared, data, len);
    return true;
}

static SnapshotNext afl_next(SnapshotHost *h)
{
    SnapshotAfl *a = container_of(h, SnapshotAfl, parent);
    uint32_t was_killed;

    snapshot_kept->phase = SNAPSHOT_KEPT_TAKING;
    if (!get_word(&was_killed)) {
        return SNAPSHOT_NEXT_OVER;
    }
    snapshot_kept->phase = SNAPSHOT_KEPT_TAKEN;
    a->same_run = false;
    if (was_killed) {
        bury_helper(a);
    }
    if ((a->helper_fd < 0 && !start_helper(a)) ||
        (!a->has_input && !read_input(a))) {
        return SNAPSHOT_NEXT_OVER;
    }
    return SNAPSHOT_NEXT_INPUT;
}

/*
 * Note that the pid of the present run is said, by phase @phase.  Returns false
 * if it had been already; maybe by the keeper just now.
 */
static bool take_pid(SnapshotKeptPhase phase)
{
    while (qatomic_read(&snapshot_kept->phase) == SNAPSHOT_KEPT_TELLING) {
        sched_yield();
    }
    return qatomic_cmpxchg(&snapshot_kept->phase, SNAPSHOT_KEPT_TAKEN,
                           phase) == SNAPSHOT_KEPT_TAKEN;
}

/*
 * What the guest has to say has no place in the protocol.  afl-fuzz drops our
 * standard error, other fuzzers show it.
 */
static void afl_ended(SnapshotHost *h, const SnapshotEnd *end)
{
    SnapshotAfl *a = container_of(h, SnapshotAfl, parent);
    /* Never 0, at which afl-fuzz ends: somebody else may kill a helper. */
    uint32_t words[] = { a->helper, snapshot_end_wait_status(end) };

    if (end->kind != SNAPSHOT_END_DONE) {
        snapshot_end_print(stderr, "snapshot", h->shared, end);
    }
    if (take_pid(SNAPSHOT_KEPT_IDLE)) {
        put_words(words, 2);
    } else {
        qatomic_set(&snapshot_kept->phase, SNAPSHOT_KEPT_IDLE);
        put_word(words[1]);
    }
}

static int afl_over(SnapshotHost *h, const Error *err)
{
    return err ? EXIT_FAILURE : EXIT_SUCCESS;
}

static void afl_free(SnapshotHost *h)
{
    SnapshotAfl *a = container_of(h, SnapshotAfl, parent);

    bury_helper(a);
    timer_free(a->start_up);
    timer_free(a->beat);
    g_free(a);
}

static const SnapshotHostOps afl_ops = {
    .reg = SNAPSHOT_HOST_AFL,
    .start = afl_start,
    .next = afl_next,
    .ended = afl_ended,
    .over = afl_over,
    .free = afl_free,
};

/*
 * Set-up
 */

static void greet_in_time(SnapshotAfl *a)
{
    a->start_up = timer_new_ms(QEMU_CLOCK_REALTIME, greet_early, a);
    timer_mod(a->start_up, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) +
              START_UP_MS / 2);
}

/*
 * A run that takes longer than a beat may need to be cut off.  And the keeper
 * takes a QEMU that does not come here for one that hangs.
 */
static void beat(void *opaque)
{
    SnapshotAfl *a = opaque;

    if (a->same_run && a->helper_fd >= 0 && take_pid(SNAPSHOT_KEPT_GOING)) {
        put_word(a->helper);
    }
    a->same_run = true;
    qatomic_set(&snapshot_kept->beats, snapshot_kept->beats + 1);
    timer_mod(a->beat, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + BEAT_MS);
}

/*
 * Attach the segment that the environment variable @env names, if it does, as
 * the memory of @area, @size bytes of it at most.
 */
static bool attach(SnapshotArea *area, const char *env, size_t size,
                   Error **errp)
{
    const char *text = getenv(env);
    struct shmid_ds info;
    void *host;
    int id;

    if (!text) {
        return true;
    }
    if (qemu_strtoi(text, NULL, 10, &id) < 0) {
        error_setg(errp, "%s=%s is no number of a shared memory segment; leave "
                   "it to afl-fuzz, or unset it", env, text);
        return false;
    }
    host = shmat(id, NULL, 0);
    if (host == (void *)-1 || shmctl(id, IPC_STAT, &info) < 0) {
        error_setg_errno(errp, errno, "cannot attach the shared memory of "
                         "%s=%s; leave it to afl-fuzz, or unset it", env, text);
        return false;
    }
    size = MIN(size, info.shm_segsz);
    area->host = host;
    area->size = ROUND_UP(size, qemu_real_host_page_size());
    return true;
}

bool snapshot_afl_attach_map(SnapshotShared *shared, uint32_t map_size,
                             Error **errp)
{
    if (!attach(&shared->map, SNAPSHOT_AFL_ENV_MAP, map_size, errp)) {
        return false;
    }
    if (shared->map.host && shared->map.size < map_size) {
        error_setg(errp, "the fuzzer has a map of %zu bytes, and the device "
                   "one of %u: set map-size= to less, or AFL_MAP_SIZE=%u for "
                   "afl-fuzz", shared->map.size, map_size, map_size);
        return false;
    }
    return true;
}

/*
 * Comparisons: which version of AFL++ has made the segment is to be seen from
 * its size only.
 */
static bool attach_cmplog(SnapshotShared *shared, Error **errp)
{
    static const uint32_t sizes[] = {
        [SNAPSHOT_CMPLOG_8_32] = SNAPSHOT_CMPLOG_BYTES(8, 32),
        [SNAPSHOT_CMPLOG_2_42] = SNAPSHOT_CMPLOG_BYTES(2, 42),
        [SNAPSHOT_CMPLOG_2_72] = SNAPSHOT_CMPLOG_BYTES(2, 72),
    };

    if (!getenv(ENV_CMPLOG_MARK)) {
        return true;
    }
    if (!attach(&shared->cmplog, ENV_CMPLOG, SIZE_MAX, errp)) {
        return false;
    }
    for (size_t i = 1; shared->cmplog.host && i < ARRAY_SIZE(sizes); i++) {
        if (shared->cmplog.size == sizes[i]) {
            shared->cmplog_layout = i;
        }
    }
    if (shared->cmplog.host && !shared->cmplog_layout) {
        error_setg(errp, "the fuzzer has a CmpLog map of %zu bytes, and known "
                   "are those of AFL++ 4.00 to 4.10 (%u) and since 4.20 (%u, "
                   "%u): use one of these, or no -c", shared->cmplog.size,
                   sizes[1], sizes[2], sizes[3]);
        return false;
    }
    trace_snapshot_afl_cmplog(shared->cmplog.size, shared->cmplog_layout);
    return true;
}

SnapshotHost *snapshot_host_afl(SnapshotShared *shared,
                                const SnapshotRunsConfig *config,
                                Error **errp)
{
    SnapshotAfl *a;

    if (fcntl(SNAPSHOT_AFL_CONTROL, F_GETFD) < 0 ||
        fcntl(SNAPSHOT_AFL_STATUS, F_GETFD) < 0) {
        return NULL;
    }
    a = g_new0(SnapshotAfl, 1);
    a->parent.ops = &afl_ops;
    a->parent.shared = shared;
    a->parent.fd = SNAPSHOT_AFL_CONTROL;
    a->helper_fd = -1;
    if (!snapshot_afl_attach_map(shared, config->map_size, errp)) {
        if (shared->map.host) {
            /* afl-fuzz does not show what we say, but knows this mistake. */
            greet(a, config->map_size);
        }
        afl_free(&a->parent);
        return NULL;
    }
    if (!attach(&shared->input, ENV_INPUT,
                config->input_max + sizeof(uint32_t), errp) ||
        !attach_cmplog(shared, errp)) {
        afl_free(&a->parent);
        return NULL;
    }
    a->has_input = shared->input.host;
    qemu_set_cloexec(SNAPSHOT_AFL_CONTROL);
    qemu_set_cloexec(SNAPSHOT_AFL_STATUS);
    if (!snapshot_kept->by_keeper) {
        /* If afl-fuzz goes, even by SIGKILL, nobody else would end us. */
        prctl(PR_SET_PDEATHSIG, SIGTERM);
    }
    greet_in_time(a);
    a->beat = timer_new_ms(QEMU_CLOCK_REALTIME, beat, a);
    beat(a);
    return &a->parent;
}
