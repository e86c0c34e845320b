/*
 * PCI device "snapshot": the guest saves and rewinds its own machine.
 *
 * This file is the device with its properties, put together from registers
 * (registers.c), memory that is shared (shared.c) and runs (run.c).  What a
 * command does is the engine's business (migration/snapshot-engine.h).
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
#include "qemu/error-report.h"
#include "qemu/module.h"
#include "qemu/units.h"
#include "system/system.h"
#include "coverage-qemu.h"
#include "registers.h"
#include "run.h"
#include "shared.h"

#define TYPE_SNAPSHOT_DEVICE "snapshot"
OBJECT_DECLARE_SIMPLE_TYPE(SnapshotDevice, SNAPSHOT_DEVICE)

struct SnapshotDevice {
    PCIDevice parent_obj;

    SnapshotRegs regs;          /* BAR 0 */
    Notifier machine_done;
    SnapshotConfig config;
    SnapshotRunsConfig runs_config;
    SnapshotShared shared;      /* memory, BAR 2 */
    SnapshotRuns *runs;         /* or NULL */
};

/* There is one machine, so there is one device that may rewind it. */
static SnapshotDevice *the_device;

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
        error_setg(errp, "there is a snapshot device already, which serves the "
                   "whole machine; leave this one out");
        return;
    }
    if (s->config.file && s->config.engine == SNAPSHOT_DEVICE_ENGINE_COPY) {
        error_setg(errp, "file= is for engine=remap, and engine=copy keeps RAM "
                   "in memory; leave out one of the two");
        return;
    }
    if (!snapshot_check_machine(errp) ||
        !snapshot_runs_setup(&s->runs, DEVICE(s), &s->shared, &s->runs_config,
                             snapshot_regs_done, &s->regs, errp)) {
        return;
    }
    snapshot_regs_init(&s->regs, OBJECT(s), s->runs, &s->shared);
    pci_register_bar(pdev, SNAPSHOT_BAR, PCI_BASE_ADDRESS_SPACE_MEMORY,
                     &s->regs.bar);
    pci_register_bar(pdev, SNAPSHOT_SHARED_BAR,
                     PCI_BASE_ADDRESS_SPACE_MEMORY |
                     PCI_BASE_ADDRESS_MEM_PREFETCH, &s->shared.bar);
    snapshot_configure(&s->config);
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
    snapshot_regs_detach(&s->regs);
    snapshot_runs_free(g_steal_pointer(&s->runs));
    snapshot_shared_take_apart(&s->shared);
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

/* A property has changed.  Whether to verify is not for us to change. */
static void reconfigure(SnapshotDevice *s)
{
    if (s == the_device) {
        s->config.verify = snapshot_config()->verify;
        snapshot_configure(&s->config);
    }
}

static int snapshot_get_engine(Object *obj, Error **errp)
{
    return SNAPSHOT_DEVICE(obj)->config.engine;
}

static void snapshot_set_engine(Object *obj, int value, Error **errp)
{
    SnapshotDevice *s = SNAPSHOT_DEVICE(obj);

    s->config.engine = value;
    reconfigure(s);
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
    reconfigure(s);
}

static bool snapshot_get_flush_tlbs(Object *obj, Error **errp)
{
    return SNAPSHOT_DEVICE(obj)->config.flush_tlbs;
}

static void snapshot_set_flush_tlbs(Object *obj, bool value, Error **errp)
{
    SNAPSHOT_DEVICE(obj)->config.flush_tlbs = value;
    reconfigure(SNAPSHOT_DEVICE(obj));
}

static int snapshot_get_coverage(Object *obj, Error **errp)
{
    return SNAPSHOT_DEVICE(obj)->runs_config.coverage;
}

static void snapshot_set_coverage(Object *obj, int value, Error **errp)
{
    if (DEVICE(obj)->realized) {
        error_setg(errp, "coverage= is set when the device is made; unplug it, "
                   "and add one with coverage=");
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
        "no limit");
    object_class_property_set_description(oc, "afl",
        "on/off: get inputs from afl-fuzz or libFuzzer, or run once if started "
        "without one");
    object_class_property_set_description(oc, "seeds",
        "file or directory of files: inputs to run once each, if there is no "
        "afl-fuzz, and then quit");
    object_class_property_set_description(oc, "persistent",
        "restore after this many runs");
    object_class_property_set_description(oc, "timeout",
        "milliseconds of host time a run may take; 0: no limit, or that of "
        "afl-fuzz");
    object_class_property_set_description(oc, "map-size",
        "bytes of the coverage map");
    object_class_property_set_description(oc, "input-size",
        "bytes of the longest input");
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
    object_class_property_add_bool(oc, "x-flush-tlbs", snapshot_get_flush_tlbs,
                                   snapshot_set_flush_tlbs);
    object_class_property_set_description(oc, "x-flush-tlbs",
        "on/off: after each restore vCPUs look up all addresses anew, changed "
        "or not: to compare with (TCG; default: off)");
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
