/*
 * A machine as the target of libFuzzer: what a fuzzer may call by itself.
 *
 * Most fuzzers need nothing of this.  The library has LLVMFuzzerInitialize()
 * and LLVMFuzzerTestOneInput(), so that
 *
 *     clang -fsanitize=fuzzer libsnapshot-fuzzer.a -o fuzzer
 *
 * is one that runs each input in the machine of SNAPSHOT_MACHINE.  A program
 * that has these two functions itself calls those below in them.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef SNAPSHOT_FUZZER_H
#define SNAPSHOT_FUZZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined( \
    __cplusplus)
extern "C" {
#endif

/*
 * A simple command for sh: QEMU or a script, with "-device snapshot,afl=on"
 */
#define SNAPSHOT_FUZZER_ENV_MACHINE     "SNAPSHOT_MACHINE"

/* Seconds until the guest asks for its first input, else 300 */
#define SNAPSHOT_FUZZER_ENV_BOOT        "SNAPSHOT_BOOT_TIMEOUT"

/*
 * Start a machine, boot it, and run an input of no bytes, whose result is
 * dropped: it shows that the guest is there.  Does nothing if there is a
 * machine already.  To be called by the main thread, with whose end the
 * machine ends, too.  Returns false, after a message, if it cannot be done.
 */
bool snapshot_fuzzer_start(void);

/*
 * Run @size bytes at @data, and start a machine if there is none.  What of them
 * is more than the input-size= of the device is cut off.  The coverage of the
 * run is in libFuzzer's extra counters.
 *
 * Returns how the run ended, as wait() would tell it of a process; the text
 * that goes with a crash is on the standard error by then.  Where QEMU itself
 * ended during the run, it is QEMU's own end if that was a signal, else
 * SIGABRT.  Ends the process, after a message, if no machine can be started.
 */
int snapshot_fuzzer_run(const uint8_t *data, size_t size);

/*
 * The coverage map, which is @bytes long, whole pages.  libFuzzer looks for
 * extra counters in this section, all of whose bytes it reads after each run.
 * There is a map of 64 KiB in the library; for another size have
 *
 *     SNAPSHOT_FUZZER_MAP(262144);
 *
 * in a file of the fuzzer, and map-size=262144 for the device.
 */
#define SNAPSHOT_FUZZER_MAP(bytes) \
    uint8_t snapshot_fuzzer_map[bytes] \
        __attribute__((section("__libfuzzer_extra_counters"), \
                       aligned(4096))); \
    const size_t snapshot_fuzzer_map_size = (bytes)

extern uint8_t snapshot_fuzzer_map[];
extern const size_t snapshot_fuzzer_map_size;

#if defined( \
    __cplusplus)
}
#endif

#endif
