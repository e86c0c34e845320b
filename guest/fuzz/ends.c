/*
 * Fuzzing harnesses in a guest: whatever ends the process ends the run.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#define _GNU_SOURCE
#include <errno.h>
#include <execinfo.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

#include "harness.h"

static SnapRuns *the_runs;

/* What a sanitizer has to say; see report() */
static const char *sanitizer_text;

static const int signals[] = {
    SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP, SIGXCPU,
};

/* Code address of the interrupted program, 0 if that is not known here */
static unsigned long code_address(const void *context)
{
#ifdef REG_RIP
    const ucontext_t *u = context;

    return u->uc_mcontext.gregs[REG_RIP];
#else
    (void)context;
    return 0;
#endif
}

/* Calls that a report of a signal has, and those that the handler adds */
#define CALLS_MAX   16
#define OWN_MAX     4

/* Append the calls that have led to the instruction at @code. */
static void add_calls(char *text, size_t size, unsigned long code)
{
    void *calls[CALLS_MAX + OWN_MAX];
    int count = backtrace(calls, CALLS_MAX + OWN_MAX);
    size_t used = strlen(text);
    int at = 0;

    while (at < count && (unsigned long)calls[at] != code) {
        at++;
    }
    /* A return address may be that of another line: one less is not. */
    for (at++; at < count && used < size; at++) {
        used += snprintf(text + used, size - used, "\n  from 0x%lx",
                         (unsigned long)calls[at] - 1);
    }
}

/*
 * The process may be in any state, so that only our own memory is used, but for
 * the stack.  If that is damaged there may be another signal, and the report is
 * what there is until then.
 */
static void on_signal(int number, siginfo_t *info, void *context)
{
    static char text[160 + CALLS_MAX * sizeof("\n  from 0x123456789abcdef0")];
    /* volatile: this function may interrupt itself. */
    static volatile bool has_begun;
    static int first;

    if (!has_begun) {
        has_begun = true;
        first = number;
        snprintf(text, sizeof(text),
                 "signal %d (%s), code %d, address %p, at 0x%lx", number,
                 sigabbrev_np(number), info->si_code, info->si_addr,
                 code_address(context));
        add_calls(text, sizeof(text), code_address(context));
    }
    number = first;
    has_begun = false;
    coverage_collect();
    snap_crash(the_runs, number, sanitizer_text ?: text);
    /* There was no run: it ends as it would without us. */
    fprintf(stderr, "%s\n", text);
    signal(number, SIG_DFL);
    raise(number);
}

static void on_exit_call(int status, void *unused)
{
    (void)unused;
    snap_log(the_runs, "the target called exit(%d)\n", status);
    coverage_collect();
    snap_exit(the_runs, status & 0xff);
}

/* AddressSanitizer calls this with its report, and ends the process after. */
static void report(const char *text)
{
    sanitizer_text = text;
    coverage_collect();
    snap_crash(the_runs, SIGABRT, text);
}

/* In programs that are linked with AddressSanitizer */
void __asan_set_error_report_callback(void (*callback)(const char *))
    __attribute__((weak));

static void catch_signals(void)
{
    struct sigaction action = {
        .sa_sigaction = on_signal,
        .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER,
    };
    /* A stack of its own: that of the target may have overflowed. */
    static char stack[64 << 10];
    stack_t other = { .ss_sp = stack, .ss_size = sizeof(stack) };
    void *call;

    /* The first time it makes preparations. */
    backtrace(&call, 1);
    sigaltstack(&other, NULL);
    for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++) {
        sigaction(signals[i], &action, NULL);
    }
    if (__asan_set_error_report_callback) {
        __asan_set_error_report_callback(report);
    }
}

SnapRuns *harness_open(void)
{
    the_runs = snap_open(NULL);
    if (!the_runs) {
        fprintf(stderr, "snapshot: %s\n", snapshot_open_strerror(errno));
        return NULL;
    }
    if (snapshot_mmio_read32(snapshot_bar(snap_device(the_runs)),
                             SNAPSHOT_REG_HOST) == SNAPSHOT_HOST_NONE) {
        fprintf(stderr, "snapshot: nobody gives inputs: start QEMU with "
                "-device snapshot,afl=on or seeds=\n");
        return NULL;
    }
    coverage_attach(the_runs);
    cmplog_attach(the_runs);
    catch_signals();
    on_exit(on_exit_call, NULL);
    return the_runs;
}

uint8_t *harness_next(SnapRuns *runs, size_t *size)
{
    uint8_t *data = snap_next_input(runs, size);

    if (!data) {
        fprintf(stderr, "snapshot: no input: %s\n",
                snapshot_strerror(snap_result(runs)));
        _exit(EXIT_FAILURE);
    }
    return data;
}

void harness_done(SnapRuns *runs, unsigned int status)
{
    coverage_collect();
    snap_done(runs, status);
}
