/*
 * PCI device "snapshot": the guest saves and rewinds its own machine.
 *
 * This file knows registers; docs/specs/snapshot.rst describes them.  What a
 * command does is the engine's business (migration/snapshot-engine.h).
 *
 * The registers are no part of the machine state: they survive a restore, and
 * this is how the guest tells whether it has just saved or was just restored.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "hw/misc/snapshot_regs.h"
#include "hw/pci/pci_device.h"
#include "hw/qdev-properties.h"
#include "migration/snapshot-compat.h"
#include "migration/snapshot-coverage.h"
#include "migration/snapshot-engine.h"
#include "migration/vmstate.h"
#include "qapi/error.h"
#include "qapi/qapi-visit-snapshot-device.h"
#include "qapi/visitor.h"
#include "qemu/bitops.h"
#include "qemu/error-report.h"
#include "qemu/log.h"
#include "qemu/module.h"
#include "qemu/units.h"
#include "system/system.h"
#include "coverage-qemu.h"
#include "run.h"
#include "trace.h"

#define TYPE_SNAPSHOT_DEVICE "snapshot"
OBJECT_DECLARE_SIMPLE_TYPE(SnapshotDevice, SNAPSHOT_DEVICE)

struct SnapshotDevice {
    PCIDevice parent_obj;

    MemoryRegion bar;
    Notifier machine_done;
    SnapshotConfig config;
    SnapshotRunsConfig runs_config;
    SnapshotShared shared;      /* memory, BAR 2 */
    SnapshotRuns *runs;         /* or NULL */

    SnapshotResult result;      /* of the last command */
    uint64_t returns;           /* to a saved instant, known to ->result */
    uint32_t rejected;          /* commands that did nothing */
    uint64_t start, length;     /* of memory to exclude, code to cover */
    uint32_t cover_flags;
};

/* There is one machine, so there is one device that may rewind it. */
static SnapshotDevice *the_device;

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
static bool snapshot_did_nothing(SnapshotResult result)
{
    return result != SNAPSHOT_RESULT_DONE &&
           result != SNAPSHOT_RESULT_PENDING &&
           result != SNAPSHOT_RESULT_DEVICE &&
           result != SNAPSHOT_RESULT_VERIFY;
}

static void snapshot_set_result(SnapshotDevice *s, SnapshotResult result)
{
    trace_snapshot_device_result(result);
    s->result = result;
    s->returns = snapshot_counters()->returns;
    s->rejected += snapshot_did_nothing(result);
}

static void snapshot_done(void *opaque, SnapshotResult result)
{
    snapshot_set_result(opaque, result);
}

/* Hand @op to the engine, unless it would take away what runs stand on. */
static SnapshotResult snapshot_engine_command(SnapshotDevice *s, SnapshotOp op)
{
    if (snapshot_runs_forbid(s->runs, op)) {
        return SNAPSHOT_RESULT_REFUSED;
    }
    return snapshot_submit(op, snapshot_done, s);
}

/* Add a range of code whose edges count, or forget all. */
static SnapshotResult snapshot_cover(SnapshotDevice *s, uint64_t command,
                                     Error **errp)
{
    if (snapshot_runs_begun(s->runs)) {
        error_setg(errp, "runs have begun, and are all to count the same");
        return SNAPSHOT_RESULT_REFUSED;
    }
    if (command == SNAPSHOT_CMD_UNCOVER) {
        snapshot_coverage_clear();
        return SNAPSHOT_RESULT_DONE;
    }
    return snapshot_coverage_add(s->start, s->length,
                                 s->cover_flags & SNAPSHOT_COVER_HERE, errp);
}

static void snapshot_command(SnapshotDevice *s, uint64_t command)
{
    SnapshotResult res;
    Error *err = NULL;

    switch (command) {
    case SNAPSHOT_CMD_SAVE:
        res = snapshot_engine_command(s, SNAPSHOT_OP_SAVE);
        break;
    case SNAPSHOT_CMD_RESTORE:
        res = snapshot_engine_command(s, SNAPSHOT_OP_RESTORE);
        break;
    case SNAPSHOT_CMD_PUSH:
        res = snapshot_engine_command(s, SNAPSHOT_OP_PUSH);
        break;
    case SNAPSHOT_CMD_POP:
        res = snapshot_engine_command(s, SNAPSHOT_OP_POP);
        break;
    case SNAPSHOT_CMD_DISCARD:
        res = snapshot_engine_command(s, SNAPSHOT_OP_DISCARD);
        break;
    case SNAPSHOT_CMD_EXCLUDE:
        res = snapshot_exclude(s->start, s->length, &err);
        break;
    case SNAPSHOT_CMD_INCLUDE:
        res = snapshot_include_all(&err);
        break;
    case SNAPSHOT_CMD_NEXT:
    case SNAPSHOT_CMD_DONE:
    case SNAPSHOT_CMD_CRASH:
        res = snapshot_runs_command(s->runs, command);
        break;
    case SNAPSHOT_CMD_COVER:
    case SNAPSHOT_CMD_UNCOVER:
        res = snapshot_cover(s, command, &err);
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
    snapshot_set_result(s, res);
}

static uint32_t snapshot_read32(SnapshotDevice *s, hwaddr addr)
{
    const SnapshotCounters *c = snapshot_counters();

    if (s->returns != c->returns) {
        /* Somebody else's restore brought the guest back to its save. */
        s->returns = c->returns;
        s->result = c->returned;
    }

    switch (addr) {
    case SNAPSHOT_REG_RESULT:
        return s->result;
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
        return s->rejected;
    case SNAPSHOT_REG_LEVELS:
        return c->levels;
    case SNAPSHOT_REG_COVERAGE:
        return snapshot_coverage_available() ? SNAPSHOT_COVERAGE_TCG
               : snapshot_coverage_qemu_available() ? SNAPSHOT_COVERAGE_QEMU
               : SNAPSHOT_COVERAGE_NONE;
    case SNAPSHOT_REG_COVER_FLAGS:
        return s->cover_flags;
    default:
        return 0;
    }
}

/* Registers of 64 bits, which may be read in halves */
static bool snapshot_reg64(const SnapshotDevice *s, hwaddr addr, uint64_t *val)
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
        *val = s->start;
        return true;
    case SNAPSHOT_REG_RUNS:
        *val = snapshot_runs_ended(s->runs);
        return true;
    case SNAPSHOT_REG_LENGTH:
        *val = s->length;
        return true;
    default:
        return false;
    }
}

static uint64_t snapshot_read(void *opaque, hwaddr addr, unsigned size)
{
    SnapshotDevice *s = opaque;
    uint64_t val = 0;

    if (snapshot_reg64(s, addr & ~7ull, &val)) {
        if (size == 4) {
            val = (uint32_t)(addr & 4 ? val >> 32 : val);
        }
    } else if (size == 4 && !snapshot_runs_read(s->runs, addr, &val)) {
        val = snapshot_read32(s, addr);
    }
    trace_snapshot_device_read(addr, size, val);
    return val;
}

/* Write all of @reg, or the half that @addr stands for. */
static void snapshot_write64(uint64_t *reg, hwaddr addr, uint64_t val,
                             unsigned size)
{
    *reg = size == 8 ? val : deposit64(*reg, addr & 4 ? 32 : 0, 32, val);
}

static void snapshot_write(void *opaque, hwaddr addr, uint64_t val,
                           unsigned size)
{
    SnapshotDevice *s = opaque;

    trace_snapshot_device_write(addr, size, val);
    switch (addr & ~7ull) {
    case SNAPSHOT_REG_START:
        snapshot_write64(&s->start, addr, val, size);
        break;
    case SNAPSHOT_REG_LENGTH:
        snapshot_write64(&s->length, addr, val, size);
        break;
    default:
        if (size != 4) {
            break;
        }
        if (addr == SNAPSHOT_REG_COMMAND) {
            snapshot_command(s, val);
        } else if (addr == SNAPSHOT_REG_COVER_FLAGS) {
            s->cover_flags = val;
        } else {
            snapshot_runs_write(s->runs, addr, val);
        }
    }
}

static const MemoryRegionOps snapshot_bar_ops = {
    .read = snapshot_read,
    .write = snapshot_write,
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

/*
 * Devices that come after this one on the command line were not there when it
 * was realized: tell early what a save would run into.
 */
static void snapshot_machine_done(Notifier *n, void *unused)
{
    Error *err = NULL;

    if (!snapshot_check_machine(&err)) {
        warn_reportf_err(err, "snapshot: saves will be refused: ");
    }
}

static void snapshot_realize(PCIDevice *pdev, Error **errp)
{
    SnapshotDevice *s = SNAPSHOT_DEVICE(pdev);

    if (the_device) {
        error_setg(errp, "there is a snapshot device already; "
                   "one serves the whole machine");
        return;
    }
    if (s->config.file && s->config.engine == SNAPSHOT_DEVICE_ENGINE_COPY) {
        error_setg(errp, "file= is for engine=remap; engine=copy keeps RAM "
                   "in memory");
        return;
    }
    if (!snapshot_check_machine(errp) ||
        !snapshot_runs_setup(&s->runs, DEVICE(s), &s->shared, &s->runs_config,
                             snapshot_done, errp)) {
        return;
    }
    memory_region_init_io(&s->bar, OBJECT(s), &snapshot_bar_ops, s,
                          "snapshot", SNAPSHOT_BAR_SIZE);
    pci_register_bar(pdev, SNAPSHOT_BAR, PCI_BASE_ADDRESS_SPACE_MEMORY,
                     &s->bar);
    pci_register_bar(pdev, SNAPSHOT_SHARED_BAR,
                     PCI_BASE_ADDRESS_SPACE_MEMORY |
                     PCI_BASE_ADDRESS_MEM_PREFETCH, &s->shared.bar);
    snapshot_configure(&s->config);
    s->returns = snapshot_counters()->returns;
    the_device = s;
    s->machine_done.notify = snapshot_machine_done;
    qemu_add_machine_init_done_notifier(&s->machine_done);
}

/* A snapshot without its device would keep memory and block migration. */
static void snapshot_exit(PCIDevice *pdev)
{
    SnapshotDevice *s = SNAPSHOT_DEVICE(pdev);
    SnapshotConfig defaults = {
        .engine = SNAPSHOT_DEVICE_ENGINE_AUTO,
        .disk_limit = SNAPSHOT_DISK_LIMIT,
    };

    qemu_remove_machine_init_done_notifier(&s->machine_done);
    snapshot_runs_free(g_steal_pointer(&s->runs));
    snapshot_shared_take_apart(&s->shared);
    snapshot_cancel(s);
    snapshot_coverage_release();
    snapshot_coverage_qemu_setup(NULL, 0);
    snapshot_release();
    snapshot_configure(&defaults);
    the_device = NULL;
}

/* Nobody can reach the memory any more. */
static void snapshot_finalize(Object *obj)
{
    snapshot_shared_free(&SNAPSHOT_DEVICE(obj)->shared);
}

static int snapshot_get_engine(Object *obj, Error **errp)
{
    return SNAPSHOT_DEVICE(obj)->config.engine;
}

static void snapshot_set_engine(Object *obj, int value, Error **errp)
{
    SnapshotDevice *s = SNAPSHOT_DEVICE(obj);

    s->config.engine = value;
    if (s == the_device) {
        s->config.verify = snapshot_config()->verify;
        snapshot_configure(&s->config);
    }
}

static bool snapshot_get_verify(Object *obj, Error **errp)
{
    SnapshotDevice *s = SNAPSHOT_DEVICE(obj);

    return s == the_device ? snapshot_config()->verify : s->config.verify;
}

static void snapshot_set_verify_prop(Object *obj, bool value, Error **errp)
{
    SnapshotDevice *s = SNAPSHOT_DEVICE(obj);

    s->config.verify = value;
    if (s == the_device) {
        snapshot_set_verify(value);
    }
}

static bool snapshot_get_reference(Object *obj, Error **errp)
{
    return SNAPSHOT_DEVICE(obj)->config.reference;
}

static void snapshot_set_reference(Object *obj, bool value, Error **errp)
{
    SnapshotDevice *s = SNAPSHOT_DEVICE(obj);

    s->config.reference = value;
    if (s == the_device) {
        s->config.verify = snapshot_config()->verify;
        snapshot_configure(&s->config);
    }
}

static int snapshot_get_coverage(Object *obj, Error **errp)
{
    return SNAPSHOT_DEVICE(obj)->runs_config.coverage;
}

static void snapshot_set_coverage(Object *obj, int value, Error **errp)
{
    if (DEVICE(obj)->realized) {
        error_setg(errp, "coverage= is set when the device is made");
        return;
    }
    SNAPSHOT_DEVICE(obj)->runs_config.coverage = value;
}

static void snapshot_get_stats(Object *obj, Visitor *v, const char *name,
                               void *opaque, Error **errp)
{
    g_autoptr(SnapshotDeviceInfo) info = snapshot_info();

    visit_type_SnapshotDeviceInfo(v, name, &info, errp);
}

static const Property snapshot_properties[] = {
    DEFINE_PROP_STRING("file", SnapshotDevice, config.file),
    DEFINE_PROP_SIZE("disk-limit", SnapshotDevice, config.disk_limit,
                     SNAPSHOT_DISK_LIMIT),
    DEFINE_PROP_BOOL("afl", SnapshotDevice, runs_config.afl, false),
    DEFINE_PROP_STRING("seeds", SnapshotDevice, runs_config.seeds),
    DEFINE_PROP_UINT32("persistent", SnapshotDevice, runs_config.persistent,
                       1),
    DEFINE_PROP_UINT32("timeout", SnapshotDevice, runs_config.timeout, 0),
    DEFINE_PROP_UINT32("map-size", SnapshotDevice, runs_config.map_size,
                       64 * KiB),
    DEFINE_PROP_UINT32("input-size", SnapshotDevice, runs_config.input_max,
                       1 * MiB),
};

static const VMStateDescription vmstate_snapshot = {
    .name = "snapshot",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (const VMStateField[]) {
        VMSTATE_PCI_DEVICE(parent_obj, SnapshotDevice),
        VMSTATE_END_OF_LIST()
    },
};

static void snapshot_class_init(ObjectClass *oc, SnapshotClassData *data)
{
    DeviceClass *dc = DEVICE_CLASS(oc);
    PCIDeviceClass *k = PCI_DEVICE_CLASS(oc);

    k->realize = snapshot_realize;
    k->exit = snapshot_exit;
    k->vendor_id = SNAPSHOT_PCI_VENDOR_ID;
    k->device_id = SNAPSHOT_PCI_DEVICE_ID;
    k->revision = SNAPSHOT_PCI_REVISION;
    k->class_id = PCI_CLASS_OTHERS;
    dc->desc = "Saves and rewinds the whole machine on the guest's command";
    dc->vmsd = &vmstate_snapshot;
    set_bit(DEVICE_CATEGORY_MISC, dc->categories);

    device_class_set_props(dc, snapshot_properties);
    object_class_property_set_description(oc, "file",
        "file for the RAM of engine=remap (default: a memfd)");
    object_class_property_set_description(oc, "disk-limit",
        "memory for what is written to each disk; writes beyond it fail, 0: "
        "no limit (default: 1 GiB)");
    object_class_property_set_description(oc, "afl",
        "on/off: get inputs from afl-fuzz or libFuzzer, or run once if started "
        "without one (default: off)");
    object_class_property_set_description(oc, "seeds",
        "file or directory of files: inputs to run once each, if there is no "
        "afl-fuzz, and then quit");
    object_class_property_set_description(oc, "persistent",
        "restore after this many runs (default: 1)");
    object_class_property_set_description(oc, "timeout",
        "milliseconds of host time a run may take; 0: no limit, or that of "
        "afl-fuzz (default: 0)");
    object_class_property_set_description(oc, "map-size",
        "bytes of the coverage map (default: 65536)");
    object_class_property_set_description(oc, "input-size",
        "bytes of the longest input (default: 1048576)");
    object_class_property_add_bool(oc, "verify", snapshot_get_verify,
                                   snapshot_set_verify_prop);
    object_class_property_set_description(oc, "verify",
        "on/off: after each restore, compare the whole machine with the "
        "snapshot (slow; may be changed at any time; default: off)");
    object_class_property_add_bool(oc, "x-reference", snapshot_get_reference,
                                   snapshot_set_reference);
    object_class_property_set_description(oc, "x-reference",
        "on/off: put back all of RAM and load every section by the vmstate "
        "code, changed or not: slow, to compare with (default: off)");
    object_class_property_add_enum(oc, "engine", "SnapshotDeviceEngine",
                                   &SnapshotDeviceEngine_lookup,
                                   snapshot_get_engine, snapshot_set_engine);
    object_class_property_set_description(oc, "engine",
        "copy: shadow copy of RAM; remap: private mapping of a file; auto: "
        "copy, or remap where memory is short or file= is given "
        "(default: auto)");
    object_class_property_add_enum(oc, "coverage", "SnapshotDeviceCoverage",
                                   &SnapshotDeviceCoverage_lookup,
                                   snapshot_get_coverage,
                                   snapshot_set_coverage);
    object_class_property_set_description(oc, "coverage",
        "tcg: count edges of the guest's code in the coverage map, in ranges "
        "that the guest names; qemu: edges of QEMU's own code, where it is "
        "compiled for that (default: none)");
    object_class_property_add(oc, "stats", "SnapshotDeviceInfo",
                              snapshot_get_stats, NULL, NULL, NULL);
    object_class_property_set_description(oc, "stats",
        "state and statistics, as x-snapshot-device-query returns them");
}

static const TypeInfo snapshot_types[] = {
    {
        .name = TYPE_SNAPSHOT_DEVICE,
        .parent = TYPE_PCI_DEVICE,
        .instance_size = sizeof(SnapshotDevice),
        .instance_finalize = snapshot_finalize,
        .class_init = snapshot_class_init,
        .interfaces = (InterfaceInfo[]) {
            { INTERFACE_CONVENTIONAL_PCI_DEVICE },
            { },
        },
    },
};

DEFINE_TYPES(snapshot_types)
