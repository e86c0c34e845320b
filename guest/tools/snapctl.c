/*
 * snapctl: the snapshot device from the guest's shell.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
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
    "usage: snapctl [--device ADDRESS] COMMAND\n"
    "\n"
    "  save      save the machine: memory, CPUs, devices, clocks\n"
    "  restore   bring the machine back into the 'snapctl save' that saved it\n"
    "  discard   drop the snapshot\n"
    "  status    show the registers of the device\n"
    "  info      show where the device is and what it says of itself\n"
    "\n"
    "  -d, --device ADDRESS   which device, if the machine has several, as in\n"
    "                         /sys/bus/pci/devices (0000:00:04.0)\n"
    "  -h, --help             show this text\n"
    "\n"
    "Exit codes:\n"
    "  0    done; for 'save': saved\n"
    "  1    the device did not do it; standard error says why\n"
    "  2    wrong usage\n"
    "  3    no device that can be used; standard error says why\n"
    "  10   'save' only: back from a restore, the number of which is printed\n";

static int report(uint32_t result)
{
    if (result == SNAPSHOT_RES_DONE) {
        return EXIT_DONE;
    }
    fprintf(stderr, "snapctl: error %" PRIu32 ": %s\n", result,
            snapshot_strerror(result));
    return EXIT_REFUSED;
}

static int do_save(SnapshotDevice *dev)
{
    uint32_t restores;
    uint32_t result = snapshot_save(dev, &restores);

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

static int do_restore(SnapshotDevice *dev)
{
    return report(snapshot_restore(dev));
}

static int do_discard(SnapshotDevice *dev)
{
    return report(snapshot_discard(dev));
}

static const char *yes_no(uint32_t flag)
{
    return flag ? "yes" : "no";
}

static int do_status(SnapshotDevice *dev)
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
    printf("pages-last: %" PRIu64 "\n", regs.pages);
    printf("pages-total: %" PRIu64 "\n", regs.pages_sum);
    printf("ns-last: %" PRIu64 "\n", regs.ns);
    printf("ram-bytes: %" PRIu64 "\n", regs.ram_bytes);
    return EXIT_DONE;
}

static int do_info(SnapshotDevice *dev)
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
    return EXIT_DONE;
}

static const struct {
    const char *name;
    int (*run)(SnapshotDevice *dev);
} commands[] = {
    { "save", do_save },
    { "restore", do_restore },
    { "discard", do_discard },
    { "status", do_status },
    { "info", do_info },
};

static int run(const char *name, const char *address)
{
    SnapshotDevice *dev;
    size_t i = 0;
    int ret;

    while (i < sizeof(commands) / sizeof(commands[0]) &&
           strcmp(commands[i].name, name)) {
        i++;
    }
    if (i == sizeof(commands) / sizeof(commands[0])) {
        fprintf(stderr, "snapctl: unknown command '%s'\n%s", name, usage);
        return EXIT_USAGE;
    }
    dev = snapshot_open(address);
    if (!dev) {
        fprintf(stderr, "snapctl: %s\n", snapshot_open_strerror(errno));
        return EXIT_NO_DEVICE;
    }
    ret = commands[i].run(dev);
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
    if (optind != argc - 1) {
        fputs(usage, stderr);
        return EXIT_USAGE;
    }
    return run(argv[optind], address);
}
