/*
 * clock[:SOURCE], time, rtc:DRIVER: what tells the time, and interrupts then.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/rtc.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "exercise.h"

#define SECOND_NS   1000000000ll

/* The most that may pass in the guest between two restores */
#define ROUND_S     60

/*
 * clock: the time never goes back, and a restore takes none of it.  A timer
 * runs at the save.  With SOURCE, that is what tells the kernel the time.
 */

typedef struct Clock {
    int timer;
    int64_t last;       /* when it was last looked at */
    int64_t saved;      /* when the machine was about to be saved */
} Clock;

#define TIMER_NS    (2 * SECOND_NS / 1000)

static int64_t get_time(Clock *c)
{
    struct timespec now;
    int64_t ns;

    clock_gettime(CLOCK_MONOTONIC, &now);
    ns = now.tv_sec * SECOND_NS + now.tv_nsec;
    if (ns < c->last) {
        fail("the time went back by %lld ns", (long long)(c->last - ns));
    }
    c->last = ns;
    return ns;
}

static void start_timer(Clock *c)
{
    struct itimerspec delay = { .it_value.tv_nsec = TIMER_NS };

    if (timerfd_settime(c->timer, 0, &delay, NULL) < 0) {
        fail("timer: %s", strerror(errno));
    }
}

static void wait_for_timer(Clock *c)
{
    uint64_t times;

    if (read(c->timer, &times, sizeof(times)) != sizeof(times)) {
        fail("timer: %s", strerror(errno));
    }
}

static void set_source(const char *source)
{
    const char *path =
        "/sys/devices/system/clocksource/clocksource0/current_clocksource";

    run("echo %s >%s && grep -qx %s %s", source, path, source, path);
}

static void clock_open(Device *dev)
{
    Clock *c = dev->state = allocate(sizeof(*c));

    if (*dev->driver) {
        set_source(dev->driver);
    }
    c->timer = timerfd_create(CLOCK_MONOTONIC, 0);
    if (c->timer < 0) {
        fail("timer: %s", strerror(errno));
    }
}

static void clock_use(Device *dev, uint32_t round)
{
    Clock *c = dev->state;
    int64_t start = get_time(c);

    (void)round;
    start_timer(c);
    wait_for_timer(c);
    if (get_time(c) - start < TIMER_NS) {
        fail("the timer was too early");
    }
}

static void clock_begin(Device *dev)
{
    Clock *c = dev->state;

    start_timer(c);
    c->saved = get_time(c);
}

static void clock_finish(Device *dev, uint32_t round)
{
    Clock *c = dev->state;
    int64_t passed;

    (void)round;
    wait_for_timer(c);
    passed = get_time(c) - c->saved;
    if (passed > ROUND_S * SECOND_NS) {
        fail("%lld ns since the save", (long long)passed);
    }
}

const Kind clock_kind = {
    "clock", clock_open, clock_use, clock_begin, clock_finish
};

/* time: as above, without waiting for a timer */

static void time_open(Device *dev)
{
    dev->state = allocate(sizeof(Clock));
}

static void time_use(Device *dev, uint32_t round)
{
    Clock *c = dev->state;
    int64_t now = get_time(c);

    (void)round;
    if (c->saved && now - c->saved > ROUND_S * SECOND_NS) {
        fail("%lld ns since the save", (long long)(now - c->saved));
    }
}

static void time_begin(Device *dev)
{
    Clock *c = dev->state;

    c->saved = get_time(c);
}

const Kind time_kind = { "time", time_open, time_use, time_begin, NULL };

/* rtc: the date, and now and then an alarm a second or two ahead */

#define ALARM_ROUNDS    250

typedef struct Rtc {
    int fd;
    time_t saved;
} Rtc;

static time_t read_rtc(const Rtc *r)
{
    struct rtc_time time;
    struct tm tm;

    if (ioctl(r->fd, RTC_RD_TIME, &time) < 0) {
        fail("cannot be read: %s", strerror(errno));
    }
    tm = (struct tm) {
        .tm_sec = time.tm_sec, .tm_min = time.tm_min, .tm_hour = time.tm_hour,
        .tm_mday = time.tm_mday, .tm_mon = time.tm_mon,
        .tm_year = time.tm_year,
    };
    return timegm(&tm);
}

static void wait_for_alarm(const Rtc *r)
{
    time_t when = read_rtc(r) + 2;
    struct tm *tm = gmtime(&when);
    struct rtc_wkalrm alarm = {
        .enabled = 1,
        .time = {
            .tm_sec = tm->tm_sec, .tm_min = tm->tm_min,
            .tm_hour = tm->tm_hour, .tm_mday = tm->tm_mday,
            .tm_mon = tm->tm_mon, .tm_year = tm->tm_year,
        },
    };
    unsigned long what;

    if (ioctl(r->fd, RTC_WKALM_SET, &alarm) < 0 ||
        read(r->fd, &what, sizeof(what)) != sizeof(what)) {
        fail("no alarm: %s", strerror(errno));
    }
    if (read_rtc(r) < when) {
        fail("the alarm was too early");
    }
}

static void rtc_open(Device *dev)
{
    Rtc *r = dev->state = allocate(sizeof(*r));
    char name[64], path[80];

    find_device("rtc", dev->driver, "", name, sizeof(name));
    snprintf(path, sizeof(path), "/dev/%s", name);
    r->fd = open(path, O_RDONLY);
    if (r->fd < 0) {
        fail("%s: %s", path, strerror(errno));
    }
}

static void rtc_use(Device *dev, uint32_t round)
{
    Rtc *r = dev->state;
    time_t now = read_rtc(r);

    if (r->saved && (now < r->saved || now > r->saved + ROUND_S)) {
        fail("%lld s since the save", (long long)(now - r->saved));
    }
    if (round % ALARM_ROUNDS == 0) {
        wait_for_alarm(r);
    }
}

static void rtc_begin(Device *dev)
{
    Rtc *r = dev->state;

    r->saved = read_rtc(r);
}

const Kind rtc_kind = { "rtc", rtc_open, rtc_use, rtc_begin, NULL };
