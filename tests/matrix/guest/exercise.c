/*
 * exercise [-w MS] N DEVICE...: use devices, save the machine while they are
 * at work, and N times restore it and use them again.
 *
 * Prints "exercise: begin" when the devices have worked once, "exercise: ok N"
 * in the end, or what went wrong with which device.  With -w, waits MS
 * milliseconds before each restore.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "exercise.h"
#include "snapshot.h"

static const Kind *const kinds[] = {
    &clock_kind, &disk_kind, &leds_kind, &line_kind, &network_kind,
    &random_kind, &register_kind, &rtc_kind, &screen_kind, &time_kind,
};

#define MAX_DEVICES 32

static Device devices[MAX_DEVICES];
static int count;

static const char *current = "exercise";
static uint32_t restores;

void fail(const char *format, ...)
{
    va_list ap;

    printf("exercise: %s, after %" PRIu32 " restores: ", current, restores);
    va_start(ap, format);
    vprintf(format, ap);
    va_end(ap);
    printf("\n");
    exit(EXIT_FAILURE);
}

static void add_device(char *text)
{
    Device *dev = &devices[count];
    char *driver, *argument;

    if (count == MAX_DEVICES) {
        fail("more than %d devices", MAX_DEVICES);
    }
    dev->name = strdup(text);
    driver = strchr(text, ':');
    if (driver) {
        *driver++ = '\0';
    }
    argument = driver ? strchr(driver, ':') : NULL;
    if (argument) {
        *argument++ = '\0';
    }
    dev->driver = driver ? driver : "";
    dev->argument = argument ? argument : "";
    for (size_t i = 0; i < ARRAY_LENGTH(kinds); i++) {
        if (!strcmp(kinds[i]->name, text)) {
            dev->kind = kinds[i];
            count++;
            return;
        }
    }
    fail("unknown kind of device '%s'", text);
}

static void use_all(void)
{
    for (int i = 0; i < count; i++) {
        current = devices[i].name;
        devices[i].kind->use(&devices[i], restores);
    }
}

static void begin_all(void)
{
    for (int i = 0; i < count; i++) {
        current = devices[i].name;
        if (devices[i].kind->begin) {
            devices[i].kind->begin(&devices[i]);
        }
    }
}

static void finish_all(void)
{
    for (int i = 0; i < count; i++) {
        current = devices[i].name;
        if (devices[i].kind->finish) {
            devices[i].kind->finish(&devices[i], restores);
        }
    }
}

static void check_result(const char *what, uint32_t result)
{
    current = what;
    if (result != SNAPSHOT_RES_DONE) {
        fail("%s", snapshot_strerror(result));
    }
}

/*
 * snapshot_save() waits for a moment at which little is due, and what has been
 * begun would have ended.
 */
static uint32_t save_at_once(SnapshotDevice *dev)
{
    uint32_t result = snapshot_mmio_save(snapshot_bar(dev));

    restores = snapshot_restores(dev);
    return result;
}

/* Text that has not left the machine when it is saved would come again. */
static void say(const char *text)
{
    printf("exercise: %s\n", text);
    fflush(stdout);
    tcdrain(STDOUT_FILENO);
}

int main(int argc, char **argv)
{
    SnapshotDevice *dev = snapshot_open(NULL);
    uint32_t limit, result;
    int option, wait = 0;

    while ((option = getopt(argc, argv, "w:")) != -1) {
        if (option != 'w' || sscanf(optarg, "%d", &wait) != 1) {
            return EXIT_FAILURE;
        }
    }
    if (optind == argc || sscanf(argv[optind], "%" SCNu32, &limit) != 1) {
        fail("usage: exercise [-w MS] N DEVICE...");
    }
    if (!dev) {
        fail("%s", snapshot_open_strerror(errno));
    }
    for (int i = optind + 1; i < argc; i++) {
        add_device(argv[i]);
    }
    for (int i = 0; i < count; i++) {
        current = devices[i].name;
        devices[i].kind->open(&devices[i]);
    }
    use_all();
    say("begin");
    begin_all();
    result = save_at_once(dev);
    check_result(restores ? "restore" : "save", result);
    finish_all();
    if (restores < limit) {
        use_all();
        if (wait) {
            poll(NULL, 0, wait);
        }
        check_result("restore", snapshot_restore(dev));
    }
    check_result("discard", snapshot_discard(dev));
    use_all();
    printf("exercise: ok %" PRIu32 "\n", restores);
    return EXIT_SUCCESS;
}
