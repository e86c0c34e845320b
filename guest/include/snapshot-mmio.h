/*
 * The snapshot device, given the address of its BAR: header-only.
 *
 * For bare-metal code, kernels and anything else that has mapped BAR 0 (of
 * SNAPSHOT_BAR_SIZE bytes, uncached) by its own means.  It needs a compiler
 * with the GNU builtins, <stdint.h> and nothing else, in C or in C++.
 * Programs under Linux use snapshot.h, which finds and maps the device.
 *
 * Why barriers stand around the command store.  The caller itself would not
 * need them: its registers are part of the snapshot, so a variable that the
 * compiler keeps in a register goes back to its saved value just as memory
 * does.  Everything around the caller does.  What other CPUs and devices see
 * is memory, and "before the save" must mean the same for them: a store that
 * precedes the save in the source has to have reached memory when the command
 * is carried out (or a restore brings back memory that lacks it), and a load
 * or store that follows may not be done early.  The fence orders the CPU, and
 * as a clobber of memory it makes the compiler write out what it holds in
 * registers before the command and read it again afterwards.
 *
 * Commands from several CPUs at once are safe for the machine, but then the
 * result that one of them reads may be another's: issue them from one CPU at
 * a time.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef SNAPSHOT_MMIO_H
#define SNAPSHOT_MMIO_H

#include <stdint.h>

#include "hw/misc/snapshot_regs.h"

/* The BAR; volatile, since each access is an event and not just a value. */
typedef volatile unsigned char SnapshotBar;

/* Registers are little endian, whatever the guest is. */
static inline uint32_t snapshot_mmio_le32(uint32_t value)
{
    if (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__) {
        value = __builtin_bswap32(value);
    }
    return value;
}

/*
 * Read the 32-bit register at @reg (SNAPSHOT_REG_..., bytes, multiple of 4).
 * A register that the device does not have reads as 0.
 */
static inline uint32_t snapshot_mmio_read32(const SnapshotBar *bar,
                                            unsigned int reg)
{
    /* volatile: the device may return another value each time */
    uint32_t value = *(const volatile uint32_t *)(bar + reg);

    return snapshot_mmio_le32(value);
}

/*
 * Read the 64-bit register at @reg (bytes, multiple of 8), as two halves so
 * that 32-bit guests can do it too.  The halves belong together as long as no
 * other CPU issues a command in between.
 */
static inline uint64_t snapshot_mmio_read64(const SnapshotBar *bar,
                                            unsigned int reg)
{
    uint64_t low = snapshot_mmio_read32(bar, reg);
    uint64_t high = snapshot_mmio_read32(bar, reg + 4);

    return high << 32 | low;
}

/*
 * Write the 64-bit register at @reg (bytes, multiple of 8), as two halves.
 */
static inline void snapshot_mmio_write64(SnapshotBar *bar, unsigned int reg,
                                         uint64_t value)
{
    /* volatile: the device must see both halves, and each of them once */
    volatile uint32_t *half = (volatile uint32_t *)(bar + reg);

    half[0] = snapshot_mmio_le32((uint32_t)value);
    half[1] = snapshot_mmio_le32((uint32_t)(value >> 32));
}

/* Issue @command (SNAPSHOT_CMD_...). */
static inline void snapshot_mmio_issue(SnapshotBar *bar, uint32_t command)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    /* volatile: the store is what triggers the command */
    *(volatile uint32_t *)(bar + SNAPSHOT_REG_COMMAND) =
        snapshot_mmio_le32(command);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/*
 * Issue @command and return its result: SNAPSHOT_RES_DONE, or another
 * SNAPSHOT_RES_... if the device did not carry it out.
 */
static inline uint32_t snapshot_mmio_command(SnapshotBar *bar,
                                             uint32_t command)
{
    snapshot_mmio_issue(bar, command);
    return snapshot_mmio_read32(bar, SNAPSHOT_REG_RESULT);
}

/*
 * How often the machine has been restored since the save: 0 up to the first
 * restore.  This register is not rewound, so it tells the restored guest from
 * the one that has just saved.
 */
static inline uint32_t snapshot_mmio_restores(const SnapshotBar *bar)
{
    return snapshot_mmio_read32(bar, SNAPSHOT_REG_RESTORES);
}

/*
 * Save the machine.  Returns SNAPSHOT_RES_DONE once after the save and again
 * after each restore; snapshot_mmio_restores() tells which.  Another value
 * after the save means that there is no new snapshot, and after a restore
 * (SNAPSHOT_RES_VERIFY) that the machine is not quite as it was.
 */
static inline uint32_t snapshot_mmio_save(SnapshotBar *bar)
{
    return snapshot_mmio_command(bar, SNAPSHOT_CMD_SAVE);
}

/*
 * Save the machine on top of what was saved before, which is kept; without a
 * snapshot this is snapshot_mmio_save().  Returns as that does: once after the
 * push and again after each restore, and SNAPSHOT_RES_LIMIT if there are too
 * many levels.
 */
static inline uint32_t snapshot_mmio_push(SnapshotBar *bar)
{
    return snapshot_mmio_command(bar, SNAPSHOT_CMD_PUSH);
}

/*
 * Forget the topmost level and restore the one below: execution goes on in the
 * snapshot_mmio_save() or snapshot_mmio_push() that made it.  Returns only if
 * that failed; SNAPSHOT_RES_NONE: there is no level below.
 */
static inline uint32_t snapshot_mmio_pop(SnapshotBar *bar)
{
    return snapshot_mmio_command(bar, SNAPSHOT_CMD_POP);
}

/* How many levels there are: 0 without a snapshot, 1 after a save. */
static inline uint32_t snapshot_mmio_levels(const SnapshotBar *bar)
{
    return snapshot_mmio_read32(bar, SNAPSHOT_REG_LEVELS);
}

/*
 * Have restores leave @length bytes at the guest-physical address @start alone
 * (both in whole pages of the host: 4096), from now on and in addition to what
 * is excluded already.  Returns SNAPSHOT_RES_DONE, SNAPSHOT_RES_RANGE if that
 * is not RAM, SNAPSHOT_RES_LIMIT if there are too many ranges, or another
 * SNAPSHOT_RES_....
 */
static inline uint32_t snapshot_mmio_exclude(SnapshotBar *bar, uint64_t start,
                                             uint64_t length)
{
    snapshot_mmio_write64(bar, SNAPSHOT_REG_START, start);
    snapshot_mmio_write64(bar, SNAPSHOT_REG_LENGTH, length);
    return snapshot_mmio_command(bar, SNAPSHOT_CMD_EXCLUDE);
}

/*
 * Have restores put back all memory again.  Returns SNAPSHOT_RES_DONE or
 * another SNAPSHOT_RES_....
 */
static inline uint32_t snapshot_mmio_include(SnapshotBar *bar)
{
    return snapshot_mmio_command(bar, SNAPSHOT_CMD_INCLUDE);
}

/*
 * In runs, count edges of the code in @length bytes at the linear address
 * @start, too; @flags: 0, or SNAPSHOT_COVER_HERE for this process only.
 * Returns SNAPSHOT_RES_DONE; SNAPSHOT_RES_REFUSED if the device does not count
 * (coverage=tcg), or runs have begun; SNAPSHOT_RES_RANGE, SNAPSHOT_RES_LIMIT.
 */
static inline uint32_t snapshot_mmio_cover(SnapshotBar *bar, uint64_t start,
                                           uint64_t length, uint32_t flags)
{
    snapshot_mmio_write64(bar, SNAPSHOT_REG_START, start);
    snapshot_mmio_write64(bar, SNAPSHOT_REG_LENGTH, length);
    /* volatile: the store is what sets it */
    *(volatile uint32_t *)(bar + SNAPSHOT_REG_COVER_FLAGS) =
        snapshot_mmio_le32(flags);
    return snapshot_mmio_command(bar, SNAPSHOT_CMD_COVER);
}

/*
 * Count edges of no code.  Returns SNAPSHOT_RES_DONE or another
 * SNAPSHOT_RES_....
 */
static inline uint32_t snapshot_mmio_uncover(SnapshotBar *bar)
{
    return snapshot_mmio_command(bar, SNAPSHOT_CMD_UNCOVER);
}

/*
 * Restore the machine: execution goes on in the snapshot_mmio_save() or
 * snapshot_mmio_push() that made the topmost level.  Returns only if that
 * failed, with a SNAPSHOT_RES_... other than SNAPSHOT_RES_DONE; the machine
 * then is as it was before the call.
 */
static inline uint32_t snapshot_mmio_restore(SnapshotBar *bar)
{
    return snapshot_mmio_command(bar, SNAPSHOT_CMD_RESTORE);
}

/*
 * Drop the snapshot, its levels and what is excluded, and with it what keeping
 * one costs the host.  Returns SNAPSHOT_RES_DONE or another SNAPSHOT_RES_....
 */
static inline uint32_t snapshot_mmio_discard(SnapshotBar *bar)
{
    return snapshot_mmio_command(bar, SNAPSHOT_CMD_DISCARD);
}

#endif
