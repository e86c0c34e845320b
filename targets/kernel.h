/*
 * What targets in the guest's kernel have in common.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TARGETS_KERNEL_H
#define TARGETS_KERNEL_H

#include "snapshot-run.h"

/* Say that @what has failed, with the text for errno, and end the program. */
void fail(const char *what) __attribute__((noreturn));

/*
 * Runs of a target in the kernel: code of @modules, a list of names that ends
 * with NULL, is counted when it runs for this process, and an oops is a panic.
 * Ends the program if that cannot be.
 */
SnapRuns *kernel_runs(char **modules);

/* Say why there is no next input, and end the program. */
void no_input(SnapRuns *runs) __attribute__((noreturn));

#endif
