/*
 * Device "snapshot": registers (BAR 0), which docs/specs/snapshot.rst
 * describes.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "hw/misc/snapshot_regs.h"
#include "migration/snapshot-coverage.h"
#include "qapi/error.h"
#include "qemu/bitops.h"
#include "qemu/log.h"
#include "qemu/timer.h"
#include "coverage-qemu.h"
#include "registers.h"
#include "trace.h"

QEMU_BUILD_BUG_ON((int)SNAPSHOT_RESULT_DONE != SNAPSHOT_RES_DONE);
QEMU_BUILD_BUG_ON((int)SNAPSHOT_RESULT_PENDING != SNAPSHOT_RES_PENDING);
QEMU_BUILD_BUG_ON((int)SNAPSHOT_RESULT_UNKNOWN != SNAPSHOT_RES_UNKNOWN);
QEMU_BUILD_BUG_ON((int)SNAPSHOT_RESULT_NONE != SNAPSHOT_RES_NONE);
QEMU_BUILD_BUG_ON((int)SNAPSHOT_RESULT_BUSY != SNAPSHOT_RES_BUSY);
QEMU_BUILD_BUG_ON((int)SNAPSHOT_RESULT_REFUSED != SNAPSHOT_RES_REFUSED);
QEMU_BUILD_BUG_ON((int)SNAPSHOT_RESULT_NOMEM != SNAPSHOT_RES_NOMEM);
QEMU_BUILD_BUG_ON((int)SNAPSHOT_RESULT_IO != SNAPSHOT_RES_IO);
QEMU_BUILD_BUG_ON((int)SNAPSHOT_RESULT_DEVICE != SNAPSHOT_RES_DEVICE);
QEMU_BUILD_BUG_ON((int)SNAPSHOT_RESULT_VERIFY != SNAPSHOT_RES_VERIFY);
QEMU_BUILD_BUG_ON((int)SNAPSHOT_RESULT_RANGE != SNAPSHOT_RES_RANGE);
QEMU_BUILD_BUG_ON((int)SNAPSHOT_RESULT_LIMIT != SNAPSHOT_RES_LIMIT);

/* Did the command leave snapshot and machine as they were? */
static bool did_nothing(SnapshotResult result)
{
    return result != SNAPSHOT_RESULT_DONE &&
           result != SNAPSHOT_RESULT_PENDING &&
           result != SNAPSHOT_RESULT_DEVICE &&
           result != SNAPSHOT_RESULT_VERIFY;
}

static void set_result(SnapshotRegs *r, SnapshotResult result)
{
    trace_snapshot_device_result(result);
    r->result = result;
    snapshot_shared_set_result(r->shared, result);
    r->returns = snapshot_counters()->returns;
    r->rejected += did_nothing(result);
}

void snapshot_regs_done(void *opaque, SnapshotResult result)
{
    set_result(opaque, result);
}

/* Hand @op to the engine, unless it would take away what runs stand on. */
static SnapshotResult engine_command(SnapshotRegs *r, SnapshotOp op)
{
    if (snapshot_runs_forbid(r->runs, op)) {
        return SNAPSHOT_RESULT_REFUSED;
    }
    return snapshot_submit(op, snapshot_regs_done, r);
}

/* Add a range of code whose edges count, or forget all. */
static SnapshotResult cover(SnapshotRegs *r, uint64_t command, Error **errp)
{
    if (snapshot_runs_begun(r->runs)) {
        error_setg(errp, "runs have begun, and are all to count the same; name "
                   "code before the first input");
        return SNAPSHOT_RESULT_REFUSED;
    }
    if (command == SNAPSHOT_CMD_UNCOVER) {
        snapshot_coverage_clear();
        return SNAPSHOT_RESULT_DONE;
    }
    return snapshot_coverage_add(r->start, r->length,
                                 r->cover_flags & SNAPSHOT_COVER_HERE, errp);
}

static void carry_out(SnapshotRegs *r, uint64_t command)
{
    SnapshotResult res;
    Error *err = NULL;

    switch (command) {
    case SNAPSHOT_CMD_SAVE:
        res = engine_command(r, SNAPSHOT_OP_SAVE);
        break;
    case SNAPSHOT_CMD_RESTORE:
        res = engine_command(r, SNAPSHOT_OP_RESTORE);
        break;
    case SNAPSHOT_CMD_PUSH:
        res = engine_command(r, SNAPSHOT_OP_PUSH);
        break;
    case SNAPSHOT_CMD_POP:
        res = engine_command(r, SNAPSHOT_OP_POP);
        break;
    case SNAPSHOT_CMD_DISCARD:
        res = engine_command(r, SNAPSHOT_OP_DISCARD);
        break;
    case SNAPSHOT_CMD_EXCLUDE:
        res = snapshot_exclude(r->start, r->length, &err);
        break;
    case SNAPSHOT_CMD_INCLUDE:
        res = snapshot_include_all(&err);
        break;
    case SNAPSHOT_CMD_NEXT:
    case SNAPSHOT_CMD_DONE:
    case SNAPSHOT_CMD_CRASH:
        res = snapshot_runs_command(r->runs, command);
        break;
    case SNAPSHOT_CMD_COVER:
    case SNAPSHOT_CMD_UNCOVER:
        res = cover(r, command, &err);
        break;
    default:
        qemu_log_mask(LOG_GUEST_ERROR, "snapshot: unknown command 0x%" PRIx64
                      "\n", command);
        res = SNAPSHOT_RESULT_UNKNOWN;
    }
    if (err) {
        qemu_log_mask(LOG_GUEST_ERROR, "snapshot: %s\n",
                      error_get_pretty(err));
        error_free(err);
    }
    set_result(r, res);
}

static uint32_t read32(SnapshotRegs *r, hwaddr addr)
{
    const SnapshotCounters *c = snapshot_counters();
    const uint32_t *run_reg = snapshot_runs_reg(r->runs, addr);

    if (r->returns != c->returns) {
        /* Somebody else's restore brought the guest back to its save. */
        r->returns = c->returns;
        r->result = c->returned;
    }

    switch (addr) {
    case SNAPSHOT_REG_RESULT:
        return r->result;
    case SNAPSHOT_REG_ABI:
        return SNAPSHOT_ABI_VERSION;
    case SNAPSHOT_REG_RESTORES:
        return c->restores;
    case SNAPSHOT_REG_STATUS:
        return (c->armed ? SNAPSHOT_STATUS_ARMED : 0) |
               (snapshot_pending() ? SNAPSHOT_STATUS_PENDING : 0) |
               (c->verify ? SNAPSHOT_STATUS_VERIFY : 0);
    case SNAPSHOT_REG_ENGINE:
        return !c->armed ? SNAPSHOT_ENGINE_NONE
               : c->engine == SNAPSHOT_DEVICE_ENGINE_REMAP
               ? SNAPSHOT_ENGINE_REMAP : SNAPSHOT_ENGINE_COPY;
    case SNAPSHOT_REG_VERIFY:
        return c->verify_failures;
    case SNAPSHOT_REG_REJECTED:
        return r->rejected;
    case SNAPSHOT_REG_LEVELS:
        return c->levels;
    case SNAPSHOT_REG_TIMER:
        return MIN(snapshot_next_timer() / SCALE_US, UINT32_MAX);
    case SNAPSHOT_REG_HOST:
        return snapshot_runs_host(r->runs);
    case SNAPSHOT_REG_COVERAGE:
        return snapshot_coverage_available() ? SNAPSHOT_COVERAGE_TCG
               : snapshot_coverage_qemu_available() ? SNAPSHOT_COVERAGE_QEMU
               : SNAPSHOT_COVERAGE_NONE;
    case SNAPSHOT_REG_COVER_FLAGS:
        return r->cover_flags;
    default:
        return run_reg ? *run_reg : 0;
    }
}

/* Registers of 64 bits, which may be read in halves */
static bool read64(const SnapshotRegs *r, hwaddr addr, uint64_t *val)
{
    const SnapshotCounters *c = snapshot_counters();

    switch (addr) {
    case SNAPSHOT_REG_PAGES:
        *val = c->pages_last;
        return true;
    case SNAPSHOT_REG_PAGES_SUM:
        *val = c->pages_total;
        return true;
    case SNAPSHOT_REG_NS:
        *val = c->restore_ns;
        return true;
    case SNAPSHOT_REG_RAM_BYTES:
        *val = c->ram_bytes;
        return true;
    case SNAPSHOT_REG_START:
        *val = r->start;
        return true;
    case SNAPSHOT_REG_RUNS:
        *val = snapshot_runs_ended(r->runs);
        return true;
    case SNAPSHOT_REG_LENGTH:
        *val = r->length;
        return true;
    default:
        return false;
    }
}

static uint64_t regs_read(void *opaque, hwaddr addr, unsigned size)
{
    SnapshotRegs *r = opaque;
    uint64_t val = 0;

    if (read64(r, addr & ~7ull, &val)) {
        if (size == 4) {
            val = (uint32_t)(addr & 4 ? val >> 32 : val);
        }
    } else if (size == 4) {
        val = read32(r, addr);
    }
    trace_snapshot_device_read(addr, size, val);
    return val;
}

/* Write all of @reg, or the half that @addr stands for. */
static void write64(uint64_t *reg, hwaddr addr, uint64_t val, unsigned size)
{
    *reg = size == 8 ? val : deposit64(*reg, addr & 4 ? 32 : 0, 32, val);
}

static void regs_write(void *opaque, hwaddr addr, uint64_t val, unsigned size)
{
    SnapshotRegs *r = opaque;
    uint32_t *run_reg = snapshot_runs_reg(r->runs, addr);

    trace_snapshot_device_write(addr, size, val);
    switch (addr & ~7ull) {
    case SNAPSHOT_REG_START:
        write64(&r->start, addr, val, size);
        break;
    case SNAPSHOT_REG_LENGTH:
        write64(&r->length, addr, val, size);
        break;
    default:
        if (size != 4) {
            break;
        }
        if (addr == SNAPSHOT_REG_COMMAND) {
            carry_out(r, val);
        } else if (addr == SNAPSHOT_REG_COVER_FLAGS) {
            r->cover_flags = val;
        } else if (run_reg) {
            *run_reg = val;
        }
    }
}

static const MemoryRegionOps regs_ops = {
    .read = regs_read,
    .write = regs_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = {
        .min_access_size = 4,
        .max_access_size = 8,
    },
    .impl = {
        .min_access_size = 4,
        .max_access_size = 8,
    },
};

void snapshot_regs_init(SnapshotRegs *r, Object *owner, SnapshotRuns *runs,
                        SnapshotShared *shared)
{
    r->runs = runs;
    r->shared = shared;
    r->returns = snapshot_counters()->returns;
    memory_region_init_io(&r->bar, owner, &regs_ops, r, "snapshot",
                          SNAPSHOT_BAR_SIZE);
}

void snapshot_regs_detach(SnapshotRegs *r)
{
    r->runs = NULL;
    snapshot_cancel(r);
}
