/*
 * snapctl: the snapshot device from the guest's shell.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot.h"

/* Exit codes, as --help lists them */
enum {
    EXIT_DONE = 0,
    EXIT_REFUSED = 1,
    EXIT_USAGE = 2,
    EXIT_NO_DEVICE = 3,
    EXIT_RESTORED = 10,
};

static const char usage[] =
    "usage: snapctl [--device ADDRESS] COMMAND [ARGUMENTS]\n"
    "\n"
    "  save      save the machine: memory, CPUs, devices, clocks\n"
    "  restore   bring the machine back into the 'snapctl save' or 'push' that\n"
    "            saved it last\n"
    "  push      save on top of what was saved before, which is kept\n"
    "  pop       drop what was saved last, and restore what was saved before\n"
    "  discard   drop all that was saved, and what is excluded\n"
    "  exclude START LENGTH\n"
    "            leave this guest-physical memory alone in restores; bytes, as\n"
    "            in C (0x...)\n"
    "  include   put back all memory again\n"
    "  cover START LENGTH\n"
    "            have runs count edges of the code at this linear address\n"
    "  cover-module NAME\n"
    "            the same for the code of a loaded kernel module\n"
    "  uncover   count edges of no code\n"
    "  status    show the registers of the device\n"
    "  info      show where the device is and what it says of itself\n"
    "\n"
    "  -d, --device ADDRESS   which device, if the machine has several, as in\n"
    "                         /sys/bus/pci/devices (0000:00:04.0)\n"
    "  -h, --help             show this text\n"
    "\n"
    "Exit codes:\n"
    "  0    done; for 'save' and 'push': saved\n"
    "  1    the device did not do it; standard error says why\n"
    "  2    wrong usage\n"
    "  3    no device that can be used; standard error says why\n"
    "  10   'save' and 'push': back from a restore, the number of which is\n"
    "       printed\n";

static int report(uint32_t result)
{
    if (result == SNAPSHOT_RES_DONE) {
        return EXIT_DONE;
    }
    fprintf(stderr, "snapctl: error %" PRIu32 ": %s\n", result,
            snapshot_strerror(result));
    return EXIT_REFUSED;
}

/* What came back from a save or a push */
static int report_saved(uint32_t result, uint32_t restores)
{
    if (result != SNAPSHOT_RES_DONE) {
        return report(result);
    }
    if (restores) {
        printf("restored %" PRIu32 "\n", restores);
        return EXIT_RESTORED;
    }
    printf("saved\n");
    return EXIT_DONE;
}

/* A number as in C, all of @text */
static bool parse_number(const char *text, uint64_t *number)
{
    int end = 0, count;

    if (!strncmp(text, "0x", 2) || !strncmp(text, "0X", 2)) {
        count = sscanf(text, "%" SCNx64 "%n", number, &end);
    } else if (*text == '0') {
        count = sscanf(text, "%" SCNo64 "%n", number, &end);
    } else {
        count = sscanf(text, "%" SCNu64 "%n", number, &end);
    }
    return *text != '-' && count == 1 && !text[end];
}

/* The memory that "exclude" and "cover" are about, and the module */
static uint64_t start, length;
static const char *module;

static uint32_t exclude(SnapshotDevice *dev)
{
    return snapshot_exclude_physical(dev, start, length);
}

static uint32_t cover(SnapshotDevice *dev)
{
    return snapshot_cover(dev, start, length, 0);
}

static uint32_t cover_module(SnapshotDevice *dev)
{
    if (snapshot_cover_module(dev, module, 0) == 0) {
        return SNAPSHOT_RES_DONE;
    }
    fprintf(stderr, "snapctl: module %s: %s\n", module, strerror(errno));
    return errno == ENOSPC ? SNAPSHOT_RES_LIMIT : SNAPSHOT_RES_REFUSED;
}

static const char *yes_no(uint32_t flag)
{
    return flag ? "yes" : "no";
}

static void show_status(const SnapshotDevice *dev)
{
    SnapshotRegs regs;

    snapshot_query(dev, &regs);
    printf("armed: %s\n", yes_no(regs.status & SNAPSHOT_STATUS_ARMED));
    printf("pending: %s\n", yes_no(regs.status & SNAPSHOT_STATUS_PENDING));
    printf("verify: %s\n", yes_no(regs.status & SNAPSHOT_STATUS_VERIFY));
    printf("engine: %s\n", snapshot_engine_name(regs.engine));
    printf("last-result: %" PRIu32 " (%s)\n", regs.result,
           snapshot_strerror(regs.result));
    printf("restores: %" PRIu32 "\n", regs.restores);
    printf("verify-failures: %" PRIu32 "\n", regs.verify);
    printf("rejected-commands: %" PRIu32 "\n", regs.rejected);
    printf("levels: %" PRIu32 "\n", regs.levels);
    printf("pages-last: %" PRIu64 "\n", regs.pages);
    printf("pages-total: %" PRIu64 "\n", regs.pages_sum);
    printf("ns-last: %" PRIu64 "\n", regs.ns);
    printf("ram-bytes: %" PRIu64 "\n", regs.ram_bytes);
}

static void show_info(const SnapshotDevice *dev)
{
    const SnapshotPci *pci = snapshot_pci(dev);

    printf("address: %s\n", pci->address);
    printf("vendor: %04x\n", pci->vendor);
    printf("device: %04x\n", pci->device);
    printf("revision: %02x\n", pci->revision);
    printf("class: %04" PRIx32 "\n", pci->class_code >> 8);
    printf("command: %04x\n", pci->command);
    printf("bar0-address: %08" PRIx64 "\n", pci->bar_address);
    printf("bar0-size: %" PRIu64 "\n", pci->bar_size);
    printf("abi-version: %d\n", SNAPSHOT_ABI_VERSION);
}

/* What a command does: one of the three */
typedef struct Command {
    const char *name;
    uint32_t (*save)(SnapshotDevice *dev, uint32_t *restores);
    uint32_t (*carry_out)(SnapshotDevice *dev);
    void (*show)(const SnapshotDevice *dev);
} Command;

static const Command commands[] = {
    { "save", .save = snapshot_save },
    { "restore", .carry_out = snapshot_restore },
    { "push", .save = snapshot_push },
    { "pop", .carry_out = snapshot_pop },
    { "discard", .carry_out = snapshot_discard },
    { "exclude", .carry_out = exclude },
    { "include", .carry_out = snapshot_include },
    { "cover", .carry_out = cover },
    { "cover-module", .carry_out = cover_module },
    { "uncover", .carry_out = snapshot_uncover },
    { "status", .show = show_status },
    { "info", .show = show_info },
};

/* NULL: there is no such command */
static const Command *find_command(const char *name)
{
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (!strcmp(commands[i].name, name)) {
            return &commands[i];
        }
    }
    return NULL;
}

/* Returns false if @args are not those of @command. */
static bool parse_arguments(const Command *command, int count, char **args)
{
    if (command->carry_out == cover_module) {
        module = args[0];
        return count == 1;
    }
    if (command->carry_out != exclude && command->carry_out != cover) {
        return count == 0;
    }
    return count == 2 && parse_number(args[0], &start) &&
           parse_number(args[1], &length);
}

static int run(const Command *command, const char *address)
{
    SnapshotDevice *dev = snapshot_open(address);
    int ret = EXIT_DONE;

    if (!dev) {
        fprintf(stderr, "snapctl: %s\n", snapshot_open_strerror(errno));
        return EXIT_NO_DEVICE;
    }
    if (command->save) {
        uint32_t restores;
        uint32_t result = command->save(dev, &restores);

        ret = report_saved(result, restores);
    } else if (command->carry_out) {
        ret = report(command->carry_out(dev));
    } else {
        command->show(dev);
    }
    snapshot_close(dev);
    return ret;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        { "device", required_argument, NULL, 'd' },
        { "help", no_argument, NULL, 'h' },
        { }
    };
    const char *address = NULL;
    const Command *command;
    int c;

    while ((c = getopt_long(argc, argv, "d:h", options, NULL)) != -1) {
        switch (c) {
        case 'd':
            address = optarg;
            break;
        case 'h':
            fputs(usage, stdout);
            return EXIT_DONE;
        default:
            fputs(usage, stderr);
            return EXIT_USAGE;
        }
    }
    command = optind < argc ? find_command(argv[optind]) : NULL;
    if (optind < argc && !command) {
        fprintf(stderr, "snapctl: unknown command '%s'\n", argv[optind]);
    }
    if (!command ||
        !parse_arguments(command, argc - optind - 1, argv + optind + 1)) {
        fputs(usage, stderr);
        return EXIT_USAGE;
    }
    return run(command, address);
}
