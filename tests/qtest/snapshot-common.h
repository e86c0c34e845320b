/*
 * Helpers shared by the qtests of machine snapshots.
 *
 * A Snap is a QEMU with a "snapshot" device whose registers are mapped.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_QTEST_SNAPSHOT_COMMON_H
#define TESTS_QTEST_SNAPSHOT_COMMON_H

#include "qemu/units.h"
#include "libqtest.h"
#include "libqos/generic-pcihost.h"
#include "libqos/pci.h"
#include "hw/misc/snapshot_regs.h"

typedef struct Snap {
    QTestState *qts;
    QPCIBus *bus;
    QGenericPCIBus arm_bus; /* what @bus points into, for Arm */
    QPCIDevice *dev;        /* the snapshot device */
    QPCIBar bar;
    char *log;              /* name of the file that takes QEMU's stderr */
} Snap;

/**
 * snap_start: start QEMU with these arguments, and map its snapshot device
 *
 * The machine is a PC or, with qemu-system-aarch64, "virt" with a 64-bit CPU.
 * End it with snap_end().
 */
Snap *snap_start(const char *fmt, ...) G_GNUC_PRINTF(1, 2);

/**
 * snap_start_engine: start a small pc that keeps RAM so, and verifies
 * @engine: value of engine=, with other properties behind it if need be
 *
 * The device's id is "s0".
 */
Snap *snap_start_engine(const char *engine);

/**
 * snap_add_for_engines: add a test for each way to keep RAM
 * @path: of the test, without "/snapshot/" and the name of the engine
 * @fn: called with that name
 */
void snap_add_for_engines(const char *path, void (*fn)(const void *));

/**
 * snap_end: end QEMU, which must not have crashed, and free @s
 */
void snap_end(Snap *s);

/**
 * snap_log: what QEMU has written to stderr so far; free with g_free()
 */
char *snap_log(const Snap *s);

/**
 * snap_find: the PCI device with this identity on bus 0, or NULL
 *
 * Free it with g_free().
 */
QPCIDevice *snap_find(QPCIBus *bus, uint16_t vendor, uint16_t device);

/**
 * snap_enable: map the registers of @s->dev (again)
 */
void snap_enable(Snap *s);

/**
 * snap_reg, snap_reg64: read a register
 */
uint32_t snap_reg(const Snap *s, uint64_t reg);
uint64_t snap_reg64(const Snap *s, uint64_t reg);

/**
 * snap_command: write @command, wait for its end, return the result
 */
uint32_t snap_command(const Snap *s, uint32_t command);

/**
 * snap_save, snap_restore: a command that must succeed
 */
void snap_save(const Snap *s);
void snap_restore(const Snap *s);

/**
 * snap_query: what x-snapshot-device-query returns
 */
QDict *snap_query(QTestState *qts);

/**
 * snap_query_int: one number of it
 */
int64_t snap_query_int(QTestState *qts, const char *key);

/**
 * snap_section: how often restores have done @key to the section @name
 * @key: "loads", "serialised" or "resets"
 */
int64_t snap_section(QTestState *qts, const char *name, const char *key);

/**
 * snap_qmp_error: run a QMP command that must fail, return its message
 *
 * Free the message with g_free().
 */
char *snap_qmp_error(QTestState *qts, const char *fmt, ...)
    G_GNUC_PRINTF(2, 3);

/**
 * snap_run: run QEMU, which quits as soon as the machine is there
 * @expected_status: 0, or 1 if the arguments shall be refused
 *
 * Returns all that it has printed; free with g_free().
 */
char *snap_run(int expected_status, const char *fmt, ...)
    G_GNUC_PRINTF(2, 3);

/**
 * snap_assert_contains: fail, showing both, unless @text contains @part
 */
#define snap_assert_contains(text, part) \
    snap_assert_contains_at(__FILE__, __LINE__, text, part)
void snap_assert_contains_at(const char *file, int line, const char *text,
                             const char *part);

#endif
