/*
 * What the parts of the "exercise" program give each other.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXERCISE_H
#define EXERCISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARRAY_LENGTH(a) (sizeof(a) / sizeof((a)[0]))

/*
 * One device to use, as the command line asks for it: KIND:DRIVER[:ARGUMENT].
 */
typedef struct Device {
    const struct Kind *kind;
    const char *driver;         /* name of the kernel's driver */
    const char *argument;       /* after the second colon, or "" */
    const char *name;           /* the word of the command line */
    void *state;                /* the kind's own */
} Device;

/*
 * A way to use devices.  All of these call fail() if the device does not do
 * what it should.
 *
 * open() runs once, before anything else.  use() lets the device work and
 * checks what comes of it; it runs before the save, after each restore, and
 * after the last one.  begin() starts something just before the save that is
 * still under way when the machine is saved; finish() waits for its end, after
 * the save and after each restore.  begin() and finish() may be missing.
 * @round is the number of restores so far; it never repeats.
 */
typedef struct Kind {
    const char *name;
    void (*open)(Device *dev);
    void (*use)(Device *dev, uint32_t round);
    void (*begin)(Device *dev);
    void (*finish)(Device *dev, uint32_t round);
} Kind;

extern const Kind disk_kind;                            /* disk.c */
extern const Kind network_kind;                         /* network.c */
extern const Kind line_kind;                            /* line.c */
extern const Kind clock_kind, time_kind, rtc_kind;      /* clock.c */
extern const Kind random_kind, leds_kind;               /* misc.c */
extern const Kind screen_kind, register_kind;           /* misc.c */

/* Say what is wrong with the device at hand, and end the program. */
void fail(const char *format, ...)
    __attribute__((format(printf, 1, 2), noreturn));

/* Memory that is filled with zeroes; never NULL. */
void *allocate(size_t size);

/* Run a command that must succeed. */
void run(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * Look in /sys/class/@class for something that @driver drives, itself or what
 * it is plugged into, and whose name begins with @prefix.  Waits a while for
 * it to appear.  Returns its name in @name, of @size bytes.
 */
void find_device(const char *class, const char *driver, const char *prefix,
                 char *name, size_t size);

/* Wait until @fd is readable, @ms milliseconds at most. */
bool wait_readable(int fd, int ms);

#endif
