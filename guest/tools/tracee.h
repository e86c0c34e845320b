/*
 * A program that is run under ptrace(): stopped where it begins, and watched
 * until it ends.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef SNAPSHOT_TRACEE_H
#define SNAPSHOT_TRACEE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* How a program has ended */
typedef struct TraceeEnd {
    int signal;         /* that has ended it, or 0 */
    int status;         /* else its exit status */
    char text[256];     /* of a signal: where and why, if that is known */
} TraceeEnd;

/*
 * Start @argv[0], looked up in PATH, with the file descriptors @in, and @out
 * for output and errors.  It stops in front of its first own instruction: the
 * dynamic linker has done its work.  Its addresses are the same each time.
 *
 * Returns its process, which dies with the caller, or -1 with a message.
 */
pid_t tracee_start(char *const *argv, int in, int out);

/* Let it run, and wait until it has ended. */
void tracee_finish(pid_t pid, TraceeEnd *end);

/*
 * Call @take with the address and length of each stretch of its code: that of
 * the program file, and with @libraries that of everything else in its memory.
 * Stops where @take returns false.  Returns -1 and errno if its memory map
 * cannot be read, else 0.
 */
int tracee_code(pid_t pid, bool libraries,
                bool (*take)(unsigned long start, unsigned long length,
                             void *opaque), void *opaque);

#endif
