/*
 * A machine that runs inputs: QEMU, as a child process that speaks the fork
 * server protocol of AFL++.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef SNAPSHOT_FUZZER_MACHINE_H
#define SNAPSHOT_FUZZER_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct Machine {
    pid_t pid;          /* of QEMU; 0: there is none */
    int control[2];     /* pipe: a word for each run goes to QEMU */
    int status;         /* and two come back from there */
} Machine;

typedef enum MachineRun {
    MACHINE_RUN_ENDED,      /* as the status says */
    MACHINE_RUN_NONE,       /* there was no machine any more to begin it */
    MACHINE_RUN_LOST,       /* QEMU ended meanwhile */
    MACHINE_RUN_LATE,       /* it has not begun within the limit */
} MachineRun;

/* System V shared memory, which is gone when nobody has it attached. */
typedef struct Segment {
    int id;
    uint8_t *host;
} Segment;

/*
 * Make a segment of @size bytes, attached at @where or, if that is NULL,
 * anywhere.  Returns false with a message on failure.
 */
bool segment_init(Segment *s, size_t size, void *where);

/*
 * Start QEMU with @command, a shell's, and wait for up to @seconds until it
 * greets.  Its coverage goes to @map, of @map_size bytes, and its inputs come
 * from @input.  Returns false with a message on failure.
 */
bool machine_start(Machine *m, const char *command, unsigned int seconds,
                   const Segment *map, size_t map_size, const Segment *input);

/*
 * Have the input run that is in the segment.  @begin and @end are limits in
 * seconds, 0 for none: until the guest takes the input, and until the run is
 * over, when it is cut off.  *@status is set as by wait().
 */
MachineRun machine_run(Machine *m, unsigned int begin, unsigned int end,
                       int *status);

/*
 * QEMU is gone, or has to go: end it and say on the standard error how it
 * ended, and @when.  Returns that as wait() does.
 */
int machine_end(Machine *m, const char *when);

/* There are no more runs: have QEMU end, and wait for that. */
void machine_stop(Machine *m);

/* Print "snapshot-fuzzer: ", the message and a newline. */
void __attribute__((format(printf, 1, 2))) say(const char *format, ...);

#endif
