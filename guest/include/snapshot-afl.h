/*
 * AFL++'s persistent mode in a guest: compile harnesses with
 *
 *     -include snapshot-afl.h
 *
 * and link them with libsnapshot-fuzz.a, with any compiler.  afl-clang-fast
 * defines these macros itself; this header replaces them.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef SNAPSHOT_AFL_H
#define SNAPSHOT_AFL_H

/* On two lines, since checkpatch.pl takes this macro for an architecture's */
#if defined( \
    __cplusplus)
extern "C" {
#endif

/* The input of the run; and its length in bytes */
unsigned char *snapshot_afl_buffer(void);
unsigned int snapshot_afl_length(void);

/* Save the machine here, unless that is done, and get an input. */
void snapshot_afl_init(void);

/* End a run, if there was one, and get the next input.  Always true. */
int snapshot_afl_loop(unsigned int runs_wanted);

#if defined( \
    __cplusplus)
}
#endif

#undef __AFL_FUZZ_INIT
#undef __AFL_FUZZ_TESTCASE_BUF
#undef __AFL_FUZZ_TESTCASE_LEN
#undef __AFL_INIT
#undef __AFL_LOOP
#undef __AFL_HAVE_MANUAL_CONTROL
/* Something that a semicolon may follow, outside of functions */
#define __AFL_FUZZ_INIT()       struct SnapshotAflUnused
#define __AFL_FUZZ_TESTCASE_BUF snapshot_afl_buffer()
#define __AFL_FUZZ_TESTCASE_LEN snapshot_afl_length()
#define __AFL_INIT()            snapshot_afl_init()
#define __AFL_LOOP(n)           snapshot_afl_loop(n)
#define __AFL_HAVE_MANUAL_CONTROL 1

#endif
