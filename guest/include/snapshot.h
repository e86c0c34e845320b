/*
 * libsnapshot: save and restore the machine from a program inside it.
 *
 * The program runs in a guest whose QEMU has "-device snapshot":
 *
 *     SnapshotDevice *dev = snapshot_open(NULL);
 *     uint32_t restores;
 *
 *     if (!dev || snapshot_save(dev, &restores) != SNAPSHOT_RES_DONE) {
 *         ... errno, or the result, tells why ...
 *     }
 *     ... runs once after the save, and again after each restore ...
 *     snapshot_restore(dev);
 *
 * All of the machine goes back: memory, CPUs, devices, clocks, and with them
 * the program, every other program and the kernel.  The host and the registers
 * of the device do not.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef SNAPSHOT_H
#define SNAPSHOT_H

#include <stddef.h>
#include <stdint.h>

#include "snapshot-mmio.h"

/* On two lines, since checkpatch.pl takes this macro for an architecture's */
#if defined( \
    __cplusplus)
extern "C" {
#endif

/* An open device.  One thread at a time may use it. */
typedef struct SnapshotDevice SnapshotDevice;

/* Where the device is and what it says of itself, from its PCI header */
typedef struct SnapshotPci {
    char address[16];       /* "0000:00:04.0" */
    uint16_t vendor;
    uint16_t device;
    uint8_t revision;
    uint32_t class_code;    /* base class, subclass, interface: 0xBBSSII */
    uint16_t command;       /* the command register; bit 1: memory enabled */
    uint64_t bar_address;   /* guest physical */
    uint64_t bar_size;      /* bytes */
} SnapshotPci;

/* All registers.  They belong to the device and survive a restore. */
typedef struct SnapshotRegs {
    uint32_t result;        /* of the last command: SNAPSHOT_RES_... */
    uint32_t abi;           /* SNAPSHOT_ABI_VERSION */
    uint32_t restores;      /* since the save */
    uint32_t status;        /* SNAPSHOT_STATUS_... bits */
    uint32_t engine;        /* SNAPSHOT_ENGINE_..., of the snapshot */
    uint32_t verify;        /* restores after which something differed */
    uint64_t pages;         /* put back by the last restore */
    uint64_t pages_sum;     /* put back since the save */
    uint64_t ns;            /* host time of the last restore, nanoseconds */
    uint64_t ram_bytes;     /* RAM in the snapshot */
    uint32_t rejected;      /* commands that did nothing */
    uint32_t levels;        /* saved instants, one on another */
    uint64_t start;         /* of the last range to exclude */
    uint64_t length;
} SnapshotRegs;

/*
 * Find the device by its PCI ids, switch its memory on if firmware did not,
 * and map it.
 *
 * @address: NULL if the machine has one such device; else which of them, as
 * in /sys/bus/pci/devices ("0000:00:04.0").
 *
 * Returns the device, to be closed with snapshot_close(), or NULL and errno:
 *   ENODEV    there is none (or none at @address)
 *   ENOTUNIQ  there are several and @address is NULL
 *   EACCES    no permission for resource0 or enable: see guest/README.md
 *   EPROTO    the device speaks another version of the interface
 *   and whatever open(), mmap() and malloc() report
 */
SnapshotDevice *snapshot_open(const char *address);

/* The same with sysfs mounted at @sysfs instead of "/sys". */
SnapshotDevice *snapshot_open_sysfs(const char *sysfs, const char *address);

/* Unmap and free @dev, which may be NULL.  A snapshot stays in the device. */
void snapshot_close(SnapshotDevice *dev);

/*
 * Save the machine, replacing the snapshot if there is one, with all levels.
 *
 * Returns twice or more, as setjmp() does: once after the save and again after
 * every restore.  *@restores (may be NULL) is 0 after the save and n after the
 * nth restore.  Unlike with setjmp(), local variables have the values they had
 * at the save, whatever their storage.
 *
 * Returns SNAPSHOT_RES_DONE, or another SNAPSHOT_RES_...: after the save, that
 * there is no new snapshot; after a restore (SNAPSHOT_RES_VERIFY), that the
 * restored machine is not quite what was saved.
 */
uint32_t snapshot_save(SnapshotDevice *dev, uint32_t *restores);

/*
 * Save the machine on top of what was saved before, which is kept: another
 * level.  Without a snapshot the same as snapshot_save(), and it returns as
 * that does; *@restores counts the restores of this level.  The result is
 * SNAPSHOT_RES_LIMIT if there are too many levels (16).
 */
uint32_t snapshot_push(SnapshotDevice *dev, uint32_t *restores);

/*
 * Forget the topmost level and restore the one below: execution goes on with
 * the return of the snapshot_save() or snapshot_push() that made it.  Returns
 * only if the device did not do it, with the SNAPSHOT_RES_... that says why:
 * SNAPSHOT_RES_NONE if there is no level below.
 */
uint32_t snapshot_pop(SnapshotDevice *dev);

/* How many levels there are: 0 without a snapshot, 1 after a save. */
uint32_t snapshot_levels(const SnapshotDevice *dev);

/*
 * Have restores leave memory of this process alone: a counter, a log, a
 * coverage map.  From now on, for this snapshot and later ones, and in addition
 * to what is excluded already; snapshot_include() and snapshot_discard() end
 * it.  A save does save that memory.
 *
 * @memory, @size: whole pages (bytes, multiples of the page size) that
 * can be written to.  They are locked, and stay so.
 *
 * Returns 0, or -1 and errno; some of the memory may be excluded then:
 *   EINVAL  not whole pages, or not RAM (the memory of a device)
 *   EPERM   not root: the kernel does not say where pages are (/proc/self/
 *           pagemap, CAP_SYS_ADMIN)
 *   ENOSPC  too many separate ranges: use fewer, or huge pages
 *   EBUSY   another CPU's command is being carried out: try again
 *   and whatever mlock(), open() and read() report
 *
 * What is excluded is where the pages are now.  The kernel moves locked pages
 * rarely, to compact memory: "sysctl vm.compact_unevictable_allowed=0" keeps it
 * from that.  After a fork(), a page belongs to whom it belongs; exclude in the
 * process that writes, or share the memory.
 */
int snapshot_exclude(SnapshotDevice *dev, void *memory, size_t size);

/*
 * The same by guest-physical addresses: @length bytes at @start.  Returns
 * SNAPSHOT_RES_DONE, SNAPSHOT_RES_RANGE if that is not whole pages of RAM,
 * SNAPSHOT_RES_LIMIT, or another SNAPSHOT_RES_....
 */
uint32_t snapshot_exclude_physical(SnapshotDevice *dev, uint64_t start,
                                   uint64_t length);

/*
 * Have restores put back all memory again.  Returns SNAPSHOT_RES_DONE or
 * another SNAPSHOT_RES_....
 */
uint32_t snapshot_include(SnapshotDevice *dev);

/*
 * Coverage of code that was not compiled for it: have the device count edges
 * in the coverage map of runs (snapshot-run.h).  QEMU is started with
 * "-device snapshot,coverage=tcg,..." and TCG.  All of this comes before the
 * first input, and adds to what is counted already.
 *
 * @flags: 0; or SNAPSHOT_COVER_HERE, which counts only what runs with the page
 * tables of the calling process, the kernel on its behalf included.  That can
 * be one process: the last that has asked.
 *
 * The first: @length bytes at the linear (virtual) address @start.  Returns
 * SNAPSHOT_RES_DONE; SNAPSHOT_RES_REFUSED if the device does not count, or
 * runs have begun; SNAPSHOT_RES_RANGE or SNAPSHOT_RES_LIMIT.
 */
uint32_t snapshot_cover(SnapshotDevice *dev, uint64_t start, uint64_t length,
                        uint32_t flags);

/*
 * The same for the code of a loaded kernel module, by name, and for that of
 * the calling program, with what it is statically linked with.  Return 0, or -1
 * and errno:
 *   ENOENT   there is no such module, or it is built in
 *   EACCES, EPERM   not root, or the kernel hides addresses; or EPERM: the
 *            device does not count (coverage=tcg), or runs have begun
 *   ENOSPC   there are too many ranges
 *   EBUSY    another CPU's command is being carried out: try again
 *   EIO      the device is older than this
 *   and whatever open() and read() report
 */
int snapshot_cover_module(SnapshotDevice *dev, const char *module,
                          uint32_t flags);
int snapshot_cover_program(SnapshotDevice *dev);

/*
 * Have the device count edges of no code.  Returns SNAPSHOT_RES_DONE, or
 * SNAPSHOT_RES_REFUSED when runs have begun.
 */
uint32_t snapshot_uncover(SnapshotDevice *dev);

/*
 * Restore the machine: execution goes on with the return of snapshot_save() or
 * snapshot_push(), whichever made the topmost level, even if that was called by
 * another program.  Returns only if the device did
 * not do it, with the SNAPSHOT_RES_... that says why.  Nothing has changed
 * then, except after SNAPSHOT_RES_DEVICE: RAM is back but a device is not, and
 * which of the two calls returns depends on what failed.
 */
uint32_t snapshot_restore(SnapshotDevice *dev);

/*
 * Drop the snapshot, its levels and what is excluded, and with it the host
 * memory and the page tracking that it costs.  Returns SNAPSHOT_RES_DONE or
 * another SNAPSHOT_RES_....
 */
uint32_t snapshot_discard(SnapshotDevice *dev);

/* How often the machine has been restored since the save. */
uint32_t snapshot_restores(const SnapshotDevice *dev);

/* Read all registers into @regs. */
void snapshot_query(const SnapshotDevice *dev, SnapshotRegs *regs);

/* What @dev is and where.  Valid until snapshot_close(). */
const SnapshotPci *snapshot_pci(const SnapshotDevice *dev);

/* The mapped BAR, for snapshot-mmio.h.  Valid until snapshot_close(). */
SnapshotBar *snapshot_bar(const SnapshotDevice *dev);

/* One line on what @result (SNAPSHOT_RES_...) means; a constant string. */
const char *snapshot_strerror(uint32_t result);

/*
 * One line on why snapshot_open() failed with errno @error: what to do, for
 * the values named there, else strerror()'s.
 */
const char *snapshot_open_strerror(int error);

/* The name of @engine (SNAPSHOT_ENGINE_...): "copy", "remap", "none". */
const char *snapshot_engine_name(uint32_t engine);

#if defined( \
    __cplusplus)
}
#endif

#endif
