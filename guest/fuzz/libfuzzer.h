/*
 * What a harness for libFuzzer has.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef SNAPSHOT_LIBFUZZER_H
#define SNAPSHOT_LIBFUZZER_H

#include <stddef.h>
#include <stdint.h>

/* Test one input.  The value returned is of no importance here. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Set up what all runs need; not every harness has one. */
int LLVMFuzzerInitialize(int *argc, char ***argv) __attribute__((weak));

#endif
