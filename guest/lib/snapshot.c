/*
 * libsnapshot: commands and registers of an open device.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <string.h>

#include "device.h"

/* A command that returns again after each restore */
static uint32_t save_by(SnapshotDevice *dev, uint32_t command,
                        uint32_t *restores)
{
    uint32_t result;

    snapshot_await_tick(dev->bar);
    result = snapshot_mmio_command(dev->bar, command);
    if (restores) {
        *restores = snapshot_mmio_restores(dev->bar);
    }
    return result;
}

uint32_t snapshot_save(SnapshotDevice *dev, uint32_t *restores)
{
    return save_by(dev, SNAPSHOT_CMD_SAVE, restores);
}

uint32_t snapshot_push(SnapshotDevice *dev, uint32_t *restores)
{
    return save_by(dev, SNAPSHOT_CMD_PUSH, restores);
}

uint32_t snapshot_pop(SnapshotDevice *dev)
{
    return snapshot_mmio_pop(dev->bar);
}

uint32_t snapshot_levels(const SnapshotDevice *dev)
{
    return snapshot_mmio_levels(dev->bar);
}

uint32_t snapshot_restore(SnapshotDevice *dev)
{
    return snapshot_mmio_restore(dev->bar);
}

uint32_t snapshot_discard(SnapshotDevice *dev)
{
    return snapshot_mmio_discard(dev->bar);
}

uint32_t snapshot_restores(const SnapshotDevice *dev)
{
    return snapshot_mmio_restores(dev->bar);
}

void snapshot_query(const SnapshotDevice *dev, SnapshotRegs *regs)
{
    const SnapshotBar *bar = dev->bar;

    *regs = (SnapshotRegs) {
        .result = snapshot_mmio_read32(bar, SNAPSHOT_REG_RESULT),
        .abi = snapshot_mmio_read32(bar, SNAPSHOT_REG_ABI),
        .restores = snapshot_mmio_read32(bar, SNAPSHOT_REG_RESTORES),
        .status = snapshot_mmio_read32(bar, SNAPSHOT_REG_STATUS),
        .engine = snapshot_mmio_read32(bar, SNAPSHOT_REG_ENGINE),
        .verify = snapshot_mmio_read32(bar, SNAPSHOT_REG_VERIFY),
        .pages = snapshot_mmio_read64(bar, SNAPSHOT_REG_PAGES),
        .pages_sum = snapshot_mmio_read64(bar, SNAPSHOT_REG_PAGES_SUM),
        .ns = snapshot_mmio_read64(bar, SNAPSHOT_REG_NS),
        .ram_bytes = snapshot_mmio_read64(bar, SNAPSHOT_REG_RAM_BYTES),
        .rejected = snapshot_mmio_read32(bar, SNAPSHOT_REG_REJECTED),
        .levels = snapshot_mmio_read32(bar, SNAPSHOT_REG_LEVELS),
        .start = snapshot_mmio_read64(bar, SNAPSHOT_REG_START),
        .length = snapshot_mmio_read64(bar, SNAPSHOT_REG_LENGTH),
    };
}

const SnapshotPci *snapshot_pci(const SnapshotDevice *dev)
{
    return &dev->pci;
}

SnapshotBar *snapshot_bar(const SnapshotDevice *dev)
{
    return dev->bar;
}

const char *snapshot_strerror(uint32_t result)
{
    switch (result) {
    case SNAPSHOT_RES_DONE:
        return "done";
    case SNAPSHOT_RES_PENDING:
        return "another CPU's command is being carried out";
    case SNAPSHOT_RES_UNKNOWN:
        return "the device does not know the command";
    case SNAPSHOT_RES_NONE:
        return "there is no snapshot, or no level below: save first";
    case SNAPSHOT_RES_BUSY:
        return "another command was pending: try again";
    case SNAPSHOT_RES_REFUSED:
        return "refused: the machine has something that cannot be restored "
               "(QEMU's query names it), or QEMU's -device snapshot lacks an "
               "option for it, or runs have begun";
    case SNAPSHOT_RES_NOMEM:
        return "the host ran out of memory or file space";
    case SNAPSHOT_RES_IO:
        return "the host could not read or write the snapshot file";
    case SNAPSHOT_RES_DEVICE:
        return "a device of the machine could not be saved or loaded";
    case SNAPSHOT_RES_VERIFY:
        return "the restored machine differs from the saved one";
    case SNAPSHOT_RES_RANGE:
        return "that is not whole pages of RAM, or no range of code";
    case SNAPSHOT_RES_LIMIT:
        return "there are too many levels, or ranges";
    default:
        return "unknown result";
    }
}

int snapshot_to_errno(uint32_t result)
{
    switch (result) {
    case SNAPSHOT_RES_DONE:
        return 0;
    case SNAPSHOT_RES_RANGE:
        errno = EINVAL;
        return -1;
    case SNAPSHOT_RES_LIMIT:
        errno = ENOSPC;
        return -1;
    case SNAPSHOT_RES_BUSY:
        errno = EBUSY;
        return -1;
    case SNAPSHOT_RES_REFUSED:
        errno = EPERM;
        return -1;
    default:
        errno = EIO;
        return -1;
    }
}

const char *snapshot_open_strerror(int error)
{
    switch (error) {
    case ENODEV:
        return "no snapshot device here: start QEMU with -device snapshot";
    case ENOTUNIQ:
        return "several snapshot devices: name the PCI address of one";
    case EACCES:
        return "no permission to use the device: be root, or install the "
               "udev rule and join its group";
    case EPROTO:
        return "the device has another version of the interface: use the "
               "library that belongs to this QEMU";
    case ENOTSUP:
        return "SNAPSHOT_KCOV is set, and this kernel has no KCOV "
               "(CONFIG_KCOV): -device snapshot,coverage=tcg counts edges of "
               "any kernel";
    default:
        return strerror(error);
    }
}

const char *snapshot_engine_name(uint32_t engine)
{
    switch (engine) {
    case SNAPSHOT_ENGINE_NONE:
        return "none";
    case SNAPSHOT_ENGINE_COPY:
        return "copy";
    case SNAPSHOT_ENGINE_REMAP:
        return "remap";
    default:
        return "unknown";
    }
}
